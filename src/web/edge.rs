//! What happens to every request, whichever its handler: an id, a trace, one line in the log, the headers that
//! every answer carries, and a problem document for every failure, panics included.
//!
//! Every answer of a service that is not ready says `Connection: close`: a client that keeps its connection then sends
//! its next request elsewhere, instead of into a connection that the stop closes.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use uuid::Uuid;

use crate::app::App;
use crate::error::{Code, Failure};
use crate::keys::Owner;
use crate::meters::{METERS, Urgency};
use crate::trace::{Context, Kind, Moment, OrderTrace, Span, SpanId};
use crate::tracer::{self, Touched};
use crate::web::client;
use crate::web::compressed;
use crate::web::console::failed;
use crate::web::counted::Counted;
use crate::web::full;
use crate::web::limits::Left;
use crate::web::pages::PageRequest;
use crate::web::problem::{self, Occurrence, Problem};
use crate::web::query::{badly_encoded, is_well_encoded};
use crate::web::unread::Held;

/// The request's id, in its extensions: the client's own `X-Request-Id` where that is usable.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

impl RequestId {
    /// The id of this request; empty outside of the edge.
    pub fn of(request: &HttpRequest) -> String {
        request.extensions().get::<Self>().map_or_else(String::new, |id| id.0.clone())
    }
}

/// A valid W3C `traceparent` of the request, in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent(pub Context);

/// The outermost middleware: `App::new().wrap(from_fn(edge::serve))`.
pub async fn serve(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let app = request.app_data::<Data<App>>().cloned();
    let mut occurrence = Occurrence {
        request_id: request_id(request.headers()),
        instance: request.path().chars().take(256).collect(),
        client: app.as_deref().and_then(|app| client::address(app, request.request())),
        ..Occurrence::default()
    };
    request.extensions_mut().insert(RequestId(occurrence.request_id.clone()));
    let caller = single(request.headers(), "traceparent").and_then(Context::parse);
    if let Some(caller) = caller {
        occurrence.trace_id = Some(caller.trace_id);
        request.extensions_mut().insert(TraceParent(caller));
    }
    let method = request.method().clone();
    let page = PageRequest::of(&request);
    if let Some(page) = page.clone() {
        request.extensions_mut().insert(page);
    }
    let held = Held::of(&mut request);
    let send = |mut answer: HttpResponse| {
        // Looked at when the answer is complete: the stop may have begun while the handler was at work.
        if app.is_some_and(|app| !app.is_ready()) {
            answer.head_mut().set_connection_type(ConnectionType::Close);
        }
        answer.map_body(|_, body| match held {
            Some(held) => held.until_sent(body),
            None => body,
        })
    };

    if let Some(route) = full::turned_away(&request) {
        let failure = full::refuse(&mut request).await;
        let mut answer = problem::render(&failure, &occurrence);
        complete_headers(answer.headers_mut(), &occurrence.request_id);
        METERS.lane_refused.of(Urgency::Create).increment(1);
        log(&method, Some(route), answer.status(), started, &occurrence, None, Some(&failure));
        return Ok(request.into_response(send(answer)));
    }
    let target = request.uri();
    if ![target.path(), target.query().unwrap_or_default()].into_iter().all(is_well_encoded) {
        let failure = badly_encoded();
        let mut answer = render(&failure, &occurrence, page.as_ref());
        complete_headers(answer.headers_mut(), &occurrence.request_id);
        log(&method, None, answer.status(), started, &occurrence, None, Some(&failure));
        return Ok(request.into_response(send(answer)));
    }
    let span_id = tracer::is_on().then(tracer::new_span);
    let (answered, touched) = tracer::request(span_id, catch_panic(next.call(request))).await;
    if let Some(touched) = touched {
        occurrence.order_id = Some(touched.order_id.0);
        occurrence.trace_id = touched.trace.map(|trace| trace.trace_id).or(occurrence.trace_id);
    }
    let record = |route: Option<&str>, status| {
        if let (Some(touched), Some(span_id)) = (touched, span_id) {
            record(touched, span_id, caller, &method, route, status, started);
        }
    };
    match answered {
        Ok(Ok(answered)) => {
            let (request, mut answer) = answered.map_into_boxed_body().into_parts();
            let failure = failure_in(&answer).filter(|_| page.is_none() || !is_page(&answer));
            if let Some(failure) = &failure {
                let mut rendered = render(failure, &occurrence, page.as_ref());
                keep_headers(answer.headers(), rendered.headers_mut());
                answer = rendered;
            }
            complete_headers(answer.headers_mut(), &occurrence.request_id);
            if let Some(left) = request.extensions().get::<Left>() {
                left.tell(answer.headers_mut());
            }
            let owner = request.extensions().get::<Owner>().copied();
            let route = request.match_pattern();
            let answer = compressed::if_wanted(&method, request.headers(), answer);
            occurrence.order_id = order_id(&request, answer.headers()).or(occurrence.order_id);
            record(route.as_deref(), answer.status());
            log(&method, route.as_deref(), answer.status(), started, &occurrence, owner, failure.as_ref());
            Ok(ServiceResponse::new(request, send(answer)))
        }
        // The request went down with the panic, or with an inner middleware: the answer travels as an error.
        Ok(Err(error)) => {
            let failure = problem::failure_of(&error);
            let answer = without_request(&failure, &method, started, &occurrence, page.as_ref());
            record(None, answer.status());
            Err(InternalError::from_response(Problem(failure), send(answer)).into())
        }
        Err(panic) => {
            let failure = Failure::new(Code::InternalError, "").because(format!("panic: {}", text_of(&*panic)));
            let answer = without_request(&failure, &method, started, &occurrence, page.as_ref());
            record(None, answer.status());
            Err(InternalError::from_response(Problem(failure), send(answer)).into())
        }
    }
}

/// A request as a span in the trace of the order that it was about.
fn record(
    Touched { trace, is_created, .. }: Touched,
    span_id: SpanId,
    caller: Option<Context>,
    method: &Method,
    route: Option<&str>,
    status: StatusCode,
    started: Instant,
) {
    let Some(trace) = trace.filter(OrderTrace::is_sampled) else { return };
    let route = route.unwrap_or("unmatched").to_owned();
    let span_id = if is_created { trace.root() } else { span_id };
    let time = (Moment::Steady(started), Moment::Steady(Instant::now()));
    let span = Span::below(&trace, span_id, Kind::Server, format!("{method} {route}"), time)
        .with("http.request.method", method.to_string())
        .with("http.route", route)
        .with("http.response.status_code", i64::from(status.as_u16()));
    let (ours, other) =
        (caller.filter(|c| c.trace_id == trace.trace_id), caller.filter(|c| c.trace_id != trace.trace_id));
    tracer::emit(Span {
        parent: if is_created { trace.parent } else { ours.map(|caller| caller.span_id).or(span.parent) },
        link: other,
        fault: status.is_server_error().then(|| status.to_string()),
        ..span
    });
}

/// People are told in pages, programs in problem documents.
fn render(failure: &Failure, occurrence: &Occurrence, page: Option<&PageRequest>) -> HttpResponse {
    match page {
        Some(page) => failed::answer(page, failure, occurrence),
        None => problem::render(failure, occurrence),
    }
}

/// Whether the answer is one that people can read already, as a form is that was filled in wrong.
fn is_page(answer: &HttpResponse) -> bool {
    answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

fn without_request(
    failure: &Failure,
    method: &Method,
    started: Instant,
    occurrence: &Occurrence,
    page: Option<&PageRequest>,
) -> HttpResponse {
    let mut answer = render(failure, occurrence, page);
    complete_headers(answer.headers_mut(), &occurrence.request_id);
    log(method, None, answer.status(), started, occurrence, None, Some(failure));
    answer
}

/// The id of a request that brings none.
pub(super) fn new_request_id() -> String {
    Uuid::now_v7().to_string()
}

/// The answer to a request that could not be read, counted and logged like all others.
pub(super) fn refuse_unread(failure: &Failure, occurrence: &Occurrence) -> HttpResponse {
    let mut answer = problem::render(failure, occurrence);
    complete_headers(answer.headers_mut(), &occurrence.request_id);
    let method = Method::from_bytes(b"-").expect("a token");
    log(&method, None, answer.status(), Instant::now(), occurrence, None, Some(failure));
    answer
}

fn failure_in(answer: &HttpResponse) -> Option<Failure> {
    let status = answer.status();
    let failed = status.is_client_error() || status.is_server_error();
    failed.then(|| answer.error().map_or_else(|| problem::foreign(status), problem::failure_of))
}

/// Keeps what the failed answer already said, such as `Allow` or `RateLimit`, but nothing about its old body.
fn keep_headers(from: &HeaderMap, to: &mut HeaderMap) {
    let of_the_body = [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::ETAG];
    let said: Vec<HeaderName> = to.keys().cloned().collect();
    for (name, value) in from {
        if !of_the_body.contains(name) && !said.contains(name) {
            to.append(name.clone(), value.clone());
        }
    }
}

fn complete_headers(headers: &mut HeaderMap, request_id: &str) {
    let id = HeaderValue::from_str(request_id).expect("a request id is visible ASCII");
    headers.insert(HeaderName::from_static("x-request-id"), id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in [
        (header::CACHE_CONTROL, "private, no-cache"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

fn request_id(headers: &HeaderMap) -> String {
    let usable = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    single(headers, "x-request-id").filter(usable).map_or_else(new_request_id, str::to_owned)
}

/// The order of the request's path, or the one that its answer says it has made.
fn order_id(request: &HttpRequest, answer: &HeaderMap) -> Option<Uuid> {
    let made = || answer.get(header::LOCATION)?.to_str().ok()?.strip_prefix("/v1/")?.split('/').nth(1);
    request.match_info().get("order_id").or_else(made)?.parse().ok()
}

/// Milliseconds to a hundredth: most requests take less than one.
fn rounded_ms(span: Duration) -> f64 {
    (span.as_micros() as f64 / 10.0).round() / 100.0
}

/// The text of a header that was sent exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

async fn catch_panic<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    // Nothing of the future is looked at again after a panic: it is only dropped.
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of no text")
}

fn count(method: &Method, route: Option<&str>, status: StatusCode, started: Instant) {
    let Counted { route, method, status, is_timed } = Counted::of(method, route, status);
    METERS.http_requests.of(route, method, Some(status)).increment(1);
    if is_timed {
        METERS.http_duration.of(route, method, None).record(started.elapsed());
    }
}

/// One line a request, without bodies, keys and query strings; the route is the pattern, so that lines can be counted.
fn log(
    method: &Method,
    route: Option<&str>,
    status: StatusCode,
    started: Instant,
    occurrence: &Occurrence,
    owner: Option<Owner>,
    failure: Option<&Failure>,
) {
    count(method, route, status, started);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                http.method = %method,
                http.route = route.unwrap_or("unmatched"),
                http.status = status.as_u16(),
                http.duration_ms = rounded_ms(started.elapsed()),
                request.id = occurrence.request_id,
                client.address = occurrence.client.map(tracing::field::display),
                partner.id = owner.and_then(|owner| owner.partner()).map(tracing::field::display),
                problem.code = failure.map(|failure| tracing::field::display(failure.code)),
                problem.cause = failure.and_then(|failure| failure.cause.as_deref()),
                order.id = occurrence.order_id.map(tracing::field::display),
                trace.id = occurrence.trace_id.map(tracing::field::display),
                "request"
            )
        };
    }
    // Being turned away is an answer like others, and may be given thousands of times a second. A metric and one line of
    // the database's outage tell the operator of it.
    let is_turned_away =
        failure.is_some_and(|failure| matches!(failure.code, Code::Overloaded | Code::DatabaseUnavailable));
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        line!(error)
    } else if status.is_server_error() && !is_turned_away {
        line!(warn)
    } else {
        line!(info)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{self, TestRequest};
    use actix_web::{App, HttpRequest, web};
    use serde_json::Value;

    use super::*;

    async fn ask(request: TestRequest) -> (StatusCode, HeaderMap, Value) {
        let app =
            test::init_service(
                App::new()
                    .wrap(from_fn(serve))
                    .service(web::resource("/things/{id}").route(
                        web::get().to(|path: web::Path<u32>| async move { HttpResponse::Ok().json(path.into_inner()) }),
                    ))
                    .service(web::resource("/trace").route(web::get().to(|request: HttpRequest| async move {
                        let trace = request.extensions().get::<TraceParent>().map(|trace| trace.0.to_string());
                        HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(trace)
                    })))
                    .service(web::resource("/query").route(web::get().to(
                        |_: web::Query<std::collections::HashMap<String, u8>>| async { HttpResponse::Ok().finish() },
                    )))
                    .service(web::resource("/refuse").route(web::get().to(|| async {
                        Err::<HttpResponse, _>(Problem(Failure::new(Code::TooLate, "It is being made.")))
                    })))
                    .service(web::resource("/panic").route(web::get().to(|| async {
                        if true {
                            panic!("secret 42");
                        }
                        HttpResponse::Ok().finish()
                    })))
                    .service(
                        web::resource("/inner")
                            .wrap(from_fn(|_: ServiceRequest, _: Next<BoxBody>| async {
                                Err::<ServiceResponse, _>(Problem(Failure::new(Code::Overloaded, "Full.")).into())
                            }))
                            .route(web::get().to(HttpResponse::Ok)),
                    ),
            )
            .await;
        let (status, headers, body) = match test::try_call_service(&app, request.to_request()).await {
            Ok(answer) => (answer.status(), answer.headers().clone(), test::read_body(answer).await),
            Err(error) => {
                let answer = error.error_response();
                let head = (answer.status(), answer.headers().clone());
                (head.0, head.1, actix_web::body::to_bytes(answer.into_body()).await.unwrap())
            }
        };
        (status, headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    #[actix_web::test]
    async fn every_answer_has_an_id_and_the_common_headers() {
        let (status, headers, _) =
            ask(TestRequest::get().uri("/things/1").insert_header(("x-request-id", "a.B-9_"))).await;
        assert_eq!(status, 200);
        assert_eq!(headers.get("x-request-id").unwrap(), "a.B-9_");
        assert_eq!(headers.get("cache-control").unwrap(), "private, no-cache");
        assert_eq!(headers.get("x-content-type-options").unwrap(), "nosniff");
        let too_long = "x".repeat(65);
        for unusable in ["", "a b", "a\"", too_long.as_str()] {
            let (_, headers, _) =
                ask(TestRequest::get().uri("/things/1").insert_header(("x-request-id", unusable))).await;
            let id: Uuid = headers.get("x-request-id").unwrap().to_str().unwrap().parse().unwrap();
            assert_eq!(id.get_version_num(), 7);
        }
        let (_, headers, _) = ask(TestRequest::get().uri("/trace")).await;
        assert_eq!(headers.get("cache-control").unwrap(), "no-store");
    }

    #[actix_web::test]
    async fn every_failure_is_a_problem_with_id_and_path() {
        for (uri, method, status, code) in [
            ("/nothing?x=1", Method::GET, 404, "not_found"),
            ("/things/abc", Method::GET, 404, "not_found"),
            ("/things/1", Method::PUT, 405, "method_not_allowed"),
            ("/query?n=9999", Method::GET, 400, "invalid_request"),
            ("/refuse", Method::GET, 409, "too_late"),
            ("/panic", Method::GET, 500, "internal_error"),
            ("/inner", Method::GET, 503, "overloaded"),
        ] {
            let request = TestRequest::default().method(method).uri(uri).insert_header(("x-request-id", "r-7"));
            let (got, headers, body) = ask(request).await;
            assert_eq!(got.as_u16(), status, "{uri}");
            assert_eq!(headers.get("content-type").unwrap(), problem::MEDIA_TYPE, "{uri}");
            assert_eq!(headers.get("x-request-id").unwrap(), "r-7", "{uri}");
            assert_eq!(body["code"], code, "{uri}");
            assert_eq!(body["status"], status, "{uri}");
            assert_eq!(body["request_id"], "r-7", "{uri}");
            assert_eq!(body["instance"], uri.split('?').next().unwrap());
            assert!(!body.to_string().contains("secret"), "{body}");
            if status == 405 {
                assert_eq!(headers.get("allow").unwrap(), "GET");
            }
        }
    }

    #[actix_web::test]
    async fn only_a_valid_traceparent_is_kept() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (_, _, body) = ask(TestRequest::get().uri("/trace").insert_header(("traceparent", valid))).await;
        assert_eq!(body, valid);
        for invalid in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            let (_, _, body) = ask(TestRequest::get().uri("/trace").insert_header(("traceparent", invalid))).await;
            assert_eq!(body, Value::Null, "{invalid}");
        }
        let twice = TestRequest::get().uri("/trace").append_header(("traceparent", valid));
        assert_eq!(ask(twice.append_header(("traceparent", valid))).await.2, Value::Null);
    }
}

//! Every answer that is not a success, as RFC 9457 `application/problem+json`.
//!
//! Handlers and extractors fail with a [`Problem`]; what actix-web refuses by itself (an unknown address, a
//! wrong method, a panic) becomes one too. The body is written by `web::edge`, the only place that knows the
//! request's id. What a problem says beyond the members of RFC 9457 is declared in [`members`].

pub mod members;

use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use uuid::Uuid;

use crate::error::{Class, Code, Failure};
use crate::trace::TraceId;

/// The media type of every failed answer.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A failure as the error of a handler: `Result<impl Responder, Problem>`.
#[derive(Debug)]
pub struct Problem(pub Failure);

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        status(self.0.code.class())
    }

    // No body: there is no request here to name. `web::edge` writes it.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

/// What a problem says of the request it answers.
#[derive(Clone, Debug, Default)]
pub struct Occurrence {
    pub request_id: String,
    /// The request's path, without its query.
    pub instance: String,
    /// For the log: the trace that the request belongs to.
    pub trace_id: Option<TraceId>,
    /// For the log: the order that the request is about, or has made.
    pub order_id: Option<Uuid>,
    /// For the log: where the request comes from.
    pub client: Option<IpAddr>,
}

/// The status of a class of problems.
pub const fn status(class: Class) -> StatusCode {
    match class {
        Class::Malformed => StatusCode::BAD_REQUEST,
        Class::Unauthenticated => StatusCode::UNAUTHORIZED,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Class::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Class::Conflict => StatusCode::CONFLICT,
        Class::Gone => StatusCode::GONE,
        Class::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Class::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
        Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Class::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Class::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Class::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The URI that names a kind of problem.
pub fn type_uri(code: Code) -> String {
    format!("urn:lungo:problem:{code}")
}

/// The failure behind an error of a handler, an extractor or actix-web itself.
pub fn failure_of(error: &actix_web::Error) -> Failure {
    match error.as_error::<Problem>() {
        Some(Problem(failure)) => failure.clone(),
        None => foreign(error.as_response_error().status_code()).because(error),
    }
}

/// The failure that a bare status of actix-web stands for.
pub fn foreign(status: StatusCode) -> Failure {
    let (code, detail) = match status.as_u16() {
        401 => (Code::Unauthenticated, "A valid key is needed."),
        403 => (Code::Forbidden, "This is not allowed."),
        404 => (Code::NotFound, "There is nothing at this address."),
        405 => (Code::MethodNotAllowed, "See the Allow header for the methods of this resource."),
        408 => (Code::RequestTimeout, "The body did not arrive in time."),
        413 => (Code::BodyTooLarge, "The body is too large."),
        415 => (Code::UnsupportedMediaType, "The body must be application/json."),
        429 => (Code::TooManyRequests, "Too many requests."),
        503 => (Code::Overloaded, "The service cannot answer now."),
        400..500 => (Code::InvalidRequest, "The path, the query or a header does not have the documented form."),
        _ => (Code::InternalError, "The failure was recorded under the request id."),
    };
    Failure::new(code, detail)
}

/// The answer to a request that failed. What only the operator may know is not in it.
pub fn render(failure: &Failure, occurrence: &Occurrence) -> HttpResponse {
    let class = failure.code.class();
    let status = status(class);
    let mut answer = HttpResponse::build(status);
    answer.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)));
    if let Some(wait) = retry_after(failure) {
        answer.insert_header((header::RETRY_AFTER, wait.to_string()));
    }
    if let Some(position) = &failure.position {
        answer.insert_header(("Lungo-Position", &**position));
    }
    match class {
        Class::Unauthenticated => {
            answer.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        // What is left of the body must not be read as the next request.
        Class::TooSlow | Class::TooLarge => {
            answer.force_close();
        }
        _ => {}
    }
    let detail = match class {
        Class::Internal => "The failure was recorded under the request id.",
        _ => &failure.detail,
    };
    let document = Document {
        type_uri: type_uri(failure.code),
        title: failure.code.title(),
        status: status.as_u16(),
        detail,
        instance: &occurrence.instance,
        code: failure.code,
        retryable: failure.code.is_retryable(),
        request_id: &occurrence.request_id,
        faults: (!failure.faults.is_empty())
            .then(|| members::Faults { errors: failure.faults.iter().map(members::FaultView::from).collect() }),
        members: failure.members(),
    };
    answer.body(serde_json::to_vec(&document).expect("plain data serialises"))
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    type_uri: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    code: Code,
    retryable: bool,
    request_id: &'a str,
    #[serde(flatten)]
    faults: Option<members::Faults>,
    #[serde(flatten)]
    members: &'a serde_json::Map<String, serde_json::Value>,
}

/// Whole seconds, at least 1.
fn retry_after(failure: &Failure) -> Option<u64> {
    let whole = |wait: Duration| (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
    match failure.code.class() {
        // Jitter: clients that were refused together must not come back together.
        Class::TooMany | Class::Unavailable => {
            Some(failure.retry_after.map_or_else(|| rand::random_range(1..=3), whole))
        }
        _ => failure.retry_after.map(whole),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use serde_json::{Value, json};
    use strum::VariantArray;

    use super::*;
    use crate::error::Fault;
    use crate::order::Money;

    fn occurrence() -> Occurrence {
        Occurrence { request_id: "r-1".into(), instance: "/v1/orders".into(), ..Occurrence::default() }
    }

    async fn json_of(answer: HttpResponse) -> Value {
        serde_json::from_slice(&to_bytes(answer.into_body()).await.unwrap()).unwrap()
    }

    #[actix_web::test]
    async fn a_failure_is_told_in_full() {
        let present_total = Money { amount: 830, currency: "EUR".parse().unwrap() };
        let failure = Failure::new(Code::PriceMismatch, "The total is 830 now.")
            .with(members::PresentTotal { present_total })
            .faults(vec![Fault::new("/total", "not_allowed", "Expected 830.")]);
        let answer = render(&failure, &occurrence());
        assert_eq!(answer.status(), 409);
        assert_eq!(answer.headers().get("content-type").unwrap(), MEDIA_TYPE);
        assert_eq!(
            json_of(answer).await,
            json!({
                "type": "urn:lungo:problem:price_mismatch", "title": "The stated total is not the present price.",
                "status": 409, "detail": "The total is 830 now.", "instance": "/v1/orders", "code": "price_mismatch",
                "errors": [{"pointer": "/total", "code": "not_allowed", "detail": "Expected 830."}],
                "retryable": false, "request_id": "r-1", "present_total": {"amount": 830, "currency": "EUR"},
            })
        );
    }

    #[actix_web::test]
    async fn an_internal_error_hides_internals() {
        let failure = Failure::new(Code::InternalError, "row 17 of secret_table").because("password=hunter2");
        let text = json_of(render(&failure, &occurrence())).await.to_string();
        assert!(!text.contains("secret_table") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn retry_after_is_whole_seconds_and_always_there_when_shedding() {
        for code in Code::VARIANTS {
            let seconds = |failure: &Failure| -> Option<u64> {
                let answer = render(failure, &occurrence());
                answer.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap())
            };
            let bare = Failure::new(*code, "");
            match code.class() {
                Class::TooMany | Class::Unavailable => assert!((1..=3).contains(&seconds(&bare).unwrap())),
                _ => assert_eq!(seconds(&bare), None),
            }
            assert_eq!(seconds(&bare.clone().retry_after(Duration::from_millis(10))), Some(1));
            assert_eq!(seconds(&bare.retry_after(Duration::from_millis(2001))), Some(3));
        }
    }

    #[test]
    fn an_unauthenticated_answer_names_the_scheme() {
        let answer = render(&Failure::new(Code::Unauthenticated, ""), &occurrence());
        assert_eq!(answer.headers().get("www-authenticate").unwrap(), "Bearer");
    }
}

//! Who is at the door: a session that is open, of a user who may do this. Each route of the table is wrapped in it.

use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data};
use actix_web::{Error, FromRequest, Handler, HttpMessage, HttpRequest, HttpResponse, Responder, Route};
use serde_json::json;

use super::frame::{Frame, Section};
use super::{Action, SECTIONS};
use crate::access::{self, DEVICE_KNOWN, Lifetimes, Session, User};
use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::order::Hash;
use crate::store::Entry;
use crate::web::client;
use crate::web::edge::RequestId;
use crate::web::pages::{PageRequest, html, see_other};
use crate::web::problem::Problem;

/// The title of a page that failed.
const FAILED: &str = "Not done";
/// Holds the session's secret.
const COOKIE: &str = "lungo_session";

/// Holds what is left of a session when it is over. A browser that has it is not barred by others who guess at its user.
const DEVICE: &str = "lungo_device";

/// Whoever asks, once it is known that it may. An extractor.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub user: Arc<User>,
    pub session: Session,
    /// What this request is, in the table of actions.
    pub action: Action,
    /// What the forms of this session carry.
    pub token: String,
    pub path: String,
    pub request_id: String,
}

impl Visitor {
    /// Whether a button for this is to be shown.
    pub fn may(&self, action: Action) -> bool {
        action.is_allowed_to(&self.user)
    }

    /// A frame for this visitor's page.
    pub fn frame(&self, title: impl Into<String>) -> Frame {
        let allowed = SECTIONS.iter().filter(|(.., action)| self.may(*action));
        let is_here =
            |path: &str| self.path == path || (path != "/console" && self.path.starts_with(&format!("{path}/")));
        Frame {
            title: title.into(),
            user: Some(self.user.name.clone()),
            sections: allowed.map(|(path, name, _)| Section { path, name, is_here: is_here(path) }).collect(),
            token: self.token.clone(),
        }
    }

    /// An entry of the audit log for this request.
    pub fn entry(&self, subject: impl Into<String>, reason: Option<String>, detail: serde_json::Value) -> Entry {
        Entry {
            at: now(),
            user_id: Some(self.user.id),
            user_name: self.user.name.clone(),
            action: self.action.word().to_owned(),
            subject: subject.into(),
            reason,
            detail,
            request_id: self.request_id.clone(),
        }
    }
}

impl FromRequest for Visitor {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let visitor = request.extensions().get::<Self>().cloned();
        let missing = || Failure::new(Code::InternalError, "").because("a page outside of the table of the console");
        std::future::ready(visitor.ok_or_else(|| missing().into()))
    }
}

/// A page, for whoever may see it.
pub fn see<F, Args>(action: Action, handler: F) -> Route
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    guarded(web::get(), action, handler)
}

/// A deed, for whoever may do it. Its handler takes a [`super::Posted`].
pub fn act<F, Args>(action: Action, handler: F) -> Route
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    guarded(web::post(), action, handler)
}

fn guarded<F, Args>(route: Route, action: Action, handler: F) -> Route
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let door = move |request: ServiceRequest, next: Next<BoxBody>| admit(action, request, next);
    route.to(handler).wrap(from_fn(door))
}

async fn admit(
    action: Action,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let app = request.app_data::<Data<App>>().expect("every request can reach the App").clone();
    let found = known(&app, &request).await.inspect_err(|_| surround(&request, Frame::of_somebody(FAILED)))?;
    let Some((session, user, secret)) = found else {
        let answer = to_login(&request);
        return Ok(request.into_response(answer));
    };
    let visitor = Visitor {
        user: Arc::new(user),
        session,
        action,
        token: access::form_token(&secret),
        path: request.path().to_owned(),
        request_id: request_id(request.request()),
    };
    surround(&request, visitor.frame(FAILED));
    if !visitor.may(action) {
        let detail = format!("Your roles do not allow you to {}.", action.rule().meaning);
        if request.method() == actix_web::http::Method::POST {
            let entry = visitor.entry("", None, json!({"path": visitor.path, "why": "not allowed to this role"}));
            app.store.record(entry, false).await.map_err(|fault| Problem(fault.into()))?;
        }
        return Err(Problem(Failure::new(Code::Forbidden, detail)).into());
    }
    request.extensions_mut().insert(visitor);
    next.call(request).await
}

/// What is around the failure of this request, if it fails.
fn surround(request: &ServiceRequest, frame: Frame) {
    if let Some(page) = request.extensions().get::<PageRequest>() {
        page.around.replace(Some(frame));
    }
}

/// The open session of a request, and its secret. It is used by being looked at.
async fn known(app: &App, request: &ServiceRequest) -> Result<Option<(Session, User, String)>, Problem> {
    let Some(secret) = secret(request.request()) else { return Ok(None) };
    let found = app.store.session(access::hash(&secret)).await.map_err(Failure::from)?;
    let (lifetimes, now) = (lifetimes(app), now());
    let Some((session, user)) = found.filter(|(session, _)| !session.is_over(lifetimes, now)) else {
        return Ok(None);
    };
    // A page that updates itself is not somebody who is there.
    let headers = request.headers();
    let by_itself = headers.contains_key("lungo-by-itself") || waits_for_events(headers);
    if !by_itself && now - session.seen_at >= lifetimes.idle / 10 {
        app.store.touch_session(session.id, now).await.map_err(Failure::from)?;
    }
    Ok(Some((session, user, secret)))
}

pub(super) fn lifetimes(app: &App) -> Lifetimes {
    let span = |span: crate::config::Span| chrono::Duration::from_std(span.0).expect("spans are at most a year");
    Lifetimes { idle: span(app.settings.console_idle), absolute: span(app.settings.console_session) }
}

/// The session's secret, if the request has one.
pub(super) fn secret(request: &HttpRequest) -> Option<String> {
    request.cookie(COOKIE).map(|cookie| cookie.value().to_owned()).filter(|secret| !secret.is_empty())
}

/// What this browser shows of an earlier session: its own cookie, or the session that it still holds.
pub(super) fn device(request: &HttpRequest) -> Option<Hash> {
    let kept = request.cookie(DEVICE).and_then(|cookie| access::shown_device(cookie.value()));
    kept.or_else(|| secret(request).map(|secret| access::hash(&secret)))
}

/// A cookie by which the browser of a new session is known after it.
pub(super) fn device_cookie(app: &App, request: &HttpRequest, secret: &str) -> Cookie<'static> {
    let age = DEVICE_KNOWN.to_std().expect("days are positive").try_into().expect("30 days");
    cookie(DEVICE, &access::device(secret), app, request).path("/console").max_age(age).finish()
}

/// A cookie with a new session's secret, or one that removes it.
pub(super) fn session_cookie(app: &App, request: &HttpRequest, secret: Option<&str>) -> Cookie<'static> {
    let cookie = cookie(COOKIE, secret.unwrap_or_default(), app, request);
    let age = if secret.is_some() { app.settings.console_session.0 } else { std::time::Duration::ZERO };
    cookie.max_age(age.try_into().expect("spans are at most a year")).finish()
}

pub(in crate::web) fn cookie<'c>(
    name: &'c str,
    value: &str,
    app: &App,
    request: &HttpRequest,
) -> actix_web::cookie::CookieBuilder<'c> {
    let by_tls = request.headers().get("x-forwarded-proto").is_some_and(|proto| proto == "https")
        || app.settings.console_url.as_deref().is_some_and(|url| url.starts_with("https://"));
    // Lax: a link to an order that a colleague sent opens it. What changes something is posted, with a token.
    Cookie::build(name, value.to_owned()).path("/").http_only(true).same_site(SameSite::Lax).secure(by_tls)
}

pub(super) fn request_id(request: &HttpRequest) -> String {
    RequestId::of(request)
}

/// The client's address, in words.
pub(in crate::web) fn address(app: &App, request: &HttpRequest) -> String {
    client::address(app, request).map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}

/// Sends to the login, and from there back to where this was asked from.
fn to_login(request: &ServiceRequest) -> HttpResponse {
    let headers = request.headers();
    let is_part = headers.contains_key("hx-request");
    let whole = request.uri().path_and_query().map_or("/console", |path| path.as_str());
    let here = match headers.get("hx-current-url").and_then(|url| url.to_str().ok()) {
        Some(url) => url
            .find("://")
            .and_then(|at| url[at + 3..].find('/').map(|path| &url[at + 3 + path..]))
            .unwrap_or("/console"),
        None if request.method() == actix_web::http::Method::GET => whole,
        None => "/console",
    };
    let back: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
    let login = format!("/console/login?ended=1&next={back}");
    let waits_for_events = waits_for_events(headers);
    if is_part || waits_for_events {
        let mut answer = html(StatusCode::UNAUTHORIZED, "<p role=\"alert\">Your session has ended.</p>".into());
        if let Ok(login) = header::HeaderValue::from_str(&login) {
            answer.headers_mut().insert(header::HeaderName::from_static("hx-redirect"), login);
        }
        return answer;
    }
    see_other(&login)
}

/// Whether it is a stream that a page keeps open.
fn waits_for_events(headers: &header::HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept == "text/event-stream")
}

//! Coming in: by name and password, or, the first time, by a link that can be followed once.

use std::sync::LazyLock;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use askama::Template;
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::frame::Frame;
use super::guard::{address, cookie, device, device_cookie, request_id, secret, session_cookie};
use super::posted::{Fields, read};
use super::{Posted, show};
use crate::access::{self, Guesser, PASSWORD_LENGTH, Session, User};
use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::store::Entry;
use crate::web::pages::{page, page_with, see_other};
use crate::web::problem::Problem;

/// Ties the form of a page before the login to the browser that it was shown to.
const DOOR: &str = "lungo_door";

/// Hashing a password takes a whole core and 19 MiB: so many at once, and the others wait …
static HASHING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(2));
/// … but not for long.
const HASHING_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Template)]
#[template(path = "console/login.html")]
struct LoginPage {
    frame: Frame,
    name: String,
    next: String,
    has_ended: bool,
    fault: Option<String>,
}

#[derive(Template)]
#[template(path = "console/link.html")]
struct LinkPage {
    frame: Frame,
    name: Option<String>,
    action: String,
    least: usize,
    fault: Option<String>,
}

/// `GET /console/login`
pub async fn show_login(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let query = |name: &str| {
        let mut pairs = form_urlencoded::parse(request.query_string().as_bytes());
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let (next, has_ended) = (query("next"), !query("ended").is_empty() && secret(&request).is_some());
    let door = Door::of(&request);
    let frame = Frame::outside("Log in", door.token());
    let shown = page(&LoginPage { frame, name: String::new(), next, has_ended, fault: None })?;
    Ok(door.keep(shown, &app, &request))
}

/// `POST /console/login`
pub async fn log_in(app: Data<App>, request: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    let door = Door::of(&request);
    let body = Bytes::from_request(&request, &mut body.into_inner());
    let fields = read(&request, body, &door.token()).await?;
    let name: String = fields.text("name").to_lowercase().chars().take(100).collect();
    let next = fields.text("next").to_owned();
    let refused = |status, fault: String| -> Result<HttpResponse, Problem> {
        let frame = Frame::outside("Log in", door.token());
        let (name, next) = (name.clone(), next.clone());
        Ok(door.keep(
            page_with(status, &LoginPage { frame, name, next, has_ended: false, fault: Some(fault) })?,
            &app,
            &request,
        ))
    };
    let (from, now) = (address(&app, &request), now());
    let entry = |user: Option<&User>, why: &str| Entry {
        at: now,
        user_id: user.map(|user| user.id),
        user_name: name.clone(),
        action: "log_in".into(),
        subject: String::new(),
        reason: None,
        detail: json!({"address": from, "result": why}),
        request_id: request_id(&request),
    };
    let guesser = Guesser::Browser { name: name.clone(), address: from.clone(), device: device(&request) };
    let attempt = app.store.attempt_login(guesser.clone(), now).await.map_err(Failure::from)?;
    if let Err(until) = attempt {
        app.store.record(entry(None, "locked"), false).await.map_err(Failure::from)?;
        let wait = show::span(until - now);
        return refused(StatusCode::TOO_MANY_REQUESTS, format!("Too many attempts. Try again in {wait}."));
    }
    let known = app.store.credentials(name.clone()).await.map_err(Failure::from)?;
    let known = known.filter(|(user, _)| user.disabled_at.is_none());
    let hash = known.as_ref().and_then(|(_, hash)| hash.clone());
    let password: String = fields.exact("password").chars().take(*PASSWORD_LENGTH.end() + 1).collect();
    let is_right = hashing(move || access::is_password(&password, hash.as_deref())).await?;
    let Some((user, _)) = known.filter(|_| is_right) else {
        app.store.record(entry(None, "wrong name or password"), false).await.map_err(Failure::from)?;
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "That name and password do not belong together.".into());
    };
    app.store.forgive_login(guesser, now).await.map_err(Failure::from)?;
    come_in(&app, &request, &user, entry(Some(&user), "logged in"), &next).await
}

/// `GET /console/enter/{secret}`: does not use the link up; whoever looks at links in mails only reads them.
pub async fn show_link(app: Data<App>, link: Path<String>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    link_page(&app, &request, &link, StatusCode::OK, None).await
}

/// `POST /console/enter/{secret}`
pub async fn follow_link(
    app: Data<App>,
    link: Path<String>,
    request: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let body = Bytes::from_request(&request, &mut body.into_inner());
    let fields = read(&request, body, &Door::of(&request).token()).await?;
    let password = match new_password(&fields) {
        Ok(password) => password,
        Err(fault) => {
            return link_page(&app, &request, &link, StatusCode::UNPROCESSABLE_ENTITY, Some(fault)).await;
        }
    };
    let (hash, now) = (access::hash(&link), now());
    // Before anything is hashed for whoever makes links up.
    let Some(user) = app.store.link(hash, now).await.map_err(Failure::from)? else {
        return link_page(&app, &request, &link, StatusCode::GONE, None).await;
    };
    let entry = |action: &str| Entry {
        at: now,
        user_id: Some(user.id),
        user_name: user.name.clone(),
        action: action.into(),
        subject: format!("user:{}", user.name),
        reason: None,
        detail: json!({"address": address(&app, &request)}),
        request_id: request_id(&request),
    };
    let password = hashing(move || access::hash_password(&password)).await?;
    let followed = app.store.recording(entry("follow_link")).follow_link(hash, password, now).await;
    let Some(user) = followed.map_err(Failure::from)? else {
        return link_page(&app, &request, &link, StatusCode::GONE, None).await;
    };
    come_in(&app, &request, &user, entry("log_in"), "/console").await
}

/// `POST /console/logout`
pub async fn log_out(app: Data<App>, request: HttpRequest, posted: Posted) -> Result<HttpResponse, Problem> {
    let visitor = &posted.visitor;
    let entry = posted.entry("", json!({}))?;
    let ended = app.store.recording(entry).revoke_session(visitor.session.id, Some(visitor.user.id), now()).await;
    ended.map_err(Failure::from)?;
    let mut answer = see_other("/console/login");
    let _ = answer.add_cookie(&session_cookie(&app, &request, None));
    Ok(answer)
}

/// A new session, under a new secret: whatever the browser held before opens nothing.
async fn come_in(
    app: &App,
    request: &HttpRequest,
    user: &User,
    entry: Entry,
    next: &str,
) -> Result<HttpResponse, Problem> {
    let (secret, now) = (access::secret(), now());
    let agent = request.headers().get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let session = Session {
        id: Uuid::now_v7(),
        user_id: user.id,
        address: address(app, request),
        agent: agent.chars().take(200).collect(),
        created_at: now,
        seen_at: now,
    };
    app.store.recording(entry).open_session(access::hash(&secret), session).await.map_err(Failure::from)?;
    let mut answer = see_other(own_path(next));
    let _ = answer.add_cookie(&session_cookie(app, request, Some(&secret)));
    let _ = answer.add_cookie(&device_cookie(app, request, &secret));
    Ok(answer)
}

/// Where to go after the login: to a page of ours, whatever the address says.
fn own_path(next: &str) -> &str {
    let is_own = ["/console", "/board"]
        .iter()
        .any(|root| next.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?'])));
    let is_plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_own && is_plain { next } else { "/console" }
}

async fn link_page(
    app: &App,
    request: &HttpRequest,
    link: &str,
    status: StatusCode,
    fault: Option<String>,
) -> Result<HttpResponse, Problem> {
    let user = app.store.link(access::hash(link), now()).await.map_err(Failure::from)?;
    let status = if user.is_none() { StatusCode::GONE } else { status };
    let door = Door::of(request);
    let frame = Frame::outside("Choose a password", door.token());
    let action = request.path().to_owned();
    let shown = LinkPage { frame, name: user.map(|user| user.name), action, least: *PASSWORD_LENGTH.start(), fault };
    Ok(door.keep(page_with(status, &shown)?, app, request))
}

/// The password of a form that asks for a new one, twice.
pub(super) fn new_password(fields: &Fields) -> Result<String, String> {
    let password = fields.exact("password");
    if !PASSWORD_LENGTH.contains(&password.chars().count()) {
        let (least, most) = (PASSWORD_LENGTH.start(), PASSWORD_LENGTH.end());
        return Err(format!("A password has {least} to {most} characters."));
    }
    if password != fields.exact("again") {
        return Err("The two passwords are not the same.".into());
    }
    Ok(password.to_owned())
}

/// Runs what hashes on a thread that answers nobody.
pub(super) async fn hashing<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let busy = || Failure::new(Code::Overloaded, "Too many are logging in. Try again.");
    let _place = tokio::time::timeout(HASHING_PATIENCE, HASHING.acquire()).await.map_err(|_| busy())?;
    tokio::task::spawn_blocking(work).await.map_err(|fault| Failure::new(Code::InternalError, "").because(fault))
}

/// The secret of a browser that is not logged in.
pub(in crate::web) struct Door {
    secret: String,
    is_new: bool,
}

impl Door {
    pub fn of(request: &HttpRequest) -> Self {
        let known = request.cookie(DOOR).map(|cookie| cookie.value().to_owned()).filter(|secret| secret.len() == 43);
        let is_new = known.is_none();
        Self { secret: known.unwrap_or_else(access::secret), is_new }
    }

    pub fn token(&self) -> String {
        access::form_token(&self.secret)
    }

    pub fn keep(&self, mut answer: HttpResponse, app: &App, request: &HttpRequest) -> HttpResponse {
        if self.is_new {
            let _ = answer.add_cookie(&cookie(DOOR, &self.secret, app, request).finish());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn the_login_leads_to_our_own_pages_only() {
        for own in ["/console", "/console/orders?q=status%3Anew", "/board/1"] {
            assert_eq!(own_path(own), own);
        }
        for foreign in
            ["", "//evil.example", "/consolex", "https://evil.example/console", "/console\\@x", "/console/\r\nx"]
        {
            assert_eq!(own_path(foreign), "/console");
        }
    }
}

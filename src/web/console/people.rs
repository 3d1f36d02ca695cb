//! Users, their sessions, and the log of what they did.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;
use serde_json::json;
use strum::VariantArray;
use uuid::Uuid;

use super::frame::Frame;
use super::guard::{Visitor, lifetimes};
use super::login::{hashing, new_password};
use super::{Action, Posted, show, told};
use crate::access::{self, Guesser, LINK_VALID, PASSWORD_LENGTH, Role, Session, User};
use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::order::Instant;
use crate::store::{AuditFilter, Changed, Logged};
use crate::web::pages::{page, page_with};
use crate::web::problem::Problem;

/// Entries of one page of the audit log.
const ENTRIES: i64 = 100;

#[derive(Template)]
#[template(path = "console/me.html")]
struct MePage {
    frame: Frame,
    roles: Vec<&'static str>,
    sessions: Vec<SessionRow>,
    least: usize,
}

#[derive(Template)]
#[template(path = "console/users.html")]
struct UsersPage {
    frame: Frame,
    users: Vec<UserRow>,
    roles: &'static [Role],
    sessions: Vec<SessionRow>,
    hours: i64,
}

#[derive(Template)]
#[template(path = "console/invited.html")]
struct InvitedPage {
    frame: Frame,
    name: String,
    link: String,
    hours: i64,
}

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    frame: Frame,
    entries: Vec<AuditRow>,
    filter: AuditQuery,
    actions: Vec<&'static str>,
    older: Option<String>,
}

struct UserRow {
    user: User,
    is_me: bool,
    since: String,
}

impl UserRow {
    fn has(&self, role: &Role) -> bool {
        self.user.roles.contains(role)
    }
}

struct SessionRow {
    id: Uuid,
    user: String,
    address: String,
    agent: String,
    since: String,
    seen: String,
    is_this: bool,
}

struct AuditRow {
    at: Instant,
    logged: Logged,
    /// Where what it was done to is shown.
    link: Option<String>,
}

/// Which entries of the audit log to show.
#[derive(Debug, Default, Deserialize)]
pub struct AuditQuery {
    #[serde(default)]
    user: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    subject: String,
    below: Option<i64>,
}

fn session_rows(sessions: Vec<Session>, users: &[User], visitor: &Visitor, app: &App) -> Vec<SessionRow> {
    let (lifetimes, now) = (lifetimes(app), now());
    let name = |id: Uuid| users.iter().find(|user| user.id == id).map_or("?", |user| user.name.as_str()).to_owned();
    let open = sessions.into_iter().filter(|session| !session.is_over(lifetimes, now));
    open.map(|session| SessionRow {
        id: session.id,
        user: name(session.user_id),
        since: show::span(now - session.created_at),
        seen: show::span(now - session.seen_at),
        is_this: session.id == visitor.session.id,
        address: session.address,
        agent: session.agent,
    })
    .collect()
}

/// `GET /console/me`
pub async fn show_me(visitor: Visitor, app: Data<App>) -> Result<HttpResponse, Problem> {
    let sessions = app.store.sessions(Some(visitor.user.id)).await.map_err(Failure::from)?;
    let sessions = session_rows(sessions, &[visitor.user.as_ref().clone()], &visitor, &app);
    let roles = visitor.user.roles.iter().map(|role| role.word()).collect();
    Ok(page(&MePage { frame: visitor.frame("My account"), roles, sessions, least: *PASSWORD_LENGTH.start() })?)
}

/// `POST /console/me/password`: ends all other sessions.
pub async fn change_password(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    let unprocessable = |fault: &str| Failure::new(Code::Unprocessable, fault);
    let visitor = &posted.visitor;
    let password = new_password(&posted.fields).map_err(|fault| unprocessable(&fault))?;
    let entry = posted.entry(format!("user:{}", visitor.user.name), json!({}))?;
    // As at the login: whoever found an open browser must not guess here instead.
    let guesser = Guesser::Session(visitor.session.id);
    let attempt = app.store.attempt_login(guesser.clone(), now()).await;
    if let Err(until) = attempt.map_err(Failure::from)? {
        let detail = format!("Too many attempts. Try again in {}.", show::span(until - now()));
        return Err(Failure::new(Code::TooManyRequests, detail).into());
    }
    let known = app.store.credentials(visitor.user.name.clone()).await.map_err(Failure::from)?;
    let present: String = posted.fields.exact("present").chars().take(PASSWORD_LENGTH.end() + 1).collect();
    let hash = known.and_then(|(_, hash)| hash);
    if !hashing(move || access::is_password(&present, hash.as_deref())).await? {
        app.store.record(entry, false).await.map_err(Failure::from)?;
        return Err(unprocessable("That is not your present password.").into());
    }
    let forgiven = app.store.forgive_login(guesser, now()).await;
    forgiven.map_err(Failure::from)?;
    let password = hashing(move || access::hash_password(&password)).await?;
    let store = app.store.recording(entry);
    store.set_password(visitor.user.id, password, visitor.session.id, now()).await.map_err(Failure::from)?;
    Ok(posted.done("/console/me", "The password is changed. Your other sessions have ended."))
}

/// `POST /console/me/sessions/{id}/end`
pub async fn end_own_session(app: Data<App>, id: Path<Uuid>, posted: Posted) -> Result<HttpResponse, Problem> {
    let entry = posted.entry(format!("session:{id}"), json!({}))?;
    let ended = app.store.recording(entry).revoke_session(*id, Some(posted.visitor.user.id), now()).await;
    let notice = if ended.map_err(Failure::from)? { "The session has ended." } else { "It had ended already." };
    Ok(posted.done("/console/me", notice))
}

/// `POST /console/sessions/{id}/end`
pub async fn end_session(app: Data<App>, id: Path<Uuid>, posted: Posted) -> Result<HttpResponse, Problem> {
    let entry = posted.entry(format!("session:{id}"), json!({}))?;
    let ended = app.store.recording(entry).revoke_session(*id, None, now()).await.map_err(Failure::from)?;
    Ok(posted.done("/console/users", if ended { "The session has ended." } else { "It had ended already." }))
}

/// `GET /console/users`
pub async fn list_users(visitor: Visitor, app: Data<App>) -> Result<HttpResponse, Problem> {
    let users = app.store.users().await.map_err(Failure::from)?;
    let sessions = app.store.sessions(None).await.map_err(Failure::from)?;
    let sessions = session_rows(sessions, &users, &visitor, &app);
    let row = |user: User| {
        let (is_me, since) = (user.id == visitor.user.id, show::span(now() - user.created_at));
        UserRow { user, is_me, since }
    };
    let users = users.into_iter().map(row).collect();
    let (frame, hours) = (visitor.frame("Users"), LINK_VALID.num_hours());
    Ok(page(&UsersPage { frame, users, roles: Role::VARIANTS, sessions, hours })?)
}

/// `POST /console/users`
pub async fn invite(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    let name = posted.fields.text("name").to_lowercase();
    if !access::is_name(&name) {
        let detail = "A name has 2 to 40 small letters, digits and any of `.`, `-`, `_`, `@`.";
        return Err(Failure::new(Code::Unprocessable, detail).into());
    }
    let roles = roles_of(&posted)?;
    let entry = posted.entry(format!("user:{name}"), json!({"roles": roles}))?;
    let link = access::secret();
    let user = User {
        id: Uuid::now_v7(),
        name: name.clone(),
        roles,
        created_at: now(),
        disabled_at: None,
        has_password: false,
    };
    let changed = app.store.recording(entry).add_user(user, access::hash(&link)).await.map_err(Failure::from)?;
    settled(changed)?;
    invited(&app, &posted.visitor, name, &link)
}

/// `POST /console/users/{id}/link`
pub async fn new_link(app: Data<App>, id: Path<Uuid>, posted: Posted) -> Result<HttpResponse, Problem> {
    let user = find(&app, *id).await?;
    let entry = posted.entry(format!("user:{}", user.name), json!({"link": "new"}))?;
    let link = access::secret();
    let changed = app.store.recording(entry).add_link(*id, access::hash(&link), now()).await.map_err(Failure::from)?;
    settled(changed)?;
    invited(&app, &posted.visitor, user.name, &link)
}

/// `POST /console/users/{id}`
pub async fn change_user(app: Data<App>, id: Path<Uuid>, posted: Posted) -> Result<HttpResponse, Problem> {
    let user = find(&app, *id).await?;
    let roles = roles_of(&posted)?;
    let disabled = posted.fields.text("disabled") == "on";
    let detail = json!({"roles": roles, "before": user.roles, "shut_out": disabled});
    let entry = posted.entry(format!("user:{}", user.name), detail)?;
    let changed = app.store.recording(entry).change_user(*id, roles, disabled, now()).await.map_err(Failure::from)?;
    settled(changed)?;
    Ok(posted.done("/console/users", &format!("{} is changed.", user.name)))
}

/// `GET /console/audit`
pub async fn list_audit(visitor: Visitor, app: Data<App>, query: Query<AuditQuery>) -> Result<HttpResponse, Problem> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = AuditFilter {
        user_name: given(&query.user),
        action: given(&query.action),
        subject: given(&query.subject),
        below: query.below,
    };
    let entries = app.store.audit(filter, ENTRIES).await.map_err(Failure::from)?;
    let more = i64::try_from(entries.len()).unwrap_or(0) == ENTRIES;
    let older = entries.last().filter(|_| more).map(|last| {
        let mut address = form_urlencoded::Serializer::new(String::new());
        address.append_pair("user", &query.user).append_pair("action", &query.action);
        address.append_pair("subject", &query.subject).append_pair("below", &last.position.to_string());
        format!("/console/audit?{}", address.finish())
    });
    let row = |logged: Logged| {
        let link = logged.entry.subject.strip_prefix("order:").map(|id| format!("/console/orders/{id}"));
        AuditRow { at: logged.entry.at, link, logged }
    };
    let entries = entries.into_iter().map(row).collect();
    let others = ["log_in", "follow_link"];
    let actions = others.into_iter().chain(Action::VARIANTS.iter().map(|action| action.word())).collect();
    Ok(page(&AuditPage { frame: visitor.frame("Audit log"), entries, filter: query.into_inner(), actions, older })?)
}

fn roles_of(posted: &Posted) -> Result<Vec<Role>, Failure> {
    let roles: Result<Vec<Role>, _> = posted.fields.all("role").map(str::parse).collect();
    let roles = roles.map_err(|_| Failure::new(Code::Unprocessable, "There is no such role."))?;
    if roles.is_empty() {
        return Err(Failure::new(Code::Unprocessable, "Choose at least one role."));
    }
    Ok(roles)
}

async fn find(app: &App, id: Uuid) -> Result<User, Failure> {
    let users = app.store.users().await?;
    let unknown = || Failure::new(Code::NotFound, "There is no such user.");
    users.into_iter().find(|user| user.id == id).ok_or_else(unknown)
}

fn settled(changed: Changed) -> Result<(), Failure> {
    match changed {
        Changed::Done => Ok(()),
        Changed::Unknown => Err(Failure::new(Code::NotFound, "There is no such user.")),
        Changed::Taken => Err(Failure::new(Code::AlreadyExists, "There is a user of that name already.")),
        Changed::LastAdmin => {
            let detail = "This is the last administrator who can log in: make another one first.";
            Err(Failure::new(Code::NotPossible, detail))
        }
    }
}

/// Shows a link, once: only its hash is kept.
fn invited(app: &App, visitor: &Visitor, name: String, link: &str) -> Result<HttpResponse, Problem> {
    let root = app.settings.console_url.clone().unwrap_or_default();
    let link = access::link(&root, link);
    let shown = InvitedPage { frame: visitor.frame("Invited"), name, link, hours: LINK_VALID.num_hours() };
    Ok(page_with(StatusCode::OK, &shown)?)
}

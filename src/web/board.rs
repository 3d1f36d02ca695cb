//! The barista's board: one page for one shop, which its tablet keeps open.
//!
//! A tablet shows a key of the shop once, and is signed in from then on by a cookie that no script can read. Its script
//! says the very words of the shop API (`web::shop`), mounted a second time below `/board/shop` for whoever has that
//! cookie: there is no second way to change an order. Which step leads where stands in the page, from `lifecycle`.

use actix_web::body::BoxBody;
use actix_web::cookie::Cookie;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{Bytes, Data, Payload, ServiceConfig, get, post, resource, scope};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse};
use askama::Template;
use serde_json::{Map, Value, json};
use strum::VariantArray;

use super::console::frame::Frame;
use super::console::guard::{address, cookie};
use super::console::login::Door;
use super::console::posted;
use super::console::show;
use crate::access::{self, Tablet};
use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::keys::{KeyKind, KeyRecord, Owner};
use crate::lifecycle::{Actor, Reason, Status, targets};
use crate::web::auth::authenticate;
use crate::web::pages::{page, page_with, see_other};
use crate::web::problem::Problem;
use crate::web::shop;
use crate::web::views::board::ShopAction;

/// Holds the secret of a tablet that is signed in.
const COOKIE: &str = "lungo_tablet";

/// The columns of the board, from left to right.
const COLUMNS: &[(Status, &str)] = &[
    (Status::AwaitingShop, "New"),
    (Status::Accepted, "To make"),
    (Status::Preparing, "Making"),
    (Status::Ready, "Ready"),
];

/// Every URL of the board.
pub fn configure(app: &mut ServiceConfig) {
    app.service(resource("/board").route(get().to(show_board)))
        .service(resource("/board/enter").route(post().to(sign_in)))
        .service(resource("/board/leave").route(post().to(sign_out)))
        .service(scope("/board/shop").wrap(from_fn(admit)).configure(shop::configure));
}

#[derive(Template)]
#[template(path = "board/board.html")]
struct BoardPage {
    frame: Frame,
    shop_id: String,
    shop: String,
    /// Where each step of the shop leads from each status, as JSON.
    steps: String,
    columns: &'static [(Status, &'static str)],
    rejecting: &'static [Reason],
    cancelling: &'static [Reason],
}

#[derive(Template)]
#[template(path = "board/enter.html")]
struct EnterPage {
    frame: Frame,
    fault: Option<String>,
}

/// `GET /board`: the board, or the question for the shop's key.
async fn show_board(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let signed_in = signed_in(&app, &request).await?;
    let catalogue = app.catalogue();
    let shop = signed_in.and_then(|(secret, record)| match record.owner {
        Owner::Shop { shop_id, partner_id } => Some((secret, catalogue.shop(partner_id, shop_id)?)),
        _ => None,
    });
    let Some((secret, shop)) = shop else { return question(&app, &request, StatusCode::OK, None) };
    Ok(page(&BoardPage {
        frame: Frame::outside(format!("Board of {}", shop.name), access::form_token(&secret)),
        shop_id: shop.shop_id.0.to_string(),
        shop: shop.name.clone(),
        steps: steps().to_string(),
        columns: COLUMNS,
        rejecting: Reason::REJECTING,
        cancelling: Reason::SHOP_CANCELLING,
    })?)
}

/// `POST /board/enter`
async fn sign_in(app: Data<App>, request: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    let body = Bytes::from_request(&request, &mut body.into_inner());
    let fields = posted::read(&request, body, &Door::of(&request).token()).await?;
    let refused = |fault: &str| question(&app, &request, StatusCode::UNPROCESSABLE_ENTITY, Some(fault.into()));
    let known = authenticate(&app.keys.load(), &[format!("Bearer {}", fields.text("key")).as_bytes()]);
    let Ok(record) = known else { return refused("This is not a key that is valid.") };
    if record.owner.kind() != KeyKind::Shop {
        return refused("This key is not one of a shop.");
    }
    let (secret, now) = (access::secret(), now());
    let agent = request.headers().get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let tablet = Tablet {
        key_id: record.key_id,
        address: address(&app, &request),
        agent: agent.chars().take(200).collect(),
        created_at: now,
    };
    let hash = access::hash(&secret);
    if !app.store.sign_in(hash, tablet, now - lifetime(&app)).await.map_err(Failure::from)? {
        return refused("This key has been revoked.");
    }
    tracing::info!(key.id = %record.key_id, "board.signed_in");
    let mut answer = see_other("/board");
    let _ = answer.add_cookie(&tablet_cookie(&app, &request, Some(&secret)));
    Ok(answer)
}

/// `POST /board/leave`
async fn sign_out(app: Data<App>, request: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    let mut answer = see_other("/board");
    if let Some((secret, record)) = signed_in(&app, &request).await? {
        let body = Bytes::from_request(&request, &mut body.into_inner());
        posted::read(&request, body, &access::form_token(&secret)).await?;
        app.store.sign_out(access::hash(&secret)).await.map_err(Failure::from)?;
        // A second tablet, or a till, begins the watch anew with its next heartbeat.
        if let Owner::Shop { shop_id, .. } = record.owner {
            let now = now();
            app.store.change_shop(shop_id, move |shop| shop.end_watch(now)).await.map_err(Failure::from)?;
            app.take_effect().await;
        }
        let _ = answer.add_cookie(&tablet_cookie(&app, &request, None));
    }
    Ok(answer)
}

/// Lets a tablet say the words of its shop. A cookie is sent by every page that can make a browser send something, so
/// that whatever changes anything must come from ours.
async fn admit(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    match record_of(request.request()).await {
        Ok(record) => {
            request.extensions_mut().insert(record);
            next.call(request).await
        }
        Err(problem) => Ok(request.error_response(problem)),
    }
}

async fn record_of(request: &HttpRequest) -> Result<KeyRecord, Problem> {
    let app = request.app_data::<Data<App>>().expect("every request can reach the App");
    if !request.method().is_safe() {
        posted::check_origin(request)?;
    }
    let detail = "This tablet is not signed in, or the shop's key was revoked.";
    let refused = || Failure::new(Code::Unauthenticated, detail);
    Ok(signed_in(app, request).await?.ok_or_else(refused)?.1)
}

/// The secret of the tablet that asks, and the record of the key by which it is signed in.
async fn signed_in(app: &App, request: &HttpRequest) -> Result<Option<(String, KeyRecord)>, Problem> {
    let Some(secret) = request.cookie(COOKIE).map(|cookie| cookie.value().to_owned()) else { return Ok(None) };
    let found = app.store.signed_in(access::hash(&secret)).await.map_err(Failure::from)?;
    Ok(found.filter(|(_, since)| now() - *since < lifetime(app)).map(|(record, _)| (secret, record)))
}

fn lifetime(app: &App) -> chrono::Duration {
    chrono::Duration::from_std(app.settings.board_session.0).expect("spans are at most a year")
}

/// A cookie with a tablet's secret, or one that removes it.
fn tablet_cookie(app: &App, request: &HttpRequest, secret: Option<&str>) -> Cookie<'static> {
    let age = if secret.is_some() { app.settings.board_session.0 } else { std::time::Duration::ZERO };
    let age = age.try_into().expect("spans are at most a year");
    cookie(COOKIE, secret.unwrap_or_default(), app, request).path("/board").max_age(age).finish()
}

fn question(
    app: &App,
    request: &HttpRequest,
    status: StatusCode,
    fault: Option<String>,
) -> Result<HttpResponse, Problem> {
    let door = Door::of(request);
    let shown = page_with(status, &EnterPage { frame: Frame::outside("Board", door.token()), fault })?;
    Ok(door.keep(shown, app, request))
}

/// `{"accepted": {"start": "preparing", …}, …}`: from the one table.
fn steps() -> Value {
    let from = |status: &Status| {
        let steps = ShopAction::EVENTS.iter().filter_map(|(action, event)| {
            let to = targets(Some(*status), *event, Actor::Shop)?.first()?;
            Some((json!(action).as_str()?.to_owned(), json!(to)))
        });
        (status.word().to_owned(), Value::Object(steps.collect::<Map<_, _>>()))
    };
    Value::Object(Status::VARIANTS.iter().map(from).collect())
}

#[cfg(test)]
mod tests;

//! What operators can see and do: partners, keys, shops, menus, orders, and the service itself.
//!
//! Whatever they do is in the audit log, with whose key it was: an order's deeds by [`crate::store::Store::command`], all
//! else by [`recording`]. A test asks every operation that changes something.

pub mod calendar;
pub mod keys;
pub mod menu;
pub mod orders;
pub mod partners;
pub mod service;
pub mod shops;
pub mod webhooks;

use actix_web::HttpRequest;
use serde_json::json;

use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::order::PartnerId;
use crate::store::{By, Partner, Store};
use crate::web::auth::AsAdmin;
use crate::web::edge::RequestId;

crate::bodies!(
    calendar::Calendar,
    keys::NewKey,
    menu::ItemSettings,
    menu::ShopItemSettings,
    orders::OperatorCancel,
    orders::OperatorNote,
    orders::OperatorReason,
    orders::OperatorRefund,
    partners::NewPartner,
    shops::ShopSettings,
    webhooks::NewReceiver,
);

/// Who acts, as the audit log names a key: by its label, which people gave it, and by its id.
async fn by(app: &App, admin: AsAdmin, request: &HttpRequest, note: Option<String>) -> Result<By, Failure> {
    let key = keys::find(app, admin.key_id).await?;
    let detail = json!({"key_id": key.key_id});
    Ok(By {
        at: now(),
        user_id: None,
        // No user can be called so: names of users have no space.
        name: format!("key {}", key.label),
        reason: note.map(|note| note.trim().to_owned()).filter(|note| !note.is_empty()),
        request_id: RequestId::of(request),
        detail: detail.as_object().cloned().unwrap_or_default(),
    })
}

/// The store as a key writes through it: what is written next is in the audit log, done or refused, with whose key it was.
async fn recording(
    app: &App,
    admin: AsAdmin,
    request: &HttpRequest,
    action: &str,
    subject: String,
    detail: serde_json::Value,
) -> Result<Store, Failure> {
    let by = by(app, admin, request, None).await?;
    Ok(app.store.recording(by.entry(action, subject, detail)))
}

async fn find_partner(app: &App, id: PartnerId) -> Result<Option<Partner>, Failure> {
    Ok(app.store.partners().await?.into_iter().find(|partner| partner.partner_id == id))
}

fn unknown_partner() -> Failure {
    Failure::new(Code::NotFound, "There is no such partner.")
}

#[cfg(test)]
mod tests;

//! What operators can see and do: partners, keys, shops, menus, orders, and the service itself.

pub mod keys;
pub mod menu;
pub mod orders;
pub mod partners;
pub mod service;
pub mod shops;

use uuid::Uuid;

use crate::app::App;
use crate::error::{Code, Failure};
use crate::order::PartnerId;
use crate::store::Partner;

crate::bodies!(
    keys::NewKey,
    menu::ItemSettings,
    menu::ShopItemSettings,
    orders::OperatorCancel,
    orders::OperatorNote,
    orders::OperatorRefund,
    partners::NewPartner,
    shops::ShopSettings,
);

/// An id in a path with several.
///
/// # Errors
/// `not_found`.
fn id_in(text: &str) -> Result<Uuid, Failure> {
    text.parse().map_err(|_| Failure::new(Code::NotFound, "There is no such thing: this is not an id."))
}

async fn find_partner(app: &App, id: PartnerId) -> Result<Option<Partner>, Failure> {
    Ok(app.store.partners().await?.into_iter().find(|partner| partner.partner_id == id))
}

fn unknown_partner() -> Failure {
    Failure::new(Code::NotFound, "There is no such partner.")
}

#[cfg(test)]
mod tests;

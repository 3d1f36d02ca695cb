//! What operators can see and do: partners, keys, shops, menus, orders, and the service itself.

pub mod calendar;
pub mod keys;
pub mod menu;
pub mod orders;
pub mod partners;
pub mod service;
pub mod shops;
pub mod webhooks;

use crate::app::App;
use crate::error::{Code, Failure};
use crate::order::PartnerId;
use crate::store::Partner;

crate::bodies!(
    calendar::Calendar,
    keys::NewKey,
    menu::ItemSettings,
    menu::ShopItemSettings,
    orders::OperatorCancel,
    orders::OperatorNote,
    orders::OperatorRefund,
    partners::NewPartner,
    shops::ShopSettings,
    webhooks::NewReceiver,
);

async fn find_partner(app: &App, id: PartnerId) -> Result<Option<Partner>, Failure> {
    Ok(app.store.partners().await?.into_iter().find(|partner| partner.partner_id == id))
}

fn unknown_partner() -> Failure {
    Failure::new(Code::NotFound, "There is no such partner.")
}

#[cfg(test)]
mod tests;

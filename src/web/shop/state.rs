//! What a shop says of itself: its mode, that it is there, and what it has run out of.

use std::time::Duration;

use actix_web::web;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::catalogue::{Availability, Catalogue, MenuItem, Mode, Shop, ShopItem, ShopOption};
use crate::clock::now;
use crate::error::{Code, Failure, Fault};
use crate::order::Instant;
use crate::store::Store;
use crate::web::auth::AsShop;
use crate::web::body::Body;
use crate::web::catalogue::unknown_shop;
use crate::web::faults;
use crate::web::problem::Problem;
use crate::web::views::offer::ShopView;
use crate::web::vocabulary::{ModeName, Timestamp};

/// A tablet that is silent for three of these is worth a warning.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Neither a mode nor a sold-out item is set for longer than this: whoever set it has long forgotten it.
const LONGEST_MODE: chrono::Duration = chrono::Duration::days(7);

/// What the shop says about new orders for now.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(
    json!({"mode": "open"}),
    json!({"mode": "busy", "minutes": 5, "until": null}),
    json!({"mode": "paused", "until": "2026-01-02T03:04:05Z"}),
))]
pub struct SetMode {
    mode: ModeName,
    /// Needed for `busy`, and only there: what is added to every wait.
    #[schema(minimum = 1, maximum = 240)]
    minutes: Option<u32>,
    /// When the shop is open again by itself, at most 7 days from now. Needed for `paused`, allowed for `busy`.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Instant>,
}

impl SetMode {
    /// The mode, or all that is wrong with it. Pointers begin with `pointer`.
    pub fn parse(&self, pointer: &str, now: Instant) -> Result<Mode, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut wrong = |member: &str, code: &'static str, detail: &str| {
            faults.push(Fault::new(format!("{pointer}/{member}"), code, detail));
        };
        let name = self.mode.word();
        match (self.mode, self.minutes) {
            (ModeName::Busy, None) => wrong("minutes", "missing", "A busy shop says how many minutes it adds."),
            (ModeName::Open | ModeName::Paused, Some(_)) => {
                wrong("minutes", "not_allowed", &format!("`{name}` has no minutes."));
            }
            _ => {}
        }
        match (self.mode, self.until) {
            (ModeName::Paused, None) => wrong("until", "missing", "A pause has an end."),
            (ModeName::Open, Some(_)) => wrong("until", "not_allowed", "`open` has no end."),
            (_, Some(until)) if until <= now => wrong("until", "in_the_past", "This must be in the future."),
            (_, Some(until)) if until > now + LONGEST_MODE => {
                wrong("until", "out_of_range", "This must be at most 7 days from now.");
            }
            _ => {}
        }
        let until = self.until.and_then(stored);
        match (self.mode, self.minutes, until) {
            _ if !faults.is_empty() => Err(faults),
            (ModeName::Busy, Some(minutes), until) => Ok(Mode::Busy { minutes, until }),
            (ModeName::Paused, _, Some(until)) => Ok(Mode::Paused { until }),
            _ => Ok(Mode::Open),
        }
    }
}

/// Cut to the milliseconds that are stored.
fn stored(at: Instant) -> Option<Instant> {
    Instant::from_timestamp_millis(at.timestamp_millis())
}

/// Whether the shop has an item, or an option.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"available": true}), json!({"available": false, "until": null})))]
pub struct ItemAvailability {
    available: bool,
    /// When it is back, at most 7 days from now; null for until the shop says so. Only for what is not available.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Instant>,
}

impl ItemAvailability {
    /// What the audit log tells of an option.
    pub fn told(&self, option: &str) -> serde_json::Value {
        serde_json::json!({"option": option, "available": self.available, "until": self.until})
    }

    /// The availability, or all that is wrong with it.
    pub fn parse(available: bool, until: Option<Instant>, now: Instant) -> Result<Availability, Vec<Fault>> {
        let fault = match until {
            Some(_) if available => Some(("not_allowed", "What is available has no such time.")),
            Some(until) if until <= now => Some(("in_the_past", "This must be in the future.")),
            Some(until) if until > now + LONGEST_MODE => {
                Some(("out_of_range", "This must be at most 7 days from now."))
            }
            _ => None,
        };
        match fault {
            Some((code, detail)) => Err(vec![Fault::new("/until", code, detail)]),
            None if available => Ok(Availability::Available),
            None => Ok(Availability::SoldOut { until: until.and_then(stored) }),
        }
    }
}

/// Whether the shop has an item.
#[derive(Debug, Serialize, ToSchema)]
pub struct AvailabilityView {
    item_id: String,
    available: bool,
    #[schema(required)]
    sold_out_until: Option<Timestamp>,
}

/// An item of the shop's menu, without its price.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemAvailabilityView {
    item_id: String,
    name: String,
    available: bool,
    /// When it is back, where that is known.
    #[schema(required)]
    sold_out_until: Option<Timestamp>,
}

/// What the shop sells, and has run out of.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemAvailabilityList {
    /// In the menu's order.
    items: Vec<ItemAvailabilityView>,
}

/// An option of the shop's menu. Where several items have it, it is there or sold out in all of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct OptionAvailabilityView {
    option_id: String,
    name: String,
    available: bool,
    /// When it is back, where that is known.
    #[schema(required)]
    sold_out_until: Option<Timestamp>,
}

/// The options that the shop sells, and has run out of.
#[derive(Debug, Serialize, ToSchema)]
pub struct OptionAvailabilityList {
    /// In the menu's order.
    options: Vec<OptionAvailabilityView>,
}

impl OptionAvailabilityList {
    pub fn new(catalogue: &Catalogue, shop: &Shop, now: Instant) -> Self {
        let view = |(option, availability): (&crate::catalogue::ItemOption, Availability)| OptionAvailabilityView {
            option_id: option.option_id.clone(),
            name: option.name.clone(),
            available: availability.is_available(now),
            sold_out_until: Timestamp::maybe(availability.back_at(now)),
        };
        Self { options: catalogue.options(shop).into_iter().map(view).collect() }
    }
}

/// Says whether a shop has an option, whichever items it is in.
///
/// # Errors
/// `not_found` if no item on the shop's menu has the option; all that is wrong with what was said.
pub async fn say_of_option(
    app: &App,
    store: &Store,
    shop: &Shop,
    option_id: String,
    body: &ItemAvailability,
) -> Result<OptionAvailabilityView, Failure> {
    let (catalogue, now) = (app.catalogue(), now());
    let options = catalogue.options(shop);
    let known = options.iter().find(|(option, _)| option.option_id == option_id).ok_or_else(unknown_option)?;
    let name = known.0.name.clone();
    let availability = ItemAvailability::parse(body.available, body.until, now).map_err(faults::unprocessable)?;
    store.put_shop_option(ShopOption { shop_id: shop.shop_id, option_id: option_id.clone(), availability }).await?;
    app.take_effect().await;
    let sold_out_until = Timestamp::maybe(availability.back_at(now));
    Ok(OptionAvailabilityView { option_id, name, available: body.available, sold_out_until })
}

/// The answer to a heartbeat.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeartbeatView {
    next_heartbeat_within_seconds: u64,
}

/// The shop as it is now.
#[utoipa::path(
    get, path = "/v1/shop", operation_id = "getOwnShop", tag = "shop", security(("shopKey" = [])),
    responses((status = 200, description = "The shop.", body = ShopView))
)]
pub async fn get_shop(shop: AsShop, app: web::Data<App>) -> Result<web::Json<ShopView>, Problem> {
    let catalogue = app.catalogue();
    let known = catalogue.shop(shop.partner_id, shop.shop_id).ok_or_else(unknown_shop)?;
    Ok(web::Json(ShopView::new(&catalogue, known, now())))
}

/// What the shop has on its menu, and what of it is sold out.
#[utoipa::path(
    get, path = "/v1/shop/items", operation_id = "listItemAvailability", tag = "shop", security(("shopKey" = [])),
    responses((status = 200, description = "The items.", body = ItemAvailabilityList))
)]
pub async fn list_item_availability(
    shop: AsShop,
    app: web::Data<App>,
) -> Result<web::Json<ItemAvailabilityList>, Problem> {
    let catalogue = app.catalogue();
    let menu = catalogue.menu(shop.partner_id, shop.shop_id, now()).ok_or_else(unknown_shop)?;
    let item = |item: &MenuItem| ItemAvailabilityView {
        item_id: item.item_id.to_owned(),
        name: item.name.to_owned(),
        available: item.available,
        sold_out_until: Timestamp::maybe(item.sold_out_until),
    };
    Ok(web::Json(ItemAvailabilityList { items: menu.iter().map(item).collect() }))
}

/// Opens, slows down or pauses the shop. What was accepted stays accepted.
#[utoipa::path(
    put, path = "/v1/shop/mode", operation_id = "setMode", tag = "shop", security(("shopKey" = [])),
    request_body = SetMode, responses((status = 200, description = "The shop as it is now.", body = ShopView))
)]
pub async fn set_mode(
    shop: AsShop,
    app: web::Data<App>,
    Body(body): Body<SetMode>,
) -> Result<web::Json<ShopView>, Problem> {
    let now = now();
    let mode = body.parse("", now).map_err(faults::unprocessable)?;
    let changed =
        app.store.change_shop(shop.shop_id, move |shop| shop.set_own_mode(mode, now)).await.map_err(Failure::from)?;
    let changed = changed.ok_or_else(unknown_shop)?;
    app.take_effect().await;
    Ok(web::Json(ShopView::new(&app.catalogue(), &changed, now)))
}

/// The shop is there. Once it has said so it has to go on: after three minutes of silence nothing is offered to it, until
/// it is heard of again or `endHeartbeats` says that no tablet is expected.
#[utoipa::path(
    post, path = "/v1/shop/heartbeat", operation_id = "heartbeat", tag = "shop", security(("shopKey" = [])),
    responses((status = 200, description = "Heard.", body = HeartbeatView))
)]
pub async fn heartbeat(shop: AsShop, app: web::Data<App>) -> Result<web::Json<HeartbeatView>, Problem> {
    let now = now();
    let heard = move |shop: &mut crate::catalogue::Shop| shop.last_heartbeat_at = shop.last_heartbeat_at.max(Some(now));
    app.store.change_shop(shop.shop_id, heard).await.map_err(Failure::from)?.ok_or_else(unknown_shop)?;
    app.heard_of(shop.shop_id, now);
    Ok(web::Json(HeartbeatView { next_heartbeat_within_seconds: HEARTBEAT.as_secs() }))
}

/// No heartbeat is expected any more: silence no longer takes the shop offline. The next heartbeat begins the watch anew.
#[utoipa::path(
    delete, path = "/v1/shop/heartbeat", operation_id = "endHeartbeats", tag = "shop", security(("shopKey" = [])),
    responses((status = 200, description = "The shop as it is now.", body = ShopView))
)]
pub async fn end_heartbeats(shop: AsShop, app: web::Data<App>) -> Result<web::Json<ShopView>, Problem> {
    let now = now();
    let changed = app.store.change_shop(shop.shop_id, move |shop| shop.end_watch(now)).await.map_err(Failure::from)?;
    let changed = changed.ok_or_else(unknown_shop)?;
    app.take_effect().await;
    Ok(web::Json(ShopView::new(&app.catalogue(), &changed, now)))
}

/// Takes an item off the shop's menu for a while, or puts it back.
#[utoipa::path(
    put, path = "/v1/shop/items/{item_id}/availability", operation_id = "setItemAvailability", tag = "shop",
    security(("shopKey" = [])), params(("item_id" = String, Path)), request_body = ItemAvailability,
    responses((status = 200, description = "What holds now.", body = AvailabilityView))
)]
pub async fn set_item_availability(
    shop: AsShop,
    app: web::Data<App>,
    item_id: web::Path<String>,
    Body(body): Body<ItemAvailability>,
) -> Result<web::Json<AvailabilityView>, Problem> {
    let item_id = item_id.into_inner();
    if !app.catalogue().items(shop.partner_id).iter().any(|item| item.item_id == item_id) {
        return Err(unknown_item().into());
    }
    let availability = ItemAvailability::parse(body.available, body.until, now()).map_err(faults::unprocessable)?;
    let unchanged = ShopItem { shop_id: shop.shop_id, item_id, price: None, availability };
    let changed = app
        .store
        .change_shop_item(unchanged, move |item| item.availability = availability)
        .await
        .map_err(Failure::from)?;
    app.take_effect().await;
    let sold_out_until = match changed.availability {
        Availability::SoldOut { until } => Timestamp::maybe(until),
        Availability::Available => None,
    };
    Ok(web::Json(AvailabilityView { item_id: changed.item_id, available: body.available, sold_out_until }))
}

/// What options the shop has on its menu, and which of them are sold out.
#[utoipa::path(
    get, path = "/v1/shop/options", operation_id = "listOptionAvailability", tag = "shop",
    security(("shopKey" = [])), responses((status = 200, description = "The options.", body = OptionAvailabilityList))
)]
pub async fn list_option_availability(
    shop: AsShop,
    app: web::Data<App>,
) -> Result<web::Json<OptionAvailabilityList>, Problem> {
    let catalogue = app.catalogue();
    let known = catalogue.shop(shop.partner_id, shop.shop_id).ok_or_else(unknown_shop)?;
    Ok(web::Json(OptionAvailabilityList::new(&catalogue, known, now())))
}

/// Takes an option off all items of the shop's menu for a while, or puts it back.
#[utoipa::path(
    put, path = "/v1/shop/options/{option_id}/availability", operation_id = "setOptionAvailability", tag = "shop",
    security(("shopKey" = [])), params(("option_id" = String, Path)), request_body = ItemAvailability,
    responses((status = 200, description = "What holds now.", body = OptionAvailabilityView))
)]
pub async fn set_option_availability(
    shop: AsShop,
    app: web::Data<App>,
    option_id: web::Path<String>,
    Body(body): Body<ItemAvailability>,
) -> Result<web::Json<OptionAvailabilityView>, Problem> {
    let catalogue = app.catalogue();
    let known = catalogue.shop(shop.partner_id, shop.shop_id).ok_or_else(unknown_shop)?;
    Ok(web::Json(say_of_option(&app, &app.store, known, option_id.into_inner(), &body).await?))
}

pub fn unknown_option() -> Failure {
    Failure::new(Code::NotFound, "No item on the menu has such an option.")
}

pub fn unknown_item() -> Failure {
    Failure::new(Code::NotFound, "There is no such item.")
}

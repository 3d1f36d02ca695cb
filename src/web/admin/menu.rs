//! What partners sell, and what single shops change about it.

use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{find_partner, recording, unknown_partner};
use crate::app::App;
use crate::catalogue::{Availability, Item, OptionGroup, ShopItem};
use crate::clock::now;
use crate::error::Failure;
use crate::order::{Instant, Money, PartnerId, ShopId};
use crate::web::auth::AsAdmin;
use crate::web::body::Body;
use crate::web::catalogue::unknown_shop;
use crate::web::faults;
use crate::web::heard::{id_in, path_id};
use crate::web::problem::Problem;
use crate::web::shop::{ItemAvailability, OptionAvailabilityList, OptionAvailabilityView, say_of_option, unknown_item};
use crate::web::vocabulary::{Timestamp, shapes};

/// An item of a partner. Its prices are minor units of the currency of whichever shop sells it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemView {
    item_id: String,
    name: String,
    price: i64,
    make_seconds: u32,
    #[schema(value_type = Vec<shapes::OptionGroup>)]
    option_groups: Vec<OptionGroup>,
    /// What is not active is on no menu.
    active: bool,
}

impl ItemView {
    fn new(item: &Item) -> Self {
        let Item { item_id, name, price, make_seconds, option_groups, active, .. } = item.clone();
        Self { item_id, name, price, make_seconds, option_groups, active }
    }
}

/// All items of a partner in the menu's order.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemList {
    items: Vec<ItemView>,
}

/// An item to be, or to be replaced.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Cortado", "price": 330, "make_seconds": 70, "option_groups": [
    {"group_id": "milk", "name": "Milk", "min": 1, "max": 1, "options": [
        {"option_id": "milk_whole", "name": "Whole milk", "price": 0},
        {"option_id": "milk_oat", "name": "Oat milk", "price": 60}]}]}))]
pub struct ItemSettings {
    /// 1 to 100 characters, without control characters or blank ends.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F]([^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F])?$"
    )]
    name: String,
    /// Minor units of the currency of whichever shop sells it.
    #[schema(minimum = 0, maximum = 1000000)]
    price: i64,
    /// How long one piece takes: 0 to 3600.
    #[schema(maximum = 3600)]
    make_seconds: u32,
    #[schema(value_type = Option<Vec<shapes::OptionGroup>>, max_items = 20)]
    option_groups: Option<Vec<OptionGroup>>,
    /// On the menu; it is by default.
    active: Option<bool>,
}

/// An item as one shop sells it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShopItemView {
    item_id: String,
    name: String,
    /// What it costs at this shop.
    price: Money,
    /// The shop's own price, where it has one. Minor units.
    #[schema(required)]
    own_price: Option<i64>,
    available: bool,
    #[schema(required)]
    sold_out_until: Option<Timestamp>,
    active: bool,
}

impl ShopItemView {
    fn new(item: &Item, change: Option<&ShopItem>, currency: crate::order::Currency, now: Instant) -> Self {
        let own_price = change.and_then(|change| change.price);
        let availability = change.map_or(Availability::Available, |change| change.availability);
        Self {
            item_id: item.item_id.clone(),
            name: item.name.clone(),
            price: Money { amount: own_price.unwrap_or(item.price), currency },
            own_price,
            available: availability.is_available(now),
            sold_out_until: Timestamp::maybe(availability.back_at(now)),
            active: item.active,
        }
    }
}

/// All items of the shop's partner, as the shop sells them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShopItemList {
    items: Vec<ShopItemView>,
}

/// What a shop changes about an item. What is left out is as on the partner's menu.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"price": 390, "available": false, "until": null}))]
pub struct ShopItemSettings {
    /// The shop's own price in minor units; null for the partner's.
    #[schema(minimum = 0, maximum = 1000000)]
    price: Option<i64>,
    /// It is by default.
    available: Option<bool>,
    /// When it is back, at most 7 days from now; null for until somebody says so. Only for what is not available.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Instant>,
}

/// All items of a partner, also those that are on no menu.
#[utoipa::path(
    get, path = "/v1/admin/partners/{partner_id}/items", operation_id = "listItems", tag = "admin",
    security(("adminKey" = [])), params(("partner_id" = Uuid, Path)),
    responses((status = 200, description = "The items in the menu's order.", body = ItemList))
)]
pub async fn list_items(
    _: AsAdmin,
    app: web::Data<App>,
    partner_id: web::Path<String>,
) -> Result<web::Json<ItemList>, Problem> {
    let partner = PartnerId(path_id(&partner_id)?);
    find_partner(&app, partner).await?.ok_or_else(unknown_partner)?;
    Ok(web::Json(ItemList { items: app.catalogue().items(partner).iter().map(ItemView::new).collect() }))
}

/// Makes or replaces an item. Orders that were placed keep the names and prices they were placed with.
#[utoipa::path(
    put, path = "/v1/admin/partners/{partner_id}/items/{item_id}", operation_id = "putItem", tag = "admin",
    security(("adminKey" = [])),
    params(("partner_id" = Uuid, Path), ("item_id" = String, Path, description = "1 to 64 of a-z, 0-9, `_` and `-`.", pattern = "^[a-z0-9_-]{1,64}$")),
    request_body = ItemSettings, responses((status = 200, description = "The item.", body = ItemView))
)]
pub async fn put_item(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    Body(body): Body<ItemSettings>,
) -> Result<web::Json<ItemView>, Problem> {
    let (partner_id, item_id) = path.into_inner();
    let partner_id = PartnerId(id_in(&partner_id)?);
    find_partner(&app, partner_id).await?.ok_or_else(unknown_partner)?;
    let item = Item {
        partner_id,
        item_id,
        name: body.name,
        price: body.price,
        make_seconds: body.make_seconds,
        option_groups: body.option_groups.unwrap_or_default(),
        active: body.active.unwrap_or(true),
    };
    let found = app.catalogue().check_item(&item);
    if !found.is_empty() {
        return Err(faults::unprocessable(found).into());
    }
    let detail = json!({"item": item.item_id, "name": item.name, "price": item.price, "active": item.active});
    let store = recording(&app, admin, &request, "edit_item", format!("partner:{partner_id}"), detail).await?;
    store.put_item(item.clone()).await.map_err(Failure::from)?;
    app.take_effect().await;
    Ok(web::Json(ItemView::new(&item)))
}

/// The items of the shop's partner, as this shop sells them.
#[utoipa::path(
    get, path = "/v1/admin/shops/{shop_id}/items", operation_id = "listShopItems", tag = "admin",
    security(("adminKey" = [])), params(("shop_id" = Uuid, Path)),
    responses((status = 200, description = "The items in the menu's order.", body = ShopItemList))
)]
pub async fn list_shop_items(
    _: AsAdmin,
    app: web::Data<App>,
    shop_id: web::Path<String>,
) -> Result<web::Json<ShopItemList>, Problem> {
    let (catalogue, now) = (app.catalogue(), now());
    let shop = catalogue.find_shop(ShopId(path_id(&shop_id)?)).ok_or_else(unknown_shop)?;
    let view = |item: &Item| ShopItemView::new(item, catalogue.change(shop.shop_id, &item.item_id), shop.currency, now);
    Ok(web::Json(ShopItemList { items: catalogue.items(shop.partner_id).iter().map(view).collect() }))
}

/// Replaces what a shop changes about an item: its price, and whether the shop has it.
#[utoipa::path(
    put, path = "/v1/admin/shops/{shop_id}/items/{item_id}", operation_id = "putShopItem", tag = "admin",
    security(("adminKey" = [])), params(("shop_id" = Uuid, Path), ("item_id" = String, Path)),
    request_body = ShopItemSettings,
    responses((status = 200, description = "The item as the shop sells it.", body = ShopItemView))
)]
pub async fn put_shop_item(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    Body(body): Body<ShopItemSettings>,
) -> Result<web::Json<ShopItemView>, Problem> {
    let (shop_id, item_id) = path.into_inner();
    let (catalogue, now) = (app.catalogue(), now());
    let shop = catalogue.find_shop(ShopId(id_in(&shop_id)?)).ok_or_else(unknown_shop)?;
    let items = catalogue.items(shop.partner_id);
    let item = items.iter().find(|item| item.item_id == item_id).ok_or_else(unknown_item)?;
    let change = |availability| ShopItem { shop_id: shop.shop_id, item_id, price: body.price, availability };
    let (change, mut found) = match ItemAvailability::parse(body.available.unwrap_or(true), body.until, now) {
        Ok(availability) => (change(availability), Vec::new()),
        Err(found) => (change(Availability::Available), found),
    };
    found.extend(catalogue.check_change(shop, &change));
    if !found.is_empty() {
        return Err(faults::unprocessable(found).into());
    }
    let detail =
        json!({"item": change.item_id, "price": change.price, "available": body.available, "until": body.until});
    let store = recording(&app, admin, &request, "set_shop_item", format!("shop:{}", shop.shop_id), detail).await?;
    store.put_shop_item(change.clone()).await.map_err(Failure::from)?;
    app.take_effect().await;
    Ok(web::Json(ShopItemView::new(item, Some(&change), shop.currency, now)))
}

/// The options of the partner's items, and which of them are sold out at this shop.
#[utoipa::path(
    get, path = "/v1/admin/shops/{shop_id}/options", operation_id = "listShopOptions", tag = "admin",
    security(("adminKey" = [])), params(("shop_id" = Uuid, Path)),
    responses((status = 200, description = "The options in the menu's order.", body = OptionAvailabilityList))
)]
pub async fn list_shop_options(
    _: AsAdmin,
    app: web::Data<App>,
    shop_id: web::Path<String>,
) -> Result<web::Json<OptionAvailabilityList>, Problem> {
    let catalogue = app.catalogue();
    let shop = catalogue.find_shop(ShopId(path_id(&shop_id)?)).ok_or_else(unknown_shop)?;
    Ok(web::Json(OptionAvailabilityList::new(&catalogue, shop, now())))
}

/// Takes an option off all items of a shop's menu for a while, or puts it back.
#[utoipa::path(
    put, path = "/v1/admin/shops/{shop_id}/options/{option_id}/availability", operation_id = "putShopOption",
    tag = "admin", security(("adminKey" = [])), params(("shop_id" = Uuid, Path), ("option_id" = String, Path)),
    request_body = ItemAvailability,
    responses((status = 200, description = "What holds now.", body = OptionAvailabilityView))
)]
pub async fn put_shop_option(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    Body(body): Body<ItemAvailability>,
) -> Result<web::Json<OptionAvailabilityView>, Problem> {
    let (shop_id, option_id) = path.into_inner();
    let catalogue = app.catalogue();
    let shop = catalogue.find_shop(ShopId(id_in(&shop_id)?)).ok_or_else(unknown_shop)?;
    let (subject, detail) = (format!("shop:{}", shop.shop_id), body.told(&option_id));
    let store = recording(&app, admin, &request, "set_shop_item", subject, detail).await?;
    Ok(web::Json(say_of_option(&app, &store, shop, option_id, &body).await?))
}

//! Shops as operators set them up.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{find_partner, recording};
use crate::app::App;
use crate::catalogue::{Catalogue, Hours, Shop};
use crate::clock::now;
use crate::error::{Failure, Fault};
use crate::order::{Currency, Instant, PartnerId, ShopId};
use crate::web::auth::AsAdmin;
use crate::web::body::Body;
use crate::web::catalogue::unknown_shop;
use crate::web::faults;
use crate::web::heard::path_id;
use crate::web::problem::Problem;
use crate::web::query::Query;
use crate::web::shop::SetMode;
use crate::web::views::offer::ShopView;
use crate::web::vocabulary::{Timestamp, shapes};

/// A shop with all of its settings.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminShopView {
    #[serde(flatten)]
    shop: ShopView,
    partner_id: Uuid,
    last_order_minutes: u32,
    auto_accept: bool,
    max_in_progress: u32,
    stations: u32,
    slot_capacity: u32,
    simulated: bool,
    #[schema(required)]
    last_heartbeat_at: Option<Timestamp>,
}

impl AdminShopView {
    fn new(catalogue: &Catalogue, shop: &Shop, now: Instant) -> Self {
        Self {
            shop: ShopView::new(catalogue, shop, now),
            partner_id: shop.partner_id.0,
            last_order_minutes: shop.last_order_minutes,
            auto_accept: shop.auto_accept,
            max_in_progress: shop.max_in_progress,
            stations: shop.stations,
            slot_capacity: shop.slot_capacity,
            simulated: shop.simulated,
            last_heartbeat_at: Timestamp::maybe(shop.last_heartbeat_at),
        }
    }
}

/// Shops by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminShopList {
    shops: Vec<AdminShopView>,
}

/// Which shops to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ShopFilter {
    partner_id: Option<Uuid>,
}

/// The settings of a shop. What is left out has its default, also when a shop is replaced.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "partner_id": "01970000-0000-7000-8000-000000000001", "name": "Lungo Harbour", "currency": "EUR",
    "timezone": "Europe/Berlin", "hours": {"weekly": {"monday": [{"open": "07:00", "close": "18:00"}]}},
    "last_order_minutes": 15, "auto_accept": true,
}))]
pub struct ShopSettings {
    /// Whose shop it is: never changes.
    partner_id: Uuid,
    /// 1 to 100 characters, without control characters or blank ends.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F]([^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F])?$"
    )]
    name: String,
    currency: Currency,
    /// By its IANA name; `UTC` by default.
    #[schema(max_length = 64)]
    timezone: Option<String>,
    /// Always open by default.
    #[schema(value_type = Option<shapes::Hours>)]
    hours: Option<Hours>,
    /// Nothing is taken for the last minutes before closing: 0 to 240; 0 by default.
    #[schema(maximum = 240)]
    last_order_minutes: Option<u32>,
    /// Left as it is by default; a new shop is open.
    mode: Option<SetMode>,
    /// Whether orders are accepted on the shop's behalf; not by default.
    auto_accept: Option<bool>,
    /// Orders in progress from which on nothing more is taken: 1 to 10000; 100 by default.
    #[schema(minimum = 1, maximum = 10000)]
    max_in_progress: Option<u32>,
    /// Whether the shop says when it starts, finishes and hands over; it does by default.
    tracks_steps: Option<bool>,
    /// Places where orders are made side by side: 1 to 100; 2 by default.
    #[schema(minimum = 1, maximum = 100)]
    stations: Option<u32>,
    /// Scheduled orders in one 15-minute slot: 0 to 10000; 20 by default.
    #[schema(maximum = 10000)]
    slot_capacity: Option<u32>,
    /// Whether the built-in simulator plays it; not by default.
    simulated: Option<bool>,
}

impl ShopSettings {
    /// A shop with these settings and a new id, and all that is wrong with it.
    fn parse(&self, now: Instant) -> (Shop, Vec<Fault>) {
        let mut found = Vec::new();
        let new = Shop::new(PartnerId(self.partner_id), &self.name, self.currency);
        let timezone = self.timezone.as_deref().map(str::parse).unwrap_or_else(|| Ok(new.timezone.clone()));
        let timezone = timezone.unwrap_or_else(|_: String| {
            found.push(Fault::new("/timezone", "unknown", "This is not an IANA time zone."));
            new.timezone.clone()
        });
        let mode = self.mode.as_ref().map_or(Ok(new.mode), |mode| mode.parse("/mode", now)).unwrap_or_else(|faults| {
            found.extend(faults);
            new.mode
        });
        let shop = Shop {
            timezone,
            mode,
            hours: self.hours.clone().unwrap_or_default(),
            last_order_minutes: self.last_order_minutes.unwrap_or(new.last_order_minutes),
            auto_accept: self.auto_accept.unwrap_or(new.auto_accept),
            max_in_progress: self.max_in_progress.unwrap_or(new.max_in_progress),
            tracks_steps: self.tracks_steps.unwrap_or(new.tracks_steps),
            stations: self.stations.unwrap_or(new.stations),
            slot_capacity: self.slot_capacity.unwrap_or(new.slot_capacity),
            simulated: self.simulated.unwrap_or(new.simulated),
            ..new
        };
        found.extend(shop.check());
        (shop, found)
    }
}

/// The shops of all partners, or of one.
#[utoipa::path(
    get, path = "/v1/admin/shops", operation_id = "listAllShops", tag = "admin", security(("adminKey" = [])),
    params(ShopFilter), responses((status = 200, description = "The shops by name.", body = AdminShopList))
)]
pub async fn list_all_shops(
    _: AsAdmin,
    app: web::Data<App>,
    filter: Query<ShopFilter>,
) -> Result<web::Json<AdminShopList>, Problem> {
    let (catalogue, now) = (app.catalogue(), now());
    let is_wanted = |shop: &&Shop| filter.partner_id.is_none_or(|partner| partner == shop.partner_id.0);
    let mut shops: Vec<&Shop> = catalogue.all_shops().filter(is_wanted).collect();
    shops.sort_by_key(|shop| (&shop.name, shop.shop_id));
    let shops = shops.into_iter().map(|shop| AdminShopView::new(&catalogue, shop, now)).collect();
    Ok(web::Json(AdminShopList { shops }))
}

/// A new shop.
#[utoipa::path(
    post, path = "/v1/admin/shops", operation_id = "createShop", tag = "admin", security(("adminKey" = [])),
    request_body = ShopSettings,
    responses((status = 201, description = "The shop.", body = AdminShopView,
               headers(("Location" = String, description = "The shop's address."))))
)]
pub async fn create_shop(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    Body(body): Body<ShopSettings>,
) -> Result<HttpResponse, Problem> {
    let now = now();
    let (shop, mut found) = body.parse(now);
    if find_partner(&app, shop.partner_id).await?.is_none() {
        found.push(Fault::new("/partner_id", "unknown", "There is no such partner."));
    }
    if !found.is_empty() {
        return Err(faults::unprocessable(found).into());
    }
    let (subject, detail) = (format!("shop:{}", shop.shop_id), json!({"name": shop.name}));
    let store = recording(&app, admin, &request, "make_shop", subject, detail).await?;
    store.put_shop(shop.clone()).await.map_err(Failure::from)?;
    app.take_effect().await;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/v1/admin/shops/{}", shop.shop_id)))
        .json(AdminShopView::new(&app.catalogue(), &shop, now)))
}

/// A shop with all of its settings.
#[utoipa::path(
    get, path = "/v1/admin/shops/{shop_id}", operation_id = "getShop", tag = "admin", security(("adminKey" = [])),
    params(("shop_id" = Uuid, Path)), responses((status = 200, description = "The shop.", body = AdminShopView))
)]
pub async fn get_shop(
    _: AsAdmin,
    app: web::Data<App>,
    shop_id: web::Path<String>,
) -> Result<web::Json<AdminShopView>, Problem> {
    let catalogue = app.catalogue();
    let shop = catalogue.find_shop(ShopId(path_id(&shop_id)?)).ok_or_else(unknown_shop)?;
    Ok(web::Json(AdminShopView::new(&catalogue, shop, now())))
}

/// Replaces the settings of a shop.
#[utoipa::path(
    put, path = "/v1/admin/shops/{shop_id}", operation_id = "putShop", tag = "admin", security(("adminKey" = [])),
    params(("shop_id" = Uuid, Path)), request_body = ShopSettings,
    responses((status = 200, description = "The shop.", body = AdminShopView))
)]
pub async fn put_shop(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    shop_id: web::Path<String>,
    Body(body): Body<ShopSettings>,
) -> Result<web::Json<AdminShopView>, Problem> {
    let (now, id) = (now(), ShopId(path_id(&shop_id)?));
    let partner_id = app.catalogue().find_shop(id).ok_or_else(unknown_shop)?.partner_id;
    let (wanted, mut found) = body.parse(now);
    if wanted.partner_id != partner_id {
        found.push(Fault::new("/partner_id", "not_allowed", "A shop stays with its partner."));
    }
    if !found.is_empty() {
        return Err(faults::unprocessable(found).into());
    }
    let (names_mode, name, mode) = (body.mode.is_some(), wanted.name.clone(), wanted.mode);
    // What the shop says of itself is taken from the row as it is: a heartbeat may come between.
    let replace = move |shop: &mut Shop| {
        let mode = if names_mode { wanted.mode } else { shop.mode };
        let (last_heartbeat_at, watch_ended_at) = (shop.last_heartbeat_at, shop.watch_ended_at);
        *shop = Shop { shop_id: id, mode, last_heartbeat_at, watch_ended_at, ..wanted.clone() };
    };
    let detail = json!({"name": name, "mode": names_mode.then_some(mode)});
    let store = recording(&app, admin, &request, "edit_shop", format!("shop:{id}"), detail).await?;
    let shop = store.change_shop(id, replace).await.map_err(Failure::from)?.ok_or_else(unknown_shop)?;
    app.take_effect().await;
    Ok(web::Json(AdminShopView::new(&app.catalogue(), &shop, now)))
}

/// No heartbeat of the shop is expected any more, for example because it moved from the board to a till. Its next
/// heartbeat begins the watch anew.
#[utoipa::path(
    delete, path = "/v1/admin/shops/{shop_id}/heartbeat", operation_id = "endShopHeartbeats", tag = "admin",
    security(("adminKey" = [])), params(("shop_id" = Uuid, Path)),
    responses((status = 200, description = "The shop as it is now.", body = AdminShopView))
)]
pub async fn end_shop_heartbeats(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    shop_id: web::Path<String>,
) -> Result<web::Json<AdminShopView>, Problem> {
    let (now, id) = (now(), ShopId(path_id(&shop_id)?));
    let store = recording(&app, admin, &request, "end_shop_watch", format!("shop:{id}"), json!({})).await?;
    let ended = store.change_shop(id, move |shop| shop.end_watch(now)).await.map_err(Failure::from)?;
    let shop = ended.ok_or_else(unknown_shop)?;
    app.take_effect().await;
    Ok(web::Json(AdminShopView::new(&app.catalogue(), &shop, now)))
}

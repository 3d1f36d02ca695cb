//! Dates on which a shop, or all shops of a partner, keep other hours than every week.

use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{find_partner, recording, unknown_partner};
use crate::app::App;
use crate::catalogue::Exception;
use crate::error::Failure;
use crate::order::{PartnerId, ShopId};
use crate::web::auth::AsAdmin;
use crate::web::body::Body;
use crate::web::catalogue::unknown_shop;
use crate::web::faults;
use crate::web::heard::path_id;
use crate::web::problem::Problem;
use crate::web::vocabulary::shapes;

/// Dates on which other hours hold, as they were given.
#[derive(Debug, Serialize, ToSchema)]
pub struct CalendarView {
    #[schema(value_type = Vec<shapes::Exception>)]
    exceptions: Vec<Exception>,
}

/// All dates on which other hours hold. Dates that are over may be left out.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"exceptions": [
    {"date": "2026-12-24", "openings": [{"open": "07:00", "close": "14:00"}]},
    {"date": "2026-12-25", "openings": []},
]}))]
pub struct Calendar {
    #[schema(value_type = Vec<shapes::Exception>, max_items = 200)]
    exceptions: Vec<Exception>,
}

/// The dates on which one shop keeps other hours.
#[utoipa::path(
    get, path = "/v1/admin/shops/{shop_id}/calendar", operation_id = "getShopCalendar", tag = "admin",
    security(("adminKey" = [])), params(("shop_id" = Uuid, Path)),
    responses((status = 200, description = "The shop's own dates.", body = CalendarView))
)]
pub async fn get_shop_calendar(
    _: AsAdmin,
    app: web::Data<App>,
    shop_id: web::Path<String>,
) -> Result<web::Json<CalendarView>, Problem> {
    let id = shop(&app, &shop_id)?;
    Ok(shown(&app, id))
}

/// Replaces the dates on which one shop keeps other hours. They count before those of its partner.
#[utoipa::path(
    put, path = "/v1/admin/shops/{shop_id}/calendar", operation_id = "putShopCalendar", tag = "admin",
    security(("adminKey" = [])), params(("shop_id" = Uuid, Path)), request_body = Calendar,
    responses((status = 200, description = "The shop's own dates.", body = CalendarView))
)]
pub async fn put_shop_calendar(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    shop_id: web::Path<String>,
    Body(body): Body<Calendar>,
) -> Result<web::Json<CalendarView>, Problem> {
    let id = shop(&app, &shop_id)?;
    replace(admin, &app, &request, (id, format!("shop:{id}")), body).await
}

/// The dates on which all shops of a partner keep other hours.
#[utoipa::path(
    get, path = "/v1/admin/partners/{partner_id}/calendar", operation_id = "getPartnerCalendar", tag = "admin",
    security(("adminKey" = [])), params(("partner_id" = Uuid, Path)),
    responses((status = 200, description = "The dates of all of its shops.", body = CalendarView))
)]
pub async fn get_partner_calendar(
    _: AsAdmin,
    app: web::Data<App>,
    partner_id: web::Path<String>,
) -> Result<web::Json<CalendarView>, Problem> {
    let id = partner(&app, &partner_id).await?;
    Ok(shown(&app, id))
}

/// Replaces the dates on which all shops of a partner keep other hours, except where a shop has its own for that date.
#[utoipa::path(
    put, path = "/v1/admin/partners/{partner_id}/calendar", operation_id = "putPartnerCalendar", tag = "admin",
    security(("adminKey" = [])), params(("partner_id" = Uuid, Path)), request_body = Calendar,
    responses((status = 200, description = "The dates of all of its shops.", body = CalendarView))
)]
pub async fn put_partner_calendar(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    partner_id: web::Path<String>,
    Body(body): Body<Calendar>,
) -> Result<web::Json<CalendarView>, Problem> {
    let id = partner(&app, &partner_id).await?;
    replace(admin, &app, &request, (id, format!("partner:{id}")), body).await
}

fn shop(app: &App, id: &web::Path<String>) -> Result<Uuid, Failure> {
    let id = ShopId(path_id(id)?);
    app.catalogue().find_shop(id).map(|shop| shop.shop_id.0).ok_or_else(unknown_shop)
}

async fn partner(app: &App, id: &web::Path<String>) -> Result<Uuid, Failure> {
    let id = PartnerId(path_id(id)?);
    find_partner(app, id).await?.map(|partner| partner.partner_id.0).ok_or_else(unknown_partner)
}

fn shown(app: &App, owner: Uuid) -> web::Json<CalendarView> {
    web::Json(CalendarView { exceptions: app.catalogue().calendar(owner).to_vec() })
}

async fn replace(
    admin: AsAdmin,
    app: &App,
    request: &HttpRequest,
    (owner, subject): (Uuid, String),
    Calendar { exceptions }: Calendar,
) -> Result<web::Json<CalendarView>, Problem> {
    let found = Exception::check_all(&exceptions, "/exceptions");
    if !found.is_empty() {
        return Err(faults::unprocessable(found).into());
    }
    let detail = json!({"exceptions": exceptions.len()});
    let store = recording(app, admin, request, "edit_calendar", subject, detail).await?;
    store.put_calendar(owner, exceptions.clone()).await.map_err(Failure::from)?;
    app.take_effect().await;
    Ok(web::Json(CalendarView { exceptions }))
}

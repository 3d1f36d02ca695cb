//! Partners: the apps' backends.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::recording;
use crate::app::App;
use crate::catalogue::check_name;
use crate::clock::now;
use crate::error::Failure;
use crate::order::PartnerId;
use crate::store::Partner;
use crate::web::auth::AsAdmin;
use crate::web::body::Body;
use crate::web::faults;
use crate::web::problem::Problem;
use crate::web::vocabulary::Timestamp;

/// A partner.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartnerView {
    partner_id: Uuid,
    name: String,
    created_at: Timestamp,
}

impl PartnerView {
    fn new(partner: Partner) -> Self {
        let Partner { partner_id, name, created_at } = partner;
        Self { partner_id: partner_id.0, name, created_at: Timestamp(created_at) }
    }
}

/// All partners, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartnerList {
    partners: Vec<PartnerView>,
}

/// A partner to be.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Lungo"}))]
pub struct NewPartner {
    /// 1 to 100 characters, without control characters or blank ends.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F]([^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F])?$"
    )]
    name: String,
}

/// All partners.
#[utoipa::path(
    get, path = "/v1/admin/partners", operation_id = "listPartners", tag = "admin", security(("adminKey" = [])),
    responses((status = 200, description = "The partners, the oldest first.", body = PartnerList))
)]
pub async fn list_partners(_: AsAdmin, app: web::Data<App>) -> Result<web::Json<PartnerList>, Problem> {
    let partners = app.store.partners().await.map_err(Failure::from)?;
    Ok(web::Json(PartnerList { partners: partners.into_iter().map(PartnerView::new).collect() }))
}

/// A new partner. It has no keys yet.
#[utoipa::path(
    post, path = "/v1/admin/partners", operation_id = "createPartner", tag = "admin", security(("adminKey" = [])),
    request_body = NewPartner, responses((status = 201, description = "The partner.", body = PartnerView))
)]
pub async fn create_partner(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    Body(body): Body<NewPartner>,
) -> Result<HttpResponse, Problem> {
    if let Some(fault) = check_name("/name", &body.name) {
        return Err(faults::unprocessable(vec![fault]).into());
    }
    let partner = Partner { partner_id: PartnerId::new(), name: body.name, created_at: now() };
    let (subject, detail) = (format!("partner:{}", partner.partner_id), json!({"name": partner.name}));
    let store = recording(&app, admin, &request, "make_partner", subject, detail).await?;
    store.put_partner(partner.clone()).await.map_err(Failure::from)?;
    Ok(HttpResponse::Created().json(PartnerView::new(partner)))
}

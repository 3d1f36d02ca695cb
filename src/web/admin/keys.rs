//! Keys of all three families. A secret is shown once, by the answer that made it.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{find_partner, recording};
use crate::app::App;
use crate::catalogue::check_name;
use crate::clock::now;
use crate::error::{Code, Failure, Fault};
use crate::keys::{self, KeyKind, Owner};
use crate::order::{PartnerId, ShopId};
use crate::store::{Revoked, StoredKey};
use crate::web::auth::AsAdmin;
use crate::web::body::Body;
use crate::web::faults;
use crate::web::heard::path_id;
use crate::web::problem::Problem;
use crate::web::vocabulary::Timestamp;

/// What is known of a key: not its secret, of which only a hash is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    key_id: Uuid,
    kind: KeyKind,
    /// Null for an operator's.
    #[schema(required)]
    partner_id: Option<Uuid>,
    /// Null for all but a shop's.
    #[schema(required)]
    shop_id: Option<Uuid>,
    label: String,
    created_at: Timestamp,
    #[schema(required)]
    revoked_at: Option<Timestamp>,
}

impl KeyView {
    fn new(key: &StoredKey) -> Self {
        let shop_id = match key.owner {
            Owner::Shop { shop_id, .. } => Some(shop_id.0),
            Owner::Partner(_) | Owner::Admin => None,
        };
        Self {
            key_id: key.key_id,
            kind: key.owner.kind(),
            partner_id: key.owner.partner().map(|id| id.0),
            shop_id,
            label: key.label.clone(),
            created_at: Timestamp(key.created_at),
            revoked_at: Timestamp::maybe(key.revoked_at),
        }
    }
}

/// All keys, the oldest first, also revoked ones.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyList {
    keys: Vec<KeyView>,
}

/// A key with its secret, which is never shown again.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretKeyView {
    #[serde(flatten)]
    key: KeyView,
    #[schema(example = "lungo_shop_…")]
    secret: String,
}

/// A key to be.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(
    json!({"kind": "partner", "partner_id": "01970000-0000-7000-8000-000000000001", "label": "app backend"}),
    json!({"kind": "shop", "shop_id": "01970000-0000-7000-8000-000000000011", "label": "tablet at the counter"}),
    json!({"kind": "admin", "label": "console"}),
))]
pub struct NewKey {
    kind: KeyKind,
    /// Needed for kind `partner`; for `shop` it may be said, and must be the shop's.
    partner_id: Option<Uuid>,
    /// Needed for kind `shop`, and only there.
    shop_id: Option<Uuid>,
    /// What people call it: 1 to 100 characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F]([^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F])?$"
    )]
    label: String,
}

/// All keys.
#[utoipa::path(
    get, path = "/v1/admin/keys", operation_id = "listKeys", tag = "admin", security(("adminKey" = [])),
    responses((status = 200, description = "The keys, the oldest first.", body = KeyList))
)]
pub async fn list_keys(_: AsAdmin, app: web::Data<App>) -> Result<web::Json<KeyList>, Problem> {
    let keys = app.store.keys().await.map_err(Failure::from)?;
    Ok(web::Json(KeyList { keys: keys.iter().map(KeyView::new).collect() }))
}

/// A new key. Its secret is in this answer and never again.
#[utoipa::path(
    post, path = "/v1/admin/keys", operation_id = "createKey", tag = "admin", security(("adminKey" = [])),
    request_body = NewKey, responses((status = 201, description = "The key.", body = SecretKeyView))
)]
pub async fn create_key(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    Body(body): Body<NewKey>,
) -> Result<HttpResponse, Problem> {
    let owner = owner_of(&app, &body).await?;
    let (key, secret) = generate(owner, body.label);
    let store = recording(&app, admin, &request, "make_key", subject(&key), detail(&key)).await?;
    store.add_key(key.clone(), None).await.map_err(Failure::from)?;
    app.take_effect().await;
    Ok(shown_once(&key, secret))
}

/// Puts a new key in the place of another, which is revoked in the same moment.
#[utoipa::path(
    post, path = "/v1/admin/keys/{key_id}/rotate", operation_id = "rotateKey", tag = "admin",
    security(("adminKey" = [])), params(("key_id" = Uuid, Path)),
    responses((status = 201, description = "The new key, for the same owner and with the same label.",
               body = SecretKeyView))
)]
pub async fn rotate_key(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    key_id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let old = find(&app, path_id(&key_id)?).await?;
    let (key, secret) = generate(old.owner, old.label.clone());
    let said = json!({"key": key.key_id, "label": old.label});
    let store = recording(&app, admin, &request, "rotate_key", subject(&old), said).await?;
    if !store.add_key(key.clone(), Some(old.key_id)).await.map_err(Failure::from)? {
        return Err(Failure::new(Code::NotPossible, "This key was revoked: make a new one instead.").into());
    }
    app.take_effect().await;
    Ok(shown_once(&key, secret))
}

/// Ends a key. Said again it changes nothing. The last valid key of an operator stays.
#[utoipa::path(
    post, path = "/v1/admin/keys/{key_id}/revoke", operation_id = "revokeKey", tag = "admin",
    security(("adminKey" = [])), params(("key_id" = Uuid, Path)),
    responses((status = 200, description = "The key.", body = KeyView))
)]
pub async fn revoke_key(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    key_id: web::Path<String>,
) -> Result<web::Json<KeyView>, Problem> {
    let key_id = path_id(&key_id)?;
    let key = find(&app, key_id).await?;
    let store = recording(&app, admin, &request, "revoke_key", subject(&key), detail(&key)).await?;
    match store.revoke_key(key_id, now()).await.map_err(Failure::from)? {
        Revoked::Done => app.take_effect().await,
        Revoked::Already => {}
        Revoked::Unknown => return Err(unknown_key().into()),
        Revoked::LastAdmin => {
            let detail = "This is the last valid key of an operator: make another one first, or rotate it.";
            return Err(Failure::new(Code::NotPossible, detail).into());
        }
    }
    Ok(web::Json(KeyView::new(&find(&app, key_id).await?)))
}

/// What a key is called in the audit log.
fn subject(key: &StoredKey) -> String {
    format!("key:{}", key.key_id)
}

fn detail(key: &StoredKey) -> serde_json::Value {
    json!({"kind": key.owner.kind().to_string(), "label": key.label})
}

pub(super) async fn find(app: &App, key_id: Uuid) -> Result<StoredKey, Failure> {
    app.store.keys().await?.into_iter().find(|key| key.key_id == key_id).ok_or_else(unknown_key)
}

fn unknown_key() -> Failure {
    Failure::new(Code::NotFound, "There is no such key.")
}

/// Whose key it will be, or all that is wrong with the request.
async fn owner_of(app: &App, body: &NewKey) -> Result<Owner, Failure> {
    let mut found: Vec<Fault> = check_name("/label", &body.label).into_iter().collect();
    let mut wrong = |pointer: &str, code: &'static str, detail: &str| found.push(Fault::new(pointer, code, detail));
    let mut owner = Owner::Admin;
    match (body.kind, body.partner_id) {
        (KeyKind::Partner, None) => wrong("/partner_id", "missing", "Whose key is it?"),
        (KeyKind::Partner, Some(id)) => match find_partner(app, PartnerId(id)).await? {
            Some(partner) => owner = Owner::Partner(partner.partner_id),
            None => wrong("/partner_id", "unknown", "There is no such partner."),
        },
        (KeyKind::Admin, Some(_)) => wrong("/partner_id", "not_allowed", "An operator belongs to no partner."),
        _ => {}
    }
    match (body.kind, body.shop_id) {
        (KeyKind::Shop, None) => wrong("/shop_id", "missing", "Of which shop?"),
        (KeyKind::Shop, Some(id)) => match app.catalogue().find_shop(ShopId(id)) {
            Some(shop) if body.partner_id.is_some_and(|partner| partner != shop.partner_id.0) => {
                wrong("/partner_id", "mismatch", "The shop belongs to another partner.");
            }
            Some(shop) => owner = Owner::Shop { shop_id: shop.shop_id, partner_id: shop.partner_id },
            None => wrong("/shop_id", "unknown", "There is no such shop."),
        },
        (_, Some(_)) => wrong("/shop_id", "not_allowed", "Only a shop's key has a shop."),
        _ => {}
    }
    if found.is_empty() { Ok(owner) } else { Err(faults::unprocessable(found)) }
}

/// A key that nobody has yet, and its secret.
pub fn generate(owner: Owner, label: String) -> (StoredKey, String) {
    let secret = owner.kind().generate();
    let hash = keys::hash(&secret);
    (StoredKey { key_id: Uuid::now_v7(), owner, hash, label, created_at: now(), revoked_at: None }, secret)
}

fn shown_once(key: &StoredKey, secret: String) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(SecretKeyView { key: KeyView::new(key), secret })
}

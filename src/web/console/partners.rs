//! Partners: their keys and limits, who is told of their orders, and what became of a request.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::frame::Frame;
use super::guard::Visitor;
use super::{Action, Posted, show};
use crate::app::App;
use crate::catalogue::check_name;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::keys::Owner;
use crate::order::{OrderId, PartnerId, ShopId};
use crate::requests::{Asked, KEPT};
use crate::store::{
    Delivery, DeliveryResult, Disabled, KeyOfOrder, MOST_OF_A_PARTNER, Partner, Receivers, Revoked, StoredKey, Webhook,
};
use crate::web::admin::keys::generate;
use crate::web::faults;
use crate::web::heard::{id_in, path_id};
use crate::web::pages::page;
use crate::web::problem::Problem;

/// Deliveries of one page.
const DELIVERIES: i64 = 50;
/// Requests that are shown.
const ASKED: usize = 50;

#[derive(Template)]
#[template(path = "console/partners.html")]
struct PartnersPage {
    frame: Frame,
    rows: Vec<PartnerRow>,
    limits: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "console/partner.html")]
struct PartnerPage {
    frame: Frame,
    partner: Partner,
    keys: Vec<KeyRow>,
    webhooks: Vec<WebhookRow>,
    shops: Vec<(ShopId, String)>,
    may_make: bool,
    may_revoke: bool,
}

#[derive(Template)]
#[template(path = "console/key.html")]
struct KeyPage {
    frame: Frame,
    label: String,
    secret: String,
    back: String,
}

#[derive(Template)]
#[template(path = "console/webhook.html")]
struct WebhookPage {
    frame: Frame,
    row: WebhookRow,
    deliveries: Vec<DeliveryRow>,
    result: String,
    older: Option<String>,
    may_resend: bool,
    may_switch: bool,
}

#[derive(Template)]
#[template(path = "console/requests.html")]
struct RequestsPage {
    frame: Frame,
    q: String,
    customer: String,
    asked: Vec<AskedRow>,
    stored: Vec<(KeyOfOrder, String)>,
    kept: String,
    is_asked: bool,
}

struct PartnerRow {
    partner: Partner,
    shops: usize,
    keys: usize,
    webhooks: usize,
    disabled: usize,
}

struct KeyRow {
    key: StoredKey,
    whose: String,
    is_valid: bool,
}

struct WebhookRow {
    webhook: Webhook,
    of: String,
    kinds: String,
}

struct DeliveryRow {
    delivery: Delivery,
    look: &'static str,
    result: &'static str,
    said: String,
    next: String,
}

struct AskedRow {
    asked: Asked,
    customer: String,
    look: &'static str,
}

impl WebhookRow {
    fn new(app: &App, webhook: Webhook) -> Self {
        let kinds = webhook.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| show::plain(kind.word())));
        let shop = webhook
            .shop_id
            .map(|shop| app.catalogue().find_shop(shop).map_or_else(|| shop.to_string(), |shop| shop.name.clone()));
        Self {
            of: shop.map_or_else(|| "the partner's events".into(), |shop| format!("the orders of {shop}")),
            kinds: kinds.map_or_else(|| "all".into(), |kinds| kinds.collect::<Vec<_>>().join(", ")),
            webhook,
        }
    }
}

/// `GET /console/partners`
pub async fn show_partners(visitor: Visitor, app: Data<App>) -> Result<HttpResponse, Problem> {
    let partners = app.store.partners().await.map_err(Failure::from)?;
    let keys = app.store.keys().await.map_err(Failure::from)?;
    let webhooks = app.store.webhooks(Receivers::All).await.map_err(Failure::from)?;
    let catalogue = app.catalogue();
    let row = |partner: Partner| {
        let id = partner.partner_id;
        let of = |webhook: &&Webhook| webhook.partner_id == id;
        PartnerRow {
            shops: catalogue.shops(id).count(),
            keys: keys.iter().filter(|key| key.owner.partner() == Some(id) && key.revoked_at.is_none()).count(),
            webhooks: webhooks.iter().filter(of).count(),
            disabled: webhooks.iter().filter(of).filter(|webhook| webhook.disabled.is_some()).count(),
            partner,
        }
    };
    let settings = &app.settings;
    let limits = vec![
        ("Requests a second, for ever", settings.partner_rate.to_string()),
        ("Requests at once", settings.partner_rate.get().saturating_mul(2).to_string()),
        ("Ongoing orders of one customer", settings.max_ongoing_orders.to_string()),
        ("Webhooks of one partner", MOST_OF_A_PARTNER.to_string()),
    ];
    let rows = partners.into_iter().map(row).collect();
    Ok(page(&PartnersPage { frame: visitor.frame("Partners"), rows, limits })?)
}

/// `GET /console/partners/{partner_id}`
pub async fn show_partner(visitor: Visitor, app: Data<App>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let partner = find(&app, PartnerId(path_id(&id)?)).await?;
    let id = partner.partner_id;
    let catalogue = app.catalogue();
    let mut keys = app.store.keys().await.map_err(Failure::from)?;
    keys.retain(|key| key.owner.partner() == Some(id));
    keys.sort_by_key(|key| (key.revoked_at.is_some(), std::cmp::Reverse(key.created_at)));
    let row = |key: StoredKey| KeyRow {
        whose: match key.owner {
            Owner::Shop { shop_id, .. } => {
                catalogue.find_shop(shop_id).map_or_else(|| shop_id.to_string(), |shop| shop.name.clone())
            }
            Owner::Partner(_) | Owner::Admin => "the partner".into(),
        },
        is_valid: key.revoked_at.is_none(),
        key,
    };
    let mut webhooks = app.store.webhooks(Receivers::All).await.map_err(Failure::from)?;
    webhooks.retain(|webhook| webhook.partner_id == id);
    let mut shops: Vec<_> = catalogue.shops(id).map(|shop| (shop.shop_id, shop.name.clone())).collect();
    shops.sort_by(|one, other| one.1.cmp(&other.1));
    let shown = PartnerPage {
        frame: visitor.frame(partner.name.clone()),
        keys: keys.into_iter().map(row).collect(),
        webhooks: webhooks.into_iter().map(|webhook| WebhookRow::new(&app, webhook)).collect(),
        shops,
        may_make: visitor.may(Action::MakeKey),
        may_revoke: visitor.may(Action::RevokeKey),
        partner,
    };
    Ok(page(&shown)?)
}

/// `POST /console/partners/{partner_id}/keys`: a new key. Its secret is in this answer and never again.
pub async fn make_key(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let partner = find(&app, PartnerId(path_id(&id)?)).await?;
    let label = posted.fields.text("label").to_owned();
    if let Some(fault) = check_name("/label", &label) {
        return Err(faults::unprocessable(vec![fault]).into());
    }
    let shop: Option<ShopId> = posted.fields.maybe("shop", "a shop")?;
    let owner = match shop {
        None => Owner::Partner(partner.partner_id),
        Some(shop_id) if app.catalogue().shop(partner.partner_id, shop_id).is_some() => {
            Owner::Shop { shop_id, partner_id: partner.partner_id }
        }
        Some(_) => return Err(Failure::new(Code::Unprocessable, "The partner has no such shop.").into()),
    };
    let (key, secret) = generate(owner, label.clone());
    let detail = json!({"kind": owner.kind().to_string(), "label": label, "key": key.key_id});
    let store = app.store.recording(posted.entry(format!("partner:{}", partner.partner_id), detail)?);
    store.add_key(key, None).await.map_err(Failure::from)?;
    app.take_effect().await;
    let back = format!("/console/partners/{}", partner.partner_id);
    Ok(page(&KeyPage { frame: posted.visitor.frame("A new key"), label, secret, back })?)
}

/// `POST /console/keys/{key_id}/revoke`
pub async fn revoke_key(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let id = path_id(&id)?;
    let known = app.store.keys().await.map_err(Failure::from)?.into_iter().find(|key| key.key_id == id);
    let key = known.ok_or_else(|| Failure::new(Code::NotFound, "There is no such key."))?;
    let back = key.owner.partner().map_or_else(|| "/console/partners".into(), |id| format!("/console/partners/{id}"));
    let detail = json!({"label": key.label, "kind": key.owner.kind().to_string()});
    let store = app.store.recording(posted.entry(format!("key:{id}"), detail)?);
    match store.revoke_key(id, now()).await.map_err(Failure::from)? {
        Revoked::Done => {}
        Revoked::Already | Revoked::Unknown => {
            return Err(Failure::new(Code::NotPossible, "It was revoked already.").into());
        }
        Revoked::LastAdmin => {
            return Err(Failure::new(Code::NotPossible, "This is the last valid key of an operator.").into());
        }
    }
    app.take_effect().await;
    Ok(posted.done(&back, "The key opens nothing any more."))
}

/// Which deliveries to show.
#[derive(Deserialize)]
pub struct DeliveryQuery {
    #[serde(default)]
    result: String,
    below: Option<Uuid>,
}

/// `GET /console/webhooks/{webhook_id}`
pub async fn show_webhook(
    visitor: Visitor,
    app: Data<App>,
    id: Path<String>,
    query: Query<DeliveryQuery>,
) -> Result<HttpResponse, Problem> {
    let (webhook, now) = (webhook(&app, &id).await?, now());
    let result: Option<DeliveryResult> = query.result.parse().ok();
    let found = app.store.deliveries(Receivers::All, webhook.webhook_id, result, query.below, DELIVERIES + 1).await;
    let mut found = found.map_err(Failure::from)?.unwrap_or_default();
    let is_all = found.len() as i64 <= DELIVERIES;
    found.truncate(DELIVERIES as usize);
    let older = found.last().filter(|_| !is_all).map(|last| {
        format!("/console/webhooks/{}?result={}&below={}", webhook.webhook_id, query.result, last.delivery_id)
    });
    let row = |delivery: Delivery| {
        let (look, result) = match delivery.result {
            DeliveryResult::Pending => ("info", "pending"),
            DeliveryResult::Delivered => ("good", "delivered"),
            DeliveryResult::GivenUp => ("bad", "given up"),
        };
        let status = delivery.status.map_or_else(String::new, |status| status.to_string());
        DeliveryRow {
            look,
            result,
            said: delivery.trouble.clone().unwrap_or(status),
            next: match delivery.next_attempt_at {
                Some(at) if at > now => format!("in {}", show::span(at - now)),
                Some(_) => "now".into(),
                None => String::new(),
            },
            delivery,
        }
    };
    let shown = WebhookPage {
        frame: visitor.frame("Webhook"),
        row: WebhookRow::new(&app, webhook),
        deliveries: found.into_iter().map(row).collect(),
        result: query.into_inner().result,
        older,
        may_resend: visitor.may(Action::ResendDelivery),
        may_switch: visitor.may(Action::SwitchWebhook),
    };
    Ok(page(&shown)?)
}

/// `POST /console/webhooks/{webhook_id}/deliveries/{delivery_id}/resend`
pub async fn resend(app: Data<App>, path: Path<(String, String)>, posted: Posted) -> Result<HttpResponse, Problem> {
    let (webhook, delivery) = (id_in(&path.0)?, id_in(&path.1)?);
    let store = app.store.recording(posted.entry(format!("webhook:{webhook}"), json!({"delivery": delivery}))?);
    let patience = app.settings.webhook_give_up_after.chrono();
    let resent = store.resend(Receivers::All, webhook, delivery, patience, now()).await.map_err(Failure::from)?;
    resent.ok_or_else(|| Failure::new(Code::NotFound, "There is no such delivery."))?;
    Ok(posted.done(&format!("/console/webhooks/{webhook}"), "It is sent again."))
}

/// `POST /console/webhooks/{webhook_id}/switch`: on or off.
pub async fn switch(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let (webhook, on, now) = (webhook(&app, &id).await?, posted.fields.text("on") == "yes", now());
    let id = webhook.webhook_id;
    let store = app.store.recording(posted.entry(format!("webhook:{id}"), json!({"on": on}))?);
    let changed = if on {
        store.enable_webhook(Receivers::All, id).await
    } else {
        let why = Disabled { at: now, why: "an operator switched it off".into() };
        store.disable_webhook(Receivers::All, id, why.why, why.at).await
    };
    changed.map_err(Failure::from)?.ok_or_else(unknown_webhook)?;
    app.take_effect().await;
    let told = if on { "It is sent to again." } else { "Nothing more is sent to it." };
    Ok(posted.done(&format!("/console/webhooks/{id}"), told))
}

/// What is looked for among requests.
#[derive(Deserialize)]
pub struct RequestQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    customer: String,
}

/// `GET /console/requests`: by an order, a key or a request's id.
pub async fn show_requests(
    visitor: Visitor,
    app: Data<App>,
    query: Query<RequestQuery>,
) -> Result<HttpResponse, Problem> {
    let RequestQuery { q, customer } = query.into_inner();
    let (q, customer) = (q.trim().to_owned(), customer.trim().to_owned());
    let order: Option<OrderId> = q.parse().ok();
    let stored = match order {
        _ if q.is_empty() => Vec::new(),
        Some(order) => app.store.key_of_order(order).await.map_err(Failure::from)?.into_iter().collect(),
        None if customer.is_empty() => Vec::new(),
        None => app.store.orders_of_key(customer.clone(), q.clone()).await.map_err(Failure::from)?,
    };
    let fits = |asked: &Asked| {
        let is_named = asked.request_id == q || asked.key.as_deref() == Some(&*q);
        let is_order = order.is_some() && asked.order_id == order;
        q.is_empty() || is_named || is_order
    };
    let asked =
        app.requests.find(|asked| fits(asked) && (customer.is_empty() || asked.customer_id.0 == customer), ASKED);
    let row = |asked: Asked| AskedRow {
        customer: show::masked(&asked.customer_id.0),
        look: match asked.verdict {
            "accepted" => "good",
            "replayed" => "info",
            _ => "warn",
        },
        asked,
    };
    let named = |key: KeyOfOrder| {
        let fingerprint: String = key.fingerprint.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        (key, fingerprint)
    };
    let shown = RequestsPage {
        frame: visitor.frame("Requests"),
        asked: asked.into_iter().map(row).collect(),
        stored: stored.into_iter().map(named).collect(),
        kept: show::grouped(KEPT as i64),
        is_asked: !q.is_empty(),
        q,
        customer,
    };
    Ok(page(&shown)?)
}

async fn find(app: &App, id: PartnerId) -> Result<Partner, Failure> {
    let known = app.store.partners().await?.into_iter().find(|partner| partner.partner_id == id);
    known.ok_or_else(|| Failure::new(Code::NotFound, "There is no such partner."))
}

async fn webhook(app: &App, id: &Path<String>) -> Result<Webhook, Failure> {
    app.store.webhook(Receivers::All, path_id(id)?).await?.ok_or_else(unknown_webhook)
}

fn unknown_webhook() -> Failure {
    Failure::new(Code::NotFound, "There is no such webhook.")
}

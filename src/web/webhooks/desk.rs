//! What can be done about receivers of webhooks, once for partners and operators alike.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use chrono::Duration;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure, Fault};
use crate::foreign::{ForeignUrl, Rules};
use crate::lifecycle::EventKind;
use crate::order::{Instant, PartnerId, ShopId};
use crate::signing::SigningSecret;
use crate::store::{
    Added, Delivery, DeliveryResult, Disabled, MOST_OF_A_PARTNER, MOST_OLD_SECRETS, Range, Receivers, Store, Webhook,
};
use crate::web::faults;
use crate::web::heard::id_in;
use crate::web::problem::Problem;
use crate::web::query::{invalid_cursor, limit};
use crate::web::vocabulary::Timestamp;

crate::bodies!(NewWebhook, WebhookSettings, RotateSecret, ResendRange);

/// A receiver of webhooks. Its secret was shown when it was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookView {
    webhook_id: Uuid,
    partner_id: Uuid,
    /// The shop whose orders are offered there; null for a receiver of the partner's events.
    #[schema(required)]
    shop_id: Option<Uuid>,
    url: String,
    /// The types of events it wants; null for all.
    #[schema(required)]
    types: Option<Vec<EventKind>>,
    enabled: bool,
    /// Since when nothing is sent, and why.
    #[schema(required)]
    disabled_at: Option<Timestamp>,
    #[schema(required)]
    disabled_why: Option<String>,
    /// Until when the last of the secrets before the present one signs as well.
    #[schema(required)]
    old_secret_until: Option<Timestamp>,
    created_at: Timestamp,
}

impl WebhookView {
    fn new(webhook: Webhook, now: Instant) -> Self {
        let old_secret_until = webhook.old_secrets.iter().map(|old| old.until).filter(|until| *until > now).max();
        let (disabled_at, disabled_why) = webhook.disabled.map(|disabled| (disabled.at, disabled.why)).unzip();
        Self {
            webhook_id: webhook.webhook_id,
            partner_id: webhook.partner_id.0,
            shop_id: webhook.shop_id.map(|shop| shop.0),
            url: webhook.url,
            types: webhook.kinds,
            enabled: disabled_at.is_none(),
            disabled_at: Timestamp::maybe(disabled_at),
            disabled_why,
            old_secret_until: Timestamp::maybe(old_secret_until),
            created_at: Timestamp(webhook.created_at),
        }
    }
}

/// A receiver with its secret, which is never shown again.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretWebhookView {
    #[serde(flatten)]
    webhook: WebhookView,
    /// What each delivery is signed with, by Standard Webhooks.
    #[schema(example = "whsec_…")]
    secret: String,
}

/// Receivers, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookList {
    webhooks: Vec<WebhookView>,
}

/// A receiver to be.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://app.example/lungo", "types": ["shop_accepted", "made", "collected"]}))]
pub struct NewWebhook {
    /// https, with a host of the public Internet.
    #[schema(max_length = 2000, pattern = "^https?://[^\\s]+$")]
    pub url: String,
    /// The types of events it wants; all if it is left out.
    #[schema(min_items = 1, max_items = 100)]
    pub types: Option<Vec<EventKind>>,
}

/// A receiver as it is to be. What is left out has its default.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://app.example/lungo", "enabled": true}))]
pub struct WebhookSettings {
    /// https, with a host of the public Internet.
    #[schema(max_length = 2000, pattern = "^https?://[^\\s]+$")]
    url: String,
    /// The types of events it wants; all if it is left out.
    #[schema(min_items = 1, max_items = 100)]
    types: Option<Vec<EventKind>>,
    /// Whether it is sent anything; it is by default. Switched on again it is told what happened meanwhile, as far as
    /// that is not too old.
    enabled: Option<bool>,
}

impl WebhookSettings {
    /// What the audit log tells of it.
    pub fn told(&self) -> serde_json::Value {
        serde_json::json!({"url": self.url, "on": self.enabled.unwrap_or(true)})
    }
}

/// How the secret is replaced; it may be left out, and so may the body.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"keep_old_minutes": 60}))]
pub struct RotateSecret {
    /// How long the present secret signs as well: 0 to 10080; a day by default. Those before it sign until their own time
    /// is over, so a rotation may be repeated at once. At most 10 sign besides the new one.
    #[schema(maximum = 10080)]
    keep_old_minutes: Option<u32>,
}

/// Which deliveries are sent again: of events from one moment on until before another.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"from_at": "2026-01-02T03:00:00Z", "until_at": "2026-01-02T04:00:00Z", "only_failed": true}))]
pub struct ResendRange {
    #[schema(value_type = String, format = DateTime)]
    from_at: Instant,
    #[schema(value_type = String, format = DateTime)]
    until_at: Instant,
    /// Only what was given up; not by default.
    only_failed: Option<bool>,
}

/// How many deliveries are on their way again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Resent {
    deliveries: usize,
}

/// An event on its way to a receiver, or what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    delivery_id: Uuid,
    event_id: String,
    order_id: Uuid,
    #[serde(rename = "type")]
    kind: EventKind,
    version: i64,
    occurred_at: Timestamp,
    result: DeliveryResult,
    /// Older events of the order whose place this one took because they had not been sent yet.
    coalesced: i32,
    attempts: i32,
    #[schema(required)]
    next_attempt_at: Option<Timestamp>,
    /// After this it is not tried again.
    give_up_at: Timestamp,
    #[schema(required)]
    attempted_at: Option<Timestamp>,
    /// The HTTP status that the last attempt was answered with.
    #[schema(required)]
    status: Option<u16>,
    /// Why the last attempt was in vain.
    #[schema(required)]
    trouble: Option<String>,
}

impl DeliveryView {
    fn new(delivery: Delivery) -> Self {
        Self {
            delivery_id: delivery.delivery_id,
            event_id: delivery.event_id(),
            order_id: delivery.order_id.0,
            kind: delivery.kind,
            version: delivery.version,
            occurred_at: Timestamp(delivery.occurred_at),
            result: delivery.result,
            coalesced: delivery.coalesced,
            attempts: delivery.attempts,
            next_attempt_at: Timestamp::maybe(delivery.next_attempt_at),
            give_up_at: Timestamp(delivery.give_up_at),
            attempted_at: Timestamp::maybe(delivery.attempted_at),
            status: delivery.status,
            trouble: delivery.trouble,
        }
    }
}

/// Some of a receiver's deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryList {
    /// The newest first.
    deliveries: Vec<DeliveryView>,
    /// Where to go on; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Which deliveries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryFilter {
    result: Option<DeliveryResult>,
    /// `next_cursor` of the page before.
    #[param(format = Uuid)]
    cursor: Option<String>,
    /// 1 to 200; 20 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
}

/// Whose receivers somebody may see and change.
pub struct Desk<'a> {
    pub app: &'a App,
    pub of: Receivers,
    /// What is written through: an operator's records who did it.
    pub store: Store,
}

impl Desk<'_> {
    /// The oldest first.
    pub async fn list(&self, is_meant: impl Fn(&Webhook) -> bool) -> Result<web::Json<WebhookList>, Problem> {
        let (known, now) = (self.app.store.webhooks(self.of).await.map_err(Failure::from)?, now());
        let meant = known.into_iter().filter(is_meant).map(|webhook| WebhookView::new(webhook, now));
        Ok(web::Json(WebhookList { webhooks: meant.collect() }))
    }

    pub async fn get(&self, id: Uuid) -> Result<web::Json<WebhookView>, Problem> {
        let webhook = self.app.store.webhook(self.of, id).await.map_err(Failure::from)?;
        Ok(web::Json(WebhookView::new(webhook.ok_or_else(unknown_webhook)?, now())))
    }

    /// Makes a receiver of the partner's, or of one of its shops.
    pub async fn create(
        &self,
        partner_id: PartnerId,
        shop_id: Option<ShopId>,
        url: &str,
        kinds: Option<Vec<EventKind>>,
    ) -> Result<HttpResponse, Problem> {
        check_url(self.app, url)?;
        let secret = SigningSecret::generate();
        let (webhook_id, created_at) = (Uuid::now_v7(), now());
        let webhook = Webhook {
            webhook_id,
            partner_id,
            shop_id,
            url: url.to_owned(),
            kinds,
            secret,
            old_secrets: Vec::new(),
            created_at,
            disabled: None,
        };
        match self.store.add_webhook(webhook.clone()).await.map_err(Failure::from)? {
            Added::Done => {}
            Added::TooMany => {
                let detail = format!("A partner has at most {MOST_OF_A_PARTNER} webhooks: remove one first.");
                return Err(Failure::new(Code::NotPossible, detail).into());
            }
            Added::ShopHasOne => {
                let detail = "This shop has a webhook: change that one, or remove it first.";
                return Err(Failure::new(Code::AlreadyExists, detail).into());
            }
        }
        self.app.take_effect().await;
        Ok(shown_once(HttpResponse::Created(), webhook, created_at))
    }

    pub async fn put(&self, id: Uuid, body: WebhookSettings) -> Result<web::Json<WebhookView>, Problem> {
        check_url(self.app, &body.url)?;
        let known = self.app.store.webhook(self.of, id).await.map_err(Failure::from)?.ok_or_else(unknown_webhook)?;
        if known.shop_id.is_some() && body.types.is_some() {
            let fault = Fault::new("/types", "not_allowed", "A shop is told of its orders, and has no choice.");
            return Err(faults::unprocessable(vec![fault]).into());
        }
        let (now, enabled) = (now(), body.enabled.unwrap_or(true));
        let change = move |webhook: &mut Webhook| {
            webhook.url.clone_from(&body.url);
            webhook.kinds.clone_from(&body.types);
            webhook.disabled = match webhook.disabled.take() {
                _ if enabled => None,
                None => Some(Disabled { at: now, why: "it was switched off".into() }),
                disabled => disabled,
            };
        };
        let changed = self.store.change_webhook(self.of, id, change).await.map_err(Failure::from)?;
        self.app.take_effect().await;
        Ok(web::Json(WebhookView::new(changed.ok_or_else(unknown_webhook)?, now)))
    }

    pub async fn delete(&self, id: Uuid) -> Result<HttpResponse, Problem> {
        if !self.store.delete_webhook(self.of, id).await.map_err(Failure::from)? {
            return Err(unknown_webhook().into());
        }
        self.app.take_effect().await;
        Ok(HttpResponse::NoContent().finish())
    }

    pub async fn rotate(&self, id: Uuid, body: RotateSecret) -> Result<HttpResponse, Problem> {
        let overlap = match body.keep_old_minutes {
            Some(minutes) => Duration::minutes(minutes.into()),
            None => self.app.settings.webhook_rotation.chrono(),
        };
        let (secret, now) = (SigningSecret::generate(), now());
        let changed = self.store.rotate_webhook(self.of, id, secret, now + overlap, now).await;
        let (webhook, rotated) = changed.map_err(Failure::from)?.ok_or_else(unknown_webhook)?;
        if !rotated {
            let detail = format!(
                "{MOST_OLD_SECRETS} older secrets still sign: wait until one has ended, or end the present one at once with \
                 `keep_old_minutes` 0."
            );
            return Err(Failure::new(Code::NotPossible, detail).into());
        }
        self.app.take_effect().await;
        Ok(shown_once(HttpResponse::Ok(), webhook, now))
    }

    pub async fn deliveries(&self, id: Uuid, filter: &DeliveryFilter) -> Result<web::Json<DeliveryList>, Problem> {
        let below = filter.cursor.as_deref().map(|cursor| cursor.parse().map_err(|_| invalid_cursor())).transpose()?;
        let limit = limit(filter.limit, 200)?;
        let found = self.app.store.deliveries(self.of, id, filter.result, below, limit + 1).await;
        let mut found = found.map_err(Failure::from)?.ok_or_else(unknown_webhook)?;
        let is_all = found.len() as i64 <= limit;
        found.truncate(limit as usize);
        let next_cursor = found.last().filter(|_| !is_all).map(|last| last.delivery_id.to_string());
        let deliveries = found.into_iter().map(DeliveryView::new).collect();
        Ok(web::Json(DeliveryList { deliveries, next_cursor }))
    }

    pub async fn resend(&self, id: &str, delivery: &str) -> Result<web::Json<DeliveryView>, Problem> {
        let (id, delivery) = (id_in(id)?, id_in(delivery)?);
        let resent = self.store.resend(self.of, id, delivery, self.patience(), now()).await.map_err(Failure::from)?;
        let resent = resent.ok_or_else(|| Failure::new(Code::NotFound, "There is no such delivery."))?;
        Ok(web::Json(DeliveryView::new(resent)))
    }

    pub async fn resend_range(&self, id: Uuid, body: ResendRange) -> Result<web::Json<Resent>, Problem> {
        if body.until_at <= body.from_at {
            let fault = Fault::new("/until_at", "out_of_range", "This must be after `from_at`.");
            return Err(faults::unprocessable(vec![fault]).into());
        }
        let only_failed = body.only_failed.unwrap_or(false);
        let range = Range { from: body.from_at, until: body.until_at, only_failed };
        let resent = self.store.resend_range(self.of, id, range, self.patience(), now()).await;
        let deliveries = resent.map_err(Failure::from)?.ok_or_else(unknown_webhook)?;
        Ok(web::Json(Resent { deliveries }))
    }

    fn patience(&self) -> Duration {
        self.app.settings.webhook_give_up_after.chrono()
    }
}

fn check_url(app: &App, url: &str) -> Result<(), Failure> {
    match ForeignUrl::parse(url, &Rules::allowing(&app.settings.webhook_allow)) {
        Ok(_) => Ok(()),
        Err(unfit) => {
            Err(faults::unprocessable(vec![Fault::new("/url", "not_allowed", format!("Not that: {unfit}."))]))
        }
    }
}

fn shown_once(mut answer: actix_web::HttpResponseBuilder, webhook: Webhook, now: Instant) -> HttpResponse {
    let secret = webhook.secret.expose().to_owned();
    answer
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(SecretWebhookView { webhook: WebhookView::new(webhook, now), secret })
}

fn unknown_webhook() -> Failure {
    Failure::new(Code::NotFound, "There is no such webhook.")
}

//! Who is told of what happens to orders: receivers, each with a URL and a secret. Changed by people, seldom.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::log;
use super::rows::{document, instant, millis, or_log, raw, to_document, uuid};
use super::schema::{deliveries, meta, webhooks};
use super::sql::{Conn, Json, Millis, MultiBackend, RawId, native};
use super::tx::{Tx, Urgency};
use super::{Error, Result, Store};
use crate::lifecycle::EventKind;
use crate::order::{Instant, PartnerId, ShopId};
use crate::signing::SigningSecret;

/// A receiver of a partner's events or, with a shop, of the orders that are offered to that shop and cancelled there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub webhook_id: Uuid,
    pub partner_id: PartnerId,
    pub shop_id: Option<ShopId>,
    pub url: String,
    /// The kinds of events it wants; all if `None`. A shop's has no choice.
    pub kinds: Option<Vec<EventKind>>,
    pub secret: SigningSecret,
    /// The secrets before it that may still sign, the newest first, each until its own time is over.
    pub old_secrets: Vec<OldSecret>,
    pub created_at: Instant,
    pub disabled: Option<Disabled>,
}

/// A secret that was replaced, and until when it signs as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldSecret {
    pub secret: SigningSecret,
    pub until: Instant,
}

/// Since when nothing is sent, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    pub at: Instant,
    pub why: String,
}

impl Webhook {
    /// Those that sign now, the newest first.
    pub fn secrets(&self, now: Instant) -> Vec<&SigningSecret> {
        let old = self.old_secrets.iter().filter(|old| old.until > now).map(|old| &old.secret);
        std::iter::once(&self.secret).chain(old).collect()
    }

    /// Signs with another secret from now on, and until then with the present one as well. The rule: **a secret signs
    /// until its time is over, however often one rotates**; a rotation whose answer was lost may be repeated at once. False,
    /// and nothing changed, while [`MOST_OLD_SECRETS`] sign besides the present one.
    pub fn rotate(&mut self, secret: SigningSecret, until: Instant, now: Instant) -> bool {
        self.old_secrets.retain(|old| old.until > now);
        if until <= now {
            self.secret = secret;
            return true;
        }
        if self.old_secrets.len() >= MOST_OLD_SECRETS {
            return false;
        }
        let old = std::mem::replace(&mut self.secret, secret);
        self.old_secrets.insert(0, OldSecret { secret: old, until });
        true
    }

    pub fn wants(&self, kind: EventKind) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }
}

/// Whose receivers are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receivers {
    /// A partner's own: not those of its shops.
    Of(PartnerId),
    /// Those of all partners and all shops, for operators.
    All,
}

/// What became of adding one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    Done,
    /// The partner has as many as it may have.
    TooMany,
    /// The shop has one already.
    ShopHasOne,
}

/// Secrets that sign a delivery besides the present one: each is a signature in a header.
pub const MOST_OLD_SECRETS: usize = 10;
/// Receivers that one partner may have for itself.
pub const MOST_OF_A_PARTNER: i64 = 20;
/// In `meta`: the place in the log up to which the shops' deliveries are planned.
const SHOPS_TOLD: &str = "shops_told";

#[derive(Queryable, Insertable, AsChangeset)]
#[diesel(table_name = webhooks, treat_none_as_null = true)]
struct WebhookRow {
    id: RawId,
    partner_id: RawId,
    shop_id: Option<RawId>,
    url: String,
    kinds: Option<Json>,
    secret: String,
    old_secret: Option<String>,
    old_secret_until: Option<Millis>,
    planned: i64,
    created_at: Millis,
    disabled_at: Option<Millis>,
    disabled_why: Option<String>,
    /// The secrets before `old_secret`, which an older release knows nothing of.
    older_secrets: Option<Json>,
}

#[derive(Serialize, Deserialize)]
struct OlderSecret {
    secret: String,
    until: i64,
}

impl WebhookRow {
    fn of(webhook: &Webhook, planned: i64) -> Self {
        let text = |secret: &SigningSecret| secret.expose().to_owned();
        let (old, older) = webhook.old_secrets.split_first().unzip();
        let older = older.filter(|older| !older.is_empty()).map(|older| {
            let older = older.iter().map(|old| OlderSecret { secret: text(&old.secret), until: millis(old.until).0 });
            to_document(&older.collect::<Vec<_>>())
        });
        Self {
            id: raw(webhook.webhook_id),
            partner_id: raw(webhook.partner_id),
            shop_id: webhook.shop_id.map(raw),
            url: webhook.url.clone(),
            kinds: webhook.kinds.as_ref().map(to_document),
            secret: webhook.secret.expose().to_owned(),
            old_secret: old.map(|old| text(&old.secret)),
            old_secret_until: old.map(|old| millis(old.until)),
            planned,
            created_at: millis(webhook.created_at),
            disabled_at: webhook.disabled.as_ref().map(|disabled| millis(disabled.at)),
            disabled_why: webhook.disabled.as_ref().map(|disabled| disabled.why.clone()),
            older_secrets: older,
        }
    }

    fn into_webhook(self) -> Result<Webhook> {
        let secret = |text: String| text.parse().map_err(Error::Damaged);
        let mut old_secrets = Vec::new();
        if let Some((text, until)) = self.old_secret.zip(self.old_secret_until) {
            old_secrets.push(OldSecret { secret: secret(text)?, until: instant(until) });
        }
        let older: Vec<OlderSecret> = self.older_secrets.as_ref().map_or_else(|| Ok(Vec::new()), document)?;
        for old in older {
            old_secrets.push(OldSecret { secret: secret(old.secret)?, until: instant(Millis(old.until)) });
        }
        let shop = self.shop_id.as_ref().map(uuid).transpose()?;
        let disabled = self.disabled_at.zip(self.disabled_why);
        Ok(Webhook {
            webhook_id: uuid(&self.id)?,
            partner_id: PartnerId(uuid(&self.partner_id)?),
            shop_id: shop.map(ShopId),
            url: self.url,
            kinds: self.kinds.as_ref().map(document).transpose()?,
            secret: secret(self.secret)?,
            old_secrets,
            created_at: instant(self.created_at),
            disabled: disabled.map(|(at, why)| Disabled { at: instant(at), why }),
        })
    }
}

impl Store {
    /// The oldest first. One that cannot be read is left out: it must not hold up the others.
    pub async fn webhooks(&self, of: Receivers) -> Result<Vec<Webhook>> {
        self.readers
            .read(move |conn| {
                let rows: Vec<WebhookRow> = within(of).order((webhooks::created_at, webhooks::id)).load(conn)?;
                Ok(rows.into_iter().filter_map(|row| or_log(row.into_webhook())).collect())
            })
            .await
    }

    pub async fn webhook(&self, of: Receivers, id: Uuid) -> Result<Option<Webhook>> {
        self.readers.read(move |conn| find(conn, of, id)).await
    }

    /// Adds a receiver. It is told of what happens from now on.
    pub async fn add_webhook(&self, webhook: Webhook) -> Result<Added> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let same = match webhook.shop_id {
                    Some(shop) => webhooks::table.filter(webhooks::shop_id.eq(raw(shop))).into_boxed(),
                    None => within(Receivers::Of(webhook.partner_id)),
                };
                let (known, is_shops): (i64, _) = (same.count().get_result(tx.conn()?)?, webhook.shop_id.is_some());
                if is_shops && known > 0 {
                    tx.refuse();
                    return Ok(Added::ShopHasOne);
                }
                if known >= MOST_OF_A_PARTNER {
                    tx.refuse();
                    return Ok(Added::TooMany);
                }
                let place = log::end(tx.conn()?)?;
                if is_shops && !any_of_shops(tx.conn()?)? {
                    tell_shops_from(tx, place)?;
                }
                diesel::insert_into(webhooks::table).values(WebhookRow::of(&webhook, place)).execute(tx.conn()?)?;
                Ok(Added::Done)
            })
            .await
    }

    /// Changes a receiver as it stands now, and gives what became of it; `None` if there is none.
    pub async fn change_webhook(
        &self,
        of: Receivers,
        id: Uuid,
        mut change: impl FnMut(&mut Webhook) + Send + 'static,
    ) -> Result<Option<Webhook>> {
        self.lane.write(Urgency::Control, move |tx| changed(tx, of, id, &mut change)).await
    }

    /// Has a receiver sign with another secret, and with the present one as well until then: see [`Webhook::rotate`]. The
    /// receiver as it is afterwards, and whether it was rotated.
    pub async fn rotate_webhook(
        &self,
        of: Receivers,
        id: Uuid,
        secret: SigningSecret,
        until: Instant,
        now: Instant,
    ) -> Result<Option<(Webhook, bool)>> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let mut rotated = false;
                let change = &mut |webhook: &mut Webhook| rotated = webhook.rotate(secret.clone(), until, now);
                let webhook = changed(tx, of, id, change)?;
                if !rotated {
                    tx.refuse();
                }
                Ok(webhook.map(|webhook| (webhook, rotated)))
            })
            .await
    }

    /// Sends nothing more to a receiver. What happens meanwhile waits for it.
    pub async fn disable_webhook(&self, of: Receivers, id: Uuid, why: String, at: Instant) -> Result<Option<Webhook>> {
        let disable = move |webhook: &mut Webhook| {
            webhook.disabled.get_or_insert_with(|| Disabled { at, why: why.clone() });
        };
        self.change_webhook(of, id, disable).await
    }

    /// Sends to a receiver again: also what happened meanwhile, as far as it is not too old.
    pub async fn enable_webhook(&self, of: Receivers, id: Uuid) -> Result<Option<Webhook>> {
        self.change_webhook(of, id, |webhook| webhook.disabled = None).await
    }

    /// Removes a receiver with all that was on its way to it. False if there is none.
    pub async fn delete_webhook(&self, of: Receivers, id: Uuid) -> Result<bool> {
        self.lane
            .write(Urgency::Control, move |tx| {
                if find(tx.conn()?, of, id)?.is_none() {
                    tx.refuse();
                    return Ok(false);
                }
                let id = raw(id);
                diesel::delete(deliveries::table.filter(deliveries::webhook_id.eq(&id))).execute(tx.conn()?)?;
                diesel::delete(webhooks::table.find(id)).execute(tx.conn()?)?;
                Ok(true)
            })
            .await
    }
}

fn within<'q>(of: Receivers) -> webhooks::BoxedQuery<'q, MultiBackend> {
    match of {
        Receivers::Of(partner) => webhooks::table
            .filter(webhooks::partner_id.eq(raw(partner)))
            .filter(webhooks::shop_id.is_null())
            .into_boxed(),
        Receivers::All => webhooks::table.into_boxed(),
    }
}

fn row(conn: &mut Conn, of: Receivers, id: Uuid) -> Result<Option<WebhookRow>> {
    Ok(within(of).filter(webhooks::id.eq(raw(id))).first(conn).optional()?)
}

pub(super) fn find(conn: &mut Conn, of: Receivers, id: Uuid) -> Result<Option<Webhook>> {
    row(conn, of, id)?.map(WebhookRow::into_webhook).transpose()
}

fn changed(tx: &mut Tx, of: Receivers, id: Uuid, change: &mut impl FnMut(&mut Webhook)) -> Result<Option<Webhook>> {
    let Some(before) = row(tx.conn()?, of, id)? else {
        tx.refuse();
        return Ok(None);
    };
    let planned = before.planned;
    let mut webhook = before.into_webhook()?;
    change(&mut webhook);
    let after = WebhookRow::of(&webhook, planned);
    diesel::update(webhooks::table.find(&after.id)).set(&after).execute(tx.conn()?)?;
    Ok(Some(webhook))
}

pub(super) fn any_of_shops(conn: &mut Conn) -> Result<bool> {
    let any = webhooks::table.filter(webhooks::shop_id.is_not_null());
    Ok(diesel::select(diesel::dsl::exists(any)).get_result(conn)?)
}

/// The place in the log up to which the shops' deliveries are planned.
pub(super) fn shops_told(conn: &mut Conn) -> Result<i64> {
    let place: Option<String> = meta::table.find(SHOPS_TOLD).select(meta::value).first(conn).optional()?;
    place.map_or(Ok(0), |place| place.parse().map_err(|_| Error::Damaged(format!("{SHOPS_TOLD} `{place}`"))))
}

pub(super) fn tell_shops_from(tx: &mut Tx, place: i64) -> Result<()> {
    let value = place.to_string();
    let told = diesel::insert_into(meta::table)
        .values((meta::name.eq(SHOPS_TOLD), meta::value.eq(&value)))
        .on_conflict(meta::name)
        .do_update()
        .set(meta::value.eq(&value));
    native!(tx.conn()?, conn => told.execute(conn))?;
    Ok(())
}

//! The log's rows.

use diesel::prelude::*;
use serde::Serialize;

use super::super::sql::{Json, Millis, RawId};
use super::{instant, millis, raw, to_document, uuid, word};
use crate::lifecycle::{Actor, Event};
use crate::order::{Instant, OrderId};
use crate::state::Order;
use crate::store::statements::rows;
use crate::store::{Recorded, Result};

rows! {
    /// A row of `order_events` that is about to be written. Its position is given by the lane, just before.
    pub(in crate::store) struct NewEventRow as new_order_event in order_events {
        position: i64,
        partner_id: RawId,
        shop_id: RawId,
        order_id: RawId,
        version: i64,
        kind: &'static str,
        from_status: Option<&'static str>,
        to_status: &'static str,
        payment_status: &'static str,
        actor: &'static str,
        reason: Option<&'static str>,
        at: Millis,
        elapsed_ms: Option<i64>,
        data: Json,
    }
}

impl NewEventRow {
    pub(in crate::store) fn of(before: Option<&Order>, after: &Order, event: &Event, by: Actor) -> Self {
        let left = before.filter(|before| before.status != after.status);
        // It was kept before it was said: the log tells both.
        let kept = left.filter(|_| after.entered_at != after.updated_at).map(|_| after.entered_at);
        Self {
            position: 0,
            partner_id: raw(after.partner_id),
            shop_id: raw(after.shop_id),
            order_id: raw(after.id),
            version: after.version,
            kind: event.kind().word(),
            from_status: before.map(|order| order.status.word()),
            to_status: after.status.word(),
            payment_status: after.payment.status.word(),
            actor: by.word(),
            reason: after.reason.filter(|_| before.is_some_and(|b| b.reason != after.reason)).map(|r| r.word()),
            at: millis(after.updated_at),
            elapsed_ms: left.map(|before| (after.entered_at - before.entered_at).num_milliseconds()),
            data: to_document(&Said { event, occurred_at: kept }),
        }
    }
}

/// An event as it is stored.
#[derive(Serialize)]
struct Said<'e> {
    #[serde(flatten)]
    event: &'e Event,
    /// When it happened, if that was before it was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<Instant>,
}

/// The name of [`Said::occurred_at`]: beside the event, it is no part of what was said.
pub(in crate::store) const OCCURRED_AT: &str = "occurred_at";

/// A row of `order_events`.
#[derive(Queryable)]
pub(in crate::store) struct EventRow {
    pub position: i64,
    _partner_id: RawId,
    _shop_id: RawId,
    order_id: RawId,
    version: i64,
    kind: String,
    from_status: Option<String>,
    to_status: String,
    payment_status: String,
    actor: String,
    reason: Option<String>,
    at: Millis,
    _elapsed_ms: Option<i64>,
    data: Json,
}

impl EventRow {
    pub(in crate::store) fn into_recorded(self) -> Result<Recorded> {
        Ok(Recorded {
            position: self.position,
            order_id: OrderId(uuid(&self.order_id)?),
            version: self.version,
            kind: word(&self.kind)?,
            from: self.from_status.as_deref().map(word).transpose()?,
            to: word(&self.to_status)?,
            payment_status: word(&self.payment_status)?,
            actor: word(&self.actor)?,
            reason: self.reason.as_deref().map(word).transpose()?,
            at: instant(self.at),
            data: self.data,
        })
    }
}

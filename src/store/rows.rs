//! Between rows and what they mean. The only place that knows how an order is laid out in columns.

pub(super) mod event;
pub(super) mod name;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sql::{Json, Millis, RawId};
use super::statements::{columns, rows};
use super::{Error, Result};
use crate::lifecycle::{Actor, Refund};
use crate::order::{CustomerId, Hash, Instant, OrderId, PartnerId, PaymentAction, Pickup, Placed, ShopId};
use crate::state::{Order, Payment, PendingOperation, Task};

pub(super) fn millis(at: Instant) -> Millis {
    Millis(at.timestamp_millis())
}

pub(super) fn instant(Millis(millis): Millis) -> Instant {
    DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default()
}

pub(super) fn raw(id: impl Into<RawId>) -> RawId {
    id.into()
}

pub(super) fn uuid(RawId(bytes): &RawId) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|fault| Error::Damaged(format!("a stored id: {fault}")))
}

pub(super) fn word<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::Damaged(format!("a stored word: `{text}`")))
}

pub(super) fn document<T: serde::de::DeserializeOwned>(Json(text): &Json) -> Result<T> {
    parsed(text)
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|fault| Error::Damaged(format!("a stored document: {fault}")))
}

pub(super) fn to_document(value: &impl Serialize) -> Json {
    Json(text(value))
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data serialises")
}

rows! {
    /// A row of `orders`, column by column.
    #[derive(Queryable, Clone)]
    pub(super) struct OrderRow as new_order in orders {
        id: RawId,
        partner_id: RawId,
        customer_id: String,
        shop_id: RawId,
        number: i64,
        placed: String,
        placed_hash: Vec<u8>,
        total: i64,
        currency: String,
        slot_at: Option<Millis>,
        status: String,
        reason: Option<String>,
        payment_status: String,
        authorized: i64,
        captured: i64,
        refunded: i64,
        owed: i64,
        stage: Option<String>,
        next_attempt_at: Option<Millis>,
        attempts: i32,
        errors: i32,
        crashes: i32,
        fence: i64,
        leased_until: Option<Millis>,
        parked_at: Option<Millis>,
        deadline_at: Option<Millis>,
        ongoing: bool,
        version: i64,
        created_at: Millis,
        closed_at: Option<Millis>,
        deleted_at: Option<Millis>,
        details: Json,
    }
}

rows! {
    /// The columns of `orders` that every change may touch. What was accepted is not among them.
    pub(super) struct ChangedColumns as order_change in orders {
        status: &'static str,
        reason: Option<&'static str>,
        payment_status: &'static str,
        authorized: i64,
        captured: i64,
        refunded: i64,
        stage: Option<&'static str>,
        next_attempt_at: Option<Millis>,
        attempts: i32,
        errors: i32,
        crashes: i32,
        fence: i64,
        leased_until: Option<Millis>,
        deadline_at: Option<Millis>,
        version: i64,
        details: Json,
    }
}

rows! {
    /// The columns that few changes touch. A statement for one row names them only then: on SQLite one that names a column
    /// of an index rewrites its entry, whether or not the value is another one.
    #[derive(PartialEq, Eq)]
    pub(super) struct SeldomChangedColumns as seldom_order_change in orders {
        slot_at: Option<Millis>,
        owed: i64,
        parked_at: Option<Millis>,
        ongoing: bool,
        closed_at: Option<Millis>,
        deleted_at: Option<Millis>,
    }
}

rows! {
    /// An order as it was when it was read: whoever changes it goes by that.
    pub(super) struct Mark as order_mark in orders {
        id: RawId,
        fence: i64,
        version: i64,
    }
}

columns! {
    /// What a claim changes.
    pub(super) struct TaskColumns in orders {
        fence: i64,
        attempts: i32,
        crashes: i32,
        leased_until: Option<Millis>,
        next_attempt_at: Option<Millis>,
    }
}

/// What only the code reads of an order.
#[derive(Serialize, Deserialize)]
struct Details {
    nonce: i64,
    pickup: Pickup,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason_by: Option<Actor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    action: Option<PaymentAction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending_operation: Option<PendingOperation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    release: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    refund_target: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    waived: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    refunded_elsewhere: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refund_choice: Option<Refund>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown_since: Option<Millis>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    last_look: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capture_before: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unresolved: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dropped_lines: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offer_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offered_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promise_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected_ready_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ready_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrived_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    recalled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found_begun_at: Option<Millis>,
    entered_at: Millis,
    updated_at: Millis,
}

fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

impl Details {
    fn of(order: &Order) -> Self {
        let payment = order.payment.clone();
        Self {
            nonce: order.nonce,
            pickup: order.pickup.clone(),
            reason_by: order.reason_by,
            reference: payment.reference,
            action: payment.action,
            pending_operation: payment.pending_operation,
            refusal: payment.refusal,
            release: payment.release,
            refund_target: payment.refund_target,
            waived: payment.waived,
            refunded_elsewhere: payment.refunded_elsewhere,
            refund_choice: payment.refund_choice,
            unknown_since: payment.unknown_since.map(millis),
            last_look: payment.last_look,
            capture_before: payment.capture_before.map(millis),
            last_error: order.task.last_error.clone(),
            unresolved: order.task.unresolved,
            dropped_lines: order.dropped_lines.clone(),
            offer_at: order.offer_at.map(millis),
            offered_at: order.offered_at.map(millis),
            promise_at: order.promise_at.map(millis),
            expected_ready_at: order.expected_ready_at.map(millis),
            ready_at: order.ready_at.map(millis),
            arrived_at: order.arrived_at.map(millis),
            recalled: order.recalled,
            found_begun_at: order.found_begun_at.map(millis),
            entered_at: millis(order.entered_at),
            updated_at: millis(order.updated_at),
        }
    }
}

/// The hash that binds what was accepted to the order it was accepted for.
fn placed_hash(RawId(id): &RawId, customer_id: &str, RawId(shop_id): &RawId, placed: &str) -> Hash {
    Hash::of_bytes(&[id, customer_id.as_bytes(), shop_id, placed.as_bytes()].join(&0))
}

impl OrderRow {
    pub(super) fn of(order: &Order) -> Self {
        let id = raw(order.id);
        let shop_id = raw(order.shop_id);
        let placed = text(&order.placed);
        let (changed, seldom) = (ChangedColumns::of(order), SeldomChangedColumns::of(order));
        Self {
            placed_hash: placed_hash(&id, &order.customer_id.0, &shop_id, &placed).0.to_vec(),
            id,
            partner_id: raw(order.partner_id),
            customer_id: order.customer_id.0.clone(),
            shop_id,
            number: order.number,
            placed,
            total: order.placed.total.amount,
            currency: order.placed.total.currency.to_string(),
            slot_at: seldom.slot_at,
            status: changed.status.into(),
            reason: changed.reason.map(Into::into),
            payment_status: changed.payment_status.into(),
            authorized: changed.authorized,
            captured: changed.captured,
            refunded: changed.refunded,
            owed: seldom.owed,
            stage: changed.stage.map(Into::into),
            next_attempt_at: changed.next_attempt_at,
            attempts: changed.attempts,
            errors: changed.errors,
            crashes: changed.crashes,
            fence: changed.fence,
            leased_until: changed.leased_until,
            parked_at: seldom.parked_at,
            deadline_at: changed.deadline_at,
            ongoing: seldom.ongoing,
            version: changed.version,
            created_at: millis(order.created_at),
            closed_at: seldom.closed_at,
            deleted_at: seldom.deleted_at,
            details: changed.details,
        }
    }

    pub(super) fn id(&self) -> &RawId {
        &self.id
    }

    /// Whether a process died that held it, or may have.
    pub(super) fn is_suspect(&self) -> bool {
        self.leased_until.is_some() || self.crashes > 0
    }

    /// Errors: [`Error::Damaged`], which names the order.
    pub(super) fn into_order(self) -> Result<Order> {
        let id = self.id.clone();
        self.decode().map_err(|fault| match fault {
            Error::Damaged(what) => Error::Damaged(format!("order {}: {what}", name_of(&id))),
            other => other,
        })
    }

    fn decode(self) -> Result<Order> {
        let details: Details = document(&self.details)?;
        let placed: Placed = parsed(&self.placed)?;
        let hash = placed_hash(&self.id, &self.customer_id, &self.shop_id, &self.placed);
        let untouched = hash.0 == self.placed_hash[..]
            && placed.total.amount == self.total
            && placed.total.currency.as_str() == self.currency;
        Ok(Order {
            id: OrderId(uuid(&self.id)?),
            partner_id: PartnerId(uuid(&self.partner_id)?),
            customer_id: CustomerId(self.customer_id),
            shop_id: ShopId(uuid(&self.shop_id)?),
            number: self.number,
            nonce: details.nonce,
            placed,
            intact: untouched,
            pickup: details.pickup,
            status: word(&self.status)?,
            reason: self.reason.as_deref().map(word).transpose()?,
            reason_by: details.reason_by,
            payment: Payment {
                status: word(&self.payment_status)?,
                authorized: self.authorized,
                captured: self.captured,
                refunded: self.refunded,
                reference: details.reference,
                action: details.action,
                pending_operation: details.pending_operation,
                refusal: details.refusal,
                release: details.release,
                refund_target: details.refund_target,
                waived: details.waived,
                refunded_elsewhere: details.refunded_elsewhere,
                refund_choice: details.refund_choice,
                unknown_since: details.unknown_since.map(instant),
                last_look: details.last_look,
                capture_before: details.capture_before.map(instant),
            },
            task: Task {
                stage: self.stage.as_deref().map(word).transpose()?,
                next_attempt_at: self.next_attempt_at.map(instant),
                attempts: self.attempts,
                errors: self.errors,
                blame: self.crashes,
                fence: self.fence,
                leased_until: self.leased_until.map(instant),
                parked_at: self.parked_at.map(instant),
                last_error: details.last_error,
                unresolved: details.unresolved,
            },
            entered_at: instant(details.entered_at),
            deadline_at: self.deadline_at.map(instant),
            dropped_lines: details.dropped_lines,
            offer_at: details.offer_at.map(instant),
            offered_at: details.offered_at.map(instant),
            promise_at: details.promise_at.map(instant),
            expected_ready_at: details.expected_ready_at.map(instant),
            ready_at: details.ready_at.map(instant),
            arrived_at: details.arrived_at.map(instant),
            recalled: details.recalled,
            found_begun_at: details.found_begun_at.map(instant),
            version: self.version,
            created_at: instant(self.created_at),
            updated_at: instant(details.updated_at),
            closed_at: self.closed_at.map(instant),
            deleted_at: self.deleted_at.map(instant),
        })
    }
}

/// An id as people write it, also one that is no id.
fn name_of(RawId(id): &RawId) -> String {
    Uuid::from_slice(id).map_or_else(|_| format!("{id:02x?}"), |id| id.to_string())
}

/// What could be read. What could not is logged and left out: in a list it must not hide the others.
pub(super) fn or_log<T>(read: Result<T>) -> Option<T> {
    read.inspect_err(|fault| tracing::error!(%fault, "store.unreadable_row")).ok()
}

impl Mark {
    pub(super) fn of(order: &Order) -> Self {
        Self { id: raw(order.id), fence: order.task.fence, version: order.version }
    }
}

impl SeldomChangedColumns {
    pub(super) fn of(order: &Order) -> Self {
        Self {
            slot_at: order.pickup.at.map(millis),
            owed: order.owed(),
            parked_at: order.task.parked_at.map(millis),
            ongoing: order.is_ongoing(),
            closed_at: order.closed_at.map(millis),
            deleted_at: order.deleted_at.map(millis),
        }
    }
}

impl TaskColumns {
    pub(super) fn of(order: &Order) -> Self {
        Self {
            fence: order.task.fence,
            attempts: order.task.attempts,
            crashes: order.task.blame,
            leased_until: order.task.leased_until.map(millis),
            next_attempt_at: order.task.next_attempt_at.map(millis),
        }
    }
}

impl ChangedColumns {
    pub(super) fn of(order: &Order) -> Self {
        Self {
            status: order.status.word(),
            reason: order.reason.map(|reason| reason.word()),
            payment_status: order.payment.status.word(),
            authorized: order.payment.authorized,
            captured: order.payment.captured,
            refunded: order.payment.refunded,
            stage: order.task.stage.map(|stage| stage.word()),
            next_attempt_at: order.task.next_attempt_at.map(millis),
            attempts: order.task.attempts,
            errors: order.task.errors,
            crashes: order.task.blame,
            fence: order.task.fence,
            leased_until: order.task.leased_until.map(millis),
            deadline_at: order.deadline_at.map(millis),
            version: order.version,
            details: to_document(&Details::of(order)),
        }
    }
}

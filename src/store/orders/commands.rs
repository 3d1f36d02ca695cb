//! What operators decide about one order, written together with who decided it.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Received, Said, Scope, said};
use crate::command::{Command, CommandKind};
use crate::lifecycle::{Actor, EventKind};
use crate::machine::{self, Refused};
use crate::meters::{METERS, WordResult};
use crate::order::{Instant, OrderId};
use crate::state::Order;
use crate::store::audit::{self, Entry};
use crate::store::tx::{Touching, Tx, Urgency};
use crate::store::{Error, Policy, Result, Store};

/// Who acts, when and why.
#[derive(Clone, Debug)]
pub struct By {
    pub at: Instant,
    /// The user of the console; none for a key of the API.
    pub user_id: Option<Uuid>,
    /// The user's name, or the label of the key.
    pub name: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    pub request_id: String,
    /// What else identifies who acts: the id of the key, or of the job over many orders.
    pub detail: Map<String, Value>,
}

impl By {
    /// An entry of the audit log.
    pub fn entry(&self, action: &str, subject: String, detail: Value) -> Entry {
        let mut all = self.detail.clone();
        if let Value::Object(detail) = detail {
            all.extend(detail.into_iter().filter(|(_, value)| !value.is_null()));
        }
        Entry {
            at: self.at,
            user_id: self.user_id,
            user_name: self.name.clone(),
            action: action.to_owned(),
            subject,
            reason: self.reason.clone(),
            detail: Value::Object(all),
            request_id: self.request_id.clone(),
        }
    }
}

/// What orders are called in the audit log.
pub fn order_subject(order: OrderId) -> String {
    format!("order:{order}")
}

impl Store {
    /// THE write of an operator to an order: the command is decided about the order as it was at `version`, and the audit
    /// log says who gave it, done or refused, in the same transaction.
    ///
    /// A command without event ([`Command::VoidPayment`]) is only announced: what comes of it the gateway says.
    ///
    /// ```compile_fail,E0061
    /// # use lungo::{command::Command, order::OrderId, store::Store};
    /// # async fn without_who(store: Store, order: OrderId) {
    /// let refund = Command::Refund { amount: 100, lines: vec![] };
    /// let _ = store.command(order, 7, refund).await;
    /// # }
    /// ```
    pub async fn command(&self, order_id: OrderId, version: i64, command: Command, by: By) -> Result<Received> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let obeyed = self
            .lane
            .write_at(Urgency::Control, Touching::order(order_id), move |tx| {
                obey(tx, order_id, version, &command, &by, cluster, &policy)
            })
            .await?;
        let received = self.heard(obeyed);
        count(&received);
        Ok(received)
    }
}

/// A command inside a transaction. Its audit entry is written whatever comes of it.
///
/// # Errors
/// [`Error::Damaged`] before anything is written, also no entry.
pub(in crate::store) fn obey(
    tx: &mut Tx,
    order_id: OrderId,
    version: i64,
    command: &Command,
    by: &By,
    cluster: u64,
    policy: &Policy,
) -> Result<Received> {
    let received = decide(tx, order_id, version, command, by, cluster, policy)?;
    let order = match &received {
        Received::Changed(order, _)
        | Received::Already(order, _)
        | Received::Refused(order, _)
        | Received::Stale(order) => Some(&**order),
        Received::DraftBuried(_) | Received::SlotFull | Received::Unknown => None,
    };
    let mut detail = command.detail(order);
    detail["version"] = json!(version);
    detail["refused"] = json!(refusal(&received));
    let entry = by.entry(command.word(), order_subject(order_id), detail);
    let announced = matches!(received, Received::Already(..)) && command.to_event(None).is_none();
    audit::insert(tx, &entry, announced || matches!(received, Received::Changed(..)))?;
    Ok(received)
}

fn decide(
    tx: &mut Tx,
    order_id: OrderId,
    version: i64,
    command: &Command,
    by: &By,
    cluster: u64,
    policy: &Policy,
) -> Result<Received> {
    if tx.is_withheld() {
        return Err(Error::Withheld);
    }
    if let Some(refused) = try_out(tx, order_id, version, command)? {
        return Ok(refused);
    }
    let event = match command.to_event(by.reason.clone()) {
        Some(event) => event,
        None => {
            let order = tx.find(order_id)?.ok_or_else(|| Error::Damaged("an order vanished".into()))?;
            let position = super::position(&order, cluster);
            return Ok(Received::Already(Box::new(order), position));
        }
    };
    let (scope, actor) = (Scope::Everyone, Actor::Operator);
    said(
        tx,
        &Said { order_id, scope, actor, event: &event, version: Some(version), when: by.at.into() },
        cluster,
        policy,
    )
}

/// What refuses a command before the machine is asked; `None` if nothing does. The same check keeps a
/// settlement that cannot be from waiting for a second operator.
pub(in crate::store) fn try_out(
    tx: &mut Tx,
    order_id: OrderId,
    version: i64,
    command: &Command,
) -> Result<Option<Received>> {
    let Some(order) = tx.find(order_id)? else { return Ok(Some(Received::Unknown)) };
    if order.version != version {
        return Ok(Some(Received::Stale(Box::new(order))));
    }
    let is_of_payment = matches!(command.kind(), CommandKind::VoidPayment | CommandKind::SettlePayment);
    if is_of_payment && !command.kind().allowed(&order) {
        let event = command.to_event(None).map_or(EventKind::PaymentVoided, |event| event.kind());
        let refused = Refused::Illegal { status: order.status, payment: order.payment.status, event };
        return Ok(Some(Received::Refused(Box::new(order), refused)));
    }
    Ok(None)
}

/// Whether the machine would refuse a command to an order that stands so.
pub(in crate::store) fn would_refuse(
    order: &Order,
    command: &Command,
    now: Instant,
    policy: &Policy,
) -> Option<Refused> {
    let event = command.to_event(None)?;
    machine::step(order, &event, Actor::Operator, now, &policy.deadlines).err()
}

/// Why nothing was done, in words; `None` if it was.
pub(in crate::store) fn refusal(received: &Received) -> Option<String> {
    match received {
        Received::Changed(..) | Received::Already(..) => None,
        Received::Refused(_, why) => Some(why.to_string()),
        Received::Stale(order) => Some(format!("the order had changed: it has version {} now", order.version)),
        Received::DraftBuried(_) | Received::SlotFull | Received::Unknown => Some("there is no such order".into()),
    }
}

pub(in crate::store) fn count(received: &Received) {
    METERS.received.of((Actor::Operator, WordResult::from(received))).increment(1);
}

//! What operators say has become of a payment, on evidence from outside; above a limit only once two of them agree.

use chrono::Duration;
use diesel::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::orders::Received;
use super::orders::commands::{self, By, obey, order_subject, try_out, would_refuse};
use super::rows::{document, instant, millis, or_log, raw, to_document, uuid, word};
use super::schema::settlements;
use super::sql::{Json, Millis, RawId};
use super::tx::{Tx, Urgency};
use super::{Policy, Result, Store, audit};
use crate::command::Command;
use crate::lifecycle::Event;
use crate::order::{Instant, OrderId};
use strum::{Display, EnumString};

/// What nobody agreed to is withdrawn after this time, by whoever says the next.
const WAITS_FOR: Duration = Duration::days(7);

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum SettlementState {
    /// For somebody else to agree.
    Waiting,
    Done,
    Withdrawn,
}

/// What somebody says has become of a payment.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    pub id: Uuid,
    pub order_id: OrderId,
    /// The version of the order that it was said of.
    pub version: i64,
    pub event: Event,
    /// Money that is decided about. Minor units.
    pub amount: i64,
    pub currency: String,
    pub evidence: String,
    pub state: SettlementState,
    pub said_by_id: Uuid,
    pub said_by: String,
    pub said_at: Instant,
    pub decided_by: Option<String>,
    pub decided_at: Option<Instant>,
}

/// What became of saying so, or agreeing.
#[derive(Debug)]
pub enum Settled {
    Done(Box<Received>),
    /// It will not be done.
    Withdrawn,
    /// Somebody else has to agree.
    Waiting,
    /// Not possible, or no longer.
    Refused(Box<Received>),
    /// Somebody has said something of this order already, which waits.
    WaitsAlready,
    /// Whoever said it cannot agree to it.
    SamePerson,
    /// It was decided, or there is no such.
    Unknown,
}

impl Store {
    /// Settles at once what is worth no more than `limit`; keeps the rest until another operator agrees. The audit log
    /// says who said it, done or refused.
    pub async fn say_settlement(&self, said: Settlement, limit: i64, by: By) -> Result<Settled> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let settled = self.lane.write(Urgency::Control, move |tx| say(tx, &said, limit, &by, cluster, &policy)).await?;
        count(&settled);
        Ok(settled)
    }

    /// Agrees to what another operator has said, or withdraws it. The audit log says who, done or refused.
    pub async fn decide_settlement(&self, id: Uuid, agrees: bool, by: By) -> Result<Settled> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let settled =
            self.lane.write(Urgency::Control, move |tx| decide(tx, id, agrees, &by, cluster, &policy)).await?;
        if agrees {
            count(&settled);
        }
        Ok(settled)
    }

    /// What was said of payments: first what waits for somebody to agree, then the newest.
    pub async fn settlements(&self, limit: i64) -> Result<Vec<Settlement>> {
        self.readers
            .read(move |conn| {
                let order = (settlements::decided_at.is_not_null(), settlements::said_at.desc());
                let rows: Vec<SettlementRow> = settlements::table.order(order).limit(limit).load(conn)?;
                Ok(rows.into_iter().filter_map(|row| or_log(row.into_settlement())).collect())
            })
            .await
    }
}

fn count(settled: &Settled) {
    match settled {
        Settled::Done(received) | Settled::Refused(received) => commands::count(received),
        Settled::Waiting | Settled::Withdrawn | Settled::WaitsAlready | Settled::SamePerson | Settled::Unknown => {}
    }
}

impl Settlement {
    fn command(&self, agrees_to: Option<Uuid>) -> Command {
        Command::SettlePayment { event: self.event.clone(), agrees_to }
    }
}

/// What is neither done to the order nor refused by it: the settlement itself is changed, or cannot be.
fn note(
    tx: &mut Tx,
    by: &By,
    action: &str,
    subject: String,
    detail: serde_json::Value,
    settled: Settled,
) -> Result<Settled> {
    let done = matches!(settled, Settled::Waiting | Settled::Withdrawn);
    audit::insert(tx, &by.entry(action, subject, detail), done)?;
    Ok(settled)
}

fn say(tx: &mut Tx, said: &Settlement, limit: i64, by: &By, cluster: u64, policy: &Policy) -> Result<Settled> {
    let old = settlements::table
        .filter(settlements::state.eq(SettlementState::Waiting.to_string()))
        .filter(settlements::said_at.lt(millis(said.said_at - WAITS_FOR)));
    let withdrawn = (
        settlements::state.eq(SettlementState::Withdrawn.to_string()),
        settlements::decided_at.eq(Some(millis(said.said_at))),
    );
    diesel::update(old).set(withdrawn).execute(tx.conn()?)?;
    let waiting = settlements::table
        .filter(settlements::order_id.eq(raw(said.order_id)))
        .filter(settlements::state.eq(SettlementState::Waiting.to_string()));
    let command = said.command(None);
    let waits_already: bool = diesel::select(diesel::dsl::exists(waiting)).get_result(tx.conn()?)?;
    let alone = said.amount <= limit;
    if waits_already || !alone {
        let refused = if waits_already { None } else { refused_now(tx, said, &command, policy)? };
        let settled = match refused {
            _ if waits_already => Settled::WaitsAlready,
            Some(refused) => Settled::Refused(Box::new(refused)),
            None => {
                diesel::insert_into(settlements::table).values(SettlementRow::of(said)).execute(tx.conn()?)?;
                Settled::Waiting
            }
        };
        let order = tx.find(said.order_id)?;
        let mut detail = command.detail(order.as_ref());
        (detail["version"], detail["waits"]) = (json!(said.version), json!(matches!(settled, Settled::Waiting)));
        return note(tx, by, command.word(), order_subject(said.order_id), detail, settled);
    }
    let received = obey(tx, said.order_id, said.version, &command, by, cluster, policy)?;
    if !matches!(received, Received::Changed(..)) {
        return Ok(Settled::Refused(Box::new(received)));
    }
    let mut row = SettlementRow::of(said);
    row.state = SettlementState::Done.to_string();
    (row.decided_by, row.decided_at) = (Some(said.said_by.clone()), Some(millis(said.said_at)));
    diesel::insert_into(settlements::table).values(row).execute(tx.conn()?)?;
    Ok(Settled::Done(Box::new(received)))
}

fn decide(tx: &mut Tx, id: Uuid, agrees: bool, by: &By, cluster: u64, policy: &Policy) -> Result<Settled> {
    let action = if agrees { "agree_settlement" } else { "withdraw_settlement" };
    let waiting = settlements::table.find(raw(id)).filter(settlements::state.eq(SettlementState::Waiting.to_string()));
    let Some(row) = waiting.first::<SettlementRow>(tx.conn()?).optional()? else {
        return note(tx, by, action, format!("settlement:{id}"), json!({}), Settled::Unknown);
    };
    let said = row.into_settlement()?;
    let (subject, detail) = (order_subject(said.order_id), json!({"settlement": id}));
    if agrees && by.user_id == Some(said.said_by_id) {
        return note(tx, by, action, subject, detail, Settled::SamePerson);
    }
    let (state, settled) = if agrees {
        let received = obey(tx, said.order_id, said.version, &said.command(Some(id)), by, cluster, policy)?;
        if !matches!(received, Received::Changed(..)) {
            return Ok(Settled::Refused(Box::new(received)));
        }
        (SettlementState::Done, Settled::Done(Box::new(received)))
    } else {
        (SettlementState::Withdrawn, note(tx, by, action, subject, detail, Settled::Withdrawn)?)
    };
    let decided = (
        settlements::state.eq(state.to_string()),
        settlements::decided_by.eq(Some(by.name.clone())),
        settlements::decided_at.eq(Some(millis(by.at))),
    );
    diesel::update(settlements::table.find(raw(id))).set(decided).execute(tx.conn()?)?;
    Ok(settled)
}

/// What would refuse it now; `None` if nothing would.
fn refused_now(tx: &mut Tx, said: &Settlement, command: &Command, policy: &Policy) -> Result<Option<Received>> {
    if let Some(refused) = try_out(tx, said.order_id, said.version, command)? {
        return Ok(Some(refused));
    }
    let Some(order) = tx.find(said.order_id)? else { return Ok(Some(Received::Unknown)) };
    let refused = would_refuse(&order, command, said.said_at, policy);
    Ok(refused.map(|refused| Received::Refused(Box::new(order), refused)))
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = settlements)]
struct SettlementRow {
    id: RawId,
    order_id: RawId,
    version: i64,
    event: Json,
    amount: i64,
    currency: String,
    evidence: String,
    state: String,
    said_by_id: RawId,
    said_by: String,
    said_at: Millis,
    decided_by: Option<String>,
    decided_at: Option<Millis>,
}

impl SettlementRow {
    fn of(said: &Settlement) -> Self {
        Self {
            id: raw(said.id),
            order_id: raw(said.order_id),
            version: said.version,
            event: to_document(&said.event),
            amount: said.amount,
            currency: said.currency.clone(),
            evidence: said.evidence.clone(),
            state: said.state.to_string(),
            said_by_id: raw(said.said_by_id),
            said_by: said.said_by.clone(),
            said_at: millis(said.said_at),
            decided_by: said.decided_by.clone(),
            decided_at: said.decided_at.map(millis),
        }
    }

    fn into_settlement(self) -> Result<Settlement> {
        Ok(Settlement {
            id: uuid(&self.id)?,
            order_id: OrderId(uuid(&self.order_id)?),
            version: self.version,
            event: document(&self.event)?,
            amount: self.amount,
            currency: self.currency,
            evidence: self.evidence,
            state: word(&self.state)?,
            said_by_id: uuid(&self.said_by_id)?,
            said_by: self.said_by,
            said_at: instant(self.said_at),
            decided_by: self.decided_by,
            decided_at: self.decided_at.map(instant),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;
    use crate::lifecycle::{Actor, PaymentStatus};
    use crate::state::Order;
    use crate::web::harness::House;

    /// Handed over to be made, and the gateway will not take what it holds.
    async fn unpaid(house: &House) -> Order {
        let id = house.awaiting().await;
        house.hear(id, Actor::Shop, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }).await;
        house.hear(id, Actor::Shop, Event::PreparationStarted).await;
        house.hear(id, Actor::Worker, Event::CaptureRefused { refusal: "expired".into() }).await
    }

    fn said(order: &Order, event: Event, amount: i64, by: Uuid) -> Settlement {
        Settlement {
            id: Uuid::now_v7(),
            order_id: order.id,
            version: order.version,
            event,
            amount,
            currency: "EUR".into(),
            evidence: "statement of today, line 3".into(),
            state: SettlementState::Waiting,
            said_by_id: by,
            said_by: "ada".into(),
            said_at: now(),
            decided_by: None,
            decided_at: None,
        }
    }

    fn by(user_id: Uuid) -> By {
        By {
            at: now(),
            user_id: Some(user_id),
            name: "eve".into(),
            reason: None,
            request_id: String::new(),
            detail: Default::default(),
        }
    }

    async fn payment(house: &House, order: &Order) -> PaymentStatus {
        house.app.store.order(order.id).await.unwrap().unwrap().0.payment.status
    }

    #[actix_web::test]
    async fn a_small_sum_is_settled_by_one_and_a_large_one_by_two() {
        let (house, ada, eve) = (House::open().await, Uuid::now_v7(), Uuid::now_v7());
        let store = &house.app.store;
        let order = unpaid(&house).await;
        let small = said(&order, Event::PaymentVoided, 500, ada);
        assert!(matches!(store.say_settlement(small, 500, by(ada)).await.unwrap(), Settled::Done(_)));
        assert_eq!(payment(&house, &order).await, PaymentStatus::Voided);

        let order = unpaid(&house).await;
        let taken = Event::PaymentCaptured { amount: order.amount_due() };
        let large = said(&order, taken, 501, ada);
        assert!(matches!(store.say_settlement(large.clone(), 500, by(ada)).await.unwrap(), Settled::Waiting));
        let other = said(&order, Event::PaymentVoided, 1, eve);
        assert!(matches!(store.say_settlement(other, 500, by(eve)).await.unwrap(), Settled::WaitsAlready));
        let decide = |agrees, user| store.decide_settlement(large.id, agrees, by(user));
        assert!(matches!(decide(true, ada).await.unwrap(), Settled::SamePerson));
        assert_eq!(payment(&house, &order).await, PaymentStatus::CaptureFailed);
        assert!(matches!(decide(true, eve).await.unwrap(), Settled::Done(_)));
        assert_eq!(payment(&house, &order).await, PaymentStatus::Captured);
        assert!(matches!(decide(true, eve).await.unwrap(), Settled::Unknown), "once");
        let known = store.settlements(10).await.unwrap();
        assert!(known.iter().all(|said| said.state == SettlementState::Done) && known.len() == 2);
    }

    #[actix_web::test]
    async fn what_was_said_of_an_order_that_went_on_has_no_effect() {
        let (house, ada, eve) = (House::open().await, Uuid::now_v7(), Uuid::now_v7());
        let store = &house.app.store;
        let order = unpaid(&house).await;
        let voided = said(&order, Event::PaymentVoided, 501, ada);
        assert!(matches!(store.say_settlement(voided.clone(), 500, by(ada)).await.unwrap(), Settled::Waiting));
        house.hear(order.id, Actor::Shop, Event::Made).await;
        let agreed = store.decide_settlement(voided.id, true, by(eve)).await.unwrap();
        assert!(matches!(agreed, Settled::Refused(received) if matches!(*received, Received::Stale(_))));
        assert_eq!(payment(&house, &order).await, PaymentStatus::CaptureFailed);
        let withdrawn = store.decide_settlement(voided.id, false, by(ada)).await.unwrap();
        assert!(matches!(withdrawn, Settled::Withdrawn));
        assert_eq!(store.settlements(10).await.unwrap()[0].state, SettlementState::Withdrawn);
    }

    #[actix_web::test]
    async fn what_the_machine_refuses_is_refused_before_anybody_has_to_agree() {
        let (house, ada) = (House::open().await, Uuid::now_v7());
        let order = unpaid(&house).await;
        let given_back = said(&order, Event::PaymentRefunded { amount: 1 }, 501, ada);
        let refused = house.app.store.say_settlement(given_back, 500, by(ada)).await.unwrap();
        assert!(matches!(refused, Settled::Refused(_)), "nothing was taken yet: {refused:?}");
        assert_eq!(house.app.store.settlements(10).await.unwrap(), []);
    }

    #[actix_web::test]
    async fn money_astray_is_found() {
        let house = House::open().await;
        let unpaid = unpaid(&house).await;
        let owed = house.awaiting().await;
        house.hear(owed, Actor::Partner, Event::CustomerCancelled).await;
        let silent = house.place(house.request(crate::catalogue::demo::LUNGO_CENTRAL)).await;
        house.hear(silent, Actor::Worker, Event::PaymentUnanswered).await;
        let astray = house.app.store.astray(10, now()).await.unwrap();
        let ids = |few: &super::super::Few| few.orders.iter().map(|order| order.id).collect::<Vec<_>>();
        assert_eq!(ids(&astray.capture_failed), [unpaid.id]);
        assert_eq!(ids(&astray.owed), [owed]);
        assert_eq!(ids(&astray.unknown), [silent]);
        assert_eq!((astray.debts.len(), astray.debts[0].age, astray.debts[0].orders), (1, 0, 1));
    }
}

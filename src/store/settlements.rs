//! What operators say has become of a payment, on evidence from outside; above a limit only once two of them agree.

use chrono::Duration;
use diesel::prelude::*;
use uuid::Uuid;

use super::orders::{Received, Scope, Word, hear};
use super::rows::{document, instant, millis, or_log, raw, to_document, uuid, word};
use super::schema::settlements;
use super::sql::{Json, Millis, RawId};
use super::tx::{Tx, Urgency};
use super::{Policy, Result, Store};
use crate::lifecycle::{Actor, Event};
use crate::machine;
use crate::meters::{METERS, WordResult};
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
    Done,
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
    /// Settles at once what is worth no more than `limit`; keeps the rest until somebody else agrees.
    pub async fn say_settlement(&self, said: Settlement, limit: i64) -> Result<Settled> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let settled = self
            .lane
            .write(Urgency::Control, move |tx| {
                let settled = say(tx, &said, limit, cluster, &policy)?;
                if !matches!(settled, Settled::Done | Settled::Waiting) {
                    tx.refuse();
                }
                Ok(settled)
            })
            .await?;
        count(&settled);
        Ok(settled)
    }

    /// Agrees to what somebody else has said, or withdraws it.
    pub async fn decide_settlement(
        &self,
        id: Uuid,
        agrees: bool,
        by_id: Uuid,
        by: String,
        now: Instant,
    ) -> Result<Settled> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let settled = self
            .lane
            .write(Urgency::Control, move |tx| {
                let settled = decide(tx, id, agrees.then_some(by_id), &by, now, cluster, &policy)?;
                if !matches!(settled, Settled::Done) {
                    tx.refuse();
                }
                Ok(settled)
            })
            .await?;
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
    let result = match settled {
        Settled::Done => WordResult::Changed,
        Settled::Refused(received) => WordResult::from(&**received),
        _ => return,
    };
    METERS.received.of((Actor::Operator, result)).increment(1);
}

fn say(tx: &mut Tx, said: &Settlement, limit: i64, cluster: u64, policy: &Policy) -> Result<Settled> {
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
    if diesel::select(diesel::dsl::exists(waiting)).get_result(tx.conn()?)? {
        return Ok(Settled::WaitsAlready);
    }
    let alone = said.amount <= limit;
    let received = if alone { settle(tx, said, said.said_at, cluster, policy)? } else { try_out(tx, said, policy)? };
    if let Some(refused) = received.filter(|received| !matches!(received, Received::Changed(..))) {
        return Ok(Settled::Refused(Box::new(refused)));
    }
    let mut row = SettlementRow::of(said);
    if alone {
        row.state = SettlementState::Done.to_string();
        (row.decided_by, row.decided_at) = (Some(said.said_by.clone()), Some(millis(said.said_at)));
    }
    diesel::insert_into(settlements::table).values(row).execute(tx.conn()?)?;
    Ok(if alone { Settled::Done } else { Settled::Waiting })
}

/// `agrees` is whoever agrees; nobody, if it is withdrawn.
fn decide(
    tx: &mut Tx,
    id: Uuid,
    agrees: Option<Uuid>,
    by: &str,
    now: Instant,
    cluster: u64,
    policy: &Policy,
) -> Result<Settled> {
    let waiting = settlements::table.find(raw(id)).filter(settlements::state.eq(SettlementState::Waiting.to_string()));
    let Some(row) = waiting.first::<SettlementRow>(tx.conn()?).optional()? else { return Ok(Settled::Unknown) };
    let said = row.into_settlement()?;
    let state = match agrees {
        None => SettlementState::Withdrawn,
        Some(user) if user == said.said_by_id => return Ok(Settled::SamePerson),
        Some(_) => match settle(tx, &said, now, cluster, policy)? {
            Some(Received::Changed(..)) => SettlementState::Done,
            Some(refused) => return Ok(Settled::Refused(Box::new(refused))),
            None => return Ok(Settled::Unknown),
        },
    };
    let decided = (
        settlements::state.eq(state.to_string()),
        settlements::decided_by.eq(Some(by.to_owned())),
        settlements::decided_at.eq(Some(millis(now))),
    );
    diesel::update(settlements::table.find(raw(id))).set(decided).execute(tx.conn()?)?;
    Ok(Settled::Done)
}

fn settle(tx: &mut Tx, said: &Settlement, now: Instant, cluster: u64, policy: &Policy) -> Result<Option<Received>> {
    let (scope, actor, version) = (Scope::Everyone, Actor::Operator, Some(said.version));
    let word = Word { order_id: said.order_id, scope, actor, event: said.event.clone(), version, now };
    hear(tx, &word, cluster, policy).map(Some)
}

/// What would refuse it; `None` if nothing would.
fn try_out(tx: &mut Tx, said: &Settlement, policy: &Policy) -> Result<Option<Received>> {
    let Some(order) = tx.find(said.order_id)? else { return Ok(Some(Received::Unknown)) };
    if order.version != said.version {
        return Ok(Some(Received::Stale(Box::new(order))));
    }
    let tried = machine::step(&order, &said.event, Actor::Operator, said.said_at, &policy.deadlines);
    Ok(tried.err().map(|refused| Received::Refused(Box::new(order), refused)))
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
    use crate::lifecycle::PaymentStatus;
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

    async fn payment(house: &House, order: &Order) -> PaymentStatus {
        house.app.store.order(order.id).await.unwrap().unwrap().0.payment.status
    }

    #[actix_web::test]
    async fn a_small_sum_is_settled_by_one_and_a_large_one_by_two() {
        let (house, ada, eve) = (House::open().await, Uuid::now_v7(), Uuid::now_v7());
        let store = &house.app.store;
        let order = unpaid(&house).await;
        let small = said(&order, Event::PaymentVoided, 500, ada);
        assert!(matches!(store.say_settlement(small, 500).await.unwrap(), Settled::Done));
        assert_eq!(payment(&house, &order).await, PaymentStatus::Voided);

        let order = unpaid(&house).await;
        let taken = Event::PaymentCaptured { amount: order.amount_due() };
        let large = said(&order, taken, 501, ada);
        assert!(matches!(store.say_settlement(large.clone(), 500).await.unwrap(), Settled::Waiting));
        let other = said(&order, Event::PaymentVoided, 1, eve);
        assert!(matches!(store.say_settlement(other, 500).await.unwrap(), Settled::WaitsAlready));
        let decide = |agrees, by| store.decide_settlement(large.id, agrees, by, "eve".into(), now());
        assert!(matches!(decide(true, ada).await.unwrap(), Settled::SamePerson));
        assert_eq!(payment(&house, &order).await, PaymentStatus::CaptureFailed);
        assert!(matches!(decide(true, eve).await.unwrap(), Settled::Done));
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
        assert!(matches!(store.say_settlement(voided.clone(), 500).await.unwrap(), Settled::Waiting));
        house.hear(order.id, Actor::Shop, Event::Made).await;
        let agreed = store.decide_settlement(voided.id, true, eve, "eve".into(), now()).await.unwrap();
        assert!(matches!(agreed, Settled::Refused(received) if matches!(*received, Received::Stale(_))));
        assert_eq!(payment(&house, &order).await, PaymentStatus::CaptureFailed);
        let withdrawn = store.decide_settlement(voided.id, false, ada, "ada".into(), now()).await.unwrap();
        assert!(matches!(withdrawn, Settled::Done));
        assert_eq!(store.settlements(10).await.unwrap()[0].state, SettlementState::Withdrawn);
    }

    #[actix_web::test]
    async fn what_the_machine_refuses_is_refused_before_anybody_has_to_agree() {
        let (house, ada) = (House::open().await, Uuid::now_v7());
        let order = unpaid(&house).await;
        let given_back = said(&order, Event::PaymentRefunded { amount: 1 }, 501, ada);
        let refused = house.app.store.say_settlement(given_back, 500).await.unwrap();
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

//! Every stage fails at every point, twice in a row, on every way an order can end; afterwards the money and the
//! order must agree. The gateway's own ledger is the witness. Time is the tests' own and jumps to what is due.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::Duration;
use futures_util::FutureExt;
use lungo::gateway::{Charge, Gateway, Held, HeldStatus, Page, Trouble};
use lungo::lifecycle::{Actor, Event, PaymentStatus, Reason, Refund, Status};
use lungo::order::{Instant, OrderId};
use lungo::shop::{Answer, Offer, Shops, Unreachable};
use lungo::stages::{self, Ports};
use lungo::state::Order;
use lungo::store::{Again, Claim, Outcome, Store, Strike};
use rstest::rstest;
use strum::VariantArray;

use crate::gateway::{Counterpart, Way};
use crate::support::{Ask, Bench, Customer, PRICE, at};

/// What can go wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
enum Fault {
    /// It was not reached.
    Unavailable,
    /// The request was lost.
    LostRequest,
    /// The answer was lost.
    LostAnswer,
    Panic,
    /// The process died before it could ask …
    CrashBefore,
    /// … or after it had asked: nothing is committed, the lease lapses.
    CrashAfter,
}

/// The n-th call of an operation (from 0) and the one after it go wrong.
#[derive(Clone, Debug)]
struct Plan {
    call: &'static str,
    nth: usize,
    fault: Fault,
}

/// The outside world, around a gateway with a ledger of its own.
struct World {
    gateway: Arc<Counterpart>,
    shop: Answer,
    plan: Option<Plan>,
    /// Fails whenever it is called.
    broken: Option<(&'static str, Fault)>,
    calls: Mutex<BTreeMap<&'static str, usize>>,
    charges: Mutex<Vec<Charge>>,
    has_crashed: AtomicBool,
}

impl World {
    fn new(gateway: Arc<Counterpart>, scenario: &Scenario, plan: Option<Plan>) -> Self {
        Self {
            gateway,
            shop: scenario.shop.clone(),
            plan,
            broken: scenario.broken,
            calls: Mutex::default(),
            charges: Mutex::default(),
            has_crashed: AtomicBool::new(false),
        }
    }

    fn next_fault(&self, call: &'static str) -> Option<Fault> {
        let mut calls = self.calls.lock().unwrap();
        let count = calls.entry(call).or_default();
        *count += 1;
        let planned =
            self.plan.as_ref().filter(|plan| plan.call == call && [plan.nth + 1, plan.nth + 2].contains(count));
        planned.map(|plan| plan.fault).or(self.broken.filter(|(broken, _)| *broken == call).map(|(_, fault)| fault))
    }

    async fn call<T, E>(
        &self,
        name: &'static str,
        unavailable: fn(String) -> E,
        unanswered: fn(String) -> E,
        effect: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let fault = self.next_fault(name);
        match fault {
            None => return effect.await,
            Some(Fault::Unavailable) => return Err(unavailable("a fault of this test".into())),
            Some(Fault::Panic) => panic!("a fault of this test"),
            Some(Fault::LostAnswer | Fault::CrashAfter) => drop(effect.await),
            Some(Fault::LostRequest | Fault::CrashBefore) => {}
        }
        if matches!(fault, Some(Fault::CrashBefore | Fault::CrashAfter)) {
            self.has_crashed.store(true, Ordering::Relaxed);
        }
        Err(unanswered("a fault of this test".into()))
    }

    async fn ask_gateway<T>(
        &self,
        name: &'static str,
        effect: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        self.call(name, Trouble::Unavailable, Trouble::Unanswered, effect).await
    }
}

#[async_trait]
impl Gateway for World {
    async fn authorize(&self, charge: &Charge) -> Result<Held, Trouble> {
        self.charges.lock().unwrap().push(charge.clone());
        self.ask_gateway("authorize", self.gateway.port.authorize(charge)).await
    }
    async fn look_up(&self, charge: &Charge) -> Result<Option<Held>, Trouble> {
        self.ask_gateway("look_up", self.gateway.port.look_up(charge)).await
    }
    async fn capture(&self, charge: &Charge, amount: i64) -> Result<Held, Trouble> {
        self.ask_gateway("capture", self.gateway.port.capture(charge, amount)).await
    }
    async fn void(&self, charge: &Charge) -> Result<Held, Trouble> {
        self.charges.lock().unwrap().push(charge.clone());
        self.ask_gateway("void", self.gateway.port.void(charge)).await
    }
    async fn refund(&self, charge: &Charge, total_refunded: i64) -> Result<Held, Trouble> {
        self.ask_gateway("refund", self.gateway.port.refund(charge, total_refunded)).await
    }
    async fn list(&self, made: &Range<Instant>, after: Option<&str>) -> Result<Page, Trouble> {
        self.gateway.port.list(made, after).await
    }
}

#[async_trait]
impl Shops for World {
    async fn offer(&self, _: &Offer) -> Result<Answer, Unreachable> {
        self.call("offer", Unreachable::new, Unreachable::new, async { Ok(self.shop.clone()) }).await
    }
}

/// What somebody outside does once the order stands so.
#[derive(Clone, Debug)]
struct Word {
    in_status: Status,
    /// Only once the money stands so.
    with: Option<PaymentStatus>,
    says: Says,
}

#[derive(Clone, Debug)]
enum Says {
    Event(Actor, Event),
    /// The customer answers the bank.
    Bank(bool),
}

impl Word {
    fn fits(&self, order: &Order) -> bool {
        order.status == self.in_status && self.with.is_none_or(|status| status == order.payment.status)
    }
}

fn word(in_status: Status, by: Actor, event: Event) -> Word {
    Word { in_status, with: None, says: Says::Event(by, event) }
}

fn once(with: PaymentStatus, word: Word) -> Word {
    Word { with: Some(with), ..word }
}

fn bank(approves: bool) -> Word {
    Word { in_status: Status::ActionRequired, with: None, says: Says::Bank(approves) }
}

fn customer_cancels(in_status: Status) -> Word {
    word(in_status, Actor::Partner, Event::CustomerCancelled)
}

fn shop_cancels(in_status: Status) -> Word {
    word(in_status, Actor::Shop, Event::ShopCancelled { reason: Reason::EquipmentFailure })
}

fn operator_cancels(in_status: Status, refund: Refund) -> Word {
    let event = Event::OperatorCancelled { reason: Reason::OperatorRequest, refund, note: None };
    word(in_status, Actor::Operator, event)
}

fn refunds(amount: i64) -> Word {
    let event = Event::RefundRequested { amount, note: None };
    once(PaymentStatus::Captured, word(Status::Completed, Actor::Operator, event))
}

fn accepts() -> Word {
    word(Status::AwaitingShop, Actor::Shop, Event::ShopAccepted { minutes: Some(5), dropped_lines: vec![] })
}

fn starts() -> Word {
    word(Status::Accepted, Actor::Shop, Event::PreparationStarted)
}

fn finishes() -> Word {
    word(Status::Preparing, Actor::Shop, Event::Made)
}

fn hands_over() -> Word {
    word(Status::Ready, Actor::Shop, Event::Collected)
}

/// When the words come, compared with the work that is going on.
#[derive(Clone, Copy, Debug)]
enum Timing {
    /// Before anybody works on it.
    AtOnce,
    /// After the act, before its result is committed.
    Meanwhile,
    /// Only when there is nothing to do.
    Idle,
}

/// One way an order can end, and what is left of the money if nothing goes wrong.
#[derive(Clone)]
struct Scenario {
    method: &'static str,
    is_later: bool,
    tracks_steps: bool,
    shop: Answer,
    broken: Option<(&'static str, Fault)>,
    words: Vec<Word>,
    end: Status,
    net: i64,
}

const TOTAL: i64 = 2 * PRICE;

fn scenario(words: Vec<Word>, end: Status, net: i64) -> Scenario {
    Scenario {
        method: "pm_card_visa",
        is_later: false,
        tracks_steps: true,
        shop: Answer::Received,
        broken: None,
        words,
        end,
        net,
    }
}

fn accepted_at_once(dropped_lines: Vec<usize>) -> Answer {
    Answer::Accepted { minutes: Some(5), dropped_lines }
}

#[rstest]
#[case::sold(scenario(vec![accepts(), starts(), finishes(), hands_over()], Status::Completed, TOTAL))]
#[case::sold_without_the_first_steps(scenario(vec![accepts(), word(Status::Accepted, Actor::Shop, Event::Made), hands_over()], Status::Completed, TOTAL))]
#[case::sold_less_a_line(Scenario { shop: accepted_at_once(vec![1]), ..scenario(vec![starts(), finishes(), hands_over()], Status::Completed, PRICE) })]
#[case::sold_by_a_shop_without_steps(Scenario { tracks_steps: false, shop: accepted_at_once(vec![]), ..scenario(vec![], Status::Completed, TOTAL) })]
#[case::sold_for_later(Scenario { is_later: true, shop: accepted_at_once(vec![]), ..scenario(vec![starts(), finishes(), hands_over()], Status::Completed, TOTAL) })]
#[case::sold_after_the_bank_approved(Scenario { method: "pm_action_required", shop: accepted_at_once(vec![]), ..scenario(vec![bank(true), starts(), finishes(), hands_over()], Status::Completed, TOTAL) })]
#[case::never_closed_by_the_shop(scenario(vec![accepts(), starts()], Status::Completed, TOTAL))]
#[case::not_collected(scenario(vec![accepts(), starts(), finishes()], Status::NotCollected, TOTAL))]
#[case::collected_late(scenario(vec![accepts(), starts(), finishes(), word(Status::NotCollected, Actor::Shop, Event::Collected)], Status::Completed, TOTAL))]
#[case::partly_refunded(scenario(vec![accepts(), starts(), finishes(), hands_over(), refunds(100)], Status::Completed, TOTAL - 100))]
#[case::refunded_in_full(scenario(vec![accepts(), starts(), finishes(), hands_over(), refunds(TOTAL)], Status::Completed, 0))]
#[case::rejected(Scenario { shop: Answer::Rejected { reason: Reason::ShopClosed }, ..scenario(vec![], Status::Rejected, 0) })]
#[case::rejected_later(scenario(vec![word(Status::AwaitingShop, Actor::Shop, Event::ShopRejected { reason: Reason::ShopTooBusy })], Status::Rejected, 0))]
#[case::never_answered_by_the_shop(scenario(vec![], Status::Rejected, 0))]
#[case::shop_unreachable(Scenario { broken: Some(("offer", Fault::Unavailable)), ..scenario(vec![], Status::Rejected, 0) })]
#[case::declined(Scenario { method: "pm_declined", ..scenario(vec![], Status::Failed, 0) })]
#[case::declined_by_the_bank(Scenario { method: "pm_action_required", ..scenario(vec![bank(false)], Status::Failed, 0) })]
#[case::never_answered_to_the_bank(Scenario { method: "pm_action_required", ..scenario(vec![], Status::Failed, 0) })]
#[case::gateway_down(Scenario { broken: Some(("authorize", Fault::Unavailable)), ..scenario(vec![], Status::Failed, 0) })]
#[case::gateway_silent(Scenario { broken: Some(("authorize", Fault::LostRequest)), ..scenario(vec![], Status::Failed, 0) })]
#[case::cancelled_when_new(scenario(vec![customer_cancels(Status::New)], Status::Cancelled, 0))]
#[case::cancelled_at_the_bank(Scenario { method: "pm_action_required", ..scenario(vec![customer_cancels(Status::ActionRequired)], Status::Cancelled, 0) })]
#[case::cancelled_after_the_bank_approved(Scenario { method: "pm_action_required", ..scenario(vec![bank(true), customer_cancels(Status::ActionRequired)], Status::Cancelled, 0) })]
#[case::cancelled_when_scheduled(Scenario { is_later: true, ..scenario(vec![customer_cancels(Status::Scheduled)], Status::Cancelled, 0) })]
#[case::cancelled_when_awaiting_the_shop(scenario(vec![customer_cancels(Status::AwaitingShop)], Status::Cancelled, 0))]
#[case::cancelled_when_accepted(scenario(vec![accepts(), customer_cancels(Status::Accepted)], Status::Cancelled, 0))]
#[case::abandoned(scenario(vec![accepts()], Status::Cancelled, 0))]
#[case::cancelled_by_the_shop_before_capture(scenario(vec![accepts(), starts(), shop_cancels(Status::Preparing)], Status::Cancelled, 0))]
#[case::cancelled_by_the_shop_after_capture(scenario(vec![accepts(), starts(), once(PaymentStatus::Captured, shop_cancels(Status::Preparing))], Status::Cancelled, 0))]
#[case::cancelled_by_the_shop_when_ready(scenario(vec![accepts(), starts(), finishes(), shop_cancels(Status::Ready)], Status::Cancelled, 0))]
#[case::cancelled_by_an_operator_before_capture(scenario(vec![accepts(), starts(), operator_cancels(Status::Preparing, Refund::None)], Status::Cancelled, 0))]
#[case::cancelled_by_an_operator_with_all_of_it(scenario(vec![accepts(), starts(), once(PaymentStatus::Captured, operator_cancels(Status::Preparing, Refund::Full))], Status::Cancelled, 0))]
#[case::cancelled_by_an_operator_with_a_part(scenario(vec![accepts(), starts(), once(PaymentStatus::Captured, operator_cancels(Status::Preparing, Refund::Partial(200)))], Status::Cancelled, TOTAL - 200))]
#[case::cancelled_by_an_operator_with_nothing(scenario(vec![accepts(), starts(), once(PaymentStatus::Captured, operator_cancels(Status::Preparing, Refund::None))], Status::Cancelled, TOTAL))]
#[tokio::test]
async fn whatever_fails_the_money_and_the_order_agree_in_the_end(
    #[case] scenario: Scenario,
    #[values(Timing::AtOnce, Timing::Meanwhile, Timing::Idle)] timing: Timing,
    #[values(Way::InProcess, Way::OverHttp)] way: Way,
) {
    if scenario.words.is_empty() && !matches!(timing, Timing::AtOnce) {
        return; // Nobody says anything, so it does not matter when.
    }
    let bench = Bench::new(Store::open);
    let gateway = Arc::new(Counterpart::start(way));
    let mut now = at(0);
    let calm = Run::new(&bench, &gateway, &scenario, timing, None).finish(&mut now).await;
    if matches!(timing, Timing::AtOnce) {
        let order = calm.order().await;
        assert_eq!((order.status, calm.net()), (scenario.end, scenario.net), "with nothing going wrong");
    }
    let calls = calm.world.calls.lock().unwrap().clone();
    assert!(!calls.is_empty() || scenario.words.iter().any(|word| word.in_status == Status::New));
    for (call, count) in calls {
        for nth in 0..count {
            for fault in Fault::VARIANTS {
                let plan = Plan { call, nth, fault: *fault };
                Run::new(&bench, &gateway, &scenario, timing, Some(plan)).finish(&mut now).await;
            }
        }
    }
    bench.assert_log_replays().await;
}

/// One order on its way through one plan.
struct Run<'b> {
    bench: &'b Bench,
    scenario: &'b Scenario,
    timing: Timing,
    world: Arc<World>,
    ports: Ports,
    order_id: OrderId,
    /// Words that were said.
    said: usize,
}

impl<'b> Run<'b> {
    fn new(
        bench: &'b Bench,
        gateway: &Arc<Counterpart>,
        scenario: &'b Scenario,
        timing: Timing,
        plan: Option<Plan>,
    ) -> Self {
        let world = Arc::new(World::new(gateway.clone(), scenario, plan));
        let never = std::time::Duration::from_secs(60);
        let pause = std::time::Duration::ZERO;
        let ports = Ports::new(world.clone(), world.clone(), Box::new(|_| false), never, pause);
        Self { bench, scenario, timing, world, ports, order_id: OrderId::new(), said: 0 }
    }

    async fn order(&self) -> Order {
        self.bench.order(self.order_id).await
    }

    /// Drives the order until nothing is pending any more, and looks at what is left.
    async fn finish(mut self, now: &mut Instant) -> Self {
        let slot = self.scenario.is_later.then(|| *now + Duration::hours(1));
        self.bench
            .create(Ask {
                order_id: self.order_id,
                method: self.scenario.method.into(),
                slot,
                tracks_steps: self.scenario.tracks_steps,
                now: *now,
                ..Customer::new("cus").asks(&["lungo", "roll"])
            })
            .await;
        let mut steps = 0;
        while self.go_on(now).await {
            steps += 1;
            assert!(steps < 300, "it never ends: {self:?}, {:?}", self.order().await);
        }
        self.assert_settled().await;
        self
    }

    /// One thing that is to be done now, or else the jump to when something is. False when nothing is left.
    async fn go_on(&mut self, now: &mut Instant) -> bool {
        *now += Duration::milliseconds(10);
        if matches!(self.timing, Timing::AtOnce) && self.speak(*now).await {
            return true;
        }
        let (attempts, deadline) = self.bench.store.next_due().await.unwrap();
        if let Some((stage, _)) = attempts.iter().find(|(_, at)| *at <= *now) {
            for claim in self.bench.store.claim(*stage, 1, *now).await.unwrap() {
                self.work(claim, *now).await;
            }
            return true;
        }
        if self.speak(*now).await {
            return true;
        }
        let Some(next) = attempts.into_iter().map(|(_, at)| at).chain(deadline).min() else { return false };
        *now = next.max(*now);
        self.bench.store.expire(10, *now, None).await.unwrap();
        true
    }

    async fn work(&mut self, claim: Claim, now: Instant) {
        assert_eq!(claim.order().id, self.order_id, "one order at a time");
        let acted = AssertUnwindSafe(stages::act(&claim, &self.ports)).catch_unwind().await;
        if matches!(self.timing, Timing::Meanwhile) {
            self.speak(now).await;
        }
        if self.world.has_crashed.swap(false, Ordering::Relaxed) {
            return;
        }
        let outcome = acted.unwrap_or_else(|_| Outcome {
            event: None,
            again: Some(Again {
                after: Duration::zero(),
                is_spread: false,
                why: "a panic".into(),
                strike: Strike::Panic,
            }),
        });
        self.bench.store.commit(claim, outcome, now).await.unwrap();
    }

    /// Says the next word if its time has come.
    async fn speak(&mut self, now: Instant) -> bool {
        let order = self.order().await;
        let Some(word) = self.scenario.words.get(self.said).filter(|word| word.fits(&order)) else { return false };
        self.said += 1;
        match &word.says {
            Says::Event(by, event) => drop(self.bench.hear(&order, *by, event.clone(), now).await),
            Says::Bank(approves) => {
                let key = self.world.gateway.entry(order.id).expect("it asks").key;
                self.world.gateway.witness.answer_bank(&key, *approves).await.unwrap();
            }
        }
        true
    }

    fn held(&self) -> Option<Held> {
        self.world.gateway.entry(self.order_id).map(|entry| entry.held)
    }

    /// What the gateway has of the customer's money.
    fn net(&self) -> i64 {
        self.held().map_or(0, |held| held.captured - held.refunded)
    }

    /// What should be left of the money, by what was decided about this order.
    async fn decided(&self, order: &Order) -> i64 {
        let events = self.bench.store.events_of(order.id).await.unwrap();
        if !order.status.is_undone() {
            let refunds = events.iter().map(|recorded| match recorded.event().unwrap() {
                Event::RefundRequested { amount, .. } => amount,
                _ => 0,
            });
            return order.amount_due() - refunds.sum::<i64>();
        }
        let by_an_operator = events.windows(2).find_map(|pair| match pair[1].event().unwrap() {
            // Its capture may have been under way: what the operator chose counts if it was taken.
            Event::OperatorCancelled { refund, .. } if matches!(pair[0].to, Status::Preparing | Status::Ready) => {
                Some(refund)
            }
            _ => None,
        });
        match by_an_operator {
            Some(Refund::None) => order.payment.captured,
            Some(Refund::Partial(amount)) => (order.payment.captured - amount).max(0),
            Some(Refund::Full) | None => 0,
        }
    }

    async fn assert_settled(&self) {
        let order = self.order().await;
        let said = || format!("{self:?}, {order:?}");
        assert!(order.status.is_over(), "{}", said());
        assert_eq!((order.owed(), order.task.parked_at), (0, None), "{}", said());
        let key = order.authorization_key();
        let charges = self.world.charges.lock().unwrap().clone();
        let keys: HashSet<_> = charges.iter().map(|charge| charge.key.as_str()).collect();
        assert!(keys.iter().all(|used| *used == key), "one order, one key: {}", said());
        let held = self.held();
        let net = self.decided(&order).await;
        self.assert_holds(&order, held.as_ref(), net, &said());
        // A request that was long under way arrives only now: it must find nothing to hold.
        for charge in &charges {
            let _ = self.world.gateway.port.authorize(charge).await;
        }
        if !charges.is_empty() {
            self.assert_holds(&order, self.held().as_ref(), net, &format!("a late request, {}", said()));
        }
    }

    fn assert_holds(&self, order: &Order, held: Option<&Held>, net: i64, said: &str) {
        let Some(held) = held else {
            assert_eq!((net, order.payment.captured), (0, 0), "{said}");
            return;
        };
        assert_eq!(held.captured - held.refunded, net, "{held:?}, {said}");
        assert_eq!(
            (held.captured, held.refunded),
            (order.payment.captured, order.payment.refunded),
            "{held:?}, {said}"
        );
        let is_live = matches!(held.status, HeldStatus::Authorized | HeldStatus::ActionRequired);
        assert!(!is_live, "something is still held: {held:?}, {said}");
    }
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scenario, timing, world, .. } = self;
        write!(f, "{:?} fails, words {timing:?}, ", world.plan)?;
        write!(f, "{} {:?} {:?} until {}", scenario.method, scenario.shop, scenario.words, scenario.end)
    }
}

//! Money in = money due + refunds + debts, at every step and for every order of events: the stages and the machine against
//! a small model of a gateway at which people act by hand, refunds fail, holds go away and answers are lost.
//!
//! The model keeps its own account of what was decided (`Decided`), so that the machine is not measured by itself.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration as Span;

use async_trait::async_trait;
use chrono::Duration;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::Ports;
use crate::fixtures::{TOTAL, at, order_of, placed};
use crate::gateway::{Charge, Gateway, Held, HeldStatus, Page, Trouble};
use crate::lifecycle::{Actor, Event, PaymentStatus, Reason, Refund, Stage, Status};
use crate::machine::{self, Deadlines};
use crate::order::{Instant, PaymentAction, Pickup};
use crate::shop::{Answer, Offer, Shops, Unreachable};
use crate::state::Order;
use crate::store::{Outcome, Policy};
use crate::work::worked;

/// How the gateway takes the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Healthy,
    /// It is not reached.
    Down,
    /// It does what it is asked, and the answer is lost.
    Mute,
    /// The request is on its way for long: it is done by a later [`Move::Arrives`].
    Slow,
    Busy,
    /// The next new refund fails at once.
    SendsBack,
}

/// One refund at the gateway.
#[derive(Clone, Debug)]
struct Given {
    amount: i64,
    is_ours: bool,
    failed: bool,
}

#[derive(Clone, Debug)]
enum Late {
    Authorize(Charge),
    Capture(i64),
    Void,
    /// The refund of that number, of that amount.
    Refund(usize, i64),
}

/// What the gateway really holds for the one charge there is.
#[derive(Debug)]
struct Books {
    /// Whether it has to know a payment, and the order its reference, before it is asked for money.
    prepares: bool,
    asks_bank: bool,
    hold_lasts: Option<Instant>,
    status: Option<HeldStatus>,
    captured: i64,
    refunds: Vec<Given>,
    late: Vec<Late>,
    mood: Mood,
    sends_back: bool,
    order: Order,
}

impl Books {
    fn refunded(&self) -> i64 {
        self.refunds.iter().filter(|given| !given.failed).map(|given| given.amount).sum()
    }

    fn held(&self) -> Option<Held> {
        let status = self.status?;
        Some(Held {
            order_id: self.order.id,
            total: self.order.placed.total,
            reference: "ref_1".into(),
            status,
            captured: self.captured,
            refunded: self.refunded(),
            capture_before: self.hold_lasts.filter(|_| status == HeldStatus::Authorized),
            action: (status == HeldStatus::ActionRequired)
                .then(|| PaymentAction::redirect("https://bank.example".into())),
            refusal: None,
        })
    }

    fn authorize(&mut self, charge: &Charge) {
        self.status = Some(match self.status {
            None if self.prepares && charge.reference.is_none() => HeldStatus::Prepared,
            None | Some(HeldStatus::Prepared) if charge.reference.is_some() || !self.prepares => match self.asks_bank {
                true => HeldStatus::ActionRequired,
                false => HeldStatus::Authorized,
            },
            Some(known) => known,
            None => return,
        });
    }

    fn capture(&mut self, amount: i64) -> Result<(), Trouble> {
        match self.status {
            Some(HeldStatus::Authorized) if (1..=TOTAL).contains(&amount) => {
                (self.status, self.captured) = (Some(HeldStatus::Captured), amount);
                Ok(())
            }
            Some(HeldStatus::Captured) if self.captured == amount => Ok(()),
            _ => Err(Trouble::Refused("not in this state".into())),
        }
    }

    fn void(&mut self) -> Result<(), Trouble> {
        match self.status {
            Some(HeldStatus::Captured) => Err(Trouble::Refused("already captured".into())),
            _ => {
                self.status = Some(HeldStatus::Voided);
                Ok(())
            }
        }
    }

    /// The number of the next refund of this service, which is its key.
    fn next_refund(&self) -> usize {
        self.refunds.iter().filter(|given| given.is_ours).count()
    }

    /// As a gateway with idempotency keys: of all requests with one number the first one counts.
    fn refund(&mut self, number: usize, amount: i64) {
        let is_possible = self.status == Some(HeldStatus::Captured) && amount <= self.captured - self.refunded();
        if number == self.next_refund() && amount > 0 && is_possible {
            self.refunds.push(Given { amount, is_ours: true, failed: self.sends_back });
            self.sends_back = false;
        }
    }
}

#[derive(Clone)]
struct Model(Arc<Mutex<Books>>);

impl Model {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    fn call<T>(&self, late: Option<Late>, effect: impl FnOnce(&mut Books) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut books = self.books();
        match books.mood {
            Mood::Down => Err(Trouble::Unavailable("down".into())),
            Mood::Busy => Err(Trouble::Later { after: Span::from_secs(1), why: "429".into() }),
            Mood::Mute => {
                let _ = effect(&mut books);
                Err(Trouble::Unanswered("silence".into()))
            }
            Mood::Slow => {
                books.late.extend(late);
                Err(Trouble::Unanswered("silence".into()))
            }
            Mood::SendsBack => {
                books.sends_back = true;
                effect(&mut books)
            }
            Mood::Healthy => effect(&mut books),
        }
    }
}

#[async_trait]
impl Gateway for Model {
    async fn authorize(&self, charge: &Charge) -> Result<Held, Trouble> {
        self.call(Some(Late::Authorize(charge.clone())), |books| {
            books.authorize(charge);
            books.held().ok_or(Trouble::Unanswered("nothing".into()))
        })
    }
    async fn look_up(&self, _: &Charge) -> Result<Option<Held>, Trouble> {
        self.call(None, |books| Ok(books.held()))
    }
    async fn capture(&self, _: &Charge, amount: i64) -> Result<Held, Trouble> {
        self.call(Some(Late::Capture(amount)), |books| {
            books.capture(amount)?;
            Ok(books.held().expect("it was captured"))
        })
    }
    async fn void(&self, _: &Charge) -> Result<Held, Trouble> {
        self.call(Some(Late::Void), |books| {
            books.void()?;
            Ok(books.held().expect("it was voided"))
        })
    }
    async fn refund(&self, _: &Charge, total: i64) -> Result<Held, Trouble> {
        let (number, amount) = {
            let books = self.books();
            if books.status != Some(HeldStatus::Captured) || total > books.captured {
                return Err(Trouble::Refused("not so much was captured".into()));
            }
            (books.next_refund(), total - books.refunded())
        };
        self.call(Some(Late::Refund(number, amount)), |books| {
            books.refund(number, amount);
            Ok(books.held().expect("it was captured"))
        })
    }
    async fn list(&self, _: &Range<Instant>, _: Option<&str>) -> Result<Page, Trouble> {
        Ok(Page::default())
    }
}

struct NoShops;

#[async_trait]
impl Shops for NoShops {
    async fn offer(&self, _: &Offer) -> Result<Answer, Unreachable> {
        Ok(Answer::Received)
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Move {
    /// A worker does what is pending.
    Works(Mood),
    /// A worker does what is pending, and its process is killed before it commits.
    Dies(Mood),
    /// A worker begins; what comes of it is committed by a later `Ends`, unless the order was decided meanwhile.
    Begins(Mood),
    Ends,
    /// A request that was under way arrives.
    Arrives,
    /// A callback of the gateway's is followed.
    Hint,
    Deadline,
    /// The shop, the customer or an operator says so.
    Says(Actor, Event),
    BankAnswers(bool),
    CapturedByHand(i64),
    VoidedByHand,
    RefundedByHand(i64),
    RefundFails(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    use Actor::{Operator, Partner, Shop};
    let mood = || {
        prop_oneof![
            5 => Just(Mood::Healthy),
            1 => Just(Mood::Down),
            1 => Just(Mood::Mute),
            1 => Just(Mood::Slow),
            1 => Just(Mood::Busy),
            1 => Just(Mood::SendsBack),
        ]
    };
    let amount = || prop_oneof![Just(TOTAL), Just(100_i64), 1..TOTAL];
    let refund = prop_oneof![Just(Refund::Full), Just(Refund::None), amount().prop_map(Refund::Partial)];
    let cancel =
        refund.prop_map(|refund| Event::OperatorCancelled { reason: Reason::OperatorRequest, refund, note: None });
    let accept = prop_oneof![Just(vec![]), Just(vec![1])]
        .prop_map(|dropped_lines| Event::ShopAccepted { minutes: None, dropped_lines });
    let shop = prop_oneof![
        4 => accept,
        4 => Just(Event::PreparationStarted),
        2 => Just(Event::Made),
        2 => Just(Event::Collected),
        1 => Just(Event::ShopRejected { reason: Reason::ShopTooBusy }),
        1 => Just(Event::ShopCancelled { reason: Reason::EquipmentFailure }),
    ];
    let operator = prop_oneof![
        2 => cancel,
        3 => amount().prop_map(|amount| Event::RefundRequested { amount, note: None }),
        1 => amount().prop_map(|amount| Event::RefundReduced { amount, note: None }),
        1 => Just(Event::Retried { note: None }),
        1 => Just(Event::ForceCompleted { note: None }),
    ];
    let a_move = prop_oneof![
        12 => mood().prop_map(Move::Works),
        1 => mood().prop_map(Move::Dies),
        2 => mood().prop_map(Move::Begins),
        2 => Just(Move::Ends),
        1 => Just(Move::Arrives),
        4 => Just(Move::Hint),
        1 => Just(Move::Deadline),
        8 => shop.prop_map(|event| Move::Says(Shop, event)),
        1 => Just(Move::Says(Partner, Event::CustomerCancelled)),
        4 => operator.prop_map(|event| Move::Says(Operator, event)),
        1 => any::<bool>().prop_map(Move::BankAnswers),
        2 => amount().prop_map(Move::CapturedByHand),
        1 => Just(Move::VoidedByHand),
        2 => amount().prop_map(Move::RefundedByHand),
        2 => (0..4_usize).prop_map(Move::RefundFails),
    ];
    proptest::collection::vec(a_move, 1..60)
}

/// What was decided about the order's money, by an account of its own.
#[derive(Debug)]
struct Decided {
    /// What the customer has to pay for what is made.
    price: i64,
    /// The order ended without a sale, and all goes back.
    all_back: bool,
    /// What operators gave back of a sale.
    granted: i64,
    /// What operators gave up giving back.
    given_up: i64,
    /// What people refunded at the gateway, whether or not it arrived.
    by_hand: i64,
}

struct World {
    order: Order,
    gateway: Model,
    decided: Decided,
    begun: Option<(Order, Outcome)>,
    now: Instant,
    policy: Policy,
    runtime: Runtime,
    log: Vec<String>,
}

impl World {
    fn new(is_later: bool, prepares: bool, asks_bank: bool, hold: Option<i64>) -> Self {
        let offer_at = is_later.then(|| at(3600));
        let pickup = Pickup { at: is_later.then(|| at(4800)), ..Pickup::default() };
        let order = order_of(placed(), pickup, offer_at);
        let books = Books {
            prepares,
            asks_bank,
            hold_lasts: hold.map(at),
            status: None,
            captured: 0,
            refunds: Vec::new(),
            late: Vec::new(),
            mood: Mood::Healthy,
            sends_back: false,
            order: order.clone(),
        };
        Self {
            order,
            gateway: Model(Arc::new(Mutex::new(books))),
            decided: Decided { price: TOTAL, all_back: false, granted: 0, given_up: 0, by_hand: 0 },
            begun: None,
            now: at(0),
            policy: Policy::default(),
            runtime: Builder::new_current_thread().enable_time().build().unwrap(),
            log: Vec::new(),
        }
    }

    /// A world in which the sale was made and paid for: what is decided afterwards are refunds.
    fn sold(mut self) -> Self {
        use Mood::Healthy;
        let bank = [Move::Works(Healthy), Move::Works(Healthy), Move::BankAnswers(true), Move::Hint];
        let says = |event| Move::Says(Actor::Shop, event);
        let shop = [
            Move::Works(Healthy),
            says(Event::ShopAccepted { minutes: None, dropped_lines: vec![] }),
            says(Event::PreparationStarted),
            Move::Works(Healthy),
        ];
        for a_move in bank.iter().chain(&shop) {
            self.take(a_move);
        }
        assert_eq!(self.order.payment.captured, TOTAL, "{self}");
        self
    }

    fn deadlines(&self) -> &Deadlines {
        &self.policy.deadlines
    }

    /// What a worker would do now; the claim is written, as it is by the queue.
    fn act(&mut self, mood: Mood) -> Option<(Order, Outcome)> {
        let stage = self.order.task.stage.filter(|_| self.order.task.parked_at.is_none())?;
        let task = &mut self.order.task;
        (task.fence, task.attempts) = (task.fence + 1, task.attempts + 1);
        task.leased_until = Some(self.now + Duration::seconds(30));
        task.next_attempt_at = task.leased_until;
        self.gateway.books().mood = mood;
        let patience = Span::from_secs(5);
        let ports =
            Ports::new(Arc::new(self.gateway.clone()), Arc::new(NoShops), Box::new(|_| false), patience, patience);
        let claimed = self.order.clone();
        let outcome = self.runtime.block_on(super::act_on(&claimed, stage, &ports));
        self.gateway.books().mood = Mood::Healthy;
        Some((claimed, outcome))
    }

    fn commit(&mut self, (claimed, outcome): (Order, Outcome)) {
        if self.order.task.fence != claimed.task.fence {
            return;
        }
        let before = self.order.clone();
        let Policy { lease, deadlines, .. } = &self.policy;
        let after = worked(&before, &outcome, 0, self.now, *lease, deadlines, |_, _, _| ()).expect("a sound row");
        self.log.push(format!("{:?} by a worker", outcome.event));
        if let Some(event) = &outcome.event {
            self.decide(&before, &after, event);
        }
        self.order = after;
        self.check(&before, outcome.event.as_ref());
    }

    /// A word from outside, as the store hears it.
    fn hear(&mut self, event: Event, by: Actor) -> bool {
        let before = self.order.clone();
        let event = machine::as_found(&before, event);
        let stepped = machine::step(&before, &event, by, self.now, self.deadlines());
        assert!(by != Actor::Gateway || stepped.is_ok(), "an honest gateway is contradicted: {stepped:?}\n{self}");
        let Ok(after) = stepped else { return false };
        self.log.push(format!("{event:?} by {by}"));
        self.decide(&before, &after, &event);
        self.order = after;
        self.check(&before, Some(&event));
        true
    }

    fn decide(&mut self, before: &Order, after: &Order, event: &Event) {
        let decided = &mut self.decided;
        let was_taken = before.payment.captured > 0;
        match event {
            Event::ShopAccepted { dropped_lines, .. } if dropped_lines[..] == [1] => decided.price = TOTAL - 250,
            Event::RefundRequested { amount, .. } => {
                (decided.granted, decided.given_up) = (decided.granted + amount, 0)
            }
            Event::RefundReduced { amount, .. } => decided.given_up += amount,
            _ => {}
        }
        // What was given up is decided anew by a refund: of an undone order all that is not asked for then.
        if let Event::RefundRequested { .. } = event {
            decided.given_up = after.payment.waived;
        }
        if after.status.is_undone() && !before.status.is_undone() {
            let may_choose = was_taken || matches!(before.status, Status::Preparing | Status::Ready);
            match event {
                Event::OperatorCancelled { refund: Refund::None, .. } if may_choose => {}
                Event::OperatorCancelled { refund: Refund::Partial(amount), .. } if may_choose => {
                    decided.granted += amount;
                }
                _ => decided.all_back = true,
            }
        }
    }

    /// What holds at every step.
    fn check(&self, before: &Order, event: Option<&Event>) {
        let (order, decided) = (&self.order, &self.decided);
        assert!(
            !matches!(event, Some(Event::Contradicted { .. })) && order.task.parked_at.is_none(),
            "an honest gateway is contradicted\n{self}"
        );
        let payment = &order.payment;
        let kept = payment.captured - payment.refunded - order.owed();
        if order.is_taken() || payment.status == PaymentStatus::Refunded {
            let due = if decided.all_back { 0 } else { decided.price };
            assert!(kept <= due + decided.given_up, "more is kept than is due, and it is no debt\n{self}");
            let decided_back = decided.granted + decided.by_hand;
            let floor = if decided.all_back { 0 } else { payment.captured.min(decided.price) - decided_back };
            assert!(kept >= floor, "more goes back than was decided\n{self}");
        }
        assert!(order.owed() == 0 || order.task.stage == Some(Stage::Release), "a debt that nothing pays\n{self}");
        // What is wrong is visible until the gateway or an operator resolves it.
        let is_resolved = order.owed() == 0 || matches!(event, Some(Event::Retried { .. }));
        assert!(!before.task.unresolved || order.task.unresolved || is_resolved, "a fault was forgotten\n{self}");
        assert!(!order.task.unresolved || order.task.last_error.is_some(), "a fault without a word\n{self}");
    }

    /// The gateway sends a callback: what it holds is looked up, step by step.
    fn hint(&mut self) {
        for _ in 0..5 {
            let news = self.runtime.block_on(super::news(&self.order, &self.gateway)).expect("it is healthy");
            let Some(event) = news else { break };
            assert!(
                !matches!(event, Event::Contradicted { .. }),
                "an honest gateway is contradicted: {event:?}\n{self}"
            );
            self.hear(event, Actor::Gateway);
        }
        let books = self.gateway.books();
        let (order, payment) = (&self.order, &self.order.payment);
        if books.status == Some(HeldStatus::Captured) {
            let knows = (payment.captured, payment.refunded);
            assert_eq!(knows, (books.captured, books.refunded()), "the order knows what the gateway holds\n{self}");
        }
        let is_gone = matches!(books.status, Some(HeldStatus::Voided | HeldStatus::Declined));
        let is_unmade = matches!(order.status, Status::Scheduled | Status::AwaitingShop | Status::Accepted);
        assert!(!(is_gone && is_unmade), "an order goes on whose money is gone\n{self}");
        let is_made =
            matches!(order.status, Status::Preparing | Status::Ready | Status::Completed | Status::NotCollected);
        let is_shown = payment.status == PaymentStatus::CaptureFailed;
        assert!(!(is_gone && is_made) || is_shown, "a sale whose money is gone looks paid\n{self}");
    }

    fn take(&mut self, a_move: &Move) {
        self.now += Duration::seconds(10);
        match a_move.clone() {
            Move::Works(mood) => {
                if let Some(done) = self.act(mood) {
                    self.commit(done);
                }
            }
            Move::Dies(mood) => drop(self.act(mood)),
            Move::Begins(mood) => self.begun = self.act(mood).or(self.begun.take()),
            Move::Ends => {
                if let Some(done) = self.begun.take() {
                    self.commit(done);
                }
            }
            Move::Arrives => {
                let mut books = self.gateway.books();
                if let Some(late) = books.late.pop() {
                    // What is too late for the gateway is refused there, and no caller waits for the answer.
                    match late {
                        Late::Authorize(charge) => books.authorize(&charge),
                        Late::Capture(amount) => drop(books.capture(amount)),
                        Late::Void => drop(books.void()),
                        Late::Refund(number, amount) => books.refund(number, amount),
                    }
                }
            }
            Move::Hint => self.hint(),
            Move::Deadline => {
                self.now = self.now.max(self.order.deadline_at.unwrap_or(self.now));
                if let Some(event) = machine::deadline_event(&self.order, self.now, self.deadlines()) {
                    assert!(self.hear(event, Actor::Timer), "the timer always decides\n{self}");
                }
            }
            Move::Says(by, event) => drop(self.hear(event, by)),
            Move::BankAnswers(yes) => {
                let mut books = self.gateway.books();
                if books.status == Some(HeldStatus::ActionRequired) {
                    books.status = Some(if yes { HeldStatus::Authorized } else { HeldStatus::Declined });
                }
            }
            Move::CapturedByHand(amount) => drop(self.gateway.books().capture(amount)),
            // A person finds only what the gateway lists: a key that was never used is not there.
            Move::VoidedByHand => {
                let mut books = self.gateway.books();
                if books.status.is_some() {
                    let _ = books.void();
                }
            }
            Move::RefundedByHand(amount) => {
                let mut books = self.gateway.books();
                if books.captured - books.refunded() >= amount {
                    books.refunds.push(Given { amount, is_ours: false, failed: false });
                    drop(books);
                    self.decided.by_hand += amount;
                }
            }
            Move::RefundFails(n) => {
                if let Some(given) = self.gateway.books().refunds.get_mut(n) {
                    given.failed = true;
                }
            }
        }
    }

    /// From now on the gateway is healthy, and the workers and the timer do all that is pending.
    fn settle(&mut self) {
        self.begun = None;
        while !self.gateway.books().late.is_empty() {
            self.take(&Move::Arrives);
        }
        for round in 0.. {
            self.hint();
            if let Some(done) = self.act(Mood::Healthy) {
                self.commit(done);
            } else if self.order.is_ongoing() {
                self.take(&Move::Deadline);
            } else {
                break;
            }
            // Neither the bank's customer nor a look-up is waited for any longer than the deadline.
            if matches!(self.order.status, Status::New | Status::ActionRequired) && round > 10 {
                self.take(&Move::Deadline);
            }
            assert!(round < 60, "it never settles\n{self}");
        }
        let (books, order, decided) = (self.gateway.books(), &self.order, &self.decided);
        let stays = books.captured - books.refunded();
        assert_eq!(order.owed(), 0, "a debt that is never paid\n{self}");
        assert!(!order.task.unresolved, "a fault that is never resolved\n{self}");
        assert_ne!(books.status, Some(HeldStatus::ActionRequired), "the customer can still be charged\n{self}");
        let is_held = books.status == Some(HeldStatus::Authorized);
        assert!(!is_held || order.payment.status == PaymentStatus::CaptureFailed, "money is held for ever\n{self}");
        let due = if decided.all_back { 0 } else { decided.price };
        assert!(stays <= due + decided.given_up, "the customer paid too much\n{self}");
        let floor = if decided.all_back { 0 } else { books.captured.min(due) - decided.granted - decided.by_hand };
        assert!(stays >= floor, "the customer paid too little\n{self}");
    }
}

impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Order { status, payment, task, .. } = &self.order;
        let log = self.log.join("\n  ");
        write!(f, "{status} {payment:#?} {task:#?} owed {}\n{:?}\n  {log}", self.order.owed(), self.decided)?;
        match self.gateway.0.try_lock() {
            Ok(books) => {
                write!(f, "\ngateway: {:?} captured {} refunds {:?}", books.status, books.captured, books.refunds)
            }
            Err(_) => Ok(()),
        }
    }
}

fn any_world() -> impl Strategy<Value = World> {
    let hold = prop_oneof![Just(None), Just(Some(1000)), Just(Some(600_000))];
    (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), hold, prop::bool::weighted(0.3)).prop_map(
        |(is_later, prepares, asks_bank, hold, is_sold)| match is_sold {
            true => World::new(false, prepares, asks_bank, None).sold(),
            false => World::new(is_later, prepares, asks_bank, hold),
        },
    )
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn money_in_is_money_due_and_refunds_and_debts(mut world in any_world(), life in moves()) {
        for a_move in &life {
            world.log.push(format!("- {a_move:?}"));
            world.take(a_move);
        }
        world.log.push("- settles".into());
        world.settle();
    }
}

#[test]
fn a_refund_by_hand_between_a_lost_refund_and_its_repetition_counts_once() {
    let mut world = World::new(false, true, false, None).sold();
    let refund = Event::RefundRequested { amount: 300, note: None };
    for a_move in [
        Move::Says(Actor::Operator, refund),
        Move::Works(Mood::Slow),
        Move::RefundedByHand(100),
        Move::Works(Mood::Healthy),
        Move::Arrives,
    ] {
        world.take(&a_move);
    }
    world.settle();
    assert_eq!(world.gateway.books().refunded(), 300, "{world}");
}

//! What the tests from outside share: a database of their own, and one plain order to be changed where a test
//! cares.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use chrono::{DateTime, Duration};
use lungo::admission::Verdict;
use lungo::catalogue::{Priced, Refusal, Slot};
use lungo::command::Command;
use lungo::lifecycle::{Actor, Event};
use lungo::order::{
    CustomerId, Instant, Line, Money, NewOrder, OnUnavailable, OrderId, PartnerId, Pickup, Placed, RequestedLine,
    ShopId,
};
use lungo::shop::{Answer, Offer, Shops, Unreachable};
use lungo::state::Order;
use lungo::store::{self, Accept, Admitted, By, Claims, Options, Policy, Received, Scope, Sender, Store, Word};
use tempfile::TempDir;

/// What every line costs, in minor units.
pub const PRICE: i64 = 300;

/// So many seconds after the beginning of a test's own time.
pub fn at(seconds: i64) -> Instant {
    DateTime::from_timestamp(1_767_600_000 + seconds, 0).expect("a time in 2026")
}

pub fn options() -> Options {
    Options {
        policy: Policy::default(),
        readers: 2,
        queue: 8192,
        local_queue: 1,
        commit_patience: std::time::Duration::from_secs(60),
        replica_lag: None,
        durability: None,
        max_staleness: std::time::Duration::from_millis(100),
        clock: lungo::clock::now,
        follow_clock: lungo::clock::follow,
    }
}

/// How an engine is opened.
type Open = Box<dyn Fn(&Path, Options) -> store::Result<(Store, Claims)>>;

/// A fresh database, with nobody at work: whoever wants the claims that are handed over opens it again.
pub struct Bench {
    pub store: Store,
    pub dir: TempDir,
    open: Open,
}

impl Bench {
    pub fn new(open: impl Fn(&Path, Options) -> store::Result<(Store, Claims)> + 'static) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (store, _) = open(dir.path(), options()).expect("a fresh database opens");
        Self { store, dir, open: Box::new(open) }
    }

    /// Opens the same database once more, with other options.
    pub fn reopen(&mut self, options: Options) -> Claims {
        let (store, claims) = (self.open)(self.dir.path(), options).expect("the database opens again");
        self.store = store;
        claims
    }

    pub async fn order(&self, id: OrderId) -> Order {
        self.store.order(id).await.expect("readable").expect("an order").0
    }

    /// Creates an order that has to be accepted.
    pub async fn create(&self, ask: Ask) -> Order {
        let admitted = self.ask(ask).await;
        assert_eq!(admitted.verdict, Verdict::Accept);
        admitted.order.expect("what was accepted")
    }

    pub async fn ask(&self, ask: Ask) -> Admitted {
        self.store.accept(ask.into_accept()).await.expect("the store answers")
    }

    pub async fn hear(&self, order: &Order, actor: Actor, event: Event, now: Instant) -> Received {
        let sender = match actor {
            Actor::Partner => Sender::Partner,
            Actor::Worker => Sender::Worker,
            Actor::Gateway => Sender::Gateway,
            Actor::Timer => Sender::Timer,
            Actor::Shop => Sender::Shop,
            Actor::Operator => return self.command(order.id, event, now).await,
        };
        let word = Word { order_id: order.id, scope: Scope::Everyone, sender, event, version: None, now };
        self.store.receive(word).await.expect("the store answers")
    }

    /// An operator has this happen to the order as it is now.
    async fn command(&self, id: OrderId, event: Event, now: Instant) -> Received {
        let command = match event {
            Event::OperatorCancelled { reason, refund, .. } => Command::Cancel { reason, refund },
            Event::Retried { .. } => Command::Retry,
            Event::ForceCompleted { .. } => Command::ForceComplete,
            Event::RefundRequested { amount, .. } => Command::Refund { amount, lines: vec![] },
            Event::DeadlineExtended { minutes } => Command::ExtendDeadline { minutes },
            Event::OfferRepeated => Command::RepeatOffer,
            event => Command::SettlePayment { event, agrees_to: None },
        };
        let by = By {
            at: now,
            user_id: None,
            name: "key test".into(),
            reason: None,
            request_id: String::new(),
            detail: Default::default(),
        };
        let version = self.order(id).await.version;
        self.store.command(id, version, command, by).await.expect("the store answers")
    }

    /// A word from outside that has to be taken.
    pub async fn tell(&self, order: &Order, actor: Actor, event: Event, now: Instant) -> Order {
        match self.hear(order, actor, event, now).await {
            Received::Changed(order, _) => *order,
            other => panic!("{other:?}"),
        }
    }

    pub async fn all_orders(&self) -> Vec<Order> {
        self.store.all_orders(None, i64::MAX).await.expect("readable")
    }

    /// The log of every order is gap-free, each event goes on where the last one ended, and the row stands where
    /// the last event left it.
    pub async fn assert_log_replays(&self) {
        for order in self.all_orders().await {
            let events = self.store.events_of(order.id).await.expect("readable");
            let versions: Vec<i64> = events.iter().map(|event| event.version).collect();
            let gap_free: Vec<i64> = (1..=order.version).collect();
            assert_eq!(versions, gap_free, "the versions of {}", order.id);
            assert_eq!(events[0].from, None);
            for pair in events.windows(2) {
                assert_eq!(pair[1].from, Some(pair[0].to), "{:?} after {:?}", pair[1], pair[0]);
                assert!(pair[0].position < pair[1].position);
                let is_step = lungo::lifecycle::status_pairs().contains(&(pair[0].to, pair[1].to));
                assert!(is_step || pair[0].to == pair[1].to, "{:?} after {:?}", pair[1], pair[0]);
            }
            let last = events.last().expect("an order has at least its creation");
            assert_eq!((last.to, last.payment_status), (order.status, order.payment.status), "{}", order.id);
        }
    }
}

/// A customer of some partner, and the shop it goes to.
#[derive(Clone, Debug)]
pub struct Customer {
    pub partner: PartnerId,
    pub shop: ShopId,
    pub id: CustomerId,
}

impl Customer {
    pub fn new(name: &str) -> Self {
        Self { partner: PartnerId::new(), shop: ShopId::new(), id: CustomerId(name.into()) }
    }

    /// Asks for some items, one of each.
    pub fn asks(&self, items: &[&str]) -> Ask {
        Ask {
            customer: self.clone(),
            order_id: OrderId::new(),
            items: items.iter().map(|item| (*item).to_owned()).collect(),
            method: "pm_card_visa".into(),
            key: None,
            seen: None,
            refused: None,
            slot: None,
            slot_capacity: None,
            tracks_steps: true,
            now: at(0),
        }
    }
}

/// A request to create an order.
#[derive(Clone, Debug)]
pub struct Ask {
    pub customer: Customer,
    pub order_id: OrderId,
    pub items: Vec<String>,
    pub method: String,
    pub key: Option<String>,
    pub seen: Option<lungo::admission::Revision>,
    /// The catalogue refuses.
    pub refused: Option<Refusal>,
    pub slot: Option<Instant>,
    pub slot_capacity: Option<u32>,
    pub tracks_steps: bool,
    pub now: Instant,
}

impl Ask {
    pub fn key(self, key: &str) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    pub fn into_accept(self) -> Accept {
        let total = Money { amount: PRICE * self.items.len() as i64, currency: "EUR".parse().expect("known") };
        let pickup = Pickup { at: self.slot, ..Pickup::default() };
        let requested = |item: &String| RequestedLine { item_id: item.clone(), options: vec![], quantity: 1 };
        let line = |item: &String| Line {
            item_id: item.clone(),
            name: item.clone(),
            quantity: 1,
            options: vec![],
            unit_price: PRICE,
            make_seconds: 120,
        };
        let placed = Placed {
            lines: self.items.iter().map(line).collect(),
            total,
            payment_method: self.method.clone(),
            on_unavailable: OnUnavailable::RemoveLine,
            metadata: BTreeMap::new(),
            replaces_order_id: None,
            traceparent: None,
            tracks_steps: self.tracks_steps,
            make_seconds: 120,
        };
        let priced = Priced {
            placed,
            offer_at: self.slot.map(|slot| slot - Duration::minutes(17)),
            expected_ready_at: self.slot.unwrap_or(self.now + Duration::minutes(5)),
            slot: self.slot.zip(self.slot_capacity).map(|(at, capacity)| Slot { at, capacity }),
        };
        Accept {
            order_id: self.order_id,
            partner_id: self.customer.partner,
            request: NewOrder {
                customer_id: self.customer.id,
                shop_id: self.customer.shop,
                lines: self.items.iter().map(requested).collect(),
                total: Some(total),
                payment_method: self.method,
                pickup,
                on_unavailable: OnUnavailable::RemoveLine,
                metadata: BTreeMap::new(),
                replaces_order_id: None,
            },
            idempotency_key: self.key,
            seen: self.seen,
            catalogue: self.refused.map_or(Ok(priced), Err),
            draft: None,
            now: self.now,
        }
    }
}

/// Shops that are never asked.
pub struct NoShops;

#[async_trait]
impl Shops for NoShops {
    async fn offer(&self, _: &Offer) -> Result<Answer, Unreachable> {
        Err(Unreachable::new("there are no shops in this test".into()))
    }
}

pub fn authorized(amount: i64) -> Event {
    Event::PaymentAuthorized { amount, reference: "ref_1".into(), capture_before: None }
}

/// Tests of a store that run on a fresh database of each engine; those behind the semicolon, on the embedded one only.
macro_rules! contract {
    ($($test:ident)*; $($of_embedded:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let mut bench = crate::support::Bench::new(lungo::store::Store::open);
                super::$test(&mut bench).await;
                bench.assert_log_replays().await;
            })*
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $of_embedded() {
                super::$of_embedded(&mut crate::support::Bench::new(lungo::store::Store::open)).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let Some(cluster) = crate::postgres::shared() else { return };
                let database = cluster.fresh_database();
                let open = move |_: &std::path::Path, options| lungo::store::Store::connect(&database.primary, &[], options);
                let mut bench = crate::support::Bench::new(open);
                super::$test(&mut bench).await;
                bench.assert_log_replays().await;
            })*
        }
    };
}
pub(crate) use contract;

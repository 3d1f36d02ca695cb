//! The comparison itself, with a simulated gateway that is ahead of the database.

use super::*;
use crate::catalogue::demo::LUNGO_CENTRAL;
use crate::clock::now;
use crate::command::Command;
use crate::fixtures::at;
use crate::gateway::simulator::GatewaySimulator;
use crate::gateway::{Charge, Page};
use crate::lifecycle::{Actor, PaymentStatus, Reason, Stage, Status};
use crate::simulator::Speed;
use crate::store::{AuditFilter, By, Error, Sender};
use crate::web::harness::House;

fn charge(order: &Order) -> Charge {
    Charge {
        key: order.authorization_key(),
        order_id: order.id,
        total: order.placed.total,
        method: order.placed.payment_method.clone(),
        traceparent: None,
        reference: order.payment.reference.clone(),
    }
}

struct Bench {
    house: House,
    gateway: Arc<GatewaySimulator>,
}

impl Bench {
    async fn open() -> Self {
        Self {
            house: House::open().await,
            gateway: Arc::new(GatewaySimulator::open(None, Speed::Zero, String::new()).unwrap()),
        }
    }

    /// An order that waits for its shop, held at the gateway under the name that it knows.
    async fn awaiting(&self) -> Order {
        let id = self.house.place(self.house.request(LUNGO_CENTRAL)).await;
        let held = self.gateway.authorize(&charge(&self.read(id).await)).await.unwrap();
        let authorized =
            Event::PaymentAuthorized { amount: held.total.amount, reference: held.reference, capture_before: None };
        self.house.hear(id, Actor::Worker, authorized).await
    }

    async fn read(&self, id: OrderId) -> Order {
        self.house.app.store.order(id).await.unwrap().unwrap().0
    }

    fn recovery(&self) -> Recovery {
        let (store, gateway) = (self.house.app.store.clone(), self.gateway.clone());
        Recovery { store, gateway, patience: Duration::from_secs(5), clock: now }
    }
}

#[actix_web::test]
async fn nothing_acts_on_an_order_before_it_was_compared_and_what_was_taken_is_not_offered() {
    let bench = Bench::open().await;
    let store = &bench.house.app.store;
    let (taken, kept, freed) = (bench.awaiting().await, bench.awaiting().await, bench.awaiting().await);
    bench.gateway.capture(&charge(&taken), taken.placed.total.amount).await.unwrap();
    bench.gateway.void(&charge(&freed)).await.unwrap();
    store.note_restored(now() - chrono::Duration::hours(1), now()).await.unwrap();
    store.watch_restored().await.unwrap();
    assert!(store.is_withheld());

    assert!(store.claim(Stage::Offer, 10, now()).await.unwrap().is_empty(), "no worker");
    assert!(store.expire(10, now() + chrono::Duration::days(1), None).await.unwrap().is_empty(), "no timer");
    let word = |sender| Word {
        order_id: kept.id,
        scope: Scope::Everyone,
        sender,
        event: Event::CustomerCancelled,
        version: None,
        now: now(),
    };
    for sender in [Sender::Partner, Sender::Shop, Sender::Timer] {
        assert!(matches!(store.receive(word(sender)).await, Err(Error::Withheld)), "{sender:?}");
    }
    for command in [Command::Retry, Command::VoidPayment] {
        let by = By {
            at: now(),
            user_id: None,
            name: "ada".into(),
            reason: None,
            request_id: String::new(),
            detail: Default::default(),
        };
        assert!(matches!(store.command(kept.id, kept.version, command, by).await, Err(Error::Withheld)));
    }
    for (key, path) in [
        (&bench.house.shop, "/v1/shop/orders".to_owned()),
        (&bench.house.partner, "/v1/orders/ongoing?customer_id=ada".to_owned()),
        (&bench.house.partner, "/v1/events".to_owned()),
        (&bench.house.partner, format!("/v1/orders/{}", kept.id)),
    ] {
        assert_eq!(bench.house.get(key, &path).await.status, 503, "{path}");
    }
    assert_eq!(bench.house.get(&bench.house.partner, "/v1/shops").await.status, 200, "a menu is no order");
    let readiness = bench.house.get("", "/readyz").await;
    assert_eq!((readiness.status, readiness.code()), (503, "not_ready"));
    assert!(readiness.body.to_string().contains("restored"), "{}", readiness.body);

    bench.recovery().round().await.unwrap();
    assert!(!store.is_withheld());
    let taken = bench.read(taken.id).await;
    assert_eq!((taken.status, taken.payment.status), (Status::Preparing, PaymentStatus::Captured));
    assert!(taken.found_begun_at.is_some() && taken.task.stage.is_none(), "{taken:?}");
    assert_eq!(bench.read(kept.id).await.status, Status::AwaitingShop);
    let freed = bench.read(freed.id).await;
    assert_eq!((freed.status, freed.reason), (Status::Cancelled, Some(Reason::HistoryLost)));
    let offered = store.claim(Stage::Offer, 10, now()).await.unwrap();
    assert_eq!(offered.iter().map(|claim| claim.order().id).collect::<Vec<_>>(), [kept.id]);
    let filter = AuditFilter { action: Some(COMPARED.into()), ..AuditFilter::default() };
    let logged = store.audit(filter, 10).await.unwrap();
    assert_eq!(logged[0].entry.detail["events"]["found_begun"], 1, "{logged:?}");
}

#[actix_web::test]
async fn a_payment_whose_name_was_written_after_the_backup_is_found_in_the_list() {
    let bench = Bench::open().await;
    let id = bench.house.place(bench.house.request(LUNGO_CENTRAL)).await;
    let order = bench.read(id).await;
    let held = bench.gateway.authorize(&charge(&order)).await.unwrap();
    /// Knows a payment by its name only, as Stripe does.
    struct ByName(Held);
    #[async_trait::async_trait]
    impl Gateway for ByName {
        async fn authorize(&self, _: &Charge) -> Result<Held, Trouble> {
            Err(Trouble::Refused("no".into()))
        }
        async fn look_up(&self, charge: &Charge) -> Result<Option<Held>, Trouble> {
            Ok(charge.reference.is_some().then(|| self.0.clone()))
        }
        async fn capture(&self, charge: &Charge, _: i64) -> Result<Held, Trouble> {
            self.authorize(charge).await
        }
        async fn void(&self, charge: &Charge) -> Result<Held, Trouble> {
            self.authorize(charge).await
        }
        async fn refund(&self, charge: &Charge, _: i64) -> Result<Held, Trouble> {
            self.authorize(charge).await
        }
        async fn list(&self, _: &std::ops::Range<Instant>, _: Option<&str>) -> Result<Page, Trouble> {
            Ok(Page { held: vec![self.0.clone()], ..Page::default() })
        }
    }
    let recovery = Recovery { gateway: Arc::new(ByName(held)), ..bench.recovery() };
    recovery.store.note_restored(now(), now()).await.unwrap();
    recovery.round().await.unwrap();
    let order = bench.read(id).await;
    assert_eq!((order.status, order.payment.status), (Status::AwaitingShop, PaymentStatus::Authorized));
}

#[actix_web::test]
async fn what_cannot_be_is_set_aside_once_and_holds_nobody_up() {
    let bench = Bench::open().await;
    let store = &bench.house.app.store;
    let strange = bench.awaiting().await;
    // More than one line was dropped, or fewer: nobody knows.
    bench.gateway.capture(&charge(&strange), 1).await.unwrap();
    for _ in 0..2 {
        store.note_restored(now(), now()).await.unwrap();
        bench.recovery().round().await.unwrap();
        assert!(!store.is_withheld());
    }
    let strange = bench.read(strange.id).await;
    assert!(strange.task.parked_at.is_some() && strange.status == Status::AwaitingShop, "{strange:?}");
    assert!(strange.task.last_error.unwrap().contains("after a restore"));
    let events = store.events_of(strange.id).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == crate::lifecycle::EventKind::Parked).count(), 1);
}

#[actix_web::test]
async fn a_comparison_that_an_operator_ended_leaves_orders_alone() {
    let bench = Bench::open().await;
    let store = &bench.house.app.store;
    let order = bench.awaiting().await;
    store.note_restored(at(1), now()).await.unwrap();
    let restored = store.watch_restored().await.unwrap().unwrap();
    store.note_restored(at(2), now() + chrono::Duration::seconds(1)).await.unwrap();
    assert!(!store.end_restored(restored.clone()).await.unwrap(), "another restore came");
    let newer = store.watch_restored().await.unwrap().unwrap();
    assert_eq!(newer.since, restored.since, "the older backup counts");
    assert!(store.end_restored(newer).await.unwrap() && !store.is_withheld());
    assert_eq!(bench.read(order.id).await, order);
}

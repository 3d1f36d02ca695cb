//! What every request can reach: the store, and what is kept in memory beside it because it is small and read all
//! the time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::admission::Verdict;
use crate::catalogue::{Catalogue, Priced, Refusal};
use crate::config::{InForce, Settings};
use crate::controls::Controls;
use crate::drills::Drills;
use crate::keys::{KeyRecord, Keys};
use crate::logs::failing;
use crate::meters::{self, METERS};
use crate::order::{Instant, NewOrder, OrderId, PartnerId, ShopId};
use crate::pace::{Expectations, Pace};
use crate::pulse::Pulse;
use crate::reconcile::Finding;
use crate::requests::Recent;
use crate::state::Order;
use crate::store::{Accept, Admitted, Draft, Error, Haste, Receivers, Result, Store, Tally, Webhook};
use crate::trace::{Kind, Moment, Span};
use crate::tracer;
use crate::turns::{Crowd, Peer};

/// The customer's bank, where it is a simulated one: it asks the customer, and this is the answer.
#[async_trait]
pub trait Bank: Send + Sync {
    /// What the bank asks the customer under this key; `None` if it asks nothing.
    async fn asks(&self, key: &str) -> std::result::Result<Option<crate::order::Money>, String>;
    /// The customer's answer. False if the bank had not asked.
    async fn answer(&self, key: &str, approve: bool) -> std::result::Result<bool, String>;
}

/// Whoever understands what the payment gateway sends by itself.
#[async_trait]
pub trait Callbacks: Send + Sync {
    /// Takes in a callback with the signature that came with it. Repeated, it changes nothing.
    ///
    /// # Errors
    /// Why it was not taken in.
    async fn hear(&self, signature: &str, body: &[u8], now: Instant) -> std::result::Result<(), Unheard>;
}

/// The payment gateway's side of the money, for those who compare and decide.
#[async_trait]
pub trait Books: Send + Sync {
    /// Tells an order what has become of its payment at the gateway, and says whether that was news. `None` if there is
    /// no such order.
    async fn look_up(&self, order: OrderId) -> std::result::Result<Option<bool>, String>;
    /// Gives up what is held for an order, now and for ever, and tells the order.
    async fn void(&self, order: &Order, now: Instant) -> std::result::Result<(), String>;
    /// Orders whose money is not what they say it is, and those of which that could not be found out.
    async fn compare(&self, orders: Vec<Order>) -> (Vec<Finding>, Vec<(OrderId, String)>);
}

/// Why a callback was not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// It is not known to come from the gateway, or comes too late to be believed.
    Unverified(String),
    /// It is the gateway's, and makes no sense.
    Unreadable(String),
    /// Not now: it should be sent again.
    Later(String),
}

/// What the web knows of the payment gateway in use.
#[derive(Clone, Default)]
pub struct PaymentDoors {
    pub bank: Option<Arc<dyn Bank>>,
    pub callbacks: Option<Arc<dyn Callbacks>>,
    pub books: Option<Arc<dyn Books>>,
}

/// Events that are read at the start, to learn how long things take.
const HISTORY: i64 = 200_000;
/// Events that are read at once.
const LESSON: i64 = 5_000;
/// Events that are learned from at a time: how long things take is seen as well in some of very many.
const SAMPLE: i64 = 2_000;

/// The gauges that need the database are read from it no oftener than this, whoever asks …
const MEASURED_EVERY: chrono::Duration = chrono::Duration::seconds(1);
/// … and whoever asks waits no longer for them.
const MEASURING_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Whether the database can be written to is asked of it no oftener than this, whoever asks.
const PINGED_EVERY: chrono::Duration = chrono::Duration::seconds(1);

/// New orders that may wait for the writing thread at once: what about two transactions of nothing else take, so that
/// whoever is let in is answered long before its caller's patience ends. Beyond it new orders are turned away at once,
/// and whatever makes room is not.
const CREATES: usize = 256;

/// The running service, as the web sees it.
pub struct App {
    pub store: Store,
    pub settings: Settings,
    pub in_force: Vec<InForce>,
    /// Durations as measured by all instances: see [`App::learn`].
    pub pace: RwLock<Pace>,
    pub payment: PaymentDoors,
    /// In front of whom too many orders wait already.
    pub crowd: Arc<Mutex<Crowd>>,
    /// What the worker is doing, and what it is not to do for now.
    pub controls: Arc<Controls>,
    /// Trouble on purpose; only where the outside world is simulated.
    pub drills: Option<Arc<Drills>>,
    /// What was lately asked for.
    pub requests: Recent,
    /// What was going on in the last minutes.
    pub pulse: Pulse,
    creates: Semaphore,
    catalogue: ArcSwap<Catalogue>,
    /// Where orders are offered by a webhook, as of the last refresh.
    shop_webhooks: ArcSwap<HashMap<ShopId, Arc<Webhook>>>,
    /// The keys, as of the last refresh.
    pub keys: Arc<ArcSwap<Keys>>,
    /// One refresh at a time: an older reading must not replace a newer one. Holds the number of the last one that
    /// succeeded.
    refreshed: tokio::sync::Mutex<u64>,
    /// The number of the last one that began.
    refreshing: AtomicU64,
    is_ready: AtomicBool,
    /// The position in the log of events up to which durations were counted.
    learned: AtomicI64,
    measured: tokio::sync::Mutex<Option<Instant>>,
    /// What the last ping found out, and when it was asked.
    pinged: tokio::sync::Mutex<Option<(Instant, Result<()>)>>,
}

impl App {
    /// Reads what is kept in memory. Not ready until [`App::set_ready`] says so.
    pub async fn new(
        store: Store,
        settings: Settings,
        in_force: Vec<InForce>,
        expectations: Expectations,
        payment: PaymentDoors,
    ) -> Result<Self> {
        let span = chrono::Duration::from_std(settings.pace_window.0).expect("spans are at most a year");
        let app = Self {
            store,
            settings,
            in_force,
            pace: RwLock::new(Pace::new(expectations, span)),
            payment,
            crowd: Arc::default(),
            controls: Arc::default(),
            drills: None,
            requests: Recent::default(),
            pulse: Pulse::default(),
            creates: Semaphore::new(CREATES),
            learned: AtomicI64::new(0),
            catalogue: ArcSwap::default(),
            shop_webhooks: ArcSwap::default(),
            keys: Arc::default(),
            refreshed: tokio::sync::Mutex::default(),
            refreshing: AtomicU64::new(0),
            is_ready: AtomicBool::new(false),
            measured: tokio::sync::Mutex::default(),
            pinged: tokio::sync::Mutex::default(),
        };
        app.refresh().await?;
        app.count_ongoing(Haste::Awaited).await?;
        Ok(app)
    }

    /// The shops and menus, as of the last refresh.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// The receiver that a shop's orders are offered to, if it has one that is not switched off.
    pub fn shop_webhook(&self, shop: ShopId) -> Option<Arc<Webhook>> {
        self.shop_webhooks.load().get(&shop).cloned()
    }

    /// The catalogue's verdict on a request.
    ///
    /// # Errors
    /// The catalogue's refusal.
    pub fn verdict(
        &self,
        partner: PartnerId,
        request: &NewOrder,
        now: Instant,
        traceparent: Option<String>,
    ) -> std::result::Result<Priced, Refusal> {
        let catalogue = self.catalogue();
        let priced = catalogue.verdict(partner, request, now, traceparent)?;
        self.as_measured(&catalogue, partner, request.shop_id, priced, now)
    }

    /// The catalogue's verdict on a draft that is being confirmed.
    ///
    /// # Errors
    /// The catalogue's refusal.
    pub fn recheck(&self, partner: PartnerId, draft: &Draft, now: Instant) -> std::result::Result<Priced, Refusal> {
        let (catalogue, request) = (self.catalogue(), &draft.request);
        let priced = catalogue.recheck(partner, &draft.placed, request.shop_id, &request.pickup, now)?;
        self.as_measured(&catalogue, partner, request.shop_id, priced, now)
    }

    /// Refuses what would only wait: an argument of admission like all refusals, so that a key still finds its order.
    fn check_crowd(&self, request: &NewOrder) -> std::result::Result<(), Refusal> {
        let (crowd, now) = (self.crowd.lock().unwrap_or_else(PoisonError::into_inner), std::time::Instant::now());
        let peers = [Peer::Method(request.payment_method.clone()), Peer::Shop(request.shop_id)];
        if peers.iter().any(|peer| crowd.holds(peer, now)) { Err(Refusal::Crowded) } else { Ok(()) }
    }

    /// Decides about a new order, unless too many wait for that already.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once, or whatever kept the store from deciding.
    pub async fn accept(&self, mut accept: Accept) -> Result<Admitted> {
        let Ok(_place) = self.creates.try_acquire() else {
            METERS.lane_refused.of(meters::Urgency::Create).increment(1);
            return Err(Error::Overloaded);
        };
        let may_wait = self.check_crowd(&accept.request);
        accept.catalogue = accept.catalogue.and_then(|priced| may_wait.map(|()| priced));
        let (began, admitted) = (std::time::Instant::now(), self.store.accept(accept).await?);
        if let Some(order) = &admitted.order {
            let is_created = admitted.verdict == Verdict::Accept;
            tracer::touched(order, is_created);
            if let Some(trace) = tracer::recorded(order).filter(|_| is_created) {
                let time = (Moment::Steady(began), Moment::Steady(std::time::Instant::now()));
                tracer::emit(Span::below(&trace, tracer::new_span(), Kind::Internal, "admission", time));
            }
        }
        Ok(admitted)
    }

    /// Whether another new order would be turned away now, whatever it says.
    pub fn is_full(&self) -> bool {
        self.creates.available_permits() == 0
    }

    /// What was measured is told instead of what the menu says, and kept to as well: an order that would be ready after
    /// closing is refused. A simulated barista may be faster than the menu.
    fn as_measured(
        &self,
        catalogue: &Catalogue,
        partner: PartnerId,
        shop: ShopId,
        priced: Priced,
        now: Instant,
    ) -> std::result::Result<Priced, Refusal> {
        let shop = catalogue.shop(partner, shop).ok_or(Refusal::UnknownShop)?;
        if priced.slot.is_some() {
            return Ok(priced);
        }
        let pace = self.pace();
        let expected = pace.expectations();
        let making = expected.simulated_making.filter(|_| shop.simulated);
        let usual = chrono::Duration::seconds(priced.placed.make_seconds.into());
        let measured = pace.until_ready(shop.shop_id, making.unwrap_or(usual), now);
        let mut priced = priced;
        if let Some(wait) = measured.or(making.map(|making| expected.until_making() + making)) {
            priced.expected_ready_at = now + wait;
            catalogue.check_ready_by_closing(shop, priced.placed.make_seconds, priced.expected_ready_at, now)?;
        }
        if let Some(making) = making {
            priced.placed.make_seconds = u32::try_from(making.num_seconds()).unwrap_or(0);
        }
        Ok(priced)
    }

    /// Reads keys and catalogue again, now and then because somebody else may have changed them.
    pub async fn refresh(&self) -> Result<()> {
        self.refresh_since(self.refreshing.load(Ordering::SeqCst)).await
    }

    /// Reads keys and catalogue again, unless a refresh has succeeded that began after the one of this number: it has
    /// read all that was committed by then.
    async fn refresh_since(&self, number: u64) -> Result<()> {
        let mut refreshed = self.refreshed.lock().await;
        if *refreshed > number {
            return Ok(());
        }
        let number = self.refreshing.fetch_add(1, Ordering::SeqCst) + 1;
        let keys = self.store.keys().await?.into_iter().map(|key| {
            let record = KeyRecord { key_id: key.key_id, owner: key.owner, revoked: key.revoked_at.is_some() };
            (key.hash, record)
        });
        self.keys.store(Arc::new(keys.collect()));
        let receivers = self.store.webhooks(Receivers::All).await?.into_iter().filter(|known| known.disabled.is_none());
        let of_shops = receivers.filter_map(|webhook| Some((webhook.shop_id?, Arc::new(webhook))));
        self.shop_webhooks.store(Arc::new(of_shops.collect()));
        let rows = self.store.catalogue().await?;
        let read = Catalogue::new(rows.shops, rows.items, rows.shop_items, HashMap::new())
            .with_options(rows.shop_options)
            .with_calendars(rows.calendars);
        self.catalogue.rcu(|present| read.in_place_of(present));
        let holds = self.store.holds().await?;
        let known = holds.into_iter().filter_map(|hold| Some((hold.subject.parse().ok()?, hold.left)));
        self.controls.hold(known, std::time::Instant::now());
        *refreshed = number;
        Ok(())
    }

    /// Makes a committed change known here: many at once share one reading. If it cannot be read now, the next regular
    /// refresh finds it: the change itself has been made, and its caller must not be told otherwise.
    pub async fn take_effect(&self) {
        let committed = self.refreshing.load(Ordering::SeqCst);
        if let Err(error) = self.refresh_since(committed).await {
            tracing::error!(%error, "app.change_takes_effect_late");
        }
    }

    /// Makes one shop's committed heartbeat known here, without reading anything or waiting for those who do.
    pub fn heard_of(&self, shop: ShopId, at: Instant) {
        self.catalogue.rcu(|catalogue| catalogue.with_heartbeat(shop, at));
    }

    /// Sums up the ongoing orders: what a shop promises depends on how many it has in its hands.
    pub async fn count_ongoing(&self, haste: Haste) -> Result<Tally> {
        let tally = self.store.tally(haste).await?;
        self.catalogue.rcu(|catalogue| catalogue.with_in_progress(tally.loads.clone()));
        Ok(tally)
    }

    pub fn pace(&self) -> std::sync::RwLockReadGuard<'_, Pace> {
        self.pace.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the durations of what has happened since the last time, here or in another instance: the newest of them,
    /// where very much has. The first call goes back through the recent history, so that a restart forgets nothing.
    pub async fn learn(&self) -> Result<()> {
        let learned = self.learned.load(Ordering::Relaxed);
        let (most, haste) = if learned == 0 { (HISTORY, Haste::Awaited) } else { (SAMPLE, Haste::None) };
        let mut after = learned.max(self.store.position_back(most, haste).await?);
        let mut is_all = false;
        while !is_all {
            let (passed, until, all) = self.store.passed(after, LESSON, haste).await?;
            let mut pace = self.pace.write().unwrap_or_else(PoisonError::into_inner);
            passed.iter().for_each(|passed| pace.record(passed));
            drop(pace);
            self.learned.store(until, Ordering::Relaxed);
            (after, is_all) = (until, all);
        }
        Ok(())
    }

    /// All that is counted and measured, in Prometheus' text format. Answers also while the database does not: then
    /// its gauges are old, and one of them says since when.
    pub async fn metrics(&self, now: Instant) -> String {
        METERS.ready.of(()).set(if self.is_ready() { 1.0 } else { 0.0 });
        let mut measured = self.measured.lock().await;
        if measured.is_none_or(|at| now - at >= MEASURED_EVERY || now < at) {
            match tokio::time::timeout(MEASURING_PATIENCE, self.store.measure(now)).await {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => failing!("metrics.not_measured", fault),
                Err(_) => failing!("metrics.not_measured_in_time", "the database is too busy"),
            }
            *measured = Some(now);
        }
        drop(measured);
        meters::render()
    }

    /// Whether the database can be written to, as of at most a second ago. Everybody who asks at once waits for one
    /// and the same write: anybody may ask, and must not thereby fill the room of those who bring results.
    ///
    /// # Errors
    /// What kept it from being written to.
    pub async fn ping(&self, now: Instant) -> Result<()> {
        let mut pinged = self.pinged.lock().await;
        match &*pinged {
            Some((at, found)) if now - *at < PINGED_EVERY && *at <= now + PINGED_EVERY => found.clone(),
            _ => {
                let found = self.store.ping().await;
                *pinged = Some((now, found.clone()));
                found
            }
        }
    }

    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed) && !self.store.is_withheld()
    }

    pub fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use actix_web::http::header;
    use actix_web::test::TestRequest;
    use serde_json::{Value, json};

    use super::*;
    use crate::catalogue::demo::LUNGO_CENTRAL;
    use crate::web::harness::{Answer, House};

    fn order(customer: &str, method: &str) -> Value {
        json!({"customer_id": customer, "shop_id": LUNGO_CENTRAL, "lines": [{"item_id": "tea", "quantity": 1}],
            "total": {"amount": 300, "currency": "EUR"}, "payment": {"method": method}})
    }

    async fn create(house: &House, customer: &str, method: &str) -> Answer {
        let key = (header::HeaderName::from_static("idempotency-key"), customer.to_owned());
        let request = TestRequest::post().uri("/v1/orders").insert_header(key).set_json(order(customer, method));
        house.send(request, &house.partner).await
    }

    /// What a client needs that was turned away.
    fn assert_turned_away(answer: &Answer) {
        assert_eq!((answer.status, answer.code()), (503, "overloaded"), "{answer:?}");
        let seconds: u64 = answer.headers.get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
        assert!((1..=3).contains(&seconds), "{answer:?}");
    }

    #[actix_web::test]
    async fn when_too_much_waits_new_orders_are_turned_away_and_what_makes_room_is_not() {
        let house = House::open().await;
        let first = create(&house, "early", "pm_card_visa").await;
        let offered = house.awaiting().await;
        let all = house.app.creates.acquire_many(CREATES as u32).await.unwrap();

        assert_turned_away(&create(&house, "late", "pm_card_visa").await);
        assert_turned_away(&house.post(&house.partner, "/v1/orders", json!("not even an order")).await);
        let draft = house.post(&house.partner, "/v1/drafts", order("other", "pm_card_visa")).await;
        let confirmation = format!("/v1/drafts/{}/confirmation", draft.body["order_id"].as_str().unwrap());
        assert_turned_away(&house.put(&house.partner, &confirmation, json!({"confirmed": true})).await);
        let cancel = format!("/v1/orders/{}/cancel", first.body["order_id"].as_str().unwrap());
        assert_eq!(house.post(&house.partner, &cancel, Value::Null).await.status, 200);
        assert_eq!(house.post(&house.shop, &format!("/v1/shop/orders/{offered}/accept"), json!({})).await.status, 200);

        drop(all);
        assert_eq!(create(&house, "late", "pm_card_visa").await.status, 202);
        assert_eq!(house.put(&house.partner, &confirmation, json!({"confirmed": true})).await.status, 202);
    }

    #[actix_web::test]
    async fn in_front_of_whom_too_many_wait_no_more_are_let_in_until_the_line_is_shorter() {
        let house = House::open().await;
        assert_eq!(create(&house, "early", "pm_slow").await.status, 202);
        let note = |peer, until| house.app.crowd.lock().unwrap().note(peer, until, Instant::now());
        let an_hour = Duration::from_secs(3600);
        note(Peer::Method("pm_slow".into()), Instant::now() + an_hour);

        assert_turned_away(&create(&house, "late", "pm_slow").await);
        let draft = house.post(&house.partner, "/v1/drafts", order("late", "pm_slow")).await;
        assert_eq!(draft.status, 201, "nobody works on a draft");
        assert_eq!(create(&house, "early", "pm_slow").await.status, 202, "its key still finds its order");
        assert_eq!(create(&house, "other", "pm_card_visa").await.status, 202);
        note(Peer::Shop(LUNGO_CENTRAL), Instant::now() + an_hour);
        assert_turned_away(&create(&house, "another", "pm_card_visa").await);

        note(Peer::Method("pm_slow".into()), Instant::now());
        note(Peer::Shop(LUNGO_CENTRAL), Instant::now());
        assert_eq!(create(&house, "late", "pm_slow").await.status, 202);
    }
}

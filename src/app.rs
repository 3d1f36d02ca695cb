//! What every request can reach: the store, and what is kept in memory beside it because it is small and read all
//! the time.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use async_trait::async_trait;

use crate::catalogue::{Catalogue, Priced, Refusal};
use crate::config::{InForce, Settings};
use crate::keys::{KeyRecord, Keys};
use crate::meters::{self, METERS};
use crate::order::{Instant, NewOrder, PartnerId, Placed, ShopId};
use crate::pace::{Expectations, Pace};
use crate::store::{Draft, Result, Store};

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
}

/// Events that are read at the start, to learn how long things take.
const HISTORY: i64 = 200_000;
/// Events that are read at once.
const LESSON: i64 = 5_000;

/// The gauges that need the database are read from it no oftener than this, whoever asks …
const MEASURED_EVERY: chrono::Duration = chrono::Duration::seconds(1);
/// … and whoever asks waits no longer for them.
const MEASURING_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Whether the database can be written to is asked of it no oftener than this, whoever asks.
const PINGED_EVERY: chrono::Duration = chrono::Duration::seconds(1);

/// The running service, as the web sees it.
pub struct App {
    pub store: Store,
    pub settings: Settings,
    pub in_force: Vec<InForce>,
    /// Durations as measured by all instances: see [`App::learn`].
    pub pace: RwLock<Pace>,
    pub payment: PaymentDoors,
    catalogue: ArcSwap<Catalogue>,
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
            learned: AtomicI64::new(0),
            catalogue: ArcSwap::default(),
            keys: Arc::default(),
            refreshed: tokio::sync::Mutex::default(),
            refreshing: AtomicU64::new(0),
            is_ready: AtomicBool::new(false),
            measured: tokio::sync::Mutex::default(),
            pinged: tokio::sync::Mutex::default(),
        };
        app.refresh().await?;
        Ok(app)
    }

    /// The shops and menus, as of the last refresh.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
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
        Ok(self.as_measured(&catalogue, partner, request.shop_id, priced, now))
    }

    /// The catalogue's verdict on a draft that is being confirmed.
    ///
    /// # Errors
    /// The catalogue's refusal.
    pub fn recheck(&self, partner: PartnerId, draft: &Draft, now: Instant) -> std::result::Result<Priced, Refusal> {
        let (catalogue, request) = (self.catalogue(), &draft.request);
        let priced = catalogue.recheck(partner, &draft.placed, request.shop_id, &request.pickup, now)?;
        Ok(self.as_measured(&catalogue, partner, request.shop_id, priced, now))
    }

    /// What was measured is told instead of what the menu says. A simulated barista may be faster than the menu.
    fn as_measured(
        &self,
        catalogue: &Catalogue,
        partner: PartnerId,
        shop: ShopId,
        priced: Priced,
        now: Instant,
    ) -> Priced {
        let is_simulated = catalogue.shop(partner, shop).is_some_and(|shop| shop.simulated);
        let pace = self.pace();
        let expected = pace.expectations();
        let making = expected.simulated_making.filter(|_| is_simulated);
        let usual = chrono::Duration::seconds(priced.placed.make_seconds.into());
        let measured = pace.until_ready(shop, making.unwrap_or(usual), now);
        let priced = match (priced.slot, measured) {
            (None, Some(wait)) => Priced { expected_ready_at: now + wait, ..priced },
            _ => priced,
        };
        match making.filter(|_| priced.slot.is_none()) {
            None => priced,
            Some(making) => Priced {
                expected_ready_at: now + measured.unwrap_or(expected.until_making() + making),
                placed: Placed { make_seconds: u32::try_from(making.num_seconds()).unwrap_or(0), ..priced.placed },
                ..priced
            },
        }
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
        let rows = self.store.catalogue().await?;
        let in_progress = self.store.loads().await?.into_iter().collect();
        let read = Catalogue::new(rows.shops, rows.items, rows.shop_items, in_progress);
        self.catalogue.rcu(|present| read.with_later_heartbeats(present));
        *refreshed = number;
        Ok(())
    }

    /// Makes a committed change known here: many at once share one reading. If it cannot be read now, the next regular refresh finds it: the
    /// change itself has been made, and its caller must not be told otherwise.
    pub async fn take_effect(&self) {
        let committed = self.refreshing.load(Ordering::SeqCst);
        if let Err(error) = self.refresh_since(committed).await {
            tracing::error!(%error, "a change of keys or catalogue takes effect only with the next refresh");
        }
    }

    /// Makes one shop's committed heartbeat known here, without reading anything or waiting for those who do.
    pub fn heard_of(&self, shop: ShopId, at: Instant) {
        self.catalogue.rcu(|catalogue| catalogue.with_heartbeat(shop, at));
    }

    /// Counts anew how many orders each shop has in progress: what it promises depends on it.
    pub async fn refresh_loads(&self) -> Result<()> {
        let in_progress = self.store.loads().await?.into_iter().collect();
        self.catalogue.rcu(|catalogue| catalogue.with_in_progress(std::collections::HashMap::clone(&in_progress)));
        Ok(())
    }

    pub fn pace(&self) -> std::sync::RwLockReadGuard<'_, Pace> {
        self.pace.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the durations of what has happened since the last time, here or in another instance. The first call
    /// goes back through the recent history, so that a restart forgets nothing.
    pub async fn learn(&self) -> Result<()> {
        let mut after = self.learned.load(Ordering::Relaxed);
        if after == 0 {
            after = (self.store.last_position().await? - HISTORY).max(0);
        }
        loop {
            let (passed, until) = self.store.passed(after, LESSON).await?;
            let mut pace = self.pace.write().unwrap_or_else(PoisonError::into_inner);
            passed.iter().for_each(|passed| pace.record(passed));
            drop(pace);
            self.learned.store(until, Ordering::Relaxed);
            if until < after + LESSON {
                return Ok(());
            }
            after = until;
        }
    }

    /// All that is counted and measured, in Prometheus' text format. Answers also while the database does not: then
    /// its gauges are old, and one of them says since when.
    pub async fn metrics(&self, now: Instant) -> String {
        METERS.ready.of(()).set(if self.is_ready() { 1.0 } else { 0.0 });
        let mut measured = self.measured.lock().await;
        if measured.is_none_or(|at| now - at >= MEASURED_EVERY || now < at) {
            match tokio::time::timeout(MEASURING_PATIENCE, self.store.measure(now)).await {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => tracing::warn!(%fault, "metrics.not_measured"),
                Err(_) => tracing::warn!("metrics.not_measured_in_time"),
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
        self.is_ready.load(Ordering::Relaxed)
    }

    pub fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }
}

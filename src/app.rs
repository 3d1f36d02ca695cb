//! What every request can reach: the store, and what is kept in memory beside it because it is small and read all
//! the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use async_trait::async_trait;

use crate::catalogue::{Catalogue, Priced, Refusal};
use crate::config::{InForce, Settings};
use crate::keys::{KeyRecord, Keys};
use crate::order::{Instant, NewOrder, PartnerId, Placed, ShopId};
use crate::pace::Expectations;
use crate::store::{Draft, Result, Store};

/// The customer's bank, where it is a simulated one: it asks the customer, and this is the answer.
#[async_trait]
pub trait Bank: Send + Sync {
    /// What the bank asks the customer under this key; `None` if it asks nothing.
    async fn asks(&self, key: &str) -> std::result::Result<Option<crate::order::Money>, String>;
    /// The customer's answer. False if the bank had not asked.
    async fn answer(&self, key: &str, approve: bool) -> std::result::Result<bool, String>;
}

/// The running service, as the web sees it.
pub struct App {
    pub store: Store,
    pub settings: Settings,
    pub in_force: Vec<InForce>,
    pub expectations: Expectations,
    pub bank: Option<Arc<dyn Bank>>,
    catalogue: ArcSwap<Catalogue>,
    /// The keys, as of the last refresh.
    pub keys: Arc<ArcSwap<Keys>>,
    /// One refresh at a time: an older reading must not replace a newer one.
    refreshing: tokio::sync::Mutex<()>,
    is_ready: AtomicBool,
}

impl App {
    /// Reads what is kept in memory. Not ready until [`App::set_ready`] says so.
    pub async fn new(
        store: Store,
        settings: Settings,
        in_force: Vec<InForce>,
        expectations: Expectations,
        bank: Option<Arc<dyn Bank>>,
    ) -> Result<Self> {
        let app = Self {
            store,
            settings,
            in_force,
            expectations,
            bank,
            catalogue: ArcSwap::default(),
            keys: Arc::default(),
            refreshing: tokio::sync::Mutex::default(),
            is_ready: AtomicBool::new(false),
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
        Ok(self.at_simulated_speed(&catalogue, partner, request.shop_id, priced, now))
    }

    /// The catalogue's verdict on a draft that is being confirmed.
    ///
    /// # Errors
    /// The catalogue's refusal.
    pub fn recheck(&self, partner: PartnerId, draft: &Draft, now: Instant) -> std::result::Result<Priced, Refusal> {
        let (catalogue, request) = (self.catalogue(), &draft.request);
        let priced = catalogue.recheck(partner, &draft.placed, request.shop_id, &request.pickup, now)?;
        Ok(self.at_simulated_speed(&catalogue, partner, request.shop_id, priced, now))
    }

    /// A simulated barista may be faster than the menu says: then so is what the customer is told.
    fn at_simulated_speed(
        &self,
        catalogue: &Catalogue,
        partner: PartnerId,
        shop: ShopId,
        priced: Priced,
        now: Instant,
    ) -> Priced {
        let is_simulated = catalogue.shop(partner, shop).is_some_and(|shop| shop.simulated);
        match self.expectations.simulated_making.filter(|_| is_simulated && priced.slot.is_none()) {
            None => priced,
            Some(making) => Priced {
                expected_ready_at: now + self.expectations.until_making() + making,
                placed: Placed { make_seconds: u32::try_from(making.num_seconds()).unwrap_or(0), ..priced.placed },
                ..priced
            },
        }
    }

    /// Reads keys and catalogue again. Called after every change of them here, and now and then because somebody
    /// else may have changed them.
    pub async fn refresh(&self) -> Result<()> {
        let _alone = self.refreshing.lock().await;
        let keys = self.store.keys().await?.into_iter().map(|key| {
            let record = KeyRecord { key_id: key.key_id, owner: key.owner, revoked: key.revoked_at.is_some() };
            (key.hash, record)
        });
        self.keys.store(Arc::new(keys.collect()));
        let rows = self.store.catalogue().await?;
        let in_progress = self.store.loads().await?.into_iter().collect();
        self.catalogue.store(Arc::new(Catalogue::new(rows.shops, rows.items, rows.shop_items, in_progress)));
        Ok(())
    }

    /// Makes a committed change known here. If it cannot be read now, the next regular refresh finds it: the
    /// change itself has been made, and its caller must not be told otherwise.
    pub async fn take_effect(&self) {
        if let Err(error) = self.refresh().await {
            tracing::error!(%error, "a change of keys or catalogue takes effect only with the next refresh");
        }
    }

    /// Makes one shop's committed heartbeat known here, without reading anything.
    pub async fn heard_of(&self, shop: ShopId, at: Instant) {
        let _alone = self.refreshing.lock().await;
        self.catalogue.rcu(|catalogue| catalogue.with_heartbeat(shop, at));
    }

    /// Counts anew how many orders each shop has in progress: what it promises depends on it.
    pub async fn refresh_loads(&self) -> Result<()> {
        let in_progress = self.store.loads().await?.into_iter().collect();
        self.catalogue.rcu(|catalogue| catalogue.with_in_progress(std::collections::HashMap::clone(&in_progress)));
        Ok(())
    }

    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    pub fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }
}

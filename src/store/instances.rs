//! Who works on this database: every few seconds each instance says what it is doing, in a row of its own that nobody
//! else writes. Nothing needs it for correctness: what a dead instance held lapses by itself.

use chrono::Duration;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::rows::{document, instant, millis, raw, to_document, uuid};
use super::schema::instances;
use super::sql::{Json, Millis, RawId, native};
use super::tx::Urgency;
use super::{Result, Store};
use crate::lifecycle::Stage;
use crate::order::{Instant, OrderId};

/// Whoever has said nothing for so long is taken for dead: several reports are missing.
const SILENCE: Duration = Duration::seconds(10);
/// … and is forgotten then: somebody has seen it by now, or never will.
const FORGOTTEN: Duration = Duration::minutes(5);

/// An instance that works on this database, or did until lately.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub id: Uuid,
    /// Its machine and its process.
    pub name: String,
    pub version: String,
    /// When it said something first, and last, by the database's clock.
    pub started_at: Instant,
    pub seen_at: Instant,
    pub report: Report,
}

/// What an instance says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The stages that it is to work on.
    pub stages: Vec<Worked>,
    /// Some of the orders about which it has been asking somebody outside for a while, those first that it began with
    /// first.
    pub asking: Vec<OrderId>,
    /// Some of those outside whom it leaves alone because they did not answer.
    pub silent: Vec<SilentPeer>,
    /// The replicas, as it sees them.
    pub replicas: Vec<ReplicaSeen>,
}

/// Somebody outside who did not answer an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentPeer {
    /// As a hold names it: `method:pm_card_visa`, `shop:…`.
    pub subject: String,
    pub failures: u32,
    /// Nobody is asked now; otherwise one at a time is.
    pub is_pausing: bool,
}

/// A stage in an instance. What is under way and what waits for its turn there is leased to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worked {
    pub stage: Stage,
    /// Somebody there looks after it; otherwise the numbers are nought.
    pub is_at_work: bool,
    /// Acts under way, and how many may be at once.
    pub under_way: usize,
    pub limit: usize,
    pub waiting: usize,
}

/// A replica, as an instance sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaSeen {
    /// Its address, without a password.
    pub name: String,
    /// How old it is at most; `None` while nothing is proven of it.
    pub age_seconds: Option<f64>,
}

impl Instance {
    pub fn is_silent(&self, now: Instant) -> bool {
        now - self.seen_at > SILENCE
    }
}

impl Store {
    /// What this instance is called among the others of this database.
    pub fn instance(&self) -> Uuid {
        self.duties.instance()
    }

    /// Says what this instance is doing, and forgets those that have been silent for long. Where nobody else can work on
    /// the database, all others are dead.
    pub async fn say_instance(&self, name: String, report: Report, now: Instant) -> Result<()> {
        let (id, is_alone) = (self.instance(), self.is_alone);
        self.lane
            .write(Urgency::Control, move |tx| {
                let others = instances::table.filter(instances::id.ne(raw(id)));
                if is_alone {
                    diesel::delete(others).execute(tx.conn()?)?;
                } else {
                    let old = others.filter(instances::seen_at.lt(millis(now - FORGOTTEN)));
                    diesel::delete(old).execute(tx.conn()?)?;
                }
                let said = (instances::seen_at.eq(millis(now)), instances::report.eq(to_document(&report)));
                let first = (
                    instances::id.eq(raw(id)),
                    instances::name.eq(&name),
                    instances::version.eq(env!("CARGO_PKG_VERSION")),
                    instances::started_at.eq(millis(now)),
                );
                let row = diesel::insert_into(instances::table)
                    .values((first, said.clone()))
                    .on_conflict(instances::id)
                    .do_update()
                    .set(said);
                native!(tx.conn()?, conn => row.execute(conn))?;
                Ok(())
            })
            .await
    }

    /// This instance ends: nobody has to wonder where it is.
    pub async fn sign_off(&self) -> Result<()> {
        let id = self.instance();
        self.lane
            .write(Urgency::Control, move |tx| {
                diesel::delete(instances::table.find(raw(id))).execute(tx.conn()?)?;
                Ok(())
            })
            .await
    }

    /// Those who work on this database, or did until lately, by name.
    pub async fn instances(&self) -> Result<Vec<Instance>> {
        self.readers.read(read).await
    }

    /// How old each replica is, as far as this instance knows.
    pub fn replicas_seen(&self, now: Instant) -> Vec<ReplicaSeen> {
        self.replicas.seen(now)
    }
}

pub(super) fn read(conn: &mut super::Conn) -> Result<Vec<Instance>> {
    type Row = (RawId, String, String, Millis, Millis, Json);
    let rows: Vec<Row> = instances::table.order((instances::name, instances::id)).load(conn)?;
    let instance = |(id, name, version, started_at, seen_at, report): Row| {
        let (id, started_at, seen_at) = (uuid(&id)?, instant(started_at), instant(seen_at));
        // Another version may say other things, and is there all the same.
        let report = document(&report).unwrap_or_default();
        Ok(Instance { id, name, version, started_at, seen_at, report })
    };
    rows.into_iter().map(instance).collect()
}

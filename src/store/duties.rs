//! What one instance does for all of those that work on the same database: it holds the duty for a while, and goes on
//! holding it while it lives. Nothing that is done under a duty needs it for correctness.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Duration;
use diesel::prelude::*;
use uuid::Uuid;

use super::schema::meta;
use super::sql::native;
use super::tx::Urgency;
use super::{Error, Result, Store};
use crate::order::Instant;

/// What is to be done once, not by everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Duty {
    /// Telling receivers of webhooks.
    Tell,
    /// Working off what operators do to many orders at once.
    Act,
    /// Giving back the money of orders that were lost.
    Reconcile,
}

/// How long somebody who died keeps a duty from others.
const TERM: Duration = Duration::seconds(10);
/// What the clocks of two instances may differ by.
const SKEW: Duration = Duration::seconds(2);

/// The duties of this instance, and until when.
#[derive(Clone)]
pub(super) struct Duties {
    instance: Uuid,
    held: Arc<Mutex<HashMap<Duty, Instant>>>,
}

impl Default for Duties {
    fn default() -> Self {
        Self { instance: Uuid::now_v7(), held: Arc::default() }
    }
}

impl Duties {
    pub fn instance(&self) -> Uuid {
        self.instance
    }
}

impl Store {
    /// Whether this instance has a duty now: whoever asks first while nobody has it. It is to be asked every second or
    /// so, or somebody else has it.
    pub async fn on_duty(&self, duty: Duty, now: Instant) -> Result<bool> {
        if self.is_alone {
            return Ok(true);
        }
        let held = || self.duties.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held().get(&duty).is_some_and(|until| (TERM / 2..=TERM).contains(&(*until - now))) {
            return Ok(true);
        }
        let (name, instance, until) = (format!("duty:{}", <&str>::from(duty)), self.duties.instance, now + TERM);
        let taken = self
            .lane
            .write(Urgency::Control, move |tx| {
                let present: Option<String> =
                    meta::table.find(&name).select(meta::value).first(tx.conn()?).optional()?;
                if let Some(present) = present {
                    let damaged = || Error::Damaged(format!("{name} `{present}`"));
                    let (who, ends) = present.split_once(' ').ok_or_else(damaged)?;
                    let ends: i64 = ends.parse().map_err(|_| damaged())?;
                    // A longer term than there is was given by a clock that was wrong.
                    let is_held = ends > now.timestamp_millis() && ends <= (now + TERM + SKEW).timestamp_millis();
                    if who != instance.to_string() && is_held {
                        return Ok(false);
                    }
                }
                let value = format!("{instance} {}", until.timestamp_millis());
                let taken = diesel::insert_into(meta::table)
                    .values((meta::name.eq(&name), meta::value.eq(&value)))
                    .on_conflict(meta::name)
                    .do_update()
                    .set(meta::value.eq(&value));
                native!(tx.conn()?, conn => taken.execute(conn))?;
                Ok(true)
            })
            .await?;
        match taken {
            true => held().insert(duty, until),
            false => held().remove(&duty),
        };
        Ok(taken)
    }
}

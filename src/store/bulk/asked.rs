//! What is done to many orders by asking somebody outside: between two transactions, never inside of one.

use std::collections::HashMap;

use diesel::prelude::*;

use super::super::sql::RawId;
use super::row::{find, save};
use super::{BulkJob, BulkState, Deed, Meant, UNFIT, UNKNOWN, damage, next};
use crate::order::{Instant, OrderId};
use crate::store::rows::{OrderRow, raw, uuid};
use crate::store::schema::orders;
use crate::store::tx::Urgency;
use crate::store::{Result, Store, audit};

/// Whom a job has to ask before it can act on an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    Nobody,
    TheGateway,
}

impl Deed {
    /// Whom a job that does this has to ask first.
    pub(super) fn asks(self) -> Asks {
        match self {
            Self::CancelOrder { .. } | Self::RetryOrder | Self::ForceComplete => Asks::Nobody,
            Self::LookUpPayment => Asks::TheGateway,
        }
    }
}

impl Store {
    /// The next orders of a job, up to `limit`, each with why it is to be left alone, if it is.
    pub async fn next_of_bulk(&self, job: &BulkJob, limit: usize) -> Result<Vec<(OrderId, Option<String>)>> {
        let job = job.clone();
        self.readers
            .read(move |conn| {
                let ids = next(conn, &job, limit)?;
                let keys: Vec<RawId> = ids.iter().map(|(id, _)| raw(*id)).collect();
                let rows: Vec<OrderRow> = orders::table.filter(orders::id.eq_any(keys)).load(conn)?;
                let mut kept: HashMap<OrderId, Option<String>> = HashMap::new();
                for row in rows {
                    let id = OrderId(uuid(row.id())?);
                    let not = match row.into_order() {
                        Ok(order) if job.means(&order) => None,
                        Ok(_) => Some(UNFIT.to_owned()),
                        Err(fault) => Some(damage(&fault)),
                    };
                    kept.insert(id, not);
                }
                // The gateway is only asked: what that tells is true whatever the order looked like when it was counted.
                let known = |(id, _): Meant| (id, kept.remove(&id).unwrap_or_else(|| Some(UNKNOWN.to_owned())));
                Ok(ids.into_iter().map(known).collect())
            })
            .await
    }

    /// Writes down what became of the next orders of a job, where somebody outside was asked for it: each with why it
    /// was not done, if it was not. Says how many those were: none if somebody else has passed them meanwhile. What
    /// was asked is written down also if the job was stopped in between.
    pub async fn pass_bulk(
        &self,
        job: &BulkJob,
        became: Vec<(OrderId, Option<String>)>,
        now: Instant,
    ) -> Result<usize> {
        let (id, place) = (job.id, job.place);
        self.lane
            .write(Urgency::Control, move |tx| {
                let is_ours =
                    |job: &BulkJob| job.place == place && matches!(job.state, BulkState::Running | BulkState::Stopped);
                let Some(mut job) = find(tx.conn()?, id)?.filter(is_ours) else { return Ok(0) };
                for (order_id, refused) in &became {
                    audit::insert(tx, &job.entry(*order_id, refused.as_deref(), now), refused.is_none())?;
                    job.pass(*order_id, refused.clone());
                }
                job.end_if_all_passed(now);
                save(tx, &job)?;
                Ok(became.len())
            })
            .await
    }
}

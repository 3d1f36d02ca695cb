//! What would be done to many orders, counted without doing it.

use std::collections::HashMap;

use diesel::prelude::*;

use super::super::sql::{Conn, RawId};
use super::{CHUNK, Counted, Deed, Sum};
use crate::lifecycle::{PaymentStatus, Refund, Stage, Status};
use crate::order::{Instant, OrderId};
use crate::store::browse::{self, Lot, Sieve};
use crate::store::rows::{uuid, word};
use crate::store::schema::orders;
use crate::store::{Result, Store};

impl Store {
    /// The orders of a lot that fit and to which it can be done now, each with its version, and what that would move.
    pub async fn count_bulk(
        &self,
        deed: Deed,
        lot: Lot,
        sieve: Sieve,
        now: Instant,
    ) -> Result<(Vec<(OrderId, i64)>, Counted)> {
        self.readers
            .read(move |conn| {
                let found = browse::find(conn, lot, &sieve, None, now)?;
                let mut counted = Counted { is_partial: found.is_partial, ..Counted::default() };
                let mut ids = Vec::with_capacity(found.keys.len());
                for keys in found.keys.chunks(CHUNK) {
                    let mut rows = light(conn, keys)?;
                    for key in keys {
                        let id = OrderId(uuid(key)?);
                        let Some(row) = rows.remove(&id) else { continue };
                        if !deed.is_possible(&row) {
                            counted.left_out += 1;
                            continue;
                        }
                        let known = counted.sums.iter().position(|sum| sum.currency == row.currency);
                        let at = known.unwrap_or_else(|| {
                            counted.sums.push(Sum { currency: row.currency.clone(), ..Sum::default() });
                            counted.sums.len() - 1
                        });
                        deed.add(&row, &mut counted.sums[at]);
                        ids.push((id, row.version));
                    }
                }
                Ok((ids, counted))
            })
            .await
    }
}

impl Deed {
    fn is_possible(self, row: &Light) -> bool {
        match self.kind() {
            Some(command) => command.allowed_in(row.status, row.payment, row.stage),
            None => row.payment != PaymentStatus::None,
        }
    }

    fn add(self, row: &Light, sum: &mut Sum) {
        use PaymentStatus as P;
        let is_held = matches!(row.payment, P::Authorized | P::CaptureFailed);
        match self {
            Self::CancelOrder { refund, .. } => match row.payment {
                P::Authorized | P::CaptureFailed => sum.void += row.authorized,
                P::Authorizing | P::ActionRequired | P::Unknown => sum.uncertain += row.total,
                P::Captured | P::PartiallyRefunded if refund == Refund::Full => {
                    sum.refund += row.captured - row.refunded;
                }
                _ => {}
            },
            Self::RetryOrder if row.payment == P::CaptureFailed => sum.capture += row.authorized,
            Self::ForceComplete if is_held => sum.capture += row.authorized,
            Self::LookUpPayment if row.payment == P::Unknown => sum.uncertain += row.total,
            Self::RetryOrder | Self::ForceComplete | Self::LookUpPayment => {}
        }
    }
}

/// As much of an order as is counted.
struct Light {
    version: i64,
    status: Status,
    payment: PaymentStatus,
    stage: Option<Stage>,
    total: i64,
    authorized: i64,
    captured: i64,
    refunded: i64,
    currency: String,
}

type LightRow = (RawId, i64, String, String, Option<String>, i64, i64, i64, i64, String);

fn light(conn: &mut Conn, keys: &[RawId]) -> Result<HashMap<OrderId, Light>> {
    let rows: Vec<LightRow> = orders::table
        .filter(orders::id.eq_any(keys))
        .select((
            orders::id,
            orders::version,
            orders::status,
            orders::payment_status,
            orders::stage,
            orders::total,
            orders::authorized,
            orders::captured,
            orders::refunded,
            orders::currency,
        ))
        .load(conn)?;
    let read = |(id, version, status, payment, stage, total, authorized, captured, refunded, currency): LightRow| -> Result<_> {
        let (status, payment) = (word(&status)?, word(&payment)?);
        let stage = stage.as_deref().map(word).transpose()?;
        let light = Light { version, status, payment, stage, total, authorized, captured, refunded, currency };
        Ok((OrderId(uuid(&id)?), light))
    };
    rows.into_iter().map(read).collect()
}

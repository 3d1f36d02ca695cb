//! What operators look for among all orders. Bounded: no question reads more than a window of the history.

use diesel::prelude::*;

use super::rows::{OrderRow, or_log, raw, uuid};
use super::schema::orders;
use super::sql::{Conn, MultiBackend, RawId};
use super::{Result, Store};
use crate::lifecycle::{Stage, Status};
use crate::order::{OrderId, PartnerId};
use crate::state::Order;

/// Rows of the history that one question may read.
const WINDOW: i64 = 5_000;

/// What all of the orders that are looked for have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    pub status: Option<Status>,
    /// What is to be done next.
    pub stage: Option<Stage>,
    /// Set aside for an operator.
    pub parked: Option<bool>,
    pub partner: Option<PartnerId>,
}

/// Orders that were found, newest first.
#[derive(Debug)]
pub struct Found {
    pub orders: Vec<Order>,
    /// Where to go on: below this id. `None` at the end. There may be more even if nothing was found.
    pub below: Option<OrderId>,
}

impl Store {
    /// Orders of all partners with ids below `below`, newest first, also deleted ones.
    ///
    /// What is parked, or stands in a stage, has an index of its own. Everything else is looked for in a window of
    /// the ids, which are in the order of creation: a rare status may need several windows.
    pub async fn search(&self, wanted: Wanted, below: Option<OrderId>, limit: usize) -> Result<Found> {
        self.readers
            .read(move |conn| {
                let below = raw(below.map_or(uuid::Uuid::max(), |id| id.0));
                let has_index = wanted.stage.is_some() || wanted.parked == Some(true);
                if has_index { live(conn, wanted, below, limit) } else { window(conn, wanted, below, limit) }
            })
            .await
    }
}

type Query<'q> = orders::BoxedQuery<'q, MultiBackend>;

fn matching<'q>(wanted: Wanted, below: &RawId, limit: usize) -> Query<'q> {
    let mut query = orders::table.filter(orders::id.lt(below.clone())).order(orders::id.desc()).into_boxed();
    if let Some(status) = wanted.status {
        query = query.filter(orders::status.eq(status.word()));
    }
    if let Some(stage) = wanted.stage {
        query = query.filter(orders::stage.eq(stage.word()));
    }
    if let Some(partner) = wanted.partner {
        query = query.filter(orders::partner_id.eq(raw(partner)));
    }
    query = match wanted.parked {
        Some(true) => query.filter(orders::parked_at.is_not_null()),
        Some(false) => query.filter(orders::parked_at.is_null()),
        None => query,
    };
    query.limit(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
}

/// Both the parked and the others of a stage, each by its own partial index.
fn live(conn: &mut Conn, wanted: Wanted, below: RawId, limit: usize) -> Result<Found> {
    let mut rows: Vec<OrderRow> = Vec::new();
    for parked in [true, false] {
        if wanted.parked.is_none_or(|only| only == parked) {
            rows.extend(matching(Wanted { parked: Some(parked), ..wanted }, &below, limit).load::<OrderRow>(conn)?);
        }
    }
    rows.sort_by(|one, other| other.id().cmp(one.id()));
    cut(rows, limit, None)
}

fn window(conn: &mut Conn, wanted: Wanted, below: RawId, limit: usize) -> Result<Found> {
    let end: Option<RawId> = orders::table
        .filter(orders::id.lt(below.clone()))
        .order(orders::id.desc())
        .select(orders::id)
        .offset(WINDOW - 1)
        .first(conn)
        .optional()?;
    let mut query = matching(wanted, &below, limit);
    if let Some(end) = &end {
        query = query.filter(orders::id.ge(end.clone()));
    }
    cut(query.load(conn)?, limit, end)
}

/// The page is cut among the rows, before they are read: one that cannot be read must not end the search.
fn cut(mut rows: Vec<OrderRow>, limit: usize, rest: Option<RawId>) -> Result<Found> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let below = if more { rows.last().map(|row| row.id().clone()) } else { rest };
    let below = below.map(|id| uuid(&id).map(OrderId)).transpose()?;
    Ok(Found { orders: rows.into_iter().filter_map(|row| or_log(row.into_order())).collect(), below })
}

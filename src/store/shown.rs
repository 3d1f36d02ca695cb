//! Reading at the primary what is at least as fresh as a position: one rule for lists and for single orders.

use std::collections::HashMap;
use std::time::Duration;

use diesel::prelude::*;

use super::position::{Place, Position};
use super::present::Unreadable;
use super::rows::raw;
use super::schema::{order_names, orders};
use super::sql::Conn;
use super::{Error, Result, Store};
use crate::admission::Revision;
use crate::order::{CustomerId, PartnerId};
use crate::state::Order;

/// How long an answer waits for the primary to show what its reader has seen already: a replica may show a commit before
/// the primary does, while that waits for a synchronous standby.
const CATCHING_UP: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How what was found compares with what its reader has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    All,
    /// It may come.
    Less,
    /// Another order has the place of one that the reader has seen: that one never comes back.
    Another,
}

/// What was found at the primary.
pub(super) struct Look<T> {
    pub found: T,
    /// Everything up to there was visible, where no commit waits for a standby.
    pub holds: Place,
    /// The position to go on from if the reader's is lost.
    pub now: Position,
    pub shows: Shows,
}

/// Looks at the primary until what is found there is no older than what its reader has seen.
pub(super) struct Looking<'s> {
    store: &'s Store,
    seen: Option<&'s Position>,
    until: tokio::time::Instant,
}

impl Store {
    /// Another database's position cannot be compared, and there only the primary is certainly fresh enough: it asks for
    /// nothing more.
    pub(super) fn looking<'s>(&'s self, seen: Option<&'s Position>) -> Looking<'s> {
        let seen = seen.filter(|seen| seen.cluster == self.cluster);
        Looking { store: self, seen, until: tokio::time::Instant::now() + CATCHING_UP }
    }
}

impl Looking<'_> {
    /// What was found, if it is no older than what the reader has seen; `None` after a moment, to look again.
    ///
    /// # Errors
    /// [`Unreadable`]: it has diverged, or was not shown within a second.
    pub async fn judge<T>(&self, look: Look<T>) -> std::result::Result<Option<T>, Unreadable> {
        let Look { found, holds, now, shows } = look;
        let Some(seen) = self.seen else { return Ok(Some(found)) };
        let is_held = self.store.replicas.holds(holds, seen.at);
        if is_held == Some(true) && shows == Shows::All {
            return Ok(Some(found));
        }
        // A new history begins with all that the one before it had handed over: what is missing is lost, also where the
        // server does not let us read where that one ended.
        let is_lost = shows == Shows::Less && seen.at.timeline < holds.timeline;
        let is_cut_off = is_held == Some(false) && seen.at.timeline <= holds.timeline;
        if self.store.is_alone || shows == Shows::Another || is_lost || is_cut_off {
            return Err(Unreadable::HistoryDiverged(now));
        }
        if tokio::time::Instant::now() >= self.until {
            let fault = "the primary does not show yet what this reader has seen";
            return Err(Error::Unavailable(fault.into()).into());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        Ok(None)
    }
}

impl Position {
    /// How an order compares with what the position says of it.
    pub(super) fn shown_by(&self, order: &Order) -> Shows {
        let revision = self.revision_of(order.partner_id, &order.customer_id).unwrap_or_default();
        if revision.number == order.number && revision.nonce != order.nonce {
            return Shows::Another;
        }
        match self.version_of(order.id) {
            Some(version) if order.version < version => Shows::Less,
            _ => Shows::All,
        }
    }
}

/// Whether a snapshot shows what the position says of this customer: its newest order, and those that a replica showed.
pub(super) fn shown_at(conn: &mut Conn, partner: PartnerId, customer: &CustomerId, seen: &Position) -> Result<Shows> {
    let Some(revision) = seen.revision_of(partner, customer) else { return Ok(Shows::All) };
    let newest = Some(revision.number).filter(|number| *number > 0);
    let numbers: Vec<i64> = newest.into_iter().chain(seen.shown().iter().map(|shown| shown.number)).collect();
    if numbers.is_empty() {
        return Ok(Shows::All);
    }
    let found: Vec<(i64, i64, i64)> = order_names::table
        .inner_join(orders::table.on(orders::id.eq(order_names::order_id)))
        .filter(order_names::partner_id.eq(raw(partner)))
        .filter(order_names::customer_id.eq(&customer.0))
        .filter(order_names::number.eq_any(numbers))
        .select((order_names::number, order_names::nonce, orders::version))
        .load(conn)?;
    let found: HashMap<i64, (i64, i64)> = found.into_iter().map(|(number, nonce, of)| (number, (nonce, of))).collect();
    Ok(compare(&found, revision, seen))
}

/// `found` has nonces and versions by the numbers of orders.
fn compare(found: &HashMap<i64, (i64, i64)>, revision: Revision, seen: &Position) -> Shows {
    if found.get(&revision.number).is_some_and(|(nonce, _)| *nonce != revision.nonce) {
        return Shows::Another;
    }
    let is_there = revision.number == 0 || found.contains_key(&revision.number);
    let is_shown = |number, version| found.get(&number).is_some_and(|(_, now)| *now >= version);
    let are_shown = seen.shown().iter().all(|shown| is_shown(shown.number, shown.version));
    if is_there && are_shown { Shows::All } else { Shows::Less }
}

//! Statements of the hot paths that diesel would prepare anew each time they are run.
//!
//! Two more rules keep parsing off the lane, wherever it reads. No `LIMIT`: it is a parameter, and SQLite plans a
//! statement anew whenever one is bound to it; `get_result` and `load_iter` simply stop reading. And no `eq_any`:
//! diesel does not cache it.

use diesel::prelude::*;
use diesel::query_builder::{AsChangeset, AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary};
use diesel::sqlite::{Sqlite, SqliteConnection};

use super::schema::orders;
use crate::order::OrderId;
use crate::state::Order;

/// An update of one order, by compare-and-set. Diesel never caches an update, because a changeset may leave columns out; those of the
/// orders do not, so that the text depends on nothing but the type of the changes.
pub(super) struct OrderUpdate<Changes> {
    changes: Changes,
    id: OrderId,
    fence: i64,
    version: i64,
}

/// Updates the row of an order if it is still as it was `before`. `changes` must name the same columns whatever its values are: `treat_none_as_null`, and no `Option` of a change.
pub(super) fn update_order<C>(before: &Order, changes: C) -> OrderUpdate<C::Changeset>
where
    C: AsChangeset<Target = orders::table>,
{
    OrderUpdate { changes: changes.as_changeset(), id: before.id, fence: before.task.fence, version: before.version }
}

impl<Changes: QueryFragment<Sqlite>> QueryFragment<Sqlite> for OrderUpdate<Changes> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        pass.push_sql("UPDATE orders SET ");
        self.changes.walk_ast(pass.reborrow())?;
        pass.push_sql(" WHERE id = ");
        pass.push_bind_param::<Binary, _>(self.id.0.as_bytes().as_slice())?;
        pass.push_sql(" AND fence = ");
        pass.push_bind_param::<BigInt, _>(&self.fence)?;
        pass.push_sql(" AND version = ");
        pass.push_bind_param::<BigInt, _>(&self.version)
    }
}

impl<Changes: 'static> QueryId for OrderUpdate<Changes> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<Changes> RunQueryDsl<SqliteConnection> for OrderUpdate<Changes> {}

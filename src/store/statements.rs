//! Statements of the hot paths: inserts and updates whose text depends on nothing but their type.
//!
//! diesel would build and prepare them anew each time they are run (a row may leave columns out), and walks their
//! columns several times to find out. These name their columns once and are prepared once.
//!
//! Two more rules keep parsing off the lane, wherever it reads. No `LIMIT`: it is a parameter, and SQLite plans a
//! statement anew whenever one is bound to it; `get_result` and `load_iter` simply stop reading. And no `eq_any`:
//! diesel does not cache it.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};

use crate::state::Order;

/// Columns of a table, and a value for each.
pub(super) trait Columns: 'static {
    const TABLE: &'static str;
    /// Separated by commas.
    fn push_names(pass: &mut AstPass<'_, '_, Sqlite>);
    /// Separated by commas, each behind its column's name and `=` where that is wanted.
    fn push_values<'b>(&'b self, named: bool, pass: &mut AstPass<'_, 'b, Sqlite>) -> QueryResult<()>;
}

/// Declares a struct whose fields are columns of a table, named and typed as the schema has them.
macro_rules! columns {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident in $table:ident {
            $first:ident: $first_type:ty,
            $($field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        $visibility struct $name {
            pub(in crate::store) $first: $first_type,
            $(pub(in crate::store) $field: $type,)*
        }

        impl $crate::store::statements::Columns for $name {
            const TABLE: &'static str = stringify!($table);

            fn push_names(pass: &mut diesel::query_builder::AstPass<'_, '_, diesel::sqlite::Sqlite>) {
                pass.push_sql(concat!(stringify!($first) $(, ", ", stringify!($field))*));
            }

            fn push_values<'b>(
                &'b self,
                named: bool,
                pass: &mut diesel::query_builder::AstPass<'_, 'b, diesel::sqlite::Sqlite>,
            ) -> diesel::QueryResult<()> {
                use diesel::dsl::SqlTypeOf;
                use $crate::store::schema::$table as columns;

                if named {
                    pass.push_sql(concat!(stringify!($first), " = "));
                }
                pass.push_bind_param::<SqlTypeOf<columns::$first>, $first_type>(&self.$first)?;
                $(
                    pass.push_sql(if named { concat!(", ", stringify!($field), " = ") } else { ", " });
                    pass.push_bind_param::<SqlTypeOf<columns::$field>, $type>(&self.$field)?;
                )*
                Ok(())
            }
        }
    };
}
pub(super) use columns;

impl<A: Columns, B: Columns> Columns for (A, B) {
    const TABLE: &'static str = A::TABLE;

    fn push_names(pass: &mut AstPass<'_, '_, Sqlite>) {
        A::push_names(pass);
        pass.push_sql(", ");
        B::push_names(pass);
    }

    fn push_values<'b>(&'b self, named: bool, pass: &mut AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.0.push_values(named, pass)?;
        pass.push_sql(", ");
        self.1.push_values(named, pass)
    }
}

/// `INSERT` of one row.
pub(super) struct Insert<R>(pub R);

impl<R: Columns> QueryFragment<Sqlite> for Insert<R> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        pass.push_sql("INSERT INTO ");
        pass.push_sql(R::TABLE);
        pass.push_sql(" (");
        R::push_names(&mut pass);
        pass.push_sql(") VALUES (");
        self.0.push_values(false, &mut pass)?;
        pass.push_sql(")");
        Ok(())
    }
}

impl<R: Columns> QueryId for Insert<R> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<R> RunQueryDsl<SqliteConnection> for Insert<R> {}

/// `UPDATE` of an order by compare-and-set: only if its row still is as it was `before`. A claim raises the fence,
/// every other change the version.
pub(super) struct Update<'a, C> {
    pub before: &'a Order,
    pub changes: C,
}

impl<C: Columns> QueryFragment<Sqlite> for Update<'_, C> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        pass.push_sql("UPDATE ");
        pass.push_sql(C::TABLE);
        pass.push_sql(" SET ");
        self.changes.push_values(true, &mut pass)?;
        pass.push_sql(" WHERE id = ");
        pass.push_bind_param::<Binary, _>(self.before.id.0.as_bytes().as_slice())?;
        pass.push_sql(" AND fence = ");
        pass.push_bind_param::<BigInt, _>(&self.before.task.fence)?;
        pass.push_sql(" AND version = ");
        pass.push_bind_param::<BigInt, _>(&self.before.version)
    }
}

impl<C: Columns> QueryId for Update<'_, C> {
    type QueryId = Update<'static, C>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<C> RunQueryDsl<SqliteConnection> for Update<'_, C> {}

/// Writes beside the number of an order when it was closed.
pub(super) struct CloseName<'a> {
    pub order: &'a Order,
    pub closed_at: Option<i64>,
}

impl QueryFragment<Sqlite> for CloseName<'_> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        pass.push_sql("UPDATE order_names SET closed_at = ");
        pass.push_bind_param::<Nullable<BigInt>, _>(&self.closed_at)?;
        pass.push_sql(" WHERE partner_id = ");
        pass.push_bind_param::<Binary, _>(self.order.partner_id.0.as_bytes().as_slice())?;
        pass.push_sql(" AND customer_id = ");
        pass.push_bind_param::<Text, _>(&self.order.customer_id.0)?;
        pass.push_sql(" AND number = ");
        pass.push_bind_param::<BigInt, _>(&self.order.number)?;
        pass.push_sql(" AND idempotency_key = ''");
        Ok(())
    }
}

impl QueryId for CloseName<'_> {
    type QueryId = CloseName<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<SqliteConnection> for CloseName<'_> {}

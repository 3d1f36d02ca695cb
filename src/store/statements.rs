//! Statements of the hot paths, whose text depends on nothing but their type.
//!
//! diesel would build and prepare inserts and updates anew each time they are run (a row may leave columns out), and
//! walks the columns of every statement several times to find out. These name their columns once and are prepared once.
//!
//! Two more rules keep parsing off the lane, wherever it reads. No `LIMIT`: it is a parameter, and SQLite plans a
//! statement anew whenever one is bound to it; `get_result` and `load_iter` simply stop reading. And no `eq_any`:
//! diesel does not cache it.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::sql::{At, Id, Millis, RawId};
use crate::order::{OrderId, PartnerId};
use crate::state::Order;

/// Columns of a table.
pub(super) trait Columns: 'static {
    const TABLE: &'static str;
}

/// Columns that can be named at once.
pub(super) trait Row: Columns {
    /// Separated by commas.
    const NAMES: &'static str;
}

/// A value for each of some columns, as an engine takes it.
pub(super) trait Values<DB: Backend>: Columns {
    /// Separated by commas, each behind its column's name and `=` where that is wanted.
    fn push_values<'b>(&'b self, named: bool, pass: &mut AstPass<'_, 'b, DB>) -> QueryResult<()>;
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
        }

        $crate::store::statements::values!(diesel::sqlite::Sqlite, $name in $table { $first: $first_type, $($field: $type,)* });
        $crate::store::statements::values!(diesel::pg::Pg, $name in $table { $first: $first_type, $($field: $type,)* });

        impl $crate::store::statements::Row for $name {
            const NAMES: &'static str = concat!(stringify!($first) $(, ", ", stringify!($field))*);
        }
    };
}
pub(super) use columns;

/// As [`columns`], with the composite type of PostgreSQL that has the same ones in the same order: as that many rows are
/// sent there at once.
macro_rules! rows {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident as $composite:ident in $table:ident {
            $first:ident: $first_type:ty,
            $($field:ident: $type:ty,)*
        }
    ) => {
        $crate::store::statements::columns! {
            $(#[$meta])*
            #[derive(Debug)]
            $visibility struct $name in $table {
                $first: $first_type,
                $($field: $type,)*
            }
        }

        impl $crate::store::sets::Composite for $name {
            const TYPE: &'static str = stringify!($composite);
            const CHANGES: &'static str = concat!(
                stringify!($first), " = new.", stringify!($first)
                $(, ", ", stringify!($field), " = new.", stringify!($field))*
            );
        }

        impl diesel::serialize::ToSql<$crate::store::sets::TypeOf<$name>, diesel::pg::Pg> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
            ) -> diesel::serialize::Result {
                use diesel::dsl::SqlTypeOf;
                use $crate::store::schema::$table as columns;

                type Types = (SqlTypeOf<columns::$first>, $(SqlTypeOf<columns::$field>,)*);
                diesel::serialize::WriteTuple::<Types>::write_tuple(&(&self.$first, $(&self.$field,)*), out)
            }
        }
    };
}
pub(super) use rows;

macro_rules! values {
    ($engine:ty, $name:ident in $table:ident { $first:ident: $first_type:ty, $($field:ident: $type:ty,)* }) => {
        impl $crate::store::statements::Values<$engine> for $name {
            fn push_values<'b>(
                &'b self,
                named: bool,
                pass: &mut diesel::query_builder::AstPass<'_, 'b, $engine>,
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
pub(super) use values;

impl<A: Columns, B: Columns> Columns for (A, B) {
    const TABLE: &'static str = A::TABLE;
}

impl<DB: Backend, A: Values<DB>, B: Values<DB>> Values<DB> for (A, B) {
    fn push_values<'b>(&'b self, named: bool, pass: &mut AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.push_values(named, pass)?;
        pass.push_sql(", ");
        self.1.push_values(named, pass)
    }
}

/// Either engine: what they have in common as diesel sees them.
pub(super) trait Engine: Backend + HasSqlType<Id> + HasSqlType<At> {}

impl Engine for Sqlite {}
impl Engine for Pg {}

/// `INSERT` of one row.
pub(super) struct Insert<R>(pub R);

impl<DB: Backend, R: Row + Values<DB>> QueryFragment<DB> for Insert<R> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        pass.push_sql("INSERT INTO ");
        pass.push_sql(R::TABLE);
        pass.push_sql(" (");
        pass.push_sql(R::NAMES);
        pass.push_sql(") VALUES (");
        self.0.push_values(false, &mut pass)?;
        pass.push_sql(")");
        Ok(())
    }
}

impl<R: Row> QueryId for Insert<R> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<R, C> RunQueryDsl<C> for Insert<R> {}

/// `UPDATE` of an order by compare-and-set: only if its row still is as it was `before`. A claim raises the fence,
/// every other change the version.
pub(super) struct Update<'a, C> {
    pub before: &'a Order,
    pub changes: C,
}

impl<DB: Engine, C: Values<DB>> QueryFragment<DB> for Update<'_, C>
where
    OrderId: ToSql<Id, DB>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        pass.push_sql("UPDATE ");
        pass.push_sql(C::TABLE);
        pass.push_sql(" SET ");
        self.changes.push_values(true, &mut pass)?;
        pass.push_sql(" WHERE id = ");
        pass.push_bind_param::<Id, _>(&self.before.id)?;
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

impl<C, Conn> RunQueryDsl<Conn> for Update<'_, C> {}

/// Writes beside the number of an order when it was closed.
pub(super) struct CloseName<'a> {
    pub order: &'a Order,
    pub closed_at: Option<Millis>,
}

impl<DB: Engine> QueryFragment<DB> for CloseName<'_>
where
    PartnerId: ToSql<Id, DB>,
    Option<Millis>: ToSql<Nullable<At>, DB>,
    i64: ToSql<BigInt, DB>,
    str: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        pass.push_sql("UPDATE order_names SET closed_at = ");
        pass.push_bind_param::<Nullable<At>, _>(&self.closed_at)?;
        pass.push_sql(" WHERE partner_id = ");
        pass.push_bind_param::<Id, _>(&self.order.partner_id)?;
        pass.push_sql(" AND customer_id = ");
        pass.push_bind_param::<Text, str>(&self.order.customer_id.0)?;
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

impl<C> RunQueryDsl<C> for CloseName<'_> {}

/// What is asked on the hot paths. Its answers have the columns of `Answer`.
pub(super) trait Question: 'static {
    type Answer;
    const COLUMNS: &'static str;
    /// From `FROM` on, with a `?` for each value.
    const FROM: &'static str;
}

/// A value in a question.
pub(super) enum Value<'a> {
    Id(RawId),
    Text(&'a str),
    At(Millis),
}

/// A question with its values.
pub(super) struct Ask<'a, Q, const N: usize> {
    values: [Value<'a>; N],
    question: PhantomData<Q>,
}

impl<'a, Q: Question, const N: usize> Ask<'a, Q, N> {
    pub fn with(values: [Value<'a>; N]) -> Self {
        Self { values, question: PhantomData }
    }
}

impl<DB: Engine, Q: Question, const N: usize> QueryFragment<DB> for Ask<'_, Q, N>
where
    RawId: ToSql<Id, DB>,
    Millis: ToSql<At, DB>,
    str: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        pass.push_sql("SELECT ");
        pass.push_sql(Q::COLUMNS);
        pass.push_sql(" ");
        let mut parts = Q::FROM.split('?');
        // The values first: when they end, the part behind the last of them is still there.
        for (value, part) in self.values.iter().zip(parts.by_ref()) {
            pass.push_sql(part);
            match value {
                Value::Id(id) => pass.push_bind_param::<Id, RawId>(id)?,
                Value::Text(text) => pass.push_bind_param::<Text, str>(text)?,
                Value::At(at) => pass.push_bind_param::<At, Millis>(at)?,
            }
        }
        parts.for_each(|part| pass.push_sql(part));
        Ok(())
    }
}

impl<Q: Question, const N: usize> QueryId for Ask<'_, Q, N> {
    type QueryId = Ask<'static, Q, N>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<Q: Question, const N: usize> Query for Ask<'_, Q, N> {
    type SqlType = Q::Answer;
}

impl<C, Q, const N: usize> RunQueryDsl<C> for Ask<'_, Q, N> {}

/// Declares questions, each with the columns and SQL types of its answers.
macro_rules! questions {
    ($($(#[$meta:meta])* $name:ident: $answer:ty, $columns:expr, $from:literal;)*) => {$(
        $(#[$meta])*
        pub(super) struct $name;

        impl $crate::store::statements::Question for $name {
            type Answer = $answer;
            const COLUMNS: &'static str = $columns;
            const FROM: &'static str = $from;
        }
    )*};
}
pub(super) use questions;

//! Statements of PostgreSQL for many rows at once. There each statement is a trip to the server and back, so that a
//! batch makes few of them, whose text is the same however many rows there are. They go there as arrays of composite
//! types: the server spreads out an array of rows in a fifth of the time that it takes for an array of each column.

use std::marker::PhantomData;

use diesel::pg::{Pg, PgConnection, PgTypeMetadata};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, BigInt, HasSqlType, SqlType, Text, is_nullable};

use super::log;
use super::rows::event::NewEventRow;
use super::rows::name::{NameEndRow, NameRow};
use super::rows::{ChangedColumns, Mark, OrderRow, SeldomChangedColumns, raw};
use super::sql::{At, Id, Millis, RawId};
use super::statements::Row;
use crate::order::OrderId;
use crate::state::Order;

/// A row for which there is a composite type, which the migrations create.
pub(super) trait Composite: Row + ToSql<TypeOf<Self>, Pg> + Sized {
    const TYPE: &'static str;
    /// Each column set to that of `new`.
    const CHANGES: &'static str;
}

/// The composite type of a row.
pub(super) struct TypeOf<R>(PhantomData<R>);

impl<R: 'static> SqlType for TypeOf<R> {
    type IsNull = is_nullable::NotNull;
}

impl<R: Composite> HasSqlType<TypeOf<R>> for Pg {
    fn metadata(lookup: &mut Self::MetadataLookup) -> PgTypeMetadata {
        lookup.lookup_type(R::TYPE, None)
    }
}

/// Changes of orders, each by compare-and-set as [`super::statements::Update`] has it.
#[derive(Default)]
pub(super) struct UpdateAll {
    before: Vec<Mark>,
    changed: Vec<ChangedColumns>,
    seldom: Vec<SeldomChangedColumns>,
}

impl UpdateAll {
    pub fn push(&mut self, before: &Order, after: &Order) {
        self.before.push(Mark::of(before));
        self.changed.push(ChangedColumns::of(after));
        self.seldom.push(SeldomChangedColumns::of(after));
    }

    pub fn len(&self) -> usize {
        self.before.len()
    }

    pub fn holds(&self, id: OrderId) -> bool {
        let id = raw(id);
        self.before.iter().any(|mark| mark.id == id)
    }

    /// The rows are locked in the order of their ids, as everybody does it: nobody waits for somebody who waits for him.
    fn push_update<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql("UPDATE orders SET ");
        pass.push_sql(ChangedColumns::CHANGES);
        pass.push_sql(", ");
        pass.push_sql(SeldomChangedColumns::CHANGES);
        pass.push_sql(" FROM (SELECT * FROM unnest(");
        push_rows(&self.before, pass)?;
        pass.push_sql(", ");
        push_rows(&self.changed, pass)?;
        pass.push_sql(", ");
        push_rows(&self.seldom, pass)?;
        pass.push_sql(") AS new (id_before, fence_before, version_before, ");
        pass.push_sql(ChangedColumns::NAMES);
        pass.push_sql(", ");
        pass.push_sql(SeldomChangedColumns::NAMES);
        pass.push_sql(
            ") ORDER BY id_before) AS new
            WHERE orders.id = id_before AND orders.fence = fence_before AND orders.version = version_before RETURNING 1",
        );
        Ok(())
    }
}

/// All that a batch writes, in one statement and thereby one trip.
#[derive(Default)]
pub(super) struct WriteAll {
    pub updates: UpdateAll,
    pub ends: Vec<NameEndRow>,
    pub births: Vec<OrderRow>,
    pub names: Vec<NameRow>,
    /// Their positions are counted within the transaction.
    pub events: Vec<NewEventRow>,
}

impl WriteAll {
    pub fn is_empty(&self) -> bool {
        let Self { updates, ends, births, names, events } = self;
        updates.len() == 0 && ends.is_empty() && births.is_empty() && names.is_empty() && events.is_empty()
    }

    /// Gives how many orders were changed, each by compare-and-set.
    pub fn write(self, conn: &mut PgConnection) -> QueryResult<usize> {
        let changed: i64 = self.get_result(conn)?;
        Ok(usize::try_from(changed).unwrap_or_default())
    }
}

impl QueryFragment<Pg> for WriteAll {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Self { updates, ends, births, names, events } = self;
        // What there is nothing of is left out: the server prepares itself for it, and that takes longer than a row.
        pass.push_sql("WITH changed AS (");
        match updates.len() {
            0 => pass.push_sql("SELECT WHERE FALSE"),
            _ => updates.push_update(&mut pass)?,
        }
        if !ends.is_empty() {
            pass.push_sql("), ended AS (UPDATE order_names AS old SET closed_at = new.closed_at FROM unnest(");
            push_rows(ends, &mut pass)?;
            pass.push_sql(
                ") AS new WHERE old.partner_id = new.partner_id AND old.customer_id = new.customer_id
                    AND old.number = new.number AND old.idempotency_key = ''",
            );
        }
        if !births.is_empty() {
            pass.push_sql("), born AS (");
            insert_all(births, OrderRow::NAMES, &mut pass)?;
        }
        if !names.is_empty() {
            pass.push_sql("), named AS (");
            insert_all(names, NameRow::NAMES, &mut pass)?;
        }
        if !events.is_empty() {
            pass.push_sql("), told AS (");
            insert_all(events, &log::placed(NewEventRow::NAMES), &mut pass)?;
        }
        pass.push_sql(") SELECT count(*) FROM changed");
        Ok(())
    }
}

fn push_rows<'b, R: Composite>(rows: &'b [R], pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
    pass.push_bind_param::<Array<TypeOf<R>>, [R]>(rows)
}

fn insert_all<'b, R: Composite>(rows: &'b [R], selected: &str, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
    pass.push_sql("INSERT INTO ");
    pass.push_sql(R::TABLE);
    pass.push_sql(" (");
    pass.push_sql(R::NAMES);
    pass.push_sql(") SELECT ");
    pass.push_sql(selected);
    pass.push_sql(" FROM unnest(");
    push_rows(rows, pass)?;
    // By their order here: two columns of one type that have changed places in the code do not change their meaning.
    pass.push_sql(") AS new (");
    pass.push_sql(R::NAMES);
    pass.push_sql(")");
    Ok(())
}

impl QueryId for WriteAll {
    type QueryId = ();
    // Its text depends on what there is of it.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for WriteAll {
    type SqlType = BigInt;
}

impl RunQueryDsl<PgConnection> for WriteAll {}

/// A question about many things at once, or something that is done to them.
pub(super) trait SetQuestion: 'static {
    type Answer;
    /// With a `?` for each array.
    const TEXT: &'static str;
}

/// What is asked about.
pub(super) enum Values {
    Ids(Vec<RawId>),
    Texts(Vec<String>),
    Ats(Vec<Millis>),
}

/// A question with its arrays.
pub(super) struct AskAll<Q, const N: usize> {
    values: [Values; N],
    question: PhantomData<Q>,
}

impl<Q: SetQuestion, const N: usize> AskAll<Q, N> {
    pub fn with(values: [Values; N]) -> Self {
        Self { values, question: PhantomData }
    }
}

impl<Q: SetQuestion, const N: usize> QueryFragment<Pg> for AskAll<Q, N> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut parts = Q::TEXT.split('?');
        for (values, part) in self.values.iter().zip(parts.by_ref()) {
            pass.push_sql(part);
            match values {
                Values::Ids(ids) => pass.push_bind_param::<Array<Id>, Vec<RawId>>(ids)?,
                Values::Texts(texts) => pass.push_bind_param::<Array<Text>, Vec<String>>(texts)?,
                Values::Ats(ats) => pass.push_bind_param::<Array<At>, Vec<Millis>>(ats)?,
            }
        }
        parts.for_each(|part| pass.push_sql(part));
        Ok(())
    }
}

impl<Q: SetQuestion, const N: usize> QueryId for AskAll<Q, N> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<Q: SetQuestion, const N: usize> Query for AskAll<Q, N> {
    type SqlType = Q::Answer;
}

impl<Q, const N: usize> RunQueryDsl<PgConnection> for AskAll<Q, N> {}

/// The index of what an answer of `WITH ORDINALITY` is about: there the first one has the number 1.
pub(super) fn index(place: i64) -> usize {
    usize::try_from(place - 1).unwrap_or_default()
}

/// Declares questions about many things, each with the SQL types of its answers.
macro_rules! set_questions {
    ($($(#[$meta:meta])* $name:ident: $answer:ty, $text:expr;)*) => {$(
        $(#[$meta])*
        pub(super) struct $name;

        impl $crate::store::sets::SetQuestion for $name {
            type Answer = $answer;
            const TEXT: &'static str = $text;
        }
    )*};
}
pub(super) use set_questions;

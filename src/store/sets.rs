//! Statements of PostgreSQL for many rows at once. There each statement is a trip to the server and back, so that a
//! batch makes few of them, whose text is the same however many rows there are: columns go there as arrays.

use std::marker::PhantomData;

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Text};

use super::log;
use super::rows::event::NewEventRows;
use super::rows::name::{NameEndRows, NameRows};
use super::rows::{ChangedColumns, ChangedRows, OrderRows, SeldomChangedColumns, SeldomChangedRows};
use super::sql::{At, Id, Millis, RawId};
use crate::state::Order;

/// Many rows, column by column.
pub(super) trait Rows: 'static {
    const TABLE: &'static str;
    /// The columns' names, separated by commas.
    const NAMES: &'static str;
    /// Each column set to that of `new`.
    const CHANGES: &'static str;
    fn is_empty(&self) -> bool;
    /// The columns, separated by commas.
    fn push_arrays<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

/// Changes of orders, each by compare-and-set as [`super::statements::Update`] has it.
#[derive(Default)]
pub(super) struct UpdateAll {
    ids: Vec<RawId>,
    fences: Vec<i64>,
    versions: Vec<i64>,
    changed: ChangedRows,
    seldom: SeldomChangedRows,
    /// Whether any of them changes one of these.
    is_seldom: bool,
}

impl UpdateAll {
    pub fn push(&mut self, before: &Order, after: &Order) {
        self.ids.push(before.id.into());
        self.fences.push(before.task.fence);
        self.versions.push(before.version);
        self.changed.push(ChangedColumns::of(after));
        let seldom = SeldomChangedColumns::of(after);
        self.is_seldom |= seldom != SeldomChangedColumns::of(before);
        self.seldom.push(seldom);
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn holds(&self, id: &RawId) -> bool {
        self.ids.contains(id)
    }

    /// The rows are locked in the order of their ids, as everybody does it: nobody waits for somebody who waits for him.
    fn push_update<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql("UPDATE orders SET ");
        pass.push_sql(ChangedRows::CHANGES);
        if self.is_seldom {
            pass.push_sql(", ");
            pass.push_sql(SeldomChangedRows::CHANGES);
        }
        pass.push_sql(" FROM (SELECT * FROM unnest(");
        pass.push_bind_param::<Array<Id>, Vec<RawId>>(&self.ids)?;
        pass.push_sql(", ");
        pass.push_bind_param::<Array<BigInt>, Vec<i64>>(&self.fences)?;
        pass.push_sql(", ");
        pass.push_bind_param::<Array<BigInt>, Vec<i64>>(&self.versions)?;
        pass.push_sql(", ");
        self.changed.push_arrays(pass)?;
        if self.is_seldom {
            pass.push_sql(", ");
            self.seldom.push_arrays(pass)?;
        }
        pass.push_sql(") AS new (id_before, fence_before, version_before, ");
        pass.push_sql(ChangedRows::NAMES);
        if self.is_seldom {
            pass.push_sql(", ");
            pass.push_sql(SeldomChangedRows::NAMES);
        }
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
    pub ends: NameEndRows,
    pub births: OrderRows,
    pub names: NameRows,
    /// Their positions are counted within the transaction.
    pub events: NewEventRows,
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
            ends.push_arrays(&mut pass)?;
            pass.push_sql(") AS new (");
            pass.push_sql(NameEndRows::NAMES);
            pass.push_sql(
                ") WHERE old.partner_id = new.partner_id AND old.customer_id = new.customer_id
                    AND old.number = new.number AND old.idempotency_key = ''",
            );
        }
        if !births.is_empty() {
            pass.push_sql("), born AS (");
            insert_all(births, "*", &mut pass)?;
        }
        if !names.is_empty() {
            pass.push_sql("), named AS (");
            insert_all(names, "*", &mut pass)?;
        }
        if !events.is_empty() {
            pass.push_sql("), told AS (");
            insert_all(events, &log::placed(NewEventRows::NAMES), &mut pass)?;
        }
        pass.push_sql(") SELECT count(*) FROM changed");
        Ok(())
    }
}

fn insert_all<'b, R: Rows>(rows: &'b R, selected: &str, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
    pass.push_sql("INSERT INTO ");
    pass.push_sql(R::TABLE);
    pass.push_sql(" (");
    pass.push_sql(R::NAMES);
    pass.push_sql(") SELECT ");
    pass.push_sql(selected);
    pass.push_sql(" FROM unnest(");
    rows.push_arrays(pass)?;
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

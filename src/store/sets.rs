//! Statements of PostgreSQL for many rows at once. There each statement is a trip to the server and back, so that a
//! batch makes few of them, whose text is the same however many rows there are: columns go there as arrays.

use std::marker::PhantomData;

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Nullable, Text};

use super::rows::{ChangedColumns, ChangedRows, SeldomChangedColumns, SeldomChangedRows};
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

/// `INSERT` of all of them.
pub(super) struct InsertAll<'a, R>(pub &'a R);

impl<R: Rows> QueryFragment<Pg> for InsertAll<'_, R> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql("INSERT INTO ");
        pass.push_sql(R::TABLE);
        pass.push_sql(" (");
        pass.push_sql(R::NAMES);
        pass.push_sql(") SELECT * FROM unnest(");
        self.0.push_arrays(&mut pass)?;
        pass.push_sql(")");
        Ok(())
    }
}

impl<R: Rows> QueryId for InsertAll<'_, R> {
    type QueryId = InsertAll<'static, R>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<R> RunQueryDsl<PgConnection> for InsertAll<'_, R> {}

/// Changes of orders, each by compare-and-set as [`super::statements::Update`] has it.
#[derive(Default)]
pub(super) struct UpdateAll {
    ids: Vec<RawId>,
    fences: Vec<i64>,
    versions: Vec<i64>,
    changed: ChangedRows,
    seldom: SeldomChangedRows,
}

impl UpdateAll {
    pub fn push(&mut self, before: &Order, after: &Order) {
        self.ids.push(before.id.into());
        self.fences.push(before.task.fence);
        self.versions.push(before.version);
        self.changed.push(ChangedColumns::of(after));
        // One that is named and stays as it is costs nothing here.
        self.seldom.push(SeldomChangedColumns::of(after));
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn holds(&self, id: &RawId) -> bool {
        self.ids.contains(id)
    }
}

impl QueryFragment<Pg> for UpdateAll {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql("UPDATE orders SET ");
        pass.push_sql(ChangedRows::CHANGES);
        pass.push_sql(", ");
        pass.push_sql(SeldomChangedRows::CHANGES);
        pass.push_sql(" FROM unnest(");
        pass.push_bind_param::<Array<Id>, Vec<RawId>>(&self.ids)?;
        pass.push_sql(", ");
        pass.push_bind_param::<Array<BigInt>, Vec<i64>>(&self.fences)?;
        pass.push_sql(", ");
        pass.push_bind_param::<Array<BigInt>, Vec<i64>>(&self.versions)?;
        pass.push_sql(", ");
        self.changed.push_arrays(&mut pass)?;
        pass.push_sql(", ");
        self.seldom.push_arrays(&mut pass)?;
        pass.push_sql(") AS new (id_before, fence_before, version_before, ");
        pass.push_sql(ChangedRows::NAMES);
        pass.push_sql(", ");
        pass.push_sql(SeldomChangedRows::NAMES);
        pass.push_sql(
            ") WHERE orders.id = id_before AND orders.fence = fence_before AND orders.version = version_before",
        );
        Ok(())
    }
}

impl QueryId for UpdateAll {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<PgConnection> for UpdateAll {}

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
    Numbers(Vec<i64>),
    Instants(Vec<Option<Millis>>),
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
                Values::Instants(at) => pass.push_bind_param::<Array<Nullable<At>>, Vec<Option<Millis>>>(at)?,
                Values::Numbers(numbers) => pass.push_bind_param::<Array<BigInt>, Vec<i64>>(numbers)?,
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

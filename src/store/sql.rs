//! The types of columns that the two engines name differently, and the connection that speaks to either.
//!
//! PostgreSQL has native types for ids, instants and documents; SQLite keeps them as BLOB, INTEGER and TEXT. Here they
//! are one type each, so that a query stands once for both.

use std::collections::BTreeSet;
use std::io::Write;

use diesel::backend::Backend;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgConnection, PgValue};
use diesel::r2d2::R2D2Connection;
use diesel::result::Error as Fault;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, HasSqlType, SqlType, Text};
use diesel::sqlite::{Sqlite, SqliteConnection, SqliteValue};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::{OrderId, PartnerId, ShopId};

/// A connection to either engine.
#[derive(diesel::MultiConnection)]
pub(super) enum Conn {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Runs an expression on the connection of the engine that there is: for what diesel does not offer for both at once,
/// and on the hot paths, where the detour costs SQLite half of its speed.
macro_rules! native {
    ($conn:expr, $native:ident => $run:expr) => {
        match $conn {
            $crate::store::sql::Conn::Sqlite($native) => $run,
            $crate::store::sql::Conn::Postgres($native) => $run,
        }
    };
}
pub(super) use native;

impl Conn {
    /// Runs `work` in a transaction that may write. Of SQLite it is the only one from its first statement on: one that
    /// read first and wrote then would fail as busy. On PostgreSQL each statement sees what was committed before it, and
    /// nobody else holds one of the `keys` meanwhile; everybody takes them in the order of their numbers.
    pub fn write<T, E: From<Fault>>(
        &mut self,
        keys: impl IntoIterator<Item = i64>,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let keys: BTreeSet<i64> = keys.into_iter().collect();
        if keys.is_empty() {
            return self.transaction_by("BEGIN IMMEDIATE", "BEGIN", work);
        }
        let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
        self.transaction_by("BEGIN IMMEDIATE", &format!("BEGIN; EXECUTE lock('{{{}}}')", keys.join(",")), work)
    }

    /// Whether it is one to PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Runs `work` on one snapshot.
    pub fn read<T, E: From<Fault>>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        self.transaction_by("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", work)
    }

    fn transaction_by<T, E: From<Fault>>(
        &mut self,
        sqlite: &str,
        postgres: &str,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(conn) => AnsiTransactionManager::begin_transaction_sql(conn, sqlite)?,
            Self::Postgres(conn) => AnsiTransactionManager::begin_transaction_sql(conn, postgres)?,
        }
        match work(self) {
            Ok(done) => {
                native!(self, conn => AnsiTransactionManager::commit_transaction(conn))?;
                Ok(done)
            }
            Err(fault) => match native!(self, conn => AnsiTransactionManager::rollback_transaction(conn)) {
                Ok(()) | Err(Fault::BrokenTransactionManager) => Err(fault),
                Err(broken) => Err(broken.into()),
            },
        }
    }

    /// Whether it can begin no other transaction.
    pub fn is_broken(&mut self) -> bool {
        native!(self, conn => R2D2Connection::is_broken(conn))
    }

    /// Whether it can be used again, given whether it has just answered. One that is of no use is given up.
    pub fn is_of_use(&mut self, has_answered: bool) -> bool {
        if let Self::Postgres(conn) = self
            && !has_answered
            && conn.batch_execute("SELECT 1").is_err()
        {
            self.give_up();
        }
        !self.is_broken()
    }

    /// It must not be used again: nobody knows what it still holds.
    pub fn give_up(&mut self) {
        native!(self, conn => AnsiTransactionManager::transaction_manager_status_mut(conn).set_in_error());
    }
}

/// A question that the engines are asked in words of their own: what stands in a document, or what diesel cannot say.
pub(super) struct Native {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

impl Native {
    pub fn of(&self, conn: &Conn) -> &'static str {
        match conn {
            Conn::Sqlite(_) => self.sqlite,
            Conn::Postgres(_) => self.postgres,
        }
    }
}

/// An id: `BLOB` of 16 bytes, or `uuid`.
#[derive(Clone, Copy, Debug, Default, SqlType, diesel::query_builder::QueryId)]
#[diesel(sqlite_type(name = "Binary"), postgres_type(oid = 2950, array_oid = 2951))]
pub struct Id;

/// An instant in milliseconds since 1970: `BIGINT`, or `timestamptz`.
#[derive(Clone, Copy, Debug, Default, SqlType, diesel::query_builder::QueryId)]
#[diesel(sqlite_type(name = "Long"), postgres_type(oid = 1184, array_oid = 1185))]
pub struct At;
impl diesel::sql_types::SqlOrd for At {}

/// A JSON document: `TEXT`, or `json`.
#[derive(Clone, Copy, Debug, Default, SqlType, diesel::query_builder::QueryId)]
#[diesel(sqlite_type(name = "Text"), postgres_type(oid = 114, array_oid = 199))]
pub struct Document;

/// An id as it stands in the database, whether or not it is one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, AsExpression, FromSqlRow)]
#[diesel(sql_type = Id)]
pub(super) struct RawId(pub Vec<u8>);

/// Milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, AsExpression, FromSqlRow, Serialize, Deserialize)]
#[serde(transparent)]
#[diesel(sql_type = At)]
pub(super) struct Millis(pub i64);

/// A document as it stands in the database.
#[derive(Clone, Debug, AsExpression, FromSqlRow)]
#[diesel(sql_type = Document)]
pub(super) struct Json(pub String);

impl From<Uuid> for RawId {
    fn from(id: Uuid) -> Self {
        Self(id.as_bytes().to_vec())
    }
}

macro_rules! ids {
    ($($id:ident),*) => {$(
        impl From<$id> for RawId {
            fn from(id: $id) -> Self {
                id.0.into()
            }
        }

        impl ToSql<Id, Sqlite> for $id {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value(self.0.as_bytes().as_slice());
                Ok(IsNull::No)
            }
        }

        impl ToSql<Id, Pg> for $id {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                out.write_all(self.0.as_bytes())?;
                Ok(IsNull::No)
            }
        }
    )*};
}

ids!(OrderId, PartnerId, ShopId);

/// PostgreSQL counts microseconds since the beginning of the year 2000.
const POSTGRES_EPOCH_MS: i64 = 946_684_800_000;

macro_rules! of_both_engines {
    ($($sql_type:ident: $rust_type:ident;)*) => {$(
        impl HasSqlType<$sql_type> for MultiBackend {
            fn metadata(lookup: &mut Self::MetadataLookup) -> Self::TypeMetadata {
                MultiBackend::lookup_sql_type::<$sql_type>(lookup)
            }
        }

        impl ToSql<$sql_type, MultiBackend> for $rust_type {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, MultiBackend>) -> serialize::Result {
                out.set_value(($sql_type, self));
                Ok(IsNull::No)
            }
        }

        impl FromSql<$sql_type, MultiBackend> for $rust_type {
            fn from_sql(value: <MultiBackend as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                value.from_sql::<Self, $sql_type>()
            }
        }
    )*};
}

of_both_engines! {
    Id: RawId;
    At: Millis;
    Document: Json;
}

impl ToSql<Id, Sqlite> for RawId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_slice());
        Ok(IsNull::No)
    }
}

impl ToSql<Id, Pg> for RawId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&self.0)?;
        Ok(IsNull::No)
    }
}

impl FromSql<Id, Sqlite> for RawId {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        FromSql::<Binary, Sqlite>::from_sql(value).map(Self)
    }
}

impl FromSql<Id, Pg> for RawId {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(value.as_bytes().to_vec()))
    }
}

impl ToSql<At, Sqlite> for Millis {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0);
        Ok(IsNull::No)
    }
}

impl ToSql<At, Pg> for Millis {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let micros = self.0.checked_sub(POSTGRES_EPOCH_MS).and_then(|ms| ms.checked_mul(1000));
        out.write_all(&micros.ok_or("an instant beyond what the database knows")?.to_be_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<At, Sqlite> for Millis {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        FromSql::<BigInt, Sqlite>::from_sql(value).map(Self)
    }
}

impl FromSql<At, Pg> for Millis {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(i64::from_be_bytes(value.as_bytes().try_into()?).div_euclid(1000) + POSTGRES_EPOCH_MS))
    }
}

impl ToSql<Document, Sqlite> for Json {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_str());
        Ok(IsNull::No)
    }
}

impl ToSql<Document, Pg> for Json {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<Document, Sqlite> for Json {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        FromSql::<Text, Sqlite>::from_sql(value).map(Self)
    }
}

impl FromSql<Document, Pg> for Json {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(str::from_utf8(value.as_bytes())?.to_owned()))
    }
}

//! Rows of any table, as both engines have them.

use diesel::deserialize::{self, FromSql, QueryableByName};
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::row::{Field, NamedRow, Row};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
use diesel::sqlite::{Sqlite, SqliteConnection, SqliteType};

use super::super::sql::{At, Document, Id, Json, Millis, RawId};
use super::{NotMoved, OF_ITSELF};

/// A batch has so many rows at most …
const ROWS: usize = 2000;
/// … and is written as soon as it has so many bytes: a row may be large.
const BYTES: usize = 4 << 20;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A value as it is stored, whatever is meant by it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row of any table.
pub(super) struct Raw(pub Vec<Value>);

/// The type of a column of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Id,
    At,
    Document,
    Text,
    Number,
    Integer,
    Bool,
    Bytes,
}

impl Kind {
    fn of_oid(oid: u32) -> Option<Self> {
        Some(match oid {
            2950 => Self::Id,
            1184 => Self::At,
            114 => Self::Document,
            25 => Self::Text,
            20 => Self::Number,
            23 => Self::Integer,
            16 => Self::Bool,
            17 => Self::Bytes,
            _ => return None,
        })
    }
}

/// A table, as the target's schema has it.
pub(super) struct Shape {
    pub name: &'static str,
    pub columns: Vec<(String, Kind)>,
    /// All rows in the order of their keys, for both engines: they sort alike, by bytes and by numbers.
    pub select: String,
    filter: String,
    insert: String,
}

#[derive(QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    oid: i64,
    /// Its place in the key.
    #[diesel(sql_type = Nullable<SmallInt>)]
    place: Option<i16>,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

impl Shape {
    /// What the target's schema says of a table.
    pub fn read(target: &mut PgConnection, name: &'static str) -> Result<Self, NotMoved> {
        let columns = "SELECT attname::text AS name, atttypid::bigint AS oid,
                array_position(indkey::int2[], attnum)::smallint AS place
            FROM pg_attribute JOIN pg_index ON indrelid = attrelid AND indisprimary
            WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
        let rows: Vec<ColumnRow> = diesel::sql_query(columns).bind::<Text, _>(name).load(target)?;
        let quoted = |name: &str| format!("\"{name}\"");
        let mut key: Vec<_> = rows.iter().filter_map(|row| Some((row.place?, quoted(&row.name)))).collect();
        key.sort();
        let key: Vec<String> = key.into_iter().map(|(_, name)| name).collect();
        let names = rows.iter().map(|row| quoted(&row.name)).collect::<Vec<_>>().join(", ");
        let arrays = (1..=rows.len()).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ");
        let filter = match name {
            "meta" => format!(" WHERE name NOT IN ('{}')", OF_ITSELF.join("', '")),
            _ => String::new(),
        };
        let kind = |row: ColumnRow| {
            let kind = u32::try_from(row.oid).ok().and_then(Kind::of_oid);
            let unknown = || NotMoved::Refused(format!("`{name}.{}` has a type that this cannot move", row.name));
            Ok((row.name.clone(), kind.ok_or_else(unknown)?))
        };
        Ok(Self {
            name,
            select: format!("SELECT {names} FROM {name}{filter} ORDER BY {}", key.join(", ")),
            insert: format!("INSERT INTO {name} ({names}) SELECT * FROM unnest({arrays})"),
            columns: rows.into_iter().map(kind).collect::<Result<_, NotMoved>>()?,
            filter,
        })
    }

    /// That the source has these columns and no others.
    pub fn check_source(&self, source: &mut SqliteConnection) -> Result<(), NotMoved> {
        let names: Vec<Name> = diesel::sql_query("SELECT name FROM pragma_table_info(?) ORDER BY cid")
            .bind::<Text, _>(self.name)
            .load(source)?;
        if names.iter().map(|column| &column.name).eq(self.columns.iter().map(|(name, _)| name)) {
            return Ok(());
        }
        Err(NotMoved::Refused(format!("`{}` has other columns in the source than in the target", self.name)))
    }

    /// That the source has no table but these.
    pub fn check_nothing_is_left(source: &mut SqliteConnection, tables: &[&str]) -> Result<(), NotMoved> {
        let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
            AND name <> '__diesel_schema_migrations'";
        let names: Vec<Name> = diesel::sql_query(names).load(source)?;
        match names.iter().find(|table| !tables.contains(&&*table.name)) {
            Some(left) => {
                Err(NotMoved::Refused(format!("nothing is known here of the source's table `{}`", left.name)))
            }
            None => Ok(()),
        }
    }

    pub fn count_in_source(&self, source: &mut SqliteConnection) -> Result<u64, NotMoved> {
        let Count { rows } = diesel::sql_query(self.count()).get_result(source)?;
        Ok(rows.unsigned_abs())
    }

    pub fn count_in_target(&self, target: &mut PgConnection) -> Result<u64, NotMoved> {
        let Count { rows } = diesel::sql_query(self.count()).get_result(target)?;
        Ok(rows.unsigned_abs())
    }

    fn count(&self) -> String {
        format!("SELECT count(*) AS rows FROM {}{}", self.name, self.filter)
    }
}

impl QueryableByName<Sqlite> for Raw {
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> deserialize::Result<Self> {
        let value = |place| {
            let field = Row::get(row, place).ok_or("a row is too short")?;
            let Some(value) = field.value() else { return Ok(Value::Null) };
            Ok(match value.value_type() {
                None => Value::Null,
                Some(SqliteType::Text) => Value::Text(FromSql::<Text, Sqlite>::from_sql(value)?),
                Some(SqliteType::Binary) => Value::Bytes(FromSql::<Binary, Sqlite>::from_sql(value)?),
                Some(SqliteType::Integer | SqliteType::SmallInt | SqliteType::Long) => {
                    Value::Number(FromSql::<BigInt, Sqlite>::from_sql(value)?)
                }
                Some(SqliteType::Float | SqliteType::Double) => return Err("a broken number, where none can be".into()),
            })
        };
        (0..row.field_count()).map(value).collect::<deserialize::Result<_>>().map(Self)
    }
}

impl QueryableByName<Pg> for Raw {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let value = |place| {
            let field = Row::get(row, place).ok_or("a row is too short")?;
            let Some(value) = field.value() else { return Ok(Value::Null) };
            Ok(match Kind::of_oid(value.get_oid().get()).ok_or("a column of another type")? {
                Kind::Id | Kind::Bytes => Value::Bytes(value.as_bytes().to_vec()),
                Kind::At => Value::Number(<Millis as FromSql<At, Pg>>::from_sql(value)?.0),
                Kind::Document => Value::Text(<Json as FromSql<Document, Pg>>::from_sql(value)?.0),
                Kind::Text => Value::Text(FromSql::<Text, Pg>::from_sql(value)?),
                Kind::Number => Value::Number(FromSql::<BigInt, Pg>::from_sql(value)?),
                Kind::Integer => Value::Number(<i32 as FromSql<Integer, Pg>>::from_sql(value)?.into()),
                Kind::Bool => Value::Number(<bool as FromSql<Bool, Pg>>::from_sql(value)?.into()),
            })
        };
        (0..row.field_count()).map(value).collect::<deserialize::Result<_>>().map(Self)
    }
}

impl Value {
    fn size(&self) -> usize {
        match self {
            Self::Null | Self::Number(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    fn number(self) -> Result<Option<i64>, Fault> {
        match self {
            Self::Null => Ok(None),
            Self::Number(number) => Ok(Some(number)),
            _ => Err("no number".into()),
        }
    }

    fn text(self) -> Result<Option<String>, Fault> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            _ => Err("no text".into()),
        }
    }

    fn bytes(self) -> Result<Option<Vec<u8>>, Fault> {
        match self {
            Self::Null => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes)),
            _ => Err("no bytes".into()),
        }
    }
}

/// The values of a column.
enum Column {
    Ids(Vec<Option<RawId>>),
    Instants(Vec<Option<Millis>>),
    Documents(Vec<Option<Json>>),
    Texts(Vec<Option<String>>),
    Numbers(Vec<Option<i64>>),
    Integers(Vec<Option<i32>>),
    Bools(Vec<Option<bool>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Column {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Id => Self::Ids(vec![]),
            Kind::At => Self::Instants(vec![]),
            Kind::Document => Self::Documents(vec![]),
            Kind::Text => Self::Texts(vec![]),
            Kind::Number => Self::Numbers(vec![]),
            Kind::Integer => Self::Integers(vec![]),
            Kind::Bool => Self::Bools(vec![]),
            Kind::Bytes => Self::Bytes(vec![]),
        }
    }

    fn push(&mut self, value: Value) -> Result<(), Fault> {
        match self {
            Self::Ids(all) => match value.bytes()? {
                Some(id) if id.len() != 16 => return Err("no id".into()),
                id => all.push(id.map(RawId)),
            },
            Self::Instants(all) => all.push(value.number()?.map(Millis)),
            Self::Documents(all) => all.push(value.text()?.map(Json)),
            Self::Texts(all) => all.push(value.text()?),
            Self::Numbers(all) => all.push(value.number()?),
            Self::Integers(all) => all.push(value.number()?.map(i32::try_from).transpose()?),
            Self::Bools(all) => all.push(value.number()?.map(|number| number != 0)),
            Self::Bytes(all) => all.push(value.bytes()?),
        }
        Ok(())
    }
}

/// Rows that are about to be written.
pub(super) struct Batch {
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

impl Batch {
    pub fn of(shape: &Shape) -> Self {
        Self { columns: shape.columns.iter().map(|(_, kind)| Column::of(*kind)).collect(), rows: 0, bytes: 0 }
    }

    pub fn push(&mut self, Raw(values): Raw) -> Result<(), Fault> {
        self.rows += 1;
        for (column, value) in self.columns.iter_mut().zip(values) {
            self.bytes += value.size();
            column.push(value)?;
        }
        Ok(())
    }

    pub fn is_full(&self) -> bool {
        self.rows >= ROWS || self.bytes >= BYTES
    }

    /// Writes the rows, all or none of them, and is empty again.
    pub fn write(&mut self, shape: &Shape, target: &mut PgConnection) -> QueryResult<()> {
        let Self { columns, rows, .. } = std::mem::replace(self, Self::of(shape));
        if rows == 0 {
            return Ok(());
        }
        let insert = diesel::sql_query(&shape.insert).into_boxed::<Pg>();
        let insert = columns.into_iter().fold(insert, |insert, column| match column {
            Column::Ids(all) => insert.bind::<Array<Nullable<Id>>, _>(all),
            Column::Instants(all) => insert.bind::<Array<Nullable<At>>, _>(all),
            Column::Documents(all) => insert.bind::<Array<Nullable<Document>>, _>(all),
            Column::Texts(all) => insert.bind::<Array<Nullable<Text>>, _>(all),
            Column::Numbers(all) => insert.bind::<Array<Nullable<BigInt>>, _>(all),
            Column::Integers(all) => insert.bind::<Array<Nullable<Integer>>, _>(all),
            Column::Bools(all) => insert.bind::<Array<Nullable<Bool>>, _>(all),
            Column::Bytes(all) => insert.bind::<Array<Nullable<Binary>>, _>(all),
        });
        insert.execute(target)?;
        Ok(())
    }
}

//! Where money is not where it should be: found along indexes of live rows, however long the history is.

use chrono::Duration;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};

use super::browse::{self, Sieve};
use super::rows::{OrderRow, millis, or_log, raw};
use super::schema::orders;
use super::sql::{At, Conn, Native};
use super::{Result, Store};
use crate::order::{Instant, OrderId};
use crate::state::Order;

/// A few orders, and how many there are of their kind.
#[derive(Debug, Default)]
pub struct Few {
    pub orders: Vec<Order>,
    pub count: i64,
}

/// Debts of one currency and one age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    pub currency: String,
    /// The place in [`DEBT_AGES`]; one past its end for the oldest.
    pub age: usize,
    pub orders: i64,
    /// Minor units.
    pub amount: i64,
}

/// Money that somebody has to look after.
#[derive(Debug, Default)]
pub struct Astray {
    /// The gateway has not said what became of the authorization.
    pub unknown: Few,
    pub debts: Vec<Debt>,
    /// Those that are owed money for longest.
    pub owed: Few,
    /// Handed over, and not paid for: the gateway refused to take what it held.
    pub capture_failed: Few,
}

/// Debts are told by age, from the youngest: younger than each of these.
pub const DEBT_AGES: [Duration; 3] = [Duration::minutes(15), Duration::hours(1), Duration::days(1)];

const DEBTS: Native = Native {
    sqlite: "
    SELECT currency, SUM(owed) AS amount, COUNT(*) AS orders,
        CASE WHEN closed_at IS NULL OR closed_at > ?1 THEN 0 WHEN closed_at > ?2 THEN 1 WHEN closed_at > ?3 THEN 2
        ELSE 3 END AS age
    FROM orders WHERE owed > 0 GROUP BY currency, age ORDER BY currency, age",
    postgres: "
    SELECT currency, SUM(owed)::bigint AS amount, COUNT(*) AS orders,
        CASE WHEN closed_at IS NULL OR closed_at > $1 THEN 0 WHEN closed_at > $2 THEN 1 WHEN closed_at > $3 THEN 2
        ELSE 3 END AS age
    FROM orders WHERE owed > 0 GROUP BY currency, age ORDER BY currency, age",
};

#[derive(QueryableByName)]
struct DebtRow {
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = BigInt)]
    amount: i64,
    #[diesel(sql_type = BigInt)]
    orders: i64,
    #[diesel(sql_type = Integer)]
    age: i32,
}

impl Store {
    /// Money that somebody has to look after, with up to `limit` orders of each kind.
    pub async fn astray(&self, limit: i64, now: Instant) -> Result<Astray> {
        self.readers
            .read(move |conn| {
                let [young, older, old] = DEBT_AGES.map(|age| millis(now - age));
                let debts: Vec<DebtRow> = diesel::sql_query(DEBTS.of(conn))
                    .bind::<At, _>(young)
                    .bind::<At, _>(older)
                    .bind::<At, _>(old)
                    .load(conn)?;
                let debts = debts.into_iter().map(|row| {
                    let age = usize::try_from(row.age).unwrap_or_default();
                    Debt { currency: row.currency, age, orders: row.orders, amount: row.amount }
                });
                // Literals: a bound value would not find the partial indexes.
                let owed = || orders::table.filter(sql::<Bool>("owed > 0"));
                let failed = || orders::table.filter(sql::<Bool>("payment_status = 'capture_failed'"));
                let owed_orders = owed().order(orders::closed_at).limit(limit).load(conn)?;
                let failed_orders = failed().order(orders::id.desc()).limit(limit).load(conn)?;
                Ok(Astray {
                    debts: debts.collect(),
                    owed: Few { orders: readable(owed_orders), count: owed().count().get_result(conn)? },
                    capture_failed: Few { orders: readable(failed_orders), count: failed().count().get_result(conn)? },
                    unknown: unknown(conn, limit)?,
                })
            })
            .await
    }

    /// Orders with ids below `below`, the newest first, as far as they can be read, and where to go on.
    pub async fn orders_below(&self, below: Option<OrderId>, limit: i64) -> Result<(Vec<Order>, Option<OrderId>)> {
        self.readers
            .read(move |conn| {
                let below = raw(below.map_or(uuid::Uuid::max(), |id| id.0));
                let rows: Vec<OrderRow> =
                    orders::table.filter(orders::id.lt(below)).order(orders::id.desc()).limit(limit).load(conn)?;
                let is_all = (rows.len() as i64) < limit;
                let last = rows.last().map(|row| super::rows::uuid(row.id())).transpose()?.map(OrderId);
                Ok((readable(rows), last.filter(|_| !is_all)))
            })
            .await
    }
}

fn readable(rows: Vec<OrderRow>) -> Vec<Order> {
    rows.into_iter().filter_map(|row| or_log(row.into_order())).collect()
}

fn unknown(conn: &mut Conn, limit: i64) -> Result<Few> {
    let mut ids = browse::unknown(conn, &Sieve::default())?.keys;
    let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    ids.truncate(usize::try_from(limit).unwrap_or_default());
    let rows = orders::table.filter(orders::id.eq_any(ids)).order(orders::id).load(conn)?;
    Ok(Few { orders: readable(rows), count })
}

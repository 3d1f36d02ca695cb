//! What is asked about all ongoing orders at once, read a piece at a time.
//!
//! One long read would hold a snapshot all the while, and with everybody else going first that is seconds: meanwhile
//! SQLite's log cannot start over, and grows, and PostgreSQL cannot clear away dead rows. A piece is of whole customers,
//! and an order stays with its customer, so that none is counted twice; one that comes behind the present piece is not
//! counted this time.

use std::collections::HashMap;

use chrono::Duration;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::readers::Haste;
use super::rows::{instant, millis, uuid, word};
use super::sql::{At, Conn, Id, Millis, Native, RawId};
use super::{Result, Store};
use crate::lifecycle::Status;
use crate::order::{Instant, ShopId};

/// Where an order is a shop's work …
const IN_HAND: [Status; 3] = [Status::AwaitingShop, Status::Accepted, Status::Preparing];
/// … if it is to be picked up as soon as possible, or within this time.
const SOON: Duration = Duration::minutes(30);

/// The customer with whom a piece of five hundred orders ends; none if there are fewer.
const EDGE: Native = Native {
    sqlite: "SELECT partner_id, customer_id FROM orders INDEXED BY orders_ongoing
        WHERE ongoing AND (partner_id, customer_id) > (?, ?)
        ORDER BY partner_id, customer_id LIMIT 1 OFFSET 499",
    postgres: "SELECT partner_id, customer_id FROM orders
        WHERE ongoing AND (partner_id, customer_id) > ($1, $2)
        ORDER BY partner_id, customer_id LIMIT 1 OFFSET 499",
};

/// What only the code reads stands in `details`: this is not a question of the hot path.
const SUMS: Native = Native {
    sqlite: "SELECT shop_id, status, currency, COUNT(*) AS orders,
            COUNT(*) FILTER (WHERE slot_at IS NULL OR slot_at <= ?) AS soon,
            MIN(CASE WHEN json_valid(details) THEN json_extract(details, '$.entered_at') END) AS since,
            SUM(CASE payment_status WHEN 'authorized' THEN authorized ELSE 0 END) AS held,
            SUM(captured - refunded) AS taken
        FROM orders INDEXED BY orders_ongoing
        WHERE ongoing AND (partner_id, customer_id) > (?, ?) AND (partner_id, customer_id) <= (?, ?)
        GROUP BY shop_id, status, currency",
    postgres: "SELECT shop_id, status, currency, COUNT(*) AS orders,
            COUNT(*) FILTER (WHERE slot_at IS NULL OR slot_at <= $1) AS soon,
            MIN((details->>'entered_at')::bigint) AS since,
            SUM(CASE payment_status WHEN 'authorized' THEN authorized ELSE 0 END)::bigint AS held,
            SUM(captured - refunded)::bigint AS taken
        FROM orders
        WHERE ongoing AND (partner_id, customer_id) > ($2, $3) AND (partner_id, customer_id) <= ($4, $5)
        GROUP BY shop_id, status, currency",
};

/// A customer: its partner and name.
#[derive(Clone, QueryableByName)]
struct Edge {
    #[diesel(sql_type = Id)]
    partner_id: RawId,
    #[diesel(sql_type = Text)]
    customer_id: String,
}

impl Edge {
    fn before_all() -> Self {
        Self { partner_id: RawId(vec![0; 16]), customer_id: String::new() }
    }

    fn behind_all() -> Self {
        Self { partner_id: RawId(vec![0xff; 16]), customer_id: String::new() }
    }
}

#[derive(QueryableByName)]
struct SumRow {
    #[diesel(sql_type = Id)]
    shop_id: RawId,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = BigInt)]
    orders: i64,
    #[diesel(sql_type = BigInt)]
    soon: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    since: Option<i64>,
    #[diesel(sql_type = BigInt)]
    held: i64,
    #[diesel(sql_type = BigInt)]
    taken: i64,
}

/// All ongoing orders, summed up.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many stand in a status, and when the one that stands there longest came.
    pub by_status: HashMap<Status, (i64, Option<Instant>)>,
    /// By currency, in minor units: held by gateways for them, and taken for them.
    pub held_and_taken: Vec<(String, i64, i64)>,
    /// How many each shop has in its hands now: what it promises depends on it. Neither what it will not begin for a
    /// while, nor what is not paid for, nor what only waits to be collected keeps it busy.
    pub loads: HashMap<ShopId, u32>,
}

impl Tally {
    fn add(&mut self, row: SumRow) -> Result<()> {
        let status = word(&row.status)?;
        let of_status = self.by_status.entry(status).or_default();
        let since = row.since.map(|since| instant(Millis(since)));
        *of_status = (of_status.0 + row.orders, of_status.1.into_iter().chain(since).min());
        match self.held_and_taken.iter_mut().find(|(currency, ..)| *currency == row.currency) {
            Some((_, held, taken)) => (*held, *taken) = (*held + row.held, *taken + row.taken),
            None => self.held_and_taken.push((row.currency, row.held, row.taken)),
        }
        if IN_HAND.contains(&status) && row.soon > 0 {
            let load = self.loads.entry(ShopId(uuid(&row.shop_id)?)).or_default();
            *load = load.saturating_add(u32::try_from(row.soon).unwrap_or(u32::MAX));
        }
        Ok(())
    }
}

impl Store {
    /// Sums up all ongoing orders.
    pub async fn tally(&self, haste: Haste) -> Result<Tally> {
        let soon = millis((self.clock)() + SOON);
        let (mut tally, mut next) = (Tally::default(), Some(Edge::before_all()));
        while let Some(after) = next {
            let (rows, edge) = self.readers.read_in(haste, move |conn| piece(conn, &after, soon)).await?;
            rows.into_iter().try_for_each(|row| tally.add(row))?;
            next = edge;
        }
        Ok(tally)
    }
}

/// The sums of the piece that comes after a customer, and with whom it ends; none if it is the last.
fn piece(conn: &mut Conn, after: &Edge, soon: Millis) -> Result<(Vec<SumRow>, Option<Edge>)> {
    // Who plans this does not know how small a piece is, and might read all orders for each.
    if let Conn::Postgres(conn) = conn {
        conn.batch_execute("SET LOCAL enable_seqscan = off")?;
    }
    let asked = diesel::sql_query(EDGE.of(conn));
    let asked = asked.bind::<Id, _>(&after.partner_id).bind::<Text, _>(&after.customer_id);
    let edge: Option<Edge> = asked.get_result(conn).optional()?;
    let until = edge.clone().unwrap_or_else(Edge::behind_all);
    let rows = diesel::sql_query(SUMS.of(conn))
        .bind::<At, _>(soon)
        .bind::<Id, _>(&after.partner_id)
        .bind::<Text, _>(&after.customer_id)
        .bind::<Id, _>(&until.partner_id)
        .bind::<Text, _>(&until.customer_id)
        .load(conn)?;
    Ok((rows, edge))
}

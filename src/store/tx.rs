//! The transaction of a batch, as each of its writes sees it.
//!
//! On SQLite every read and write happens where it stands. On PostgreSQL each would be a trip to the server: there the
//! batch locks and reads at its beginning what its writes said that they touch, and collects what they write until
//! somebody needs it to be there.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use tokio::sync::mpsc;

use super::claim::{Claim, Handoff, lease};
use super::customers::{self, Customer, Inquiry};
use super::rows::event::NewEventRow;
use super::rows::name::{NameEndRow, NameRow};
use super::rows::{ChangedColumns, OrderRow, SeldomChangedColumns, TaskColumns, millis, raw};
use super::schema::orders;
use super::sets::{AskAll, Values, WriteAll, set_questions};
use super::sql::{Conn, Id, RawId, native};
use super::statements::{CloseName, Insert, Update};
use super::{Error, Result, lists, log};
use crate::meters::{self, Happened};
use crate::order::{CustomerId, Hash, Instant, OrderId, PartnerId, ShopId};
use crate::state::Order;
use crate::trace::SpanId;

/// Who may still write when everybody wants to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Results, cancellations, the shops' answers: what makes room. Has a channel of its own and goes first.
    Control,
    /// New work: shed first.
    Create,
}

impl From<Urgency> for meters::Urgency {
    fn from(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Control => Self::Control,
            Urgency::Create => Self::Create,
        }
    }
}

/// What a write reads before it writes, so that nobody else may change it meanwhile. SQLite has one writer: there it
/// goes without saying.
#[derive(Clone, Debug, Default)]
pub(super) struct Touching {
    keys: Vec<i64>,
    orders: Vec<OrderId>,
    /// Of those, what has to be read.
    to_read: Vec<OrderId>,
    inquiry: Option<Inquiry>,
}

impl Touching {
    /// All that nobody else names. Writes that are rare need not say what they touch: they are made one by one.
    pub fn everything() -> Self {
        Self { keys: vec![0], ..Self::default() }
    }

    /// Nothing but what it locks itself.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// An order that is known already, and only written if it still is as it was.
    pub fn known(id: OrderId) -> Self {
        Self { orders: vec![id], ..Self::default() }
    }

    /// An order that is to be read.
    pub fn order(id: OrderId) -> Self {
        Self { orders: vec![id], to_read: vec![id], ..Self::default() }
    }

    /// All of a customer's orders, and the right to add one.
    pub fn customer(inquiry: Inquiry) -> Self {
        let name = [&b"customer"[..], inquiry.partner.0.as_bytes(), inquiry.customer.0.as_bytes()];
        Self::default().and(&name).asking(inquiry)
    }

    pub fn and_draft(self, id: OrderId) -> Self {
        self.and(&[b"draft", id.0.as_bytes()])
    }

    /// How many orders are in a pickup slot of a shop.
    pub fn and_slot(self, shop: ShopId, slot: Option<Instant>) -> Self {
        match slot {
            Some(at) => self.and(&[b"slot", shop.0.as_bytes(), &at.timestamp_millis().to_be_bytes()]),
            None => self,
        }
    }

    /// What it locks by name.
    pub fn keys(&self) -> impl Iterator<Item = i64> {
        self.keys.iter().copied()
    }

    fn asking(self, inquiry: Inquiry) -> Self {
        Self { inquiry: Some(inquiry), ..self }
    }

    fn and(mut self, name: &[&[u8]]) -> Self {
        let Hash(hash) = Hash::of_bytes(&name.join(&0));
        self.keys.extend(hash.first_chunk().map(|key| i64::from_be_bytes(*key)));
        self
    }
}

/// The transaction of a batch.
pub(super) struct Tx<'c> {
    conn: &'c mut Conn,
    handoff: &'c Handoff,
    /// What PostgreSQL has not been told yet, and what it has told.
    batch: Batch,
    /// The position of the last event that was written in it; on PostgreSQL counted within the transaction.
    last_position: Option<i64>,
    after_commit: AfterCommit,
    /// Whether the present write has said that it does not do what it was asked for.
    pub is_refused: bool,
    /// The span that asked for the present write.
    pub cause: Option<SpanId>,
}

/// What is done once the transaction is committed, and forgotten if it is not.
#[derive(Default)]
pub(super) struct AfterCommit {
    pub handovers: Vec<Handover>,
    pub happened: Vec<Happened>,
    /// The position of the last event that was written; on PostgreSQL counted within the transaction.
    pub last_position: Option<i64>,
}

/// A claim, and its place in the local worker's queue.
pub(super) struct Handover {
    place: mpsc::OwnedPermit<Claim>,
    claim: Claim,
}

impl Handover {
    pub fn send(self) {
        self.place.send(self.claim);
    }
}

type Owner = (PartnerId, CustomerId);

/// A batch on PostgreSQL.
#[derive(Default)]
struct Batch {
    /// Orders that are thought to be as whoever writes them knows them.
    trusted: HashSet<OrderId>,
    /// Fence and version of the orders that are locked, as they are now.
    marks: HashMap<OrderId, (i64, i64)>,
    /// Orders that were read, as they are now.
    orders: HashMap<OrderId, Result<Order>>,
    /// Customers that were asked about and have not changed since.
    customers: HashMap<Owner, Vec<Result<Customer>>>,
    /// What the server has not been told yet.
    writes: WriteAll,
}

/// Whether the orders of claims are looked at before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claims {
    /// They hardly ever were changed by somebody else: that they were not is seen when they are written, and if one was,
    /// the batch comes to nothing and is made again.
    Trusted,
    LookedAt,
}

set_questions! {
    /// Fence and version of orders, which nobody else changes until the transaction ends.
    Marks: (Id, BigInt, BigInt), "SELECT id, fence, version FROM orders WHERE id = ANY(?) ORDER BY id FOR UPDATE";
    OrdersOfIds: orders::SqlType, "SELECT * FROM orders WHERE id = ANY(?)";
}

impl<'c> Tx<'c> {
    /// Keeps others from what the writes of a batch touch, and reads it. Everybody locks in the same order, so that
    /// nobody waits for somebody who waits for him. The keys are locked already, by a statement of its own: those that
    /// follow see what was committed by whoever held them before.
    pub fn begin<'t>(
        conn: &'c mut Conn,
        handoff: &'c Handoff,
        touching: impl Iterator<Item = &'t Touching>,
        claims: Claims,
    ) -> Result<Self> {
        let mut tx = Self {
            conn,
            handoff,
            batch: Batch::default(),
            last_position: None,
            after_commit: AfterCommit::default(),
            is_refused: false,
            cause: None,
        };
        let Conn::Postgres(postgres) = &mut *tx.conn else { return Ok(tx) };
        let (mut ids, mut to_read, mut inquiries) = (Vec::new(), Vec::new(), Vec::new());
        for one in touching {
            ids.extend_from_slice(&one.orders);
            to_read.extend(one.to_read.iter().copied().map(raw));
            inquiries.extend(&one.inquiry);
        }
        // Whoever looks at one order looks at all, in the same order as everybody.
        if claims == Claims::Trusted && to_read.is_empty() {
            tx.batch.trusted = ids.into_iter().collect();
        } else if !ids.is_empty() {
            let ids = ids.into_iter().map(raw).collect();
            let marks: Vec<(RawId, i64, i64)> = AskAll::<Marks, 1>::with([Values::Ids(ids)]).load(postgres)?;
            for (id, fence, version) in marks {
                tx.batch.marks.insert(OrderId(super::rows::uuid(&id)?), (fence, version));
            }
        }
        if !to_read.is_empty() {
            let rows: Vec<OrderRow> = AskAll::<OrdersOfIds, 1>::with([Values::Ids(to_read)]).load(postgres)?;
            for row in rows {
                let id = OrderId(super::rows::uuid(row.id())?);
                tx.batch.orders.insert(id, row.into_order());
            }
        }
        if !inquiries.is_empty() {
            let customers = customers::look_up(tx.conn, &inquiries)?;
            for (inquiry, customer) in inquiries.into_iter().zip(customers) {
                let owner = (inquiry.partner, inquiry.customer.clone());
                tx.batch.customers.entry(owner).or_default().push(customer);
            }
            // Whoever asks takes the last one.
            tx.batch.customers.values_mut().for_each(|answers| answers.reverse());
        }
        Ok(tx)
    }

    /// Ends the batch: all that it wrote is there, and only has to be committed.
    pub fn finish(mut self) -> Result<AfterCommit> {
        self.flush()?;
        Ok(AfterCommit { last_position: self.last_position, ..self.after_commit })
    }

    /// The connection, once all is there that was written.
    pub fn conn(&mut self) -> Result<&mut Conn> {
        self.flush()?;
        Ok(self.conn)
    }

    /// An order as it is now. Until this is committed nobody else changes it.
    pub fn find(&mut self, id: OrderId) -> Result<Option<Order>> {
        if let Some(known) = self.batch.orders.get(&id) {
            return known.clone().map(Some);
        }
        let Conn::Postgres(conn) = self.conn()? else { return lists::find(self.conn, id) };
        let row = orders::table.find(raw(id)).for_update().get_result::<OrderRow>(conn).optional()?;
        let Some(order) = row.map(OrderRow::into_order).transpose()? else { return Ok(None) };
        self.is_locked(&order);
        self.batch.orders.insert(id, Ok(order.clone()));
        Ok(Some(order))
    }

    /// An order that was just read, and locked by the statement that read it.
    pub fn is_locked(&mut self, order: &Order) {
        if self.conn.is_postgres() {
            self.batch.marks.insert(order.id, (order.task.fence, order.version));
        }
    }

    /// What admission must know of a customer, as it is now.
    pub fn customer(&mut self, inquiry: &Inquiry) -> Result<Customer> {
        let known = self.batch.customers.get_mut(&(inquiry.partner, inquiry.customer.clone())).and_then(Vec::pop);
        match known {
            Some(customer) => customer,
            None => customers::look_up(self.conn()?, &[inquiry])?.pop().unwrap_or_else(|| Ok(Customer::default())),
        }
    }

    /// Writes what has changed of an order. False, and nothing done, if the row is no longer as it was `before`.
    pub fn update(&mut self, before: &Order, after: &Order) -> Result<bool> {
        let mark = (before.task.fence, before.version);
        match self.batch.marks.get(&before.id).copied().or(self.batch.trusted.get(&before.id).map(|_| mark)) {
            Some(now) if now != mark => return Ok(false),
            Some(_) => {
                // Two steps of one order would look like one that the lifecycle does not have.
                if self.batch.writes.updates.holds(before.id) {
                    self.flush()?;
                }
                self.batch.writes.updates.push(before, after);
                self.batch.marks.insert(after.id, (after.task.fence, after.version));
                self.batch.orders.entry(after.id).and_modify(|order| *order = Ok(after.clone()));
                self.batch.forget(before);
                return Ok(true);
            }
            None => {}
        }
        let (changes, seldom) = (ChangedColumns::of(after), SeldomChangedColumns::of(after));
        let conn = self.conn()?;
        let changed = if seldom == SeldomChangedColumns::of(before) {
            native!(conn, conn => Update { before, changes }.execute(conn))?
        } else {
            native!(conn, conn => Update { before, changes: (changes, seldom) }.execute(conn))?
        };
        Ok(changed == 1)
    }

    /// Writes only what a claim changes.
    pub fn update_task(&mut self, before: &Order, after: &Order) -> Result<()> {
        if self.batch.marks.contains_key(&before.id) || self.batch.trusted.contains(&before.id) {
            self.update(before, after)?;
            return Ok(());
        }
        native!(self.conn()?, conn => Update { before, changes: TaskColumns::of(after) }.execute(conn))?;
        Ok(())
    }

    /// Writes beside the number of an order when it was closed.
    pub fn close_name(&mut self, order: &Order) -> Result<()> {
        match &mut *self.conn {
            Conn::Sqlite(conn) => {
                CloseName { order, closed_at: order.closed_at.map(millis) }.execute(conn)?;
            }
            Conn::Postgres(_) => self.batch.writes.ends.push(NameEndRow::of(order)),
        }
        Ok(())
    }

    /// Writes a new order, and the names it goes by.
    pub fn insert(&mut self, order: &Order, key: Option<&str>, fingerprint: Hash) -> Result<()> {
        let row = OrderRow::of(order);
        let names = [Some(NameRow::of(order, None, fingerprint)), key.map(|_| NameRow::of(order, key, fingerprint))];
        match &mut *self.conn {
            Conn::Sqlite(conn) => {
                Insert(row).execute(conn)?;
                for name in names.into_iter().flatten() {
                    Insert(name).execute(conn)?;
                }
            }
            Conn::Postgres(_) => {
                self.batch.writes.births.push(row);
                names.into_iter().flatten().for_each(|name| self.batch.writes.names.push(name));
                self.batch.forget(order);
            }
        }
        Ok(())
    }

    /// Appends to the event log.
    pub fn append(&mut self, mut row: NewEventRow, happened: Happened) -> Result<()> {
        // The event before it must be there: it may have to go behind it.
        if self.batch.writes.events.iter().any(|event| event.order_id == row.order_id) {
            self.flush()?;
        }
        let before = match (self.last_position, &mut *self.conn) {
            (Some(last), _) => last,
            (None, conn @ Conn::Sqlite(_)) => log::end(conn)?,
            // Counted within the transaction.
            (None, Conn::Postgres(_)) => 0,
        };
        row.position = before + 1;
        if self.conn.is_postgres() && row.position > log::MOST_IN_TRANSACTION {
            return Err(Error::Unavailable("too many events for one transaction".into()));
        }
        self.last_position = Some(row.position);
        match &mut *self.conn {
            Conn::Sqlite(conn) => {
                Insert(row).execute(conn)?;
            }
            Conn::Postgres(_) => self.batch.writes.events.push(row),
        }
        self.after_commit.happened.push(happened);
        Ok(())
    }

    /// Whether nothing may act on orders here.
    pub fn is_withheld(&self) -> bool {
        self.handoff.withheld.is()
    }

    /// Leases a freshly changed row to the local worker, in memory, if its next stage is due and there is room for
    /// it. Suspects go through [`super::Store::claim`]. The caller writes the row, and then hands it over.
    pub fn lease_locally(&self, order: &mut Order, now: Instant, duration: chrono::Duration) -> Option<Handover> {
        let stage = order.task.stage.filter(|_| order.task.parked_at.is_none())?;
        let is_suspect = order.task.leased_until.is_some() || order.task.blame > 0;
        if is_suspect || order.task.next_attempt_at.is_none_or(|at| at > now) {
            return None;
        }
        let place = self.handoff.reserve(stage)?;
        Some(Handover { place, claim: lease(order, stage, now, duration, 0) })
    }

    /// Has the local worker given the claim once the transaction is committed.
    pub fn hand_over(&mut self, handover: Option<Handover>) {
        self.after_commit.handovers.extend(handover);
    }

    /// What this write was asked for is not done: the audit log says so, if it is to say anything.
    pub fn refuse(&mut self) {
        self.is_refused = true;
    }

    /// Writes what was collected. What is unique is not freed and taken in one batch: each name and id is given once.
    fn flush(&mut self) -> Result<()> {
        let Conn::Postgres(conn) = &mut *self.conn else { return Ok(()) };
        if self.batch.writes.is_empty() {
            return Ok(());
        }
        let writes = std::mem::take(&mut self.batch.writes);
        let expected = writes.updates.len();
        match writes.write(conn)? {
            changed if changed == expected => Ok(()),
            changed => Err(Error::Damaged(format!("{changed} of {expected} orders were as they had been read"))),
        }
    }
}

impl Batch {
    /// What is known of the customer of an order that changes is known no longer.
    fn forget(&mut self, order: &Order) {
        if !self.customers.is_empty() {
            self.customers.remove(&(order.partner_id, order.customer_id.clone()));
        }
    }
}

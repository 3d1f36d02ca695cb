//! The order of the log, on a real server: transactions that lock, wait and end in whatever order.

use std::collections::HashMap;
use std::iter::repeat_with;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::super::changes::{apply, bear, worked, write};
use super::super::claim::Handoff;
use super::super::engine::Database;
use super::super::hosts::Hosts;
use super::super::lists::feed_of;
use super::super::restored::Withheld;
use super::super::sql::Conn;
use super::super::tx::{Claims, Touching, Tx};
use super::super::{Error, Policy, Result};
use super::{BigInt, RunQueryDsl};
use crate::acts::Outcome;
use crate::fixtures::{at, order};
use crate::lifecycle::{Actor, Event};
use crate::order::{Hash, OrderId, PartnerId};
use crate::state::Order;

#[path = "../../../tests/support/postgres.rs"]
mod postgres;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database with orders of one partner.
struct House {
    database: Database,
    partner: PartnerId,
    orders: Vec<OrderId>,
    /// Looks at locks, and reads the feed.
    watch: Conn,
}

impl House {
    fn on(cluster: &postgres::Cluster) -> Self {
        let database = Database::Postgres(Arc::new(Hosts::of_primary(&cluster.fresh_database().primary)));
        let mut watch = database.connection(|_| {}).unwrap();
        database.prepare(&mut watch).unwrap();
        Self { database, partner: PartnerId::new(), orders: Vec::new(), watch }
    }

    fn with_orders(mut self, count: u8) -> Self {
        let orders: Vec<Order> = (0..count).map(|number| born(self.partner, number)).collect();
        self.orders = orders.iter().map(|order| order.id).collect();
        let mut conn = self.writer();
        transact(&mut conn, |tx| orders.iter().try_for_each(|order| bear(tx, order, None, Hash([0; 32])))).unwrap();
        self
    }

    fn writer(&self) -> Conn {
        let mut conn = self.database.connection(|_| {}).unwrap();
        Database::prepare_to_write(&mut conn).unwrap();
        conn
    }

    /// Versions of orders as the feed tells them after a position, and the last position.
    fn feed(&mut self, after: i64, limit: i64) -> (Vec<(OrderId, i64)>, i64) {
        let partner = self.partner;
        let (events, _) = self.watch.read(|conn| feed_of(conn, partner, after, limit)).unwrap();
        let last = events.last().map_or(after, |event| event.position);
        (events.iter().map(|event| (event.order_id, event.version)).collect(), last)
    }

    /// Waits until that many transactions wait for a lock.
    fn until_waiting(&mut self, count: i64) {
        let end = Instant::now() + PATIENCE;
        let Conn::Postgres(watch) = &mut self.watch else { unreachable!() };
        let ask = "(SELECT count(*) FROM pg_locks WHERE NOT granted)";
        let ask = || diesel::select(diesel::dsl::sql::<BigInt>(ask));
        while ask().get_result::<i64>(watch).unwrap() < count {
            assert!(Instant::now() < end, "nobody waits");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn born(partner: PartnerId, number: u8) -> Order {
    let mut order = order();
    order.partner_id = partner;
    order.customer_id.0 = format!("cus_{number}");
    order
}

fn transact<T>(conn: &mut Conn, work: impl FnOnce(&mut Tx) -> Result<T>) -> Result<T> {
    let (handoff, claims) = Handoff::new(1, Withheld::default());
    // Nobody works here: no order is leased.
    drop(claims);
    conn.write([], |conn| {
        let mut tx = Tx::begin(conn, &handoff, std::iter::empty::<&Touching>(), Claims::LookedAt)?;
        let done = work(&mut tx)?;
        tx.finish()?;
        Ok(done)
    })
}

/// One more version of an order.
fn step(tx: &mut Tx, id: OrderId) -> Result<()> {
    let before = tx.find(id)?.expect("it was born");
    let event = Event::Contradicted { what: "this".into() };
    apply(tx, &before, &event, Actor::Gateway, at(1), &Policy::default())?.expect("it is never refused");
    Ok(())
}

/// Two more, in one write.
fn two_steps(tx: &mut Tx, id: OrderId) -> Result<()> {
    let before = tx.find(id)?.expect("it was born");
    let contradicted = || Outcome { event: Some(Event::Contradicted { what: "this".into() }), again: None };
    let (after, mut steps) = worked(&before, &contradicted(), 0, at(1), &Policy::default())?;
    let (after, more) = worked(&after, &contradicted(), 0, at(1), &Policy::default())?;
    steps.extend(more);
    assert_eq!(steps.len(), 2);
    write(tx, &before, after, steps, at(1), &Policy::default())?.expect("it is as it was");
    Ok(())
}

/// What a transaction is told to do.
enum Do {
    Step(OrderId),
    Commit,
    Abort,
}

/// A transaction that is open, and does one thing after the other.
struct Open<'scope> {
    todo: Sender<Do>,
    done: Receiver<()>,
    thread: thread::ScopedJoinHandle<'scope, ()>,
}

impl<'scope> Open<'scope> {
    fn begin<'env>(scope: &'scope thread::Scope<'scope, 'env>, mut conn: Conn) -> Self {
        let (todo, told) = channel();
        let (tell, done) = channel();
        let run = move || {
            let ended = transact(&mut conn, |tx| {
                loop {
                    match told.recv() {
                        Ok(Do::Step(id)) => {
                            step(tx, id)?;
                            let _ = tell.send(());
                        }
                        Ok(Do::Commit) => return Ok(()),
                        Ok(Do::Abort) | Err(_) => return Err(Error::Overloaded),
                    }
                }
            });
            assert!(matches!(ended, Ok(()) | Err(Error::Overloaded)), "{ended:?}");
        };
        Self { todo, done, thread: scope.spawn(run) }
    }

    fn send(&self, what: Do) {
        self.todo.send(what).expect("it is open");
    }

    fn wait(&self) {
        self.done.recv_timeout(PATIENCE).expect("it is done");
    }

    fn end(self, what: Do) {
        self.send(what);
        self.thread.join().expect("it ends");
    }
}

#[test]
fn an_event_stands_behind_that_of_the_version_before_it() {
    if !postgres::is_there() {
        return;
    }
    let cluster = postgres::Cluster::start(0, false);
    let mut house = House::on(&cluster).with_orders(3);
    let (a, b, c) = (house.orders[0], house.orders[1], house.orders[2]);
    let mut conns = [house.writer(), house.writer()];
    thread::scope(|scope| {
        // It has its number, and then waits for an order that a transaction with a later number changes. The event after
        // that one has a place of its own already.
        let early = Open::begin(scope, house.writer());
        early.send(Do::Step(a));
        early.wait();
        let late = Open::begin(scope, house.writer());
        for order in [b, c] {
            late.send(Do::Step(order));
            late.wait();
        }
        early.send(Do::Step(b));
        house.until_waiting(1);
        late.end(Do::Commit);
        early.wait();
        assert_eq!(house.feed(0, 100).0.len(), 3, "nothing is told while an earlier one runs");
        early.end(Do::Commit);
    });
    let told = |house: &mut House, of| -> Vec<i64> {
        let (told, _) = house.feed(0, 100);
        told.into_iter().filter_map(|(order, version)| (order == of).then_some(version)).collect()
    };
    assert_eq!(told(&mut house, b), [1, 2, 3]);
    // Two events in one write, and nobody waits: the order was changed since the transaction began.
    let [early, late] = &mut conns;
    transact(early, |tx| {
        step(tx, a)?;
        tx.conn()?;
        transact(late, |tx| step(tx, b))?;
        two_steps(tx, b)
    })
    .unwrap();
    assert_eq!(told(&mut house, b), [1, 2, 3, 4, 5, 6]);
    assert_eq!((told(&mut house, a), told(&mut house, c)), (vec![1, 2, 3], vec![1, 2]));
}

/// One thing that happens: which transaction, which order, what.
type Happening = (Index, Index, u8, i64);

#[test]
fn however_transactions_overlap_the_log_tells_versions_in_their_order() {
    if !postgres::is_there() {
        return;
    }
    let cluster = postgres::Cluster::start(0, false);
    let happenings = prop::collection::vec((any::<Index>(), any::<Index>(), 0..10_u8, 1..5_i64), 60);
    let config = Config { cases: 24, max_shrink_iters: 64, failure_persistence: None, ..Config::default() };
    let house = std::cell::RefCell::new(House::on(&cluster));
    let run = |happenings: Vec<Happening>| {
        let mut house = house.borrow_mut();
        // Each case has orders, and a partner, of its own.
        let database = house.database.clone();
        let watch = std::mem::replace(&mut house.watch, database.connection(|_| {}).unwrap());
        let fresh = House { database, partner: PartnerId::new(), orders: Vec::new(), watch };
        overlap(fresh.with_orders(3), &happenings)
    };
    TestRunner::new(config).run(&happenings, run).unwrap();
}

const TRANSACTIONS: usize = 4;

fn overlap(mut house: House, happenings: &[Happening]) -> std::result::Result<(), TestCaseError> {
    let mut told: Vec<(OrderId, i64)> = Vec::new();
    let mut cursor = 0;
    // Versions that are committed, and those that a transaction has written and may still take back.
    let mut versions: HashMap<OrderId, i64> = house.orders.iter().map(|order| (*order, 1)).collect();
    thread::scope(|scope| {
        let mut open: Vec<Option<(Open, Vec<OrderId>)>> = repeat_with(|| None).take(TRANSACTIONS).collect();
        // Who waits, for which order, held by whom.
        let mut waiting: Option<(usize, OrderId, usize)> = None;
        for (transaction, order, what, limit) in happenings {
            let (this, order) = (transaction.index(TRANSACTIONS), *order.get(&house.orders));
            if waiting.is_some_and(|(who, ..)| who == this) {
                continue;
            }
            let holder = open.iter().position(|one| one.as_ref().is_some_and(|(_, steps)| steps.contains(&order)));
            match what {
                0..=5 => {
                    // One waits at a time, and nobody for who waits.
                    let is_held = holder.filter(|holder| *holder != this);
                    if is_held.is_some() && waiting.is_some() {
                        continue;
                    }
                    let conn = || (Open::begin(scope, house.writer()), Vec::new());
                    let (one, steps) = open[this].get_or_insert_with(conn);
                    one.send(Do::Step(order));
                    match is_held {
                        Some(holder) => {
                            house.until_waiting(1);
                            waiting = Some((this, order, holder));
                        }
                        None => {
                            one.wait();
                            steps.push(order);
                        }
                    }
                }
                6..=8 => {
                    let Some((one, steps)) = open[this].take() else { continue };
                    let is_kept = *what < 8;
                    one.end(if is_kept { Do::Commit } else { Do::Abort });
                    for order in steps.iter().filter(|_| is_kept) {
                        *versions.get_mut(order).expect("it is one of them") += 1;
                    }
                    if let Some((who, order, holder)) = waiting.filter(|(.., holder)| *holder == this) {
                        let _ = holder;
                        let (one, steps) = open[who].as_mut().expect("it waits");
                        one.wait();
                        steps.push(order);
                        waiting = None;
                    }
                }
                _ => {
                    let (page, last) = house.feed(cursor, *limit);
                    (cursor, told) = (last, [told.as_slice(), &page].concat());
                }
            }
        }
        // Whoever is waited for ends first.
        let mut rest: Vec<usize> = (0..TRANSACTIONS).collect();
        rest.sort_by_key(|one| waiting.is_some_and(|(who, ..)| who == *one));
        for one in rest {
            let Some((ends, steps)) = open[one].take() else { continue };
            if let Some((_, order, _)) = waiting.filter(|(who, ..)| *who == one) {
                ends.wait();
                *versions.get_mut(&order).expect("it is one of them") += 1;
            }
            ends.end(Do::Commit);
            for order in steps {
                *versions.get_mut(&order).expect("it is one of them") += 1;
            }
        }
    });
    loop {
        let (page, last) = house.feed(cursor, 3);
        if page.is_empty() {
            break;
        }
        (cursor, told) = (last, [told.as_slice(), &page].concat());
    }
    for (order, version) in versions {
        let of: Vec<i64> = told.iter().filter_map(|(of, version)| (*of == order).then_some(*version)).collect();
        prop_assert_eq!(of, (1..=version).collect::<Vec<i64>>());
    }
    Ok(())
}

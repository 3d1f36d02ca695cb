//! Lungo, an order service for coffee chains that never makes the second coffee.
//!
//! A mobile app lists a customer's orders, sees none, creates one, crashes, and does both again. Lungo's answer:
//! creating an order commits it in status `new`, which IS the pending task, and calls nobody; a background state
//! machine carries it through payment and the shop; the list says how fresh it is; and **admission** on the primary
//! makes a duplicate impossible even for a client that lost everything.
//!
//! # One order's way
//! `web::orders` parses the request → `admission` decides about it inside `store`'s next transaction → 202 → `worker`
//! claims the row → `acts` asks the gateway or the shop, through `stages` → `store` commits what came of it, which
//! `machine` turns into the next state by `lifecycle`'s table → and so on, until nothing is pending on the row.
//!
//! # What always holds
//! - No transaction is open during a network call: transactions do not leave `store`, and `store` knows no network.
//! - A status changes in one function only (`machine::step`), which is reached through one private function of the
//!   store. Its doors: `commit` (a worker with a claim), `claim` (sets an order aside), `receive` (word from outside),
//!   `command` (an operator), `expire` (the timer).
//!   Each change reads and writes the row and appends one row to `order_events`, in one transaction of the one writer.
//! - A [`store::Claim`] can be made only by the queue and is consumed by `commit`: acting without a lease, or
//!   committing twice, does not compile.
//! - There is no queue table. What is pending on an order follows from the order (`machine::pending_stage`).
//! - What is not committed is not acknowledged; a read writes nothing; an error is never an empty list.
//! - An order has one authorization key for ever. Silence of the gateway is not a refusal, and its "not found" is not
//!   final: money is released until the gateway proves that it is free.
//! - No money moves at a gateway under a name that is not committed, unless a void by our own key binds there.
//! - Money that is owed to the customer or to the shop is never set aside: a release, a look-up and a capture are tried
//!   until they are done ([`lifecycle::Stage::may_be_parked`]). An order is set aside for what it did itself, never for
//!   a process that died (`suspects`). What set it aside stays visible until that is resolved.
//! - News of a payment counts in every status, and it does not matter who asked for what happened: what must go back follows from amounts
//!   alone (captured, refunded, due).
//! - What a gateway says by itself is a hint: it is looked up before anything is done about it.
//! - A restored database is behind its world: nothing acts on its orders before each was compared with the gateway.
//! - Receivers of webhooks are told from the log of events, by `notify`, which nothing waits for: an order that changes
//!   writes nothing more because somebody wants to know of it.
//! - A URL that somebody else chose is spoken to through `foreign`, which holds all the rules of that.
//! - What an operator does, in the console or with a key, is written into the audit log in the transaction that does it.
//! - What an operator does to an order is a [`command`]: it carries the version it was decided on and who does it, or it
//!   does not compile.
//! - Every wait has an end, also one inside libpq: `store`'s watchdog abandons a connection whose server is silent, cancels
//!   nothing, and asks the other hosts.
//! - After a gap in time the outside speaks first: a deadline waits for a grace in which a word from outside wins
//!   (`gaps`). An order that is too late for its purpose ends instead of being done (`machine::too_late_at`).
//! - A clock that steps is not believed at once, and nothing is done before the database's clock is known (`clock`).
//! - An order has one trace for ever (`trace`). No order waits for the collector of traces, and none fails by it.
//! - No clock is read below `web`, `worker`, `notify` and `serve`: `now` is an argument.
//!
//! # Who knows whom
//! `order`, `lifecycle`, `state`, `machine`, `acts`, `work`, `command`, `admission`, `catalogue`, `pace`, `why`,
//! `breaker`, `turns`, `suspects`, `gaps`, `proof`, `error`, `config` and `trace` are pure and know only each other. `store`,
//! `gateway` and `shop` never meet; `stages` and `worker` bring them together. `web` knows the store, and neither the
//! worker nor the ports. Its `console` makes pages for the users that `access` knows. `notify` knows the store and
//! `foreign`. `bulk` does what operators ask for many orders. `controls` tells the worker what an operator holds, and
//! `instance` tells what each process does. `zones` looks for the newest rules of time zones. `lost` gives back money
//! whose order the database has lost, and `recovery` brings orders of a restored backup to where the gateway proves
//! them to be. `serve` wires all of it. `files` makes every file. Modules that are not pure may count in `meters`,
//! which knows only pure ones, and give spans to `tracer`. `simulator::server` is an outside actor with an API of its own. A test holds this.

pub mod access;
pub mod acts;
pub mod admission;
pub mod app;
pub mod breaker;
pub mod bulk;
pub mod catalogue;
pub mod clock;
pub mod collisions;
pub mod command;
pub mod config;
pub mod controls;
pub mod drills;
pub mod error;
pub mod files;
#[cfg(test)]
mod fixtures;
pub mod foreign;
pub mod gaps;
pub mod gateway;
pub mod instance;
pub mod journal;
pub mod keys;
pub mod lifecycle;
pub mod load;
pub mod logs;
pub mod lost;
pub mod machine;
pub mod meters;
pub mod notify;
pub mod operator;
pub mod order;
pub mod pace;
pub mod plot;
pub mod proof;
pub mod pulse;
pub mod reconcile;
pub mod recovery;
pub mod requests;
pub mod serve;
pub mod shop;
pub mod signing;
pub mod simulator;
pub mod stages;
pub mod state;
pub mod store;
pub mod suspects;
pub mod terminal;
pub mod tls;
pub mod trace;
pub mod tracer;
pub mod turns;
pub mod web;
pub mod why;
pub mod work;
pub mod worker;
pub mod zones;

/// Orders are small and many, and most of their memory is given back by another thread than took it.
/// Without huge pages, which kept a third more resident than was ever used.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

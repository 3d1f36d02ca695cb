//! The service on real servers of PostgreSQL, and the servers themselves.

mod failover;
mod faults;
mod instances;
mod replicas;
mod seed;
mod servers;
mod silent;
mod starts;
mod wire;

#[path = "../support/postgres.rs"]
mod harness;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use harness::{Cluster, Database, Node, ask, is_there, programs, run_file, shared};

use crate::server::{Answer, Client, LOOK, PATIENCE, fresh, text};

/// The flags of a service on this database: its primary is whichever of these servers takes writes.
fn flags(cluster: &Cluster, database: &Database) -> Vec<String> {
    let mut flags = vec![format!("--database={}", cluster.whichever_is_primary(&database.name))];
    flags.extend(database.replicas.iter().map(|url| format!("--replica={url}")));
    flags
}

/// One who orders, and repeats under the same key what it does not know the outcome of.
struct Intent {
    customer: String,
    key: String,
    /// The order, once it was accepted.
    id: Option<String>,
}

impl Intent {
    fn new() -> Self {
        Self { customer: fresh("cus"), key: fresh("intent"), id: None }
    }

    fn call(&self, instance: &Client) -> reqwest::Result<Answer> {
        let body = crate::server::two_lungos(&self.customer);
        instance.call("POST", "/v1/orders").header("Idempotency-Key", &self.key).json(&body).try_send()
    }

    /// Asks one instance after the other until one has accepted it; `None` if none did within `patience`.
    fn insist(&mut self, instances: &[&Client], patience: Duration) -> Option<()> {
        let end = Instant::now() + patience;
        let mut next = instances.iter().cycle();
        while Instant::now() < end {
            match self.call(next.next().expect("there is one")) {
                Ok(answer) if answer.status == 202 => {
                    let known = self.id.replace(answer.id());
                    assert!(known.is_none_or(|known| known == answer.id()), "two orders for one intent");
                    return Some(());
                }
                // A refusal of the shop binds no key; a 503 is what the key is for.
                Ok(answer) if answer.status == 503 || answer.body["why"] == "full" => thread::sleep(LOOK),
                Ok(answer) => panic!("{}", answer.text),
                Err(_) => thread::sleep(LOOK),
            }
        }
        None
    }
}

/// A customer's list. A failure is never an empty list: it is an error here.
fn list(instance: &Client, customer: &str, token: Option<&str>) -> reqwest::Result<Answer> {
    let mut call = instance.call("GET", &format!("/v1/orders/ongoing?customer_id={customer}"));
    if let Some(token) = token {
        call = call.header("Lungo-Position", token);
    }
    call.try_send()
}

/// The ids of all orders that a list shows, ongoing or not.
fn shown(list: &Value) -> Vec<String> {
    let orders = |member: &str| list[member].as_array().cloned().unwrap_or_default();
    orders("orders").iter().chain(&orders("recently_closed")).map(|order| text(&order["order_id"])).collect()
}

/// Looks for longer than [`crate::server::until`]: several servers and instances share the machine.
#[track_caller]
fn until_at_last<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + 2 * PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "in vain: {what}");
        thread::sleep(LOOK);
    }
}

//! Servers that say nothing: they stand still, or the connection to them is half open. Every wait for one has an end.

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::wire::Wire;
use super::{Cluster, Database, Intent, Node, flags, is_there, until_at_last};
use crate::server::{Server, until};

/// How long an outage may be felt once there is a primary again.
const RECOVERY: Duration = Duration::from_secs(30);

/// The log event of a connection that is not waited for any longer.
const ABANDONED: &str = "store.connection_abandoned";

/// The address of a database behind these wires.
fn behind(wires: &[&Wire], database: &Database) -> String {
    let hosts: Vec<String> = wires.iter().map(|wire| format!("127.0.0.1:{}", wire.port)).collect();
    format!("postgres://lungo:geheim@{}/{}", hosts.join(","), database.name)
}

/// Orders are accepted again within [`RECOVERY`].
fn recovers(server: &Server) -> Duration {
    let since = Instant::now();
    Intent::new().insist(&[&server.partner], RECOVERY).expect("it writes again");
    since.elapsed()
}

#[test]
fn a_primary_that_stands_still_is_abandoned_and_nothing_acknowledged_is_lost() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(2, true);
    let database = cluster.fresh_database();
    let flags = flags(&cluster, &database);
    let server = Server::start(&flags.iter().map(String::as_str).chain(["--pace=zero"]).collect::<Vec<_>>());
    let ordering = AtomicBool::new(true);
    let accepted = Mutex::new(Vec::<(Instant, Intent)>::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while ordering.load(Ordering::Relaxed) {
                    let mut intent = Intent::new();
                    intent.insist(&[&server.partner], 3 * RECOVERY).expect("it goes on after the failover");
                    accepted.lock().unwrap().push((Instant::now(), intent));
                }
            });
        }
        until("orders are accepted", || (accepted.lock().unwrap().len() > 10).then_some(()));
        cluster.freeze(Node::Primary);
        cluster.promote_the_one_ahead();
        let promoted = Instant::now();
        until_at_last("orders are accepted again", || {
            let is_new = |(at, _): &(Instant, Intent)| *at > promoted;
            accepted.lock().unwrap().iter().any(is_new).then_some(())
        });
        let felt = promoted.elapsed();
        println!("accepted again {felt:.1?} after the promotion");
        ordering.store(false, Ordering::Relaxed);
        assert!(felt < RECOVERY, "clients felt it for {felt:?}");
    });
    assert!(server.log().contains(ABANDONED));

    // The old primary was not fenced. What it still had to say is heard by nobody.
    cluster.thaw(Node::Primary);
    until("the threads come back", || server.log().contains("store.abandoned_thread").then_some(()));
    recovers(&server);
    for (_, intent) in &accepted.into_inner().unwrap() {
        server.order(intent.id.as_ref().expect("it was accepted"));
    }
}

#[test]
fn a_connection_that_is_half_open_is_left_for_the_standby_that_was_promoted() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(1, false);
    let database = cluster.fresh_database();
    let (old, new) = (Wire::to(&cluster, Node::Primary), Wire::to(&cluster, Node::Replica(0)));
    let server = Server::start(&[&format!("--database={}", behind(&[&old, &new], &database)), "--pace=zero"]);
    let mut before = Intent::new();
    before.insist(&[&server.partner], RECOVERY).expect("all is well");
    cluster.catch_up(0);
    old.silence();
    let mut waiting = Intent::new();
    let asked = Instant::now();
    assert_eq!(waiting.call(&server.partner).expect("it answers").status, 503);
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    cluster.promote(0);
    println!("written again {:.1?} after the promotion", recovers(&server));
    waiting.insist(&[&server.partner], RECOVERY).expect("its outcome is known");
    server.order(before.id.as_ref().expect("it was accepted"));
    let log = server.log();
    assert!(log.contains("store.database_unavailable") || log.contains(ABANDONED), "{log}");
    assert!(!log.contains("geheim"), "{log}");
}

#[test]
fn connections_that_the_network_has_forgotten_are_replaced_by_new_ones_to_the_same_server() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(0, false);
    let database = cluster.fresh_database();
    let wire = Wire::to(&cluster, Node::Primary);
    let server = Server::start(&[&format!("--database={}", behind(&[&wire], &database)), "--pace=zero"]);
    Intent::new().insist(&[&server.partner], RECOVERY).expect("all is well");
    wire.forget();
    println!("written again {:.1?} after the network forgot", recovers(&server));
    assert!(server.log().contains(ABANDONED));
}

#[test]
fn a_start_passes_over_a_silent_host_and_says_for_which_it_waits() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(0, false);
    let database = cluster.fresh_database();
    // It listens, and nobody ever takes what comes.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("an address").port();
    let wire = Wire::to(&cluster, Node::Primary);
    let url = format!("postgres://lungo:geheim@127.0.0.1:{silent},127.0.0.1:{}/{}", wire.port, database.name);
    let server = Server::start(&[&format!("--database={url}"), "--pace=zero"]);
    recovers(&server);
    let log = server.log();
    assert!(log.contains("store.waiting_for_host") && log.contains(&format!("127.0.0.1:{silent}")), "{log}");
    assert!(!log.contains("geheim"), "{log}");
}

#[test]
fn a_start_waits_for_connections_that_come_late() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(0, false);
    let database = cluster.fresh_database();
    let wire = Wire::to(&cluster, Node::Primary);
    // Each but the first, as if each had lost a packet.
    wire.delay_from(1, Duration::from_secs(3));
    let url = format!("{}?connect_timeout=10", behind(&[&wire], &database));
    let server = Server::start(&[&format!("--database={url}"), "--pace=zero"]);
    recovers(&server);
    assert!(!server.log().contains("store.database_unavailable"), "{}", server.log());
}

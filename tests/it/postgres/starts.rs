//! What the service needs of its servers it asks when it starts, and says what is wrong.

use super::{Cluster, Node, is_there, shared};
use crate::server::{Server, lungo, run, text};

/// Starts the service with these flags, which must not work, and gives what it says.
#[track_caller]
fn refusal(flags: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = lungo();
    command.args(flags).args(["--listen", "127.0.0.1:0", "--data"]).arg(directory.path());
    let (status, log) = run(command);
    assert!(!status.success(), "{flags:?}: {log}");
    assert!(!log.contains("panicked"), "{flags:?}: {log}");
    log
}

#[test]
fn servers_that_cannot_serve_are_named_at_the_start() {
    let Some(cluster) = shared() else { return };
    let database = cluster.fresh_database();
    let good = format!("--database={}", database.primary);
    drop(Server::start(&[&good]));

    for (url, words) in [
        ("mysql://h/d".to_owned(), "postgres://"),
        ("postgres://lungo:geheim@/d?host=/nowhere".to_owned(), "/nowhere"),
        (database.primary.replace(&database.name, "nothing_there"), "nothing_there"),
        // A replica takes no writes.
        (database.replicas[0].clone(), "standby"),
    ] {
        let said = refusal(&[&format!("--database={url}")]);
        assert!(said.contains(words) && !said.contains("geheim"), "{url}: {said}");
    }

    database.psql("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    let said = refusal(&[&good]);
    assert!(said.contains("9999") && said.contains("newer"), "{said}");
}

#[test]
fn a_replica_of_another_database_is_none() {
    let Some(cluster) = shared() else { return };
    let (database, other) = (cluster.fresh_database(), Cluster::start(0, false));
    let said = refusal(&[
        &format!("--database={}", database.primary),
        &format!("--replica={}", other.url(Node::Primary, "postgres")),
    ]);
    assert!(said.contains("system identifier"), "{said}");
}

#[test]
fn durability_is_what_the_servers_do_and_can_be_demanded() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(1, true);
    // Each has a database of its own: the keys of the demo are told once.
    let fresh = || format!("--database={}", cluster.fresh_database().primary);
    let server = Server::start(&[&fresh(), "--durability=synchronous"]);
    assert_eq!(text(&server.get("/readyz").expect(200).body["durability"]), "synchronous");
    drop(server);
    cluster.set(Node::Primary, "synchronous_standby_names", "");
    let server = Server::start(&[&fresh()]);
    assert_eq!(text(&server.get("/readyz").expect(200).body["durability"]), "asynchronous");
    drop(server);
    let said = refusal(&[&fresh(), "--durability=synchronous"]);
    assert!(said.contains("synchronous"), "{said}");
}

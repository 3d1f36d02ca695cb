//! What the service needs of its servers it asks when it starts, and says what is wrong.

use super::{Cluster, Database, Node, is_there, shared};
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

    let keys = |url: &str| {
        let mut command = lungo();
        command.args(["keys", "list", "--database", url]);
        run(command)
    };
    // Whoever only looks creates no schema, and the service that does makes nothing of half of one.
    let bare = cluster.fresh_database();
    let (ended, said) = keys(&bare.primary);
    assert!(!ended.success() && said.contains("older version"), "{said}");
    assert_eq!(bare.psql("SELECT count(*) FROM pg_tables WHERE tablename = 'orders'"), "0");
    let half = cluster.fresh_database();
    half.psql("CREATE TABLE meta (name text)");
    let said = refusal(&[&format!("--database={}", half.primary)]);
    assert!(said.contains("already exists"), "{said}");
    assert_eq!(half.psql("SELECT count(*) FROM pg_tables WHERE tablename = 'orders'"), "0", "all of it or nothing");

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

/// A role of its own for a fresh database, which has to say its password; and the database, by that password.
fn guarded(cluster: &Cluster) -> (String, Database) {
    let database = cluster.fresh_database();
    let role = format!("guard_of_{}", database.name);
    database.psql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'richtig'; ALTER DATABASE {} OWNER TO {role}",
        database.name
    ));
    let url = database.primary.replace("://lungo@", &format!("://{role}:richtig@"));
    (role, Database { primary: url, ..database })
}

#[test]
fn a_wrong_password_is_named_and_no_password_is_shown() {
    let Some(cluster) = shared() else { return };
    let (role, Database { primary: url, .. }) = guarded(cluster);
    cluster.admit(&format!("local all {role} scram-sha-256"));
    let wrong = url.replace(":richtig@", ":geheim@");
    let said = refusal(&[&format!("--database={wrong}")]);
    assert!(said.contains("password authentication failed"), "{said}");
    assert!(!said.contains("geheim") && !said.contains("richtig"), "{said}");
    let said = refusal(&[&format!("--database={}", url.replace(":richtig@", "@"))]);
    assert!(said.contains("no password supplied"), "{said}");
    // Nobody depends on a replica: it is said once what is wrong, and the primary serves.
    let server = Server::start(&[&format!("--database={url}"), &format!("--replica={wrong}")]);
    let log = server.log();
    assert!(log.contains("store.replica_failed") && log.contains("password authentication failed"), "{log}");
    assert!(!log.contains("geheim") && !log.contains("richtig"), "{log}");
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_tls_it_is_said_how_to_get_it() {
    let said = refusal(&["--database=postgres://lungo:geheim@127.0.0.1:1/lungo?sslmode=require"]);
    assert!(said.contains("--features tls") && !said.contains("geheim"), "{said}");
}

#[cfg(feature = "tls")]
#[test]
fn a_connection_may_have_to_be_encrypted_and_the_server_to_prove_who_it_is() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(0, false);
    // Of the many addresses of this machine one that no other test listens at.
    let host = format!("127.{}.{}.7", 10 + std::process::id() % 200, (std::process::id() / 200) % 250);
    cluster.secure(&host);
    let (role, Database { name, .. }) = guarded(&cluster);
    cluster.admit(&format!("hostnossl all {role} 127.0.0.0/8 reject"));
    cluster.admit(&format!("hostssl all {role} 127.0.0.0/8 scram-sha-256"));
    let url = |parameters: &str| format!("--database=postgres://{role}:richtig@{host}:5432/{name}?{parameters}");
    let said = refusal(&[&url("sslmode=disable")]);
    assert!(said.contains("pg_hba.conf") && !said.contains("richtig"), "{said}");
    let said = refusal(&[&url("sslmode=verify-full&sslrootcert=/nowhere")]);
    assert!(said.contains("/nowhere"), "{said}");
    let root = cluster.certificate();
    let _server = Server::start(&[&url(&format!("sslmode=verify-full&sslrootcert={}", root.display()))]);
    let mut keys = lungo();
    keys.args(["keys", "list", &url("sslmode=require")]);
    let (ended, said) = run(keys);
    assert!(ended.success() && said.contains("admin"), "{said}");
}

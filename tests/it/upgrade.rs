//! Databases of earlier versions are opened by this one. `tests/it/upgrade/make` made them, by the programs of those
//! versions, with orders in every status and payment status.
//!
//! A release adds a folder there. Folders stay: an upgrade may leave out versions.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::postgres::{Cluster, ask, run_file, shared};
use crate::server::{BY_HAND, Client, Process, lungo, run, text, until};

const PARTNER: &str = "01970000-0000-7000-8000-000000000001";
/// What answers say of the present, and of where the service is.
const OF_THE_PRESENT: &[&str] = &[
    "progress",
    "next_poll_at",
    "allowed_actions",
    "expected_wait_seconds",
    "expected_ready_at",
    "presence",
    // Deliveries of months ago are given up.
    "enabled",
    "disabled_at",
    "disabled_why",
];
/// The database and the files of the simulated world.
const FILES: &[&str] = &["lungo.db", "gateway-ledger.jsonl", "shop-journal.jsonl"];

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/upgrade")
}

/// The folders of earlier versions.
fn versions() -> Vec<PathBuf> {
    let entries = fs::read_dir(kept()).expect("a folder").map(|entry| entry.expect("readable").path());
    let versions: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    assert!(!versions.is_empty());
    versions
}

fn unpacked(file: &Path) -> impl io::Read {
    GzDecoder::new(File::open(file).unwrap_or_else(|fault| panic!("{}: {fault}", file.display())))
}

/// An installation of an earlier version.
struct Installation {
    directory: TempDir,
    /// Where its database is, if on a server.
    database: Option<String>,
    /// What that version showed.
    shown: Value,
}

impl Installation {
    /// One whose database is a file.
    fn embedded(version: &Path) -> Self {
        Self::unpack(&version.join("sqlite"), FILES, None)
    }

    /// One whose database is on a server.
    fn on_a_server(version: &Path, cluster: &Cluster) -> Self {
        let database = cluster.fresh_database().primary;
        let folder = version.join("postgres");
        let new = Self::unpack(&folder, &FILES[1..], Some(database.clone()));
        let dump = new.directory.path().join("database.sql");
        io::copy(&mut unpacked(&folder.join("database.sql.gz")), &mut File::create(&dump).unwrap()).unwrap();
        run_file(&database, &dump, &[]).expect("a whole dump");
        new
    }

    fn unpack(folder: &Path, files: &[&str], database: Option<String>) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        for name in files {
            let mut file = File::create(directory.path().join(name)).expect("a new file");
            io::copy(&mut unpacked(&folder.join(format!("{name}.gz"))), &mut file).expect("a whole file");
        }
        let shown = serde_json::from_reader(unpacked(&folder.join("shown.json.gz"))).expect("JSON");
        Self { directory, database, shown }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = lungo();
        command.args(words).arg("--data").arg(self.directory.path());
        command.envs(self.database.iter().map(|url| ("LUNGO_DATABASE", url)));
        command
    }

    /// This version's service on it.
    fn start(&self, flags: &[&str]) -> Process {
        let words = [&["serve", "--listen=127.0.0.1:0"], flags].concat();
        let process = Process::listening(&mut self.command(&words)).unwrap_or_else(|log| panic!("{log}"));
        let client = Client { url: process.url.clone(), key: None };
        until("the service is ready", || (client.call("GET", "/readyz").try_send().ok()?.status == 200).then_some(()));
        process
    }

    /// A client with a new key of a partner or a shop.
    fn client(&self, process: &Process, kind: &str, owner: &str) -> Client {
        let (ended, key) = run(self.command(&["keys", "create", "--kind", kind, &format!("--{kind}"), owner]));
        assert!(ended.success(), "{key}");
        let client = Client { url: process.url.clone(), key: Some(key.trim().to_owned()) };
        until("the service knows the key", || (client.get("/v1/shops").status != 401).then_some(()));
        client
    }

    /// Whether each order is over, and the gateway holds what its events decided. People carry on those that are not: of
    /// some the deadline is hours after the databases were made.
    fn settle(&self, partner: &Client, shop: &Client) -> Result<(), String> {
        let mut left = Ok(());
        for order in self.orders().map(|order| partner.order(&text(&order["order_id"]))) {
            let (id, payment) = (text(&order["order_id"]), text(&order["payment"]["status"]));
            let step = match text(&order["status"]).as_str() {
                "awaiting_shop" => "accept",
                "accepted" => "start",
                "preparing" => "ready",
                "ready" => "collected",
                _ => "",
            };
            if order["ongoing"] == false {
                let is_kept = ["completed", "not_collected"].contains(&text(&order["status"]).as_str());
                let is_free = ["none", "declined", "voided", "refunded"].contains(&payment.as_str());
                if !is_kept && !is_free || !order["payment"]["pending_operation"].is_null() {
                    left = Err(format!("{order:#}"));
                }
                continue;
            }
            left = Err(format!("{order:#}"));
            // What the timer or a worker did meanwhile makes these refusals.
            if step.is_empty() {
                partner.cancel(&id);
            } else {
                shop.call("POST", &format!("/v1/shop/orders/{id}/{step}")).json(&json!({})).send();
            }
        }
        left?;
        let (ended, said) = run(self.command(&["simulator"]));
        if ended.success() { Ok(()) } else { Err(said) }
    }

    fn orders(&self) -> impl Iterator<Item = &Value> {
        self.shown["orders"].as_array().expect("orders").iter()
    }
}

/// Everything that was shown is shown; members that are new are none of a difference.
fn compare(place: &str, before: &Value, now: &Value, differences: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            for (name, value) in before.iter().filter(|(name, _)| !OF_THE_PRESENT.contains(&name.as_str())) {
                compare(&format!("{place}/{name}"), value, now.get(name).unwrap_or(&Value::Null), differences);
            }
        }
        (Value::Array(before), Value::Array(now)) if before.len() == now.len() => {
            for (index, (before, now)) in before.iter().zip(now).enumerate() {
                compare(&format!("{place}/{index}"), before, now, differences);
            }
        }
        _ if before != now => differences.push(format!("{place}: {before} is {now} now")),
        _ => {}
    }
}

/// What this version shows, in the form in which `make` kept it.
fn shown(client: &Client, before: &Value) -> Value {
    let get = |path: &str| client.get(path).expect(200).body;
    let all = |path: &str, member: &str| get(path)[member].clone();
    let by_name = |member: &str, look: &dyn Fn(&str) -> Value| -> Value {
        let names = before[member].as_object().expect("names").keys();
        names.map(|name| (name.clone(), look(name))).collect::<serde_json::Map<_, _>>().into()
    };
    let orders: Vec<Value> = before["orders"]
        .as_array()
        .expect("orders")
        .iter()
        .map(|order| client.order(&text(&order["order_id"])))
        .collect();
    json!({
        "feed": all("/v1/events?limit=1000", "events"),
        "orders": orders,
        "events": by_name("events", &|order| client.events(order).into()),
        "lists": by_name("lists", &|customer| all(&format!("/v1/orders?customer_id={customer}"), "orders")),
        "ongoing": by_name("ongoing", &|customer| {
            let orders = client.ongoing(customer).body["orders"].clone();
            orders.as_array().expect("a list").iter().map(|order| order["order_id"].clone()).collect()
        }),
        "webhooks": all("/v1/webhooks", "webhooks"),
        "shops": all("/v1/shops", "shops"),
        "menu": get(&format!("/v1/shops/{BY_HAND}/menu")),
    })
}

fn opens_shows_and_ends(installation: &Installation) {
    // Nothing acts and no deadline comes due, so what is shown is what was there.
    let process = installation.start(&["--stages=none", "--deadline-grace=1h"]);
    let client = installation.client(&process, "partner", PARTNER);
    let mut differences = Vec::new();
    compare("", &installation.shown, &shown(&client, &installation.shown), &mut differences);
    assert!(differences.is_empty(), "{differences:#?}");
    drop(process);

    let quick = ["--deadline-grace=0s", "--call-timeout=1s", "--lease=3s", "--breaker-pause=500ms"];
    let process = installation.start(&quick);
    let client = Client { url: process.url.clone(), key: client.key };
    let shop = installation.client(&process, "shop", BY_HAND);
    let mut left = String::new();
    let settled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("every order ends", || installation.settle(&client, &shop).map_err(|why| left = why).ok());
    }));
    assert!(settled.is_ok(), "{left}\n{}", process.log());
    for order in installation.orders() {
        let (id, before) = (text(&order["order_id"]), order["version"].as_i64().expect("a version"));
        let now = client.order(&id);
        // What had ended stays as it was, except for its money.
        if order["ongoing"] == false {
            assert_eq!((&now["status"], &now["reason"]), (&order["status"], &order["reason"]), "{now:#}");
        }
        assert!(now["version"].as_i64() >= Some(before));
    }
    // Business goes on.
    let new = client.created(&crate::server::two_lungos("after the upgrade"));
    client.wait_for_status(&text(&new["order_id"]), "completed");
}

#[test]
fn an_embedded_database_of_each_version_is_opened_shown_and_worked_off() {
    for version in versions() {
        println!("{}", version.display());
        opens_shows_and_ends(&Installation::embedded(&version));
    }
}

#[test]
fn a_database_of_each_version_on_a_server_is_opened_shown_and_worked_off() {
    let Some(cluster) = shared() else { return };
    for version in versions() {
        println!("{}", version.display());
        opens_shows_and_ends(&Installation::on_a_server(&version, cluster));
    }
}

/// A schema that a later version made, and which that was.
const LATER: &str = "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999');
    INSERT INTO meta VALUES ('migrated_by', '7.3.1') ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// Every command that opens the database says which version it needs, and how to go back; and changes nothing.
fn is_refused(installation: &Installation) {
    for words in [&["serve", "--listen=127.0.0.1:0"][..], &["keys", "list"]] {
        let (ended, said) = run(installation.command(words));
        assert!(!ended.success(), "{words:?}: {said}");
        let ours = env!("CARGO_PKG_VERSION");
        for part in
            ["schema 9999 of a newer version", "lungo 7.3.1", ours, "Install that version", "restore the backup"]
        {
            assert!(said.contains(part), "{words:?}: {part} in {said}");
        }
    }
}

#[test]
fn a_database_of_a_later_version_is_refused_with_a_way_out() {
    use diesel::connection::{Connection, SimpleConnection};
    let installation = Installation::embedded(&versions()[0]);
    drop(installation.start(&["--stages=none", "--deadline-grace=1h"]));
    let file = installation.directory.path().join("lungo.db");
    let mut database = diesel::sqlite::SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    database.batch_execute(LATER).unwrap();
    drop(database);
    is_refused(&installation);
    // A backup of that database is refused as well, before it takes the place of another.
    let copy = installation.directory.path().join("later.backup");
    fs::copy(&file, &copy).unwrap();
    let elsewhere = Installation::embedded(&versions()[0]);
    let (ended, said) = run(elsewhere.command(&["restore", copy.to_str().unwrap()]));
    assert!(!ended.success() && said.contains("lungo 7.3.1") && said.contains("Install that version"), "{said}");
}

#[test]
fn a_database_of_a_later_version_on_a_server_is_refused_with_a_way_out() {
    let Some(cluster) = shared() else { return };
    let installation = Installation::on_a_server(&versions()[0], cluster);
    drop(installation.start(&["--stages=none", "--deadline-grace=1h"]));
    let database = installation.database.as_deref().unwrap();
    ask(database, LATER).unwrap();
    is_refused(&installation);
}

#[test]
fn the_program_says_its_version_its_source_and_its_schemas() {
    let (ended, said) = run({
        let mut command = lungo();
        command.arg("--version");
        command
    });
    let newest = |engine: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.max().unwrap().split('_').next().unwrap().to_owned()
    };
    let lines: Vec<&str> = said.lines().collect();
    let [version, commit, schema] = lines[..] else { panic!("{said}") };
    assert!(ended.success() && commit.starts_with("commit "), "{said}");
    assert_eq!(version, concat!("lungo ", env!("CARGO_PKG_VERSION")));
    assert_eq!(schema, format!("schema {} of SQLite, {} of PostgreSQL", newest("sqlite"), newest("postgres")));
}

//! What the service leaves on the disk and in a log: other users of the machine read none of it, and what is gone is
//! missed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::postgres;
use crate::server::{Process, Server, database, fresh, lungo, run, teas, text, until};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Files of a directory that others may read, with their modes.
fn open_to_others(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let open = files.filter(|path| path.is_file() && mode(path) != 0o600);
    open.map(|path| format!("{} {:o}", path.display(), mode(&path))).collect()
}

#[test]
fn files_are_private_whatever_the_umask_and_the_directory_allow() {
    let directory = tempfile::tempdir().unwrap();
    let (open, made) = (directory.path().join("open"), directory.path().join("made"));
    fs::create_dir(&open).unwrap();
    allow(&open, 0o777);
    for data in [&open, &made] {
        let mut careless = Command::new("sh");
        careless.args(["-c", "umask 000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_lungo"), "--listen=127.0.0.1:0"]);
        careless.arg("--data").arg(data);
        careless.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = Process::listening(&mut careless).unwrap_or_else(|log| panic!("{log}"));
        assert_eq!(open_to_others(data), [""; 0]);
        assert!(fs::read_dir(data).unwrap().count() >= 7, "database, two logs, lock, ledger, journal, keys, address");
        let backup = directory.path().join("backup");
        let mut backs_up = Command::new("sh");
        backs_up.args(["-c", "umask 000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_lungo"), "backup"]);
        backs_up.arg(&backup).arg("--data").arg(data).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
        let (status, log) = run(backs_up);
        assert!(status.success() && mode(&backup) == 0o600, "{log}");
        fs::remove_file(backup).unwrap();
        drop(process);
    }
    assert_eq!((mode(&open), mode(&made)), (0o777, 0o700), "one that we make is ours alone");
}

#[test]
fn files_of_an_older_version_are_tightened_at_the_start() {
    let mut server = Server::start(&[]);
    server.created(&teas(&fresh("cus"), 1, "pm_card_visa", None));
    server.kill_9();
    for entry in fs::read_dir(server.data()).unwrap() {
        allow(&entry.unwrap().path(), 0o644);
    }
    fs::write(server.data().join("of-another-program"), "").unwrap();
    allow(&server.data().join("of-another-program"), 0o644);
    server.restart();
    let left = open_to_others(server.data());
    assert!(left.iter().all(|file| file.contains("another-program") || file.contains("database.url")), "{left:?}");
}

#[test]
fn a_database_that_is_gone_is_not_begun_anew_as_a_demo() {
    let mut server = Server::start(&[]);
    if !database(server.data()).is_empty() {
        return;
    }
    let order = server.created(&teas(&fresh("cus"), 1, "pm_card_visa", None));
    server.wait_for_status(&text(&order["order_id"]), "completed");
    server.stop();
    let file = |name: &str| server.data().join(name);
    let keys = fs::read(file("demo.env")).unwrap();
    let start = || {
        let mut again = lungo();
        again.args(["--listen=127.0.0.1:0", "--data"]).arg(server.data());
        again
    };
    let refused = |what: &str| {
        let (status, log) = run(start());
        assert!(!status.success(), "{what}: {log}");
        let tells = ["missing or empty", "gateway-ledger.jsonl", "lungo restore", "delete these files"];
        assert!(tells.iter().all(|word| log.contains(word)), "{what}: {log}");
        assert_eq!(fs::read(file("demo.env")).unwrap(), keys, "{what}");
    };
    let whole = fs::read(file("lungo.db")).unwrap();
    fs::write(file("lungo.db"), "").unwrap();
    refused("emptied");
    assert_eq!(fs::metadata(file("lungo.db")).unwrap().len(), 0, "nothing was changed");
    fs::remove_file(file("lungo.db")).unwrap();
    refused("deleted");
    assert!(!file("lungo.db").exists(), "nothing was begun");
    fs::write(file("lungo.db"), whole).unwrap();
    Process::listening(&mut start()).unwrap_or_else(|log| panic!("the way out: {log}"));
    for name in
        ["lungo.db", "lungo.db-wal", "lungo.db-shm", "gateway-ledger.jsonl", "shop-journal.jsonl", "service.json"]
    {
        let _ = fs::remove_file(file(name));
    }
    let process = Process::listening(&mut start()).unwrap_or_else(|log| panic!("the other way out: {log}"));
    until("it says so", || process.log().contains("DEMO").then_some(()));
}

#[test]
fn an_empty_database_of_a_server_does_not_take_the_place_of_a_full_one() {
    let Some(cluster) = postgres::shared() else { return };
    let (data, full, empty) = (tempfile::tempdir().unwrap(), cluster.fresh_database(), cluster.fresh_database());
    let start = |url: &str| {
        let mut command = lungo();
        command.args(["--listen=127.0.0.1:0", "--data"]).arg(data.path()).env("LUNGO_DATABASE", url);
        command
    };
    drop(Process::listening(&mut start(&full.primary)).unwrap_or_else(|log| panic!("{log}")));
    let (status, log) = run(start(&empty.primary));
    assert!(!status.success() && log.contains("service.json") && log.contains("lungo migrate"), "{log}");
    drop(Process::listening(&mut start(&full.primary)).unwrap_or_else(|log| panic!("{log}")));
}

#[test]
fn a_one_time_link_is_in_no_log_and_the_command_knows_the_address() {
    let server = Server::start(&[]);
    let log = server.log();
    assert!(log.contains("lungo console-link --data") && !log.contains("/console/enter/"), "{log}");
    let link = |flags: &[&str]| {
        let mut command = lungo();
        command.args(["console-link", "--data"]).arg(server.data()).args(flags).envs(database(server.data()));
        run(command)
    };
    let (status, shown) = link(&[]);
    let path = shown.trim().strip_prefix(&server.url).unwrap_or_else(|| panic!("{}: {shown}", server.url));
    assert!(status.success() && path.starts_with("/console/enter/"), "{shown}");
    assert!(server.visit("GET", path, "").contains("password"));
    assert!(link(&["--console-url=https://x.example"]).1.starts_with("https://x.example/console/enter/"));

    let behind = Server::start(&["--console-url=https://console.example/"]);
    let mut command = lungo();
    command.args(["console-link", "--data"]).arg(behind.data()).envs(database(behind.data()));
    assert!(run(command).1.starts_with("https://console.example/console/enter/"));
}

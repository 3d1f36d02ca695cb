//! What the commands say where they fail, and to readers that are gone.

use std::io::pipe;
use std::process::{Command, Output, Stdio};

use crate::server::{Server, database, lungo};

fn command(words: &[&str]) -> Command {
    let mut command = lungo();
    // A backtrace is shown only to those who ask for it by `-v`.
    command.args(words).env("RUST_BACKTRACE", "1");
    command
}

fn ends(words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(words).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// One failure of every command that can fail.
const FAILURES: &[&[&str]] = &[
    &["--data", "/proc/none"],
    &["serve", "--data", "/proc/none"],
    &["serve", "--config", "/proc/none"],
    &["serve", "--log", "x=y=z"],
    &["serve", "--gateway", "stripe", "--data", "/proc/none"],
    &["keys", "list", "--data", "/proc/none"],
    &["keys", "create", "--kind", "admin", "--data", "/proc/none"],
    &["keys", "revoke", "01970000-0000-7000-8000-000000000011", "--data", "/proc/none"],
    &["keys", "list", "--database", "postgres://lungo:geheim@127.0.0.1:1/none"],
    &["load", "--data", "/proc/none"],
    &["load", "--url", "http://127.0.0.1:1", "--partner-key", "x", "--orders", "1"],
    &["load", "--log", "x=y=z"],
    &["collisions", "--data", "/proc/none"],
    &["polls", "--data", "/proc/none"],
    &["simulator", "--data", "/proc/none"],
    &["simulator", "--listen", "192.0.2.1:1", "--data", "/proc/none"],
    &["console-link", "--data", "/proc/none"],
    &["backup", "--data", "/proc/none", "/proc/none/backup"],
    &["restore", "--data", "/proc/none", "/proc/none/backup"],
    &["restored", "--data", "/proc/none", "--since", "2020-01-01T00:00:00Z"],
    &["migrate", "--from", "sqlite:///proc/none", "--to", "postgres://lungo:geheim@127.0.0.1:1/none"],
];

#[test]
fn a_failure_is_one_sentence_and_a_hint() {
    for words in FAILURES {
        let (code, out, said) = ends(words);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{words:?}: {said}");
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            matches!(lines[..], [error, hint] if error.starts_with("error: ") && hint.starts_with("hint: ")),
            "{words:?}: {said}"
        );
        for never in ["Location", "src/", "backtrace", "geheim", "Some(", "Err("] {
            assert!(!said.contains(never), "{words:?}: {said}");
        }
    }
}

#[test]
fn the_place_in_the_program_is_shown_to_those_who_ask() {
    for words in [["-v", "keys", "list"], ["keys", "list", "--verbose"]] {
        let (code, _, said) = ends(&[&words[..], &["--data", "/proc/none"]].concat());
        assert!(code == Some(1) && said.contains("Location") && said.contains("src/operator.rs"), "{said}");
    }
    let (code, _, said) = ends(&["serve", "-v", "--data", "/proc/none"]);
    assert!(code == Some(1) && said.contains("Location"), "{said}");
    assert!(ends(&["keys", "--help"]).1.contains("--verbose"));
}

#[test]
fn wrong_usage_has_a_code_of_its_own() {
    for words in [&["nap"][..], &["serve", "--nap"], &["keys", "create"], &["load", "--orders", "0"]] {
        let (code, _, said) = ends(words);
        assert!(code == Some(2) && said.starts_with("error: "), "{words:?}: {said}");
    }
}

#[test]
fn packages_get_a_manual_page_for_each_command_and_completions_for_three_shells() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().to_str().expect("UTF-8");
    for _ in 0..2 {
        let (code, out, said) = ends(&["manual", to]);
        assert_eq!((code, out.as_str(), said.as_str()), (Some(0), "", ""), "also over an older manual");
    }
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    let page = read("man/lungo.1");
    for command in ["serve", "keys", "backup", "restore", "restored", "migrate", "lifecycle"] {
        assert!(page.contains(&format!("lungo\\-{command}(1)")), "{command}: {page}");
        assert!(!read(&format!("man/lungo-{command}.1")).is_empty());
    }
    assert!(!page.contains("manual(1)"), "it is for packages, not for users");
    assert!(read("man/lungo-serve.1").contains("LUNGO_LISTEN"));
    for shell in ["lungo.bash", "_lungo", "lungo.fish"] {
        assert!(read(&format!("completions/{shell}")).contains("restored"), "{shell}");
    }
    assert_eq!(ends(&["manual", "/proc/none"]).0, Some(1));
}

#[test]
fn readers_that_are_gone_are_no_failure_and_a_full_disk_is_one() {
    let server = Server::start(&[]);
    let data = server.data().to_str().expect("UTF-8");
    let partner = ["keys", "create", "--kind", "partner", "--partner", "01970000-0000-7000-8000-000000000001"];
    for words in [&["lifecycle"][..], &["keys", "list", "--data", data], &[&partner[..], &["--data", data]].concat()] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let errors = writer.try_clone().expect("a second end");
        let ended =
            command(words).envs(database(server.data())).stdout(writer).stderr(errors).status().expect("it runs");
        assert_eq!(ended.code(), Some(0), "{words:?}");

        let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux");
        let ended =
            command(words).envs(database(server.data())).stdout(full).stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(1) && said.contains("standard output cannot be written"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_failure_that_is_read_by_no_program_still_ends_with_its_code() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let failing = ["keys", "list", "--data", "/proc/none"];
    assert_eq!(command(&failing).stderr(writer).status().expect("it runs").code(), Some(1));
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux");
    assert_eq!(command(&failing).stderr(full).status().expect("it runs").code(), Some(1));
}

#[test]
fn servers_that_are_stopped_as_planned_log_no_warning() {
    for _ in 0..3 {
        let (code, out, said) = ends(&["load", "--orders", "20", "--log", "warn"]);
        assert!(code == Some(0) && alarms(&said).is_empty(), "{out}\n{said}");
    }
    let mut server = Server::start(&[]);
    server.created(&crate::server::two_lungos("cus_stop"));
    assert!(server.stop().success());
    let log = server.log();
    assert!(alarms(&log).is_empty(), "{log}");
}

/// What a log warns of, other than that its keys are for trying.
fn alarms(log: &str) -> Vec<&str> {
    let is_alarm = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    log.lines().filter(is_alarm).filter(|line| !line.contains("serve.demo_made")).collect()
}

//! The client for apps, and the example that uses it: their own tests, against this build's binary.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const OLDEST_NODE: u32 = 20;

#[test]
fn the_client_passes_its_tests() {
    run_tests_in("client/test");
}

#[test]
fn the_example_passes_its_tests() {
    run_tests_in("examples/app-backend/test");
}

fn run_tests_in(folder: &str) {
    if !node_is_there() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".test.js"));
    assert!(!files.is_empty(), "{} has no tests", folder.display());
    let mut node = Command::new("node");
    node.args(["--test", "--test-timeout=240000", "--test-reporter=spec"]).args(files);
    node.current_dir(folder).env("LUNGO_BIN", env!("CARGO_BIN_EXE_lungo"));
    let output = node.output().expect("node starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Whoever only builds the service needs no Node, but is told what was not tested. In CI that is a failure.
fn node_is_there() -> bool {
    let version = Command::new("node").arg("--version").output().ok();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let major = version.as_deref().and_then(|text| text.strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major >= OLDEST_NODE) {
        return true;
    }
    let found = version.as_deref().unwrap_or("none");
    let complaint =
        format!("The app's client was NOT tested: that needs Node {OLDEST_NODE} or newer, and there is {found}.");
    assert!(std::env::var_os("CI").is_none(), "{complaint}");
    // Not `eprintln`, which is hidden where a test passes.
    let _ = writeln!(std::io::stderr(), "\n*** {complaint} ***\n");
    false
}

//! What is tested in JavaScript, against this build's binary: the client for apps, the example that uses it, and the
//! console in a browser.

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

#[test]
fn the_console_passes_its_tests_in_a_browser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let browsers = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let has_browser = std::env::var_os("CHROMIUM").is_some() || browsers.iter().any(|path| Path::new(path).exists());
    if !has_browser || !root.join("console-tests/node_modules").exists() {
        return complain("The console was NOT tested: that needs Chromium, and `npm ci` in console-tests.");
    }
    run_tests_in("console-tests");
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
    // One file at a time: each starts services and browsers of its own.
    node.args(["--test", "--test-timeout=240000", "--test-reporter=spec", "--test-concurrency=1"]).args(files);
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
    complain(&format!("What needs Node {OLDEST_NODE} or newer was NOT tested: there is {found}."));
    false
}

fn complain(complaint: &str) {
    assert!(std::env::var_os("CI").is_none(), "{complaint}");
    // Not `eprintln`, which is hidden where a test passes.
    let _ = writeln!(std::io::stderr(), "\n*** {complaint} ***\n");
}

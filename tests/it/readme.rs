//! The README's own commands, as a stranger types them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::server::{Server, ids};

/// The first block of commands that begins with this line.
fn block(first: &str) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    let mut blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.starts_with(first)).unwrap_or_else(|| panic!("no block with {first}")).to_owned()
}

#[test]
fn the_crash_is_replayed_word_for_word() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a temporary directory");
    symlink(server.data(), folder.path().join("lungo-data")).expect("a link");
    let mut shell = Command::new("bash");
    shell.args(["-euc", &block(". ./lungo-data/demo.env")]).current_dir(folder.path());
    let output = shell.output().expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<(&str, &str)> = said.lines().filter_map(|line| line.rsplit_once("  HTTP ")).collect();
    let statuses: Vec<&str> = answers.iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, ["200", "202", "409", "200"], "{said}");
    assert!(answers[0].0.starts_with(r#"{"orders":[],"#), "{said}");
    assert!(answers[1].0.contains(r#""status":"new""#), "{said}");
    let refused = [r#""code":"similar_order_ongoing""#, r#""order":{"#, r#""revision":""#];
    assert!(refused.iter().all(|part| answers[2].0.contains(part)), "{said}");
    let list: Value = serde_json::from_str(answers[3].0).expect("JSON");
    assert_eq!(ids(&list["orders"]).len(), 1, "one coffee: {said}");
}

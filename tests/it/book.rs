//! The pages for people: what they say of files, functions and commands is true.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::server::{Server, ids};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let pages = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.chain(folders.iter().flat_map(|folder| markdown_in(folder))).collect()
}

/// Every page of the book, and those at the top of the repository, with their text outside of code blocks.
fn pages() -> Vec<(PathBuf, String)> {
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        let prose: String = text.split("```").step_by(2).collect();
        (path, prose)
    };
    top.into_iter().chain(markdown_in(&root().join("docs/src"))).map(read).collect()
}

/// What stands between these marks, anywhere in a text.
fn between<'t>(text: &'t str, open: &'static str, close: char) -> impl Iterator<Item = &'t str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close)).map(|(inner, _)| inner)
}

#[test]
fn links_lead_to_files() {
    let mut dead = Vec::new();
    for (page, text) in pages() {
        for link in between(&text, "](", ')').filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let file = link.split('#').next().unwrap_or_default();
            if !page.with_file_name("").join(file).exists() {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn the_summary_names_every_page() {
    let book = root().join("docs/src");
    let summary = fs::read_to_string(book.join("SUMMARY.md")).expect("the summary");
    let named: Vec<PathBuf> = between(&summary, "](", ')').map(|link| book.join(link)).collect();
    let missing: Vec<_> =
        markdown_in(&book).into_iter().filter(|page| !page.ends_with("SUMMARY.md") && !named.contains(page)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// A file of this repository that a page names in code font.
fn is_source(name: &str) -> bool {
    let folders =
        ["src/", "tests/", "benches/", "migrations/", "deploy/", "examples/", "client/", "templates/", ".ci/"];
    folders.iter().any(|folder| name.starts_with(folder)) && !name.contains(['*', ' ', '{', '…'])
}

#[test]
fn pages_name_files_that_exist() {
    let mut missing = Vec::new();
    for (page, text) in pages() {
        let names = text.split('`').skip(1).step_by(2).filter(|name| is_source(name));
        missing.extend(names.filter(|name| !root().join(name).exists()).map(|name| (page.clone(), name.to_owned())));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// A walkthrough's step is "1. `file`, `function`: …".
#[test]
fn walkthroughs_name_functions_that_exist() {
    for page in ["create-order", "ongoing-orders", "operator-action"] {
        let page = root().join("docs/src/architecture").join(page).with_extension("md");
        let text = fs::read_to_string(&page).expect("a walkthrough");
        let steps = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
        let mut known = 0;
        for step in steps {
            let named: Vec<&str> = step.split('`').skip(1).step_by(2).take(2).collect();
            let [file, function] = named[..] else { panic!("no file and function: {step}") };
            let code = fs::read_to_string(root().join(file)).unwrap_or_else(|fault| panic!("{file}: {fault}"));
            let name = function.rsplit("::").next().unwrap_or_default().trim_end_matches("()");
            assert!(code.contains(&format!("fn {name}")), "{file} has no {function}: {step}");
            known += 1;
        }
        assert!(known > 4, "{} has no steps", page.display());
    }
}

/// The first block of commands of the README that begins with this line.
fn block(first: &str) -> String {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
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

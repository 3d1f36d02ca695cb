//! The lifecycle stands once, in `lungo::lifecycle`; every place that repeats it has to agree with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lungo::lifecycle::{self, PaymentStatus, Stage, Status};
use strum::VariantArray;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn migrations() -> Vec<(PathBuf, String)> {
    let mut found: Vec<_> = fs::read_dir(root().join("migrations/sqlite"))
        .expect("the migrations")
        .map(|entry| entry.expect("readable").path().join("up.sql"))
        .map(|path| (path.clone(), fs::read_to_string(path).expect("an up.sql in each migration")))
        .collect();
    found.sort();
    found
}

/// The quoted words between `before` and the next `ELSE`, of the last migration that has them.
fn quoted_after(before: &str) -> BTreeSet<String> {
    let all = migrations();
    let (_, rest) = all
        .iter()
        .rev()
        .find_map(|(_, text)| text.split_once(before))
        .unwrap_or_else(|| panic!("no migration has `{before}`"));
    let list = rest.split("ELSE").next().expect("a list ends");
    list.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> BTreeSet<String> {
    all.iter().map(|value| word(*value).to_owned()).collect()
}

#[test]
fn the_check_lists_of_the_database_are_the_words_of_the_table() {
    assert_eq!(quoted_after("CHECK (CASE status\n"), words(Status::VARIANTS, Status::word));
    assert_eq!(quoted_after("CHECK (CASE payment_status\n"), words(PaymentStatus::VARIANTS, PaymentStatus::word));
    assert_eq!(quoted_after("CHECK (CASE stage\n"), words(Stage::VARIANTS, Stage::word));
}

#[test]
fn the_trigger_of_the_database_allows_exactly_the_steps_of_the_table() {
    let allowed = quoted_after("CASE OLD.status || '>' || NEW.status\n");
    let in_code: BTreeSet<_> = lifecycle::status_pairs().iter().map(|(from, to)| format!("{from}>{to}")).collect();
    assert_eq!(allowed, in_code);
}

#[test]
fn the_reference_of_settings_is_the_one_of_the_code() {
    let path = root().join("docs/src/operate/configuration.md");
    let (begin, end) = ("<!-- settings -->\n", "<!-- /settings -->");
    let text = fs::read_to_string(&path).expect("docs/src/operate/configuration.md");
    let (before, rest) = text.split_once(begin).expect("it has `<!-- settings -->`");
    let (_, after) = rest.split_once(end).expect("it has `<!-- /settings -->`");
    let declared = <lungo::config::Settings as clap::Args>::augment_args(clap::Command::new("lungo"));
    let wanted = format!("{before}{begin}{}{end}{after}", lungo::config::reference(&declared));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &wanted).expect("it can be written");
    } else {
        assert!(
            text == wanted,
            "docs/src/operate/configuration.md is stale: `UPDATE=1 cargo test derived` rewrites it"
        );
    }
}

const BEGIN: &str = "<!-- lifecycle -->";
const END: &str = "<!-- /lifecycle -->";

#[test]
fn the_diagram_in_the_book_is_the_one_of_the_table() {
    let path = root().join("docs/src/concepts/payments.md");
    let page = fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("it has `<!-- lifecycle -->`");
    let (_, after) = rest.split_once(END).expect("it has `<!-- /lifecycle -->`");
    let wanted = format!("{before}{BEGIN}\n```mermaid\n{}```\n{END}{after}", lifecycle::diagram());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &wanted).expect("it can be written");
    } else {
        assert!(
            page == wanted,
            "the diagram of {} is stale: `UPDATE=1 cargo test derived` rewrites it",
            path.display()
        );
    }
}

/// Each line of a command or program in `docs/src/integrate/generated-clients.md` stands, in this order, in the file that CI runs.
#[test]
fn the_page_about_clients_shows_only_what_is_run() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"));
    let page = read("docs/src/integrate/generated-clients.md");
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    assert!(blocks.len() >= 6, "each language has a command and a program");
    for block in blocks {
        let (language, shown) = block.split_once('\n').expect("a block has a language");
        let run = read(match language {
            "sh" => ".ci/clients",
            "ts" => "examples/clients/crash_story.ts",
            "python" => "examples/clients/crash_story.py",
            "rust" => "examples/clients/rust/src/main.rs",
            other => panic!("no file with {other}"),
        });
        let mut run = run.lines().map(str::trim);
        for line in shown.lines().map(str::trim) {
            assert!(
                run.any(|other| other == line),
                "CI does not run this line of docs/src/integrate/generated-clients.md, or not here: {line}"
            );
        }
    }
}

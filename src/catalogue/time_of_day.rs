//! A time on the wall, as people write opening hours.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// On a day without a change of the clocks.
pub(super) const MINUTES_PER_DAY: i64 = 24 * 60;

/// A time on the wall, `"HH:MM"`, from `00:00` to `24:00`. Kept as minutes since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// `None` unless within `00:00` to `24:00`.
    pub const fn new(hour: u16, minute: u16) -> Option<Self> {
        if hour > 24 || minute > 59 || (hour == 24 && minute > 0) { None } else { Some(Self(hour * 60 + minute)) }
    }

    /// Since midnight.
    pub fn minutes(self) -> i64 {
        self.0.into()
    }
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        text.split_once(':')
            .and_then(|(hour, minute)| Self::new(number(hour)?, number(minute)?))
            .ok_or_else(|| format!("`{text}` is not a time from 00:00 to 24:00"))
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        time.to_string()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("07:00", Some("07:00"))]
    #[case("24:00", Some("24:00"))]
    #[case("24:01", None)]
    #[case("7:00", None)]
    #[case("+7:00", None)]
    #[case("07:60", None)]
    #[case("0700", None)]
    #[case("", None)]
    fn a_time_of_day_is_strict(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(text.parse::<TimeOfDay>().ok().map(String::from).as_deref(), expected);
    }
}

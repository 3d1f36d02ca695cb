//! How values are written for people.

use chrono::Duration;

use crate::lifecycle::Status;
use crate::order::{Instant, Money, OrderId};

/// A length of time, in its one or two largest units: `3 min 20 s`, `2 h`, `4 d 1 h`.
pub fn span(span: Duration) -> String {
    let seconds = span.num_seconds().max(0);
    if seconds == 0 {
        return if span > Duration::zero() { format!("{} ms", span.num_milliseconds()) } else { "0 s".into() };
    }
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(length, _)| seconds >= *length).expect("a second is the least");
    let mut parts = vec![format!("{} {}", seconds / units[first].0, units[first].1)];
    if let Some((length, unit)) = units.get(first + 1) {
        let rest = seconds % units[first].0 / length;
        if rest > 0 {
            parts.push(format!("{rest} {unit}"));
        }
    }
    parts.join(" ")
}

/// An amount with its currency: `8.20 EUR`.
pub fn money(money: &Money) -> String {
    amount(money.amount, &money.currency.to_string())
}

/// Minor units of a currency, by its code.
pub fn amount(minor: i64, currency: &str) -> String {
    format!("{} {currency}", number(minor, currency))
}

/// Minor units of a currency without its code: `8.20`.
pub fn number(minor: i64, currency: &str) -> String {
    let digits = iso_currency::Currency::from_code(currency).and_then(|known| known.exponent()).unwrap_or(2);
    let unit = 10_i64.pow(u32::from(digits));
    let sign = if minor < 0 { "-" } else { "" };
    let (whole, rest) = (minor.abs() / unit, minor.abs() % unit);
    let whole = grouped(whole);
    if digits == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{rest:0width$}", width = usize::from(digits))
}

/// An amount as people type it, `4.10` or `4,1`, in minor units of a currency. `None` if it is none.
pub fn minor(text: &str, currency: &str) -> Option<i64> {
    let digits = iso_currency::Currency::from_code(currency)?.exponent().unwrap_or(2).into();
    let text = text.trim().replace(',', ".");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || rest.len() > digits || !is_number(whole) || !is_number(rest) {
        return None;
    }
    format!("{whole}{rest:0<digits$}").parse().ok()
}

/// A number with a comma between the thousands.
pub fn grouped(number: i64) -> String {
    let digits = number.abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A number that was counted up to a limit: `10,000+` once it is reached.
pub fn up_to(number: i64, limit: i64) -> String {
    if number >= limit { format!("{}+", grouped(limit)) } else { grouped(number) }
}

/// An instant, to the second, in UTC: `2026-11-25 09:30:12`.
pub fn instant(at: &Instant) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A word of the tables as people read it: `awaiting_shop` as `awaiting shop`.
pub fn plain(word: &str) -> String {
    word.replace('_', " ")
}

/// An id, by its end: the beginning of all of a day's is the same.
pub fn short(id: &OrderId) -> String {
    let text = id.to_string();
    format!("…{}", &text[text.len() - 8..])
}

/// The look of a status: still under way, sold, or not.
pub fn status_look(status: Status) -> &'static str {
    match status {
        _ if status.is_ongoing() => "info",
        _ if status.succeeded() => "good",
        _ => "bad",
    }
}

/// As much of a personal value as tells two of them apart.
pub fn masked(text: &str) -> String {
    let end: Vec<char> = text.chars().rev().take(3).collect();
    if text.chars().count() < 8 {
        "•••".into()
    } else {
        format!("•••{}", end.iter().rev().collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        let of = |seconds| span(Duration::seconds(seconds));
        assert_eq!(
            [of(-5), of(0), of(59), of(200), of(3600), of(90_000)],
            ["0 s", "0 s", "59 s", "3 min 20 s", "1 h", "1 d 1 h"]
        );
        assert_eq!(span(Duration::milliseconds(20)), "20 ms");
    }

    #[test]
    fn money_has_the_digits_of_its_currency() {
        assert_eq!(amount(820, "EUR"), "8.20 EUR");
        assert_eq!(amount(-123_456_705, "EUR"), "-1,234,567.05 EUR");
        assert_eq!(amount(500, "JPY"), "500 JPY");
        assert_eq!(amount(5, "TND"), "0.005 TND");
    }

    #[test]
    fn amounts_are_read_as_they_are_written() {
        assert_eq!(
            ["4.10", "4,1", " 4 ", "0.05"].map(|text| minor(text, "EUR")),
            [Some(410), Some(410), Some(400), Some(5)]
        );
        assert_eq!(["4.105", "-4", "", "4.x", "1e3", "9999999999999"].map(|text| minor(text, "EUR")), [None; 6]);
        assert_eq!((minor("500", "JPY"), minor("5.0", "JPY")), (Some(500), None));
    }

    #[test]
    fn counting_stops_somewhere() {
        assert_eq!([up_to(12, 10_000), up_to(10_000, 10_000)], ["12", "10,000+"]);
    }
}

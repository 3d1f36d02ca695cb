//! How values are written for people.

use chrono::Duration;

use crate::order::{Instant, Money};

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
    let digits = iso_currency::Currency::from_code(currency).and_then(|known| known.exponent()).unwrap_or(2);
    let unit = 10_i64.pow(u32::from(digits));
    let sign = if minor < 0 { "-" } else { "" };
    let (whole, rest) = (minor.abs() / unit, minor.abs() % unit);
    let whole = grouped(whole);
    if digits == 0 {
        return format!("{sign}{whole} {currency}");
    }
    format!("{sign}{whole}.{rest:0width$} {currency}", width = usize::from(digits))
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
    fn counting_stops_somewhere() {
        assert_eq!([up_to(12, 10_000), up_to(10_000, 10_000)], ["12", "10,000+"]);
    }
}

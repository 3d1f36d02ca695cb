//! Amounts as Stripe writes them. Here they are minor units by ISO 4217; Stripe has decimals of its own for some
//! currencies. Source: "Supported currencies", docs.stripe.com/currencies: zero-decimal and three-decimal currencies,
//! and special cases. (HUF and TWD are special for payouts only, which this service does not make.)

use crate::order::{Currency, Money};

/// Charged in whole units.
const ZERO_DECIMAL: &[&str] =
    &["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
/// Without decimals for the bank, but written with two, which have to be zero.
const WRITTEN_WITH_TWO: &[&str] = &["ISK", "UGX"];
/// Written with three decimals, of which the last has to be zero. Others have two.
const THREE_DECIMAL: &[&str] = &["BHD", "JOD", "KWD", "OMR", "TND"];

/// How Stripe writes amounts of a currency: with so many decimals, as multiples of a step.
fn form(currency: Currency) -> (u32, i64) {
    match currency.as_str() {
        code if ZERO_DECIMAL.contains(&code) => (0, 1),
        code if WRITTEN_WITH_TWO.contains(&code) => (2, 100),
        code if THREE_DECIMAL.contains(&code) || currency.exponent() == 3 => (3, 10),
        _ => (2, 1),
    }
}

/// An amount as Stripe writes it.
///
/// # Errors
/// What is wrong with it, if Stripe cannot express it exactly.
pub fn written(money: Money) -> Result<i64, String> {
    let (decimals, step) = form(money.currency);
    scaled(money.amount, money.currency.exponent(), decimals)
        .filter(|written| written % step == 0)
        .ok_or_else(|| format!("{money} is no amount that Stripe can take"))
}

/// What Stripe wrote, in minor units; `None` for what it should never write.
pub fn read(written: i64, currency: Currency) -> Option<i64> {
    scaled(written, form(currency).0, currency.exponent())
}

/// Whether Stripe takes this amount of this currency, as it is written.
pub fn is_taken(written: i64, currency: Currency) -> bool {
    written % form(currency).1 == 0
}

fn scaled(amount: i64, from: u32, to: u32) -> Option<i64> {
    let power = |by: u32| 10_i64.checked_pow(by);
    match from <= to {
        true => amount.checked_mul(power(to - from)?),
        false => {
            let unit = power(from - to)?;
            (amount % unit == 0).then_some(amount / unit)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn money(amount: i64, code: &str) -> Money {
        Money { amount, currency: code.parse().unwrap() }
    }

    #[rstest]
    #[case("EUR", 820, Some(820))]
    #[case("JPY", 500, Some(500))]
    #[case("UGX", 5_000, Some(500_000))]
    #[case("ISK", 650, Some(65_000))]
    #[case("HUF", 129_000, Some(129_000))]
    #[case("TWD", 12_000, Some(12_000))]
    #[case("KWD", 5_120, Some(5_120))]
    #[case("KWD", 5_124, None)]
    #[case("MGA", 500_000, Some(5_000))]
    #[case("MGA", 500_050, None)]
    #[case("UGX", i64::MAX, None)]
    fn amounts_are_written_as_stripe_reads_them(#[case] code: &str, #[case] amount: i64, #[case] stripe: Option<i64>) {
        assert_eq!(written(money(amount, code)).ok(), stripe);
    }

    #[test]
    fn every_amount_that_can_be_paid_in_a_currency_of_a_shop_comes_back_as_it_was() {
        for currency in Currency::all_in_use() {
            for amount in [0, 1, 5, 10, 37, 100, 650, 5_000, 5_124, 123_456_700, 1_000_000_000_000] {
                let stripe = written(Money { amount, currency });
                assert_eq!(stripe.is_ok(), currency.unpayable(amount).is_none(), "{amount} {currency}");
                if let Ok(stripe) = stripe {
                    assert!(is_taken(stripe, currency));
                    assert_eq!(read(stripe, currency), Some(amount), "{currency}");
                }
            }
        }
    }
}

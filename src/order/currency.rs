//! Currencies: which of them a shop may ask for, and which amounts of them can be paid.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An ISO 4217 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of ASCII letters")
    }

    /// The currencies in which a shop may ask for prices.
    #[cfg(test)]
    pub fn all_in_use() -> impl Iterator<Item = Self> {
        let codes = (0..26_u16.pow(3)).map(|n| [n / 676, n / 26 % 26, n % 26].map(|letter| b'A' + letter as u8));
        codes.filter_map(|code| std::str::from_utf8(&code).ok()?.parse().ok()).filter(Self::is_in_use)
    }

    /// Whether customers can pay in it. Codes for metals, funds, units of account, tests and "no currency" are not, nor
    /// are currencies that were withdrawn.
    pub fn is_in_use(&self) -> bool {
        // ISO 4217 has two codes for the bolívar, of which this one is on the bills.
        self.as_str() == "VES" || (self.known().exponent().is_some() && self.known().flags().is_empty())
    }

    /// How many decimals its minor unit stands for, by ISO 4217.
    pub fn exponent(&self) -> u32 {
        self.known().exponent().unwrap_or(0).into()
    }

    /// The smallest amount of it that a payment can have, in minor units: each payment is a multiple. Card networks
    /// settle three-decimal currencies by the hundredth, and the ariary as a whole.
    pub fn step(&self) -> i64 {
        match (self.as_str(), self.exponent()) {
            ("MGA", _) => 100,
            (_, 3) => 10,
            _ => 1,
        }
    }

    /// Why this amount, in minor units, cannot be paid; `None` if it can.
    pub fn unpayable(&self, amount: i64) -> Option<String> {
        let step = self.step();
        (amount % step != 0).then(|| format!("{amount} cannot be paid: amounts of {self} are multiples of {step}"))
    }

    fn known(&self) -> iso_currency::Currency {
        iso_currency::Currency::from_code(self.as_str()).expect("parsed from a known code")
    }
}

impl FromStr for Currency {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        iso_currency::Currency::from_code(text).ok_or_else(|| format!("`{text}` is not an ISO 4217 currency"))?;
        Ok(Self(text.as_bytes().try_into().expect("a known code has three letters")))
    }
}

impl TryFrom<String> for Currency {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn only_money_that_customers_have_is_in_use() {
        for code in ["XXX", "XTS", "XAU", "XDR", "XSU", "BOV", "CHE", "CLF", "UYW", "USN", "HRK", "SLL", "BGN", "ZWL"] {
            assert!(!currency(code).is_in_use(), "{code}");
        }
        for code in ["EUR", "USD", "JPY", "KWD", "ISK", "XAF", "XOF", "XPF", "XCD", "VES", "CHF", "MGA"] {
            assert!(currency(code).is_in_use(), "{code}");
        }
        assert!(Currency::all_in_use().count() > 140);
    }

    #[test]
    fn what_cannot_be_paid_is_told_from_what_can() {
        for (code, amount) in [("EUR", 1), ("JPY", 1), ("UGX", 1), ("KWD", 10), ("TND", 4_120), ("MGA", 500)] {
            assert_eq!(currency(code).unpayable(amount), None);
        }
        let why = currency("KWD").unpayable(1_255).unwrap();
        assert_eq!(why, "1255 cannot be paid: amounts of KWD are multiples of 10");
        assert!(currency("MGA").unpayable(550).is_some());
    }
}

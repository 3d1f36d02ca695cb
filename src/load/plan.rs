//! What is sent and when: the mix of outcomes, the timetable of an open loop, the bodies.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hyper::body::Bytes;
use strum::{Display, EnumString, VariantArray};

use crate::catalogue::demo::LUNGO_CENTRAL;
use crate::order::ShopId;

/// What becomes of an order: decided by its payment method at the simulated gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// Authorized at once.
    Visa,
    /// Declined at once.
    Declined,
    /// Every second call to the gateway fails.
    Flaky,
    /// Authorized after 30 s.
    Slow,
    /// Never answered, until the order's deadline.
    Silent,
    /// Held, but the answer is lost: found out by a look-up.
    TimeoutAfterCharge,
}

impl Outcome {
    fn method(self) -> String {
        if self == Self::Visa { "pm_card_visa".into() } else { format!("pm_{self}") }
    }
}

/// How many of a hundred orders, or of any other sum, have which outcome: `visa=96,declined=4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix(Vec<(Outcome, u32)>);

impl Mix {
    /// The outcome of the order of this number. The outcomes are spread evenly: no stretch has many of one kind.
    fn of(&self, order: u64) -> Outcome {
        let sum: u64 = self.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
        // Steps of the golden ratio visit the circle evenly, whatever the weights.
        let place = (u128::from(order.wrapping_mul(0x9E37_79B9_7F4A_7C15)) * u128::from(sum)) >> 64;
        let mut below = 0;
        let found = self.0.iter().find(|(_, weight)| {
            below += u128::from(*weight);
            place < below
        });
        found.expect("the place is below the sum of the weights").0
    }
}

impl FromStr for Mix {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |part: &str| {
            let (word, weight) = part.split_once('=').ok_or_else(|| format!("`{part}` is not like visa=96"))?;
            let outcome = word.trim().parse().map_err(|_| {
                let known: Vec<String> = Outcome::VARIANTS.iter().map(ToString::to_string).collect();
                format!("`{word}` is none of {}", known.join(", "))
            })?;
            let weight = weight.trim().parse().map_err(|_| format!("`{weight}` is not a whole number"))?;
            Ok::<_, String>((outcome, weight))
        };
        let parts: Vec<(Outcome, u32)> = text.split(',').map(parse).collect::<Result<_, _>>()?;
        if parts.iter().all(|(_, weight)| *weight == 0) {
            return Err("every weight is 0".into());
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(outcome, weight)| format!("{outcome}={weight}")).collect();
        f.write_str(&parts.join(","))
    }
}

/// When orders are sent.
#[derive(Clone, Debug)]
pub enum Arrivals {
    /// Each connection sends as soon as its last order is answered: a slow server is sent less (closed loop).
    WhenAnswered,
    /// By the clock, whether or not the server keeps up (open loop): offsets from the start, ascending. An order
    /// that finds every connection busy waits, and that wait counts as latency.
    At(Vec<Duration>),
}

impl Arrivals {
    /// `orders` at `rate` a second: evenly, or at random as independent customers come.
    pub fn at_rate(rate: f64, orders: u64, is_random: bool) -> Self {
        let mut at = 0.0;
        let offsets = (0..orders).map(|order| {
            if !is_random {
                return Duration::from_secs_f64(order as f64 / rate);
            }
            // `1 − u` keeps the logarithm away from zero.
            at -= (1.0 - rand::random::<f64>()).ln() / rate;
            Duration::from_secs_f64(at)
        });
        Self::At(offsets.collect())
    }

    /// When the order of this number should be sent; `None` as soon as possible.
    pub fn offset(&self, order: u64) -> Option<Duration> {
        match self {
            Self::WhenAnswered => None,
            Self::At(offsets) => offsets.get(usize::try_from(order).ok()?).copied(),
        }
    }
}

/// The orders of one run. Each is by a customer of its own, so that none is refused as a second coffee.
#[derive(Clone, Debug)]
pub struct Plan {
    pub orders: u64,
    pub connections: usize,
    pub arrivals: Arrivals,
    pub mix: Mix,
    /// When to stop sending, whatever is left.
    pub within: Duration,
    run: String,
    shop: ShopId,
}

impl Plan {
    pub fn new(orders: u64, connections: usize, arrivals: Arrivals, mix: Mix, within: Duration) -> Self {
        let run = format!("load-{:08x}", rand::random::<u32>());
        Self { orders, connections, arrivals, mix, within, run, shop: LUNGO_CENTRAL }
    }

    pub fn at_shop(self, shop: ShopId) -> Self {
        Self { shop, ..self }
    }

    /// The customer of the order of this number, which is its Idempotency-Key too.
    pub fn customer(&self, order: u64) -> String {
        format!("{}-{order}", self.run)
    }

    /// The number of the order of this customer, if it is one of this run.
    pub fn number_of(&self, customer: &str) -> Option<u64> {
        customer.strip_prefix(&self.run)?.strip_prefix('-')?.parse().ok()
    }

    pub fn body(&self, order: u64, customer: &str) -> Bytes {
        let (shop, method) = (self.shop, self.mix.of(order).method());
        format!(
            r#"{{"customer_id":"{customer}","shop_id":"{shop}","lines":[{{"item_id":"lungo","quantity":2,"options":["milk_oat"]}}],"total":{{"amount":820,"currency":"EUR"}},"payment":{{"method":"{method}"}}}}"#
        )
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(mix: &str) -> Plan {
        Plan::new(10, 1, Arrivals::WhenAnswered, mix.parse().unwrap(), Duration::from_secs(1))
    }

    #[test]
    fn a_mix_is_kept_in_every_stretch() {
        let mix: Mix = "visa=96, declined=3,flaky=1".parse().unwrap();
        for start in [0_u64, 12_345, u64::MAX - 2_000] {
            let count = |wanted| (start..start + 1_000).filter(|order| mix.of(*order) == wanted).count();
            assert!(count(Outcome::Visa).abs_diff(960) <= 3);
            assert!(count(Outcome::Declined).abs_diff(30) <= 3);
            assert!(count(Outcome::Flaky).abs_diff(10) <= 3);
        }
        assert_eq!(mix.to_string(), "visa=96,declined=3,flaky=1");
    }

    #[test]
    fn a_wrong_mix_is_refused() {
        for text in ["", "visa", "visa=x", "gold=1", "visa=0", "visa=-1", "visa=1,,declined=1"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_timetable_keeps_its_rate() {
        let even = Arrivals::at_rate(50.0, 100, false);
        assert_eq!(even.offset(0), Some(Duration::ZERO));
        assert_eq!(even.offset(99), Some(Duration::from_millis(1_980)));
        assert_eq!(even.offset(100), None);
        let Arrivals::At(random) = Arrivals::at_rate(1_000.0, 20_000, true) else { unreachable!() };
        assert!(random.is_sorted());
        assert!((random[19_999].as_secs_f64() / 20.0 - 1.0).abs() < 0.1);
    }

    #[test]
    fn a_body_is_an_order_of_its_customer() {
        let plan = plan("timeout_after_charge=1");
        let customer = plan.customer(7);
        let body: serde_json::Value = serde_json::from_slice(&plan.body(7, &customer)).unwrap();
        assert_eq!(body["customer_id"], customer.as_str());
        assert_eq!(body["payment"]["method"], "pm_timeout_after_charge");
        assert_eq!(plan.number_of(&customer), Some(7));
        assert_eq!(plan.number_of("somebody-7"), None);
    }
}

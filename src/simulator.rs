//! What the simulated outside actors have in common: how fast they are, and how their delays are drawn.

pub mod server;

use std::f64::consts::TAU;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantArray};

use crate::config::Pace;

/// How fast the simulated world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Speed {
    /// No delay at all: for load tests.
    Zero,
    /// A whole order in seconds: for demonstrations.
    Fast,
    /// As slow as people and banks are.
    Real,
}

impl From<Pace> for Speed {
    fn from(pace: Pace) -> Self {
        match pace {
            Pace::Zero => Self::Zero,
            Pace::Fast => Self::Fast,
            Pace::Real => Self::Real,
        }
    }
}

/// A log-normal draw, known by its median and its 95th percentile: most take about as long, a few take long.
pub fn draw(p50: Duration, p95: Duration) -> Duration {
    let sigma = (p95.as_secs_f64() / p50.as_secs_f64()).ln() / Z95;
    // Box-Muller; `1 − u` keeps the logarithm away from zero.
    let radius = (-2.0 * (1.0 - rand::random::<f64>()).ln()).sqrt();
    let normal = radius * (TAU * rand::random::<f64>()).cos();
    p50.mul_f64((sigma * normal).exp())
}

/// A uniform draw between two durations.
pub fn between(shortest: Duration, longest: Duration) -> Duration {
    rand::random_range(shortest..=longest)
}

/// The 95th percentile of the standard normal distribution.
const Z95: f64 = 1.644_853_627;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_stated_percentiles() {
        let (p50, p95) = (Duration::from_millis(800), Duration::from_millis(2500));
        let mut drawn: Vec<_> = (0..20_000).map(|_| draw(p50, p95).as_secs_f64()).collect();
        drawn.sort_by(f64::total_cmp);
        assert!((drawn[10_000] / 0.8 - 1.0).abs() < 0.1, "{}", drawn[10_000]);
        assert!((drawn[19_000] / 2.5 - 1.0).abs() < 0.1, "{}", drawn[19_000]);
    }

    #[test]
    fn uniform_draws_stay_between_their_ends() {
        let (low, high) = (Duration::from_millis(50), Duration::from_millis(300));
        assert!((0..1000).map(|_| between(low, high)).all(|drawn| low <= drawn && drawn <= high));
    }

    #[test]
    fn speeds_read_back_from_their_words() {
        for speed in Speed::VARIANTS {
            assert_eq!(speed.to_string().parse(), Ok(*speed));
        }
    }
}

//! How much one partner may ask for: token buckets of its own, so that none of them crowds the others out. Shops and
//! operators are not limited: they make room. So do cancellations, which have a bucket to themselves: whoever has
//! ordered too much can still take it back.

use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::error::{Code, Failure};
use crate::order::PartnerId;

/// What a bucket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    Cancellations,
    Others,
}

type Owner = (PartnerId, Bucket);

/// The buckets of all partners.
pub struct Limits {
    buckets: RateLimiter<Owner, DashMapStateStore<Owner>, DefaultClock, StateInformationMiddleware>,
    clock: DefaultClock,
    per_second: u32,
    burst: u32,
}

/// What is left in a partner's bucket after this request: told with every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    burst: u32,
    per_second: u32,
    requests: u32,
}

impl Limits {
    /// A partner may ask `per_second` times a second for ever, and `burst` times at once.
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self {
            buckets: RateLimiter::dashmap(quota).with_middleware(),
            clock: DefaultClock::default(),
            per_second: per_second.get(),
            burst: burst.get(),
        }
    }

    /// Takes one request out of this bucket of the partner. The second value is what is left.
    ///
    /// # Errors
    /// `too_many_requests`, with the time until there is room for one.
    pub fn take(&self, partner: PartnerId, bucket: Bucket) -> (Result<(), Failure>, Left) {
        let left = |requests| Left { burst: self.burst, per_second: self.per_second, requests };
        match self.buckets.check_key(&(partner, bucket)) {
            Ok(state) => (Ok(()), left(state.remaining_burst_capacity())),
            Err(until) => {
                let wait = until.wait_time_from(self.clock.now());
                // Those who are turned away together should not come back together.
                let jitter = Duration::from_millis(rand::random_range(0..2_000));
                let detail = format!("This partner may ask {} times a second.", self.per_second);
                (Err(Failure::new(Code::TooManyRequests, detail).retry_after(wait + jitter)), left(0))
            }
        }
    }
}

impl Left {
    /// `RateLimit-Policy` and `RateLimit`, as the HTTP working group's draft has them.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let window = self.burst.div_ceil(self.per_second).max(1);
        let until_full = (self.burst - self.requests.min(self.burst)).div_ceil(self.per_second);
        for (name, value) in [
            ("ratelimit-policy", format!("\"default\";q={};w={window}", self.burst)),
            ("ratelimit", format!("\"default\";r={};t={until_full}", self.requests)),
        ] {
            let value = HeaderValue::from_str(&value).expect("numbers are visible ASCII");
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_emptied_by_its_own_partner_only_and_never_by_others_for_cancellations() {
        let number = |n| NonZeroU32::new(n).unwrap();
        let limits = Limits::new(number(1), number(3));
        let (greedy, other) = (PartnerId::new(), PartnerId::new());
        let allowed = (0..10).filter(|_| limits.take(greedy, Bucket::Others).0.is_ok()).count();
        assert_eq!(allowed, 3);
        let (refused, left) = limits.take(greedy, Bucket::Others);
        let failure = refused.unwrap_err();
        assert_eq!(failure.code, Code::TooManyRequests);
        assert!(failure.retry_after.is_some_and(|wait| wait > Duration::ZERO));
        assert_eq!(left.requests, 0);
        assert!(limits.take(other, Bucket::Others).0.is_ok());
        assert!(limits.take(greedy, Bucket::Cancellations).0.is_ok());
    }

    #[test]
    fn what_is_left_is_told() {
        let mut headers = HeaderMap::new();
        Left { burst: 100, per_second: 50, requests: 20 }.tell(&mut headers);
        assert_eq!(headers.get("ratelimit-policy").unwrap(), "\"default\";q=100;w=2");
        assert_eq!(headers.get("ratelimit").unwrap(), "\"default\";r=20;t=2");
    }
}

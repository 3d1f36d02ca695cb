//! Stripe-Signature: who sent a callback, and when. An HMAC-SHA-256 over the time and the raw body.
//! Source: "Receive Stripe events in your webhook endpoint", verifying signatures manually.

use chrono::{DateTime, TimeDelta};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::config::Secret;
use crate::order::Instant;

/// How far the sender's clock may be from ours; older is a replay.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// A header with a signature for each of several secrets is still shorter.
const LONGEST: usize = 4096;

/// Why a callback is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unverified {
    #[error("the signature header cannot be read")]
    Malformed,
    #[error("none of the signatures is by one of our secrets")]
    Forged,
    #[error("it was signed too long ago, or in the future")]
    Late,
}

/// Whether one of the secrets signed this body about now.
///
/// # Errors
/// Why it is not so.
pub fn verify(header: &str, body: &[u8], secrets: &[Secret], now: Instant) -> Result<(), Unverified> {
    if header.len() > LONGEST {
        return Err(Unverified::Malformed);
    }
    let members = || header.split(',').filter_map(|member| member.trim().split_once('='));
    let mut times = members().filter(|(name, _)| *name == "t").map(|(_, value)| value);
    let (Some(time), None) = (times.next(), times.next()) else { return Err(Unverified::Malformed) };
    let signed_at = time.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let signed_at = signed_at.ok_or(Unverified::Malformed)?;
    let signatures = members().filter(|(name, _)| *name == "v1").filter_map(|(_, value)| bytes(value));
    let is_by_us = signatures.into_iter().any(|signature| {
        // In constant time, each.
        secrets.iter().any(|secret| mac(secret, time, body).verify_slice(&signature).is_ok())
    });
    match is_by_us {
        false => Err(Unverified::Forged),
        true if (now - signed_at).abs() > TOLERANCE => Err(Unverified::Late),
        true => Ok(()),
    }
}

/// The header of a callback that is sent now.
pub fn sign(secret: &Secret, body: &[u8], now: Instant) -> String {
    let time = now.timestamp().to_string();
    let signature = mac(secret, &time, body).finalize().into_bytes();
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

fn mac(secret: &Secret, time: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("a key may have any length");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn secret(text: &str) -> Secret {
        text.parse().unwrap()
    }

    fn check(header: &str, now: Instant) -> Result<(), Unverified> {
        verify(header, BODY, &[secret("whsec_new"), secret("whsec_old")], now)
    }

    #[test]
    fn it_is_the_published_algorithm() {
        // printf '1767600000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_new
        let by_openssl = "b7debd7b7169796811a4f1b9bbaed2f907e301c9e872275a24b8576b8a25ab90";
        let now = DateTime::from_timestamp(1_767_600_000, 0).unwrap();
        assert_eq!(sign(&secret("whsec_new"), BODY, now), format!("t=1767600000,v1={by_openssl}"));
    }

    #[test]
    fn any_of_several_secrets_will_do() {
        for known in ["whsec_new", "whsec_old"] {
            assert_eq!(check(&sign(&secret(known), BODY, at(0)), at(0)), Ok(()));
        }
        assert_eq!(check(&sign(&secret("whsec_other"), BODY, at(0)), at(0)), Err(Unverified::Forged));
        let one_of_two = sign(&secret("whsec_other"), BODY, at(0))
            + ","
            + sign(&secret("whsec_old"), BODY, at(0)).split_once(',').unwrap().1;
        assert_eq!(check(&one_of_two, at(0)), Ok(()), "while the sender changes its secret it signs twice");
        assert_eq!(verify(&sign(&secret("whsec_new"), BODY, at(0)), BODY, &[], at(0)), Err(Unverified::Forged));
    }

    #[test]
    fn what_was_changed_is_forged() {
        let header = sign(&secret("whsec_new"), BODY, at(0));
        assert_eq!(verify(&header, b"{}", &[secret("whsec_new")], at(0)), Err(Unverified::Forged));
        let later = header.replace(&at(0).timestamp().to_string(), &at(60).timestamp().to_string());
        assert_eq!(check(&later, at(60)), Err(Unverified::Forged), "the time is signed too");
    }

    #[test]
    fn it_is_believed_for_five_minutes_both_ways() {
        let header = sign(&secret("whsec_new"), BODY, at(1000));
        for (now, verdict) in
            [(699, Err(Unverified::Late)), (700, Ok(())), (1000, Ok(())), (1300, Ok(())), (1301, Err(Unverified::Late))]
        {
            assert_eq!(check(&header, at(now)), verdict, "{now}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let good = sign(&secret("whsec_new"), BODY, at(0));
        for nonsense in ["", "t=", "v1=00", "t=now,v1=00", "t=99999999999999999999,v1=00", &"t=1,".repeat(2000)] {
            assert_eq!(check(nonsense, at(0)), Err(Unverified::Malformed), "{nonsense}");
        }
        assert_eq!(check(&format!("t=1,{good}"), at(0)), Err(Unverified::Malformed), "two times");
        let of_another_scheme = good.replace("v1=", "v0=");
        for forged in
            [of_another_scheme.as_str(), "t=1767600000,v1=", "t=1767600000,v1=ßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßß"]
        {
            assert_eq!(check(forged, at(0)), Err(Unverified::Forged), "{forged}");
        }
    }
}

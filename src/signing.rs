//! How webhooks are signed, by Standard Webhooks (symmetric, `v1`): an HMAC-SHA-256 over id, time and body.
//! Source: the Standard Webhooks specification 1.0.
//!
//! Unlike a key, of which only a hash is kept, a signing secret has to be kept as it is: nobody can sign with a hash. It
//! is shown once, by the answer that made it, and stands in no list, view or log.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::order::Instant;

const PREFIX: &str = "whsec_";

/// A secret that two sides sign and verify with: `whsec_` and the base64 of its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(String);

impl SigningSecret {
    /// A new one, of 256 random bits.
    pub fn generate() -> Self {
        Self(format!("{PREFIX}{}", STANDARD.encode(rand::random::<[u8; 32]>())))
    }

    /// The secret itself, to be shown once, and kept.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(self.0.trim_start_matches(PREFIX)).unwrap_or_default()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl FromStr for SigningSecret {
    type Err = String;
    /// The error does not repeat the text.
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.strip_prefix(PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
        match bytes {
            Some(bytes) if (24..=64).contains(&bytes.len()) => Ok(Self(text.to_owned())),
            _ => Err("a signing secret is whsec_ and the base64 of 24 to 64 bytes".into()),
        }
    }
}

/// The headers of a webhook that is sent now: one signature for each secret, so that a receiver may still know only
/// the older one. `id` has no dot in it.
pub fn headers(secrets: &[&SigningSecret], id: &str, at: Instant, body: &[u8]) -> [(&'static str, String); 3] {
    let time = at.timestamp().to_string();
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret.bytes()).expect("a key of any length will do");
            for part in [id.as_bytes(), b".", time.as_bytes(), b".", body] {
                mac.update(part);
            }
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        })
        .collect();
    [("webhook-id", id.to_owned()), ("webhook-timestamp", time), ("webhook-signature", signatures.join(" "))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(secret: &SigningSecret, headers: &[(&'static str, String)], body: &[u8]) -> bool {
        let theirs = standardwebhooks::Webhook::new(secret.expose()).unwrap();
        let mut map = hyper::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        theirs.verify(body, &map).is_ok()
    }

    #[test]
    fn an_independent_library_believes_our_signatures_and_no_others() {
        let (new, old, foreign) = (SigningSecret::generate(), SigningSecret::generate(), SigningSecret::generate());
        let now = crate::clock::now();
        let signed = headers(&[&new, &old], "evt_1", now, b"{\"a\":1}");
        assert!(verify(&new, &signed, b"{\"a\":1}") && verify(&old, &signed, b"{\"a\":1}"));
        assert!(!verify(&foreign, &signed, b"{\"a\":1}"));
        assert!(!verify(&new, &signed, b"{\"a\":2}"), "another body");
        let mut renamed = signed.clone();
        renamed[0].1 = "evt_2".into();
        assert!(!verify(&new, &renamed, b"{\"a\":1}"), "another id");
        let late = headers(&[&new], "evt_1", now - chrono::Duration::minutes(6), b"{}");
        assert!(!verify(&new, &late, b"{}"), "a replay");
    }

    #[test]
    fn a_secret_reads_back_and_is_never_printed() {
        let secret = SigningSecret::generate();
        assert_eq!(secret.expose().parse(), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "(secret)");
        for wrong in ["", "whsec_", "whsec_!!!!", "whsec_c2hvcnQ=", &secret.expose()[6..]] {
            assert!(wrong.parse::<SigningSecret>().is_err());
        }
    }
}

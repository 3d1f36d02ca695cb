use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Whether Lungo sent this in the last five minutes. `id`, `at` and `signatures` are the headers `webhook-id`,
/// `webhook-timestamp` and `webhook-signature`; `body` is as the raw bytes; `now` is in seconds since 1970.
pub fn verify(secret: &str, id: &str, at: &str, signatures: &str, body: &[u8], now: i64) -> bool {
    if !at.parse::<i64>().is_ok_and(|at| now.abs_diff(at) <= 300) {
        return false;
    }
    let Ok(key) = STANDARD.decode(secret.trim_start_matches("whsec_")) else { return false };
    let mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length will do");
    let mac = mac.chain_update(format!("{id}.{at}.")).chain_update(body);
    let mut given = signatures.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    // `verify_slice` compares in constant time.
    given.any(|given| mac.clone().verify_slice(&given).is_ok())
}

//! What an answer of the API means for the request: one function of its status, its headers and its bytes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::intent::Intent;
use crate::foreign;
use crate::gateway::Trouble;

/// What is read of an answer before its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub status: u16,
    /// The answer is the stored one of an earlier request under the same key.
    pub is_replayed: bool,
    pub retry_after: Option<&'a str>,
    /// When it was sent, by the clock that a date in `retry_after` goes by.
    pub date: Option<&'a str>,
}

/// Why there is no result.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// 402: the card or its bank says no.
    Declined { refusal: String, intent: Option<Box<Intent>> },
    /// 400: it cannot be done, as things stand or at all. Nothing was done. Where it is not the payment's state, this
    /// service is at fault.
    Rejected(String),
    /// 400: the key was used for something else, which may well have been done.
    KeyReused(String),
    /// 401, 403: our own key is wrong, or may not do that. No order is at fault.
    Misconfigured(String),
    /// 404. An id that was committed once is not forgotten: this may be another account.
    Missing(String),
    /// 409, 429: not now.
    Later { after: Duration, why: String },
    /// It was not reached.
    Unreachable(String),
    /// Everything else, a fresh or replayed 5xx above all: it says nothing about what was done.
    Unknown(String),
}

impl Fault {
    /// What an operator has to know at once: this service and the gateway do not understand each other.
    pub fn alarm(&self) -> Option<String> {
        match self {
            Self::Rejected(why) => Some(format!("it rejects the request: {why}")),
            Self::KeyReused(why) => Some(format!("a key was used twice: {why}")),
            Self::Misconfigured(why) => Some(format!("the API key is not accepted: {why}")),
            Self::Missing(why) => Some(format!("it does not know what it made: {why}")),
            _ => None,
        }
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Declined { refusal, .. } => Trouble::Refused(refusal),
            Fault::Rejected(why) => Trouble::Invalid(why),
            Fault::KeyReused(why) | Fault::Missing(why) | Fault::Unknown(why) => Trouble::Unanswered(why),
            Fault::Misconfigured(why) | Fault::Unreachable(why) => Trouble::Unavailable(why),
            Fault::Later { after, why } => Trouble::Later { after, why },
        }
    }
}

/// Until when an answer without `Retry-After` asks for patience …
const SOON: Duration = Duration::from_secs(2);
/// … and the longest patience that is granted.
const LATEST: Duration = Duration::from_secs(15 * 60);

#[derive(Deserialize)]
struct Body {
    error: ApiError,
}

#[derive(Default, Deserialize)]
struct ApiError {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    param: Option<String>,
    payment_intent: Option<serde_json::Value>,
}

/// Reads an answer.
///
/// # Errors
/// Whatever is not the result itself. Messages of the API are left out: they may repeat what was sent.
pub(super) fn read<T: DeserializeOwned>(head: Head, body: &[u8]) -> Result<T, Fault> {
    let Head { status, is_replayed, retry_after, date } = head;
    if (200..300).contains(&status) {
        return serde_json::from_slice(body)
            .map_err(|fault| Fault::Unknown(format!("{status}, but not what was expected: {fault}")));
    }
    let error = serde_json::from_slice::<Body>(body).ok().map(|body| body.error);
    let is_of_the_api = error.is_some();
    let ApiError { kind, code, decline_code, param, payment_intent } = error.unwrap_or_default();
    // The app chose the payment method: it is refused, and nothing is wrong here.
    let is_method = param.as_deref() == Some("payment_method");
    let what = decline_code.or(code).or(kind.clone()).unwrap_or_else(|| "no reason".into());
    let what = param.map_or(what.clone(), |param| format!("{what} ({param})"));
    // Without a date of its own an answer's dates are as good as past.
    let sent_at =
        date.and_then(|date| httpdate::parse_http_date(date).ok()).map_or(DateTime::<Utc>::MAX_UTC, Into::into);
    // "At once" would be asked again and again.
    let told = retry_after.and_then(|text| foreign::retry_after(text, sent_at, LATEST)).filter(|wait| !wait.is_zero());
    Err(match status {
        400 if kind.as_deref() == Some("idempotency_error") => Fault::KeyReused(what),
        400 if is_method => Fault::Declined { refusal: what, intent: None },
        400 if is_of_the_api => Fault::Rejected(what),
        402 if is_of_the_api => Fault::Declined {
            refusal: what,
            intent: payment_intent.and_then(|intent| serde_json::from_value(intent).ok()).map(Box::new),
        },
        401 | 403 => Fault::Misconfigured(format!("{status} {what}")),
        404 => Fault::Missing(what),
        409 | 429 => Fault::Later { after: told.unwrap_or(SOON), why: format!("{status} {what}") },
        _ if is_replayed => Fault::Unknown(format!("{status} {what}, replayed")),
        _ => Fault::Unknown(format!("{status} {what}")),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::Value;

    use super::*;

    const EMPTY: &str = "{}";

    fn heard(status: u16, is_replayed: bool, retry_after: Option<&str>, body: &str) -> Result<(), Trouble> {
        let head = Head { status, is_replayed, retry_after, date: Some("Sat, 21 Nov 2026 21:00:00 GMT") };
        read::<serde_json::Map<String, Value>>(head, body.as_bytes()).map(drop).map_err(Trouble::from)
    }

    /// What kind of trouble it is, by the first letter of its name and, for `Later`, the seconds.
    fn sort(trouble: Result<(), Trouble>) -> String {
        match trouble {
            Ok(()) => "done".into(),
            Err(Trouble::Unavailable(_)) => "unavailable".into(),
            Err(Trouble::Later { after, .. }) => format!("later {}", after.as_secs()),
            Err(Trouble::Unanswered(_)) => "unknown".into(),
            Err(Trouble::Refused(why)) => why,
            Err(Trouble::Invalid(why)) => format!("invalid: {why}"),
        }
    }

    fn error(members: &str) -> String {
        format!("{{\"error\": {{{members}}}}}")
    }

    #[rstest]
    #[case::done(200, EMPTY, "done")]
    #[case::garbage(200, "<html>", "unknown")]
    #[case::cut_off(200, "{\"id\": \"pi_", "unknown")]
    #[case::empty(200, "", "unknown")]
    #[case::redirect(302, "", "unknown")]
    #[case::misuse(400, &error("\"type\": \"invalid_request_error\", \"code\": \"parameter_missing\", \"param\": \"amount\""), "invalid: parameter_missing (amount)")]
    #[case::no_such_method(400, &error("\"type\": \"invalid_request_error\", \"code\": \"resource_missing\", \"param\": \"payment_method\""), "resource_missing (payment_method)")]
    #[case::fraction_of_a_krona(400, &error("\"type\": \"invalid_request_error\", \"code\": \"invalid_charge_amount_no_decimal_compatible\""), "invalid: invalid_charge_amount_no_decimal_compatible")]
    #[case::too_late(400, &error("\"type\": \"invalid_request_error\", \"code\": \"payment_intent_unexpected_state\""), "invalid: payment_intent_unexpected_state")]
    #[case::other_body_under_the_key(400, &error("\"type\": \"idempotency_error\""), "unknown")]
    #[case::somebody_elses_400(400, "Bad Request", "unknown")]
    #[case::wrong_key(401, &error("\"type\": \"invalid_request_error\""), "unavailable")]
    #[case::not_permitted(403, "", "unavailable")]
    #[case::declined(402, &error("\"type\": \"card_error\", \"code\": \"card_declined\", \"decline_code\": \"lost_card\""), "lost_card")]
    #[case::declined_without_a_reason(402, &error("\"type\": \"card_error\""), "card_error")]
    #[case::another_account(404, &error("\"code\": \"resource_missing\""), "unknown")]
    #[case::still_under_way(409, &error("\"code\": \"idempotency_key_in_use\""), "later 2")]
    #[case::too_many(429, "", "later 2")]
    #[case::broken(500, &error("\"type\": \"api_error\""), "unknown")]
    #[case::unavailable(503, "", "unknown")]
    #[case::from_a_proxy(502, "<html>", "unknown")]
    fn every_class_of_answers_means_one_thing(#[case] status: u16, #[case] body: &str, #[case] means: &str) {
        assert_eq!(sort(heard(status, false, None, body)), means);
    }

    #[test]
    fn a_replayed_failure_is_still_unknown_and_a_replayed_decline_is_still_one() {
        assert_eq!(sort(heard(500, true, None, EMPTY)), "unknown");
        assert_eq!(sort(heard(402, true, None, &error("\"code\": \"card_declined\""))), "card_declined");
        assert_eq!(sort(heard(200, true, None, EMPTY)), "done");
    }

    #[rstest]
    #[case(Some("7"), "later 7")]
    #[case(Some("99999999"), "later 900")]
    #[case(Some("1"), "later 1")]
    #[case(Some("0"), "later 2")]
    #[case(Some("-1"), "later 2")]
    #[case(Some("Sat, 21 Nov 2026 21:00:00 GMT"), "later 2")]
    #[case(Some("Sat, 21 Nov 2026 20:00:00 GMT"), "later 2")]
    #[case(Some("Sat, 21 Nov 2026 21:00:07 GMT"), "later 7")]
    #[case(Some("Saturday, 21-Nov-26 21:00:07 GMT"), "later 7")]
    #[case(Some("Sat Nov 21 21:00:07 2026"), "later 7")]
    #[case(Some("Sun Nov 22 21:00:07 2026"), "later 900")]
    #[case(Some("tomorrow"), "later 2")]
    fn it_is_asked_again_when_it_says_so(#[case] retry_after: Option<&str>, #[case] means: &str) {
        assert_eq!(sort(heard(429, false, retry_after, "")), means);
    }

    #[test]
    fn what_the_gateway_writes_for_people_is_not_repeated() {
        let body = error("\"message\": \"No such customer: 4242\", \"code\": \"resource_missing\"");
        assert!(!heard(400, false, None, &body).unwrap_err().to_string().contains("4242"));
    }
}

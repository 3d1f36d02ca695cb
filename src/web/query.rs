//! What stands behind the question mark, and the opaque cursors in it.

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use crate::error::{Code, Failure};
use crate::order::{CustomerId, Hash};
use crate::store::{Place, Recorded};
use crate::web::problem::Problem;

/// A query, or a problem that says what is wrong with it.
pub struct Query<T>(pub T);

impl<T> Deref for Query<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(
            web::Query::<T>::from_query(request.query_string())
                .map(|query| Self(query.into_inner()))
                .map_err(|fault| Failure::new(Code::InvalidRequest, format!("The query: {fault}.")).into()),
        )
    }
}

/// Whether each percent sign of an address or form begins the code of a byte, and the bytes are UTF-8. What is not would
/// be replaced in silence, so that different names became one.
pub fn is_well_encoded(text: &str) -> bool {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let code = part.get(..2).filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) else { return false };
        bytes.push(byte);
        bytes.extend(part.bytes().skip(2));
    }
    std::str::from_utf8(&bytes).is_ok()
}

pub fn badly_encoded() -> Failure {
    let detail = "A percent sign has to begin the code of a byte, such as `%20`, and the bytes have to be UTF-8.";
    Failure::new(Code::MalformedRequest, detail)
}

/// The same names as in a body: the schema there excludes what `is_control` finds (C0, DEL and C1).
///
/// # Errors
/// `invalid_request` for anything but 1–64 characters, none of them a control character.
pub fn customer_id(text: &str) -> Result<CustomerId, Failure> {
    if !(1..=64).contains(&text.chars().count()) || text.chars().any(char::is_control) {
        return Err(Failure::new(
            Code::InvalidRequest,
            "customer_id: send 1 to 64 characters, none of them a control character.",
        ));
    }
    Ok(CustomerId(text.to_owned()))
}

/// # Errors
/// `invalid_request` for a limit below 1 or above `most`.
pub fn limit(asked: Option<i64>, most: i64) -> Result<i64, Failure> {
    match asked {
        None => Ok(20.min(most)),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => Err(Failure::new(Code::InvalidRequest, format!("limit: send a number from 1 to {most}."))),
    }
}

/// The place a cursor stands for.
///
/// # Errors
/// `invalid_cursor` for one that was not made for this list.
pub fn cursor(token: Option<&str>, scope: [u8; 6]) -> Result<Option<i64>, Failure> {
    token.map(|token| opaque::parse(token, scope).ok_or_else(invalid_cursor)).transpose()
}

/// A place in the log of events.
///
/// A cursor names the event that it stands behind. A database that was restored from a backup counts on from where the
/// backup ends, so that a position alone would soon lead behind another event, and what happened in between would never
/// be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCursor {
    /// The position of the last event that was told; 0 before the first.
    pub after: i64,
    /// Which event that was.
    pub event: EventTag,
    /// Whose log it is.
    pub cluster: u64,
    /// How far that database had come when it was told.
    pub seen: Place,
}

/// Tells an event from any other that may stand at its position in another history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTag {
    /// Made of all that the log has in columns of its own, the instant included.
    Whole(u64),
    /// Made of order and version only, as builds before this one did. It is still taken, or each partner would have to
    /// read its whole log again after an upgrade.
    Version(u64),
}

impl EventTag {
    pub fn of(event: &Recorded) -> Self {
        let Recorded { order_id, version, kind, from, to, payment_status, actor, reason, at, .. } = event;
        let at = at.timestamp_millis();
        Self::Whole(short(&("event", order_id, version, kind, (from, to, payment_status), actor, reason, at)))
    }

    /// Whether it is the tag of this event.
    pub fn names(self, event: &Recorded) -> bool {
        match self {
            Self::Whole(_) => self == Self::of(event),
            Self::Version(tag) => tag == short(&("event", event.order_id, event.version)),
        }
    }
}

fn short(value: &impl serde::Serialize) -> u64 {
    let Hash(hash) = Hash::of(value);
    u64::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}

/// The place in the log that a cursor stands for.
///
/// # Errors
/// `invalid_cursor` for one that was not made for this list; `cursor_invalid` for one into another database.
pub fn log_cursor(
    token: Option<&str>,
    scope: [u8; 6],
    is_ours: impl Fn(u64) -> bool,
) -> Result<Option<LogCursor>, Failure> {
    let Some(token) = token else { return Ok(None) };
    match opaque::parse_log(token, scope).ok_or_else(invalid_cursor)? {
        cursor if is_ours(cursor.cluster) => Ok(Some(cursor)),
        _ => Err(lost_history()),
    }
}

pub fn invalid_cursor() -> Failure {
    Failure::new(Code::InvalidCursor, "Send a cursor exactly as an answer to this list gave it.")
}

/// The cursor points into a log that this database does not have (any more).
pub fn lost_history() -> Failure {
    Failure::new(Code::CursorInvalid, "The history this cursor points into was lost: start again without a cursor.")
}

/// Cursors: a place in a list, bound to that list.
pub mod opaque {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::{EventTag, LogCursor};
    use crate::order::{CustomerId, Hash, PartnerId};
    use crate::store::Place;

    /// Whose list it is.
    pub fn scope(partner: PartnerId, customer: Option<&CustomerId>) -> [u8; 6] {
        let Hash(hash) = Hash::of(&("cursor", partner, customer));
        hash[..6].try_into().expect("a hash has more than six bytes")
    }

    pub fn cursor(place: i64, scope: [u8; 6]) -> String {
        URL_SAFE_NO_PAD.encode([&place.to_be_bytes()[..], &scope].concat())
    }

    /// The first byte of a cursor whose tag is [`EventTag::Whole`]. Those before it had no such byte.
    const WHOLE: u8 = 2;

    pub fn log_cursor(cursor: LogCursor, scope: [u8; 6]) -> String {
        let LogCursor { after, event, cluster, seen: Place { timeline, place } } = cursor;
        let (format, event): (&[u8], u64) = match event {
            EventTag::Whole(event) => (&[WHOLE], event),
            EventTag::Version(event) => (&[], event),
        };
        let parts: [&[u8]; 7] = [
            format,
            &after.to_be_bytes(),
            &scope,
            &cluster.to_be_bytes(),
            &timeline.to_be_bytes(),
            &place.to_be_bytes(),
            &event.to_be_bytes(),
        ];
        URL_SAFE_NO_PAD.encode(parts.concat())
    }

    pub fn parse_log(token: &str, scope: [u8; 6]) -> Option<LogCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (bytes, tag): (_, fn(u64) -> EventTag) = match bytes.as_slice() {
            [WHOLE, rest @ ..] if rest.len() == 42 => (rest, EventTag::Whole),
            rest => (rest, EventTag::Version),
        };
        let bytes: &[u8; 42] = bytes.try_into().ok()?;
        let cursor = LogCursor {
            after: i64::from_be_bytes(bytes[..8].try_into().ok()?),
            cluster: u64::from_be_bytes(bytes[14..22].try_into().ok()?),
            seen: Place {
                timeline: u32::from_be_bytes(bytes[22..26].try_into().ok()?),
                place: i64::from_be_bytes(bytes[26..34].try_into().ok()?),
            },
            event: tag(u64::from_be_bytes(bytes[34..].try_into().ok()?)),
        };
        (cursor.after >= 0 && cursor.seen.place >= 0 && bytes[8..14] == scope).then_some(cursor)
    }

    pub fn parse(token: &str, scope: [u8; 6]) -> Option<i64> {
        let bytes: [u8; 14] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let place = i64::from_be_bytes(bytes[..8].try_into().ok()?);
        (place >= 0 && bytes[8..] == scope).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::web::body::Schema;
    use crate::web::create_order::CreateOrder;

    #[test]
    fn a_cursor_into_another_database_is_told_from_garbage() {
        let scope = opaque::scope(crate::order::PartnerId::new(), None);
        let seen = Place { timeline: 3, place: 1 << 40 };
        let cursor = LogCursor { after: 12, event: EventTag::Whole(5), cluster: 7, seen };
        let of_before = LogCursor { event: EventTag::Version(5), ..cursor };
        assert_eq!(opaque::parse_log(&opaque::log_cursor(of_before, scope), scope), Some(of_before));
        let token = opaque::log_cursor(cursor, scope);
        assert_eq!(log_cursor(Some(&token), scope, |of| of == 7).unwrap(), Some(cursor));
        assert_eq!(log_cursor(None, scope, |of| of == 7).unwrap(), None);
        assert_eq!(log_cursor(Some(&token), scope, |of| of == 8).unwrap_err().code, Code::CursorInvalid);
        let of_another = opaque::log_cursor(cursor, [0; 6]);
        for garbage in ["", "x", &of_another, &opaque::cursor(12, scope)] {
            assert_eq!(log_cursor(Some(garbage), scope, |of| of == 7).unwrap_err().code, Code::InvalidCursor);
        }
    }

    #[test]
    fn a_tag_names_one_event_and_none_that_another_history_has_in_its_place() {
        use crate::fixtures::at;
        use crate::lifecycle::{EventKind, Reason, Status};
        let event = Recorded::example(at(1));
        let but = |change: fn(&mut Recorded)| {
            let mut other = event.clone();
            change(&mut other);
            other
        };
        let tag = EventTag::of(&event);
        assert!(tag.names(&event) && tag.names(&but(|event| event.position = 99)));
        let rejected = but(|event| {
            event.kind = EventKind::ShopRejected;
            (event.to, event.reason) = (Status::Rejected, Some(Reason::ShopClosed));
        });
        let of_another_version = but(|event| event.version = 4);
        for other in [&rejected, &of_another_version, &but(|event| event.at = at(2))] {
            assert!(!tag.names(other), "{other:?}");
        }
        let of_before = EventTag::Version(short(&("event", event.order_id, event.version)));
        assert!(of_before.names(&event) && !of_before.names(&of_another_version));
    }

    #[test]
    fn percent_signs_begin_codes_of_utf_8() {
        for good in ["", "a=b", "caf%C3%A9", "caf%c3%a9&x=%20+", "%E2%82%AC", "é"] {
            assert!(is_well_encoded(good), "{good}");
        }
        for bad in ["%", "%4", "%zz", "caf%E9", "%ff", "%fe", "%C3", "%C3x%A9", "%+1", "%é1", "100%&x=1"] {
            assert!(!is_well_encoded(bad), "{bad}");
        }
    }

    #[test]
    fn a_customer_may_have_the_same_names_in_a_query_and_in_a_body() {
        let is_taken_in_a_body = |name: &str| {
            let body = json!({
                "customer_id": name, "shop_id": "0197c000-0000-7000-8000-00000000beef",
                "lines": [{"item_id": "lungo", "quantity": 1}], "payment": {"method": "pm"},
                "total": {"amount": 1, "currency": "EUR"},
            });
            CreateOrder::validator().is_valid(&body)
        };
        let longest = "é".repeat(64);
        let names = [("cus_1", true), (" ", true), ("\u{a0}", true), (longest.as_str(), true), ("", false)];
        let controls = ["\0", "a\n", "\u{1f}", "\u{7f}", "\u{80}", "a\u{85}b", "\u{9f}"].map(|name| (name, false));
        for (name, is_one) in names.into_iter().chain(controls).chain([(format!("{longest}x").as_str(), false)]) {
            assert_eq!(customer_id(name).is_ok(), is_one, "{name:?}");
            assert_eq!(is_taken_in_a_body(name), is_one, "{name:?}");
        }
    }
}

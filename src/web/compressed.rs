//! Long lists and menus are sent compressed to clients that take it: a menu of 1,030 items has 715 kB of JSON.
//!
//! What is compressed: JSON of a GET, from [`WORTH_IT`] on, by gzip, which every client knows. Shorter answers fit into
//! the first packets of a connection in any case. Pages and streams of events are never compressed.
//!
//! The length of a compressed answer tells something of what it holds (BREACH). That is of use to an attacker who can
//! have a victim's browser ask again and again, with the victim's cookies. So nothing that was asked with a cookie is
//! compressed. An API key is not sent by a browser by itself.
//!
//! A compressed answer is another sequence of bytes than the plain one, so that its ETag is the weak one of the same
//! state (RFC 9110, 8.8.1). All tags of this service stand for a state, and are compared weakly where they come back.

use actix_http::encoding::Encoder;
use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::{self, ContentEncoding, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};

/// The shortest body, in bytes, that is compressed.
pub const WORTH_IT: u64 = 8 * 1024;

/// The answer to a request with this method and these headers, compressed if that is worth it and wanted.
pub fn if_wanted(method: &Method, asked: &HeaderMap, mut answer: HttpResponse) -> HttpResponse {
    if method != Method::GET && method != Method::HEAD {
        return answer;
    }
    if answer.status() == StatusCode::NOT_MODIFIED {
        keep_weak(asked, answer.headers_mut());
        return answer;
    }
    let is_json = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let is_long = matches!(answer.body().size(), BodySize::Sized(length) if length >= WORTH_IT);
    if answer.status() != StatusCode::OK || !is_json || !is_long || asked.contains_key(header::COOKIE) {
        return answer;
    }
    if !takes_gzip(asked) {
        answer.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
        return answer;
    }
    if let Some(tag) = answer.headers().get(header::ETAG).and_then(weakened) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer.map_body(|head, body| BoxBody::new(Encoder::response(ContentEncoding::Gzip, head, body)))
}

/// A 304 names the tag that its client has, in the form that it has it in: a cache finds by it what it keeps.
fn keep_weak(asked: &HeaderMap, answer: &mut HeaderMap) {
    let Some(weak) = answer.get(header::ETAG).and_then(weakened) else { return };
    let is_held = |value: &HeaderValue| {
        let mut parts = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        parts.any(|tag| tag == weak.as_bytes())
    };
    if asked.get_all(header::IF_NONE_MATCH).any(is_held) {
        answer.insert(header::ETAG, weak);
    }
}

/// The weak form of a strong tag.
fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    tag.as_bytes().starts_with(b"\"").then(|| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok())?
}

/// Whether `Accept-Encoding` allows gzip. Where it is not named, a `*` speaks for it.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let mut by_default = false;
    let lines = asked.get_all(header::ACCEPT_ENCODING).filter_map(|line| line.to_str().ok());
    for coding in lines.flat_map(|line| line.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").or_else(|| weight.trim().strip_prefix("Q="));
        let is_wanted = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0));
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => return is_wanted,
            "*" => by_default = is_wanted,
            _ => {}
        }
    }
    by_default
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::http::header::HeaderName;
    use rstest::rstest;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn json(length: u64) -> HttpResponse {
        let body = "1".repeat(usize::try_from(length).unwrap());
        HttpResponse::Ok().content_type("application/json").insert_header(("etag", "\"t\"")).body(body)
    }

    fn is_compressed(answer: &HttpResponse) -> bool {
        answer.headers().get("content-encoding").is_some_and(|coding| coding == "gzip")
    }

    #[rstest]
    #[case("gzip", true)]
    #[case("br, GZIP;q=0.1, *;q=0", true)]
    #[case("*", true)]
    #[case("deflate, *;q=0.5", true)]
    #[case("gzip;q=0, *", false)]
    #[case("gzip; q=0.000", false)]
    #[case("br", false)]
    #[case("identity", false)]
    #[case("", false)]
    #[case("gzip;q=x", false)]
    fn a_client_says_whether_it_takes_gzip(#[case] accepts: &'static str, #[case] does: bool) {
        assert_eq!(takes_gzip(&headers(&[("accept-encoding", accepts)])), does);
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    fn header<'a>(answer: &'a HttpResponse, name: &str) -> &'a str {
        answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[actix_web::test]
    async fn a_long_list_is_compressed_and_says_so() {
        let asked = headers(&[("accept-encoding", "gzip")]);
        let answer = if_wanted(&Method::GET, &asked, json(WORTH_IT));
        assert!(is_compressed(&answer));
        assert_eq!((header(&answer, "vary"), header(&answer, "etag")), ("accept-encoding", "W/\"t\""));
        assert!(to_bytes(answer.into_body()).await.unwrap().len() < 200);

        let plain = if_wanted(&Method::GET, &HeaderMap::new(), json(WORTH_IT));
        assert!(!is_compressed(&plain));
        assert_eq!((header(&plain, "vary"), header(&plain, "etag")), ("accept-encoding", "\"t\""));
    }

    #[test]
    fn pages_streams_short_answers_failures_and_what_a_cookie_asked_for_are_sent_as_they_are() {
        let asked = headers(&[("accept-encoding", "gzip")]);
        let with_cookie = headers(&[("accept-encoding", "gzip"), ("cookie", "lungo_session=x")]);
        let long = "x".repeat(100_000);
        for (method, asked, answer) in [
            (Method::GET, &asked, json(WORTH_IT - 1)),
            (Method::POST, &asked, json(WORTH_IT)),
            (Method::GET, &with_cookie, json(WORTH_IT)),
            (Method::GET, &asked, HttpResponse::Ok().content_type("text/html").body(long.clone())),
            (Method::GET, &asked, HttpResponse::Ok().content_type("text/event-stream").body(long.clone())),
            (Method::GET, &asked, HttpResponse::NotFound().content_type("application/json").body(long)),
        ] {
            assert!(!is_compressed(&if_wanted(&method, asked, answer)));
        }
    }

    #[test]
    fn a_304_names_the_tag_as_its_client_has_it() {
        let answer = |held| {
            let same = HttpResponse::NotModified().insert_header(("etag", "\"t\"")).finish();
            header(&if_wanted(&Method::GET, &headers(&[("if-none-match", held)]), same), "etag").to_owned()
        };
        assert_eq!([answer("\"t\""), answer("\"x\", W/\"t\"")], ["\"t\"", "W/\"t\""]);
    }
}

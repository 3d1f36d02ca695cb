//! The request headers of the contract: strict about their form, because a header that is quietly ignored
//! loses a promise that the client relies on.

use actix_web::http::header::{self, HeaderMap};

use crate::error::{Code, Failure, Fault};

/// What [`idempotency_key`] accepts, as a pattern of the OpenAPI document.
pub const IDEMPOTENCY_KEY: &str = r#"^([!#-~][!-~]{0,127}|"([!#-\[\]-~]|\\["\\]){1,128}")$"#;
/// What [`version`] accepts.
pub const VERSION_TAG: &str = r#"^(W/)?"[0-9]{1,18}"$"#;
/// The form of the revision in `If-Match`, which is bound to its customer.
pub const REVISION_TAG: &str = r#"^(W/)?"[A-Za-z0-9_-]{30}"$"#;
/// The form of [`position`].
pub const POSITION: &str = "^[!-~]{1,512}$";

/// The `Idempotency-Key`, bare or as a structured-field string: 1–128 visible ASCII characters.
///
/// # Errors
/// `invalid_request` if it was sent twice or does not have that form.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    const NAME: &str = "Idempotency-Key";
    let Some(text) = single(headers, NAME)? else { return Ok(None) };
    let key = match text.strip_prefix('"') {
        Some(rest) => unquote(rest).ok_or_else(|| bad_form(NAME, "Its quotes or escapes are not in order."))?,
        None => text.to_owned(),
    };
    if !(1..=128).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad_form(NAME, "Send 1 to 128 visible ASCII characters."));
    }
    Ok(Some(key))
}

/// The one tag in `If-Match`, without its quotes: a revision or a version. Both stand for a state and not for the bytes
/// of an answer, so a tag that a compressing proxy made weak says the same and is accepted.
///
/// # Errors
/// `invalid_request` for `*`, a list, or what is no tag.
pub fn if_match(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    const NAME: &str = "If-Match";
    let Some(text) = single(headers, NAME)? else { return Ok(None) };
    let quoted = text.strip_prefix("W/").unwrap_or(text);
    let tag = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match tag.filter(|tag| !tag.is_empty() && tag.bytes().all(is_tag_byte)) {
        Some(tag) => Ok(Some(tag.to_owned())),
        None => Err(bad_form(NAME, "Send exactly one tag in double quotes.")),
    }
}

/// The version of an order in `If-Match`, if there is one.
///
/// # Errors
/// As [`if_match`], and for a tag that is not the ETag of an order.
pub fn version(headers: &HeaderMap) -> Result<Option<i64>, Failure> {
    let not_ours = || Failure::new(Code::InvalidRequest, "If-Match: this is not the ETag of an order.");
    let is_ours = |tag: &String| tag.len() <= 18 && tag.bytes().all(|letter| letter.is_ascii_digit());
    let parse = |tag: String| Some(tag).filter(is_ours).and_then(|tag| tag.parse().ok()).ok_or_else(not_ours);
    if_match(headers)?.map(parse).transpose()
}

/// The version that a deed was decided on.
///
/// # Errors
/// As [`version`], and `version_required` if there is none.
pub fn version_decided_on(headers: &HeaderMap) -> Result<i64, Failure> {
    let detail =
        "Send the ETag of the order that you decided on as If-Match: an order that has moved since is not touched.";
    version(headers)?.ok_or_else(|| Failure::new(Code::VersionRequired, detail))
}

/// What the client already has, by `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    Nothing,
    Anything,
    /// Tags without quotes and without `W/`: the comparison is weak.
    Tags(Vec<String>),
}

impl Held {
    /// Whether the answer with this tag (without quotes) is one that the client has: then it is a 304.
    pub fn has(&self, tag: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Anything => true,
            Self::Tags(tags) => tags.iter().any(|held| held == tag),
        }
    }
}

/// Reads `If-None-Match`. What cannot be read counts as not held: that costs a body, never the truth.
pub fn if_none_match(headers: &HeaderMap) -> Held {
    let mut tags = Vec::new();
    for value in headers.get_all(header::IF_NONE_MATCH) {
        let Ok(mut rest) = value.to_str().map(str::trim) else { continue };
        if rest == "*" {
            return Held::Anything;
        }
        while let Some((tag, after)) = next_tag(rest) {
            tags.push(tag.to_owned());
            rest = after;
        }
    }
    if tags.is_empty() { Held::Nothing } else { Held::Tags(tags) }
}

/// The raw token of `Lungo-Position`.
///
/// # Errors
/// `invalid_position` if it was sent twice, is empty, longer than 512 bytes or not visible ASCII.
pub fn position(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let refuse = |detail: &str| Failure::new(Code::InvalidPosition, detail);
    let mut values = headers.get_all("lungo-position");
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse("Lungo-Position was sent more than once."));
    }
    match value.to_str().map(str::trim) {
        Ok(token) if (1..=512).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic()) => Ok(Some(token)),
        _ => Err(refuse("Send Lungo-Position exactly as an earlier answer gave it.")),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Failure> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad_form(name, "It was sent more than once."));
    }
    value.to_str().map(|text| Some(text.trim())).map_err(|_| bad_form(name, "It is not ASCII text."))
}

fn bad_form(name: &'static str, why: &str) -> Failure {
    let fault = Fault::new("", "bad_format", format!("{name}: {why}"));
    Failure::new(Code::InvalidRequest, format!("The header {name} does not have the documented form."))
        .faults(vec![fault])
}

/// The text of a structured-field string whose opening quote was read.
fn unquote(rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    let mut letters = rest.chars();
    loop {
        match letters.next()? {
            '"' => return letters.next().is_none().then_some(text),
            '\\' => text.push(letters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            letter => text.push(letter),
        }
    }
}

/// The next entity tag of a list, and what follows it.
fn next_tag(list: &str) -> Option<(&str, &str)> {
    let list = list.trim_start_matches([' ', '\t', ',']);
    let quoted = list.strip_prefix("W/").unwrap_or(list).strip_prefix('"')?;
    let (tag, rest) = quoted.split_once('"')?;
    tag.bytes().all(is_tag_byte).then_some((tag, rest))
}

fn is_tag_byte(b: u8) -> bool {
    b == 0x21 || (0x23..=0x7e).contains(&b)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[rstest]
    #[case("\"5f0c\"", "5f0c")]
    #[case("5f0c", "5f0c")]
    #[case(r#""a\"b\\c""#, r#"a"b\c"#)]
    fn an_idempotency_key_is_quoted_or_bare(#[case] sent: &str, #[case] key: &str) {
        assert_eq!(idempotency_key(&headers("idempotency-key", &[sent])).unwrap().as_deref(), Some(key));
    }

    #[rstest]
    #[case(&[""])]
    #[case(&["\"\""])]
    #[case(&["\"open"])]
    #[case(&["\"a\"b"])]
    #[case(&[r#""a\n""#])]
    #[case(&["käse"])]
    #[case(&["a b"])]
    #[case(&["a", "a"])]
    fn any_other_idempotency_key_is_refused(#[case] sent: &[&str]) {
        let failure = idempotency_key(&headers("idempotency-key", sent)).unwrap_err();
        assert_eq!(failure.code, Code::InvalidRequest);
        assert_eq!(failure.faults[0].pointer, "");
        assert!(failure.faults[0].detail.contains("Idempotency-Key"));
    }

    #[test]
    fn the_documented_forms_are_those_that_are_accepted() {
        let is_documented = |pattern: &str, text: &str| {
            jsonschema::is_valid(&serde_json::json!({"pattern": pattern}), &serde_json::json!(text))
        };
        let (long, longer) = ("k".repeat(128), "k".repeat(129));
        let quoted = [format!("\"{long}\""), format!("\"{longer}\"")];
        let keys =
            ["", "k", "\"", "\"\"", "\"k\"", "k\"", "\"k", "a b", "\"a b\"", r#""a\"b\\c""#, r#""a\c""#, r"a\b", "é"];
        for key in keys.into_iter().chain([long.as_str(), &longer, &quoted[0], &quoted[1]]) {
            let is_accepted = idempotency_key(&headers("idempotency-key", &[key])).is_ok();
            assert_eq!(is_documented(IDEMPOTENCY_KEY, key), is_accepted, "{key}");
        }
        for tag in ["\"3\"", "W/\"3\"", "\"-3\"", "\"+3\"", "3", "*", "\"\"", "\"1234567890123456789\"", "w/\"3\""] {
            assert_eq!(is_documented(VERSION_TAG, tag), version(&headers("if-match", &[tag])).is_ok(), "{tag}");
        }
        for token in ["", "abc.1", "a b", "é"] {
            assert_eq!(
                is_documented(POSITION, token),
                position(&headers("lungo-position", &[token])).is_ok(),
                "{token}"
            );
        }
        let partner = crate::order::PartnerId::new();
        let revision = crate::admission::Revision::default().token(partner, &crate::order::CustomerId("ada".into()));
        assert!(is_documented(REVISION_TAG, &format!("W/\"{revision}\"")));
    }

    #[rstest]
    fn an_idempotency_key_has_an_end() {
        assert!(idempotency_key(&headers("idempotency-key", &[&"k".repeat(128)])).is_ok());
        assert!(idempotency_key(&headers("idempotency-key", &[&"k".repeat(129)])).is_err());
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    }

    #[rstest]
    #[case(&["*"])]
    #[case(&["w/\"a\""])]
    #[case(&["W/a"])]
    #[case(&["W/W/\"a\""])]
    #[case(&["\"a\", \"b\""])]
    #[case(&["a"])]
    #[case(&["\"\""])]
    #[case(&["\"a\"", "\"b\""])]
    fn if_match_takes_one_tag(#[case] sent: &[&str]) {
        assert_eq!(if_match(&headers("if-match", sent)).unwrap_err().code, Code::InvalidRequest);
        for tag in ["\"a-1\"", "W/\"a-1\""] {
            assert_eq!(if_match(&headers("if-match", &[tag])).unwrap().as_deref(), Some("a-1"));
        }
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
    }

    #[rstest]
    #[case(&["\"a\""], true)]
    #[case(&["W/\"a\""], true)]
    #[case(&["\"x\", W/\"a\",\"y\""], true)]
    #[case(&["\"x\"", "\"a\""], true)]
    #[case(&["*"], true)]
    #[case(&["\"x\""], false)]
    #[case(&["a"], false)]
    #[case(&[], false)]
    fn if_none_match_compares_weakly(#[case] sent: &[&str], #[case] has: bool) {
        assert_eq!(if_none_match(&headers("if-none-match", sent)).has("a"), has);
    }

    #[rstest]
    fn a_position_is_passed_on_as_it_is() {
        assert_eq!(position(&headers("lungo-position", &["abc.1"])).unwrap(), Some("abc.1"));
        assert_eq!(position(&HeaderMap::new()).unwrap(), None);
        for sent in [&["a", "b"][..], &[""], &["a b"]] {
            assert_eq!(position(&headers("lungo-position", sent)).unwrap_err().code, Code::InvalidPosition);
        }
    }
}

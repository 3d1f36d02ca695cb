//! JSON bodies: read within limits, checked against the schema that `/openapi.json` publishes, then parsed.
//!
//! All faults of a body are told at once, each with a JSON pointer. What the client sent is hardly ever repeated
//! to it, and never at length.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use jsonschema::Validator;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::error::{Code, Failure};
use crate::order::Currency;
use crate::web::faults;
use crate::web::problem::Problem;
use crate::web::query::{badly_encoded, is_well_encoded};
use crate::web::vocabulary::CURRENCY_FORMAT;

/// A parsed JSON body: an extractor.
#[derive(Clone, Debug)]
pub struct Body<T>(pub T);

/// A parsed JSON body that may be left out: then it is the type's default. An extractor.
#[derive(Clone, Debug)]
pub struct OptionalBody<T>(pub T);

/// A type that a body may have. Declare it by [`bodies!`](crate::bodies), and list it in `web::openapi`.
pub trait Schema: ToSchema + DeserializeOwned + 'static {
    /// The published schema of this type, compiled once.
    fn validator() -> &'static Validator;
}

/// Declares types of bodies, each with a validator of its own.
#[macro_export]
macro_rules! bodies {
    ($($body:ty),* $(,)?) => {$(
        impl $crate::web::body::Schema for $body {
            fn validator() -> &'static jsonschema::Validator {
                static VALIDATOR: std::sync::LazyLock<jsonschema::Validator> =
                    std::sync::LazyLock::new($crate::web::body::compile::<$body>);
                &VALIDATOR
            }
        }
    )*};
}

/// How much a body may hold, and how long it may take to arrive in total. Tests put smaller ones into `app_data`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_bytes: usize,
    pub within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 16 * 1024, within: Duration::from_secs(10) }
    }
}

/// The validator of a type: of the schemas that `web::openapi` publishes of it and of what it is made of.
pub fn compile<T: ToSchema>() -> Validator {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    let schemas: std::collections::BTreeMap<_, _> = schemas.into_iter().collect();
    validator_of(&T::name(), &serde_json::json!(schemas))
}

/// The validator of one of these schemas, which may refer to each other.
pub fn validator_of(schema: &str, schemas: &Value) -> Validator {
    let root = serde_json::json!({
        "$ref": format!("#/components/schemas/{schema}"),
        "components": { "schemas": schemas },
    });
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .with_format(CURRENCY_FORMAT, |text: &str| text.parse::<Currency>().is_ok())
        .build(&root)
        .expect("the document's schemas are valid")
}

impl<T: Schema> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limits = request.app_data::<Limits>().copied().unwrap_or_default();
        let acceptable = check_head(request, limits);
        let payload = web::Payload::from_request(request, payload).into_inner();
        Box::pin(async move {
            acceptable?;
            let payload = payload.map_err(|error| unreadable("The body cannot be read.").because(error))?;
            Ok(Self(parse(&read(payload, limits).await?)?))
        })
    }
}

impl<T: Schema + Default> FromRequest for OptionalBody<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limits = request.app_data::<Limits>().copied().unwrap_or_default();
        let acceptable = check_head(request, limits);
        let payload = web::Payload::from_request(request, payload).into_inner();
        Box::pin(async move {
            let payload = payload.map_err(|error| unreadable("The body cannot be read.").because(error))?;
            let bytes = read(payload, limits).await?;
            // Without a body its headers say nothing: many clients send a Content-Type all the same, or none.
            if bytes.is_empty() {
                return Ok(Self(T::default()));
            }
            acceptable?;
            Ok(Self(parse(&bytes)?))
        })
    }
}

/// Reads a small HTML form, within the limits of every body.
///
/// # Errors
/// As for every body; `invalid_request` if it does not hold what the page asks for.
pub async fn read_form<T: DeserializeOwned>(request: &HttpRequest, payload: web::Payload) -> Result<T, Failure> {
    if !request.content_type().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Failure::new(Code::UnsupportedMediaType, "Send the form as the page does."));
    }
    let bytes = read(payload, request.app_data::<Limits>().copied().unwrap_or_default()).await?;
    let text = std::str::from_utf8(&bytes).map_err(|error| unreadable("The form is not UTF-8.").because(error))?;
    if !is_well_encoded(text) {
        return Err(badly_encoded());
    }
    let form = web::Query::<T>::from_query(text).map(web::Query::into_inner);
    form.map_err(|fault| Failure::new(Code::InvalidRequest, format!("The form: {fault}.")))
}

/// Parses a body that was read.
///
/// # Errors
/// `malformed_request` if it is not JSON, `invalid_request` with all faults if it does not have the published form.
pub fn parse<T: Schema>(bytes: &[u8]) -> Result<T, Failure> {
    if bytes.trim_ascii().is_empty() {
        return Err(unreadable("The body is empty: send a JSON object."));
    }
    let Json(value) = serde_json::from_slice(bytes)
        .map_err(|error| unreadable(format!("The body is not the JSON it should be: {error}.")))?;
    let found = faults::of(T::validator(), &value);
    if !found.is_empty() {
        return Err(faults::refuse(found));
    }
    serde_json::from_value(value).map_err(|error| {
        let why = faults::cut(&error.to_string());
        Failure::new(Code::InvalidRequest, format!("The body does not have the documented form: {why}."))
    })
}

fn check_head(request: &HttpRequest, limits: Limits) -> Result<(), Failure> {
    let unsupported = |detail| Err(Failure::new(Code::UnsupportedMediaType, detail));
    let is_json = request.content_type().eq_ignore_ascii_case("application/json");
    let charset = request.mime_type().ok().flatten().and_then(|mime| mime.get_param("charset").map(|c| c.to_string()));
    if !is_json || charset.is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
        return unsupported("Send the body as `Content-Type: application/json`, in UTF-8.");
    }
    if request.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return unsupported("Send the body without a Content-Encoding.");
    }
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > limits.max_bytes) {
        return Err(too_large(limits));
    }
    Ok(())
}

/// Reads a body as it is.
///
/// # Errors
/// `body_too_large`, `request_timeout`, or `malformed_request` if it breaks off.
pub async fn read(payload: web::Payload, limits: Limits) -> Result<Bytes, Failure> {
    // One deadline over the whole body: a byte now and then must not hold a connection for ever.
    match tokio::time::timeout(limits.within, payload.to_bytes_limited(limits.max_bytes)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(error))) => Err(unreadable("The body broke off.").because(error)),
        Ok(Err(_)) => Err(too_large(limits)),
        Err(_) => {
            let seconds = limits.within.as_secs_f64();
            Err(Failure::new(Code::RequestTimeout, format!("The body must arrive within {seconds} seconds.")))
        }
    }
}

fn too_large(limits: Limits) -> Failure {
    Failure::new(Code::BodyTooLarge, format!("The body may hold {} bytes.", limits.max_bytes))
}

fn unreadable(detail: impl Into<Box<str>>) -> Failure {
    Failure::new(Code::MalformedRequest, detail)
}

/// A JSON value in which no object names a member twice: two readers could take different ones for it.
struct Json(Value);

impl<'de> serde::Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Self)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // JSON has one kind of numbers: `410.0` and `4.1e2` are the integer 410. Beyond this, a double stands for several.
        const EXACT: f64 = (1_u64 << 53) as f64;
        if value.fract() == 0.0 && value.abs() < EXACT {
            return Ok((value as i64).into());
        }
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the member `{}` appears twice", faults::cut(&name))));
            }
            let Json(value) = members.next_value()?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{self, TestRequest};
    use actix_web::{App, HttpResponse};
    use serde_json::json;

    use super::*;
    use crate::web::create_order::CreateOrder;
    use crate::web::edge;

    fn order() -> Value {
        json!({
            "customer_id": "cus_82f1", "shop_id": "0197c000-0000-7000-8000-00000000beef",
            "lines": [{"item_id": "lungo", "quantity": 2, "options": ["milk_oat"]}],
            "total": {"amount": 820, "currency": "EUR"}, "payment": {"method": "pm_card_visa"},
            "pickup": {"type": "counter", "at": null, "note": null, "name": null}, "on_unavailable": "cancel", "metadata": {}
        })
    }

    async fn send(content_type: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let handler = |Body(body): Body<CreateOrder>| async move { HttpResponse::Ok().json(body.parse()) };
        let app = test::init_service(
            App::new().wrap(from_fn(edge::serve)).service(web::resource("/").route(web::post().to(handler))),
        )
        .await;
        let mut request = TestRequest::post().uri("/").set_payload(body);
        if !content_type.is_empty() {
            request = request.insert_header(("content-type", content_type));
        }
        let answer = test::call_service(&app, request.to_request()).await;
        (answer.status().as_u16(), test::read_body_json(answer).await)
    }

    #[actix_web::test]
    async fn the_contracts_own_example_is_accepted() {
        for content_type in ["application/json", "Application/JSON; charset=UTF-8"] {
            let (status, body) = send(content_type, order().to_string()).await;
            assert_eq!(status, 200, "{body}");
            assert_eq!(body["lines"][0]["options"], json!(["milk_oat"]));
        }
    }

    #[actix_web::test]
    async fn another_content_type_is_refused() {
        for content_type in ["", "text/plain", "application/json; charset=latin1", "application/merge-patch+json"] {
            assert_eq!(send(content_type, order().to_string()).await.0, 415, "{content_type}");
        }
    }

    #[actix_web::test]
    async fn what_is_not_json_is_malformed_and_says_where() {
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        for (body, word) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"{\"a\": 1,", "line 1 column"),
            (b"{\"a\": 1, \"a\": 2}", "appears twice at line 1"),
            (b"{\"a\": \"\xff\"}", "line 1"),
            (b"{} {}", "line 1"),
            (b"{\"a\": 1e999}", "line 1"),
            (deep.as_bytes(), "recursion limit"),
        ] {
            let (status, answer) = send("application/json", Bytes::copy_from_slice(body)).await;
            assert_eq!((status, &answer["code"]), (400, &json!("malformed_request")), "{answer}");
            assert!(answer["detail"].as_str().unwrap().contains(word), "{answer}");
        }
    }

    #[actix_web::test]
    async fn too_much_is_refused() {
        assert_eq!(send("application/json", vec![b' '; 16 * 1024 + 1]).await.0, 413);
        let mut fits = order().to_string().into_bytes();
        fits.resize(16 * 1024, b' ');
        assert_eq!(send("application/json", fits).await.0, 200);
    }

    #[actix_web::test]
    async fn a_whole_number_is_one_however_it_is_written() {
        for (amount, status) in [
            ("820", 200),
            ("820.0", 200),
            ("8.2e2", 200),
            ("82000e-2", 200),
            ("820.5", 400),
            ("1e400", 400),
            ("9007199254740993.0", 400),
        ] {
            let mut body = order();
            body["total"]["amount"] = json!("AMOUNT");
            let text = body.to_string().replace("\"AMOUNT\"", amount);
            assert_eq!(send("application/json", text).await.0, status, "{amount}");
        }
    }

    #[actix_web::test]
    async fn all_faults_are_told_at_once() {
        let mut body = order();
        body["customer_id"] = json!("");
        body["surprise"] = json!(1);
        body["lines"] = json!([{"quantity": 0, "options": [7]}, {"item_id": "lungo", "quantity": 2.5}]);
        body["shop_id"] = json!("not-an-id");
        body["pickup"] = json!({"type": "drone", "at": "tomorrow"});
        body["total"] = json!({"amount": -1, "currency": "ABC"});
        body["metadata"] = json!({"k": 5, "": "x"});
        body.as_object_mut().unwrap().remove("payment");
        let (status, answer) = send("application/json", body.to_string()).await;
        assert_eq!((status, &answer["code"]), (400, &json!("invalid_request")));
        let found: Vec<(&str, &str)> = answer["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| (fault["pointer"].as_str().unwrap(), fault["code"].as_str().unwrap()))
            .collect();
        let expected = [
            ("/customer_id", "too_short"),
            ("/lines/0/item_id", "missing"),
            ("/lines/0/options/0", "wrong_type"),
            ("/lines/0/quantity", "out_of_range"),
            ("/lines/1/quantity", "wrong_type"),
            ("/metadata/", "too_short"),
            ("/metadata/k", "wrong_type"),
            ("/payment", "missing"),
            ("/pickup/at", "bad_format"),
            ("/pickup/type", "not_allowed"),
            ("/shop_id", "bad_format"),
            ("/surprise", "unknown_field"),
            ("/total/amount", "out_of_range"),
            ("/total/currency", "bad_format"),
        ];
        assert_eq!(found, expected, "{answer:#}");
    }

    #[actix_web::test]
    async fn control_characters_never_reach_the_store() {
        for (pointer, text, status) in [
            ("/customer_id", "a\u{0}b", 400),
            ("/customer_id", "a\n", 400),
            ("/customer_id", "Käthe ☕", 200),
            ("/pickup/note", "two\nlines", 200),
            ("/pickup/note", "\u{0}", 400),
            ("/pickup/name", "Zoë Ó Briain", 200),
            ("/pickup/name", "two\nlines", 400),
            ("/pickup/name", "\u{0}", 400),
            ("/pickup/name", " \t", 400),
            ("/lines/0/options/0", "\u{7f}", 400),
            ("/metadata", "", 400),
        ] {
            let mut body = order();
            *body.pointer_mut(pointer).unwrap() = json!(text);
            let (got, answer) = send("application/json", body.to_string()).await;
            assert_eq!(got, status, "{pointer} {answer}");
        }
        let mut body = order();
        body["metadata"] = json!({"k": "\u{0}"});
        assert_eq!(send("application/json", body.to_string()).await.0, 400);
    }

    #[actix_web::test]
    async fn a_root_that_is_no_object_is_a_fault_without_a_pointer() {
        let (_, answer) = send("application/json", "[]").await;
        assert_eq!(answer["errors"][0]["code"], "wrong_type", "{answer}");
        assert_eq!(answer["errors"][0].get("pointer"), None);
    }

    #[actix_web::test]
    async fn little_is_repeated_to_the_client() {
        let name = "x".repeat(5000);
        let (_, answer) = send("application/json", json!({ name.as_str(): name.as_str() }).to_string()).await;
        assert!(!answer.to_string().contains(&"x".repeat(70)), "{answer}");
    }
}

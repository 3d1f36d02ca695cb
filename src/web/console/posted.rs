//! A form that was sent: by one of our own pages, of this session, or not at all.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::guard::Visitor;
use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::order::Hash;
use crate::store::{By, Entry};
use crate::web::pages::see_other;
use crate::web::problem::Problem;

/// How long a form may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a reason may have, in characters.
const REASON: usize = 500;

/// What a form said, and who sent it. An extractor: having one means that the form came from a page of this session.
#[derive(Debug)]
pub struct Posted {
    pub visitor: Visitor,
    pub fields: Fields,
    is_part: bool,
}

/// The fields of a form.
#[derive(Debug)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// What stands in a field, without spaces around it; empty if there is no such field.
    pub fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }

    /// A field exactly as it was filled in.
    pub fn exact(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// What stands in all the fields of that name.
    pub fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// A field that has to make sense. `what` says what it should be.
    ///
    /// # Errors
    /// `unprocessable`.
    pub fn parse<T: FromStr>(&self, name: &str, what: &str) -> Result<T, Failure> {
        let text = self.text(name);
        text.parse().map_err(|_| Failure::new(Code::Unprocessable, format!("`{name}` must be {what}.")))
    }

    /// A field that may be left empty.
    ///
    /// # Errors
    /// `unprocessable`.
    pub fn maybe<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Failure> {
        if self.text(name).is_empty() { Ok(None) } else { self.parse(name, what).map(Some) }
    }
}

impl Posted {
    /// An entry of the audit log for this deed, with the reason that was given. Write through
    /// [`crate::store::Store::recording`] with it.
    ///
    /// # Errors
    /// `unprocessable` if the action needs a reason and none was given, or a book.
    pub fn entry(&self, subject: impl Into<String>, detail: Value) -> Result<Entry, Failure> {
        Ok(self.visitor.entry(subject, self.reason()?, detail))
    }

    /// Who acts, for a command to an order.
    ///
    /// # Errors
    /// As [`Posted::entry`].
    pub fn by(&self) -> Result<By, Failure> {
        Ok(By {
            at: now(),
            user_id: Some(self.visitor.user.id),
            name: self.visitor.user.name.clone(),
            reason: self.reason()?,
            request_id: self.visitor.request_id.clone(),
            detail: Default::default(),
        })
    }

    /// The version of the order that the form was made of.
    ///
    /// # Errors
    /// `version_required` for a form that does not say it: an older release made it.
    pub fn version(&self) -> Result<i64, Failure> {
        let unknown = || Failure::new(Code::VersionRequired, "This page is too old: load it again, and then decide.");
        self.fields.text("version").parse().map_err(|_| unknown())
    }

    /// Why, in the visitor's words.
    ///
    /// # Errors
    /// As [`Posted::entry`].
    pub fn reason(&self) -> Result<Option<String>, Failure> {
        let reason: String = self.fields.text("reason").chars().filter(|c| !c.is_control() || *c == '\n').collect();
        if reason.is_empty() && self.visitor.action.rule().needs_reason {
            return Err(Failure::new(Code::Unprocessable, "Say why: it stands in the audit log."));
        }
        if reason.chars().count() > REASON {
            return Err(Failure::new(Code::Unprocessable, format!("A reason has at most {REASON} characters.")));
        }
        Ok(Some(reason).filter(|reason| !reason.is_empty()))
    }

    /// The deed is done: shows this page of ours, and says so.
    pub fn done(&self, path: &str, notice: &str) -> HttpResponse {
        if !self.is_part {
            return see_other(path);
        }
        let place = json!({"path": path, "target": "#main", "select": "#main", "swap": "outerHTML"});
        HttpResponse::NoContent()
            .insert_header(("HX-Location", ascii(&place)))
            .insert_header(("HX-Trigger", ascii(&json!({"lungo:notice": {"text": notice}}))))
            .finish()
    }
}

/// JSON for a header: what is not ASCII is escaped.
fn ascii(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text += &format!("\\u{unit:04x}"));
        }
    }
    text
}

impl FromRequest for Posted {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visitor = Visitor::extract(request);
        let body = Bytes::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let visitor = visitor.await?;
            let fields = read(&request, body, &visitor.token).await?;
            Ok(Self { visitor, fields, is_part: request.headers().contains_key("hx-request") })
        })
    }
}

/// Reads a form that must carry `token` and come from a page of ours.
pub(in crate::web) async fn read(
    request: &HttpRequest,
    body: impl Future<Output = Result<Bytes, actix_web::Error>>,
    token: &str,
) -> Result<Fields, Failure> {
    check_origin(request)?;
    let late = |_| Failure::new(Code::RequestTimeout, "The form did not arrive in time.");
    let body = tokio::time::timeout(PATIENCE, body).await.map_err(late)?;
    let body = body.map_err(|_| Failure::new(Code::BodyTooLarge, "The form cannot be read, or is too large."))?;
    let fields = Fields(form_urlencoded::parse(&body).into_owned().collect());
    // Compared by hashes: time tells nothing about the token.
    if Hash::of_bytes(fields.exact("csrf").as_bytes()) != Hash::of_bytes(token.as_bytes()) {
        let detail = "This form belongs to another session. Load the page again, and send it once more.";
        return Err(Failure::new(Code::Forbidden, detail));
    }
    Ok(fields)
}

/// Whether one of our own pages sent it, as browsers say.
///
/// # Errors
/// `forbidden`.
pub(in crate::web) fn check_origin(request: &HttpRequest) -> Result<(), Failure> {
    let text = |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let app = request.app_data::<Data<App>>().expect("every request can reach the App");
    let is_ours = match text(header::ORIGIN) {
        Some(origin) => match &app.settings.console_url {
            Some(url) => origin_of(url).is_some_and(|ours| ours == origin),
            // Whether by TLS or not is known to the proxy only.
            None => origin.split_once("://").map(|(_, host)| host) == text(header::HOST),
        },
        None => request.headers().get("sec-fetch-site").is_some_and(|site| site == "same-origin"),
    };
    if is_ours { Ok(()) } else { Err(Failure::new(Code::Forbidden, "This form was sent from another site.")) }
}

/// The scheme and the host of an address, as browsers name them.
fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next().unwrap_or(rest);
    Some(format!("{scheme}://{host}").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_and_host() {
        assert_eq!(origin_of("https://Console.example:8443/x/").as_deref(), Some("https://console.example:8443"));
        assert_eq!(origin_of("console.example"), None);
    }

    #[test]
    fn headers_hold_only_ascii() {
        assert_eq!(ascii(&json!("a é \u{1f600}")), r#""a \u00e9 \ud83d\ude00""#);
    }

    #[test]
    fn fields_are_found_by_name() {
        let fields = Fields(form_urlencoded::parse(b"a=+1+&role=x&role=y&e=").into_owned().collect());
        assert_eq!((fields.text("a"), fields.exact("a"), fields.text("none")), ("1", " 1 ", ""));
        assert_eq!(fields.all("role").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(fields.parse::<i64>("a", "a number").unwrap(), 1);
        assert!(fields.parse::<i64>("role", "a number").is_err());
        assert_eq!(fields.maybe::<i64>("e", "a number").unwrap(), None);
    }
}

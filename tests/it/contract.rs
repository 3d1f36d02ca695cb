//! Every answer that any test gets is held against the published document: its status, its form, its code.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::server::{Answer, text};

/// The document that the server at this address publishes. All servers of a run are the same binary.
pub fn document(url: &str) -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        lungo::tls::install();
        let client = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
        client.get(format!("{url}/openapi.json")).send().expect("an answer").json().expect("JSON")
    })
}

/// The documented path that a request is for, and what is said of it.
pub fn documented<'d>(document: &'d Value, path: &str) -> Option<(&'d str, &'d Value)> {
    let path: Vec<&str> = path.split('?').next().unwrap_or(path).split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == path.len() && parts.iter().zip(&path).all(|(part, is)| part.starts_with('{') || part == is)
    };
    let paths = document["paths"].as_object().expect("a document has paths");
    let fitting = paths.iter().filter(|(template, _)| fits(template));
    fitting.min_by_key(|(template, _)| template.matches('{').count()).map(|(template, item)| (template.as_str(), item))
}

/// Panics if the answer is not as the document says.
#[track_caller]
pub fn check(url: &str, method: &str, path: &str, answer: &Answer) {
    // On a machine that is busy enough a head does not arrive in time: the connection is given up before there is a request.
    if answer.status == 408 && answer.text.is_empty() {
        return;
    }
    let what = format!("{method} {path} → {answer:#?}");
    let id = answer.headers.get("x-request-id").unwrap_or_else(|| panic!("no request id: {what}"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    let kind = answer.maybe("content-type").map(|kind| kind.split(';').next().unwrap_or(kind).to_owned());

    if answer.status >= 400 {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{what}");
    }
    if answer.status >= 400 && method != "HEAD" {
        let problem = &answer.body;
        assert_eq!(problem["status"], answer.status, "{what}");
        assert_eq!(problem["request_id"], id.to_str().unwrap(), "{what}");
        assert_eq!(problem["instance"], path.split('?').next().unwrap(), "{what}");
        assert_eq!(text(&problem["type"]), format!("urn:lungo:problem:{}", text(&problem["code"])), "{what}");
    }
    match answer.status {
        401 => drop(answer.header("www-authenticate").to_owned()),
        405 => drop(answer.header("allow").to_owned()),
        429 | 503 => assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1, "{what}"),
        _ => {}
    }

    let document = document(url);
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
    let Some((template, operation)) =
        documented(document, path).and_then(|(template, item)| Some((template, item.get(&method)?)))
    else {
        return;
    };
    let said = operation["responses"].get(answer.status.to_string());
    let said = said.unwrap_or_else(|| panic!("{template} does not document {}: {what}", answer.status));
    let (Some(kind), false) = (kind, answer.text.is_empty()) else { return };
    let Some(content) = said["content"].get(&kind) else {
        assert!(said.get("content").is_none(), "{template} documents another content type: {what}");
        return;
    };
    let validator = validator(document, &format!("{method} {template} {}", answer.status), &content["schema"]);
    let faults: Vec<String> =
        validator.iter_errors(&answer.body).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{faults:#?} in {what}");
}

fn validator(document: &Value, name: &str, schema: &Value) -> Arc<Validator> {
    static COMPILED: Mutex<Option<HashMap<String, Arc<Validator>>>> = Mutex::new(None);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || {
        let root = json!({"allOf": [schema], "components": document["components"]});
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        Arc::new(options.build(&root).expect("the document's schemas are valid"))
    };
    compiled.get_or_insert_default().entry(name.to_owned()).or_insert_with(compile).clone()
}

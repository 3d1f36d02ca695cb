//! Every answer that any test gets is held against the published document: its status, its form, its code, and that it
//! holds no member that the document does not have.

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
    for (name, header) in said["headers"].as_object().into_iter().flatten() {
        let is_there = answer.headers.contains_key(name.as_str());
        assert!(is_there || header["required"] != true, "{template} promises {name}: {what}");
    }
    let (Some(kind), false) = (kind, answer.text.is_empty()) else { return };
    let content = said["content"].get(&kind);
    let content = content.unwrap_or_else(|| panic!("{template} documents no {kind}: {what}"));
    let validator = validator(document, &format!("{method} {template} {}", answer.status), &content["schema"]);
    let faults: Vec<String> =
        validator.iter_errors(&answer.body).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{faults:#?} in {what}");
}

fn validator(document: &Value, name: &str, schema: &Value) -> Arc<Validator> {
    static COMPILED: Mutex<Option<HashMap<String, Arc<Validator>>>> = Mutex::new(None);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || Arc::new(closed(document, schema));
    compiled.get_or_insert_default().entry(name.to_owned()).or_insert_with(compile).clone()
}

/// The validator of a schema by which no object may have a member that is not listed. The published document says less,
/// because clients have to ignore members that a later version adds.
fn closed(document: &Value, schema: &Value) -> Validator {
    let mut root = json!({
        "allOf": [{"allOf": [schema]}],
        "components": document["components"],
        "open": document["components"],
    });
    close(&mut root["allOf"][0]["allOf"][0], true);
    for part in ["components", "open"] {
        let schemas = root[part]["schemas"].as_object_mut().expect("a document has schemas");
        schemas.values_mut().for_each(|schema| close(schema, part == "components"));
    }
    let options = jsonschema::draft202012::options().should_validate_formats(true);
    options.build(&root).expect("the document's schemas are valid")
}

/// Closes a schema with all that it holds. Of parts that are put together only the whole can be closed, so that a part
/// by reference is the open form of the schema.
fn close(schema: &mut Value, is_whole: bool) {
    let Some(members) = schema.as_object_mut() else { return };
    let lists_members = members.contains_key("properties") || members.contains_key("allOf");
    if is_whole && lists_members && !members.contains_key("additionalProperties") {
        members.insert("unevaluatedProperties".into(), json!(false));
    }
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            ("$ref", Value::String(target)) if !is_whole => *target = target.replace("#/components/", "#/open/"),
            ("allOf", Value::Array(parts)) => parts.iter_mut().for_each(|part| close(part, false)),
            ("oneOf" | "anyOf", Value::Array(choices)) => choices.iter_mut().for_each(|choice| close(choice, is_whole)),
            ("items" | "additionalProperties", value) => close(value, true),
            ("properties", Value::Object(own)) => own.values_mut().for_each(|member| close(member, true)),
            _ => {}
        }
    }
}

#[test]
fn a_member_or_code_that_is_not_documented_is_found() {
    let problem =
        |code: &str| json!({"type": "object", "properties": {"code": {"enum": [code]}}, "required": ["code"]});
    let document = json!({"components": {"schemas": {
        "A": problem("a"),
        "B": {"allOf": [{"$ref": "#/components/schemas/Part"}, problem("b")]},
        "Part": {"properties": {"order": {"$ref": "#/components/schemas/Order"}}},
        "Order": {"type": "object", "properties": {"id": {"type": "integer"}}},
    }}});
    let schema = json!({"oneOf": [{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/B"}]});
    let validator = closed(&document, &schema);
    for (answer, is_documented) in [
        (json!({"code": "a"}), true),
        (json!({"code": "b", "order": {"id": 1}}), true),
        (json!({"code": "a", "order": {"id": 1}}), false),
        (json!({"code": "b", "orders": []}), false),
        (json!({"code": "b", "order": {"id": 1, "name": "Ada"}}), false),
        (json!({"code": "c"}), false),
    ] {
        assert_eq!(validator.is_valid(&answer), is_documented, "{answer}");
    }
}

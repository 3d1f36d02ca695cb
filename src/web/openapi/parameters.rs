//! The forms of request headers and cursors, written into the document once for all operations that take them.

use serde_json::{Map, Value, json};

use crate::error::Code;
use crate::web::headers;

/// Gives each header and cursor of an operation the form that its parser accepts. `problems` are the operation's own.
pub fn add_forms(operation: &mut Map<String, Value>, problems: &[Code]) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let schema = parameter["schema"].as_object_mut().expect("a parameter has a schema");
        // Optional means that it may be left out: no parameter says null.
        if schema.get("type") == Some(&json!(["string", "null"])) {
            schema.insert("type".into(), json!("string"));
        }
        // A cursor that is an id has a format already.
        if let Some(form) = form_of(&name, problems).filter(|_| !schema.contains_key("format")) {
            schema.extend(form.as_object().expect("made below").clone());
        }
    }
}

fn form_of(name: &str, problems: &[Code]) -> Option<Value> {
    let form = match name {
        "Idempotency-Key" => json!({"pattern": headers::IDEMPOTENCY_KEY, "examples": ["\"5f0c8a1e\""]}),
        "Lungo-Position" => json!({"pattern": headers::POSITION}),
        "If-Match" if problems.contains(&Code::StaleVersion) => {
            json!({"pattern": headers::VERSION_TAG, "minLength": 3, "maxLength": 22, "examples": ["\"3\""]})
        }
        "If-Match" => json!({"pattern": headers::REVISION_TAG, "minLength": 32, "maxLength": 34}),
        "cursor" => json!({"pattern": "^[A-Za-z0-9_-]{1,100}$"}),
        _ => return None,
    };
    Some(form)
}

use std::fs;
use std::path::Path;

use serde_json::{Serializer, Value, json};

use super::{FREE, RULED, breaks, items, members, word};

const BASELINE: &str = "docs/openapi.json";

#[test]
fn the_document_breaks_no_client_of_the_last_release() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(BASELINE);
    let last: Value = serde_json::from_slice(&fs::read(&path).expect(BASELINE)).expect("JSON");
    let served = lungo::web::openapi::document();
    let broken = breaks(&last, served);
    let versions = (word(&last["info"]["version"]), word(&served["info"]["version"]));
    let may_break = is_breaking_step(versions.0, versions.1);
    assert!(
        broken.is_empty() || may_break,
        "clients of {} break. Undo these changes, or release them as docs/src/integrate/generated-clients.md says:\n  {}",
        versions.0,
        broken.join("\n  ")
    );
    if std::env::var_os("UPDATE").is_some() {
        let mut text = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b" ");
        serde::Serialize::serialize(served, &mut Serializer::with_formatter(&mut text, format)).expect("JSON");
        text.push(b'\n');
        fs::write(&path, text).expect("the baseline can be written");
    } else {
        assert!(
            broken.is_empty(),
            "the new version may break clients: record it by `UPDATE=1 cargo test --test it -- compatible`"
        );
    }
}

/// Before 1.0 the second number says that clients break, and afterwards the first.
fn is_breaking_step(old: &str, new: &str) -> bool {
    let parts = |version: &str| -> (u64, u64) {
        let mut parts = version.split('.').map(|part| part.parse().expect("a version of numbers"));
        (parts.next().expect("major"), parts.next().expect("minor"))
    };
    let (old, new) = (parts(old), parts(new));
    new.0 > old.0 || (new.0 == 0 && new > old)
}

#[test]
fn a_break_needs_a_version_that_says_so() {
    for (old, new, may) in [
        ("0.1.0", "0.2.0", true),
        ("0.9.3", "1.0.0", true),
        ("1.4.0", "2.0.0", true),
        ("0.1.0", "0.1.1", false),
        ("1.4.0", "1.5.0", false),
        ("2.0.0", "1.9.0", false),
        ("0.2.0", "0.2.0", false),
    ] {
        assert_eq!(is_breaking_step(old, new), may, "{old} → {new}");
    }
}

#[test]
fn the_rules_know_every_keyword_of_the_document() {
    fn check(schema: &Value) {
        for (keyword, value) in members(schema) {
            assert!(RULED.contains(&keyword.as_str()) || FREE.contains(&keyword.as_str()), "no rule for `{keyword}`");
            match keyword.as_str() {
                "properties" => members(value).for_each(|(_, member)| check(member)),
                "allOf" | "oneOf" | "anyOf" => items(value).for_each(check),
                "items" | "additionalProperties" | "propertyNames" => check(value),
                _ => {}
            }
        }
    }
    fn find(value: &Value) {
        for (name, inner) in members(value) {
            if name == "schema" { check(inner) } else { find(inner) }
        }
        items(value).for_each(find);
    }
    let document = lungo::web::openapi::document();
    members(&document["components"]["schemas"]).for_each(|(_, schema)| check(schema));
    ["paths", "webhooks"].iter().for_each(|kind| find(&document[*kind]));
    for (_, item) in members(&document["paths"]) {
        let known = ["get", "put", "post", "delete", "patch"];
        members(item).for_each(|(method, _)| assert!(known.contains(&method.as_str()), "no rule for `{method}`"));
    }
}

/// A document with one thing of each kind.
fn small() -> Value {
    json!({
        "paths": {"/cups": {"post": {
            "operationId": "fill", "security": [{"a": []}, {"b": []}],
            "parameters": [
                {"in": "query", "name": "page", "schema": {"type": "integer", "format": "int32", "maximum": 9}},
                {"in": "header", "name": "Key", "required": true, "schema": {"type": "string"}},
            ],
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Wish"}}}},
            "responses": {
                "200": {
                    "headers": {"ETag": {"required": true, "schema": {"type": "string"}}},
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Cup"}}},
                },
                "409": {"content": {"application/problem+json": {"schema": {
                    "oneOf": [{"$ref": "#/components/schemas/Full"}, {"$ref": "#/components/schemas/Broken"}],
                }}}},
            },
        }}},
        "webhooks": {"filled": {"post": {
            "parameters": [{"in": "header", "name": "signature", "required": true, "schema": {"type": "string"}}],
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Cup"}}}},
        }}},
        "components": {"schemas": {
            "Wish": {
                "type": "object", "additionalProperties": false, "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "milk": {"type": "string", "enum": ["oat", "cow"]},
                    "name": {"type": ["string", "null"], "maxLength": 9, "pattern": "^[a-z]+$"},
                    "lid": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Lid"}]},
                    "notes": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
            "Lid": {"type": "object"},
            "Spoon": {"type": "object"},
            "Cup": {
                "type": "object", "required": ["at", "inside"],
                "properties": {
                    "at": {"type": "string", "format": "date-time"},
                    "colour": {"type": "string", "enum": ["red", "blue"]},
                    "inside": {"type": "array", "items": {"type": "number"}},
                    "under": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Cup"}]},
                },
            },
            "Problem": {"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}}},
            "Full": {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": {"code": {"const": "full"}}}]},
            "Broken": {
                "allOf": [
                    {"$ref": "#/components/schemas/Problem"},
                    {"required": ["cup"], "properties": {
                        "code": {"const": "broken"}, "cup": {"$ref": "#/components/schemas/Cup"},
                    }},
                ],
            },
        }},
    })
}

/// What breaks if the value at the pointer is replaced, or removed by null.
fn after(pointer: &str, value: &Value) -> Vec<String> {
    let start = match pointer.chars().next() {
        Some('p') => "/paths/~1cups/",
        Some('s') => "/components/",
        _ => "",
    };
    let pointer = format!("{start}{pointer}");
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let key = &key.replace("~1", "/");
    let mut new = small();
    let parent = new.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match parent {
        Value::Object(all) if value.is_null() => drop(all.remove(key).expect("what is removed is there")),
        Value::Array(all) if value.is_null() => drop(all.remove(key.parse().unwrap())),
        Value::Array(all) if key == "-" => all.push(value.clone()),
        Value::Array(all) => all[key.parse::<usize>().unwrap()] = value.clone(),
        _ => parent[key] = value.clone(),
    }
    breaks(&small(), &new)
}

#[test]
fn every_kind_of_break_is_found_and_named() {
    let changes = [
        // Operations.
        ("/paths/~1cups", json!(null), "POST /cups: removed"),
        ("/webhooks/filled", json!(null), "POST filled: removed"),
        ("post/operationId", json!("pour"), "operationId \"fill\" is \"pour\" now"),
        ("post/security", json!([{"a": []}]), "no longer open to {\"b\":[]}"),
        ("schemas/Spoon", json!(null), "Spoon: a schema, and so a generated type, is removed"),
        // Parameters.
        ("post/parameters/0", json!(null), "query page: removed"),
        ("post/parameters/0/required", json!(true), "query page: required now"),
        ("post/parameters/0/schema/maximum", json!(8), "query page: maximum 9 is 8 now"),
        ("post/parameters/-", json!({"in": "query", "name": "shop", "required": true}), "query shop is required now"),
        ("/webhooks/filled/post/parameters/0/required", json!(false), "header signature: not always there any more"),
        // Bodies that a client writes.
        ("post/requestBody/required", json!(true), "a body is required now"),
        ("post/requestBody/content", json!({"text/plain": {}}), "body: no application/json any more"),
        ("schemas/Wish/required", json!(["size", "milk"]), "body.milk: required now"),
        ("schemas/Wish/properties/milk", json!(null), "body.milk: removed"),
        ("schemas/Wish/properties/size/type", json!("string"), "body.size: type \"integer\" is \"string\" now"),
        ("schemas/Wish/properties/size/minimum", json!(2), "body.size: minimum 1 is 2 now"),
        ("schemas/Wish/properties/size/enum", json!([1, 2]), "body.size: only some values are accepted now"),
        ("schemas/Wish/properties/milk/enum", json!(["oat"]), "body.milk: \"cow\" is no longer accepted"),
        ("schemas/Wish/properties/name/type", json!("string"), "body.name: \"null\" is no longer accepted"),
        ("schemas/Wish/properties/name/maxLength", json!(8), "body.name: maxLength 9 is 8 now"),
        ("schemas/Wish/properties/name/pattern", json!("^a$"), "body.name: pattern"),
        ("schemas/Wish/properties/lid", json!({"type": "object"}), "body.lid: \"null\" is no longer accepted"),
        ("schemas/Wish/properties/notes/additionalProperties", json!(false), "body.notes: further members are refused"),
        ("schemas/Wish/properties/notes/additionalProperties/type", json!("null"), "body.notes.*: type"),
        // Answers.
        ("post/responses/409", json!(null), "POST /cups → 409: removed"),
        ("post/responses/201", json!({}), "POST /cups → 201: a new way to succeed"),
        ("post/responses/200/headers/ETag", json!(null), "→ 200, header ETag: removed"),
        ("post/responses/200/headers/ETag/required", json!(false), "header ETag: not always there any more"),
        ("post/responses/200/content", json!({}), "→ 200: no application/json any more"),
        ("schemas/Cup/properties/at", json!(null), "→ 200.at: removed"),
        ("schemas/Cup/required", json!(["inside"]), "→ 200.at: not always there any more"),
        ("schemas/Cup/properties/at/type", json!(["string", "null"]), "→ 200.at: \"null\" is new in an answer"),
        ("schemas/Cup/properties/at/format", json!(null), "→ 200.at: format \"date-time\" is null now"),
        ("schemas/Cup/properties/colour/enum", json!(["red", "blue", "green"]), "\"green\" is new in an answer"),
        ("schemas/Cup/properties/colour/enum", json!(null), "→ 200.colour: no longer one of a list of values"),
        ("schemas/Cup/properties/inside/items/type", json!("string"), "→ 200.inside[]: type \"number\" is \"string\""),
        ("schemas/Broken/allOf/1/required", json!([]), "→ 409.cup: not always there any more"),
        ("schemas/Full/allOf/1/properties/code/const", json!("empty"), "→ 409.code: \"empty\" is new in an answer"),
        (
            "post/responses/409/content/application~1problem+json/schema/oneOf/-",
            json!({"type": "object", "properties": {"code": {"const": "hot"}}}),
            "→ 409: \"hot\" is new in an answer",
        ),
    ];
    for (pointer, value, expected) in changes {
        let found = after(pointer, &value);
        assert!(found.iter().any(|line| line.contains(expected)), "{pointer} = {value}: {found:#?}");
    }
}

#[test]
fn what_is_only_added_breaks_nothing() {
    let (string, free) = (json!({"type": "string"}), json!({"in": "query", "name": "q", "schema": {"type": "string"}}));
    for (pointer, value) in [
        ("/paths/~1mugs", json!({"get": {"operationId": "mugs", "responses": {}}})),
        ("/webhooks/emptied", json!({"post": {}})),
        ("schemas/Mug", json!({"type": "object"})),
        ("post/security", json!([{"a": []}, {"b": []}, {"c": []}])),
        ("post/summary", json!("Fills a cup.")),
        ("post/parameters/-", free),
        ("post/parameters/0/schema/maximum", json!(10)),
        ("post/parameters/0/schema/format", json!("int64")),
        ("post/parameters/1/required", json!(false)),
        ("post/responses/503", json!({"description": "Later."})),
        ("post/responses/200/headers/Age", json!({"schema": {"type": "integer"}})),
        ("schemas/Wish/required", json!([])),
        ("schemas/Wish/properties/sugar", string.clone()),
        ("schemas/Wish/properties/size/minimum", json!(0)),
        ("schemas/Wish/properties/size/type", json!(["number", "null"])),
        ("schemas/Wish/properties/milk/enum", json!(["oat", "cow", "pea"])),
        ("schemas/Wish/properties/milk/enum", json!(null)),
        ("schemas/Wish/properties/name/pattern", json!(null)),
        ("schemas/Wish/additionalProperties", json!(true)),
        ("schemas/Cup/properties/handle", string),
        ("schemas/Cup/required", json!(["at", "inside", "colour"])),
        ("schemas/Cup/properties/colour/enum", json!(["red"])),
        ("schemas/Cup/properties/inside/items/type", json!("integer")),
        ("schemas/Cup/properties/under", json!({"type": "null"})),
        ("schemas/Full/allOf/1/properties/since", json!({"type": "string"})),
        ("post/responses/409/content/application~1problem+json/schema/oneOf/0", json!(null)),
    ] {
        assert_eq!(after(pointer, &value), Vec::<String>::new(), "{pointer} = {value}");
    }
}

#[test]
fn breaks_are_found_in_the_real_document() {
    let served = lungo::web::openapi::document();
    assert_eq!(breaks(served, served), Vec::<String>::new());
    let mut new = served.clone();
    new["components"]["schemas"]["OrderView"]["properties"].as_object_mut().unwrap().remove("version");
    let found = breaks(served, &new);
    assert!(found.iter().any(|line| line.ends_with(".version: removed")), "{found:#?}");
}

//! The reference of the API as one page, made once from the published OpenAPI document. It begins with the two calls
//! that the service exists for, and needs no script.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde_json::{Map, Value};

use super::console::frame::Frame;
use super::headers::if_none_match;
use super::pages;
use crate::order::Hash;
use crate::web::openapi;

/// `GET /`: a browser finds the reference; it links to the console and the board.
pub async fn redirect_from_root() -> HttpResponse {
    pages::see_other("/docs")
}

/// `GET /docs/`: the address of older versions.
pub async fn redirect_to_docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/docs")).finish()
}

/// `GET /docs`
pub async fn get_docs(request: HttpRequest) -> HttpResponse {
    static PAGE: LazyLock<(String, String)> = LazyLock::new(|| {
        let page = Reference::of(openapi::document()).render().expect("the reference renders");
        (Hash::of_bytes(page.as_bytes()).tag(), page)
    });
    let (tag, page) = &*PAGE;
    let quoted = format!("\"{tag}\"");
    if if_none_match(request.headers()).has(tag) {
        return HttpResponse::NotModified().insert_header((header::ETAG, quoted)).finish();
    }
    let mut response = pages::html(actix_web::http::StatusCode::OK, page.clone());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("public, max-age=60"));
    headers.insert(header::ETAG, quoted.parse().expect("a tag is hexadecimal"));
    response
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Reference {
    frame: Frame,
    groups: Vec<Group>,
    schemas: Vec<Schema>,
}

/// The operations of one tag.
struct Group {
    name: String,
    about: Text,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: Text,
    about: Text,
    /// The kinds of key that may call it; none for an open operation.
    keys: Vec<String>,
    parameters: Vec<Member>,
    body: Text,
    answers: Vec<Answer>,
}

struct Answer {
    status: String,
    about: Vec<Text>,
    body: Text,
    headers: Vec<Member>,
}

/// A parameter, a header, or a member of an object.
struct Member {
    name: String,
    /// Where a parameter stands: `path`, `query` or `header`.
    place: String,
    kind: Text,
    is_required: bool,
    about: Text,
}

struct Schema {
    name: String,
    about: Text,
    kind: Text,
    members: Vec<Member>,
    /// The values of an enumeration.
    words: Vec<String>,
    example: Option<String>,
}

/// A run of text as the template writes it.
enum Piece {
    Plain(String),
    Code(String),
    /// The name of a schema on this page.
    Schema(String),
}

type Text = Vec<Piece>;

impl Reference {
    fn of(document: &Value) -> Self {
        let operations = operations(document);
        let tags = document["tags"].as_array().into_iter().flatten();
        let groups = tags.map(|tag| {
            let name = text(&tag["name"]);
            let own = operations.iter().filter(|(tag, _, _, _)| *tag == name);
            let operations = own.map(|(_, path, method, operation)| Operation::of(path, method, operation)).collect();
            Group { about: prose(&text(&tag["description"])), name, operations }
        });
        Self {
            frame: Frame::outside("API reference", String::new()),
            groups: groups.filter(|group| !group.operations.is_empty()).collect(),
            schemas: members(&document["components"]["schemas"])
                .map(|(name, schema)| Schema::of(name, schema))
                .collect(),
        }
    }
}

/// Every operation as (tag, path, method, operation), in the document's order of paths.
fn operations(document: &Value) -> Vec<(String, &str, &str, &Value)> {
    let mut all = Vec::new();
    for (path, item) in members(&document["paths"]) {
        for (method, operation) in members(item) {
            if !operation["operationId"].is_null() {
                all.push((text(&operation["tags"][0]), path.as_str(), method.as_str(), operation));
            }
        }
    }
    all
}

impl Operation {
    fn of(path: &str, method: &str, operation: &Value) -> Self {
        let security = operation["security"].as_array().into_iter().flatten();
        let keys = security.flat_map(|scheme| members(scheme).map(|(name, _)| name.trim_end_matches("Key").to_owned()));
        let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| {
            let is_required = parameter["required"] == true;
            let place = text(&parameter["in"]);
            Member { place, ..Member::of(&text(&parameter["name"]), parameter, &parameter["schema"], is_required) }
        });
        Self {
            id: text(&operation["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: prose(&text(&operation["summary"])),
            about: prose(&text(&operation["description"])),
            keys: keys.collect(),
            parameters: parameters.collect(),
            body: body_of(&operation["requestBody"]),
            answers: members(&operation["responses"]).map(|(status, answer)| Answer::of(status, answer)).collect(),
        }
    }
}

impl Answer {
    fn of(status: &str, answer: &Value) -> Self {
        let headers = members(&answer["headers"]);
        let headers = headers.map(|(name, header)| Member::of(name, header, &header["schema"], false));
        Self {
            status: status.to_owned(),
            about: text(&answer["description"]).lines().map(|line| prose(line.trim_start_matches("- "))).collect(),
            body: body_of(answer),
            headers: headers.collect(),
        }
    }
}

impl Member {
    fn of(name: &str, described: &Value, schema: &Value, is_required: bool) -> Self {
        let own = text(&described["description"]);
        let about = if own.is_empty() { text(&schema["oneOf"][0]["description"]) } else { own };
        Self { name: name.to_owned(), place: String::new(), kind: kind(schema), is_required, about: prose(&about) }
    }
}

impl Schema {
    fn of(name: &str, schema: &Value) -> Self {
        let mut fields: BTreeMap<&String, Member> = BTreeMap::new();
        // A flattened member is a part of its own in `allOf`.
        let parts = schema["allOf"].as_array().into_iter().flatten().chain([schema]);
        for part in parts {
            let required: Vec<&str> =
                part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            for (field, described) in members(&part["properties"]) {
                fields.insert(field, Member::of(field, described, described, required.contains(&field.as_str())));
            }
        }
        let example = schema.get("example").or_else(|| schema["examples"].get(0));
        let words = schema["enum"].as_array().into_iter().flatten().map(text).collect();
        Self {
            name: name.to_owned(),
            about: prose(&text(&schema["description"])),
            kind: if fields.is_empty() { kind(schema) } else { Text::new() },
            members: fields.into_values().collect(),
            words,
            example: example.map(|example| serde_json::to_string_pretty(example).expect("an example serialises")),
        }
    }
}

/// What a body is made of; empty without one.
fn body_of(described: &Value) -> Text {
    let mut content = members(&described["content"]);
    content
        .next()
        .map(|(media, content)| {
            let mut kind = kind(&content["schema"]);
            if media != "application/json" && media != "application/problem+json" {
                kind.extend([Piece::Plain(" as ".into()), Piece::Code(media.clone())]);
            }
            kind
        })
        .unwrap_or_default()
}

/// What a value may be, in words.
fn kind(schema: &Value) -> Text {
    if let Some(target) = schema["$ref"].as_str() {
        let name = target.rsplit('/').next().unwrap_or(target);
        return vec![Piece::Schema(name.to_owned())];
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[choice].as_array() {
            return joined(choices.iter().map(kind), " or ");
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return joined(parts.iter().filter(|part| !part["$ref"].is_null()).map(kind), " and ");
    }
    if schema["type"] == "array" {
        let mut all = vec![Piece::Plain("list of ".into())];
        all.extend(kind(&schema["items"]));
        return all;
    }
    let types: Vec<String> = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect(),
        one => vec![text(one)],
    };
    let mut words = types.join(" or ");
    if let Some(format) = schema["format"].as_str().filter(|format| !format.starts_with("int")) {
        words = format!("{words} ({format})");
    }
    let bound = |name: &str| schema[name].as_i64();
    let bounds = match (bound("minimum").or(bound("minLength")), bound("maximum").or(bound("maxLength"))) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) if least > 0 => format!(", at least {least}"),
        (None, Some(most)) => format!(", at most {most}"),
        _ => String::new(),
    };
    let unit = if schema["maxLength"].is_null() || bounds.is_empty() { "" } else { " characters" };
    vec![Piece::Plain(format!("{words}{bounds}{unit}"))]
}

fn joined(kinds: impl Iterator<Item = Text>, between: &str) -> Text {
    kinds.filter(|kind| !kind.is_empty()).fold(Text::new(), |mut all, kind| {
        if !all.is_empty() {
            all.push(Piece::Plain(between.into()));
        }
        all.extend(kind);
        all
    })
}

/// Text whose code stands between backticks.
fn prose(text: &str) -> Text {
    let pieces = text.split('`').enumerate().filter(|(_, piece)| !piece.is_empty());
    pieces.map(|(i, piece)| if i % 2 == 1 { Piece::Code(piece.into()) } else { Piece::Plain(piece.into()) }).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().map(Map::iter).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_schema_is_on_the_page_and_every_link_leads_somewhere() {
        let document = openapi::document();
        let page = Reference::of(document).render().unwrap();
        for (_, _, _, operation) in operations(document) {
            let id = operation["operationId"].as_str().unwrap();
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
        for (name, _) in members(&document["components"]["schemas"]) {
            assert!(page.contains(&format!("id=\"schema-{name}\"")), "{name}");
        }
        for target in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
        }
    }

    #[test]
    fn kinds_are_told_in_words() {
        let told = |schema: Value| -> String {
            let pieces = kind(&schema).into_iter();
            pieces
                .map(|piece| match piece {
                    Piece::Plain(text) | Piece::Code(text) | Piece::Schema(text) => text,
                })
                .collect()
        };
        let string = serde_json::json!({"type": "string", "minLength": 1, "maxLength": 64});
        assert_eq!(told(string), "string, 1 to 64 characters");
        let maybe = serde_json::json!({"oneOf": [{"$ref": "#/components/schemas/Money"}, {"type": "null"}]});
        assert_eq!(told(maybe), "Money or null");
        let list = serde_json::json!({"type": "array", "items": {"type": "integer", "format": "int64", "minimum": 0}});
        assert_eq!(told(list), "list of integer");
    }
}

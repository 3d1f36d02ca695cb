//! Clients made from the document of the last release (`docs/openapi.json`) must work with the document of this build.
//!
//! The rules assume strict clients, as generators make them: a client refuses a missing member and a value that is not
//! in its list. A new value in an answer is therefore a break, like a removed member. See docs/src/integrate/generated-clients.md.

mod tests;

use std::collections::HashSet;
use std::mem;

use serde_json::{Value, json};

/// What a change of the document breaks, one line each. A pure function of two documents.
pub fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut compare = Compare { old, new, found: Vec::new(), entered: HashSet::new() };
    compare.documents();
    compare.found
}

/// Who writes a value. What a client writes must stay allowed; what the service writes must stay as announced.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Writer {
    Client,
    Service,
}

/// Keywords of schemas that restrict values, each with a rule below …
#[rustfmt::skip]
const RULED: &[&str] = &[
    "$ref", "allOf", "oneOf", "anyOf", "type", "enum", "const", "format", "pattern", "minimum", "maximum", "minLength",
    "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "properties", "required",
    "additionalProperties", "items", "propertyNames",
];
/// … and those that restrict nothing.
const FREE: &[&str] = &["description", "title", "default", "example", "examples", "discriminator", "deprecated"];

struct Compare<'d> {
    old: &'d Value,
    new: &'d Value,
    found: Vec<String>,
    /// Pairs of named schemas that need no second look: a schema may contain itself.
    entered: HashSet<(String, String, Writer)>,
}

impl Compare<'_> {
    fn say(&mut self, at: &str, what: impl std::fmt::Display) {
        self.found.push(format!("{at}: {what}"));
    }

    fn documents(&mut self) {
        let (old, new) = (self.old, self.new);
        for (name, _) in members(&old["components"]["schemas"]) {
            if new["components"]["schemas"].get(name).is_none() {
                self.say(name, "a schema, and so a generated type, is removed");
            }
        }
        for (kind, writer) in [("paths", Writer::Client), ("webhooks", Writer::Service)] {
            for (path, item) in members(&old[kind]) {
                for (method, before) in members(item) {
                    let at = format!("{} {path}", method.to_uppercase());
                    match new[kind][path].get(method) {
                        None => self.say(&at, "removed"),
                        Some(now) => self.operation(&at, before, now, writer),
                    }
                }
            }
        }
    }

    fn operation(&mut self, at: &str, old: &Value, new: &Value, writer: Writer) {
        if old["operationId"] != new["operationId"] {
            self.say(at, format_args!("operationId {} is {} now", old["operationId"], new["operationId"]));
        }
        self.security(at, &old["security"], &new["security"]);
        self.parameters(at, &old["parameters"], &new["parameters"], writer);
        let (before, now) = (&old["requestBody"], &new["requestBody"]);
        if now["required"] == true && before["required"] != true {
            self.say(at, "a body is required now");
        }
        self.contents(&format!("{at}, body"), before, now, writer);
        // A client writes the answer to a webhook, and the document only says how the service understands it.
        if writer == Writer::Client {
            self.answers(at, &old["responses"], &new["responses"]);
        }
    }

    /// Every kind of key that opened the operation still does.
    fn security(&mut self, at: &str, old: &Value, new: &Value) {
        let keys = |said: &Value| -> Vec<Value> { items(said).cloned().collect() };
        let (before, now) = (keys(old), keys(new));
        let is_open = |key: &Value| now.is_empty() || now.contains(key);
        if before.is_empty() && !now.is_empty() {
            self.say(at, "needs a key now");
        }
        for key in before.iter().filter(|key| !is_open(key)) {
            self.say(at, format_args!("no longer open to {key}"));
        }
    }

    fn parameters(&mut self, at: &str, old: &Value, new: &Value, writer: Writer) {
        let key = |parameter: &Value| format!("{} {}", word(&parameter["in"]), word(&parameter["name"]));
        let old: Vec<&Value> = items(old).map(|parameter| resolved(self.old, parameter).1).collect();
        let new: Vec<&Value> = items(new).map(|parameter| resolved(self.new, parameter).1).collect();
        for before in &old {
            let now = new.iter().find(|now| key(now) == key(before));
            self.parameter(&format!("{at}, {}", key(before)), before, now.copied(), writer);
        }
        for now in new.iter().filter(|now| writer == Writer::Client && now["required"] == true) {
            if !old.iter().any(|before| key(before) == key(now)) {
                self.say(at, format_args!("{} is required now", key(now)));
            }
        }
    }

    fn parameter(&mut self, at: &str, old: &Value, new: Option<&Value>, writer: Writer) {
        let Some(new) = new else { return self.say(at, "removed") };
        match (writer, old["required"] == true, new["required"] == true) {
            (Writer::Client, false, true) => self.say(at, "required now"),
            (Writer::Service, true, false) => self.say(at, "not always there any more"),
            _ => {}
        }
        self.schema(at, &old["schema"], &new["schema"], writer);
    }

    fn answers(&mut self, at: &str, old: &Value, new: &Value) {
        for (status, before) in members(old) {
            let at = format!("{at} → {status}");
            let Some(now) = new.get(status) else {
                self.say(&at, "removed");
                continue;
            };
            let (before, now) = (resolved(self.old, before).1, resolved(self.new, now).1);
            self.contents(&at, before, now, Writer::Service);
            for (name, header) in members(&before["headers"]) {
                self.parameter(&format!("{at}, header {name}"), header, now["headers"].get(name), Writer::Service);
            }
        }
        // A client cannot read a success that it does not know. It can treat each failure as one.
        for (status, _) in members(new).filter(|(status, _)| status.starts_with('2') && old.get(*status).is_none()) {
            self.say(&format!("{at} → {status}"), "a new way to succeed");
        }
    }

    fn contents(&mut self, at: &str, old: &Value, new: &Value, writer: Writer) {
        for (kind, before) in members(&old["content"]) {
            match new["content"].get(kind) {
                None => self.say(at, format_args!("no {kind} any more")),
                Some(now) => self.schema(at, &before["schema"], &now["schema"], writer),
            }
        }
    }

    fn schema(&mut self, at: &str, old: &Value, new: &Value, writer: Writer) {
        let names = (resolved(self.old, old).0.to_owned(), resolved(self.new, new).0.to_owned(), writer);
        if !names.0.is_empty() && !self.entered.insert(names) {
            return;
        }
        let (old, new) = (flat(self.old, old), flat(self.new, new));
        let (before, now) = (alternatives(&old), alternatives(&new));
        if before.len() == 1 && now.len() == 1 {
            return self.one(at, &before[0], &now[0], writer);
        }
        // Each alternative that may be written must be one that may be read.
        let (written, read) = if writer == Writer::Client { (before, now) } else { (now, before) };
        for one in &written {
            let in_order = |other| if writer == Writer::Client { (one, other) } else { (other, one) };
            if read.iter().any(|other| self.fits(in_order(other), writer)) {
                continue;
            }
            match read.iter().find(|other| name(other) == name(one)) {
                Some(namesake) => {
                    let (before, now) = in_order(namesake);
                    self.schema(at, before, now, writer);
                }
                None if writer == Writer::Client => self.say(at, format_args!("{} is no longer accepted", name(one))),
                None => self.say(at, format_args!("{} is new in an answer", name(one))),
            }
        }
    }

    fn fits(&mut self, (old, new): (&Value, &Value), writer: Writer) -> bool {
        let (found, entered) = (mem::take(&mut self.found), self.entered.clone());
        self.schema("", old, new, writer);
        let fits = mem::replace(&mut self.found, found).is_empty();
        if !fits {
            self.entered = entered;
        }
        fits
    }

    /// Two schemas without alternatives.
    fn one(&mut self, at: &str, old: &Value, new: &Value, writer: Writer) {
        let (written, read) = if writer == Writer::Client { (old, new) } else { (new, old) };
        let is_wider = |a: &str, b: &str| [("integer", "number"), ("int32", "int64")].contains(&(a, b));
        for keyword in ["type", "format"] {
            let (a, b) = (&written[keyword], &read[keyword]);
            if !b.is_null() && a != b && !is_wider(word(a), word(b)) {
                return self.say(at, format_args!("{keyword} {} is {} now", old[keyword], new[keyword]));
            }
        }
        match (values(written), values(read)) {
            (Some(written), Some(read)) => {
                for value in written.iter().filter(|value| !read.contains(value)) {
                    let what = if writer == Writer::Client { "no longer accepted" } else { "new in an answer" };
                    self.say(at, format_args!("{value} is {what}"));
                }
            }
            (None, Some(_)) if writer == Writer::Client => self.say(at, "only some values are accepted now"),
            (None, Some(_)) => self.say(at, "no longer one of a list of values"),
            _ => {}
        }
        if writer == Writer::Client {
            self.limits(at, old, new);
        }
        self.members(at, old, new, writer);
        for (keyword, below) in [("items", "[]"), ("additionalProperties", ".*"), ("propertyNames", ".*")] {
            if old[keyword].is_object() && new[keyword].is_object() {
                self.schema(&format!("{at}{below}"), &old[keyword], &new[keyword], writer);
            } else if read[keyword].is_object() && written[keyword] != false {
                self.say(at, format_args!("{keyword} differ"));
            }
        }
    }

    fn limits(&mut self, at: &str, old: &Value, new: &Value) {
        for what in ["imum", "Length", "Items", "Properties"] {
            for (limit, sign) in [("min", 1.0), ("max", -1.0)] {
                let keyword = format!("{limit}{what}");
                let at_least = |schema: &Value| schema[&keyword].as_f64().map_or(f64::NEG_INFINITY, |n| n * sign);
                if at_least(new) > at_least(old) {
                    self.say(at, format_args!("{keyword} {} is {} now", old[&keyword], new[&keyword]));
                }
            }
        }
        if !new["pattern"].is_null() && old["pattern"] != new["pattern"] {
            self.say(at, format_args!("pattern {} is {} now", old["pattern"], new["pattern"]));
        }
        if new["additionalProperties"] == false && old["additionalProperties"] != false {
            self.say(at, "further members are refused now");
        }
    }

    fn members(&mut self, at: &str, old: &Value, new: &Value, writer: Writer) {
        for (name, before) in members(&old["properties"]) {
            match new["properties"].get(name) {
                None => self.say(&format!("{at}.{name}"), "removed"),
                Some(now) => self.schema(&format!("{at}.{name}"), before, now, writer),
            }
        }
        let (needed, before, what) = match writer {
            Writer::Client => (new, old, "required now"),
            Writer::Service => (old, new, "not always there any more"),
        };
        for name in items(&needed["required"]).filter(|name| !items(&before["required"]).any(|other| other == *name)) {
            if new["properties"].get(word(name)).is_some() {
                self.say(&format!("{at}.{}", word(name)), what);
            }
        }
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a reference leads to, and its name; or the value itself, which has none.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> (&'d str, &'d Value) {
    let Some(target) = value["$ref"].as_str() else { return ("", value) };
    let found = document.pointer(target.trim_start_matches('#')).expect("a reference leads somewhere");
    (target.rsplit('/').next().unwrap_or(target), resolved(document, found).1)
}

/// The schema itself instead of a reference to it, with all parts of its `allOf` in one.
fn flat(document: &Value, schema: &Value) -> Value {
    let mut whole = resolved(document, schema).1.as_object().cloned().unwrap_or_default();
    for part in whole.remove("allOf").iter().flat_map(items) {
        for (keyword, said) in members(&flat(document, part)) {
            match (keyword.as_str(), whole.get_mut(keyword)) {
                (_, None) => drop(whole.insert(keyword.clone(), said.clone())),
                ("properties", Some(all)) => {
                    for (name, more) in members(said) {
                        all[name] =
                            if all[name].is_null() { more.clone() } else { json!({"allOf": [all[name], more]}) };
                    }
                }
                ("required", Some(Value::Array(all))) => all.extend(items(said).cloned()),
                ("enum", Some(Value::Array(all))) => all.retain(|value| items(said).any(|other| other == value)),
                _ => {}
            }
        }
    }
    Value::Object(whole)
}

/// What a flat schema is one of: often only itself.
fn alternatives(schema: &Value) -> Vec<Value> {
    if let Some(listed) = schema.get("oneOf").or(schema.get("anyOf")) {
        return items(listed).cloned().collect();
    }
    let of_type = |kind: &Value| {
        let mut one = if kind == "null" { json!({}) } else { schema.clone() };
        one["type"] = kind.clone();
        one
    };
    if schema["type"].is_array() { items(&schema["type"]).map(of_type).collect() } else { vec![schema.clone()] }
}

/// What finds an alternative in another document: its reference, its one-valued member, or its type.
fn name(schema: &Value) -> String {
    let tag = members(&schema["properties"]).find_map(|(_, member)| values(member).filter(|all| all.len() == 1));
    let tag = tag.map(|all| all[0].to_string());
    schema["$ref"].as_str().map(str::to_owned).or(tag).unwrap_or_else(|| schema["type"].to_string())
}

fn values(schema: &Value) -> Option<Vec<&Value>> {
    schema.get("const").map(|value| vec![value]).or_else(|| schema.get("enum").map(|all| items(all).collect()))
}

//! What a JSON value has wrong, against a schema: short sentences with pointers instead of the validator's own.

use jsonschema::error::{TypeKind, ValidationError, ValidationErrorKind as Kind};
use jsonschema::{JsonType, Validator};
use serde_json::Value;

use crate::error::{Code, Failure, Fault};
use crate::order;

/// More faults than that are counted, not told: an answer must not be much larger than its request.
const MOST_TOLD: usize = 100;

/// All faults of a value, ordered by pointer, each pointer and code once.
pub fn of(validator: &Validator, value: &Value) -> Vec<Fault> {
    let mut found = Vec::new();
    // To tell whether there is anything wrong is much cheaper than to tell what, and nearly always there is nothing.
    if !validator.is_valid(value) {
        validator.iter_errors(value).for_each(|error| collect(&error, &mut found));
    }
    if has_fraction(value) {
        fractions(value, &mut String::new(), &mut found);
    }
    found.sort_by(|a, b| (&a.pointer, &a.code).cmp(&(&b.pointer, &b.code)));
    found.dedup_by(|a, b| a.pointer == b.pointer && a.code == b.code);
    found
}

/// The failure that tells these faults.
pub fn refuse(faults: Vec<Fault>) -> Failure {
    told(Code::InvalidRequest, faults)
}

/// The failure that tells what is well formed and still wrong.
pub fn unprocessable(faults: Vec<Fault>) -> Failure {
    told(Code::Unprocessable, faults)
}

fn told(code: Code, mut faults: Vec<Fault>) -> Failure {
    let count = faults.len();
    let detail = match count {
        1 => "The body has a fault.".to_owned(),
        _ if count > MOST_TOLD => format!("The body has {count} faults; here are the first {MOST_TOLD}."),
        _ => format!("The body has {count} faults."),
    };
    faults.truncate(MOST_TOLD);
    Failure::new(code, detail).faults(faults)
}

/// At most 64 characters of what a client sent.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(63) {
        Some((end, _)) if end + 1 < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

fn collect(error: &ValidationError<'_>, found: &mut Vec<Fault>) {
    let at = error.instance_path().as_str();
    let member = |name: &str| format!("{at}/{}", cut(name).replace('~', "~0").replace('/', "~1"));
    let mut add = |pointer: String, code: &'static str, detail: String| found.push(Fault::new(pointer, code, detail));
    match error.kind() {
        Kind::Required { property } => {
            add(member(property.as_str().unwrap_or_default()), "missing", "This member is required.".into());
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            for name in unexpected {
                add(member(name), "unknown_field", "There is no such member here.".into());
            }
        }
        Kind::PropertyNames { error } => {
            let (code, detail) = describe(error.kind());
            let name = error.instance().as_str().unwrap_or_default();
            add(member(name), code, format!("The name of this member: {detail}"));
        }
        // "This or null": what is wrong with it, not that it is not null either.
        Kind::OneOfNotValid { context } | Kind::AnyOf { context } => {
            let branches = context.iter().filter(|branch| !is_null_wanted(branch));
            match branches.max_by_key(|branch| branch.first().map_or(0, |e| e.instance_path().as_str().len())) {
                Some(branch) => branch.iter().for_each(|error| collect(error, found)),
                None => add(at.to_owned(), "not_allowed", "This value is not allowed.".into()),
            }
        }
        Kind::Pattern { .. } if error.instance().as_str().is_some_and(is_blank) => {
            add(at.to_owned(), "too_short", "It holds nothing that can be seen.".into());
        }
        kind => {
            let (code, detail) = describe(kind);
            add(at.to_owned(), code, detail);
        }
    }
}

fn describe(kind: &Kind) -> (&'static str, String) {
    match kind {
        Kind::Type { kind: TypeKind::Single(wanted) } => ("wrong_type", format!("Expected: {wanted}.")),
        Kind::Type { kind: TypeKind::Multiple(wanted) } => {
            let words: Vec<String> = wanted.iter().map(|kind| kind.to_string()).collect();
            ("wrong_type", format!("Expected: {}.", words.join(" or ")))
        }
        Kind::MaxLength { limit } => ("too_long", format!("At most {limit} characters.")),
        Kind::MinLength { limit } => ("too_short", format!("At least {limit} characters.")),
        Kind::MaxItems { limit } => ("too_long", format!("At most {limit} entries.")),
        Kind::MinItems { limit } => ("too_short", format!("At least {limit} entries.")),
        Kind::MaxProperties { limit } => ("too_long", format!("At most {limit} members.")),
        Kind::MinProperties { limit } => ("too_short", format!("At least {limit} members.")),
        Kind::Maximum { limit } => ("out_of_range", format!("At most {limit}.")),
        Kind::Minimum { limit } => ("out_of_range", format!("At least {limit}.")),
        Kind::ExclusiveMaximum { limit } => ("out_of_range", format!("Less than {limit}.")),
        Kind::ExclusiveMinimum { limit } => ("out_of_range", format!("More than {limit}.")),
        Kind::Format { format } => ("bad_format", format_detail(format)),
        Kind::Pattern { .. } => ("bad_format", "It holds a character that is not allowed here.".into()),
        Kind::Enum { options } => ("not_allowed", format!("Expected one of: {}.", words_of(options))),
        Kind::Constant { expected_value } => ("not_allowed", format!("Expected: {expected_value}.")),
        Kind::UniqueItems => ("not_allowed", "The same entry twice.".into()),
        _ => ("not_allowed", "This value is not allowed.".into()),
    }
}

fn format_detail(format: &str) -> String {
    match format {
        "uuid" => "Expected a UUID.".into(),
        "date-time" => "Expected an RFC 3339 time with its offset, such as 2026-01-02T03:04:05Z.".into(),
        "date" => "Expected a date such as 2026-12-24.".into(),
        "iso-4217" => "Expected an ISO 4217 currency code.".into(),
        _ => format!("Expected: {format}."),
    }
}

fn words_of(options: &Value) -> String {
    let words: Vec<String> = match options {
        Value::Array(words) => words.iter().map(|word| word.as_str().map_or(word.to_string(), str::to_owned)).collect(),
        other => vec![other.to_string()],
    };
    words.join(", ")
}

fn is_blank(text: &str) -> bool {
    order::text::is_blank(text) && !text.chars().any(char::is_control)
}

fn is_null_wanted(branch: &[ValidationError<'_>]) -> bool {
    matches!(branch, [only] if matches!(only.kind(), Kind::Type { kind: TypeKind::Single(JsonType::Null) }))
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        _ => false,
    }
}

/// No member of this API has a fraction, and a number that a double does not hold exactly may have been another one.
fn fractions(value: &Value, pointer: &mut String, found: &mut Vec<Fault>) {
    let at = pointer.len();
    match value {
        Value::Number(number) if number.is_f64() => {
            found.push(Fault::new(pointer.clone(), "wrong_type", "Expected a whole number."));
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{position}"));
                fractions(item, pointer, found);
                pointer.truncate(at);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                pointer.push_str(&format!("/{}", cut(name).replace('~', "~0").replace('/', "~1")));
                fractions(member, pointer, found);
                pointer.truncate(at);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_escape_what_they_must() {
        let schema = json!({"properties": {"a/b~c": {}}, "additionalProperties": false, "required": ["a/b~c"]});
        let validator = jsonschema::validator_for(&schema).unwrap();
        let pointers: Vec<String> = of(&validator, &json!({"x/y": 1})).into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(pointers, ["/a~1b~0c", "/x~1y"]);
    }

    #[test]
    fn a_flood_of_faults_is_counted_not_told() {
        let faults = (0..300).map(|i| Fault::new(format!("/{i}"), "unknown_field", "")).collect();
        let failure = refuse(faults);
        assert_eq!(failure.faults.len(), MOST_TOLD);
        assert!(failure.detail.contains("300"));
    }

    #[test]
    fn cutting_keeps_whole_letters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(64)).chars().count(), 64);
        assert_eq!(cut(&"é".repeat(65)).chars().count(), 64);
        assert_eq!(cut(&"x".repeat(64)), "x".repeat(64));
    }
}

//! A hash over rows, by which the two engines are compared.

use std::fmt;

use sha2::{Digest, Sha256};

use super::shape::{Kind, Raw, Shape, Value};

/// How many rows there are, and a hash over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub rows: u64,
    hash: [u8; 32],
}

impl Sum {
    pub fn hash(&self) -> String {
        self.hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, hash {}", self.rows, self.hash())
    }
}

/// A [`Sum`] that grows row by row. Both engines give the same: a document counts as what it says, not as it is
/// written.
#[derive(Default)]
pub(super) struct Summing {
    rows: u64,
    hash: Sha256,
    row: Vec<u8>,
}

impl Summing {
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn so_far(&self) -> Sum {
        Sum { rows: self.rows, hash: self.hash.clone().finalize().into() }
    }

    pub fn add(&mut self, shape: &Shape, Raw(values): &Raw) -> Result<(), String> {
        self.row.clear();
        for ((name, kind), value) in shape.columns.iter().zip(values) {
            match value {
                Value::Null => self.row.push(b'-'),
                Value::Number(number) => put(&mut self.row, b'#', &number.to_be_bytes()),
                Value::Bytes(bytes) => put(&mut self.row, b'x', bytes),
                Value::Text(text) if *kind == Kind::Document => {
                    let document = serde_json::from_str(text).map_err(|fault| format!("`{name}`: {fault}"))?;
                    put_document(&mut self.row, &document);
                }
                Value::Text(text) => put(&mut self.row, b't', text.as_bytes()),
            }
        }
        self.rows += 1;
        self.hash.update(&self.row);
        Ok(())
    }
}

fn put(row: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    row.push(kind);
    row.extend((bytes.len() as u64).to_be_bytes());
    row.extend(bytes);
}

fn put_document(row: &mut Vec<u8>, document: &serde_json::Value) {
    use serde_json::Value as Json;
    match document {
        Json::Null => row.push(b'0'),
        Json::Bool(is) => row.push(if *is { b'y' } else { b'n' }),
        Json::Number(number) => put(row, b'#', written(number).as_bytes()),
        Json::String(text) => put(row, b't', text.as_bytes()),
        Json::Array(all) => {
            row.push(b'[');
            all.iter().for_each(|one| put_document(row, one));
            row.push(b']');
        }
        Json::Object(all) => {
            let mut fields: Vec<_> = all.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            row.push(b'{');
            for (name, value) in fields {
                put(row, b't', name.as_bytes());
                put_document(row, value);
            }
            row.push(b'}');
        }
    }
}

/// A number of a document: 1e3, 1000.0 and 1000 are one.
fn written(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e19 => format!("{}", float as i128),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_counts_as_what_it_says() {
        let bytes = |text: &str| {
            let mut row = Vec::new();
            put_document(&mut row, &serde_json::from_str(text).unwrap());
            row
        };
        for (one, other, same) in [
            (r#"{"b":1,"a":[1e3,-0.0]}"#, r#"{ "a": [1000, 0], "b": 1.0 }"#, true),
            (r#""\u00e9""#, r#""é""#, true),
            ("1e16", "10000000000000000", true),
            ("0.5", "0.50", true),
            ("[1,2]", "[2,1]", false),
            ("[[],1]", "[[1]]", false),
            (r#"{"a":null}"#, "{}", false),
            ("1", r#""1""#, false),
        ] {
            assert_eq!(bytes(one) == bytes(other), same, "{one} {other}");
        }
    }
}

//! A hash over rows, by which the two engines are compared.

use std::fmt;

use sha2::{Digest, Sha256};

use super::shape::{Raw, Value};

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

/// A [`Sum`] that grows row by row. Both engines give the same: a document, too, is kept letter by letter.
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

    pub fn add(&mut self, Raw(values): &Raw) {
        self.row.clear();
        for value in values {
            match value {
                Value::Null => self.row.push(b'-'),
                Value::Number(number) => put(&mut self.row, b'#', &number.to_be_bytes()),
                Value::Bytes(bytes) => put(&mut self.row, b'x', bytes),
                Value::Text(text) => put(&mut self.row, b't', text.as_bytes()),
            }
        }
        self.rows += 1;
        self.hash.update(&self.row);
    }
}

fn put(row: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    row.push(kind);
    row.extend((bytes.len() as u64).to_be_bytes());
    row.extend(bytes);
}

//! Rows as JSON: one object a message, with the names of the Arrow columns in the same order.
//!
//! What JSON can't say is null (NaN, infinities). The key is the text that it holds; a key that is no UTF-8
//! stands in hexadecimal under `key_hex` instead, and the message's own key is the bytes themselves anyway.

use serde::Serialize;

use super::row::{Row, RowSchema, Sink};
use crate::record::{Cell, number_text, time::rfc3339};

/// The header `content-type` of a message that holds a JSON object.
pub const CONTENT_TYPE: &str = "application/json";

/// Encodes rows, each to a message of its own.
#[derive(Debug)]
pub struct JsonEncoder<R> {
    schema: RowSchema<R>,
    /// `{"key":`, `,"partition":` … and whether the column holds numbers.
    columns: Vec<(String, bool)>,
}

impl<R: Row> JsonEncoder<R> {
    /// An encoder of that schema's rows.
    #[must_use]
    pub fn new(schema: &RowSchema<R>) -> Self {
        let columns = schema.arrow().fields().iter().enumerate().map(|(index, field)| {
            let start = if index == 0 { '{' } else { ',' };
            let name = serde_json::Value::from(field.name().as_str());
            (format!("{start}{name}:"), field.data_type().is_numeric())
        });
        Self { columns: columns.collect(), schema: schema.clone() }
    }

    /// The row as an object, without a line break.
    ///
    /// # Panics
    /// When the row's figures or carried fields are not as many as the schema has.
    #[must_use]
    pub fn encode(&self, row: &R) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 * self.columns.len());
        let mut sink =
            JsonSink { columns: self.columns.iter(), has_row: self.schema.has_row(), out: &mut out };
        row.write(&mut sink);
        assert!(sink.columns.next().is_none(), "a row has a value for each column");
        out.push(b'}');
        out
    }
}

struct JsonSink<'a> {
    columns: std::slice::Iter<'a, (String, bool)>,
    has_row: bool,
    out: &'a mut Vec<u8>,
}

impl JsonSink<'_> {
    fn value(&mut self, value: impl Serialize) {
        let (name, _) = self.columns.next().expect("a row has no more values than columns");
        self.out.extend_from_slice(name.as_bytes());
        serde_json::to_writer(&mut *self.out, &value).expect("plain values are written to memory");
    }
}

impl Sink for JsonSink<'_> {
    fn key(&mut self, key: Option<&[u8]>) {
        match key.map(std::str::from_utf8).transpose() {
            Ok(text) => self.value(text),
            Err(_) => {
                self.columns.next();
                self.out.extend_from_slice(b"{\"key_hex\":\"");
                self.out.extend_from_slice(hex(key.unwrap_or_default()).as_bytes());
                self.out.push(b'"');
            }
        }
    }

    fn row(&mut self, row: u32) {
        if self.has_row {
            self.value(row);
        }
    }

    fn int32(&mut self, value: i32) {
        self.value(value);
    }

    fn int64(&mut self, value: i64) {
        self.value(value);
    }

    fn uint32(&mut self, value: u32) {
        self.value(value);
    }

    fn uint64(&mut self, value: u64) {
        self.value(value);
    }

    fn time(&mut self, us: i64) {
        self.value(rfc3339(us).to_string());
    }

    fn text(&mut self, text: &str) {
        self.value(text);
    }

    fn figure(&mut self, value: f64) {
        self.value(value); // serde_json writes null for what is not finite
    }

    fn carried(&mut self, cell: &Cell) {
        let is_numeric = self.columns.as_slice().first().is_some_and(|(_, is_numeric)| *is_numeric);
        match (cell, is_numeric) {
            (Cell::Number(number), true) => self.value(number),
            (Cell::Number(number), false) => self.value(number_text(*number)),
            (Cell::Text(text), false) => self.value(text),
            (Cell::Null, _) | (Cell::Text(_), true) => self.value(()),
        }
    }

    fn params(&mut self, params: &[f32]) {
        self.value((!params.is_empty()).then_some(params));
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

//! Every field that records have, for who does not know yet which are wanted: first their paths, then their values.

use std::{collections::HashMap, fmt};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Fields},
    error::ArrowError,
};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{arrow as tables, json, plan::Plan, value::Value};
use crate::config::FieldPath;

/// So many fields are found; a map with keys of its own in every record would otherwise have no end.
pub(crate) const MAX_FIELDS: usize = 512;

/// The fields that records were found to have, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Found {
    nodes: Vec<Node>,
    num_leaves: usize,
    /// There are more, which are not looked at.
    pub is_full: bool,
}

#[derive(Debug, Default)]
struct Node {
    path: Vec<String>,
    children: HashMap<String, usize>,
    /// It was a value, and no object.
    is_leaf: bool,
    /// It was null, which says neither.
    is_null: bool,
}

impl Default for Found {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], num_leaves: 0, is_full: false }
    }
}

impl Found {
    /// The fields of a line or a message, a JSON object.
    ///
    /// # Errors
    /// When it is none, in words.
    pub fn see_json(&mut self, text: &[u8]) -> Result<(), String> {
        let mut parser = serde_json::Deserializer::from_slice(text);
        let walk = Walk { found: self, node: 0 };
        parser.deserialize_map(walk).and_then(|()| parser.end()).map_err(|error| error.to_string())
    }

    /// The fields of a table.
    pub fn see_table(&mut self, table: &RecordBatch) {
        self.see_columns(table.schema().fields(), 0);
    }

    /// The fields of a message, an Arrow stream.
    ///
    /// # Errors
    /// When it is none, in words.
    pub fn see_stream(&mut self, payload: &[u8]) -> Result<(), String> {
        for table in tables::read_each(payload, Ok).map_err(|fault| fault.detail)? {
            self.see_table(&table);
        }
        Ok(())
    }

    fn see_columns(&mut self, columns: &Fields, parent: usize) {
        for column in columns {
            let Some(node) = self.child(parent, column.name()) else { continue };
            match column.data_type() {
                DataType::Struct(inner) => self.see_columns(inner, node),
                _ => self.see_leaf(node),
            }
        }
    }

    /// Every field that holds values.
    pub fn paths(&self) -> Vec<FieldPath> {
        let is_field = |node: &&Node| node.is_leaf || node.is_null && node.children.is_empty();
        self.nodes[1..].iter().filter(is_field).map(|node| FieldPath(node.path.clone())).collect()
    }

    /// The node of that name below another, made where there is none yet and room for it.
    fn child(&mut self, parent: usize, name: &str) -> Option<usize> {
        if let Some(&node) = self.nodes[parent].children.get(name) {
            return Some(node);
        }
        if self.num_leaves >= MAX_FIELDS || self.nodes.len() > 2 * MAX_FIELDS {
            self.is_full = true;
            return None;
        }
        let node = self.nodes.len();
        let path = self.nodes[parent].path.iter().cloned().chain([name.to_owned()]).collect();
        self.nodes.push(Node { path, ..Node::default() });
        self.nodes[parent].children.insert(name.to_owned(), node);
        Some(node)
    }

    fn see_leaf(&mut self, node: usize) {
        if !std::mem::replace(&mut self.nodes[node].is_leaf, true) {
            self.num_leaves += 1;
        }
    }
}

/// Goes through a JSON value and notes where its fields are.
struct Walk<'f> {
    found: &'f mut Found,
    node: usize,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_> {
    fn leaf<E>(self) -> Result<(), E> {
        self.found.see_leaf(self.node);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match self.found.child(self.node, &name) {
                Some(node) => map.next_value_seed(Walk { found: self.found, node })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.leaf()
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.found.nodes[self.node].is_null = true;
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.leaf()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.leaf()
    }
}

/// Reads the values of fields as a decoder reads those that a config names.
#[derive(Debug)]
pub(crate) struct FieldReader {
    plan: Plan,
    values: Vec<Value>,
}

impl FieldReader {
    /// A reader of these fields, each of which is there once.
    pub fn new(paths: &[FieldPath]) -> Self {
        let plan = Plan::of_fields(paths);
        let values = vec![Value::Null; plan.num_slots()];
        Self { plan, values }
    }

    /// Gives the values of a JSON object, one a field in their order; whether it is one.
    pub fn json(&mut self, text: &[u8], see: &mut dyn FnMut(&[Value])) -> bool {
        let is_read = json::read(&self.plan, text, &mut self.values).is_ok();
        if is_read {
            see(&self.values);
        }
        is_read
    }

    /// Gives the values of each row; texts have no type where the table's columns have none.
    ///
    /// # Errors
    /// When a column can't be read as any type that a field may have.
    pub fn table(
        &mut self,
        table: &RecordBatch,
        is_typed: bool,
        see: &mut dyn FnMut(&[Value]),
    ) -> Result<(), ArrowError> {
        let batch = tables::Batch::new(&self.plan, table.clone())?;
        self.batch(&batch, is_typed, see);
        Ok(())
    }

    /// Gives the values of each row of an Arrow stream; whether it is one.
    pub fn stream(&mut self, payload: &[u8], see: &mut dyn FnMut(&[Value])) -> bool {
        let Ok(batches) = tables::read(&self.plan, payload) else { return false };
        for batch in &batches {
            self.batch(batch, true, see);
        }
        true
    }

    fn batch(&mut self, batch: &tables::Batch, is_typed: bool, see: &mut dyn FnMut(&[Value])) {
        for row in 0..batch.num_rows() {
            batch.fill(row, &mut self.values);
            if !is_typed {
                self.values.iter_mut().for_each(Value::untype);
            }
            see(&self.values);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn paths(lines: &[&str]) -> Vec<String> {
        let mut found = Found::default();
        lines.iter().for_each(|line| found.see_json(line.as_bytes()).unwrap());
        found.paths().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fields_are_found_in_their_order_through_objects() {
        let lines = [
            r#"{"b": 1, "w": {"wind": 2, "at": {"x": null}}}"#,
            r#"{"a": [1, {"no": 1}], "b": "x", "n": null}"#,
        ];
        assert_eq!(paths(&lines), ["b", "w.wind", "w.at.x", "a", "n"]);
        // Where it is an object at times and a value at others, it is both.
        assert_eq!(paths(&[r#"{"a": null}"#, r#"{"a": {"b": 1}}"#]), ["a.b"]);
        assert_eq!(paths(&[r#"{"a": 1}"#, r#"{"a": {"b": 1}}"#]), ["a", "a.b"]);
        for no_object in ["1", "[{}]", "", "{\"a\": 1} 2", "\u{0}"] {
            assert!(Found::default().see_json(no_object.as_bytes()).is_err(), "{no_object}");
        }
    }

    #[test]
    fn a_map_with_keys_of_its_own_in_every_record_has_an_end() {
        let mut found = Found::default();
        for nth in 0..10 * MAX_FIELDS {
            found.see_json(format!("{{\"key{nth}\": 1, \"in{nth}\": {{}}}}").as_bytes()).unwrap();
        }
        assert!(found.is_full && found.paths().len() <= MAX_FIELDS);
        assert!(found.nodes.len() <= 2 * MAX_FIELDS + 2);
    }

    #[test]
    fn values_are_read_as_by_a_decoder() {
        let paths = ["a", "w.x", "w.x.y"].map(|path| FieldPath::parse(path).unwrap());
        let mut reader = FieldReader::new(&paths);
        let mut read = Vec::new();
        assert!(
            reader.json(br#"{"w": {"x": 1.5}, "a": 1, "a": true}"#, &mut |values| read.push(values.to_vec()))
        );
        assert!(!reader.json(b"no object", &mut |_| unreachable!()));
        assert_eq!(read[0][..2], [Value::Bool(true), Value::Float(1.5)]);
        assert!(matches!(read[0][2], Value::Other(_)));
    }
}

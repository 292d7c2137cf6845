//! One JSON object a message.
//!
//! The text is read once, without a tree of its own: a visitor walks along the wanted paths and skips the
//! rest, which is checked all the same.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{
    RejectReason,
    plan::{Node, Plan},
    reject::Fault,
    value::Value,
};

/// Puts the wanted fields of the object into `slots`. Of a repeated key the last one counts.
pub(super) fn read(plan: &Plan, payload: &[u8], slots: &mut [Value]) -> Result<(), Fault> {
    // Checked up front, since the parser passes over the bytes of texts that it skips.
    let text = std::str::from_utf8(payload)
        .map_err(|error| undecodable(format!("not UTF-8 from byte {}", error.valid_up_to())))?;
    slots.iter_mut().for_each(|slot| *slot = Value::Null); // whatever an earlier record left behind
    let mut at = None;
    let mut parser = serde_json::Deserializer::from_str(text);
    let result =
        Object { node: &plan.root, slots, at: &mut at }.deserialize(&mut parser).and_then(|()| parser.end());
    result.map_err(|error| {
        // The parser stops at a number past a double's range, which is that field's fault and not the
        // document's, provided that the rest of it is sound.
        let out_of_range = error.to_string().starts_with("number out of range");
        match at.and_then(Node::first_slot) {
            Some(slot) if out_of_range && serde_json::from_str::<IgnoredAny>(text).is_ok() => Fault::new(
                RejectReason::NonFinite,
                format!("{}: a number past a double's range", plan.names[slot]),
            ),
            _ => undecodable(error.to_string()),
        }
    })
}

fn undecodable(detail: String) -> Fault {
    Fault::new(RejectReason::Undecodable, detail)
}

/// Reads an object's wanted fields; what is no object is an error.
struct Object<'p, 's> {
    node: &'p Node,
    slots: &'s mut [Value],
    /// The wanted field that is being read.
    at: &'s mut Option<&'p Node>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut last = None;
        while let Some(child) = map.next_key_seed(Key { object: self.node, last })? {
            match child {
                Some(node) => {
                    last = child;
                    *self.at = child;
                    map.next_value_seed(Field(Object { node, slots: self.slots, at: self.at }))?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Looks a key up among the wanted ones without copying it.
struct Key<'p> {
    object: &'p Node,
    /// The wanted field before it.
    last: Option<&'p Node>,
}

impl<'de, 'p> DeserializeSeed<'de> for Key<'p> {
    type Value = Option<&'p Node>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Key<'p> {
    type Value = Option<&'p Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.object.child(key, self.last))
    }
}

/// Reads a wanted field, whatever it holds.
struct Field<'p, 's>(Object<'p, 's>);

impl Field<'_, '_> {
    fn put<E>(self, value: Value) -> Result<(), E> {
        self.0.node.fill(value, self.0.slots);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Field<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(Value::UInt(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.put(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.put(Value::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.put(Value::Other("an array".into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if let Some(slot) = self.0.node.slot {
            self.0.slots[slot] = Value::Other("an object".into());
        }
        // Whatever an earlier object under the same key left behind.
        self.0.node.fill_children(&Value::Null, self.0.slots);
        self.0.visit_map(map)
    }
}

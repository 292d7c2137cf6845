//! A field's value as a format delivers it, before the config says what it should have been.

use compact_str::{CompactString, ToCompactString, format_compact};

use super::{reject::cut, time};

/// The longest text that a reject's detail quotes.
const MAX_QUOTED_CHARS: usize = 40;

/// What a wanted field of a row holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Value {
    /// Absent or null.
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    /// Not necessarily finite.
    Float(f64),
    Text(CompactString),
    /// A text of a format that has no types: a number or a time where one is wanted and it reads as one.
    Written(CompactString),
    /// µs since 1970, from a column that is a time by its type; out of range ones saturate.
    Time(i64),
    /// Something that no field may be, in words: "an object".
    Other(CompactString),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Takes a text's type away; an empty one is null, and so is `NA`, as R writes what is missing (and pandas reads it).
    pub fn untype(&mut self) {
        if let Self::Text(text) = self {
            *self = if text.is_empty() || text == "NA" {
                Self::Null
            } else {
                Self::Written(std::mem::take(text))
            };
        }
    }

    /// As a number, booleans as 0 and 1; not necessarily finite.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            Self::Int(value) => Some(*value as f64),
            Self::UInt(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Written(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// As a text: numbers in their shortest form, times in RFC 3339.
    pub fn text(&self) -> Option<CompactString> {
        match self {
            Self::Bool(value) => Some(value.to_compact_string()),
            Self::Int(value) => Some(value.to_compact_string()),
            Self::UInt(value) => Some(value.to_compact_string()),
            Self::Float(value) => Some(number_text(*value)),
            Self::Text(text) | Self::Written(text) => Some(text.clone()),
            Self::Time(us) => Some(time::rfc3339(*us).to_compact_string()),
            Self::Null | Self::Other(_) => None,
        }
    }

    /// What it is, in words, for a reject's detail.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Text(text) | Self::Written(text) => {
                // Cut before quoting: a value may be a megabyte long.
                let mut text: String = text.chars().take(MAX_QUOTED_CHARS + 1).collect();
                cut(&mut text, MAX_QUOTED_CHARS);
                format!("a text {text:?}")
            }
            Self::Other(what) => what.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Time(us) => format!("a time {}", time::rfc3339(*us)),
            Self::Int(_) | Self::UInt(_) | Self::Float(_) => {
                format!("a number {}", self.text().unwrap_or_default())
            }
        }
    }
}

/// A number in its shortest text that reads back the same: `15`, `0.5`, `1e300`.
///
/// Whole numbers have no fraction, so that 15 and 15.0 are one category.
pub(crate) fn number_text(value: f64) -> CompactString {
    let size = value.abs();
    if value == 0.0 {
        CompactString::const_new("0")
    } else if !value.is_finite() || (1e-5..1e21).contains(&size) {
        format_compact!("{value}")
    } else {
        format_compact!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_without_a_type_is_nothing_where_it_is_empty_or_na() {
        let untyped = |text: &str| {
            let mut value = Value::Text(text.into());
            value.untype();
            value
        };
        assert_eq!([untyped(""), untyped("NA")], [Value::Null, Value::Null]);
        assert_eq!(untyped("NAN"), Value::Written("NAN".into()));
    }

    #[test]
    fn numbers_have_one_shortest_text() {
        for (value, text) in [
            (15.0, "15"),
            (-0.0, "0"),
            (0.5, "0.5"),
            (-3.25, "-3.25"),
            (1e20, "100000000000000000000"),
            (1e300, "1e300"),
            (1.5e-9, "1.5e-9"),
            (-0.000_012_345_678_901_23, "-0.00001234567890123"),
            (-1.805_036_954_550_612_2e-7, "-1.8050369545506122e-7"),
        ] {
            assert_eq!(number_text(value), text);
        }
        assert_eq!(Value::Int(1_234_567_890_123_456_789).text().unwrap(), "1234567890123456789");
        assert_eq!(Value::Bool(true).text().unwrap(), "true");
    }

    #[test]
    fn a_long_text_is_quoted_in_part() {
        let described = Value::Text("x".repeat(1 << 20).into()).describe();
        assert!(described.chars().count() < 60, "{described}");
        assert!(described.ends_with("…\""), "{described}");
    }

    proptest! {
        #[test]
        fn a_number_s_text_reads_back_as_the_same_number(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = number_text(value);
            prop_assert_eq!(text.parse::<f64>().unwrap(), value);
            prop_assert!(text.len() <= 25, "{}", text);
        }
    }
}

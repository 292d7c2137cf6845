//! Whole rows of the scores topic, to be held one against the other, column by column.

use std::panic::catch_unwind;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{ArrowPrimitiveType, UInt32Type},
    ipc::reader::StreamReader,
    util::display::{ArrayFormatter, FormatOptions},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Scored,
    arrow::{BatchBuilder, CONTENT_TYPE, EncodeError},
    json::JsonEncoder,
    row::RowSchema,
};

/// A row with all of its columns.
#[derive(Debug, Clone)]
pub struct WholeRow {
    columns: Vec<(String, Cell)>,
    /// The hash of what changed its numbers, where the format tells.
    pub config: Option<String>,
    /// The version of tailwater that published it, where the format tells.
    pub version: Option<String>,
}

/// A value as its format has it.
#[derive(Debug, Clone)]
enum Cell {
    /// An array of one value.
    Arrow(ArrayRef),
    Json(Value),
}

/// A column that two rows do not agree in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// Its name; one parameter of several is `params[3]`.
    pub column: String,
    /// What was published; `None`: there is no such column.
    pub published: Option<String>,
    /// What is recomputed; `None`: there is no such column.
    pub recomputed: Option<String>,
}

/// All rows of a message, in the order of [`read::rows`](super::read::rows); `None` where it holds something else.
#[must_use]
pub fn rows(content_type: &[u8], payload: &[u8]) -> Option<Vec<WholeRow>> {
    if content_type != CONTENT_TYPE.as_bytes() {
        let Value::Object(object) = serde_json::from_slice(payload).ok()? else { return None };
        let columns = object.into_iter().map(|(name, value)| (name, Cell::Json(value))).collect();
        return Some(vec![WholeRow { columns, config: None, version: None }]);
    }
    // Arrow's reader asserts in places where malformed offsets should be errors.
    catch_unwind(|| arrow_rows(payload)).unwrap_or_default()
}

fn arrow_rows(payload: &[u8]) -> Option<Vec<WholeRow>> {
    let stream = StreamReader::try_new(payload, None).ok()?;
    let schema = stream.schema();
    let told = |key: &str| schema.metadata().get(key).cloned();
    let mut rows = Vec::new();
    for batch in stream {
        let batch = batch.ok()?;
        rows.extend((0..batch.num_rows()).map(|index| {
            let cell = |column: &ArrayRef| Cell::Arrow(column.slice(index, 1));
            let names = schema.fields().iter().map(|field| field.name().clone());
            WholeRow {
                columns: names.zip(batch.columns().iter().map(cell)).collect(),
                config: told("tailwater.config"),
                version: told("tailwater.version"),
            }
        }));
    }
    Some(rows)
}

impl WholeRow {
    /// What is published for an event and its score, in the format that another row has.
    ///
    /// # Errors
    /// When Arrow can't encode it.
    pub fn of(scored: &Scored, schema: &RowSchema<Scored>, like: &Self) -> Result<Self, EncodeError> {
        let is_json = matches!(like.columns.first(), Some((_, Cell::Json(_))));
        let (content_type, payload) = if is_json {
            (super::json::CONTENT_TYPE, JsonEncoder::new(schema).encode(scored))
        } else {
            let mut batch = BatchBuilder::new(schema)?;
            batch.push(scored);
            (CONTENT_TYPE, batch.finish()?)
        };
        let mut rows = rows(content_type.as_bytes(), &payload).unwrap_or_default();
        Ok(rows.pop().expect("what is encoded can be read"))
    }

    /// How many columns it has.
    #[must_use]
    pub fn num_columns(&self) -> usize {
        self.columns.len()
    }

    /// The epoch that it was published in.
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        match self.cell("epoch")? {
            Cell::Arrow(array) => first::<UInt32Type>(array),
            Cell::Json(value) => value.as_u64()?.try_into().ok(),
        }
    }

    fn cell(&self, name: &str) -> Option<&Cell> {
        self.columns.iter().find(|(column, _)| column == name).map(|(_, cell)| cell)
    }

    /// The columns in which this row, as it was published, is another one than what is recomputed, by a single bit.
    #[must_use]
    pub fn differing(&self, recomputed: &Self) -> Vec<Differing> {
        let mut differing = Vec::new();
        for (name, expected) in &recomputed.columns {
            match self.cell(name) {
                Some(found) => found.differing(name, expected, &mut differing),
                None => differing.push(Differing {
                    column: name.clone(),
                    published: None,
                    recomputed: Some(expected.text()),
                }),
            }
        }
        let unknown = self.columns.iter().filter(|(name, _)| recomputed.cell(name).is_none());
        differing.extend(unknown.map(|(name, found)| Differing {
            column: name.clone(),
            published: Some(found.text()),
            recomputed: None,
        }));
        differing
    }
}

fn first<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<T::Native> {
    let array = array.as_primitive_opt::<T>()?;
    (array.len() == 1 && array.is_valid(0)).then(|| array.value(0))
}

impl Cell {
    /// As it is shown. Numbers have the shortest decimals that are theirs alone.
    fn text(&self) -> String {
        match self {
            Self::Arrow(array) => {
                let options = FormatOptions::default().with_null("null");
                let formatter = ArrayFormatter::try_new(array, &options);
                formatter.map_or_else(|error| error.to_string(), |shown| shown.value(0).to_string())
            }
            Self::Json(value) => value.to_string(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            // Types, and values by their bits.
            (Self::Arrow(one), Self::Arrow(other)) => one == other,
            // By their texts, in which -0 and 0 are two.
            (Self::Json(_), Self::Json(_)) => self.text() == other.text(),
            _ => false,
        }
    }

    /// Adds a column that is another one, or of a list only the items that are.
    fn differing(&self, name: &str, recomputed: &Self, out: &mut Vec<Differing>) {
        if self.is(recomputed) {
            return;
        }
        let before = out.len();
        if let (Some(found), Some(expected)) = (self.items(), recomputed.items())
            && found.len() == expected.len()
        {
            let items =
                found.iter().zip(&expected).enumerate().filter(|(_, (found, expected))| !found.is(expected));
            out.extend(
                items.map(|(nth, (found, expected))| found.against(format!("{name}[{nth}]"), expected)),
            );
        }
        if out.len() == before {
            out.push(self.against(name.to_owned(), recomputed));
        }
    }

    fn against(&self, column: String, recomputed: &Self) -> Differing {
        Differing { column, published: Some(self.text()), recomputed: Some(recomputed.text()) }
    }

    fn items(&self) -> Option<Vec<Self>> {
        match self {
            Self::Arrow(array) => {
                let list = array.as_fixed_size_list_opt().filter(|list| list.is_valid(0))?;
                let items = list.value(0);
                Some((0..items.len()).map(|nth| Self::Arrow(items.slice(nth, 1))).collect())
            }
            Self::Json(value) => Some(value.as_array()?.iter().cloned().map(Self::Json).collect()),
        }
    }
}

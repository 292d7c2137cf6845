//! What a row of each output topic says, column by column: written once, for every format.

use std::{marker::PhantomData, sync::Arc};

use arrow::datatypes::{DataType, Field, Metadata, Schema, SchemaRef, TimeUnit};

use super::{Outcome, Scored, columns::Columns};
use crate::{
    config::InputFormat,
    record::{CarryType, Cell, Event},
};

/// What readers of a batch may want to know about it: the schema's metadata.
#[derive(Debug, Clone, Copy)]
pub struct Provenance<'a> {
    /// tailwater's version.
    pub version: &'a str,
    /// The consumer group.
    pub group: &'a str,
    /// The hash of what changes the numbers.
    pub config: &'a str,
    /// How to read `params`.
    pub model: &'a str,
}

/// The columns of an output topic's rows, in order.
#[derive(Debug)]
pub struct RowSchema<R> {
    arrow: SchemaRef,
    has_row: bool,
    rows: PhantomData<fn(&R)>,
}

impl<R> Clone for RowSchema<R> {
    fn clone(&self) -> Self {
        Self { arrow: self.arrow.clone(), has_row: self.has_row, rows: PhantomData }
    }
}

impl<R> RowSchema<R> {
    /// The Arrow schema.
    #[must_use]
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// Whether there is a `row` column.
    pub(super) fn has_row(&self) -> bool {
        self.has_row
    }

    fn new(
        columns: &Columns,
        carry_types: &[CarryType],
        input: InputFormat,
        provenance: &Provenance<'_>,
        own: Vec<Field>,
    ) -> Self {
        assert_eq!(columns.carry.len(), carry_types.len(), "one type a carried field");
        // Only where a message holds many rows is (partition, offset) not yet unique.
        let has_row = input == InputFormat::Arrow;
        let mut fields = vec![
            Field::new("key", DataType::Binary, true),
            Field::new("partition", DataType::Int32, false),
            Field::new("offset", DataType::Int64, false),
        ];
        if has_row {
            fields.push(Field::new("row", DataType::Int32, false));
        }
        fields.push(time("time"));
        for (name, carry_type) in columns.carry.iter().zip(carry_types) {
            let data_type = match carry_type {
                CarryType::Number => DataType::Float64,
                CarryType::Text => DataType::Utf8,
            };
            fields.push(Field::new(name, data_type, true));
        }
        fields.push(Field::new("epoch", DataType::UInt32, false));
        fields.push(Field::new("updates", DataType::UInt64, false));
        fields.extend(own);
        let metadata = Metadata::from([
            ("tailwater.version", provenance.version),
            ("tailwater.group", provenance.group),
            ("tailwater.config", provenance.config),
            ("tailwater.model", provenance.model),
        ]);
        let arrow = Arc::new(Schema::new_with_metadata(fields, metadata));
        Self { arrow, has_row, rows: PhantomData }
    }
}

impl RowSchema<Scored> {
    /// The columns of the scores: the event's, the model's, `status`, the figures, the target where it was
    /// known, and `num_params` parameters.
    ///
    /// # Panics
    /// When `columns.carry` and `carry_types` differ in length.
    #[must_use]
    pub fn scores(
        columns: &Columns,
        carry_types: &[CarryType],
        input: InputFormat,
        num_params: usize,
        provenance: &Provenance<'_>,
    ) -> Self {
        let mut own = vec![Field::new("status", DataType::Utf8, false)];
        own.extend(columns.figures().map(figure));
        own.extend(columns.targets.iter().map(figure));
        own.push(figure("log_score"));
        own.extend(columns.pits.iter().map(figure));
        let num_params = i32::try_from(num_params).expect("a distribution has few parameters");
        let params = DataType::FixedSizeList(Arc::new(param()), num_params);
        own.push(Field::new("params", params, true));
        Self::new(columns, carry_types, input, provenance, own)
    }
}

impl RowSchema<Outcome> {
    /// The columns of the outcomes: the event's, the model's, and the target with the figures it was scored
    /// with.
    ///
    /// # Panics
    /// When `columns.carry` and `carry_types` differ in length.
    #[must_use]
    pub fn outcomes(
        columns: &Columns,
        carry_types: &[CarryType],
        input: InputFormat,
        provenance: &Provenance<'_>,
    ) -> Self {
        let mut own: Vec<Field> = columns.targets.iter().map(figure).collect();
        own.extend([time("target_time"), figure("log_score")]);
        own.extend(columns.pits.iter().map(figure));
        Self::new(columns, carry_types, input, provenance, own)
    }
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
}

fn figure(name: impl Into<String>) -> Field {
    Field::new(name, DataType::Float64, true)
}

/// The items of `params`.
pub(super) fn param() -> Field {
    Field::new("item", DataType::Float32, false)
}

/// Takes a row's values, one call a column, in the schema's order.
pub trait Sink {
    /// The event's key.
    fn key(&mut self, key: Option<&[u8]>);
    /// The row within its message; dropped where the schema has no `row`.
    fn row(&mut self, row: u32);
    /// A 32-bit integer.
    fn int32(&mut self, value: i32);
    /// A 64-bit integer.
    fn int64(&mut self, value: i64);
    /// An unsigned 32-bit integer.
    fn uint32(&mut self, value: u32);
    /// An unsigned 64-bit integer.
    fn uint64(&mut self, value: u64);
    /// A time, µs since 1970.
    fn time(&mut self, us: i64);
    /// A text.
    fn text(&mut self, text: &str);
    /// A figure; NaN is null.
    fn figure(&mut self, value: f64);
    /// A carried value; one of another type than its column becomes its text, or null in a column of numbers.
    fn carried(&mut self, cell: &Cell);
    /// The distribution's parameters; none is null.
    fn params(&mut self, params: &[f32]);
}

/// A row of an output topic.
pub trait Row {
    /// Writes its values in the order of its [`RowSchema`].
    fn write(&self, out: &mut impl Sink);
    /// The event that it is about.
    fn event(&self) -> &Event;
}

impl Row for Scored {
    fn write(&self, out: &mut impl Sink) {
        let score = &self.score;
        write_event(&self.event, out);
        out.uint32(score.epoch);
        out.uint64(score.updates);
        out.text(score.status.label());
        write_figures(&score.figures, out);
        write_figures(&score.realized.targets, out);
        out.figure(score.realized.log_score);
        write_figures(&score.realized.pits, out);
        out.params(&score.params);
    }

    fn event(&self) -> &Event {
        &self.event
    }
}

impl Row for Outcome {
    fn write(&self, out: &mut impl Sink) {
        write_event(&self.event, out);
        out.uint32(self.score.epoch);
        out.uint64(self.score.updates);
        let realized = self.realized();
        write_figures(&realized.targets, out);
        out.time(self.target_time_us);
        out.figure(realized.log_score);
        write_figures(&realized.pits, out);
    }

    fn event(&self) -> &Event {
        &self.event
    }
}

fn write_figures(figures: &[f64], out: &mut impl Sink) {
    figures.iter().for_each(|&value| out.figure(value));
}

fn write_event(event: &Event, out: &mut impl Sink) {
    out.key(event.key.as_deref());
    out.int32(event.partition);
    out.int64(event.offset);
    out.row(event.row);
    out.time(event.time_us);
    for cell in &event.carry {
        out.carried(cell);
    }
}

//! Batches of rows as Arrow IPC streams: one stream a message, complete in itself.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, FixedSizeListBuilder, Float32Builder, Float64Builder, Int32Builder,
        Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt32Builder, UInt64Builder,
    },
    datatypes::DataType,
    error::ArrowError,
    ipc::{
        MetadataVersion,
        writer::{IpcWriteOptions, StreamWriter},
    },
};

use super::row::{Row, RowSchema, Sink, param};
use crate::record::{Cell, number_text};

/// The header `content-type` of a message that holds an Arrow IPC stream.
pub const CONTENT_TYPE: &str = "application/vnd.apache.arrow.stream";

/// To what the stream's buffers are padded, in bytes: the least that the format allows, since the columns of
/// a small batch are shorter than the usual 64.
const ALIGNMENT_BYTES: usize = 8;

/// For so many bytes a text or key room is made at first.
const USUAL_TEXT_BYTES: usize = 8;

/// A batch that could not be encoded; trying again can't help.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode a batch of rows, which is a defect in tailwater: please report it: {0}")]
pub struct EncodeError(#[from] ArrowError);

/// Gathers rows into a batch.
#[derive(Debug)]
pub struct BatchBuilder<R> {
    schema: RowSchema<R>,
    columns: Vec<Column>,
    num_rows: usize,
    /// Rows of the last batch: room for as many is made for the next one, when its first comes.
    last_rows: usize,
    /// Bytes of the rows so far.
    row_bytes: usize,
    /// Bytes of a stream without rows, with room for all buffers' padding.
    overhead_bytes: usize,
}

impl<R: Row> BatchBuilder<R> {
    /// An empty batch.
    ///
    /// # Errors
    /// When Arrow refuses the schema.
    pub fn new(schema: &RowSchema<R>) -> Result<Self, EncodeError> {
        let mut builder = Self {
            schema: schema.clone(),
            columns: Column::all(schema, 0),
            num_rows: 0,
            last_rows: 0,
            row_bytes: 0,
            overhead_bytes: 0,
        };
        // A column has at most three buffers, each padded, one of them with an offset more than rows.
        let padding_bytes = 3 * ALIGNMENT_BYTES * builder.columns.len();
        builder.overhead_bytes = builder.finish()?.len() + padding_bytes;
        Ok(builder)
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When the row's figures, carried fields or parameters are not as many as the schema has.
    pub fn push(&mut self, row: &R) {
        if self.num_rows == 0 {
            self.columns = Column::all(&self.schema, self.last_rows);
        }
        let mut sink = ArrowSink {
            columns: self.columns.iter_mut(),
            has_row: self.schema.has_row(),
            num_bytes: &mut self.row_bytes,
        };
        row.write(&mut sink);
        assert!(sink.columns.next().is_none(), "a row has a value for each column");
        self.num_rows += 1;
    }

    /// Rows since they were last taken.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// An upper bound of the stream's size as it would be finished now, close for more than a few rows: a
    /// batch is closed before this passes the broker's limit.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        self.overhead_bytes + self.row_bytes
    }

    /// The rows as one self-contained IPC stream; the builder starts anew.
    ///
    /// # Errors
    /// When Arrow can't encode the batch.
    pub fn finish(&mut self) -> Result<Vec<u8>, EncodeError> {
        self.take()?.encode()
    }

    /// The rows as they are, for whoever has the time to encode them; the builder starts anew.
    ///
    /// # Errors
    /// When they are no batch to Arrow.
    pub fn take(&mut self) -> Result<Batch, EncodeError> {
        let max_bytes = self.num_bytes();
        self.last_rows = std::mem::take(&mut self.num_rows);
        self.row_bytes = 0;
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        Ok(Batch { rows: RecordBatch::try_new(self.schema.arrow().clone(), columns)?, max_bytes })
    }
}

/// Rows that are complete.
#[derive(Debug)]
pub struct Batch {
    /// The rows.
    pub rows: RecordBatch,
    /// An upper bound of the stream's size.
    max_bytes: usize,
}

impl Batch {
    /// The rows as one self-contained IPC stream: schema, one batch, end.
    ///
    /// # Errors
    /// When Arrow can't encode the batch.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let options = IpcWriteOptions::try_new(ALIGNMENT_BYTES, false, MetadataVersion::V5)?;
        let stream = Vec::with_capacity(self.max_bytes);
        let mut writer = StreamWriter::try_new_with_options(stream, self.rows.schema_ref(), options)?;
        writer.write(&self.rows)?;
        Ok(writer.into_inner()?)
    }
}

#[derive(Debug)]
enum Column {
    Binary(BinaryBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Time(TimestampMicrosecondBuilder),
    Float(Float64Builder),
    Text(StringBuilder),
    Params(FixedSizeListBuilder<Float32Builder>),
}

impl Column {
    /// The columns of a schema, with room for so many rows.
    fn all<R>(schema: &RowSchema<R>, num_rows: usize) -> Vec<Self> {
        schema.arrow().fields().iter().map(|field| Self::new(field.data_type(), num_rows)).collect()
    }

    fn new(data_type: &DataType, num_rows: usize) -> Self {
        let num_bytes = USUAL_TEXT_BYTES * num_rows;
        match data_type {
            DataType::Binary => Self::Binary(BinaryBuilder::with_capacity(num_rows, num_bytes)),
            DataType::Int32 => Self::Int32(Int32Builder::with_capacity(num_rows)),
            DataType::Int64 => Self::Int64(Int64Builder::with_capacity(num_rows)),
            DataType::UInt32 => Self::UInt32(UInt32Builder::with_capacity(num_rows)),
            DataType::UInt64 => Self::UInt64(UInt64Builder::with_capacity(num_rows)),
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(num_rows)),
            DataType::Utf8 => Self::Text(StringBuilder::with_capacity(num_rows, num_bytes)),
            DataType::Timestamp(..) => {
                let builder = TimestampMicrosecondBuilder::with_capacity(num_rows);
                Self::Time(builder.with_data_type(data_type.clone()))
            }
            DataType::FixedSizeList(_, length) => {
                let values = Float32Builder::with_capacity(*length as usize * num_rows);
                let builder = FixedSizeListBuilder::with_capacity(values, *length, num_rows);
                Self::Params(builder.with_field(param()))
            }
            other => unreachable!("no output column has the type {other}"),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Binary(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::UInt32(builder) => Arc::new(builder.finish()),
            Self::UInt64(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Params(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Appends a row's values to the columns, one after the other, and counts their bytes.
struct ArrowSink<'a> {
    columns: std::slice::IterMut<'a, Column>,
    has_row: bool,
    num_bytes: &'a mut usize,
}

/// Takes the next column, which is of the type asked for because schema and rows are written in one order.
macro_rules! next {
    ($sink:ident, $variant:ident, $num_bytes:expr) => {{
        // One byte more for the validity bits of a row.
        *$sink.num_bytes += $num_bytes + 1;
        match $sink.columns.next() {
            Some(Column::$variant(builder)) => builder,
            other => unreachable!("a row's value is no {}: {other:?}", stringify!($variant)),
        }
    }};
}

impl Sink for ArrowSink<'_> {
    fn key(&mut self, key: Option<&[u8]>) {
        next!(self, Binary, 4 + key.map_or(0, <[u8]>::len)).append_option(key);
    }

    fn row(&mut self, row: u32) {
        if self.has_row {
            // A message's rows are bounded by its bytes, far below this.
            self.int32(i32::try_from(row).unwrap_or(i32::MAX));
        }
    }

    fn int32(&mut self, value: i32) {
        next!(self, Int32, 4).append_value(value);
    }

    fn int64(&mut self, value: i64) {
        next!(self, Int64, 8).append_value(value);
    }

    fn uint32(&mut self, value: u32) {
        next!(self, UInt32, 4).append_value(value);
    }

    fn uint64(&mut self, value: u64) {
        next!(self, UInt64, 8).append_value(value);
    }

    fn time(&mut self, us: i64) {
        next!(self, Time, 8).append_value(us);
    }

    fn text(&mut self, text: &str) {
        next!(self, Text, 4 + text.len()).append_value(text);
    }

    fn figure(&mut self, value: f64) {
        next!(self, Float, 8).append_option((!value.is_nan()).then_some(value));
    }

    fn carried(&mut self, cell: &Cell) {
        if let Some(Column::Float(_)) = self.columns.as_slice().first() {
            return self.figure(if let Cell::Number(number) = cell { *number } else { f64::NAN });
        }
        match cell {
            Cell::Null => next!(self, Text, 4).append_null(),
            Cell::Number(number) => self.text(&number_text(*number)),
            Cell::Text(text) => self.text(text),
        }
    }

    fn params(&mut self, params: &[f32]) {
        let Some(Column::Params(builder)) = self.columns.next() else {
            unreachable!("the parameters come last")
        };
        let length = builder.value_length() as usize;
        assert!(params.is_empty() || params.len() == length, "as many parameters as the schema has");
        *self.num_bytes += 4 * length + 1;
        builder.append(!params.is_empty());
        if params.is_empty() {
            builder.values().append_value_n(0.0, length);
        } else {
            builder.values().append_slice(params);
        }
    }
}

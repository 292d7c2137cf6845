//! Arrow: one self-contained IPC stream a message, many rows in it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, LargeStringArray, RecordBatch,
        StringArray, StringViewArray, StructArray, UInt64Array,
    },
    buffer::{Buffer, NullBuffer},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit, UInt64Type},
    error::ArrowError,
    ipc::{reader::StreamDecoder, writer::StreamWriter},
};
use compact_str::{CompactString, format_compact};

use super::{
    RejectReason,
    plan::{Node, Plan},
    reject::Fault,
    value::Value,
};

/// The batches of a stream, with the wanted columns ready to be read row by row.
pub(super) fn read(plan: &Plan, payload: &[u8]) -> Result<Vec<Batch>, Fault> {
    read_each(payload, |batch| Batch::new(plan, batch))
}

/// What `make` makes of each batch of a stream.
pub(super) fn read_each<T>(
    payload: &[u8],
    make: impl Fn(RecordBatch) -> Result<T, ArrowError>,
) -> Result<Vec<T>, Fault> {
    // The reader checks what it reads, yet asserts in places where malformed offsets should be errors, and
    // one record must not be able to stop the stream.
    catch_unwind(AssertUnwindSafe(|| read_batches(payload, make)))
        .unwrap_or_else(|_| Err(ArrowError::IpcError("malformed stream".to_owned())))
        .map_err(|error| Fault::new(RejectReason::Undecodable, error.to_string()))
}

fn read_batches<T>(
    payload: &[u8],
    make: impl Fn(RecordBatch) -> Result<T, ArrowError>,
) -> Result<Vec<T>, ArrowError> {
    let mut bytes = Buffer::from(payload);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    let mut num_rows = 0_usize;
    while let Some(batch) = decoder.decode(&mut bytes)? {
        // A column needs at least a bit a row; a batch without columns could claim any number of rows.
        num_rows = num_rows.saturating_add(batch.num_rows());
        if num_rows > payload.len().saturating_mul(8) {
            return Err(ArrowError::IpcError(format!("{num_rows} rows in {} bytes", payload.len())));
        }
        batches.push(make(batch)?);
    }
    decoder.finish()?;
    Ok(batches)
}

/// A record batch and the columns of it that are wanted, one a slot.
pub(super) struct Batch {
    batch: RecordBatch,
    columns: Vec<Option<Column>>,
}

impl Batch {
    pub fn new(plan: &Plan, batch: RecordBatch) -> Result<Self, ArrowError> {
        let mut columns = Vec::new();
        columns.resize_with(plan.num_slots(), || None);
        collect(&plan.root, &StructArray::from(batch.clone()), None, &mut columns)?;
        Ok(Self { batch, columns })
    }

    pub fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Puts the wanted fields of a row into `slots`; a column that the stream lacks is null.
    pub fn fill(&self, row: usize, slots: &mut [Value]) {
        for (slot, column) in slots.iter_mut().zip(&self.columns) {
            *slot = column.as_ref().map_or(Value::Null, |column| column.value(row));
        }
    }

    /// A row as a stream of its own, with the same schema.
    pub fn row_alone(&self, row: usize) -> Result<Vec<u8>, ArrowError> {
        let row = self.batch.slice(row, 1);
        let columns = row.columns().iter().map(shrink).collect::<Result<_, _>>()?;
        let row = RecordBatch::try_new(row.schema(), columns)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &row.schema())?;
        writer.write(&row)?;
        writer.into_inner()
    }
}

/// Drops what a slice still holds of its batch, where the writer would send all of it along.
fn shrink(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match column.data_type() {
        DataType::Utf8View => std::sync::Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => std::sync::Arc::new(column.as_binary_view().gc()),
        dictionary @ DataType::Dictionary(_, values) => cast(&cast(column, values)?, dictionary)?,
        _ => column.clone(),
    })
}

/// Finds the wanted columns, through structs where a path leads into one.
fn collect(
    node: &Node,
    parent: &StructArray,
    parent_nulls: Option<&NullBuffer>,
    columns: &mut [Option<Column>],
) -> Result<(), ArrowError> {
    let nulls = NullBuffer::union(parent_nulls, parent.nulls());
    for (name, child) in node.children() {
        // Of columns with the same name the last one counts, as in JSON.
        let Some(index) = parent.fields().iter().rposition(|field| field.name() == name) else { continue };
        let array = parent.column(index);
        if let Some(slot) = child.slot {
            columns[slot] = Some(Column::new(array, nulls.as_ref())?);
        }
        match array.as_struct_opt() {
            Some(array) => collect(child, array, nulls.as_ref(), columns)?,
            None => occupy(child, array, nulls.as_ref(), columns),
        }
    }
    Ok(())
}

/// Marks what was wanted inside of a column that is no struct.
fn occupy(node: &Node, array: &ArrayRef, nulls: Option<&NullBuffer>, columns: &mut [Option<Column>]) {
    for (_, child) in node.children() {
        if let Some(slot) = child.slot {
            let cells = Cells::Other("no struct around it".into());
            columns[slot] = Some(Column { cells, nulls: union(array, nulls) });
        }
        occupy(child, array, nulls, columns);
    }
}

fn union(array: &ArrayRef, nulls: Option<&NullBuffer>) -> Option<NullBuffer> {
    NullBuffer::union(array.logical_nulls().as_ref(), nulls)
}

/// A column in one of the few types that values come in.
struct Column {
    cells: Cells,
    /// Its own nulls and those of the structs around it.
    nulls: Option<NullBuffer>,
}

enum Cells {
    Bool(BooleanArray),
    Int(Int64Array),
    UInt(UInt64Array),
    Float(Float64Array),
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    /// With µs to the unit; nanoseconds are divided.
    Time(Int64Array, TimeScale),
    /// Of a type that no field may have, in words.
    Other(CompactString),
}

#[derive(Clone, Copy)]
enum TimeScale {
    Times(i64),
    Nanos,
}

impl Column {
    fn new(array: &ArrayRef, parent_nulls: Option<&NullBuffer>) -> Result<Self, ArrowError> {
        use DataType as D;
        let ints = |array: &ArrayRef| {
            Ok::<_, ArrowError>(cast(array, &D::Int64)?.as_primitive::<Int64Type>().clone())
        };
        let cells = match array.data_type() {
            D::Dictionary(_, values) => return Self::new(&cast(array, values)?, parent_nulls),
            D::Boolean => Cells::Bool(array.as_boolean().clone()),
            D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::UInt8 | D::UInt16 | D::UInt32 => {
                Cells::Int(ints(array)?)
            }
            D::UInt64 => Cells::UInt(array.as_primitive::<UInt64Type>().clone()),
            D::Float16 | D::Float32 | D::Float64 => {
                Cells::Float(cast(array, &D::Float64)?.as_primitive::<Float64Type>().clone())
            }
            D::Utf8 => Cells::Text(array.as_string().clone()),
            D::LargeUtf8 => Cells::LargeText(array.as_string().clone()),
            D::Utf8View => Cells::TextView(array.as_string_view().clone()),
            D::Timestamp(unit, _) => Cells::Time(ints(array)?, TimeScale::of(*unit)),
            D::Date32 => Cells::Time(ints(&cast(array, &D::Int32)?)?, TimeScale::Times(86_400_000_000)),
            D::Date64 => Cells::Time(ints(array)?, TimeScale::Times(1_000)),
            D::Struct(_) => Cells::Other("an object".into()),
            D::List(_) | D::LargeList(_) | D::FixedSizeList(..) => Cells::Other("an array".into()),
            other => Cells::Other(format_compact!("a value of Arrow's type {other}")),
        };
        Ok(Self { cells, nulls: union(array, parent_nulls) })
    }

    fn value(&self, row: usize) -> Value {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Value::Null;
        }
        match &self.cells {
            Cells::Bool(array) => Value::Bool(array.value(row)),
            Cells::Int(array) => Value::Int(array.value(row)),
            Cells::UInt(array) => Value::UInt(array.value(row)),
            Cells::Float(array) => Value::Float(array.value(row)),
            Cells::Text(array) => Value::Text(array.value(row).into()),
            Cells::LargeText(array) => Value::Text(array.value(row).into()),
            Cells::TextView(array) => Value::Text(array.value(row).into()),
            Cells::Time(array, scale) => Value::Time(scale.to_us(array.value(row))),
            Cells::Other(what) => Value::Other(what.clone()),
        }
    }
}

impl TimeScale {
    fn of(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self::Times(1_000_000),
            TimeUnit::Millisecond => Self::Times(1_000),
            TimeUnit::Microsecond => Self::Times(1),
            TimeUnit::Nanosecond => Self::Nanos,
        }
    }

    /// Saturates where the product is out of range, which is then found to be no event time.
    fn to_us(self, value: i64) -> i64 {
        match self {
            Self::Times(factor) => value.saturating_mul(factor),
            Self::Nanos => value.div_euclid(1_000),
        }
    }
}

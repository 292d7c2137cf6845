//! Published batches as a test reads them.

use arrow::{
    array::{Array, ArrowPrimitiveType, AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Int32Type, Int64Type},
    ipc::reader::StreamReader,
};

use crate::cluster::{Cluster, Record};

/// A message's rows.
pub fn batch(record: &Record) -> RecordBatch {
    assert_eq!(record.header("content-type"), Some("application/vnd.apache.arrow.stream"));
    let stream = record.value.as_deref().unwrap();
    let mut batches: Vec<_> = StreamReader::try_new(stream, None).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1, "one batch a message");
    batches.remove(0)
}

/// All rows of a topic of Arrow batches, by partition and then offset.
pub fn rows(cluster: &Cluster, topic: &str) -> RecordBatch {
    let batches: Vec<_> = cluster.consume(topic).iter().map(batch).collect();
    concat_batches(&batches.first().expect("something was published").schema(), &batches).unwrap()
}

/// A column that has no nulls.
pub fn column<T: ArrowPrimitiveType>(rows: &RecordBatch, name: &str) -> Vec<T::Native> {
    let column = rows.column_by_name(name).unwrap_or_else(|| panic!("no column {name}")).as_primitive::<T>();
    assert_eq!(column.null_count(), 0, "{name}");
    column.values().to_vec()
}

/// Where each row's event stands in the input: partition and offset.
pub fn places(rows: &RecordBatch) -> Vec<(i32, i64)> {
    column::<Int32Type>(rows, "partition").into_iter().zip(column::<Int64Type>(rows, "offset")).collect()
}

/// The places 0 to `num_offsets` of partition 0.
pub fn first_places(num_offsets: usize) -> Vec<(i32, i64)> {
    (0..num_offsets as i64).map(|offset| (0, offset)).collect()
}

//! Reading published scores again: what the distributions were that waiting events were scored with.

use std::panic::catch_unwind;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Float32Type, Int32Type, Int64Type, UInt32Type, UInt64Type},
    ipc::reader::StreamReader,
};
use serde::Deserialize;

use super::{Published, arrow::CONTENT_TYPE};
use crate::operator::place::Position;

/// A row of the scores topic: whose score it is, and what it says of the distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRow {
    /// The event's input partition.
    pub partition: i32,
    /// Its place there.
    pub at: Position,
    /// The score.
    pub published: Published,
}

/// The rows of a message of the scores topic, in either format; `None` where it holds something else, or, as Arrow tells,
/// another group's.
#[must_use]
pub fn rows(group: &str, content_type: &[u8], payload: &[u8]) -> Option<Vec<ScoreRow>> {
    if content_type != CONTENT_TYPE.as_bytes() {
        return Some(vec![json_row(payload)?]);
    }
    // Arrow's reader asserts in places where malformed offsets should be errors.
    catch_unwind(|| arrow_rows(group, payload)).unwrap_or_default()
}

fn arrow_rows(group: &str, payload: &[u8]) -> Option<Vec<ScoreRow>> {
    let mut rows = Vec::new();
    let stream = StreamReader::try_new(payload, None).ok()?;
    if stream.schema().metadata().get("tailwater.group").is_none_or(|written_by| written_by != group) {
        return None;
    }
    for batch in stream {
        append_batch(&batch.ok()?, &mut rows)?;
    }
    Some(rows)
}

fn append_batch(batch: &RecordBatch, rows: &mut Vec<ScoreRow>) -> Option<()> {
    let column = |name: &str| batch.column_by_name(name);
    let partition = column("partition")?.as_primitive_opt::<Int32Type>()?;
    let offset = column("offset")?.as_primitive_opt::<Int64Type>()?;
    let row = match column("row") {
        Some(row) => Some(row.as_primitive_opt::<Int32Type>()?),
        None => None,
    };
    let epoch = column("epoch")?.as_primitive_opt::<UInt32Type>()?;
    let updates = column("updates")?.as_primitive_opt::<UInt64Type>()?;
    let params = column("params")?.as_fixed_size_list_opt()?;
    for index in 0..batch.num_rows() {
        let params: Box<[f32]> = if params.is_null(index) {
            Box::default()
        } else {
            params.value(index).as_primitive_opt::<Float32Type>()?.values().to_vec().into()
        };
        let row = row.map_or(0, |row| row.value(index));
        rows.push(ScoreRow {
            partition: partition.value(index),
            at: Position { offset: offset.value(index), row: u32::try_from(row).ok()? },
            published: Published { epoch: epoch.value(index), updates: updates.value(index), params },
        });
    }
    Some(())
}

#[derive(Deserialize)]
struct JsonRow {
    partition: i32,
    offset: i64,
    #[serde(default)]
    row: u32,
    epoch: u32,
    updates: u64,
    params: Option<Vec<f32>>,
}

fn json_row(payload: &[u8]) -> Option<ScoreRow> {
    let JsonRow { partition, offset, row, epoch, updates, params } = serde_json::from_slice(payload).ok()?;
    Some(ScoreRow {
        partition,
        at: Position { offset, row },
        published: Published { epoch, updates, params: params.unwrap_or_default().into() },
    })
}

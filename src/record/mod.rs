//! Records as they come: formats, decoding, and what is rejected.
//!
//! A message becomes rows in two steps. The format (`json`, `arrow`) puts the wanted fields' values into
//! slots (`plan` says which fields, `value` what they can be); `row` then decides what the slots mean, by the
//! same rules for every format: an [`Event`], or a [`Reject`] that names the field at fault. Nothing here does
//! I/O or reads a clock, so a replay decides as the live run did.

mod arrow;
pub mod event;
pub(crate) mod fields;
mod json;
mod plan;
mod reject;
mod row;
pub mod time;
mod value;

pub use event::{Cell, Event, Known, Record, Reject, RejectReason, Target};
pub use plan::{CarryType, carry_types};
pub(crate) use value::{Value, number_text};

use ::arrow::{array::RecordBatch, error::ArrowError};

use crate::config::{Config, InputFormat};
use plan::Plan;
use reject::Fault;

/// An event's key and carried fields together have at most this many bytes: they are published again with its score,
/// which has to fit a message.
pub const MAX_OWN_BYTES: usize = 262_144;

/// A message has at most this many rows, whatever its size: each becomes an event in memory.
pub const MAX_MESSAGE_ROWS: usize = 65_536;

/// A Kafka message, borrowed from the client or from a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Input partition.
    pub partition: i32,
    /// Where it stands in the partition.
    pub offset: i64,
    /// The broker's timestamp, ms since 1970.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
}

impl Message<'_> {
    /// Bytes of key and value together.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.payload.map_or(0, <[u8]>::len)
    }
}

/// Turns messages into records, by the config's rules.
#[derive(Debug)]
pub struct Decoder {
    format: InputFormat,
    max_bytes: usize,
    plan: Plan,
    /// One value a wanted field, of the row at hand; kept, so that a row allocates only what leaves.
    slots: Vec<Value>,
}

impl Decoder {
    /// A decoder of `input.format` that reads the fields which the config names.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let plan = Plan::new(config);
        let slots = vec![Value::Null; plan.num_slots()];
        Self { format: config.input.format, max_bytes: config.input.max_bytes, plan, slots }
    }

    /// Appends the message's records to `out`: at least one, of which the last has `last` set.
    ///
    /// A message without rows gives an `empty` reject, so that its offset is passed like any other.
    pub fn decode(&mut self, message: &Message<'_>, out: &mut Vec<Record>) {
        self.decode_as(self.format, message, out);
    }

    /// Appends the record of a file's line, a JSON object: a message as [`Self::decode_table`] makes one of a row.
    pub fn decode_line(&mut self, line: &[u8], number: i64, out: &mut Vec<Record>) {
        self.decode_as(InputFormat::Json, &self.in_file(number, Some(line)), out);
    }

    /// What stands in a file at this number. Where the config names no event time, the number stands for it too, in seconds.
    fn in_file<'a>(&self, number: i64, payload: Option<&'a [u8]>) -> Message<'a> {
        let timestamp_ms = self.plan.time.is_none().then(|| number.saturating_mul(1_000));
        Message { partition: 0, offset: number, timestamp_ms, key: None, payload }
    }

    fn decode_as(&mut self, format: InputFormat, message: &Message<'_>, out: &mut Vec<Record>) {
        let Some(payload) = message.payload else {
            let fault = Fault::new(RejectReason::Empty, "the message has no value");
            return out.push(fault.reject(message, 0, true, None));
        };
        if payload.len() > self.max_bytes {
            let detail = format!("{} bytes, where input.max_bytes allows {}", payload.len(), self.max_bytes);
            let fault = Fault::new(RejectReason::Oversized, detail);
            return out.push(fault.reject(message, 0, true, Some(payload.into())));
        }
        let decoded = match format {
            InputFormat::Json => self.decode_json(message, payload, out),
            InputFormat::Arrow => self.decode_arrow(message, payload, out),
        };
        if let Err(fault) = decoded {
            out.push(fault.reject(message, 0, true, Some(payload.into())));
        }
    }

    /// Appends a record for each row of a file's table, or of a part of it. Each is a message of its own: of partition 0, without a key, its
    /// number in the file being its offset; `first` is that of the part's first row. `is_typed`: the table's columns have types; otherwise they
    /// are texts, and what they say is decided by what is wanted, an empty one being null.
    ///
    /// # Errors
    /// When a column can't be read as any type that a field may have.
    pub fn decode_table(
        &mut self,
        table: &RecordBatch,
        is_typed: bool,
        first: i64,
        out: &mut Vec<Record>,
    ) -> Result<(), ArrowError> {
        let batch = arrow::Batch::new(&self.plan, table.clone())?;
        out.reserve(batch.num_rows());
        for index in 0..batch.num_rows() {
            batch.fill(index, &mut self.slots);
            if !is_typed {
                self.slots.iter_mut().for_each(Value::untype);
            }
            let message = self.in_file(first + index as i64, None);
            out.push(match row::event(&self.plan, &self.slots, &message, 0, true) {
                Ok(event) => Record::Event(event),
                Err(fault) => fault.reject(&message, 0, true, None),
            });
        }
        Ok(())
    }

    fn decode_json(
        &mut self,
        message: &Message<'_>,
        payload: &[u8],
        out: &mut Vec<Record>,
    ) -> Result<(), Fault> {
        json::read(&self.plan, payload, &mut self.slots)?;
        out.push(Record::Event(row::event(&self.plan, &self.slots, message, 0, true)?));
        Ok(())
    }

    /// All batches are read before the first row is decided, so that a broken message is rejected whole.
    fn decode_arrow(
        &mut self,
        message: &Message<'_>,
        payload: &[u8],
        out: &mut Vec<Record>,
    ) -> Result<(), Fault> {
        let batches = arrow::read(&self.plan, payload)?;
        let num_rows: usize = batches.iter().map(arrow::Batch::num_rows).sum();
        if num_rows == 0 {
            return Err(Fault::new(RejectReason::Empty, "the Arrow stream holds no row"));
        }
        if num_rows > MAX_MESSAGE_ROWS {
            let detail = format!("{num_rows} rows, where a message may have {MAX_MESSAGE_ROWS}");
            return Err(Fault::new(RejectReason::Oversized, detail));
        }
        out.reserve(num_rows);
        let mut row = 0;
        for batch in &batches {
            for index in 0..batch.num_rows() {
                batch.fill(index, &mut self.slots);
                let last = row as usize + 1 == num_rows;
                out.push(match row::event(&self.plan, &self.slots, message, row, last) {
                    Ok(event) => Record::Event(event),
                    Err(fault) => {
                        let alone = batch.row_alone(index).unwrap_or_else(|_| payload.to_vec());
                        fault.reject(message, row, last, Some(alone.into()))
                    }
                });
                row += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

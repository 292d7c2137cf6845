//! Where a replay's records come from: pieces of a file or of a topic's range, as they lay there.

use std::ops::Range;

use arrow::array::RecordBatch;

pub mod file;
mod lines;
pub mod topic;

use crate::record::{Decoder, Message, Record};

/// At most so many rows to a piece.
pub const PIECE_ROWS: usize = 1_024;
/// A piece of lines or messages is full when it has so many bytes.
pub const PIECE_BYTES: usize = 1 << 20;

/// A part of the input, which every model decodes for itself.
#[derive(Debug)]
pub enum Piece {
    /// Messages of a topic.
    Messages(Vec<OwnedMessage>),
    /// Lines of a file.
    Lines(Lines),
    /// Rows of a file.
    Table {
        /// The number of the first row in the file, from 0.
        first: i64,
        /// The rows.
        rows: RecordBatch,
        /// Whether its columns have types; otherwise they are texts.
        is_typed: bool,
    },
    /// A partition was read to the end of its range.
    Ended {
        /// The partition.
        partition: i32,
        /// The offset after its last.
        until: i64,
    },
}

/// A message of a topic.
#[derive(Debug, Clone)]
pub struct OwnedMessage {
    /// Input partition.
    pub partition: i32,
    /// Where it stands in the partition.
    pub offset: i64,
    /// The broker's timestamp, ms since 1970.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Box<[u8]>>,
    /// The value.
    pub payload: Option<Box<[u8]>>,
}

/// Lines of a file that follow one another.
#[derive(Debug, Default)]
pub struct Lines {
    /// The number of the first one among those that are not blank, from 0.
    pub first: i64,
    /// All of them, one after another.
    pub text: Vec<u8>,
    /// Where each one stands.
    pub ranges: Vec<Range<usize>>,
}

impl Piece {
    /// Appends its records.
    ///
    /// # Errors
    /// When a table can't be read, in words.
    pub fn decode(&self, decoder: &mut Decoder, out: &mut Vec<Record>) -> Result<(), String> {
        match self {
            Self::Messages(messages) => {
                for message in messages {
                    decoder.decode(&message.borrow(), out);
                }
            }
            Self::Lines(lines) => {
                for (number, range) in (lines.first..).zip(&lines.ranges) {
                    decoder.decode_line(&lines.text[range.clone()], number, out);
                }
            }
            Self::Table { first, rows, is_typed } => {
                decoder.decode_table(rows, *is_typed, *first, out).map_err(|error| error.to_string())?;
            }
            Self::Ended { .. } => {}
        }
        Ok(())
    }

    /// How many records lie in it, a message counting as one.
    #[must_use]
    pub fn num_records(&self) -> usize {
        match self {
            Self::Messages(messages) => messages.len(),
            Self::Lines(lines) => lines.ranges.len(),
            Self::Table { rows, .. } => rows.num_rows(),
            Self::Ended { .. } => 0,
        }
    }
}

impl OwnedMessage {
    /// Bytes of its key and value.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        [&self.key, &self.payload].into_iter().flatten().map(|part| part.len()).sum()
    }

    /// The same as the decoder takes it.
    #[must_use]
    pub fn borrow(&self) -> Message<'_> {
        Message {
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            payload: self.payload.as_deref(),
        }
    }
}

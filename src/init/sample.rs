//! A bounded part of the records of a file or a topic, spread over all that was read.

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::take_record_batch,
    error::ArrowError,
};

use crate::{
    config::{FieldPath, InputFormat},
    record::{
        Value,
        fields::{FieldReader, Found},
    },
    replay::source::{Lines, OwnedMessage, Piece},
};

/// At most so many records are looked at; a message counts as one.
const MAX_RECORDS: usize = 20_480;
/// At most so many bytes of them are kept.
const MAX_BYTES: usize = 64 << 20;
/// So many records that follow one another are kept or left out together.
const RUN: usize = 128;

/// Runs of records from all over the input: every one of them while they are few, then every second, every fourth and so on.
#[derive(Debug)]
pub struct Sample {
    runs: Vec<Piece>,
    /// One in so many runs is kept.
    stride: usize,
    num_runs: usize,
    num_records: u64,
    /// Of the messages of a topic.
    format: InputFormat,
}

/// A record's values, one a field.
#[derive(Debug)]
pub struct Row<'a> {
    /// Records of the same run follow one another.
    pub run: usize,
    /// Its number in the file, or its offset in the partition, from 0.
    pub number: i64,
    pub(crate) values: &'a [Value],
}

impl Default for Sample {
    fn default() -> Self {
        Self { runs: Vec::new(), stride: 1, num_runs: 0, num_records: 0, format: InputFormat::Json }
    }
}

impl Sample {
    /// A sample of a topic whose messages have this format.
    #[must_use]
    pub fn of_messages(format: InputFormat) -> Self {
        Self { format, ..Self::default() }
    }

    /// The format of a topic's messages.
    #[must_use]
    pub fn format(&self) -> InputFormat {
        self.format
    }

    /// How many records it was taken from.
    #[must_use]
    pub fn num_records(&self) -> u64 {
        self.num_records
    }

    /// How many it holds, a message counting as one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(Piece::num_records).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Its records as they lay there.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.runs.iter()
    }

    /// Takes what comes next.
    ///
    /// # Errors
    /// When rows of a table can't be copied.
    pub fn add(&mut self, piece: &Piece) -> Result<(), ArrowError> {
        let len = piece.num_records();
        self.num_records += len as u64;
        for from in (0..len).step_by(RUN) {
            if self.num_runs.is_multiple_of(self.stride) {
                self.runs.push(run(piece, from, RUN.min(len - from))?);
            }
            self.num_runs += 1;
        }
        while self.runs.len() > 1 && (self.len() > MAX_RECORDS || self.num_bytes() > MAX_BYTES) {
            let mut nth = 0;
            self.runs.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.stride *= 2;
        }
        Ok(())
    }

    fn num_bytes(&self) -> usize {
        let bytes = |piece: &Piece| match piece {
            Piece::Lines(lines) => lines.text.len(),
            Piece::Table { rows, .. } => rows.get_array_memory_size(),
            Piece::Messages(messages) => messages.iter().map(OwnedMessage::num_bytes).sum(),
            Piece::Ended { .. } => 0,
        };
        self.runs.iter().map(bytes).sum()
    }

    /// The fields that its records have; of those that can't be read how many there are, and what is wrong with the first.
    pub(crate) fn fields(&self) -> (Found, u64, Option<String>) {
        let mut found = Found::default();
        let (mut unread, mut first) = (0, None);
        let mut see = |result: Result<(), String>| {
            if let Err(error) = result {
                unread += 1;
                first.get_or_insert(error);
            }
        };
        for piece in &self.runs {
            match piece {
                Piece::Lines(lines) => {
                    lines.ranges.iter().for_each(|range| see(found.see_json(&lines.text[range.clone()])));
                }
                Piece::Table { rows, .. } => found.see_table(rows),
                Piece::Messages(messages) => {
                    for message in messages {
                        let payload = message.payload.as_deref().unwrap_or_default();
                        see(match self.format {
                            InputFormat::Json => found.see_json(payload),
                            InputFormat::Arrow => found.see_stream(payload),
                        });
                    }
                }
                Piece::Ended { .. } => {}
            }
        }
        (found, unread, first)
    }

    /// Gives each row's values of these fields, whatever can't be read left out.
    ///
    /// # Errors
    /// When a column of a table can't be read.
    pub fn each(&self, paths: &[FieldPath], mut see: impl FnMut(Row<'_>)) -> Result<(), ArrowError> {
        let mut reader = FieldReader::new(paths);
        for (run, piece) in self.runs.iter().enumerate() {
            match piece {
                Piece::Lines(lines) => {
                    for (number, range) in (lines.first..).zip(&lines.ranges) {
                        let line = &lines.text[range.clone()];
                        reader.json(line, &mut |values| see(Row { run, number, values }));
                    }
                }
                Piece::Table { first, rows, is_typed } => {
                    let mut number = *first;
                    reader.table(rows, *is_typed, &mut |values| {
                        see(Row { run, number, values });
                        number += 1;
                    })?;
                }
                Piece::Messages(messages) => {
                    for message in messages {
                        let payload = message.payload.as_deref().unwrap_or_default();
                        let number = message.offset;
                        let mut see = |values: &[Value]| see(Row { run, number, values });
                        match self.format {
                            InputFormat::Json => reader.json(payload, &mut see),
                            InputFormat::Arrow => reader.stream(payload, &mut see),
                        };
                    }
                }
                Piece::Ended { .. } => {}
            }
        }
        Ok(())
    }
}

/// A copy of some records of a piece, which holds nothing of the rest.
fn run(piece: &Piece, from: usize, len: usize) -> Result<Piece, ArrowError> {
    Ok(match piece {
        Piece::Lines(lines) => {
            let mut run = Lines { first: lines.first + from as i64, ..Lines::default() };
            for range in &lines.ranges[from..from + len] {
                let begin = run.text.len();
                run.text.extend_from_slice(&lines.text[range.clone()]);
                run.ranges.push(begin..run.text.len());
            }
            Piece::Lines(run)
        }
        Piece::Table { first, rows, is_typed } => {
            let indices = UInt32Array::from_iter_values((from..from + len).map(|row| row as u32));
            let rows: RecordBatch = take_record_batch(rows, &indices)?;
            Piece::Table { first: first + from as i64, rows, is_typed: *is_typed }
        }
        Piece::Messages(messages) => Piece::Messages(messages[from..from + len].to_vec()),
        Piece::Ended { partition, until } => Piece::Ended { partition: *partition, until: *until },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_sample_is_bounded_and_spread_over_all_that_was_read() {
        let mut sample = Sample::default();
        let mut number = 0;
        for _ in 0..100 {
            let mut lines = Lines { first: number, ..Lines::default() };
            for _ in 0..1_000 {
                let begin = lines.text.len();
                lines.text.extend_from_slice(format!("{{\"n\": {number}}}").as_bytes());
                lines.ranges.push(begin..lines.text.len());
                number += 1;
            }
            sample.add(&Piece::Lines(lines)).unwrap();
        }
        assert_eq!(sample.num_records(), 100_000);
        assert!((MAX_RECORDS / 3..=MAX_RECORDS).contains(&sample.len()), "{}", sample.len());
        let (found, unread, _) = sample.fields();
        assert_eq!((found.paths().len(), unread), (1, 0));
        let mut numbers = Vec::new();
        sample
            .each(&found.paths(), |row| {
                assert_eq!(row.values[0].number(), Some(row.number as f64), "a row keeps its number");
                numbers.push(row.number);
            })
            .unwrap();
        assert_eq!(numbers.len(), sample.len());
        assert!(numbers.is_sorted() && numbers[0] == 0 && *numbers.last().unwrap() > 97_000);
    }
}

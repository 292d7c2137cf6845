//! The order in which records are taken, and how it is written down.
//!
//! Among the partitions that are known to have data, the record with the lowest (time, partition, offset) is next. A
//! partition whose queue has run empty is waited for until it is heard of again: with a record, or with the
//! news that it has none. Within a partition records keep their order.
//!
//! What was known to have data depends on how reading went, so the order that was taken is written down, as runs
//! of one partition each. Who follows it takes the same records in the same order.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::place::Position;
use crate::record::Record;

/// Records that were read and not yet taken, by partition.
#[derive(Debug, Default)]
pub struct Queues {
    partitions: BTreeMap<i32, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<Record>,
    news: News,
    /// The offset before which nothing else is to come; that of the last record aside.
    read_until: i64,
}

/// What was last heard of a partition after its last record.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Nothing: more may come at once.
    #[default]
    None,
    /// It was read to its end.
    Ended,
    /// It did not answer for so long that it is no longer waited for.
    Silent,
}

impl Queues {
    /// Queues for these partitions, of which nothing is known yet.
    #[must_use]
    pub fn new(partitions: impl Iterator<Item = i32>) -> Self {
        Self { partitions: partitions.map(|partition| (partition, Queue::default())).collect() }
    }

    /// Adds a record at its partition's end.
    pub fn push(&mut self, record: Record) {
        let queue = self.partitions.entry(record.partition()).or_default();
        queue.records.push_back(record);
        queue.news = News::None;
    }

    /// The partition was read to its end as it is now.
    pub fn set_ended(&mut self, partition: i32) {
        self.partitions.entry(partition).or_default().news = News::Ended;
    }

    /// The partition is not to be waited for.
    pub fn set_silent(&mut self, partition: i32) {
        self.partitions.entry(partition).or_default().news = News::Silent;
    }

    /// The partition was read up to this offset, before which there is no record but those that were pushed.
    pub fn set_read_until(&mut self, partition: i32, offset: i64) {
        self.partitions.entry(partition).or_default().read_until = offset;
    }

    /// Up to where each partition was read of which nothing is left to take.
    pub fn emptied(&self) -> impl Iterator<Item = (i32, i64)> {
        let empty = self.partitions.iter().filter(|(_, queue)| queue.records.is_empty());
        empty.map(|(&partition, queue)| (partition, queue.read_until))
    }

    /// The partitions.
    pub fn partitions(&self) -> impl Iterator<Item = i32> {
        self.partitions.keys().copied()
    }

    /// Whether the partition has nothing left and was read to its end.
    #[must_use]
    pub fn has_ended(&self, partition: i32) -> bool {
        let queue = self.partitions.get(&partition);
        queue.is_some_and(|queue| queue.records.is_empty() && queue.news == News::Ended)
    }

    /// The partition's next record.
    #[must_use]
    pub fn head(&self, partition: i32) -> Option<&Record> {
        self.partitions.get(&partition)?.records.front()
    }

    /// Takes the partition's next record.
    pub fn take_from(&mut self, partition: i32) -> Option<Record> {
        self.partitions.get_mut(&partition)?.records.pop_front()
    }

    /// Takes the next record, if it is certain which one that is.
    pub fn take(&mut self) -> Option<Record> {
        let mut next: Option<(Rank, i32)> = None;
        for (&partition, queue) in &self.partitions {
            match queue.records.front() {
                Some(head) => {
                    let rank = Rank::of(head);
                    if next.is_none_or(|(best, _)| rank < best) {
                        next = Some((rank, partition));
                    }
                }
                None if queue.news == News::None => return None,
                None => {}
            }
        }
        let (_, partition) = next?;
        self.take_from(partition)
    }
}

/// What is taken first: lower ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A reject has no time and moves nothing: it goes as soon as it is reached.
    Reject(i32),
    /// Event time, then partition; the offset decides nothing more, since a partition has one head.
    Event(i64, i32),
}

impl Rank {
    fn of(record: &Record) -> Self {
        match record {
            Record::Reject(reject) => Self::Reject(reject.partition),
            Record::Event(event) => Self::Event(event.time_us, event.partition),
        }
    }
}

/// Records that were taken from one partition without one of another between them, and what was passed there that is no
/// record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The partition.
    pub partition: i32,
    /// The place after it.
    pub until: Position,
}

/// The order in which records were taken, oldest first.
///
/// A run says where it ends rather than how many records it has, so that records which a compacted topic has lost
/// meanwhile shift nothing, and so that it may end after a transaction's marker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "Vec<u8>", try_from = "Vec<u8>")]
pub struct Order(Vec<Run>);

impl Order {
    /// The place in this partition has moved to `until`.
    pub fn push(&mut self, partition: i32, until: Position) {
        match self.0.last_mut() {
            Some(last) if last.partition == partition => last.until = until,
            _ => self.0.push(Run { partition, until }),
        }
    }

    /// Adds what was taken after.
    pub fn append(&mut self, later: Self) {
        for run in later.0 {
            self.push(run.partition, run.until);
        }
    }

    /// The runs.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.0
    }

    /// How many runs there are.
    #[must_use]
    pub fn num_runs(&self) -> usize {
        self.0.len()
    }
}

/// Each run as three numbers (LEB128): the partition, how far its offset is from the end of that partition's run before
/// (from 0 for the first), and the row.
impl From<Order> for Vec<u8> {
    fn from(order: Order) -> Self {
        let mut bytes = Self::with_capacity(4 * order.0.len());
        let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
        for Run { partition, until } in order.0 {
            let end = ends.entry(partition).or_default();
            // Offsets and partitions count from 0 and a run ends after the one before: none of these is negative.
            write_number(&mut bytes, partition as u64);
            write_number(&mut bytes, (until.offset - *end) as u64);
            write_number(&mut bytes, u64::from(until.row));
            *end = until.offset;
        }
        bytes
    }
}

/// Bytes that are no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the order of records is malformed")]
pub struct MalformedOrder;

impl TryFrom<Vec<u8>> for Order {
    type Error = MalformedOrder;

    fn try_from(bytes: Vec<u8>) -> Result<Self, MalformedOrder> {
        let mut runs = Vec::new();
        let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let partition = i32::try_from(read_number(&mut rest)?).map_err(|_| MalformedOrder)?;
            let advance = i64::try_from(read_number(&mut rest)?).map_err(|_| MalformedOrder)?;
            let row = u32::try_from(read_number(&mut rest)?).map_err(|_| MalformedOrder)?;
            let end = ends.entry(partition).or_default();
            *end = end.checked_add(advance).ok_or(MalformedOrder)?;
            runs.push(Run { partition, until: Position { offset: *end, row } });
        }
        Ok(Self(runs))
    }
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Result<u64, MalformedOrder> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(MalformedOrder)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(MalformedOrder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_of_one_partition_in_a_row_are_one_run() {
        let mut order = Order::default();
        for (partition, offset) in [(0, 1), (0, 2), (3, 7), (0, 3)] {
            order.push(partition, Position::at(offset));
        }
        let mut later = Order::default();
        later.push(0, Position { offset: 3, row: 5 });
        later.push(3, Position::at(8));
        order.append(later);
        let runs: Vec<_> = order.runs().iter().map(|r| (r.partition, r.until.offset, r.until.row)).collect();
        assert_eq!(runs, [(0, 2, 0), (3, 7, 0), (0, 3, 5), (3, 8, 0)]);
    }

    #[test]
    fn a_run_takes_three_bytes_where_partitions_take_turns() {
        let mut order = Order::default();
        for offset in 1..=1000 {
            order.push(0, Position::at(1_000_000_000 + offset));
            order.push(1, Position::at(2_000_000_000 + offset));
        }
        assert!(Vec::from(order).len() < 6_010);
    }

    proptest! {
        #[test]
        fn an_order_comes_back_from_its_bytes(
            steps in prop::collection::vec((0..5i32, 0..1_000_000_000_000i64, 0..3u32), 0..50)
        ) {
            let mut order = Order::default();
            let mut ends = [0i64; 5];
            for (partition, advance, row) in steps {
                let end = &mut ends[partition as usize];
                *end += advance;
                order.push(partition, Position { offset: *end, row });
            }
            prop_assert_eq!(Order::try_from(Vec::from(order.clone())).unwrap(), order);
        }

        #[test]
        fn any_bytes_are_an_order_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(order) = Order::try_from(bytes) {
                prop_assert!(order.num_runs() <= 67);
            }
        }
    }
}

//! The order in which records are taken.
//!
//! Among the partitions that are known to have data, the record with the lowest (time, partition, offset) is next. A
//! partition whose queue has run empty is waited for until it is heard of again: with a record, or with the
//! news that it has none. Within a partition records keep their order.

use std::collections::{BTreeMap, VecDeque};

use crate::record::Record;

/// Records that were read and not yet taken, by partition.
#[derive(Debug, Default)]
pub struct Queues {
    partitions: BTreeMap<i32, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<Record>,
    /// Known to have no more data for now.
    idle: bool,
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
        queue.idle = false;
    }

    /// The partition has no more data for now.
    pub fn set_idle(&mut self, partition: i32) {
        self.partitions.entry(partition).or_default().idle = true;
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
                None if queue.idle => {}
                None => return None,
            }
        }
        let (_, partition) = next?;
        self.partitions.get_mut(&partition)?.records.pop_front()
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

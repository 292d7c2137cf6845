//! Events that wait for their targets to become known.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use super::saved::WaitingEntry;
use crate::{record::Event, score::Score};

/// At most this many events wait at once; the target of one beyond it is given up (`expired`), so that a
/// stream whose targets lie far ahead can't exhaust the memory.
pub const MAX_WAITING: usize = 1 << 20;

/// An event with the score it was given.
#[derive(Debug, Clone)]
pub struct Held {
    /// The event.
    pub event: Arc<Event>,
    /// Its score.
    pub score: Arc<Score>,
    /// Its outcome is bet on: [`Watch::admit`](crate::watch::Watch::admit).
    pub is_bet_on: bool,
}

/// What becomes of a waiting event once stream time has passed its moment.
#[derive(Debug, Clone)]
pub enum Due {
    /// Its target became known at this time, µs since 1970.
    Known(Held, i64),
    /// It waited for as long as `target.wait` allows.
    Expired,
}

/// Events ordered by when they stop waiting; ties in the order in which they came.
#[derive(Debug, Default)]
pub struct Waiting {
    heap: BinaryHeap<Reverse<Entry>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry {
    due_us: i64,
    sequence: u64,
    due: Due,
}

impl Waiting {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Whether no more may wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.heap.len() >= MAX_WAITING
    }

    /// Lets an event wait until `due_us`. Gives it back where there is no room.
    ///
    /// # Errors
    /// When `MAX_WAITING` events wait already.
    pub fn hold(&mut self, due: Due, due_us: i64) -> Result<(), Due> {
        if self.is_full() {
            return Err(due);
        }
        self.entered += 1;
        self.heap.push(Reverse(Entry { due_us, sequence: self.entered, due }));
        Ok(())
    }

    /// Nothing that waits is bet on any more.
    pub fn call_off_bets(&mut self) {
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        for Reverse(entry) in &mut entries {
            if let Due::Known(held, _) = &mut entry.due {
                held.is_bet_on = false;
            }
        }
        self.heap = entries.into();
    }

    /// What waits, in the order in which it came.
    #[must_use]
    pub fn saved(&self) -> Vec<WaitingEntry> {
        let mut entries: Vec<&Entry> = self.heap.iter().map(|Reverse(entry)| entry).collect();
        entries.sort_unstable_by_key(|entry| entry.sequence);
        let saved = |entry: &&Entry| match &entry.due {
            Due::Known(held, due_us) => WaitingEntry::Known {
                partition: held.event.partition,
                at: held.event.position(),
                due_us: *due_us,
                is_bet_on: held.is_bet_on,
            },
            Due::Expired => WaitingEntry::Expired { due_us: entry.due_us },
        };
        entries.iter().map(saved).collect()
    }

    /// The next event whose moment stream time has passed, earliest first.
    pub fn release(&mut self, stream_time_us: i64) -> Option<Due> {
        let Reverse(first) = self.heap.peek()?;
        if first.due_us >= stream_time_us {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.due)
    }
}

impl Entry {
    fn rank(&self) -> (i64, u64) {
        (self.due_us, self.sequence)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

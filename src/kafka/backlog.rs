//! How much has been read and not yet taken, by partition. The reader adds, the operator's thread takes away, and
//! a partition that is over its bound pauses until half of it is worked off.
//!
//! To pause costs: the client drops what it has fetched ahead, and fetches it again. So the reader holds off before it comes to that, where there
//! is [plenty](Backlog::is_plenty) of all partitions.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use super::client::lock;

/// All partitions together hold at most this many rows, and what a message brings beyond them …
pub const MAX_ROWS: usize = 65_536;
/// … and about this many bytes of messages.
pub const MAX_BYTES: usize = 64 << 20;
/// What a row weighs at least, however short its message is: the decoded event.
const ROW_BYTES: usize = 512;

/// Shares of the bounds that are plenty: some ten milliseconds' work. More would lie about until no cache holds it, and each event would have to be
/// fetched from memory when it is taken, …
const PLENTY: f64 = 1.0 / 16.0;
/// … and little.
const LITTLE: f64 = PLENTY / 6.0;
/// A share of fewer rows may be taken within a moment.
const SMALL_ROWS: usize = 1024;

/// Rows read and not yet taken.
#[derive(Debug)]
pub struct Backlog {
    max_rows: usize,
    max_bytes: usize,
    partitions: Mutex<BTreeMap<i32, Partition>>,
}

#[derive(Debug, Default)]
struct Partition {
    /// The rows left of each message and what one weighs, oldest first.
    messages: VecDeque<(usize, usize)>,
    rows: usize,
    bytes: usize,
}

impl Backlog {
    /// An empty backlog with an equal share of the bounds for each of so many partitions.
    #[must_use]
    pub fn new(num_partitions: usize) -> Self {
        let share = num_partitions.max(1);
        Self {
            max_rows: (MAX_ROWS / share).max(64),
            max_bytes: (MAX_BYTES / share).max(1 << 20),
            partitions: Mutex::default(),
        }
    }

    /// Rows were read, out of a message of so many bytes.
    pub fn add(&self, partition: i32, num_rows: usize, message_bytes: usize) {
        let mut partitions = lock(&self.partitions);
        let backlog = partitions.entry(partition).or_default();
        let weight = message_bytes / num_rows.max(1) + ROW_BYTES;
        if num_rows > 0 {
            backlog.messages.push_back((num_rows, weight));
        }
        backlog.rows += num_rows;
        backlog.bytes += weight * num_rows;
    }

    /// Rows were taken, the oldest ones of their partition.
    pub fn remove(&self, partition: i32, num_rows: usize) {
        let mut partitions = lock(&self.partitions);
        let Some(backlog) = partitions.get_mut(&partition) else { return };
        let mut left = num_rows;
        while let Some((rows, weight)) = backlog.messages.front_mut() {
            let taken = left.min(*rows);
            *rows -= taken;
            left -= taken;
            backlog.rows -= taken;
            backlog.bytes -= taken * *weight;
            if *rows > 0 {
                break;
            }
            backlog.messages.pop_front();
        }
    }

    /// Whether the partition is over its bound, and should pause.
    #[must_use]
    pub fn is_full(&self, partition: i32) -> bool {
        self.share_of_bound(partition) >= 1.0
    }

    /// Whether half of the bound is worked off, and the partition should go on.
    #[must_use]
    pub fn has_room(&self, partition: i32) -> bool {
        self.share_of_bound(partition) <= 0.5
    }

    /// Whether there is plenty to take: in all, and of each of these partitions more than a little, so that none
    /// holds up the others. Of partitions with small shares there never is.
    #[must_use]
    pub fn is_plenty(&self, partitions: impl Iterator<Item = i32>) -> bool {
        if self.max_rows < SMALL_ROWS {
            return false;
        }
        let backlogs = lock(&self.partitions);
        let (mut sum, mut num) = (0.0, 0);
        for partition in partitions {
            let share = backlogs.get(&partition).map_or(0.0, |backlog| self.share_of(backlog));
            if share < LITTLE {
                return false;
            }
            (sum, num) = (sum + share, num + 1);
        }
        num > 0 && sum >= PLENTY * f64::from(num)
    }

    /// Rows of all partitions.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        lock(&self.partitions).values().map(|p| p.rows).sum()
    }

    fn share_of_bound(&self, partition: i32) -> f64 {
        lock(&self.partitions).get(&partition).map_or(0.0, |backlog| self.share_of(backlog))
    }

    fn share_of(&self, backlog: &Partition) -> f64 {
        let rows = backlog.rows as f64 / self.max_rows as f64;
        rows.max(backlog.bytes as f64 / self.max_bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_full_at_its_share_of_rows_and_has_room_at_half_of_it() {
        let backlog = Backlog::new(4);
        backlog.add(0, MAX_ROWS / 4 - 1, 0);
        assert!(!backlog.is_full(0));
        backlog.add(0, 1, 0);
        assert!(backlog.is_full(0) && !backlog.is_full(1));
        backlog.remove(0, MAX_ROWS / 8 - 1);
        assert!(!backlog.is_full(0) && !backlog.has_room(0));
        backlog.remove(0, 1);
        assert!(backlog.has_room(0));
    }

    #[test]
    fn there_is_plenty_while_no_partition_is_short() {
        let backlog = Backlog::new(2);
        let plenty = (PLENTY * MAX_ROWS as f64) as usize;
        backlog.add(0, plenty / 2, 0);
        assert!(!backlog.is_plenty([0, 1].into_iter()) && backlog.is_plenty([0].into_iter()));
        backlog.add(1, plenty / 4, 0);
        assert!(!backlog.is_plenty([0, 1].into_iter()), "of one there is more than a little, but not in all");
        backlog.add(1, plenty / 4, 0);
        assert!(backlog.is_plenty([0, 1].into_iter()));
        assert!(!backlog.is_plenty(std::iter::empty()));
        // Of seven in eight there is all that there may be, and one would hold them up.
        let backlog = Backlog::new(8);
        (0..7).for_each(|partition| backlog.add(partition, MAX_ROWS / 8, 0));
        assert!(!backlog.is_plenty(0..8));
        backlog.add(7, plenty / 8 / 6 + 1, 0);
        assert!(backlog.is_plenty(0..8));
    }

    #[test]
    fn a_few_large_messages_fill_it_by_their_bytes() {
        let backlog = Backlog::new(1);
        for _ in 0..64 {
            assert!(!backlog.is_full(0));
            backlog.add(0, 1, 1 << 20);
        }
        assert!(backlog.is_full(0));
        assert_eq!(backlog.num_rows(), 64);
        backlog.remove(0, 64);
        assert!(backlog.has_room(0));
        assert_eq!(backlog.num_rows(), 0);
    }
}

//! How much has been read and not yet taken, by partition. The reader adds, the operator's thread takes away, and
//! a partition that is over its bound pauses until half of it is worked off.
//!
//! To pause costs: the client drops what it has fetched ahead, and fetches it again. So the reader holds off before it comes to that, where there
//! is [plenty](Backlog::is_plenty) of all partitions.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::client::lock;

/// All partitions together hold at most this many rows, and what a message brings beyond them …
pub const MAX_ROWS: usize = 65_536;
/// … and about this many bytes of messages.
pub const MAX_BYTES: usize = 64 << 20;
/// What a row weighs at least, however short its message is: the decoded event.
const ROW_BYTES: usize = 512;

/// The share of the bounds that is plenty: some ten milliseconds' work. More would lie about until no cache holds it, and each event would have to be
/// fetched from memory when it is taken.
const PLENTY: f64 = 1.0 / 16.0;
/// So few rows of a partition may all be taken within a moment, should it come to its turn.
const FEW_ROWS: usize = 512;

/// How long nothing may be taken of plenty before the reader reads on, until partitions are full, and pauses them.
const HOLD_OFF: Duration = Duration::from_secs(1);

/// Records that are taken, of which those of one partition are removed from a backlog together.
#[derive(Debug)]
pub struct Removal<'a> {
    backlog: &'a Backlog,
    partition: i32,
    num_rows: usize,
}

impl<'a> Removal<'a> {
    /// Of none yet.
    #[must_use]
    pub fn new(backlog: &'a Backlog) -> Self {
        Self { backlog, partition: 0, num_rows: 0 }
    }

    /// A row was taken, the oldest one of its partition.
    pub fn take(&mut self, partition: i32) {
        if partition != self.partition {
            self.finish();
            self.partition = partition;
        }
        self.num_rows += 1;
    }

    /// Removes what was taken.
    pub fn finish(&mut self) {
        self.backlog.remove(self.partition, std::mem::take(&mut self.num_rows));
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Rows read and not yet taken.
#[derive(Debug)]
pub struct Backlog {
    max_rows: usize,
    max_bytes: usize,
    taken: AtomicU64,
    partitions: Mutex<BTreeMap<i32, Partition>>,
}

/// Whether to hold off reading: while there is plenty to take, and somebody takes it.
#[derive(Debug, Default)]
pub struct HoldOff {
    /// Since when nothing was taken, and how many rows had been by then; `None` where there was not plenty.
    since: Option<(Instant, u64)>,
}

impl HoldOff {
    /// Whether it goes on at `now`, where so many rows were taken so far.
    pub fn goes_on(&mut self, is_plenty: bool, num_taken: u64, now: Instant) -> bool {
        let begun = self.since.filter(|&(_, before)| before == num_taken).map_or(now, |(since, _)| since);
        self.since = is_plenty.then_some((begun, num_taken));
        is_plenty && now - begun < HOLD_OFF
    }
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
            taken: AtomicU64::new(0),
            partitions: Mutex::default(),
        }
    }

    /// Rows were read, out of a message of so many bytes. Whether the partition [is full](Self::is_full) with them.
    pub fn add(&self, partition: i32, num_rows: usize, message_bytes: usize) -> bool {
        let mut partitions = lock(&self.partitions);
        let backlog = partitions.entry(partition).or_default();
        let weight = message_bytes / num_rows.max(1) + ROW_BYTES;
        if num_rows > 0 {
            backlog.messages.push_back((num_rows, weight));
        }
        backlog.rows += num_rows;
        backlog.bytes += weight * num_rows;
        self.share_of(backlog) >= 1.0
    }

    /// How many rows were taken so far, of all partitions.
    #[must_use]
    pub fn num_taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Rows were taken, the oldest ones of their partition.
    pub fn remove(&self, partition: i32, num_rows: usize) {
        if num_rows == 0 {
            return;
        }
        self.taken.fetch_add(num_rows as u64, Ordering::Relaxed);
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

    /// Whether there is plenty to take: in all, and of each of these partitions more than a few rows, so that none
    /// holds up the others. Of very many partitions there never is.
    #[must_use]
    pub fn is_plenty(&self, partitions: impl Iterator<Item = i32>) -> bool {
        let backlogs = lock(&self.partitions);
        let (mut sum, mut num) = (0.0, 0);
        for partition in partitions {
            let Some(backlog) = backlogs.get(&partition) else { return false };
            let share = self.share_of(backlog);
            // Of large messages few rows are many.
            if backlog.rows < FEW_ROWS && backlog.bytes < self.max_bytes / 2 {
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
        assert!(!backlog.add(0, MAX_ROWS / 4 - 1, 0));
        assert!(!backlog.is_full(0));
        assert!(backlog.add(0, 1, 0));
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
        backlog.add(0, plenty - FEW_ROWS, 0);
        assert!(!backlog.is_plenty([0, 1].into_iter()) && backlog.is_plenty([0].into_iter()));
        backlog.add(1, FEW_ROWS - 1, 0);
        backlog.add(0, 1, 0);
        assert!(!backlog.is_plenty([0, 1].into_iter()), "in all there is, but not of each");
        backlog.add(1, 1, 0);
        assert!(backlog.is_plenty([0, 1].into_iter()));
        backlog.remove(0, 2);
        assert!(!backlog.is_plenty([0, 1].into_iter()), "of each there are more than a few, but not in all");
        assert!(!backlog.is_plenty(std::iter::empty()));
        // Of seven in eight there is all that there may be, and one would hold them up.
        let backlog = Backlog::new(8);
        assert!((0..7).all(|partition| backlog.add(partition, MAX_ROWS / 8, 0)));
        assert!(!backlog.is_plenty(0..8));
        backlog.add(7, FEW_ROWS, 0);
        assert!(backlog.is_plenty(0..8));
        // Large messages, of which a partition never has that many.
        let backlog = Backlog::new(2);
        assert!(!(0..2).any(|partition| backlog.add(partition, 1, MAX_BYTES / 4)));
        assert!(backlog.is_plenty(0..2));
    }

    #[test]
    fn what_is_taken_is_removed_by_partition_and_together() {
        let backlog = Backlog::new(2);
        (0..2).for_each(|partition| assert!(!backlog.add(partition, 10, 0)));
        let mut removal = Removal::new(&backlog);
        [0, 0, 1].into_iter().for_each(|partition| removal.take(partition));
        assert_eq!((backlog.num_taken(), backlog.num_rows()), (2, 18));
        removal.finish();
        assert_eq!((backlog.num_taken(), backlog.num_rows()), (3, 17));
        removal.take(1);
        drop(removal);
        assert_eq!((backlog.num_taken(), backlog.num_rows()), (4, 16));
    }

    #[test]
    fn who_holds_off_does_so_as_long_as_anything_is_taken() {
        let (mut hold_off, begun) = (HoldOff::default(), Instant::now());
        let mut goes_on = |is_plenty, taken, at_ms| {
            hold_off.goes_on(is_plenty, taken, begun + Duration::from_millis(at_ms))
        };
        assert!(goes_on(true, 0, 0) && goes_on(true, 0, 999) && !goes_on(true, 0, 1_000));
        assert!(!goes_on(true, 0, 5_000), "a publisher that waits for a broker takes nothing");
        assert!(goes_on(true, 1, 5_001) && goes_on(true, 1, 6_000) && !goes_on(true, 1, 6_001));
        assert!(goes_on(true, 2, 6_100) && !goes_on(false, 3, 6_200), "there is little left");
        assert!(goes_on(true, 3, 9_000), "what was there before is forgotten");
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

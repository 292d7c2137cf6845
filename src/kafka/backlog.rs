//! How much has been read and is not yet used, by partition: bytes of messages that are not decoded, or records of a replay. Who reads adds, the operator's
//! thread takes away, and a partition that is over its bound pauses until half of it is worked off.
//!
//! To pause costs: the client drops what it has fetched ahead, and fetches it again. So the reader holds off before it comes to that, where there
//! is [plenty](Backlog::is_plenty) of all partitions.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::client::lock;

/// All partitions together hold about this many bytes of messages …
pub const MAX_BYTES: usize = 16 << 20;
/// … and each may hold so many, however many partitions there are.
pub const MIN_SHARE_BYTES: usize = 256 << 10;
/// The same of records.
const MAX_RECORDS: usize = 65_536;
const MIN_SHARE_RECORDS: usize = 64;

/// The share of the bounds that is plenty: some ten milliseconds' work.
const PLENTY: f64 = 1.0 / 16.0;
/// So little of a partition may all be used within a moment, should it come to its turn.
const FEW_BYTES: usize = 128 << 10;

/// How long nothing may be taken of plenty before the reader reads on, until partitions are full, and pauses them.
const HOLD_OFF: Duration = Duration::from_secs(1);

/// What was read and is not yet used.
#[derive(Debug)]
pub struct Backlog {
    /// Of each partition.
    bound: usize,
    num_taken: AtomicU64,
    partitions: Mutex<BTreeMap<i32, usize>>,
}

/// Whether to hold off reading: while there is plenty to take, and somebody takes it.
#[derive(Debug, Default)]
pub struct HoldOff {
    /// Since when nothing was taken, and how many records had been by then; `None` where there was not plenty.
    since: Option<(Instant, u64)>,
}

impl HoldOff {
    /// Whether it goes on at `now`, where so many records were taken so far.
    pub fn goes_on(&mut self, is_plenty: bool, num_taken: u64, now: Instant) -> bool {
        let begun = self.since.filter(|&(_, before)| before == num_taken).map_or(now, |(since, _)| since);
        self.since = is_plenty.then_some((begun, num_taken));
        is_plenty && now - begun < HOLD_OFF
    }
}

impl Backlog {
    /// An empty backlog of messages, with an equal share of the bound for each of so many partitions.
    #[must_use]
    pub fn of_bytes(num_partitions: usize) -> Self {
        Self::new((MAX_BYTES / num_partitions.max(1)).max(MIN_SHARE_BYTES))
    }

    /// An empty backlog of records.
    #[must_use]
    pub fn of_records(num_partitions: usize) -> Self {
        Self::new((MAX_RECORDS / num_partitions.max(1)).max(MIN_SHARE_RECORDS))
    }

    fn new(bound: usize) -> Self {
        Self { bound, num_taken: AtomicU64::new(0), partitions: Mutex::default() }
    }

    /// So much of the partition was read. Whether it [is full](Self::is_full) with that.
    pub fn add(&self, partition: i32, num: usize) -> bool {
        let mut partitions = lock(&self.partitions);
        let backlog = partitions.entry(partition).or_default();
        *backlog += num;
        self.share(*backlog) >= 1.0
    }

    /// So much of it is used.
    pub fn remove(&self, partition: i32, num: usize) {
        if let Some(backlog) = lock(&self.partitions).get_mut(&partition) {
            *backlog = backlog.saturating_sub(num);
        }
    }

    /// A record was taken: whoever holds off sees that something goes on, though a message of many rows may be all that is used for long.
    pub fn note_taken(&self) {
        self.num_taken.fetch_add(1, Ordering::Relaxed);
    }

    /// How many records were taken so far, of all partitions.
    #[must_use]
    pub fn num_taken(&self) -> u64 {
        self.num_taken.load(Ordering::Relaxed)
    }

    /// Whether the partition is over its bound, and should pause.
    #[must_use]
    pub fn is_full(&self, partition: i32) -> bool {
        self.share(self.num(partition)) >= 1.0
    }

    /// Whether half of the bound is worked off, and the partition should go on.
    #[must_use]
    pub fn has_room(&self, partition: i32) -> bool {
        self.share(self.num(partition)) <= 0.5
    }

    /// Whether there are plenty of bytes: in all, and of each of these partitions more than a little, so that none
    /// holds up the others.
    #[must_use]
    pub fn is_plenty(&self, partitions: impl Iterator<Item = i32>) -> bool {
        let backlogs = lock(&self.partitions);
        let (mut sum, mut num) = (0.0, 0);
        for partition in partitions {
            let num_bytes = backlogs.get(&partition).copied().unwrap_or(0);
            if num_bytes < FEW_BYTES {
                return false;
            }
            (sum, num) = (sum + self.share(num_bytes), num + 1);
        }
        num > 0 && sum >= PLENTY * f64::from(num)
    }

    /// How much there is of the partition.
    #[must_use]
    pub fn num(&self, partition: i32) -> usize {
        lock(&self.partitions).get(&partition).copied().unwrap_or(0)
    }

    fn share(&self, num: usize) -> f64 {
        num as f64 / self.bound as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_full_at_its_share_and_has_room_at_half_of_it() {
        let backlog = Backlog::of_bytes(4);
        assert!(!backlog.add(0, MAX_BYTES / 4 - 1));
        assert!(!backlog.is_full(0));
        assert!(backlog.add(0, 1));
        assert!(backlog.is_full(0) && !backlog.is_full(1));
        backlog.remove(0, MAX_BYTES / 8 - 1);
        assert!(!backlog.is_full(0) && !backlog.has_room(0));
        backlog.remove(0, 1);
        assert!(backlog.has_room(0));
        assert_eq!(backlog.num(0), MAX_BYTES / 8);
        let backlog = Backlog::of_records(16);
        assert!(!backlog.add(3, MAX_RECORDS / 16 - 1) && backlog.add(3, 1));
    }

    #[test]
    fn there_is_plenty_while_no_partition_is_short() {
        let backlog = Backlog::of_bytes(2);
        let plenty = (PLENTY * MAX_BYTES as f64) as usize;
        backlog.add(0, plenty - FEW_BYTES);
        assert!(!backlog.is_plenty([0, 1].into_iter()) && backlog.is_plenty([0].into_iter()));
        backlog.add(1, FEW_BYTES - 1);
        backlog.add(0, 1);
        assert!(!backlog.is_plenty([0, 1].into_iter()), "in all there is, but not of each");
        backlog.add(1, 1);
        assert!(backlog.is_plenty([0, 1].into_iter()));
        backlog.remove(0, 2);
        assert!(
            !backlog.is_plenty([0, 1].into_iter()),
            "of each there is more than a little, but not in all"
        );
        assert!(!backlog.is_plenty(std::iter::empty()));
        // Of seven in eight there is all that there may be, and one would hold them up.
        let backlog = Backlog::of_bytes(8);
        assert!((0..7).all(|partition| backlog.add(partition, MAX_BYTES / 8)));
        assert!(!backlog.is_plenty(0..8));
        backlog.add(7, FEW_BYTES);
        assert!(backlog.is_plenty(0..8));
        // So many that each has a small share.
        let backlog = Backlog::of_bytes(1_000);
        assert!(!(0..1_000).any(|partition| backlog.add(partition, MIN_SHARE_BYTES / 2)));
        assert!(backlog.is_plenty(0..1_000));
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
}

//! Flights that come without end while something happens to whoever reads them, and what must have been published of
//! them when all is over.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use serde_json::Value;
use tailwater::{
    flights,
    state::{Progress, topic::StateTopic},
};

use crate::{
    cluster::{Cluster, PATIENCE, Record},
    process::{Process, Setup},
    scores::{places, rows},
    uncrashed::{Uncrashed, follow, left, written_order},
};

/// A flight in so many is spoilt, so that there are rejects too.
const SPOILT: usize = 97;
/// So many records come …
const FEED_RECORDS: usize = 60;
/// … so often.
const FEED_INTERVAL: Duration = Duration::from_millis(30);

/// Flights with the partition that each goes to.
pub fn records(num_partitions: i32) -> impl Iterator<Item = Record> {
    flights::json_records().unwrap().enumerate().map(move |(index, flight)| {
        let flight = flight.unwrap();
        let carrier: Value = serde_json::from_slice(&flight).unwrap();
        let carrier = carrier["carrier"].as_str().unwrap().to_owned();
        let partition = carrier.bytes().map(i32::from).sum::<i32>() % num_partitions;
        let flight = if index % SPOILT == SPOILT - 1 { b"not a flight".to_vec() } else { flight };
        Record::new(partition, flight).with_key(carrier)
    })
}

/// Flights come as long as `act` takes, more than a thousand a second.
pub fn feed_while<T>(setup: &Setup<'_>, act: impl FnOnce() -> T) -> T {
    let num_partitions = setup.cluster.num_partitions(&setup.input);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let fed = scope.spawn(|| {
            let writer = setup.cluster.writer();
            let mut records = records(num_partitions);
            while !stop.load(Ordering::Relaxed) {
                writer.write(&setup.input, records.by_ref().take(FEED_RECORDS)).unwrap();
                thread::sleep(FEED_INTERVAL);
            }
        });
        // An assertion that fails ends the feed too.
        let acted = catch_unwind(AssertUnwindSafe(act));
        stop.store(true, Ordering::Relaxed);
        fed.join().unwrap();
        acted.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Waits until every record of the input is committed.
pub fn wait_until_done(setup: &Setup<'_>, process: &Process) {
    let ends = setup.cluster.ends(&setup.input);
    // A stop before it leads would leave to the next start what the last crash has left to this one.
    process.wait_until_leading();
    let deadline = Instant::now() + 2 * PATIENCE;
    while setup.cluster.committed(&setup.group, &setup.input) != ends {
        assert!(Instant::now() < deadline, "not all is scored; it says:\n{}", process.stderr());
        thread::sleep(Duration::from_millis(50));
    }
}

/// What was published, and found to be right.
pub struct Published {
    pub num_records: usize,
    /// Every progress record, in order.
    pub progress: Vec<Progress>,
    /// The state topic as it ends.
    pub state: StateTopic,
    pub expected: Uncrashed,
}

impl Published {
    /// What the group has come to.
    pub fn last(&self) -> &Progress {
        self.progress.last().unwrap()
    }
}

/// Asserts that of everything committed each record was scored or rejected once, and that every column is to the bit that
/// of a run that nothing ever happened to.
pub fn assert_published_once(setup: &Setup<'_>, sets: &[&str]) -> Published {
    let cluster = setup.cluster;
    let scores = rows(cluster, &setup.output);
    let rejected = rejected(cluster, &setup.rejected);
    let ends = cluster.committed(&setup.group, &setup.input);
    let mut all: Vec<_> = places(&scores).into_iter().chain(rejected.iter().copied()).collect();
    all.sort_unstable();
    let each_once = places_before(&ends);
    assert!(all == each_once, "not every record once: {} of {}", all.len(), each_once.len());
    let (progress, state) = left(cluster, &setup.state);
    let expected = follow(setup, sets, &written_order(&progress));
    assert_eq!(rejected, expected.rejected);
    assert_same("scores", &scores, &expected.scores);
    assert_same("outcomes", &rows(cluster, &setup.outcomes), &expected.outcomes);
    Published { num_records: each_once.len(), progress, state, expected }
}

/// All places before these offsets.
pub fn places_before(ends: &BTreeMap<i32, i64>) -> Vec<(i32, i64)> {
    ends.iter().flat_map(|(&partition, &end)| (0..end).map(move |offset| (partition, offset))).collect()
}

pub fn assert_same(what: &str, found: &RecordBatch, expected: &RecordBatch) {
    assert_eq!(found.num_rows(), expected.num_rows(), "{what}");
    for (field, (found, expected)) in
        expected.schema().fields().iter().zip(found.columns().iter().zip(expected.columns()))
    {
        assert!(found == expected, "{what}: the column {} is another one", field.name());
    }
}

fn rejected(cluster: &Cluster, topic: &str) -> Vec<(i32, i64)> {
    let mut places: Vec<_> = cluster
        .consume(topic)
        .iter()
        .map(|record| {
            let number = |name| record.header(name).unwrap().parse::<i64>().unwrap();
            (number("tailwater-partition") as i32, number("tailwater-offset"))
        })
        .collect();
    places.sort_unstable();
    places
}

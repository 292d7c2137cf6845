//! Flights that come without end while something happens to whoever reads them, and what must have been published of
//! them when all is over.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::take_record_batch,
    ipc::writer::StreamWriter,
};
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
/// Flights to an Arrow message: so many that a commit often finds one that is taken in part.
const ROWS_PER_MESSAGE: usize = 200;
/// How fast flights come, at most.
const FLIGHTS_PER_SECOND: f64 = 2000.0;
/// So many come at a time, at least.
const FLIGHTS_AT_A_TIME: usize = 60;

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

/// Flights as Arrow messages, those of consecutive flights in different partitions: in the order of their times, each message
/// is taken row by row in turn with others.
pub fn arrow_records(num_partitions: i32) -> impl Iterator<Item = Record> {
    let rows = ROWS_PER_MESSAGE * num_partitions as usize;
    let messages = flights::batches(rows).unwrap().flat_map(move |batch| {
        let batch = batch.unwrap();
        (0..num_partitions).map(move |partition| {
            let dealt = UInt32Array::from_iter_values(
                (0..batch.num_rows() as u32).skip(partition as usize).step_by(num_partitions as usize),
            );
            let dealt = take_record_batch(&batch, &dealt).unwrap();
            let mut writer = StreamWriter::try_new(Vec::new(), &dealt.schema()).unwrap();
            writer.write(&dealt).unwrap();
            (partition, writer.into_inner().unwrap())
        })
    });
    messages.enumerate().map(|(index, (partition, message))| {
        let is_spoilt = index % SPOILT == SPOILT - 1;
        Record::new(partition, if is_spoilt { b"no stream".to_vec() } else { message })
    })
}

/// Flights come as long as `act` takes.
pub fn feed_while<T>(setup: &Setup<'_>, act: impl FnOnce() -> T) -> T {
    feed_records_while(setup, records(num_partitions(setup)), 1, act)
}

/// The same as Arrow messages.
pub fn feed_arrow_while<T>(setup: &Setup<'_>, act: impl FnOnce() -> T) -> T {
    feed_records_while(setup, arrow_records(num_partitions(setup)), ROWS_PER_MESSAGE, act)
}

fn num_partitions(setup: &Setup<'_>) -> i32 {
    setup.cluster.num_partitions(&setup.input)
}

fn feed_records_while<T>(
    setup: &Setup<'_>,
    mut records: impl Iterator<Item = Record> + Send,
    flights_per_record: usize,
    act: impl FnOnce() -> T,
) -> T {
    // Arrow: a message for each partition.
    let num_at_a_time = (FLIGHTS_AT_A_TIME / flights_per_record).max(num_partitions(setup) as usize);
    let num_flights = num_at_a_time * flights_per_record;
    let interval = Duration::from_secs_f64(num_flights as f64 / FLIGHTS_PER_SECOND);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let fed = scope.spawn(|| {
            let writer = setup.cluster.writer();
            while !stop.load(Ordering::Relaxed) {
                writer.write(&setup.input, records.by_ref().take(num_at_a_time)).unwrap();
                thread::sleep(interval);
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
    // Rows of one message follow each other. That none of them is there twice is what the last comparison says.
    let mut scored = places(&scores);
    if scores.column_by_name("row").is_some() {
        scored.dedup();
    }
    let mut all: Vec<_> = scored.into_iter().chain(rejected.iter().copied()).collect();
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

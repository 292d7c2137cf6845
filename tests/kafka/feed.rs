//! Flights that come without end while something happens to whoever reads them, and what must have been published of
//! them when all is over.

use std::{
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
use tailwater::{
    flights,
    state::{Progress, topic::StateTopic},
};

use crate::{
    cluster::{Cluster, PATIENCE, Record},
    process::{Process, Setup},
    scores::{places, rows},
    uncrashed::{Uncrashed, follow, left, written_order},
    years,
};

/// A flight in so many is spoilt, so that there are rejects too.
const SPOILT: usize = 97;
/// How fast flights come.
const FLIGHTS_PER_SECOND: f64 = 500.0;
/// So many come at a time.
const FLIGHTS_AT_A_TIME: usize = 60;
/// Flights to an Arrow message of partition 0.
const ROWS_PER_MESSAGE: usize = 200;
/// So many Arrow messages come at first: while such a backlog is worked off, a commit finds messages that are taken in part.
const BACKLOG_MESSAGES: usize = 100;
/// A transaction in so many is taken back.
const TAKEN_BACK: usize = 4;

/// How flights come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// As JSON.
    Json,
    /// As JSON in transactions, some of which are taken back.
    Transactions,
    /// As Arrow messages of many rows, first a backlog of them.
    Arrow,
}

/// Flights with the partition that each goes to.
pub fn records(num_partitions: i32) -> impl Iterator<Item = Record> + Send {
    years::endless().enumerate().map(move |(index, flight)| {
        let carrier = flight["carrier"].as_str().unwrap();
        let partition = carrier.bytes().map(i32::from).sum::<i32>() % num_partitions;
        let value = if index % SPOILT == SPOILT - 1 {
            b"not a flight".to_vec()
        } else {
            serde_json::to_vec(&flight).unwrap()
        };
        Record::new(partition, value).with_key(carrier)
    })
}

/// Flights of one year as Arrow messages, consecutive flights in different partitions. Messages of one partition are a little
/// shorter than those of the one before, so that where one ends the others are in their midst.
fn arrow_records(num_partitions: i32) -> impl Iterator<Item = Record> + Send {
    let num_partitions = num_partitions as usize;
    let rows_of = |partition: usize| ROWS_PER_MESSAGE - 30 * partition;
    let mut batches: Vec<_> =
        (0..num_partitions).map(|p| flights::batches(rows_of(p) * num_partitions).unwrap()).collect();
    let mut num_rows = vec![0; num_partitions];
    let messages = std::iter::from_fn(move || {
        // The partition that is behind goes on.
        let partition = (0..num_partitions).min_by_key(|&p| num_rows[p])?;
        let batch = batches[partition].next()?.unwrap();
        num_rows[partition] += rows_of(partition);
        let dealt = (partition as u32..batch.num_rows() as u32).step_by(num_partitions);
        let dealt = take_record_batch(&batch, &UInt32Array::from_iter_values(dealt)).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &dealt.schema()).unwrap();
        writer.write(&dealt).unwrap();
        Some((partition as i32, writer.into_inner().unwrap()))
    });
    messages.enumerate().map(|(index, (partition, message))| {
        let is_spoilt = index % SPOILT == SPOILT - 1;
        Record::new(partition, if is_spoilt { b"no stream".to_vec() } else { message })
    })
}

/// Flights come as long as `act` takes.
pub fn feed_while<T>(setup: &Setup<'_>, feed: Feed, act: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let fed = scope.spawn(|| write_until(&stop, setup, feed));
        // An assertion that fails ends the feed too.
        let acted = catch_unwind(AssertUnwindSafe(act));
        stop.store(true, Ordering::Relaxed);
        fed.join().unwrap();
        acted.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn write_until(stop: &AtomicBool, setup: &Setup<'_>, feed: Feed) {
    let Setup { cluster, input, .. } = setup;
    let num_partitions = cluster.num_partitions(input);
    let (writer, mut records): (_, Box<dyn Iterator<Item = Record>>) = match feed {
        Feed::Json => (cluster.writer(), Box::new(records(num_partitions))),
        Feed::Transactions => (cluster.transactional_writer(), Box::new(records(num_partitions))),
        Feed::Arrow => (cluster.writer(), Box::new(arrow_records(num_partitions))),
    };
    let (num_records, num_flights) = match feed {
        Feed::Json | Feed::Transactions => (FLIGHTS_AT_A_TIME, FLIGHTS_AT_A_TIME),
        Feed::Arrow => (num_partitions as usize, num_partitions as usize * ROWS_PER_MESSAGE),
    };
    let interval = Duration::from_secs_f64(num_flights as f64 / FLIGHTS_PER_SECOND);
    if feed == Feed::Arrow {
        writer.write(input, records.by_ref().take(BACKLOG_MESSAGES)).unwrap();
    }
    let mut next = Instant::now();
    for num_written in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let chunk: Vec<Record> = records.by_ref().take(num_records).collect();
        assert!(!chunk.is_empty(), "there are no more flights for what takes so long");
        match feed {
            Feed::Json | Feed::Arrow => writer.write(input, chunk).unwrap(),
            Feed::Transactions => {
                writer.write_in_transaction(input, chunk, num_written % TAKEN_BACK != TAKEN_BACK - 1);
            }
        }
        next += interval;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
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
    let mut each_once: Vec<_> =
        cluster.consume(&setup.input).iter().map(|r| (r.partition, r.offset)).collect();
    each_once.sort_unstable();
    // Rows of one message follow each other. That none of them is there twice is what the last comparison says.
    let mut scored = places(&scores);
    if scores.column_by_name("row").is_some() {
        scored.dedup();
    }
    let mut all: Vec<_> = scored.into_iter().chain(rejected.iter().copied()).collect();
    all.sort_unstable();
    assert!(all == each_once, "not every record once: {} of {}", all.len(), each_once.len());
    let (progress, state) = left(cluster, &setup.state);
    let expected = follow(setup, sets, &written_order(&progress));
    assert_eq!(rejected, expected.rejected);
    assert_same("scores", &scores, &expected.scores);
    assert_same("outcomes", &rows(cluster, &setup.outcomes), &expected.outcomes);
    Published { num_records: each_once.len(), progress, state, expected }
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

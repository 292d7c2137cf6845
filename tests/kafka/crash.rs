//! Crashes: the process is killed again and again, at random and at named points, and what it leaves behind is to the bit
//! what a run that never crashed would have published, each score once.
//!
//! `make crash KILLS=100 SEED=1` kills that often; `make test` less.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use serde_json::Value;
use tailwater::{
    crash, flights,
    model::noise::Draws,
    state::{Snapshot, directory::Directory, snapshot},
};

use crate::{
    broker::{Broker, Options},
    cluster::{Cluster, PATIENCE, Record},
    process::{Process, Setup},
    scores::{places, rows},
    uncrashed::{follow, left, written_order},
};

/// Short, so that a crash is noticed soon and much happens between two.
const SETS: [&str; 5] = [
    r#"kafka.properties={"session.timeout.ms"="1000","heartbeat.interval.ms"="200"}"#,
    "state.interval=700ms",
    "delivery.commit=60ms",
    "delivery.timeout=3s",
    "learn.warmup=512",
];
/// A flight in so many is spoilt, so that there are rejects too.
const SPOILT: usize = 97;
/// So many records come …
const FEED_RECORDS: usize = 400;
/// … so often.
const FEED_INTERVAL: Duration = Duration::from_millis(40);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Flights with the partition that each goes to.
fn records(num_partitions: i32) -> impl Iterator<Item = Record> {
    flights::json_records().unwrap().enumerate().map(move |(index, flight)| {
        let flight = flight.unwrap();
        let carrier: Value = serde_json::from_slice(&flight).unwrap();
        let carrier = carrier["carrier"].as_str().unwrap().to_owned();
        let partition = carrier.bytes().map(i32::from).sum::<i32>() % num_partitions;
        let flight = if index % SPOILT == SPOILT - 1 { b"not a flight".to_vec() } else { flight };
        Record::new(partition, flight).with_key(carrier)
    })
}

/// How a life of the process ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Killed so long after it began.
    Early(Duration),
    /// Killed so long after it began to score.
    Scoring(Duration),
    /// By itself, at this point, when it comes there for the nth time.
    At(&'static str, u64),
}

impl End {
    fn draw(seed: u64, life: u64) -> Self {
        let mut draws = Draws::new(seed, life, 0);
        let (kind, amount) = (draws.uniform(), draws.uniform());
        if kind < 0.15 {
            Self::Early(Duration::from_secs_f64(2.5 * amount))
        } else if kind < 0.5 {
            Self::Scoring(Duration::from_secs_f64(1.2 * amount))
        } else {
            let points: Vec<_> = crash::POINTS.into_iter().collect();
            // Each point in turn, so that none is left out.
            let point = points[life as usize % points.len()];
            let most = match point {
                "after_init_before_state" | "after_restore" => 1.0,
                "mid_restore" => 50.0,
                "mid_snapshot" | "snapshot_file_before_rename" => 2.0,
                _ => 8.0,
            };
            Self::At(point, 1 + (most * amount) as u64)
        }
    }

    /// Lets a process live until this end; whether it ended by itself.
    fn await_end(self, process: &mut Process) -> bool {
        match self {
            Self::Early(after) => thread::sleep(after),
            Self::Scoring(after) => {
                process.wait_until_leading();
                thread::sleep(after);
            }
            Self::At(..) => {
                // A point may not be come by: without anything to restore, or without a second part to a snapshot.
                let mut deadline = Instant::now() + PATIENCE;
                let mut is_leading = false;
                while Instant::now() < deadline {
                    if process.has_ended() {
                        return true;
                    }
                    if !is_leading && process.try_role().as_deref() == Some("leading") {
                        is_leading = true;
                        deadline = Instant::now() + Duration::from_secs(3);
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
        process.has_ended()
    }
}

/// Crashes a process so often, and compares what it published with what should have been.
fn crash_and_compare(num_partitions: i32, directory: Option<&Path>, num_kills: u64) {
    let seed = setting("TAILWATER_CRASH_SEED", 1);
    let broker = Broker::start(&Options {
        properties: &[("group.min.session.timeout.ms", "500")],
        ..Options::default()
    });
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, num_partitions);
    let dir = directory.map(|path| format!("state.dir={}", path.display()));
    let sets: Vec<&str> = SETS.into_iter().chain(dir.as_deref()).collect();

    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let mut num_points = 0;
    thread::scope(|scope| {
        // Ends the feed when an assertion fails, too.
        let fed = scope.spawn(|| {
            let mut records = records(num_partitions);
            while !stop.load(Ordering::Relaxed) {
                let next: Vec<_> = records.by_ref().take(FEED_RECORDS).collect();
                cluster.produce(&setup.input, next);
                thread::sleep(FEED_INTERVAL);
            }
        });
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for life in 0..num_kills {
                let end = End::draw(seed, life);
                let mut command = setup.command(&["run"], &sets);
                if let End::At(point, count) = end {
                    command.env("TAILWATER_CRASH_AT", format!("{point}:{count}"));
                }
                let mut process = Process::start(&mut command);
                if end.await_end(&mut process) {
                    assert!(matches!(end, End::At(..)), "{end:?}: it ended by itself:\n{}", process.stderr());
                    assert_eq!(process.exit_code(), None, "{end:?}: it did not crash:\n{}", process.stderr());
                    num_points += 1;
                }
                process.crash();
            }
        }));
        stop.store(true, Ordering::Relaxed);
        fed.join().unwrap();
        killed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let process = setup.start(&sets);
    let ends = cluster.ends(&setup.input);
    let deadline = Instant::now() + 2 * PATIENCE;
    while cluster.committed(&setup.group, &setup.input) != ends {
        assert!(Instant::now() < deadline, "not all is scored; it says:\n{}", process.stderr());
        thread::sleep(Duration::from_millis(50));
    }
    let epoch_and_updates = (process.status()["epoch"].clone(), process.status()["updates"].clone());
    process.stop();
    let took = begun.elapsed();

    let scores = rows(&cluster, &setup.output);
    let rejected = rejected(&cluster, &setup.rejected);
    let (progress, state) = left(&cluster, &setup.state);
    let last = progress.last().unwrap();
    let expected = follow(&setup, &sets, &written_order(&progress));
    let mut all: Vec<_> = places(&scores).into_iter().chain(rejected.iter().copied()).collect();
    all.sort_unstable();
    let each_once: Vec<_> =
        ends.iter().flat_map(|(&partition, &end)| (0..end).map(move |offset| (partition, offset))).collect();
    assert!(all == each_once, "not every record once: {} of {}", all.len(), each_once.len());
    assert_eq!(rejected, expected.rejected);
    assert_same("scores", &scores, &expected.scores);
    assert_same("outcomes", &rows(&cluster, &setup.outcomes), &expected.outcomes);
    let bytes = match directory {
        Some(path) => Directory::new(path, &setup.group).read(last.snapshots[0]).unwrap(),
        None => state.snapshot(last.snapshots[0]).unwrap(),
    };
    let saved = Snapshot::from_bytes(&bytes).unwrap().operator;
    assert_eq!(saved.positions, last.positions, "it was saved where it stopped");
    assert_eq!(snapshot::hash(&saved), expected.hash, "the state is another one");
    println!(
        "{num_partitions} partitions: {num_kills} kills in {took:.0?}, {num_points} of them at named points; {} records, \
         each scored once, {} runs of one partition, {} snapshots; epoch and updates {epoch_and_updates:?}; every column \
         and the state's hash {} as without a crash",
        each_once.len(),
        written_order(&progress).num_runs(),
        last.generation,
        expected.hash,
    );
}

fn assert_same(what: &str, found: &RecordBatch, expected: &RecordBatch) {
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

/// Promises 4 and 6.
#[test]
fn no_crash_changes_a_bit_of_what_is_published_from_one_partition() {
    crash_and_compare(1, None, setting("TAILWATER_CRASH_KILLS", 9));
}

#[test]
fn no_crash_changes_a_bit_of_what_is_published_from_four_partitions() {
    crash_and_compare(4, None, setting("TAILWATER_CRASH_KILLS", 9));
}

#[test]
fn no_crash_changes_a_bit_where_the_state_is_kept_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    crash_and_compare(2, Some(directory.path()), setting("TAILWATER_CRASH_KILLS", 9).div_ceil(2));
}

//! Crashes: the process is killed again and again, at random and at named points, and what it leaves behind is to the bit
//! what a run that never crashed would have published, each score once.
//!
//! `make crash KILLS=100 SEED=1` kills that often; `make test` less.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tailwater::{
    crash,
    model::noise::Draws,
    state::{Progress, Snapshot, directory::Directory, snapshot},
};

use crate::{
    broker::{Broker, Options},
    cluster::{Cluster, PATIENCE},
    feed::{Feed, Published, assert_published_once, feed_while, wait_until_done},
    process::{Process, Setup, setting},
    uncrashed::written_order,
};

/// Short, so that a crash is noticed soon and much happens between two.
pub const SETS: [&str; 7] = [
    r#"kafka.properties={"session.timeout.ms"="1000","heartbeat.interval.ms"="200"}"#,
    "state.interval=700ms",
    "delivery.commit=60ms",
    "delivery.timeout=3s",
    "learn.warmup=512",
    "learn.steps=2", // so that a step is on records that were learned from before
    r#"score.calibrate="online""#,
];

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
            let points = crash::POINTS.len() as f64;
            let point = crash::POINTS[(draws.uniform() * points) as usize];
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

/// What is crashed.
struct Case<'a> {
    num_partitions: i32,
    /// Where the state is kept, if not in its topic.
    directory: Option<&'a Path>,
    feed: Feed,
    num_kills: u64,
}

/// A broker that notices soon that a member is gone.
pub fn broker() -> Broker {
    Broker::start(&Options { properties: &[("group.min.session.timeout.ms", "500")], ..Options::default() })
}

/// Crashes a process so often while flights come; how many of the crashes were at named points.
pub fn crash_while_fed(setup: &Setup<'_>, feed: Feed, sets: &[&str], num_kills: u64) -> u64 {
    let seed = setting("TAILWATER_CRASH_SEED", 1);
    let mut num_points = 0;
    feed_while(setup, feed, || {
        for life in 0..num_kills {
            let end = match (feed, life) {
                // In the midst of the backlog.
                (Feed::Arrow, 0) => End::At("after_commit", 3),
                _ => End::draw(seed, life),
            };
            let mut command = setup.command(&["run"], sets);
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
    });
    num_points
}

/// Crashes a process so often, and compares what it published with what should have been.
fn crash_and_compare(case: &Case<'_>) {
    let &Case { num_partitions, directory, feed, num_kills } = case;
    let broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, num_partitions);
    let dir = directory.map(|path| format!("state.dir={}", path.display()));
    let format = if feed == Feed::Arrow { "input.format=arrow" } else { "input.format=json" };
    let sets: Vec<&str> = SETS.into_iter().chain([format]).chain(dir.as_deref()).collect();

    let begun = Instant::now();
    let num_points = crash_while_fed(&setup, feed, &sets, num_kills);
    let process = setup.start(&sets);
    wait_until_done(&setup, &process);
    let epoch_and_updates = (process.status()["epoch"].clone(), process.status()["updates"].clone());
    process.stop();
    let took = begun.elapsed();

    let Published { num_records, progress, state, expected } = assert_published_once(&setup, &sets);
    if feed == Feed::Arrow {
        let mut crashed = progress.windows(2).filter(|two| two[0].term < two[1].term);
        let is_in_part = |progress: &Progress| progress.positions.values().any(|at| at.row > 0);
        assert!(crashed.any(|two| is_in_part(&two[0])), "no crash came while a message was taken in part");
    }
    let last = progress.last().unwrap();
    let bytes = match directory {
        Some(path) => Directory::new(path, &setup.group).read(last.snapshots[0]).unwrap(),
        None => state.snapshot(last.snapshots[0]).unwrap(),
    };
    let saved = Snapshot::from_bytes(&bytes).unwrap().operator;
    assert_eq!(saved.positions, last.positions, "it was saved where it stopped");
    assert_eq!(snapshot::hash(&saved), expected.hash, "the state is another one");
    println!(
        "{feed:?}, {num_partitions} partitions: {num_kills} kills in {took:.0?}, {num_points} of them at named points; {num_records} \
         messages, each scored or rejected once, {} runs of one partition, {} snapshots; epoch and updates {epoch_and_updates:?}; every column \
         and the state's hash {} as without a crash",
        written_order(&progress).num_runs(),
        last.generation,
        expected.hash,
    );
}

fn num_kills() -> u64 {
    setting("TAILWATER_CRASH_KILLS", 9)
}

/// Promises 4 and 6.
#[test]
fn no_crash_changes_a_bit_of_what_is_published_from_one_partition() {
    let num_kills = num_kills();
    crash_and_compare(&Case { num_partitions: 1, directory: None, feed: Feed::Json, num_kills });
}

#[test]
fn no_crash_changes_a_bit_of_what_is_published_from_four_partitions() {
    let num_kills = num_kills();
    crash_and_compare(&Case { num_partitions: 4, directory: None, feed: Feed::Json, num_kills });
}

#[test]
fn no_crash_changes_a_bit_where_the_state_is_kept_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (directory, num_kills) = (Some(directory.path()), num_kills().div_ceil(2));
    crash_and_compare(&Case { num_partitions: 2, directory, feed: Feed::Json, num_kills });
}

/// A crash leaves messages that were taken in part.
#[test]
fn no_crash_changes_a_bit_where_messages_hold_many_rows() {
    let num_kills = num_kills().div_ceil(2);
    crash_and_compare(&Case { num_partitions: 2, directory: None, feed: Feed::Arrow, num_kills });
}

/// What writes the input uses transactions too: their markers, and what they took back, have places.
#[test]
fn no_crash_changes_a_bit_where_the_input_is_written_in_transactions() {
    let num_kills = num_kills().div_ceil(2);
    crash_and_compare(&Case { num_partitions: 2, directory: None, feed: Feed::Transactions, num_kills });
}

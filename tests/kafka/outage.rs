//! Brokers that go and come back, a disk that takes nothing, and an end in the middle of a backlog.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use arrow::{compute::concat_batches, datatypes::UInt64Type};
use tailwater::state::Snapshot;

use crate::{
    broker::{Broker, Options},
    cluster::Cluster,
    faults::told,
    feed::{Feed, assert_published_once, assert_same, feed_while, records, wait_until_done},
    process::{Process, Setup, setting},
    scores::{column, places, rows},
    uncrashed::{follow, left, written_order},
};

/// Transactions that are short, and snapshots that come often.
const SETS: [&str; 4] =
    ["state.interval=700ms", "delivery.commit=60ms", "delivery.timeout=8s", "learn.warmup=512"];

fn broker() -> Broker {
    Broker::start(&Options { properties: &[("group.min.session.timeout.ms", "500")], ..Options::default() })
}

fn num_committed(process: &Process) -> u64 {
    process.metric("tailwater_transactions_total{result=\"committed\"}") as u64
}

fn wait_until_committing(process: &Process) {
    let before = num_committed(process);
    process.wait_until("committing", |process| num_committed(process) >= before + 10);
}

/// Kills the broker `TAILWATER_OUTAGES` times in a row.
fn outages(session: &str) {
    let mut broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 2);
    let sets = [&SETS[..], &[session]].concat();
    let num_outages = setting("TAILWATER_OUTAGES", 3);
    let process = feed_while(&setup, Feed::Json, || {
        let mut process = setup.start(&sets);
        for outage in 0..num_outages {
            wait_until_committing(&process);
            broker.kill();
            let killed = Instant::now();
            // It is up in 4 s or so; every third outage outlasts a transaction and whoever asks for topics.
            thread::sleep(Duration::from_secs(8 * u64::from(outage % 3 == 2)));
            broker.start_again();
            let (up, before) = (Instant::now(), num_committed(&process));
            process.wait_until("committing again", |process| num_committed(process) > before);
            println!(
                "outage {}: {:.1} s without a broker; the next commit came {:.1} s after it was back",
                outage + 1,
                (up - killed).as_secs_f64(),
                up.elapsed().as_secs_f64()
            );
            process.wait_until_leading();
            assert!(!process.has_ended(), "{}", process.stderr());
        }
        process
    });
    wait_until_done(&setup, &process);
    let stderr = process.stop();
    let published = assert_published_once(&setup, &sets);
    println!("{num_outages} outages, {} records, {} terms", published.num_records, published.last().term);
    // librdkafka has dozens of errors a second for a broker that is away.
    let num_told = stderr.matches("going on by itself").count();
    assert!(num_told <= 8 * num_outages as usize, "{num_told} warnings: {stderr}");
}

#[test]
fn a_start_while_the_broker_is_away_waits_for_it() {
    let mut broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 1);
    broker.kill();
    let process = setup.start(&SETS);
    process.wait_until("told", |process| !process.status()["last_error"].is_null());
    assert_eq!(process.role(), "starting");
    broker.start_again();
    process.wait_until_leading();
    process.stop();
}

/// Promise 4, where the lease is lost each time.
#[test]
fn a_broker_that_is_killed_again_and_again_costs_a_wait_and_nothing_else() {
    outages(r#"kafka.properties={"session.timeout.ms"="2000","heartbeat.interval.ms"="200"}"#);
}

/// The same where the transaction is still open when the broker is back, and the lease is still held.
#[test]
fn a_broker_that_is_back_before_it_is_missed_costs_a_wait_and_nothing_else() {
    outages(r#"kafka.properties={"session.timeout.ms"="30000"}"#);
}

/// Promise 4, and what an end in good order is for.
#[test]
fn a_stop_in_a_backlog_saves_the_state_and_the_next_start_learns_nothing_again() {
    const NUM_RECORDS: usize = 120_000;
    let broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 2);
    cluster.produce(&setup.input, records(2).take(NUM_RECORDS));
    // Saved at the first commit, and then only when it ends.
    let sets = ["learn.warmup=512", "state.interval=1h"];
    let process = setup.start(&sets);
    process.wait_until_scored(10_000);
    let begun = Instant::now();
    let stderr = process.stop();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(30), "longer than delivery.drain: {took:?}");
    let committed: i64 = cluster.committed(&setup.group, &setup.input).values().sum();
    assert!((10_000..NUM_RECORDS as i64).contains(&committed), "{committed} is not in the middle of it");
    let (progress, state) = left(&cluster, &setup.state);
    let last = progress.last().unwrap();
    assert_eq!(last.order.num_runs(), 0, "something was taken after the last snapshot; {stderr}");
    let snapshot = Snapshot::from_bytes(&state.snapshot(last.snapshots[0]).unwrap()).unwrap();
    assert_eq!(snapshot.operator.positions, last.positions);
    let updates = snapshot.operator.model.learner.updates;
    assert!(updates > 0);

    let process = setup.start(&sets);
    process.wait_until("restored", |process| process.stderr().contains("restored: scoring begins"));
    let told = format!("updates={updates} ");
    assert!(process.stderr().contains(&told), "no {told}in:\n{}", process.stderr());
    wait_until_done(&setup, &process);
    process.stop();
    let published = assert_published_once(&setup, &sets);
    assert_eq!(published.num_records, NUM_RECORDS);
    println!(
        "stopped {:.2} s after it was asked to, {committed} records into the backlog",
        took.as_secs_f64()
    );
}

#[test]
fn a_directory_that_cannot_be_written_to_is_told_before_anything_is_scored() {
    let broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for dir in [file.clone(), file.join("below")] {
        let finished = setup.finish(&["run"], &[&format!("state.dir={}", dir.display())]);
        let lines = told(&finished, 1);
        assert_eq!(lines.len(), 1, "{finished:?}");
        let begin = format!("tailwater: state.dir {}: ", dir.display());
        assert!(lines[0].starts_with(&begin), "{finished:?}");
        assert!(
            lines[0].ends_with("; make it writable and give it room, or correct state.dir"),
            "{finished:?}"
        );
    }
    assert_eq!(cluster.committed(&setup.group, &setup.input).len(), 0);
}

/// A directory that a test may take away.
struct Disk<'a> {
    path: &'a Path,
    aside: &'a Path,
}

impl Disk<'_> {
    /// From now on nothing can be written to it.
    fn fail(&self) {
        fs::rename(self.path, self.aside).unwrap();
        fs::write(self.path, "").unwrap();
    }

    fn mend(&self) {
        fs::remove_file(self.path).unwrap();
        fs::rename(self.aside, self.path).unwrap();
    }
}

fn wait_until_unsaved_for(process: &Process, age_s: f64) {
    let before = process.num_scored();
    process.wait_until("unsaved for long", |p| p.metric("tailwater_state_age_seconds") > age_s);
    let failed = process.stderr().matches("the state could not be saved; trying again").count();
    assert!(failed >= 2, "{failed} tries; it says:\n{}", process.stderr());
    let error = process.status()["last_error"]["message"].to_string();
    assert!(error.contains("the state could not be saved: state.dir "), "{error}");
    assert!(process.num_scored() > before, "the stream does not go on; it says:\n{}", process.stderr());
    assert_eq!(process.role(), "leading");
}

#[test]
fn a_disk_that_fails_stops_nothing_and_costs_no_bit() {
    let broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 2);
    let folder = tempfile::tempdir().unwrap();
    let [path, aside] = ["state", "aside"].map(|name| folder.path().join(name));
    let disk = Disk { path: &path, aside: &aside };
    let dir = format!("state.dir={}", path.display());
    let sets = [&SETS[..], &[&dir]].concat();
    let process = feed_while(&setup, Feed::Json, || {
        let process = setup.start(&sets);
        wait_until_committing(&process);
        disk.fail();
        wait_until_unsaved_for(&process, 3.0);
        disk.mend();
        process.wait_until("saved", |process| process.metric("tailwater_state_age_seconds") < 1.0);
        disk.fail();
        wait_until_unsaved_for(&process, 3.0);
        process.crash();
        disk.mend();
        let process = setup.start(&sets);
        wait_until_committing(&process);
        process
    });
    wait_until_done(&setup, &process);
    process.stop();
    assert_published_once(&setup, &sets);
}

/// What is promised where transactions are not wanted.
#[test]
fn at_least_once_a_crash_repeats_the_last_scores_and_forgets_nothing() {
    const NUM_RECORDS: usize = 60_000;
    let broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 1);
    cluster.produce(&setup.input, records(1).take(NUM_RECORDS));
    let sets = [&SETS[..], &["delivery.guarantee=at-least-once"]].concat();
    let mut command = setup.command(&["run"], &sets);
    // All is published but the record that says so: what came since the commit before comes again.
    command.env("TAILWATER_CRASH_AT", "after_produce_before_offsets:10");
    let (code, stderr) = Process::start(&mut command).wait();
    assert_eq!(code, None, "it did not crash; it says:\n{stderr}");
    let committed = cluster.committed(&setup.group, &setup.input)[&0];
    assert!((1..NUM_RECORDS as i64).contains(&committed), "{committed} is not in the middle of it");

    let process = setup.start(&sets);
    wait_until_done(&setup, &process);
    let stderr = process.stop();
    let all = rows(&cluster, &setup.output);
    let places = places(&all);
    // The second life begins where the places don't go on.
    let num_before = 1 + places.windows(2).position(|two| two[1] <= two[0]).expect("something comes again");
    let (before, again) = (all.slice(0, num_before), all.slice(num_before, all.num_rows() - num_before));
    let first_again = places[num_before];
    assert!(first_again >= (0, committed), "{first_again:?} was committed at {committed}; {stderr}");
    let first_rows = places[..num_before].partition_point(|place| *place < first_again);
    let num_repeated = num_before - first_rows;
    // Taken together they are one run without a gap.
    let once = concat_batches(&all.schema(), [&before.slice(0, first_rows), &again]).unwrap();
    let (progress, _) = left(&cluster, &setup.state);
    let expected = follow(&setup, &sets, &written_order(&progress));
    assert_same("scores", &once, &expected.scores);
    // What is repeated is the same to the bit, too.
    let repeated = again.slice(0, num_repeated);
    assert_same("repeated scores", &before.slice(first_rows, num_repeated), &repeated);
    let updates = column::<UInt64Type>(&once, "updates");
    assert!(updates.is_sorted() && updates[first_rows] > 0, "the model began anew");
    println!(
        "at least once: {num_repeated} of {} scores twice, from offset {}",
        once.num_rows(),
        first_again.1
    );
}

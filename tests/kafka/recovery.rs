//! Starting again where something is not as it was left.

use std::{fs, thread, time::Duration};

use arrow::{array::AsArray, datatypes::UInt64Type};
use tailwater::{
    flights,
    state::{Progress, Snapshot, topic},
};

use crate::{
    cluster::{Cluster, Record},
    faults::told,
    process::{Finished, Process, Setup},
    scores::{column, first_places, places, rows},
    uncrashed::{follow, left, written_order},
};

const SETS: [&str; 2] = ["state.interval=200ms", "learn.warmup=512"];
const NUM_FLIGHTS: usize = 20_000;

fn flights(range: std::ops::Range<usize>) -> Vec<Record> {
    let flights = flights::json_records().unwrap().skip(range.start).take(range.len());
    flights.map(|flight| Record::new(0, flight.unwrap())).collect()
}

/// A group that has scored the first flights and has ended in good order.
fn setup(cluster: &Cluster) -> Setup<'_> {
    let setup = Setup::new(cluster, 1);
    cluster.produce(&setup.input, flights(0..NUM_FLIGHTS));
    run(&setup, &SETS, NUM_FLIGHTS);
    setup
}

/// Runs until all of the input is committed; gives what the process said.
fn run(setup: &Setup<'_>, sets: &[&str], end: usize) -> String {
    let process = setup.start(sets);
    wait_until_at(setup, &process, end);
    process.stop()
}

fn wait_until_at(setup: &Setup<'_>, process: &Process, end: usize) {
    process.wait_until("at the end", |_| {
        setup.cluster.committed(&setup.group, &setup.input).get(&0) == Some(&(end as i64))
    });
}

/// Goes on with more flights, and asserts that all of them are scored once, as if nothing had happened.
fn goes_on(setup: &Setup<'_>, sets: &[&str]) -> String {
    setup.cluster.produce(&setup.input, flights(NUM_FLIGHTS..NUM_FLIGHTS + 5_000));
    let told = run(setup, sets, NUM_FLIGHTS + 5_000);
    assert_unbroken(setup, NUM_FLIGHTS + 5_000);
    told
}

/// Asserts that the first flights were scored once each, to the bit as by a run that never stopped.
fn assert_unbroken(setup: &Setup<'_>, num_flights: usize) {
    let scores = rows(setup.cluster, &setup.output);
    assert!(places(&scores) == first_places(num_flights), "each once, in order");
    let (progress, _) = left(setup.cluster, &setup.state);
    let expected = follow(setup, &SETS, &written_order(&progress));
    assert!(scores.columns() == expected.scores.columns(), "the scores are others");
    assert!(rows(setup.cluster, &setup.outcomes).columns() == expected.outcomes.columns());
}

/// The lines of a run that is to fail.
fn fails(setup: &Setup<'_>, sets: &[&str]) -> String {
    let finished: Finished = setup.finish(&["run"], &[&SETS, sets].concat());
    told(&finished, 1).join("\n")
}

/// The last progress record of a group.
fn progress(setup: &Setup<'_>) -> Progress {
    left(setup.cluster, &setup.state).0.pop().unwrap()
}

fn put_state(setup: &Setup<'_>, key: &str, value: Vec<u8>) {
    setup.cluster.produce(&setup.state, [Record::new(0, value).with_key(key)]);
}

#[test]
fn a_restart_goes_on_to_the_bit_and_learns_nothing_again() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    assert_eq!(progress(&setup).order.num_runs(), 0, "the last snapshot is of the very end");
    goes_on(&setup, &SETS);
}

#[test]
fn a_change_that_needs_a_new_model_is_refused_and_begins_one_when_it_is_told_to() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    let lines = fails(&setup, &["model.hidden=[16]"]);
    assert!(lines.contains("model.hidden: was [16, 16], is [16]"), "{lines}");
    assert!(lines.contains("--set state.on_mismatch=fresh"), "{lines}");
    cluster.produce(&setup.input, flights(NUM_FLIGHTS..NUM_FLIGHTS + 5_000));
    let sets = [&SETS[..], &["model.hidden=[16]", "state.on_mismatch=fresh"]].concat();
    let stderr = run(&setup, &sets, NUM_FLIGHTS + 5_000);
    assert!(stderr.contains("a new model begins"), "{stderr}");
    // Params of another width: the tables of both models can't be one.
    let messages = cluster.consume(&setup.output);
    let epochs: Vec<u32> = messages
        .iter()
        .flat_map(|message| {
            let batch = crate::scores::batch(message);
            column::<arrow::datatypes::UInt32Type>(&batch, "epoch")
        })
        .collect();
    assert_eq!(epochs.len(), NUM_FLIGHTS + 5_000);
    assert!(epochs[..NUM_FLIGHTS].iter().all(|&epoch| epoch == 1));
    assert!(epochs[NUM_FLIGHTS..].iter().all(|&epoch| epoch == 2));
    // From now on it is the new model's config that fits.
    let lines = fails(&setup, &[]);
    assert!(lines.contains("model.hidden: was [16], is [16, 16]"), "{lines}");
}

#[test]
fn a_change_that_is_noted_goes_on_with_the_model() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    cluster.produce(&setup.input, flights(NUM_FLIGHTS..NUM_FLIGHTS + 5_000));
    let sets = [&SETS[..], &["learn.rate=5e-4", "learn.batch=64"]].concat();
    let stderr = run(&setup, &sets, NUM_FLIGHTS + 5_000);
    assert!(stderr.contains("learn.rate: was 0.001, is 0.0005"), "{stderr}");
    let scores = rows(&cluster, &setup.output);
    assert!(places(&scores) == first_places(NUM_FLIGHTS + 5_000));
    let updates = column::<UInt64Type>(&scores, "updates");
    assert!(updates.is_sorted() && updates[NUM_FLIGHTS] > 0, "the model goes on");
}

#[test]
fn offsets_that_were_reset_by_hand_stop_the_start_and_the_remedy_helps() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    cluster.commit(&setup.group, &setup.input, 0, 5_000);
    let lines = fails(&setup, &[]);
    assert!(lines.contains("is 5000, and the state's is 20000"), "{lines}");
    let remedy = format!("--topic {}:0 --reset-offsets --to-offset 20000 --execute", setup.input);
    assert!(lines.contains(&remedy), "{lines}");
    // What that command does.
    cluster.commit(&setup.group, &setup.input, 0, NUM_FLIGHTS as i64);
    goes_on(&setup, &SETS);
}

#[test]
fn offsets_that_have_expired_are_written_anew_from_the_state() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    cluster.delete_group(&setup.group);
    assert_eq!(cluster.committed(&setup.group, &setup.input).len(), 0);
    let process = setup.start(&SETS);
    process.wait_until("at the end", |_| {
        cluster.committed(&setup.group, &setup.input).get(&0) == Some(&(NUM_FLIGHTS as i64))
    });
    process.stop();
    goes_on(&setup, &SETS);
}

#[test]
fn input_that_retention_has_removed_unscored_stops_the_start_with_the_remedy() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    cluster.produce(&setup.input, flights(NUM_FLIGHTS..NUM_FLIGHTS + 5_000));
    cluster.delete_records(&setup.input, 0, NUM_FLIGHTS as i64 + 1_000);
    let lines = fails(&setup, &[]);
    assert!(lines.contains("begins at offset 21000 and is needed from 20000 on"), "{lines}");
    assert!(lines.contains("retention.ms") && lines.contains("state.on_mismatch=fresh"), "{lines}");
    let sets = [&SETS[..], &["state.on_mismatch=fresh"]].concat();
    run(&setup, &sets, NUM_FLIGHTS + 5_000);
    assert_eq!(rows(&cluster, &setup.output).num_rows(), NUM_FLIGHTS + 4_000);
}

/// What writes the input may use transactions too. Their markers, and what they took back, have offsets and are no records.
#[test]
fn an_input_of_transactions_leaves_no_lag_and_when_it_has_expired_nothing_was_lost() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    cluster.produce_in_transaction(&setup.input, flights(0..5_000), true);
    cluster.produce_in_transaction(&setup.input, flights(0..100), false);
    // 5,000 flights, a marker, 100 that were taken back, and another marker.
    let end = 5_102;
    let process = setup.start(&SETS);
    wait_until_at(&setup, &process, end);
    assert_eq!(cluster.ends(&setup.input)[&0], end as i64);
    let num_committed =
        |process: &Process| process.metric("tailwater_transactions_total{result=\"committed\"}");
    // The last one saves the state.
    thread::sleep(Duration::from_secs(1));
    let before = num_committed(&process);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(num_committed(&process), before, "it commits though nothing comes");
    process.stop();
    cluster.delete_records(&setup.input, 0, end as i64);
    cluster.produce_in_transaction(&setup.input, flights(5_000..6_000), true);
    run(&setup, &SETS, end + 1_000 + 1);
    let mut expected = first_places(5_000);
    expected.extend((end..end + 1_000).map(|offset| (0, offset as i64)));
    assert!(places(&rows(&cluster, &setup.output)) == expected);
}

#[test]
fn events_that_wait_and_are_gone_from_the_input_do_not_stop_the_start() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    cluster.delete_records(&setup.input, 0, NUM_FLIGHTS as i64);
    cluster.produce(&setup.input, flights(NUM_FLIGHTS..NUM_FLIGHTS + 5_000));
    let stderr = run(&setup, &SETS, NUM_FLIGHTS + 5_000);
    assert!(stderr.contains("their targets are given up"), "{stderr}");
    assert!(places(&rows(&cluster, &setup.output)) == first_places(NUM_FLIGHTS + 5_000));
}

#[test]
fn a_corrupt_snapshot_is_told_and_the_one_before_it_used_to_the_bit() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    let named = progress(&setup).snapshots;
    let (_, state) = left(&cluster, &setup.state);
    let mut bytes = state.snapshot(named[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let part = format!("snapshot-{}-0", named[0].generation % 3);
    put_state(&setup, &part, bytes[..topic::PART_BYTES.min(bytes.len())].to_vec());
    let stderr = goes_on(&setup, &SETS);
    let told = format!("snapshot number {}: it is corrupt", named[0].generation);
    assert!(stderr.contains(&told), "{stderr}");
}

#[test]
fn when_no_snapshot_can_be_used_nothing_is_scored_and_the_way_out_is_told() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    for named in progress(&setup).snapshots {
        put_state(&setup, &format!("snapshot-{}", named.generation % 3), b"nonsense".to_vec());
    }
    let lines = fails(&setup, &[]);
    assert!(lines.contains("none of the saved snapshots can be used"), "{lines}");
    assert!(lines.contains("it is no manifest of tailwater's"), "{lines}");
    assert_eq!(rows(&cluster, &setup.output).num_rows(), NUM_FLIGHTS);
}

#[test]
fn the_state_of_a_newer_version_or_of_another_group_is_told_apart() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    let other = Setup { state: setup.state.clone(), ..Setup::on_input(&cluster, &setup.input) };
    let lines = fails(&other, &["state.on_mismatch=fresh"]);
    assert!(lines.contains(&format!("holds the state of group '{}'", setup.group)), "{lines}");
    let mut bytes = progress(&setup).to_bytes();
    bytes[9] = 9; // the version, which comes before everything that another one may write otherwise
    put_state(&setup, "progress", bytes);
    let lines = fails(&setup, &[]);
    assert!(lines.contains("a newer tailwater wrote it (format 9"), "{lines}");
}

#[test]
fn a_group_without_state_starts_from_the_file_that_it_is_told() {
    let cluster = Cluster::connect();
    let first = setup(&cluster);
    let (progress, state) = left(&cluster, &first.state);
    let bytes = state.snapshot(progress.last().unwrap().snapshots[0]).unwrap();
    let updates = Snapshot::from_bytes(&bytes).unwrap().operator.model.learner.updates;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history.state");
    fs::write(&file, &bytes).unwrap();

    let setup = Setup::new(&cluster, 1);
    cluster.produce(&setup.input, flights(NUM_FLIGHTS..NUM_FLIGHTS + 2_000));
    let initial = format!("state.initial={}", file.display());
    run(&setup, &[&SETS[..], &[initial.as_str()]].concat(), 2_000);
    let scores = rows(&cluster, &setup.output);
    assert_eq!(column::<UInt64Type>(&scores, "updates")[0], updates, "it goes on with that model");
    let status = scores.column_by_name("status").unwrap().as_string::<i32>();
    assert!(status.iter().all(|status| status == Some("ok")), "there is no warm-up");

    // The file doesn't matter once there is a state; without learning the model stays as it is.
    fs::remove_file(&file).unwrap();
    cluster.produce(&setup.input, flights(NUM_FLIGHTS + 2_000..NUM_FLIGHTS + 4_000));
    run(&setup, &[&SETS[..], &[initial.as_str(), "learn.enabled=false"]].concat(), 4_000);
    let all = column::<UInt64Type>(&rows(&cluster, &setup.output), "updates");
    assert!(all[2_000..].iter().all(|&updates| updates == all[2_000]) && all[2_000] >= all[1_999]);

    let nothing = Setup::on_input(&cluster, &setup.input);
    let lines = fails(&nothing, &["learn.enabled=false"]);
    assert!(lines.contains("there is no saved model to score with"), "{lines}");
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let lines = fails(&nothing, &[&initial]);
    assert!(lines.contains("history.state: it is truncated"), "{lines}");
}

#[test]
fn a_restore_can_be_interrupted_and_the_next_one_ends_it() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    cluster.produce(&setup.input, flights(0..150_000));
    // Only the first commit saves the state, so that all has to be learned again.
    let sets = ["state.interval=1h", "learn.warmup=512"];
    let process = setup.start(&sets);
    process.wait_until_scored(100_000);
    process.crash();
    let process = setup.start(&sets);
    process.wait_until("restoring", |process| process.status()["restoring"]["records"].as_u64() > Some(0));
    assert_eq!((process.role().as_str(), process.get("/readyz").0), ("restoring", 503));
    assert_eq!((process.get("/startupz").0, process.get("/livez").0), (200, 200));
    let committed = cluster.committed(&setup.group, &setup.input);
    let begun = std::time::Instant::now();
    process.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(cluster.committed(&setup.group, &setup.input), committed, "nothing was done meanwhile");
    run(&setup, &sets, 150_000);
    assert_unbroken(&setup, 150_000);
}

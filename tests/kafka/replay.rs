//! A replay of a topic's range beside the live run over the same records.

use std::{collections::HashMap, fs::File, path::Path, process::Command};

use arrow::{
    array::{Array, AsArray, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::Float64Type,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tailwater::flights;

use crate::{
    cluster::{Cluster, Record},
    process::{Finished, Setup},
    scores::{places, rows},
};

const NUM_FLIGHTS: usize = 12_000;
/// A warm-up that leaves most of the flights to the net, and the shortfalls that the example leaves out.
const SETS: [&str; 2] = ["learn.warmup=512", "score.shortfall=[0.9, 0.99]"];

/// Flights by carrier on so many partitions, sent at the times of their departures.
fn produce(cluster: &Cluster, topic: &str, partitions: i32) {
    let flights = flights::json_records().unwrap().take(NUM_FLIGHTS).map(|flight| {
        let flight = flight.unwrap();
        let read: Value = serde_json::from_slice(&flight).unwrap();
        let partition = read["carrier"].as_str().unwrap().bytes().map(i32::from).sum::<i32>() % partitions;
        Record::new(partition, flight).with_timestamp_ms(read["departed_at"].as_i64().unwrap() * 1_000)
    });
    cluster.produce(topic, flights);
}

fn replay(setup: &Setup<'_>, out: &Path, more: &[&str]) -> Finished {
    let mut command: Command = setup.command(&["replay"], &SETS);
    command.arg("--out").arg(out).args(more);
    Finished::of(&mut command)
}

/// The scores of a replay, by partition and offset.
fn replayed(out: &Path) -> RecordBatch {
    let file = File::open(out.join("scores.parquet")).unwrap();
    let batches: Vec<_> = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let all = concat_batches(&batches[0].schema(), &batches).unwrap();
    let mut order: Vec<usize> = (0..all.num_rows()).collect();
    let places = places(&all);
    order.sort_by_key(|&row| places[row]);
    let order: UInt32Array = order.into_iter().map(|row| row as u32).collect();
    take_record_batch(&all, &order).unwrap()
}

/// A column of numbers by their bits.
fn bits(rows: &RecordBatch, name: &str) -> Vec<Option<u64>> {
    let column = rows.column_by_name(name).unwrap().as_primitive::<Float64Type>();
    column.iter().map(|value| value.map(f64::to_bits)).collect()
}

#[test]
fn a_replay_of_what_a_live_run_has_scored_gives_the_same_columns_bit_for_bit() {
    const OF_TARGET: [&str; 3] = ["target", "log_score", "pit"];
    let cluster = Cluster::connect();
    for partitions in [1, 4] {
        let setup = Setup::new(&cluster, partitions);
        produce(&cluster, &setup.input, partitions);
        let process = setup.start(&SETS);
        process.wait_until_scored(NUM_FLIGHTS);
        process.stop();
        let before = (
            cluster.committed(&setup.group, &setup.input),
            cluster.ends(&setup.state),
            cluster.ends(&setup.output),
        );

        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("replay");
        let finished = replay(&setup, &out, &[]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let live = rows(&cluster, &setup.output);
        let replayed = replayed(&out);
        assert_eq!(places(&replayed), places(&live), "{partitions} partitions");
        assert_eq!(live.num_rows(), NUM_FLIGHTS);
        for (field, column) in live.schema().fields().iter().zip(live.columns()) {
            if !OF_TARGET.contains(&field.name().as_str()) {
                let own = replayed.column_by_name(field.name()).unwrap();
                assert!(own == column, "{partitions} partitions: {} differs", field.name());
            }
        }
        // Live, targets come later: what the outcomes say of them is what the replay has filled in.
        let outcomes = rows(&cluster, &setup.outcomes);
        let row_of: HashMap<_, usize> =
            places(&replayed).into_iter().enumerate().map(|(row, place)| (place, row)).collect();
        assert!(outcomes.num_rows() > NUM_FLIGHTS * 9 / 10);
        for name in OF_TARGET {
            let (own, published) = (bits(&replayed, name), bits(&outcomes, name));
            for (place, published) in places(&outcomes).into_iter().zip(published) {
                assert_eq!(own[row_of[&place]], published, "{partitions} partitions: {name} of {place:?}");
            }
        }
        let after = (
            cluster.committed(&setup.group, &setup.input),
            cluster.ends(&setup.state),
            cluster.ends(&setup.output),
        );
        assert_eq!(after, before, "the live group was touched");
    }
}

#[test]
fn a_range_is_by_the_times_of_sending_and_what_was_learned_starts_a_group() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 2);
    produce(&cluster, &setup.input, 2);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("history.state");
    let until = "2013-01-08T00:00:00Z";
    let first = folder.path().join("first");
    let finished = replay(&setup, &first, &["--to", until, "--save-state", state.to_str().unwrap()]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let early = replayed(&first);
    let summary: Value = serde_json::from_slice(&std::fs::read(first.join("summary.json")).unwrap()).unwrap();
    let ends: Vec<i64> = summary["input"]["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["until"].as_i64().unwrap())
        .collect();
    assert_eq!(early.num_rows() as i64, ends.iter().sum::<i64>());

    // The rest, by the model that was saved: as a group does that starts from it.
    let second = folder.path().join("second");
    let finished = replay(&setup, &second, &["--from", until, "--state", state.to_str().unwrap()]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let late = replayed(&second);
    assert_eq!(early.num_rows() + late.num_rows(), NUM_FLIGHTS);
    let initial = format!("state.initial={}", state.display());
    let start = format!("input.start={until}");
    let process = setup.start(&[&SETS[..], &[&initial, &start]].concat());
    process.wait_until_scored(late.num_rows());
    process.stop();
    let live = rows(&cluster, &setup.output);
    assert_eq!(places(&live), places(&late));
    for name in ["q50", "q99_9", "es99", "p_gt_60"] {
        assert_eq!(bits(&live, name), bits(&late, name), "{name}");
    }
    let updates = late.column_by_name("updates").unwrap();
    assert!(live.column_by_name("updates").unwrap() == updates && updates.null_count() == 0);
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let cluster = Cluster::connect();
    let mut setup = Setup::new(&cluster, 1);
    setup.input = "nobody-has-made-it".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let finished = replay(&setup, &folder.path().join("out"), &[]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("'nobody-has-made-it' can't be read"), "{}", finished.stderr);
}

//! Many partitions, and messages of many rows.

use std::collections::BTreeSet;

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, TimestampMicrosecondType, UInt64Type},
    ipc::writer::StreamWriter,
};
use serde_json::Value;
use tailwater::flights;

use crate::{
    cluster::{Cluster, Record},
    process::Setup,
    scores::{batch, column, places, rows},
};

const NUM_PARTITIONS: i32 = 4;

/// Asserts that no row was scored by an older model than one that comes before it in the order of (time, partition,
/// offset): the partitions' records were taken in that order.
fn assert_taken_in_order(rows: &RecordBatch) {
    let times = column::<TimestampMicrosecondType>(rows, "time");
    let updates = column::<UInt64Type>(rows, "updates");
    let mut taken: Vec<_> = times.into_iter().zip(places(rows)).zip(updates).collect();
    taken.sort_by_key(|(place, _)| *place);
    assert!(taken.is_sorted_by_key(|(_, updates)| *updates), "not taken in the order of event time");
    assert!(taken.last().unwrap().1 > 0, "it has learned meanwhile");
}

/// Asserts that each message holds rows of its own partition alone.
fn assert_batches_keep_their_partition(cluster: &Cluster, topic: &str) {
    for record in cluster.consume(topic) {
        let batch = batch(&record);
        let partitions = column::<Int32Type>(&batch, "partition");
        assert!(partitions.iter().all(|&partition| partition == record.partition), "{partitions:?}");
    }
}

#[test]
fn each_event_of_each_partition_is_scored_once_and_stays_with_its_partition() {
    const NUM_FLIGHTS: usize = 16_000;
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, NUM_PARTITIONS);
    let mut ends = [0; NUM_PARTITIONS as usize];
    let flights = flights::json_records().unwrap().take(NUM_FLIGHTS).map(|flight| {
        let flight = flight.unwrap();
        let carrier =
            serde_json::from_slice::<Value>(&flight).unwrap()["carrier"].as_str().unwrap().to_owned();
        let partition = carrier.bytes().map(i32::from).sum::<i32>() % NUM_PARTITIONS;
        ends[partition as usize] += 1;
        Record::new(partition, flight).with_key(carrier)
    });
    cluster.produce(&setup.input, flights);
    assert!(ends.iter().all(|&end| end > 100), "{ends:?}");

    let process = setup.start(&["output.carry=[\"carrier\"]"]);
    process.wait_until_scored(NUM_FLIGHTS);
    process.stop();
    let scores = rows(&cluster, &setup.output);
    let all = (0..NUM_PARTITIONS).flat_map(|p| (0..ends[p as usize]).map(move |offset| (p, offset)));
    assert!(places(&scores) == all.collect::<Vec<_>>(), "not each once, in order within its partition");
    assert_batches_keep_their_partition(&cluster, &setup.output);
    assert_batches_keep_their_partition(&cluster, &setup.outcomes);
    assert_taken_in_order(&scores);
    let keys = scores.column_by_name("key").unwrap().as_binary::<i32>();
    let carriers = scores.column_by_name("carrier").unwrap().as_string::<i32>();
    assert!((0..scores.num_rows()).all(|row| keys.value(row) == carriers.value(row).as_bytes()));
    let committed = cluster.committed(&setup.group, &setup.input);
    assert_eq!(committed.into_values().collect::<Vec<_>>(), ends);
}

#[test]
fn each_row_of_arrow_messages_is_scored_once() {
    const ROWS_PER_MESSAGE: usize = 150;
    const NUM_MESSAGES: usize = 80;
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, NUM_PARTITIONS);
    let messages = flights::batches(ROWS_PER_MESSAGE).unwrap().take(NUM_MESSAGES).enumerate();
    let messages = messages.map(|(index, batch)| {
        let batch = batch.unwrap();
        assert_eq!(batch.num_rows(), ROWS_PER_MESSAGE);
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        Record::new(index as i32 % NUM_PARTITIONS, writer.into_inner().unwrap())
    });
    cluster.produce(&setup.input, messages);

    let process = setup.start(&["input.format=arrow"]);
    process.wait_until_scored(ROWS_PER_MESSAGE * NUM_MESSAGES);
    process.stop();
    let scores = rows(&cluster, &setup.output);
    let scored: Vec<(i32, i64, i32)> = places(&scores)
        .into_iter()
        .zip(column::<Int32Type>(&scores, "row"))
        .map(|((partition, offset), row)| (partition, offset, row))
        .collect();
    assert!(scored.is_sorted(), "in order within each partition");
    assert_eq!(scored.len(), ROWS_PER_MESSAGE * NUM_MESSAGES);
    let different: BTreeSet<_> = scored.into_iter().collect();
    assert_eq!(different.len(), ROWS_PER_MESSAGE * NUM_MESSAGES);
    assert_batches_keep_their_partition(&cluster, &setup.output);
    assert_taken_in_order(&scores);
    let ends = (0..NUM_PARTITIONS).map(|p| (p, NUM_MESSAGES as i64 / i64::from(NUM_PARTITIONS))).collect();
    assert_eq!(cluster.committed(&setup.group, &setup.input), ends);
}

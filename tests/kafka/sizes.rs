//! Records as large as a topic takes them, and larger: one of them must not stop the stream.

use arrow::array::{Array, AsArray};
use serde_json::Value;
use tailwater::flights;

use crate::{
    cluster::{Cluster, Record},
    process::Setup,
    scores::{batch, places, rows},
};

/// What a topic takes in one batch by default, after compression.
const TOPIC_LIMIT: usize = 1_048_588;
/// What an event may bring along of its own: key and carried texts.
const MAX_OWN_BYTES: usize = 262_144;

/// A setup whose input takes records that its other topics, made with defaults, do not.
fn setup(cluster: &Cluster) -> Setup<'_> {
    let limit = [("max.message.bytes", "10000000")];
    Setup::on_input(cluster, &cluster.create_topic_with("flights", 1, &limit))
}

fn flight() -> Vec<u8> {
    flights::json_records().unwrap().next().unwrap().unwrap()
}

/// A text that compression can't shorten by much: letters and digits from a linear congruential generator.
fn noise(num_bytes: usize) -> String {
    const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = num_bytes as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(CHARS[(state >> 58) as usize])
    };
    (0..num_bytes).map(|_| next()).collect()
}

/// Runs until everything in the input is committed, and asserts that exactly the flights at `scored` were scored.
fn run_to_the_end(setup: &Setup<'_>, num_records: i64, scored: &[i64], sets: &[&str]) {
    let process = setup.start(sets);
    process.wait_until("committed to the end", |process| {
        assert_eq!(process.get("/livez").0, 200);
        setup.cluster.committed(&setup.group, &setup.input).get(&0) == Some(&num_records)
    });
    process.stop();
    let expected: Vec<_> = scored.iter().map(|&offset| (0, offset)).collect();
    assert_eq!(places(&rows(setup.cluster, &setup.output)), expected);
}

#[test]
fn a_rejected_record_too_large_for_its_topic_arrives_without_its_value_and_stops_nothing() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    let large = [
        // Larger than `input.max_bytes`; and the same where compression makes it small.
        ("oversized", "noise", noise(1_200_000), false),
        ("oversized", "one letter", "x".repeat(1_200_000), true),
        // No JSON, below `input.max_bytes`: one that fits, one that does not once key and headers are with it.
        ("undecodable", "fits", noise(1_020_000), true),
        ("undecodable", "just too large", noise(1_048_576), false),
        ("undecodable", "small", "no flight".to_owned(), true),
    ];
    let mut input = vec![Record::new(0, flight())];
    for (_, key, value, _) in &large {
        input.extend([Record::new(0, &value[..]).with_key(*key), Record::new(0, flight())]);
    }
    cluster.produce(&setup.input, input);
    run_to_the_end(&setup, 11, &[0, 2, 4, 6, 8, 10], &[]);

    let mut rejected = cluster.consume(&setup.rejected);
    let place = |record: &Record| record.header("tailwater-offset").unwrap().parse::<i64>().unwrap();
    rejected.sort_by_key(place); // what is sent again may come late
    assert_eq!(rejected.iter().map(place).collect::<Vec<_>>(), [1, 3, 5, 7, 9], "each once");
    for (record, (reason, key, value, is_kept)) in rejected.iter().zip(&large) {
        let told = record.header("tailwater-reason").unwrap();
        assert!(told.starts_with(reason), "{key}: {told}");
        assert_eq!(record.header("tailwater-topic"), Some(&setup.input[..]));
        assert_eq!(record.header("tailwater-partition"), Some("0"));
        assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
        let num_bytes = value.len().to_string();
        let (value, num_bytes) = if *is_kept { (Some(value), None) } else { (None, Some(&num_bytes[..])) };
        assert!(record.value.as_deref() == value.map(String::as_bytes), "{key}");
        assert_eq!(record.header("tailwater-value-bytes"), num_bytes, "{key}");
    }
}

#[test]
fn a_rejected_record_whose_key_is_too_large_for_its_topic_arrives_without_it_and_stops_nothing() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    let flight = || Record::new(0, flight());
    let tombstone = Record { value: None, ..Record::default() };
    let large = || noise(1_200_000);
    let input = [flight(), flight().with_key(large()), flight(), tombstone.with_key(large()), flight()];
    cluster.produce(&setup.input, input);
    run_to_the_end(&setup, 5, &[0, 2, 4], &[]);

    let rejected = cluster.consume(&setup.rejected);
    let mut told: Vec<_> = rejected
        .iter()
        .map(|record| {
            assert_eq!(record.key, None);
            let reason = record.header("tailwater-reason").unwrap().split(": ").next().unwrap();
            (record.header("tailwater-offset").unwrap(), reason)
        })
        .collect();
    told.sort_unstable();
    assert_eq!(told, [("1", "oversized"), ("3", "empty")]);
}

#[test]
fn long_carried_texts_fit_their_batches_and_longer_ones_are_rejected() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    let record = |key: &str, note_bytes: usize| {
        let mut flight: Value = serde_json::from_slice(&flight()).unwrap();
        flight["note"] = noise(note_bytes).into();
        Record::new(0, flight.to_string()).with_key(key)
    };
    let key = noise(100_000);
    let most = MAX_OWN_BYTES - key.len();
    let input = vec![
        record("", 5),
        // The fourth comes to a batch that is all but full.
        record("", 200_000),
        record("", 200_000),
        record("", 200_000),
        record("", MAX_OWN_BYTES),
        record("", MAX_OWN_BYTES + 1),
        record(&key, most),
        record(&key, most + 1),
        record("", 5),
    ];
    cluster.produce(&setup.input, input);
    // Long enough that its bytes alone close a batch.
    let sets = ["output.carry=[\"note\"]", "output.linger=2s", "delivery.commit=2s"];
    run_to_the_end(&setup, 9, &[0, 1, 2, 3, 4, 6, 8], &sets);

    let messages = cluster.consume(&setup.output);
    assert!(messages.iter().all(|message| message.value.as_ref().unwrap().len() < TOPIC_LIMIT));
    let first = batch(&messages[0]);
    let notes = first.column_by_name("note").unwrap().as_string::<i32>();
    let lengths: Vec<_> = (0..notes.len()).map(|row| notes.value_length(row)).collect();
    assert_eq!(lengths, [5, 200_000, 200_000, 200_000, MAX_OWN_BYTES as i32]);
    let rejected = cluster.consume(&setup.rejected);
    let offsets: Vec<_> = rejected
        .iter()
        .map(|record| {
            assert!(record.header("tailwater-reason").unwrap().starts_with("oversized"), "{record:?}");
            record.header("tailwater-offset").unwrap()
        })
        .collect();
    assert_eq!(offsets, ["5", "7"]);
}

//! `check` and `peek` on a good setup, and where `run` begins.

use std::{collections::BTreeMap, thread, time::Duration};

use serde_json::Value;
use tailwater::flights;

use crate::{
    cluster::{Cluster, Record, unique},
    feed::{Feed, feed_while},
    process::{Finished, Setup, example},
    scores::{places, rows},
};

fn flight(index: usize) -> Vec<u8> {
    flights::json_records().unwrap().nth(index).unwrap().unwrap()
}

#[test]
fn check_agrees_with_a_leader_that_is_at_work() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    // Ten times as often as usual a commit may come between a look at the state and one at the offsets.
    let sets = ["delivery.commit=20ms"];
    feed_while(&setup, Feed::Json, || {
        let process = setup.start(&sets);
        process.wait_until_leading();
        for _ in 0..10 {
            let finished = setup.finish(&["check"], &sets);
            assert_eq!(finished.code, Some(0), "{finished:?}");
        }
        process.stop();
    });
}

#[test]
fn check_reports_what_is_right() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 2);
    let flights = flights::json_records().unwrap().take(20);
    cluster.produce(&setup.input, flights.map(|flight| Record::new(1, flight.unwrap())));
    let finished = setup.finish(&["check"], &[]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let hash = finished.stdout.lines().nth(1).unwrap().rsplit(' ').next().unwrap();
    assert_eq!(
        finished.stdout,
        format!(
            "config     ok: 12 features, figures p_gt_15 p_gt_60 p_gt_180 q50 q90 q99 q99_9 es99\n\
             \x20          hash of what changes the numbers: {hash}\n\
             brokers    ok: 1 at {brokers}\n\
             topics     ok: 2 input partitions (the right to write shows with the first score)\n\
             group      ok: '{group}' has committed offsets of 0 of 2 partitions\n\
             state      none: the group begins with a new model\n\
             retention  ok: '{input}' keeps everything\n\
             retention  ok: '{output}' keeps everything\n\
             records    ok: of the last 10, 10 can be scored and 10 hold a target\n",
            brokers = cluster.brokers(),
            group = setup.group,
            input = setup.input,
            output = setup.output,
        )
    );
}

#[test]
fn check_makes_the_missing_topics_when_it_is_told_to_and_is_content_then() {
    let cluster = Cluster::connect();
    let setup = Setup {
        cluster: &cluster,
        config: example(),
        group: unique("group"),
        input: cluster.create_topic("flights", 3),
        output: unique("risk"),
        outcomes: unique("outcomes"),
        rejected: unique("rejected"),
        state: unique("state"),
    };
    let sets = ["target.wait=10d"];
    let made = |finished: &Finished| -> Vec<String> {
        let lines = finished.stdout.lines().filter_map(|line| line.strip_prefix("created    topic "));
        lines.map(str::to_owned).collect()
    };
    let finished = setup.finish(&["check", "--create"], &sets);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let Setup { output, outcomes, rejected, state, .. } = &setup;
    let expected = [
        format!(
            "'{output}': 3 partitions, retention.ms=1728000000 (scores of events that wait for their targets are read \
             again after a restart)"
        ),
        format!("'{outcomes}': 3 partitions"),
        format!("'{rejected}': 3 partitions, max.message.bytes=1114112"),
        format!(
            "'{state}': 1 partition, cleanup.policy=compact, segment.bytes=16777216, min.cleanable.dirty.ratio=0.1, \
             delete.retention.ms=3600000, retention.ms=-1"
        ),
    ];
    assert_eq!(made(&finished), expected);
    assert!(finished.stdout.contains("topics     ok: 3 input partitions"), "{finished:?}");

    for topic in [output, outcomes, rejected] {
        assert_eq!(cluster.num_partitions(topic), 3);
    }
    assert_eq!(cluster.num_partitions(state), 1);
    let settings = [
        (output, "retention.ms", "1728000000"),
        (rejected, "max.message.bytes", "1114112"),
        (state, "cleanup.policy", "compact"),
        (state, "segment.bytes", "16777216"),
        (state, "min.cleanable.dirty.ratio", "0.1"),
        (state, "delete.retention.ms", "3600000"),
        (state, "retention.ms", "-1"),
    ];
    for (topic, name, value) in settings {
        assert_eq!(cluster.topic_setting(topic, name), value, "{topic} {name}");
    }

    for subcommand in [&["check"][..], &["check", "--create"]] {
        let finished = setup.finish(subcommand, &sets);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(made(&finished), [""; 0]);
    }
}

#[test]
fn a_missing_input_is_never_made() {
    let cluster = Cluster::connect();
    let setup = Setup { input: unique("missing-flights"), output: unique("risk"), ..Setup::new(&cluster, 1) };
    let finished = setup.finish(&["check", "--create"], &[]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(!finished.stdout.contains("created"), "{finished:?}");
    let told = |topic: &str| finished.stderr.contains(&format!("topic '{topic}' does not exist"));
    assert!(told(&setup.input) && told(&setup.output), "{finished:?}");
}

#[test]
fn a_topic_that_brokers_refuse_to_make_is_told_with_the_command_that_would() {
    let cluster = Cluster::connect();
    // Kafka makes no topic whose name is another's but for dots and underscores.
    let taken = cluster.create_topic("risk_of", 1);
    let setup =
        Setup { output: taken.replace('_', "."), outcomes: unique("outcomes"), ..Setup::new(&cluster, 1) };
    let finished = setup.finish(&["check", "--create"], &[]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let outcomes = &setup.outcomes;
    assert!(
        finished.stdout.contains(&format!("created    topic '{outcomes}': 1 partition\n")),
        "{finished:?}"
    );
    let output = &setup.output;
    let told = format!("tailwater: output.topic: topic '{output}' could not be made: ");
    assert!(finished.stderr.starts_with(&told), "{finished:?}");
    let command = format!("--create --topic {output} --partitions 1 --config retention.ms=604800000\n");
    assert!(finished.stderr.ends_with(&command), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
}

#[test]
fn check_fails_when_no_record_can_be_used_and_says_why() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    cluster.produce(&setup.input, [Record::new(0, "{}")]);
    let finished = setup.finish(&["check"], &[]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stdout.contains("rejected 0/0: bad_time: departed_at: expected"), "{finished:?}");
    assert!(finished.stderr.contains("compare them with [features] and [target]"), "{finished:?}");
}

#[test]
fn peek_shows_the_last_scores_as_table_json_and_csv() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let flights = flights::json_records().unwrap().take(1_000);
    cluster.produce(&setup.input, flights.map(|flight| Record::new(0, flight.unwrap())));
    let process = setup.start(&["learn.warmup=128"]);
    process.wait_until_scored(1_000);
    process.stop();
    let peek = |arguments: &[&str]| {
        let finished = setup.finish(&[&["peek", "-n", "3"], arguments].concat(), &[]);
        assert_eq!((finished.code, &finished.stderr[..]), (Some(0), ""), "{finished:?}");
        finished.stdout
    };
    let json: Vec<Value> =
        peek(&["--format", "json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let offsets: Vec<_> = json.iter().map(|row| row["offset"].as_i64().unwrap()).collect();
    assert_eq!(offsets, [997, 998, 999]);
    assert!(
        json.iter().all(|row| row["status"] == "ok" && row["q99"].as_f64() > row["q50"].as_f64()),
        "{json:?}"
    );
    assert!(json.iter().all(|row| row.get("params").is_none()));

    let csv = peek(&["--format", "csv"]);
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 4, "{csv}");
    let q99 = lines[0].iter().position(|name| *name == "q99").unwrap();
    for (line, row) in lines[1..].iter().zip(&json) {
        assert_eq!(line[q99].parse::<f64>().unwrap(), row["q99"].as_f64().unwrap(), "{csv}");
    }

    let table = peek(&[]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.lines().next().unwrap().split_whitespace().any(|name| name == "p_gt_60"), "{table}");

    let outcomes = peek(&["--outcomes", "--format", "json"]);
    assert_eq!(outcomes.lines().count(), 3, "{outcomes}");
    assert!(outcomes.contains("target_time"), "{outcomes}");
}

#[test]
fn a_new_group_begins_at_the_time_that_it_is_told() {
    const BEGIN_MS: i64 = 1_735_689_600_000; // 2025-01-01
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let records =
        (0..10).map(|i| Record::new(0, flight(i)).with_timestamp_ms(BEGIN_MS + (i as i64 - 6) * 1000));
    cluster.produce(&setup.input, records);
    let process = setup.start(&["input.start=2025-01-01T00:00:00Z"]);
    process.wait_until_scored(4);
    process.stop();
    assert_eq!(places(&rows(&cluster, &setup.output)), [(0, 6), (0, 7), (0, 8), (0, 9)]);
}

#[test]
fn a_new_group_begins_at_the_end_when_it_is_told_so() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    cluster.produce(&setup.input, (0..10).map(|i| Record::new(0, flight(i))));
    let process = setup.start(&["input.start=latest"]);
    process.wait_until_leading();
    // Where the end is, is asked a little later: so records come until one is scored.
    process.wait_until("at the end", |process| {
        cluster.produce(&setup.input, [Record::new(0, flight(10))]);
        thread::sleep(Duration::from_millis(200));
        process.num_scored() > 0
    });
    process.stop();
    let places = places(&rows(&cluster, &setup.output));
    let first = places[0].1;
    assert!(first >= 10, "{places:?}");
    assert_eq!(places, (first..first + places.len() as i64).map(|offset| (0, offset)).collect::<Vec<_>>());
}

#[test]
fn a_group_that_began_at_the_end_goes_on_from_there_in_quiet_partitions_too() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 2);
    cluster.produce(&setup.input, [0, 0, 0, 1, 1].map(|partition| Record::new(partition, flight(0))));
    let process = setup.start(&["input.start=latest"]);
    let ends = BTreeMap::from([(0, 3), (1, 2)]);
    process.wait_until("both ends committed", |_| cluster.committed(&setup.group, &setup.input) == ends);
    process.stop();

    cluster.produce(&setup.input, [0, 1].map(|partition| Record::new(partition, flight(1))));
    let process = setup.start(&["input.start=latest"]);
    process.wait_until_scored(2);
    process.stop();
    assert_eq!(places(&rows(&cluster, &setup.output)), [(0, 3), (1, 2)]);
    assert_eq!(cluster.committed(&setup.group, &setup.input), BTreeMap::from([(0, 4), (1, 3)]));
}

//! `verify`: published rows are recomputed, bit for bit, after whatever has happened; and what was changed is found.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Float64Array, RecordBatch},
    datatypes::{Float64Type, Int64Type},
    ipc::writer::StreamWriter,
};
use serde_json::Value;
use tailwater::flights;

use crate::{
    cluster::{Cluster, Record},
    crash,
    feed::{Feed, wait_until_done},
    process::{Finished, Setup},
    scores::{batch, column, places, rows},
    uncrashed::left,
};

const SETS: [&str; 2] = ["learn.warmup=128", "delivery.commit=50ms"];

/// A group that has scored so many flights of partition 0 between each two stops, at which it saves its state.
fn scored<'a>(cluster: &'a Cluster, stops: &[usize], sets: &[&str]) -> Setup<'a> {
    let setup = Setup::new(cluster, 1);
    let mut flights = flights::json_records().unwrap();
    for &num_flights in stops {
        let flights = flights.by_ref().take(num_flights).map(|flight| Record::new(0, flight.unwrap()));
        cluster.produce(&setup.input, flights);
        let process = setup.start(sets);
        process.wait_until_scored(num_flights);
        process.stop();
    }
    setup
}

fn verify(setup: &Setup<'_>, sets: &[&str], arguments: &[&str]) -> Finished {
    setup.finish(&[&["verify"], arguments].concat(), sets)
}

/// What is told of a row as JSON, with the exit code and the error.
fn told(setup: &Setup<'_>, sets: &[&str], place: (i32, i64)) -> (Value, Option<i32>, String) {
    let [partition, offset] = [place.0.to_string(), place.1.to_string()];
    let arguments = ["--partition", &partition, "--offset", &offset, "--json"];
    let finished = verify(setup, sets, &arguments);
    let told = serde_json::from_str(&finished.stdout);
    (told.unwrap_or_else(|error| panic!("{error}: {finished:?}")), finished.code, finished.stderr)
}

/// Asserts that a row is verified; what is told of it.
fn verified(setup: &Setup<'_>, sets: &[&str], place: (i32, i64)) -> Value {
    let (told, code, stderr) = told(setup, sets, place);
    assert_eq!((&told["verdict"], code), (&"verified".into(), Some(0)), "{place:?}: {told:#} {stderr}");
    assert_eq!((told["partition"].as_i64(), told["offset"].as_i64()), (Some(place.0.into()), Some(place.1)));
    assert_eq!((&told["notes"], &told["published"]), (&Value::Array(vec![]), &1.into()));
    told
}

/// Why a row can't be verified.
fn unverifiable(setup: &Setup<'_>, sets: &[&str], place: (i32, i64)) -> String {
    let (told, code, stderr) = told(setup, sets, place);
    assert_eq!((&told["verdict"], code), (&"unverifiable".into(), Some(1)), "{place:?}: {told:#}");
    let why = told["why"].as_str().unwrap().to_owned();
    assert!(stderr.ends_with(&format!("row {}:{} can't be verified: {why}\n", place.0, place.1)), "{stderr}");
    why
}

#[test]
fn ten_rows_of_a_run_that_crashed_again_and_again_are_verified() {
    const NUM_KILLS: u64 = 6;
    let broker = crash::broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 2);
    crash::crash_while_fed(&setup, Feed::Json, &crash::SETS, NUM_KILLS);
    let process = setup.start(&crash::SETS);
    wait_until_done(&setup, &process);
    process.stop();

    let (progress, _) = left(&cluster, &setup.state);
    let places = places(&rows(&cluster, &setup.output));
    // The first row of each partition, those right after restarts, and others in between.
    let mut chosen: Vec<_> = (0..2).filter_map(|p| places.iter().find(|(of, _)| *of == p).copied()).collect();
    for restart in progress.windows(2).filter(|two| two[0].term < two[1].term) {
        let stood = &restart[0].positions;
        chosen.extend(places.iter().find(|(p, offset)| stood.get(p).is_some_and(|at| *offset >= at.offset)));
    }
    assert!(chosen.len() > 3, "there were restarts: {chosen:?}");
    chosen.extend((1..=8).map(|nth| places[nth * (places.len() - 1) / 8]));
    chosen.sort_unstable();
    chosen.dedup();
    assert!(chosen.len() >= 10, "{chosen:?}");
    let (mut num_taken, mut origins) = (0, BTreeMap::new());
    for &place in &chosen {
        let told = verified(&setup, &crash::SETS, place);
        num_taken += told["taken"].as_u64().unwrap();
        origins.insert(told["origin"]["generation"].as_u64().unwrap(), ());
    }
    println!(
        "{} of {} rows verified after {NUM_KILLS} kills and {} terms, from {} snapshots, with {num_taken} records taken again",
        chosen.len(),
        places.len(),
        progress.last().unwrap().term,
        origins.len(),
    );
}

/// The same scores in another topic, the messages changed as `change` says.
fn copied(setup: &Setup<'_>, change: impl Fn(Record) -> Vec<Record>) -> String {
    let copy = setup.cluster.create_topic("copy", setup.cluster.num_partitions(&setup.output));
    setup.cluster.produce(&copy, setup.cluster.consume(&setup.output).into_iter().flat_map(change));
    copy
}

/// A message with one figure of one row changed by the smallest amount that there is.
fn tampered(record: Record, offset: i64, name: &str) -> Record {
    let rows = batch(&record);
    let Some(at) = column::<Int64Type>(&rows, "offset").iter().position(|&found| found == offset) else {
        return record;
    };
    let index = rows.schema().index_of(name).unwrap();
    let mut columns = rows.columns().to_vec();
    let figures = columns[index].as_primitive::<Float64Type>().iter().enumerate();
    let ulp = |value: f64| f64::from_bits(value.to_bits() + 1);
    let figures = figures.map(|(nth, value)| value.map(|value| if nth == at { ulp(value) } else { value }));
    columns[index] = Arc::new(figures.collect::<Float64Array>()) as ArrayRef;
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    Record { value: Some(writer.into_inner().unwrap()), ..record }
}

#[test]
fn a_row_with_one_figure_changed_by_its_last_bit_is_found_and_so_is_one_that_is_there_twice() {
    let cluster = Cluster::connect();
    let setup = scored(&cluster, &[1_000], &SETS);
    let copy = copied(&setup, |record| vec![tampered(record, 700, "q99")]);
    let of_copy = format!("output.topic={copy}");
    let sets = [&SETS[..], &[of_copy.as_str()]].concat();
    let (report, code, stderr) = told(&setup, &sets, (0, 700));
    assert_eq!((&report["verdict"], code), (&"differs".into(), Some(1)), "{report:#}");
    let columns = report["columns"].as_u64().unwrap();
    assert!(stderr.ends_with(&format!("row 0:700 differs in 1 of {columns} columns\n")), "{stderr}");
    let [differing] = &report["differing"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!(differing["column"], "q99");
    let value = |name: &str| differing[name].as_str().unwrap().parse::<f64>().unwrap();
    assert_eq!(value("published").to_bits(), value("recomputed").to_bits() + 1);
    // So it is on what people see; and all others are in order.
    let shown = verify(&setup, &sets, &["--partition", "0", "--offset", "700"]);
    assert!(
        shown.stdout.starts_with(&format!("row        0:700 differs in 1 of {columns} columns\n")),
        "{shown:?}"
    );
    assert!(shown.stdout.contains("\ndiffers    column"), "{shown:?}");
    verified(&setup, &sets, (0, 699));
    verified(&setup, &SETS, (0, 700));

    let twice = copied(&setup, |record| vec![record.clone(), record]);
    let of_twice = format!("output.topic={twice}");
    let sets = [&SETS[..], &[of_twice.as_str()]].concat();
    let (report, code, stderr) = told(&setup, &sets, (0, 3));
    assert_eq!((&report["verdict"], code), (&"differs".into(), Some(1)), "{report:#}");
    assert!(stderr.ends_with("row 0:3 was published 2 times\n"), "{stderr}");
}

#[test]
fn it_is_told_what_the_model_had_learned_from_as_text_and_as_json() {
    let cluster = Cluster::connect();
    let setup = scored(&cluster, &[1_000], &SETS);
    let report = verified(&setup, &SETS, (0, 999));
    let model = &report["model"];
    assert_eq!(
        (&model["epoch"], report["origin"]["generation"].as_u64()),
        (&1.into(), Some(1)),
        "{report:#}"
    );
    let row = rows(&cluster, &setup.output);
    let updates =
        row.column_by_name("updates").unwrap().as_primitive::<arrow::datatypes::UInt64Type>().value(999);
    assert_eq!(model["updates"].as_u64(), Some(updates));
    let learned = report["learned"].as_array().unwrap();
    assert_eq!(learned.len(), 10);
    // No target that was not known when the flight took off, and those that came last come first.
    let time = |value: &Value| value.as_str().unwrap().to_owned();
    let known: Vec<_> = learned.iter().map(|record| time(&record["target_time"])).collect();
    assert!(
        known.is_sorted_by(|newer, older| newer >= older) && known[0] < time(&report["time"]),
        "{report:#}"
    );
    assert_eq!(time(&model["target_time"]), known[0]);

    let shown = verify(&setup, &SETS, &["--partition", "0", "--offset", "999", "--learned", "2"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    println!("{}", shown.stdout);
    let columns = row.num_columns();
    assert!(
        shown
            .stdout
            .starts_with(&format!("row        0:999 verified: {columns} columns are equal bit for bit\n")),
        "{shown:?}"
    );
    assert!(shown.stdout.contains("and 1,000 records taken again in the written order, up to this one\n"));
    assert!(shown.stdout.contains(&format!("epoch 1, {updates} updates on ")), "{shown:?}");
    assert_eq!(shown.stdout.lines().skip_while(|line| !line.starts_with("learned")).count(), 3, "{shown:?}");
    // Nothing was joined, committed or written.
    let committed = cluster.committed(&setup.group, &setup.input);
    assert_eq!(committed, BTreeMap::from([(0, 1_000)]));
}

#[test]
fn where_the_snapshots_that_led_to_a_row_are_gone_it_is_told_from_where_on_rows_can_be_verified() {
    let cluster = Cluster::connect();
    let setup = scored(&cluster, &[400, 300, 200], &SETS);
    let state = cluster.consume(&setup.state);
    let is_first_part = |record: &&Record| {
        let key = std::str::from_utf8(record.key.as_deref().unwrap()).unwrap();
        key.strip_prefix("snapshot-").is_some_and(|rest| rest.len() == "0-0".len() && rest.ends_with("-0"))
    };
    let parts: Vec<_> = state.iter().filter(is_first_part).map(|record| record.offset).collect();
    // Before the last snapshot but one all is gone.
    let kept = state.into_iter().filter(|record| record.offset >= parts[parts.len() - 2]);
    let topic = cluster.create_topic_with("state", 1, &[("cleanup.policy", "compact")]);
    cluster.produce(&topic, kept);
    let setup = Setup { state: topic, ..setup };

    let why = unverifiable(&setup, &SETS, (0, 100));
    let (_, from) = why.split_once(": rows of this partition can be verified from offset ").expect(&why);
    let from: i64 = from.strip_suffix(" on").unwrap().parse().unwrap();
    assert!(from > 100 && why.starts_with("no snapshot from before it is left ("), "{why}");
    unverifiable(&setup, &SETS, (0, from - 1));
    verified(&setup, &SETS, (0, from));

    // What waited for its target at the snapshot is needed, though it was scored long before.
    let needed = verified(&setup, &SETS, (0, from))["origin"]["offsets"][0]["offset"].as_i64().unwrap();
    cluster.delete_records(&setup.input, 0, needed);
    let why = unverifiable(&setup, &SETS, (0, from));
    let expected = format!("partition 0 of '{}' begins at offset {needed}, and is needed from ", setup.input);
    assert!(why.contains(&expected), "{why}");
}

#[test]
fn a_place_that_has_no_row_and_a_config_of_another_model_are_told_for_what_they_are() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let mut flights = flights::json_records().unwrap().map(|flight| Record::new(0, flight.unwrap()));
    let spoilt = Record::new(0, "not a flight");
    cluster.produce_in_transaction(&setup.input, flights.by_ref().take(300).chain([spoilt]), true);
    cluster.produce(&setup.input, flights.by_ref().take(100));
    let process = setup.start(&SETS);
    process.wait_until_scored(400);
    process.stop();
    cluster.produce(&setup.input, flights.by_ref().take(1));

    let why = unverifiable(&setup, &SETS, (0, 300));
    assert!(why.starts_with("that record is rejected, not scored: undecodable: "), "{why}");
    let why = unverifiable(&setup, &SETS, (0, 301));
    assert!(why.starts_with("that offset holds no record: it is a transaction's marker"), "{why}");
    let why = unverifiable(&setup, &SETS, (0, 402));
    assert_eq!(why, "it is not scored yet: the group's next record of partition 0 is offset 402");
    let why = unverifiable(&setup, &SETS, (0, 403));
    assert!(why.ends_with("ends at offset 403: there is no such record yet"), "{why}");
    let elsewhere = verify(&setup, &SETS, &["--partition", "1", "--offset", "0"]);
    assert!(elsewhere.code == Some(1) && elsewhere.stderr.ends_with("has no partition 1\n"), "{elsewhere:?}");
    let why = unverifiable(&setup, &[&SETS[..], &["model.hidden=[8]"]].concat(), (0, 302));
    assert!(why.ends_with("set what was set then: model.hidden: was [16, 16], is [8]"), "{why}");
    verified(&setup, &SETS, (0, 299));
    verified(&setup, &SETS, (0, 302));
    // A change of what may be changed is told as what it is that changes the numbers.
    let (report, code, _) = told(&setup, &[SETS[0], "learn.rate=0.5"], (0, 390));
    assert_eq!((&report["verdict"], code), (&"differs".into(), Some(1)), "{report:#}");
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.contains("another config (learn.rate: was 0.001, is 0.5)"), "{note}");
}

#[test]
fn rows_of_messages_of_many_rows_and_rows_published_as_json_are_verified_too() {
    const SETS: [&str; 3] = ["learn.warmup=128", "input.format=arrow", "output.format=json"];
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let messages = flights::batches(100).unwrap().take(5).map(|rows| {
        let rows = rows.unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        Record::new(0, writer.into_inner().unwrap())
    });
    cluster.produce(&setup.input, messages);
    let process = setup.start(&SETS);
    process.wait_until_scored(500);
    process.stop();

    let arguments = ["--partition", "0", "--offset", "4", "--row", "77"];
    let shown = verify(&setup, &SETS, &arguments);
    assert!(shown.code == Some(0) && shown.stdout.starts_with("row        0:4:77 verified: "), "{shown:?}");
    let beyond = verify(&setup, &SETS, &["--partition", "0", "--offset", "4", "--row", "100"]);
    assert!(
        beyond
            .stderr
            .ends_with("row 0:4:100 can't be verified: that message holds 100 rows, counted from 0\n"),
        "{beyond:?}"
    );
    let copy = copied(&setup, |record| {
        let mut row: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        if row["row"] == 77 {
            row["q50"] = Value::from(row["q50"].as_f64().unwrap() + 1.0);
        }
        vec![Record { value: Some(row.to_string().into_bytes()), ..record }]
    });
    let set = format!("output.topic={copy}");
    let found = verify(&setup, &[&SETS[..], &[&set]].concat(), &arguments);
    assert!(found.stderr.contains("row 0:4:77 differs in 1 of "), "{found:?}");
    assert!(found.stdout.contains(" q50 "), "{found:?}");
}

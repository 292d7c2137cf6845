//! The main job: a year of flights, some records malformed, through the broker and back.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    time::Instant,
};

use arrow::{
    array::{Array, AsArray},
    datatypes::{Float64Type, Int64Type, TimestampMicrosecondType},
};
use serde_json::{Value, json};
use tailwater::{backtest::RollingGaussian, flights};

use crate::{
    cluster::{Cluster, Record},
    process::{Process, Setup},
    scores::{column, places, rows},
};

/// `input.max_bytes` of this test.
const MAX_BYTES: usize = 16_384;
/// Of the last so many outcomes the forecasts are judged.
const NUM_JUDGED: usize = 100_000;

/// Records that can't be used, each with the reason it is to be rejected with.
fn malformed() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let flight = flights::json_records().unwrap().next().unwrap().unwrap();
    let flight: Value = serde_json::from_slice(&flight).unwrap();
    let with = |field: &str, value: Value| {
        let mut changed = flight.clone();
        changed[field] = value;
        Some(changed.to_string().into_bytes())
    };
    let without = |field: &str| {
        let mut changed = flight.clone();
        changed.as_object_mut().unwrap().remove(field).unwrap();
        Some(changed.to_string().into_bytes())
    };
    let whole = flight.to_string();
    let replaced = |from: &str, to: &str| {
        assert!(whole.contains(from), "{whole}");
        Some(whole.replace(from, to).into_bytes())
    };
    let mut not_utf8 = whole.clone().into_bytes();
    not_utf8.insert(whole.find("UA").unwrap(), 0xff);
    vec![
        ("undecodable", Some(whole.as_bytes()[..whole.len() - 9].to_vec())),
        ("undecodable", Some(b"UA1545 left at a quarter past five".to_vec())),
        ("undecodable", Some(Vec::new())),
        ("undecodable", Some(not_utf8)),
        ("undecodable", Some(format!("[{whole}]").into_bytes())),
        ("undecodable", Some(format!("{whole}{whole}").into_bytes())),
        ("undecodable", replaced(r#""dep_delay":2"#, r#""dep_delay":NaN"#)),
        ("wrong_type", with("dep_delay", json!("2"))),
        ("wrong_type", with("temp", json!({ "value": 39.0 }))),
        ("wrong_type", with("carrier", json!(["UA"]))),
        ("wrong_type", with("arr_delay", json!("late"))),
        ("non_finite", replaced(r#""dep_delay":2"#, r#""dep_delay":1e999"#)),
        ("out_of_domain", with("distance", json!(-1400))),
        ("bad_time", without("departed_at")),
        ("bad_time", with("departed_at", json!("yesterday"))),
        ("bad_time", with("departed_at", json!(1e300))),
        ("bad_time", without("arrived_at")),
        ("future", with("departed_at", json!(4_102_444_800_u32))), // 2100-01-01
        ("oversized", with("note", json!("x".repeat(MAX_BYTES)))),
        ("empty", None),
    ]
}

#[test]
fn a_year_of_flights_is_scored_once_each_and_well_though_some_records_are_malformed() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let malformed = malformed();
    let gap = flights::NUM_FLIGHTS / malformed.len();
    let mut input = Vec::new();
    let mut bad = BTreeMap::new();
    for (index, flight) in flights::json_records().unwrap().enumerate() {
        if index % gap == gap / 2 {
            let (reason, value) = &malformed[index / gap];
            let key = format!("bad {}", index / gap).into_bytes();
            bad.insert(input.len() as i64, (*reason, key.clone(), value.clone()));
            input.push(Record { key: Some(key), value: value.clone(), ..Record::default() });
        }
        input.push(Record::new(0, flight.unwrap()).with_key(format!("{index}")));
    }
    let num_records = input.len();
    assert_eq!((num_records, bad.len()), (flights::NUM_FLIGHTS + 20, 20));
    cluster.produce(&setup.input, input);

    let process = setup.start(&[&format!("input.max_bytes={MAX_BYTES}")]);
    process.wait_until_scored(1);
    let first = process.uptime();
    let begun = Instant::now();
    process.wait_until_scored(flights::NUM_FLIGHTS);
    let events_per_second = flights::NUM_FLIGHTS as f64 / begun.elapsed().as_secs_f64();
    let committed = || cluster.committed(&setup.group, &setup.input).get(&0).copied();
    process.wait_until("committed to the end", |_| committed() == Some(num_records as i64));
    println!("{:.2} s to the first score, {events_per_second:.0} events/s", first.as_secs_f64());
    look_at_what_is_watched(&process);
    print_costs(&process);
    assert_eq!(process.get("/livez").0, 200);
    assert_eq!(process.status()["rejected"], 20);
    process.stop();

    let scores = rows(&cluster, &setup.output);
    let good = (0..num_records as i64).filter(|offset| !bad.contains_key(offset)).map(|offset| (0, offset));
    assert!(places(&scores) == good.collect::<Vec<_>>(), "not every good record once, in order");

    let rejected = cluster.consume(&setup.rejected);
    assert_eq!(rejected.len(), bad.len());
    for (record, (offset, (reason, key, value))) in rejected.iter().zip(&bad) {
        let text = record.header("tailwater-reason").unwrap();
        assert_eq!(text.split(": ").next(), Some(*reason), "{text}");
        assert_eq!(record.header("tailwater-topic"), Some(&setup.input[..]));
        assert_eq!(record.header("tailwater-partition"), Some("0"));
        assert_eq!(record.header("tailwater-offset"), Some(&offset.to_string()[..]));
        assert_eq!((&record.key, &record.value), (&Some(key.clone()), value), "{text}");
    }

    judge(&scores, &rows(&cluster, &setup.outcomes));
}

/// Joins scores and outcomes by offset, and holds them against a baseline that, too, knows at each departure only
/// the delays of the flights that have arrived before it.
fn judge(scores: &arrow::array::RecordBatch, outcomes: &arrow::array::RecordBatch) {
    let target = column::<Float64Type>(outcomes, "target");
    let known_us = column::<TimestampMicrosecondType>(outcomes, "target_time");
    assert!(known_us.is_sorted(), "outcomes come in the order in which targets become known");
    let mut baseline = RollingGaussian::new(5_000);
    let mut num_known = 0;
    let mut fits = HashMap::new();
    let departures = column::<TimestampMicrosecondType>(scores, "time");
    for (row, (offset, time_us)) in
        column::<Int64Type>(scores, "offset").into_iter().zip(departures).enumerate()
    {
        while num_known < target.len() && known_us[num_known] < time_us {
            baseline.learn(target[num_known]);
            num_known += 1;
        }
        fits.insert(offset, (row, baseline.fit()));
    }

    let offsets = column::<Int64Type>(outcomes, "offset");
    assert!(offsets.len() > flights::NUM_FLIGHTS - 1_000, "only {} outcomes", offsets.len());
    assert_eq!(offsets.iter().collect::<std::collections::BTreeSet<_>>().len(), offsets.len());
    let log_scores = outcomes.column_by_name("log_score").unwrap().as_primitive::<Float64Type>();
    let quantile = |name: &str| scores.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
    let (q90, q99) = (quantile("q90"), quantile("q99"));
    let (mut log_score, mut gaussian, mut below_90, mut below_99) = (0.0, 0.0, 0.0, 0.0);
    for index in offsets.len() - NUM_JUDGED..offsets.len() {
        let (row, fit) = fits[&offsets[index]];
        assert!(log_scores.is_valid(index) && q90.is_valid(row) && q99.is_valid(row));
        log_score += log_scores.value(index);
        gaussian += fit.unwrap().log_density(target[index]);
        below_90 += f64::from(target[index] <= q90.value(row));
        below_99 += f64::from(target[index] <= q99.value(row));
    }
    let [log_score, gaussian, below_90, below_99] =
        [log_score, gaussian, below_90, below_99].map(|sum| sum / NUM_JUDGED as f64);
    println!(
        "last {NUM_JUDGED}: log score {log_score:.3}, rolling Gaussian {gaussian:.3}; \
         at or below q90 {below_90:.4}, q99 {below_99:.4}"
    );
    assert!(log_score > gaussian + 0.9);
    assert!((below_90 - 0.9).abs() < 0.02);
    assert!((below_99 - 0.99).abs() < 0.015);
}

/// What is watched of the outcomes.
fn look_at_what_is_watched(process: &Process) {
    let of_united = process.metric("tailwater_segment_outcomes_total{segment=\"UA\"}");
    assert!((55_000.0..59_000.0).contains(&of_united), "{of_united} outcomes of UA");
    for figure in ["quantile_e_value{quantile=\"0.5\"}", "exceed_e_value{threshold=\"15\"}"] {
        let e_value = process.metric(&format!("tailwater_{figure}"));
        // Off by less than what passes for right, or by little.
        assert!((1.0..1_000.0).contains(&e_value), "{figure}: {e_value}");
    }
    println!("miscalibrated: {}; drift: {}", process.status()["miscalibrated"], process.status()["drift"]);
}

/// What the run took, for the record.
fn print_costs(process: &Process) {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let cpu = process.metric("process_cpu_seconds_total");
    println!("{peak}; CPU {cpu:.0} s; time by stage:");
    for stage in ["decode", "score", "learn", "encode", "commit"] {
        let seconds = process.metric(&format!("tailwater_stage_seconds_sum{{stage=\"{stage}\"}}"));
        println!("  {stage:6} {seconds:6.2} s");
    }
}

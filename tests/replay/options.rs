//! What the options do.

use std::{
    io::{BufRead, BufReader},
    process::Command,
};

use arrow::{
    array::{Array, AsArray},
    datatypes::{Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type},
};
use tailwater::state::Snapshot;

use crate::command::{Bench, scores};

const NUM_FLIGHTS: usize = 4_000;

#[test]
fn a_target_is_filled_in_wherever_it_came_in_time() {
    let bench = Bench::of_flights();
    let replayed = bench.replay(&bench.write_flights(NUM_FLIGHTS), "out", &[]);
    let rows = replayed.scores();
    let offsets = rows.column_by_name("offset").unwrap().as_primitive::<Int64Type>();
    assert!(offsets.values().iter().copied().eq(0..NUM_FLIGHTS as i64), "rows in input order");
    let nulls = |name: &str| rows.column_by_name(name).unwrap().null_count();
    assert_eq!(nulls("target"), 0);
    // Before the first flights have landed there is no distribution that could be held against anything.
    assert!(nulls("params") < 100);
    assert_eq!((nulls("log_score"), nulls("pit")), (nulls("params"), nulls("params")));
    let waited = bench.replay(&bench.write_flights(NUM_FLIGHTS), "short", &["--set", "target.wait=2h"]);
    let missing = waited.scores().column_by_name("target").unwrap().null_count();
    assert!(missing > 1_000 && missing < NUM_FLIGHTS, "{missing} flights take longer than two hours");
}

#[test]
fn learning_ends_where_it_is_told_to() {
    let bench = Bench::of_flights();
    let input = bench.write_flights(NUM_FLIGHTS);
    let until = "2013-01-03T12:00:00Z";
    let all = bench.replay(&input, "all", &[]).scores();
    let some = bench.replay(&input, "some", &["--learn-until", until]).scores();
    let updates = |rows: &arrow::array::RecordBatch| {
        rows.column_by_name("updates").unwrap().as_primitive::<UInt64Type>().values().to_vec()
    };
    let (all, some, times) = (updates(&all), updates(&some), {
        let times = some.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
        let until: jiff::Timestamp = until.parse().unwrap();
        times.values().iter().map(|&us| us < until.as_microsecond()).collect::<Vec<_>>()
    });
    let before = times.iter().filter(|&&is_before| is_before).count();
    assert!(before > 1_000 && before < NUM_FLIGHTS - 500);
    assert_eq!(some[..before], all[..before]);
    let last = *some.last().unwrap();
    assert!(last > 0 && last < *all.last().unwrap(), "{last} of {} updates", all.last().unwrap());
    // Up to a mini-batch of what came just before that time is learned with the events after it.
    assert!(some[before + 100..].iter().all(|&updates| updates == last));
}

#[test]
fn a_state_is_gone_on_from_with_or_without_learning() {
    let bench = Bench::of_flights();
    let input = bench.write_flights(NUM_FLIGHTS);
    let state = bench.path("history.state");
    let state = state.to_str().unwrap();
    let half = "2013-01-03T12:00:00Z";
    bench.replay(&input, "first", &["--to", half, "--save-state", state]);
    let snapshot = Snapshot::from_bytes(&std::fs::read(state).unwrap()).unwrap();
    let learned = snapshot.operator.model.learner.updates;
    assert!(learned > 0);
    let updates = |out: &str, more: &[&str]| {
        let rows = bench.replay(&input, out, more).scores();
        let column = rows.column_by_name("updates").unwrap().as_primitive::<UInt64Type>();
        (column.value(0), column.value(rows.num_rows() - 1))
    };
    assert_eq!(updates("still", &["--from", half, "--state", state, "--no-learn"]), (learned, learned));
    let (first, last) = updates("on", &["--from", half, "--state", state]);
    assert!(first == learned && last > learned);
    let (code, said) = bench.fail(&input, "none", &["--no-learn"]);
    assert!(code == 1 && said.contains("no saved model to score with"), "{said}");
}

#[test]
fn passes_before_the_last_only_learn_and_the_report_says_that_targets_were_seen() {
    let bench = Bench::of_flights();
    let input = bench.write_flights(2_000);
    let once = bench.replay(&input, "once", &[]);
    let twice = bench.replay(&input, "twice", &["--passes", "2"]);
    assert_eq!(once.scores().num_rows(), twice.scores().num_rows());
    let updates = |rows: &arrow::array::RecordBatch| {
        rows.column_by_name("updates").unwrap().as_primitive::<UInt64Type>().value(0)
    };
    assert_eq!(updates(&once.scores()), 0);
    assert!(updates(&twice.scores()) > 0);
    assert_eq!(once.caveats(), "[]");
    assert!(twice.caveats().contains("gone through the same input once before"), "{}", twice.caveats());
    assert!(twice.text("report.html").contains("gone through the same input once before"));
}

#[test]
fn models_are_compared_over_the_same_events_with_the_uncertainty_of_their_differences() {
    let bench = Bench::of_flights();
    let input = bench.write_flights(NUM_FLIGHTS);
    let vary = bench.replay(&input, "vary", &["--vary", "model.kind=nfn,mdn", "--by", "carrier"]);
    let models = vary.summary["models"].as_array().unwrap();
    let names: Vec<_> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["model.kind=nfn", "model.kind=mdn"]);
    let alone = bench.replay(&input, "alone", &["--set", "model.kind=mdn"]);
    let beside = scores(&vary.out.join("scores-2.parquet"));
    let figures = |rows: &arrow::array::RecordBatch, name: &str| {
        rows.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone()
    };
    assert!(figures(&beside, "q99") == figures(&alone.scores(), "q99"), "one beside another changes nothing");
    let comparison = &vary.summary["comparisons"][0];
    assert_eq!(comparison["events"], models[0]["judged"]);
    let differences = comparison["differences"].as_array().unwrap();
    let log_loss = differences.iter().find(|difference| difference["score"] == "log_loss").unwrap();
    let number = |key: &str| log_loss[key].as_f64().unwrap();
    assert!((number("other") - number("first") - number("difference")).abs() < 1e-12);
    let [low, high] = [0, 1].map(|end| log_loss["interval"][end].as_f64().unwrap());
    assert!(low < number("difference") && number("difference") < high);
    assert!(models[0]["segments"].as_array().unwrap().len() > 5);
    let (code, said) = bench.fail(&input, "other", &["--vary", "target.wait=1h,2h"]);
    assert!(code == 1 && said.contains("[target]"), "{said}");
}

#[test]
fn one_that_is_interrupted_leaves_a_partial_result_that_says_so() {
    let bench = Bench::of_flights();
    let input = bench.write_flights(NUM_FLIGHTS);
    // Four days of flights in about four minutes: it is interrupted long before.
    let mut child =
        bench.command(&input, "out", &["--speed", "1500x", "--log-level", "debug"]).spawn().unwrap();
    // Its scores appear when it has begun; then some seconds of events are worth hours of flights.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !bench.path("out/scores.parquet.partial").exists() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_secs(20));
    let signalled = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(signalled.success());
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        said += &line.unwrap();
    }
    let replayed = bench.results("out", child.wait_with_output().unwrap());
    assert!(said.contains("writing down what there is so far"), "{said}");
    let num_rows = replayed.scores().num_rows();
    assert!(num_rows > 0 && num_rows < NUM_FLIGHTS, "{num_rows}");
    assert!(replayed.caveats().contains("It was interrupted"), "{}", replayed.caveats());
    assert!(replayed.text("report.html").contains("It was interrupted"));
    assert!(replayed.stdout.contains("It was interrupted"));
}

#[test]
fn results_are_not_laid_over_others_and_a_wrong_config_is_told_whole() {
    let bench = Bench::of_flights();
    let input = bench.write_flights(10);
    bench.replay(&input, "out", &[]);
    let (code, said) = bench.fail(&input, "out", &[]);
    assert!(code == 1 && said.contains("is not empty"), "{said}");
    let (code, said) = bench.fail(&input, "other", &["--set", "learn.rate=-1", "--set", "model.kind=gan"]);
    assert!(code == 78 && said.contains("learn.rate") && said.contains("model.kind"), "{said}");
    let (code, said) = bench.fail(&input, "other", &["--by", "status"]);
    assert!(code == 78 && said.contains("its column status is taken"), "{said}");
    let (code, said) = bench.fail(&input, "other", &["--from", "yesterday"]);
    assert!(code == 1 && said.contains("--from yesterday") && said.contains("7d"), "{said}");
    assert!(!bench.path("other").exists());
}

#[test]
fn a_config_of_features_and_target_is_enough_for_a_file() {
    let bench = Bench::new("[features]\nx = \"number\"\n[target]\nfields = [\"y\"]\n[learn]\nwarmup = 32\n");
    let rows: String =
        (0..200).map(|i| format!("{{\"x\": {}, \"y\": {}}}\n", i % 7, (i * 37) % 11)).collect();
    let input = bench.write("rows.ndjson", rows.as_bytes());
    let replayed = bench.replay(&input, "out", &[]);
    let scores = replayed.scores();
    assert_eq!(scores.num_rows(), 200);
    // What goes by time can't be asked for.
    let (code, said) = bench.fail(&input, "other", &["--learn-until", "2024-01-01T00:00:00Z"]);
    assert!(code == 1 && said.contains("input.time"), "{said}");
    let times = scores.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(7), 7_000_000, "without event time a row's number stands for it, in seconds");
    // What is written of the config gives the same again.
    let again = Bench::new(&replayed.text("config.toml"));
    let same = again.replay(&again.write("rows.ndjson", rows.as_bytes()), "out", &[]);
    assert_eq!(same.summary["models"][0]["config_hash"], replayed.summary["models"][0]["config_hash"]);
    assert!(same.scores().columns() == scores.columns());
}

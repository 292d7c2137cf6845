//! Several targets, and one that is rounded and positive, through the broker and back.

use std::{collections::BTreeSet, fs};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Float64Type, Int64Type},
};

use crate::{
    cluster::{Cluster, Record},
    feed::{assert_published_once, wait_until_done},
    process::Setup,
    scores::{column, rows},
    years,
};

const NUM_FLIGHTS: usize = 2_000;
/// Of so many flights one does not tell how long it flew.
const UNTOLD: i64 = 10;

/// Puts flights into the input that tell how many minutes they flew, most of them; the offsets of those that arrived early.
fn fill(setup: &Setup<'_>) -> BTreeSet<i64> {
    let mut early = BTreeSet::new();
    let flights = (0..).zip(years::endless().take(NUM_FLIGHTS)).map(|(offset, mut flight)| {
        let seconds = |field: &str| flight[field].as_i64().unwrap();
        let minutes = (seconds("arrived_at") - seconds("departed_at")) / 60;
        if offset % UNTOLD != 0 {
            flight["flown"] = minutes.into();
        }
        if flight["arr_delay"].as_i64().unwrap() < 0 {
            early.insert(offset);
        }
        Record::new(0, flight.to_string())
    });
    let flights: Vec<Record> = flights.collect();
    setup.cluster.produce(&setup.input, flights);
    early
}

/// Runs over all of the input, with a crash in the midst of it, and asserts that it changed nothing.
fn run_with_a_crash(setup: &Setup<'_>, sets: &[&str]) -> (RecordBatch, RecordBatch) {
    let process = setup.start(sets);
    process.wait_until_scored(500);
    process.crash();
    let process = setup.start(sets);
    wait_until_done(setup, &process);
    process.stop();
    assert_published_once(setup, sets);
    (rows(setup.cluster, &setup.output), rows(setup.cluster, &setup.outcomes))
}

/// The values of a column that may have nulls.
fn some(rows: &RecordBatch, name: &str) -> Vec<f64> {
    let column = rows.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    column.as_primitive::<Float64Type>().iter().flatten().collect()
}

/// That half of these, roughly, lie at or below ½.
fn assert_calibrated(outcomes: &RecordBatch, pit: &str) {
    let pits = some(outcomes, pit);
    let below = pits.iter().filter(|&&pit| pit <= 0.5).count() as f64 / pits.len() as f64;
    assert!(pits.len() > 300 && (0.35..0.65).contains(&below), "{pit}: {below} of {}", pits.len());
}

#[test]
fn two_targets_are_scored_together_and_a_crash_changes_no_bit() {
    let sets = [
        r#"target.fields=["flown","arr_delay"]"#, // both in minutes
        "score.exceed=[60.0,{long_and_late={flown=180.0,arr_delay=60.0}}]",
        "score.quantiles=[0.5,0.9]",
        "score.shortfall=[0.9]",
        "score.calibrate=\"off\"",
        "learn.warmup=256",
        "learn.batch=64",
        "state.interval=200ms",
    ];
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    // The example's step is for one target.
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("two_targets.toml");
    let example = fs::read_to_string(&setup.config).unwrap();
    let without_step: Vec<&str> = example.lines().filter(|line| !line.starts_with("step ")).collect();
    fs::write(&config, without_step.join("\n")).unwrap();
    let setup = Setup { config, ..setup };
    fill(&setup);
    let (scores, outcomes) = run_with_a_crash(&setup, &sets);

    assert_eq!(scores.num_rows(), NUM_FLIGHTS);
    let figure = |name: &str| some(&scores, name);
    let (flown, late) = (figure("flown__p_gt_60"), figure("arr_delay__p_gt_60"));
    let both = figure("p_gt_long_and_late");
    let quantiles = ["flown__q50", "flown__q90", "arr_delay__q50", "arr_delay__q90"].map(figure);
    let shortfall = figure("arr_delay__es90");
    assert!(both.len() > 1_000, "{} rows are scored after the warm-up", both.len());
    for row in 0..both.len() {
        assert!((0.0..=1.0).contains(&flown[row]) && (0.0..=1.0).contains(&late[row]));
        assert!((0.0..=late[row]).contains(&both[row]), "both are rarer than one: row {row}");
        assert!(quantiles[0][row] <= quantiles[1][row] && quantiles[2][row] <= quantiles[3][row]);
        assert!(shortfall.len() < both.len() || shortfall[row] >= quantiles[3][row]);
    }

    let offsets = column::<Int64Type>(&outcomes, "offset");
    assert!(offsets.iter().all(|offset| offset % UNTOLD != 0), "both targets, or no outcome");
    assert!(column::<Float64Type>(&outcomes, "flown__target").iter().all(|&minutes| minutes > 0.0));
    assert_eq!(some(&outcomes, "log_score").len(), some(&outcomes, "flown__pit").len());
    assert_calibrated(&outcomes, "flown__pit");
    assert_calibrated(&outcomes, "arr_delay__pit");
    assert!(cluster.consume(&setup.rejected).is_empty());
}

#[test]
fn a_rounded_and_positive_target_is_scored_in_whole_steps_above_zero_and_a_crash_changes_no_bit() {
    let sets = [
        r#"target.support="positive""#, // and the example's step of a minute
        "score.quantiles=[0.01,0.5,0.9]",
        "score.exceed=[-1.0,15.0]",
        "score.limit=[60.0]",
        "learn.warmup=256",
        "state.interval=200ms",
    ];
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let early = fill(&setup);
    let (scores, outcomes) = run_with_a_crash(&setup, &sets);

    let rejected = cluster.consume(&setup.rejected);
    assert_eq!(rejected.len(), early.len());
    for record in rejected {
        let reason = record.header("tailwater-reason").unwrap();
        assert!(reason.starts_with("out_of_domain") && reason.contains("target.support"), "{reason}");
        assert!(early.contains(&record.header("tailwater-offset").unwrap().parse().unwrap()));
    }
    for name in ["q1", "q50", "q90"] {
        let quantiles = some(&scores, name);
        assert!(quantiles.len() > 300 && quantiles.iter().all(|q| *q >= 0.0 && q.fract() == 0.0), "{name}");
    }
    // All of the mass is above 0, and what is rounded to 0 is above −1.
    assert!(some(&scores, "p_gt_m1").iter().all(|&p| (p - 1.0).abs() < 1e-12));
    assert!(some(&scores, "lev_60").iter().all(|limited| (0.0..=60.0).contains(limited)));
    let log_scores = some(&outcomes, "log_score");
    assert!(log_scores.iter().all(|&log_score| log_score < 0.0), "of a probability, not of a density");
    assert_calibrated(&outcomes, "pit");
}

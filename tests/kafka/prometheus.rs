//! The shipped rules and the shipped dashboard on a real Prometheus that scrapes running processes: which alerts fire when something is
//! at fault, that no other does, and that every panel has something to show.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    cluster::{Cluster, PATIENCE, Record},
    process::{Process, Setup},
    scraper::{Prometheus, tool},
    years,
};

/// So many times faster does time pass for the rules: each duration in them is divided by it, and nothing else is changed.
const SPEED: u32 = 120;
/// How fast flights come to each group.
const FLIGHTS_PER_SECOND: f64 = 500.0;
/// So many come at a time.
const FLIGHTS_AT_A_TIME: usize = 100;
/// So long all is well: longer than any `for` and any window but those of six hours and more.
const HEALTHY: Duration = Duration::from_secs(70);
/// So long after the last expected alert no other may come.
const AFTER: Duration = Duration::from_secs(20);
/// Of the records of the poisoned group one in so many can't be used.
const POISONED: usize = 10;

/// What will happen to each group, and the alerts that are to tell it.
const FAULTS: [(&str, &[&str]); 5] = [
    ("steady", &[]),
    ("unit", &["TailwaterDrift", "TailwaterLogScoreFell"]),
    ("silent", &["TailwaterNoInput"]),
    ("poisoned", &["TailwaterRejecting"]),
    ("killed", &["TailwaterNoLeader"]),
];

fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/helm/tailwater/files").join(file);
    std::fs::read_to_string(path).unwrap()
}

/// The rules with every duration, `[5m]`, `for: 5m` and `offset 1d`, divided by [`SPEED`].
fn shortened(rules: &str) -> String {
    let mut shortened = rules.to_owned();
    for before in ["[", "for: ", "offset "] {
        let mut pieces = shortened.split(before);
        let mut text = pieces.next().unwrap().to_owned();
        for piece in pieces {
            text.push_str(before);
            let digits = piece.len() - piece.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let ms = match (piece[..digits].parse::<u32>(), piece[digits..].chars().next()) {
                (Ok(number), Some('m')) => number * 60_000,
                (Ok(number), Some('h')) => number * 3_600_000,
                (Ok(number), Some('d')) => number * 86_400_000,
                (Ok(number), Some('w')) => number * 604_800_000,
                _ => panic!("no duration after {before:?}: {}", piece.lines().next().unwrap()),
            };
            text.push_str(&format!("{}ms{}", ms / SPEED, &piece[digits + 1..]));
        }
        shortened = text;
    }
    shortened
}

#[test]
fn every_duration_of_the_rules_is_shortened_and_nothing_else() {
    let text = "rate(x[5m] offset 1d)\nfor: 2h\nadmits 5m and [1w]";
    assert_eq!(shortened(text), "rate(x[2500ms] offset 720000ms)\nfor: 60000ms\nadmits 5m and [5040000ms]");
}

/// Flights come to every group as long as `act` takes; once `is_broken`, to each as its fault has it.
fn feed_while(setups: &BTreeMap<&str, Setup<'_>>, is_broken: &AtomicBool, act: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (name, setup) in setups {
            scope.spawn(|| feed_until(&stop, name, setup, is_broken));
        }
        // An assertion that fails ends the feeds too.
        let acted = catch_unwind(AssertUnwindSafe(act));
        stop.store(true, Ordering::Relaxed);
        acted.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

fn feed_until(stop: &AtomicBool, name: &str, setup: &Setup<'_>, is_broken: &AtomicBool) {
    let writer = setup.cluster.writer();
    let mut flights = years::endless().enumerate();
    let interval = Duration::from_secs_f64(FLIGHTS_AT_A_TIME as f64 / FLIGHTS_PER_SECOND);
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let is_broken = is_broken.load(Ordering::Relaxed);
        let records = flights.by_ref().take(FLIGHTS_AT_A_TIME).filter_map(|(index, flight)| match name {
            "silent" if is_broken => None,
            "unit" if is_broken => Some(in_seconds(flight).to_string()),
            "poisoned" if is_broken && index % POISONED == 0 => Some("not a flight".to_owned()),
            _ => Some(flight.to_string()),
        });
        writer.write(&setup.input, records.map(|value| Record::new(0, value))).unwrap();
        next += interval;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// The flight with its delay in seconds instead of minutes.
fn in_seconds(mut flight: Value) -> Value {
    flight["arr_delay"] = (flight["arr_delay"].as_f64().unwrap() * 60.0).into();
    flight
}

/// By group the alerts that have fired at any time.
fn fired(prometheus: &Prometheus) -> BTreeMap<String, BTreeSet<String>> {
    let mut fired: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for alert in
        prometheus.query(r#"max by (job, alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))"#)
    {
        let label = |name: &str| alert.labels.get(name).cloned().unwrap_or_default();
        fired.entry(label("job")).or_default().insert(label("alertname"));
    }
    fired
}

#[test]
#[ignore = "needs Prometheus: make test runs it"]
fn each_fault_fires_its_alerts_and_no_other_and_every_panel_has_something_to_show() {
    let cluster = Cluster::connect();
    let setups: BTreeMap<&str, Setup<'_>> =
        FAULTS.iter().map(|&(name, _)| (name, Setup::new(&cluster, 1))).collect();
    let mut leaders: BTreeMap<&str, Process> =
        setups.iter().map(|(&name, setup)| (name, setup.start(&[]))).collect();
    leaders.values().for_each(Process::wait_until_leading);
    let standby = setups["steady"].start(&[]);
    standby.wait_until("standing by", |process| process.role() == "standby");

    let mut jobs: BTreeMap<&str, Vec<String>> =
        leaders.iter().map(|(&name, leader)| (name, vec![leader.admin().to_owned()])).collect();
    jobs.get_mut("steady").unwrap().push(standby.admin().to_owned());
    let prometheus = Prometheus::start(&shortened(&shipped("rules.yaml")), &jobs);
    let is_broken = AtomicBool::new(false);
    feed_while(&setups, &is_broken, || {
        thread::sleep(HEALTHY);
        assert_eq!(fired(&prometheus), BTreeMap::new(), "all is well");
        let scored: Vec<u64> = leaders.values().map(Process::num_scored).collect();
        assert!(scored.iter().all(|&scored| scored > 20_000), "{scored:?}");
        look_at_the_dashboard(&prometheus);
        for process in [&leaders["steady"], &standby] {
            check_metrics(&process.get("/metrics").1);
        }

        is_broken.store(true, Ordering::Relaxed);
        leaders.remove("killed").unwrap().crash();
        let broken = Instant::now();
        let expected: BTreeMap<String, BTreeSet<String>> = FAULTS
            .iter()
            .filter(|(_, alerts)| !alerts.is_empty())
            .map(|(name, alerts)| ((*name).to_owned(), alerts.iter().map(ToString::to_string).collect()))
            .collect();
        let mut found = BTreeMap::new();
        while found != expected && broken.elapsed() < PATIENCE {
            let now = fired(&prometheus);
            if now != found {
                println!("{:4.1} s after: {now:?}", broken.elapsed().as_secs_f64());
            }
            found = now;
            thread::sleep(Duration::from_millis(250));
        }
        thread::sleep(AFTER);
        assert_eq!(fired(&prometheus), expected);
        look_at_the_annotations(&prometheus);
    });
}

/// A query with the dashboard's variables filled in.
fn filled_in(query: &Value, job: &str) -> String {
    let mut query = query.as_str().unwrap().to_owned();
    for (variable, value) in [
        ("$__rate_interval", "5s"),
        ("$__range", "1m"),
        ("$namespace", ".*"),
        ("$job", job),
        ("$instance", ".*"),
    ] {
        query = query.replace(variable, value);
    }
    assert!(!query.contains('$'), "a variable that the test does not know: {query}");
    query
}

/// Runs every query of every panel: each has to show a number at least.
fn look_at_the_dashboard(prometheus: &Prometheus) {
    let dashboard: Value = serde_json::from_str(&shipped("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut wrong = Vec::new();
    let mut num_queries = 0;
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = filled_in(&target["expr"], "steady");
            num_queries += 1;
            match prometheus.try_query(&query) {
                Ok(samples) if samples.iter().any(|sample| !sample.value.is_nan()) => {}
                told => wrong.push(format!("{}: {query}: {told:?}", panel["title"])),
            }
        }
    }
    assert!(num_queries > 50, "{num_queries} queries");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What marks alerts on the panels shows the one that fires.
fn look_at_the_annotations(prometheus: &Prometheus) {
    let dashboard: Value = serde_json::from_str(&shipped("dashboard.json")).unwrap();
    let query = filled_in(&dashboard["annotations"]["list"][0]["expr"], "silent");
    let names: Vec<_> =
        prometheus.query(&query).into_iter().map(|sample| sample.labels["alertname"].clone()).collect();
    assert_eq!(names, ["TailwaterNoInput"]);
}

/// Prometheus's own linter has nothing to say of the metrics but that `quantile` is a summary's label. The contract calls so the quantiles whose
/// outcomes are counted, and none of these metrics is taken for a summary.
fn check_metrics(text: &str) {
    let mut promtool = Command::new(tool("TAILWATER_PROMTOOL"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let told: BTreeSet<&str> = told.lines().collect();
    let excepted: BTreeSet<String> =
        ["quantile_e_value", "quantile_outcomes_total", "segment_quantile_outcomes_total"]
            .map(|name| format!("tailwater_{name} non-summary metrics should not have \"quantile\" label"))
            .into();
    let wrong: Vec<_> = told.into_iter().filter(|line| !excepted.contains(*line)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

//! What exactly-once delivery costs, and whether memory stays flat: the whole program on a real Kafka of its own.
//!
//! ```text
//! scripts/kafka.sh with cargo bench --profile release --bench delivery                  the cost
//! scripts/kafka.sh with cargo bench --profile release --bench delivery -- soak 10       so many minutes at full speed
//! scripts/kafka.sh with cargo bench --profile release --bench delivery -- sizing        what a model of some size takes
//! make watch MINUTES=30 RATE=1500     so many at a steady rate, watched by a Prometheus with the shipped rules and by its page
//! ```
//! The cost is the ratio of two rates that are measured in turn, on the same records.

#![allow(clippy::unwrap_used, missing_docs)]
#![expect(dead_code, reason = "the tests' cluster and processes have more to them than is measured here")]

use std::{
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use tailwater::flights;
use tempfile::TempDir;

#[path = "../tests/kafka/broker.rs"]
mod broker;
#[path = "../tests/kafka/cluster.rs"]
mod cluster;
#[path = "throughput/defaults.rs"]
mod defaults;
#[path = "../tests/kafka/process.rs"]
mod process;
#[path = "../tests/kafka/proxy.rs"]
mod proxy;
#[path = "../tests/kafka/scraper.rs"]
mod scraper;
#[path = "throughput/usage.rs"]
mod usage;
#[path = "../tests/kafka/wire.rs"]
mod wire;
#[path = "../tests/kafka/years.rs"]
mod years;

use broker::{Broker, Options};
use cluster::{Cluster, Record};
use defaults::DEFAULTS;
use process::{Process, Setup};
use scraper::Prometheus;
use usage::{cpu_seconds, resident_mib};

/// How often each guarantee is measured.
const ROUNDS: usize = 6;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    // Retention and compaction at work, as in a topic that never ends.
    let properties = [
        ("log.retention.check.interval.ms", "5000"),
        ("log.cleaner.backoff.ms", "5000"),
        // A machine that is busy for ten seconds is no reason to be taken for dead, which such a broker does not come back from.
        ("broker.session.timeout.ms", "120000"),
    ];
    let broker = Broker::start(&Options { properties: &properties, ..Options::default() });
    let cluster = Cluster::at(broker.brokers());
    match arguments.first().map(String::as_str) {
        Some("sizing") => sizing(&cluster),
        Some("watch") => {
            let number =
                |nth: usize, default| arguments.get(nth).map_or(default, |text| text.parse().unwrap());
            watched(&cluster, number(1, 30), number(2, 1_500));
        }
        Some("soak") => soak(&cluster, arguments.get(1).map_or(10, |minutes| minutes.parse().unwrap())),
        _ => cost(&cluster),
    }
}

/// Events a second over the year of flights, by guarantee, in turn.
fn cost(cluster: &Cluster) {
    let input = cluster.create_topic("flights", 1);
    let flights = flights::json_records().unwrap();
    cluster.produce(&input, flights.map(|flight| Record::new(0, flight.unwrap())));
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        // Each comes first as often as the other, since page cache and clock speed drift.
        let mut guarantees = ["exactly-once", "at-least-once"];
        let is_swapped = round % 2 == 0;
        if is_swapped {
            guarantees.reverse();
        }
        let mut rates = guarantees.map(|guarantee| rate(cluster, &input, guarantee));
        if is_swapped {
            rates.reverse();
        }
        let [exactly, at_least] = rates;
        println!(
            "round {round}: exactly once {exactly:.0} events/s, at least once {at_least:.0} events/s, ratio {:.3}",
            exactly / at_least
        );
        ratios.push(exactly / at_least);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "exactly once / at least once: median {:.3}, {:.3} to {:.3}",
        (ratios[ROUNDS / 2 - 1] + ratios[ROUNDS / 2]) / 2.0,
        ratios[0],
        ratios[ROUNDS - 1]
    );
}

fn rate(cluster: &Cluster, input: &str, guarantee: &str) -> f64 {
    let setup = Setup::on_input(cluster, input);
    let process = setup.start(&[&format!("delivery.guarantee={guarantee}")]);
    process.wait_until_leading();
    let begun = Instant::now();
    let all = flights::NUM_FLIGHTS as i64;
    while cluster.committed(&setup.group, input).get(&0) != Some(&all) {
        thread::sleep(Duration::from_millis(10));
    }
    let took = begun.elapsed();
    process.stop();
    all as f64 / took.as_secs_f64()
}

/// What processes that differ in their model take: CPU, memory, and bytes of a snapshot.
fn sizing(cluster: &Cluster) {
    const NUM_FLIGHTS: usize = 60_000;
    let input = cluster.create_topic("flights", 1);
    let flights = flights::json_records().unwrap().take(NUM_FLIGHTS);
    cluster.produce(&input, flights.map(|flight| Record::new(0, flight.unwrap())));
    println!(
        "| model | events/s | µs of CPU an event | events a second and core | RSS MiB | snapshot KiB | bytes a score | bytes an outcome |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let with = |hidden: &str, more: &[&str]| {
        [&DEFAULTS[..], &["learn.batch=32", hidden], more].concat().into_iter().map(str::to_owned).collect()
    };
    let models: [(&str, Vec<String>); 7] = [
        ("examples/flights.toml", Vec::new()),
        ("defaults, hidden 16, 16", with("model.hidden=[16,16]", &[])),
        ("defaults: hidden 32, 32", with("model.hidden=[32,32]", &[])),
        ("defaults, hidden 64, 64", with("model.hidden=[64,64]", &[])),
        ("defaults, hidden 128, 128", with("model.hidden=[128,128]", &[])),
        ("defaults, mini-batches of 128", with("model.hidden=[32,32]", &["learn.batch=128"])),
        ("defaults, at least once", with("model.hidden=[32,32]", &["delivery.guarantee=at-least-once"])),
    ];
    let bytes_an_event = |topic: &str| {
        let bytes = cluster
            .consume(topic)
            .iter()
            .filter_map(|record| Some(record.value.as_ref()?.len()))
            .sum::<usize>();
        bytes as f64 / NUM_FLIGHTS as f64
    };
    for (name, sets) in models {
        let setup = Setup::on_input(cluster, &input);
        let process = setup.start(&sets.iter().map(String::as_str).collect::<Vec<_>>());
        process.wait_until_leading();
        let (begun, cpu) = (Instant::now(), cpu_seconds(process.pid()));
        while cluster.committed(&setup.group, &input).get(&0) != Some(&(NUM_FLIGHTS as i64)) {
            thread::sleep(Duration::from_millis(10));
        }
        let seconds = begun.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds(process.pid()) - cpu;
        thread::sleep(Duration::from_secs(11)); // for a snapshot of the whole
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            NUM_FLIGHTS as f64 / seconds,
            1e6 * cpu_seconds / NUM_FLIGHTS as f64,
            NUM_FLIGHTS as f64 / cpu_seconds,
            resident_mib(process.pid()),
            process.metric("tailwater_state_bytes") / 1024.0,
            bytes_an_event(&setup.output),
            bytes_an_event(&setup.outcomes),
        );
        process.stop();
    }
    waiting(cluster);
}

/// What an event takes while it waits for its target.
fn waiting(cluster: &Cluster) {
    const NUM_KNOWN: usize = 10_000;
    const NUM_LATE: usize = 100_000;
    const YEARS_S: i64 = 10 * 366 * 86_400;
    let input = cluster.create_topic("late", 1);
    let mut flights = years::endless();
    let setup = Setup::on_input(cluster, &input);
    let process = setup.start(&["target.wait=7300d"]);
    let resident = |flights: Vec<serde_json::Value>| {
        let num_flights = process.num_scored() + flights.len() as u64;
        cluster.produce(
            &input,
            flights.iter().map(|flight| Record::new(0, serde_json::to_vec(flight).unwrap())),
        );
        while process.num_scored() < num_flights {
            thread::sleep(Duration::from_millis(100));
        }
        thread::sleep(Duration::from_secs(11)); // for a snapshot, which counts to both
        resident_mib(process.pid())
    };
    let before = resident(flights.by_ref().take(NUM_KNOWN).collect());
    let late = flights.take(NUM_LATE).map(|mut flight| {
        flight["arrived_at"] = (flight["arrived_at"].as_i64().unwrap() + YEARS_S).into();
        flight
    });
    let after = resident(late.collect());
    let bytes = (after - before) * 1024.0 * 1024.0 / NUM_LATE as f64;
    println!("\nan event that waits for its target: {bytes:.0} bytes");
    process.stop();
}

/// The flights over and over, each year after the other, as fast as they are scored.
fn soak(cluster: &Cluster, minutes: u64) {
    const AHEAD: u64 = 200_000;
    let bounded = [("retention.bytes", "200000000"), ("segment.bytes", "20000000")];
    // Some eight years go by in a minute; their records have their own times, which is what the future is judged by.
    let forever = i64::MAX.to_string();
    let timeless = [
        ("message.timestamp.after.max.ms", forever.as_str()),
        ("segment.ms", forever.as_str()),
        ("retention.ms", "-1"),
    ];
    let input = cluster.create_topic_with("flights", 1, &[&bounded[..], &timeless].concat());
    let setup = Setup {
        output: cluster.create_topic_with("risk", 1, &bounded),
        outcomes: cluster.create_topic_with("outcomes", 1, &bounded),
        ..Setup::on_input(cluster, &input)
    };
    let process = setup.start(&[]);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut records = years::endless().map(|flight| {
                let departed_at_ms = 1000 * flight["departed_at"].as_i64().unwrap();
                Record::new(0, serde_json::to_vec(&flight).unwrap()).with_timestamp_ms(departed_at_ms)
            });
            while !stop.load(Ordering::Relaxed) {
                if sent.load(Ordering::Relaxed) > process.num_scored() + AHEAD {
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
                cluster.produce(&input, records.by_ref().take(50_000));
                sent.fetch_add(50_000, Ordering::Relaxed);
            }
        });
        process.wait_until_leading();
        follow(&process, minutes);
        stop.store(true, Ordering::Relaxed);
    });
    process.stop();
}

/// Prints each half minute what a process has done and what it holds.
fn follow(process: &Process, minutes: u64) {
    let begun = Instant::now();
    println!(
        "{:>8}  {:>12}  {:>10}  {:>10}  {:>12}",
        "minute", "scored", "events/s", "RSS MiB", "state bytes"
    );
    let mut last = process.num_scored();
    for half_minute in 1..=2 * minutes {
        thread::sleep((Duration::from_secs(30 * half_minute)).saturating_sub(begun.elapsed()));
        let scored = process.num_scored();
        println!(
            "{:>8.1}  {scored:>12}  {:>10.0}  {:>10.1}  {:>12}",
            half_minute as f64 / 2.0,
            (scored - last) as f64 / 30.0,
            resident_mib(process.pid()),
            process.metric("tailwater_state_bytes"),
        );
        last = scored;
    }
}

/// Flights of the whole year in random order, one each hundred seconds of event time: a world that stays as it is, in which every alert would
/// be a false one.
fn unchanging() -> impl Iterator<Item = serde_json::Value> {
    const SECONDS_APART: i64 = 100;
    const BEGIN: i64 = 1_357_000_000; // with 2013
    let year: Vec<serde_json::Value> = flights::json_records()
        .unwrap()
        .map(|flight| serde_json::from_slice(&flight.unwrap()).unwrap())
        .collect();
    let mut random = 1_u64;
    (0_i64..).map(move |nth| {
        // Knuth's MMIX; its upper bits are the random ones.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut flight = year[(random >> 33) as usize % year.len()].clone();
        let in_the_air = flight["arrived_at"].as_i64().unwrap() - flight["departed_at"].as_i64().unwrap();
        let departed_at = BEGIN + nth * SECONDS_APART;
        flight["departed_at"] = departed_at.into();
        flight["arrived_at"] = (departed_at + in_the_air).into();
        flight
    })
}

/// A load of so many flights a second; a Prometheus scrapes by the shipped rules, and a browser shows the live page. Tells at the
/// end which alerts have fired and what was logged above info.
fn watched(cluster: &Cluster, minutes: u64, rate: u64) {
    const TICKS_PER_SECOND: u64 = 10;
    let input = cluster.create_topic("flights", 1);
    let setup = Setup::on_input(cluster, &input);
    let process = setup.start(&[]);
    process.wait_until_leading();
    let rules = include_str!("../deploy/helm/tailwater/files/rules.yaml");
    let prometheus = Prometheus::start(rules, &[("flights", vec![process.admin().to_owned()])].into());
    let _page = Page::open(&format!("http://{}/", process.admin()));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (begun, mut num_ticks) = (Instant::now(), 0);
            let (mut flights, writer) = (unchanging(), cluster.writer());
            while !stop.load(Ordering::Relaxed) {
                let flights = flights.by_ref().take((rate / TICKS_PER_SECOND) as usize);
                writer.write(&input, flights.map(|flight| Record::new(0, flight.to_string()))).unwrap();
                num_ticks += 1;
                let due = Duration::from_millis(1_000 / TICKS_PER_SECOND * num_ticks);
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        });
        follow(&process, minutes);
        stop.store(true, Ordering::Relaxed);
    });
    for state in ["firing", "pending"] {
        let alerts = prometheus.query(&format!(
            "max by (alertname) (max_over_time(ALERTS{{alertstate=\"{state}\"}}[{}m]))",
            minutes + 5
        ));
        let names: Vec<&str> = alerts.iter().map(|alert| alert.labels["alertname"].as_str()).collect();
        println!(
            "alerts that were {state}: {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        );
    }
    let log = process.stop();
    let warnings: Vec<&str> =
        log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    println!("lines of the log above info: {}\n{}", warnings.len(), warnings.join("\n"));
}

/// A browser that shows a page until it is dropped.
struct Page {
    browser: Child,
    _profile: TempDir,
}

impl Page {
    fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let browser = Command::new(
            std::env::var_os("TAILWATER_CHROMIUM").expect("scripts/browser.sh sets TAILWATER_CHROMIUM"),
        )
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--remote-debugging-port=0", url]) // without it a page is printed and left
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .env_remove("LD_LIBRARY_PATH") // libtorch's is none of a browser's
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
        Self { browser, _profile: profile }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.browser.kill().ok();
        self.browser.wait().ok();
    }
}

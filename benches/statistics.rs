//! What is learned of streams whose truth is known: `make statistics`.
//!
//! ```text
//! cargo bench --profile release --bench statistics -- [EVENTS [SEEDS]] [MODEL …] [STREAM …] [KEY=VALUE …]
//! ```

#![allow(clippy::unwrap_used, dead_code, missing_docs)]

#[path = "../tests/statistics/baseline.rs"]
mod baseline;
#[path = "../tests/statistics/changes.rs"]
mod changes;
#[path = "../tests/statistics/flights.rs"]
mod flights;
#[path = "../tests/statistics/follow.rs"]
mod follow;
#[path = "../tests/statistics/hostile.rs"]
mod hostile;
#[path = "../tests/statistics/pit.rs"]
mod pit;
#[path = "../tests/statistics/streams.rs"]
mod streams;
#[path = "../tests/statistics/suite.rs"]
mod suite;

use streams::{BREAK, RAMP, STREAMS, Stream, TURN};
use suite::{CONTENDERS, run};

/// What the command line asks for.
struct Wanted {
    num_events: usize,
    num_seeds: u64,
    models: Vec<String>,
    streams: Vec<String>,
    keys: Vec<String>,
}

impl Wanted {
    fn from_arguments() -> Self {
        let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
        let (keys, words): (Vec<_>, Vec<_>) = arguments.partition(|argument| argument.contains('='));
        let (counts, names): (Vec<_>, Vec<_>) =
            words.into_iter().partition(|word| word.chars().all(|c| c.is_ascii_digit()));
        let (models, streams) =
            names.into_iter().partition(|word| CONTENDERS.iter().any(|(name, _)| name == word));
        let count = |nth: usize, default| counts.get(nth).map_or(default, |text| text.parse().unwrap());
        Self { num_events: count(0, 200_000), num_seeds: count(1, 1) as u64, models, streams, keys }
    }

    fn has_stream(&self, name: &str) -> bool {
        self.streams.is_empty() || self.streams.iter().any(|stream| stream == name)
    }

    /// Every model and seed, with the keys that make them.
    fn runs(&self) -> impl Iterator<Item = (&'static str, u64, Vec<String>)> {
        let wanted = |name: &str| self.models.is_empty() || self.models.iter().any(|model| model == name);
        let contenders = CONTENDERS.into_iter().filter(move |(name, _)| wanted(name));
        contenders.flat_map(move |(name, key)| {
            (1..=self.num_seeds).map(move |seed| {
                let made = [key.to_owned(), format!("model.seed={seed}")];
                (name, seed, made.into_iter().chain(self.keys.iter().cloned()).collect())
            })
        })
    }
}

fn main() {
    let wanted = Wanted::from_arguments();
    if wanted.streams == ["hostile"] {
        return hostile(&wanted);
    }
    if wanted.streams == [TURN.name] {
        const MILLION: usize = 1_000_000;
        let edges: Vec<usize> = (0..=10).map(|nth| (nth * MILLION).max(2_048)).collect();
        return change(&wanted, TURN, 0, &edges);
    }
    streams(&wanted);
    changes(&wanted);
    if wanted.has_stream("flights") {
        flights(&wanted);
    }
}

fn changes(wanted: &Wanted) {
    const AFTER_BREAK: [usize; 6] = [0, 500, 1_000, 2_000, 4_000, 8_000];
    const OF_RAMP: [usize; 7] = [2_048, 5_000, 10_000, 50_000, 200_000, 500_000, 1_000_000];
    for (stream, from, edges) in [(BREAK, 50_000, &AFTER_BREAK[..]), (RAMP, 0, &OF_RAMP[..])] {
        if wanted.has_stream(stream.name) {
            change(wanted, stream, from, edges);
        }
    }
}

fn change(wanted: &Wanted, stream: Stream, from: usize, edges: &[usize]) {
    let windows: Vec<_> = edges.windows(2).map(|edges| from + edges[0]..from + edges[1]).collect();
    print!(
        "\n{}: nats behind the truth from event {from} on, between\n{:<8} {:>4}",
        stream.name, "model", "seed"
    );
    edges.windows(2).for_each(|edges| print!(" {:>17}", format!("{}–{}", edges[0], edges[1])));
    println!();
    for (name, seed, keys) in wanted.runs() {
        print!("{name:<8} {seed:>4}");
        changes::regrets(stream, seed, &keys, &windows).iter().for_each(|regret| print!(" {regret:>17.4}"));
        println!();
    }
}

fn streams(wanted: &Wanted) {
    let num_events = wanted.num_events;
    println!(
        "{num_events} events, judged over the last quarter. regret: nats behind the truth's log score; p̂/p and |p̂−p|/p: published"
    );
    println!(
        "over true tail probability, and their relative error, at 1e-2, 1e-3, 1e-4; q.999: error of that quantile; PIT: its"
    );
    println!("Kolmogorov distance from uniform, and that within the upper 1 %");
    println!(
        "{:<14} {:<8} {:>4} {:>8} {:>17} {:>17} {:>7} {:>13} {:>7} {:>7} {:>8}",
        "stream",
        "model",
        "seed",
        "regret",
        "p̂/p",
        "|p̂−p|/p",
        "q.999",
        "index (true)",
        "PIT",
        "1% tail",
        "clipped"
    );
    for stream in STREAMS.into_iter().filter(|stream| wanted.has_stream(stream.name)) {
        for (name, seed, keys) in wanted.runs() {
            let report = run(stream, seed, &keys, num_events, num_events / 4);
            let three = |values: [f64; 3]| values.map(|value| format!("{value:.2}")).join("  ");
            println!(
                "{:<14} {name:<8} {seed:>4} {:>8.4} {:>17} {:>17} {:>6.1}% {:>5.3} ({:.3}) {:>7.4} {:>7.4} {:>7.2}%",
                stream.name,
                report.regret_nats,
                three(report.tail_ratios),
                three(report.tail_errors),
                100.0 * report.quantile_error,
                report.tail_index,
                stream.noise.tail_index(),
                report.pit_distance,
                report.pit_tail_distance,
                100.0 * report.clipped,
            );
        }
    }
}

/// By itself only: it takes long, and tells nothing but that it ends.
fn hostile(wanted: &Wanted) {
    let num_events = 10_000_000;
    for (name, _, keys) in wanted.runs() {
        let report = hostile::run(&hostile::config(&keys), num_events);
        println!("{name}: {num_events} hostile events: {report:?}");
    }
}

fn flights(wanted: &Wanted) {
    println!(
        "\nthe flights under examples/flights.toml, judged over the last {} arrivals: log score and that of a Gaussian fitted to",
        flights::NUM_LAST
    );
    println!("the last 5,000 arrivals, nats; share of the delays at or below each quantile; PIT as above");
    println!(
        "{:<8} {:>4} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8}",
        "model", "seed", "log score", "gaussian", "q.5", "q.9", "q.99", "q.999", "PIT", "1% tail", "clipped"
    );
    for (name, seed, keys) in wanted.runs() {
        let report = flights::run(&keys);
        let coverage = report.coverage.iter().map(|share| format!("{:>6.2}%", 100.0 * share));
        println!(
            "{name:<8} {seed:>4} {:>9.4} {:>9.4} {} {:>7.4} {:>7.4} {:>7.2}%",
            report.log_score,
            report.baseline,
            coverage.collect::<Vec<_>>().join(" "),
            report.pit_distance,
            report.pit_tail_distance,
            100.0 * report.clipped,
        );
    }
}

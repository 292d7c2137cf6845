//! What is learned of streams whose truth is known: `make statistics`.
//!
//! ```text
//! cargo bench --profile release --bench statistics -- [EVENTS [SEEDS]] [MODEL …] [KEY=VALUE …]
//! ```

#![allow(clippy::unwrap_used, dead_code, missing_docs)]

#[path = "../tests/statistics/streams.rs"]
mod streams;
#[path = "../tests/statistics/suite.rs"]
mod suite;

use streams::STREAMS;
use suite::{CONTENDERS, run};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let (sets, words): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| argument.contains('='));
    let (counts, wanted): (Vec<_>, Vec<_>) =
        words.into_iter().partition(|word| word.chars().all(|c| c.is_ascii_digit()));
    let count = |nth: usize, default: usize| counts.get(nth).map_or(default, |text| text.parse().unwrap());
    let (num_events, num_seeds) = (count(0, 200_000), count(1, 1));
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
    for stream in STREAMS {
        for (name, key) in CONTENDERS {
            if !wanted.is_empty() && !wanted.iter().any(|word| *word == name) {
                continue;
            }
            for seed in 1..=num_seeds as u64 {
                let seed_set = format!("model.seed={seed}");
                let mut keys: Vec<&str> = vec![key, &seed_set];
                keys.extend(sets.iter().map(|set| set.as_str()));
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
}

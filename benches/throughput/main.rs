//! How close to the limit: the whole program on a real Kafka beside the same clients without a model, and beside what one
//! would write in Python.
//!
//! ```text
//! make bench                 everything that follows, after the kernels
//! make bench MODE=ratios     events a second and CPU, of each contender in turn, in rounds
//! make bench MODE=latency    how long an event waits for its score, by load
//! make bench MODE=start      what a start takes, and sizes
//! ```
//! docs/performance.md says what the figures mean.

#![allow(clippy::unwrap_used, missing_docs)]
#![expect(dead_code, reason = "the tests' cluster and processes have more to them than is measured here")]

use std::{fs, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::{Map, Value};

#[path = "../../tests/kafka/cluster.rs"]
mod cluster;
mod contender;
mod defaults;
mod feed;
mod latency;
mod measure;
mod pass_through;
#[path = "../../tests/kafka/process.rs"]
mod process;
mod ratios;
mod report;
#[path = "../../tests/kafka/scores.rs"]
mod scores;
mod start;
mod usage;
#[path = "../../tests/kafka/wire.rs"]
mod wire;

use cluster::Cluster;

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// What is measured; without one, everything
    modes: Vec<Mode>,
    /// Flights that each input holds
    #[arg(long, default_value_t = 3_000_000)]
    events: u64,
    /// How often each contender is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Where the figures go, as JSON
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/throughput.json"))]
    out: PathBuf,
    /// Cargo says it to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Ratios,
    Latency,
    Start,
}

/// What runs in a process of its own.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    PassThrough(pass_through::Args),
}

fn main() {
    let args = Args::parse();
    if let Some(Part::PassThrough(args)) = &args.part {
        return pass_through::run(args);
    }
    let cluster = Cluster::connect();
    let modes = if args.modes.is_empty() { Mode::value_variants() } else { &args.modes };
    let mut told = Map::from_iter([("machine".to_owned(), report::machine())]);
    for mode in modes {
        let (name, figures): (_, Value) = match mode {
            Mode::Ratios => ("ratios", ratios::measure(&cluster, args.events, args.rounds.into())),
            Mode::Latency => ("latency", latency::measure(&cluster, args.events)),
            Mode::Start => ("start", start::measure(&cluster, args.rounds.into())),
        };
        told.insert(name.to_owned(), figures);
        // After each, so that what was measured stays if the next one fails.
        fs::write(&args.out, format!("{:#}\n", Value::Object(told.clone()))).unwrap();
    }
    println!("all of it as JSON: {}", args.out.display());
}

//! Tables for people, and the machine that they are of.

use std::{fs, thread};

use serde_json::{Value, json};

/// A row of a Markdown table.
pub fn print_row<const N: usize>(cells: [&str; N]) {
    println!("| {} |", cells.join(" | "));
}

/// A figure of three digits.
pub fn figure(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let unit = 10_f64.powf((value.abs().log10() - 2.0).floor());
    let rounded = (value / unit).round() * unit;
    let decimals = (-unit.log10()).max(0.0).round() as usize;
    format!("{rounded:.decimals$}")
}

/// What this was measured on.
pub fn machine() -> Value {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.trim_start_matches([' ', '\t', ':'])));
    json!({ "cpu": model, "cores": thread::available_parallelism().map(usize::from).ok() })
}

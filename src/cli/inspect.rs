//! `tailwater inspect`: what a saved state holds.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use super::{ConfigArgs, state};
use crate::state::{
    Snapshot,
    report::{FileReport, GroupReport, SnapshotReport},
};

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// A file that `tailwater state export` or a replay wrote, or one of `state.dir`
    #[arg(value_name = "FILE", required_unless_present = "config", conflicts_with_all = ["config", "sets"])]
    file: Option<PathBuf>,
    /// The config file of the group whose state is shown
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, over the file and the environment; may be given often
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Prints what a group's state or a file holds. The group is not joined, and nothing of it is changed.
pub(super) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let now_ms = state::now_ms();
    if let Some(file) = &args.file {
        let name = file.display();
        let bytes = fs::read(file).with_context(|| format!("{name} can't be read"))?;
        let snapshot = Snapshot::from_bytes(&bytes).with_context(|| format!("{name} can't be used"))?;
        let snapshot = SnapshotReport::new(&snapshot, bytes.len(), now_ms);
        return print(&FileReport { file: name.to_string(), snapshot }, args.json);
    }
    let Some(config) = &args.config else { bail!("name a file, or a config with -c") };
    let config = ConfigArgs { config: config.clone(), sets: args.sets.clone() }.load()?;
    let mut log = state::open(&config)?;
    let topic = state::read_whole(&config, &mut log)?;
    let report = GroupReport::new(&config, topic, now_ms)
        .with_context(|| format!("the progress record in '{}' can't be used", config.state.topic))?;
    print(&report, args.json)
}

/// Prints a report, for people or as JSON.
pub(super) fn print(report: &(impl Serialize + std::fmt::Display), is_json: bool) -> anyhow::Result<()> {
    if is_json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        // Categories are whatever the input held: none of them is to steer the terminal.
        let shown = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
        print!("{}", report.to_string().chars().map(shown).collect::<String>());
    }
    Ok(())
}

//! `tailwater peek`: published scores, for people and pipes.

use std::{io, time::Duration};

use clap::{Args, ValueEnum};
use rdkafka::Message as _;

use super::{
    ConfigArgs,
    render::{Renderer, Style},
};
use crate::kafka::{reader::ReadError, tail::Tail};

#[derive(Debug, Args)]
pub(super) struct PeekArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How many of the last events to show
    #[arg(short = 'n', value_name = "N", default_value_t = 10)]
    count: usize,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// How rows are shown
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Show the distributions' parameters too
    #[arg(long)]
    params: bool,
    /// Show the outcomes topic instead of the scores
    #[arg(long)]
    outcomes: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A table for people
    Table,
    /// One JSON object a line
    Json,
    /// CSV with a header
    Csv,
}

/// Prints the last scores, and with `--follow` the next ones.
pub(super) fn run(args: &PeekArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let topic = if args.outcomes {
        let none = || anyhow::anyhow!("output.outcomes is not set, so no outcomes are published");
        config.output.outcomes.as_ref().ok_or_else(none)?
    } else {
        &config.output.topic
    };
    let style = match args.format {
        Format::Table => Style::Table,
        Format::Json => Style::JsonLines,
        Format::Csv => Style::Csv,
    };
    let mut renderer = Renderer::new(io::stdout().lock(), style, args.params);
    // A message holds at least one event.
    let unreadable = |error| ReadError::Read { topic: topic.clone(), error };
    let mut tail = Tail::new(&config.kafka, topic, args.count as i64).map_err(unreadable)?;
    let mut payloads: Vec<(Option<i64>, Vec<u8>)> = Vec::new();
    for message in tail.read().map_err(unreadable)? {
        payloads.push((message.timestamp().to_millis(), message.payload().unwrap_or_default().to_vec()));
    }
    // Partitions are read one beside the other: the time of sending puts them in order.
    payloads.sort_by_key(|(sent_ms, _)| *sent_ms);
    renderer.last(payloads.iter().map(|(_, payload)| &payload[..]), args.count)?;
    if !args.follow {
        if payloads.is_empty() {
            eprintln!("tailwater: '{topic}' holds no scores yet");
        }
        return Ok(());
    }
    loop {
        if let Some(message) = tail.next(Duration::from_millis(200)).map_err(unreadable)? {
            renderer.payload(message.payload().unwrap_or_default())?;
        }
    }
}

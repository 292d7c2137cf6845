#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    config::{Config, Fact},
    model::{normaliser::Normaliser, saved::Labelled, standardiser::Standardiser},
    operator::{
        Input, Operator,
        place::{Position, Positions},
        restore::PublishedScores,
    },
    record::{Cell, Event, Known, Record, Target},
};

mod formats;
mod history;
mod imports;
mod recovery;
mod report;

const CONFIG: &str = r#"
[kafka]
brokers = "broker:9092"
group = "test"
[input]
topic = "in"
[features]
x = "number"
"place.kind" = { kind = "category", size = 4 }
hour = { kind = "cycle", period = 24 }
[target]
fields = ["y"]
wait = "1h"
[model]
flows = ["radial", "affine"]
hidden = [4]
[learn]
batch = 16
warmup = 64
[output]
topic = "out"
"#;

fn config(sets: &[&str]) -> Config {
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    Config::from_parts(CONFIG, "test.toml", &sets, std::iter::empty()).unwrap()
}

const SECOND_US: i64 = 1_000_000;

/// An event a second, whose target is known 30 seconds later.
fn event(offset: i64) -> Event {
    let x = (offset * 7919 % 101) as f64 / 50.0 - 1.0;
    let kind = if x > 0.0 { "up" } else { "down" };
    let time_us = offset * SECOND_US;
    Event {
        partition: 0,
        offset,
        row: 0,
        last: true,
        timestamp_ms: None,
        time_us,
        key: None,
        features: [Cell::Number(x), Cell::Text(kind.into()), Cell::Number((offset % 24) as f64)].into(),
        carry: [].into(),
        thresholds: [].into(),
        segment: None,
        target: Some(Target { values: [2.0 * x].into(), known: Known::At(time_us + 30 * SECOND_US) }),
    }
}

/// An operator that has taken so many events of partition 0.
fn operator(config: &Config, num_events: i64) -> Operator {
    let mut operator = Operator::new(config, Positions::from([(0, Position::at(0))]));
    take(&mut operator, 0..num_events);
    operator
}

/// Lets it take these events of partition 0; how many of them were replayed.
fn take(operator: &mut Operator, offsets: std::ops::Range<i64>) -> usize {
    let mut num_replayed = 0;
    for offset in offsets {
        operator.push(Input::Record(Record::from(event(offset))));
        while let Some(taken) = operator.take(&mut Vec::new()) {
            num_replayed += usize::from(taken.is_replayed);
        }
    }
    num_replayed
}

/// The scores of so many events, as they were published.
fn published(config: &Config, num_events: i64) -> PublishedScores {
    let mut operator = Operator::new(config, Positions::from([(0, Position::at(0))]));
    let mut actions = Vec::new();
    for offset in 0..num_events {
        operator.push(Input::Record(Record::from(event(offset))));
        while operator.take(&mut actions).is_some() {}
    }
    crate::operator::tests::published(&actions)
}

/// The snapshot of an operator of the config's group.
fn snapshot(config: &Config, generation: u64, operator: &Operator) -> Snapshot {
    Snapshot { about: About::new(config, generation, 1_700_000_000_000), operator: operator.saved() }
}

fn named(snapshot: &Snapshot) -> Named {
    let checksum = seal::checksum(&snapshot.to_bytes()).unwrap();
    Named { generation: snapshot.about.generation, checksum }
}

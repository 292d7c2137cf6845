//! Messages to published bytes by one core, without Kafka: decoding, the operator, encoding. A part of `make bench`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use arrow::{array::RecordBatch, ipc::writer::StreamWriter, json::LineDelimitedWriter};
use tailwater::{
    config::Config,
    flights,
    operator::{Action, Input, Operator, RECORDS_AT_ONCE, place::Position},
    record::{Decoder, Message, Record},
    run::spec,
    score::{Outcome, Scored, arrow::BatchBuilder, row::Row},
};

#[path = "throughput/defaults.rs"]
mod defaults;

/// Rows of an Arrow message.
const ROWS: usize = 1_024;
/// Flights that are learned from before anything is measured: the warm-up, and until the net is believed.
const BEFORE: usize = 65_536;
/// Flights of a turn, of which the quickest counts: what else the machine does adds to the others.
const TURN: usize = 16_384;
/// What is known only once a flight has arrived.
const AT_ARRIVAL: [&str; 2] = ["arrived_at", "arr_delay"];

/// Seconds of each stage.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    decoding: f64,
    operator: f64,
    encoding: f64,
}

impl Spent {
    fn sum(&self) -> f64 {
        self.decoding + self.operator + self.encoding
    }
}

/// All that stands between two topics, but for threads and clients.
struct Pipeline {
    decoder: Decoder,
    operator: Operator,
    scores: BatchBuilder<Scored>,
    outcomes: BatchBuilder<Outcome>,
    rows_of_batch: usize,
    /// The next message's offset.
    next: i64,
    records: Vec<Record>,
    actions: Vec<Action>,
}

impl Pipeline {
    fn new(config: &Config) -> Self {
        let (scores, outcomes) = spec::schemas(config);
        Self {
            decoder: Decoder::new(config),
            operator: Operator::new(config, [(0, Position::at(0))].into()),
            scores: BatchBuilder::new(&scores).unwrap(),
            outcomes: BatchBuilder::new(&outcomes).unwrap(),
            rows_of_batch: config.output.rows,
            next: 0,
            records: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Takes messages to the end; how many bytes come out.
    fn take(&mut self, messages: &[Vec<u8>], spent: &mut Spent) -> usize {
        let mut num_bytes = 0;
        let mut messages = messages.iter().peekable();
        while messages.peek().is_some() {
            let begun = Instant::now();
            while self.records.len() < RECORDS_AT_ONCE
                && let Some(payload) = messages.next()
            {
                let message = Message {
                    partition: 0,
                    offset: self.next,
                    timestamp_ms: None,
                    key: None,
                    payload: Some(payload),
                };
                self.decoder.decode(&message, &mut self.records);
                self.next += 1;
            }
            spent.decoding += begun.elapsed().as_secs_f64();
            let mut records = self.records.drain(..);
            while records.len() > 0 {
                let begun = Instant::now();
                for record in records.by_ref().take(RECORDS_AT_ONCE) {
                    self.operator.push(Input::Record(record));
                }
                while self.operator.take_next(&mut self.actions).is_some() {}
                self.operator.complete(&self.actions);
                let completed = Instant::now();
                spent.operator += (completed - begun).as_secs_f64();
                for action in self.actions.drain(..) {
                    num_bytes += match &action {
                        Action::Score(scored) => add(&mut self.scores, scored, self.rows_of_batch),
                        Action::Outcome(outcome) => add(&mut self.outcomes, outcome, self.rows_of_batch),
                        _ => 0,
                    };
                }
                spent.encoding += completed.elapsed().as_secs_f64();
            }
            drop(self.operator.take_order());
        }
        num_bytes
    }
}

/// Adds a row to a batch; the bytes of the batch where it is full.
fn add<R: Row>(batch: &mut BatchBuilder<R>, row: &R, rows_of_batch: usize) -> usize {
    batch.push(row);
    if batch.num_rows() < rows_of_batch { 0 } else { batch.finish().unwrap().len() }
}

fn known(batch: &RecordBatch, all: bool) -> RecordBatch {
    let schema = batch.schema();
    let is_known = |at: &usize| all || !AT_ARRIVAL.contains(&schema.field(*at).name().as_str());
    batch.project(&(0..schema.fields().len()).filter(is_known).collect::<Vec<_>>()).unwrap()
}

fn json(batch: &RecordBatch) -> Vec<Vec<u8>> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    let lines = writer.into_inner();
    lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

fn stream(batch: &RecordBatch) -> Vec<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    vec![writer.into_inner().unwrap()]
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let wanted = arguments.next();
    println!(
        "| events to scores by one core | decoding, µs | operator, µs | encoding, µs | in all, µs | events/s |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |"
    );
    type Messages = fn(&RecordBatch) -> Vec<Vec<u8>>;
    let cases: [(&str, &str, Messages, bool); 4] = [
        ("score and learn, JSON", "json", json, true),
        ("score only, JSON", "json", json, false),
        ("score and learn, Arrow", "arrow", stream, true),
        ("score only, Arrow", "arrow", stream, false),
    ];
    for (name, format, messages, learns) in cases {
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let own = ["model.hidden=[32,32]", "learn.batch=256"].map(str::to_owned);
        let format = format!("input.format={format}");
        let sets: Vec<String> =
            defaults::DEFAULTS.map(str::to_owned).into_iter().chain(own).chain([format]).collect();
        let text = include_str!("../examples/flights.toml");
        let config = Config::from_parts(text, "flights.toml", &sets, std::iter::empty()).unwrap();
        let batches = flights::batches(ROWS).unwrap().map(Result::unwrap);
        let batches: Vec<RecordBatch> = batches.filter(|batch| batch.num_rows() == ROWS).collect();
        let (before, after) = batches.split_at(BEFORE / ROWS);
        let mut pipeline = Pipeline::new(&config);
        for batch in before {
            pipeline.take(&messages(&known(batch, true)), &mut Spent::default());
        }
        let mut quickest = Spent { operator: f64::INFINITY, ..Spent::default() };
        for turn in after.chunks_exact(TURN / ROWS) {
            let messages: Vec<Vec<u8>> =
                turn.iter().flat_map(|batch| messages(&known(batch, learns))).collect();
            let mut spent = Spent::default();
            assert!(pipeline.take(&messages, &mut spent) > 0);
            if spent.sum() < quickest.sum() {
                quickest = spent;
            }
        }
        let us = |seconds: f64| 1e6 * seconds / TURN as f64;
        let Spent { decoding, operator, encoding } = quickest;
        println!(
            "| {name} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} |",
            us(decoding),
            us(operator),
            us(encoding),
            us(quickest.sum()),
            1e6 / us(quickest.sum())
        );
    }
}

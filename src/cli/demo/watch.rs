//! Reads what the operator publishes, as a user's own program would, and keeps score.
//!
//! Scores and outcomes come on two topics. They are merged by time, take-offs and landings, so that the baseline
//! that a flight is held against knows exactly the delays that were known when it took off.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type},
    ipc::reader::StreamReader,
};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

use crate::{
    backtest::{Gaussian, RollingGaussian},
    config::{Config, ThresholdValue},
    kafka::client::{self, Context},
    score::columns::Columns,
};

/// The baseline is fitted to so many of the last known delays.
const BASELINE_WINDOW: usize = 5_000;
/// The screen's figures are over so many of the last outcomes.
pub(super) const RECENT: usize = 5_000;
/// The summary's figures are over so many of the last outcomes.
pub(super) const LONG: usize = 100_000;
/// How many flights the screen shows.
pub(super) const SHOWN: usize = 6;

/// What was published so far.
pub(super) struct Watch {
    consumer: BaseConsumer<Context>,
    outcomes_topic: String,
    columns: Columns,
    quantiles: Vec<f64>,
    step: Option<f64>,
    /// Constant thresholds with the place of their column among `columns.exceed`.
    thresholds: Vec<(usize, f64)>,
    num_scored: usize,
    seen: Arc<AtomicUsize>,
    updates: u64,
    time_us: i64,
    /// Read and not yet merged, in order.
    departures: VecDeque<Departure>,
    arrivals: VecDeque<Arrival>,
    /// Flights whose outcome has not come, by offset.
    in_the_air: HashMap<i64, Flight>,
    baseline: RollingGaussian,
    /// The last `LONG` outcomes.
    judged: VecDeque<Judged>,
    num_judged: usize,
    /// The last outcomes of flights, newest first.
    shown: VecDeque<(Flight, f64)>,
}

/// A scored flight.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub name: String,
    /// P(Y > t), one a threshold of the config.
    pub exceed: Vec<f64>,
    pub quantiles: Vec<f64>,
    baseline: Option<Gaussian>,
}

/// A score, as it was read.
struct Departure {
    offset: i64,
    time_us: i64,
    flight: Flight,
}

/// An outcome, as it was read.
struct Arrival {
    offset: i64,
    time_us: i64,
    delay: f64,
    /// NaN where it was scored before any target was known.
    log_score: f64,
    pit: f64,
}

/// An outcome held against the distribution that its flight was scored with.
#[derive(Debug, Clone)]
struct Judged {
    log_score: f64,
    baseline_log_score: f64,
    /// For each quantile, whether the target was below it.
    below: Vec<bool>,
    /// For each constant threshold P(Y > t), and whether it was.
    exceed: Vec<(f64, bool)>,
}

/// Means over the last outcomes.
#[derive(Debug, Clone, Default)]
pub(super) struct Means {
    pub count: usize,
    pub log_score: f64,
    pub baseline_log_score: f64,
    /// By quantile: its level and the share of targets at or below it.
    pub coverage: Vec<(f64, f64)>,
    /// By constant threshold: t, mean P(Y > t), and the share of targets above it.
    pub exceed: Vec<(f64, f64, f64)>,
}

impl Watch {
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let mut settings = client::consumer(&config.kafka);
        settings.remove("group.protocol").set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "20");
        let consumer: BaseConsumer<Context> = settings.create_with_context(Context::default())?;
        let outcomes_topic = config.output.outcomes.clone().context("the demo needs output.outcomes")?;
        let mut assignment = TopicPartitionList::new();
        for topic in [&config.output.topic, &outcomes_topic] {
            assignment.add_partition_offset(topic, 0, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let constant = |(index, value): (usize, &ThresholdValue)| match value {
            ThresholdValue::Constant(t) => Some((index, *t)),
            ThresholdValue::Field(_) | ThresholdValue::Together(_) => None,
        };
        Ok(Self {
            consumer,
            outcomes_topic,
            columns: Columns::new(config),
            quantiles: config.score.quantiles.clone(),
            step: config.target.step,
            thresholds: config
                .score
                .exceed
                .iter()
                .map(|t| &t.value)
                .enumerate()
                .filter_map(constant)
                .collect(),
            num_scored: 0,
            seen: Arc::default(),
            updates: 0,
            time_us: 0,
            departures: VecDeque::new(),
            arrivals: VecDeque::new(),
            in_the_air: HashMap::new(),
            baseline: RollingGaussian::new(BASELINE_WINDOW),
            judged: VecDeque::new(),
            num_judged: 0,
            shown: VecDeque::new(),
        })
    }

    /// Counts the flights whose scores were read, for the feeder.
    pub fn seen(&self) -> Arc<AtomicUsize> {
        self.seen.clone()
    }

    pub fn num_scored(&self) -> usize {
        self.num_scored
    }

    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Event time of the last scored flight, µs since 1970.
    pub fn time_us(&self) -> i64 {
        self.time_us
    }

    pub fn num_in_the_air(&self) -> usize {
        self.in_the_air.len()
    }

    /// Flights that have arrived and were scored by what had seen a target.
    pub fn num_judged(&self) -> usize {
        self.num_judged
    }

    /// The last flights that arrived, newest first, each with its delay.
    pub fn shown(&self) -> impl Iterator<Item = &(Flight, f64)> {
        self.shown.iter()
    }

    /// Reads for a while.
    pub fn poll(&mut self, patience: Duration) -> anyhow::Result<()> {
        let deadline = std::time::Instant::now() + patience;
        while let Some(left) = deadline.checked_duration_since(std::time::Instant::now()) {
            let (payload, is_outcome) = match self.consumer.poll(left) {
                None => continue,
                Some(Err(KafkaError::PartitionEOF(_))) => continue,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(message)) => {
                    (message.payload().unwrap_or_default().to_vec(), message.topic() == self.outcomes_topic)
                }
            };
            for batch in StreamReader::try_new(&payload[..], None)? {
                let batch = batch?;
                if is_outcome { self.take_outcomes(&batch)? } else { self.take_scores(&batch)? }
            }
            self.merge(false);
        }
        Ok(())
    }

    /// Nothing more will come.
    pub fn finish(&mut self) {
        self.merge(true);
    }

    fn take_scores(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let offsets = column(batch, "offset")?.as_primitive::<Int64Type>();
        let times = column(batch, "time")?.as_primitive::<TimestampMicrosecondType>();
        let updates = column(batch, "updates")?.as_primitive::<UInt64Type>();
        let names = column(batch, "flight")?.as_string::<i32>();
        let exceed = figures(batch, &self.columns.exceed)?;
        let quantiles = figures(batch, &self.columns.quantiles)?;
        for row in 0..batch.num_rows() {
            let flight = Flight {
                name: names.value(row).to_owned(),
                exceed: exceed.iter().map(|figure| figure[row]).collect(),
                quantiles: quantiles.iter().map(|figure| figure[row]).collect(),
                baseline: None,
            };
            let (offset, time_us) = (offsets.value(row), times.value(row));
            self.departures.push_back(Departure { offset, time_us, flight });
            self.time_us = self.time_us.max(time_us);
            self.updates = updates.value(row);
        }
        self.num_scored += batch.num_rows();
        self.seen.store(self.num_scored, Ordering::Relaxed);
        Ok(())
    }

    fn take_outcomes(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let offsets = column(batch, "offset")?.as_primitive::<Int64Type>();
        let times = column(batch, "target_time")?.as_primitive::<TimestampMicrosecondType>();
        let targets = column(batch, "target")?.as_primitive::<Float64Type>();
        let log_scores = column(batch, "log_score")?.as_primitive::<Float64Type>();
        let pits = column(batch, "pit")?.as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            self.arrivals.push_back(Arrival {
                offset: offsets.value(row),
                time_us: times.value(row),
                delay: targets.value(row),
                log_score: if log_scores.is_null(row) { f64::NAN } else { log_scores.value(row) },
                pit: if pits.is_null(row) { f64::NAN } else { pits.value(row) },
            });
        }
        Ok(())
    }

    /// Merges what was read: as far as it is certain what comes next, or all of it where nothing more will come.
    fn merge(&mut self, is_all: bool) {
        loop {
            let lands = match (self.departures.front(), self.arrivals.front()) {
                (Some(departure), Some(arrival)) => arrival.time_us < departure.time_us,
                (None, Some(_)) if is_all => true,
                (Some(_), None) if is_all => false,
                _ => return,
            };
            if lands {
                self.arrivals.pop_front().into_iter().for_each(|arrival| self.land(&arrival));
            } else if let Some(Departure { offset, flight, .. }) = self.departures.pop_front() {
                self.in_the_air.insert(offset, Flight { baseline: self.baseline.fit(), ..flight });
            }
        }
    }

    fn land(&mut self, arrival: &Arrival) {
        self.baseline.learn(arrival.delay);
        let Some(flight) = self.in_the_air.remove(&arrival.offset) else { return };
        if let Some(baseline) = flight.baseline
            && !arrival.log_score.is_nan()
        {
            self.judge(&flight, arrival, baseline);
        }
        self.shown.push_front((flight, arrival.delay));
        self.shown.truncate(SHOWN);
    }

    fn judge(&mut self, flight: &Flight, arrival: &Arrival, baseline: Gaussian) {
        let target = arrival.delay;
        self.num_judged += 1;
        self.judged.push_back(Judged {
            log_score: arrival.log_score,
            baseline_log_score: baseline.log_score(target, self.step),
            // A whole minute may hold more of the probability than is above a quantile: the PIT is drawn from within it.
            below: self.quantiles.iter().map(|&p| arrival.pit <= p).collect(),
            exceed: self.thresholds.iter().map(|&(at, t)| (flight.exceed[at], target > t)).collect(),
        });
        if self.judged.len() > LONG {
            self.judged.pop_front();
        }
    }

    /// Means over the last `count` outcomes, or as many as there are.
    pub fn means(&self, count: usize) -> Means {
        let judged = self.judged.iter().rev().take(count);
        let n = judged.len();
        let mean = |value: &dyn Fn(&Judged) -> f64| judged.clone().map(value).sum::<f64>() / n as f64;
        let coverage = self.quantiles.iter().enumerate();
        let exceed = self.thresholds.iter().enumerate();
        Means {
            count: n,
            log_score: mean(&|j| j.log_score),
            baseline_log_score: mean(&|j| j.baseline_log_score),
            coverage: coverage.map(|(i, &p)| (p, mean(&|j| f64::from(u8::from(j.below[i]))))).collect(),
            exceed: exceed
                .map(|(i, &(_, t))| {
                    (t, mean(&|j| j.exceed[i].0), mean(&|j| f64::from(u8::from(j.exceed[i].1))))
                })
                .collect(),
        }
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a dyn Array> {
    batch.column_by_name(name).map(AsRef::as_ref).with_context(|| format!("the batch has no column {name}"))
}

/// Figures by column, NaN for null.
fn figures(batch: &RecordBatch, names: &[String]) -> anyhow::Result<Vec<Vec<f64>>> {
    let figure = |name: &String| {
        let values = column(batch, name)?.as_primitive::<Float64Type>();
        Ok(values.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
    };
    names.iter().map(figure).collect()
}

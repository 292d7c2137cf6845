//! The operator: a pure core that turns records into scores and learns from them. Records go in, actions come
//! out; no I/O, no clock, no threads.
//!
//! # Order of things at each event
//! 1. Stream time advances to the event's time, if that is later.
//! 2. Targets whose time stream time has *passed* become known, in the order of their times; each closes its
//!    event with an outcome and joins the unfinished mini-batch. A full mini-batch is one SGD step.
//! 3. The event is scored, by a model that has thus learned only from targets that were known before it.
//! 4. A target that comes known with the event closes it at once; any other is held back.
//!
//! During the warm-up labelled events are collected; the last of them sets the normalisers, and they are then
//! learned from in mini-batches like any others.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use crate::{
    config::{Config, FeatureKind},
    density::Density,
    model::{FIRST_EPOCH, Model, learner::Step},
    record::{Cell, Event, Known, Record, Reject},
    score::{Outcome, Realized, Score, Scored, Status, figures::Figures},
};

pub mod order;
pub mod waiting;

use order::Queues;
use waiting::{Due, Held, Waiting};

#[cfg(test)]
mod tests;

/// Everything that can happen to the operator.
#[derive(Debug)]
pub enum Input {
    /// A record was read.
    Record(Record),
    /// A partition has no more data for now.
    Idle(i32),
}

/// What the operator wants done, in this order.
#[derive(Debug, Clone)]
pub enum Action {
    /// Publish a score.
    Score(Scored),
    /// Publish an outcome.
    Outcome(Outcome),
    /// Publish a rejected record.
    Reject(Reject),
    /// A mini-batch was learned from (or skipped): nothing to publish, only to count.
    Learned {
        /// What became of it.
        step: Step,
        /// Its size.
        records: usize,
    },
    /// An event's target did not come in time: nothing to publish, only to count.
    Expired,
}

/// The next offset to take of each partition.
pub type Positions = BTreeMap<i32, i64>;

/// The operator.
pub struct Operator {
    model: Model,
    figures: Figures,
    queues: Queues,
    waiting: Waiting,
    stream_time_us: i64,
    /// How long an event waits for its target, µs.
    wait_us: i64,
    learning: Learning,
    batch_rows: usize,
    /// Labelled events that are not learned from yet: the warm-up's, then the unfinished mini-batch.
    labelled: Vec<Rc<Event>>,
    positions: Positions,
    census: Census,
}

/// Whether and when labelled events are learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Learning {
    Off,
    On { warmup_rows: usize },
}

/// Counts of inputs that were not what they could have been, one entry a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// Null or absent.
    pub missing: Vec<u64>,
    /// Categories that the vocabulary does not know.
    pub unknown: Vec<u64>,
}

impl Operator {
    /// An operator that knows nothing, for input partitions that are read from these positions.
    #[must_use]
    pub fn new(config: &Config, density: Arc<dyn Density>, positions: Positions) -> Self {
        let warmup_rows = config.learn.warmup;
        Self {
            model: Model::new(config, density.clone()),
            figures: Figures::new(&config.score, density),
            queues: Queues::new(positions.keys().copied()),
            waiting: Waiting::default(),
            stream_time_us: i64::MIN,
            wait_us: i64::try_from(config.target.wait.as_micros()).unwrap_or(i64::MAX),
            learning: if config.learn.enabled { Learning::On { warmup_rows } } else { Learning::Off },
            batch_rows: config.learn.batch,
            labelled: Vec::new(),
            positions,
            census: Census {
                missing: vec![0; config.features.len()],
                unknown: vec![0; config.features.len()],
            },
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How many events wait for their targets.
    #[must_use]
    pub fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next offset of each partition: all before it were taken.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Stream time, µs since 1970: the highest event time taken; `None` before the first event.
    #[must_use]
    pub fn stream_time_us(&self) -> Option<i64> {
        (self.stream_time_us > i64::MIN).then_some(self.stream_time_us)
    }

    /// What was missing or unknown among the features so far.
    #[must_use]
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// Takes note of what happened.
    pub fn push(&mut self, input: Input) {
        match input {
            Input::Record(record) => self.queues.push(record),
            Input::Idle(partition) => self.queues.set_idle(partition),
        }
    }

    /// Takes the next record, if it is certain which one that is, and adds what is to be done about it to
    /// `actions`. Gives the partition it came from.
    pub fn take(&mut self, actions: &mut Vec<Action>) -> Option<i32> {
        let record = self.queues.take()?;
        let partition = record.partition();
        let (offset, last) = record.offset();
        self.positions.insert(partition, if last { offset + 1 } else { offset });
        match record {
            Record::Reject(reject) => actions.push(Action::Reject(reject)),
            Record::Event(event) => self.on_event(event, actions),
        }
        Some(partition)
    }

    fn on_event(&mut self, event: Event, actions: &mut Vec<Action>) {
        self.stream_time_us = self.stream_time_us.max(event.time_us);
        while let Some(due) = self.waiting.release(self.stream_time_us) {
            match due {
                Due::Known(held, known_us) => self.on_target(&held, Some(known_us), actions),
                Due::Expired => actions.push(Action::Expired),
            }
        }
        self.count_inputs(&event);
        let params = self.model.distribution(&event);
        let known = event.target.as_ref().map(|target| target.known);
        let known_now = match known {
            Some(Known::WithEvent) => true,
            Some(Known::At(at_us)) => at_us < self.stream_time_us,
            None => false,
        };
        let score = Rc::new(Score {
            epoch: FIRST_EPOCH,
            updates: self.model.updates(),
            status: if params.is_empty() { Status::Warmup } else { Status::Ok },
            figures: self.figures.evaluate(&params, &event.thresholds),
            realized: if known_now { Some(self.realize(&event, &params)) } else { None },
            params,
        });
        let held = Held { event: Rc::new(event), score };
        actions.push(Action::Score(Scored { event: held.event.clone(), score: held.score.clone() }));
        match known {
            _ if known_now => self.on_target(&held, None, actions),
            Some(Known::At(at_us)) => self.hold(held, at_us, actions),
            _ => {}
        }
    }

    /// Lets an event wait until its target is known, or for as long as `target.wait` allows.
    fn hold(&mut self, held: Held, known_us: i64, actions: &mut Vec<Action>) {
        let deadline_us = held.event.time_us.saturating_add(self.wait_us);
        let held = if known_us <= deadline_us {
            self.waiting.hold(Due::Known(held, known_us), known_us)
        } else {
            self.waiting.hold(Due::Expired, deadline_us)
        };
        if held.is_err() {
            actions.push(Action::Expired);
        }
    }

    /// A target is known: its event gets its outcome, unless the score itself said it, and is learned from.
    fn on_target(&mut self, held: &Held, known_us: Option<i64>, actions: &mut Vec<Action>) {
        let Held { event, score } = held;
        if let Some(target_time_us) = known_us {
            let realized = self.realize(event, &score.params);
            let (event, score) = (event.clone(), score.clone());
            actions.push(Action::Outcome(Outcome { event, score, target_time_us, realized }));
        }
        let Learning::On { warmup_rows } = self.learning else { return };
        self.labelled.push(event.clone());
        if self.model.is_ready() {
            if self.labelled.len() == self.batch_rows {
                self.learn(self.batch_rows, actions);
            }
        } else if self.labelled.len() == warmup_rows {
            self.model.fit(&self.labelled);
            while self.labelled.len() >= self.batch_rows {
                self.learn(self.batch_rows, actions);
            }
        }
    }

    /// Learns from the first `records` labelled events.
    fn learn(&mut self, records: usize, actions: &mut Vec<Action>) {
        let batch: Vec<Rc<Event>> = self.labelled.drain(..records).collect();
        let step = self.model.learn(&batch);
        actions.push(Action::Learned { step, records });
    }

    fn realize(&mut self, event: &Event, params: &[f32]) -> Realized {
        let target = event.target.as_ref().map_or(f64::NAN, |target| target.values[0]);
        self.figures.realize(params, target)
    }

    fn count_inputs(&mut self, event: &Event) {
        for (index, cell) in event.features.iter().enumerate() {
            if *cell == Cell::Null {
                self.census.missing[index] += 1;
            } else if self.model.is_ready() && self.model.inputs().is_unknown(index, cell) {
                self.census.unknown[index] += 1;
            }
        }
    }
}

/// The indices of the features that have a vocabulary.
#[must_use]
pub fn category_features(config: &Config) -> Vec<usize> {
    let features = config.features.iter().enumerate();
    features.filter(|(_, f)| matches!(f.kind, FeatureKind::Category { .. })).map(|(i, _)| i).collect()
}

impl Record {
    /// The input partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        match self {
            Self::Event(event) => event.partition,
            Self::Reject(reject) => reject.partition,
        }
    }

    /// The message's offset, and whether this is its last row.
    #[must_use]
    pub fn offset(&self) -> (i64, bool) {
        match self {
            Self::Event(event) => (event.offset, event.last),
            Self::Reject(reject) => (reject.offset, reject.last),
        }
    }
}

//! Which records a model has learned from: an account of what the operator did, kept beside it by whoever asks.

use std::collections::VecDeque;

use super::{Action, place::Position, saved::SavedOperator};
use crate::{
    model::learner::Taken,
    record::{Event, Known},
};

/// A labelled record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labelled {
    /// The input partition.
    pub partition: i32,
    /// Its place there.
    pub at: Position,
    /// Event time, µs since 1970.
    pub time_us: i64,
    /// When its target became known, µs since 1970.
    pub known_us: i64,
}

/// An account of an operator that learns, from a snapshot on.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Labelled records that were not learned from yet, oldest first; `None` is one of those in the snapshot, which does not say
    /// where they come from.
    unlearned: VecDeque<Option<Labelled>>,
    /// Labelled records in all mini-batches of the model's life.
    records: u64,
    /// Of them those since the snapshot.
    records_since: u64,
    /// Of them the last ones, oldest first.
    last: VecDeque<Labelled>,
    num_kept: usize,
    known_us: Option<i64>,
}

impl Ledger {
    /// An account from this snapshot on, in which the last `num_kept` records learned from are named.
    #[must_use]
    pub fn new(saved: &SavedOperator, num_kept: usize) -> Self {
        Self {
            unlearned: saved.labelled.iter().map(|_| None).collect(),
            records: saved.model.learner.records,
            records_since: 0,
            last: VecDeque::new(),
            num_kept,
            known_us: None,
        }
    }

    /// Takes note of what the operator did next.
    pub fn see(&mut self, action: &Action) {
        match action {
            Action::Outcome(outcome) => self.label(&outcome.event),
            // A target that its score could say is learned from like any other.
            Action::Score(scored) if !scored.score.realized.targets.iter().any(|y| y.is_nan()) => {
                self.label(&scored.event);
            }
            Action::Learned { step, records } => {
                self.learn(*records, matches!(step.taken, Taken::Skipped(_)))
            }
            Action::Score(_) | Action::Reject(_) | Action::Expired => {}
        }
    }

    fn label(&mut self, event: &Event) {
        let known_us = match event.target.as_ref().map(|target| target.known) {
            Some(Known::At(known_us)) => known_us,
            Some(Known::WithEvent) | None => event.time_us,
        };
        let (partition, at, time_us) = (event.partition, event.position(), event.time_us);
        self.unlearned.push_back(Some(Labelled { partition, at, time_us, known_us }));
    }

    fn learn(&mut self, records: usize, is_skipped: bool) {
        self.records += records as u64;
        self.records_since += records as u64;
        let batch = self.unlearned.drain(..records.min(self.unlearned.len()));
        let learned = batch.flatten().filter(|_| !is_skipped);
        for labelled in learned {
            self.known_us = self.known_us.max(Some(labelled.known_us));
            self.last.push_back(labelled);
        }
        self.last.drain(..self.last.len().saturating_sub(self.num_kept));
    }

    /// Labelled records in all mini-batches of the model's life.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Of them those since the snapshot.
    #[must_use]
    pub fn records_since(&self) -> u64 {
        self.records_since
    }

    /// Those that were learned from last, the newest first.
    pub fn last(&self) -> impl Iterator<Item = &Labelled> {
        self.last.iter().rev()
    }

    /// The latest moment at which a target became known that was learned from since the snapshot, µs since 1970.
    #[must_use]
    pub fn known_us(&self) -> Option<i64> {
        self.known_us
    }

    /// How many labelled records were not learned from yet: the warm-up's, or the unfinished mini-batch.
    #[must_use]
    pub fn num_unlearned(&self) -> usize {
        self.unlearned.len()
    }
}

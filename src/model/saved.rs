//! What a snapshot keeps of the model, as plain values. Restoring checks all of it before any of it is used.

use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{baseline::SavedBaseline, calibrator::SavedCalibrator, standardiser::Standardiser};
use crate::record::{Cell, Event, Known, Target};

/// A saved model that is not one of this config's. Trying again can't help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(String);

impl Misfit {
    /// Says what does not fit.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// A model between two mini-batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedModel {
    /// What each feature has learned about its values, in the order of the inputs.
    pub features: Vec<SavedFeature>,
    /// Center and scale of each target field; none in the warm-up.
    pub targets: Vec<Standardiser>,
    /// Weights and what moves them.
    pub learner: SavedLearner,
    /// Of one target.
    pub baseline: Option<SavedBaseline>,
    /// Where the config asks for one.
    pub calibrator: Option<SavedCalibrator>,
    /// The records learned from last, oldest first; none where each is learned from but once.
    pub recent: Vec<Labelled>,
}

/// A record with its target, as learning needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// One cell a feature.
    pub features: Vec<Cell>,
    /// One value a target field.
    pub target: Vec<f64>,
}

/// What a feature has learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SavedFeature {
    /// A number's center and scale.
    Number(Standardiser),
    /// A cycle learns nothing.
    Cycle,
    /// The values of a category that are known, in the order of their numbers.
    Category(Vec<CompactString>),
}

/// Weights under training, and all that moves them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedLearner {
    /// The weights that are trained.
    pub trained: Vec<f32>,
    /// Their moving average, which scores.
    pub averaged: Vec<f32>,
    /// First and second moment of the gradient (empty for sgd).
    pub moments: [Vec<f32>; 2],
    /// The optimiser's steps, for the bias correction of the moments.
    pub optimizer_steps: u64,
    /// Mini-batches seen, which number the noise draws.
    pub batches: u64,
    /// Labelled records seen.
    pub records: u64,
    /// SGD steps taken.
    pub updates: u64,
}

impl Labelled {
    /// What learning needs of this event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            features: event.features.to_vec(),
            target: event.target.as_ref().map(|target| target.values.to_vec()).unwrap_or_default(),
        }
    }

    /// An event that can be learned from; it was published long ago, so nothing else of it matters.
    #[must_use]
    pub fn into_event(self) -> Arc<Event> {
        let target = Target { values: self.target.into(), known: Known::WithEvent };
        Arc::new(Event::bare(self.features.into(), Some(target)))
    }

    /// Whether it has as many features and finite targets.
    pub(crate) fn fits(&self, num_features: usize, dim: usize) -> bool {
        self.features.len() == num_features
            && self.target.len() == dim
            && self.target.iter().all(|y| y.is_finite())
    }
}

impl SavedLearner {
    /// Checks that there are `num_weights` of everything, all of them finite.
    pub(super) fn check(&self, num_weights: usize) -> Result<(), Misfit> {
        let Self { trained, averaged, moments: [first, second], .. } = self;
        for (what, values) in [("weights", trained), ("averaged weights", averaged)] {
            if values.len() != num_weights {
                return Err(Misfit::new(format!(
                    "it has {} {what} where this config's net has {num_weights}",
                    values.len()
                )));
            }
        }
        if first.len() != second.len() || ![0, num_weights].contains(&first.len()) {
            return Err(Misfit::new("its optimiser's moments are not as many as its weights"));
        }
        if ![trained, averaged, first, second].into_iter().flatten().all(|value| value.is_finite()) {
            return Err(Misfit::new("it has a weight or a moment that is not finite"));
        }
        if second.iter().any(|&moment| moment < 0.0) {
            return Err(Misfit::new("it has a negative second moment"));
        }
        Ok(())
    }
}

//! Scores: what is published for an event, and how it is encoded.

pub mod arrow;
pub mod columns;
pub mod exceed;
pub mod figures;
mod joint;
pub mod json;
pub mod read;
pub mod row;
mod single;
pub mod step;
pub mod whole;

#[cfg(test)]
mod tests;

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use smallvec::{SmallVec, smallvec};

use crate::record::Event;
use figures::Query;

/// The lowest log score that goes into a mean, in nats: about the logarithm of the smallest double. A target far beyond all others may
/// have a density of 0, and one must not blot out the rest.
pub const LOG_SCORE_FLOOR: f64 = -745.0;

/// What the figures of a score are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The net has learned nothing yet: figures are those of a distribution without features, or null.
    Warmup,
    /// Scored.
    Ok,
    /// Scored by a model that no longer follows its stream.
    Stale,
}

impl Status {
    /// The column's text.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Warmup => "warmup",
            Self::Ok => "ok",
            Self::Stale => "stale",
        }
    }
}

/// The figures of one event, all of them functions of `params` alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Which life of the model scored.
    pub epoch: u32,
    /// SGD steps that the model had taken.
    pub updates: u64,
    /// What the figures are worth.
    pub status: Status,
    /// P(Y > t) for each threshold, then the quantiles, the shortfalls and the limited expected values, in the config's order; NaN
    /// is null.
    pub figures: Late,
    /// The distribution's parameters (empty where there is none yet).
    pub params: Box<[f32]>,
    /// The target and its score, where it was known when the event was scored; NaN for all of it elsewhere.
    pub realized: Realized,
    /// The same of a target that came with its event but is known only later: worked out with the figures, if not before, and looked at
    /// when it is known.
    pub held_back: OnceLock<Realized>,
}

impl Score {
    /// What is to be worked out of it, for its event: a target is judged once.
    #[must_use]
    pub fn query<'a>(&'a self, event: &'a Event) -> Query<'a> {
        Query { params: &self.params, event, judges: self.judged().is_none() }
    }

    /// What its target is worth, as soon as that was worked out.
    #[must_use]
    pub fn judged(&self) -> Option<&Realized> {
        if self.realized.log_score.is_nan() { self.held_back.get() } else { Some(&self.realized) }
    }
}

/// Numbers that are worked out once, perhaps later than what they belong to, and then are the same for whoever holds that.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Late(OnceLock<Box<[f64]>>);

impl Late {
    /// Whether they are still to be worked out.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.0.get().is_none()
    }

    /// Takes them, unless they were known.
    pub fn set(&self, numbers: Box<[f64]>) {
        let _known = self.0.set(numbers);
    }
}

/// # Panics
/// While they are due: whoever publishes or judges a score has to have it completed first.
impl Deref for Late {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        self.0.get().expect("what is read was worked out before")
    }
}

impl<T: Into<Box<[f64]>>> From<T> for Late {
    fn from(numbers: T) -> Self {
        Self(OnceLock::from(numbers.into()))
    }
}

/// What a published score says of the distribution: all that an outcome needs of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Which life of the model scored.
    pub epoch: u32,
    /// SGD steps that the model had taken.
    pub updates: u64,
    /// The distribution's parameters (empty where there is none yet).
    pub params: Box<[f32]>,
}

/// A target that came, judged by the distribution that its event was scored with.
#[derive(Debug, Clone, PartialEq)]
pub struct Realized {
    /// The target: a value a field.
    pub targets: SmallVec<[f64; 1]>,
    /// log p(y|x) in nats; NaN is null (of no distribution).
    pub log_score: f64,
    /// F(y|x) of each field; NaN is null (of no distribution).
    pub pits: SmallVec<[f64; 1]>,
    /// The log score by each of the two distributions that the event's is a mixture of, the net's and the baseline's; `None` where it is of
    /// one alone. It is not published.
    pub log_scores_of_parts: Option<[f64; 2]>,
}

impl Realized {
    /// The log score by the mixture's part that knows no features, in nats; NaN where there is none.
    #[must_use]
    pub fn baseline_log_score(&self) -> f64 {
        // During the warm-up all is the baseline's.
        self.log_scores_of_parts.map_or(self.log_score, |[_, baseline]| baseline)
    }

    /// Of a target of so many fields that is not known.
    #[must_use]
    pub fn unknown(dim: usize) -> Self {
        Self {
            targets: smallvec![f64::NAN; dim],
            log_score: f64::NAN,
            pits: smallvec![f64::NAN; dim],
            log_scores_of_parts: None,
        }
    }
}

/// An event with its score: one row of the output topic.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The event.
    pub event: Arc<Event>,
    /// Its score.
    pub score: Arc<Score>,
}

/// A target that came after its event was scored: one row of the outcomes topic.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The event.
    pub event: Arc<Event>,
    /// The score it was given.
    pub score: Arc<Score>,
    /// When the target became known, µs since 1970.
    pub target_time_us: i64,
}

impl Outcome {
    /// The target and its score.
    ///
    /// # Panics
    /// When the score's held-back target was not judged: that comes before an outcome.
    #[must_use]
    pub fn realized(&self) -> &Realized {
        self.score.held_back.get().expect("a target is judged before its outcome is made")
    }
}

//! An event that is judged.

use super::forecast::Forecast;
use crate::score::Scored;

/// An event with its score, its targets and what else is asked of its distribution.
pub struct Case<'a> {
    /// The event with its score.
    pub scored: &'a Scored,
    /// Whether targets are rounded to a step.
    pub has_step: bool,
    /// Its distribution; none of several targets.
    pub forecast: Option<&'a mut Forecast>,
}

impl Case<'_> {
    /// A target.
    #[must_use]
    pub fn target(&self, axis: usize) -> f64 {
        self.scored.score.realized.targets[axis]
    }

    /// A published figure; NaN where it is null.
    #[must_use]
    pub fn figure(&self, place: usize) -> f64 {
        self.scored.score.figures[place]
    }

    /// Whether a target is above its quantile `q` of this level. One that is rounded may be equal to it, and is above where its PIT,
    /// which is drawn from within its interval, is.
    #[must_use]
    pub fn is_above(&self, axis: usize, q: f64, level: f64) -> bool {
        let y = self.target(axis);
        if self.has_step && y == q { self.scored.score.realized.pits[axis] > level } else { y > q }
    }
}

/// What tells a score to people and programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreName {
    /// Such as `pinball_q99`.
    pub key: String,
    /// Such as "Pinball loss, 99 % quantile".
    pub title: String,
    /// Its place among an event's values.
    pub column: usize,
}

/// Hands out places among an event's values, and remembers which of them are scores.
#[derive(Debug, Default)]
pub struct Layout {
    /// How many were handed out.
    pub num_columns: usize,
    /// The scores: the lower the better.
    pub scores: Vec<ScoreName>,
}

impl Layout {
    /// A value that is no score.
    pub fn value(&mut self) -> usize {
        self.num_columns += 1;
        self.num_columns - 1
    }

    /// A score.
    pub fn score(&mut self, key: impl Into<String>, title: impl Into<String>) -> usize {
        let column = self.value();
        self.scores.push(ScoreName { key: key.into(), title: title.into(), column });
        column
    }
}

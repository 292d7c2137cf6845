//! A quantile against the targets that came.

use super::{
    case::{Case, Layout},
    judgement::{Judged, percent, told_power},
    statistics::{coverage::Hits, proper},
    summary::{QuantileSummary, Rate},
};

/// A quantile of one target.
pub struct Quantile {
    /// Its column.
    pub column: String,
    /// In words: "99 % quantile".
    pub title: String,
    /// Its level.
    pub level: f64,
    /// The target's place among the fields.
    pub axis: usize,
    /// Its place among the figures.
    pub figure: usize,
    hits: Hits,
    pinball: usize,
    above: usize,
}

impl Quantile {
    /// One whose targets are called `prefix`.
    pub fn new(
        column: &str,
        prefix: &str,
        level: f64,
        axis: usize,
        figure: usize,
        layout: &mut Layout,
    ) -> Self {
        let title = format!("{prefix}{} quantile", percent(level));
        Self {
            pinball: layout.score(format!("pinball_{column}"), format!("Pinball loss, {title}")),
            above: layout.value(),
            column: column.to_owned(),
            title,
            level,
            axis,
            figure,
            hits: Hits::new(level.min(1.0 - level)),
        }
    }

    /// Judges an event; whether its target is above, where it has the quantile.
    pub fn push(&mut self, case: &Case<'_>, values: &mut [f64]) -> Option<bool> {
        let q = case.figure(self.figure);
        if q.is_nan() {
            return None;
        }
        let is_above = case.is_above(self.axis, q, self.level);
        // A 1 % quantile is about what lies below it.
        self.hits.push(is_above != self.is_lower(), q);
        values[self.pinball] = proper::pinball(case.target(self.axis), q, self.level);
        values[self.above] = f64::from(u8::from(is_above));
        Some(is_above)
    }

    fn is_lower(&self) -> bool {
        is_lower(self.level)
    }

    /// The column of 1 above and 0 below.
    #[must_use]
    pub fn above(&self) -> usize {
        self.above
    }

    /// How many times the variance of the number above is what it would be were events independent.
    #[must_use]
    pub fn design_effect(&self, judged: &Judged<'_>) -> f64 {
        judged.sums.design_effect(self.above).unwrap_or(1.0).max(1.0)
    }

    /// What it comes to.
    #[must_use]
    pub fn finish(&self, judged: &Judged<'_>) -> QuantileSummary {
        let (events, p) = (self.hits.events(), 1.0 - self.level);
        let observed = if self.is_lower() { events - self.hits.hits() } else { self.hits.hits() };
        let design_effect = self.design_effect(judged);
        let independent = p * self.level / events as f64;
        let tail = p.min(self.level);
        QuantileSummary {
            column: self.column.clone(),
            level: self.level,
            exceeded: Rate {
                events,
                observed,
                expected: events as f64 * p,
                interval: judged.rate_interval(self.above, independent).map(|end| end.clamp(0.0, 1.0)),
            },
            held: judged.held(self.above, p, tail, independent),
            binomial: self.hits.binomial(),
            kupiec: self.hits.proportion_of_failures(),
            independence: self.hits.independence(),
            conditional_coverage: self.hits.conditional_coverage(),
            dynamic_quantile: self.hits.dynamic_quantile(),
            clustering: self.hits.clustering(),
            traffic_light: self.hits.traffic_light(),
            pinball: judged.mean(self.pinball),
            power: told_power(events, tail, design_effect),
        }
    }
}

/// Whether a quantile of this level is about the lower tail: what matters of it is how many targets are below.
pub fn is_lower(level: f64) -> bool {
    level < 0.5
}

/// How many targets were beyond a quantile, on the side of its tail, and how many should have been, from those above it.
pub fn beyond(level: f64, events: u64, above: u64, expected: f64) -> (u64, f64) {
    if is_lower(level) { (events.saturating_sub(above), events as f64 - expected) } else { (above, expected) }
}

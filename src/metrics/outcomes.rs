//! What targets tell of the figures that were published.
//!
//! A target counts in a dozen places, and an atomic operation for each would cost as much as one of the model's kernels: the thread that judges
//! counts for itself, and flushes what it has counted of some dozens of targets at once.

use prometheus::{
    Counter, IntCounter,
    local::{LocalCounter, LocalHistogram, LocalIntCounter},
};

use super::Metrics;

/// On which side of a quantile the targets came.
#[derive(Debug)]
pub(super) struct Sides {
    /// Targets above it, by their PIT.
    pub above: IntCounter,
    /// The others.
    pub below: IntCounter,
}

/// How often a threshold was expected to be exceeded, and was.
#[derive(Debug)]
pub(super) struct Exceedances {
    /// The sum of P(Y > t) over events whose target came.
    pub expected: Counter,
    /// How many of those targets were above t.
    pub observed: IntCounter,
}

/// Of what counts targets above a quantile and what counts those below, which counts this one, by its PIT F(y|x) and the quantile's level: above
/// is what has a higher PIT, also of a rounded target, of which more than 1 − p may lie on its quantile. NaN (null) says nothing.
fn side<C>(pit: f64, level: f64, above: C, below: C) -> Option<C> {
    (!pit.is_nan()).then_some(if pit > level { above } else { below })
}

impl Sides {
    /// Counts a target at once, by its PIT and the quantile's level.
    pub fn count(&self, pit: f64, level: f64) {
        if let Some(counter) = side(pit, level, &self.above, &self.below) {
            counter.inc();
        }
    }
}

/// Counts of targets that are seen once they are [flushed](Self::flush).
#[derive(Debug)]
pub struct Outcomes {
    pit: LocalHistogram,
    quantiles: Vec<Quantile>,
    thresholds: Vec<Threshold>,
}

#[derive(Debug)]
struct Quantile {
    above: LocalIntCounter,
    below: LocalIntCounter,
}

#[derive(Debug)]
struct Threshold {
    expected: LocalCounter,
    observed: LocalIntCounter,
}

impl Metrics {
    /// For a thread to count outcomes with.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        let quantile = |sides: &Sides| Quantile { above: sides.above.local(), below: sides.below.local() };
        let threshold =
            |e: &Exceedances| Threshold { expected: e.expected.local(), observed: e.observed.local() };
        Outcomes {
            pit: self.pit.local(),
            quantiles: self.quantiles.iter().map(quantile).collect(),
            thresholds: self.exceed.iter().map(threshold).collect(),
        }
    }
}

impl Outcomes {
    /// Counts a target's PIT, F(y|x) in [0, 1]; NaN (null) says nothing.
    pub fn pit(&mut self, pit: f64) {
        if !pit.is_nan() {
            self.pit.observe(pit);
        }
    }

    /// Counts a target against a quantile, in the order of [`MetricsSpec::quantiles`](super::MetricsSpec::quantiles), by its PIT and the
    /// quantile's level.
    pub fn quantile(&self, nth: usize, pit: f64, level: f64) {
        let Quantile { above, below } = &self.quantiles[nth];
        if let Some(counter) = side(pit, level, above, below) {
            counter.inc();
        }
    }

    /// Counts a target against a threshold, in the order of [`MetricsSpec::thresholds`](super::MetricsSpec::thresholds); a probability of
    /// NaN (null) says nothing.
    pub fn threshold(&self, nth: usize, p: f64, is_exceeded: bool) {
        if !p.is_nan() {
            let Threshold { expected, observed } = &self.thresholds[nth];
            expected.inc_by(p);
            observed.inc_by(u64::from(is_exceeded));
        }
    }

    /// Lets all be seen that was counted.
    pub fn flush(&mut self) {
        self.pit.flush();
        self.quantiles.iter().flat_map(|q| [&q.above, &q.below]).for_each(LocalIntCounter::flush);
        self.thresholds.iter().for_each(|t| {
            t.expected.flush();
            t.observed.flush();
        });
    }
}

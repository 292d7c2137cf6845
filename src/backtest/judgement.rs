//! When a figure is said to have held.

use super::{
    statistics::inference::{BlockSums, Estimate, Interval, two_sided_quantile},
    statistics::power::power,
    summary::Held,
};

/// The confidence of each interval that is shown.
pub const CONFIDENCE: f64 = 0.95;
/// A right model is said not to hold somewhere in so many backtests.
const ERROR: f64 = 0.05;
/// Up to this ratio of what came to what was said, or the other way round, a figure that is surely off held nearly.
const NEARLY: f64 = 1.1;
/// What held is known to within this share of a tail's probability: half as much again would have been noticed.
const CLOSE: f64 = 0.5;

/// What the events of a backtest have summed to, and how many figures are judged by it.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The sums of the events' values.
    pub sums: &'a BlockSums,
    /// How many figures are judged.
    pub num_figures: usize,
}

impl Judged<'_> {
    /// A column's mean; NaN where it has no value.
    #[must_use]
    pub fn mean(&self, column: usize) -> f64 {
        self.sums.mean(column).unwrap_or(f64::NAN)
    }

    /// The 95 % interval of its mean; NaN with too few events.
    #[must_use]
    pub fn interval(&self, column: usize) -> [f64; 2] {
        ends(self.sums.estimate(column).map(Estimate::interval))
    }

    /// How far around its mean the truth lies with this confidence: by how the events have varied, but no less than events that are
    /// independent would have it, whose mean has this variance. Where nothing has happened yet, nothing has varied.
    fn half_width(estimate: Estimate, independent: f64, confidence: f64) -> f64 {
        let interval = estimate.interval_at(confidence);
        (0.5 * (interval.high - interval.low)).max(two_sided_quantile(confidence) * independent.sqrt())
    }

    /// The 95 % interval of the mean of a column of rates, or of rates less their probabilities, of this variance were events
    /// independent; NaN with too few events.
    #[must_use]
    pub fn rate_interval(&self, column: usize, independent: f64) -> [f64; 2] {
        let Some(estimate) = self.sums.estimate(column) else { return [f64::NAN; 2] };
        let half_width = Self::half_width(estimate, independent, CONFIDENCE);
        [estimate.value - half_width, estimate.value + half_width]
    }

    /// Whether a column's mean is what it should be, all figures being looked at together, its variance being this one were events
    /// independent. `tail` is the smaller probability that it is about: it should be known to within half of that.
    #[must_use]
    pub fn held(&self, column: usize, expected: f64, tail: f64, independent: f64) -> Held {
        let Some(estimate) = self.sums.estimate(column) else { return Held::Unclear };
        let half_width = Self::half_width(estimate, independent, joint_confidence(self.num_figures));
        let off = estimate.value - expected;
        if off.abs() > half_width {
            let ratio = (tail + off.abs()) / tail;
            let ratio_below = tail / (tail - off.abs()).max(0.0);
            return if ratio.min(ratio_below) >= NEARLY { Held::No } else { Held::Nearly };
        }
        if half_width <= CLOSE * tail { Held::Yes } else { Held::Unclear }
    }
}

/// The confidence of each of so many intervals that together miss once in twenty backtests of a right model (Bonferroni).
#[must_use]
pub fn joint_confidence(num_figures: usize) -> f64 {
    1.0 - ERROR / num_figures.max(1) as f64
}

/// Whether a rate among the events of a segment is what it should be, given its interval at a joint confidence.
#[must_use]
pub fn held_rate(observed: f64, expected: f64, interval: Option<Interval>) -> Held {
    let Some(Interval { low, high }) = interval else { return Held::Unclear };
    let tail = expected.min(1.0 - expected);
    if expected < low || expected > high {
        let off = (observed - expected).abs();
        return if (tail + off) / tail >= NEARLY { Held::No } else { Held::Nearly };
    }
    if 0.5 * (high - low) <= CLOSE * tail { Held::Yes } else { Held::Unclear }
}

/// What so many events can tell of a probability, in words.
#[must_use]
pub fn told_power(events: u64, probability: f64, design_effect: f64) -> String {
    if events == 0 || !(probability > 0.0) {
        return "There is nothing to tell it by.".to_owned();
    }
    power(events, probability, design_effect)
}

/// An interval as a summary holds it; NaN where there is none.
#[must_use]
pub fn ends(interval: Option<Interval>) -> [f64; 2] {
    interval.map_or([f64::NAN; 2], |interval| [interval.low, interval.high])
}

/// A level as a percentage: 0.999 is "99.9 %".
#[must_use]
pub fn percent(level: f64) -> String {
    // The digits are those of the level: 100 times it may have others.
    let digits = format!("{:.10}", 100.0 * level);
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_percentage() {
        assert_eq!([0.5, 0.999, 0.29, 0.0001].map(percent), ["50 %", "99.9 %", "29 %", "0.01 %"]);
    }

    #[test]
    fn what_is_surely_off_did_not_hold_and_what_is_off_by_little_held_nearly() {
        let judged = |rate: f64, num_events: usize| {
            let mut sums = BlockSums::new(1);
            let mut due = 0.0;
            for nth in 0..num_events {
                due += rate;
                let hit = due >= 1.0;
                due -= f64::from(u8::from(hit));
                sums.push(nth as i64, &[f64::from(u8::from(hit))]);
            }
            let independent = 0.01 * 0.99 / num_events as f64;
            Judged { sums: &sums, num_figures: 4 }.held(0, 0.01, 0.01, independent)
        };
        assert_eq!(judged(0.01, 100_000), Held::Yes);
        assert_eq!(judged(0.02, 100_000), Held::No);
        assert_eq!(judged(0.005, 100_000), Held::No);
        assert_eq!(judged(0.0105, 1_000_000), Held::Nearly);
        assert_eq!(judged(0.01, 5), Held::Unclear);
        // None of 60, where 0.6 are to be expected.
        assert_eq!(judged(0.01, 60), Held::Unclear);
    }
}

//! How sure a mean over events is that depend on their neighbours.

use crate::math::normal;

/// Blocks that are kept.
const MOST_BLOCKS: usize = 4_096;
/// Fewer blocks say nothing about how they depend on one another.
const FEWEST_BLOCKS: usize = 10;
/// What an [`Estimate`] has unless another confidence is asked for.
const CONFIDENCE: f64 = 0.95;

/// A figure and how far off it may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// So far above and below it the truth lies with 95 % confidence.
    pub half_width: f64,
}

impl Estimate {
    /// The interval of 95 % confidence.
    #[must_use]
    pub fn interval(self) -> Interval {
        Interval { low: self.value - self.half_width, high: self.value + self.half_width }
    }

    /// The interval of another confidence, for verdicts that look at many figures at once: as much wider as it is for the normal
    /// distribution. That is an approximation. A wide one should be a little wider still, as the variance is itself an estimate.
    #[must_use]
    pub fn interval_at(self, confidence: f64) -> Interval {
        let half_width = self.half_width * two_sided_quantile(confidence) / two_sided_quantile(CONFIDENCE);
        Self { half_width, ..self }.interval()
    }
}

/// Where a figure lies with some confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The standard normal's distance from 0 that is exceeded with probability 1 − `confidence`.
#[must_use]
pub fn two_sided_quantile(confidence: f64) -> f64 {
    normal::quantile(0.5 + 0.5 * confidence)
}

/// Consecutive events.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// How many.
    pub events: u64,
    /// Time of the first of them, µs since 1970.
    pub first_us: i64,
    /// Time of the last of them, µs since 1970.
    pub last_us: i64,
    /// For each column, the sum of the values that are there …
    pub sums: Vec<f64>,
    /// … and how many these are.
    pub counts: Vec<u64>,
}

impl Block {
    fn new(width: usize, time_us: i64) -> Self {
        Self {
            events: 0,
            first_us: time_us,
            last_us: time_us,
            sums: vec![0.0; width],
            counts: vec![0; width],
        }
    }

    /// The mean of a column; `None` where no value was there.
    #[must_use]
    pub fn mean(&self, column: usize) -> Option<f64> {
        let count = self.counts[column];
        (count > 0).then(|| self.sums[column] / count as f64)
    }

    /// Takes in the block that follows.
    fn merge(&mut self, next: &Self) {
        self.events += next.events;
        self.last_us = next.last_us;
        self.sums.iter_mut().zip(&next.sums).for_each(|(sum, next)| *sum += next);
        self.counts.iter_mut().zip(&next.counts).for_each(|(count, next)| *count += next);
    }
}

/// Sums of several columns over blocks of equally many consecutive events, 4,096 at most: when there are that many, neighbours are
/// merged and blocks become twice as long.
///
/// The variance of a mean is estimated from how the blocks vary and go together, by Bartlett's weights over S = 1.3 √B lags of B
/// blocks, and the interval by the critical values that allow for the error of such a variance (Lazarus, Lewis, Stock & Watson 2018,
/// "HAR inference: recommendations for practice"; Kiefer & Vogelsang 2005, "A new asymptotic theory for
/// heteroskedasticity-autocorrelation robust tests").
#[derive(Debug, Clone)]
pub struct BlockSums {
    width: usize,
    /// Events in each block but the last, which may be under way.
    length: u64,
    blocks: Vec<Block>,
}

impl BlockSums {
    /// Of so many columns.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { width, length: 1, blocks: Vec::new() }
    }

    /// The next event: its time, µs since 1970, and a value of each column, NaN where it has none.
    pub fn push(&mut self, time_us: i64, values: &[f64]) {
        debug_assert_eq!(values.len(), self.width);
        if self.blocks.last().is_none_or(|block| block.events == self.length) {
            if self.blocks.len() == MOST_BLOCKS {
                self.blocks = merged(&self.blocks, 2);
                self.length *= 2;
            }
            self.blocks.push(Block::new(self.width, time_us));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.events += 1;
            block.last_us = time_us;
            for ((sum, count), value) in block.sums.iter_mut().zip(&mut block.counts).zip(values) {
                if !value.is_nan() {
                    *sum += value;
                    *count += 1;
                }
            }
        }
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.blocks.iter().map(|block| block.events).sum()
    }

    /// How many of them have a value in this column.
    #[must_use]
    pub fn count(&self, column: usize) -> u64 {
        self.blocks.iter().map(|block| block.counts[column]).sum()
    }

    /// The mean of a column; `None` where no event has a value.
    #[must_use]
    pub fn mean(&self, column: usize) -> Option<f64> {
        let sum: f64 = self.blocks.iter().map(|block| block.sums[column]).sum();
        let count = self.count(column);
        (count > 0).then(|| sum / count as f64)
    }

    /// The mean of a column and how far off it may be; `None` with fewer than 10 blocks, or where that is no number.
    ///
    /// Where values are missing it is the ratio of two sums, and each block counts by what it adds to the ratio in the first order.
    #[must_use]
    pub fn estimate(&self, column: usize) -> Option<Estimate> {
        estimate(self.mean(column)?, &self.influences(column)?)
    }

    /// How much higher the mean of a column is than in `other`, whose events are the same ones; of scores, the test of Diebold &
    /// Mariano 1995, "Comparing predictive accuracy". `None` where [`Self::estimate`] is, or the events are not as many.
    #[must_use]
    pub fn difference(&self, other: &Self, column: usize) -> Option<Estimate> {
        if self.events() != other.events() {
            return None;
        }
        let mut influences = self.influences(column)?;
        influences.iter_mut().zip(other.influences(column)?).for_each(|(own, other)| *own -= other);
        estimate(self.mean(column)? - other.mean(column)?, &influences)
    }

    /// How many times the variance of the mean is what it would be were the events independent, of a column of 0 and 1. `None` where
    /// [`Self::estimate`] is or all values are the same.
    #[must_use]
    pub fn design_effect(&self, column: usize) -> Option<f64> {
        let mean = self.mean(column)?;
        let independent = mean * (1.0 - mean) / self.count(column) as f64;
        let effect = variance_of_sum(&self.influences(column)?)? / independent;
        effect.is_finite().then_some(effect)
    }

    /// Up to `n` consecutive stretches of about equally many events, for charts over time.
    #[must_use]
    pub fn groups(&self, n: usize) -> Vec<Block> {
        merged(&self.blocks, self.blocks.len().div_ceil(n.max(1)).max(1))
    }

    /// What each block adds to the mean of a column less what it would add were it average.
    fn influences(&self, column: usize) -> Option<Vec<f64>> {
        let (mean, count) = (self.mean(column)?, self.count(column) as f64);
        let influence = |block: &Block| (block.sums[column] - mean * block.counts[column] as f64) / count;
        Some(self.blocks.iter().map(influence).collect())
    }
}

/// Every so many neighbours in one.
fn merged(blocks: &[Block], so_many: usize) -> Vec<Block> {
    let merge = |blocks: &[Block]| {
        let (first, rest) = blocks.split_first()?;
        let mut merged = first.clone();
        rest.iter().for_each(|block| merged.merge(block));
        Some(merged)
    };
    blocks.chunks(so_many).filter_map(merge).collect()
}

fn estimate(value: f64, influences: &[f64]) -> Option<Estimate> {
    let error = variance_of_sum(influences)?.sqrt();
    let half_width = critical(lags(influences.len()) / influences.len() as f64) * error;
    (value.is_finite() && half_width.is_finite()).then_some(Estimate { value, error, half_width })
}

/// S, the first lag that does not count, of so many blocks.
fn lags(blocks: usize) -> f64 {
    (1.3 * (blocks as f64).sqrt()).ceil()
}

/// The variance of the sum of serially dependent terms of mean 0: Σⱼ (1 − |j|/S) Σₜ xₜ xₜ₊ⱼ over |j| < S.
fn variance_of_sum(terms: &[f64]) -> Option<f64> {
    if terms.len() < FEWEST_BLOCKS {
        return None;
    }
    let lags = lags(terms.len());
    let products = |lag: usize| terms.iter().zip(&terms[lag..]).map(|(x, y)| x * y).sum::<f64>();
    let later = (1..lags as usize).map(|lag| 2.0 * (1.0 - lag as f64 / lags) * products(lag)).sum::<f64>();
    Some(products(0) + later)
}

/// What a mean over its standard error by Bartlett's weights stays within 95 times in a hundred, with b = S/B lags to a block:
/// Kiefer & Vogelsang 2005, table 1.
fn critical(b: f64) -> f64 {
    1.9600 + b * (2.9694 + b * (0.4160 - b * 0.5324))
}

/// The interval of a probability of which `hits` came in `n` independent trials, or in more that count like so many (Wilson 1927, "Probable inference, the law of
/// succession, and statistical inference"); `None` without trials.
#[must_use]
pub fn wilson(hits: f64, n: f64, confidence: f64) -> Option<Interval> {
    if !(n > 0.0 && confidence > 0.0 && confidence < 1.0) {
        return None;
    }
    let (share, z) = (hits / n, two_sided_quantile(confidence));
    let weight = z * z / n;
    let centre = (share + 0.5 * weight) / (1.0 + weight);
    let half_width = z / (1.0 + weight) * (share * (1.0 - share) / n + 0.25 * weight / n).sqrt();
    Some(Interval { low: (centre - half_width).max(0.0), high: (centre + half_width).min(1.0) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::backtest::statistics::golden::{self, Lcg};

    /// Autoregressive values around `mean`; every seventh is missing in column 1.
    fn stream(seed: u64, num_events: usize, coefficient: f64, mean: f64) -> BlockSums {
        let (mut draws, mut sums) = (Lcg(seed), BlockSums::new(2));
        let mut x = 0.0;
        for nth in 0..num_events {
            x = coefficient * x + draws.normal();
            sums.push(nth as i64 * 1_000, &[mean + x, if nth % 7 == 3 { f64::NAN } else { mean + x }]);
        }
        sums
    }

    #[test]
    fn golden_values_are_met() {
        for case in golden::cases("inference") {
            let (seed, events) = (case.number("seed") as u64, case.number("events") as usize);
            let sums = stream(seed, events, case.number("coefficient"), 3.0);
            for (column, mean, width) in
                [(0, "mean", "half_width"), (1, "mean_missing", "half_width_missing")]
            {
                let estimate = sums.estimate(column).unwrap();
                case.check(mean, estimate.value, 1e-12);
                case.check(width, estimate.half_width, 1e-9);
            }
            let other = stream(seed + 1, events, 0.3, 3.0);
            let difference = sums.difference(&other, 0).unwrap();
            case.check("difference", difference.value, 1e-9);
            case.check("half_width_difference", difference.half_width, 1e-9);
        }
        for case in golden::cases("wilson") {
            let (hits, n) = (case.number("hits"), case.number("n"));
            let interval = wilson(hits, n, case.number("confidence")).unwrap();
            assert!((interval.low - case.number("low")).abs() < 1e-12);
            assert!((interval.high - case.number("high")).abs() < 1e-12);
        }
        assert!(wilson(0.0, 0.0, 0.95).is_none() && wilson(1.0, 2.0, f64::NAN).is_none());
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        for (num_events, coefficient) in [(500, 0.0), (500, 0.5), (6_000, 0.7)] {
            let held = (0..400)
                .filter(|&seed| {
                    let sums = stream(1_000 + seed, num_events, coefficient, 0.0);
                    let interval = sums.estimate(1).unwrap().interval();
                    interval.low <= 0.0 && 0.0 <= interval.high
                })
                .count();
            assert!((364..=396).contains(&held), "{num_events}, {coefficient}: {held} of 400");
        }
    }

    #[test]
    fn more_confidence_is_a_wider_interval() {
        let estimate = Estimate { value: 1.0, error: 1.0, half_width: 1.96 };
        assert!((estimate.interval_at(0.95).low - estimate.interval().low).abs() < 1e-15);
        let interval = estimate.interval_at(0.999);
        assert!((interval.high - 1.0 - 3.2905).abs() < 1e-3 && (interval.low - 1.0 + 3.2905).abs() < 1e-3);
    }

    #[test]
    fn blocks_are_bounded_and_lose_no_event() {
        let sums = stream(1, 20_000, 0.0, 1.0);
        assert!(sums.blocks.len() <= MOST_BLOCKS && sums.length == 8);
        assert_eq!((sums.events(), sums.count(0), sums.count(1)), (20_000, 20_000, 20_000 - 2_857));
        let groups = sums.groups(30);
        assert!(groups.len() <= 30 && groups.len() > 25);
        assert_eq!(groups.iter().map(|group| group.events).sum::<u64>(), 20_000);
        assert_eq!((groups[0].first_us, groups[groups.len() - 1].last_us), (0, 19_999_000));
        assert!(groups.windows(2).all(|pair| pair[0].last_us + 1_000 == pair[1].first_us));
        let sum: f64 = groups.iter().map(|group| group.sums[0]).sum();
        assert!((sum / 20_000.0 - sums.mean(0).unwrap()).abs() < 1e-12);
        assert!((groups[3].mean(0).unwrap() - 1.0).abs() < 0.2);
    }

    #[test]
    fn the_difference_of_aligned_streams_is_surer_than_either() {
        let (mut draws, mut one, mut other) = (Lcg(9), BlockSums::new(1), BlockSums::new(1));
        for nth in 0..1_000 {
            let shared = 10.0 * draws.normal();
            one.push(nth, &[shared + 0.2 + 0.1 * draws.normal()]);
            other.push(nth, &[shared]);
        }
        let difference = one.difference(&other, 0).unwrap();
        assert!((difference.value - 0.2).abs() < 0.01 && difference.half_width < 0.02);
        assert!(one.estimate(0).unwrap().half_width > 0.3);
        other.push(1_000, &[0.0]);
        assert!(one.difference(&other, 0).is_none());
    }

    #[test]
    fn the_design_effect_is_how_many_come_together() {
        let effect = |seed: u64, together: usize| {
            let (mut draws, mut sums) = (Lcg(seed), BlockSums::new(1));
            for nth in 0..4_000 {
                let hit = if draws.uniform() < 0.1 { 1.0 } else { 0.0 };
                (0..together).for_each(|_| sums.push(nth, &[hit]));
            }
            sums.design_effect(0).unwrap()
        };
        for together in [1, 10] {
            let mean = (0..20).map(|seed| effect(seed, together)).sum::<f64>() / 20.0;
            assert!((mean / together as f64 - 1.0).abs() < 0.1, "{together}: {mean}");
        }
    }

    #[test]
    fn few_events_or_none_in_a_column_are_no_estimate() {
        let mut sums = BlockSums::new(2);
        assert!(sums.mean(0).is_none() && sums.groups(3).is_empty());
        (0..9).for_each(|nth| sums.push(nth, &[nth as f64, f64::NAN]));
        assert!(sums.mean(0) == Some(4.0) && sums.estimate(0).is_none() && sums.design_effect(0).is_none());
        sums.push(9, &[9.0, f64::NAN]);
        assert!(sums.estimate(0).is_some());
        assert!(sums.mean(1).is_none() && sums.estimate(1).is_none());
        sums.push(10, &[f64::INFINITY, 1.0]);
        assert!(sums.estimate(0).is_none() && sums.mean(1) == Some(1.0));
    }
}

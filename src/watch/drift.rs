//! Whether the mean of what comes has changed.

use serde::{Deserialize, Serialize};

/// What is judged is the mean of so many values, …
const BLOCK: u64 = 256;
/// … by the mean and the scatter of at least so many such means, the first of them after the outliers among them were brought in.
const NUM_FIRST: usize = 32;
/// A change of the mean by fewer standard deviations of a block than this is none.
const TOLERATED: f64 = 0.5;
/// So many have to add up beyond that.
const THRESHOLD: f64 = 9.0;
/// No block counts for more.
const MOST: f64 = 6.0;

/// Which changes of the mean matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Those downwards.
    Lower,
    /// All.
    Both,
}

/// Page & Hinkley's test (Page 1954, "Continuous inspection schemes"; Hinkley 1971) on means of 256 values: it adds up by how many standard
/// deviations they are off the mean of all since the last change, less what is tolerated, and not below zero; a sum beyond the threshold is a
/// change, after which it begins anew.
///
/// The scatter is that of the means themselves, so that values which come in waves, as a day's do, are not taken for a change each
/// day. Where the means are independent, that happens about once in e^(2 · 0.5 · 9) / (2 · 0.5²) blocks, 4 million values, a side.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Detector {
    /// Of the block under way.
    values: u64,
    sum: f64,
    /// The first means since the last change, as long as there are too few to judge by.
    first: Vec<f64>,
    /// Of the blocks since the last change, those first ones not before they are all there.
    blocks: u64,
    mean: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
    above: f64,
    below: f64,
    detections: u64,
    last_us: Option<i64>,
}

impl Detector {
    /// Takes a value at this time.
    pub fn add(&mut self, value: f64, sides: Sides, time_us: i64) {
        // So far away that no more can be told, and sums stay numbers.
        self.sum += value.clamp(-1e100, 1e100);
        self.values += 1;
        if self.values == BLOCK {
            let mean = self.sum / BLOCK as f64;
            (self.values, self.sum) = (0, 0.0);
            self.add_block(mean, sides, time_us);
        }
    }

    fn add_block(&mut self, value: f64, sides: Sides, time_us: i64) {
        if self.blocks == 0 {
            self.first.push(value);
            if self.first.len() == NUM_FIRST {
                self.begin();
            }
            return;
        }
        let deviation = (self.squares / self.blocks as f64).sqrt().max(f64::MIN_POSITIVE);
        let off = ((value - self.mean) / deviation).clamp(-MOST, MOST);
        self.above = (self.above + off - TOLERATED).max(0.0);
        self.below = (self.below - off - TOLERATED).max(0.0);
        if self.below > THRESHOLD || (sides == Sides::Both && self.above > THRESHOLD) {
            *self = Self { detections: self.detections + 1, last_us: Some(time_us), ..Self::default() };
            return;
        }
        self.count(self.mean + off * deviation);
    }

    /// Mean and scatter of the first blocks, of which those beyond 6 standard deviations, by the median distance from the median, count as
    /// far as that: one extreme value must not make the scatter so large that no change is seen.
    fn begin(&mut self) {
        let first = std::mem::take(&mut self.first);
        let median = |values: &mut [f64]| {
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let center = median(&mut first.clone());
        let mut distances: Vec<f64> = first.iter().map(|value| (value - center).abs()).collect();
        let reach = MOST * 1.4826 * median(&mut distances);
        for value in first {
            self.count(value.clamp(center - reach, center + reach));
        }
    }

    fn count(&mut self, value: f64) {
        self.blocks += 1;
        let off = value - self.mean;
        self.mean += off / self.blocks as f64;
        self.squares += off * (value - self.mean);
    }

    /// Changes found so far.
    #[must_use]
    pub fn detections(&self) -> u64 {
        self.detections
    }

    /// When the last one was found: stream time, µs since 1970.
    #[must_use]
    pub fn last_us(&self) -> Option<i64> {
        self.last_us
    }

    pub(super) fn is_valid(&self) -> bool {
        let mut numbers =
            [self.sum, self.mean, self.squares, self.above, self.below].into_iter().chain(self.first.clone());
        self.values < BLOCK
            && self.first.len() < NUM_FIRST
            && (self.blocks == 0 || self.first.is_empty())
            && self.squares >= 0.0
            && numbers.all(f64::is_finite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::noise::Draws;

    /// Where changes are found in values with this mean, in standard deviations.
    fn detections(mean: impl Fn(usize) -> f64, sides: Sides, num_values: usize) -> Vec<usize> {
        let mut detector = Detector::default();
        let mut found = Vec::new();
        for nth in 0..num_values {
            let before = detector.detections();
            detector.add(3.0 * (mean(nth) + Draws::new(9, 0, nth).normal()), sides, nth as i64);
            if detector.detections() > before {
                found.push(nth);
                assert_eq!(detector.last_us(), Some(nth as i64));
            }
        }
        found
    }

    #[test]
    fn nothing_is_found_where_nothing_changes() {
        assert!(detections(|_| 1.0, Sides::Both, 500_000).is_empty());
        // Nor in waves that are shorter than what it has seen.
        let wave = |nth: usize| (nth as f64 * std::f64::consts::TAU / 900.0).sin();
        assert!(detections(wave, Sides::Both, 500_000).is_empty());
    }

    #[test]
    fn a_change_is_found_soon_and_once() {
        let half_down = |nth| if nth < 20_000 { 1.0 } else { 0.5 };
        let [at] = detections(half_down, Sides::Lower, 60_000)[..] else { panic!("not one") };
        assert!((20_000..21_000).contains(&at), "{at}");
        let up = |nth| if nth < 20_000 { 0.0 } else { 0.5 };
        assert!(detections(up, Sides::Lower, 60_000).is_empty());
        assert_eq!(detections(up, Sides::Both, 60_000).len(), 1);
    }

    #[test]
    fn one_extreme_value_at_the_beginning_hides_no_change() {
        for extreme in [-745.0, 1e100] {
            let mut detector = Detector::default();
            for nth in 0..30_000 {
                let mean = if nth < 20_000 { 1.0 } else { 0.0 };
                let value = mean + Draws::new(9, 0, nth).normal();
                detector.add(if nth == 700 { extreme } else { value }, Sides::Lower, nth as i64);
                assert!(nth > 20_000 || detector.detections() == 0);
            }
            assert!(detector.last_us().is_some_and(|at| at < 22_000), "{extreme}");
        }
    }

    #[test]
    fn it_stays_finite_whatever_comes() {
        let mut detector = Detector::default();
        for value in [f64::MAX, f64::MIN, f64::NEG_INFINITY, 0.0].into_iter().cycle().take(10_000) {
            detector.add(value, Sides::Both, 0);
            assert!(detector.is_valid(), "{detector:?}");
        }
        let mut constant = Detector::default();
        (0..10_000).for_each(|_| constant.add(1.0, Sides::Both, 0));
        assert!(constant.is_valid() && constant.detections() == 0);
    }
}

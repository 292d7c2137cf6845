//! Whether the mean of what comes has changed.

use serde::{Deserialize, Serialize};

/// Values from which mean and scale are taken before any is judged.
const NUM_FIRST: u64 = 500;
/// A change of the mean by fewer standard deviations than this is none.
const TOLERATED: f64 = 0.1;
/// So many standard deviations have to add up beyond that.
const THRESHOLD: f64 = 60.0;
/// No value counts for more standard deviations.
const MOST: f64 = 5.0;

/// Which changes of the mean matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Those downwards.
    Lower,
    /// All.
    Both,
}

/// Page & Hinkley's test (Page 1954, "Continuous inspection schemes"; Hinkley 1971): it adds up by how many standard deviations values
/// are off the mean of all since the last change, less what is tolerated, and not below zero; a sum beyond the threshold is a change, after
/// which it begins anew.
///
/// Independent values are wrongly taken for a change about once in e^(2 · 0.1 · 60) / (2 · 0.1²), 8 million, a side; those that come in waves,
/// as a day's do, more often.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Detector {
    values: u64,
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
        let mut value = value.clamp(f64::MIN, f64::MAX);
        if self.values >= NUM_FIRST {
            let deviation = (self.squares / self.values as f64).sqrt().max(f64::MIN_POSITIVE);
            let off = ((value - self.mean) / deviation).clamp(-MOST, MOST);
            self.above = (self.above + off - TOLERATED).max(0.0);
            self.below = (self.below - off - TOLERATED).max(0.0);
            if self.below > THRESHOLD || (sides == Sides::Both && self.above > THRESHOLD) {
                *self = Self { detections: self.detections + 1, last_us: Some(time_us), ..Self::default() };
                return;
            }
            value = self.mean + off * deviation;
        }
        self.values += 1;
        let off = value - self.mean;
        self.mean += off / self.values as f64;
        self.squares += off * (value - self.mean);
        if !(self.mean.is_finite() && self.squares.is_finite()) {
            *self = Self { detections: self.detections, last_us: self.last_us, ..Self::default() };
        }
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
        [self.mean, self.squares, self.above, self.below].iter().all(|value| value.is_finite())
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
    }

    #[test]
    fn a_change_is_found_soon_and_once() {
        let half_down = |nth| if nth < 20_000 { 1.0 } else { 0.5 };
        let [at] = detections(half_down, Sides::Lower, 60_000)[..] else { panic!("not one") };
        assert!((20_000..20_400).contains(&at), "{at}");
        let up = |nth| if nth < 20_000 { 0.0 } else { 0.5 };
        assert!(detections(up, Sides::Lower, 60_000).is_empty());
        assert_eq!(detections(up, Sides::Both, 60_000).len(), 1);
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

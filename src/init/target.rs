//! What the target's values say of the target: its step, its support, thresholds.

use super::profile::number;
use crate::text::thousands;

/// Fewer values say nothing of a step or a support.
const MIN_VALUES: usize = 50;
/// So many steps or more between the 10 and the 90 % quantile are as good as none.
const FINEST: f64 = 200.0;

/// Values of neighbouring records are suspiciously alike where they are so many times nearer to each other than to those far away.
const ALIKE: f64 = 5.0;

/// Whether the values, in the records' order, go along with it: as where the records are sorted by them.
#[must_use]
pub fn goes_with_the_order(values: &[f64]) -> bool {
    if values.len() < 4 * MIN_VALUES {
        return false;
    }
    let far = values.len() / 2;
    let median_distance = |apart: usize| {
        let mut distances: Vec<f64> =
            values.iter().zip(&values[apart..]).map(|(one, other)| (one - other).abs()).collect();
        distances.sort_by(f64::total_cmp);
        distances[distances.len() / 2]
    };
    median_distance(1) * ALIKE < median_distance(far)
}

/// The values that a target had.
#[derive(Debug)]
pub struct TargetValues {
    /// In their order.
    sorted: Vec<f64>,
}

/// Something guessed, with its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Reasoned<T> {
    /// What was guessed.
    pub value: T,
    /// Why.
    pub why: String,
}

impl TargetValues {
    /// Of these values, all of them finite.
    #[must_use]
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { sorted: values }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The empirical quantile; 0 where there are no values.
    #[must_use]
    pub fn quantile(&self, level: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get(((last as f64) * level).round() as usize).copied().unwrap_or(0.0)
    }

    /// What the values are multiples of: 1, 2.5 or 5 times a power of ten.
    #[must_use]
    pub fn step(&self) -> Reasoned<Option<f64>> {
        let none = |why: String| Reasoned { value: None, why };
        if self.len() < MIN_VALUES {
            return none("too few values to tell".to_owned());
        }
        let steps =
            (-4..=2).rev().flat_map(|exponent| [50, 25, 10].map(|tens| decimal(f64::from(tens), exponent)));
        let Some(step) = steps.into_iter().find(|step| self.are_multiples(*step)) else {
            return none("not all values are multiples of a step".to_owned());
        };
        let spread = (self.quantile(0.9) - self.quantile(0.1)) / step;
        let is_rounded_by_hand = step > 1.0 && self.len() < 10 * MIN_VALUES;
        if spread > FINEST || is_rounded_by_hand {
            let why = if is_rounded_by_hand {
                "which may be chance or a habit"
            } else {
                "too fine a step to matter"
            };
            return none(format!("all values are multiples of {step}, {why}"));
        }
        Reasoned {
            value: Some(step),
            why: format!("all {} values are multiples of {step}", thousands(self.len() as u64)),
        }
    }

    fn are_multiples(&self, step: f64) -> bool {
        // A decimal is off by half a unit in the last place, which its quotient repeats.
        self.sorted.iter().all(|value| {
            let quotient = value / step;
            (quotient - quotient.round()).abs() <= 1e-9 * quotient.abs().max(1.0)
        })
    }

    /// Whether the target is said to be above 0: where its values are, and reach so near to it that it is their bound. `None`: they
    /// are not.
    #[must_use]
    pub fn is_positive(&self, step: Option<f64>) -> Reasoned<Option<bool>> {
        let min = self.quantile(0.0);
        if self.is_empty() || min <= 0.0 {
            let why = if min == 0.0 { "0 is among the values" } else { "there are values below 0" };
            return Reasoned { value: None, why: why.to_owned() };
        }
        let why = format!("all values are above 0: {} to {}", number(min), number(self.quantile(1.0)));
        // Around 300 K or at 10,000 points 0 is far away, and says nothing. Of whole numbers those from 1 on may be all that came.
        let is_bound = step.is_none() && self.len() >= MIN_VALUES && min < self.quantile(0.5) / 2.0;
        Reasoned { value: Some(is_bound), why }
    }

    /// A round number near a quantile, as round as can be for about as many values to be above it.
    fn near(&self, quantile: f64, share: f64, step: f64) -> f64 {
        let spread = quantile - self.quantile(0.5);
        let rounded = [4.0, 10.0, 25.0, 100.0].map(|parts| round(quantile, (spread / parts).max(step)));
        let is_near = |value: &f64| {
            let above = self.above(*value) as f64 / self.len() as f64;
            (share / 2.0..=share * 2.0).contains(&above)
        };
        rounded.into_iter().find(is_near).unwrap_or(rounded[0])
    }

    fn above(&self, threshold: f64) -> usize {
        self.sorted.len() - self.sorted.partition_point(|value| *value <= threshold)
    }

    /// Round numbers near the upper quantiles, each of them exceeded often enough to be judged by.
    #[must_use]
    pub fn thresholds(&self, step: Option<f64>) -> Vec<Reasoned<f64>> {
        let mut thresholds: Vec<Reasoned<f64>> = Vec::new();
        for (level, least) in [(0.9, 1), (0.99, 300), (0.999, 5_000)] {
            let quantile = self.quantile(level);
            let value = self.near(quantile, 1.0 - level, step.unwrap_or(0.0));
            let above = self.above(value);
            let is_new = thresholds.last().is_none_or(|before| value > before.value);
            if self.len() >= least && is_new && above > 0 {
                let share = super::guess::percent(above as u64, self.len() as u64);
                thresholds.push(Reasoned { value, why: format!("{share} above {}", number(value)) });
            }
        }
        thresholds
    }
}

/// The double that a decimal is read as.
fn decimal(digits: f64, exponent: i32) -> f64 {
    format!("{digits:.0}e{exponent}").parse().unwrap_or(f64::NAN)
}

/// The value as a multiple of 1, 2.5 or 5 times a power of ten, the largest that is at most `most`.
fn round(value: f64, most: f64) -> f64 {
    if most <= 0.0 || !most.is_finite() {
        return value;
    }
    // Tenths, so that 2.5 is whole and the result the decimal that a person would write.
    let exponent = most.log10().floor() as i32 - 1;
    let fits = |tens: &i32| decimal(f64::from(*tens), exponent) <= most * (1.0 + 1e-9);
    let Some(tens) = [50, 25, 10].into_iter().find(fits).map(f64::from) else { return value };
    let multiple = (value / decimal(tens, exponent)).round() * tens;
    let rounded = decimal(multiple, exponent);
    if rounded.is_finite() { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: impl IntoIterator<Item = f64>) -> TargetValues {
        TargetValues::new(values.into_iter().collect())
    }

    #[test]
    fn a_target_that_goes_with_the_order_is_told_from_one_that_does_not() {
        let sorted: Vec<f64> = (0..1_000).map(|n| f64::from(n * n)).collect();
        let mixed: Vec<f64> = (0..1_000).map(|n| f64::from(n * 617 % 1_000)).collect();
        assert!(goes_with_the_order(&sorted) && !goes_with_the_order(&mixed));
        assert!(!goes_with_the_order(&sorted[..100]), "too few to tell");
        assert!(!goes_with_the_order(&[1.0; 1_000]), "nothing differs");
    }

    #[test]
    fn a_step_is_what_all_values_are_multiples_of_unless_it_is_too_fine() {
        let step = |count: u32, scale: f64| {
            values((0..count).map(|n| f64::from(n * 7 % count) * scale)).step().value
        };
        assert_eq!(step(100, 1.0), Some(1.0));
        assert_eq!(step(100, 0.01), Some(0.01));
        assert_eq!(step(100, 0.25), Some(0.25));
        assert_eq!(step(100, 0.2), Some(0.1));
        assert_eq!(step(100_000, 1.0), None, "whole, and as good as continuous");
        assert_eq!(step(40, 1.0), None, "too few");
        assert_eq!(step(100, 0.123_456), None);
        assert_eq!(step(100, 10.0), None, "people round to tens");
        assert_eq!(values((0..100).map(|_| 0.0)).step().value, None);
    }

    #[test]
    fn a_target_is_positive_where_0_bounds_it() {
        let is_positive = |of: std::ops::Range<i32>, step| values(of.map(f64::from)).is_positive(step).value;
        assert_eq!(is_positive(1..100, None), Some(true));
        assert_eq!((is_positive(1..100, Some(1.0)), is_positive(250..350, None)), (Some(false), Some(false)));
        assert_eq!((is_positive(0..100, None), is_positive(-5..100, None)), (None, None));
    }

    #[test]
    fn thresholds_are_round_near_the_quantiles_and_exceeded() {
        let thresholds = |values: TargetValues| -> Vec<f64> {
            values.thresholds(None).into_iter().map(|threshold| threshold.value).collect()
        };
        assert_eq!(thresholds(values((0..10_000).map(f64::from))), [9_000.0, 9_900.0]);
        assert_eq!(thresholds(values((0..100).map(|n| 300.0 + f64::from(n) / 100.0))), [300.9]);
        assert_eq!(thresholds(values((0..1_000).map(|n| f64::from(n) / 1e7))).first(), Some(&0.000_09));
        assert_eq!(thresholds(values([1.0; 100])), [0.0; 0]);
        assert_eq!(thresholds(values([])), [0.0; 0]);
        let heavy = values((0..100_000).map(|n| 1.0 / (1.0 - (f64::from(n) + 0.5) / 1e5)));
        assert_eq!(thresholds(heavy), [10.0, 100.0, 1_000.0]);
    }

    #[test]
    fn roundings_are_decimals_that_a_person_would_write() {
        assert_eq!(round(52.3, 14.0), 50.0);
        assert_eq!(round(0.123_456, 0.02), 0.12);
        assert_eq!(round(-7.3, 3.0), -7.5);
        assert_eq!(round(3.0, 0.0), 3.0);
        assert_eq!(round(7.4, 1.0), 7.0);
        assert_eq!(round(0.000_088, 0.000_012), 0.000_09);
        assert_eq!(round(1e300, 1e299), 1e300);
    }
}

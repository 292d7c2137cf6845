//! Targets that are rounded to the multiples of a step.

use xxhash_rust::xxh3::xxh3_64;

use crate::record::Event;

/// What a target is rounded to, in its own unit: a target y stands for the interval of this width around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step(pub f64);

/// Within this share of a step of a multiple, a number is that multiple …
const ROUNDING: f64 = 1e-9;
/// … and within this share of itself, which is what doubles round by.
const RELATIVE_ROUNDING: f64 = 4e-16;

impl Step {
    /// Where the interval of the highest multiple ends that is not above `threshold`: what exceeds the threshold, the threshold
    /// itself not counted, lies above that end.
    #[must_use]
    pub fn end(self, threshold: f64) -> f64 {
        let steps = threshold / self.0;
        let nearest = steps.round();
        let is_multiple = (steps - nearest).abs() <= ROUNDING.max(RELATIVE_ROUNDING * steps.abs());
        let below = if is_multiple { nearest } else { steps.floor() };
        (below + 0.5) * self.0
    }

    /// The multiple whose interval, its upper end included, holds `value`.
    #[must_use]
    pub fn round(self, value: f64) -> f64 {
        (value / self.0 - 0.5).ceil() * self.0 + 0.0
    }

    /// Where in its interval the target of an event is taken to lie, uniform on (0, 1) over events: what makes the PIT of a right
    /// distribution uniform (Czado, Gneiting & Held 2009, "Predictive model assessment for count data"). It is the event's place
    /// by XXH3, so that anyone can compute it again.
    #[must_use]
    pub fn draw(self, event: &Event) -> f64 {
        let mut place = [0; 16];
        place[..4].copy_from_slice(&event.partition.to_le_bytes());
        place[4..12].copy_from_slice(&event.offset.to_le_bytes());
        place[12..].copy_from_slice(&event.row.to_le_bytes());
        ((xxh3_64(&place) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_ends_the_interval_of_the_multiple_at_or_below_it() {
        for (step, threshold, end) in [
            (1.0, 15.0, 15.5),
            (1.0, 15.2, 15.5),
            (1.0, -0.2, -0.5),
            (0.1, 0.3, 0.35),
            (0.1, 0.7, 0.75),
            (5.0, 14.0, 12.5),
            (1.0, 6e8 + 0.6, 6e8 + 0.5),
            (0.001, 1e6 + 0.0006, 1e6 + 0.0005),
        ] {
            assert!(
                (Step(step).end(threshold) - end).abs() < 1e-12 * threshold.abs().max(1.0),
                "{threshold} in steps of {step}"
            );
        }
    }

    #[test]
    fn a_value_is_rounded_to_the_nearest_multiple() {
        assert_eq!(
            [15.49, 15.5, 15.51, -0.4, 0.6].map(|value| Step(1.0).round(value)),
            [15.0, 15.0, 16.0, 0.0, 1.0]
        );
        assert!(Step(1.0).round(-0.4).is_sign_positive());
    }
}

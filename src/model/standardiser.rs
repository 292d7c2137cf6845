//! A normaliser that follows its variable.

use serde::{Deserialize, Serialize};

use super::normaliser::{NORMAL_IQR, Normaliser};

/// How far, in scales, a quartile moves for one value: one that was far off comes near within some thousand values, and at rest it
/// wavers by a twentieth of a scale.
const RATE: f64 = 0.005;
/// A center that is so many scales off is moved …
const OFF_CENTER: f64 = 0.25;
/// … and a scale that is so many times too small or too large is changed.
const OFF_SCALE: f64 = 1.25;

/// Center and scale of a variable, and where its quartiles have gone since.
///
/// The quartiles follow the values by stochastic approximation (Robbins & Monro 1951): each moves up by p and down by 1 − p steps, which
/// balance where a share p of the values lies below it. Center and scale stay until they are clearly off, since whatever uses them has to
/// be changed along.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standardiser {
    normaliser: Normaliser,
    /// The quartiles, lower to upper.
    quartiles: [f64; 3],
    /// The middle half of the values that it was fitted to was not one value: its scale can be told by the quartiles.
    varies: bool,
}

/// How the old normalised value z of a variable follows from its new one: z = ratio · z′ + shift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rescaling {
    /// New scale over old one.
    pub ratio: f64,
    /// How far the center has moved, in old scales.
    pub shift: f64,
}

impl Standardiser {
    /// Leaves its variable as it is.
    pub const IDENTITY: Self = Self {
        normaliser: Normaliser::IDENTITY,
        quartiles: [-0.5 * NORMAL_IQR, 0.0, 0.5 * NORMAL_IQR],
        varies: false,
    };

    /// Begins with this normaliser of these values, which are sorted.
    #[must_use]
    pub fn new(normaliser: Normaliser, sorted: &[f64]) -> Self {
        if sorted.is_empty() {
            return Self { normaliser, ..Self::IDENTITY };
        }
        let quartiles = [0.25, 0.5, 0.75].map(|p| super::normaliser::quantile(sorted, p));
        Self { normaliser, quartiles, varies: quartiles[2] > quartiles[0] }
    }

    /// Center and scale.
    #[must_use]
    pub fn normaliser(&self) -> &Normaliser {
        &self.normaliser
    }

    /// Whether it maps finite values to finite values, and goes on doing so.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.normaliser.is_valid() && self.quartiles.iter().all(|quartile| quartile.is_finite())
    }

    /// Takes note of a value.
    pub fn follow(&mut self, value: f64) {
        for (quartile, p) in self.quartiles.iter_mut().zip([0.25, 0.5, 0.75]) {
            let by = if value > *quartile { p } else { p - 1.0 };
            let moved = *quartile + RATE * self.normaliser.scale * by;
            if moved.is_finite() {
                *quartile = moved;
            }
        }
    }

    /// Changes center and scale where they are clearly off.
    pub fn adapt(&mut self) -> Option<Rescaling> {
        let Normaliser { center, scale } = self.normaliser;
        let [lower, median, upper] = self.quartiles;
        let mut spread = (upper - lower) / NORMAL_IQR;
        // Of a variable that mostly has one value the quartiles say only that it began to vary.
        if !self.varies && spread < scale {
            spread = scale;
        }
        let is_off_scale = !(scale / OFF_SCALE..=scale * OFF_SCALE).contains(&spread);
        if !is_off_scale && (median - center).abs() <= OFF_CENTER * scale {
            return None;
        }
        let spread = if is_off_scale { spread } else { scale };
        let adapted = Normaliser::publishable(median, spread);
        let rescaling = Rescaling { ratio: adapted.scale / scale, shift: (adapted.center - center) / scale };
        // What can't be told apart in single precision stays.
        let is_sound = rescaling.ratio.is_finite() && rescaling.ratio > 0.0 && rescaling.shift.is_finite();
        (is_sound && adapted != self.normaliser).then(|| {
            self.normaliser = adapted;
            rescaling
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::noise::Draws;

    fn draws(n: usize, seed: u64) -> Vec<f64> {
        (0..n).map(|i| Draws::new(seed, 0, i).normal()).collect()
    }

    fn fitted(values: &[f64]) -> Standardiser {
        let mut values = values.to_vec();
        let normaliser = Normaliser::fit(&mut values);
        Standardiser::new(normaliser, &values)
    }

    #[test]
    fn it_stays_where_its_variable_stays() {
        let mut standardiser = fitted(&draws(2_000, 1));
        let begun = *standardiser.normaliser();
        for value in draws(100_000, 2) {
            standardiser.follow(value);
            assert_eq!(standardiser.adapt(), None);
        }
        assert_eq!(*standardiser.normaliser(), begun);
    }

    #[test]
    fn it_follows_a_variable_that_grows_a_thousandfold_and_shrinks_again() {
        let mut standardiser = fitted(&draws(2_000, 1));
        for (scale, n) in [(1e3, 30_000), (1e-3, 60_000)] {
            let mut product = standardiser.normaliser().scale;
            for value in draws(n, 3) {
                standardiser.follow(scale * (value + 5.0));
                if let Some(Rescaling { ratio, .. }) = standardiser.adapt() {
                    product *= ratio;
                }
            }
            let now = standardiser.normaliser();
            assert!((now.scale / scale - 1.0).abs() < 0.35, "{now:?}");
            assert!((now.center / scale - 5.0).abs() < 0.4, "{now:?}");
            assert!((product / now.scale - 1.0).abs() < 1e-6, "the ratios are those of the scales");
        }
    }

    #[test]
    fn a_rain_gauge_keeps_its_scale() {
        let rain: Vec<f64> = (0..2_000).map(|i| if i % 10 == 0 { 1.0 } else { 0.0 }).collect();
        let mut standardiser = fitted(&rain);
        let begun = *standardiser.normaliser();
        for value in rain.iter().cycle().take(50_000) {
            standardiser.follow(*value);
            assert_eq!(standardiser.adapt(), None);
        }
        assert_eq!(*standardiser.normaliser(), begun);
    }

    #[test]
    fn extreme_values_leave_it_finite() {
        let mut standardiser = fitted(&draws(100, 1));
        for value in [f64::MAX, f64::MIN, f64::MIN_POSITIVE].iter().cycle().take(300_000) {
            standardiser.follow(*value);
            standardiser.adapt();
            assert!(standardiser.is_valid() && standardiser.normaliser().scale > 0.0);
        }
    }
}

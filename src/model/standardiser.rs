//! A normaliser that follows its variable.

use serde::{Deserialize, Serialize};

use super::normaliser::{NORMAL_IQR, Normaliser};
use crate::config::Support;

/// How far, in scales, a quartile moves for one value: one that was far off comes near within some thousand values, and at rest it
/// wavers by a twentieth of a scale.
const RATE: f64 = 0.005;
/// A center that is so many scales off is moved …
const OFF_CENTER: f64 = 0.25;
/// … and a scale that is so many times too small or too large is changed, …
const OFF_SCALE: f64 = 1.25;
/// … by no more than this at once.
const MOST_AT_ONCE: f64 = 2.0;
/// What a value adds to the mean deviation ends here, in scales.
const FAR: f64 = 8.0;
/// A scale is no less than this share of the mean deviation, which is 0.8 of a Gaussian's: the quartiles of a variable that mostly has one
/// value meet, and say nothing of its scale.
const OF_DEVIATION: f64 = 0.7;

/// Center and scale of a variable, and where its quartiles have gone since.
///
/// The quartiles follow the values by stochastic approximation (Robbins & Monro 1951): each moves up by p and down by 1 − p steps, which
/// balance where a share p of the values lies below it. Center and scale stay until they are clearly off, since whatever uses them has to
/// be changed along.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standardiser {
    normaliser: Normaliser,
    /// What it was fitted to.
    begun: Normaliser,
    /// The quartiles, ascending.
    quartiles: [f64; 3],
    /// Mean distance from the median, of what is not too far.
    deviation: f64,
    /// The quartiles told the scale that it was fitted to.
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

/// How far center and scale may go from where they began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// So many times larger or smaller the scale may be.
    pub scale: f64,
    /// So many of the first scales the center may be away.
    pub center: f64,
}

impl Standardiser {
    /// Leaves its variable as it is.
    pub const IDENTITY: Self = Self {
        normaliser: Normaliser::IDENTITY,
        begun: Normaliser::IDENTITY,
        quartiles: [-0.5 * NORMAL_IQR, 0.0, 0.5 * NORMAL_IQR],
        deviation: 1.0,
        varies: false,
    };

    /// Begins where these finite values are, which it reorders.
    #[must_use]
    pub fn fit(values: &mut [f64], support: Support) -> Self {
        let normaliser = match support {
            Support::Real => Normaliser::fit(values),
            Support::Positive => Normaliser::fit_scale(values),
        };
        Self::new(normaliser, values)
    }

    /// Begins with this normaliser of these values, which are sorted.
    #[must_use]
    pub fn new(normaliser: Normaliser, sorted: &[f64]) -> Self {
        if sorted.is_empty() {
            return Self { normaliser, begun: normaliser, ..Self::IDENTITY };
        }
        let quartiles = [0.25, 0.5, 0.75].map(|p| super::normaliser::quantile(sorted, p));
        let spread = (quartiles[2] - quartiles[0]) / NORMAL_IQR;
        let varies = (spread / normaliser.scale - 1.0).abs() < 0.01;
        Self { normaliser, begun: normaliser, quartiles, deviation: normaliser.scale, varies }
    }

    /// Center and scale.
    #[must_use]
    pub fn normaliser(&self) -> &Normaliser {
        &self.normaliser
    }

    /// Whether it maps finite values to finite values, and goes on doing so.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.normaliser.is_valid()
            && self.begun.is_valid()
            && self.quartiles.iter().chain([&self.deviation]).all(|value| value.is_finite())
    }

    /// Takes note of a value.
    pub fn follow(&mut self, value: f64) {
        let scale = self.normaliser.scale;
        // In the first scale too: seen by one that shrinks, a rare value would seem to come nearer and nearer.
        let far = FAR * scale.max(self.begun.scale);
        let distance = (value - self.quartiles[1]).abs().min(far);
        self.deviation += RATE * (distance - self.deviation);
        for (quartile, p) in self.quartiles.iter_mut().zip([0.25, 0.5, 0.75]) {
            let by = if value > *quartile { p } else { p - 1.0 };
            let moved = *quartile + RATE * scale * by;
            if moved.is_finite() {
                *quartile = moved;
            }
        }
        let [one, two, three] = self.quartiles;
        let (low, high) = (one.min(two), one.max(two));
        let (middle, highest) = (high.min(three), high.max(three));
        self.quartiles = [low.min(middle), low.max(middle), highest];
    }

    /// Changes center and scale where they are clearly off, within `reach`, if what uses them can be `changed` along.
    pub fn adapt(&mut self, reach: Reach, changed: impl FnOnce(Rescaling) -> bool) {
        let Normaliser { center, scale } = self.normaliser;
        let [lower, median, upper] = self.quartiles;
        let spread = ((upper - lower) / NORMAL_IQR).max(OF_DEVIATION * self.deviation);
        let is_off_scale = !(scale / OFF_SCALE..=scale * OFF_SCALE).contains(&spread);
        // Of a variable that mostly had one value the quartiles say only that it has begun to vary.
        let is_told = self.varies || spread > scale;
        let wanted = if is_off_scale && is_told { spread } else { scale };
        let wanted = wanted
            .clamp(scale / MOST_AT_ONCE, scale * MOST_AT_ONCE)
            .clamp(self.begun.scale / reach.scale, self.begun.scale * reach.scale);
        let is_off_center = (median - center).abs() > OFF_CENTER * scale;
        let center_reach = reach.center * self.begun.scale;
        let moved = if is_off_center { median } else { center };
        let moved = moved.clamp(self.begun.center - center_reach, self.begun.center + center_reach);
        let adapted = Normaliser::publishable(moved, wanted);
        let rescaling = Rescaling { ratio: adapted.scale / scale, shift: (adapted.center - center) / scale };
        // Where a center can't be told in single precision to within some scales, it stays.
        let is_sound = rescaling.ratio.is_finite() && rescaling.ratio > 0.0 && rescaling.shift.abs() <= FAR;
        if is_sound && adapted != self.normaliser && changed(rescaling) {
            self.normaliser = adapted;
        }
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
        Standardiser::fit(&mut values.to_vec(), Support::Real)
    }

    const FREE: Reach = Reach { scale: 1e6, center: f64::INFINITY };

    /// Follows the values; the product of the ratios, and how often it adapted.
    fn follow(
        standardiser: &mut Standardiser,
        values: impl Iterator<Item = f64>,
        reach: Reach,
    ) -> (f64, usize) {
        let (mut product, mut times) = (1.0, 0);
        for value in values {
            standardiser.follow(value);
            standardiser.adapt(reach, |Rescaling { ratio, .. }| {
                product *= ratio;
                times += 1;
                true
            });
            assert!(standardiser.is_valid());
        }
        (product, times)
    }

    #[test]
    fn it_stays_where_its_variable_stays() {
        let mut standardiser = fitted(&draws(2_000, 1));
        let (_, times) = follow(&mut standardiser, draws(100_000, 2).into_iter(), FREE);
        assert_eq!(times, 0);
    }

    #[test]
    fn it_follows_a_variable_that_grows_a_thousandfold_and_shrinks_again() {
        let mut standardiser = fitted(&draws(2_000, 1));
        for (scale, n) in [(1e3, 30_000), (1e-2, 60_000)] {
            let before = standardiser.normaliser().scale;
            let values = draws(n, 3).into_iter().map(|value| scale * (value + 5.0));
            let (product, _) = follow(&mut standardiser, values, FREE);
            let now = standardiser.normaliser();
            assert!((now.scale / scale - 1.0).abs() < 0.35, "{now:?}");
            assert!((now.center / scale - 5.0).abs() < 0.4, "{now:?}");
            assert!((product * before / now.scale - 1.0).abs() < 1e-6, "the ratios are those of the scales");
        }
    }

    #[test]
    fn it_stays_within_its_reach_whatever_comes() {
        let reach = Reach { scale: 8.0, center: 8.0 };
        let never = std::iter::repeat_n(0.0, 100_000);
        let rarely = (0..100_000).map(|i| if i % 10 == 0 { 1.0 } else { 0.0 });
        let counter = (0..100_000).map(f64::from);
        let extremes = [f64::MAX, f64::MIN, f64::MIN_POSITIVE].into_iter().cycle().take(100_000);
        let hostile: [Box<dyn Iterator<Item = f64>>; 4] =
            [Box::new(never), Box::new(rarely), Box::new(counter), Box::new(extremes)];
        for values in hostile {
            let mut standardiser = fitted(&draws(2_000, 1));
            let begun = *standardiser.normaliser();
            let (product, _) = follow(&mut standardiser, values, reach);
            let now = *standardiser.normaliser();
            assert!((0.124..8.01).contains(&product), "{product}");
            assert!((now.center - begun.center).abs() <= 8.01 * begun.scale, "{now:?}");
        }
    }

    #[test]
    fn a_share_of_ones_that_falls_keeps_a_scale() {
        let ones = |n: usize, share: usize| (0..n).map(move |i| if i * 7 % 100 < share { 1.0 } else { 0.0 });
        let mut standardiser = fitted(&ones(2_000, 30).collect::<Vec<_>>());
        follow(&mut standardiser, ones(200_000, 10), FREE);
        assert!(standardiser.normaliser().scale > 0.05, "{standardiser:?}");
    }

    #[test]
    fn a_rain_gauge_keeps_its_scale() {
        let rain: Vec<f64> = (0..2_000).map(|i| if i % 10 == 0 { 1.0 } else { 0.0 }).collect();
        let mut standardiser = fitted(&rain);
        let begun = standardiser.normaliser().scale;
        follow(&mut standardiser, rain.iter().cycle().copied().take(50_000), FREE);
        assert_eq!(standardiser.normaliser().scale, begun);
        // Rounding is no spread.
        let mut rounding = fitted(&[0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2]);
        follow(&mut rounding, [0.3, 0.1 + 0.2].into_iter().cycle().take(10_000), FREE);
        assert_eq!(rounding.normaliser().scale, 1.0);
    }
}

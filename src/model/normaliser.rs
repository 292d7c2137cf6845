//! Location and scale of a variable, robust to heavy tails.

use serde::{Deserialize, Serialize};

/// Maps a variable to about location 0 and scale 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normaliser {
    /// What is subtracted: the median.
    pub center: f64,
    /// What is divided by: the interquartile range over that of a standard normal; positive and finite.
    pub scale: f64,
}

/// The interquartile range of a standard normal.
pub(super) const NORMAL_IQR: f64 = 1.348_979_500_392_163_7;

/// Scales below this share of the middle values' magnitude are rounding, not spread.
const RELATIVE_FLOOR: f64 = 1e-9;

/// A normalised value is no further from 0 than this.
pub const FURTHEST: f64 = 1e150;

impl Normaliser {
    /// Leaves its variable as it is.
    pub const IDENTITY: Self = Self { center: 0.0, scale: 1.0 };

    /// Fits to finite values (which it reorders).
    ///
    /// Where the middle half of the values is one value (a rain gauge), the interquartile range is 0 and the
    /// standard deviation takes its place; where all values are one value there is no scale to learn, and
    /// differences keep their own unit (or the value's magnitude, where that is larger), so that the first
    /// change of a feature that was constant gives an input of ordinary size.
    #[must_use]
    pub fn fit(values: &mut [f64]) -> Self {
        if values.is_empty() {
            return Self::IDENTITY;
        }
        values.sort_by(f64::total_cmp);
        let center = quantile(values, 0.5);
        let (lower, upper) = (quantile(values, 0.25), quantile(values, 0.75));
        let floor = (RELATIVE_FLOOR * lower.abs().max(upper.abs())).max(f64::MIN_POSITIVE);
        let iqr = (upper - lower) / NORMAL_IQR;
        let scale = [iqr, standard_deviation(values), center.abs().max(1.0)]
            .into_iter()
            .find(|scale| *scale > floor && scale.is_finite())
            .unwrap_or(1.0);
        Self::publishable(center, scale)
    }

    /// Nearly these: both are published as float32 with the scores, and everything is computed from what is published.
    pub(super) fn publishable(center: f64, scale: f64) -> Self {
        let publishable = |value: f64| f64::from((value as f32).clamp(f32::MIN, f32::MAX));
        Self { center: publishable(center), scale: publishable(scale).max(f64::from(f32::MIN_POSITIVE)) }
    }

    /// The same for positive values, whose zero stays where it is: no more than a thousand scales from the median, or float32
    /// parameters could not place it well.
    #[must_use]
    pub fn fit_scale(values: &mut [f64]) -> Self {
        let Self { center, scale } = Self::fit(values);
        Self { center: 0.0, scale: f64::from(scale.max(1e-3 * center) as f32) }
    }

    /// Whether it maps finite values to finite values.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.center.is_finite() && self.scale.is_finite() && self.scale > 0.0
    }

    /// The value in normalised units: no further from 0 than what has a square.
    #[must_use]
    pub fn normalise(&self, value: f64) -> f64 {
        ((value - self.center) / self.scale).clamp(-FURTHEST, FURTHEST)
    }

    /// The value in its own units.
    #[must_use]
    pub fn restore(&self, normalised: f64) -> f64 {
        self.center + self.scale * normalised
    }
}

/// The quantile of sorted values, interpolated.
pub(super) fn quantile(sorted: &[f64], p: f64) -> f64 {
    let at = p * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    let between = below + (above - below) * at.fract();
    // The difference of extremes is beyond what numbers hold.
    if between.is_finite() { between } else { 0.5 * below + 0.5 * above }
}

fn standard_deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_does_not_move_it() {
        let mut plain: Vec<f64> = (0..1001).map(f64::from).collect();
        let mut with_outlier = plain.clone();
        with_outlier[1000] = 1e12;
        assert_eq!(Normaliser::fit(&mut plain), Normaliser::fit(&mut with_outlier));
        assert_eq!(Normaliser::fit(&mut plain).center, 500.0);
    }

    #[test]
    fn extremes_have_a_finite_one() {
        assert!(Normaliser::fit(&mut [f64::MAX, f64::MIN]).is_valid());
        assert!(Normaliser::fit(&mut [f64::MAX, f64::MAX, f64::MIN, 1.0]).is_valid());
    }

    #[test]
    fn a_mostly_constant_feature_takes_its_standard_deviation() {
        let mut rain = vec![0.0; 90];
        rain.extend([1.0; 10]);
        let fitted = Normaliser::fit(&mut rain);
        assert_eq!(fitted.center, 0.0);
        assert!((fitted.scale - 0.3).abs() < 1e-6);
    }

    #[test]
    fn positive_values_keep_their_zero() {
        let fitted = Normaliser::fit_scale(&mut [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!(fitted.center == 0.0 && (fitted.scale - 2.0 / NORMAL_IQR).abs() < 1e-6, "{fitted:?}");
        assert!((Normaliser::fit_scale(&mut [1e6, 1e6 + 1.0, 1e6 + 2.0]).scale - 1e3).abs() < 0.1);
    }

    #[test]
    fn a_constant_feature_keeps_a_scale_of_ordinary_size() {
        assert_eq!(Normaliser::fit(&mut [0.0; 10]), Normaliser { center: 0.0, scale: 1.0 });
        assert_eq!(Normaliser::fit(&mut [500.0; 10]), Normaliser { center: 500.0, scale: 500.0 });
        // 0.1 + 0.2 against 0.3: rounding, not spread.
        let mut rounding = [0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2];
        assert_eq!(Normaliser::fit(&mut rounding).scale, 1.0);
    }

    #[test]
    fn nothing_to_fit_leaves_the_variable_alone() {
        assert_eq!(Normaliser::fit(&mut []), Normaliser::IDENTITY);
    }

    #[test]
    fn extreme_values_give_a_finite_scale() {
        let fitted = Normaliser::fit(&mut [-1e308, 1e308, 0.0, 1e-308]);
        assert!(fitted.scale.is_finite() && fitted.scale > 0.0 && fitted.center.is_finite());
    }
}

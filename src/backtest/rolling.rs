//! What a model is held against.

use std::collections::VecDeque;

use crate::math::normal;

/// A Gaussian fitted to the last targets that became known, whatever their features: what forecasting is worth that
/// knows nothing but the recent past.
#[derive(Debug, Clone)]
pub struct RollingGaussian {
    window: usize,
    values: VecDeque<f64>,
    sum: f64,
    sum_of_squares: f64,
}

impl RollingGaussian {
    /// A baseline over the last `window` targets.
    #[must_use]
    pub fn new(window: usize) -> Self {
        Self { window, values: VecDeque::new(), sum: 0.0, sum_of_squares: 0.0 }
    }

    /// A target became known.
    pub fn learn(&mut self, target: f64) {
        self.values.push_back(target);
        self.sum += target;
        self.sum_of_squares += target * target;
        if self.values.len() > self.window
            && let Some(oldest) = self.values.pop_front()
        {
            self.sum -= oldest;
            self.sum_of_squares -= oldest * oldest;
        }
    }

    /// The fitted mean and standard deviation; `None` before there are two different targets.
    #[must_use]
    pub fn fit(&self) -> Option<Gaussian> {
        let n = self.values.len() as f64;
        let mean = self.sum / n;
        let variance = self.sum_of_squares / n - mean * mean;
        (variance > 0.0).then(|| Gaussian { mean, standard_deviation: variance.sqrt() })
    }
}

/// A normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gaussian {
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation, above 0.
    pub standard_deviation: f64,
}

impl Gaussian {
    /// log p(y) in nats.
    #[must_use]
    pub fn log_density(&self, y: f64) -> f64 {
        normal::log_pdf((y - self.mean) / self.standard_deviation) - self.standard_deviation.ln()
    }

    /// The same of a target that may be rounded to the multiples of `step`: then the logarithm of its interval's probability.
    #[must_use]
    pub fn log_score(&self, y: f64, step: Option<f64>) -> f64 {
        let z = |y: f64| (y - self.mean) / self.standard_deviation;
        step.map_or_else(
            || self.log_density(y),
            |step| normal::log_interval(z(y - 0.5 * step), z(y + 0.5 * step)),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn it_is_fitted_to_the_window_alone() {
        let mut baseline = RollingGaussian::new(4);
        assert_eq!(baseline.fit(), None);
        for target in [1e3, -1e3, 1.0, 3.0, 1.0, 3.0] {
            baseline.learn(target);
        }
        let fitted = baseline.fit().unwrap();
        assert!((fitted.mean - 2.0).abs() < 1e-9 && (fitted.standard_deviation - 1.0).abs() < 1e-9);
        assert!((fitted.log_density(2.0) + 0.5 * std::f64::consts::TAU.ln()).abs() < 1e-9);
    }
}

//! Whether the PIT, the forecast's own probability of what came to be below it, is uniform and knows nothing of the one before.

use std::f64::consts::PI;

use super::Test;
use crate::math::normal;

/// Bins to look at.
pub const BINS: usize = 20;
/// Bins of the distribution function.
const FINE_BINS: usize = 65_536;
/// A PIT of 0 or 1 is taken for this many standard deviations: it lies within half a double's rounding of 1.
const FURTHEST: f64 = 8.2;
/// Fewer events are no test.
const FEWEST: u64 = 10;

/// PITs, one after the other.
#[derive(Debug, Clone)]
pub struct Pits {
    events: u64,
    histogram: [u64; BINS],
    fine: Vec<u64>,
    /// Of z = Φ⁻¹(PIT): the sum and the sum of squares of all …
    sum: f64,
    squares: f64,
    /// … the first and the last of them, and Σ zₜ₋₁ zₜ.
    first: f64,
    last: f64,
    products: f64,
}

impl Default for Pits {
    fn default() -> Self {
        Self {
            events: 0,
            histogram: [0; BINS],
            fine: vec![0; FINE_BINS],
            sum: 0.0,
            squares: 0.0,
            first: 0.0,
            last: 0.0,
            products: 0.0,
        }
    }
}

/// The bin of a value in [0, 1] among so many.
fn bin(pit: f64, bins: usize) -> usize {
    ((pit * bins as f64) as usize).min(bins - 1)
}

impl Pits {
    /// The next event's PIT. What is not in [0, 1], NaN among it, is passed over.
    pub fn push(&mut self, pit: f64) {
        if !(0.0..=1.0).contains(&pit) {
            return;
        }
        self.histogram[bin(pit, BINS)] += 1;
        self.fine[bin(pit, FINE_BINS)] += 1;
        let z = normal::quantile(pit).clamp(-FURTHEST, FURTHEST);
        if self.events == 0 {
            self.first = z;
        } else {
            self.products += self.last * z;
        }
        self.sum += z;
        self.squares += z * z;
        self.last = z;
        self.events += 1;
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many PITs are in each twentieth of [0, 1].
    #[must_use]
    pub fn histogram(&self) -> [u64; BINS] {
        self.histogram
    }

    /// The mean of z = Φ⁻¹(PIT): 0 where the forecasts are right, positive where targets are higher than foretold.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.events > 0).then(|| self.sum / self.events as f64)
    }

    /// The standard deviation of z: 1 where the forecasts are right, above 1 where they are too narrow.
    #[must_use]
    pub fn standard_deviation(&self) -> Option<f64> {
        let mean = self.mean()?;
        (self.events > 1).then(|| (self.squares / self.events as f64 - mean * mean).max(0.0).sqrt())
    }

    /// The correlation of z with the one before it: 0 where the forecasts are right. `None` with fewer than 10 events, or where
    /// all are the same.
    #[must_use]
    pub fn correlation(&self) -> Option<f64> {
        let pairs = self.pairs()?;
        Some(pairs.covariance / (pairs.variance_before * pairs.variance).sqrt())
    }

    /// The Kolmogorov–Smirnov test: the greatest distance D of the distribution function of the PITs from that of the uniform
    /// distribution, over the edges of 65,536 bins, which finds it but for 1.5e-5; the p-value is that of the limit at
    /// x + 1/(6√n) + (x − 1)/(4n) with x = √n D (Vrbik 2018, "Small-sample corrections to Kolmogorov–Smirnov test statistic"). `None`
    /// with fewer than 10 events.
    #[must_use]
    pub fn kolmogorov_smirnov(&self) -> Option<Test> {
        if self.events < FEWEST {
            return None;
        }
        let n = self.events as f64;
        let (mut below, mut distance) = (0, 0.0f64);
        for (count, edge) in self.fine.iter().zip(1..) {
            below += count;
            distance = distance.max((below as f64 / n - f64::from(edge) / FINE_BINS as f64).abs());
        }
        let x = n.sqrt() * distance;
        let p_value = kolmogorov(x + 1.0 / (6.0 * n.sqrt()) + (x - 1.0) / (4.0 * n));
        Some(Test { statistic: distance, p_value })
    }

    /// The likelihood ratio of zₜ − μ = ρ (zₜ₋₁ − μ) + σ εₜ with whatever μ, ρ and σ fit best over μ = 0, ρ = 0 and σ = 1, given
    /// the first z: χ² with three degrees of freedom (Berkowitz 2001, "Testing density forecasts, with applications to risk
    /// management"). `None` with fewer than 10 events, or where all are the same.
    #[must_use]
    pub fn berkowitz(&self) -> Option<Test> {
        let pairs = self.pairs()?;
        let residual = pairs.variance - pairs.covariance * pairs.covariance / pairs.variance_before;
        let ratio = self.squares - self.first * self.first - pairs.count * (1.0 + residual.ln());
        ratio.is_finite().then(|| Test::chi_squared(ratio, 3))
    }

    /// Moments of z and the one before it.
    fn pairs(&self) -> Option<Pairs> {
        if self.events < FEWEST {
            return None;
        }
        let count = (self.events - 1) as f64;
        let moments = |end: f64| {
            let mean = (self.sum - end) / count;
            (mean, (self.squares - end * end) / count - mean * mean)
        };
        let ((mean_before, variance_before), (mean, variance)) = (moments(self.last), moments(self.first));
        let covariance = self.products / count - mean_before * mean;
        (variance_before > 0.0 && variance > 0.0).then_some(Pairs {
            count,
            variance_before,
            variance,
            covariance,
        })
    }
}

struct Pairs {
    count: f64,
    variance_before: f64,
    variance: f64,
    covariance: f64,
}

/// P(K > x) of Kolmogorov's distribution, by whichever of its series converges fast.
fn kolmogorov(x: f64) -> f64 {
    if !(x > 0.0) {
        return 1.0;
    }
    if x < 1.0 {
        let term = |k: f64| (-(k * PI / x).powi(2) / 8.0).exp();
        return 1.0 - (2.0 * PI).sqrt() / x * [1.0, 3.0, 5.0, 7.0].map(term).iter().sum::<f64>();
    }
    let term = |k: f64| (-2.0 * (k * x).powi(2)).exp();
    2.0 * (term(1.0) - term(2.0) + term(3.0) - term(4.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::backtest::statistics::golden::{self, Case, Lcg};

    /// PITs of an autoregressive z with this mean, standard deviation of what is new, and coefficient.
    fn pits(seed: u64, num_events: usize, mean: f64, deviation: f64, coefficient: f64) -> Pits {
        let (mut draws, mut pits) = (Lcg(seed), Pits::default());
        let mut z = mean;
        for _ in 0..num_events {
            z = mean + coefficient * (z - mean) + deviation * draws.normal();
            pits.push(normal::cdf(z));
        }
        pits
    }

    fn of_case(case: &Case) -> Pits {
        let number = |key| case.number(key);
        pits(number("seed") as u64, number("events") as usize, number("mu"), number("sigma"), number("rho"))
    }

    #[test]
    fn golden_values_are_met() {
        for case in golden::cases("uniformity") {
            let pits = of_case(&case);
            let smirnov = pits.kolmogorov_smirnov().unwrap();
            assert!((smirnov.statistic - case.number("ks")).abs() <= 1.0 / FINE_BINS as f64);
            // The limit, corrected, against the exact distribution.
            assert!((smirnov.p_value - case.number("ks_p")).abs() < 0.006, "{smirnov:?}");
            case.check("berkowitz", pits.berkowitz().unwrap().statistic, 1e-8);
            case.check("berkowitz_p", pits.berkowitz().unwrap().p_value, 1e-8);
            case.check("mean", pits.mean().unwrap(), 1e-10);
            case.check("standard_deviation", pits.standard_deviation().unwrap(), 1e-10);
            case.check("correlation", pits.correlation().unwrap(), 1e-10);
            let counts: Vec<f64> = pits.histogram().iter().map(|&count| count as f64).collect();
            assert_eq!(counts, case.numbers("histogram"));
        }
    }

    #[test]
    fn kolmogorov_s_distribution_is_that_of_scipy() {
        for case in golden::cases("kolmogorov") {
            case.check("p", kolmogorov(case.number("x")), 1e-12);
        }
        assert_eq!((kolmogorov(0.0), kolmogorov(f64::NAN)), (1.0, 1.0));
        assert!((kolmogorov(1.0 - 1e-12) - kolmogorov(1.0)).abs() < 1e-11);
    }

    #[test]
    fn p_values_of_right_forecasts_are_about_uniform() {
        let streams: Vec<Pits> = (0..500).map(|seed| pits(seed, 400, 0.0, 1.0, 0.0)).collect();
        for test in [Pits::kolmogorov_smirnov, Pits::berkowitz] {
            let p_values: Vec<f64> = streams.iter().map(|pits| test(pits).unwrap().p_value).collect();
            golden::check_uniform(&p_values, 0.1);
        }
    }

    #[test]
    fn forecasts_that_are_off_too_narrow_or_late_are_found() {
        for (mean, deviation, coefficient) in [(0.15, 1.0, 0.0), (0.0, 1.1, 0.0), (0.0, 0.995, 0.15)] {
            let found = (0..50)
                .filter(|&seed| {
                    let pits = pits(seed, 1_000, mean, deviation, coefficient);
                    pits.berkowitz().unwrap().p_value < 0.05
                })
                .count();
            assert!(found > 40, "{mean} {deviation} {coefficient}: {found} of 50");
        }
        let shifted = pits(1, 1_000, 0.15, 1.0, 0.0);
        assert!(shifted.kolmogorov_smirnov().unwrap().p_value < 1e-3);
    }

    #[test]
    fn too_few_or_always_the_same_are_no_test_and_the_ends_are_bounded() {
        let mut pits = Pits::default();
        assert!(pits.mean().is_none() && pits.kolmogorov_smirnov().is_none());
        for pit in [0.0, 1.0, f64::NAN, -0.1, 1.1] {
            pits.push(pit);
        }
        assert_eq!((pits.events(), pits.mean(), pits.berkowitz()), (2, Some(0.0), None));
        assert!((pits.standard_deviation().unwrap() - FURTHEST).abs() < 1e-12);
        let mut same = Pits::default();
        (0..100).for_each(|_| same.push(0.5));
        assert!(same.berkowitz().is_none() && same.correlation().is_none());
        assert!(same.kolmogorov_smirnov().unwrap().p_value < 1e-15);
    }
}

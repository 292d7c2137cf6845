//! Whether as many events have happened as their probabilities said, each of which had its own.

use std::f64::consts::PI;

use super::{Test, two_sided};

/// Bins of the probabilities' log-odds …
const BINS: usize = 1024;
/// … which lie between this and its negative, 0.04 apart; probabilities further out are in the last ones, where a sum of them is
/// Poisson distributed to nine digits.
const FURTHEST: f64 = 20.0;
/// What rounding leaves of a probability: smaller ones are told as this.
const ROUNDING: f64 = 1e-15;

/// Counts events that had the probabilities p₁, p₂, … of happening, by these forecasts. Their number has a Poisson binomial
/// distribution where the forecasts are right and the events independent.
///
/// The probabilities are kept as a histogram, and each of a bin is taken for the bin's mean: the expected number stays exact, and
/// its variance is off by less than 2e-4 of itself, and a p-value of 1e-6 by 2e-4.
#[derive(Debug, Clone)]
pub struct PoissonBinomial {
    /// How many probabilities are in each bin and their sum.
    bins: Vec<(u64, f64)>,
    events: u64,
    observed: u64,
}

impl Default for PoissonBinomial {
    fn default() -> Self {
        Self { bins: vec![(0, 0.0); BINS], events: 0, observed: 0 }
    }
}

/// How likely it is to count at most and at least as many as were counted.
struct Tails {
    lower: f64,
    upper: f64,
}

impl PoissonBinomial {
    /// The next event: its probability and whether it has happened. A probability that is none, NaN among them, is passed over.
    pub fn push(&mut self, p: f64, happened: bool) {
        if !(0.0..=1.0).contains(&p) {
            return;
        }
        let log_odds = (p / (1.0 - p)).ln().clamp(-FURTHEST, FURTHEST);
        let place = (log_odds + FURTHEST) / (2.0 * FURTHEST) * BINS as f64;
        let (count, sum) = &mut self.bins[(place as usize).min(BINS - 1)];
        *count += 1;
        *sum += p;
        self.events += 1;
        self.observed += u64::from(happened);
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many of them have happened.
    #[must_use]
    pub fn observed(&self) -> u64 {
        self.observed
    }

    /// How many should have happened: Σ pᵢ.
    #[must_use]
    pub fn expected(&self) -> f64 {
        self.bins.iter().map(|(_, sum)| sum).sum()
    }

    /// The variance of that number: Σ pᵢ (1 − pᵢ), of the bins' means.
    #[must_use]
    pub fn variance(&self) -> f64 {
        self.means().map(|(count, p)| count * p * (1.0 - p)).sum()
    }

    /// Whether it is as many as it should be, two-sided by doubling the smaller tail; the statistic is observed less expected in
    /// standard deviations. P-values below 1e-15 are given as that. `None` where nothing was uncertain.
    #[must_use]
    pub fn test(&self) -> Option<Test> {
        let deviation = self.variance().sqrt();
        let tails = self.tails()?;
        Some(Test {
            statistic: (self.observed as f64 - self.expected()) / deviation,
            p_value: two_sided(tails.lower, tails.upper),
        })
    }

    /// How likely it is that at most as many happen as did: small where too few did.
    #[must_use]
    pub fn lower_p(&self) -> Option<f64> {
        self.tails().map(|tails| tails.lower)
    }

    /// How likely it is that at least as many happen as did: small where too many did.
    #[must_use]
    pub fn upper_p(&self) -> Option<f64> {
        self.tails().map(|tails| tails.upper)
    }

    /// Bins that are not empty, as their count and mean probability.
    fn means(&self) -> impl Iterator<Item = (f64, f64)> {
        self.bins
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|&(count, sum)| (count as f64, sum / count as f64))
    }

    /// Inverts the characteristic function φ(t) = Π (1 − p + p eⁱᵗ) on a lattice (Hong 2013, "On computing the distribution
    /// function for the sum of independent and non-identical random indicators", DFT-CF): with L points,
    /// P(S = k) = 1/L Σⱼ φ(tⱼ) e^(−i tⱼ k), tⱼ = 2πj/L, but for what of S lies off the lattice. That need not have all n + 1
    /// values, only those within 10 standard deviations, and 20, of the mean, as less than 1e-20 lies beyond. Nor does it take
    /// all frequencies, as |φ(t)| ≤ exp(−2 σ² sin²(t/2)): a few dozen at any n. The sum over the k of a tail is geometric.
    fn tails(&self) -> Option<Tails> {
        let (mean, variance) = (self.expected(), self.variance());
        if !(variance > 0.0) {
            return None;
        }
        let reach = (10.0 * variance.sqrt() + 20.0).ceil();
        let length = 2.0 * reach + 1.0;
        // Counted from here, so that phases stay small.
        let middle = mean.round();
        let observed = (self.observed as f64 - middle).clamp(-reach - 1.0, reach + 1.0);
        // How many of the lattice's points are below the observed one, at it or below, and so on.
        let at_least = reach - observed + 1.0;
        let at_most = observed + reach + 1.0;
        let mut tails = Tails { lower: at_most, upper: at_least };
        for j in 1..=reach as u64 {
            let half = PI * j as f64 / length;
            let (sin, t) = (half.sin(), 2.0 * half);
            if 2.0 * variance * sin * sin > 45.0 {
                break;
            }
            let (mut log_size, mut phase) = (0.0, t * (mean - middle));
            for (count, p) in self.means() {
                log_size += 0.5 * count * (-4.0 * p * (1.0 - p) * sin * sin).ln_1p();
                phase += count * ((p * t.sin()).atan2(1.0 - p + p * t.cos()) - p * t);
            }
            // Σ e^(−itk) over m points around the middle c of them is e^(−itc) sin(mt/2) / sin(t/2).
            let sum = |points: f64, centre: f64| {
                2.0 * log_size.exp() * (phase - t * centre).cos() * (points * half).sin() / sin
            };
            tails.upper += sum(at_least, 0.5 * (observed + reach));
            tails.lower += sum(at_most, 0.5 * (observed - reach));
        }
        let probability = |sum: f64| (sum / length).clamp(ROUNDING, 1.0);
        Some(Tails { lower: probability(tails.lower), upper: probability(tails.upper) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::backtest::statistics::golden::{self, Lcg};

    /// As many of these probabilities as have happened are the first ones.
    fn counted(probabilities: &[f64], observed: usize) -> PoissonBinomial {
        let mut test = PoissonBinomial::default();
        probabilities.iter().enumerate().for_each(|(nth, &p)| test.push(p, nth < observed));
        test
    }

    #[test]
    fn golden_values_are_met() {
        for case in golden::cases("poisson_binomial") {
            let mut draws = Lcg(case.number("seed") as u64);
            let probabilities: Vec<f64> = (0..case.number("events") as usize)
                .map(|_| {
                    (case.number("centre") + case.number("spread") * (2.0 * draws.uniform() - 1.0)).exp()
                })
                .collect();
            let test = counted(&probabilities, case.number("observed") as usize);
            case.check("expected", test.expected(), 1e-12);
            case.check("variance", test.variance(), 2e-4);
            case.check("lower_p", test.lower_p().unwrap(), 3e-4);
            case.check("upper_p", test.upper_p().unwrap(), 3e-4);
            assert_eq!(test.events() as f64, case.number("events"));
        }
    }

    #[test]
    fn equal_probabilities_are_the_binomial_distribution_for_any_number_of_events() {
        use crate::backtest::statistics::binomial;
        for (n, p, deviations) in
            [(3, 0.2, 0.0), (3, 0.2, 3.0), (1, 0.01, 0.0), (500, 0.01, 2.0), (10_000_000, 0.3, -3.0)]
        {
            let (expected, variance) = (n as f64 * p, n as f64 * p * (1.0 - p));
            let observed = (expected + deviations * f64::sqrt(variance)).round() as u64;
            let mut test = PoissonBinomial::default();
            test.push(p, false);
            let bin = test.bins.iter_mut().find(|(count, _)| *count > 0).unwrap();
            *bin = (n, expected);
            (test.events, test.observed) = (n, observed);
            for (told, exact) in [
                (test.lower_p().unwrap(), binomial::lower(observed, n, p)),
                (test.upper_p().unwrap(), binomial::upper(observed, n, p)),
            ] {
                assert!(
                    (told - exact).abs() < 1e-13 + 1e-9 * exact,
                    "{n} {p} {observed}: {told:e} {exact:e}"
                );
            }
        }
    }

    #[test]
    fn p_values_of_right_probabilities_are_about_uniform_and_of_wrong_ones_small() {
        let p_value = |seed: u64, factor: f64| {
            let (mut draws, mut test) = (Lcg(seed), PoissonBinomial::default());
            for _ in 0..2_000 {
                let p = (6.0 * draws.uniform() - 7.0).exp();
                test.push(p, draws.uniform() < factor * p);
            }
            test.test().unwrap().p_value
        };
        golden::check_uniform(&(0..500).map(|seed| p_value(seed, 1.0)).collect::<Vec<_>>(), 0.2);
        assert!((0..100).filter(|&seed| p_value(seed, 1.5) < 0.05).count() > 95);
    }

    #[test]
    fn the_tails_share_the_observed_number_and_nothing_else() {
        let probabilities = [0.5, 0.1, 0.001, 0.9];
        for observed in 0..4 {
            let (this, next) = (counted(&probabilities, observed), counted(&probabilities, observed + 1));
            let total = this.lower_p().unwrap() + next.upper_p().unwrap();
            assert!((total - 1.0).abs() < 1e-13, "{observed}: {total}");
        }
    }

    #[test]
    fn what_is_impossible_or_certain_is_no_doubt_and_nonsense_is_passed_over() {
        let mut test = PoissonBinomial::default();
        test.push(0.0, false);
        test.push(1.0, true);
        test.push(f64::NAN, true);
        test.push(1.5, true);
        assert!(test.test().is_none());
        assert_eq!((test.events(), test.observed(), test.expected()), (2, 1, 1.0));
        test.push(0.5, true);
        let known = test.test().unwrap();
        assert!((known.p_value - 1.0).abs() < 1e-14 && (known.statistic - 1.0).abs() < 1e-12);
        test.push(0.0, true); // more than is possible
        assert!(test.upper_p().unwrap() < 1e-14 && test.test().unwrap().p_value < 1e-14);
    }
}

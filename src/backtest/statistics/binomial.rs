//! The binomial distribution, to full precision for a hundred million trials and far into its tails.
//!
//! The incomplete beta function of `statrs`, which would do otherwise, stops after 140 terms, where such a number takes thousands, and
//! has its factor from gamma functions, whose rounding is 1e-7 by then.

use std::f64::consts::TAU;

/// x log(x / mean) + mean − x: half of what a count of x adds to a likelihood ratio where `mean` is expected.
pub(super) fn deviance(x: f64, mean: f64) -> f64 {
    if x == 0.0 {
        return mean;
    }
    let excess = (x - mean) / mean;
    x * excess.ln_1p() - (x - mean)
}

/// log n! less Stirling's formula n log n − n + ½ log 2πn, for n ≥ 1.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        return libm::lgamma(n + 1.0) - (n * n.ln() - n + 0.5 * (TAU * n).ln());
    }
    let s = 1.0 / (n * n);
    (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s / 1188.0)))) / n
}

/// A probability and what's missing to 1, as one of them would lose its digits if it came from the other.
#[derive(Clone, Copy)]
struct Odds {
    p: f64,
    q: f64,
}

impl Odds {
    fn turned(self) -> Self {
        Self { p: self.q, q: self.p }
    }

    fn log_p(self) -> f64 {
        if self.q < 0.5 { (-self.q).ln_1p() } else { self.p.ln() }
    }
}

/// log P(X = k) of n trials, 0 ≤ k ≤ n (Loader 2000, "Fast and accurate computation of binomial probabilities").
fn log_pmf(k: u64, n: u64, odds: Odds) -> f64 {
    let (hits, misses, n) = (k as f64, (n - k) as f64, n as f64);
    if hits == 0.0 {
        return n * odds.turned().log_p();
    }
    if misses == 0.0 {
        return n * odds.log_p();
    }
    stirling_error(n)
        - stirling_error(hits)
        - stirling_error(misses)
        - deviance(hits, n * odds.p)
        - deviance(misses, n * odds.q)
        - 0.5 * (TAU * hits * (misses / n)).ln()
}

/// P(X ≥ k) of n trials with probability 0 < `p` < 1.
#[must_use]
pub(super) fn upper(k: u64, n: u64, p: f64) -> f64 {
    either_upper(k, n, Odds { p, q: 1.0 - p })
}

/// P(X ≤ k) of n trials with probability 0 < `p` < 1.
#[must_use]
pub(super) fn lower(k: u64, n: u64, p: f64) -> f64 {
    if k >= n { 1.0 } else { either_upper(n - k, n, Odds { p, q: 1.0 - p }.turned()) }
}

fn either_upper(k: u64, n: u64, odds: Odds) -> f64 {
    if k == 0 {
        1.0
    } else if k > n {
        0.0
    } else if (k + 1) as f64 > (n + 3) as f64 * odds.p {
        far_upper(k, n, odds)
    } else {
        1.0 - far_upper(n - k + 1, n, odds.turned()) // fewer than k hits are more than n − k misses
    }
}

/// P(X ≥ k) for k above the mean, as P(X = k) times 1 + r₁ + r₁r₂ + …, the ratios of neighbours from there on. They fall, and no
/// more than some nine standard deviations' worth of them matter: 20,000 of a hundred million trials.
fn far_upper(k: u64, n: u64, odds: Odds) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for j in k..n {
        term *= (n - j) as f64 / (j + 1) as f64 * (odds.p / odds.q);
        sum += term;
        if term < f64::EPSILON / 16.0 * sum {
            break;
        }
    }
    (log_pmf(k, n, odds).exp() * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtest::statistics::golden;

    #[test]
    fn tails_are_those_of_mpmath_for_up_to_a_hundred_million_trials() {
        for case in golden::cases("binomial") {
            let (k, n, p) = (case.number("k") as u64, case.number("n") as u64, case.number("p"));
            case.check("upper", upper(k, n, p), 2e-11);
            case.check("lower", lower(k, n, p), 2e-11);
        }
    }

    #[test]
    fn the_tails_meet_everywhere() {
        for (n, p) in [(1, 0.3), (2, 0.99), (7, 0.5), (250, 0.01), (40, 1e-6)] {
            assert_eq!((upper(0, n, p), lower(n, n, p), upper(n + 1, n, p)), (1.0, 1.0, 0.0));
            for k in 1..=n {
                assert!((upper(k, n, p) + lower(k - 1, n, p) - 1.0).abs() < 1e-14, "{k} of {n} at {p}");
                let difference = upper(k, n, p) - upper(k + 1, n, p);
                assert!(
                    (difference - log_pmf(k, n, Odds { p, q: 1.0 - p }).exp()).abs() < 1e-14,
                    "{k} of {n} at {p}"
                );
            }
        }
    }
}

//! Generalised Pareto tails.

use super::{Derivatives, Shape};
use crate::math::normal;

/// √(2/π), twice the standard normal's density at 0: what makes the slope 1 there.
const RATE: f64 = 0.797_884_560_802_865_4;
/// Below this, differences of logarithms are taken from their series.
const SMALL: f64 = 1e-2;

/// P(W > w) = (1 + ξ h w)^(−1/ξ) on the data's side, with h = √(2/π), where u is the absolute value of a standard normal: a
/// generalised Pareto distribution on each side (Hickling & Prangle, ICML 2025, with the scale chosen so that the slope
/// at 0 is 1). With ξ → 0 it is exponential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pareto;

/// log P(W > w) = −log(1 + ξ h w) / ξ.
fn log_survival(w: f64, index: f64) -> f64 {
    if index > 0.0 { -(index * RATE * w).ln_1p() / index } else { -RATE * w }
}

/// [log(1 + y) − y / (1 + y)] / y².
fn curvature(y: f64) -> f64 {
    if y > SMALL {
        return (y.ln_1p() - y / (1.0 + y)) / (y * y);
    }
    // Σ (−1)ⁿ (n + 1) / (n + 2) yⁿ: the next term is below 1e-16.
    let mut sum = 0.0;
    for n in (0..8).rev() {
        let n = f64::from(n);
        sum = (n + 1.0) / (n + 2.0) - y * sum;
    }
    sum
}

impl Shape for Pareto {
    fn to_base(self, w: f64, index: f64) -> (f64, f64) {
        let u = normal::quantile_of_log_excess(log_survival(w, index));
        // ∂u/∂w = h / ((1 + ξ h w) · hazard(u)), since log P(|Z| > u) falls by the hazard.
        (u, (RATE / normal::hazard(u)).ln() - (index * RATE * w).ln_1p())
    }

    fn to_data(self, u: f64, index: f64) -> f64 {
        let log_survival = normal::log_excess(u);
        if index > 0.0 { (-index * log_survival).exp_m1() / (index * RATE) } else { -log_survival / RATE }
    }

    fn derivatives(self, w: f64, index: f64) -> Derivatives {
        let scaled = RATE * w;
        let stretch = 1.0 + index * scaled;
        let u = normal::quantile_of_log_excess(log_survival(w, index));
        let hazard = normal::hazard(u);
        let u_by_w = RATE / (stretch * hazard);
        let u_by_index = -scaled * scaled * curvature(index * scaled) / hazard;
        // The hazard's logarithm rises by hazard − u.
        let l_by_u = u - hazard;
        Derivatives {
            u_by_w,
            u_by_index,
            l_by_w: l_by_u * u_by_w - index * RATE / stretch,
            l_by_index: l_by_u * u_by_index - scaled / stretch,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use super::*;

    #[test]
    fn its_tail_is_a_generalised_pareto_s_down_to_1e_300() {
        for index in [1e-6, 0.05, 0.5, 1.0, 2.0] {
            for log10_p in [-0.001, -0.3, -1.0, -3.0, -30.0, -300.0] {
                let log_p: f64 = log10_p * std::f64::consts::LN_10;
                let w = (-index * log_p).exp_m1() / (index * RATE);
                if !w.is_finite() {
                    continue;
                }
                let (u, _) = Pareto.to_base(w, index);
                // Both sides of a standard normal together.
                let told = normal::log_sf(u) + LN_2;
                assert!(
                    (told - log_p).abs() < 1e-12 * log_p.abs().max(1e-3),
                    "{index} {log10_p}: {told} {log_p}"
                );
            }
        }
    }

    #[test]
    fn the_series_meets_the_formula() {
        let formula = |y: f64| (y.ln_1p() - y / (1.0 + y)) / (y * y);
        let (below, above) = (curvature(SMALL * (1.0 - 1e-15)), formula(SMALL));
        assert!((below - above).abs() < 1e-12, "{below} {above}");
        assert_eq!(curvature(0.0), 0.5);
    }
}

//! Probability levels.

use crate::math::{normal, scalar::log_1m_exp};

/// A logarithm that is off by no more than this needs but one step more, if that is as small a share of the bracket and of the place.
const SEEN: f64 = 1e-8;

/// The level of a quantile, with what the densities need of it worked out once: in log space, so that levels as near
/// to 1 as 1 − e⁻¹⁰⁰⁰ can be told apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    p: f64,
    log_cdf: f64,
    log_sf: f64,
    sf: f64,
    z: f64,
    density_of_z: f64,
}

impl Level {
    fn new(p: f64, log_cdf: f64, log_sf: f64, z: f64) -> Self {
        Self { p, log_cdf, log_sf, sf: log_sf.exp(), z, density_of_z: normal::log_pdf(z).exp() }
    }

    /// The level P(Y ≤ q) = `p`, 0 < p < 1.
    #[must_use]
    pub fn from_p(p: f64) -> Self {
        Self::new(p, p.ln(), (-p).ln_1p(), normal::quantile(p))
    }

    /// The level log P(Y > q) = `log_sf` < 0.
    #[must_use]
    pub fn from_log_sf(log_sf: f64) -> Self {
        let (p, log_cdf) = (-log_sf.exp_m1(), log_1m_exp(log_sf));
        Self::new(p, log_cdf, log_sf, normal::quantile_of_log_sf(log_sf))
    }

    /// The level whose standard normal quantile is `z`.
    #[must_use]
    pub fn from_z(z: f64) -> Self {
        Self::new(normal::cdf(z), normal::log_cdf(z), normal::log_sf(z), z)
    }

    /// P(Y ≤ q).
    #[must_use]
    pub fn p(&self) -> f64 {
        self.p
    }

    /// log P(Y ≤ q).
    #[must_use]
    pub fn log_cdf(&self) -> f64 {
        self.log_cdf
    }

    /// log P(Y > q).
    #[must_use]
    pub fn log_sf(&self) -> f64 {
        self.log_sf
    }

    /// P(Y > q).
    #[must_use]
    pub fn sf(&self) -> f64 {
        self.sf
    }

    /// The y with P(Y ≤ y) at this level, somewhere in `bracket`: Newton's method in log space from `start` on, within a bracket that
    /// halves wherever a step leaves it or the one before was of little use. `at` gives at a y the logarithm of the probability of the side that is asked for (below if
    /// `true`), which is the smaller, and the log density.
    pub(super) fn search(
        &self,
        bracket: [f64; 2],
        start: f64,
        mut at: impl FnMut(f64, bool) -> (f64, f64),
    ) -> f64 {
        let ([mut low, mut high], mut y) = (bracket, start);
        let width = high - low;
        let is_lower = self.p < 0.5;
        let mut over_before = f64::INFINITY;
        for _ in 0..200 {
            let (log_side, log_density) = at(y, is_lower);
            // What is too high, of that side.
            let over = if is_lower { log_side - self.log_cdf } else { self.log_sf - log_side };
            if over > 0.0 {
                high = y
            } else {
                low = y
            }
            let step = over * (log_side - log_density).exp();
            let is_of_use = over.abs() < 0.5 * over_before;
            let is_inside = is_of_use && low < y - step && y - step < high;
            let next = if is_inside { y - step } else { middle(low, high) };
            over_before = over.abs();
            if over == 0.0 || (next - y).abs() <= 2e-16 * y.abs() || !(low < high) {
                break;
            }
            y = next;
            // What such a step leaves over is its square.
            if is_inside && over.abs() < SEEN && step.abs() < SEEN * width.min(y.abs()) {
                break;
            }
        }
        y
    }

    /// The standard normal's density at its quantile.
    #[must_use]
    pub fn density_of_z(&self) -> f64 {
        self.density_of_z
    }

    /// The standard normal's quantile.
    #[must_use]
    pub fn z(&self) -> f64 {
        self.z
    }
}

/// The number in the middle of those that lie between two: ends that are orders of magnitude apart are brought together in 64 halvings.
fn middle(low: f64, high: f64) -> f64 {
    // Bits in the order of the numbers that they stand for.
    let ordered = |value: f64| {
        let bits = value.to_bits() as i64;
        if bits < 0 { i64::MIN - bits } else { bits }
    };
    let (low, high) = (ordered(low), ordered(high));
    let middle = (low & high) + ((low ^ high) >> 1);
    f64::from_bits((if middle < 0 { i64::MIN - middle } else { middle }) as u64)
}

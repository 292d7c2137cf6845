//! Expected shortfall, for any density.

use super::{Density, Level, Workspace};
use crate::math::quadrature::{gauss_laguerre, gauss_legendre};

/// The points of Gauss–Laguerre's rule: enough for the normal's shortfall to 1e-8, relatively, from the median on.
const NUM_POINTS: usize = 32;
/// The points of Gauss–Legendre's rule over `NEAR`.
const NUM_NEAR_POINTS: usize = 24;
/// Up to this s, heavy tails are integrated apart.
const NEAR: f64 = 12.0;
/// From this tail index on they are.
const HEAVY: f64 = 0.5;
/// Beyond this s quantiles are extrapolated by the tail index: the largest of them would overflow.
const DEEPEST: f64 = 600.0;

/// E[Y | Y > q] at a level, d = 1: with P(Y > y) = (1 − p) e⁻ˢ it is ∫₀^∞ y(s) e⁻ˢ ds, a weighted sum of quantiles beyond q by
/// Gauss–Laguerre quadrature.
///
/// For a tail index ξ quantiles grow like e^(ξ s), and polynomials would meet that badly. With s = t / (1 − ξ) the integral is
/// ∫₀^∞ y(s) e^(−ξ s) e⁻ᵗ dt / (1 − ξ), where what is left beside e⁻ᵗ tends to a constant, but for factors that vary slowly. It
/// does so within a small t where ξ is near 1; then that part is integrated by Gauss–Legendre quadrature first. A generalised
/// Pareto's shortfall is met to 1e-8, relatively, for ξ up to 0.99.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortfall {
    log_sf: f64,
    /// Nodes t, weights, and the levels of the quantiles for ξ = 0.
    points: Vec<(f64, f64, Level)>,
    /// Levels within `NEAR`, and weights with e⁻ˢ in them.
    near: Vec<(Level, f64)>,
}

impl Shortfall {
    /// Beyond the quantile of a level.
    #[must_use]
    pub fn beyond(level: &Level) -> Self {
        let log_sf = level.log_sf();
        let (nodes, weights) = gauss_laguerre(NUM_POINTS);
        let points =
            nodes.iter().zip(weights).map(|(&t, weight)| (t, weight, Level::from_log_sf(log_sf - t)));
        let (nodes, weights) = gauss_legendre(NUM_NEAR_POINTS);
        let near = nodes.iter().zip(weights).map(|(&share, weight)| {
            let s = NEAR * share;
            (Level::from_log_sf(log_sf - s), NEAR * weight * (-s).exp())
        });
        // The last weights fall below e⁻¹⁰⁰: they add nothing but quantiles to compute.
        let points = points.filter(|&(_, weight, _)| weight > 1e-20).collect();
        Self { log_sf, points, near: near.collect() }
    }

    /// E[Y | Y > q], in the data's units, of the row that was loaded; infinite where the tail index is 1 or more.
    pub fn of(&self, density: &dyn Density, ws: &mut Workspace) -> f64 {
        let index = density.tail_index(ws);
        if index >= 1.0 {
            f64::INFINITY
        } else if index == 0.0 {
            self.points.iter().map(|(_, weight, level)| weight * density.quantile(level, ws)).sum()
        } else if index < HEAVY {
            self.beyond_s(0.0, index, density, ws)
        } else {
            let near: f64 =
                self.near.iter().map(|(level, weight)| weight * density.quantile(level, ws)).sum();
            near + self.beyond_s(NEAR, index, density, ws)
        }
    }

    /// ∫ y(s) e⁻ˢ ds from `from` on, for a tail index above 0.
    fn beyond_s(&self, from: f64, index: f64, density: &dyn Density, ws: &mut Workspace) -> f64 {
        let stretch = 1.0 / (1.0 - index);
        let part = |&(t, weight, _): &(f64, f64, Level)| {
            let s = (from + stretch * t).min(DEEPEST);
            let quantile = density.quantile(&Level::from_log_sf(self.log_sf - s), ws);
            weight * quantile * (-index * s).exp()
        };
        stretch * (-(1.0 - index) * from).exp() * self.points.iter().map(part).sum::<f64>()
    }
}

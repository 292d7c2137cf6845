//! Expected shortfall, for any density.

use std::sync::LazyLock;

use super::{Density, Level, Side, Workspace};
use crate::math::quadrature::{gauss_laguerre, gauss_legendre};

/// The points of Gauss–Laguerre's rule: enough for the normal's shortfall to 1e-8, relatively, from the median on.
const NUM_POINTS: usize = 32;
/// The points of Gauss–Legendre's rule over `NEAR`.
const NUM_NEAR_POINTS: usize = 40;
/// The rules' nodes and weights.
static LAGUERRE: LazyLock<(Vec<f64>, Vec<f64>)> = LazyLock::new(|| gauss_laguerre(NUM_POINTS));
static LEGENDRE: LazyLock<(Vec<f64>, Vec<f64>)> = LazyLock::new(|| gauss_legendre(NUM_NEAR_POINTS));
/// Up to this s, power tails are integrated apart.
const NEAR: f64 = 32.0;
/// From this tail index on no number is given: the flows before the tail shift it, and what the quadrature misses for that
/// grows from 1e-3 here, with the radial layers that are usual, to everything at 1.
pub(super) const MAX_INDEX: f64 = 0.9;
/// A part that is e to the minus this of the whole need not be exact.
const NEGLIGIBLE: f64 = 21.0;
/// Beyond this s quantiles are extrapolated by the tail index: the largest of them would be beyond what a tail gives.
const DEEPEST: f64 = 280.0;

/// E[Y | Y > q] at a level, d = 1: with P(Y > y) = (1 − p) e⁻ˢ it is ∫₀^∞ y(s) e⁻ˢ ds, a weighted sum of quantiles beyond q by
/// Gauss–Laguerre quadrature.
///
/// For a tail index ξ quantiles grow like e^(ξ s), and polynomials would meet that badly. Then the near part is integrated by
/// Gauss–Legendre quadrature, and beyond it, with s = t / (1 − ξ), ∫ y(s) e^(−ξ s) e⁻ᵗ dt / (1 − ξ), where what is left beside
/// e⁻ᵗ varies slowly. Relative errors: 1e-9 of a
/// generalised Pareto, 1e-7 of the other tails over a Gaussian base, 1e-3 over a spline, whose quantiles bend. Of mixtures of
/// Gaussians there is a closed form.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortfall {
    level: Level,
    log_sf: f64,
    /// Nodes t, weights, and the levels of the quantiles without a tail index.
    points: Vec<(f64, f64, Level)>,
    /// Levels within `NEAR`, and weights with e⁻ˢ in them.
    near: Vec<(Level, f64)>,
    /// The level at `NEAR`.
    end: Level,
}

impl Shortfall {
    /// Beyond the quantile of a level.
    #[must_use]
    pub fn beyond(level: &Level) -> Self {
        let log_sf = level.log_sf();
        let (nodes, weights) = &*LAGUERRE;
        let points = nodes.iter().zip(weights);
        // The last weights add nothing but quantiles to compute.
        let points = points.filter(|&(_, &weight)| weight > 1e-20);
        let points = points.map(|(&t, &weight)| (t, weight, Level::from_log_sf(log_sf - t))).collect();
        let (nodes, weights) = &*LEGENDRE;
        let near = nodes.iter().zip(weights).map(|(&share, weight)| {
            let s = NEAR * share;
            (Level::from_log_sf(log_sf - s), NEAR * weight * (-s).exp())
        });
        let end = Level::from_log_sf(log_sf - NEAR);
        Self { level: *level, log_sf, points, near: near.collect(), end }
    }

    /// The level of the quantile.
    #[must_use]
    pub fn level(&self) -> &Level {
        &self.level
    }

    /// E[Y | Y > q], in the data's units, of the row that was loaded; NaN where the tail index is so high that it is infinite,
    /// or nearly.
    pub fn of<D: Density + ?Sized>(&self, density: &D, ws: &mut Workspace) -> f64 {
        let quantile = density.quantile(&self.level, ws);
        if let Some(above) = density.mean_above(quantile, ws) {
            return above / (1.0 - self.level.p());
        }
        let index = density.tail_index(0, Side::Upper, ws);
        if index >= MAX_INDEX {
            f64::NAN
        } else if index == 0.0 {
            self.points.iter().map(|(_, weight, level)| weight * density.quantile(level, ws)).sum()
        } else {
            let near: f64 =
                self.near.iter().map(|(level, weight)| weight * density.quantile(level, ws)).sum();
            near + self.far(index, density, ws)
        }
    }

    /// ∫ y(s) e⁻ˢ ds from `NEAR` on, for a tail index above 0.
    fn far<D: Density + ?Sized>(&self, index: f64, density: &D, ws: &mut Workspace) -> f64 {
        let stretch = 1.0 / (1.0 - index);
        if (1.0 - index) * NEAR > NEGLIGIBLE {
            // As for every index up to a third: as if quantiles grew by the index from here on.
            return stretch * density.quantile(&self.end, ws) * (-NEAR).exp();
        }
        let part = |&(t, weight, _): &(f64, f64, Level)| {
            let s = (NEAR + stretch * t).min(DEEPEST);
            let quantile = density.quantile(&Level::from_log_sf(self.log_sf - s), ws);
            weight * quantile * (-index * s).exp()
        };
        stretch * (-(1.0 - index) * NEAR).exp() * self.points.iter().map(part).sum::<f64>()
    }
}

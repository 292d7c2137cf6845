//! Expected shortfall, for any density.

use super::{Density, Level, Workspace};
use crate::math::quadrature::gauss_laguerre;

/// The points of the quadrature: enough for the normal's shortfall to 1e-8, relatively, from the median on.
const NUM_POINTS: usize = 32;

/// E[Y | Y > q] at a level, d = 1: with P(Y > y) = (1 − p) e⁻ˢ it is ∫₀^∞ y(s) e⁻ˢ ds, a weighted sum of quantiles
/// beyond q by Gauss–Laguerre quadrature.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortfall {
    /// Levels beyond p, each with its weight.
    points: Vec<(Level, f64)>,
}

impl Shortfall {
    /// Beyond the quantile of a level.
    #[must_use]
    pub fn beyond(level: &Level) -> Self {
        let (nodes, weights) = gauss_laguerre(NUM_POINTS);
        let points =
            nodes.iter().zip(weights).map(|(s, weight)| (Level::from_log_sf(level.log_sf() - s), weight));
        // The last weights fall below e⁻¹⁰⁰: they add nothing but quantiles to compute.
        Self { points: points.filter(|&(_, weight)| weight > 1e-20).collect() }
    }

    /// E[Y | Y > q], in the data's units, of the row that was loaded.
    pub fn of(&self, density: &dyn Density, ws: &mut Workspace) -> f64 {
        self.points.iter().map(|(level, weight)| weight * density.quantile(level, ws)).sum()
    }
}

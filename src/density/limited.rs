//! The limited expected value, for any density.

use super::{Density, Level, Side, Workspace};
use crate::math::{normal, quadrature::gauss_legendre};

/// The points of Gauss–Legendre's rule on each panel.
const NUM_POINTS: usize = 8;
/// The length of a panel at most, in standard deviations of the base.
const PANEL: f64 = 0.25;
/// From this lower tail index on no number is given: the mean of what is below is infinite from 1 on.
const MAX_INDEX: f64 = 0.9;

/// E[min(Y, limit)], d = 1: what is paid of a loss in the mean where no more than the limit is.
///
/// With y(z) the quantile that belongs to a standard normal's z, it is ∫ y(z) φ(z) dz up to the limit's own z, and the limit
/// times the probability of exceeding it, by Gauss–Legendre quadrature on panels. Its error is below 1e-5 of the distribution's
/// own width with the radial layers that are usual, whose y(z) bends where they are centred, and below 1e-10 without them.
#[derive(Debug, Clone, PartialEq)]
pub struct Limited {
    /// Nodes in (0, 1) and weights.
    points: Vec<(f64, f64)>,
}

impl Default for Limited {
    fn default() -> Self {
        let (nodes, weights) = gauss_legendre(NUM_POINTS);
        Self { points: nodes.into_iter().zip(weights).collect() }
    }
}

impl Limited {
    /// E[min(Y, limit)] of the row that was loaded; NaN where the lower tail is so heavy that it is infinite, or nearly.
    pub fn of(&self, limit: f64, density: &dyn Density, ws: &mut Workspace) -> f64 {
        let index = density.tail_index(Side::Lower, ws);
        if index >= MAX_INDEX {
            return f64::NAN;
        }
        let log_sf = density.log_sf(limit, ws);
        let end = normal::quantile_of_log_sf(log_sf).clamp(-40.0, 40.0);
        // y(z) φ(z) falls like exp(−½ (1 − ξ) z²), moved by the flows before the tail.
        let begin = (-9.0 / (1.0 - index).sqrt() - 4.0 * index / (1.0 - index)).min(end - 9.0);
        let num_panels = ((end - begin) / PANEL).ceil();
        let width = (end - begin) / num_panels;
        let mut sum = 0.0;
        for panel in 0..num_panels as usize {
            let from = begin + panel as f64 * width;
            for &(share, weight) in &self.points {
                let z = from + share * width;
                sum += weight * width * density.quantile(&Level::from_z(z), ws) * normal::log_pdf(z).exp();
            }
        }
        sum + limit * log_sf.exp()
    }
}

//! A density whose distribution function is recalibrated.

use std::{f64::consts::LN_2, sync::Arc};

use super::{
    Density, Level, Side, Workspace,
    recalibration::{NUM_PARAMS, Recalibration},
};
use crate::math::normal;

/// No score is further from 0 than this, so that its square is a number.
const FURTHEST: f64 = 1e100;
/// Intervals of scores narrower than this have their probability from that of the other density.
const NARROW: f64 = 1e-5;

/// Y with P(Y ≤ y) = Φ(x(z(y))), d = 1, where z(y) = Φ⁻¹(F(y)) is the normal score of another density's distribution function and x(z) a
/// [`Recalibration`]: one distribution, of which all figures are. Parameters: the other density's, then the map's.
pub struct Calibrated {
    inner: Arc<dyn Density>,
}

/// What a [`Calibrated`] keeps of the row that it loaded.
#[derive(Debug, Clone)]
pub struct Parts {
    inner: Workspace,
    map: Recalibration,
}

fn parts(ws: &mut Workspace) -> &mut Parts {
    let Workspace::Calibrated(parts) = ws else { unreachable!("a calibrated density made the workspace") };
    parts
}

/// The standard normal's quantile at P(Y ≤ y), right where that is as good as 0 or 1.
pub fn normal_score(density: &dyn Density, y: f64, ws: &mut Workspace) -> f64 {
    let log_sf = density.log_sf(y, ws);
    if log_sf < -LN_2 {
        return normal::quantile_of_log_sf(log_sf);
    }
    normal::quantile_of_log_cdf(density.log_cdf(y, ws))
}

impl Calibrated {
    /// A calibrated `inner`, which is for d = 1.
    #[must_use]
    pub fn new(inner: Arc<dyn Density>) -> Self {
        Self { inner }
    }

    fn calibrated_score(&self, y: f64, parts: &mut Parts) -> f64 {
        let z = normal_score(self.inner.as_ref(), y, &mut parts.inner);
        parts.map.calibrated(z).0
    }
}

impl Density for Calibrated {
    fn dim(&self) -> usize {
        1
    }

    fn num_params(&self) -> usize {
        self.inner.num_params() + NUM_PARAMS
    }

    fn workspace(&self) -> Workspace {
        let map = Recalibration::new([0.0; NUM_PARAMS]);
        Workspace::Calibrated(Box::new(Parts { inner: self.inner.workspace(), map }))
    }

    fn load(&self, params: &[f32], ws: &mut Workspace) {
        let parts = parts(ws);
        let (inner, map) = params.split_at(self.inner.num_params());
        self.inner.load(inner, &mut parts.inner);
        parts.map = Recalibration::new(std::array::from_fn(|nth| f64::from(map[nth])));
    }

    fn is_possible(&self, y: &[f64]) -> bool {
        self.inner.is_possible(y)
    }

    fn log_density(&self, y: &[f64], ws: &mut Workspace) -> f64 {
        let parts = parts(ws);
        let log_density = self.inner.log_density(y, &mut parts.inner);
        if log_density == f64::NEG_INFINITY {
            return log_density;
        }
        let z = normal_score(self.inner.as_ref(), y[0], &mut parts.inner).clamp(-FURTHEST, FURTHEST);
        log_density + parts.map.log_ratio(z)
    }

    fn log_cdf(&self, y: f64, ws: &mut Workspace) -> f64 {
        normal::log_cdf(self.calibrated_score(y, parts(ws)))
    }

    fn log_sf(&self, y: f64, ws: &mut Workspace) -> f64 {
        normal::log_sf(self.calibrated_score(y, parts(ws)))
    }

    fn log_mass(&self, low: f64, high: f64, ws: &mut Workspace) -> f64 {
        let parts = parts(ws);
        let [from, to] = [low, high].map(|y| normal_score(self.inner.as_ref(), y, &mut parts.inner));
        if to - from < NARROW {
            // Scores so near to each other have lost the digits of their difference.
            let z = 0.5 * (from + to).clamp(-2.0 * FURTHEST, 2.0 * FURTHEST);
            return self.inner.log_mass(low, high, &mut parts.inner) + parts.map.log_ratio(z);
        }
        normal::log_interval(parts.map.calibrated(from).0, parts.map.calibrated(to).0)
    }

    fn tail_index(&self, axis: usize, side: Side, ws: &Workspace) -> f64 {
        let Workspace::Calibrated(parts) = ws else {
            unreachable!("a calibrated density made the workspace")
        };
        self.inner.tail_index(axis, side, &parts.inner) * parts.map.end_slope(side).powi(2)
    }

    fn to_data(&self, z: &[f64], y: &mut [f64], ws: &mut Workspace) {
        let parts = parts(ws);
        self.inner.to_data(&[parts.map.score(z[0])], y, &mut parts.inner);
    }

    fn quantile(&self, level: &Level, ws: &mut Workspace) -> f64 {
        let parts = parts(ws);
        self.inner.quantile(&Level::from_z(parts.map.score(level.z())), &mut parts.inner)
    }
}

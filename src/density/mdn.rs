//! The mixture density network (Bishop 1994): the net gives weights, means and scales of Gaussians.

use super::{Density, Level, Role, Side, Workspace, mixture::Mixture};
use crate::{
    math::scalar::{sigmoid, softplus, softplus_inverse},
    model::normaliser::Normaliser,
};

/// As many Gaussians.
const PARTS: usize = 10;
/// The least standard deviation, in normalised units: the likelihood of repeated values would have no bound.
pub(super) const MIN_SCALE: f64 = 1e-3;

/// A mixture of ten Gaussians. Parameters: logits of the weights, means, and scales, each 0.001 + softplus(raw).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mdn;

impl Mdn {
    fn collect(mixture: &Mixture, params: &[f64], grad: &mut [f64]) {
        grad[..PARTS].copy_from_slice(&mixture.by_logit);
        grad[PARTS..2 * PARTS].copy_from_slice(&mixture.by_mean);
        for i in 0..PARTS {
            grad[2 * PARTS + i] = mixture.by_scale[i] * sigmoid(params[2 * PARTS + i]);
        }
    }
}

impl Density for Mdn {
    fn dim(&self) -> usize {
        1
    }

    fn num_params(&self) -> usize {
        3 * PARTS
    }

    /// Equal weights, means that spread over the bulk, and scales of half of it.
    fn initial(&self, targets: &[f64]) -> Vec<f32> {
        let Normaliser { center, scale } = Normaliser::fit(&mut targets.to_vec());
        let means = (0..PARTS).map(|i| center + scale * (3.0 * i as f64 / (PARTS - 1) as f64 - 1.5));
        let raw_scale = softplus_inverse(0.7 * scale);
        let params = (0..PARTS).map(|_| 0.0).chain(means).chain((0..PARTS).map(|_| raw_scale));
        params.map(|param| param as f32).collect()
    }

    fn roles(&self) -> Vec<Role> {
        let role = |i: usize| if i / PARTS == 1 { Role::Location } else { Role::Conditional };
        (0..3 * PARTS).map(role).collect()
    }

    fn workspace(&self) -> Workspace {
        Workspace::mixture(3 * PARTS, PARTS)
    }

    fn load(&self, params: &[f32], ws: &mut Workspace) {
        let (raw, mixture) = ws.load_mixture(params);
        mixture.set_weights(raw[..PARTS].iter().copied());
        mixture.means.copy_from_slice(&raw[PARTS..2 * PARTS]);
        for (scale, raw) in mixture.scales.iter_mut().zip(&raw[2 * PARTS..]) {
            *scale = MIN_SCALE + softplus(*raw);
        }
    }

    fn log_density(&self, y: &[f64], ws: &mut Workspace) -> f64 {
        ws.as_mixture().1.log_density(y[0])
    }

    fn log_density_grad(&self, y: &[f64], grad: &mut [f64], ws: &mut Workspace) -> f64 {
        let (raw, mixture) = ws.as_mixture();
        let log_density = mixture.log_density_grad(y[0]);
        Self::collect(mixture, raw, grad);
        log_density
    }

    fn log_cdf(&self, y: f64, ws: &mut Workspace) -> f64 {
        ws.as_mixture().1.log_cdf(y)
    }

    fn log_sf(&self, y: f64, ws: &mut Workspace) -> f64 {
        ws.as_mixture().1.log_sf(y)
    }

    fn log_mass(&self, low: f64, high: f64, ws: &mut Workspace) -> f64 {
        ws.as_mixture().1.log_mass(low, high)
    }

    fn log_mass_grad(&self, low: f64, high: f64, grad: &mut [f64], ws: &mut Workspace) -> f64 {
        let (raw, mixture) = ws.as_mixture();
        let log_mass = mixture.log_mass_grad(low, high);
        Self::collect(mixture, raw, grad);
        log_mass
    }

    fn mean_above(&self, y: f64, ws: &mut Workspace) -> Option<f64> {
        Some(ws.as_mixture().1.mean_above(y))
    }

    fn tail_index(&self, _axis: usize, _side: Side, _ws: &Workspace) -> f64 {
        0.0
    }

    fn to_data(&self, z: &[f64], y: &mut [f64], ws: &mut Workspace) {
        y[0] = self.quantile(&Level::from_z(z[0]), ws);
    }

    fn quantile(&self, level: &Level, ws: &mut Workspace) -> f64 {
        ws.as_mixture().1.quantile(level)
    }
}

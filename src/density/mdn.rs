//! The mixture density network (Bishop 1994): the net gives weights, means and scales of Gaussians.

use super::{
    Role,
    mixture::{Family, MIN_SCALE, Mixture},
};
use crate::{
    math::scalar::{sigmoid, softplus, softplus_inverse},
    model::normaliser::Normaliser,
};

/// As many Gaussians.
const PARTS: usize = 10;

/// A mixture of ten Gaussians. Parameters: logits of the weights, means, and scales, each 0.001 + softplus(raw).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mdn;

impl Family for Mdn {
    fn num_parts(&self) -> usize {
        PARTS
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

    fn read(&self, raw: &[f64], mixture: &mut Mixture) {
        mixture.set_weights(raw[..PARTS].iter().copied());
        mixture.means.copy_from_slice(&raw[PARTS..2 * PARTS]);
        for (scale, raw) in mixture.scales.iter_mut().zip(&raw[2 * PARTS..]) {
            *scale = MIN_SCALE + softplus(*raw);
        }
    }

    fn collect(&self, mixture: &Mixture, params: &[f64], grad: &mut [f64]) {
        grad[..PARTS].copy_from_slice(&mixture.by_logit);
        grad[PARTS..2 * PARTS].copy_from_slice(&mixture.by_mean);
        for i in 0..PARTS {
            grad[2 * PARTS + i] = mixture.by_scale[i] * sigmoid(params[2 * PARTS + i]);
        }
    }
}

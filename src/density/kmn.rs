//! The kernel mixture network (Ambrogioni et al. 2017): the net gives the weights of kernels whose places are fixed.

use super::{
    Role,
    mixture::{Family, MIN_SCALE, Mixture},
};
use crate::{
    math::scalar::{sigmoid, softplus, softplus_inverse},
    model::normaliser::Normaliser,
};

/// Kernels stand at so many places …
const CENTERS: usize = 20;
/// … each with so many scales, which all places share.
const SCALES: usize = 2;
/// The scales that learning starts from, as shares of the target's: cde's.
const FIRST_SCALES: [f64; SCALES] = [0.7, 0.3];
const PARTS: usize = CENTERS * SCALES;
/// Rounds of Lloyd's algorithm, each of which can only improve.
const ROUNDS: usize = 50;

/// Gaussian kernels at 20 places with two scales each. Parameters: logits of the weights, place by place; the places, which are set
/// from the warm-up by k-means and never learned; the two scales, the same for every event, each 0.001 + softplus(raw).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kmn;

/// The means of k-means clusters, ascending: Lloyd's algorithm from the quantiles on.
fn centers(targets: &[f64]) -> Vec<f64> {
    let mut sorted = targets.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        sorted = (0..CENTERS).map(|i| 4.0 * i as f64 / (CENTERS - 1) as f64 - 2.0).collect();
    }
    let at = |i: usize| (2 * i + 1) * sorted.len() / (2 * CENTERS);
    let mut centers: Vec<f64> = (0..CENTERS).map(|i| sorted[at(i)]).collect();
    for _ in 0..ROUNDS {
        let mut begin = 0;
        for i in 0..CENTERS {
            let middle = if i + 1 < CENTERS { 0.5 * (centers[i] + centers[i + 1]) } else { f64::INFINITY };
            let end = begin + sorted[begin..].partition_point(|&y| y <= middle);
            if end > begin {
                let own = &sorted[begin..end];
                centers[i] = own.iter().sum::<f64>() / own.len() as f64;
            }
            begin = end;
        }
    }
    centers
}

impl Family for Kmn {
    fn num_parts(&self) -> usize {
        PARTS
    }

    fn num_params(&self) -> usize {
        PARTS + CENTERS + SCALES
    }

    fn initial(&self, targets: &[f64]) -> Vec<f32> {
        let Normaliser { scale, .. } = Normaliser::fit(&mut targets.to_vec());
        let scales = FIRST_SCALES.map(|share| softplus_inverse(share * scale));
        let params = (0..PARTS).map(|_| 0.0).chain(centers(targets)).chain(scales);
        params.map(|param| param as f32).collect()
    }

    fn roles(&self) -> Vec<Role> {
        let role = |i: usize| match i {
            i if i < PARTS => Role::Conditional,
            i if i < PARTS + CENTERS => Role::Fixed,
            _ => Role::Global,
        };
        (0..self.num_params()).map(role).collect()
    }

    fn read(&self, raw: &[f64], mixture: &mut Mixture) {
        mixture.set_weights(raw[..PARTS].iter().copied());
        let scales: [f64; SCALES] = std::array::from_fn(|i| MIN_SCALE + softplus(raw[PARTS + CENTERS + i]));
        for part in 0..PARTS {
            mixture.means[part] = raw[PARTS + part / SCALES];
            mixture.scales[part] = scales[part % SCALES];
        }
    }

    fn collect(&self, mixture: &Mixture, params: &[f64], grad: &mut [f64]) {
        grad[..PARTS].copy_from_slice(&mixture.by_logit);
        grad[PARTS..].fill(0.0);
        let by_scale = &mut grad[PARTS + CENTERS..];
        for parts in mixture.by_scale.chunks_exact(SCALES) {
            for (sum, part) in by_scale.iter_mut().zip(parts) {
                *sum += part;
            }
        }
        for (grad, raw) in by_scale.iter_mut().zip(&params[PARTS + CENTERS..]) {
            *grad *= sigmoid(*raw);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centers_are_the_means_of_the_values_nearest_to_them() {
        let targets: Vec<f64> =
            (0..1000).map(|i| f64::from(i % 20) * 10.0 + f64::from(i / 20) * 1e-3).collect();
        let found = centers(&targets);
        assert!(found.is_sorted());
        for (i, center) in found.iter().enumerate() {
            assert!((center - (10.0 * i as f64 + 0.0245)).abs() < 1e-9, "{found:?}");
        }
        assert_eq!(centers(&[3.0; 5]), vec![3.0; CENTERS]);
        assert_eq!(centers(&[]).len(), CENTERS);
    }
}

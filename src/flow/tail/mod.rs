//! The tail transform: location and scale in the data's units, and a tail index for each side.
//!
//! Affine, planar and radial flows have slopes that tend to constants, so that over a Gaussian base their tails are Gaussian
//! whatever they learn (Jaini et al. 2020). This layer gives a standard normal base power-law tails. It stands on the
//! data's side: a slope other than 1 between it and the base would change the index that it sets.

mod lambert;
mod pareto;
pub(super) mod wallace;

pub use lambert::Lambert;
pub use pareto::Pareto;
pub use wallace::Wallace;

use super::{
    At, Grad, Raw, Side, Transform,
    affine::{log_scale_and_rate, log_scale_slope},
};

/// Tail indices are below this; from 1 on there is no mean.
pub const MAX_INDEX: f64 = 2.0;
/// No quantile is further than this many scales from the location: beyond it numbers end, and a published figure has to be one.
const MAX_DISTANCE: f64 = 1e140;
/// Further out than this many scales a square would soon overflow.
const FAR: f64 = 1e100;
/// The index that learning starts from: so light that a Gaussian stream hardly notices, and not so light that its gradient
/// vanishes.
const INITIAL_INDEX: f64 = 0.1;

/// The raw parameter that an index is made from.
#[must_use]
pub fn raw_index(index: f64) -> f64 {
    (index / (MAX_INDEX - index)).ln()
}

/// An increasing map of the half-line w ≥ 0 on the data's side to u ≥ 0 on the base's, from 0 to 0 with slope 1 there.
///
/// With a standard normal base, the survival function on the data's side falls like w^(−1/ξ) for an index ξ > 0, but for
/// factors that vary slowly.
pub trait Shape: Copy {
    /// u(w), and the logarithm of its slope.
    fn to_base(self, w: f64, index: f64) -> (f64, f64);

    /// w(u).
    fn to_data(self, u: f64, index: f64) -> f64;

    /// How u and the logarithm of its slope change.
    fn derivatives(self, w: f64, index: f64) -> Derivatives;
}

/// Partial derivatives of u(w; ξ) and of l = log ∂u/∂w.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Derivatives {
    /// ∂u/∂w.
    pub u_by_w: f64,
    /// ∂u/∂ξ.
    pub u_by_index: f64,
    /// ∂l/∂w.
    pub l_by_w: f64,
    /// ∂l/∂ξ.
    pub l_by_index: f64,
}

/// z = sign(a) u(|a|; ξ) with a = (x − m) ⊙ e⁻ˢ, u a [`Shape`], and ξ that of a's side.
///
/// Raw parameters: m (d), s_raw (d), ξ_raw below m (d), ξ_raw above m (d); s as in the affine transform, ξ = 2 σ(ξ_raw) with
/// the logistic σ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail<S> {
    dim: usize,
    shape: S,
}

impl<S: Shape> Tail<S> {
    /// For vectors of length `dim`.
    #[must_use]
    pub fn new(dim: usize, shape: S) -> Self {
        Self { dim, shape }
    }

    /// Where the ξ of an axis's side stands among the prepared parameters.
    pub(super) fn index_place(&self, axis: usize, side: Side) -> usize {
        self.place(3, if side == Side::Upper { 1.0 } else { -1.0 }, axis)
    }

    /// Where the index of the side that `a` is on stands among the parameters, for the `axis`: the raw ones begin with two
    /// others for each axis, the prepared ones with three.
    fn place(&self, num_before: usize, a: f64, axis: usize) -> usize {
        (num_before + usize::from(a >= 0.0)) * self.dim + axis
    }
}

/// Prepared parameters: m (d), s (d), e⁻ˢ (d), ξ below m (d), ξ above m (d).
impl<S: Shape> Transform for Tail<S> {
    fn num_params(&self) -> usize {
        4 * self.dim
    }

    fn num_prepared(&self) -> usize {
        5 * self.dim
    }

    /// Location 0, scale 1, and the same light index on both sides.
    fn initial(&self, _center: &[f64], raw: &mut [f64]) {
        let d = self.dim;
        raw[..2 * d].fill(0.0);
        raw[2 * d..].fill(raw_index(INITIAL_INDEX));
    }

    fn prepare(&self, raw: Raw<'_>, prepared: &mut [f64]) {
        let d = self.dim;
        prepared[..d].copy_from_slice(&raw.values[..d]);
        for i in 0..d {
            (prepared[d + i], prepared[2 * d + i]) = log_scale_and_rate(raw, d + i);
        }
        for i in 0..2 * d {
            prepared[3 * d + i] = MAX_INDEX * raw.sigmoid[2 * d + i];
        }
    }

    fn forward(&self, prepared: &[f64], x: &[f64], z: &mut [f64]) -> f64 {
        let d = self.dim;
        let mut log_det = 0.0;
        for i in 0..d {
            let a = (x[i] - prepared[i]) * prepared[2 * d + i];
            let (u, log_slope) = self.shape.to_base(a.abs(), prepared[self.place(3, a, i)]);
            z[i] = u.copysign(a);
            log_det += log_slope - prepared[d + i];
        }
        log_det
    }

    fn inverse(&self, prepared: &[f64], z: &[f64], x: &mut [f64]) {
        let d = self.dim;
        for i in 0..d {
            let w = self.shape.to_data(z[i].abs(), prepared[self.place(3, z[i], i)]).min(MAX_DISTANCE);
            x[i] = prepared[i] + w.copysign(z[i]) / prepared[2 * d + i];
        }
    }

    fn backward(&self, at: At<'_>, grad: Grad<'_>, grad_x: &mut [f64], grad_raw: &mut [f64]) {
        let d = self.dim;
        for i in 0..d {
            let rate = at.prepared[2 * d + i];
            let a = (at.x[i] - at.prepared[i]) * rate;
            let index = at.prepared[self.place(3, a, i)];
            let by = self.shape.derivatives(a.abs(), index);
            let sign = if a >= 0.0 { 1.0 } else { -1.0 };
            let grad_u = sign * grad.z[i];
            let grad_a = sign * (grad_u * by.u_by_w + grad.log_det * by.l_by_w);
            grad_x[i] = grad_a * rate;
            grad_raw[i] = -grad_x[i];
            grad_raw[d + i] = -(grad_a * a + grad.log_det) * log_scale_slope(at.prepared[d + i]);
            let grad_index = grad_u * by.u_by_index + grad.log_det * by.l_by_index;
            let sigma = index / MAX_INDEX;
            (grad_raw[2 * d + i], grad_raw[3 * d + i]) = (0.0, 0.0);
            grad_raw[self.place(2, a, i)] = grad_index * index * (1.0 - sigma);
        }
    }
}

#[cfg(test)]
mod tests;

//! The affine transform: location and scale, in the data's units.

use super::{At, Grad, Transform};

/// The scale stays within e^±12 of the data's unit: smaller ones would be lost in the rounding of the data.
const MAX_LOG_SCALE: f64 = 12.0;
/// Up to here a scale's logarithm is its raw parameter, so that a change of the data's unit can be made up for exactly.
const LINEAR: f64 = 8.0;

/// A scale's logarithm: s = s_raw for |s_raw| ≤ 8, and ±(8 + 4 tanh((|s_raw| − 8) / 4)) beyond.
pub(super) fn log_scale(raw: f64) -> f64 {
    let beyond = (raw.abs() - LINEAR) / (MAX_LOG_SCALE - LINEAR);
    if beyond <= 0.0 { raw } else { (LINEAR + (MAX_LOG_SCALE - LINEAR) * beyond.tanh()).copysign(raw) }
}

/// The s_raw of which [`log_scale`] is s, as near as there is one.
pub(super) fn raw_log_scale(log_scale: f64) -> f64 {
    let beyond = ((log_scale.abs() - LINEAR) / (MAX_LOG_SCALE - LINEAR)).min(0.999);
    if beyond <= 0.0 {
        log_scale
    } else {
        (LINEAR + (MAX_LOG_SCALE - LINEAR) * beyond.atanh()).copysign(log_scale)
    }
}

/// ∂s/∂s_raw, where [`log_scale`] is s.
pub(super) fn log_scale_slope(log_scale: f64) -> f64 {
    let beyond = ((log_scale.abs() - LINEAR) / (MAX_LOG_SCALE - LINEAR)).max(0.0);
    1.0 - beyond * beyond
}

/// z = (x − m) ⊙ e⁻ˢ with s = s_raw for |s_raw| ≤ 8, and going towards ±12 beyond.
///
/// Raw parameters: m (d), s_raw (d). This is exp(a) ⊙ x + b with a = −s and b = −m ⊙ e⁻ˢ, parametrised so that m and
/// eˢ are the location and the scale of the data whatever the other is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affine {
    dim: usize,
}

impl Affine {
    /// For vectors of length `dim`.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }

    /// Where an axis's s stands among the prepared parameters.
    pub(super) fn log_scale_place(self, axis: usize) -> usize {
        self.dim + axis
    }
}

/// Prepared parameters: m (d), s (d), e⁻ˢ (d).
impl Transform for Affine {
    fn num_params(&self) -> usize {
        2 * self.dim
    }

    fn num_prepared(&self) -> usize {
        3 * self.dim
    }

    fn initial(&self, _center: &[f64], raw: &mut [f64]) {
        raw.fill(0.0);
    }

    fn prepare(&self, raw: &[f64], prepared: &mut [f64]) {
        let d = self.dim;
        prepared[..d].copy_from_slice(&raw[..d]);
        for i in 0..d {
            let log_scale = log_scale(raw[d + i]);
            prepared[d + i] = log_scale;
            prepared[2 * d + i] = (-log_scale).exp();
        }
    }

    fn forward(&self, prepared: &[f64], x: &[f64], z: &mut [f64]) -> f64 {
        let d = self.dim;
        for i in 0..d {
            z[i] = (x[i] - prepared[i]) * prepared[2 * d + i];
        }
        -prepared[d..2 * d].iter().sum::<f64>()
    }

    fn inverse(&self, prepared: &[f64], z: &[f64], x: &mut [f64]) {
        let d = self.dim;
        for i in 0..d {
            x[i] = prepared[i] + z[i] / prepared[2 * d + i];
        }
    }

    fn backward(&self, at: At<'_>, grad: Grad<'_>, grad_x: &mut [f64], grad_raw: &mut [f64]) {
        let d = self.dim;
        for i in 0..d {
            let rate = at.prepared[2 * d + i];
            let z = (at.x[i] - at.prepared[i]) * rate;
            grad_x[i] = grad.z[i] * rate;
            grad_raw[i] = -grad_x[i];
            grad_raw[d + i] = -(grad.z[i] * z + grad.log_det) * log_scale_slope(at.prepared[d + i]);
        }
    }
}

//! The affine transform: location and scale, in the data's units.

use super::{
    At, Grad, Raw, Transform,
    points::Pointwise,
    rows::{Column, OverRows, Prepared},
};
use crate::math::vector;

/// The scale stays within e^±12 of the data's unit: smaller ones would be lost in the rounding of the data.
const MAX_LOG_SCALE: f64 = 12.0;
/// Up to here a scale's logarithm is its raw parameter, so that a change of the data's unit can be made up for exactly.
const LINEAR: f64 = 8.0;

/// A scale's logarithm: s = s_raw for |s_raw| ≤ 8, and ±(8 + 4 tanh((|s_raw| − 8) / 4)) beyond.
#[inline(always)]
pub(super) fn log_scale(raw: f64) -> f64 {
    let beyond = (raw.abs() - LINEAR) / (MAX_LOG_SCALE - LINEAR);
    let bent = (LINEAR + (MAX_LOG_SCALE - LINEAR) * vector::tanh(beyond)).copysign(raw);
    if beyond <= 0.0 { raw } else { bent }
}

/// A scale's logarithm, and e to the power of its negative, of an axis's parameter.
pub(super) fn log_scale_and_rate(raw: Raw<'_>, at: usize) -> (f64, f64) {
    let value = raw.values[at];
    if value.abs() <= LINEAR {
        return (value, raw.shrink[at]);
    }
    let log_scale = log_scale(value);
    (log_scale, vector::shrink(log_scale))
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
#[inline(always)]
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

    fn prepare(&self, raw: Raw<'_>, prepared: &mut [f64]) {
        let d = self.dim;
        prepared[..d].copy_from_slice(&raw.values[..d]);
        for i in 0..d {
            (prepared[d + i], prepared[2 * d + i]) = log_scale_and_rate(raw, d + i);
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

/// m and e⁻ˢ, d = 1.
#[derive(Clone, Copy)]
pub(super) struct Line {
    location: f64,
    rate: f64,
}

impl Line {
    #[inline(always)]
    pub fn of(prepared: &[f64]) -> Self {
        Self { location: prepared[0], rate: prepared[2] }
    }
}

impl Pointwise for Line {
    #[inline(always)]
    fn to_base(self, x: f64) -> f64 {
        (x - self.location) * self.rate
    }

    #[inline(always)]
    fn to_data(self, z: f64) -> f64 {
        self.location + z / self.rate
    }

    #[inline(always)]
    fn slope(self, _: f64) -> f64 {
        self.rate
    }
}

/// Prepares m, s and e⁻ˢ of each row.
#[inline(always)]
pub(super) fn prepare_rows<const N: usize>(
    [location_raw, scale_raw]: [&Column<N>; 2],
    prepared: &mut Prepared<N>,
) {
    let [location, log_scale, rate, ..] = prepared;
    for row in 0..N {
        log_scale[row] = self::log_scale(scale_raw[row]);
        rate[row] = vector::shrink(log_scale[row]);
        location[row] = location_raw[row];
    }
}

/// Prepared: m, s, e⁻ˢ.
impl<const N: usize> OverRows<N> for Affine {
    type Way = Line;

    #[inline(always)]
    fn of_row([location, _, rate, ..]: &Prepared<N>, row: usize) -> Line {
        Line { location: location[row], rate: rate[row] }
    }

    #[inline(always)]
    fn prepare(raw: &[Column<N>], prepared: &mut Prepared<N>) {
        let [location, log_scale] = raw else { unreachable!("the parameters of one axis") };
        prepare_rows([location, log_scale], prepared);
    }

    #[inline(always)]
    fn add_log_slopes([_, log_scale, ..]: &Prepared<N>, _: &Column<N>, log_det: &mut Column<N>) {
        log_det.iter_mut().zip(log_scale).for_each(|(log_det, log_scale)| *log_det -= log_scale);
    }

    #[inline(always)]
    fn backward(
        [location, log_scale, rate, ..]: &Prepared<N>,
        x: &Column<N>,
        by_log_det: f64,
        grad: &mut Column<N>,
        grad_raw: &mut [Column<N>],
    ) {
        let [grad_location, grad_scale_raw] = grad_raw else { unreachable!("the parameters of one axis") };
        for row in 0..N {
            let z = (x[row] - location[row]) * rate[row];
            grad_scale_raw[row] -= (grad[row] * z + by_log_det) * log_scale_slope(log_scale[row]);
            grad[row] *= rate[row];
            grad_location[row] -= grad[row];
        }
    }
}

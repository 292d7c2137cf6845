//! The radial transform: an expansion or contraction around a point.

use super::{
    At, Grad, Raw, Transform,
    points::Pointwise,
    rows::{Column, OverRows, Prepared},
};
use crate::math::{scalar::softplus_inverse, vector};

/// The least radius α, in units of the base: a narrower bump would only spike on repeated values.
const MIN_ALPHA: f64 = 1e-2;
/// The least 1 + β, the slope at the centre: without it, log-determinants would have no bound.
const MIN_SLOPE: f64 = 1e-3;

/// Squares overflow soon beyond this.
const FAR: f64 = 1e150;

/// z = x + αβ (x − γ) / (α + ‖x − γ‖), with α > 0 and β > −1 (Rezende & Mohamed 2015, equation 14).
///
/// Raw parameters: α_raw, β_raw, γ (d); α = 0.01 + softplus(α_raw), β = −1 + 0.001 + softplus(β_raw).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Radial {
    dim: usize,
}

impl Radial {
    /// For vectors of length `dim`.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }

    fn distance(&self, x: &[f64], center: &[f64]) -> f64 {
        if self.dim == 1 {
            return (x[0] - center[0]).abs();
        }
        x.iter().zip(center).fold(0.0, |distance, (x, c)| f64::hypot(distance, x - c))
    }
}

/// α, β and γ, d = 1.
#[derive(Clone, Copy)]
pub(super) struct Bump {
    alpha: f64,
    beta: f64,
    center: f64,
}

impl Bump {
    #[inline(always)]
    pub fn of(prepared: &[f64]) -> Self {
        Self { alpha: prepared[0], beta: prepared[1], center: prepared[2] }
    }

    #[inline(always)]
    fn of_row<const N: usize>([alpha, beta, center, ..]: &Prepared<N>, row: usize) -> Self {
        Self { alpha: alpha[row], beta: beta[row], center: center[row] }
    }

    /// How far x is from γ, and k.
    #[inline(always)]
    fn at(self, x: f64) -> (f64, f64) {
        let offset = x - self.center;
        (offset, self.alpha / (self.alpha + offset.abs()))
    }
}

impl Pointwise for Bump {
    #[inline(always)]
    fn to_base(self, x: f64) -> f64 {
        let (offset, k) = self.at(x);
        x + self.beta * k * offset
    }

    #[inline(always)]
    fn to_data(self, z: f64) -> f64 {
        // As in `inverse`, with both roots worked out and one taken.
        let Self { alpha, beta, center } = self;
        let reach = alpha * (1.0 + beta);
        let offset = z - center;
        let b = reach - offset.abs();
        let product = 4.0 * alpha * offset.abs();
        let root = if b.abs() < FAR { f64::mul_add(b, b, product).sqrt() } else { b.abs() };
        let r = if b > 0.0 { 0.5 * product / (b + root) } else { 0.5 * (root - b) };
        z - beta * alpha / (r + reach) * offset
    }

    #[inline(always)]
    fn slope(self, x: f64) -> f64 {
        let (_, k) = self.at(x);
        1.0 + self.beta * k * k
    }
}

/// Prepared parameters: α, β, γ (d).
impl Transform for Radial {
    fn num_params(&self) -> usize {
        self.dim + 2
    }

    fn num_prepared(&self) -> usize {
        self.dim + 2
    }

    fn initial(&self, center: &[f64], raw: &mut [f64]) {
        raw[0] = softplus_inverse(1.0 - MIN_ALPHA);
        raw[1] = softplus_inverse(1.0 - MIN_SLOPE);
        raw[2..].copy_from_slice(center);
    }

    fn prepare(&self, raw: Raw<'_>, prepared: &mut [f64]) {
        prepared[0] = MIN_ALPHA + raw.softplus[0];
        prepared[1] = -1.0 + (MIN_SLOPE + raw.softplus[1]);
        prepared[2..].copy_from_slice(&raw.values[2..]);
    }

    fn forward(&self, prepared: &[f64], x: &[f64], z: &mut [f64]) -> f64 {
        let (alpha, beta, center) = (prepared[0], prepared[1], &prepared[2..]);
        // k = α / (α + r) falls from 1 at the centre to 0: the Jacobian's eigenvalues are 1 + βk² along the radius
        // and 1 + βk across it.
        let k = alpha / (alpha + self.distance(x, center));
        for i in 0..self.dim {
            z[i] = x[i] + beta * k * (x[i] - center[i]);
        }
        let along = (beta * k * k).ln_1p();
        if self.dim == 1 { along } else { along + (self.dim - 1) as f64 * (beta * k).ln_1p() }
    }

    fn inverse(&self, prepared: &[f64], z: &[f64], x: &mut [f64]) {
        let (alpha, beta, center) = (prepared[0], prepared[1], &prepared[2..]);
        // ‖z − γ‖ = r (r + α(1 + β)) / (α + r): the positive root r of r² + br = α ‖z − γ‖, without cancellation.
        let distance = self.distance(z, center);
        let reach = alpha * (1.0 + beta);
        let b = reach - distance;
        // A tail may give points whose squares overflow; there the root is |b|.
        let root = if b.abs() < FAR { b.mul_add(b, 4.0 * alpha * distance).sqrt() } else { b.abs() };
        let r = if b > 0.0 { 2.0 * alpha * distance / (b + root) } else { 0.5 * (root - b) };
        let shrink = (alpha + r) / (r + reach);
        let pull = beta * alpha / (alpha + r) * shrink;
        for i in 0..self.dim {
            x[i] = z[i] - pull * (z[i] - center[i]);
        }
    }

    fn backward(&self, at: At<'_>, grad: Grad<'_>, grad_x: &mut [f64], grad_raw: &mut [f64]) {
        let (alpha, beta, center) = (at.prepared[0], at.prepared[1], &at.prepared[2..]);
        let r = self.distance(at.x, center);
        let h = 1.0 / (alpha + r);
        let k = alpha * h;
        let (along, across) = (1.0 + beta * k * k, 1.0 + beta * k);
        let others = (self.dim - 1) as f64;

        let radial: f64 = (0..self.dim).map(|i| grad.z[i] * (at.x[i] - center[i])).sum();
        let grad_beta = k * radial + grad.log_det * (k * k / along + others * k / across);
        let grad_k = beta * (radial + grad.log_det * (2.0 * k / along + others / across));
        let grad_alpha = grad_k * h * (1.0 - k);
        let grad_r = -grad_k * k * h;
        // The log-determinant has a kink at the centre, where 0 is a subgradient.
        let grad_offset = if r > 0.0 { grad_r / r } else { 0.0 };

        let (constrained, grad_center) = grad_raw.split_at_mut(2);
        constrained[0] = grad_alpha * at.raw.sigmoid[0];
        constrained[1] = grad_beta * at.raw.sigmoid[1];
        for i in 0..self.dim {
            let through_offset = beta * k * grad.z[i] + grad_offset * (at.x[i] - center[i]);
            grad_x[i] = grad.z[i] + through_offset;
            grad_center[i] = -through_offset;
        }
    }
}

/// Prepared: α, β, γ, and the slopes of α and β in what they are made from.
impl<const N: usize> OverRows<N> for Radial {
    type Way = Bump;

    #[inline(always)]
    fn of_row(prepared: &Prepared<N>, row: usize) -> Bump {
        Bump::of_row(prepared, row)
    }

    #[inline(always)]
    fn prepare(raw: &[Column<N>], prepared: &mut Prepared<N>) {
        let [alpha_raw, beta_raw, center] = raw else { unreachable!("the parameters of one axis") };
        let [alpha, beta, own_center, alpha_slope, beta_slope] = prepared;
        for row in 0..N {
            let (positive, slope) = vector::softplus(alpha_raw[row]);
            (alpha[row], alpha_slope[row]) = (MIN_ALPHA + positive, slope);
            let (positive, slope) = vector::softplus(beta_raw[row]);
            (beta[row], beta_slope[row]) = (-1.0 + (MIN_SLOPE + positive), slope);
            own_center[row] = center[row];
        }
    }

    #[inline(always)]
    fn add_log_slopes(prepared: &Prepared<N>, x: &Column<N>, log_det: &mut Column<N>) {
        for (row, log_det) in log_det.iter_mut().enumerate() {
            let bump = Bump::of_row(prepared, row);
            let (_, k) = bump.at(x[row]);
            *log_det += vector::ln_1p(bump.beta * k * k);
        }
    }

    #[inline(always)]
    fn backward(
        [alpha, beta, center, alpha_slope, beta_slope]: &Prepared<N>,
        x: &Column<N>,
        by_log_det: f64,
        grad: &mut Column<N>,
        grad_raw: &mut [Column<N>],
    ) {
        let [grad_alpha_raw, grad_beta_raw, grad_center] = grad_raw else {
            unreachable!("the parameters of one axis")
        };
        for row in 0..N {
            let (alpha, beta, grad_z) = (alpha[row], beta[row], grad[row]);
            let offset = x[row] - center[row];
            let h = 1.0 / (alpha + offset.abs());
            let k = alpha * h;
            let slope_share = by_log_det * k / (1.0 + beta * k * k);
            let through_k = beta * (grad_z * offset + 2.0 * slope_share) * h;
            let side = if offset == 0.0 { 0.0 } else { 1f64.copysign(offset) };
            let through_offset = beta * k * grad_z - through_k * k * side;
            grad_alpha_raw[row] += through_k * (1.0 - k) * alpha_slope[row];
            grad_beta_raw[row] += k * (grad_z * offset + slope_share) * beta_slope[row];
            grad[row] = grad_z + through_offset;
            grad_center[row] -= through_offset;
        }
    }
}

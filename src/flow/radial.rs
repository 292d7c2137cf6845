//! The radial transform: an expansion or contraction around a point.

use super::{At, Grad, Transform};
use crate::math::{
    scalar::{sigmoid, softplus, softplus_inverse},
    vector::Loops,
};

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
struct Bump {
    alpha: f64,
    beta: f64,
    center: f64,
}

impl Bump {
    fn of(prepared: &[f64]) -> Self {
        Self { alpha: prepared[0], beta: prepared[1], center: prepared[2] }
    }

    /// How far x is from γ, and k.
    #[inline(always)]
    fn at(self, x: f64) -> (f64, f64) {
        let offset = x - self.center;
        (offset, self.alpha / (self.alpha + offset.abs()))
    }
}

struct ToBase<'a>(Bump, &'a mut [f64]);

impl Loops for ToBase<'_> {
    #[inline(always)]
    fn call(self) {
        let Self(bump, points) = self;
        for point in points {
            let (offset, k) = bump.at(*point);
            *point += bump.beta * k * offset;
        }
    }
}

struct ToData<'a>(Bump, &'a mut [f64]);

impl Loops for ToData<'_> {
    #[inline(always)]
    fn call(self) {
        let Self(Bump { alpha, beta, center }, points) = self;
        let reach = alpha * (1.0 + beta);
        for point in points {
            // As in `inverse`, with both roots worked out and one taken.
            let offset = *point - center;
            let b = reach - offset.abs();
            let product = 4.0 * alpha * offset.abs();
            let root = if b.abs() < FAR { f64::mul_add(b, b, product).sqrt() } else { b.abs() };
            let r = if b > 0.0 { 0.5 * product / (b + root) } else { 0.5 * (root - b) };
            *point -= beta * alpha / (r + reach) * offset;
        }
    }
}

struct Slopes<'a>(Bump, &'a [f64], &'a mut [f64]);

impl Loops for Slopes<'_> {
    #[inline(always)]
    fn call(self) {
        let Self(bump, points, slopes) = self;
        for (point, slope) in points.iter().zip(slopes) {
            let (_, k) = bump.at(*point);
            *slope *= 1.0 + bump.beta * k * k;
        }
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

    fn prepare(&self, raw: &[f64], prepared: &mut [f64]) {
        prepared[0] = MIN_ALPHA + softplus(raw[0]);
        prepared[1] = -1.0 + (MIN_SLOPE + softplus(raw[1]));
        prepared[2..].copy_from_slice(&raw[2..]);
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

    fn forward_points(&self, prepared: &[f64], points: &mut [f64]) {
        ToBase(Bump::of(prepared), points).run();
    }

    fn inverse_points(&self, prepared: &[f64], points: &mut [f64]) {
        ToData(Bump::of(prepared), points).run();
    }

    fn multiply_slopes(&self, prepared: &[f64], points: &[f64], slopes: &mut [f64]) {
        Slopes(Bump::of(prepared), points, slopes).run();
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
        constrained[0] = grad_alpha * sigmoid(at.raw[0]);
        constrained[1] = grad_beta * sigmoid(at.raw[1]);
        for i in 0..self.dim {
            let through_offset = beta * k * grad.z[i] + grad_offset * (at.x[i] - center[i]);
            grad_x[i] = grad.z[i] + through_offset;
            grad_center[i] = -through_offset;
        }
    }
}

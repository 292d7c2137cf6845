//! The spline transform: each axis bent by a monotone rational-quadratic spline.

use super::{At, Grad, Raw, Transform};
use crate::math::scalar::softplus_inverse;

/// Bins of an axis.
const BINS: usize = 8;
/// The spline lies in ±this, in units of the base; beyond it the transform is the identity, so that tails stay as they are.
const REACH: f64 = 4.0;
/// The least share of a bin in width and height.
const MIN_SHARE: f64 = 1e-3;
/// The least slope at a knot.
const MIN_SLOPE: f64 = 1e-3;

/// How many raw parameters an axis has: shares of the widths, shares of the heights, slopes at the inner knots.
const RAW: usize = 3 * BINS - 1;
/// Knots of an axis, both ends included.
const KNOTS: usize = BINS + 1;

/// Within ±4 of each axis a monotone spline of 8 bins, each the quotient of two quadratics that meets its knots with their slopes;
/// the identity outside, where it arrives with slope 1 (Gregory & Delbourgo 1982; Durkan et al. 2019, "Neural spline flows",
/// equations 4 to 8).
///
/// Raw parameters, axis by axis: 8 logits of the widths, 8 of the heights, 7 slopes at the inner knots, each 0.001 +
/// softplus(raw). Widths and heights have at least a thousandth of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spline {
    dim: usize,
}

impl Spline {
    /// For vectors of length `dim`.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

/// Of an axis's prepared parameters: knots on the data's side, on the base's side, slopes.
fn parts(prepared: &[f64]) -> (&[f64], &[f64], &[f64]) {
    let (xs, rest) = prepared.split_at(KNOTS);
    let (zs, slopes) = rest.split_at(KNOTS);
    (xs, zs, slopes)
}

/// Writes knots between ±[`REACH`] whose distances have the shares that a softmax gives.
fn write_knots(logits: &[f64], knots: &mut [f64]) {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut exps = [0.0; BINS];
    for (exp, logit) in exps.iter_mut().zip(logits) {
        *exp = (logit - highest).exp();
    }
    let total: f64 = exps.iter().sum();
    let mut at = -REACH;
    for (knot, exp) in knots.iter_mut().zip(exps) {
        *knot = at;
        at += 2.0 * REACH * (MIN_SHARE + (1.0 - BINS as f64 * MIN_SHARE) * exp / total);
    }
    knots[BINS] = REACH;
}

/// From the gradient with respect to the bins' widths to that with respect to their logits.
fn softmax_backward(knots: &[f64], grad_widths: &[f64; BINS], grad_logits: &mut [f64]) {
    const SPAN: f64 = 1.0 - BINS as f64 * MIN_SHARE;
    let share = |bin: usize| ((knots[bin + 1] - knots[bin]) / (2.0 * REACH) - MIN_SHARE) / SPAN;
    let mean: f64 = (0..BINS).map(|bin| share(bin) * grad_widths[bin]).sum();
    for (bin, grad) in grad_logits.iter_mut().enumerate() {
        *grad = 2.0 * REACH * SPAN * share(bin) * (grad_widths[bin] - mean);
    }
}

/// A bin and a place in it.
struct Bin {
    nth: usize,
    /// Width and height.
    width: f64,
    height: f64,
    /// Slopes at its ends.
    left: f64,
    right: f64,
}

impl Bin {
    /// The bin with `value` between its ends on the side that `knots` are of.
    fn find(prepared: &[f64], knots: &[f64], value: f64) -> Self {
        let (xs, zs, slopes) = parts(prepared);
        let nth = knots[1..BINS].iter().filter(|&&knot| knot <= value).count();
        Self {
            nth,
            width: xs[nth + 1] - xs[nth],
            height: zs[nth + 1] - zs[nth],
            left: slopes[nth],
            right: slopes[nth + 1],
        }
    }

    fn mean_slope(&self) -> f64 {
        self.height / self.width
    }

    /// Numerator and denominator of the height's share, and the numerator of the slope, at the share `at` of the width.
    fn quotient(&self, at: f64) -> (f64, f64, f64) {
        let (s, rest) = (self.mean_slope(), 1.0 - at);
        let above = s * at * at + self.left * at * rest;
        let below = s + (self.left + self.right - 2.0 * s) * at * rest;
        (above, below, self.right * at * at + 2.0 * s * at * rest + self.left * rest * rest)
    }
}

/// Prepared parameters, axis by axis: knots on the data's side (9), on the base's side (9), slopes (9).
impl Transform for Spline {
    fn num_params(&self) -> usize {
        RAW * self.dim
    }

    fn num_prepared(&self) -> usize {
        3 * KNOTS * self.dim
    }

    fn initial(&self, _center: &[f64], raw: &mut [f64]) {
        for raw in raw.chunks_exact_mut(RAW) {
            raw[..2 * BINS].fill(0.0);
            raw[2 * BINS..].fill(softplus_inverse(1.0 - MIN_SLOPE));
        }
    }

    fn prepare(&self, raw: Raw<'_>, prepared: &mut [f64]) {
        let axes = raw.values.chunks_exact(RAW).zip(raw.softplus.chunks_exact(RAW));
        for ((raw, softplus), prepared) in axes.zip(prepared.chunks_exact_mut(3 * KNOTS)) {
            let (xs, rest) = prepared.split_at_mut(KNOTS);
            let (zs, slopes) = rest.split_at_mut(KNOTS);
            write_knots(&raw[..BINS], xs);
            write_knots(&raw[BINS..2 * BINS], zs);
            (slopes[0], slopes[BINS]) = (1.0, 1.0);
            for (slope, softplus) in slopes[1..BINS].iter_mut().zip(&softplus[2 * BINS..]) {
                *slope = MIN_SLOPE + softplus;
            }
        }
    }

    fn forward(&self, prepared: &[f64], x: &[f64], z: &mut [f64]) -> f64 {
        let mut log_det = 0.0;
        for ((&x, z), prepared) in x.iter().zip(z).zip(prepared.chunks_exact(3 * KNOTS)) {
            if x.abs() >= REACH {
                *z = x;
                continue;
            }
            let (xs, zs, _) = parts(prepared);
            let bin = Bin::find(prepared, xs, x);
            let (above, below, slope) = bin.quotient((x - xs[bin.nth]) / bin.width);
            *z = zs[bin.nth] + bin.height * above / below;
            let s = bin.mean_slope() / below;
            log_det += (s * s * slope).ln();
        }
        log_det
    }

    fn inverse(&self, prepared: &[f64], z: &[f64], x: &mut [f64]) {
        for ((&z, x), prepared) in z.iter().zip(x).zip(prepared.chunks_exact(3 * KNOTS)) {
            if z.abs() >= REACH {
                *x = z;
                continue;
            }
            let (xs, zs, _) = parts(prepared);
            let bin = Bin::find(prepared, zs, z);
            // z's share of the height is the quotient: a quadratic in the share of the width.
            let (s, share) = (bin.mean_slope(), (z - zs[bin.nth]) / bin.height);
            let bend = share * (bin.left + bin.right - 2.0 * s);
            let (a, b, c) = (s - bin.left + bend, bin.left - bend, -s * share);
            let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
            let at = if b >= 0.0 { -2.0 * c / (b + root) } else { (root - b) / (2.0 * a) };
            *x = xs[bin.nth] + at.clamp(0.0, 1.0) * bin.width;
        }
    }

    fn backward(&self, at: At<'_>, grad: Grad<'_>, grad_x: &mut [f64], grad_raw: &mut [f64]) {
        grad_raw.fill(0.0);
        for axis in 0..self.dim {
            let (x, grad_z) = (at.x[axis], grad.z[axis]);
            if x.abs() >= REACH {
                grad_x[axis] = grad_z;
                continue;
            }
            let prepared = &at.prepared[3 * KNOTS * axis..][..3 * KNOTS];
            let sigmoid = &at.raw.sigmoid[RAW * axis..][..RAW];
            let (xs, zs, _) = parts(prepared);
            let bin = Bin::find(prepared, xs, x);
            let (left, right, s) = (bin.left, bin.right, bin.mean_slope());
            let t = (x - xs[bin.nth]) / bin.width;
            let (rest, product) = (1.0 - t, t * (1.0 - t));
            let (above, below, slope) = bin.quotient(t);

            let grad_above = grad_z * bin.height / below;
            let grad_below = -grad_above * above / below - 2.0 * grad.log_det / below;
            let grad_slope = grad.log_det / slope;
            let grad_s = grad_above * t * t
                + grad_below * (1.0 - 2.0 * product)
                + 2.0 * grad_slope * product
                + 2.0 * grad.log_det / s;
            let grad_left = (grad_above + grad_below) * product + grad_slope * rest * rest;
            let grad_right = grad_below * product + grad_slope * t * t;
            let grad_t = grad_above * (2.0 * s * t + left * (1.0 - 2.0 * t))
                + grad_below * (left + right - 2.0 * s) * (1.0 - 2.0 * t)
                + 2.0 * grad_slope * (right * t + s * (1.0 - 2.0 * t) - left * rest);
            grad_x[axis] = grad_t / bin.width;

            // A bin begins where the ones before it end.
            let (mut grad_widths, mut grad_heights) = ([0.0; BINS], [0.0; BINS]);
            grad_widths[..bin.nth].fill(-grad_t / bin.width);
            grad_widths[bin.nth] = -(grad_s * s + grad_t * t) / bin.width;
            grad_heights[..bin.nth].fill(grad_z);
            grad_heights[bin.nth] = grad_z * above / below + grad_s / bin.width;
            let (grad_shares, grad_slopes) = grad_raw[RAW * axis..][..RAW].split_at_mut(2 * BINS);
            softmax_backward(xs, &grad_widths, &mut grad_shares[..BINS]);
            softmax_backward(zs, &grad_heights, &mut grad_shares[BINS..]);
            for (knot, grad_knot) in [(bin.nth, grad_left), (bin.nth + 1, grad_right)] {
                // The slopes at both ends are 1.
                if (1..BINS).contains(&knot) {
                    grad_slopes[knot - 1] = grad_knot * sigmoid[2 * BINS + knot - 1];
                }
            }
        }
    }
}

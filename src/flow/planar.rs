//! The planar transform: a bend along one direction.

use std::f64::consts::E;

use super::{At, Grad, Raw, Transform, dot};
use crate::math::scalar::sech_squared;

/// The least slope along w: below it, log-determinants and their gradients would have no bound.
const MIN_SLOPE: f64 = 1e-3;
/// ‖w‖² is taken as at least this where it divides. Below it the constraint on wᵀû holds of itself for ‖u‖ < 10⁵.
const MIN_SQUARE: f64 = 1e-12;

/// z = x + û tanh(wᵀx + b), where û = u + (m(wᵀu) − wᵀu) w / ‖w‖² keeps wᵀû = m(wᵀu) above −1
/// (Rezende & Mohamed 2015, appendix A.1).
///
/// Raw parameters: w (d), u (d), b. Their m(t) = −1 + softplus(t) is shifted to pass through the origin, so that
/// u = 0 is the identity and û stays bounded as w → 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planar {
    dim: usize,
}

impl Planar {
    /// For vectors of length `dim`.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

/// m(t) = (1 − ε)(−1 + softplus(t + log(e − 1))) and its derivative, with ε the least slope: it increases from −1 + ε
/// through m(0) = 0, with full relative precision there.
fn bounded(t: f64) -> (f64, f64) {
    // softplus(t + log(e − 1)) − 1 = log(1 + κ(eᵗ − 1)), or t + log(1 + (1 − κ)(e⁻ᵗ − 1)) where eᵗ might overflow.
    const KAPPA: f64 = 1.0 - 1.0 / E;
    let (value, slope) = if t > 1.0 {
        let rest = (1.0 - KAPPA) * (-t).exp_m1();
        (t + rest.ln_1p(), KAPPA / (1.0 + rest))
    } else {
        let rise = KAPPA * t.exp_m1();
        (rise.ln_1p(), KAPPA * t.exp() / (1.0 + rise))
    };
    ((1.0 - MIN_SLOPE) * value, (1.0 - MIN_SLOPE) * slope)
}

/// û = u + k w and q = wᵀû, with what their derivatives need.
struct Bend {
    /// The multiple of w that is added to u.
    k: f64,
    q: f64,
    /// dm/dt at t = wᵀu.
    slope: f64,
    /// ‖w‖², at least [`MIN_SQUARE`].
    square: f64,
    /// ‖w‖² over `square`: 1 but for tiny w.
    share: f64,
}

impl Bend {
    fn new(w: &[f64], u: &[f64]) -> Self {
        let t = dot(w, u);
        let (value, slope) = bounded(t);
        let norm = dot(w, w);
        let square = norm.max(MIN_SQUARE);
        let share = norm / square;
        // For all but tiny w, q is m(t) itself rather than a sum that rounds towards −1.
        let q = if share < 1.0 { t + (value - t) * share } else { value };
        Self { k: (value - t) / square, q, slope, square, share }
    }
}

/// The v with v + q tanh v = c, for q > −1.
///
/// The function is odd; on v ≥ 0 it is concave for q ≥ 0 and convex below, so Newton's method from the near end of
/// the bracket [c / (1 + q), c] or the far end of [c, c − q] runs one way until rounding turns it round.
fn solve(q: f64, c: f64) -> f64 {
    let target = c.abs();
    let concave = q >= 0.0;
    let mut v = if concave { target / (1.0 + q) } else { target - q };
    for _ in 0..200 {
        let step = (target - v - q * v.tanh()) / (1.0 + q * sech_squared(v));
        if !(if concave { step > 0.0 } else { step < 0.0 }) {
            break;
        }
        let next = v + step;
        if next == v {
            break;
        }
        v = next.max(0.0);
    }
    v.copysign(c)
}

/// Prepared parameters: w (d), û (d), b, wᵀû.
impl Transform for Planar {
    fn num_params(&self) -> usize {
        2 * self.dim + 1
    }

    fn num_prepared(&self) -> usize {
        2 * self.dim + 2
    }

    fn initial(&self, center: &[f64], raw: &mut [f64]) {
        let d = self.dim;
        let direction = (d as f64).sqrt().recip();
        raw[..d].fill(direction);
        raw[d..2 * d].fill(0.0);
        raw[2 * d] = -direction * center.iter().sum::<f64>();
    }

    fn prepare(&self, raw: Raw<'_>, prepared: &mut [f64]) {
        let d = self.dim;
        let (w, u) = (&raw.values[..d], &raw.values[d..2 * d]);
        let bend = Bend::new(w, u);
        prepared[..d].copy_from_slice(w);
        for i in 0..d {
            prepared[d + i] = u[i] + bend.k * w[i];
        }
        prepared[2 * d] = raw.values[2 * d];
        prepared[2 * d + 1] = bend.q;
    }

    fn forward(&self, prepared: &[f64], x: &[f64], z: &mut [f64]) -> f64 {
        let d = self.dim;
        let (w, u_hat, b, q) = (&prepared[..d], &prepared[d..2 * d], prepared[2 * d], prepared[2 * d + 1]);
        let v = dot(w, x) + b;
        let height = v.tanh();
        for i in 0..d {
            z[i] = x[i] + u_hat[i] * height;
        }
        (q * sech_squared(v)).ln_1p()
    }

    fn inverse(&self, prepared: &[f64], z: &[f64], x: &mut [f64]) {
        let d = self.dim;
        let (w, u_hat, b, q) = (&prepared[..d], &prepared[d..2 * d], prepared[2 * d], prepared[2 * d + 1]);
        // wᵀz + b = v + wᵀû tanh v with v = wᵀx + b: one equation for any d.
        let height = solve(q, dot(w, z) + b).tanh();
        for i in 0..d {
            x[i] = z[i] - u_hat[i] * height;
        }
    }

    fn backward(&self, at: At<'_>, grad: Grad<'_>, grad_x: &mut [f64], grad_raw: &mut [f64]) {
        let d = self.dim;
        let (w, u) = (&at.raw.values[..d], &at.raw.values[d..2 * d]);
        let u_hat = &at.prepared[d..2 * d];
        let bend = Bend::new(w, u);
        let v = dot(w, at.x) + at.raw.values[2 * d];
        let (height, sech) = (v.tanh(), sech_squared(v));
        let det = 1.0 + bend.q * sech;

        let grad_v = sech * (dot(grad.z, u_hat) - 2.0 * grad.log_det * bend.q * height / det);
        let grad_q = grad.log_det * sech / det;
        // z's share of the derivative with respect to k; q's goes through t and ‖w‖² directly.
        let grad_k = height * dot(grad.z, w);
        let grad_t =
            grad_q * (1.0 + bend.share * (bend.slope - 1.0)) + grad_k * (bend.slope - 1.0) / bend.square;
        let grad_norm = if bend.share < 1.0 { grad_q * bend.k } else { -grad_k * bend.k / bend.square };

        let (grad_w, rest) = grad_raw.split_at_mut(d);
        for i in 0..d {
            let grad_u_hat = grad.z[i] * height;
            grad_x[i] = grad.z[i] + grad_v * w[i];
            grad_w[i] = bend.k * grad_u_hat + grad_v * at.x[i] + grad_t * u[i] + 2.0 * grad_norm * w[i];
            rest[i] = grad_u_hat + grad_t * w[i];
        }
        rest[d] = grad_v;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constraint_passes_through_the_origin_and_stays_above_minus_one() {
        assert_eq!(bounded(0.0).0, 0.0);
        assert!((bounded(1e-200).0 / 1e-200 - (1.0 - MIN_SLOPE) * (1.0 - 1.0 / E)).abs() < 1e-15);
        let mut last = f64::NEG_INFINITY;
        for i in -4000..4000 {
            let t = f64::from(i) / 100.0;
            let (value, slope) = bounded(t);
            let expected = (1.0 - MIN_SLOPE) * (crate::math::scalar::softplus(t + (E - 1.0).ln()) - 1.0);
            assert!((value - expected).abs() < 1e-13 && value >= last && value >= MIN_SLOPE - 1.0);
            let h = 1e-5;
            let numeric = (bounded(t + h).0 - bounded(t - h).0) / (2.0 * h);
            assert!((slope - numeric).abs() < 1e-8, "at {t}");
            last = value;
        }
        assert!(bounded(1e6).0.is_finite() && bounded(-1e6) == (MIN_SLOPE - 1.0, 0.0));
    }

    #[test]
    fn the_one_dimensional_equation_is_solved_to_rounding() {
        for q in [MIN_SLOPE - 1.0, -0.9, -0.1, 0.0, 0.5, 10.0, 1e3, 1e6] {
            for c in [0.0, 1e-12, 1e-3, 0.5, 1.0, 2.0, 50.0, 999.0, 1e6, 1e12] {
                for c in [c, -c] {
                    let v = solve(q, c);
                    let residual = v + q * v.tanh() - c;
                    assert!(
                        residual.abs() <= 4e-16 * (c.abs() + v.abs() + q.abs() * v.tanh().abs()),
                        "{q} {c}: {v}"
                    );
                }
            }
        }
    }
}

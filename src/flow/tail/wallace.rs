//! Student-t tails, by a transform that is all but exact for them.

use super::{Derivatives, FAR, MAX_INDEX, Shape, Tail};
use crate::{
    flow::{
        affine,
        points::Pointwise,
        rows::{Column, OverRows, Prepared},
    },
    math::{scalar::softplus, vector},
};

/// ξ w² = exp(ξ u²) − 1, so that u² = log(1 + ξ w²) / ξ: what makes Student's t with 1/ξ degrees of freedom nearly normal (Wallace
/// 1959, "Bounds on normal approximations to Student's and the chi-square distributions", section 3, without its correction
/// factor). With ξ → 0 it is the identity, and the tail stays Gaussian.
///
/// log w goes like ½ ξ u² without a term that varies slowly, so that the index which is learned from what is seen of a tail is the
/// index of the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wallace;

/// Where w is still far below what [`super::MAX_DISTANCE`] allows.
const FARTHEST_RISE: f64 = 300.0;
/// Below this, differences of logarithms are taken from their series.
const SMALL: f64 = 1e-2;

/// log(1 + t) for t = ξ w².
fn log_stretch(w: f64, index: f64) -> f64 {
    if w > FAR && index > 0.0 { softplus(index.ln() + 2.0 * w.ln()) } else { (index * w * w).ln_1p() }
}

/// u² / w² = log(1 + t) / t, which is 1 at t = 0.
fn shrink(t: f64) -> f64 {
    if t > 1e-8 { t.ln_1p() / t } else { 1.0 - 0.5 * t }
}

/// t / log(1 + t) · d/dt [log(1 + t) / t], as t goes: d log(shrink) / d log t.
fn elasticity(t: f64) -> f64 {
    if t > SMALL { t / ((1.0 + t) * t.ln_1p()) - 1.0 } else { small_elasticity(t) }
}

/// The same of a small t.
#[inline(always)]
fn small_elasticity(t: f64) -> f64 {
    // Of log(1 + t) / t = Σ (−t)ⁿ / (n + 1) and t times its derivative, Σ n (−t)ⁿ / (n + 1): the next terms are below 1e-18.
    let (mut value, mut scaled_slope) = (0.0, 0.0);
    for n in (0..9).rev() {
        let n = f64::from(n);
        value = 1.0 / (n + 1.0) - t * value;
        scaled_slope = n / (n + 1.0) - t * scaled_slope;
    }
    scaled_slope / value
}

/// The layer's parameters, d = 1.
#[derive(Clone, Copy)]
pub(in crate::flow) struct Axis {
    location: f64,
    rate: f64,
    /// Indices below the location and above it.
    below: f64,
    above: f64,
}

impl Axis {
    #[inline(always)]
    pub fn of(prepared: &[f64]) -> Self {
        let [location, _, rate, below, above] = *prepared else { unreachable!("the parameters of one axis") };
        Self { location, rate, below, above }
    }

    #[inline(always)]
    fn of_row<const N: usize>([location, _, rate, below, above]: &Prepared<N>, row: usize) -> Self {
        Self { location: location[row], rate: rate[row], below: below[row], above: above[row] }
    }

    #[inline(always)]
    fn scaled(self, x: f64) -> f64 {
        (x - self.location) * self.rate
    }

    /// ξ a² with the ξ of a's side: t on the data's side, log(1 + t) on the base's.
    #[inline(always)]
    fn square(self, a: f64) -> f64 {
        (if a >= 0.0 { self.above } else { self.below }) * (a * a)
    }
}

/// What t = ξ w² does.
struct Stretch {
    /// u / w = √(log(1 + t) / t), which is 1 at t = 0.
    root: f64,
    /// log(1 + t).
    log: f64,
}

impl Stretch {
    #[inline(always)]
    fn of(t: f64) -> Self {
        let log = vector::ln_1p(t);
        Self { root: if t > 1e-8 { log / t } else { 1.0 - 0.5 * t }.sqrt(), log }
    }
}

impl Pointwise for Axis {
    #[inline(always)]
    fn to_base(self, x: f64) -> f64 {
        let a = self.scaled(x);
        a * Stretch::of(self.square(a)).root
    }

    #[inline(always)]
    fn to_data(self, z: f64) -> f64 {
        let rise = self.square(z);
        let stretch = vector::exp_m1(rise) / rise;
        let root = if rise > 1e-8 { stretch } else { 1.0 + 0.5 * rise }.sqrt();
        self.location + z * root / self.rate
    }

    #[inline(always)]
    fn slope(self, x: f64) -> f64 {
        let t = self.square(self.scaled(x));
        self.rate / (Stretch::of(t).root * (1.0 + t))
    }

    #[inline(always)]
    fn takes_data(self, x: f64) -> bool {
        self.scaled(x).abs() <= FAR
    }

    #[inline(always)]
    fn takes_base(self, z: f64) -> bool {
        self.square(z) < FARTHEST_RISE
    }
}

impl Shape for Wallace {
    fn to_base(self, w: f64, index: f64) -> (f64, f64) {
        if w == f64::INFINITY {
            return (w, f64::NEG_INFINITY);
        }
        let stretch = log_stretch(w, index);
        let u =
            if w > FAR && index > 0.0 { (stretch / index).sqrt() } else { w * shrink(index * w * w).sqrt() };
        // ∂u/∂w = w / (u (1 + ξ w²)).
        let log_slope = if w == 0.0 { 0.0 } else { (w / u).ln() - stretch };
        (u, log_slope)
    }

    fn to_data(self, u: f64, index: f64) -> f64 {
        let rise = index * u * u;
        if rise < 1e-8 {
            u * (1.0 + 0.25 * rise)
        } else if rise < 700.0 {
            u * (rise.exp_m1() / rise).sqrt()
        } else {
            (0.5 * (rise - index.ln())).exp()
        }
    }

    fn derivatives(self, w: f64, index: f64) -> Derivatives {
        if w == 0.0 {
            return Derivatives { u_by_w: 1.0, u_by_index: 0.0, l_by_w: 0.0, l_by_index: 0.0 };
        }
        let (u, log_slope) = self.to_base(w, index);
        // With t = ξ w²: log u = log w + ½ log shrink(t), l = −½ log shrink(t) − log(1 + t).
        let t = index * w.min(FAR) * w.min(FAR);
        let half = 0.5 * elasticity(t);
        let l_by_log_t = -half - t / (1.0 + t);
        // What goes with t / ξ goes with w² where ξ is 0.
        let (u_by_index, l_by_index) = if index > 0.0 {
            (u * half / index, l_by_log_t / index)
        } else {
            (-0.25 * w * w * w, -0.75 * w * w)
        };
        Derivatives { u_by_w: log_slope.exp(), u_by_index, l_by_w: 2.0 * l_by_log_t / w, l_by_index }
    }
}

/// Prepared: m, s, e⁻ˢ, ξ below m, ξ above m.
impl<const N: usize> OverRows<N> for Tail<Wallace> {
    type Way = Axis;

    #[inline(always)]
    fn of_row(prepared: &Prepared<N>, row: usize) -> Axis {
        Axis::of_row(prepared, row)
    }

    #[inline(always)]
    fn prepare(raw: &[Column<N>], prepared: &mut Prepared<N>) {
        let [location, log_scale, below, above] = raw else { unreachable!("the parameters of one axis") };
        affine::prepare_rows([location, log_scale], prepared);
        let [_, _, _, own_below, own_above] = prepared;
        for row in 0..N {
            own_below[row] = MAX_INDEX * vector::softplus(below[row]).1;
            own_above[row] = MAX_INDEX * vector::softplus(above[row]).1;
        }
    }

    #[inline(always)]
    fn add_log_slopes(prepared: &Prepared<N>, x: &Column<N>, log_det: &mut Column<N>) {
        let [_, log_scale, ..] = prepared;
        for (row, log_det) in log_det.iter_mut().enumerate() {
            let axis = Axis::of_row(prepared, row);
            let Stretch { root, log } = Stretch::of(axis.square(axis.scaled(x[row])));
            // ∂z/∂a = a / (z (1 + ξ a²)).
            *log_det -= vector::ln(root) + log + log_scale[row];
        }
    }

    #[inline(always)]
    fn backward(
        prepared: &Prepared<N>,
        x: &Column<N>,
        by_log_det: f64,
        grad: &mut Column<N>,
        grad_raw: &mut [Column<N>],
    ) {
        let [grad_location, grad_scale_raw, grad_below_raw, grad_above_raw] = grad_raw else {
            unreachable!("the parameters of one axis")
        };
        for row in 0..N {
            let axis = Axis::of_row(prepared, row);
            let a = axis.scaled(x[row]);
            let t = axis.square(a);
            let Stretch { root, log } = Stretch::of(t);
            // As in `derivatives`, with what goes by log t: of z its half of the elasticity, of the log slope the rest. Where t is all but 0, so
            // are both.
            let elasticity = if t > SMALL { t / ((1.0 + t) * log) - 1.0 } else { small_elasticity(t) };
            let half = 0.5 * elasticity;
            let l_by_log_t = -half - t / (1.0 + t);
            let z_by_a = 1.0 / (root * (1.0 + t));
            let l_by_a = if a == 0.0 { 0.0 } else { 2.0 * l_by_log_t / a };
            let grad_a = grad[row] * z_by_a + by_log_det * l_by_a;
            let by_log_index = grad[row] * a * root * half + by_log_det * l_by_log_t;
            let index = if a >= 0.0 { axis.above } else { axis.below };
            let by_index_raw = by_log_index * (1.0 - index / MAX_INDEX);
            grad_below_raw[row] += if a >= 0.0 { 0.0 } else { by_index_raw };
            grad_above_raw[row] += if a >= 0.0 { by_index_raw } else { 0.0 };
            grad_scale_raw[row] -= (grad_a * a + by_log_det) * affine::log_scale_slope(prepared[1][row]);
            grad[row] = grad_a * axis.rate;
            grad_location[row] -= grad[row];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::normal;

    #[test]
    fn without_an_index_it_is_the_identity() {
        for w in [0.0, 1e-300, 0.3, 7.0, 1e9] {
            assert_eq!(Wallace.to_base(w, 0.0), (w, 0.0));
            assert_eq!(Wallace.to_data(w, 0.0), w);
        }
    }

    #[test]
    fn it_makes_student_t_nearly_normal() {
        // P(T > t) of three degrees of freedom is ½ − (atan(t/√3) + √3 t / (3 + t²)) / π.
        let survival = |t: f64| {
            let root = 3f64.sqrt();
            0.5 - ((t / root).atan() + root * t / (3.0 + t * t)) / std::f64::consts::PI
        };
        for t in [0.5, 2.0, 5.0, 20.0] {
            // Wallace's factor (8ν + 1) / (8ν + 3), which a scale on the data's side makes up for nearly.
            let (u, _) = Wallace.to_base(t, 1.0 / 3.0);
            let told = normal::log_sf(u * 25.0 / 27.0);
            assert!(
                (told - survival(t).ln()).abs() < 0.05 * survival(t).ln().abs(),
                "{t}: {told} {}",
                survival(t).ln()
            );
        }
    }

    #[test]
    fn the_series_meets_the_formula() {
        let t = SMALL;
        assert!((elasticity(t * (1.0 - 1e-15)) - (t / ((1.0 + t) * t.ln_1p()) - 1.0)).abs() < 1e-14);
    }
}

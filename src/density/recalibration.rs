//! A monotone map of normal scores: what makes the scores that outcomes have under a distribution standard normal calibrates it as a
//! whole.

use super::Side;
use crate::math::normal;

const NUM_KNOTS: usize = 7;
/// The calibrated score of the first knot; the others follow at a distance of 1.
const FIRST: f64 = -3.0;
/// Which of them is 0.
const MIDDLE: usize = 3;
/// The logarithm of a slope is within this, so that no row, wherever it comes from, has a slope that is 0 or infinite.
const MOST_LOG_SLOPE: f64 = 2.0;
/// How many parameters a map has: the score at 0, and the logarithm of the slope at each knot.
pub const NUM_PARAMS: usize = 1 + NUM_KNOTS;

/// The map from calibrated scores x to scores z, z(x) = z₀ + ∫₀ˣ s(t) dt: its slope s is linear between the knots −3, −2 … 3 and constant
/// beyond them.
///
/// So a tail of index ξ, whose quantiles grow like exp(½ ξ z²), gets the index ξ s². Parameters: z₀, then log s at each knot; all 0 it is
/// the identity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recalibration {
    slopes: [f64; NUM_KNOTS],
    scores: [f64; NUM_KNOTS],
}

/// A score's calibrated one, and how the map runs there.
struct Place {
    x: f64,
    slope: f64,
    /// d slope / dx.
    bend: f64,
}

impl Recalibration {
    /// The map of these parameters.
    #[must_use]
    pub fn new(params: [f64; NUM_PARAMS]) -> Self {
        let [at_zero, log_slopes @ ..] = params;
        let slopes = log_slopes.map(|log_slope| log_slope.clamp(-MOST_LOG_SLOPE, MOST_LOG_SLOPE).exp());
        let mut scores = [at_zero; NUM_KNOTS];
        for nth in MIDDLE + 1..NUM_KNOTS {
            scores[nth] = scores[nth - 1] + 0.5 * (slopes[nth - 1] + slopes[nth]);
        }
        for nth in (0..MIDDLE).rev() {
            scores[nth] = scores[nth + 1] - 0.5 * (slopes[nth] + slopes[nth + 1]);
        }
        Self { slopes, scores }
    }

    /// The score that belongs to a calibrated one.
    #[must_use]
    pub fn score(&self, x: f64) -> f64 {
        let from_first = x - FIRST;
        let last = NUM_KNOTS - 1;
        if from_first <= 0.0 {
            return self.scores[0] + self.slopes[0] * from_first;
        }
        if from_first >= last as f64 {
            return self.scores[last] + self.slopes[last] * (from_first - last as f64);
        }
        let nth = from_first as usize;
        let along = from_first - nth as f64;
        let bend = self.slopes[nth + 1] - self.slopes[nth];
        self.scores[nth] + (self.slopes[nth] + 0.5 * bend * along) * along
    }

    /// The calibrated score x of a score, and log dx/dz.
    #[must_use]
    pub fn calibrated(&self, z: f64) -> (f64, f64) {
        let Place { x, slope, .. } = self.place(z);
        (x, -slope.ln())
    }

    /// By how much a density at a score changes: log of φ(x) dx/dz over φ(z).
    #[must_use]
    pub fn log_ratio(&self, z: f64) -> f64 {
        let (x, log_slope) = self.calibrated(z);
        0.5 * (z - x) * (z + x) + log_slope
    }

    fn place(&self, z: f64) -> Place {
        let last = NUM_KNOTS - 1;
        let beyond = |nth: usize| Place {
            x: FIRST + nth as f64 + (z - self.scores[nth]) / self.slopes[nth],
            slope: self.slopes[nth],
            bend: 0.0,
        };
        if z <= self.scores[0] {
            return beyond(0);
        }
        if z >= self.scores[last] {
            return beyond(last);
        }
        let nth = self.scores[1..last].iter().filter(|&&score| score <= z).count();
        let (distance, slope) = (z - self.scores[nth], self.slopes[nth]);
        let bend = self.slopes[nth + 1] - slope;
        // ½ bend u² + slope u = distance.
        let end = (slope * slope + 2.0 * bend * distance).max(0.0).sqrt();
        Place { x: FIRST + nth as f64 + 2.0 * distance / (slope + end), slope: end, bend }
    }

    /// What the slope far out is, on this side.
    #[must_use]
    pub fn end_slope(&self, side: Side) -> f64 {
        match side {
            Side::Lower => self.slopes[0],
            Side::Upper => self.slopes[NUM_KNOTS - 1],
        }
    }

    /// ∂x / ∂ parameters where a score stays.
    fn grad_at(&self, place: &Place) -> [f64; NUM_PARAMS] {
        std::array::from_fn(|nth| {
            let moved = match nth.checked_sub(1) {
                None => 1.0,
                Some(knot) => self.slopes[knot] * (hat_integral(knot, place.x) - hat_integral(knot, 0.0)),
            };
            -moved / place.slope
        })
    }

    /// The log density of a score, log φ(x) + log dx/dz, in nats; writes its gradient in the parameters.
    pub fn log_density_grad(&self, z: f64, grad: &mut [f64; NUM_PARAMS]) -> f64 {
        let place = self.place(z);
        *grad = self.grad_at(&place);
        for (nth, grad) in grad.iter_mut().enumerate() {
            *grad *= -place.x - place.bend / place.slope;
            if let Some(knot) = nth.checked_sub(1) {
                *grad -= self.slopes[knot] * hat(knot, place.x) / place.slope;
            }
        }
        normal::log_pdf(place.x) - place.slope.ln()
    }

    /// The log probability of a score between two, in nats; writes its gradient in the parameters.
    pub fn log_mass_grad(&self, [low, high]: [f64; 2], grad: &mut [f64; NUM_PARAMS]) -> f64 {
        let [low, high] = [low, high].map(|z| self.place(z));
        let log_mass = normal::log_interval(low.x, high.x);
        let over_mass = |x: f64| (normal::log_pdf(x) - log_mass).exp();
        let (at_low, at_high) = (self.grad_at(&low), self.grad_at(&high));
        for ((grad, at_low), at_high) in grad.iter_mut().zip(at_low).zip(at_high) {
            // An end at infinity stays there.
            let part = |at: f64, x: f64| if x.is_finite() { at * over_mass(x) } else { 0.0 };
            *grad = part(at_high, high.x) - part(at_low, low.x);
        }
        log_mass
    }
}

/// How much of a slope is that of this knot: 1 there, 0 at its neighbours; of the first and the last also 1 beyond.
fn hat(knot: usize, x: f64) -> f64 {
    let off = x - FIRST - knot as f64;
    if is_beyond(knot, off) { 1.0 } else { (1.0 - off.abs()).max(0.0) }
}

/// ∫ hat up to x, less a constant.
fn hat_integral(knot: usize, x: f64) -> f64 {
    let off = x - FIRST - knot as f64;
    if is_beyond(knot, off) {
        return 0.5 + off;
    }
    let (near, sign) = (off.abs().min(1.0), off.signum());
    0.5 + sign * near * (1.0 - 0.5 * near)
}

fn is_beyond(knot: usize, off: f64) -> bool {
    (knot == 0 && off < 0.0) || (knot == NUM_KNOTS - 1 && off > 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params() -> impl Strategy<Value = [f64; NUM_PARAMS]> {
        prop::array::uniform8(-1.4..1.4)
    }

    proptest! {
        #[test]
        fn score_and_calibrated_score_are_inverse(params in params(), x in -30.0..30.0) {
            let map = Recalibration::new(params);
            let (back, log_slope) = map.calibrated(map.score(x));
            prop_assert!((back - x).abs() < 1e-11, "{back}");
            let h = 1e-5;
            let by_differences = (map.score(x + h) - map.score(x - h)) / (2.0 * h);
            prop_assert!((log_slope + by_differences.ln()).abs() < 1e-4);
        }

        #[test]
        fn gradients_are_those_of_differences(params in params(), z in -8.0..8.0, width in 0.01..9.0) {
            let mass = |params: [f64; NUM_PARAMS]| {
                let [low, high] = [z, z + width].map(|z| Recalibration::new(params).calibrated(z).0);
                normal::log_interval(low, high)
            };
            let density = |params: [f64; NUM_PARAMS]| {
                let (x, log_slope) = Recalibration::new(params).calibrated(z);
                normal::log_pdf(x) + log_slope
            };
            let map = Recalibration::new(params);
            let mut grads = [[0.0; NUM_PARAMS]; 2];
            prop_assert_eq!(map.log_density_grad(z, &mut grads[0]), density(params));
            prop_assert_eq!(map.log_mass_grad([z, z + width], &mut grads[1]), mass(params));
            let functions: [&dyn Fn([f64; NUM_PARAMS]) -> f64; 2] = [&density, &mass];
            for (of, grad) in functions.into_iter().zip(grads) {
                for nth in 0..NUM_PARAMS {
                    let h = 1e-5;
                    let moved = |by: f64| {
                        let mut moved = params;
                        moved[nth] += by;
                        of(moved)
                    };
                    let expected = (moved(h) - moved(-h)) / (2.0 * h);
                    let error = (grad[nth] - expected).abs() / (1.0 + expected.abs());
                    // At a knot the slope has a corner.
                    prop_assert!(error < 1e-3, "{nth}: {} {expected}", grad[nth]);
                }
            }
        }
    }

    #[test]
    fn without_parameters_it_is_the_identity() {
        let map = Recalibration::new([0.0; NUM_PARAMS]);
        for z in [f64::NEG_INFINITY, -40.0, -3.0, -0.3, 0.0, 1.7, 3.0, 100.0, f64::INFINITY] {
            let (x, log_slope) = map.calibrated(z);
            let is_z = |value: f64| value == z || (value - z).abs() < 1e-13;
            assert!(is_z(map.score(z)) && is_z(x) && log_slope.abs() < 1e-13, "{z}: {x} {log_slope}");
        }
    }

    #[test]
    fn of_an_interval_without_an_end_the_gradient_is_that_of_the_other_end() {
        let map = Recalibration::new([0.1, 0.2, -0.3, 0.1, 0.0, 0.2, 0.1, -0.2]);
        let (mut open, mut wide) = ([0.0; NUM_PARAMS], [0.0; NUM_PARAMS]);
        let log_mass = map.log_mass_grad([1.2, f64::INFINITY], &mut open);
        assert!((log_mass - map.log_mass_grad([1.2, 60.0], &mut wide)).abs() < 1e-12);
        assert!(open.iter().zip(wide).all(|(a, b)| (a - b).abs() < 1e-12), "{open:?} {wide:?}");
    }
}

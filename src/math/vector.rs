//! Elementary functions without branches, of which loops over slices become vector instructions.
//!
//! [`Loops::run`] compiles loops for the widest instructions that the machine has. Every function here is made of additions,
//! products, fused ones, quotients and roots alone, each of which is rounded in one way, so that results are the same bits whatever the
//! machine and wherever in a slice a value stands.

use std::f64::consts::LOG2_E;

/// Loops over slices, with all that they need. What they call has to be inlined, and so have they: mark [`Loops::call`] and the rest
/// `#[inline(always)]`; a closure can't be marked, and would be compiled for any machine.
pub trait Loops: Sized {
    /// Goes through the loops.
    fn call(self);

    /// The same with the widest vector instructions that there are.
    fn run(self) {
        pulp::Arch::new().dispatch(Widest(self));
    }
}

struct Widest<L>(L);

impl<L: Loops> pulp::NullaryFnOnce for Widest<L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.0.call();
    }
}

/// Adding it rounds to a whole number, which then stands in the last bits.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2⁵²
/// log 2 in two parts: products of the first with exponents are exact.
const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Above it eˣ is no number, …
const MOST: f64 = 709.782_712_893_384;
/// … and below it 0.
const LEAST: f64 = -745.2;
/// ½ log 2π.
pub(super) const HALF_LOG_TWO_PI: f64 = 0.918_938_533_204_672_8;
/// Intervals narrower than this have their probability from the density.
pub(super) const NARROW: f64 = 1e-4;
/// 1 / √2π.
pub(super) const FRAC_1_SQRT_TWO_PI: f64 = 0.398_942_280_401_432_7;

/// The polynomial with these coefficients, the constant's first: those of even and of odd powers each in a sum of their own, since a sum
/// waits for each of its terms.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, coefficients: &[f64; N]) -> f64 {
    let square = x * x;
    let (mut even, mut odd) = (0.0, 0.0);
    let mut nth = N;
    while nth > 0 {
        nth -= 1;
        let sum = if nth.is_multiple_of(2) { &mut even } else { &mut odd };
        *sum = f64::mul_add(*sum, square, coefficients[nth]);
    }
    f64::mul_add(odd, x, even)
}

/// 1 / (n + 2)! for n = 0 to 11.
const EXP: [f64; 12] = [
    0.5,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5_040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
    1.0 / 6_227_020_800.0,
];

/// eʳ − 1 with the whole n and the |r| ≤ ½ log 2 for which x = n log 2 + r, and n as its bits: for |x| < 2⁵⁰.
#[inline(always)]
fn reduced(x: f64) -> (f64, u64) {
    let shifted = f64::mul_add(x, LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = f64::mul_add(n, -LN_2_LOW, f64::mul_add(n, -LN_2_HIGH, x));
    // Taylor's series: the next term is below 1e-17.
    (f64::mul_add(polynomial(r, &EXP), r * r, r), shifted.to_bits())
}

/// 2ⁿ for −1022 ≤ n ≤ 1023, given as the last bits.
#[inline(always)]
fn power_of_two(n: u64) -> f64 {
    f64::from_bits(n.wrapping_add(1023) << 52)
}

/// eˣ; its relative error is below 3e-16, but for results below 1e-300.
#[inline(always)]
#[must_use]
pub fn exp(x: f64) -> f64 {
    let inside = if x > MOST { MOST } else { x };
    let inside = if inside < LEAST { LEAST } else { inside };
    let (less_one, n) = reduced(inside);
    // In two steps, since a result below 1e-308 has an exponent that 2ⁿ has not. The shift keeps the sign of the last 12 bits.
    let half = ((n << 52) as i64 >> 53) as u64;
    let scaled = (less_one + 1.0) * power_of_two(half) * power_of_two(n.wrapping_sub(half));
    if x > MOST { f64::INFINITY } else { scaled }
}

/// eˣ − 1; its relative error is below 5e-16.
#[inline(always)]
#[must_use]
pub fn exp_m1(x: f64) -> f64 {
    // From 37 on the 1 is not seen.
    let inside = if x > 600.0 { 600.0 } else { x };
    let inside = if inside < -600.0 { -600.0 } else { inside };
    let (less_one, n) = reduced(inside);
    let scale = power_of_two(n);
    let near = f64::mul_add(less_one, scale, scale - 1.0);
    if x > 600.0 { exp(x) } else { near }
}

/// 2 / (2 n + 3) for n = 0 to 9.
const LN: [f64; 10] = [
    2.0 / 3.0,
    2.0 / 5.0,
    2.0 / 7.0,
    2.0 / 9.0,
    2.0 / 11.0,
    2.0 / 13.0,
    2.0 / 15.0,
    2.0 / 17.0,
    2.0 / 19.0,
    2.0 / 21.0,
];
/// The bits of √½.
const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
/// The bits of 2⁵², to which a whole number can be added as bits.
const TWO_52: u64 = 0x4330_0000_0000_0000;

/// log x of a number x ≥ 1e-307, and of ∞; its relative error is below 4e-16. Of anything else the result says nothing.
#[inline(always)]
#[must_use]
pub fn ln(x: f64) -> f64 {
    // x = 2ᵏ m with √½ ≤ m < √2.
    let above = x.to_bits().wrapping_sub(SQRT_HALF);
    let biased = above.wrapping_add(1023 << 52) >> 52;
    let k = f64::from_bits(biased | TWO_52) - 4_503_599_627_371_519.0; // 2⁵² + 1023
    let m = f64::from_bits((above & ((1 << 52) - 1)).wrapping_add(SQRT_HALF));
    // log m = 2 artanh s with s = f / (2 + f), as s f + (f − s f) − …: the next term is below 1e-17.
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let square = s * s;
    let rest = square * polynomial(square, &LN);
    let half_square = 0.5 * f * f;
    let low = f64::mul_add(s, half_square + rest, k * LN_2_LOW);
    let log = f64::mul_add(k, LN_2_HIGH, f - (half_square - low));
    if x == f64::INFINITY { x } else { log }
}

/// log(1 + x) for x ≥ −0.999; its relative error is below 5e-16, and above −½ for x < 0 below 2e-15.
#[inline(always)]
#[must_use]
pub fn ln_1p(x: f64) -> f64 {
    let u = 1.0 + x;
    // What rounding has left of x out of u.
    let left = x - (u - 1.0);
    if x == f64::INFINITY { x } else { ln(u) + left / u }
}

/// log(1 + eˣ), and its slope 1 / (1 + e⁻ˣ); their relative errors are below 1e-15.
#[inline(always)]
#[must_use]
pub fn softplus(x: f64) -> (f64, f64) {
    let e = exp(-x.abs());
    let share = 1.0 / (1.0 + e);
    (if x > 0.0 { x } else { 0.0 } + ln_1p(e), if x > 0.0 { share } else { e * share })
}

/// e⁻ˣ, in a way that shares its exponential with [`softplus`]; its relative error is below 5e-16 for |x| ≤ 700.
#[inline(always)]
#[must_use]
pub fn shrink(x: f64) -> f64 {
    let e = exp(-x.abs());
    if x > 0.0 { e } else { 1.0 / e }
}

/// tanh x; its relative error is below 1e-15.
#[inline(always)]
#[must_use]
pub fn tanh(x: f64) -> f64 {
    // Beyond 20 it is 1.
    let size = if x.abs() > 20.0 { 20.0 } else { x.abs() };
    let e = exp_m1(2.0 * size);
    (e / (e + 2.0)).copysign(x)
}

/// Of (z + 4) times Mills' ratio in powers of y = (z − 4) / (z + 4); `tests/golden/mills.py` finds them.
const MILLS: [f64; 23] = [
    1.8932190633084853,
    -1.523770910819985,
    0.9704095548676177,
    -0.46754096299818737,
    0.1513917623110474,
    -0.018900450865484503,
    -0.008722295248200037,
    0.0040878557264789955,
    0.0003342443649391365,
    -0.0005792696065073663,
    -4.781834677436329e-06,
    8.809696060211897e-05,
    1.7912419621396938e-06,
    -1.4846493010422612e-05,
    -1.5665301434775512e-06,
    2.5742673078165543e-06,
    6.635890483495518e-07,
    -4.0665439602468896e-07,
    -1.974812079272745e-07,
    4.905373509241055e-08,
    4.0274966446679236e-08,
    -3.2015537235375595e-09,
    -4.232837128668023e-09,
];

/// Mills' ratio (1 − Φ(z)) / φ(z) for z ≥ 0; its relative error is below 2e-15.
#[inline(always)]
#[must_use]
pub fn mills(z: f64) -> f64 {
    let q = 1.0 / (z + 4.0);
    let y = f64::mul_add(-8.0, q, 1.0);
    polynomial(y, &MILLS) * q
}

/// P(Z > z) of a standard normal Z; its relative error is below 5e-15, but for results below 1e-300.
#[inline(always)]
#[must_use]
pub fn normal_sf(z: f64) -> f64 {
    let side = density(z) * mills(z.abs());
    if z < 0.0 { 1.0 - side } else { side }
}

/// The standard normal's density.
#[inline(always)]
#[must_use]
pub fn density(z: f64) -> f64 {
    // exp magnifies an error of its argument as it stands, so the square's rounding is carried along.
    let square = z * z;
    let rounding = f64::mul_add(z, z, -square);
    let falls = exp(-0.5 * square) * FRAC_1_SQRT_TWO_PI;
    if square > 1e4 { 0.0 } else { f64::mul_add(falls, -0.5 * rounding, falls) }
}

/// log(Φ(b) − Φ(a)) for finite a < b; its error is below 1e-11, beside itself where it is below −1: far less than what rounding the
/// parameters to single precision makes of it. [`log_interval`](super::normal::log_interval) is right to the last digits.
#[inline(always)]
#[must_use]
pub fn log_interval(a: f64, b: f64) -> f64 {
    // In the upper half it is mirrored, where both are small.
    let (low, high) = if a > 0.0 { (-b, -a) } else { (a, b) };
    let (width, middle) = (high - low, 0.5 * (low + high));
    let across = 0.5 * middle * width;
    let is_narrow = (width < NARROW) & (across.abs() < NARROW);
    let [of_low, of_high] = [mills(low.abs()), mills(high.abs())];
    // Φ(low) / φ(high), and what lies outside of an interval with 0 in it.
    let below = exp(width * middle) * of_low;
    let outside = density(low) * of_low + density(high) * of_high;
    let curved = across * across / 6.0 - width * width / 24.0;
    let (factor, square, more) = if is_narrow {
        (width, middle * middle, curved)
    } else if high > 0.0 {
        (1.0 - outside, -2.0 * HALF_LOG_TWO_PI, 0.0)
    } else {
        (of_high - below, high * high, 0.0)
    };
    if a < b { ln(factor) - 0.5 * square - HALF_LOG_TWO_PI + more } else { f64::NEG_INFINITY }
}

/// Replaces each z by P(Z > z) of a standard normal Z, as [`normal_sf`] does.
pub struct NormalSf<'a>(pub &'a mut [f64]);

impl Loops for NormalSf<'_> {
    #[inline(always)]
    fn call(self) {
        for z in self.0 {
            *z = normal_sf(*z);
        }
    }
}

/// Replaces each z by P(Z > z) of a standard normal Z, and multiplies the other number by its density there.
pub struct NormalSfAndDensity<'a>(pub &'a mut [f64], pub &'a mut [f64]);

impl Loops for NormalSfAndDensity<'_> {
    #[inline(always)]
    fn call(self) {
        for (z, density_of_z) in self.0.iter_mut().zip(self.1) {
            *density_of_z *= density(*z);
            *z = normal_sf(*z);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::{normal, scalar};

    /// Numbers of all sizes that are tried.
    fn numbers(least: f64, most: f64) -> impl Iterator<Item = f64> {
        const NUM: usize = 200_003;
        (0..NUM).map(move |n| least + (most - least) * n as f64 / NUM as f64)
    }

    /// The worst relative error against a function that is right to half a unit or so in the last place.
    fn worst(
        xs: impl Iterator<Item = f64>,
        f: impl Fn(f64) -> f64,
        right: impl Fn(f64) -> f64,
    ) -> (f64, f64) {
        let error = |x: f64| {
            let (told, right) = (f(x), right(x));
            if told == right { 0.0 } else { ((told - right) / right).abs() }
        };
        xs.map(|x| (error(x), x))
            .fold((0.0, 0.0), |worst, at| if at.0 > worst.0 || at.0.is_nan() { at } else { worst })
    }

    /// Laplace's continued fraction 1 / (z + 1 / (z + 2 / (z + 3 / …))), from the inside out, for z ≥ 5.
    fn mills_by_fraction(z: f64) -> f64 {
        1.0 / (1..=64).rev().fold(z, |below, k| z + f64::from(k) / below)
    }

    #[test]
    fn elementary_functions_are_as_near_as_they_say() {
        let small = || (0..2_000).map(|n| 10f64.powf(-20.0 + n as f64 / 100.0));
        for (name, (error, x), most) in [
            ("exp", worst(numbers(-690.0, 709.7), exp, f64::exp), 3e-16),
            ("exp, near 0", worst(numbers(-1.0, 1.0), exp, f64::exp), 3e-16),
            ("exp_m1", worst(numbers(-50.0, 709.0), exp_m1, f64::exp_m1), 5e-16),
            ("exp_m1, near 0", worst(numbers(-1.5, 1.5).chain(small()), exp_m1, f64::exp_m1), 5e-16),
            ("ln", worst(numbers(1e-3, 1e3), ln, f64::ln), 3e-16),
            ("ln, near 1", worst(numbers(0.5, 2.0), ln, f64::ln), 4e-16),
            ("ln, of all sizes", worst(numbers(-700.0, 709.0).map(f64::exp), ln, f64::ln), 3e-16),
            ("ln_1p", worst(numbers(0.0, 30.0).chain(small()), ln_1p, f64::ln_1p), 5e-16),
            ("ln_1p, far out", worst(numbers(0.0, 460.0).map(f64::exp), ln_1p, f64::ln_1p), 5e-16),
            ("ln_1p, below 0", worst(numbers(-0.999, 0.0), ln_1p, f64::ln_1p), 2e-15),
            ("softplus", worst(numbers(-700.0, 50.0), |x| softplus(x).0, scalar::softplus), 1e-15),
            ("its slope", worst(numbers(-700.0, 50.0), |x| softplus(x).1, scalar::sigmoid), 1e-15),
            ("shrink", worst(numbers(-700.0, 690.0), shrink, |x| f64::exp(-x)), 5e-16),
            ("tanh", worst(numbers(-25.0, 25.0).chain(small()), tanh, f64::tanh), 1e-15),
            ("mills", worst(numbers(5.0, 200.0), mills, mills_by_fraction), 2e-15),
            ("normal_sf", worst(numbers(-8.0, 37.0), normal_sf, |z| normal::cdf(-z)), 5e-15),
            ("density", worst(numbers(-30.0, 30.0), density, |z| normal::log_pdf(z).exp()), 2e-13),
        ] {
            println!("{name}: {error:.1e} at {x}");
            assert!(error <= most, "{name}: {error:.1e} at {x}");
        }
    }

    #[test]
    fn what_lies_at_the_ends_is_as_it_should_be() {
        assert_eq!([exp(f64::NEG_INFINITY), exp(-800.0), exp(0.0)], [0.0, 0.0, 1.0]);
        assert_eq!([exp(710.0), exp(f64::INFINITY)], [f64::INFINITY; 2]);
        assert!((exp(-735.0) / (-735f64).exp() - 1.0).abs() < 1e-3, "what is left of a number below 1e-308");
        assert_eq!(
            [exp_m1(f64::NEG_INFINITY), exp_m1(0.0), exp_m1(f64::INFINITY)],
            [-1.0, 0.0, f64::INFINITY]
        );
        assert_eq!([ln(1.0), ln(f64::INFINITY)], [0.0, f64::INFINITY]);
        assert_eq!([ln_1p(0.0), ln_1p(1e-300), ln_1p(f64::INFINITY)], [0.0, 1e-300, f64::INFINITY]);
        assert_eq!([normal_sf(f64::INFINITY), normal_sf(f64::NEG_INFINITY)], [0.0, 1.0]);
        assert!((normal_sf(0.0) - 0.5).abs() < 2e-16);
        assert!(exp(f64::NAN).is_nan() && normal_sf(f64::NAN).is_nan());
    }

    #[test]
    fn intervals_are_near_those_that_are_right_to_the_last_digits() {
        let mut worst = 0f64;
        for low in numbers(-45.0, 45.0).step_by(97) {
            for width in [1e-9, 1e-6, 9.9e-5, 1.01e-4, 1e-3, 0.1, 1.0, 10.0, 60.0] {
                let (told, right) = (log_interval(low, low + width), normal::log_interval(low, low + width));
                worst = worst.max((told - right).abs() / right.abs().max(1.0));
            }
        }
        println!("{worst:.1e}");
        assert!(worst < 1e-11, "{worst:.1e}");
        assert_eq!(log_interval(1.0, 1.0), f64::NEG_INFINITY);
        assert!(log_interval(f64::NAN, 1.0).is_infinite(), "no interval");
    }

    #[test]
    fn a_result_does_not_depend_on_where_in_a_slice_its_value_stands() {
        let values: Vec<f64> = numbers(-6.0, 6.0).step_by(200).collect();
        let all = |values: &[f64]| {
            let mut values = values.to_vec();
            NormalSf(&mut values).run();
            values
        };
        let together = all(&values);
        for (nth, value) in values.iter().enumerate() {
            assert_eq!(all(&[*value])[0].to_bits(), together[nth].to_bits(), "{value}");
            assert_eq!(normal_sf(*value).to_bits(), together[nth].to_bits(), "{value}");
        }
    }
}

//! Elementary functions in single precision, written so that loops over them vectorise ([`Loops`](super::vector::Loops)). NaN stays
//! NaN.

/// eˣ − 1, right to some units in the last place, for |x| ≤ 80.
#[inline(always)]
fn exp_m1(x: f32) -> f32 {
    // Adding it leaves no bits of a small number but those of the nearest integer, at the mantissa's end.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = f32::mul_add(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = f32::mul_add(n, -LN_2_LOW, f32::mul_add(n, -LN_2_HIGH, x));
    // eʳ − 1 by its series, |r| ≤ ½ log 2: the next term is below 1e-8 of it.
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0] {
        sum = f32::mul_add(sum, r, coefficient);
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
    f32::mul_add(power, sum * r, power - 1.0)
}

/// tanh x.
#[inline(always)]
#[must_use]
pub fn tanh(x: f32) -> f32 {
    // From here on it is 1.
    const FAR: f32 = 10.0;
    let size = x.abs();
    let size = if size > FAR { FAR } else { size };
    let fall = exp_m1(-2.0 * size);
    (-fall / (2.0 + fall)).copysign(x)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    const FAR: f32 = 80.0;
    let x = if x > FAR { FAR } else { x };
    let x = if x < -FAR { -FAR } else { x };
    1.0 / (2.0 + exp_m1(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From −90 to 90, and towards 0.
    fn numbers() -> impl Iterator<Item = f32> {
        let wide = (-90_000..=90_000).map(|i| i as f32 / 1000.0);
        wide.chain((0..40).flat_map(|i| [0.37f32.powi(i), -(0.37f32.powi(i))]))
    }

    #[test]
    fn both_are_right_to_some_units_in_the_last_place() {
        for x in numbers() {
            let exact = f64::from(x);
            for (told, expected) in
                [(tanh(x), exact.tanh()), (sigmoid(x), 1.0 / (1.0 + (-exact).clamp(-80.0, 80.0).exp()))]
            {
                assert!(
                    (f64::from(told) - expected).abs() <= 5e-7 * expected.abs(),
                    "{x}: {told} {expected}"
                );
            }
        }
    }

    #[test]
    fn the_ends_are_met_and_nan_stays_nan() {
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!((0.0..1e-30).contains(&sigmoid(f32::NEG_INFINITY)));
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
        assert_eq!(tanh(0.0), 0.0);
    }
}

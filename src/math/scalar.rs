//! Elementary functions written so that they neither overflow nor cancel.

use std::f64::consts::{LN_2, TAU};

/// log(1 + eˣ): the smooth, positive rectifier.
#[must_use]
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The x at which [`softplus`] is `y` > 0.
#[must_use]
pub fn softplus_inverse(y: f64) -> f64 {
    y + (-(-y).exp_m1()).ln()
}

/// 1 / (1 + e⁻ˣ), the derivative of [`softplus`].
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// sech² x = 1 − tanh² x, the derivative of tanh, to full relative precision far from 0.
#[must_use]
pub fn sech_squared(x: f64) -> f64 {
    let e = (-2.0 * x.abs()).exp();
    4.0 * e / ((1.0 + e) * (1.0 + e))
}

/// Sine and cosine of a share 0 ≤ s ≤ 1 of a full turn, to 1e-11: enough for numbers in single precision, and in half the time.
#[must_use]
pub fn sin_cos_of_turn(share: f64) -> (f64, f64) {
    // So many quarters, and no more than an eighth to either side.
    let quarters = (4.0 * share + 0.5) as u8;
    let x = TAU * (share - 0.25 * f64::from(quarters));
    let square = x * x;
    // Taylor's series.
    let series = |coefficients: &[f64]| coefficients.iter().rev().fold(0.0, |sum, c| sum * square + c);
    let sine = x + x
        * square
        * series(&[-1.0 / 6.0, 1.0 / 120.0, -1.0 / 5_040.0, 1.0 / 362_880.0, -1.0 / 39_916_800.0]);
    let of_cosine = [-0.5, 1.0 / 24.0, -1.0 / 720.0, 1.0 / 40_320.0, -1.0 / 3_628_800.0, 1.0 / 479_001_600.0];
    let cosine = 1.0 + square * series(&of_cosine);
    match quarters {
        1 => (cosine, -sine),
        2 => (-sine, -cosine),
        3 => (-cosine, sine),
        _ => (sine, cosine),
    }
}

/// log Σ eˣ; −∞ of nothing.
#[must_use]
pub fn log_sum_exp(values: &[f64]) -> f64 {
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    highest + values.iter().map(|value| (value - highest).exp()).sum::<f64>().ln()
}

/// log(1 − eˣ) for x ≤ 0: the log of a complementary probability.
#[must_use]
pub fn log_1m_exp(x: f64) -> f64 {
    // Maechler's switch: each form is used where it does not cancel.
    if x > -LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}

/// Lambert's W on the half-line: the w ≥ 0 with w eʷ = t ≥ 0.
///
/// Start and iteration are those of Iacono & Boyd 2017, "New approximations to the principal real-valued branch of the Lambert
/// W-function", equations 12 and 28.
#[must_use]
pub fn lambert_w(t: f64) -> f64 {
    if t == 0.0 || !t.is_finite() {
        return t;
    }
    let log = t.ln_1p();
    let mut w = log * (1.0 - log.ln_1p() / (2.0 + log));
    for _ in 0..4 {
        w *= (1.0 + (t / w).ln()) / (1.0 + w);
    }
    w
}

/// Lambert's W at t = eˡ for l ≥ 1, where t itself may overflow.
#[must_use]
pub fn lambert_w_of_exp(log: f64) -> f64 {
    let mut w = (log - log.ln()).max(0.5);
    for _ in 0..6 {
        // Newton's method on w + log w.
        w -= (w + w.ln() - log) * w / (1.0 + w);
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_cosine_of_a_turn_are_right_to_11_digits() {
        for nth in 0..=100_000 {
            let share = f64::from(nth) / 100_000.0;
            let (sine, cosine) = sin_cos_of_turn(share);
            let (expected_sine, expected_cosine) = (TAU * share).sin_cos();
            assert!(
                (sine - expected_sine).abs() < 1e-11 && (cosine - expected_cosine).abs() < 1e-11,
                "{share}: {sine} {cosine}"
            );
        }
    }

    #[test]
    fn lambert_w_is_the_same_by_the_logarithm() {
        for log in [1.0, 2.0, 10.0, 300.0, 700.0] {
            let (direct, by_log) = (lambert_w(f64::exp(log)), lambert_w_of_exp(log));
            assert!((by_log / direct - 1.0).abs() < 1e-13, "{log}: {direct} {by_log}");
        }
        assert!((lambert_w_of_exp(1e5) + lambert_w_of_exp(1e5).ln() - 1e5).abs() < 1e-10);
    }

    #[test]
    fn lambert_w_solves_its_equation() {
        for exponent in -3000..=3000 {
            let t = (f64::from(exponent) / 10.0 * std::f64::consts::LN_10).exp();
            let w = lambert_w(t);
            // Relatively, an error of w is one of (1 + w) times as much of w eʷ.
            let off = (w.ln() + w - t.ln()).abs() / (1.0 + w);
            assert!(off < 3e-16 * (1.0 + t.ln().abs()), "{t:e}: {w:e} is off by {off:e}");
        }
        assert_eq!((lambert_w(0.0), lambert_w(std::f64::consts::E)), (0.0, 1.0));
    }

    #[test]
    fn softplus_keeps_its_precision_at_both_ends() {
        assert_eq!(softplus(800.0), 800.0);
        assert_eq!(softplus(-800.0), 0.0);
        assert!((softplus(-700.0) / (-700f64).exp() - 1.0).abs() < 1e-15);
        assert_eq!(softplus(0.0), LN_2);
    }

    #[test]
    fn softplus_inverse_undoes_softplus() {
        for x in [-30.0, -2.0, 0.0, 0.5, 3.0, 50.0] {
            assert!((softplus_inverse(softplus(x)) - x).abs() < 1e-13 * x.abs().max(1.0), "at {x}");
        }
    }

    #[test]
    fn sigmoid_and_sech_are_finite_everywhere() {
        for x in [-1e300, -1e3, -1.0, 0.0, 1.0, 1e3, 1e300] {
            assert!((0.0..=1.0).contains(&sigmoid(x)) && (0.0..=1.0).contains(&sech_squared(x)));
        }
        assert!((sigmoid(1.0) - 0.731_058_578_630_004_9).abs() < 1e-16);
        assert!((sech_squared(-1.0) - 0.419_974_341_614_026_1).abs() < 1e-16);
    }

    #[test]
    fn log_1m_exp_is_right_near_zero_and_far_from_it() {
        assert!((log_1m_exp(-1e-20) - 1e-20f64.ln()).abs() < 1e-13);
        assert!((log_1m_exp(-50.0) / -(-50f64).exp() - 1.0).abs() < 1e-15);
        assert!((log_1m_exp(-LN_2) + LN_2).abs() < 1e-16);
    }
}

//! The standard normal distribution in log space, right in the far tail, where probabilities underflow.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2};

use super::{
    scalar::log_1m_exp,
    vector::{FRAC_1_SQRT_TWO_PI, HALF_LOG_TWO_PI, NARROW, mills},
};

/// Beyond this many standard deviations the tail comes from Mills' ratio: `erfc` would magnify the rounding of its
/// argument by z².
const FAR: f64 = 5.0;

/// Log density, in nats; to be inlined into loops, too.
#[inline(always)]
#[must_use]
pub fn log_pdf(z: f64) -> f64 {
    -0.5 * z * z - HALF_LOG_TWO_PI
}

/// Distribution function Φ(z). It underflows below z ≈ −38; [`log_cdf`] does not.
#[must_use]
pub fn cdf(z: f64) -> f64 {
    if z > -FAR {
        return 0.5 * libm::erfc(-z * FRAC_1_SQRT_2);
    }
    // exp magnifies an error of its argument as it stands, so the square's rounding is carried along.
    let square = z * z;
    let rounding = z.mul_add(z, -square);
    if square == f64::INFINITY {
        return 0.0;
    }
    (-0.5 * square).exp() * (1.0 - 0.5 * rounding) * FRAC_1_SQRT_TWO_PI * mills(-z)
}

/// log Φ(z), in nats.
#[must_use]
pub fn log_cdf(z: f64) -> f64 {
    if z > 0.0 {
        (-cdf(-z)).ln_1p()
    } else if z > -FAR {
        cdf(z).ln()
    } else {
        log_pdf(z) + mills(-z).ln()
    }
}

/// log(1 − Φ(z)), in nats.
#[must_use]
pub fn log_sf(z: f64) -> f64 {
    log_cdf(-z)
}

/// The z with Φ(z) = `p`; −∞ at 0, ∞ at 1, NaN outside [0, 1].
#[must_use]
pub fn quantile(p: f64) -> f64 {
    if p < 0.5 { quantile_of_log_cdf(p.ln()) } else { quantile_of_log_sf((-p).ln_1p()) }
}

/// The z with log Φ(z) = `log_cdf`; NaN for a positive argument.
#[must_use]
pub fn quantile_of_log_cdf(log_cdf: f64) -> f64 {
    -quantile_of_log_sf(log_cdf)
}

/// The z with log(1 − Φ(z)) = `log_sf`; NaN for a positive argument.
#[must_use]
pub fn quantile_of_log_sf(log_sf: f64) -> f64 {
    if log_sf.is_nan() || log_sf > 0.0 {
        f64::NAN
    } else if log_sf > -LN_2 {
        -upper_quantile(log_1m_exp(log_sf))
    } else {
        upper_quantile(log_sf)
    }
}

/// log[Φ(b) − Φ(a)] for a < b, either of them perhaps infinite, in nats.
#[must_use]
pub fn log_interval(a: f64, b: f64) -> f64 {
    if a >= b {
        return f64::NEG_INFINITY; // an interval that rounding has left nothing of
    }
    // In the upper half it is mirrored, where both are small.
    let (a, b) = if a > 0.0 { (-b, -a) } else { (a, b) };
    let (width, middle) = (b - a, 0.5 * (a + b));
    let across = 0.5 * middle * width;
    if width < NARROW && across.abs() < NARROW {
        // The density at the middle, and what its curvature adds: the next terms are of the fourth order.
        return log_pdf(middle) + width.ln() + (across * across / 6.0 - width * width / 24.0).ln_1p();
    }
    if b > 0.0 {
        return (-(cdf(a) + cdf(-b))).ln_1p();
    }
    let log_cdf_b = log_cdf(b);
    log_cdf_b + log_1m_exp(log_cdf(a) - log_cdf_b)
}

/// The hazard rate φ(z) / (1 − Φ(z)).
#[must_use]
pub fn hazard(z: f64) -> f64 {
    if z < FAR { log_pdf(z).exp() / cdf(-z) } else { mills(z).recip() }
}

/// log P(|Z| > z) for z ≥ 0, in nats.
#[must_use]
pub fn log_excess(z: f64) -> f64 {
    if z < 1.0 { (-libm::erf(z * FRAC_1_SQRT_2)).ln_1p() } else { LN_2 + log_sf(z) }
}

/// The z ≥ 0 with log P(|Z| > z) = `log_excess`, to full relative precision near 0 too; NaN for a positive argument.
#[must_use]
pub fn quantile_of_log_excess(log_excess: f64) -> f64 {
    if log_excess.is_nan() || log_excess > 0.0 {
        return f64::NAN;
    }
    if log_excess <= -LN_2 {
        return quantile_of_log_sf(log_excess - LN_2);
    }
    // P(|Z| ≤ z), which is all but linear: Newton's method from its slope at 0, a tenth off at most.
    let within = -log_excess.exp_m1();
    let mut z = within / (2.0 * FRAC_1_SQRT_TWO_PI);
    for _ in 0..5 {
        z += (within - libm::erf(z * FRAC_1_SQRT_2)) / (2.0 * log_pdf(z).exp());
    }
    z
}

/// The z ≥ 0 with log(1 − Φ(z)) = `target` ≤ −log 2.
fn upper_quantile(target: f64) -> f64 {
    if target == f64::NEG_INFINITY {
        return f64::INFINITY;
    }
    // Hastings' rational approximation (Abramowitz & Stegun 26.2.23), off by less than 5e-4 …
    let u = (-2.0 * target).sqrt();
    let numerator = 2.515_517 + u * (0.802_853 + u * 0.010_328);
    let denominator = 1.0 + u * (1.432_788 + u * (0.189_269 + u * 0.001_308));
    let mut z = (u - numerator / denominator).max(0.0);
    // … and Newton's method in log space, where the function is all but a parabola.
    for _ in 0..3 {
        let log_sf = log_sf(z);
        let inverse_hazard = if z < FAR { (log_sf - log_pdf(z)).exp() } else { mills(z) };
        z += (log_sf - target) * inverse_hazard;
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (function, argument, value) rows; `tests/golden/normal.py` writes them.
    fn golden() -> Vec<(&'static str, f64, f64)> {
        include_str!("../../tests/golden/normal.csv")
            .lines()
            .skip(1)
            .map(|line| {
                let mut fields = line.split(',');
                let mut next = || fields.next().expect("three fields a line");
                (next(), next().parse().expect("a number"), next().parse().expect("a number"))
            })
            .collect()
    }

    #[test]
    fn golden_values_are_met() {
        let rows = golden();
        assert!(rows.len() > 400, "{} rows", rows.len());
        for (function, argument, expected) in rows {
            let (actual, tolerance) = match function {
                "log_pdf" => (log_pdf(argument), 1e-13),
                "cdf" => (cdf(argument), 1e-13),
                "log_cdf" => (log_cdf(argument), 1e-13),
                "log_sf" => (log_sf(argument), 1e-13),
                "quantile" => (quantile(argument), 1e-12),
                "quantile_of_log_cdf" => (quantile_of_log_cdf(argument), 1e-12),
                "quantile_of_log_sf" => (quantile_of_log_sf(argument), 1e-12),
                other => panic!("an unknown function {other}"),
            };
            let absolute = if function.starts_with("quantile") { 1e-15 } else { 0.0 };
            assert!(
                (actual - expected).abs() <= tolerance * expected.abs() + absolute,
                "{function}({argument:e}) = {actual:e}, expected {expected:e}"
            );
        }
    }

    #[test]
    fn quantiles_meet_the_probability_they_were_asked_for() {
        for i in -1200..=1200 {
            let log_sf_target = -(f64::from(i) / 100.0 * std::f64::consts::LN_10).exp();
            let z = quantile_of_log_sf(log_sf_target);
            let error = (log_sf(z) - log_sf_target).abs();
            assert!(error <= 1e-12 * log_sf_target.abs().max(1.0), "{log_sf_target:e}: off by {error:e}");
            assert_eq!(quantile_of_log_cdf(log_sf_target), -z);
        }
    }

    #[test]
    fn the_excess_of_a_quantile_is_what_was_asked_for_near_zero_and_far_from_it() {
        for i in -1500..=1000 {
            let target = -(f64::from(i) / 100.0 * std::f64::consts::LN_10).exp();
            let z = quantile_of_log_excess(target);
            let error = (log_excess(z) - target).abs();
            assert!(error <= 2e-15 * target.abs(), "{target:e}: {z:e} is off by {error:e}");
        }
        assert_eq!(
            (quantile_of_log_excess(0.0), quantile_of_log_excess(f64::NEG_INFINITY)),
            (0.0, f64::INFINITY)
        );
        assert!(quantile_of_log_excess(0.1).is_nan() && quantile_of_log_excess(f64::NAN).is_nan());
    }

    #[test]
    fn an_interval_has_the_probability_between_its_ends() {
        for middle in [-40.0f64, -8.0, -3.0, -0.5, 0.0, 0.7, 4.0, 12.0, 30.0] {
            // Where the formulas change, they agree: at the width NARROW, or where the middle times it is large.
            let seam = NARROW.min(2.0 * NARROW / f64::max(middle.abs(), 1e-9));
            let at = |width: f64| log_interval(middle - 0.5 * width, middle + 0.5 * width) - width.ln();
            let (narrow, wide) = (at(seam * 0.999), at(seam * 1.001));
            let tolerance = 1e-9 + 1e-15 * middle * middle / seam;
            assert!((narrow - wide).abs() < tolerance, "{middle}: {narrow} {wide}");
            // By Simpson's rule, which is exact enough at this width.
            for width in [1e-9, 1e-3, 0.1] {
                let at = |share: f64| (log_pdf(middle + share * width) - log_pdf(middle)).exp();
                let mean = (at(0.0) + 4.0 * at(0.25) + 2.0 * at(0.5) + 4.0 * at(0.75) + at(1.0)) / 12.0;
                let expected = log_pdf(middle) + width.ln() + mean.ln();
                let told = log_interval(middle, middle + width);
                // Of a tiny width the ends' own rounding is a part.
                let tolerance = 1e-16 * middle.abs() / width
                    + 1e-4 * f64::max(width * middle.abs(), width).powi(4)
                    + 1e-11;
                assert!((told - expected).abs() < tolerance, "{middle} + {width}: {told} {expected}");
            }
        }
        for z in [-50.0, -3.0, 0.0, 2.0, 50.0] {
            assert!((log_interval(f64::NEG_INFINITY, z) - log_cdf(z)).abs() <= 1e-15 * log_cdf(z).abs());
            assert!((log_interval(z, f64::INFINITY) - log_sf(z)).abs() <= 1e-15 * log_sf(z).abs());
        }
        assert_eq!(log_interval(1.0, 1.0), f64::NEG_INFINITY);
    }

    #[test]
    fn the_hazard_is_the_slope_of_the_survival_s_logarithm() {
        for z in [-30.0, -1.0, 0.0, 0.5, 4.99, 5.01, 49.0, 51.0, 1e4] {
            let h = 1e-5 * f64::max(z, 1.0);
            let numeric = (log_sf(z - h) - log_sf(z + h)) / (2.0 * h);
            assert!(
                (hazard(z) - numeric).abs() < 1e-6 * numeric.abs().max(1e-3),
                "{z}: {} {numeric}",
                hazard(z)
            );
        }
    }

    #[test]
    fn the_branches_meet_without_a_step() {
        for z in [FAR, 50.0] {
            let (before, after) = (log_sf(z * (1.0 - 1e-15)), log_sf(z * (1.0 + 1e-15)));
            assert!(before >= after && before - after < 1e-14 * z * z, "at {z}: {before:e} {after:e}");
        }
    }

    #[test]
    fn the_ends_are_infinite_and_nonsense_is_nan() {
        assert_eq!(quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(quantile(1.0), f64::INFINITY);
        assert_eq!(quantile(0.5), 0.0);
        assert_eq!((cdf(-1e200), cdf(1e200), cdf(f64::NEG_INFINITY)), (0.0, 1.0, 0.0));
        assert_eq!((log_cdf(f64::NEG_INFINITY), log_cdf(f64::INFINITY)), (f64::NEG_INFINITY, 0.0));
        for z in [quantile(-0.1), quantile(1.1), quantile(f64::NAN), cdf(f64::NAN), log_sf(f64::NAN)] {
            assert!(z.is_nan());
        }
    }
}

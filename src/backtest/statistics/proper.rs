//! Scores that are best for the truth, all of them losses: lower is better.

use crate::math::quadrature::gauss_legendre;

/// Points on each piece of an integral.
const POINTS: usize = 28;

/// The loss of a quantile `q` of level `p`, in the target's unit: (y − q)(p − 1{y < q}).
#[must_use]
pub fn pinball(y: f64, q: f64, p: f64) -> f64 {
    (y - q) * if y < q { p - 1.0 } else { p }
}

/// The loss of a probability: its squared distance from 1 if the event has happened, and from 0 if not (Brier 1950).
#[must_use]
pub fn brier(p: f64, happened: bool) -> f64 {
    let distance = if happened { 1.0 - p } else { p };
    distance * distance
}

/// The joint loss FZ₀ of a quantile `q` of level `p` and the expected shortfall `es` beyond it, turned to the upper tail of losses:
/// 1{y > q}(y − q) / ((1 − p) es) + q / es + log es − 1 (Fissler & Ziegel 2016; Patton, Ziegel & Chen 2019, "Dynamic semiparametric
/// models for expected shortfall (and value-at-risk)", equation 6). It has no unit, but for a constant. `None` unless `es` is above 0.
#[must_use]
pub fn fissler_ziegel(y: f64, q: f64, es: f64, p: f64) -> Option<f64> {
    (es > 0.0).then(|| (y - q).max(0.0) / ((1.0 - p) * es) + q / es + es.ln() - 1.0)
}

/// The censored log loss above a threshold, in nats: that of the density where the target is above, and of the probability of not
/// being there where it isn't (Diks, Panchenko & van Dijk 2011, "Likelihood-based scoring rules for comparing density forecasts in
/// tails"). `log_score` is log p(y), and `log_cdf_at_threshold` is log P(Y ≤ threshold).
///
/// This is how to look at the tail alone. Scoring only the events that turned out extreme does not: a forecast that always cries
/// wolf is best then (Lerch, Thorarinsdottir, Ravazzolo & Gneiting 2017, "Forecaster's dilemma: extreme events and forecast
/// evaluation").
#[must_use]
pub fn censored_log_loss(y: f64, threshold: f64, log_score: f64, log_cdf_at_threshold: f64) -> f64 {
    if y > threshold { -log_score } else { -log_cdf_at_threshold }
}

/// A continuous distribution.
pub trait Cdf {
    /// P(Y ≤ z).
    fn cdf(&mut self, z: f64) -> f64;
    /// P(Y > z), to full relative precision where that is small.
    fn sf(&mut self, z: f64) -> f64;
}

/// The continuous ranked probability score, CRPS = ∫ (F(z) − 1{y ≤ z})² dz (Matheson & Winkler 1976), and its part above thresholds
/// (Gneiting & Ranjan 2011, "Comparing density forecasts using threshold- and quantile-weighted scoring rules"), in the target's unit.
///
/// The integral is taken in pieces between the target, the thresholds and the distribution's centre, by Gauss–Legendre's rule, with
/// 28 points each, in w = 1 − (1 + x/ℓ)^(−2/3), x being the distance from the piece's end that is nearer to the centre. As ℓ is about
/// the length over which the tail decays there, a normal tail and one of index 1 are alike, and the last piece may be infinite. Within
/// a piece that lies between the centre and the target, where (F − 1{…})² tends to 1, it is what's missing to 1 that is integrated.
///
/// It is right to 5e-5 of itself for normal and Student's distributions, Pareto tails of index up to 1 and mixtures whose parts overlap,
/// and to 2e-3 where there are narrow modes far from one another. The CRPS asks for 85 values of the distribution; each threshold for
/// 29 more.
#[derive(Debug, Clone)]
pub struct Crps {
    nodes: Vec<f64>,
    weights: Vec<f64>,
    /// Ends of pieces, ascending.
    edges: Vec<f64>,
}

impl Default for Crps {
    fn default() -> Self {
        let (nodes, weights) = gauss_legendre(POINTS);
        Self { nodes, weights, edges: Vec::new() }
    }
}

impl Crps {
    /// The CRPS of a target `y`; into `above` goes the part of it above each of the `thresholds`. `centre` is about the
    /// distribution's median, and `scale` > 0 its standard deviation or something like it.
    /// NaN where one of them isn't finite, or a threshold.
    pub fn score(
        &mut self,
        forecast: &mut impl Cdf,
        y: f64,
        (centre, scale): (f64, f64),
        thresholds: &[f64],
        above: &mut [f64],
    ) -> f64 {
        above.fill(f64::NAN);
        if !(y.is_finite() && centre.is_finite() && scale > 0.0 && scale.is_finite()) {
            return f64::NAN;
        }
        self.edges.clear();
        self.edges.extend(thresholds.iter().filter(|threshold| threshold.is_finite()));
        self.edges.extend([y, centre]);
        self.edges.sort_unstable_by(f64::total_cmp);
        self.edges.dedup();
        let (mut total, mut end) = (0.0, f64::INFINITY);
        for &edge in self.edges.iter().rev() {
            total += if edge >= centre {
                self.piece(&mut |z| forecast.sf(z), y >= end, (centre, scale), edge, end)
            } else {
                self.piece(&mut |z| forecast.cdf(z), y <= edge, (centre, scale), end, edge)
            };
            end = edge;
            for (above, _) in above.iter_mut().zip(thresholds).filter(|(_, threshold)| **threshold == edge) {
                *above = total;
            }
        }
        total + self.piece(&mut |z| forecast.cdf(z), false, (centre, scale), end, f64::NEG_INFINITY)
    }

    /// The integral of T², or of (1 − T)² where the target lies beyond, T being the tail's probability on the side of the centre where
    /// the piece is: from its end `near` to the centre to its other one, `far`.
    fn piece(
        &self,
        tail: &mut impl FnMut(f64) -> f64,
        target_is_beyond: bool,
        (centre, scale): (f64, f64),
        near: f64,
        far: f64,
    ) -> f64 {
        let span = (far - near).abs();
        // T decays like exp(−x/ℓ) or like a power of x; this is right for the one and about right for the other.
        let surprise = if near == centre { 0.0 } else { -(2.0 * tail(near)).min(1.0).ln() };
        let length = (scale + (near - centre).abs()) / (1.0 + surprise);
        let last = 1.0 - (1.0 + span / length).powf(-2.0 / 3.0);
        let mut integral = 0.0;
        for (node, weight) in self.nodes.iter().zip(&self.weights) {
            let rest = 1.0 - last * node;
            let t = tail(near + (far - near).signum() * length * (1.0 / (rest * rest.sqrt()) - 1.0));
            let value = if target_is_beyond { t * (2.0 - t) } else { t * t };
            integral += weight * value / (rest * rest * rest.sqrt());
        }
        integral *= 1.5 * last * length;
        if target_is_beyond { span - integral } else { integral }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::backtest::statistics::golden::{self, Case};
    use crate::math::normal;

    /// A distribution of the golden file, and how often it was asked.
    struct Known {
        tail: Box<dyn Fn(f64) -> f64>,
        mirrored: Box<dyn Fn(f64) -> f64>,
        asked: usize,
    }

    impl Cdf for Known {
        fn cdf(&mut self, z: f64) -> f64 {
            self.asked += 1;
            (self.mirrored)(-z)
        }
        fn sf(&mut self, z: f64) -> f64 {
            self.asked += 1;
            (self.tail)(z)
        }
    }

    /// P(T > z) of Student's t.
    fn student_sf(df: f64, z: f64) -> f64 {
        let tail = 0.5 * statrs::function::beta::beta_reg(0.5 * df, 0.5, df / (df + z * z));
        if z < 0.0 { 1.0 - tail } else { tail }
    }

    fn pareto_sf(xi: f64, z: f64) -> f64 {
        let tail = 0.5 * (1.0 + xi * z.abs()).powf(-1.0 / xi);
        if z < 0.0 { 1.0 - tail } else { tail }
    }

    impl Known {
        fn of(case: &Case) -> Self {
            let side = |sign: f64| -> Box<dyn Fn(f64) -> f64> {
                match case.text("kind") {
                    "mixture" => {
                        let [weights, means, deviations] =
                            ["weights", "means", "deviations"].map(|key| case.numbers(key));
                        Box::new(move |z| {
                            let part = |nth: usize| {
                                weights[nth] * normal::cdf((sign * means[nth] - z) / deviations[nth])
                            };
                            (0..weights.len()).map(part).sum()
                        })
                    }
                    "student" => {
                        let df = case.number("df");
                        Box::new(move |z| student_sf(df, z))
                    }
                    _ => {
                        let xi = case.number("xi");
                        Box::new(move |z| pareto_sf(xi, z))
                    }
                }
            };
            Self { tail: side(1.0), mirrored: side(-1.0), asked: 0 }
        }
    }

    #[test]
    fn crps_and_its_parts_above_thresholds_are_met_with_85_questions() {
        let mut crps = Crps::default();
        for case in golden::cases("crps") {
            let mut known = Known::of(&case);
            let (y, place) = (case.number("y"), (case.number("centre"), case.number("scale")));
            let has_far_modes = case.text("kind") == "mixture"
                && case.numbers("means").iter().any(|mean| *mean == 3.0 || *mean == 20.0);
            let tolerance = if has_far_modes { 2e-3 } else { 5e-5 };
            case.check("crps", crps.score(&mut known, y, place, &[], &mut []), tolerance);
            assert!(known.asked <= 85, "{} questions", known.asked);
            let (thresholds, expected) = (case.numbers("thresholds"), case.numbers("above"));
            let mut above = [f64::NAN; 3];
            case.check("crps", crps.score(&mut known, y, place, &thresholds, &mut above), tolerance);
            for ((told, expected), threshold) in above.iter().zip(expected).zip(thresholds) {
                assert!(
                    (told / expected - 1.0).abs() < tolerance,
                    "above {threshold}: {told} for {expected} of {case:?}"
                );
            }
        }
    }

    #[test]
    fn thresholds_may_come_in_any_order_and_coincide_with_the_target_or_the_centre() {
        let (mut crps, mut above) = (Crps::default(), [0.0; 5]);
        let mut known =
            Known { tail: Box::new(|z| normal::cdf(-z)), mirrored: Box::new(|z| normal::cdf(-z)), asked: 0 };
        let score = crps.score(&mut known, 1.0, (0.0, 1.0), &[1.0, 0.0, 30.0, -40.0, 1.0], &mut above);
        assert!(above[0] == above[4] && above[0] < above[1] && above[1] < score && above[2] == 0.0);
        assert!((above[3] / score - 1.0).abs() < 1e-9);
        // What's above a far threshold is small, and right to the same share of itself.
        let mut far = [0.0];
        crps.score(&mut known, 0.3, (0.0, 1.0), &[7.0], &mut far);
        let step = |nth: usize| normal::cdf(-7.0 - (nth as f64 + 0.5) * 1e-4).powi(2) * 1e-4;
        let expected: f64 = (0..50_000).map(step).sum();
        assert!((far[0] / expected - 1.0).abs() < 1e-5, "{:e} {expected:e}", far[0]);
    }

    #[test]
    fn what_is_no_number_is_none() {
        let mut known =
            Known { tail: Box::new(|z| normal::cdf(-z)), mirrored: Box::new(|z| normal::cdf(-z)), asked: 0 };
        let mut crps = Crps::default();
        assert!(crps.score(&mut known, f64::NAN, (0.0, 1.0), &[], &mut []).is_nan());
        assert!(crps.score(&mut known, 1.0, (0.0, f64::NAN), &[], &mut []).is_nan());
        assert!(crps.score(&mut known, 1.0, (f64::NAN, 1.0), &[], &mut []).is_nan());
        let mut above = [0.0; 2];
        let score = crps.score(&mut known, 1.0, (0.0, 1.0), &[0.5, f64::NAN], &mut above);
        assert!(score.is_finite() && above[0].is_finite() && above[1].is_nan(), "{score} {above:?}");
    }

    #[test]
    fn scores_of_points_are_those_of_their_definitions() {
        for case in golden::cases("scores") {
            let [y, q, es, p] = ["y", "q", "es", "p"].map(|key| case.number(key));
            case.check("pinball", pinball(y, q, p), 1e-12);
            case.check("fissler_ziegel", fissler_ziegel(y, q, es, p).unwrap(), 1e-12);
            case.check("brier_yes", brier(p, true), 1e-12);
            case.check("brier_no", brier(p, false), 1e-12);
        }
        assert!(
            fissler_ziegel(1.0, 1.0, 0.0, 0.9).is_none() && fissler_ziegel(1.0, 1.0, f64::NAN, 0.9).is_none()
        );
    }

    /// The mean loss is least at the true quantile and shortfall, and the censored one at the true distribution.
    #[test]
    fn the_truth_scores_best() {
        let targets: Vec<f64> =
            (0..20_000).map(|nth| normal::quantile((nth as f64 + 0.5) / 20_000.0)).collect();
        let mean = |loss: &dyn Fn(f64) -> f64| targets.iter().map(|y| loss(*y)).sum::<f64>() / 20_000.0;
        let q = normal::quantile(0.95);
        let es = normal::log_pdf(q).exp() / 0.05;
        let joint = |q: f64, es: f64| mean(&|y| fissler_ziegel(y, q, es, 0.95).unwrap());
        let censored = |deviation: f64| {
            mean(&|y| {
                let log_score = normal::log_pdf(y / deviation) - deviation.ln();
                censored_log_loss(y, 1.5, log_score, normal::log_cdf(1.5 / deviation))
            })
        };
        let best = (joint(q, es), mean(&|y| pinball(y, q, 0.95)), censored(1.0));
        for factor in [0.9, 0.95, 1.05, 1.1] {
            assert!(joint(factor * q, es) > best.0 && joint(q, factor * es) > best.0);
            assert!(mean(&|y| pinball(y, factor * q, 0.95)) > best.1);
            assert!(censored(factor) > best.2);
        }
    }
}

//! From an event's distribution to the figures that are published.
//!
//! Everything here is a function of the row of float32 that is published as `params`, so that figures computed
//! later (an outcome's log score, after a restart too) are those of the distribution that was published.

use std::sync::Arc;

use crate::{
    config::{Config, ThresholdValue},
    density::{Density, Level, Limited, Shortfall, Workspace},
    model::normaliser::Normaliser,
    record::Event,
    score::{Realized, step::Step},
};

/// Computes the figures that the config asks for.
pub struct Figures {
    density: Arc<dyn Density>,
    exceed: Vec<Exceed>,
    quantiles: Vec<Level>,
    shortfalls: Vec<Shortfall>,
    limits: Vec<f64>,
    limited: Limited,
    /// Of a target that is rounded.
    step: Option<Step>,
    workspace: Workspace,
}

/// Where a threshold comes from.
enum Exceed {
    Constant(f64),
    /// The event's own, by its position among these.
    OfEvent(usize),
}

impl Figures {
    /// The figures of this config, for distributions of this density.
    #[must_use]
    pub fn new(config: &Config, density: Arc<dyn Density>) -> Self {
        let step = config.target.step.map(Step);
        let config = &config.score;
        let mut own = 0;
        let exceed = config.exceed.iter().map(|threshold| match threshold.value {
            ThresholdValue::Constant(t) => Exceed::Constant(t),
            ThresholdValue::Field(_) => {
                own += 1;
                Exceed::OfEvent(own - 1)
            }
        });
        Self {
            exceed: exceed.collect(),
            quantiles: config.quantiles.iter().map(|&p| Level::from_p(p)).collect(),
            shortfalls: config.shortfall.iter().map(|&p| Shortfall::beyond(&Level::from_p(p))).collect(),
            limits: config.limit.clone(),
            limited: Limited::default(),
            step,
            workspace: density.workspace(),
            density,
        }
    }

    /// P(Y > t) for each threshold, then the quantiles, the shortfalls and the limited expected values; NaN where a
    /// figure does not exist.
    #[must_use]
    pub fn evaluate(&mut self, params: &[f32], own_thresholds: &[f64]) -> Box<[f64]> {
        let len = self.exceed.len() + self.quantiles.len() + self.shortfalls.len() + self.limits.len();
        if params.is_empty() {
            return vec![f64::NAN; len].into();
        }
        let (params, target) = split(params);
        let Self { density, workspace, .. } = self;
        density.load(params, workspace);
        let mut figures = Vec::with_capacity(len);
        for exceed in &self.exceed {
            let threshold = match exceed {
                Exceed::Constant(t) => *t,
                Exceed::OfEvent(index) => own_thresholds[*index],
            };
            let threshold = self.step.map_or(threshold, |step| step.end(threshold));
            // A threshold that the event does not bring is NaN, and so is its probability.
            figures.push(if threshold.is_nan() {
                f64::NAN
            } else {
                density.log_sf(target.normalise(threshold), workspace).exp()
            });
        }
        for level in &self.quantiles {
            let quantile = target.restore(density.quantile(level, workspace));
            figures.push(finite_or_null(self.step.map_or(quantile, |step| step.round(quantile))));
        }
        // Of the target before it is rounded, which changes the mean by less than half a step.
        for shortfall in &self.shortfalls {
            figures.push(finite_or_null(target.restore(shortfall.of(density.as_ref(), workspace))));
        }
        for &limit in &self.limits {
            let limit = target.normalise(limit);
            let limited = self.limited.of(limit, density.as_ref(), workspace);
            figures.push(finite_or_null(target.restore(limited)));
        }
        figures.into()
    }

    /// The event's target judged by the distribution that it was scored with.
    #[must_use]
    pub fn realize(&mut self, params: &[f32], event: &Event) -> Realized {
        let target = event.target.as_ref().map_or(f64::NAN, |target| target.values[0]);
        if params.is_empty() {
            return Realized { target, log_score: f64::NAN, pit: f64::NAN };
        }
        let (params, normaliser) = split(params);
        let Self { density, workspace, .. } = self;
        density.load(params, workspace);
        if let Some(step) = self.step {
            let (low, high) = step.interval(target);
            let (low, high) = (normaliser.normalise(low), normaliser.normalise(high));
            let below = density.log_cdf(low, workspace).exp();
            let log_mass = density.log_mass(low, high, workspace);
            return Realized { target, log_score: log_mass, pit: below + step.draw(event) * log_mass.exp() };
        }
        let y = normaliser.normalise(target);
        Realized {
            target,
            log_score: density.log_density(&[y], workspace) - normaliser.scale.ln(),
            pit: density.log_cdf(y, workspace).exp(),
        }
    }
}

/// What is beyond what numbers hold is no figure.
fn finite_or_null(figure: f64) -> f64 {
    if figure.is_finite() { figure } else { f64::NAN }
}

/// The density's parameters, and center and scale of the target.
fn split(params: &[f32]) -> (&[f32], Normaliser) {
    let (density, target) = params.split_at(params.len() - 2);
    (density, Normaliser { center: f64::from(target[0]), scale: f64::from(target[1]) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        config::FlowKind,
        density::Nfn,
        math::normal,
        model::noise::Draws,
        record::{Known, Target},
    };

    const FLOWS: [FlowKind; 3] = [FlowKind::Radial, FlowKind::Radial, FlowKind::Affine];

    /// Figures with one threshold of the event's own, these quantiles, and the shortfall at 99 %.
    fn figures(flows: &[FlowKind], quantiles: &[f64]) -> (Figures, Vec<f32>) {
        figures_of(flows, quantiles, &[])
    }

    fn figures_of(flows: &[FlowKind], quantiles: &[f64], sets: &[&str]) -> (Figures, Vec<f32>) {
        const CONFIG: &str = "kafka.brokers = 'b'\nkafka.group = 'g'\ninput.topic = 'i'\noutput.topic = 'o'\n\
                              features.x = 'number'\ntarget.fields = ['y']\nscore.exceed = ['t']\nscore.shortfall = [0.99]";
        let quantiles_set = format!("score.quantiles={quantiles:?}");
        let sets: Vec<String> =
            sets.iter().copied().chain([quantiles_set.as_str()]).map(String::from).collect();
        let config = Config::from_parts(CONFIG, "test.toml", &sets, std::iter::empty()).unwrap();
        let density = Arc::new(Nfn::new(flows, 1));
        let mut params = density.initial(&[]);
        params.extend([12.5, 30.0]); // center and scale of the target
        (Figures::new(&config, density), params)
    }

    /// An event at this offset, with this target.
    fn event(offset: i64, target: f64) -> Event {
        Event {
            partition: 0,
            offset,
            row: 0,
            last: true,
            timestamp_ms: None,
            time_us: 0,
            key: None,
            features: [].into(),
            carry: [].into(),
            thresholds: [].into(),
            target: Some(Target { values: [target].into(), known: Known::WithEvent }),
        }
    }

    fn bent(mut params: Vec<f32>, seed: u64) -> Vec<f32> {
        let mut draws = Draws::new(seed, 1, 0);
        let num_density = params.len() - 2;
        params[..num_density].iter_mut().for_each(|p| *p += draws.normal() as f32);
        params
    }

    #[test]
    fn the_probability_of_exceeding_a_quantile_is_one_minus_its_level_to_1e_9() {
        let levels = [0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999];
        let (mut figures, params) = figures(&FLOWS, &levels);
        for seed in 0..50 {
            let params = bent(params.clone(), seed);
            let quantiles = figures.evaluate(&params, &[0.0])[1..=levels.len()].to_vec();
            assert!(quantiles.is_sorted(), "quantiles cross: {quantiles:?}");
            for (&quantile, p) in quantiles.iter().zip(levels) {
                let exceed = figures.evaluate(&params, &[quantile])[0];
                assert!((exceed - (1.0 - p)).abs() < 1e-9, "{p}: {exceed} at {quantile}");
                let pit = figures.realize(&params, &event(0, quantile)).pit;
                assert!((pit - p).abs() < 1e-9, "{p}: {pit}");
            }
        }
    }

    #[test]
    fn figures_are_in_the_target_s_own_unit() {
        let (mut figures, params) = figures(&[FlowKind::Affine], &[0.5, 0.9]);
        let evaluated = figures.evaluate(&params, &[12.5]);
        let z = normal::quantile(0.9);
        // E[Z | Z > z] = φ(z) / P(Z > z).
        let z99 = normal::quantile(0.99);
        let shortfall = 12.5 + 30.0 * normal::log_pdf(z99).exp() / 0.01;
        for (figure, expected) in evaluated.iter().zip([0.5, 12.5, 12.5 + 30.0 * z, shortfall]) {
            assert!((figure - expected).abs() < 1e-6 * expected.abs(), "{evaluated:?}: {expected}");
        }
    }

    #[test]
    fn the_published_log_score_is_the_logarithm_of_a_density_that_integrates_to_one() {
        let (mut figures, params) = figures(&FLOWS, &[]);
        for seed in 0..5 {
            let params = bent(params.clone(), seed);
            let step = 0.05;
            let grid = (-40_000..40_000).map(|i| 12.5 + step * f64::from(i));
            let mass: f64 = grid.map(|y| step * figures.realize(&params, &event(0, y)).log_score.exp()).sum();
            assert!((mass - 1.0).abs() < 1e-4, "seed {seed}: {mass}");
        }
    }

    #[test]
    fn the_limited_expected_value_is_that_of_what_is_cut_off_at_the_limit() {
        let (mut figures, params) =
            figures_of(&[FlowKind::Affine], &[], &["score.limit=[12.5, 1e6]", "score.shortfall=[]"]);
        let evaluated = figures.evaluate(&params, &[0.0]);
        // E[min(Z, 0)] = −φ(0).
        let expected = 12.5 - 30.0 * normal::log_pdf(0.0).exp();
        assert!(
            (evaluated[1] - expected).abs() < 1e-8 && (evaluated[2] - 12.5).abs() < 1e-8,
            "{evaluated:?}"
        );
    }

    #[test]
    fn a_shortfall_that_is_infinite_is_null() {
        let (mut figures, mut params) = figures(&[FlowKind::Radial, FlowKind::Pareto], &[0.5]);
        assert!(figures.evaluate(&params, &[0.0])[2].is_finite());
        let upper_index = params.len() - 3;
        params[upper_index] = 0.1; // a tail index a little above 1
        let evaluated = figures.evaluate(&params, &[0.0]);
        assert!(evaluated[2].is_nan() && evaluated[1].is_finite(), "{evaluated:?}");
    }

    #[test]
    fn what_does_not_exist_is_null() {
        let (mut figures, params) = figures(&FLOWS, &[0.5]);
        assert!(figures.evaluate(&[], &[1.0]).iter().all(|f| f.is_nan()), "no distribution in the warm-up");
        let without_threshold = figures.evaluate(&params, &[f64::NAN]);
        assert!(without_threshold[0].is_nan() && without_threshold[1].is_finite());
        let realized = figures.realize(&[], &event(0, 3.0));
        assert!(realized.log_score.is_nan() && realized.pit.is_nan() && realized.target == 3.0);
    }

    #[test]
    fn the_figures_of_a_rounded_target_are_those_of_whole_steps() {
        let (mut figures, params) = figures_of(&FLOWS, &[0.1, 0.5, 0.99], &["target.step=5"]);
        for seed in 0..5 {
            let params = bent(params.clone(), seed);
            let mut exceed = |t: f64| figures.evaluate(&params, &[t])[0];
            // P(Y > t) does not count t, and so is one between two steps.
            assert_eq!(exceed(15.0), exceed(19.9));
            let at_20 = exceed(15.0) - exceed(20.0);
            let mass = |figures: &mut Figures, y: f64| figures.realize(&params, &event(0, y)).log_score.exp();
            assert!((mass(&mut figures, 20.0) - at_20).abs() < 1e-9, "{at_20}");
            let total: f64 = (-8_000..8_000).map(|i| mass(&mut figures, 5.0 * f64::from(i))).sum();
            assert!((total - 1.0).abs() < 1e-6, "{total}");
            for (nth, p) in [0.1, 0.5, 0.99].into_iter().enumerate() {
                let quantile = figures.evaluate(&params, &[0.0])[1 + nth];
                assert_eq!(quantile % 5.0, 0.0);
                // The least multiple of the step that is not exceeded by more than 1 − p.
                let mut exceed = |t: f64| figures.evaluate(&params, &[t])[0];
                assert!(
                    exceed(quantile) <= 1.0 - p + 1e-12 && exceed(quantile - 5.0) > 1.0 - p,
                    "{quantile}"
                );
            }
            // The PIT lies anywhere between the distribution function below and at the target.
            let median = figures.evaluate(&params, &[0.0])[2];
            let mut cdf = |t: f64| 1.0 - figures.evaluate(&params, &[t])[0];
            let (below, above) = (cdf(median - 5.0), cdf(median));
            let mut pit = |offset| figures.realize(&params, &event(offset, median)).pit;
            let pits: Vec<f64> = (0..2_000).map(&mut pit).collect();
            let mean = pits.iter().sum::<f64>() / 2_000.0;
            assert!(pits.iter().all(|pit| (below - 1e-12..=above + 1e-12).contains(pit)));
            assert!(
                (mean - 0.5 * (below + above)).abs() < 0.03 * (above - below),
                "{mean} in {below} to {above}"
            );
        }
    }
}

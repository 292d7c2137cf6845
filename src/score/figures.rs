//! From an event's distribution to the figures that are published.
//!
//! Everything here is a function of the row of float32 that is published as `params`, so that figures computed
//! later (an outcome's log score, after a restart too) are those of the distribution that was published.

use std::sync::Arc;

use crate::{
    config::{self, ThresholdValue},
    density::{Density, Level, Shortfall, Workspace},
    model::normaliser::Normaliser,
    score::Realized,
};

/// Computes the figures that the config asks for.
pub struct Figures {
    density: Arc<dyn Density>,
    exceed: Vec<Exceed>,
    quantiles: Vec<Level>,
    shortfalls: Vec<Shortfall>,
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
    pub fn new(config: &config::Score, density: Arc<dyn Density>) -> Self {
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
            workspace: density.workspace(),
            density,
        }
    }

    /// P(Y > t) for each threshold, then the quantiles, then the shortfalls; NaN where a figure does not exist.
    #[must_use]
    pub fn evaluate(&mut self, params: &[f32], own_thresholds: &[f64]) -> Box<[f64]> {
        let len = self.exceed.len() + self.quantiles.len() + self.shortfalls.len();
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
            // A threshold that the event does not bring is NaN, and so is its probability.
            figures.push(if threshold.is_nan() {
                f64::NAN
            } else {
                density.log_sf(target.normalise(threshold), workspace).exp()
            });
        }
        for level in &self.quantiles {
            figures.push(finite_or_null(target.restore(density.quantile(level, workspace))));
        }
        for shortfall in &self.shortfalls {
            figures.push(finite_or_null(target.restore(shortfall.of(density.as_ref(), workspace))));
        }
        figures.into()
    }

    /// The target judged by the distribution that its event was scored with.
    #[must_use]
    pub fn realize(&mut self, params: &[f32], target: f64) -> Realized {
        if params.is_empty() {
            return Realized { target, log_score: f64::NAN, pit: f64::NAN };
        }
        let (params, normaliser) = split(params);
        let y = normaliser.normalise(target);
        let Self { density, workspace, .. } = self;
        density.load(params, workspace);
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
    use super::*;
    use crate::{
        config::{FieldPath, FlowKind, Score, Threshold},
        density::Nfn,
        math::normal,
        model::noise::Draws,
    };

    const FLOWS: [FlowKind; 3] = [FlowKind::Radial, FlowKind::Radial, FlowKind::Affine];

    /// Figures with one threshold of the event's own, these quantiles, and the shortfall at 99 %.
    fn figures(flows: &[FlowKind], quantiles: &[f64]) -> (Figures, Vec<f32>) {
        let density = Arc::new(Nfn::new(flows, 1));
        let own = ThresholdValue::Field(FieldPath(vec!["t".into()]));
        let config = Score {
            exceed: vec![Threshold { name: "t".into(), value: own }],
            quantiles: quantiles.to_vec(),
            shortfall: vec![0.99],
        };
        let mut params = density.initial();
        params.extend([12.5, 30.0]); // center and scale of the target
        (Figures::new(&config, density), params)
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
                let pit = figures.realize(&params, quantile).pit;
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
            let mass: f64 = grid.map(|y| step * figures.realize(&params, y).log_score.exp()).sum();
            assert!((mass - 1.0).abs() < 1e-4, "seed {seed}: {mass}");
        }
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
        let realized = figures.realize(&[], 3.0);
        assert!(realized.log_score.is_nan() && realized.pit.is_nan() && realized.target == 3.0);
    }
}

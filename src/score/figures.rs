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
            figures.push(target.restore(density.quantile(level, workspace)));
        }
        for shortfall in &self.shortfalls {
            figures.push(target.restore(shortfall.of(density.as_ref(), workspace)));
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

/// The density's parameters, and center and scale of the target.
fn split(params: &[f32]) -> (&[f32], Normaliser) {
    let (density, target) = params.split_at(params.len() - 2);
    (density, Normaliser { center: f64::from(target[0]), scale: f64::from(target[1]) })
}

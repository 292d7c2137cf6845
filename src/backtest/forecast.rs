//! One target's distribution as it was published: what a backtest asks of it beyond its figures.

use std::sync::Arc;

use super::statistics::proper::Cdf;
use crate::{
    config::Config,
    density::{Blend, Densities, Density, Level, Side, Workspace},
    model::normaliser::Normaliser,
    score::{figures::split, step::Step},
};

/// The distribution of the row of parameters that was loaded last, in the target's own unit.
pub struct Forecast {
    blend: Arc<Blend>,
    workspace: Workspace,
    target: Normaliser,
    step: Option<f64>,
    median: Level,
    quartile: Level,
}

impl Forecast {
    /// Forecasts of this config; none where it has several targets.
    #[must_use]
    pub fn new(config: &Config) -> Option<Self> {
        let blend = Densities::new(config).blend?;
        Some(Self {
            workspace: blend.workspace(),
            blend,
            target: Normaliser { center: 0.0, scale: 1.0 },
            step: config.target.step,
            median: Level::from_p(0.5),
            quartile: Level::from_p(0.75),
        })
    }

    /// Takes the row of parameters that the calls after it answer for; `false` where there are none.
    pub fn load(&mut self, params: &[f32]) -> bool {
        if params.is_empty() {
            return false;
        }
        let (own, mut normalisers) = split(params, 1);
        self.blend.load(own, &mut self.workspace);
        self.target = normalisers.next().expect("a row ends with center and scale");
        true
    }

    /// The quantile at this level.
    pub fn quantile(&mut self, level: &Level) -> f64 {
        self.target.restore(self.blend.quantile(level, &mut self.workspace))
    }

    /// The median, and how far the upper quartile is above it.
    pub fn centre(&mut self) -> (f64, f64) {
        let (median, quartile) = (self.median, self.quartile);
        let centre = self.quantile(&median);
        let scale = self.quantile(&quartile) - centre;
        (centre, if scale > 0.0 { scale } else { self.target.scale })
    }

    /// log P(Y ≤ y), in nats.
    pub fn log_cdf(&mut self, y: f64) -> f64 {
        self.blend.log_cdf(self.target.normalise(y), &mut self.workspace)
    }

    /// The index ξ of a tail: P(Y > y) falls like y^(−1/ξ).
    pub fn tail_index(&self, side: Side) -> f64 {
        self.blend.tail_index(0, side, &self.workspace)
    }

    /// Up to where a target counts as not above `threshold`: with a step, to the end of the threshold's interval.
    #[must_use]
    pub fn end(&self, threshold: f64) -> f64 {
        self.step.map_or(threshold, |step| Step(step).end(threshold))
    }
}

impl Cdf for Forecast {
    fn cdf(&mut self, y: f64) -> f64 {
        self.log_cdf(y).exp()
    }

    fn sf(&mut self, y: f64) -> f64 {
        self.blend.log_sf(self.target.normalise(y), &mut self.workspace).exp()
    }
}

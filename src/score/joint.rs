//! The figures of several targets, by quasi-Monte Carlo.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    Realized,
    exceed::{Bound, Exceed},
    figures::split,
};
use crate::{
    config::{Config, Score},
    density::{Density, Joint, Workspace},
    model::normaliser::Normaliser,
};

/// Figures are functions of `params` alone: every tailwater draws the same points.
const SEED: u64 = 1;

/// Computes the figures of several targets.
pub(super) struct JointFigures {
    density: Arc<dyn Density>,
    workspace: Workspace,
    joint: Joint,
    /// Of the row that was loaded.
    normalisers: Vec<Normaliser>,
    /// The row whose points `joint` has.
    loaded: Box<[f32]>,
    exceed: Vec<Exceed>,
    score: Score,
}

impl JointFigures {
    pub fn new(config: &Config, exceed: Vec<Exceed>, density: Arc<dyn Density>) -> Self {
        Self {
            workspace: density.workspace(),
            joint: Joint::new(density.dim(), SEED),
            normalisers: Vec::new(),
            loaded: Box::default(),
            exceed,
            score: config.score.clone(),
            density,
        }
    }

    pub fn dim(&self) -> usize {
        self.density.dim()
    }

    pub fn num_figures(&self) -> usize {
        let Score { quantiles, shortfall, limit, .. } = &self.score;
        self.exceed.len() + self.dim() * (quantiles.len() + shortfall.len() + limit.len())
    }

    /// Takes a row; its points only where it is another than the last one.
    fn load(&mut self, params: &[f32]) {
        if *self.loaded == *params {
            return;
        }
        self.loaded = params.into();
        let (own, normalisers) = split(params, self.density.dim());
        self.normalisers.clear();
        self.normalisers.extend(normalisers);
        self.density.load(own, &mut self.workspace);
        self.joint.load(self.density.as_ref(), &mut self.workspace);
    }

    pub fn evaluate(&mut self, params: &[f32], own_thresholds: &[f64], figures: &mut Vec<f64>) {
        self.load(params);
        let Self { joint, normalisers, score, .. } = self;
        let sf = |axis: usize, threshold: f64| {
            if threshold.is_nan() { f64::NAN } else { joint.sf(axis, normalisers[axis].normalise(threshold)) }
        };
        for exceed in &self.exceed {
            figures.push(match &exceed.bound {
                Bound::Constant { axis, threshold } => sf(*axis, *threshold),
                Bound::OfEvent { axis, nth } => sf(*axis, own_thresholds[*nth]),
                Bound::Together(bounds) => {
                    let normalised = |&(axis, t): &(usize, f64)| (axis, normalisers[axis].normalise(t));
                    joint.exceed_all(&bounds.iter().map(normalised).collect::<SmallVec<[_; 4]>>())
                }
            });
        }
        let mut each = |asked: &[f64], figure: &dyn Fn(usize, f64) -> f64| {
            for &asked in asked {
                figures
                    .extend(normalisers.iter().enumerate().map(|(axis, n)| n.restore(figure(axis, asked))));
            }
        };
        each(&score.quantiles, &|axis, p| joint.quantile(axis, p));
        each(&score.shortfall, &|axis, p| joint.shortfall(axis, p));
        each(&score.limit, &|axis, limit| joint.limited(axis, normalisers[axis].normalise(limit)));
    }

    pub fn realize(&mut self, params: &[f32], targets: SmallVec<[f64; 1]>) -> Realized {
        self.load(params);
        let Self { density, workspace, joint, normalisers, .. } = self;
        let normalised = normalisers.iter().zip(&targets).map(|(normaliser, &y)| normaliser.normalise(y));
        let y: SmallVec<[f64; 4]> = normalised.collect();
        let log_scales: f64 = normalisers.iter().map(|normaliser| normaliser.scale.ln()).sum();
        Realized {
            log_score: density.log_density(&y, workspace) - log_scales,
            pits: y.iter().enumerate().map(|(axis, &y)| joint.cdf(axis, y)).collect(),
            targets,
            log_scores_of_parts: None,
        }
    }
}

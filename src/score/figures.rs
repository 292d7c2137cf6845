//! From an event's distribution to the figures that are published.
//!
//! Everything here is a function of the row of float32 that is published as `params`, so that figures computed
//! later (an outcome's log score, after a restart too) are those of the distribution that was published.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Realized, exceed::Exceed, joint::JointFigures, single::SingleFigures};
use crate::{
    config::Config,
    density::Density,
    model::normaliser::Normaliser,
    record::{Event, Target},
};

/// A row of parameters, and what it is asked.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// The parameters; empty where there is no distribution.
    pub params: &'a [f32],
    /// The event that was scored with them.
    pub event: &'a Event,
    /// Whether its target, if it has one, is to be judged: one alone.
    pub judges: bool,
}

impl<'a> Query<'a> {
    /// The target to be judged.
    pub(super) fn target(&self) -> Option<&'a Target> {
        self.event.target.as_ref().filter(|_| self.judges)
    }
}

/// What a row of parameters says of its event.
pub struct Evaluated {
    /// P(Y > t) for each threshold, then the quantiles, the shortfalls and the limited expected values, each for every target; NaN
    /// where a figure does not exist.
    pub figures: Box<[f64]>,
    /// What the target is worth, where that was asked.
    pub realized: Option<Realized>,
}

/// Computes the figures that the config asks for.
pub struct Figures(Kind);

enum Kind {
    Single(Box<SingleFigures>),
    Joint(Box<JointFigures>),
}

impl Figures {
    /// The figures of this config, for distributions of this density.
    #[must_use]
    pub fn new(config: &Config, density: Arc<dyn Density>) -> Self {
        let exceed = Exceed::all(config);
        Self(match density.dim() {
            1 => Kind::Single(Box::new(SingleFigures::new(config, exceed, density))),
            _ => Kind::Joint(Box::new(JointFigures::new(config, exceed, density))),
        })
    }

    /// What rows of parameters say of their events; no row's figures depend on the others.
    #[must_use]
    pub fn evaluate(&mut self, rows: &[Query<'_>]) -> Vec<Evaluated> {
        let num_figures = match &self.0 {
            Kind::Single(figures) => figures.num_figures(),
            Kind::Joint(figures) => figures.num_figures(),
        };
        // Where there is no distribution, there are no figures.
        let known: SmallVec<[Query<'_>; 1]> =
            rows.iter().copied().filter(|row| !row.params.is_empty()).collect();
        let mut figures = Vec::with_capacity(known.len() * num_figures);
        let realized = match &mut self.0 {
            Kind::Single(single) => {
                figures.resize(known.len() * num_figures, 0.0);
                single.evaluate(&known, &mut figures)
            }
            Kind::Joint(joint) => {
                known.iter().for_each(|row| joint.evaluate(row.params, &row.event.thresholds, &mut figures));
                vec![None; known.len()]
            }
        };
        // What is beyond what numbers hold is no figure.
        figures.iter_mut().filter(|figure| !figure.is_finite()).for_each(|figure| *figure = f64::NAN);
        let mut known = realized.into_iter().enumerate().map(|(nth, realized)| Evaluated {
            figures: figures[nth * num_figures..][..num_figures].into(),
            realized,
        });
        let none = || Evaluated { figures: vec![f64::NAN; num_figures].into(), realized: None };
        let all = rows.iter().map(|row| if row.params.is_empty() { None } else { known.next() });
        all.map(|evaluated| evaluated.unwrap_or_else(none)).collect()
    }

    /// The event's target judged by the distribution that it was scored with; NaN for all of it where the event has none.
    #[must_use]
    pub fn realize(&mut self, params: &[f32], event: &Event) -> Realized {
        let dim = match &self.0 {
            Kind::Single(_) => 1,
            Kind::Joint(figures) => figures.dim(),
        };
        let Some(target) = &event.target else { return Realized::unknown(dim) };
        let targets = SmallVec::from_slice(&target.values);
        if params.is_empty() {
            return Realized { targets, ..Realized::unknown(dim) };
        }
        match &mut self.0 {
            Kind::Single(figures) => figures.realize(params, event, targets),
            Kind::Joint(figures) => figures.realize(params, targets),
        }
    }
}

/// The density's parameters, and center and scale of each of the `dim` targets.
pub(crate) fn split(params: &[f32], dim: usize) -> (&[f32], impl Iterator<Item = Normaliser>) {
    let (density, targets) = params.split_at(params.len() - 2 * dim);
    let normaliser = |pair: &[f32]| Normaliser { center: f64::from(pair[0]), scale: f64::from(pair[1]) };
    (density, targets.chunks_exact(2).map(normaliser))
}

//! Conditional distributions of the target: a row of parameters, as a net puts them out, gives a density.
//!
//! Parameters are `f32`, the very numbers that are published, and all figures are computed from them in `f64`. The
//! target is in the model's normalised units.

mod level;
mod nfn;
mod shortfall;

pub use level::Level;
pub use nfn::Nfn;
pub use shortfall::Shortfall;

use std::sync::Arc;

use crate::{
    config::{Model, ModelKind},
    flow,
};

/// A family of distributions over d-vectors, one for each row of parameters.
///
/// A row is taken with [`Density::load`] into a workspace that the density made; the other calls then answer for that
/// row. None of them allocates. The distribution function and its kin are for d = 1.
pub trait Density: Send + Sync {
    /// The length d of a target.
    fn dim(&self) -> usize;

    /// How many parameters a row has.
    fn num_params(&self) -> usize;

    /// The row where learning starts: the standard normal distribution, but for a tail.
    fn initial(&self) -> Vec<f32>;

    /// Which parameters are a location in the data's units: adding to them moves the distribution by as much.
    fn locations(&self) -> Vec<usize>;

    /// Space for the other calls to work in.
    fn workspace(&self) -> Workspace;

    /// Takes the row of parameters that the calls after it answer for.
    fn load(&self, params: &[f32], ws: &mut Workspace);

    /// log p(y), in nats.
    fn log_density(&self, y: &[f64], ws: &mut Workspace) -> f64;

    /// log p(y), in nats; writes its gradient with respect to the row's parameters.
    fn log_density_grad(&self, y: &[f64], grad: &mut [f64], ws: &mut Workspace) -> f64;

    /// log P(Y ≤ y), in nats, for d = 1.
    fn log_cdf(&self, y: f64, ws: &mut Workspace) -> f64;

    /// log P(Y > y), in nats, for d = 1.
    fn log_sf(&self, y: f64, ws: &mut Workspace) -> f64;

    /// The index ξ of the upper tail, for d = 1: P(Y > y) falls like y^(−1/ξ), and faster than any power where it is 0.
    fn tail_index(&self, ws: &Workspace) -> f64;

    /// The y with P(Y ≤ y) = `level`, for d = 1.
    fn quantile(&self, level: &Level, ws: &mut Workspace) -> f64;
}

/// A density's scratch space, with the row that was loaded last. Each density makes its own kind.
#[derive(Debug, Clone)]
pub enum Workspace {
    /// Of a stack of flows.
    Flow(flow::Workspace),
}

#[cfg(test)]
mod tests;

/// The density that the config asks for, over targets of so many fields.
#[must_use]
pub fn build(model: &Model, dim: usize) -> Arc<dyn Density> {
    match model.kind {
        ModelKind::Nfn => Arc::new(Nfn::new(&model.flows, dim)),
    }
}

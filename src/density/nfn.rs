//! The density of a Normalizing Flow Network: a stack of flows over a standard normal base.

use super::{Density, Level, Workspace};
use crate::{config::FlowKind, flow::Stack, math::normal};

/// Y whose image z = f(Y) under the stack is standard normal: p(y) = N(f(y)) |det ∂f/∂y|, and for d = 1, where f
/// increases, P(Y ≤ y) = Φ(f(y)). The parameters are the stack's raw ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Nfn {
    stack: Stack,
}

impl Nfn {
    /// With `flows` listed from the base to the data, over targets of length `dim` ≥ 1.
    #[must_use]
    pub fn new(flows: &[FlowKind], dim: usize) -> Self {
        Self { stack: Stack::new(flows, dim) }
    }

    /// The flows, with the places of their parameters.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The base's image of `y`, for d = 1.
    fn base(&self, y: f64, ws: &mut Workspace) -> f64 {
        let Workspace::Flow(ws) = ws;
        self.stack.forward(&[y], ws).0[0]
    }
}

impl Density for Nfn {
    fn dim(&self) -> usize {
        self.stack.dim()
    }

    fn num_params(&self) -> usize {
        self.stack.num_params()
    }

    fn initial(&self) -> Vec<f32> {
        self.stack.initial().iter().map(|&raw| raw as f32).collect()
    }

    fn locations(&self) -> Vec<usize> {
        self.stack.locations()
    }

    fn workspace(&self) -> Workspace {
        Workspace::Flow(self.stack.workspace())
    }

    fn load(&self, params: &[f32], ws: &mut Workspace) {
        let Workspace::Flow(ws) = ws;
        self.stack.prepare(params.iter().map(|&param| f64::from(param)), ws);
    }

    fn log_density(&self, y: &[f64], ws: &mut Workspace) -> f64 {
        let Workspace::Flow(ws) = ws;
        self.stack.log_density(y, ws)
    }

    fn log_density_grad(&self, y: &[f64], grad: &mut [f64], ws: &mut Workspace) -> f64 {
        let Workspace::Flow(ws) = ws;
        self.stack.log_density_grad(y, grad, ws)
    }

    fn log_cdf(&self, y: f64, ws: &mut Workspace) -> f64 {
        normal::log_cdf(self.base(y, ws))
    }

    fn log_sf(&self, y: f64, ws: &mut Workspace) -> f64 {
        normal::log_sf(self.base(y, ws))
    }

    fn tail_index(&self, ws: &Workspace) -> f64 {
        let Workspace::Flow(ws) = ws;
        self.stack.tail_index(ws)
    }

    fn quantile(&self, level: &Level, ws: &mut Workspace) -> f64 {
        let Workspace::Flow(ws) = ws;
        self.stack.inverse(&[level.z()], ws)[0]
    }
}

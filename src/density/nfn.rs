//! The density of a Normalizing Flow Network: a stack of flows over a standard normal base.

use std::slice;

use super::{Density, Learnable, Level, Role, Side, Unit, Workspace};
use crate::{
    config::FlowKind,
    flow::{self, Stack},
    math::{
        normal,
        vector::{Loops, NormalSf},
    },
    model::normaliser::Normaliser,
};

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

    /// The base's images of these, for d = 1.
    fn images<const N: usize>(&self, mut ys: [f64; N], ws: &mut Workspace) -> [f64; N] {
        let (stack, _) = Self::parts(ws);
        let given = ys;
        self.stack.forward_points(&mut ys, stack);
        // The ends of the line stay where they are.
        std::array::from_fn(|nth| if given[nth].is_infinite() { given[nth] } else { ys[nth] })
    }

    /// The base's image of `y`, for d = 1; the backward pass may follow.
    fn base(&self, y: f64, ws: &mut flow::Workspace) -> f64 {
        if y == f64::NEG_INFINITY { y } else { self.stack.forward(&[y], ws).0[0] }
    }

    fn parts(ws: &mut Workspace) -> (&mut flow::Workspace, &mut [f64]) {
        let Workspace::Flow { stack, grad } = ws else { unreachable!("a stack of flows made the workspace") };
        (stack, grad)
    }
}

impl Density for Nfn {
    fn dim(&self) -> usize {
        self.stack.dim()
    }

    fn num_params(&self) -> usize {
        self.stack.num_params()
    }

    fn workspace(&self) -> Workspace {
        Workspace::Flow { stack: self.stack.workspace(), grad: vec![0.0; self.num_params()] }
    }

    fn load(&self, params: &[f32], ws: &mut Workspace) {
        self.stack.prepare(params.iter().map(|&param| f64::from(param)), Self::parts(ws).0);
    }

    fn log_density(&self, y: &[f64], ws: &mut Workspace) -> f64 {
        self.stack.log_density(y, Self::parts(ws).0)
    }

    fn log_cdf(&self, y: f64, ws: &mut Workspace) -> f64 {
        let [z] = self.images([y], ws);
        normal::log_cdf(z)
    }

    fn log_sf(&self, y: f64, ws: &mut Workspace) -> f64 {
        let [z] = self.images([y], ws);
        normal::log_sf(z)
    }

    fn log_mass(&self, low: f64, high: f64, ws: &mut Workspace) -> f64 {
        let [low, high] = self.images([low, high], ws);
        normal::log_interval(low, high)
    }

    fn tail_index(&self, axis: usize, side: Side, ws: &Workspace) -> f64 {
        let Workspace::Flow { stack, .. } = ws else { unreachable!("a stack of flows made the workspace") };
        self.stack.tail_index(axis, side, stack)
    }

    fn to_data(&self, z: &[f64], y: &mut [f64], ws: &mut Workspace) {
        y.copy_from_slice(self.stack.inverse(z, Self::parts(ws).0));
    }

    fn quantile(&self, level: &Level, ws: &mut Workspace) -> f64 {
        let mut quantile = [0.0];
        self.quantiles(slice::from_ref(level), &mut quantile, ws);
        quantile[0]
    }

    fn exceed(&self, ys: &[f64], out: &mut [f64], ws: &mut Workspace) {
        out.copy_from_slice(ys);
        self.stack.forward_points(out, Self::parts(ws).0);
        NormalSf(out).run();
        for (out, &y) in out.iter_mut().zip(ys).filter(|(_, y)| y.is_infinite()) {
            *out = if y > 0.0 { 0.0 } else { 1.0 };
        }
    }

    fn quantiles(&self, levels: &[Level], out: &mut [f64], ws: &mut Workspace) {
        out.iter_mut().zip(levels).for_each(|(out, level)| *out = level.z());
        self.stack.inverse_points(out, Self::parts(ws).0);
    }

    fn quantiles_and_densities(
        &self,
        levels: &[Level],
        out: &mut [f64],
        densities: &mut [f64],
        ws: &mut Workspace,
    ) {
        for ((out, density), level) in out.iter_mut().zip(&mut *densities).zip(levels) {
            (*out, *density) = (level.z(), level.density_of_z());
        }
        self.stack.inverse_points_and_slopes(out, densities, Self::parts(ws).0);
    }
}

impl Learnable for Nfn {
    /// The identity but for a tail, moved and stretched to the targets.
    fn initial(&self, targets: &[f64]) -> Vec<f32> {
        let dim = self.dim();
        let of_axis = |axis: usize| {
            let mut values: Vec<f64> = targets.iter().skip(axis).step_by(dim).copied().collect();
            Normaliser::fit(&mut values)
        };
        let (centers, scales): (Vec<f64>, Vec<f64>) =
            (0..dim).map(of_axis).map(|Normaliser { center, scale }| (center, scale)).unzip();
        self.stack.initial(&centers, &scales).iter().map(|&raw| raw as f32).collect()
    }

    fn roles(&self) -> Vec<Role> {
        let mut roles = vec![Role::Conditional; self.num_params()];
        for location in self.stack.locations() {
            roles[location] = Role::Location;
        }
        roles
    }

    fn unit(&self) -> Option<Unit> {
        let [locations, log_scales] = self.stack.locations_and_log_scales()?;
        Some(Unit { locations, log_scales })
    }

    fn log_density_grad(&self, y: &[f64], grad: &mut [f64], ws: &mut Workspace) -> f64 {
        self.stack.log_density_grad(y, grad, Self::parts(ws).0)
    }

    /// ∂ log[Φ(z(high)) − Φ(z(low))] is what the density at each end, over the mass, makes of ∂z there.
    fn log_mass_grad(&self, low: f64, high: f64, grad: &mut [f64], ws: &mut Workspace) -> f64 {
        let (ws, grad_low) = Self::parts(ws);
        let (z_low, z_high) = (self.base(low, ws), self.base(high, ws));
        let log_mass = normal::log_interval(z_low, z_high);
        let over_mass = |z: f64| (normal::log_pdf(z) - log_mass).exp();
        // The forward pass that came last was that of the upper end.
        self.stack.base_grad(over_mass(z_high), grad, ws);
        if low > f64::NEG_INFINITY {
            self.base(low, ws);
            self.stack.base_grad(-over_mass(z_low), grad_low, ws);
            for (sum, low) in grad.iter_mut().zip(grad_low) {
                *sum += *low;
            }
        }
        log_mass
    }
}

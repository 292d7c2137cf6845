//! The density of a Normalizing Flow Network: a stack of flows over a standard normal base.

use std::slice;

use super::{Density, Learnable, Level, Likelihood, Role, Side, Unit, Workspace, is_narrow, one_by_one};
use crate::{
    config::FlowKind,
    flow::{
        self, Stack,
        rows::{Column, FAR, ROWS, Rows},
    },
    math::{
        normal,
        vector::{self, Loops, NormalSf, NormalSfAndDensity},
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
        let Workspace::Flow { stack, grad, .. } = ws else {
            unreachable!("a stack of flows made the workspace")
        };
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
        Workspace::Flow {
            stack: self.stack.workspace(),
            grad: vec![0.0; self.num_params()],
            rows: self.stack.has_rows().then(|| Box::new((self.stack.rows(), self.stack.rows()))),
        }
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

    fn over_rows(&self) -> Option<&Stack> {
        self.stack.has_rows().then_some(&self.stack)
    }

    fn likelihood(&self, y: f64, half: Option<f64>, ws: &mut Workspace) -> Likelihood {
        let [log, below] = match half {
            Some(half) if !is_narrow(y, half) => {
                let [low, high] = self.images([y - half, y + half], ws);
                if is_usual_interval(low, high) {
                    of_interval(low, high)
                } else {
                    [normal::log_interval(low, high), normal::cdf(low)]
                }
            }
            _ => {
                let (stack, _) = Self::parts(ws);
                let (mut z, mut slope) = ([y], [1.0]);
                self.stack.forward_points_and_slopes(&mut z, &mut slope, stack);
                let [log, below] = if is_usual_point(slope[0]) {
                    of_point(z[0], slope[0])
                } else {
                    let (z, log_det) = self.stack.forward(&[y], stack);
                    [normal::log_pdf(z[0]) + log_det, normal::cdf(z[0])]
                };
                [log + half.map_or(0.0, |half| (2.0 * half).ln()), below]
            }
        };
        Likelihood { log, below, log_parts: None }
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

    fn exceed_and_density(&self, y: f64, ws: &mut Workspace) -> [f64; 2] {
        let (mut z, mut density) = ([y], [1.0]);
        self.stack.forward_points_and_slopes(&mut z, &mut density, Self::parts(ws).0);
        NormalSfAndDensity(&mut z, &mut density).run();
        [z[0], density[0]]
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

/// Whether [`of_interval`] says what an interval is worth whose ends have these images.
#[inline(always)]
pub(super) fn is_usual_interval(low: f64, high: f64) -> bool {
    // NaN is not.
    (low.abs() < f64::INFINITY) & (high.abs() < f64::INFINITY)
}

/// The log probability of the interval whose ends have these images, and P(Y ≤ y) at its lower end; to be inlined into loops, too.
#[inline(always)]
pub(super) fn of_interval(low: f64, high: f64) -> [f64; 2] {
    [vector::log_interval(low, high), vector::normal_sf(-low)]
}

/// Whether [`of_point`] says what a point is worth where the flows have this slope.
#[inline(always)]
pub(super) fn is_usual_point(slope: f64) -> bool {
    (slope > 1e-300) & (slope < f64::INFINITY)
}

/// The log density at the point with this image, where the flows have this slope, and P(Y ≤ y) there; to be inlined into loops, too.
#[inline(always)]
pub(super) fn of_point(z: f64, slope: f64) -> [f64; 2] {
    [normal::log_pdf(z) + vector::ln(slope), vector::normal_sf(-z)]
}

/// [`Learnable::log_likelihood_grads`] of at most N rows.
fn of_block<const N: usize>(
    stack: &Stack,
    rows: &mut Rows<N>,
    params: &[f32],
    targets: &[f64],
    half: Option<f64>,
    weight: f64,
    grads: &mut [f32],
) -> f64 {
    // The last one stands in for those that are missing.
    let last = targets.len() - 1;
    let ys = std::array::from_fn(|row| targets[row.min(last)]);
    let mut logs = [0.0; N];
    LogLikelihoods { stack, params, ys, half, rows, logs: &mut logs }.run();
    for (nth, column) in rows.grad_raw().iter().enumerate() {
        let out = grads[nth..].iter_mut().step_by(stack.num_params());
        out.zip(column).for_each(|(out, grad)| *out = (weight * grad) as f32);
    }
    logs[..=last].iter().sum()
}

/// Log likelihoods of a block of rows, whose gradients it leaves in `rows`, d = 1.
struct LogLikelihoods<'a, const N: usize> {
    stack: &'a Stack,
    params: &'a [f32],
    ys: Column<N>,
    half: Option<f64>,
    rows: &'a mut Rows<N>,
    logs: &'a mut Column<N>,
}

impl<const N: usize> Loops for LogLikelihoods<'_, N> {
    #[inline(always)]
    fn call(self) {
        let Self { stack, params, ys, half, rows, logs } = self;
        rows.take(params.chunks_exact(stack.num_params()));
        rows.clear_grads();
        stack.prepare_rows(rows);
        let Some(half) = half else {
            let (mut z, mut grad) = (ys, [0.0; N]);
            stack.forward_rows_and_keep(0, &mut z, rows);
            for row in 0..N {
                logs[row] = normal::log_pdf(z[row]);
                grad[row] = -z[row];
            }
            stack.add_log_slopes(0, logs, rows);
            stack.backward_rows(0, grad, 1.0, rows);
            return;
        };
        let [mut low, mut high] = [ys; 2];
        for row in 0..N {
            low[row] -= half;
            high[row] += half;
        }
        stack.forward_rows_and_keep(0, &mut low, rows);
        stack.forward_rows_and_keep(1, &mut high, rows);
        for row in 0..N {
            let log_mass = vector::log_interval(low[row], high[row]);
            // What the density at each end, over the mass, makes of ∂z there.
            low[row] = -vector::exp(normal::log_pdf(low[row]) - log_mass);
            high[row] = vector::exp(normal::log_pdf(high[row]) - log_mass);
            logs[row] = log_mass;
        }
        stack.backward_rows(0, low, 0.0, rows);
        stack.backward_rows(1, high, 0.0, rows);
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

    fn log_likelihood_grads(
        &self,
        rows: &[f32],
        targets: &[f64],
        half: Option<f64>,
        weight: f64,
        grads: &mut [f32],
        ws: &mut Workspace,
    ) -> f64 {
        let is_tame = |&y: &f64| y.abs() < FAR && !half.is_some_and(|half| is_narrow(y, half));
        let (stack, num_params) = (&self.stack, self.num_params());
        let block = ROWS * num_params;
        let blocks = rows.chunks(block).zip(grads.chunks_mut(block)).zip(targets.chunks(ROWS * self.dim()));
        let mut sum = 0.0;
        for ((params, grads), targets) in blocks {
            sum += match ws {
                Workspace::Flow { rows: Some(rows), .. } if targets.iter().all(is_tame) => {
                    let (many, one) = &mut **rows;
                    if targets.len() > 1 {
                        of_block(stack, many, params, targets, half, weight, grads)
                    } else {
                        of_block(stack, one, params, targets, half, weight, grads)
                    }
                }
                _ => one_by_one(self, params, targets, half, weight, grads, ws),
            };
        }
        sum
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

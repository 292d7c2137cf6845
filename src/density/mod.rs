//! Conditional distributions of the target: a row of parameters, as a net puts them out, gives a density.
//!
//! Parameters are `f32`, the very numbers that are published, and all figures are computed from them in `f64`. The
//! target is in the model's normalised units.

mod blend;
mod blend_rows;
pub mod calibrated;
mod joint;
mod kmn;
mod level;
mod limited;
mod mdn;
mod mixture;
mod nfn;
mod positive;
pub mod recalibration;
mod shortfall;

pub use blend::{Blend, NUM_OWN_PARAMS};
pub use calibrated::Calibrated;
pub use joint::Joint;
pub use kmn::Kmn;
pub use level::Level;
pub use limited::limited;
pub use mdn::Mdn;
pub use nfn::Nfn;
pub use positive::Positive;
pub use shortfall::Shortfall;

use std::{ops::Range, sync::Arc};

use crate::{
    config::{Calibrate, Config, FlowKind, ModelKind, Support},
    flow::{
        self, Stack,
        rows::{ROWS, Rows},
    },
};
pub use flow::Side;
use mixture::Mixture;

/// A family of distributions over d-vectors, one for each row of parameters.
///
/// A row is taken with [`Density::load`] into a workspace that the density made; the other calls then answer for that
/// row. None of them allocates. The distribution function and its kin are for d = 1.
pub trait Density: Send + Sync {
    /// The length d of a target.
    fn dim(&self) -> usize;

    /// How many parameters a row has.
    fn num_params(&self) -> usize;

    /// Space for the other calls to work in.
    fn workspace(&self) -> Workspace;

    /// Takes the row of parameters that the calls after it answer for.
    fn load(&self, params: &[f32], ws: &mut Workspace);

    /// Whether a target can have this value at all, whatever the parameters are.
    fn is_possible(&self, _y: &[f64]) -> bool {
        true
    }

    /// log p(y), in nats; −∞ where y is not possible.
    fn log_density(&self, y: &[f64], ws: &mut Workspace) -> f64;

    /// log P(Y ≤ y), in nats, for d = 1.
    fn log_cdf(&self, y: f64, ws: &mut Workspace) -> f64;

    /// log P(Y > y), in nats, for d = 1.
    fn log_sf(&self, y: f64, ws: &mut Workspace) -> f64;

    /// log P(low < Y ≤ high), in nats, for d = 1 and low < high.
    fn log_mass(&self, low: f64, high: f64, ws: &mut Workspace) -> f64;

    /// log P(|Y − y| ≤ half), in nats, for d = 1: what is known of a target that is rounded. Where the interval is narrower than
    /// doubles around y can tell, it is the density's at y.
    fn log_rounded(&self, y: f64, half: f64, ws: &mut Workspace) -> f64 {
        if is_narrow(y, half) {
            return self.log_density(&[y], ws) + (2.0 * half).ln();
        }
        self.log_mass(y - half, y + half, ws)
    }

    /// What a target is worth that has this value, or that is known to lie within `half` of it, for d = 1.
    fn likelihood(&self, y: f64, half: Option<f64>, ws: &mut Workspace) -> Likelihood {
        let (log, end) = match half {
            None => (self.log_density(&[y], ws), y),
            Some(half) => (self.log_rounded(y, half, ws), y - half),
        };
        Likelihood { log, below: self.log_cdf(end, ws).exp(), log_parts: None }
    }

    /// The mean of Y where it exceeds y and 0 elsewhere, for d = 1, where there is a closed form.
    fn mean_above(&self, _y: f64, _ws: &mut Workspace) -> Option<f64> {
        None
    }

    /// The index ξ of a tail of one of the d targets: P(Y > y) falls like y^(−1/ξ), and faster than any power where it is 0;
    /// below the same.
    fn tail_index(&self, axis: usize, side: Side, ws: &Workspace) -> f64;

    /// Writes the y (d) that a point z (d) of a standard normal base stands for: over such points it has this distribution.
    fn to_data(&self, z: &[f64], y: &mut [f64], ws: &mut Workspace);

    /// The y with P(Y ≤ y) = `level`, for d = 1.
    fn quantile(&self, level: &Level, ws: &mut Workspace) -> f64;

    /// P(Y > y) of each number y, for d = 1.
    fn exceed(&self, ys: &[f64], out: &mut [f64], ws: &mut Workspace) {
        for (out, &y) in out.iter_mut().zip(ys) {
            *out = self.log_sf(y, ws).exp();
        }
    }

    /// P(Y > y) and the density p(y), for d = 1.
    fn exceed_and_density(&self, y: f64, ws: &mut Workspace) -> [f64; 2] {
        [self.log_sf(y, ws).exp(), self.log_density(&[y], ws).exp()]
    }

    /// The quantiles of these levels, for d = 1.
    fn quantiles(&self, levels: &[Level], out: &mut [f64], ws: &mut Workspace) {
        for (out, level) in out.iter_mut().zip(levels) {
            *out = self.quantile(level, ws);
        }
    }

    /// The quantiles of these levels and the density p(y) at each, for d = 1.
    fn quantiles_and_densities(
        &self,
        levels: &[Level],
        out: &mut [f64],
        densities: &mut [f64],
        ws: &mut Workspace,
    ) {
        self.quantiles(levels, out, ws);
        for (density, &y) in densities.iter_mut().zip(&*out) {
            *density = self.log_density(&[y], ws).exp();
        }
    }

    /// Answers for many rows at once, for d = 1. What a row says depends on no other.
    fn tell(&self, asked: &Asked<'_>, mut told: Told<'_>, ws: &mut Workspace) {
        for nth in 0..asked.rows.len() {
            let row = nth..nth + 1;
            self.load(asked.rows[nth], ws);
            tell_of_loaded(self, &asked.part(row.clone()), told.part(row, asked), ws);
        }
    }

    /// The flows that make it of a standard normal base, where they have loops over many rows of parameters.
    fn over_rows(&self) -> Option<&Stack> {
        None
    }

    /// The expected shortfall, for d = 1.
    fn shortfall(&self, shortfall: &Shortfall, ws: &mut Workspace) -> f64 {
        shortfall.of(self, ws)
    }

    /// The limited expected value E[min(Y, limit)], for d = 1.
    fn limited(&self, limit: f64, ws: &mut Workspace) -> f64 {
        limited(limit, self, ws)
    }
}

/// A density whose parameters can be learned.
pub trait Learnable: Density {
    /// The row where learning starts, for targets such as these (d each): about as wide as they are, where they are. Without
    /// any, as for standard normal ones.
    fn initial(&self, targets: &[f64]) -> Vec<f32>;

    /// What each parameter of a row is.
    fn roles(&self) -> Vec<Role>;

    /// Which parameters make up for a change of the target's unit, where some do.
    fn unit(&self) -> Option<Unit> {
        None
    }

    /// [`Density::log_density`]; writes its gradient with respect to the row's parameters.
    fn log_density_grad(&self, y: &[f64], grad: &mut [f64], ws: &mut Workspace) -> f64;

    /// Σ [`Density::log_density`] over many rows of parameters with a target (d) each; or with `half`, d = 1, Σ [`Density::log_rounded`].
    /// Writes the gradient with respect to each row's parameters, times `weight`, where they stand.
    fn log_likelihood_grads(
        &self,
        rows: &[f32],
        targets: &[f64],
        half: Option<f64>,
        weight: f64,
        grads: &mut [f32],
        ws: &mut Workspace,
    ) -> f64 {
        one_by_one(self, rows, targets, half, weight, grads, ws)
    }

    /// [`Density::log_mass`]; writes its gradient with respect to the row's parameters.
    fn log_mass_grad(&self, low: f64, high: f64, grad: &mut [f64], ws: &mut Workspace) -> f64;

    /// [`Density::log_rounded`]; writes its gradient with respect to the row's parameters.
    fn log_rounded_grad(&self, y: f64, half: f64, grad: &mut [f64], ws: &mut Workspace) -> f64 {
        if is_narrow(y, half) {
            return self.log_density_grad(&[y], grad, ws) + (2.0 * half).ln();
        }
        self.log_mass_grad(y - half, y + half, grad, ws)
    }
}

/// What a distribution says of a target once that is known, d = 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// The log density at its value, or the log probability of the interval that it is known to lie in, in nats.
    pub log: f64,
    /// P(Y ≤ y) at its value, or at the interval's lower end.
    pub below: f64,
    /// Of a mixture `log` of each of its parts, the net and the baseline; `None` where there is but one.
    pub log_parts: Option<[f64; 2]>,
}

impl Likelihood {
    /// Of no target.
    pub const NONE: Self = Self { log: f64::NAN, below: f64::NAN, log_parts: None };
}

/// What is asked of many rows of parameters at once, d = 1.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The rows.
    pub rows: &'a [&'a [f32]],
    /// Numbers y of which P(Y > y) is asked, as many of each row, row by row.
    pub ys: &'a [f64],
    /// Levels of which each row's quantiles are asked.
    pub levels: &'a [Level],
    /// Each row's target, NaN where it has none; none at all where no row has one.
    pub targets: &'a [f64],
    /// How far from that value the target may be, where it is rounded.
    pub halves: Option<&'a [f64]>,
}

/// Room for the answers, row by row.
#[derive(Debug)]
pub struct Told<'a> {
    /// P(Y > y) of each number.
    pub exceed: &'a mut [f64],
    /// The quantiles.
    pub quantiles: &'a mut [f64],
    /// What the targets are worth; what stands here for a row that has none says nothing.
    pub likelihoods: &'a mut [Likelihood],
}

impl Asked<'_> {
    /// How many numbers each row has.
    fn num_ys(&self) -> usize {
        self.ys.len() / self.rows.len().max(1)
    }

    /// What is asked of some of the rows.
    fn part(&self, rows: Range<usize>) -> Self {
        let of_targets = if self.targets.is_empty() { 0..0 } else { rows.clone() };
        Self {
            ys: &self.ys[times(&rows, self.num_ys())],
            levels: self.levels,
            targets: &self.targets[of_targets.clone()],
            halves: self.halves.map(|halves| &halves[of_targets]),
            rows: &self.rows[rows],
        }
    }
}

impl Told<'_> {
    /// Room for what was asked of some of the rows.
    fn part(&mut self, rows: Range<usize>, asked: &Asked<'_>) -> Told<'_> {
        Told {
            exceed: &mut self.exceed[times(&rows, asked.num_ys())],
            quantiles: &mut self.quantiles[times(&rows, asked.levels.len())],
            likelihoods: &mut self.likelihoods[if asked.targets.is_empty() { 0..0 } else { rows }],
        }
    }
}

/// The places of rows of so many numbers.
fn times(rows: &Range<usize>, numbers: usize) -> Range<usize> {
    rows.start * numbers..rows.end * numbers
}

/// [`Density::tell`] of one row, which is loaded.
pub fn tell_of_loaded<D: Density + ?Sized>(
    density: &D,
    asked: &Asked<'_>,
    told: Told<'_>,
    ws: &mut Workspace,
) {
    density.exceed(asked.ys, told.exceed, ws);
    density.quantiles(asked.levels, told.quantiles, ws);
    if let (&[y], [likelihood]) = (asked.targets, told.likelihoods)
        && !y.is_nan()
    {
        *likelihood = density.likelihood(y, asked.halves.map(|halves| halves[0]), ws);
    }
}

/// [`Learnable::log_likelihood_grads`] of any density.
fn one_by_one<L: Learnable + ?Sized>(
    density: &L,
    rows: &[f32],
    targets: &[f64],
    half: Option<f64>,
    weight: f64,
    grads: &mut [f32],
    ws: &mut Workspace,
) -> f64 {
    let mut grad = vec![0.0; density.num_params()];
    let rows = rows.chunks_exact(grad.len()).zip(grads.chunks_exact_mut(grad.len()));
    let mut sum = 0.0;
    for ((params, out), y) in rows.zip(targets.chunks_exact(density.dim())) {
        density.load(params, ws);
        sum += match half {
            None => density.log_density_grad(y, &mut grad, ws),
            Some(half) => density.log_rounded_grad(y[0], half, &mut grad, ws),
        };
        out.iter_mut().zip(&grad).for_each(|(out, grad)| *out = (weight * grad) as f32);
    }
    sum
}

/// Whether the ends of an interval around y lose too many of their digits to be told apart well.
fn is_narrow(y: f64, half: f64) -> bool {
    half < 1e-9 * y.abs()
}

/// What a parameter is to the net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A function of the inputs.
    Conditional,
    /// The same, and a location in the target's units: adding to it (and to the others) moves the distribution by as much (but for
    /// a positive target near 0), so that it may be linear in the inputs.
    Location,
    /// Learned, and the same for all inputs.
    Global,
    /// As it was at the start.
    Fixed,
}

/// The parameters that change with the target's unit, one of each for each of the d targets: with rm + c in a location's and s + log r in
/// a log scale's place the distribution is that of rY + c.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Those of m.
    pub locations: Vec<usize>,
    /// Those of s, as long as that is within ±8.
    pub log_scales: Vec<usize>,
}

/// A density's scratch space, with the row that was loaded last. Each density makes its own kind.
#[derive(Debug, Clone)]
pub enum Workspace {
    /// Of a stack of flows.
    Flow {
        /// Of the stack.
        stack: flow::Workspace,
        /// A second gradient, as long as a row.
        grad: Vec<f64>,
        /// Of many rows at once and of one alone, where the stack has loops over them.
        rows: Option<Box<(Rows<ROWS>, Rows<1>)>>,
    },
    /// Of a mixture with a baseline.
    Blend(Box<blend::Parts>),
    /// Of one whose distribution function is recalibrated.
    Calibrated(Box<calibrated::Parts>),
    /// Of a mixture of Gaussians.
    Mixture {
        /// The row.
        raw: Vec<f64>,
        /// What it says.
        mixture: Mixture,
    },
}

#[cfg(test)]
mod tests;

/// The densities of a config, in normalised units.
#[derive(Clone)]
pub struct Densities {
    /// What the net's outputs are the parameters of.
    pub net: Arc<dyn Learnable>,
    /// What one target's distribution is without features.
    pub baseline: Arc<dyn Learnable>,
    /// The mixture of the two, the net's calibrated where the config says so; not of several targets.
    pub blend: Option<Arc<Blend>>,
}

impl Densities {
    /// Those that the config asks for.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let Config { model, target, .. } = config;
        let dim = target.fields.len();
        let supported = |density: Arc<dyn Learnable>| match target.support {
            Support::Real => density,
            Support::Positive => Arc::new(Positive::new(density)) as Arc<dyn Learnable>,
        };
        let net = supported(match model.kind {
            ModelKind::Nfn => Arc::new(Nfn::new(&model.flows, dim)),
            ModelKind::Mdn => Arc::new(Mdn),
            ModelKind::Kmn => Arc::new(Kmn),
        });
        let baseline = supported(Arc::new(Nfn::new(&[FlowKind::Tail], 1)));
        let of_net = || match config.score.calibrate {
            Calibrate::Off => net.clone() as Arc<dyn Density>,
            Calibrate::Online => Arc::new(Calibrated::new(net.clone())),
        };
        let blend = (dim == 1).then(|| Arc::new(Blend::new(of_net(), baseline.clone())));
        Self { net, baseline, blend }
    }

    /// What is published.
    #[must_use]
    pub fn published(&self) -> Arc<dyn Density> {
        match &self.blend {
            Some(blend) => blend.clone(),
            None => self.net.clone(),
        }
    }
}

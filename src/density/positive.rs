//! Distributions on the positive numbers.

use std::sync::Arc;

use super::{Density, Learnable, Level, Role, Side, Workspace};
use crate::{
    config::MAX_TARGETS,
    math::scalar::{log_1m_exp, softplus},
};

/// Y = softplus(X) = log(1 + eˣ), axis by axis, for an X of another density: all mass lies above 0, and as the slope tends to 1,
/// the tail of Y is that of X, index and all. (A logarithm of the target would make a power tail of an exponential one.)
#[derive(Clone)]
pub struct Positive(Arc<dyn Learnable>);

impl Positive {
    /// What softplus makes of this density.
    #[must_use]
    pub fn new(inner: Arc<dyn Learnable>) -> Self {
        Self(inner)
    }
}

/// The x with softplus(x) = `y`; −∞ where there is none.
fn preimage(y: f64) -> f64 {
    if y > 0.0 { y + log_1m_exp(-y) } else { f64::NEG_INFINITY }
}

/// softplus(x), and above 0 also where that underflows.
fn image(x: f64) -> f64 {
    softplus(x).max(f64::MIN_POSITIVE)
}

/// Writes the preimages of `y`; returns log |det ∂x/∂y|.
fn preimages<'a>(y: &[f64], x: &'a mut [f64; MAX_TARGETS]) -> (&'a [f64], f64) {
    let mut log_det = 0.0;
    for (x, &y) in x.iter_mut().zip(y) {
        *x = preimage(y);
        log_det -= log_1m_exp(-y);
    }
    (&x[..y.len()], log_det)
}

impl Density for Positive {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn num_params(&self) -> usize {
        self.0.num_params()
    }

    fn workspace(&self) -> Workspace {
        self.0.workspace()
    }

    fn load(&self, params: &[f32], ws: &mut Workspace) {
        self.0.load(params, ws);
    }

    fn is_possible(&self, y: &[f64]) -> bool {
        y.iter().all(|&y| y > 0.0)
    }

    fn log_density(&self, y: &[f64], ws: &mut Workspace) -> f64 {
        if !self.is_possible(y) {
            return f64::NEG_INFINITY;
        }
        let mut x = [0.0; MAX_TARGETS];
        let (x, log_det) = preimages(y, &mut x);
        self.0.log_density(x, ws) + log_det
    }

    fn log_cdf(&self, y: f64, ws: &mut Workspace) -> f64 {
        if y > 0.0 { self.0.log_cdf(preimage(y), ws) } else { f64::NEG_INFINITY }
    }

    fn log_sf(&self, y: f64, ws: &mut Workspace) -> f64 {
        if y > 0.0 { self.0.log_sf(preimage(y), ws) } else { 0.0 }
    }

    fn log_mass(&self, low: f64, high: f64, ws: &mut Workspace) -> f64 {
        if high > 0.0 { self.0.log_mass(preimage(low), preimage(high), ws) } else { f64::NEG_INFINITY }
    }

    fn tail_index(&self, axis: usize, side: Side, ws: &Workspace) -> f64 {
        match side {
            Side::Lower => 0.0, // it ends at 0
            Side::Upper => self.0.tail_index(axis, side, ws),
        }
    }

    fn to_data(&self, z: &[f64], y: &mut [f64], ws: &mut Workspace) {
        self.0.to_data(z, y, ws);
        y.iter_mut().for_each(|y| *y = image(*y));
    }

    fn quantile(&self, level: &Level, ws: &mut Workspace) -> f64 {
        image(self.0.quantile(level, ws))
    }
}

impl Learnable for Positive {
    fn initial(&self, targets: &[f64]) -> Vec<f32> {
        // One that is rounded to 0 stands as near to it as the others' rounding would.
        let least = targets.iter().copied().filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min).min(1.0);
        let preimages: Vec<f64> = targets.iter().map(|&y| preimage(y.max(0.5 * least))).collect();
        self.0.initial(&preimages)
    }

    fn roles(&self) -> Vec<Role> {
        self.0.roles()
    }

    fn log_density_grad(&self, y: &[f64], grad: &mut [f64], ws: &mut Workspace) -> f64 {
        if !self.is_possible(y) {
            grad.fill(0.0);
            return f64::NEG_INFINITY;
        }
        let mut x = [0.0; MAX_TARGETS];
        let (x, log_det) = preimages(y, &mut x);
        self.0.log_density_grad(x, grad, ws) + log_det
    }

    fn log_mass_grad(&self, low: f64, high: f64, grad: &mut [f64], ws: &mut Workspace) -> f64 {
        if high > 0.0 {
            return self.0.log_mass_grad(preimage(low), preimage(high), grad, ws);
        }
        grad.fill(0.0);
        f64::NEG_INFINITY
    }
}

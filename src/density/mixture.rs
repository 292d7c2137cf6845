//! Mixtures of Gaussians in one dimension: what the mixture density network and the kernel mixture network have in common.

use super::{Density, Learnable, Level, Role, Side, Workspace};
use crate::math::{normal, scalar::log_sum_exp};

/// The least standard deviation, in normalised units: the likelihood of repeated values would have no bound.
pub(super) const MIN_SCALE: f64 = 1e-3;

/// What a row of parameters says of a mixture: all that a density of this kind is.
pub(super) trait Family: Send + Sync {
    /// How many Gaussians there are.
    fn num_parts(&self) -> usize;

    /// As [`Density::num_params`].
    fn num_params(&self) -> usize;

    /// As [`Learnable::initial`].
    fn initial(&self, targets: &[f64]) -> Vec<f32>;

    /// As [`Learnable::roles`].
    fn roles(&self) -> Vec<Role>;

    /// Sets the weights, means and scales that a row says.
    fn read(&self, raw: &[f64], mixture: &mut Mixture);

    /// Writes the gradient with respect to the row, from that which the mixture holds.
    fn collect(&self, mixture: &Mixture, raw: &[f64], grad: &mut [f64]);
}

impl<F: Family> Density for F {
    fn dim(&self) -> usize {
        1
    }

    fn num_params(&self) -> usize {
        Family::num_params(self)
    }

    fn workspace(&self) -> Workspace {
        Workspace::Mixture {
            raw: vec![0.0; Family::num_params(self)],
            mixture: Mixture::new(self.num_parts()),
        }
    }

    fn load(&self, params: &[f32], ws: &mut Workspace) {
        let (raw, mixture) = parts(ws);
        for (slot, &param) in raw.iter_mut().zip(params) {
            *slot = f64::from(param);
        }
        self.read(raw, mixture);
    }

    fn log_density(&self, y: &[f64], ws: &mut Workspace) -> f64 {
        parts(ws).1.log_density(y[0])
    }

    fn log_cdf(&self, y: f64, ws: &mut Workspace) -> f64 {
        parts(ws).1.log_cdf(y)
    }

    fn log_sf(&self, y: f64, ws: &mut Workspace) -> f64 {
        parts(ws).1.log_sf(y)
    }

    fn log_mass(&self, low: f64, high: f64, ws: &mut Workspace) -> f64 {
        parts(ws).1.log_mass(low, high)
    }

    fn mean_above(&self, y: f64, ws: &mut Workspace) -> Option<f64> {
        Some(parts(ws).1.mean_above(y))
    }

    fn tail_index(&self, _axis: usize, _side: Side, _ws: &Workspace) -> f64 {
        0.0
    }

    fn to_data(&self, z: &[f64], y: &mut [f64], ws: &mut Workspace) {
        y[0] = self.quantile(&Level::from_z(z[0]), ws);
    }

    fn quantile(&self, level: &Level, ws: &mut Workspace) -> f64 {
        parts(ws).1.quantile(level)
    }
}

impl<F: Family> Learnable for F {
    fn initial(&self, targets: &[f64]) -> Vec<f32> {
        Family::initial(self, targets)
    }

    fn roles(&self) -> Vec<Role> {
        Family::roles(self)
    }

    fn log_density_grad(&self, y: &[f64], grad: &mut [f64], ws: &mut Workspace) -> f64 {
        let (raw, mixture) = parts(ws);
        let log_density = mixture.log_density_grad(y[0]);
        self.collect(mixture, raw, grad);
        log_density
    }

    fn log_mass_grad(&self, low: f64, high: f64, grad: &mut [f64], ws: &mut Workspace) -> f64 {
        let (raw, mixture) = parts(ws);
        let log_mass = mixture.log_mass_grad(low, high);
        self.collect(mixture, raw, grad);
        log_mass
    }
}

/// The row and the mixture.
fn parts(ws: &mut Workspace) -> (&mut [f64], &mut Mixture) {
    let Workspace::Mixture { raw, mixture } = ws else { unreachable!("a mixture made the workspace") };
    (raw, mixture)
}

/// The parts of a mixture, with room for what is computed of them.
#[derive(Debug, Clone)]
pub struct Mixture {
    /// Logarithms of the weights, which sum to one.
    pub(super) log_weights: Vec<f64>,
    pub(super) means: Vec<f64>,
    /// Standard deviations.
    pub(super) scales: Vec<f64>,
    /// Of each part: the logarithm of its share of what was asked for; scratch.
    log_parts: Vec<f64>,
    /// The gradient of the last logarithm that was asked for with one, by the logits of the weights.
    pub(super) by_logit: Vec<f64>,
    /// By the means.
    pub(super) by_mean: Vec<f64>,
    /// By the standard deviations.
    pub(super) by_scale: Vec<f64>,
}

impl Mixture {
    pub fn new(num_parts: usize) -> Self {
        let room = || vec![0.0; num_parts];
        Self {
            log_weights: room(),
            means: room(),
            scales: vec![1.0; num_parts],
            log_parts: room(),
            by_logit: room(),
            by_mean: room(),
            by_scale: room(),
        }
    }

    /// Takes the weights that a softmax makes of these logits.
    pub fn set_weights(&mut self, logits: impl IntoIterator<Item = f64>) {
        for (slot, logit) in self.log_weights.iter_mut().zip(logits) {
            *slot = logit;
        }
        let total = log_sum_exp(&self.log_weights);
        self.log_weights.iter_mut().for_each(|log_weight| *log_weight -= total);
    }

    /// Leaves the logarithm of each part's weighted share, as `log_share` of its mean and scale gives it; returns that of the
    /// sum.
    fn sum(&mut self, log_share: impl Fn(f64, f64) -> f64) -> f64 {
        let parts = self.log_weights.iter().zip(&self.means).zip(&self.scales);
        for (slot, ((log_weight, &mean), &scale)) in self.log_parts.iter_mut().zip(parts) {
            *slot = log_weight + log_share(mean, scale);
        }
        log_sum_exp(&self.log_parts)
    }

    pub fn log_density(&mut self, y: f64) -> f64 {
        self.sum(|mean, scale| normal::log_pdf((y - mean) / scale) - scale.ln())
    }

    pub fn log_cdf(&mut self, y: f64) -> f64 {
        self.sum(|mean, scale| normal::log_cdf((y - mean) / scale)).min(0.0)
    }

    pub fn log_sf(&mut self, y: f64) -> f64 {
        self.sum(|mean, scale| normal::log_sf((y - mean) / scale)).min(0.0)
    }

    /// log P(low < Y ≤ high).
    pub fn log_mass(&mut self, low: f64, high: f64) -> f64 {
        self.sum(|mean, scale| normal::log_interval((low - mean) / scale, (high - mean) / scale)).min(0.0)
    }

    /// [`Self::log_density`], and leaves its gradient.
    pub fn log_density_grad(&mut self, y: f64) -> f64 {
        let total = self.log_density(y);
        for i in 0..self.means.len() {
            let share = (self.log_parts[i] - total).exp();
            let (scale, z) = (self.scales[i], (y - self.means[i]) / self.scales[i]);
            self.by_logit[i] = share - self.log_weights[i].exp();
            self.by_mean[i] = share * z / scale;
            self.by_scale[i] = share * (z * z - 1.0) / scale;
        }
        total
    }

    /// [`Self::log_mass`], and leaves its gradient.
    pub fn log_mass_grad(&mut self, low: f64, high: f64) -> f64 {
        let total = self.log_mass(low, high);
        for i in 0..self.means.len() {
            let (mean, scale) = (self.means[i], self.scales[i]);
            self.by_logit[i] = (self.log_parts[i] - total).exp() - self.log_weights[i].exp();
            // A part's density at an end, over the whole mass.
            let end = |y: f64| {
                let z = (y - mean) / scale;
                let over = (self.log_weights[i] + normal::log_pdf(z) - total).exp();
                if over > 0.0 { (over, over * z) } else { (0.0, 0.0) }
            };
            let ((at_low, moment_low), (at_high, moment_high)) = (end(low), end(high));
            self.by_mean[i] = (at_low - at_high) / scale;
            self.by_scale[i] = (moment_low - moment_high) / scale;
        }
        total
    }

    /// The mean of Y where it exceeds y and 0 elsewhere: of each part its mean's share and what lies beyond it.
    pub fn mean_above(&self, y: f64) -> f64 {
        let parts = self.log_weights.iter().zip(&self.means).zip(&self.scales);
        parts
            .map(|((log_weight, &mean), &scale)| {
                let z = (y - mean) / scale;
                log_weight.exp() * (mean * normal::cdf(-z) + scale * normal::log_pdf(z).exp())
            })
            .sum()
    }

    /// The y with P(Y ≤ y) = `level`.
    pub fn quantile(&mut self, level: &Level) -> f64 {
        // It lies between the parts' own quantiles.
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (mean, scale) in self.means.iter().zip(&self.scales) {
            let own = mean + scale * level.z();
            (low, high) = (low.min(own), high.max(own));
        }
        let middle = 0.5 * (low + high);
        level.search([low, high], middle, |y, is_lower| {
            let log_side = if is_lower { self.log_cdf(y) } else { self.log_sf(y) };
            (log_side, self.log_density(y))
        })
    }
}

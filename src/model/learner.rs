//! Learning: one SGD step a mini-batch, by maximum likelihood.

use std::{ops::Range, sync::Arc};

use crate::{
    config,
    density::{self, Learnable},
    model::{
        backprop::Backprop,
        inputs::Row,
        net::Shape,
        noise::{self, Draws},
        optimizer::Optimizer,
        rescale::{self, Weights},
        saved::{Misfit, SavedLearner},
        standardiser::Rescaling,
    },
};

/// The weights under training, and all that moves them.
pub struct Learner {
    density: Arc<dyn Learnable>,
    backprop: Backprop,
    optimizer: Optimizer,
    config: config::Learn,
    seed: u64,
    /// Positions of the dense inputs that take noise.
    noisy: Vec<usize>,
    /// Weights that are never trained.
    frozen: Vec<usize>,
    output_bias: Range<usize>,
    trained: Vec<f32>,
    /// What scores: a moving average of the trained weights.
    averaged: Vec<f32>,
    /// Mini-batches seen, and so the number of the next one's noise draws; skipped ones count.
    batches: u64,
    /// Labelled records seen.
    records: u64,
    updates: u64,
    workspace: density::Workspace,
}

/// How far from 0 the bias of a scale's logarithm may be brought by a target's new unit: what the inputs add has to fit in, too.
const MAX_LOG_SCALE_BIAS: f64 = 6.0;

/// What became of a mini-batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Mean negative log density of the (noisy) batch, in nats of the normalised target.
    pub loss_nats: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Whether and how it moved the weights.
    pub taken: Taken,
}

/// Whether a mini-batch moved the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// With its gradient as it was.
    Whole,
    /// With its gradient scaled down to `learn.clip`.
    Clipped,
    /// Not at all.
    Skipped(Skip),
}

/// Why a mini-batch was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// Its loss was not finite.
    Loss,
    /// Its gradient was not finite, or would have made a weight or a moment so.
    Gradient,
}

impl Skip {
    /// The metric's label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Gradient => "gradient",
        }
    }
}

impl Learner {
    /// A learner at its starting point, which `seed` decides.
    #[must_use]
    pub fn new(
        density: Arc<dyn Learnable>,
        shape: Shape,
        config: config::Learn,
        seed: u64,
        noisy: Vec<usize>,
    ) -> Self {
        let trained = shape.initial_weights(seed, &density.initial(&[]));
        Self {
            workspace: density.workspace(),
            density,
            optimizer: Optimizer::new(
                config.optimizer,
                config.rate,
                config.momentum,
                trained.len(),
                shape.output_bias(),
            ),
            frozen: shape.frozen().to_vec(),
            output_bias: shape.output_bias(),
            backprop: Backprop::new(shape),
            config,
            seed,
            noisy,
            averaged: trained.clone(),
            trained,
            batches: 0,
            records: 0,
            updates: 0,
        }
    }

    /// Takes the density's parameters that learning starts from, before the first step.
    pub fn begin(&mut self, initial: &[f32]) {
        self.trained[self.output_bias.clone()].copy_from_slice(initial);
        self.averaged.copy_from_slice(&self.trained);
    }

    /// Goes on with a dense input in another unit; whether it can.
    pub fn rescale_input(&mut self, at: usize, rescaling: Rescaling) -> bool {
        self.rescale(|shape, weights| rescale::input(shape, at, rescaling, weights))
    }

    /// Goes on with a target in another unit, which its location and log scale among the density's parameters make up for;
    /// whether it can.
    pub fn rescale_target(&mut self, [location, log_scale]: [usize; 2], rescaling: Rescaling) -> bool {
        let bias = f64::from(self.trained[self.output_bias.start + log_scale]) - rescaling.ratio.ln();
        // Further on, a scale's logarithm is no longer its parameter.
        bias.abs() < MAX_LOG_SCALE_BIAS
            && self
                .rescale(|shape, weights| rescale::target(shape, [location, log_scale], rescaling, weights))
    }

    fn rescale(&mut self, change: impl FnOnce(&Shape, &mut Weights<'_>) -> bool) -> bool {
        let values = [&mut self.trained[..], &mut self.averaged[..]];
        change(self.backprop.shape(), &mut Weights { values, moments: self.optimizer.moments_mut() })
    }

    /// Everything that the next step depends on.
    #[must_use]
    pub fn saved(&self) -> SavedLearner {
        SavedLearner {
            trained: self.trained.clone(),
            averaged: self.averaged.clone(),
            moments: self.optimizer.moments().clone(),
            optimizer_steps: self.optimizer.steps(),
            batches: self.batches,
            records: self.records,
            updates: self.updates,
        }
    }

    /// Goes on from what was saved.
    ///
    /// # Errors
    /// When it is not finite, or another net's; then nothing is taken.
    pub fn restore(&mut self, saved: SavedLearner) -> Result<(), Misfit> {
        saved.check(self.trained.len())?;
        let SavedLearner { trained, averaged, moments, optimizer_steps, batches, records, updates } = saved;
        (self.trained, self.averaged) = (trained, averaged);
        self.optimizer.restore(optimizer_steps, moments);
        (self.batches, self.records, self.updates) = (batches, records, updates);
        Ok(())
    }

    /// The weights that score.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.averaged
    }

    /// Mini-batches seen, and steps on samples.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// SGD steps taken.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Counts labelled records that are learned from for the first time.
    pub fn count(&mut self, records: usize) {
        self.records += records as u64;
    }

    /// Learns from one mini-batch: a row of inputs and a row of normalised targets (`dim` each) a record. With `half_step`, a
    /// target (d = 1) is known to be that near, and its interval's probability is what is likely. Both take the noise.
    ///
    /// A batch whose loss or gradient is not finite moves nothing, so the weights are finite at all times.
    pub fn step(&mut self, rows: &mut [Row], targets: &mut [f64], half_step: Option<f64>) -> Step {
        self.batches += 1;
        self.add_noise(rows, targets);
        let (loss_nats, gradient_norm) = self.differentiate(rows, targets, half_step);
        let taken = if !loss_nats.is_finite() {
            Taken::Skipped(Skip::Loss)
        } else if !gradient_norm.is_finite() {
            Taken::Skipped(Skip::Gradient)
        } else {
            self.descend(gradient_norm)
        };
        Step { loss_nats, gradient_norm, taken }
    }

    fn add_noise(&self, rows: &mut [Row], targets: &mut [f64]) {
        let dim = self.density.dim();
        let scale = noise::scale(self.config.noise, self.records, self.noisy.len() + dim);
        if scale.x == 0.0 && scale.y == 0.0 {
            return;
        }
        for (index, (row, target)) in rows.iter_mut().zip(targets.chunks_exact_mut(dim)).enumerate() {
            let mut draws = Draws::new(self.seed, self.batches, index);
            for &at in &self.noisy {
                row.dense[at] += (scale.x * draws.normal()) as f32;
            }
            for y in target {
                let noisy = *y + scale.y * draws.normal();
                // Noise is not to make a target impossible.
                if self.density.is_possible(&[noisy]) {
                    *y = noisy;
                }
            }
        }
    }

    /// Leaves the gradient in `self.backprop`; gives the mean loss and the gradient's norm.
    fn differentiate(&mut self, rows: &[Row], targets: &[f64], half_step: Option<f64>) -> (f64, f64) {
        let Self { density, backprop, trained, workspace, frozen, .. } = self;
        let share = 1.0 / rows.len() as f64;
        let mut loss = 0.0;
        backprop.run(trained, rows, |outputs, grad_outputs| {
            let log_likelihood =
                density.log_likelihood_grads(outputs, targets, half_step, -share, grad_outputs, workspace);
            loss = -share * log_likelihood;
        });
        let gradient = backprop.gradient_mut();
        frozen.iter().for_each(|&at| gradient[at] = 0.0);
        (loss, norm(gradient))
    }

    fn descend(&mut self, gradient_norm: f64) -> Taken {
        let gradient = self.backprop.gradient_mut();
        let clipped = gradient_norm > self.config.clip;
        if clipped {
            let factor = (self.config.clip / gradient_norm) as f32;
            gradient.iter_mut().for_each(|g| *g *= factor);
        }
        if !self.optimizer.step(&mut self.trained, gradient) {
            return Taken::Skipped(Skip::Gradient);
        }
        self.updates += 1;
        // The first averages are over few steps: a fixed factor would hold on to the untrained start.
        let updates = self.updates as f64;
        let keep = self.config.average.min(updates / (updates + 9.0)) as f32;
        for (average, weight) in self.averaged.iter_mut().zip(&self.trained) {
            *average = keep * *average + (1.0 - keep) * weight;
        }
        if clipped { Taken::Clipped } else { Taken::Whole }
    }
}

/// The Euclidean norm, from several sums: one alone would wait for itself.
fn norm(gradient: &[f32]) -> f64 {
    let mut sums = [0.0; 8];
    let mut add = |values: &[f32]| {
        for (sum, &g) in sums.iter_mut().zip(values) {
            *sum += f64::from(g) * f64::from(g);
        }
    };
    let (chunks, rest) = gradient.as_chunks::<8>();
    chunks.iter().for_each(|chunk| add(chunk));
    add(rest);
    sums.iter().sum::<f64>().sqrt()
}

//! How far behind its own baseline a stream's mixture with the net falls, over any so many events.

use std::collections::VecDeque;

use tailwater::{
    config::Config,
    density::{Blend, Densities, Density, Workspace},
    score::Realized,
};

use crate::{
    follow::{config, follow},
    streams::Stream,
};

/// Events to a window.
pub const WINDOW: usize = 5_000;

/// Sums over the last [`WINDOW`] events.
pub struct BehindBaseline {
    blend: std::sync::Arc<Blend>,
    workspace: Workspace,
    step: Option<f64>,
    window: VecDeque<f64>,
    sum: f64,
    /// The most that the mixture's log scores summed to less than the baseline's over a window, nats an event.
    pub most_nats: f64,
}

impl BehindBaseline {
    /// Of what this config publishes.
    pub fn new(config: &Config) -> Self {
        let blend = Densities::new(config).blend.unwrap();
        let workspace = blend.workspace();
        let step = config.target.step;
        Self { blend, workspace, step, window: VecDeque::new(), sum: 0.0, most_nats: f64::NEG_INFINITY }
    }

    /// Takes note of a target and of the distribution that its event was given, if it was given one.
    pub fn see(&mut self, params: &[f32], realized: &Realized) {
        let Some((params, &[center, scale])) = params.split_last_chunk() else { return };
        let (center, scale) = (f64::from(center), f64::from(scale));
        self.blend.load(params, &mut self.workspace);
        let half = self.step.map(|step| 0.5 * step / scale);
        let y = (realized.targets[0] - center) / scale;
        let likelihood = self.blend.likelihood(y, half, &mut self.workspace);
        // During the warm-up all is the baseline's.
        let baseline = likelihood.log_parts.map_or(likelihood.log, |[_, baseline]| baseline);
        let baseline = if half.is_none() { baseline - scale.ln() } else { baseline };
        let behind = baseline - realized.log_score;
        self.window.push_back(behind);
        self.sum += behind;
        if self.window.len() > WINDOW {
            self.sum -= self.window.pop_front().unwrap();
        }
        // A window that is not full yet is as if it had begun with events that were equal.
        self.most_nats = self.most_nats.max(self.sum / WINDOW as f64);
    }
}

/// The most that a stream's scores are behind the baseline over any window from its first event on, nats an event.
pub fn most_behind(stream: Stream, seed: u64, sets: &[String], num_events: usize) -> f64 {
    let config = config(stream, sets);
    let mut behind = BehindBaseline::new(&config);
    follow(
        &config,
        stream,
        seed,
        num_events,
        |_, _| (),
        |seen| {
            behind.see(&seen.scored.score.params, &seen.scored.score.realized);
        },
    );
    behind.most_nats
}

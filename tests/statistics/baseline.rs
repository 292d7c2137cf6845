//! How far behind its own baseline a stream's mixture with the net falls, over any so many events.

use std::collections::VecDeque;

use tailwater::score::Realized;

use crate::{
    follow::{config, follow},
    streams::Stream,
};

/// Events to a window.
pub const WINDOW: usize = 5_000;

/// Sums over the last [`WINDOW`] events.
pub struct BehindBaseline {
    window: VecDeque<f64>,
    sum: f64,
    /// The most that the mixture's log scores summed to less than the baseline's over a window, nats an event.
    pub most_nats: f64,
}

impl BehindBaseline {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self { window: VecDeque::new(), sum: 0.0, most_nats: f64::NEG_INFINITY }
    }

    /// Takes note of a target, if its event was given a distribution.
    pub fn see(&mut self, realized: &Realized) {
        if realized.log_score.is_nan() {
            return;
        }
        let behind = realized.baseline_log_score() - realized.log_score;
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
    let mut behind = BehindBaseline::new();
    follow(
        &config,
        stream,
        seed,
        num_events,
        |_, _| (),
        |seen| {
            behind.see(&seen.scored.score.realized);
        },
    );
    behind.most_nats
}

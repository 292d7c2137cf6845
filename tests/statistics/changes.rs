//! How far behind the truth's log score a stream leaves the operator while it changes, window by window.

use std::ops::Range;

use tailwater::{
    model::learner::{Step, Taken},
    record::{Cell, Event},
};

use crate::{
    follow::{config, follow},
    streams::Stream,
};

/// Mean of log p(y|x) − log p̂(y|x) in nats over each of these ranges of events, of a stream that is learned with these keys set;
/// infinite where a score was null.
pub fn regrets(stream: Stream, seed: u64, sets: &[String], windows: &[Range<usize>]) -> Vec<f64> {
    regrets_as_shown(stream, seed, sets, windows, |_, _| ())
}

/// The same where the operator is shown other features of the nth event than those that its target comes from.
///
/// # Panics
/// When a step is skipped.
pub fn regrets_as_shown(
    stream: Stream,
    seed: u64,
    sets: &[String],
    windows: &[Range<usize>],
    shown: impl Fn(usize, &mut [Cell]),
) -> Vec<f64> {
    let num_events = windows.iter().map(|window| window.end).max().unwrap_or(0);
    let mut sums = vec![0.0; windows.len()];
    let change = |event: &mut Event, _| shown(event.offset as usize, &mut event.features);
    follow(&config(stream, sets), stream, seed, num_events, change, |seen| {
        let is_skipped = |step: &Step| matches!(step.taken, Taken::Skipped(_));
        assert!(!seen.steps.iter().any(is_skipped), "{}: {:?}", seen.offset, seen.steps);
        let regret = seen.truth.log_score(seen.target) - seen.scored.score.realized.log_score;
        let regret = if regret.is_nan() { f64::INFINITY } else { regret };
        for (sum, window) in sums.iter_mut().zip(windows) {
            if window.contains(&seen.offset) {
                *sum += regret;
            }
        }
    });
    sums.iter().zip(windows).map(|(sum, window)| sum / window.len() as f64).collect()
}

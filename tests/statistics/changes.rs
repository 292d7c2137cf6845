//! How far behind the truth's log score a stream leaves the operator while it changes, window by window.

use std::ops::Range;

use tailwater::{
    density,
    model::learner::Taken,
    operator::{Action, Input, Operator, place::Position},
    record::{Cell, Record},
};

use crate::{
    streams::Stream,
    suite::{config, event},
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
    let config = config(stream, sets);
    let density = density::build(&config.model, &config.target);
    let mut operator = Operator::new(&config, density, [(0, Position::at(0))].into());
    let num_events = windows.iter().map(|window| window.end).max().unwrap_or(0);
    let mut sums = vec![0.0; windows.len()];
    let mut actions = Vec::new();
    for offset in 0..num_events {
        let (mut event, truth, target) = event(stream, seed, offset);
        shown(offset, &mut event.features);
        operator.push(Input::Record(Record::Event(event)));
        while operator.take(&mut actions).is_some() {}
        let Some(Action::Score(scored)) = actions.first() else { panic!("nothing was scored") };
        for action in &actions {
            if let Action::Learned { step, .. } = action {
                assert!(!matches!(step.taken, Taken::Skipped(_)), "{offset}: {step:?}");
            }
        }
        let regret = truth.log_score(target) - scored.score.realized.log_score;
        let regret = if regret.is_nan() { f64::INFINITY } else { regret };
        for (sum, window) in sums.iter_mut().zip(windows) {
            if window.contains(&offset) {
                *sum += regret;
            }
        }
        actions.clear();
    }
    sums.iter().zip(windows).map(|(sum, window)| sum / window.len() as f64).collect()
}

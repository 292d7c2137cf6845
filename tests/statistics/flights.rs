//! The year's flights through decoder and operator, without Kafka: no one knows their truth, so what is published is held
//! against a forecast that knows nothing but the recent past, and against what came.

use std::collections::HashMap;

use tailwater::{
    backtest::RollingGaussian,
    config::Config,
    flights,
    model::learner::Taken,
    operator::{Action, Input, Operator, place::Position},
    record::{Decoder, Message},
    watch::drift::Detector,
};

use crate::{baseline::BehindBaseline, pit};

/// How many of the last flights are judged.
pub const NUM_LAST: usize = 100_000;

/// What the last outcomes of a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Mean log probability of the delay, nats.
    pub log_score: f64,
    /// That of a Gaussian fitted to the last 5,000 arrivals.
    pub baseline: f64,
    /// The most that the log scores were behind those of tailwater's own baseline over any window of 5,000 arrivals, from the first on, nats
    /// an arrival.
    pub behind_baseline: f64,
    /// Share of targets below each of the config's quantiles, by their PIT.
    pub coverage: Vec<f64>,
    /// Kolmogorov's distance of the PIT from uniform.
    pub pit_distance: f64,
    /// The same within the upper 1 %, relative to it.
    pub pit_tail_distance: f64,
    /// Of each figure.
    pub e_values: Vec<(String, f64)>,
    /// Changes found in the log score and in the PIT.
    pub drift: [u64; 2],
    /// Share of the steps, of the whole run, whose gradient was clipped.
    pub clipped: f64,
}

/// One flight that arrived, judged.
struct Judged {
    log_score: f64,
    baseline: f64,
    pit: f64,
}

/// The example's config with these keys set.
pub fn config(sets: &[String]) -> Config {
    let text = include_str!("../../examples/flights.toml");
    Config::from_parts(text, "flights.toml", sets, std::iter::empty()).unwrap()
}

/// Runs all flights under the example's config with these keys set, and judges the last.
pub fn run(sets: &[String]) -> Report {
    let config = config(sets);
    let mut decoder = Decoder::new(&config);
    let mut operator = Operator::new(&config, [(0, Position::at(0))].into());
    let mut records = Vec::new();
    let mut actions = Vec::new();
    let mut baseline = RollingGaussian::new(5_000);
    let mut fits = HashMap::new();
    let mut outcomes = Vec::new();
    let mut behind = BehindBaseline::new();
    let (mut scored, mut steps, mut clipped) = (0, 0, 0);
    for (offset, flight) in flights::json_records().unwrap().enumerate() {
        let message = Message {
            partition: 0,
            offset: offset as i64,
            timestamp_ms: None,
            key: None,
            payload: Some(&flight.unwrap()),
        };
        decoder.decode(&message, &mut records);
        operator.push(Input::Record(records.pop().unwrap()));
        while operator.take(&mut actions).is_some() {}
        for action in actions.drain(..) {
            match action {
                // The baseline, too, knows only what was known when the flight took off.
                Action::Score(score) => {
                    scored += 1;
                    fits.insert(score.event.offset, baseline.fit());
                }
                Action::Outcome(outcome) => {
                    behind.see(outcome.realized());
                    let target = outcome.realized().targets[0];
                    let fit = fits.remove(&outcome.event.offset).unwrap();
                    baseline.learn(target);
                    if let (Some(fit), false) = (fit, outcome.realized().log_score.is_nan()) {
                        outcomes.push(Judged {
                            log_score: outcome.realized().log_score,
                            baseline: fit.log_score(target, config.target.step),
                            pit: outcome.realized().pits[0],
                        });
                    }
                }
                Action::Learned { step, .. } => {
                    steps += 1;
                    clipped += u32::from(step.taken == Taken::Clipped);
                }
                _ => {}
            }
        }
    }
    assert_eq!(scored, flights::NUM_FLIGHTS);
    let last = &outcomes[outcomes.len() - NUM_LAST..];
    let mean = |value: &dyn Fn(&Judged) -> f64| last.iter().map(value).sum::<f64>() / last.len() as f64;
    let mut pits: Vec<f64> = last.iter().map(|judged| judged.pit).collect();
    pits.sort_by(f64::total_cmp);
    let below = |p| pits.partition_point(|&pit| pit <= p) as f64 / pits.len() as f64;
    Report {
        log_score: mean(&|judged| judged.log_score),
        baseline: mean(&|judged| judged.baseline),
        behind_baseline: behind.most_nats,
        coverage: config.score.quantiles.iter().map(|&p| below(p)).collect(),
        pit_distance: pit::distance(&pits),
        pit_tail_distance: pit::tail_distance(&pits),
        e_values: operator.watch().e_values().map(|(name, e)| (name.to_owned(), e)).collect(),
        drift: operator.watch().drift().map(Detector::detections),
        clipped: f64::from(clipped) / f64::from(steps),
    }
}

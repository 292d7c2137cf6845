//! The year's flights through decoder and operator, without Kafka: is what it learns worth having?

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use tailwater::{
    backtest::RollingGaussian,
    config::Config,
    density, flights,
    operator::{Action, Input, Operator, place::Position},
    record::{Decoder, Known, Message, Record},
};

/// What the last outcomes of a run came to.
#[derive(Debug)]
struct Report {
    log_score: f64,
    baseline: f64,
    /// Share of targets below each of the config's quantiles, by their PIT.
    coverage: Vec<f64>,
}

/// One flight that arrived, judged.
struct Judged {
    log_score: f64,
    baseline: f64,
    /// For each quantile, whether the delay was below it.
    below: Vec<bool>,
}

/// Runs all flights under the example's config with these keys set; figures are over the last `num_last` outcomes.
fn run(sets: &[String], num_last: usize) -> Report {
    let config = Config::from_parts(
        include_str!("../examples/flights.toml"),
        "flights.toml",
        sets,
        std::iter::empty(),
    )
    .unwrap();
    let num_quantiles = config.score.quantiles.len();
    let mut decoder = Decoder::new(&config);
    let mut operator =
        Operator::new(&config, density::build(&config.model, &config.target), [(0, Position::at(0))].into());
    let mut records = Vec::new();
    let mut actions = Vec::new();
    let mut baseline = RollingGaussian::new(5_000);
    let mut fits = HashMap::new();
    let mut outcomes = Vec::new();
    let mut scored = 0;
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
        operator.take(&mut actions).unwrap();
        for action in actions.drain(..) {
            match action {
                // The baseline, too, knows only what was known when the flight took off.
                Action::Score(score) => {
                    scored += 1;
                    fits.insert(score.event.offset, baseline.fit());
                }
                Action::Outcome(outcome) => {
                    let target = outcome.realized.targets[0];
                    let fit = fits.remove(&outcome.event.offset).unwrap();
                    baseline.learn(target);
                    if let (Some(fit), false) = (fit, outcome.realized.log_score.is_nan()) {
                        let pit = outcome.realized.pits[0];
                        let below: Vec<bool> = config.score.quantiles.iter().map(|&p| pit <= p).collect();
                        outcomes.push(Judged {
                            log_score: outcome.realized.log_score,
                            baseline: fit.log_score(target, config.target.step),
                            below,
                        });
                    }
                }
                _ => {}
            }
        }
    }
    assert_eq!(scored, flights::NUM_FLIGHTS);
    let last = &outcomes[outcomes.len() - num_last..];
    let mean = |value: &dyn Fn(&Judged) -> f64| last.iter().map(value).sum::<f64>() / num_last as f64;
    Report {
        log_score: mean(&|j| j.log_score),
        baseline: mean(&|j| j.baseline),
        coverage: (0..num_quantiles).map(|i| mean(&|j| f64::from(u8::from(j.below[i])))).collect(),
    }
}

#[test]
fn the_flights_are_forecast_far_better_than_by_a_rolling_gaussian() {
    let report = run(&[], 100_000);
    println!("{report:#?}");
    assert!(report.log_score > report.baseline + 0.9, "{report:?}");
    // In order: 0.5, 0.9, 0.99, 0.999.
    assert!((report.coverage[0] - 0.5).abs() < 0.03, "{report:?}");
    assert!((report.coverage[1] - 0.9).abs() < 0.02, "{report:?}");
    assert!((report.coverage[2] - 0.99).abs() < 0.006, "{report:?}");
    assert!((report.coverage[3] - 0.999).abs() < 0.0012, "{report:?}");
}

#[test]
fn every_flight_holds_a_target_that_is_known_at_its_arrival() {
    let config =
        Config::from_parts(include_str!("../examples/flights.toml"), "flights.toml", &[], std::iter::empty())
            .unwrap();
    let mut decoder = Decoder::new(&config);
    let mut records = Vec::new();
    for (offset, flight) in flights::json_records().unwrap().enumerate() {
        let payload = flight.unwrap();
        let offset = offset as i64;
        let message =
            Message { partition: 0, offset, timestamp_ms: None, key: None, payload: Some(&payload) };
        decoder.decode(&message, &mut records);
        let Some(Record::Event(event)) = records.pop() else { panic!("flight {offset} was rejected") };
        let target = event.target.unwrap();
        assert!(matches!(target.known, Known::At(at_us) if at_us > event.time_us));
    }
}

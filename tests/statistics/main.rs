//! What is learned of streams whose truth is known, shortly, and of the flights; `make statistics` has the whole table.

#![allow(clippy::unwrap_used, dead_code, missing_docs)]

mod baseline;
mod changes;
mod flights;
mod follow;
mod hostile;
mod pit;
mod streams;
mod suite;

use streams::{
    BREAK, Change, GAUSSIAN, MIXTURE, POSITIVE, RAMP, ROUNDED, STREAMS, STUDENT_3, Stream, TAIL_PROBABILITIES,
};
use suite::{AFFINE, Contender, KMN, MDN, NFN, Report, run};
use tailwater::record::{Cell, Decoder, Known, Message, Record};

const NUM_EVENTS: usize = 60_000;
const NUM_LAST: usize = 15_000;

fn learned(stream: Stream, (name, key): Contender) -> Report {
    let report = run(stream, 1, &[key.to_owned()], NUM_EVENTS, NUM_LAST);
    println!("{} by {name}: {report:?}", stream.name);
    report
}

#[test]
fn the_truth_s_own_figures_hold_together() {
    for stream in STREAMS {
        let noise = stream.noise;
        for p in [0.5].into_iter().chain(TAIL_PROBABILITIES) {
            let z = noise.exceeded_with(p);
            assert!((noise.survival(z) / p - 1.0).abs() < 1e-6, "{noise:?} {p}: {z}");
        }
        // Its draws exceed its quantiles as often as they should.
        let truth = stream.given(0, [0.3, -0.7]);
        let (n, t) = (40_000, truth.place(noise.exceeded_with(0.1)));
        let draw = |i| truth.draw(&mut tailwater::model::noise::Draws::new(5, 1, i));
        let draws: Vec<f64> = (0..n).map(draw).collect();
        let share = draws.iter().filter(|&&y| y > t).count() as f64 / n as f64;
        assert!((share - truth.exceeds(t)).abs() < 0.006, "{}: {share} {}", stream.name, truth.exceeds(t));
        // The log score is that of a probability density: its mean over the draws is the highest there is.
        let shifted = |by: f64| draws.iter().map(|y| truth.log_score(y + by)).sum::<f64>() / n as f64;
        assert!(shifted(0.0) > shifted(0.5) && shifted(0.0).is_finite(), "{}", stream.name);
    }
}

/// Affine is the control: with Gaussian tails a probability of 0.001 comes out far too small, whatever is learned.
#[test]
fn a_tail_layer_learns_heavy_tails_and_gaussian_tails_do_not() {
    let [nfn, affine, mdn, kmn] = [NFN, AFFINE, MDN, KMN].map(|contender| learned(STUDENT_3, contender));
    assert!(affine.tail_ratios[1] < 0.4 && affine.tail_index < 0.02, "{affine:?}");
    assert!(nfn.regret_nats < 0.02 && nfn.tail_errors[0] < 0.25 && nfn.tail_errors[1] < 0.5, "{nfn:?}");
    assert!((nfn.tail_index / STUDENT_3.noise.tail_index() - 1.0).abs() < 0.3, "{nfn:?}");
    assert!(nfn.quantile_error < 0.65 * affine.quantile_error, "{nfn:?} {affine:?}");
    assert!(
        nfn.tail_errors[1] < 0.6 * affine.tail_errors[1] && nfn.pit_distance < 0.02,
        "{nfn:?} {affine:?}"
    );
    assert!(
        nfn.regret_nats < mdn.regret_nats && nfn.regret_nats < kmn.regret_nats,
        "{nfn:?} {mdn:?} {kmn:?}"
    );
}

#[test]
fn a_gaussian_stream_stays_gaussian() {
    for contender in [NFN, AFFINE, MDN] {
        let report = learned(GAUSSIAN, contender);
        assert!(
            report.regret_nats < 0.02 && report.tail_index < 0.1 && report.pit_distance < 0.02,
            "{report:?}"
        );
        assert!(report.quantile_error < 0.2, "{report:?}");
    }
}

#[test]
fn a_rounded_target_has_the_probability_of_its_interval() {
    let report = learned(ROUNDED, NFN);
    assert!(report.regret_nats < 0.02 && report.tail_errors[0] < 0.25, "{report:?}");
    assert!(report.pit_distance < 0.02, "{report:?}");
}

#[test]
fn a_positive_target_keeps_its_tail() {
    let report = learned(POSITIVE, NFN);
    assert!(report.regret_nats < 0.05 && report.tail_errors[0] < 0.25, "{report:?}");
    assert!((report.tail_index / POSITIVE.noise.tail_index() - 1.0).abs() < 0.4, "{report:?}");
}

/// The mean function is turned over and the scale doubled, at once.
#[test]
fn two_thousand_events_after_a_break_the_stream_is_learned_anew() {
    let regrets = changes::regrets(BREAK, 1, &[], &[49_000..50_000, 50_000..50_500, 52_000..54_000]);
    println!("{regrets:?}");
    assert!(regrets[0] < 0.02 && regrets[1] > 0.1 && regrets[2] < 0.1, "{regrets:?}");
}

/// The mixture with the baseline keeps near to it at any time: while the net knows nothing, and after a break.
#[test]
fn no_stream_falls_behind_its_baseline() {
    let ramp = Stream { change: Change::Ramp { factor: 100.0, over: 20_000 }, ..RAMP };
    let early = Stream { change: Change::Break { at: 8_000 }, ..BREAK };
    for stream in STREAMS.into_iter().chain([early, ramp]) {
        let behind = baseline::most_behind(stream, 1, &[], 20_000);
        println!("{}: {behind:.4} nats", stream.name);
        assert!(behind < 0.01, "{}: {behind}", stream.name);
    }
}

/// Targets outgrow the unit that the warm-up found.
#[test]
fn a_target_that_grows_a_hundredfold_is_followed() {
    let stream = Stream { change: Change::Ramp { factor: 100.0, over: 150_000 }, ..RAMP };
    let regrets = changes::regrets(stream, 1, &[], &[5_000..20_000, 20_000..80_000, 80_000..150_000]);
    println!("{regrets:?}");
    assert!(regrets.iter().all(|&regret| regret < 0.03), "{regrets:?}");
}

/// After 10,000 events: what is learned of the features that are left is not spoilt, and no step is skipped.
#[test]
fn features_that_stop_jump_or_grow_leave_learning_going() {
    type Shown = fn(usize, &mut [Cell]);
    let hostile: [(&str, Shown, f64); 5] = [
        ("in thousandths", |_, cells| scaled(&mut cells[1], 1e3), 0.05),
        ("stuck", |_, cells| cells[1] = Cell::Number(0.0), 0.35),
        ("missing", |_, cells| cells[1] = Cell::Null, 0.35),
        ("counting", |nth, cells| cells[1] = Cell::Number(nth as f64), 0.35),
        ("extreme", |nth, cells| cells[1] = Cell::Number(if nth % 2 == 0 { 1e300 } else { -1e300 }), 0.35),
    ];
    for (name, shown, bound) in hostile {
        let shown = |nth: usize, cells: &mut [Cell]| {
            if nth >= 10_000 {
                shown(nth, cells)
            }
        };
        let regrets = changes::regrets_as_shown(GAUSSIAN, 1, &[], &[9_000..10_000, 50_000..60_000], shown);
        println!("{name}: {regrets:?}");
        assert!(regrets[0] < 0.05 && regrets[1] < bound, "{name}: {regrets:?}");
    }
}

/// `cargo bench --profile release --bench statistics -- hostile` does the same for 10 million events.
#[test]
fn whatever_comes_scores_are_finite_and_the_stream_goes_on() {
    for kind in ["nfn", "mdn"] {
        let report = hostile::run(&hostile::config(&[format!("model.kind={kind}")]), 130_000);
        println!("{kind}: {report:?}");
        assert!(report.steps > 3_900 && report.skipped < report.steps / 5, "{report:?}");
        // The truth's is −1.42.
        assert!(report.log_score_of_harmless > -4.0, "{report:?}");
    }
}

fn scaled(cell: &mut Cell, by: f64) {
    if let Cell::Number(value) = cell {
        *value *= by;
    }
}

#[test]
fn two_modes_are_found() {
    let [nfn, mdn] = [NFN, MDN].map(|contender| learned(MIXTURE, contender));
    assert!(nfn.regret_nats < 0.06 && mdn.regret_nats < 0.06, "{nfn:?} {mdn:?}");
}

#[test]
fn the_flights_are_forecast_far_better_than_by_a_rolling_gaussian() {
    let report = flights::run(&[]);
    println!("{report:#?}");
    assert!(report.log_score > report.baseline + 1.0, "{report:?}");
    assert!(report.behind_baseline < 0.1, "{report:?}");
    // In order: 0.5, 0.9, 0.99, 0.999.
    assert!((report.coverage[0] - 0.5).abs() < 0.015, "{report:?}");
    assert!((report.coverage[1] - 0.9).abs() < 0.008, "{report:?}");
    assert!((report.coverage[2] - 0.99).abs() < 0.003, "{report:?}");
    assert!((report.coverage[3] - 0.999).abs() < 0.0006, "{report:?}");
    assert!(report.pit_distance < 0.01, "{report:?}");
}

#[test]
fn every_flight_holds_a_target_that_is_known_at_its_arrival() {
    let mut decoder = Decoder::new(&flights::config(&[]));
    let mut records = Vec::new();
    for (offset, flight) in tailwater::flights::json_records().unwrap().enumerate() {
        let payload = flight.unwrap();
        let offset = offset as i64;
        let message =
            Message { partition: 0, offset, timestamp_ms: None, key: None, payload: Some(&payload) };
        decoder.decode(&message, &mut records);
        let Some(Record::Event(event)) = records.pop() else { panic!("flight {offset} was rejected") };
        let target = event.target.as_ref().unwrap();
        assert!(matches!(target.known, Known::At(at_us) if at_us > event.time_us));
    }
}

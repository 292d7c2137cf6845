//! What is learned of streams whose truth is known, shortly; `make statistics` has the whole table.

#![allow(clippy::unwrap_used, missing_docs)]

mod streams;
mod suite;

use streams::{Noise, TAIL_PROBABILITIES};
use suite::{AFFINE, TAIL, run};

const NUM_EVENTS: usize = 60_000;
const NUM_LAST: usize = 15_000;

#[test]
fn the_truth_s_own_figures_hold_together() {
    for noise in [Noise::Gaussian, Noise::StudentT(3), Noise::SkewNormal(4.0), Noise::Mixture] {
        for p in [0.5].into_iter().chain(TAIL_PROBABILITIES) {
            let z = noise.exceeded_with(p);
            assert!((noise.survival(z) / p - 1.0).abs() < 1e-6, "{noise:?} {p}: {z}");
        }
        // Its draws exceed its quantiles as often as they should.
        let z = noise.exceeded_with(0.1);
        let truth = streams::Truth::given(noise, [0.3, -0.7]);
        let n = 40_000;
        let above = (0..n)
            .filter(|&i| truth.draw(&mut tailwater::model::noise::Draws::new(5, 1, i)) > truth.place(z))
            .count();
        assert!((above as f64 / n as f64 - 0.1).abs() < 0.006, "{noise:?}: {above}");
    }
}

/// Affine is the control: with Gaussian tails a probability of 0.001 comes out far too small, whatever is learned.
#[test]
fn a_tail_layer_learns_heavy_tails_and_gaussian_tails_do_not() {
    let noise = Noise::StudentT(3);
    let [affine, tail] = [AFFINE, TAIL].map(|(_, flows)| run(noise, 1, &[flows], NUM_EVENTS, NUM_LAST));
    println!("{}: {affine:#?}\n{tail:#?}", noise.name());
    assert!(affine.tail_ratios[1] < 0.4 && affine.tail_index == 0.0, "{affine:?}");
    assert!(
        tail.regret_nats < 0.02 && tail.tail_errors[0] < 0.25 && tail.tail_errors[1] < 0.5,
        "{tail:?}"
    );
    assert!((tail.tail_index / noise.tail_index() - 1.0).abs() < 0.3, "{tail:?}");
    assert!(tail.quantile_error < 0.5 * affine.quantile_error, "{tail:?} {affine:?}");
    assert!(
        tail.pit_distance < 0.02 && tail.pit_tail_distance < 0.5 * affine.pit_tail_distance,
        "{tail:?} {affine:?}"
    );
}

#[test]
fn a_gaussian_stream_stays_gaussian() {
    for (name, flows) in [AFFINE, TAIL] {
        let report = run(Noise::Gaussian, 1, &[flows], NUM_EVENTS, NUM_LAST);
        println!("{name}: {report:#?}");
        assert!(
            report.regret_nats < 0.02 && report.tail_index < 0.1 && report.pit_distance < 0.02,
            "{name}: {report:?}"
        );
        assert!(report.quantile_error < 0.2, "{name}: {report:?}");
    }
}

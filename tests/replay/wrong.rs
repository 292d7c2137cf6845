//! Models that are wrong on purpose: the first screen of the report has to say so.

use serde_json::Value;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::command::Bench;

const NUM_EVENTS: u32 = 20_000;

/// Student's t with three degrees of freedom around a line, an object a line.
fn heavy_tails(seed: u64) -> String {
    let t = StudentsT::new(0.0, 1.0, 3.0).unwrap();
    let mut state = seed;
    let mut uniform = || {
        // Knuth's generator: its upper 53 bits.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    (0..NUM_EVENTS)
        .map(|_| {
            let x = uniform();
            format!("{{\"x\": {x}, \"y\": {}}}\n", 2.0 * x + t.inverse_cdf(uniform()))
        })
        .collect()
}

/// A model with these flows, once it has learned from as many events before: what came of it, and the page.
fn replay(flows: &str) -> (Value, String) {
    let bench = Bench::new(&format!(
        "[features]\nx = \"number\"\n[target]\nfields = [\"y\"]\n[model]\nflows = {flows}\nhidden = []\n\
         [learn]\nbatch = 16\nrate = 0.01\n[score]\nexceed = [6.0]\nquantiles = [0.5, 0.99, 0.999]\n"
    ));
    let state = bench.path("before.state");
    let before = bench.write("before.ndjson", heavy_tails(1).as_bytes());
    bench.replay(&before, "before", &["--save-state", state.to_str().unwrap()]);
    let input = bench.write("t.ndjson", heavy_tails(2).as_bytes());
    let replayed = bench.replay(&input, "out", &["--state", state.to_str().unwrap()]);
    let page = replayed.text("report.html");
    (replayed.summary, page)
}

/// What stands in the page before its second section.
fn first_screen(page: &str) -> &str {
    let body = &page[page.find("<body").unwrap()..];
    let end = body.match_indices("<section").next().map_or(body.len(), |(at, _)| at);
    &body[..end]
}

#[test]
fn gaussian_tails_on_student_s_data_are_said_not_to_hold_on_the_first_screen() {
    let (summary, page) = replay("[\"affine\"]");
    let verdict = &summary["models"][0]["verdict"];
    assert_eq!(verdict["held"], "no", "{verdict:#}");
    let headline = verdict["headline"].as_str().unwrap();
    assert!(headline.starts_with("The tails did not hold"), "{headline}");
    let screen = first_screen(&page);
    assert!(screen.contains(headline), "{screen}");
    assert!(screen.contains("99.9 % quantile") && screen.contains("risk was understated"), "{screen}");
}

#[test]
fn tails_that_can_be_heavy_are_not() {
    let (summary, page) = replay("[\"tail\"]");
    let verdict = &summary["models"][0]["verdict"];
    assert_ne!(verdict["held"], "no", "{verdict:#}");
    assert!(first_screen(&page).contains("The tails held"), "{verdict:#}");
}

//! Backtests of figures that are right, and of ones that are wrong on purpose.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use smallvec::smallvec;

use super::{
    About, Backtest,
    summary::{Held, ModelSummary, Summary},
};
use crate::{
    config::{Config, FieldPath},
    math::normal,
    model::noise::Draws,
    record::{Cell, Event, Known, Target},
    score::{Realized, Score, Scored, Status},
};

const CONFIG: &str = r#"
    kafka.brokers = "b"
    kafka.group = "g"
    input.topic = "i"
    output.topic = "o"
    output.carry = ["site"]
    features.x = "number"
    target.fields = ["y"]
    score.exceed = [11.0]
    score.quantiles = [0.01, 0.5, 0.99]
    score.shortfall = [0.99]
"#;

/// The standard normal's expected shortfall beyond its 99 % quantile: φ(q) / 0.01.
const NORMAL_SHORTFALL: f64 = 2.665_214_220_345_808;

/// What is published for a target that is normal with mean 10 and deviation 1.
#[derive(Debug, Clone, Copy)]
struct Figures {
    exceed: f64,
    quantiles: [f64; 3],
    shortfall: f64,
}

impl Figures {
    fn right() -> Self {
        let q = |p: f64| 10.0 + normal::quantile(p);
        Self {
            exceed: 1.0 - normal::cdf(1.0), // P(Y > 11)
            quantiles: [q(0.01), q(0.5), q(0.99)],
            shortfall: 10.0 + NORMAL_SHORTFALL,
        }
    }
}

/// The backtest of these figures on so many normal targets.
fn backtest(num_events: u64, figures: Figures) -> ModelSummary {
    let config = Config::from_parts(CONFIG, "test.toml", &[], std::iter::empty()).unwrap();
    let mut backtest = Backtest::new(&config, &[FieldPath(vec!["site".to_owned()])]);
    for offset in 0..num_events {
        let z = Draws::new(7, offset, 0).normal();
        let y = 10.0 + z;
        let site = Cell::Text(["north", "south"][(offset % 2) as usize].into());
        let target = Target { values: [y].into(), known: Known::WithEvent };
        let event = Event {
            offset: offset as i64,
            time_us: offset as i64 * 1_000_000,
            carry: [site].into(),
            ..Event::bare([Cell::Number(0.0)].into(), Some(target))
        };
        let Figures { exceed, quantiles: [q1, q50, q99], shortfall } = figures;
        let score = Score {
            held_back: Default::default(),
            epoch: 1,
            updates: 1,
            status: Status::Ok,
            figures: [exceed, q1, q50, q99, shortfall].into(),
            params: Box::default(),
            realized: Realized {
                targets: smallvec![y],
                log_score: normal::log_pdf(z),
                pits: smallvec![normal::cdf(z)],
                log_scores_of_parts: None,
            },
        };
        assert!(backtest.push(&Scored { event: Arc::new(event), score: Arc::new(score) }).is_some());
    }
    backtest.finish(About {
        name: "normal".to_owned(),
        config_hash: config.hash(),
        config: config.to_toml(),
        scores_file: "scores.parquet".to_owned(),
        updates: 1,
    })
}

#[test]
fn figures_that_are_right_held_and_their_scores_are_what_the_formulas_say() {
    let summary = backtest(60_000, Figures::right());
    assert_eq!(summary.verdict.held, Held::Yes, "{:#?}", summary.verdict);
    assert!(
        summary.verdict.headline.starts_with("The tails held over 60,000 targets"),
        "{:?}",
        summary.verdict
    );
    let q99 = &summary.quantiles[2];
    assert_eq!((q99.column.as_str(), q99.exceeded.events), ("q99", 60_000));
    assert!((q99.exceeded.expected - 600.0).abs() < 1e-6);
    assert!(q99.exceeded.interval[0] < 0.01 && 0.01 < q99.exceeded.interval[1]);
    for test in [q99.binomial, q99.kupiec, q99.independence, q99.conditional_coverage, q99.dynamic_quantile] {
        assert!(test.unwrap().p_value > 0.01, "{q99:?}");
    }
    // E max(Z − q, 0) + (1 − p) q with Z's mean of 0: φ(q).
    let loss = normal::log_pdf(normal::quantile(0.99)).exp();
    assert!((q99.pinball - loss).abs() < 0.03 * loss, "{} and {loss}", q99.pinball);
    let entropy = 0.5 * (1.0 + std::f64::consts::TAU.ln());
    assert!((summary.log_score.unwrap() + entropy).abs() < 0.02);
    assert_eq!(summary.pits[0].histogram.iter().sum::<u64>(), 60_000);
    assert!(summary.pits[0].uniformity.unwrap().p_value > 0.01);
    assert_eq!(summary.periods.iter().map(|period| period.events).sum::<u64>(), 60_000);
    assert_eq!(summary.worst.len(), 10);
    assert!(summary.worst.windows(2).all(|pair| pair[0].log_score <= pair[1].log_score));
    let sites: Vec<_> =
        summary.segments.iter().map(|segment| (segment.value.as_deref(), segment.events)).collect();
    assert_eq!(sites, [(Some("north"), 30_000), (Some("south"), 30_000)]);
}

#[test]
fn a_quantile_that_is_shifted_by_a_tenth_of_a_deviation_is_said_not_to_hold() {
    for shift in [0.1, -0.1] {
        let mut figures = Figures::right();
        figures.quantiles[2] += shift;
        let verdict = backtest(60_000, figures).verdict;
        assert_eq!(verdict.held, Held::No);
        assert!(verdict.headline.starts_with("The tails did not hold"), "{}", verdict.headline);
        let worst = &verdict.findings[0];
        let word = if shift > 0.0 { "overstated" } else { "understated" };
        assert!(worst.text.contains("99 % quantile") && worst.text.contains(word), "{}", worst.text);
    }
}

#[test]
fn a_quantile_of_the_lower_tail_is_judged_by_what_lies_below_it() {
    let right = &backtest(60_000, Figures::right()).quantiles[0];
    let [green, yellow, red] = right.traffic_light;
    assert!(green > 190 && yellow < 50 && red < 3, "{:?}", right.traffic_light);
    assert!(right.binomial.unwrap().p_value > 0.01 && right.clustering.unwrap() < 2.0, "{right:?}");
    let mut figures = Figures::right();
    figures.quantiles[0] -= 0.1;
    let verdict = backtest(60_000, figures).verdict;
    let worst = &verdict.findings[0].text;
    assert!(worst.contains("The 1 % quantile (q1) did not hold"), "{worst}");
    assert!(worst.contains("were below") && worst.contains("overstated"), "{worst}");
    assert!(verdict.headline.contains("the 1 % quantile was undershot"), "{}", verdict.headline);
}

#[test]
fn a_probability_or_a_shortfall_that_is_too_low_is_found() {
    let low = Figures { exceed: 0.8 * Figures::right().exceed, ..Figures::right() };
    let verdict = backtest(60_000, low).verdict;
    assert!(
        verdict.findings[0].text.contains("P(y > 11)") && verdict.findings[0].text.contains("understated")
    );
    let low = Figures { shortfall: 0.8 * Figures::right().shortfall, ..Figures::right() };
    let summary = backtest(60_000, low);
    assert_eq!(summary.shortfalls[0].held, Held::No, "{:#?}", summary.verdict);
}

#[test]
fn that_nothing_has_happened_yet_is_no_sign_that_figures_are_wrong() {
    // Of 100 targets of a right model none is above its 99 % quantile in a third of backtests: here one that is never reached.
    let figures = Figures { quantiles: [0.0, 10.0, 20.0], ..Figures::right() };
    let summary = backtest(60, figures);
    assert_eq!(summary.quantiles[2].exceeded.observed, 0);
    assert_eq!([summary.quantiles[0].held, summary.quantiles[2].held], [Held::Unclear; 2]);
    assert!(summary.quantiles[2].exceeded.interval[1] > 0.01, "{:?}", summary.quantiles[2].exceeded);
    assert_ne!(summary.shortfalls[0].held, Held::No);
    // None of 60,000 is another matter.
    assert_eq!(backtest(60_000, figures).quantiles[2].held, Held::No);
}

#[test]
fn too_few_events_are_said_to_be_too_few() {
    let summary = backtest(100, Figures::right());
    assert_eq!(summary.quantiles[2].held, Held::Unclear);
    assert!(summary.quantiles[2].power.contains("100 targets"), "{}", summary.quantiles[2].power);
    let summary = backtest(0, Figures::right());
    assert_eq!(summary.verdict.held, Held::Unclear);
    assert!(summary.verdict.findings[0].text.contains("No event was scored"));
}

/// `UPDATE_GOLDEN=1` writes it anew.
#[test]
fn the_summary_s_schema_is_as_documented() {
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Summary)).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/summary.schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    let documented = std::fs::read_to_string(path).unwrap();
    assert_eq!(documented, schema, "docs/summary.schema.json: renew it with UPDATE_GOLDEN=1");
}

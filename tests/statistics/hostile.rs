//! Input that nobody would wish on a model: whatever comes, distributions stay finite and the stream goes on.

use tailwater::{
    config::Config,
    model::noise::Draws,
    operator::{Operator, place::Position},
    record::{Cell, Event, Known, Target},
};

use crate::follow::{self, scored, steps, take};

/// Events until the next way of being hostile.
const PHASE: usize = 5_000;

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Mini-batches that were learned from.
    pub steps: u64,
    /// Mini-batches that moved nothing, since loss or gradient was not finite.
    pub skipped: u64,
    /// Events whose target has no density in double precision.
    pub impossible: u64,
    /// Changes found in the log score and the PIT.
    pub drift: [u64; 2],
    /// Nats, the mean over the phases that are harmless.
    pub log_score_of_harmless: f64,
}

/// Two features and a target.
fn values(offset: usize) -> ([f64; 2], f64) {
    let mut draws = Draws::new(13, 0, offset);
    let (a, b, noise) = (draws.normal(), draws.normal(), draws.normal());
    let harmless = ([a, b], a + noise);
    let nth = offset as f64;
    let alternating = |value: f64| if offset.is_multiple_of(2) { value } else { -value };
    match (offset / PHASE) % 12 {
        1 => ([1e300 * a, b], a + noise),
        2 => ([a, b], 1e300 * noise),
        3 => ([1e-300 * a, 1e-300 * b], 1e-300 * noise),
        4 => ([0.0, 0.0], 7.0),
        5 => ([1.0, -1.0], (offset / 100) as f64), // each a hundred times
        6 => ([alternating(f64::MAX), b], alternating(f64::MAX)),
        7 => ([nth, nth * nth], nth),
        8 => ([a, b], if offset.is_multiple_of(1_000) { 1e15 } else { noise }),
        9 => ([noise, noise], draws.uniform().recip().powi(3)), // no mean, no variance
        10 => ([a, alternating(1.0)], alternating(1e-12)),
        _ => harmless,
    }
}

/// Runs so many events; the second feature goes missing for good after a third of them.
///
/// # Panics
/// When anything is not finite that has to be, or an event is not scored.
pub fn run(config: &Config, num_events: usize) -> Report {
    let mut operator = Operator::new(config, [(0, Position::at(0))].into());
    let (mut actions, mut report) = (Vec::new(), Report::default());
    let mut num_harmless = 0;
    for offset in 0..num_events {
        let ([a, b], target) = values(offset);
        let b = if offset > num_events / 3 { Cell::Null } else { Cell::Number(b) };
        let known = Target { values: [target].into(), known: Known::WithEvent };
        let event = Event {
            offset: offset as i64,
            time_us: offset as i64,
            thresholds: [1.0, 10.0, 1e6].into(),
            ..Event::bare([Cell::Number(a), b].into(), Some(known))
        };
        take(&mut operator, event, &mut actions);
        let score = &scored(&actions).score;
        // Before the first target there is nothing to say.
        if offset > 0 {
            assert!(score.params.iter().all(|param| param.is_finite()), "{offset}: {:?}", score.params);
            assert!(score.figures.iter().all(|figure| figure.is_finite()), "{offset}: {:?}", score.figures);
            assert!((0.0..=1.0).contains(&score.realized.pits[0]), "{offset}: {:?}", score.realized);
            let log_score = score.realized.log_score;
            assert!(!log_score.is_nan() && log_score < f64::INFINITY, "{offset}: {log_score}");
            report.impossible += u64::from(log_score == f64::NEG_INFINITY);
            if (offset / PHASE).is_multiple_of(12) && offset % PHASE >= PHASE / 2 {
                report.log_score_of_harmless += log_score;
                num_harmless += 1;
            }
        }
        report.steps += steps(&actions).count() as u64;
    }
    report.log_score_of_harmless /= f64::from(num_harmless);
    report.skipped = operator.counts().skipped;
    report.drift = operator.watch().drift().map(|detector| detector.detections());
    report
}

/// The config, with these keys set.
pub fn config(sets: &[String]) -> Config {
    follow::config(crate::streams::GAUSSIAN, sets)
}

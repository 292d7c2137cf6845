//! Outcomes by the value of one field.

use std::{collections::HashMap, sync::Mutex};

use ahash::RandomState;
use prometheus::{Gauge, IntCounter};

use super::{
    FadingMean,
    outcomes::Sides,
    register::{Family, Register},
};

/// So many values have metrics of their own.
const MAX_SEGMENTS: usize = 100;
/// Of a longer value so many bytes make the label: each scrape repeats it.
const MAX_LABEL_BYTES: usize = 128;
/// The label of all that come later.
const OTHER: &str = "(other)";
/// The label of events without a value.
const NONE: &str = "(none)";

/// `tailwater_segment_…`: how well the figures hold for each value of `monitor.by`, the first hundred of them.
#[derive(Debug)]
pub struct Segments {
    outcomes: Family<prometheus::IntCounterVec>,
    log_scores: Family<prometheus::GaugeVec>,
    quantiles: Family<prometheus::IntCounterVec>,
    /// The quantiles' names.
    levels: Vec<String>,
    known: Mutex<HashMap<String, Segment, RandomState>>,
}

#[derive(Debug)]
struct Segment {
    outcomes: IntCounter,
    log_score: Gauge,
    mean: FadingMean,
    quantiles: Vec<Sides>,
}

impl Segments {
    pub(super) fn new(r: &Register, levels: &[String]) -> Self {
        Self {
            outcomes: r.int_counters(
                "tailwater_segment_outcomes_total",
                "Targets that came, by the value of the field monitor.by: the first hundred values, then (other).",
                &["segment"],
            ),
            log_scores: r.gauges(
                "tailwater_segment_log_score_nats",
                "Fading mean of the log score by the value of the field monitor.by, in nats.",
                &["segment"],
            ),
            quantiles: r.int_counters(
                "tailwater_segment_quantile_outcomes_total",
                "Targets above, and below, the quantile that their event was scored with, by the value of the field monitor.by.",
                &["segment", "quantile", "side"],
            ),
            levels: levels.to_vec(),
            known: Mutex::default(),
        }
    }

    /// Counts an event whose target came: its log score in nats, and its PIT against each quantile's level, in the order of the quantiles.
    pub fn observe(&self, value: Option<&str>, log_score: f64, pits: impl Iterator<Item = (f64, f64)>) {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut name = value.map_or(NONE, |value| &value[..value.floor_char_boundary(MAX_LABEL_BYTES)]);
        if !known.contains_key(name) {
            let is_room = known.len() - usize::from(known.contains_key(NONE)) < MAX_SEGMENTS;
            if value.is_some() && !is_room {
                name = OTHER;
            }
            // A name is copied once.
            if !known.contains_key(name) {
                known.insert(name.to_owned(), self.segment(name));
            }
        }
        let Some(segment) = known.get_mut(name) else { return };
        segment.outcomes.inc();
        segment.mean.add(log_score);
        if let Some(mean) = segment.mean.get() {
            segment.log_score.set(mean);
        }
        for ((pit, level), sides) in pits.zip(&segment.quantiles) {
            sides.count(pit, level);
        }
    }

    fn segment(&self, name: &str) -> Segment {
        let of_level = |level: &String| Sides {
            above: self.quantiles.with(&[name, level, "above"]),
            below: self.quantiles.with(&[name, level, "below"]),
        };
        Segment {
            outcomes: self.outcomes.with(&[name]),
            log_score: self.log_scores.with(&[name]),
            mean: FadingMean::default(),
            quantiles: self.levels.iter().map(of_level).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Registry;

    #[test]
    fn the_first_hundred_values_have_metrics_of_their_own() {
        let segments = Segments::new(&Register(Registry::new()), &["0.9".to_owned()]);
        let observe = |value: Option<&str>, pit| {
            segments.observe(value, -2.0, std::iter::once((pit, 0.9)));
        };
        observe(None, 0.5);
        observe(Some(&"é".repeat(100)), 0.5);
        for nth in 1..200 {
            observe(Some(&format!("value {nth}")), 0.5);
        }
        observe(Some("value 7"), 0.95);
        observe(Some(&"é".repeat(1000)), 0.5);
        let count = |name: &str| segments.outcomes.with(&[name]).get();
        assert_eq!([count("value 7"), count("value 99"), count("value 100")], [2, 1, 0]);
        assert_eq!([count(OTHER), count(NONE), count(&"é".repeat(64))], [100, 1, 2]);
        assert_eq!(segments.quantiles.with(&["value 7", "0.9", "above"]).get(), 1);
        assert_eq!(segments.quantiles.with(&["value 7", "0.9", "below"]).get(), 1);
        assert_eq!(segments.log_scores.with(&["value 7"]).get(), -2.0);
        assert!(segments.known.lock().is_ok_and(|known| known.len() <= MAX_SEGMENTS + 2));
    }
}

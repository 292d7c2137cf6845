//! What is watched of the scores once their targets come: whether the figures keep what they promise (`calibration`), and whether
//! the stream has changed (`drift`). A part of the operator's state, so that a restart forgets nothing of it.

pub mod calibration;
pub mod drift;
pub mod e_process;

use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    model::saved::Misfit,
    score::{LOG_SCORE_FLOOR, Realized, Score, Status, columns, exceed::Exceed},
};
use calibration::Calibration;
use drift::{Detector, Sides};

/// Nothing is watched until the targets of so many times the warm-up's records have come after it: what the model says until then is not
/// yet meant to be right.
const GRACE_WARMUPS: u64 = 4;

/// A figure that says how likely something is.
#[derive(Debug, Clone, PartialEq)]
enum Figure {
    /// The quantile of a level of the axis's target: exceeded with probability 1 − level.
    Quantile { level: f64, axis: usize },
    /// P(Y > t), and which of the score's figures it is.
    Exceed { nth: usize, exceed: Exceed },
}

/// Watches the outcomes of one life of a model.
#[derive(Debug, Clone)]
pub struct Watch {
    figures: Vec<Figure>,
    /// Their names in the saved state and in `/status`.
    names: Vec<String>,
    grace: u64,
    state: SavedWatch,
    /// What it had found when it was to count anew.
    found_before: [u64; 3],
}

/// All that the next outcome's effect depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedWatch {
    /// Outcomes of scores that a net had made.
    pub outcomes: u64,
    /// Of each figure, by its name.
    pub calibration: Calibration,
    /// Of the log score, which sinks when the model is no longer right.
    pub log_score: Detector,
    /// Of the PIT, which is uniform as long as the model is right.
    pub pit: Detector,
}

impl SavedWatch {
    /// Of figures with these names, of which nothing was seen.
    fn begun(names: &[String]) -> Self {
        Self {
            outcomes: 0,
            calibration: Calibration::new(names.to_vec()),
            log_score: Detector::default(),
            pit: Detector::default(),
        }
    }

    /// Checks that it is finite, and that so many events which wait are bet on.
    ///
    /// # Errors
    /// When it is not so.
    pub fn check(&self, num_bet_on: u64) -> Result<(), Misfit> {
        if !(self.calibration.is_valid() && self.log_score.is_valid() && self.pit.is_valid()) {
            return Err(Misfit::new("what it watched of the outcomes is not finite"));
        }
        if self.calibration.num_under_way() != num_bet_on {
            return Err(Misfit::new("other events wait than those whose outcomes are bet on"));
        }
        Ok(())
    }
}

impl Watch {
    /// What is watched for a change.
    pub const SIGNALS: [&str; 2] = ["log_score", "pit"];

    /// A watch over the figures of this config that has seen nothing.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let axes = 0..config.target.fields.len();
        let mut figures = Vec::new();
        let mut names = Vec::new();
        for &level in &config.score.quantiles {
            for axis in axes.clone() {
                figures.push(Figure::Quantile { level, axis });
                names.push(format!("quantile {}{level}", columns::prefix(config, axis)));
            }
        }
        for (nth, exceed) in Exceed::all(config).into_iter().enumerate() {
            // With its value: what is bet on one must not be taken for another's of the same name.
            let (label, value) = (exceed.label(), config.score.exceed[exceed.item].value.to_string());
            names.push(if label == value {
                format!("exceed {label}")
            } else {
                format!("exceed {label} ({value})")
            });
            figures.push(Figure::Exceed { nth, exceed });
        }
        let state = SavedWatch::begun(&names);
        let grace = GRACE_WARMUPS * config.learn.warmup as u64;
        Self { figures, names, grace, state, found_before: [0; 3] }
    }

    /// What the next outcome's effect depends on.
    #[must_use]
    pub fn saved(&self) -> SavedWatch {
        self.state.clone()
    }

    /// Goes on from what was saved and [checked](SavedWatch::check); figures that were not watched begin now.
    pub fn restore(&mut self, mut saved: SavedWatch) {
        saved.calibration.keep(&self.names);
        self.state = saved;
    }

    /// Forgets everything: another model scores.
    pub fn begin_anew(&mut self) {
        self.state = SavedWatch::begun(&self.names);
        self.count_anew();
    }

    /// What it has found until now was counted before.
    pub fn count_anew(&mut self) {
        self.found_before = self.found_in_all();
    }

    /// How often an e-value has reached [`e_process::ALARM`], and how many changes were found in each of the [signals](Self::SIGNALS),
    /// since it was to count anew.
    #[must_use]
    pub fn found(&self) -> [u64; 3] {
        let in_all = self.found_in_all();
        std::array::from_fn(|nth| in_all[nth].saturating_sub(self.found_before[nth]))
    }

    fn found_in_all(&self) -> [u64; 3] {
        let [log_score, pit] = self.drift().map(Detector::detections);
        [self.state.calibration.alarms(), log_score, pit]
    }

    /// A net has scored an event whose target will come: whether its outcome is to be bet on. Every event for which that is said has to
    /// be [seen](Self::see) or [given up](Self::give_up).
    pub fn admit(&mut self) -> bool {
        self.state.outcomes >= self.grace && self.state.calibration.admit()
    }

    /// The target of an event has come, at this stream time (µs since 1970); `is_bet_on`: what [`Self::admit`] said.
    pub fn see(
        &mut self,
        is_bet_on: bool,
        score: &Score,
        realized: &Realized,
        own_thresholds: &[f64],
        time_us: i64,
    ) {
        let Self { figures, state, .. } = self;
        if is_bet_on {
            // What was published of it may be gone: then nothing was said.
            let promised = figures.iter().map(|figure| match figure {
                Figure::Quantile { axis, .. } if realized.pits[*axis].is_nan() => (f64::NAN, false),
                Figure::Quantile { level, axis } => (1.0 - level, realized.pits[*axis] > *level),
                Figure::Exceed { nth, exceed } => {
                    let p = score.figures.get(*nth).copied().unwrap_or(f64::NAN);
                    (p, exceed.is_exceeded(&realized.targets, own_thresholds))
                }
            });
            state.calibration.settle(promised, time_us);
        }
        if score.status == Status::Warmup {
            return;
        }
        state.outcomes += 1;
        if state.outcomes > self.grace && !realized.log_score.is_nan() {
            state.log_score.add(realized.log_score.max(LOG_SCORE_FLOOR), Sides::Lower, time_us);
            let mean_pit = realized.pits.iter().sum::<f64>() / realized.pits.len() as f64;
            state.pit.add(mean_pit, Sides::Both, time_us);
        }
    }

    /// An event that was bet on is gone, and its target with it; stream time in µs since 1970.
    pub fn give_up(&mut self, time_us: i64) {
        self.state.calibration.give_up(time_us);
    }

    /// The e-value of each figure: of the quantiles in the order of their levels, for every target, then of the thresholds.
    pub fn e_values(&self) -> impl Iterator<Item = (&str, f64)> {
        self.state.calibration.e_values()
    }

    /// The detectors of a change, in the order of [`Self::SIGNALS`].
    #[must_use]
    pub fn drift(&self) -> [&Detector; 2] {
        [&self.state.log_score, &self.state.pit]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn watch(exceed: &str) -> Watch {
        const CONFIG: &str = "kafka.brokers = 'b'\nkafka.group = 'g'\ninput.topic = 'i'\noutput.topic = 'o'\n\
                              features.x = 'number'\ntarget.fields = ['y']\nscore.quantiles = [0.5]\nlearn.warmup = 32";
        let sets = [format!("score.exceed={exceed}")];
        Watch::new(&Config::from_parts(CONFIG, "test.toml", &sets, std::iter::empty()).unwrap())
    }

    /// Sees targets that are always 30, and were never said to be likely.
    fn surprise(watch: &mut Watch, events: i64) {
        let realized = Realized {
            targets: [30.0].into(),
            log_score: -3.0,
            pits: [0.9].into(),
            log_scores_of_parts: None,
        };
        let score = Score {
            held_back: Default::default(),
            epoch: 1,
            updates: 1,
            status: Status::Ok,
            figures: [0.1].into(),
            params: Box::default(),
            realized: realized.clone(),
        };
        for time_us in 0..events {
            let is_bet_on = watch.admit();
            watch.see(is_bet_on, &score, &realized, &[], time_us);
        }
    }

    #[test]
    fn what_was_counted_before_is_not_found_again() {
        let mut watch = watch("[15]");
        surprise(&mut watch, 200);
        assert_eq!(watch.found(), [2, 0, 0], "both figures");
        watch.count_anew();
        surprise(&mut watch, 200);
        assert_eq!(watch.found(), [0, 0, 0], "the same alarms");
        watch.begin_anew();
        surprise(&mut watch, 200);
        assert_eq!(watch.found(), [2, 0, 0]);
    }

    #[test]
    fn a_threshold_of_another_value_begins_though_its_name_stays() {
        let mut before = watch("[{ large = 15 }]");
        surprise(&mut before, 200);
        for (exceed, goes_on) in [("[{ large = 15 }]", true), ("[{ large = 20 }]", false)] {
            let mut after = watch(exceed);
            after.restore(before.saved());
            let e_values: Vec<bool> = after.e_values().map(|(_, e)| e > 1.0).collect();
            assert_eq!(e_values, [true, goes_on], "{exceed}");
        }
    }
}

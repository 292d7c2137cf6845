//! What is watched of the scores once their targets come: whether the figures keep what they promise (`calibration`), and whether
//! the stream has changed (`drift`). A part of the operator's state, so that a restart forgets nothing of it.

pub mod calibration;
pub mod drift;
pub mod e_process;

use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    model::saved::Misfit,
    score::{Realized, Score, Status, columns, exceed::Exceed},
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
    /// Their names in the saved state.
    names: Vec<String>,
    grace: u64,
    state: SavedWatch,
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
            names.push(format!("exceed {}", exceed.label()));
            figures.push(Figure::Exceed { nth, exceed });
        }
        let state = SavedWatch {
            outcomes: 0,
            calibration: Calibration::new(names.clone()),
            log_score: Detector::default(),
            pit: Detector::default(),
        };
        Self { figures, names, grace: GRACE_WARMUPS * config.learn.warmup as u64, state }
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
        self.state.outcomes = 0;
        self.state.calibration = Calibration::new(self.names.clone());
        (self.state.log_score, self.state.pit) = (Detector::default(), Detector::default());
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
            state.calibration.settle(promised);
        }
        if score.status == Status::Warmup {
            return;
        }
        state.outcomes += 1;
        if state.outcomes > self.grace && !realized.log_score.is_nan() {
            state.log_score.add(realized.log_score, Sides::Lower, time_us);
            let mean_pit = realized.pits.iter().sum::<f64>() / realized.pits.len() as f64;
            state.pit.add(mean_pit, Sides::Both, time_us);
        }
    }

    /// An event that was bet on is gone, and its target with it.
    pub fn give_up(&mut self) {
        self.state.calibration.give_up();
    }

    /// The e-value of each figure: of the quantiles in the order of their levels, for every target, then of the thresholds.
    pub fn e_values(&self) -> impl Iterator<Item = (&str, f64)> {
        self.state.calibration.e_values()
    }

    /// How often an e-value has reached [`e_process::ALARM`].
    #[must_use]
    pub fn alarms(&self) -> u64 {
        self.state.calibration.alarms()
    }

    /// The detectors of a change, in the order of [`Self::SIGNALS`].
    #[must_use]
    pub fn drift(&self) -> [&Detector; 2] {
        [&self.state.log_score, &self.state.pit]
    }
}

//! Keeps what came lately, for the page.
//!
//! An event costs a few reference counts and numbers; what is shown is worked out now and then, for whoever looks.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    backtest::forecast::Forecast,
    config::Config,
    density::Side,
    http::recent::{Calibration, Coverage, Exceedance, NUM_PIT_BINS, Recent, RecentEvent, RecentReject},
    record::{Event, Reject},
    score::{
        LOG_SCORE_FLOOR, Realized, Score, columns,
        exceed::{Bound, Exceed},
    },
    watch::Watch,
};

use super::spec;

/// How many events whose target came are kept, …
const NUM_JUDGED: usize = 96;
/// … how many that were scored last, …
const NUM_SCORED: usize = 24;
/// … how many rejected records, …
const NUM_REJECTS: usize = 8;
/// … and how many targets tell of the calibration.
const WINDOW: usize = 4096;

/// The numbers of a target in [`Recorder::window`] before its PITs: its log score and the baseline's, NaN where there is none.
const NUM_LOG_SCORES: usize = 2;

/// What came lately.
pub struct Recorder {
    group: String,
    targets: Vec<String>,
    levels: Vec<f64>,
    quantile_labels: Vec<String>,
    exceed_labels: Vec<String>,
    exceed: Vec<Exceed>,
    /// Tells of the baseline and of tails; `None` of several targets.
    forecast: Option<Forecast>,
    judged: VecDeque<(Arc<Event>, Arc<Score>, Realized)>,
    scored: VecDeque<(Arc<Event>, Arc<Score>)>,
    rejects: VecDeque<RecentReject>,
    /// The last [`WINDOW`] targets, each as many numbers: log scores, the PIT of each field, and for each threshold P(Y > t) and whether it
    /// was exceeded.
    window: VecDeque<f64>,
}

impl Recorder {
    /// Of nothing yet.
    pub fn new(config: &Config) -> Self {
        Self {
            group: config.kafka.group.clone(),
            targets: config.target.fields.iter().map(ToString::to_string).collect(),
            levels: config.score.quantiles.clone(),
            quantile_labels: spec::metrics(config).quantiles,
            exceed_labels: Exceed::all(config).iter().map(shown).collect(),
            exceed: Exceed::all(config),
            forecast: Forecast::new(config),
            judged: VecDeque::with_capacity(NUM_JUDGED),
            scored: VecDeque::with_capacity(NUM_SCORED),
            rejects: VecDeque::with_capacity(NUM_REJECTS),
            window: VecDeque::new(),
        }
    }

    /// Numbers of one target in the window.
    fn stride(&self) -> usize {
        NUM_LOG_SCORES + self.targets.len() + 2 * self.exceed.len()
    }

    /// An event was scored, and its target is not known yet.
    pub fn scored(&mut self, event: &Arc<Event>, score: &Arc<Score>) {
        keep(&mut self.scored, (event.clone(), score.clone()), NUM_SCORED);
    }

    /// The target of an event came. Gives the baseline's log score in nats, where there is one.
    pub fn judged(&mut self, event: &Arc<Event>, score: &Arc<Score>, realized: &Realized) -> Option<f64> {
        keep(&mut self.judged, (event.clone(), score.clone(), realized.clone()), NUM_JUDGED);
        let baseline = self.forecast.as_mut().and_then(|forecast| {
            let log_score =
                forecast.load(&score.params).then(|| forecast.baseline_log_score(realized.targets[0]));
            log_score.map(|log_score| log_score.max(LOG_SCORE_FLOOR)) // which turns NaN into the floor, too
        });
        if self.window.len() == WINDOW * self.stride() {
            self.window.drain(..self.stride());
        }
        self.window.extend([realized.log_score.max(LOG_SCORE_FLOOR), baseline.unwrap_or(f64::NAN)]);
        self.window.extend(&realized.pits);
        for (nth, exceed) in self.exceed.iter().enumerate() {
            let p = score.figures.get(nth).copied().unwrap_or(f64::NAN); // what was published may be gone
            let is_exceeded = exceed.is_exceeded(&realized.targets, &event.thresholds);
            self.window.extend([p, f64::from(u8::from(is_exceeded))]);
        }
        baseline
    }

    /// A record was rejected.
    pub fn rejected(&mut self, reject: &Reject) {
        let reject = RecentReject {
            time: jiff::Timestamp::now().to_string(),
            partition: reject.partition,
            offset: reject.offset,
            reason: reject.reason.label(),
            detail: reject.detail.clone(),
        };
        keep(&mut self.rejects, reject, NUM_REJECTS);
    }

    /// All of it, for the page; `watch` brings the evidence.
    pub fn recent(&mut self, watch: &Watch) -> Recent {
        let known =
            self.judged.iter().map(|(event, score, realized)| self.event(event, score, &realized.targets));
        let unknown = self.scored.iter().map(|(event, score)| self.event(event, score, &[]));
        Recent {
            group: self.group.clone(),
            targets: self.targets.clone(),
            levels: self.levels.clone(),
            judged: known.collect(),
            scored: unknown.collect(),
            rejects: self.rejects.iter().cloned().collect(),
            calibration: self.calibration(watch),
            tail_index: self.tail_index(),
        }
    }

    fn event(&self, event: &Event, score: &Score, target: &[f64]) -> RecentEvent {
        let (dim, begin) = (self.targets.len(), self.exceed.len());
        let quantile = |axis: usize, nth: usize| {
            score.figures.get(begin + nth * dim + axis).copied().unwrap_or(f64::NAN)
        };
        RecentEvent {
            partition: event.partition,
            offset: event.offset,
            time: jiff::Timestamp::from_microsecond(event.time_us)
                .map(|time| time.to_string())
                .unwrap_or_default(),
            quantiles: (0..dim)
                .map(|axis| (0..self.levels.len()).map(|nth| quantile(axis, nth)).collect())
                .collect(),
            target: target.to_vec(),
        }
    }

    fn calibration(&mut self, watch: &Watch) -> Calibration {
        let (stride, dim) = (self.stride(), self.targets.len());
        let targets = self.window.make_contiguous().chunks_exact(stride);
        let pits = targets.clone().flat_map(|row| &row[NUM_LOG_SCORES..NUM_LOG_SCORES + dim]);
        let mut pit = [0; NUM_PIT_BINS];
        for pit_of_one in pits.filter(|pit| !pit.is_nan()) {
            pit[((pit_of_one * NUM_PIT_BINS as f64) as usize).min(NUM_PIT_BINS - 1)] += 1;
        }
        let mut e_values = watch.e_values().map(|(_, e_value)| e_value);
        let quantiles = self.quantile_labels.iter().enumerate().zip(e_values.by_ref());
        let coverage = |((nth, label), e_value): ((usize, &String), f64)| {
            let (level, axis) = (self.levels[nth / dim], NUM_LOG_SCORES + nth % dim);
            let is_below = |row: &[f64]| {
                if row[axis].is_nan() { f64::NAN } else { f64::from(u8::from(row[axis] <= level)) }
            };
            Coverage { label: label.clone(), level, share: mean(targets.clone().map(is_below)), e_value }
        };
        let quantiles = quantiles.map(coverage).collect();
        let exceed = self.exceed_labels.iter().enumerate().zip(e_values).map(|((nth, label), e_value)| {
            let at = NUM_LOG_SCORES + dim + 2 * nth;
            let is_known = |row: &&[f64]| !row[at].is_nan();
            Exceedance {
                label: label.clone(),
                expected: mean(targets.clone().map(|row| row[at])),
                observed: mean(targets.clone().filter(is_known).map(|row| row[at + 1])),
                e_value,
            }
        });
        Calibration {
            targets: targets.len(),
            pit,
            log_score_nats: mean(targets.clone().map(|row| row[0])),
            baseline_log_score_nats: mean(targets.clone().map(|row| row[1])),
            quantiles,
            exceed: exceed.collect(),
        }
    }

    /// Medians over the events that are kept, of the lower and of the upper tail.
    fn tail_index(&mut self) -> [Option<f64>; 2] {
        let Self { forecast: Some(forecast), judged, scored, .. } = self else { return [None; 2] };
        let scores = judged.iter().map(|(_, score, _)| score).chain(scored.iter().map(|(_, score)| score));
        let mut indices = [Side::Lower, Side::Upper].map(|_| Vec::new());
        for score in scores {
            if forecast.load(&score.params) {
                indices[0].push(forecast.tail_index(Side::Lower));
                indices[1].push(forecast.tail_index(Side::Upper));
            }
        }
        indices.map(|mut indices| {
            indices.sort_unstable_by(f64::total_cmp);
            indices.get(indices.len() / 2).copied()
        })
    }
}

/// What a threshold is called where names need not be safe in SQL: `17.5` instead of `17_5`.
fn shown(exceed: &Exceed) -> String {
    match exceed.bound {
        Bound::Constant { threshold, .. } if exceed.name == columns::number(threshold) => {
            format!("{}{threshold}", exceed.prefix)
        }
        _ => exceed.label(),
    }
}

/// Puts the newest behind the others, of which the oldest goes where there are `most`.
fn keep<T>(all: &mut VecDeque<T>, newest: T, most: usize) {
    if all.len() == most {
        all.pop_front();
    }
    all.push_back(newest);
}

/// The mean of those that are known; `None` where none is.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values
        .filter(|value| !value.is_nan())
        .fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

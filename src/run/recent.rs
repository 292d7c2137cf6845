//! Keeps what came lately, for the page.
//!
//! An event and its target cost a few reference counts; what is shown is worked out now and then, for whoever looks.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    backtest::forecast::Forecast,
    config::Config,
    density::Side,
    http::recent::{Calibration, Coverage, Exceedance, NUM_PIT_BINS, Recent, RecentEvent, RecentReject},
    record::{Event, Reject, time},
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
    judged: VecDeque<(Arc<Event>, Arc<Score>)>,
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
        // One that has none does not wait for it.
        if event.target.is_none() && !self.judged.is_empty() {
            return;
        }
        keep(&mut self.scored, (event.clone(), score.clone()), NUM_SCORED);
    }

    /// The target of an event came. Gives the baseline's log score in nats, where there is one.
    pub fn judged(&mut self, event: &Arc<Event>, score: &Arc<Score>, realized: &Realized) -> Option<f64> {
        self.scored.retain(|(waiting, _)| !Arc::ptr_eq(waiting, event));
        keep(&mut self.judged, (event.clone(), score.clone()), NUM_JUDGED);
        // Which turns NaN into the floor, too.
        let baseline = self.forecast.is_some().then(|| realized.baseline_log_score().max(LOG_SCORE_FLOOR));
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
            row: reject.row,
            reason: reject.reason.label(),
            detail: reject.detail.clone(),
        };
        keep(&mut self.rejects, reject, NUM_REJECTS);
    }

    /// All of it, for the page; `watch` brings the evidence, stream time is in µs since 1970.
    pub fn recent(&mut self, watch: &Watch, stream_time_us: Option<i64>) -> Recent {
        let known = self.judged.iter().map(|(event, score)| {
            let target = score.judged().map_or(&[][..], |realized| &realized.targets);
            self.event(event, score, target)
        });
        let unknown = self.scored.iter().map(|(event, score)| self.event(event, score, &[]));
        Recent {
            group: self.group.clone(),
            targets: self.targets.clone(),
            levels: self.levels.clone(),
            judged: known.collect(),
            scored: unknown.collect(),
            rejects: self.rejects.iter().cloned().collect(),
            calibration: self.calibration(watch),
            stream_time: stream_time_us.map(|us| time::rfc3339(us).to_string()),
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
            row: event.row,
            time: time::rfc3339(event.time_us).to_string(),
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
        let scores = judged.iter().chain(&*scored).map(|(_, score)| score);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        record::{Known, RejectReason, Target},
        score::Status,
    };

    fn recorder() -> (Recorder, Watch) {
        const CONFIG: &str = "kafka.brokers = 'b'\nkafka.group = 'g'\ninput.topic = 'i'\noutput.topic = 'o'\n\
                              target.fields = ['y']\nfeatures.x = 'number'\n\
                              score.exceed = [17.5, { late = 60.0 }]\nscore.quantiles = [0.9, 0.5]";
        let config = Config::from_parts(CONFIG, "test.toml", &[], std::iter::empty()).unwrap();
        (Recorder::new(&config), Watch::new(&config))
    }

    fn event(offset: i64, has_target: bool) -> Arc<Event> {
        Arc::new(Event {
            partition: 1,
            offset,
            row: 2,
            last: true,
            timestamp_ms: None,
            time_us: 1_000_000 * offset,
            key: None,
            features: [].into(),
            carry: [].into(),
            thresholds: [].into(),
            segment: None,
            target: has_target.then(|| Target { values: [20.0].into(), known: Known::At(i64::MAX) }),
        })
    }

    /// P(Y > 17.5) and P(Y > 60) are 0.25 and 0.125, the quantiles 30 and 10.
    fn score() -> Arc<Score> {
        Arc::new(Score {
            held_back: Default::default(),
            epoch: 1,
            updates: 3,
            status: Status::Ok,
            figures: [0.25, 0.125, 30.0, 10.0].into(),
            params: [].into(),
            realized: Realized::unknown(1),
        })
    }

    /// Lets the target come of an event that had this score.
    fn judged(recorder: &mut Recorder, event: &Arc<Event>, score: &Arc<Score>, pit: f64, target: f64) {
        let realized = Realized {
            targets: [target].into_iter().collect(),
            log_score: -2.0,
            pits: [pit].into_iter().collect(),
            log_scores_of_parts: Some([-1.5, -2.5]),
        };
        let score = Arc::new(Score { held_back: realized.clone().into(), ..(**score).clone() });
        recorder.judged(event, &score, &realized);
    }

    #[test]
    fn an_event_waits_until_its_target_comes_and_one_without_does_not_wait() {
        let (mut recorder, watch) = recorder();
        let (first, second) = (event(1, true), event(2, true));
        recorder.scored(&first, &score());
        recorder.scored(&second, &score());
        judged(&mut recorder, &first, &score(), 0.7, 20.0);
        recorder.scored(&event(3, false), &score());
        let recent = recorder.recent(&watch, Some(3_000_000));
        let offsets = |events: &[RecentEvent]| events.iter().map(|event| event.offset).collect::<Vec<_>>();
        assert_eq!((offsets(&recent.judged), offsets(&recent.scored)), (vec![1], vec![2]));
        let told = &recent.judged[0];
        assert_eq!((told.partition, told.row, told.time.as_str()), (1, 2, "1970-01-01T00:00:01.000000Z"));
        assert_eq!((&told.quantiles, &told.target), (&vec![vec![30.0, 10.0]], &vec![20.0]));
        assert_eq!(recent.stream_time.as_deref(), Some("1970-01-01T00:00:03.000000Z"));
    }

    #[test]
    fn calibration_is_that_of_the_last_targets() {
        let (mut recorder, watch) = recorder();
        assert_eq!(recorder.recent(&watch, None).calibration.log_score_nats, None);
        judged(&mut recorder, &event(0, true), &score(), 0.01, -5.0); // goes out of the window
        for offset in 0..WINDOW as i64 {
            let (pit, target) = if offset % 4 == 0 { (0.95, 70.0) } else { (0.7, 20.0) };
            judged(&mut recorder, &event(offset, true), &score(), pit, target);
        }
        let recent = recorder.recent(&watch, None);
        let seen = &recent.calibration;
        assert_eq!((recent.judged.len(), seen.targets), (NUM_JUDGED, WINDOW));
        assert_eq!((seen.pit[19], seen.pit[14], seen.pit[0]), (WINDOW as u32 / 4, 3 * WINDOW as u32 / 4, 0));
        assert_eq!((seen.log_score_nats, seen.baseline_log_score_nats), (Some(-2.0), Some(-2.5)));
        let shares: Vec<_> = seen.quantiles.iter().map(|q| (q.label.as_str(), q.level, q.share)).collect();
        assert_eq!(shares, [("0.9", 0.9, Some(0.75)), ("0.5", 0.5, Some(0.0))]);
        let exceed: Vec<_> = seen.exceed.iter().map(|t| (t.label.as_str(), t.expected, t.observed)).collect();
        assert_eq!(exceed, [("17.5", Some(0.25), Some(1.0)), ("late", Some(0.125), Some(0.25))]);
    }

    #[test]
    fn what_was_published_and_is_gone_is_null_and_shifts_nothing() {
        let (mut recorder, watch) = recorder();
        let gone = Arc::new(Score { figures: [].into(), ..(*score()).clone() });
        judged(&mut recorder, &event(0, true), &gone, 0.7, 20.0);
        judged(&mut recorder, &event(1, true), &score(), 0.7, 20.0);
        let recent = recorder.recent(&watch, None);
        assert!(recent.judged[0].quantiles[0].iter().all(|quantile| quantile.is_nan()));
        assert_eq!(
            (recent.calibration.exceed[0].expected, recent.calibration.exceed[0].observed),
            (Some(0.25), Some(1.0))
        );
    }

    #[test]
    fn the_last_rejects_are_kept_and_no_more() {
        let (mut recorder, watch) = recorder();
        for offset in 0..100 {
            recorder.rejected(&Reject {
                partition: 0,
                offset,
                row: 0,
                last: true,
                key: None,
                payload: None,
                reason: RejectReason::Future,
                detail: "an hour ahead".to_owned(),
            });
        }
        let rejects = recorder.recent(&watch, None).rejects;
        assert_eq!(
            (rejects.len(), rejects[NUM_REJECTS - 1].offset, rejects[0].reason),
            (NUM_REJECTS, 99, "future")
        );
    }
}

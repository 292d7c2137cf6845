//! What the metrics learn from the operator's actions.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::recent::Recorder;
use crate::{
    config::Config,
    http::recent::Recent,
    kafka::client::Observed,
    metrics::{FadingMean, Metrics, outcomes::Outcomes},
    model::learner::{Skip, Step, Taken},
    operator::{Action, Census, Operator, category_features, waiting::MAX_WAITING},
    record::{Event, Reject},
    score::{LOG_SCORE_FLOOR, Realized, Score, exceed::Exceed},
    watch::Watch,
};

/// How often gauges that cost a look elsewhere are set.
const REFRESH: Duration = Duration::from_millis(500);
/// Rejects of one reason are logged this often at most; the metrics count them all.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts.
pub struct Monitor<'a> {
    metrics: &'a Metrics,
    observed: &'a Observed,
    exceed: Vec<Exceed>,
    /// The levels of the quantiles.
    levels: Vec<f64>,
    has_segments: bool,
    categories: Vec<usize>,
    /// What was counted of the operator's census already.
    census: Census,
    /// Alarms and drift that were counted already.
    found: [u64; 3],
    next_refresh: Instant,
    /// By reject reason: until when further ones are not logged.
    quiet_until: HashMap<&'static str, Instant>,
    outcomes: Outcomes,
    log_score: FadingMean,
    baseline: FadingMean,
    recorder: Recorder,
    /// Time since the last chunk spent on scoring and on putting out.
    score: Duration,
    encode: Duration,
}

impl<'a> Monitor<'a> {
    /// A monitor that sets these metrics.
    pub fn new(config: &Config, metrics: &'a Metrics, observed: &'a Observed) -> Self {
        let zeros = vec![0; config.features.len()];
        metrics.waiting_targets_max.set(MAX_WAITING as i64);
        Self {
            metrics,
            observed,
            exceed: Exceed::all(config),
            levels: config.score.quantiles.clone(),
            has_segments: config.monitor.by.is_some(),
            categories: category_features(config),
            census: Census { missing: zeros.clone(), unknown: zeros },
            found: [0; 3],
            next_refresh: Instant::now(),
            quiet_until: HashMap::new(),
            outcomes: metrics.outcomes(),
            log_score: FadingMean::default(),
            baseline: FadingMean::default(),
            recorder: Recorder::new(config),
            score: Duration::ZERO,
            encode: Duration::ZERO,
        }
    }

    /// A chunk is to be worked off, and another one was, of which decoding took so long.
    pub fn turn(&mut self, mut decode: Duration) {
        let stages = &self.metrics.stages;
        for (stage, spent) in [
            (&stages.decode, &mut decode),
            (&stages.score, &mut self.score),
            (&stages.encode, &mut self.encode),
        ] {
            if *spent > Duration::ZERO {
                stage.observe(std::mem::take(spent).as_secs_f64());
            }
        }
    }

    /// The operator took so long for a record. One that completes a mini-batch takes as long as the step: hundreds of times a score.
    pub fn took(&mut self, took: Duration, has_learned: bool) {
        if has_learned {
            self.metrics.stages.learn.observe(took.as_secs_f64());
        } else {
            self.score += took;
        }
    }

    /// The operator took records, and wants this done.
    pub fn operated(&mut self, actions: &[Action]) {
        let mut num_scored = 0;
        for action in actions {
            match action {
                Action::Score(scored) => {
                    num_scored += 1;
                    let is_known = self.judge(&scored.event, &scored.score, &scored.score.realized);
                    if !is_known {
                        self.recorder.scored(&scored.event, &scored.score);
                    }
                }
                Action::Outcome(outcome) => {
                    self.judge(&outcome.event, &outcome.score, outcome.realized());
                }
                Action::Reject(reject) => {
                    self.metrics.rejected(reject.reason);
                    self.recorder.rejected(reject);
                    self.log(reject);
                }
                Action::Expired => self.metrics.records.expired.inc(),
                Action::Learned { step, records } => self.learned(step, *records),
            }
        }
        self.metrics.records.scored.inc_by(num_scored);
        self.outcomes.flush();
        for (gauge, mean) in [
            (&self.metrics.log_score_nats, &self.log_score),
            (&self.metrics.baseline_log_score_nats, &self.baseline),
        ] {
            if let Some(mean) = mean.get() {
                gauge.set(mean);
            }
        }
    }

    fn learned(&self, step: &Step, records: usize) {
        let updates = &self.metrics.updates;
        match step.taken {
            Taken::Skipped(Skip::Loss) => return updates.skipped_loss.inc(),
            Taken::Skipped(Skip::Gradient) => return updates.skipped_gradient.inc(),
            Taken::Clipped => updates.clipped.inc(),
            Taken::Whole => {}
        }
        updates.taken.inc();
        updates.gradient_norm.set(step.gradient_norm);
        if records > 0 {
            updates.loss_nats.set(step.loss_nats); // a further step has seen its records before
        }
        self.metrics.records.learned.inc_by(records as u64);
    }

    /// Logs a reject, each reason at most once an interval: a topic full of bad records must not fill the disk too.
    fn log(&mut self, reject: &Reject) {
        let now = Instant::now();
        let quiet_until = self.quiet_until.entry(reject.reason.label()).or_insert(now);
        if now < *quiet_until {
            return;
        }
        *quiet_until = now + LOG_INTERVAL;
        let Reject { partition, offset, detail, .. } = reject;
        tracing::warn!(partition, offset, reason = reject.reason.label(), detail, "rejected a record");
    }

    /// Actions were put into batches and messages, in so much time.
    pub fn put_out(&mut self, took: Duration) {
        self.encode += took;
    }

    /// A target came, if it is known, which is what it tells: how good were the figures?
    fn judge(&mut self, event: &Arc<Event>, score: &Arc<Score>, realized: &Realized) -> bool {
        if realized.log_score.is_nan() {
            return false;
        }
        let log_score = realized.log_score.max(LOG_SCORE_FLOOR);
        self.log_score.add(log_score);
        if let Some(baseline) = self.recorder.judged(event, score, realized) {
            self.baseline.add(baseline);
        }
        realized.pits.iter().for_each(|&pit| self.outcomes.pit(pit));
        for ((nth, exceed), &p) in self.exceed.iter().enumerate().zip(score.figures.iter()) {
            self.outcomes.threshold(nth, p, exceed.is_exceeded(&realized.targets, &event.thresholds));
        }
        let each = self.levels.iter().flat_map(|&level| realized.pits.iter().map(move |&pit| (pit, level)));
        for (nth, (pit, level)) in each.clone().enumerate() {
            self.outcomes.quantile(nth, pit, level);
        }
        if self.has_segments {
            self.metrics.segments.observe(event.segment.as_deref(), log_score, each);
        }
        true
    }

    /// Sets the gauges, now and then, and tells what came lately.
    pub fn refresh(&mut self, operator: &Operator) -> Option<Recent> {
        let now = Instant::now();
        if now < self.next_refresh {
            return None;
        }
        self.next_refresh = now + REFRESH;
        self.metrics.waiting_targets.set(operator.num_waiting() as i64);
        if let Some(time_us) = operator.stream_time_us() {
            let age_us = jiff::Timestamp::now().as_microsecond() - time_us;
            self.metrics.event_age_seconds.set(age_us as f64 / 1e6);
        }
        for (partition, high) in self.observed.high_watermarks() {
            if let Some(next) = operator.positions().get(&partition) {
                self.metrics.set_lag(partition, (high - next.offset).max(0));
            }
        }
        let census = operator.census();
        for (index, metric) in self.metrics.missing.iter().enumerate() {
            metric.inc_by(census.missing[index] - self.census.missing[index]);
        }
        for (metric, &index) in self.metrics.unknown_category.iter().zip(&self.categories) {
            metric.inc_by(census.unknown[index] - self.census.unknown[index]);
        }
        self.census.clone_from(census);
        self.watch(operator.watch());
        let recent = self.recorder.recent(operator.watch(), operator.stream_time_us());
        for (gauge, index) in self.metrics.tail_index.iter().zip(recent.tail_index) {
            index.iter().for_each(|&index| gauge.set(index));
        }
        Some(recent)
    }

    fn watch(&mut self, watch: &Watch) {
        for (metric, (_, e_value)) in self.metrics.e_values.iter().zip(watch.e_values()) {
            metric.set(e_value);
        }
        let now = watch.found();
        let before = std::mem::replace(&mut self.found, now);
        let counters = [&self.metrics.calibration_alarms].into_iter().chain(&self.metrics.drift);
        for ((counter, now), before) in counters.zip(now).zip(before) {
            // Another model begins to count anew.
            counter.inc_by(now.checked_sub(before).unwrap_or(now));
        }
    }
}

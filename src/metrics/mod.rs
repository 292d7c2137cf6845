//! What a running operator counts, for Prometheus.
//!
//! Names, types and labels are a contract that dashboards and alerts rely on: `tests/golden/metrics.txt` lists them
//! and a test compares. Every label value that is known at the start is there from the start, at zero, so that a
//! rate over a first increment isn't lost. Handles are resolved once, here: counting an event looks nothing up.
//!
//! Units are base units: seconds, bytes, nats. NaN (a figure that is null) is never counted.

pub mod outcomes;
mod register;
mod segments;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus::{
    Counter, Gauge, Histogram, IntCounter, IntGauge, IntGaugeVec, Registry, TextEncoder,
    process_collector::ProcessCollector,
};

use crate::{record::RejectReason, watch::Watch};
use outcomes::{Exceedances, Sides};
use register::Register;
use segments::Segments;

/// Upper edges of `tailwater_pit`: fine in the tails, where calibration is judged.
pub const PIT_EDGES: [f64; 15] =
    [0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999];

/// From one small batch's decoding (10 µs) to a commit that hangs (10 s).
const STAGE_EDGES_SECONDS: [f64; 13] =
    [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

const LATENCY_EDGES_SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What a process may be, as [`Metrics::set_role`] takes it.
pub const ROLES: [&str; 6] = ["starting", "restoring", "standby", "leading", "draining", "stopped"];

/// Each target takes this share in the fading mean of the log score: about its last 10,000 count.
const FADING: f64 = 1e-4;

/// A mean over about the last 1 / `FADING` values, unbiased from the first on.
#[derive(Debug, Default)]
pub struct FadingMean {
    sum: f64,
    weight: f64,
}

impl FadingMean {
    /// Takes a value.
    pub fn add(&mut self, value: f64) {
        self.sum = (1.0 - FADING) * self.sum + value;
        self.weight = (1.0 - FADING) * self.weight + 1.0;
    }

    /// The mean; `None` of nothing.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

/// What decides the label values that are there from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSpec {
    /// Every feature's name, in the config's order.
    pub features: Vec<String>,
    /// The names of the category features, in the config's order.
    pub categories: Vec<String>,
    /// The quantiles as the config writes them: `0.99`.
    pub quantiles: Vec<String>,
    /// The thresholds' names: `15`.
    pub thresholds: Vec<String>,
    /// libtorch's version.
    pub libtorch: &'static str,
    /// tailwater's version.
    pub version: &'static str,
}

/// The metrics of one operator, in a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `tailwater_role`, in the order of [`ROLES`].
    role: [IntGauge; ROLES.len()],
    /// `tailwater_records_total`, but for the rejected: [`Metrics::rejected`] counts those.
    pub records: Records,
    rejected: IntCounter,
    /// In the order of [`RejectReason::ALL`].
    rejected_by_reason: Vec<IntCounter>,
    lag: Lag,
    /// `tailwater_event_age_seconds`.
    pub event_age_seconds: Gauge,
    /// `tailwater_stage_seconds`.
    pub stages: Stages,
    /// `tailwater_latency_seconds`.
    pub latency_seconds: Histogram,
    /// `tailwater_waiting_targets`.
    pub waiting_targets: IntGauge,
    /// `tailwater_waiting_targets_max`.
    pub waiting_targets_max: IntGauge,
    /// `tailwater_missing_total`, in the order of [`MetricsSpec::features`].
    pub missing: Vec<IntCounter>,
    /// `tailwater_unknown_category_total`, in the order of [`MetricsSpec::categories`].
    pub unknown_category: Vec<IntCounter>,
    /// `tailwater_updates_total` and what went with them.
    pub updates: Updates,
    /// `tailwater_log_score_nats`.
    pub log_score_nats: Gauge,
    /// `tailwater_baseline_log_score_nats`.
    pub baseline_log_score_nats: Gauge,
    /// `tailwater_tail_index`, of the lower tail and of the upper one.
    pub tail_index: [Gauge; 2],
    pit: Histogram,
    /// `tailwater_quantile_outcomes_total`, in the order of [`MetricsSpec::quantiles`].
    quantiles: Vec<Sides>,
    /// `tailwater_exceed_expected_total` and `_observed_total`, in the order of [`MetricsSpec::thresholds`].
    exceed: Vec<Exceedances>,
    /// `tailwater_quantile_e_value`, in the order of [`MetricsSpec::quantiles`], then `tailwater_exceed_e_value`, in the order of
    /// [`MetricsSpec::thresholds`].
    pub e_values: Vec<Gauge>,
    /// `tailwater_calibration_alarms_total`.
    pub calibration_alarms: IntCounter,
    /// `tailwater_drift_total`, of the log score and of the PIT.
    pub drift: [IntCounter; 2],
    /// `tailwater_segment_…`.
    pub segments: Segments,
    /// `tailwater_transactions_total`.
    pub transactions: Transactions,
    /// `tailwater_rebalances_total`.
    pub rebalances: IntCounter,
    /// `tailwater_paused_seconds_total`.
    pub paused_seconds: Counter,
    /// `tailwater_state_bytes`.
    pub state_bytes: IntGauge,
    /// `tailwater_state_age_seconds`; the admin server sets it when it is asked.
    pub state_age_seconds: Gauge,
    /// `tailwater_restore_seconds`.
    pub restore_seconds: Gauge,
}

/// What became of records.
#[derive(Debug)]
pub struct Records {
    /// Scored and handed to the publisher.
    pub scored: IntCounter,
    /// Used, with their targets, in a mini-batch or the warm-up.
    pub learned: IntCounter,
    /// Given up: no target came within `target.wait`.
    pub expired: IntCounter,
}

/// Wall-clock time by stage, one observation a batch.
#[derive(Debug)]
pub struct Stages {
    /// Bytes to events.
    pub decode: Histogram,
    /// Events to figures.
    pub score: Histogram,
    /// A mini-batch to an update.
    pub learn: Histogram,
    /// Scores to a message.
    pub encode: Histogram,
    /// Until the broker has acknowledged it.
    pub commit: Histogram,
}

/// SGD steps.
#[derive(Debug)]
pub struct Updates {
    /// Steps taken.
    pub taken: IntCounter,
    /// Steps not taken because the loss was not finite.
    pub skipped_loss: IntCounter,
    /// Steps not taken because the gradient was not finite.
    pub skipped_gradient: IntCounter,
    /// Steps whose gradient was scaled down to `learn.clip`.
    pub clipped: IntCounter,
    /// Mean loss of the last step, in nats.
    pub loss_nats: Gauge,
    /// Norm of the last step's gradient, before it was clipped.
    pub gradient_norm: Gauge,
}

/// How transactions ended.
#[derive(Debug)]
pub struct Transactions {
    /// Committed.
    pub committed: IntCounter,
    /// Aborted, to be done again.
    pub aborted: IntCounter,
    /// Lost to a fatal error, such as being fenced by a newer leader.
    pub failed: IntCounter,
}

/// `tailwater_lag_records`: its labels follow the assignment.
#[derive(Debug)]
struct Lag {
    family: IntGaugeVec,
    assigned: Mutex<BTreeMap<i32, IntGauge>>,
}

impl Lag {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, IntGauge>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    /// Every metric of the contract, at zero.
    #[must_use]
    pub fn new(spec: &MetricsSpec) -> Self {
        let r = Register(Registry::new());

        let records = r.int_counters(
            "tailwater_records_total",
            "Records by what became of them: scored, learned from, rejected, or expired without a target.",
            &["outcome"],
        );
        let rejected_by_reason = r.int_counters(
            "tailwater_rejected_total",
            "Records that could not be used, by reason.",
            &["reason"],
        );
        let stages = r.histograms(
            "tailwater_stage_seconds",
            "Wall-clock time of one batch in each stage.",
            "stage",
            &STAGE_EDGES_SECONDS,
        );
        let role = r.int_gauges(
            "tailwater_role",
            "1 for what the process is at the moment, 0 for the others.",
            &["role"],
        );
        let tail_index = r.gauges(
            "tailwater_tail_index",
            "Median over the last events of the index by which their distribution's tail falls: 0 like a Gaussian's (also while nothing \
             is known, and of several targets), from 1 on without a mean.",
            &["side"],
        );
        let missing =
            r.int_counters("tailwater_missing_total", "Events in which a feature was null.", &["feature"]);
        let unknown_category = r.int_counters(
            "tailwater_unknown_category_total",
            "Events in which a category was none of its vocabulary and counted as other.",
            &["feature"],
        );
        let skipped = r.int_counters(
            "tailwater_updates_skipped_total",
            "SGD steps not taken because the loss or the gradient was not finite.",
            &["reason"],
        );
        let quantile_outcomes = r.int_counters(
            "tailwater_quantile_outcomes_total",
            "Targets above, and below, the quantile that their event was scored with, by their PIT.",
            &["quantile", "side"],
        );
        let expected = r.counters(
            "tailwater_exceed_expected_total",
            "Sum of the probabilities of exceeding a threshold, over events whose target came.",
            &["threshold"],
        );
        let observed = r.int_counters(
            "tailwater_exceed_observed_total",
            "Targets that exceeded a threshold.",
            &["threshold"],
        );
        let quantile_e_values = r.gauges(
            "tailwater_quantile_e_value",
            "Evidence that targets exceed a quantile more or less often than they should: above 1000 by chance in at most 0.1 % of streams, \
             however often it is looked at.",
            &["quantile"],
        );
        let exceed_e_values = r.gauges(
            "tailwater_exceed_e_value",
            "The same for the probabilities of exceeding a threshold.",
            &["threshold"],
        );
        let drift = r.int_counters(
            "tailwater_drift_total",
            "Changes found in the mean of the log score (downwards) and of the PIT.",
            &["signal"],
        );
        let transactions = r.int_counters(
            "tailwater_transactions_total",
            "Kafka transactions by how they ended.",
            &["result"],
        );
        let build_info = r.int_gauges(
            "tailwater_build_info",
            "Always 1; the versions are in the labels.",
            &["version", "libtorch"],
        );
        build_info.with_label_values(&[spec.version, spec.libtorch]).set(1);
        r.0.register(Box::new(ProcessCollector::for_self()))
            .expect("no metric of ours starts with process_, as the contract's test shows");

        Self {
            role: ROLES.map(|label| role.with_label_values(&[label])),
            records: Records {
                scored: records.with(&["scored"]),
                learned: records.with(&["learned"]),
                expired: records.with(&["expired"]),
            },
            rejected: records.with(&["rejected"]),
            rejected_by_reason: rejected_by_reason.each(&RejectReason::ALL.map(RejectReason::label)),
            lag: Lag {
                family: r.int_gauges(
                    "tailwater_lag_records",
                    "Records between the next one to take and the end of an assigned input partition.",
                    &["partition"],
                ),
                assigned: Mutex::default(),
            },
            event_age_seconds: r.gauge(
                "tailwater_event_age_seconds",
                "How far the event time of the last record scored lay behind the clock.",
            ),
            stages: Stages {
                decode: stages.with(&["decode"]),
                score: stages.with(&["score"]),
                learn: stages.with(&["learn"]),
                encode: stages.with(&["encode"]),
                commit: stages.with(&["commit"]),
            },
            latency_seconds: r.histogram(
                "tailwater_latency_seconds",
                "Time from a record's Kafka timestamp to the commit of its score.",
                &LATENCY_EDGES_SECONDS,
            ),
            waiting_targets: r
                .int_gauge("tailwater_waiting_targets", "Scored events whose target is not known yet."),
            waiting_targets_max: r.int_gauge(
                "tailwater_waiting_targets_max",
                "How many scored events may wait for their target; further ones expire.",
            ),
            missing: missing.each(&spec.features),
            unknown_category: unknown_category.each(&spec.categories),
            updates: Updates {
                taken: r.int_counter("tailwater_updates_total", "SGD steps taken."),
                skipped_loss: skipped.with(&["loss"]),
                skipped_gradient: skipped.with(&["gradient"]),
                clipped: r.int_counter(
                    "tailwater_updates_clipped_total",
                    "SGD steps whose gradient was scaled down to learn.clip.",
                ),
                loss_nats: r.gauge("tailwater_loss_nats", "Mean loss of the last SGD step, in nats."),
                gradient_norm: r.gauge(
                    "tailwater_gradient_norm",
                    "Norm of the last SGD step's gradient, before it was clipped.",
                ),
            },
            log_score_nats: r.gauge(
                "tailwater_log_score_nats",
                "Fading mean of the log score of targets under the distribution that their event was scored with, \
                 in nats.",
            ),
            baseline_log_score_nats: r.gauge(
                "tailwater_baseline_log_score_nats",
                "The same of the part of these distributions that knows no features (of several targets there is none): what a model has to be \
                 better than.",
            ),
            tail_index: ["lower", "upper"].map(|side| tail_index.with(&[side])),
            pit: r.histogram(
                "tailwater_pit",
                "Targets by the probability that their event's distribution gave to a lower one (of several fields all of them): even when calibrated.",
                &PIT_EDGES,
            ),
            quantiles: spec
                .quantiles
                .iter()
                .map(|quantile| Sides {
                    above: quantile_outcomes.with(&[quantile, "above"]),
                    below: quantile_outcomes.with(&[quantile, "below"]),
                })
                .collect(),
            exceed: spec
                .thresholds
                .iter()
                .map(|name| Exceedances { expected: expected.with(&[name]), observed: observed.with(&[name]) })
                .collect(),
            e_values: (spec.quantiles.iter().map(|level| quantile_e_values.with(&[level])))
                .chain(spec.thresholds.iter().map(|name| exceed_e_values.with(&[name])))
                .collect(),
            calibration_alarms: r.int_counter(
                "tailwater_calibration_alarms_total",
                "How often an e-value has reached 1000.",
            ),
            drift: Watch::SIGNALS.map(|signal| drift.with(&[signal])),
            segments: Segments::new(&r, &spec.quantiles),
            transactions: Transactions {
                committed: transactions.with(&["committed"]),
                aborted: transactions.with(&["aborted"]),
                failed: transactions.with(&["failed"]),
            },
            rebalances: r.int_counter(
                "tailwater_rebalances_total",
                "Changes of this process's assignment in the consumer group.",
            ),
            paused_seconds: r.counter(
                "tailwater_paused_seconds_total",
                "Time for which the input was paused because a queue was full.",
            ),
            state_bytes: r.int_gauge("tailwater_state_bytes", "Size of the last snapshot."),
            state_age_seconds: r.gauge("tailwater_state_age_seconds", "Age of the last snapshot."),
            restore_seconds: r.gauge("tailwater_restore_seconds", "How long the last restore of the state took."),
            registry: r.0,
        }
    }

    /// Takes what the process is: one of [`ROLES`].
    pub fn set_role(&self, role: &str) {
        for (label, gauge) in ROLES.iter().zip(&self.role) {
            gauge.set(i64::from(*label == role));
        }
    }

    /// Counts a rejected record, in all and by its reason.
    pub fn rejected(&self, reason: RejectReason) {
        self.rejected.inc();
        if let Some(at) = RejectReason::ALL.iter().position(|&known| known == reason) {
            self.rejected_by_reason[at].inc();
        }
    }

    /// How many records were rejected.
    #[must_use]
    pub fn num_rejected(&self) -> u64 {
        self.rejected.get()
    }

    /// Takes the assigned input partitions: lags of others go, new ones come at zero.
    pub fn set_partitions(&self, partitions: &[i32]) {
        let mut assigned = self.lag.lock();
        assigned.retain(|partition, _| {
            let kept = partitions.contains(partition);
            if !kept {
                // Fails only where the label isn't there, which is what is wanted.
                self.lag.family.remove_label_values(&[&partition.to_string()]).ok();
            }
            kept
        });
        for &partition in partitions {
            assigned
                .entry(partition)
                .or_insert_with(|| self.lag.family.with_label_values(&[&partition.to_string()]));
        }
    }

    /// Sets a partition's lag in records; one that isn't assigned is passed over.
    pub fn set_lag(&self, partition: i32, records: i64) {
        if let Some(gauge) = self.lag.lock().get(&partition) {
            gauge.set(records);
        }
    }

    /// The assigned partitions, each with its lag in records.
    #[must_use]
    pub fn lags(&self) -> BTreeMap<i32, i64> {
        self.lag.lock().iter().map(|(&partition, gauge)| (partition, gauge.get())).collect()
    }

    /// Everything in Prometheus's text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("what the registry gathers has metrics and names")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    fn texts(of: &[&str]) -> Vec<String> {
        of.iter().map(ToString::to_string).collect()
    }

    fn fresh() -> Metrics {
        Metrics::new(&MetricsSpec {
            features: texts(&["carrier", "dep_delay"]),
            categories: texts(&["carrier"]),
            quantiles: texts(&["0.5", "0.99"]),
            thresholds: texts(&["15", "late"]),
            libtorch: "2.13.0",
            version: "0.1.0",
        })
    }

    /// The samples of a rendering: name with labels, and value.
    fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
        text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            (sample, value.parse().unwrap())
        })
    }

    /// The value of one sample.
    fn value(metrics: &Metrics, sample: &str) -> Option<f64> {
        samples(&metrics.render()).find(|(name, _)| *name == sample).map(|(_, value)| value)
    }

    /// `name type {labels}` of everything in a rendering, a histogram's edges left out.
    fn contract(text: &str) -> BTreeSet<String> {
        let types: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .map(|line| line.split_once(' ').unwrap())
            .collect();
        samples(text)
            .map(|(sample, _)| {
                let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
                let labels: Vec<&str> = labels
                    .trim_end_matches('}')
                    .split(',')
                    .filter(|label| !label.is_empty() && !label.starts_with("le="))
                    .collect();
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .filter_map(|part| name.strip_suffix(part))
                    .find(|family| types.get(family) == Some(&"histogram"))
                    .unwrap_or(name);
                format!("{family} {} {{{}}}", types[family], labels.join(","))
            })
            .collect()
    }

    #[test]
    fn the_metrics_are_those_of_the_contract() {
        let metrics = fresh();
        metrics.segments.observe(Some("UA"), -1.0, [(0.4, 0.5)].into_iter());
        metrics.set_partitions(&[0, 1]);
        let golden: BTreeSet<String> = include_str!("../../tests/golden/metrics.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        let found = contract(&metrics.render());
        let gone: Vec<_> = golden.difference(&found).collect();
        let new: Vec<_> = found.difference(&golden).collect();
        assert!(
            gone.is_empty() && new.is_empty(),
            "dashboards and alerts rely on tests/golden/metrics.txt.\n\
             gone or renamed (breaks users; a new major version): {gone:#?}\n\
             new (add these lines, and the changelog's): {new:#?}"
        );
    }

    #[test]
    fn every_metric_starts_at_zero() {
        let metrics = fresh();
        metrics.set_partitions(&[0]);
        let text = metrics.render();
        let ours: Vec<_> = samples(&text)
            .filter(|(sample, _)| {
                !sample.starts_with("process_") && !sample.starts_with("tailwater_build_info")
            })
            .collect();
        assert!(ours.len() > 100, "{} samples", ours.len());
        assert!(ours.iter().all(|&(_, value)| value == 0.0), "{ours:?}");
        assert_eq!(value(&metrics, r#"tailwater_build_info{libtorch="2.13.0",version="0.1.0"}"#), Some(1.0));
    }

    #[test]
    fn every_metric_has_a_help_text() {
        let metrics = fresh();
        metrics.set_partitions(&[0]);
        let text = metrics.render();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = line.split(' ').next().unwrap();
            let help = text.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
            assert!(help.is_some_and(|help| help.ends_with('.')), "{name}: {help:?}");
        }
    }

    #[test]
    fn the_pit_has_the_edges_of_the_contract() {
        let text = fresh().render();
        let edges: Vec<&str> = samples(&text)
            .filter_map(|(sample, _)| sample.strip_prefix("tailwater_pit_bucket{le=\"")?.strip_suffix("\"}"))
            .collect();
        assert_eq!(
            edges.join(" "),
            "0.001 0.01 0.05 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 0.95 0.99 0.999 +Inf"
        );
    }

    #[test]
    fn a_rejected_record_counts_in_all_and_by_its_reason() {
        let metrics = fresh();
        for reason in RejectReason::ALL {
            metrics.rejected(reason);
        }
        metrics.rejected(RejectReason::Future);
        assert_eq!(value(&metrics, r#"tailwater_records_total{outcome="rejected"}"#), Some(9.0));
        assert_eq!(value(&metrics, r#"tailwater_rejected_total{reason="empty"}"#), Some(1.0));
        assert_eq!(value(&metrics, r#"tailwater_rejected_total{reason="future"}"#), Some(2.0));
        assert_eq!(metrics.num_rejected(), 9);
    }

    #[test]
    fn lags_follow_the_assignment() {
        let metrics = fresh();
        assert_eq!(value(&metrics, r#"tailwater_lag_records{partition="0"}"#), None);
        metrics.set_partitions(&[0, 1]);
        metrics.set_lag(0, 3);
        metrics.set_lag(1, 5);
        metrics.set_partitions(&[1, 2]);
        metrics.set_lag(0, 7);
        assert_eq!(metrics.lags(), BTreeMap::from([(1, 5), (2, 0)]));
        assert_eq!(value(&metrics, r#"tailwater_lag_records{partition="0"}"#), None);
        assert_eq!(value(&metrics, r#"tailwater_lag_records{partition="1"}"#), Some(5.0));
        assert_eq!(value(&metrics, r#"tailwater_lag_records{partition="2"}"#), Some(0.0));
    }

    #[test]
    fn null_figures_are_not_counted() {
        let metrics = fresh();
        let mut outcomes = metrics.outcomes();
        outcomes.pit(f64::NAN);
        outcomes.quantile(0, f64::NAN, 0.5);
        outcomes.threshold(0, f64::NAN, true);
        outcomes.flush();
        assert!(samples(&metrics.render()).all(|(_, value)| !value.is_nan()));
        assert_eq!(value(&metrics, "tailwater_pit_count"), Some(0.0));
        assert_eq!(value(&metrics, r#"tailwater_exceed_observed_total{threshold="15"}"#), Some(0.0));
        assert_eq!(
            value(&metrics, r#"tailwater_quantile_outcomes_total{quantile="0.5",side="below"}"#),
            Some(0.0)
        );
    }

    #[test]
    fn a_target_counts_on_its_side_of_the_quantile_and_the_threshold() {
        let metrics = fresh();
        let mut outcomes = metrics.outcomes();
        [0.99, 0.995, 1.0].into_iter().for_each(|pit| outcomes.quantile(1, pit, 0.99));
        outcomes.threshold(1, 0.25, true);
        outcomes.threshold(1, 0.5, false);
        outcomes.flush();
        outcomes.flush();
        let quantile = |side: &str| {
            value(&metrics, &format!(r#"tailwater_quantile_outcomes_total{{quantile="0.99",side="{side}"}}"#))
        };
        assert_eq!((quantile("above"), quantile("below")), (Some(2.0), Some(1.0)));
        assert_eq!(value(&metrics, r#"tailwater_exceed_expected_total{threshold="late"}"#), Some(0.75));
        assert_eq!(value(&metrics, r#"tailwater_exceed_observed_total{threshold="late"}"#), Some(1.0));
    }
}

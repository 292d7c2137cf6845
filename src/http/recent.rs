//! What came lately, as the page shows it: `/recent`.

use serde::Serialize;

/// [0, 1] is shown in so many parts of one width.
pub const NUM_PIT_BINS: usize = 20;

/// The last events, how well they were told, and what was rejected. A number that is null is not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Recent {
    /// The consumer group.
    pub group: String,
    /// The names of the target's fields.
    pub targets: Vec<String>,
    /// The levels of the quantiles.
    pub levels: Vec<f64>,
    /// Events whose target has come, in the order in which the targets became known: the last one last.
    pub judged: Vec<RecentEvent>,
    /// Events that were scored last and still wait for their target (where no target ever came, those scored last): the last one last.
    pub scored: Vec<RecentEvent>,
    /// How well the last targets were told.
    pub calibration: Calibration,
    /// The highest event time that was taken, RFC 3339.
    pub stream_time: Option<String>,
    /// Median over these events of the index of the lower and of the upper tail.
    pub tail_index: [Option<f64>; 2],
    /// The last rejected records: the last one last.
    pub rejects: Vec<RecentReject>,
}

/// An event with what was said of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecentEvent {
    /// Where it stands in the input.
    pub partition: i32,
    /// The same.
    pub offset: i64,
    /// Its row within that message, where one holds many.
    pub row: u32,
    /// Its event time, RFC 3339.
    pub time: String,
    /// For each field of the target the quantiles, in the order of the levels.
    pub quantiles: Vec<Vec<f64>>,
    /// For each field of the target what it was; empty where it is not known.
    pub target: Vec<f64>,
}

/// How well the last targets were told: all of what follows is over the same ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Calibration {
    /// How many targets there were, the last few thousand.
    pub targets: usize,
    /// How many PITs lay in each part of [0, 1], those of several fields together.
    pub pit: [u32; NUM_PIT_BINS],
    /// Mean log score in nats.
    pub log_score_nats: Option<f64>,
    /// That of the part of the mixture which knows no features; null of several targets.
    pub baseline_log_score_nats: Option<f64>,
    /// Of each quantile, for each field of the target.
    pub quantiles: Vec<Coverage>,
    /// Of each threshold.
    pub exceed: Vec<Exceedance>,
}

/// A quantile, and how many targets came below it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    /// Its label in metrics: `0.99`.
    pub label: String,
    /// How much of the probability lies below it.
    pub level: f64,
    /// The share of targets that did.
    pub share: Option<f64>,
    /// The evidence against it, since the model began.
    pub e_value: f64,
}

/// A threshold, and how often it was exceeded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exceedance {
    /// Its name: `17.5`.
    pub label: String,
    /// The mean of what was said, P(Y > t).
    pub expected: Option<f64>,
    /// The share of targets that did.
    pub observed: Option<f64>,
    /// The evidence against it, since the model began.
    pub e_value: f64,
}

/// A record that could not be used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecentReject {
    /// When that was found, RFC 3339.
    pub time: String,
    /// Where it stands in the input.
    pub partition: i32,
    /// The same.
    pub offset: i64,
    /// Its row within that message, where one holds many.
    pub row: u32,
    /// Why.
    pub reason: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

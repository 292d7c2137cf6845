//! What a backtest found: the contents of `summary.json`, from which the report is made. Numbers that do not exist are null. Times are
//! RFC 3339 in UTC; probabilities and rates are between 0 and 1; log scores are in nats; p-values are those of a right model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::statistics::Test;

/// The version of the format: a field that is added leaves it as it is, any other change raises it.
pub const VERSION: u32 = 1;

/// A backtest of one model, or of several side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// [`VERSION`].
    pub version: u32,
    /// The version of tailwater that ran it.
    pub tailwater: String,
    /// When it was finished.
    pub finished_at: String,
    /// The command that gives the same numbers again.
    pub command: String,
    /// What limits what it says (it was interrupted; the model had seen the targets), in sentences; empty: nothing.
    pub caveats: Vec<String>,
    /// What was read.
    pub input: InputSummary,
    /// What it took.
    pub run: RunSummary,
    /// The models, in the order of the command line; the first is the one that is judged, the others are compared with it.
    pub models: Vec<ModelSummary>,
    /// Differences of each further model's scores to the first's; empty with one model.
    pub comparisons: Vec<Comparison>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputSummary {
    /// The file's name, or the topic's.
    pub name: String,
    /// A topic's ranges; a file is partition 0, and its offsets are row numbers.
    pub partitions: Vec<Range>,
    /// The lowest and the highest event time of what was scored; null where nothing was.
    pub times: Option<[String; 2]>,
    /// Records read.
    pub records: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Reasons with their numbers, the most frequent first.
    pub rejected_reasons: Vec<(String, u64)>,
    /// What a target is called: `target.fields`, joined by commas.
    pub target: String,
}

/// Offsets of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The offset after the last.
    pub until: i64,
}

/// What it took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// From the first record to the last figure, s.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// The most memory that the process ever held (resident), bytes; null where the system doesn't tell.
    pub peak_bytes: Option<u64>,
}

/// What one model did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelSummary {
    /// Its name: the config's file, or what it varies, `model.kind=mdn`.
    pub name: String,
    /// The hash of what changes its numbers.
    pub config_hash: String,
    /// Its effective config, in TOML.
    pub config: String,
    /// The file of its scores, in the same folder.
    pub scores_file: String,
    /// Events scored.
    pub scored: u64,
    /// Of these, by a net that had not learned yet: they are judged like all others, but not in what follows.
    pub warmup: u64,
    /// Events whose target came and that were scored by the net: what follows is about these.
    pub judged: u64,
    /// SGD steps taken.
    pub updates: u64,
    /// What it comes to, in words.
    pub verdict: Verdict,
    /// Each quantile of each target.
    pub quantiles: Vec<QuantileSummary>,
    /// Each threshold.
    pub thresholds: Vec<ThresholdSummary>,
    /// Each expected shortfall.
    pub shortfalls: Vec<ShortfallSummary>,
    /// The PIT of each target.
    pub pits: Vec<PitSummary>,
    /// Mean scores; of all the lower is the better (the log score is negated: "log loss").
    pub scores: Vec<MeanScore>,
    /// The mean log score, nats, and that of the baseline: the same mixture's part that knows no features (null: of several targets).
    pub log_score: Option<f64>,
    /// See `log_score`.
    pub baseline_log_score: Option<f64>,
    /// The same in up to 64 stretches of equally many events, in order.
    pub periods: Vec<Period>,
    /// The events that were least likely, up to ten, the worst first.
    pub worst: Vec<WorstEvent>,
    /// By the values of the fields of `--by`, the most frequent first.
    pub segments: Vec<Segment>,
}

/// Whether something held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// The data agree with it, closely enough to say so.
    Yes,
    /// It is off by little, though the data are enough to tell that it is.
    Nearly,
    /// It did not hold.
    No,
    /// There are too few events to say.
    Unclear,
}

impl Held {
    /// The order in which findings are read: the worst first.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::No => 0,
            Self::Unclear => 1,
            Self::Nearly => 2,
            Self::Yes => 3,
        }
    }
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Over all of it.
    pub held: Held,
    /// One sentence.
    pub headline: String,
    /// Where it did not hold, the worst first, then what can't be told, then what held: a sentence each.
    pub findings: Vec<Finding>,
}

/// One sentence of the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What it says.
    pub held: Held,
    /// The sentence.
    pub text: String,
}

/// A rate of events with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// How many events there were.
    pub events: u64,
    /// How many of them it happened to.
    pub observed: u64,
    /// How many it should have happened to.
    pub expected: f64,
    /// 95 % interval of the rate observed/events, which allows for events that go together.
    pub interval: [f64; 2],
}

/// A quantile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuantileSummary {
    /// Its column.
    pub column: String,
    /// Its level.
    pub level: f64,
    /// Targets above it.
    pub exceeded: Rate,
    /// Whether it held.
    pub held: Held,
    /// Exact two-sided binomial test of the number of exceedances; only its p-value, like that of the next three, takes events to be independent.
    pub binomial: Option<Test>,
    /// Kupiec's (1995) likelihood ratio of the proportion of failures.
    pub kupiec: Option<Test>,
    /// Christoffersen's (1998) test of independence of one event and the next.
    pub independence: Option<Test>,
    /// Christoffersen's test of conditional coverage: both together.
    pub conditional_coverage: Option<Test>,
    /// Engle & Manganelli's (2004) dynamic quantile test, four lags and the quantile itself.
    pub dynamic_quantile: Option<Test>,
    /// How much more often an event exceeds it right after one that did; null without such.
    pub clustering: Option<f64>,
    /// The Basel traffic light over consecutive windows of 250 targets: how many are green, yellow and red.
    pub traffic_light: [u64; 3],
    /// Mean pinball loss, in the target's unit.
    pub pinball: f64,
    /// What so many events can tell, in words.
    pub power: String,
}

/// A threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdSummary {
    /// Its column.
    pub column: String,
    /// The threshold; null where each event has its own.
    pub threshold: Option<f64>,
    /// Targets above it.
    pub exceeded: Rate,
    /// Whether its probabilities held on the whole.
    pub held: Held,
    /// Two-sided test of the number of exceedances by its Poisson-binomial distribution: takes events to be independent.
    pub poisson_binomial: Option<Test>,
    /// Mean Brier score.
    pub brier: f64,
    /// That of the mean rate for every event: what knows no features gets.
    pub brier_of_rate: f64,
    /// Groups of events by their probability, from low to high.
    pub reliability: Vec<ReliabilityBin>,
    /// What so many events can tell, in words.
    pub power: String,
}

/// Events of about the same probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReliabilityBin {
    /// Events.
    pub events: u64,
    /// Their mean probability.
    pub expected: f64,
    /// Their rate.
    pub observed: f64,
    /// Its 95 % interval, by Wilson.
    pub interval: [f64; 2],
}

/// An expected shortfall.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShortfallSummary {
    /// Its column.
    pub column: String,
    /// Its level.
    pub level: f64,
    /// Events for which it is finite.
    pub events: u64,
    /// Events for which it is not, and is null.
    pub infinite: u64,
    /// Whether it held.
    pub held: Held,
    /// Acerbi & Székely's (2014) first test: by how much the targets beyond the quantile exceed the shortfall, on average, relative to it; its p-value is simulated.
    pub z1: Option<Test>,
    /// Their second, which also counts how many targets are beyond.
    pub z2: Option<Test>,
    /// Mean joint score of quantile and shortfall (Fissler & Ziegel 2016, in Patton, Ziegel & Chen's 2019 form of degree 0).
    pub fissler_ziegel: Option<f64>,
}

/// Where targets lay in their distributions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PitSummary {
    /// The target's field.
    pub target: String,
    /// Counts in twenty equal bins from 0 to 1.
    pub histogram: Vec<u64>,
    /// Kolmogorov & Smirnov's test of uniformity; the statistic is the distance. Takes events to be independent.
    pub uniformity: Option<Test>,
    /// Berkowitz's (2001) likelihood ratio of standard normal, independent normal scores.
    pub berkowitz: Option<Test>,
    /// Mean of the normal scores: 0 where they are right.
    pub normal_mean: f64,
    /// Their standard deviation: 1 where they are right.
    pub normal_deviation: f64,
    /// Their correlation from one event to the next.
    pub normal_correlation: f64,
}

/// A mean score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeanScore {
    /// Its key: `log_loss`, `crps`, `pinball_q99`, `brier_p_gt_15`, `twcrps_p_gt_15`, `censored_log_loss_p_gt_15`, `fissler_ziegel_es99`.
    pub score: String,
    /// What it is, for people: "Pinball loss at 99 %".
    pub title: String,
    /// Its mean.
    pub mean: f64,
    /// 95 % interval of the mean, which allows for events that go together.
    pub interval: [f64; 2],
}

/// How another model's scores differ from the first's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// The other model's name.
    pub name: String,
    /// Events that both judged.
    pub events: u64,
    /// By score, as far as both have it.
    pub differences: Vec<Difference>,
}

/// A difference of mean scores (Diebold & Mariano 1995; the interval is by Lazarus, Lewis, Stock & Watson's 2018 rule).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The score's key.
    pub score: String,
    /// What it is, for people.
    pub title: String,
    /// The first model's mean.
    pub first: f64,
    /// The other's.
    pub other: f64,
    /// The other's less the first's: below 0 where the other is better.
    pub difference: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
}

/// A stretch of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Period {
    /// The first event's time.
    pub from: String,
    /// The last event's time.
    pub until: String,
    /// Events judged.
    pub events: u64,
    /// Share of targets above each quantile, in the order of `quantiles`.
    pub above: Vec<f64>,
    /// Share of targets above each threshold, in the order of `thresholds`.
    pub exceeded: Vec<f64>,
    /// The mean probability of it.
    pub expected: Vec<f64>,
    /// Mean log score, nats.
    pub log_score: Option<f64>,
    /// The baseline's.
    pub baseline_log_score: Option<f64>,
    /// Mean index ξ of the upper tail: P(Y > y) falls like y^(−1/ξ).
    pub upper_tail_index: Option<f64>,
    /// That of the lower one.
    pub lower_tail_index: Option<f64>,
}

/// An event that was very unlikely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorstEvent {
    /// Its input partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its row there.
    pub row: u32,
    /// Its event time.
    pub time: String,
    /// Its key, where it is text.
    pub key: Option<String>,
    /// The carried fields, by name.
    pub carried: Vec<(String, String)>,
    /// Its targets.
    pub target: Vec<f64>,
    /// Its log score, nats.
    pub log_score: f64,
    /// The PIT of each target.
    pub pit: Vec<f64>,
    /// The highest quantile's column, and what it was.
    pub quantile: Option<(String, f64)>,
}

/// Events with the same value of a field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// The field.
    pub field: String,
    /// Its value; null: all others (those beyond the first hundred).
    pub value: Option<String>,
    /// Events judged.
    pub events: u64,
    /// Mean log score, nats.
    pub log_score: Option<f64>,
    /// Of each quantile.
    pub quantiles: Vec<SegmentRate>,
    /// Of each threshold.
    pub thresholds: Vec<SegmentRate>,
}

/// A figure among the events of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentRate {
    /// Events that have it.
    pub events: u64,
    /// Targets above it.
    pub observed: u64,
    /// How many there should have been.
    pub expected: f64,
    /// 95 % interval of the rate, by Wilson.
    pub interval: [f64; 2],
    /// Whether it held, given how many segments were looked at.
    pub held: Held,
}

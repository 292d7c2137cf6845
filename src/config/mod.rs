//! The configuration: what a user may set, and what each key means.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

/// Everything that `tailwater.toml`, `--set` and `TAILWATER__…` decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub kafka: Kafka,
    pub input: Input,
    /// In the order of the model's inputs.
    pub features: Vec<Feature>,
    pub target: Target,
    pub model: Model,
    pub learn: Learn,
    pub score: Score,
    pub output: Output,
    pub state: State,
    pub delivery: Delivery,
    pub admin: Admin,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Kafka {
    pub brokers: String,
    pub group: String,
    /// librdkafka properties, passed on as they are.
    pub properties: BTreeMap<String, Secret>,
}

/// A value that may be a secret: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    pub topic: String,
    pub format: InputFormat,
    /// Where event time stands; `None`: the Kafka timestamp.
    pub time: Option<TimeField>,
    pub start: Start,
    pub max_bytes: usize,
    pub max_ahead: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    Json,
    Arrow,
}

/// Where a group without committed offsets begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// Microseconds since 1970.
    At(i64),
}

/// A field of an input record: the dotted path's segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldPath(pub Vec<String>);

#[derive(Debug, Clone, PartialEq)]
pub struct TimeField {
    pub path: FieldPath,
    pub unit: TimeUnit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// An RFC 3339 text, or a number of seconds since 1970.
    Auto,
    Seconds,
    Millis,
    Micros,
    Nanos,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    pub name: String,
    pub path: FieldPath,
    pub kind: FeatureKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum FeatureKind {
    Number {
        transform: Option<Transform>,
    },
    Cycle {
        period: f64,
    },
    /// One-hot over a learned vocabulary of at most `size` values, the rest under "other".
    Category {
        size: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    Log1p,
    Sqrt,
    Log,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub fields: Vec<FieldPath>,
    /// When the target becomes known; `None`: with its event.
    pub time: Option<TimeField>,
    pub wait: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub kind: ModelKind,
    /// From the base to the data.
    pub flows: Vec<FlowKind>,
    pub hidden: Vec<usize>,
    pub activation: Activation,
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    Nfn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowKind {
    Affine,
    Planar,
    Radial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Tanh,
    Relu,
    Silu,
    Gelu,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Learn {
    pub enabled: bool,
    pub batch: usize,
    pub average: f64,
    pub optimizer: OptimizerKind,
    pub rate: f64,
    pub clip: f64,
    pub noise: Noise,
    pub warmup: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimizerKind {
    Sgd,
    Adam,
    Adamw,
}

/// Noise regularisation, in standard deviations of the normalised inputs and target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    Auto,
    Off,
    Fixed { x: f64, y: f64 },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    pub exceed: Vec<Threshold>,
    pub quantiles: Vec<f64>,
    pub shortfall: Vec<f64>,
}

/// A threshold t of P(Y > t), with the name that its column ends in.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    pub name: String,
    pub value: ThresholdValue,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ThresholdValue {
    Constant(f64),
    /// Each event brings its own.
    Field(FieldPath),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub topic: String,
    pub format: OutputFormat,
    /// Input fields copied to the scores.
    pub carry: Vec<FieldPath>,
    pub rows: usize,
    pub linger: Duration,
    pub outcomes: Option<String>,
    pub rejected: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    Arrow,
    Json,
}

#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The one-partition topic whose assignment decides who leads.
    pub topic: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// How often consumed offsets are committed, after the scores were acknowledged.
    pub commit: Duration,
    /// How long a shutdown may take before it is forced.
    pub drain: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    pub listen: SocketAddr,
}

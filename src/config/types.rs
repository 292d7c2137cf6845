//! The types of the configuration's values.

use std::{fmt, str::FromStr};

use super::duration;

/// A value that may be a secret: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A field of an input record: the dotted path's segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldPath(pub Vec<String>);

impl FieldPath {
    /// Splits a dotted path; `None` where a segment would be empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let segments: Vec<String> = text.split('.').map(str::to_owned).collect();
        (!segments.iter().any(String::is_empty)).then_some(Self(segments))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// The format of the input topic's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// One JSON object a message.
    Json,
    /// One Arrow IPC stream a message, of any number of rows.
    Arrow,
}

/// Where a group without committed offsets begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is kept.
    Earliest,
    /// At the records to come.
    Latest,
    /// At this Kafka timestamp, µs since 1970.
    At(i64),
}

impl FromStr for Start {
    type Err = NotAStart;

    fn from_str(text: &str) -> Result<Self, NotAStart> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => match text.parse::<jiff::Timestamp>() {
                Ok(time) => Ok(Self::At(time.as_microsecond())),
                Err(_) => Err(NotAStart),
            },
        }
    }
}

impl Start {
    /// The same, or an age before now such as `7d`.
    ///
    /// # Errors
    /// When the text is none of them.
    pub fn parse_with_age(text: &str, now_us: i64) -> Result<Self, NotAPlace> {
        if let Ok(start) = text.parse() {
            return Ok(start);
        }
        let age = duration::parse(text).ok_or(NotAPlace)?;
        Ok(Self::At(now_us.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))))
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At(us) => match jiff::Timestamp::from_microsecond(us) {
                Ok(time) => write!(f, "{time}"),
                Err(_) => write!(f, "{us} µs since 1970"), // no time that can be read
            },
        }
    }
}

/// A text that is neither a [`Start`] nor an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be earliest, latest, an RFC 3339 time with its offset such as 2013-01-01T00:00:00Z, or an age such as 7d"
)]
pub struct NotAPlace;

/// A text that is no [`Start`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be earliest, latest, or an RFC 3339 time with its offset such as 2013-01-01T00:00:00Z")]
pub struct NotAStart;

/// A field that holds a time.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeField {
    /// Where it stands in the record.
    pub path: FieldPath,
    /// How it is written.
    pub unit: TimeUnit,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// An RFC 3339 text, or a number of seconds since 1970.
    Auto,
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// Microseconds since 1970.
    Micros,
    /// Nanoseconds since 1970.
    Nanos,
}

/// An input of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// Its name in metrics and messages.
    pub name: String,
    /// Where it stands in the record.
    pub path: FieldPath,
    /// How it becomes numbers.
    pub kind: FeatureKind,
}

/// How a feature becomes numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum FeatureKind {
    /// Standardised; null becomes the mean and sets an indicator input.
    Number {
        /// Applied before anything else.
        transform: Option<Transform>,
    },
    /// Sine and cosine.
    Cycle {
        /// The length of one turn, in the feature's own unit; above 0.
        period: f64,
    },
    /// One-hot over a learned vocabulary.
    Category {
        /// Values in the vocabulary at most, the rest under "other".
        size: usize,
    },
}

/// What is applied to a number first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// log(1 + x), for x > -1.
    Log1p,
    /// √x, for x ≥ 0.
    Sqrt,
    /// log x, for x > 0.
    Log,
}

/// The density that is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// A Normalizing Flow Network.
    Nfn,
    /// A mixture density network.
    Mdn,
    /// A kernel mixture network.
    Kmn,
}

impl ModelKind {
    /// As it is written in a config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nfn => "nfn",
            Self::Mdn => "mdn",
            Self::Kmn => "kmn",
        }
    }
}

/// A target has at most so many fields.
pub const MAX_TARGETS: usize = 8;

/// Which values a target can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Any.
    Real,
    /// Those above 0.
    Positive,
}

/// A layer of the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowKind {
    /// Location and scale.
    Affine,
    /// Bends along one direction.
    Planar,
    /// Stretches or shrinks around a point.
    Radial,
    /// Location, scale, and generalised Pareto tails.
    Pareto,
    /// Location, scale, and Lambert W × Gaussian tails.
    Lambert,
    /// Location, scale, and tails like Student's t.
    Tail,
    /// Bends each axis by a monotone spline.
    Spline,
}

impl FlowKind {
    /// Every kind, in the order of the reference.
    pub const ALL: [Self; 7] =
        [Self::Affine, Self::Planar, Self::Radial, Self::Spline, Self::Tail, Self::Lambert, Self::Pareto];

    /// As it is written in a config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Affine => "affine",
            Self::Planar => "planar",
            Self::Radial => "radial",
            Self::Pareto => "pareto",
            Self::Lambert => "lambert",
            Self::Tail => "tail",
            Self::Spline => "spline",
        }
    }

    /// Whether it sets the tails.
    #[must_use]
    pub fn is_tail(self) -> bool {
        matches!(self, Self::Pareto | Self::Lambert | Self::Tail)
    }

    /// Whether it carries location and scale in the data's units.
    #[must_use]
    pub fn has_location(self) -> bool {
        self == Self::Affine || self.is_tail()
    }
}

/// The net's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Hyperbolic tangent.
    Tanh,
    /// max(0, x).
    Relu,
    /// x · sigmoid(x).
    Silu,
    /// x · Φ(x).
    Gelu,
}

/// The optimiser of the SGD steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimizerKind {
    /// Plain gradient steps.
    Sgd,
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    Adamw,
}

/// Noise regularisation, in standard deviations of the normalised inputs and target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    /// Set by the rule of thumb, from the number of records learned.
    Auto,
    /// None.
    Off,
    /// These standard deviations; 0 or more.
    Fixed {
        /// Of the numeric inputs.
        x: f64,
        /// Of the target.
        y: f64,
    },
}

/// A threshold t of P(Y > t), with the name that its column ends in.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The column is `p_gt_` and this.
    pub name: String,
    /// The threshold itself.
    pub value: ThresholdValue,
}

/// Where a threshold comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ThresholdValue {
    /// The same for every event; finite.
    Constant(f64),
    /// Each event brings its own.
    Field(FieldPath),
    /// One for each of several target fields, to be exceeded together; finite.
    Together(Vec<(FieldPath, f64)>),
}

impl fmt::Display for ThresholdValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::Field(path) => write!(f, "{path}"),
            Self::Together(bounds) => {
                let each: Vec<_> = bounds.iter().map(|(path, t)| format!("{path} > {t}")).collect();
                f.write_str(&each.join(" and "))
            }
        }
    }
}

/// Whether what is published is calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calibrate {
    /// It is the model's own.
    Off,
    /// Its distribution function is mapped by what is learned of where targets lie in it.
    Online,
}

/// The format of the messages with scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// One Arrow IPC stream a message, of up to `output.rows` rows.
    Arrow,
    /// One event a message.
    Json,
}

/// What happens where something no longer fits the saved state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMismatch {
    /// The process ends with the remedy.
    Fail,
    /// A new model begins, of a new epoch, at the group's offsets.
    Fresh,
}

/// How often a record counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Scores, offsets and state are committed in one transaction.
    ExactlyOnce,
    /// Offsets are committed after their scores were acknowledged; records after the last commit are scored again.
    AtLeastOnce,
}

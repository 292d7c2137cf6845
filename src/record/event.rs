//! What a decoded input record is to the operator.

use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// One value of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Cell {
    /// Absent or null.
    Null,
    /// A finite number; booleans are 0 and 1.
    Number(f64),
    /// A text.
    Text(CompactString),
}

/// One row of input: an event to score, with its target where the record holds one.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Input partition.
    pub partition: i32,
    /// Offset of the message that held it.
    pub offset: i64,
    /// Row within the message: 0 unless the format packs many rows into one.
    pub row: u32,
    /// Whether it is its message's last row, after which the offset is done with.
    pub last: bool,
    /// The broker's timestamp, ms since 1970; `None` where the message has none.
    pub timestamp_ms: Option<i64>,
    /// Event time, µs since 1970.
    pub time_us: i64,
    /// The message's key.
    pub key: Option<Box<[u8]>>,
    /// One cell a feature, in the config's order: `Number`s already transformed (`log1p` …), categories as `Text`.
    pub features: Box<[Cell]>,
    /// One cell a carried field, in the config's order.
    pub carry: Box<[Cell]>,
    /// One threshold for each `score.exceed` that names a field, in the config's order; NaN where the record has none.
    pub thresholds: Box<[f64]>,
    /// The value of `monitor.by`, as a text.
    pub segment: Option<CompactString>,
    /// The target, where the record holds one (all of its fields non-null).
    pub target: Option<Target>,
}

impl Event {
    /// What a model learns from or scores, of no stream: the first of partition 0, without a key, carried fields or thresholds.
    #[must_use]
    pub fn bare(features: Box<[Cell]>, target: Option<Target>) -> Self {
        Self {
            partition: 0,
            offset: 0,
            row: 0,
            last: true,
            timestamp_ms: None,
            time_us: 0,
            key: None,
            features,
            carry: [].into(),
            thresholds: [].into(),
            segment: None,
            target,
        }
    }
}

/// The target of an event and when it becomes known.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// One finite value a target field.
    pub values: SmallVec<[f64; 1]>,
    /// When it becomes known.
    pub known: Known,
}

/// When a target becomes known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Together with its event (no `target.time` is configured).
    WithEvent,
    /// At this event time, µs since 1970.
    At(i64),
}

/// What one input row turned into.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// It can be scored. From here on it stays where it is.
    Event(Arc<Event>),
    /// It can't, and goes to the rejected topic.
    Reject(Box<Reject>),
}

impl From<Event> for Record {
    fn from(event: Event) -> Self {
        Self::Event(Arc::new(event))
    }
}

/// A record that could not be used, with its original bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Reject {
    /// Input partition.
    pub partition: i32,
    /// Offset of the message that held it.
    pub offset: i64,
    /// Row within the message.
    pub row: u32,
    /// Whether it is its message's last row.
    pub last: bool,
    /// The message's key.
    pub key: Option<Box<[u8]>>,
    /// The message's bytes; of a message with many rows, the bad row alone as a message of the same format.
    pub payload: Option<Box<[u8]>>,
    /// The class of fault: a metric's label.
    pub reason: RejectReason,
    /// What exactly was wrong, with the field's name, for the header.
    pub detail: String,
}

/// Why a record was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// No value (a tombstone).
    Empty,
    /// Larger than `input.max_bytes`.
    Oversized,
    /// Not the configured format.
    Undecodable,
    /// A field holds another type than the config says.
    WrongType,
    /// A number that is NaN, infinite, or out of a double's range.
    NonFinite,
    /// A number outside of its transform's domain (the logarithm of a negative number).
    OutOfDomain,
    /// No event time, or one that can't be read.
    BadTime,
    /// Event time further than `input.max_ahead` past the Kafka timestamp.
    Future,
}

impl RejectReason {
    /// Every reason, in the order of the metric's labels.
    pub const ALL: [Self; 8] = [
        Self::Empty,
        Self::Oversized,
        Self::Undecodable,
        Self::WrongType,
        Self::NonFinite,
        Self::OutOfDomain,
        Self::BadTime,
        Self::Future,
    ];

    /// The metric's label, and the start of the header's text.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Oversized => "oversized",
            Self::Undecodable => "undecodable",
            Self::WrongType => "wrong_type",
            Self::NonFinite => "non_finite",
            Self::OutOfDomain => "out_of_domain",
            Self::BadTime => "bad_time",
            Self::Future => "future",
        }
    }
}

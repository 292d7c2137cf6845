//! `tailwater init` without its edges: from a sample of records to the text of a config, with the reason for each guess.
//!
//! ```text
//! records ─► sample ─► profile ─► guess ─┬─► relations ─► draft ─► write: tailwater.toml
//!            bounded   of fields  roles  │   to target            └► tell: a table for people
//!                                        └── target: step, support, thresholds
//! ```
//! Nothing here does I/O or reads a clock. What is in memory is bounded by the sample's size and the number of fields.

use arrow::error::ArrowError;

use crate::config::{Config, ConfigErrors, FieldPath, InputFormat, TimeUnit, closest, quoted};

mod draft;
mod guess;
mod learn;
mod names;
mod profile;
mod relations;
mod sample;
mod target;
mod tell;
mod write;

pub use draft::{Checked, Draft};
pub use sample::Sample;
pub use tell::tell;

/// Where the records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File {
        /// As the user named it.
        name: String,
    },
    /// A topic.
    Topic {
        /// `kafka.brokers`, in TOML.
        brokers: String,
        /// Its name.
        name: String,
        /// `kafka.properties`, in TOML; `None` where the value may be a secret.
        properties: Vec<(String, Option<String>)>,
    },
}

impl Origin {
    /// The file's or the topic's name, as it may be shown.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::File { name } | Self::Topic { name, .. } => name,
        }
    }
}

/// What the user has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The target.
    pub target: Option<FieldPath>,
    /// The event time.
    pub time: Option<FieldPath>,
}

/// Why no config can be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no record.
    #[error("there is no record in it; name one that has some")]
    Empty,
    /// No record can be read.
    #[error("no record in it can be read as {}: {reason}; {}", format_name(*.format), format_remedy(*.format))]
    Unreadable {
        /// As what it was read.
        format: InputFormat,
        /// What is wrong with the first.
        reason: String,
    },
    /// Records have no field.
    #[error("its records have no fields")]
    NoFields,
    /// A field that the user named is not there.
    #[error("{option} {}: no record has that field; {}", quoted(.name), among(.name, .fields))]
    Unknown {
        /// Which option.
        option: &'static str,
        /// What it said.
        name: String,
        /// All fields.
        fields: Vec<FieldPath>,
    },
    /// The target is no number.
    #[error("--target {}: is no number ({why}); {}", quoted(.name), numbers(.fields))]
    NotANumber {
        /// What the user said.
        name: String,
        /// What it is.
        why: String,
        /// Fields that are numbers.
        fields: Vec<FieldPath>,
    },
    /// The time is none.
    #[error(
        "--time {}: is no time ({why}); it must be RFC 3339, such as 2013-01-01T00:00:00Z, or a number of s, ms, us or ns since 1970",
        quoted(.name)
    )]
    NotATime {
        /// What the user said.
        name: String,
        /// What it is.
        why: String,
    },
    /// No field is a number that could be a target.
    #[error("no field is a number that changes, so there is nothing to predict: {}", .fields.join("; "))]
    NoTarget {
        /// Each field with what it is.
        fields: Vec<String>,
    },
    /// A table can't be read.
    #[error("{0}")]
    Table(#[from] ArrowError),
    /// What was made is no config, which is a fault of ours.
    #[error("the config that was made can't be used, which is a fault of tailwater: {0}")]
    Config(#[from] ConfigErrors),
}

fn format_name(format: InputFormat) -> &'static str {
    match format {
        InputFormat::Json => "a JSON object",
        InputFormat::Arrow => "an Arrow IPC stream",
    }
}

fn format_remedy(format: InputFormat) -> &'static str {
    match format {
        InputFormat::Json => "each line or message must be one object, such as {\"amount\": 12.5}",
        InputFormat::Arrow => "each message must be a stream with its schema",
    }
}

fn among(name: &str, fields: &[FieldPath]) -> String {
    let names: Vec<String> = fields.iter().map(ToString::to_string).collect();
    match closest(name, names.iter().map(String::as_str)) {
        Some(close) => format!("did you mean {}?", quoted(close)),
        None => format!("there are: {}", guess::named(&fields.iter().collect::<Vec<_>>())),
    }
}

fn numbers(fields: &[FieldPath]) -> String {
    match fields {
        [] => "no field is one".to_owned(),
        _ => format!("numbers are: {}", guess::named(&fields.iter().collect::<Vec<_>>())),
    }
}

/// Looks at the sample and makes a config of it that can be loaded; `environment` is that of the process.
///
/// # Errors
/// When there is nothing to predict, or a wish can't be fulfilled.
pub fn draft(
    sample: &Sample,
    origin: Origin,
    wishes: &Wishes,
    environment: &[(String, String)],
) -> Result<Draft, Error> {
    Draft::new(sample, origin, wishes, environment)
}

/// A time field as `input.time` is written.
fn time_toml(path: &FieldPath, unit: TimeUnit) -> String {
    let field = quoted(&path.to_string());
    let unit = match unit {
        TimeUnit::Auto => return field,
        TimeUnit::Seconds => "s",
        TimeUnit::Millis => "ms",
        TimeUnit::Micros => "us",
        TimeUnit::Nanos => "ns",
    };
    format!("{{ field = {field}, unit = \"{unit}\" }}")
}

/// The config of a text as it will be read, without what the environment would change of it.
fn load(text: &str, environment: &[(String, String)]) -> Result<Config, ConfigErrors> {
    let secrets = environment.iter().filter(|(name, _)| !name.starts_with("TAILWATER__")).cloned();
    Config::from_parts(text, "tailwater.toml", &[], secrets)
}

#[cfg(test)]
mod tests;

//! The configuration: what a user may set, and what each key means.
//!
//! `tree` lays the file, the environment and the command line over each other; `sections` lists every key once, from
//! which come the structs, their reading and [`reference()`]; `kind` says what a value must be, and `check` what several
//! of them must be together; `facts` is what a saved state remembers of them. Nothing stops at the first error: a value that would be right stands in for a wrong one,
//! so that [`ConfigErrors`] holds all of them.

mod check;
mod duration;
mod effective;
mod error;
mod facts;
mod hash;
mod kind;
mod reference;
mod secret;
mod section;
mod sections;
mod tree;
mod types;

use std::{fs, path::Path};

pub(crate) use error::closest;
pub use error::{ConfigError, ConfigErrors, Origin};
pub use facts::{Change, Difference, Fact};
pub use reference::reference;
pub use sections::{Admin, Delivery, Input, Kafka, Learn, Model, Monitor, Output, Score, State, Target};
pub use types::{
    Activation, Calibrate, Feature, FeatureKind, FieldPath, FlowKind, Guarantee, InputFormat, MAX_TARGETS,
    ModelKind, Noise, NotAPlace, NotAStart, OnMismatch, OptimizerKind, OutputFormat, Secret, Start, Support,
    Threshold, ThresholdValue, TimeField, TimeUnit, Transform,
};

pub(crate) use tree::{Property, is_unseen, properties, quoted, quoted_key};

use error::Errors;
use secret::Variables;
use section::{Presence, Reading, TableReader};
use tree::{Node, Table, Value};

/// Everything that `tailwater.toml`, `--set` and `TAILWATER__…` decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The cluster.
    pub kafka: Kafka,
    /// Where the records come from.
    pub input: Input,
    /// In the order of the model's inputs.
    pub features: Vec<Feature>,
    /// What is to be predicted.
    pub target: Target,
    /// The density and the net.
    pub model: Model,
    /// How the model learns.
    pub learn: Learn,
    /// Which figures are published.
    pub score: Score,
    /// Where the scores go.
    pub output: Output,
    /// What is watched beside the whole.
    pub monitor: Monitor,
    /// The state, and who leads.
    pub state: State,
    /// How often a record counts, commits and shutdown.
    pub delivery: Delivery,
    /// Health, metrics and status.
    pub admin: Admin,
}

/// An example of `[features]`, in TOML.
const FEATURES_EXAMPLE: &str = "{ carrier = \"category\", dep_delay = \"number\" }";

impl Config {
    /// Reads the file at `path`, then the variables of `env` that begin with `TAILWATER__`, then `sets`, each a
    /// `section.key=value`; the later wins.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        path: &Path,
        sets: &[String],
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::load_for(Purpose::Stream, path, sets, env)
    }

    /// The same for this purpose.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load_for(
        purpose: Purpose,
        path: &Path,
        sets: &[String],
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let file_name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::from_text(purpose, &text, &file_name, sets, env),
            Err(error) => {
                let mut errors = Errors::default();
                errors.push(
                    &Origin::Unset,
                    "",
                    None,
                    format!("can't be read: {error}; name the config with -c"),
                );
                Err(errors.into_result(&file_name).expect_err("an error was pushed"))
            }
        }
    }

    /// The same for a text that was read from `file_name`. Nothing is read but the secrets' files that it names.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_parts(
        text: &str,
        file_name: &str,
        sets: &[String],
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::from_text(Purpose::Stream, text, file_name, sets, env)
    }

    fn from_text(
        purpose: Purpose,
        text: &str,
        file_name: &str,
        sets: &[String],
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let variables: Variables = env.collect();
        let mut errors = Errors::default();
        let config = tree::read(text, sets, &variables, &mut errors).map(|mut tree| {
            if purpose == Purpose::File {
                stand_in_for_topics(&mut tree);
            }
            derive(&mut tree);
            let config = read(&tree, &mut Reading { errors: &mut errors, variables: &variables });
            check::check(&config, &tree, &mut errors);
            config
        });
        errors.into_result(file_name)?;
        Ok(config.expect("a text that is no TOML is an error"))
    }
}

/// What a config is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Topics.
    Stream,
    /// A file of records: brokers, group and topics need not be set.
    File,
}

/// Puts something in the place of what only topics need.
fn stand_in_for_topics(tree: &mut Table) {
    for (key, value) in [
        ("kafka.brokers", "none"),
        ("kafka.group", "replay"),
        ("input.topic", "input"),
        ("output.topic", "scores"),
    ] {
        if tree.at(key).is_none() {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            // It fails where the section is no table, which reading it reports.
            tree.set(&path, Node::new(Value::Text(value.to_owned()), Origin::Unset)).ok();
        }
    }
}

/// Fills in the values that are made from others.
fn derive(tree: &mut Table) {
    let Some(group) = tree.at("kafka.group").and_then(Node::text) else { return };
    let topic = Value::Text(format!("{group}-state"));
    if tree.at("state.topic").is_none() {
        // It fails where `state` is no table, which reading it reports.
        tree.set(&["state".to_owned(), "topic".to_owned()], Node::new(topic, Origin::Unset)).ok();
    }
}

fn read(tree: &Table, reading: &mut Reading<'_>) -> Config {
    let keys = reference::keys_of_sections();
    let elsewhere = |name: &str| keys.iter().find(|(_, key)| *key == name).map(|(section, _)| *section);
    let mut root = TableReader::new(tree, "", reading);
    let config = Config {
        kafka: root.section(elsewhere),
        input: root.section(elsewhere),
        features: root.take("features", Presence::Required(FEATURES_EXAMPLE), &kind::features()),
        target: root.section(elsewhere),
        model: root.section(elsewhere),
        learn: root.section(elsewhere),
        score: root.section(elsewhere),
        output: root.section(elsewhere),
        monitor: root.section(elsewhere),
        state: root.section(elsewhere),
        delivery: root.section(elsewhere),
        admin: root.section(elsewhere),
    };
    root.finish(elsewhere);
    config
}

#[cfg(test)]
mod tests;

//! Whether brokers, topics and rights are as the config needs them: asked before anything is read.

use std::time::Duration;

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    admin::Admin,
    client::{self, Context},
    topics::{self, Role, Topic},
};
use crate::config::Config;

/// How long brokers may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Something that has to be put right before anything can run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// librdkafka refuses a property.
    #[error("no Kafka client could be made: {reason}")]
    Client {
        /// librdkafka's reason.
        reason: String,
    },
    /// No broker answers.
    #[error(
        "no broker answers at {brokers} ({reason}); check kafka.brokers, that the broker is up, and security.protocol \
         under [kafka.properties]"
    )]
    Unreachable {
        /// `kafka.brokers`.
        brokers: String,
        /// What the client saw last.
        reason: String,
    },
    /// A topic is not there.
    #[error("{key}: topic '{topic}' does not exist; {remedy}: {command}")]
    MissingTopic {
        /// The config key that names it.
        key: &'static str,
        /// The topic.
        topic: String,
        /// As many partitions as it is to have, where that is known.
        partitions: Option<usize>,
        /// What to do.
        remedy: &'static str,
        /// How to do it by hand.
        command: String,
    },
    /// A topic could not be made.
    #[error("{key}: topic '{topic}' could not be made: {reason}; make it by hand, or ask who may: {command}")]
    NotMade {
        /// The config key that names it.
        key: &'static str,
        /// The topic.
        topic: String,
        /// The broker's reason.
        reason: String,
        /// How to do it by hand.
        command: String,
    },
    /// A right is missing.
    #[error(
        "{key}: no right to {operation} topic '{topic}'; grant it: kafka-acls.sh --bootstrap-server {brokers} --add \
         --allow-principal User:NAME --operation {operation} --topic {topic}"
    )]
    NoRight {
        /// The config key that names it.
        key: &'static str,
        /// The topic.
        topic: String,
        /// `kafka.brokers`.
        brokers: String,
        /// What is not allowed.
        operation: &'static str,
    },
    /// A topic has too few or too many partitions.
    #[error("{key}: topic '{topic}' has {found} partitions and needs {needed}: {why}")]
    Partitions {
        /// The config key that names it.
        key: &'static str,
        /// The topic.
        topic: String,
        /// How many it has.
        found: usize,
        /// How many it needs.
        needed: usize,
        /// The reason.
        why: &'static str,
    },
    /// The state topic is not compacted, or not only that.
    #[error(
        "state.topic: topic '{topic}' has cleanup.policy={policy} and needs compact, or brokers delete the state with \
         time; set it: kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name \
         {topic} --add-config cleanup.policy=compact"
    )]
    NotCompacted {
        /// The topic.
        topic: String,
        /// `kafka.brokers`.
        brokers: String,
        /// What it has.
        policy: String,
    },
    /// Anything else the broker says of a topic.
    #[error("{key}: topic '{topic}' can't be used: {reason}")]
    Unusable {
        /// The config key that names it.
        key: &'static str,
        /// The topic.
        topic: String,
        /// The broker's reason.
        reason: String,
    },
}

impl Fault {
    /// The topic that it is about.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::Client { .. } | Self::Unreachable { .. } => None,
            Self::MissingTopic { topic, .. }
            | Self::NotMade { topic, .. }
            | Self::NoRight { topic, .. }
            | Self::Partitions { topic, .. }
            | Self::NotCompacted { topic, .. }
            | Self::Unusable { topic, .. } => Some(topic),
        }
    }
}

/// What the topics look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The input's partitions.
    pub input_partitions: Vec<i32>,
    /// How many brokers the cluster has.
    pub num_brokers: usize,
}

/// Asks the brokers about every topic that the config names.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn inspect(config: &Config) -> Result<Layout, Vec<Fault>> {
    let context = Context::default();
    let observed = context.observed.clone();
    let consumer: BaseConsumer<Context> =
        client::create(&client::consumer(&config.kafka), &config.kafka, context)
            .map_err(|reason| vec![Fault::Client { reason }])?;
    let unreachable = |error: &KafkaError| {
        // The client tells what it saw while it is polled.
        let seen = (0..10).find_map(|_| {
            consumer.poll(Duration::from_millis(50));
            observed.first_error()
        });
        Fault::Unreachable {
            brokers: config.kafka.brokers.clone(),
            reason: seen.unwrap_or_else(|| error.to_string()),
        }
    };
    let mut faults = Vec::new();
    let mut layout = Layout { input_partitions: Vec::new(), num_brokers: 0 };
    for named in topics::of(config) {
        let metadata = match consumer.fetch_metadata(Some(named.name), TIMEOUT) {
            Ok(metadata) => metadata,
            Err(error) => match super::code(&error) {
                Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    faults.push(no_right(config, &named));
                    continue;
                }
                _ => return Err(vec![unreachable(&error)]),
            },
        };
        layout.num_brokers = metadata.brokers().len();
        let Some(topic) = metadata.topics().iter().find(|t| t.name() == named.name) else {
            faults.push(missing(config, &named, &layout));
            continue;
        };
        let mut partitions: Vec<i32> = topic.partitions().iter().map(|p| p.id()).collect();
        partitions.sort_unstable();
        match topic.error().map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                faults.push(missing(config, &named, &layout));
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => faults.push(no_right(config, &named)),
            Some(error) => faults.push(Fault::Unusable {
                key: named.key,
                topic: named.name.to_owned(),
                reason: error.to_string(),
            }),
            None if partitions.is_empty() => faults.push(missing(config, &named, &layout)),
            None if named.role == Role::Input => layout.input_partitions = partitions,
            None => faults.extend(check_partitions(&named, partitions.len(), layout.input_partitions.len())),
        }
    }
    if faults.is_empty() { Ok(layout) } else { Err(faults) }
}

/// Whether the state topic keeps what it has to. It is not asked before a run, since it needs a right that running does
/// not; where that is missing, nothing is known to be wrong.
#[must_use]
pub fn inspect_state_policy(config: &Config, admin: &Admin) -> Option<Fault> {
    let topic = &config.state.topic;
    let policy = admin.setting(topic, "cleanup.policy").ok()?;
    (policy != "compact").then(|| Fault::NotCompacted {
        topic: topic.clone(),
        brokers: config.kafka.brokers.clone(),
        policy,
    })
}

fn check_partitions(named: &Topic<'_>, found: usize, inputs: usize) -> Option<Fault> {
    let needed = named.partitions(inputs).unwrap_or(0); // the input's fault is told already
    let (fits, why) = match named.role {
        Role::State => (found == needed, "who is assigned its one partition leads"),
        _ => (found >= needed, "what comes from an input partition is written to the same partition number"),
    };
    let topic = named.name.to_owned();
    (!fits).then_some(Fault::Partitions { key: named.key, topic, found, needed, why })
}

fn missing(config: &Config, named: &Topic<'_>, layout: &Layout) -> Fault {
    let partitions = named.partitions(layout.input_partitions.len());
    Fault::MissingTopic {
        key: named.key,
        topic: named.name.to_owned(),
        partitions,
        remedy: match (named.role, partitions) {
            (Role::Input, _) => "create it",
            (_, Some(_)) => "`tailwater check --create` makes it, or by hand",
            (_, None) => {
                "`tailwater check --create` makes it once the partitions of input.topic are known, or by hand"
            }
        },
        command: named.command(&config.kafka.brokers, partitions),
    }
}

fn no_right(config: &Config, named: &Topic<'_>) -> Fault {
    Fault::NoRight {
        key: named.key,
        topic: named.name.to_owned(),
        brokers: config.kafka.brokers.clone(),
        operation: if named.role == Role::Output { "WRITE" } else { "READ" },
    }
}

//! Whether brokers, topics and rights are as the config needs them: asked before anything is read.

use std::{sync::Mutex, time::Duration};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    metadata::Metadata,
};

use super::{
    admin::Admin,
    client::{self, lock},
    topics::{self, Role, Topic},
};
use crate::config::Config;

/// How long brokers may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// After how long it is looked at whether they refuse the client, which no waiting changes.
const FIRST_LOOK: Duration = Duration::from_secs(2);

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
    #[error("{} {brokers} ({reason}); check {}", .cause.told(), .cause.remedy())]
    Unreachable {
        /// `kafka.brokers`.
        brokers: String,
        /// What kind of failure it is.
        cause: Cause,
        /// What the client saw first.
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

    /// Whether no broker answers, which may pass by itself.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { cause: Cause::Silence, .. })
    }
}

/// Why no broker can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// None answers.
    Silence,
    /// TLS could not be agreed on.
    Tls,
    /// The broker, or who gives out its tokens, does not know the client.
    Authentication,
}

impl Cause {
    fn told(self) -> &'static str {
        match self {
            Self::Silence => "no broker answers at",
            Self::Tls => "TLS fails with the broker at",
            Self::Authentication => "this client is not let in at",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Silence => {
                "kafka.brokers, that the broker is up, and security.protocol under [kafka.properties]"
            }
            Self::Tls => {
                "ssl.ca.location, other ssl.* and security.protocol under [kafka.properties], and that the broker's \
                 certificate is for the name in kafka.brokers"
            }
            Self::Authentication => {
                "its name, its secret and sasl.mechanism: sasl.* under [kafka.properties]"
            }
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
    inspect_topics(config, topics::of(config))
}

/// Asks the brokers about the topics of one role alone.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn inspect_role(config: &Config, role: Role) -> Result<(), Vec<Fault>> {
    let topics = topics::of(config).into_iter().filter(|topic| topic.role == role).collect();
    inspect_topics(config, topics).map(|_| ())
}

fn inspect_topics(config: &Config, topics: Vec<Topic<'_>>) -> Result<Layout, Vec<Fault>> {
    let consumer: BaseConsumer<Witness> =
        client::create(&client::consumer(&config.kafka), &config.kafka, Witness::default())
            .map_err(|reason| vec![Fault::Client { reason }])?;
    let unreachable = |error: &KafkaError| {
        let (cause, reason) = seen(&consumer).unwrap_or_else(|| (Cause::Silence, error.to_string()));
        Fault::Unreachable { brokers: config.kafka.brokers.clone(), cause, reason }
    };
    let mut faults = Vec::new();
    let mut layout = Layout { input_partitions: Vec::new(), num_brokers: 0 };
    for named in topics {
        let metadata = match fetch_metadata(&consumer, named.name) {
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

/// Keeps the first error that a client reports: the cause, where later ones only count brokers that are down.
#[derive(Default)]
struct Witness(Mutex<Option<(Cause, String)>>);

impl ClientContext for Witness {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
        let cause = match super::code(&error) {
            Some(RDKafkaErrorCode::SSL) => Cause::Tls,
            Some(RDKafkaErrorCode::Authentication) => Cause::Authentication,
            _ => Cause::Silence,
        };
        lock(&self.0).get_or_insert_with(|| (cause, reason.to_owned()));
    }
}

impl ConsumerContext for Witness {}

/// What a client that had no answer saw, which it tells while it is polled.
fn seen(consumer: &BaseConsumer<Witness>) -> Option<(Cause, String)> {
    (0..10).find_map(|_| {
        consumer.poll(Duration::from_millis(50));
        lock(&consumer.context().0).clone()
    })
}

/// Asks about a topic. A client that is refused is not kept waiting as one whose brokers are silent.
fn fetch_metadata(consumer: &BaseConsumer<Witness>, topic: &str) -> KafkaResult<Metadata> {
    let result = consumer.fetch_metadata(Some(topic), FIRST_LOOK);
    let is_silent = matches!(
        result.as_ref().err().and_then(super::code),
        Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::BrokerTransportFailure)
    );
    if is_silent && seen(consumer).is_none_or(|(cause, _)| cause == Cause::Silence) {
        return consumer.fetch_metadata(Some(topic), TIMEOUT - FIRST_LOOK);
    }
    result
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

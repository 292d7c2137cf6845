//! What `check` asks and does beyond what a run has the rights for: topics' settings, and making topics.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    error::RDKafkaErrorCode,
};
use tokio::runtime::{self, Runtime};

use super::{
    client::{self, Context},
    preflight::Fault,
    topics::Topic,
};
use crate::config;

/// How long brokers may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Leaves the number of replicas to the brokers (`default.replication.factor`).
const DEFAULT_REPLICATION: TopicReplication<'_> = TopicReplication::Fixed(-1);

/// A client for topics as such.
pub struct Admin {
    client: AdminClient<Context>,
    runtime: Runtime,
    brokers: String,
}

impl Admin {
    /// Makes the client.
    ///
    /// # Errors
    /// When librdkafka refuses a property.
    pub fn new(kafka: &config::Kafka) -> Result<Self, Fault> {
        let client = client::create(&client::base(kafka), kafka, Context::default())
            .map_err(|reason| Fault::Client { reason })?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::Client { reason: error.to_string() })?;
        Ok(Self { client, runtime, brokers: kafka.brokers.clone() })
    }

    /// Makes a topic; `false` where it is there already, since somebody else was faster.
    ///
    /// # Errors
    /// When the brokers don't allow it, refuse it or don't answer.
    pub fn create(&self, topic: &Topic<'_>, partitions: usize) -> Result<bool, Fault> {
        let not_made = |reason: String| Fault::NotMade {
            key: topic.key,
            topic: topic.name.to_owned(),
            reason,
            command: topic.command(&self.brokers, Some(partitions)),
        };
        let Ok(num_partitions) = i32::try_from(partitions) else {
            return Err(not_made(format!("{partitions} are more partitions than a topic can have")));
        };
        let mut new = NewTopic::new(topic.name, num_partitions, DEFAULT_REPLICATION);
        for (name, value) in &topic.settings {
            new = new.set(name, value);
        }
        let options = options().operation_timeout(Some(TIMEOUT));
        let made = self
            .runtime
            .block_on(self.client.create_topics([&new], &options))
            .map_err(|error| not_made(error.to_string()))?;
        match made.into_iter().next() {
            Some(Ok(_)) => Ok(true),
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((
                _,
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ))) => Err(Fault::NoRight {
                key: topic.key,
                topic: topic.name.to_owned(),
                brokers: self.brokers.clone(),
                operation: "CREATE",
            }),
            Some(Err((_, code))) => Err(not_made(code.to_string())),
            None => Err(not_made("the broker told nothing".to_owned())),
        }
    }

    /// The value of a topic's setting.
    ///
    /// # Errors
    /// Why the brokers don't tell it, in words: most often since the right to describe it is missing.
    pub fn setting(&self, topic: &str, name: &str) -> Result<String, String> {
        let described = self
            .runtime
            .block_on(self.client.describe_configs([&ResourceSpecifier::Topic(topic)], &options()))
            .map_err(|error| error.to_string())?;
        let resource = described.into_iter().next().ok_or("the broker told nothing")?;
        let resource = resource.map_err(|code| code.to_string())?;
        let value = resource.get(name).and_then(|entry| entry.value.clone());
        value.ok_or_else(|| format!("the broker told no {name}"))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT))
}

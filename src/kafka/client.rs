//! How Kafka clients are configured, and what becomes of their logs and errors.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
    statistics::Statistics,
};

use crate::config;

/// A client's settings before its role adds to them: brokers, name and the user's own properties.
#[must_use]
pub fn base(kafka: &config::Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &kafka.brokers).set("client.id", "tailwater");
    if !kafka.properties.contains_key("reconnect.backoff.ms") {
        // A broker that was away for a while would be tried every 10 s only.
        client.set("reconnect.backoff.max.ms", "1000");
    }
    for (key, value) in &kafka.properties {
        client.set(key, &value.0);
    }
    client
}

/// Settings of a consumer that neither commits nor stores offsets by itself.
#[must_use]
pub fn consumer(kafka: &config::Kafka) -> ClientConfig {
    let mut client = base(kafka);
    client
        .set("group.id", &kafka.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error");
    client
}

/// Sets what the user's own properties leave open.
pub fn set_defaults(client: &mut ClientConfig, kafka: &config::Kafka, defaults: &[(&str, &str)]) {
    for (key, value) in defaults.iter().filter(|(key, _)| !kafka.properties.contains_key(*key)) {
        client.set(*key, *value);
    }
}

/// Makes a client.
///
/// # Errors
/// What librdkafka refuses, in words without secrets.
pub fn create<C, T>(client: &ClientConfig, kafka: &config::Kafka, context: C) -> Result<T, String>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    client.create_with_context(context).map_err(|error| creation_error(kafka, &error))
}

/// Why a client could not be made. librdkafka's own words quote the property's value, which may be a secret.
#[must_use]
pub fn creation_error(kafka: &config::Kafka, error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, key, _) => {
            format!(
                "librdkafka knows no property '{key}', or not with this value; check it under [kafka.properties]"
            )
        }
        KafkaError::ClientCreation(reason) => {
            let values = kafka.properties.iter().filter(|(_, value)| !value.0.is_empty());
            values.fold(reason.clone(), |text, (key, value)| text.replace(&value.0, &format!("({key})")))
        }
        other => other.to_string(),
    }
}

/// What a client told us, shared with who asks.
#[derive(Debug, Default)]
pub struct Observed {
    /// High watermarks by partition, from the client's statistics.
    high_watermarks: Mutex<BTreeMap<i32, i64>>,
    last_error: Mutex<Option<String>>,
}

impl Observed {
    /// The offset after the partition's last readable record, as last heard from the broker.
    #[must_use]
    pub fn high_watermarks(&self) -> BTreeMap<i32, i64> {
        lock(&self.high_watermarks).clone()
    }

    /// Takes note of an error.
    pub fn record_error(&self, error: impl Into<String>) {
        *lock(&self.last_error) = Some(error.into());
    }

    /// The last error since this was asked before.
    #[must_use]
    pub fn take_last_error(&self) -> Option<String> {
        lock(&self.last_error).take()
    }
}

/// A lock whose data stays usable after a panic elsewhere: it holds plain values, whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a client's logs to tracing, and keeps what it observed.
#[derive(Debug, Default)]
pub struct Context {
    /// The topic whose watermarks matter; empty for none.
    pub topic: String,
    /// What the client told.
    pub observed: std::sync::Arc<Observed>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let known = topic.partitions.values().filter(|p| p.partition >= 0 && p.ls_offset >= 0);
        *lock(&self.observed.high_watermarks) = known.map(|p| (p.partition, p.ls_offset)).collect();
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if !is_news(&error) {
            log_error(&error, reason);
            self.observed.record_error(reason);
        }
    }
}

/// Errors that pass, each kind of them told now and then: a broker that is away makes dozens a second.
#[derive(Debug, Default)]
pub struct Passing(Mutex<BTreeMap<String, Instant>>);

impl Passing {
    /// How long a kind of error is not told again.
    const QUIET: Duration = Duration::from_secs(10);

    /// Whether this error is to be told now.
    pub fn is_due(&self, error: &KafkaError) -> bool {
        let now = Instant::now();
        let mut told = lock(&self.0);
        told.retain(|_, at| now.duration_since(*at) < Self::QUIET);
        let is_due = !told.contains_key(&error.to_string());
        if is_due {
            told.insert(error.to_string(), now);
        }
        is_due
    }
}

/// Whether it is only the news that a partition was read to its end, which librdkafka tells as an error too.
fn is_news(error: &KafkaError) -> bool {
    super::code(error) == Some(RDKafkaErrorCode::PartitionEOF)
}

/// An error of a client as a whole, after which librdkafka tries on by itself.
pub fn log_error(error: &KafkaError, reason: &str) {
    tracing::debug!(target: "librdkafka", %error, reason);
}

/// librdkafka's own words, one level quieter than it says: it reports each lost connection as an error, while it goes
/// on trying by itself.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error => tracing::warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Warning => tracing::info!(target: "librdkafka", facility, "{message}"),
        _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_passes_is_told_once_for_a_while_and_another_one_too() {
        let [away, slow] = [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::OperationTimedOut]
            .map(KafkaError::MessageConsumption);
        let passing = Passing::default();
        assert_eq!(
            [&away, &away, &slow, &away].map(|error| passing.is_due(error)),
            [true, false, true, false]
        );
    }

    #[test]
    fn a_property_that_is_refused_is_named_without_its_value() {
        for (key, value) in [("sasl.pasword", "hunter2"), ("security.protocol", "hunter2")] {
            let properties = BTreeMap::from([(key.to_owned(), config::Secret(value.to_owned()))]);
            let kafka = config::Kafka { brokers: "b:9092".into(), group: "g".into(), properties };
            let Err(error) = base(&kafka).create_native_config() else { panic!("{key} is refused") };
            let told = creation_error(&kafka, &error);
            assert!(told.contains(key) && !told.contains(value), "{told}");
        }
    }
}

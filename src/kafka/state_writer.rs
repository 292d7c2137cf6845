//! Writing to the state topic from outside of a group's term of leadership: imports.
//!
//! Only a leader writes in the group's transactions. Whoever took its transactional id would fence it off in the middle of
//! its work, so this is a plain producer, and what it writes is looked at when a term begins.

use std::time::Duration;

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{
    client,
    deliveries::{Deliveries, TooLarge},
};
use crate::config::Config;

/// How long brokers may take to acknowledge a record.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A record could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The client could not be made.
    #[error("no Kafka client could be made: {0}")]
    Client(String),
    /// A record was not acknowledged.
    #[error("'{topic}' can't be written to: {error}{}", remedy(.error))]
    Delivery {
        /// The topic.
        topic: String,
        /// librdkafka's reason.
        error: KafkaError,
    },
}

fn remedy(error: &KafkaError) -> &'static str {
    match super::code(error) {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "; give the principal the right to WRITE to it",
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            "; let the topic take records of a MiB (max.message.bytes)"
        }
        _ => "",
    }
}

/// Writes records in this order, each after the one before it was acknowledged; a value of `None` removes its key.
///
/// # Errors
/// When one can't be written; those before it stay.
pub fn write(config: &Config, records: Vec<(String, Option<Vec<u8>>)>) -> Result<(), WriteError> {
    if records.is_empty() {
        return Ok(());
    }
    let mut settings = client::base(&config.kafka);
    settings.set("enable.idempotence", "true").set("acks", "all");
    let timeout_ms = TIMEOUT.as_millis().to_string();
    let defaults = [("message.timeout.ms", timeout_ms.as_str()), ("compression.type", "lz4")];
    client::set_defaults(&mut settings, &config.kafka, &defaults);
    let deliveries = Deliveries::new(None, TooLarge::default());
    let producer: BaseProducer<Deliveries> =
        client::create(&settings, &config.kafka, deliveries).map_err(WriteError::Client)?;
    let topic = &config.state.topic;
    let failed = |error| WriteError::Delivery { topic: topic.clone(), error };
    for (key, value) in &records {
        let mut record = BaseRecord::to(topic).partition(0).key(key);
        if let Some(value) = value {
            record = record.payload(value);
        }
        producer.send(record).map_err(|(error, _)| failed(error))?;
        // A record that is given up after its own time-out is no more in flight.
        producer.flush(2 * TIMEOUT).map_err(failed)?;
        if let Some((_, error)) = producer.context().take_failed() {
            return Err(failed(error));
        }
    }
    Ok(())
}

//! The last messages of a topic, for people who look: outside of any group, committing nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::{Message, OwnedMessage},
};

use super::client::{self, Context};
use crate::config;

/// How long brokers may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a look may take in all where it ends by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads a topic's last messages, then, if asked, what comes after them.
pub struct Tail {
    consumer: BaseConsumer<Context>,
    /// Partitions that have not been read to their end, as it was at the start.
    unfinished: BTreeMap<i32, i64>,
}

impl Tail {
    /// Begins `num_messages` before the end of each partition.
    ///
    /// # Errors
    /// When brokers do not answer or refuse.
    pub fn new(kafka: &config::Kafka, topic: &str, num_messages: i64) -> KafkaResult<Self> {
        let mut settings = client::consumer(kafka);
        settings.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer<Context> =
            client::create(&settings, kafka, Context::default()).map_err(KafkaError::ClientCreation)?;
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        let mut assignment = TopicPartitionList::new();
        let mut unfinished = BTreeMap::new();
        if let Some(error) = metadata.topics().first().and_then(|topic| topic.error()) {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT)?;
            let begin = (high - num_messages).max(low);
            assignment.add_partition_offset(topic, partition.id(), Offset::Offset(begin))?;
            if begin < high {
                unfinished.insert(partition.id(), high);
            }
        }
        consumer.assign(&assignment)?;
        Ok(Self { consumer, unfinished })
    }

    /// The messages up to the topic's end as it was at the start.
    ///
    /// # Errors
    /// When brokers refuse.
    pub fn read(&mut self) -> KafkaResult<Vec<OwnedMessage>> {
        let deadline = Instant::now() + PATIENCE;
        let mut messages = Vec::new();
        while !self.unfinished.is_empty() && Instant::now() < deadline {
            match self.consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    let partition = message.partition();
                    if self.unfinished.get(&partition).is_some_and(|high| message.offset() + 1 >= *high) {
                        self.unfinished.remove(&partition);
                    }
                    messages.push(message.detach());
                }
                // A partition may end in transaction markers, which no message shows.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.unfinished.remove(&partition);
                }
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(messages)
    }

    /// The next message, if one comes within `timeout`.
    ///
    /// # Errors
    /// When brokers refuse.
    pub fn next(&mut self, timeout: Duration) -> KafkaResult<Option<OwnedMessage>> {
        match self.consumer.poll(timeout) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => Ok(None),
            Some(Ok(message)) => Ok(Some(message.detach())),
            Some(Err(error)) => Err(error),
        }
    }
}

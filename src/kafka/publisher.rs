//! The thread that sends. It takes messages in the order in which they were made, and commits: everything that
//! came before a commit has been acknowledged by the broker before the offsets are committed. One commit is one
//! unit of delivery, so that one transaction can carry all of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, Headers, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use super::{
    client::{self, lock},
    membership::Membership,
    reader::remedy as read_remedy,
};
use crate::config::Config;

/// Messages made and not yet sent: a bound on what waits while a broker is away.
pub const MAX_QUEUED: usize = 64;

/// How long the last commit is tried.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// One message to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Where to.
    pub topic: Arc<str>,
    /// The partition: the one that its events came from.
    pub partition: i32,
    /// The key.
    pub key: Option<Box<[u8]>>,
    /// The value.
    pub payload: Option<Box<[u8]>>,
    /// The headers.
    pub headers: Vec<(String, String)>,
}

/// What the publisher is told.
#[derive(Debug)]
pub enum Publish {
    /// Send this.
    Message(Message),
    /// Everything up to here belongs to these next offsets.
    Commit(Commit),
}

/// The end of a unit of delivery.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// The next offset to read of each input partition.
    pub positions: BTreeMap<i32, i64>,
    /// Broker timestamps of input records in it, ms since 1970, for the latency metric.
    pub timestamps_ms: Vec<i64>,
}

/// Why publishing ended.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The client could not be made.
    #[error("the producer could not be made: {0}")]
    Client(String),
    /// A message can't be delivered, however often it is tried.
    #[error("publishing to '{topic}' failed for good: {error}{}", remedy(.error))]
    Delivery {
        /// The topic.
        topic: String,
        /// librdkafka's reason.
        error: KafkaError,
    },
    /// The offsets can't be committed, however often it is tried.
    #[error("the offsets of '{topic}' can't be committed: {error}{}", read_remedy(.error))]
    Commit {
        /// The input topic.
        topic: String,
        /// librdkafka's reason.
        error: KafkaError,
    },
}

fn remedy(error: &KafkaError) -> &'static str {
    match super::code(error) {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "; give the principal the right to WRITE to it",
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            "; create the topic with as many partitions as the input"
        }
        Some(RDKafkaErrorCode::UnknownPartition) => "; give it as many partitions as the input",
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            "; raise the topic's max.message.bytes, or lower output.rows"
        }
        _ => "",
    }
}

/// Takes what is to be published; blocks while `MAX_QUEUED` messages wait.
pub type Outbox = SyncSender<Publish>;

/// A bounded channel to a publisher.
#[must_use]
pub fn channel() -> (Outbox, Receiver<Publish>) {
    mpsc::sync_channel(MAX_QUEUED)
}

/// Sends and commits.
pub struct Publisher {
    producer: BaseProducer<Deliveries>,
}

/// Deliveries that failed.
#[derive(Default)]
struct Deliveries {
    /// The topic of rejected records.
    rejected: Option<String>,
    /// Rejected records that their topic refused for their size, cut down to what fits.
    too_large: Mutex<Vec<Message>>,
    /// The first failure that can't be mended.
    failed: Mutex<Option<(String, KafkaError)>>,
}

/// A reject's key is kept up to this size where its value is left out.
const MAX_KEY_BYTES: usize = 65_536;

impl Deliveries {
    /// What is left of a rejected record that is too large for its topic: key and headers. A record that nobody
    /// can use must not stop the stream.
    fn cut_down(&self, message: &impl rdkafka::Message) -> Option<Message> {
        if Some(message.topic()) != self.rejected.as_deref() {
            return None;
        }
        let mut headers: Vec<(String, String)> = Vec::new();
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            if header.key == VALUE_BYTES_HEADER {
                return None; // it was cut down before: the topic takes next to nothing
            }
            let text = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
            headers.push((header.key.to_owned(), text));
        }
        let num_bytes = message.payload().map_or(0, <[u8]>::len);
        headers.push((VALUE_BYTES_HEADER.to_owned(), num_bytes.to_string()));
        Some(Message {
            topic: message.topic().into(),
            partition: message.partition(),
            key: message.key().filter(|key| key.len() <= MAX_KEY_BYTES).map(Into::into),
            payload: None,
            headers,
        })
    }
}

/// The header that says how large the value was of a rejected record whose value was left out.
pub const VALUE_BYTES_HEADER: &str = "tailwater-value-bytes";

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            if super::code(error) == Some(RDKafkaErrorCode::MessageSizeTooLarge)
                && let Some(cut) = self.cut_down(message)
            {
                return lock(&self.too_large).push(cut);
            }
            let topic = rdkafka::Message::topic(message).to_owned();
            lock(&self.failed).get_or_insert((topic, error.clone()));
        }
    }
}

impl Publisher {
    /// A publisher for this config.
    ///
    /// # Errors
    /// When librdkafka refuses a property.
    pub fn new(config: &Config) -> Result<Self, PublishError> {
        let mut settings = client::base(&config.kafka);
        let deliveries = Deliveries { rejected: config.output.rejected.clone(), ..Deliveries::default() };
        let defaults = [
            // The broker's limit is on what is left after compression, so it is for the broker to judge.
            ("message.max.bytes", "1000000000"),
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", "5"),
            ("compression.type", "lz4"),
            // While brokers are away messages wait; the bounded queue stops the rest. Giving up would lose scores.
            ("message.timeout.ms", "0"),
        ];
        client::set_defaults(&mut settings, &config.kafka, &defaults);
        let producer = client::create(&settings, &config.kafka, deliveries).map_err(PublishError::Client)?;
        Ok(Self { producer })
    }

    /// Publishes until the channel closes, and tells `committed` of each commit and how long it took.
    ///
    /// # Errors
    /// When a message can't be delivered for good, or offsets not be committed.
    pub fn run(
        &self,
        inbox: &Receiver<Publish>,
        membership: &Membership,
        mut committed: impl FnMut(&Commit, Duration),
    ) -> Result<(), PublishError> {
        let mut uncommitted = None;
        loop {
            match inbox.recv_timeout(Duration::from_millis(50)) {
                Ok(Publish::Message(message)) => self.send(&message)?,
                Ok(Publish::Commit(commit)) => {
                    let begun = Instant::now();
                    self.flush()?;
                    // Positions are cumulative: one that could not be committed is made good by the next.
                    uncommitted = self.commit(membership, &commit)?.then(|| commit.clone());
                    committed(&commit, begun.elapsed());
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.producer.poll(Duration::ZERO);
                    self.resend()?;
                    self.check()?;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        self.flush()?;
        let deadline = Instant::now() + LAST_COMMIT;
        while let Some(commit) = &uncommitted
            && self.commit(membership, commit)?
        {
            if Instant::now() > deadline || !membership.lease().is_held() {
                tracing::warn!(
                    "the last offsets could not be committed; the next leader scores their records again"
                );
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Commits; whether it has to be tried again.
    fn commit(&self, membership: &Membership, commit: &Commit) -> Result<bool, PublishError> {
        if commit.positions.is_empty() {
            return Ok(false);
        }
        match membership.commit(&commit.positions) {
            Ok(()) => Ok(false),
            Err(error) if super::is_final(&error) => {
                Err(PublishError::Commit { topic: membership.input().to_owned(), error })
            }
            // A rebalance under way, a coordinator that moves: it passes, or the lease goes.
            Err(error) => {
                tracing::warn!(%error, "offsets could not be committed; trying again");
                Ok(true)
            }
        }
    }

    /// Sends again what was too large, cut down, each in a batch of its own: a topic's limit is on the batch.
    fn resend(&self) -> Result<(), PublishError> {
        let cut = std::mem::take(&mut *lock(&self.producer.context().too_large));
        for message in &cut {
            self.drain()?;
            self.send(message)?;
        }
        if cut.is_empty() { Ok(()) } else { self.drain() }
    }

    fn send(&self, message: &Message) -> Result<(), PublishError> {
        let mut headers = OwnedHeaders::new_with_capacity(message.headers.len());
        for (key, value) in &message.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record = BaseRecord::to(&message.topic).partition(message.partition).headers(headers);
        if let Some(key) = &message.key {
            record = record.key(&key[..]);
        }
        if let Some(payload) = &message.payload {
            record = record.payload(&payload[..]);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    self.producer.poll(Duration::from_millis(20));
                    self.check()?;
                    record = refused;
                }
                Err((error, _)) => {
                    return Err(PublishError::Delivery { topic: message.topic.to_string(), error });
                }
            }
        }
        self.producer.poll(Duration::ZERO);
        self.check()
    }

    /// Waits until everything that was sent is acknowledged, for as long as brokers are away.
    fn flush(&self) -> Result<(), PublishError> {
        self.drain()?;
        while !lock(&self.producer.context().too_large).is_empty() {
            self.resend()?;
        }
        Ok(())
    }

    fn drain(&self) -> Result<(), PublishError> {
        while self.producer.in_flight_count() > 0 {
            match self.producer.flush(Duration::from_millis(100)) {
                Ok(()) | Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {}
                Err(error) => return Err(PublishError::Delivery { topic: "(any)".into(), error }),
            }
            self.check()?;
        }
        self.check()
    }

    fn check(&self) -> Result<(), PublishError> {
        match lock(&self.producer.context().failed).take() {
            None => Ok(()),
            Some((topic, error)) => Err(PublishError::Delivery { topic, error }),
        }
    }
}

//! The thread that sends. It takes messages in the order in which they were made, and batches of rows, which it encodes, and commits. One commit is one unit of
//! delivery: everything that came before it, the state records that go with it, and the input's offsets.
//!
//! Exactly once, a unit is one transaction; whatever fails aborts it, and the term ends (`transaction`). At least once, all of a
//! unit is acknowledged before its offsets are committed; a crash between the two repeats it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

pub use super::deliveries::VALUE_BYTES_HEADER;
use super::{
    client,
    deliveries::{Deliveries, TooLarge, cut_down},
    membership::{Lease, Membership},
    reader::remedy as read_remedy,
    topics,
    transaction::{self, Topics, TransactionError},
};
use crate::{
    config::{Config, Guarantee},
    crash,
    operator::{
        order::Order,
        place::{self, Positions},
        saved::SavedOperator,
    },
    score::arrow,
    state::{
        About, Named, Progress, Snapshot,
        directory::Directory,
        recovery::SavedUntil,
        seal,
        topic::{self, PROGRESS_KEY, StateRecord},
    },
};

/// Messages and batches made and not yet sent: a bound on what waits while a broker is away. A batch has room for up to twice its rows.
pub const MAX_QUEUED: usize = 64;

/// How long one wait for acknowledgements lasts: rdkafka's goes on to its end though all came meanwhile.
const DRAIN_POLL: Duration = Duration::from_millis(2);
/// How often a transaction whose messages are not acknowledged is asked whether it is in trouble.
const TROUBLE_INTERVAL: Duration = Duration::from_millis(100);

/// How long the last commit is tried.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// The order since the last snapshot may have this many runs, a few bytes each; a snapshot that can't be kept for so long
/// that there are more ends the process, since the order could not be written down any more.
const MAX_RUNS: usize = 160_000;

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

/// The headers of a message whose value is of this type.
#[must_use]
pub fn content_type(value: &str) -> Vec<(String, String)> {
    vec![("content-type".to_owned(), value.to_owned())]
}

/// What the publisher is told.
#[derive(Debug)]
pub enum Publish {
    /// Send this.
    Message(Message),
    /// Encode these rows, and send them.
    Batch {
        /// Where to.
        topic: Arc<str>,
        /// The partition: the one that their events came from.
        partition: i32,
        /// The rows.
        batch: arrow::Batch,
    },
    /// Everything up to here is one unit of delivery.
    Commit(Box<Commit>),
}

/// The end of a unit of delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The next row to take of each input partition.
    pub positions: Positions,
    /// In which order records were taken since the commit before.
    pub order: Order,
    /// The operator as it is now, where it is to be saved.
    pub snapshot: Option<SavedOperator>,
    /// Broker timestamps of input records in it, ms since 1970, for the latency metric.
    pub timestamps_ms: Vec<i64>,
}

/// A commit that is through.
#[derive(Debug, Clone, Copy)]
pub struct Committed<'a> {
    /// Broker timestamps of input records in it, ms since 1970.
    pub timestamps_ms: &'a [i64],
    /// How long it took.
    pub took: Duration,
    /// Where the state was to be saved with it: the snapshot's size, or why it could not be kept.
    pub saved: Option<Result<usize, &'a str>>,
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
    /// A batch could not be encoded.
    #[error(transparent)]
    Encode(#[from] arrow::EncodeError),
    /// A transaction was not committed.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// No snapshot could be kept for too long, or not the first one.
    #[error("the state could not be saved, and it can't go on without: {0}")]
    State(String),
}

impl PublishError {
    /// Whether the next term of leadership may begin by itself, from the last commit.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Transaction(TransactionError::Aborted(_) | TransactionError::Fenced(_)))
    }
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
pub struct Publisher<'a> {
    config: &'a Config,
    producer: BaseProducer<Deliveries>,
    state_topic: Arc<str>,
    directory: Option<Directory>,
    too_large: TooLarge,
    /// Set when a snapshot could not be kept, so that the next one is made as if nothing had been saved.
    unsaved: Arc<AtomicBool>,
    /// The first commit has to save the state.
    owes_snapshot: bool,
    lease: Lease,
    lease_number: u64,
    /// A transaction was begun and not yet committed.
    is_open: bool,
    /// A transaction of this term was committed.
    has_committed: bool,
}

/// How the producer is configured.
#[must_use]
pub fn settings(config: &Config) -> ClientConfig {
    let mut settings = client::base(&config.kafka);
    let defaults = [
        // The broker's limit is on what is left after compression, so it is for the broker to judge.
        ("message.max.bytes", "1000000000"),
        ("enable.idempotence", "true"),
        ("acks", "all"),
        // A commit waits for it, too: a flush that is over before librdkafka's thread wakes up has flushed nothing.
        ("linger.ms", "5"),
        ("compression.type", "lz4"),
    ];
    client::set_defaults(&mut settings, &config.kafka, &defaults);
    match config.delivery.guarantee {
        Guarantee::ExactlyOnce => {
            let timeout_ms = config.delivery.timeout.as_millis().to_string();
            settings.set("transactional.id", &config.kafka.group).set("transaction.timeout.ms", timeout_ms);
        }
        // While brokers are away messages wait; the bounded queue stops the rest. Giving up would lose scores.
        Guarantee::AtLeastOnce => {
            client::set_defaults(&mut settings, &config.kafka, &[("message.timeout.ms", "0")]);
        }
    }
    settings
}

impl<'a> Publisher<'a> {
    /// A publisher for this config, as long as this lease lasts. `too_large` outlives it.
    ///
    /// # Errors
    /// When librdkafka refuses a property.
    pub fn new(
        config: &'a Config,
        too_large: &TooLarge,
        lease: &Lease,
        lease_number: u64,
    ) -> Result<Self, PublishError> {
        let settings = settings(config);
        let deliveries = Deliveries::new(config.output.rejected.clone(), too_large.clone());
        let producer = client::create(&settings, &config.kafka, deliveries).map_err(PublishError::Client)?;
        Ok(Self {
            config,
            producer,
            state_topic: config.state.topic.as_str().into(),
            directory: config.state.dir.as_deref().map(|path| Directory::new(path, &config.kafka.group)),
            too_large: too_large.clone(),
            unsaved: Arc::default(),
            owes_snapshot: false,
            lease: lease.clone(),
            lease_number,
            is_open: false,
            has_committed: false,
        })
    }

    /// Set when a snapshot could not be kept.
    #[must_use]
    pub fn unsaved(&self) -> Arc<AtomicBool> {
        self.unsaved.clone()
    }

    fn is_transactional(&self) -> bool {
        self.config.delivery.guarantee == Guarantee::ExactlyOnce
    }

    /// Takes the place of any publisher before: what that one had open is aborted, and it can publish no more. Whatever
    /// is read from now on stays true. `false`: `keep_on` said no before that.
    ///
    /// # Errors
    /// When brokers refuse for good.
    pub fn take_over(&self, keep_on: &mut dyn FnMut() -> bool) -> Result<bool, PublishError> {
        if !self.is_transactional() {
            return Ok(true);
        }
        Ok(transaction::init(&self.producer, &self.config.kafka.group, keep_on)?)
    }

    /// Publishes until the channel closes, and tells `committed` of each commit. `progress` is where the term begins, and
    /// `saved_until` how far its snapshots go.
    ///
    /// # Errors
    /// When something can't be published. Exactly once, the open transaction is aborted then.
    pub fn run(
        &mut self,
        inbox: &Receiver<Publish>,
        membership: &Membership,
        progress: Progress,
        saved_until: SavedUntil,
        committed: impl FnMut(Committed<'_>),
    ) -> Result<(), PublishError> {
        self.owes_snapshot = saved_until == SavedUntil::Never;
        let result = self.publish_all(inbox, membership, progress, committed);
        if self.is_open {
            transaction::abort(&self.producer);
            // Remembered for the next term, which would be aborted for them again.
            self.producer.context().take_refused();
        }
        result
    }

    fn publish_all(
        &mut self,
        inbox: &Receiver<Publish>,
        membership: &Membership,
        mut progress: Progress,
        mut committed: impl FnMut(Committed<'_>),
    ) -> Result<(), PublishError> {
        let mut uncommitted = None;
        let mut is_committed = false;
        loop {
            match inbox.recv_timeout(Duration::from_millis(50)) {
                Ok(Publish::Message(message)) => self.send(message)?,
                Ok(Publish::Batch { topic, partition, batch }) => {
                    let payload = Some(batch.encode()?.into());
                    let headers = content_type(arrow::CONTENT_TYPE);
                    self.send(Message { topic, partition, key: None, payload, headers })?;
                }
                Ok(Publish::Commit(commit)) => {
                    let begun = Instant::now();
                    let Commit { positions, order, snapshot, timestamps_ms } = *commit;
                    let offsets = place::offsets(&positions);
                    if !self.is_transactional() {
                        // What says how far this has come must not be there before what it speaks of.
                        self.flush()?;
                        crash::point("after_produce_before_offsets");
                    }
                    progress.advance(positions, order, is_committed);
                    if self.is_transactional() {
                        // The offsets go with this very record.
                        progress.positions_before.clone_from(&progress.positions);
                    }
                    let saved = snapshot.map(|operator| self.save(&mut progress, operator)).transpose()?;
                    let value = progress.to_bytes();
                    self.send(self.state_message(StateRecord { key: PROGRESS_KEY.to_owned(), value }))?;
                    self.flush()?;
                    // At least once, offsets that could not be committed are made good by the next, which are further on.
                    uncommitted = self.commit(membership, &offsets)?.then_some(offsets);
                    is_committed = uncommitted.is_none();
                    committed(Committed {
                        timestamps_ms: &timestamps_ms,
                        took: begun.elapsed(),
                        saved: saved.as_ref().map(|saved| saved.as_ref().copied().map_err(String::as_str)),
                    });
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.producer.poll(Duration::ZERO);
                    self.resend()?;
                    self.check()?;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        // What came after the last commit is not part of any: the transaction is aborted, or its records come again.
        if !self.is_transactional() {
            self.flush()?;
        }
        let deadline = Instant::now() + LAST_COMMIT;
        while let Some(offsets) = &uncommitted
            && self.commit(membership, offsets)?
        {
            if Instant::now() > deadline || !membership.lease().is_held() {
                tracing::warn!("the last offsets could not be committed; the next leader commits them");
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Saves the operator as part of the commit under way. Gives the snapshot's size, or why it could not be kept.
    ///
    /// One that can't be kept is tried again with the next one; meanwhile the order since the last one grows.
    fn save(
        &mut self,
        progress: &mut Progress,
        operator: SavedOperator,
    ) -> Result<Result<usize, String>, PublishError> {
        let generation = progress.generation + 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let about = About::new(self.config, generation, now.as_millis() as i64);
        let bytes = Snapshot { about, operator }.to_bytes();
        let named = Named { generation, checksum: seal::checksum(&bytes).unwrap_or_default() };
        match &self.directory {
            Some(directory) => {
                if let Err(error) = directory.write(named, &bytes) {
                    tracing::error!(%error, "the state could not be saved; trying again with the next snapshot");
                    // Without a snapshot of this life of the model and all its partitions, what is committed now could
                    // not be gone on from.
                    if self.owes_snapshot || progress.order.num_runs() > MAX_RUNS {
                        return Err(PublishError::State(error.to_string()));
                    }
                    self.unsaved.store(true, Ordering::Relaxed);
                    return Ok(Err(error.to_string()));
                }
                directory.prune(generation);
            }
            None => {
                for (index, record) in topic::snapshot_records(named, &bytes).into_iter().enumerate() {
                    self.send(self.state_message(record))?;
                    if index == 0 {
                        crash::point("mid_snapshot");
                    }
                }
            }
        }
        self.owes_snapshot = false;
        progress.cut(named);
        Ok(Ok(bytes.len()))
    }

    fn state_message(&self, record: StateRecord) -> Message {
        Message {
            topic: self.state_topic.clone(),
            partition: 0,
            key: Some(record.key.into_bytes().into()),
            payload: Some(record.value.into()),
            headers: Vec::new(),
        }
    }

    /// Ends the unit of delivery; whether, at least once, its offsets have to be committed again.
    fn commit(
        &mut self,
        membership: &Membership,
        offsets: &BTreeMap<i32, i64>,
    ) -> Result<bool, PublishError> {
        let mut list = TopicPartitionList::new();
        for (&partition, &offset) in offsets {
            let added = list.add_partition_offset(membership.input(), partition, Offset::Offset(offset));
            added.map_err(|error| self.commit_error(error))?;
        }
        if self.is_transactional() {
            // The first proves that this process is a member, which one that was away for long may wrongly believe.
            // From then on the transactional id is proof enough: whoever takes over fences it.
            let member;
            let group = if self.has_committed {
                membership.nameless_metadata()
            } else {
                member = membership.group_metadata().ok_or_else(|| {
                    TransactionError::Aborted("this process is no longer a member of the group".to_owned())
                })?;
                &member
            };
            let give_up = || !membership.lease().is_held();
            transaction::commit(&self.producer, &self.config.kafka.group, &list, group, &give_up)?;
            (self.is_open, self.has_committed) = (false, true);
            return Ok(false);
        }
        crash::point("after_offsets_before_commit");
        match membership.commit(&list) {
            Ok(()) => Ok(false),
            Err(error) if super::is_final(&error) => Err(self.commit_error(error)),
            // A rebalance under way, a coordinator that moves: it passes, or the lease goes.
            Err(error) => {
                tracing::warn!(%error, "offsets could not be committed; trying again");
                Ok(true)
            }
        }
    }

    fn commit_error(&self, error: KafkaError) -> PublishError {
        PublishError::Commit { topic: self.config.input.topic.clone(), error }
    }

    /// Sends again what was too large, cut down, each in a batch of its own: a topic's limit is on the batch.
    fn resend(&mut self) -> Result<(), PublishError> {
        let refused = self.producer.context().take_refused();
        if refused.is_empty() {
            return Ok(());
        }
        if self.is_transactional() {
            let reason =
                "rejected records are too large for their topic and go without their values from now on";
            return Err(TransactionError::Aborted(reason.to_owned()).into());
        }
        for message in refused {
            self.drain()?;
            self.post(&cut_down(message))?;
        }
        self.drain()
    }

    fn send(&mut self, message: Message) -> Result<(), PublishError> {
        if self.is_transactional() && !self.is_open {
            self.producer
                .begin_transaction()
                .map_err(|error| transaction::classify(&error, &self.config.kafka.group, Topics::Written))?;
            self.is_open = true;
            crash::point("before_produce");
        }
        if self.config.output.rejected.as_deref() == Some(&*message.topic) && self.too_large.knows(&message) {
            self.drain()?;
            self.post(&cut_down(message))?;
            return self.drain();
        }
        self.post(&message)
    }

    fn post(&self, message: &Message) -> Result<(), PublishError> {
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
                Err((error, _)) => return Err(self.failed(message.topic.to_string(), error)),
            }
        }
        self.producer.poll(Duration::ZERO);
        self.check()
    }

    /// Waits until everything that was sent is acknowledged, for as long as brokers are away.
    fn flush(&mut self) -> Result<(), PublishError> {
        self.drain()?;
        self.resend()
    }

    fn drain(&self) -> Result<(), PublishError> {
        let mut next_look = Instant::now() + TROUBLE_INTERVAL;
        while self.producer.in_flight_count() > 0 {
            match self.producer.flush(DRAIN_POLL) {
                Ok(()) | Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {}
                Err(error) => return Err(self.failed("(any)".into(), error)),
            }
            // A message that was refused says more than the transaction that is in trouble for it.
            self.check()?;
            if Instant::now() >= next_look {
                self.check_transaction()?;
                next_look = Instant::now() + TROUBLE_INTERVAL;
            }
        }
        self.check()
    }

    /// A transaction in trouble sends no more messages, and tells nothing of them. One whose lease was lost is not waited for:
    /// whoever takes over aborts it.
    fn check_transaction(&self) -> Result<(), PublishError> {
        if let Some(error) = self.trouble() {
            return Err(error);
        }
        if self.is_open && self.lease.is_lost(self.lease_number) {
            let reason = "leadership was lost before everything was acknowledged".to_owned();
            return Err(TransactionError::Aborted(reason).into());
        }
        Ok(())
    }

    fn check(&self) -> Result<(), PublishError> {
        match self.producer.context().take_failed() {
            None => Ok(()),
            Some((topic, error)) => Err(self.failed(topic, error)),
        }
    }

    fn trouble(&self) -> Option<PublishError> {
        if !self.is_open {
            return None;
        }
        match transaction::trouble(&self.producer, &self.config.kafka.group)? {
            // The reason doesn't say which topic.
            TransactionError::Final(reason) => {
                Some(TransactionError::Final(format!("{reason} ({})", self.topics())).into())
            }
            error => Some(error.into()),
        }
    }

    /// The topics that are written.
    fn topics(&self) -> String {
        let topics = topics::of(self.config).into_iter().filter(|topic| topic.role != topics::Role::Input);
        topics.map(|topic| format!("{} '{}'", topic.key, topic.name)).collect::<Vec<_>>().join(", ")
    }

    /// What it means that a message was not delivered.
    fn failed(&self, topic: String, error: KafkaError) -> PublishError {
        // A client that has come to its end refuses every message alike; why, its transaction says.
        if super::code(&error) == Some(RDKafkaErrorCode::Fatal)
            && let Some(trouble) = self.trouble()
        {
            return trouble;
        }
        let is_too_large = super::code(&error) == Some(RDKafkaErrorCode::MessageSizeTooLarge);
        if !self.is_open || is_too_large || super::is_final(&error) {
            return PublishError::Delivery { topic, error };
        }
        self.trouble().unwrap_or_else(|| {
            TransactionError::Aborted(format!("a message to '{topic}' was not delivered: {error}")).into()
        })
    }
}

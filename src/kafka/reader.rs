//! The thread that polls. It hands messages on undecoded, tells of partitions that have no more data, and pauses
//! those whose backlog is full while it goes on polling.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::{
    backlog::{Backlog, HoldOff, MIN_SHARE_BYTES},
    client::{self, Context, Observed, Passing},
    membership::Refused,
    messages::Messages,
};
use crate::{config::Config, operator::Input, record};

/// At most this many chunks wait for the operator's thread. The backlog allows fewer full ones, unless there are very many partitions: so
/// partitions are paused before the reader has to wait for room.
pub const MAX_CHUNKS: usize = 512;
/// About so many bytes to a chunk, as a backlog counts them: of one partition its share holds two at least.
const CHUNK_BYTES: usize = MIN_SHARE_BYTES / 2;
/// How long one poll waits when there is nothing to read.
const POLL: Duration = Duration::from_millis(50);
/// How often the membership is polled, partitions are paused and resumed, and silent partitions are looked for.
const TICK: Duration = Duration::from_millis(20);
/// A partition that is silent for this long (its broker may be away) no longer holds up the others.
const SILENCE: Duration = Duration::from_secs(10);
/// How long it waits at a time for what was read to be taken.
const WAIT: Duration = Duration::from_millis(1);
/// How often the input's partitions are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(60);
/// How long the broker may take to tell them.
const COUNT_TIMEOUT: Duration = Duration::from_secs(1);

/// What was read, oldest first.
#[derive(Debug, Default)]
pub struct Chunk {
    read: Vec<Read>,
    num_bytes: usize,
}

/// A part of what was read.
#[derive(Debug)]
pub enum Read {
    /// Messages of one partition.
    Messages(Messages),
    /// News of a partition: what else the operator is to be told.
    News(Input),
}

impl Read {
    /// The partition that it is of.
    #[must_use]
    pub fn partition(&self) -> i32 {
        match self {
            Self::Messages(messages) => messages.partition(),
            Self::News(news) => news.partition(),
        }
    }
}

impl Chunk {
    /// The parts, in order.
    #[must_use]
    pub fn into_parts(self) -> Vec<Read> {
        self.read
    }

    fn is_empty(&self) -> bool {
        self.read.is_empty()
    }

    fn is_full(&self) -> bool {
        self.num_bytes >= CHUNK_BYTES
    }

    pub(crate) fn push(&mut self, message: &record::Message<'_>) {
        self.num_bytes += message.num_bytes() + Messages::HEAD_BYTES;
        match self.read.last_mut() {
            Some(Read::Messages(messages)) if messages.partition() == message.partition => {
                messages.push(message);
            }
            _ => {
                let mut messages = Messages::new(message.partition);
                messages.push(message);
                self.read.push(Read::Messages(messages));
            }
        }
    }

    pub(crate) fn tell(&mut self, news: Input) {
        self.num_bytes += size_of::<Read>();
        self.read.push(Read::News(news));
    }
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The client could not be made or assigned.
    #[error("the consumer could not be made: {0}")]
    Client(String),
    /// The broker did not tell where to begin.
    #[error("where to begin in '{topic}' could not be read from the brokers: {error}{}", start_remedy(.error))]
    Start {
        /// The input topic.
        topic: String,
        /// librdkafka's reason.
        error: KafkaError,
    },
    /// What is next is no longer in the topic. The next term finds that too, and says what to do.
    #[error(
        "the next record to read is out of the range of '{topic}': retention has removed input that was not read, or the \
         topic was made anew"
    )]
    OffsetOutOfRange {
        /// The input topic.
        topic: String,
    },
    /// The broker refuses the membership in the group.
    #[error(transparent)]
    Group(#[from] Refused),
    /// The broker refuses for good.
    #[error("'{topic}' can't be read: {error}{}", remedy(.error))]
    Read {
        /// The topic.
        topic: String,
        /// librdkafka's reason.
        error: KafkaError,
    },
}

fn start_remedy(error: &KafkaError) -> &'static str {
    match remedy(error) {
        "" => "; check that the principal has the right to READ the group (kafka.group)",
        remedy => remedy,
    }
}

/// What to do about an error of a topic that is read.
pub(crate) fn remedy(error: &KafkaError) -> &'static str {
    match super::code(error) {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "; give the principal the right to READ it",
        Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
            "; give the principal the right to READ the group (kafka.group)"
        }
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            "; create the topic, or correct its name"
        }
        Some(RDKafkaErrorCode::UnknownPartition) => {
            "; the topic has fewer partitions than before: start again"
        }
        _ => "",
    }
}

/// Reads all input partitions from where the group stands.
pub struct Reader {
    consumer: BaseConsumer<Context>,
    topic: String,
    backlog: Arc<Backlog>,
    observed: Arc<Observed>,
    passing: Passing,
    paused: BTreeSet<i32>,
    partitions: BTreeMap<i32, Partition>,
    /// A partition was read to its end since its place was looked at.
    has_news: bool,
    /// It ends when the input has other partitions.
    counts_partitions: bool,
    hold_off: HoldOff,
}

/// What is known of a partition.
#[derive(Debug, Clone, Copy)]
struct Partition {
    /// When it was last heard of; `None` while it is known to have no more data.
    heard: Option<Instant>,
    /// The offset before which everything was handed on.
    read_until: i64,
}

/// How the input's consumer is configured.
#[must_use]
pub fn settings(config: &Config) -> ClientConfig {
    let mut settings = client::consumer(&config.kafka);
    let defaults = [
        ("fetch.wait.max.ms", "20"),
        ("fetch.queue.backoff.ms", "20"),
        ("queued.max.messages.kbytes", "16384"),
        ("statistics.interval.ms", "1000"),
    ];
    client::set_defaults(&mut settings, &config.kafka, &defaults);
    settings.set("enable.partition.eof", "true");
    settings
}

impl ConsumerContext for Context {}

impl ReadError {
    /// The broker did not tell where to begin in the input.
    #[must_use]
    pub fn start(config: &Config, error: KafkaError) -> Self {
        Self::Start { topic: config.input.topic.clone(), error }
    }
}

impl Reader {
    /// A reader of these partitions, each from an offset.
    ///
    /// # Errors
    /// When the client can't be made.
    pub fn start(
        config: &Config,
        from: &BTreeMap<i32, i64>,
        backlog: Arc<Backlog>,
    ) -> Result<Self, ReadError> {
        let settings = settings(config);
        let observed = Arc::new(Observed::default());
        let context = Context { topic: config.input.topic.clone(), observed: observed.clone() };
        let consumer: BaseConsumer<Context> =
            client::create(&settings, &config.kafka, context).map_err(ReadError::Client)?;
        assign(&consumer, &config.input.topic, from).map_err(|error| ReadError::start(config, error))?;
        let now = Instant::now();
        Ok(Self {
            consumer,
            topic: config.input.topic.clone(),
            backlog,
            observed,
            passing: Passing::default(),
            paused: BTreeSet::new(),
            partitions: from
                .iter()
                .map(|(&partition, &read_until)| (partition, Partition { heard: Some(now), read_until }))
                .collect(),
            has_news: false,
            counts_partitions: true,
            hold_off: HoldOff::default(),
        })
    }

    /// Reads on, whatever partitions the input may have beside these.
    #[must_use]
    pub fn of_these_alone(self) -> Self {
        Self { counts_partitions: false, ..self }
    }

    /// What the client observes meanwhile.
    #[must_use]
    pub fn observed(&self) -> Arc<Observed> {
        self.observed.clone()
    }

    /// Reads until `stop` says so or nobody listens; `attend` is called all the while for so long, to be a member of a group if
    /// one is to be, and `tick` is told now and then how many partitions are paused.
    ///
    /// # Errors
    /// When the input can't be read on.
    pub fn run(
        mut self,
        chunks: &SyncSender<Chunk>,
        attend: impl Fn(Duration) -> Result<(), Refused>,
        stop: impl Fn() -> bool,
        mut tick: impl FnMut(usize),
    ) -> Result<(), ReadError> {
        let mut chunk = Chunk::default();
        // The clock is looked at after what may take time.
        let mut now = Instant::now();
        let mut next_tick = now;
        let mut next_count = now + COUNT_INTERVAL;
        while !stop() {
            if self.counts_partitions && now >= next_count {
                if self.has_new_partitions() {
                    return Ok(());
                }
                now = Instant::now();
                next_count = now + COUNT_INTERVAL;
            }
            if now >= next_tick {
                attend(Duration::ZERO)?;
                self.pause_and_resume()?;
                if std::mem::take(&mut self.has_news) {
                    self.pass_what_is_no_record(&mut chunk);
                }
                self.excuse_silent_partitions(&mut chunk);
                tick(self.paused.len());
                now = Instant::now();
                next_tick = now + TICK;
            }
            if chunk.is_empty() && self.holds_off(now) {
                thread::sleep(WAIT);
                now = Instant::now();
                continue;
            }
            let wait = if chunk.is_empty() { POLL.min(TICK) } else { Duration::ZERO };
            let polled = self.consumer.poll(wait);
            if !wait.is_zero() {
                now = Instant::now();
            }
            let quiet = match polled {
                None => true,
                Some(Ok(message)) => {
                    chunk.push(&borrow(&message));
                    let known = Partition { heard: Some(now), read_until: message.offset() + 1 };
                    self.partitions.insert(message.partition(), known);
                    false
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(partition) = self.partitions.get_mut(&partition) {
                        partition.heard = None;
                    }
                    chunk.tell(Input::Ended(partition));
                    self.has_news = true;
                    false
                }
                Some(Err(error)) => {
                    self.check(error)?;
                    true
                }
            };
            if (quiet && !chunk.is_empty()) || chunk.is_full() {
                let full = std::mem::take(&mut chunk);
                let begun = now;
                if self.count(&full) {
                    next_tick = now; // it pauses now: much more would come within a tick
                }
                if !send(chunks, full, &attend, &stop) {
                    break;
                }
                now = Instant::now();
                if now - begun > TICK {
                    self.listen_anew(now);
                }
            }
        }
        Ok(())
    }

    /// Adds messages to the backlog. Whether a partition is full with them.
    fn count(&self, chunk: &Chunk) -> bool {
        let mut is_full = false;
        for read in &chunk.read {
            if let Read::Messages(messages) = read {
                is_full |= self.backlog.add(messages.partition(), messages.num_bytes());
            }
        }
        is_full
    }

    /// Whether the input has other partitions than are read: then the term of leadership begins anew.
    fn has_new_partitions(&self) -> bool {
        // No answer is no news.
        let Ok(metadata) = self.consumer.fetch_metadata(Some(&self.topic), COUNT_TIMEOUT) else {
            return false;
        };
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let has_new = count > self.partitions.len();
        if has_new {
            tracing::warn!(partitions = count, "the input has new partitions; taking them in");
        }
        has_new
    }

    /// Whether to leave what there is with the client for now, which then fetches no more.
    fn holds_off(&mut self, now: Instant) -> bool {
        let is_read = |(&partition, known): (&i32, &Partition)| known.heard.map(|_| partition);
        let is_plenty = self.backlog.is_plenty(self.partitions.iter().filter_map(is_read));
        if is_plenty {
            self.listen_anew(now);
        }
        self.hold_off.goes_on(is_plenty, self.backlog.num_taken(), now)
    }

    /// Nobody listened for a while: silence says nothing.
    fn listen_anew(&mut self, now: Instant) {
        self.partitions.values_mut().filter_map(|p| p.heard.as_mut()).for_each(|heard| *heard = now);
    }

    /// Pauses partitions whose backlog is full, and resumes those with room again.
    fn pause_and_resume(&mut self) -> Result<(), ReadError> {
        let list = |partitions: &[i32]| {
            let mut list = TopicPartitionList::new();
            for &partition in partitions {
                list.add_partition(&self.topic, partition);
            }
            list
        };
        let (paused, reading): (Vec<i32>, Vec<i32>) =
            self.partitions.keys().partition(|p| self.paused.contains(p));
        let resume: Vec<i32> = paused.into_iter().filter(|&p| self.backlog.has_room(p)).collect();
        let pause: Vec<i32> = reading.into_iter().filter(|&p| self.backlog.is_full(p)).collect();
        let read_error = |error| ReadError::Read { topic: self.topic.clone(), error };
        if !resume.is_empty() {
            self.consumer.resume(&list(&resume)).map_err(read_error)?;
        }
        if !pause.is_empty() {
            self.consumer.pause(&list(&pause)).map_err(read_error)?;
        }
        // From now on word of them is expected again.
        for (partition, Partition { heard, .. }) in &mut self.partitions {
            if resume.contains(partition) {
                *heard = Some(Instant::now());
            }
        }
        self.paused.retain(|p| !resume.contains(p));
        self.paused.extend(pause);
        Ok(())
    }

    /// A partition that was silent for long no longer holds up the others.
    fn excuse_silent_partitions(&mut self, chunk: &mut Chunk) {
        let now = Instant::now();
        let is_silent = |heard: Option<Instant>| heard.is_some_and(|at| now.duration_since(at) > SILENCE);
        if self.partitions.iter().any(|(p, known)| is_silent(known.heard) && !self.paused.contains(p)) {
            // It may have nothing but transactions that were taken back.
            self.pass_what_is_no_record(chunk);
        }
        for (&partition, Partition { heard, .. }) in &mut self.partitions {
            if is_silent(*heard) && !self.paused.contains(&partition) {
                tracing::warn!(partition, "no word of this partition; the others go on without it meanwhile");
                *heard = None;
                chunk.tell(Input::Silent(partition));
            }
        }
    }

    /// A transaction's markers, and records that were taken back, have offsets too and are never shown. Those that come while
    /// no process runs, and expire before one does, can't be told from records that were lost.
    fn pass_what_is_no_record(&mut self, chunk: &mut Chunk) {
        let Ok(positions) = self.consumer.position() else { return };
        for element in positions.elements_for_topic(&self.topic) {
            if let Offset::Offset(offset) = element.offset()
                && let Some(partition) = self.partitions.get_mut(&element.partition())
                && offset > partition.read_until
            {
                partition.read_until = offset;
                partition.heard = partition.heard.map(|_| Instant::now());
                chunk.tell(Input::ReadUntil { partition: element.partition(), offset });
            }
        }
    }

    /// Whether reading can go on after this error: librdkafka tries on by itself after most.
    fn check(&self, error: KafkaError) -> Result<(), ReadError> {
        let topic = self.topic.clone();
        match super::code(&error) {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                Err(ReadError::OffsetOutOfRange { topic })
            }
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition) => {
                Err(ReadError::Read { topic, error })
            }
            _ if super::is_final(&error) => Err(ReadError::Read { topic, error }),
            _ => {
                if self.passing.is_due(&error) {
                    tracing::warn!(%error, "reading is interrupted; going on by itself");
                }
                self.observed.record_error(error.to_string());
                Ok(())
            }
        }
    }
}

/// Hands a chunk over, attending to what else there is while there is no room. `false`: nobody listens, or stop.
fn send(
    chunks: &SyncSender<Chunk>,
    mut chunk: Chunk,
    attend: &impl Fn(Duration) -> Result<(), Refused>,
    stop: &impl Fn() -> bool,
) -> bool {
    loop {
        match chunks.try_send(chunk) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(refused)) => {
                if stop() {
                    return false;
                }
                // An error comes again, and is told by the next poll.
                attend(Duration::from_millis(1)).ok();
                chunk = refused;
            }
        }
    }
}

/// A message as it is decoded.
pub(crate) fn borrow(message: &impl Message) -> record::Message<'_> {
    record::Message {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key(),
        payload: message.payload(),
    }
}

fn assign(consumer: &BaseConsumer<Context>, topic: &str, from: &BTreeMap<i32, i64>) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for (&partition, &at) in from {
        list.add_partition_offset(topic, partition, Offset::Offset(at))?;
    }
    consumer.assign(&list)
}

//! A range of a topic: outside of any group, committing nothing, with an end that was fixed at the start.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};

use super::{OwnedMessage, PIECE_BYTES, PIECE_ROWS, Piece};
use crate::{
    config::{Config, Start},
    kafka::{
        client::Context,
        offsets::start_of,
        tail_read::{self, is_passing},
    },
};

/// How long brokers may take to tell what there is.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long brokers may gather records before they answer: librdkafka's own default, since nobody waits for the end here.
const FETCH_WAIT_MS: &str = "500";
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(50);
/// Nothing was read for so long: brokers are away, or don't answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Offsets of each partition: the first one, and the one after the last.
pub type Ranges = BTreeMap<i32, (i64, i64)>;

/// Reads ranges of a topic's partitions from their beginnings to their ends.
pub struct RangeReader {
    consumer: BaseConsumer<Context>,
    topic: String,
    /// The ends of the partitions that were not read to them yet.
    unfinished: BTreeMap<i32, i64>,
    paused: BTreeSet<i32>,
    /// Partitions whose end is to be told, with the offset after it.
    ended: VecDeque<(i32, i64)>,
    num_read: u64,
    num_all: u64,
}

impl RangeReader {
    /// The ranges of the input topic between two places.
    ///
    /// # Errors
    /// When brokers refuse or don't answer.
    pub fn ranges(config: &Config, from: Start, to: Start) -> KafkaResult<Ranges> {
        let consumer = consumer(config)?;
        let topic = &config.input.topic;
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        if let Some(error) = metadata.topics().first().and_then(|topic| topic.error()) {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        let mut ranges = Ranges::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            let available = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT)?;
            let place = |start| start_of(&consumer, topic, partition.id(), start, available);
            let from = place(from)?;
            ranges.insert(partition.id(), (from, place(to)?.max(from)));
        }
        Ok(ranges)
    }

    /// Begins to read.
    ///
    /// # Errors
    /// When brokers refuse.
    pub fn open(config: &Config, ranges: &Ranges) -> KafkaResult<Self> {
        let consumer = consumer(config)?;
        let mut assignment = TopicPartitionList::new();
        let mut reader = Self {
            topic: config.input.topic.clone(),
            unfinished: BTreeMap::new(),
            paused: BTreeSet::new(),
            ended: VecDeque::new(),
            num_read: 0,
            num_all: 0,
            consumer,
        };
        for (&partition, &(from, until)) in ranges {
            if from < until {
                assignment.add_partition_offset(&reader.topic, partition, Offset::Offset(from))?;
                reader.unfinished.insert(partition, until);
                reader.num_all += (until - from) as u64;
            } else {
                reader.ended.push_back((partition, until));
            }
        }
        reader.consumer.assign(&assignment)?;
        Ok(reader)
    }

    /// The next messages, or the news that a partition has ended; `None` at the end, or where `keep_on` said no. A partition
    /// that `is_full` is not read on meanwhile.
    ///
    /// # Errors
    /// When brokers refuse, or were silent for a minute.
    pub fn read(
        &mut self,
        keep_on: &dyn Fn() -> bool,
        is_full: &dyn Fn(i32) -> bool,
    ) -> KafkaResult<Option<Piece>> {
        let mut messages = Vec::new();
        let mut num_bytes = 0;
        let mut heard = Instant::now();
        while keep_on() {
            if messages.is_empty()
                && let Some((partition, until)) = self.ended.pop_front()
            {
                return Ok(Some(Piece::Ended { partition, until }));
            }
            if self.unfinished.is_empty() && messages.is_empty() {
                return Ok(None);
            }
            if messages.is_empty() && !self.pause_and_resume(is_full)? {
                // All that is left is paused: whoever has to make room is at it.
                heard = Instant::now();
            }
            let wait = if messages.is_empty() { POLL } else { Duration::ZERO };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    if let Some(message) = take(&message, &self.unfinished) {
                        self.num_read += 1;
                        num_bytes += message.payload.as_ref().map_or(0, |payload| payload.len());
                        messages.push(message);
                    }
                    let next = message.offset() + 1;
                    let partition = message.partition();
                    if self.unfinished.get(&partition).is_some_and(|&until| next >= until) {
                        self.end(partition);
                    }
                }
                // What is left of the range are a transaction's markers, or records that were taken back.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    self.end(partition);
                }
                Some(Err(error)) if !is_passing(&error) => return Err(error),
                Some(Err(error)) if heard.elapsed() > PATIENCE => return Err(error),
                None if heard.elapsed() > PATIENCE => {
                    let code = rdkafka::error::RDKafkaErrorCode::OperationTimedOut;
                    return Err(KafkaError::MessageConsumption(code));
                }
                Some(Err(_)) => {}
                None if !messages.is_empty() => break,
                None => {}
            }
            let is_full = messages.len() >= PIECE_ROWS || num_bytes >= PIECE_BYTES;
            if !messages.is_empty() && (is_full || !self.ended.is_empty()) {
                break;
            }
        }
        Ok((!messages.is_empty()).then_some(Piece::Messages(messages)))
    }

    /// How many offsets were read, of how many.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.num_read, self.num_all)
    }

    fn end(&mut self, partition: i32) {
        if let Some(until) = self.unfinished.remove(&partition) {
            self.ended.push_back((partition, until));
        }
    }

    /// Whether any partition is left that is not paused.
    fn pause_and_resume(&mut self, is_full: &dyn Fn(i32) -> bool) -> KafkaResult<bool> {
        let list = |partitions: &[i32]| {
            let mut list = TopicPartitionList::new();
            partitions.iter().for_each(|&partition| {
                list.add_partition(&self.topic, partition);
            });
            list
        };
        let (full, open): (Vec<i32>, Vec<i32>) = self.unfinished.keys().partition(|p| is_full(**p));
        let pause: Vec<i32> = full.into_iter().filter(|p| !self.paused.contains(p)).collect();
        let resume: Vec<i32> = open.iter().copied().filter(|p| self.paused.contains(p)).collect();
        if !pause.is_empty() {
            self.consumer.pause(&list(&pause))?;
        }
        if !resume.is_empty() {
            self.consumer.resume(&list(&resume))?;
        }
        self.paused.extend(pause);
        self.paused.retain(|p| !resume.contains(p));
        Ok(!open.is_empty())
    }
}

/// The message, where it is of the range.
fn take(message: &BorrowedMessage<'_>, unfinished: &BTreeMap<i32, i64>) -> Option<OwnedMessage> {
    let until = *unfinished.get(&message.partition())?;
    (message.offset() < until).then(|| OwnedMessage {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(Into::into),
        payload: message.payload().map(Into::into),
    })
}

fn consumer(config: &Config) -> KafkaResult<BaseConsumer<Context>> {
    tail_read::consumer(&config.kafka, FETCH_WAIT_MS).map_err(KafkaError::ClientCreation)
}

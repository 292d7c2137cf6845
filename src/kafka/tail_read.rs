//! Reading a partition's end: from some way back up to where it ends now, and further back while that was not enough.

use std::{cell::Cell, ops::Range, time::Duration};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, OwnedMessage},
};

use super::client::{self, Context};
use crate::config;

/// How long brokers may take to tell where a partition begins and ends.
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(50);
/// Each further look goes this many times as far back as the one before.
const FURTHER: i64 = 8;

/// A partition that is read outside of any group, by a consumer that reads nothing else.
pub struct Partition<'a> {
    /// The consumer; it tells of partitions' ends.
    pub consumer: &'a BaseConsumer<Context>,
    /// The topic.
    pub topic: &'a str,
    /// The partition's number.
    pub number: i32,
}

/// What was read, and the offset that follows it.
pub struct Read<T> {
    /// What the messages amount to.
    pub value: T,
    /// Where reading goes on.
    pub next: i64,
}

impl Partition<'_> {
    /// The offsets that are there.
    ///
    /// # Errors
    /// When brokers don't answer.
    pub fn available(&self) -> KafkaResult<Range<i64>> {
        let (low, high) = self.consumer.fetch_watermarks(self.topic, self.number, WATERMARKS_TIMEOUT)?;
        Ok(low..high)
    }

    /// Reads all there is, oldest first, until `put` says that it was enough.
    ///
    /// # Errors
    /// When brokers refuse or don't answer.
    pub fn read_each(&self, mut put: impl FnMut(&BorrowedMessage<'_>) -> bool) -> KafkaResult<()> {
        let is_enough = Cell::new(false);
        let put = |message: &BorrowedMessage<'_>| is_enough.set(put(message));
        self.read_to_end(self.available()?.start, put, &mut || !is_enough.get()).map(|_| ())
    }

    /// The first message from an offset on; `None` where none comes up to the end.
    ///
    /// # Errors
    /// When brokers refuse.
    pub fn read_first(&self, start: i64) -> KafkaResult<Option<OwnedMessage>> {
        let mut first = None;
        let is_there = Cell::new(false);
        let put = |message: &BorrowedMessage<'_>| {
            first = Some(message.detach());
            is_there.set(true);
        };
        self.read_to_end(start, put, &mut || !is_there.get())?;
        Ok(first)
    }

    /// Reads back from the end until the messages from some offset on are enough, or until there are no more; the first
    /// look goes `first_look` offsets back. `keep_on` is asked between polls; when it says no, there is nothing.
    ///
    /// # Errors
    /// When brokers refuse, or don't answer where the partition begins and ends.
    pub fn read_back<T: Default>(
        &self,
        first_look: i64,
        mut put: impl FnMut(&mut T, &BorrowedMessage<'_>),
        is_enough: impl Fn(&T, i64) -> bool,
        keep_on: &mut dyn FnMut() -> bool,
    ) -> KafkaResult<Option<Read<T>>> {
        let Range { start: low, end: high } = self.available()?;
        let mut back = first_look;
        loop {
            let start = low.max(high.saturating_sub(back));
            let mut value = T::default();
            let Some(next) = self.read_to_end(start, |message| put(&mut value, message), keep_on)? else {
                return Ok(None);
            };
            if start == low || is_enough(&value, start) {
                return Ok(Some(Read { value, next }));
            }
            back = back.saturating_mul(FURTHER);
        }
    }

    /// Reads from an offset to the end as it is by then, and gives the offset after it.
    ///
    /// # Errors
    /// When brokers refuse.
    pub fn read_to_end(
        &self,
        start: i64,
        mut put: impl FnMut(&BorrowedMessage<'_>),
        keep_on: &mut dyn FnMut() -> bool,
    ) -> KafkaResult<Option<i64>> {
        // Assigned anew, the client tells the end again, also where it told it before.
        self.assign(start)?;
        let mut next = start;
        while keep_on() {
            match self.consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    next = message.offset() + 1;
                    put(&message);
                }
                // Transaction markers take offsets too, so that the last message may come long before the end.
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Some(next)),
                Some(Err(error)) if !is_passing(&error) => return Err(error),
                Some(Err(error)) => tracing::debug!(%error, topic = self.topic, "reading is interrupted"),
            }
        }
        Ok(None)
    }

    fn assign(&self, start: i64) -> KafkaResult<()> {
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(self.topic, self.number, Offset::Offset(start))?;
        self.consumer.assign(&assignment)
    }
}

/// A consumer for partitions that are read in this way. Ends are told after at most `wait_ms`.
///
/// # Errors
/// What librdkafka refuses, in words without secrets.
pub fn consumer(kafka: &config::Kafka, wait_ms: &str) -> Result<BaseConsumer<Context>, String> {
    let mut settings = client::consumer(kafka);
    settings.set("enable.partition.eof", "true");
    let defaults = [("fetch.wait.max.ms", wait_ms), ("queued.max.messages.kbytes", "16384")];
    client::set_defaults(&mut settings, kafka, &defaults);
    client::create(&settings, kafka, Context::default())
}

/// Whether librdkafka goes on trying by itself after this error.
pub fn is_passing(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode::{
        AutoOffsetReset, OffsetOutOfRange, UnknownPartition, UnknownTopic,
    };
    let code = super::code(error);
    let is_lost = matches!(code, Some(AutoOffsetReset | OffsetOutOfRange | UnknownTopic | UnknownPartition));
    !is_lost && !super::is_final(error)
}

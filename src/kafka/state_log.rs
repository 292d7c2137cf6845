//! Reading the state topic: its end at first, then what comes, so that whoever takes over has it at hand.

use std::time::Duration;

use rdkafka::{
    Message,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};

use super::{
    client::Context,
    tail_read::{self, Partition},
};
use crate::{config::Config, state::topic::StateTopic};

/// A standby takes at most this many records between two looks at the group.
const MAX_FOLLOWED: usize = 64;

/// With the defaults, this many offsets hold the last two snapshots and the commits between them.
const FIRST_LOOK: i64 = 512;

/// The state topic as far as it was read.
pub struct StateLog {
    consumer: BaseConsumer<Context>,
    topic: String,
    state: StateTopic,
    /// Where reading goes on; `None` before the first read.
    next: Option<i64>,
}

impl StateLog {
    /// A log of which nothing was read yet.
    ///
    /// # Errors
    /// What librdkafka refuses, in words without secrets.
    pub fn new(config: &Config) -> Result<Self, String> {
        let consumer = tail_read::consumer(&config.kafka, "100")?;
        Ok(Self { consumer, topic: config.state.topic.clone(), state: StateTopic::default(), next: None })
    }

    /// Reads to the end as it is by now; `None` where `keep_on` said no meanwhile.
    ///
    /// # Errors
    /// When brokers refuse or don't answer.
    pub fn read_to_end(&mut self, keep_on: &mut dyn FnMut() -> bool) -> KafkaResult<Option<&StateTopic>> {
        match self.read_on(keep_on)? {
            Some(true) => Ok(Some(&self.state)),
            Some(false) => self.read_back(FIRST_LOOK, StateTopic::is_sufficient, keep_on),
            None => Ok(None),
        }
    }

    /// Reads what came since; whether that was enough.
    fn read_on(&mut self, keep_on: &mut dyn FnMut() -> bool) -> KafkaResult<Option<bool>> {
        let Self { consumer, topic, state, next } = self;
        let Some(start) = *next else { return Ok(Some(false)) };
        let partition = Partition { consumer, topic, number: 0 };
        match partition.read_to_end(start, |message| put(state, message), keep_on) {
            Ok(Some(end)) => {
                *next = Some(end);
                state.set_end(end);
                // An import's first parts may stand before the place where the first read began.
                Ok(Some(state.is_import_whole()))
            }
            Ok(None) => Ok(None),
            Err(error) if super::is_final(&error) => Err(error),
            // The topic was made anew, or cleaned beyond the place where it was left: as at first, then.
            Err(error) => {
                tracing::warn!(%error, topic, "reading the state anew");
                Ok(Some(false))
            }
        }
    }

    /// Reads all of it, also what no leader needs: snapshots that are no longer the newest.
    ///
    /// # Errors
    /// When brokers refuse or don't answer.
    pub fn read_whole(&mut self) -> KafkaResult<Option<&StateTopic>> {
        self.read_back(i64::MAX, |_, _| true, &mut || true)
    }

    /// Goes through every record that is still there, oldest first, until `put` says that it has enough: the past, where a
    /// term only wants to know what it amounts to.
    ///
    /// # Errors
    /// When brokers refuse or don't answer.
    pub fn read_each(&self, mut put: impl FnMut(&[u8], Option<&[u8]>) -> bool) -> KafkaResult<()> {
        let partition = Partition { consumer: &self.consumer, topic: &self.topic, number: 0 };
        partition.read_each(|message| message.key().is_some_and(|key| put(key, message.payload())))
    }

    fn read_back(
        &mut self,
        first_look: i64,
        is_enough: impl Fn(&StateTopic, i64) -> bool,
        keep_on: &mut dyn FnMut() -> bool,
    ) -> KafkaResult<Option<&StateTopic>> {
        let Self { consumer, topic, state, next } = self;
        *next = None;
        let partition = Partition { consumer, topic, number: 0 };
        let Some(read) = partition.read_back(first_look, put, is_enough, keep_on)? else { return Ok(None) };
        (*state, *next) = (read.value, Some(read.next));
        state.set_end(read.next);
        Ok(Some(state))
    }

    /// Forgets what was read: a leader does not follow what it writes itself, and begins anew at the end when its term is
    /// over.
    pub fn forget(&mut self) {
        (self.state, self.next) = (StateTopic::default(), None);
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(%error, "the state topic is still read");
        }
    }

    /// Takes the records that came meanwhile, without waiting for any: a standby keeps up.
    pub fn follow(&mut self) {
        let Self { consumer, topic, state, next } = self;
        if next.is_none() {
            return;
        }
        for _ in 0..MAX_FOLLOWED {
            match consumer.poll(Duration::ZERO) {
                None => return,
                Some(Ok(message)) => {
                    *next = Some(message.offset() + 1);
                    put(state, &message);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) if tail_read::is_passing(&error) => return,
                Some(Err(error)) => {
                    tracing::debug!(%error, topic, "following the state");
                    *next = None; // it is read anew when it is needed
                    return;
                }
            }
        }
    }
}

fn put(state: &mut StateTopic, message: &BorrowedMessage<'_>) {
    if let Some(key) = message.key() {
        state.put(key, message.payload());
    }
}

//! From actions to messages: one open batch a partition and topic, closed when it is full or old.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::TrySendError},
    thread,
    time::{Duration, Instant},
};

use super::spec;
use crate::{
    config::{Config, InputFormat, OutputFormat},
    http::Health,
    kafka::publisher::{Commit, Message, Outbox, Publish, content_type},
    operator::Action,
    record::{self, Reject},
    score::{
        Outcome, Scored,
        arrow::{BatchBuilder, EncodeError},
        json::{self, JsonEncoder},
        row::{Row, RowSchema},
    },
};

/// A batch is closed when it has reached this. A row has at most `record::MAX_OWN_BYTES` of its event's own and a
/// few thousand of figures, so that a batch stays below the brokers' default limit of 1,048,588 bytes.
const MAX_BATCH_BYTES: usize = 700_000;
const _: () = assert!(MAX_BATCH_BYTES + record::MAX_OWN_BYTES < 1_000_000);

/// How long one wait for room in the outbox lasts; between them the heartbeat goes on.
const ROOM_WAIT: Duration = Duration::from_millis(5);

/// Why nothing could be put out.
#[derive(Debug)]
pub enum OutputError {
    /// The publisher is gone.
    Closed,
    /// Rows are no batch.
    Encode(EncodeError),
}

impl From<EncodeError> for OutputError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

/// The way to the publisher.
struct Way<'a> {
    outbox: Outbox,
    health: &'a Health,
    /// Time spent waiting for room.
    waited: Duration,
}

impl Way<'_> {
    /// Hands something to the publisher. While brokers are away there may be no room for long; waiting is life too.
    fn send(&mut self, mut publish: Publish) -> Result<(), OutputError> {
        let begun = Instant::now();
        loop {
            match self.outbox.try_send(publish) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return Err(OutputError::Closed),
                Err(TrySendError::Full(refused)) => publish = refused,
            }
            thread::sleep(ROOM_WAIT);
            self.health.beat();
        }
        self.waited += begun.elapsed();
        Ok(())
    }
}

/// Everything that is published, on its way.
pub struct Outputs<'a> {
    way: Way<'a>,
    scores: Stream<Scored>,
    outcomes: Option<Stream<Outcome>>,
    rejected: Option<Arc<str>>,
    input_topic: String,
    input_format: InputFormat,
    /// Something was put out since the last commit.
    uncommitted: bool,
    timestamps_ms: Vec<i64>,
}

/// Rows of one topic.
struct Stream<R> {
    topic: Arc<str>,
    schema: RowSchema<R>,
    /// `Some`: one event a message.
    json: Option<JsonEncoder<R>>,
    max_rows: usize,
    linger: Duration,
    open: BTreeMap<i32, Open<R>>,
}

struct Open<R> {
    batch: BatchBuilder<R>,
    /// When its first row came; `None` while it is empty.
    since: Option<Instant>,
}

impl<'a> Outputs<'a> {
    /// Outputs as the config has them.
    ///
    /// # Errors
    /// When Arrow refuses the schema.
    pub fn new(config: &Config, outbox: Outbox, health: &'a Health) -> Result<Self, EncodeError> {
        let (scores, outcomes) = spec::schemas(config);
        Ok(Self {
            way: Way { outbox, health, waited: Duration::ZERO },
            scores: Stream::new(config, &config.output.topic, scores),
            outcomes: config.output.outcomes.as_ref().map(|topic| Stream::new(config, topic, outcomes)),
            rejected: config.output.rejected.as_deref().map(Arc::from),
            input_topic: config.input.topic.clone(),
            input_format: config.input.format,
            // The positions that the term starts from: a quiet partition's, too, is then known to the group.
            uncommitted: true,
            timestamps_ms: Vec::new(),
        })
    }

    /// Puts an action out: into an open batch, or as a message of its own.
    ///
    /// # Errors
    /// When the publisher is gone.
    pub fn put(&mut self, action: &Action) -> Result<(), OutputError> {
        self.uncommitted = true;
        match action {
            Action::Score(scored) => {
                let is_first = self.scores.push(scored, scored.event.partition, &mut self.way)?;
                // One record a batch stands for the others in the latency metric: its first, the oldest.
                self.timestamps_ms.extend(scored.event.timestamp_ms.filter(|_| is_first));
            }
            Action::Outcome(outcome) => {
                if let Some(outcomes) = &mut self.outcomes {
                    outcomes.push(outcome, outcome.event.partition, &mut self.way)?;
                }
            }
            Action::Reject(reject) => self.reject(reject)?,
            Action::Learned { .. } | Action::Expired => {}
        }
        Ok(())
    }

    fn reject(&mut self, reject: &Reject) -> Result<(), OutputError> {
        let Some(topic) = &self.rejected else { return Ok(()) };
        let message = Message {
            topic: topic.clone(),
            partition: reject.partition,
            key: reject.key.clone(),
            payload: reject.payload.clone(),
            headers: owned(reject.headers(&self.input_topic, self.input_format)),
        };
        self.way.send(Publish::Message(message))
    }

    /// Takes the time that was spent waiting for room.
    pub fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.way.waited)
    }

    /// When the oldest open batch is to be closed.
    #[must_use]
    pub fn next_close(&self) -> Option<Instant> {
        let outcomes = self.outcomes.as_ref().and_then(Stream::next_close);
        [self.scores.next_close(), outcomes].into_iter().flatten().min()
    }

    /// Closes the batches that are as old as `output.linger` at `now`.
    ///
    /// # Errors
    /// When the publisher is gone.
    pub fn close_old(&mut self, now: Instant) -> Result<(), OutputError> {
        self.scores.close_if(|since, linger| since + linger <= now, &mut self.way)?;
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.close_if(|since, linger| since + linger <= now, &mut self.way)?;
        }
        Ok(())
    }

    /// Whether something was put out, or has to be told anyway, since the last commit.
    #[must_use]
    pub fn is_uncommitted(&self) -> bool {
        self.uncommitted
    }

    /// Closes all batches and ends the unit of delivery, which `commit` makes up from broker timestamps.
    ///
    /// # Errors
    /// When the publisher is gone.
    pub fn commit(&mut self, commit: impl FnOnce(Vec<i64>) -> Commit) -> Result<(), OutputError> {
        self.scores.close_if(|_, _| true, &mut self.way)?;
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.close_if(|_, _| true, &mut self.way)?;
        }
        self.uncommitted = false;
        let timestamps_ms = std::mem::take(&mut self.timestamps_ms);
        self.way.send(Publish::Commit(Box::new(commit(timestamps_ms))))
    }
}

impl<R: Row> Stream<R> {
    fn new(config: &Config, topic: &str, schema: RowSchema<R>) -> Self {
        let json = match config.output.format {
            OutputFormat::Arrow => None,
            OutputFormat::Json => Some(JsonEncoder::new(&schema)),
        };
        Self {
            topic: topic.into(),
            schema,
            json,
            max_rows: config.output.rows,
            linger: config.output.linger,
            open: BTreeMap::new(),
        }
    }

    /// Adds a row; whether it opened a batch.
    fn push(&mut self, row: &R, partition: i32, way: &mut Way<'_>) -> Result<bool, OutputError> {
        if let Some(encoder) = &self.json {
            let message = Message {
                topic: self.topic.clone(),
                partition,
                key: row.event().key.clone(),
                payload: Some(encoder.encode(row).into()),
                headers: content_type(json::CONTENT_TYPE),
            };
            way.send(Publish::Message(message))?;
            return Ok(true);
        }
        let open = match self.open.entry(partition) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Open { batch: BatchBuilder::new(&self.schema)?, since: None })
            }
        };
        let opens = open.since.is_none();
        open.since.get_or_insert_with(Instant::now);
        open.batch.push(row);
        if open.batch.num_rows() >= self.max_rows || open.batch.num_bytes() >= MAX_BATCH_BYTES {
            open.close(&self.topic, partition, way)?;
        }
        Ok(opens)
    }

    fn next_close(&self) -> Option<Instant> {
        self.open.values().filter_map(|open| open.since).min().map(|since| since + self.linger)
    }

    fn close_if(
        &mut self,
        is_due: impl Fn(Instant, Duration) -> bool,
        way: &mut Way<'_>,
    ) -> Result<(), OutputError> {
        for (&partition, open) in &mut self.open {
            if open.since.is_some_and(|since| is_due(since, self.linger)) {
                open.close(&self.topic, partition, way)?;
            }
        }
        Ok(())
    }
}

impl<R: Row> Open<R> {
    fn close(&mut self, topic: &Arc<str>, partition: i32, way: &mut Way<'_>) -> Result<(), OutputError> {
        self.since = None;
        way.send(Publish::Batch { topic: topic.clone(), partition, batch: self.batch.take()? })
    }
}

fn owned(headers: Vec<(&str, String)>) -> Vec<(String, String)> {
    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

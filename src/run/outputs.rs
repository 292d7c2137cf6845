//! From actions to messages: one open batch a partition and topic, closed when it is full or old.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::{Config, InputFormat, OutputFormat},
    density::Density,
    kafka::publisher::{Commit, Message, Outbox, Publish},
    model,
    operator::{Action, Positions},
    record::{self, Reject},
    score::{
        Outcome, Scored,
        arrow::{self, BatchBuilder, EncodeError},
        columns::Columns,
        json::{self, JsonEncoder},
        row::{Provenance, Row, RowSchema},
    },
};

/// A batch is closed before it passes this, so that it fits `message.max.bytes` (1,000,000 by default).
const MAX_BATCH_BYTES: usize = 800_000;

/// Why nothing could be put out.
#[derive(Debug)]
pub enum OutputError {
    /// The publisher is gone.
    Closed,
    /// A batch could not be encoded.
    Encode(EncodeError),
}

impl From<EncodeError> for OutputError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

/// Everything that is published, on its way.
pub struct Outputs {
    outbox: Outbox,
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

impl Outputs {
    /// Outputs as the config has them.
    ///
    /// # Errors
    /// When Arrow refuses the schema.
    pub fn new(config: &Config, density: &dyn Density, outbox: Outbox) -> Result<Self, EncodeError> {
        let columns = Columns::new(config);
        let hash = config.hash();
        let model = super::spec::params_description(config, density);
        let provenance = Provenance {
            version: env!("CARGO_PKG_VERSION"),
            group: &config.kafka.group,
            config: &hash,
            model: &model,
        };
        let carry = record::carry_types(config);
        let format = config.input.format;
        let num_params = model::num_params(density);
        let scores = RowSchema::scores(&columns, &carry, format, num_params, &provenance);
        let outcomes = RowSchema::outcomes(&columns, &carry, format, &provenance);
        Ok(Self {
            outbox,
            scores: Stream::new(config, &config.output.topic, scores),
            outcomes: config.output.outcomes.as_ref().map(|topic| Stream::new(config, topic, outcomes)),
            rejected: config.output.rejected.as_deref().map(Arc::from),
            input_topic: config.input.topic.clone(),
            input_format: format,
            uncommitted: false,
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
                let is_first = self.scores.push(scored, scored.event.partition, &self.outbox)?;
                // One record a batch stands for the others in the latency metric: its first, the oldest.
                self.timestamps_ms.extend(scored.event.timestamp_ms.filter(|_| is_first));
            }
            Action::Outcome(outcome) => {
                if let Some(outcomes) = &mut self.outcomes {
                    outcomes.push(outcome, outcome.event.partition, &self.outbox)?;
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
            headers: reject.headers(&self.input_topic, self.input_format),
        };
        send(&self.outbox, Publish::Message(message))
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
        self.scores.close_if(|since, linger| since + linger <= now, &self.outbox)?;
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.close_if(|since, linger| since + linger <= now, &self.outbox)?;
        }
        Ok(())
    }

    /// Closes all batches and ends the unit of delivery at these positions.
    ///
    /// # Errors
    /// When the publisher is gone.
    pub fn commit(&mut self, positions: &Positions) -> Result<(), OutputError> {
        if !self.uncommitted {
            return Ok(());
        }
        self.scores.close_if(|_, _| true, &self.outbox)?;
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.close_if(|_, _| true, &self.outbox)?;
        }
        self.uncommitted = false;
        let timestamps_ms = std::mem::take(&mut self.timestamps_ms);
        send(&self.outbox, Publish::Commit(Commit { positions: positions.clone(), timestamps_ms }))
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
    fn push(&mut self, row: &R, partition: i32, outbox: &Outbox) -> Result<bool, OutputError> {
        if let Some(encoder) = &self.json {
            let message = Message {
                topic: self.topic.clone(),
                partition,
                key: row.event().key.clone(),
                payload: Some(encoder.encode(row).into()),
                headers: vec![("content-type", json::CONTENT_TYPE.to_owned())],
            };
            send(outbox, Publish::Message(message))?;
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
            open.close(&self.topic, partition, outbox)?;
        }
        Ok(opens)
    }

    fn next_close(&self) -> Option<Instant> {
        self.open.values().filter_map(|open| open.since).min().map(|since| since + self.linger)
    }

    fn close_if(
        &mut self,
        is_due: impl Fn(Instant, Duration) -> bool,
        outbox: &Outbox,
    ) -> Result<(), OutputError> {
        for (&partition, open) in &mut self.open {
            if open.since.is_some_and(|since| is_due(since, self.linger)) {
                open.close(&self.topic, partition, outbox)?;
            }
        }
        Ok(())
    }
}

impl<R: Row> Open<R> {
    fn close(&mut self, topic: &Arc<str>, partition: i32, outbox: &Outbox) -> Result<(), OutputError> {
        self.since = None;
        let message = Message {
            topic: topic.clone(),
            partition,
            key: None,
            payload: Some(self.batch.finish()?.into()),
            headers: vec![("content-type", arrow::CONTENT_TYPE.to_owned())],
        };
        send(outbox, Publish::Message(message))
    }
}

fn send(outbox: &Outbox, publish: Publish) -> Result<(), OutputError> {
    outbox.send(publish).map_err(|_| OutputError::Closed)
}

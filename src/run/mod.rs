//! `tailwater run`: the operator on Kafka.
//!
//! ```text
//! reader thread ──chunks──► this thread: decoding, operator, batches ──batches──► publisher thread
//!   polls                      order, score, learn                                   encodes, sends, commits offsets
//! ```
//! The channels are bounded: when the publisher waits for a broker its inbox fills, then the operator waits, the
//! backlog fills, and the reader pauses partitions while it goes on polling.
//!
//! A process leads or stands by (`kafka::membership`); while it stands by it follows the state topic. A term of leadership
//! begins with taking over the transactions, then reads the state to its end and restores the operator from it. It ends by
//! a signal, by losing the lease, or by an error; where nobody else has taken over, what was scored is handed in first and
//! the state saved, as far as brokers allow. An aborted transaction ends the term too: the next one begins from the last
//! commit, as after a crash.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::error::KafkaError;

use crate::{
    config::{Config, Guarantee},
    crash,
    http::{Health, Role},
    kafka::{
        self,
        backlog::Backlog,
        client,
        deliveries::TooLarge,
        membership::{Membership, Refused},
        offsets,
        preflight::{self, Fault},
        publisher::{self, Committed, PublishError, Publisher},
        reader::{MAX_CHUNKS, ReadError, Reader},
        score_log,
        state_log::StateLog,
        transaction::TransactionError,
    },
    metrics::Metrics,
    operator::place,
    score::arrow::EncodeError,
    state::{
        Snapshot,
        directory::Directory,
        recovery::{self, Beginning, Initial, InputFacts, Mismatch},
        store::Store,
        topic::StateTopic,
    },
};

mod compute;
mod intake;
mod monitor;
mod outputs;
mod recent;
pub mod recompute;
pub mod spec;

use compute::{Compute, Start};
use outputs::Outputs;

/// How long a standby's poll waits; a signal is noticed that late at most.
const STANDBY_POLL: Duration = Duration::from_millis(50);

/// How long after a term could not begin it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Why a run ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Brokers, topics or rights are not as the config needs them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Preflight(Vec<Fault>),
    /// The group could not be joined.
    #[error("the consumer group could not be joined: {0}")]
    Join(String),
    /// The state, or the scores of events that wait, could not be read.
    #[error("'{topic}' could not be read: {error}{}", kafka::reader::remedy(.error))]
    State {
        /// The topic.
        topic: String,
        /// librdkafka's reason.
        error: KafkaError,
    },
    /// The directory of the state can't be used.
    #[error("{0}; make it writable and give it room, or correct state.dir")]
    Directory(std::io::Error),
    /// The state, the config, the group and the input don't fit together.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Mismatch(Vec<Mismatch>),
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Publishing failed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Encoding failed.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A thread could not be started, or panicked.
    #[error("{0}")]
    Thread(String),
}

impl RunError {
    /// Whether the next term may begin by itself: a broker's absence passes, and an aborted transaction was rolled back.
    fn passes(&self) -> bool {
        match self {
            Self::Preflight(faults) => faults.iter().all(|fault| matches!(fault, Fault::Unreachable { .. })),
            Self::Read(ReadError::Start { error, .. }) | Self::State { error, .. } => !kafka::is_final(error),
            // How the next term can't begin says what to do.
            Self::Read(ReadError::OffsetOutOfRange { .. }) => true,
            Self::Publish(error) => error.passes(),
            _ => false,
        }
    }
}

/// Asks a run to end: it stops reading, hands in what it has scored, and returns.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(Arc<AtomicBool>);

impl Shutdown {
    /// Asks.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs the operator until `shutdown`.
///
/// # Errors
/// When something has to be put right by hand before it can go on.
pub fn run(config: &Config, metrics: &Metrics, health: &Health, shutdown: &Shutdown) -> Result<(), RunError> {
    let result = stand_by_and_lead(config, metrics, health, shutdown);
    if let Err(error) = &result {
        health.record_error(error);
    }
    health.set_role(Role::Stopped);
    result
}

fn stand_by_and_lead(
    config: &Config,
    metrics: &Metrics,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    if !wait_for_brokers(config, health, shutdown)? {
        return Ok(());
    }
    if let Some(path) = config.state.dir.as_deref() {
        let directory = Directory::new(path, &config.kafka.group);
        directory.probe().map_err(RunError::Directory)?;
    }
    let membership = Membership::join(config)
        .map_err(|error| RunError::Join(client::creation_error(&config.kafka, &error)))?;
    let state_log = StateLog::new(config).map_err(RunError::Join)?;
    let process = Process { config, membership: &membership, metrics, health, shutdown };
    process.run(state_log)
}

/// Looks at brokers, topics and rights. Where no broker answers it goes on asking: they may start at the same time, or be away for a
/// while, and to end would leave it to a supervisor's growing pauses when this process is back. `false`: it is to end.
fn wait_for_brokers(config: &Config, health: &Health, shutdown: &Shutdown) -> Result<bool, RunError> {
    while !shutdown.has_begun() {
        health.beat();
        match preflight::inspect(config) {
            Ok(_) => return Ok(true),
            Err(faults) if faults.iter().all(Fault::is_silence) => {
                let error = RunError::Preflight(faults);
                tracing::warn!(%error, "waiting for brokers");
                health.record_error(error);
                thread::sleep(RETRY);
            }
            Err(faults) => return Err(RunError::Preflight(faults)),
        }
    }
    Ok(false)
}

/// What lasts for longer than a term of leadership.
struct Process<'a> {
    config: &'a Config,
    membership: &'a Membership,
    metrics: &'a Metrics,
    health: &'a Health,
    shutdown: &'a Shutdown,
}

impl Process<'_> {
    fn run(&self, mut state_log: StateLog) -> Result<(), RunError> {
        let too_large = TooLarge::default();
        let lease = self.membership.lease();
        while !self.shutdown.has_begun() {
            self.stand_by(&mut state_log)?;
            let Some(number) = lease.number().filter(|_| !self.shutdown.has_begun()) else { continue };
            // Topics may have changed while it stood by.
            let term = preflight::inspect(self.config).map_err(RunError::Preflight).and_then(|layout| {
                let partitions = &layout.input_partitions;
                tracing::info!(group = self.config.kafka.group, ?partitions, "leading");
                self.lead(number, &mut state_log, &too_large, partitions)
            });
            self.metrics.set_partitions(&[]);
            self.health.set_restoring(None);
            self.health.set_recent(None);
            match term {
                Err(error) if error.passes() => {
                    tracing::warn!(%error, "the term of leadership ended; trying again from the last commit");
                    self.health.record_error(error);
                    self.health.set_role(Role::Restoring);
                    // Long enough to hear that the lease is gone: who leads wrongly would fence the leader.
                    let until = Instant::now() + RETRY;
                    while Instant::now() < until {
                        self.membership.poll(STANDBY_POLL).map_err(ReadError::Group)?;
                        self.health.beat();
                    }
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Waits until this process leads or is to end, and keeps up with the state meanwhile.
    fn stand_by(&self, state_log: &mut StateLog) -> Result<(), RunError> {
        let lease = self.membership.lease();
        if lease.is_held() {
            return Ok(()); // a term ended, and the next one begins
        }
        self.health.set_role(Role::Standby);
        tracing::info!(group = self.config.kafka.group, topic = self.config.state.topic, "standing by");
        let mut is_following = false;
        let mut next_read = Instant::now();
        while !lease.is_held() && !self.shutdown.has_begun() {
            self.membership.poll(STANDBY_POLL).map_err(ReadError::Group)?;
            count_rebalances(self.membership, self.metrics);
            self.health.beat();
            if is_following {
                state_log.follow();
            } else if !lease.is_held() && Instant::now() >= next_read {
                next_read = Instant::now() + RETRY;
                let mut vigil = Vigil::new(self);
                match state_log.read_to_end(&mut || vigil.keep_on() && !lease.is_held()) {
                    Ok(state) => is_following = state.is_some(),
                    // Whoever takes over reads it anyway: a broker that is away now is no reason to stop.
                    Err(error) => tracing::debug!(%error, "the state could not be read ahead"),
                }
                vigil.end()?;
            }
        }
        Ok(())
    }

    /// One term of leadership.
    fn lead(
        &self,
        lease_number: u64,
        state_log: &mut StateLog,
        too_large: &TooLarge,
        partitions: &[i32],
    ) -> Result<(), RunError> {
        let Self { config, membership, metrics, health, shutdown, .. } = *self;
        let lease = membership.lease();
        let holds = || lease.number() == Some(lease_number);
        let begun = Instant::now();
        health.set_role(Role::Restoring);
        let mut publisher = Publisher::new(config, too_large, lease, lease_number)?;
        let mut vigil = Vigil::new(self);
        let mut keep_on = || vigil.keep_on() && holds();
        let beginning = self.begin(&publisher, state_log, partitions, &mut keep_on)?;
        vigil.end()?;
        let Some(beginning) = beginning else { return Ok(()) };
        let Beginning {
            operator, read_from, progress, about, saved_until, num_replayed, changes, notes, ..
        } = beginning;
        for change in changes {
            tracing::warn!("from here on, {change}");
        }
        for note in notes {
            tracing::warn!("{note}");
        }
        if let Some(about) = &about {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
            let age = Duration::from_millis(u64::try_from(now - about.written_ms).unwrap_or(0));
            health.set_state_age(age);
            tracing::info!(snapshot = about.generation, ?age, records = num_replayed, "restoring the state");
        }
        state_log.forget();
        let start = Start { begun, num_replayed, saved_until, was_lost: publisher.unsaved() };
        let backlog = Arc::new(Backlog::of_bytes(partitions.len()));
        let reader = Reader::start(config, &place::offsets(&read_from), backlog.clone())?;
        let observed = reader.observed();
        metrics.set_partitions(partitions);
        let (chunk_sender, chunks) = mpsc::sync_channel(MAX_CHUNKS);
        let (outbox, inbox) = publisher::channel();
        let outputs = Outputs::new(config, outbox, health)?;
        // The operator's thread may have nothing to send for long, and would not notice that the publisher is gone.
        let is_published = AtomicBool::new(true);
        let ends = || shutdown.has_begun() || !holds() || !is_published.load(Ordering::Relaxed);
        lease.begin();
        let result = thread::scope(|scope| {
            let reading = thread::Builder::new().name("reader".into()).spawn_scoped(scope, || {
                let mut last = Instant::now();
                let result = reader.run(
                    &chunk_sender,
                    |wait| membership.poll(wait),
                    ends,
                    |num_paused| {
                        let elapsed = last.elapsed();
                        last = Instant::now();
                        if num_paused > 0 {
                            metrics.paused_seconds.inc_by(elapsed.as_secs_f64());
                        }
                        count_rebalances(membership, metrics);
                    },
                );
                // Closed with the thread, so that the operator's thread notices.
                drop(chunk_sender);
                result
            });
            let publishing = thread::Builder::new().name("publisher".into()).spawn_scoped(scope, || {
                let result = publisher.run(&inbox, membership, progress, saved_until, |committed| {
                    on_commit(config, metrics, health, &committed);
                });
                is_published.store(false, Ordering::Relaxed);
                drop(inbox); // wakes the operator's thread where it waits for room
                result
            });
            let mut compute =
                Compute::new(config, operator, &start, outputs, &backlog, &observed, metrics, health);
            let computed = compute.run(&chunks, &ends);
            if shutdown.has_begun() {
                health.set_role(Role::Draining);
            }
            // Dropped, the channels tell the other threads that nothing more comes and nobody listens.
            drop((compute, chunks));
            let published = join("publisher", publishing, health);
            lease.hand_in();
            let read = join("reader", reading, health);
            // A failed publisher is the cause, the others only notice that it is gone.
            published?.or_else(|error| {
                count_failure(&error, metrics);
                if holds() {
                    return Err(RunError::Publish(error));
                }
                tracing::warn!(%error, "leadership was lost before everything was handed in");
                Ok(())
            })?;
            read??;
            computed
        });
        lease.hand_in();
        result
    }

    /// Takes over, and finds out how the term begins; nothing where `keep_on` said no meanwhile.
    fn begin(
        &self,
        publisher: &Publisher<'_>,
        state_log: &mut StateLog,
        partitions: &[i32],
        keep_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Beginning>, RunError> {
        let config = self.config;
        // Before anything is read: nobody else can add to it from then on.
        if !publisher.take_over(keep_on)? {
            return Ok(None);
        }
        crash::point("after_init_before_state");
        let Some(state) = state_log.read_to_end(keep_on).map_err(unreadable(&config.state.topic))? else {
            return Ok(None);
        };
        let input = offsets::input_facts(config, self.membership, partitions, keep_on);
        let Some(input) = input.map_err(|error| ReadError::start(config, error))? else { return Ok(None) };
        let mut beginning = decide(config, state, &input).map_err(RunError::Mismatch)?;
        let scores = score_log::published(config, &beginning.waiting, keep_on)
            .map_err(unreadable(&config.output.topic))?;
        let Some(scores) = scores else { return Ok(None) };
        beginning.operator.set_published(scores);
        Ok(Some(beginning))
    }
}

fn unreadable(topic: &str) -> impl Fn(KafkaError) -> RunError {
    move |error| RunError::State { topic: topic.to_owned(), error }
}

/// Keeps the membership and the heart alive while something else takes long.
struct Vigil<'a> {
    process: &'a Process<'a>,
    error: Option<Refused>,
}

impl<'a> Vigil<'a> {
    fn new(process: &'a Process<'a>) -> Self {
        Self { process, error: None }
    }

    /// Whether to go on: no end was asked for, and the group is in order.
    fn keep_on(&mut self) -> bool {
        let Process { membership, metrics, health, shutdown, .. } = self.process;
        health.beat();
        self.error = membership.poll(Duration::ZERO).err();
        count_rebalances(membership, metrics);
        self.error.is_none() && !shutdown.has_begun()
    }

    /// What has gone wrong meanwhile.
    fn end(self) -> Result<(), RunError> {
        self.error.map_or(Ok(()), |error| Err(ReadError::Group(error).into()))
    }
}

/// How a term begins with this state: what `run` does, and what `check` says of it. Nothing is changed by asking.
///
/// # Errors
/// Everything that does not fit.
pub fn decide(config: &Config, state: &StateTopic, input: &InputFacts) -> Result<Beginning, Vec<Mismatch>> {
    let progress = state.progress();
    let initial = || config.state.initial.as_deref().map(read_initial).transpose();
    let store = Store::new(config, state);
    let fetch = |named| store.read(named);
    let mut beginning = recovery::begin(config, progress, fetch, state.import(), &initial, input)?;
    beginning.progress.imports_from = state.end();
    Ok(beginning)
}

fn read_initial(file: &Path) -> Result<Initial, Mismatch> {
    let name = file.display().to_string();
    let fault = |why| Mismatch::Initial { file: name.clone(), why };
    let bytes = std::fs::read(file).map_err(|error| fault(error.to_string()))?;
    let snapshot = Snapshot::from_bytes(&bytes).map_err(|error| fault(error.to_string()))?;
    Ok(Initial { file: name, snapshot })
}

fn count_failure(error: &PublishError, metrics: &Metrics) {
    if let PublishError::Transaction(error) = error {
        match error {
            TransactionError::Aborted(_) | TransactionError::Fenced(_) => metrics.transactions.aborted.inc(),
            TransactionError::Final(_) => metrics.transactions.failed.inc(),
        }
    }
}

fn on_commit(config: &Config, metrics: &Metrics, health: &Health, commit: &Committed<'_>) {
    metrics.stages.commit.observe(commit.took.as_secs_f64());
    if config.delivery.guarantee == Guarantee::ExactlyOnce {
        metrics.transactions.committed.inc();
    }
    match commit.saved {
        Some(Ok(bytes)) => {
            metrics.state_bytes.set(bytes as i64);
            health.set_state_age(Duration::ZERO);
        }
        Some(Err(reason)) => health.record_error(format!("the state could not be saved: {reason}")),
        None => {}
    }
    let now_ms = jiff::Timestamp::now().as_millisecond();
    for timestamp_ms in commit.timestamps_ms {
        metrics.latency_seconds.observe((now_ms - timestamp_ms).max(0) as f64 / 1e3);
    }
}

fn count_rebalances(membership: &Membership, metrics: &Metrics) {
    // Both count from the process's start.
    metrics.rebalances.inc_by(membership.lease().rebalances() - metrics.rebalances.get());
}

/// Waits for a thread, which may wait for a broker; a panic in it is an error here.
fn join<T>(
    name: &str,
    handle: std::io::Result<thread::ScopedJoinHandle<'_, T>>,
    health: &Health,
) -> Result<T, RunError> {
    let handle =
        handle.map_err(|error| RunError::Thread(format!("the {name} thread could not start: {error}")))?;
    while !handle.is_finished() {
        health.beat();
        thread::sleep(Duration::from_millis(5));
    }
    handle.join().map_err(|_| RunError::Thread(format!("the {name} thread panicked; please report this")))
}

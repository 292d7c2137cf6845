//! `tailwater run`: the operator on Kafka.
//!
//! ```text
//! reader thread ──chunks──► this thread: operator, encoding ──messages──► publisher thread
//!   polls, decodes             order, score, learn                          sends, commits offsets
//! ```
//! The channels are bounded: when the publisher waits for a broker its inbox fills, then the operator waits, the
//! backlog fills, and the reader pauses partitions while it goes on polling.
//!
//! A process leads or stands by (`kafka::membership`). A term of leadership starts from the committed offsets
//! and ends by a signal, by losing the lease, or by an error; in each case what was scored is handed in first, as
//! far as brokers allow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    config::Config,
    density,
    http::{Health, Role},
    kafka::{
        self,
        backlog::Backlog,
        client,
        membership::Membership,
        preflight::{self, Fault},
        publisher::{self, Commit, PublishError, Publisher},
        reader::{MAX_CHUNKS, ReadError, Reader},
    },
    metrics::Metrics,
    operator::Operator,
    score::arrow::EncodeError,
};

mod compute;
mod monitor;
mod outputs;
pub mod spec;

use compute::Compute;
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
    /// Whether it is a broker's absence at the start of a term, which passes: no reason to end a process that ran.
    fn passes(&self) -> bool {
        match self {
            Self::Preflight(faults) => faults.iter().all(|fault| matches!(fault, Fault::Unreachable { .. })),
            Self::Read(ReadError::Start(error)) => !kafka::is_final(error),
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
    preflight::inspect(config).map_err(RunError::Preflight)?;
    let membership = Membership::join(config)
        .map_err(|error| RunError::Join(client::creation_error(&config.kafka, &error)))?;
    while !shutdown.has_begun() {
        health.set_role(Role::Standby);
        tracing::info!(group = config.kafka.group, topic = config.state.topic, "standing by");
        while !membership.lease().is_held() && !shutdown.has_begun() {
            membership.poll(STANDBY_POLL).map_err(ReadError::Group)?;
            count_rebalances(&membership, metrics);
            health.beat();
        }
        if membership.lease().is_held() && !shutdown.has_begun() {
            // Topics may have changed while it stood by.
            let term = preflight::inspect(config).map_err(RunError::Preflight).and_then(|layout| {
                let partitions = &layout.input_partitions;
                tracing::info!(group = config.kafka.group, ?partitions, "leading");
                lead(config, &membership, partitions, metrics, health, shutdown)
            });
            match term {
                Err(error) if error.passes() => {
                    tracing::warn!(%error, "the term of leadership could not begin; trying again");
                    health.record_error(error);
                    membership.poll(RETRY).map_err(ReadError::Group)?;
                }
                result => result?,
            }
        }
    }
    Ok(())
}

/// One term of leadership.
fn lead(
    config: &Config,
    membership: &Membership,
    partitions: &[i32],
    metrics: &Metrics,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    let lease = membership.lease();
    let backlog = Arc::new(Backlog::new(partitions.len()));
    let reader = Reader::start(config, membership, partitions, backlog.clone())?;
    let observed = reader.observed();
    let publisher = Publisher::new(config)?;
    metrics.set_partitions(partitions);
    health.set_role(Role::Leading);

    let density = density::build(&config.model, config.target.fields.len());
    let operator = Operator::new(config, density.clone(), reader.positions().clone());
    let (chunk_sender, chunks) = mpsc::sync_channel(MAX_CHUNKS);
    let (outbox, inbox) = publisher::channel();
    let outputs = Outputs::new(config, density.as_ref(), outbox, health)?;
    // The operator's thread may have nothing to send for long, and would not notice that the publisher is gone.
    let is_published = AtomicBool::new(true);
    let ends = || shutdown.has_begun() || !lease.is_held() || !is_published.load(Ordering::Relaxed);
    lease.begin();
    let result = thread::scope(|scope| {
        let reading = thread::Builder::new().name("reader".into()).spawn_scoped(scope, || {
            let mut last = Instant::now();
            let result = reader.run(&chunk_sender, membership, ends, |num_paused| {
                let elapsed = last.elapsed();
                last = Instant::now();
                if num_paused > 0 {
                    metrics.paused_seconds.inc_by(elapsed.as_secs_f64());
                }
                count_rebalances(membership, metrics);
            });
            // Closed with the thread, so that the operator's thread notices.
            drop(chunk_sender);
            result
        });
        let publishing = thread::Builder::new().name("publisher".into()).spawn_scoped(scope, || {
            let result = publisher.run(&inbox, membership, |commit, took| on_commit(metrics, commit, took));
            is_published.store(false, Ordering::Relaxed);
            drop(inbox); // wakes the operator's thread where it waits for room
            result
        });
        let mut compute = Compute::new(config, operator, outputs, &backlog, &observed, metrics, health);
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
            if lease.is_held() {
                return Err(RunError::Publish(error));
            }
            tracing::warn!(%error, "leadership was lost before everything was handed in");
            Ok(())
        })?;
        read??;
        computed
    });
    lease.hand_in();
    metrics.set_partitions(&[]);
    result
}

fn on_commit(metrics: &Metrics, commit: &Commit, took: Duration) {
    metrics.stages.commit.observe(took.as_secs_f64());
    let now_ms = jiff::Timestamp::now().as_millisecond();
    for timestamp_ms in &commit.timestamps_ms {
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

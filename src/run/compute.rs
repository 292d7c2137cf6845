//! The operator's thread: inputs in, actions out, and the clock that the operator does not have.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use super::{
    RunError,
    monitor::Monitor,
    outputs::{OutputError, Outputs},
};
use crate::{
    config::Config,
    http::Health,
    kafka::{backlog::Backlog, client::Observed, reader::Chunk},
    metrics::Metrics,
    operator::{Action, Operator},
};

/// The longest wait for input: the heartbeat goes on, and an end is noticed that late at most.
const MAX_WAIT: Duration = Duration::from_millis(50);
/// How many records are taken between looks at the clock.
const RECORDS_PER_LOOK: usize = 64;

/// Drives the operator.
pub struct Compute<'a> {
    operator: Operator,
    outputs: Outputs<'a>,
    backlog: &'a Backlog,
    monitor: Monitor<'a>,
    observed: &'a Observed,
    health: &'a Health,
    commit_every: Duration,
    next_commit: Instant,
    actions: Vec<Action>,
}

impl<'a> Compute<'a> {
    /// A driver for this operator.
    pub fn new(
        config: &Config,
        operator: Operator,
        outputs: Outputs<'a>,
        backlog: &'a Backlog,
        observed: &'a Observed,
        metrics: &'a Metrics,
        health: &'a Health,
    ) -> Self {
        Self {
            operator,
            outputs,
            backlog,
            monitor: Monitor::new(config, metrics, observed),
            observed,
            health,
            commit_every: config.delivery.commit,
            next_commit: Instant::now() + config.delivery.commit,
            actions: Vec::new(),
        }
    }

    /// Runs until the chunks end or `ends` says so; then hands in what it has.
    pub fn run(&mut self, chunks: &Receiver<Chunk>, ends: &impl Fn() -> bool) -> Result<(), RunError> {
        match self.run_until(chunks, ends).and_then(|()| self.outputs.commit(self.operator.positions())) {
            // The publisher's own error says why it is gone.
            Ok(()) | Err(OutputError::Closed) => Ok(()),
            Err(OutputError::Encode(error)) => Err(error.into()),
        }
    }

    fn run_until(&mut self, chunks: &Receiver<Chunk>, ends: &impl Fn() -> bool) -> Result<(), OutputError> {
        while !ends() {
            self.health.beat();
            match chunks.recv_timeout(self.wait()) {
                Ok(chunk) => {
                    self.monitor.decoded(&chunk);
                    for input in chunk.inputs {
                        self.operator.push(input);
                    }
                    self.take_all(ends)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let begun = Instant::now();
            self.keep_time()?;
            self.monitor.put_out(begun.elapsed().saturating_sub(self.outputs.take_waited()));
            self.monitor.refresh(&self.operator);
            if let Some(error) = self.observed.take_last_error() {
                self.health.record_error(error);
            }
        }
        Ok(())
    }

    /// How long to wait for input before something is due.
    fn wait(&self) -> Duration {
        let due = self.outputs.next_close().map_or(self.next_commit, |close| close.min(self.next_commit));
        due.saturating_duration_since(Instant::now()).min(MAX_WAIT)
    }

    /// Takes every record that can be taken, unless the end comes.
    fn take_all(&mut self, ends: &impl Fn() -> bool) -> Result<(), OutputError> {
        let mut taken = 0;
        let mut begun = Instant::now();
        while let Some(partition) = self.operator.take(&mut self.actions) {
            self.backlog.remove(partition, 1);
            let operated = Instant::now();
            self.monitor.operated(&self.actions, operated - begun);
            for action in &self.actions {
                self.outputs.put(action)?;
            }
            self.actions.clear();
            taken += 1;
            if taken % RECORDS_PER_LOOK == 0 {
                self.health.beat();
                self.keep_time()?;
                if ends() {
                    break;
                }
            }
            begun = Instant::now();
            self.monitor.put_out((begun - operated).saturating_sub(self.outputs.take_waited()));
        }
        Ok(())
    }

    /// Does what is due by the clock.
    fn keep_time(&mut self) -> Result<(), OutputError> {
        let now = Instant::now();
        self.outputs.close_old(now)?;
        if now >= self.next_commit {
            self.outputs.commit(self.operator.positions())?;
            self.next_commit = now + self.commit_every;
        }
        Ok(())
    }
}

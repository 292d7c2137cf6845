//! The operator's thread: inputs in, actions out, and the clock that the operator does not have.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use super::{
    RunError,
    intake::Intake,
    monitor::Monitor,
    outputs::{OutputError, Outputs},
};
use crate::{
    config::Config,
    crash,
    http::{Drift, Health, ModelFacts, Restoring, Role},
    kafka::{backlog::Backlog, client::Observed, publisher::Commit, reader::Chunk},
    metrics::Metrics,
    operator::{Action, Operator, RECORDS_AT_ONCE, Taken},
    state::recovery::SavedUntil,
    watch::{Watch, drift::Detector, e_process::ALARM},
};

/// The longest wait for input: the heartbeat goes on, and an end is noticed that late at most.
const MAX_WAIT: Duration = Duration::from_millis(50);
/// How many records are taken between looks at the clock. Their scores are worked out together.
const RECORDS_PER_LOOK: usize = RECORDS_AT_ONCE;
/// How often it is logged how far a restore is.
const LOG_INTERVAL: Duration = Duration::from_secs(2);

/// When partitions take turns at every record, this many runs are written down until the state is saved, however young
/// the last snapshot is: every commit repeats them, at three bytes each.
const MAX_RUNS: usize = 40_000;

/// Drives the operator.
pub struct Compute<'a> {
    operator: Operator,
    outputs: Outputs<'a>,
    intake: Intake<'a>,
    monitor: Monitor<'a>,
    observed: &'a Observed,
    metrics: &'a Metrics,
    health: &'a Health,
    commit_every: Duration,
    next_commit: Instant,
    save_every: Duration,
    next_save: Instant,
    /// A place has moved since the state was last saved, or it was never saved.
    is_unsaved: bool,
    /// There is [no snapshot](SavedUntil::Never) yet: the first commit has to bring it.
    owes_snapshot: bool,
    /// The publisher sets it when a snapshot could not be kept.
    was_lost: Arc<AtomicBool>,
    /// What was taken since then, in runs of one partition.
    num_runs: usize,
    /// `Some` until the operator goes on by itself.
    restore: Option<Restore>,
    actions: Vec<Action>,
    /// So many of them are of records that were taken as a whole.
    num_whole: usize,
}

/// A restore under way.
struct Restore {
    begun: Instant,
    next_log: Instant,
    records: u64,
    /// How many records are to be read again, at most.
    of: u64,
}

/// What a term begins with.
pub struct Start {
    /// When the restore began: reading the state is part of it.
    pub begun: Instant,
    /// How many records the operator reads again before it has caught up, at most.
    pub num_replayed: u64,
    /// How far its snapshots go.
    pub saved_until: SavedUntil,
    /// Set when a snapshot could not be kept.
    pub was_lost: Arc<AtomicBool>,
}

impl<'a> Compute<'a> {
    /// A driver for this operator.
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own, and it is made in one place")]
    pub fn new(
        config: &Config,
        operator: Operator,
        start: &Start,
        outputs: Outputs<'a>,
        backlog: &'a Backlog,
        observed: &'a Observed,
        metrics: &'a Metrics,
        health: &'a Health,
    ) -> Self {
        let now = Instant::now();
        let is_saved = start.saved_until == SavedUntil::Here;
        Self {
            operator,
            outputs,
            intake: Intake::new(config, backlog),
            monitor: Monitor::new(config, metrics, observed),
            observed,
            metrics,
            health,
            commit_every: config.delivery.commit,
            next_commit: now + config.delivery.commit,
            save_every: config.state.interval,
            next_save: if is_saved { now + config.state.interval } else { now },
            is_unsaved: !is_saved,
            owes_snapshot: start.saved_until == SavedUntil::Never,
            was_lost: start.was_lost.clone(),
            num_runs: 0,
            restore: Some(Restore { begun: start.begun, next_log: now, records: 0, of: start.num_replayed }),
            actions: Vec::new(),
            num_whole: 0,
        }
    }

    /// Runs until the chunks end or `ends` says so; then hands in what it has, and saves the state.
    pub fn run(&mut self, chunks: &Receiver<Chunk>, ends: &impl Fn() -> bool) -> Result<(), RunError> {
        match self.run_until(chunks, ends).and_then(|()| self.commit(true)) {
            // The publisher's own error says why it is gone.
            Ok(()) | Err(OutputError::Closed) => Ok(()),
            Err(OutputError::Encode(error)) => Err(error.into()),
        }
    }

    fn run_until(&mut self, chunks: &Receiver<Chunk>, ends: &impl Fn() -> bool) -> Result<(), OutputError> {
        self.take_all(ends)?; // there may be nothing to catch up with
        while !ends() {
            self.health.beat();
            match chunks.recv_timeout(self.wait()) {
                Ok(chunk) => {
                    self.monitor.turn(self.intake.take_spent());
                    self.intake.add(chunk, &mut self.operator);
                    self.take_all(ends)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let begun = Instant::now();
            self.keep_time()?;
            self.monitor.put_out(begun.elapsed().saturating_sub(self.outputs.take_waited()));
            if self.restore.is_none()
                && let Some(recent) = self.monitor.refresh(&self.operator)
            {
                self.health.set_model(facts(&self.operator));
                self.health.set_recent(Some(recent));
            }
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
        let mut num_taken = 0;
        let mut begun = Instant::now();
        loop {
            let before = self.actions.len();
            let Some(taken) = self.take() else { break };
            let now = Instant::now();
            if !taken.is_replayed {
                let has_learned =
                    self.actions[before..].iter().any(|action| matches!(action, Action::Learned { .. }));
                self.monitor.took(now - begun, has_learned);
            }
            begun = if self.intake.took(taken, &mut self.operator) { Instant::now() } else { now };
            if taken.is_whole {
                if taken.is_replayed {
                    // It was published before.
                    self.actions.truncate(self.num_whole);
                    self.replayed();
                }
                self.num_whole = self.actions.len();
                num_taken += 1;
                if num_taken % RECORDS_PER_LOOK != 0 {
                    continue;
                }
            }
            if !taken.is_whole && !taken.is_replayed {
                // Part by part: of several targets each takes a millisecond.
                self.operator.complete(&self.actions[before..]);
            }
            // What came before may be committed; what a record that is taken in part has led to so far is put out with the rest.
            self.put_out()?;
            self.health.beat();
            self.keep_time()?;
            if ends() {
                break;
            }
            begun = Instant::now();
        }
        self.put_out()?;
        if self.restore.is_none() && self.owes_snapshot {
            // At once: what a new life of the model publishes first can be recomputed from there, like all that follows.
            self.commit(false)?;
        }
        Ok(())
    }

    /// Puts out what whole records have led to.
    fn put_out(&mut self) -> Result<(), OutputError> {
        if self.num_whole == 0 {
            return Ok(());
        }
        let begun = Instant::now();
        let actions = &self.actions[..self.num_whole];
        self.operator.complete(actions);
        let completed = Instant::now();
        self.monitor.took(completed - begun, false);
        self.monitor.operated(actions);
        for action in actions {
            self.outputs.put(action)?;
        }
        self.actions.drain(..self.num_whole);
        self.num_whole = 0;
        self.monitor.put_out(completed.elapsed().saturating_sub(self.outputs.take_waited()));
        Ok(())
    }

    /// Takes the next record; where the operator has caught up, says so before it takes more.
    fn take(&mut self) -> Option<Taken> {
        if self.restore.is_some() {
            if let Some(taken) = self.operator.catch_up(&mut self.actions) {
                return Some(taken);
            }
            if self.operator.is_restoring() {
                return None;
            }
            self.end_restore();
        }
        self.operator.take_next(&mut self.actions)
    }

    fn replayed(&mut self) {
        let Some(restore) = &mut self.restore else { return };
        restore.records += 1;
        crash::point("mid_restore");
    }

    /// The operator has caught up: from here on it scores.
    fn end_restore(&mut self) {
        let Some(restore) = self.restore.take() else { return };
        crash::point("after_restore");
        let took = restore.begun.elapsed();
        self.metrics.restore_seconds.set(took.as_secs_f64());
        self.health.set_restoring(None);
        self.health.set_role(Role::Leading);
        let (epoch, updates) = (self.operator.epoch(), self.operator.model().updates());
        self.health.set_model(facts(&self.operator));
        tracing::info!(epoch, updates, records = restore.records, ?took, "restored: scoring begins");
    }

    /// Does what is due by the clock.
    fn keep_time(&mut self) -> Result<(), OutputError> {
        let now = Instant::now();
        if let Some(restore) = &mut self.restore {
            if now >= restore.next_log {
                restore.next_log = now + LOG_INTERVAL;
                let (records, of) = (restore.records, restore.of);
                self.health.set_restoring(Some(Restoring { records, of }));
                let seconds = restore.begun.elapsed().as_secs_f64();
                let records_per_second = (records as f64 / seconds.max(1e-3)).round();
                tracing::info!(records, of, records_per_second, "restoring: reading input again");
            }
            return Ok(());
        }
        self.outputs.close_old(now)?;
        // What one commit says must fit a message, however seldom commits are.
        if now >= self.next_commit || self.operator.num_runs() > MAX_RUNS {
            self.commit(false)?;
            self.next_commit = now + self.commit_every;
        }
        Ok(())
    }

    /// Commits what was put out since the last commit, with the state where it is due or this is the last time.
    fn commit(&mut self, is_last: bool) -> Result<(), OutputError> {
        if self.restore.is_some() {
            return Ok(()); // nothing was done yet that was not done before
        }
        let now = Instant::now();
        // With a record or past what is none.
        let has_moved = self.operator.num_runs() > 0;
        self.is_unsaved |= self.was_lost.swap(false, Ordering::Relaxed) | has_moved;
        let saves = self.is_unsaved
            && !self.operator.is_amid()
            && (is_last || now >= self.next_save || self.num_runs > MAX_RUNS);
        let is_idle = !self.outputs.is_uncommitted() && !has_moved && !saves;
        if is_idle || (self.owes_snapshot && !saves) {
            return Ok(());
        }
        let order = self.operator.take_order();
        self.num_runs += order.num_runs();
        let snapshot = saves.then(|| self.operator.saved());
        if saves {
            self.next_save = now + self.save_every;
            (self.is_unsaved, self.owes_snapshot, self.num_runs) = (false, false, 0);
        }
        let positions = self.operator.positions().clone();
        self.outputs.commit(|timestamps_ms| Commit { positions, order, snapshot, timestamps_ms })
    }
}

/// What `/status` tells of the model.
fn facts(operator: &Operator) -> ModelFacts {
    let watch = operator.watch();
    let drift = |detector: &Detector| Drift {
        detections: detector.detections(),
        last: detector
            .last_us()
            .and_then(|us| jiff::Timestamp::from_microsecond(us).ok())
            .map(|time| time.to_string()),
    };
    let is_wrong = |(name, e_value): (&str, f64)| (e_value >= ALARM).then(|| name.to_owned());
    ModelFacts {
        epoch: operator.epoch(),
        updates: operator.model().updates(),
        miscalibrated: watch.e_values().filter_map(is_wrong).collect(),
        drift: Watch::SIGNALS.into_iter().zip(watch.drift().map(drift)).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell;

    use super::*;
    use crate::{
        kafka::publisher::{self, Publish},
        operator::{Input, place::Position},
        record::{Cell, Event, Known, Record, Target},
        run::spec,
    };

    fn event(offset: i64, known_us: i64) -> Input {
        Input::Record(Record::from(Event {
            partition: 0,
            offset,
            row: 0,
            last: true,
            timestamp_ms: Some(offset),
            time_us: offset,
            key: None,
            features: [Cell::Number(0.0)].into(),
            carry: [].into(),
            thresholds: [].into(),
            segment: None,
            target: Some(Target { values: [0.0].into(), known: Known::At(known_us) }),
        }))
    }

    /// Lets a record be taken of which a commit comes due amid, and a term end after that many looks; gives the first commit, and what was not
    /// put out.
    fn take_amid(saved_until: SavedUntil, num_looks: usize) -> (publisher::Commit, Vec<Action>) {
        let config = r#"
            [kafka]
            brokers = "localhost:9092"
            group = "g"
            [input]
            topic = "in"
            [output]
            topic = "out"
            [target]
            fields = ["y"]
            wait = "1h"
            [features]
            x = "number"
        "#;
        let sets = ["delivery.commit=1ms".to_owned()];
        let config = Config::from_parts(config, "test.toml", &sets, std::iter::empty()).unwrap();
        let mut operator = Operator::new(&config, [(0, Position::at(0))].into());
        // So many targets come due with the next event that it is not taken at once.
        let num_held = 200;
        let mut actions = Vec::new();
        for offset in 0..num_held {
            operator.push(event(offset, 1000));
            while operator.take_next(&mut actions).is_some() {} // their figures are not worked out
        }
        operator.push(event(2000, 3000));

        let (metrics, health) = (Metrics::new(&spec::metrics(&config)), Health::new());
        let (backlog, observed) = (Backlog::of_bytes(1), Observed::default());
        let (outbox, inbox) = publisher::channel();
        let outputs = Outputs::new(&config, outbox, &health).unwrap();
        let start = Start { begun: Instant::now(), num_replayed: 0, saved_until, was_lost: Arc::default() };
        let mut compute =
            Compute::new(&config, operator, &start, outputs, &backlog, &observed, &metrics, &health);
        std::thread::sleep(Duration::from_millis(2)); // a commit is due all the time
        compute.restore = None;
        let looks = cell::Cell::new(0);
        let ends = || looks.replace(looks.get() + 1) >= num_looks;
        compute.take_all(&ends).unwrap();
        compute.commit(true).unwrap();
        let rest = std::mem::take(&mut compute.actions);
        drop(compute);
        let mut commits = inbox.try_iter().filter_map(|publish| match publish {
            Publish::Commit(commit) => Some(commit),
            Publish::Message(_) | Publish::Batch { .. } => None,
        });
        (*commits.next().unwrap(), rest)
    }

    /// The first commit, which comes due amid a record.
    fn first_commit(saved_until: SavedUntil) -> publisher::Commit {
        take_amid(saved_until, usize::MAX).0
    }

    #[test]
    fn what_a_record_leads_to_is_worked_out_part_by_part() {
        let (_, rest) = take_amid(SavedUntil::Here, 1);
        let outcomes = rest.iter().filter_map(|action| match action {
            Action::Outcome(outcome) => Some(&outcome.score),
            _ => None,
        });
        assert!(outcomes.clone().count() > 50 && outcomes.clone().count() < 200);
        assert!(outcomes.clone().all(|score| !score.figures.is_due()));
    }

    #[test]
    fn the_first_commit_brings_a_snapshot_though_it_is_due_amid_a_record() {
        let first = first_commit(SavedUntil::Never);
        let saved = first.snapshot.expect("the first commit has no snapshot");
        assert_eq!(saved.positions, first.positions);
    }

    #[test]
    fn where_a_snapshot_leads_here_commits_go_on_amid_a_record() {
        for saved_until in [SavedUntil::Earlier, SavedUntil::Here] {
            let first = first_commit(saved_until);
            assert!(first.snapshot.is_none(), "{saved_until:?}");
            assert_eq!(first.positions[&0].offset, 200, "{saved_until:?}: the record before");
        }
    }
}

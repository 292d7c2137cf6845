//! One model of a replay: it decodes what was read, and its operator takes it as a live one would.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Options, ReplayError, Span, source::Piece};
use crate::{
    config::Config,
    kafka::backlog::Backlog,
    operator::{Action, Input, Operator, RECORDS_AT_ONCE, place::Position},
    record::{Decoder, Record, RejectReason},
    score::Scored,
    state::{
        About, Snapshot,
        recovery::{self, Initial, InputFacts, PartitionFacts},
        topic::Unusable,
    },
};

/// How long one wait for a record's time lasts at most: an end is noticed that late.
const MAX_SLEEP: Duration = Duration::from_millis(50);

/// A record that an operator has taken.
#[derive(Debug)]
pub enum Taken {
    /// It was scored.
    Scored(Scored),
    /// It was not: it could not be used, or its time is out of the range.
    Passed {
        /// The partition.
        partition: i32,
        /// Its place there.
        at: Position,
    },
}

/// What a lane has done.
#[derive(Debug, Clone)]
pub struct Done {
    /// What it has learned, and where it stands.
    pub snapshot: Snapshot,
    /// Records taken.
    pub records: u64,
    /// Rejected ones, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Features that no event had.
    pub never_seen: Vec<String>,
    /// How many records held a target.
    pub num_targets: u64,
    /// It was interrupted while records waited for their time.
    pub is_cut: bool,
}

/// One model.
pub struct Lane<'a> {
    config: &'a Config,
    /// Which records are taken, by their event times.
    span: Span,
    decoder: Decoder,
    operator: Operator,
    backlog: &'a Backlog,
    keep_on: &'a (dyn Fn() -> bool + Sync),
    pace: Option<Pace>,
    records: u64,
    rejected: BTreeMap<&'static str, u64>,
    num_targets: u64,
    is_cut: bool,
}

/// Keeps a lane from running ahead of the time that its records tell.
struct Pace {
    /// Seconds of event time to a second.
    speed: f64,
    begun: Instant,
    first_us: Option<i64>,
}

impl Pace {
    /// How long to wait for an event's time.
    fn until(&mut self, time_us: i64) -> Duration {
        let first_us = *self.first_us.get_or_insert(time_us);
        let due_s = (time_us - first_us).max(0) as f64 * 1e-6 / self.speed;
        Duration::try_from_secs_f64(due_s)
            .map_or(Duration::MAX, |due| due.saturating_sub(self.begun.elapsed()))
    }
}

impl<'a> Lane<'a> {
    /// A lane that begins at these places as a group without a saved state would: with a new model, or with that of `initial`.
    ///
    /// # Errors
    /// When that does not fit the config.
    pub fn new(
        config: &'a Config,
        options: &Options,
        span: Span,
        initial: Option<&Initial>,
        starts: &BTreeMap<i32, i64>,
        backlog: &'a Backlog,
        keep_on: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Self, ReplayError> {
        let facts =
            |&offset: &i64| PartitionFacts { committed: None, available: offset..offset, start: offset };
        let input: InputFacts =
            starts.iter().map(|(&partition, offset)| (partition, facts(offset))).collect();
        let no_snapshot = |_| Err(Unusable::Missing);
        let initial = || Ok(initial.cloned());
        let beginning = recovery::begin(config, Ok(None), no_snapshot, None, &initial, &input)
            .map_err(ReplayError::Mismatch)?;
        let mut operator = beginning.operator;
        operator.learn_until(options.learn_until_us.unwrap_or(i64::MAX));
        let pace = options.speed.map(|speed| Pace { speed, begun: Instant::now(), first_us: None });
        Ok(Self {
            config,
            span,
            decoder: Decoder::new(config),
            operator,
            backlog,
            keep_on,
            pace,
            records: 0,
            rejected: BTreeMap::new(),
            num_targets: 0,
            is_cut: false,
        })
    }

    /// Takes all pieces; what was taken goes to `out`, where somebody listens.
    ///
    /// # Errors
    /// When a piece can't be decoded.
    pub fn run(
        mut self,
        pieces: &Receiver<Arc<Piece>>,
        out: Option<&SyncSender<Vec<Taken>>>,
    ) -> Result<Done, ReplayError> {
        let mut records = Vec::new();
        while let Ok(piece) = pieces.recv() {
            piece.decode(&mut self.decoder, &mut records).map_err(ReplayError::Undecodable)?;
            let mut taken = Vec::new();
            for record in records.drain(..) {
                let (partition, at) = (record.partition(), record.position());
                if matches!(&record, Record::Event(event) if !self.span.contains(event.time_us)) {
                    taken.push(Taken::Passed { partition, at });
                    continue;
                }
                if !self.wait_for(&record, &mut taken, out) {
                    break;
                }
                self.backlog.add(partition, 1);
                self.operator.push(Input::Record(record));
            }
            if let (Piece::Ended { partition, until }, false) = (&*piece, self.is_cut) {
                self.operator.push(Input::ReadUntil { partition: *partition, offset: *until });
                self.operator.push(Input::Ended(*partition));
            }
            if !self.hand_on(&mut taken, out) || self.is_cut {
                break; // who listened says why it does not any more
            }
        }
        Ok(self.done())
    }

    /// Waits for an event's time, where it is to go no faster; `false` where it was interrupted before that has come. A reject has none.
    fn wait_for(
        &mut self,
        record: &Record,
        taken: &mut Vec<Taken>,
        out: Option<&SyncSender<Vec<Taken>>>,
    ) -> bool {
        let (Record::Event(event), Some(_)) = (record, &self.pace) else { return true };
        // What came before it is not to wait with it.
        self.hand_on(taken, out);
        let Some(pace) = &mut self.pace else { return true };
        while (self.keep_on)() {
            let wait = pace.until(event.time_us);
            if wait.is_zero() {
                return true;
            }
            thread::sleep(wait.min(MAX_SLEEP));
        }
        self.is_cut = true;
        false
    }

    /// Takes what can be taken and hands it on; `false` where nobody listens.
    fn hand_on(&mut self, taken: &mut Vec<Taken>, out: Option<&SyncSender<Vec<Taken>>>) -> bool {
        self.take_all(taken);
        drop(self.operator.take_order()); // nobody writes it down
        let taken = std::mem::take(taken);
        out.is_none_or(|out| taken.is_empty() || out.send(taken).is_ok())
    }

    fn take_all(&mut self, taken: &mut Vec<Taken>) {
        let mut actions = Vec::new();
        let mut goes_on = true;
        while goes_on {
            for _ in 0..RECORDS_AT_ONCE {
                let Some(one) = self.operator.take_next(&mut actions) else {
                    goes_on = false;
                    break;
                };
                if one.is_whole {
                    self.backlog.remove(one.partition, 1);
                    self.records += 1;
                }
            }
            self.operator.complete(&actions);
            for action in actions.drain(..) {
                match action {
                    Action::Score(scored) => {
                        self.num_targets += u64::from(scored.event.target.is_some());
                        taken.push(Taken::Scored(scored));
                    }
                    Action::Reject(reject) => {
                        *self.rejected.entry(RejectReason::label(reject.reason)).or_default() += 1;
                        taken.push(Taken::Passed { partition: reject.partition, at: reject.position() });
                    }
                    // Whoever judges knows the target by itself: no need to wait for it.
                    Action::Outcome(_) | Action::Learned { .. } | Action::Expired => {}
                }
            }
        }
    }

    fn done(self) -> Done {
        let counts = &self.operator.census().missing;
        let saved = self.operator.saved();
        let is_never_seen = |missing: u64| saved.counts.scored > 0 && missing >= saved.counts.scored;
        let features = self.config.features.iter().zip(counts);
        let never_seen =
            features.filter(|(_, missing)| is_never_seen(**missing)).map(|(feature, _)| feature.name.clone());
        let never_seen = never_seen.collect();
        let about = About::new(self.config, 1, jiff::Timestamp::now().as_millisecond());
        Done {
            snapshot: Snapshot { about, operator: saved },
            records: self.records,
            rejected: self.rejected,
            never_seen,
            num_targets: self.num_targets,
            is_cut: self.is_cut,
        }
    }
}

//! The operator: a pure core that turns records into scores and learns from them. Records go in, actions come
//! out; no I/O, no clock, no threads.
//!
//! # Order of things at each event
//! 1. Stream time advances to the event's time, if that is later.
//! 2. Targets whose time stream time has *passed* become known, in the order of their times; each closes its
//!    event with an outcome and joins the unfinished mini-batch. A full mini-batch is one SGD step.
//! 3. The event is scored, by a model that has thus learned only from targets that were known before it.
//! 4. A target that comes known with the event closes it at once; any other is held back.
//!
//! During the warm-up labelled events are collected; the last of them sets the normalisers, and they are then
//! learned from in mini-batches like any others.
//!
//! # Saving and restoring
//! Between any two records [`Operator::saved`] is all that the rest depends on. A restored operator first catches up
//! (`restore`): what it takes until then was published before, and its actions are not to be done again.

use std::{
    iter,
    sync::{Arc, OnceLock},
};

use smallvec::SmallVec;

use crate::{
    config::{Config, FeatureKind},
    density::Densities,
    model::{
        FIRST_EPOCH, Model,
        learner::{Step, Taken as StepTaken},
        saved::{Labelled, Misfit},
    },
    record::{Cell, Event, Known, Record, Reject},
    score::{
        Late, Outcome, Published, Realized, Score, Scored, Status,
        figures::{Evaluated, Figures},
    },
    watch::Watch,
};

pub mod ledger;
pub mod order;
pub mod place;
pub mod restore;
pub mod saved;
pub mod waiting;

use order::{Order, Queues};
use place::{Position, Positions};
use restore::{Next, PublishedScores, Restoring};
use saved::{Counts, SavedOperator, WaitingEntry};
use waiting::{Due, Held, Waiting};

#[cfg(test)]
pub(crate) mod tests;

/// Everything that can happen to the operator.
#[derive(Debug)]
pub enum Input {
    /// A record was read.
    Record(Record),
    /// A partition was read to its end.
    Ended(i32),
    /// A partition has not answered for long, and is not to be waited for.
    Silent(i32),
    /// A partition was read up to this offset: what follows its last record are a transaction's markers, or records that
    /// were taken back.
    ReadUntil {
        /// The partition.
        partition: i32,
        /// The next offset to read.
        offset: i64,
    },
}

impl Input {
    /// The partition that it is about.
    #[must_use]
    pub fn partition(&self) -> i32 {
        match self {
            Self::Record(record) => record.partition(),
            Self::Ended(partition) | Self::Silent(partition) | Self::ReadUntil { partition, .. } => {
                *partition
            }
        }
    }
}

/// A record was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The partition that it came from.
    pub partition: i32,
    /// It was taken before, by the operator that was saved: what comes of it was published then.
    pub is_replayed: bool,
    /// All is done about it. If not, more targets came due with it than are released at once: the next call goes on with it,
    /// and the operator stands before it until then.
    pub is_whole: bool,
}

impl Taken {
    /// It was done with before.
    const fn dropped(partition: i32) -> Self {
        Self { partition, is_replayed: true, is_whole: true }
    }
}

/// So many targets are released at once: of several targets each takes a millisecond, and whoever drives the operator has
/// other things to see to.
const RELEASED_AT_ONCE: usize = 64;

/// So many records are worth taking before their scores are [completed](Operator::complete): two blocks of rows.
pub const RECORDS_AT_ONCE: usize = 64;

/// What the operator wants done, in this order.
#[derive(Debug, Clone)]
pub enum Action {
    /// Publish a score.
    Score(Scored),
    /// Publish an outcome.
    Outcome(Outcome),
    /// Publish a rejected record.
    Reject(Box<Reject>),
    /// A mini-batch was learned from (or skipped): nothing to publish, only to count.
    Learned {
        /// What became of it.
        step: Step,
        /// Its size; 0 of a further step.
        records: usize,
    },
    /// An event's target did not come in time: nothing to publish, only to count.
    Expired,
}

/// The operator.
pub struct Operator {
    model: Model,
    figures: Figures,
    queues: Queues,
    waiting: Waiting,
    stream_time_us: i64,
    /// How long an event waits for its target, µs.
    wait_us: i64,
    learning: Learning,
    /// Targets that become known at this time or later are not learned from, µs since 1970.
    learn_until_us: i64,
    batch_rows: usize,
    /// Labelled events that are not learned from yet: the warm-up's, then the unfinished mini-batch.
    labelled: Vec<Arc<Event>>,
    positions: Positions,
    /// What was taken since `take_order` was asked before.
    order: Order,
    epoch: u32,
    counts: Counts,
    watch: Watch,
    census: Census,
    /// The event that is being taken, and whether it is replayed.
    current: Option<(Arc<Event>, bool)>,
    /// `Some` while a restored operator catches up.
    restoring: Option<Restoring>,
    /// The model, and its epoch, that takes over when the operator has caught up.
    successor: Option<(Model, u32)>,
}

/// Whether and when labelled events are learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Learning {
    Off,
    On { warmup_rows: usize },
}

/// Counts of inputs that were not what they could have been, one entry a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// Null or absent.
    pub missing: Vec<u64>,
    /// Categories that the vocabulary does not know.
    pub unknown: Vec<u64>,
}

impl Operator {
    /// An operator that knows nothing, for input partitions that are read from these positions.
    #[must_use]
    pub fn new(config: &Config, positions: Positions) -> Self {
        let warmup_rows = config.learn.warmup;
        Self {
            figures: Figures::new(config, Densities::new(config).published()),
            model: Model::new(config),
            queues: Queues::new(positions.keys().copied()),
            waiting: Waiting::default(),
            stream_time_us: i64::MIN,
            wait_us: i64::try_from(config.target.wait.as_micros()).unwrap_or(i64::MAX),
            learning: if config.learn.enabled { Learning::On { warmup_rows } } else { Learning::Off },
            learn_until_us: i64::MAX,
            batch_rows: config.learn.batch,
            labelled: Vec::new(),
            positions,
            order: Order::default(),
            epoch: FIRST_EPOCH,
            counts: Counts::default(),
            watch: Watch::new(config),
            census: Census::new(config.features.len()),
            current: None,
            restoring: None,
            successor: None,
        }
    }

    /// An operator that goes on where one was saved, after it has caught up along `order` (what was taken since).
    /// `added` are the starts of input partitions that came later. Input is to be read from
    /// [`SavedOperator::read_from`], after the scores of what waits were given with
    /// [`set_published`](Self::set_published).
    ///
    /// # Errors
    /// When what was saved does not fit the config.
    pub fn restore(
        config: &Config,
        saved: SavedOperator,
        added: Positions,
        order: &Order,
    ) -> Result<Self, Misfit> {
        saved.check(config.features.len(), config.target.fields.len())?;
        let SavedOperator { epoch, positions: cut, stream_time_us, model, labelled, waiting, counts, watch } =
            saved;
        let mut positions = added;
        positions.extend(cut.iter().map(|(&partition, &position)| (partition, position)));
        let mut operator = Self::new(config, positions);
        operator.model.restore(model)?;
        operator.watch.restore(watch);
        operator.epoch = epoch;
        operator.stream_time_us = stream_time_us;
        operator.labelled = labelled.into_iter().map(Labelled::into_event).collect();
        operator.counts = counts;
        operator.restoring = Some(Restoring::new(cut, waiting, order));
        Ok(operator)
    }

    /// Takes the scores that were published for the events which waited when it was saved; one without gets an outcome
    /// without figures.
    pub fn set_published(&mut self, scores: PublishedScores) {
        if let Some(restoring) = &mut self.restoring {
            restoring.set_scores(scores);
        }
    }

    /// Learns from no target that becomes known at this time or later, µs since 1970.
    pub fn learn_until(&mut self, until_us: i64) {
        self.learn_until_us = until_us;
    }

    /// Counts another life of the model.
    pub fn set_epoch(&mut self, epoch: u32) {
        self.epoch = epoch;
    }

    /// Goes on with another model of the same config, in a new life. An operator that catches up does so with its own
    /// model first, since that is how it was done before. What waits, and the unfinished mini-batch, stay.
    pub fn adopt(&mut self, model: Model, epoch: u32) {
        if self.restoring.is_some() {
            self.successor = Some((model, epoch));
        } else {
            (self.model, self.epoch) = (model, epoch);
            self.counts = Counts::default();
            self.watch.begin_anew();
            self.waiting.call_off_bets();
        }
    }

    /// Everything that its next action depends on and that can't be read again.
    ///
    /// # Panics
    /// While it catches up, since a part of its state is still to be read; and [amid](Self::is_amid) a record.
    #[must_use]
    pub fn saved(&self) -> SavedOperator {
        assert!(self.restoring.is_none(), "an operator is saved when it has caught up");
        assert!(!self.is_amid(), "an operator is saved between records");
        SavedOperator {
            epoch: self.epoch,
            positions: self.positions.clone(),
            stream_time_us: self.stream_time_us,
            model: self.model.saved(),
            labelled: self.labelled.iter().map(|event| Labelled::of(event)).collect(),
            waiting: self.waiting.saved(),
            counts: self.counts,
            watch: self.watch.saved(),
        }
    }

    /// Whether it still catches up with what it did before it was saved.
    #[must_use]
    pub fn is_restoring(&self) -> bool {
        self.restoring.is_some()
    }

    /// Whether a record is taken in part.
    #[must_use]
    pub fn is_amid(&self) -> bool {
        self.current.is_some()
    }

    /// The order in which records were taken since this was asked before.
    pub fn take_order(&mut self) -> Order {
        std::mem::take(&mut self.order)
    }

    /// How many runs that order has by now.
    #[must_use]
    pub fn num_runs(&self) -> usize {
        self.order.num_runs()
    }

    /// What was done in this life of the model.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was watched of the outcomes in this life of the model.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Which life of the model this is.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How many events wait for their targets.
    #[must_use]
    pub fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next offset of each partition: all before it were taken.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Stream time, µs since 1970: the highest event time taken; `None` before the first event.
    #[must_use]
    pub fn stream_time_us(&self) -> Option<i64> {
        (self.stream_time_us > i64::MIN).then_some(self.stream_time_us)
    }

    /// What was missing or unknown among the features so far.
    #[must_use]
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// Takes note of what happened.
    pub fn push(&mut self, input: Input) {
        match input {
            Input::Record(record) => self.queues.push(record),
            Input::Ended(partition) => self.queues.set_ended(partition),
            Input::Silent(partition) => self.queues.set_silent(partition),
            Input::ReadUntil { partition, offset } => self.queues.set_read_until(partition, offset),
        }
    }

    /// Whether a record of the partition was read and not yet taken.
    #[must_use]
    pub fn has_record(&self, partition: i32) -> bool {
        self.queues.head(partition).is_some()
    }

    /// Takes the next record, if it is certain which one that is, and adds what is to be done about it to
    /// `actions`. While the operator catches up, that was done before.
    pub fn take(&mut self, actions: &mut Vec<Action>) -> Option<Taken> {
        let before = actions.len();
        let taken = self.take_next(actions);
        self.complete(&actions[before..]);
        taken
    }

    /// The same, but for the figures, of which many at once cost less: before anything is done about the actions they have to be
    /// [completed](Self::complete).
    pub fn take_next(&mut self, actions: &mut Vec<Action>) -> Option<Taken> {
        if let Some(taken) = self.catch_up(actions).or_else(|| self.go_on(actions)) {
            return Some(taken);
        }
        if self.is_restoring() {
            return None;
        }
        // A message that was half taken is read again from its first row. What was taken of it must not decide the order
        // either.
        for (&partition, &next) in &self.positions {
            if self.queues.head(partition).is_some_and(|head| head.position() < next) {
                self.queues.take_from(partition);
                return Some(Taken::dropped(partition));
            }
        }
        let Some(record) = self.queues.take() else {
            self.pass_what_is_no_record();
            return None;
        };
        Some(self.on_record(record, false, actions))
    }

    /// Takes the next record of those that were taken before, while the operator catches up; `None` where more has to be read
    /// first, and once it has caught up.
    pub fn catch_up(&mut self, actions: &mut Vec<Action>) -> Option<Taken> {
        if self.is_restoring()
            && let Some(taken) = self.go_on(actions)
        {
            return Some(taken);
        }
        while let Some(restoring) = &mut self.restoring {
            match restoring.next(&mut self.queues, &self.positions) {
                Next::Drop(partition) => return Some(Taken::dropped(partition)),
                Next::Take(record) => return Some(self.on_record(record, true, actions)),
                Next::Hold(waiting) => self.hold_again(waiting),
                Next::Wait => return None,
                Next::Done(reached) => {
                    self.restoring = None;
                    // Further than the last record, where what came after it was none, or is lost to compaction.
                    for (partition, until) in reached {
                        let position = self.positions.entry(partition).or_insert(until);
                        *position = (*position).max(until);
                    }
                    // It is written down already, and what was missing was counted.
                    self.order = Order::default();
                    self.census = Census::new(self.census.missing.len());
                    self.watch.count_anew();
                    if let Some((model, epoch)) = self.successor.take() {
                        self.adopt(model, epoch);
                    }
                }
            }
        }
        None
    }

    /// Works out the figures of all scores among these actions, in blocks: what [`take_next`](Self::take_next) has left to do. No figure
    /// depends on what it is worked out with.
    pub fn complete(&mut self, actions: &[Action]) {
        self.complete_scores(actions.iter().filter_map(|action| match action {
            Action::Score(Scored { event, score }) => Some((event, score)),
            _ => None,
        }));
        // An outcome's score is one of those, or was worked out long ago, but where the operator has been restored since.
        self.complete_scores(actions.iter().filter_map(|action| match action {
            Action::Outcome(Outcome { event, score, .. }) => Some((event, score)),
            _ => None,
        }));
    }

    fn complete_scores<'a>(&mut self, scores: impl Iterator<Item = (&'a Arc<Event>, &'a Arc<Score>)>) {
        let due: SmallVec<[_; 1]> = scores.filter(|(_, score)| score.figures.is_due()).collect();
        if due.is_empty() {
            return;
        }
        let rows: SmallVec<[_; 1]> = due.iter().map(|(event, score)| score.query(event)).collect();
        for ((_, score), Evaluated { figures, realized }) in due.iter().zip(self.figures.evaluate(&rows)) {
            score.figures.set(figures);
            if let Some(realized) = realized {
                let _known = score.held_back.set(realized);
            }
        }
    }

    /// Goes on with the event that is being taken.
    fn go_on(&mut self, actions: &mut Vec<Action>) -> Option<Taken> {
        let (event, is_replayed) = self.current.take()?;
        Some(self.on_event(event, is_replayed, actions))
    }

    /// Where nothing is left to take, the place moves past what is no record: a group would lag behind for ever, and
    /// what retention removes there would seem to be records that were lost.
    fn pass_what_is_no_record(&mut self) {
        for (partition, offset) in self.queues.emptied() {
            let next = Position::at(offset);
            if self.positions.get(&partition).is_some_and(|&at| at < next) {
                self.positions.insert(partition, next);
                self.order.push(partition, next);
            }
        }
    }

    fn on_record(&mut self, record: Record, is_replayed: bool, actions: &mut Vec<Action>) -> Taken {
        match record {
            Record::Reject(reject) => {
                let (partition, next) = (reject.partition, reject.position().after(reject.last));
                self.counts.rejected += 1;
                actions.push(Action::Reject(reject));
                self.stand_at(partition, next);
                Taken { partition, is_replayed, is_whole: true }
            }
            Record::Event(event) => self.on_event(event, is_replayed, actions),
        }
    }

    fn stand_at(&mut self, partition: i32, next: Position) {
        self.positions.insert(partition, next);
        self.order.push(partition, next);
    }

    /// Lets events wait that waited when the operator was saved, in the same order.
    fn hold_again(&mut self, waiting: Vec<(WaitingEntry, Option<Arc<Event>>)>) {
        let mut num_lost = 0;
        for (entry, event) in waiting {
            let (due, due_us) = match (entry, event) {
                (WaitingEntry::Known { partition, at, due_us, is_bet_on }, Some(event))
                    if event.target.is_some() =>
                {
                    let published = self.restoring.as_mut().and_then(|r| r.take_score(partition, at));
                    (Due::Known(self.held_again(event, published, is_bet_on), due_us), due_us)
                }
                (WaitingEntry::Known { due_us, is_bet_on, .. }, _) => {
                    num_lost += 1;
                    if is_bet_on {
                        self.watch.give_up(self.stream_time_us);
                    }
                    (Due::Expired, due_us)
                }
                (WaitingEntry::Expired { due_us }, _) => (Due::Expired, due_us),
            };
            self.waiting.hold(due, due_us).expect("no more wait than waited before");
        }
        if num_lost > 0 {
            tracing::warn!(
                events = num_lost,
                "events that waited for their targets are no longer in the input: their targets are given up; keep \
                 input.topic for longer than target.wait"
            );
        }
    }

    /// An event with the score that was published for it; without one its outcome will have no figures.
    ///
    /// Its figures are computed again when its target comes: a million at once would keep the heart from beating.
    fn held_again(&self, event: Arc<Event>, published: Option<Published>, is_bet_on: bool) -> Held {
        let fits = |published: &Published| {
            let Published { epoch, params, .. } = published;
            let is_sized = params.is_empty() || params.len() == self.model.num_params();
            // What is bet on was scored in this life of the model; with another model bets are called off.
            let is_of_its_life = if is_bet_on { *epoch == self.epoch } else { *epoch <= self.epoch };
            // Whatever else may have been written to the topic, this is not this group's distribution.
            is_of_its_life && is_sized && params.iter().all(|param| param.is_finite())
        };
        let published = published.filter(fits);
        let published =
            published.unwrap_or(Published { epoch: self.epoch, updates: 0, params: Box::default() });
        let Published { epoch, updates, params } = published;
        let score = Score {
            epoch,
            updates,
            status: if self.model.is_of_net(&params) { Status::Ok } else { Status::Warmup },
            figures: Late::default(),
            realized: self.unknown(),
            held_back: OnceLock::new(),
            params,
        };
        Held { event, score: Arc::new(score), is_bet_on }
    }

    /// Releases what is due before the event, some of it at least, and then scores it.
    fn on_event(&mut self, event: Arc<Event>, is_replayed: bool, actions: &mut Vec<Action>) -> Taken {
        let partition = event.partition;
        self.stream_time_us = self.stream_time_us.max(event.time_us);
        for _ in 0..RELEASED_AT_ONCE {
            match self.waiting.release(self.stream_time_us) {
                Some(Due::Known(held, known_us)) => self.on_target(&held, Some(known_us), actions),
                Some(Due::Expired) => self.expire(actions),
                None => {
                    self.stand_at(partition, event.position().after(event.last));
                    self.score(event, actions);
                    return Taken { partition, is_replayed, is_whole: true };
                }
            }
        }
        self.current = Some((event, is_replayed));
        Taken { partition, is_replayed, is_whole: false }
    }

    fn score(&mut self, event: Arc<Event>, actions: &mut Vec<Action>) {
        self.counts.scored += 1;
        let params = self.model.distribution(&event);
        self.census.see(&event, self.model.unknown_features());
        let known = event.target.as_ref().map(|target| target.known);
        let known_now = match known {
            Some(Known::WithEvent) => true,
            Some(Known::At(at_us)) => at_us < self.stream_time_us,
            None => false,
        };
        let score = Arc::new(Score {
            epoch: self.epoch,
            updates: self.model.updates(),
            status: if self.model.is_of_net(&params) { Status::Ok } else { Status::Warmup },
            figures: Late::default(),
            realized: if known_now { self.figures.realize(&params, &event) } else { self.unknown() },
            held_back: OnceLock::new(),
            params,
        });
        let mut held = Held { event, score, is_bet_on: false };
        if self.model.dim() > 1 {
            // Of several targets nothing is saved by many at once, and the points of this row are there.
            self.complete_scores(iter::once((&held.event, &held.score)));
        }
        actions.push(Action::Score(Scored { event: held.event.clone(), score: held.score.clone() }));
        match known {
            _ if known_now => {
                held.is_bet_on = self.model.is_ready() && self.watch.admit();
                self.on_target(&held, None, actions);
            }
            Some(Known::At(at_us)) => self.hold(held, at_us, actions),
            _ => {}
        }
    }

    /// Lets an event wait until its target is known, or for as long as `target.wait` allows.
    fn hold(&mut self, mut held: Held, known_us: i64, actions: &mut Vec<Action>) {
        let deadline_us = held.event.time_us.saturating_add(self.wait_us);
        let is_in_time = known_us <= deadline_us;
        held.is_bet_on = is_in_time && !self.waiting.is_full() && self.model.is_ready() && self.watch.admit();
        let held = if is_in_time {
            self.waiting.hold(Due::Known(held, known_us), known_us)
        } else {
            self.waiting.hold(Due::Expired, deadline_us)
        };
        if held.is_err() {
            self.expire(actions);
        }
    }

    fn expire(&mut self, actions: &mut Vec<Action>) {
        self.counts.expired += 1;
        actions.push(Action::Expired);
    }

    /// A target is known: its event gets its outcome, unless the score itself said it, and is learned from.
    fn on_target(&mut self, held: &Held, known_us: Option<i64>, actions: &mut Vec<Action>) {
        let Held { event, score, is_bet_on } = held;
        if *is_bet_on {
            self.complete_scores(iter::once((event, score)));
        }
        // What another model scored says nothing of this one.
        let is_own = score.epoch == self.epoch;
        let realized = match known_us {
            Some(_) => score.held_back.get_or_init(|| self.figures.realize(&score.params, event)),
            None => &score.realized,
        };
        if known_us.is_some() && self.model.dim() > 1 {
            self.complete_scores(iter::once((event, score)));
        }
        if is_own {
            self.watch.see(*is_bet_on, score, realized, &event.thresholds, self.stream_time_us);
        }
        if let Some(target_time_us) = known_us {
            let (event, score) = (event.clone(), score.clone());
            actions.push(Action::Outcome(Outcome { event, score, target_time_us }));
        }
        let Learning::On { warmup_rows } = self.learning else { return };
        let is_known_at = match event.target.as_ref().map(|target| target.known) {
            Some(Known::At(us)) => us,
            _ => event.time_us,
        };
        if is_known_at >= self.learn_until_us {
            return;
        }
        let judged = realized.log_scores_of_parts.filter(|_| is_own);
        let judged = judged.map(|log_scores| (&*score.params, log_scores));
        self.model.judge(event, judged);
        self.labelled.push(event.clone());
        if self.model.is_ready() {
            self.learn_all(actions);
        } else if self.labelled.len() >= warmup_rows {
            self.model.fit(&self.labelled);
            self.learn_all(actions);
        }
    }

    /// Learns from every mini-batch that is full.
    fn learn_all(&mut self, actions: &mut Vec<Action>) {
        while self.labelled.len() >= self.batch_rows {
            self.learn(self.batch_rows, actions);
        }
    }

    /// Learns from the first `records` labelled events.
    fn learn(&mut self, records: usize, actions: &mut Vec<Action>) {
        let batch: Vec<Arc<Event>> = self.labelled.drain(..records).collect();
        for (nth, step) in self.model.learn(&batch).into_iter().enumerate() {
            // Later steps are on records that were learned from.
            let records = if nth == 0 { records } else { 0 };
            match step.taken {
                _ if nth > 0 => {}
                StepTaken::Skipped(_) => self.counts.skipped += 1,
                StepTaken::Whole | StepTaken::Clipped => {
                    self.counts.learned += records as u64;
                    self.counts.loss_nats = Some(step.loss_nats);
                }
            }
            actions.push(Action::Learned { step, records });
        }
    }

    /// Of a target that is not known when its event is scored.
    fn unknown(&self) -> Realized {
        Realized::unknown(self.model.dim())
    }
}

impl Census {
    fn new(num_features: usize) -> Self {
        Self { missing: vec![0; num_features], unknown: vec![0; num_features] }
    }

    fn see(&mut self, event: &Event, unknown: impl Iterator<Item = usize>) {
        for (missing, cell) in self.missing.iter_mut().zip(&event.features) {
            *missing += u64::from(matches!(cell, Cell::Null));
        }
        unknown.for_each(|index| self.unknown[index] += 1);
    }
}

/// The indices of the features that have a vocabulary.
#[must_use]
pub fn category_features(config: &Config) -> Vec<usize> {
    let features = config.features.iter().enumerate();
    features.filter(|(_, f)| matches!(f.kind, FeatureKind::Category { .. })).map(|(i, _)| i).collect()
}

impl Record {
    /// The input partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        match self {
            Self::Event(event) => event.partition,
            Self::Reject(reject) => reject.partition,
        }
    }

    /// Where it stands in its partition.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Event(event) => event.position(),
            Self::Reject(reject) => reject.position(),
        }
    }
}

impl Reject {
    /// Where it stands in its partition.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { offset: self.offset, row: self.row }
    }
}

impl Event {
    /// Where it stands in its partition.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { offset: self.offset, row: self.row }
    }
}

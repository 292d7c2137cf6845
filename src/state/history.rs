//! What a group did, told from what it has left behind: how a row that was published can be recomputed, or why not. As with a
//! term's beginning, it is decided purely.
//!
//! The records of the state topic are gone through in their order, as far as compaction has left them ([`History`]). The
//! first progress record past a row holds the order in which all was taken up to it, from either of two snapshots on, and
//! one that was cut before the row leads to it ([`Lead`]). [`Lead::follow`] gives an operator that goes there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use super::{
    Named, Progress, SealError,
    recovery::{self, told},
    snapshot::{About, Snapshot},
    store::Store,
    topic::{PROGRESS_KEY, StateTopic, Unusable},
};
use crate::{
    config::{Change, Config, Difference},
    operator::{
        Operator,
        ledger::Ledger,
        order::Order,
        place::{Position, Positions},
    },
    record::{Event, Record},
};

/// A row that is asked for: the place of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The input partition.
    pub partition: i32,
    /// The place there.
    pub at: Position,
    /// The life of the model that is said to have published it.
    pub epoch: Option<u32>,
}

/// Why a row can't be recomputed. Trying again can't help, but where a row is still to come.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unprovable {
    /// The input does not go so far.
    #[error("partition {partition} of '{topic}' ends at offset {ends}: there is no such record yet")]
    NotThere {
        /// The input topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Its end.
        ends: i64,
    },
    /// Retention has removed input that is needed.
    #[error(
        "retention has removed input that is needed: partition {partition} of '{topic}' begins at offset {begins}, and is \
         needed from {needed} on"
    )]
    Removed {
        /// The input topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Its first offset.
        begins: i64,
        /// The first offset that is needed.
        needed: i64,
    },
    /// The place holds no record.
    #[error(
        "that offset holds no record: it is a transaction's marker, a record that was taken back, or one that \
         compaction has removed"
    )]
    NoRecord,
    /// The message does not hold so many rows.
    #[error("that message holds {num_rows} rows, counted from 0")]
    NoRow {
        /// How many it holds.
        num_rows: usize,
    },
    /// The record was not scored but rejected.
    #[error("that record is rejected, not scored: {reason}")]
    Rejected {
        /// Why.
        reason: String,
    },
    /// The state is another group's.
    #[error("the state topic holds the state of group '{found}'")]
    Foreign {
        /// Whose it is.
        found: String,
    },
    /// The progress record can't be read.
    #[error("the progress record can't be used: {0}")]
    Progress(#[from] SealError),
    /// The group has no state.
    #[error("the state topic holds no progress record of the group: it has not scored anything yet")]
    NoState,
    /// The group has not come so far.
    #[error("it is not scored yet: the group's next record of partition {partition} is offset {next}")]
    NotTaken {
        /// The partition.
        partition: i32,
        /// The group's place there.
        next: i64,
    },
    /// No row was published.
    #[error(
        "no row was published for it, or '{topic}' no longer holds it: the group may have begun after it, or the topic is kept \
         for too short"
    )]
    Unpublished {
        /// The output topic.
        topic: String,
    },
    /// Nothing leads there.
    #[error("no snapshot from before it is left{}: {}", listed(.problems), from(*.since))]
    NoSnapshot {
        /// The place from which on rows of the partition can be recomputed; `None`: no snapshot is left that leads to any.
        since: Option<Position>,
        /// What is wrong with those that would lead there.
        problems: Vec<String>,
    },
    /// The config is another one.
    #[error("the config is not that of the model which scored it; set what was set then: {}", told(.0))]
    Config(Vec<Difference>),
    /// The snapshot can't be restored.
    #[error("the snapshot does not fit: {0}")]
    Misfit(String),
    /// Scores that learning goes by are gone.
    #[error(
        "{num_missing} published scores are needed and no longer in '{topic}': of events that waited for their targets when \
         the snapshot was cut. Keep it for longer than target.wait"
    )]
    Scores {
        /// The output topic.
        topic: String,
        /// How many.
        num_missing: usize,
    },
    /// The written order does not come by the place.
    #[error("the written order goes past it without taking it: the input is no longer what it was")]
    Passed,
}

fn listed(problems: &[String]) -> String {
    if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) }
}

fn from(since: Option<Position>) -> String {
    match since {
        Some(Position { offset, row: 0 }) => {
            format!("rows of this partition can be verified from offset {offset} on")
        }
        Some(Position { offset, row }) => {
            format!("rows of this partition can be verified from offset {offset}, row {row} on")
        }
        None => "none is left that leads to any row".to_owned(),
    }
}

/// The record at a place of the input, where it is an event: of the message that stands there these are the records, with its
/// offset; `None`: none stands there or comes after it.
///
/// # Errors
/// Why it has no score.
pub fn event_at(
    config: &Config,
    wanted: Wanted,
    available: &Range<i64>,
    message: Option<(i64, &[Record])>,
) -> Result<Arc<Event>, Unprovable> {
    let Wanted { partition, at, .. } = wanted;
    let topic = config.input.topic.clone();
    if at.offset >= available.end {
        return Err(Unprovable::NotThere { topic, partition, ends: available.end });
    }
    if at.offset < available.start {
        return Err(Unprovable::Removed { topic, partition, begins: available.start, needed: at.offset });
    }
    let Some((_, records)) = message.filter(|(offset, _)| *offset == at.offset) else {
        return Err(Unprovable::NoRecord);
    };
    match records.iter().find(|record| record.position() == at) {
        Some(Record::Event(event)) => Ok(event.clone()),
        Some(Record::Reject(reject)) => {
            Err(Unprovable::Rejected { reason: format!("{}: {}", reject.reason.label(), reject.detail) })
        }
        None => Err(Unprovable::NoRow { num_rows: records.len() }),
    }
}

/// What leads to a row.
#[derive(Debug, Clone)]
pub struct Lead {
    /// The newest snapshot that was cut before it.
    pub snapshot: Snapshot,
    /// Where the group stood after it.
    pub positions: Positions,
    /// What was taken from the snapshot up to there.
    pub order: Order,
}

/// Looks for what leads to a row.
pub struct History<'a> {
    config: &'a Config,
    wanted: Wanted,
    /// As it stood when the last record was written.
    state: StateTopic,
    lead: Option<Lead>,
    /// The first place that a snapshot leads to which was cut after the row.
    since: Option<Position>,
    /// The snapshots that were looked at last.
    seen: Vec<Named>,
    /// A progress record past the row was there.
    is_taken: bool,
    /// What is wrong with snapshots, in the order in which they were looked at.
    problems: Vec<(u64, Unusable)>,
}

impl<'a> History<'a> {
    /// A look for a row in the past of the config's group.
    #[must_use]
    pub fn new(config: &'a Config, wanted: Wanted) -> Self {
        Self {
            config,
            wanted,
            state: StateTopic::default(),
            lead: None,
            since: None,
            seen: Vec::new(),
            is_taken: false,
            problems: Vec::new(),
        }
    }

    /// Takes a record of the state topic, newer than all before it; whether no more are needed.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        self.state.put(key, value);
        if key == PROGRESS_KEY.as_bytes()
            && let Ok(Some(progress)) = self.state.progress()
            && progress.group == self.config.kafka.group
        {
            self.look_at(&progress);
        }
        let is_it = |lead: &Lead| Some(lead.snapshot.operator.epoch) == self.wanted.epoch;
        self.lead.as_ref().is_some_and(is_it)
    }

    fn look_at(&mut self, progress: &Progress) {
        let Wanted { partition, at, .. } = self.wanted;
        if progress.positions.get(&partition).is_none_or(|&reached| reached <= at) {
            return;
        }
        self.is_taken = true;
        // In each life of the model the first that leads there is the nearest; the last life counts, if none is named.
        let is_known = self.lead.as_ref().is_some_and(|lead| lead.snapshot.operator.epoch == progress.epoch);
        if is_known || self.seen == progress.snapshots {
            return;
        }
        self.seen.clone_from(&progress.snapshots);
        let mut since = None;
        for (nth, &named) in progress.snapshots.iter().enumerate() {
            let Some(snapshot) = self.open(named) else { continue };
            // One from before the partition was there leads to all of it.
            let cut = snapshot.operator.positions.get(&partition).copied().unwrap_or(Position::at(0));
            if cut <= at {
                let (positions, order) = (progress.positions.clone(), progress.order_since(nth));
                self.lead = Some(Lead { snapshot, positions, order });
                return;
            }
            since = Some(cut);
        }
        self.since = self.since.or(since);
    }

    fn open(&mut self, named: Named) -> Option<Snapshot> {
        match Store::new(self.config, &self.state).open(named) {
            Ok((snapshot, _)) => Some(snapshot),
            Err(problem) => {
                let problem = (named.generation, problem);
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
                None
            }
        }
    }

    /// What leads to the row.
    ///
    /// # Errors
    /// Why nothing does.
    pub fn finish(self) -> Result<Lead, Unprovable> {
        if let Some(lead) = self.lead {
            return Ok(lead);
        }
        let Some(progress) = self.state.progress()? else { return Err(Unprovable::NoState) };
        if progress.group != self.config.kafka.group {
            return Err(Unprovable::Foreign { found: progress.group });
        }
        if !self.is_taken {
            let partition = self.wanted.partition;
            let next = progress.positions.get(&partition).map_or(0, |next| next.offset);
            return Err(Unprovable::NotTaken { partition, next });
        }
        // The first two are those that the first record past the row names.
        let problems = self.problems.iter().take(2);
        let problems =
            problems.map(|(generation, problem)| format!("number {generation}: {problem}")).collect();
        Err(Unprovable::NoSnapshot { since: self.since, problems })
    }
}

/// How a row is recomputed.
pub struct Course {
    /// The operator, which is to be given the published scores, and then the input.
    pub operator: Operator,
    /// The account of what it learns.
    pub ledger: Ledger,
    /// The place from which each partition is to be read that is needed at all.
    pub read_from: Positions,
    /// The events that waited, whose published scores are needed: by partition their places.
    pub waiting: BTreeMap<i32, Vec<Position>>,
    /// About the snapshot.
    pub about: About,
    /// Where it was cut.
    pub cut: Positions,
    /// How the config differs from that which the snapshot was saved with.
    pub changes: Vec<Difference>,
}

impl Lead {
    /// How the row is recomputed, in whose account the last `num_kept` records learned from are named. `available` are the
    /// offsets that the input has.
    ///
    /// # Errors
    /// Why it can't be.
    pub fn follow(
        self,
        config: &Config,
        available: &BTreeMap<i32, Range<i64>>,
        num_kept: usize,
    ) -> Result<Course, Unprovable> {
        let Self { snapshot: Snapshot { about, operator: saved }, positions, order } = self;
        let (new_model, changes): (Vec<_>, Vec<_>) = config
            .differences(&about.config)
            .into_iter()
            .partition(|difference| difference.change == Change::NewModel);
        if !new_model.is_empty() {
            return Err(Unprovable::Config(new_model));
        }
        let is_added = |partition: &&i32| !saved.positions.contains_key(partition);
        // A partition that came since was read from its beginning.
        let added: Positions =
            positions.keys().filter(is_added).map(|&partition| (partition, Position::at(0))).collect();
        let waiting = recovery::waiting(&saved);
        let runs = order.runs().iter().map(|run| run.partition);
        let needed: BTreeSet<i32> = runs.chain(waiting.keys().copied()).collect();
        let mut read_from = saved.read_from();
        read_from.extend(&added);
        read_from.retain(|partition, _| needed.contains(partition));
        for (&partition, from) in &read_from {
            let topic = config.input.topic.clone();
            let Range { start: begins, end: ends } = available.get(&partition).cloned().unwrap_or_default();
            if from.offset < begins {
                return Err(Unprovable::Removed { topic, partition, begins, needed: from.offset });
            }
            if positions.get(&partition).is_some_and(|position| position.offset > ends) {
                return Err(Unprovable::Passed);
            }
        }
        let (ledger, cut) = (Ledger::new(&saved, num_kept), saved.positions.clone());
        let operator = Operator::restore(config, saved, added, &order)
            .map_err(|misfit| Unprovable::Misfit(misfit.to_string()))?;
        Ok(Course { operator, ledger, read_from, waiting, about, cut, changes })
    }
}

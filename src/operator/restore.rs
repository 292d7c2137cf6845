//! Where a restored operator catches up: it reads again what its snapshot refers to, and takes what was taken after
//! the snapshot in the order that is written down, until it stands where the last commit stood.
//!
//! 1. *Gathering*: records before the snapshot's cut are read again. Those that wait for their targets come back with
//!    the scores that were published for them; the others were done with and are dropped.
//! 2. *Following*: the records after the cut are taken run by run, scored and learned from like any others. What
//!    comes of it was published before.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::{
    order::{Order, Queues, Run},
    place::{Position, Positions},
    saved::WaitingEntry,
};
use crate::{
    record::{Event, Record},
    score::Published,
};

/// The scores that were published for events which still wait, by the places of the events.
pub type PublishedScores = HashMap<(i32, Position), Published>;

/// What is still to be done before a restored operator goes on by itself.
#[derive(Debug)]
pub struct Restoring {
    /// The next row to take at the snapshot's cut.
    cut: Positions,
    /// What waited at the cut, in the order in which it came; an event once it was read again.
    waiting: Vec<(WaitingEntry, Option<Arc<Event>>)>,
    /// Where in `waiting` an event is that was not read yet.
    missing: HashMap<(i32, Position), usize>,
    /// How many of them each partition still has.
    num_missing: BTreeMap<i32, usize>,
    is_gathering: bool,
    scores: PublishedScores,
    runs: VecDeque<Run>,
    /// Where the last run of each partition ends.
    reached: Positions,
}

/// What a restored operator does next.
#[derive(Debug)]
pub enum Next {
    /// Drop this record, which was done with before the cut, or which now waits again.
    Drop(i32),
    /// Let these wait again.
    Hold(Vec<(WaitingEntry, Option<Arc<Event>>)>),
    /// Take this record like any other; its results were published before.
    Take(Record),
    /// More has to be read first.
    Wait,
    /// It has caught up, and stands here.
    Done(Positions),
}

impl Restoring {
    /// Restores to the end of `order` from a snapshot cut at `cut`.
    #[must_use]
    pub fn new(cut: Positions, waiting: Vec<WaitingEntry>, order: &Order) -> Self {
        let mut missing = HashMap::new();
        let mut num_missing: BTreeMap<i32, usize> = BTreeMap::new();
        for (index, entry) in waiting.iter().enumerate() {
            if let WaitingEntry::Known { partition, at, .. } = *entry {
                missing.insert((partition, at), index);
                *num_missing.entry(partition).or_default() += 1;
            }
        }
        Self {
            cut,
            waiting: waiting.into_iter().map(|entry| (entry, None)).collect(),
            missing,
            num_missing,
            is_gathering: true,
            scores: PublishedScores::new(),
            runs: order.runs().iter().copied().collect(),
            reached: order.runs().iter().map(|run| (run.partition, run.until)).collect(),
        }
    }

    /// Takes the scores that were published for what waits.
    pub fn set_scores(&mut self, scores: PublishedScores) {
        self.scores = scores;
    }

    /// Takes the score that was published for the event at a place.
    pub fn take_score(&mut self, partition: i32, at: Position) -> Option<Published> {
        self.scores.remove(&(partition, at))
    }

    /// Decides what is next, given what was read and which rows were taken already.
    pub fn next(&mut self, queues: &mut Queues, positions: &Positions) -> Next {
        if self.is_gathering { self.gather(queues) } else { self.follow(queues, positions) }
    }

    fn gather(&mut self, queues: &mut Queues) -> Next {
        for (&partition, &cut) in &self.cut {
            if let Some(head) = queues.head(partition)
                && head.position() < cut
                && let Some(record) = queues.take_from(partition)
            {
                self.recall(record);
                return Next::Drop(partition);
            }
        }
        // A partition that was read to its cut, or that has no more, holds nothing more from before it.
        let is_read = |partition: &i32| queues.head(*partition).is_some() || queues.has_ended(*partition);
        if self.num_missing.iter().any(|(partition, &missing)| missing > 0 && !is_read(partition)) {
            return Next::Wait;
        }
        self.is_gathering = false;
        self.missing = HashMap::new();
        Next::Hold(std::mem::take(&mut self.waiting))
    }

    /// An event that waits for its target is kept, anything else was done with.
    fn recall(&mut self, record: Record) {
        let Some(index) = self.missing.remove(&(record.partition(), record.position())) else { return };
        if let Some(missing) = self.num_missing.get_mut(&record.partition()) {
            *missing -= 1;
        }
        if let Record::Event(event) = record {
            self.waiting[index].1 = Some(event);
        }
    }

    fn follow(&mut self, queues: &mut Queues, positions: &Positions) -> Next {
        while let Some(&Run { partition, until }) = self.runs.front() {
            if positions.get(&partition).is_some_and(|&at| at >= until) {
                self.runs.pop_front();
                continue;
            }
            match queues.head(partition).map(Record::position) {
                // Records before the cut that nobody waits for.
                Some(at) if self.cut.get(&partition).is_some_and(|&cut| at < cut) => {
                    queues.take_from(partition);
                    return Next::Drop(partition);
                }
                Some(at) if at < until => {
                    return queues.take_from(partition).map_or(Next::Wait, Next::Take);
                }
                // What the run took last is gone, since a compacted topic forgets, or was no record.
                Some(_) => self.runs.pop_front(),
                None if queues.has_ended(partition) => self.runs.pop_front(),
                None => return Next::Wait,
            };
        }
        Next::Done(std::mem::take(&mut self.reached))
    }
}

//! What a snapshot keeps of the operator: everything that its next score depends on and that can't be read again.

use serde::{Deserialize, Serialize};

use super::{
    place::{Position, Positions},
    waiting::MAX_WAITING,
};
use crate::{
    model::saved::{Labelled, Misfit, SavedModel},
    watch::SavedWatch,
};

/// An operator between two records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedOperator {
    /// Which life of the model this is.
    pub epoch: u32,
    /// The next row to take of each input partition.
    pub positions: Positions,
    /// The highest event time taken, µs since 1970; `i64::MIN` before the first event.
    pub stream_time_us: i64,
    /// The model.
    pub model: SavedModel,
    /// The warm-up's records, or the unfinished mini-batch, in the order in which their targets became known.
    pub labelled: Vec<Labelled>,
    /// What waits for a target, in the order in which it came. The events themselves are read again.
    pub waiting: Vec<WaitingEntry>,
    /// What was done so far.
    pub counts: Counts,
    /// What was watched of the outcomes.
    pub watch: SavedWatch,
}

/// Something that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitingEntry {
    /// An event whose target is known at `due_us`, µs since 1970.
    Known {
        /// Its input partition.
        partition: i32,
        /// Its place there.
        at: Position,
        /// When its target is known.
        due_us: i64,
        /// Its outcome is bet on.
        is_bet_on: bool,
    },
    /// An event that is given up at `due_us`: its target comes later than it may wait.
    Expired {
        /// When it is given up.
        due_us: i64,
    },
}

/// What was done since the model's life began.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Events scored.
    pub scored: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Labelled records learned from.
    pub learned: u64,
    /// Events whose target did not come in time.
    pub expired: u64,
    /// Mini-batches that moved no weight.
    pub skipped: u64,
    /// Loss of the last mini-batch, nats of the target's own unit; `None` before the first.
    pub loss_nats: Option<f64>,
}

impl SavedOperator {
    /// The first row that has to be read again of each partition: the oldest that still waits, or the next to take.
    #[must_use]
    pub fn read_from(&self) -> Positions {
        let mut from = self.positions.clone();
        for entry in &self.waiting {
            if let WaitingEntry::Known { partition, at, .. } = entry
                && let Some(first) = from.get_mut(partition)
            {
                *first = (*first).min(*at);
            }
        }
        from
    }

    /// Checks what the model alone can't know.
    pub(super) fn check(&self, num_features: usize, dim: usize) -> Result<(), Misfit> {
        let mut labelled = self.labelled.iter().chain(&self.model.recent);
        if !labelled.all(|labelled| labelled.fits(num_features, dim)) {
            return Err(Misfit::new("a labelled record has other features or targets than the config"));
        }
        if self.waiting.len() > MAX_WAITING {
            return Err(Misfit::new("more events wait than may"));
        }
        let is_bet_on = |entry: &&WaitingEntry| matches!(entry, WaitingEntry::Known { is_bet_on: true, .. });
        let num_bet_on = self.waiting.iter().filter(is_bet_on).count() as u64;
        self.watch.check(num_bet_on)?;
        let is_known = |entry: &WaitingEntry| match entry {
            WaitingEntry::Known { partition, at, .. } => {
                self.positions.get(partition).is_some_and(|next| at < next)
            }
            WaitingEntry::Expired { .. } => true,
        };
        if !self.waiting.iter().all(is_known) {
            return Err(Misfit::new("an event waits that was not taken yet"));
        }
        Ok(())
    }
}

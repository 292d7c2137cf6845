//! The progress record, which every commit carries: where the operator stands, which snapshots there are, and in which
//! order records were taken since. It is the truth: the group's offsets only repeat what it says.

use serde::{Deserialize, Serialize};

use super::{
    seal::{self, Kind, SealError},
    snapshot::Named,
};
use crate::operator::{order::Order, place::Positions};

/// A progress record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The consumer group.
    pub group: String,
    /// The term of leadership, counted over the group's life: of two records the one of the later term is true.
    pub term: u64,
    /// Which life of the model this is.
    pub epoch: u32,
    /// The next row to take of each input partition.
    pub positions: Positions,
    /// Up to where the group's offsets have surely been committed: at least once, a crash or a rebalance may come between
    /// this record and them.
    pub positions_before: Positions,
    /// The newest snapshot, then the one before it.
    pub snapshots: Vec<Named>,
    /// The number of the last snapshot that was written, in this life of the model or one before it.
    pub generation: u64,
    /// What was taken from the snapshot before the newest up to the newest.
    pub order_before: Order,
    /// What was taken since the newest snapshot.
    pub order: Order,
    /// Which import was taken over last.
    pub imported: Option<u128>,
    /// The end of the state topic when this term began: an import that stands before it is known to the term.
    pub imports_from: i64,
}

impl Progress {
    /// Its bytes, in their envelope.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        seal::seal(Kind::Progress, self)
    }

    /// The record in these bytes.
    ///
    /// # Errors
    /// When they are not all of a record that this version reads.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        seal::open(Kind::Progress, bytes)
    }

    /// Where a group stands that begins a term at these positions, with what it left behind before.
    #[must_use]
    pub fn begin(group: &str, epoch: u32, positions: Positions, before: Option<&Self>) -> Self {
        Self {
            group: group.to_owned(),
            term: before.map_or(1, |before| before.term + 1),
            epoch,
            positions_before: positions.clone(),
            positions,
            snapshots: Vec::new(),
            generation: before.map_or(0, |before| before.generation),
            order_before: Order::default(),
            order: Order::default(),
            imported: before.and_then(|before| before.imported),
            imports_from: before.map_or(0, |before| before.imports_from),
        }
    }

    /// The same group in its next term, at the same place, perhaps with input partitions that came since.
    #[must_use]
    pub fn next_term(&self, positions: Positions) -> Self {
        Self { term: self.term + 1, positions, ..self.clone() }
    }

    /// Records were taken; `is_committed`: the group's offsets are those of the record before.
    pub fn advance(&mut self, positions: Positions, order: Order, is_committed: bool) {
        let before = std::mem::replace(&mut self.positions, positions);
        if is_committed {
            self.positions_before = before;
        }
        self.order.append(order);
    }

    /// A snapshot was cut at the positions as they are now.
    pub fn cut(&mut self, snapshot: Named) {
        self.generation = snapshot.generation;
        self.snapshots.insert(0, snapshot);
        self.snapshots.truncate(2);
        self.order_before = std::mem::take(&mut self.order);
    }

    /// What was taken after the snapshot that is `nth` from the newest.
    #[must_use]
    pub fn order_since(&self, nth: usize) -> Order {
        let mut order = if nth == 0 { Order::default() } else { self.order_before.clone() };
        order.append(self.order.clone());
        order
    }
}

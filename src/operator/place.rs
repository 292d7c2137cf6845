//! Where things stand in the input.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A place in an input partition: of a row, or, as the next one to take, between rows.
///
/// An offset alone would not do: a message of a format that packs many rows into one may be half taken when a
/// transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The message's offset.
    pub offset: i64,
    /// The row within the message.
    pub row: u32,
}

/// The next row to take of each input partition: all before it were taken.
pub type Positions = BTreeMap<i32, Position>;

impl Position {
    /// The first row of the message at this offset.
    #[must_use]
    pub fn at(offset: i64) -> Self {
        Self { offset, row: 0 }
    }

    /// The place after this row, which is or is not its message's last.
    #[must_use]
    pub fn after(self, last: bool) -> Self {
        if last { Self::at(self.offset + 1) } else { Self { row: self.row + 1, ..self } }
    }
}

/// The offsets to read on from, as consumer groups know them.
#[must_use]
pub fn offsets(positions: &Positions) -> BTreeMap<i32, i64> {
    positions.iter().map(|(&partition, position)| (partition, position.offset)).collect()
}

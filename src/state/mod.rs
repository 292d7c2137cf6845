//! Saved state: what is saved, in which form, and how a term of leadership begins from it. No broker is asked here;
//! `kafka::state_log` reads and `kafka::publisher` writes.
//!
//! Each commit carries a [`Progress`] record, and each `state.interval` one also carries a [`Snapshot`] of the operator
//! as it stands at that very commit. Both are in an envelope (`seal`) with a version and a checksum, so that what is
//! corrupt, truncated, foreign or newer is known for it before anything of it is used. Snapshots are kept in the state
//! topic (`topic`) or in a directory (`directory`); the progress record is always in the topic.
//!
//! After a crash, [`recovery::begin`] restores the newest snapshot that is in order, and the operator catches up along
//! the order that the progress record holds. One snapshot back is possible too: the record holds the order since the
//! snapshot before the newest. In the same way a row of the past is recomputed: [`history`] finds what leads to it.

pub mod directory;
pub mod history;
pub mod progress;
pub mod recovery;
pub mod report;
pub mod seal;
pub mod snapshot;
pub mod store;
pub mod topic;

pub use progress::Progress;
pub use seal::SealError;
pub use snapshot::{About, Named, Snapshot};

#[cfg(test)]
mod tests;

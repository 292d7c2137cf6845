//! A snapshot: the operator between two transactions, and what one should know about it.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::seal::{self, Kind, SealError};
use crate::{
    config::{Config, Fact},
    operator::saved::SavedOperator,
};

/// Everything that is saved at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What it is a snapshot of.
    pub about: About,
    /// The operator.
    pub operator: SavedOperator,
}

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The version of tailwater that wrote it.
    pub tailwater: String,
    /// The version of libtorch that it learned with.
    pub libtorch: String,
    /// The consumer group that it belongs to.
    pub group: String,
    /// Its number: 1 for a group's first, and one more for each after it.
    pub generation: u64,
    /// When it was cut, ms since 1970.
    pub written_ms: i64,
    /// The hash of what changes the numbers.
    pub config_hash: String,
    /// The config's keys that matter to it, with their values.
    pub config: Vec<Fact>,
}

/// A snapshot as the progress record names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its number.
    pub generation: u64,
    /// The checksum of its envelope.
    pub checksum: u128,
}

impl About {
    /// About the snapshot of this config's group with this number, cut at this time.
    #[must_use]
    pub fn new(config: &Config, generation: u64, written_ms: i64) -> Self {
        Self {
            tailwater: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: env!("TAILWATER_LIBTORCH").to_owned(),
            group: config.kafka.group.clone(),
            generation,
            written_ms,
            config_hash: config.hash(),
            config: config.facts(),
        }
    }
}

impl Snapshot {
    /// Its bytes, in their envelope.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        seal::seal(Kind::Snapshot, self)
    }

    /// The snapshot in these bytes.
    ///
    /// # Errors
    /// When they are not all of a snapshot that this version reads.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        seal::open(Kind::Snapshot, bytes)
    }
}

/// The hash of an operator's state, in hexadecimal: equal for two operators that go on alike to the bit.
///
/// # Panics
/// Never: what is saved is made of plain values.
#[must_use]
pub fn hash(operator: &SavedOperator) -> String {
    let bytes = postcard::to_stdvec(operator).expect("plain values are encoded to memory");
    format!("{:032x}", xxh3_128(&bytes))
}

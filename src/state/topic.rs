//! The state topic's records: which keys there are, and what they amount to.
//!
//! | key | value |
//! |---|---|
//! | `progress` | the progress record of the last commit |
//! | `snapshot-SLOT-INDEX` | a part of the snapshot whose generation mod 3 is SLOT |
//! | `snapshot-SLOT` | that snapshot's manifest, written after its parts |
//!
//! With three slots the two snapshots that the progress record names stay whole while a third is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    progress::Progress,
    seal::{self, Kind, SealError},
    snapshot::Named,
};

/// The key of the progress record.
pub const PROGRESS_KEY: &str = "progress";

/// Snapshots are cut into parts of this size, so that each fits a message of the brokers' default limit (1,048,588
/// bytes).
pub const PART_BYTES: usize = 512 << 10;

const NUM_SLOTS: u64 = 3;

/// What a snapshot consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    named: Named,
    num_parts: u32,
    num_bytes: u64,
}

/// A record of the state topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRecord {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

/// The records of a snapshot, the manifest last.
#[must_use]
pub fn snapshot_records(named: Named, bytes: &[u8]) -> Vec<StateRecord> {
    let slot = named.generation % NUM_SLOTS;
    let parts = bytes.chunks(PART_BYTES).enumerate();
    let mut records: Vec<_> = parts
        .map(|(index, part)| StateRecord { key: part_key(slot, index as u32), value: part.to_vec() })
        .collect();
    let manifest = Manifest { named, num_parts: records.len() as u32, num_bytes: bytes.len() as u64 };
    records.push(StateRecord { key: manifest_key(slot), value: seal::seal(Kind::Manifest, &manifest) });
    records
}

fn manifest_key(slot: u64) -> String {
    format!("snapshot-{slot}")
}

fn part_key(slot: u64, index: u32) -> String {
    format!("snapshot-{slot}-{index}")
}

/// Why a snapshot can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not there.
    #[error("it is not there")]
    Missing,
    /// A part of it is not there.
    #[error("part {index} of {num_parts} is missing")]
    PartMissing {
        /// Which part, from 0.
        index: u32,
        /// How many there should be.
        num_parts: u32,
    },
    /// What is there is another snapshot.
    #[error("in its place stands another one, number {0}")]
    Another(u64),
    /// It can't be read.
    #[error("{0}")]
    Read(String),
    /// Its envelope is not in order.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What the state topic says, by key: of each the last value.
#[derive(Debug, Clone, Default)]
pub struct StateTopic(BTreeMap<String, Vec<u8>>);

impl StateTopic {
    /// Takes a record, newer than all before it. Keys that are not tailwater's are left alone, and so is what a leader
    /// wrote after its term: at least once, nobody fences it.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        if key != PROGRESS_KEY && !key.starts_with("snapshot-") {
            return;
        }
        if key == PROGRESS_KEY
            && let (Ok(Some(known)), Some(Ok(new))) = (self.progress(), value.map(Progress::from_bytes))
            && new.term < known.term
        {
            return;
        }
        match value {
            Some(value) => self.0.insert(key.to_owned(), value.to_vec()),
            None => self.0.remove(key),
        };
    }

    /// The last progress record; `None` where there is none yet.
    ///
    /// # Errors
    /// When it is not in order.
    pub fn progress(&self) -> Result<Option<Progress>, SealError> {
        self.0.get(PROGRESS_KEY).map(|bytes| Progress::from_bytes(bytes)).transpose()
    }

    /// The bytes of a snapshot.
    ///
    /// # Errors
    /// When it is not there as a whole. Whether its bytes are in order is for who opens them to find.
    pub fn snapshot(&self, named: Named) -> Result<Vec<u8>, Unusable> {
        let slot = named.generation % NUM_SLOTS;
        let manifest = self.0.get(&manifest_key(slot)).ok_or(Unusable::Missing)?;
        let manifest: Manifest = seal::open(Kind::Manifest, manifest)?;
        if manifest.named != named {
            return Err(Unusable::Another(manifest.named.generation));
        }
        let mut bytes = Vec::new();
        for index in 0..manifest.num_parts {
            let part = self.0.get(&part_key(slot, index));
            let missing = Unusable::PartMissing { index, num_parts: manifest.num_parts };
            bytes.extend_from_slice(part.ok_or(missing)?);
        }
        Ok(bytes)
    }

    /// Whether everything that is needed was read, so that older records need not be: the progress record, and the newest
    /// snapshot that it names, in order.
    #[must_use]
    pub fn is_sufficient(&self) -> bool {
        let Ok(Some(progress)) = self.progress() else { return false };
        let Some(newest) = progress.snapshots.first() else { return true };
        self.snapshot(*newest).is_ok_and(|bytes| super::Snapshot::from_bytes(&bytes).is_ok())
    }
}

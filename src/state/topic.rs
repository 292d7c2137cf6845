//! The state topic's records: which keys there are, and what they amount to.
//!
//! | key | value |
//! |---|---|
//! | `progress` | the progress record of the last commit |
//! | `snapshot-SLOT-INDEX` | a part of the snapshot whose generation mod 3 is SLOT |
//! | `snapshot-SLOT` | that snapshot's manifest, written after its parts |
//! | `import-INDEX` | a part of a snapshot that was imported |
//! | `import` | that import's manifest, written after its parts |
//!
//! With three slots the two snapshots that the progress record names stay whole while a third is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    progress::Progress,
    seal::{self, Kind, SealError},
    snapshot::{Named, Snapshot},
};

/// The key of the progress record.
pub const PROGRESS_KEY: &str = "progress";

/// Snapshots are cut into parts of this size, so that each fits a message of the brokers' default limit (1,048,588
/// bytes).
pub const PART_BYTES: usize = 512 << 10;

const NUM_SLOTS: u64 = 3;

const SNAPSHOT_PREFIX: &str = "snapshot-";
const IMPORT_KEY: &str = "import";
const IMPORT_PREFIX: &str = "import-";

/// What a snapshot consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    named: Named,
    num_parts: u32,
}

/// What an import consists of. Its own envelope's checksum tells it from all others, also where the same file was imported
/// before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct ImportManifest {
    written_ms: i64,
    /// The checksum of the snapshot's envelope.
    checksum: u128,
    num_parts: u32,
}

/// A snapshot that was written for the group to take over its model.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// Which import it is.
    pub id: u128,
    /// What it holds, or why it can't be used.
    pub snapshot: Result<Snapshot, Unusable>,
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
    let manifest = Manifest { named, num_parts: records.len() as u32 };
    records.push(StateRecord { key: manifest_key(slot), value: seal::seal(Kind::Manifest, &manifest) });
    records
}

/// The records of an import at this time, in ms since 1970, of the snapshot with these bytes; the manifest last.
#[must_use]
pub fn import_records(written_ms: i64, bytes: &[u8]) -> Vec<StateRecord> {
    let parts = bytes.chunks(PART_BYTES).enumerate();
    let mut records: Vec<_> = parts
        .map(|(index, part)| StateRecord { key: import_part_key(index as u32), value: part.to_vec() })
        .collect();
    let manifest = ImportManifest {
        written_ms,
        checksum: seal::checksum(bytes).unwrap_or_default(),
        num_parts: records.len() as u32,
    };
    records.push(StateRecord { key: IMPORT_KEY.to_owned(), value: seal::seal(Kind::Import, &manifest) });
    records
}

fn manifest_key(slot: u64) -> String {
    format!("{SNAPSHOT_PREFIX}{slot}")
}

fn part_key(slot: u64, index: u32) -> String {
    format!("{SNAPSHOT_PREFIX}{slot}-{index}")
}

fn import_part_key(index: u32) -> String {
    format!("{IMPORT_PREFIX}{index}")
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
    /// It is another group's.
    #[error("it is of group '{0}'")]
    Foreign(String),
    /// It is not the one that is meant.
    #[error("it is another one of the same number")]
    Mistaken,
    /// Its envelope is not in order.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What the state topic says, by key: of each the last value.
#[derive(Debug, Clone, Default)]
pub struct StateTopic {
    values: BTreeMap<String, Vec<u8>>,
    end: i64,
}

impl StateTopic {
    /// Takes a record, newer than all before it. Keys that are not tailwater's are left alone, and so is what a leader
    /// wrote after its term: at least once, nobody fences it.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        let is_known = [PROGRESS_KEY, IMPORT_KEY].contains(&key)
            || [SNAPSHOT_PREFIX, IMPORT_PREFIX].iter().any(|prefix| key.starts_with(prefix));
        if !is_known {
            return;
        }
        if key == PROGRESS_KEY
            && let (Ok(Some(known)), Some(Ok(new))) = (self.progress(), value.map(Progress::from_bytes))
            && new.term < known.term
        {
            return;
        }
        match value {
            Some(value) => self.values.insert(key.to_owned(), value.to_vec()),
            None => self.values.remove(key),
        };
    }

    /// It was read up to this offset.
    pub fn set_end(&mut self, end: i64) {
        self.end = end;
    }

    /// The offset up to which it was read.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.end
    }

    /// The last progress record; `None` where there is none yet.
    ///
    /// # Errors
    /// When it is not in order.
    pub fn progress(&self) -> Result<Option<Progress>, SealError> {
        self.values.get(PROGRESS_KEY).map(|bytes| Progress::from_bytes(bytes)).transpose()
    }

    /// The bytes of a snapshot.
    ///
    /// # Errors
    /// When it is not there as a whole. Whether its bytes are in order is for who opens them to find.
    pub fn snapshot(&self, named: Named) -> Result<Vec<u8>, Unusable> {
        let slot = named.generation % NUM_SLOTS;
        let manifest = self.manifest(slot).ok_or(Unusable::Missing)??;
        if manifest.named != named {
            return Err(Unusable::Another(manifest.named.generation));
        }
        self.joined(manifest.num_parts, |index| part_key(slot, index))
    }

    /// The snapshots whose manifests are in order, the newest first: also such as the progress record no longer names.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Named> {
        let manifests = (0..NUM_SLOTS).filter_map(|slot| self.manifest(slot)?.ok());
        let mut snapshots: Vec<Named> = manifests.map(|manifest| manifest.named).collect();
        snapshots.sort_unstable_by_key(|named| std::cmp::Reverse(named.generation));
        snapshots
    }

    /// The last import, which may have been taken over long ago.
    #[must_use]
    pub fn import(&self) -> Option<Import> {
        let bytes = self.values.get(IMPORT_KEY)?;
        Some(Import { id: seal::checksum(bytes).unwrap_or_default(), snapshot: self.imported(bytes) })
    }

    fn imported(&self, manifest: &[u8]) -> Result<Snapshot, Unusable> {
        let manifest: ImportManifest = seal::open(Kind::Import, manifest)?;
        let bytes = self.joined(manifest.num_parts, import_part_key)?;
        let snapshot = Snapshot::from_bytes(&bytes)?;
        // Parts of another import may stand among them, and make up a whole.
        if seal::checksum(&bytes) != Some(manifest.checksum) {
            return Err(SealError::Corrupt.into());
        }
        Ok(snapshot)
    }

    /// The keys of the records that make up an import.
    #[must_use]
    pub fn import_keys(&self) -> Vec<String> {
        let is_import = |key: &&String| *key == IMPORT_KEY || key.starts_with(IMPORT_PREFIX);
        self.values.keys().filter(is_import).cloned().collect()
    }

    fn manifest(&self, slot: u64) -> Option<Result<Manifest, SealError>> {
        self.values.get(&manifest_key(slot)).map(|bytes| seal::open(Kind::Manifest, bytes))
    }

    fn joined(&self, num_parts: u32, key: impl Fn(u32) -> String) -> Result<Vec<u8>, Unusable> {
        let mut bytes = Vec::new();
        for index in 0..num_parts {
            let part = self.values.get(&key(index));
            bytes.extend_from_slice(part.ok_or(Unusable::PartMissing { index, num_parts })?);
        }
        Ok(bytes)
    }

    /// Whether what was read, from `start` on, is everything that is needed, so that older records need not be read: the
    /// progress record, the newest snapshot that it names, in order, and any import that its term can't have known.
    #[must_use]
    pub fn is_sufficient(&self, start: i64) -> bool {
        let Ok(Some(progress)) = self.progress() else { return false };
        if start > progress.imports_from || !self.is_import_whole() {
            return false;
        }
        let Some(newest) = progress.snapshots.first() else { return true };
        self.snapshot(*newest).is_ok_and(|bytes| Snapshot::from_bytes(&bytes).is_ok())
    }

    /// Whether there is no import that is still to be taken over and of which something is missing.
    #[must_use]
    pub fn is_import_whole(&self) -> bool {
        let taken = self.progress().ok().flatten().and_then(|progress| progress.imported);
        self.import().is_none_or(|import| Some(import.id) == taken || import.snapshot.is_ok())
    }
}

//! Where a group's snapshots are: in the state topic, or in `state.dir`.

use super::{Named, Snapshot, directory::Directory, seal, topic::StateTopic, topic::Unusable};
use crate::config::Config;

/// The snapshots of a group.
pub struct Store<'a> {
    topic: &'a StateTopic,
    directory: Option<Directory>,
    group: &'a str,
}

impl<'a> Store<'a> {
    /// The snapshots of the config's group, whose state topic says this.
    #[must_use]
    pub fn new(config: &'a Config, topic: &'a StateTopic) -> Self {
        let group = &config.kafka.group;
        let directory = config.state.dir.as_deref().map(|path| Directory::new(path, group));
        Self { topic, directory, group }
    }

    /// The bytes of a snapshot, which may not be in order.
    ///
    /// # Errors
    /// When it is not there or can't be read.
    pub fn read(&self, named: Named) -> Result<Vec<u8>, Unusable> {
        match &self.directory {
            Some(directory) => directory.read(named),
            None => self.topic.snapshot(named),
        }
    }

    /// A snapshot with its bytes, after it was seen to be whole, in order, this group's and the one that is named.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(&self, named: Named) -> Result<(Snapshot, Vec<u8>), Unusable> {
        let bytes = self.read(named)?;
        let snapshot = open(self.group, named, &bytes)?;
        Ok((snapshot, bytes))
    }

    /// Every snapshot that is there, the newest first: also such as the progress record does not name.
    #[must_use]
    pub fn all(&self) -> Vec<Named> {
        let Some(directory) = &self.directory else { return self.topic.snapshots() };
        let named = |generation| {
            let bytes = directory.read(Named { generation, checksum: 0 }).ok()?;
            Some(Named { generation, checksum: seal::checksum(&bytes)? })
        };
        directory.generations().into_iter().filter_map(named).collect()
    }
}

/// The snapshot in these bytes, if it is in order, the group's, and the one that is named.
///
/// # Errors
/// What is wrong with it.
pub fn open(group: &str, named: Named, bytes: &[u8]) -> Result<Snapshot, Unusable> {
    let snapshot = Snapshot::from_bytes(bytes)?;
    if snapshot.about.group != group {
        return Err(Unusable::Foreign(snapshot.about.group));
    }
    if seal::checksum(bytes) != Some(named.checksum) {
        return Err(Unusable::Mistaken);
    }
    Ok(snapshot)
}

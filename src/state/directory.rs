//! Snapshots in a directory, one file each.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{snapshot::Named, topic::Unusable};
use crate::crash;

/// A directory of snapshots.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    group: String,
}

impl Directory {
    /// The snapshots of a group in a directory.
    #[must_use]
    pub fn new(path: &Path, group: &str) -> Self {
        // A group's name may hold what a file's may not.
        let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
        Self { path: path.to_owned(), group: group.chars().map(safe).collect() }
    }

    /// Makes the directory if need be and tries whether it can be written to.
    ///
    /// # Errors
    /// The system's reason, with the path.
    pub fn probe(&self) -> io::Result<()> {
        let probe = self.path.join(format!(".{}.probe", self.group));
        fs::create_dir_all(&self.path).map_err(|error| self.told(&error))?;
        write_durably(&probe, b"tailwater").and_then(|()| fs::remove_file(&probe)).map_err(|error| {
            fs::remove_file(&probe).ok();
            self.told(&error)
        })
    }

    /// Keeps a snapshot, durably: after a power cut it is there as a whole, or not at all.
    ///
    /// # Errors
    /// The system's reason, with the path. What was there before is left as it was.
    pub fn write(&self, named: Named, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(named.generation);
        let partial = self.path.join(format!(".{}.partial", self.group));
        let written = write_durably(&partial, bytes)
            .inspect(|()| crash::point("snapshot_file_before_rename"))
            .and_then(|()| fs::rename(&partial, &file))
            .and_then(|()| File::open(&self.path)?.sync_all());
        written.map_err(|error| {
            // On a full disk what was written of it is in the way of the next try.
            fs::remove_file(&partial).ok();
            self.told(&error)
        })
    }

    /// The bytes of a snapshot.
    ///
    /// # Errors
    /// When it is not there or can't be read.
    pub fn read(&self, named: Named) -> Result<Vec<u8>, Unusable> {
        let file = self.file(named.generation);
        let bytes = fs::read(&file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unusable::Missing,
            _ => Unusable::Read(format!("{}: {error}", file.display())),
        })?;
        Ok(bytes)
    }

    /// The numbers of the snapshots that are there, the newest first.
    #[must_use]
    pub fn generations(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut generations: Vec<u64> = entries.filter_map(|entry| self.generation(&entry.path())).collect();
        generations.sort_unstable_by(|a, b| b.cmp(a));
        generations
    }

    /// Removes the snapshots that are older than the last three.
    pub fn prune(&self, newest: u64) {
        // What can't be removed now can't do harm either, and is tried again with the next snapshot.
        let Some(oldest) = newest.checked_sub(2) else { return };
        for generation in self.generations().into_iter().filter(|&generation| generation < oldest) {
            fs::remove_file(self.file(generation)).ok();
        }
    }

    /// Where a snapshot is kept.
    #[must_use]
    pub fn file(&self, generation: u64) -> PathBuf {
        self.path.join(format!("{}-{generation}.state", self.group))
    }

    fn generation(&self, file: &Path) -> Option<u64> {
        let name = file.file_name()?.to_str()?;
        name.strip_prefix(&self.group)?.strip_prefix('-')?.strip_suffix(".state")?.parse().ok()
    }

    fn told(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("state.dir {}: {error}", self.path.display()))
    }
}

fn write_durably(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(file)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_full_disk_is_told_and_leaves_what_was_there_and_the_next_try_its_room() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::new(folder.path(), "g");
        let [before, next] = [1, 2].map(|generation| Named { generation, checksum: 0 });
        directory.write(before, b"before").unwrap();
        // Whatever is written to this device is refused as on a full disk.
        let partial = folder.path().join(".g.partial");
        symlink("/dev/full", &partial).unwrap();
        let error = directory.write(next, b"next").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(
            error.to_string().starts_with(&format!("state.dir {}: ", folder.path().display())),
            "{error}"
        );
        assert_eq!(directory.read(next), Err(Unusable::Missing));
        assert_eq!(directory.read(before).unwrap(), b"before");
        assert!(!partial.is_symlink(), "what was written of it is in the way");
        directory.write(next, b"next").unwrap();
        assert_eq!(directory.read(next).unwrap(), b"next");
    }
}

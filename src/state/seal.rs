//! The envelope that everything saved is in: what it is, which format's version, how long, and a checksum.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TAILWATR` |
//! | 1 | the kind: `S` snapshot, `P` progress, `M` manifest, `I` import's manifest |
//! | 2 | the format's version, little-endian |
//! | 8 | the payload's length, little-endian |
//! | … | the payload, in [postcard's wire format](https://postcard.jamesmunns.com/wire-format) |
//! | 16 | XXH3-128 of all before, little-endian |

use serde::{Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::xxh3_128;

/// The version of the format that is written, and the only one that is read so far.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"TAILWATR";
const HEADER_BYTES: usize = 8 + 1 + 2 + 8;
const CHECKSUM_BYTES: usize = 16;

/// What an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A snapshot.
    Snapshot,
    /// A progress record.
    Progress,
    /// A snapshot's manifest.
    Manifest,
    /// The manifest of an import.
    Import,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Snapshot => b'S',
            Self::Progress => b'P',
            Self::Manifest => b'M',
            Self::Import => b'I',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Progress => "progress record",
            Self::Manifest => "manifest",
            Self::Import => "manifest of an import",
        }
    }
}

/// Why something saved can't be read. Trying again can't help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was not written by tailwater, or is something else that was.
    #[error("it is no {} of tailwater's", .0.name())]
    Foreign(Kind),
    /// A newer tailwater wrote it.
    #[error(
        "a newer tailwater wrote it (format {found}, and this one reads {VERSION}); use that one or a later one"
    )]
    Newer {
        /// Its version.
        found: u16,
    },
    /// A version of the format that is no longer read.
    #[error(
        "an older tailwater wrote it (format {found}, and this one reads {VERSION}); start that version once more, or \
         begin a new model with state.on_mismatch = \"fresh\""
    )]
    Older {
        /// Its version.
        found: u16,
    },
    /// Its end is missing.
    #[error("it is truncated: {found} bytes of {expected}")]
    Truncated {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        expected: usize,
    },
    /// Its checksum is another.
    #[error("it is corrupt: its checksum does not fit its bytes")]
    Corrupt,
    /// Its checksum fits and yet it can't be decoded.
    #[error("it can't be decoded: {0}")]
    Malformed(String),
}

/// A value in its envelope.
///
/// # Panics
/// Never: what is saved is made of plain values.
#[must_use]
pub fn seal(kind: Kind, value: &impl Serialize) -> Vec<u8> {
    let payload = postcard::to_stdvec(value).expect("plain values are encoded to memory");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len() + CHECKSUM_BYTES);
    bytes.extend(MAGIC);
    bytes.push(kind.byte());
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(payload);
    let checksum = xxh3_128(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// The value in an envelope, after everything about it was checked.
///
/// # Errors
/// What is wrong with the envelope.
pub fn open<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, SealError> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(if bytes.starts_with(&MAGIC) {
        SealError::Truncated { found: bytes.len(), expected: HEADER_BYTES + CHECKSUM_BYTES }
    } else {
        SealError::Foreign(kind)
    })?;
    if header[..8] != MAGIC || header[8] != kind.byte() {
        return Err(SealError::Foreign(kind));
    }
    // The version comes first: another one may have its length or its checksum elsewhere.
    let version = u16::from_le_bytes([header[9], header[10]]);
    match version {
        VERSION => {}
        found if found > VERSION => return Err(SealError::Newer { found }),
        found => return Err(SealError::Older { found }),
    }
    let mut length = [0; 8];
    length.copy_from_slice(&header[11..]);
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    let expected = length.saturating_add(HEADER_BYTES + CHECKSUM_BYTES);
    if bytes.len() < expected {
        return Err(SealError::Truncated { found: bytes.len(), expected });
    }
    if bytes.len() > expected || checksum(bytes) != Some(xxh3_128(&bytes[..HEADER_BYTES + length])) {
        return Err(SealError::Corrupt);
    }
    // All of the payload belongs to the value: what is left over would be another format's.
    match postcard::take_from_bytes(&rest[..length]) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(SealError::Malformed("bytes are left over".to_owned())),
        Err(error) => Err(SealError::Malformed(error.to_string())),
    }
}

/// The checksum that an envelope states; `None` where it is too short to have one.
#[must_use]
pub fn checksum(bytes: &[u8]) -> Option<u128> {
    bytes.last_chunk::<CHECKSUM_BYTES>().map(|last| u128::from_le_bytes(*last))
}

//! The bytes of a partition as they are in its `.log` files, on either side.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use carrick_protocol::batch::Batches;

use crate::Result;

/// What two partitions' batches were compared to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Batches on both sides.
    pub batches: usize,
    /// Bytes on both sides.
    pub bytes: usize,
}

/// The first place where two partitions differ.
#[derive(Debug)]
pub struct Difference {
    /// Base offset of the batch in question, on the side that has it.
    pub base_offset: i64,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at base offset {}: {}", self.base_offset, self.what)
    }
}

impl std::error::Error for Difference {}

/// All batches of a partition's folder whose last offset is at or past `from` and whose base offset is below `to`,
/// with their base offsets.
///
/// # Errors
/// When a file cannot be read or holds a batch that cannot be parsed before its end.
pub fn batches(dir: &Path, from: i64, to: i64) -> Result<Vec<(i64, Vec<u8>)>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .with_context(|| dir.display().to_string())?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file)?;
        for batch in Batches::new(&bytes) {
            // A preallocated tail is zeroes: it ends the file's batches.
            let Ok(batch) = batch else { break };
            let (base, last) = (batch.header.base_offset.0, batch.header.last_offset().0);
            if batch.header.batch_length <= 0 || base >= to {
                break;
            }
            if last >= from {
                found.push((base, batch.bytes.to_vec()));
            }
        }
    }
    Ok(found)
}

/// Compares two partitions' batches between `from` and `to`, byte for byte.
///
/// # Errors
/// The first [`Difference`], or a file that cannot be read.
pub fn compare(source: &Path, mirror: &Path, from: i64, to: i64) -> Result<Compared> {
    let (ours, theirs) = (batches(mirror, from, to)?, batches(source, from, to)?);
    for (index, (base_offset, bytes)) in theirs.iter().enumerate() {
        let what = match ours.get(index) {
            None => format!(
                "the mirror ends, the source has {} more",
                theirs.len() - index
            ),
            Some((base, _)) if base != base_offset => format!("the mirror has {base} here"),
            Some((_, mirrored)) if mirrored != bytes => {
                format!(
                    "{} and {} bytes that are not the same",
                    bytes.len(),
                    mirrored.len()
                )
            }
            Some(_) => continue,
        };
        return Err(Difference {
            base_offset: *base_offset,
            what,
        }
        .into());
    }
    if let Some((base_offset, _)) = ours.get(theirs.len()) {
        let what = format!("the mirror has {} batches more", ours.len() - theirs.len());
        return Err(Difference {
            base_offset: *base_offset,
            what,
        }
        .into());
    }
    Ok(Compared {
        batches: theirs.len(),
        bytes: theirs.iter().map(|(_, b)| b.len()).sum(),
    })
}

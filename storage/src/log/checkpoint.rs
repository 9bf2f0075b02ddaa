//! What a log stores in addition to its segments: recovery point, log start, clean close.
//!
//! One small file, `carrick.checkpoint`, of two slots written in turn. A slot: magic u32 · CRC-32C
//! u32 of all after it · sequence u64 · recovery point i64 · log start i64 · clean end i64, big
//! endian. The valid slot with the larger sequence counts; a torn write loses only that write.
//!
//! Invariants:
//! - the recovery point is written after everything below it reached the disk. A write of it that
//!   is lost costs a longer scan, nothing else, so it is not synced by itself;
//! - where it goes **back** (truncation), where the log start moves, and where the clean mark is
//!   set or removed, `durability.rs` syncs the write before anything depends on it.
//!
//! What is on the disk cannot be asserted: the tests of damage and of crashes check it.
//!
//! The file is open only while it is read or written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use carrick_protocol::ids::Offset;
use crc32c::crc32c;

use super::LogError;
use super::files::{open_rw, open_to_write};
use crate::disk::sync_data;

const NAME: &str = "carrick.checkpoint";
const MAGIC: u32 = 0x4361_7231;
const SLOT_BYTES: usize = 40;
/// Slots are in different disk sectors.
const SLOT_STRIDE_BYTES: u64 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// Everything below is on the disk.
    pub recovery_point: Offset,
    /// First offset that may be read.
    pub log_start: Offset,
    /// The end, if the log was closed cleanly and not written since; else [`Offset::NONE`].
    pub clean_end: Offset,
}

/// The file, and what it holds.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    sequence: u64,
    marks: Marks,
}

impl Checkpoint {
    /// Opens the checkpoint of the log in `dir`; nothing is remembered when there was none.
    pub fn open(dir: &Path) -> Result<(Checkpoint, Option<Marks>), LogError> {
        let path = dir.join(NAME);
        let file = open_rw(&path)?;
        let found = (0..2)
            .filter_map(|slot| read_slot(&file, slot))
            .max_by_key(|(seq, _)| *seq);
        let marks = found.map(|(_, marks)| marks);
        if marks.is_none() {
            // Both slots get their disk block now: later writes need no space.
            file.write_all_at(&[0; 2 * SLOT_STRIDE_BYTES as usize], 0)
                .map_err(|e| LogError::io(&path, e))?;
        }
        let checkpoint = Checkpoint {
            path,
            sequence: found.map_or(0, |(sequence, _)| sequence),
            marks: marks.unwrap_or(Marks {
                recovery_point: Offset::ZERO,
                log_start: Offset::ZERO,
                clean_end: Offset::NONE,
            }),
        };
        Ok((checkpoint, marks))
    }

    /// The marks as last written.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// The file, to be synced.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `marks` into the older slot; a crash of the machine may still lose it.
    pub fn write(&mut self, marks: Marks) -> Result<(), LogError> {
        self.put(marks).map(drop)
    }

    /// As [`Checkpoint::write`]; the file, to be synced.
    pub fn put(&mut self, marks: Marks) -> Result<File, LogError> {
        let file = open_to_write(&self.path)?;
        let sequence = self.sequence + 1;
        let at = (sequence % 2) * SLOT_STRIDE_BYTES;
        let bytes = encode(sequence, marks);
        file.write_all_at(&bytes, at)
            .map_err(|e| LogError::io(&self.path, e))?;
        self.sequence = sequence;
        self.marks = marks;
        Ok(file)
    }

    /// Writes `marks` and waits until the disk has them. After an error the file may hold either.
    pub fn write_synced(&mut self, marks: Marks) -> Result<(), LogError> {
        let file = self.put(marks)?;
        sync_data(&file).map_err(|e| LogError::io(&self.path, e))
    }
}

fn encode(sequence: u64, marks: Marks) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
    bytes[8..16].copy_from_slice(&sequence.to_be_bytes());
    bytes[16..24].copy_from_slice(&marks.recovery_point.0.to_be_bytes());
    bytes[24..32].copy_from_slice(&marks.log_start.0.to_be_bytes());
    bytes[32..].copy_from_slice(&marks.clean_end.0.to_be_bytes());
    let crc = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn read_slot(file: &File, slot: u64) -> Option<(u64, Marks)> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, slot * SLOT_STRIDE_BYTES)
        .ok()?;
    decode(&bytes)
}

fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<(u64, Marks)> {
    let (head, _) = bytes.as_chunks::<4>();
    let (words, _) = bytes.as_chunks::<8>();
    let [_, sequence, recovery_point, log_start, clean_end] = words else {
        return None;
    };
    let sound =
        u32::from_be_bytes(head[0]) == MAGIC && u32::from_be_bytes(head[1]) == crc32c(&bytes[8..]);
    let offset = |word: &[u8; 8]| Offset(i64::from_be_bytes(*word));
    sound.then(|| {
        let marks = Marks {
            recovery_point: offset(recovery_point),
            log_start: offset(log_start),
            clean_end: offset(clean_end),
        };
        (u64::from_be_bytes(*sequence), marks)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(n: i64) -> Marks {
        Marks {
            recovery_point: Offset(n),
            log_start: Offset(n / 2),
            clean_end: Offset(-1),
        }
    }

    #[test]
    fn the_last_write_counts_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let (mut checkpoint, found) = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(found, None);
        for n in 1..6 {
            checkpoint.write(marks(n)).unwrap();
            assert_eq!(Checkpoint::open(dir.path()).unwrap().1, Some(marks(n)));
        }
    }

    #[test]
    fn a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (mut checkpoint, _) = Checkpoint::open(dir.path()).unwrap();
        for n in 1..=4 {
            checkpoint.write_synced(marks(n)).unwrap();
        }
        crate::testing::overwrite(checkpoint.path(), 20, &[0xff; 7]).unwrap();
        assert_eq!(Checkpoint::open(dir.path()).unwrap().1, Some(marks(3)));
    }

    #[test]
    fn any_flipped_bit_invalidates_a_slot() {
        let bytes = encode(9, marks(8));
        assert_eq!(decode(&bytes), Some((9, marks(8))));
        for bit in 0..SLOT_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
    }
}

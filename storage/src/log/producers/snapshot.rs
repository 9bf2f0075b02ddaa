//! Producer state on disk: `<offset>.snapshot`, named as Kafka names it, in a format of our own.
//!
//! Kafka's format keeps one batch per producer. This one keeps all of them, so that a retry is
//! recognized after a restart just as before it, and the largest producer id ever seen.
//!
//! ```text
//! header (12 bytes): magic "CPS" + version u8 = 2 · CRC-32C u32 of all that follows
//!                    (big-endian, like everything) · number of entries u32
//! then:              largest producer id i64
//! entry:             producer id i64 · epoch i16 · coordinator epoch i32 · last timestamp i64
//!                    · last appended i64 (from version 2 on) · first offset of the open
//!                    transaction i64 (-1: none) · batches u8 (0..=5)
//! batch:             first sequence i32 · last sequence i32 · first offset i64 · last offset i64
//!                    · timestamp i64
//! ```
//!
//! Version 1 did not store when a producer's last batch was appended: no later than the file was
//! written.
//!
//! Invariant: the file named by offset `n` is the state of all batches below `n` and nothing else.
//! Only a replay of the log could check that: the model test does it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use carrick_protocol::ids::{Offset, ProducerId};

use super::super::files::modified_ms;
use super::entry::{BATCHES_KEPT, KeptBatch, ProducerEntry};
use super::{LogError, Producers};
use crate::codec::{DecodeError, Reader, Writer};

const MAGIC: &[u8; 3] = b"CPS";
const VERSION: u8 = 2;
/// What the CRC does not cover: magic, version, CRC.
const UNCHECKED_BYTES: usize = 8;
const SUFFIX: &str = ".snapshot";
const NAME_DIGITS: usize = 20;

/// The offsets of all snapshots in `dir`, ascending.
fn list_snapshots(dir: &Path) -> Result<Vec<Offset>, LogError> {
    let mut offsets = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| LogError::io(dir, error))? {
        let entry = entry.map_err(|error| LogError::io(dir, error))?;
        offsets.extend(entry.file_name().to_str().and_then(parse_name));
    }
    offsets.sort();
    Ok(offsets)
}

/// Deletes the snapshots in `dir` below `from` and past `end`.
pub(crate) fn delete_snapshots_outside(
    dir: &Path,
    from: Offset,
    end: Offset,
) -> Result<(), LogError> {
    for at in list_snapshots(dir)? {
        if at < from || at > end {
            delete(dir, at)?;
        }
    }
    Ok(())
}

/// Deletes the snapshots in `dir` that belong to no segment, but for the newest if that is past
/// them all: it was written when the log was closed (`removeStraySnapshots`).
///
/// `segments` are the base offsets of the log's segments, ascending.
pub(crate) fn remove_stray_snapshots(dir: &Path, segments: &[Offset]) -> Result<(), LogError> {
    let snapshots = list_snapshots(dir)?;
    let newest = snapshots.last().copied();
    for at in snapshots {
        let closing = Some(at) == newest && segments.last().is_none_or(|last| at > *last);
        if !closing && segments.binary_search(&at).is_err() {
            delete(dir, at)?;
        }
    }
    Ok(())
}

/// See [`Producers::write_snapshot`].
pub(super) fn write(state: &Producers, dir: &Path, at: Offset) -> Result<PathBuf, LogError> {
    let path = path(dir, at);
    fs::write(&path, encode(state)).map_err(|error| {
        // Best effort: a torn file would be found out by its CRC.
        let _ = fs::remove_file(&path);
        LogError::io(&path, error)
    })?;
    Ok(path)
}

/// See [`Producers::reload`].
pub(super) fn load_newest(
    dir: &Path,
    replay_from: Offset,
    end: Offset,
) -> Result<(Producers, Offset), LogError> {
    for at in list_snapshots(dir)?.into_iter().rev() {
        if at > end {
            delete(dir, at)?;
            continue;
        }
        if at < replay_from {
            break;
        }
        let path = path(dir, at);
        let bytes = fs::read(&path).map_err(|error| LogError::io(&path, error))?;
        let written_ms = modified_ms(&path).map_err(|error| LogError::io(&path, error))?;
        match decode(&bytes, written_ms) {
            Ok(state) => return Ok((state, at)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "deleting damaged snapshot");
                delete(dir, at)?;
            }
        }
    }
    Ok((Producers::new(), replay_from))
}

fn delete(dir: &Path, at: Offset) -> Result<(), LogError> {
    let path = path(dir, at);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(LogError::io(&path, error)),
        _ => Ok(()),
    }
}

fn path(dir: &Path, at: Offset) -> PathBuf {
    dir.join(format!("{:020}{SUFFIX}", at.0))
}

fn parse_name(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(SUFFIX)?;
    let all_digits = digits.len() == NAME_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits
        .then(|| digits.parse().ok().map(Offset))
        .flatten()
}

fn encode(state: &Producers) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u32(state.entries.len() as u32);
    body.put_i64(state.max_producer_id.0);
    for entry in state.entries.values() {
        encode_entry(entry, &mut body);
    }
    let mut out = Vec::with_capacity(UNCHECKED_BYTES + body.len());
    out.extend_from_slice(MAGIC);
    out.put_u8(VERSION);
    out.put_u32(crc32c::crc32c(&body));
    out.extend_from_slice(&body);
    out
}

fn encode_entry(entry: &ProducerEntry, out: &mut Vec<u8>) {
    out.put_i64(entry.producer_id.0);
    out.put_i16(entry.producer_epoch);
    out.put_i32(entry.coordinator_epoch);
    out.put_i64(entry.last_timestamp_ms);
    out.put_i64(entry.appended_ms);
    out.put_i64(entry.transaction_first_offset.unwrap_or(Offset::NONE).0);
    out.put_u8(entry.batches.len() as u8);
    for batch in &entry.batches {
        out.put_i32(batch.first_sequence);
        out.put_i32(batch.last_sequence);
        out.put_i64(batch.first_offset.0);
        out.put_i64(batch.last_offset.0);
        out.put_i64(batch.timestamp_ms);
    }
}

/// What the bytes of a file say that was written at `written_ms`.
fn decode(bytes: &[u8], written_ms: i64) -> Result<Producers, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(DecodeError::new("not a snapshot of producers"));
    }
    let version = reader.version(VERSION)?;
    let (stored, computed) = (reader.u32()?, crc32c::crc32c(&bytes[UNCHECKED_BYTES..]));
    if stored != computed {
        return Err(DecodeError::new(format!(
            "CRC {computed:#x} instead of {stored:#x}"
        )));
    }
    let count = reader.u32()?;
    let max_producer_id = ProducerId(reader.i64()?);
    let mut entries = Vec::new();
    for _ in 0..count {
        let mut entry = decode_entry(&mut reader, version)?;
        if version == 1 {
            entry.appended_ms = written_ms;
        }
        entries.push(entry);
    }
    reader.finish()?;
    Producers::from_entries(max_producer_id, entries)
        .ok_or_else(|| DecodeError::new("two entries of one producer or transaction"))
}

fn decode_entry(reader: &mut Reader<'_>, version: u8) -> Result<ProducerEntry, DecodeError> {
    let mut entry = ProducerEntry::new(ProducerId(reader.i64()?));
    entry.producer_epoch = reader.i16()?;
    entry.coordinator_epoch = reader.i32()?;
    entry.last_timestamp_ms = reader.i64()?;
    if version >= 2 {
        entry.appended_ms = reader.i64()?;
    }
    entry.transaction_first_offset = Some(Offset(reader.i64()?)).filter(|first| first.is_some());
    let batches = usize::from(reader.u8()?);
    if batches > BATCHES_KEPT {
        return Err(DecodeError::new(format!(
            "{batches} batches of one producer"
        )));
    }
    for _ in 0..batches {
        entry.batches.push_back(KeptBatch {
            first_sequence: reader.i32()?,
            last_sequence: reader.i32()?,
            first_offset: Offset(reader.i64()?),
            last_offset: Offset(reader.i64()?),
            timestamp_ms: reader.i64()?,
        });
    }
    Ok(entry)
}

#[cfg(test)]
mod tests;

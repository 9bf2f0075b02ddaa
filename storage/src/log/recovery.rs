//! Recovering a log that was not closed cleanly.
//!
//! Segments below the recovery point are trusted, except for indexes that are missing or not sane.
//! From the segment that holds the recovery point on, headers are walked, batches past the recovery
//! point have their CRC verified, and indexes and epochs are rebuilt. The log ends at the first
//! batch that is not whole and good. A segment besides the last that does not fill its file ends
//! the log too: a roll gives a segment its real size first, so what is missing was lost with the
//! machine.

use std::fs::File;
use std::sync::Arc;

use carrick_protocol::batch::{Batch, Batches};
use carrick_protocol::ids::Offset;
use tracing::warn;

use super::active::Active;
use super::checkpoint::Marks;
use super::files::{Found, Kind, open_rw, path_of, remove_segment};
use super::mapped::Region;
use super::opening::{Opening, size_of};
use super::{EpochHistory, LogError};

/// How much of a torn tail is read to tell lost bytes from zeros.
const TAIL_LOOK_BYTES: usize = 1 << 20;

impl Opening {
    /// Goes through the segments of a log that was not closed cleanly; the last one is returned.
    pub(super) fn recover(&mut self, mut found: Vec<Found>) -> Result<Active, LogError> {
        self.marks.clean_end = Offset::NONE;
        if found.is_empty() {
            self.check_empty()?;
            return Active::create(&self.dir, self.marks.log_start, self.now_ms);
        }
        let first_scanned = self.first_scanned(&found);
        self.load_epochs(&found, first_scanned)?;
        let mut expected = found[0].base;
        let mut at = 0;
        while at < found.len() {
            let segment = found[at];
            let last = at + 1 == found.len();
            if at < first_scanned {
                let next = found[at + 1].base;
                self.check_indexes(&segment, next)?;
            } else {
                let (good, end) = self.scan(&segment, expected)?;
                let whole = good as u64 == segment.file_bytes && end <= next_base(&found, at);
                if !last && !whole {
                    self.drop_segments(&found[at + 1..])?;
                    found.truncate(at + 1);
                }
                let active = self.rebuild(&segment, good, true)?;
                if at + 1 == found.len() {
                    return Ok(active);
                }
                self.seal(active)?;
                expected = end;
            }
            at += 1;
        }
        // The last segment is always scanned, and returned above.
        Active::create(&self.dir, self.marks.log_start, self.now_ms)
    }

    /// A log without segments has lost them, if any of its records was ever guaranteed to be on
    /// disk.
    fn check_empty(&self) -> Result<(), LogError> {
        if self.marks.recovery_point <= self.marks.log_start {
            return Ok(());
        }
        let Marks {
            recovery_point,
            log_start,
            ..
        } = self.marks;
        let problem = format!("no segments are left of offsets {log_start} to {recovery_point}");
        Err(LogError::corrupt(&self.dir, problem))
    }

    /// Number of the first segment to scan: the one that holds the recovery point, or the last.
    fn first_scanned(&self, found: &[Found]) -> usize {
        let believed = found
            .windows(2)
            .take_while(|p| p[1].base <= self.marks.recovery_point);
        believed.count()
    }

    /// Epochs below the scanned segments, from the file or from all headers if it is damaged.
    fn load_epochs(&mut self, found: &[Found], first_scanned: usize) -> Result<(), LogError> {
        let scanned_from = found[first_scanned].base;
        self.scanned_from = Some(scanned_from);
        match EpochHistory::load(&self.dir) {
            Ok(epochs) => {
                self.saved_epochs = epochs.clone();
                self.epochs = epochs;
            }
            Err(LogError::Corrupt { path, problem }) => {
                warn!(path = %path.display(), problem, "epochs are rebuilt");
                for segment in &found[..first_scanned] {
                    self.assign_epochs(segment)?;
                }
            }
            Err(error) => return Err(error),
        }
        self.epochs.truncate_from_end(scanned_from);
        Ok(())
    }

    fn assign_epochs(&mut self, found: &Found) -> Result<(), LogError> {
        let region = self.map(found)?;
        let bytes = region.slice(0..region.published()).unwrap_or_default();
        for batch in Batches::new(bytes) {
            let Ok(batch) = batch else { break };
            self.epochs
                .assign(batch.header.leader_epoch, batch.header.base_offset);
        }
        Ok(())
    }

    fn map(&self, found: &Found) -> Result<Arc<Region>, LogError> {
        let path = path_of(&self.dir, found.base, Kind::Log);
        let failed = |e| LogError::io(&path, e);
        let file = File::open(&path).map_err(failed)?;
        Region::read_only(&file, size_of(found.file_bytes)).map_err(failed)
    }

    /// Keeps a segment below the recovery point; its indexes are rebuilt if they are not sane.
    fn check_indexes(&mut self, found: &Found, next: Offset) -> Result<(), LogError> {
        let sealed = self.believed(found);
        let sane = match sealed.view(next) {
            Ok(_) => sealed.has_sane_indexes()? && sealed.aborted().is_ok(),
            Err(_) => false,
        };
        if sane {
            self.sealed.push(sealed);
            return Ok(());
        }
        // Its aborted transactions are read again with those of all later segments.
        let scanned_from = self
            .scanned_from
            .map_or(found.base, |from| from.min(found.base));
        self.scanned_from = Some(scanned_from);
        let active = self.rebuild(found, size_of(found.file_bytes), false)?;
        self.seal(active)
    }

    /// Finds how many bytes of a segment are good, and where its offsets end.
    fn scan(&mut self, found: &Found, expected: Offset) -> Result<(usize, Offset), LogError> {
        let region = self.map(found)?;
        let bytes = region.slice(0..region.published()).unwrap_or_default();
        let limit = found.base + i64::from(i32::MAX);
        let (mut good, mut next) = (0, found.base.max(expected));
        while let Ok(batch) = Batch::parse(&bytes[good..]) {
            let header = batch.header;
            if header.base_offset < next || header.last_offset() > limit {
                break;
            }
            if header.next_offset() > self.marks.recovery_point {
                if batch.verify_crc().is_err() {
                    break;
                }
                self.recovered.scanned_bytes += batch.bytes.len() as u64;
            }
            next = header.next_offset();
            good += batch.bytes.len();
        }
        self.recovered.cut_bytes += lost_bytes(&bytes[good..]);
        Ok((good, next))
    }

    /// Cuts a segment's file to its good bytes and builds its indexes in memory, and its part of
    /// the epochs if they are not known yet.
    fn rebuild(
        &mut self,
        found: &Found,
        good: usize,
        new_epochs: bool,
    ) -> Result<Active, LogError> {
        if good as u64 != found.file_bytes {
            let path = path_of(&self.dir, found.base, Kind::Log);
            let file = open_rw(&path)?;
            file.set_len(good as u64)
                .map_err(|e| LogError::io(&path, e))?;
        }
        let mut active = Active::resume(&self.dir, found.base, good, self.now_ms)?;
        let epochs = &mut self.epochs;
        active.note_all(&self.config, |header| {
            if new_epochs {
                epochs.assign(header.leader_epoch, header.base_offset);
            }
        })?;
        Ok(active)
    }

    fn seal(&mut self, mut active: Active) -> Result<(), LogError> {
        active.settle_indexes()?;
        self.recovered.rebuilt_indexes += 1;
        self.sealed.push(Arc::new(active.sealed()));
        Ok(())
    }

    fn drop_segments(&mut self, found: &[Found]) -> Result<(), LogError> {
        for segment in found.iter().rev() {
            warn!(dir = %self.dir.display(), base = %segment.base, "segment after lost bytes removed");
            self.recovered.cut_bytes += segment.file_bytes;
            remove_segment(&self.dir, segment.base)?;
        }
        Ok(())
    }
}

/// Bytes of a tail up to the zeros at its end.
fn lost_bytes(tail: &[u8]) -> u64 {
    let looked = &tail[..tail.len().min(TAIL_LOOK_BYTES)];
    looked
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at as u64 + 1)
}

fn next_base(found: &[Found], at: usize) -> Offset {
    found.get(at + 1).map_or(Offset::MAX, |next| next.base)
}

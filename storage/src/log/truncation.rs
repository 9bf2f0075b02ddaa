//! Removing batches from the end.
//!
//! Readers may hold slices of the part that is removed, so no file is ever cut or overwritten: the
//! part to keep is copied into a new file that takes the old one's name. Order, so that a crash in
//! between leaves a log that opens: the copy is made and synced; the recovery point moves back;
//! later segments are removed, newest first; the copy replaces the cut segment. A crash may leave
//! the log longer than requested. An error after the copy faults the log.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use carrick_protocol::ids::Offset;

use super::active::Active;
use super::files::{Kind, cut_path, path_of, remove_if_there, remove_segment};
use super::producers::delete_snapshots_outside;
use super::segment::keep_readable;
use super::transactions::AbortedIndex;
use super::{Log, LogError};
use crate::disk::{fsync_dir, sync_all};

/// The part of a segment that is kept: the segment becomes the active one.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Its number; segments after it go.
    at: usize,
    base: Offset,
    /// Bytes kept.
    keep: usize,
    /// Whether those are all it has.
    whole: bool,
    /// The log's end afterwards.
    end: Offset,
}

impl Log {
    /// Drops every batch that ends past `offset`; returns the new end, which is smaller than
    /// `offset` where that lies inside a batch or a gap. At or below the log start everything
    /// goes. Durable on return.
    ///
    /// Errors: `DiskFull` (nothing is changed: the cut segment is copied), `Io`, `Faulted`.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<Offset, LogError> {
        self.durability.check()?;
        if offset >= self.end {
            return Ok(self.end);
        }
        if offset <= self.log_start {
            self.truncate_fully_and_start_at(offset)?;
            return Ok(self.end);
        }
        let cut = self.find_cut(offset)?;
        // Nothing is kept, or the log begins with a gap that contains `offset`.
        if cut.end <= self.log_start || cut.base > offset {
            self.truncate_fully_and_start_at(self.log_start)?;
            return Ok(self.end);
        }
        self.begin_write()?;
        self.begin_dirtying(cut.end)?;
        if !cut.whole {
            self.copy_kept(cut)?;
        }
        self.durability.begin_truncation(cut.end, self.log_start)?;
        self.cut_back(cut)
            .map_err(|error| self.durability.fault(io::Error::other(error)))?;
        Ok(self.end)
    }

    /// Drops everything; the log starts and ends at `offset`. Durable on return.
    ///
    /// Errors: `Io`, `Faulted`.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset) -> Result<(), LogError> {
        self.begin_write()?;
        self.begin_dirtying(offset)?;
        self.durability.begin_truncation(offset, offset)?;
        self.start_over(offset)
            .map_err(|error| self.durability.fault(io::Error::other(error)))
    }

    fn find_cut(&self, offset: Offset) -> Result<Cut, LogError> {
        let snapshot = self.reader.snapshot();
        let at = snapshot.segment_of(offset);
        let view = snapshot.view(at)?;
        if let Some(sealed) = self.sealed.get(at) {
            sealed.aborted()?;
        }
        let keep = view
            .find(offset)?
            .map_or(view.size, |(position, _)| position);
        let mut end = view.base;
        for found in view.headers(view.position_before(offset.prev())) {
            let (position, header) = found?;
            if position >= keep {
                break;
            }
            end = header.next_offset();
        }
        Ok(Cut {
            at,
            base: view.base,
            keep,
            whole: keep == view.size,
            end,
        })
    }

    /// Copies the kept part of a segment to a file next to it, synced.
    fn copy_kept(&self, cut: Cut) -> Result<(), LogError> {
        let from = path_of(&self.dir, cut.base, Kind::Log);
        let to = cut_path(&self.dir, cut.base);
        let copied = copy_prefix(&from, &to, cut.keep as u64);
        copied.map_err(|error| {
            // Best effort: the next open removes it as well.
            let _ = remove_if_there(&to);
            LogError::io(&to, error)
        })
    }

    fn cut_back(&mut self, cut: Cut) -> Result<(), LogError> {
        keep_readable(self.sealed.get(cut.at..).unwrap_or_default());
        let later = self
            .sealed
            .iter()
            .skip(cut.at + 1)
            .map(|segment| segment.base);
        let bases: Vec<Offset> = later.chain([self.active.base]).collect();
        for base in bases.into_iter().rev().filter(|base| *base > cut.base) {
            remove_segment(&self.dir, base)?;
        }
        for kind in [Kind::Offsets, Kind::Times] {
            remove_if_there(&path_of(&self.dir, cut.base, kind))?;
        }
        if !cut.whole {
            let (from, to) = (
                cut_path(&self.dir, cut.base),
                path_of(&self.dir, cut.base, Kind::Log),
            );
            fs::rename(&from, &to).map_err(|e| LogError::io(&to, e))?;
        }
        fsync_dir(&self.dir)?;
        self.aborted = AbortedIndex::open(&self.dir, cut.base)?;
        self.aborted.truncate_to(cut.end)?;
        if let Some(file) = self.aborted.file() {
            sync_all(&file).map_err(|e| LogError::io(self.aborted.path(), e))?;
        }
        self.active = self.resume_cut(cut)?;
        self.sealed = self.sealed.iter().take(cut.at).cloned().collect();
        self.end = cut.end;
        self.epochs.truncate_from_end(cut.end);
        self.high_watermark = self.high_watermark.min(cut.end);
        self.reload_producers()?;
        self.finish_truncation();
        Ok(())
    }

    fn resume_cut(&self, cut: Cut) -> Result<Active, LogError> {
        let mut active = Active::resume(&self.dir, cut.base, cut.keep, self.now_ms)?;
        active.note_all(&self.config, |_| ())?;
        assert_eq!(
            active.end()?,
            cut.end,
            "the cut was made where it was found"
        );
        Ok(active)
    }

    fn start_over(&mut self, offset: Offset) -> Result<(), LogError> {
        keep_readable(&self.sealed);
        let sealed = self.sealed.iter().map(|segment| segment.base);
        let bases: Vec<Offset> = sealed.chain([self.active.base]).collect();
        for base in bases.into_iter().rev() {
            remove_segment(&self.dir, base)?;
        }
        // Before there is a segment again: the epochs of removed batches must not come back.
        self.epochs.clear();
        self.durability.save_epochs_now(&self.epochs)?;
        self.aborted = AbortedIndex::create(&self.dir, offset)?;
        self.active = Active::create(&self.dir, offset, self.now_ms)?;
        self.producers.clear();
        delete_snapshots_outside(&self.dir, offset, offset)?;
        let snapshot = self.producers.write_snapshot(&self.dir, offset)?;
        let synced = File::open(&snapshot).and_then(|file| sync_all(&file));
        synced.map_err(|e| LogError::io(&snapshot, e))?;
        fsync_dir(&self.dir)?;
        self.sealed = Arc::from([]);
        self.log_start = offset;
        self.end = offset;
        self.high_watermark = offset;
        self.finish_truncation();
        Ok(())
    }

    fn finish_truncation(&mut self) {
        self.durability.forget(|base| base >= self.active.base);
        self.durability.epochs_changed(&self.epochs);
        self.publish_shape();
        if self.active.size() > 0 {
            // They may have been written to and not synced as another segment's.
            let aborted = self.aborted.path().to_path_buf();
            self.durability.written(vec![self.active.path(), aborted]);
        }
        self.durability.end_truncation(self.aborted.file());
    }
}

fn copy_prefix(from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
    let mut source = File::open(from)?.take(bytes);
    let mut copy = File::create(to)?;
    let copied = io::copy(&mut source, &mut copy)?;
    if copied != bytes {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "segment is shorter than known",
        ));
    }
    sync_all(&copy)
}

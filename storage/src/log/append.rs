//! Appending: headers are checked, bytes copied into the mapping, and then published.
//!
//! A run of batches is copied piece by piece: a piece is what fits the active segment, and ends
//! before a control batch (whose effect on the aborted transactions may fail to be written). Each
//! piece is reserved, copied, patched, taken into indexes and producer state, and published;
//! nothing of a piece that fails is seen by anybody.

use std::io;
use std::sync::Arc;

use carrick_protocol::batch::{
    Batch, BatchHeader, Batches, ControlMarker, set_base_offset, set_leader_epoch,
    set_log_append_time,
};
use carrick_protocol::ids::Offset;
use tracing::warn;

use super::active::{Active, Incoming, SEGMENT_LIMIT_BYTES};
use super::files::remove_segment;
use super::segment::Sealed;
use super::transactions::AbortedIndex;
use super::{Appended, Log, LogError, Placement};

/// What the first look at a run of batches yields.
#[derive(Clone, Copy, Debug)]
struct Run {
    first_offset: Offset,
    next_offset: Offset,
    max_timestamp_ms: i64,
    batches: usize,
    has_control: bool,
}

impl Log {
    /// Appends whole batches. The CRC is not verified here: whoever took them from a peer did.
    ///
    /// Errors: `NonMonotonic`, `Batch`, `PartialBatch`, `BatchTooLarge`, `OffsetOverflow` leave
    /// the log as it was. After `DiskFull` and `Io` the first batches of a run that spans segments
    /// or transactions may be appended: the end says how far it got. `Faulted` is for good.
    pub fn append(
        &mut self,
        batches: &[u8],
        placement: Placement,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        self.durability.check()?;
        self.now_ms = now_ms;
        let run = self.check_run(batches, placement)?;
        if run.batches > 0 {
            self.begin_write()?;
        }
        let mut rest = batches;
        while !rest.is_empty() {
            let piece = self.next_piece(rest, run, placement)?;
            let (head, tail) = rest.split_at(piece);
            self.append_piece(head, placement)?;
            rest = tail;
        }
        Ok(Appended {
            first_offset: run.first_offset,
            last_offset: if run.batches > 0 {
                run.next_offset.prev()
            } else {
                run.next_offset
            },
            next_offset: self.end,
            max_timestamp_ms: run.max_timestamp_ms,
            bytes: batches.len(),
        })
    }

    /// Moves the end to `to` without bytes: the next segment begins there.
    ///
    /// Errors: `NonMonotonic` below the end, `DiskFull`, `Io`, `Faulted`.
    pub fn advance_end(&mut self, to: Offset) -> Result<(), LogError> {
        self.durability.check()?;
        if to < self.end {
            return Err(LogError::NonMonotonic {
                found: to,
                end: self.end,
            });
        }
        if to > self.end {
            self.begin_write()?;
            self.roll(to)?;
        }
        Ok(())
    }

    /// Checks a run before anything of it is written.
    fn check_run(&self, bytes: &[u8], placement: Placement) -> Result<Run, LogError> {
        let mut run = Run {
            first_offset: self.end,
            next_offset: self.end,
            max_timestamp_ms: -1,
            batches: 0,
            has_control: false,
        };
        let mut batches = Batches::new(bytes);
        for batch in batches.by_ref() {
            let header = batch?.header;
            let base = match placement {
                Placement::Next { .. } => run.next_offset,
                Placement::Exact => header.base_offset,
            };
            if base < run.next_offset {
                return Err(LogError::NonMonotonic {
                    found: base,
                    end: run.next_offset,
                });
            }
            let next = base.0.checked_add(i64::from(header.last_offset_delta) + 1);
            run.next_offset = Offset(next.ok_or(LogError::OffsetOverflow)?);
            if header.size_bytes() > SEGMENT_LIMIT_BYTES {
                return Err(LogError::BatchTooLarge {
                    bytes: header.size_bytes(),
                });
            }
            if run.batches == 0 {
                run.first_offset = base;
            }
            run.batches += 1;
            run.has_control |= header.is_control();
            run.max_timestamp_ms = run.max_timestamp_ms.max(stamped(&header, placement));
        }
        match bytes.len() - batches.position() {
            0 => Ok(run),
            rest => Err(LogError::PartialBatch(rest)),
        }
    }

    /// How many bytes of `rest` go into the active segment at once, which is rolled before if
    /// need be.
    fn next_piece(
        &mut self,
        rest: &[u8],
        run: Run,
        placement: Placement,
    ) -> Result<usize, LogError> {
        let all = Incoming {
            bytes: rest.len(),
            last_offset: run.next_offset.prev(),
            max_timestamp_ms: run.max_timestamp_ms,
            batches: run.batches,
        };
        if !run.has_control && !self.active.should_roll(all, &self.config, self.now_ms) {
            return Ok(rest.len());
        }
        let mut piece = Piece {
            bytes: 0,
            next_offset: self.end,
            max_timestamp_ms: -1,
            batches: 0,
        };
        for batch in Batches::new(rest) {
            let header = batch?.header;
            let base = match placement {
                Placement::Next { .. } => piece.next_offset,
                Placement::Exact => header.base_offset,
            };
            let grown = piece.with(&header, base, placement);
            if self
                .active
                .should_roll(grown.incoming(), &self.config, self.now_ms)
            {
                if piece.bytes > 0 {
                    break;
                }
                self.roll(base)?;
            }
            if header.is_control() {
                if piece.bytes > 0 {
                    break;
                }
                return Ok(header.size_bytes());
            }
            piece = grown;
        }
        Ok(piece.bytes)
    }

    /// Appends batches that fit the active segment.
    fn append_piece(&mut self, bytes: &[u8], placement: Placement) -> Result<(), LogError> {
        self.active.reserve(bytes.len(), &self.config)?;
        let start = self.active.size();
        let copied = self.copy_in(bytes, start, placement);
        let Copied {
            next_offset,
            epochs_changed,
            aborted_changed,
        } = copied.inspect_err(|_| {
            // Recovery must not find there what was never appended.
            if let Ok(spare) = self.spare(bytes.len()) {
                spare.fill(0);
            }
        })?;
        if epochs_changed {
            self.durability.epochs_changed(&self.epochs);
        }
        if aborted_changed {
            self.durability.aborted_changed(self.aborted.file());
        }
        self.active.log.publish(bytes.len());
        self.end = next_offset;
        if epochs_changed || aborted_changed || !self.shape_is_current() {
            self.publish_shape();
        } else {
            self.publish();
        }
        Ok(())
    }

    /// Copies batches behind the published bytes, sets what `placement` says, and takes them into
    /// indexes, epochs and producers. On an error nothing changed.
    fn copy_in(
        &mut self,
        bytes: &[u8],
        start: usize,
        placement: Placement,
    ) -> Result<Copied, LogError> {
        let mut copied = Copied {
            next_offset: self.end,
            epochs_changed: false,
            aborted_changed: false,
        };
        let mut at = 0;
        self.spare(bytes.len())?.copy_from_slice(bytes);
        while at < bytes.len() {
            let spare = self.spare(bytes.len())?.get_mut(at..).unwrap_or_default();
            let size = BatchHeader::parse(spare)?.size_bytes();
            let batch = spare
                .get_mut(..size)
                .ok_or(LogError::PartialBatch(bytes.len() - at))?;
            if let Placement::Next {
                leader_epoch,
                log_append_time_ms,
            } = placement
            {
                set_base_offset(batch, copied.next_offset);
                set_leader_epoch(batch, leader_epoch);
                if let Some(time_ms) = log_append_time_ms {
                    set_log_append_time(batch, time_ms);
                }
            }
            let batch = Batch::parse(batch)?;
            let (header, marker) = (batch.header, read_marker(&batch));
            copied.next_offset = header.next_offset();
            let aborted = self.producers.apply(&header, marker);
            copied.aborted_changed |= aborted.is_some();
            if let Some(aborted) = aborted
                && let Err(error) = self.aborted.append(aborted)
            {
                // The batch is not published: the producers must not know of it either.
                return Err(match self.reload_producers() {
                    Ok(()) => error,
                    Err(worse) => self.durability.fault(io::Error::other(worse)),
                });
            }
            copied.epochs_changed |= self.epochs.assign(header.leader_epoch, header.base_offset);
            self.active.note(&header, start + at, &self.config);
            at += size;
        }
        Ok(copied)
    }

    fn spare(&mut self, bytes: usize) -> Result<&mut [u8], LogError> {
        self.active
            .log
            .spare(bytes)
            .ok_or(LogError::BatchTooLarge { bytes })
    }

    /// Seals the active segment and begins a new one at `base`, the end or past it. An active
    /// segment without batches is replaced. On an error the log goes on with the old segment.
    pub(super) fn roll(&mut self, base: Offset) -> Result<(), LogError> {
        if self.active.size() == 0 {
            return self.replace_empty(base);
        }
        let mut written = self.active.settle()?;
        self.producers
            .expire(self.now_ms, self.config.producer_expiration_ms);
        written.push(self.producers.write_snapshot(&self.dir, base)?);
        let aborted = AbortedIndex::create(&self.dir, base)?;
        let fresh = Active::create(&self.dir, base, self.now_ms)?;
        let old = std::mem::replace(&mut self.active, fresh);
        let (base_before, file) = (old.base, Arc::clone(&old.file));
        self.durability
            .rolled(base_before, file, written, Arc::clone(&self.active.file));
        let sealed: Arc<Sealed> = Arc::new(old.sealed());
        self.sealed = self.sealed.iter().cloned().chain([sealed]).collect();
        self.aborted = aborted;
        self.end = base;
        self.publish_shape();
        Ok(())
    }

    fn replace_empty(&mut self, base: Offset) -> Result<(), LogError> {
        if base == self.active.base {
            return Ok(());
        }
        let written = vec![self.producers.write_snapshot(&self.dir, base)?];
        let aborted = AbortedIndex::create(&self.dir, base)?;
        let fresh = Active::create(&self.dir, base, self.now_ms)?;
        let old = std::mem::replace(&mut self.active, fresh);
        let (base_before, file) = (old.base, Arc::clone(&old.file));
        self.durability
            .rolled(base_before, file, written, Arc::clone(&self.active.file));
        self.aborted = aborted;
        self.end = base;
        self.publish_shape();
        remove_segment(&self.dir, old.base)
    }
}

/// What copying a piece of batches changed.
#[derive(Clone, Copy, Debug)]
struct Copied {
    next_offset: Offset,
    epochs_changed: bool,
    aborted_changed: bool,
}

/// Batches that are appended together.
#[derive(Clone, Copy, Debug)]
struct Piece {
    bytes: usize,
    next_offset: Offset,
    max_timestamp_ms: i64,
    batches: usize,
}

impl Piece {
    fn with(self, header: &BatchHeader, base: Offset, placement: Placement) -> Piece {
        Piece {
            bytes: self.bytes + header.size_bytes(),
            next_offset: base + (i64::from(header.last_offset_delta) + 1),
            max_timestamp_ms: self.max_timestamp_ms.max(stamped(header, placement)),
            batches: self.batches + 1,
        }
    }

    fn incoming(&self) -> Incoming {
        Incoming {
            bytes: self.bytes,
            last_offset: self.next_offset.prev(),
            max_timestamp_ms: self.max_timestamp_ms,
            batches: self.batches,
        }
    }
}

/// The largest timestamp a batch will have in the log.
fn stamped(header: &BatchHeader, placement: Placement) -> i64 {
    match placement {
        Placement::Next {
            log_append_time_ms: Some(time_ms),
            ..
        } => time_ms,
        _ => header.max_timestamp_ms,
    }
}

/// The marker of a control batch. One that cannot be read is kept as it is and ends nothing.
pub(super) fn read_marker(batch: &Batch<'_>) -> Option<ControlMarker> {
    ControlMarker::read(batch).unwrap_or_else(|error| {
        warn!(offset = %batch.header.base_offset, %error, "control batch ignored");
        None
    })
}

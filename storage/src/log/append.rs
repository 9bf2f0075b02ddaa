//! Appending: headers are checked, bytes written to the file, and then published.
//!
//! A run of batches is written piece by piece: a piece is what fits the active segment, and ends
//! before a control batch (whose effect on the aborted transactions may fail to be written). Each
//! piece is written with the headers that it gets in the log, taken into indexes and producer
//! state, and published. Nothing of a piece that fails is seen by anybody: the file is cut
//! back to where it was.

use std::io::{self, IoSlice};
use std::sync::Arc;

use carrick_protocol::batch::{
    Batch, BatchHeader, Batches, ControlMarker, HEADER_BYTES, header_in_log,
};
use carrick_protocol::ids::Offset;
use tracing::warn;

use super::active::{Active, Incoming, SEGMENT_LIMIT_BYTES};
use super::files::{remove_if_there, remove_segment};
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
        let base_before = self.active.base;
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
            has_rolled: self.active.base != base_before,
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
        let heads = Heads::of(bytes, self.end, placement)?;
        let heads = heads.as_slice();
        let (pair, many);
        let parts = match heads {
            [] => {
                pair = [IoSlice::new(bytes), IoSlice::new(&[])];
                &pair[..1]
            }
            [head] => {
                pair = [IoSlice::new(head), IoSlice::new(&bytes[HEADER_BYTES..])];
                &pair[..]
            }
            heads => {
                many = parts_in_log(bytes, heads);
                &many[..]
            }
        };
        let (config, durability) = (&self.config, Arc::clone(&self.durability));
        self.active.write(parts, bytes.len(), config, &durability)?;
        let Noted {
            next_offset,
            epochs_changed,
            aborted_changed,
        } = match self.note_piece(bytes, heads) {
            Ok(noted) => noted,
            Err(error) => {
                self.active.cut_back(&durability)?;
                return Err(error);
            }
        };
        if epochs_changed {
            self.durability.epochs_changed(&self.epochs);
        }
        if aborted_changed {
            self.durability.aborted_changed(self.aborted.file());
        }
        self.active.log.publish();
        self.end = next_offset;
        if epochs_changed || aborted_changed || !self.shape_is_current() {
            self.publish_shape();
        } else {
            self.publish();
        }
        Ok(())
    }

    /// Takes batches that were written into indexes, epochs and producers. On an error nothing
    /// changed.
    fn note_piece(&mut self, bytes: &[u8], heads: &[Head]) -> Result<Noted, LogError> {
        let mut noted = Noted {
            next_offset: self.end,
            epochs_changed: false,
            aborted_changed: false,
        };
        let mut at = self.active.size();
        for (number, batch) in Batches::new(bytes).enumerate() {
            let mut batch = batch?;
            if let Some(head) = heads.get(number) {
                batch.header = BatchHeader::parse(head)?;
            }
            let (header, marker) = (batch.header, read_marker(&batch));
            noted.next_offset = header.next_offset();
            let aborted = self.producers.apply(&header, marker, self.now_ms);
            noted.aborted_changed |= aborted.is_some();
            if let Some(aborted) = aborted
                && let Err(error) = self.aborted.append(aborted)
            {
                // The batch is not published: the producers must not know of it either.
                return Err(match self.reload_producers() {
                    Ok(()) => error,
                    Err(worse) => self.durability.fault(io::Error::other(worse)),
                });
            }
            noted.epochs_changed |= self.epochs.assign(header.leader_epoch, header.base_offset);
            self.active.note(&header, at, &self.config);
            at += header.size_bytes();
        }
        Ok(noted)
    }

    /// Seals the active segment and begins a new one at `base`, the end or past it. An active
    /// segment without batches is replaced. On an error the log goes on with the old segment.
    pub(super) fn roll(&mut self, base: Offset) -> Result<(), LogError> {
        if self.active.size() == 0 {
            return self.replace_empty(base);
        }
        let indexes = self.active.settle(&self.durability)?;
        self.producers
            .expire(self.now_ms, self.config.producer_expiration_ms);
        let (aborted, fresh) = self.begin_segment(base)?;
        let old = std::mem::replace(&mut self.active, fresh);
        self.durability.rolled(old.base, indexes);
        let sealed: Arc<Sealed> = Arc::new(old.sealed());
        self.sealed = self.sealed.iter().cloned().chain([sealed]).collect();
        self.aborted = aborted;
        self.end = base;
        self.publish_shape();
        Ok(())
    }

    /// Makes the files of a segment that begins at `base`. Nothing is left of them on an error: a
    /// snapshot past the end would not tell of what is appended before `base` after all.
    fn begin_segment(&self, base: Offset) -> Result<(AbortedIndex, Active), LogError> {
        let snapshot = self.producers.write_snapshot(&self.dir, base)?;
        let begun = AbortedIndex::create(&self.dir, base)
            .and_then(|aborted| Ok((aborted, Active::create(&self.dir, base, self.now_ms)?)));
        match begun {
            // It belongs to the new segment, and must reach the disk whatever becomes of the old.
            Ok(_) => self.durability.written(vec![snapshot]),
            Err(_) => remove_if_there(&snapshot)?,
        }
        begun
    }

    fn replace_empty(&mut self, base: Offset) -> Result<(), LogError> {
        if base == self.active.base {
            return Ok(());
        }
        let (aborted, fresh) = self.begin_segment(base)?;
        let old = std::mem::replace(&mut self.active, fresh);
        self.durability.rolled(old.base, Vec::new());
        self.aborted = aborted;
        self.end = base;
        self.publish_shape();
        remove_segment(&self.dir, old.base)
    }
}

/// A batch's header as it is in the log.
type Head = [u8; HEADER_BYTES];

/// The headers that batches get in the log, where they don't stay as they are.
enum Heads {
    Kept,
    One([Head; 1]),
    Many(Vec<Head>),
}

impl Heads {
    /// For `bytes`, which were checked, at the log's `end`.
    fn of(bytes: &[u8], end: Offset, placement: Placement) -> Result<Heads, LogError> {
        let Placement::Next {
            leader_epoch,
            log_append_time_ms,
        } = placement
        else {
            return Ok(Heads::Kept);
        };
        let head =
            |batch: &[u8], base| header_in_log(batch, base, leader_epoch, log_append_time_ms);
        if BatchHeader::parse(bytes)?.size_bytes() == bytes.len() {
            return Ok(Heads::One([head(bytes, end)]));
        }
        let (mut base, mut heads) = (end, Vec::new());
        for batch in Batches::new(bytes) {
            let batch = batch?;
            heads.push(head(batch.bytes, base));
            base = base + (i64::from(batch.header.last_offset_delta) + 1);
        }
        Ok(Heads::Many(heads))
    }

    fn as_slice(&self) -> &[Head] {
        match self {
            Heads::Kept => &[],
            Heads::One(head) => head,
            Heads::Many(heads) => heads,
        }
    }
}

/// Each of `heads`, and what follows a header in its batch.
fn parts_in_log<'a>(bytes: &'a [u8], heads: &'a [Head]) -> Vec<IoSlice<'a>> {
    let mut parts = Vec::with_capacity(2 * heads.len());
    for (head, batch) in heads.iter().zip(Batches::new(bytes).flatten()) {
        parts.push(IoSlice::new(head));
        parts.push(IoSlice::new(&batch.bytes[HEADER_BYTES..]));
    }
    parts
}

/// What a piece of batches changed.
#[derive(Clone, Copy, Debug)]
struct Noted {
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

//! Appending: batches are placed, their bytes written to the file, and then published.
//!
//! A run of batches is written piece by piece: a piece is what fits the active segment, and ends
//! before a control batch (whose effect on the aborted transactions may fail to be written). Each
//! piece is written with the header that it gets in the log, taken into indexes and producer state,
//! and published. If a piece fails, no reader sees any of it: the file is cut back to where it was.
//!
//! No header is parsed here: they come with [`CheckedBatches`].

use std::io::{self, IoSlice};
use std::sync::Arc;

use carrick_protocol::batch::{
    BatchHeader, CheckedBatches, ControlMarker, HEADER_BYTES, HeaderInLog, header_in_log,
};
use carrick_protocol::ids::Offset;
use tracing::warn;

use super::active::{Active, Incoming, SEGMENT_LIMIT_BYTES};
use super::files::{remove_if_there, remove_segment};
use super::segment::Sealed;
use super::transactions::AbortedIndex;
use super::{Appended, Log, LogError, Placement};

/// Batches that are being appended to the log.
#[derive(Clone, Copy, Debug)]
struct Run<'a> {
    /// As they are in the log.
    headers: &'a [BatchHeader],
    /// As they were given.
    bytes: &'a [u8],
    /// The header that the only batch gets in the log, if it doesn't stay as it is.
    head: Option<&'a [u8; HEADER_BYTES]>,
}

impl Log {
    /// Appends batches. With [`Placement::Next`], one at a time.
    ///
    /// Errors: `NonMonotonic`, `BatchTooLarge`, `OffsetOverflow` leave the log as it was. After
    /// `DiskFull` and `Io` the first batches of a run that spans segments or transactions may be
    /// appended: the end says how far it got. `Faulted` is final.
    ///
    /// # Panics
    /// When several batches are to be placed by the log.
    pub fn append(
        &mut self,
        batches: &CheckedBatches,
        placement: Placement,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        self.durability.check()?;
        self.now_ms = now_ms;
        let placed;
        let run = match placement {
            Placement::Exact => Run {
                headers: batches.headers(),
                bytes: batches.bytes(),
                head: None,
            },
            Placement::Next {
                leader_epoch,
                log_append_time_ms,
            } => {
                let batch = batches.only();
                let delta = i64::from(batch.header.last_offset_delta);
                if self.end.0.checked_add(delta + 1).is_none() {
                    return Err(LogError::OffsetOverflow);
                }
                placed = header_in_log(&batch, self.end, leader_epoch, log_append_time_ms);
                let HeaderInLog { header, bytes } = &placed;
                Run {
                    headers: std::slice::from_ref(header),
                    bytes: batch.bytes,
                    head: Some(bytes),
                }
            }
        };
        self.append_run(run)
    }

    fn append_run(&mut self, run: Run<'_>) -> Result<Appended, LogError> {
        let base_before = self.active.base;
        let (first, last) = (run.headers[0], run.headers[run.headers.len() - 1]);
        if first.base_offset < self.end {
            return Err(LogError::NonMonotonic {
                found: first.base_offset,
                end: self.end,
            });
        }
        let all = Incoming::of(run.headers);
        let large = run.headers.iter().map(BatchHeader::size_bytes);
        if let Some(bytes) = large.max().filter(|bytes| *bytes > SEGMENT_LIMIT_BYTES) {
            return Err(LogError::BatchTooLarge { bytes });
        }
        self.begin_write()?;
        let mut rest = run;
        while !rest.headers.is_empty() {
            let (piece, after) = rest.split_at(self.next_piece(rest, all)?);
            self.append_piece(piece)?;
            rest = after;
        }
        assert_eq!(
            self.end,
            last.next_offset(),
            "an append ends where its batches do"
        );
        Ok(Appended {
            first_offset: first.base_offset,
            last_offset: last.last_offset(),
            next_offset: self.end,
            max_timestamp_ms: all.max_timestamp_ms,
            bytes: run.bytes.len(),
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

    /// How many batches of `rest` go into the active segment in one piece; the segment is rolled
    /// first if necessary.
    fn next_piece(&mut self, rest: Run<'_>, all: Incoming) -> Result<usize, LogError> {
        let has_control = rest.headers.iter().any(BatchHeader::is_control);
        let all = Incoming {
            bytes: rest.bytes.len(),
            ..all
        };
        if !has_control && !self.active.should_roll(all, &self.config, self.now_ms) {
            return Ok(rest.headers.len());
        }
        let mut piece = Incoming::none();
        for (number, header) in rest.headers.iter().enumerate() {
            let grown = piece.with(header);
            if self.active.should_roll(grown, &self.config, self.now_ms) {
                if number > 0 {
                    return Ok(number);
                }
                self.roll(header.base_offset)?;
            }
            if header.is_control() {
                return Ok(number.max(1));
            }
            piece = grown;
        }
        Ok(rest.headers.len())
    }

    /// Appends batches that fit the active segment.
    fn append_piece(&mut self, piece: Run<'_>) -> Result<(), LogError> {
        let (pair, one);
        let parts = match piece.head {
            None => {
                one = [IoSlice::new(piece.bytes)];
                &one[..]
            }
            Some(head) => {
                let rest = &piece.bytes[HEADER_BYTES..];
                pair = [IoSlice::new(head), IoSlice::new(rest)];
                &pair[..]
            }
        };
        let (config, durability) = (&self.config, Arc::clone(&self.durability));
        self.active
            .write(parts, piece.bytes.len(), config, &durability)?;
        let Noted {
            next_offset,
            size,
            epochs_changed,
            aborted_changed,
        } = match self.note_piece(piece) {
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
        assert_eq!(
            self.active.size(),
            size,
            "what was indexed is what is published"
        );
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
    fn note_piece(&mut self, piece: Run<'_>) -> Result<Noted, LogError> {
        let mut noted = Noted {
            next_offset: self.end,
            size: self.active.size(),
            epochs_changed: false,
            aborted_changed: false,
        };
        let mut rest = piece.bytes;
        for header in piece.headers {
            let (bytes, after) = rest.split_at(header.size_bytes());
            let marker = read_marker(header, &bytes[HEADER_BYTES..]);
            noted.next_offset = header.next_offset();
            let aborted = self.producers.apply(header, marker, self.now_ms);
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
            self.active.note(header, noted.size, &self.config);
            noted.size += bytes.len();
            rest = after;
        }
        Ok(noted)
    }

    /// Seals the active segment and begins a new one at `base`, the end or past it. An active
    /// segment without batches is replaced. On an error, the log continues with the old segment.
    pub(super) fn roll(&mut self, base: Offset) -> Result<(), LogError> {
        assert!(
            base >= self.end,
            "a segment begins at {base}, before the end {}",
            self.end
        );
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

    /// Creates the files of a segment that begins at `base`. On an error it removes them: a
    /// producer snapshot at `base` would miss whatever is appended before `base` after all.
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

impl<'a> Run<'a> {
    /// The first `count` batches, and what follows them.
    fn split_at(self, count: usize) -> (Run<'a>, Run<'a>) {
        let (piece, after) = self.headers.split_at(count);
        let bytes = piece.iter().map(BatchHeader::size_bytes).sum();
        let (piece_bytes, after_bytes) = self.bytes.split_at(bytes);
        let of = |headers, bytes| Run {
            headers,
            bytes,
            head: self.head,
        };
        (of(piece, piece_bytes), of(after, after_bytes))
    }
}

/// What a piece of batches changed.
#[derive(Clone, Copy, Debug)]
struct Noted {
    next_offset: Offset,
    /// Of the active segment, with the piece.
    size: usize,
    epochs_changed: bool,
    aborted_changed: bool,
}

impl Incoming {
    fn none() -> Incoming {
        Incoming {
            bytes: 0,
            last_offset: Offset::NONE,
            max_timestamp_ms: -1,
            batches: 0,
        }
    }

    fn of(headers: &[BatchHeader]) -> Incoming {
        headers.iter().fold(Incoming::none(), Incoming::with)
    }

    fn with(self, header: &BatchHeader) -> Incoming {
        Incoming {
            bytes: self.bytes + header.size_bytes(),
            last_offset: header.last_offset(),
            max_timestamp_ms: self.max_timestamp_ms.max(header.max_timestamp_ms),
            batches: self.batches + 1,
        }
    }
}

/// The marker of a control batch. One that cannot be read is kept as it is and ends nothing.
pub(super) fn read_marker(header: &BatchHeader, body: &[u8]) -> Option<ControlMarker> {
    ControlMarker::read(header, body).unwrap_or_else(|error| {
        warn!(offset = %header.base_offset, %error, "control batch ignored");
        None
    })
}

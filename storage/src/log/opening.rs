//! Opening a log from its files: they are trusted after a clean close, and recovered otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrick_protocol::ids::Offset;
use tracing::{debug, error, warn};

use super::active::{Active, SEGMENT_LIMIT_BYTES};
use super::checkpoint::{Checkpoint, Marks};
use super::compaction;
use super::durability::Durability;
use super::files::{Found, Kind, list_all, list_segments, path_of, remove_segment};
use super::producers::remove_stray_snapshots;
use super::reader::{Extent, Shape, Snapshot};
use super::retention::Deleted;
use super::segment::Sealed;
use super::state::{apply, replay};
use super::transactions::AbortedIndex;
use super::{EpochHistory, Log, LogConfig, LogError, LogReader, Producers, Recovered};

/// A log being put together.
pub(super) struct Opening {
    pub dir: Arc<Path>,
    pub config: LogConfig,
    pub now_ms: i64,
    pub marks: Marks,
    pub epochs: EpochHistory,
    /// As the file has them.
    pub saved_epochs: EpochHistory,
    pub sealed: Vec<Arc<Sealed>>,
    /// From this base offset on, aborted transactions are found again in the batches.
    pub scanned_from: Option<Offset>,
    /// Snapshots written on the way.
    written: Vec<PathBuf>,
    pub recovered: Recovered,
}

impl Log {
    /// Opens the log in `dir`, created when missing, and recovers it if it was not closed. The
    /// high watermark is the log start until it is set.
    ///
    /// Errors: `Io`, `DiskFull`; `Corrupt` for durable data that cannot be read around. A torn
    /// tail is no error.
    pub fn open(dir: &Path, config: LogConfig, now_ms: i64) -> Result<(Log, Recovered), LogError> {
        fs::create_dir_all(dir).map_err(|e| LogError::io(dir, e))?;
        let (mut checkpoint, marks) = Checkpoint::open(dir)?;
        compaction::repair(dir)?;
        let mut opening = Opening::new(dir, config, now_ms, marks);
        let found = opening.segments()?;
        let mut active = match opening.open_clean(&found)? {
            Some(active) => active,
            None => opening.recover(found)?,
        };
        let mut end = active.end()?;
        if opening.marks.log_start > end {
            active = opening.start_over(&active)?;
            end = active.base;
        }
        opening.check_aborted(&active, end)?;
        opening.settle_marks(&active, end, marks.is_some());
        match marks {
            None => checkpoint.write(opening.marks)?,
            // A recovery point or clean mark that is no longer true must not come back.
            Some(before) if before != opening.marks => checkpoint.write_synced(opening.marks)?,
            Some(_) => {}
        }
        let mut aborted = opening.open_aborted(&active)?;
        let producers = opening.load_producers(&active, &mut aborted, end)?;
        let cleaned = compaction::cleaned_up_to(dir, end)?;
        let recovered = opening.recovered;
        if !recovered.clean && marks.is_some() {
            debug!(dir = %dir.display(), ?recovered, "log recovered");
        }
        let mut log = opening.assemble(active, aborted, producers, end, checkpoint);
        log.cleaned = cleaned;
        Ok((log, recovered))
    }
}

impl Opening {
    fn new(dir: &Path, config: LogConfig, now_ms: i64, marks: Option<Marks>) -> Opening {
        let nothing = Marks {
            recovery_point: Offset::ZERO,
            log_start: Offset::ZERO,
            clean_end: Offset::NONE,
        };
        Opening {
            dir: Arc::from(dir),
            config,
            now_ms,
            marks: marks.unwrap_or(nothing),
            epochs: EpochHistory::default(),
            saved_epochs: EpochHistory::default(),
            sealed: Vec::new(),
            scanned_from: None,
            written: Vec::new(),
            recovered: Recovered::default(),
        }
    }

    /// The segments there are, without those that lie wholly below the log start.
    fn segments(&self) -> Result<Vec<Found>, LogError> {
        let found = list_segments(&self.dir)?;
        let below = found
            .windows(2)
            .take_while(|pair| pair[1].base <= self.marks.log_start);
        let below = below.count();
        for segment in &found[..below] {
            remove_segment(&self.dir, segment.base)?;
        }
        Ok(found[below..].to_vec())
    }

    /// Opens a log that was closed cleanly; `None` when it was not, or does not look like it.
    fn open_clean(&mut self, found: &[Found]) -> Result<Option<Active>, LogError> {
        let Some((last, sealed)) = found.split_last() else {
            return Ok(None);
        };
        if !self.marks.clean_end.is_some() || !self.indexes_are_there(sealed)? {
            return Ok(None);
        }
        let Ok(epochs) = EpochHistory::load(&self.dir) else {
            return Ok(None);
        };
        let size = size_of(last.file_bytes);
        let mut active = Active::resume(&self.dir, last.base, size, self.now_ms)?;
        let sane = active.load_indexes()?;
        let clean_end = self.marks.clean_end;
        let ends_there = active.end().is_ok_and(|end| end == clean_end);
        if !sane || !ends_there {
            // The mark goes when the log is written to, but it is the flush that waits for that.
            let was_written = active.base >= clean_end || (sane && ends_in(&active, clean_end));
            if !was_written {
                let dir = self.dir.display();
                warn!(%dir, "log was closed cleanly but does not look like it");
                self.marks.recovery_point = Offset::ZERO;
            }
            return Ok(None);
        }
        self.saved_epochs = epochs.clone();
        self.epochs = epochs;
        self.sealed = sealed.iter().map(|found| self.believed(found)).collect();
        self.recovered.clean = true;
        Ok(Some(active))
    }

    fn indexes_are_there(&self, sealed: &[Found]) -> Result<bool, LogError> {
        if sealed.is_empty() {
            return Ok(true);
        }
        let mut there = list_all(&self.dir)?;
        there.sort();
        let has = |base, kind| there.binary_search(&(base, kind)).is_ok();
        Ok(sealed
            .iter()
            .all(|s| has(s.base, Kind::Offsets) && has(s.base, Kind::Times)))
    }

    pub fn believed(&self, found: &Found) -> Arc<Sealed> {
        Arc::new(Sealed::new(
            &self.dir,
            found.base,
            size_of(found.file_bytes),
        ))
    }

    /// A log whose start lies past its end: a truncation that a crash cut short.
    fn start_over(&mut self, active: &Active) -> Result<Active, LogError> {
        for base in self.bases(active) {
            remove_segment(&self.dir, base)?;
        }
        self.sealed.clear();
        // Before there is a segment again: the epochs of removed batches must not come back.
        self.epochs.clear();
        self.epochs.save(&self.dir)?;
        self.saved_epochs = self.epochs.clone();
        self.scanned_from = None;
        self.recovered.clean = false;
        Active::create(&self.dir, self.marks.log_start, self.now_ms)
    }

    /// The marks for the log as it is now. Without a checkpoint it starts with its first segment;
    /// with one, it may start before that: in a gap.
    fn settle_marks(&mut self, active: &Active, end: Offset, had_checkpoint: bool) {
        if !had_checkpoint {
            let first = self
                .sealed
                .first()
                .map_or(active.base, |segment| segment.base);
            self.marks.log_start = self.marks.log_start.max(first);
        }
        if end < self.marks.recovery_point {
            let (dir, was) = (self.dir.display(), self.marks.recovery_point);
            error!(%dir, %was, now = %end, "the disk lost the end of a log that had been synced");
            self.marks.recovery_point = end;
        }
        if !self.recovered.clean {
            self.marks.clean_end = Offset::NONE;
        }
    }

    fn bases(&self, active: &Active) -> Vec<Offset> {
        self.sealed
            .iter()
            .map(|segment| segment.base)
            .chain([active.base])
            .collect()
    }

    fn is_scanned(&self, base: Offset) -> bool {
        self.scanned_from.is_some_and(|from| base >= from)
    }

    /// Checks whether the index of the active segment's aborted transactions can be trusted. If
    /// not, it is rebuilt, and the log does not count as closed cleanly until that is on the disk.
    fn check_aborted(&mut self, active: &Active, end: Offset) -> Result<(), LogError> {
        if self.is_scanned(active.base) {
            return Ok(());
        }
        match AbortedIndex::open(&self.dir, active.base) {
            // A power loss took batches that it names.
            Ok(index) if index.reaches(end) => {}
            Ok(_) => return Ok(()),
            Err(LogError::Corrupt { path, problem }) => {
                warn!(path = %path.display(), problem, "the index of aborted transactions is rebuilt");
            }
            Err(error) => return Err(error),
        }
        self.scanned_from = Some(active.base);
        self.recovered.clean = false;
        Ok(())
    }

    /// The aborted transactions of the active segment, empty where they are rebuilt.
    fn open_aborted(&self, active: &Active) -> Result<AbortedIndex, LogError> {
        match self.is_scanned(active.base) {
            true => AbortedIndex::create(&self.dir, active.base),
            false => AbortedIndex::open(&self.dir, active.base),
        }
    }

    /// Producers from the newest snapshot and the batches after it; the aborted transactions of
    /// scanned segments on the way.
    fn load_producers(
        &mut self,
        active: &Active,
        aborted: &mut AbortedIndex,
        end: Offset,
    ) -> Result<Producers, LogError> {
        let bases = self.bases(active);
        let mut producers = Producers::new();
        producers.set_limit(self.config.producers_max);
        let from = producers.reload(&self.dir, bases[0], self.scanned_from.unwrap_or(end))?;
        for at in 0..self.sealed.len() {
            let (base, next) = (bases[at], bases[at + 1]);
            if !self.is_scanned(base) {
                let view = self.sealed[at].view(next);
                let later = (next > from).then_some(view);
                replay(later, from, self.now_ms, |stored| {
                    apply(&mut producers, stored).map(drop)
                })?;
                continue;
            }
            if base > from {
                let written = producers.write_snapshot(&self.dir, base)?;
                self.written.push(written);
            }
            let mut index = AbortedIndex::create(&self.dir, base)?;
            let view = self.sealed[at].view(next);
            replay([view], from, self.now_ms, |stored| {
                let aborted = apply(&mut producers, stored)?;
                aborted.map_or(Ok(()), |aborted| index.append(aborted))
            })?;
            // A segment whose aborted transactions have not been read yet.
            self.sealed[at] = Arc::new(Sealed::new(&self.dir, base, self.sealed[at].size));
        }
        let scanned = self.is_scanned(active.base);
        replay(
            [Ok(active.view(end))],
            from,
            self.now_ms,
            |stored| match apply(&mut producers, stored)? {
                Some(entry) if scanned => aborted.append(entry),
                _ => Ok(()),
            },
        )?;
        remove_stray_snapshots(&self.dir, &bases)?;
        producers.expire(self.now_ms, self.config.producer_expiration_ms);
        Ok(producers)
    }

    fn assemble(
        mut self,
        active: Active,
        aborted: AbortedIndex,
        producers: Producers,
        end: Offset,
        checkpoint: Checkpoint,
    ) -> Log {
        self.epochs.truncate_from_start(self.marks.log_start);
        let sealed: Arc<[Arc<Sealed>]> = self.sealed.iter().cloned().collect();
        let shape = Arc::new(Shape::new(
            &self.dir,
            &sealed,
            &active,
            &aborted,
            &self.epochs,
        ));
        let log_start = self.marks.log_start;
        let reader = LogReader::new(Snapshot::new(Arc::clone(&shape), Extent::empty(log_start)));
        let clean = self.recovered.clean;
        let durability = Durability::new(&self.dir, reader.clone(), checkpoint, !clean);
        if !self.recovered.clean {
            durability.aborted_changed(aborted.file());
            let mut unsynced = self.unsynced();
            unsynced.extend([active.path(), aborted.path().to_path_buf()]);
            durability.written(unsynced);
        }
        if self.epochs != self.saved_epochs {
            durability.epochs_changed(&self.epochs);
        }
        let log = Log {
            dir: self.dir,
            config: self.config,
            sealed,
            active,
            aborted,
            producers,
            epochs: self.epochs,
            log_start,
            end,
            high_watermark: log_start,
            now_ms: self.now_ms,
            marked_clean: self.recovered.clean,
            shape,
            reader,
            durability: Arc::new(durability),
            deleted: Deleted::default(),
            cleaned: Offset::NONE,
            history: 0,
        };
        log.publish();
        log
    }

    /// Files of scanned segments, whose content may not be durable yet.
    fn unsynced(&self) -> Vec<PathBuf> {
        let scanned = self
            .sealed
            .iter()
            .filter(|segment| self.is_scanned(segment.base));
        let kinds = [Kind::Log, Kind::Offsets, Kind::Times, Kind::Aborted];
        let paths = scanned.flat_map(|s| kinds.map(|kind| path_of(&self.dir, s.base, kind)));
        paths.chain(self.written.iter().cloned()).collect()
    }
}

/// Whether a batch of the segment ends at `offset`.
fn ends_in(active: &Active, offset: Offset) -> bool {
    let view = active.view(Offset::MAX);
    let whole = view.headers(view.position_before(offset.prev()));
    whole
        .map_while(Result::ok)
        .take_while(|(_, header)| header.base_offset < offset)
        .any(|(_, header)| header.next_offset() == offset)
}

/// A file's length as a segment's size.
pub(super) fn size_of(file_bytes: u64) -> usize {
    usize::try_from(file_bytes)
        .unwrap_or(usize::MAX)
        .min(SEGMENT_LIMIT_BYTES)
}

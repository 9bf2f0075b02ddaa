//! Getting a log to the disk, separately from its writer.
//!
//! The writer records which files it wrote to ([`Durability::sealed`], …) and continues; a flush
//! syncs them on its own thread. Invariants, with durable end D and end E of the current snapshot:
//!
//! - recovery point on the disk ≤ D ≤ E (asserted where they move), and everything below D is in
//!   files that were synced;
//! - a flush reads E and the list of files under one lock: everything below E is in one of them,
//!   because a roll adds the new file under that lock before its bytes are published;
//! - D goes back only by truncation, which counts up `generation` when it begins and again after
//!   it published its smaller E: a flush that read E before or in between does not move D;
//! - after the first failed sync the log stays faulted: the system may have dropped what it
//!   could not write, so a second try would lie;
//! - marks of the checkpoint are written under the lock and synced outside of it, by the next flush
//!   or by a caller that needs them on the disk ([`Durability::sync_marks`]): the writer never waits
//!   for the disk unless it asks to;
//! - once the writer has ended, nothing is written into the folder by name: another log may have
//!   that name by then.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use carrick_protocol::ids::Offset;
use parking_lot::Mutex;

use super::checkpoint::{Checkpoint, Marks};
use super::epochs::EpochHistory;
use super::files::open_to_sync;
use super::{LogError, LogReader};
use crate::disk::{sync_all, sync_data};

/// Flushes one log. Takes none of the writer's locks: appends continue meanwhile.
#[derive(Clone, Debug)]
pub struct FlushHandle {
    shared: Arc<Durability>,
}

impl FlushHandle {
    pub(super) fn new(shared: Arc<Durability>) -> FlushHandle {
        FlushHandle { shared }
    }

    /// Brings everything appended so far to the disk and advances the recovery point. Returns the
    /// durable end.
    ///
    /// Errors: `Faulted`, from the first failure on until the log is opened again.
    pub fn flush(&self) -> Result<Offset, LogError> {
        self.shared.flush()
    }

    /// Brings a log start that moved to the disk, and nothing else: also a full disk takes it.
    ///
    /// Errors: as [`FlushHandle::flush`].
    pub fn sync_log_start(&self) -> Result<(), LogError> {
        self.shared.check()?;
        self.shared.sync_marks()
    }

    /// Everything below is on the disk.
    pub fn durable_end(&self) -> Offset {
        self.shared.durable_end()
    }

    /// A number that is the same for all handles of one log and no other in this process.
    pub fn log_id(&self) -> u64 {
        self.shared.id
    }
}

static NEXT_LOG_ID: AtomicU64 = AtomicU64::new(1);

/// State shared by the writer and the flushes of one log.
#[derive(Debug)]
pub(super) struct Durability {
    id: u64,
    dir: Arc<Path>,
    reader: LogReader,
    state: Mutex<State>,
    /// Held during a flush: the next one finds less to do.
    flushing: Mutex<()>,
    /// How many of the marks that must reach the disk are there. Held while they are synced.
    marks_synced: Mutex<u64>,
    /// Whether epochs may be saved. Held while they are.
    saves_epochs: Mutex<bool>,
    durable_end: AtomicI64,
    fault: OnceLock<Arc<io::Error>>,
}

#[derive(Debug)]
struct State {
    checkpoint: Checkpoint,
    /// Whether the writer lives: then the folder is this log's.
    has_writer: bool,
    /// How many marks were written that must reach the disk.
    marks_written: u64,
    /// The active segment's file, once it was written to.
    active: Option<Arc<File>>,
    /// The file of its aborted transactions, once it has any.
    aborted: Option<Arc<File>>,
    /// The epochs, when they changed since the last flush.
    epochs: Option<EpochHistory>,
    /// Files written since the last flush that take no more writes, and their segments.
    finished: Vec<(Offset, Unsynced)>,
    /// Whether files were created, renamed or removed since the last flush.
    folder_changed: bool,
    /// Whether the folder itself is new to its parent.
    folder_is_new: bool,
    generation: u64,
    /// Between begin and end of a truncation: E is not true any more.
    truncating: bool,
}

impl State {
    fn write_marks(&mut self, marks: Marks) -> Result<(), LogError> {
        if self.has_writer {
            self.checkpoint.write(marks)
        } else {
            Ok(())
        }
    }
}

/// A file to sync.
#[derive(Clone, Debug)]
enum Unsynced {
    Open(Arc<File>),
    /// Written and closed; may be deleted by now.
    Path(PathBuf),
}

impl Unsynced {
    /// The file to sync; `None` if it was deleted.
    fn open(&self) -> io::Result<Option<Arc<File>>> {
        match self {
            Unsynced::Open(file) => Ok(Some(Arc::clone(file))),
            Unsynced::Path(path) => match open_to_sync(path) {
                Ok(file) => Ok(Some(Arc::new(file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
        }
    }
}

impl Durability {
    pub fn new(
        dir: &Arc<Path>,
        reader: LogReader,
        checkpoint: Checkpoint,
        folder_may_be_new: bool,
    ) -> Durability {
        let durable_end = AtomicI64::new(checkpoint.marks().recovery_point.0);
        Durability {
            id: NEXT_LOG_ID.fetch_add(1, Ordering::Relaxed),
            dir: Arc::clone(dir),
            reader,
            state: Mutex::new(State {
                checkpoint,
                has_writer: true,
                marks_written: 0,
                active: None,
                aborted: None,
                epochs: None,
                finished: Vec::new(),
                folder_changed: folder_may_be_new,
                folder_is_new: folder_may_be_new,
                generation: 0,
                truncating: false,
            }),
            flushing: Mutex::new(()),
            marks_synced: Mutex::new(0),
            saves_epochs: Mutex::new(true),
            durable_end,
            fault: OnceLock::new(),
        }
    }

    pub fn durable_end(&self) -> Offset {
        Offset(self.durable_end.load(Ordering::Acquire))
    }

    /// `Faulted` once a sync has failed.
    pub fn check(&self) -> Result<(), LogError> {
        match self.fault.get() {
            Some(cause) => Err(LogError::Faulted(Arc::clone(cause))),
            None => Ok(()),
        }
    }

    /// Faults the log; the first cause stays.
    pub fn fault(&self, cause: io::Error) -> LogError {
        LogError::Faulted(Arc::clone(self.fault.get_or_init(|| Arc::new(cause))))
    }

    pub fn flush(&self) -> Result<Offset, LogError> {
        let _one_at_a_time = self.flushing.lock();
        self.check()?;
        self.sync_marks()?;
        let mut work = loop {
            self.save_epochs()?;
            if let Some(work) = self.take_work() {
                break work;
            }
        };
        if work.end == self.durable_end() && work.files.is_empty() && work.folders.is_empty() {
            return Ok(work.end);
        }
        match work.sync() {
            Ok(()) => self.advance(work.end, work.generation),
            Err(Unfinished::Open(error)) => Err(self.not_finished(work, error)),
            Err(Unfinished::Sync(cause)) => Err(self.fault(cause)),
        }
    }

    /// Everything that is to be synced for the current end; `None` if epochs are to be saved.
    fn take_work(&self) -> Option<Work> {
        let mut state = self.state.lock();
        if state.epochs.is_some() {
            return None;
        }
        let mut folders = Vec::new();
        if std::mem::take(&mut state.folder_changed) {
            folders.push(self.dir.to_path_buf());
        }
        if std::mem::take(&mut state.folder_is_new) {
            folders.extend(self.dir.parent().map(parent_or_here));
        }
        Some(Work {
            end: self.reader.snapshot().end(),
            files: std::mem::take(&mut state.finished).into(),
            active: state.active.clone(),
            aborted: state.aborted.clone(),
            folders,
            generation: state.generation,
        })
    }

    /// A flush that could not open a file. An error that passes is no fault: the next flush does
    /// the rest.
    fn not_finished(&self, work: Work, error: io::Error) -> LogError {
        let error = self.fault_unless_passing(LogError::io(&self.dir, error));
        if !error.passes() {
            return error;
        }
        let mut state = self.state.lock();
        state.finished.extend(work.files);
        state.folder_changed |= !work.folders.is_empty();
        state.folder_is_new |= work.folders.len() > 1;
        error
    }

    /// Saves the epochs if they changed. A full disk is no fault: they stay to be saved.
    fn save_epochs(&self) -> Result<(), LogError> {
        let Some(epochs) = self.state.lock().epochs.take() else {
            return Ok(());
        };
        match self.save_in_folder(&epochs) {
            Err(error) if error.passes() => {
                self.state.lock().epochs.get_or_insert(epochs);
                Err(error)
            }
            other => other.map_err(|error| self.fault_unless_passing(error)),
        }
    }

    fn save_in_folder(&self, epochs: &EpochHistory) -> Result<(), LogError> {
        let saves_epochs = self.saves_epochs.lock();
        if *saves_epochs {
            epochs.save(&self.dir)
        } else {
            Ok(())
        }
    }

    /// Moves durable end and recovery point to `end`, unless the log was truncated meanwhile.
    fn advance(&self, end: Offset, generation: u64) -> Result<Offset, LogError> {
        let mut state = self.state.lock();
        if state.truncating || state.generation != generation {
            return Ok(self.durable_end());
        }
        assert!(
            self.durable_end() <= end && end <= self.reader.snapshot().end(),
            "what is durable only grows, and is not more than there is"
        );
        let marks = Marks {
            recovery_point: end,
            ..state.checkpoint.marks()
        };
        // A recovery point that stays behind costs a longer scan only, so a full disk is no fault.
        if let Err(error) = state.write_marks(marks) {
            tracing::warn!(%error, "recovery point not written");
        }
        self.durable_end.store(end.0, Ordering::Release);
        Ok(end)
    }

    /// The epochs changed. Called before batches of the new epoch are published.
    pub fn epochs_changed(&self, epochs: &EpochHistory) {
        self.state.lock().epochs = Some(epochs.clone());
    }

    /// Saves the epochs immediately, after a flush that may be in progress.
    pub fn save_epochs_now(&self, epochs: &EpochHistory) -> Result<(), LogError> {
        let _no_flush = self.flushing.lock();
        self.state.lock().epochs = None;
        self.save_in_folder(epochs)
    }

    /// The active segment has this file of aborted transactions. Called before the marker is
    /// published.
    pub fn aborted_changed(&self, file: Option<Arc<File>>) {
        let mut state = self.state.lock();
        if state.aborted.is_none() {
            state.folder_changed = true;
        }
        state.aborted = file;
    }

    /// The active segment's file was opened. Called before anything written to it is published.
    pub fn opened(&self, active: &Arc<File>) {
        self.state.lock().active = Some(Arc::clone(active));
    }

    /// Closes the files of the active segment if everything below `end`, the log's end, is durable.
    pub fn close_idle(&self, end: Offset) -> bool {
        let mut state = self.state.lock();
        let is_idle = !state.truncating && self.durable_end() == end;
        if is_idle {
            state.active = None;
            state.aborted = None;
        }
        is_idle
    }

    /// A roll: the segment at `base` and `written` take no more writes. The new segment has none
    /// yet.
    pub fn rolled(&self, base: Offset, written: Vec<PathBuf>) {
        let mut state = self.state.lock();
        if let Some(old) = state.active.take() {
            state.finished.push((base, Unsynced::Open(old)));
        }
        if let Some(aborted) = state.aborted.take() {
            state.finished.push((base, Unsynced::Open(aborted)));
        }
        state
            .finished
            .extend(written.into_iter().map(|path| (base, Unsynced::Path(path))));
        state.folder_changed = true;
    }

    /// Segments were deleted: their files that wait for a sync are closed, so that the disk frees
    /// their space.
    pub fn forget(&self, deleted: impl Fn(Offset) -> bool) {
        let mut state = self.state.lock();
        state
            .finished
            .retain(|(base, _)| *base == Offset::NONE || !deleted(*base));
        state.folder_changed = true;
    }

    /// Files that recovery or the writer wrote and closed.
    pub fn written(&self, paths: Vec<PathBuf>) {
        let mut state = self.state.lock();
        let paths = paths
            .into_iter()
            .map(|path| (Offset::NONE, Unsynced::Path(path)));
        state.finished.extend(paths);
        state.folder_changed = true;
    }

    /// A truncation to `end` begins: durably moves the recovery point back before bytes are
    /// removed. After an error that passes the marks are unchanged: the marks of a truncation that
    /// never happened would empty the log at the next start.
    pub fn begin_truncation(&self, end: Offset, log_start: Offset) -> Result<(), LogError> {
        assert!(
            log_start <= end,
            "a log that is cut to {end} starts at {log_start}"
        );
        self.check()?;
        let (file, written) = {
            let mut state = self.state.lock();
            let marks = state.checkpoint.marks();
            let marks = Marks {
                recovery_point: marks.recovery_point.min(end),
                log_start,
                clean_end: Offset::NONE,
            };
            let file = state.checkpoint.put(marks);
            let file = file.map_err(|error| self.fault_unless_passing(error))?;
            state.marks_written += 1;
            state.generation += 1;
            state.truncating = true;
            let durable = end.min(self.durable_end());
            assert!(
                marks.recovery_point <= durable,
                "recovery begins at or below the durable end"
            );
            self.durable_end.store(durable.0, Ordering::Release);
            (file, state.marks_written)
        };
        let mut synced = self.marks_synced.lock();
        sync_data(&file).map_err(|cause| self.fault(cause))?;
        *synced = written.max(*synced);
        Ok(())
    }

    /// A truncation is done, synced and published. The active segment was not written to since.
    pub fn end_truncation(&self, aborted: Option<Arc<File>>) {
        let mut state = self.state.lock();
        state.aborted = aborted;
        state.generation += 1;
        state.truncating = false;
        state.active = None;
        state.folder_changed = true;
    }

    /// Remembers a new log start; durable with the next flush or [`Durability::sync_marks`].
    pub fn note_log_start(&self, log_start: Offset) -> Result<(), LogError> {
        let mut state = self.state.lock();
        let marks = state.checkpoint.marks();
        self.note_marks(&mut state, Marks { log_start, ..marks })
    }

    /// Sets or removes the mark of a clean close; durable as a new log start is.
    pub fn note_clean_end(&self, clean_end: Offset) -> Result<(), LogError> {
        let mut state = self.state.lock();
        let marks = state.checkpoint.marks();
        if marks.clean_end == clean_end {
            return Ok(());
        }
        self.note_marks(&mut state, Marks { clean_end, ..marks })
    }

    /// Whether all marks are on the disk.
    pub fn marks_are_synced(&self) -> bool {
        let written = self.state.lock().marks_written;
        // A mark that is being synced is not on the disk yet.
        let synced = self.marks_synced.try_lock();
        synced.is_some_and(|synced| *synced == written)
    }

    /// Waits until all marks written before are on the disk.
    pub fn sync_marks(&self) -> Result<(), LogError> {
        let mut synced = self.marks_synced.lock();
        let (written, path) = {
            let state = self.state.lock();
            (state.marks_written, state.checkpoint.path().to_path_buf())
        };
        if *synced == written {
            return Ok(());
        }
        let file = match (Unsynced::Path(path.clone())).open() {
            Ok(file) => file,
            Err(error) => return Err(self.fault_unless_passing(LogError::io(&path, error))),
        };
        if let Some(file) = file {
            sync_data(&file).map_err(|cause| self.fault(cause))?;
        }
        *synced = written;
        Ok(())
    }

    /// The writer has ended, and the folder may soon be another log's.
    pub fn writer_is_gone(&self) {
        self.state.lock().has_writer = false;
        *self.saves_epochs.lock() = false;
    }

    /// Writes marks that must reach the disk.
    fn note_marks(&self, state: &mut State, marks: Marks) -> Result<(), LogError> {
        let written = state.write_marks(marks);
        written.map_err(|error| self.fault_unless_passing(error))?;
        state.marks_written += 1;
        Ok(())
    }

    fn fault_unless_passing(&self, error: LogError) -> LogError {
        if error.passes() {
            return error;
        }
        self.fault(io::Error::other(error.to_string()))
    }
}

/// The folder that holds a relative folder of one name is the working folder.
fn parent_or_here(parent: &Path) -> PathBuf {
    let here = parent.as_os_str().is_empty();
    if here {
        PathBuf::from(".")
    } else {
        parent.to_path_buf()
    }
}

/// What one flush does.
#[derive(Debug)]
struct Work {
    end: Offset,
    files: VecDeque<(Offset, Unsynced)>,
    active: Option<Arc<File>>,
    aborted: Option<Arc<File>>,
    folders: Vec<PathBuf>,
    generation: u64,
}

/// Where a flush ended that did not do all.
enum Unfinished {
    /// The next file to sync could not be opened.
    Open(io::Error),
    /// An opened file could not be synced.
    Sync(io::Error),
}

impl Work {
    /// Syncs one file after the other, so that few are open at a time. Removes each from `files`
    /// once it is synced.
    fn sync(&mut self) -> Result<(), Unfinished> {
        while let Some((_, file)) = self.files.front() {
            if let Some(file) = file.open().map_err(Unfinished::Open)? {
                sync_all(&file).map_err(Unfinished::Sync)?;
            }
            self.files.pop_front();
        }
        for file in self.active.iter().chain(&self.aborted) {
            sync_data(file).map_err(Unfinished::Sync)?;
        }
        let folders: io::Result<Vec<_>> = self.folders.iter().map(|at| open_to_sync(at)).collect();
        for folder in folders.map_err(Unfinished::Open)? {
            sync_all(&folder).map_err(Unfinished::Sync)?;
        }
        Ok(())
    }
}

//! One partition: its log, who may write to it, and the requests that wait for it.
//!
//! Invariants:
//! - log start ≤ last stable offset ≤ high watermark ≤ end (asserted by the log).
//! - [`Mode`] is read and changed only under the lock of `Core`, in the same critical section as
//!   the append it decides about. A mirror's lease is checked the same way.
//! - The lock is never held across an await, and never two partitions' locks together.
//! - The high watermark of a writable partition is its durable end (or its end, when flushing in
//!   the background is configured); of a mirror it is min(its end, the source's high watermark).
//! - The leader epoch that clients see is at least every epoch in the log (asserted when a client
//!   appends).
//! - Readers never take the lock: they read from the log's last published snapshot.

pub mod append;
mod checked;
pub mod compaction;
mod config;
pub mod cut;
pub mod error;
pub mod flushing;
mod hosted;
mod made;
pub mod marker;
pub mod mirror;
mod open;
pub mod problem;
mod remover;
#[cfg(test)]
mod tests;
pub mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use arc_swap::ArcSwap;
use carrick_link::ports::Lease;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicPartition};
use carrick_storage::flush::Flusher;
use carrick_storage::log::{Deleted, FlushHandle, Log, LogError, LogReader, Recovered, Snapshot};
use parking_lot::Mutex;

use crate::topic::TopicConfig;

pub use append::{Admission, Appended, Pending, Produced};
pub use config::PartitionConfig;
pub use cut::Cut;
pub use error::PartitionError;
pub use hosted::{Hosted, Partitions};
pub use marker::Marker;
pub use problem::{Problem, ProblemKind};
pub use watch::{Watch, Watchers};

/// Who may write to a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Clients produce to it.
    Writable,
    /// A link writes it, if it holds the lease of this epoch or a newer one.
    Mirror {
        /// The newest lease seen; `None` until a link has opened it.
        lease: Option<Lease>,
    },
    /// It was a mirror, its lease is fenced; not yet writable because the end of mirroring isn't
    /// persisted yet.
    Fenced,
    /// Its disk failed: writes are refused until the broker is restarted. Reads still work, unless
    /// the log could not even be opened ([`Partition::is_offline`]).
    Faulted,
    /// The topic was deleted or the broker stops.
    Closed,
}

/// What the partition's lock guards.
struct Core {
    /// `None` once closed, and when it could not be opened.
    log: Option<Log>,
    mode: Mode,
}

/// One partition. Shared; all methods are synchronous, and short unless they say that they block.
pub struct Partition {
    id: TopicPartition,
    core: Mutex<Core>,
    reader: LogReader,
    /// `None` when the log could not be opened.
    flush: Option<FlushHandle>,
    flusher: Arc<Flusher>,
    schedule: flushing::Schedule,
    config: ArcSwap<TopicConfig>,
    leader_epoch: AtomicI32,
    watchers: Watchers,
    problems: problem::Problems,
    closed: AtomicBool,
    /// A cleaner has it, or has failed at it.
    is_with_cleaner: AtomicBool,
}

/// What a partition is opened with.
pub struct Opening<'a> {
    /// Topic and number.
    pub id: TopicPartition,
    /// Folder of its log.
    pub dir: &'a Path,
    /// The topic's configs.
    pub config: Arc<TopicConfig>,
    /// The leader epoch as persisted.
    pub leader_epoch: LeaderEpoch,
    /// Whether a link owns it.
    pub is_mirror: bool,
    /// Who flushes it.
    pub flusher: Arc<Flusher>,
    pub now_ms: i64,
}

impl Partition {
    /// Opens the log, created when missing, and recovers it if it was not closed. Blocks.
    ///
    /// # Errors
    /// The log can't be opened.
    pub fn open(opening: Opening<'_>) -> Result<(Arc<Self>, Recovered), LogError> {
        let (mut log, recovered) = Log::open(opening.dir, opening.config.log, opening.now_ms)?;
        let flush = log.flush_handle();
        // What recovery found is in the page cache; clients may see it only when it is on disk.
        if flush.durable_end() < log.end() {
            flush.flush()?;
        }
        log.set_high_watermark(log.end());
        let reader = log.reader();
        let mode = if opening.is_mirror {
            Mode::Mirror { lease: None }
        } else {
            Mode::Writable
        };
        let log = Some(log);
        let partition = Self::with(opening, Core { log, mode }, reader, Some(flush));
        Ok((partition, recovered))
    }

    /// Represents a partition whose log can't be opened, for that reason: every request is refused,
    /// until the broker is started with a log that can be opened.
    pub fn offline(opening: Opening<'_>, reason: &str) -> Arc<Self> {
        let reader = LogReader::of_nothing(opening.dir);
        let (log, mode) = (None, Mode::Faulted);
        let partition = Self::with(opening, Core { log, mode }, reader, None);
        let detail = format!(
            "its log could not be opened at the start: {reason}; repair the folder and restart the \
             broker"
        );
        partition.note_problem(ProblemKind::Offline, detail, true);
        partition
    }

    fn with(
        opening: Opening<'_>,
        core: Core,
        reader: LogReader,
        flush: Option<FlushHandle>,
    ) -> Arc<Self> {
        let in_log = reader.snapshot().last_epoch().unwrap_or(LeaderEpoch(0));
        Arc::new(Partition {
            id: opening.id,
            reader,
            flush,
            flusher: opening.flusher,
            schedule: flushing::Schedule::default(),
            config: ArcSwap::new(opening.config),
            leader_epoch: AtomicI32::new(opening.leader_epoch.max(in_log).0),
            watchers: Watchers::default(),
            problems: problem::Problems::default(),
            closed: AtomicBool::new(false),
            is_with_cleaner: AtomicBool::new(false),
            core: Mutex::new(core),
        })
    }

    /// Topic and number.
    pub fn id(&self) -> &TopicPartition {
        &self.id
    }

    /// Whether its log could not be opened at the start: clients see no leader.
    pub fn is_offline(&self) -> bool {
        self.flush.is_none()
    }

    /// The log as last published: reading it takes no lock. Empty when it is offline.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.reader.snapshot()
    }

    /// The leader epoch that clients see.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(Ordering::Acquire))
    }

    /// Whether a client may read, by its view of the leader epoch, or `NONE` (KIP-320).
    ///
    /// # Errors
    /// `FencedEpoch` when its view is old, `UnknownEpoch` when it is newer than ours, `Faulted` when
    /// the partition is offline.
    pub fn check_reader(&self, known: LeaderEpoch) -> Result<(), PartitionError> {
        if self.is_offline() {
            return Err(PartitionError::Faulted);
        }
        let current = self.leader_epoch();
        match known {
            LeaderEpoch::NONE => Ok(()),
            known if known < current => Err(PartitionError::FencedEpoch { known, current }),
            known if known > current => Err(PartitionError::UnknownEpoch { known, current }),
            _ => Ok(()),
        }
    }

    /// The largest epoch at or below `epoch` that records were or could be appended in, and the
    /// offset where it ends. `None` for an epoch that is newer than the leader's, or older than
    /// every one known.
    pub fn leader_epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let current = self.leader_epoch();
        let snapshot = self.snapshot();
        if epoch == current {
            return Some((current, snapshot.end()));
        }
        match snapshot.last_epoch() {
            // Led without an append since: that epoch is not in the log.
            Some(last) if epoch > last && epoch < current => Some((last, snapshot.end())),
            _ => snapshot.epoch_end(epoch),
        }
    }

    /// Raises the leader epoch, at the start, before any writes.
    pub(crate) fn raise_leader_epoch(&self, to: LeaderEpoch) {
        self.leader_epoch.fetch_max(to.0, Ordering::AcqRel);
    }

    /// Notified when the high watermark, the last stable offset or the log start moves.
    pub fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// The topic's configs.
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    /// Who may write, right now. For descriptions: writers decide under the lock.
    pub fn mode(&self) -> Mode {
        self.core.lock().mode.clone()
    }

    /// Whether it has ended: its topic was deleted, or the broker is stopping.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Replaces the topic's configs.
    pub(crate) fn set_config(&self, config: &Arc<TopicConfig>) {
        self.config.store(Arc::clone(config));
        let mut core = self.core.lock();
        let Core {
            log: Some(log),
            mode,
        } = &mut *core
        else {
            return;
        };
        log.set_config(config.log);
        // Nothing waits for the disk any more, including requests that produced under the old
        // config.
        if *mode == Mode::Writable && self.show_at_once(log, config.flush) {
            drop(core);
            self.watchers.wake();
        }
    }

    /// Looks at the writer's log, for descriptions (producers, transactions). Keep it short.
    ///
    /// # Errors
    /// `Closed`, or `Faulted` when it is offline.
    pub fn with_log<T>(&self, look: impl FnOnce(&Log) -> T) -> Result<T, PartitionError> {
        let core = self.core.lock();
        match (&core.log, &core.mode) {
            (Some(log), _) => Ok(look(log)),
            (None, Mode::Faulted) => Err(PartitionError::Faulted),
            (None, _) => Err(PartitionError::Closed),
        }
    }

    /// Deletes records below `to` (`None`: up to the high watermark) and answers the new log start.
    /// Blocks on disk.
    ///
    /// # Errors
    /// `ReadOnlyMirror` on a mirror, `CompactedOnly`, `OutOfRange` past the high watermark.
    pub fn delete_records(&self, to: Option<Offset>) -> Result<Offset, PartitionError> {
        let config = self.config();
        let log_start = self.writing(|log| {
            if !config.delete {
                let partition = self.id.to_string();
                return Err(PartitionError::CompactedOnly { partition });
            }
            let snapshot = self.snapshot();
            let high_watermark = snapshot.high_watermark();
            let to = to.unwrap_or(high_watermark);
            if to > high_watermark || to < Offset::ZERO {
                return Err(PartitionError::OutOfRange {
                    offset: to,
                    log_start: snapshot.log_start(),
                    end: high_watermark,
                });
            }
            Ok(log.move_log_start(to)?)
        })?;
        self.watchers.wake();
        self.finish_trim()?;
        Ok(log_start)
    }

    /// Makes a log start durable that moved, without the lock, and deletes what lies below it. That
    /// works on a full disk, too, and frees its space. What is left on an error goes after the next
    /// flush.
    fn finish_trim(&self) -> Result<(), LogError> {
        let Some(flush) = &self.flush else {
            return Ok(());
        };
        self.schedule.is_trimmed.store(true, Ordering::Release);
        flush
            .sync_log_start()
            .inspect_err(|error| self.flush_failed(error))?;
        if let Some(log) = &mut self.core.lock().log {
            log.delete_below_start();
        }
        self.let_go_deleted();
        Ok(())
    }

    /// Frees the space of segments that were deleted.
    fn let_go_deleted(&self) {
        let deleted = self.core.lock().log.as_mut().map(Log::take_deleted);
        let_go(deleted.unwrap_or_default());
    }

    /// Deletes what retention lets go, unless a link decides about it, and closes the file of a
    /// quiet partition. Blocks on disk.
    ///
    /// # Errors
    /// The log failed.
    pub fn apply_retention(&self, now_ms: i64) -> Result<(), PartitionError> {
        let mut core = self.core.lock();
        let Core {
            log: Some(log),
            mode,
        } = &mut *core
        else {
            return Ok(());
        };
        log.close_idle_file();
        if *mode != Mode::Writable {
            return Ok(());
        }
        let before = log.start();
        let applied = log.apply_retention(now_ms);
        let after = log.start();
        let deleted = log.take_deleted();
        drop(core);
        let_go(deleted);
        if after > before {
            tracing::info!(partition = %self.id, log_start = %after, "retention deleted records");
            self.watchers.wake();
            self.finish_trim()?;
        }
        Ok(applied.map(drop)?)
    }

    /// Forgets idempotent producers that were silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&self, now_ms: i64) {
        if let Some(log) = &mut self.core.lock().log {
            log.expire_producers(now_ms);
        }
    }

    /// Ends the partition: no more writes, the log closed cleanly. Blocks on disk. Idempotent.
    ///
    /// # Errors
    /// The log couldn't be closed cleanly: it will be recovered when it is opened again.
    pub fn close(&self) -> Result<(), LogError> {
        let log = {
            let mut core = self.core.lock();
            core.mode = Mode::Closed;
            core.log.take()
        };
        self.closed.store(true, Ordering::Release);
        self.watchers.wake();
        log.map_or(Ok(()), Log::close)
    }

    /// Ends the partition without a clean end: its files are about to be deleted.
    pub(crate) fn abandon(&self) {
        let log = {
            let mut core = self.core.lock();
            core.mode = Mode::Closed;
            core.log.take()
        };
        self.closed.store(true, Ordering::Release);
        drop(log);
        self.watchers.wake();
    }

    /// Runs a client's change of the log under the lock, if clients may write.
    fn writing<T>(
        &self,
        change: impl FnOnce(&mut Log) -> Result<T, PartitionError>,
    ) -> Result<T, PartitionError> {
        let mut core = self.core.lock();
        let Core { log, mode } = &mut *core;
        match mode {
            Mode::Writable => {}
            Mode::Mirror { .. } | Mode::Fenced => return Err(self.read_only()),
            Mode::Faulted => return Err(PartitionError::Faulted),
            Mode::Closed => return Err(PartitionError::Closed),
        }
        let log = log.as_mut().ok_or(PartitionError::Closed)?;
        change(log).inspect_err(|error| self.note_failure(mode, error))
    }

    fn read_only(&self) -> PartitionError {
        PartitionError::ReadOnlyMirror {
            topic: self.id.topic.to_string(),
        }
    }

    /// The refusal that a mirror gives to whatever a client produces, wrong or not.
    fn read_only_error(&self) -> Option<PartitionError> {
        let is_mirror = matches!(self.mode(), Mode::Mirror { .. } | Mode::Fenced);
        is_mirror.then(|| self.read_only())
    }

    /// A log that failed accepts no more writes; a full disk or a refused batch is not a failure.
    /// Both are shown.
    fn note_failure(&self, mode: &mut Mode, error: &PartitionError) {
        let PartitionError::Log(error) = error else {
            return;
        };
        if let LogError::Faulted(_) | LogError::Io { .. } | LogError::Corrupt { .. } = error {
            tracing::error!(partition = %self.id, %error, "the log failed: no more writes");
            self.note_failed(error);
            *mode = Mode::Faulted;
        } else if error.passes() {
            self.note_passing(error);
        }
    }
}

/// Drops deleted segments where nothing waits for it.
fn let_go(deleted: Deleted) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) if !deleted.is_empty() => {
            runtime.spawn_blocking(move || drop(deleted));
        }
        _ => drop(deleted),
    }
}

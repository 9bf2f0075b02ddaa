//! Flushing a partition to disk, and moving its high watermark afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use carrick_protocol::ids::Offset;
use carrick_storage::log::{Log, LogError};
use tokio::sync::oneshot;

use super::{Mode, Partition, PartitionError, ProblemKind};
use crate::topic::config::FlushPolicy;

/// Mirrored data reaches the disk at the latest this long after it came.
pub(super) const MIRROR_FLUSH_MS: i64 = 1000;

/// What is known of flushes still to come in the background.
#[derive(Default)]
pub(super) struct Schedule {
    /// A timer runs that will flush.
    is_timed: AtomicBool,
    /// Records since the last flush that was asked for.
    records: AtomicI64,
    /// The log start moved: once that is on the disk, segments below it go.
    pub(super) is_trimmed: AtomicBool,
}

impl Partition {
    /// Requests a flush of everything appended so far; `told` is called when it ends.
    pub(super) fn flush_now(self: &Arc<Self>, told: Option<oneshot::Sender<Result<(), LogError>>>) {
        // Nothing was ever appended to a log that is not open.
        let Some(flush) = self.flush.clone() else {
            return;
        };
        let partition = Arc::clone(self);
        let flushed = Box::new(move |result: Result<Offset, LogError>| {
            let result = result.map(|durable_end| partition.flushed(durable_end));
            if let Err(error) = &result {
                partition.flush_failed(error);
            }
            if let Some(told) = told {
                // If the connection has ended, no one is waiting.
                let _ = told.send(result);
            }
        });
        self.flusher.submit(flush, flushed);
    }

    /// Asks for a flush in the background, by count and time.
    pub(super) fn flush_later(
        self: &Arc<Self>,
        records: i64,
        after_records: Option<i64>,
        after_ms: Option<i64>,
    ) {
        let unflushed = self.schedule.records.fetch_add(records, Ordering::Relaxed) + records;
        if after_records.is_some_and(|limit| unflushed >= limit) {
            self.schedule.records.store(0, Ordering::Relaxed);
            self.flush_now(None);
            return;
        }
        let Some(Ok(after_ms)) = after_ms.map(u64::try_from) else {
            return;
        };
        if self.schedule.is_timed.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // No timer without a runtime (a test, a tool): flushing immediately is the safe choice.
            self.schedule.is_timed.store(false, Ordering::Release);
            return self.flush_now(None);
        };
        let partition = Arc::downgrade(self);
        runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            if let Some(partition) = partition.upgrade() {
                partition.schedule.is_timed.store(false, Ordering::Release);
                partition.schedule.records.store(0, Ordering::Relaxed);
                let (told, flushed) = oneshot::channel();
                partition.flush_now(Some(told));
                // Whatever came of it: what was trimmed may be deleted by now.
                let _ = flushed.await;
                partition.let_go_deleted();
            }
        });
    }

    /// Everything below `durable_end` is on disk. A mirror's high watermark follows its source.
    fn flushed(&self, durable_end: Offset) {
        self.problem_over(ProblemKind::Flush);
        self.delete_below_start();
        let flush = self.config().flush;
        let snapshot = self.snapshot();
        let bound = match flush {
            FlushPolicy::BeforeAck => durable_end,
            FlushPolicy::Background { .. } => snapshot.end(),
        };
        if snapshot.high_watermark() >= bound {
            return;
        }
        let mut core = self.core.lock();
        if core.mode != Mode::Writable {
            return;
        }
        if let Some(log) = &mut core.log {
            log.set_high_watermark(durable_end);
            self.show_at_once(log, flush);
        }
        drop(core);
        self.watchers.wake();
    }

    /// Shows readers all of the log where they need not wait for the disk. False if they must:
    /// always, or because a crash of the machine now could not be found out later.
    pub(super) fn show_at_once(&self, log: &mut Log, flush: FlushPolicy) -> bool {
        let shows = flush != FlushPolicy::BeforeAck && log.crash_would_show();
        if shows {
            log.set_high_watermark(log.end());
        }
        shows
    }

    /// Deletes the segments below a log start that is on the disk by now.
    fn delete_below_start(&self) {
        if !self.schedule.is_trimmed.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Some(log) = &mut self.core.lock().log
            && !log.delete_below_start()
        {
            // It moved again: after the next flush.
            self.schedule.is_trimmed.store(true, Ordering::Release);
        }
    }

    /// What couldn't be flushed may be lost: nothing more is taken on top of it.
    pub(super) fn flush_failed(&self, error: &LogError) {
        if error.passes() {
            // The marks come first: that may free the space that is missing.
            self.delete_below_start();
            let detail = format!("{error}; recent writes are not on the disk yet");
            return self.note_problem(ProblemKind::Flush, detail, false);
        }
        let mut core = self.core.lock();
        if core.mode != Mode::Closed {
            self.note_failure(&mut core.mode, &PartitionError::Log(error.clone()));
        }
    }
}

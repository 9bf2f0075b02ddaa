//! A partition's current problems, for operators.
//!
//! Invariants: without a problem, this costs no more than one atomic read. A temporary problem is
//! forgotten once the operation works again, or when it has not been tried for
//! [`FORGOTTEN_AFTER_MS`]; any other is kept.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use carrick_storage::log::LogError;
use parking_lot::Mutex;

use super::Partition;
use crate::clock;

/// A temporary problem is shown this long after it last occurred, milliseconds.
const FORGOTTEN_AFTER_MS: i64 = 60_000;

/// Sorts of problems, of partitions and of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// The log could not be opened at the start.
    Offline,
    /// The disk failed: no writes until a restart.
    Failed,
    /// No room on the disk.
    DiskFull,
    /// No more files can be opened or memory mapped.
    OutOfFiles,
    /// Written data can't be flushed for now.
    Flush,
    /// Changes of metadata are not stored.
    Metadata,
    /// Retention fails: what should be deleted stays.
    Retention,
    /// Compaction fails: what should be cleaned stays.
    Compaction,
    /// A listener's certificate is not valid now, or a changed one can't be used.
    Certificates,
}

impl ProblemKind {
    /// All of them.
    pub const ALL: [ProblemKind; 9] = [
        ProblemKind::Offline,
        ProblemKind::Failed,
        ProblemKind::DiskFull,
        ProblemKind::OutOfFiles,
        ProblemKind::Flush,
        ProblemKind::Metadata,
        ProblemKind::Retention,
        ProblemKind::Compaction,
        ProblemKind::Certificates,
    ];

    /// Its name in metrics, in the log, and in `/readyz`.
    pub fn name(self) -> &'static str {
        match self {
            ProblemKind::Offline => "offline",
            ProblemKind::Failed => "failed",
            ProblemKind::DiskFull => "disk_full",
            ProblemKind::OutOfFiles => "out_of_files",
            ProblemKind::Flush => "flush",
            ProblemKind::Metadata => "metadata",
            ProblemKind::Retention => "retention",
            ProblemKind::Compaction => "compaction",
            ProblemKind::Certificates => "certificates",
        }
    }

    /// Whether the partition can't be written.
    fn is_obstacle(self) -> bool {
        !matches!(
            self,
            ProblemKind::Metadata
                | ProblemKind::Retention
                | ProblemKind::Compaction
                | ProblemKind::Certificates
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which sort.
    pub kind: ProblemKind,
    /// The problem, and what to do about it.
    pub detail: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: i64,
    /// It doesn't go away while this broker runs.
    pub is_lasting: bool,
}

impl Problem {
    /// Whether it keeps the partition from being written.
    pub fn is_obstacle(&self) -> bool {
        self.kind.is_obstacle()
    }
}

/// The problems of one partition.
#[derive(Default)]
pub(super) struct Problems {
    is_any: AtomicBool,
    all: Mutex<BTreeMap<ProblemKind, Met>>,
}

struct Met {
    problem: Problem,
    last_ms: i64,
}

impl Problems {
    fn note(&self, kind: ProblemKind, detail: String, is_lasting: bool) {
        let now_ms = clock::now_ms();
        let mut all = self.all.lock();
        let met = all.entry(kind).or_insert_with(|| Met {
            problem: Problem {
                kind,
                detail: String::new(),
                since_ms: now_ms,
                is_lasting,
            },
            last_ms: now_ms,
        });
        if now_ms - met.last_ms > FORGOTTEN_AFTER_MS {
            met.problem.since_ms = now_ms;
        }
        met.last_ms = now_ms;
        met.problem.detail = detail;
        self.is_any.store(true, Ordering::Release);
    }

    fn over(&self, kinds: &[ProblemKind]) {
        if !self.is_any.load(Ordering::Acquire) {
            return;
        }
        let mut all = self.all.lock();
        all.retain(|kind, _| !kinds.contains(kind));
        self.is_any.store(!all.is_empty(), Ordering::Release);
    }

    fn list(&self) -> Vec<Problem> {
        if !self.is_any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let now_ms = clock::now_ms();
        let all = self.all.lock();
        let present = all
            .values()
            .filter(|met| met.problem.is_lasting || now_ms - met.last_ms <= FORGOTTEN_AFTER_MS);
        present.map(|met| met.problem.clone()).collect()
    }
}

impl Partition {
    /// Its current problems.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.list()
    }

    /// Something goes wrong; `is_lasting` if that doesn't go away without help.
    pub(crate) fn note_problem(&self, kind: ProblemKind, detail: String, is_lasting: bool) {
        self.problems.note(kind, detail, is_lasting);
    }

    /// It works again.
    pub(crate) fn problem_over(&self, kind: ProblemKind) {
        self.problems.over(&[kind]);
    }

    /// An append went through.
    pub(super) fn appended(&self) {
        self.problems
            .over(&[ProblemKind::DiskFull, ProblemKind::OutOfFiles]);
    }

    /// An append or a flush failed for a reason that may pass.
    pub(super) fn note_passing(&self, error: &LogError) {
        let (kind, way_out) = match error {
            LogError::DiskFull { .. } => (ProblemKind::DiskFull, "once there is room"),
            _ => (
                ProblemKind::OutOfFiles,
                "once the process may open more files",
            ),
        };
        let detail = format!("{error}; it continues automatically {way_out}");
        self.note_problem(kind, detail, false);
    }

    /// Its disk failed.
    pub(super) fn note_failed(&self, error: &LogError) {
        let detail = format!("{error}; repair or replace the disk, then restart the broker");
        self.note_problem(ProblemKind::Failed, detail, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_problems_are_forgotten_and_lasting_ones_kept() {
        let problems = Problems::default();
        assert!(problems.list().is_empty());
        problems.note(ProblemKind::DiskFull, "full".into(), false);
        problems.note(ProblemKind::Failed, "failed".into(), true);
        for met in problems.all.lock().values_mut() {
            met.last_ms -= FORGOTTEN_AFTER_MS + 1;
        }
        let left: Vec<_> = problems.list().iter().map(|left| left.kind).collect();
        assert_eq!(left, [ProblemKind::Failed]);
        let before = problems.all.lock()[&ProblemKind::DiskFull].problem.since_ms;
        problems
            .all
            .lock()
            .get_mut(&ProblemKind::DiskFull)
            .unwrap()
            .problem
            .since_ms = before - 1;
        problems.note(ProblemKind::DiskFull, "full again".into(), false);
        let again = problems.list();
        assert_eq!(again[1].detail, "full again");
        assert!(again[1].since_ms >= before, "it is a new one");
        problems.over(&[ProblemKind::DiskFull, ProblemKind::Failed]);
        assert!(problems.list().is_empty());
    }
}

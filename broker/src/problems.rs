//! The broker's current problems as operators see them: in the log, in `/readyz`, and as a metric.
//! Mirrors and links show the ones that concern them ([`crate::mirror::target`]).
//!
//! Nothing reports to this module. Each problem is kept where it occurs (a partition, the metadata)
//! and is collected from there, so that solved ones disappear, and one that occurs a thousand times
//! is logged once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use carrick_storage::disk::DataDir;
use tokio::task::JoinHandle;

use crate::clock;
use crate::journal::Journal;
use crate::metadata::Metadata;
use crate::partition::{Hosted, ProblemKind};
use crate::tls::ServerTls;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A problem that stays is logged again after this.
const LOG_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// A problem that changes is logged no more often than this.
const LOG_AT_MOST_EVERY: Duration = Duration::from_secs(30);

/// How many partitions are named; further ones are only counted.
const NAMED_MAX: usize = 10;

/// With less room than this the disk counts as full, bytes.
const FREE_MIN_BYTES: u64 = 16 << 20;

/// Looks for problems.
pub struct Problems {
    hosted: Arc<Hosted>,
    metadata: Metadata,
    journal: Journal,
    data_dir: Arc<DataDir>,
    tls: Vec<Arc<ServerTls>>,
    free_bytes: AtomicU64,
}

/// All problems of one sort.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// How many: partitions, or the broker itself.
    pub count: usize,
    /// The first of them by name.
    pub names: Vec<String>,
    /// The first of them in words.
    pub detail: String,
}

impl Tally {
    fn add(&mut self, name: impl FnOnce() -> String, detail: String) {
        self.count += 1;
        if self.names.len() < NAMED_MAX {
            self.names.push(name());
        }
        if self.count == 1 {
            self.detail = detail;
        }
    }

    /// Those that are named, and how many more there are.
    pub fn who(&self) -> String {
        let mut who = self.names.join(", ");
        if self.count > self.names.len() {
            let _ = write!(who, " and {} more", self.count - self.names.len());
        }
        who
    }
}

impl Problems {
    pub fn new(
        hosted: Arc<Hosted>,
        metadata: Metadata,
        journal: Journal,
        data_dir: Arc<DataDir>,
        tls: Vec<Arc<ServerTls>>,
    ) -> Arc<Self> {
        Arc::new(Problems {
            hosted,
            metadata,
            journal,
            data_dir,
            tls,
            free_bytes: AtomicU64::new(u64::MAX),
        })
    }

    /// All current problems by kind. Waits for no disk.
    pub fn now(&self) -> BTreeMap<ProblemKind, Tally> {
        let mut all: BTreeMap<ProblemKind, Tally> = BTreeMap::new();
        for partition in self.hosted.all() {
            for problem in partition.problems() {
                let tally = all.entry(problem.kind).or_default();
                tally.add(|| partition.id().to_string(), problem.detail);
            }
        }
        let failure = self.metadata.failure().or_else(|| self.journal.failure());
        if let Some(error) = failure {
            let tally = all.entry(ProblemKind::Metadata).or_default();
            tally.add(|| "metadata".to_owned(), error);
        }
        if let Some(free) = self.free_bytes().filter(|free| *free < FREE_MIN_BYTES) {
            let tally = all.entry(ProblemKind::DiskFull).or_default();
            let detail = format!("{free} bytes are free");
            tally.add(|| self.data_dir.path().display().to_string(), detail);
        }
        let now_s = clock::now_ms() / 1_000;
        for (listener, detail) in self.tls.iter().filter_map(|tls| tls.problem(now_s)) {
            let tally = all.entry(ProblemKind::Certificates).or_default();
            tally.add(|| format!("listener {listener}"), detail);
        }
        all
    }

    /// The free space on the disk when it was last checked, bytes; `None` before the first check.
    pub fn free_bytes(&self) -> Option<u64> {
        Some(self.free_bytes.load(Ordering::Relaxed)).filter(|free| *free < u64::MAX)
    }

    /// Looks at the disk, which may take its time.
    fn look_at_disk(&self) {
        match self.data_dir.space() {
            Ok(space) => self.free_bytes.store(space.free_bytes, Ordering::Relaxed),
            Err(error) => tracing::debug!(%error, "the free space on the disk is unknown"),
        }
    }
}

/// Checks repeatedly, and logs which problems appear, stay and end.
pub fn watch(problems: &Arc<Problems>) -> JoinHandle<()> {
    let problems = Arc::downgrade(problems);
    tokio::spawn(async move {
        let mut logged = Logged::default();
        loop {
            let Some(problems) = problems.upgrade() else {
                return;
            };
            let looked = tokio::task::spawn_blocking(move || {
                problems.look_at_disk();
                // Otherwise it would show until the next change. If it fails again, it shows again.
                problems.metadata.try_again();
                problems.journal.try_again();
                problems.now()
            });
            match looked.await {
                Ok(now) => {
                    for line in logged.lines(now, Instant::now()) {
                        line.log();
                    }
                }
                Err(error) => tracing::error!(%error, "the check for problems failed"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
}

/// What was logged, and when.
#[derive(Default)]
struct Logged(BTreeMap<ProblemKind, (Tally, Instant)>);

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Problem(ProblemKind, Tally),
    Over(ProblemKind),
}

impl Logged {
    /// The lines to log for the current problems.
    fn lines(&mut self, now: BTreeMap<ProblemKind, Tally>, at: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        self.0.retain(|kind, (_, last)| {
            // A problem that comes and goes is not logged each time.
            let is_over = !now.contains_key(kind) && at - *last >= LOOK_EVERY;
            if is_over {
                lines.push(Line::Over(*kind));
            }
            !is_over
        });
        for (kind, tally) in now {
            let is_due = self.0.get(&kind).is_none_or(|(known, last)| {
                let (count, age) = (known.count, at - *last);
                age >= LOG_AGAIN_AFTER || (count != tally.count && age >= LOG_AT_MOST_EVERY)
            });
            if is_due {
                self.0.insert(kind, (tally.clone(), at));
                lines.push(Line::Problem(kind, tally));
            }
        }
        lines
    }
}

impl Line {
    fn log(&self) {
        match self {
            Line::Problem(kind, tally) => {
                let (problem, who, detail) = (kind.name(), tally.who(), &tally.detail);
                tracing::error!(problem, count = tally.count, who, "{detail}");
            }
            Line::Over(kind) => tracing::info!(problem = kind.name(), "it is over"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(count: usize) -> BTreeMap<ProblemKind, Tally> {
        let mut tally = Tally::default();
        for n in 0..count {
            tally.add(|| format!("t-{n}"), "no room".to_owned());
        }
        BTreeMap::from([(ProblemKind::DiskFull, tally)])
    }

    #[test]
    fn lasting_problems_are_logged_now_and_then_and_solved_ones_once() {
        let (mut logged, begun) = (Logged::default(), Instant::now());
        let mut count = |now, seconds| {
            let at = begun + Duration::from_secs(seconds);
            logged.lines(now, at).len()
        };
        assert_eq!(count(full(1), 0), 1);
        assert_eq!(count(full(9_000), 5), 0, "not for each partition");
        assert_eq!(count(full(9_000), 30), 1);
        assert_eq!(count(full(9_000), 100), 0);
        assert_eq!(count(full(9_000), 330), 1, "still there");
        assert_eq!(count(BTreeMap::new(), 340), 1);
        assert_eq!(count(BTreeMap::new(), 345), 0);
    }

    #[test]
    fn a_few_are_named_and_of_many_the_number() {
        let few = full(2).remove(&ProblemKind::DiskFull).unwrap();
        assert_eq!(few.who(), "t-0, t-1");
        let many = full(NAMED_MAX + 7).remove(&ProblemKind::DiskFull).unwrap();
        assert!(many.who().ends_with("t-9 and 7 more"), "{}", many.who());
    }
}

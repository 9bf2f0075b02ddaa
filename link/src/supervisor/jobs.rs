//! When the periodic jobs of a link run.
//!
//! Invariant: at most one run of a job is in progress. All end with this value.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::shared::LinkShared;
use crate::state::LinkState;
use crate::tasks::{JOBS, Job};

/// How often a job that isn't configured is checked.
const NOT_CONFIGURED_EVERY: Duration = Duration::from_secs(60);

/// The jobs of one link.
pub(super) struct Jobs {
    all: Vec<Scheduled>,
    runs: JoinSet<()>,
}

struct Scheduled {
    job: &'static Job,
    next: Instant,
    run: Option<AbortHandle>,
}

impl Scheduled {
    fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(|run| !run.is_finished())
    }
}

impl Jobs {
    /// All are due.
    pub(super) fn new(now: Instant) -> Self {
        let new = |job| Scheduled {
            job,
            next: now,
            run: None,
        };
        Self {
            all: JOBS.iter().map(new).collect(),
            runs: JoinSet::new(),
        }
    }

    /// When the next run is due; runs in progress don't count.
    pub(super) fn next_due(&self) -> Instant {
        let waiting = self.all.iter().filter(|scheduled| !scheduled.is_running());
        let due = waiting.map(|scheduled| scheduled.next).min();
        due.unwrap_or_else(|| Instant::now() + NOT_CONFIGURED_EVERY)
    }

    /// Waits until a run ends; never returns if none is under way.
    pub(super) async fn ended(&mut self) {
        if self.runs.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Ends every run.
    pub(super) async fn stop(&mut self) {
        self.runs.shutdown().await;
    }

    /// Starts the jobs that are due. Without the source no job runs; each waits for its next turn.
    pub(super) fn start_due(&mut self, shared: &Arc<LinkShared>, now: Instant) {
        let (config, state) = {
            let inner = shared.inner();
            (Arc::clone(&inner.config), inner.state)
        };
        for scheduled in &mut self.all {
            if scheduled.next > now || scheduled.is_running() {
                continue;
            }
            let interval_ms = (scheduled.job.plan.interval_ms)(&config);
            let wait = interval_ms.map_or(NOT_CONFIGURED_EVERY, |interval_ms| {
                Duration::from_millis(interval_ms.max(1))
            });
            scheduled.next = now + wait;
            if interval_ms.is_none() || state != LinkState::Active {
                continue;
            }
            if let Some(run) = (scheduled.job.run)(shared) {
                let (shared, job) = (Arc::clone(shared), scheduled.job);
                scheduled.run = Some(self.runs.spawn(async move {
                    let result = run.await;
                    shared.job_ran(job.plan.name, result);
                }));
            }
        }
    }
}

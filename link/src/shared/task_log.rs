//! The results of a link's periodic jobs. What they do is in [`crate::tasks`].

use crate::config::LinkConfig;
use crate::description::TaskDescription;
use crate::state::{LinkState, TaskError, TaskErrorCode, TaskState};

/// The note of a run without errors; mostly empty.
pub(crate) type Note = String;

/// When a job is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobPlan {
    /// The name under which it is listed, Confluent's.
    pub(crate) name: &'static str,
    /// How often it runs, milliseconds; `None` while it is not configured.
    pub(crate) interval_ms: fn(&LinkConfig) -> Option<u64>,
}

/// How the last runs of a job went.
#[derive(Debug, Clone)]
pub(crate) struct TaskLog {
    job: JobPlan,
    is_configured: bool,
    error: Option<TaskError>,
    note: Note,
    since_ms: i64,
    last_run_ms: Option<i64>,
}

impl TaskLog {
    /// Of a job that has not run.
    pub(super) fn new(job: JobPlan, config: &LinkConfig, now_ms: i64) -> Self {
        Self {
            job,
            is_configured: (job.interval_ms)(config).is_some(),
            error: None,
            note: Note::new(),
            since_ms: now_ms,
            last_run_ms: None,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.job.name
    }

    /// The configs have changed: a job that was switched on or off starts with an empty log.
    pub(crate) fn configure(&mut self, config: &LinkConfig, now_ms: i64) {
        let is_configured = (self.job.interval_ms)(config).is_some();
        if self.is_configured != is_configured {
            self.is_configured = is_configured;
            self.error = None;
            self.note.clear();
            self.since_ms = now_ms;
        }
    }

    /// A run has ended.
    pub(crate) fn ran(&mut self, result: Result<Note, TaskError>, now_ms: i64) {
        if self.error.is_some() != result.is_err() {
            self.since_ms = now_ms;
        }
        (self.note, self.error) = match result {
            Ok(note) => (note, None),
            Err(error) => (Note::new(), Some(error)),
        };
        self.last_run_ms = Some(now_ms);
    }

    /// The task as `describe` shows it while the link is in state `link` since `link_since_ms`.
    pub(crate) fn describe(&self, link: LinkState, link_since_ms: i64) -> TaskDescription {
        let (state, since_ms) = match (link, &self.error) {
            _ if !self.is_configured => (TaskState::NotConfigured, self.since_ms),
            (LinkState::Paused, _) => (TaskState::LinkPaused, link_since_ms),
            (LinkState::Unavailable, _) => (TaskState::LinkUnavailable, link_since_ms),
            (LinkState::Failed, _) => (TaskState::LinkFailed, link_since_ms),
            (LinkState::Active, Some(_)) => (TaskState::InError, self.since_ms),
            (LinkState::Active, None) => (TaskState::Active, self.since_ms),
        };
        let (error, error_detail) = self
            .error
            .clone()
            .unwrap_or((TaskErrorCode::NoError, String::new()));
        TaskDescription {
            name: self.job.name.to_owned(),
            state,
            error,
            error_detail,
            note: self.note.clone(),
            since_ms,
            last_run_ms: self.last_run_ms,
        }
    }
}

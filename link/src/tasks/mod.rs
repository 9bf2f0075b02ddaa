//! The periodic jobs of a link, one file each; [`JOBS`] is THE list of them.
//!
//! The supervisor starts a job when it is due, beside everything else, and never twice at a time. A
//! run is dropped at an await when the link stops or its configs change: a job keeps nothing half
//! done across one. How it went is kept by [`TaskLog`].

pub(crate) mod auto_create;
pub(crate) mod configs;
pub(crate) mod groups;
pub(crate) mod topics;

use std::sync::Arc;

use crate::config::LinkConfig;
use crate::description::TaskDescription;
use crate::link::health;
use crate::link::shared::LinkShared;
use crate::source::{BoxFuture, SourceError};
use crate::state::{LinkState, TaskErrorCode, TaskState};

/// What a run found wrong.
pub(crate) type TaskError = (TaskErrorCode, String);

/// The note of a run that went well; mostly empty.
pub(crate) type Note = String;

/// What a job reports when the source can't be reached.
fn source_code(error: &SourceError) -> TaskErrorCode {
    health::Fault::from(error).code.into()
}

/// One run of a job.
pub(crate) type Run = BoxFuture<'static, Result<Note, TaskError>>;

/// A periodic job.
#[derive(Debug)]
pub(crate) struct Job {
    /// As it is shown.
    pub(crate) name: &'static str,
    /// How often it runs, milliseconds; `None` while it is not configured.
    pub(crate) interval_ms: fn(&LinkConfig) -> Option<u64>,
    /// A run, asked for while the source answers; `None` if there is nothing to do.
    pub(crate) run: fn(&Arc<LinkShared>) -> Option<Run>,
}

/// Every job, in the order in which they are shown.
pub(crate) static JOBS: &[Job] = &[
    configs::JOB,
    groups::JOB,
    Job::never("AclSync"),
    auto_create::JOB,
];

impl Job {
    /// A job that no config of this version switches on.
    const fn never(name: &'static str) -> Self {
        Self {
            name,
            interval_ms: |_| None,
            run: |_| None,
        }
    }
}

/// How the last runs of a job went.
#[derive(Debug, Clone)]
pub(crate) struct TaskLog {
    job: &'static Job,
    is_configured: bool,
    error: Option<TaskError>,
    note: Note,
    since_ms: i64,
    last_run_ms: Option<i64>,
}

impl TaskLog {
    /// One for each job; none has run.
    pub(crate) fn all(config: &LinkConfig, now_ms: i64) -> Vec<Self> {
        let new = |job: &'static Job| Self {
            job,
            is_configured: (job.interval_ms)(config).is_some(),
            error: None,
            note: Note::new(),
            since_ms: now_ms,
            last_run_ms: None,
        };
        JOBS.iter().map(new).collect()
    }

    /// Whether it is the log of `job`.
    pub(crate) fn is_of(&self, job: &Job) -> bool {
        self.job.name == job.name
    }

    /// The configs have changed: what is switched on or off begins anew.
    pub(crate) fn configure(&mut self, config: &LinkConfig, now_ms: i64) {
        let is_configured = (self.job.interval_ms)(config).is_some();
        if self.is_configured != is_configured {
            self.is_configured = is_configured;
            self.error = None;
            self.note.clear();
            self.since_ms = now_ms;
        }
    }

    /// It ran, well or not.
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

    /// For showing, while the link is in `link` since `link_since_ms`.
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

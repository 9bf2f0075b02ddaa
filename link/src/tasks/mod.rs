//! The periodic jobs of a link, one file each.

pub(crate) mod configs;
pub(crate) mod topics;

use crate::description::TaskDescription;
use crate::state::{LinkState, TaskErrorCode, TaskState};

/// How the last runs of a job went.
#[derive(Debug, Clone)]
pub(crate) struct TaskLog {
    name: &'static str,
    error: Option<(TaskErrorCode, String)>,
    since_ms: i64,
    last_run_ms: Option<i64>,
}

impl TaskLog {
    /// Not yet run.
    pub(crate) fn new(name: &'static str, now_ms: i64) -> Self {
        Self {
            name,
            error: None,
            since_ms: now_ms,
            last_run_ms: None,
        }
    }

    /// It ran, well or not.
    pub(crate) fn ran(&mut self, result: Result<(), (TaskErrorCode, String)>, now_ms: i64) {
        if self.error.is_some() != result.is_err() {
            self.since_ms = now_ms;
        }
        self.error = result.err();
        self.last_run_ms = Some(now_ms);
    }

    /// For showing, while the link is in `link` since `link_since_ms`.
    pub(crate) fn describe(&self, link: LinkState, link_since_ms: i64) -> TaskDescription {
        let (state, since_ms) = match (link, &self.error) {
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
            name: self.name.to_owned(),
            state,
            error,
            error_detail,
            since_ms,
            last_run_ms: self.last_run_ms,
        }
    }
}

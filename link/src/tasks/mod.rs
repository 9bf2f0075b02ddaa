//! The periodic jobs of a link, one file each; [`JOBS`] is THE list of them.
//!
//! The supervisor starts a job when it is due, in parallel with everything else, and never twice at
//! a time. A run is dropped at an await when the link stops or its configs change, so a job keeps
//! nothing half done across one. [`TaskLog`] keeps its result.

pub(crate) mod acls;
pub(crate) mod auto_create;
pub(crate) mod configs;
pub(crate) mod groups;

use std::sync::Arc;

use crate::error::Fault;
use crate::shared::{JobPlan, LinkShared, Note};
use crate::source::{BoxFuture, SourceError};
use crate::state::{TaskError, TaskErrorCode};

/// What a job reports when the source can't be reached.
fn source_code(error: &SourceError) -> TaskErrorCode {
    Fault::from(error).code.into()
}

/// One run of a job.
pub(crate) type Run = BoxFuture<'static, Result<Note, TaskError>>;

#[derive(Debug)]
pub(crate) struct Job {
    /// Its name, and when it is due.
    pub(crate) plan: JobPlan,
    /// Starts a run, while the source answers; `None` if there is nothing to do.
    pub(crate) run: fn(&Arc<LinkShared>) -> Option<Run>,
}

/// Every job, in the order in which they are listed.
pub(crate) static JOBS: &[Job] = &[configs::JOB, groups::JOB, acls::JOB, auto_create::JOB];

/// When each job is due, in the order of [`JOBS`].
pub(crate) fn plans() -> Vec<JobPlan> {
    JOBS.iter().map(|job| job.plan).collect()
}

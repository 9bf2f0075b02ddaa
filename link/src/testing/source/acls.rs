//! The fake source's ACLs.

use carrick_protocol::error_code::ErrorCode;

use super::{FakeSource, State};
use crate::acls::{Acl, SourceAcls};
use crate::source::SourceError;

/// What it has, or with what it refuses to list them.
#[derive(Debug, Default)]
pub(super) struct Acls {
    all: Vec<Acl>,
    unknown: usize,
    error: Option<ErrorCode>,
}

pub(super) type Answer = Result<SourceAcls, SourceError>;

impl FakeSource {
    /// The source has these ACLs from now on, and as many that nobody here knows.
    pub fn set_acls(&self, all: Vec<Acl>, unknown: usize) {
        let mut state = self.state.lock();
        state.acls.all = all;
        state.acls.unknown = unknown;
    }

    /// It refuses to list its ACLs, or no longer.
    pub fn refuse_acls(&self, error: Option<ErrorCode>) {
        self.state.lock().acls.error = error;
    }
}

pub(super) fn listed(state: &mut State) -> Answer {
    match state.acls.error {
        Some(code) => Err(SourceError::Broker {
            peer: "source:9092".to_owned(),
            api: "DescribeAcls",
            code,
            message: None,
        }),
        None => Ok(SourceAcls {
            acls: state.acls.all.clone(),
            unknown: state.acls.unknown,
        }),
    }
}

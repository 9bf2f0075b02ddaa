//! What the audit log says of administrative requests.
//!
//! The table of APIs says of each whether it is `audited`; one that is implements [`Audited`] in this
//! folder. The door notes what it refuses, so results that are refusals are left out here.

mod access;
mod configs;
mod groups;
mod topics;

use carrick_protocol::error_code::ErrorCode;

use super::{Api, Context, ResponseOf};
use crate::access::Resource;
use crate::audit::{Event, Outcome, Target, Via};

/// An API whose requests change something by an operator's hand.
pub trait Audited: Api<Request: Clone> {
    /// Adds a line for each thing that the request was to change.
    fn audit(asked: &Self::Request, answer: &ResponseOf<Self>, lines: &mut Lines<'_>);
}

/// The lines of one request.
pub struct Lines<'a> {
    ctx: &'a Context,
    action: &'static str,
    is_dry_run: bool,
}

/// Codes of what the door has refused, and noted.
const REFUSALS: [ErrorCode; 5] = [
    ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
    ErrorCode::TOPIC_AUTHORIZATION_FAILED,
    ErrorCode::GROUP_AUTHORIZATION_FAILED,
    ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    ErrorCode::DELEGATION_TOKEN_AUTHORIZATION_FAILED,
];

impl<'a> Lines<'a> {
    pub(super) fn new(ctx: &'a Context, action: &'static str) -> Self {
        Self {
            ctx,
            action,
            is_dry_run: false,
        }
    }

    /// Nothing was to be changed.
    pub(super) fn dry_run(&mut self, is_dry_run: bool) {
        self.is_dry_run = is_dry_run;
    }

    /// One thing, and how it ended.
    pub(super) fn add(&mut self, (kind, name): (&'static str, &str), code: i16, detail: String) {
        let code = ErrorCode(code);
        if REFUSALS.contains(&code) {
            return;
        }
        let outcome = match code.is_ok() {
            true => Outcome::Done,
            false => Outcome::Failed(code.to_string()),
        };
        let connection = &self.ctx.connection;
        self.ctx.broker.audit.note(Event {
            who: connection.principal.clone(),
            from: connection.peer.ip(),
            via: Via::Kafka,
            action: self.action,
            target: Some(Target::new(kind, name)),
            detail,
            is_dry_run: self.is_dry_run,
            outcome,
        });
    }
}

/// What the audit log calls a resource.
pub(super) fn target(resource: Resource<'_>) -> Target {
    match resource {
        Resource::Cluster => Target::new("cluster", CLUSTER),
        Resource::Topic(name) => Target::new("topic", name),
        Resource::Group(name) => Target::new("group", name),
        Resource::TransactionalId(name) => Target::new("transactional_id", name),
    }
}

/// Kafka's name of the cluster as a resource.
const CLUSTER: &str = "kafka-cluster";

/// The first few of some names, so that a line stays readable.
fn names<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    format!("{what} {}", names.join(", "))
}

/// The error that counts for several partitions: the first.
fn first_error(codes: impl IntoIterator<Item = i16>) -> i16 {
    codes
        .into_iter()
        .find(|code| *code != ErrorCode::NONE.0)
        .unwrap_or_default()
}

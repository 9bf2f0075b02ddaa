//! The states of mirrors and links under Confluent's names, and which may follow which.
//!
//! Invariant: a status changes only along [`MIRROR_TRANSITIONS`]; anything else is `ILLEGAL_STATE`.

use serde::{Deserialize, Serialize};

/// The status of a mirror topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MirrorStatus {
    /// Mirroring.
    Active,
    /// Paused by its owner.
    Paused,
    /// Its link is paused.
    LinkPaused,
    /// Its link has failed.
    LinkFailed,
    /// The source can't be reached for the moment.
    SourceUnavailable,
    /// It has failed, for the reason in [`MirrorError`].
    Failed,
    /// It is being created.
    PendingMirror,
    /// It is being promoted, and copies what is missing.
    PendingSynchronize,
    /// It is being promoted or failed over.
    PendingStopped,
    /// It is an ordinary topic now.
    Stopped,
}

/// Why a mirror is `FAILED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MirrorError {
    /// Nothing is wrong.
    NoError,
    /// The source doesn't know the topic any more.
    SourceTopicMayBeDeleted,
    /// The source has another topic of that name now.
    SourceTopicIdChanged,
    /// The source topic has fewer partitions than the mirror.
    SourcePartitionsDecreased,
    /// The source's leader epoch went back.
    NonMonotonicSourceEpoch,
    /// The leader epoch of a batch is below that of the batch before it.
    NonMonotonicLogAppendEpoch,
    /// The source has lost records that are mirrored here.
    UnexpectedTruncation,
    /// The source holds message format v0 or v1.
    UnsupportedMessageFormat,
    /// A transition that the table doesn't allow.
    IllegalState,
    /// A stored state that this version doesn't know.
    UnsupportedMirrorState,
    /// Another reason, in words only.
    Unknown,
}

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LinkState {
    /// The source answers.
    Active,
    /// Paused by `cluster.link.paused`.
    Paused,
    /// The source doesn't answer for the moment.
    Unavailable,
    /// It has failed for good.
    Failed,
}

/// Why a link is `UNAVAILABLE` or `FAILED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LinkErrorCode {
    /// Nothing is wrong.
    NoError,
    /// The source refused the credentials, or its certificate was refused.
    AuthenticationError,
    /// No bootstrap host name could be resolved.
    UnresolvableBootstrapError,
    /// No bootstrap address accepted a connection.
    BootstrapTcpConnectionFailedError,
    /// The source accepted a connection and didn't answer in time.
    TimeoutError,
    /// Another reason, in words only.
    Unknown,
}

/// The state of one of a link's periodic tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// Its last run went well.
    Active,
    /// Its last run failed.
    InError,
    /// It is switched off.
    NotConfigured,
    /// The link is paused.
    LinkPaused,
    /// The source doesn't answer.
    LinkUnavailable,
    /// The link has failed.
    LinkFailed,
}

/// Why a task is `IN_ERROR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskErrorCode {
    /// Nothing is wrong.
    NoError,
    /// The source refused to tell.
    AuthorizationError,
    /// A config that can't work.
    MisconfigurationError,
    /// Another reason, in words only.
    UnknownError,
}

use MirrorStatus::{
    Active, Failed, LinkFailed, LinkPaused, Paused, PendingMirror, PendingStopped,
    PendingSynchronize, SourceUnavailable, Stopped,
};

/// Every legal change of a mirror's status: from, and to which.
///
/// `failover` leads from every state but `STOPPED` to `PENDING_STOPPED`. A promotion that is given up goes back to
/// `ACTIVE`. Nothing leads out of `STOPPED`: mirroring a topic again starts with a new one.
pub const MIRROR_TRANSITIONS: &[(MirrorStatus, &[MirrorStatus])] = &[
    (
        PendingMirror,
        &[
            Active,
            Paused,
            LinkPaused,
            LinkFailed,
            SourceUnavailable,
            Failed,
            PendingStopped,
        ],
    ),
    (
        Active,
        &[
            Paused,
            LinkPaused,
            LinkFailed,
            SourceUnavailable,
            Failed,
            PendingSynchronize,
            PendingStopped,
        ],
    ),
    (
        Paused,
        &[
            Active,
            LinkPaused,
            LinkFailed,
            SourceUnavailable,
            Failed,
            PendingSynchronize,
            PendingStopped,
        ],
    ),
    (
        LinkPaused,
        &[
            Active,
            Paused,
            LinkFailed,
            SourceUnavailable,
            Failed,
            PendingSynchronize,
            PendingStopped,
        ],
    ),
    (
        LinkFailed,
        &[
            Active,
            Paused,
            LinkPaused,
            SourceUnavailable,
            Failed,
            PendingStopped,
        ],
    ),
    (
        SourceUnavailable,
        &[
            Active,
            Paused,
            LinkPaused,
            LinkFailed,
            Failed,
            PendingSynchronize,
            PendingStopped,
        ],
    ),
    (
        Failed,
        &[
            Active,
            Paused,
            LinkPaused,
            LinkFailed,
            SourceUnavailable,
            PendingStopped,
        ],
    ),
    (PendingSynchronize, &[Active, Failed, PendingStopped]),
    (PendingStopped, &[Active, Failed, Stopped]),
    (Stopped, &[]),
];

impl MirrorStatus {
    /// Whether the table leads from here to `next`; staying is always legal.
    pub fn may_become(self, next: MirrorStatus) -> bool {
        self == next
            || MIRROR_TRANSITIONS
                .iter()
                .any(|(from, to)| *from == self && to.contains(&next))
    }
}

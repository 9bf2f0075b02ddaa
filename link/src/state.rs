//! The states of mirrors and links under Confluent's names, and the legal transitions.
//!
//! Invariant: a status changes only along `MIRROR_TRANSITIONS` (asserted); anything else is
//! `ILLEGAL_STATE`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::verb::Verb;

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
    /// The source can't be reached at the moment.
    SourceUnavailable,
    /// It has failed, for the reason in [`MirrorError`].
    Failed,
    /// It is being created.
    PendingMirror,
    /// It is being promoted, and copies missing records.
    PendingSynchronize,
    /// It is being promoted or failed over.
    PendingStopped,
    /// It is an ordinary topic now.
    Stopped,
}

impl MirrorStatus {
    pub const ALL: [Self; 10] = [
        Self::Active,
        Self::Paused,
        Self::LinkPaused,
        Self::LinkFailed,
        Self::SourceUnavailable,
        Self::Failed,
        Self::PendingMirror,
        Self::PendingSynchronize,
        Self::PendingStopped,
        Self::Stopped,
    ];
}

/// Why a mirror is `FAILED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MirrorError {
    /// Nothing is wrong.
    NoError,
    /// The source no longer knows the topic.
    SourceTopicMayBeDeleted,
    /// The source now has a different topic with that name.
    SourceTopicIdChanged,
    /// The source topic has fewer partitions than the mirror.
    SourcePartitionsDecreased,
    /// The source's leader epoch went back.
    NonMonotonicSourceEpoch,
    /// A batch's leader epoch is below the previous batch's.
    NonMonotonicLogAppendEpoch,
    /// The source has lost records that are mirrored here.
    UnexpectedTruncation,
    /// The source holds message format v0 or v1.
    UnsupportedMessageFormat,
    /// A transition that the table doesn't allow.
    IllegalState,
    /// A stored state that this version doesn't know.
    UnsupportedMirrorState,
    /// Another reason: see the detail.
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
    /// The source doesn't answer at the moment.
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
    /// Another reason: see the detail.
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
    /// The source refused the request.
    AuthorizationError,
    /// Like the link's error of that name.
    AuthenticationError,
    /// Like the link's error of that name.
    UnresolvableBootstrapError,
    /// Like the link's error of that name.
    BootstrapTcpConnectionFailedError,
    /// Like the link's error of that name.
    TimeoutError,
    /// Groups have members here: their offsets are left alone.
    ConsumerGroupInUseError,
    /// A config that can't work.
    MisconfigurationError,
    /// A topic that should be mirrored can't get its name here: another topic has it.
    TopicExistsError,
    /// Another reason: see the detail.
    UnknownError,
}

/// Why a task's run failed: the code, and the cause in words.
pub(crate) type TaskError = (TaskErrorCode, String);

/// A task that failed because the source is not there has its link's error.
impl From<LinkErrorCode> for TaskErrorCode {
    fn from(code: LinkErrorCode) -> Self {
        match code {
            LinkErrorCode::NoError => Self::NoError,
            LinkErrorCode::AuthenticationError => Self::AuthenticationError,
            LinkErrorCode::UnresolvableBootstrapError => Self::UnresolvableBootstrapError,
            LinkErrorCode::BootstrapTcpConnectionFailedError => {
                Self::BootstrapTcpConnectionFailedError
            }
            LinkErrorCode::TimeoutError => Self::TimeoutError,
            LinkErrorCode::Unknown => Self::UnknownError,
        }
    }
}

/// People read the same names as machines.
macro_rules! shown_by_its_name {
    ($($state:ty),*) => {$(
        impl fmt::Display for $state {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.serialize(f)
            }
        }
    )*};
}

shown_by_its_name!(MirrorStatus, MirrorError, LinkState, LinkErrorCode);

use MirrorStatus::{
    Active, Failed, LinkFailed, LinkPaused, Paused, PendingMirror, PendingStopped,
    PendingSynchronize, SourceUnavailable, Stopped,
};

/// Every legal change of a mirror's status: from, and to which.
///
/// `failover` leads from every state but `STOPPED` to `PENDING_STOPPED`. A promotion that is
/// cancelled goes back to `ACTIVE`, or to what the link's state implies. Nothing leads out of
/// `STOPPED`: mirroring a topic again starts with a new one.
pub(crate) const MIRROR_TRANSITIONS: &[(MirrorStatus, &[MirrorStatus])] = &[
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
    (
        PendingStopped,
        &[
            Active,
            LinkPaused,
            LinkFailed,
            SourceUnavailable,
            Failed,
            Stopped,
        ],
    ),
    (Stopped, &[]),
];

impl MirrorStatus {
    /// Whether the table leads from here to `next`; staying is always legal.
    pub(crate) fn may_become(self, next: MirrorStatus) -> bool {
        self == next
            || MIRROR_TRANSITIONS
                .iter()
                .any(|(from, to)| *from == self && to.contains(&next))
    }
}

/// What happens to a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MirrorEvent {
    /// An operator asked for it. `Promote` counts once the source was reached.
    Asked(Verb),
    Fail,
    /// The cut is stored.
    Cut,
}

/// A change that the table doesn't allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} is not possible while {from}")]
pub(crate) struct IllegalTransition {
    /// The status as it is.
    pub(crate) from: MirrorStatus,
    /// The event that was refused.
    pub(crate) event: MirrorEvent,
}

impl MirrorStatus {
    /// The stored status after `event`.
    ///
    /// # Errors
    /// `IllegalTransition` if that event can't happen here; nothing is to change then.
    pub(crate) fn after(self, event: MirrorEvent) -> Result<MirrorStatus, IllegalTransition> {
        let next = match (self, event) {
            (Active | Paused, MirrorEvent::Asked(Verb::Pause)) => Paused,
            (Active | Paused | Failed, MirrorEvent::Asked(Verb::Resume))
            | (PendingStopped, MirrorEvent::Asked(Verb::Resume | Verb::CancelPromotion)) => Active,
            (Active, MirrorEvent::Asked(Verb::Promote))
            | (Active | Paused | Failed | PendingStopped, MirrorEvent::Asked(Verb::Failover)) => {
                PendingStopped
            }
            (Active | Paused | PendingStopped, MirrorEvent::Fail) => Failed,
            (PendingStopped, MirrorEvent::Cut) => Stopped,
            (from, event) => return Err(IllegalTransition { from, event }),
        };
        assert!(
            self.may_become(next),
            "{self:?} to {next:?} is not in the table"
        );
        Ok(next)
    }

    /// The status to show for a stored one while the link is in state `link`.
    pub(crate) fn under(self, link: LinkState) -> MirrorStatus {
        match (self, link) {
            (Active, LinkState::Paused) => LinkPaused,
            (Active, LinkState::Unavailable) => SourceUnavailable,
            (Active, LinkState::Failed) => LinkFailed,
            (stored, _) => stored,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = MirrorEvent> {
        let mut events = Verb::ALL.map(MirrorEvent::Asked).to_vec();
        events.extend([MirrorEvent::Fail, MirrorEvent::Cut]);
        prop::sample::select(events)
    }

    fn link_state() -> impl Strategy<Value = LinkState> {
        prop::sample::select(vec![
            LinkState::Active,
            LinkState::Paused,
            LinkState::Unavailable,
            LinkState::Failed,
        ])
    }

    proptest! {
        #[test]
        fn random_events_never_leave_the_table(
            steps in prop::collection::vec((event(), link_state(), any::<bool>()), 1..200)
        ) {
            let mut stored = Active;
            let mut link = LinkState::Active;
            for (event, next_link, is_link_step) in steps {
                let shown = stored.under(link);
                if is_link_step {
                    link = next_link;
                } else if let Ok(next) = stored.after(event) {
                    prop_assert!(stored.may_become(next), "{stored:?} to {next:?}");
                    stored = next;
                }
                prop_assert!(matches!(
                    stored,
                    Active | Paused | Failed | PendingStopped | Stopped
                ));
                prop_assert!(
                    shown.may_become(stored.under(link)),
                    "{shown:?} to {:?}",
                    stored.under(link)
                );
            }
        }
    }

    #[test]
    fn failover_is_possible_from_every_stored_status_but_stopped() {
        for status in [Active, Paused, Failed, PendingStopped] {
            assert_eq!(
                status.after(MirrorEvent::Asked(Verb::Failover)),
                Ok(PendingStopped)
            );
        }
        assert!(Stopped.after(MirrorEvent::Asked(Verb::Failover)).is_err());
    }

    #[test]
    fn nothing_leads_out_of_stopped() {
        for (from, to) in MIRROR_TRANSITIONS {
            assert!(*from != Stopped || to.is_empty());
        }
    }

    #[test]
    fn a_task_says_of_its_source_what_its_link_says() {
        use LinkErrorCode::*;
        let name = |code: LinkErrorCode| serde_json::to_string(&TaskErrorCode::from(code));
        for code in [
            AuthenticationError,
            UnresolvableBootstrapError,
            BootstrapTcpConnectionFailedError,
            TimeoutError,
        ] {
            let named = name(code).expect("plain enum");
            assert_eq!(named, format!("\"{code}\""));
        }
        assert_eq!(name(Unknown).expect("plain enum"), "\"UNKNOWN_ERROR\"");
    }

    #[test]
    fn names_are_confluents() {
        let name = serde_json::to_string(&MirrorStatus::SourceUnavailable).expect("plain enum");
        assert_eq!(name, "\"SOURCE_UNAVAILABLE\"");
        let name = serde_json::to_string(&LinkErrorCode::BootstrapTcpConnectionFailedError)
            .expect("plain enum");
        assert_eq!(name, "\"BOOTSTRAP_TCP_CONNECTION_FAILED_ERROR\"");
        let texts = [
            MirrorStatus::PendingStopped.to_string(),
            MirrorError::UnexpectedTruncation.to_string(),
            LinkState::Unavailable.to_string(),
            LinkErrorCode::BootstrapTcpConnectionFailedError.to_string(),
        ];
        assert_eq!(
            texts,
            [
                "PENDING_STOPPED",
                "UNEXPECTED_TRUNCATION",
                "UNAVAILABLE",
                "BOOTSTRAP_TCP_CONNECTION_FAILED_ERROR"
            ]
        );
    }
}

//! Why a group refused a request. Facts only; `api::error` maps each to its Kafka code.

use thiserror::Error;

use crate::coordination::Refusal;
use crate::journal::NotStored;

/// Why a classic group cannot become a consumer group, in Kafka's words.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Obstacle {
    /// `group.consumer.migration.policy` says no.
    #[error("online upgrade is disabled.")]
    Disabled,
    /// Its members are no consumers.
    #[error("the group does not use the consumer embedded protocol.")]
    NoConsumers,
    /// `group.consumer.max.size`.
    #[error("the group size exceeds the consumer group maximum size.")]
    TooLarge,
    /// A member's subscription or assignment cannot be read.
    #[error("the embedded consumer protocol is malformed.")]
    Malformed,
    /// The assignor keeps its own data, which would be lost.
    #[error(
        "an unsupported custom assignor is in use. Please refer to the documentation or switch to \
         a default assignor before re-attempting the upgrade."
    )]
    CustomAssignor,
}

/// A refusal by a group or by the coordinator.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum GroupError {
    /// The group id is empty where a name is needed.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// No such group.
    #[error("the group does not exist")]
    GroupNotFound,
    /// The member is not (or no longer) in the group.
    #[error("the member is not in the group")]
    UnknownMember,
    /// Another member has taken over this static instance.
    #[error("another member has taken over this group.instance.id")]
    FencedInstance,
    /// The request names a generation that isn't the group's.
    #[error("the request is from another generation of the group")]
    IllegalGeneration,
    /// The group is rebalancing: join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// The member shares no protocol with the group, or has another protocol type.
    #[error("the member and the group have no protocol in common")]
    InconsistentProtocol,
    /// The member has been given an id and has to join again with it (KIP-394).
    #[error("the member must join again with its new id")]
    MemberIdRequired,
    /// The group, or the coordinator as a whole, is full.
    #[error("the group is full")]
    GroupFull,
    /// `session.timeout.ms` lies outside the allowed range.
    #[error("the session timeout is outside the allowed range")]
    InvalidSessionTimeout,
    /// The group has members, so it can't be deleted.
    #[error("the group has members")]
    NonEmptyGroup,
    /// The group is subscribed to the topic whose offsets should go.
    #[error("the group is subscribed to the topic")]
    SubscribedToTopic,
    /// The text committed with an offset is too long.
    #[error("the text committed with the offset is too long")]
    MetadataTooLarge,
    /// There is no room for more committed offsets.
    #[error("there is no room for more committed offsets")]
    CommitTooLarge,
    /// The group's record would be larger than the limit.
    #[error("the group's members and assignments are too large to be stored")]
    RecordTooLarge,
    /// The broker could not store the change, or has too many changes waiting.
    #[error("the change could not be stored")]
    NotStored,
    /// The coordinator is shutting down.
    #[error("the coordinator is shutting down")]
    ShuttingDown,
    /// The member's epoch is not the one that the coordinator knows (KIP-848).
    #[error("the member epoch is not the current one: abandon all partitions and join again")]
    FencedMemberEpoch,
    /// The commit or fetch of offsets is from another epoch of the member.
    #[error("the request is from another epoch of the member")]
    StaleMemberEpoch,
    /// Another member still holds this static instance.
    #[error("another member still holds this group.instance.id")]
    UnreleasedInstance,
    /// The subscription's regular expression is wrong, too large, or takes too long to match.
    #[error("the regular expression of the subscription is not valid, too large or too slow")]
    InvalidRegex,
    /// Too much work waits: try again.
    #[error("the coordinator is busy")]
    Busy,
    /// Members of the consumer protocol commit with version 9 or later.
    #[error("members of the consumer protocol must use version 9 or later")]
    UnsupportedVersion,
    /// The group follows another protocol.
    #[error("the group is not a consumer group")]
    NotConsumerGroup,
    /// The group follows another protocol.
    #[error("the group is not a classic group")]
    NotClassicGroup,
    /// The classic group cannot become a consumer group.
    #[error("the classic group cannot be upgraded because {0}")]
    NotUpgradable(Obstacle),
    /// The group was removed during the request: look for the coordinator again.
    #[error("the group was removed in the meantime")]
    Gone,
}

impl From<Refusal> for GroupError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown => Self::GroupNotFound,
            Refusal::Full => Self::GroupFull,
            Refusal::ShuttingDown => Self::ShuttingDown,
        }
    }
}

impl From<NotStored> for GroupError {
    fn from(NotStored: NotStored) -> Self {
        Self::NotStored
    }
}

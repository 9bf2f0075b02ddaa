//! Names of groups and members between the wire's types and the domain's, shared by the group
//! APIs.

use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset};
use kafka_protocol::messages;
use kafka_protocol::protocol::StrBytes;

use crate::group::NewOffset;
use crate::records::member_ids::InstanceId;
use crate::topic::Topic;

/// The group that a request names.
pub(super) fn group_id(wire: &messages::GroupId) -> GroupId {
    GroupId::new(wire.as_str())
}

/// A group's name for a response.
pub(super) fn wire_group_id(group: &GroupId) -> messages::GroupId {
    messages::GroupId(text(group.as_str()))
}

/// The static instance that a request names.
pub(super) fn instance_id(wire: Option<&StrBytes>) -> Option<InstanceId> {
    wire.map(|name| InstanceId::from(name.as_str()))
}

/// What a request commits of a partition that there is: its offset and leader epoch, and its metadata.
pub(super) fn new_offset(
    topic: &Topic,
    partition: i32,
    (offset, leader_epoch): (i64, i32),
    metadata: Option<StrBytes>,
) -> NewOffset {
    NewOffset {
        topic: topic.name().clone(),
        topic_id: topic.id(),
        partition,
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(leader_epoch),
        metadata: metadata.unwrap_or_default().to_string(),
    }
}

/// A string for a response.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Fails unless the codec takes the response in each of these versions: it refuses fields that a
/// version does not have.
#[cfg(test)]
pub(super) fn assert_encodes<A: super::Api>(
    versions: std::ops::RangeInclusive<i16>,
    response: impl Fn(i16) -> super::ResponseOf<A>,
) {
    for version in versions {
        if let Err(error) = A::encode(1, version, &response(version)) {
            panic!("version {version}: {error}");
        }
    }
}

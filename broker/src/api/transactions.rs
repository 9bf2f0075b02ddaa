//! What the transaction APIs share: producers on the wire, partitions by name, and which partitions
//! may be written in a transaction.

use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{ProducerId, TopicPartition};
use kafka_protocol::messages;

use super::Context;
use super::door::DoorError;
use super::error::door_code;
use crate::partition::{Mode, Partition};
use crate::topic::Topic;
use crate::transaction::Producer;

/// The producer that a request names.
pub(super) fn producer(id: messages::ProducerId, epoch: i16) -> Producer {
    let id = ProducerId(id.0);
    Producer { id, epoch }
}

/// A partition of a topic, if clients write to it.
///
/// # Errors
/// The door's error, or INVALID_REQUEST for a mirror.
pub(super) fn writable(
    ctx: &Context,
    topic: Result<&Topic, DoorError>,
    number: i32,
) -> Result<Arc<Partition>, ErrorCode> {
    let partition = topic.and_then(|topic| ctx.partition(topic, number));
    let partition = partition.map_err(door_code)?;
    match partition.mode() {
        Mode::Mirror { .. } | Mode::Fenced => Err(ErrorCode::INVALID_REQUEST),
        Mode::Writable | Mode::Faulted | Mode::Closed => Ok(partition),
    }
}

/// As [`writable`], by its id.
///
/// # Errors
/// As [`writable`].
pub(super) fn writable_id(
    ctx: &Context,
    topic: Result<&Topic, DoorError>,
    number: i32,
) -> Result<TopicPartition, ErrorCode> {
    writable(ctx, topic, number).map(|partition| partition.id().clone())
}

/// Clients before `since` do not know PRODUCER_FENCED.
pub(super) fn fenced_since(version: i16, since: i16, code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::PRODUCER_FENCED if version < since => ErrorCode::INVALID_PRODUCER_EPOCH,
        code => code,
    }
}

//! Versions that Kafka's clients speak and the codec lacks, written by hand from the published
//! message definitions, until it has them:
//!
//! - ListOffsets 11 is 10 with one timestamp more that has a meaning.
//! - OffsetCommit 10 and OffsetFetch 10 have topic ids in the place of names (KIP-848). The codec
//!   writes their responses, and has a field for the ids in the requests that it cannot read.
//! - WriteTxnMarkers 2 says which version of transactions a marker is of (KIP-1228).
//! - TxnOffsetCommit 6 has topic ids in the place of names (KIP-1319).
//! - DeleteGroups 3 has an error message for each group; the request is the same as in 2.
//!
//! A field that the codec's struct lacks is kept among its unknown tagged fields, under a negative
//! number: no field on the wire has one.
//!
//! Messages that are read here have passed [`crate::shapes`] like any other.

mod write;

use std::any::{Any, TypeId};
use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, GroupId, ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest,
    OffsetFetchRequest, ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use kafka_protocol::protocol::{Decodable, Request, StrBytes};
use uuid::Uuid;

pub(crate) use self::write::by_hand;
pub use self::write::{with_error_message, with_topic_id};

/// The newest version of an API that is written here; `None` where the codec has all.
pub fn newest(api_key: i16) -> Option<i16> {
    match api_key {
        ListOffsetsRequest::KEY => Some(11),
        OffsetCommitRequest::KEY | OffsetFetchRequest::KEY => Some(10),
        WriteTxnMarkersRequest::KEY => Some(2),
        TxnOffsetCommitRequest::KEY => Some(6),
        DeleteGroupsRequest::KEY => Some(3),
        _ => None,
    }
}

/// The version with the same bytes in the codec: `version` itself, except for messages that have not
/// changed since the last version that the codec knows.
pub(crate) fn same_bytes<M: 'static>(version: i16) -> i16 {
    let kind = TypeId::of::<M>();
    let is_list_offsets =
        kind == TypeId::of::<ListOffsetsRequest>() || kind == TypeId::of::<ListOffsetsResponse>();
    match version {
        11 if is_list_offsets => 10,
        2 if kind == TypeId::of::<WriteTxnMarkersResponse>() => 1,
        3 if kind == TypeId::of::<DeleteGroupsRequest>() => 2,
        other => other,
    }
}

/// Reads a message: by hand where the codec lacks the version.
pub(crate) fn read<M: Decodable + 'static>(body: &mut Bytes, version: i16) -> Result<M, String> {
    let kind = TypeId::of::<M>();
    let by_hand: Option<Option<Box<dyn Any>>> = match version {
        10 if kind == TypeId::of::<OffsetCommitRequest>() => Some(boxed(offset_commit(body))),
        10 if kind == TypeId::of::<OffsetFetchRequest>() => Some(boxed(offset_fetch(body))),
        2 if kind == TypeId::of::<WriteTxnMarkersRequest>() => Some(boxed(write_markers(body))),
        6 if kind == TypeId::of::<TxnOffsetCommitRequest>() => Some(boxed(txn_offset_commit(body))),
        _ => None,
    };
    match by_hand {
        None => M::decode(body, same_bytes::<M>(version)).map_err(|error| error.to_string()),
        Some(read) => {
            let message = read.and_then(|message| message.downcast::<M>().ok());
            message
                .map(|message| *message)
                .ok_or_else(|| "a field cannot be read".to_owned())
        }
    }
}

fn boxed<M: 'static>(message: Option<M>) -> Option<Box<dyn Any>> {
    message.map(|message| Box::new(message) as Box<dyn Any>)
}

/// Numbers of the fields that the codec's structs lack.
const TRANSACTION_VERSION: i32 = -1;
const TOPIC_ID: i32 = -2;
const ERROR_MESSAGE: i32 = -3;

/// The transaction version of a marker (WriteTxnMarkers 2); 0 if the request has none.
pub fn transaction_version(marker: &WritableTxnMarker) -> i8 {
    let kept = marker.unknown_tagged_fields.get(&TRANSACTION_VERSION);
    let byte = kept.and_then(|kept| kept.first()).copied();
    i8::from_be_bytes([byte.unwrap_or_default()])
}

/// The topic that a TxnOffsetCommit 6 means; zero where a name stands.
pub fn topic_id(topic: &TxnOffsetCommitRequestTopic) -> Uuid {
    kept_id(&topic.unknown_tagged_fields)
}

fn kept_id(fields: &BTreeMap<i32, Bytes>) -> Uuid {
    let kept = fields.get(&TOPIC_ID);
    kept.and_then(|id| Uuid::from_slice(id).ok())
        .unwrap_or_default()
}

fn offset_commit(body: &mut Bytes) -> Option<OffsetCommitRequest> {
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(string(body)?))
        .with_generation_id_or_member_epoch(i32(body)?)
        .with_member_id(string(body)?)
        .with_group_instance_id(null_or_string(body)?)
        .with_topics(array(body, |body| {
            let topic = OffsetCommitRequestTopic::default()
                .with_topic_id(uuid(body)?)
                .with_partitions(array(body, |body| {
                    let partition = OffsetCommitRequestPartition::default()
                        .with_partition_index(i32(body)?)
                        .with_committed_offset(i64(body)?)
                        .with_committed_leader_epoch(i32(body)?)
                        .with_committed_metadata(null_or_string(body)?);
                    end(body, partition)
                })?);
            end(body, topic)
        })?);
    end(body, request)
}

fn offset_fetch(body: &mut Bytes) -> Option<OffsetFetchRequest> {
    let request = OffsetFetchRequest::default()
        .with_groups(array(body, |body| {
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(string(body)?))
                .with_member_id(null_or_string(body)?)
                .with_member_epoch(i32(body)?)
                .with_topics(null_or_array(body, |body| {
                    let topic = OffsetFetchRequestTopics::default()
                        .with_topic_id(uuid(body)?)
                        .with_partition_indexes(array(body, i32)?);
                    end(body, topic)
                })?);
            end(body, group)
        })?)
        .with_require_stable(bool(body)?);
    end(body, request)
}

fn txn_offset_commit(body: &mut Bytes) -> Option<TxnOffsetCommitRequest> {
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(string(body)?))
        .with_group_id(GroupId(string(body)?))
        .with_producer_id(ProducerId(i64(body)?))
        .with_producer_epoch(body.try_get_i16().ok()?)
        .with_generation_id(i32(body)?)
        .with_member_id(string(body)?)
        .with_group_instance_id(null_or_string(body)?)
        .with_topics(array(body, |body| {
            let id = take(body, 16)?;
            let topic =
                TxnOffsetCommitRequestTopic::default().with_partitions(array(body, |body| {
                    let partition = TxnOffsetCommitRequestPartition::default()
                        .with_partition_index(i32(body)?)
                        .with_committed_offset(i64(body)?)
                        .with_committed_leader_epoch(i32(body)?)
                        .with_committed_metadata(null_or_string(body)?);
                    end(body, partition)
                })?);
            let mut topic = end(body, topic)?;
            topic.unknown_tagged_fields.insert(TOPIC_ID, id);
            Some(topic)
        })?);
    end(body, request)
}

fn write_markers(body: &mut Bytes) -> Option<WriteTxnMarkersRequest> {
    let markers = array(body, |body| {
        let marker = WritableTxnMarker::default()
            .with_producer_id(ProducerId(i64(body)?))
            .with_producer_epoch(body.try_get_i16().ok()?)
            .with_transaction_result(bool(body)?)
            .with_topics(array(body, |body| {
                let topic = WritableTxnMarkerTopic::default()
                    .with_name(TopicName(string(body)?))
                    .with_partition_indexes(array(body, i32)?);
                end(body, topic)
            })?)
            .with_coordinator_epoch(i32(body)?);
        let version = take(body, 1)?;
        let mut marker = end(body, marker)?;
        marker
            .unknown_tagged_fields
            .insert(TRANSACTION_VERSION, version);
        Some(marker)
    })?;
    end(
        body,
        WriteTxnMarkersRequest::default().with_markers(markers),
    )
}

/// The struct, once the tagged fields at its end are skipped: none of these versions has one.
fn end<T>(body: &mut Bytes, read: T) -> Option<T> {
    for _ in 0..varint(body)? {
        varint(body)?;
        let length = varint(body)?;
        take(body, usize::try_from(length).ok()?)?;
    }
    Some(read)
}

fn take(body: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= body.len()).then(|| body.split_to(length))
}

fn i32(body: &mut Bytes) -> Option<i32> {
    body.try_get_i32().ok()
}

fn i64(body: &mut Bytes) -> Option<i64> {
    body.try_get_i64().ok()
}

fn bool(body: &mut Bytes) -> Option<bool> {
    body.try_get_u8().ok().map(|byte| byte != 0)
}

fn uuid(body: &mut Bytes) -> Option<Uuid> {
    let bytes = take(body, 16)?;
    Uuid::from_slice(&bytes).ok()
}

/// An unsigned varint of at most 32 bits.
fn varint(body: &mut Bytes) -> Option<u32> {
    let mut value = 0_u32;
    for shift in (0..35).step_by(7) {
        let byte = u32::from(body.try_get_u8().ok()?);
        value |= (byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A length that is written as one more, with 0 for null.
fn length(body: &mut Bytes) -> Option<Option<usize>> {
    let length = varint(body)?.checked_sub(1);
    length.map(usize::try_from).transpose().ok()
}

fn null_or_string(body: &mut Bytes) -> Option<Option<StrBytes>> {
    let Some(length) = length(body)? else {
        return Some(None);
    };
    let text = take(body, length)?;
    StrBytes::from_utf8(text).ok().map(Some)
}

fn string(body: &mut Bytes) -> Option<StrBytes> {
    null_or_string(body)?
}

fn null_or_array<T>(
    body: &mut Bytes,
    item: impl Fn(&mut Bytes) -> Option<T>,
) -> Option<Option<Vec<T>>> {
    let Some(count) = length(body)? else {
        return Some(None);
    };
    // An item has a byte at least, whatever the count says.
    let mut items = Vec::with_capacity(count.min(body.len()));
    for _ in 0..count {
        items.push(item(body)?);
    }
    Some(Some(items))
}

fn array<T>(body: &mut Bytes, item: impl Fn(&mut Bytes) -> Option<T>) -> Option<Vec<T>> {
    null_or_array(body, item)?
}

#[cfg(test)]
mod tests;

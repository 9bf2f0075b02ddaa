//! Responses that the codec cannot write.

use std::any::Any;

use bytes::{BufMut, Bytes};
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::txn_offset_commit_response::TxnOffsetCommitResponseTopic;
use kafka_protocol::messages::{DeleteGroupsResponse, TxnOffsetCommitResponse};
use uuid::Uuid;

use super::{ERROR_MESSAGE, TOPIC_ID, kept_id};

/// Names a topic by its id, for TxnOffsetCommit 6 and later only.
pub fn with_topic_id(
    mut topic: TxnOffsetCommitResponseTopic,
    id: Uuid,
) -> TxnOffsetCommitResponseTopic {
    let bytes = Bytes::copy_from_slice(id.as_bytes());
    topic.unknown_tagged_fields.insert(TOPIC_ID, bytes);
    topic
}

/// Says in words why a group was not deleted, for DeleteGroups 3 and later only.
pub fn with_error_message(
    mut result: DeletableGroupResult,
    message: String,
) -> DeletableGroupResult {
    let fields = &mut result.unknown_tagged_fields;
    fields.insert(ERROR_MESSAGE, message.into());
    result
}

/// The body of a response in a version that the codec lacks; `None` for all others.
pub(crate) fn by_hand<M: 'static>(response: &M, version: i16) -> Option<Vec<u8>> {
    let response = response as &dyn Any;
    match version {
        6 => response.downcast_ref().map(txn_offset_commit),
        3 => response.downcast_ref().map(delete_groups),
        _ => None,
    }
}

fn txn_offset_commit(response: &TxnOffsetCommitResponse) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_i32(response.throttle_time_ms);
    array(&mut out, &response.topics, |out, topic| {
        out.put_slice(kept_id(&topic.unknown_tagged_fields).as_bytes());
        array(out, &topic.partitions, |out, partition| {
            out.put_i32(partition.partition_index);
            out.put_i16(partition.error_code);
        });
    });
    end(&mut out);
    out
}

fn delete_groups(response: &DeleteGroupsResponse) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_i32(response.throttle_time_ms);
    array(&mut out, &response.results, |out, result| {
        text(out, Some(result.group_id.as_bytes()));
        out.put_i16(result.error_code);
        let message = result.unknown_tagged_fields.get(&ERROR_MESSAGE);
        text(out, message.map(|message| &message[..]));
    });
    end(&mut out);
    out
}

/// An array of structs.
fn array<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    length(out, Some(items.len()));
    for item in items {
        write(out, item);
        end(out);
    }
}

/// A string; none is null.
fn text(out: &mut Vec<u8>, text: Option<&[u8]>) {
    length(out, text.map(<[u8]>::len));
    out.put_slice(text.unwrap_or_default());
}

/// A length as one more, with 0 for null.
fn length(out: &mut Vec<u8>, length: Option<usize>) {
    let mut left = length.map_or(0, |length| length + 1);
    while left >= 0x80 {
        out.put_u8((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
}

/// The end of a struct, which has no tagged fields.
fn end(out: &mut Vec<u8>) {
    out.put_u8(0);
}

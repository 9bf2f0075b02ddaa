//! Fetch responses in pieces: record batches are never copied.
//!
//! The codec would copy them into one buffer. A property test compares this encoder with the
//! codec's bytes, for every version.

use bytes::{BufMut, Bytes, BytesMut};
use carrick_protocol::frame::FrameError;
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};

use crate::api::Frame;

/// Records below this size are copied: a piece of their own costs more.
const COPY_BYTES: usize = 512;

/// First version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 12;

/// Encodes a response of version 4 or later. Snapshots are never set here, and not encoded.
pub(super) fn encode(
    correlation_id: i32,
    version: i16,
    response: &FetchResponse,
) -> Result<Frame, FrameError> {
    let mut out = Pieces {
        done: vec![Bytes::new()],
        current: BytesMut::new(),
        version,
    };
    out.current.put_i32(correlation_id);
    if version >= FLEXIBLE {
        out.no_tags();
    }
    out.current.put_i32(response.throttle_time_ms);
    if version >= 7 {
        out.current.put_i16(response.error_code);
        out.current.put_i32(response.session_id);
    }
    out.length(response.responses.len());
    for topic in &response.responses {
        out.topic(topic);
    }
    out.node_endpoints(&response.node_endpoints);
    out.finish()
}

struct Pieces {
    /// The first is for the length.
    done: Vec<Bytes>,
    current: BytesMut,
    version: i16,
}

impl Pieces {
    fn topic(&mut self, topic: &FetchableTopicResponse) {
        if self.version >= 13 {
            self.current.put_slice(topic.topic_id.as_bytes());
        } else {
            self.name(topic.topic.as_bytes());
        }
        self.length(topic.partitions.len());
        for partition in &topic.partitions {
            self.partition(partition);
        }
        self.no_tags();
    }

    fn partition(&mut self, data: &PartitionData) {
        let out = &mut self.current;
        out.put_i32(data.partition_index);
        out.put_i16(data.error_code);
        out.put_i64(data.high_watermark);
        out.put_i64(data.last_stable_offset);
        if self.version >= 5 {
            out.put_i64(data.log_start_offset);
        }
        match &data.aborted_transactions {
            None => self.null(),
            Some(aborted) => {
                self.length(aborted.len());
                for transaction in aborted {
                    self.current.put_i64(transaction.producer_id.0);
                    self.current.put_i64(transaction.first_offset);
                    self.no_tags();
                }
            }
        }
        if self.version >= 11 {
            self.current.put_i32(data.preferred_read_replica.0);
        }
        match &data.records {
            None => self.null(),
            Some(records) => {
                self.length(records.len());
                self.bytes(records);
            }
        }
        self.partition_tags(data);
    }

    /// The partition's tagged fields, of which only these two are ever set.
    fn partition_tags(&mut self, data: &PartitionData) {
        if self.version < FLEXIBLE {
            return;
        }
        let diverging = Some(&data.diverging_epoch).filter(|d| **d != EpochEndOffset::default());
        let leader = Some(&data.current_leader).filter(|l| **l != LeaderIdAndEpoch::default());
        let out = &mut self.current;
        out.put_u8(u8::from(diverging.is_some()) + u8::from(leader.is_some()));
        if let Some(diverging) = diverging {
            // Tag 0, of 4 + 8 + 1 bytes; the last for its own tagged fields.
            out.put_slice(&[0, 13]);
            out.put_i32(diverging.epoch);
            out.put_i64(diverging.end_offset);
            out.put_u8(0);
        }
        if let Some(leader) = leader {
            // Tag 1, of 4 + 4 + 1 bytes.
            out.put_slice(&[1, 9]);
            out.put_i32(leader.leader_id.0);
            out.put_i32(leader.leader_epoch);
            out.put_u8(0);
        }
    }

    /// The tagged fields of the whole, of which only this one is ever set.
    fn node_endpoints(&mut self, endpoints: &[NodeEndpoint]) {
        if self.version < FLEXIBLE {
            return;
        }
        if endpoints.is_empty() {
            return self.no_tags();
        }
        let outer = std::mem::take(&mut self.current);
        self.length(endpoints.len());
        for endpoint in endpoints {
            self.current.put_i32(endpoint.node_id.0);
            self.name(endpoint.host.as_bytes());
            self.current.put_i32(endpoint.port);
            match &endpoint.rack {
                None => self.null(),
                Some(rack) => self.name(rack.as_bytes()),
            }
            self.no_tags();
        }
        let field = std::mem::replace(&mut self.current, outer);
        // One field, tag 0.
        self.current.put_slice(&[1, 0]);
        self.varint(field.len() as u64);
        self.current.put_slice(&field);
    }

    fn bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < COPY_BYTES {
            self.current.put_slice(bytes);
            return;
        }
        self.done.push(self.current.split().freeze());
        self.done.push(bytes.clone());
    }

    fn name(&mut self, name: &[u8]) {
        if self.version >= FLEXIBLE {
            self.length(name.len());
        } else {
            self.current
                .put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        }
        self.current.put_slice(name);
    }

    /// Of an array, or of bytes.
    fn length(&mut self, length: usize) {
        if self.version >= FLEXIBLE {
            self.varint(length as u64 + 1);
        } else {
            self.current
                .put_i32(i32::try_from(length).unwrap_or(i32::MAX));
        }
    }

    fn varint(&mut self, mut rest: u64) {
        while rest >= 0x80 {
            self.current.put_u8(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.current.put_u8(rest as u8);
    }

    fn null(&mut self) {
        if self.version >= FLEXIBLE {
            self.current.put_u8(0);
        } else {
            self.current.put_i32(-1);
        }
    }

    fn no_tags(&mut self) {
        if self.version >= FLEXIBLE {
            self.current.put_u8(0);
        }
    }

    fn finish(mut self) -> Result<Frame, FrameError> {
        self.done.push(self.current.freeze());
        let total: usize = self.done.iter().map(Bytes::len).sum();
        let length = i32::try_from(total).map_err(|_| FrameError::Encode {
            version: self.version,
            detail: format!("{total} bytes do not fit a frame"),
        })?;
        self.done[0] = Bytes::copy_from_slice(&length.to_be_bytes());
        Ok(self.done)
    }
}

#[cfg(test)]
mod tests {
    use carrick_protocol::frame::encode_response;
    use kafka_protocol::messages::fetch_response::AbortedTransaction;
    use kafka_protocol::messages::{ApiKey, ProducerId, TopicName};
    use kafka_protocol::protocol::StrBytes;
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Option<Bytes>> {
        prop_oneof![
            Just(None),
            Just(Some(Bytes::new())),
            (1_usize..70_000).prop_map(|size| Some(Bytes::from(vec![7; size]))),
        ]
    }

    fn partition() -> impl Strategy<Value = PartitionData> {
        let aborted = prop::option::of(prop::collection::vec((any::<i64>(), any::<i64>()), 0..200));
        let diverging = prop::option::of((any::<i32>(), any::<i64>()));
        let leader = prop::option::of((any::<i32>(), any::<i32>()));
        (
            any::<(i32, i16, i64, i64, i64, i32)>(),
            aborted,
            (diverging, leader),
            records(),
        )
            .prop_map(
                |(
                    (index, code, high_watermark, stable, start, replica),
                    aborted,
                    (diverging, leader),
                    records,
                )| {
                    let leader = leader.map_or_else(LeaderIdAndEpoch::default, |(id, epoch)| {
                        LeaderIdAndEpoch::default()
                            .with_leader_id(id.into())
                            .with_leader_epoch(epoch)
                    });
                    let aborted = aborted.map(|list| {
                        let one = |(id, first)| {
                            AbortedTransaction::default()
                                .with_producer_id(ProducerId(id))
                                .with_first_offset(first)
                        };
                        list.into_iter().map(one).collect()
                    });
                    let diverging =
                        diverging.map_or_else(EpochEndOffset::default, |(epoch, end)| {
                            EpochEndOffset::default()
                                .with_epoch(epoch)
                                .with_end_offset(end)
                        });
                    PartitionData::default()
                        .with_partition_index(index)
                        .with_error_code(code)
                        .with_high_watermark(high_watermark)
                        .with_last_stable_offset(stable)
                        .with_log_start_offset(start)
                        .with_preferred_read_replica(replica.into())
                        .with_aborted_transactions(aborted)
                        .with_diverging_epoch(diverging)
                        .with_current_leader(leader)
                        .with_records(records)
                },
            )
    }

    fn topic() -> impl Strategy<Value = FetchableTopicResponse> {
        let partitions = prop::collection::vec(partition(), 0..4);
        ("[a-z]{0,249}", any::<[u8; 16]>(), partitions).prop_map(|(name, id, partitions)| {
            FetchableTopicResponse::default()
                .with_topic(TopicName(StrBytes::from_string(name)))
                .with_topic_id(uuid::Uuid::from_bytes(id))
                .with_partitions(partitions)
        })
    }

    fn endpoint() -> impl Strategy<Value = NodeEndpoint> {
        let rack = prop::option::of("[a-z]{0,140}");
        (any::<(i32, i32)>(), "[a-z]{0,140}", rack).prop_map(|((id, port), host, rack)| {
            NodeEndpoint::default()
                .with_node_id(id.into())
                .with_host(StrBytes::from_string(host))
                .with_port(port)
                .with_rack(rack.map(StrBytes::from_string))
        })
    }

    /// Fields that the version lacks are an error for the codec.
    fn fit(mut response: FetchResponse, version: i16) -> FetchResponse {
        if version < 7 {
            response.session_id = 0;
        }
        if version < 16 {
            response.node_endpoints.clear();
        }
        for partition in response
            .responses
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions)
        {
            if version < 11 {
                partition.preferred_read_replica = (-1).into();
            }
            if version < 12 {
                partition.diverging_epoch = EpochEndOffset::default();
                partition.current_leader = LeaderIdAndEpoch::default();
            }
        }
        response
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn the_pieces_are_the_codecs_bytes_in_every_version(
            head in any::<(i32, i32, i16, i32)>(),
            topics in prop::collection::vec(topic(), 0..4),
            endpoints in prop::collection::vec(endpoint(), 0..3),
            version in 4_i16..=18,
        ) {
            let (correlation_id, throttle, code, session) = head;
            let response = FetchResponse::default()
                .with_throttle_time_ms(throttle)
                .with_error_code(code)
                .with_session_id(session)
                .with_responses(topics)
                .with_node_endpoints(endpoints);
            let response = fit(response, version);
            let header = ApiKey::Fetch.response_header_version(version);
            let expected = encode_response(correlation_id, header, &response, version).unwrap();
            let pieces = encode(correlation_id, version, &response).unwrap();
            prop_assert_eq!(pieces.concat(), expected.to_vec());
        }
    }

    #[test]
    fn large_records_are_not_copied() {
        let records = Bytes::from(vec![1; 4096]);
        let partition = PartitionData::default().with_records(Some(records.clone()));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
        let response = FetchResponse::default().with_responses(vec![topic]);
        let pieces = encode(1, 12, &response).unwrap();
        assert!(
            pieces
                .iter()
                .any(|piece| piece.as_ptr() == records.as_ptr())
        );
    }
}

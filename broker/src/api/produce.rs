//! Produce (key 0), versions 3–13; 0–2 are advertised (KAFKA-18659: librdkafka before 2.4 stops
//! compressing otherwise) and refused when used.
//!
//! One batch per partition, appended in request order before the next Produce is read: they
//! overlap, so that many wait for one flush. acks=all is answered when it is on disk (or appended,
//! with background flushing), acks=1 when it is appended, acks=0 not at all: then an error closes
//! the connection, as in Kafka. Whatever acks are, the connection's next request sees the records.
//!
//! - v3: one record batch of format 2. v5: log start offset. v7: zstd allowed.
//! - v8 (KIP-467): error message, and the rejected records.
//! - v9: flexible. v10 (KIP-951): current leader on NOT_LEADER_OR_FOLLOWER.
//! - v12 (KIP-890): transactions v2. v13 (KIP-516): topics by id.
//! - A mirror refuses with INVALID_REQUEST, which is decided under the append lock.
//! - An internal topic refuses every client id except one with INVALID_TOPIC_EXCEPTION, as in
//!   Kafka's `ProducerFailureHandlingTest.testCannotSendToInternalTopic`.
//!
//! A batch in a transaction is appended only to a partition that is in the transaction (KIP-890).
//! With v12, this adds the partition. Before, a partition that was not added is INVALID_TXN_STATE
//! (v11 on: TRANSACTION_ABORTABLE). The code is in `transactional`.

mod transactional;

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::batch::{BadRecord, Batch, Compression, ProducedBatchError};
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicId;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use kafka_protocol::messages::{ApiKey, BrokerId, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use self::transactional::{Intent, Verdicts};
use super::error::{door_code, partition_code, produce_txn_code};
use super::groups::text;
use super::metadata::leader_id;
use super::{Api, Context, Order, Reply, ResponseOf};
use crate::access::Operation;
use crate::clock;
use crate::cluster::Leader;
use crate::partition::{Appended, PartitionError, Pending, Produced};
use crate::quota::Kind;
use crate::topic::Topic;
use crate::transaction::coordinator::Addition;

/// The client id that Kafka lets produce to internal topics.
const MAY_WRITE_INTERNAL_TOPICS: &str = "__admin_client";

pub struct Produce;

/// What a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acks {
    /// No answer at all.
    None,
    /// Appended.
    Leader,
    /// Appended and as durable as the flush policy promises.
    All,
}

impl Api for Produce {
    const KEY: ApiKey = ApiKey::Produce;
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    const ADVERTISED_MIN: i16 = 0;
    const ORDER: Order = Order::Overlaps;
    const HOLDS_REQUEST: bool = false;
    type Request = ProduceRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let Some(acks) = acks(request.acks) else {
            return Reply::Now(all_failed(request, ErrorCode::INVALID_REQUIRED_ACKS));
        };
        let wait_ms = ctx.record_bytes(Kind::Produce, || produced_bytes(&request));
        let intent = match Intent::of(ctx, version, &request) {
            Ok(intent) => intent,
            Err(code) => return Reply::Now(all_failed(request, code)),
        };
        let admitted = match intent
            .as_ref()
            .map(|intent| intent.admitted(ctx))
            .transpose()
        {
            Ok(admitted) => admitted,
            Err(error) => return Reply::Now(all_failed(request, door_code(error))),
        };
        let verdicts = match (&intent, &admitted) {
            (Some(intent), Some(admitted)) => intent.verdicts(admitted),
            _ => Verdicts::default(),
        };
        let written = append_all(ctx, version, request, &verdicts);
        drop(verdicts);
        let addition = admitted.map_or_else(Addition::default, |admitted| admitted.addition);
        let Written { topics, waiting } = written;
        let response = ProduceResponse::default()
            .with_node_endpoints(endpoints(ctx, &topics))
            .with_responses(topics)
            .with_throttle_time_ms(wait_ms);
        // Before the next request is read, and although acks=0 has no answer.
        ctx.hold(wait_ms);
        let is_durable = waiting.is_empty();
        match acks {
            Acks::None => match failure(&response) {
                Some(reason) => Reply::Close(reason),
                None if is_durable => Reply::None,
                None => Reply::Early {
                    answer: None,
                    effect: Box::pin(visible(waiting)),
                },
            },
            _ if is_durable && addition.is_none() => Reply::Now(response),
            Acks::Leader if addition.is_none() => Reply::Early {
                answer: Some(response),
                effect: Box::pin(visible(waiting)),
            },
            _ => Reply::Later(Box::pin(flushed(version, response, waiting, addition))),
        }
    }
}

/// What was appended of a request, and whose flush is waited for.
struct Written {
    topics: Vec<TopicProduceResponse>,
    waiting: Vec<((usize, usize), Pending)>,
}

/// Appends all batches, in order.
fn append_all(
    ctx: &Context,
    version: i16,
    request: ProduceRequest,
    verdicts: &Verdicts<'_>,
) -> Written {
    let now_ms = clock::now_ms();
    let mut topics = Vec::with_capacity(request.topic_data.len());
    let mut waiting = Vec::new();
    for (t, data) in request.topic_data.into_iter().enumerate() {
        let appending = Appending {
            ctx,
            version,
            now_ms,
            topic: resolve(ctx, version, &data),
            verdicts,
        };
        let mut partitions = Vec::with_capacity(data.partition_data.len());
        for (p, partition) in data.partition_data.into_iter().enumerate() {
            let outcome = appending.append(partition);
            if let Some(pending) = outcome.pending {
                waiting.push(((t, p), pending));
            }
            partitions.push(outcome.response);
        }
        topics.push(
            // Copied: a slice would keep the whole frame in memory until the flush is done.
            TopicProduceResponse::default()
                .with_name(text(&data.name).into())
                .with_topic_id(data.topic_id)
                .with_partition_responses(partitions),
        );
    }
    Written { topics, waiting }
}

/// Where the leaders are that the answer names.
fn endpoints(ctx: &Context, topics: &[TopicProduceResponse]) -> Vec<NodeEndpoint> {
    let partitions = topics.iter().flat_map(|it| &it.partition_responses);
    let leaders = ctx.leaders(partitions.map(|it| it.current_leader.leader_id.0));
    let endpoints = leaders.into_iter().map(|member| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(member.id.0))
            .with_host(text(&member.host))
            .with_port(i32::from(member.port))
            .with_rack(member.rack.as_deref().map(text))
    });
    endpoints.collect()
}

/// What counts against the quota: the record batches, without the frame around them.
fn produced_bytes(request: &ProduceRequest) -> usize {
    let partitions = request.topic_data.iter().flat_map(|t| &t.partition_data);
    partitions
        .filter_map(|partition| partition.records.as_ref())
        .map(Bytes::len)
        .sum()
}

fn acks(acks: i16) -> Option<Acks> {
    match acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    }
}

fn resolve(ctx: &Context, version: i16, data: &TopicProduceData) -> Result<Arc<Topic>, ErrorCode> {
    let topic = match version {
        13.. => ctx.topic(TopicId(data.topic_id), Operation::Write),
        _ => ctx.topic(&data.name, Operation::Write),
    };
    let topic = topic.map_err(door_code)?;
    if topic.is_internal() && ctx.client_id() != MAY_WRITE_INTERNAL_TOPICS {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    Ok(topic)
}

/// A partition's answer, final or (with `pending`) as it will be once flushed.
struct Outcome {
    response: PartitionProduceResponse,
    pending: Option<Pending>,
}

/// The appends to one topic.
struct Appending<'a> {
    ctx: &'a Context,
    version: i16,
    now_ms: i64,
    topic: Result<Arc<Topic>, ErrorCode>,
    verdicts: &'a Verdicts<'a>,
}

impl Appending<'_> {
    fn append(&self, data: PartitionProduceData) -> Outcome {
        let index = data.index;
        let refused = |code: ErrorCode| Outcome {
            response: failed(index, code),
            pending: None,
        };
        let topic = match &self.topic {
            Ok(topic) => topic,
            Err(code) => return refused(*code),
        };
        let partition = match self.ctx.partition(topic, index) {
            Ok(partition) => partition,
            Err(error) => {
                let response = failed(index, door_code(error));
                return Outcome {
                    response: self.with_hint(response, error.leader()),
                    pending: None,
                };
            }
        };
        let records = data.records.unwrap_or_default();
        if self.version < 7 && is_zstd(&records) {
            return refused(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
        }
        metrics::counter!("carrick_produced_bytes_total").increment(records.len() as u64);
        // The slow part comes before the transaction's lock.
        let prepared = partition.prepare(&records, self.now_ms);
        let appended = self
            .verdicts
            .write(self.version, partition.id(), |admission| {
                admission.map(|admission| partition.append_prepared(prepared, admission))
            });
        let appended = match appended {
            Ok(appended) => appended,
            Err(code) => return refused(code),
        };
        match appended {
            Ok(Produced::Done(appended)) => Outcome {
                response: self.appended(index, &appended),
                pending: None,
            },
            Ok(Produced::Flushing(pending)) => {
                let response = self.appended(index, &pending.appended);
                Outcome {
                    response,
                    pending: Some(pending),
                }
            }
            Err(error) => {
                tracing::debug!(partition = %partition.id(), %error, "produce refused");
                Outcome {
                    response: explained(self.version, index, &error),
                    pending: None,
                }
            }
        }
    }

    /// Tells a client whose view is old who leads, in which epoch (KIP-951).
    fn with_hint(
        &self,
        response: PartitionProduceResponse,
        leader: Option<Leader>,
    ) -> PartitionProduceResponse {
        match leader.filter(|_| self.version >= 10) {
            Some(leader) => response.with_current_leader(
                LeaderIdAndEpoch::default()
                    .with_leader_id(leader_id(leader))
                    .with_leader_epoch(leader.epoch.0),
            ),
            None => response,
        }
    }

    fn appended(&self, index: i32, appended: &Appended) -> PartitionProduceResponse {
        let response = PartitionProduceResponse::default()
            .with_index(index)
            .with_base_offset(appended.base_offset.0)
            .with_log_append_time_ms(appended.log_append_time_ms);
        match self.version {
            5.. => response.with_log_start_offset(appended.log_start.0),
            _ => response,
        }
    }
}

/// Clients that predate zstd must not be made to believe that others can read it (KIP-110).
fn is_zstd(records: &[u8]) -> bool {
    Batch::parse(records).is_ok_and(|batch| batch.header.compression() == Ok(Compression::Zstd))
}

fn failed(index: i32, code: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code.0)
        .with_base_offset(-1)
}

fn explained(version: i16, index: i32, error: &PartitionError) -> PartitionProduceResponse {
    let response = failed(index, partition_code(error));
    if version < 8 {
        return response;
    }
    let message = StrBytes::from_string(error.to_string());
    let to_blame = match error {
        PartitionError::Produced(ProducedBatchError::Records(records)) => records.as_slice(),
        _ => &[],
    };
    let blame = |record: &BadRecord| {
        let message = StrBytes::from_string(record.to_string());
        BatchIndexAndErrorMessage::default()
            .with_batch_index(record.index)
            .with_batch_index_error_message(Some(message))
    };
    let to_blame = to_blame.iter().map(blame).collect();
    response
        .with_error_message(Some(message))
        .with_record_errors(to_blame)
}

fn all_failed(request: ProduceRequest, code: ErrorCode) -> ProduceResponse {
    let topics = request.topic_data.into_iter().map(|topic| {
        let partitions = topic
            .partition_data
            .iter()
            .map(|data| failed(data.index, code))
            .collect();
        TopicProduceResponse::default()
            .with_name(topic.name)
            .with_topic_id(topic.topic_id)
            .with_partition_responses(partitions)
    });
    ProduceResponse::default().with_responses(topics.collect())
}

/// With acks=0 a client learns of an error only by losing its connection.
fn failure(response: &ProduceResponse) -> Option<String> {
    for topic in &response.responses {
        for partition in &topic.partition_responses {
            let code = ErrorCode(partition.error_code);
            if code.is_err() {
                let (name, index) = (topic.name.as_str(), partition.index);
                return Some(format!("acks=0 produce to {name}-{index} failed: {code}"));
            }
        }
    }
    None
}

/// Returns when readers see what was appended, or never will.
async fn visible(waiting: Vec<((usize, usize), Pending)>) {
    for (_, pending) in waiting {
        // A partition whose flush failed reports that itself.
        drop(pending.durable().await);
    }
}

/// Waits for the flushes, which run in parallel.
async fn flushed(
    version: i16,
    mut response: ProduceResponse,
    waiting: Vec<((usize, usize), Pending)>,
    addition: Addition,
) -> ProduceResponse {
    for ((t, p), pending) in waiting {
        if let Err(error) = pending.durable().await {
            let place = &mut response.responses[t].partition_responses[p];
            *place = explained(version, place.index, &error);
        }
    }
    if let Err(error) = addition.durable().await {
        let code = produce_txn_code(version, error);
        let topics = response.responses.iter_mut();
        for place in topics.flat_map(|topic| &mut topic.partition_responses) {
            if place.error_code == 0 {
                *place = failed(place.index, code);
            }
        }
    }
    response
}

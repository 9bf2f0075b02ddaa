//! WriteTxnMarkers (key 27), versions 1–2.
//!
//! Ends a producer's transaction on single partitions: this is how administrators abort one that
//! hangs (`kafka-transactions.sh abort`). Answered when it is on disk. The coordinator is not
//! asked. A mirror is INVALID_REQUEST.
//!
//! - v2 (KIP-1228): the transaction version of the marker. From 2 on, its epoch must be above the
//!   epoch of the transaction that it ends.

use std::ops::RangeInclusive;

use carrick_protocol::batch::ControlKind;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::ProducerId;
use carrick_protocol::newer::transaction_version;
use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{
    ApiKey, TopicName, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use super::error::partition_code;
use super::transactions::writable;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::clock;
use crate::partition::{Marker, Pending};

/// The first version of transactions whose end raises the producer's epoch (KIP-890).
const FIRST_WITH_RAISED_EPOCHS: i8 = 2;

pub struct WriteTxnMarkers;

/// What the append of a marker came to, by partition.
type Written = Vec<(TopicName, Vec<(i32, Result<Pending, ErrorCode>)>)>;

impl Api for WriteTxnMarkers {
    const KEY: ApiKey = ApiKey::WriteTxnMarkers;
    const VERSIONS: RangeInclusive<i16> = 1..=2;
    type Request = WriteTxnMarkersRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let written: Vec<_> = request
            .markers
            .into_iter()
            .map(|wanted| (wanted.producer_id, write(ctx, wanted)))
            .collect();
        Reply::Later(Box::pin(async move {
            let mut results = Vec::with_capacity(written.len());
            for (producer_id, written) in written {
                let result = WritableTxnMarkerResult::default()
                    .with_producer_id(producer_id)
                    .with_topics(flushed(written).await);
                results.push(result);
            }
            WriteTxnMarkersResponse::default().with_markers(results)
        }))
    }
}

fn write(ctx: &Context, wanted: WritableTxnMarker) -> Written {
    let marker = Marker {
        producer_id: ProducerId(wanted.producer_id.0),
        producer_epoch: wanted.producer_epoch,
        kind: match wanted.transaction_result {
            true => ControlKind::Commit,
            false => ControlKind::Abort,
        },
        coordinator_epoch: wanted.coordinator_epoch,
        raised: transaction_version(&wanted) >= FIRST_WITH_RAISED_EPOCHS,
    };
    // Administrators may (KIP-1037), and brokers.
    let cluster = ctx.cluster_if_allowed(Operation::Alter);
    let cluster = cluster.or_else(|_| ctx.cluster(Operation::ClusterAction));
    let append = |topic: &str, number| {
        let topic = cluster.and_then(|cluster| cluster.topic(topic));
        let partition = writable(ctx, topic.as_deref().map_err(|error| *error), number)?;
        let appended = partition.append_marker(&marker, clock::now_ms());
        appended.map_err(|error| partition_code(&error))
    };
    let topics = wanted.topics.into_iter().map(|topic| {
        let numbers = topic.partition_indexes.iter();
        let appended = numbers.map(|number| (*number, append(&topic.name, *number)));
        let appended = appended.collect();
        (topic.name, appended)
    });
    topics.collect()
}

async fn flushed(written: Written) -> Vec<WritableTxnMarkerTopicResult> {
    let mut topics = Vec::with_capacity(written.len());
    for (name, partitions) in written {
        let mut results = Vec::with_capacity(partitions.len());
        for (number, appended) in partitions {
            let code = match appended {
                Ok(pending) => match pending.durable().await {
                    Ok(_) => ErrorCode::NONE,
                    Err(error) => partition_code(&error),
                },
                Err(code) => code,
            };
            let result = WritableTxnMarkerPartitionResult::default()
                .with_partition_index(number)
                .with_error_code(code.0);
            results.push(result);
        }
        let topic = WritableTxnMarkerTopicResult::default().with_name(name);
        topics.push(topic.with_partitions(results));
    }
    topics
}

//! THE list of APIs. Dispatch, the ApiVersions answer and the check against what the codec supports
//! are all derived from it; there is no second list.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use carrick_protocol::frame::{self, FrameError, RequestBody, RequestHead};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Request;
use tokio::task::block_in_place;

use super::Context;
use super::audited::{Audited, Lines};
use super::reply::{BoxFuture, Encoded, Frame, Reply};
use super::room::SMALL_ANSWER_BYTES;
use super::throttle::{Throttled, Timed};
use crate::pool::{FairCharge, Taken};

/// Which earlier requests on its connection a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It starts when all before it have taken effect, and those behind it when it has. So Kafka
    /// treats every request, and clients rely on it without waiting for answers.
    Alone,
    /// It starts while earlier requests of the same kind are still in progress: whatever they could
    /// observe of each other happens within `handle`. It waits for all others, and they wait for
    /// it.
    Overlaps,
}

/// The response type that belongs to an API's request type.
pub type ResponseOf<A> = <<A as Api>::Request as Request>::Response;

/// One Kafka API: its versions and its handler. One implementation per file of this folder.
///
/// A handler resolves names, calls one domain method and maps the answer. Versions, sizes and
/// decoding are dispatch's business.
pub trait Api: Send + Sync + 'static {
    /// The API key.
    const KEY: ApiKey;
    /// The versions that are handled.
    const VERSIONS: RangeInclusive<i16>;
    /// The lowest version that ApiVersions names. Differs from `VERSIONS` for Produce only.
    const ADVERTISED_MIN: i16 = *Self::VERSIONS.start();
    /// Which earlier requests a request waits for.
    const ORDER: Order = Order::Alone;
    /// Whether a [`Reply::Later`] keeps the request, or what was decoded from it, until it is
    /// ready. Not if the rest may take long: then the structure that keeps the waiting part counts
    /// it.
    const HOLDS_REQUEST: bool = true;
    /// Whether the answer lists or describes what the broker holds, within the [`Room`] of the context.
    /// The handler may then be called twice for one request: it changes nothing, or nothing the second
    /// time.
    ///
    /// [`Room`]: super::room::Room
    const LISTS: bool = false;
    /// The request; the response follows from it.
    type Request: Request<Response: Send + Throttled + 'static> + Send + 'static;

    /// Handles one request.
    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>>;

    /// Encodes the response. Only Fetch has a reason to differ.
    fn encode(correlation_id: i32, version: i16, response: &ResponseOf<Self>) -> Encoded {
        let header_version = Self::KEY.response_header_version(version);
        Ok(vec![frame::encode_response(
            correlation_id,
            header_version,
            response,
            version,
        )?])
    }
}

/// A row of the table.
pub struct Entry {
    /// The API key.
    pub key: ApiKey,
    /// Its name, for logs and metrics.
    pub name: &'static str,
    /// Lowest version that is handled.
    pub min: i16,
    /// Highest version that is handled and advertised.
    pub max: i16,
    /// Lowest version that is advertised.
    pub advertised_min: i16,
    /// Which earlier requests a request waits for.
    pub order: Order,
    /// Whether a reply that is still to come holds what the request takes in memory.
    pub holds_request: bool,
    /// Whether the answer lists what the broker holds; a large one has memory until it is sent.
    pub lists: bool,
    /// Whether the audit log says what requests change.
    #[cfg(test)]
    pub is_audited: bool,
    /// Decodes and handles one request; the reply is encoded.
    pub call: fn(&Context, &RequestHead, RequestBody) -> Result<Reply<Encoded>, FrameError>,
}

impl Entry {
    /// An API that changes nothing here, or that applications use to move their data.
    const fn unaudited<A: Api>(name: &'static str) -> Entry {
        Entry {
            key: A::KEY,
            name,
            min: *A::VERSIONS.start(),
            max: *A::VERSIONS.end(),
            advertised_min: A::ADVERTISED_MIN,
            order: A::ORDER,
            holds_request: A::HOLDS_REQUEST,
            lists: A::LISTS,
            #[cfg(test)]
            is_audited: false,
            call: call::<A>,
        }
    }

    /// An API whose changes are in the audit log.
    const fn audited<A: Audited>(name: &'static str) -> Entry {
        assert!(!A::LISTS, "such a request may be handled twice");
        Entry {
            #[cfg(test)]
            is_audited: true,
            call: call_audited::<A>,
            ..Self::unaudited::<A>(name)
        }
    }
}

fn call<A: Api>(
    ctx: &Context,
    head: &RequestHead,
    body: RequestBody,
) -> Result<Reply<Encoded>, FrameError> {
    if !A::LISTS {
        return once::<A>(ctx, head, body);
    }
    let max_bytes = ctx.broker.limits.request_max_bytes;
    let small = ctx.with_room(max_bytes.min(SMALL_ANSWER_BYTES));
    let reply = once::<A>(&small, head, body.clone())?;
    let again = large::<A>(ctx.clone(), head.clone(), body);
    Ok(match reply {
        _ if small.room.is_over() => Reply::Later(Box::pin(again)),
        Reply::Later(answer) => Reply::Later(Box::pin(async move {
            let answer = answer.await;
            match small.room.is_over() {
                true => again.await,
                false => answer,
            }
        })),
        reply => reply,
    })
}

fn call_audited<A: Audited>(
    ctx: &Context,
    head: &RequestHead,
    body: RequestBody,
) -> Result<Reply<Encoded>, FrameError> {
    let started = ctx.is_timed().then(Instant::now);
    let request = body.decode::<A::Request>()?;
    let (asked, noting) = (request.clone(), ctx.clone());
    let note = move |answer: &ResponseOf<A>| {
        let name = entry(A::KEY as i16).map_or("Unknown", |entry| entry.name);
        A::audit(&asked, answer, &mut Lines::new(&noting, name));
    };
    ctx.begin(A::KEY);
    let reply = match A::handle(ctx, head.api_version, request) {
        Reply::Later(answer) => Reply::Later(Box::pin(async move {
            let answer = answer.await;
            note(&answer);
            answer
        })),
        reply => {
            if let Reply::Now(answer)
            | Reply::Early {
                answer: Some(answer),
                ..
            } = &reply
            {
                note(answer);
            }
            reply
        }
    };
    encoded::<A>(ctx, head, started.map(|started| started.elapsed()), reply)
}

/// Answers with room for a large answer, of which there are few at a time.
async fn large<A: Api>(ctx: Context, head: RequestHead, body: RequestBody) -> Encoded {
    let max_bytes = ctx.broker.limits.request_max_bytes;
    let broker = Arc::clone(&ctx.broker);
    let (memory, turn) = broker
        .large_answers
        .begin(ctx.connection.peer.ip(), max_bytes)
        .await;
    let ctx = ctx.with_room(max_bytes);
    let reply = block_in_place(|| once::<A>(&ctx, &head, body))?;
    let frame = match reply {
        Reply::Now(frame) => frame?,
        Reply::Later(answer) => answer.await?,
        // No API that lists has such replies.
        Reply::Early { .. } | Reply::None | Reply::Close(_) => Vec::new(),
    };
    drop(turn);
    Ok(charged(frame, memory))
}

/// The part of `memory` that a frame needs stays with the frame until it is sent.
fn charged(frame: Frame, memory: FairCharge) -> Frame {
    let Some(mut memory) = memory else {
        return frame;
    };
    let charge = |piece: Bytes| match memory.split(piece.len()) {
        Some(share) => Bytes::from_owner(Charged(piece, share)),
        None => piece,
    };
    frame.into_iter().map(charge).collect()
}

/// A piece of a frame with its memory, released on drop.
struct Charged(
    Bytes,
    #[expect(dead_code, reason = "held for its drop")] Taken,
);

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn once<A: Api>(
    ctx: &Context,
    head: &RequestHead,
    body: RequestBody,
) -> Result<Reply<Encoded>, FrameError> {
    let started = ctx.is_timed().then(Instant::now);
    let request = body.decode::<A::Request>()?;
    ctx.begin(A::KEY);
    let reply = A::handle(ctx, head.api_version, request);
    let busy = started.map(|started| started.elapsed());
    encoded::<A>(ctx, head, busy, reply)
}

fn encoded<A: Api>(
    ctx: &Context,
    head: &RequestHead,
    busy: Option<Duration>,
    reply: Reply<ResponseOf<A>>,
) -> Result<Reply<Encoded>, FrameError> {
    let (id, version) = (head.correlation_id, head.api_version);
    let settled = |mut response| {
        ctx.settle(&mut response, busy);
        A::encode(id, version, &response)
    };
    Ok(match reply {
        Reply::Now(response) => Reply::Now(settled(response)),
        Reply::Early { answer, effect } => Reply::Early {
            answer: answer.map(settled),
            effect,
        },
        Reply::Later(response) => Reply::Later(later::<A>(ctx, id, version, response, busy)),
        Reply::None => Reply::None,
        Reply::Close(reason) => Reply::Close(reason),
    })
}

fn later<A: Api>(
    ctx: &Context,
    id: i32,
    version: i16,
    response: BoxFuture<ResponseOf<A>>,
    busy: Option<Duration>,
) -> BoxFuture<Encoded> {
    let ctx = ctx.clone();
    Box::pin(async move {
        let (mut response, busy) = match busy {
            None => (response.await, None),
            Some(busy) => {
                let (response, busy) = Timed::new(response, busy).await;
                (response, Some(busy))
            }
        };
        ctx.settle(&mut response, busy);
        A::encode(id, version, &response)
    })
}

macro_rules! apis {
    ($($module:ident :: $api:ident : $audit:ident),* $(,)?) => {
        /// Every API that Carrick answers.
        pub static APIS: &[Entry] = &[$(Entry::$audit::<super::$module::$api>(stringify!($api))),*];
    };
}

apis! {
    // Data.
    produce::Produce: unaudited,
    fetch::Fetch: unaudited,
    list_offsets::ListOffsets: unaudited,
    metadata::Metadata: unaudited,
    offset_for_leader_epoch::OffsetForLeaderEpoch: unaudited,
    init_producer_id::InitProducerId: unaudited,
    api_versions::ApiVersions: unaudited,
    sasl_handshake::SaslHandshake: unaudited,
    sasl_authenticate::SaslAuthenticate: unaudited,
    // Groups.
    find_coordinator::FindCoordinator: unaudited,
    join_group::JoinGroup: unaudited,
    sync_group::SyncGroup: unaudited,
    heartbeat::Heartbeat: unaudited,
    leave_group::LeaveGroup: unaudited,
    offset_commit::OffsetCommit: unaudited,
    offset_fetch::OffsetFetch: unaudited,
    list_groups::ListGroups: unaudited,
    describe_groups::DescribeGroups: unaudited,
    delete_groups::DeleteGroups: audited,
    consumer_group_heartbeat::ConsumerGroupHeartbeat: unaudited,
    consumer_group_describe::ConsumerGroupDescribe: unaudited,
    offset_delete::OffsetDelete: audited,
    // Transactions.
    add_partitions_to_txn::AddPartitionsToTxn: unaudited,
    add_offsets_to_txn::AddOffsetsToTxn: unaudited,
    txn_offset_commit::TxnOffsetCommit: unaudited,
    end_txn::EndTxn: unaudited,
    write_txn_markers::WriteTxnMarkers: audited,
    describe_transactions::DescribeTransactions: unaudited,
    list_transactions::ListTransactions: unaudited,
    // Admin.
    create_topics::CreateTopics: audited,
    delete_topics::DeleteTopics: audited,
    create_partitions::CreatePartitions: audited,
    describe_configs::DescribeConfigs: unaudited,
    incremental_alter_configs::IncrementalAlterConfigs: audited,
    alter_configs::AlterConfigs: audited,
    delete_records::DeleteRecords: audited,
    describe_cluster::DescribeCluster: unaudited,
    describe_quorum::DescribeQuorum: unaudited,
    describe_topic_partitions::DescribeTopicPartitions: unaudited,
    describe_log_dirs::DescribeLogDirs: unaudited,
    alter_replica_log_dirs::AlterReplicaLogDirs: unaudited,
    elect_leaders::ElectLeaders: unaudited,
    alter_partition_reassignments::AlterPartitionReassignments: unaudited,
    list_partition_reassignments::ListPartitionReassignments: unaudited,
    describe_producers::DescribeProducers: unaudited,
    list_config_resources::ListConfigResources: unaudited,
    describe_client_quotas::DescribeClientQuotas: unaudited,
    alter_client_quotas::AlterClientQuotas: audited,
    describe_user_scram_credentials::DescribeUserScramCredentials: unaudited,
    alter_user_scram_credentials::AlterUserScramCredentials: audited,
    describe_acls::DescribeAcls: unaudited,
    create_acls::CreateAcls: audited,
    delete_acls::DeleteAcls: audited,
}

/// The row of an API key, when Carrick answers it.
pub fn entry(api_key: i16) -> Option<&'static Entry> {
    APIS.iter().find(|entry| entry.key as i16 == api_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advertised_is_what_the_codec_does() {
        for entry in APIS {
            let codec = carrick_protocol::versions::supported(entry.key as i16)
                .unwrap_or_else(|| panic!("{} is not in the codec's table", entry.name));
            assert!(
                codec.contains(&entry.min) && codec.contains(&entry.max),
                "{}: {}..={} is not within {codec:?}",
                entry.name,
                entry.min,
                entry.max
            );
            // Produce names versions that it refuses: older librdkafka stops compressing otherwise.
            assert!(entry.advertised_min == entry.min || entry.key == ApiKey::Produce);
        }
    }

    #[test]
    fn only_produces_overlap() {
        for entry in APIS {
            let overlaps = entry.order == Order::Overlaps;
            assert_eq!(overlaps, entry.key == ApiKey::Produce, "{}", entry.name);
        }
    }

    #[test]
    fn no_api_is_listed_twice() {
        for (i, entry) in APIS.iter().enumerate() {
            assert!(
                APIS[..i].iter().all(|other| other.key != entry.key),
                "{}",
                entry.name
            );
        }
    }
}

//! Fetch (key 1), versions 4–18.
//!
//! Whole record batches as they are stored, starting with the batch that contains the wanted
//! offset, without copying them. Answered immediately when there are `min_bytes`, an error, or a
//! limit is reached; otherwise when the high watermark (last stable offset for `read_committed`)
//! moves, or after `max_wait`.
//!
//! - The first batch of the first partition that has data is returned whole, whatever the limits.
//! - v4 (KIP-98): isolation level; `read_committed` gets the aborted transactions of its range.
//! - v5: log start offset. v7 (KIP-227): sessions. v9 (KIP-320): current leader epoch checked.
//! - v11 (KIP-392): always read here, no preferred replica. v12 (KIP-595): flexible;
//!   `last_fetched_epoch` is answered with the diverging epoch, for every client.
//! - v13 (KIP-516): topic ids; a topic that was created again is UNKNOWN_TOPIC_ID.
//! - v16 (KIP-951): FENCED_LEADER_EPOCH and NOT_LEADER_OR_FOLLOWER name the leader, its epoch, and its
//!   address.
//! - v15 (KIP-903): replica state, v17 (KIP-853): directory ids, v18 (KIP-1166): high watermark of
//!   the follower: all for replicas. There are no replicas: every client reads as a consumer. One that
//!   says that it is a replica needs what Kafka's followers need.

mod encode;
mod read;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::frame::FrameError;
use kafka_protocol::messages::fetch_response::{
    FetchableTopicResponse, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest, FetchResponse};
use tokio::time::Instant;

use super::error::session_code;
use super::groups::text;
use super::throttle::saturated;
use super::{Api, Context, Frame, Reply, ResponseOf};
use crate::clock;
use crate::fetch_session::{Answer, Scope, Wanted};
use crate::partition::{Partition, Watch};
use crate::quota::Kind;
use read::{Bounds, Pass, Reading};

pub struct Fetch;

impl Api for Fetch {
    const KEY: ApiKey = ApiKey::Fetch;
    const VERSIONS: RangeInclusive<i16> = 4..=18;
    const HOLDS_REQUEST: bool = false;
    type Request = FetchRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let (scope, wanted) = match ctx.broker.fetch_sessions.begin(version, &request) {
            Ok(begun) => begun,
            Err(error) => {
                let code = session_code(error).0;
                return Reply::Now(FetchResponse::default().with_error_code(code));
            }
        };
        let max_bytes = bytes(request.max_bytes)
            .min(ctx.broker.limits.fetch_max_bytes)
            .min(most_by_quota(ctx));
        let fetch = Fetching {
            ctx: ctx.clone(),
            version,
            scope,
            wanted,
            reading: Reading {
                by_id: version >= 13,
                as_replica: replica_id(version, &request) >= 0,
                committed_only: request.isolation_level == 1,
                max_bytes,
                leader: (version >= 16).then_some(ctx.view().here()),
                min_bytes: bytes(request.min_bytes).min(max_bytes),
            },
        };
        let pass = fetch.pass();
        let Ok(max_wait_ms @ 1..) = u64::try_from(request.max_wait_ms) else {
            return Reply::Now(fetch.answer(pass));
        };
        if pass.is_enough {
            return Reply::Now(fetch.answer(pass));
        }
        let address = ctx.connection.peer.ip();
        let memory = fetch.memory_bytes();
        let Ok(memory) = ctx.broker.waiting_fetches.try_take(&address, memory) else {
            // Asked to come back later instead: what waits stays in memory.
            let wait_ms = request.max_wait_ms.min(NO_ROOM_WAIT_MAX_MS);
            let answer = fetch.answer(pass);
            let wait_ms = answer.throttle_time_ms.max(wait_ms);
            return Reply::Now(answer.with_throttle_time_ms(wait_ms));
        };
        let deadline = Instant::now() + Duration::from_millis(max_wait_ms);
        Reply::Later(Box::pin(async move {
            let pass = fetch.wait(pass, deadline).await;
            let answer = fetch.answer(pass);
            drop(memory);
            answer
        }))
    }

    fn encode(
        correlation_id: i32,
        version: i16,
        response: &FetchResponse,
    ) -> Result<Frame, FrameError> {
        encode::encode(correlation_id, version, response)
    }
}

/// Memory that a fetch takes for each of its partitions while it waits: what it wants, in the
/// request and next to the answer, and the answer.
const WAITING_PARTITION_BYTES: usize =
    2 * size_of::<Wanted>() + size_of::<PartitionData>() + size_of::<(Arc<Partition>, Bounds)>();

/// How long a client waits that may not wait here, at most.
const NO_ROOM_WAIT_MAX_MS: i32 = 1_000;

/// Who the client says it is; consumers are no replica and say −1.
fn replica_id(version: i16, request: &FetchRequest) -> i32 {
    match version {
        15.. => request.replica_state.replica_id.0,
        _ => request.replica_id.0,
    }
}

/// A limit from the wire; a negative one means no limit.
fn bytes(limit: i32) -> usize {
    usize::try_from(limit).unwrap_or(0)
}

/// One Fetch in progress.
struct Fetching {
    ctx: Context,
    version: i16,
    scope: Scope,
    wanted: Vec<Wanted>,
    reading: Reading,
}

impl Fetching {
    fn memory_bytes(&self) -> usize {
        self.wanted.len() * WAITING_PARTITION_BYTES
    }

    fn pass(&self) -> Pass {
        self.reading.pass(&self.ctx, &self.wanted)
    }

    /// Reads again whenever something moved, until it is enough or too late.
    async fn wait(&self, mut pass: Pass, deadline: Instant) -> Pass {
        let watch = Watch::default();
        for (partition, _) in &pass.partitions {
            partition.watchers().register(&watch);
        }
        // Changes between reading and registering have woken no one.
        let mut look_again = self.has_moved(&pass);
        loop {
            if look_again {
                pass = self.pass();
                if pass.is_enough {
                    return pass;
                }
            }
            tokio::select! {
                () = watch.moved() => look_again = self.has_moved(&pass),
                () = tokio::time::sleep_until(deadline) => return pass,
                () = self.ctx.broker.stopping() => return pass,
            }
        }
    }

    fn has_moved(&self, pass: &Pass) -> bool {
        pass.partitions.iter().any(|(partition, before)| {
            let now = Bounds::of(&partition.snapshot(), self.reading.committed_only);
            now != *before || partition.is_closed()
        })
    }

    fn answer(&self, pass: Pass) -> FetchResponse {
        let sessions = &self.ctx.broker.fetch_sessions;
        if let Err(wait_ms) = self.record(&pass) {
            // As in Kafka: nothing now, and the session stands where it stood.
            let (error, session_id) = sessions.empty_answer(&self.scope);
            let code = error.map_or(ErrorCode::NONE, session_code);
            return FetchResponse::default()
                .with_error_code(code.0)
                .with_session_id(session_id)
                .with_throttle_time_ms(wait_ms);
        }
        let response = respond(sessions.answer(self.version, &self.scope, pass.answers));
        let partitions = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions);
        let leaders = self
            .ctx
            .leaders(partitions.map(|data| data.current_leader.leader_id.0));
        let endpoints = leaders.into_iter().map(|member| {
            NodeEndpoint::default()
                .with_node_id(BrokerId(member.id.0))
                .with_host(text(&member.host))
                .with_port(i32::from(member.port))
                .with_rack(member.rack.as_deref().map(text))
        });
        let endpoints = endpoints.collect();
        response.with_node_endpoints(endpoints)
    }

    /// Counts what was read against the client's quota.
    ///
    /// # Errors
    /// How long the client has to wait before it gets that much, in ms.
    fn record(&self, pass: &Pass) -> Result<(), i32> {
        let quotas = &self.ctx.broker.quotas;
        if !quotas.is_limited(Kind::Fetch) {
            return Ok(());
        }
        let records = pass
            .answers
            .iter()
            .filter_map(|(_, data)| data.records.as_ref());
        let bytes: usize = records.map(bytes::Bytes::len).sum();
        let (user, client, now_ms) = (self.ctx.user(), self.ctx.client_id(), clock::now_ms());
        quotas
            .record_or_wait(Kind::Fetch, user, client, bytes as f64, now_ms)
            .map_err(saturated)
    }
}

/// More than this could never be answered within the client's quota.
fn most_by_quota(ctx: &Context) -> usize {
    let quotas = &ctx.broker.quotas;
    let most = quotas.most_at_once(Kind::Fetch, ctx.user(), ctx.client_id());
    // A cast from float saturates.
    most.map_or(usize::MAX, |most| most as usize)
}

/// Groups partitions that follow one another by topic.
fn respond(answer: Answer) -> FetchResponse {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    let mut total_bytes = 0;
    for (
        Wanted {
            key: (id, name, _), ..
        },
        data,
    ) in answer.partitions
    {
        total_bytes += data.records.as_ref().map_or(0, bytes::Bytes::len);
        match topics.last_mut() {
            Some(topic) if topic.topic_id == id && topic.topic == name => {
                topic.partitions.push(data);
            }
            _ => topics.push(
                FetchableTopicResponse::default()
                    .with_topic(name)
                    .with_topic_id(id)
                    .with_partitions(vec![data]),
            ),
        }
    }
    metrics::counter!("carrick_fetched_bytes_total").increment(total_bytes as u64);
    FetchResponse::default()
        .with_error_code(answer.error.map_or(ErrorCode::NONE, session_code).0)
        .with_session_id(answer.session_id)
        .with_responses(topics)
}

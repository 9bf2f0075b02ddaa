//! `throttle_time_ms`: how answers tell clients to wait, and how the broker enforces it (KIP-13,
//! KIP-124, KIP-219).
//!
//! The answer leaves immediately and contains the throttle time; its connection is not read for
//! that long. What a handler puts into its answer (bytes, changes of topics) and what the time of
//! handling it adds (`request_percentage`) count as one: the longer of both.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::*;

use super::Context;
use super::admin::Refusal;
use super::reply::BoxFuture;
use crate::clock;
use crate::quota::Kind;

/// An answer that may tell its client to wait.
pub trait Throttled {
    /// The throttle time in the answer, in ms.
    fn wait_ms(&self) -> i32;
    /// Sets the wait, in ms. Does nothing where the answer has no place for it.
    fn set_wait_ms(&mut self, wait_ms: i32);
}

macro_rules! throttled {
    ($($response:ty),* $(,)?) => {
        /// The versions of each answer that cannot carry a wait, by the codec.
        #[cfg(test)]
        fn without_room() -> Vec<(&'static str, i16)> {
            use kafka_protocol::protocol::{Encodable, Message};
            let mut without = Vec::new();
            $(for version in <$response>::VERSIONS.min..=<$response>::VERSIONS.max {
                let mut response = <$response>::default();
                let mut out = bytes::BytesMut::new();
                if response.encode(&mut out, version).is_err() {
                    // Not encodable without fields that handlers set.
                    continue;
                }
                response.set_wait_ms(7);
                if response.encode(&mut out, version).is_err() {
                    without.push((stringify!($response), version));
                }
            })*
            without
        }

        $(impl Throttled for $response {
            fn wait_ms(&self) -> i32 {
                self.throttle_time_ms
            }

            fn set_wait_ms(&mut self, wait_ms: i32) {
                self.throttle_time_ms = wait_ms;
            }
        })*
    };
}

throttled!(
    ProduceResponse,
    FetchResponse,
    ListOffsetsResponse,
    MetadataResponse,
    OffsetCommitResponse,
    OffsetFetchResponse,
    FindCoordinatorResponse,
    JoinGroupResponse,
    HeartbeatResponse,
    LeaveGroupResponse,
    SyncGroupResponse,
    DescribeGroupsResponse,
    ListGroupsResponse,
    ApiVersionsResponse,
    CreateTopicsResponse,
    DeleteTopicsResponse,
    DeleteRecordsResponse,
    InitProducerIdResponse,
    OffsetForLeaderEpochResponse,
    AddPartitionsToTxnResponse,
    AddOffsetsToTxnResponse,
    EndTxnResponse,
    TxnOffsetCommitResponse,
    DescribeAclsResponse,
    CreateAclsResponse,
    DeleteAclsResponse,
    DescribeConfigsResponse,
    AlterConfigsResponse,
    AlterReplicaLogDirsResponse,
    DescribeLogDirsResponse,
    CreatePartitionsResponse,
    DeleteGroupsResponse,
    ElectLeadersResponse,
    IncrementalAlterConfigsResponse,
    AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsResponse,
    OffsetDeleteResponse,
    DescribeClientQuotasResponse,
    AlterClientQuotasResponse,
    DescribeUserScramCredentialsResponse,
    AlterUserScramCredentialsResponse,
    DescribeClusterResponse,
    DescribeProducersResponse,
    DescribeTransactionsResponse,
    ListTransactionsResponse,
    ConsumerGroupHeartbeatResponse,
    ConsumerGroupDescribeResponse,
    ListConfigResourcesResponse,
    DescribeTopicPartitionsResponse,
);

/// Made for brokers: they have no place for a wait.
macro_rules! never_throttled {
    ($($response:ty),+ $(,)?) => {
        $(impl Throttled for $response {
            fn wait_ms(&self) -> i32 {
                0
            }

            fn set_wait_ms(&mut self, _wait_ms: i32) {}
        })*
    };
}

never_throttled!(
    DescribeQuorumResponse,
    WriteTxnMarkersResponse,
    SaslHandshakeResponse,
    SaslAuthenticateResponse
);

impl Context {
    /// Records bytes, counted only if there is any quota, against the client's; returns how long it
    /// should wait, in ms.
    pub fn record_bytes(&self, kind: Kind, bytes: impl FnOnce() -> usize) -> i32 {
        let quotas = &self.broker.quotas;
        if !quotas.is_limited(kind) {
            return 0;
        }
        let wait_ms = quotas.record(
            kind,
            self.user(),
            self.client_id(),
            bytes() as f64,
            clock::now_ms(),
        );
        saturated(wait_ms)
    }

    /// Takes partitions' worth of changes of topics off the client's quota (KIP-599).
    pub(super) fn mutations(&self, strict: bool) -> Mutations {
        Mutations {
            ctx: self.clone(),
            strict,
            wait_ms: 0,
        }
    }

    /// Holds the connection to a wait.
    pub fn hold(&self, wait_ms: i32) {
        if let Ok(wait_ms @ 1..) = u64::try_from(wait_ms) {
            self.connection.held.prolong(Duration::from_millis(wait_ms));
        }
    }

    /// Whether the time that requests take is limited for any client.
    pub(super) fn is_timed(&self) -> bool {
        self.broker.quotas.is_limited(Kind::Request)
    }

    /// Settles what an answer owes: it contains the throttle time, which the connection must wait.
    pub(super) fn settle(&self, response: &mut impl Throttled, busy: Option<Duration>) {
        let by_time = busy.map_or(0, |busy| {
            let quotas = &self.broker.quotas;
            let now_ms = clock::now_ms();
            saturated(quotas.record_request(self.user(), self.client_id(), busy, now_ms))
        });
        if by_time > response.wait_ms() {
            response.set_wait_ms(by_time);
        }
        self.hold(response.wait_ms());
    }
}

/// The changes of topics that one request makes, against its client's quota.
pub(super) struct Mutations {
    ctx: Context,
    /// The request's version knows THROTTLING_QUOTA_EXCEEDED; older ones are only told to wait.
    strict: bool,
    wait_ms: i32,
}

impl Mutations {
    /// Takes this many partitions.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED.
    pub fn take(&mut self, partitions: usize) -> Result<(), Refusal> {
        let quotas = &self.ctx.broker.quotas;
        let (user, client, now_ms) = (self.ctx.user(), self.ctx.client_id(), clock::now_ms());
        match quotas.take_mutations(user, client, partitions, self.strict, now_ms) {
            Ok(wait_ms) => {
                self.wait_ms = self.wait_ms.max(saturated(wait_ms));
                Ok(())
            }
            Err(wait_ms) => {
                self.wait_ms = self.wait_ms.max(saturated(wait_ms));
                Err(Refusal::new(
                    ErrorCode::THROTTLING_QUOTA_EXCEEDED,
                    "The throttling quota has been exceeded.",
                ))
            }
        }
    }

    /// How long the client should wait, in ms.
    pub fn wait_ms(&self) -> i32 {
        self.wait_ms
    }
}

pub(super) fn saturated(wait_ms: i64) -> i32 {
    i32::try_from(wait_ms).unwrap_or(i32::MAX)
}

/// A future that also reports how long its polls took.
pub(super) struct Timed<T> {
    inner: BoxFuture<T>,
    busy: Duration,
}

impl<T> Timed<T> {
    /// Adds to what was spent before.
    pub fn new(inner: BoxFuture<T>, busy: Duration) -> Self {
        Self { inner, busy }
    }
}

impl<T> Future for Timed<T> {
    type Output = (T, Duration);

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let started = Instant::now();
        let polled = self.inner.as_mut().poll(cx);
        self.busy += started.elapsed();
        polled.map(|output| (output, self.busy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_every_answer_may_be_told_to_wait() {
        assert_eq!(without_room(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_time_in_polls_counts() {
        let hour = Duration::from_secs(3_600);
        let slept = Box::pin(async move {
            tokio::time::sleep(hour).await;
            5
        });
        let before = Duration::from_millis(3);
        let (output, busy) = Timed::new(slept, before).await;
        assert_eq!(output, 5);
        assert!(busy >= before && busy < hour, "{busy:?}");
    }
}

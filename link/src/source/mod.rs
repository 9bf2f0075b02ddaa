//! The Kafka client of a link: only the requests that a link sends to its source.
//!
//! [`SourceCluster`] is the seam that the fetcher, the replicator, the tasks and the manager use;
//! [`cluster::KafkaCluster`] implements it over TCP, a scripted fake replaces it in tests. It
//! exposes no type of the `kafka-protocol` crate.
//!
//! Invariants:
//! - Every answer is current: only [`SourceCluster::cached_metadata`] and the routing by leader use the
//!   metadata cache, and an error that says "not the leader" (or a lost connection) invalidates it.
//! - Errors of one partition are in that partition's answer ([`ErrorCode`]); a [`SourceError`] is
//!   about a broker or the whole cluster.
//! - Requests on one [`FetchConnection`] are written in the order of the calls to `fetch`.

mod api;
mod by_topic;
mod cluster;
mod connection;
mod describe_acls;
mod describe_cluster;
mod describe_configs;
mod error;
pub mod fetch;
mod find_coordinator;
mod groups;
mod list_groups;
mod list_offsets;
mod metadata;
mod oauth;
mod offset_fetch;
mod offset_for_leader_epoch;
mod requests;
pub(crate) mod tls;
mod tls_words;
mod transport;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{
    GroupId, LeaderEpoch, NodeId, Offset, TopicId, TopicName, TopicPartition,
};

use crate::acls::SourceAcls;
pub use cluster::KafkaCluster;
pub(crate) use connection::THROTTLE_MAX;
pub use error::{FaultKind, SourceError};
pub(crate) use error::{answered, named};
pub use fetch::{FetchRequest, FetchResponse};
pub use groups::{GroupCommits, GroupListing, SourceCommit, SourceGroup};

/// A boxed future, so that the seam's traits are object safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One broker as the source advertises it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceBroker {
    pub id: NodeId,
    /// Advertised host name or address.
    pub host: String,
    pub port: u16,
    /// Its rack, when set.
    pub rack: Option<String>,
}

/// Who the source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The cluster id; `None` from brokers that have none.
    pub cluster_id: Option<String>,
    /// The controller, or [`None`] while there is none.
    pub controller: Option<NodeId>,
    /// Live brokers by id.
    pub brokers: Vec<SourceBroker>,
}

/// Which topics a metadata request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicSelection {
    /// Every topic of the source that the link's principal may describe.
    All,
    /// These topics; one that doesn't exist is answered with its error, never created.
    Names(Vec<TopicName>),
}

/// An answer to Metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterMetadata {
    /// The cluster as this answer describes it.
    pub cluster: ClusterInfo,
    /// The topics asked for, in the source's order.
    pub topics: Vec<SourceTopic>,
}

impl ClusterMetadata {
    /// The topic of that name, if the answer holds it.
    pub fn topic(&self, name: &str) -> Option<&SourceTopic> {
        self.topics.iter().find(|topic| topic.name.as_str() == name)
    }
}

/// One topic of a Metadata answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTopic {
    pub name: TopicName,
    /// Its id; [`TopicId::ZERO`] when the source is older than topic ids (Metadata < v10).
    pub id: TopicId,
    /// `NONE`, or why there is nothing more: `UNKNOWN_TOPIC_OR_PARTITION`, `TOPIC_AUTHORIZATION_FAILED`, …
    pub error: ErrorCode,
    /// Internal to the source (`__consumer_offsets`, `__transaction_state`).
    pub is_internal: bool,
    /// Its partitions, ascending by index.
    pub partitions: Vec<SourcePartition>,
}

/// One partition of a Metadata answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePartition {
    pub partition: i32,
    /// `NONE`, `LEADER_NOT_AVAILABLE`, `LISTENER_NOT_FOUND` or `REPLICA_NOT_AVAILABLE`.
    pub error: ErrorCode,
    /// The leader, `None` while there is none.
    pub leader: Option<NodeId>,
    /// The leader's epoch; [`LeaderEpoch::NONE`] below Metadata v7.
    pub leader_epoch: LeaderEpoch,
}

/// What offset is looked up by ListOffsets (isolation level: read uncommitted).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start offset.
    Earliest,
    Latest,
    /// The first record whose timestamp is at or after this one, milliseconds since the epoch.
    Timestamp(i64),
}

/// One partition's answer to ListOffsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedOffset {
    pub partition: TopicPartition,
    /// `NONE`, or why there is no offset.
    pub error: ErrorCode,
    /// The offset, `None` if no record is that young.
    pub offset: Option<Offset>,
    /// The found record's timestamp (only for [`OffsetSpec::Timestamp`]), else −1.
    pub timestamp_ms: i64,
    /// The epoch in which that offset was written; `NONE` below v4 or when unknown.
    pub leader_epoch: LeaderEpoch,
}

/// A question for OffsetForLeaderEpoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochQuery {
    pub partition: TopicPartition,
    /// The leader epoch that we believe in, for fencing; `NONE` switches that check off.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch whose end is asked for.
    pub leader_epoch: LeaderEpoch,
}

/// One partition's answer to OffsetForLeaderEpoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochEnd {
    pub partition: TopicPartition,
    /// `NONE`, `FENCED_LEADER_EPOCH`, `UNKNOWN_LEADER_EPOCH`, `NOT_LEADER_OR_FOLLOWER`, …
    pub error: ErrorCode,
    /// The largest epoch at or below the asked one that the source knows, and the offset at which it
    /// ends; `None` if it knows none.
    pub end: Option<(LeaderEpoch, Offset)>,
}

/// The configs of one source topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfigs {
    pub topic: TopicName,
    /// `NONE`, or why there are none.
    pub error: ErrorCode,
    /// The source's words on the error.
    pub error_message: Option<String>,
    /// Every config that the source lists for the topic, defaults included.
    pub entries: Vec<TopicConfigEntry>,
}

/// One config of a source topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfigEntry {
    pub name: String,
    /// Its value; `None` if sensitive or unset.
    pub value: Option<String>,
    /// Set on the topic itself (source `DYNAMIC_TOPIC_CONFIG`), not inherited.
    pub is_topic_level: bool,
    /// Kafka calls it sensitive (the value is then `None`).
    pub is_sensitive: bool,
}

/// The source cluster as a link sees it.
///
/// Requests about partitions are sent to their leaders, as the metadata cache has them (it is filled when
/// needed); the answer holds one entry per question, in the order of the questions, a partition without a
/// known leader answered `LEADER_NOT_AVAILABLE`. A request that could not be sent to, or was not answered by,
/// one of the leaders fails as a whole. Nothing is retried here beyond the bootstrap list: the caller decides.
///
/// One method per question that a link asks, ten of them.
pub trait SourceCluster: Send + Sync {
    /// Cluster id and brokers, asked now (DescribeCluster, or Metadata where that is missing).
    fn describe(&self) -> BoxFuture<'_, Result<ClusterInfo, SourceError>>;

    /// Asks for metadata now, and puts the answer into the cache.
    fn metadata(
        &self,
        topics: TopicSelection,
    ) -> BoxFuture<'_, Result<ClusterMetadata, SourceError>>;

    /// Whether the source has throttled us (throttle_time_ms, KIP-219) and the time isn't over: it
    /// is available, and slow on purpose. Questions wait until then.
    fn asks_for_patience(&self) -> bool {
        false
    }

    /// What the cache knows of a topic, without asking, unless it is older than `metadata.max.age.ms`
    /// or was invalidated.
    fn cached_topic(&self, topic: &TopicName) -> Option<Arc<SourceTopic>>;

    /// Offsets at the leaders (ListOffsets).
    fn list_offsets(
        &self,
        queries: Vec<(TopicPartition, OffsetSpec)>,
    ) -> BoxFuture<'_, Result<Vec<ListedOffset>, SourceError>>;

    /// Where leader epochs end at the leaders (OffsetForLeaderEpoch).
    fn offsets_for_leader_epoch(
        &self,
        queries: Vec<EpochQuery>,
    ) -> BoxFuture<'_, Result<Vec<EpochEnd>, SourceError>>;

    /// The configs of topics (DescribeConfigs, asked of any broker).
    fn topic_configs(
        &self,
        topics: Vec<TopicName>,
    ) -> BoxFuture<'_, Result<Vec<TopicConfigs>, SourceError>>;

    /// All ACLs (DescribeAcls, asked of any broker). `SECURITY_DISABLED` from a source without an
    /// authorizer.
    fn acls(&self) -> BoxFuture<'_, Result<SourceAcls, SourceError>>;

    /// The groups of every broker (ListGroups). Fails only if no broker can be asked for the list
    /// of brokers.
    fn groups(&self) -> BoxFuture<'_, Result<GroupListing, SourceError>>;

    /// What groups have committed (OffsetFetch, asked of their coordinators, which FindCoordinator names): one answer per group,
    /// in their order. Coordinators that can't be reached answer `COORDINATOR_NOT_AVAILABLE`; fails if none could be.
    fn group_offsets(
        &self,
        groups: Vec<GroupId>,
    ) -> BoxFuture<'_, Result<Vec<GroupCommits>, SourceError>>;

    /// Opens a separate connection to one broker for fetching. `lane` counts the connections of one
    /// fetcher (`num.cluster.link.fetchers`) and is used only for naming.
    ///
    /// Waits out the reconnect back-off of that broker first. `UnknownBroker` if metadata doesn't list it.
    fn fetch_connection(
        &self,
        broker: NodeId,
        lane: u32,
    ) -> BoxFuture<'_, Result<Arc<dyn FetchConnection>, SourceError>>;
}

/// A connection to one broker, for Fetch.
///
/// Any number of [`fetch::FetchSession`]s may share it, one request in flight for each. A Kafka broker works on
/// one request of a connection at a time, so a long poll holds up what was sent after it.
pub trait FetchConnection: Send + Sync {
    /// The broker at the other end.
    fn broker(&self) -> NodeId;

    /// The Fetch version that both sides know (4 to 17).
    fn fetch_version(&self) -> i16;

    /// How long the broker took to answer a small request when the connection was opened: about the path's round trip.
    fn round_trip(&self) -> Duration;

    /// Writes the request immediately (in call order) and returns its response. Dropping the future
    /// doesn't withdraw the request: its response is then dropped when it arrives.
    ///
    /// The time limit is `request.timeout.ms` past the request's own `max_wait_ms`. After any error other
    /// than `Unsupported` the connection is closed.
    fn fetch(
        &self,
        request: FetchRequest,
    ) -> BoxFuture<'static, Result<FetchResponse, SourceError>>;

    /// True once the connection is unusable.
    fn is_closed(&self) -> bool;
}

//! What a link needs from the broker that it runs in, in the link's own words.
//!
//! The link declares these traits, the broker implements them; [`crate::testing::contract`] is the
//! suite that every implementation must pass. All are object safe, and all but [`Patterns`] synchronous. The link calls
//! them from its own tasks: the methods of [`MirrorPartition`] on the async threads (they must not
//! wait for a disk; a truncation may, away from those threads, and a few run in parallel), all
//! others, which may write metadata durably, from blocking threads.
//!
//! Invariants that an implementation keeps:
//! - A [`Lease`] is the right to write to a mirror partition. Whether it is still valid is decided
//!   under the same lock under which bytes are written; a late append gets [`TargetError::Fenced`]
//!   and nothing is written.
//! - Bytes are stored as given. Gaps before a batch are allowed; offsets never go back.
//! - The effect of a method of [`TopicCatalog`] or [`LinkStore`] survives kill -9 once it has
//!   returned, and each is one atomic write.

mod clock;
mod error;

use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::batch::CheckedBatches;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicName, TopicPartition};

use crate::acls::{Acl, AclsSynced};
use crate::config::LinkConfig;
use crate::cut::{CutOrder, PartitionCut};
use crate::groups::{GroupCommit, GroupCommitted, GroupSync};
use crate::record::{LinkName, LinkRecord, MirrorRecord, NewMirrorTopic, SourceSight};
use crate::report::RpoReport;
use crate::source::{BoxFuture, SourceCluster};

pub use clock::SystemClock;
pub use error::{AclRefusal, CatalogError, GroupRefusal, StoreError, TargetError};

/// Everything that a [`crate::manager::LinkManager`] needs to start.
#[derive(Clone)]
pub struct Ports {
    /// Where mirrored batches go.
    pub target: Arc<dyn MirrorTarget>,
    /// Stored data of mirrored partitions, for reports and verification.
    pub local: Arc<dyn LocalBatches>,
    /// Topics of this cluster.
    pub catalog: Arc<dyn TopicCatalog>,
    /// Groups of this cluster.
    pub groups: Arc<dyn GroupOffsets>,
    /// ACLs of this cluster.
    pub acls: Arc<dyn AclStore>,
    /// Links and mirrors as stored.
    pub store: Arc<dyn LinkStore>,
    /// Regular expressions of operators.
    pub patterns: Arc<dyn Patterns>,
    pub clock: Arc<dyn Clock>,
    /// How a source cluster is reached: [`crate::manager::KafkaSources`], but in tests.
    pub sources: Arc<dyn SourceConnector>,
}

/// The right of one link to write to a mirror partition.
///
/// `epoch` grows with every start of a replicator within one life of the process; leases do not
/// outlive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who writes.
    pub link: LinkName,
    /// Larger than in every earlier lease on that partition.
    pub epoch: u64,
}

/// What keeps a partition of this cluster from being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The cause, and what to do about it.
    pub detail: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: i64,
    /// It stays at least until this broker restarts.
    pub is_lasting: bool,
}

/// Hands out mirror partitions.
pub trait MirrorTarget: Send + Sync {
    /// Takes the partition over under `lease`: every earlier lease is fenced from here on.
    ///
    /// Errors: `NoSuchPartition`; `NotAMirror` (it was never one, or has been promoted);
    /// `WrongLink`; `Fenced` (a lease with a larger epoch was given out); `Storage`.
    fn open(
        &self,
        partition: &TopicPartition,
        lease: &Lease,
    ) -> Result<Box<dyn MirrorPartition>, TargetError>;

    /// The partitions of a topic that currently can't be written, as far as is known, and why.
    /// Called often, from async threads: it must not wait for a disk.
    fn obstacles(&self, topic: &TopicName) -> Vec<(i32, Obstacle)>;
}

/// One mirror partition, held under a lease. Dropping it gives the lease back without a trace.
///
/// Nine methods, because log start, log end, high watermark and epochs of a follower's log are four
/// things: the same ones that a Kafka follower has.
pub trait MirrorPartition: Send {
    /// The end of what is stored: the base offset of the next batch is at or above it.
    fn next_offset(&self) -> Offset;

    /// Where the log begins.
    fn log_start(&self) -> Offset;

    /// The leader epoch of the last stored batch, `None` if nothing is stored.
    fn last_epoch(&self) -> Option<LeaderEpoch>;

    /// The largest stored epoch at or below `epoch`, and where it ends; `None` if all are above.
    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)>;

    /// Stores batches as they are and returns the new end. The high watermark becomes min(end, `source_high_watermark`). All or
    /// nothing.
    ///
    /// Errors: `Fenced`; `NonMonotonic` if the first batch begins below the end; `Storage`.
    fn append(
        &mut self,
        batches: CheckedBatches,
        source_high_watermark: Offset,
    ) -> Result<Offset, TargetError>;

    /// The source's high watermark moved: the local one becomes min(end, it), and never goes back.
    fn observe_source(&mut self, high_watermark: Offset) -> Result<(), TargetError>;

    /// Moves the end forward without bytes: the source no longer holds anything below `end`. No
    /// effect if `end` is not above the present end.
    fn skip_to(&mut self, end: Offset) -> Result<(), TargetError>;

    /// Moves the log start forward, into a batch if need be. `NonMonotonic` if above the end; no
    /// effect if not above the present start. Durable with the next flush.
    fn trim_to(&mut self, log_start: Offset) -> Result<(), TargetError>;

    /// Removes everything at and above `end`, which the source has proven to be no longer part of
    /// its log; the high watermark goes back with it. A batch that holds `end` is removed whole, so
    /// that the new end may be lower. At or below the log start: the log is emptied and starts
    /// again at `end`. No effect if `end` is not below the end.
    fn truncate_to(&mut self, end: Offset) -> Result<(), TargetError>;
}

/// What one local partition holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalEnds {
    /// Where the log begins.
    pub log_start: Offset,
    /// The offset after the last stored batch.
    pub end: Offset,
    pub high_watermark: Offset,
    /// The largest timestamp of the last stored batch, milliseconds since the epoch; `None` if
    /// there is none, or it can't be read.
    pub last_timestamp_ms: Option<i64>,
    /// Transactions without a marker: a cut would abort them.
    pub open_transactions: u32,
}

/// Reads what is stored.
pub trait LocalBatches: Send + Sync {
    /// Where a partition stands. Error: `NoSuchPartition`, `Storage`.
    fn ends(&self, partition: &TopicPartition) -> Result<LocalEnds, TargetError>;

    /// Whole batches from the one that holds `from` or the first after it, at most `max_bytes` but
    /// for the first batch; up to the log end. Empty at the end. Error: `NoSuchPartition`;
    /// `NonMonotonic` below the log start; `Storage`.
    fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Bytes, TargetError>;
}

/// Topics of this cluster.
pub trait TopicCatalog: Send + Sync {
    /// Partition count of a local topic, mirror or not; `None` if there is none.
    fn partitions(&self, topic: &TopicName) -> Option<i32>;

    /// Creates topics, read-only, and stores their mirror records: all that can be created in one
    /// write. Answers for each of `new`, in that order; of two with one name the first gets it.
    /// Errors of a topic: `TopicExists`, `Invalid`, `Storage`.
    ///
    /// Errors: `Storage` if the one write failed; nothing was created.
    fn create_mirrors(&self, new: &[NewMirrorTopic]) -> Result<Vec<TopicAnswer>, CatalogError>;

    /// Grows a mirror topic to `count` partitions and stores its record. No effect on the topic if
    /// it has as many. Errors: `NoSuchTopic`, also if the topic was deleted and a different mirror
    /// has its name by now; `NotAMirror`; `Storage`.
    fn add_partitions(&self, record: &MirrorRecord, count: i32) -> Result<(), CatalogError>;

    /// Sets (`Some`) or removes (`None`) configs of a mirror topic. Configs that this broker
    /// doesn't know are left out.
    fn set_configs(
        &self,
        topic: &TopicName,
        configs: &[(String, Option<String>)],
    ) -> Result<(), CatalogError>;

    /// The default value of a topic config here; `None` for a config that this broker doesn't know.
    fn default_config(&self, name: &str) -> Option<String>;

    /// The configs set on a topic itself, mirror or not.
    fn configs(&self, topic: &TopicName) -> Result<Vec<(String, String)>, CatalogError>;

    /// The source leads these partitions in these epochs. Clients of their mirrors see at least
    /// these epochs, durably, because offsets that were committed at the source carry its epochs: a
    /// consumer that has seen a larger epoch than the metadata contains looks for another leader
    /// for ever (KIP-320, KIP-1279). Never goes back; topics that are not mirrors are skipped.
    fn raise_leader_epochs(
        &self,
        epochs: &[(TopicPartition, LeaderEpoch)],
    ) -> Result<(), CatalogError>;

    /// Makes mirrors writable: stores the reports; per partition fences the lease, raises the epoch
    /// above the source's, writes ABORT markers; lifts the producer-id barrier; then stores all the
    /// records in one write. Answers for each of `orders`, in that order. A topic that can't be cut
    /// is refused and stays a mirror; the others are cut.
    ///
    /// A topic that was deleted in the meantime, even if a new one has its name, is refused with
    /// `NoSuchTopic`, and nothing is stored for it.
    ///
    /// May be called again, after an error or a crash: completed steps are not repeated. If a report
    /// is stored for a mirror, its cut may have begun: its partitions may be fenced, its logs may hold
    /// markers, and only another call can finish the cut. Without a report the mirror is unchanged.
    ///
    /// A partition whose disk has failed prevents the cut of its topic, unless the order is forced:
    /// that partition is then cut as it is.
    ///
    /// Errors: `Storage` if the one write failed; all the topics are still mirrors.
    fn cut_mirrors(&self, orders: &[CutOrder]) -> Result<Vec<TopicCut>, CatalogError>;
}

/// The outcome for one topic that was to be created.
pub type TopicAnswer = Result<(), CatalogError>;

/// The outcome for one topic that was to be cut: its partitions, none if it was cut before.
pub type TopicCut = Result<Vec<PartitionCut>, CatalogError>;

/// Links and mirrors, as they survive a restart. A link's configs may hold secrets: they are never
/// logged.
///
/// Four kinds of record, each with a load and a save, and two removals. Nothing is ever written for
/// a mirror that was deleted.
pub trait LinkStore: Send + Sync {
    /// Every link.
    fn load_links(&self) -> Result<Vec<LinkRecord>, StoreError>;
    /// Every mirror, the cut ones included.
    fn load_mirrors(&self) -> Result<Vec<MirrorRecord>, StoreError>;
    /// The mirror of that name.
    fn load_mirror(&self, topic: &TopicName) -> Result<Option<MirrorRecord>, StoreError>;
    /// Writes a link over what was there.
    fn save_link(&self, link: &LinkRecord) -> Result<(), StoreError>;
    /// Removes a link, and the records of its mirrors, which are all cut. No effect if there is no
    /// such link.
    fn delete_link(&self, link: &LinkName) -> Result<(), StoreError>;
    /// Overwrites mirrors, all or none. Skips those whose topic was deleted in the meantime, even
    /// if a new mirror has its name ([`MirrorRecord::is_of_same`]).
    fn save_mirrors(&self, mirrors: &[MirrorRecord]) -> Result<(), StoreError>;
    /// Replaces the reports of topics that are or were mirrors, all or none. No effect on any other
    /// topic.
    fn save_reports(&self, reports: &[RpoReport]) -> Result<(), StoreError>;
    /// The report of the last cut of a topic; if that cut did not finish at first, the report of
    /// its first attempt. `save_mirrors` removes it with every status but `PENDING_STOPPED` and
    /// `STOPPED`.
    fn load_report(&self, topic: &TopicName) -> Result<Option<RpoReport>, StoreError>;
    /// Every stored report, by topic, also of topics whose link was deleted.
    fn load_reports(&self) -> Result<Vec<RpoReport>, StoreError>;
    /// The sights of mirrors' sources.
    fn load_sights(&self) -> Result<Vec<SourceSight>, StoreError>;
    /// Replaces what was last seen of the sources of these topics, all or none. Skips topics that
    /// are not mirrors, and stopped ones. The record is removed when the mirror is stopped, deleted
    /// or created again.
    fn save_sights(&self, sights: &[SourceSight]) -> Result<(), StoreError>;
}

/// The offsets of groups of this cluster, and the stored syncs of links.
pub trait GroupOffsets: Send + Sync {
    /// Sets offsets of groups from outside (not as a member): one answer per group, in their order.
    ///
    /// All offsets of a group or none, decided under the lock under which its members join and
    /// commit, and durable before the call returns. Offsets that are already here are not written.
    /// A partition whose topic is not a mirror at that moment is left out: a sync that began before
    /// a cut never overwrites what a group commits after it. Those of [`GroupCommit::after_cut`]
    /// are taken where the group still has what they name. A leader epoch above the one that
    /// clients see for the partition is stored as `NONE`: otherwise they would ask for metadata for
    /// ever.
    fn commit(&self, commits: &[GroupCommit]) -> Vec<Result<GroupCommitted, GroupRefusal>>;

    /// The stored syncs of a link. [`LinkStore::delete_link`] removes them.
    fn load_syncs(&self, link: &LinkName) -> Result<Vec<GroupSync>, StoreError>;

    /// Stores these, each replacing the stored one of that source group, and removes those of the
    /// source groups that are `gone`; all or nothing.
    fn save_syncs(
        &self,
        link: &LinkName,
        syncs: &[GroupSync],
        gone: &[String],
    ) -> Result<(), StoreError>;
}

/// The ACLs of this cluster, each with the links that brought it.
///
/// An ACL is in force as long as a client has set it or a link brings it. What clients have set is
/// never changed here.
pub trait AclStore: Send + Sync {
    /// Whether ACLs have an effect in this cluster.
    fn is_enforced(&self) -> bool;

    /// From now on the link brings these ACLs and no others: one write, durable and in force on
    /// return.
    ///
    /// Errors: `Refused` or `Storage`; nothing is changed.
    fn sync(&self, link: &LinkName, wanted: &[Acl]) -> Result<AclsSynced, AclRefusal>;

    /// The ACLs that links other than these have brought become ones of this cluster: they stay
    /// until a client removes them.
    fn adopt_all_but(&self, links: &[LinkName]) -> Result<(), StoreError>;
}

/// Makes clients for source clusters. Not the broker's business, but a seam that tests use.
pub trait SourceConnector: Send + Sync {
    /// A client for the source that `config` names; connects to nothing yet.
    fn connect(&self, link: &LinkName, config: &LinkConfig) -> Arc<dyn SourceCluster>;
}

/// Regular expressions of operators. They cost CPU, so the host decides where they run, and how long.
pub trait Patterns: Send + Sync {
    /// Those of `names` that `pattern` matches as a whole, in their order.
    ///
    /// Errors: in words for the operator, why that is not possible.
    fn matching(
        &self,
        pattern: &str,
        names: Vec<TopicName>,
    ) -> BoxFuture<'static, Result<Vec<TopicName>, String>>;
}

pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

//! The cut: mirrors become ordinary topics.
//!
//! The link has stored before that these topics are `PENDING_STOPPED`. Then, in this order:
//!
//! 1. the reports are stored: what they say can't be told any more once markers are in the logs;
//! 2. per partition, under its lock: the lease is fenced, transactions still open get ABORT markers
//!    in a leader epoch above every one of the source's, and all of it is flushed
//!    ([`crate::partition::cut`]). Mirrored producer state stays, so that a retry of a batch that
//!    was mirrored already is recognized;
//! 3. the allocator of producer ids is lifted above every mirrored id (durably), else a new producer
//!    would be taken for an old one and its writes for duplicates;
//! 4. one synced write to RocksDB for all topics of the operation: no mirrors any more, new leader
//!    epochs, mirror records `STOPPED`;
//! 5. the partitions open to clients.
//!
//! A crash before 4 leaves mirrors that are `PENDING_STOPPED`: the link calls again, 1 keeps the
//! report that is there, 2 finds no open transaction and raises the epoch once more, to the same
//! end. A crash after 4 leaves topics that are writable at the next start. A failure before 4 leaves
//! the topics closed to both sides, which another call takes up. A topic that was cut before is
//! passed over.

use std::sync::Arc;

use carrick_link::ports::{CatalogError, Clock};
use carrick_link::record::{MirrorStop, PartitionCut};
use carrick_protocol::ids::{ProducerId, TopicName};
use carrick_storage::meta::{MetaBatch, MetaError, MetaStore};

use super::catalog::refused;
use crate::partition::Cut;
use crate::producer_ids::ProducerIds;
use crate::records::mirror::MirrorKeyspace;
use crate::records::rpo_report::RpoReportKeyspace;
use crate::topic::{Catalog, Topic};

/// Makes mirrors writable.
pub struct Cutter {
    topics: Arc<Catalog>,
    meta: Arc<MetaStore>,
    producer_ids: Arc<ProducerIds>,
    clock: Arc<dyn Clock>,
}

/// What the cut of one topic made.
struct TopicCut {
    name: TopicName,
    cuts: Vec<Cut>,
}

impl Cutter {
    /// With what the cut needs.
    pub fn new(
        topics: Arc<Catalog>,
        meta: Arc<MetaStore>,
        producer_ids: Arc<ProducerIds>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Cutter {
            topics,
            meta,
            producer_ids,
            clock,
        }
    }

    /// Cuts all of `stops` in one operation. Blocks on disk.
    ///
    /// # Errors
    /// `NoSuchTopic`, `Storage`: all topics that were mirrors are mirrors still, some of them closed to
    /// the link; call again.
    pub fn stop(&self, stops: &[MirrorStop]) -> Result<Vec<PartitionCut>, CatalogError> {
        let mut topics = Vec::with_capacity(stops.len());
        for stop in stops {
            let name = &stop.record.topic;
            let topic = self.topics.topic(name);
            topics.push(topic.ok_or_else(|| CatalogError::NoSuchTopic(name.clone()))?);
        }
        self.keep_reports(stops, &topics)?;
        let mut done = Vec::with_capacity(topics.len());
        for topic in topics.iter().filter(|topic| topic.is_mirror()) {
            done.push(self.cut(topic)?);
        }
        self.lift_producer_ids(&done)?;
        self.persist(stops, &done)?;
        Ok(done.iter().flat_map(TopicCut::outcomes).collect())
    }

    /// Stores the reports of topics that are mirrors still. One that is there already is an earlier
    /// call's, which was broken off: it stands.
    fn keep_reports(
        &self,
        stops: &[MirrorStop],
        topics: &[Arc<Topic>],
    ) -> Result<(), CatalogError> {
        let mut batch = MetaBatch::new();
        for (stop, topic) in stops.iter().zip(topics) {
            let name = topic.name();
            let kept = self.meta.get::<RpoReportKeyspace>(name).map_err(storage)?;
            if topic.is_mirror() && kept.is_none() {
                batch.put::<RpoReportKeyspace>(name, &stop.report);
            }
        }
        self.meta.commit(batch).map_err(storage)
    }

    fn cut(&self, topic: &Topic) -> Result<TopicCut, CatalogError> {
        let now_ms = self.clock.now_ms();
        let mut cuts = Vec::new();
        for partition in topic.partitions().iter() {
            let cut = partition.cut(now_ms).map_err(|error| {
                CatalogError::Storage(format!("cutting {}: {error}", partition.id()))
            })?;
            for open in &cut.aborted {
                tracing::info!(
                    partition = %partition.id(),
                    producer_id = %open.producer_id,
                    first_offset = %open.first_offset,
                    "aborted a transaction that was open at the cut"
                );
            }
            cuts.push(cut);
        }
        Ok(TopicCut {
            name: topic.name().clone(),
            cuts,
        })
    }

    fn lift_producer_ids(&self, done: &[TopicCut]) -> Result<(), CatalogError> {
        let largest = done
            .iter()
            .flat_map(|topic| &topic.cuts)
            .map(|cut| cut.max_producer_id)
            .max();
        let Some(largest) = largest.filter(|id| *id != ProducerId::NONE) else {
            return Ok(());
        };
        let lifted = self.producer_ids.lift_above(largest);
        lifted.map_err(|error| CatalogError::Storage(format!("lifting producer ids: {error}")))
    }

    fn persist(&self, stops: &[MirrorStop], done: &[TopicCut]) -> Result<(), CatalogError> {
        let mut batch = MetaBatch::new();
        for stop in stops {
            batch.put::<MirrorKeyspace>(&stop.record.topic, &stop.record);
        }
        let Some(first) = done.first() else {
            return self.meta.commit(batch).map_err(storage);
        };
        let names: Vec<TopicName> = done.iter().map(|topic| topic.name.clone()).collect();
        self.topics
            .finish_cut(&names, batch)
            .map_err(|error| refused(&first.name, error))
    }
}

fn storage(error: MetaError) -> CatalogError {
    CatalogError::Storage(error.to_string())
}

impl TopicCut {
    fn outcomes(&self) -> impl Iterator<Item = PartitionCut> {
        self.cuts
            .iter()
            .zip(0..)
            .map(|(cut, partition)| PartitionCut {
                partition: carrick_protocol::ids::TopicPartition {
                    topic: self.name.clone(),
                    partition,
                },
                mirror_end: cut.mirror_end,
                aborted_transactions: u32::try_from(cut.aborted.len()).unwrap_or(u32::MAX),
                leader_epoch: cut.leader_epoch,
            })
    }
}

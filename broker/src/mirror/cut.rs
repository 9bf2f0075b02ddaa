//! The cut: mirrors become ordinary topics.
//!
//! Before that, the link has stored that these topics are `PENDING_STOPPED`. Then, in this order:
//!
//! 1. mirrored data is flushed, and the reports are stored: once markers are in the logs, the
//!    figures can no longer be determined. A topic with a faulted partition is refused only here;
//! 2. per partition, under its lock: the lease is fenced, open transactions get ABORT markers in a
//!    leader epoch above all of the source's, and everything is flushed
//!    ([`crate::partition::cut`]). Mirrored producer state stays, so that a retry of a mirrored
//!    batch is recognized;
//! 3. the allocator of producer ids is lifted above every mirrored id (durably); otherwise a new
//!    producer would be taken for an old one and its writes for duplicates;
//! 4. one synced write to RocksDB for all topics of the operation: they are no longer mirrors, they
//!    have their new leader epochs, and the mirror records are `STOPPED`;
//! 5. the partitions open to clients.
//!
//! A crash before 4 leaves mirrors that are `PENDING_STOPPED`: the link calls again, 1 keeps the
//! existing report, 2 finds no open transaction and raises the epoch once more, with the same
//! result. A stored report of a mirror therefore shows that its cut may have begun, and that the
//! link must no longer mirror into it. A crash after 4 leaves topics that are writable at the next
//! start. A failure before 4 leaves the topics closed to both sides until another call finishes the
//! cut. A topic that was cut before is skipped. If a topic is deleted in the meantime, only that
//! topic is refused, and nothing is stored for it.
//!
//! A forced cut leaves out partitions whose disk has failed: they accept no writes until the next
//! start, which opens them as local ones and ends their open transactions ([`crate::transaction`]).

use std::sync::Arc;

use carrick_link::cut::CutStep;
use carrick_link::cut::{CutOrder, PartitionCut};
use carrick_link::ports::{CatalogError, Clock, TopicCut};
use carrick_protocol::ids::{ProducerId, TopicPartition};
use carrick_storage::log::LogError;

use super::refusal::refused;
use crate::breaks;
use crate::metadata::{Metadata, MetadataError, Transaction};
use crate::parallel;
use crate::partition::{Cut, Hosted, Partition, PartitionError, Partitions};
use crate::producer_ids::ProducerIds;
use crate::records::mirror::MirrorKeyspace;
use crate::records::rpo_report::RpoReportKeyspace;
use crate::records::source_sight::SourceSightKeyspace;
use crate::topic::{Topic, TopicError, Topics};

/// Threads that flush mirrored data. Flushing thousands of partitions one after the other would take
/// seconds, and the disk handles many at a time.
const FLUSH_THREADS: usize = 16;

/// Makes mirrors writable.
pub struct Cutter {
    topics: Arc<Topics>,
    hosted: Arc<Hosted>,
    metadata: Metadata,
    producer_ids: Arc<ProducerIds>,
    clock: Arc<dyn Clock>,
}

/// The cuts of one topic: none if it was cut before.
struct Cuts {
    topic: Arc<Topic>,
    partitions: Vec<Cut>,
}

impl Cutter {
    /// With what the cut needs.
    pub fn new(
        topics: Arc<Topics>,
        hosted: Arc<Hosted>,
        metadata: Metadata,
        producer_ids: Arc<ProducerIds>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Cutter {
            topics,
            hosted,
            metadata,
            producer_ids,
            clock,
        }
    }

    /// Cuts all of `orders` in one operation, and answers for each. A topic that can't be cut is
    /// refused; the others are cut. Blocks on disk.
    ///
    /// # Errors
    /// `Storage`: every topic is still a mirror, but some may be closed to the link. Call again.
    pub fn cut_all(&self, orders: &[CutOrder]) -> Result<Vec<TopicCut>, CatalogError> {
        let checked = parallel::each(FLUSH_THREADS, orders, |order| self.checked(order));
        CutStep::MirrorFlushed.reached();
        self.keep_reports(orders, &checked)?;
        let mut cut: Vec<Result<Cuts, CatalogError>> = checked
            .into_iter()
            .zip(orders)
            .map(|(topic, order)| self.cut_or_gone(topic?, order.is_forced))
            .collect();
        CutStep::PartitionsCut.reached();
        let done: Vec<&Cuts> = cut.iter().flatten().collect();
        self.lift_producer_ids(&done)?;
        self.persist(orders, &mut cut)?;
        Ok(cut.into_iter().map(|cuts| Ok(cuts?.outcomes())).collect())
    }

    /// The topic, if nothing is known that keeps it from being cut.
    fn checked(&self, order: &CutOrder) -> Result<Arc<Topic>, CatalogError> {
        let name = &order.record.topic;
        let gone = || CatalogError::NoSuchTopic(name.clone());
        let topic = self.topics.topic(name).ok_or_else(gone)?;
        // Read after the topic: the record of this mirror is no older than the topic.
        let stored = self.metadata.get::<MirrorKeyspace>(name).map_err(storage)?;
        if !stored.is_some_and(|stored| stored.is_of_same(&order.record)) {
            return Err(gone());
        }
        if topic.is_mirror() {
            for partition in self.hosted.of(topic.id()).iter() {
                match partition.check_cut() {
                    Err(error) if !(order.is_forced && is_fault(&error)) => {
                        return Err(not_cut(partition, &error));
                    }
                    _ => {}
                }
            }
        }
        Ok(topic)
    }

    /// Stores the reports of topics that are still mirrors. A report that is already there belongs to
    /// an earlier call that did not finish: it is kept.
    fn keep_reports(
        &self,
        orders: &[CutOrder],
        topics: &[Result<Arc<Topic>, CatalogError>],
    ) -> Result<(), CatalogError> {
        let still = self.topics.hold_still();
        let kept = self.metadata.decide(|change| {
            for (order, topic) in orders.iter().zip(topics) {
                let Some(topic) = topic.as_ref().ok().filter(|it| self.topics.is_there(it)) else {
                    continue;
                };
                let name = topic.name();
                let kept = change.read::<RpoReportKeyspace>(&self.metadata, name)?;
                if topic.is_mirror() && kept.is_none() {
                    change.put::<RpoReportKeyspace>(name, &order.report);
                }
            }
            Ok(())
        });
        kept.map_err(storage)?;
        drop(still);
        breaks::here(CutStep::ReportStored)
            .map_err(|error| CatalogError::Storage(error.to_string()))
    }

    /// A topic that was deleted meanwhile has no partitions, or closed ones: that is no failure.
    fn cut_or_gone(&self, topic: Arc<Topic>, is_forced: bool) -> Result<Cuts, CatalogError> {
        let cuts = self.cut(&topic, is_forced);
        match cuts {
            Err(_) if !self.topics.is_there(&topic) => Err(no_such(&topic)),
            cuts => cuts,
        }
    }

    fn cut(&self, topic: &Arc<Topic>, is_forced: bool) -> Result<Cuts, CatalogError> {
        let mut cuts = Cuts {
            topic: Arc::clone(topic),
            partitions: Vec::new(),
        };
        if !topic.is_mirror() {
            return Ok(cuts);
        }
        let now_ms = self.clock.now_ms();
        for partition in self.partitions(topic)?.iter() {
            let cut = match partition.cut(now_ms) {
                Err(error) if is_forced && is_fault(&error) => partition.let_go(),
                cut => cut.map_err(|error| not_cut(partition, &error))?,
            };
            for open in &cut.aborted {
                tracing::info!(
                    partition = %partition.id(),
                    producer_id = %open.producer_id,
                    first_offset = %open.first_offset,
                    "aborted a transaction that was open at the cut"
                );
            }
            cuts.partitions.push(cut);
        }
        Ok(cuts)
    }

    /// The partitions of this very topic. One that has replaced it since may have the same id, that
    /// of the source's topic.
    fn partitions(&self, topic: &Arc<Topic>) -> Result<Partitions, CatalogError> {
        let _still = self.topics.hold_still();
        match self.topics.is_there(topic) {
            true => Ok(self.hosted.of(topic.id())),
            false => Err(no_such(topic)),
        }
    }

    fn lift_producer_ids(&self, done: &[&Cuts]) -> Result<(), CatalogError> {
        let partitions = done.iter().flat_map(|cuts| &cuts.partitions);
        let largest = partitions.map(|cut| cut.max_producer_id).max();
        let Some(largest) = largest.filter(|id| *id != ProducerId::NONE) else {
            return Ok(());
        };
        let lifted = self.producer_ids.lift_above(largest);
        lifted.map_err(|error| CatalogError::Storage(format!("lifting producer ids: {error}")))?;
        breaks::here(CutStep::ProducerIdsLifted)
            .map_err(|error| CatalogError::Storage(error.to_string()))
    }

    /// The topics that were cut, each with what is stored of its mirror from now on.
    fn ends(
        &self,
        orders: &[CutOrder],
        cut: &[Result<Cuts, CatalogError>],
    ) -> Result<Vec<(Arc<Topic>, Transaction)>, CatalogError> {
        let mut done = Vec::new();
        for (order, cuts) in orders.iter().zip(cut) {
            let Ok(cuts) = cuts else { continue };
            let (name, mut change) = (&order.record.topic, Transaction::new());
            let stored = change.read::<MirrorKeyspace>(&self.metadata, name);
            stored.map_err(storage)?;
            change.put::<MirrorKeyspace>(name, &order.record);
            change.delete::<SourceSightKeyspace>(name);
            done.push((Arc::clone(&cuts.topic), change));
        }
        Ok(done)
    }

    /// Stores that the topics are no longer mirrors. A topic that was deleted meanwhile is refused.
    fn persist(
        &self,
        orders: &[CutOrder],
        cut: &mut [Result<Cuts, CatalogError>],
    ) -> Result<(), CatalogError> {
        let are_there = loop {
            let done = self.ends(orders, cut)?;
            let Some((first, _)) = done.first() else {
                return Ok(());
            };
            let first = first.name().clone();
            match self.topics.finish_cut(done) {
                // The link has stored something of a mirror meanwhile: it is replaced, knowingly.
                Err(TopicError::Meta(MetadataError::Conflict(_))) => {}
                finished => break finished.map_err(|error| refused(&first, error))?,
            }
        };
        let done = cut.iter_mut().filter(|cuts| cuts.is_ok());
        for (cuts, is_there) in done.zip(are_there) {
            if let (Ok(gone), false) = (&*cuts, is_there) {
                *cuts = Err(no_such(&gone.topic));
            }
        }
        Ok(())
    }
}

fn no_such(topic: &Topic) -> CatalogError {
    CatalogError::NoSuchTopic(topic.name().clone())
}

fn not_cut(partition: &Partition, error: &PartitionError) -> CatalogError {
    let way_out = if is_fault(error) {
        "; repair or replace the disk, then restart the broker, which continues the cut"
    } else {
        ""
    };
    CatalogError::Storage(format!("cutting {}: {error}{way_out}", partition.id()))
}

/// Only a restart leads on, or letting go.
fn is_fault(error: &PartitionError) -> bool {
    matches!(
        error,
        PartitionError::Faulted | PartitionError::Log(LogError::Faulted(_))
    )
}

fn storage(error: MetadataError) -> CatalogError {
    CatalogError::Storage(error.to_string())
}

impl Cuts {
    fn outcomes(&self) -> Vec<PartitionCut> {
        let partitions = (0..).zip(&self.partitions);
        let outcome = |(partition, cut): (i32, &Cut)| PartitionCut {
            partition: TopicPartition::new(self.topic.name().clone(), partition),
            mirror_end: cut.mirror_end,
            aborted_transactions: u32::try_from(cut.aborted.len()).unwrap_or(u32::MAX),
            leader_epoch: cut.leader_epoch,
        };
        partitions.map(outcome).collect()
    }
}

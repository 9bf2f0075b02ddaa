//! Groups of mirrors that were cut.
//!
//! A group may continue to read at the source after the cut, up to it and beyond. Below the cut, offsets
//! are the same on both sides, so an offset that it commits there is valid here, clamped to the cut. It is
//! used only while the group still has here the offset of the last sync; once the group commits here
//! itself, its offsets are its own.

use carrick_protocol::ids::{Offset, TopicName, TopicPartition};

use crate::lookup;
use crate::lookup::verdict::Verdict;
use crate::ports::Ports;
use crate::record::MirrorRecord;
use crate::shared::LinkShared;
use crate::state::MirrorStatus;

/// A mirror that was cut.
#[derive(Debug, Clone)]
pub(super) struct CutMirror {
    pub(super) topic: TopicName,
    pub(super) source_topic: TopicName,
    /// Log start, and end at the cut, of each partition.
    pub(super) ends: Vec<(Offset, Offset)>,
}

/// The mirrors of the link that were cut, or those of `only`, whose topic at the source is still the
/// one that was mirrored. None if the source doesn't say.
pub(super) async fn already_cut(link: &LinkShared, only: Option<&[TopicName]>) -> Vec<CutMirror> {
    let stopped: Vec<TopicName> = {
        let inner = link.inner();
        let stopped = inner.mirrors.values().map(|mirror| &mirror.record);
        let stopped = stopped.filter(|record| record.status == MirrorStatus::Stopped);
        let topics = stopped.map(|record| record.topic.clone());
        topics
            .filter(|topic| only.is_none_or(|only| only.contains(topic)))
            .collect()
    };
    let answers = lookup::judged(link, &stopped).await.unwrap_or_default();
    let same = answers.into_values().filter_map(|answer| {
        let is_same = matches!(answer.verdict, Verdict::Same | Verdict::Grown(_));
        is_same.then_some(answer.record)
    });
    let records: Vec<MirrorRecord> = same.collect();
    let read = link.blocking(move |ports| {
        let cuts = records
            .iter()
            .filter_map(|record| cut_mirror(ports, record));
        cuts.collect()
    });
    read.await.unwrap_or_default()
}

/// The ends in its report; `None` without a report.
fn cut_mirror(ports: &Ports, record: &MirrorRecord) -> Option<CutMirror> {
    let report = ports.store.load_report(&record.topic).ok()??;
    let ends = report.partitions.iter().map(|part| {
        let partition = TopicPartition::new(record.topic.clone(), part.partition);
        let local = ports.local.ends(&partition).unwrap_or_default();
        (
            local.log_start,
            Offset(part.mirror_end).max(local.log_start),
        )
    });
    Some(CutMirror {
        topic: record.topic.clone(),
        source_topic: record.source_topic.clone(),
        ends: ends.collect(),
    })
}

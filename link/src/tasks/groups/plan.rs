//! What a group's offsets become here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicName, TopicPartition};

use super::after_cut::CutMirror;
use crate::groups::ledger::{NOT_TOLD, Planned};
use crate::groups::{AfterCut, GroupCommit, GroupOffset, GroupSync, PartitionSync, clamped};
use crate::shared::Inner;
use crate::source::GroupCommits;

/// The mirrors whose offsets are synced.
pub(super) struct Scope {
    by_source_topic: HashMap<TopicName, Mirrored>,
    topics: Arc<HashSet<TopicName>>,
}

/// One mirror as it is now, or was cut.
struct Mirrored {
    topic: TopicName,
    /// Log start and end of each partition.
    ends: Vec<(Offset, Offset)>,
    is_cut: bool,
}

impl Scope {
    /// Every mirror that runs, or those of `only` that do; and those that were cut. A topic of the
    /// source that was cut and is mirrored again under another name is the latter's.
    pub(super) fn of(inner: &Inner, only: Option<&[TopicName]>, cuts: &[CutMirror]) -> Self {
        let is_meant =
            |topic: &TopicName| only.is_none_or(|topics| topics.iter().any(|it| it == topic));
        let mirrors = inner.mirrors.values();
        let wanted = mirrors.filter(|mirror| mirror.is_wanted() && is_meant(&mirror.record.topic));
        let by_source_topic = wanted.map(|mirror| {
            let ends = mirror.statuses.iter();
            let ends = ends.map(|cell| cell.with(|it| (it.mirror_start, it.mirror_end)));
            let mirrored = Mirrored {
                topic: mirror.record.topic.clone(),
                ends: ends.collect(),
                is_cut: false,
            };
            (mirror.record.source_topic.clone(), mirrored)
        });
        let cuts = cuts.iter().map(|cut| {
            let mirrored = Mirrored {
                topic: cut.topic.clone(),
                ends: cut.ends.clone(),
                is_cut: true,
            };
            (cut.source_topic.clone(), mirrored)
        });
        let by_source_topic: HashMap<_, _> = cuts.chain(by_source_topic).collect();
        let topics = by_source_topic
            .values()
            .map(|it: &Mirrored| it.topic.clone());
        let topics = Arc::new(topics.collect());
        Self {
            by_source_topic,
            topics,
        }
    }

    /// The offsets that the group `here` gets from the source's group. `known` is what it got before.
    ///
    /// The epoch of the last record read is kept if that record is here: a clamped offset has none.
    pub(super) fn plan(
        &self,
        answer: GroupCommits,
        here: GroupId,
        known: Option<&GroupSync>,
    ) -> Planned {
        let (mut offsets, mut after_cut) = (Vec::new(), Vec::new());
        let mut partitions = Vec::new();
        for (partition, error) in answer.untold {
            if let Some(mirror) = self.by_source_topic.get(&partition.topic) {
                let why = format!("the source answered {error}");
                partitions.push(mirror.skipped(partition.partition, NOT_TOLD, why));
            }
        }
        for commit in answer.commits {
            let Some(mirror) = self.by_source_topic.get(&commit.partition.topic) else {
                continue;
            };
            let (index, source_offset) = (commit.partition.partition, commit.offset);
            if source_offset < Offset(0) {
                let why = "the group has committed an offset that no consumer can read from";
                partitions.push(mirror.skipped(index, source_offset, why));
                continue;
            }
            let ends = usize::try_from(index)
                .ok()
                .and_then(|at| mirror.ends.get(at));
            let Some((start, end)) = ends else {
                let why = "the source has added this partition, and it is not mirrored yet";
                partitions.push(mirror.skipped(index, source_offset, why));
                continue;
            };
            let offset = clamped(commit.offset, *start, *end);
            let is_kept = offset == commit.offset;
            let partition = commit.partition.partition;
            partitions.push(PartitionSync {
                topic: mirror.topic.to_string(),
                partition,
                source_offset: commit.offset.0,
                synced_offset: Some(offset.0),
                skipped: None,
            });
            let offset = GroupOffset {
                partition: TopicPartition::new(mirror.topic.clone(), partition),
                offset,
                leader_epoch: match is_kept {
                    true => commit.leader_epoch,
                    false => LeaderEpoch::NONE,
                },
                metadata: commit.metadata,
            };
            match mirror.is_cut {
                false => offsets.push(offset),
                true => after_cut.push(AfterCut {
                    instead_of: synced(known, &mirror.topic, partition),
                    offset,
                }),
            }
        }
        Planned {
            source_group: answer.group,
            commit: GroupCommit {
                group: here,
                offsets,
                after_cut,
            },
            topics: Arc::clone(&self.topics),
            partitions,
        }
    }
}

impl Mirrored {
    /// The row of a partition that is left out.
    fn skipped(&self, partition: i32, offset: Offset, why: impl Into<String>) -> PartitionSync {
        PartitionSync {
            topic: self.topic.to_string(),
            partition,
            source_offset: offset.0,
            synced_offset: None,
            skipped: Some(why.into()),
        }
    }
}

/// What a sync has committed here before.
fn synced(known: Option<&GroupSync>, topic: &TopicName, partition: i32) -> Option<Offset> {
    let mut partitions = known?.partitions.iter();
    let part = partitions.find(|part| *part.topic == **topic && part.partition == partition)?;
    part.synced_offset.map(Offset)
}

//! Offsets of a group: committed by members, by transactions, by a link from another cluster, and
//! forgotten.

use std::collections::BTreeSet;

use carrick_protocol::ids::{GroupId, Offset, ProducerId, TopicId, TopicName};

use super::{GroupContent, LockedGroup, Stored};
use crate::coordination::{Answer, Awaited, answer};
use crate::group::commit::{CommitRequest, NewOffset, SyncedCommit, TakenCommit, unfenced};
use crate::group::error::GroupError;
use crate::group::offsets::{CommittedOffset, FetchedOffset};
use crate::group::services::Services;
use crate::journal::Entry;
use crate::records::group_offset::{GroupOffsetKey, GroupOffsets};
use crate::records::pending_offset::{PendingOffsetKey, PendingOffsets};
use crate::topic::Topic;

/// Offsets by topic and partition.
type NamedOffsets = Vec<(TopicName, i32, CommittedOffset)>;

/// What a group has committed, read under its lock.
pub struct Present<'a> {
    group: &'a GroupContent,
    is_settled: bool,
}

impl Present<'_> {
    /// Whether that is what the group has of a partition, and nothing is on its way that may change
    /// it.
    pub fn is(&self, topic: &Topic, partition: i32, offset: Option<Offset>) -> bool {
        let known = self.group.offsets.get(topic.name(), partition);
        let known = known.filter(|known| known.is_of(topic.id()));
        self.is_settled && known.map(|known| known.offset) == offset
    }
}

/// How far a group is with forgetting a topic.
pub(in crate::group) enum Forgetting {
    /// It has no offset of it.
    Done,
    /// The removal is on its way.
    UnderWay(Awaited<Stored>),
    /// Other changes are on their way, maybe offsets of a topic that was made under that name since:
    /// to be tried again after them.
    Behind(Awaited<Stored>),
}

impl GroupContent {
    pub fn fetch(&self, topic: &str, partition: i32, require_stable: bool) -> FetchedOffset {
        if require_stable && self.pending.contains(topic, partition) {
            return FetchedOffset::Unstable;
        }
        let committed = self.offsets.get(topic, partition).cloned();
        committed.map_or(FetchedOffset::Nothing, FetchedOffset::Committed)
    }

    fn keep(&mut self, offsets: NamedOffsets) {
        for (topic, partition, offset) in offsets {
            self.offsets.put(topic, partition, offset);
        }
    }

    /// Whether the group has that offset already, committed after `oldest_ms`.
    fn has(&self, new: &NewOffset, oldest_ms: i64) -> bool {
        let known = self.offsets.get(new.topic.as_str(), new.partition);
        known.is_some_and(|known| {
            known.offset == new.offset
                && known.leader_epoch == new.leader_epoch
                && known.metadata == new.metadata
                && known.topic_id == new.topic_id
                && known.expire_ms.is_none()
                && known.commit_ms > oldest_ms
        })
    }
}

impl LockedGroup<'_> {
    /// Commits offsets of the group's own.
    ///
    /// # Errors
    /// As a whole: `UnknownMember`, `IllegalGeneration`, `NotStored`, …
    pub fn commit(&mut self, request: CommitRequest) -> Result<TakenCommit, GroupError> {
        let now = self.services().clock.now();
        self.kind.fence_commit(&request.fence, now)?;
        self.kind.fence_partitions(&request)?;
        self.queue_wakeup();
        let Accepted { results, offsets } = self.accept_own(request);
        let stored = self.store(offsets)?;
        Ok(TakenCommit { results, stored })
    }

    /// Takes offsets from another cluster, all or none, if the group is not in use here. `offsets`
    /// is called under the lock.
    ///
    /// # Errors
    /// `NonEmptyGroup` while it is in use; `MetadataTooLarge`, `CommitTooLarge`, `NotStored`.
    pub fn commit_synced(
        &mut self,
        offsets: impl FnOnce(&Present<'_>) -> Vec<NewOffset>,
    ) -> Result<SyncedCommit, GroupError> {
        if !self.kind.is_empty() || self.kind.has_pending_members() || !self.pending.is_empty() {
            return Err(GroupError::NonEmptyGroup);
        }
        let mut offsets = offsets(&Present {
            group: self,
            is_settled: self.changes_in_flight() == 0,
        });
        let services = self.services();
        let now_ms = services.clock.now().wall_ms;
        // Offsets that would soon expire are committed again: no client does that while the group
        // reads at the other cluster.
        let oldest_ms = now_ms.saturating_sub(services.config.offsets_retention_ms / 2);
        offsets.retain(|new| !self.has(new, oldest_ms));
        let written = offsets.len();
        let accepted = self.accept_own(unfenced(offsets));
        if let Some(error) = accepted.results.iter().find_map(|result| result.err()) {
            return Err(error);
        }
        let stored = self.store(accepted.offsets)?;
        Ok(SyncedCommit { written, stored })
    }

    fn accept_own(&self, request: CommitRequest) -> Accepted {
        let growth = |topic: &str, at, offset: &_| self.offsets.growth_bytes(topic, at, offset);
        accept(self.services(), request, growth)
    }

    /// Hands offsets of the group's own to the store, if there are any.
    fn store(&mut self, offsets: NamedOffsets) -> Result<Option<Awaited<Stored>>, GroupError> {
        let mut batch = Entry::new();
        for (topic, partition, offset) in &offsets {
            batch.put::<GroupOffsets>(&own_key(self.id(), topic, *partition), offset);
        }
        match offsets.is_empty() {
            true => Ok(None),
            false => self
                .submit_then(batch, move |group| group.keep(offsets))
                .map(Some),
        }
    }

    /// Takes offsets into the producer's transaction, stored in one write with `extra`. If that
    /// write fails, `failed` runs before the answer, under no lock.
    ///
    /// # Errors
    /// As a whole: `UnknownMember`, `IllegalGeneration`, `NotStored`, …
    pub fn commit_pending(
        &mut self,
        producer_id: ProducerId,
        request: CommitRequest,
        extra: Entry,
        failed: impl FnOnce() + Send + 'static,
    ) -> Result<TakenCommit, GroupError> {
        self.kind.fence_transactional_commit(&request.fence)?;
        self.kind.fence_partitions(&request)?;
        let pending = &self.pending;
        let growth =
            |topic: &str, at, offset: &_| pending.growth_bytes(producer_id, topic, at, offset);
        let Accepted { results, offsets } = accept(self.services(), request, growth);
        if offsets.is_empty() {
            let stored = None;
            return Ok(TakenCommit { results, stored });
        }
        let mut batch = extra;
        for (topic, partition, offset) in &offsets {
            let key = pending_key(self.id(), producer_id, topic, *partition);
            batch.put::<PendingOffsets>(&key, offset);
        }
        let room = self.room()?;
        let (answer, stored) = answer();
        self.submit(room, batch, move |group, result| {
            match result {
                Ok(()) => {
                    for (topic, partition, offset) in offsets {
                        group.pending.put(producer_id, topic, partition, offset);
                    }
                }
                Err(_) => group.afterwards(failed),
            }
            group.give(answer, result.map_err(GroupError::from));
        });
        let stored = Some(stored);
        Ok(TakenCommit { results, stored })
    }

    /// Hands a change to the journal; `keep` puts it into force once it is durable.
    fn submit_then(
        &mut self,
        batch: Entry,
        keep: impl FnOnce(&mut GroupContent) + Send + 'static,
    ) -> Result<Awaited<Stored>, GroupError> {
        let room = self.room()?;
        let (answer, stored) = answer();
        self.submit(room, batch, move |group, result| {
            if result.is_ok() {
                keep(group);
            }
            group.give(answer, result.map_err(GroupError::from));
        });
        Ok(stored)
    }

    /// Begins to forget what the group has committed of the topic with that id.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn forget_topic(
        &mut self,
        topic: &TopicName,
        topic_id: TopicId,
    ) -> Result<Forgetting, GroupError> {
        let (answer, stored) = answer();
        if self.changes_in_flight() > 0 {
            self.forget(Vec::new(), Some(answer))?;
            return Ok(Forgetting::Behind(stored));
        }
        let of_topic = self
            .offsets
            .topic(topic)
            .chain(self.pending.topic(topic))
            .filter(|(_, offset)| offset.is_of(topic_id));
        let partitions: BTreeSet<i32> = of_topic.map(|(partition, _)| partition).collect();
        if partitions.is_empty() {
            return Ok(Forgetting::Done);
        }
        let with_topic = |partition| (topic.clone(), partition);
        self.forget(
            partitions.into_iter().map(with_topic).collect(),
            Some(answer),
        )?;
        Ok(Forgetting::UnderWay(stored))
    }

    /// Hands the removal of offsets to the journal.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn forget(
        &mut self,
        forgotten: Vec<(TopicName, i32)>,
        answer: Option<Answer<Stored>>,
    ) -> Stored {
        let (room, id) = (self.room()?, self.id());
        let mut batch = Entry::new();
        // What this entry deletes is removed from memory, and nothing else: a pending offset that is being stored
        // now is not in it.
        let mut pending = Vec::new();
        for (topic, partition) in &forgotten {
            batch.delete::<GroupOffsets>(&own_key(id, topic, *partition));
            for producer_id in self.pending.producers(topic.as_str(), *partition) {
                let key = pending_key(id, producer_id, topic, *partition);
                batch.delete::<PendingOffsets>(&key);
                pending.push((producer_id, topic.clone(), *partition));
            }
        }
        self.submit(room, batch, move |group, result| {
            if result.is_ok() {
                for (topic, partition) in &forgotten {
                    group.offsets.remove(topic, *partition);
                }
                for (producer_id, topic, partition) in &pending {
                    group.pending.remove(*producer_id, topic, *partition);
                }
            }
            if let Some(answer) = answer {
                group.give(answer, result.map_err(GroupError::from));
            }
        });
        Ok(())
    }

    /// Puts the end of the group's part in the producer's transaction into the batch; the offsets that
    /// become the group's own by it. A commit of the group's own that is newer stays.
    pub fn plan_end(
        &self,
        producer_id: ProducerId,
        is_committed: bool,
        batch: &mut Entry,
    ) -> NamedOffsets {
        let mut moved = Vec::new();
        let Some(pending) = self.pending.of(producer_id) else {
            return moved;
        };
        for (topic, partition, offset) in pending.iter() {
            let key = pending_key(self.id(), producer_id, topic, partition);
            batch.delete::<PendingOffsets>(&key);
            let own = self.offsets.get(topic.as_str(), partition);
            let is_newer = own.is_some_and(|own| own.commit_ms > offset.commit_ms);
            if is_committed && !is_newer {
                let key = own_key(self.id(), topic, partition);
                batch.put::<GroupOffsets>(&key, offset);
                moved.push((topic.clone(), partition, offset.clone()));
            }
        }
        moved
    }

    /// What [`Self::plan_end`] has planned is durable.
    pub fn end(&mut self, producer_id: ProducerId, moved: NamedOffsets) {
        self.pending.remove_producer(producer_id);
        self.keep(moved);
    }
}

/// Offsets that a group takes of a request.
struct Accepted {
    /// One for each offset of the request, in order.
    results: Vec<Result<(), GroupError>>,
    /// Those without an error.
    offsets: NamedOffsets,
}

/// Takes what is not too long or too much. `growth_bytes` says by how much an offset lets the group
/// grow where it is going to stay.
fn accept(
    services: &Services,
    request: CommitRequest,
    growth_bytes: impl Fn(&str, i32, &CommittedOffset) -> usize,
) -> Accepted {
    let now_ms = services.clock.now().wall_ms;
    let expire_ms = request
        .retention_ms
        .map(|retention_ms| now_ms.saturating_add(retention_ms));
    let mut accepted = Accepted {
        results: Vec::with_capacity(request.offsets.len()),
        offsets: Vec::with_capacity(request.offsets.len()),
    };
    let mut taken_bytes = 0;
    for new in request.offsets {
        if is_too_long(&new.metadata, services.config.offset_metadata_max_bytes) {
            accepted.results.push(Err(GroupError::MetadataTooLarge));
            continue;
        }
        let offset = CommittedOffset {
            offset: new.offset,
            leader_epoch: new.leader_epoch,
            metadata: new.metadata,
            commit_ms: now_ms,
            expire_ms,
            topic_id: new.topic_id,
        };
        let more_bytes = growth_bytes(new.topic.as_str(), new.partition, &offset);
        if more_bytes > 0 && !services.budget.has_room(taken_bytes + more_bytes) {
            accepted.results.push(Err(GroupError::CommitTooLarge));
            continue;
        }
        taken_bytes += more_bytes;
        accepted.offsets.push((new.topic, new.partition, offset));
        accepted.results.push(Ok(()));
    }
    accepted
}

/// Kafka counts the length of a Java string: UTF-16 units.
fn is_too_long(metadata: &str, max: i32) -> bool {
    let max = usize::try_from(max).unwrap_or(0);
    metadata.len() > max && metadata.encode_utf16().count() > max
}

fn own_key(group: &GroupId, topic: &TopicName, partition: i32) -> GroupOffsetKey {
    GroupOffsetKey {
        group: group.clone(),
        topic: topic.clone(),
        partition,
    }
}

fn pending_key(
    group: &GroupId,
    producer_id: ProducerId,
    topic: &TopicName,
    partition: i32,
) -> PendingOffsetKey {
    PendingOffsetKey {
        group: group.clone(),
        producer_id,
        topic: topic.clone(),
        partition,
    }
}

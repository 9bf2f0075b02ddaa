//! Groups after a restart: members go on under their ids, in their generation or epoch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use carrick_link::naming::some_of;
use carrick_protocol::ids::{GroupId, TopicId, TopicName};

use super::cell::Cell;
use super::classic::ClassicGroup;
use super::consumer::{ConsumerGroup, Stored};
use super::coordinator::Inner;
use super::limits::LOAD_PATTERNS_TIME;
use crate::heavy::TimeBudget;
use crate::journal::{Entry, JournalError, Table};
use crate::records::consumer_group::ConsumerGroups;
use crate::records::consumer_member::ConsumerMembers;
use crate::records::consumer_target::ConsumerTargets;
use crate::records::group::Groups;
use crate::records::group_offset::GroupOffsets;
use crate::records::pending_offset::PendingOffsets;

/// Reads all groups. Offsets of topics that are gone (the broker died while it deleted them) are
/// removed.
pub(super) fn load(inner: &Inner) -> Result<BTreeMap<GroupId, Arc<Cell>>, JournalError> {
    let now = inner.clock.now();
    let (mut classic, mut epochs) = (
        Table::<Groups>::default(),
        Table::<ConsumerGroups>::default(),
    );
    let (mut members, mut targets) = (
        Table::<ConsumerMembers>::default(),
        Table::<ConsumerTargets>::default(),
    );
    let mut offsets = StoredOffsets::default();
    inner.journal.replay(&mut [
        &mut classic,
        &mut epochs,
        &mut members,
        &mut targets,
        &mut offsets.own,
        &mut offsets.pending,
    ])?;
    let mut groups = BTreeMap::new();
    for (id, record) in classic.into_records()? {
        let classic = ClassicGroup::restore(inner.config.clone(), record, now);
        groups.insert(id.clone(), Cell::new(id, classic));
    }
    let budget = TimeBudget::of(LOAD_PATTERNS_TIME);
    for (id, stored) in consumer_groups(epochs, members, targets)? {
        let world = inner.world(&id);
        let (env, topics) = (world.env(), world.topics());
        let resolve = |texts: &[Arc<str>]| inner.patterns.resolve(texts, &topics, budget);
        let group = ConsumerGroup::restore(inner.config.clone(), stored, &env, resolve);
        groups.insert(id.clone(), Cell::new(id, group));
    }
    load_offsets(inner, offsets, &mut groups)?;
    for cell in groups.values() {
        let mut state = cell.state.lock();
        state.settle(inner, cell);
        state.queue_wakeup(inner, cell);
    }
    tracing::info!(groups = groups.len(), "groups loaded");
    Ok(groups)
}

/// The records of each consumer group.
fn consumer_groups(
    epochs: Table<ConsumerGroups>,
    members: Table<ConsumerMembers>,
    targets: Table<ConsumerTargets>,
) -> Result<BTreeMap<GroupId, Stored>, JournalError> {
    let mut groups: BTreeMap<GroupId, Stored> = BTreeMap::new();
    for (id, epochs) in epochs.into_records()? {
        groups.entry(id).or_default().epochs = epochs;
    }
    for (key, member) in members.into_records()? {
        let group = groups.entry(key.group).or_default();
        group.members.push((key.member, member));
    }
    for (key, target) in targets.into_records()? {
        let group = groups.entry(key.group).or_default();
        group.targets.push((key.member, target));
    }
    Ok(groups)
}

/// All offsets, the groups' own and those of open transactions.
#[derive(Default)]
struct StoredOffsets {
    own: Table<GroupOffsets>,
    pending: Table<PendingOffsets>,
}

fn load_offsets(
    inner: &Inner,
    stored: StoredOffsets,
    groups: &mut BTreeMap<GroupId, Arc<Cell>>,
) -> Result<(), JournalError> {
    let mut topic_ids: HashMap<TopicName, Option<TopicId>> = HashMap::new();
    let mut gone = Entry::new();
    let mut gone_topics = BTreeSet::new();
    for (key, offset) in stored.own.into_records()? {
        let topic_id = *topic_ids
            .entry(key.topic.clone())
            .or_insert_with(|| inner.topics.topic_id(key.topic.as_str()));
        if !topic_id.is_some_and(|topic_id| offset.is_of(topic_id)) {
            gone.delete::<GroupOffsets>(&key);
            gone_topics.insert(key.topic);
            continue;
        }
        let cell = groups
            .entry(key.group.clone())
            .or_insert_with(|| offsets_alone(inner, &key.group));
        cell.state
            .lock()
            .offsets
            .put(key.topic, key.partition, offset);
    }
    for (key, offset) in stored.pending.into_records()? {
        let topic_id = *topic_ids
            .entry(key.topic.clone())
            .or_insert_with(|| inner.topics.topic_id(key.topic.as_str()));
        if !topic_id.is_some_and(|topic_id| offset.is_of(topic_id)) {
            gone.delete::<PendingOffsets>(&key);
            gone_topics.insert(key.topic);
            continue;
        }
        let cell = groups
            .entry(key.group.clone())
            .or_insert_with(|| offsets_alone(inner, &key.group));
        let mut state = cell.state.lock();
        let (producer_id, partition) = (key.producer_id, key.partition);
        state.pending.put(producer_id, key.topic, partition, offset);
    }
    if gone.is_empty() {
        return Ok(());
    }
    tracing::info!(
        offsets = gone.len(),
        topics = some_of(&gone_topics),
        "removed offsets of topics that no longer exist"
    );
    Ok(inner.journal.append_now(gone)?)
}

/// A group without members.
fn offsets_alone(inner: &Inner, id: &GroupId) -> Arc<Cell> {
    let classic = ClassicGroup::new(inner.config.clone(), inner.clock.now());
    Cell::new(id.clone(), classic)
}

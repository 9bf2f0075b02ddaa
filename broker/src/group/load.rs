//! Groups after a restart: members continue under their ids, in their generation or epoch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use carrick_link::naming::some_of;
use carrick_protocol::ids::{GroupId, TopicId, TopicName};

use super::classic::ClassicGroup;
use super::consumer::{ConsumerGroup, Stored};
use super::content::GroupContent;
use super::limits::LOAD_PATTERNS_TIME;
use super::offsets::CommittedOffset;
use super::services::Services;
use crate::heavy::TimeBudget;
use crate::journal::{Entry, JournalError, Table};
use crate::records::consumer_group::ConsumerGroups;
use crate::records::consumer_member::ConsumerMembers;
use crate::records::consumer_target::ConsumerTargets;
use crate::records::group::Groups as GroupRecords;
use crate::records::group_offset::GroupOffsets;
use crate::records::pending_offset::PendingOffsets;

/// What is stored of groups.
#[derive(Default)]
struct Tables {
    classic: Table<GroupRecords>,
    epochs: Table<ConsumerGroups>,
    members: Table<ConsumerMembers>,
    targets: Table<ConsumerTargets>,
    offsets: Table<GroupOffsets>,
    pending: Table<PendingOffsets>,
}

/// Reads all groups. Offsets of deleted topics (the broker died while it deleted them) are removed.
pub(super) fn load(services: &Services) -> Result<BTreeMap<GroupId, GroupContent>, JournalError> {
    let mut tables = Tables::default();
    services.journal.replay(&mut [
        &mut tables.classic,
        &mut tables.epochs,
        &mut tables.members,
        &mut tables.targets,
        &mut tables.offsets,
        &mut tables.pending,
    ])?;
    let (config, now) = (&services.config, services.clock.now());
    let mut groups = BTreeMap::new();
    for (id, record) in tables.classic.into_records()? {
        let classic = ClassicGroup::restore(config.clone(), record, now);
        groups.insert(id, GroupContent::new(classic));
    }
    let budget = TimeBudget::of(LOAD_PATTERNS_TIME);
    for (id, stored) in consumer_groups(tables.epochs, tables.members, tables.targets)? {
        let world = services.world(&id);
        let (env, topics) = (world.env(), world.topics());
        let resolve = |texts: &[Arc<str>]| services.patterns.resolve(texts, &topics, budget);
        let group = ConsumerGroup::restore(config.clone(), stored, &env, resolve);
        groups.insert(id, GroupContent::new(group));
    }
    let mut topics = Topics::new(services);
    for (key, offset) in tables.offsets.into_records()? {
        if topics.have(&key.topic, &offset) {
            let group = group(&mut groups, services, key.group);
            group.offsets.put(key.topic, key.partition, offset);
        } else {
            topics.gone.delete::<GroupOffsets>(&key);
        }
    }
    for (key, offset) in tables.pending.into_records()? {
        if topics.have(&key.topic, &offset) {
            let group = group(&mut groups, services, key.group);
            let (producer_id, partition) = (key.producer_id, key.partition);
            group.pending.put(producer_id, key.topic, partition, offset);
        } else {
            topics.gone.delete::<PendingOffsets>(&key);
        }
    }
    topics.finish()?;
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

/// The group, which has offsets alone if it isn't there yet.
fn group<'a>(
    groups: &'a mut BTreeMap<GroupId, GroupContent>,
    services: &Services,
    id: GroupId,
) -> &'a mut GroupContent {
    let offsets_alone = || GroupContent::new(services.empty_group());
    groups.entry(id).or_insert_with(offsets_alone)
}

/// Distinguishes offsets of existing topics from those that an interrupted deletion left.
struct Topics<'a> {
    services: &'a Services,
    ids: HashMap<TopicName, Option<TopicId>>,
    /// Removes what was left.
    gone: Entry,
    gone_topics: BTreeSet<TopicName>,
}

impl<'a> Topics<'a> {
    fn new(services: &'a Services) -> Self {
        Self {
            services,
            ids: HashMap::new(),
            gone: Entry::new(),
            gone_topics: BTreeSet::new(),
        }
    }

    fn have(&mut self, topic: &TopicName, offset: &CommittedOffset) -> bool {
        let topics = &self.services.topics;
        let id = match self.ids.get(topic) {
            Some(id) => *id,
            None => {
                let id = topics.topic_id(topic.as_str());
                self.ids.insert(topic.clone(), id);
                id
            }
        };
        let is_there = id.is_some_and(|id| offset.is_of(id));
        if !is_there {
            self.gone_topics.insert(topic.clone());
        }
        is_there
    }

    fn finish(self) -> Result<(), JournalError> {
        if self.gone.is_empty() {
            return Ok(());
        }
        tracing::info!(
            offsets = self.gone.len(),
            topics = some_of(&self.gone_topics),
            "removed offsets of topics that no longer exist"
        );
        Ok(self.services.journal.append_now(self.gone)?)
    }
}

//! The report of the groups that a link syncs.

use std::collections::HashMap;

use carrick_protocol::ids::TopicName;

use super::LinkManager;
use crate::error::LinkError;
use crate::groups::{GroupSync, GroupSyncDescription};
use crate::shared::LinkShared;
use crate::state::MirrorStatus;

/// Where the mirrored data of topics end, by partition.
type Ends = HashMap<TopicName, Vec<i64>>;

impl LinkManager {
    /// The groups whose offsets a link syncs, by their ids at the source.
    ///
    /// # Errors
    /// `NoSuchLink`, `Store`.
    pub fn groups(&self, link: &str) -> Result<Vec<GroupSyncDescription>, LinkError> {
        let shared = self.shared(link)?;
        let ends = self.ends(&shared)?;
        let groups = shared.groups.all().into_iter();
        Ok(groups.map(|sync| describe(sync, &ends)).collect())
    }

    /// The same of one group, by its id at the source.
    ///
    /// # Errors
    /// `NoSuchLink`, `NoSuchGroup`, `Store`.
    pub fn group(&self, link: &str, source_group: &str) -> Result<GroupSyncDescription, LinkError> {
        let shared = self.shared(link)?;
        let sync = shared.groups.get(source_group);
        let sync = sync.ok_or_else(|| LinkError::NoSuchGroup {
            link: shared.name.clone(),
            group: source_group.to_owned(),
        })?;
        Ok(describe(sync, &self.ends(&shared)?))
    }

    /// For running mirrors, their current end; for mirrors that were cut, their end then.
    fn ends(&self, shared: &LinkShared) -> Result<Ends, LinkError> {
        let (mut ends, mut stopped) = (Ends::new(), Vec::new());
        for (topic, mirror) in &shared.inner().mirrors {
            if mirror.record.status == MirrorStatus::Stopped {
                stopped.push(topic.clone());
                continue;
            }
            let partitions = mirror.statuses.iter();
            let partitions = partitions.map(|cell| cell.with(|status| status.mirror_end.0));
            ends.insert(topic.clone(), partitions.collect());
        }
        for topic in stopped {
            if let Some(report) = self.ports.store.load_report(&topic)? {
                let partitions = report.partitions.iter().map(|part| part.mirror_end);
                ends.insert(topic, partitions.collect());
            }
        }
        Ok(ends)
    }
}

/// Topics that are no longer mirrors of the link are left out.
fn describe(sync: GroupSync, ends: &Ends) -> GroupSyncDescription {
    let partitions = sync.partitions.iter().filter_map(|part| {
        let index = usize::try_from(part.partition).ok()?;
        let end = ends.get(part.topic.as_str())?.get(index);
        // A partition that is not mirrored yet has a row that says so.
        let end = end.or(part.skipped.is_some().then_some(&0))?;
        Some(part.describe(*end))
    });
    GroupSyncDescription {
        partitions: partitions.collect(),
        sync,
    }
}

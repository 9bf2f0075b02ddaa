//! Questions about groups: which ones there are, and what they have committed.
//!
//! The broker that lists a group coordinates it, which saves most look-ups of coordinators: only
//! groups that have moved since are looked up. After an answer that says "not me", the next
//! question looks the coordinator up again.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, NodeId};
use tokio::task::JoinSet;

use super::Inner;
use crate::source::{
    GroupCommits, GroupListing, SourceError, describe_cluster, find_coordinator, list_groups,
    offset_fetch,
};

impl Inner {
    /// The groups of every broker, asking all brokers in parallel.
    pub(super) async fn list_groups(self: &Arc<Self>) -> Result<GroupListing, SourceError> {
        let connection = self.control().await?;
        let cluster = describe_cluster::describe_cluster(&connection).await?;
        self.state.lock().learn_cluster(&cluster);
        let mut asked = JoinSet::new();
        for broker in cluster.brokers {
            let cluster = self.clone();
            asked.spawn(async move {
                let listed = match cluster.leader(broker.id).await {
                    Ok(connection) => list_groups::list_groups(&connection).await,
                    Err(error) => Err(error),
                };
                (broker.id, listed)
            });
        }
        let mut groups = BTreeMap::new();
        let mut coordinators = Vec::new();
        let mut silent = Vec::new();
        while let Some(joined) = asked.join_next().await {
            let (broker, listed) = joined.map_err(|_| SourceError::ShutDown)?;
            match listed {
                Ok(listed) => {
                    coordinators.extend(listed.iter().map(|group| (group.id.clone(), broker)));
                    groups.extend(listed.into_iter().map(|group| (group.id.clone(), group)));
                }
                Err(error) => silent.push((broker, error)),
            }
        }
        self.state.lock().learn_all_coordinators(coordinators);
        silent.sort_by_key(|(broker, _)| *broker);
        Ok(GroupListing {
            cluster_id: cluster.cluster_id,
            groups: groups.into_values().collect(),
            silent,
        })
    }

    /// One answer per group, in their order, asking all coordinators in parallel.
    pub(super) async fn group_offsets(
        self: &Arc<Self>,
        groups: Vec<GroupId>,
    ) -> Result<Vec<GroupCommits>, SourceError> {
        let lost = self.find_lost(&groups).await?;
        let (mut answers, by_coordinator) = self.route(&groups, &lost);
        let mut asked = JoinSet::new();
        for (coordinator, indexes) in by_coordinator {
            let questions: Vec<GroupId> =
                indexes.iter().map(|index| groups[*index].clone()).collect();
            let cluster = self.clone();
            asked.spawn(async move {
                let answered = match cluster.leader(coordinator).await {
                    Ok(connection) => offset_fetch::offset_fetch(&connection, &questions).await,
                    Err(error) => Err(error),
                };
                (coordinator, indexes, answered)
            });
        }
        let mut failure = None;
        while let Some(joined) = asked.join_next().await {
            let (coordinator, indexes, answered) = joined.map_err(|_| SourceError::ShutDown)?;
            match answered {
                Ok(answered) => answers.extend(indexes.into_iter().zip(answered)),
                Err(error) => {
                    tracing::debug!(%coordinator, %error, "no offsets from this coordinator");
                    let code = ErrorCode::COORDINATOR_NOT_AVAILABLE;
                    let unanswered =
                        |index: usize| (index, GroupCommits::unanswered(&groups[index], code));
                    answers.extend(indexes.into_iter().map(unanswered));
                    failure = Some(error);
                }
            }
        }
        let mut state = self.state.lock();
        for answer in answers.values() {
            if is_about_the_coordinator(answer.error) {
                state.forget_coordinator(&answer.group);
            }
        }
        match failure {
            Some(error) if answers.values().all(|answer| answer.error.is_err()) => Err(error),
            _ => Ok(answers.into_values().collect()),
        }
    }

    /// Looks the coordinators up that aren't known; those that can't be found, and why.
    async fn find_lost(
        self: &Arc<Self>,
        groups: &[GroupId],
    ) -> Result<BTreeMap<GroupId, ErrorCode>, SourceError> {
        let unknown: Vec<GroupId> = {
            let state = self.state.lock();
            let is_unknown = |group: &&GroupId| state.coordinator(group).is_none();
            groups.iter().filter(is_unknown).cloned().collect()
        };
        if unknown.is_empty() {
            return Ok(BTreeMap::new());
        }
        let connection = self.control().await?;
        let found = find_coordinator::find_coordinators(&connection, &unknown).await?;
        let mut lost = BTreeMap::new();
        let mut state = self.state.lock();
        for (group, found) in unknown.into_iter().zip(found) {
            match found {
                Ok(broker) => {
                    state.learn_coordinator(group, broker.id);
                    state.learn_brokers(&[broker]);
                }
                Err(error) => {
                    lost.insert(group, error);
                }
            }
        }
        Ok(lost)
    }

    /// Which broker gets which question, and the answers to questions that no broker gets.
    fn route(
        &self,
        groups: &[GroupId],
        lost: &BTreeMap<GroupId, ErrorCode>,
    ) -> (BTreeMap<usize, GroupCommits>, BTreeMap<NodeId, Vec<usize>>) {
        let state = self.state.lock();
        let (mut answers, mut by_coordinator) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        for (index, group) in groups.iter().enumerate() {
            match state.coordinator(group) {
                Some(coordinator) => by_coordinator.entry(coordinator).or_default().push(index),
                None => {
                    let code = lost.get(group).copied();
                    let code = code.unwrap_or(ErrorCode::COORDINATOR_NOT_AVAILABLE);
                    answers.insert(index, GroupCommits::unanswered(group, code));
                }
            }
        }
        (answers, by_coordinator)
    }
}

/// Errors after which the coordinator must be looked for again.
fn is_about_the_coordinator(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE
    )
}

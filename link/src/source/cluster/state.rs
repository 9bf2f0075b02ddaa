//! What the client knows about its source: brokers, topics, failures, open connections.
//! Synchronous.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, NodeId, TopicName};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Slot;
use crate::backoff::Curve;
use crate::source::connection::Closer;
use crate::source::{ClusterInfo, SourceBroker, SourceError, SourceTopic};

/// A server to try to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Endpoint {
    /// A broker of the metadata.
    Broker(NodeId),
    /// The bootstrap list as a whole.
    Bootstrap,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    not_before: Instant,
}

#[derive(Debug)]
struct CachedTopic {
    topic: Arc<SourceTopic>,
    learned_at: Instant,
}

#[derive(Default)]
pub(super) struct State {
    is_shut_down: bool,
    brokers: BTreeMap<NodeId, SourceBroker>,
    topics: HashMap<TopicName, CachedTopic>,
    coordinators: HashMap<GroupId, NodeId>,
    failures: HashMap<Endpoint, Failures>,
    slots: HashMap<NodeId, Slot>,
    open: Vec<Closer>,
    /// The attempt to reach any broker.
    opening: Option<AbortHandle>,
    /// How the last attempt to reach a bootstrap server ended, if badly.
    bootstrap_failure: Option<SourceError>,
}

impl State {
    pub(super) fn check_running(&self) -> Result<(), SourceError> {
        if self.is_shut_down {
            Err(SourceError::ShutDown)
        } else {
            Ok(())
        }
    }

    /// Everything that has to be closed now.
    pub(super) fn shut_down(&mut self) -> Vec<Closer> {
        self.is_shut_down = true;
        self.slots.clear();
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
        std::mem::take(&mut self.open)
    }

    /// Notes an open connection, to be closed by [`shut_down`](Self::shut_down).
    pub(super) fn opened(&mut self, connection: Closer) -> Result<(), SourceError> {
        self.check_running()?;
        self.open.retain(Closer::is_open);
        self.open.push(connection);
        Ok(())
    }

    /// Records an attempt to connect, which [`shut_down`](Self::shut_down) cancels.
    pub(super) fn opening(&mut self, attempt: AbortHandle) -> Result<(), SourceError> {
        if self.is_shut_down {
            attempt.abort();
        }
        self.opening = Some(attempt);
        self.check_running()
    }

    pub(super) fn broker(&self, id: NodeId) -> Result<SourceBroker, SourceError> {
        self.check_running()?;
        self.brokers
            .get(&id)
            .cloned()
            .ok_or(SourceError::UnknownBroker(id))
    }

    /// Known brokers that may be tried now.
    pub(super) fn brokers_ready(&self) -> Vec<SourceBroker> {
        let now = Instant::now();
        let is_ready = |broker: &&SourceBroker| {
            self.not_before(&Endpoint::Broker(broker.id))
                .is_none_or(|time| time <= now)
        };
        self.brokers.values().filter(is_ready).cloned().collect()
    }

    pub(super) fn slot(&mut self, broker: NodeId) -> Result<Slot, SourceError> {
        self.check_running()?;
        Ok(self.slots.entry(broker).or_default().clone())
    }

    pub(super) fn learn_cluster(&mut self, cluster: &ClusterInfo) {
        // A broker that is starting may answer with an empty list: that is no reason to forget the others.
        if cluster.brokers.is_empty() {
            return;
        }
        self.brokers.clear();
        self.learn_brokers(&cluster.brokers);
        let brokers = &self.brokers;
        self.slots.retain(|id, _| brokers.contains_key(id));
        self.failures.retain(|endpoint, _| match endpoint {
            Endpoint::Broker(id) => brokers.contains_key(id),
            Endpoint::Bootstrap => true,
        });
    }

    pub(super) fn learn_brokers(&mut self, brokers: &[SourceBroker]) {
        self.brokers
            .extend(brokers.iter().map(|broker| (broker.id, broker.clone())));
    }

    pub(super) fn forget_brokers(&mut self) {
        self.brokers.clear();
    }

    pub(super) fn learn_topics(&mut self, topics: &[SourceTopic], are_all: bool) {
        if are_all {
            self.topics.clear();
        }
        let learned_at = Instant::now();
        for topic in topics {
            let topic = Arc::new(topic.clone());
            self.topics
                .insert(topic.name.clone(), CachedTopic { topic, learned_at });
        }
    }

    pub(super) fn topic(&self, name: &TopicName, max_age: Duration) -> Option<Arc<SourceTopic>> {
        let cached = self.topics.get(name)?;
        (cached.learned_at.elapsed() < max_age).then(|| cached.topic.clone())
    }

    /// Forgets a topic of whose leaders we have been told that they moved.
    pub(super) fn forget_topic(&mut self, name: &TopicName) {
        self.topics.remove(name);
    }

    /// Forgets the topics that a lost broker led.
    pub(super) fn forget_leader(&mut self, broker: NodeId) {
        self.topics.retain(|_, cached| {
            !cached
                .topic
                .partitions
                .iter()
                .any(|partition| partition.leader == Some(broker))
        });
    }

    /// The leader of a partition from a fresh cache, or the reason why there is none.
    pub(super) fn leader(&self, topic: &TopicName, partition: i32) -> Result<NodeId, ErrorCode> {
        let cached = self
            .topics
            .get(topic)
            .ok_or(ErrorCode::LEADER_NOT_AVAILABLE)?;
        let topic = &cached.topic;
        topic.error.into_result()?;
        let found = topic
            .partitions
            .iter()
            .find(|known| known.partition == partition);
        let leader = found.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?.leader;
        leader
            .filter(|id| self.brokers.contains_key(id))
            .ok_or(ErrorCode::LEADER_NOT_AVAILABLE)
    }

    /// Who was last seen to coordinate the group, if that broker is still there.
    pub(super) fn coordinator(&self, group: &GroupId) -> Option<NodeId> {
        let coordinator = self.coordinators.get(group).copied();
        coordinator.filter(|id| self.brokers.contains_key(id))
    }

    /// Replaces what was known by an answer that covers all brokers.
    pub(super) fn learn_all_coordinators(&mut self, all: Vec<(GroupId, NodeId)>) {
        self.coordinators = all.into_iter().collect();
    }

    pub(super) fn learn_coordinator(&mut self, group: GroupId, coordinator: NodeId) {
        self.coordinators.insert(group, coordinator);
    }

    pub(super) fn forget_coordinator(&mut self, group: &GroupId) {
        self.coordinators.remove(group);
    }

    pub(super) fn failures(&self, endpoint: &Endpoint) -> u32 {
        self.failures
            .get(endpoint)
            .map_or(0, |failures| failures.count)
    }

    pub(super) fn not_before(&self, endpoint: &Endpoint) -> Option<Instant> {
        self.failures
            .get(endpoint)
            .map(|failures| failures.not_before)
    }

    /// Notes how an attempt to connect ended.
    pub(super) fn settle(&mut self, endpoint: &Endpoint, is_ok: bool, backoff: &Curve) {
        if is_ok {
            self.failures.remove(endpoint);
            return;
        }
        let count = self.failures(endpoint).saturating_add(1);
        let not_before = Instant::now() + backoff.delay(count);
        self.failures
            .insert(endpoint.clone(), Failures { count, not_before });
    }

    /// The last failure of the bootstrap list, until it may be tried again.
    pub(super) fn bootstrap_failure(&self) -> Result<(), SourceError> {
        let may_try = self
            .not_before(&Endpoint::Bootstrap)
            .is_none_or(|time| time <= Instant::now());
        match &self.bootstrap_failure {
            Some(failure) if !may_try => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    /// Notes how an attempt at the bootstrap list ended.
    pub(super) fn settle_bootstrap(&mut self, failure: Option<&SourceError>, backoff: &Curve) {
        self.settle(&Endpoint::Bootstrap, failure.is_none(), backoff);
        self.bootstrap_failure = failure.cloned();
    }
}

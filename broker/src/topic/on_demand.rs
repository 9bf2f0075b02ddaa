//! Topics that are created because a client uses them.
//!
//! The whole broker creates the topics of one request at a time, and only a few requests may wait
//! for that: a flood of unknown names must not keep the catalog and the disk from explicit
//! creations, links and failovers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carrick_protocol::ids::TopicName;
use tokio::sync::Semaphore;

use super::rules::TopicRules;
use super::{NewTopic, TopicError, Topics};

/// Requests that create topics on demand or wait to, at most. Others are answered without: their
/// clients ask again.
const WAITING_MAX: usize = 64;

/// Who creates topics on demand.
pub struct OnDemand {
    waiting: Semaphore,
    pub(crate) turn: Semaphore,
}

impl Default for OnDemand {
    fn default() -> Self {
        Self {
            waiting: Semaphore::new(WAITING_MAX),
            turn: Semaphore::new(1),
        }
    }
}

impl OnDemand {
    /// Creates topics with the broker's defaults, if not too many others are waiting for that;
    /// answers which could not be, and why.
    pub async fn create(
        &self,
        catalog: &Arc<Topics>,
        rules: TopicRules,
        names: BTreeSet<TopicName>,
    ) -> BTreeMap<TopicName, TopicError> {
        let Ok(_waiting) = self.waiting.try_acquire() else {
            tracing::debug!(
                topics = names.len(),
                "topics not created on demand: too many requests are waiting"
            );
            return BTreeMap::new();
        };
        let Ok(_turn) = self.turn.acquire().await else {
            return BTreeMap::new();
        };
        let catalog = Arc::clone(catalog);
        let created = tokio::task::spawn_blocking(move || create_all(&catalog, rules, names)).await;
        created.unwrap_or_else(|error| {
            tracing::error!(%error, "creating topics on demand failed");
            BTreeMap::new()
        })
    }

    /// Whether a request waits for its turn, or has it.
    #[cfg(test)]
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.available_permits() < WAITING_MAX
    }
}

fn create_all(
    catalog: &Topics,
    rules: TopicRules,
    names: BTreeSet<TopicName>,
) -> BTreeMap<TopicName, TopicError> {
    let mut refused = BTreeMap::new();
    for name in names {
        let new = NewTopic {
            name: name.clone(),
            id: None,
            partitions: rules.default_partitions,
            configs: Default::default(),
            is_mirror: false,
        };
        let created = rules.replication.check(-1).and_then(|shortfall| {
            catalog.create(new, Default::default())?;
            shortfall.log(&name);
            Ok(())
        });
        match created {
            // Another request was faster: that is fine.
            Ok(()) | Err(TopicError::Exists(_)) => {}
            Err(error) => {
                tracing::warn!(topic = %name, %error, "topic not created on demand");
                refused.insert(name, error);
            }
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestBroker;

    #[tokio::test(flavor = "multi_thread")]
    async fn few_requests_create_topics_at_once_and_those_beyond_are_answered_without() {
        let it = TestBroker::start(&[]).await;
        let broker = it.broker();
        let create = || {
            let names = BTreeSet::from([TopicName::new("new").unwrap()]);
            let (catalog, rules) = (&broker.topics, broker.topic_rules);
            broker.on_demand.create(catalog, rules, names)
        };
        let everybody = u32::try_from(WAITING_MAX).unwrap();
        let waiting = broker.on_demand.waiting.try_acquire_many(everybody);
        assert!(create().await.is_empty());
        assert!(broker.topic("new").is_none());
        drop(waiting);
        assert!(create().await.is_empty());
        assert!(broker.topic("new").is_some());
    }
}

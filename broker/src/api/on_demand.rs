//! Topics that Metadata creates on demand.
//!
//! The whole broker creates the topics of one request at a time, and only a few requests may wait
//! for that: a flood of unknown names must not keep the catalog and the disk from explicit
//! creations, links and failovers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicName;
use tokio::sync::Semaphore;

use super::error::topic_code;
use crate::Broker;
use crate::topic::{NewTopic, TopicError};

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

#[cfg(test)]
impl OnDemand {
    /// Whether a request waits for its turn, or has it.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.available_permits() < WAITING_MAX
    }
}

/// Creates topics with the broker's defaults, if not too many others are waiting for that; answers
/// which could not be, and why.
pub(super) async fn create(
    broker: &Arc<Broker>,
    names: BTreeSet<TopicName>,
) -> BTreeMap<TopicName, ErrorCode> {
    let on_demand = &broker.on_demand;
    let Ok(_waiting) = on_demand.waiting.try_acquire() else {
        tracing::debug!(
            topics = names.len(),
            "topics not created on demand: too many requests wait"
        );
        return BTreeMap::new();
    };
    let Ok(_turn) = on_demand.turn.acquire().await else {
        return BTreeMap::new();
    };
    let creating = Arc::clone(broker);
    let created = tokio::task::spawn_blocking(move || create_all(&creating, names)).await;
    created.unwrap_or_else(|error| {
        tracing::error!(%error, "creating topics on demand failed");
        BTreeMap::new()
    })
}

fn create_all(broker: &Broker, names: BTreeSet<TopicName>) -> BTreeMap<TopicName, ErrorCode> {
    let mut refused = BTreeMap::new();
    for name in names {
        let new = NewTopic {
            name: name.clone(),
            id: None,
            partitions: broker.config.num_partitions,
            configs: Default::default(),
            is_mirror: false,
        };
        let created = broker.config.replication.check(-1).and_then(|shortfall| {
            broker.catalog.create(new, Default::default())?;
            shortfall.log(&name);
            Ok(())
        });
        match created {
            // Somebody else was faster: just as good.
            Ok(()) | Err(TopicError::Exists(_)) => {}
            Err(error) => {
                tracing::warn!(topic = %name, %error, "topic not created on demand");
                refused.insert(name, topic_code(&error));
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
        let names = || BTreeSet::from([TopicName::new("new").unwrap()]);
        let everybody = u32::try_from(WAITING_MAX).unwrap();
        let waiting = broker.on_demand.waiting.try_acquire_many(everybody);
        assert!(create(broker, names()).await.is_empty());
        assert!(broker.catalog.topic("new").is_none());
        drop(waiting);
        assert!(create(broker, names()).await.is_empty());
        assert!(broker.catalog.topic("new").is_some());
    }
}

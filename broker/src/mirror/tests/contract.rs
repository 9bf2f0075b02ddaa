//! The link's own contract of a mirror partition, on real logs.

use std::sync::atomic::{AtomicU32, Ordering};

use carrick_link::ports::{LinkStore, TopicCatalog};
use carrick_link::testing::contract::{Harness, all};

use super::*;
use crate::metadata::Transaction;
use crate::topic::NewTopic;

pub(super) struct Real {
    pub(super) rig: Rig,
    next: AtomicU32,
}

impl Real {
    pub(super) fn new(rig: Rig) -> Self {
        Real {
            rig,
            next: AtomicU32::new(0),
        }
    }

    fn name(&self) -> TopicName {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        TopicName::new(format!("topic-{number}")).unwrap()
    }
}

impl Harness for Real {
    fn fresh(&self) -> TopicName {
        self.name()
    }

    fn target(&self) -> Arc<dyn MirrorTarget> {
        Arc::clone(&self.rig.ports.target)
    }

    fn local(&self) -> Arc<dyn LocalBatches> {
        Arc::clone(&self.rig.ports.local)
    }

    fn catalog(&self) -> Arc<dyn TopicCatalog> {
        Arc::clone(&self.rig.ports.catalog)
    }

    fn store(&self) -> Arc<dyn LinkStore> {
        Arc::clone(&self.rig.ports.store)
    }

    fn leader_epoch(&self, at: &TopicPartition) -> LeaderEpoch {
        let partition = self.rig.hosted.named(&at.topic, at.partition);
        partition.unwrap().leader_epoch()
    }

    fn link(&self) -> LinkName {
        lease(1).link
    }

    fn mirror(&self) -> TopicPartition {
        let topic = self.name();
        let spec = MirrorTopicSpec {
            topic: topic.clone(),
            ..spec(1)
        };
        let record = MirrorRecord {
            topic: topic.clone(),
            ..record()
        };
        self.rig.create(spec, record).unwrap();
        TopicPartition {
            topic,
            partition: 0,
        }
    }

    fn ordinary(&self) -> TopicPartition {
        let topic = self.name();
        let new = NewTopic {
            name: topic.clone(),
            id: None,
            partitions: 1,
            configs: BTreeMap::new(),
            is_mirror: false,
        };
        self.rig.topics.create(new, Transaction::new()).unwrap();
        TopicPartition {
            topic,
            partition: 0,
        }
    }

    fn delete(&self, topic: &TopicName) {
        let topics = &self.rig.topics;
        let found = topics.topic(topic).unwrap();
        topics.delete(&found, end_of_mirror(topic)).unwrap();
    }

    fn cut(&self, partition: &TopicPartition) {
        let mut order = order(1);
        order.record.topic = partition.topic.clone();
        self.rig.ports.catalog.cut_mirrors(&[order]).unwrap();
    }
}

#[test]
fn real_partitions_keep_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::open(&dir);
    all(&Real::new(rig));
}

//! Partitions come and go with their topics ([`Hosting`]): folders, logs, and who finds them.

use std::ops::Range;
use std::sync::Arc;

use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName, TopicPartition};
use carrick_storage::disk::Retired;
use carrick_storage::log::LogError;

use super::{Hosted, Opening, Partition};
use crate::clock;
use crate::topic::{Hosting, MadePartitions, NewPartitions, TopicConfig, TopicError};

impl Hosting for Arc<Hosted> {
    fn make(&self, new: NewPartitions<'_>) -> Result<Box<dyn MadePartitions>, TopicError> {
        let mut made = Box::new(Made {
            hosted: Arc::clone(self),
            topic: new.topic.clone(),
            numbers: new.numbers.clone(),
            partitions: Vec::new(),
        });
        let ids = ids(new.topic, new.numbers.clone());
        self.put_away(&ids)?;
        for id in ids {
            match self.open_new(id, new.config, new.is_mirror) {
                Ok(partition) => made.partitions.push(partition),
                Err(error) => {
                    made.take_back();
                    return Err(error.into());
                }
            }
        }
        if let Err(error) = self.data_dir.sync() {
            made.take_back();
            return Err(error.into());
        }
        Ok(made)
    }

    fn leader_epochs(&self, topic: TopicId) -> Vec<(i32, LeaderEpoch)> {
        let partitions = self.of(topic);
        let epochs = partitions.iter();
        epochs
            .map(|it| (it.id().partition, it.leader_epoch()))
            .collect()
    }

    fn raise_leader_epoch(&self, topic: TopicId, number: i32, to: LeaderEpoch) {
        if let Some(partition) = self.get(topic, number) {
            partition.raise_leader_epoch(to);
        }
    }

    fn set_config(&self, topic: TopicId, config: &Arc<TopicConfig>) {
        for partition in self.of(topic).iter() {
            partition.set_config(config);
        }
    }

    fn open_for_writes(&self, topic: TopicId) {
        for partition in self.of(topic).iter() {
            partition.open_for_writes();
        }
    }

    fn hide(&self, topic: TopicId) -> Box<dyn FnOnce() + Send> {
        let hidden = self.take(topic);
        Box::new(move || hidden.iter().for_each(|partition| partition.abandon()))
    }

    fn put_away(&self, partitions: &[TopicPartition]) -> Result<(), TopicError> {
        let Retired { folders, error } = self.data_dir.retire_all(partitions);
        self.remover.remove(folders);
        error.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl Hosted {
    fn open_new(
        &self,
        id: TopicPartition,
        config: &Arc<TopicConfig>,
        is_mirror: bool,
    ) -> Result<Arc<Partition>, LogError> {
        let dir = self.data_dir.partition_dir(&id);
        let (partition, _) = Partition::open(Opening {
            id,
            dir: &dir,
            config: Arc::clone(config),
            leader_epoch: LeaderEpoch(0),
            is_mirror,
            flusher: Arc::clone(&self.flusher),
            now_ms: clock::now_ms(),
        })?;
        Ok(partition)
    }
}

fn ids(topic: &TopicName, numbers: Range<i32>) -> Vec<TopicPartition> {
    let ids = numbers.map(|number| TopicPartition::new(topic.clone(), number));
    ids.collect()
}

/// New partitions of a topic, as far as they are open; `numbers` are all that were tried.
struct Made {
    hosted: Arc<Hosted>,
    topic: TopicName,
    numbers: Range<i32>,
    partitions: Vec<Arc<Partition>>,
}

impl MadePartitions for Made {
    fn set_config(&self, config: &Arc<TopicConfig>) {
        for partition in &self.partitions {
            partition.set_config(config);
        }
    }

    fn show(&mut self, topic: TopicId) {
        let partitions = std::mem::take(&mut self.partitions);
        self.hosted.show(topic, &self.topic, partitions);
    }

    fn take_back(&mut self) {
        for partition in &self.partitions {
            partition.abandon();
        }
        // Their files are closed first: it may be that the broker has too many open.
        self.partitions.clear();
        let ids = ids(&self.topic, self.numbers.clone());
        if let Err(error) = self.hosted.put_away(&ids) {
            let topic = &self.topic;
            tracing::error!(%topic, %error, "folders of partitions that could not be created remain");
        }
    }
}

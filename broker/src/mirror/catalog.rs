//! [`TopicCatalog`] on the broker's catalog: mirror topics are created, grown and cut together with
//! their records.

use std::sync::Arc;

use carrick_link::cut::CutOrder;
use carrick_link::ports::{CatalogError, Clock, TopicAnswer, TopicCatalog, TopicCut};
use carrick_link::record::{MirrorRecord, MirrorTopicSpec, NewMirrorTopic};
use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName, TopicPartition};

use super::cut::Cutter;
use super::refusal::refused;
use crate::metadata::{Metadata, MetadataError, Transaction};
use crate::partition::Hosted;
use crate::producer_ids::ProducerIds;
use crate::records::mirror::MirrorKeyspace;
use crate::records::rpo_report::RpoReportKeyspace;
use crate::records::source_sight::SourceSightKeyspace;
use crate::topic::{NewTopic, Topic, TopicError, Topics, config};

/// The catalog as links see it.
pub struct MirrorCatalog {
    topics: Arc<Topics>,
    metadata: Metadata,
    cutter: Cutter,
}

impl MirrorCatalog {
    /// On `topics`; mirror records are kept in `metadata`.
    pub fn new(
        topics: Arc<Topics>,
        hosted: Arc<Hosted>,
        metadata: Metadata,
        producer_ids: Arc<ProducerIds>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let cutter = Cutter::new(
            Arc::clone(&topics),
            hosted,
            metadata.clone(),
            producer_ids,
            clock,
        );
        MirrorCatalog {
            topics,
            metadata,
            cutter,
        }
    }

    fn mirror(&self, name: &TopicName) -> Result<Arc<Topic>, CatalogError> {
        let topic = self.topics.topic(name);
        let topic = topic.ok_or_else(|| CatalogError::NoSuchTopic(name.clone()))?;
        if topic.is_mirror() {
            Ok(topic)
        } else {
            Err(CatalogError::NotAMirror(name.clone()))
        }
    }

    /// Stores `change`, and that the mirror has `count` partitions if it has fewer.
    fn grown(&self, topic: &Arc<Topic>, count: i32, change: Transaction) -> Result<(), TopicError> {
        if count > topic.partition_count() {
            return self.topics.grow_mirror(topic, count, change);
        }
        let _still = self.topics.hold_still();
        match self.topics.is_there(topic) {
            true => Ok(self.metadata.commit(change).map(drop)?),
            false => Err(TopicError::Unknown(topic.name().to_string())),
        }
    }
}

impl TopicCatalog for MirrorCatalog {
    fn partitions(&self, topic: &TopicName) -> Option<i32> {
        let topic = self.topics.topic(topic)?;
        Some(topic.partition_count())
    }

    fn create_mirrors(&self, new: &[NewMirrorTopic]) -> Result<Vec<TopicAnswer>, CatalogError> {
        let Some(first) = new.first() else {
            return Ok(Vec::new());
        };
        let checked: Vec<TopicAnswer> = new.iter().map(|new| own_configs(&new.spec)).collect();
        let legal = new
            .iter()
            .zip(&checked)
            .filter(|(_, checked)| checked.is_ok());
        let topics = legal.map(|(new, _)| new_topic(new)).collect();
        let created = self.topics.create_all(topics);
        let mut created = created
            .map_err(|error| refused(&first.spec.topic, error))?
            .into_iter();
        let answer = |(new, checked): (&NewMirrorTopic, TopicAnswer)| {
            checked?;
            match created.next() {
                Some(Err(error)) => Err(refused(&new.spec.topic, error)),
                _ => Ok(()),
            }
        };
        Ok(new.iter().zip(checked).map(answer).collect())
    }

    fn add_partitions(&self, record: &MirrorRecord, count: i32) -> Result<(), CatalogError> {
        let storage = |error: MetadataError| CatalogError::Storage(error.to_string());
        let topic = self.mirror(&record.topic)?;
        loop {
            let mut change = Transaction::new();
            // Read after the topic: the record of this mirror is no older than the topic.
            let stored = change.read::<MirrorKeyspace>(&self.metadata, &record.topic);
            let stored = stored.map_err(storage)?;
            if !stored.is_some_and(|stored| stored.is_of_same(record)) {
                return Err(CatalogError::NoSuchTopic(record.topic.clone()));
            }
            change.put::<MirrorKeyspace>(&record.topic, record);
            match self.grown(&topic, count, change) {
                // The mirror's record has changed since it was read.
                Err(TopicError::Meta(MetadataError::Conflict(_))) => {}
                grown => return grown.map_err(|error| refused(&record.topic, error)),
            }
        }
    }

    fn set_configs(
        &self,
        topic: &TopicName,
        configs: &[(String, Option<String>)],
    ) -> Result<(), CatalogError> {
        self.mirror(topic)?;
        let set = self.topics.alter_configs(topic, true, false, |overrides| {
            for (name, value) in configs {
                match value {
                    Some(value) => overrides.insert(name.clone(), value.clone()),
                    None => overrides.remove(name),
                };
            }
            Ok(())
        });
        set.map_err(|error| refused(topic, error))
    }

    fn default_config(&self, name: &str) -> Option<String> {
        let known = config::definition(name)?;
        config::default_value(known, &self.topics.properties().values())
    }

    fn configs(&self, topic: &TopicName) -> Result<Vec<(String, String)>, CatalogError> {
        let found = self.topics.topic(topic);
        let found = found.ok_or_else(|| CatalogError::NoSuchTopic(topic.clone()))?;
        let overrides = found.state().overrides.clone();
        Ok(overrides.into_iter().collect())
    }

    fn raise_leader_epochs(
        &self,
        epochs: &[(TopicPartition, LeaderEpoch)],
    ) -> Result<(), CatalogError> {
        let raised = self.topics.raise_leader_epochs(epochs);
        raised.map_err(|error| CatalogError::Storage(error.to_string()))
    }

    fn cut_mirrors(&self, orders: &[CutOrder]) -> Result<Vec<TopicCut>, CatalogError> {
        self.cutter.cut_all(orders)
    }
}

/// Refuses settings that the owner asked for and that are not supported here.
fn own_configs(spec: &MirrorTopicSpec) -> Result<(), CatalogError> {
    let mut own = spec.own_configs.iter();
    own.try_for_each(|(name, value)| config::check(name, value).map_err(CatalogError::Invalid))
}

fn new_topic(new: &NewMirrorTopic) -> (NewTopic, Transaction) {
    let NewMirrorTopic { spec, record } = new;
    // Clients that move over keep the id they know. The catalog draws another one where it is
    // taken: by a second mirror of that topic, or because the source is this very cluster.
    let id = Some(spec.source_topic_id).filter(|id| *id != TopicId::ZERO);
    let configs = spec.configs.iter().chain(&spec.own_configs);
    let topic = NewTopic {
        name: spec.topic.clone(),
        id,
        partitions: spec.partitions,
        configs: configs.cloned().collect(),
        is_mirror: true,
    };
    let mut batch = Transaction::new();
    batch.put::<MirrorKeyspace>(&record.topic, record);
    batch.delete::<RpoReportKeyspace>(&record.topic);
    batch.delete::<SourceSightKeyspace>(&record.topic);
    (topic, batch)
}

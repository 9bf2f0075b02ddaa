//! Creation of topics: any number in one write.
//!
//! Order: names, counts and configs are checked · partitions are made, on several threads, and are on
//! disk · one write of metadata · the partitions are shown · the catalog shows their topics. A refused
//! topic leaves nothing behind. Other changes wait only for the last three.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName};

use super::index::{collision, folded};
use super::topics::{NewTopic, Topics, check_count, check_overrides, supported};
use super::{MadePartitions, NewPartitions, Topic, TopicConfig, TopicError};
use crate::config::Values;
use crate::metadata::{MetadataError, Transaction, Version};
use crate::parallel;
use crate::records::retired_topic::RetiredTopicKeyspace;
use crate::records::topic::{TopicKeyspace, TopicRecord};
use crate::records::topic_config::TopicConfigKeyspace;

/// Threads that make new partitions: each waits for the disk most of the time.
const OPEN_THREADS: usize = 8;

/// The outcome for each of several topics, in order.
pub type EachTopic = Vec<Result<Arc<Topic>, TopicError>>;

/// A topic that nothing speaks against, its logs not yet opened.
struct Planned {
    new: NewTopic,
    config: Arc<TopicConfig>,
}

/// A planned topic and its partitions, or why there is none.
type Made = Result<(Planned, Box<dyn MadePartitions>), TopicError>;

/// A topic that is about to be stored, or why there is none.
type Unstored = Result<(Arc<Topic>, Box<dyn MadePartitions>), TopicError>;

impl Topics {
    /// Checks what `create` would check, and changes nothing.
    ///
    /// # Errors
    /// As `create`, but for the disk's.
    pub fn check_new(&self, new: &NewTopic) -> Result<(), TopicError> {
        self.topics.read().check_free(&new.name)?;
        check_values(new)
    }

    /// Creates a topic and its logs; `extra` is written in the same RocksDB batch. Blocks on disk.
    ///
    /// # Errors
    /// Nothing is left of the topic.
    pub fn create(&self, new: NewTopic, extra: Transaction) -> Result<Arc<Topic>, TopicError> {
        let name = new.name.to_string();
        let mut created = self.create_all(vec![(new, extra)])?;
        created.pop().unwrap_or(Err(TopicError::Unknown(name)))
    }

    /// Creates topics and their logs, all that can be created in one RocksDB batch, each with its
    /// `extra`; and answers for each, in that order. One that is refused doesn't stop the others.
    /// Blocks on disk.
    ///
    /// # Errors
    /// The batch could not be written: nothing is left of any topic.
    pub fn create_all(&self, new: Vec<(NewTopic, Transaction)>) -> Result<EachTopic, TopicError> {
        let (new, extras): (Vec<NewTopic>, Vec<Transaction>) = new.into_iter().unzip();
        let _claim = self.claims.of(new.iter().map(|new| &new.name));
        let values = self.properties.values();
        let planned = self.plan(new, &values);
        let made = self.make_planned(planned);
        self.show_new(made, extras, &values)
    }

    /// The topics that can be created; names of one call don't collide either.
    fn plan(&self, new: Vec<NewTopic>, values: &Values) -> Vec<Result<Planned, TopicError>> {
        let mut names: HashMap<String, TopicName> = HashMap::new();
        let plan = |mut new: NewTopic| {
            self.check_new(&new)?;
            match names.entry(folded(&new.name)) {
                Entry::Occupied(other) => return Err(collision(&new.name, other.get())),
                Entry::Vacant(free) => free.insert(new.name.clone()),
            };
            if new.is_mirror {
                new.configs = supported(new.name.as_str(), new.configs);
            }
            let config = Arc::new(TopicConfig::resolve(&new.configs, values));
            Ok(Planned { new, config })
        };
        new.into_iter().map(plan).collect()
    }

    /// Makes the partitions of all topics that are planned, in their order.
    fn make_planned(&self, planned: Vec<Result<Planned, TopicError>>) -> Vec<Made> {
        let ready: Vec<&Planned> = planned.iter().flatten().collect();
        let made = parallel::each(OPEN_THREADS, &ready, |Planned { new, config }| {
            self.hosting.make(NewPartitions {
                topic: &new.name,
                numbers: 0..new.partitions,
                config,
                is_mirror: new.is_mirror,
            })
        });
        let mut made = made.into_iter();
        let both = planned.into_iter().map(|planned| {
            let planned = planned?;
            let unknown = || Err(TopicError::Unknown(planned.new.name.to_string()));
            let partitions = made.next().unwrap_or_else(unknown)?;
            Ok((planned, partitions))
        });
        both.collect()
    }

    /// Stores and shows topics whose partitions were made while the broker's properties were `values`.
    fn show_new(
        &self,
        made: Vec<Made>,
        extras: Vec<Transaction>,
        values: &Arc<Values>,
    ) -> Result<EachTopic, TopicError> {
        let _one_at_a_time = self.changes.lock();
        let now = self.properties.values();
        let mut batch = Transaction::new();
        let mut ids = HashSet::new();
        let mut unstored: Vec<Unstored> = Vec::with_capacity(made.len());
        for (made, extra) in made.into_iter().zip(extras) {
            let topic = made.map(|(mut planned, partitions)| {
                if !Arc::ptr_eq(&now, values) {
                    planned.config = Arc::new(TopicConfig::resolve(&planned.new.configs, &now));
                    partitions.set_config(&planned.config);
                }
                let is_free = |id: &TopicId| self.by_id(*id).is_none() && ids.insert(*id);
                let id = planned.new.id.filter(is_free);
                let id = id.unwrap_or_else(TopicId::random);
                (new_topic(planned, id, &mut batch), partitions)
            });
            if topic.is_ok() {
                batch.append(extra);
            }
            unstored.push(topic);
        }
        self.persist(&mut unstored, batch)?;
        let topics = unstored.into_iter();
        Ok(topics.map(|topic| topic.map(|(topic, _)| topic)).collect())
    }

    fn persist(&self, unstored: &mut [Unstored], batch: Transaction) -> Result<(), TopicError> {
        let mut created: Vec<_> = unstored.iter_mut().flatten().collect();
        if created.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.metadata.commit(batch) {
            let mut error = TopicError::from(error);
            for (topic, partitions) in created {
                partitions.take_back();
                if let TopicError::Meta(MetadataError::Conflict(conflict)) = &error
                    && conflict.is_about::<TopicKeyspace>(topic.name())
                {
                    error = TopicError::Exists(topic.name().to_string());
                }
            }
            return Err(error);
        }
        for (topic, partitions) in &mut created {
            partitions.show(topic.id());
        }
        let mut topics = self.topics.write();
        self.images.put(created.iter().map(|(topic, _)| topic));
        for (topic, _) in created {
            let (name, id, mirror) = (topic.name(), topic.id(), topic.is_mirror());
            let count = topic.partition_count();
            tracing::info!(topic = %name, %id, partitions = count, mirror, "created");
            topics.insert(Arc::clone(topic));
        }
        Ok(())
    }
}

/// The topic, and its record in the metadata.
fn new_topic(planned: Planned, id: TopicId, batch: &mut Transaction) -> Arc<Topic> {
    let Planned { new, config } = planned;
    let count = usize::try_from(new.partitions).unwrap_or_default();
    let epochs = vec![LeaderEpoch(0); count];
    let record = TopicRecord {
        id,
        is_mirror: new.is_mirror,
        leader_epochs: epochs.clone(),
    };
    batch.expect::<TopicKeyspace>(&new.name, Version::ABSENT);
    batch.put::<TopicKeyspace>(&new.name, &record);
    batch.delete::<RetiredTopicKeyspace>(&new.name);
    if !new.configs.is_empty() {
        batch.put::<TopicConfigKeyspace>(&new.name, &new.configs);
    }
    let topic = Topic::new(new.name, id, epochs, new.configs, config, new.is_mirror);
    Arc::new(topic)
}

fn check_values(new: &NewTopic) -> Result<(), TopicError> {
    if new.name.is_prohibited() || (new.is_mirror && new.name.is_internal()) {
        return Err(TopicError::Internal(new.name.to_string()));
    }
    check_count(new.partitions)?;
    if new.is_mirror {
        return Ok(());
    }
    check_overrides(&new.configs)
}

//! Creation of topics: any number in one write.
//!
//! Order: names, counts and configs are checked · logs are opened, on several threads · the data
//! folder is synced · one RocksDB batch · the catalog shows them. A refused topic leaves nothing
//! behind. Other changes wait only for the last two.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName, TopicPartition};
use carrick_storage::log::LogError;

use super::catalog::{Catalog, NewTopic, check_count, check_overrides, supported};
use super::index::{collision, folded};
use super::{Topic, TopicConfig, TopicError};
use crate::clock;
use crate::config::Values;
use crate::metadata::Transaction;
use crate::parallel;
use crate::partition::{Opening, Partition};
use crate::records::retired_topic::RetiredTopicKeyspace;
use crate::records::topic::{TopicKeyspace, TopicRecord};
use crate::records::topic_config::TopicConfigKeyspace;

/// Threads that open the logs of new partitions: each waits for the disk most of the time.
const OPEN_THREADS: usize = 8;

/// The outcome for each of several topics, in order.
pub type EachTopic = Vec<Result<Arc<Topic>, TopicError>>;

/// A topic that nothing speaks against, its logs not yet opened.
struct Planned {
    new: NewTopic,
    config: Arc<TopicConfig>,
}

/// A planned topic and its logs, or the reason why there is none.
type Opened = Result<(Planned, Vec<Arc<Partition>>), TopicError>;

impl Catalog {
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
        let mut logs = self.open_planned(&planned).into_iter();
        let opened = planned.into_iter().map(|planned| {
            let planned = planned?;
            let partitions = logs.next().unwrap_or_else(|| Ok(Vec::new()))?;
            Ok((planned, partitions))
        });
        let opened = opened.collect();
        self.show_new(opened, extras, &values)
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

    /// Opens the logs of all topics that are planned, in their order.
    fn open_planned(
        &self,
        planned: &[Result<Planned, TopicError>],
    ) -> Vec<Result<Vec<Arc<Partition>>, TopicError>> {
        let planned: Vec<&Planned> = planned.iter().flatten().collect();
        parallel::each(OPEN_THREADS, &planned, |Planned { new, config }| {
            self.open_logs(&new.name, 0..new.partitions, config, new.is_mirror)
        })
    }

    /// Stores and shows topics whose logs were opened while the broker's properties were `values`.
    fn show_new(
        &self,
        opened: Vec<Opened>,
        extras: Vec<Transaction>,
        values: &Arc<Values>,
    ) -> Result<EachTopic, TopicError> {
        let _one_at_a_time = self.changes.lock();
        let now = self.properties.values();
        let mut batch = Transaction::new();
        let mut ids = HashSet::new();
        let mut outcomes: EachTopic = Vec::with_capacity(opened.len());
        for (opened, extra) in opened.into_iter().zip(extras) {
            let topic = opened.map(|(mut planned, partitions)| {
                if !Arc::ptr_eq(&now, values) {
                    planned.config = Arc::new(TopicConfig::resolve(&planned.new.configs, &now));
                    for partition in &partitions {
                        partition.set_config(&planned.config);
                    }
                }
                let is_free = |id: &TopicId| self.by_id(*id).is_none() && ids.insert(*id);
                let id = planned.new.id.filter(is_free);
                new_topic(
                    planned,
                    id.unwrap_or_else(TopicId::random),
                    partitions,
                    &mut batch,
                )
            });
            if topic.is_ok() {
                batch.append(extra);
            }
            outcomes.push(topic);
        }
        self.persist(outcomes.iter().flatten(), batch)?;
        Ok(outcomes)
    }

    fn persist<'a>(
        &self,
        created: impl Iterator<Item = &'a Arc<Topic>> + Clone,
        batch: Transaction,
    ) -> Result<(), TopicError> {
        if created.clone().next().is_none() {
            return Ok(());
        }
        if let Err(error) = self.metadata.commit(batch) {
            for topic in created {
                let partitions = topic.partitions().to_vec();
                self.undo(topic.name(), all_of(&partitions), partitions);
            }
            return Err(error.into());
        }
        let mut topics = self.topics.write();
        self.images.put(created.clone());
        for topic in created {
            let (name, id, mirror) = (topic.name(), topic.id(), topic.is_mirror());
            let count = topic.partitions().len();
            tracing::info!(topic = %name, %id, partitions = count, mirror, "created");
            topics.insert(Arc::clone(topic));
        }
        Ok(())
    }

    /// Opens the logs of new partitions, all or none; what is left of an earlier topic of that name
    /// goes first. The folders are on the disk then: RocksDB may name them, and one that is missing
    /// at a start was taken away.
    pub(super) fn open_logs(
        &self,
        topic: &TopicName,
        numbers: std::ops::Range<i32>,
        config: &Arc<TopicConfig>,
        is_mirror: bool,
    ) -> Result<Vec<Arc<Partition>>, TopicError> {
        let ids: Vec<_> = numbers
            .clone()
            .map(|number| TopicPartition::new(topic.clone(), number))
            .collect();
        self.put_away(&ids)?;
        let mut partitions = Vec::with_capacity(ids.len());
        for id in ids {
            match self.open_partition(id, config, is_mirror) {
                Ok(partition) => partitions.push(partition),
                Err(error) => {
                    self.undo(topic, numbers, partitions);
                    return Err(error.into());
                }
            }
        }
        if let Err(error) = self.data_dir.sync() {
            self.undo(topic, numbers, partitions);
            return Err(error.into());
        }
        Ok(partitions)
    }

    fn open_partition(
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

/// The numbers of these partitions, which are all of a topic.
fn all_of(partitions: &[Arc<Partition>]) -> std::ops::Range<i32> {
    0..i32::try_from(partitions.len()).unwrap_or(i32::MAX)
}

/// The topic with its logs, and its RocksDB record.
fn new_topic(
    planned: Planned,
    id: TopicId,
    partitions: Vec<Arc<Partition>>,
    batch: &mut Transaction,
) -> Arc<Topic> {
    let Planned { new, config } = planned;
    let record = TopicRecord {
        id,
        is_mirror: new.is_mirror,
        leader_epochs: vec![LeaderEpoch(0); partitions.len()],
    };
    batch.put::<TopicKeyspace>(&new.name, &record);
    batch.delete::<RetiredTopicKeyspace>(&new.name);
    if !new.configs.is_empty() {
        batch.put::<TopicConfigKeyspace>(&new.name, &new.configs);
    }
    let topic = Topic::new(new.name, id, partitions, new.configs, config, new.is_mirror);
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

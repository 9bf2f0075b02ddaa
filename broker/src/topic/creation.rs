//! Topics come: any number in one write.
//!
//! Order: names, counts and configs are checked · logs are opened, on several threads · the data
//! folder is synced · one RocksDB batch · the catalog shows them. What is refused leaves nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName, TopicPartition};
use carrick_storage::disk::fsync_dir;
use carrick_storage::meta::MetaBatch;

use super::catalog::{Catalog, NewTopic, check_count, check_overrides, remove, supported};
use super::{Topic, TopicConfig, TopicError};
use crate::clock;
use crate::parallel;
use crate::partition::{Opening, Partition};
use crate::records::topic::{TopicKeyspace, TopicRecord};
use crate::records::topic_config::TopicConfigKeyspace;

/// Threads that open the logs of new partitions: each waits for the disk most of the time.
const OPEN_THREADS: usize = 8;

/// What became of each of several topics, in their order.
pub type EachTopic = Vec<Result<Arc<Topic>, TopicError>>;

/// A topic that nothing speaks against, its logs not yet opened.
struct Planned {
    name: TopicName,
    id: TopicId,
    partitions: i32,
    overrides: BTreeMap<String, String>,
    config: Arc<TopicConfig>,
    is_mirror: bool,
}

impl Catalog {
    /// Checks what `create` would check, and changes nothing.
    ///
    /// # Errors
    /// As `create`, but for the disk's.
    pub fn check_new(&self, new: &NewTopic) -> Result<(), TopicError> {
        self.names().check(&new.name)?;
        check_values(new)
    }

    /// Creates a topic and its logs; `extra` is written in the same RocksDB batch. Blocks on disk.
    ///
    /// # Errors
    /// Nothing is left of the topic.
    pub fn create(&self, new: NewTopic, extra: MetaBatch) -> Result<Arc<Topic>, TopicError> {
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
    pub fn create_all(&self, new: Vec<(NewTopic, MetaBatch)>) -> Result<EachTopic, TopicError> {
        let _one_at_a_time = self.changes.lock();
        let (new, extras): (Vec<NewTopic>, Vec<MetaBatch>) = new.into_iter().unzip();
        let planned = self.plan(new);
        let mut opened = self.open_planned(&planned).into_iter();
        let mut batch = MetaBatch::new();
        let mut outcomes: EachTopic = Vec::with_capacity(planned.len());
        for (plan, extra) in planned.into_iter().zip(extras) {
            let topic = plan.and_then(|plan| {
                let partitions = opened.next().unwrap_or_else(|| Ok(Vec::new()))?;
                Ok(new_topic(plan, partitions, &mut batch))
            });
            if topic.is_ok() {
                batch.append(extra);
            }
            outcomes.push(topic);
        }
        let created: Vec<Arc<Topic>> = outcomes.iter().flatten().cloned().collect();
        self.persist(&created, batch)?;
        Ok(outcomes)
    }

    fn names(&self) -> Names {
        Names::of(self.list().iter().map(|topic| topic.name().clone()))
    }

    fn persist(&self, created: &[Arc<Topic>], batch: MetaBatch) -> Result<(), TopicError> {
        if created.is_empty() {
            return Ok(());
        }
        // Before RocksDB names them: a folder that is missing at a start was taken away.
        let synced = fsync_dir(self.data_dir.path()).map_err(TopicError::from);
        let stored = synced.and_then(|()| Ok(self.meta.commit(batch)?));
        if let Err(error) = stored {
            for topic in created {
                self.remove_logs(&topic.partitions());
            }
            return Err(error);
        }
        let mut topics = self.topics.write();
        for topic in created {
            let (name, id, mirror) = (topic.name(), topic.id(), topic.is_mirror());
            let count = topic.partitions().len();
            tracing::info!(topic = %name, %id, partitions = count, mirror, "created");
            topics.insert(Arc::clone(topic));
        }
        drop(topics);
        self.images.changed();
        Ok(())
    }

    /// What nothing speaks against; names and ids of one call don't collide either.
    fn plan(&self, new: Vec<NewTopic>) -> Vec<Result<Planned, TopicError>> {
        let mut names = self.names();
        let mut ids = HashSet::new();
        let values = self.brokers.values();
        let plan = |new: NewTopic| {
            names.check(&new.name)?;
            check_values(&new)?;
            let overrides = match new.is_mirror {
                true => supported(new.name.as_str(), new.configs),
                false => new.configs,
            };
            names.add(new.name.clone());
            let is_free = |id: &TopicId| self.by_id(*id).is_none() && ids.insert(*id);
            Ok(Planned {
                id: new.id.filter(is_free).unwrap_or_else(TopicId::random),
                config: Arc::new(TopicConfig::resolve(&overrides, &values)),
                name: new.name,
                partitions: new.partitions,
                overrides,
                is_mirror: new.is_mirror,
            })
        };
        new.into_iter().map(plan).collect()
    }

    /// Opens the logs of all topics that are planned, in their order.
    fn open_planned(
        &self,
        planned: &[Result<Planned, TopicError>],
    ) -> Vec<Result<Vec<Arc<Partition>>, TopicError>> {
        let planned: Vec<&Planned> = planned.iter().flatten().collect();
        parallel::each(OPEN_THREADS, &planned, |plan| {
            self.open_logs(&plan.name, 0..plan.partitions, &plan.config, plan.is_mirror)
        })
    }

    /// Opens the logs of new partitions, and syncs the folder they are in.
    pub(super) fn open_new(
        &self,
        topic: &TopicName,
        numbers: std::ops::Range<i32>,
        config: &Arc<TopicConfig>,
        is_mirror: bool,
    ) -> Result<Vec<Arc<Partition>>, TopicError> {
        let partitions = self.open_logs(topic, numbers, config, is_mirror)?;
        // Before RocksDB names them: a folder that is missing at a start was taken away.
        if let Err(error) = fsync_dir(self.data_dir.path()) {
            self.remove_logs(&partitions);
            return Err(error.into());
        }
        Ok(partitions)
    }

    /// Opens the logs of new partitions; what is left of an earlier topic of that name goes first.
    fn open_logs(
        &self,
        topic: &TopicName,
        numbers: std::ops::Range<i32>,
        config: &Arc<TopicConfig>,
        is_mirror: bool,
    ) -> Result<Vec<Arc<Partition>>, TopicError> {
        let mut partitions = Vec::new();
        for number in numbers {
            let id = TopicPartition::new(topic.clone(), number);
            match self.open_partition(id, config, is_mirror) {
                Ok(partition) => partitions.push(partition),
                Err(error) => {
                    self.remove_logs(&partitions);
                    return Err(error);
                }
            }
        }
        Ok(partitions)
    }

    fn open_partition(
        &self,
        id: TopicPartition,
        config: &Arc<TopicConfig>,
        is_mirror: bool,
    ) -> Result<Arc<Partition>, TopicError> {
        remove(self.data_dir.retire(&id)?);
        let dir = self.data_dir.partition_dir(&id);
        let opened = Partition::open(Opening {
            id: id.clone(),
            dir: &dir,
            config: Arc::clone(config),
            leader_epoch: LeaderEpoch(0),
            is_mirror,
            flusher: Arc::clone(&self.flusher),
            now_ms: clock::now_ms(),
        });
        match opened {
            Ok((partition, _)) => Ok(partition),
            Err(error) => {
                // Half of it may be there. What cannot be removed now goes before the next topic
                // of that name.
                if let Ok(retired) = self.data_dir.retire(&id) {
                    remove(retired);
                }
                Err(error.into())
            }
        }
    }
}

/// The topic with its logs, and what RocksDB is to hold of it.
fn new_topic(plan: Planned, partitions: Vec<Arc<Partition>>, batch: &mut MetaBatch) -> Arc<Topic> {
    let record = TopicRecord {
        id: plan.id,
        is_mirror: plan.is_mirror,
        leader_epochs: vec![LeaderEpoch(0); partitions.len()],
    };
    batch.put::<TopicKeyspace>(&plan.name, &record);
    if !plan.overrides.is_empty() {
        batch.put::<TopicConfigKeyspace>(&plan.name, &plan.overrides);
    }
    Arc::new(Topic::new(
        plan.name,
        plan.id,
        partitions,
        plan.overrides,
        plan.config,
        plan.is_mirror,
    ))
}

/// The names that are taken, by what Kafka makes of them in metrics: `.` and `_` are the same there.
struct Names(HashMap<String, TopicName>);

impl Names {
    fn of(names: impl Iterator<Item = TopicName>) -> Self {
        Self(names.map(|name| (folded(&name), name)).collect())
    }

    fn check(&self, name: &TopicName) -> Result<(), TopicError> {
        match self.0.get(&folded(name)) {
            None => Ok(()),
            Some(existing) if existing == name => Err(TopicError::Exists(name.to_string())),
            Some(existing) => Err(TopicError::Collides {
                name: name.to_string(),
                existing: existing.to_string(),
            }),
        }
    }

    fn add(&mut self, name: TopicName) {
        self.0.insert(folded(&name), name);
    }
}

fn folded(name: &TopicName) -> String {
    name.as_str().replace('.', "_")
}

fn check_values(new: &NewTopic) -> Result<(), TopicError> {
    check_count(new.partitions)?;
    if new.is_mirror {
        return Ok(());
    }
    check_overrides(&new.configs)
}

//! This cluster, in memory: every port but the clock.

mod acls;
mod groups;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::batch::{BatchHeader, CheckedBatches};
use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId, TopicName, TopicPartition};
use parking_lot::Mutex;

use crate::cut::{CutOrder, PartitionCut};
use crate::groups::GroupSync;
use crate::ports::{
    CatalogError, Lease, LocalBatches, LocalEnds, MirrorPartition, MirrorTarget, Obstacle,
    StoreError, TargetError, TopicAnswer, TopicCatalog, TopicCut,
};
use crate::record::{
    LinkName, LinkRecord, MirrorRecord, MirrorTopicSpec, NewMirrorTopic, SourceSight,
};
use crate::report::RpoReport;
use crate::state::{MirrorError, MirrorStatus};

/// Configs whose names begin so are unknown here.
const UNKNOWN_CONFIGS: &str = "no.such.";

/// One stored batch.
#[derive(Debug, Clone)]
struct Stored {
    header: BatchHeader,
    bytes: Bytes,
}

/// One local partition.
#[derive(Debug, Default)]
struct Log {
    start: Offset,
    end: Offset,
    high_watermark: Offset,
    batches: Vec<Stored>,
    lease: u64,
    /// A cut has begun.
    is_fenced: bool,
    /// The largest leader epoch in which the source was seen.
    source_epoch: i32,
    /// The leader epoch once it is writable.
    cut_epoch: Option<LeaderEpoch>,
}

#[derive(Debug, Default)]
struct Topic {
    partitions: Vec<Log>,
    configs: BTreeMap<String, String>,
    is_mirror: bool,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<TopicName, Topic>,
    links: BTreeMap<LinkName, LinkRecord>,
    mirrors: BTreeMap<TopicName, MirrorRecord>,
    reports: BTreeMap<TopicName, RpoReport>,
    sights: BTreeMap<TopicName, SourceSight>,
    groups: BTreeMap<GroupId, groups::Group>,
    syncs: BTreeMap<(LinkName, String), GroupSync>,
    acls: acls::Acls,
    /// Appends fail with this.
    append_error: Option<TargetError>,
    /// The next cuts fail with this, once everything is fenced.
    cut_error: Option<CatalogError>,
    /// Cuts of these topics are refused with this, once their partitions are fenced.
    refused_cuts: BTreeMap<TopicName, CatalogError>,
    /// Partitions that can't be written.
    obstacles: BTreeMap<TopicPartition, Obstacle>,
    appends: u64,
    /// Nothing can be stored but mirrored data: links and mirrors stay as they are.
    store_error: Option<StoreError>,
    /// Every status that was ever stored.
    history: Vec<(TopicName, MirrorStatus)>,
}

/// This cluster. Clones share everything; what is in it survives a link manager, as a disk does.
#[derive(Debug, Clone, Default)]
pub struct FakeHere {
    state: Arc<Mutex<State>>,
    before_save: Arc<Mutex<Option<store::Act>>>,
}

impl FakeHere {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// An ordinary topic.
    pub fn add_topic(&self, topic: &str, partitions: i32) {
        let mut state = self.state.lock();
        let topic = state
            .topics
            .entry(TopicName::new(topic).unwrap())
            .or_default();
        topic
            .partitions
            .resize_with(usize::try_from(partitions).unwrap(), Log::default);
    }

    /// An active mirror of one partition, under its source's name.
    pub fn add_mirror(&self, topic: TopicName, link: LinkName) -> TopicPartition {
        let spec = MirrorTopicSpec {
            topic: topic.clone(),
            source_topic_id: TopicId::ZERO,
            partitions: 1,
            configs: Vec::new(),
            own_configs: Vec::new(),
        };
        let record = MirrorRecord {
            topic: topic.clone(),
            link,
            source_topic: topic.clone(),
            source_topic_id: TopicId::ZERO,
            partitions: 1,
            status: MirrorStatus::Active,
            status_since_ms: 0,
            error: MirrorError::NoError,
            error_detail: String::new(),
            pending_cut: None,
            start_offsets: Vec::new(),
            created_ms: 0,
        };
        let created = self.create_mirrors(&[NewMirrorTopic { spec, record }]);
        created.unwrap().remove(0).unwrap();
        TopicPartition::new(topic, 0)
    }

    /// Every stored byte of a partition, in order.
    pub fn bytes(&self, topic: &str, partition: i32) -> Bytes {
        self.with(topic, partition, |log| {
            let parts: Vec<Bytes> = log
                .batches
                .iter()
                .map(|batch| batch.bytes.clone())
                .collect();
            parts.concat().into()
        })
    }

    /// Log start, end, high watermark.
    pub fn offsets(&self, topic: &str, partition: i32) -> (i64, i64, i64) {
        self.with(topic, partition, |log| {
            (log.start.0, log.end.0, log.high_watermark.0)
        })
    }

    /// The leader epoch of a partition that has been made writable.
    pub fn cut_epoch(&self, topic: &str, partition: i32) -> Option<LeaderEpoch> {
        self.with(topic, partition, |log| log.cut_epoch)
    }

    /// The leader epoch that consumers see for a partition.
    pub fn leader_epoch(&self, topic: &str, partition: i32) -> LeaderEpoch {
        self.with(topic, partition, |log| {
            let last = log.batches.last();
            let in_log = last.map_or(0, |batch| batch.header.leader_epoch.0);
            LeaderEpoch(in_log.max(log.source_epoch))
        })
    }

    /// Turns a bit of the last stored batch.
    pub fn damage(&self, topic: &str, partition: i32) {
        self.with(topic, partition, |log| {
            if let Some(last) = log.batches.last_mut() {
                last.bytes = super::batches::damaged(&last.bytes);
            }
        });
    }

    /// A topic's configs.
    pub fn configs_of(&self, topic: &str) -> BTreeMap<String, String> {
        self.state.lock().topics[topic].configs.clone()
    }

    /// A mirror as stored.
    pub fn stored_mirror(&self, topic: &str) -> Option<MirrorRecord> {
        self.state.lock().mirrors.get(topic).cloned()
    }

    /// Appends fail with this from now on, or go through again.
    pub fn fail_appends(&self, error: Option<TargetError>) {
        self.state.lock().append_error = error;
    }

    /// What is stored of links and mirrors can't be changed from now on, or can be again.
    pub fn fail_stores(&self, error: Option<StoreError>) {
        self.state.lock().store_error = error;
    }

    /// Every status that was ever stored of a topic's mirror, in order.
    pub fn stored_statuses(&self, topic: &str) -> Vec<MirrorStatus> {
        let state = self.state.lock();
        let of = state
            .history
            .iter()
            .filter(|(name, _)| name.as_str() == topic);
        of.map(|(_, status)| *status).collect()
    }

    /// Cuts fail with this from now on when all but the last write is done, or go through again.
    pub fn fail_cuts(&self, error: Option<CatalogError>) {
        self.state.lock().cut_error = error;
    }

    /// What doesn't survive the process is gone: leases and fences.
    pub fn restarted(&self) {
        let mut state = self.state.lock();
        for topic in state.topics.values_mut() {
            for log in &mut topic.partitions {
                log.lease = 0;
                log.is_fenced = false;
            }
        }
    }

    /// Removes a topic, and its mirror's record with it.
    pub fn delete_topic(&self, topic: &str) {
        let mut state = self.state.lock();
        state.topics.remove(topic);
        state.mirrors.remove(topic);
        state.reports.remove(topic);
        state.sights.remove(topic);
    }

    /// The topic is no mirror any more.
    pub fn make_ordinary(&self, topic: &str) {
        let mut state = self.state.lock();
        state
            .topics
            .get_mut(topic)
            .expect("the topic exists")
            .is_mirror = false;
        state.sights.remove(topic);
    }

    /// How many appends there were.
    pub fn appends(&self) -> u64 {
        self.state.lock().appends
    }

    fn with<T>(&self, topic: &str, partition: i32, act: impl FnOnce(&mut Log) -> T) -> T {
        let mut state = self.state.lock();
        let topic = state.topics.get_mut(topic).expect("the topic exists");
        act(&mut topic.partitions[usize::try_from(partition).unwrap()])
    }
}

impl State {
    fn log(&mut self, key: &TopicPartition) -> Result<&mut Log, TargetError> {
        let index = usize::try_from(key.partition).map_err(|_| TargetError::NoSuchPartition)?;
        self.topics
            .get_mut(&key.topic)
            .and_then(|topic| topic.partitions.get_mut(index))
            .ok_or(TargetError::NoSuchPartition)
    }
}

impl State {
    /// Whether what is stored of links and mirrors may be changed.
    fn can_store(&self) -> Result<(), StoreError> {
        self.store_error.clone().map_or(Ok(()), Err)
    }

    /// Whether that mirror exists, and not another with its name.
    fn has_mirror(&self, record: &MirrorRecord) -> bool {
        let stored = self.mirrors.get(&record.topic);
        stored.is_some_and(|stored| stored.is_of_same(record))
    }

    fn put_mirror(&mut self, record: &MirrorRecord) {
        let topic = record.topic.clone();
        self.history.push((topic.clone(), record.status));
        self.mirrors.insert(topic, record.clone());
    }

    fn create_mirror(&mut self, new: &NewMirrorTopic) -> Result<(), CatalogError> {
        let NewMirrorTopic { spec, record } = new;
        if self.topics.contains_key(&spec.topic) {
            return Err(CatalogError::TopicExists(spec.topic.clone()));
        }
        let own = &spec.own_configs;
        if let Some((name, _)) = own
            .iter()
            .find(|(name, _)| name.starts_with(UNKNOWN_CONFIGS))
        {
            return Err(CatalogError::Invalid(format!("no config is named {name}")));
        }
        let mut topic = Topic {
            configs: spec.configs.iter().chain(own).cloned().collect(),
            is_mirror: true,
            ..Topic::default()
        };
        let partitions = usize::try_from(spec.partitions).unwrap();
        topic.partitions.resize_with(partitions, Log::default);
        self.topics.insert(spec.topic.clone(), topic);
        self.put_mirror(record);
        self.reports.remove(&spec.topic);
        self.sights.remove(&spec.topic);
        Ok(())
    }
}

impl State {
    /// All of a cut but its end.
    fn fence(&mut self, order: &CutOrder) -> Result<(), CatalogError> {
        let name = &order.record.topic;
        let is_there = self.has_mirror(&order.record);
        let topic = self
            .topics
            .get_mut(name)
            .filter(|_| is_there)
            .ok_or_else(|| CatalogError::NoSuchTopic(name.clone()))?;
        if topic.is_mirror {
            let report = self.reports.entry(name.clone());
            report.or_insert_with(|| order.report.clone());
        }
        for log in &mut topic.partitions {
            log.is_fenced = topic.is_mirror;
        }
        let refused = self.refused_cuts.get(name).filter(|_| !order.is_forced);
        refused.cloned().map_or(Ok(()), Err)
    }

    fn finish_cut(&mut self, order: &CutOrder) -> Vec<PartitionCut> {
        let name = &order.record.topic;
        self.put_mirror(&order.record);
        self.sights.remove(name);
        let topic = self.topics.get_mut(name).expect("it was fenced");
        if !std::mem::take(&mut topic.is_mirror) {
            return Vec::new();
        }
        let cuts = (0..).zip(&mut topic.partitions).map(|(partition, log)| {
            let last = log.batches.last();
            let last = last.map_or(LeaderEpoch(0), |it| it.header.leader_epoch);
            let last = last.0.max(log.source_epoch);
            let leader_epoch = *log.cut_epoch.get_or_insert(LeaderEpoch(last + 1));
            PartitionCut {
                partition: TopicPartition::new(name.clone(), partition),
                mirror_end: log.end,
                aborted_transactions: 0,
                leader_epoch,
            }
        });
        cuts.collect()
    }
}

fn not_stored(error: StoreError) -> CatalogError {
    CatalogError::Storage(error.0)
}

impl MirrorTarget for FakeHere {
    fn obstacles(&self, topic: &TopicName) -> Vec<(i32, Obstacle)> {
        let state = self.state.lock();
        let all = state.obstacles.iter();
        let of = all.filter(|(partition, _)| partition.topic == *topic);
        of.map(|(partition, obstacle)| (partition.partition, obstacle.clone()))
            .collect()
    }

    fn open(
        &self,
        partition: &TopicPartition,
        lease: &Lease,
    ) -> Result<Box<dyn MirrorPartition>, TargetError> {
        let mut state = self.state.lock();
        state.log(partition)?;
        if !state.topics[&partition.topic].is_mirror {
            return Err(TargetError::NotAMirror);
        }
        let owner = state
            .mirrors
            .get(&partition.topic)
            .map(|mirror| mirror.link.clone());
        match owner {
            Some(owner) if owner != lease.link => return Err(TargetError::WrongLink(owner)),
            Some(_) => {}
            None => return Err(TargetError::NotAMirror),
        }
        let log = state.log(partition)?;
        if log.is_fenced || lease.epoch < log.lease {
            return Err(TargetError::Fenced);
        }
        log.lease = lease.epoch;
        Ok(Box::new(Door {
            state: Arc::clone(&self.state),
            partition: partition.clone(),
            lease: lease.epoch,
        }))
    }
}

struct Door {
    state: Arc<Mutex<State>>,
    partition: TopicPartition,
    lease: u64,
}

impl Door {
    fn look<T>(&self, act: impl FnOnce(&Log) -> T) -> T {
        let mut state = self.state.lock();
        act(state
            .log(&self.partition)
            .expect("an open partition is not deleted in these tests"))
    }

    fn change<T>(&self, act: impl FnOnce(&mut Log) -> T) -> Result<T, TargetError> {
        let mut state = self.state.lock();
        let is_mirror = state
            .topics
            .get(&self.partition.topic)
            .is_some_and(|it| it.is_mirror);
        let log = state.log(&self.partition)?;
        if !is_mirror || log.is_fenced || log.lease != self.lease {
            return Err(TargetError::Fenced);
        }
        Ok(act(log))
    }
}

impl MirrorPartition for Door {
    fn next_offset(&self) -> Offset {
        self.look(|log| log.end)
    }

    fn log_start(&self) -> Offset {
        self.look(|log| log.start)
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.look(|log| log.batches.last().map(|batch| batch.header.leader_epoch))
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.look(|log| log.epoch_end(epoch))
    }

    fn append(
        &mut self,
        batches: CheckedBatches,
        source_high_watermark: Offset,
    ) -> Result<Offset, TargetError> {
        if let Some(error) = self.state.lock().append_error.clone() {
            return Err(error);
        }
        let appended = self.change(|log| log.append(&batches, source_high_watermark))?;
        self.state.lock().appends += 1;
        appended
    }

    fn observe_source(&mut self, high_watermark: Offset) -> Result<(), TargetError> {
        self.change(|log| log.high_watermark = log.high_watermark.max(high_watermark.min(log.end)))
    }

    fn skip_to(&mut self, end: Offset) -> Result<(), TargetError> {
        self.change(|log| log.end = log.end.max(end))
    }

    fn trim_to(&mut self, log_start: Offset) -> Result<(), TargetError> {
        self.change(|log| {
            if log_start > log.end {
                return Err(TargetError::NonMonotonic {
                    offset: log_start,
                    bound: log.end,
                });
            }
            log.start = log.start.max(log_start);
            log.high_watermark = log.high_watermark.max(log.start);
            let start = log.start;
            log.batches
                .retain(|batch| batch.header.next_offset() > start);
            Ok(())
        })?
    }

    fn truncate_to(&mut self, end: Offset) -> Result<(), TargetError> {
        self.change(|log| log.truncate_to(end))
    }
}

impl Log {
    fn append(
        &mut self,
        run: &CheckedBatches,
        high_watermark: Offset,
    ) -> Result<Offset, TargetError> {
        let (begin, end) = (run.first().base_offset, run.last().next_offset());
        if begin < self.end {
            return Err(TargetError::NonMonotonic {
                offset: begin,
                bound: self.end,
            });
        }
        self.batches.extend(run.iter().map(|batch| Stored {
            header: batch.header,
            bytes: batch.slice_of(run.bytes()),
        }));
        self.end = end;
        self.high_watermark = self.high_watermark.max(high_watermark.min(end));
        Ok(end)
    }

    fn truncate_to(&mut self, end: Offset) {
        if end >= self.end {
            return;
        }
        if end <= self.start {
            self.batches.clear();
            self.start = end;
            self.end = end;
        } else {
            let held = self
                .batches
                .iter()
                .find(|batch| batch.header.next_offset() > end);
            // A gap before the end stays one; a batch that holds the end goes whole.
            let cut = held.map_or(end, |batch| batch.header.base_offset.min(end));
            self.batches
                .retain(|batch| batch.header.next_offset() <= end);
            self.end = cut;
        }
        self.high_watermark = self.high_watermark.min(self.end);
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let found = self
            .batches
            .iter()
            .map(|batch| batch.header.leader_epoch)
            .filter(|stored| *stored <= epoch)
            .max()?;
        let after = self
            .batches
            .iter()
            .find(|batch| batch.header.leader_epoch > found);
        Some((
            found,
            after.map_or(self.end, |batch| batch.header.base_offset),
        ))
    }
}

impl LocalBatches for FakeHere {
    fn ends(&self, partition: &TopicPartition) -> Result<LocalEnds, TargetError> {
        let mut state = self.state.lock();
        let log = state.log(partition)?;
        Ok(LocalEnds {
            log_start: log.start,
            end: log.end,
            high_watermark: log.high_watermark,
            last_timestamp_ms: log
                .batches
                .last()
                .map(|batch| batch.header.max_timestamp_ms),
            open_transactions: 0,
        })
    }

    fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Bytes, TargetError> {
        let mut state = self.state.lock();
        let log = state.log(partition)?;
        if from < log.start {
            return Err(TargetError::NonMonotonic {
                offset: from,
                bound: log.start,
            });
        }
        let mut run = Vec::new();
        for batch in log
            .batches
            .iter()
            .filter(|batch| batch.header.next_offset() > from)
        {
            if !run.is_empty() && run.len() + batch.bytes.len() > max_bytes {
                break;
            }
            run.extend_from_slice(&batch.bytes);
        }
        Ok(run.into())
    }
}

impl TopicCatalog for FakeHere {
    fn partitions(&self, topic: &TopicName) -> Option<i32> {
        let state = self.state.lock();
        let topic = state.topics.get(topic)?;
        i32::try_from(topic.partitions.len()).ok()
    }

    fn create_mirrors(&self, new: &[NewMirrorTopic]) -> Result<Vec<TopicAnswer>, CatalogError> {
        let mut state = self.state.lock();
        state.can_store().map_err(not_stored)?;
        Ok(new.iter().map(|new| state.create_mirror(new)).collect())
    }

    fn add_partitions(&self, record: &MirrorRecord, count: i32) -> Result<(), CatalogError> {
        let mut state = self.state.lock();
        let name = &record.topic;
        state.can_store().map_err(not_stored)?;
        let is_there = state.has_mirror(record);
        let topic = state
            .topics
            .get_mut(name)
            .filter(|_| is_there)
            .ok_or_else(|| CatalogError::NoSuchTopic(name.clone()))?;
        let count = usize::try_from(count).unwrap().max(topic.partitions.len());
        topic.partitions.resize_with(count, Log::default);
        state.put_mirror(record);
        Ok(())
    }

    fn set_configs(
        &self,
        topic: &TopicName,
        configs: &[(String, Option<String>)],
    ) -> Result<(), CatalogError> {
        let mut state = self.state.lock();
        let found = state
            .topics
            .get_mut(topic)
            .ok_or_else(|| CatalogError::NoSuchTopic(topic.clone()))?;
        for (name, value) in configs {
            match value {
                Some(value) => found.configs.insert(name.clone(), value.clone()),
                None => found.configs.remove(name),
            };
        }
        Ok(())
    }

    fn default_config(&self, name: &str) -> Option<String> {
        let value = match name {
            "cleanup.policy" => "delete",
            "max.message.bytes" => "1048588",
            "message.timestamp.type" => "CreateTime",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn configs(&self, topic: &TopicName) -> Result<Vec<(String, String)>, CatalogError> {
        let state = self.state.lock();
        let found = state
            .topics
            .get(topic)
            .ok_or_else(|| CatalogError::NoSuchTopic(topic.clone()))?;
        Ok(found.configs.clone().into_iter().collect())
    }

    fn raise_leader_epochs(
        &self,
        epochs: &[(TopicPartition, LeaderEpoch)],
    ) -> Result<(), CatalogError> {
        let mut state = self.state.lock();
        state.can_store().map_err(not_stored)?;
        for (partition, epoch) in epochs {
            let topic = state.topics.get(&partition.topic);
            if topic.is_some_and(|topic| topic.is_mirror)
                && let Ok(log) = state.log(partition)
            {
                log.source_epoch = log.source_epoch.max(epoch.0);
            }
        }
        Ok(())
    }

    fn cut_mirrors(&self, orders: &[CutOrder]) -> Result<Vec<TopicCut>, CatalogError> {
        let mut state = self.state.lock();
        state.can_store().map_err(not_stored)?;
        let fenced: Vec<Result<(), CatalogError>> =
            orders.iter().map(|order| state.fence(order)).collect();
        if let Some(error) = state.cut_error.clone() {
            return Err(error);
        }
        Ok(orders
            .iter()
            .zip(fenced)
            .map(|(order, fenced)| fenced.map(|()| state.finish_cut(order)))
            .collect())
    }
}

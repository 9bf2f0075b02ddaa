//! A source cluster in memory, with leaders that move, logs that are cut, and answers that are
//! wrong.

mod acls;
mod connection;
mod events;
mod groups;
mod path;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use carrick_protocol::batch::Batches;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{
    GroupId, LeaderEpoch, NodeId, Offset, TopicId, TopicName, TopicPartition,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::config::LinkConfig;
use crate::source::fetch::FetchLimits;
use crate::source::{
    BoxFuture, ClusterInfo, ClusterMetadata, EpochEnd, EpochQuery, FetchConnection, GroupCommits,
    GroupListing, ListedOffset, OffsetSpec, SourceBroker, SourceCluster, SourceError,
    SourcePartition, SourceTopic, TopicConfigEntry, TopicConfigs, TopicSelection,
};

/// What goes wrong once, with the next answer about a partition.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An error instead of records.
    Error(ErrorCode),
    /// A bit of the last batch is turned.
    Damaged,
    /// The last bytes are missing: this many.
    Short(usize),
    /// These bytes come instead.
    Instead(Bytes),
}

#[derive(Debug)]
struct Partition {
    leader: Option<NodeId>,
    leader_epoch: LeaderEpoch,
    start: Offset,
    end: Offset,
    /// What followers have; all of it if `None`.
    followers_end: Option<Offset>,
    batches: Vec<(Offset, Offset, LeaderEpoch, Bytes)>,
    faults: VecDeque<Fault>,
    is_damaged_at: Option<Offset>,
}

#[derive(Debug)]
struct Topic {
    id: TopicId,
    partitions: Vec<Partition>,
    configs: Vec<TopicConfigEntry>,
}

/// What the source was asked so far.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// DescribeCluster: availability checks.
    pub describes: u64,
    pub metadata: u64,
    /// DescribeConfigs.
    pub configs: u64,
    /// The connections for fetches that were opened: broker and lane.
    pub lanes: BTreeSet<(i32, u32)>,
    /// The limits of the last fetch, and of its first partition in bytes.
    pub limits: Option<(FetchLimits, Option<u32>)>,
    /// What the clients were made with that were connected with it, as set.
    pub clients: Vec<BTreeMap<String, String>>,
}

#[derive(Debug)]
struct State {
    asked: Asked,
    path: Option<path::Path>,
    /// The connections for fetches: to whom, and whether they are still open.
    open: Vec<(NodeId, Weak<()>)>,
    /// What the fetches under way ask for, bytes.
    asked_bytes: usize,
    /// How many connections for fetches each broker accepts.
    lanes_max: Option<usize>,
    cluster_id: Option<String>,
    brokers: Vec<NodeId>,
    topics: BTreeMap<TopicName, Topic>,
    groups: BTreeMap<GroupId, groups::Group>,
    acls: acls::Acls,
    is_down: bool,
    /// Whoever asks over a new connection is refused, and so often it was.
    refuses: bool,
    refusals: u64,
    /// Brokers that can't be reached.
    lost: Vec<NodeId>,
    /// Where brokers stand, and so whom a leader names to those who stand there.
    racks: BTreeMap<NodeId, String>,
    /// Bytes of records served, by broker.
    served_bytes: BTreeMap<NodeId, usize>,
    fetch_version: i16,
    /// Every answer to a fetch asks for so much patience.
    throttle_ms: i32,
    /// Connections of an older generation are closed.
    generation: u64,
    next_session: i32,
    fetches: u64,
}

/// The source. Clones share everything.
#[derive(Debug, Clone)]
pub struct FakeSource {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
    event: Arc<Mutex<Option<events::Event>>>,
}

impl FakeSource {
    /// Three brokers, 1 to 3, that speak Fetch 17.
    pub fn new() -> Self {
        let state = State {
            asked: Asked::default(),
            path: None,
            open: Vec::new(),
            asked_bytes: 0,
            lanes_max: None,
            cluster_id: Some("source-cluster".into()),
            brokers: vec![NodeId(1), NodeId(2), NodeId(3)],
            topics: BTreeMap::new(),
            acls: acls::Acls::default(),
            groups: BTreeMap::new(),
            is_down: false,
            refuses: false,
            refusals: 0,
            lost: Vec::new(),
            racks: BTreeMap::new(),
            served_bytes: BTreeMap::new(),
            fetch_version: 17,
            throttle_ms: 0,
            generation: 0,
            next_session: 1,
            fetches: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::new(watch::channel(0).0),
            event: Arc::default(),
        }
    }

    /// A topic, with leaders spread over the brokers, in leader epoch 0.
    pub fn add_topic(&self, name: &str, partitions: i32) {
        self.change(|state| {
            let topic = Topic {
                id: TopicId::random(),
                partitions: Vec::new(),
                configs: vec![entry("cleanup.policy", "delete", false)],
            };
            state.topics.insert(TopicName::new(name).unwrap(), topic);
            state.grow(name, partitions);
        });
    }

    /// The topic has no id, as at a source before Kafka 2.8.
    pub fn take_topic_id(&self, name: &str) {
        self.change(|state| {
            let topic = state.topics.get_mut(name).unwrap();
            topic.id = TopicId::ZERO;
        });
    }

    /// Whether there is a topic of that name.
    pub fn has_topic(&self, name: &str) -> bool {
        self.state.lock().topics.contains_key(name)
    }

    /// Where a partition ends.
    pub fn end(&self, topic: &str, partition: i32) -> i64 {
        self.on(topic, partition, |log| log.end.0)
    }

    /// The leader epoch of a partition.
    pub fn epoch(&self, topic: &str, partition: i32) -> i32 {
        self.on(topic, partition, |log| log.leader_epoch.0)
    }

    /// Removes a topic.
    pub fn delete_topic(&self, name: &str) {
        self.change(|state| state.topics.remove(name));
    }

    /// Gives a topic more partitions.
    pub fn grow_topic(&self, name: &str, partitions: i32) {
        self.change(|state| state.grow(name, partitions));
    }

    /// Sets a config on the topic itself.
    pub fn set_config(&self, topic: &str, name: &str, value: &str) {
        self.change(|state| {
            let configs = &mut state.topics.get_mut(topic).unwrap().configs;
            configs.retain(|entry| entry.name != name);
            configs.push(entry(name, value, true));
        });
    }

    /// Appends batches to a partition; they are committed at once. A batch of a later epoch makes
    /// it the leader's.
    pub fn append(&self, topic: &str, partition: i32, run: &Bytes) {
        self.on(topic, partition, |log| {
            for batch in Batches::new(run) {
                let batch = batch.unwrap();
                let header = batch.header;
                assert!(header.base_offset >= log.end, "batches only go up");
                log.end = header.next_offset();
                log.leader_epoch = log.leader_epoch.max(header.leader_epoch);
                let bytes = batch.slice_of(run);
                log.batches
                    .push((header.base_offset, log.end, header.leader_epoch, bytes));
            }
        });
    }

    /// Every byte that a partition holds.
    pub fn bytes(&self, topic: &str, partition: i32) -> Bytes {
        self.on(topic, partition, |log| {
            let parts: Vec<Bytes> = log.batches.iter().map(|batch| batch.3.clone()).collect();
            parts.concat().into()
        })
    }

    /// DeleteRecords: the log begins there.
    pub fn trim(&self, topic: &str, partition: i32, start: i64) {
        self.on(topic, partition, |log| {
            log.start = Offset(start);
            log.batches.retain(|(_, next, _, _)| *next > Offset(start));
        });
    }

    /// An unclean election: everything at and above `end` is lost, and there is a new epoch.
    pub fn truncate(&self, topic: &str, partition: i32, end: i64) {
        self.on(topic, partition, |log| {
            log.batches.retain(|(_, next, _, _)| *next <= Offset(end));
            log.end = Offset(end);
            log.leader_epoch = LeaderEpoch(log.leader_epoch.0 + 1);
        });
    }

    /// Compaction: batches that begin in the range are gone, the end stays.
    pub fn compact_away(&self, topic: &str, partition: i32, range: std::ops::Range<i64>) {
        self.on(topic, partition, |log| {
            log.batches
                .retain(|(base, _, _, _)| !range.contains(&base.0));
        });
    }

    /// Another broker leads, in the next epoch; `None` for nobody.
    pub fn lead(&self, topic: &str, partition: i32, leader: Option<i32>) {
        self.on(topic, partition, |log| {
            log.leader = leader.map(NodeId);
            log.leader_epoch = LeaderEpoch(log.leader_epoch.0 + 1);
        });
    }

    /// The next answers about a partition are wrong like this, one after the other.
    pub fn inject(&self, topic: &str, partition: i32, fault: Fault) {
        self.on(topic, partition, |log| log.faults.push_back(fault));
    }

    /// The batch at that offset is damaged for good.
    pub fn damage(&self, topic: &str, partition: i32, at: i64) {
        self.on(topic, partition, |log| log.is_damaged_at = Some(Offset(at)));
    }

    /// No broker can be reached, or all can again.
    pub fn set_down(&self, is_down: bool) {
        self.change(|state| {
            state.is_down = is_down;
            state.generation += 1;
        });
    }

    /// Refuses the link's credentials from now on, but for connections for fetching that are open; or no more.
    pub fn set_refusing(&self, refuses: bool) {
        self.change(|state| state.refuses = refuses);
    }

    /// How often the link was refused.
    pub fn refusals(&self) -> u64 {
        self.state.lock().refusals
    }

    /// The broker stands there: from then on leaders elsewhere name it to whoever stands there, too.
    pub fn set_rack(&self, broker: i32, rack: &str) {
        self.change(|state| state.racks.insert(NodeId(broker), rack.to_owned()));
    }

    /// Followers have a partition up to there only; `None`: all of it.
    pub fn hold_followers(&self, topic: &str, partition: i32, end: Option<i64>) {
        self.on(topic, partition, |log| log.followers_end = end.map(Offset));
    }

    /// One broker can't be reached, or can again. What it leads it still leads.
    pub fn set_lost(&self, broker: i32, is_lost: bool) {
        self.change(|state| {
            state.lost.retain(|lost| *lost != NodeId(broker));
            state.lost.extend(is_lost.then_some(NodeId(broker)));
        });
    }

    /// Bytes of records that a broker has served.
    pub fn served_bytes(&self, broker: i32) -> usize {
        let state = self.state.lock();
        state
            .served_bytes
            .get(&NodeId(broker))
            .copied()
            .unwrap_or(0)
    }

    /// Every connection is closed.
    pub fn cut_connections(&self) {
        self.change(|state| state.generation += 1);
    }

    /// It is another cluster now.
    pub fn set_cluster_id(&self, cluster_id: &str) {
        self.change(|state| state.cluster_id = Some(cluster_id.to_owned()));
    }

    /// Speaks no newer Fetch than that.
    pub fn set_fetch_version(&self, version: i16) {
        self.change(|state| {
            state.fetch_version = version;
            state.generation += 1;
        });
    }

    /// Answers to fetches ask for so much patience.
    pub fn set_throttle_ms(&self, throttle_ms: i32) {
        self.change(|state| state.throttle_ms = throttle_ms);
    }

    /// What was asked since the last call.
    pub fn take_asked(&self) -> Asked {
        std::mem::take(&mut self.state.lock().asked)
    }

    /// A client of these configs connects.
    pub(super) fn connected(&self, config: &LinkConfig) {
        let values = config.values().clone();
        self.state.lock().asked.clients.push(values);
    }

    /// How many fetches were answered.
    pub fn fetches(&self) -> u64 {
        self.state.lock().fetches
    }

    /// A topic's id.
    pub fn topic_id(&self, topic: &str) -> TopicId {
        self.state.lock().topics[topic].id
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let done = act(&mut self.state.lock());
        self.changed.send_modify(|count| *count += 1);
        done
    }

    fn on<T>(&self, topic: &str, partition: i32, act: impl FnOnce(&mut Partition) -> T) -> T {
        self.change(|state| {
            let topic = state.topics.get_mut(topic).expect("the topic exists");
            act(&mut topic.partitions[usize::try_from(partition).unwrap()])
        })
    }

    fn answer<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, SourceError> {
        let mut state = self.state.lock();
        if state.is_down {
            return Err(down());
        }
        if state.refuses {
            state.refusals += 1;
            let (peer, detail) = ("fake:9092".into(), "it refused user and password".into());
            return Err(SourceError::Authentication { peer, detail });
        }
        Ok(act(&mut state))
    }
}

impl Default for FakeSource {
    fn default() -> Self {
        Self::new()
    }
}

fn down() -> SourceError {
    SourceError::ConnectFailed {
        peer: "fake:9092".into(),
        detail: "connection refused".into(),
    }
}

fn entry(name: &str, value: &str, is_topic_level: bool) -> TopicConfigEntry {
    TopicConfigEntry {
        name: name.into(),
        value: Some(value.into()),
        is_topic_level,
        is_sensitive: false,
    }
}

impl State {
    fn grow(&mut self, topic: &str, count: i32) {
        let brokers = self.brokers.clone();
        let topic = self.topics.get_mut(topic).expect("the topic exists");
        while topic.partitions.len() < usize::try_from(count).unwrap() {
            topic.partitions.push(Partition {
                leader: Some(brokers[topic.partitions.len() % brokers.len()]),
                leader_epoch: LeaderEpoch(0),
                start: Offset(0),
                end: Offset(0),
                followers_end: None,
                batches: Vec::new(),
                faults: VecDeque::new(),
                is_damaged_at: None,
            });
        }
    }

    fn partition(&mut self, key: &TopicPartition) -> Option<&mut Partition> {
        let index = usize::try_from(key.partition).ok()?;
        self.topics.get_mut(&key.topic)?.partitions.get_mut(index)
    }

    fn cluster(&self) -> ClusterInfo {
        let broker = |id: &NodeId| SourceBroker {
            id: *id,
            host: "fake".into(),
            port: 9092,
            rack: None,
        };
        ClusterInfo {
            cluster_id: self.cluster_id.clone(),
            controller: self.brokers.first().copied(),
            brokers: self.brokers.iter().map(broker).collect(),
        }
    }

    fn describe(&self, name: &TopicName) -> SourceTopic {
        let Some(topic) = self.topics.get(name) else {
            return SourceTopic {
                name: name.clone(),
                id: TopicId::ZERO,
                error: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                is_internal: false,
                partitions: Vec::new(),
            };
        };
        let partitions = (0..)
            .zip(&topic.partitions)
            .map(|(partition, log)| SourcePartition {
                partition,
                error: match log.leader {
                    Some(_) => ErrorCode::NONE,
                    None => ErrorCode::LEADER_NOT_AVAILABLE,
                },
                leader: log.leader,
                leader_epoch: log.leader_epoch,
            });
        SourceTopic {
            name: name.clone(),
            id: topic.id,
            error: ErrorCode::NONE,
            is_internal: name.as_str() == "__consumer_offsets",
            partitions: partitions.collect(),
        }
    }
}

impl Partition {
    /// Where an epoch ends, as Kafka's `LeaderEpochFileCache` has it.
    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        if epoch >= self.leader_epoch {
            return (epoch == self.leader_epoch).then_some((epoch, self.end));
        }
        let epochs = self.batches.iter().map(|it| it.2);
        let found = epochs.filter(|it| *it <= epoch).max();
        let after = self.batches.iter().find(|it| it.2 > epoch);
        let end = after.map_or(self.end, |it| it.0.max(self.start));
        Some((found.unwrap_or(epoch), end))
    }

    /// The epoch of what is at that offset, or will be.
    fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        let holder = self.batches.iter().find(|it| it.1 > offset);
        holder.map_or(self.leader_epoch, |it| it.2)
    }

    /// Why a client with that leader epoch gets no answer.
    fn fences(&self, believed: LeaderEpoch) -> Option<ErrorCode> {
        if believed == LeaderEpoch::NONE {
            return None;
        }
        match believed.cmp(&self.leader_epoch) {
            Ordering::Less => Some(ErrorCode::FENCED_LEADER_EPOCH),
            Ordering::Greater => Some(ErrorCode::UNKNOWN_LEADER_EPOCH),
            Ordering::Equal => None,
        }
    }
}

impl SourceCluster for FakeSource {
    fn describe(&self) -> BoxFuture<'_, Result<ClusterInfo, SourceError>> {
        Box::pin(async move {
            self.state.lock().asked.describes += 1;
            self.travel().await;
            self.answer(|state| state.cluster())
        })
    }

    fn metadata(
        &self,
        topics: TopicSelection,
    ) -> BoxFuture<'_, Result<ClusterMetadata, SourceError>> {
        Box::pin(async move {
            self.asked();
            self.state.lock().asked.metadata += 1;
            self.answer(|state| {
                let names = match topics {
                    TopicSelection::All => state.topics.keys().cloned().collect(),
                    TopicSelection::Names(names) => names,
                };
                let topics = names.iter().map(|name| state.describe(name)).collect();
                ClusterMetadata {
                    cluster: state.cluster(),
                    topics,
                }
            })
        })
    }

    fn cached_topic(&self, topic: &TopicName) -> Option<Arc<SourceTopic>> {
        Some(Arc::new(self.state.lock().describe(topic)))
    }

    fn list_offsets(
        &self,
        queries: Vec<(TopicPartition, OffsetSpec)>,
    ) -> BoxFuture<'_, Result<Vec<ListedOffset>, SourceError>> {
        Box::pin(async move {
            self.asked();
            self.answer(|state| {
                let mut answers = Vec::with_capacity(queries.len());
                for (key, spec) in &queries {
                    let named = queries.iter().filter(|(other, _)| other == key).count();
                    let mut answer = listed(state, key.clone(), *spec);
                    if named > 1 {
                        answer.error = ErrorCode::INVALID_REQUEST;
                        answer.offset = None;
                    }
                    answers.push(answer);
                }
                answers
            })
        })
    }

    fn offsets_for_leader_epoch(
        &self,
        queries: Vec<EpochQuery>,
    ) -> BoxFuture<'_, Result<Vec<EpochEnd>, SourceError>> {
        Box::pin(async move {
            self.answer(|state| {
                let answer = |query: EpochQuery| {
                    let log = state.partition(&query.partition);
                    let (error, end) = match log {
                        None => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None),
                        Some(log) => match log.fences(query.current_leader_epoch) {
                            Some(error) => (error, None),
                            None => (ErrorCode::NONE, log.epoch_end(query.leader_epoch)),
                        },
                    };
                    EpochEnd {
                        partition: query.partition,
                        error,
                        end,
                    }
                };
                queries.into_iter().map(answer).collect()
            })
        })
    }

    fn topic_configs(
        &self,
        topics: Vec<TopicName>,
    ) -> BoxFuture<'_, Result<Vec<TopicConfigs>, SourceError>> {
        Box::pin(async move {
            self.state.lock().asked.configs += 1;
            self.answer(|state| {
                let answer = |topic: TopicName| {
                    let found = state.topics.get(&topic);
                    let error =
                        found.map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |_| ErrorCode::NONE);
                    let entries = found.map(|topic| topic.configs.clone()).unwrap_or_default();
                    TopicConfigs {
                        topic,
                        error,
                        error_message: None,
                        entries,
                    }
                };
                topics.into_iter().map(answer).collect()
            })
        })
    }

    fn acls(&self) -> BoxFuture<'_, acls::Answer> {
        Box::pin(async move { self.answer(acls::listed)? })
    }

    fn groups(&self) -> BoxFuture<'_, Result<GroupListing, SourceError>> {
        Box::pin(async move { self.answer(|state| groups::listed(state)) })
    }

    fn group_offsets(
        &self,
        groups: Vec<GroupId>,
    ) -> BoxFuture<'_, Result<Vec<GroupCommits>, SourceError>> {
        Box::pin(async move { self.answer(|state| groups::all_committed(state, &groups)) })
    }

    fn fetch_connection(
        &self,
        broker: NodeId,
        lane: u32,
    ) -> BoxFuture<'_, Result<Arc<dyn FetchConnection>, SourceError>> {
        Box::pin(async move {
            self.travel().await;
            self.answer(|state| {
                let is_further = state.lanes_max.is_some_and(|max| lane as usize >= max);
                if is_further {
                    return Err(down());
                }
                if !state.brokers.contains(&broker) {
                    return Err(SourceError::UnknownBroker(broker));
                }
                if state.lost.contains(&broker) {
                    return Err(down());
                }
                state.asked.lanes.insert((broker.0, lane));
                let version = state.fetch_version;
                let opened =
                    connection::Connection::new(self.clone(), broker, version, state.generation);
                state.open.push((broker, opened.token()));
                Ok(Arc::new(opened) as Arc<dyn FetchConnection>)
            })?
        })
    }
}

fn listed(state: &mut State, partition: TopicPartition, spec: OffsetSpec) -> ListedOffset {
    let mut answer = ListedOffset {
        partition,
        error: ErrorCode::NONE,
        offset: None,
        timestamp_ms: -1,
        leader_epoch: LeaderEpoch::NONE,
    };
    let Some(log) = state.partition(&answer.partition) else {
        answer.error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        return answer;
    };
    if log.leader.is_none() {
        answer.error = ErrorCode::LEADER_NOT_AVAILABLE;
        return answer;
    }
    answer.offset = match spec {
        OffsetSpec::Earliest => Some(log.start),
        OffsetSpec::Latest => Some(log.end),
        OffsetSpec::Timestamp(timestamp_ms) => {
            // Records of `testing::batches` are a millisecond apart.
            let first_ms = super::batches::FIRST_TIMESTAMP_MS;
            let offset = Offset(timestamp_ms - first_ms).max(log.start);
            let found = Some(offset).filter(|offset| *offset < log.end);
            answer.timestamp_ms = found.map_or(-1, |offset| first_ms + offset.0);
            found
        }
    };
    if let Some(offset) = answer.offset {
        answer.leader_epoch = log.epoch_at(offset);
    }
    answer
}

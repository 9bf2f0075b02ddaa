//! What runs for a link: replicators, and the fetchers that feed them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use carrick_protocol::ids::{LeaderEpoch, NodeId, Offset, TopicName, TopicPartition};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::closest::{Closest, Lead, ReadFrom};
use crate::backoff::Backoff;
use crate::config::LinkConfig;
use crate::fetcher::{self, Budget, FetcherHandle};
use crate::ports::Lease;
use crate::replicator::apply::{self, Machine};
use crate::replicator::lag::StatusCell;
use crate::replicator::task::{self, Leader, Message, Report};
use crate::shared::{LinkShared, Mirror};
use crate::source::fetch::FetchLimits;
use crate::source::{SourceCluster, SourceError};

/// A partition may have this many times its share of a request in flight.
const SHARES_IN_FLIGHT: usize = 4;

/// A link may have this many answers in flight per fetcher of a broker, and this many bytes at
/// least.
const ANSWERS_IN_FLIGHT: usize = 4;
const LINK_IN_FLIGHT_BYTES_MIN: usize = 128 << 20;

/// Grows with every lease of this process.
static NEXT_LEASE: AtomicU64 = AtomicU64::new(1);

struct Partition {
    source_partition: TopicPartition,
    messages: UnboundedSender<Message>,
    task: JoinHandle<()>,
    lead: Option<(Lead, ReadFrom)>,
}

/// Which fetcher it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FetcherKey {
    from: ReadFrom,
    lane: u32,
}

/// A mirror that is to run.
pub(crate) struct Wanted {
    topic: TopicName,
    source_topic: TopicName,
    statuses: Vec<StatusCell>,
    start_offsets: Vec<(i32, Offset)>,
    may_truncate: bool,
}

impl Wanted {
    pub(crate) fn of(mirror: &Mirror) -> Self {
        Self {
            topic: mirror.record.topic.clone(),
            source_topic: mirror.record.source_topic.clone(),
            statuses: mirror.statuses.clone(),
            start_offsets: mirror.record.start_offsets.clone(),
            may_truncate: mirror.may_truncate,
        }
    }
}

pub(crate) struct Running {
    shared: Arc<LinkShared>,
    config: Arc<LinkConfig>,
    source: Arc<dyn SourceCluster>,
    budget: Arc<Budget>,
    partitions: BTreeMap<TopicPartition, Partition>,
    fetchers: HashMap<FetcherKey, (FetcherHandle, JoinHandle<()>)>,
    closest: Closest,
    reports: UnboundedSender<Report>,
    trouble: UnboundedSender<(NodeId, SourceError)>,
}

impl Running {
    /// Nothing yet; the configs are the current ones.
    pub(crate) fn new(
        shared: Arc<LinkShared>,
        reports: UnboundedSender<Report>,
        trouble: UnboundedSender<(NodeId, SourceError)>,
    ) -> Self {
        let (config, source) = {
            let inner = shared.inner();
            (Arc::clone(&inner.config), Arc::clone(&inner.source))
        };
        shared.throttle.set_rate(config.throttle_bytes_per_second);
        let answers = ANSWERS_IN_FLIGHT * usize::try_from(config.fetchers_per_broker).unwrap_or(1);
        let answer_bytes = usize::try_from(config.fetch_response_max_bytes).unwrap_or(usize::MAX);
        let limit_bytes = answer_bytes
            .saturating_mul(answers)
            .max(LINK_IN_FLIGHT_BYTES_MIN);
        let closest = Closest::new(
            !config.client_rack.is_empty(),
            Duration::from_millis(config.metadata_max_age_ms),
        );
        Self {
            closest,
            shared,
            config,
            source,
            budget: Budget::new(limit_bytes),
            partitions: BTreeMap::new(),
            fetchers: HashMap::new(),
            reports,
            trouble,
        }
    }

    /// Starts wanted replicators that don't run, stops those that run and are not wanted, and waits until
    /// those have stopped.
    pub(crate) async fn reconcile(&mut self, wanted: &[Wanted]) {
        let mut missing: BTreeMap<TopicPartition, (&Wanted, &StatusCell)> = BTreeMap::new();
        for mirror in wanted {
            for (partition, status) in (0..).zip(&mirror.statuses) {
                let key = TopicPartition::new(mirror.topic.clone(), partition);
                missing.insert(key, (mirror, status));
            }
        }
        let mut ending = Vec::new();
        self.partitions.retain(|key, running| {
            let stays = missing.contains_key(key) && !running.task.is_finished();
            if stays {
                missing.remove(key);
            } else {
                let _ = running.messages.send(Message::Stop);
                ending.push(std::mem::replace(&mut running.task, tokio::spawn(async {})));
            }
            stays
        });
        for task in ending {
            let _ = task.await;
        }
        for (key, (mirror, status)) in missing {
            let partition = self.start(&key, mirror, status.clone());
            self.partitions.insert(key, partition);
        }
        self.drop_idle_fetchers();
    }

    fn start(&self, key: &TopicPartition, mirror: &Wanted, status: StatusCell) -> Partition {
        let (messages, receiver) = unbounded_channel();
        let source_partition = TopicPartition::new(mirror.source_topic.clone(), key.partition);
        let start_offset = mirror
            .start_offsets
            .iter()
            .find(|(partition, _)| *partition == key.partition)
            .map_or(Offset::ZERO, |(_, offset)| *offset);
        let setup = apply::Setup {
            partition: key.clone(),
            start_offset,
            max_bytes: self.config.fetch_max_bytes,
            may_truncate: mirror.may_truncate,
            backoff: self.backoff(),
            local: Arc::clone(&self.shared.ports.local),
            clock: Arc::clone(&self.shared.ports.clock),
            status: status.clone(),
        };
        let task = Opening {
            target: Arc::clone(&self.shared.ports.target),
            lease: Lease {
                link: self.shared.name.clone(),
                epoch: NEXT_LEASE.fetch_add(1, Ordering::Relaxed),
            },
            source: Arc::clone(&self.source),
            source_partition: source_partition.clone(),
            status,
            reports: self.reports.clone(),
            own: messages.clone(),
            setup,
        };
        let task = tokio::spawn(task.run(receiver));
        Partition {
            source_partition,
            messages,
            task,
            lead: None,
        }
    }

    /// Tells every partition its leader and the broker to read from, if either has changed.
    pub(crate) fn assign(&mut self, leads: &HashMap<TopicPartition, Lead>) {
        let now = Instant::now();
        let mut changed = Vec::new();
        for (key, running) in &mut self.partitions {
            let partition = &running.source_partition;
            let lead = leads
                .get(partition)
                .map(|lead| (*lead, self.closest.read_from(partition, *lead, now)));
            if lead != running.lead {
                running.lead = lead;
                changed.push((key.clone(), lead));
            }
        }
        for (key, lead) in changed {
            let leader = lead.map(|(lead, from)| Leader {
                node: lead.node,
                epoch: lead.epoch,
                topic_id: lead.topic_id,
                read_from: from.node,
                fetcher: self.fetcher(from, &key),
            });
            if let Some(running) = self.partitions.get(&key) {
                let _ = running.messages.send(Message::Lead(leader));
            }
        }
        self.drop_idle_fetchers();
    }

    /// The source wants a partition to be read elsewhere: at a replica nearby, or no longer at the follower that it
    /// is read at.
    pub(crate) fn redirect(
        &mut self,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        to: Option<NodeId>,
    ) {
        let now = Instant::now();
        match to {
            Some(follower) => self.closest.named(partition, epoch, follower, now),
            None => self.closest.left(&partition, now),
        }
    }

    /// A broker can't be reached: partitions that were read there as from a follower are read at their leaders.
    pub(crate) fn lost(&mut self, broker: NodeId, leads: &HashMap<TopicPartition, Lead>) {
        if self.closest.lost(broker, Instant::now()) {
            tracing::info!(link = %self.shared.name, %broker, "the nearby replica can't be \
                 reached; reading from the leaders");
            self.assign(leads);
        }
    }

    /// When any fetcher was last answered, milliseconds since the epoch.
    pub(crate) fn last_answer_ms(&self) -> Option<i64> {
        self.fetchers
            .values()
            .filter_map(|(handle, _)| handle.heartbeat.last_contact_ms())
            .max()
    }

    /// Ends everything and waits for it.
    pub(crate) async fn stop(&mut self) {
        self.reconcile(&[]).await;
        for (_, (handle, task)) in self.fetchers.drain() {
            drop(handle);
            let _ = task.await;
        }
    }

    fn fetcher(&mut self, from: ReadFrom, key: &TopicPartition) -> FetcherHandle {
        let lane = lane_of(key, self.config.fetchers_per_broker);
        let fetcher = FetcherKey { from, lane };
        if let Some((handle, _)) = self.fetchers.get(&fetcher) {
            return handle.clone();
        }
        let share = usize::try_from(self.config.fetch_max_bytes).unwrap_or(usize::MAX);
        let (handle, task) = fetcher::spawn(fetcher::Setup {
            link: self.shared.name.clone(),
            source: Arc::clone(&self.source),
            broker: from.node,
            lane,
            rack: match from.tells_rack {
                true => Arc::from(self.config.client_rack.as_str()),
                false => Arc::from(""),
            },
            limits: FetchLimits {
                max_wait_ms: self.config.fetch_wait_max_ms,
                min_bytes: self.config.fetch_min_bytes,
                max_bytes: self.config.fetch_response_max_bytes,
            },
            partition_max_bytes: self.config.fetch_max_bytes,
            share_max_bytes: share.saturating_mul(SHARES_IN_FLIGHT),
            backoff: self.backoff(),
            budget: Arc::clone(&self.budget),
            throttle: Arc::clone(&self.shared.throttle),
            clock: Arc::clone(&self.shared.ports.clock),
            trouble: self.trouble.clone(),
        });
        self.fetchers.insert(fetcher, (handle.clone(), task));
        handle
    }

    /// A fetcher stops once all its handles are dropped.
    fn drop_idle_fetchers(&mut self) {
        let lanes = self.config.fetchers_per_broker;
        let used: HashSet<FetcherKey> = self
            .partitions
            .iter()
            .filter_map(|(key, running)| {
                let (_, from) = running.lead?;
                let lane = lane_of(key, lanes);
                Some(FetcherKey { from, lane })
            })
            .collect();
        self.fetchers.retain(|key, _| used.contains(key));
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(
            self.config.retry_backoff_ms,
            self.config.retry_backoff_max_ms,
        )
    }
}

/// Which of a broker's fetchers takes a partition: always the same.
fn lane_of(partition: &TopicPartition, lanes: u32) -> u32 {
    let mut hasher = DefaultHasher::new();
    partition.hash(&mut hasher);
    u32::try_from(hasher.finish() % u64::from(lanes.max(1))).unwrap_or(0)
}

/// A partition that is about to be opened, which may wait for a disk.
struct Opening {
    target: Arc<dyn crate::ports::MirrorTarget>,
    lease: Lease,
    source: Arc<dyn SourceCluster>,
    source_partition: TopicPartition,
    status: StatusCell,
    reports: UnboundedSender<Report>,
    own: UnboundedSender<Message>,
    setup: apply::Setup,
}

impl Opening {
    async fn run(self, messages: tokio::sync::mpsc::UnboundedReceiver<Message>) {
        let (target, lease) = (self.target, self.lease);
        let partition = self.setup.partition.clone();
        let key = partition.clone();
        let opened = tokio::task::spawn_blocking(move || target.open(&key, &lease)).await;
        match opened {
            Ok(Ok(opened)) => {
                task::run(task::Setup {
                    partition,
                    source_partition: self.source_partition,
                    source: self.source,
                    machine: Machine::new(self.setup, opened),
                    status: self.status,
                    reports: self.reports,
                    own: self.own,
                    messages,
                })
                .await;
            }
            Ok(Err(error)) => {
                self.status
                    .with(|status| status.problem = Some(error.to_string()));
                let _ = self.reports.send(Report::NotOpened { partition, error });
            }
            // The runtime is ending.
            Err(_) => {}
        }
    }
}

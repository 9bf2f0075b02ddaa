//! The task of one mirrored partition: waits, and carries out what [`super::apply`] decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, NodeId, Offset, TopicId, TopicPartition};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Semaphore, oneshot};

use super::apply::Machine;
use super::lag::StatusCell;
use super::{Effect, Event, Outcome, Probe, Wait};
use crate::fetcher::{Command, FetchEvent, FetcherHandle, Listener, Slot};
use crate::ports::TargetError;
use crate::source::fetch::{FetchLimits, FetchPosition, FetchRequest};
use crate::source::{BoxFuture, EpochQuery, OffsetSpec, SourceCluster, SourceError, answered};
use crate::state::MirrorError;

/// Longest wait for a probe's answer, milliseconds: long enough for a source that must fetch from
/// tiered storage first.
const PROBE_WAIT_MS: u32 = 5_000;

/// Maximum number of parallel truncations, over all links: each waits for the disk on its own
/// thread.
static TRUNCATIONS: Semaphore = Semaphore::const_new(8);

/// Names slots: every one has its own for the life of the process.
static NEXT_SLOT: AtomicU64 = AtomicU64::new(1);

/// The leader of a partition and the fetcher that fetches from it.
#[derive(Debug, Clone)]
pub(crate) struct Leader {
    pub(crate) node: NodeId,
    /// The node that the fetcher fetches from: the leader, or a follower.
    pub(crate) read_from: NodeId,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) topic_id: TopicId,
    /// Who fetches.
    pub(crate) fetcher: FetcherHandle,
}

/// A message to the task.
#[derive(Debug)]
pub(crate) enum Message {
    /// From the fetcher, for a slot that it was given.
    Fetcher { slot: u64, event: FetchEvent },
    /// From the supervisor.
    Lead(Option<Leader>),
    /// From the supervisor: stop.
    Stop,
}

impl Listener for UnboundedSender<Message> {
    fn hear(&self, slot: u64, event: FetchEvent) {
        let _ = self.send(Message::Fetcher { slot, event });
    }
}

/// What a partition reports to its link.
#[derive(Debug)]
pub(crate) enum Report {
    /// Refresh the metadata, and answer once the topic was seen to be the same one.
    Refresh {
        partition: TopicPartition,
        seen: oneshot::Sender<()>,
    },
    /// The mirror has failed.
    Failed {
        partition: TopicPartition,
        error: MirrorError,
        detail: String,
    },
    /// The partition could not be opened.
    NotOpened {
        partition: TopicPartition,
        error: TargetError,
    },
    /// The partition, by its name at the source, should be read at this replica, or no longer at
    /// its current one.
    Redirect {
        partition: TopicPartition,
        epoch: LeaderEpoch,
        to: Option<NodeId>,
    },
    /// The partition has another writer now, or was deleted.
    LostLease {
        partition: TopicPartition,
        detail: String,
    },
}

/// What a task is made with.
pub(crate) struct Setup {
    /// The partition here.
    pub(crate) partition: TopicPartition,
    /// Its name at the source.
    pub(crate) source_partition: TopicPartition,
    pub(crate) source: Arc<dyn SourceCluster>,
    pub(crate) machine: Machine,
    /// What is shown.
    pub(crate) status: StatusCell,
    pub(crate) reports: UnboundedSender<Report>,
    /// For fetchers to answer to.
    pub(crate) own: UnboundedSender<Message>,
    /// What it receives.
    pub(crate) messages: UnboundedReceiver<Message>,
}

struct Task {
    setup: Setup,
    leader: Option<(u64, Leader)>,
    waiting: Option<BoxFuture<'static, Outcome>>,
}

/// Runs until told to stop, failed, or fenced.
pub(crate) async fn run(setup: Setup) {
    let mut task = Task {
        setup,
        leader: None,
        waiting: None,
    };
    while task.step().await {}
    task.leave();
}

impl Task {
    /// Waits for one thing and does what follows from it; false at the end.
    async fn step(&mut self) -> bool {
        let message = match &mut self.waiting {
            None => self.setup.messages.recv().await,
            Some(waiting) => tokio::select! {
                biased;
                message = self.setup.messages.recv() => message,
                outcome = waiting => {
                    self.waiting = None;
                    let _turn = match self.setup.machine.may_truncate() {
                        true => TRUNCATIONS.acquire().await.ok(),
                        false => None,
                    };
                    let effects = self.setup.machine.apply(Event::Waited(outcome));
                    return self.perform(effects);
                }
            },
        };
        match message {
            None | Some(Message::Stop) => false,
            Some(Message::Lead(leader)) => {
                self.lead(leader);
                true
            }
            Some(Message::Fetcher { slot, event }) => {
                if self.leader.as_ref().is_none_or(|(id, _)| *id != slot) {
                    return true;
                }
                if !matches!(event, FetchEvent::Fetched(_)) {
                    self.waiting = None;
                }
                let effects = self.setup.machine.apply(Event::Fetcher(event));
                self.perform(effects)
            }
        }
    }

    /// Moves to another leader, or to a new epoch of the same.
    fn lead(&mut self, leader: Option<Leader>) {
        self.leave();
        self.waiting = None;
        let Some(leader) = leader else {
            self.setup.machine.apply(Event::NoLeader);
            return;
        };
        let (epoch, topic_id) = (leader.epoch, leader.topic_id);
        let share = leader.fetcher.share();
        let is_follower = leader.read_from != leader.node;
        self.setup.machine.apply(Event::Leader {
            epoch,
            topic_id,
            is_follower,
        });
        self.setup.status.with(|status| {
            status.leader = Some(leader.node);
            status.replica = Some(leader.read_from);
            status.heartbeat = None;
            status.share = Some(Arc::clone(&share));
        });
        let id = NEXT_SLOT.fetch_add(1, Ordering::Relaxed);
        let slot = Slot::new(id, Box::new(self.setup.own.clone()), share);
        let partition = self.setup.source_partition.clone();
        leader.fetcher.tell(Command::Add { partition, slot });
        self.leader = Some((id, leader));
    }

    fn leave(&mut self) {
        if let Some((slot, leader)) = self.leader.take() {
            let partition = self.setup.source_partition.clone();
            leader.fetcher.tell(Command::Remove { partition, slot });
        }
        self.setup.status.with(|status| {
            status.answered_ms = status.seen_at_ms();
            status.heartbeat = None;
            status.share = None;
            status.leader = None;
            status.replica = None;
        });
    }

    /// Carries out the effects; false at the end.
    fn perform(&mut self, effects: Vec<Effect>) -> bool {
        let mut goes_on = true;
        for effect in effects {
            match effect {
                Effect::Fetch {
                    generation,
                    position,
                } => self.fetch(generation, position),
                Effect::Halt => self.halt(),
                Effect::Wait(wait) => self.waiting = Some(self.start(wait)),
                Effect::Redirect { to } => self.redirect(to),
                Effect::Fail { error, detail } => {
                    let partition = self.setup.partition.clone();
                    let _ = self.setup.reports.send(Report::Failed {
                        partition,
                        error,
                        detail,
                    });
                    goes_on = false;
                }
                Effect::LostLease { detail } => {
                    let partition = self.setup.partition.clone();
                    let _ = self
                        .setup
                        .reports
                        .send(Report::LostLease { partition, detail });
                    goes_on = false;
                }
            }
        }
        goes_on
    }

    fn fetch(&mut self, generation: u64, position: FetchPosition) {
        let Some((slot, leader)) = &self.leader else {
            return;
        };
        let partition = self.setup.source_partition.clone();
        leader.fetcher.tell(Command::Fetch {
            partition,
            slot: *slot,
            generation,
            position,
        });
        let heartbeat = Arc::clone(&leader.fetcher.heartbeat);
        self.setup.status.with(|status| {
            status.answered_ms = status.seen_at_ms();
            status.heartbeat = Some(heartbeat);
        });
    }

    fn redirect(&self, to: Option<NodeId>) {
        if let Some((_, leader)) = &self.leader {
            let _ = self.setup.reports.send(Report::Redirect {
                partition: self.setup.source_partition.clone(),
                epoch: leader.epoch,
                to,
            });
        }
    }

    fn halt(&mut self) {
        let Some((slot, leader)) = &self.leader else {
            return;
        };
        let partition = self.setup.source_partition.clone();
        leader.fetcher.tell(Command::Halt {
            partition,
            slot: *slot,
        });
        self.setup.status.with(|status| {
            status.answered_ms = status.seen_at_ms();
            status.heartbeat = None;
        });
    }

    fn start(&self, wait: Wait) -> BoxFuture<'static, Outcome> {
        let source = Arc::clone(&self.setup.source);
        let partition = self.setup.source_partition.clone();
        match wait {
            Wait::Backoff(time) | Wait::Idle(time) => Box::pin(async move {
                tokio::time::sleep(time).await;
                Outcome::Elapsed
            }),
            Wait::Metadata => {
                let (seen, answer) = oneshot::channel();
                let asker = self.setup.partition.clone();
                let _ = self.setup.reports.send(Report::Refresh {
                    partition: asker,
                    seen,
                });
                Box::pin(async move {
                    if answer.await.is_err() {
                        // The link is stopping, or the topic is not the same: a stop follows.
                        std::future::pending::<()>().await;
                    }
                    Outcome::MetadataSeen
                })
            }
            Wait::EpochEnd { epoch, current } => Box::pin(async move {
                Outcome::EpochEnd(epoch_end(&*source, partition, epoch, current).await)
            }),
            Wait::Range => {
                Box::pin(async move { Outcome::Range(range(&*source, partition).await) })
            }
            Wait::Probe(position) => {
                let node = self.leader.as_ref().map(|(_, leader)| leader.node);
                Box::pin(
                    async move { Outcome::Probe(probe(&*source, node, partition, position).await) },
                )
            }
        }
    }
}

/// Where an epoch ends at the source.
async fn epoch_end(
    source: &dyn SourceCluster,
    partition: TopicPartition,
    leader_epoch: LeaderEpoch,
    current_leader_epoch: LeaderEpoch,
) -> Result<Option<(LeaderEpoch, Offset)>, String> {
    let query = EpochQuery {
        partition,
        current_leader_epoch,
        leader_epoch,
    };
    let answers = source
        .offsets_for_leader_epoch(vec![query])
        .await
        .map_err(words)?;
    let answer = answers
        .into_iter()
        .next()
        .ok_or("the source left out the epoch's end")?;
    match answer.error {
        ErrorCode::NONE => Ok(answer.end),
        error => Err(format!(
            "asked for an epoch's end, {}",
            answered(error, "DESCRIBE the topic")
        )),
    }
}

/// The source's log start and high watermark.
async fn range(
    source: &dyn SourceCluster,
    partition: TopicPartition,
) -> Result<(Offset, Offset), String> {
    let mut ends = [Offset::NONE; 2];
    for (spec, end) in [OffsetSpec::Earliest, OffsetSpec::Latest]
        .into_iter()
        .zip(&mut ends)
    {
        let answers = source
            .list_offsets(vec![(partition.clone(), spec)])
            .await
            .map_err(words)?;
        let answer = answers
            .into_iter()
            .next()
            .ok_or("the source left out its offsets")?;
        *end = match (answer.error, answer.offset) {
            (ErrorCode::NONE, Some(offset)) => offset,
            (error, _) => {
                let answer = answered(error, "DESCRIBE the topic");
                return Err(format!("asked for offsets, {answer}"));
            }
        };
    }
    Ok((ends[0], ends[1]))
}

/// Asks, apart from any session, for what the source holds at a position, and just below its high
/// watermark.
async fn probe(
    source: &dyn SourceCluster,
    node: Option<NodeId>,
    partition: TopicPartition,
    position: FetchPosition,
) -> Result<Probe, String> {
    let node = node.ok_or("no leader")?;
    let connection = source
        .fetch_connection(node, u32::MAX)
        .await
        .map_err(words)?;
    let from = position.fetch_offset;
    let version = connection.fetch_version();
    let version = if position.topic_id.is_zero() {
        version.min(12)
    } else {
        version
    };
    let mut at = FetchPosition {
        last_fetched_epoch: LeaderEpoch::NONE,
        ..position
    };
    let mut high_watermark = Offset::NONE;
    for is_last in [false, true] {
        if is_last {
            at.fetch_offset = high_watermark.prev().max(from);
        }
        let request = FetchRequest {
            version,
            limits: FetchLimits {
                max_wait_ms: PROBE_WAIT_MS,
                min_bytes: 1,
                max_bytes: position.max_bytes,
            },
            session_id: 0,
            session_epoch: -1,
            partitions: vec![(partition.clone(), at)],
            forgotten: Vec::new(),
            rack: Arc::from(""),
        };
        let response = connection.fetch(request).await.map_err(words)?;
        if response.error != ErrorCode::NONE || response.throttle_time_ms > 0 {
            return Err(format!("the source answered {} to a probe", response.error));
        }
        let data = response
            .partitions
            .into_iter()
            .next()
            .ok_or("the probe's answer is empty")?
            .data;
        if data.error != ErrorCode::NONE {
            return Err(format!(
                "to a probe, {}",
                answered(data.error, "READ the topic")
            ));
        }
        if is_last && data.high_watermark != high_watermark {
            return Err("the source's log grew under the probe".into());
        }
        high_watermark = data.high_watermark;
        if !data.records.is_empty() || high_watermark <= from {
            return Ok(Probe {
                from,
                high_watermark,
                is_empty: false,
            });
        }
    }
    Ok(Probe {
        from,
        high_watermark,
        is_empty: true,
    })
}

fn words(error: SourceError) -> String {
    error.to_string()
}

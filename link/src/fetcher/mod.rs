//! Fetches from one source broker, for every partition that it leads.
//!
//! One connection, one fetch session (KIP-227), one request in flight ([`serve`]): answer N is
//! passed to the replicators, and request N+1 is sent immediately, with positions taken from the
//! headers of N ([`slots`]). So N is checked and stored while N+1 travels. Bytes not yet stored are
//! bounded ([`budget`]): a partition over its share is left out of the next request, which stalls
//! no other.
//!
//! A long path would be idle while requests travel. There, a partition that is far behind leaves
//! the session and is fetched with several large requests in parallel, over separate connections
//! ([`apart`]), until it is near the source's end. Their number and size depend on what the path
//! can carry ([`window`]); even a single partition is fetched in several parallel stretches
//! ([`stretches`]).
//!
//! Invariants:
//! - After a connect, no partition is fetched before its replicator has given a position.
//! - A fetcher never judges records; it only reads their headers.

mod apart;
mod budget;
mod event;
mod heartbeat;
mod serve;
mod slots;
mod stretches;
mod window;

use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::ids::{NodeId, TopicPartition};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::ports::Clock;
use crate::record::LinkName;
use crate::source::fetch::{FetchLimits, FetchPosition, FetchSession};
use crate::source::{FetchConnection, SourceCluster, SourceError};
use crate::throttle::Throttle;
use apart::Apart;
pub(crate) use budget::{Budget, Share};
pub(crate) use event::{FetchEvent, Fetched, Listener};
pub(crate) use heartbeat::Heartbeat;
pub(crate) use slots::Slot;
use slots::Slots;

/// An instruction to a fetcher.
#[derive(Debug)]
pub(crate) enum Command {
    /// Fetch this partition too, once its replicator says from where.
    Add {
        partition: TopicPartition,
        slot: Slot,
    },
    Remove {
        partition: TopicPartition,
        slot: u64,
    },
    /// Continue, or start, there.
    Fetch {
        partition: TopicPartition,
        slot: u64,
        generation: u64,
        position: FetchPosition,
    },
    /// Don't fetch it until the next `Fetch`.
    Halt {
        partition: TopicPartition,
        slot: u64,
    },
}

/// What a fetcher is made with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) link: LinkName,
    pub(crate) source: Arc<dyn SourceCluster>,
    /// The broker to fetch from.
    pub(crate) broker: NodeId,
    /// Which of several connections to it.
    pub(crate) lane: u32,
    /// Our rack, which requests carry; empty for none.
    pub(crate) rack: Arc<str>,
    /// Limits of each request.
    pub(crate) limits: FetchLimits,
    /// What the session asks of one partition at a time, bytes.
    pub(crate) partition_max_bytes: u32,
    /// A partition with more in flight is left out, bytes.
    pub(crate) share_max_bytes: usize,
    pub(crate) backoff: Backoff,
    /// The link's bytes in flight.
    pub(crate) budget: Arc<Budget>,
    /// The link's bytes per second.
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Gets the error when the broker doesn't answer.
    pub(crate) trouble: UnboundedSender<(NodeId, SourceError)>,
}

/// Talks to a running fetcher. Its task ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct FetcherHandle {
    /// When it was last answered.
    pub(crate) heartbeat: Arc<Heartbeat>,
    commands: UnboundedSender<Command>,
    budget: Arc<Budget>,
    drained: Arc<Notify>,
}

impl FetcherHandle {
    /// Sends it an instruction. Never waits; a fetcher that has stopped ignores it.
    pub(crate) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Bytes in flight of one more partition.
    pub(crate) fn share(&self) -> Arc<Share> {
        Share::new(Arc::clone(&self.budget), Arc::clone(&self.drained))
    }
}

pub(crate) fn spawn(setup: Setup) -> (FetcherHandle, JoinHandle<()>) {
    let (commands, receiver) = unbounded_channel();
    let heartbeat = Arc::new(Heartbeat::default());
    let drained = Arc::new(Notify::new());
    let handle = FetcherHandle {
        heartbeat: Arc::clone(&heartbeat),
        commands,
        budget: Arc::clone(&setup.budget),
        drained: Arc::clone(&drained),
    };
    let fetcher = Fetcher {
        apart: Apart::new(setup.clone()),
        setup,
        slots: Slots::default(),
        commands: receiver,
        heartbeat,
        drained,
        paused_until: None,
    };
    (handle, tokio::spawn(fetcher.run()))
}

/// Why a connection is left.
enum Left {
    /// All handles are dropped.
    Ended,
    /// The connection has failed.
    Failed(SourceError),
}

struct Fetcher {
    setup: Setup,
    apart: Apart,
    slots: Slots,
    commands: UnboundedReceiver<Command>,
    heartbeat: Arc<Heartbeat>,
    drained: Arc<Notify>,
    /// Nothing is requested before.
    paused_until: Option<Instant>,
}

impl Fetcher {
    async fn run(mut self) {
        let (broker, lane) = (self.setup.broker, self.setup.lane);
        let mut session = FetchSession::new(i16::MAX).in_rack(Arc::clone(&self.setup.rack));
        loop {
            while self.slots.is_empty() {
                let Some(command) = self.commands.recv().await else {
                    return;
                };
                self.take(command, None);
            }
            let left = match self.connect().await {
                Ok(Some(connection)) => {
                    tracing::debug!(link = %self.setup.link, %broker, lane, "fetching");
                    self.serve(&mut session, &*connection).await
                }
                Ok(None) => Left::Ended,
                Err(error) => Left::Failed(error),
            };
            let Left::Failed(error) = left else { return };
            tracing::info!(link = %self.setup.link, %broker, lane, %error, "fetching interrupted");
            self.slots.disconnected(&error.to_string());
            let _ = self.setup.trouble.send((broker, error));
            let wait = self.setup.backoff.next_wait();
            if !self.listen_for(wait, None).await {
                return;
            }
        }
    }

    /// A connection; `None` if it is no longer needed.
    async fn connect(&mut self) -> Result<Option<Arc<dyn FetchConnection>>, SourceError> {
        let source = Arc::clone(&self.setup.source);
        let mut connecting = source.fetch_connection(self.setup.broker, self.setup.lane);
        loop {
            tokio::select! {
                connection = &mut connecting => return connection.map(Some),
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command, None),
                    None => return Ok(None),
                },
            }
        }
    }

    /// Takes commands for that long; false if all handles are dropped.
    async fn listen_for(&mut self, time: Duration, version: Option<i16>) -> bool {
        let over = tokio::time::sleep(time);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return true,
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command, version),
                    None => return false,
                },
            }
        }
    }

    /// `version` is the connection's, if there is one.
    fn take(&mut self, command: Command, version: Option<i16>) {
        match command {
            Command::Add { partition, slot } => {
                self.slots.add(partition.clone(), slot);
                if let Some(version) = version {
                    self.slots.greet(&partition, version);
                }
            }
            Command::Remove { partition, slot } => self.slots.remove(&partition, slot),
            Command::Fetch {
                partition,
                slot,
                generation,
                position,
            } => {
                self.slots
                    .place(&partition, slot, Some((generation, position)));
            }
            Command::Halt { partition, slot } => self.slots.place(&partition, slot, None),
        }
    }
}

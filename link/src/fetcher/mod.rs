//! Fetches from one source broker, for every partition that it leads.
//!
//! One connection, one fetch session (KIP-227), one request in flight: answer N is handed to the
//! replicators, and request N+1 is sent at once, with positions told by the headers of N
//! ([`slots`]). So N is checked and stored while N+1 travels. Bytes not yet stored are bounded
//! ([`budget`]): a partition over its share is left out of the next request, which stalls no other.
//!
//! Invariants:
//! - After a connect no partition is fetched before its replicator has said from where.
//! - A fetcher never judges records; it only reads their headers.

pub(crate) mod budget;
pub(crate) mod slots;

use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::ids::{NodeId, TopicPartition};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::ports::Clock;
use crate::record::LinkName;
use crate::replicator::lag::Heartbeat;
use crate::source::fetch::{
    FetchLimits, FetchPosition, FetchResponse, FetchSession, SessionOutcome,
};
use crate::source::{FetchConnection, SourceCluster, SourceError, THROTTLE_MAX};
use crate::throttle::Throttle;
use budget::Share;
pub(crate) use budget::{Budget, InFlight};
use slots::{Slot, Slots};

/// With a partition left out for a moment, a long poll must not be long.
const SHORT_POLL_MS: u32 = 10;

/// What a fetcher is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Fetch this partition too, once its replicator says from where.
    Add {
        partition: TopicPartition,
        slot: Slot,
    },
    /// Forget it.
    Remove {
        partition: TopicPartition,
        slot: u64,
    },
    /// Go on, or start, there.
    Fetch {
        partition: TopicPartition,
        slot: u64,
        generation: u64,
        position: FetchPosition,
    },
    /// Don't fetch it until told.
    Halt {
        partition: TopicPartition,
        slot: u64,
    },
}

/// What a fetcher is made with.
#[derive(Clone)]
pub(crate) struct Setup {
    /// For the log.
    pub(crate) link: LinkName,
    /// The source.
    pub(crate) source: Arc<dyn SourceCluster>,
    /// Whom to fetch from.
    pub(crate) broker: NodeId,
    /// Which of several connections to it.
    pub(crate) lane: u32,
    /// What it is told of where we stand.
    pub(crate) rack: Arc<str>,
    /// Limits of each request.
    pub(crate) limits: FetchLimits,
    /// A partition with more in flight is left out, bytes.
    pub(crate) share_max_bytes: usize,
    /// Between attempts.
    pub(crate) backoff: Backoff,
    /// The link's bytes in flight.
    pub(crate) budget: Arc<Budget>,
    /// The link's bytes per second.
    pub(crate) throttle: Arc<Throttle>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whom to tell that this broker doesn't answer.
    pub(crate) trouble: UnboundedSender<(NodeId, SourceError)>,
}

/// Talks to a running fetcher. Its task ends when the last handle is gone.
#[derive(Debug, Clone)]
pub(crate) struct FetcherHandle {
    /// When it was last answered.
    pub(crate) heartbeat: Arc<Heartbeat>,
    commands: UnboundedSender<Command>,
    budget: Arc<Budget>,
    drained: Arc<Notify>,
}

impl FetcherHandle {
    /// Tells it something. Never waits; a fetcher that has ended doesn't listen.
    pub(crate) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Bytes in flight of one more partition.
    pub(crate) fn share(&self) -> Arc<Share> {
        Share::new(Arc::clone(&self.budget), Arc::clone(&self.drained))
    }
}

/// Starts a fetcher.
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
        setup,
        slots: Slots::default(),
        commands: receiver,
        heartbeat,
        drained,
    };
    (handle, tokio::spawn(fetcher.run()))
}

/// Why a connection is left.
enum Left {
    /// Every handle is gone.
    Ended,
    /// It doesn't work any more.
    Failed(SourceError),
}

struct Fetcher {
    setup: Setup,
    slots: Slots,
    commands: UnboundedReceiver<Command>,
    heartbeat: Arc<Heartbeat>,
    drained: Arc<Notify>,
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

    /// A connection; `None` if nobody wants one any more.
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

    /// Fetches over one connection until it fails or nobody listens any more.
    async fn serve(
        &mut self,
        session: &mut FetchSession,
        connection: &dyn FetchConnection,
    ) -> Left {
        let version = connection.fetch_version();
        session.reconnected(version);
        self.slots.connected(version);
        loop {
            while let Ok(command) = self.commands.try_recv() {
                self.take(command, Some(version));
            }
            let wanted = self.slots.wanted(self.setup.share_max_bytes);
            if wanted.positions.is_empty() {
                if self.commands.is_closed() && self.commands.is_empty() {
                    return Left::Ended;
                }
                tokio::select! {
                    command = self.commands.recv() => match command {
                        Some(command) => self.take(command, Some(version)),
                        None => return Left::Ended,
                    },
                    () = self.drained.notified() => {}
                }
                continue;
            }
            if let Some(wait) = self.setup.throttle.wait() {
                if !self.listen_for(wait, Some(version)).await {
                    return Left::Ended;
                }
                continue;
            }
            self.setup.budget.available().await;
            let mut limits = self.setup.limits;
            limits.max_bytes = limits
                .max_bytes
                .min(self.setup.throttle.request_max_bytes());
            if wanted.is_short {
                limits.max_wait_ms = limits.max_wait_ms.min(SHORT_POLL_MS);
            }
            let request = session.next_request(&wanted.positions, limits);
            let sent_at_ms = self.setup.clock.now_ms();
            let answer = match self.await_answer(connection.fetch(request), version).await {
                Some(answer) => answer,
                None => {
                    if let Some(request) = session.close_request() {
                        // The source forgets it by itself if this doesn't arrive.
                        drop(connection.fetch(request));
                    }
                    return Left::Ended;
                }
            };
            let pause = match answer {
                Ok(response) => self.on_response(session, response, sent_at_ms),
                Err(error @ SourceError::Broker { .. }) => {
                    session.fail();
                    let (link, broker) = (&self.setup.link, self.setup.broker);
                    tracing::warn!(%link, %broker, %error, "fetch refused");
                    Some(self.setup.backoff.next_wait())
                }
                Err(error) => return Left::Failed(error),
            };
            if let Some(pause) = pause
                && !self.listen_for(pause, Some(version)).await
            {
                return Left::Ended;
            }
        }
    }

    /// The answer to a fetch, while commands are taken; `None` if nobody listens any more.
    async fn await_answer(
        &mut self,
        mut fetching: crate::source::BoxFuture<'static, Result<FetchResponse, SourceError>>,
        version: i16,
    ) -> Option<Result<FetchResponse, SourceError>> {
        loop {
            tokio::select! {
                answer = &mut fetching => return Some(answer),
                command = self.commands.recv() => self.take(command?, Some(version)),
            }
        }
    }

    /// Hands an answer on; says how long to wait before the next request, if at all.
    fn on_response(
        &mut self,
        session: &mut FetchSession,
        response: FetchResponse,
        sent_at_ms: i64,
    ) -> Option<Duration> {
        let throttle_ms = u64::try_from(response.throttle_time_ms).unwrap_or(0);
        let throttle = Some(Duration::from_millis(throttle_ms).min(THROTTLE_MAX))
            .filter(|throttle| !throttle.is_zero());
        let (link, broker) = (self.setup.link.clone(), self.setup.broker);
        match session.apply(response) {
            SessionOutcome::Partitions(answers) => {
                self.setup.backoff.reset();
                let bytes = answers.iter().map(|answer| answer.data.records.len()).sum();
                self.setup.throttle.charge(bytes);
                for answer in answers {
                    self.slots.answered(answer, sent_at_ms);
                }
                self.heartbeat
                    .answered(sent_at_ms, bytes > 0 || throttle.is_some());
                throttle
            }
            SessionOutcome::Restarted(why) => {
                tracing::debug!(%link, %broker, why, "new fetch session");
                // At once; but a source that refuses every session must not be asked in a tight
                // loop.
                let is_first = self.setup.backoff.failures() == 0;
                let wait = self.setup.backoff.next_wait();
                throttle.max((!is_first).then_some(wait))
            }
            SessionOutcome::Refused(error) => {
                tracing::warn!(%link, %broker, %error, "fetch refused");
                throttle.max(Some(self.setup.backoff.next_wait()))
            }
        }
    }

    /// Takes commands for that long; false if nobody listens any more.
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

    /// `version` is that of the connection, if there is one.
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

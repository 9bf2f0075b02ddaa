//! Requests outside the fetch session, for partitions that are far behind over a long path.
//!
//! Each has its own connection (a "lane"). Several are in flight together, as many and as large as
//! the path can carry ([`super::window`]). Lanes are opened when needed and closed when nothing has
//! been far behind for a while. If the source accepts none, such partitions are fetched in the
//! session like all others.
//!
//! Invariant: together they never ask for more than the link's budget, nor for more than a second of its throttle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Setup;
use super::slots::{Part, Slots};
use super::window::{LANES_MAX, Limits, Plan, Sent, Window};
use crate::source::fetch::{FetchLimits, FetchRequest, FetchResponse, LAST_BY_NAME};
use crate::source::{FetchConnection, SourceError};

/// Lanes that were unused for this long are closed.
const REST: Duration = Duration::from_secs(10);

/// If a lane can't be opened, no other is tried for this long.
const CLOSED_FOR: Duration = Duration::from_secs(30);

/// A partition is far behind if it lacks more than this part of what the session requests for it at
/// a time.
const FAR_BEHIND_SHARE: u32 = 2;

/// A connection for such requests.
enum Lane {
    Opening,
    Free(Arc<dyn FetchConnection>),
    Busy(Arc<dyn FetchConnection>),
}

/// What has finished.
pub(super) enum Done {
    /// A lane was opened, or could not be.
    Opened {
        lane: u32,
        connection: Result<Arc<dyn FetchConnection>, SourceError>,
    },
    /// A request was answered.
    Answered(Answered),
}

/// The answer to a request outside the session.
pub(super) struct Answered {
    lane: u32,
    sent: Sent,
    /// What was asked for.
    pub(super) parts: Vec<Part>,
    /// When, milliseconds since the epoch.
    pub(super) asked_at_ms: i64,
    pub(super) answer: Result<FetchResponse, SourceError>,
}

/// The lanes of one fetcher.
pub(super) struct Apart {
    setup: Setup,
    window: Window,
    lanes: BTreeMap<u32, Lane>,
    work: JoinSet<Done>,
    /// No lane is opened before.
    closed_until: Option<Instant>,
    /// When something was last asked.
    used_at: Option<Instant>,
}

impl Apart {
    /// No lane is open.
    pub(super) fn new(setup: Setup) -> Self {
        let window_max_bytes = setup.budget.window_max_bytes();
        let window = Window::new(Limits {
            request_max_bytes: setup.limits.max_bytes,
            window_max_bytes: u64::try_from(window_max_bytes).unwrap_or(u64::MAX),
        });
        Self {
            setup,
            window,
            lanes: BTreeMap::new(),
            work: JoinSet::new(),
            closed_until: None,
            used_at: None,
        }
    }

    /// A connection was opened to the broker.
    pub(super) fn connected(&mut self, connection: &dyn FetchConnection) {
        self.window.connected(connection.round_trip());
    }

    /// The session asks for something.
    pub(super) fn session_asks(&self) -> Sent {
        self.window.asked(Instant::now())
    }

    pub(super) fn session_answered(&mut self, sent: Sent, bytes: usize) {
        self.window
            .session_answered(sent, bytes as u64, Instant::now());
    }

    /// Closes every lane and forgets the requests in flight.
    pub(super) fn close(&mut self) {
        self.work = JoinSet::new();
        self.lanes.clear();
        self.used_at = None;
        self.window.idle();
    }

    /// By how many bytes a partition must be behind to be fetched outside the session; `None` for never.
    pub(super) fn far_behind_bytes(&self, session_bytes: u32, now: Instant) -> Option<u64> {
        let is_open = !self.lanes.is_empty() || !self.is_closed(now);
        (self.window.is_long() && is_open).then(|| u64::from(session_bytes / FAR_BEHIND_SHARE))
    }

    fn is_closed(&self, now: Instant) -> bool {
        self.closed_until.is_some_and(|until| now < until)
    }

    /// When the lanes should be closed if nothing happens.
    pub(super) fn rests_at(&self) -> Option<Instant> {
        self.used_at.map(|at| at + REST)
    }

    /// The next one to finish; never, if nothing is in flight.
    pub(super) async fn done(&mut self) -> Done {
        loop {
            match self.work.join_next().await {
                Some(Ok(done)) => return done,
                // Only when the runtime ends.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Asks for what may be asked.
    pub(super) fn start(&mut self, slots: &mut Slots) {
        let now = Instant::now();
        if !slots.is_far_behind() {
            self.window.idle();
            if self.rests_at().is_some_and(|at| now >= at) {
                self.close();
            }
            return;
        }
        self.used_at = Some(now);
        let throttled = self.setup.throttle.request_max_bytes();
        let plan = self.plan(throttled);
        let request_bytes = usize::try_from(plan.request_bytes).unwrap_or(usize::MAX);
        let window = plan.requests.saturating_mul(request_bytes);
        let most = self.setup.budget.window_max_bytes();
        let share_max_bytes = self
            .setup
            .share_max_bytes
            .max(window.saturating_mul(2).min(most));
        loop {
            let has_room = self.busy() < plan.requests && self.setup.budget.has_room(request_bytes);
            if !has_room && !slots.is_blocked() {
                return;
            }
            let Some((lane, connection)) = self.free_lane() else {
                self.open(plan.requests);
                return;
            };
            let asked_at_ms = self.setup.clock.now_ms();
            let bytes = (
                plan.request_bytes,
                self.setup.limits.max_bytes.min(throttled),
            );
            let parts = slots.next_parts(bytes, has_room, share_max_bytes, asked_at_ms);
            if parts.is_empty() {
                return;
            }
            self.send(lane, connection, parts, asked_at_ms);
        }
    }

    /// What may be requested now, at most `most` bytes.
    fn plan(&self, most: u32) -> Plan {
        let Plan {
            requests,
            request_bytes,
        } = self.window.plan();
        let request_bytes = request_bytes.min(most).max(1);
        let fit = usize::try_from(most / request_bytes).unwrap_or(requests);
        Plan {
            requests: requests.min(fit.max(1)),
            request_bytes,
        }
    }

    fn busy(&self) -> usize {
        let is_busy = |lane: &&Lane| matches!(lane, Lane::Busy(_));
        self.lanes.values().filter(is_busy).count()
    }

    fn free_lane(&mut self) -> Option<(u32, Arc<dyn FetchConnection>)> {
        self.lanes
            .retain(|_, lane| !matches!(lane, Lane::Free(connection) if connection.is_closed()));
        self.lanes.iter().find_map(|(number, lane)| match lane {
            Lane::Free(connection) => Some((*number, Arc::clone(connection))),
            _ => None,
        })
    }

    /// Opens lanes until there are `wanted`.
    fn open(&mut self, wanted: usize) {
        if self.is_closed(Instant::now()) {
            return;
        }
        let free = (0_u32..).filter(|number| !self.lanes.contains_key(number));
        let missing = wanted.min(LANES_MAX).saturating_sub(self.lanes.len());
        for lane in free.take(missing).collect::<Vec<_>>() {
            self.lanes.insert(lane, Lane::Opening);
            let (source, broker) = (Arc::clone(&self.setup.source), self.setup.broker);
            let first = u32::try_from(LANES_MAX).unwrap_or(0) * (self.setup.lane + 1);
            self.work.spawn(async move {
                let connection = source.fetch_connection(broker, first + lane).await;
                Done::Opened { lane, connection }
            });
        }
    }

    /// A lane was opened, or could not be. Without any, nothing can be fetched outside the session.
    pub(super) fn opened(
        &mut self,
        lane: u32,
        connection: Result<Arc<dyn FetchConnection>, SourceError>,
        slots: &mut Slots,
    ) {
        match connection {
            Ok(connection) => {
                self.window.connected(connection.round_trip());
                self.lanes.insert(lane, Lane::Free(connection));
            }
            Err(error) => {
                self.lanes.remove(&lane);
                let (link, broker) = (&self.setup.link, self.setup.broker);
                tracing::debug!(%link, %broker, %error, "no further connection");
                self.closed_until = Some(Instant::now() + CLOSED_FOR);
                if self.lanes.is_empty() {
                    slots.all_back_to_session();
                }
            }
        }
    }

    fn send(
        &mut self,
        lane: u32,
        connection: Arc<dyn FetchConnection>,
        parts: Vec<Part>,
        asked_at_ms: i64,
    ) {
        let sent = self.window.asked(Instant::now());
        let answer = connection.fetch(self.request(connection.fetch_version(), &parts));
        self.lanes.insert(lane, Lane::Busy(connection));
        self.work.spawn(async move {
            Done::Answered(Answered {
                lane,
                sent,
                parts,
                asked_at_ms,
                answer: answer.await,
            })
        });
    }

    fn request(&self, version: i16, parts: &[Part]) -> FetchRequest {
        let by_id = parts.iter().all(|part| !part.position.topic_id.is_zero());
        let bytes = parts.iter().map(|part| part.position.max_bytes);
        FetchRequest {
            version: match by_id {
                true => version,
                false => version.min(LAST_BY_NAME),
            },
            limits: FetchLimits {
                max_wait_ms: 0,
                min_bytes: 1,
                max_bytes: bytes.fold(0, u32::saturating_add),
            },
            session_id: 0,
            session_epoch: -1,
            partitions: parts
                .iter()
                .map(|part| (part.partition.clone(), part.position))
                .collect(),
            forgotten: Vec::new(),
            rack: Arc::clone(&self.setup.rack),
        }
    }

    /// The lane of an answer is free again; `bytes` of records have arrived.
    pub(super) fn answered(&mut self, answered: &Answered, bytes: usize) {
        if let Some(Lane::Busy(connection)) = self.lanes.remove(&answered.lane) {
            self.lanes.insert(answered.lane, Lane::Free(connection));
        }
        self.window
            .answered(answered.sent, bytes as u64, Instant::now());
    }
}

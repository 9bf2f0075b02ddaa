//! One connection to a broker: frames, correlation, time limits, ApiVersions, SASL.
//!
//! Invariants:
//! - Responses arrive in the order of the requests; anything else breaks the protocol.
//! - While the link authenticates, initially or again (KIP-368), no other requests are sent: they
//!   are held back, and follow in order.
//! - Any failure closes the connection, and all waiters get that one reason. A closed connection
//!   never reopens.
//! - No length beyond the frame limit sizes an allocation. Until the peer has shown that it speaks
//!   Kafka, that limit is small.
//!
//! Two tasks per connection, a writer and a reader, end with it. The caller decodes the response.

mod handshake;
mod reader;
mod sasl;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use carrick_protocol::client::{decode_response, encode_request};
use carrick_protocol::error_code::ErrorCode;
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::SourceError;
use super::api::Api;
use super::oauth::TokenSource;
use super::tls_words;
use super::transport::Io;
use crate::config::security::Security;
use handshake::PeerVersions;
pub(super) use handshake::VERSIONS as API_VERSIONS;
pub(super) use sasl::{AUTHENTICATE as SASL_AUTHENTICATE, HANDSHAKE as SASL_HANDSHAKE};

/// Maximum number of requests that wait for an answer.
const IN_FLIGHT_MAX: usize = 100;
/// The largest response, in addition to the bytes that a fetch asks for: a source sends a batch
/// whole however large it is, and we can't know its `max.message.bytes`.
pub(super) const FRAME_BASE_MAX_BYTES: usize = 256 << 20;

/// If a source asks for more patience than this, it is asked again anyway.
pub(crate) const THROTTLE_MAX: Duration = Duration::from_secs(30);

/// What a link's connections have in common.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) client_id: String,
    pub(super) request_timeout: Duration,
    /// How long a fresh peer may take to show that it speaks Kafka.
    pub(super) handshake_timeout: Duration,
    pub(super) idle_max: Option<Duration>,
    pub(super) frame_max_bytes: usize,
    /// TLS, SASL and credentials.
    pub(super) security: Arc<Security>,
    /// Where tokens come from, if the link shows one.
    pub(super) tokens: Option<TokenSource>,
    pub(super) patience: Patience,
}

/// Until when the source has asked for patience, on any connection of the link.
#[derive(Debug, Default)]
pub(super) struct Patience(Mutex<Option<Instant>>);

impl Patience {
    fn asked_until(&self, until: Instant) {
        let mut latest = self.0.lock();
        *latest = Some(latest.map_or(until, |latest| latest.max(until)));
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.lock().is_some_and(|until| Instant::now() < until)
    }
}

/// A connection; dropping it closes it.
pub(super) struct Connection {
    inner: Arc<Inner>,
    round_trip: Duration,
}

/// Closes a connection without keeping it open.
pub(super) struct Closer(Weak<Inner>);

/// Closes a connection whose answers make no sense, without keeping it open.
pub(super) struct Breaker(Arc<Inner>);

struct Inner {
    /// `host:port`, for messages.
    peer: String,
    settings: Arc<Settings>,
    state: Mutex<State>,
    writer: mpsc::UnboundedSender<Bytes>,
    versions: OnceLock<PeerVersions>,
    tasks: OnceLock<[AbortHandle; 2]>,
}

#[derive(Default)]
struct State {
    pending: VecDeque<Pending>,
    last_correlation_id: i32,
    /// The peer has answered more than the handshake.
    is_proven: bool,
    /// The source has asked for patience until then.
    held_until: Option<Instant>,
    closed: Option<SourceError>,
    session: Session,
}

/// Whether the peer knows who we are.
#[derive(Default)]
enum Session {
    /// As long as the connection lasts.
    #[default]
    Endless,
    /// Until some time after this; the first request after it has us say so again.
    RenewAt(Instant),
    /// We are saying so, and these wait for it.
    Renewing(Vec<(Pending, Bytes)>),
}

/// Which requests may go out while the link authenticates again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// Nothing of it.
    Ordinary,
    /// Just that.
    Sasl,
}

/// A request that awaits its answer.
struct Pending {
    correlation_id: i32,
    /// How long the peer was allowed to take its time with it.
    wait: Duration,
    limit: TimeLimit,
    reply: oneshot::Sender<Result<Bytes, SourceError>>,
}

/// When the answer to a request is late.
#[derive(Debug, Clone, Copy)]
struct TimeLimit {
    api: &'static str,
    after: Duration,
    at: Instant,
}

impl Connection {
    /// Shakes hands over `io`: after this the peer is known to speak Kafka, and which versions, and knows us.
    ///
    /// # Errors
    /// `NotKafka`, `Authentication`, `Timeout`, `Closed`, `Protocol`.
    pub(super) async fn open(
        io: Io,
        peer: String,
        settings: Arc<Settings>,
    ) -> Result<Self, SourceError> {
        // Unbounded, but for `IN_FLIGHT_MAX`.
        let (writer, frames) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            peer,
            settings,
            state: Mutex::default(),
            writer,
            versions: OnceLock::new(),
            tasks: OnceLock::new(),
        });
        let writing = tokio::spawn(write_frames(Arc::downgrade(&inner), io.writer, frames));
        let reading = tokio::spawn(reader::read_frames(Arc::downgrade(&inner), io.reader));
        let _ = inner
            .tasks
            .set([writing.abort_handle(), reading.abort_handle()]);
        let began = Instant::now();
        let mut connection = Self {
            inner,
            round_trip: Duration::ZERO,
        };
        let versions = handshake::api_versions(&connection).await?;
        connection.round_trip = began.elapsed();
        let _ = connection.inner.versions.set(versions);
        sasl::begin(&connection.inner).await?;
        Ok(connection)
    }

    /// How long ApiVersions took.
    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// The highest version of `R` that both sides speak.
    pub(super) fn version<R: Api>(&self) -> Result<i16, SourceError> {
        self.inner.version::<R>()
    }

    /// Sends what `build` makes for the version in common, once the source no longer asks for patience, and waits for
    /// the answer.
    pub(super) async fn call<R: Api>(
        &self,
        build: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, SourceError> {
        let version = self.version::<R>()?;
        self.inner.held().await;
        let reply = self.send(&build(version), version, Duration::ZERO);
        reply.await
    }

    /// Sends a request before it returns; the future is the answer. The peer may take `wait` longer
    /// than the request time limit, which also counts what is in flight ahead of this request. To wait as the source
    /// asks is up to the caller.
    pub(super) fn send<R: Api>(
        &self,
        request: &R,
        version: i16,
        wait: Duration,
    ) -> impl Future<Output = Result<R::Response, SourceError>> + Send + use<R> {
        let sent = self.inner.enqueue(request, version, wait, Lane::Ordinary);
        let inner = self.inner.clone();
        async move { inner.answer::<R>(sent, version).await }
    }

    /// Sends a request of the handshake and returns the answer undecoded, without its frame's length.
    async fn call_raw<R: Api>(&self, request: &R, version: i16) -> Result<Bytes, SourceError> {
        let (reply, limit) =
            self.inner
                .enqueue(request, version, Duration::ZERO, Lane::Ordinary)?;
        self.inner.await_reply(reply, limit).await
    }

    /// The peer's answer is invalid: closes the connection.
    pub(super) fn broken(&self, api: &str, detail: String) -> SourceError {
        self.inner.broken(api, detail)
    }

    /// The peer's answer is an error for the whole request. The connection stays open.
    pub(super) fn refused<R: Api>(&self, code: ErrorCode, message: Option<String>) -> SourceError {
        SourceError::Broker {
            peer: self.inner.peer.clone(),
            api: R::NAME,
            code,
            message,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner.close_if_late();
        self.inner.state.lock().closed.is_some()
    }

    pub(super) fn breaker(&self) -> Breaker {
        Breaker(self.inner.clone())
    }

    pub(super) fn closer(&self) -> Closer {
        Closer(Arc::downgrade(&self.inner))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.inner.close(SourceError::ShutDown);
    }
}

impl Breaker {
    /// As [`Connection::broken`].
    pub(super) fn broken(&self, api: &str, detail: String) -> SourceError {
        self.0.broken(api, detail)
    }
}

impl Closer {
    pub(super) fn close(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.close(SourceError::ShutDown);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.0
            .upgrade()
            .is_some_and(|inner| inner.state.lock().closed.is_none())
    }
}

type Reply = oneshot::Receiver<Result<Bytes, SourceError>>;

type Sent = Result<(Reply, TimeLimit), SourceError>;

impl Inner {
    fn version<R: Api>(&self) -> Result<i16, SourceError> {
        let theirs = self.versions.get().and_then(|versions| versions.of(R::KEY));
        let ours = R::SPOKEN;
        theirs
            .as_ref()
            .and_then(|theirs| common_version(&ours, theirs))
            .ok_or_else(|| SourceError::NoCommonVersion {
                peer: self.peer.clone(),
                api: R::NAME,
                theirs: theirs.as_ref().map_or("none".to_owned(), shown),
                ours: shown(&ours),
            })
    }

    /// The decoded answer to what was sent.
    async fn answer<R: Api>(&self, sent: Sent, version: i16) -> Result<R::Response, SourceError> {
        let (reply, limit) = sent?;
        let frame = self.await_reply(reply, limit).await?;
        match decode_response::<R>(frame, version) {
            Ok((_, response)) => {
                self.hold(R::throttle_time_ms(&response));
                Ok(response)
            }
            Err(error) => Err(self.broken(R::NAME, error.to_string())),
        }
    }

    /// Hands a request to the writer, or holds it back; `Err` if it can't be sent at all.
    fn enqueue<R: Api>(
        self: &Arc<Self>,
        request: &R,
        version: i16,
        wait: Duration,
        lane: Lane,
    ) -> Sent {
        self.close_if_late();
        let mut state = self.state.lock();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        if lane == Lane::Ordinary && state.unanswered() >= IN_FLIGHT_MAX {
            let text = format!(
                "{IN_FLIGHT_MAX} requests to {} are waiting for answers",
                self.peer
            );
            return Err(SourceError::Unsupported(text));
        }
        let correlation_id = state.last_correlation_id.checked_add(1).unwrap_or(0);
        let frame = encode_request(correlation_id, &self.settings.client_id, request, version)
            .map_err(|error| {
                let api = R::NAME;
                SourceError::Unsupported(format!("{api} v{version} can't be written: {error}"))
            })?;
        state.last_correlation_id = correlation_id;
        let limit = self.limit(R::NAME, wait, &state);
        let (reply, receiver) = oneshot::channel();
        let pending = Pending {
            correlation_id,
            wait,
            limit,
            reply,
        };
        if lane == Lane::Ordinary && state.session.is_due() {
            state.session = Session::Renewing(Vec::new());
            tokio::spawn(sasl::renew(self.clone()));
        }
        match &mut state.session {
            Session::Renewing(held) if lane == Lane::Ordinary => held.push((pending, frame)),
            _ => self.write(&mut state, pending, frame),
        }
        Ok((receiver, limit))
    }

    /// Under the lock, so that frames leave in the order in which their answers are expected.
    fn write(&self, state: &mut State, pending: Pending, frame: Bytes) {
        state.pending.push_back(pending);
        // Fails only when closing.
        let _ = self.writer.send(frame);
    }

    /// The peer knows who we are: requests that were held back follow.
    fn authenticated(&self, renew_at: Option<Instant>) {
        let mut state = self.state.lock();
        let next = renew_at.map_or(Session::Endless, Session::RenewAt);
        if let Session::Renewing(held) = std::mem::replace(&mut state.session, next) {
            for (pending, frame) in held {
                self.write(&mut state, pending, frame);
            }
        }
    }

    fn limit(&self, api: &'static str, wait: Duration, state: &State) -> TimeLimit {
        let base = match self.versions.get() {
            Some(_) => self.settings.request_timeout,
            None => self.settings.handshake_timeout,
        };
        let ahead: Duration = state.pending.iter().map(|pending| pending.wait).sum();
        let after = base + ahead + wait;
        TimeLimit {
            api,
            after,
            at: Instant::now() + after,
        }
    }

    /// The source asks for so much patience.
    fn hold(&self, throttle_time_ms: i32) {
        if let Ok(ms @ 1..) = u64::try_from(throttle_time_ms) {
            let until = Instant::now() + Duration::from_millis(ms).min(THROTTLE_MAX);
            self.state.lock().held_until = Some(until);
            self.settings.patience.asked_until(until);
        }
    }

    /// Waits as the source has asked.
    async fn held(&self) {
        let until = self.state.lock().held_until;
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }

    async fn await_reply(&self, reply: Reply, limit: TimeLimit) -> Result<Bytes, SourceError> {
        match timeout_at(limit.at, reply).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.reason()),
            Err(_) => {
                self.close_late(limit);
                Err(self.reason())
            }
        }
    }

    /// Closes if an answer is late that nothing waits for: callers that are less patient than the
    /// time limit must not keep a dead peer forever.
    fn close_if_late(&self) {
        let oldest = self
            .state
            .lock()
            .pending
            .front()
            .map(|pending| pending.limit);
        if let Some(limit) = oldest.filter(|limit| limit.at <= Instant::now()) {
            self.close_late(limit);
        }
    }

    fn close_late(&self, limit: TimeLimit) {
        self.close(SourceError::Timeout {
            peer: self.peer.clone(),
            what: limit.api.to_owned(),
            limit_ms: limit.after.as_millis().try_into().unwrap_or(u64::MAX),
        });
    }

    /// Closes for `reason`, also if the peer has hung up meanwhile: it often does, right behind its refusal.
    fn not_authenticated(&self, reason: SourceError) {
        self.close(reason.clone());
        let mut state = self.state.lock();
        state.closed = Some(reason.clone());
        let session = std::mem::take(&mut state.session);
        drop(state);
        if let Session::Renewing(held) = session {
            for (pending, _) in held {
                let _ = pending.reply.send(Err(reason.clone()));
            }
        }
    }

    /// Why the connection was closed.
    fn reason(&self) -> SourceError {
        self.state
            .lock()
            .closed
            .clone()
            .unwrap_or(SourceError::ShutDown)
    }

    /// Gives a response to the request that it answers.
    fn deliver(&self, correlation_id: i32, frame: Bytes) -> Result<(), SourceError> {
        let mut state = self.state.lock();
        let expected = state.pending.front().map(|pending| pending.correlation_id);
        match state.pending.pop_front() {
            Some(pending) if pending.correlation_id == correlation_id => {
                state.is_proven = self.versions.get().is_some();
                drop(state);
                // If nothing waits, nothing needs it.
                let _ = pending.reply.send(Ok(frame));
                Ok(())
            }
            other => {
                // Put back, so that its owner learns why the connection is closed.
                state.pending.extend(other);
                drop(state);
                Err(self.out_of_order(correlation_id, expected))
            }
        }
    }

    fn out_of_order(&self, got: i32, expected: Option<i32>) -> SourceError {
        let detail = match expected {
            Some(id) => format!("its response has correlation id {got} instead of {id}"),
            None => format!("it sent a response with correlation id {got}, which no request has"),
        };
        match self.versions.get() {
            Some(_) => SourceError::Protocol {
                peer: self.peer.clone(),
                detail,
            },
            None => self.not_kafka(detail),
        }
    }

    fn not_kafka(&self, seen: String) -> SourceError {
        let hint = "check that host and port are those of a Kafka broker's listener for this security.protocol";
        SourceError::NotKafka {
            peer: self.peer.clone(),
            seen,
            hint,
        }
    }

    fn broken(&self, api: &str, detail: String) -> SourceError {
        let detail = format!("its answer to {api} can't be read: {detail}");
        self.close(SourceError::Protocol {
            peer: self.peer.clone(),
            detail,
        });
        self.reason()
    }

    /// The stream failed: TLS has a word to say, or else it is just lost.
    fn io_failed(&self, context: &str, error: &std::io::Error) -> SourceError {
        let tls = self.settings.security.tls.as_ref();
        match tls.and_then(|tls| tls_words::words(error, tls)) {
            Some(detail) => SourceError::Authentication {
                peer: self.peer.clone(),
                detail,
            },
            None => self.lost(format!("{context}{error}")),
        }
    }

    fn lost(&self, mut detail: String) -> SourceError {
        let is_proven = self.state.lock().is_proven;
        if !is_proven && self.versions.get().is_some() && self.is_waiting() {
            // How a SASL listener treats a client that continues without authentication.
            detail.push_str(
                ", at the first request after ApiVersions; does this listener ask for SASL \
                 (security.protocol=SASL_PLAINTEXT or SASL_SSL)?",
            );
        }
        SourceError::Closed {
            peer: self.peer.clone(),
            detail,
        }
    }

    /// Closes for `reason`, unless it is already closed. Requests that wait until the link has
    /// authenticated itself again are left to that: it ends, too, and knows the cause better.
    fn close(&self, reason: SourceError) {
        let pending = {
            let mut state = self.state.lock();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(reason.clone());
            std::mem::take(&mut state.pending)
        };
        for Pending { reply, .. } in pending {
            let _ = reply.send(Err(reason.clone()));
        }
        for task in self.tasks.get().into_iter().flatten() {
            task.abort();
        }
    }

    fn is_waiting(&self) -> bool {
        self.state.lock().unanswered() > 0
    }
}

impl State {
    fn unanswered(&self) -> usize {
        let held = match &self.session {
            Session::Renewing(held) => held.len(),
            _ => 0,
        };
        self.pending.len() + held
    }
}

impl Session {
    fn is_due(&self) -> bool {
        matches!(self, Self::RenewAt(at) if *at <= Instant::now())
    }
}

async fn write_frames(
    inner: Weak<Inner>,
    mut writer: Box<dyn AsyncWrite + Send + Unpin>,
    mut frames: mpsc::UnboundedReceiver<Bytes>,
) {
    while let Some(frame) = frames.recv().await {
        let written = async {
            writer.write_all(&frame).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            if let Some(inner) = inner.upgrade() {
                inner.close(inner.io_failed("while a request was sent: ", &error));
            }
            return;
        }
    }
}

fn common_version(ours: &RangeInclusive<i16>, theirs: &RangeInclusive<i16>) -> Option<i16> {
    let highest = *ours.end().min(theirs.end());
    (highest >= *ours.start().max(theirs.start())).then_some(highest)
}

fn shown(versions: &RangeInclusive<i16>) -> String {
    format!("{} to {}", versions.start(), versions.end())
}

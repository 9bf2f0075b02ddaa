//! Between accepting a connection and its first request: who the client is. And once more, if the
//! client's session ends.
//!
//! A listener without SASL knows it already: by the certificate that the client has shown in the TLS
//! handshake, or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::dispatch::route;
use super::frame::{ReadError, RequestFrame, read_login};
use super::limits::Limits;
use super::places::Slot;
use super::turns::Turn;
use super::writer::{Answer, Pending};
use super::{Arrival, Stream};
use crate::api::{Connection, Context, Frame, Reply};
use crate::auth::{Known, Login, Mechanisms, Step, Users};
use crate::principal::Principal;
use crate::tls::CertificateError;

/// A client logs in once more at most once in this time (`MIN_REAUTH_INTERVAL_ONE_SECOND_NANOS`).
const AGAIN_INTERVAL: Duration = Duration::from_secs(1);
/// How long a refused client may take to close the connection. Some libraries drop an answer if the
/// connection ends before they have looked at it, and never tell their application why.
const LINGER: Duration = Duration::from_millis(200);

/// Who a client is.
pub(super) struct Identity {
    pub(super) principal: Principal,
    /// Where it must log in once more after a time.
    pub(super) session: Option<Session>,
}

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error("the TLS handshake failed: {0}")]
    Tls(#[from] std::io::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("no login within connection.authentication.timeout.ms")]
    TooSlow,
    #[error("it had not shaken hands or logged in when its place was needed for another one")]
    NoPlace,
    #[error("{0}")]
    Refused(String),
    /// It is not the client's fault.
    #[error("the login is not possible now: {0}")]
    Unavailable(String),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("writing failed: {0}")]
    Write(std::io::Error),
}

/// A login that is good for some time.
pub(super) struct Session {
    mechanisms: Arc<Mechanisms>,
    users: Arc<Users>,
    failed_delay: Duration,
    /// How long a login may take.
    limit: Duration,
    known: Known,
    /// When the client last began to log in once more.
    last_again: Option<Instant>,
}

/// What happens to a request of a known client.
pub(super) enum Permitted {
    /// It is handled.
    Request,
    /// It begins another login.
    Login,
    /// It is not handled: the client had to log in once more by now.
    Nothing,
}

/// Finds out who the client is. Reads no byte of the requests that follow. `shown` is the user of the
/// certificate that the client has shown, ANONYMOUS without one.
pub(super) async fn identify<S: Stream>(
    stream: &mut S,
    arrival: &Arrival,
    shown: Principal,
) -> Result<Identity, LoginError> {
    let Some(mechanisms) = arrival.mechanisms() else {
        return Ok(Identity {
            principal: shown,
            session: None,
        });
    };
    let users = Arc::clone(&arrival.shared.broker.users);
    let login = Login::first(Arc::clone(mechanisms), Arc::clone(&users));
    let known = converse(stream, arrival, login).await?;
    metrics::counter!("carrick_logins_total").increment(1);
    Ok(Identity {
        principal: known.principal.clone(),
        session: known.expires.is_some().then(|| Session {
            mechanisms: Arc::clone(mechanisms),
            users,
            failed_delay: arrival.shared.failed_login_delay,
            limit: arrival.shared.authentication_limit,
            known,
            last_again: None,
        }),
    })
}

async fn converse<S: Stream>(
    stream: &mut S,
    arrival: &Arrival,
    mut login: Login,
) -> Result<Known, LoginError> {
    let (limits, slot) = (&arrival.shared.limits, &arrival.slot);
    loop {
        let max_bytes = login.receive_max_bytes();
        let frame = read_login(stream, max_bytes, limits, slot).await?;
        match login.take(frame.bytes).await {
            Step::Versions(request) => {
                let answer = versions(arrival, request)?;
                login.versions_answered(&answer.concat());
                for piece in answer {
                    write(stream, &piece).await?;
                }
            }
            Step::Answer(answer) => write(stream, &answer).await?,
            Step::Done(answer, known) => {
                write(stream, &answer).await?;
                return Ok(known);
            }
            Step::Refused { answer, reason } => {
                sleep(arrival.shared.failed_login_delay).await;
                if let Some(answer) = answer {
                    write(stream, &answer).await?;
                    linger(stream).await;
                }
                return Err(LoginError::Refused(reason));
            }
            Step::Unavailable(reason) => return Err(LoginError::Unavailable(reason)),
        }
    }
}

/// The answer to an ApiVersions request, the only one whose handler runs for clients that are not
/// known.
fn versions(arrival: &Arrival, request: Bytes) -> Result<Frame, LoginError> {
    let refused = |error: String| LoginError::Refused(error);
    let connection = Connection::new(arrival.peer, arrival.listener, Principal::anonymous());
    let broker = Arc::clone(&arrival.shared.broker);
    let mut context = Context::new(broker, Arc::new(connection));
    let request = route(&mut context, request).map_err(|error| refused(error.to_string()))?;
    let handled = request.handle(&context);
    match handled.map_err(|error| refused(error.to_string()))? {
        Reply::Now(Ok(frame)) => Ok(frame),
        _ => Err(refused("ApiVersions has no answer".to_owned())),
    }
}

async fn write<S: Stream>(stream: &mut S, bytes: &[u8]) -> Result<(), LoginError> {
    use tokio::io::AsyncWriteExt;
    stream.write_all(bytes).await.map_err(LoginError::Write)?;
    stream.flush().await.map_err(LoginError::Write)
}

/// Waits until the client has closed or sends more, for a moment at most.
async fn linger<S: Stream>(stream: &mut S) {
    let _ = timeout(LINGER, stream.read_u8()).await;
}

fn outcome<T>(known: &Result<T, LoginError>) -> &'static str {
    match known {
        Ok(_) => "ok",
        Err(_) => "refused",
    }
}

impl Session {
    /// What happens to a request that arrives now (`SocketServer.processCompletedReceives`).
    pub(super) fn request(&mut self, api_key: i16) -> Permitted {
        if api_key == ApiKey::SaslHandshake as i16 && self.begins_again() {
            return Permitted::Login;
        }
        if self.known.expires.is_some_and(|at| Instant::now() > at) {
            metrics::counter!("carrick_sessions_expired_total").increment(1);
            return Permitted::Nothing;
        }
        Permitted::Request
    }

    fn begins_again(&mut self) -> bool {
        let now = Instant::now();
        let is_too_soon = |last: Instant| now.duration_since(last) < AGAIN_INTERVAL;
        if self.last_again.is_some_and(is_too_soon) {
            return false;
        }
        self.last_again = Some(now);
        true
    }

    /// The client logs in once more: `first` is its SaslHandshake. Answers go to the connection's
    /// writer, behind those that are to be sent already.
    pub(super) async fn again<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        (limits, slot): (&Limits, &Slot),
        (first, turn): (RequestFrame, Option<Turn>),
        queue: &mpsc::Sender<Pending>,
    ) -> Result<(), LoginError> {
        let conversation = self.talk_again(reader, (limits, slot), (first, turn), queue);
        let known = match timeout(self.limit, conversation).await {
            Ok(known) => known,
            Err(_) => Err(LoginError::TooSlow),
        };
        metrics::counter!("carrick_relogins_total", "outcome" => outcome(&known)).increment(1);
        self.known = known?;
        Ok(())
    }

    async fn talk_again<R: AsyncRead + Unpin>(
        &self,
        reader: &mut R,
        (limits, slot): (&Limits, &Slot),
        (mut frame, turn): (RequestFrame, Option<Turn>),
        queue: &mpsc::Sender<Pending>,
    ) -> Result<Known, LoginError> {
        let (mechanisms, users) = (Arc::clone(&self.mechanisms), Arc::clone(&self.users));
        let mut login = Login::again(mechanisms, users, self.known.clone());
        let mut turn = Some(turn);
        loop {
            let started = Instant::now();
            let step = login.take(frame.bytes).await;
            if matches!(step, Step::Refused { .. }) {
                sleep(self.failed_delay).await;
            }
            let (answer, outcome) = match step {
                Step::Answer(answer) => (Some(answer), None),
                Step::Done(answer, known) => (Some(answer), Some(Ok(known))),
                Step::Refused { answer, reason } => {
                    (answer, Some(Err(LoginError::Refused(reason))))
                }
                Step::Unavailable(reason) => (None, Some(Err(LoginError::Unavailable(reason)))),
                Step::Versions(_) => {
                    let reason = "it asks for ApiVersions within a login".to_owned();
                    (None, Some(Err(LoginError::Refused(reason))))
                }
            };
            if let Some(answer) = answer {
                let pending = Pending {
                    api: "SaslAuthenticate",
                    started,
                    answer: Answer::Ready(Ok(vec![answer])),
                    room: None,
                    turn: turn.take().flatten(),
                    memory: [None, None],
                    holds_memory: false,
                };
                // Its receiver is gone when the connection has ended.
                let _ = queue.send(pending).await;
            }
            if let Some(outcome) = outcome {
                return outcome;
            }
            frame = read_login(reader, login.receive_max_bytes(), limits, slot).await?;
        }
    }
}

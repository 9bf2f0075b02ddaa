//! The login of one connection, as Kafka's `SaslServerAuthenticator` conducts it.
//!
//! Without IO: [`Login::take`] gets one frame of the client and says what to answer. It waits only for
//! an identity provider's keys, for seconds at most. Invariants: before the client is known, nothing
//! but ApiVersions, SaslHandshake and SaslAuthenticate is answered; no secret is in a reason.
//!
//! ```text
//! first login:  [ApiVersions] → SaslHandshake → SaslAuthenticate … (v1), or tokens without header (v0)
//! once more:                    SaslHandshake → the same; mechanism and user must stay (KIP-368)
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use carrick_protocol::credentials::Mechanism;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::frame::{self, RequestBody, RequestHead};
use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::exchange::{Exchange, Failure, Reply};
use super::mechanisms::Mechanisms;
use super::users::Users;
use crate::clock;
use crate::principal::Principal;

/// Who a client is, and until when that is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub principal: Principal,
    pub mechanism: Mechanism,
    /// From then on the client must log in once more.
    pub expires: Option<Instant>,
}

/// What follows from a frame.
#[derive(Debug)]
pub enum Step {
    /// It asks for ApiVersions: the host answers, and calls [`Login::versions_answered`].
    Versions(Bytes),
    /// This is the answer; the client must send more.
    Answer(Bytes),
    /// This is the last answer: the client is known.
    Done(Bytes, Known),
    /// The client is refused: it gets the answer, if there is one, and the connection is closed.
    Refused {
        answer: Option<Bytes>,
        reason: String,
    },
    /// Closed without an answer: the client may try again.
    Unavailable(String),
}

/// What comes next.
enum State {
    /// ApiVersions or SaslHandshake.
    Start {
        is_first: bool,
    },
    /// SaslHandshake.
    Handshake,
    /// Messages of the mechanism.
    Tokens(Mechanism, Exchange),
    /// Nothing: another mechanism than before was asked for.
    OtherMechanism(String),
    Over,
}

/// A login.
pub struct Login {
    mechanisms: Arc<Mechanisms>,
    users: Arc<Users>,
    /// Who the client is already.
    before: Option<Known>,
    state: State,
    /// Whether messages of the mechanism come within SaslAuthenticate.
    has_headers: bool,
}

impl Login {
    /// The login of a client that has just connected.
    pub fn first(mechanisms: Arc<Mechanisms>, users: Arc<Users>) -> Self {
        Self {
            mechanisms,
            users,
            before: None,
            state: State::Start { is_first: true },
            has_headers: false,
        }
    }

    /// The login of a client that is known, and sends SaslHandshake.
    pub fn again(mechanisms: Arc<Mechanisms>, users: Arc<Users>, before: Known) -> Self {
        Self {
            mechanisms,
            users,
            before: Some(before),
            state: State::Handshake,
            has_headers: false,
        }
    }

    /// Longest frame that is read.
    pub fn receive_max_bytes(&self) -> usize {
        self.mechanisms.receive_max_bytes
    }

    /// Takes a frame of the client, without its length.
    pub async fn take(&mut self, frame: Bytes) -> Step {
        let step = match std::mem::replace(&mut self.state, State::Over) {
            State::Tokens(mechanism, exchange) => match self.has_headers {
                true => self.authenticate(frame, mechanism, exchange).await,
                false => self.token(frame, mechanism, exchange).await,
            },
            State::OtherMechanism(reason) => Err(closed(reason)),
            State::Over => Err(closed("it goes on after the end of the login")),
            state => self.request(frame, state),
        };
        step.unwrap_or_else(|refused| {
            self.state = State::Over;
            refused
        })
    }

    /// The answer that an ApiVersions request got.
    pub fn versions_answered(&mut self, answer: &[u8]) {
        // Length, correlation id, error code. After an error the client may ask in another version.
        if answer.get(8..10) == Some(&[0, 0]) {
            self.state = State::Handshake;
        }
    }

    fn request(&mut self, mut frame: Bytes, state: State) -> Result<Step, Step> {
        let whole = frame.clone();
        let is_first = matches!(state, State::Start { is_first: true });
        let head =
            frame::parse_request_head(&mut frame).map_err(|error| not_kafka(is_first, error))?;
        match ApiKey::try_from(head.api_key) {
            Ok(ApiKey::SaslHandshake) => self.handshake(&head, frame, is_first),
            Ok(ApiKey::ApiVersions) if matches!(state, State::Start { .. }) => {
                self.state = State::Start { is_first: false };
                Ok(Step::Versions(whole))
            }
            Ok(ApiKey::ApiVersions) => Err(closed("it asks for ApiVersions a second time")),
            Ok(other) => Err(not_kafka(is_first, format!("unexpected request {other:?}"))),
            Err(()) => Err(not_kafka(is_first, "unknown API")),
        }
    }

    fn handshake(&mut self, head: &RequestHead, body: Bytes, is_first: bool) -> Result<Step, Step> {
        let request = RequestBody::check(head.api_key, head.api_version, body)
            .and_then(RequestBody::decode::<SaslHandshakeRequest>)
            .map_err(|error| not_kafka(is_first, error))?;
        let name = request.mechanism.as_str();
        let Some(enabled) = self.mechanisms.named(name) else {
            let code = ErrorCode::UNSUPPORTED_SASL_MECHANISM;
            let name: String = name.chars().take(20).collect();
            return Err(Step::Refused {
                answer: self.handshake_answer(head, code),
                reason: format!("SASL mechanism {name:?} is not enabled"),
            });
        };
        let mechanism = enabled.mechanism;
        self.state = match &self.before {
            Some(before) if before.mechanism != mechanism => State::OtherMechanism(format!(
                "SASL mechanism '{name}' requested by client is not supported for \
                 re-authentication of mechanism '{}'",
                before.mechanism.name()
            )),
            _ => State::Tokens(mechanism, Exchange::new(enabled)),
        };
        self.has_headers = head.api_version >= 1;
        match self.handshake_answer(head, ErrorCode::NONE) {
            Some(answer) => Ok(Step::Answer(answer)),
            None => Err(closed("the answer cannot be encoded")),
        }
    }

    fn handshake_answer(&self, head: &RequestHead, code: ErrorCode) -> Option<Bytes> {
        let names = self.mechanisms.names().map(StrBytes::from_static_str);
        let response = SaslHandshakeResponse::default()
            .with_error_code(code.0)
            .with_mechanisms(names.collect());
        encoded(head, &response)
    }

    /// A message within SaslAuthenticate.
    async fn authenticate(
        &mut self,
        mut frame: Bytes,
        mechanism: Mechanism,
        exchange: Exchange,
    ) -> Result<Step, Step> {
        let head = frame::parse_request_head(&mut frame).map_err(closed)?;
        let head = &head;
        match ApiKey::try_from(head.api_key) {
            Ok(ApiKey::SaslAuthenticate) => {}
            Ok(ApiKey::SaslHandshake) => {
                return Err(Step::Refused {
                    answer: self.handshake_answer(head, ErrorCode::ILLEGAL_SASL_STATE),
                    reason: "it begins a second handshake".to_owned(),
                });
            }
            _ => return Err(closed("unexpected request during SASL authentication")),
        }
        let request = RequestBody::check(head.api_key, head.api_version, frame)
            .and_then(RequestBody::decode::<SaslAuthenticateRequest>)
            .map_err(closed)?;
        match self
            .evaluate(&request.auth_bytes, mechanism, exchange)
            .await
        {
            Ok((answer, known)) => {
                let lifetime = known.as_ref().and_then(|known| known.expires);
                let lifetime_ms = lifetime.map_or(0, ms_until);
                let response = SaslAuthenticateResponse::default()
                    .with_error_message(None)
                    .with_auth_bytes(answer.into());
                let response = match head.api_version {
                    0 => response,
                    _ => response.with_session_lifetime_ms(lifetime_ms),
                };
                let answer = encoded(head, &response);
                match (answer, known) {
                    (None, _) => Err(closed("the answer cannot be encoded")),
                    (Some(answer), None) => Ok(Step::Answer(answer)),
                    (Some(answer), Some(known)) => Ok(Step::Done(answer, known)),
                }
            }
            Err(Failure::Unavailable(reason)) => Err(Step::Unavailable(reason)),
            Err(failure) => {
                let (text, reason) = self.texts(failure, mechanism);
                let response = SaslAuthenticateResponse::default()
                    .with_error_code(ErrorCode::SASL_AUTHENTICATION_FAILED.0)
                    .with_error_message(Some(StrBytes::from_string(text)));
                let answer = encoded(head, &response);
                Err(Step::Refused { answer, reason })
            }
        }
    }

    /// A message without a header, after SaslHandshake version 0.
    async fn token(
        &mut self,
        token: Bytes,
        mechanism: Mechanism,
        exchange: Exchange,
    ) -> Result<Step, Step> {
        match self.evaluate(&token, mechanism, exchange).await {
            Ok((answer, known)) => {
                let answer = sized(&answer);
                Ok(match known {
                    None => Step::Answer(answer),
                    Some(known) => Step::Done(answer, known),
                })
            }
            Err(Failure::Unavailable(reason)) => Err(Step::Unavailable(reason)),
            Err(failure) => {
                let (_, reason) = self.texts(failure, mechanism);
                Err(closed(reason))
            }
        }
    }

    async fn evaluate(
        &mut self,
        message: &[u8],
        mechanism: Mechanism,
        mut exchange: Exchange,
    ) -> Result<(Vec<u8>, Option<Known>), Failure> {
        let Some(enabled) = self.mechanisms.named(mechanism.name()) else {
            return Err(Failure::Hidden("the mechanism is not enabled".to_owned()));
        };
        let (answer, user, expires_ms) = match exchange.take(message, enabled, &self.users).await? {
            Reply::Done {
                answer,
                user,
                expires_ms,
            } => (answer, user, expires_ms),
            Reply::More(answer) => {
                self.state = State::Tokens(mechanism, exchange);
                return Ok((answer, None));
            }
        };
        let principal = Principal::user(&user);
        if let Some(before) = &self.before
            && before.principal != principal
        {
            return Err(Failure::Told(format!(
                "Cannot change principals during re-authentication from User.{}: User.{user}",
                before.principal.name()
            )));
        }
        let known = Known {
            principal,
            mechanism,
            expires: expiry(enabled.session, expires_ms),
        };
        Ok((answer, Some(known)))
    }

    /// The text for the client, and the one for the log.
    fn texts(&self, failure: Failure, mechanism: Mechanism) -> (String, String) {
        let what = match self.before {
            None => "authentication",
            Some(_) => "re-authentication",
        };
        match failure {
            Failure::Told(text) => (text.clone(), text),
            Failure::Hidden(reason) | Failure::Unavailable(reason) => {
                let text = format!(
                    "Authentication failed during {what} due to invalid credentials with SASL \
                     mechanism {}",
                    mechanism.name()
                );
                let reason = format!("{text}: {reason}");
                (text, reason)
            }
        }
    }
}

/// When the client must log in once more: when its credential ends, or after the time that the
/// listener gives, whichever comes first.
fn expiry(session: Option<Duration>, expires_ms: Option<i64>) -> Option<Instant> {
    let credential = expires_ms.map(|at| {
        let left_ms = at.saturating_sub(clock::now_ms());
        Duration::from_millis(u64::try_from(left_ms).unwrap_or_default())
    });
    let left = [session, credential].into_iter().flatten().min()?;
    // One that is further away than the clock reaches never ends.
    Instant::now().checked_add(left)
}

/// For the answer to the client, at least 1: 0 means that it never ends.
fn ms_until(expires: Instant) -> i64 {
    let left = expires.saturating_duration_since(Instant::now());
    let left_ms = left.as_micros().div_ceil(1000);
    i64::try_from(left_ms).unwrap_or(i64::MAX).max(1)
}

fn closed(reason: impl ToString) -> Step {
    Step::Refused {
        answer: None,
        reason: reason.to_string(),
    }
}

/// A frame that is no request of Kafka's.
fn not_kafka(is_first: bool, reason: impl ToString) -> Step {
    let reason = reason.to_string();
    match is_first {
        false => closed(reason),
        true => closed(format!(
            "Invalid request, potential reasons: kafka client configured with the wrong security \
             protocol, it does not support KIP-43 or it is not a kafka client: {reason}"
        )),
    }
}

fn encoded<M>(head: &RequestHead, response: &M) -> Option<Bytes>
where
    M: kafka_protocol::protocol::Encodable + kafka_protocol::protocol::HeaderVersion + 'static,
{
    let version = head.api_version;
    let header = M::header_version(version);
    let encoded = frame::encode_response(head.correlation_id, header, response, version);
    encoded
        .inspect_err(|error| tracing::error!(%error, "an answer to a login"))
        .ok()
}

fn sized(token: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(4 + token.len());
    frame.put_u32(u32::try_from(token.len()).unwrap_or_default());
    frame.put_slice(token);
    frame.freeze()
}

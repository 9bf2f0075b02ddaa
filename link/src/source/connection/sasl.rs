//! SASL: SaslHandshake (17) and SaslAuthenticate (36) identify us, before any other request except
//! ApiVersions, and again before the end of a session that the broker has limited
//! (`connections.max.reauth.ms`, KIP-368).
//!
//! Invariant: after a refusal the connection is closed; no part of user, password, token or proofs appears
//! in an error.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carrick_protocol::credentials::bearer::{FirstMessage, LAST};
use carrick_protocol::credentials::{Secret, scram};
use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use tokio::time::Instant;

use super::{Inner, Lane};
use crate::config::oauth::OAuth;
use crate::config::security::{Login, Sasl};
use crate::source::SourceError;
use crate::source::api::{Api, wire_text};
use crate::source::oauth::NoToken;

/// v0 would be followed by bare tokens instead of SaslAuthenticate, before Kafka 1.0.
pub(in crate::source) const HANDSHAKE: RangeInclusive<i16> = 1..=1;
/// v1 says how long the session lasts.
pub(in crate::source) const AUTHENTICATE: RangeInclusive<i16> = 0..=2;

/// A session is renewed after this part of its lifetime, as Kafka's clients do: not all connections
/// at the same time.
const RENEWED_AFTER: std::ops::Range<f64> = 0.85..0.95;
/// Random bytes of a nonce.
const NONCE_BYTES: usize = 18;

/// Authenticates a fresh connection, if it has to be.
pub(super) async fn begin(inner: &Arc<Inner>) -> Result<(), SourceError> {
    match authenticate(inner).await {
        Ok(renew_at) => {
            inner.authenticated(renew_at);
            Ok(())
        }
        Err(error) => {
            inner.not_authenticated(error.clone());
            Err(error)
        }
    }
}

/// Authenticates a connection again; if that fails it is closed.
pub(super) async fn renew(inner: Arc<Inner>) {
    match begin(&inner).await {
        Ok(()) => tracing::debug!(peer = inner.peer, "authenticated again"),
        Err(error) => tracing::debug!(peer = inner.peer, %error, "not authenticated again"),
    }
}

/// When it has to be done again, if ever.
async fn authenticate(inner: &Arc<Inner>) -> Result<Option<Instant>, SourceError> {
    let security = Arc::clone(&inner.settings.security);
    let Some(sasl) = &security.sasl else {
        return Ok(None);
    };
    let exchange = Exchange { inner, sasl };
    let last = match &sasl.login {
        Login::Token(oauth) => exchange.bear(oauth).await?,
        Login::Password {
            username,
            password,
            is_token,
        } => {
            exchange.agree().await?;
            match scram::Hash::of(sasl.mechanism) {
                None => exchange.tell(plain(username, password)).await?,
                Some(hash) => {
                    let password = password.clone();
                    let client = scram::Client::new(hash, username, password, *is_token, nonce());
                    exchange.prove(client).await?
                }
            }
        }
    };
    let lifetime_ms = u64::try_from(last.session_lifetime_ms).unwrap_or(0);
    let part = rand::random_range(RENEWED_AFTER);
    let after = Duration::from_millis(lifetime_ms).mul_f64(part);
    Ok((lifetime_ms > 0).then(|| Instant::now() + after))
}

struct Exchange<'a> {
    inner: &'a Arc<Inner>,
    sasl: &'a Sasl,
}

impl Exchange<'_> {
    /// Agrees on the mechanism.
    async fn agree(&self) -> Result<(), SourceError> {
        let mechanism = self.sasl.mechanism.name();
        let request = SaslHandshakeRequest::default().with_mechanism(wire_text(mechanism));
        let answer = self.call(&request).await?;
        match ErrorCode(answer.error_code) {
            ErrorCode::NONE => Ok(()),
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let offered: Vec<&str> = answer.mechanisms.iter().map(|name| &**name).collect();
                let offered = printable(&offered.join(", "));
                Err(self.refused(format!(
                    "its listener does not accept sasl.mechanism={mechanism}, only {offered}"
                )))
            }
            ErrorCode::ILLEGAL_SASL_STATE => Err(self.refused(
                "its listener does not accept SASL: set security.protocol to PLAINTEXT or SSL, \
                 or use another port"
                    .to_owned(),
            )),
            code => Err(self.refused(format!("it answered SaslHandshake with {code}"))),
        }
    }

    /// Sends a token, and returns the answer.
    async fn tell(&self, token: Bytes) -> Result<SaslAuthenticateResponse, SourceError> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(token);
        let answer = self.call(&request).await?;
        match ErrorCode(answer.error_code) {
            ErrorCode::NONE => Ok(answer),
            ErrorCode::SASL_AUTHENTICATION_FAILED => {
                let words = answer.error_message.as_deref().unwrap_or("no reason given");
                let words = printable(words);
                let mechanism = self.sasl.mechanism.name();
                let (what, next) = match &self.sasl.login {
                    Login::Password { .. } => {
                        ("user and password", "check the ones in sasl.jaas.config")
                    }
                    Login::Token(_) => (
                        "the link's token",
                        "compare its issuer, audience, scope and times with what the source's \
                         listener expects, whose log has the reason",
                    ),
                };
                Err(self.refused(format!("it refused {what} ({mechanism}: {words}): {next}")))
            }
            code => Err(self.refused(format!("it answered SaslAuthenticate with {code}"))),
        }
    }

    /// OAUTHBEARER. It gets the token first, and then talks to the source.
    async fn bear(&self, oauth: &OAuth) -> Result<SaslAuthenticateResponse, SourceError> {
        let Some(tokens) = &self.inner.settings.tokens else {
            return Err(self.refused("the link has no source of tokens".to_owned()));
        };
        let token = tokens.token().await.map_err(|failure| match failure {
            NoToken {
                from,
                detail,
                is_retriable: true,
            } => SourceError::NoToken { from, detail },
            NoToken { from, detail, .. } => {
                self.refused(format!("there is no token from {from}: {detail}"))
            }
        })?;
        let extensions = oauth.extensions.iter();
        let first = FirstMessage {
            token: token.text(),
            name: None,
            extensions: extensions.map(|(key, value)| (&**key, &**value)).collect(),
        };
        let first = first.write();
        let first = first.map_err(|reason| self.refused(format!("no login: {reason}")))?;
        self.agree().await?;
        let answer = self.tell(first.into()).await;
        let refused = match answer {
            Ok(answer) if answer.auth_bytes.is_empty() => return Ok(answer),
            // It says why once we have heard that it refuses.
            Ok(_) => self.tell(Bytes::from_static(LAST)).await.err(),
            Err(error) => Some(error),
        };
        tokens.refused(&token).await;
        let silent = || self.refused("it refused the link's token".to_owned());
        Err(refused.unwrap_or_else(silent))
    }

    /// SCRAM, to the end.
    async fn prove(&self, client: scram::Client) -> Result<SaslAuthenticateResponse, SourceError> {
        let wrong = |reason: String| {
            let mechanism = self.sasl.mechanism.name();
            self.refused(format!("{mechanism} failed: {reason}"))
        };
        let challenge = self.tell(client.first().into()).await?.auth_bytes;
        // Thousands of hashes: not where others wait.
        let computed = tokio::task::spawn_blocking(move || client.last(&challenge));
        let computed = computed.await.map_err(|_| SourceError::ShutDown)?;
        let (last, proof) = computed.map_err(wrong)?;
        let answer = self.tell(last.into()).await?;
        proof.verify(&answer.auth_bytes).map_err(wrong)?;
        Ok(answer)
    }

    async fn call<R: Api>(&self, request: &R) -> Result<R::Response, SourceError> {
        let version = self.inner.version::<R>()?;
        let sent = self
            .inner
            .enqueue(request, version, Duration::ZERO, Lane::Sasl);
        self.inner.answer::<R>(sent, version).await
    }

    fn refused(&self, detail: String) -> SourceError {
        SourceError::Authentication {
            peer: self.inner.peer.clone(),
            detail,
        }
    }
}

/// RFC 4616: no authorization identity, user, password.
fn plain(username: &Secret, password: &Secret) -> Bytes {
    let (username, password) = (username.expose(), password.expose());
    format!("\0{username}\0{password}").into()
}

fn nonce() -> String {
    let bytes: [u8; NONCE_BYTES] = rand::random();
    let mut nonce = String::with_capacity(2 * NONCE_BYTES);
    for byte in bytes {
        let _ = write!(nonce, "{byte:02x}");
    }
    nonce
}

/// A peer's text, made safe for a log.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

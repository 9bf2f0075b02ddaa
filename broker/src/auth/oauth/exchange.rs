//! The mechanism OAUTHBEARER (RFC 7628, KIP-255), as Kafka's `OAuthBearerSaslServer` speaks it.
//!
//! Extensions in the client's first message mean nothing, as with Kafka's own handler.

use std::sync::Arc;

use carrick_protocol::credentials::bearer::{FirstMessage, INVALID_TOKEN};

use super::{TokenError, Tokens, Verified};

/// What a message has led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The client is known. The answer is empty.
    Done(Verified),
    /// The token is refused; the client gets this, and has to answer.
    Refused(&'static str),
}

/// Why the login has failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// With these words for the client.
    #[error("{0}")]
    Told(String),
    /// The client gets no details.
    #[error("the client's first message is malformed: {0}")]
    Malformed(&'static str),
    /// It is not the client's fault: it may try again.
    #[error("{0}")]
    Unavailable(TokenError),
}

/// One login.
#[derive(Debug)]
pub struct Exchange {
    tokens: Arc<Tokens>,
    is_refused: bool,
}

impl Exchange {
    pub fn new(tokens: Arc<Tokens>) -> Self {
        Self {
            tokens,
            is_refused: false,
        }
    }

    /// Takes a message of the client. May wait for the provider's keys, for as long as [`Tokens::verify`] does.
    ///
    /// # Errors
    /// Why the login has failed.
    pub async fn take(&mut self, message: &[u8]) -> Result<Step, Failure> {
        // Nobody tries one token after the other: each refusal costs the delay of a failed login.
        if self.is_refused {
            return Err(Failure::Told(INVALID_TOKEN.to_owned()));
        }
        let first = FirstMessage::read(message).map_err(Failure::Malformed)?;
        match self.tokens.verify(first.token).await {
            Ok(verified) => {
                check_name(first.name.as_deref(), &verified)?;
                Ok(Step::Done(verified))
            }
            Err(error @ TokenError::NoKeys) => Err(Failure::Unavailable(error)),
            Err(error) => {
                tracing::debug!(%error, "a token is refused");
                self.is_refused = true;
                Ok(Step::Refused(INVALID_TOKEN))
            }
        }
    }
}

/// A client may name itself, but not somebody else.
fn check_name(name: Option<&str>, verified: &Verified) -> Result<(), Failure> {
    match name {
        Some(name) if name != verified.user => Err(Failure::Told(format!(
            "Authentication failed: Client requested an authorization id ({name}) that is different \
             from the token's principal name ({})",
            verified.user
        ))),
        _ => Ok(()),
    }
}

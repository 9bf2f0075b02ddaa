//! The messages of one mechanism, the server's side.

use std::mem;
use std::sync::Arc;

use carrick_protocol::credentials::scram::{ClientFirst, Server};
use carrick_protocol::credentials::{Mechanism, are_equal};

use super::mechanisms::{Checks, Enabled, PlainUsers};
use super::users::random_text;
use super::{Users, oauth};

const OTHER_NAME: &str = "Authentication failed: Client requested an authorization id that is \
                          different from username";

/// What a client's message has led to.
pub(super) enum Reply {
    /// The client must send more.
    More(Vec<u8>),
    /// The client is this user, until then if its credential ends.
    Done {
        answer: Vec<u8>,
        user: String,
        expires_ms: Option<i64>,
    },
}

/// Why a client is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The client gets this text.
    Told(String),
    /// The text is for the log: the client gets a general one, which does not show who exists.
    Hidden(String),
    /// It is not the client's fault: it gets no answer, and tries again.
    Unavailable(String),
}

/// One conversation.
pub(super) enum Exchange {
    Plain,
    Scram(Mechanism),
    /// The proof is still to come.
    ScramProof(Server, String),
    OAuthBearer(oauth::Exchange),
    Over,
}

impl Exchange {
    pub fn new(enabled: &Enabled) -> Self {
        match &enabled.checks {
            Checks::Plain(_) => Self::Plain,
            Checks::Scram => Self::Scram(enabled.mechanism),
            Checks::OAuthBearer(tokens) => {
                Self::OAuthBearer(oauth::Exchange::new(Arc::clone(tokens)))
            }
        }
    }

    /// Takes a message. Waits at most for an identity provider's keys.
    ///
    /// # Errors
    /// The client is not let in.
    pub async fn take(
        &mut self,
        message: &[u8],
        enabled: &Enabled,
        users: &Users,
    ) -> Result<Reply, Failure> {
        match mem::replace(self, Self::Over) {
            Self::Plain => match &enabled.checks {
                Checks::Plain(users) => plain(message, users),
                Checks::Scram | Checks::OAuthBearer(_) => Err(over()),
            },
            Self::Scram(mechanism) => {
                let (answer, server, user) = scram_first(message, mechanism, users)?;
                *self = Self::ScramProof(server, user);
                Ok(Reply::More(answer))
            }
            Self::ScramProof(server, user) => {
                let answer = server.last(message).map_err(Failure::Hidden)?;
                Ok(Reply::Done {
                    answer: answer.into_bytes(),
                    user,
                    expires_ms: None,
                })
            }
            Self::OAuthBearer(mut exchange) => {
                let reply = bearer(exchange.take(message).await)?;
                *self = Self::OAuthBearer(exchange);
                Ok(reply)
            }
            Self::Over => Err(over()),
        }
    }
}

fn over() -> Failure {
    Failure::Hidden("it goes on after the end of the conversation".to_owned())
}

/// RFC 4616, as `PlainSaslServer` reads it: `[authzid] NUL authcid NUL passwd`.
fn plain(message: &[u8], users: &PlainUsers) -> Result<Reply, Failure> {
    let hidden = |reason: &str| Failure::Hidden(reason.to_owned());
    let message = std::str::from_utf8(message).map_err(|_| hidden("it is not UTF-8"))?;
    let parts: Vec<_> = message.splitn(4, '\0').collect();
    let &[acts_as, user, password] = parts.as_slice() else {
        return Err(hidden("it has not three parts"));
    };
    if user.is_empty() || password.is_empty() {
        return Err(hidden("the user or the password is empty"));
    }
    let known = users.password(user);
    let expected = known.map_or("", |password| password.expose());
    let is_right = are_equal(password.as_bytes(), expected.as_bytes()) && known.is_some();
    if !is_right {
        return Err(Failure::Told(
            "Authentication failed: Invalid username or password".to_owned(),
        ));
    }
    if !acts_as.is_empty() && acts_as != user {
        return Err(Failure::Told(OTHER_NAME.to_owned()));
    }
    Ok(Reply::Done {
        answer: Vec::new(),
        user: user.to_owned(),
        expires_ms: None,
    })
}

fn scram_first(
    message: &[u8],
    mechanism: Mechanism,
    users: &Users,
) -> Result<(Vec<u8>, Server, String), Failure> {
    let first = ClientFirst::parse(message).map_err(Failure::Hidden)?;
    if first.is_token {
        let reason = "there are no delegation tokens";
        return Err(Failure::Hidden(reason.to_owned()));
    }
    let user = first.username.clone();
    let as_other = !first.authorization_id.is_empty() && first.authorization_id != user;
    if as_other {
        return Err(Failure::Told(OTHER_NAME.to_owned()));
    }
    let credential = users.credential_or_decoy(&user, mechanism);
    let credential = credential.map_err(|error| Failure::Hidden(error.to_string()))?;
    let nonce = random_text().map_err(|error| Failure::Unavailable(error.to_string()))?;
    let (answer, server) = Server::first(&first, credential, &nonce);
    Ok((answer.into_bytes(), server, user))
}

fn bearer(step: Result<oauth::Step, oauth::Failure>) -> Result<Reply, Failure> {
    use oauth::{Failure as Refused, Step};
    match step {
        Ok(Step::Done(verified)) => Ok(Reply::Done {
            answer: Vec::new(),
            user: verified.user,
            expires_ms: Some(verified.expires_ms),
        }),
        Ok(Step::Refused(answer)) => Ok(Reply::More(answer.as_bytes().to_vec())),
        Err(Refused::Told(text)) => Err(Failure::Told(text)),
        Err(refused @ Refused::Malformed(_)) => Err(Failure::Hidden(refused.to_string())),
        Err(refused @ Refused::Unavailable(_)) => Err(Failure::Unavailable(refused.to_string())),
    }
}

//! Finding any broker: first some of the known ones, then the bootstrap list in its order.
//!
//! An attempt continues when its caller gives up (an availability check is less patient than a TCP
//! connect to a host that drops packets); the next caller waits for its outcome. After a failure,
//! every caller gets that failure until the back-off has passed: the cause, not a timeout.

use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::state::Endpoint;
use super::{Inner, OpenError};
use crate::source::SourceError;
use crate::source::connection::Connection;
use crate::source::transport::DialError;

/// Known brokers that are tried before the bootstrap list.
const KNOWN_TRIED_MAX: usize = 3;
/// If a server hasn't answered for this long, the next one of the list is tried as well.
const HEAD_START: Duration = Duration::from_millis(500);

/// Who may be connected to.
struct Candidate {
    endpoint: Endpoint,
    host: String,
    port: u16,
}

/// The servers that failed, in the order in which they were tried.
type Failures = Vec<(String, OpenError)>;

impl Inner {
    /// The connection for control requests, to whichever broker answers.
    pub(super) async fn control(self: &Arc<Self>) -> Result<Arc<Connection>, SourceError> {
        let mut slot = self.control.clone().lock_owned().await;
        self.state.lock().check_running()?;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let cluster = self.clone();
        let opening = tokio::spawn(async move {
            let connection = Arc::new(cluster.any_broker().await?);
            *slot = Some(connection.clone());
            Ok(connection)
        });
        self.state.lock().opening(opening.abort_handle())?;
        opening.await.unwrap_or(Err(SourceError::ShutDown))
    }

    async fn any_broker(self: &Arc<Self>) -> Result<Connection, SourceError> {
        let mut known = self.state.lock().brokers_ready();
        known.shuffle(&mut rand::rng());
        let known = known
            .into_iter()
            .take(KNOWN_TRIED_MAX)
            .map(|broker| Candidate {
                endpoint: Endpoint::Broker(broker.id),
                host: broker.host,
                port: broker.port,
            });
        if let Ok(connection) = self.first_to_answer(known.collect()).await {
            return Ok(connection);
        }
        self.state.lock().bootstrap_failure()?;
        let servers = self.bootstrap.iter().map(|(host, port)| Candidate {
            endpoint: Endpoint::Bootstrap,
            host: host.clone(),
            port: *port,
        });
        let answered = self
            .first_to_answer(servers.collect())
            .await
            .map_err(most_telling);
        self.state
            .lock()
            .settle_bootstrap(answered.as_ref().err(), &self.reconnect);
        answered
    }

    /// The connection to the first candidate that answers, tried in this order, each with a head start.
    async fn first_to_answer(
        self: &Arc<Self>,
        candidates: Vec<Candidate>,
    ) -> Result<Connection, Failures> {
        let mut failures: Vec<(usize, String, OpenError)> = Vec::new();
        let mut untried = candidates.into_iter().enumerate();
        let mut tried = JoinSet::new();
        let mut next_at = Instant::now();
        loop {
            tokio::select! {
                Some(outcome) = tried.join_next() => match outcome {
                    Ok((_, _, Ok(connection))) => return Ok(connection),
                    Ok((index, peer, Err(error))) => {
                        failures.push((index, peer, error));
                        next_at = Instant::now();
                    }
                    Err(_) => {}
                },
                () = sleep_until(next_at), if untried.len() > 0 => {
                    next_at += HEAD_START;
                    if let Some((index, candidate)) = untried.next() {
                        let cluster = self.clone();
                        tried.spawn(async move {
                            let peer = format!("{}:{}", candidate.host, candidate.port);
                            (index, peer, cluster.try_candidate(&candidate).await)
                        });
                    }
                }
                else => break,
            }
        }
        failures.sort_by_key(|(index, ..)| *index);
        Err(failures
            .into_iter()
            .map(|(_, peer, error)| (peer, error))
            .collect())
    }

    async fn try_candidate(&self, candidate: &Candidate) -> Result<Connection, OpenError> {
        let opened = self
            .open(&candidate.endpoint, &candidate.host, candidate.port)
            .await;
        if let Endpoint::Broker(_) = candidate.endpoint {
            self.settle(&candidate.endpoint, opened.is_ok());
        }
        opened
    }
}

/// One error for several servers: the error of the first that got past TCP; if none did, each
/// server is named.
fn most_telling(failures: Failures) -> SourceError {
    let (mut unresolved, mut unconnected) = (Vec::new(), Vec::new());
    for (peer, failure) in failures {
        match failure {
            OpenError::Source(error) => return error,
            OpenError::Dial(DialError::Unresolved(detail)) => {
                unresolved.push(format!("{peer}: {detail}"));
            }
            OpenError::Dial(DialError::Failed(detail)) => unconnected.push((peer, detail)),
        }
    }
    let Some((first, _)) = unconnected.first() else {
        return SourceError::UnresolvableBootstrap {
            detail: unresolved.join("; "),
        };
    };
    let peer = match unconnected.len() + unresolved.len() {
        1 => first.clone(),
        n => format!("any of {n} bootstrap servers"),
    };
    let details = unconnected
        .into_iter()
        .map(|(_, detail)| detail)
        .chain(unresolved);
    SourceError::ConnectFailed {
        peer,
        detail: details.collect::<Vec<_>>().join("; "),
    }
}

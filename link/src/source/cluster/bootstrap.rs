//! Finding any broker at all: first the known ones, then the bootstrap list in its order.

use std::sync::Arc;

use rand::seq::SliceRandom;
use tokio::task::JoinSet;

use super::{Inner, OpenError, wait_until};
use crate::source::SourceError;
use crate::source::cluster::state::Endpoint;
use crate::source::connection::Connection;
use crate::source::transport::DialError;

/// So many known brokers are tried at once before the bootstrap list is.
const KNOWN_TRIED_MAX: usize = 3;

impl Inner {
    /// The connection for control requests, to whichever broker answers.
    pub(super) async fn control(self: &Arc<Self>) -> Result<Arc<Connection>, SourceError> {
        let mut slot = self.control.lock().await;
        self.state.lock().check_running()?;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = match self.any_known_broker().await {
            Some(connection) => connection,
            None => self.any_bootstrap_server().await?,
        };
        let connection = Arc::new(connection);
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// The first of some known brokers that answers.
    async fn any_known_broker(self: &Arc<Self>) -> Option<Connection> {
        let mut brokers = self.state.lock().brokers_ready();
        brokers.shuffle(&mut rand::rng());
        let mut attempts = JoinSet::new();
        for broker in brokers.into_iter().take(KNOWN_TRIED_MAX) {
            let cluster = self.clone();
            attempts.spawn(async move { cluster.connect(&broker).await });
        }
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(connection)) => return Some(connection),
                Ok(Err(error)) => tracing::debug!(%error, "a known source broker is out of reach"),
                Err(_) => {}
            }
        }
        None
    }

    /// The first bootstrap server that answers.
    async fn any_bootstrap_server(&self) -> Result<Connection, SourceError> {
        let not_before = self.state.lock().not_before(&Endpoint::Bootstrap);
        wait_until(not_before).await;
        let mut failures = Vec::new();
        for (host, port) in &self.bootstrap {
            match self.open(&Endpoint::Bootstrap, host, *port).await {
                Ok(connection) => {
                    self.settle(&Endpoint::Bootstrap, true);
                    return Ok(connection);
                }
                Err(error) => failures.push((format!("{host}:{port}"), error)),
            }
        }
        self.settle(&Endpoint::Bootstrap, false);
        Err(most_telling(failures))
    }
}

/// One error for several servers: that of the one that came furthest; each is named if none came past TCP.
fn most_telling(failures: Vec<(String, OpenError)>) -> SourceError {
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
    let peer = match unconnected.len() {
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

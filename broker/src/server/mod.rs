//! Listeners, connections, and their limits.
//!
//! One task accepts per listener and owns its connections' tasks. A connection has a reader, which
//! dispatches requests, each when its turn comes (`turns`), and a writer, which sends replies in
//! the same order. Between them is a queue with limits for number and bytes, so a client that
//! doesn't read its answers is not read either.
//!
//! Stop: accepting ends immediately; readers end at their next frame; writers finish what is
//! queued; what isn't finished within the limit is cut off.

mod config;
mod connection;
mod dispatch;
mod frame;
mod limits;
mod listener;
mod login;
mod places;
mod rates;
pub mod security;
mod seldom;
mod stream;
#[cfg(test)]
mod tests;
mod turns;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;

use crate::api::{Connection, Context};
use crate::audit::{Event, Outcome, Via};
use crate::auth::Mechanisms;
use crate::broker::Broker;
use crate::clock;
use crate::config::{ConfigError, SecurityProtocol, Values};
use crate::principal::Principal;
use crate::tls::Handshakes;
use limits::Limits;
use login::{Identity, LoginError};
use places::{Newcomer, Places, Slot};
use rates::Rates;
use seldom::Seldom;

pub use config::ServerConfig;
pub use listener::Listener;
use stream::Stream;

/// Checks properties of connections that may change while the broker runs.
///
/// # Errors
/// The first that makes no sense.
pub fn check(values: &Values) -> Result<(), ConfigError> {
    places::check(values)
}

/// How long the broker waits after a failed accept (no file descriptors, usually).
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// With this many connections, those that exceed a quota are closed immediately.
const TURNED_AWAY_MAX: usize = 10_000;

/// Pending connections per listener, for the kernel.
const BACKLOG: u32 = 1024;

/// Sockets that are bound: their ports are taken, and refuse connections until
/// [`listen`](Self::listen).
pub struct Bound {
    sockets: Vec<TcpSocket>,
    /// The bound addresses, in the order of `listeners`.
    pub addresses: Vec<SocketAddr>,
}

impl Bound {
    /// Binds every listener.
    ///
    /// # Errors
    /// The first one that can't be bound, with its address.
    pub async fn bind(listeners: &[Listener]) -> Result<Self, (String, std::io::Error)> {
        let mut bound = Bound {
            sockets: Vec::new(),
            addresses: Vec::new(),
        };
        for listener in listeners {
            let host = if listener.host.is_empty() {
                "0.0.0.0"
            } else {
                &listener.host
            };
            let name = format!("{host}:{}", listener.port);
            let socket = bind_one(host, listener.port)
                .await
                .map_err(|error| (name.clone(), error))?;
            bound
                .addresses
                .push(socket.local_addr().map_err(|error| (name, error))?);
            bound.sockets.push(socket);
        }
        Ok(bound)
    }

    /// Lets clients connect; they wait until [`Server::start`].
    ///
    /// # Errors
    /// The first address that another process listens on in the meantime.
    pub fn listen(self) -> Result<Vec<TcpListener>, (String, std::io::Error)> {
        let sockets = self.sockets.into_iter().zip(self.addresses);
        let listen = |(socket, address): (TcpSocket, SocketAddr)| {
            let listener = socket.listen(BACKLOG);
            listener.map_err(|error| (address.to_string(), error))
        };
        sockets.map(listen).collect()
    }
}

async fn bind_one(host: &str, port: u16) -> std::io::Result<TcpSocket> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "resolves to no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        match socket.bind(address) {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The running listeners.
pub struct Server {
    stop: watch::Sender<bool>,
    acceptors: Vec<JoinHandle<()>>,
}

/// What all connections share.
struct Shared {
    broker: Arc<Broker>,
    places: Arc<Places>,
    rates: Rates,
    /// Lines about connections that found no place, and about clients that were not let in.
    refusals: Seldom,
    failures: Seldom,
    limits: Limits,
    /// In the order of `Broker::endpoints`.
    listeners: Vec<Listener>,
    handshakes: Handshakes,
    /// `connection.authentication.timeout.ms`
    authentication_limit: Duration,
    /// What listeners with SASL accept, in the same order.
    sasl: Vec<Option<Arc<Mechanisms>>>,
    failed_login_delay: Duration,
}

impl Server {
    /// Serves clients.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn start(
        listeners: Vec<TcpListener>,
        broker: &Arc<Broker>,
        config: &ServerConfig,
    ) -> std::io::Result<Server> {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            broker: Arc::clone(broker),
            places: Places::new(),
            rates: Rates::new(&broker.properties.values(), config.listeners.len()),
            refusals: Seldom::default(),
            failures: Seldom::default(),
            limits: Limits::new(&broker.limits, config.idle),
            listeners: config.listeners.clone(),
            handshakes: Handshakes::start(!config.tls().is_empty())?,
            authentication_limit: config.authentication_limit,
            sasl: config.sasl.clone(),
            failed_login_delay: config.failed_login_delay,
        });
        let acceptors = listeners
            .into_iter()
            .enumerate()
            .map(|(index, listener)| {
                tokio::spawn(accept(
                    listener,
                    index,
                    Arc::clone(&shared),
                    stopped.clone(),
                ))
            })
            .collect();
        Ok(Server { stop, acceptors })
    }

    /// Stops accepting and waits until the connections have answered what they had read, at most
    /// `limit`.
    pub async fn stop(self, limit: Duration) {
        self.stop.send_replace(true);
        let deadline = Instant::now() + limit;
        for mut acceptor in self.acceptors {
            if tokio::time::timeout_at(deadline, &mut acceptor)
                .await
                .is_err()
            {
                tracing::warn!("connections were closed: they did not finish within the limit");
                acceptor.abort();
            }
        }
    }
}

async fn accept(
    listener: TcpListener,
    index: usize,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut stop = stopped.clone();
    let mut accepts_from = Instant::now();
    loop {
        let accepting = async {
            tokio::time::sleep_until(accepts_from).await;
            listener.accept().await
        };
        tokio::select! {
            () = stop_signal(&mut stop) => break,
            Some(ended) = connections.join_next() => log_panic(ended),
            accepted = accepting => match accepted {
                Ok((stream, peer)) => {
                    let wait_ms = admit(stream, peer, index, &shared, &stopped, &mut connections);
                    accepts_from = Instant::now() + Duration::from_millis(wait_ms);
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    accepts_from = Instant::now() + ACCEPT_BACK_OFF;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        log_panic(ended);
    }
}

/// A connection that ends with a panic affects no other, but must not go unnoticed.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

/// Returns when the broker stops.
async fn stop_signal(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender was dropped, and the broker with it.
    drop(stopped.wait_for(|stop| *stop).await);
}

/// Closes a connection over its address' quota, but not immediately: a client that connects again
/// and again is slowed down (KIP-612).
fn turn_away(stream: TcpStream, wait_ms: u64, connections: &mut JoinSet<()>) {
    if connections.len() >= TURNED_AWAY_MAX {
        return;
    }
    connections.spawn(async move {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        drop(stream);
    });
}

/// Takes in a connection, if there is a place for it; how long none should be accepted then, in ms.
fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    index: usize,
    shared: &Arc<Shared>,
    stopped: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) -> u64 {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let now_ms = clock::now_ms();
    let listener = &shared.listeners[index];
    let values = shared.broker.properties.values();
    let listener_name = (index, listener.name.as_str());
    let pause_ms = shared.rates.record(listener_name, &values, now_ms);
    let wait_ms = shared.broker.quotas.record_connection(peer.ip(), now_ms);
    if let Ok(wait_ms @ 1..) = u64::try_from(wait_ms) {
        turn_away(stream, wait_ms, connections);
        return pause_ms;
    }
    let newcomer = Newcomer {
        ip: peer.ip(),
        listener: listener_name,
        is_unknown: listener.protocol != SecurityProtocol::Plaintext,
    };
    match shared.places.admit(newcomer, &values) {
        Ok(slot) => {
            let arrival = Arrival {
                shared: Arc::clone(shared),
                listener: index,
                peer,
                slot,
            };
            let stopped = stopped.clone();
            connections.spawn(async move { arrival.attend(stream, stopped).await });
        }
        Err(full) => {
            let listener = &listener.name;
            if let Some(others) = shared.refusals.left_out(std::time::Instant::now()) {
                tracing::warn!(%peer, listener, others, "connection refused: {full}");
            }
        }
    }
    pause_ms
}

/// A connection that was accepted, and whose client is not known yet.
struct Arrival {
    shared: Arc<Shared>,
    /// Index of the listener that accepted it.
    listener: usize,
    peer: SocketAddr,
    slot: Slot,
}

impl Arrival {
    /// The listener that accepted it.
    fn listener(&self) -> &Listener {
        &self.shared.listeners[self.listener]
    }

    /// What the client may log in with, if it must.
    fn mechanisms(&self) -> Option<&Arc<Mechanisms>> {
        self.shared.sasl[self.listener].as_ref()
    }

    /// Finds out who the client is, then serves it.
    async fn attend(&self, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
        let peer = self.peer;
        let entering = timeout(self.shared.authentication_limit, self.enter(stream));
        let entered = tokio::select! {
            entered = entering => entered.unwrap_or(Err(LoginError::TooSlow)),
            () = self.slot.cut() => Err(LoginError::NoPlace),
            () = stop_signal(&mut stopped) => return,
        };
        let entered = match self.slot.known() {
            false if entered.is_ok() => Err(LoginError::NoPlace),
            _ => entered,
        };
        match entered {
            Ok(Entered::Plain(stream, identity)) => self.serve(stream, identity, stopped).await,
            Ok(Entered::Tls(stream, identity)) => self.serve(*stream, identity, stopped).await,
            Err(refused) => {
                self.note_refusal(&refused);
                let listener = self.listener().name.clone();
                metrics::counter!("carrick_failed_authentications_total", "listener" => listener.clone())
                    .increment(1);
                if let Some(others) = self.shared.failures.left_out(std::time::Instant::now()) {
                    tracing::info!(%peer, listener, others, "a client was not let in: {refused}");
                }
            }
        }
    }

    /// Clients whose credentials were looked at are in the audit log.
    fn note_refusal(&self, refused: &LoginError) {
        if !matches!(refused, LoginError::Refused(_) | LoginError::Certificate(_)) {
            return;
        }
        self.shared.broker.audit.note(Event {
            who: Principal::anonymous(),
            from: self.peer.ip(),
            via: Via::Kafka,
            action: "Authenticate",
            target: None,
            detail: format!("listener {}: {refused}", self.listener().name),
            is_dry_run: false,
            outcome: Outcome::NotAuthenticated("the credentials are not accepted"),
        });
    }

    /// TLS, then login.
    async fn enter(&self, mut stream: TcpStream) -> Result<Entered, LoginError> {
        let Some(tls) = &self.listener().tls else {
            let identity = login::identify(&mut stream, self, Principal::anonymous()).await?;
            return Ok(Entered::Plain(stream, identity));
        };
        let handshakes = &self.shared.handshakes;
        let mut stream = handshakes.shake(tls.config(), stream).await?;
        let (_, session) = stream.get_ref();
        let shown = tls.principal(session.peer_certificates().unwrap_or_default())?;
        let identity = login::identify(&mut stream, self, shown).await?;
        Ok(Entered::Tls(Box::new(stream), identity))
    }

    async fn serve<S: Stream>(
        &self,
        stream: S,
        identity: Identity,
        stopped: watch::Receiver<bool>,
    ) {
        let Identity { principal, session } = identity;
        let connection = Connection::new(self.peer, self.listener, principal);
        let broker = Arc::clone(&self.shared.broker);
        let context = Context::new(broker, Arc::new(connection));
        let limits = (&self.shared.limits, &self.slot);
        connection::serve(stream, (context, session), limits, stopped).await;
    }
}

/// A client that is known, and its connection.
enum Entered {
    Plain(TcpStream, Identity),
    Tls(Box<TlsStream<TcpStream>>, Identity),
}

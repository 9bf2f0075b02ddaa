//! The listener itself: bind, serve, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::authn::{Attempts, Authn, Policy};
use super::caller::Peer;
use super::config::{RestConfig, RestListener};
use super::connections::{Admitted, Connections, Slot, Watched};
use super::gate::Gate;
use super::guard::Guard;
use super::limits::{HEAD_MAX_BYTES, HEAD_MAX_LINES, Times};
use super::metrics::recorder;
use super::{Shared, router, starting_router};
use crate::starting::Starting;
use crate::tls::{self, Handshakes, ServerTls};

/// How often connections are checked for clients that do not read their answers.
const STUCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// After no connection could be accepted.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// When and how often TCP probes a silent client.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long answers in progress may take once the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How often the recorder folds its samples, so that they do not pile up between scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The HTTP listeners, bound: clients that connect wait.
pub struct HttpListeners {
    listeners: Vec<(RestListener, SocketAddr, TcpListener)>,
    policy: Policy,
    allowed_hosts: Arc<[String]>,
}

impl HttpListeners {
    /// Binds all addresses. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address that could not be bound, and why.
    pub async fn bind(config: &RestConfig) -> Result<Self, (String, io::Error)> {
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for wanted in &config.listeners {
            let failed = |error| (format!("{}://{}", wanted.scheme(), wanted.address), error);
            let listener = TcpListener::bind(wanted.address).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            listeners.push((wanted.clone(), bound, listener));
        }
        Ok(HttpListeners {
            listeners,
            policy: config.policy.clone(),
            allowed_hosts: Arc::clone(&config.allowed_hosts),
        })
    }

    /// The listeners with the addresses that were bound, in the order in which they were given.
    pub fn addresses(&self) -> Vec<RestListener> {
        let each = self.listeners.iter();
        each.map(|(listener, address, _)| RestListener {
            address: *address,
            ..listener.clone()
        })
        .collect()
    }

    /// Serves the routes of a broker that is starting, until [`HttpServer::open`].
    ///
    /// # Errors
    /// There are no threads left for TLS.
    pub fn serve(self, starting: &Arc<Starting>) -> io::Result<HttpServer> {
        self.serve_with(starting, Times::default())
    }

    pub(super) fn serve_with(
        self,
        starting: &Arc<Starting>,
        times: Times,
    ) -> io::Result<HttpServer> {
        // Not those of Kafka's listeners: a flood there must not keep operators out.
        let tls = self.listeners.iter().find_map(|(of, ..)| of.tls.clone());
        let handshakes = Arc::new(Handshakes::start(tls.is_some())?);
        let (stop, stopped) = watch::channel(false);
        let mut server = HttpServer {
            gate: Gate::new(times),
            policy: self.policy,
            attempts: Arc::default(),
            #[cfg(test)]
            addresses: Vec::new(),
            routes: Vec::new(),
            stop,
            tasks: Vec::new(),
            watching: None,
        };
        for (of, _address, listener) in self.listeners {
            let guard = guard_of(&of, &self.allowed_hosts);
            let routes = Routes::new(starting, guard, &server.policy);
            #[cfg(test)]
            server.addresses.push(_address);
            server.routes.push(routes.clone());
            let entrance = Entrance {
                routes,
                times,
                tls: of.tls.clone(),
                handshakes: Arc::clone(&handshakes),
            };
            let serving = accept(listener, entrance, stopped.clone());
            server.tasks.push(tokio::spawn(serving));
        }
        server.tasks.push(tokio::spawn(upkeep(until(stopped))));
        server.watching = tls.map(|tls| tls::watch(vec![tls]));
        Ok(server)
    }
}

/// Which hosts and origins a listener accepts. On loopback, no name but those that are allowed.
fn guard_of(listener: &RestListener, allowed: &Arc<[String]>) -> Guard {
    let own = (!listener.is_loopback()).then(|| listener.host.clone());
    Guard {
        scheme: listener.scheme(),
        hosts: allowed.iter().cloned().chain(own).collect(),
    }
}

/// The routes of one listener: those of a start, then the broker's own.
#[derive(Clone)]
struct Routes {
    guard: Guard,
    starting: Router,
    own: Arc<OnceLock<Router>>,
}

impl Routes {
    fn new(starting: &Arc<Starting>, guard: Guard, policy: &Policy) -> Self {
        Self {
            starting: starting_router(Arc::clone(starting), &guard, policy),
            guard,
            own: Arc::default(),
        }
    }

    fn now(&self) -> Router {
        self.own.get().unwrap_or(&self.starting).clone()
    }
}

/// The HTTP listeners, serving.
pub struct HttpServer {
    gate: Gate,
    policy: Policy,
    attempts: Arc<Attempts>,
    #[cfg(test)]
    addresses: Vec<SocketAddr>,
    routes: Vec<Routes>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    /// Looks for new certificates.
    watching: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// The bound addresses, in the order in which they were given.
    #[cfg(test)]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Who may use it.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Serves `shared` from now on. Once.
    pub fn open(&self, shared: Shared) {
        let authn = Authn {
            shared,
            policy: self.policy.clone(),
            attempts: Arc::clone(&self.attempts),
        };
        for routes in &self.routes {
            let own = router(&authn, &self.gate, &routes.guard);
            let _ = routes.own.set(own);
        }
    }

    /// Accepts nothing more, lets answers in progress end for a few seconds, then cuts them off.
    pub async fn shutdown(self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
        let _ = self.stop.send(true);
        let deadline = tokio::time::Instant::now() + STOP_LIMIT;
        for mut task in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the server was dropped: stop as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn upkeep(stopped: impl Future<Output = ()>) {
    let recorder = recorder();
    let work = async {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            recorder.run_upkeep();
        }
    };
    tokio::select! {
        () = work => {}
        () = stopped => {}
    }
}

/// Accepts until the stop signal, then lets the answers in progress end. Aborting it cuts them
/// off.
async fn accept(listener: TcpListener, entrance: Entrance, stopped: watch::Receiver<bool>) {
    let connections = Connections::new(entrance.times);
    let graceful = GracefulShutdown::new();
    let mut running = JoinSet::new();
    let mut looks = tokio::time::interval(STUCK_CHECK_INTERVAL);
    let stop = until(stopped);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            _ = looks.tick() => connections.cut_stuck(),
            Some(_) = running.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let connection = connections.admit();
                    let watcher = graceful.watcher();
                    running.spawn(enter((stream, address), connection, entrance.clone(), watcher));
                }
                Err(error) if is_the_client_s(&error) => {}
                Err(error) => {
                    // No file descriptor, most likely: one that only waits gives its own.
                    let gave_way = connections.give_way();
                    tracing::error!(%error, gave_way, "HTTP connections can't be accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
        }
    }
    drop(listener);
    let looking = async {
        loop {
            looks.tick().await;
            connections.cut_stuck();
        }
    };
    tokio::select! {
        () = graceful.shutdown() => {}
        () = looking => {}
    }
}

/// Whether a connection failed before it was accepted, which says nothing about the next.
fn is_the_client_s(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// What a connection needs to be served.
#[derive(Clone)]
struct Entrance {
    routes: Routes,
    times: Times,
    tls: Option<Arc<ServerTls>>,
    handshakes: Arc<Handshakes>,
}

/// Shakes hands if the listener has TLS, and serves the connection to its end.
async fn enter(
    (stream, address): (TcpStream, SocketAddr),
    connection: Admitted,
    entrance: Entrance,
    watcher: Watcher,
) {
    let _ = stream.set_nodelay(true);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive()) {
        tracing::debug!(%error, "keep-alive probes could not be set on an HTTP connection");
    }
    let slot = Arc::clone(&connection.slot);
    let stream = Watched::new(stream, &slot);
    let Some(tls) = &entrance.tls else {
        let peer = Peer {
            address,
            is_tls: false,
            certificate: None,
        };
        return serve(stream, peer, slot, entrance, watcher).await;
    };
    let shaking = entrance.handshakes.shake(tls.config(), stream);
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(entrance.times.handshake, shaking) => shaken,
        () = slot.cut() => return,
    };
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "a TLS handshake of HTTP failed");
            return;
        }
        Err(_) => {
            tracing::debug!(%address, "a TLS handshake of HTTP took too long");
            return;
        }
    };
    let shown = stream.get_ref().1.peer_certificates();
    let peer = Peer {
        address,
        is_tls: true,
        certificate: shown.map(|chain| tls.principal(chain)),
    };
    serve(stream, peer, slot, entrance, watcher).await;
}

/// Serves one connection to its end.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    slot: Arc<Slot>,
    Entrance { routes, times, .. }: Entrance,
    watcher: Watcher,
) {
    let of = Arc::clone(&slot);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&of));
        request.extensions_mut().insert(peer.clone());
        TowerToHyperService::new(routes.now()).call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.head)
        .max_headers(HEAD_MAX_LINES)
        .max_header_size(HEAD_MAX_BYTES)
        .max_buf_size(2 * HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = watcher.watch(serving) => if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP connection ended early");
        },
        () = slot.cut() => {}
    }
}

/// Finds clients that have vanished without a word, as a machine that lost its power does.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES)
}

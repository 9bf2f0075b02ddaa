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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::caller::Peer;
use super::connections::{Admitted, Connections, Watched};
use super::gate::Gate;
use super::limits::{HEAD_MAX_BYTES, HEAD_MAX_LINES, Times};
use super::metrics::recorder;
use super::{Shared, router, starting_router};
use crate::starting::Starting;

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
    listeners: Vec<(SocketAddr, TcpListener)>,
}

impl HttpListeners {
    /// Binds all of `addresses`. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address that could not be bound, and why.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<Self, (String, io::Error)> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for wanted in addresses {
            let failed = |error| (format!("http://{wanted}"), error);
            let listener = TcpListener::bind(wanted).await.map_err(failed)?;
            listeners.push((listener.local_addr().map_err(failed)?, listener));
        }
        Ok(HttpListeners { listeners })
    }

    /// The bound addresses, in the order in which they were given.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(address, _)| *address).collect()
    }

    /// Serves the routes of a broker that is starting, until [`HttpServer::open`].
    pub fn serve(self, starting: &Arc<Starting>) -> HttpServer {
        self.serve_with(starting, Times::default())
    }

    pub(super) fn serve_with(self, starting: &Arc<Starting>, times: Times) -> HttpServer {
        let (stop, stopped) = watch::channel(false);
        let mut server = HttpServer {
            gate: Gate::new(times),
            addresses: Vec::new(),
            routes: Vec::new(),
            stop,
            tasks: Vec::new(),
        };
        for (address, listener) in self.listeners {
            let routes = Routes::new(starting, address.ip().is_loopback());
            server.addresses.push(address);
            server.routes.push(routes.clone());
            let serving = accept(listener, routes, times, stopped.clone());
            server.tasks.push(tokio::spawn(serving));
        }
        server.tasks.push(tokio::spawn(upkeep(until(stopped))));
        server
    }
}

/// The routes of one listener: those of a start, then the broker's own.
#[derive(Clone)]
struct Routes {
    is_loopback: bool,
    starting: Router,
    own: Arc<OnceLock<Router>>,
}

impl Routes {
    fn new(starting: &Arc<Starting>, is_loopback: bool) -> Self {
        Self {
            is_loopback,
            starting: starting_router(Arc::clone(starting), is_loopback),
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
    addresses: Vec<SocketAddr>,
    routes: Vec<Routes>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl HttpServer {
    /// The bound addresses, in the order in which they were given.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves `app` from now on. Once.
    pub fn open(&self, app: &Shared) {
        for routes in &self.routes {
            let own = router(app.clone(), &self.gate, routes.is_loopback);
            let _ = routes.own.set(own);
        }
    }

    /// Accepts nothing more, lets answers in progress end for a few seconds, then cuts them off.
    pub async fn shutdown(self) {
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
async fn accept(
    listener: TcpListener,
    routes: Routes,
    times: Times,
    stopped: watch::Receiver<bool>,
) {
    let connections = Connections::new(times);
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
                    let peer = Peer { address };
                    let watcher = graceful.watcher();
                    running.spawn(serve((stream, peer), connection, routes.clone(), times, watcher));
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

/// Serves one connection to its end.
async fn serve(
    (stream, peer): (TcpStream, Peer),
    connection: Admitted,
    routes: Routes,
    times: Times,
    watcher: Watcher,
) {
    let _ = stream.set_nodelay(true);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive()) {
        tracing::debug!(%error, "keep-alive probes could not be set on an HTTP connection");
    }
    let slot = Arc::clone(&connection.slot);
    let of = Arc::clone(&slot);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&of));
        request.extensions_mut().insert(peer.clone());
        TowerToHyperService::new(routes.now()).call(request)
    });
    let io = TokioIo::new(Watched::new(stream, &slot));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.head)
        .max_headers(HEAD_MAX_LINES)
        .max_header_size(HEAD_MAX_BYTES)
        .max_buf_size(2 * HEAD_MAX_BYTES)
        .serve_connection(io, service);
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

//! The listener itself: bind, serve, stop.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use super::{App, router};

/// Connections at a time, per listener; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

/// How long answers under way may take once the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How often the recorder folds its samples, so that they do not pile up between scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The HTTP listeners, bound: whoever connects waits.
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

    /// Serves `app`.
    pub fn serve(self, app: &App) -> HttpServer {
        let (stop, stopped) = watch::channel(false);
        let mut server = HttpServer {
            addresses: Vec::new(),
            stop,
            tasks: Vec::new(),
        };
        for (address, listener) in self.listeners {
            server.addresses.push(address);
            let routes = router(app.clone(), address.ip().is_loopback());
            let listener = Limited {
                listener,
                permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            };
            let serving =
                axum::serve(listener, routes).with_graceful_shutdown(until(stopped.clone()));
            server.tasks.push(tokio::spawn(async move {
                if let Err(error) = serving.await {
                    tracing::error!(%error, "the HTTP listener ended");
                }
            }));
        }
        server
            .tasks
            .push(tokio::spawn(upkeep(app.clone(), until(stopped))));
        server
    }
}

/// The HTTP listeners, serving.
pub struct HttpServer {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl HttpServer {
    /// The bound addresses, in the order in which they were given.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Accepts nothing more, lets answers under way end for a few seconds, then cuts them off.
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

async fn upkeep(app: App, stopped: impl Future<Output = ()>) {
    let work = async {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            app.recorder.run_upkeep();
        }
    };
    tokio::select! {
        () = work => {}
        () = stopped => {}
    }
}

/// A listener that takes a permit before it accepts.
struct Limited {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed; without a permit the connection would only be uncounted.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        (
            Connection {
                stream,
                _permit: permit,
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that holds its permit until it is closed.
struct Connection {
    stream: TcpStream,
    _permit: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

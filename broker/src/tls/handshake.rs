//! TLS handshakes, on threads of their own: signatures take CPU, and clients that only knock must not
//! take it from those that are being served.

use std::future::pending;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The threads. They end with this, whatever still runs there.
pub struct Handshakes(Option<Runtime>);

impl Handshakes {
    /// Half of the processor's threads, if there is a listener with TLS.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn start(has_tls: bool) -> io::Result<Self> {
        if !has_tls {
            return Ok(Self(None));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut threads = Builder::new_multi_thread();
        let runtime = threads
            .worker_threads((cores / 2).max(1))
            .thread_name("tls-handshake")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Shakes hands. Dropping the future ends the handshake.
    ///
    /// # Errors
    /// The client's certificate is not trusted, or the client does not go on.
    pub async fn shake<S>(&self, config: Arc<ServerConfig>, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(runtime) = &self.0 else {
            return pending().await;
        };
        let handshake = TlsAcceptor::from(config).accept(stream);
        let mut running = Running(runtime.spawn(handshake));
        match (&mut running.0).await {
            Ok(done) => done,
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        // Not by its own drop, which waits: this may be a thread that must not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A handshake that ends with this.
struct Running<T>(JoinHandle<T>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

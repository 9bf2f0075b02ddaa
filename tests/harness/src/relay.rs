//! What the relays of this crate share: a port on loopback, the server that it leads to, and the connections, which can be
//! cut.

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::Result;

/// Where a relay leads, and whom it has let in.
#[derive(Debug)]
pub(crate) struct Doors {
    target: Mutex<String>,
    connections: Mutex<Vec<TcpStream>>,
    is_closed: AtomicBool,
    is_stopped: AtomicBool,
}

impl Doors {
    /// Doors that lead to `target` (`host:port`).
    pub(crate) fn new(target: &str) -> Arc<Self> {
        Arc::new(Self {
            target: Mutex::new(target.to_owned()),
            connections: Mutex::default(),
            is_closed: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        })
    }

    /// Who is let in from now on comes to `target`.
    pub(crate) fn lead_to(&self, target: &str) {
        target.clone_into(&mut self.target.lock());
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        for connection in self.connections.lock().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn let_in(&self, client: TcpStream) -> std::io::Result<Pair> {
        let target = self.target.lock().clone();
        let server = TcpStream::connect(target)?;
        let kept = [client.try_clone()?, server.try_clone()?];
        self.connections.lock().extend(kept);
        Ok(Pair {
            client_in: client.try_clone()?,
            server_in: server.try_clone()?,
            client,
            server,
        })
    }
}

/// One connection: its two ends, each to read from and to write to.
pub(crate) struct Pair {
    pub(crate) client_in: TcpStream,
    pub(crate) client: TcpStream,
    pub(crate) server_in: TcpStream,
    pub(crate) server: TcpStream,
}

/// The port; stops when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    doors: Arc<Doors>,
}

impl Relay {
    /// Listens on `port`. `carry` gets each connection.
    ///
    /// # Errors
    /// When the port is taken.
    pub(crate) fn start(
        port: u16,
        doors: Arc<Doors>,
        carry: impl Fn(Pair) + Send + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let accepting = doors.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_stopped.load(Ordering::Acquire) {
                    return;
                }
                if accepting.is_closed.load(Ordering::Acquire) {
                    continue;
                }
                if let Ok(pair) = client.and_then(|client| accepting.let_in(client)) {
                    carry(pair);
                }
            }
        });
        Ok(Self { port, doors })
    }

    /// `host:port` that clients connect to.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.doors.is_stopped.store(true, Ordering::Release);
        self.doors.cut();
        // Wakes the accepting thread, which then sees that it should end.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

//! A long path: a TCP relay on loopback that delays what passes, as a path with some round trip and rate does.
//!
//! All connections share the rate, each way. Every byte arrives half a round trip after it has left the bottleneck. As in
//! a router, the buffer there is bounded, and a full one blocks the sender. Each connection can be limited to some bytes
//! per round trip, as small socket buffers do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::Result;
use crate::relay::{Doors, Pair, Relay};

/// Bytes read at once: how finely connections share the rate.
const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes that may wait at the bottleneck.
const QUEUE: Duration = Duration::from_millis(50);

/// Looks again whether the receiver has taken something.
const FULL_WAIT: Duration = Duration::from_millis(1);

/// How long and how wide a path is.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// To the server and back.
    pub round_trip: Duration,
    /// Each way, for all connections together.
    pub bytes_per_second: u64,
    /// What one connection carries at most in a round trip; `None`: the whole path.
    pub connection_bytes: Option<u64>,
}

/// One direction of a path.
#[derive(Debug)]
struct Line {
    path: Path,
    free_at: Mutex<Instant>,
}

impl Line {
    fn new(path: Path) -> Arc<Self> {
        Arc::new(Self {
            path,
            free_at: Mutex::new(Instant::now()),
        })
    }

    /// When that many bytes have passed the narrowest place.
    fn pass(&self, bytes: usize) -> Instant {
        let mut free_at = self.free_at.lock();
        *free_at = (*free_at).max(Instant::now()) + time_of(bytes, self.path.bytes_per_second);
        *free_at
    }

    /// What may be between reader and writer of one connection.
    fn most_bytes(&self) -> usize {
        let seconds = (self.path.round_trip / 2 + QUEUE).as_secs_f64();
        let rate = self.path.bytes_per_second as f64;
        (rate * seconds) as usize + (1 << 20)
    }
}

fn time_of(bytes: usize, bytes_per_second: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / bytes_per_second.max(1) as f64)
}

#[derive(Debug)]
struct Shared {
    doors: Arc<Doors>,
    /// To the server, and back; `None` for a wire without delay.
    lines: Mutex<Option<[Arc<Line>; 2]>>,
    open: Arc<()>,
}

/// The relay; stops when dropped. A server behind it must advertise the relay's address.
#[derive(Debug)]
pub struct Wan {
    relay: Relay,
    shared: Arc<Shared>,
}

impl Wan {
    /// Listens on `port` and relays to `target` (`host:port`), without delay as yet.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(port: u16, target: &str) -> Result<Self> {
        let shared = Arc::new(Shared {
            doors: Doors::new(target),
            lines: Mutex::default(),
            open: Arc::default(),
        });
        let carrying = shared.clone();
        let relay = Relay::start(port, shared.doors.clone(), move |pair| carrying.carry(pair))?;
        Ok(Self { relay, shared })
    }

    /// `host:port` that clients connect to.
    #[must_use]
    pub fn address(&self) -> String {
        self.relay.address()
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        // Two threads for each, which hold one each, and the relay's own.
        (Arc::strong_count(&self.shared.open) - 1).div_ceil(2)
    }

    /// Connections from now on are that far from their server, and lead to `target` (`host:port`). Those of before end.
    pub fn set(&self, path: Option<Path>, target: &str) {
        *self.shared.lines.lock() = path.map(|path| [Line::new(path), Line::new(path)]);
        self.shared.doors.lead_to(target);
        self.shared.doors.cut();
    }
}

impl Shared {
    fn carry(&self, pair: Pair) {
        let Pair {
            client_in,
            client,
            server_in,
            server,
        } = pair;
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        match self.lines.lock().clone() {
            None => {
                copy(client_in, server, self.open.clone());
                copy(server_in, client, self.open.clone());
            }
            Some([up, down]) => {
                carry(client_in, server, up, self.open.clone());
                carry(server_in, client, down, self.open.clone());
            }
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, open: Arc<()>) {
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
        drop(open);
    });
}

/// Bytes, and when they arrive.
type Due = (Instant, Vec<u8>);

fn carry(from: TcpStream, to: TcpStream, line: Arc<Line>, open: Arc<()>) {
    let (sender, receiver) = channel();
    let under_way = Arc::new(AtomicUsize::new(0));
    let counted = under_way.clone();
    thread::spawn(move || enter(from, &line, &sender, &counted));
    thread::spawn(move || {
        leave(to, &receiver, &under_way);
        drop(open);
    });
}

/// Reads what the sender has as fast as the path takes it.
fn enter(mut from: TcpStream, line: &Line, sender: &Sender<Due>, under_way: &AtomicUsize) {
    let path = line.path;
    let mut own_free_at = Instant::now();
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let mut passed_at = line.pass(read);
        if let Some(bytes) = path.connection_bytes {
            let seconds = path.round_trip.as_secs_f64();
            let own_rate = bytes as f64 / seconds.max(1e-6);
            own_free_at = own_free_at.max(Instant::now()) + time_of(read, own_rate as u64);
            passed_at = passed_at.max(own_free_at);
        }
        under_way.fetch_add(read, Ordering::AcqRel);
        let arrives_at = passed_at + path.round_trip / 2;
        if sender.send((arrives_at, buffer[..read].to_vec())).is_err() {
            break;
        }
        thread::sleep((passed_at - QUEUE).saturating_duration_since(Instant::now()));
        while under_way.load(Ordering::Acquire) > line.most_bytes() {
            thread::sleep(FULL_WAIT);
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}

/// Gives the receiver what has arrived.
fn leave(mut to: TcpStream, receiver: &Receiver<Due>, under_way: &AtomicUsize) {
    while let Ok((arrives_at, bytes)) = receiver.recv() {
        thread::sleep(arrives_at.saturating_duration_since(Instant::now()));
        let written = to.write_all(&bytes);
        under_way.fetch_sub(bytes.len(), Ordering::AcqRel);
        if written.is_err() {
            break;
        }
    }
    // What is still under way is lost; the reader must not wait for it.
    under_way.store(0, Ordering::Release);
    let _ = to.shutdown(Shutdown::Both);
}

//! A wire that can be cut: a TCP relay on loopback in front of a server, which ends its connections on command, also
//! after a given number of bytes and so in the middle of an answer; which swallows what a client should hear; and which
//! leads to another server from then on, as a name in the DNS does that an operator has changed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::Result;
use crate::relay::{Doors, Pair, Relay};

/// Bytes of answers after which nothing is cut.
const NEVER: i64 = i64::MAX;

#[derive(Debug)]
struct Shared {
    doors: Arc<Doors>,
    /// Clients of such a name hear nothing any more.
    deafened: Mutex<Option<String>>,
    answer_bytes_left: AtomicI64,
    /// Bytes to let through before each further cut, the next one last.
    plan: Mutex<Vec<i64>>,
    cuts: AtomicUsize,
    /// The next cut is the last thing that happens: nobody is let in after it.
    is_last: AtomicBool,
}

/// The relay; stops when dropped. Only one server stands behind it, which must advertise the relay's address.
#[derive(Debug)]
pub struct Proxy {
    relay: Relay,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on `port` and relays to `target` (`host:port`).
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(port: u16, target: &str) -> Result<Self> {
        let shared = Arc::new(Shared {
            doors: Doors::new(target),
            deafened: Mutex::default(),
            answer_bytes_left: AtomicI64::new(NEVER),
            plan: Mutex::default(),
            cuts: AtomicUsize::new(0),
            is_last: AtomicBool::new(false),
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

    /// From now on no answer reaches clients whose client id begins so; what they say still arrives.
    pub fn deafen(&self, client_id: &str) {
        *self.shared.deafened.lock() = Some(client_id.to_owned());
    }

    /// Cuts every connection, and leads to `target` (`host:port`) from now on, both ways.
    pub fn lead_to(&self, target: &str) {
        self.shared.doors.lead_to(target);
        *self.shared.deafened.lock() = None;
        self.shared.cut();
    }

    /// Cuts every connection once for each of `lengths`: after this many more bytes of answers, at
    /// that very byte.
    pub fn cut_after_each(&self, lengths: &[i64]) {
        *self.shared.plan.lock() = lengths.iter().rev().copied().collect();
        self.shared.arm();
    }

    /// Lets `bytes` more of answers pass, then cuts every connection and accepts no more.
    pub fn close_after(&self, bytes: i64) {
        self.shared.is_last.store(true, Ordering::Release);
        self.cut_after_each(&[bytes]);
    }

    /// How often it has cut.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Acquire)
    }
}

impl Shared {
    fn carry(self: &Arc<Self>, pair: Pair) {
        let Pair {
            client_in,
            client,
            server_in,
            server,
        } = pair;
        let (up, down) = (self.clone(), self.clone());
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        thread::spawn(move || up.pump(client_in, server, &heard, false));
        thread::spawn(move || down.pump(server_in, client, &said, true));
    }

    /// `first` is what the client said first: its client id is in there.
    fn pump(
        &self,
        mut from: TcpStream,
        mut to: TcpStream,
        first: &Mutex<Vec<u8>>,
        is_answer: bool,
    ) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let mut pass = read;
            let mut is_first_to_cut = false;
            if !is_answer && first.lock().is_empty() {
                first.lock().extend_from_slice(&buffer[..read]);
            }
            if is_answer && self.is_deaf(&first.lock()) {
                continue;
            }
            if is_answer {
                let length = i64::try_from(read).unwrap_or(NEVER);
                let before = self.answer_bytes_left.fetch_sub(length, Ordering::AcqRel);
                if before < length {
                    pass = usize::try_from(before.max(0)).unwrap_or(0);
                    // Answers of other connections that arrive meanwhile belong to the same cut.
                    is_first_to_cut = before >= 0;
                }
            }
            let written = to.write_all(&buffer[..pass]);
            if is_first_to_cut {
                self.cut();
            }
            if written.is_err() || pass < read {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn is_deaf(&self, first: &[u8]) -> bool {
        let deafened = self.deafened.lock();
        let client_id = deafened.as_deref().map(str::as_bytes);
        client_id.is_some_and(|id| first.windows(id.len()).any(|part| part == id))
    }

    fn arm(&self) {
        let next = self.plan.lock().pop().unwrap_or(NEVER);
        self.answer_bytes_left.store(next, Ordering::Release);
    }

    fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::AcqRel);
        if self.is_last.load(Ordering::Acquire) {
            self.doors.close();
        }
        self.doors.cut();
        self.arm();
    }
}

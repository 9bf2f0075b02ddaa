//! The connections of one HTTP listener: which of them are idle, and which one to close.
//!
//! Invariants:
//! - At most [`CONNECTIONS_MAX`] at a time. When one more arrives, the one that has waited longest
//!   for its client is closed. A connection whose request is being served is never closed; there
//!   are fewer of those than connections ([`super::limits`]).
//! - A request counts as served from when there is room for it until its answer has been passed to
//!   the kernel. Reading its header and body counts as waiting for the client.
//! - A client that takes too long to read an answer is cut off ([`Connections::cut_stuck`]).

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::limits::{CONNECTIONS_MAX, Times};

/// What a request holds while it is served: room, and maybe memory.
pub type Permits = Vec<Arc<OwnedSemaphorePermit>>;

/// All connections of a listener.
#[derive(Debug)]
pub struct Connections {
    times: Times,
    open: Mutex<HashMap<u64, Arc<Slot>>>,
    next: AtomicU64,
}

impl Connections {
    /// None yet.
    pub fn new(times: Times) -> Arc<Self> {
        Arc::new(Connections {
            times,
            open: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// Takes in a connection. If there are too many, another one gives way to it.
    pub fn admit(self: &Arc<Self>) -> Admitted {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot::new());
        let mut open = self.open.lock();
        if open.len() >= CONNECTIONS_MAX {
            give_way(&mut open);
        }
        open.insert(id, Arc::clone(&slot));
        drop(open);
        Admitted {
            connections: Arc::clone(self),
            id,
            slot,
        }
    }

    /// Cuts off the connection that has waited longest for its client; false if none waits.
    pub fn give_way(&self) -> bool {
        give_way(&mut self.open.lock())
    }

    /// Cuts off those that have taken too long to take their answers.
    pub fn cut_stuck(&self) {
        let now = Instant::now();
        self.open.lock().retain(|_, slot| {
            let is_stuck = slot.state.lock().is_stuck(now, &self.times);
            if is_stuck {
                cut(slot);
            }
            !is_stuck
        });
    }
}

fn give_way(open: &mut HashMap<u64, Arc<Slot>>) -> bool {
    let waiting = open.iter().filter_map(|(id, slot)| {
        let since = slot.state.lock().waiting_since()?;
        Some((since, *id))
    });
    let Some((_, oldest)) = waiting.min() else {
        return false;
    };
    if let Some(slot) = open.remove(&oldest) {
        cut(&slot);
    }
    true
}

fn cut(slot: &Slot) {
    slot.cut.notify_one();
    metrics::counter!("carrick_http_connections_cut_total").increment(1);
}

/// A connection that is counted until this is dropped.
pub struct Admitted {
    connections: Arc<Connections>,
    id: u64,
    /// What is known of it.
    pub slot: Arc<Slot>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.id);
    }
}

/// What is known of one connection.
#[derive(Debug)]
pub struct Slot {
    state: Mutex<State>,
    /// Answers may be in the state's `unsent`.
    has_unsent: AtomicBool,
    is_stalled: AtomicBool,
    cut: Notify,
}

#[derive(Debug)]
struct State {
    /// The last answer, or the beginning.
    idle_since: Instant,
    /// Requests that are served: without those that are sent.
    serving: usize,
    /// Since when an answer that is no stream is being sent.
    sending_since: Option<Instant>,
    /// Since when the client takes nothing.
    stalled_since: Option<Instant>,
    /// What served requests hold whose answers are in the connection's buffer.
    unsent: Vec<Permits>,
}

impl State {
    fn waiting_since(&self) -> Option<Instant> {
        (self.serving == 0 && self.unsent.is_empty()).then_some(self.idle_since)
    }

    fn is_stuck(&self, now: Instant, times: &Times) -> bool {
        let over = |since: Option<Instant>, limit| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
        };
        over(self.stalled_since, times.stall) || over(self.sending_since, times.sending)
    }
}

impl Slot {
    fn new() -> Self {
        Slot {
            state: Mutex::new(State {
                idle_since: Instant::now(),
                serving: 0,
                sending_since: None,
                stalled_since: None,
                unsent: Vec::new(),
            }),
            has_unsent: AtomicBool::new(false),
            is_stalled: AtomicBool::new(false),
            cut: Notify::new(),
        }
    }

    /// Returns when the connection has to go.
    pub async fn cut(&self) {
        self.cut.notified().await;
    }

    /// The client has taken bytes of an answer, or takes none for now.
    fn wrote(&self, takes: bool) {
        if self.is_stalled.swap(!takes, Ordering::AcqRel) != takes {
            return;
        }
        let mut state = self.state.lock();
        state.stalled_since = (!takes).then(Instant::now);
    }

    /// The buffer is empty.
    fn flushed(&self) {
        if !self.has_unsent.swap(false, Ordering::AcqRel) {
            return;
        }
        let sent = {
            let mut state = self.state.lock();
            state.idle_since = Instant::now();
            state.sending_since = None;
            std::mem::take(&mut state.unsent)
        };
        drop(sent);
    }
}

/// A request that is served.
pub struct Serving {
    slot: Arc<Slot>,
    permits: Permits,
    is_stream: bool,
}

impl Serving {
    pub fn begin(slot: &Arc<Slot>, permits: Permits, is_stream: bool) -> Self {
        slot.state.lock().serving += 1;
        Serving {
            slot: Arc::clone(slot),
            permits,
            is_stream,
        }
    }

    /// The answer is ready: from now on it is being sent.
    pub fn answered(&self) {
        if !self.is_stream {
            self.slot.state.lock().sending_since = Some(Instant::now());
        }
    }
}

/// The answer is in the connection's buffer, or the connection has ended.
impl Drop for Serving {
    fn drop(&mut self) {
        let mut state = self.slot.state.lock();
        state.serving -= 1;
        state.unsent.push(std::mem::take(&mut self.permits));
        self.slot.has_unsent.store(true, Ordering::Release);
    }
}

/// A connection's bytes, watched.
pub struct Watched {
    stream: TcpStream,
    slot: Arc<Slot>,
}

impl Watched {
    /// Of the connection of `slot`.
    pub fn new(stream: TcpStream, slot: &Arc<Slot>) -> Self {
        Watched {
            stream,
            slot: Arc::clone(slot),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.slot.wrote(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.slot.wrote(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        // The server flushes once it has written all that it holds.
        self.slot.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_cut(slot: &Slot) -> bool {
        tokio::time::timeout(Duration::ZERO, slot.cut())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn the_connection_that_has_waited_longest_gives_way_and_one_that_is_served_never() {
        let connections = Connections::new(Times::default());
        let all: Vec<Admitted> = (0..CONNECTIONS_MAX).map(|_| connections.admit()).collect();
        let served = Serving::begin(&all[0].slot, Vec::new(), false);
        let _new = connections.admit();
        assert!(!is_cut(&all[0].slot).await, "it is served");
        assert!(is_cut(&all[1].slot).await);
        assert!(!is_cut(&all[2].slot).await);
        drop(served);
        let _new = connections.admit();
        assert!(!is_cut(&all[0].slot).await, "its answer is not sent");
        all[0].slot.flushed();
        let _new = connections.admit();
        assert!(!is_cut(&all[0].slot).await, "others have waited longer");
        assert!(is_cut(&all[3].slot).await);
        assert_eq!(connections.open.lock().len(), CONNECTIONS_MAX);
    }

    #[tokio::test]
    async fn who_takes_nothing_or_an_answer_for_too_long_is_cut_off_and_a_stream_may_last() {
        let times = Times {
            stall: Duration::ZERO,
            sending: Duration::ZERO,
            ..Times::default()
        };
        let connections = Connections::new(times);
        let [slow, stream, stalled] = [(); 3].map(|()| connections.admit());
        let answer = Serving::begin(&slow.slot, Vec::new(), false);
        let endless = Serving::begin(&stream.slot, Vec::new(), true);
        connections.cut_stuck();
        assert!(!is_cut(&slow.slot).await, "nothing to take yet");
        answer.answered();
        endless.answered();
        stalled.slot.wrote(false);
        connections.cut_stuck();
        assert!(is_cut(&slow.slot).await);
        assert!(is_cut(&stalled.slot).await);
        assert!(!is_cut(&stream.slot).await);
    }

    #[tokio::test]
    async fn what_an_answer_holds_is_given_back_once_it_is_sent() {
        let connections = Connections::new(Times::default());
        let room = Arc::new(tokio::sync::Semaphore::new(1));
        let permit = Arc::clone(&room).try_acquire_owned().unwrap();
        let it = connections.admit();
        drop(Serving::begin(&it.slot, vec![Arc::new(permit)], false));
        assert_eq!(room.available_permits(), 0);
        it.slot.flushed();
        assert_eq!(room.available_permits(), 1);
        let permit = Arc::clone(&room).try_acquire_owned().unwrap();
        let lost = Serving::begin(&it.slot, vec![Arc::new(permit)], false);
        drop(it);
        drop(lost);
        assert_eq!(room.available_permits(), 1, "with the connection");
    }
}

//! Limits for the bytes of requests and the work that they make. One address gets at most half of
//! the memory and threads, so the others always find the rest.

use std::time::Duration;

use super::places::Slot;
use crate::broker::RequestLimits;
use crate::pool::{FairCharge, FairPool};

/// Requests below this size don't count towards the memory: heartbeats must not wait for produces.
const UNCOUNTED_BYTES: usize = 16 << 10;

/// The same for frames of logins, whose messages are shorter; and all memory that these may take.
const UNCOUNTED_LOGIN_BYTES: usize = 2 << 10;
const LOGIN_BYTES: usize = 16 << 20;

/// Bytes that a decoded element of a request takes: its own struct, and what is derived from it on
/// the way to the answer.
const ELEMENT_BYTES: usize = 256;

/// Requests with fewer elements don't count towards the memory of decoded ones.
const UNCOUNTED_ELEMENTS: usize = 256;

/// Handling a request of this many elements takes a thread for milliseconds.
const HEAVY_ELEMENTS: usize = 10_000;

/// The limits and what is used of them.
pub(super) struct Limits {
    /// Longest request, without its length field.
    pub(super) request_max_bytes: usize,
    /// Silence after which a connection is closed.
    pub(super) idle: Duration,
    /// For frames, from before they are read.
    frames: FairPool,
    /// For decoded frames. A request that waits for this has its frame already, and one that has this
    /// does not wait for frames: the order "frames, then this" cannot deadlock.
    decoded: FairPool,
    heavy: FairPool,
    /// For frames of clients that are not known yet: they take no memory from those that are.
    logins: FairPool,
}

impl Limits {
    pub(super) fn new(requests: &RequestLimits, idle: Duration) -> Self {
        // A request of the largest size must fit, or it would wait for ever.
        let memory_bytes = requests.queued_max_bytes.max(requests.request_max_bytes);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            request_max_bytes: requests.request_max_bytes,
            idle,
            frames: FairPool::new(memory_bytes, UNCOUNTED_BYTES),
            decoded: FairPool::new(memory_bytes, UNCOUNTED_ELEMENTS * ELEMENT_BYTES),
            heavy: FairPool::new((threads / 2).max(1), 0),
            logins: FairPool::new(LOGIN_BYTES, UNCOUNTED_LOGIN_BYTES),
        }
    }

    /// Waits for room for a request of this size; the room is released on drop.
    pub(super) async fn memory(&self, slot: &Slot, bytes: usize) -> FairCharge {
        self.frames.take(&slot.ip, bytes).await
    }

    /// As [`memory`](Self::memory), for a frame of a login.
    pub(super) async fn login_memory(&self, slot: &Slot, bytes: usize) -> FairCharge {
        self.logins.take(&slot.ip, bytes).await
    }

    /// Whether others wait for the memory that a frame of this connection has.
    pub(super) fn memory_is_waited_for(&self, slot: &Slot) -> bool {
        self.frames.is_waited_for(&slot.ip)
    }

    /// Waits for room for the decoded form of a request with this many elements.
    pub(super) async fn decoded(&self, slot: &Slot, elements: usize) -> FairCharge {
        self.decoded.take(&slot.ip, elements * ELEMENT_BYTES).await
    }

    /// Waits until a request with this many elements may take a separate thread. Only a few may do
    /// so at a time, so that all other requests find a thread.
    pub(super) async fn heavy(&self, slot: &Slot, elements: usize) -> FairCharge {
        match elements {
            HEAVY_ELEMENTS.. => self.heavy.take(&slot.ip, 1).await,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Values;
    use crate::testing::values;
    use std::future::poll_fn;
    use std::task::Poll;

    fn limits(values: &Values) -> Limits {
        Limits::new(&RequestLimits::of(values), Duration::MAX)
    }

    fn slot(last: u8) -> Slot {
        Slot::of_address([10, 0, 0, last])
    }

    #[tokio::test]
    async fn a_request_larger_than_the_memory_still_gets_its_turn() {
        let limits = limits(&values(&[
            "queued.max.request.bytes=1",
            "socket.request.max.bytes=100000",
        ]));
        let slot = slot(1);
        let all = limits.memory(&slot, 100_000).await;
        assert!(all.is_some());
        let small = limits.memory(&slot, 10).await;
        assert!(small.is_none());
    }

    #[tokio::test]
    async fn one_address_leaves_half_of_the_memory_to_the_others() {
        let limits = limits(&values(&[
            "queued.max.request.bytes=200000",
            "socket.request.max.bytes=100000",
        ]));
        let (a, b) = (slot(1), slot(2));
        let _first = limits.memory(&a, 100_000).await;
        let mut second = std::pin::pin!(limits.memory(&a, 100_000));
        let waits = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await;
        assert!(waits && limits.memory_is_waited_for(&a));
        assert!(!limits.memory_is_waited_for(&b));
        let of_another = limits.memory(&b, 100_000).await;
        assert!(of_another.is_some());
        // So it is with what is decoded.
        let elements = 100_000 / ELEMENT_BYTES;
        let _half = limits.decoded(&a, elements).await;
        let mut more = std::pin::pin!(limits.decoded(&a, elements));
        assert!(poll_fn(|cx| Poll::Ready(more.as_mut().poll(cx).is_pending())).await);
        assert!(limits.decoded(&b, elements).await.is_some());
    }
}

//! Bytes that all clients together may take of the broker's memory for one purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What was taken of a [`Pool`], given back on drop; `None` where it was too little to count.
pub type Charge = Option<OwnedSemaphorePermit>;

/// There is no room in a [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The bytes, and what is left of them.
#[derive(Debug)]
pub struct Pool {
    room: Arc<Semaphore>,
    bytes: usize,
    uncounted_bytes: usize,
    waiting: AtomicUsize,
}

impl Pool {
    /// A pool of that many bytes. Less than `uncounted_bytes` is not counted: small requests do not
    /// wait for large ones.
    pub fn new(bytes: usize, uncounted_bytes: usize) -> Self {
        // So many that a permit may be one byte.
        let bytes = bytes.clamp(1, (u32::MAX as usize).min(Semaphore::MAX_PERMITS));
        Self {
            room: Arc::new(Semaphore::new(bytes)),
            bytes,
            uncounted_bytes,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits for room; what is larger than the pool waits until it has the pool to itself.
    pub async fn take(&self, bytes: usize) -> Charge {
        let permits = self.permits(bytes)?;
        let _waits = Waits::begin(&self.waiting);
        // It fails only when the semaphore is closed, which nobody does.
        Arc::clone(&self.room)
            .acquire_many_owned(permits)
            .await
            .ok()
    }

    /// Takes room if there is some now.
    ///
    /// # Errors
    /// There is not.
    pub fn try_take(&self, bytes: usize) -> Result<Charge, Full> {
        let Some(permits) = self.permits(bytes) else {
            return Ok(None);
        };
        let charge = Arc::clone(&self.room).try_acquire_many_owned(permits);
        charge.map(Some).map_err(|_| Full)
    }

    /// Whether somebody waits for room.
    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn permits(&self, bytes: usize) -> Option<u32> {
        let counts = bytes >= self.uncounted_bytes;
        counts.then(|| u32::try_from(bytes.min(self.bytes)).unwrap_or(u32::MAX))
    }
}

/// Somebody who waits, until this is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    #[tokio::test]
    async fn what_is_larger_than_the_pool_still_gets_its_turn() {
        let pool = Pool::new(100, 10);
        let all = pool.take(1_000).await;
        assert!(all.is_some());
        assert_eq!(pool.try_take(10).unwrap_err(), Full);
        assert!(pool.try_take(9).unwrap().is_none());
        assert!(!pool.is_waited_for());
        {
            let mut next = std::pin::pin!(pool.take(10));
            let waits = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending()));
            assert!(waits.await);
            assert!(pool.is_waited_for());
        }
        assert!(!pool.is_waited_for());
        drop(all);
        assert!(pool.try_take(100).unwrap().is_some());
    }
}

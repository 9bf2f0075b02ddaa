//! Bytes that all clients together may take of the broker's memory for one purpose.

use std::sync::Arc;

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
        }
    }

    /// Waits for room; what is larger than the pool waits until it has the pool to itself.
    pub async fn take(&self, bytes: usize) -> Charge {
        let permits = self.permits(bytes)?;
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

    fn permits(&self, bytes: usize) -> Option<u32> {
        let counts = bytes >= self.uncounted_bytes;
        counts.then(|| u32::try_from(bytes.min(self.bytes)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_larger_than_the_pool_still_gets_its_turn() {
        let pool = Pool::new(100, 10);
        let all = pool.take(1_000).await;
        assert!(all.is_some());
        assert_eq!(pool.try_take(10).unwrap_err(), Full);
        assert!(pool.try_take(9).unwrap().is_none());
        drop(all);
        assert!(pool.try_take(100).unwrap().is_some());
    }
}

//! What clients together may take from the broker for one purpose: bytes of its memory, threads,
//! places in a queue.
//!
//! One client address has at most half of a [`FairPool`]: whatever it requests, the others find the
//! rest, and at most that half is ahead of them in the queue.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What was taken from a [`Pool`], released on drop; `None` if it was too little to count.
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
        // The number of permits: enough that one permit can be one byte.
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
        // It fails only when the semaphore is closed, which never happens.
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

    /// Whether anything waits for room.
    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether nothing is left.
    #[cfg(test)]
    pub fn is_full(&self) -> bool {
        self.room.available_permits() == 0
    }

    fn permits(&self, bytes: usize) -> Option<u32> {
        let counts = bytes >= self.uncounted_bytes;
        counts.then(|| u32::try_from(bytes.min(self.bytes)).unwrap_or(u32::MAX))
    }
}

/// What was taken from a [`FairPool`], released on drop; `None` if it was too little to count.
pub type FairCharge = Option<Taken>;

/// See [`FairCharge`].
#[derive(Debug)]
pub struct Taken {
    of_address: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
    /// As long as something of it is taken, the address has no other share.
    share: Arc<Pool>,
}

impl Taken {
    fn of(share: &Arc<Pool>, of_address: Charge, of_all: Charge) -> FairCharge {
        Some(Self {
            of_address: of_address?,
            of_all: of_all?,
            share: Arc::clone(share),
        })
    }

    /// Takes `bytes` out of this; `None` if it has not that many.
    pub fn split(&mut self, bytes: usize) -> Option<Self> {
        let (of_address, of_all) = (&mut self.of_address, &mut self.of_all);
        if bytes > of_address.num_permits().min(of_all.num_permits()) {
            return None;
        }
        Self::of(&self.share, of_address.split(bytes), of_all.split(bytes))
    }
}

/// Addresses that a [`FairPool`] remembers before it looks for those that take nothing any more.
const REMEMBERED_ADDRESSES: usize = 64;

/// A pool of which each address has at most half.
#[derive(Debug)]
pub struct FairPool<K = IpAddr> {
    all: Pool,
    shares: Mutex<Shares<K>>,
}

#[derive(Debug)]
struct Shares<K> {
    by_address: HashMap<K, Arc<Pool>>,
    /// Number of addresses that are remembered before unused ones are removed.
    remembered_max: usize,
}

impl<K: Hash + Eq + Clone> FairPool<K> {
    /// As [`Pool::new`].
    pub fn new(bytes: usize, uncounted_bytes: usize) -> Self {
        Self {
            all: Pool::new(bytes, uncounted_bytes),
            shares: Mutex::new(Shares {
                by_address: HashMap::new(),
                remembered_max: REMEMBERED_ADDRESSES,
            }),
        }
    }

    /// Like [`Pool::take`]. A request that waits for its address's share takes nothing from others.
    pub async fn take(&self, address: &K, bytes: usize) -> FairCharge {
        self.all.permits(bytes)?;
        let share = self.share(address);
        let of_address = share.take(bytes).await;
        Taken::of(&share, of_address, self.all.take(bytes).await)
    }

    /// As [`Pool::try_take`].
    ///
    /// # Errors
    /// The address has its share, or there is no room at all.
    pub fn try_take(&self, address: &K, bytes: usize) -> Result<FairCharge, Full> {
        if self.all.permits(bytes).is_none() {
            return Ok(None);
        }
        let share = self.share(address);
        let of_address = share.try_take(bytes)?;
        Ok(Taken::of(&share, of_address, self.all.try_take(bytes)?))
    }

    /// Whether anything waits for what this address has.
    pub fn is_waited_for(&self, address: &K) -> bool {
        let share = self.shares.lock().by_address.get(address).cloned();
        self.all.is_waited_for() || share.is_some_and(|share| share.is_waited_for())
    }

    /// Whether nothing is left, for any address.
    #[cfg(test)]
    pub fn is_full(&self) -> bool {
        self.all.is_full()
    }

    fn share(&self, address: &K) -> Arc<Pool> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.by_address.get(address) {
            return Arc::clone(share);
        }
        if shares.by_address.len() >= shares.remembered_max {
            // A holder or waiter also holds the share.
            shares
                .by_address
                .retain(|_, share| Arc::strong_count(share) > 1);
            shares.remembered_max = REMEMBERED_ADDRESSES.max(2 * shares.by_address.len());
        }
        let share = Arc::new(Pool::new(self.all.bytes / 2, self.all.uncounted_bytes));
        shares
            .by_address
            .insert(address.clone(), Arc::clone(&share));
        share
    }
}

/// A waiter, until this is dropped.
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
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;

    use proptest::prelude::*;

    async fn waits<T>(work: impl Future<Output = T>) -> bool {
        let mut work = pin!(work);
        poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn one_address_leaves_half_to_the_others_and_its_place_in_the_queue() {
        let pool = FairPool::new(4, 0);
        let _mine = [pool.take(&"a", 1).await, pool.take(&"a", 1).await];
        assert_eq!(pool.try_take(&"a", 1).unwrap_err(), Full);
        let theirs = pool.take(&"b", 2).await;
        assert!(waits(pool.take(&"a", 1)).await);
        // All is taken: the next one, from another address, waits, without any of "a" before it.
        let (mut more, mut next) = (pin!(pool.take(&"a", 1)), pin!(pool.take(&"c", 2)));
        let more_waits = poll_fn(|cx| Poll::Ready(more.as_mut().poll(cx).is_pending()));
        assert!(more_waits.await);
        let next_waits = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending()));
        assert!(next_waits.await && pool.is_waited_for(&"b"));
        drop(theirs);
        assert!(next.await.is_some());
    }

    #[tokio::test]
    async fn a_part_of_what_was_taken_is_given_back_alone() {
        let pool = FairPool::new(200, 0);
        let mut all = pool.take(&1, 100).await.unwrap();
        let part = all.split(30).unwrap();
        assert!(all.split(71).is_none());
        drop(all);
        assert_eq!(pool.try_take(&1, 71).unwrap_err(), Full);
        assert!(pool.try_take(&1, 70).is_ok());
        drop(part);
        assert!(pool.try_take(&1, 100).is_ok());
    }

    proptest! {
        /// In whatever order permits are taken and released: no address has more than half, all
        /// together have no more than the total, and idle addresses are forgotten.
        #[test]
        fn no_address_gets_more_than_half(steps in prop::collection::vec(
            (0u16..300, 1usize..60, any::<bool>(), any::<prop::sample::Index>()), 1..400,
        )) {
            let pool = FairPool::new(100, 0);
            let mut taken: Vec<(u16, usize, FairCharge)> = Vec::new();
            for (address, bytes, gives_back, which) in steps {
                if gives_back && !taken.is_empty() {
                    taken.swap_remove(which.index(taken.len()));
                }
                let of = |all: bool| -> usize {
                    let counted = taken.iter().filter(|(other, ..)| all || *other == address);
                    counted.map(|(_, bytes, _)| bytes).sum()
                };
                // What is larger than a share is a whole share, and needs its own size of the rest.
                let fits = of(false) + bytes.min(50) <= 50 && of(true) + bytes <= 100;
                match pool.try_take(&address, bytes) {
                    Ok(charge) => {
                        prop_assert!(fits);
                        taken.push((address, bytes, charge));
                    }
                    Err(Full) => prop_assert!(!fits),
                }
                let remembered = pool.shares.lock().by_address.len();
                prop_assert!(remembered <= REMEMBERED_ADDRESSES.max(2 * taken.len() + 2));
            }
        }
    }

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

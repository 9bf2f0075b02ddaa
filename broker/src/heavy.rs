//! CPU-heavy work: done away from the threads that serve connections, and outside all locks.
//!
//! Only a few pieces run in parallel, so that the rest of the machine keeps serving, and a bounded
//! number waits. Each has a time limit and checks it between its steps.
//!
//! Work is done for a client, identified by its host as groups know it (`/127.0.0.1`). One host has
//! at most half of the places. Other hosts find at most one piece of its waiting work ahead of
//! theirs, or half as many as there are threads.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::pool::FairPool;

/// How long one piece of work may take.
pub const BUDGET: Duration = Duration::from_secs(1);

/// Pieces of work that run or wait, at most.
const PLACES: usize = 512;

/// The piece of work has run out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it takes too long")]
pub struct OverBudget;

/// Too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much work is waiting")]
pub struct Busy;

/// The time that a piece of work has.
#[derive(Clone, Copy, Debug)]
pub struct TimeBudget {
    ends: Instant,
}

impl TimeBudget {
    /// From now on.
    pub fn of(time: Duration) -> Self {
        let ends = Instant::now() + time;
        Self { ends }
    }

    /// Fails once the time has run out.
    ///
    /// # Errors
    /// `OverBudget`.
    pub fn check(&self) -> Result<(), OverBudget> {
        match Instant::now() < self.ends {
            true => Ok(()),
            false => Err(OverBudget),
        }
    }
}

/// Where heavy work is done.
#[derive(Clone, Debug)]
pub struct Heavy {
    threads: Arc<FairPool<Arc<str>>>,
    places: Arc<FairPool<Arc<str>>>,
}

impl Default for Heavy {
    /// Half of the machine's threads.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, |all| all.get() / 2);
        Self::new(threads.max(1), PLACES)
    }
}

impl Heavy {
    /// That many pieces at a time, and that many with those that wait.
    pub fn new(threads: usize, places: usize) -> Self {
        Self {
            threads: Arc::new(FairPool::new(threads, 0)),
            places: Arc::new(FairPool::new(places, 0)),
        }
    }

    /// Whether no thread is left.
    #[cfg(test)]
    pub fn is_busy(&self) -> bool {
        self.threads.is_full()
    }

    /// Does the work of a host on a separate thread. It is finished even if nothing waits for it
    /// any more.
    ///
    /// # Errors
    /// `Busy`: it is not done.
    pub async fn run<T: Send + 'static>(
        &self,
        host: &Arc<str>,
        work: impl FnOnce(TimeBudget) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = self.places.try_take(host, 1).map_err(|_| Busy)?;
        let thread = self.threads.take(host, 1).await;
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, thread);
            work(TimeBudget::of(BUDGET))
        });
        done.await.map_err(|error| {
            // A panic is in the log already.
            tracing::error!(%error, "heavy work ended early");
            Busy
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::testing::{LIMIT, until};

    fn host(name: &str) -> Arc<str> {
        name.into()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_as_many_run_as_there_are_threads_and_the_rest_is_refused() {
        let heavy = Heavy::new(2, 6);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (release, released) = crossbeam::channel::unbounded::<()>();
        let mut running = Vec::new();
        for number in 0..6 {
            let (heavy, released) = (heavy.clone(), released.clone());
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            let work = move |_: TimeBudget| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _ = released.recv_timeout(LIMIT);
                now.fetch_sub(1, Ordering::SeqCst);
            };
            let host = host(["a", "b"][number % 2]);
            running.push(tokio::spawn(async move { heavy.run(&host, work).await }));
        }
        // Looks without taking: a place that is tried is one that a task does not find.
        let all_begun = || heavy.places.is_full() && now.load(Ordering::SeqCst) == 2;
        until("all places are taken and two pieces run", all_begun).await;
        assert_eq!(heavy.run(&host("c"), |_| ()).await, Err(Busy));
        drop(release);
        for done in running {
            done.await.unwrap().unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
        assert_eq!(heavy.run(&host("c"), |_| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn one_host_neither_takes_all_places_nor_stands_in_the_way_of_another() {
        let heavy = Heavy::new(1, 8);
        let (release, released) = crossbeam::channel::bounded::<()>(0);
        let (finished, order) = crossbeam::channel::unbounded();
        let mut running = Vec::new();
        let mut begin = |name: &'static str| {
            let (heavy, released, finished) = (heavy.clone(), released.clone(), finished.clone());
            let work = move |_: TimeBudget| {
                released.recv_timeout(LIMIT).unwrap();
                finished.send(name).unwrap();
            };
            running.push(tokio::spawn(
                async move { heavy.run(&host(name), work).await },
            ));
        };
        for _ in 0..4 {
            begin("many");
        }
        // All tasks have a place after this: the runtime has one thread.
        tokio::task::yield_now().await;
        assert_eq!(heavy.run(&host("many"), |_| ()).await, Err(Busy));
        begin("one");
        tokio::task::yield_now().await;
        for _ in 0..5 {
            // The runtime continues meanwhile: the next piece gets the thread.
            let release = release.clone();
            tokio::task::spawn_blocking(move || release.send_timeout((), LIMIT).unwrap())
                .await
                .unwrap();
        }
        for done in running {
            done.await.unwrap().unwrap();
        }
        let order: Vec<_> = order.try_iter().collect();
        assert_eq!(order, ["many", "one", "many", "many", "many"]);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_thread_until_it_is_done() {
        let heavy = Heavy::new(1, 6);
        let (release, released) = crossbeam::channel::bounded::<()>(0);
        let left = tokio::spawn({
            let heavy = heavy.clone();
            async move {
                heavy
                    .run(&host("a"), move |_| released.recv_timeout(LIMIT))
                    .await
                    .is_ok()
            }
        });
        let has_thread = || heavy.threads.is_full();
        until("the work has its thread", has_thread).await;
        left.abort();
        assert!(left.await.is_err());
        assert!(has_thread());
        release.send_timeout((), LIMIT).unwrap();
        assert_eq!(heavy.run(&host("b"), |_| 1).await, Ok(1));
    }

    #[test]
    fn a_budget_ends() {
        assert_eq!(TimeBudget::of(Duration::from_secs(60)).check(), Ok(()));
        assert_eq!(TimeBudget::of(Duration::ZERO).check(), Err(OverBudget));
    }
}

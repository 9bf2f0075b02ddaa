//! Answers that take much memory: only a few are built at a time.

use std::net::IpAddr;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::pool::{FairCharge, FairPool};

/// What large answers share: the memory of those that are built or being sent, of which one address
/// has at most half, and the turn to build one, because building an answer takes several times its
/// size.
#[derive(Debug)]
pub struct LargeAnswers {
    memory: FairPool,
    turn: Semaphore,
}

impl LargeAnswers {
    /// `bytes` for all of them, of which one answer may have `max_bytes`. There is room for two at
    /// least.
    pub fn new(bytes: usize, max_bytes: usize) -> Self {
        Self {
            memory: FairPool::new(bytes.max(max_bytes.saturating_mul(2)), 0),
            turn: Semaphore::new(1),
        }
    }

    /// Waits for the memory of the largest answer, then for the turn: while a request has the turn,
    /// it never waits for a client that reads its answer slowly. At most as many requests of one
    /// address wait for the turn as its memory can hold.
    pub async fn begin(
        &self,
        address: IpAddr,
        max_bytes: usize,
    ) -> (FairCharge, Option<SemaphorePermit<'_>>) {
        let memory = self.memory.take(&address, max_bytes).await;
        // It fails only when the semaphore is closed, which never happens.
        (memory, self.turn.acquire().await.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test]
    async fn large_answers_are_built_one_at_a_time_and_sent_within_their_memory() {
        let answers = LargeAnswers::new(200, 100);
        let waits = async |last| {
            let mut next = std::pin::pin!(answers.begin(address(last), 100));
            std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await
        };
        let (first, turn) = answers.begin(address(1), 100).await;
        assert!(waits(2).await, "the first is still built");
        drop(turn);
        let (second, turn) = answers.begin(address(2), 100).await;
        drop(turn);
        assert!(waits(3).await, "both are being sent");
        drop((first, second));
        assert!(!waits(3).await);
    }

    #[tokio::test]
    async fn an_address_that_takes_no_large_answers_holds_up_its_own_only() {
        let answers = LargeAnswers::new(400, 100);
        let mut unsent = Vec::new();
        for _ in 0..2 {
            unsent.push(answers.begin(address(1), 100).await.0);
        }
        let mut third = std::pin::pin!(answers.begin(address(1), 100));
        let waits = std::future::poll_fn(|cx| Poll::Ready(third.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        for last in 2..=3 {
            let (memory, turn) = answers.begin(address(last), 100).await;
            assert!(memory.is_some() && turn.is_some());
        }
        drop(unsent);
        assert!(third.await.0.is_some());
    }
}

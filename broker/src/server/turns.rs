//! Which requests of one connection are in progress together, by the [`Order`] of their APIs.
//!
//! Invariants:
//! - A request that is [`Order::Alone`] starts when all earlier ones have taken effect and their
//!   answers are sent; no later one starts before the same is true of it. So the writer is
//!   immediately ready for it: a request that has begun but makes no progress could hold what
//!   others need (a place of [`crate::heavy`], a turn of some kind).
//! - Requests that are [`Order::Overlaps`] start in the order in which they arrived.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::BoxFuture;
use crate::api::table::{self, Order};

/// Requests that overlap, at most.
const OVERLAPPING_MAX: u32 = 100;

/// Answered requests whose effect is still to come, at most.
const EFFECTS_MAX: usize = 1_000;

/// A request's turn: it lasts until this is dropped.
pub(super) type Turn = OwnedSemaphorePermit;

/// The turns of one connection. Only its reader takes them.
pub(super) struct Turns {
    /// A request that overlaps takes one place, one that is alone takes all.
    places: Arc<Semaphore>,
    /// Effects that answered requests still have to take, in order.
    effects: VecDeque<BoxFuture<()>>,
}

impl Turns {
    pub fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(OVERLAPPING_MAX as usize)),
            effects: VecDeque::new(),
        }
    }

    /// Waits for the turn of the next request. An unknown API has none, and dispatch refuses it; it
    /// waits for all earlier ones.
    pub async fn next(&mut self, api_key: i16) -> Option<Turn> {
        let order = table::entry(api_key).map_or(Order::Alone, |entry| entry.order);
        let places = match order {
            Order::Overlaps => 1,
            Order::Alone => OVERLAPPING_MAX,
        };
        let turn = Arc::clone(&self.places).acquire_many_owned(places).await;
        match order {
            Order::Overlaps => self.wait_for_some().await,
            Order::Alone => self.wait_for_all().await,
        }
        turn.ok()
    }

    /// An answered request that takes effect with `effect`.
    pub fn answered_before(&mut self, effect: BoxFuture<()>) {
        self.effects.push_back(effect);
    }

    async fn wait_for_all(&mut self) {
        while let Some(effect) = self.effects.front_mut() {
            effect.await;
            self.effects.pop_front();
        }
    }

    /// Forgets what has finished, and waits if too much has not.
    async fn wait_for_some(&mut self) {
        let mut is_full = self.effects.len() >= EFFECTS_MAX;
        while let Some(effect) = self.effects.front_mut() {
            let polled = poll_fn(|cx| Poll::Ready(effect.as_mut().poll(cx))).await;
            match polled {
                Poll::Ready(()) => {}
                Poll::Pending if is_full => effect.await,
                Poll::Pending => return,
            }
            self.effects.pop_front();
            is_full = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    use kafka_protocol::messages::ApiKey;
    use tokio::sync::oneshot;

    const PRODUCE: i16 = ApiKey::Produce as i16;
    const METADATA: i16 = ApiKey::Metadata as i16;

    async fn must_wait(turns: &mut Turns, api_key: i16) -> bool {
        // Else tokio ends the turn of a task that did so much, and everything seems to wait.
        tokio::task::yield_now().await;
        let mut next = pin!(turns.next(api_key));
        poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await
    }

    fn effect() -> (oneshot::Sender<()>, BoxFuture<()>) {
        let (sender, receiver) = oneshot::channel();
        (sender, Box::pin(async move { drop(receiver.await) }))
    }

    #[tokio::test]
    async fn produces_overlap_and_all_others_wait_for_what_is_before_them() {
        let mut turns = Turns::new();
        let first = turns.next(PRODUCE).await;
        let second = turns.next(PRODUCE).await;
        assert!(must_wait(&mut turns, METADATA).await);
        drop(first);
        assert!(must_wait(&mut turns, METADATA).await);
        drop(second);
        let alone = turns.next(METADATA).await;
        assert!(must_wait(&mut turns, PRODUCE).await);
        assert!(must_wait(&mut turns, METADATA).await);
        drop(alone);
        assert!(!must_wait(&mut turns, PRODUCE).await);
    }

    #[tokio::test]
    async fn an_effect_that_is_still_to_come_is_waited_for_by_those_who_could_see_it() {
        let mut turns = Turns::new();
        let (sender, effect) = effect();
        turns.answered_before(effect);
        assert!(!must_wait(&mut turns, PRODUCE).await);
        assert!(must_wait(&mut turns, METADATA).await);
        sender.send(()).unwrap();
        assert!(!must_wait(&mut turns, METADATA).await);
    }

    #[tokio::test]
    async fn effects_to_come_are_bounded() {
        let mut turns = Turns::new();
        let mut senders = VecDeque::new();
        for _ in 0..EFFECTS_MAX {
            assert!(!must_wait(&mut turns, PRODUCE).await);
            let (sender, effect) = effect();
            senders.push_back(sender);
            turns.answered_before(effect);
        }
        assert!(must_wait(&mut turns, PRODUCE).await);
        senders.pop_front();
        assert!(!must_wait(&mut turns, PRODUCE).await);
        assert_eq!(turns.effects.len(), EFFECTS_MAX - 1);
    }
}

//! How large one answer may become, checked while it is built.
//!
//! A few bytes of a request can ask for megabytes. Whatever an API lists or describes goes through
//! the [`Room`] of its answer, item by item; items without room are refused by name and not built.
//! Answers that have one item per item of their request need none: requests are counted.
//!
//! Small answers cost nothing beyond that. A handler that runs out of a small room is started again
//! with a large one, of which there are few ([`Api::LISTS`](super::table::Api::LISTS)).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::protocol::Encodable;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::admin::Refusal;
use crate::pool::{Charge, Pool};

/// Answers up to this size are built without waiting for room.
pub(crate) const SMALL_ANSWER_BYTES: usize = 1 << 20;

/// What large answers share: the memory of those that are built or being sent, and the turn to
/// build one, because building an answer takes several times its size.
#[derive(Debug)]
pub struct LargeAnswers {
    memory: Pool,
    turn: Semaphore,
}

impl LargeAnswers {
    /// `bytes` for all of them, of which one answer may have `max_bytes`.
    pub fn new(bytes: usize, max_bytes: usize) -> Self {
        Self {
            memory: Pool::new(bytes.max(max_bytes), 0),
            turn: Semaphore::new(1),
        }
    }

    /// Waits for the memory of the largest answer, then for the turn: nobody waits for a client that
    /// takes its answer slowly while he has the turn.
    pub(super) async fn begin(&self, max_bytes: usize) -> (Charge, Option<SemaphorePermit<'_>>) {
        let memory = self.memory.take(max_bytes).await;
        // It fails only when the semaphore is closed, which nobody does.
        (memory, self.turn.acquire().await.ok())
    }
}

/// The bytes that one answer may still take.
#[derive(Debug)]
pub struct Room {
    max_bytes: usize,
    left_bytes: AtomicUsize,
    is_over: AtomicBool,
}

impl Room {
    /// Room for an answer of that many bytes.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            left_bytes: AtomicUsize::new(max_bytes),
            is_over: AtomicBool::new(false),
        }
    }

    /// Whether something had no room. All that follows has none either.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Takes that many bytes.
    ///
    /// # Errors
    /// INVALID_REQUEST: fewer are left.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Refusal> {
        // One request has one thread at a time.
        match self.left_bytes.load(Ordering::Relaxed).checked_sub(bytes) {
            Some(left) if !self.is_over() => {
                self.left_bytes.store(left, Ordering::Relaxed);
                Ok(())
            }
            _ => {
                self.is_over.store(true, Ordering::Relaxed);
                Err(Refusal::new(
                    ErrorCode::INVALID_REQUEST,
                    format!(
                        "The answer would be larger than {} bytes (socket.request.max.bytes): \
                         ask for less at once.",
                        self.max_bytes
                    ),
                ))
            }
        }
    }

    /// Takes what an item takes on the wire.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(super) fn take_item(&self, version: i16, item: &impl Encodable) -> Result<(), Refusal> {
        // An item that cannot be encoded fails the whole answer later.
        self.take(item.compute_size(version).unwrap_or_default())
    }

    /// Builds an item if there is room for it, else the refusal of it.
    pub(super) fn item<T: Encodable>(
        &self,
        version: i16,
        build: impl FnOnce() -> T,
        refused: impl FnOnce(Refusal) -> T,
    ) -> T {
        let built = self.take(0).and_then(|()| {
            let item = build();
            self.take_item(version, &item).map(|()| item)
        });
        built.unwrap_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::list_groups_response::ListedGroup;
    use std::task::Poll;

    #[tokio::test]
    async fn large_answers_are_built_one_at_a_time_and_sent_within_their_memory() {
        let answers = LargeAnswers::new(200, 100);
        let waits = async || {
            let mut next = std::pin::pin!(answers.begin(100));
            std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await
        };
        let (first, turn) = answers.begin(100).await;
        assert!(waits().await, "the first is still built");
        drop(turn);
        let (second, turn) = answers.begin(100).await;
        drop(turn);
        assert!(waits().await, "both are being sent");
        drop((first, second));
        assert!(!waits().await);
    }

    #[test]
    fn what_has_no_room_is_refused_and_so_is_all_that_follows() {
        let room = Room::new(100);
        assert!(room.take(60).is_ok());
        assert!(room.take(50).is_err());
        assert!(room.is_over());
        assert!(room.take(1).is_err());
        let refused = |_| ListedGroup::default();
        let built = room.item(0, || panic!("it is not built any more"), refused);
        assert_eq!(built, ListedGroup::default());
    }
}

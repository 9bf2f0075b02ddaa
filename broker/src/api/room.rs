//! How large one answer may become, checked while it is built.
//!
//! A few bytes of a request can ask for megabytes. Whatever an API lists or describes goes through
//! the [`Room`] of its answer, item by item; items without room are refused by name and not built.
//! Answers that have one item per item of their request need none: requests are counted.
//!
//! Small answers cost nothing beyond that. A handler that runs out of a small room is started again
//! with a large one, of which there are few ([`Api::LISTS`](super::table::Api::LISTS)).

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::protocol::Encodable;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::admin::Refusal;
use crate::pool::{FairCharge, FairPool};

/// Answers up to this size are built without waiting for room.
pub(crate) const SMALL_ANSWER_BYTES: usize = 1 << 20;

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

    /// Waits for the memory of the largest answer, then for the turn: nobody waits for a client that
    /// takes its answer slowly while he has the turn. Of one address there wait for the turn as many
    /// as its memory holds.
    pub(super) async fn begin(
        &self,
        address: IpAddr,
        max_bytes: usize,
    ) -> (FairCharge, Option<SemaphorePermit<'_>>) {
        let memory = self.memory.take(&address, max_bytes).await;
        // It fails only when the semaphore is closed, which nobody does.
        (memory, self.turn.acquire().await.ok())
    }
}

/// Bytes of one answer for items that say nothing but defaults, because what they are about is not
/// there. A few bytes of a request ask for kilobytes of those, and nobody needs thousands of them.
const DEFAULTS_MAX_BYTES: usize = 4 << 20;

/// The bytes that one answer may still take.
#[derive(Debug)]
pub struct Room {
    max_bytes: usize,
    left_bytes: AtomicUsize,
    left_for_defaults_bytes: AtomicUsize,
    is_over: AtomicBool,
}

impl Room {
    /// Room for an answer of that many bytes.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            left_bytes: AtomicUsize::new(max_bytes),
            left_for_defaults_bytes: AtomicUsize::new(max_bytes.min(DEFAULTS_MAX_BYTES)),
            is_over: AtomicBool::new(false),
        }
    }

    /// Room for an answer that says nothing but defaults.
    pub fn for_defaults() -> Self {
        Self::new(DEFAULTS_MAX_BYTES)
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

    /// Takes that many bytes of what is left for defaults.
    ///
    /// # Errors
    /// INVALID_REQUEST: fewer are left, and none are from now on.
    fn take_for_defaults(&self, bytes: usize) -> Result<(), Refusal> {
        let left = &self.left_for_defaults_bytes;
        let rest = left.load(Ordering::Relaxed).checked_sub(bytes);
        left.store(rest.unwrap_or_default(), Ordering::Relaxed);
        match rest {
            Some(1..) => Ok(()),
            _ => Err(Refusal::new(
                ErrorCode::INVALID_REQUEST,
                "Too much of the answer is about what does not exist: ask for less at once.",
            )),
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

    /// As [`item`](Self::item), for one that says nothing but defaults.
    pub(super) fn item_of_defaults<T: Encodable>(
        &self,
        version: i16,
        build: impl FnOnce() -> T,
        refused: impl FnOnce(Refusal) -> T,
    ) -> T {
        let built = self.take_for_defaults(0).and_then(|()| {
            let item = build();
            self.take_item(version, &item)?;
            self.take_for_defaults(item.compute_size(version).unwrap_or_default())?;
            Ok(item)
        });
        built.unwrap_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::list_groups_response::ListedGroup;
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

    #[test]
    fn defaults_without_room_leave_the_rest_of_the_answer_alone() {
        let name = kafka_protocol::protocol::StrBytes::from_string("n".repeat(1 << 20));
        let item = ListedGroup::default().with_group_id(name.into());
        let refused = |_| ListedGroup::default();
        let room = Room::new(1 << 30);
        let defaults = |_| room.item_of_defaults(3, || item.clone(), refused) == item;
        assert_eq!((0..9).filter(|_| defaults(())).count(), 3);
        assert!(!room.is_over());
        assert_eq!(room.item(3, || item.clone(), refused), item);
    }
}

//! The size limit of one answer, checked while it is built.
//!
//! A few bytes of a request can ask for megabytes. Every item that an API lists or describes goes
//! through the [`Room`] of its answer; items without room are refused by name and not built.
//! Answers that have one item per item of their request need no room: requests are counted.
//!
//! Small answers cost nothing beyond that. If a handler runs out of a small room, it is started
//! again with a large one, of which there are few ([`LargeAnswers`](crate::broker::LargeAnswers),
//! [`Api::LISTS`](super::table::Api::LISTS)).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::protocol::Encodable;

use super::admin::Refusal;

/// Answers up to this size are built without waiting for room.
pub(crate) const SMALL_ANSWER_BYTES: usize = 1 << 20;

/// Bytes of one answer for items that contain only defaults, because they are about something that
/// does not exist. A few bytes of a request ask for kilobytes of those, and no client needs
/// thousands of them.
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

    /// Room for an answer that contains only defaults.
    pub fn for_defaults() -> Self {
        Self::new(DEFAULTS_MAX_BYTES)
    }

    /// Whether an item had no room. Then no later item has room either.
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
                         request fewer items at a time.",
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
                "Too many of the requested items do not exist: request fewer items at a time.",
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

    /// Like [`item`](Self::item), for an item that contains only defaults.
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

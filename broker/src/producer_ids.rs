//! Allocation of producer ids.
//!
//! Ids come from this cluster's own range: a random tag, drawn at the first start, is in the high
//! bits, so ids mirrored from elsewhere are very unlikely to meet a local one. The barrier
//! [`ProducerIds::lift_above`] makes that certain at the cut. It draws a new tag instead of
//! continuing in the range of the cluster that allocated the mirrored id, which may still allocate
//! from it.
//!
//! Invariant: `next` ≤ `reserved` ≤ what is persisted. Ids are reserved in persisted blocks, so
//! that after a crash the rest of a block is never allocated. A block is reserved only if the
//! record is unchanged since it was last read: two allocators over the same metadata never reserve
//! the same ids.

use carrick_protocol::ids::ProducerId;
use parking_lot::Mutex;

use crate::metadata::{Metadata, MetadataError, Stored, Transaction, Version};
use crate::records::producer_id_block::ProducerIdBlockKeyspace;

/// Ids reserved by one write (Kafka's `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
const BLOCK_IDS: i64 = 1000;

/// Ids below the tag: room for 2^40 producers.
const TAG_SHIFT: u32 = 40;

/// Tags that there are: 22 bits.
const TAGS: i64 = 1 << 22;

pub struct ProducerIds {
    metadata: Metadata,
    state: Mutex<State>,
}

struct State {
    /// The next id to allocate.
    next: i64,
    /// The first id that isn't reserved.
    reserved: i64,
    /// The first id that isn't reserved in the record; 0 if there is no record.
    persisted: i64,
    /// Of the record as it was last read or written.
    version: Version,
}

impl State {
    /// Called when an id is allocated or skipped. A broken order would allocate an id twice, now or
    /// after a crash: it is better to allocate none at all.
    fn check(&self) {
        assert!(self.next <= self.reserved, "an id that is not reserved");
        assert!(
            self.reserved <= self.persisted,
            "a block that is not stored"
        );
    }
}

/// No producer id can be allocated.
#[derive(Debug, thiserror::Error)]
pub enum ProducerIdError {
    /// All ids up to 2^63 are used up.
    #[error("no producer ids are left")]
    Exhausted,
    /// Metadata could not be read or written.
    #[error(transparent)]
    Meta(#[from] MetadataError),
}

impl ProducerIds {
    /// Continues after the last reserved block, or draws the tag.
    ///
    /// # Errors
    /// Metadata could not be read or written.
    pub fn open(metadata: Metadata) -> Result<Self, MetadataError> {
        let (next, version) = match metadata.get_versioned::<ProducerIdBlockKeyspace>(&())? {
            Some(Stored { value, version }) => (value.0, version),
            None => (draw_first(), Version::ABSENT),
        };
        Ok(Self {
            metadata,
            state: Mutex::new(State {
                next,
                reserved: next,
                persisted: if version == Version::ABSENT { 0 } else { next },
                version,
            }),
        })
    }

    /// A producer id that was never allocated here. Blocks on disk once per thousand.
    ///
    /// # Errors
    /// `Exhausted`, or metadata failed.
    pub fn allocate(&self) -> Result<ProducerId, ProducerIdError> {
        let mut state = self.state.lock();
        while state.next >= state.reserved {
            let until = state
                .next
                .checked_add(BLOCK_IDS)
                .ok_or(ProducerIdError::Exhausted)?;
            self.reserve(&mut state, until)?;
        }
        let id = state.next;
        state.next += 1;
        state.check();
        Ok(ProducerId(id))
    }

    /// From now on only ids above `id` are allocated. Durable on return.
    ///
    /// # Errors
    /// `Exhausted`, or metadata failed.
    pub fn lift_above(&self, id: ProducerId) -> Result<(), ProducerIdError> {
        let mut state = self.state.lock();
        while id.0 >= state.next {
            let next = first_above(id, state.next).ok_or(ProducerIdError::Exhausted)?;
            if next <= state.reserved || self.reserve(&mut state, next)? {
                state.next = next;
                state.check();
            }
        }
        Ok(())
    }

    /// Persists that all ids below `until` are reserved. False if another caller has reserved some
    /// in the meantime: then `state` continues after that block, and nothing is reserved.
    fn reserve(&self, state: &mut State, until: i64) -> Result<bool, MetadataError> {
        let mut block = Transaction::new();
        block.expect::<ProducerIdBlockKeyspace>(&(), state.version);
        block.put::<ProducerIdBlockKeyspace>(&(), &ProducerId(until));
        match self.metadata.commit(block) {
            Ok(version) => {
                assert!(until > state.persisted, "the record never falls");
                state.reserved = until;
                state.persisted = until;
                state.version = version;
                Ok(true)
            }
            Err(MetadataError::Conflict(_)) => {
                let stored = self
                    .metadata
                    .get_versioned::<ProducerIdBlockKeyspace>(&())?;
                if let Some(Stored { value, version }) = stored {
                    state.next = state.next.max(value.0);
                    state.reserved = state.next;
                    state.persisted = value.0;
                    state.version = version;
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// A tag, never 0 (Kafka's own allocator starts there), and no id below it.
fn draw_first() -> i64 {
    rand::random_range(1..TAGS) << TAG_SHIFT
}

/// The first id to allocate above `id`, when `next` was to be the next one.
fn first_above(id: ProducerId, next: i64) -> Option<i64> {
    let tag = id.0 >> TAG_SHIFT;
    if tag == next >> TAG_SHIFT || tag + 1 >= TAGS {
        return id.0.checked_add(1);
    }
    Some(rand::random_range(tag + 1..TAGS) << TAG_SHIFT)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metadata::memory::MemoryMetadata;

    fn open(store: &Arc<MemoryMetadata>) -> ProducerIds {
        ProducerIds::open(store.metadata()).unwrap()
    }

    #[test]
    fn ids_are_never_given_out_twice_even_over_a_restart() {
        let store = MemoryMetadata::new();
        let ids = open(&store);
        let mut last = ids.allocate().unwrap();
        assert!(last.0 >= 1 << TAG_SHIFT);
        for _ in 0..1500 {
            let next = ids.allocate().unwrap();
            assert!(next > last);
            last = next;
        }
        drop(ids);
        assert!(open(&store).allocate().unwrap() > last);
    }

    #[test]
    fn two_allocators_never_give_out_the_same_id() {
        let store = MemoryMetadata::new();
        let first = open(&store);
        let mut given = std::collections::HashSet::from([first.allocate().unwrap()]);
        let second = open(&store);
        for _ in 0..1500 {
            for ids in [&first, &second] {
                assert!(given.insert(ids.allocate().unwrap()));
            }
        }
        let mirrored = ProducerId(given.iter().max().unwrap().0 + 10_000);
        first.lift_above(mirrored).unwrap();
        second.lift_above(mirrored).unwrap();
        let (one, other) = (first.allocate().unwrap(), second.allocate().unwrap());
        assert!(one > mirrored && other > mirrored && one != other);
    }

    #[test]
    fn nothing_is_given_out_that_could_not_be_reserved() {
        let store = MemoryMetadata::new();
        let ids = open(&store);
        store.fail_next();
        assert!(ids.allocate().is_err());
        store.fail_next();
        assert!(ids.lift_above(ProducerId(i64::MAX - 1)).is_err());
        let id = ids.allocate().unwrap();
        assert!(open(&store).allocate().unwrap() > id);
    }

    #[test]
    fn the_barrier_lifts_and_survives_a_restart() {
        let store = MemoryMetadata::new();
        let ids = open(&store);
        let mirrored = ProducerId(ids.allocate().unwrap().0 + 5_000_000);
        ids.lift_above(mirrored).unwrap();
        ids.lift_above(ProducerId(3)).unwrap();
        assert_eq!(ids.allocate().unwrap(), ProducerId(mirrored.0 + 1));
        drop(ids);
        assert!(open(&store).allocate().unwrap() > mirrored);
    }

    #[test]
    fn the_barrier_leaves_the_range_of_the_cluster_that_gave_the_id_out() {
        let store = MemoryMetadata::new();
        let ids = open(&store);
        {
            let mut state = ids.state.lock();
            (state.next, state.reserved) = (5 << TAG_SHIFT, 5 << TAG_SHIFT);
        }
        let foreign = ProducerId((1000 << TAG_SHIFT) + 17);
        ids.lift_above(foreign).unwrap();
        let next = ids.allocate().unwrap();
        assert!(next.0 >> TAG_SHIFT > 1000);
        assert_eq!(next.0 % (1 << TAG_SHIFT), 0);
    }

    #[test]
    #[should_panic(expected = "a block that is not stored")]
    fn a_block_that_is_not_stored_is_not_used() {
        let ids = open(&MemoryMetadata::new());
        ids.state.lock().reserved += BLOCK_IDS;
        drop(ids.allocate());
    }

    #[test]
    fn an_exhausted_range_is_an_error() {
        let store = MemoryMetadata::new();
        let ids = open(&store);
        assert!(matches!(
            ids.lift_above(ProducerId(i64::MAX)),
            Err(ProducerIdError::Exhausted)
        ));
        ids.lift_above(ProducerId(i64::MAX - 1)).unwrap();
        assert!(matches!(ids.allocate(), Err(ProducerIdError::Exhausted)));
    }
}

//! Allocation of producer ids.
//!
//! Ids come from a range that is this cluster's own: a random tag, drawn at first start, stands in
//! the high bits, so that ids mirrored from elsewhere are unlikely ever to meet a local one. The
//! barrier [`ProducerIds::lift_above`] makes it certain at promotion; it draws a new tag rather than
//! go on in the range of the cluster that gave the mirrored id out, which may do so still.
//!
//! Invariant: `next` ≤ `reserved` ≤ what is persisted. Ids are reserved in persisted blocks, so
//! that after a crash the rest of a block is never given out.

use std::sync::Arc;

use carrick_protocol::ids::ProducerId;
use carrick_storage::meta::{MetaBatch, MetaError, MetaStore};
use parking_lot::Mutex;

use crate::records::producer_id_block::ProducerIdBlockKeyspace;

/// Ids reserved by one write to RocksDB (Kafka's `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
const BLOCK_IDS: i64 = 1000;

/// Ids below the tag: room for 2^40 producers.
const TAG_SHIFT: u32 = 40;

/// Tags that there are: 22 bits.
const TAGS: i64 = 1 << 22;

/// The allocator.
pub struct ProducerIds {
    meta: Arc<MetaStore>,
    state: Mutex<State>,
}

struct State {
    /// The next id to give out.
    next: i64,
    /// The first id that isn't reserved.
    reserved: i64,
}

/// No producer id can be given out.
#[derive(Debug, thiserror::Error)]
pub enum ProducerIdError {
    /// All ids up to 2^63 are used up.
    #[error("no producer ids are left")]
    Exhausted,
    /// RocksDB failed.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl ProducerIds {
    /// Goes on after the last reserved block, or draws the tag.
    ///
    /// # Errors
    /// RocksDB failed.
    pub fn open(meta: Arc<MetaStore>) -> Result<Self, MetaError> {
        let next = match meta.get::<ProducerIdBlockKeyspace>(&())? {
            Some(next) => next.0,
            None => draw_first(),
        };
        Ok(Self {
            meta,
            state: Mutex::new(State {
                next,
                reserved: next,
            }),
        })
    }

    /// A producer id that was never given out here. Blocks on disk once per thousand.
    ///
    /// # Errors
    /// `Exhausted`, or RocksDB failed.
    pub fn allocate(&self) -> Result<ProducerId, ProducerIdError> {
        let mut state = self.state.lock();
        if state.next >= state.reserved {
            let until = state
                .next
                .checked_add(BLOCK_IDS)
                .ok_or(ProducerIdError::Exhausted)?;
            self.persist(until)?;
            state.reserved = until;
        }
        let id = state.next;
        state.next += 1;
        Ok(ProducerId(id))
    }

    /// From now on only ids above `id` are given out. Durable on return.
    ///
    /// # Errors
    /// `Exhausted`, or RocksDB failed.
    pub fn lift_above(&self, id: ProducerId) -> Result<(), ProducerIdError> {
        let mut state = self.state.lock();
        if id.0 < state.next {
            return Ok(());
        }
        let next = first_above(id, state.next).ok_or(ProducerIdError::Exhausted)?;
        if next > state.reserved {
            self.persist(next)?;
            state.reserved = next;
        }
        state.next = next;
        Ok(())
    }

    fn persist(&self, reserved: i64) -> Result<(), MetaError> {
        let mut batch = MetaBatch::new();
        batch.put::<ProducerIdBlockKeyspace>(&(), &ProducerId(reserved));
        self.meta.commit(batch)
    }
}

/// A tag, never 0 (Kafka's own allocator starts there), and no id below it.
fn draw_first() -> i64 {
    rand::random_range(1..TAGS) << TAG_SHIFT
}

/// The first id to give out above `id`, when `next` was to be the next one.
fn first_above(id: ProducerId, next: i64) -> Option<i64> {
    let tag = id.0 >> TAG_SHIFT;
    if tag == next >> TAG_SHIFT || tag + 1 >= TAGS {
        return id.0.checked_add(1);
    }
    Some(rand::random_range(tag + 1..TAGS) << TAG_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &tempfile::TempDir) -> ProducerIds {
        ProducerIds::open(Arc::new(MetaStore::open(dir.path()).unwrap())).unwrap()
    }

    #[test]
    fn ids_are_never_given_out_twice_even_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let ids = open(&dir);
        let mut last = ids.allocate().unwrap();
        assert!(last.0 >= 1 << TAG_SHIFT);
        for _ in 0..1500 {
            let next = ids.allocate().unwrap();
            assert!(next > last);
            last = next;
        }
        drop(ids);
        assert!(open(&dir).allocate().unwrap() > last);
    }

    #[test]
    fn the_barrier_lifts_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let ids = open(&dir);
        let mirrored = ProducerId(ids.allocate().unwrap().0 + 5_000_000);
        ids.lift_above(mirrored).unwrap();
        ids.lift_above(ProducerId(3)).unwrap();
        assert_eq!(ids.allocate().unwrap(), ProducerId(mirrored.0 + 1));
        drop(ids);
        assert!(open(&dir).allocate().unwrap() > mirrored);
    }

    #[test]
    fn the_barrier_leaves_the_range_of_the_cluster_that_gave_the_id_out() {
        let dir = tempfile::tempdir().unwrap();
        let ids = open(&dir);
        ids.state.lock().next = 5 << TAG_SHIFT;
        let foreign = ProducerId((1000 << TAG_SHIFT) + 17);
        ids.lift_above(foreign).unwrap();
        let next = ids.allocate().unwrap();
        assert!(next.0 >> TAG_SHIFT > 1000);
        assert_eq!(next.0 % (1 << TAG_SHIFT), 0);
    }

    #[test]
    fn an_exhausted_range_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let ids = open(&dir);
        assert!(matches!(
            ids.lift_above(ProducerId(i64::MAX)),
            Err(ProducerIdError::Exhausted)
        ));
        ids.lift_above(ProducerId(i64::MAX - 1)).unwrap();
        assert!(matches!(ids.allocate(), Err(ProducerIdError::Exhausted)));
    }
}

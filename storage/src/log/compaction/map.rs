//! The last offset of every key, by a hash of the key (Kafka's `SkimpyOffsetMap`).
//!
//! 24 bytes per key, whatever its length. The hash has 128 bits of two SipHashes with keys of this
//! process: a client can't make two keys collide on purpose, and by chance none ever do.

use std::hash::{BuildHasher, Hasher, RandomState};

use carrick_protocol::ids::Offset;

/// Bytes of one entry.
pub(super) const ENTRY_BYTES: usize = 24;

/// Hash (two words) and offset + 1; all zeros if empty.
type Entry = [u64; 3];

/// Which offset is the last one of a key.
#[derive(Debug)]
pub(super) struct OffsetMap {
    hashers: [RandomState; 2],
    entries: Vec<Entry>,
    len: usize,
    len_max: usize,
    /// Everything up to here is in the map.
    latest: Offset,
}

impl OffsetMap {
    /// A map of at most `bytes` that takes keys until it is `load_factor` full, or `keys` if those
    /// are fewer. At least one.
    pub fn new(bytes: usize, load_factor: f64, keys: u64) -> OffsetMap {
        let load_factor = load_factor.clamp(0.01, 1.0);
        let slots_max = (bytes / ENTRY_BYTES).max(2);
        let wanted = (keys as f64 / load_factor).ceil() as usize;
        let slots = wanted.saturating_add(1).clamp(2, slots_max);
        let len_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        OffsetMap {
            hashers: [RandomState::new(), RandomState::new()],
            entries: vec![[0; 3]; slots],
            len: 0,
            len_max,
            latest: Offset::NONE,
        }
    }

    /// Whether no further key may be put.
    pub fn is_full(&self) -> bool {
        self.len >= self.len_max
    }

    /// Keys in the map.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Notes that `key` was last seen at `offset`. The map must not be full.
    pub fn put(&mut self, key: &[u8], offset: Offset) {
        self.latest = offset;
        let hash = self.hash(key);
        let Some(at) = self.place_of(hash) else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(at) {
            self.len += usize::from(entry[2] == 0);
            *entry = [hash[0], hash[1], offset.0 as u64 + 1];
        }
    }

    /// Where `key` was last seen.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let at = self.place_of(self.hash(key))?;
        match self.entries.get(at)? {
            [_, _, 0] => None,
            [_, _, offset] => Some(Offset((offset - 1) as i64)),
        }
    }

    /// Everything up to here is in the map.
    pub fn latest(&self) -> Offset {
        self.latest
    }

    /// Everything up to `offset` has been read.
    pub fn set_latest(&mut self, offset: Offset) {
        self.latest = offset;
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let hash = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(key);
            hasher.finish()
        };
        [hash(&self.hashers[0]), hash(&self.hashers[1])]
    }

    /// The slot of a hash, or the free one for it; `None` if it has none and none is free.
    fn place_of(&self, hash: [u64; 2]) -> Option<usize> {
        let slots = self.entries.len();
        let first = (hash[0] % slots as u64) as usize;
        (0..slots)
            .map(|step| (first + step) % slots)
            .find(|at| match self.entries.get(*at) {
                Some([_, _, 0]) => true,
                Some([high, low, _]) => [*high, *low] == hash,
                None => false,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_knows_what_a_hash_map_knows(
            puts in prop::collection::vec(0u16..300, 0..600), load in 1u8..=10,
        ) {
            let mut map = OffsetMap::new(1 << 20, f64::from(load) / 10.0, 300);
            let mut model = HashMap::new();
            for (n, key) in puts.iter().enumerate() {
                prop_assert!(!map.is_full() || model.len() == 300);
                map.put(&key.to_be_bytes(), Offset(n as i64));
                model.insert(*key, n as i64);
            }
            prop_assert_eq!(map.len(), model.len());
            for key in 0u16..300 {
                let found = map.get(&key.to_be_bytes()).map(|offset| offset.0);
                prop_assert_eq!(found, model.get(&key).copied());
            }
        }
    }

    #[test]
    fn it_is_full_at_its_load_factor_and_never_larger_than_needed() {
        let mut map = OffsetMap::new(100 * ENTRY_BYTES, 0.9, u64::MAX >> 20);
        let mut put = 0;
        while !map.is_full() {
            map.put(&[put], Offset(i64::from(put)));
            put += 1;
        }
        assert_eq!((put, map.len(), map.latest()), (90, 90, Offset(89)));
        assert!(OffsetMap::new(1 << 30, 0.9, 9).entries.len() < 15);
        assert_eq!(OffsetMap::new(0, 0.9, 1_000).len_max, 1);
    }
}

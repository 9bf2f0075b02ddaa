//! The offset index of a segment: sparse, byte-compatible with Kafka's `OffsetIndex`.
//!
//! Entry: relative offset i32 · position i32, big endian. An entry names the **last** offset of a
//! batch and where that batch begins. Both grow from entry to entry. The writer asserts that of
//! positions. It cannot of offsets: a loaded index file is checked at its ends only, so every
//! look-up checks that its entry points at a batch with that offset.

use carrick_protocol::ids::Offset;

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 8;

/// A batch the index knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Last offset of the batch.
    pub last_offset: Offset,
    /// Where the batch begins in the segment.
    pub position: usize,
}

/// Look-ups over the bytes of an index, a file's or those of the active segment.
#[derive(Clone, Copy, Debug)]
pub struct OffsetIndex<'a> {
    base: Offset,
    entries: &'a [[u8; ENTRY_BYTES]],
}

impl<'a> OffsetIndex<'a> {
    /// The index of the segment with that base offset; a partial entry at the end is ignored.
    pub fn new(base: Offset, bytes: &'a [u8]) -> Self {
        OffsetIndex {
            base,
            entries: bytes.as_chunks().0,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry at `at`, if there is one.
    pub fn entry(&self, at: usize) -> Option<OffsetEntry> {
        self.entries.get(at).map(|bytes| self.decode(bytes))
    }

    pub fn last(&self) -> Option<OffsetEntry> {
        self.entry(self.len().checked_sub(1)?)
    }

    fn decode(&self, [o0, o1, o2, o3, p0, p1, p2, p3]: &[u8; ENTRY_BYTES]) -> OffsetEntry {
        let relative = i32::from_be_bytes([*o0, *o1, *o2, *o3]);
        let position = i32::from_be_bytes([*p0, *p1, *p2, *p3]);
        OffsetEntry {
            last_offset: self.base + i64::from(relative),
            position: usize::try_from(position).unwrap_or(0),
        }
    }

    /// The last entry whose offset is at most `offset` (Kafka's `lookup`).
    pub fn floor(&self, offset: Offset) -> Option<OffsetEntry> {
        let after = self
            .entries
            .partition_point(|e| self.decode(e).last_offset <= offset);
        self.entry(after.checked_sub(1)?)
    }

    /// The last entry whose batch begins at or before `position` and ends before `upto`.
    pub fn floor_position(&self, position: usize, upto: Offset) -> Option<OffsetEntry> {
        let after = self.entries.partition_point(|e| {
            let entry = self.decode(e);
            entry.position <= position && entry.last_offset < upto
        });
        self.entry(after.checked_sub(1)?)
    }

    /// Whether this can be the index of a segment of `log_bytes`: entries that grow, within it.
    pub fn is_sane(&self, file_bytes: u64, log_bytes: u64) -> bool {
        let whole = file_bytes == (self.entries.len() * ENTRY_BYTES) as u64;
        let grows = match (self.entry(0), self.entry(self.len().saturating_sub(1))) {
            (Some(first), Some(last)) => {
                first.last_offset >= self.base
                    && first.last_offset <= last.last_offset
                    && first.position <= last.position
                    && (last.position as u64) < log_bytes
            }
            _ => true,
        };
        whole && grows
    }
}

/// The bytes of an entry; `None` when offset or position are out of an index's reach.
pub fn encode(base: Offset, last_offset: Offset, position: usize) -> Option<[u8; ENTRY_BYTES]> {
    let relative = i32::try_from(last_offset - base).ok().filter(|r| *r >= 0)?;
    let position = i32::try_from(position).ok()?;
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..4].copy_from_slice(&relative.to_be_bytes());
    bytes[4..].copy_from_slice(&position.to_be_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index_of(base: Offset, entries: &[(i64, usize)]) -> Vec<u8> {
        entries
            .iter()
            .flat_map(|(o, p)| encode(base, Offset(*o), *p).unwrap())
            .collect()
    }

    #[test]
    fn bytes_are_kafkas() {
        assert_eq!(
            encode(Offset(100), Offset(258), 70_000).unwrap(),
            [0, 0, 0, 158, 0, 1, 17, 112]
        );
    }

    #[test]
    fn what_does_not_fit_has_no_entry() {
        assert!(encode(Offset(5), Offset(4), 0).is_none());
        assert!(encode(Offset(0), Offset(i64::from(i32::MAX) + 1), 0).is_none());
        assert!(encode(Offset(0), Offset(1), 1 << 31).is_none());
    }

    #[test]
    fn a_torn_or_foreign_index_is_not_sane() {
        let bytes = index_of(Offset(10), &[(12, 100), (20, 300)]);
        let index = OffsetIndex::new(Offset(10), &bytes);
        assert!(index.is_sane(16, 301));
        assert!(!index.is_sane(17, 301));
        assert!(!index.is_sane(16, 300));
        let shrinking = index_of(Offset(10), &[(20, 100), (12, 300)]);
        assert!(!OffsetIndex::new(Offset(10), &shrinking).is_sane(16, 1000));
        assert!(OffsetIndex::new(Offset(10), &[]).is_sane(0, 0));
    }

    proptest! {
        #[test]
        fn lookups_equal_a_linear_scan(
            steps in prop::collection::vec((1i64..50, 1usize..500), 0..40),
            offset in 0i64..2500, position in 0usize..25_000,
        ) {
            let (mut o, mut p) = (100, 0);
            let entries: Vec<(i64, usize)> =
                steps.iter().map(|(a, b)| { o += a; p += b; (o, p) }).collect();
            let bytes = index_of(Offset(100), &entries);
            let index = OffsetIndex::new(Offset(100), &bytes);
            let want = entries.iter().rfind(|e| e.0 <= offset).copied();
            prop_assert_eq!(index.floor(Offset(offset)).map(|e| (e.last_offset.0, e.position)), want);
            let want = entries.iter().rfind(|e| e.1 <= position && e.0 < offset).copied();
            let found = index.floor_position(position, Offset(offset));
            prop_assert_eq!(found.map(|e| (e.last_offset.0, e.position)), want);
        }
    }
}

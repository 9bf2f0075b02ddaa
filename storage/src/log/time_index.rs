//! The time index of a segment: sparse, byte-compatible with Kafka's `TimeIndex`.
//!
//! Entry: timestamp i64 · relative offset i32, big endian: the largest timestamp so far and the
//! last offset of the first batch that has it. Timestamps increase strictly; the last entry of a
//! sealed segment is its largest timestamp.

use carrick_protocol::ids::Offset;

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 12;

/// A largest-so-far timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// In ms; -1 when no batch has a timestamp.
    pub timestamp_ms: i64,
    /// Last offset of the first batch that has it.
    pub offset: Offset,
}

impl TimeEntry {
    /// No timestamp so far, in a segment with that base offset.
    pub fn none(base: Offset) -> TimeEntry {
        TimeEntry {
            timestamp_ms: -1,
            offset: base,
        }
    }
}

/// Look-ups over the bytes of an index, a file's or those of the active segment.
#[derive(Clone, Copy, Debug)]
pub struct TimeIndex<'a> {
    base: Offset,
    entries: &'a [[u8; ENTRY_BYTES]],
}

impl<'a> TimeIndex<'a> {
    /// The index of the segment with that base offset; a partial entry at the end is ignored.
    pub fn new(base: Offset, bytes: &'a [u8]) -> Self {
        TimeIndex {
            base,
            entries: bytes.as_chunks().0,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry at `at`, if there is one.
    pub fn entry(&self, at: usize) -> Option<TimeEntry> {
        self.entries.get(at).map(|bytes| self.decode(bytes))
    }

    fn decode(&self, [t0, t1, t2, t3, t4, t5, t6, t7, o0, o1, o2, o3]: &[u8; 12]) -> TimeEntry {
        TimeEntry {
            timestamp_ms: i64::from_be_bytes([*t0, *t1, *t2, *t3, *t4, *t5, *t6, *t7]),
            offset: self.base + i64::from(i32::from_be_bytes([*o0, *o1, *o2, *o3])),
        }
    }

    /// The last entry whose timestamp is at most `timestamp_ms` (Kafka's `lookup`).
    pub fn floor(&self, timestamp_ms: i64) -> Option<TimeEntry> {
        let after = self
            .entries
            .partition_point(|e| self.decode(e).timestamp_ms <= timestamp_ms);
        self.entry(after.checked_sub(1)?)
    }

    /// The largest timestamp.
    pub fn last(&self) -> Option<TimeEntry> {
        self.entry(self.entries.len().checked_sub(1)?)
    }

    /// Whether this can be the index of a segment: whole entries that do not go back.
    pub fn is_sane(&self, file_bytes: u64) -> bool {
        let whole = file_bytes == (self.entries.len() * ENTRY_BYTES) as u64;
        let grows = match (self.entry(0), self.last()) {
            (Some(first), Some(last)) => {
                first.timestamp_ms <= last.timestamp_ms && last.offset >= self.base
            }
            _ => true,
        };
        whole && grows
    }
}

/// The bytes of an entry; `None` if the offset is out of an index's range.
pub fn encode(base: Offset, entry: TimeEntry) -> Option<[u8; ENTRY_BYTES]> {
    let relative = i32::try_from(entry.offset - base)
        .ok()
        .filter(|r| *r >= 0)?;
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..8].copy_from_slice(&entry.timestamp_ms.to_be_bytes());
    bytes[8..].copy_from_slice(&relative.to_be_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(timestamp_ms: i64, offset: i64) -> TimeEntry {
        TimeEntry {
            timestamp_ms,
            offset: Offset(offset),
        }
    }

    #[test]
    fn bytes_are_kafkas() {
        let bytes = encode(Offset(100), entry(0x0102_0304_0506, 102)).unwrap();
        assert_eq!(bytes, [0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 2]);
        assert!(encode(Offset(100), entry(1, 99)).is_none());
    }

    #[test]
    fn a_torn_or_foreign_index_is_not_sane() {
        let bytes: Vec<u8> = [entry(5, 12), entry(9, 30)]
            .into_iter()
            .flat_map(|e| encode(Offset(10), e).unwrap())
            .collect();
        assert!(TimeIndex::new(Offset(10), &bytes).is_sane(24));
        assert!(!TimeIndex::new(Offset(10), &bytes).is_sane(25));
        let back: Vec<u8> = bytes[12..].iter().chain(&bytes[..12]).copied().collect();
        assert!(!TimeIndex::new(Offset(10), &back).is_sane(24));
        assert!(TimeIndex::new(Offset(10), &[]).is_sane(0));
    }

    proptest! {
        #[test]
        fn lookups_equal_a_linear_scan(
            steps in prop::collection::vec((1i64..50, 1i64..50), 0..40), timestamp in 0i64..2500,
        ) {
            let (mut t, mut o) = (500, 100);
            let entries: Vec<TimeEntry> =
                steps.iter().map(|(a, b)| { t += a; o += b; entry(t, o) }).collect();
            let bytes: Vec<u8> =
                entries.iter().flat_map(|e| encode(Offset(100), *e).unwrap()).collect();
            let index = TimeIndex::new(Offset(100), &bytes);
            prop_assert_eq!(index.floor(timestamp), entries.iter().rfind(|e| e.timestamp_ms <= timestamp).copied());
            prop_assert_eq!(index.last(), entries.last().copied());
        }
    }
}

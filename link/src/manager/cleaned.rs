//! Compares two forms of one batch after compaction on either side: every record that both sides
//! still hold must be equal.

use carrick_protocol::batch::{Batch, BatchError, RecordView, records};

/// The most bytes that a batch may decompress to here.
const UNPACKED_MAX_BYTES: usize = 256 << 20;

/// The number of records that both sides hold; else what differs.
pub(super) fn compare(theirs: &Batch<'_>, ours: &Batch<'_>) -> Result<u64, String> {
    let (a, b) = (&theirs.header, &ours.header);
    let same = [
        ("leader epoch", a.leader_epoch == b.leader_epoch),
        ("last offset", a.last_offset() == b.last_offset()),
        (
            "producer",
            (a.producer_id, a.producer_epoch, a.base_sequence)
                == (b.producer_id, b.producer_epoch, b.base_sequence),
        ),
        (
            "kind",
            (a.is_control(), a.is_transactional(), a.timestamp_type())
                == (b.is_control(), b.is_transactional(), b.timestamp_type()),
        ),
    ];
    if let Some((what, _)) = same.iter().find(|(_, is_same)| !is_same) {
        return Err(format!("{what} of a compacted batch"));
    }
    let mut theirs = unpacked(theirs, "source")?.peekable();
    let mut ours = unpacked(ours, "mirror")?.peekable();
    let mut both = 0;
    while let (Some(a), Some(b)) = (theirs.peek(), ours.peek()) {
        let (a, b) = (read(a, "source")?, read(b, "mirror")?);
        if a.offset == b.offset {
            if a != b {
                return Err(format!("the record at offset {}", a.offset));
            }
            both += 1;
        }
        let (is_next, is_ours_next) = (a.offset <= b.offset, b.offset <= a.offset);
        if is_next {
            theirs.next();
        }
        if is_ours_next {
            ours.next();
        }
    }
    Ok(both)
}

type Read = Result<RecordView, BatchError>;

fn unpacked(batch: &Batch<'_>, side: &str) -> Result<impl Iterator<Item = Read>, String> {
    let sound = batch.verify_crc();
    sound
        .and_then(|()| records(batch, UNPACKED_MAX_BYTES))
        .map_err(|error| unreadable(side, &error))
}

fn read<'a>(record: &'a Read, side: &str) -> Result<&'a RecordView, String> {
    record.as_ref().map_err(|error| unreadable(side, error))
}

fn unreadable(side: &str, error: &BatchError) -> String {
    format!("the {side}'s batch cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use carrick_protocol::batch::BatchBuilder;

    use super::*;

    fn batch(records: &[(i32, &str)]) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        let mut next = 0;
        for (offset, value) in records {
            builder = builder.skip(offset - next);
            builder = builder.record(7, Some(b"k"), Some(value.as_bytes()));
            next = offset + 1;
        }
        builder.skip(9 - next).build().to_vec()
    }

    fn verdict(a: &[u8], b: &[u8]) -> Result<u64, String> {
        compare(&Batch::parse(a).unwrap(), &Batch::parse(b).unwrap())
    }

    #[test]
    fn what_both_sides_still_hold_is_compared() {
        let source = batch(&[(0, "a"), (2, "b"), (5, "c")]);
        assert_eq!(
            verdict(&source, &batch(&[(2, "b"), (5, "c"), (8, "d")])),
            Ok(2)
        );
        assert_eq!(verdict(&source, &batch(&[])), Ok(0));
        let other = verdict(&source, &batch(&[(0, "a"), (2, "x")]));
        assert_eq!(other, Err("the record at offset 2".to_owned()));
    }

    #[test]
    fn other_headers_and_damage_are_differences() {
        let source = batch(&[(0, "a")]);
        let longer = BatchBuilder::new().skip(10).build();
        assert!(
            verdict(&source, &longer)
                .unwrap_err()
                .contains("last offset")
        );
        let mut damaged = batch(&[(0, "a"), (1, "b")]);
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        assert!(verdict(&source, &damaged).unwrap_err().contains("mirror"));
    }
}

//! Batches to mirror.

use bytes::Bytes;
use carrick_protocol::batch::{BatchBuilder, CheckedBatches};
use carrick_protocol::ids::{LeaderEpoch, Offset};

/// The timestamp of the record at offset 0; each later one is a millisecond younger.
pub const FIRST_TIMESTAMP_MS: i64 = 1_600_000_000_000;

/// A batch of `count` small records.
pub fn batch(base_offset: i64, count: i32, epoch: i32) -> Bytes {
    batch_of(base_offset, count, epoch, 20)
}

/// A batch of `count` records with values of that size.
pub fn batch_of(base_offset: i64, count: i32, epoch: i32, value_bytes: usize) -> Bytes {
    let value = vec![b'x'; value_bytes];
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(base_offset))
        .leader_epoch(LeaderEpoch(epoch));
    for delta in 0..count {
        let offset = base_offset + i64::from(delta);
        builder = builder.record(
            FIRST_TIMESTAMP_MS + offset,
            Some(offset.to_string().as_bytes()),
            Some(&value),
        );
    }
    builder.build().freeze()
}

/// Several runs of bytes as one.
pub fn joined(parts: &[Bytes]) -> Bytes {
    parts.concat().into()
}

/// `run` as a mirror partition takes it.
pub fn checked(run: &Bytes) -> CheckedBatches {
    CheckedBatches::check(run).expect("sound batches")
}

/// The same bytes with one bit of the last byte turned: the CRC doesn't fit any more.
pub fn damaged(bytes: &Bytes) -> Bytes {
    let mut damaged = bytes.to_vec();
    if let Some(last) = damaged.last_mut() {
        *last ^= 1;
    }
    damaged.into()
}

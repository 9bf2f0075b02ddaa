//! Control records: the markers that end a transaction on a partition (KIP-98).
//!
//! Key: version i16, type i16 (0 abort, 1 commit). Value of these two: version i16, coordinator
//! epoch i32 (Kafka's `ControlRecordType`, `EndTransactionMarker`). Unknown types are skipped by
//! every reader. Compaction may leave a control batch without its record.

use super::records::records_of;
use super::{BatchBuilder, BatchError, BatchHeader, CheckedBatches, NO_SEQUENCE};
use crate::ids::ProducerId;

/// Control batches hold one small record.
const CONTROL_LIMIT_BYTES: usize = 64 * 1024;

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlKind {
    /// The transaction was aborted.
    Abort,
    /// The transaction was committed.
    Commit,
    /// Something else (KRaft's own records, newer types), by its type number.
    Other(i16),
}

impl ControlKind {
    /// The type number in the key.
    pub fn code(self) -> i16 {
        match self {
            ControlKind::Abort => 0,
            ControlKind::Commit => 1,
            ControlKind::Other(code) => code,
        }
    }
}

impl From<i16> for ControlKind {
    fn from(code: i16) -> Self {
        match code {
            0 => ControlKind::Abort,
            1 => ControlKind::Commit,
            other => ControlKind::Other(other),
        }
    }
}

/// A control record, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlMarker {
    pub kind: ControlKind,
    /// Epoch of the transaction coordinator that wrote it; -1 for [`ControlKind::Other`].
    pub coordinator_epoch: i32,
}

impl ControlMarker {
    /// Reads the marker of a control batch with this header and these records; `None` when it is
    /// empty or no control batch.
    pub fn read(header: &BatchHeader, body: &[u8]) -> Result<Option<Self>, BatchError> {
        if !header.is_control() || header.record_count == 0 {
            return Ok(None);
        }
        let Some(record) = records_of(header, body, CONTROL_LIMIT_BYTES)?.next() else {
            return Ok(None);
        };
        let record = record?;
        let key = record.key.as_deref().and_then(|key| key.first_chunk::<4>());
        let Some([version_high, _, kind_high, kind_low]) = key else {
            return Err(BatchError::Control("its key is shorter than 4 bytes"));
        };
        if version_high & 0x80 != 0 {
            return Err(BatchError::Control("its key has a negative version"));
        }
        let kind = ControlKind::from(i16::from_be_bytes([*kind_high, *kind_low]));
        if let ControlKind::Other(_) = kind {
            return Ok(Some(ControlMarker {
                kind,
                coordinator_epoch: -1,
            }));
        }
        let value = record
            .value
            .as_deref()
            .and_then(|value| value.first_chunk::<6>());
        let Some([version_high, _, epoch @ ..]) = value else {
            return Err(BatchError::Control("its value is shorter than 6 bytes"));
        };
        if version_high & 0x80 != 0 {
            return Err(BatchError::Control("its value has a negative version"));
        }
        Ok(Some(ControlMarker {
            kind,
            coordinator_epoch: i32::from_be_bytes(*epoch),
        }))
    }
}

/// Makes the control batch that ends a transaction, at base offset 0 and without leader epoch:
/// both are patched when it is appended.
pub fn build_marker(
    kind: ControlKind,
    producer_id: ProducerId,
    producer_epoch: i16,
    coordinator_epoch: i32,
    timestamp_ms: i64,
) -> CheckedBatches {
    let [kind_high, kind_low] = kind.code().to_be_bytes();
    let key = [0, 0, kind_high, kind_low];
    let [a, b, c, d] = coordinator_epoch.to_be_bytes();
    BatchBuilder::new()
        .producer(producer_id, producer_epoch, NO_SEQUENCE)
        .transactional(true)
        .control(true)
        .record(timestamp_ms, Some(&key), Some(&[0, 0, a, b, c, d]))
        .build_checked()
}

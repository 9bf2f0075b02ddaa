//! Look-ups by timestamp, answered per record as ListOffsets wants them.

use carrick_protocol::batch::find_record;
use carrick_protocol::ids::{LeaderEpoch, Offset};

use super::LogError;
use super::reader::Snapshot;
use super::segment::View;

/// Largest decompressed batch that is searched.
const RECORDS_LIMIT_BYTES: usize = 1 << 30;

/// Timestamp, offset and leader epoch of one record (the answer to ListOffsets).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Timestamp of the record, in ms.
    pub timestamp_ms: i64,
    pub offset: Offset,
    /// Leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

impl Snapshot {
    /// The first record, in offset order and below `upto`, with a timestamp of at least
    /// `timestamp_ms` (`UnifiedLog.fetchOffsetByTimestamp`).
    ///
    /// Errors: `Corrupt`, also for a batch whose records cannot be decoded, and `Io`.
    pub fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
        upto: Offset,
    ) -> Result<Option<TimestampOffset>, LogError> {
        for at in self.segment_of(self.log_start())..self.segment_count() {
            if self.max_time(at)?.timestamp_ms < timestamp_ms {
                continue;
            }
            let found = search(&self.view(at)?, timestamp_ms, self.log_start())?;
            if let Some(found) = found {
                return Ok((found.offset < upto).then_some(found));
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp of the log (ListOffsets -3).
    ///
    /// Errors: as [`Snapshot::offset_for_timestamp`].
    pub fn max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        let mut best: Option<(usize, i64)> = None;
        for at in 0..self.segment_count() {
            let max_ms = self.max_time(at)?.timestamp_ms;
            if max_ms >= 0 && best.is_none_or(|(_, best_ms)| max_ms > best_ms) {
                best = Some((at, max_ms));
            }
        }
        match best {
            Some((at, max_ms)) => search(&self.view(at)?, max_ms, Offset::ZERO),
            None => Ok(None),
        }
    }
}

/// The first record of a segment from offset `from` on with a timestamp of at least
/// `timestamp_ms`.
fn search(
    view: &View<'_>,
    timestamp_ms: i64,
    from: Offset,
) -> Result<Option<TimestampOffset>, LogError> {
    // All batches before the one the entry names have smaller timestamps.
    let indexed = view
        .times
        .floor(timestamp_ms)
        .map_or(view.base, |entry| entry.offset);
    for found in view.headers(view.position_before(indexed.max(from))) {
        let (position, header) = found?;
        if header.max_timestamp_ms < timestamp_ms || header.last_offset() < from {
            continue;
        }
        let batch = view.batch(position)?;
        let wanted = |offset, found_ms| found_ms >= timestamp_ms && offset >= from;
        let record = find_record(&batch, RECORDS_LIMIT_BYTES, wanted);
        if let Some((offset, timestamp_ms)) = record.map_err(|e| view.corrupt(position, &e))? {
            return Ok(Some(TimestampOffset {
                timestamp_ms,
                offset,
                leader_epoch: header.leader_epoch,
            }));
        }
    }
    Ok(None)
}

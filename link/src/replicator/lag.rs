//! How far a partition is behind, and when that was true.
//!
//! Invariant: nothing here says that the mirror is caught up unless the source said so. Once the
//! source is silent, the last figures remain as a lower bound, with the time at which they were
//! correct.
//!
//! Records are offsets, as the source's high watermark counts them. Kafka's protocol doesn't say
//! how many bytes are between two offsets, so bytes are an estimate: those offsets times the size
//! of an offset among the batches fetched last ([`RecentSize`]). Seconds are an upper bound for the
//! age of the first record that the mirror lacks ([`Status::lag_ms`]).

use std::collections::VecDeque;
use std::sync::Arc;

use carrick_protocol::ids::{LeaderEpoch, NodeId, Offset};
use parking_lot::Mutex;

use crate::description::PartitionLag;
use crate::fetcher::{Heartbeat, Share};
use crate::ports::Obstacle;

/// After this many bytes, earlier fetches count half.
const RECENT_BYTES: u64 = 16 << 20;

/// The recent size of a record.
#[derive(Debug, Default)]
pub(crate) struct RecentSize {
    bytes: u64,
    offsets: u64,
}

impl RecentSize {
    /// Batches of `bytes` bytes were fetched; the end moved on by `offsets`.
    pub(crate) fn fetched(&mut self, bytes: u64, offsets: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.offsets = self.offsets.saturating_add(offsets);
        if self.bytes > RECENT_BYTES {
            self.bytes /= 2;
            self.offsets = (self.offsets / 2).max(1);
        }
    }

    /// The estimated size of `records` more; `None` before anything was fetched, unless there are
    /// none.
    fn of(&self, records: i64) -> Option<u64> {
        let records = u128::from(u64::try_from(records).unwrap_or(0));
        if records == 0 {
            return Some(0);
        }
        let bytes = (records * u128::from(self.bytes)).checked_div(u128::from(self.offsets))?;
        Some(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

/// How far back the source's recent writes are counted, milliseconds.
pub(crate) const LATELY_MS: i64 = 10_000;
/// Its ends are remembered this often, milliseconds.
const END_EVERY_MS: i64 = 1_000;

/// Where the source ended at some recent moments.
#[derive(Debug, Default)]
pub(crate) struct RecentEnds {
    some: VecDeque<(i64, Offset)>,
    last: Option<(i64, Offset)>,
}

impl RecentEnds {
    /// The source ended there at `at_ms`.
    pub(crate) fn seen(&mut self, end: Offset, at_ms: i64) {
        self.last = Some((at_ms, end));
        let is_due = |(last_ms, _): &(i64, Offset)| at_ms - last_ms >= END_EVERY_MS;
        if self.some.back().is_none_or(is_due) {
            self.some.push_back((at_ms, end));
        }
        // The one before the time that is looked back at is needed.
        while self
            .some
            .get(1)
            .is_some_and(|(at, _)| *at <= at_ms - LATELY_MS)
        {
            self.some.pop_front();
        }
    }

    /// How many records the source, which ends at `end` now, accepted in the last [`LATELY_MS`],
    /// and the time that this covers if it was watched for less.
    pub(crate) fn taken(&self, end: i64, now_ms: i64) -> Option<(i64, i64)> {
        let is_before = |(at, _): &&(i64, Offset)| *at <= now_ms - LATELY_MS;
        let before = self
            .last
            .iter()
            .chain(self.some.iter().rev())
            .find(is_before);
        let (at_ms, base) = before.or(self.some.front())?;
        let over_ms = (now_ms - at_ms).clamp(0, LATELY_MS);
        Some(((end - base.0).max(0), over_ms))
    }
}

/// The figures of one partition; written by its replicator, read by describe, reports and metrics.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// The mirror's log start.
    pub(crate) mirror_start: Offset,
    pub(crate) mirror_end: Offset,
    /// The source's high watermark as last seen.
    pub(crate) source_high_watermark: Option<Offset>,
    /// Its recent positions.
    pub(crate) recent_ends: RecentEnds,
    /// The source's log start as last seen.
    pub(crate) source_log_start: Option<Offset>,
    /// The offset that the last answered fetch of this partition asked for.
    pub(crate) last_fetch_offset: Option<Offset>,
    /// When the last processed answer that named this partition had been requested.
    pub(crate) answered_ms: Option<i64>,
    /// When the mirror last held everything that the source had.
    pub(crate) caught_up_ms: Option<i64>,
    /// The largest timestamp in the last stored batch, if it says anything.
    pub(crate) last_timestamp_ms: Option<i64>,
    /// The recent size of its records.
    pub(crate) recent_size: RecentSize,
    /// The fetcher's heartbeat, while the partition is part of its session.
    pub(crate) heartbeat: Option<Arc<Heartbeat>>,
    /// The part of its answers that is in flight.
    pub(crate) share: Option<Arc<Share>>,
    /// Bytes appended since the start.
    pub(crate) bytes_total: u64,
    /// Offsets that the source deleted before they were mirrored.
    pub(crate) lost_to_retention: i64,
    /// Offsets removed here because the source had lost them.
    pub(crate) truncated: i64,
    /// The leader at the source.
    pub(crate) leader: Option<NodeId>,
    /// The largest leader epoch of the source that clients here see durably.
    pub(crate) told_epoch: Option<LeaderEpoch>,
    /// The node that it is fetched from.
    pub(crate) replica: Option<NodeId>,
    /// The present problem.
    pub(crate) problem: Option<String>,
    /// What keeps it from being written here.
    pub(crate) obstacle: Option<Obstacle>,
}

impl Status {
    /// When the source last said anything about this partition, directly or by not naming it. An
    /// answer that is still in flight does not count yet, nor do later ones.
    pub(crate) fn seen_at_ms(&self) -> Option<i64> {
        let heartbeat = self.heartbeat.as_ref();
        let silent = heartbeat.and_then(|heartbeat| heartbeat.last_ms());
        let busy_since_ms = self.share.as_ref().and_then(|share| share.busy_since_ms());
        let silent = match (silent, busy_since_ms) {
            (Some(silent), Some(busy_since)) => Some(silent.min(busy_since)),
            (silent, _) => silent,
        };
        match (self.answered_ms, silent) {
            (Some(answered), Some(silent)) => Some(answered.max(silent)),
            (answered, _) => answered,
        }
    }

    /// Offsets between the mirror's end and the source's high watermark as last seen.
    pub(crate) fn lag(&self) -> Option<i64> {
        self.source_high_watermark
            .map(|high_watermark| (high_watermark - self.mirror_end).max(0))
    }

    /// When the mirror last held everything that the source had.
    pub(crate) fn caught_up_at_ms(&self) -> Option<i64> {
        if self.lag() == Some(0) {
            self.seen_at_ms()
        } else {
            self.caught_up_ms
        }
    }

    /// Notes the largest timestamp of the last batch. A timestamp in the future says nothing about
    /// when the next record was written, and neither does −1.
    pub(crate) fn ends_with_timestamp(&mut self, timestamp_ms: Option<i64>, now_ms: i64) {
        self.last_timestamp_ms = timestamp_ms.filter(|at| (0..=now_ms).contains(at));
    }

    /// The age that the first record that the mirror lacks has at most, milliseconds; 0 if it lacks
    /// none.
    ///
    /// It was written after the mirror last held all, and not before the last record that is here:
    /// the later of the two counts. With the source silent it may have been written right after the
    /// last answer, so that the age grows. `None` if neither is known.
    pub(crate) fn lag_ms(&self, now_ms: i64, is_current: bool) -> Option<i64> {
        let caught_up_ms = self.caught_up_at_ms();
        let since_ms = match self.lag() {
            Some(0) if is_current => return Some(0),
            Some(0) => caught_up_ms,
            _ => caught_up_ms.max(self.last_timestamp_ms),
        };
        since_ms.map(|at| (now_ms - at).max(0))
    }

    /// The lag as `describe` shows it. Figures older than `fresh_ms` are not current.
    pub(crate) fn describe(&self, partition: i32, now_ms: i64, fresh_ms: i64) -> PartitionLag {
        let seen_at_ms = self.seen_at_ms();
        let is_current = seen_at_ms.is_some_and(|seen| now_ms - seen <= fresh_ms);
        let plain = |offset: Option<Offset>| offset.map(|offset| offset.0);
        PartitionLag {
            partition,
            lag_records: self.lag(),
            lag_ms: self.lag_ms(now_ms, is_current),
            lag_bytes_estimate: self.lag().and_then(|lag| self.recent_size.of(lag)),
            is_current,
            last_source_fetch_offset: plain(self.last_fetch_offset),
            source_high_watermark: plain(self.source_high_watermark),
            source_log_start: plain(self.source_log_start),
            mirror_start: self.mirror_start.0,
            mirror_end: self.mirror_end.0,
            seen_at_ms,
            bytes_total: self.bytes_total,
            lost_to_retention: self.lost_to_retention,
            source_leader: self.leader.map(|leader| leader.0),
            source_replica: self.replica.map(|replica| replica.0),
            problem: match &self.obstacle {
                Some(obstacle) => Some(obstacle.detail.clone()),
                None => self.problem.clone(),
            },
            is_blocked: self.obstacle.is_some(),
        }
    }
}

/// A [`Status`] that is shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatusCell(Arc<Mutex<Status>>);

impl StatusCell {
    /// Reads or changes it; short, and without waiting.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Status) -> T) -> T {
        act(&mut self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetcher::Budget;

    fn caught_up(heartbeat: &Arc<Heartbeat>) -> Status {
        Status {
            mirror_end: Offset(10),
            source_high_watermark: Some(Offset(10)),
            answered_ms: Some(1_000),
            heartbeat: Some(Arc::clone(heartbeat)),
            ..Status::default()
        }
    }

    #[test]
    fn a_session_that_answers_without_naming_the_partition_keeps_it_current() {
        let heartbeat = Arc::new(Heartbeat::default());
        let status = caught_up(&heartbeat);
        heartbeat.answered(9_900, false);
        let lag = status.describe(0, 10_000, 1_500);
        assert_eq!(
            (lag.lag_records, lag.lag_ms, lag.is_current),
            (Some(0), Some(0), true)
        );
    }

    #[test]
    fn an_answer_in_flight_is_not_yet_seen() {
        let heartbeat = Arc::new(Heartbeat::default());
        let budget = Budget::new(1_000);
        let share = Share::new(budget, Arc::new(tokio::sync::Notify::new()));
        let status = Status {
            share: Some(Arc::clone(&share)),
            ..caught_up(&heartbeat)
        };
        heartbeat.answered(2_000, false);
        let in_flight = share.take(10, 2_500);
        heartbeat.answered(2_500, true);
        heartbeat.answered(9_000, false);
        assert_eq!(status.seen_at_ms(), Some(2_500));
        assert_eq!(status.caught_up_at_ms(), Some(2_500));
        drop(in_flight);
        assert_eq!(status.seen_at_ms(), Some(9_000));
    }

    #[test]
    fn with_the_source_away_the_lag_is_unknown_since_and_not_zero() {
        let heartbeat = Arc::new(Heartbeat::default());
        let status = caught_up(&heartbeat);
        heartbeat.answered(2_000, false);
        let lag = status.describe(0, 60_000, 1_500);
        assert!(!lag.is_current);
        assert_eq!(lag.seen_at_ms, Some(2_000));
        assert_eq!(lag.lag_ms, Some(58_000));
    }

    #[test]
    fn behind_the_source_seconds_count_from_when_it_was_caught_up() {
        let status = Status {
            mirror_end: Offset(10),
            source_high_watermark: Some(Offset(25)),
            answered_ms: Some(9_990),
            caught_up_ms: Some(4_000),
            ..Status::default()
        };
        let lag = status.describe(3, 10_000, 1_500);
        assert_eq!((lag.lag_records, lag.lag_ms), (Some(15), Some(6_000)));
    }

    #[test]
    fn while_catching_up_the_age_is_that_of_the_last_record_that_is_here() {
        let mut status = Status {
            mirror_end: Offset(10),
            source_high_watermark: Some(Offset(25)),
            answered_ms: Some(9_990),
            ..Status::default()
        };
        status.ends_with_timestamp(Some(7_000), 9_000);
        assert_eq!(status.lag_ms(10_000, true), Some(3_000), "never caught up");
        status.caught_up_ms = Some(4_000);
        assert_eq!(status.lag_ms(10_000, true), Some(3_000));
        status.caught_up_ms = Some(8_000);
        assert_eq!(status.lag_ms(10_000, true), Some(2_000));
        status.caught_up_ms = None;
        status.ends_with_timestamp(Some(9_500), 9_000);
        assert_eq!(status.lag_ms(10_000, true), None, "a clock that was ahead");
    }

    #[test]
    fn bytes_are_estimated_by_what_records_took_lately() {
        let mut recent = RecentSize::default();
        assert_eq!((recent.of(0), recent.of(5)), (Some(0), None));
        recent.fetched(1_000, 10);
        assert_eq!(recent.of(5), Some(500));
        for _ in 0..200 {
            recent.fetched(1 << 20, 1_024);
        }
        let now = recent.of(1).unwrap();
        assert!((1_000..=1_050).contains(&now), "{now}");
        recent.fetched(u64::MAX, u64::MAX);
        assert!(recent.of(i64::MAX).is_some());
    }

    #[test]
    fn what_the_source_took_lately_is_counted_over_the_time_that_it_was_watched() {
        let mut ends = RecentEnds::default();
        assert_eq!(ends.taken(5, 1_000), None);
        ends.seen(Offset(100), 1_000);
        ends.seen(Offset(130), 1_500);
        assert_eq!(ends.taken(130, 2_000), Some((30, 1_000)));
        assert_eq!(ends.taken(130, 11_400), Some((30, LATELY_MS)));
        assert_eq!(ends.taken(130, 61_500), Some((0, LATELY_MS)), "idle since");
        for second in 0..60 {
            ends.seen(Offset(130 + second * 7), 100_000 + second * 1_000);
        }
        let (end, now_ms) = (130 + 59 * 7, 159_000);
        assert_eq!(ends.taken(end, now_ms), Some((70, LATELY_MS)));
        assert_eq!(ends.taken(end + 3, now_ms), Some((73, LATELY_MS)));
        assert!(ends.some.len() <= 12, "{ends:?}");
    }

    #[test]
    fn before_the_first_answer_nothing_is_claimed() {
        let lag = Status::default().describe(0, 10_000, 1_500);
        assert_eq!(
            (lag.lag_records, lag.lag_ms, lag.seen_at_ms),
            (None, None, None)
        );
        assert!(!lag.is_current);
    }
}

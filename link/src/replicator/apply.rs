//! The state machine of one mirrored partition. No I/O but the partition's own log, no waiting, no clock but what it is told.

use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicPartition};

use super::intake::{self, Accepted, Expected, Intake};
use super::lag::StatusCell;
use super::{Effect, Event, Fetched, Outcome, Probe, Wait, truncation};
use crate::backoff::Backoff;
use crate::ports::{Clock, LocalBatches, MirrorPartition, TargetError};
use crate::source::fetch::FetchPosition;
use crate::state::MirrorError;

/// How often something that may be damage on the way is fetched again before the mirror fails.
pub(crate) const REFETCHES_MAX: u32 = 5;

/// The source must have been silent this long, with records missing, before its tail is probed.
const PROBE_AFTER: Duration = Duration::from_secs(1);

/// A partition's share of a request never grows beyond this, bytes.
const PARTITION_MAX_BYTES_LIMIT: u32 = 1 << 30;

/// From this Fetch version on the source itself finds diverging histories.
const FETCH_VERSION_WITH_DIVERGENCE: i16 = 12;

/// What a machine is made with.
pub(crate) struct Setup {
    /// The partition here.
    pub(crate) partition: TopicPartition,
    /// Where it begins if not at the source's log start.
    pub(crate) start_offset: Offset,
    /// Bytes asked for per request.
    pub(crate) max_bytes: u32,
    /// Removing records that the source has lost was consented to.
    pub(crate) may_truncate: bool,
    /// Between retries.
    pub(crate) backoff: Backoff,
    /// Reads what is stored.
    pub(crate) local: Arc<dyn LocalBatches>,
    /// The time, for what is shown.
    pub(crate) clock: Arc<dyn Clock>,
    /// What is shown.
    pub(crate) status: StatusCell,
}

/// What goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No leader, or no connection to it.
    Idle,
    /// The fetcher has a position.
    Fetching,
    /// Something is waited for, and then that is done.
    Waiting(Next),
    /// Failed or fenced; nothing is done any more.
    Ended,
}

/// What is to be done when the wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Back off.
    BackOff,
    /// Fetch.
    Fetch,
    /// Ask for the source's range.
    Range,
    /// Ask where our last epoch ends there.
    EpochEnd,
    /// Cut by what the source has said.
    Cut { epoch: LeaderEpoch, end: Offset },
}

/// One mirrored partition.
pub(crate) struct Machine {
    setup: Setup,
    target: Box<dyn MirrorPartition>,
    phase: Phase,
    generation: u64,
    /// The source holds nothing between the end and this.
    floor: Offset,
    leader_epoch: LeaderEpoch,
    topic_id: TopicId,
    fetch_version: i16,
    max_bytes: u32,
    /// Answers in a row that looked damaged.
    suspicions: u32,
    /// Stored batches reach up to the position: the last epoch says something about it.
    is_contiguous: bool,
    source_log_start: Offset,
    /// The position at which records were missing, and since when, milliseconds since the epoch.
    stuck: Option<(Offset, i64)>,
    source_end_on_range: Offset,
}

type Effects = Vec<Effect>;

impl Machine {
    /// A machine that waits for a leader.
    pub(crate) fn new(setup: Setup, target: Box<dyn MirrorPartition>) -> Self {
        let machine = Self {
            phase: Phase::Idle,
            generation: 0,
            floor: setup.start_offset,
            leader_epoch: LeaderEpoch::NONE,
            topic_id: TopicId::ZERO,
            fetch_version: 0,
            max_bytes: setup.max_bytes,
            suspicions: 0,
            is_contiguous: true,
            source_log_start: Offset::ZERO,
            stuck: None,
            source_end_on_range: Offset::NONE,
            setup,
            target,
        };
        machine.show(|_| {});
        machine
    }

    /// Takes an event; what it says is to be done in that order.
    pub(crate) fn apply(&mut self, event: Event) -> Effects {
        if self.phase == Phase::Ended {
            return Vec::new();
        }
        match event {
            Event::Leader { epoch, topic_id } => {
                self.leader_epoch = epoch;
                self.topic_id = topic_id;
                self.phase = Phase::Idle;
                Vec::new()
            }
            Event::NoLeader => {
                self.phase = Phase::Idle;
                self.show(|status| status.problem = Some("the source has no leader for it".into()));
                vec![Effect::Halt]
            }
            Event::Connected { fetch_version } => self.on_connected(fetch_version),
            Event::Disconnected { detail } => {
                self.phase = Phase::Idle;
                self.show(|status| status.problem = Some(detail));
                Vec::new()
            }
            Event::Fetched(fetched) => self.on_fetched(fetched),
            Event::Waited(outcome) => self.on_waited(outcome),
        }
    }

    fn on_connected(&mut self, fetch_version: i16) -> Effects {
        self.fetch_version = fetch_version;
        if fetch_version < FETCH_VERSION_WITH_DIVERGENCE && self.last_epoch() != LeaderEpoch::NONE {
            return self.ask_epoch_end();
        }
        self.fetch()
    }

    fn on_fetched(&mut self, fetched: Fetched) -> Effects {
        if fetched.generation != self.generation || self.phase != Phase::Fetching {
            return Vec::new();
        }
        let data = fetched.data;
        if data.error != ErrorCode::NONE {
            return self.on_error(data.error);
        }
        if let Some((epoch, end)) = data.diverging_epoch {
            self.phase = Phase::Waiting(Next::Cut { epoch, end });
            return vec![Effect::Halt, Effect::Wait(Wait::Metadata)];
        }
        if data.log_start_offset > Offset::NONE {
            self.source_log_start = data.log_start_offset;
        }
        self.observe(data.high_watermark, fetched.position.fetch_offset);
        let effects = if data.records.is_empty() {
            self.on_empty(data.high_watermark)
        } else {
            let expected = Expected {
                next_offset: self.target.next_offset(),
                last_epoch: self.target.last_epoch().unwrap_or(LeaderEpoch::NONE),
                fetched_epoch: fetched.position.current_leader_epoch,
            };
            let intake = intake::judge(&data.records, expected);
            self.on_intake(intake, data.high_watermark)
        };
        drop(fetched.in_flight);
        if self.phase == Phase::Fetching
            && let Err(error) = self.follow_log_start()
        {
            return self.on_target_error(error);
        }
        effects
    }

    fn on_intake(&mut self, intake: Intake, high_watermark: Offset) -> Effects {
        match intake {
            Intake::Append(accepted) => self.append(accepted, high_watermark),
            Intake::NothingNew => self.retry("the source sent only what is stored".into()),
            Intake::Incomplete => self.ask_for_more(),
            Intake::EpochAbove(epoch) => self.retry(format!(
                "the source sent a batch of the newer leader epoch {epoch}"
            )),
            Intake::Corrupt { good, at, error } => {
                if let Some(good) = good {
                    let effects = self.append(good, high_watermark);
                    if self.phase != Phase::Fetching {
                        return effects;
                    }
                }
                let detail = format!(
                    "the source's batch at offset {at} is damaged ({error}); it was not stored. \
                     Repair or remove it at the source and resume, or fail over"
                );
                self.suspect(MirrorError::Unknown, detail)
            }
            Intake::OldFormat(magic) => {
                let detail = format!(
                    "the source holds record format v{magic} at offset {}, and only v2 can be \
                     mirrored. Have the source rewrite the topic in format v2, or mirror it from a \
                     later start offset",
                    self.position()
                );
                self.suspect(MirrorError::UnsupportedMessageFormat, detail)
            }
            Intake::EpochBelow { at, epoch, last } => {
                let detail = format!(
                    "the batch at offset {at} has leader epoch {epoch}, the one before it {last}. \
                     Compare source and mirror (verify), then fail over, or delete and mirror again"
                );
                self.suspect(MirrorError::NonMonotonicLogAppendEpoch, detail)
            }
            Intake::Straddles { base } => self.on_straddle(base),
        }
    }

    /// Not one whole batch came: sources send the first one whole, but some only within the partition's share.
    fn ask_for_more(&mut self) -> Effects {
        if self.max_bytes >= PARTITION_MAX_BYTES_LIMIT {
            let detail = format!(
                "the source's batch at offset {} can't be had whole. Repair it there and resume, or fail over",
                self.position()
            );
            return self.suspect(MirrorError::Unknown, detail);
        }
        self.max_bytes = self
            .max_bytes
            .saturating_mul(2)
            .min(PARTITION_MAX_BYTES_LIMIT);
        self.fetch()
    }

    /// A batch that begins below the end. Into an empty log it goes whole; else histories differ.
    fn on_straddle(&mut self, base: Offset) -> Effects {
        if self.target.log_start() == self.target.next_offset() {
            self.floor = self.floor.max(self.target.next_offset());
            return match self.target.truncate_to(base) {
                Ok(()) => self.fetch(),
                Err(error) => self.on_target_error(error),
            };
        }
        let detail = format!(
            "the source's batch at offset {base} overlaps the mirror's end {}: the batches differ. \
             Compare source and mirror (verify), then fail over, or delete and mirror again",
            self.target.next_offset()
        );
        self.suspect(MirrorError::UnexpectedTruncation, detail)
    }

    fn append(&mut self, accepted: Accepted, high_watermark: Offset) -> Effects {
        let bytes = accepted.bytes.len() as u64;
        match self.target.append(accepted.bytes, high_watermark) {
            Ok(end) => {
                debug_assert_eq!(
                    end, accepted.next_offset,
                    "an append ends where its batches do"
                );
                self.is_contiguous = true;
                self.suspicions = 0;
                self.setup.backoff.reset();
                self.max_bytes = self.setup.max_bytes;
                let now_ms = self.setup.clock.now_ms();
                self.setup.status.with(|status| {
                    status.mirror_end = end;
                    status.bytes_total += bytes;
                    status.problem = None;
                    if status.lag() == Some(0) {
                        status.caught_up_ms = Some(now_ms);
                    }
                });
                self.watch_tail()
            }
            Err(error) => self.on_target_error(error),
        }
    }

    /// No records. With some missing, the source may have none to give: a timer, then a probe, find out.
    fn on_empty(&mut self, high_watermark: Offset) -> Effects {
        if let Err(error) = self.target.observe_source(high_watermark) {
            return self.on_target_error(error);
        }
        self.setup.backoff.reset();
        self.show(|status| status.problem = None);
        self.watch_tail()
    }

    fn on_waited(&mut self, outcome: Outcome) -> Effects {
        match (self.phase, outcome) {
            (Phase::Fetching, Outcome::Elapsed) => self.on_tail_timer(),
            (Phase::Fetching, Outcome::Probe(probe)) => self.on_probe(probe),
            (Phase::Waiting(next), Outcome::Elapsed | Outcome::MetadataSeen) => self.proceed(next),
            (Phase::Waiting(_), Outcome::EpochEnd(Ok(end))) => self.on_epoch_end(end),
            (Phase::Waiting(_), Outcome::Range(Ok((start, end)))) => self.on_range(start, end),
            (Phase::Waiting(_), Outcome::EpochEnd(Err(why)) | Outcome::Range(Err(why))) => {
                self.retry(why)
            }
            _ => Vec::new(),
        }
    }

    fn proceed(&mut self, next: Next) -> Effects {
        match next {
            Next::BackOff => {
                self.phase = Phase::Waiting(Next::Fetch);
                vec![Effect::Wait(Wait::Backoff(self.setup.backoff.next_wait()))]
            }
            Next::Fetch => self.reconnected(),
            Next::Range => {
                self.phase = Phase::Waiting(Next::Range);
                vec![Effect::Wait(Wait::Range)]
            }
            Next::EpochEnd => self.ask_epoch_end(),
            Next::Cut { epoch, end } => self.cut(truncation::cut_at(&*self.target, epoch, end)),
        }
    }

    /// Fetches again; an old source is first asked whether our last epoch still ends where it did.
    fn reconnected(&mut self) -> Effects {
        self.on_connected(self.fetch_version)
    }

    fn ask_epoch_end(&mut self) -> Effects {
        self.phase = Phase::Waiting(Next::EpochEnd);
        let (epoch, current) = (self.last_epoch(), self.leader_epoch);
        vec![
            Effect::Halt,
            Effect::Wait(Wait::EpochEnd { epoch, current }),
        ]
    }

    fn on_epoch_end(&mut self, end: Option<(LeaderEpoch, Offset)>) -> Effects {
        match end {
            Some((epoch, end)) => {
                let last = self.last_epoch();
                if epoch == last && end >= self.target.next_offset() {
                    let was_out_of_range = self.source_end_on_range != Offset::NONE;
                    self.source_end_on_range = Offset::NONE;
                    return if was_out_of_range {
                        self.back_off()
                    } else {
                        self.fetch()
                    };
                }
                self.cut(truncation::cut_at(&*self.target, epoch, end))
            }
            // It knows none of our epochs: it has lost everything that we have, or never told epochs.
            None if self.source_end_on_range != Offset::NONE => self.cut(self.source_end_on_range),
            None => self.fetch(),
        }
    }

    /// The source's range, asked because it called our position out of range.
    fn on_range(&mut self, start: Offset, end: Offset) -> Effects {
        let position = self.position();
        if position < start {
            self.source_log_start = start;
            self.observe(end, position);
            self.skip_lost(position, start);
            let skipped = if start == end {
                self.skip_to(end)
            } else {
                Ok(())
            };
            return match skipped.and_then(|()| self.follow_log_start()) {
                Ok(()) => self.fetch(),
                Err(error) => self.on_target_error(error),
            };
        }
        if position <= end {
            return self.back_off();
        }
        if self.last_epoch() == LeaderEpoch::NONE && self.target.next_offset() <= end {
            // Nothing stored above it: only the wanted start lies beyond the source's end.
            self.floor = end;
            return self.fetch();
        }
        self.source_end_on_range = end;
        if self.last_epoch() == LeaderEpoch::NONE {
            return self.cut(end);
        }
        self.ask_epoch_end()
    }

    /// The source has deleted what was not yet mirrored. That it had it is only known if something was mirrored before.
    fn skip_lost(&mut self, position: Offset, start: Offset) {
        self.floor = start;
        self.is_contiguous = false;
        let has_history = self.target.next_offset() > Offset::ZERO;
        let partition = &self.setup.partition;
        if has_history {
            tracing::warn!(
                topic = %partition.topic, partition = partition.partition,
                from = position.0, to = start.0,
                "the source has deleted records before they were mirrored"
            );
        }
        self.show(|status| {
            if has_history {
                status.lost_to_retention += start - position;
            }
            status.source_log_start = Some(start);
        });
    }

    fn skip_to(&mut self, end: Offset) -> Result<(), TargetError> {
        self.target.skip_to(end)?;
        self.is_contiguous = false;
        self.show(|_| {});
        Ok(())
    }

    /// With records missing, looks after a while whether they have come. A session doesn't repeat itself: that a partition has
    /// nothing more to give is only seen in silence.
    fn watch_tail(&mut self) -> Effects {
        let position = self.position();
        let is_behind = self.high_watermark() > Some(position);
        if !is_behind || self.stuck.is_some() {
            return Vec::new();
        }
        self.stuck = Some((position, self.setup.clock.now_ms()));
        vec![Effect::Wait(Wait::Idle(PROBE_AFTER))]
    }

    /// Still records missing? A source that has them gives at least one batch of some partition: only when a whole answer
    /// was empty since, there may be none to give.
    fn on_tail_timer(&mut self) -> Effects {
        let Some((at, since_ms)) = self.stuck.take() else {
            return Vec::new();
        };
        if at != self.position() || self.high_watermark() <= Some(at) {
            return self.watch_tail();
        }
        let silent_ms = self.setup.status.with(|status| {
            let heartbeat = status.heartbeat.as_ref();
            heartbeat.and_then(|heartbeat| heartbeat.silent_ms())
        });
        self.stuck = Some((at, since_ms));
        if silent_ms.is_some_and(|silent| silent >= since_ms) {
            vec![Effect::Wait(Wait::Probe(self.fetch_position()))]
        } else {
            vec![Effect::Wait(Wait::Idle(PROBE_AFTER))]
        }
    }

    /// The source's, as last seen.
    fn high_watermark(&self) -> Option<Offset> {
        self.setup
            .status
            .with(|status| status.source_high_watermark)
    }

    fn on_probe(&mut self, probe: Result<Probe, String>) -> Effects {
        match probe {
            Ok(probe) if probe.is_empty && probe.from == self.position() => {
                let skipped = self
                    .skip_to(probe.high_watermark)
                    .and_then(|()| self.target.observe_source(probe.high_watermark));
                match skipped {
                    Ok(()) => self.fetch(),
                    Err(error) => self.on_target_error(error),
                }
            }
            // It has something, so the session will bring it; or it can't be asked. Look again later.
            _ => {
                self.stuck = None;
                self.watch_tail()
            }
        }
    }

    /// Removes what is at and above `to`: quietly if no record is there, else only with consent.
    fn cut(&mut self, to: Offset) -> Effects {
        self.source_end_on_range = Offset::NONE;
        let end = self.target.next_offset();
        if to >= end {
            return self.back_off();
        }
        let from = to.max(self.target.log_start());
        let holds_records = match self.setup.local.read(&self.setup.partition, from, 1) {
            Ok(bytes) => !bytes.is_empty(),
            Err(error) => return self.on_target_error(error),
        };
        if holds_records && !self.setup.may_truncate {
            let detail = format!(
                "the source has lost the records from offset {to} on that are mirrored here up to {end} \
                 (an unclean leader election, or another topic). `resume` removes them here and goes on; \
                 `failover` keeps them"
            );
            return self.fail(MirrorError::UnexpectedTruncation, detail);
        }
        let partition = &self.setup.partition;
        tracing::warn!(
            topic = %partition.topic, partition = partition.partition, from = to.0, to = end.0,
            "removing what the source has lost"
        );
        if let Err(error) = self.target.truncate_to(to) {
            return self.on_target_error(error);
        }
        self.floor = self
            .floor
            .min(self.target.next_offset())
            .max(self.setup.start_offset);
        self.is_contiguous = true;
        let removed = end - self.target.next_offset();
        self.show(|status| status.truncated += removed);
        self.reconnected()
    }

    fn on_error(&mut self, error: ErrorCode) -> Effects {
        if error == ErrorCode::OFFSET_OUT_OF_RANGE {
            // A leader that was just replaced may say so too: see who leads first.
            self.phase = Phase::Waiting(Next::Range);
            return vec![Effect::Halt, Effect::Wait(Wait::Metadata)];
        }
        if error == ErrorCode::CORRUPT_MESSAGE {
            let detail = format!(
                "the source calls its own batch at offset {} corrupt. Repair it there and resume, or fail over",
                self.position()
            );
            return self.suspect(MirrorError::Unknown, detail);
        }
        self.retry(format!("the source answered {error}"))
    }

    fn on_target_error(&mut self, error: TargetError) -> Effects {
        match error {
            TargetError::Fenced
            | TargetError::NoSuchPartition
            | TargetError::NotAMirror
            | TargetError::WrongLink(_) => {
                self.phase = Phase::Ended;
                vec![
                    Effect::Halt,
                    Effect::LostLease {
                        detail: error.to_string(),
                    },
                ]
            }
            TargetError::NonMonotonic { .. } => self.suspect(
                MirrorError::Unknown,
                format!("the mirror's log refused what was fetched: {error}. Resume, or fail over"),
            ),
            TargetError::NonMonotonicEpoch { .. } => self.suspect(
                MirrorError::NonMonotonicLogAppendEpoch,
                format!("the mirror's log refused what was fetched: {error}. Resume, or fail over"),
            ),
            TargetError::Storage(_) => self.retry(error.to_string()),
        }
    }

    /// Something that should not be: again a few times, in case it happened on the way, then the mirror fails.
    fn suspect(&mut self, error: MirrorError, detail: String) -> Effects {
        self.suspicions += 1;
        if self.suspicions > REFETCHES_MAX {
            return self.fail(error, detail);
        }
        let partition = &self.setup.partition;
        tracing::warn!(
            topic = %partition.topic, partition = partition.partition,
            attempt = self.suspicions, "fetching again: {detail}"
        );
        self.retry(detail)
    }

    fn fail(&mut self, error: MirrorError, detail: String) -> Effects {
        self.phase = Phase::Ended;
        let detail = format!("partition {}: {detail}", self.setup.partition.partition);
        self.show(|status| status.problem = Some(detail.clone()));
        vec![Effect::Halt, Effect::Fail { error, detail }]
    }

    /// See who leads, wait a little, fetch again.
    fn retry(&mut self, problem: String) -> Effects {
        self.show(|status| status.problem = Some(problem));
        self.phase = Phase::Waiting(Next::BackOff);
        vec![Effect::Halt, Effect::Wait(Wait::Metadata)]
    }

    fn back_off(&mut self) -> Effects {
        let mut effects = vec![Effect::Halt];
        effects.extend(self.proceed(Next::BackOff));
        effects
    }

    fn fetch(&mut self) -> Effects {
        self.phase = Phase::Fetching;
        self.generation += 1;
        self.stuck = None;
        vec![Effect::Fetch {
            generation: self.generation,
            position: self.fetch_position(),
        }]
    }

    fn fetch_position(&self) -> FetchPosition {
        FetchPosition {
            topic_id: self.topic_id,
            fetch_offset: self.position(),
            current_leader_epoch: self.leader_epoch,
            last_fetched_epoch: if self.is_contiguous && self.floor <= self.target.next_offset() {
                self.last_epoch()
            } else {
                LeaderEpoch::NONE
            },
            max_bytes: self.max_bytes,
        }
    }

    fn position(&self) -> Offset {
        self.target.next_offset().max(self.floor)
    }

    fn last_epoch(&self) -> LeaderEpoch {
        self.target.last_epoch().unwrap_or(LeaderEpoch::NONE)
    }

    /// The mirror's log start follows the source's (or the start that was asked for), once all below it is copied.
    fn follow_log_start(&mut self) -> Result<(), TargetError> {
        let wanted = self.source_log_start.max(self.setup.start_offset);
        if wanted > self.target.log_start() && wanted <= self.target.next_offset() {
            self.target.trim_to(wanted)?;
            self.show(|_| {});
        }
        Ok(())
    }

    fn observe(&self, high_watermark: Offset, fetch_offset: Offset) {
        let now_ms = self.setup.clock.now_ms();
        let source_log_start = self.source_log_start;
        self.setup.status.with(|status| {
            if status.lag() == Some(0) {
                status.caught_up_ms = status.seen_at_ms();
            }
            status.source_high_watermark = Some(high_watermark);
            status.source_log_start = Some(source_log_start);
            status.last_fetch_offset = Some(fetch_offset);
            status.answered_ms = Some(now_ms);
        });
    }

    fn show(&self, change: impl FnOnce(&mut super::lag::Status)) {
        let (start, end) = (self.target.log_start(), self.target.next_offset());
        self.setup.status.with(|status| {
            status.mirror_start = start;
            status.mirror_end = end;
            change(status);
        });
    }
}

//! The state machine of one mirrored partition. No I/O except the partition's own log, no waiting,
//! and no clock: it receives the time.

use std::sync::Arc;

use carrick_protocol::batch::CheckedBatches;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicPartition};

use super::intake::{self, Expected, Intake};
use super::lag::StatusCell;
use super::{Effect, Event, Outcome, Wait, truncation};
use crate::backoff::Backoff;
use crate::fetcher::{FetchEvent, Fetched};
use crate::ports::{Clock, LocalBatches, MirrorPartition, TargetError};
use crate::source::fetch::FetchPosition;
use crate::state::MirrorError;

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
    /// The operator has consented to remove records that the source has lost.
    pub(crate) may_truncate: bool,
    pub(crate) backoff: Backoff,
    /// Reads what is stored.
    pub(crate) local: Arc<dyn LocalBatches>,
    /// The time, for what is shown.
    pub(crate) clock: Arc<dyn Clock>,
    /// What is shown.
    pub(crate) status: StatusCell,
}

/// Why it continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No leader, or no connection to it.
    Idle,
    /// The fetcher has a position.
    Fetching,
    /// Waits; the value says what to do afterwards.
    Waiting(Next),
    /// Failed or fenced: it does nothing.
    Ended,
}

/// What to do when the wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    BackOff,
    Fetch,
    /// Ask for the source's range.
    Range,
    /// Ask where our last epoch ends there.
    EpochEnd,
    /// Truncate by the source's answer.
    Cut {
        epoch: LeaderEpoch,
        end: Offset,
    },
}

/// One mirrored partition.
pub(crate) struct Machine {
    pub(super) setup: Setup,
    pub(super) target: Box<dyn MirrorPartition>,
    pub(super) phase: Phase,
    pub(super) generation: u64,
    /// The source holds nothing between the end and this.
    pub(super) floor: Offset,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) topic_id: TopicId,
    /// It is read at a follower.
    pub(super) is_follower: bool,
    pub(super) fetch_version: i16,
    pub(super) max_bytes: u32,
    /// Consecutive answers that looked damaged.
    pub(super) suspicions: u32,
    /// Stored batches reach up to the position: the last epoch says something about it.
    pub(super) is_contiguous: bool,
    pub(super) source_log_start: Offset,
    /// The position at which records were missing, and since when, milliseconds since the epoch.
    pub(super) stuck: Option<(Offset, i64)>,
    pub(super) source_end_on_range: Offset,
}

pub(super) type Effects = Vec<Effect>;

impl Machine {
    /// A machine that waits for a leader.
    pub(crate) fn new(setup: Setup, target: Box<dyn MirrorPartition>) -> Self {
        let machine = Self {
            phase: Phase::Idle,
            generation: 0,
            floor: setup.start_offset,
            leader_epoch: LeaderEpoch::NONE,
            topic_id: TopicId::ZERO,
            is_follower: false,
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

    /// Takes an event; the effects must be carried out in order.
    pub(crate) fn apply(&mut self, event: Event) -> Effects {
        if self.phase == Phase::Ended {
            return Vec::new();
        }
        match event {
            Event::Leader {
                epoch,
                topic_id,
                is_follower,
            } => {
                self.is_follower = is_follower;
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
            Event::Fetcher(FetchEvent::Connected { fetch_version }) => {
                self.on_connected(fetch_version)
            }
            Event::Fetcher(FetchEvent::Disconnected { detail }) => {
                self.phase = Phase::Idle;
                self.show(|status| status.problem = Some(detail));
                Vec::new()
            }
            Event::Fetcher(FetchEvent::Fetched(fetched)) => self.on_fetched(fetched),
            Event::Waited(outcome) => self.on_waited(outcome),
        }
    }

    /// Whether the awaited event may truncate the log.
    pub(crate) fn may_truncate(&self) -> bool {
        let Phase::Waiting(next) = self.phase else {
            return false;
        };
        matches!(next, Next::Range | Next::EpochEnd | Next::Cut { .. })
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
        let mut data = fetched.data;
        if self.is_follower {
            if data.error != ErrorCode::NONE || data.diverging_epoch.is_some() {
                return self.leave_follower();
            }
            // The leader has told as much already.
            data.high_watermark = data.high_watermark.max(self.known_high_watermark());
        }
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
        self.observe(
            data.high_watermark,
            fetched.position.fetch_offset,
            fetched.asked_at_ms,
        );
        if let Some(replica) = data.preferred_read_replica.filter(|_| !self.is_follower) {
            self.phase = Phase::Idle;
            let to = Some(replica);
            return vec![Effect::Halt, Effect::Redirect { to }];
        }
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
            Intake::Append(batches) => self.append(batches, high_watermark),
            Intake::NothingNew => self.retry(
                "the source sent only batches that are already \
                 stored"
                    .into(),
            ),
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

    fn append(&mut self, batches: CheckedBatches, high_watermark: Offset) -> Effects {
        let bytes = batches.bytes().len() as u64;
        let last = *batches.last();
        let (begin, now_ms) = (self.target.next_offset(), self.setup.clock.now_ms());
        match self.target.append(batches, high_watermark) {
            Ok(end) => {
                assert_eq!(
                    end,
                    last.next_offset(),
                    "an append ends where its batches do"
                );
                self.is_contiguous = true;
                self.suspicions = 0;
                self.setup.backoff.reset();
                self.max_bytes = self.setup.max_bytes;
                self.setup.status.with(|status| {
                    status.mirror_end = end;
                    status.bytes_total += bytes;
                    let offsets = u64::try_from(end - begin).unwrap_or(0);
                    status.recent_size.fetched(bytes, offsets);
                    status.ends_with_timestamp(Some(last.max_timestamp_ms), now_ms);
                    status.problem = None;
                    if status.lag() == Some(0) {
                        status.caught_up_ms = status.answered_ms;
                    }
                });
                self.watch_tail()
            }
            Err(error) => self.on_target_error(error),
        }
    }

    /// No records. With some missing, the source may have none to give: a timer, then a probe, find
    /// out.
    fn on_empty(&mut self, high_watermark: Offset) -> Effects {
        // The wanted start is the source's end: nothing lies between, so the mirror has everything.
        let is_at_floor = self.target.next_offset() < self.floor && high_watermark <= self.floor;
        let at_floor = match is_at_floor {
            true => self.skip_to(self.floor),
            false => Ok(()),
        };
        if let Err(error) = at_floor.and_then(|()| self.target.observe_source(high_watermark)) {
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

    pub(super) fn proceed(&mut self, next: Next) -> Effects {
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
    pub(super) fn reconnected(&mut self) -> Effects {
        self.on_connected(self.fetch_version)
    }

    pub(super) fn skip_to(&mut self, end: Offset) -> Result<(), TargetError> {
        self.target.skip_to(end)?;
        self.is_contiguous = false;
        self.show(|_| {});
        Ok(())
    }

    pub(super) fn fetch(&mut self) -> Effects {
        self.phase = Phase::Fetching;
        self.generation += 1;
        self.stuck = None;
        vec![Effect::Fetch {
            generation: self.generation,
            position: self.fetch_position(),
        }]
    }

    pub(super) fn fetch_position(&self) -> FetchPosition {
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

    pub(super) fn position(&self) -> Offset {
        self.target.next_offset().max(self.floor)
    }

    pub(super) fn last_epoch(&self) -> LeaderEpoch {
        self.target.last_epoch().unwrap_or(LeaderEpoch::NONE)
    }

    /// The mirror's log start follows the source's (or the start that was asked for), once all
    /// below it is copied.
    pub(super) fn follow_log_start(&mut self) -> Result<(), TargetError> {
        let wanted = self.source_log_start.max(self.setup.start_offset);
        if wanted > self.target.log_start() && wanted <= self.target.next_offset() {
            self.target.trim_to(wanted)?;
            self.show(|_| {});
        }
        Ok(())
    }

    /// The source has answered; it was asked at `asked_at_ms`.
    pub(super) fn observe(&self, high_watermark: Offset, fetch_offset: Offset, asked_at_ms: i64) {
        let source_log_start = self.source_log_start;
        self.setup.status.with(|status| {
            if status.lag() == Some(0) {
                status.caught_up_ms = status.seen_at_ms();
            }
            status.source_high_watermark = Some(high_watermark);
            status.recent_ends.seen(high_watermark, asked_at_ms);
            status.source_log_start = Some(source_log_start);
            status.last_fetch_offset = Some(fetch_offset);
            status.answered_ms = status.answered_ms.max(Some(asked_at_ms));
        });
    }

    pub(super) fn show(&self, change: impl FnOnce(&mut super::lag::Status)) {
        let (start, end) = (self.target.log_start(), self.target.next_offset());
        self.setup.status.with(|status| {
            status.mirror_start = start;
            status.mirror_end = end;
            change(status);
        });
    }
}

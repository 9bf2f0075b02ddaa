//! Failures, and whether they are retried.

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::Offset;

use super::apply::{Effects, Machine, Next, Phase};
use super::{Effect, Wait};
use crate::ports::TargetError;
use crate::source::answered;
use crate::state::MirrorError;

/// How often something that may be damage on the way is fetched again before the mirror fails.
const REFETCHES_MAX: u32 = 5;

/// A partition's share of a request never grows beyond this, bytes.
const PARTITION_MAX_BYTES_LIMIT: u32 = 1 << 30;

impl Machine {
    /// Not one whole batch came: sources send the first one whole, but some only within the
    /// partition's share.
    pub(super) fn ask_for_more(&mut self) -> Effects {
        if self.max_bytes >= PARTITION_MAX_BYTES_LIMIT {
            let detail = format!(
                "the source's batch at offset {} can't be fetched whole. Repair it there and \
                 resume, or fail over",
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
    pub(super) fn on_straddle(&mut self, base: Offset) -> Effects {
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

    pub(super) fn on_error(&mut self, error: ErrorCode) -> Effects {
        if error == ErrorCode::OFFSET_OUT_OF_RANGE {
            // A leader that was just replaced may say so too: see who leads first.
            self.phase = Phase::Waiting(Next::Range);
            return vec![Effect::Halt, Effect::Wait(Wait::Metadata)];
        }
        if error == ErrorCode::CORRUPT_MESSAGE {
            let detail = format!(
                "the source calls its own batch at offset {} corrupt. Repair it there and resume, \
                 or fail over",
                self.position()
            );
            return self.suspect(MirrorError::Unknown, detail);
        }
        self.retry(answered(error, "READ the topic"))
    }

    pub(super) fn on_target_error(&mut self, error: TargetError) -> Effects {
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

    /// Something that should not be: again a few times, in case it happened on the way, then the
    /// mirror fails.
    pub(super) fn suspect(&mut self, error: MirrorError, detail: String) -> Effects {
        if self.is_follower {
            return self.leave_follower();
        }
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

    /// What a follower lacks, or has differently, says nothing about the source: its leader
    /// decides.
    pub(super) fn leave_follower(&mut self) -> Effects {
        self.phase = Phase::Idle;
        vec![Effect::Halt, Effect::Redirect { to: None }]
    }

    pub(super) fn fail(&mut self, error: MirrorError, detail: String) -> Effects {
        self.phase = Phase::Ended;
        let detail = format!("partition {}: {detail}", self.setup.partition.partition);
        self.show(|status| status.problem = Some(detail.clone()));
        vec![Effect::Halt, Effect::Fail { error, detail }]
    }

    /// See who leads, wait a little, fetch again.
    pub(super) fn retry(&mut self, problem: String) -> Effects {
        self.show(|status| status.problem = Some(problem));
        self.phase = Phase::Waiting(Next::BackOff);
        vec![Effect::Halt, Effect::Wait(Wait::Metadata)]
    }

    pub(super) fn back_off(&mut self) -> Effects {
        let mut effects = vec![Effect::Halt];
        effects.extend(self.proceed(Next::BackOff));
        effects
    }
}

//! What to do where the source's log no longer matches the mirror: records were deleted before they
//! were fetched, or lost after.

use carrick_protocol::ids::{LeaderEpoch, Offset};

use super::apply::{Effects, Machine, Next, Phase};
use super::{Effect, Wait, truncation};
use crate::state::MirrorError;

impl Machine {
    pub(super) fn ask_epoch_end(&mut self) -> Effects {
        self.phase = Phase::Waiting(Next::EpochEnd);
        let (epoch, current) = (self.last_epoch(), self.leader_epoch);
        vec![
            Effect::Halt,
            Effect::Wait(Wait::EpochEnd { epoch, current }),
        ]
    }

    pub(super) fn on_epoch_end(&mut self, end: Option<(LeaderEpoch, Offset)>) -> Effects {
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
            // It knows none of our epochs: it has lost everything that we have, or never told
            // epochs.
            None if self.source_end_on_range != Offset::NONE => self.cut(self.source_end_on_range),
            None => self.fetch(),
        }
    }

    /// The source's range, asked because it called our position out of range.
    pub(super) fn on_range(&mut self, start: Offset, end: Offset) -> Effects {
        let position = self.position();
        if position < start {
            self.source_log_start = start;
            self.observe(end, position, self.setup.clock.now_ms());
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

    /// The source has deleted records that were not mirrored yet. That they existed is known only
    /// if something was mirrored before.
    pub(super) fn skip_lost(&mut self, position: Offset, start: Offset) {
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

    /// Removes what is at and above `to`: silently if there are no records, otherwise only with
    /// consent.
    pub(super) fn cut(&mut self, to: Offset) -> Effects {
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
                "the source has lost records that are mirrored here, from offset {to} to before \
                 {end} (an unclean leader election, or another topic). `resume` removes them here \
                 and continues; `failover` keeps them"
            );
            return self.fail(MirrorError::UnexpectedTruncation, detail);
        }
        let partition = &self.setup.partition;
        tracing::warn!(
            topic = %partition.topic, partition = partition.partition, from = to.0, to = end.0,
            "removing the records that the source has lost"
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
}

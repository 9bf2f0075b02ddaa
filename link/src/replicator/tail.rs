//! The tail of a log that the source has compacted away: records seem to be missing, but none are.
//!
//! The end may move over them only with proof: the source must have been silent about every
//! partition, and then have returned nothing for this very partition.

use std::time::Duration;

use carrick_protocol::ids::Offset;

use super::apply::{Effects, Machine};
use super::{Effect, Probe, Wait};

/// The source must have been silent this long, with records missing, before its tail is probed.
const PROBE_AFTER: Duration = Duration::from_secs(1);

impl Machine {
    /// If records are missing, checks after a while whether they have arrived. A session doesn't
    /// repeat itself: only silence shows that a partition has nothing more to give.
    pub(super) fn watch_tail(&mut self) -> Effects {
        let position = self.position();
        let is_behind = self.high_watermark() > Some(position);
        if !is_behind || self.stuck.is_some() {
            return Vec::new();
        }
        self.stuck = Some((position, self.setup.clock.now_ms()));
        vec![Effect::Wait(Wait::Idle(PROBE_AFTER))]
    }

    /// Still records missing? A source that has them gives at least one batch of some partition:
    /// only when a whole answer was empty since, there may be none to give.
    pub(super) fn on_tail_timer(&mut self) -> Effects {
        let Some((at, since_ms)) = self.stuck.take() else {
            return Vec::new();
        };
        if at != self.position() || self.high_watermark() <= Some(at) {
            return self.watch_tail();
        }
        // The session's silence says nothing about a partition that is in flight or fetched outside it.
        let silent_ms = self.setup.status.with(|status| {
            let share = status.share.as_ref();
            let is_busy = share.is_some_and(|share| share.busy_since_ms().is_some());
            let heartbeat = status.heartbeat.as_ref().filter(|_| !is_busy);
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
    pub(super) fn high_watermark(&self) -> Option<Offset> {
        self.setup
            .status
            .with(|status| status.source_high_watermark)
    }

    pub(super) fn known_high_watermark(&self) -> Offset {
        self.high_watermark().unwrap_or(Offset::NONE)
    }

    pub(super) fn on_probe(&mut self, probe: Result<Probe, String>) -> Effects {
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
            // It has something, so the session will bring it; or it can't be asked. Look again
            // later.
            _ => {
                self.stuck = None;
                self.watch_tail()
            }
        }
    }
}

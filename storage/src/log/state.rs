//! Rebuilding the state that a log derives from its batches: producers and aborted transactions.

use std::collections::HashMap;
use std::sync::Arc;

use carrick_protocol::batch::BatchHeader;
use carrick_protocol::ids::{Offset, ProducerId};

use super::aborted::AbortedTxn;
use super::append::read_marker;
use super::files::modified_ms;
use super::segment::View;
use super::{Log, LogError, Producers};

/// A batch that is read back.
pub(super) struct Stored<'a> {
    view: &'a View<'a>,
    position: usize,
    header: BatchHeader,
    /// When it was appended, or later.
    appended_ms: i64,
}

/// Applies every batch of `views` from offset `from` on, in order. They were appended by the time
/// their files were last written, and by `now_ms`.
pub(super) fn replay<'a>(
    views: impl IntoIterator<Item = Result<View<'a>, LogError>>,
    from: Offset,
    now_ms: i64,
    mut each: impl FnMut(&Stored<'_>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    for view in views {
        let view = view?;
        if view.next <= from {
            continue;
        }
        let appended_ms = modified_ms(&view.path()).map_or(now_ms, |ms| ms.min(now_ms));
        for found in view.headers(view.position_before(from)) {
            let (position, header) = found?;
            if header.base_offset >= from {
                each(&Stored {
                    view: &view,
                    position,
                    header,
                    appended_ms,
                })?;
            }
        }
    }
    Ok(())
}

/// Applies one stored batch.
pub(super) fn apply(
    producers: &mut Producers,
    stored: &Stored<'_>,
) -> Result<Option<AbortedTxn>, LogError> {
    let header = &stored.header;
    let marker = if header.is_control() {
        read_marker(header, stored.view.batch(stored.position)?.body())
    } else {
        None
    };
    Ok(producers.apply(header, marker, stored.appended_ms))
}

impl Log {
    /// The state of the producers at the log's end, from the newest snapshot on the disk and the
    /// batches after it.
    pub(super) fn reload_producers(&mut self) -> Result<(), LogError> {
        let first = self
            .sealed
            .first()
            .map_or(self.active.base, |segment| segment.base);
        let known = self
            .producers
            .entries()
            .map(|e| (e.producer_id, e.appended_ms));
        let known: HashMap<ProducerId, i64> = known.collect();
        let from = self.producers.reload(&self.dir, first, self.end)?;
        let (sealed, producers) = (Arc::clone(&self.sealed), &mut self.producers);
        let nexts = sealed
            .iter()
            .skip(1)
            .map(|s| s.base)
            .chain([self.active.base]);
        let later = sealed.iter().zip(nexts).filter(|(_, next)| *next > from);
        let views = later
            .map(|(segment, next)| segment.view(next))
            .chain([Ok(self.active.view(self.end))]);
        replay(views, from, self.now_ms, |stored| {
            apply(producers, stored).map(drop)
        })?;
        self.producers.appended_by(&known);
        self.producers.high_watermark_moved(self.high_watermark);
        self.producers
            .expire(self.now_ms, self.config.producer_expiration_ms);
        Ok(())
    }
}

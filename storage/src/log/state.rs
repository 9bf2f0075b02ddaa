//! Rebuilding what a log derives from its batches: producers and aborted transactions.

use std::sync::Arc;

use carrick_protocol::batch::BatchHeader;
use carrick_protocol::ids::Offset;

use super::append::read_marker;
use super::segment::View;
use super::transactions::AbortedTxn;
use super::{Log, LogError, Producers};

/// Tells every batch of `views` from offset `from` on, in order.
pub(super) fn replay<'a>(
    views: impl IntoIterator<Item = Result<View<'a>, LogError>>,
    from: Offset,
    mut each: impl FnMut(&View<'a>, usize, &BatchHeader) -> Result<(), LogError>,
) -> Result<(), LogError> {
    for view in views {
        let view = view?;
        if view.next <= from {
            continue;
        }
        for found in view.headers(view.position_before(from)) {
            let (position, header) = found?;
            if header.base_offset >= from {
                each(&view, position, &header)?;
            }
        }
    }
    Ok(())
}

/// Applies one stored batch.
pub(super) fn apply(
    producers: &mut Producers,
    view: &View<'_>,
    position: usize,
    header: &BatchHeader,
) -> Result<Option<AbortedTxn>, LogError> {
    let marker = if header.is_control() {
        read_marker(&view.batch(position)?)
    } else {
        None
    };
    Ok(producers.apply(header, marker))
}

impl Log {
    /// The state of the producers at the log's end, from the newest snapshot on the disk and the
    /// batches after it.
    pub(super) fn reload_producers(&mut self) -> Result<(), LogError> {
        let first = self
            .sealed
            .first()
            .map_or(self.active.base, |segment| segment.base);
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
        replay(views, from, |view, position, header| {
            apply(producers, view, position, header).map(drop)
        })?;
        self.producers.high_watermark_moved(self.high_watermark);
        self.producers
            .expire(self.now_ms, self.config.producer_expiration_ms);
        Ok(())
    }
}

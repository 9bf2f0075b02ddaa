//! The partitions of one fetcher: where each is, what the next request asks for, what an answer
//! means for it.
//!
//! Invariant: a partition with a position is one whose answers so far were clean by their headers.
//! Whatever else comes takes its position away, until its replicator, which judges the bytes, gives
//! it a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicPartition;
use tokio::sync::mpsc::UnboundedSender;

use super::budget::Share;
use crate::replicator::intake::predict;
use crate::replicator::task::Message;
use crate::replicator::{Event, Fetched};
use crate::source::fetch::{FetchPosition, FetchedPartition};

/// One partition of a fetcher.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Names this slot: a later one for the same partition has another.
    pub(crate) id: u64,
    /// Its replicator.
    pub(crate) events: UnboundedSender<Message>,
    /// Its bytes in flight.
    pub(crate) share: Arc<Share>,
    /// Where it is: the generation that its replicator gave, and the next position.
    at: Option<(u64, FetchPosition)>,
}

impl Slot {
    /// Without a position.
    pub(crate) fn new(id: u64, events: UnboundedSender<Message>, share: Arc<Share>) -> Self {
        Self {
            id,
            events,
            share,
            at: None,
        }
    }

    /// Tells the replicator. One that has ended doesn't listen; its slot is removed soon.
    fn tell(&self, event: Event) {
        let _ = self.events.send(Message::Event {
            slot: self.id,
            event,
        });
    }
}

/// What the next request shall ask for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Every partition of the session.
    pub(crate) positions: BTreeMap<TopicPartition, FetchPosition>,
    /// Some partitions are left out because too much of theirs is in flight.
    pub(crate) is_short: bool,
}

/// The partitions of one fetcher, by their names at the source.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: BTreeMap<TopicPartition, Slot>,
}

impl Slots {
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds a partition, in place of an older one of that name.
    pub(crate) fn add(&mut self, partition: TopicPartition, slot: Slot) {
        self.slots.insert(partition, slot);
    }

    /// Removes that very slot.
    pub(crate) fn remove(&mut self, partition: &TopicPartition, id: u64) {
        if self.slots.get(partition).is_some_and(|slot| slot.id == id) {
            self.slots.remove(partition);
        }
    }

    /// Sets or takes away the position.
    pub(crate) fn place(
        &mut self,
        partition: &TopicPartition,
        id: u64,
        at: Option<(u64, FetchPosition)>,
    ) {
        if let Some(slot) = self.slots.get_mut(partition).filter(|slot| slot.id == id) {
            slot.at = at;
        }
    }

    /// A connection is there: every replicator is to say where it is.
    pub(crate) fn connected(&mut self, fetch_version: i16) {
        for slot in self.slots.values_mut() {
            slot.at = None;
            slot.tell(Event::Connected { fetch_version });
        }
    }

    /// The same for one partition that came later.
    pub(crate) fn greet(&self, partition: &TopicPartition, fetch_version: i16) {
        if let Some(slot) = self.slots.get(partition) {
            slot.tell(Event::Connected { fetch_version });
        }
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self, detail: &str) {
        for slot in self.slots.values_mut() {
            slot.at = None;
            slot.tell(Event::Disconnected {
                detail: detail.to_owned(),
            });
        }
    }

    /// Every partition that has a position and not more than `share_max_bytes` in flight.
    pub(crate) fn wanted(&self, share_max_bytes: usize) -> Wanted {
        let mut positions = BTreeMap::new();
        let mut is_short = false;
        for (partition, slot) in &self.slots {
            let Some((_, position)) = slot.at else {
                continue;
            };
            if slot.share.in_flight_bytes() > share_max_bytes {
                is_short = true;
            } else {
                positions.insert(partition.clone(), position);
            }
        }
        Wanted {
            positions,
            is_short,
        }
    }

    /// Takes one partition's answer: moves its position ahead by the headers, and hands the bytes
    /// to its replicator.
    pub(crate) fn answered(&mut self, answer: FetchedPartition) {
        let Some(slot) = self.slots.get_mut(&answer.partition) else {
            return;
        };
        let Some((generation, position)) = slot.at else {
            return;
        };
        if position.fetch_offset != answer.fetch_offset {
            // Asked before the replicator gave the present position.
            return;
        }
        let data = answer.data;
        let is_clean = data.error == ErrorCode::NONE && data.diverging_epoch.is_none();
        slot.at = match (is_clean, data.records.is_empty()) {
            (false, _) => None,
            (true, true) => Some((generation, position)),
            (true, false) => predict(&data.records)
                .filter(|(next, _)| *next > position.fetch_offset)
                .map(|(next, epoch)| {
                    let ahead = FetchPosition {
                        fetch_offset: next,
                        last_fetched_epoch: epoch,
                        ..position
                    };
                    (generation, ahead)
                }),
        };
        let in_flight = Some(data.records.len())
            .filter(|bytes| *bytes > 0)
            .map(|bytes| slot.share.take(bytes));
        slot.tell(Event::Fetched(Fetched {
            generation,
            position,
            data,
            in_flight,
        }));
    }
}

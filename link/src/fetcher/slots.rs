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
        let mut is_short = false;
        let fetched = self.slots.iter().filter_map(|(partition, slot)| {
            let (_, position) = slot.at?;
            if slot.share.in_flight_bytes() > share_max_bytes {
                is_short = true;
                return None;
            }
            Some((partition.clone(), position))
        });
        let positions = fetched.collect();
        Wanted {
            positions,
            is_short,
        }
    }

    /// Takes one partition's answer: moves its position ahead by the headers, and hands the bytes
    /// to its replicator.
    pub(crate) fn answered(&mut self, answer: FetchedPartition, asked_at_ms: i64) {
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
        let is_clean = data.error == ErrorCode::NONE
            && data.diverging_epoch.is_none()
            && data.preferred_read_replica.is_none();
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
            .map(|bytes| slot.share.take(bytes, asked_at_ms));
        slot.tell(Event::Fetched(Fetched {
            generation,
            position,
            asked_at_ms,
            data,
            in_flight,
        }));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use carrick_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};
    use tokio::sync::Notify;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::fetcher::budget::Budget;
    use crate::source::fetch::FetchedData;
    use crate::testing::batches::{batch, joined};

    fn partition(index: i32) -> TopicPartition {
        TopicPartition::new(TopicName::new("orders").unwrap(), index)
    }

    fn at(offset: i64) -> FetchPosition {
        FetchPosition {
            topic_id: TopicId::ZERO,
            fetch_offset: Offset(offset),
            current_leader_epoch: LeaderEpoch(7),
            last_fetched_epoch: LeaderEpoch::NONE,
            max_bytes: 1_000,
        }
    }

    fn answer(index: i32, offset: i64, error: ErrorCode, records: Bytes) -> FetchedPartition {
        FetchedPartition {
            partition: partition(index),
            fetch_offset: Offset(offset),
            data: FetchedData {
                error,
                high_watermark: Offset(100),
                last_stable_offset: Offset(100),
                log_start_offset: Offset(0),
                diverging_epoch: None,
                current_leader: None,
                preferred_read_replica: None,
                records,
            },
        }
    }

    /// Two partitions at offset 0, and what their replicators are sent.
    fn two() -> (Slots, Vec<UnboundedReceiver<Message>>) {
        let budget = Budget::new(1_000_000);
        let fetcher = Arc::new(Notify::new());
        let mut slots = Slots::default();
        let mut receivers = Vec::new();
        for index in 0..2 {
            let (events, receiver) = unbounded_channel();
            let share = Share::new(Arc::clone(&budget), Arc::clone(&fetcher));
            slots.add(partition(index), Slot::new(1, events, share));
            slots.place(&partition(index), 1, Some((1, at(0))));
            receivers.push(receiver);
        }
        (slots, receivers)
    }

    #[test]
    fn the_next_request_is_made_before_the_answer_is_judged() {
        let (mut slots, mut receivers) = two();
        let run = joined(&[batch(0, 5, 3), batch(8, 2, 4)]);
        slots.answered(answer(0, 0, ErrorCode::NONE, run), 1);
        let next = slots.wanted(1_000_000).positions[&partition(0)];
        assert_eq!(
            (next.fetch_offset, next.last_fetched_epoch),
            (Offset(10), LeaderEpoch(4))
        );
        assert!(receivers[0].try_recv().is_ok(), "the replicator has it");
    }

    #[test]
    fn a_partition_over_its_share_is_left_out_until_its_bytes_are_stored() {
        let (mut slots, mut receivers) = two();
        slots.answered(answer(0, 0, ErrorCode::NONE, batch(0, 50, 3)), 1);
        let wanted = slots.wanted(100);
        assert!(wanted.is_short && !wanted.positions.contains_key(&partition(0)));
        assert!(
            wanted.positions.contains_key(&partition(1)),
            "the other goes on"
        );
        drop(receivers[0].try_recv().unwrap());
        let wanted = slots.wanted(100);
        assert!(!wanted.is_short && wanted.positions.len() == 2);
    }

    #[test]
    fn whatever_is_not_clean_waits_for_the_replicators_word() {
        let garbage = Bytes::from(vec![2_u8; 100]);
        for (error, records) in [
            (ErrorCode::OFFSET_OUT_OF_RANGE, Bytes::new()),
            (ErrorCode::NONE, garbage),
            (ErrorCode::NONE, joined(&[batch(0, 5, 0), batch(3, 5, 0)])),
        ] {
            let (mut slots, mut receivers) = two();
            slots.answered(answer(0, 0, error, records), 1);
            assert!(
                !slots
                    .wanted(1_000_000)
                    .positions
                    .contains_key(&partition(0))
            );
            assert!(receivers[0].try_recv().is_ok());
            slots.place(&partition(0), 1, Some((2, at(0))));
            assert!(
                slots
                    .wanted(1_000_000)
                    .positions
                    .contains_key(&partition(0))
            );
        }
    }

    #[test]
    fn orders_and_answers_of_another_time_are_passed_over() {
        let (mut slots, mut receivers) = two();
        slots.place(&partition(0), 99, None);
        slots.remove(&partition(0), 99);
        assert_eq!(
            slots.wanted(1_000).positions.len(),
            2,
            "another slot's orders"
        );
        slots.place(&partition(0), 1, Some((2, at(40))));
        slots.answered(answer(0, 0, ErrorCode::NONE, batch(0, 5, 0)), 1);
        assert!(
            receivers[0].try_recv().is_err(),
            "an answer to an older order"
        );
        assert_eq!(slots.wanted(1_000).positions[&partition(0)], at(40));
        slots.remove(&partition(0), 1);
        slots.remove(&partition(1), 1);
        assert!(slots.is_empty());
    }
}

//! The partitions of one fetcher: their positions, what the next request asks for, what an answer
//! means for each.
//!
//! Each is part of the fetch session, or is far behind and fetched in stretches ([`super::stretches`]) outside it.
//!
//! Invariants:
//! - A partition has a position only while its answers so far were clean by their headers. Anything
//!   else takes its position away, until its replicator, which judges the bytes, gives it a new
//!   one.
//! - The session never asks for a partition while it is fetched in stretches. Until the session has
//!   asked for it again and got an answer, the session's silence says nothing about it
//!   ([`Share::busy_since_ms`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicPartition;

use super::budget::{InFlight, Share};
use super::event::{FetchEvent, Fetched, Listener, predict};
use super::stretches::{Answer, Next, Stretches};
use crate::source::fetch::{FetchPosition, FetchedData, FetchedPartition};

/// A partition leaves its stretches for the session once it is behind by this part of what made it leave the session.
const SESSION_SHARE: u64 = 4;

/// One partition of a fetcher.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Names this slot: a later one for the same partition has another.
    pub(crate) id: u64,
    /// Its replicator.
    pub(crate) listener: Box<dyn Listener>,
    /// Its bytes in flight.
    pub(crate) share: Arc<Share>,
    /// Where it is: the generation that its replicator gave, and the next position.
    at: Option<(u64, FetchPosition)>,
    /// It is far behind.
    stretches: Option<Stretches>,
    /// When it was last asked for in stretches, by a count of such requests.
    turn: u64,
}

impl Slot {
    /// Without a position.
    pub(crate) fn new(id: u64, listener: Box<dyn Listener>, share: Arc<Share>) -> Self {
        Self {
            id,
            listener,
            share,
            at: None,
            stretches: None,
            turn: 0,
        }
    }

    fn tell(&self, event: FetchEvent) {
        self.listener.hear(self.id, event);
    }

    fn hand_on(
        &self,
        generation: u64,
        position: FetchPosition,
        asked_at_ms: i64,
        data: FetchedData,
        in_flight: Option<InFlight>,
    ) {
        self.tell(FetchEvent::Fetched(Fetched {
            generation,
            position,
            asked_at_ms,
            data,
            in_flight,
        }));
    }
}

/// What the session's next request asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Every partition of the session.
    pub(crate) positions: BTreeMap<TopicPartition, FetchPosition>,
    /// Some partitions are left out, and may be wanted again soon.
    pub(crate) is_short: bool,
}

/// A part of a request outside the session.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) partition: TopicPartition,
    pub(crate) position: FetchPosition,
    slot: u64,
    stretch: u64,
    /// The bytes asked for count as in flight.
    in_flight: InFlight,
}

/// The partitions of one fetcher, by their names at the source.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: BTreeMap<TopicPartition, Slot>,
    /// A partition that is behind by more is fetched in stretches; `None` for never.
    far_behind_bytes: Option<u64>,
    far_behind: BTreeSet<TopicPartition>,
    /// Back from their stretches, and not asked for by the session yet.
    returning: BTreeSet<TopicPartition>,
    turns: u64,
}

impl Slots {
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Partitions that are behind by more are fetched in stretches from their next answer on; `None` for never.
    pub(crate) fn set_far_behind(&mut self, bytes: Option<u64>) {
        self.far_behind_bytes = bytes;
    }

    /// Whether any is fetched in stretches.
    pub(crate) fn is_far_behind(&self) -> bool {
        !self.far_behind.is_empty()
    }

    /// Whether a partition fetched in stretches must continue in order to release held answers.
    pub(crate) fn is_blocked(&self) -> bool {
        let stretches = |partition| self.slots.get(partition)?.stretches.as_ref();
        let mut all = self.far_behind.iter().filter_map(stretches);
        all.any(Stretches::is_blocked)
    }

    /// Adds a partition, replacing an older one of that name.
    pub(crate) fn add(&mut self, partition: TopicPartition, slot: Slot) {
        self.far_behind.remove(&partition);
        self.returning.remove(&partition);
        self.slots.insert(partition, slot);
    }

    /// Removes that very slot.
    pub(crate) fn remove(&mut self, partition: &TopicPartition, id: u64) {
        if self.slots.get(partition).is_some_and(|slot| slot.id == id) {
            self.slots.remove(partition);
            self.far_behind.remove(partition);
            self.returning.remove(partition);
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
            self.back_to_session(partition);
        }
    }

    fn back_to_session(&mut self, partition: &TopicPartition) {
        if self.far_behind.remove(partition) {
            self.returning.insert(partition.clone());
            if let Some(slot) = self.slots.get_mut(partition) {
                slot.stretches = None;
            }
        }
    }

    /// There is a connection: every replicator must report its position.
    pub(crate) fn connected(&mut self, fetch_version: i16) {
        for slot in self.slots.values_mut() {
            slot.at = None;
            slot.tell(FetchEvent::Connected { fetch_version });
        }
    }

    /// The same for one partition that came later.
    pub(crate) fn greet(&self, partition: &TopicPartition, fetch_version: i16) {
        if let Some(slot) = self.slots.get(partition) {
            slot.tell(FetchEvent::Connected { fetch_version });
        }
    }

    /// Puts every partition back into the session.
    pub(crate) fn all_back_to_session(&mut self) {
        while let Some(partition) = self.far_behind.first().cloned() {
            self.back_to_session(&partition);
        }
    }

    /// The connection has ended.
    pub(crate) fn disconnected(&mut self, detail: &str) {
        self.all_back_to_session();
        for slot in self.slots.values_mut() {
            slot.at = None;
            slot.tell(FetchEvent::Disconnected {
                detail: detail.to_owned(),
            });
        }
    }

    /// Every partition of the session that has a position and not more than `share_max_bytes` in flight.
    pub(crate) fn wanted(&self, share_max_bytes: usize) -> Wanted {
        let mut is_short = self.is_far_behind();
        let fetched = self.slots.iter().filter_map(|(partition, slot)| {
            let (_, position) = slot.at?;
            if slot.stretches.is_some() {
                return None;
            }
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

    /// The session is about to ask for `wanted`: those of it that it didn't ask for the last time, to be given to
    /// [`Slots::asked`] once it was answered.
    pub(crate) fn returned(&self, wanted: &Wanted) -> Vec<TopicPartition> {
        let is_wanted = |partition: &&TopicPartition| wanted.positions.contains_key(*partition);
        self.returning.iter().filter(is_wanted).cloned().collect()
    }

    /// The session has asked for these, and was answered.
    pub(crate) fn asked(&mut self, returned: &[TopicPartition]) {
        for partition in returned {
            if self.returning.remove(partition)
                && let Some(slot) = self.slots.get(partition)
            {
                slot.share.is_in_session();
            }
        }
    }

    /// Takes one partition's answer from the session: moves its position ahead by the headers, and hands the bytes
    /// to its replicator.
    pub(crate) fn answered(&mut self, answer: FetchedPartition, asked_at_ms: i64) {
        let Some(slot) = self.slots.get_mut(&answer.partition) else {
            return;
        };
        let Some((generation, position)) = slot.at.filter(|_| slot.stretches.is_none()) else {
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
        if let Some((_, ahead)) = slot.at.filter(|_| !data.records.is_empty())
            && let Some(far_behind_bytes) = self.far_behind_bytes
        {
            let stretches = Stretches::new(ahead, position.fetch_offset, &data);
            if stretches.behind_bytes() > far_behind_bytes {
                slot.stretches = Some(stretches);
                slot.share.leaves_session(asked_at_ms);
                self.returning.remove(&answer.partition);
                self.far_behind.insert(answer.partition);
            }
        }
        let in_flight = Some(data.records.len())
            .filter(|bytes| *bytes > 0)
            .map(|bytes| slot.share.take(bytes, asked_at_ms));
        slot.hand_on(generation, position, asked_at_ms, data, in_flight);
    }

    /// The parts of the next request outside the session, about `bytes` in total: one partition, or
    /// several that are less far behind. Partitions with the fewest requests in flight come first,
    /// then those that have waited longest. Without room, or with more than `share_max_bytes` of it
    /// in flight, a partition continues only where it must to release held answers.
    pub(crate) fn next_parts(
        &mut self,
        (bytes, max_bytes): (u32, u32),
        has_room: bool,
        share_max_bytes: usize,
        asked_at_ms: i64,
    ) -> Vec<Part> {
        let mut order: Vec<(usize, u64, &TopicPartition)> = Vec::new();
        for partition in &self.far_behind {
            let slot = self.slots.get(partition);
            if let Some((slot, stretches)) = slot.and_then(|s| Some((s, s.stretches.as_ref()?))) {
                order.push((stretches.asked(), slot.turn, partition));
            }
        }
        order.sort_unstable();
        let mut left = bytes;
        let mut parts = Vec::new();
        for (_, _, partition) in order {
            let Some(slot) = self.slots.get_mut(partition) else {
                continue;
            };
            let in_flight = slot.share.in_flight_bytes();
            let Some(stretches) = &mut slot.stretches else {
                continue;
            };
            let has_room = has_room && in_flight <= share_max_bytes;
            if !has_room && !stretches.is_blocked() {
                continue;
            }
            // A guess is made for a whole request only: pieces of one aren't worth it.
            let is_whole = has_room && left == bytes;
            let size = match is_whole {
                true => stretches.worth_guessing(bytes).min(max_bytes),
                false => left,
            };
            let Some((stretch, position)) = stretches.ask(size, is_whole) else {
                continue;
            };
            self.turns += 1;
            slot.turn = self.turns;
            let asked_bytes = usize::try_from(position.max_bytes).unwrap_or(usize::MAX);
            parts.push(Part {
                partition: partition.clone(),
                position,
                slot: slot.id,
                stretch,
                in_flight: slot.share.take(asked_bytes, asked_at_ms),
            });
            left = left.saturating_sub(position.max_bytes);
            if left < bytes / 8 {
                break;
            }
        }
        parts
    }

    /// Takes the answer to a part of such a request; `None` if it has no answer.
    pub(crate) fn part_answered(
        &mut self,
        part: Part,
        data: Option<FetchedData>,
        asked_at_ms: i64,
    ) {
        let partition = part.partition;
        let slot = self.slots.get_mut(&partition);
        let Some(slot) = slot.filter(|slot| slot.id == part.slot) else {
            return;
        };
        let (Some((generation, _)), Some(stretches)) = (slot.at, &mut slot.stretches) else {
            return;
        };
        let Some(data) = data else {
            stretches.unanswered(part.stretch);
            return;
        };
        let in_flight = part.in_flight.came(data.records.len());
        let answer = Answer {
            position: part.position,
            asked_at_ms,
            data,
            in_flight,
        };
        let mut ready = Vec::new();
        let next = stretches.answered(part.stretch, answer, &mut ready);
        let (at, is_near) = (
            stretches.at(),
            stretches.is_at_rest() && {
                let far_behind_bytes = self.far_behind_bytes.unwrap_or(u64::MAX);
                stretches.behind_bytes() <= far_behind_bytes / SESSION_SHARE
            },
        );
        slot.at = (next != Next::Replicator).then_some((generation, at));
        for answer in ready {
            let in_flight = Some(answer.in_flight).filter(|_| !answer.data.records.is_empty());
            slot.hand_on(
                generation,
                answer.position,
                answer.asked_at_ms,
                answer.data,
                in_flight,
            );
        }
        if next != Next::Stretches || is_near {
            self.back_to_session(&partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use carrick_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};
    use tokio::sync::Notify;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

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

    impl Listener for UnboundedSender<FetchEvent> {
        fn hear(&self, _slot: u64, event: FetchEvent) {
            let _ = self.send(event);
        }
    }

    /// Two partitions at offset 0, and what their replicators are sent.
    fn two() -> (Slots, Vec<UnboundedReceiver<FetchEvent>>) {
        let budget = Budget::new(1_000_000);
        let fetcher = Arc::new(Notify::new());
        let mut slots = Slots::default();
        let mut receivers = Vec::new();
        for index in 0..2 {
            let (events, receiver) = unbounded_channel();
            let share = Share::new(Arc::clone(&budget), Arc::clone(&fetcher));
            slots.add(partition(index), Slot::new(1, Box::new(events), share));
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

//! One partition that is far behind: its log is fetched in several parallel stretches.
//!
//! The next offset is known only once an answer has arrived. To fill a long path with one
//! partition, later stretches are requested before that, at offsets guessed from the recent size of
//! its records. Answers that arrive early are held until everything before them has been passed on.
//!
//! Invariants:
//! - Batches are passed on in order and without a gap that the source doesn't have: an answer to a
//!   request from offset `f` is passed on only after everything below `f`, or below its first
//!   batch, which may begin before `f`.
//! - No batch is passed on twice (asserted), and none in part. Where batches of two stretches don't
//!   meet, the later ones are dropped and fetched again.
//! - Held answers never block the first stretch, however large they are ([`Stretches::is_blocked`]).
//! - A wrong guess costs bytes, never correctness. The source guarantees that the log didn't change between the requests:
//!   each names the same leader epoch, and within one epoch a log only grows.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use carrick_protocol::batch::Batches;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, Offset};

use super::budget::InFlight;
use super::event::predict;
use crate::source::fetch::{FetchPosition, FetchedData};

/// Earlier measurements count half once this many bytes have arrived.
const RECENT_BYTES: u64 = 8 << 20;

/// How much more is requested than a stretch is expected to hold, as a share of it.
const SPARE_SHARE: u64 = 64;

/// A guess costs about a batch: a stretch should have more than this many.
const GUESSED_BATCHES: u64 = 16;

/// Names stretches: every one has its own for the life of the process.
static NEXT_STRETCH: AtomicU64 = AtomicU64::new(1);

/// An answer that was not handed on yet.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What was asked for.
    pub(crate) position: FetchPosition,
    /// When, milliseconds since the epoch.
    pub(crate) asked_at_ms: i64,
    pub(crate) data: FetchedData,
    pub(crate) in_flight: InFlight,
}

impl Answer {
    fn is_clean(&self) -> bool {
        let data = &self.data;
        data.error == ErrorCode::NONE
            && data.diverging_epoch.is_none()
            && data.preferred_read_replica.is_none()
    }
}

/// What the partition does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It continues in stretches.
    Stretches,
    /// It is near the end: back to the session.
    Session,
    /// The last answer handed on was not clean: its replicator decides.
    Replicator,
}

#[derive(Debug)]
struct Stretch {
    id: u64,
    start: Offset,
    /// Everything of it below this has arrived.
    next: Offset,
    epoch: LeaderEpoch,
    /// A request is in flight that is expected to return everything below that offset.
    asked_up_to: Option<Offset>,
    held: Vec<Answer>,
}

/// The stretches of one partition, in order.
#[derive(Debug)]
pub(crate) struct Stretches {
    /// Everything below was handed on; the template of requests.
    at: FetchPosition,
    high_watermark: Offset,
    log_start: Offset,
    /// The recent size of records.
    bytes: u64,
    offsets: u64,
    /// The largest batch of late, bytes.
    batch_bytes: u64,
    list: VecDeque<Stretch>,
}

impl Stretches {
    /// `data` was fetched and handed on, and ends at `at`.
    pub(crate) fn new(at: FetchPosition, from: Offset, data: &FetchedData) -> Self {
        let mut new = Self {
            at,
            high_watermark: data.high_watermark,
            log_start: data.log_start_offset,
            bytes: 0,
            offsets: 0,
            batch_bytes: 0,
            list: VecDeque::new(),
        };
        new.learn(&data.records, at.fetch_offset - from);
        new.push(at.fetch_offset, at.last_fetched_epoch);
        new
    }

    /// Everything below was handed on.
    pub(crate) fn at(&self) -> FetchPosition {
        self.at
    }

    /// What the source still has after that, by the last answer, bytes.
    pub(crate) fn behind_bytes(&self) -> u64 {
        self.size_of(self.at.fetch_offset, self.high_watermark)
    }

    /// Requests in flight.
    pub(crate) fn asked(&self) -> usize {
        let is_asked = |stretch: &&Stretch| stretch.asked_up_to.is_some();
        self.list.iter().filter(is_asked).count()
    }

    /// At least `bytes`, and enough that the cost of a guess is small.
    pub(crate) fn worth_guessing(&self, bytes: u32) -> u32 {
        let batches = self.batch_bytes.saturating_mul(GUESSED_BATCHES);
        bytes.max(u32::try_from(batches).unwrap_or(u32::MAX))
    }

    /// What to request next, at most about `bytes`, if anything; with `may_guess` also beyond the known offsets. Names
    /// the stretch.
    pub(crate) fn ask(&mut self, bytes: u32, may_guess: bool) -> Option<(u64, FetchPosition)> {
        let waiting = (0..self.list.len()).find(|index| self.is_waiting(*index));
        let index = match waiting {
            Some(index) => index,
            None if may_guess => self.guess(bytes)?,
            None => return None,
        };
        let goal = self.goal(index);
        let next = self.list[index].next.max(self.at.fetch_offset);
        let wanted = self.size_of(next, goal).min(bytes.into());
        let spare = wanted / SPARE_SHARE;
        let up_to = self.offset_after(next, wanted).min(goal);
        let stretch = &mut self.list[index];
        stretch.asked_up_to = Some(up_to);
        let is_first = next == self.at.fetch_offset;
        let position = FetchPosition {
            fetch_offset: next,
            last_fetched_epoch: match is_first {
                true => self.at.last_fetched_epoch,
                false => stretch.epoch,
            },
            max_bytes: u32::try_from(wanted + spare).unwrap_or(bytes).max(1),
            ..self.at
        };
        Some((stretch.id, position))
    }

    /// The request for a stretch has returned nothing.
    pub(crate) fn unanswered(&mut self, id: u64) {
        if let Some(stretch) = self.list.iter_mut().find(|stretch| stretch.id == id) {
            stretch.asked_up_to = None;
        }
    }

    /// Takes the answer for a stretch; what can be handed on now goes to `hand_on`, in order.
    pub(crate) fn answered(&mut self, id: u64, answer: Answer, hand_on: &mut Vec<Answer>) -> Next {
        let Some(index) = self.list.iter().position(|stretch| stretch.id == id) else {
            return Next::Stretches;
        };
        self.list[index].asked_up_to = None;
        let is_empty = answer.data.records.is_empty();
        let fits = index > 0 || known_bytes(&answer.data.records, self.at.fetch_offset).is_some();
        let end = predict(&answer.data.records)
            .filter(|(next, _)| *next > answer.position.fetch_offset)
            .filter(|_| answer.is_clean() && fits);
        let Some((next, epoch)) = end else {
            self.list.truncate(index);
            if index > 0 {
                // What lies before it is not known yet. It is requested again when that is known.
                return Next::Stretches;
            }
            let is_over = answer.is_clean() && is_empty;
            hand_on.push(answer);
            return if is_over {
                Next::Session
            } else {
                Next::Replicator
            };
        };
        self.learn(&answer.data.records, next - answer.position.fetch_offset);
        self.high_watermark = self.high_watermark.max(answer.data.high_watermark);
        self.log_start = self.log_start.max(answer.data.log_start_offset);
        let first = base_offset(&answer.data.records).unwrap_or(next);
        let stretch = &mut self.list[index];
        // The batch that holds the requested offset belongs to this stretch, so the one before need not have it.
        stretch.start = stretch.start.min(first);
        (stretch.next, stretch.epoch) = (next, epoch);
        stretch.held.push(answer);
        self.flow(hand_on);
        Next::Stretches
    }

    /// Some answers are held that only the first stretch can release, and nothing is in flight for
    /// it.
    pub(crate) fn is_blocked(&self) -> bool {
        let mut list = self.list.iter();
        let is_idle = list.next().is_some_and(|it| it.asked_up_to.is_none());
        is_idle && list.any(|it| !it.held.is_empty())
    }

    /// The first stretch has no request in flight, and it is the only one.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.list.len() == 1 && self.asked() == 0
    }

    /// Hands on what the first stretch holds; where it meets the second, that becomes the first.
    fn flow(&mut self, hand_on: &mut Vec<Answer>) {
        loop {
            let Some(first) = self.list.front_mut() else {
                return;
            };
            for answer in std::mem::take(&mut first.held) {
                if !self.pass(answer, hand_on) {
                    self.list.clear();
                    self.push(self.at.fetch_offset, self.at.last_fetched_epoch);
                    return;
                }
            }
            let meets = |second: &Stretch| second.start <= self.at.fetch_offset;
            if !self.list.get(1).is_some_and(meets) {
                return;
            }
            self.list.pop_front();
        }
    }

    /// Hands an answer on, less what was handed on already; false if the two don't fit.
    fn pass(&mut self, mut answer: Answer, hand_on: &mut Vec<Answer>) -> bool {
        let at = self.at.fetch_offset;
        let first = base_offset(&answer.data.records).unwrap_or(answer.position.fetch_offset);
        if answer.position.fetch_offset.min(first) > at {
            return false;
        }
        let Some(skip) = known_bytes(&answer.data.records, at) else {
            return false;
        };
        answer.data.records = answer.data.records.slice(skip..);
        let Some((next, epoch)) = predict(&answer.data.records) else {
            return true;
        };
        assert!(next > at, "no batch is handed on twice: {next} after {at}");
        answer.data.high_watermark = self.high_watermark;
        answer.data.log_start_offset = self.log_start;
        self.at.fetch_offset = next;
        self.at.last_fetched_epoch = epoch;
        hand_on.push(answer);
        true
    }

    fn push(&mut self, start: Offset, epoch: LeaderEpoch) {
        self.list.push_back(Stretch {
            id: NEXT_STRETCH.fetch_add(1, Ordering::Relaxed),
            start,
            next: start,
            epoch,
            asked_up_to: None,
            held: Vec::new(),
        });
    }

    /// It lacks something, and nothing is in flight for it.
    fn is_waiting(&self, index: usize) -> bool {
        let (stretch, goal) = (&self.list[index], self.goal(index));
        let next = stretch.next.max(self.at.fetch_offset);
        if stretch.asked_up_to.is_some() {
            return false;
        }
        let Some(following) = self.list.get(index + 1) else {
            return index == 0 || next < goal;
        };
        // The gap is mostly part of a batch, which the next stretch is about to bring whole.
        let is_brought = following.asked_up_to.is_some()
            && following.held.is_empty()
            && self.size_of(next, goal) <= self.batch_bytes;
        next < goal && !is_brought
    }

    /// Where the next one starts, or the source's end.
    fn goal(&self, index: usize) -> Offset {
        match self.list.get(index + 1) {
            Some(next) => next.start,
            None => self.high_watermark,
        }
    }

    /// One more stretch, from where the last request is expected to end; `None` if that is near the source's end, or
    /// can't be guessed.
    fn guess(&mut self, bytes: u32) -> Option<usize> {
        let start = self.list.back()?.asked_up_to?;
        let can_be_fenced = self.at.current_leader_epoch != LeaderEpoch::NONE;
        let is_worth_it = self.size_of(start, self.high_watermark) > u64::from(bytes) / 4;
        if !can_be_fenced || !is_worth_it {
            return None;
        }
        self.push(start, LeaderEpoch::NONE);
        Some(self.list.len() - 1)
    }

    fn learn(&mut self, records: &[u8], offsets: i64) {
        let sizes = Batches::new(records)
            .flatten()
            .map(|batch| batch.bytes.len() as u64);
        let (bytes, largest) = sizes.fold((0, 0), |(sum, largest), size| {
            (sum + size, size.max(largest))
        });
        self.batch_bytes = largest.max(self.batch_bytes - self.batch_bytes / 8);
        self.bytes += bytes;
        self.offsets += u64::try_from(offsets).unwrap_or(0);
        if self.bytes > RECENT_BYTES {
            self.bytes /= 2;
            self.offsets /= 2;
        }
    }

    /// Expected bytes between two offsets.
    fn size_of(&self, from: Offset, to: Offset) -> u64 {
        let offsets = u128::from(u64::try_from(to - from).unwrap_or(0));
        let bytes = offsets * u128::from(self.bytes) / u128::from(self.offsets.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Where that many bytes are expected to end.
    fn offset_after(&self, from: Offset, bytes: u64) -> Offset {
        let offsets = u128::from(bytes) * u128::from(self.offsets) / u128::from(self.bytes.max(1));
        let offsets = i64::try_from(offsets).unwrap_or(i64::MAX).max(1);
        Offset(from.0.saturating_add(offsets))
    }
}

/// Where the first batch begins.
fn base_offset(records: &[u8]) -> Option<Offset> {
    let first = Batches::new(records).next()?;
    first.ok().map(|batch| batch.header.base_offset)
}

/// Bytes of the batches that end at or below `at`; `None` if a batch lies across it.
fn known_bytes(records: &[u8], at: Offset) -> Option<usize> {
    let mut batches = Batches::new(records);
    let mut known = 0;
    while let Some(Ok(batch)) = batches.next() {
        if batch.header.next_offset() > at {
            return (batch.header.base_offset >= at).then_some(known);
        }
        known = batches.position();
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use carrick_protocol::ids::TopicId;
    use proptest::prelude::*;
    use tokio::sync::Notify;

    use super::*;
    use crate::fetcher::budget::{Budget, Share};
    use crate::testing::batches::{batch_of, joined};

    /// A source's log: batches of any size, and gaps between them.
    fn log(shape: &[(i32, usize, i64)]) -> Vec<Bytes> {
        let mut at = 0;
        let mut log = Vec::new();
        for (records, value_bytes, gap) in shape {
            log.push(batch_of(at, *records, 3, *value_bytes));
            at += i64::from(*records) + gap;
        }
        log
    }

    fn range(batch: &Bytes) -> (Offset, Offset) {
        let header = Batches::new(batch).next().unwrap().unwrap().header;
        (header.base_offset, header.next_offset())
    }

    /// As Kafka answers: from the batch that holds the offset, the first whole, the last cut.
    fn read(log: &[Bytes], from: Offset, max_bytes: u32) -> Bytes {
        let max_bytes = usize::try_from(max_bytes).unwrap();
        let mut run = Vec::new();
        for batch in log.iter().filter(|batch| range(batch).1 > from) {
            let room = max_bytes.saturating_sub(run.len());
            let cut = if run.is_empty() { batch.len() } else { room };
            run.extend_from_slice(&batch[..cut.min(batch.len())]);
            if cut < batch.len() {
                break;
            }
        }
        run.into()
    }

    fn data(log: &[Bytes], records: Bytes) -> FetchedData {
        FetchedData {
            error: ErrorCode::NONE,
            high_watermark: range(log.last().unwrap()).1,
            last_stable_offset: Offset::NONE,
            log_start_offset: Offset(0),
            diverging_epoch: None,
            current_leader: None,
            preferred_read_replica: None,
            records,
        }
    }

    fn from(offset: Offset, epoch: LeaderEpoch) -> FetchPosition {
        FetchPosition {
            topic_id: TopicId::ZERO,
            fetch_offset: offset,
            current_leader_epoch: LeaderEpoch(3),
            last_fetched_epoch: epoch,
            max_bytes: 1_000,
        }
    }

    /// How a request ends: which of those in flight it is, and whether with an answer, empty or
    /// with an error.
    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Answered,
        Unanswered,
        Empty,
        Refused,
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            20 => Just(Fate::Answered),
            1 => Just(Fate::Unanswered),
            1 => Just(Fate::Empty),
            1 => Just(Fate::Refused),
        ]
    }

    fn whole(answer: &Answer) -> Bytes {
        let records = &answer.data.records;
        let mut batches = Batches::new(records);
        while let Some(Ok(_)) = batches.next() {}
        records.slice(..batches.position())
    }

    proptest! {
        #[test]
        fn what_is_handed_on_is_the_log_in_order_and_without_gaps(
            shape in prop::collection::vec((1_i32..6, 0_usize..400, 0_i64..4), 2..120),
            sizes in prop::collection::vec(200_u32..4_000, 1..8),
            fates in prop::collection::vec((0_usize..6, fate()), 0..300),
            lanes in 1_usize..6,
        ) {
            let log = log(&shape);
            let end = range(log.last().unwrap()).1;
            let share = Share::new(Budget::new(usize::MAX), Arc::new(Notify::new()));
            let first = log[0].clone();
            let at = from(range(&first).1, LeaderEpoch(3));
            let mut stretches = Stretches::new(at, Offset(0), &data(&log, first.clone()));
            let mut handed_on = vec![first];
            let mut under_way: Vec<(u64, FetchPosition)> = Vec::new();
            let mut fates = fates.into_iter();
            let mut sizes = sizes.into_iter().cycle();
            for turn in 0..20_000 {
                prop_assert!(turn < 19_999, "it goes on for ever at {:?}", stretches.at());
                if stretches.at().fetch_offset >= end {
                    break;
                }
                while under_way.len() < lanes {
                    let Some(asked) = stretches.ask(sizes.next().unwrap(), true) else { break };
                    under_way.push(asked);
                }
                prop_assert!(!under_way.is_empty(), "it waits for nothing");
                let (which, fate) = fates.next().unwrap_or((0, Fate::Answered));
                let (id, position) = under_way.remove(which % under_way.len());
                let mut answer = data(&log, read(&log, position.fetch_offset, position.max_bytes));
                match fate {
                    Fate::Answered => {}
                    Fate::Unanswered => {
                        stretches.unanswered(id);
                        continue;
                    }
                    Fate::Empty => answer.records = Bytes::new(),
                    Fate::Refused => answer.error = ErrorCode::NOT_LEADER_OR_FOLLOWER,
                }
                let in_flight = share.take(answer.records.len(), 1);
                let answer = Answer { position, asked_at_ms: 1, data: answer, in_flight };
                let mut ready = Vec::new();
                let next = stretches.answered(id, answer, &mut ready);
                let is_clean = next == Next::Stretches;
                handed_on.extend(ready.iter().filter(|_| is_clean).map(whole));
                if !is_clean {
                    // The session, or the replicator, continues where it was.
                    let at = stretches.at();
                    stretches = Stretches::new(at, Offset(0), &data(&log, joined(&handed_on)));
                    under_way.clear();
                }
            }
            prop_assert_eq!(joined(&handed_on), joined(&log));
            drop(stretches);
            prop_assert_eq!(share.in_flight_bytes(), 0);
        }
    }

    #[test]
    fn one_partition_is_asked_for_at_several_places_at_once() {
        let log = log(&[(10, 100, 0); 200]);
        let first = log[0].clone();
        let at = from(range(&first).1, LeaderEpoch(3));
        let mut stretches = Stretches::new(at, Offset(0), &data(&log, first));
        let asked: Vec<_> = std::iter::from_fn(|| stretches.ask(20_000, true)).collect();
        assert!(asked.len() >= 10, "{asked:?}");
        assert!(asked.is_sorted_by(|a, b| a.1.fetch_offset < b.1.fetch_offset));
        let spare: u32 = asked.iter().map(|(_, at)| at.max_bytes).sum();
        let all: usize = log.iter().map(Bytes::len).sum();
        assert!(f64::from(spare) < 1.05 * all as f64, "{spare} of {all}");
    }

    #[test]
    fn without_a_leader_epoch_to_name_nothing_is_guessed() {
        let log = log(&[(10, 100, 0); 200]);
        let first = log[0].clone();
        let at = FetchPosition {
            current_leader_epoch: LeaderEpoch::NONE,
            ..from(range(&first).1, LeaderEpoch(3))
        };
        let mut stretches = Stretches::new(at, Offset(0), &data(&log, first));
        assert!(stretches.ask(20_000, true).is_some());
        assert!(stretches.ask(20_000, true).is_none());
    }
}

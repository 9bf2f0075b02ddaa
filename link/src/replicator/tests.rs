//! The state machine alone: no runtime, no waiting.

use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};
use proptest::prelude::*;

use super::apply::{Machine, Setup};
use super::lag::StatusCell;
use super::*;
use crate::backoff::Backoff;
use crate::fetcher::{FetchEvent, Fetched};
use crate::ports::{Clock, Lease, MirrorTarget, TargetError};
use crate::record::LinkName;
use crate::source::fetch::FetchedData;
use crate::testing::batches::{batch, damaged, joined};
use crate::testing::here::FakeHere;

const TOPIC: &str = "orders";

struct Noon;

impl Clock for Noon {
    fn now_ms(&self) -> i64 {
        1_000_000
    }
}

/// A machine on an empty mirror, and what it was last told to do.
struct Bench {
    here: FakeHere,
    machine: Machine,
    status: StatusCell,
    fetching: Option<(u64, FetchPosition)>,
    waiting: Option<Wait>,
    failed: Option<MirrorError>,
    redirected: Option<Option<NodeId>>,
    lost_lease: bool,
}

impl Bench {
    fn new() -> Self {
        Self::starting_at(0)
    }

    fn starting_at(start_offset: i64) -> Self {
        let here = FakeHere::new();
        let topic = TopicName::new(TOPIC).unwrap();
        let link = LinkName::new("dr").unwrap();
        let partition = here.add_mirror(topic, link.clone());
        let target = here.open(&partition, &Lease { link, epoch: 1 }).unwrap();
        let status = StatusCell::default();
        let setup = Setup {
            partition,
            start_offset: Offset(start_offset),
            max_bytes: 1_000_000,
            may_truncate: false,
            backoff: Backoff::new(1, 1),
            local: Arc::new(here.clone()),
            clock: Arc::new(Noon),
            status: status.clone(),
        };
        let mut bench = Self {
            here,
            machine: Machine::new(setup, target),
            status,
            fetching: None,
            waiting: None,
            failed: None,
            redirected: None,
            lost_lease: false,
        };
        bench.lead(0);
        bench
    }

    fn lead(&mut self, epoch: i32) {
        self.read(epoch, false);
    }

    fn read(&mut self, epoch: i32, is_follower: bool) {
        self.fetching = None;
        self.waiting = None;
        let epoch = LeaderEpoch(epoch);
        self.apply(Event::Leader {
            epoch,
            topic_id: TopicId::ZERO,
            is_follower,
        });
        self.apply(Event::Fetcher(FetchEvent::Connected { fetch_version: 12 }));
    }

    fn apply(&mut self, event: Event) {
        for effect in self.machine.apply(event) {
            match effect {
                Effect::Fetch {
                    generation,
                    position,
                } => {
                    let last = self.fetching.map_or(0, |(generation, _)| generation);
                    assert!(generation > last, "every order has a new generation");
                    self.fetching = Some((generation, position));
                }
                Effect::Halt => self.fetching = None,
                Effect::Wait(wait) => self.waiting = Some(wait),
                Effect::Redirect { to } => self.redirected = Some(to),
                Effect::Fail { error, .. } => self.failed = Some(error),
                Effect::LostLease { .. } => self.lost_lease = true,
            }
        }
    }

    /// Answers the fetch under way; false if there is none.
    fn answer(&mut self, data: FetchedData) -> bool {
        let Some((generation, position)) = self.fetching else {
            return false;
        };
        self.apply(Event::Fetcher(FetchEvent::Fetched(Fetched {
            generation,
            asked_at_ms: 1,
            position,
            data,
            in_flight: None,
        })));
        true
    }

    /// Ends whatever is waited for that only takes time or metadata.
    fn wait(&mut self) {
        while let Some(wait) = self.waiting.take() {
            match wait {
                Wait::Backoff(_) => self.apply(Event::Waited(Outcome::Elapsed)),
                Wait::Metadata => self.apply(Event::Waited(Outcome::MetadataSeen)),
                // The tail's timer, which these tests let run for ever; questions are answered by
                // them.
                other => {
                    self.waiting = Some(other);
                    return;
                }
            }
        }
    }

    fn stored(&self) -> Bytes {
        self.here.bytes(TOPIC, 0)
    }
}

fn records(run: Bytes, high_watermark: i64) -> FetchedData {
    FetchedData {
        error: ErrorCode::NONE,
        high_watermark: Offset(high_watermark),
        last_stable_offset: Offset(high_watermark),
        log_start_offset: Offset(0),
        diverging_epoch: None,
        current_leader: None,
        preferred_read_replica: None,
        records: run,
    }
}

fn error(error: ErrorCode) -> FetchedData {
    FetchedData {
        error,
        ..records(Bytes::new(), -1)
    }
}

/// A source log of batches with gaps between some, and their ends.
fn log() -> Vec<Bytes> {
    let mut base = 0;
    (0..12_i32)
        .map(|index| {
            base += i64::from(index % 4);
            let count = 1 + index % 3;
            let made = batch(base, count, index / 5);
            base += i64::from(count);
            made
        })
        .collect()
}

fn next_offset(batch: &Bytes) -> i64 {
    carrick_protocol::batch::Batch::parse(batch)
        .unwrap()
        .header
        .next_offset()
        .0
}

/// How an answer differs from the right one.
#[derive(Debug, Clone, Copy)]
enum Twist {
    Right,
    Damaged,
    Cut,
    Early,
    Late,
    Empty,
    NotLeader,
    EpochAbove,
    Stale,
    Reconnected,
    Garbage,
}

fn twist() -> impl Strategy<Value = Twist> {
    prop::sample::select(vec![
        Twist::Right,
        Twist::Right,
        Twist::Right,
        Twist::Damaged,
        Twist::Cut,
        Twist::Early,
        Twist::Late,
        Twist::Empty,
        Twist::NotLeader,
        Twist::EpochAbove,
        Twist::Stale,
        Twist::Reconnected,
        Twist::Garbage,
    ])
}

/// What a source sends from `from` on, `count` batches of it, twisted.
fn send(bench: &mut Bench, source: &[Bytes], from: i64, count: usize, twist: Twist) {
    let end = next_offset(&source[source.len() - 1]);
    let first = source
        .iter()
        .position(|batch| next_offset(batch) > from)
        .unwrap_or(source.len());
    let run =
        |first: usize| joined(&source[first.min(source.len())..(first + count).min(source.len())]);
    let right = run(first);
    let data = match twist {
        Twist::Right => records(right, end),
        Twist::Damaged => records(damaged(&right), end),
        Twist::Cut => records(right.slice(..right.len() - right.len() / 5), end),
        Twist::Early => records(run(first.saturating_sub(2)), end),
        Twist::Late | Twist::Empty => records(Bytes::new(), end),
        Twist::NotLeader => error(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Twist::EpochAbove => records(batch(from, 3, 99), end),
        Twist::Garbage => records(Bytes::from(vec![2_u8; 300]), end),
        Twist::Stale => {
            let Some((generation, position)) = bench.fetching else {
                return;
            };
            let generation = generation - 1;
            let data = records(batch(from, 50, 9), end);
            bench.apply(Event::Fetcher(FetchEvent::Fetched(Fetched {
                generation,
                asked_at_ms: 1,
                position,
                data,
                in_flight: None,
            })));
            return;
        }
        Twist::Reconnected => {
            bench.apply(Event::Fetcher(FetchEvent::Disconnected {
                detail: "reset".into(),
            }));
            bench.fetching = None;
            bench.lead(9);
            return;
        }
    };
    bench.answer(data);
}

proptest! {
    #[test]
    fn whatever_the_source_sends_the_mirror_is_a_prefix_of_its_log(
        steps in prop::collection::vec((twist(), 1_usize..5), 1..80)
    ) {
        let source = log();
        let whole = joined(&source);
        let mut bench = Bench::new();
        bench.lead(9);
        let mut suspicions = 0;
        for (twist, count) in steps {
            let Some((_, position)) = bench.fetching else { break };
            let before = bench.stored();
            // Too many damaged answers in a row fail the mirror: that is another test's story.
            let is_suspect = matches!(twist, Twist::Damaged | Twist::Garbage);
            let twist = if is_suspect && suspicions >= 4 { Twist::Right } else { twist };
            suspicions = if is_suspect { suspicions + 1 } else { suspicions };
            send(&mut bench, &source, position.fetch_offset.0, count, twist);
            bench.wait();
            let after = bench.stored();
            prop_assert!(after.len() >= before.len());
            prop_assert!(whole.starts_with(&after), "after {twist:?}");
            if after.len() > before.len() {
                suspicions = 0;
            }
            prop_assert_eq!(bench.failed, None);
        }
        for _ in 0..source.len() {
            let Some((_, position)) = bench.fetching else { break };
            send(&mut bench, &source, position.fetch_offset.0, 3, Twist::Right);
            bench.wait();
        }
        prop_assert_eq!(bench.stored(), whole);
        prop_assert_eq!(bench.status.with(|status| status.lag()), Some(0));
    }
}

#[test]
fn the_first_batch_may_begin_before_what_was_asked_for() {
    let mut bench = Bench::new();
    assert!(bench.answer(records(batch(0, 5, 0), 5)));
    bench.answer(records(joined(&[batch(0, 5, 0), batch(5, 5, 0)]), 10));
    assert_eq!(bench.stored(), joined(&[batch(0, 5, 0), batch(5, 5, 0)]));
}

#[test]
fn a_batch_that_is_not_whole_is_asked_for_with_more_bytes() {
    let mut bench = Bench::new();
    let run = batch(0, 5, 0);
    bench.answer(records(run.slice(..run.len() - 1), 5));
    let (_, position) = bench.fetching.unwrap();
    assert_eq!(
        (position.fetch_offset, position.max_bytes),
        (Offset(0), 2_000_000)
    );
    bench.answer(records(run.clone(), 5));
    assert_eq!(bench.stored(), run);
}

#[test]
fn a_newer_leaders_batch_is_not_taken_from_the_older() {
    let mut bench = Bench::new();
    bench.answer(records(batch(0, 5, 1), 5));
    assert_eq!(bench.waiting, Some(Wait::Metadata));
    assert!(bench.stored().is_empty());
    bench.lead(1);
    bench.answer(records(batch(0, 5, 1), 5));
    assert_eq!(bench.stored(), batch(0, 5, 1));
}

#[test]
fn an_epoch_that_goes_back_fails_the_mirror_by_name() {
    let mut bench = Bench::new();
    bench.lead(5);
    bench.answer(records(batch(0, 5, 4), 20));
    while bench.answer(records(batch(5, 5, 3), 20)) {
        bench.wait();
    }
    assert_eq!(bench.failed, Some(MirrorError::NonMonotonicLogAppendEpoch));
    assert_eq!(bench.stored(), batch(0, 5, 4));
}

#[test]
fn out_of_range_is_looked_into_and_never_reset_silently() {
    let mut bench = Bench::new();
    bench.answer(records(batch(0, 50, 0), 50));
    let out_of_range = || error(ErrorCode::OFFSET_OUT_OF_RANGE);

    // A stale leader: the position is fine.
    bench.answer(out_of_range());
    bench.wait();
    assert_eq!(bench.waiting.take(), Some(Wait::Range));
    bench.apply(Event::Waited(Outcome::Range(Ok((Offset(0), Offset(60))))));
    bench.wait();
    assert_eq!(bench.fetching.unwrap().1.fetch_offset, Offset(50));

    // Deleted at the source: counted, and gone on after it.
    bench.answer(out_of_range());
    bench.wait();
    bench.waiting = None;
    bench.apply(Event::Waited(Outcome::Range(Ok((Offset(70), Offset(90))))));
    let (_, position) = bench.fetching.unwrap();
    assert_eq!(position.fetch_offset, Offset(70));
    assert_eq!(
        position.last_fetched_epoch,
        LeaderEpoch::NONE,
        "it says nothing about 70"
    );
    assert_eq!(bench.status.with(|status| status.lost_to_retention), 20);

    // Lost at the source: nothing is removed here.
    let before = bench.stored();
    bench.answer(out_of_range());
    bench.wait();
    bench.waiting = None;
    bench.apply(Event::Waited(Outcome::Range(Ok((Offset(0), Offset(10))))));
    assert!(matches!(bench.waiting.take(), Some(Wait::EpochEnd { .. })));
    bench.apply(Event::Waited(Outcome::EpochEnd(Ok(Some((
        LeaderEpoch(0),
        Offset(10),
    ))))));
    assert_eq!(bench.failed, Some(MirrorError::UnexpectedTruncation));
    assert_eq!(bench.stored(), before);
}

#[test]
fn a_lost_lease_ends_it_quietly() {
    let mut bench = Bench::new();
    bench.here.fail_appends(Some(TargetError::Fenced));
    bench.answer(records(batch(0, 5, 0), 5));
    assert!(bench.lost_lease && bench.failed.is_none() && bench.fetching.is_none());
}

#[test]
fn the_wanted_start_may_lie_inside_a_batch() {
    let mut bench = Bench::starting_at(7);
    assert_eq!(bench.fetching.unwrap().1.fetch_offset, Offset(7));
    bench.answer(records(batch(5, 5, 0), 10));
    assert_eq!(bench.here.offsets(TOPIC, 0), (7, 10, 10));
    assert_eq!(bench.stored(), batch(5, 5, 0));
}

#[test]
fn what_is_missing_is_known_in_records_and_about_in_bytes() {
    let mut bench = Bench::new();
    let lag = |bench: &Bench| {
        bench.status.with(|status| {
            let lag = status.describe(0, 1, 1_000);
            (lag.lag_records, lag.lag_bytes_estimate)
        })
    };
    bench.answer(records(Bytes::new(), 0));
    assert_eq!(lag(&bench), (Some(0), Some(0)));
    let five = batch(0, 5, 0);
    let bytes = five.len() as u64;
    bench.answer(records(five, 15));
    assert_eq!(lag(&bench), (Some(10), Some(2 * bytes)));
}

#[test]
fn a_mirror_that_begins_at_the_sources_end_lacks_nothing() {
    let mut bench = Bench::starting_at(7);
    bench.answer(records(Bytes::new(), 7));
    assert_eq!(bench.here.offsets(TOPIC, 0), (7, 7, 7));
    assert_eq!(bench.status.with(|status| status.lag()), Some(0));
    bench.answer(records(batch(7, 5, 0), 12));
    assert_eq!(bench.here.offsets(TOPIC, 0), (7, 12, 12));
}

#[test]
fn a_batch_over_the_end_of_an_empty_log_is_taken_whole() {
    let mut bench = Bench::new();
    bench.apply(Event::Waited(Outcome::Elapsed));
    bench.answer(error(ErrorCode::OFFSET_OUT_OF_RANGE));
    bench.wait();
    bench.waiting = None;
    bench.apply(Event::Waited(Outcome::Range(Ok((Offset(50), Offset(50))))));
    assert_eq!(bench.here.offsets(TOPIC, 0), (50, 50, 50));
    // The source has come back with an older batch that reaches over its log start.
    bench.answer(records(batch(48, 5, 0), 53));
    bench.wait();
    bench.answer(records(batch(48, 5, 0), 53));
    assert_eq!(bench.stored(), batch(48, 5, 0));
}

#[test]
fn a_leader_that_names_a_replica_nearby_is_followed_there() {
    let mut bench = Bench::new();
    bench.lead(3);
    let named = FetchedData {
        preferred_read_replica: Some(NodeId(2)),
        ..records(Bytes::new(), 50)
    };
    assert!(bench.answer(named));
    assert_eq!(bench.redirected.take(), Some(Some(NodeId(2))));
    assert_eq!(bench.fetching, None, "the leader is not asked again");
    let watermark = |bench: &Bench| bench.status.with(|status| status.source_high_watermark);
    assert_eq!(watermark(&bench), Some(Offset(50)));

    bench.read(3, true);
    assert!(bench.answer(records(batch(0, 10, 0), 20)));
    assert_eq!(bench.stored(), batch(0, 10, 0));
    assert_eq!(
        watermark(&bench),
        Some(Offset(50)),
        "the leader has told more"
    );
    assert_eq!(bench.redirected, None);
}

#[test]
fn what_a_follower_lacks_is_for_its_leader_to_judge() {
    let diverging = FetchedData {
        diverging_epoch: Some((LeaderEpoch(0), Offset(3))),
        ..records(Bytes::new(), 5)
    };
    let damaged = records(crate::testing::batches::damaged(&batch(10, 10, 0)), 20);
    for answer in [
        error(ErrorCode::OFFSET_OUT_OF_RANGE),
        error(ErrorCode::UNKNOWN_LEADER_EPOCH),
        diverging,
        damaged,
    ] {
        let mut bench = Bench::new();
        bench.read(3, true);
        assert!(bench.answer(records(batch(0, 10, 0), 10)));
        assert!(bench.answer(answer.clone()));
        assert_eq!(bench.redirected.take(), Some(None), "{answer:?}");
        assert_eq!((bench.fetching, bench.failed), (None, None));
        assert_eq!(bench.stored(), batch(0, 10, 0), "nothing is removed");
        bench.lead(3);
        assert!(
            bench.answer(records(batch(10, 10, 0), 20)),
            "and it goes on there"
        );
        assert_eq!(bench.redirected, None);
    }
}

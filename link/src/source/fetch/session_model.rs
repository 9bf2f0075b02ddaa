//! A small model of a broker's fetch-session cache (Kafka's `FetchManager.newContext`), and the test that the
//! client's session never disagrees with it for longer than one round.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName, TopicPartition};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

pub(super) fn tp(topic: &str) -> TopicPartition {
    TopicPartition::new(TopicName::new(topic).unwrap(), 0)
}

pub(super) fn at(id: u128, offset: i64) -> FetchPosition {
    FetchPosition {
        topic_id: TopicId(Uuid::from_u128(id)),
        fetch_offset: Offset(offset),
        current_leader_epoch: LeaderEpoch(3),
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: 1024,
    }
}

pub(super) fn limits() -> FetchLimits {
    FetchLimits {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
    }
}

pub(super) fn data() -> FetchedData {
    FetchedData {
        error: ErrorCode::NONE,
        high_watermark: Offset(100),
        last_stable_offset: Offset(100),
        log_start_offset: Offset(0),
        diverging_epoch: None,
        current_leader: None,
        preferred_read_replica: None,
        records: Bytes::from_static(b"x"),
    }
}

/// An answer with data for each partition that the request names.
pub(super) fn response(session_id: i32, request: &FetchRequest) -> FetchResponse {
    let by_id = request.version > LAST_BY_NAME;
    let partitions = request
        .partitions
        .iter()
        .map(|(tp, position)| RawFetchedPartition {
            topic: (!by_id).then(|| tp.topic.clone()),
            topic_id: if by_id {
                position.topic_id
            } else {
                TopicId::ZERO
            },
            partition: tp.partition,
            data: data(),
        });
    FetchResponse {
        error: ErrorCode::NONE,
        session_id,
        throttle_time_ms: 0,
        partitions: partitions.collect(),
        endpoints: Vec::new(),
    }
}

/// What a partition is to a broker: a name, or an id from v13 on.
type Key = (Option<TopicPartition>, TopicId);

fn key(by_id: bool, tp: &TopicPartition, id: TopicId) -> Key {
    if by_id {
        (None, id)
    } else {
        (Some(tp.clone()), TopicId::ZERO)
    }
}

#[derive(Debug, Clone)]
struct BrokerSession {
    epoch: i32,
    by_id: bool,
    partitions: BTreeMap<Key, FetchPosition>,
}

/// The broker: its sessions, and whether new ones fit into its cache.
#[derive(Debug, Default)]
struct Broker {
    sessions: BTreeMap<i32, BrokerSession>,
    last_id: i32,
    cache_is_full: bool,
}

impl Broker {
    /// Answers, with the keys that the broker would look into for data.
    fn answer(&mut self, request: &FetchRequest) -> (FetchResponse, BTreeSet<Key>) {
        let by_id = request.version > LAST_BY_NAME;
        let asked = || {
            request
                .partitions
                .iter()
                .map(|(tp, at)| (key(by_id, tp, at.topic_id), *at))
        };
        let error = |code| FetchResponse {
            error: code,
            partitions: Vec::new(),
            ..response(0, request)
        };
        if request.session_epoch <= 0 {
            self.sessions.remove(&request.session_id);
            let partitions: BTreeMap<_, _> = asked().collect();
            let looked_at = partitions.keys().cloned().collect();
            if request.session_epoch < 0 || self.cache_is_full {
                return (response(0, request), looked_at);
            }
            self.last_id += 1;
            self.sessions.insert(
                self.last_id,
                BrokerSession {
                    epoch: 1,
                    by_id,
                    partitions,
                },
            );
            return (response(self.last_id, request), looked_at);
        }
        let Some(session) = self.sessions.get_mut(&request.session_id) else {
            return (
                error(ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
                BTreeSet::new(),
            );
        };
        if session.epoch != request.session_epoch {
            return (
                error(ErrorCode::INVALID_FETCH_SESSION_EPOCH),
                BTreeSet::new(),
            );
        }
        if session.by_id != by_id {
            return (
                error(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR),
                BTreeSet::new(),
            );
        }
        session.partitions.extend(asked());
        for (tp, id) in &request.forgotten {
            session.partitions.remove(&key(by_id, tp, *id));
        }
        session.epoch += 1;
        let looked_at: BTreeSet<_> = session.partitions.keys().cloned().collect();
        let id = if looked_at.is_empty() {
            0
        } else {
            request.session_id
        };
        if looked_at.is_empty() {
            self.sessions.remove(&request.session_id);
        }
        (response(id, request), looked_at)
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// One topic's position is set (id, offset).
    Want(u8, u8, u8),
    /// One topic is no longer wanted.
    Drop(u8),
    /// A round whose answer arrives.
    Round,
    /// A round whose answer is lost after the broker has worked on it.
    LostAnswer,
    /// A round whose request never arrives.
    LostRequest,
    /// The broker forgets every session, as after a restart.
    Evict,
    /// A broker with a full cache keeps no new session.
    CacheFull(bool),
    /// A new connection to a broker of another version.
    Reconnect(i16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5u8, 0..3u8, any::<u8>()).prop_map(|(t, id, at)| Step::Want(t, id, at)),
        2 => (0..5u8).prop_map(Step::Drop),
        6 => Just(Step::Round),
        1 => Just(Step::LostAnswer),
        1 => Just(Step::LostRequest),
        1 => Just(Step::Evict),
        1 => any::<bool>().prop_map(Step::CacheFull),
        1 => (7..18i16).prop_map(Step::Reconnect),
    ]
}

/// Rounds until an answer is taken: an error about the session costs one more, never two.
fn settle(
    session: &mut FetchSession,
    broker: &mut Broker,
    wanted: &BTreeMap<TopicPartition, FetchPosition>,
) -> Result<(), TestCaseError> {
    for _ in 0..2 {
        let request = session.next_request(wanted, limits());
        let by_id = request.version > LAST_BY_NAME;
        let (answer, looked_at) = broker.answer(&request);
        if let SessionOutcome::Partitions(_) = session.apply(answer) {
            let expected: BTreeSet<_> = wanted
                .iter()
                .map(|(tp, at)| key(by_id, tp, at.topic_id))
                .collect();
            prop_assert_eq!(looked_at, expected, "the broker looks where we want it to");
            return Ok(());
        }
    }
    Err(TestCaseError::fail(
        "two full requests in a row were refused",
    ))
}

proptest! {
    #[test]
    fn the_broker_always_ends_up_with_what_is_wanted(
        version in 4..18i16,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut broker = Broker::default();
        let mut session = FetchSession::new(version);
        let mut wanted = BTreeMap::new();
        // A session whose id never reached us can't be closed by us; the source evicts it.
        let mut orphans_max = 0;
        for step in steps {
            match step {
                Step::Want(topic, id, offset) => {
                    // Ids are unique to topics; 0 means a topic without one.
                    let id = if id == 0 { 0 } else { u128::from(topic) * 10 + u128::from(id) };
                    wanted.insert(tp(&format!("t{topic}")), at(id, i64::from(offset)));
                }
                Step::Drop(topic) => {
                    wanted.remove(&tp(&format!("t{topic}")));
                }
                Step::Round => settle(&mut session, &mut broker, &wanted)?,
                Step::LostAnswer => {
                    orphans_max += 1;
                    let request = session.next_request(&wanted, limits());
                    broker.answer(&request);
                    session.fail();
                }
                Step::LostRequest => {
                    session.next_request(&wanted, limits());
                    session.fail();
                }
                Step::Evict => broker.sessions.clear(),
                Step::CacheFull(full) => broker.cache_is_full = full,
                Step::Reconnect(version) => session.reconnected(version),
            }
        }
        settle(&mut session, &mut broker, &wanted)?;
        // Positions too, where the broker keeps a session.
        let id = session.next_request(&wanted, limits()).session_id;
        if let Some(held) = broker.sessions.get(&id) {
            let expected: BTreeMap<_, _> =
                wanted.iter().map(|(tp, at)| (key(held.by_id, tp, at.topic_id), *at)).collect();
            prop_assert_eq!(&held.partitions, &expected);
        }
        prop_assert!(broker.sessions.len() <= 1 + orphans_max, "no session is left behind");
    }
}

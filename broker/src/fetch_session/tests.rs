//! Stories of fetch sessions.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::protocol::StrBytes;

use super::*;

fn name(name: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(name))
}

fn request(id: i32, epoch: i32, partitions: &[i32]) -> FetchRequest {
    let partitions = partitions
        .iter()
        .map(|p| {
            FetchPartition::default()
                .with_partition(*p)
                .with_partition_max_bytes(9)
        })
        .collect();
    let topic = FetchTopic::default()
        .with_topic(name("t"))
        .with_partitions(partitions);
    FetchRequest::default()
        .with_session_id(id)
        .with_session_epoch(epoch)
        .with_topics(vec![topic])
}

fn data(high_watermark: i64, records: &'static [u8]) -> PartitionData {
    PartitionData::default()
        .with_high_watermark(high_watermark)
        .with_records(Some(bytes::Bytes::from_static(records)))
}

fn open(sessions: &Sessions, partitions: &[i32]) -> i32 {
    let (scope, wanted) = sessions.begin(12, &request(0, 0, partitions)).unwrap();
    assert!(matches!(scope, Scope::Opening));
    let answered: Vec<_> = wanted
        .into_iter()
        .map(|wanted| (wanted, data(5, b"")))
        .collect();
    sessions.open(12, &answered)
}

fn numbers(wanted: &[Wanted]) -> Vec<i32> {
    wanted.iter().map(|wanted| wanted.key.2).collect()
}

#[test]
fn an_incremental_request_names_only_what_changes() {
    let sessions = Sessions::new(10, 1_000);
    let id = open(&sessions, &[0, 1]);
    let (_, wanted) = sessions.begin(12, &request(id, 1, &[])).unwrap();
    assert_eq!(numbers(&wanted), [0, 1]);
    let (_, wanted) = sessions.begin(12, &request(id, 2, &[2])).unwrap();
    assert_eq!(numbers(&wanted), [0, 1, 2]);
    let forgotten = ForgottenTopic::default()
        .with_topic(name("t"))
        .with_partitions(vec![0, 2]);
    let request = request(id, 3, &[]).with_forgotten_topics_data(vec![forgotten]);
    let (_, wanted) = sessions.begin(12, &request).unwrap();
    assert_eq!(numbers(&wanted), [1]);
}

#[test]
fn only_news_is_told_and_an_error_is_news_as_is_its_end() {
    let sessions = Sessions::new(10, 1_000);
    let id = open(&sessions, &[0]);
    let (scope, wanted) = sessions.begin(12, &request(id, 1, &[])).unwrap();
    let Scope::Open(session, _) = scope else {
        panic!("not open")
    };
    let mut session = session.lock();
    let key = &wanted[0].key;
    assert!(!session.is_news(key, &data(5, b"")));
    assert!(session.is_news(key, &data(5, b"x")));
    assert!(session.is_news(key, &data(6, b"")));
    assert!(!session.is_news(key, &data(6, b"")));
    assert!(session.is_news(key, &data(-1, b"").with_error_code(3)));
    assert!(session.is_news(key, &data(6, b"")));
}

#[test]
fn a_partition_with_data_goes_to_the_end_of_the_line() {
    let sessions = Sessions::new(10, 1_000);
    let id = open(&sessions, &[0, 1, 2]);
    let (scope, wanted) = sessions.begin(12, &request(id, 1, &[])).unwrap();
    let Scope::Open(session, _) = scope else {
        panic!("not open")
    };
    session.lock().is_news(&wanted[0].key, &data(6, b"x"));
    let (_, wanted) = sessions.begin(12, &request(id, 2, &[])).unwrap();
    assert_eq!(numbers(&wanted), [1, 2, 0]);
}

#[test]
fn a_wrong_session_epoch_or_way_of_naming_is_told_apart() {
    let sessions = Sessions::new(10, 1_000);
    let id = open(&sessions, &[0]);
    let error = |version, request: &FetchRequest| sessions.begin(version, request).err();
    assert_eq!(
        error(12, &request(id + 1, 1, &[])),
        Some(SessionError::NotFound)
    );
    assert_eq!(error(12, &request(id, 2, &[])), Some(SessionError::Epoch));
    assert_eq!(
        error(13, &request(id, 1, &[])),
        Some(SessionError::OtherNaming)
    );
    assert_eq!(error(12, &request(id, 1, &[])), None);
    assert_eq!(error(12, &request(id, 1, &[])), Some(SessionError::Epoch));
}

#[test]
fn closing_frees_the_slot_and_full_slots_mean_no_session() {
    let sessions = Sessions::new(1, 1_000);
    let id = open(&sessions, &[0]);
    assert!(id > 0);
    assert_eq!(open(&sessions, &[0]), 0);
    let (scope, _) = sessions.begin(12, &request(id, -1, &[])).unwrap();
    assert!(matches!(scope, Scope::Sessionless));
    assert!(open(&sessions, &[0]) > 0);
}

#[test]
fn a_partition_that_is_named_twice_is_wanted_once_as_named_last() {
    let sessions = Sessions::new(10, 1_000);
    let mut request = request(0, -1, &[0, 1, 0]);
    request.topics[0].partitions[2].fetch_offset = 7;
    let (_, wanted) = sessions.begin(12, &request).unwrap();
    assert_eq!(numbers(&wanted), [0, 1]);
    assert_eq!(wanted[0].offset, 7);
}

/// Sessions of these sizes, created and last used this many seconds before `now`.
fn aged(all: &[(usize, u64, u64)], now: Instant) -> (HashMap<i32, Arc<Mutex<Session>>>, Vec<i32>) {
    let sessions = Sessions::new(100, 1_000);
    let mut ids = Vec::new();
    for (size, created, used) in all {
        let partitions: Vec<i32> = (0..i32::try_from(*size).unwrap()).collect();
        let id = open(&sessions, &partitions);
        let session = sessions.by_id.lock()[&id].clone();
        let mut session = session.lock();
        session.created = now - Duration::from_secs(*created);
        session.last_used = now - Duration::from_secs(*used);
        ids.push(id);
    }
    (sessions.by_id.into_inner(), ids)
}

// Follows FetchSessionTest.testSessionCache and testPrivilegedSession.
#[test]
fn a_silent_session_goes_first_then_an_old_one_that_is_smaller_than_the_new() {
    let now = Instant::now() + Duration::from_secs(1_000);
    let gone = |all: &[(usize, u64, u64)], size| {
        let (mut by_id, ids) = aged(all, now);
        evict(&mut by_id, size, now);
        let gone = ids.iter().position(|id| !by_id.contains_key(id));
        assert!(by_id.len() + usize::from(gone.is_some()) == all.len());
        gone
    };
    // Silent for more than two minutes: the longest, whatever its size.
    assert_eq!(
        gone(&[(1, 500, 5), (9, 500, 121), (9, 500, 130)], 1),
        Some(2)
    );
    assert_eq!(
        gone(&[(1, 120, 120)], 9),
        None,
        "two minutes are not enough"
    );
    // Nobody is silent: the smallest of those that were used for more than two minutes.
    let busy = [(3, 500, 5), (2, 500, 5), (1, 100, 5)];
    assert_eq!(gone(&busy, 3), Some(1));
    assert_eq!(gone(&busy, 2), None, "it must be smaller than the new one");
    assert_eq!(
        gone(&[(1, 121, 5)], 9),
        None,
        "it was used for less than two minutes"
    );
}

#[test]
fn sessions_share_room_for_partitions_and_who_finds_none_goes_on_without_a_session() {
    let sessions = Sessions::new(10, 5);
    let first = open(&sessions, &[0, 1, 2]);
    assert_ne!(first, 0);
    assert_eq!(open(&sessions, &[0, 1, 2]), 0, "there is no room for it");
    let second = open(&sessions, &[0, 1]);
    assert_ne!(second, 0);
    let grows = sessions.begin(12, &request(first, 1, &[3]));
    assert_eq!(grows.err(), Some(SessionError::NotFound));
    assert_ne!(open(&sessions, &[0, 1, 2]), 0, "what it had is free");
    let forgotten = ForgottenTopic::default()
        .with_topic(name("t"))
        .with_partitions(vec![1]);
    let shrinks = request(second, 1, &[]).with_forgotten_topics_data(vec![forgotten]);
    sessions.begin(12, &shrinks).unwrap();
    assert_ne!(open(&sessions, &[7]), 0, "so is what was forgotten");
}

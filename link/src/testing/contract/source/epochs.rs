//! Leader epochs: who is fenced, and where each ends.

use std::cmp::Ordering;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, Offset};

use super::fetches::{Reader, headers};
use super::{ASKED_MAX, Harness, PAUSE, at, described, new_topic};
use crate::source::fetch::FetchPosition;
use crate::source::{EpochEnd, EpochQuery, SourceTopic};

/// Where an epoch ends, told to one who believes in `current`.
async fn end_of(harness: &dyn Harness, epoch: LeaderEpoch, current: LeaderEpoch) -> EpochEnd {
    let query = |topic: &str| EpochQuery {
        partition: at(topic, 0),
        current_leader_epoch: current,
        leader_epoch: epoch,
    };
    let queries = vec![query("nowhere"), query("moved")];
    let answers = harness.source().offsets_for_leader_epoch(queries).await;
    let [nowhere, moved] =
        <[EpochEnd; 2]>::try_from(answers.expect("it answers")).expect("each is answered");
    assert_eq!((nowhere.partition, nowhere.end), (at("nowhere", 0), None));
    assert_eq!(nowhere.error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(moved.partition, at("moved", 0));
    moved
}

/// The answer for a client that has that epoch.
fn told(believed: LeaderEpoch, current: LeaderEpoch) -> ErrorCode {
    match believed.cmp(&current) {
        Ordering::Less => ErrorCode::FENCED_LEADER_EPOCH,
        Ordering::Equal => ErrorCode::NONE,
        Ordering::Greater => ErrorCode::UNKNOWN_LEADER_EPOCH,
    }
}

/// The old one leads no more, and a history that is not the source's is found out.
pub async fn a_new_leader_fences_who_believes_in_the_old(harness: &dyn Harness) {
    let before = new_topic(harness, "moved", 1).await;
    let moved = at("moved", 0);
    harness.write(&moved, 0, 3);
    let (leader, first) = (
        before.partitions[0].leader,
        before.partitions[0].leader_epoch,
    );
    let end = end_of(harness, first, LeaderEpoch::NONE).await;
    assert_eq!(
        (end.error, end.end),
        (ErrorCode::NONE, Some((first, Offset(3))))
    );

    harness.move_leader(&moved);
    let is_moved = |topic: &SourceTopic| {
        let now = &topic.partitions[0];
        now.leader.is_some() && now.leader != leader && now.leader_epoch > first
    };
    let after = described(harness, "moved", is_moved).await;
    let second = after.partitions[0].leader_epoch;
    harness.write(&moved, 3, 2);
    let old = Reader::at(harness, &before, leader.expect("there was one")).await;
    let refusal = refusal_of_the_old(&old).await;
    assert_eq!(refusal, ErrorCode::NOT_LEADER_OR_FOLLOWER);

    let none = LeaderEpoch::NONE;
    let beyond = LeaderEpoch(second.0 + 1);
    for (epoch, ends) in [
        (first, Some((first, Offset(3)))),
        (second, Some((second, Offset(5)))),
        (beyond, None),
    ] {
        let end = end_of(harness, epoch, none).await;
        assert_eq!((end.error, end.end), (ErrorCode::NONE, ends), "{epoch:?}");
    }
    let reader = Reader::new(harness, &after).await;
    for believed in [first, second, beyond] {
        let position = FetchPosition {
            current_leader_epoch: believed,
            ..reader.from(5)
        };
        assert_eq!(reader.refusal(position).await, told(believed, second));
        let end = end_of(harness, first, believed).await;
        assert_eq!(end.error, told(believed, second));
        assert_eq!(end.end.is_some(), believed == second);
    }
    history_is_checked(&reader, first, beyond, second).await;
}

/// It may be the last to learn that it leads no more.
async fn refusal_of_the_old(reader: &Reader) -> ErrorCode {
    for _ in 0..ASKED_MAX {
        let error = reader.fetch(reader.from(0)).await.error;
        if error != ErrorCode::NONE {
            return error;
        }
        tokio::time::sleep(PAUSE).await;
    }
    ErrorCode::NONE
}

async fn history_is_checked(
    reader: &Reader,
    first: LeaderEpoch,
    beyond: LeaderEpoch,
    second: LeaderEpoch,
) {
    let after = |offset, last_fetched_epoch| FetchPosition {
        last_fetched_epoch,
        ..reader.from(offset)
    };
    let rest = headers(&reader.fetch(after(3, first)).await);
    assert_eq!(rest[0].base_offset, Offset(3));
    assert!(
        rest.iter().all(|batch| batch.leader_epoch == second),
        "{rest:?}"
    );
    let diverging = reader.fetch(after(4, first)).await;
    assert_eq!(diverging.error, ErrorCode::NONE);
    assert_eq!(diverging.diverging_epoch, Some((first, Offset(3))));
    assert!(diverging.records.is_empty());
    let refusal = reader.refusal(after(4, beyond)).await;
    assert_eq!(refusal, ErrorCode::OFFSET_OUT_OF_RANGE);
}

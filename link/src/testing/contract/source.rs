//! What every [`SourceCluster`] must tell a link: of itself, of topics and their offsets, of epochs,
//! configs and groups, and how it hands out batches.

mod epochs;
mod fetches;

use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicName, TopicPartition};

use super::super::batches::FIRST_TIMESTAMP_MS;
use crate::source::{
    GroupCommits, GroupListing, ListedOffset, OffsetSpec, SourceCluster, SourceTopic,
    TopicSelection,
};

/// Between questions that are asked until the answer is the one that must come.
const PAUSE: Duration = Duration::from_millis(20);
/// How often such a question is asked.
const ASKED_MAX: u32 = 3_000;

/// What the suite needs of a source: at least two brokers, nothing in it, and somebody who writes.
pub trait Harness {
    fn source(&self) -> Arc<dyn SourceCluster>;
    /// A new topic, whose leaders answer, with `retention.ms=-1` set on itself.
    fn topic(&self, name: &str, partitions: i32);
    /// `count` records at the end of a partition, which is at `from`; the timestamp of the one at
    /// offset `n` is [`FIRST_TIMESTAMP_MS`]` + n`.
    fn write(&self, at: &TopicPartition, from: i64, count: i32);
    /// Deletes the records before that offset.
    fn trim(&self, at: &TopicPartition, start: i64);
    /// Makes another broker the leader, in a later epoch.
    fn move_leader(&self, at: &TopicPartition);
    /// A group without members commits an offset, without a leader epoch.
    fn commit(&self, group: &str, at: &TopicPartition, offset: i64, metadata: &str);
}

/// The whole suite.
pub async fn all(harness: &dyn Harness) {
    the_source_says_who_it_is(harness).await;
    known_topics_are_described_and_others_never_made(harness).await;
    offsets_are_listed_in_the_order_of_the_questions(harness).await;
    offsets_are_found_by_timestamp(harness).await;
    fetches::whole_batches_come_from_the_offset_up_to_the_high_watermark(harness).await;
    fetches::a_poll_at_the_end_waits_for_records(harness).await;
    fetches::what_is_not_there_is_refused(harness).await;
    epochs::a_new_leader_fences_who_believes_in_the_old(harness).await;
    configs_tell_what_is_set_on_the_topic(harness).await;
    groups_are_listed_with_what_they_have_committed(harness).await;
}

fn name(topic: &str) -> TopicName {
    TopicName::new(topic).expect("a name")
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(name(topic), partition)
}

/// Asks until `holds`: a cluster's brokers learn of a change one after the other.
async fn described(
    harness: &dyn Harness,
    topic: &str,
    holds: impl Fn(&SourceTopic) -> bool,
) -> SourceTopic {
    let mut seen = None;
    for _ in 0..ASKED_MAX {
        let asked = TopicSelection::Names(vec![name(topic)]);
        let answer = harness.source().metadata(asked).await;
        let answer = answer.expect("it answers").topic(topic).cloned();
        let described = answer.expect("each is answered");
        if described.error == ErrorCode::NONE && holds(&described) {
            return described;
        }
        seen = Some(described);
        tokio::time::sleep(PAUSE).await;
    }
    panic!("{topic} is described as {seen:?}");
}

/// A new topic, known to whoever is asked.
async fn new_topic(harness: &dyn Harness, topic: &str, partitions: i32) -> SourceTopic {
    harness.topic(topic, partitions);
    let is_whole = |topic: &SourceTopic| {
        let leaders = topic.partitions.iter().filter(|it| it.leader.is_some());
        i32::try_from(leaders.count()) == Ok(partitions)
    };
    described(harness, topic, is_whole).await
}

async fn listed(
    harness: &dyn Harness,
    queries: &[(TopicPartition, OffsetSpec)],
) -> Vec<ListedOffset> {
    let answers = harness.source().list_offsets(queries.to_vec()).await;
    let answers = answers.expect("it answers");
    let asked: Vec<_> = queries.iter().map(|(partition, _)| partition).collect();
    let answered: Vec<_> = answers.iter().map(|it| &it.partition).collect();
    assert_eq!(answered, asked);
    answers
}

/// The same whenever and however it is asked.
pub async fn the_source_says_who_it_is(harness: &dyn Harness) {
    let source = harness.source();
    let info = source.describe().await.expect("it answers");
    let id = info.cluster_id.clone().expect("it has an id");
    assert!(!id.is_empty());
    assert!(info.brokers.len() >= 2, "{info:?}");
    assert!(info.brokers.is_sorted_by(|a, b| a.id < b.id), "{info:?}");
    let controller = info.controller.expect("there is one");
    assert!(info.brokers.iter().any(|broker| broker.id == controller));
    let again = source.describe().await.expect("it answers");
    assert_eq!(
        (again.cluster_id, again.brokers),
        (Some(id.clone()), info.brokers.clone())
    );
    let nothing = TopicSelection::Names(Vec::new());
    let metadata = source.metadata(nothing).await.expect("it answers");
    assert_eq!(metadata.topics, Vec::new());
    assert_eq!(metadata.cluster.cluster_id, Some(id));
    assert_eq!(metadata.cluster.brokers, info.brokers);
}

/// With ids and leaders; asking for a topic doesn't create it.
pub async fn known_topics_are_described_and_others_never_made(harness: &dyn Harness) {
    let source = harness.source();
    let known = new_topic(harness, "known", 3).await;
    let other = new_topic(harness, "known.other", 1).await;
    let asked = TopicSelection::Names(vec![name("nowhere"), name("known")]);
    let answer = source.metadata(asked).await.expect("it answers");
    assert_eq!(answer.topics.len(), 2);
    assert_eq!(answer.topic("known"), Some(&known));
    assert_eq!(source.cached_topic(&name("known")).as_deref(), Some(&known));
    assert!(!known.id.is_zero() && !other.id.is_zero() && known.id != other.id);
    assert!(!known.is_internal);
    let brokers: Vec<_> = answer.cluster.brokers.iter().map(|it| it.id).collect();
    for (index, partition) in (0..3).zip(&known.partitions) {
        assert_eq!(
            (partition.partition, partition.error),
            (index, ErrorCode::NONE)
        );
        assert!(
            partition
                .leader
                .is_some_and(|leader| brokers.contains(&leader))
        );
        assert!(partition.leader_epoch >= LeaderEpoch(0), "{partition:?}");
    }
    let nowhere = answer.topic("nowhere").expect("each is answered");
    assert_eq!(nowhere.error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!((nowhere.partitions.len(), nowhere.id.is_zero()), (0, true));
    let all = source
        .metadata(TopicSelection::All)
        .await
        .expect("it answers");
    assert_eq!(all.topic("known").map(|topic| topic.id), Some(known.id));
    assert_eq!(
        all.topic("known.other").map(|topic| topic.id),
        Some(other.id)
    );
    assert_eq!(all.topic("nowhere"), None);
}

/// Each partition has its own answer or error; one that is named twice has an error.
pub async fn offsets_are_listed_in_the_order_of_the_questions(harness: &dyn Harness) {
    use OffsetSpec::{Earliest, Latest};
    let topic = new_topic(harness, "listed", 2).await;
    let written = at("listed", 0);
    harness.write(&written, 0, 5);
    harness.trim(&written, 2);
    let answers = listed(
        harness,
        &[
            (at("listed", 1), Latest),
            (at("listed", 7), Earliest),
            (written.clone(), Earliest),
            (at("nowhere", 0), Latest),
        ],
    )
    .await;
    let told: Vec<_> = answers.iter().map(|it| (it.error, it.offset)).collect();
    let unknown = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None);
    let found = |offset| (ErrorCode::NONE, Some(Offset(offset)));
    assert_eq!(told, [found(0), unknown, found(2), unknown]);
    let twice = [(written.clone(), Earliest), (written.clone(), Latest)];
    for answer in listed(harness, &twice).await {
        assert_eq!(answer.error, ErrorCode::INVALID_REQUEST, "named twice");
    }
    let end = &listed(harness, &[(written, Latest)]).await[0];
    assert_eq!((end.error, end.offset), found(5));
    assert_eq!(end.timestamp_ms, -1, "it is no record's");
    assert_eq!(end.leader_epoch, topic.partitions[0].leader_epoch);
}

/// The first record that is as young, with its own time; none if all are older.
pub async fn offsets_are_found_by_timestamp(harness: &dyn Harness) {
    let topic = new_topic(harness, "dated", 1).await;
    let dated = at("dated", 0);
    harness.write(&dated, 0, 3);
    harness.write(&dated, 3, 3);
    let find = async |offset: i64| {
        let spec = OffsetSpec::Timestamp(FIRST_TIMESTAMP_MS + offset);
        let found = listed(harness, &[(dated.clone(), spec)]).await.remove(0);
        assert_eq!(found.error, ErrorCode::NONE);
        let after_ms = found.timestamp_ms - FIRST_TIMESTAMP_MS;
        found
            .offset
            .map(|offset| (offset.0, after_ms, found.leader_epoch))
    };
    let epoch = topic.partitions[0].leader_epoch;
    assert_eq!(find(-50).await, Some((0, 0, epoch)));
    assert_eq!(find(4).await, Some((4, 4, epoch)));
    assert_eq!(find(6).await, None);
    harness.trim(&dated, 2);
    assert_eq!(
        find(0).await,
        Some((2, 2, epoch)),
        "nothing before the log's start"
    );
}

/// Told from what is inherited; a topic that isn't there has an error.
pub async fn configs_tell_what_is_set_on_the_topic(harness: &dyn Harness) {
    new_topic(harness, "configured", 1).await;
    let asked = vec![name("nowhere"), name("configured")];
    let answers = harness.source().topic_configs(asked.clone()).await;
    let answers = answers.expect("it answers");
    let answered: Vec<_> = answers.iter().map(|it| it.topic.clone()).collect();
    assert_eq!(answered, asked);
    assert_eq!(answers[0].error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(answers[0].entries, Vec::new());
    assert_eq!(answers[1].error, ErrorCode::NONE);
    let told = |config: &str| {
        let mut entries = answers[1].entries.iter();
        let entry = entries.find(|entry| entry.name == config);
        let entry = entry.expect("it is listed");
        assert!(!entry.is_sensitive);
        (entry.value.as_deref(), entry.is_topic_level)
    };
    assert_eq!(told("retention.ms"), (Some("-1"), true));
    assert_eq!(told("cleanup.policy"), (Some("delete"), false));
}

/// Commits of each, in the order of the questions; a group that isn't there has none.
pub async fn groups_are_listed_with_what_they_have_committed(harness: &dyn Harness) {
    let source = harness.source();
    new_topic(harness, "read", 2).await;
    harness.write(&at("read", 1), 0, 5);
    harness.commit("readers-b", &at("read", 1), 3, "a text");
    harness.commit("readers-b", &at("read", 0), 0, "");
    harness.commit("readers-a", &at("read", 1), 4, "");
    harness.commit("readers-a", &at("read", 1), 5, "");
    let listing = groups_of_all(&*source).await;
    let info = source.describe().await.expect("it answers");
    assert_eq!(listing.cluster_id, info.cluster_id);
    let groups: Vec<_> = listing.groups.iter().map(|it| it.id.to_string()).collect();
    assert_eq!(groups, ["readers-a", "readers-b"]);
    assert!(listing.groups.iter().all(|it| it.group_type == "classic"));

    let asked = ["readers-b", "nobody", "readers-a"]
        .map(GroupId::new)
        .to_vec();
    let answers = commits(&*source, &asked).await;
    let answered: Vec<_> = answers.iter().map(|it| it.group.clone()).collect();
    assert_eq!(answered, asked);
    let told = |answer: &GroupCommits| {
        let commits = answer.commits.iter().map(|it| {
            assert_eq!(it.leader_epoch, LeaderEpoch::NONE);
            (it.partition.partition, it.offset.0, it.metadata.clone())
        });
        let mut commits: Vec<_> = commits.collect();
        commits.sort();
        commits
    };
    let (text, none) = ("a text".to_owned(), String::new());
    assert_eq!(told(&answers[0]), [(0, 0, none.clone()), (1, 3, text)]);
    assert_eq!(told(&answers[1]), []);
    assert_eq!(told(&answers[2]), [(1, 5, none)]);
}

/// Coordinators that have just become such ask for patience.
async fn groups_of_all(source: &dyn SourceCluster) -> GroupListing {
    let mut seen = Vec::new();
    for _ in 0..ASKED_MAX {
        let listing = source.groups().await.expect("it answers");
        if listing.silent.is_empty() {
            return listing;
        }
        seen = listing.silent;
        tokio::time::sleep(PAUSE).await;
    }
    panic!("no groups are told by {seen:?}");
}

/// As patiently.
async fn commits(source: &dyn SourceCluster, groups: &[GroupId]) -> Vec<GroupCommits> {
    let mut seen = Vec::new();
    for _ in 0..ASKED_MAX {
        let answers = source.group_offsets(groups.to_vec()).await;
        seen = answers.expect("it answers");
        if seen.iter().all(|answer| answer.error == ErrorCode::NONE) {
            return seen;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("groups are answered by {seen:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::batches::batch;
    use crate::testing::source::FakeSource;

    impl Harness for FakeSource {
        fn source(&self) -> Arc<dyn SourceCluster> {
            Arc::new(self.clone())
        }

        fn topic(&self, name: &str, partitions: i32) {
            self.add_topic(name, partitions);
            self.set_config(name, "retention.ms", "-1");
        }

        fn write(&self, at: &TopicPartition, from: i64, count: i32) {
            let epoch = self.epoch(&at.topic, at.partition);
            self.append(&at.topic, at.partition, &batch(from, count, epoch));
        }

        fn trim(&self, at: &TopicPartition, start: i64) {
            FakeSource::trim(self, &at.topic, at.partition, start);
        }

        fn move_leader(&self, at: &TopicPartition) {
            self.lead(&at.topic, at.partition, Some(3));
        }

        fn commit(&self, group: &str, at: &TopicPartition, offset: i64, metadata: &str) {
            self.commit_with(group, &at.topic, at.partition, offset, -1, metadata);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_fake_keeps_the_contract() {
        all(&FakeSource::new()).await;
    }
}

//! Questions about groups: coordinators that move, sources that know old versions only.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::*;
use crate::source::GroupCommits;

/// What the fake brokers know of groups: every group has committed offset `id × 100` of `t`-0, as
/// the broker says that coordinates it.
#[derive(Default)]
pub(super) struct Groups {
    coordinators: Mutex<BTreeMap<String, i32>>,
    /// Offers ListGroups, FindCoordinator and OffsetFetch up to these versions.
    versions: Mutex<[i16; 3]>,
    found: AtomicUsize,
    fetched: AtomicUsize,
}

impl Groups {
    fn new(versions: [i16; 3], coordinators: &[(&str, i32)]) -> Self {
        let named = coordinators.iter();
        Self {
            coordinators: Mutex::new(named.map(|(name, id)| ((*name).to_owned(), *id)).collect()),
            versions: Mutex::new(versions),
            ..Self::default()
        }
    }

    pub(super) fn apis(&self) -> Vec<ApiVersion> {
        let keys = [
            wire::ListGroupsRequest::KEY,
            wire::FindCoordinatorRequest::KEY,
            wire::OffsetFetchRequest::KEY,
        ];
        let offered = keys.into_iter().zip(*self.versions.lock());
        let api = |(key, max)| {
            ApiVersion::default()
                .with_api_key(key)
                .with_max_version(max)
        };
        offered.map(api).collect()
    }

    pub(super) fn list(&self, id: i32) -> wire::ListGroupsResponse {
        let coordinators = self.coordinators.lock();
        let own = coordinators.iter().filter(|(_, owner)| **owner == id);
        let group = |(name, _): (&String, &i32)| {
            ListedGroup::default()
                .with_group_id(wire::GroupId(wire_text(name)))
                .with_protocol_type(wire_text("consumer"))
        };
        wire::ListGroupsResponse::default().with_groups(own.map(group).collect())
    }

    pub(super) fn find(
        &self,
        brokers: &[(i32, u16)],
        request: &wire::FindCoordinatorRequest,
        version: i16,
    ) -> wire::FindCoordinatorResponse {
        self.found.fetch_add(1, Ordering::SeqCst);
        let coordinators = self.coordinators.lock();
        let of = |key: &str| {
            let id = coordinators.get(key).copied();
            let port = brokers.iter().find(|(broker, _)| Some(*broker) == id);
            match (id, port) {
                (Some(id), Some((_, port))) => (id, i32::from(*port), 0),
                _ => (-1, -1, ErrorCode::COORDINATOR_NOT_AVAILABLE.0),
            }
        };
        if version < 4 {
            let (id, port, error) = of(&request.key);
            return wire::FindCoordinatorResponse::default()
                .with_node_id(wire::BrokerId(id))
                .with_host(wire_text("127.0.0.1"))
                .with_port(port)
                .with_error_code(error);
        }
        let answers = request.coordinator_keys.iter().map(|key| {
            let (id, port, error) = of(key);
            Coordinator::default()
                .with_key(key.clone())
                .with_node_id(wire::BrokerId(id))
                .with_host(wire_text("127.0.0.1"))
                .with_port(port)
                .with_error_code(error)
        });
        wire::FindCoordinatorResponse::default().with_coordinators(answers.collect())
    }

    pub(super) fn fetch(
        &self,
        id: i32,
        request: wire::OffsetFetchRequest,
        version: i16,
    ) -> wire::OffsetFetchResponse {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        let coordinators = self.coordinators.lock();
        let is_own = |group: &wire::GroupId| coordinators.get(&*group.0) == Some(&id);
        let error = |group: &wire::GroupId| match is_own(group) {
            true => 0,
            false => ErrorCode::NOT_COORDINATOR.0,
        };
        let (name, offset) = (wire::TopicName(wire_text("t")), i64::from(id) * 100);
        if version < 8 {
            let group = request.group_id;
            let partition = OffsetFetchResponsePartition::default().with_committed_offset(offset);
            let topic = OffsetFetchResponseTopic::default()
                .with_name(name)
                .with_partitions(vec![partition]);
            return wire::OffsetFetchResponse::default()
                .with_error_code(error(&group))
                .with_topics(is_own(&group).then_some(topic).into_iter().collect());
        }
        let answers = request.groups.into_iter().map(|asked| {
            let partition = OffsetFetchResponsePartitions::default().with_committed_offset(offset);
            let topic = OffsetFetchResponseTopics::default()
                .with_name(name.clone())
                .with_partitions(vec![partition]);
            let is_own = is_own(&asked.group_id);
            OffsetFetchResponseGroup::default()
                .with_error_code(error(&asked.group_id))
                .with_group_id(asked.group_id)
                .with_topics(is_own.then_some(topic).into_iter().collect())
        });
        wire::OffsetFetchResponse::default().with_groups(answers.collect())
    }
}

const NEW: [i16; 3] = [5, 6, 9];
const OLD: [i16; 3] = [2, 2, 5];

async fn world(versions: [i16; 3], coordinators: &[(&str, i32)]) -> (Arc<World>, [FakeBroker; 2]) {
    let world = Arc::new(World {
        groups: Groups::new(versions, coordinators),
        ..World::default()
    });
    let brokers = [start(&world, 1).await, start(&world, 2).await];
    (world, brokers)
}

fn ids(names: &[&str]) -> Vec<GroupId> {
    names.iter().map(GroupId::new).collect()
}

fn offsets(answers: &[GroupCommits]) -> Vec<i64> {
    let first = |answer: &GroupCommits| answer.commits.first().map_or(-1, |it| it.offset.0);
    answers.iter().map(first).collect()
}

#[tokio::test]
async fn every_broker_lists_its_groups_and_is_then_asked_for_their_offsets() {
    for versions in [NEW, OLD] {
        let (world, brokers) = world(versions, &[("a", 2), ("b", 1), ("c", 2)]).await;
        let cluster = client(&brokers[0]);
        let listing = cluster.groups().await.unwrap();
        let listed: Vec<&str> = listing
            .groups
            .iter()
            .map(|group| group.id.as_str())
            .collect();
        assert_eq!(listed, ["a", "b", "c"]);
        assert!(listing.silent.is_empty());

        let answers = cluster.group_offsets(ids(&["c", "b", "a"])).await.unwrap();
        assert_eq!(offsets(&answers), [200, 100, 200]);
        assert_eq!(
            world.groups.found.load(Ordering::SeqCst),
            0,
            "the listing said it"
        );
        let fetched = if versions == NEW { 2 } else { 3 };
        assert_eq!(world.groups.fetched.load(Ordering::SeqCst), fetched);
    }
}

#[tokio::test]
async fn a_group_that_moves_is_an_error_once_and_then_found_again() {
    for versions in [NEW, OLD] {
        let (world, brokers) = world(versions, &[("a", 2), ("b", 1)]).await;
        let cluster = client(&brokers[0]);
        cluster.groups().await.unwrap();
        world.groups.coordinators.lock().insert("a".into(), 1);
        let moved = cluster.group_offsets(ids(&["a", "b"])).await.unwrap();
        assert_eq!(moved[0].error, ErrorCode::NOT_COORDINATOR);
        assert_eq!(offsets(&moved), [-1, 100]);
        let found = cluster.group_offsets(ids(&["a", "b"])).await.unwrap();
        assert_eq!(offsets(&found), [100, 100]);
        assert_eq!(world.groups.found.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn groups_whose_coordinator_is_not_there_hold_up_no_others() {
    let (world, [first, second]) = world(NEW, &[("a", 2), ("b", 1)]).await;
    let cluster = client(&first);
    cluster.groups().await.unwrap();
    drop(second);
    // Connections of the lost broker end with its task.
    let answers = cluster
        .group_offsets(ids(&["a", "b", "nobody"]))
        .await
        .unwrap();
    assert_eq!(answers[0].error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(answers[1].error, ErrorCode::NONE);
    assert_eq!(answers[2].error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    let listing = cluster.groups().await.unwrap();
    assert_eq!(listing.groups.len(), 1);
    assert_eq!(listing.silent[0].0, NodeId(2));
    world.groups.coordinators.lock().insert("a".into(), 1);
    let answers = cluster.group_offsets(ids(&["a"])).await.unwrap();
    assert_eq!(offsets(&answers), [100]);
}

#[tokio::test]
async fn many_groups_are_asked_for_in_bounded_requests() {
    for (versions, requests) in [(NEW, 3), (OLD, 120)] {
        let names: Vec<String> = (0..120)
            .map(|number| format!("group-{number:03}"))
            .collect();
        let all: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), 2)).collect();
        let (world, brokers) = world(versions, &all).await;
        let cluster = client(&brokers[0]);
        cluster.describe().await.unwrap();
        let groups: Vec<GroupId> = names.iter().map(GroupId::new).collect();
        let answers = cluster.group_offsets(groups.clone()).await.unwrap();
        assert_eq!(answers.len(), 120);
        assert!(
            answers
                .iter()
                .zip(&groups)
                .all(|(answer, group)| answer.group == *group)
        );
        assert!(offsets(&answers).iter().all(|offset| *offset == 200));
        assert_eq!(world.groups.fetched.load(Ordering::SeqCst), requests);
    }
}

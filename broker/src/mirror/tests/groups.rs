//! The link's own contract of groups, on the real coordinator.

use std::collections::HashMap;

use carrick_link::groups::{GroupCommit, GroupOffset};
use carrick_link::ports::GroupOffsets;
use carrick_link::testing::contract::Harness as _;
use carrick_link::testing::contract::groups::{Harness, all};
use carrick_protocol::ids::GroupId;
use parking_lot::Mutex;

use super::contract::Real;
use super::*;
use crate::group::classic::{CommitFence, JoinRequest, Leaving, MemberInfo, Protocol};
use crate::group::{CommitRequest, NewOffset};
use crate::records::member_ids::MemberId;

struct RealGroups {
    real: Real,
    members: Mutex<HashMap<String, MemberId>>,
}

impl RealGroups {
    fn rig(&self) -> &Rig {
        &self.real.rig
    }

    fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.rig().runtime.as_ref().unwrap().block_on(answer)
    }
}

impl Harness for RealGroups {
    fn groups(&self) -> Arc<dyn GroupOffsets> {
        Arc::clone(&self.rig().ports.groups)
    }

    fn mirror(&self) -> TopicPartition {
        let at = self.real.mirror();
        let mut door = self.rig().ports.target.open(&at, &lease(1)).unwrap();
        door.append(checked(&plain(0, 3)), Offset(3)).unwrap();
        at
    }

    fn ordinary(&self) -> TopicPartition {
        self.real.ordinary()
    }

    fn cut(&self, partition: &TopicPartition) {
        self.real.cut(partition);
    }

    fn join(&self, group: &str) {
        let request = JoinRequest {
            member_id: "".into(),
            fresh_member_id: "fresh".into(),
            protocol_type: "consumer".into(),
            info: MemberInfo {
                instance_id: None,
                client_id: "client".into(),
                client_host: "/127.0.0.1".into(),
                session_timeout_ms: 30_000,
                rebalance_timeout_ms: 30_000,
                protocols: vec![Protocol {
                    name: "range".into(),
                    metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\0\0\0\0"),
                }],
            },
            member_id_required: false,
            may_skip_assignment: true,
        };
        let rig = self.rig();
        let joined = rig.groups.join(&GroupId::new(group), request);
        let joined = self.wait(joined);
        assert_eq!(joined.error, None);
        let mut members = self.members.lock();
        members.insert(group.to_owned(), joined.member_id);
    }

    fn leave(&self, group: &str) {
        let leaving = [Leaving {
            member_id: self.members.lock().remove(group).unwrap(),
            instance_id: None,
        }];
        let rig = self.rig();
        let left = rig.groups.leave(&GroupId::new(group), &leaving);
        assert_eq!(self.wait(left), Ok(vec![Ok(())]));
    }

    fn committed(&self, group: &str, partition: &TopicPartition) -> Option<GroupOffset> {
        let wanted = [(partition.topic.as_str(), &[partition.partition][..])];
        let fetched = self
            .rig()
            .groups
            .fetch_some(&GroupId::new(group), &wanted, false);
        let fetched = fetched.unwrap().remove(0).remove(0);
        fetched.committed().map(|committed| GroupOffset {
            partition: partition.clone(),
            offset: committed.offset,
            leader_epoch: committed.leader_epoch,
            metadata: committed.metadata.clone(),
        })
    }

    fn client_commits(&self, group: &str, partition: &TopicPartition, offset: i64) {
        let rig = self.rig();
        let topic = rig.topic(&partition.topic).unwrap();
        let request = CommitRequest {
            fence: CommitFence {
                member_id: "".into(),
                instance_id: None,
                generation: -1,
                knows_epochs: true,
            },
            retention_ms: None,
            knows_group_not_found: true,
            offsets: vec![NewOffset {
                topic: partition.topic.clone(),
                topic_id: topic.id(),
                partition: partition.partition,
                offset: Offset(offset),
                leader_epoch: LeaderEpoch::NONE,
                metadata: String::new(),
            }],
        };
        let committed = rig.groups.commit(&GroupId::new(group), request);
        assert_eq!(self.wait(committed), Ok(vec![Ok(())]));
    }
}

#[test]
fn real_groups_keep_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    all(&RealGroups {
        real: Real::new(Rig::open(&dir)),
        members: Mutex::default(),
    });
}

#[test]
fn synced_offsets_survive_a_restart_and_a_deleted_link_takes_its_report_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let offset = GroupOffset {
        partition: tp(1),
        offset: Offset(7),
        leader_epoch: LeaderEpoch::NONE,
        metadata: "text".to_owned(),
    };
    let commit = GroupCommit {
        group: GroupId::new("billing"),
        offsets: vec![offset],
        after_cut: Vec::new(),
    };
    {
        let rig = Rig::with_mirror(&dir);
        let answers = rig.ports.groups.commit(std::slice::from_ref(&commit));
        assert_eq!(answers[0].as_ref().unwrap().written, 1);
    }
    let rig = Rig::open(&dir);
    let wanted = [("orders", &[1][..])];
    let fetched = rig
        .groups
        .fetch_some(&commit.group, &wanted, false)
        .unwrap();
    let committed = fetched[0][0].committed().unwrap();
    assert_eq!(
        (committed.offset, committed.metadata.as_str()),
        (Offset(7), "text")
    );

    let link = lease(1).link;
    let sync = carrick_link::groups::GroupSync {
        source_group: "billing".to_owned(),
        group: "billing".to_owned(),
        state: carrick_link::groups::GroupSyncState::Synced,
        error: carrick_link::state::TaskErrorCode::NoError,
        error_detail: String::new(),
        since_ms: 1,
        synced_ms: Some(1),
        told_ms: Some(1),
        partitions: Vec::new(),
    };
    let groups = &rig.ports.groups;
    groups
        .save_syncs(&link, std::slice::from_ref(&sync), &[])
        .unwrap();
    rig.ports.store.delete_link(&link).unwrap();
    assert_eq!(groups.load_syncs(&link), Ok(Vec::new()));
}

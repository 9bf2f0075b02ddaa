//! What every [`GroupOffsets`] must do, whatever is behind it.

use std::sync::Arc;

use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicPartition};

use crate::groups::{
    AfterCut, GroupCommit, GroupCommitted, GroupOffset, GroupSync, GroupSyncState, PartitionSync,
};
use crate::ports::{GroupOffsets, GroupRefusal};
use crate::record::LinkName;
use crate::state::TaskErrorCode;

/// What the suite needs of an implementation. Groups that it names were not there before.
pub trait Harness {
    fn groups(&self) -> Arc<dyn GroupOffsets>;
    /// A partition of a new mirror topic, for which clients see leader epoch 3.
    fn mirror(&self) -> TopicPartition;
    /// A partition of a new topic that is no mirror.
    fn ordinary(&self) -> TopicPartition;
    /// Makes the mirror an ordinary topic, as failover does.
    fn cut(&self, partition: &TopicPartition);
    /// A member joins the group.
    fn join(&self, group: &str);
    /// It leaves.
    fn leave(&self, group: &str);
    /// What a client that fetches the group's offset is answered.
    fn committed(&self, group: &str, partition: &TopicPartition) -> Option<GroupOffset>;
    /// A client that is no member commits an offset.
    fn client_commits(&self, group: &str, partition: &TopicPartition, offset: i64);
}

/// The whole suite.
pub fn all(harness: &dyn Harness) {
    offsets_are_kept_with_epoch_and_text(harness);
    nothing_is_written_where_nothing_changes(harness);
    a_group_with_members_is_left_alone(harness);
    a_refused_offset_refuses_its_group_whole_and_no_other(harness);
    only_partitions_of_mirrors_are_committed(harness);
    a_sync_that_comes_after_the_cut_overwrites_nothing(harness);
    after_a_cut_only_what_a_sync_gave_is_replaced(harness);
    an_epoch_that_no_client_is_told_of_is_left_out(harness);
    what_is_kept_of_syncs_reads_back(harness);
}

fn offset(partition: &TopicPartition, offset: i64) -> GroupOffset {
    GroupOffset {
        partition: partition.clone(),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(2),
        metadata: "text".to_owned(),
    }
}

fn commit(group: &str, offsets: &[GroupOffset]) -> GroupCommit {
    GroupCommit {
        group: GroupId::new(group),
        offsets: offsets.to_vec(),
        after_cut: Vec::new(),
    }
}

fn give_after_cut(
    harness: &dyn Harness,
    group: &str,
    offset: &GroupOffset,
    instead_of: Option<i64>,
) -> usize {
    let after_cut = AfterCut {
        offset: offset.clone(),
        instead_of: instead_of.map(Offset),
    };
    let given = GroupCommit {
        after_cut: vec![after_cut],
        ..commit(group, &[])
    };
    let mut answers = harness.groups().commit(&[given]);
    let answer = answers.remove(0).expect("it is no error");
    let left_out = vec![offset.partition.clone()];
    let expected = if answer.written == 0 {
        left_out
    } else {
        Vec::new()
    };
    assert_eq!(answer.left_out, expected);
    answer.written
}

fn give(
    harness: &dyn Harness,
    group: &str,
    offsets: &[GroupOffset],
) -> Result<GroupCommitted, GroupRefusal> {
    let mut answers = harness.groups().commit(&[commit(group, offsets)]);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

fn written(written: usize) -> Result<GroupCommitted, GroupRefusal> {
    Ok(GroupCommitted {
        written,
        left_out: Vec::new(),
    })
}

/// A client gets the committed offset, and may continue from it.
pub fn offsets_are_kept_with_epoch_and_text(harness: &dyn Harness) {
    let (one, other) = (harness.mirror(), harness.mirror());
    let offsets = [offset(&one, 7), offset(&other, 0)];
    assert_eq!(give(harness, "kept", &offsets), written(2));
    assert_eq!(harness.committed("kept", &one), Some(offset(&one, 7)));
    assert_eq!(harness.committed("kept", &other), Some(offset(&other, 0)));
    assert_eq!(
        give(harness, "kept", &[offset(&one, 3)]),
        written(1),
        "back, too"
    );
    assert_eq!(harness.committed("kept", &one), Some(offset(&one, 3)));
    assert_eq!(harness.committed("kept", &other), Some(offset(&other, 0)));
}

/// Every sync reports all offsets again.
pub fn nothing_is_written_where_nothing_changes(harness: &dyn Harness) {
    let (one, other) = (harness.mirror(), harness.mirror());
    let offsets = [offset(&one, 7), offset(&other, 8)];
    assert_eq!(give(harness, "same", &offsets), written(2));
    assert_eq!(give(harness, "same", &offsets), written(0));
    let moved = [offset(&one, 7), offset(&other, 9)];
    assert_eq!(give(harness, "same", &moved), written(1));
    let without_text = GroupOffset {
        metadata: String::new(),
        ..offset(&one, 7)
    };
    assert_eq!(give(harness, "same", &[without_text]), written(1));
}

/// Its offsets are its members' business, until they are gone.
pub fn a_group_with_members_is_left_alone(harness: &dyn Harness) {
    let at = harness.mirror();
    assert_eq!(give(harness, "used", &[offset(&at, 7)]), written(1));
    harness.join("used");
    for _ in 0..2 {
        let refused = give(harness, "used", &[offset(&at, 9)]);
        assert!(
            matches!(refused, Err(GroupRefusal::InUse(_))),
            "{refused:?}"
        );
        assert_eq!(harness.committed("used", &at), Some(offset(&at, 7)));
    }
    harness.leave("used");
    assert_eq!(give(harness, "used", &[offset(&at, 9)]), written(1));
}

/// All or nothing, group by group, answered in order.
pub fn a_refused_offset_refuses_its_group_whole_and_no_other(harness: &dyn Harness) {
    let (one, other) = (harness.mirror(), harness.mirror());
    let too_long = GroupOffset {
        metadata: "x".repeat(5_000),
        ..offset(&other, 1)
    };
    let answers = harness.groups().commit(&[
        commit("first", &[offset(&one, 1)]),
        commit("second", &[offset(&one, 2), too_long]),
        commit("third", &[offset(&one, 3)]),
    ]);
    assert_eq!(answers[0], written(1));
    assert!(
        matches!(answers[1], Err(GroupRefusal::Limit(_))),
        "{answers:?}"
    );
    assert_eq!(answers[2], written(1));
    assert_eq!(harness.committed("first", &one), Some(offset(&one, 1)));
    assert_eq!(harness.committed("second", &one), None);
    assert_eq!(harness.committed("third", &one), Some(offset(&one, 3)));
}

/// Not of ordinary topics, nor of partitions that aren't there.
pub fn only_partitions_of_mirrors_are_committed(harness: &dyn Harness) {
    let (mirror, ordinary) = (harness.mirror(), harness.ordinary());
    let beyond = TopicPartition::new(mirror.topic.clone(), 999);
    let offsets = [offset(&ordinary, 1), offset(&mirror, 2), offset(&beyond, 3)];
    let expected = GroupCommitted {
        written: 1,
        left_out: vec![ordinary.clone(), beyond],
    };
    assert_eq!(give(harness, "mirrors", &offsets), Ok(expected));
    assert_eq!(harness.committed("mirrors", &ordinary), None);
    assert_eq!(
        harness.committed("mirrors", &mirror),
        Some(offset(&mirror, 2))
    );
}

/// What clients have committed since stays.
pub fn a_sync_that_comes_after_the_cut_overwrites_nothing(harness: &dyn Harness) {
    let at = harness.mirror();
    assert_eq!(give(harness, "moved", &[offset(&at, 5)]), written(1));
    harness.cut(&at);
    harness.client_commits("moved", &at, 11);
    let late = give(harness, "moved", &[offset(&at, 6)]).expect("it is no error");
    assert_eq!((late.written, late.left_out), (0, vec![at.clone()]));
    let committed = harness.committed("moved", &at).expect("it is there");
    assert_eq!(committed.offset, Offset(11));
}

/// What a sync has given before, and nothing that a client has.
pub fn after_a_cut_only_what_a_sync_gave_is_replaced(harness: &dyn Harness) {
    let (at, other) = (harness.mirror(), harness.mirror());
    assert_eq!(give(harness, "late", &[offset(&at, 5)]), written(1));
    harness.cut(&at);
    harness.cut(&other);
    assert_eq!(give_after_cut(harness, "late", &offset(&at, 7), Some(4)), 0);
    assert_eq!(give_after_cut(harness, "late", &offset(&at, 7), None), 0);
    assert_eq!(give_after_cut(harness, "late", &offset(&at, 7), Some(5)), 1);
    assert_eq!(harness.committed("late", &at), Some(offset(&at, 7)));
    assert_eq!(give_after_cut(harness, "late", &offset(&other, 2), None), 1);
    harness.client_commits("late", &at, 11);
    assert_eq!(give_after_cut(harness, "late", &offset(&at, 9), Some(7)), 0);
    let committed = harness.committed("late", &at).expect("it is there");
    assert_eq!(committed.offset, Offset(11));
    assert_eq!(
        give_after_cut(harness, "nobody", &offset(&at, 9), Some(7)),
        0
    );
    assert_eq!(harness.committed("nobody", &at), None);
}

/// A consumer that knows a later epoch than the metadata name asks for metadata for ever.
pub fn an_epoch_that_no_client_is_told_of_is_left_out(harness: &dyn Harness) {
    let (known, unknown) = (harness.mirror(), harness.mirror());
    let with_epoch = |at: &TopicPartition, epoch| GroupOffset {
        leader_epoch: LeaderEpoch(epoch),
        ..offset(at, 1)
    };
    let offsets = [with_epoch(&known, 3), with_epoch(&unknown, 1_000)];
    assert_eq!(give(harness, "epochs", &offsets), written(2));
    assert_eq!(
        harness.committed("epochs", &known),
        Some(with_epoch(&known, 3))
    );
    let left_out = with_epoch(&unknown, LeaderEpoch::NONE.0);
    assert_eq!(harness.committed("epochs", &unknown), Some(left_out));
    assert_eq!(give(harness, "epochs", &offsets), written(0));
}

/// Link by link.
pub fn what_is_kept_of_syncs_reads_back(harness: &dyn Harness) {
    let groups = harness.groups();
    let (link, other) = ("keeper", "keeper2");
    let name = |name| LinkName::new(name).expect("a name");
    let sync = |group: &str, synced_ms| GroupSync {
        source_group: group.to_owned(),
        group: format!("eu-{group}"),
        state: GroupSyncState::Skipped,
        error: TaskErrorCode::ConsumerGroupInUseError,
        error_detail: "it has members".to_owned(),
        since_ms: 5,
        synced_ms: Some(synced_ms),
        told_ms: Some(synced_ms),
        partitions: vec![PartitionSync {
            topic: "orders".to_owned(),
            partition: 1,
            source_offset: 9,
            synced_offset: Some(8),
            skipped: Some("it could not be told".to_owned()),
        }],
    };
    let save = |link, syncs: &[GroupSync], gone: &[&str]| {
        let gone: Vec<String> = gone.iter().map(ToString::to_string).collect();
        assert_eq!(groups.save_syncs(&name(link), syncs, &gone), Ok(()));
    };
    save(link, &[sync("a", 1), sync("ab", 2)], &[]);
    save(other, &[sync("a", 3)], &[]);
    assert_eq!(
        groups.load_syncs(&name(link)),
        Ok(vec![sync("a", 1), sync("ab", 2)])
    );
    save(link, &[sync("ab", 4)], &["a", "nobody"]);
    assert_eq!(groups.load_syncs(&name(link)), Ok(vec![sync("ab", 4)]));
    assert_eq!(groups.load_syncs(&name(other)), Ok(vec![sync("a", 3)]));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use carrick_protocol::ids::TopicName;

    use super::*;
    use crate::ports::{Lease, MirrorTarget};
    use crate::testing::batches::{batch, checked};
    use crate::testing::here::FakeHere;

    struct Fake {
        here: FakeHere,
        next: AtomicU32,
    }

    impl Fake {
        fn name(&self) -> TopicName {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            TopicName::new(format!("topic-{number}")).expect("a name")
        }
    }

    impl Harness for Fake {
        fn groups(&self) -> Arc<dyn GroupOffsets> {
            Arc::new(self.here.clone())
        }

        fn mirror(&self) -> TopicPartition {
            let link = LinkName::new("link").expect("a name");
            let at = self.here.add_mirror(self.name(), link.clone());
            let lease = Lease { link, epoch: 1 };
            let mut door = self.here.open(&at, &lease).expect("it is a mirror");
            door.append(checked(&batch(0, 1, 3)), Offset(1))
                .expect("it takes batches");
            at
        }

        fn ordinary(&self) -> TopicPartition {
            let topic = self.name();
            self.here.add_topic(&topic, 1);
            TopicPartition::new(topic, 0)
        }

        fn cut(&self, partition: &TopicPartition) {
            self.here.make_ordinary(&partition.topic);
        }

        fn join(&self, group: &str) {
            self.here.set_members(group, true);
        }

        fn leave(&self, group: &str) {
            self.here.set_members(group, false);
        }

        fn committed(&self, group: &str, partition: &TopicPartition) -> Option<GroupOffset> {
            self.here.committed(group, partition)
        }

        fn client_commits(&self, group: &str, partition: &TopicPartition, offset: i64) {
            let (topic, partition) = (&partition.topic, partition.partition);
            self.here.commit_here(group, topic, partition, offset);
        }
    }

    #[test]
    fn the_fake_keeps_the_contract() {
        all(&Fake {
            here: FakeHere::new(),
            next: AtomicU32::new(0),
        });
    }
}

//! What every [`MirrorTarget`] must do, whatever is behind it; what [`topics`] says of the catalog,
//! [`store`] of the store, and [`groups`] of groups; and what [`source`] says of every source. A real
//! adapter's test calls [`all`] (or the functions one by one).

pub mod acls;
pub mod groups;
pub mod source;
pub mod store;
pub mod topics;

use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicName, TopicPartition};

use super::batches::{batch, checked, joined};
use crate::ports::{
    Lease, LinkStore, LocalBatches, MirrorPartition, MirrorTarget, TargetError, TopicCatalog,
};
use crate::record::{LinkName, PartitionSight, SourceSight};

/// What the suite needs of an implementation.
pub trait Harness {
    fn target(&self) -> Arc<dyn MirrorTarget>;
    /// What is stored in it.
    fn local(&self) -> Arc<dyn LocalBatches>;
    fn catalog(&self) -> Arc<dyn TopicCatalog>;
    /// Links, mirrors and reports.
    fn store(&self) -> Arc<dyn LinkStore>;
    /// A name that no topic has.
    fn fresh(&self) -> TopicName;
    /// The leader epoch that consumers see.
    fn leader_epoch(&self, partition: &TopicPartition) -> LeaderEpoch;
    /// The link that mirrors belong to.
    fn link(&self) -> LinkName;
    /// A new, empty partition of a new mirror topic of that link.
    fn mirror(&self) -> TopicPartition;
    /// A partition of a new topic that is no mirror.
    fn ordinary(&self) -> TopicPartition;
    /// The topic is deleted, and what is kept of its mirror with it.
    fn delete(&self, topic: &TopicName);
    /// Makes the mirror an ordinary topic, as failover does.
    fn cut(&self, partition: &TopicPartition);
}

/// The whole suite.
pub fn all(harness: &dyn Harness) {
    batches_are_stored_as_they_are(harness);
    gaps_are_kept_and_going_back_is_refused(harness);
    a_refused_run_leaves_nothing(harness);
    a_newer_lease_fences_the_older(harness);
    a_cut_fences_every_lease(harness);
    only_mirrors_of_that_link_can_be_opened(harness);
    the_high_watermark_follows_the_source_up_to_the_end(harness);
    the_log_start_may_lie_inside_a_batch(harness);
    the_end_can_move_over_what_the_source_does_not_hold(harness);
    epochs_end_where_the_next_begins(harness);
    truncation_removes_whole_batches(harness);
    an_emptied_log_starts_anew_where_it_is_told(harness);
    what_was_stored_is_there_after_opening_again(harness);
    topics::mirrors_come_together_and_each_is_answered(harness);
    topics::a_mirror_keeps_configs_of_its_own(harness);
    topics::reports_are_kept_together(harness);
    store::a_link_is_kept_as_it_was_saved_last(harness);
    store::a_link_goes_with_its_mirrors(harness);
    store::mirrors_are_kept_as_they_were_saved_last(harness);
    store::reports_are_replaced_all_or_none(harness);
    store::nothing_is_written_of_a_mirror_that_is_gone(harness);
    store::a_report_goes_when_its_mirror_goes_on(harness);
    leader_epochs_of_mirrors_go_up_and_never_back(harness);
    sights_are_kept_of_live_mirrors_only(harness);
}

fn open(harness: &dyn Harness, at: &TopicPartition, epoch: u64) -> Box<dyn MirrorPartition> {
    let lease = Lease {
        link: harness.link(),
        epoch,
    };
    harness
        .target()
        .open(at, &lease)
        .expect("a mirror can be opened")
}

fn stored(harness: &dyn Harness, at: &TopicPartition, from: i64) -> Bytes {
    harness
        .local()
        .read(at, Offset(from), usize::MAX >> 1)
        .expect("it can be read")
}

/// Not a byte is changed: leader epoch and base offset included.
pub fn batches_are_stored_as_they_are(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    assert_eq!(
        (mirror.log_start(), mirror.next_offset()),
        (Offset(0), Offset(0))
    );
    assert_eq!(mirror.last_epoch(), None);
    let run = joined(&[batch(0, 3, 4), batch(3, 2, 7)]);
    assert_eq!(mirror.append(checked(&run), Offset(5)), Ok(Offset(5)));
    assert_eq!(mirror.next_offset(), Offset(5));
    assert_eq!(mirror.last_epoch(), Some(LeaderEpoch(7)));
    assert_eq!(stored(harness, &at, 0), run);
    assert_eq!(
        stored(harness, &at, 4),
        batch(3, 2, 7),
        "the batch that holds the offset"
    );
    let ends = harness.local().ends(&at).expect("it has ends");
    assert_eq!((ends.log_start, ends.end), (Offset(0), Offset(5)));
    assert_eq!(
        ends.last_timestamp_ms,
        Some(super::batches::FIRST_TIMESTAMP_MS + 4)
    );
}

/// Offsets may jump ahead, never back.
pub fn gaps_are_kept_and_going_back_is_refused(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    let run = joined(&[batch(10, 2, 0), batch(40, 1, 0)]);
    assert_eq!(mirror.append(checked(&run), Offset(41)), Ok(Offset(41)));
    assert_eq!(stored(harness, &at, 0), run);
    let back = mirror.append(checked(&batch(40, 5, 0)), Offset(45));
    assert!(
        matches!(back, Err(TargetError::NonMonotonic { .. })),
        "{back:?}"
    );
    assert_eq!(mirror.next_offset(), Offset(41));
}

/// All or nothing.
pub fn a_refused_run_leaves_nothing(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    assert_eq!(
        mirror.append(checked(&batch(0, 5, 0)), Offset(5)),
        Ok(Offset(5))
    );
    let run = joined(&[batch(3, 1, 0), batch(7, 1, 0)]);
    assert!(mirror.append(checked(&run), Offset(8)).is_err());
    assert_eq!(mirror.next_offset(), Offset(5));
    assert_eq!(stored(harness, &at, 0), batch(0, 5, 0));
}

/// Late writes of an old lease do nothing.
pub fn a_newer_lease_fences_the_older(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut old = open(harness, &at, 5);
    let mut new = open(harness, &at, 6);
    assert_eq!(
        old.append(checked(&batch(0, 1, 0)), Offset(1)),
        Err(TargetError::Fenced)
    );
    assert_eq!(old.skip_to(Offset(9)), Err(TargetError::Fenced));
    assert_eq!(old.trim_to(Offset(0)), Err(TargetError::Fenced));
    assert_eq!(old.truncate_to(Offset(0)), Err(TargetError::Fenced));
    assert_eq!(
        new.append(checked(&batch(0, 1, 0)), Offset(1)),
        Ok(Offset(1))
    );
    let older = Lease {
        link: harness.link(),
        epoch: 5,
    };
    let refused = harness.target().open(&at, &older).map(|_| ());
    assert_eq!(refused, Err(TargetError::Fenced));
}

/// Nothing gets in once the topic is an ordinary one.
pub fn a_cut_fences_every_lease(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    assert_eq!(
        mirror.append(checked(&batch(0, 2, 0)), Offset(2)),
        Ok(Offset(2))
    );
    harness.cut(&at);
    assert_eq!(
        mirror.append(checked(&batch(2, 1, 0)), Offset(3)),
        Err(TargetError::Fenced)
    );
    assert_eq!(stored(harness, &at, 0), batch(0, 2, 0));
    let lease = Lease {
        link: harness.link(),
        epoch: 2,
    };
    assert_eq!(
        harness.target().open(&at, &lease).map(|_| ()),
        Err(TargetError::NotAMirror)
    );
}

/// Not an ordinary topic, not one that isn't there, not another link's.
pub fn only_mirrors_of_that_link_can_be_opened(harness: &dyn Harness) {
    let lease = Lease {
        link: harness.link(),
        epoch: 1,
    };
    let target = harness.target();
    let refused = target.open(&harness.ordinary(), &lease).map(|_| ());
    assert_eq!(refused, Err(TargetError::NotAMirror));
    let mut at = harness.mirror();
    let other = Lease {
        link: LinkName::new("another-link").expect("a name"),
        epoch: 1,
    };
    let refused = target.open(&at, &other).map(|_| ());
    assert_eq!(refused, Err(TargetError::WrongLink(harness.link())));
    at.partition = 999;
    let refused = target.open(&at, &lease).map(|_| ());
    assert_eq!(refused, Err(TargetError::NoSuchPartition));
}

/// min(end, source's), and never back.
pub fn the_high_watermark_follows_the_source_up_to_the_end(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    let high_watermark = || {
        harness
            .local()
            .ends(&at)
            .expect("it has ends")
            .high_watermark
    };
    assert_eq!(
        mirror.append(checked(&batch(0, 10, 0)), Offset(4)),
        Ok(Offset(10))
    );
    assert_eq!(high_watermark(), Offset(4));
    assert_eq!(mirror.observe_source(Offset(8)), Ok(()));
    assert_eq!(high_watermark(), Offset(8));
    assert_eq!(mirror.observe_source(Offset(100)), Ok(()));
    assert_eq!(high_watermark(), Offset(10));
    assert_eq!(mirror.observe_source(Offset(3)), Ok(()));
    assert_eq!(high_watermark(), Offset(10));
}

/// DeleteRecords at the source may end inside a batch.
pub fn the_log_start_may_lie_inside_a_batch(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    let run = joined(&[batch(0, 5, 0), batch(5, 5, 0)]);
    assert_eq!(mirror.append(checked(&run), Offset(10)), Ok(Offset(10)));
    assert_eq!(mirror.trim_to(Offset(7)), Ok(()));
    assert_eq!(mirror.log_start(), Offset(7));
    assert_eq!(
        stored(harness, &at, 7),
        batch(5, 5, 0),
        "the batch that holds the start, whole"
    );
    assert_eq!(
        mirror.trim_to(Offset(2)),
        Ok(()),
        "going back has no effect"
    );
    assert_eq!(mirror.log_start(), Offset(7));
    let beyond = mirror.trim_to(Offset(11));
    assert!(
        matches!(beyond, Err(TargetError::NonMonotonic { .. })),
        "{beyond:?}"
    );
    assert_eq!(mirror.log_start(), Offset(7));
}

/// A gap at the tail, without bytes.
pub fn the_end_can_move_over_what_the_source_does_not_hold(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    assert_eq!(
        mirror.append(checked(&batch(0, 2, 0)), Offset(2)),
        Ok(Offset(2))
    );
    assert_eq!(mirror.skip_to(Offset(100)), Ok(()));
    assert_eq!(mirror.next_offset(), Offset(100));
    assert_eq!(
        mirror.skip_to(Offset(50)),
        Ok(()),
        "going back has no effect"
    );
    assert_eq!(mirror.next_offset(), Offset(100));
    assert_eq!(mirror.observe_source(Offset(100)), Ok(()));
    assert_eq!(
        mirror.append(checked(&batch(100, 1, 0)), Offset(101)),
        Ok(Offset(101))
    );
    assert_eq!(stored(harness, &at, 2), batch(100, 1, 0));
    let below = mirror.append(checked(&batch(60, 1, 0)), Offset(101));
    assert!(
        matches!(below, Err(TargetError::NonMonotonic { .. })),
        "{below:?}"
    );
}

/// What the follower's truncation algorithm asks.
pub fn epochs_end_where_the_next_begins(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    assert_eq!(mirror.epoch_end(LeaderEpoch(9)), None);
    let run = joined(&[batch(0, 5, 2), batch(5, 5, 2), batch(10, 5, 6)]);
    assert_eq!(mirror.append(checked(&run), Offset(15)), Ok(Offset(15)));
    let end = |epoch| mirror.epoch_end(LeaderEpoch(epoch));
    assert_eq!(end(1), None);
    assert_eq!(end(2), Some((LeaderEpoch(2), Offset(10))));
    assert_eq!(end(4), Some((LeaderEpoch(2), Offset(10))));
    assert_eq!(end(6), Some((LeaderEpoch(6), Offset(15))));
    assert_eq!(end(7), Some((LeaderEpoch(6), Offset(15))));
}

/// And with them the high watermark and the epochs.
pub fn truncation_removes_whole_batches(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    let run = joined(&[batch(0, 5, 1), batch(5, 5, 2), batch(10, 5, 3)]);
    assert_eq!(mirror.append(checked(&run), Offset(15)), Ok(Offset(15)));
    assert_eq!(
        mirror.truncate_to(Offset(99)),
        Ok(()),
        "beyond the end: no effect"
    );
    assert_eq!(mirror.truncate_to(Offset(10)), Ok(()));
    assert_eq!(mirror.next_offset(), Offset(10));
    assert_eq!(mirror.last_epoch(), Some(LeaderEpoch(2)));
    assert_eq!(
        mirror.truncate_to(Offset(7)),
        Ok(()),
        "inside a batch: it goes whole"
    );
    assert!((Offset(5)..=Offset(7)).contains(&mirror.next_offset()));
    assert_eq!(stored(harness, &at, 0), batch(0, 5, 1));
    let ends = harness.local().ends(&at).expect("it has ends");
    assert!(ends.high_watermark <= ends.end);
    assert_eq!(
        mirror.append(checked(&batch(7, 3, 4)), Offset(10)),
        Ok(Offset(10))
    );
}

/// The source has lost all that is here.
pub fn an_emptied_log_starts_anew_where_it_is_told(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    assert_eq!(
        mirror.append(checked(&batch(50, 10, 1)), Offset(60)),
        Ok(Offset(60))
    );
    assert_eq!(mirror.trim_to(Offset(50)), Ok(()));
    assert_eq!(mirror.truncate_to(Offset(20)), Ok(()));
    assert_eq!(
        (mirror.log_start(), mirror.next_offset()),
        (Offset(20), Offset(20))
    );
    assert_eq!(mirror.last_epoch(), None);
    assert_eq!(
        mirror.append(checked(&batch(20, 1, 2)), Offset(21)),
        Ok(Offset(21))
    );
    assert_eq!(stored(harness, &at, 20), batch(20, 1, 2));
}

/// Releasing a lease takes nothing with it.
pub fn what_was_stored_is_there_after_opening_again(harness: &dyn Harness) {
    let at = harness.mirror();
    let mut mirror = open(harness, &at, 1);
    assert_eq!(
        mirror.append(checked(&batch(0, 5, 3)), Offset(5)),
        Ok(Offset(5))
    );
    assert_eq!(mirror.trim_to(Offset(2)), Ok(()));
    drop(mirror);
    let mirror = open(harness, &at, 2);
    assert_eq!(
        (mirror.log_start(), mirror.next_offset()),
        (Offset(2), Offset(5))
    );
    assert_eq!(mirror.last_epoch(), Some(LeaderEpoch(3)));
}

/// Consumers see the source's epochs, whatever is in the log.
pub fn leader_epochs_of_mirrors_go_up_and_never_back(harness: &dyn Harness) {
    let (at, local) = (harness.mirror(), harness.ordinary());
    let catalog = harness.catalog();
    let raise = |epoch| {
        let gone = TopicPartition::new(at.topic.clone(), 99);
        let all = [at.clone(), gone, local.clone()].map(|key| (key, LeaderEpoch(epoch)));
        catalog.raise_leader_epochs(&all)
    };
    assert_eq!(raise(7), Ok(()));
    assert_eq!(harness.leader_epoch(&at), LeaderEpoch(7));
    assert_eq!(raise(3), Ok(()));
    assert_eq!(harness.leader_epoch(&at), LeaderEpoch(7));
    assert!(harness.leader_epoch(&local) < LeaderEpoch(3), "no mirror");
    let mut mirror = open(harness, &at, 1);
    assert_eq!(
        mirror.append(checked(&batch(0, 2, 5)), Offset(2)),
        Ok(Offset(2))
    );
    assert_eq!(mirror.last_epoch(), Some(LeaderEpoch(5)));
    assert_eq!(harness.leader_epoch(&at), LeaderEpoch(7));
}

/// What was last seen of a source goes with the mirror.
pub fn sights_are_kept_of_live_mirrors_only(harness: &dyn Harness) {
    let (at, local) = (harness.mirror(), harness.ordinary());
    let store = harness.store();
    let seen = |topic: &TopicPartition, end| SourceSight {
        topic: topic.topic.clone(),
        partitions: vec![PartitionSight {
            partition: 0,
            high_watermark: Offset(end),
            seen_at_ms: 5,
            caught_up_ms: None,
        }],
    };
    let kept = || -> Vec<SourceSight> {
        let all = store.load_sights().expect("they can be read");
        let ours = all
            .into_iter()
            .filter(|sight| sight.topic == at.topic || sight.topic == local.topic);
        ours.collect()
    };
    for end in [10, 20] {
        let sights = [seen(&at, end), seen(&local, end)];
        assert_eq!(store.save_sights(&sights), Ok(()));
        assert_eq!(kept(), [seen(&at, end)]);
    }
    harness.cut(&at);
    let is_gone = kept().is_empty();
    assert!(is_gone, "a mirror that was stopped has no source");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::testing::here::FakeHere;

    struct Fake {
        here: FakeHere,
        next: AtomicU32,
    }

    impl Fake {
        fn name(&self) -> TopicName {
            TopicName::new(format!(
                "topic-{}",
                self.next.fetch_add(1, Ordering::Relaxed)
            ))
            .expect("a name")
        }
    }

    impl Harness for Fake {
        fn fresh(&self) -> TopicName {
            self.name()
        }

        fn target(&self) -> Arc<dyn MirrorTarget> {
            Arc::new(self.here.clone())
        }

        fn local(&self) -> Arc<dyn LocalBatches> {
            Arc::new(self.here.clone())
        }

        fn catalog(&self) -> Arc<dyn TopicCatalog> {
            Arc::new(self.here.clone())
        }

        fn store(&self) -> Arc<dyn LinkStore> {
            Arc::new(self.here.clone())
        }

        fn leader_epoch(&self, at: &TopicPartition) -> LeaderEpoch {
            self.here.leader_epoch(&at.topic, at.partition)
        }

        fn link(&self) -> LinkName {
            LinkName::new("link").expect("a name")
        }

        fn mirror(&self) -> TopicPartition {
            self.here.add_mirror(self.name(), self.link())
        }

        fn ordinary(&self) -> TopicPartition {
            let topic = self.name();
            self.here.add_topic(&topic, 1);
            TopicPartition::new(topic, 0)
        }

        fn delete(&self, topic: &TopicName) {
            self.here.delete_topic(topic);
        }

        fn cut(&self, partition: &TopicPartition) {
            self.here.make_ordinary(&partition.topic);
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

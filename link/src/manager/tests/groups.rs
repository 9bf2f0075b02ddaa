//! `ConsumerOffsetSync`: whose offsets come here, clamped to what, and what is said of them.

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset};

use super::*;
use crate::groups::{GroupSyncDescription, GroupSyncState, PartitionSyncDescription};

const EVERY_GROUP: &str =
    r#"{"groupFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}"#;

impl World {
    /// A mirror of one partition with ten records, and the sync switched on.
    async fn syncing(filters: &str) -> Self {
        let world = Self::mirroring("orders", 1).await;
        world
            .configure(&[
                ("consumer.offset.sync.enable", "true"),
                ("consumer.offset.sync.ms", "1000"),
                ("consumer.offset.group.filters", filters),
            ])
            .await;
        world
    }

    async fn configure(&self, configs: &[(&str, &str)]) {
        let change = |(name, value): &(&str, &str)| ((*name).into(), Some((*value).into()));
        let changes = configs.iter().map(change).collect();
        let altered = self
            .manager
            .alter_link_configs("dr", changes, AlterLink::default());
        altered.await.unwrap();
    }

    /// Waits until the group has that offset here.
    async fn committed(&self, group: &str, offset: i64) {
        let has = || self.offset(group) == Some(offset);
        until(&format!("{group} to be at {offset}"), has).await;
    }

    fn offset(&self, group: &str) -> Option<i64> {
        let committed = self.here.committed(group, &orders());
        committed.map(|committed| committed.offset.0)
    }

    fn group(&self, group: &str) -> Option<GroupSyncDescription> {
        self.manager.group("dr", group).ok()
    }

    async fn group_state(&self, group: &str, state: GroupSyncState) -> GroupSyncDescription {
        let has = || self.group(group).is_some_and(|it| it.sync.state == state);
        until(&format!("{group} to be {state:?}"), has).await;
        self.group(group).unwrap()
    }

    fn task(&self) -> crate::description::TaskDescription {
        let tasks = self.manager.link("dr").unwrap().tasks;
        let mut tasks = tasks.into_iter();
        tasks
            .find(|task| task.name == "ConsumerOffsetSync")
            .unwrap()
    }

    async fn task_state(&self, state: TaskState, error: TaskErrorCode) {
        let has = || (self.task().state, self.task().error) == (state, error);
        until(&format!("the task to be {state:?}, {error:?}"), has).await;
    }
}

fn orders() -> TopicPartition {
    TopicPartition::new(TopicName::new("orders").unwrap(), 0)
}

fn figures(part: &PartitionSyncDescription) -> (i64, Option<i64>, Option<i64>, Option<i64>) {
    let sync = &part.sync;
    (
        sync.source_offset,
        sync.synced_offset,
        part.will_read_again,
        part.reads_again_at_most,
    )
}

#[tokio::test(start_paused = true)]
async fn offsets_follow_the_source_with_epoch_and_text_and_nothing_else_does() {
    let world = World::syncing(EVERY_GROUP).await;
    world.source.add_topic("unmirrored", 1);
    world
        .source
        .commit_with("billing", "orders", 0, 4, 0, "text");
    world.source.commit("billing", "unmirrored", 0, 9);
    world.source.commit("stranger", "unmirrored", 0, 9);
    world.source.commit("sharing", "orders", 0, 9);
    world.source.set_group_type("sharing", "share");
    world.committed("billing", 4).await;
    let committed = world.here.committed("billing", &orders()).unwrap();
    assert_eq!(committed.metadata, "text");
    assert_eq!(committed.leader_epoch, LeaderEpoch(0));
    world.source.commit("billing", "orders", 0, 6);
    world.committed("billing", 6).await;
    let writes = world.here.group_writes("billing");
    let asked = world.source.group_asked("billing");
    until("two more syncs", || {
        world.source.group_asked("billing") > asked + 2
    })
    .await;
    assert_eq!(
        world.here.group_writes("billing"),
        writes,
        "nothing has changed"
    );
    assert_eq!(world.offset("sharing"), None);
    assert_eq!(world.manager.link("dr").unwrap().groups.synced, 1);
    assert!(world.group("stranger").is_none());
    let share = world.group_state("sharing", GroupSyncState::Skipped).await;
    assert_eq!(share.sync.error_detail, "a share group commits no offsets");
    let group = world.group("billing").unwrap();
    assert_eq!(group.sync.state, GroupSyncState::Synced);
    assert_eq!(
        figures(&group.partitions[0]),
        (6, Some(6), Some(0), Some(4))
    );
    world
        .task_state(TaskState::Active, TaskErrorCode::NoError)
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_offset_beyond_the_mirror_is_clamped_and_made_good_later() {
    let world = World::syncing(EVERY_GROUP).await;
    world.source.lead("orders", 0, None);
    world.source.append("orders", 0, &batch(10, 10, 1));
    world.source.commit_with("billing", "orders", 0, 15, 1, "");
    world.committed("billing", 10).await;
    let group = world.group_state("billing", GroupSyncState::Synced).await;
    assert_eq!(
        figures(&group.partitions[0]),
        (15, Some(10), Some(0), Some(0))
    );
    assert_eq!(group.partitions[0].clamped_by, Some(5));
    let clamped = world.here.committed("billing", &orders()).unwrap();
    assert_eq!(
        clamped.leader_epoch,
        LeaderEpoch::NONE,
        "that record is not here"
    );

    world
        .configure(&[("consumer.offset.sync.enable", "false")])
        .await;
    world.source.lead("orders", 0, Some(1));
    world.identical("orders", 1).await;
    let known = || figures(&world.group("billing").unwrap().partitions[0]);
    until("the report to count what came since", || {
        known() == (15, Some(10), Some(5), Some(10))
    })
    .await;
    world.alter(Verb::Failover, "orders").await.unwrap();
    assert_eq!(
        known(),
        (15, Some(10), Some(5), Some(10)),
        "as it was at the cut"
    );
}

#[tokio::test(start_paused = true)]
async fn offsets_of_what_is_gone_at_the_source_begin_where_the_mirror_does() {
    let world = World::syncing(EVERY_GROUP).await;
    world.source.trim("orders", 0, 7);
    until("the mirror to be trimmed", || {
        world.here.offsets("orders", 0).0 == 7
    })
    .await;
    world.source.commit("billing", "orders", 0, 2);
    world.committed("billing", 7).await;
    let group = world.group_state("billing", GroupSyncState::Synced).await;
    assert_eq!(group.partitions[0].clamped_by, Some(-5));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_in_use_here_is_skipped_named_and_taken_up_again() {
    let world = World::syncing(EVERY_GROUP).await;
    world.source.commit("billing", "orders", 0, 4);
    world.source.commit("audit", "orders", 0, 4);
    world.committed("billing", 4).await;
    world.here.set_members("billing", true);
    world.source.commit("billing", "orders", 0, 8);
    world.source.commit("audit", "orders", 0, 8);
    world.committed("audit", 8).await;
    let group = world.group_state("billing", GroupSyncState::Skipped).await;
    assert_eq!(group.sync.error, TaskErrorCode::ConsumerGroupInUseError);
    assert_eq!(
        figures(&group.partitions[0]),
        (8, Some(4), Some(4), Some(6))
    );
    assert_eq!(world.offset("billing"), Some(4));
    world
        .task_state(TaskState::InError, TaskErrorCode::ConsumerGroupInUseError)
        .await;
    assert!(world.task().error_detail.contains("billing"));
    world.here.set_members("billing", false);
    world.committed("billing", 8).await;
    world
        .task_state(TaskState::Active, TaskErrorCode::NoError)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_moves_or_loads_is_asked_again_and_one_that_refuses_is_named() {
    let world = World::syncing(EVERY_GROUP).await;
    let passing = [
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ];
    world.source.commit("moving", "orders", 0, 4);
    world.source.fail_group("moving", &passing);
    world.source.commit("secret", "orders", 0, 4);
    world
        .source
        .fail_group("secret", &[ErrorCode::GROUP_AUTHORIZATION_FAILED; 3]);
    world.committed("moving", 4).await;
    let group = world.group_state("secret", GroupSyncState::Failed).await;
    assert_eq!(group.sync.error, TaskErrorCode::AuthorizationError);
    world
        .task_state(TaskState::InError, TaskErrorCode::AuthorizationError)
        .await;
    world.committed("secret", 4).await;
}

#[tokio::test(start_paused = true)]
async fn filters_choose_groups_and_without_any_the_task_says_so() {
    let filters = r#"{"groupFilters":[
        {"name":"app-","patternType":"PREFIXED","filterType":"INCLUDE"},
        {"name":"app-test","patternType":"LITERAL","filterType":"EXCLUDE"}]}"#;
    let world = World::syncing("").await;
    for group in ["app-billing", "app-test", "console"] {
        world.source.commit(group, "orders", 0, 4);
    }
    world
        .task_state(TaskState::InError, TaskErrorCode::MisconfigurationError)
        .await;
    world
        .configure(&[("consumer.offset.group.filters", filters)])
        .await;
    world.committed("app-billing", 4).await;
    world
        .group_state("app-billing", GroupSyncState::Synced)
        .await;
    assert_eq!(
        (world.offset("app-test"), world.offset("console")),
        (None, None)
    );
    assert_eq!(world.manager.groups("dr").unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_prefix_of_the_link_stands_before_groups_too_if_wanted() {
    let world = World::new().await;
    let configs = [
        ("cluster.link.prefix", "eu-"),
        ("consumer.group.prefix.enable", "true"),
        ("consumer.offset.sync.enable", "true"),
        ("consumer.offset.sync.ms", "1000"),
        ("consumer.offset.group.filters", EVERY_GROUP),
    ];
    world
        .manager
        .create_link(new_link("eu", &configs))
        .await
        .unwrap();
    world.source.add_topic("orders", 1);
    world.source.append("orders", 0, &batch(0, 10, 0));
    let created = world.manager.create_mirror("eu", new_mirror("orders"));
    let topic = TopicName::new(created.await.unwrap().topic).unwrap();
    world.source.commit("billing", "orders", 0, 4);
    let at = TopicPartition::new(topic, 0);
    let has = || {
        world
            .here
            .committed("eu-billing", &at)
            .is_some_and(|it| it.offset == Offset(4))
    };
    until("eu-billing to be at 4", has).await;
    until("the report", || {
        world.manager.group("eu", "billing").is_ok()
    })
    .await;
    let group = world.manager.group("eu", "billing").unwrap();
    assert_eq!(group.sync.group, "eu-billing");
}

#[tokio::test(start_paused = true)]
async fn promotion_syncs_one_last_time_and_after_the_cut_up_to_it_until_the_group_moves_here() {
    let world = World::mirroring("orders", 1).await;
    world.source.add_topic("payments", 1);
    world.mirror("payments").await.unwrap();
    world.source.commit("billing", "orders", 0, 4);
    world
        .configure(&[
            ("consumer.offset.sync.enable", "true"),
            ("consumer.offset.sync.ms", "3600000"),
            ("consumer.offset.group.filters", EVERY_GROUP),
        ])
        .await;
    world.committed("billing", 4).await;
    world.source.commit("billing", "orders", 0, 9);
    let loading = [ErrorCode::COORDINATOR_LOAD_IN_PROGRESS; 7];
    world.source.fail_group("billing", &loading);
    world.alter(Verb::Promote, "orders").await.unwrap();
    assert_eq!(world.offset("billing"), Some(9), "synced before the cut");

    world
        .configure(&[("consumer.offset.sync.ms", "1000")])
        .await;
    world.source.append("payments", 0, &batch(0, 10, 0));
    world.identical("payments", 1).await;
    world.source.commit("billing", "orders", 0, 10);
    world.source.commit("billing", "payments", 0, 6);
    let payments = TopicPartition::new(TopicName::new("payments").unwrap(), 0);
    let has = || {
        world
            .here
            .committed("billing", &payments)
            .is_some_and(|it| it.offset.0 == 6)
    };
    until("the mirror that is left to be synced", has).await;
    world.committed("billing", 10).await;
    // What the source has beyond the cut is not here.
    world.source.append("orders", 0, &batch(10, 10, 0));
    world.source.commit("billing", "orders", 0, 15);
    let told = |offset: i64| {
        let group = world.group("billing").unwrap();
        let part = figures(&group.partitions[0]);
        part == (offset, Some(10), Some(0), Some(0))
    };
    until("the source's offset to be shown", || told(15)).await;
    assert_eq!(world.offset("billing"), Some(10), "up to the cut");
    // From here on its offsets are the group's own.
    world.here.commit_here("billing", "orders", 0, 12);
    world.source.commit("billing", "orders", 0, 17);
    let is_own = || {
        let group = world.group("billing").unwrap();
        let part = &group.partitions[0].sync;
        let why = part.skipped.as_ref();
        part.source_offset == 17 && why.is_some_and(|why| why.contains("the group's own"))
    };
    until(
        "the source's offset to be shown, and why it is not taken",
        is_own,
    )
    .await;
    world.source.commit("billing", "orders", 0, 3);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.offset("billing"), Some(12));
    let group = world.group("billing").unwrap();
    assert_eq!(group.partitions.len(), 2);
    assert_eq!(group.partitions[0].sync.source_offset, 3);
    let now_ms = world.manager.ports.clock.now_ms();
    assert!(now_ms - group.sync.told_ms.unwrap() <= 1_000);
}

#[tokio::test(start_paused = true)]
async fn offsets_of_another_topic_of_that_name_are_not_taken_after_a_cut() {
    let world = World::syncing(EVERY_GROUP).await;
    world.source.commit("billing", "orders", 0, 4);
    world.committed("billing", 4).await;
    world.alter(Verb::Failover, "orders").await.unwrap();
    world.source.delete_topic("orders");
    world.source.add_topic("orders", 1);
    world.source.commit("billing", "orders", 0, 7);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.offset("billing"), Some(4));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_read_on_between_the_last_sync_and_the_cut_reads_nothing_again() {
    let world = World::syncing(EVERY_GROUP).await;
    world
        .configure(&[("consumer.offset.sync.ms", "3600000")])
        .await;
    world.source.commit("billing", "orders", 0, 4);
    world.source.set_source_members("billing", true);
    // The last sync is over when the source is asked for the last time.
    let here = world.here.clone();
    world.source.happens_after(5, move |source| {
        let synced = here.committed("billing", &orders()).unwrap();
        assert_eq!(synced.offset, Offset(4));
        source.commit("billing", "orders", 0, 8);
    });
    let all = Selection::All;
    let outcomes = world
        .manager
        .alter_mirrors("dr", Verb::Promote, all, false, None)
        .await;
    let done = outcomes.unwrap().remove(0);
    assert_eq!(world.offset("billing"), Some(8));
    let group = world.group("billing").unwrap();
    let figures = figures(&group.partitions[0]);
    assert_eq!(figures, (8, Some(8), Some(0), Some(2)));
    let readers = done.report.unwrap().readers.unwrap();
    assert_eq!((readers.count, readers.problem), (1, None));
    assert_eq!(readers.groups, ["billing"]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_a_promotion_names_groups_that_read_at_the_source() {
    let world = World::mirroring("orders", 1).await;
    world.source.add_topic("users", 1);
    world.mirror("users").await.unwrap();
    for (group, topic, has_members) in [
        ("at-work", "orders", true),
        ("stopped", "orders", false),
        ("elsewhere", "users", true),
    ] {
        world.source.commit(group, topic, 0, 0);
        world.source.set_source_members(group, has_members);
    }
    // It has members and has committed nothing: nobody knows what it reads.
    world.source.set_source_members("fresh", true);
    let names = Selection::Names(vec![TopicName::new("orders").unwrap()]);
    let outcomes = world
        .manager
        .alter_mirrors("dr", Verb::Promote, names, true, None)
        .await;
    let outcome = outcomes.unwrap().remove(0);
    let report = outcome.report.unwrap();
    // Its topic has an id, which proves that it is the mirrored one.
    assert_eq!(report.identity_problem, None);
    let readers = report.readers.unwrap();
    assert_eq!(readers.groups, ["at-work"]);
    assert_eq!(readers.count, 1);
    assert_eq!(readers.without_commits, ["fresh"]);
}

#[tokio::test(start_paused = true)]
async fn without_topic_ids_a_report_says_that_a_new_topic_cannot_be_excluded() {
    let world = World::mirroring("orders", 1).await;
    world.source.add_topic("old", 1);
    world.source.take_topic_id("old");
    world.mirror("old").await.unwrap();
    for (verb, is_dry_run) in [
        (Verb::Promote, true),
        (Verb::Failover, true),
        (Verb::Promote, false),
    ] {
        let names = Selection::Names(vec![TopicName::new("old").unwrap()]);
        let outcomes = world
            .manager
            .alter_mirrors("dr", verb, names, is_dry_run, None)
            .await;
        let report = outcomes.unwrap().remove(0).report.unwrap();
        let problem = report.identity_problem.unwrap();
        assert!(problem.contains("deleted and created again"), "{problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_no_source_tells_of_holds_up_no_promotion_for_ever() {
    let world = World::syncing(EVERY_GROUP).await;
    world.source.commit("billing", "orders", 0, 4);
    world.committed("billing", 4).await;
    world
        .source
        .fail_group("billing", &[ErrorCode::COORDINATOR_NOT_AVAILABLE; 1_000]);
    world.alter(Verb::Promote, "orders").await.unwrap();
    let group = world.group("billing").unwrap();
    assert_eq!(group.sync.state, GroupSyncState::Failed);
    assert_eq!(world.offset("billing"), Some(4));
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_at_the_source_stays_here_and_is_told() {
    let world = World::syncing(EVERY_GROUP).await;
    world.source.commit("billing", "orders", 0, 4);
    world.committed("billing", 4).await;
    world.source.delete_group("billing");
    world.group_state("billing", GroupSyncState::Gone).await;
    assert_eq!(world.offset("billing"), Some(4));
    world
        .task_state(TaskState::Active, TaskErrorCode::NoError)
        .await;
    world.source.commit("billing", "orders", 0, 5);
    world.committed("billing", 5).await;
    world.group_state("billing", GroupSyncState::Synced).await;
}

#[tokio::test(start_paused = true)]
async fn the_report_survives_a_restart_and_goes_with_the_mirror_or_the_link() {
    let mut world = World::syncing(EVERY_GROUP).await;
    world.source.commit("billing", "orders", 0, 4);
    world.committed("billing", 4).await;
    let before = world.group_state("billing", GroupSyncState::Synced).await;
    world.source.set_down(true);
    world.restart().await;
    let after = world.group("billing").unwrap();
    assert_eq!(after, before);
    assert_eq!(
        figures(&after.partitions[0]),
        (4, Some(4), Some(0), Some(6))
    );

    world.source.set_down(false);
    world.source.add_topic("payments", 1);
    world.mirror_when_up("payments").await;
    world.here.delete_topic("orders");
    world.manager.topic_deleted(&orders().topic);
    assert!(
        world
            .group("billing")
            .is_none_or(|group| group.partitions.is_empty())
    );
    until("the report to be gone", || world.group("billing").is_none()).await;
    world.manager.delete_link("dr", true).await.unwrap();
    world
        .manager
        .create_link(new_link("dr", &[]))
        .await
        .unwrap();
    assert!(world.manager.groups("dr").unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn many_groups_are_synced_in_one_go() {
    let world = World::mirroring("orders", 1).await;
    let names: Vec<String> = (0..1_200).map(|number| format!("group-{number}")).collect();
    for name in &names {
        world.source.commit(name, "orders", 0, 7);
    }
    world
        .configure(&[
            ("consumer.offset.sync.enable", "true"),
            ("consumer.offset.sync.ms", "3600000"),
            ("consumer.offset.group.filters", EVERY_GROUP),
        ])
        .await;
    until("all groups", || {
        world.manager.link("dr").unwrap().groups.synced == names.len()
    })
    .await;
    assert!(names.iter().all(|name| world.offset(name) == Some(7)));
    let asked = |name: &String| world.source.group_asked(name);
    assert!(names.iter().all(|name| asked(name) == 1), "one sync");
    let id = GroupId::new("group-0");
    assert_eq!(world.group(&id).unwrap().sync.group, "group-0");
}

impl World {
    async fn mirror_when_up(&self, topic: &str) {
        self.link_state(LinkState::Active).await;
        self.mirror(topic).await.unwrap();
    }
}

/// Kafka lists the group without a name and takes negative offsets, too.
#[tokio::test(start_paused = true)]
async fn whatever_is_left_out_has_a_row_that_says_why() {
    let world = World::syncing(EVERY_GROUP).await;
    world.source.commit("", "orders", 0, 4);
    world.source.commit("billing", "orders", 0, 4);
    world.committed("billing", 4).await;
    let unnamed = world.group_state("", GroupSyncState::Skipped).await;
    assert!(
        unnamed.sync.error_detail.contains("name is empty"),
        "{}",
        unnamed.sync.error_detail
    );
    world.source.commit("billing", "orders", 0, -5);
    world.source.commit("billing", "orders", 3, 7);
    let row = |partition| {
        let group = world.group("billing").unwrap();
        let mut parts = group.partitions.into_iter();
        parts.find(|part| part.sync.partition == partition)
    };
    let reason = |partition: i32, word: &str| {
        let why = row(partition).and_then(|part| part.sync.skipped);
        why.is_some_and(|why| why.contains(word))
    };
    until("the negative offset to be told", || {
        reason(0, "no consumer")
    })
    .await;
    assert_eq!(
        figures(&row(0).unwrap()),
        (-5, Some(4), None, Some(6)),
        "what was synced before stays"
    );
    assert_eq!(world.offset("billing"), Some(4));
    until("the new partition to be told", || {
        reason(3, "not mirrored yet")
    })
    .await;
    assert_eq!(figures(&row(3).unwrap()), (7, None, None, None));
    world
        .task_state(TaskState::Active, TaskErrorCode::NoError)
        .await;
    world.source.commit("billing", "orders", 0, 6);
    world.committed("billing", 6).await;
    until("nothing is left out", || !reason(0, "")).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_was_in_use_here_at_the_cut_is_still_said_to_have_been_skipped() {
    let world = World::syncing(EVERY_GROUP).await;
    world.here.commit_here("billing", "orders", 0, 2);
    world.here.set_members("billing", true);
    world.source.commit("billing", "orders", 0, 4);
    world.group_state("billing", GroupSyncState::Skipped).await;
    world.alter(Verb::Promote, "orders").await.unwrap();
    world.here.set_members("billing", false);
    world.source.commit("billing", "orders", 0, 6);
    let told = || {
        let part = world.group("billing").unwrap().partitions[0].sync.clone();
        part.source_offset == 6 && part.skipped.is_some()
    };
    until("a sync after the cut", told).await;
    let group = world.group("billing").unwrap();
    assert_eq!(group.sync.state, GroupSyncState::Skipped);
    assert_eq!(group.sync.error, TaskErrorCode::ConsumerGroupInUseError);
    assert_eq!(world.offset("billing"), Some(2));
}

//! Links and mirrors as a whole, on fakes, in paused time.

mod acls;
mod after_cut;
mod alterations;
mod closest;
mod creation;
mod cuts;
mod deleted;
mod faults;
mod groups;
mod limits;
mod live;
mod lives;
mod obstacles;
mod refusals;
mod restarts;
mod topic_changes;
mod waiting;
mod wide;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::ids::TopicPartition;

use super::*;
use crate::description::{LinkDescription, MirrorCreation, MirrorDescription, MirrorOutcome};
use crate::ports::{LinkStore, TopicCatalog};
use crate::report::RpoReport;
use crate::state::{LinkErrorCode, LinkState, MirrorError, MirrorStatus, TaskErrorCode, TaskState};
use crate::testing::batches::{batch, joined};
use crate::testing::here::FakeHere;
use crate::testing::source::FakeSource;
use crate::verb::{CutKind, Verb};
use crate::verify::{VerifyOptions, VerifyOutcome};

/// A source, this cluster, and a manager of its links.
struct World {
    source: FakeSource,
    here: FakeHere,
    manager: Arc<LinkManager>,
}

impl World {
    /// With a link "dr" and nothing mirrored.
    async fn new() -> Self {
        let (source, here) = (FakeSource::new(), FakeHere::new());
        let manager = LinkManager::start(crate::testing::ports(&here, &source))
            .await
            .unwrap();
        manager.create_link(new_link("dr", &[])).await.unwrap();
        Self {
            source,
            here,
            manager,
        }
    }

    /// With a topic of that many partitions mirrored, ten records in each.
    async fn mirroring(topic: &str, partitions: i32) -> Self {
        let world = Self::new().await;
        world.source.add_topic(topic, partitions);
        for partition in 0..partitions {
            world.source.append(topic, partition, &batch(0, 10, 0));
        }
        world.mirror(topic).await.unwrap();
        world.identical(topic, partitions).await;
        world
    }

    async fn mirror(&self, topic: &str) -> Result<MirrorDescription, LinkError> {
        self.manager.create_mirror("dr", new_mirror(topic)).await
    }

    /// Waits until both sides hold the same bytes and the same end.
    async fn identical(&self, topic: &str, partitions: i32) {
        for partition in 0..partitions {
            let source = self.source.clone();
            let here = self.here.clone();
            let is_same = || {
                here.partitions(&TopicName::new(topic).unwrap())
                    .is_some_and(|count| count > partition)
                    && here.bytes(topic, partition) == source.bytes(topic, partition)
            };
            until(&format!("{topic}-{partition} to be identical"), is_same).await;
        }
    }

    async fn status(&self, topic: &str, status: MirrorStatus) -> MirrorDescription {
        let has = || self.manager.mirror(topic).unwrap().status == status;
        until(&format!("{topic} to be {status:?}"), has).await;
        self.manager.mirror(topic).unwrap()
    }

    async fn link_state(&self, state: LinkState) -> LinkDescription {
        let has = || self.manager.link("dr").unwrap().state == state;
        until(&format!("the link to be {state:?}"), has).await;
        self.manager.link("dr").unwrap()
    }

    async fn alter(&self, action: Verb, topic: &str) -> Result<MirrorDescription, LinkError> {
        let names = Selection::Names(vec![TopicName::new(topic).unwrap()]);
        let outcomes = self
            .manager
            .alter_mirrors("dr", action, names, false, None)
            .await?;
        outcomes.into_iter().next().unwrap().result
    }

    /// A restart, before which the record of a link was changed behind the manager's back.
    async fn restart_with(&mut self, record: &crate::record::LinkRecord) {
        self.manager.shutdown().await;
        self.here.save_link(record).unwrap();
        self.restart().await;
    }

    /// As after a kill: the old manager only gets the signal that it has ended.
    async fn restart(&mut self) {
        self.manager.shutdown().await;
        self.here.restarted();
        let mut ports = crate::testing::ports(&self.here, &self.source);
        ports.clock = Arc::clone(&self.manager.ports.clock);
        self.manager = LinkManager::start(ports).await.unwrap();
    }
}

fn new_link(name: &str, configs: &[(&str, &str)]) -> NewLink {
    let given = [("bootstrap.servers", "fake:9092")];
    let configs = given.iter().chain(configs);
    NewLink {
        name: name.into(),
        configs: configs
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        ..NewLink::default()
    }
}

fn new_mirror(topic: &str) -> NewMirror {
    NewMirror {
        may_create: MayCreate::default(),
        source_topic: topic.into(),
        mirror_topic: None,
        configs: BTreeMap::new(),
    }
}

/// Looks again and again, for ten simulated minutes.
async fn until(what: &str, mut has: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(600);
    while !has() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_mirrored_byte_for_byte_and_goes_on_to_be() {
    let world = World::mirroring("orders", 3).await;
    for round in 1..20 {
        for partition in 0..3 {
            world
                .source
                .append("orders", partition, &batch(round * 10, 10, 0));
        }
    }
    world.identical("orders", 3).await;
    until("the figures", || {
        world.manager.mirror("orders").unwrap().lags[2].lag_records == Some(0)
    })
    .await;
    let mirror = world.manager.mirror("orders").unwrap();
    assert_eq!(mirror.status, MirrorStatus::Active);
    let lag = &mirror.lags[0];
    assert_eq!(
        (lag.mirror_end, lag.source_high_watermark, lag.lag_ms),
        (200, Some(200), Some(0))
    );
    assert_eq!(world.here.offsets("orders", 1), (0, 200, 200));
}

#[tokio::test(start_paused = true)]
async fn a_large_backlog_comes_through_small_requests() {
    let world = World::new().await;
    world.source.add_topic("big", 2);
    for partition in 0..2 {
        for at in 0..200 {
            let run = crate::testing::batches::batch_of(at * 3, 3, 0, 9_000);
            world.source.append("big", partition, &run);
        }
    }
    let limits = [
        ("replica.fetch.max.bytes", "20000"),
        ("replica.fetch.response.max.bytes", "30000"),
    ];
    let changes = limits
        .iter()
        .map(|(name, value)| ((*name).into(), Some((*value).into())))
        .collect();
    world
        .manager
        .alter_link_configs("dr", changes, AlterLink::default())
        .await
        .unwrap();
    world.mirror("big").await.unwrap();
    world.identical("big", 2).await;
}

#[tokio::test(start_paused = true)]
async fn gaps_log_start_and_oversized_batches_are_kept() {
    let world = World::new().await;
    world.source.add_topic("compacted", 1);
    let run = joined(&[
        batch(0, 5, 0),
        batch(5, 5, 0),
        batch(20, 5, 1),
        batch(40, 1, 3),
    ]);
    world.source.append("compacted", 0, &run);
    world.source.compact_away("compacted", 0, 5..6);
    world.source.append(
        "compacted",
        0,
        &crate::testing::batches::batch_of(41, 3, 3, 2_000_000),
    );
    world.source.trim("compacted", 0, 22);
    world.mirror("compacted").await.unwrap();
    world.identical("compacted", 1).await;
    assert_eq!(world.here.offsets("compacted", 0), (22, 44, 44));
    world.source.trim("compacted", 0, 42);
    until("the log start to follow", || {
        world.here.offsets("compacted", 0).0 == 42
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_end_follows_a_tail_that_was_compacted_away() {
    let world = World::new().await;
    world.source.add_topic("tail", 1);
    world
        .source
        .append("tail", 0, &joined(&[batch(0, 5, 0), batch(5, 5, 1)]));
    world.source.compact_away("tail", 0, 5..6);
    world.mirror("tail").await.unwrap();
    until("the end to follow", || {
        world.here.offsets("tail", 0) == (0, 10, 10)
    })
    .await;
    assert_eq!(world.here.bytes("tail", 0), batch(0, 5, 0));
    world.source.append("tail", 0, &batch(10, 1, 1));
    world.identical("tail", 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_emptied_source_leaves_a_gap_and_no_loss_is_claimed_for_a_new_mirror() {
    let world = World::new().await;
    world.source.add_topic("empty", 1);
    world.source.append("empty", 0, &batch(0, 50, 0));
    world.source.trim("empty", 0, 50);
    world.mirror("empty").await.unwrap();
    until("the end to follow", || {
        world.here.offsets("empty", 0) == (50, 50, 50)
    })
    .await;
    assert_eq!(
        world.manager.mirror("empty").unwrap().lags[0].lost_to_retention,
        0
    );
    world.source.append("empty", 0, &batch(50, 5, 0));
    world.identical("empty", 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_source_deleted_before_it_was_mirrored_is_counted() {
    let world = World::mirroring("orders", 1).await;
    world.alter(Verb::Pause, "orders").await.unwrap();
    world
        .source
        .append("orders", 0, &joined(&[batch(10, 10, 0), batch(20, 10, 0)]));
    world.source.trim("orders", 0, 20);
    world.alter(Verb::Resume, "orders").await.unwrap();
    until("the rest", || {
        world.here.offsets("orders", 0) == (20, 30, 30)
    })
    .await;
    assert_eq!(
        world.manager.mirror("orders").unwrap().lags[0].lost_to_retention,
        10
    );
}

#[tokio::test(start_paused = true)]
async fn mirrors_begin_where_they_are_told() {
    let world = World::new().await;
    world.source.add_topic("orders", 1);
    world
        .source
        .append("orders", 0, &joined(&[batch(0, 10, 0), batch(10, 10, 0)]));
    let at = (crate::testing::batches::FIRST_TIMESTAMP_MS + 14).to_string();
    for (name, start) in [("late", "latest"), ("then", at.as_str())] {
        world
            .manager
            .create_link(new_link(name, &[]))
            .await
            .unwrap();
        let configs = BTreeMap::from([("mirror.start.offset.spec".into(), start.into())]);
        let new = NewMirror {
            may_create: MayCreate::default(),
            source_topic: "orders".into(),
            mirror_topic: Some(name.into()),
            configs,
        };
        world.manager.create_mirror(name, new).await.unwrap();
    }
    world.source.append("orders", 0, &batch(20, 5, 0));
    until("latest", || world.here.offsets("late", 0) == (20, 25, 25)).await;
    assert_eq!(world.here.bytes("late", 0), batch(20, 5, 0));
    until("a time", || world.here.offsets("then", 0) == (14, 25, 25)).await;
    assert_eq!(
        world.here.bytes("then", 0),
        joined(&[batch(10, 10, 0), batch(20, 5, 0)])
    );
}

#[tokio::test(start_paused = true)]
async fn growth_and_configs_of_the_source_are_followed() {
    let world = World::mirroring("orders", 1).await;
    world.source.grow_topic("orders", 4);
    world.source.append("orders", 3, &batch(0, 7, 0));
    world
        .source
        .set_config("orders", "cleanup.policy", "compact");
    world.source.set_config("orders", "retention.ms", "1234");
    world.identical("orders", 4).await;
    assert_eq!(world.manager.mirror("orders").unwrap().num_partitions, 4);
    assert_eq!(world.here.stored_mirror("orders").unwrap().partitions, 4);
    let has = || {
        world
            .here
            .configs_of("orders")
            .get("retention.ms")
            .is_some_and(|it| it == "1234")
    };
    until("the configs", has).await;
    assert_eq!(world.here.configs_of("orders")["cleanup.policy"], "compact");
    let task = &world.manager.link("dr").unwrap().tasks[0];
    assert_eq!(task.name, "TopicConfigsSync");
    assert_eq!(task.state, TaskState::Active);
    assert!(task.last_run_ms.is_some());
    assert!(
        task.note.contains("orders: cleanup.policy=compact"),
        "{}",
        task.note
    );
    let kept = world.manager.mirror("orders").unwrap().kept_configs;
    let kept: Vec<&str> = kept.iter().map(|config| config.name.as_str()).collect();
    assert_eq!(kept, ["cleanup.policy"]);
}

#[tokio::test(start_paused = true)]
async fn a_link_shows_every_task_and_those_that_are_switched_off() {
    let world = World::mirroring("orders", 1).await;
    let tasks = world.manager.link("dr").unwrap().tasks;
    let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "TopicConfigsSync",
            "ConsumerOffsetSync",
            "AclSync",
            "AutoCreateMirror"
        ]
    );
    let off = tasks.iter().filter(|task| task.name != "TopicConfigsSync");
    for task in off {
        assert_eq!(task.state, TaskState::NotConfigured, "{}", task.name);
        assert_eq!(
            (task.error, task.last_run_ms),
            (TaskErrorCode::NoError, None)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_prefix_renames_every_mirror_of_the_link_and_no_other_name_is_taken() {
    let world = World::new().await;
    world.source.add_topic("orders", 1);
    world.source.append("orders", 0, &batch(0, 10, 0));
    let eu = new_link("eu", &[("cluster.link.prefix", "eu-")]);
    world.manager.create_link(eu).await.unwrap();
    let named = NewMirror {
        may_create: MayCreate::default(),
        mirror_topic: Some("orders".into()),
        ..new_mirror("orders")
    };
    let refused = world.manager.create_mirror("eu", named).await.unwrap_err();
    assert!(refused.to_string().contains("'eu-orders'"), "{refused}");
    let mirror = world
        .manager
        .create_mirror("eu", new_mirror("orders"))
        .await;
    let mirror = mirror.unwrap();
    assert_eq!(
        (mirror.topic.as_str(), mirror.source_topic.as_str()),
        ("eu-orders", "orders")
    );
    let same = || world.here.bytes("eu-orders", 0) == batch(0, 10, 0);
    until("the renamed mirror", same).await;
    let change = vec![("cluster.link.prefix".to_owned(), Some("us-".to_owned()))];
    let refused = world
        .manager
        .alter_link_configs("eu", change, AlterLink::default())
        .await;
    assert!(matches!(refused, Err(LinkError::InvalidConfig { .. })));
}

#[tokio::test(start_paused = true)]
async fn everything_goes_on_after_a_restart() {
    let mut world = World::mirroring("orders", 2).await;
    world.source.append("orders", 0, &batch(10, 10, 0));
    world.restart().await;
    world.source.append("orders", 1, &batch(10, 10, 1));
    world.identical("orders", 2).await;
    assert_eq!(world.manager.links().len(), 1);
    assert_eq!(
        world
            .manager
            .link("dr")
            .unwrap()
            .source_cluster_id
            .as_deref(),
        Some("source-cluster")
    );
    assert_eq!(
        world.manager.mirror("orders").unwrap().status,
        MirrorStatus::Active
    );
}

#[tokio::test(start_paused = true)]
async fn paused_mirrors_and_links_stand_still_until_resumed() {
    let world = World::mirroring("orders", 1).await;
    world.alter(Verb::Pause, "orders").await.unwrap();
    world.source.append("orders", 0, &batch(10, 1, 0));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.here.offsets("orders", 0).1, 10);
    assert_eq!(
        world.manager.mirror("orders").unwrap().status,
        MirrorStatus::Paused
    );
    world.alter(Verb::Resume, "orders").await.unwrap();
    world.identical("orders", 1).await;

    let set = |value: &str| vec![("cluster.link.paused".to_owned(), Some(value.to_owned()))];
    world
        .manager
        .alter_link_configs("dr", set("true"), AlterLink::default())
        .await
        .unwrap();
    world.source.append("orders", 0, &batch(11, 1, 0));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.here.offsets("orders", 0).1, 11);
    assert_eq!(world.manager.link("dr").unwrap().state, LinkState::Paused);
    assert_eq!(
        world.manager.mirror("orders").unwrap().status,
        MirrorStatus::LinkPaused
    );
    world
        .manager
        .alter_link_configs("dr", set("false"), AlterLink::default())
        .await
        .unwrap();
    world.identical("orders", 1).await;
    assert_eq!(
        world.manager.mirror("orders").unwrap().status,
        MirrorStatus::Active
    );
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_created_is_refused_with_its_cause() {
    let world = World::mirroring("orders", 1).await;
    let manager = &world.manager;
    world.here.add_topic("local", 1);
    world.source.add_topic("local", 1);
    assert!(matches!(
        world.mirror("orders").await,
        Err(LinkError::MirrorExists { .. })
    ));
    assert!(matches!(
        world.mirror("local").await,
        Err(LinkError::TopicExists(_))
    ));
    assert!(matches!(
        world.mirror("nowhere").await,
        Err(LinkError::NoSuchSourceTopic(_))
    ));
    assert!(matches!(
        world.mirror("no/name").await,
        Err(LinkError::InvalidName(_))
    ));
    let mut twice = new_mirror("orders");
    twice.mirror_topic = Some("orders-again".into());
    let refused = manager.create_mirror("dr", twice).await;
    assert!(matches!(refused, Err(LinkError::SourceMirrored { .. })));
    let other = manager.create_mirror("nothing", new_mirror("orders")).await;
    assert!(matches!(other, Err(LinkError::NoSuchLink(_))));
    let again = manager.create_link(new_link("dr", &[])).await;
    assert!(matches!(again, Err(LinkError::LinkExists(_))));
    let unnamed = manager.create_link(new_link("a/b", &[])).await;
    assert!(matches!(unnamed, Err(LinkError::InvalidName(_))));
    let unknown = manager
        .create_link(new_link("x", &[("no.such.config", "1")]))
        .await;
    assert!(matches!(unknown, Err(LinkError::InvalidConfig { .. })));
    let mut new = new_mirror("local");
    new.mirror_topic = Some("copy".into());
    new.configs.insert("retention.ms".into(), "5".into());
    let refused = manager.create_mirror("dr", new).await;
    assert!(matches!(refused, Err(LinkError::InvalidConfig { .. })));
    assert_eq!(manager.mirrors(Some("dr"), None).unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn validating_a_link_connects_and_creates_nothing() {
    let world = World::new().await;
    let mut new = new_link("second", &[]);
    (new.validate_only, new.validate_link) = (true, true);
    let checked = world.manager.create_link(new.clone()).await.unwrap();
    assert_eq!(checked.source_cluster_id.as_deref(), Some("source-cluster"));
    new.expected_source_cluster_id = Some("another".into());
    let wrong = world.manager.create_link(new.clone()).await;
    assert!(matches!(wrong, Err(LinkError::WrongCluster { .. })));
    world.source.set_down(true);
    let away = world.manager.create_link(new).await;
    let code = LinkErrorCode::BootstrapTcpConnectionFailedError;
    assert!(matches!(away, Err(LinkError::SourceUnavailable { code: found, .. }) if found == code));
    assert_eq!(world.manager.links().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn links_with_mirrors_are_deleted_only_by_force() {
    let world = World::mirroring("orders", 1).await;
    let refused = world.manager.delete_link("dr", false).await;
    assert!(matches!(
        refused,
        Err(LinkError::LinkHasMirrors { count: 1, .. })
    ));
    world.manager.delete_link("dr", true).await.unwrap();
    assert!(world.manager.links().is_empty());
    assert!(world.here.cut_epoch("orders", 0).is_some());
    assert!(matches!(
        world.manager.link("dr"),
        Err(LinkError::NoSuchLink(_))
    ));
    assert!(matches!(
        world.manager.delete_link("dr", true).await,
        Err(LinkError::NoSuchLink(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_mirror_topic_is_forgotten() {
    let world = World::mirroring("orders", 1).await;
    world.here.delete_topic("orders");
    world
        .manager
        .topic_deleted(&TopicName::new("orders").unwrap());
    assert!(matches!(
        world.manager.mirror("orders"),
        Err(LinkError::NotAMirror(_))
    ));
    assert_eq!(world.manager.link("dr").unwrap().mirror_count, 0);
}

#[tokio::test(start_paused = true)]
async fn verification_finds_identity_and_a_single_turned_bit() {
    let world = World::mirroring("orders", 2).await;
    world
        .source
        .append("orders", 1, &joined(&[batch(10, 5, 0), batch(15, 5, 0)]));
    world.identical("orders", 2).await;
    let mut progress = Vec::new();
    let report = world
        .manager
        .verify("orders", VerifyOptions::default(), &mut |step| {
            progress.push(step)
        })
        .await
        .unwrap();
    assert!(report.identical);
    assert_eq!(report.batches, 4);
    assert_eq!(progress.last().unwrap().bytes, report.bytes);
    let sampled = VerifyOptions {
        sample: Some(3),
        partition: Some(1),
        ..VerifyOptions::default()
    };
    let report = world
        .manager
        .verify("orders", sampled, &mut |_| {})
        .await
        .unwrap();
    assert!(report.identical && report.partitions.len() == 1);

    let beyond = VerifyOptions {
        from: Some(1_000),
        ..VerifyOptions::default()
    };
    let report = world
        .manager
        .verify("orders", beyond, &mut |_| {})
        .await
        .unwrap();
    assert_eq!(report.outcome, VerifyOutcome::NothingCompared);
    assert!(!report.identical, "nothing is not identical");
    let partly = VerifyOptions {
        from: Some(12),
        ..VerifyOptions::default()
    };
    let report = world
        .manager
        .verify("orders", partly, &mut |_| {})
        .await
        .unwrap();
    let outcomes: Vec<_> = report.partitions.iter().map(|it| it.outcome()).collect();
    let (nothing, identical) = (VerifyOutcome::NothingCompared, VerifyOutcome::Identical);
    assert_eq!(
        (outcomes, report.outcome),
        (vec![nothing, identical], identical)
    );

    world.here.damage("orders", 1);
    let report = world
        .manager
        .verify("orders", VerifyOptions::default(), &mut |_| {})
        .await
        .unwrap();
    assert_eq!(report.outcome, VerifyOutcome::Different);
    assert!(!report.identical);
    let difference = report.partitions[1].difference.as_ref().unwrap();
    assert_eq!(difference.offset, 15);
}

//! Cuts that are broken off, at every place there is, come to the same end.

use carrick_link::cut::CutStep;
use carrick_link::manager::{MayCreate, NewLink, NewMirror, Selection};
use carrick_link::ports::{TopicCatalog, TopicCut};
use carrick_link::testing::OneSource;
use carrick_link::testing::source::FakeSource;
use carrick_link::verb::Verb;
use parking_lot::Mutex;

use super::*;
use crate::breaks;
use crate::testing::until;

/// The real catalog, whose next cut is interrupted after passing this many places.
struct BreaksOff {
    real: Arc<dyn TopicCatalog>,
    places: Mutex<Option<u32>>,
}

impl TopicCatalog for BreaksOff {
    fn partitions(&self, topic: &TopicName) -> Option<i32> {
        self.real.partitions(topic)
    }

    fn create_mirrors(&self, new: &[NewMirrorTopic]) -> Result<Vec<TopicAnswer>, CatalogError> {
        self.real.create_mirrors(new)
    }

    fn add_partitions(&self, record: &MirrorRecord, count: i32) -> Result<(), CatalogError> {
        self.real.add_partitions(record, count)
    }

    fn set_configs(
        &self,
        topic: &TopicName,
        configs: &[(String, Option<String>)],
    ) -> Result<(), CatalogError> {
        self.real.set_configs(topic, configs)
    }

    fn default_config(&self, name: &str) -> Option<String> {
        self.real.default_config(name)
    }

    fn configs(&self, topic: &TopicName) -> Result<Vec<(String, String)>, CatalogError> {
        self.real.configs(topic)
    }

    fn raise_leader_epochs(
        &self,
        epochs: &[(TopicPartition, LeaderEpoch)],
    ) -> Result<(), CatalogError> {
        self.real.raise_leader_epochs(epochs)
    }

    fn cut_mirrors(&self, orders: &[CutOrder]) -> Result<Vec<TopicCut>, CatalogError> {
        if let Some(places) = self.places.lock().take() {
            breaks::after(places);
        }
        let stopped = self.real.cut_mirrors(orders);
        breaks::none();
        stopped
    }
}

/// A broker with a link to a fake source, and its mirror of "orders".
struct World {
    rig: Rig,
    links: Arc<LinkManager>,
}

impl World {
    async fn start(dir: &TempDir, source: &FakeSource, break_after: Option<u32>) -> World {
        let rig = Rig::open(dir);
        let mut ports = rig.ports.clone();
        ports.sources = Arc::new(OneSource(source.clone()));
        ports.catalog = Arc::new(BreaksOff {
            real: ports.catalog,
            places: Mutex::new(break_after),
        });
        let links = LinkManager::start(ports).await.unwrap();
        World { rig, links }
    }

    /// A transaction is open on partition 0, two are on partition 1; all is mirrored.
    async fn mirroring(dir: &TempDir, source: &FakeSource, break_after: u32) -> World {
        source.add_topic("orders", 2);
        source.append("orders", 0, &plain(0, 5));
        source.append("orders", 0, &transactional(3, 77, 0));
        source.append("orders", 1, &transactional(0, 77, 0));
        source.append("orders", 1, &transactional(3, 78, 0));
        let world = World::start(dir, source, Some(break_after)).await;
        let configs = [("bootstrap.servers".to_owned(), "fake:9092".to_owned())];
        let link = NewLink {
            name: "west".to_owned(),
            configs: configs.into(),
            ..NewLink::default()
        };
        world.links.create_link(link).await.unwrap();
        let mirror = NewMirror {
            may_create: MayCreate::default(),
            source_topic: "orders".to_owned(),
            ..NewMirror::default()
        };
        world.links.create_mirror("west", mirror).await.unwrap();
        let ends = || [0, 1].map(|p| world.rig.ports.local.ends(&tp(p)).unwrap().end);
        until("both logs end at 6", || ends() == [Offset(6), Offset(6)]).await;
        world
    }

    async fn alter(&self, verb: Verb) -> Result<MirrorStatus, String> {
        let outcomes = self
            .links
            .alter_mirrors("west", verb, Selection::All, false, None)
            .await
            .unwrap();
        let outcome = outcomes.into_iter().next().unwrap().result;
        outcome
            .map(|mirror| mirror.status)
            .map_err(|error| error.to_string())
    }

    fn status(&self) -> MirrorStatus {
        self.links.mirror("orders").unwrap().status
    }

    fn report(&self) -> Option<RpoReport> {
        self.rig.ports.store.load_report(&tp(0).topic).unwrap()
    }

    /// The one end that every cut has.
    fn assert_cut(&self, kept: &RpoReport, when: &str) {
        assert_eq!(self.status(), MirrorStatus::Stopped, "{when}");
        let stored = self.rig.ports.store.load_mirrors().unwrap();
        assert_eq!(stored[0].status, MirrorStatus::Stopped, "{when}");
        assert_eq!(self.rig.markers(0), [(6, 77, 5)], "{when}");
        assert_eq!(self.rig.markers(1), [(6, 77, 5), (7, 78, 5)], "{when}");
        let topic = self.rig.topic("orders").unwrap();
        assert!(!topic.is_mirror(), "{when}");
        for partition in topic.partitions().iter() {
            assert_eq!(partition.mode(), Mode::Writable, "{when}");
            assert!(partition.leader_epoch() > LeaderEpoch(7), "{when}");
            let log = partition.snapshot();
            let ends = (log.high_watermark(), log.last_stable());
            assert_eq!(ends, (log.end(), log.end()), "{when}");
        }
        assert!(self.rig.producer_ids.allocate().unwrap() > ProducerId(78));
        assert_eq!(self.report().as_ref(), Some(kept), "{when}");
        let ends = kept.partitions.iter().map(|it| it.last_mirrored_offset);
        assert!(ends.eq([Some(5), Some(5)]), "before the markers, {when}");
    }
}

/// Whether the last task of an earlier life has released the folder: as good as the process's end.
fn is_free(dir: &TempDir) -> bool {
    let data_dir = DataDir::open(dir.path());
    data_dir.is_ok_and(|data_dir| RocksMetadata::open(&data_dir.meta_dir()).is_ok())
}

/// Breaks a cut off at every place, one world each; `resume` then brings it to its end.
async fn everywhere(verb: Verb, is_restarted: bool) {
    for places in 0.. {
        let (dir, source) = (tempfile::tempdir().unwrap(), FakeSource::new());
        let world = World::mirroring(&dir, &source, places).await;
        let cut = world.alter(verb).await;
        let kept = world.report().unwrap();
        let when = format!("{verb:?}, broken off after {places} places");
        let Err(error) = cut else {
            assert!(places >= 9, "{when}: there are more places than that");
            return world.assert_cut(&kept, &when);
        };
        assert!(error.contains("broken off by a test"), "{when}: {error}");
        assert_eq!(world.status(), MirrorStatus::PendingStopped, "{when}");
        // No way back, and nothing is mirrored on top of the markers.
        source.append("orders", 0, &plain(6, 7));
        let resumed = world.alter(Verb::Resume).await.unwrap_err();
        assert!(resumed.contains("can't be cancelled"), "{when}: {resumed}");
        source.set_down(true);
        if is_restarted {
            world.links.shutdown().await;
            drop(world);
            until("the folder is free", || is_free(&dir)).await;
            let world = World::start(&dir, &source, None).await;
            until("the cut is over", || {
                world.status() != MirrorStatus::PendingStopped
            })
            .await;
            world.assert_cut(&kept, &when);
        } else {
            let again = world.alter(verb).await;
            assert_eq!(again, Ok(MirrorStatus::Stopped), "{when}");
            world.assert_cut(&kept, &when);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_was_broken_off_ends_when_it_is_asked_for_again() {
    everywhere(Verb::Failover, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_that_was_broken_off_ends_when_it_is_asked_for_again_without_the_source() {
    everywhere(Verb::Promote, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_a_crash_broke_off_ends_after_the_restart() {
    everywhere(Verb::Failover, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_that_a_crash_broke_off_ends_after_the_restart_without_the_source() {
    everywhere(Verb::Promote, true).await;
}

#[test]
fn a_topic_that_can_not_be_cut_is_refused_alone_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let named = |name: &str| {
        let mut order = order(1);
        order.record.topic = TopicName::new(name).unwrap();
        order
    };
    let second = named("users");
    let spec = MirrorTopicSpec {
        topic: second.record.topic.clone(),
        ..spec(1)
    };
    rig.create(spec, second.record.clone()).unwrap();
    // After the reports and the fence: the first topic breaks.
    breaks::after(1);
    let orders = [order(1), second, named("gone")];
    let cuts = rig.ports.catalog.cut_mirrors(&orders).unwrap();
    assert!(!breaks::none());
    let error = cuts[0].as_ref().unwrap_err().to_string();
    assert!(error.contains("orders-0"), "{error}");
    assert_eq!(cuts[1].as_ref().unwrap().len(), 1);
    let gone = TopicName::new("gone").unwrap();
    assert_eq!(cuts[2], Err(CatalogError::NoSuchTopic(gone)));
    assert!(rig.topic("orders").unwrap().is_mirror());
    assert!(!rig.topic("users").unwrap().is_mirror());
    let again = rig.cut().unwrap();
    assert_eq!(again.len(), 2);
    assert!(!rig.topic("orders").unwrap().is_mirror());
}

#[test]
fn a_partition_whose_disk_has_failed_is_let_go_by_force_only() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    rig.door(0, 1)
        .append(checked(&transactional(0, 77, 0)), Offset(3))
        .unwrap();
    rig.door(1, 1)
        .append(checked(&plain(0, 7)), Offset(3))
        .unwrap();
    for is_forced in [false, true] {
        // After the reports: the flush of the first partition.
        breaks::after(1);
        let order = CutOrder {
            is_forced,
            ..order(1)
        };
        let cuts = rig.ports.catalog.cut_mirrors(&[order]).unwrap();
        breaks::none();
        assert_eq!(cuts[0].is_ok(), is_forced, "{cuts:?}");
        let topic = rig.topic("orders").unwrap();
        assert_eq!(topic.is_mirror(), !is_forced);
    }
    let modes = |rig: &Rig| {
        let topic = rig.topic("orders").unwrap();
        [0, 1].map(|partition| topic.partition(partition).unwrap().mode())
    };
    assert_eq!(modes(&rig), [Mode::Faulted, Mode::Writable]);
    let epoch = |rig: &Rig| {
        let topic = rig.topic("orders").unwrap();
        topic.partition(0).unwrap().leader_epoch()
    };
    let let_go_at = epoch(&rig);
    drop(rig);
    let rig = Rig::open(&dir);
    assert_eq!(modes(&rig), [Mode::Writable, Mode::Writable]);
    assert!(epoch(&rig) >= let_go_at);
}

#[test]
fn a_topic_that_is_deleted_while_it_is_cut_is_refused_and_the_others_are_cut() {
    for step in [CutStep::ReportStored, CutStep::ProducerIdsLifted] {
        let dir = tempfile::tempdir().unwrap();
        let rig = Rig::with_mirror(&dir);
        let users = TopicName::new("users").unwrap();
        let (spec, record) = (spec(1), record());
        let spec = MirrorTopicSpec {
            topic: users.clone(),
            source_topic_id: TopicId::ZERO,
            ..spec
        };
        let record = MirrorRecord {
            topic: users.clone(),
            ..record
        };
        rig.create(spec, record).unwrap();
        let mut door = rig.door(0, 1);
        door.append(checked(&transactional(0, 900, 0)), Offset(3))
            .unwrap();
        let mut second = order(1);
        second.record.topic = users.clone();
        second.report.topic = users.to_string();
        let topics = Arc::clone(&rig.topics);
        breaks::act_at(step, move || {
            let orders = topics.topic(&tp(0).topic).unwrap();
            topics
                .delete(&orders, end_of_mirror(orders.name()))
                .unwrap();
        });
        let cut = rig.ports.catalog.cut_mirrors(&[order(1), second]).unwrap();
        let gone = CatalogError::NoSuchTopic(tp(0).topic);
        assert_eq!(cut[0], Err(gone), "{step:?}");
        assert_eq!(cut[1].as_ref().map(Vec::len), Ok(1), "{step:?}");
        let store = &rig.ports.store;
        assert_eq!(store.load_mirror(&tp(0).topic), Ok(None));
        assert_eq!(store.load_report(&tp(0).topic), Ok(None));
        let users = rig.topic(&users).unwrap();
        assert!(!users.is_mirror());
        assert_eq!(users.partition(0).unwrap().mode(), Mode::Writable);
    }
}

#[test]
fn a_mirror_that_replaced_the_one_to_be_cut_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let (topics, catalog) = (Arc::clone(&rig.topics), Arc::clone(&rig.ports.catalog));
    breaks::act_at(CutStep::ReportStored, move || {
        let orders = topics.topic(&tp(0).topic).unwrap();
        topics
            .delete(&orders, end_of_mirror(orders.name()))
            .unwrap();
        let (spec, record) = (spec(2), record());
        let new = [NewMirrorTopic { spec, record }];
        let again = catalog.create_mirrors(&new).unwrap().remove(0);
        again.unwrap();
        let again = topics.topic(&tp(0).topic).unwrap();
        assert_eq!(again.id(), orders.id(), "it is the source's");
    });
    let cut = rig.ports.catalog.cut_mirrors(&[order(1)]).unwrap();
    assert_eq!(cut[0], Err(CatalogError::NoSuchTopic(tp(0).topic)));
    let orders = rig.topic("orders").unwrap();
    assert!(orders.is_mirror());
    for partition in [0, 1] {
        let mode = orders.partition(partition).unwrap().mode();
        assert_eq!(mode, Mode::Mirror { lease: None });
    }
    rig.door(0, 1)
        .append(checked(&plain(0, 7)), Offset(3))
        .unwrap();
}

//! The ports on real partitions, a real catalog and RocksDB.

mod contract;
mod cut;
mod groups;
mod secrets;

use std::collections::BTreeMap;

use bytes::Bytes;
use carrick_link::cut::{CutOrder, PartitionCut};
use carrick_link::ports::{
    CatalogError, Lease, LocalBatches, MirrorPartition, MirrorTarget, TargetError, TopicAnswer,
};
use carrick_link::record::{LinkName, LinkRecord, MirrorRecord, MirrorTopicSpec, NewMirrorTopic};
use carrick_link::report::RpoReport;
use carrick_link::state::{MirrorError, MirrorStatus};
use carrick_link::verb::CutKind;
use carrick_protocol::batch::{BatchBuilder, Batches, ControlMarker};
use carrick_protocol::ids::{LeaderEpoch, Offset, ProducerId, TopicId, TopicPartition};
use carrick_storage::disk::DataDir;
use carrick_storage::flush::Flusher;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use super::*;
use crate::access::Acls;
use crate::config::Properties;
use crate::group::GroupConfig;
use crate::journal::Journal;
use crate::journal::rocks::RocksJournal;
use crate::metadata::Transaction;
use crate::metadata::rocks::RocksMetadata;
use crate::partition::{Hosted, Mode};
use crate::records::topic::{TopicKeyspace, TopicRecord};
use crate::secrets::SecretsConfig;
use crate::starting::Starting;
use crate::testing::{TestTopic, checked};

/// A broker's topics and metadata, without the broker.
struct Rig {
    topics: Arc<Topics>,
    hosted: Arc<Hosted>,
    metadata: Metadata,
    producer_ids: Arc<ProducerIds>,
    flusher: Arc<Flusher>,
    ports: Ports,
    groups: Arc<Coordinator>,
    /// Where the coordinator's tasks run; there until the end.
    runtime: Option<Runtime>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.flusher.stop();
        // Its tasks end with the coordinator; an async test must not wait for threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Rig {
    fn open(dir: &TempDir) -> Rig {
        let values = crate::testing::values(&["group.initial.rebalance.delay.ms=0"]);
        let group_config = GroupConfig::of(&values).unwrap();
        let data_dir = Arc::new(DataDir::open(dir.path()).unwrap());
        let opened = RocksMetadata::open(&data_dir.meta_dir()).unwrap();
        let journal = Journal::new(Arc::new(RocksJournal::start(opened.database()).unwrap()));
        let metadata = Metadata::new(Arc::new(opened));
        let flusher = Arc::new(Flusher::start(1).unwrap());
        let vault = Vault::open(metadata.clone(), SecretsConfig::default(), dir.path()).unwrap();
        let vault = Arc::new(vault);
        let stored = Arc::new(metadata.clone());
        let properties = Properties::open(stored, &values, 1, |_| Ok(())).unwrap();
        let hosted = Arc::new(Hosted::new(data_dir, Arc::clone(&flusher)));
        let hosting = Box::new(Arc::clone(&hosted));
        let topics = Topics::open(Arc::new(properties), metadata.clone(), hosting).unwrap();
        let topics = Arc::new(topics);
        assert!(hosted.open(&topics, 1, &Starting::default()));
        topics.store_leader_epochs().unwrap();
        let producer_ids = Arc::new(ProducerIds::open(metadata.clone()).unwrap());
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap();
        let heavy = crate::heavy::Heavy::default();
        let groups = {
            let _inside = runtime.enter();
            let heavy = heavy.clone();
            Coordinator::start(group_config, journal, topics.clone(), heavy).unwrap()
        };
        let ports = ports(
            vault,
            metadata.clone(),
            (Arc::clone(&topics), Arc::clone(&hosted)),
            Arc::clone(&producer_ids),
            Arc::clone(&groups),
            acls::LinkAcls::new(Arc::new(Acls::open(metadata.clone()).unwrap()), true),
            heavy,
        );
        Rig {
            groups,
            runtime: Some(runtime),
            topics,
            hosted,
            metadata,
            producer_ids,
            flusher,
            ports,
        }
    }

    fn topic(&self, name: &str) -> Option<TestTopic> {
        Some(TestTopic::new(self.topics.topic(name)?, &self.hosted))
    }

    /// A mirror of two partitions.
    fn with_mirror(dir: &TempDir) -> Rig {
        let rig = Rig::open(dir);
        rig.create(spec(2), record()).unwrap();
        rig
    }

    fn create(&self, spec: MirrorTopicSpec, record: MirrorRecord) -> TopicAnswer {
        let new = [NewMirrorTopic { spec, record }];
        self.ports.catalog.create_mirrors(&new)?.remove(0)
    }

    fn door(&self, partition: i32, epoch: u64) -> Box<dyn MirrorPartition> {
        self.ports
            .target
            .open(&tp(partition), &lease(epoch))
            .unwrap()
    }

    fn cut(&self) -> Result<Vec<PartitionCut>, CatalogError> {
        self.stop_at(1)
    }

    fn stop_at(&self, made_at_ms: i64) -> Result<Vec<PartitionCut>, CatalogError> {
        self.ports
            .catalog
            .cut_mirrors(&[order(made_at_ms)])?
            .remove(0)
    }

    /// Every marker in the log: offset, producer id, producer epoch.
    fn markers(&self, partition: i32) -> Vec<(i64, i64, i16)> {
        let (mut found, mut from) = (Vec::new(), Offset(0));
        loop {
            // One read stays within one segment.
            let read = self.ports.local.read(&tp(partition), from, 1 << 20);
            let bytes = read.unwrap();
            if bytes.is_empty() {
                return found;
            }
            for batch in Batches::new(&bytes).map(Result::unwrap) {
                let header = batch.header;
                from = header.next_offset();
                if header.is_control() {
                    assert!(
                        ControlMarker::read(&batch.header, batch.body())
                            .unwrap()
                            .is_some()
                    );
                    found.push((
                        header.base_offset.0,
                        header.producer_id.0,
                        header.producer_epoch,
                    ));
                }
            }
        }
    }
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("orders").unwrap(),
        partition,
    }
}

fn lease(epoch: u64) -> Lease {
    Lease {
        link: LinkName::new("west").unwrap(),
        epoch,
    }
}

fn spec(partitions: i32) -> MirrorTopicSpec {
    MirrorTopicSpec {
        topic: TopicName::new("orders").unwrap(),
        source_topic_id: TopicId(Uuid::from_bytes([5; 16])),
        partitions,
        configs: vec![
            ("retention.ms".to_owned(), "1234567".to_owned()),
            ("confluent.placement.constraints".to_owned(), "x".to_owned()),
        ],
        own_configs: Vec::new(),
    }
}

fn record() -> MirrorRecord {
    MirrorRecord {
        topic: TopicName::new("orders").unwrap(),
        link: LinkName::new("west").unwrap(),
        source_topic: TopicName::new("orders").unwrap(),
        source_topic_id: TopicId(Uuid::from_bytes([5; 16])),
        partitions: 2,
        status: MirrorStatus::Active,
        status_since_ms: 1,
        error: MirrorError::NoError,
        error_detail: String::new(),
        pending_cut: None,
        start_offsets: Vec::new(),
        created_ms: 1,
    }
}

fn order(made_at_ms: i64) -> CutOrder {
    let record = MirrorRecord {
        status: MirrorStatus::Stopped,
        ..record()
    };
    let report = RpoReport::new(&record, CutKind::Failover, made_at_ms);
    CutOrder {
        record,
        report,
        kind: CutKind::Failover,
        is_forced: false,
    }
}

/// Three records at `base`, of leader epoch `epoch`.
fn plain(base: i64, epoch: i32) -> Bytes {
    let builder = BatchBuilder::new()
        .base_offset(Offset(base))
        .leader_epoch(LeaderEpoch(epoch));
    three(builder)
}

/// Three records of a transaction at `base`.
fn transactional(base: i64, producer_id: i64, sequence: i32) -> Bytes {
    let builder = BatchBuilder::new()
        .base_offset(Offset(base))
        .leader_epoch(LeaderEpoch(7))
        .producer(ProducerId(producer_id), 4, sequence)
        .transactional(true);
    three(builder)
}

fn three(mut builder: BatchBuilder) -> Bytes {
    for at in 0..3 {
        builder = builder.record(1_000 + at, None, Some(b"value"));
    }
    builder.build().freeze()
}

#[test]
fn a_mirror_topic_and_its_record_come_together_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    drop(Rig::with_mirror(&dir));
    let rig = Rig::open(&dir);
    let topic = rig.topic("orders").unwrap();
    assert!(topic.is_mirror());
    assert_eq!(topic.id(), TopicId(Uuid::from_bytes([5; 16])));
    assert_eq!(rig.ports.store.load_mirrors().unwrap(), [record()]);
    let configs = rig.ports.catalog.configs(&tp(0).topic).unwrap();
    assert_eq!(configs, [("retention.ms".to_owned(), "1234567".to_owned())]);
}

#[test]
fn a_second_topic_of_that_name_is_refused_and_the_first_record_stands() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let other = MirrorRecord {
        link: LinkName::new("east").unwrap(),
        ..record()
    };
    let refused = rig.create(spec(1), other);
    assert_eq!(refused, Err(CatalogError::TopicExists(tp(0).topic)));
    assert_eq!(rig.ports.store.load_mirrors().unwrap(), [record()]);
}

#[test]
fn a_topic_that_somebody_else_has_stored_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::open(&dir);
    let name = record().topic;
    let theirs = TopicRecord {
        id: TopicId::random(),
        is_mirror: false,
        leader_epochs: vec![LeaderEpoch(0)],
    };
    let mut stored = Transaction::new();
    stored.put::<TopicKeyspace>(&name, &theirs);
    rig.metadata.commit(stored).unwrap();
    let refused = rig.create(spec(2), record());
    assert_eq!(refused, Err(CatalogError::TopicExists(name.clone())));
    let found = rig.metadata.get::<TopicKeyspace>(&name).unwrap();
    assert_eq!(found, Some(theirs));
    assert_eq!(rig.ports.store.load_mirrors().unwrap(), []);
    assert!(rig.topics.topic("orders").is_none());
    assert!(
        !dir.path().join("orders-0").exists(),
        "its folders are gone"
    );
}

#[test]
fn a_topic_id_that_is_taken_here_is_not_taken_twice() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let second = TopicName::new("eu.orders").unwrap();
    let spec = MirrorTopicSpec {
        topic: second.clone(),
        ..spec(1)
    };
    let record = MirrorRecord {
        topic: second.clone(),
        ..record()
    };
    rig.create(spec.clone(), record).unwrap();
    assert_ne!(rig.topic(&second).unwrap().id(), spec.source_topic_id);
}

#[test]
fn batches_are_kept_as_they_are_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let mut door = rig.door(0, 1);
    let bytes = Bytes::from([plain(10, 7), plain(20, 7)].concat());
    assert_eq!(
        door.append(checked(&bytes), Offset(21)).unwrap(),
        Offset(23)
    );
    assert_eq!(
        rig.ports.local.read(&tp(0), Offset(0), 1 << 20).unwrap(),
        bytes
    );
    assert_eq!(
        rig.ports.local.read(&tp(0), Offset(11), 1).unwrap(),
        plain(10, 7)
    );
    assert!(
        rig.ports
            .local
            .read(&tp(0), Offset(23), 1)
            .unwrap()
            .is_empty()
    );
    let ends = rig.ports.local.ends(&tp(0)).unwrap();
    assert_eq!((ends.end, ends.high_watermark), (Offset(23), Offset(21)));
    assert_eq!(
        (ends.last_timestamp_ms, ends.open_transactions),
        (Some(1_002), 0)
    );
    assert_eq!(
        rig.ports.local.ends(&tp(9)),
        Err(TargetError::NoSuchPartition)
    );
}

#[test]
fn only_the_mirror_s_own_link_and_its_newest_lease_may_write() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let east = Lease {
        link: LinkName::new("east").unwrap(),
        epoch: 9,
    };
    let wrong = rig.ports.target.open(&tp(0), &east).map(drop);
    assert_eq!(
        wrong,
        Err(TargetError::WrongLink(LinkName::new("west").unwrap()))
    );
    let mut old = rig.door(0, 1);
    let mut new = rig.door(0, 2);
    assert_eq!(
        old.append(checked(&plain(0, 1)), Offset(3)),
        Err(TargetError::Fenced)
    );
    assert_eq!(new.append(checked(&plain(0, 1)), Offset(3)), Ok(Offset(3)));
    let behind = new.append(checked(&plain(0, 1)), Offset(3));
    let bound = Offset(3);
    assert_eq!(
        behind,
        Err(TargetError::NonMonotonic {
            offset: Offset(0),
            bound
        })
    );
}

#[test]
fn epochs_that_go_back_are_named_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let mut door = rig.door(0, 1);
    door.append(checked(&plain(0, 7)), Offset(3)).unwrap();
    let (epoch, last) = (LeaderEpoch(6), LeaderEpoch(7));
    let back = door.append(checked(&plain(3, 6)), Offset(6));
    assert_eq!(back, Err(TargetError::NonMonotonicEpoch { epoch, last }));
    assert_eq!(door.next_offset(), Offset(3));
}

#[test]
fn the_cut_ends_transactions_lifts_ids_and_epochs_and_keeps_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let mirrored = ProducerId(rig.producer_ids.allocate().unwrap().0 + 1_000_000);
    let mut door = rig.door(0, 1);
    let bytes = [transactional(0, mirrored.0, 0), plain(3, 7)].concat();
    door.append(checked(&bytes.into()), Offset(6)).unwrap();

    let cuts = rig.cut().unwrap();

    assert_eq!(cuts.len(), 2);
    assert_eq!(
        (cuts[0].mirror_end, cuts[0].aborted_transactions),
        (Offset(6), 1)
    );
    assert_eq!(
        (cuts[1].mirror_end, cuts[1].aborted_transactions),
        (Offset(0), 0)
    );
    assert!(cuts[0].leader_epoch > LeaderEpoch(7));
    assert_eq!(rig.markers(0), [(6, mirrored.0, 5)]);
    assert!(rig.producer_ids.allocate().unwrap() > mirrored);
    assert_eq!(
        door.append(checked(&plain(7, 9)), Offset(10)),
        Err(TargetError::Fenced)
    );
    let again = rig.ports.target.open(&tp(0), &lease(2)).map(drop);
    assert_eq!(again, Err(TargetError::NotAMirror));
    let topic = rig.topic("orders").unwrap();
    assert!(!topic.is_mirror());
    assert!(
        topic
            .partitions()
            .iter()
            .all(|partition| partition.mode() == Mode::Writable)
    );
    let log = topic.partition(0).unwrap().snapshot();
    assert_eq!(
        (log.high_watermark(), log.last_stable()),
        (Offset(7), Offset(7))
    );
    assert_eq!(
        rig.ports.store.load_mirrors().unwrap()[0].status,
        MirrorStatus::Stopped
    );
    assert_eq!(
        rig.ports.store.load_report(&tp(0).topic).unwrap(),
        Some(order(1).report)
    );
}

#[test]
fn a_cut_that_comes_again_changes_nothing_and_keeps_the_first_report() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    rig.door(0, 1)
        .append(checked(&transactional(0, 77, 0)), Offset(3))
        .unwrap();
    rig.cut().unwrap();
    let epoch = rig
        .topic("orders")
        .unwrap()
        .partition(0)
        .unwrap()
        .leader_epoch();
    assert!(rig.stop_at(2).unwrap().is_empty());
    let topic = rig.topic("orders").unwrap();
    assert_eq!(topic.partition(0).unwrap().leader_epoch(), epoch);
    assert_eq!(rig.markers(0).len(), 1);
    assert_eq!(
        rig.ports.store.load_report(&tp(0).topic).unwrap(),
        Some(order(1).report)
    );
}

#[test]
fn a_cut_that_was_broken_off_before_it_was_persisted_resumes_to_the_same_end() {
    let dir = tempfile::tempdir().unwrap();
    {
        let rig = Rig::with_mirror(&dir);
        rig.door(0, 1)
            .append(checked(&transactional(0, 77, 0)), Offset(3))
            .unwrap();
        // The process dies here: report and markers are written, nothing says that it is done.
        let mut batch = Transaction::new();
        batch.put::<RpoReportKeyspace>(&tp(0).topic, &order(1).report);
        rig.metadata.commit(batch).unwrap();
        rig.topic("orders")
            .unwrap()
            .partition(0)
            .unwrap()
            .cut(9_999)
            .unwrap();
    }
    let rig = Rig::open(&dir);
    assert!(rig.topic("orders").unwrap().is_mirror());
    let cuts = rig.stop_at(2).unwrap();
    assert!(cuts[0].leader_epoch > LeaderEpoch(7));
    assert_eq!(rig.markers(0), [(3, 77, 5)], "one marker, not two");
    let report = rig.ports.store.load_report(&tp(0).topic).unwrap();
    assert_eq!(
        report,
        Some(order(1).report),
        "of when the markers were not there yet"
    );
    drop(rig);
    let rig = Rig::open(&dir);
    let topic = rig.topic("orders").unwrap();
    assert!(!topic.is_mirror());
    assert!(topic.partition(0).unwrap().leader_epoch() >= cuts[0].leader_epoch);
}

#[test]
fn a_cut_that_is_given_up_leaves_no_report() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let mut batch = Transaction::new();
    batch.put::<RpoReportKeyspace>(&tp(0).topic, &order(1).report);
    rig.metadata.commit(batch).unwrap();
    let pending = MirrorRecord {
        status: MirrorStatus::PendingStopped,
        ..record()
    };
    rig.ports.store.save_mirrors(&[pending]).unwrap();
    assert!(rig.ports.store.load_report(&tp(0).topic).unwrap().is_some());
    rig.ports.store.save_mirrors(&[record()]).unwrap();
    assert!(rig.ports.store.load_report(&tp(0).topic).unwrap().is_none());
}

#[test]
fn a_mirror_grows_with_its_record_and_takes_configs() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let grown = MirrorRecord {
        partitions: 4,
        ..record()
    };
    rig.ports.catalog.add_partitions(&grown, 4).unwrap();
    rig.ports.catalog.add_partitions(&grown, 4).unwrap();
    assert_eq!(rig.ports.catalog.partitions(&grown.topic), Some(4));
    assert_eq!(
        rig.ports.store.load_mirrors().unwrap(),
        std::slice::from_ref(&grown)
    );
    let changes = [
        ("retention.ms".to_owned(), None),
        ("max.message.bytes".to_owned(), Some("4096".to_owned())),
        ("no.such.config".to_owned(), Some("1".to_owned())),
    ];
    rig.ports
        .catalog
        .set_configs(&grown.topic, &changes)
        .unwrap();
    let configs = rig.ports.catalog.configs(&grown.topic).unwrap();
    assert_eq!(
        configs,
        [("max.message.bytes".to_owned(), "4096".to_owned())]
    );
}

#[test]
fn links_are_stored_and_a_deleted_one_takes_its_mirrors_records_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::with_mirror(&dir);
    let link = LinkRecord {
        name: LinkName::new("west").unwrap(),
        id: Uuid::from_bytes([1; 16]),
        source_cluster_id: Some("src".to_owned()),
        configs: BTreeMap::from([("bootstrap.servers".to_owned(), "a:1".to_owned())]),
        unreadable: BTreeMap::new(),
        created_ms: 5,
        failure: None,
    };
    rig.ports.store.save_link(&link).unwrap();
    assert_eq!(
        rig.ports.store.load_links().unwrap(),
        std::slice::from_ref(&link)
    );
    let other = MirrorRecord {
        topic: TopicName::new("other").unwrap(),
        link: LinkName::new("east").unwrap(),
        ..record()
    };
    let named = MirrorTopicSpec {
        topic: other.topic.clone(),
        source_topic_id: TopicId::ZERO,
        ..spec(2)
    };
    rig.create(named, other.clone()).unwrap();
    rig.ports.store.delete_link(&link.name).unwrap();
    rig.ports.store.delete_link(&link.name).unwrap();
    assert!(rig.ports.store.load_links().unwrap().is_empty());
    assert_eq!(rig.ports.store.load_mirrors().unwrap(), [other]);
    assert!(
        rig.metadata
            .get::<crate::records::link::LinkKeyspace>(&link.name)
            .unwrap()
            .is_none()
    );
}

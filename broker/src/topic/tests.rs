//! Stories of the catalog.

use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName};

use super::*;
use crate::partition::{Acks, Mode};
use crate::testing::{TestBroker, batch};

fn mirror(name: &str, configs: &[(&str, &str)]) -> NewTopic {
    NewTopic {
        name: TopicName::new(name).unwrap(),
        id: Some(TopicId::random()),
        partitions: 2,
        configs: configs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        is_mirror: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_has_a_new_id_and_no_records() {
    let it = TestBroker::start(&[]).await;
    let first = it.create("t", 1);
    let partition = first.partition(0).unwrap();
    partition
        .append_produced(&batch(&["a"]), Acks::Leader, 0)
        .unwrap_err();
    partition
        .append_produced(&batch(&["a"]), Acks::Leader, crate::clock::now_ms())
        .unwrap();
    it.broker().catalog.delete("t", Default::default()).unwrap();
    assert!(partition.is_closed());
    assert!(it.broker().catalog.by_id(first.id()).is_none());
    let second = it.create("t", 1);
    assert_ne!(first.id(), second.id());
    assert_eq!(second.partition(0).unwrap().snapshot().end().0, 0);
    let it = it.restart(&[]).await;
    assert_eq!(it.broker().catalog.topic("t").unwrap().id(), second.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_configs_change_and_stay_changed() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let catalog = &it.broker().catalog;
    catalog
        .add_partitions("t", 3, false, Default::default())
        .unwrap();
    let shrink = catalog.add_partitions("t", 2, false, Default::default());
    assert!(matches!(shrink, Err(TopicError::InvalidPartitions(_))));
    let set = |value: &'static str| {
        catalog.alter_configs("t", false, false, move |all| {
            all.insert("max.message.bytes".to_owned(), value.to_owned());
            Ok(())
        })
    };
    assert!(matches!(set("many"), Err(TopicError::InvalidConfig(_))));
    set("1000").unwrap();
    let it = it.restart(&[]).await;
    let topic = it.broker().catalog.topic("t").unwrap();
    assert_eq!(topic.partitions().len(), 3);
    assert_eq!(topic.config().max_message_bytes, 1000);
    assert_eq!(topic.partition(2).unwrap().config().max_message_bytes, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_do_not_change_what_a_link_decides() {
    let it = TestBroker::start(&[]).await;
    let catalog = &it.broker().catalog;
    let unsupported = [
        ("compression.type", "zstd"),
        ("confluent.x", "1"),
        ("retention.ms", "5"),
    ];
    let topic = catalog
        .create(mirror("m", &unsupported), Default::default())
        .unwrap();
    assert_eq!(topic.state().overrides.len(), 1);
    let grown = catalog.add_partitions("m", 3, false, Default::default());
    assert!(matches!(grown, Err(TopicError::Mirror(_))));
    let set = |by_link| {
        catalog.alter_configs("m", by_link, false, |all| {
            all.insert("cleanup.policy".to_owned(), "compact".to_owned());
            Ok(())
        })
    };
    assert!(matches!(set(false), Err(TopicError::MirrorConfig { .. })));
    set(true).unwrap();
    assert!(topic.config().compact);
    catalog
        .add_partitions("m", 3, true, Default::default())
        .unwrap();
    assert!(matches!(
        topic.partition(2).unwrap().mode(),
        Mode::Mirror { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_topic_is_writable_for_good() {
    let it = TestBroker::start(&[]).await;
    let catalog = &it.broker().catalog;
    let topic = catalog
        .create(mirror("m", &[]), Default::default())
        .unwrap();
    let name = topic.name().clone();
    for partition in topic.partitions().iter() {
        partition.cut(crate::clock::now_ms()).unwrap();
    }
    assert!(topic.is_mirror());
    catalog.finish_cut(&[name], Default::default()).unwrap();
    assert_eq!(topic.partition(1).unwrap().mode(), Mode::Writable);
    drop(topic);
    let it = it.restart(&[]).await;
    let topic = it.broker().catalog.topic("m").unwrap();
    assert!(!topic.is_mirror());
    assert_eq!(topic.partition(0).unwrap().leader_epoch(), LeaderEpoch(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclean_end_raises_the_leader_epoch_and_a_clean_one_does_not() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let it = it.restart(&[]).await;
    let partition = it
        .broker()
        .catalog
        .topic("t")
        .unwrap()
        .partition(0)
        .unwrap();
    assert_eq!(partition.leader_epoch(), LeaderEpoch(0));
    // Written to, and dropped without being closed, as by a crash.
    let now_ms = crate::clock::now_ms();
    partition
        .append_produced(&batch(&["a"]), Acks::Leader, now_ms)
        .unwrap();
    partition.abandon();
    drop(partition);
    let it = it.restart(&[]).await;
    let partition = it
        .broker()
        .catalog
        .topic("t")
        .unwrap()
        .partition(0)
        .unwrap();
    assert_eq!(partition.leader_epoch(), LeaderEpoch(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_topics_are_refused() {
    let it = TestBroker::start(&[]).await;
    it.create("a.b", 1);
    let catalog = &it.broker().catalog;
    let new = |name: &str, partitions| NewTopic {
        name: TopicName::new(name).unwrap(),
        id: None,
        partitions,
        configs: BTreeMap::new(),
        is_mirror: false,
    };
    let refused = |new| catalog.create(new, Default::default()).err().unwrap();
    assert!(matches!(refused(new("a.b", 1)), TopicError::Exists(_)));
    assert!(matches!(
        refused(new("a_b", 1)),
        TopicError::Collides { .. }
    ));
    assert!(matches!(
        refused(new("c", 0)),
        TopicError::InvalidPartitions(_)
    ));
    assert!(matches!(
        refused(new("c", i32::MAX)),
        TopicError::InvalidPartitions(_)
    ));
    let mut configured = new("c", 1);
    configured
        .configs
        .insert("no.such".to_owned(), "1".to_owned());
    assert!(matches!(refused(configured), TopicError::InvalidConfig(_)));
    assert!(catalog.topic("c").is_none());
}

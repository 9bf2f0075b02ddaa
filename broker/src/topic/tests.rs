//! Stories of the catalog.

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, MetadataRequest};

use super::*;
use crate::access::Operation;
use crate::partition::Mode;
use crate::testing::{TestBroker, TestClient, TestTopic, append, batch, until, wire};

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
    append(&partition, &batch(&["a"]), 0).unwrap_err();
    append(&partition, &batch(&["a"]), crate::clock::now_ms()).unwrap();
    it.broker()
        .topics
        .delete(&first, Default::default())
        .unwrap();
    assert!(partition.is_closed());
    assert!(it.broker().topics.by_id(first.id()).is_none());
    let second = it.create("t", 1);
    assert_ne!(first.id(), second.id());
    assert_eq!(second.partition(0).unwrap().snapshot().end().0, 0);
    let it = it.restart(&[]).await;
    assert_eq!(it.broker().topic("t").unwrap().id(), second.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_configs_change_and_stay_changed() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let catalog = &it.broker().topics;
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
    let topic = it.broker().topic("t").unwrap();
    assert_eq!(topic.partitions().len(), 3);
    assert_eq!(topic.state().config.max_message_bytes, 1000);
    assert_eq!(topic.partition(2).unwrap().config().max_message_bytes, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_do_not_change_what_a_link_decides() {
    let it = TestBroker::start(&[]).await;
    let catalog = &it.broker().topics;
    let unsupported = [
        ("remote.storage.enable", "true"),
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
    assert!(topic.state().config.compact);
    catalog
        .add_partitions("m", 3, true, Default::default())
        .unwrap();
    assert!(matches!(
        it.broker().partition("m", 2).unwrap().mode(),
        Mode::Mirror { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_topic_is_writable_for_good() {
    let it = TestBroker::start(&[]).await;
    let catalog = &it.broker().topics;
    let topic = catalog
        .create(mirror("m", &[]), Default::default())
        .unwrap();
    let name = topic.name().clone();
    let topic = TestTopic::new(topic, &it.broker().hosted);
    for partition in topic.partitions().iter() {
        partition.cut(crate::clock::now_ms()).unwrap();
    }
    assert!(topic.is_mirror());
    let mirror = catalog.topic(&name).unwrap();
    let cut = vec![(mirror, Default::default())];
    assert_eq!(catalog.finish_cut(cut).unwrap(), [true]);
    assert_eq!(topic.partition(1).unwrap().mode(), Mode::Writable);
    drop(topic);
    let it = it.restart(&[]).await;
    let topic = it.broker().topic("m").unwrap();
    assert!(!topic.is_mirror());
    assert_eq!(topic.partition(0).unwrap().leader_epoch(), LeaderEpoch(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclean_end_raises_the_leader_epoch_and_a_clean_one_does_not() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let it = it.restart(&[]).await;
    let partition = it.broker().topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.leader_epoch(), LeaderEpoch(0));
    // Written to, and dropped without being closed, as by a crash.
    let now_ms = crate::clock::now_ms();
    append(&partition, &batch(&["a"]), now_ms).unwrap();
    partition.abandon();
    drop(partition);
    let it = it.restart(&[]).await;
    let partition = it.broker().topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.leader_epoch(), LeaderEpoch(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_topics_are_refused() {
    let it = TestBroker::start(&[]).await;
    it.create("a.b", 1);
    let catalog = &it.broker().topics;
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

/// Stops the broker, changes something in its data folder, and starts it again.
async fn start_after(it: TestBroker, change: impl FnOnce(&std::path::Path)) -> TestBroker {
    let TestBroker { running, dir } = it;
    running.shutdown().await;
    change(&dir.path().join("data"));
    TestBroker::start_in(dir, &[]).await
}

async fn fetched_code(client: &mut TestClient, partition: i32) -> ErrorCode {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(wire("t"))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let response = client.call(12, &request).await;
    ErrorCode(response.responses[0].partitions[0].error_code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_opened_is_offline_and_the_others_are_served() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 2);
    let mut client = it.client().await;
    for partition in [0, 1] {
        client.produce("t", partition, -1, batch(&["a"])).await;
    }
    let it = start_after(it, |data| {
        std::fs::rename(data.join("t-0"), data.join("elsewhere")).unwrap();
        std::fs::write(data.join("t-0"), "no folder").unwrap();
    })
    .await;
    let mut client = it.client().await;
    let storage_error = ErrorCode::KAFKA_STORAGE_ERROR;
    let refused = client.produce("t", 0, -1, batch(&["b"])).await;
    assert_eq!(ErrorCode(refused.error_code), storage_error);
    assert_eq!(fetched_code(&mut client, 0).await, storage_error);
    let taken = client.produce("t", 1, -1, batch(&["b"])).await;
    assert_eq!((taken.error_code, taken.base_offset), (0, 1));
    assert_eq!(fetched_code(&mut client, 1).await, ErrorCode::NONE);

    let asked = MetadataRequest::default().with_topics(None);
    let shown = client.call(12, &asked).await;
    let partitions = &shown.topics[0].partitions;
    assert_eq!(
        ErrorCode(partitions[0].error_code),
        ErrorCode::LEADER_NOT_AVAILABLE
    );
    assert_eq!(partitions[0].leader_id.0, -1);
    assert_eq!(partitions[0].offline_replicas.len(), 1);
    assert_eq!(
        (partitions[1].error_code, partitions[1].leader_id.0),
        (0, it.broker().node_id.0)
    );
    // The context keeps the data folder.
    let offline = {
        let context = it.context();
        context.cluster(Operation::Alter).unwrap().leaderless()
    };
    assert_eq!(offline.len(), 1);
    assert_eq!(offline[0].to_string(), "t-0");

    // With its folder back it has what it had.
    let it = start_after(it, |data| {
        std::fs::remove_file(data.join("t-0")).unwrap();
        std::fs::rename(data.join("elsewhere"), data.join("t-0")).unwrap();
    })
    .await;
    let answer = it.client().await.produce("t", 0, -1, batch(&["b"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_taken_away_is_not_made_anew_but_can_be_deleted() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    it.client().await.produce("t", 0, -1, batch(&["a"])).await;
    let it = start_after(it, |data| {
        std::fs::remove_dir_all(data.join("t-0")).unwrap();
    })
    .await;
    let topic = it.broker().topic("t").unwrap();
    let partition = topic.partition(0).unwrap();
    assert!(partition.is_offline());
    assert!(!it.broker().data_dir.partition_dir(partition.id()).exists());
    let catalog = &it.broker().topics;
    catalog
        .alter_configs("t", false, false, |all| {
            all.insert("retention.ms".to_owned(), "1000".to_owned());
            Ok(())
        })
        .unwrap();
    let grown = catalog.add_partitions("t", 2, false, Default::default());
    assert_eq!(grown.unwrap().partition_count(), 2);
    assert!(!topic.partition(1).unwrap().is_offline());
    catalog.delete(&topic, Default::default()).unwrap();
    it.create("t", 1);
    let answer = it.client().await.produce("t", 0, -1, batch(&["b"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
}

/// The folders of partitions, and those that wait to be removed.
fn folders(it: &TestBroker) -> Vec<String> {
    let listed = std::fs::read_dir(it.dir.path().join("data")).unwrap();
    let names = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains('-')).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn other_topics_change_while_the_folders_of_a_deleted_one_are_put_away() {
    let it = TestBroker::start(&[]).await;
    let catalog = &it.broker().topics;
    let first = it.create("t", 3);
    it.create("other", 1);
    it.create("more", 1);
    let ended = first.partition(0).unwrap();
    let removal = catalog.take_out(&first, Default::default()).unwrap();
    assert!(first.partition(0).is_none());
    assert!(catalog.topic("t").is_none() && catalog.by_id(first.id()).is_none());
    // Neither of these waits for it. If one did, it would wait for ever: it gets a thread that may.
    let broker = Arc::clone(it.broker());
    let others = std::thread::spawn(move || {
        let catalog = &broker.topics;
        let grown = catalog.add_partitions("other", 2, false, Default::default());
        assert_eq!(grown.unwrap().partition_count(), 2);
        let more = catalog.topic("more").unwrap();
        catalog.delete(&more, Default::default()).unwrap();
    });
    until("other topics change", || others.is_finished()).await;
    others.join().unwrap();
    it.create("new", 1);
    // The same name waits, whichever of the two comes first.
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| it.create("t", 2));
        removal.finish();
        second.join().unwrap()
    });
    assert_ne!(first.id(), second.id());
    assert!(ended.is_closed());
    let written = it.client().await.produce("t", 1, -1, batch(&["a"])).await;
    assert_eq!((written.error_code, written.base_offset), (0, 0));
    let id = second.id();
    drop((first, second));
    let it = it.restart(&[]).await;
    let left = ["new-0", "other-0", "other-1", "t-0", "t-1"];
    assert_eq!(folders(&it), left);
    let topic = it.broker().topic("t").unwrap();
    assert_eq!(topic.id(), id);
    assert_eq!(topic.partition(1).unwrap().snapshot().end().0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_was_broken_off_is_finished_at_the_next_start() {
    let it = TestBroker::start(&[]).await;
    let catalog = &it.broker().topics;
    it.create("kept", 1);
    let gone = it.create("gone", 3);
    drop(catalog.take_out(&gone, Default::default()).unwrap());
    drop(gone);
    // Some folders were renamed already.
    let data = it.dir.path().join("data");
    std::fs::rename(data.join("gone-1"), data.join("gone-1.7-delete")).unwrap();
    assert_eq!(folders(&it).len(), 4);
    let it = it.restart(&[]).await;
    let nothing_left = || folders(&it) == ["kept-0"];
    until("the folders to be removed", nothing_left).await;
    assert!(it.broker().topic("gone").is_none());
    // And only once: what is made later under that name stays.
    drop(it.create("gone", 3));
    let it = it.restart(&[]).await;
    assert_eq!(folders(&it), ["gone-0", "gone-1", "gone-2", "kept-0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_means_that_very_topic_and_not_one_with_its_name() {
    let it = TestBroker::start(&[]).await;
    let catalog = &it.broker().topics;
    let first = it.create("t", 1);
    catalog.delete(&first, Default::default()).unwrap();
    let second = it.create("t", 1);
    let late = catalog.delete(&first, Default::default());
    assert!(matches!(late, Err(TopicError::Unknown(_))));
    assert_eq!(catalog.topic("t").unwrap().id(), second.id());
}

/// A folder whose path has about that many bytes.
fn deep_folder(base: &std::path::Path, length: usize) -> std::path::PathBuf {
    let mut path = base.to_owned();
    while path.as_os_str().len() + 1 < length {
        let left = length - path.as_os_str().len() - 1;
        path.push("d".repeat(left.min(200)));
    }
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_fails_halfway_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Paths end at 4,096 bytes: there is a name whose partitions 0 to 9 just fit, and 10 does not.
    let data = deep_folder(dir.path(), 4_010);
    let it = TestBroker::start_in(dir, &[&format!("log.dirs={}", data.display())]).await;
    let catalog = &it.broker().topics;
    let create = |length: usize, partitions: i32| {
        let new = NewTopic {
            name: TopicName::new("a".repeat(length)).unwrap(),
            id: None,
            partitions,
            configs: BTreeMap::new(),
            is_mirror: false,
        };
        catalog.create(new, Default::default())
    };
    let fits = |length: &usize| match create(*length, 1) {
        Ok(topic) => catalog.delete(&topic, Default::default()).is_ok(),
        Err(_) => false,
    };
    let longest = (1..80).take_while(fits).last().unwrap();
    assert!(longest < 79, "no name was too long");
    let refused = create(longest, 11).err().unwrap();
    assert!(matches!(refused, TopicError::Log(_)), "{refused}");
    let folders = || {
        let listed = std::fs::read_dir(&data).unwrap();
        let names = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('a')).count()
    };
    until("what was made to be removed", || folders() == 0).await;
    assert!(catalog.list().is_empty());
    let topic = create(longest, 10).unwrap();
    let grown = catalog.add_partitions(topic.name(), 11, false, Default::default());
    assert!(grown.is_err());
    until("only ten to be left", || folders() == 10).await;
    assert_eq!(topic.partition_count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_topic_looks_at_no_other_however_many_there_are() {
    let it = TestBroker::start(&[]).await;
    let catalog = &it.broker().topics;
    let config = it.create("first", 1).state().config.clone();
    let mut count = 0;
    for total in [1_000, 10_000, 100_000] {
        let mut index = catalog.topics.write();
        for number in count..total {
            let name = TopicName::new(format!("t.{number}")).unwrap();
            let (id, config) = (TopicId::random(), Arc::clone(&config));
            let topic = Topic::new(name, id, Vec::new(), BTreeMap::new(), config, false);
            index.insert(Arc::new(topic));
        }
        drop(index);
        count = total;
        index::VISITED.set(0);
        let topic = it.create("one", 1);
        catalog
            .add_partitions("one", 2, false, Default::default())
            .unwrap();
        let set = catalog.alter_configs("one", false, false, |all| {
            all.insert("retention.ms".to_owned(), "1000".to_owned());
            Ok(())
        });
        set.unwrap();
        let image = catalog.image();
        assert_eq!(image.topic("one"), Some((topic.id(), 2)));
        catalog.delete(&topic, Default::default()).unwrap();
        assert_eq!(catalog.image().topic("one"), None);
        assert!(catalog.image().version() > image.version());
        let collides = NewTopic {
            name: TopicName::new("t_7").unwrap(),
            id: None,
            partitions: 1,
            configs: BTreeMap::new(),
            is_mirror: false,
        };
        let refused = catalog.create(collides, Default::default());
        assert!(matches!(refused, Err(TopicError::Collides { .. })));
        assert_eq!(index::VISITED.get(), 0, "among {total} topics");
    }
}

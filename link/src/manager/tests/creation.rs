//! Mirrors that are created together, or automatically.

use super::*;
use crate::description::TaskDescription;

impl World {
    async fn create(&self, topics: Selection) -> Result<Vec<MirrorCreation>, LinkError> {
        let new = NewMirrors {
            may_create: MayCreate::default(),
            topics,
            configs: BTreeMap::new(),
            validate_only: false,
        };
        self.manager.create_mirrors("dr", new).await
    }

    fn mirrors_of(&self, link: &str) -> Vec<String> {
        let mirrors = self.manager.mirrors(Some(link), None).unwrap();
        mirrors.into_iter().map(|mirror| mirror.topic).collect()
    }

    fn auto_create(&self, link: &str) -> TaskDescription {
        let tasks = self.manager.link(link).unwrap().tasks;
        let mut tasks = tasks.into_iter();
        tasks.find(|task| task.name == "AutoCreateMirror").unwrap()
    }

    async fn alter_link(&self, link: &str, changes: &[(&str, &str)]) {
        let changes = changes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
        let altered =
            self.manager
                .alter_link_configs(link, changes.collect(), AlterLink::default());
        altered.await.unwrap();
    }
}

fn names(names: &[&str]) -> Selection {
    Selection::Names(names.iter().map(|n| TopicName::new(*n).unwrap()).collect())
}

/// Every topic but those whose names begin with "private".
const ALL_BUT_PRIVATE: &str = r#"{"topicFilters":[
    {"name":"*","patternType":"LITERAL","filterType":"INCLUDE"},
    {"name":"private","patternType":"PREFIXED","filterType":"EXCLUDE"}]}"#;
const ENABLE: &str = "auto.create.mirror.topics.enable";
const FILTERS: &str = "auto.create.mirror.topics.filters";

#[tokio::test(start_paused = true)]
async fn a_list_is_mirrored_in_one_step_and_what_is_refused_stops_nothing() {
    let world = World::mirroring("old", 1).await;
    world.here.add_topic("taken", 1);
    for topic in ["a", "b", "taken"] {
        world.source.add_topic(topic, 3);
        world.source.append(topic, 2, &batch(0, 5, 0));
    }
    let list = names(&["a", "taken", "nowhere", "b", "old", "a"]);
    let created = world.create(list).await.unwrap();
    let asked: Vec<&str> = created.iter().map(|one| one.topic.as_str()).collect();
    assert_eq!(asked, ["a", "taken", "nowhere", "b", "old"]);
    assert_eq!(created[0].result.as_ref().unwrap().num_partitions, 3);
    let error = |index: usize| created[index].result.as_ref().unwrap_err();
    assert!(matches!(error(1), LinkError::TopicExists(_)));
    assert!(error(1).to_string().starts_with("TOPIC_EXISTS_ERROR"));
    assert!(matches!(error(2), LinkError::NoSuchSourceTopic(_)));
    assert!(matches!(error(4), LinkError::MirrorExists { .. }));
    world.identical("a", 3).await;
    world.identical("b", 3).await;
    assert_eq!(world.mirrors_of("dr"), ["a", "b", "old"]);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_or_all_leaves_out_what_is_internal_or_mirrored_already() {
    let world = World::mirroring("eu-old", 1).await;
    for topic in ["eu-a", "eu-b", "us-a", "__consumer_offsets", "__audit"] {
        world.source.add_topic(topic, 1);
    }
    let nothing = world.create(Selection::Pattern("asia-.*".into())).await;
    assert!(matches!(nothing, Err(LinkError::InvalidName(_))));
    let checked = NewMirrors {
        may_create: MayCreate::default(),
        topics: Selection::Pattern("eu-.*".into()),
        configs: BTreeMap::new(),
        validate_only: true,
    };
    let checked = world.manager.create_mirrors("dr", checked).await.unwrap();
    assert!(checked.iter().all(|one| one.result.is_ok()));
    assert_eq!(world.mirrors_of("dr"), ["eu-old"]);
    let created = world.create(Selection::Pattern("eu-.*".into())).await;
    assert_eq!(created.unwrap().len(), 2);
    assert_eq!(world.mirrors_of("dr"), ["eu-a", "eu-b", "eu-old"]);
    let again = world.create(Selection::Pattern("eu-.*".into())).await;
    assert!(again.unwrap().is_empty());
    let rest = world.create(Selection::All).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].source_topic, "us-a");
}

#[tokio::test(start_paused = true)]
async fn no_mirror_is_of_an_internal_topic_or_has_its_name() {
    let world = World::new().await;
    for topic in ["__remote_log_metadata", "__share_group_state", "orders"] {
        world.source.add_topic(topic, 1);
    }
    // The source does not call the first two internal: not every Kafka does.
    for topic in ["__remote_log_metadata", "__share_group_state"] {
        let created = world.create(names(&[topic])).await.unwrap();
        let refused = created[0].result.as_ref().unwrap_err();
        assert!(matches!(refused, LinkError::InvalidName(_)), "{refused}");
    }
    let disguised = NewMirror {
        may_create: MayCreate::default(),
        source_topic: "orders".to_owned(),
        mirror_topic: Some("__consumer_offsets".to_owned()),
        configs: BTreeMap::new(),
    };
    let refused = world.manager.create_mirror("dr", disguised).await;
    assert!(matches!(refused, Err(LinkError::InvalidName(_))));
    assert!(world.mirrors_of("dr").is_empty());
    // With a prefix the mirror's name is an ordinary one, and the topic is internal all the same.
    let prefixed = new_link("eu", &[("cluster.link.prefix", "eu-")]);
    world.manager.create_link(prefixed).await.unwrap();
    let of_internal = new_mirror("__share_group_state");
    let refused = world.manager.create_mirror("eu", of_internal).await;
    assert!(matches!(refused, Err(LinkError::InvalidName(_))));
}

#[tokio::test(start_paused = true)]
async fn mirrors_with_configs_of_their_own_begin_where_they_are_told() {
    let world = World::new().await;
    world.source.add_topic("orders", 2);
    world.source.append("orders", 0, &batch(0, 10, 0));
    world
        .alter_link("dr", &[("topic.config.sync.include", "retention.ms")])
        .await;
    let configs = |name: &str| {
        let configs = [("mirror.start.offset.spec", "latest"), (name, "9")];
        configs.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let with = |name: &str| NewMirrors {
        may_create: MayCreate::default(),
        topics: names(&["orders"]),
        configs: configs(name).into(),
        validate_only: false,
    };
    for synced in ["retention.ms", "cleanup.policy"] {
        let refused = world.manager.create_mirrors("dr", with(synced)).await;
        assert!(matches!(refused, Err(LinkError::InvalidConfig { name, .. }) if name == synced));
    }
    let unknown = world
        .manager
        .create_mirrors("dr", with("no.such.config"))
        .await;
    assert!(unknown.unwrap()[0].result.is_err());
    let created = world
        .manager
        .create_mirrors("dr", with("retention.bytes"))
        .await;
    assert!(created.unwrap()[0].result.is_ok());
    world.source.append("orders", 0, &batch(10, 5, 0));
    let has_begun = || world.here.bytes("orders", 0) == batch(10, 5, 0);
    until("the mirror to begin at the end", has_begun).await;
    assert_eq!(world.here.configs_of("orders")["retention.bytes"], "9");
}

#[tokio::test(start_paused = true)]
async fn topics_of_now_and_those_to_come_are_mirrored_by_themselves() {
    let world = World::new().await;
    for topic in ["orders", "private-a", "__consumer_offsets", "__audit"] {
        world.source.add_topic(topic, 1);
    }
    assert_eq!(world.auto_create("dr").state, TaskState::NotConfigured);
    world.alter_link("dr", &[(ENABLE, "true")]).await;
    let is_misconfigured = || world.auto_create("dr").error == TaskErrorCode::MisconfigurationError;
    until("the missing filters to be told", is_misconfigured).await;
    world.alter_link("dr", &[(FILTERS, ALL_BUT_PRIVATE)]).await;
    until("orders", || world.mirrors_of("dr") == ["orders"]).await;
    world.source.add_topic("users", 1);
    world.source.append("users", 0, &batch(0, 5, 0));
    until("users", || world.mirrors_of("dr") == ["orders", "users"]).await;
    world.identical("users", 1).await;
    let is_well = || world.auto_create("dr").state == TaskState::Active;
    until("the task to be well", is_well).await;
    // What was promoted stays an ordinary topic.
    let promoted = world.alter(Verb::Promote, "orders").await.unwrap();
    assert_eq!(promoted.status, MirrorStatus::Stopped);
    let runs = world.auto_create("dr").last_run_ms;
    until("one more run", || {
        world.auto_create("dr").last_run_ms > runs
    })
    .await;
    let orders = world.manager.mirror("orders").unwrap();
    assert_eq!(orders.status, MirrorStatus::Stopped);
    assert_eq!(world.auto_create("dr").state, TaskState::Active);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_exists_here_is_an_error_of_the_task_and_stops_no_other() {
    let world = World::mirroring("orders", 1).await;
    world.here.add_topic("local", 1);
    for topic in ["local", "users"] {
        world.source.add_topic(topic, 1);
    }
    let configs = [(ENABLE, "true"), (FILTERS, ALL_BUT_PRIVATE)];
    let second = new_link("second", &configs);
    world.manager.create_link(second).await.unwrap();
    until("users", || world.mirrors_of("second") == ["users"]).await;
    let is_told = || world.auto_create("second").error == TaskErrorCode::TopicExistsError;
    until("the collisions to be told", is_told).await;
    let task = world.auto_create("second");
    assert_eq!(task.state, TaskState::InError);
    for named in ["'local'", "'orders' is already a mirror of link 'dr'"] {
        assert!(task.error_detail.contains(named), "{}", task.error_detail);
    }
    // By hand it is refused in the same words, and under a prefix both find their place.
    let refused = world.manager.create_mirror("second", new_mirror("orders"));
    let refused = refused.await.unwrap_err().to_string();
    assert!(refused.starts_with("TOPIC_EXISTS_ERROR"), "{refused}");
    let prefixed = [configs[0], configs[1], ("cluster.link.prefix", "west.")];
    let third = new_link("third", &prefixed);
    world.manager.create_link(third).await.unwrap();
    let all = ["west.local", "west.orders", "west.users"];
    until("all under a prefix", || world.mirrors_of("third") == all).await;
    let is_well = || world.auto_create("third").state == TaskState::Active;
    until("the third to be well", is_well).await;
}

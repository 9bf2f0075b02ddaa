//! Topics that are deleted or recreated while something is being done to their mirrors.

use super::*;

fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap()
}

/// The topic is deleted here, as the broker does it.
fn delete(here: &FakeHere, manager: &LinkManager, topic: &str) {
    here.delete_topic(topic);
    manager.topic_deleted(&name(topic));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_under_way_brings_a_deleted_mirror_back() {
    for action in [Verb::Pause, Verb::Resume, Verb::Promote, Verb::Failover] {
        let world = World::mirroring("orders", 1).await;
        if action == Verb::Resume {
            world.alter(Verb::Pause, "orders").await.unwrap();
        }
        let (here, manager) = (world.here.clone(), Arc::clone(&world.manager));
        world
            .here
            .happens_before_save(move || delete(&here, &manager, "orders"));
        let refused = world.alter(action, "orders").await;
        assert!(refused.is_err(), "{action:?}: {refused:?}");
        assert_eq!(world.here.stored_mirror("orders"), None, "{action:?}");
        let gone = world.manager.mirror("orders");
        assert!(matches!(gone, Err(LinkError::NotAMirror(_))), "{gone:?}");
        let deleted = world.manager.delete_link("dr", false).await;
        assert_eq!(deleted, Ok(Vec::new()), "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_under_way_does_not_bring_a_deleted_mirror_back() {
    let world = World::mirroring("orders", 1).await;
    let (here, manager) = (world.here.clone(), Arc::clone(&world.manager));
    world
        .here
        .happens_before_save(move || delete(&here, &manager, "orders"));
    world.source.delete_topic("orders");
    until("the topic to be deleted", || {
        world.here.stored_mirror("orders").is_none()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.here.stored_mirror("orders"), None);
    assert_eq!(world.manager.delete_link("dr", false).await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_mirror_recreated_before_the_link_learns_of_the_deletion_stays() {
    let world = World::mirroring("orders", 1).await;
    world.alter(Verb::Failover, "orders").await.unwrap();
    world.here.delete_topic("orders");
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.mirror("orders").await.unwrap();
    world.manager.topic_deleted(&name("orders"));
    let anew = world.manager.mirror("orders").unwrap();
    assert_eq!(anew.status, MirrorStatus::Active);
    world.identical("orders", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_gone_is_refused_by_name_and_the_rest_of_the_failover_goes_on() {
    let world = World::mirroring("orders", 1).await;
    world.source.add_topic("users", 1);
    world.mirror("users").await.unwrap();
    // The link has not been told yet.
    world.here.delete_topic("orders");
    let outcomes = world
        .manager
        .alter_mirrors("dr", Verb::Failover, Selection::All, false, None)
        .await
        .unwrap();
    assert!(outcomes[0].result.is_err(), "{outcomes:?}");
    let users = outcomes[1].result.as_ref().unwrap();
    assert_eq!(users.status, MirrorStatus::Stopped);
    assert_eq!(world.here.stored_mirror("orders"), None);
    assert_eq!(world.manager.delete_link("dr", false).await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_link_is_deleted_by_force_though_topics_of_its_mirrors_are_gone() {
    let world = World::mirroring("orders", 1).await;
    world.source.add_topic("users", 1);
    world.mirror("users").await.unwrap();
    world.here.delete_topic("orders");
    let made = world.manager.delete_link("dr", true).await.unwrap();
    assert_eq!(made.len(), 1);
    assert!(world.here.cut_epoch("users", 0).is_some());
}

//! Partitions that are read at a replica nearby, and what leads back to their leaders.

use super::*;

/// Three brokers in racks a, b and c; the link is in b.
async fn world() -> World {
    let world = World::new().await;
    for (broker, rack) in [(1, "a"), (2, "b"), (3, "c")] {
        world.source.set_rack(broker, rack);
    }
    world.source.add_topic("orders", 3);
    for partition in 0..3 {
        world.source.append("orders", partition, &batch(0, 10, 0));
    }
    let configs = [("client.rack", "b"), ("metadata.max.age.ms", "60000")];
    let changes = configs.map(|(name, value)| (name.into(), Some(value.into())));
    let changed = world
        .manager
        .alter_link_configs("dr", changes.into(), AlterLink::default());
    changed.await.unwrap();
    world.mirror("orders").await.unwrap();
    world.identical("orders", 3).await;
    world
}

fn replicas(world: &World) -> Vec<Option<i32>> {
    let lags = world.manager.mirror("orders").unwrap().lags;
    lags.iter().map(|lag| lag.source_replica).collect()
}

async fn wait_replicas(world: &World, wanted: [i32; 3]) {
    let wanted = wanted.map(Some);
    let what = format!("partitions to be read at {wanted:?}");
    until(&what, || replicas(world) == wanted).await;
}

fn append(world: &World, at: i64) {
    for partition in 0..3 {
        world.source.append("orders", partition, &batch(at, 10, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_replica_nearby_serves_all_and_leaders_none() {
    let world = world().await;
    append(&world, 10);
    world.identical("orders", 3).await;
    wait_replicas(&world, [2, 2, 2]).await;
    let served = [1, 2, 3].map(|broker| world.source.served_bytes(broker));
    assert!(
        served[0] == 0 && served[1] > 0 && served[2] == 0,
        "{served:?}"
    );
    // The leaders are asked again when their word is too old, and say the same.
    tokio::time::sleep(Duration::from_secs(100)).await;
    append(&world, 20);
    world.identical("orders", 3).await;
    wait_replicas(&world, [2, 2, 2]).await;
    assert_eq!(world.source.served_bytes(1), 0);
}

#[tokio::test(start_paused = true)]
async fn a_replica_out_of_reach_or_behind_leads_back_to_the_leader_for_a_while() {
    let world = world().await;
    world.source.set_lost(2, true);
    world.source.lead("orders", 1, Some(3));
    append(&world, 10);
    world.identical("orders", 3).await;
    wait_replicas(&world, [1, 3, 3]).await;
    world.source.set_lost(2, false);
    wait_replicas(&world, [2, 2, 2]).await;

    world.source.hold_followers("orders", 0, Some(5));
    append(&world, 20);
    world.identical("orders", 3).await;
    wait_replicas(&world, [1, 2, 2]).await;
    assert_eq!(
        world.manager.mirror("orders").unwrap().status,
        MirrorStatus::Active,
        "what a follower lacks is no truncation"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_is_asked_itself_and_truncation_at_it_is_found() {
    let world = world().await;
    wait_replicas(&world, [2, 2, 2]).await;
    world.source.lead("orders", 0, Some(3));
    append(&world, 10);
    world.identical("orders", 3).await;
    wait_replicas(&world, [2, 2, 2]).await;
    world.source.truncate("orders", 0, 10);
    let mirror = world.status("orders", MirrorStatus::Failed).await;
    assert_eq!(mirror.error, MirrorError::UnexpectedTruncation);
}

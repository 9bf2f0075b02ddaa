//! What holds a link back: its own limit, and its source's.

use super::*;

async fn set(world: &World, name: &str, value: &str) {
    let changes = vec![(name.to_owned(), Some(value.to_owned()))];
    world
        .manager
        .alter_link_configs("dr", changes, AlterLink::default())
        .await
        .unwrap();
}

const RATE: &str = "cluster.link.throttle.bytes.per.second";

/// Three partitions at three brokers; bytes in all.
fn fill(world: &World, batches: i64) -> usize {
    world.source.add_topic("orders", 3);
    let mut bytes = 0;
    for partition in 0..3 {
        for round in 0..batches {
            let run = batch(round * 10, 10, 0);
            world.source.append("orders", partition, &run);
            bytes += run.len();
        }
    }
    bytes
}

#[tokio::test(start_paused = true)]
async fn all_fetchers_of_a_link_share_its_bytes_per_second() {
    for fetchers in ["1", "3"] {
        let world = World::new().await;
        let bytes = fill(&world, 40);
        let rate = bytes / 20;
        set(&world, RATE, &rate.to_string()).await;
        set(&world, "num.cluster.link.fetchers", fetchers).await;
        let began = tokio::time::Instant::now();
        world.mirror("orders").await.unwrap();
        world.identical("orders", 3).await;
        let took = began.elapsed().as_secs_f64();
        println!("{fetchers} fetchers per broker: {took} s for {bytes} bytes at {rate}/s");
        // A second's worth may come at once, and another to each that asks at the same time. Batches that were cut
        // come twice, and count twice.
        assert!((15.0..=25.0).contains(&took), "{took}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_lifted_while_its_debt_is_being_paid_holds_nobody_any_more() {
    let world = World::new().await;
    let bytes = fill(&world, 40);
    set(&world, RATE, "1").await;
    world.mirror("orders").await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mirrored = |world: &World| (0..3).map(|p| world.here.bytes("orders", p).len()).sum();
    let so_far: usize = mirrored(&world);
    assert!(
        so_far > 0,
        "even a single batch is more than the limit, and comes"
    );
    assert!(so_far < bytes / 10, "{so_far} of {bytes}");
    set(&world, RATE, "-1").await;
    let began = tokio::time::Instant::now();
    world.identical("orders", 3).await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_asks_for_patience_gets_it_and_is_not_taken_for_lost() {
    let world = World::mirroring("orders", 3).await;
    world.source.set_throttle_ms(5_000);
    world.source.append("orders", 0, &batch(10, 10, 0));
    world.identical("orders", 3).await;
    let before = world.source.fetches();
    for round in 2..32 {
        world.source.append("orders", 0, &batch(round * 10, 10, 0));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.manager.link("dr").unwrap().state, LinkState::Active);
    }
    let fetches = world.source.fetches() - before;
    // Three brokers are asked once every five seconds.
    assert!((9..=21).contains(&fetches), "{fetches} fetches in 30 s");
    world.identical("orders", 3).await;
}

//! A source that no longer accepts who the link says that it is.

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the link is in that state for that cause.
async fn shown(world: &World, state: LinkState, error: LinkErrorCode) {
    let is_shown = async {
        loop {
            let link = world.manager.link("dr").unwrap();
            if (link.state, link.error) == (state, error) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_shown).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_refused_says_so_at_once_and_does_not_ask_for_ever() {
    let world = World::mirroring("orders", 3).await;
    world.source.set_refusing(true);
    world.source.cut_connections();
    let began = tokio::time::Instant::now();
    shown(
        &world,
        LinkState::Unavailable,
        LinkErrorCode::AuthenticationError,
    )
    .await;
    let told = began.elapsed();
    shown(
        &world,
        LinkState::Failed,
        LinkErrorCode::AuthenticationError,
    )
    .await;
    let (failed, asked) = (began.elapsed(), world.source.refusals());
    println!("told after {told:?}, failed after {failed:?} and {asked} refusals");
    assert!(told <= Duration::from_secs(2), "{told:?}");
    tokio::time::sleep(10 * PATIENCE).await;
    let later = world.source.refusals();
    assert!(asked <= 60 && later <= asked + 3, "{asked}, then {later}");

    world.source.set_refusing(false);
    world.source.append("orders", 0, &batch(10, 10, 0));
    let change = vec![("client.id".to_owned(), Some("anew".to_owned()))];
    world
        .manager
        .alter_link_configs("dr", change, AlterLink::default())
        .await
        .unwrap();
    world.identical("orders", 3).await;
    shown(&world, LinkState::Active, LinkErrorCode::NoError).await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_open_go_on_and_the_link_says_that_no_other_would() {
    let world = World::mirroring("orders", 3).await;
    world.source.set_refusing(true);
    shown(
        &world,
        LinkState::Unavailable,
        LinkErrorCode::AuthenticationError,
    )
    .await;
    for round in 1..20 {
        world.source.append("orders", 0, &batch(round * 10, 10, 0));
        world.identical("orders", 3).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let link = world.manager.link("dr").unwrap();
        assert_eq!(link.error, LinkErrorCode::AuthenticationError, "{link:?}");
        assert_eq!(link.state, LinkState::Unavailable, "{link:?}");
    }
    world.source.set_refusing(false);
    shown(&world, LinkState::Active, LinkErrorCode::NoError).await;
}

//! Changes of how a source is reached are refused if it isn't reached then.

use super::*;

type Changes = Vec<(String, Option<String>)>;

fn set(name: &str, value: Option<&str>) -> Changes {
    vec![(name.to_owned(), value.map(str::to_owned))]
}

/// A change of each kind: another address, other credentials, less time, and back to a default.
fn changes_of_the_way() -> Vec<Changes> {
    let password = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                    username=\"a\" password=\"b\";";
    let of = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    vec![
        set("bootstrap.servers", Some("nowhere:9092")),
        vec![
            of("security.protocol", "SASL_PLAINTEXT"),
            of("sasl.mechanism", "PLAIN"),
            of("sasl.jaas.config", password),
        ],
        set("request.timeout.ms", Some("7")),
        set("socket.connection.setup.timeout.ms", None),
    ]
}

const CHECK: AlterLink = AlterLink {
    validate_only: true,
    validate_link: true,
};
const UNSEEN: AlterLink = AlterLink {
    validate_only: false,
    validate_link: false,
};

async fn world() -> World {
    let world = World::mirroring("orders", 1).await;
    let change = set("socket.connection.setup.timeout.ms", Some("9000"));
    let changed = world
        .manager
        .alter_link_configs("dr", change, AlterLink::default());
    changed.await.unwrap();
    world
}

#[tokio::test(start_paused = true)]
async fn a_way_that_leads_nowhere_is_refused_and_nothing_is_changed() {
    for change in changes_of_the_way() {
        let world = world().await;
        let before = world.manager.link_configs("dr").unwrap();
        world.source.set_down(true);
        for how in [CHECK, AlterLink::default()] {
            let refused = world
                .manager
                .alter_link_configs("dr", change.clone(), how)
                .await;
            let Err(LinkError::SourceUnavailable { detail, .. }) = refused else {
                panic!("{how:?}, {change:?}: {refused:?}");
            };
            assert!(detail.contains("--no-validate"), "{detail}");
        }
        assert_eq!(world.manager.link_configs("dr").unwrap(), before);
        // By the operator's own word it is changed all the same.
        let altered = world.manager.alter_link_configs("dr", change, UNSEEN).await;
        assert_eq!(altered, Ok(()));
        assert_ne!(world.manager.link_configs("dr").unwrap(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_the_source_refuses_and_another_cluster_are_refused() {
    let world = world().await;
    let change = changes_of_the_way().remove(1);
    world.source.set_refusing(true);
    let refused = world
        .manager
        .alter_link_configs("dr", change.clone(), AlterLink::default())
        .await;
    let Err(LinkError::SourceUnavailable { code, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(code, LinkErrorCode::AuthenticationError);
    world.source.set_refusing(false);
    world.source.set_cluster_id("another");
    for how in [CHECK, AlterLink::default()] {
        let refused = world
            .manager
            .alter_link_configs("dr", change.clone(), how)
            .await;
        assert!(
            matches!(refused, Err(LinkError::WrongCluster { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn other_changes_do_not_ask_a_source_that_is_away() {
    let world = world().await;
    world.source.set_down(true);
    for change in [
        set("cluster.link.paused", Some("true")),
        set("replica.fetch.max.bytes", Some("2000000")),
        set("bootstrap.servers", Some("fake:9092")),
    ] {
        let altered = world
            .manager
            .alter_link_configs("dr", change, AlterLink::default())
            .await;
        assert_eq!(altered, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_does_not_wait_for_a_source_that_is_asked_for_a_change() {
    let world = world().await;
    world.source.set_path(Duration::from_secs(20), 1_000_000);
    let change = set("bootstrap.servers", Some("other:9092"));
    let manager = Arc::clone(&world.manager);
    let asking = tokio::spawn(async move {
        manager
            .alter_link_configs("dr", change, AlterLink::default())
            .await
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    world.alter(Verb::Failover, "orders").await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(!asking.is_finished());
    assert_eq!(asking.await.unwrap(), Ok(()));
}

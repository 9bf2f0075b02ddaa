//! Every config that can be changed on a live link takes effect there.

use super::*;
use crate::config::LinkConfig;
use crate::source::BoxFuture;

/// What a config changes, as a number.
type Measure = for<'a> fn(&'a World) -> BoxFuture<'a, u64>;

/// A config, another value for it, what it changes, and how that must compare: before, after.
struct Row {
    name: &'static str,
    value: &'static str,
    measure: Measure,
    shows: fn(u64, u64) -> bool,
}

/// Configs whose change creates a new client for the source. Their effects are tested next to their
/// code: `source/cluster/tests.rs`, `source/connection/tests.rs`, `source/transport.rs`.
const CLIENT: &[(&str, &str)] = &[
    ("bootstrap.servers", "other:9092"),
    ("client.dns.lookup", "use_all_dns_ips"),
    ("client.id", "me"),
    ("connections.max.idle.ms", "1"),
    ("receive.buffer.bytes", "65536"),
    ("reconnect.backoff.max.ms", "7"),
    ("reconnect.backoff.ms", "7"),
    ("request.timeout.ms", "7"),
    ("send.buffer.bytes", "65536"),
    ("socket.connection.setup.timeout.max.ms", "7"),
    ("socket.connection.setup.timeout.ms", "7"),
];

/// Configs of jobs and credentials, tested with them.
const ELSEWHERE: &[&str] = &[
    "acl.",
    "auto.create.",
    "consumer.",
    "sasl.",
    "security.",
    "ssl.",
];

const fn row(
    name: &'static str,
    value: &'static str,
    measure: Measure,
    shows: fn(u64, u64) -> bool,
) -> Row {
    Row {
        name,
        value,
        measure,
        shows,
    }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("availability.check.consecutive.failure.threshold", "20", ms_to_unavailable, |before, after| after > 3 * before),
    row("availability.check.ms", "5000", checks_in_a_minute, |before, after| (50..70).contains(&before) && (10..15).contains(&after)),
    row("client.rack", "b", replica_read, |before, after| (before, after) == (1, 2)),
    row("cluster.link.paused", "true", fetches_in_a_minute, |before, after| before > 100 && after == 0),
    row("cluster.link.retry.timeout.ms", "20000", ms_to_failed, |before, after| before > 290_000 && after < 30_000),
    row("cluster.link.throttle.bytes.per.second", "500", ms_to_mirror_more, |before, after| after > before + 5_000),
    row("metadata.max.age.ms", "1000", metadata_in_a_minute, |before, after| after > 3 * before),
    row("mirror.start.offset.spec", "latest", start_of_a_new_mirror, |before, after| (before, after) == (0, 10)),
    row("num.cluster.link.fetchers", "4", connections, |before, after| before == 3 && (5..=12).contains(&after)),
    row("replica.fetch.max.bytes", "1234", partition_max_bytes, |before, after| (before, after) == (1_048_576, 1234)),
    row("replica.fetch.min.bytes", "77", min_bytes, |before, after| (before, after) == (1, 77)),
    row("replica.fetch.response.max.bytes", "1234", response_max_bytes, |before, after| (before, after) == (10_485_760, 1234)),
    row("replica.fetch.wait.max.ms", "77", wait_max_ms, |before, after| (before, after) == (500, 77)),
    row("retry.backoff.max.ms", "10000", retries_in_a_minute, |before, after| before > 3 * after),
    row("retry.backoff.ms", "1000", retries_in_the_first_seconds, |before, after| before > after),
    row("topic.config.sync.include", "retention.bytes", synced_retention_ms, |before, after| (before, after) == (1, 0)),
    row("topic.config.sync.ms", "20000", config_syncs_in_a_minute, |before, after| before > 2 * after && after > 0),
];

async fn set(world: &World, name: &str, value: &str) {
    let changes = vec![(name.to_owned(), Some(value.to_owned()))];
    let changed = world
        .manager
        .alter_link_configs("dr", changes, AlterLink::default());
    changed.await.unwrap();
}

/// What the source is asked in a minute.
async fn asked(world: &World) -> crate::testing::source::Asked {
    world.source.take_asked();
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.source.take_asked()
}

fn checks_in_a_minute(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async { asked(world).await.describes })
}

fn metadata_in_a_minute(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async { asked(world).await.metadata })
}

fn config_syncs_in_a_minute(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async { asked(world).await.configs })
}

fn fetches_in_a_minute(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async {
        let before = world.source.fetches();
        tokio::time::sleep(Duration::from_secs(60)).await;
        world.source.fetches() - before
    })
}

/// The limits of fetches, once nothing is new.
async fn limits(world: &World) -> (crate::source::fetch::FetchLimits, u32) {
    let (limits, partition) = asked(world).await.limits.unwrap();
    (limits, partition.unwrap())
}

fn partition_max_bytes(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async { limits(world).await.1.into() })
}

fn min_bytes(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async { limits(world).await.0.min_bytes.into() })
}

fn response_max_bytes(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async { limits(world).await.0.max_bytes.into() })
}

fn wait_max_ms(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async { limits(world).await.0.max_wait_ms.into() })
}

/// How long the source is away until the link says so; then it is back.
async fn ms_away_until(world: &World, state: LinkState) -> u64 {
    let began = tokio::time::Instant::now();
    world.source.set_down(true);
    world.link_state(state).await;
    let took = began.elapsed();
    world.source.set_down(false);
    if state == LinkState::Failed {
        set(world, "cluster.link.paused", "false").await;
    }
    world.link_state(LinkState::Active).await;
    u64::try_from(took.as_millis()).unwrap()
}

fn ms_to_unavailable(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(ms_away_until(world, LinkState::Unavailable))
}

fn ms_to_failed(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(ms_away_until(world, LinkState::Failed))
}

fn replica_read(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async {
        world.source.set_rack(2, "b");
        tokio::time::sleep(Duration::from_secs(10)).await;
        let replica = world.manager.mirror("orders").unwrap().lags[0].source_replica;
        u64::try_from(replica.unwrap()).unwrap()
    })
}

fn ms_to_mirror_more(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async {
        let began = tokio::time::Instant::now();
        let end = world.manager.mirror("orders").unwrap().lags[0].mirror_end;
        for round in 0..20 {
            world
                .source
                .append("orders", 0, &batch(end + round * 10, 10, 0));
        }
        world.identical("orders", 12).await;
        u64::try_from(began.elapsed().as_millis()).unwrap()
    })
}

fn start_of_a_new_mirror(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async {
        let topic = format!("new-{}", world.source.fetches());
        world.source.add_topic(&topic, 1);
        world.source.append(&topic, 0, &batch(0, 10, 0));
        world.mirror(&topic).await.unwrap();
        world.source.append(&topic, 0, &batch(10, 1, 0));
        let end = || world.here.offsets(&topic, 0).1;
        until("the new mirror", || end() == 11).await;
        u64::try_from(world.here.offsets(&topic, 0).0).unwrap()
    })
}

/// New connections for fetching.
fn connections(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async {
        world.source.cut_connections();
        asked(world).await.lanes.len().try_into().unwrap()
    })
}

/// How often a partition without a leader is looked for.
async fn retries(world: &World, time: Duration) -> u64 {
    // Nobody else asks as often.
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.source.lead("orders", 0, None);
    world.source.take_asked();
    tokio::time::sleep(time).await;
    let retries = world.source.take_asked().metadata;
    world.source.lead("orders", 0, Some(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    retries
}

fn retries_in_a_minute(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(retries(world, Duration::from_secs(60)))
}

fn retries_in_the_first_seconds(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(retries(world, Duration::from_secs(3)))
}

fn synced_retention_ms(world: &World) -> BoxFuture<'_, u64> {
    Box::pin(async {
        let value = (100_000 + world.source.fetches()).to_string();
        world.source.set_config("orders", "retention.ms", &value);
        tokio::time::sleep(Duration::from_secs(30)).await;
        let configs = world
            .here
            .configs(&TopicName::new("orders").unwrap())
            .unwrap();
        let has = configs.contains(&("retention.ms".to_owned(), value));
        u64::from(has)
    })
}

#[tokio::test(start_paused = true)]
async fn every_config_takes_effect_when_it_is_changed_on_a_live_link() {
    for row in ROWS {
        let world = World::mirroring("orders", 12).await;
        let before = (row.measure)(&world).await;
        set(&world, row.name, row.value).await;
        let after = (row.measure)(&world).await;
        println!("{}={}: {before} → {after}", row.name, row.value);
        assert!(
            (row.shows)(before, after),
            "{}: {before}, then {after}",
            row.name
        );
    }
}

#[tokio::test(start_paused = true)]
async fn configs_of_the_client_make_a_new_client() {
    for (name, value) in CLIENT {
        let world = World::mirroring("orders", 3).await;
        world.source.take_asked();
        set(&world, name, value).await;
        let clients = world.source.take_asked().clients;
        let found = clients.last().and_then(|configs| configs.get(*name));
        assert_eq!(found.map(String::as_str), Some(*value), "{name}");
        world.source.append("orders", 0, &batch(10, 10, 0));
        world.identical("orders", 3).await;
    }
}

#[test]
fn no_config_is_left_out() {
    let values = BTreeMap::from([("bootstrap.servers".to_owned(), "a:1".to_owned())]);
    let config = LinkConfig::parse(&values).unwrap();
    for entry in config.entries().iter().filter(|entry| !entry.is_read_only) {
        let name = entry.name.as_str();
        let is_tested = ROWS.iter().any(|row| row.name == name)
            || CLIENT.iter().any(|(client, _)| *client == name)
            || ELSEWHERE.iter().any(|prefix| name.starts_with(prefix));
        assert!(
            is_tested,
            "{name}: what shows that it takes effect on a live link?"
        );
    }
}

//! kafka-configs: topics, the broker, its cluster-wide defaults, groups and client quotas.

use anyhow::ensure;
use harness::{Result, Tools};

use super::expect;

const CONFIGS: &str = "kafka-configs";

pub fn run(tools: &mut Tools) -> Result<()> {
    topics(tools)?;
    broker(tools)?;
    quotas(tools)?;
    groups(tools)
}

fn alter(tools: &mut Tools, of: &[&str], change: &[&str]) -> Result<String> {
    tools.run(CONFIGS, &[&["--alter"], of, change].concat())
}

fn describe(tools: &mut Tools, of: &[&str]) -> Result<String> {
    tools.run(CONFIGS, &[&["--describe"], of].concat())
}

fn topics(tools: &mut Tools) -> Result<()> {
    tools.run(
        "kafka-topics",
        &[
            "--create",
            "--topic",
            "orders",
            "--config",
            "retention.ms=3600000",
        ],
    )?;
    let topic = &["--entity-type", "topics", "--entity-name", "orders"];
    let change = [
        "--add-config",
        "max.message.bytes=1000000,cleanup.policy=[compact,delete]",
    ];
    let said = alter(
        tools,
        topic,
        &[&change[..], &["--delete-config", "retention.ms"]].concat(),
    )?;
    expect(&said, &["Completed updating config for topic orders."])?;
    let own = describe(tools, topic)?;
    expect(&own, &["Dynamic configs for topic orders are:"])?;
    expect(
        &own,
        &[
            "  cleanup.policy=compact,delete sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, DEFAULT_CONFIG:log.cleanup.policy=delete}",
        ],
    )?;
    expect(
        &own,
        &[
            "DYNAMIC_TOPIC_CONFIG:max.message.bytes=1000000, DEFAULT_CONFIG:message.max.bytes=1048588",
        ],
    )?;
    ensure!(!own.contains("retention.ms=3600000"), "{own}");
    let all = describe(tools, &[&topic[..], &["--all"]].concat())?;
    expect(
        &all,
        &[
            "  retention.ms=604800000 sensitive=false",
            "  segment.bytes=1073741824 ",
        ],
    )?;
    let wrong = [
        &["--alter"],
        &topic[..],
        &["--add-config", "retention.ms=soon"],
    ]
    .concat();
    expect(
        &tools.refusal(CONFIGS, &wrong)?,
        &["InvalidConfigurationException", "Invalid value soon"],
    )
}

fn broker(tools: &mut Tools) -> Result<()> {
    let one = &["--entity-type", "brokers", "--entity-name", "1"];
    let every = &["--entity-type", "brokers", "--entity-default"];
    let said = alter(tools, one, &["--add-config", "log.cleaner.threads=2"])?;
    expect(&said, &["Completed updating config for broker 1."])?;
    let said = alter(
        tools,
        every,
        &["--add-config", "log.retention.ms=360000000"],
    )?;
    expect(
        &said,
        &["Completed updating default config for brokers in the cluster."],
    )?;
    let own = describe(tools, one)?;
    expect(
        &own,
        &[
            "  log.cleaner.threads=2 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2, DEFAULT_CONFIG:log.cleaner.threads=1}",
        ],
    )?;
    let defaults = describe(tools, every)?;
    expect(
        &defaults,
        &[
            "  log.retention.ms=360000000 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=360000000}",
        ],
    )?;
    let orders = [
        "--entity-type",
        "topics",
        "--entity-name",
        "orders",
        "--all",
    ];
    expect(
        &describe(tools, &orders)?,
        &[
            "retention.ms=360000000 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=360000000",
        ],
    )?;
    alter(tools, every, &["--delete-config", "log.retention.ms"])?;
    expect(&describe(tools, &orders)?, &["  retention.ms=604800000 "])?;
    let all = describe(tools, &[&one[..], &["--all"]].concat())?;
    expect(&all, &["All configs for broker 1 are:", "  log.dirs="])?;
    let fixed = [
        &["--alter"],
        &one[..],
        &["--add-config", "log.dirs=/elsewhere"],
    ]
    .concat();
    expect(
        &tools.refusal(CONFIGS, &fixed)?,
        &["InvalidRequestException"],
    )
}

fn quotas(tools: &mut Tools) -> Result<()> {
    let client = &["--entity-type", "clients", "--entity-name", "importer"];
    let said = alter(
        tools,
        client,
        &[
            "--add-config",
            "producer_byte_rate=100000,consumer_byte_rate=200000",
        ],
    )?;
    expect(&said, &["Completed updating config for client importer."])?;
    let kept = describe(tools, &["--entity-type", "clients"])?;
    expect(
        &kept,
        &[
            "Quota configs for client-id 'importer' are consumer_byte_rate=200000.0, producer_byte_rate=100000.0",
        ],
    )?;
    alter(
        tools,
        client,
        &["--delete-config", "producer_byte_rate,consumer_byte_rate"],
    )?;
    let gone = describe(tools, &["--entity-type", "clients"])?;
    ensure!(!gone.contains("importer"), "{gone}");
    Ok(())
}

fn groups(tools: &mut Tools) -> Result<()> {
    let group = &["--entity-type", "groups", "--entity-name", "billing"];
    let said = alter(
        tools,
        group,
        &["--add-config", "consumer.session.timeout.ms=50000"],
    )?;
    expect(&said, &["Completed updating config for group billing."])?;
    expect(
        &describe(tools, group)?,
        &[
            "  consumer.session.timeout.ms=50000 sensitive=false synonyms={DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000, DEFAULT_CONFIG:group.consumer.session.timeout.ms=45000}",
        ],
    )
}

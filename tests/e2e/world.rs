//! The words that the stories share: a source, a destination, a Java client on each.

use std::time::Duration;

use harness::{Carrick, Kafka, Peer, Result};
use serde_json::{Value, json};

/// Long enough for a loaded machine; a condition normally holds much sooner.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The link's name in every story.
pub const LINK: &str = "dr";

/// The link config by which every group's offsets are synced.
pub const EVERY_GROUP: &str = r#"consumer.offset.group.filters={"groupFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}"#;

/// A real Kafka, a Carrick, and a Java client at each.
pub struct World {
    pub kafka: Kafka,
    pub carrick: Carrick,
    pub source: Peer,
    pub destination: Peer,
}

impl World {
    /// One source broker.
    pub fn start() -> Result<Self> {
        Self::start_with(Kafka::start()?)
    }

    /// The given source.
    pub fn start_with(kafka: Kafka) -> Result<Self> {
        Self::start_both(kafka, Carrick::start()?)
    }

    /// The given source and destination.
    pub fn start_both(kafka: Kafka, carrick: Carrick) -> Result<Self> {
        let source = Peer::java(&kafka.bootstrap())?;
        let destination = Peer::java(&carrick.bootstrap())?;
        Ok(Self {
            kafka,
            carrick,
            source,
            destination,
        })
    }

    /// Creates the link and mirrors `topics`.
    pub fn mirror(&self, topics: &[&str]) -> Result<()> {
        self.carrick.link(LINK, &self.kafka.bootstrap(), &[])?;
        self.carrick.mirror(LINK, topics)?;
        Ok(())
    }

    /// Changes configs (`name=value`) of the link while it runs.
    pub fn alter_link(&self, configs: &[&str]) -> Result<()> {
        let mut line = vec!["link", "configs", "alter", LINK];
        for config in configs {
            line.extend(["--set", config]);
        }
        self.carrick.cli(&line)?;
        Ok(())
    }

    /// A topic at the source.
    pub fn topic(&mut self, name: &str, partitions: i32, configs: Value) -> Result<()> {
        let fields = json!({"topic": name, "partitions": partitions, "configs": configs});
        self.source.call("create_topic", fields)?;
        Ok(())
    }

    /// First and end offset of a source partition.
    pub fn source_range(&mut self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        range(&mut self.source, topic, partition)
    }

    /// Waits until the mirror of `topic` has all that the source has now.
    pub fn wait_caught_up(&mut self, topic: &str, partitions: i32) -> Result<()> {
        let ends: Result<Vec<i64>> = (0..partitions)
            .map(|p| Ok(self.source_range(topic, p)?.1))
            .collect();
        self.carrick.wait_caught_up(topic, &ends?, LIMIT)
    }

    /// Compares the data on both disks; returns the number of batches, so that the test can check
    /// that there were some.
    pub fn assert_identical(&mut self, topic: &str, partitions: i32) -> Result<usize> {
        let mut batches = 0;
        for partition in 0..partitions {
            let (from, to) = self.source_range(topic, partition)?;
            let source = self.kafka.partition_dir(1, topic, partition);
            let mirror = self.carrick.partition_dir(topic, partition);
            let compared = harness::segments::compare(&source, &mirror, from, to)?;
            println!("{topic}-{partition}: {compared:?} between {from} and {to}");
            batches += compared.batches;
        }
        Ok(batches)
    }
}

/// First and end offset of a partition, as a client sees them.
pub fn range(peer: &mut Peer, topic: &str, partition: i32) -> Result<(i64, i64)> {
    let offsets = peer.call("offsets", json!({"topic": topic, "partition": partition}))?;
    let at = |name: &str| offsets[name].as_i64().unwrap_or(-1);
    Ok((at("beginning"), at("end")))
}

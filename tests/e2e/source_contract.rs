//! The link's own contract of a source, on a real Kafka of two brokers.
#![expect(
    clippy::expect_used,
    reason = "the suite's harness has no errors to give: a test that can't go on should say so at once"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_link::config::LinkConfig;
use carrick_link::manager::KafkaSources;
use carrick_link::ports::SourceConnector as _;
use carrick_link::record::LinkName;
use carrick_link::source::SourceCluster;
use carrick_link::testing::batches::FIRST_TIMESTAMP_MS;
use carrick_link::testing::contract::source::{Harness, all};
use carrick_protocol::ids::TopicPartition;
use harness::{Kafka, Peer, Result, wait_until};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::world::{LIMIT, LINK};

struct Real {
    source: Arc<dyn SourceCluster>,
    writer: Mutex<Peer>,
}

impl Real {
    fn call(&self, op: &str, at: &TopicPartition, mut fields: Value) -> Value {
        fields["topic"] = json!(at.topic.as_str());
        fields["partition"] = json!(at.partition);
        let answer = self.writer.lock().call(op, fields);
        answer.expect("the writer does what it is told")
    }
}

impl Harness for Real {
    fn source(&self) -> Arc<dyn SourceCluster> {
        Arc::clone(&self.source)
    }

    fn topic(&self, name: &str, partitions: i32) {
        let assignment: Vec<[i32; 1]> = (0..partitions).map(|index| [1 + index % 2]).collect();
        let configs = json!({"retention.ms": "-1"});
        let fields = json!({"topic": name, "assignment": assignment, "configs": configs});
        let created = self.writer.lock().call("create_topic", fields);
        created.expect("it is created");
        for index in 0..partitions {
            // Its client asks until the leader answers.
            let fields = json!({"topic": name, "partition": index});
            let answer = self.writer.lock().call("offsets", fields);
            answer.expect("its leader answers");
        }
    }

    fn write(&self, at: &TopicPartition, from: i64, count: i32) {
        let timestamp_ms = FIRST_TIMESTAMP_MS + from;
        let fields = json!({"count": count, "timestamp_ms": timestamp_ms});
        let written = self.call("produce", at, fields);
        assert_eq!(written["first_offset"], json!(from));
    }

    fn trim(&self, at: &TopicPartition, start: i64) {
        self.call("delete_records", at, json!({"before": start}));
    }

    fn move_leader(&self, at: &TopicPartition) {
        self.call("reassign", at, json!({"replicas": [2]}));
        let moved = wait_until("broker 2 leads alone", LIMIT, || {
            let described = self.call("describe_topic", at, json!({}));
            let is_done =
                described["leaders"][0] == json!(2) && described["in_sync"][0] == json!(1);
            Ok(if is_done {
                Ok(())
            } else {
                Err(described.to_string())
            })
        });
        moved.expect("the leader moves");
    }

    fn commit(&self, group: &str, at: &TopicPartition, offset: i64, metadata: &str) {
        let fields = json!({"group": group, "offset": offset, "metadata": metadata});
        self.call("commit", at, fields);
    }
}

#[test]
fn a_real_kafka_keeps_the_contract_of_a_source() -> Result<()> {
    let kafka = Kafka::start_cluster(2, &[])?;
    let configs = BTreeMap::from([("bootstrap.servers".to_owned(), kafka.bootstrap())]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let real = Real {
        source: KafkaSources.connect(&LinkName::new(LINK)?, &LinkConfig::parse(&configs)?),
        writer: Mutex::new(Peer::java(&kafka.bootstrap())?),
    };
    wait_until("both brokers are there", LIMIT, || {
        let info = runtime.block_on(real.source.describe())?;
        let is_whole = info.brokers.len() == 2;
        Ok(if is_whole {
            Ok(())
        } else {
            Err(format!("{info:?}"))
        })
    })?;
    runtime.block_on(all(&real));
    Ok(())
}

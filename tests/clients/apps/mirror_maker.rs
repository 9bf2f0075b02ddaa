//! MirrorMaker 2 of Kafka 4.3 between Carrick and a real Kafka, both ways at once: records, groups' offsets and topic
//! configs arrive, and what comes later, too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::process::{Process, free_ports};
use harness::{Carrick, Kafka, Result, kafka, wait_until};

use super::application;
use super::records::{self, Record};
use crate::matrix::Row;

const LIMIT: Duration = Duration::from_secs(180);
const PARTITIONS: i32 = 2;
/// Records of each partition before MirrorMaker starts, and as many after.
const PART: usize = 500;
/// Records of each partition that are written at a time while MirrorMaker is killed, and how often at most before that.
const STEP: usize = 1_000;
const STEPS: usize = 40;

/// The row of MirrorMaker 2.
pub fn row() -> Row {
    application("MirrorMaker 2 4.3")
        .cell("Carrick to Kafka and Kafka to Carrick", |_| both_ways())
        .cell("exactly once to Carrick, killed in between", |_| {
            exactly_once()
        })
}

/// One direction: a topic and a group at the source, and what they are called at the target.
struct Flow {
    source: String,
    target: String,
    topic: &'static str,
    group: &'static str,
    mirrored: String,
}

impl Flow {
    /// Fills the topic at the source.
    fn write(&self, from: usize, count: usize) -> Result<()> {
        let mut all = Vec::new();
        for number in from..from + count {
            for partition in 0..PARTITIONS {
                all.push(Record {
                    partition,
                    offset: -1,
                    key: format!("{}-{number}", self.topic),
                    value: format!("record {number} of partition {partition}"),
                });
            }
        }
        records::produce(&self.source, self.topic, &all, 1_700_000_000_000)
    }

    /// Continues after [`Flow::prepare`], step by step, until it is told to stop; returns how many
    /// records each partition has.
    fn write_until(&self, told: &AtomicBool) -> Result<usize> {
        let mut written = PART;
        while !told.load(Ordering::Relaxed) && written < PART + STEPS * STEP {
            self.write(written, STEP)?;
            written += STEP;
        }
        Ok(written)
    }

    fn prepare(&self) -> Result<()> {
        let configs = [("retention.ms", "-1"), ("max.message.bytes", "200000")];
        records::create_topic(&self.source, self.topic, PARTITIONS, &configs)?;
        self.write(0, PART)?;
        for partition in 0..PARTITIONS {
            let end = i64::try_from(PART)?;
            records::commit(&self.source, self.group, self.topic, partition, end)?;
        }
        Ok(())
    }

    fn wait_records(&self, maker: &Process) -> Result<()> {
        let expected = records::read_all(&self.source, self.topic)?;
        wait_until(&format!("{} has all records", self.mirrored), LIMIT, || {
            let seen = records::read_all(&self.target, &self.mirrored).unwrap_or_default();
            Ok(if seen == expected {
                Ok(())
            } else {
                Err(format!("{} of {}", seen.len(), expected.len()))
            })
        })
        .with_context(|| maker.log_tail())
    }

    fn wait_config(&self, name: &str, value: &str, maker: &Process) -> Result<()> {
        wait_until(
            &format!("{name}={value} at {}", self.mirrored),
            LIMIT,
            || {
                let found = records::topic_config(&self.target, &self.mirrored, name)?;
                Ok(if found.as_deref() == Some(value) {
                    Ok(())
                } else {
                    Err(format!("{found:?}"))
                })
            },
        )
        .with_context(|| maker.log_tail())
    }

    /// The group continues at the target where it was at the source. At an end this is exact;
    /// further back, MirrorMaker keeps few pairs of offsets, or none.
    fn wait_group(&self, partition: i32, maker: &Process) -> Result<()> {
        let source = records::committed(&self.source, self.group, self.topic, partition)?;
        let at = source.context("nothing is committed at the source")?;
        let what = format!("{} is at {at} of {}-{partition}", self.group, self.mirrored);
        wait_until(&what, LIMIT, || {
            let found = records::committed(&self.target, self.group, &self.mirrored, partition)?;
            Ok(if found == Some(at) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            })
        })
        .with_context(|| maker.log_tail())
    }
}

/// What is true of every MirrorMaker here: both clusters, small internal topics, short intervals.
fn common(carrick: &str, kafka: &str) -> String {
    format!(
        "clusters=carrick, kafka\ncarrick.bootstrap.servers={carrick}\nkafka.bootstrap.servers={kafka}\n\
         replication.factor=1\ncheckpoints.topic.replication.factor=1\nheartbeats.topic.replication.factor=1\n\
         offset-syncs.topic.replication.factor=1\noffset.storage.replication.factor=1\n\
         status.storage.replication.factor=1\nconfig.storage.replication.factor=1\n\
         offset.storage.partitions=2\nstatus.storage.partitions=2\n\
         refresh.topics.interval.seconds=1\nrefresh.groups.interval.seconds=1\n\
         sync.topic.configs.interval.seconds=1\nemit.checkpoints.interval.seconds=1\n\
         emit.heartbeats.interval.seconds=1\nsync.group.offsets.enabled=true\n\
         sync.group.offsets.interval.seconds=1\noffset.lag.max=0\n\
         kafka->carrick.enabled=true\nkafka->carrick.topics=payments\nkafka->carrick.groups=audit\n"
    )
}

fn start(text: &str, folder: &std::path::Path) -> Result<Process> {
    let properties = folder.join("mm2.properties");
    std::fs::write(&properties, text)?;
    let mut command = kafka::java_apps("-Xmx384m")?;
    command
        .arg("org.apache.kafka.connect.mirror.MirrorMaker")
        .arg(&properties);
    Process::spawn("mirror maker", command, &folder.join("mm2.log"))
}

/// Records of a topic without their offsets: markers of transactions take some.
fn contents(bootstrap: &str, topic: &str) -> Result<Vec<(i32, String, String)>> {
    let all = records::read_all(bootstrap, topic)?;
    let plain = all.into_iter().map(|r| (r.partition, r.key, r.value));
    Ok(plain.collect())
}

/// MirrorMaker is killed while it copies; the next one leaves nothing out and copies nothing twice.
fn exactly_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (carrick, kafka) = (Carrick::start()?, Kafka::start()?);
    let flow = Flow {
        source: kafka.bootstrap(),
        target: carrick.bootstrap(),
        topic: "payments",
        group: "audit",
        mirrored: "kafka.payments".to_owned(),
    };
    flow.prepare()?;
    let [port] = free_ports()?;
    let text = common(&flow.target, &flow.source)
        + &format!(
            "carrick.exactly.once.source.support=enabled\ndedicated.mode.enable.internal.rest=true\n\
             listeners=http://127.0.0.1:{port}\nconsumer.max.poll.records=50\n\
             session.timeout.ms=6000\nheartbeat.interval.ms=1000\nscheduled.rebalance.max.delay.ms=0\n"
        );
    let mut maker = start(&text, folder.path())?;
    let copied = |at_least: usize, maker: &Process| {
        wait_until(&format!("{at_least} records are copied"), LIMIT, || {
            let seen = contents(&flow.target, &flow.mirrored).map_or(0, |all| all.len());
            Ok(if seen >= at_least {
                Ok(seen)
            } else {
                Err(seen.to_string())
            })
        })
        .with_context(|| maker.log_tail())
    };
    copied(2 * PART, &maker)?;
    // Killed while more is being written, so that it is copying; what is written after that, it cannot have copied.
    let killed = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writing = scope.spawn(|| flow.write_until(&killed));
        let begun = copied(2 * PART + 100, &maker);
        maker.kill();
        killed.store(true, Ordering::Relaxed);
        let written = writing.join();
        begun?;
        written.map_err(|_| anyhow::anyhow!("the writer panicked"))?
    })?;
    flow.write(written, STEP)?;

    let maker = start(&text, folder.path())?;
    let expected = contents(&flow.source, flow.topic)?;
    copied(expected.len(), &maker)?;
    let found = contents(&flow.target, &flow.mirrored)?;
    ensure!(
        found == expected,
        "{} records for {}",
        found.len(),
        expected.len()
    );
    Ok(())
}

fn both_ways() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (carrick, kafka) = (Carrick::start()?, Kafka::start()?);
    let (ours, theirs) = (carrick.bootstrap(), kafka.bootstrap());
    let flow = |source: &str, target: &str, alias: &str, topic, group| Flow {
        source: source.to_owned(),
        target: target.to_owned(),
        topic,
        group,
        mirrored: format!("{alias}.{topic}"),
    };
    let flows = [
        flow(&ours, &theirs, "carrick", "orders", "billing"),
        flow(&theirs, &ours, "kafka", "payments", "audit"),
    ];
    for flow in &flows {
        flow.prepare()?;
    }
    let text = common(&ours, &theirs)
        + "carrick->kafka.enabled=true\ncarrick->kafka.topics=orders\ncarrick->kafka.groups=billing\n";
    let maker = start(&text, folder.path())?;
    for flow in &flows {
        flow.wait_records(&maker)?;
        flow.wait_config("retention.ms", "-1", &maker)?;
        flow.wait_config("max.message.bytes", "200000", &maker)?;
        flow.wait_group(0, &maker)?;
        flow.wait_group(1, &maker)?;
        flow.write(PART, PART)?;
    }
    for flow in &flows {
        flow.wait_records(&maker)?;
        let end = i64::try_from(2 * PART)?;
        records::commit(&flow.source, flow.group, flow.topic, 0, end)?;
        flow.wait_group(0, &maker)?;
    }
    let beats = records::ends(&theirs, "carrick.heartbeats", 0)?;
    ensure!(beats.1 > 0, "no heartbeat of carrick has reached kafka");
    let beats = records::ends(&ours, "kafka.heartbeats", 0)?;
    ensure!(beats.1 > 0, "no heartbeat of kafka has reached carrick");
    Ok(())
}

//! Kafka Connect 4.3: a distributed worker keeps its configs, offsets and statuses in topics, copies a file into a topic
//! exactly once and the topic into a file, is killed in the middle, and another worker takes over.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::process::{Process, free_ports};
use harness::{Carrick, Result, kafka, wait_until};
use serde_json::{Value, json};

use super::application;
use super::records;
use crate::matrix::Row;

const LIMIT: Duration = Duration::from_secs(60);
const GROUP: &str = "connect-sink";

/// The row of Kafka Connect.
pub fn row() -> Row {
    application("Kafka Connect 4.3, distributed")
        .cell("file to topic exactly once, to file; worker killed", |_| {
            run()
        })
}

/// The file that the source reads and the one that the sink writes.
struct Files {
    folder: tempfile::TempDir,
    written: usize,
}

impl Files {
    fn input(&self) -> PathBuf {
        self.folder.path().join("in.txt")
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out.txt")
    }

    fn line(number: usize) -> String {
        format!("line {number} of the file")
    }

    fn append(&mut self, count: usize) -> Result<()> {
        let mut text = String::new();
        for number in self.written..self.written + count {
            text.push_str(&Self::line(number));
            text.push('\n');
        }
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.input())?;
        file.write_all(text.as_bytes())?;
        self.written += count;
        Ok(())
    }

    /// The numbers of the lines that the sink has written so far; it may be writing the next.
    fn sunk(&self) -> Result<Vec<usize>> {
        let text = std::fs::read_to_string(self.output()).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(number).collect()
    }

    /// Waits until the sink has written this line or a later one.
    fn wait_sunk(&self, line: usize, worker: &Worker) -> Result<()> {
        wait_until(&format!("line {line} is sunk"), LIMIT, || {
            let last = self.sunk()?.last().copied();
            Ok(if last >= Some(line) {
                Ok(())
            } else {
                Err(format!("{last:?}"))
            })
        })
        .with_context(|| worker.process.log_tail())
    }
}

fn number(line: &str) -> Result<usize> {
    let word = line.split(' ').nth(1);
    word.and_then(|w| w.parse().ok())
        .with_context(|| format!("{line:?} is torn"))
}

/// A worker of the cluster `connect-cluster`.
struct Worker {
    process: Process,
    port: u16,
}

impl Worker {
    fn start(bootstrap: &str, folder: &Path, name: &str) -> Result<Self> {
        let [port] = free_ports()?;
        let mut text =
            format!("bootstrap.servers={bootstrap}\nlisteners=http://127.0.0.1:{port}\n");
        text.push_str(
            "group.id=connect-cluster\nplugin.discovery=service_load\nexactly.once.source.support=enabled\n\
             key.converter=org.apache.kafka.connect.storage.StringConverter\n\
             value.converter=org.apache.kafka.connect.storage.StringConverter\n\
             config.storage.topic=connect-configs\nconfig.storage.replication.factor=1\n\
             offset.storage.topic=connect-offsets\noffset.storage.replication.factor=1\noffset.storage.partitions=3\n\
             status.storage.topic=connect-status\nstatus.storage.replication.factor=1\nstatus.storage.partitions=2\n\
             offset.flush.interval.ms=300\nsession.timeout.ms=6000\nheartbeat.interval.ms=1000\n\
             scheduled.rebalance.max.delay.ms=0\nconsumer.isolation.level=read_committed\n\
             consumer.session.timeout.ms=6000\nconsumer.heartbeat.interval.ms=1000\n",
        );
        let properties = folder.join(format!("{name}.properties"));
        std::fs::write(&properties, text)?;
        let mut command = kafka::java_apps("-Xmx256m")?;
        command
            .arg("org.apache.kafka.connect.cli.ConnectDistributed")
            .arg(&properties);
        let log = folder.join(format!("{name}.log"));
        let mut process = Process::spawn("connect", command, &log)?;
        process.wait_for_port(port, LIMIT)?;
        let worker = Self { process, port };
        wait_until("the worker has read its configs", LIMIT, || {
            Ok(worker
                .get("connectors")
                .map(|_| ())
                .map_err(|e| e.to_string()))
        })
        .with_context(|| worker.process.log_tail())?;
        Ok(worker)
    }

    fn get(&self, path: &str) -> Result<Value> {
        let url = format!("http://127.0.0.1:{}/{path}", self.port);
        let text = ureq::get(&url).call()?.body_mut().read_to_string()?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A worker that still waits for its share of a rebalance refuses with 409.
    fn configure(&self, connector: &str, config: &Value) -> Result<()> {
        let url = format!(
            "http://127.0.0.1:{}/connectors/{connector}/config",
            self.port
        );
        wait_until(&format!("{connector} is configured"), LIMIT, || {
            let put = ureq::put(&url).header("Content-Type", "application/json");
            Ok(put
                .send(config.to_string())
                .map(|_| ())
                .map_err(|e| e.to_string()))
        })
        .with_context(|| self.process.log_tail())
    }

    fn wait_running(&self, connector: &str) -> Result<()> {
        wait_until(&format!("{connector} runs"), LIMIT, || {
            let status = self
                .get(&format!("connectors/{connector}/status"))
                .unwrap_or_default();
            let runs = status["connector"]["state"] == "RUNNING"
                && status["tasks"][0]["state"] == "RUNNING";
            Ok(if runs {
                Ok(())
            } else {
                Err(status.to_string())
            })
        })
        .with_context(|| self.process.log_tail())
    }
}

fn run() -> Result<()> {
    let carrick = Carrick::start()?;
    let bootstrap = carrick.bootstrap();
    records::create_topic(&bootstrap, "lines", 1, &[])?;
    let mut files = Files {
        folder: tempfile::tempdir()?,
        written: 0,
    };
    let folder = files.folder.path().to_owned();
    let mut first = Worker::start(&bootstrap, &folder, "first")?;
    first.configure(
        "source",
        &json!({
            "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
            "tasks.max": "1", "file": files.input(), "topic": "lines", "batch.size": "100",
            "exactly.once.support": "required",
        }),
    )?;
    first.configure(
        "sink",
        &json!({
            "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
            "tasks.max": "1", "file": files.output(), "topics": "lines",
        }),
    )?;
    files.append(1000)?;
    files.wait_sunk(999, &first)?;
    files.append(5000)?;
    files.wait_sunk(1500, &first)?;
    first.process.kill();
    let sunk_before = files.sunk()?;
    ensure!(sunk_before.len() < files.written, "it was killed too late");
    let committed = records::committed(&bootstrap, GROUP, "lines", 0)?.unwrap_or(0);

    let second = Worker::start(&bootstrap, &folder, "second")?;
    files.append(500)?;
    for connector in ["source", "sink"] {
        second.wait_running(connector)?;
    }
    files.wait_sunk(files.written - 1, &second)?;
    check(&files, &bootstrap, &sunk_before, committed)?;
    for topic in ["connect-configs", "connect-offsets", "connect-status"] {
        let policy = records::topic_config(&bootstrap, topic, "cleanup.policy")?;
        ensure!(policy.as_deref() == Some("compact"), "{topic}: {policy:?}");
    }
    Ok(())
}

/// The topic has each line once. The file has what was there before the kill, then continues at the
/// committed offset: nothing is missing, and only records that were sunk and not committed are
/// doubled.
fn check(files: &Files, bootstrap: &str, sunk_before: &[usize], committed: i64) -> Result<()> {
    let topic = records::read_all(bootstrap, "lines")?;
    let lines: Vec<usize> = topic
        .iter()
        .map(|r| number(&r.value))
        .collect::<Result<_>>()?;
    let all: Vec<usize> = (0..files.written).collect();
    ensure!(
        lines == all,
        "the topic has {} lines for {}",
        lines.len(),
        all.len()
    );
    let resumed = topic.iter().filter(|r| r.offset < committed).count();
    let mut expected = sunk_before.to_vec();
    expected.extend(resumed..files.written);
    let sunk = files.sunk()?;
    ensure!(
        sunk == expected,
        "{} lines are sunk; {} were before the kill, and the group was at line {resumed}",
        sunk.len(),
        sunk_before.len()
    );
    ensure!(
        resumed <= sunk_before.len(),
        "line {resumed} was committed and not sunk"
    );
    Ok(())
}

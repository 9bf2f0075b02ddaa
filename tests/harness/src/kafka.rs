//! A real Apache Kafka in KRaft mode as processes on loopback: one broker, or several with one controller.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use tempfile::TempDir;

use crate::Result;
use crate::process::{Process, cache_dir, free_ports, repository};
use crate::release::Release;

const START_LIMIT: Duration = Duration::from_secs(180);

/// A cluster; its processes end and its data goes when dropped.
#[derive(Debug)]
pub struct Kafka {
    folder: TempDir,
    release: Release,
    logging: PathBuf,
    jvm: Vec<String>,
    zookeeper: Option<Process>,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    id: usize,
    port: u16,
    /// Further listeners, each named as its security protocol.
    listeners: Vec<(String, u16)>,
    process: Option<Process>,
}

/// What a cluster is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup<'a> {
    /// Its release.
    pub release: Release,
    /// `name=value` properties of every broker.
    pub properties: &'a [&'a str],
    /// Those of each broker, as many as there are to be; one broker if empty.
    pub own: &'a [&'a [&'a str]],
    /// Security protocols for each of which every broker has a further listener ([`Kafka::listener`]).
    pub protocols: &'a [&'a str],
    /// Options of every broker's JVM.
    pub jvm: &'a [&'a str],
    /// Every broker writes down each request with its answer's sizes ([`Kafka::log`]). The newest release only.
    pub logs_requests: bool,
}

impl Kafka {
    /// One broker that is its own controller.
    ///
    /// # Errors
    /// When Kafka cannot be fetched or does not start.
    pub fn start() -> Result<Self> {
        Self::start_cluster(1, &[])
    }

    /// `brokers` brokers (ids from 1), the first of them also the controller, with extra `name=value` properties.
    ///
    /// # Errors
    /// When Kafka cannot be fetched or does not start.
    pub fn start_cluster(brokers: usize, properties: &[&str]) -> Result<Self> {
        Self::start_as(Setup {
            properties,
            own: &vec![&[] as &[&str]; brokers],
            ..Setup::default()
        })
    }

    /// The cluster that `setup` describes.
    ///
    /// # Errors
    /// When Kafka cannot be fetched or does not start.
    pub fn start_as(setup: Setup<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kafka-test-").tempdir()?;
        let [controller] = free_ports()?;
        let logging = match setup.logs_requests {
            true => log_requests(folder.path())?,
            false => logging(&kafka_home()?)?,
        };
        let mut kafka = Self {
            folder,
            release: setup.release,
            logging,
            jvm: setup.jvm.iter().map(|&option| option.to_owned()).collect(),
            zookeeper: None,
            nodes: Vec::new(),
        };
        let brokers = setup.own.len().max(1);
        for id in 1..=brokers {
            let [port] = free_ports()?;
            let mut listeners = Vec::new();
            for protocol in setup.protocols {
                let [port] = free_ports()?;
                listeners.push(((*protocol).to_owned(), port));
            }
            kafka.nodes.push(Node {
                id,
                port,
                listeners,
                process: None,
            });
            let own = setup.own.get(id - 1).copied().unwrap_or_default();
            let extra = [setup.properties, own].concat();
            let text = kafka.node_properties(id, controller, brokers, &extra);
            std::fs::write(kafka.properties_file(id), text)?;
        }
        if setup.release.has_zookeeper() {
            kafka.zookeeper = Some(kafka.start_zookeeper(controller)?);
        } else {
            kafka.format()?;
        }
        for index in 0..brokers {
            kafka.spawn(index)?;
        }
        for index in 0..brokers {
            kafka.wait_started(index)?;
        }
        Ok(kafka)
    }

    /// Makes every broker's storage one of the same new cluster.
    fn format(&self) -> Result<()> {
        let cluster_id = random_cluster_id();
        let mut formats = Vec::new();
        for node in &self.nodes {
            let mut command = self.release.java("-Xmx128m", &self.logging)?;
            let file = self.properties_file(node.id);
            command.args(["kafka.tools.StorageTool", "format", "-t", &cluster_id, "-c"]);
            command
                .arg(file)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            formats.push(command.spawn()?);
        }
        for format in formats {
            let output = format.wait_with_output()?;
            let said = [output.stdout, output.stderr].concat();
            ensure!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&said)
            );
        }
        Ok(())
    }

    fn start_zookeeper(&self, port: u16) -> Result<Process> {
        let folder = self.folder.path();
        let file = folder.join("zookeeper.properties");
        let data = folder.join("zookeeper");
        let text = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            data.display()
        );
        std::fs::write(&file, text)?;
        let mut command = self.release.java("-Xmx128m", &self.logging)?;
        command.arg("org.apache.zookeeper.server.ZooKeeperServerMain");
        command.arg(file);
        let mut process = Process::spawn("zookeeper", command, &folder.join("zookeeper.log"))?;
        process.wait_for_port(port, START_LIMIT)?;
        Ok(process)
    }

    fn properties_file(&self, id: usize) -> PathBuf {
        self.folder.path().join(format!("node-{id}.properties"))
    }

    fn node_properties(
        &self,
        id: usize,
        controller: u16,
        brokers: usize,
        extra: &[&str],
    ) -> String {
        let replication = brokers.min(3);
        let node = &self.nodes[id - 1];
        let mut listener = format!("PLAINTEXT://127.0.0.1:{}", node.port);
        let mut protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned();
        for (protocol, port) in &node.listeners {
            let _ = write!(listener, ",{protocol}://127.0.0.1:{port}");
            let _ = write!(protocols, ",{protocol}:{protocol}");
        }
        let role = match (self.release.has_zookeeper(), id) {
            (true, _) => format!(
                "broker.id={id}\nzookeeper.connect=127.0.0.1:{controller}\nlisteners={listener}\n"
            ),
            (false, 1) => format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
                 controller.listener.names=CONTROLLER\nlisteners={listener},CONTROLLER://127.0.0.1:{controller}\n"
            ),
            (false, _) => format!(
                "process.roles=broker\nnode.id={id}\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
                 controller.listener.names=CONTROLLER\nlisteners={listener}\n"
            ),
        };
        let mut text = format!(
            "{role}advertised.listeners={listener}\nlistener.security.protocol.map={protocols}\n\
             inter.broker.listener.name=PLAINTEXT\n\
             log.dirs={}\nmessage.max.bytes=16777216\nreplica.fetch.max.bytes=16777216\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=3\n\
             transaction.state.log.replication.factor={replication}\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=3\ngroup.initial.rebalance.delay.ms=0\n\
             log.cleaner.backoff.ms=200\nnum.network.threads=2\nnum.io.threads=4\n\
             controlled.shutdown.enable=true\n",
            self.log_dir(id).display()
        );
        if self.release == Release::Newest {
            text.push_str("log.initial.task.delay.ms=500\n");
        }
        for line in extra {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    fn spawn(&mut self, index: usize) -> Result<()> {
        let id = self.nodes[index].id;
        let mut command = self.release.java("-Xmx512m", &self.logging)?;
        command.args(&self.jvm);
        command.arg("kafka.Kafka").arg(self.properties_file(id));
        let log = self.folder.path().join(format!("node-{id}.log"));
        self.nodes[index].process = Some(Process::spawn("kafka", command, &log)?);
        Ok(())
    }

    fn wait_started(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        let port = node.port;
        node.process
            .as_mut()
            .context("kafka is not running")?
            .wait_for_port(port, START_LIMIT)
    }

    /// `host:port` of every broker, comma-separated.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self
            .nodes
            .iter()
            .map(|n| format!("127.0.0.1:{}", n.port))
            .collect();
        all.join(",")
    }

    /// `host:port` of broker `id` (from 1).
    #[must_use]
    pub fn address(&self, id: usize) -> String {
        format!("127.0.0.1:{}", self.nodes[id - 1].port)
    }

    /// Everything that broker `id` has printed.
    #[must_use]
    pub fn log(&self, id: usize) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("node-{id}.log")))
            .unwrap_or_default()
    }

    /// `host:port` of the further listener of broker `id` (from 1) for `protocol`; empty if it has none.
    #[must_use]
    pub fn listener(&self, id: usize, protocol: &str) -> String {
        let listeners = &self.nodes[id - 1].listeners;
        let found = listeners.iter().find(|(name, _)| name == protocol);
        found.map_or(String::new(), |(_, port)| format!("127.0.0.1:{port}"))
    }

    /// Process id of broker `id` while it runs.
    #[must_use]
    pub fn process_id(&self, id: usize) -> Option<u32> {
        self.nodes[id - 1].process.as_ref().map(Process::id)
    }

    /// `log.dirs` of broker `id`.
    #[must_use]
    pub fn log_dir(&self, id: usize) -> PathBuf {
        self.folder.path().join(format!("data-{id}"))
    }

    /// A partition's folder at broker `id`.
    #[must_use]
    pub fn partition_dir(&self, id: usize, topic: &str, partition: i32) -> PathBuf {
        self.log_dir(id).join(format!("{topic}-{partition}"))
    }

    /// What `kafka-dump-log --cluster-metadata-decoder` says of the metadata log, whether the brokers run or not.
    ///
    /// # Errors
    /// When the tool does not end with 0.
    pub fn dump_metadata(&self) -> Result<String> {
        let folder = self.log_dir(1).join("__cluster_metadata-0");
        let logs = std::fs::read_dir(&folder)?
            .filter_map(std::result::Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|it| it == "log"));
        let mut files: Vec<_> = logs.map(|path| path.display().to_string()).collect();
        files.sort();
        let files = files.join(",");
        let args = [
            "--cluster-metadata-decoder",
            "--skip-record-metadata",
            "--files",
            &files,
        ];
        run_tool(crate::tools::class("kafka-dump-log")?, &args)
    }

    /// Ends broker `id` at once, as `kill -9` does.
    pub fn kill(&mut self, id: usize) {
        self.nodes[id - 1].process = None;
    }

    /// Ends every broker at once.
    pub fn kill_all(&mut self) {
        for node in &mut self.nodes {
            node.process = None;
        }
    }

    /// Stops broker `id` cleanly.
    ///
    /// # Errors
    /// When it does not stop within a minute.
    pub fn stop(&mut self, id: usize) -> Result<()> {
        if let Some(mut process) = self.nodes[id - 1].process.take() {
            process.terminate(Duration::from_secs(60))?;
        }
        Ok(())
    }

    /// Starts broker `id` again on the same port and data.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self, id: usize) -> Result<()> {
        self.spawn(id - 1)?;
        self.wait_started(id - 1)
    }
}

/// Runs one of Kafka's own tools and gives its standard output.
///
/// # Errors
/// When it ends with another code than 0; with what it printed.
pub fn run_tool(class: &str, args: &[&str]) -> Result<String> {
    let output = java("-Xmx256m")?.arg(class).args(args).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "{class} {args:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(text)
}

/// A `java` command with Kafka's jars and the Java peer on its class path.
///
/// # Errors
/// When Kafka cannot be fetched.
pub fn java(heap: &str) -> Result<Command> {
    logging_java(heap, &logging(&kafka_home()?)?)
}

/// The same, logging as `log4j2` says.
pub(crate) fn logging_java(heap: &str, log4j2: &Path) -> Result<Command> {
    let home = kafka_home()?;
    let class_path = format!("{0}/peer:{0}/libs/*:{0}", home.display());
    let mut command = plain_java(heap, &class_path);
    command.arg(logged_by(log4j2));
    Ok(command)
}

/// A `java` command as [`java`], with Kafka Streams, the file connectors and the programs of `tests/harness/java/apps`
/// on its class path, too.
///
/// # Errors
/// When they cannot be fetched or compiled.
pub fn java_apps(heap: &str) -> Result<Command> {
    static APPS: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let apps = prepared(&APPS, "scripts/kafka-apps.sh", &[])?;
    let home = kafka_home()?;
    java_with(
        heap,
        &format!(
            "{0}/classes:{0}/libs/*:{1}/libs/*",
            apps.display(),
            home.display()
        ),
    )
}

/// The class path of a release of kafka-clients, which is fetched unless it exists.
///
/// # Errors
/// When that fails; the reason stands on standard error.
pub fn client_jars(version: &str) -> Result<String> {
    let folder = run_script("scripts/java-client.sh", &[version]).map_err(|e| anyhow!(e))?;
    Ok(format!("{}/libs/*", folder.display()))
}

/// An older release of the Java client, with the peer compiled against it.
#[derive(Debug, Clone, Copy)]
pub struct JavaClient {
    /// The release, such as `2.1.1`.
    pub version: &'static str,
    /// The folder of `tests/harness/java/api` that fits it.
    pub api: &'static str,
}

impl JavaClient {
    /// Fetches and compiles what [`JavaClient::peer`] runs, unless it exists.
    ///
    /// # Errors
    /// When that fails; the reason stands on standard error.
    pub fn prepare(&self) -> Result<()> {
        let script = "scripts/java-client.sh";
        let folder = run_script(script, &[self.version, self.api]).map_err(|e| anyhow!(e))?;
        ensure!(
            folder == self.folder(),
            "{script} prepared {}",
            folder.display()
        );
        Ok(())
    }

    /// The command that runs its peer, once it is prepared.
    #[must_use]
    pub fn peer(&self) -> Command {
        let folder = self.folder();
        let mut command = Command::new("java");
        command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
        command.args([
            "-cp",
            &format!("{0}/peer:{0}/libs/*", folder.display()),
            "Peer",
        ]);
        command
    }

    fn folder(&self) -> PathBuf {
        cache_dir().join(format!("kafka-clients-{}", self.version))
    }
}

fn java_with(heap: &str, class_path: &str) -> Result<Command> {
    let mut command = plain_java(heap, class_path);
    command.arg(logged_by(&logging(&kafka_home()?)?));
    Ok(command)
}

/// A `java` command with these jars, in a process that starts quickly.
pub(crate) fn plain_java(heap: &str, class_path: &str) -> Command {
    let mut command = Command::new("java");
    command.args([heap, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    command.args(["-cp", class_path]);
    command
}

fn logged_by(log4j2: &Path) -> String {
    format!("-Dlog4j2.configurationFile={}", log4j2.display())
}

/// Where warnings go.
const LOGGING: &str = "status=off\nappender.err.type=Console\nappender.err.name=err\nappender.err.target=SYSTEM_ERR\n\
                       appender.err.layout.type=PatternLayout\nappender.err.layout.pattern=%d %p %m (%c)%n\n\
                       rootLogger.level=warn\nrootLogger.appenderRef.err.ref=err\n";

/// Warnings, and every request with its answer.
fn log_requests(folder: &Path) -> Result<PathBuf> {
    let file = folder.join("log4j2.properties");
    let requests = "logger.requests.name=kafka.request.logger\nlogger.requests.level=debug\n";
    std::fs::write(&file, format!("{LOGGING}{requests}"))?;
    Ok(file)
}

/// 16 random bytes as Kafka writes them: base64 for URLs, without padding. The last digit holds two bits only.
fn random_cluster_id() -> String {
    let digits = || rand::random_range(b'a'..=b'z') as char;
    (0..21).map(|_| digits()).chain(['A']).collect()
}

fn logging(home: &Path) -> Result<PathBuf> {
    let file = home.join("log4j2.properties");
    if !file.is_file() {
        std::fs::write(&file, LOGGING)?;
    }
    Ok(file)
}

/// The folder with Kafka's jars; fetched from Maven Central on first use.
fn kafka_home() -> Result<PathBuf> {
    static HOME: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    prepared(&HOME, "scripts/kafka-peer.sh", &[])
}

/// What a script of this repository prepares and prints; it runs once a process.
pub(crate) fn prepared(
    once: &OnceLock<std::result::Result<PathBuf, String>>,
    script: &str,
    args: &[&str],
) -> Result<PathBuf> {
    let folder = once.get_or_init(|| run_script(script, args));
    folder
        .clone()
        .map_err(|e| anyhow!("no Apache Kafka to test with: {e}"))
}

/// Runs a script that prepares a folder and prints it.
fn run_script(script: &str, args: &[&str]) -> std::result::Result<PathBuf, String> {
    let output = Command::new("bash")
        .arg(repository().join(script))
        .args(args)
        .env("CARRICK_CACHE", cache_dir())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| e.to_string())?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        Ok(path.into())
    } else {
        Err(format!("{script} failed"))
    }
}

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

const START_LIMIT: Duration = Duration::from_secs(90);

/// A cluster; its processes end and its data goes when dropped.
#[derive(Debug)]
pub struct Kafka {
    folder: TempDir,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    id: usize,
    port: u16,
    process: Option<Process>,
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
        let folder = tempfile::Builder::new().prefix("kafka-test-").tempdir()?;
        let [controller] = free_ports()?;
        let cluster_id = run_tool("kafka.tools.StorageTool", &["random-uuid"])?
            .trim()
            .to_owned();
        let mut kafka = Self {
            folder,
            nodes: Vec::new(),
        };
        for id in 1..=brokers {
            let [port] = free_ports()?;
            kafka.nodes.push(Node {
                id,
                port,
                process: None,
            });
            let file = kafka.properties_file(id);
            std::fs::write(
                &file,
                kafka.node_properties(id, port, controller, brokers, properties),
            )?;
            let file = file.to_string_lossy();
            run_tool(
                "kafka.tools.StorageTool",
                &["format", "-t", &cluster_id, "-c", &file],
            )?;
        }
        for index in 0..brokers {
            kafka.spawn(index)?;
        }
        for index in 0..brokers {
            kafka.wait_started(index)?;
        }
        Ok(kafka)
    }

    fn properties_file(&self, id: usize) -> PathBuf {
        self.folder.path().join(format!("node-{id}.properties"))
    }

    fn node_properties(
        &self,
        id: usize,
        port: u16,
        controller: u16,
        brokers: usize,
        extra: &[&str],
    ) -> String {
        let replication = brokers.min(3);
        let (roles, listeners) = if id == 1 {
            let both = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
            ("broker,controller", both)
        } else {
            ("broker", format!("PLAINTEXT://127.0.0.1:{port}"))
        };
        let mut text = format!(
            "process.roles={roles}\nnode.id={id}\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners={listeners}\nadvertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
             log.dirs={}\nmessage.max.bytes=16777216\nreplica.fetch.max.bytes=16777216\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=3\n\
             transaction.state.log.replication.factor={replication}\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=3\ngroup.initial.rebalance.delay.ms=0\n\
             log.cleaner.backoff.ms=200\nlog.initial.task.delay.ms=500\nnum.network.threads=2\nnum.io.threads=4\n\
             controlled.shutdown.enable=true\n",
            self.log_dir(id).display()
        );
        for line in extra {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    fn spawn(&mut self, index: usize) -> Result<()> {
        let id = self.nodes[index].id;
        let mut command = java("-Xmx512m")?;
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
    let home = kafka_home()?;
    java_with(heap, &format!("{0}/peer:{0}/libs/*:{0}", home.display()))
}

/// A `java` command as [`java`], with Kafka Streams, the file connectors and the programs of `tests/harness/java/apps`
/// on its class path, too.
///
/// # Errors
/// When they cannot be fetched or compiled.
pub fn java_apps(heap: &str) -> Result<Command> {
    static APPS: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let apps = prepared(&APPS, "scripts/kafka-apps.sh")?;
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

/// An older release of the Java client, with the peer compiled against it.
#[derive(Debug, Clone, Copy)]
pub struct JavaClient {
    /// The release, such as `2.1.1`.
    pub version: &'static str,
    /// The folder of `tests/harness/java/api` that fits it.
    pub api: &'static str,
}

impl JavaClient {
    /// Fetches and compiles what [`JavaClient::peer`] runs, unless it is there.
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
    let mut command = Command::new("java");
    command.args([heap, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    command.args(["-cp", class_path]);
    command.arg(format!(
        "-Dlog4j2.configurationFile={}",
        logging(&kafka_home()?)?.display()
    ));
    Ok(command)
}

fn logging(home: &Path) -> Result<PathBuf> {
    let file = home.join("log4j2.properties");
    if !file.is_file() {
        let text = "status=off\nappender.err.type=Console\nappender.err.name=err\nappender.err.target=SYSTEM_ERR\n\
                    appender.err.layout.type=PatternLayout\nappender.err.layout.pattern=%d %p %m (%c)%n\n\
                    rootLogger.level=warn\nrootLogger.appenderRef.err.ref=err\n";
        std::fs::write(&file, text)?;
    }
    Ok(file)
}

/// The folder with Kafka's jars; fetched from Maven Central on first use.
fn kafka_home() -> Result<PathBuf> {
    static HOME: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    prepared(&HOME, "scripts/kafka-peer.sh")
}

/// What a script of this repository prepares and prints; it runs once a process.
fn prepared(
    once: &OnceLock<std::result::Result<PathBuf, String>>,
    script: &str,
) -> Result<PathBuf> {
    let folder = once.get_or_init(|| run_script(script, &[]));
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

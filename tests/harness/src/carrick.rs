//! Carrick as a process: the real binary, its own folder and ports, its own command line.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, free_ports};
use crate::{Result, wait_until};

/// How long a start may take, recovery of large logs included.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long a clean stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// A running broker; ends, with its data, when dropped.
#[derive(Debug)]
pub struct Carrick {
    process: Option<Process>,
    folder: TempDir,
    port: u16,
    /// Further listeners, each named as its security protocol.
    listeners: Vec<(String, u16)>,
    rest_port: u16,
    config_file: Option<PathBuf>,
    overrides: Vec<String>,
    /// The hidden flag and step at which it ends by itself.
    crash_at: Option<(&'static str, String)>,
    log_filter: Option<String>,
}

/// What a broker is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup<'a> {
    /// `name=value` lines of its properties file, secrets among them.
    pub properties: &'a [&'a str],
    /// Security protocols for each of which it has a further listener ([`Carrick::listener`]).
    pub protocols: &'a [&'a str],
}

impl Carrick {
    /// Starts a broker with defaults that suit tests (no rebalance delay) and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; with the end of its log.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// As [`Carrick::start`], with `name=value` overrides of its properties.
    ///
    /// # Errors
    /// When it does not become ready; with the end of its log.
    pub fn start_with(overrides: &[&str]) -> Result<Self> {
        let mut carrick = Self::new(overrides, &[])?;
        carrick.restart()?;
        Ok(carrick)
    }

    /// As [`Carrick::start`], on a properties file; its addresses and folders are overridden.
    ///
    /// # Errors
    /// When it does not become ready; with the end of its log.
    pub fn start_from(config_file: &Path) -> Result<Self> {
        let mut carrick = Self::new(&[], &[])?;
        carrick.config_file = Some(config_file.to_owned());
        carrick.restart()?;
        Ok(carrick)
    }

    /// As [`Carrick::start`], the broker that `setup` describes. Its REST listener is as in other tests, without
    /// security.
    ///
    /// # Errors
    /// When it does not become ready; with the end of its log.
    pub fn start_as(setup: Setup<'_>) -> Result<Self> {
        Self::start_logging(setup, None)
    }

    /// The same with another `RUST_LOG` than that of the tests.
    ///
    /// # Errors
    /// When it does not become ready; with the end of its log.
    pub fn start_logging(setup: Setup<'_>, log_filter: Option<&str>) -> Result<Self> {
        let mut carrick = Self::new(&[], setup.protocols)?;
        let file = carrick.folder.path().join("carrick.properties");
        std::fs::write(&file, setup.properties.join("\n"))?;
        carrick.config_file = Some(file);
        carrick.log_filter = log_filter.map(str::to_owned);
        carrick.restart()?;
        Ok(carrick)
    }

    fn new(overrides: &[&str], protocols: &[&str]) -> Result<Self> {
        let [port, rest_port] = free_ports()?;
        let mut listeners = Vec::new();
        for protocol in protocols {
            let [port] = free_ports()?;
            listeners.push(((*protocol).to_owned(), port));
        }
        let mut all = vec!["group.initial.rebalance.delay.ms=0".to_owned()];
        all.extend(overrides.iter().map(|&o| o.to_owned()));
        Ok(Self {
            config_file: None,
            process: None,
            folder: tempfile::Builder::new().prefix("carrick-test-").tempdir()?,
            port,
            listeners,
            rest_port,
            overrides: all,
            crash_at: None,
            log_filter: None,
        })
    }

    /// Starts it again on the same folder and ports, after [`Carrick::kill`] or [`Carrick::stop`].
    ///
    /// # Errors
    /// When it does not become ready; with the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        let mut process = self.spawn()?;
        let url = format!("{}/readyz", self.url());
        wait_until("carrick answers 200 on /readyz", START_LIMIT, || {
            if let Some(status) = process.ended()? {
                bail!("carrick ended with {status} before it was ready");
            }
            Ok(ureq::get(&url)
                .call()
                .map(|_| ())
                .map_err(|e| e.to_string()))
        })
        .with_context(|| process.log_tail())?;
        self.process = Some(process);
        Ok(())
    }

    /// As [`Carrick::restart`], but only waits until it answers by HTTP: it may not be ready.
    ///
    /// # Errors
    /// When it does not listen; with the end of its log.
    pub fn begin_restart(&mut self) -> Result<()> {
        self.process = Some(self.spawn()?);
        Ok(())
    }

    /// What it answers to `GET` of this path: status and body.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let agent = ureq::Agent::config_builder().http_status_as_error(false);
        let agent: ureq::Agent = agent.build().into();
        let mut answer = agent.get(format!("{}{path}", self.url())).call()?;
        let text = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), text))
    }

    fn spawn(&mut self) -> Result<Process> {
        self.process = None;
        let mut command = Command::new(binary()?);
        command.arg("serve");
        if let Some(file) = &self.config_file {
            command.arg("--config").arg(file);
        }
        let mut listeners = format!("PLAINTEXT://127.0.0.1:{}", self.port);
        for (protocol, port) in &self.listeners {
            let _ = write!(listeners, ",{protocol}://127.0.0.1:{port}");
        }
        for value in [
            format!("listeners={listeners}"),
            format!("advertised.listeners={listeners}"),
            format!("rest.listeners=http://127.0.0.1:{}", self.rest_port),
            format!("log.dirs={}", self.data_dir().display()),
        ]
        .iter()
        .chain(&self.overrides)
        {
            command.args(["--override", value]);
        }
        if let Some((flag, step)) = self.crash_at.take() {
            command.args([flag, &step]);
        }
        if let Some(filter) = &self.log_filter {
            command.env("RUST_LOG", filter);
        }
        let log = self.folder.path().join("carrick.log");
        let mut process = Process::spawn("carrick", command, &log)?;
        process.wait_for_port(self.rest_port, START_LIMIT)?;
        Ok(process)
    }

    /// Starts it as [`Carrick::restart`], to end by itself, as of `kill -9`, at that step of a promotion or failover
    /// (`carrick_link::cut`).
    ///
    /// # Errors
    /// When it does not become ready; with the end of its log.
    pub fn restart_to_crash_at(&mut self, step: &str) -> Result<()> {
        self.crash_at = Some(("--crash-at", step.to_owned()));
        self.restart()
    }

    /// The same at a step of a rotation of secrets.
    ///
    /// # Errors
    /// When it does not become ready; with the end of its log.
    pub fn restart_to_crash_at_rotation(&mut self, step: &str) -> Result<()> {
        self.crash_at = Some(("--crash-at-rotation", step.to_owned()));
        self.restart()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it has not within `limit`.
    pub fn wait_ended(&mut self, limit: Duration) -> Result<()> {
        if let Some(process) = &mut self.process {
            process.wait_ended(limit)?;
        }
        self.process = None;
        Ok(())
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it with SIGTERM and checks that it said goodbye with exit code 0.
    ///
    /// # Errors
    /// When it does not stop in time or stops with another code.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let status = process.terminate(STOP_LIMIT)?;
        if !status.success() {
            bail!("carrick stopped with {status}\n{}", process.log_tail());
        }
        Ok(())
    }

    /// `host:port` of its further listener for `protocol`; empty if it has none.
    #[must_use]
    pub fn listener(&self, protocol: &str) -> String {
        let found = self.listeners.iter().find(|(name, _)| name == protocol);
        found.map_or(String::new(), |(_, port)| format!("127.0.0.1:{port}"))
    }

    /// `host:port` of its PLAINTEXT listener.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Base address of its REST listener.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rest_port)
    }

    /// Its `log.dirs`.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder of one partition.
    #[must_use]
    pub fn partition_dir(&self, topic: &str, partition: i32) -> PathBuf {
        self.data_dir().join(format!("{topic}-{partition}"))
    }

    /// Process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// What it has printed so far, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("carrick.log")).unwrap_or_default()
    }

    /// Runs `carrick ARGS… -o json` against it and gives what it printed, parsed.
    ///
    /// # Errors
    /// When the command does not end with exit code 0; with what it printed.
    pub fn cli(&self, args: &[&str]) -> Result<Value> {
        let output = self.cli_output(args)?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!(
                "carrick {} ended with {}: {text}{}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Runs `carrick ARGS… -o json` and gives status and output whatever they are.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn cli_output(&self, args: &[&str]) -> Result<Output> {
        let output = Command::new(binary()?)
            .args(args)
            .args(["--url", &self.url(), "-o", "json"])
            .output()?;
        Ok(output)
    }

    /// Runs `carrick ARGS…` as a person would and gives what it printed; its errors and progress go to this
    /// process's own standard error.
    ///
    /// # Errors
    /// When the command does not end with exit code 0; with what it printed.
    pub fn cli_text(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(binary()?)
            .args(args)
            .args(["--url", &self.url()])
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "carrick {} ended with {}: {text}",
                args.join(" "),
                output.status
            );
        }
        Ok(text)
    }

    /// Creates a link to `bootstrap`, with a quick availability check unless `configs` say otherwise.
    ///
    /// # Errors
    /// What the command line said.
    pub fn link(&self, name: &str, bootstrap: &str, configs: &[&str]) -> Result<Value> {
        let mut args = vec!["link", "create", name, "--bootstrap-server", bootstrap];
        for config in configs {
            args.extend(["--config", config]);
        }
        self.cli(&args)
    }

    /// Changes a config of a link while it runs.
    ///
    /// # Errors
    /// When REST does not answer 204.
    pub fn set_link_config(&self, link: &str, name: &str, value: &str) -> Result<()> {
        let clusters = format!("{}/kafka/v3/clusters", self.url());
        let answer: Value = ureq::get(&clusters).call()?.body_mut().read_json()?;
        let id = answer["data"][0]["cluster_id"].as_str().unwrap_or_default();
        let url = format!("{clusters}/{id}/links/{link}/configs/{name}");
        ureq::put(&url).send_json(json!({"value": value}))?;
        Ok(())
    }

    /// Mirrors `topics` over `link`.
    ///
    /// # Errors
    /// What the command line said.
    pub fn mirror(&self, link: &str, topics: &[&str]) -> Result<Value> {
        let mut args = vec!["mirror", "create", "--link", link];
        args.extend(topics);
        self.cli(&args)
    }

    /// The mirror's description.
    ///
    /// # Errors
    /// What the command line said.
    pub fn describe_mirror(&self, topic: &str) -> Result<Value> {
        self.cli(&["mirror", "describe", topic])
    }

    /// Bytes of a mirror that are here since its broker started.
    ///
    /// # Errors
    /// When REST does not answer.
    pub fn mirrored_bytes(&self, topic: &str) -> Result<u64> {
        let clusters = format!("{}/kafka/v3/clusters", self.url());
        let answer: Value = ureq::get(&clusters).call()?.body_mut().read_json()?;
        let id = answer["data"][0]["cluster_id"].as_str().unwrap_or_default();
        let url = format!("{clusters}/{id}/links/-/mirrors/{topic}");
        let mirror: Value = ureq::get(&url).call()?.body_mut().read_json()?;
        let lags = mirror["mirror_lags"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        Ok(lags
            .iter()
            .filter_map(|lag| lag["mirrored_bytes"].as_u64())
            .sum())
    }

    /// Waits until every partition of the mirror is `ACTIVE` with lag 0, as the source's own end offsets (`ends`,
    /// by partition) say.
    ///
    /// # Errors
    /// When `limit` runs out; with the last description.
    pub fn wait_caught_up(&self, topic: &str, ends: &[i64], limit: Duration) -> Result<()> {
        wait_until(&format!("mirror {topic} at {ends:?}"), limit, || {
            let mirror = match self.describe_mirror(topic) {
                Ok(mirror) => mirror,
                Err(e) => return Ok(Err(format!("{e:#}"))),
            };
            let lags = mirror["mirror_lags"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let at = |partition: usize| {
                lags.iter()
                    .find(|l| l["partition"].as_u64() == u64::try_from(partition).ok())
                    .and_then(|l| l["mirror_end_offset"].as_i64())
            };
            let done = ends.iter().enumerate().all(|(p, end)| at(p) == Some(*end));
            Ok(if done {
                Ok(())
            } else {
                Err(mirror.to_string())
            })
        })
    }
}

/// The binary under test: `CARRICK_BIN`, or the one next to this test in the target folder.
///
/// # Errors
/// When it is not there, with the command that builds it.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CARRICK_BIN") {
        return Ok(PathBuf::from(path));
    }
    sibling("carrick")
}

/// A program that cargo built into the same profile folder as the running test.
///
/// # Errors
/// When it is not there, with the command that builds it.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let found = here
        .ancestors()
        .skip(1)
        .take(2)
        .map(|d: &Path| d.join(name))
        .find(|p| p.is_file());
    found.with_context(|| format!("{name} is not built: cargo build --release --workspace --bins"))
}

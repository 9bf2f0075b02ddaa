//! The JVM in which the tests run: it reads lines that say what to run, and writes lines with the
//! results (`java/carrick/suite/Suite.java`).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use harness::Result;
use harness::process::cache_dir;
use tempfile::TempDir;

use crate::cases::{Expected, Job, Mode};
use crate::suite::{CLIENTS, Suite};

/// A JVM that says nothing for so long will not say anything any more: a test did not let itself be interrupted.
const SILENCE_LIMIT: Duration = Duration::from_secs(200);

/// What all JVMs of a run have in common.
pub struct Setup {
    pub suite: &'static Suite,
    classpath: String,
    start_broker: PathBuf,
    carrick: PathBuf,
    /// Data of brokers; gone afterwards.
    data: TempDir,
    /// One file a JVM, with stack traces and brokers' logs of cases that failed; of the last run only.
    pub logs: PathBuf,
}

impl Setup {
    /// Fetches and compiles what is needed.
    pub fn new(suite: &'static Suite, kafka: bool) -> Result<Self> {
        let prepared = Command::new("bash")
            .arg(CLIENTS.folder().join("prepare.sh"))
            .arg(suite.name)
            .stderr(Stdio::inherit())
            .output()?;
        if !prepared.status.success() {
            bail!("tests/kafka-suite/prepare.sh failed");
        }
        let logs = cache_dir().join(suite.name).join("last-run");
        if logs.exists() {
            std::fs::remove_dir_all(&logs)?;
        }
        std::fs::create_dir_all(&logs)?;
        let script = if kafka {
            "start-kafka.sh"
        } else {
            "start-carrick.sh"
        };
        Ok(Self {
            suite,
            classpath: String::from_utf8(prepared.stdout)?.trim().to_owned(),
            start_broker: suite.folder().join(script),
            carrick: if kafka {
                PathBuf::new()
            } else {
                harness::carrick::binary()?
            },
            data: tempfile::Builder::new().prefix(suite.name).tempdir()?,
            logs,
        })
    }
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub mode: Mode,
    /// `Class.method#n`; of a whole class or JVM that broke, what it says.
    pub name: String,
    pub passed: bool,
    pub took: Duration,
    /// The first line of its error.
    pub error: String,
}

impl Outcome {
    /// A case of which nothing was heard.
    pub fn lost(mode: Mode, name: &str, why: &str) -> Self {
        Self {
            mode,
            name: name.to_owned(),
            passed: false,
            took: Duration::ZERO,
            error: why.to_owned(),
        }
    }

    #[cfg(test)]
    pub fn but_passed(self) -> Self {
        Self {
            passed: true,
            ..self
        }
    }

    /// Whether it is of that case in that mode.
    pub fn is_of(&self, expected: &Expected) -> bool {
        self.mode == expected.mode && self.name == expected.name
    }

    fn parse(mode: Mode, line: &str) -> Option<Self> {
        let mut fields = line.split('\t').skip_while(|f| *f != "case").skip(1);
        let name = fields.next()?.to_owned();
        let passed = fields.next()? == "passed";
        let took = Duration::from_millis(fields.next()?.parse().ok()?);
        let error = fields.next()?.to_owned();
        Some(Self {
            mode,
            name,
            passed,
            took,
            error,
        })
    }
}

/// A running JVM with its brokers; all end when it is dropped.
pub struct Jvm {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Jvm {
    /// Starts the `number`th JVM.
    pub fn start(setup: &Setup, number: usize) -> Result<Self> {
        let log = setup.logs.join(format!("jvm-{number}.log"));
        let mut command = Command::new("java");
        if let Some(classes) = setup.suite.classes {
            command.arg(define("suite.classes", &classes.join(",")));
        }
        let mut child = command
            .args(["-Xmx640m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg(define("suite.timeout", setup.suite.test_limit))
            .arg(define("suite.command", path(&setup.start_broker)?))
            .arg(define("java.io.tmpdir", path(setup.data.path())?))
            .args(["-cp", &setup.classpath, "carrick.suite.Suite"])
            .env("SUITE_CLASSPATH", &setup.classpath)
            .env("CARRICK", &setup.carrick)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(log)?)
            .spawn()
            .context("java")?;
        let output = child.stdout.take().context("standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(|l| l.ok()) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        Ok(Self {
            child,
            input,
            lines,
        })
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("standard input")?;
        writeln!(input, "{line}").context("the JVM has ended")
    }

    /// The classes that Kafka publishes.
    pub fn classes(mut self) -> Result<Vec<String>> {
        self.tell("classes")?;
        let mut classes = Vec::new();
        loop {
            let line = self
                .lines
                .recv_timeout(SILENCE_LIMIT)
                .context("the JVM says nothing")?;
            match line.strip_prefix("class\t") {
                Some(name) => classes.push(name.to_owned()),
                None => return Ok(classes),
            }
        }
    }

    /// Runs a job. Cases that were asked for and not heard of have failed. False: the JVM is of no use any more.
    pub fn run(&mut self, job: &Job) -> Result<(Vec<Outcome>, bool)> {
        self.tell(&format!(
            "{} {} {}",
            job.mode.name(),
            job.class,
            job.cases.join(" ")
        ))?;
        let mut outcomes: Vec<Outcome> = Vec::new();
        let why = loop {
            match self.lines.recv_timeout(SILENCE_LIMIT) {
                Ok(line) if line == "done" => break None,
                Ok(line) => outcomes.extend(Outcome::parse(job.mode, &line)),
                Err(RecvTimeoutError::Timeout) => break Some("the test did not end"),
                Err(RecvTimeoutError::Disconnected) => break Some("the JVM ended"),
            }
        };
        for name in &job.cases {
            if !outcomes.iter().any(|o| o.name == *name) {
                outcomes.push(Outcome::lost(job.mode, name, why.unwrap_or("was not run")));
            }
        }
        Ok((outcomes, why.is_none()))
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        // At the end of its input it ends its brokers and itself.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn define(name: &str, value: &str) -> String {
    format!("-D{name}={value}")
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

//! Kafka's own command line tools, by the names of their scripts, one after the other in one Java process: a start of
//! Java costs more than most of them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::{Result, kafka};

/// How long one tool may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A script of Kafka's `bin` folder and the class that it runs.
const CLASSES: &[(&str, &str)] = &[
    ("kafka-acls", "org.apache.kafka.tools.AclCommand"),
    (
        "kafka-broker-api-versions",
        "org.apache.kafka.tools.BrokerApiVersionsCommand",
    ),
    (
        "kafka-client-metrics",
        "org.apache.kafka.tools.ClientMetricsCommand",
    ),
    ("kafka-cluster", "org.apache.kafka.tools.ClusterTool"),
    ("kafka-configs", "kafka.admin.ConfigCommand"),
    (
        "kafka-console-consumer",
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
    ),
    (
        "kafka-console-producer",
        "org.apache.kafka.tools.ConsoleProducer",
    ),
    (
        "kafka-consumer-groups",
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    ),
    (
        "kafka-consumer-perf-test",
        "org.apache.kafka.tools.ConsumerPerformance",
    ),
    (
        "kafka-delete-records",
        "org.apache.kafka.tools.DeleteRecordsCommand",
    ),
    ("kafka-dump-log", "org.apache.kafka.tools.DumpLogSegments"),
    (
        "kafka-e2e-latency",
        "org.apache.kafka.tools.EndToEndLatency",
    ),
    (
        "kafka-metadata-quorum",
        "org.apache.kafka.tools.MetadataQuorumCommand",
    ),
    ("kafka-features", "org.apache.kafka.tools.FeatureCommand"),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand"),
    (
        "kafka-leader-election",
        "org.apache.kafka.tools.LeaderElectionCommand",
    ),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    (
        "kafka-producer-perf-test",
        "org.apache.kafka.tools.ProducerPerformance",
    ),
    (
        "kafka-reassign-partitions",
        "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    ),
    (
        "kafka-streams-application-reset",
        "org.apache.kafka.tools.StreamsResetter",
    ),
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
    (
        "kafka-transactions",
        "org.apache.kafka.tools.TransactionsCommand",
    ),
    (
        "kafka-verifiable-consumer",
        "org.apache.kafka.tools.VerifiableConsumer",
    ),
    (
        "kafka-verifiable-producer",
        "org.apache.kafka.tools.VerifiableProducer",
    ),
    (
        "transactional-message-copier",
        "org.apache.kafka.tools.TransactionalMessageCopier",
    ),
];

/// The class that a script of Kafka's `bin` folder runs.
///
/// # Errors
/// When no such script is known here.
pub fn class(script: &str) -> Result<&'static str> {
    let found = CLASSES.iter().find(|(name, _)| *name == script);
    Ok(found
        .with_context(|| format!("no class is known for {script}"))?
        .1)
}

/// What a tool printed, and its exit code.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code.
    pub exit: i64,
    /// Standard output.
    pub out: String,
    /// Standard error, logging included.
    pub err: String,
}

/// The process that runs the tools. Dropping it kills it.
#[derive(Debug)]
pub struct Tools {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    bootstrap: String,
}

impl Tools {
    /// Starts the process; `bootstrap` is the cluster that the tools are pointed at.
    ///
    /// # Errors
    /// When Java or the jars are missing.
    pub fn start(bootstrap: &str) -> Result<Self> {
        let mut child = kafka::java_apps("-Xmx256m")?
            .arg("Tools")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output)
                .lines()
                .map_while(std::io::Result::ok)
            {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            input,
            answers,
            bootstrap: bootstrap.to_owned(),
        })
    }

    /// The cluster that the tools are pointed at.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Runs a script with these arguments and nothing else, with `stdin` to read.
    ///
    /// # Errors
    /// When it does not end in time, or the process has gone.
    pub fn run_bare(&mut self, script: &str, args: &[&str], stdin: &str) -> Result<Output> {
        let request = json!({"class": class(script)?, "args": args, "stdin": stdin});
        writeln!(self.input, "{request}")?;
        let line = self.answers.recv_timeout(LIMIT);
        let line = line.with_context(|| format!("no answer of {script} {args:?} in {LIMIT:?}"))?;
        let answer: Value = serde_json::from_str(&line)?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Ok(Output {
            exit: answer["exit"].as_i64().context("no exit code")?,
            out: text("out"),
            err: text("err"),
        })
    }

    /// Runs a script against the cluster and gives all that it came to.
    ///
    /// # Errors
    /// When it does not end in time, or the process has gone.
    pub fn run_any(&mut self, script: &str, args: &[&str]) -> Result<Output> {
        let bootstrap = self.bootstrap.clone();
        let mut all = vec!["--bootstrap-server", &bootstrap];
        all.extend(args);
        self.run_bare(script, &all, "")
    }

    /// Runs a script against the cluster and gives its standard output.
    ///
    /// # Errors
    /// When it ends with another code than 0, does not end in time, or the process has gone.
    pub fn run(&mut self, script: &str, args: &[&str]) -> Result<String> {
        let output = self.run_any(script, args)?;
        output.succeeded(&format!("{script} {}", args.join(" ")))
    }

    /// Runs a script that must fail, and gives both of its outputs.
    ///
    /// # Errors
    /// When it ends with 0, does not end in time, or the process has gone.
    pub fn refusal(&mut self, script: &str, args: &[&str]) -> Result<String> {
        let output = self.run_any(script, args)?;
        if output.exit == 0 {
            bail!("{script} {} was not refused: {output:?}", args.join(" "));
        }
        Ok(format!("{}{}", output.out, output.err))
    }
}

impl Output {
    /// Standard output of a tool that ended with 0.
    ///
    /// # Errors
    /// When it ended with another code; `what` names it.
    pub fn succeeded(self, what: &str) -> Result<String> {
        if self.exit != 0 {
            bail!("{what} ended with {}: {}{}", self.exit, self.out, self.err);
        }
        Ok(self.out)
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

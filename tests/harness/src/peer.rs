//! Real client libraries as processes that speak one JSON line a request: Java (kafka-clients), librdkafka, franz-go.
//!
//! | op | fields beside `bootstrap` | answer |
//! |---|---|---|
//! | `produce` | `topic partition count min_bytes max_bytes keys compression seed timestamp_ms step_ms config` | `first_offset last_offset acked` |
//! | `transaction` | as `produce`, and `transactional_id`, `outcome` commit, abort or open (Java) | the same |
//! | `consume` | `topic partition from isolation` | `count first_offset last_offset end_offset digest` |
//! | `offsets_for_times` | `topic partition timestamps` (Java) | `offsets`: `offset@timestamp` or -1 |
//! | `offsets` | `topic partition` (Java) | `beginning end` |
//! | `create_topic create_partitions delete_records delete_topic alter_topic describe_topic reassign` | Kafka's own words | |
//! | `commit committed` | `group topic partition offset` | `offset` |
//! | `member_start member_state member_stop` | `name group topic` | `assigned consumed failure` |
//! | `swarm_start` (franz-go) | `topics partitions groups members rate balancer session_ms` | |
//! | `swarm_state` (franz-go) | `since_ms` | `stable current alive changes lost consumed fed unfed failures` |
//! | `swarm_leave swarm_stop` (franz-go) | | |
//!
//! A refusal comes back as `{"ok":false,"code":…,"message":…}`: [`PeerError`].

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context;
use serde_json::{Value, json};

use crate::carrick::sibling;
use crate::process::{cache_dir, repository};
use crate::{Result, kafka};

/// A client library's refusal, with Kafka's name of the error where the library gives it.
#[derive(Debug, Clone)]
pub struct PeerError {
    /// Kafka's error name, such as `INVALID_REQUEST`.
    pub code: String,
    /// The text that the library shows.
    pub message: String,
}

impl std::fmt::Display for PeerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for PeerError {}

/// One client process. Dropping it kills it, which is how a test makes a client crash.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    bootstrap: String,
    library: &'static str,
}

impl Peer {
    /// kafka-clients of the Apache Kafka under test.
    ///
    /// # Errors
    /// When Java or the jars are missing.
    pub fn java(bootstrap: &str) -> Result<Self> {
        let mut command = kafka::java("-Xmx512m")?;
        command.arg("Peer");
        Self::spawn("java", command, bootstrap)
    }

    /// librdkafka, in a process of its own.
    ///
    /// # Errors
    /// When the peer is not built.
    pub fn librdkafka(bootstrap: &str) -> Result<Self> {
        Self::spawn(
            "librdkafka",
            Command::new(sibling("librdkafka-peer")?),
            bootstrap,
        )
    }

    /// franz-go; `None` where there is no Go toolchain, which the caller reports as skipped.
    ///
    /// # Errors
    /// When Go is there but the peer does not build.
    pub fn franz_go(bootstrap: &str) -> Result<Option<Self>> {
        static BUILT: std::sync::OnceLock<std::result::Result<bool, String>> =
            std::sync::OnceLock::new();
        let binary = cache_dir().join("franz-go-peer");
        let built = BUILT.get_or_init(|| {
            let Ok(found) = Command::new("go").arg("version").output() else {
                return Ok(false);
            };
            if !found.status.success() {
                return Ok(false);
            }
            let output = Command::new("go")
                .args(["build", "-o"])
                .arg(&binary)
                .arg(".")
                .current_dir(repository().join("tests/harness/go"))
                .output()
                .map_err(|e| e.to_string())?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() {
                Ok(true)
            } else {
                Err(text)
            }
        });
        match built {
            Ok(true) => Self::spawn("franz-go", Command::new(&binary), bootstrap).map(Some),
            Ok(false) => Ok(None),
            Err(e) => anyhow::bail!("the franz-go peer does not build: {e}"),
        }
    }

    fn spawn(library: &'static str, mut command: Command, bootstrap: &str) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start the {library} peer"))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self {
            child,
            input,
            output,
            bootstrap: bootstrap.to_owned(),
            library,
        })
    }

    /// The library's name, for a test's messages.
    #[must_use]
    pub fn library(&self) -> &'static str {
        self.library
    }

    /// The same library, pointed at another cluster from now on: what an operator does after a failover.
    pub fn point_at(&mut self, bootstrap: &str) {
        bootstrap.clone_into(&mut self.bootstrap);
    }

    /// One operation. The refusal of a library is the inner error; a broken peer is the outer.
    ///
    /// # Errors
    /// When the process has gone or answers nonsense.
    pub fn try_call(
        &mut self,
        op: &str,
        mut fields: Value,
    ) -> Result<std::result::Result<Value, PeerError>> {
        fields["op"] = json!(op);
        fields["bootstrap"] = json!(self.bootstrap);
        writeln!(self.input, "{fields}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("{} peer said {line:?} to {fields}", self.library))?;
        if answer["ok"] == json!(true) {
            return Ok(Ok(answer));
        }
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Ok(Err(PeerError {
            code: text("code"),
            message: text("message"),
        }))
    }

    /// One operation that must succeed.
    ///
    /// # Errors
    /// The library's refusal, or a broken peer.
    pub fn call(&mut self, op: &str, fields: Value) -> Result<Value> {
        let shown = fields.to_string();
        let answer = self.try_call(op, fields)?;
        answer.map_err(|e| anyhow::anyhow!("{} {op} {shown}: {e}", self.library))
    }

    /// One operation that must be refused.
    ///
    /// # Errors
    /// When it succeeds, or the peer is broken.
    pub fn refusal(&mut self, op: &str, fields: Value) -> Result<PeerError> {
        match self.try_call(op, fields)? {
            Err(refusal) => Ok(refusal),
            Ok(answer) => anyhow::bail!("{} {op} was not refused: {answer}", self.library),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

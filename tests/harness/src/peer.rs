//! Real client libraries as processes that speak one JSON line a request: kafka-clients, librdkafka, and those of
//! `tests/harness/python`, `node` and `go`.
//!
//! | op | fields beside `bootstrap` | answer |
//! |---|---|---|
//! | `produce` | `topic partition count min_bytes max_bytes keys tombstones compression idempotent spread_ms seed timestamp_ms` | `first_offset last_offset acked content` |
//! | `transaction` | as `produce`, and `transactional_id`, `outcome`: commit, abort, or open (until the next with that id) | the same |
//! | `process` | `topic partition group to transactional_id isolation outcome`: reads to the end, writes it to `to`, with the offsets | `count` |
//! | `consume` | `topic partition isolation`, from the beginning to the end | `count first_offset last_offset content` |
//! | `member_start member_state member_stop` | `name group topic session_ms protocol`, or `regex` for `topic` | `assigned consumed failure failure_kind` |
//! | `commit committed` | `group topic partition offset metadata` | `offset metadata` |
//! | `create_topic describe_topic create_partitions delete_topic delete_records` | `topic partitions configs total partition before` | `partitions` |
//! | `describe_configs alter_configs` | `topic configs` | `configs` |
//! | `list_groups describe_group delete_group` | `group` | `groups state members` |
//! | `group_offsets alter_offsets` | `group topic partition offset` | `offsets`: by `topic-partition` |
//! | `swarm_start` (franz-go) | `topics partitions groups members rate balancer session_ms` | |
//! | `swarm_state` (franz-go) | `since_ms` | `stable current alive changes lost consumed fed unfed failures` |
//! | `swarm_leave swarm_stop` (franz-go) | | |
//!
//! Java has more: `offsets_for_times offsets alter_topic reassign`, `commit_groups` (`groups` of them: `group` and a
//! number), `group_read` (`group topic count protocol`; gives `read`: `partition:offset` of each record, committed), `step_ms` and `config` of `produce`, `from`,
//! `end_offset` and `digest` of `consume`.
//!
//! `content` is the SHA-256 over the records in their order, which every peer computes alike, of what it sent and of
//! what it read: timestamp (8 bytes), key, value, number of headers (4 bytes), name and value of each; a key, name or
//! value is its length (4 bytes, −1 for null) and its bytes; all big-endian. Record `i` (from 0) of a `produce` has
//! the timestamp `timestamp_ms + i`, a header `n` with `i` as text if 3 divides `i`, with `keys` a key `key-<n>`, and
//! with `tombstones` no key if `i` is even and no value if it ends in 9.
//!
//! With `keep`, a name, `produce` opens a producer under that name and uses it again, on the same connections.
//! `security` ([`Peer::secure`]) are listener and credentials of every client that a request needs: `protocol`; `ca` and
//! `identity`, files in PEM; `mechanism`, and `user` and `password`, or
//! `token`, or with Java and confluent-kafka `oidc`: `url`, `id` and `secret` at an identity provider. Java's `acl` (`change user resource name
//! pattern operation permission`) adds or removes a rule, its `set_password` (`user mechanism password`) sets one, and its `acls` gives all rules.
//!
//! A refusal comes back as `{"ok":false,"code":…,"kind":…,"message":…}`: [`PeerError`].

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::carrick::sibling;
use crate::process::repository;
use crate::toolchain::{Prepared, Toolchain};
use crate::{Result, kafka};

/// How long a peer may be silent. Its libraries have limits of their own, of a minute mostly.
const ANSWER_LIMIT: Duration = Duration::from_secs(150);

/// What a library says of a refusal, as far as it tells refusals apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No TLS connection: of a certificate, a name or a protocol.
    Tls,
    /// The broker does not take the credentials.
    Authentication,
    /// A right is missing.
    Authorization,
    /// Anything else.
    Other,
}

impl Kind {
    /// The kind that a peer's answer names.
    #[must_use]
    pub fn of(name: &Value) -> Self {
        match name.as_str() {
            Some("tls") => Self::Tls,
            Some("authentication") => Self::Authentication,
            Some("authorization") => Self::Authorization,
            _ => Self::Other,
        }
    }
}

/// A client library's refusal, with Kafka's name of the error where the library gives it.
#[derive(Debug, Clone)]
pub struct PeerError {
    /// What it is about.
    pub kind: Kind,
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
    output: Receiver<String>,
    bootstrap: String,
    security: Option<Value>,
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

    /// kafka-clients that work in the background (`tests/harness/java/Workers.java`): `start` with `kind name topic
    /// partitions …`, `state name`, `stop name`, `tally topic partitions`.
    ///
    /// # Errors
    /// When Java or the jars are missing.
    pub fn java_workers(bootstrap: &str) -> Result<Self> {
        let mut command = kafka::java("-Xmx384m")?;
        command.arg("Workers");
        Self::spawn("java workers", command, bootstrap)
    }

    /// librdkafka, in a separate process.
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

    /// A library for Python: `script` of `tests/harness/python`.
    ///
    /// # Errors
    /// When Python or the library cannot be had.
    pub fn python(library: &'static str, script: &str, bootstrap: &str) -> Result<Self> {
        let mut command = Command::new(Toolchain::Python.folder()?.join("bin/python"));
        command.arg(repository().join("tests/harness/python").join(script));
        Self::spawn(library, command, bootstrap)
    }

    /// A library for Node: `script` of `tests/harness/node`.
    ///
    /// # Errors
    /// When Node or the library cannot be had.
    pub fn node(library: &'static str, script: &str, bootstrap: &str) -> Result<Self> {
        let mut command = Command::new("node");
        command
            .arg(repository().join("tests/harness/node").join(script))
            .env("NODE_PATH", Toolchain::Node.folder()?.join("node_modules"));
        Self::spawn(library, command, bootstrap)
    }

    /// A library for Go: `program` of `tests/harness/go`.
    ///
    /// # Errors
    /// When there is no Go toolchain, or the program does not build.
    pub fn go(library: &'static str, program: &str, bootstrap: &str) -> Result<Self> {
        let binary = Toolchain::Go.folder()?.join("bin").join(program);
        Self::spawn(library, Command::new(binary), bootstrap)
    }

    /// franz-go; `None` where there is no Go toolchain, which the caller reports as skipped.
    ///
    /// # Errors
    /// When Go is installed but the peer does not build.
    pub fn franz_go(bootstrap: &str) -> Result<Option<Self>> {
        match Toolchain::Go.prepare()? {
            Prepared::At(_) => Self::go("franz-go", "franz", bootstrap).map(Some),
            Prepared::Missing(_) => Ok(None),
        }
    }

    /// Any program that speaks these lines.
    ///
    /// # Errors
    /// When it does not start.
    pub fn spawn(library: &'static str, mut command: Command, bootstrap: &str) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start the {library} peer"))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        let (lines, output_lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(std::io::Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            input,
            output: output_lines,
            bootstrap: bootstrap.to_owned(),
            security: None,
            library,
        })
    }

    /// The library's name, for a test's messages.
    #[must_use]
    pub fn library(&self) -> &'static str {
        self.library
    }

    /// The cluster that it is pointed at.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The same library, pointed at another cluster from now on: what an operator does after a failover.
    pub fn point_at(&mut self, bootstrap: &str) {
        bootstrap.clone_into(&mut self.bootstrap);
    }

    /// Listener and credentials of its clients from now on. They go to it by its standard input.
    pub fn secure(&mut self, security: Value) {
        self.security = Some(security);
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
        if let Some(security) = &self.security {
            fields["security"] = security.clone();
        }
        writeln!(self.input, "{fields}")?;
        let Ok(line) = self.output.recv_timeout(ANSWER_LIMIT) else {
            anyhow::bail!(
                "{} peer ended, or gave no answer to {op} in {ANSWER_LIMIT:?}",
                self.library
            );
        };
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("{} peer said {line:?} to {op}", self.library))?;
        if answer["ok"] == json!(true) {
            return Ok(Ok(answer));
        }
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Ok(Err(PeerError {
            kind: Kind::of(&answer["kind"]),
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

//! The REST API as a locked-down deployment has it: https, passwords, ACLs and an audit log, driven by the command
//! line with a profile and by curl.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::carrick::binary;
use harness::certificates::Authority;
use harness::kafka::run_tool;
use harness::process::{Process, free_ports};
use harness::{Result, tools, wait_until};
use serde_json::Value;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);
const ANN: &str = "sesame-of-ann";
const BOB: &str = "sesame-of-bob";

/// A broker, and what its operators have on their disks.
struct Deployment {
    _process: Process,
    folder: TempDir,
    port: u16,
    url: String,
}

impl Deployment {
    fn start() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("control-plane-test-")
            .tempdir()?;
        let at = folder.path();
        let servers = Authority::new("servers")?;
        servers.write(at, "ca.pem")?;
        Authority::new("strangers")?.write(at, "strangers.pem")?;
        servers.write_identity(at, "broker.pem", "127.0.0.1")?;
        let [port, rest] = free_ports()?;
        let path = |name: &str| at.join(name).display().to_string();
        let properties = [
            format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
            format!("rest.listeners=https://127.0.0.1:{rest}"),
            format!("rest.ssl.keystore.location={}", path("broker.pem")),
            "rest.authentication.methods=basic".to_owned(),
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"
                .to_owned(),
            // Who comes over Kafka's protocol on loopback, to set up the others.
            "super.users=User:ANONYMOUS".to_owned(),
            format!("log.dirs={}", path("data")),
            format!("audit.log.file={}", path("audit.log")),
        ];
        std::fs::write(at.join("carrick.properties"), properties.join("\n"))?;
        let mut command = Command::new(binary()?);
        command.args(["serve", "--config", &path("carrick.properties")]);
        let mut process = Process::spawn("carrick", command, &at.join("carrick.log"))?;
        process.wait_for_port(port, START_LIMIT)?;
        process.wait_for_port(rest, START_LIMIT)?;
        let url = format!("https://127.0.0.1:{rest}");
        let it = Self {
            _process: process,
            folder,
            port,
            url,
        };
        it.write_profiles()?;
        Ok(it)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `ann` has her password in the profile, `bob` in a file, and `other` trusts another authority.
    fn write_profiles(&self) -> Result<()> {
        let (url, ca) = (&self.url, self.path("ca.pem"));
        let (ca, bob) = (ca.display(), self.path("bob.password"));
        std::fs::write(&bob, format!("{BOB}\n"))?;
        let (bob, strangers) = (bob.display(), self.path("strangers.pem"));
        let text = format!(
            "ann.url={url}\nann.ca={ca}\nann.user=ann\nann.password={ANN}\n\
             bob.url={url}\nbob.ca={ca}\nbob.user=bob\nbob.password.file={bob}\n\
             nobody.url={url}\nnobody.ca={ca}\n\
             other.url={url}\nother.ca={}\nother.user=ann\nother.password={ANN}\n",
            strangers.display()
        );
        let file = self.path("profiles.properties");
        std::fs::write(&file, text)?;
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600))?;
        Ok(())
    }

    /// Runs one of Kafka's tools as the administrator.
    fn tool(&self, script: &str, args: &[&str]) -> Result<String> {
        let bootstrap = format!("127.0.0.1:{}", self.port);
        let mut all = vec!["--bootstrap-server", &bootstrap];
        all.extend(args);
        run_tool(tools::class(script)?, &all)
    }

    fn carrick(&self, args: &[&str]) -> Result<Output> {
        let output = Command::new(binary()?)
            .args(args)
            .env("CARRICK_PROFILES", self.path("profiles.properties"))
            .env_remove("CARRICK_PASSWORD")
            .output()?;
        Ok(output)
    }

    /// What a command that fails says, with its exit code.
    fn refusal(&self, args: &[&str]) -> Result<(i32, String)> {
        let output = self.carrick(args)?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().context("it ended by a signal")?;
        ensure!(code != 0, "{args:?} succeeded");
        Ok((code, text))
    }

    /// The status of a request that curl sends, and the answer's text.
    fn curl(&self, path: &str, args: &[&str]) -> Result<(String, String)> {
        let output = Command::new("curl")
            .args(["-sS", "--cacert"])
            .arg(self.path("ca.pem"))
            .args(["-w", "\n%{http_code}"])
            .args(args)
            .arg(format!("{}{path}", self.url))
            .output()
            .context("curl is needed")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').context("no status")?;
        Ok((status.to_owned(), body.to_owned()))
    }

    fn audited(&self) -> Result<Vec<Value>> {
        lines(&self.path("audit.log"))
    }
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().map(|line| Ok(serde_json::from_str(line)?));
    lines.collect()
}

#[test]
fn operators_do_what_they_may_and_the_audit_log_says_who_did_what() -> Result<()> {
    let it = Deployment::start()?;
    for (user, password) in [("ann", ANN), ("bob", BOB)] {
        let config = format!("SCRAM-SHA-512=[password={password}]");
        let entity = ["--entity-type", "users", "--entity-name", user];
        let mut args = vec!["--alter", "--add-config", &config];
        args.extend(entity);
        it.tool("kafka-configs", &args)?;
    }
    for operation in ["Create", "Describe", "Alter"] {
        let allow = [
            "--add",
            "--allow-principal",
            "User:ann",
            "--cluster",
            "--operation",
        ];
        let mut args = allow.to_vec();
        args.push(operation);
        it.tool("kafka-acls", &args)?;
    }

    let made = it.carrick(&["--profile", "ann", "topic", "create", "orders"])?;
    ensure!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let (code, text) = it.refusal(&["--profile", "bob", "topic", "create", "secret"])?;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("Topic authorization failed") && text.contains("kafka-acls"),
        "{text}"
    );
    let (code, text) = it.refusal(&["--profile", "bob", "link", "list"])?;
    assert!(
        code == 1 && text.contains("Cluster authorization failed"),
        "{text}"
    );
    let wrong = ["--profile", "nobody", "--user", "ann", "--password-file"];
    let bobs = it.path("bob.password").display().to_string();
    let (code, text) = it.refusal(&[&wrong[..], &[&bobs, "topic", "list"]].concat())?;
    assert!(
        code == 1 && text.contains("wrong user or password"),
        "{text}"
    );
    let (code, text) = it.refusal(&["--profile", "nobody", "topic", "list"])?;
    assert!(code == 1 && text.contains("--user"), "{text}");
    let (code, text) = it.refusal(&["--profile", "other", "topic", "list"])?;
    assert!(code == 3 && text.contains("--ca"), "{text}");

    by_curl(&it)?;
    audited(&it)
}

fn by_curl(it: &Deployment) -> Result<()> {
    let ann = format!("ann:{ANN}");
    let clusters = "/kafka/v3/clusters";
    let status = |path: &str, args: &[&str]| Ok::<_, anyhow::Error>(it.curl(path, args)?.0);
    assert_eq!(status(clusters, &["-u", &ann])?, "200");
    assert_eq!(status(clusters, &[])?, "401");
    assert_eq!(status("/healthz", &[])?, "200");
    assert_eq!(status("/readyz", &[])?, "200");
    assert_eq!(status("/metrics", &[])?, "401");
    assert_eq!(status("/metrics", &["-u", &ann])?, "200");
    assert_eq!(status("/metrics", &["-u", &format!("bob:{BOB}")])?, "403");
    let host = ["-u", ann.as_str(), "-H", "Host: evil.example"];
    let (code, text) = it.curl(clusters, &host)?;
    assert!(
        code == "403" && text.contains("rest.allowed.hosts"),
        "{code} {text}"
    );
    let origin = ["-u", ann.as_str(), "-H", "Origin: https://evil.example"];
    assert_eq!(status(clusters, &origin)?, "403");
    let own = format!("Origin: {}", it.url);
    assert_eq!(status(clusters, &["-u", &ann, "-H", &own])?, "200");
    let form = ["-u", ann.as_str(), "-d", "topic_name=form"];
    assert_eq!(status("/kafka/v3/clusters/x/topics", &form)?, "415");
    Ok(())
}

fn audited(it: &Deployment) -> Result<()> {
    let has = |lines: &[Value], parts: &[(&str, &str)]| {
        let fits = |line: &Value| parts.iter().all(|(name, value)| line[*name] == *value);
        lines.iter().any(fits)
    };
    wait_until("the last line of the audit log", START_LIMIT, || {
        let lines = it.audited()?;
        let last = [("who", "User:bob"), ("action", "Metrics")];
        Ok(has(&lines, &last)
            .then_some(())
            .ok_or_else(|| format!("{lines:?}")))
    })?;
    let lines = it.audited()?;
    for parts in [
        &[
            ("action", "AlterUserScramCredentials"),
            ("resource", "ann"),
            ("outcome", "done"),
            ("via", "kafka"),
        ][..],
        &[
            ("action", "CreateAcls"),
            ("resource_type", "cluster"),
            ("outcome", "done"),
        ],
        &[
            ("who", "User:ann"),
            ("action", "CreateTopics"),
            ("resource", "orders"),
            ("outcome", "done"),
            ("via", "rest"),
        ],
        &[
            ("who", "User:bob"),
            ("action", "CreateTopics"),
            ("resource", "secret"),
            ("outcome", "denied"),
            ("operation", "CREATE"),
        ],
        &[
            ("who", "User:bob"),
            ("action", "ListLinks"),
            ("outcome", "denied"),
            ("operation", "DESCRIBE"),
        ],
        &[
            ("action", "Authenticate"),
            ("resource", "ann"),
            ("outcome", "not_authenticated"),
        ],
    ] {
        assert!(has(&lines, parts), "{parts:?}: {lines:#?}");
    }
    let text = std::fs::read_to_string(it.path("audit.log"))?;
    let log = std::fs::read_to_string(it.path("carrick.log"))?;
    for secret in [ANN, BOB] {
        assert!(!text.contains(secret) && !log.contains(secret));
    }
    assert!(log.contains("asks for credentials (basic)"), "{log}");
    Ok(())
}

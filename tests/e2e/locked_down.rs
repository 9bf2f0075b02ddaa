//! A broker as docs/locked-down.properties has it, set up by the steps of docs/SECURITY.md: who is let in, who is not,
//! and what is written about it.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output as Ended};
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::carrick::binary;
use harness::certificates::Authority;
use harness::process::{Process, free_ports};
use harness::tools::{Output, Tools};
use harness::{Result, wait_until};
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const SETTINGS: &str = include_str!("../../docs/locked-down.properties");
const ADMIN: &str = "sesame-of-admin";
const SHOP: &str = "sesame-of-shop";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";

/// A machine with certificates, a key for secrets, and the settings.
struct Machine {
    folder: TempDir,
    open: String,
    external: String,
    internal: String,
    rest: String,
}

impl Machine {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("locked-down-test-")
            .tempdir()?;
        let [open, external, internal, rest] = free_ports()?;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let it = Self {
            folder,
            open: at(open),
            external: at(external),
            internal: at(internal),
            rest: at(rest),
        };
        it.write_certificates()?;
        it.write("admin.password", &format!("{ADMIN}\n"))?;
        it.write("shop.password", &format!("{SHOP}\n"))?;
        it.write_settings([external, internal, rest])?;
        it.write_profiles()?;
        // The very command of the settings' comment.
        let key = it.path("secrets.key");
        let made = Command::new("sh")
            .arg("-c")
            .arg(format!("(umask 077; openssl rand -hex 32 > {key})"))
            .status()?;
        ensure!(made.success(), "no key");
        Ok(it)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn read(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.path(name))?)
    }

    fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        Ok(path)
    }

    fn write_certificates(&self) -> Result<()> {
        let at = self.folder.path();
        let servers = Authority::new("servers")?;
        servers.write(at, "ca.pem")?;
        servers.write_identity(at, "broker.pem", "127.0.0.1")?;
        let clients = Authority::new("internal clients")?;
        clients.write(at, "internal-clients.pem")?;
        clients.write_named(at, "metrics.pem", "metrics")?;
        clients.write_named(at, "named-admin.pem", "admin")?;
        clients.write_expired(at, "expired.pem", "metrics")?;
        Authority::new("strangers")?.write_named(at, "stranger.pem", "metrics")?;
        Ok(())
    }

    /// The published settings; nothing is changed but paths, the host and ports.
    fn write_settings(&self, [external, internal, rest]: [u16; 3]) -> Result<()> {
        let folder = self.path("");
        let mut text = SETTINGS.to_owned();
        for (published, here) in [
            ("dr.example.com", "127.0.0.1".to_owned()),
            ("0.0.0.0", "127.0.0.1".to_owned()),
            (":9093", format!(":{external}")),
            (":9094", format!(":{internal}")),
            (":8090", format!(":{rest}")),
            ("/etc/carrick/", folder.clone()),
            ("/var/log/carrick/", folder),
            ("/var/lib/carrick", self.path("data")),
        ] {
            ensure!(text.contains(published), "{published}");
            text = text.replace(published, &here);
        }
        self.write("carrick.properties", &text)?;
        Ok(())
    }

    /// `nobody` trusts the server and shows nothing.
    fn write_profiles(&self) -> Result<()> {
        let mut text = String::new();
        for name in ["admin", "shop", "nobody"] {
            let _ = writeln!(text, "{name}.url=https://{}", self.rest);
            let _ = writeln!(text, "{name}.ca={}", self.path("ca.pem"));
        }
        for name in ["admin", "shop"] {
            let file = self.path(&format!("{name}.password"));
            let _ = writeln!(text, "{name}.user={name}\n{name}.password.file={file}");
        }
        self.write("profiles.properties", &text)?;
        Ok(())
    }

    /// Runs `carrick ARGS…`.
    fn run(&self, args: &[&str]) -> Result<Ended> {
        let output = Command::new(binary()?)
            .args(args)
            .env("CARRICK_PROFILES", self.path("profiles.properties"))
            .env_remove("CARRICK_PASSWORD")
            .output()?;
        Ok(output)
    }

    /// Runs a command that must succeed, and gives what it printed.
    fn carrick(&self, args: &[&str]) -> Result<String> {
        let ended = self.run(args)?;
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        let error = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "{args:?}: {text}{error}");
        Ok(text)
    }

    /// What a command that must fail says.
    fn refusal(&self, args: &[&str]) -> Result<String> {
        let ended = self.run(args)?;
        ensure!(!ended.status.success(), "{args:?} was not refused");
        Ok(String::from_utf8_lossy(&ended.stderr).into_owned())
    }

    /// The first step: an administrator, while the broker does not run.
    fn add_admin(&self) -> Result<()> {
        let (data, password) = (self.path("data"), self.path("admin.password"));
        let from = ["--new-password-file", &password, "--data-dir", &data];
        self.carrick(&[&["user", "add", "admin"], &from[..]].concat())?;
        Ok(())
    }

    /// The status of the answer at this address of the REST API.
    fn status(&self, scheme: &str, path: &str) -> Result<String> {
        let curl = Command::new("curl")
            .args(["-sS", "--cacert", &self.path("ca.pem")])
            .args(["-o", "/dev/null", "-w", "%{http_code}"])
            .arg(format!("{scheme}://{}{path}", self.rest))
            .output()
            .context("curl is needed")?;
        Ok(String::from_utf8_lossy(&curl.stdout).into_owned())
    }

    /// `carrick serve ARGS…`, once it serves clients by these listeners.
    fn serve(&self, args: &[&str], scheme: &str, listeners: &[&str]) -> Result<Process> {
        let mut command = Command::new(binary()?);
        command.arg("serve").args(args);
        let log = PathBuf::from(self.path("carrick.log"));
        let mut process = Process::spawn("carrick", command, &log)?;
        for address in listeners {
            let port = address.rsplit(':').next().context("no port")?.parse()?;
            process.wait_for_port(port, LIMIT)?;
        }
        wait_until("carrick is ready", LIMIT, || {
            let status = self.status(scheme, "/readyz")?;
            Ok((status == "200").then_some(()).ok_or(status))
        })?;
        Ok(process)
    }

    /// `carrick serve` from the published settings.
    fn serve_locked_down(&self) -> Result<Process> {
        let settings = self.path("carrick.properties");
        let listeners = [&self.external[..], &self.internal];
        self.serve(&["--config", &settings], "https", &listeners)
    }

    /// Properties of a client, whose calls end soon if it is refused.
    fn client(&self, name: &str, lines: &[&str]) -> Result<String> {
        let mut text = lines.join("\n");
        let _ = write!(text, "\nssl.truststore.location={}", self.path("ca.pem"));
        text.push_str("\nssl.truststore.type=PEM\nssl.keystore.type=PEM");
        text.push_str("\ndefault.api.timeout.ms=8000\nrequest.timeout.ms=4000\n");
        text.push_str("max.block.ms=8000\n");
        self.write(&format!("{name}.client"), &text)
    }

    /// Of a client that logs in.
    fn user(&self, name: &str, user: &str, password: &str) -> Result<String> {
        let login = format!(
            "sasl.jaas.config={SCRAM} required username=\"{user}\" password=\"{password}\";"
        );
        let mechanism = "sasl.mechanism=SCRAM-SHA-512";
        self.client(name, &["security.protocol=SASL_SSL", mechanism, &login])
    }

    /// Of a client that shows a certificate.
    fn certificate(&self, file: &str) -> Result<String> {
        let store = format!("ssl.keystore.location={}", self.path(file));
        self.client(file, &["security.protocol=SSL", &store])
    }

    fn audited(&self) -> Result<Vec<Value>> {
        let text = self.read("audit.log")?;
        text.lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }
}

/// Runs one of Kafka's tools with a client's properties.
fn tool(tools: &mut Tools, script: &str, at: &str, client: &str, args: &[&str]) -> Result<Output> {
    let to = ["--bootstrap-server", at, "--command-config", client];
    tools.run_bare(script, &[&to[..], args].concat(), "one\ntwo\n")
}

/// Runs it, and gives what it printed; it must succeed.
fn done(tools: &mut Tools, script: &str, at: &str, client: &str, args: &[&str]) -> Result<String> {
    let output = tool(tools, script, at, client, args)?;
    output.succeeded(&format!("{script} {}", args.join(" ")))
}

/// Runs it: it must say this exception.
fn refused(
    tools: &mut Tools,
    (script, at, client): (&str, &str, &str),
    args: &[&str],
    exception: &str,
) -> Result<()> {
    let output = tool(tools, script, at, client, args)?;
    let text = format!("{}{}", output.out, output.err);
    println!("{script} {} by {client}: {exception}", args.join(" "));
    ensure!(text.contains(exception), "{exception}: {output:?}");
    Ok(())
}

const CONSUME: [&str; 5] = [
    "--from-beginning",
    "--max-messages",
    "2",
    "--timeout-ms",
    "20000",
];

fn produce_and_consume(tools: &mut Tools, at: &str, client: &str, topic: &str) -> Result<()> {
    done(
        tools,
        "kafka-console-producer",
        at,
        client,
        &["--topic", topic],
    )?;
    let consume = [&["--topic", topic, "--group", "shop"], &CONSUME[..]].concat();
    let read = done(tools, "kafka-console-consumer", at, client, &consume)?;
    ensure!(read.lines().collect::<Vec<_>>() == ["one", "two"], "{read}");
    Ok(())
}

/// Users and rights, by the administrator.
fn set_up(it: &Machine, tools: &mut Tools, admin: &str) -> Result<()> {
    let password = it.path("shop.password");
    let as_admin = ["--profile", "admin"];
    let run = |args: &[&str]| it.carrick(&[&as_admin[..], args].concat());
    run(&["user", "add", "shop", "--new-password-file", &password])?;
    for principal_and_right in [
        &[
            "User:shop",
            "--producer",
            "--consumer",
            "--topic",
            "orders",
            "--group",
            "shop",
        ][..],
        &[
            "User:internal-metrics",
            "--operation",
            "Describe",
            "--topic",
            "*",
        ],
    ] {
        let add = [&["--add", "--allow-principal"], principal_and_right].concat();
        done(tools, "kafka-acls", &it.external, admin, &add)?;
    }
    // As a comment of the settings has it, but for the number: everybody is one address here.
    let addresses = ["--alter", "--entity-type", "ips", "--entity-default"];
    let limit = ["--add-config", "connection_creation_rate=1000"];
    let limit = [&addresses[..], &limit].concat();
    done(tools, "kafka-configs", &it.external, admin, &limit)?;
    Ok(())
}

#[test]
fn the_published_settings_let_in_whom_they_should_and_nobody_else() -> Result<()> {
    let it = Machine::new()?;
    it.add_admin()?;
    let _process = it.serve_locked_down()?;
    let mut tools = Tools::start(&it.external)?;
    let admin = it.user("admin", "admin", ADMIN)?;
    for topic in ["orders", "bills"] {
        it.carrick(&["--profile", "admin", "topic", "create", topic])?;
    }
    set_up(&it, &mut tools, &admin)?;
    the_log_says_who_gets_in(&it)?;
    who_has_a_right_gets_in(&it, &mut tools)?;
    who_has_no_credentials_does_not(&it, &mut tools)?;
    who_has_no_right_is_told_so(&it, &mut tools)?;
    the_control_plane_is_closed(&it)?;
    the_audit_log_has_it(&it)?;
    no_secret_is_written(&it)
}

fn the_log_says_who_gets_in(it: &Machine) -> Result<()> {
    let log = it.read("carrick.log")?;
    for part in [
        "clients who log in (SCRAM-SHA-512), over TLS (SASL_SSL); ACLs say what they may do",
        "clients with a trusted certificate, over TLS (SSL); ACLs say what they may do",
        "it asks for credentials (basic), but for /healthz, /readyz",
        "stored secrets are encrypted key=",
    ] {
        ensure!(log.contains(part), "{part}: {log}");
    }
    for part in ["no effect", "do not exist", "key in the data folder"] {
        ensure!(!log.contains(part), "{part}: {log}");
    }
    let keys = it.carrick(&["--profile", "admin", "secrets", "describe", "-o", "json"])?;
    let keys: Value = serde_json::from_str(&keys)?;
    ensure!(keys["key_is_in_data_folder"] == false, "{keys}");
    Ok(())
}

fn who_has_a_right_gets_in(it: &Machine, tools: &mut Tools) -> Result<()> {
    let shop = it.user("shop", "shop", SHOP)?;
    produce_and_consume(tools, &it.external, &shop, "orders")?;
    let listed = done(tools, "kafka-topics", &it.external, &shop, &["--list"])?;
    ensure!(listed.trim() == "orders", "{listed}");
    let metrics = it.certificate("metrics.pem")?;
    let listed = done(tools, "kafka-topics", &it.internal, &metrics, &["--list"])?;
    ensure!(
        listed.split_whitespace().collect::<Vec<_>>() == ["bills", "orders"],
        "{listed}"
    );
    let listed = it.carrick(&["--profile", "shop", "topic", "list"])?;
    ensure!(
        listed.contains("orders") && !listed.contains("bills"),
        "{listed}"
    );
    Ok(())
}

fn who_has_no_credentials_does_not(it: &Machine, tools: &mut Tools) -> Result<()> {
    let plain = it.client("plain", &["security.protocol=PLAINTEXT"])?;
    let without_login = it.client("without-login", &["security.protocol=SSL"])?;
    let wrong = it.user("wrong", "shop", "another")?;
    let unknown = it.user("unknown", "nobody", SHOP)?;
    let other = it.client(
        "other",
        &[
            "security.protocol=SASL_SSL",
            "sasl.mechanism=PLAIN",
            "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
             username=\"shop\" password=\"x\";",
        ],
    )?;
    for (at, client, exception) in [
        (&it.external, plain.as_str(), "TimeoutException"),
        (&it.internal, &plain, "TimeoutException"),
        (&it.external, &without_login, "TimeoutException"),
        (&it.external, &wrong, "SaslAuthenticationException"),
        (&it.external, &unknown, "SaslAuthenticationException"),
        (&it.external, &other, "UnsupportedSaslMechanismException"),
        (&it.internal, &without_login, "SslAuthenticationException"),
        (
            &it.internal,
            &it.certificate("stranger.pem")?,
            "SslAuthenticationException",
        ),
        (
            &it.internal,
            &it.certificate("expired.pem")?,
            "SslAuthenticationException",
        ),
    ] {
        let how = ("kafka-topics", at.as_str(), client);
        refused(tools, how, &["--list"], exception)?;
    }
    Ok(())
}

fn who_has_no_right_is_told_so(it: &Machine, tools: &mut Tools) -> Result<()> {
    let shop = it.path("shop.client");
    let admins_name = it.certificate("named-admin.pem")?;
    let topic = "TopicAuthorizationException";
    let (producer, consumer) = ("kafka-console-producer", "kafka-console-consumer");
    let (external, internal) = (it.external.as_str(), it.internal.as_str());
    let read = [&["--topic", "bills", "--group", "shop"], &CONSUME[..]].concat();
    let group = [&["--topic", "orders", "--group", "other"], &CONSUME[..]].concat();
    for (how, args, exception) in [
        (
            (producer, external, &shop),
            &["--topic", "bills"][..],
            topic,
        ),
        // It would create a topic, if that were on and allowed.
        ((producer, external, &shop), &["--topic", "news"], topic),
        ((consumer, external, &shop), &read, topic),
        (
            (consumer, external, &shop),
            &group,
            "GroupAuthorizationException",
        ),
        (
            ("kafka-topics", external, &shop),
            &["--create", "--topic", "news"],
            topic,
        ),
        // A certificate does not make a super user, whatever name it has.
        (
            ("kafka-topics", internal, &admins_name),
            &["--create", "--topic", "news"],
            topic,
        ),
        (
            ("kafka-acls", external, &shop),
            &["--list"],
            "ClusterAuthorizationException",
        ),
    ] {
        let (script, at, client) = how;
        refused(tools, (script, at, client), args, exception)?;
    }
    Ok(())
}

fn the_control_plane_is_closed(it: &Machine) -> Result<()> {
    let without = it.refusal(&["--profile", "nobody", "topic", "list"])?;
    ensure!(without.contains("--user"), "{without}");
    let shops = it.path("shop.password");
    let wrong = [
        "--profile",
        "nobody",
        "--user",
        "admin",
        "--password-file",
        &shops,
    ];
    let wrong = it.refusal(&[&wrong[..], &["topic", "list"]].concat())?;
    ensure!(wrong.contains("wrong user or password"), "{wrong}");
    let failover = ["mirror", "failover", "--all", "--link", "dr"];
    let denied = it.refusal(&[&["--profile", "shop"], &failover[..]].concat())?;
    ensure!(denied.contains("Cluster authorization failed"), "{denied}");
    let plain = format!("http://{}", it.rest);
    it.refusal(&["--url", &plain, "topic", "list"])?;
    for (path, expected) in [
        ("/kafka/v3/clusters", "401"),
        ("/metrics", "401"),
        ("/healthz", "200"),
    ] {
        let told = it.status("https", path)?;
        ensure!(told == expected, "{path}: {told}");
    }
    Ok(())
}

fn the_audit_log_has_it(it: &Machine) -> Result<()> {
    let has = |lines: &[Value], parts: &[(&str, &str)]| {
        let fits = |line: &Value| parts.iter().all(|(name, value)| line[*name] == *value);
        lines.iter().any(fits)
    };
    for parts in [
        &[
            ("who", "User:admin"),
            ("resource_type", "topic"),
            ("resource", "orders"),
            ("via", "rest"),
            ("outcome", "done"),
        ][..],
        &[
            ("who", "User:admin"),
            ("resource_type", "user"),
            ("resource", "shop"),
            ("outcome", "done"),
        ],
        &[
            ("who", "User:admin"),
            ("action", "CreateAcls"),
            ("via", "kafka"),
            ("outcome", "done"),
        ],
        &[
            ("who", "User:shop"),
            ("resource", "bills"),
            ("via", "kafka"),
            ("outcome", "denied"),
        ],
        &[
            ("who", "User:shop"),
            ("resource_type", "group"),
            ("resource", "other"),
            ("outcome", "denied"),
        ],
        &[
            ("who", "User:internal-admin"),
            ("action", "CreateTopics"),
            ("operation", "CREATE"),
            ("outcome", "denied"),
        ],
        &[
            ("who", "User:shop"),
            ("via", "rest"),
            ("resource_type", "cluster"),
            ("outcome", "denied"),
        ],
        &[("via", "rest"), ("outcome", "not_authenticated")],
        &[("via", "kafka"), ("outcome", "not_authenticated")],
    ] {
        wait_until(&format!("{parts:?} in the audit log"), LIMIT, || {
            let lines = it.audited()?;
            let found = has(&lines, parts);
            Ok(found.then_some(()).ok_or_else(|| format!("{lines:#?}")))
        })?;
    }
    let mode = std::fs::metadata(it.path("audit.log"))?
        .permissions()
        .mode();
    ensure!(mode & 0o077 == 0, "others may read it: {mode:o}");
    Ok(())
}

fn no_secret_is_written(it: &Machine) -> Result<()> {
    let key = it.read("secrets.key")?;
    for file in ["carrick.log", "audit.log"] {
        let text = it.read(file)?;
        for secret in [ADMIN, SHOP, key.trim()] {
            ensure!(!text.contains(secret), "a secret is in {file}");
        }
    }
    Ok(())
}

#[test]
fn an_open_broker_is_locked_down_while_its_clients_move_one_by_one() -> Result<()> {
    // Given a broker without any security, and an application.
    let it = Machine::new()?;
    let plain = it.client("plain", &["security.protocol=PLAINTEXT"])?;
    let (listeners, rest) = (
        format!("listeners=PLAINTEXT://{}", it.open),
        format!("rest.listeners=http://{}", it.rest),
    );
    let data = format!("log.dirs={}", it.path("data"));
    let overrides = [&listeners, &rest, &data].map(|value| ["--override", value.as_str()]);
    let mut open = it.serve(&overrides.concat(), "http", &[&it.open])?;
    let mut tools = Tools::start(&it.external)?;
    produce_and_consume(&mut tools, &it.open, &plain, "orders")?;
    ensure!(open.terminate(LIMIT)?.success());

    // When it has the settings, with the old listener beside the new ones for a while.
    it.add_admin()?;
    let beside = it.read("carrick.properties")?;
    let beside = beside
        .replace("\nlisteners=", &format!("\nlisteners=OLD://{},", it.open))
        .replace(
            "\nadvertised.listeners=",
            &format!("\nadvertised.listeners=OLD://{},", it.open),
        )
        .replace("protocol.map=", "protocol.map=OLD:PLAINTEXT,")
        .replace(
            "super.users=User:admin",
            "super.users=User:admin;User:ANONYMOUS",
        );
    let beside = it.write("beside.properties", &beside)?;
    let all = [it.open.as_str(), &it.external, &it.internal];
    let mut both = it.serve(&["--config", &beside], "https", &all)?;
    let admin = it.user("admin", "admin", ADMIN)?;
    set_up(&it, &mut tools, &admin)?;

    // Then the application works both ways, and the user has only its rights.
    let shop = it.user("shop", "shop", SHOP)?;
    for (at, client) in [(&it.open, &plain), (&it.external, &shop)] {
        done(
            &mut tools,
            "kafka-console-producer",
            at,
            client,
            &["--topic", "orders"],
        )?;
    }
    let how = ("kafka-topics", it.external.as_str(), shop.as_str());
    let create = ["--create", "--topic", "news"];
    refused(&mut tools, how, &create, "TopicAuthorizationException")?;
    ensure!(both.terminate(LIMIT)?.success());

    // And at the end the old way in is gone, and all records are there.
    let _process = it.serve_locked_down()?;
    let read = [
        "--topic",
        "orders",
        "--group",
        "shop",
        "--max-messages",
        "4",
    ];
    let read = [&read[..], &["--timeout-ms", "20000"]].concat();
    let read = done(
        &mut tools,
        "kafka-console-consumer",
        &it.external,
        &shop,
        &read,
    )?;
    ensure!(read.lines().count() == 4, "{read}");
    let how = ("kafka-topics", it.open.as_str(), plain.as_str());
    refused(&mut tools, how, &["--list"], "TimeoutException")
}

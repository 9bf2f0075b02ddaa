//! Sources that want TLS and credentials, with the properties files that Kafka's own clients take.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use harness::certificates::{Authority, to_pkcs12, to_trust_store};
use harness::kafka::{Setup, run_tool};
use harness::{Carrick, Kafka, Result, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{LIMIT, World};

/// No session at the source lasts longer.
const SESSION_MS: u64 = 4_000;
const PASSWORDS: [&str; 3] = ["plain-sesame-1", "scram-sesame-2", "scram-sesame-3"];

/// A source with a listener for each security protocol, one link over each.
struct Secured {
    world: World,
    folder: TempDir,
}

impl Secured {
    fn start() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("security-test-")
            .tempdir()?;
        let at = folder.path();
        let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
        to_trust_store(&servers.write(at, "servers.pem")?, PASSWORDS[1])?;
        servers.write_identity(at, "broker.pem", "127.0.0.1")?;
        clients.write(at, "clients.pem")?;
        to_pkcs12(
            &clients.write_identity(at, "link.pem", "link")?,
            PASSWORDS[1],
        )?;
        Authority::new("strangers")?.write(at, "strangers.pem")?;
        let file = |name: &str| at.join(name).display().to_string();
        let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let properties = [
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", file("broker.pem")),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", file("clients.pem")),
            "listener.name.ssl.ssl.client.auth=required".to_owned(),
            "listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN".to_owned(),
            format!(
                "listener.name.sasl_plaintext.plain.sasl.jaas.config={plain} required user_alice=\"{}\";",
                PASSWORDS[0]
            ),
            "listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512".to_owned(),
            format!("listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} required;"),
            format!("connections.max.reauth.ms={SESSION_MS}"),
        ];
        let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
        let kafka = Kafka::start_as(Setup {
            properties: &properties,
            protocols: &["SSL", "SASL_PLAINTEXT", "SASL_SSL"],
            ..Setup::default()
        })?;
        set_password(&kafka, PASSWORDS[1])?;
        let world = World::start_both(kafka, Carrick::start()?)?;
        Ok(Self { world, folder })
    }

    /// A client's properties file for one of the listeners.
    fn client_file(&self, protocol: &str, changes: &[(&str, &str)]) -> Result<PathBuf> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let mut lines = vec![
            ("bootstrap.servers", self.world.kafka.listener(1, protocol)),
            ("security.protocol", protocol.to_owned()),
            ("acks", "all".to_owned()),
            ("sasl.login.refresh.window.factor", "0.8".to_owned()),
        ];
        if protocol.ends_with("SSL") {
            lines.push(("ssl.truststore.type", "PEM".to_owned()));
            lines.push(("ssl.truststore.location", file("servers.pem")));
        }
        match protocol {
            "SSL" => {
                // Java's and openssl's stores; the type is Kafka's default.
                lines.retain(|(name, _)| !name.starts_with("ssl.truststore."));
                lines.extend([
                    ("ssl.truststore.location", file("servers.trust.p12")),
                    ("ssl.truststore.password", PASSWORDS[1].to_owned()),
                    ("ssl.keystore.location", file("link.p12")),
                    ("ssl.keystore.password", PASSWORDS[1].to_owned()),
                ]);
            }
            "SASL_SSL" => {
                lines.push(("sasl.mechanism", "SCRAM-SHA-512".to_owned()));
                lines.push(("sasl.jaas.config", jaas("scram.Scram", PASSWORDS[1])));
            }
            _ => {
                lines.push(("sasl.mechanism", "PLAIN".to_owned()));
                lines.push(("sasl.jaas.config", jaas("plain.Plain", PASSWORDS[0])));
            }
        }
        lines.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        lines.extend(
            changes
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let mut text = String::new();
        for (name, value) in lines {
            let _ = writeln!(text, "{name}={value}");
        }
        let path = self.folder.path().join("client.properties");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    fn create_link(&self, name: &str, file: &Path) -> Result<Value> {
        let file = file.display().to_string();
        let carrick = &self.world.carrick;
        carrick.cli(&["link", "create", name, "--config-file", &file])
    }

    /// Why a link with these changes of a client's file is refused.
    fn refusal(&self, protocol: &str, changes: &[(&str, &str)]) -> Result<String> {
        let file = self.client_file(protocol, changes)?;
        match self.create_link("refused", &file) {
            Ok(_) => bail!("{protocol} with {changes:?} was let pass"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    fn produce(&mut self, topic: &str, count: u32) -> Result<()> {
        let fields = json!({"topic": topic, "count": count, "config": {"linger.ms": "5"}});
        self.world.source.call("produce", fields)?;
        Ok(())
    }

    /// Waits for every record and compares them with the source's.
    fn assert_identical(&mut self, topic: &str) -> Result<()> {
        self.world.wait_caught_up(topic, 1)?;
        ensure!(
            self.world.assert_identical(topic, 1)? > 0,
            "{topic} is empty"
        );
        Ok(())
    }

    fn link_config(&self, link: &str, name: &str, value: &str) -> Result<()> {
        let url = format!("{}/kafka/v3/clusters", self.world.carrick.url());
        let clusters: Value = ureq::get(&url).call()?.body_mut().read_json()?;
        let cluster = clusters["data"][0]["cluster_id"]
            .as_str()
            .context("an id")?;
        let url = format!("{url}/{cluster}/links/{link}/configs/{name}");
        ureq::put(&url).send_json(json!({"value": value}))?;
        Ok(())
    }

    fn wait_link(&self, link: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_until(what, LIMIT, || {
            let shown = self.world.carrick.cli(&["link", "describe", link])?;
            let is_wanted = wanted(&shown["link"]);
            Ok(if is_wanted {
                Ok(shown["link"].clone())
            } else {
                Err(shown["link"].to_string())
            })
        })
    }
}

fn jaas(module: &str, password: &str) -> String {
    format!(
        "org.apache.kafka.common.security.{module}LoginModule required username=\"alice\" password=\"{password}\";"
    )
}

/// Gives alice this password for SCRAM.
fn set_password(kafka: &Kafka, password: &str) -> Result<()> {
    let config = format!("SCRAM-SHA-512=[iterations=4096,password={password}]");
    let bootstrap = kafka.bootstrap();
    let mut args = vec![
        "--bootstrap-server",
        &bootstrap,
        "--alter",
        "--add-config",
        &config,
    ];
    args.extend(["--entity-type", "users", "--entity-name", "alice"]);
    run_tool("kafka.admin.ConfigCommand", &args)?;
    Ok(())
}

/// The files below `folder` that hold one of the passwords.
fn files_with_secrets(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with_secrets(&path)?);
            continue;
        }
        let bytes = std::fs::read(&path)?;
        let has = |word: &str| {
            bytes
                .windows(word.len())
                .any(|window| window == word.as_bytes())
        };
        if PASSWORDS.iter().any(|password| has(password)) {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn a_source_with_tls_and_passwords_is_mirrored_while_its_password_changes() -> Result<()> {
    let mut secured = Secured::start()?;
    refused_links_say_why(&secured)?;
    for (link, protocol) in [
        ("mtls", "SSL"),
        ("plain", "SASL_PLAINTEXT"),
        ("scram", "SASL_SSL"),
    ] {
        secured.world.topic(link, 1, json!({}))?;
        secured.produce(link, 500)?;
        let file = secured.client_file(protocol, &[])?;
        if protocol == "SASL_SSL" {
            javas_client_takes(&secured, protocol, &file)?;
        }
        secured.create_link(link, &file)?;
        secured.world.carrick.mirror(link, &[link])?;
        secured.assert_identical(link)?;
    }
    a_changed_password_is_told_and_mended(&mut secured)?;
    // The others' sessions have been renewed meanwhile.
    for link in ["mtls", "plain"] {
        secured.produce(link, 100)?;
        secured.assert_identical(link)?;
        secured.wait_link(link, "active", |link| link["link_state"] == "ACTIVE")?;
    }
    secrets_survive_a_restart_and_stand_nowhere(&mut secured)
}

/// The very file works with Kafka's own client.
fn javas_client_takes(secured: &Secured, protocol: &str, file: &Path) -> Result<()> {
    let bootstrap = secured.world.kafka.listener(1, protocol);
    let file = file.display().to_string();
    let list = [
        "--list",
        "--bootstrap-server",
        &bootstrap,
        "--command-config",
        &file,
    ];
    let topics = run_tool("org.apache.kafka.tools.TopicCommand", &list)?;
    ensure!(topics.lines().any(|topic| topic == "scram"), "{topics}");
    Ok(())
}

fn refused_links_say_why(secured: &Secured) -> Result<()> {
    let wrong = jaas("scram.Scram", "wrong");
    let port = secured
        .world
        .kafka
        .listener(1, "SASL_SSL")
        .replace("127.0.0.1", "localhost");
    let strangers = secured
        .folder
        .path()
        .join("strangers.pem")
        .display()
        .to_string();
    let scram = "SASL_SSL";
    for (protocol, changes, words) in [
        (
            scram,
            vec![("sasl.jaas.config", &*wrong)],
            "it refused user and password",
        ),
        (
            scram,
            vec![("sasl.mechanism", "SCRAM-SHA-256")],
            "only SCRAM-SHA-512",
        ),
        (
            scram,
            vec![("ssl.truststore.location", &*strangers)],
            "unknown authority",
        ),
        (
            scram,
            vec![("bootstrap.servers", &*port)],
            "is for 127.0.0.1 and not for the host localhost",
        ),
        (
            "SSL",
            vec![("ssl.keystore.location", "")],
            "client certificate",
        ),
    ] {
        let refusal = secured.refusal(protocol, &changes)?;
        println!("{protocol}: {refusal}");
        ensure!(refusal.contains("AUTHENTICATION_ERROR"), "{refusal}");
        ensure!(refusal.contains(words), "{words} is not in {refusal}");
    }
    let jks = secured
        .folder
        .path()
        .join("servers.jks")
        .display()
        .to_string();
    std::fs::write(&jks, [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2])?;
    let changes = [
        ("ssl.truststore.type", "JKS"),
        ("ssl.truststore.location", &*jks),
    ];
    let refusal = secured.refusal("SSL", &changes)?;
    ensure!(refusal.contains("keytool -importkeystore"), "{refusal}");
    other_hosts_and_arguments(secured, &port)
}

/// Any host will do if the check is switched off; a secret as an argument never will.
fn other_hosts_and_arguments(secured: &Secured, port: &str) -> Result<()> {
    let unchecked = [
        ("bootstrap.servers", port),
        ("ssl.endpoint.identification.algorithm", ""),
    ];
    let file = secured
        .client_file("SASL_SSL", &unchecked)?
        .display()
        .to_string();
    let args = [
        "link",
        "create",
        "any-host",
        "--config-file",
        &file,
        "--dry-run",
    ];
    secured.world.carrick.cli(&args)?;
    let secret = "sasl.jaas.config=x";
    let output = secured
        .world
        .carrick
        .cli_output(&["link", "create", "x", "--config", secret])?;
    ensure!(
        !output.status.success(),
        "a secret was taken from the command line"
    );
    Ok(())
}

/// The sessions of the link end, and it says that it is refused; records that come meanwhile are mirrored after.
fn a_changed_password_is_told_and_mended(secured: &mut Secured) -> Result<()> {
    set_password(&secured.world.kafka, PASSWORDS[2])?;
    let refused = |link: &Value| link["link_error"] == "AUTHENTICATION_ERROR";
    let link = secured.wait_link("scram", "the refusal is told", refused)?;
    println!("{}: {}", link["link_state"], link["link_error_message"]);
    secured.produce("scram", 300)?;
    secured.wait_link("scram", "no attempts for ever", |link| {
        link["link_state"] == "FAILED"
    })?;
    secured.link_config(
        "scram",
        "sasl.jaas.config",
        &jaas("scram.Scram", PASSWORDS[2]),
    )?;
    secured.assert_identical("scram")?;
    secured.wait_link("scram", "active again", |link| {
        link["link_error"] == "NO_ERROR"
    })?;
    Ok(())
}

fn secrets_survive_a_restart_and_stand_nowhere(secured: &mut Secured) -> Result<()> {
    let carrick = &mut secured.world.carrick;
    let shown = carrick.cli(&["link", "describe", "scram"])?.to_string();
    carrick.stop()?;
    let key = carrick.data_dir().join("link.secrets.key");
    let aside = secured.folder.path().join("aside.key");
    std::fs::rename(&key, &aside)?;
    carrick.restart()?;
    let lost = |link: &Value| {
        link["link_error_message"]
            .to_string()
            .contains("link.secrets.key")
    };
    // The password of a key store is as secret as one to log in with.
    let links = ["scram", "mtls"];
    for name in links {
        let link = secured.wait_link(name, "the missing key is named", lost)?;
        ensure!(link["link_error"] == "AUTHENTICATION_ERROR", "{link}");
    }
    secured.world.carrick.stop()?;
    std::fs::rename(&aside, &key)?;
    secured.world.carrick.restart()?;
    for name in links {
        secured.link_config(name, "cluster.link.paused", "false")?;
        secured.produce(name, 50)?;
        secured.assert_identical(name)?;
    }
    let carrick = &secured.world.carrick;
    let found = files_with_secrets(&carrick.data_dir())?;
    ensure!(found.is_empty(), "passwords stand in {found:?}");
    for text in [shown, carrick.log()] {
        ensure!(
            !PASSWORDS.iter().any(|password| text.contains(password)),
            "{text}"
        );
    }
    Ok(())
}

//! Kafka's own clients over TLS: with the certificate that they need, with every other, and while certificates are
//! renewed. The errors that they get are compared with those of real Kafka.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::certificates::{Authority, to_pkcs12, to_trust_store};
use harness::kafka::Setup as KafkaSetup;
use harness::tools::Tools;
use harness::{Carrick, Kafka, Result, carrick, wait_until};
use tempfile::TempDir;

const PASSWORD: &str = "store-sesame";
const LIMIT: Duration = Duration::from_secs(60);

/// Certificates of a listener and of its clients.
struct Files {
    folder: TempDir,
    servers: Authority,
}

impl Files {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tls-test-").tempdir()?;
        let at = folder.path();
        let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
        let strangers = Authority::new("strangers")?;
        let authority = servers.write(at, "servers.pem")?;
        to_trust_store(&authority, PASSWORD)?;
        to_pkcs12(
            &servers.write_identity(at, "server.pem", "127.0.0.1")?,
            PASSWORD,
        )?;
        to_trust_store(&clients.write(at, "clients.pem")?, PASSWORD)?;
        let own = clients.write_named(at, "alice.pem", "alice")?;
        to_pkcs12(&own, PASSWORD)?;
        clients.write_expired(at, "expired.pem", "alice")?;
        strangers.write_identity(at, "stranger.pem", "eve")?;
        Ok(Self { folder, servers })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Properties of a listener that asks for a certificate, the same for Kafka and Carrick.
    fn properties(&self) -> Vec<String> {
        vec![
            format!("ssl.keystore.location={}", self.path("server.p12")),
            format!("ssl.keystore.password={PASSWORD}"),
            format!("ssl.truststore.location={}", self.path("clients.trust.p12")),
            format!("ssl.truststore.password={PASSWORD}"),
            "listener.name.ssl.ssl.client.auth=required".to_owned(),
            "ssl.principal.mapping.rules=RULE:^CN=([^,]*).*$/$1/L,DEFAULT".to_owned(),
        ]
    }

    fn carrick(&self) -> Result<Carrick> {
        let properties = self.properties();
        let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
        Carrick::start_as(carrick::Setup {
            properties: &properties,
            protocols: &["SSL"],
        })
    }

    /// A client's properties file: whom it trusts, and what it shows.
    fn client(&self, name: &str, trusts: &str, shows: Option<&str>) -> Result<String> {
        let mut text = "security.protocol=SSL\n".to_owned();
        let mut store = |kind: &str, file: &str| {
            let path = self.path(file);
            let _ = match file.ends_with(".p12") {
                true => writeln!(
                    text,
                    "ssl.{kind}.location={path}\nssl.{kind}.password={PASSWORD}"
                ),
                false => writeln!(text, "ssl.{kind}.type=PEM\nssl.{kind}.location={path}"),
            };
        };
        store("truststore", trusts);
        if let Some(shows) = shows {
            store("keystore", shows);
        }
        // So that a refused tool ends soon.
        text.push_str("default.api.timeout.ms=10000\nrequest.timeout.ms=5000\n");
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }
}

/// The exceptions that a tool printed, without what differs from run to run.
fn exceptions(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
    let mut found: Vec<String> = words
        .filter(|word| word.ends_with("Exception"))
        .map(|word| word.rsplit('.').next().unwrap_or(word).to_owned())
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn kafkas_own_clients_come_in_with_the_right_certificate_and_are_refused_as_by_kafka_with_others()
-> Result<()> {
    let files = Files::new()?;
    let properties = files.properties();
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    let kafka = Kafka::start_as(KafkaSetup {
        properties: &properties,
        protocols: &["SSL"],
        ..KafkaSetup::default()
    })?;
    let carrick = files.carrick()?;
    let (of_kafka, of_carrick) = (kafka.listener(1, "SSL"), carrick.listener("SSL"));
    let mut tools = Tools::start(&of_carrick)?;
    come_in(&files, &mut tools, &of_carrick)?;
    are_refused(&files, &mut tools, &of_kafka, &of_carrick)?;
    let log = carrick.log();
    ensure!(
        log.contains("is open to clients with a trusted certificate"),
        "{log}"
    );
    ensure!(!log.contains(PASSWORD), "a password is in the log");
    Ok(())
}

/// With the right certificate, from PEM and from PKCS#12.
fn come_in(files: &Files, tools: &mut Tools, of_carrick: &str) -> Result<()> {
    for (name, trusts, shows) in [
        ("pem", "servers.pem", "alice.pem"),
        ("pkcs12", "servers.trust.p12", "alice.p12"),
    ] {
        let file = files.client(name, trusts, Some(shows))?;
        let of = ["--command-config", &file];
        tools.run(
            "kafka-topics",
            &[&of[..], &["--create", "--topic", name]].concat(),
        )?;
        let produce = [
            "--topic",
            name,
            "--command-config",
            &file,
            "--bootstrap-server",
            of_carrick,
        ];
        let produced = tools.run_bare("kafka-console-producer", &produce, "one\ntwo\n")?;
        produced.succeeded("kafka-console-producer")?;
        let consume = [
            "--topic",
            name,
            "--command-config",
            &file,
            "--from-beginning",
            "--max-messages",
            "2",
        ];
        let read = tools.run("kafka-console-consumer", &consume)?;
        ensure!(read.lines().collect::<Vec<_>>() == ["one", "two"], "{read}");
    }
    Ok(())
}

/// With any other.
fn are_refused(files: &Files, tools: &mut Tools, of_kafka: &str, of_carrick: &str) -> Result<()> {
    let localhost = |bootstrap: &str| bootstrap.replace("127.0.0.1", "localhost");
    for (name, trusts, shows, wrong_host) in [
        ("no-certificate", "servers.pem", None, false),
        ("expired", "servers.pem", Some("expired.pem"), false),
        ("stranger", "servers.pem", Some("stranger.pem"), false),
        ("other-authority", "clients.pem", Some("alice.pem"), false),
        ("wrong-host", "servers.pem", Some("alice.pem"), true),
    ] {
        let file = files.client(name, trusts, shows)?;
        let mut refusal = |bootstrap: &str| -> Result<String> {
            let at = if wrong_host {
                localhost(bootstrap)
            } else {
                bootstrap.to_owned()
            };
            let args = [
                "--bootstrap-server",
                &at,
                "--command-config",
                &file,
                "--list",
            ];
            let output = tools.run_bare("kafka-topics", &args, "")?;
            ensure!(output.exit != 0, "{name} was let in");
            Ok(format!("{}{}", output.out, output.err))
        };
        let (expected, told) = (refusal(of_kafka)?, refusal(of_carrick)?);
        println!("{name}: {:?}", exceptions(&told));
        ensure!(
            exceptions(&told)
                .iter()
                .any(|it| it == "SslAuthenticationException"),
            "{name}: {told}"
        );
        ensure!(
            exceptions(&expected)
                .iter()
                .any(|it| it == "SslAuthenticationException"),
            "{name}: {expected}"
        );
    }
    Ok(())
}

/// The subject and serial number of the certificate that is shown at this address.
fn shown(address: &str) -> Result<String> {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", address, "-showcerts"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let out = client.stdout.take().context("no output")?;
    let read = Command::new("openssl")
        .args(["x509", "-noout", "-serial"])
        .stdin(out)
        .output()?;
    client.wait()?;
    Ok(String::from_utf8_lossy(&read.stdout).trim().to_owned())
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart_and_no_client_notices() -> Result<()> {
    let files = Files::new()?;
    let carrick = files.carrick()?;
    let address = carrick.listener("SSL");
    let file = files.client("pem", "servers.pem", Some("alice.pem"))?;
    let mut tools = Tools::start(&address)?;
    tools.run(
        "kafka-topics",
        &["--command-config", &file, "--create", "--topic", "t"],
    )?;
    let before = shown(&address)?;
    let producing = thread::spawn(move || {
        let args = [
            "--topic",
            "t",
            "--producer.config",
            &file,
            "--throughput",
            "200",
            "--max-messages",
            "6000",
        ];
        let produced = tools.run("kafka-verifiable-producer", &args)?;
        let offsets = ["--command-config", &file, "--topic", "t"];
        anyhow::Ok((produced, tools.run("kafka-get-offsets", &offsets)?))
    });
    let mut client = carrick.log().len();
    let path: PathBuf = files.folder.path().join("server.p12");
    std::fs::write(&path, "half of a store")?;
    let log_has = |words: &str, from: &mut usize| {
        wait_until(words, LIMIT, || {
            let log = carrick.log();
            Ok(match log[*from..].find(words) {
                Some(at) => {
                    *from += at;
                    Ok(())
                }
                None => Err("not yet".to_owned()),
            })
        })
    };
    log_has("those from before stay in force", &mut client)?;
    let (_, ready) = carrick.get("/readyz")?;
    ensure!(shown(&address)? == before, "{ready}");
    renew(&files)?;
    log_has("certificates were read again", &mut client)?;
    let after = shown(&address)?;
    ensure!(!after.is_empty() && after != before, "{before} {after}");
    let (produced, offsets) = producing
        .join()
        .map_err(|_| anyhow::anyhow!("the producer failed"))??;
    // The producer's last line comes late, and stands before them.
    let has_all = offsets.lines().any(|line| line == "t:0:6000");
    ensure!(has_all, "{offsets}");
    ensure!(
        !produced.contains("producer_send_error"),
        "a record was not acknowledged"
    );
    Ok(())
}

fn renew(files: &Files) -> Result<()> {
    let new = files
        .servers
        .write_identity(files.folder.path(), "renewed.pem", "127.0.0.1")?;
    let store = to_pkcs12(&new, PASSWORD)?;
    // As certificate managers do it: at once.
    std::fs::rename(store, files.folder.path().join("server.p12"))?;
    Ok(())
}

/// Resident memory of a process, bytes.
fn resident_bytes(id: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .context("no VmRSS")?
        .trim()
        .trim_end_matches("kB")
        .trim();
    Ok(kib.parse::<u64>()? << 10)
}

/// `CARRICK_KNOCKING_CLIENTS` says how many there are.
#[test]
fn clients_that_never_shake_hands_cost_little_memory_and_keep_nobody_out() -> Result<()> {
    let count = std::env::var("CARRICK_KNOCKING_CLIENTS");
    let count: usize = count.map_or(Ok(2_000), |count| count.parse())?;
    let files = Files::new()?;
    let carrick = files.carrick()?;
    let address = carrick.listener("SSL");
    let file = files.client("pem", "servers.pem", Some("alice.pem"))?;
    let mut tools = Tools::start(&address)?;
    let list = ["--command-config", &file, "--list"];
    tools.run("kafka-topics", &list)?;
    let id = carrick.id().context("it runs")?;
    let before = resident_bytes(id)?;
    let mut knocking = Vec::new();
    for at in 0..count {
        let mut stream = TcpStream::connect(&address)?;
        if at % 2 == 0 {
            // The beginning of a ClientHello of 16 kB.
            let _ = std::io::Write::write_all(&mut stream, &[22, 3, 1, 64, 0, 1, 0, 63, 252, 3, 3]);
            let _ = std::io::Write::write_all(&mut stream, &[0; 8_000]);
        }
        knocking.push(stream);
    }
    let grown = resident_bytes(id)?.saturating_sub(before);
    let started = Instant::now();
    tools.run("kafka-topics", &list)?;
    println!(
        "{count} knock: {grown} bytes more; a client with a certificate took {:?}",
        started.elapsed()
    );
    ensure!(grown < 64 << 20, "{grown} bytes");
    let plain = carrick.bootstrap();
    tools
        .run_bare(
            "kafka-topics",
            &["--bootstrap-server", &plain, "--list"],
            "",
        )?
        .succeeded("kafka-topics")?;
    drop(knocking);
    Ok(())
}

//! How many TLS handshakes a second does a broker do, and how much CPU does one cost?
//!
//! Clients connect, shake hands, ask for the API versions, and leave, for several kinds of handshake: with a certificate
//! on an elliptic curve and one of RSA, with the client's certificate, and resumed by ticket. Clients and broker share
//! the machine.
//!
//! `SECONDS` (10) how long each kind takes, `CLIENTS` (32) how many connect at a time. The bench fails below
//! `WANTED` (500) full handshakes a second.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use benches::cpu;
use carrick_protocol::client::encode_request;
use carrick_protocol::credentials::pem;
use harness::Carrick;
use harness::carrick::Setup;
use harness::certificates::Authority;
use kafka_protocol::messages::ApiVersionsRequest;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

fn setting(name: &str, otherwise: u64) -> Result<u64> {
    Ok(std::env::var(name).map_or(Ok(otherwise), |value| value.parse())?)
}

/// One kind of handshake.
struct Kind {
    name: &'static str,
    key: &'static str,
    shows_certificate: bool,
    is_resumed: bool,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "full, P-256",
        key: "server.pem",
        shows_certificate: false,
        is_resumed: false,
    },
    Kind {
        name: "full, RSA 2048",
        key: "rsa.pem",
        shows_certificate: false,
        is_resumed: false,
    },
    Kind {
        name: "full, P-256, client certificate",
        key: "server.pem",
        shows_certificate: true,
        is_resumed: false,
    },
    Kind {
        name: "resumed",
        key: "server.pem",
        shows_certificate: false,
        is_resumed: true,
    },
];

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
    servers.write(at, "servers.pem")?;
    servers.write_identity(at, "server.pem", "127.0.0.1")?;
    clients.write(at, "clients.pem")?;
    clients.write_identity(at, "alice.pem", "alice")?;
    rsa(at)?;
    let wanted = setting("WANTED", 500)?;
    for kind in KINDS {
        let (per_second, cpu_ms) = measure(&kind, at)?;
        println!(
            "{}: {per_second} handshakes/s, {cpu_ms:.3} ms of the broker's CPU each",
            kind.name
        );
        ensure!(per_second >= wanted, "fewer than {wanted}");
    }
    Ok(())
}

/// A certificate of RSA that signed itself.
fn rsa(folder: &Path) -> Result<()> {
    let (key, cert) = (folder.join("rsa.key"), folder.join("rsa.cert"));
    let mut openssl = Command::new("openssl");
    openssl.args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=rsa".split(' '));
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert);
    ensure!(openssl.output()?.status.success(), "openssl failed");
    let both = std::fs::read_to_string(&key)? + &std::fs::read_to_string(&cert)?;
    std::fs::write(folder.join("rsa.pem"), both)?;
    Ok(())
}

/// Handshakes a second, and milliseconds of CPU for each.
fn measure(kind: &Kind, folder: &Path) -> Result<(u64, f64)> {
    let path = |name: &str| folder.join(name).display().to_string();
    let auth = match kind.shows_certificate {
        true => "required",
        false => "none",
    };
    let properties = [
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={}", path(kind.key)),
        "ssl.truststore.type=PEM".to_owned(),
        format!("ssl.truststore.location={}", path("clients.pem")),
        format!("ssl.client.auth={auth}"),
    ];
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    let carrick = Carrick::start_as(Setup {
        properties: &properties,
        protocols: &["SSL"],
    })?;
    let address = carrick.listener("SSL");
    let config = client(kind, folder)?;
    let (over, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let id = carrick.id().context("it runs")?;
    let (started, cpu) = (Instant::now(), cpu::seconds(id)?);
    let threads: Vec<_> = (0..setting("CLIENTS", 32)?)
        .map(|_| {
            let (over, count) = (Arc::clone(&over), Arc::clone(&count));
            let (config, address) = (Arc::clone(&config), address.clone());
            thread::spawn(move || -> Result<()> {
                while !over.load(Ordering::Relaxed) {
                    shake(&config, &address)?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .collect();
    thread::sleep(Duration::from_secs(setting("SECONDS", 10)?));
    let (count, seconds) = (
        count.load(Ordering::Relaxed),
        started.elapsed().as_secs_f64(),
    );
    let cpu = cpu::seconds(id)? - cpu;
    over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a client failed"))??;
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a bench's figures"
    )]
    Ok((
        (count as f64 / seconds) as u64,
        cpu * 1_000.0 / count as f64,
    ))
}

fn client(kind: &Kind, folder: &Path) -> Result<Arc<ClientConfig>> {
    let text = |name: &str| std::fs::read_to_string(folder.join(name));
    let trusted = match kind.key {
        "rsa.pem" => "rsa.pem",
        _ => "servers.pem",
    };
    let mut roots = RootCertStore::empty();
    let certificates = pem::certificates(&text(trusted)?).map_err(|error| anyhow!(error))?;
    roots.add_parsable_certificates(certificates);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match kind.shows_certificate {
        false => builder.with_no_client_auth(),
        true => {
            let own = text("alice.pem")?;
            let key = pem::private_key(&own, None).map_err(|error| anyhow!(error))?;
            let chain = pem::certificates(&own).map_err(|error| anyhow!(error))?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    config.resumption = match kind.is_resumed {
        true => Resumption::in_memory_sessions(1_000),
        false => Resumption::disabled(),
    };
    Ok(Arc::new(config))
}

/// Comes in, asks for the API versions, and leaves.
fn shake(config: &Arc<ClientConfig>, address: &str) -> Result<()> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("127.0.0.1")?;
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(config), name)?, stream);
    stream.write_all(&encode_request(
        1,
        "bench",
        &ApiVersionsRequest::default(),
        0,
    )?)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    Ok(())
}

//! A broker with TLS, logins and ACLs, by the same properties for Carrick and for a real Apache Kafka.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::certificates::Authority;
use harness::tokens::{AUDIENCE, ISSUER, Issuer};
use harness::{Carrick, Kafka, Result, carrick, kafka};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::matrix::Stage;

pub const ALICE: &str = "alice";
pub const PASSWORD: &str = "sesame-of-alice";
pub const OTHER_PASSWORD: &str = "another-sesame";
pub const TOPIC: &str = "orders";

static KAFKA: AtomicBool = AtomicBool::new(false);

/// From now on the cells of security run against a real Apache Kafka: what Carrick is measured by.
pub fn measure_kafka() {
    KAFKA.store(true, Ordering::Release);
}

/// A listener, beside the plain one of those who administer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The broker shows its certificate.
    Tls,
    /// One that has expired.
    Expired,
    /// One for another host.
    Elsewhere,
    /// The client shows its own, too.
    Mtls,
    /// With a login, over TLS.
    Sasl,
}

impl Listener {
    fn name(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Expired => "EXPIRED",
            Self::Elsewhere => "ELSEWHERE",
            Self::Mtls => "MTLS",
            Self::Sasl => "SASL",
        }
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::Sasl => "SASL_SSL",
            _ => "SSL",
        }
    }
}

/// The properties of both brokers that start with these listeners. `CONTROLLER` is Kafka's own.
pub fn properties(folder: &Folder, listeners: &[Listener], mechanism: Option<&str>) -> Vec<String> {
    let file = |name: &str| folder.path(name).display().to_string();
    let map = listeners
        .iter()
        .map(|l| format!(",{}:{}", l.name(), l.protocol()));
    let mut properties = vec![
        format!(
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{}",
            map.collect::<String>()
        ),
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={}", file("broker.pem")),
        "ssl.truststore.type=PEM".to_owned(),
        format!("ssl.truststore.location={}", file("clients.pem")),
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        // Who is on the plain listener.
        "super.users=User:ANONYMOUS".to_owned(),
    ];
    for listener in listeners {
        match listener {
            Listener::Tls | Listener::Sasl => {}
            Listener::Expired | Listener::Elsewhere => {
                let name = listener.name().to_lowercase();
                let own = format!("listener.name.{name}.ssl.keystore");
                properties.push(format!("{own}.type=PEM"));
                properties.push(format!("{own}.location={}", file(&format!("{name}.pem"))));
            }
            Listener::Mtls => {
                properties.push("listener.name.mtls.ssl.client.auth=required".to_owned())
            }
        }
    }
    if let Some(mechanism) = mechanism {
        properties.extend(login(folder, mechanism));
    }
    properties
}

fn login(folder: &Folder, mechanism: &str) -> Vec<String> {
    let modules = "org.apache.kafka.common.security";
    let of = |module: &str| {
        let name = mechanism.to_lowercase();
        format!("listener.name.sasl.{name}.sasl.jaas.config={modules}.{module} required")
    };
    let mut properties = vec![format!(
        "listener.name.sasl.sasl.enabled.mechanisms={mechanism}"
    )];
    match mechanism {
        "PLAIN" => {
            let module = of("plain.PlainLoginModule");
            properties.push(format!("{module} user_{ALICE}=\"{PASSWORD}\";"));
        }
        "OAUTHBEARER" => {
            let handler = format!("{modules}.oauthbearer.OAuthBearerValidatorCallbackHandler");
            properties.extend([
                format!("{};", of("oauthbearer.OAuthBearerLoginModule")),
                format!(
                    "listener.name.sasl.oauthbearer.sasl.server.callback.handler.class={handler}"
                ),
                format!(
                    "listener.name.sasl.sasl.oauthbearer.jwks.endpoint.url={}",
                    folder.keys_url()
                ),
                format!("listener.name.sasl.sasl.oauthbearer.expected.issuer={ISSUER}"),
                format!("listener.name.sasl.sasl.oauthbearer.expected.audience={AUDIENCE}"),
                "listener.name.sasl.sasl.oauthbearer.clock.skew.seconds=0".to_owned(),
            ]);
        }
        _ => properties.push(format!("{};", of("scram.ScramLoginModule"))),
    }
    properties
}

/// Certificates and keys of one cell.
pub struct Folder {
    folder: TempDir,
    issuer: Issuer,
}

impl Folder {
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("clients-security-")
            .tempdir()?;
        let at = folder.path();
        let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
        servers.write(at, "servers.pem")?;
        // The Java client of 2.1 asks for the name that belongs to the address.
        servers.write_for(at, "broker.pem", &["127.0.0.1", "localhost"])?;
        servers.write_identity(at, "elsewhere.pem", "elsewhere.test")?;
        servers.write_expired(at, "expired.pem", "127.0.0.1")?;
        clients.write(at, "clients.pem")?;
        clients.write_named(at, "alice.pem", ALICE)?;
        clients.write_expired(at, "expired-alice.pem", ALICE)?;
        let strangers = Authority::new("strangers")?;
        strangers.write(at, "strangers.pem")?;
        strangers.write_named(at, "stranger.pem", ALICE)?;
        let issuer = Issuer::new()?;
        issuer.write_keys(at, "keys.json")?;
        Ok(Self { folder, issuer })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn keys_url(&self) -> String {
        format!("file://{}", self.path("keys.json").display())
    }

    /// The `security` of a client that asks the broker for its certificate.
    pub fn tls(&self) -> Value {
        json!({"protocol": "SSL", "ca": self.path("servers.pem")})
    }

    /// And of one that logs in.
    pub fn login(&self, mechanism: &str, user: &str, password: &str) -> Value {
        json!({
            "protocol": "SASL_SSL", "ca": self.path("servers.pem"), "mechanism": mechanism, "user": user,
            "password": password,
        })
    }
}

enum Broker {
    Carrick(Carrick),
    Kafka(Kafka),
}

/// One broker, with the topic that the clients use.
pub struct World {
    broker: Broker,
    folder: Folder,
}

impl World {
    /// Starts it with these listeners, and one mechanism of the one with a login. The stage's Java client administers it.
    pub fn start(
        listeners: &[Listener],
        mechanism: Option<&str>,
        stage: &mut Stage,
    ) -> Result<Self> {
        let folder = Folder::new()?;
        let properties = properties(&folder, listeners, mechanism);
        let broker = start(&folder, listeners, &properties)?;
        let world = Self { broker, folder };
        let topic = json!({"topic": TOPIC, "partitions": 1});
        world.admin(stage)?.call("create_topic", topic)?;
        Ok(world)
    }

    /// The Java client on the plain listener, whose user may do everything.
    fn admin<'a>(&self, stage: &'a mut Stage) -> Result<&'a mut harness::Peer> {
        stage.java(&match &self.broker {
            Broker::Carrick(carrick) => carrick.bootstrap(),
            Broker::Kafka(kafka) => kafka.bootstrap(),
        })
    }

    pub fn address(&self, listener: Listener) -> String {
        match &self.broker {
            Broker::Carrick(carrick) => carrick.listener(listener.name()),
            Broker::Kafka(kafka) => kafka.listener(1, listener.name()),
        }
    }

    pub fn file(&self, name: &str) -> Value {
        json!(self.folder.path(name))
    }

    pub fn tls(&self) -> Value {
        self.folder.tls()
    }

    pub fn login(&self, mechanism: &str, user: &str, password: &str) -> Value {
        self.folder.login(mechanism, user, password)
    }

    pub fn bearer(&self, user: &str, valid_s: i64) -> Result<Value> {
        let mut security = self.folder.tls();
        security["protocol"] = json!("SASL_SSL");
        security["mechanism"] = json!("OAUTHBEARER");
        security["token"] = json!(self.folder.issuer.token(user, valid_s)?);
        Ok(security)
    }

    /// Gives alice a password of a SCRAM mechanism.
    pub fn set_password(&self, stage: &mut Stage, mechanism: &str, password: &str) -> Result<()> {
        let fields = json!({"user": ALICE, "mechanism": mechanism, "password": password});
        self.admin(stage)?.call("set_password", fields).map(drop)
    }

    /// Adds or removes the right to do `operation` to the topic.
    pub fn acl(&self, stage: &mut Stage, change: &str, user: &str, operation: &str) -> Result<()> {
        let java = self.admin(stage)?;
        acl(java, change, user, ("TOPIC", TOPIC), operation)
    }

    /// Gives all rights that reading in a group, and writing, need.
    pub fn allow(&self, stage: &mut Stage, user: &str) -> Result<()> {
        self.acl(stage, "add", user, "READ")?;
        self.acl(stage, "add", user, "WRITE")?;
        // What is left when the others are taken away.
        self.acl(stage, "add", user, "DESCRIBE")?;
        acl(self.admin(stage)?, "add", user, ("GROUP", "g"), "READ")
    }
}

/// Adds or removes a right of a user to a resource.
pub fn acl(
    java: &mut harness::Peer,
    change: &str,
    user: &str,
    (kind, name): (&str, &str),
    operation: &str,
) -> Result<()> {
    let fields = json!({"change": change, "user": user, "resource": kind, "name": name, "operation": operation});
    java.call("acl", fields).map(drop)
}

fn start(folder: &Folder, listeners: &[Listener], properties: &[String]) -> Result<Broker> {
    let names: Vec<&str> = listeners.iter().map(|l| l.name()).collect();
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    let (properties, protocols) = (properties.as_slice(), names.as_slice());
    if !KAFKA.load(Ordering::Acquire) {
        let setup = carrick::Setup {
            properties,
            protocols,
        };
        return Carrick::start_as(setup).map(Broker::Carrick);
    }
    // It reads keys from nowhere that was not allowed.
    let keys = format!(
        "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={}",
        folder.keys_url()
    );
    let setup = kafka::Setup {
        properties,
        protocols,
        jvm: &[&keys],
        ..kafka::Setup::default()
    };
    Kafka::start_as(setup).map(Broker::Kafka)
}

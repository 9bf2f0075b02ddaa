//! Tokens of a real identity provider: clients log in at Carrick with them, and a link at its source.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use harness::certificates::Authority;
use harness::kafka::Setup;
use harness::peer::Kind;
use harness::toolchain::{Prepared, Toolchain};
use harness::{Carrick, Kafka, Keycloak, Peer, Result, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{LIMIT, World};

const PACKAGE: &str = "org.apache.kafka.common.security.oauthbearer";
/// Longer than a token of the client `brief` counts, with what clocks may differ.
const BRIEF: Duration = Duration::from_secs(15);

/// The settings of a listener that takes tokens of the realm `kafka`, for Kafka and for Carrick.
fn listener(keycloak: &Keycloak, name: &str) -> Vec<String> {
    let own = format!("listener.name.{name}");
    vec![
        format!("{own}.sasl.enabled.mechanisms=OAUTHBEARER"),
        format!("{own}.oauthbearer.sasl.jaas.config={PACKAGE}.OAuthBearerLoginModule required;"),
        format!(
            "{own}.oauthbearer.sasl.server.callback.handler.class={PACKAGE}.OAuthBearerValidatorCallbackHandler"
        ),
        format!(
            "{own}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url={}",
            keycloak.keys_url("kafka")
        ),
        "sasl.oauthbearer.expected.audience=kafka".to_owned(),
        format!(
            "sasl.oauthbearer.expected.issuer={}",
            keycloak.issuer("kafka")
        ),
        "sasl.oauthbearer.sub.claim.name=preferred_username".to_owned(),
        "sasl.oauthbearer.clock.skew.seconds=1".to_owned(),
    ]
}

/// A source that takes tokens, and a Carrick.
struct Source {
    keycloak: Keycloak,
    world: World,
    folder: TempDir,
}

impl Source {
    fn start() -> Result<Self> {
        let keycloak = Keycloak::start()?;
        let properties = listener(&keycloak, "sasl_plaintext");
        let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
        let allowed = format!(
            "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={}",
            keycloak.keys_url("kafka")
        );
        let kafka = Kafka::start_as(Setup {
            properties: &properties,
            protocols: &["SASL_PLAINTEXT"],
            jvm: &[&allowed],
            ..Setup::default()
        })?;
        let world = World::start_both(kafka, Carrick::start()?)?;
        let folder = tempfile::Builder::new().prefix("tokens-test-").tempdir()?;
        Ok(Self {
            keycloak,
            world,
            folder,
        })
    }

    /// The properties file of a client with these credentials.
    fn file(&self, client: &str, secret: &str, url: &str) -> Result<PathBuf> {
        let text = format!(
            "bootstrap.servers={}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n\
             sasl.login.callback.handler.class={PACKAGE}.OAuthBearerLoginCallbackHandler\n\
             sasl.oauthbearer.token.endpoint.url={url}\nsasl.login.retry.backoff.max.ms=500\n\
             sasl.jaas.config={PACKAGE}.OAuthBearerLoginModule required clientId=\"{client}\" clientSecret=\"{secret}\";\n",
            self.world.kafka.listener(1, "SASL_PLAINTEXT"),
        );
        let path = self.folder.path().join("client.properties");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    fn create_link(&self, name: &str, client: &str, secret: &str, url: &str) -> Result<Value> {
        let file = self.file(client, secret, url)?.display().to_string();
        let carrick = &self.world.carrick;
        carrick.cli(&["link", "create", name, "--config-file", &file])
    }

    fn refusal(&self, client: &str, secret: &str, url: &str) -> Result<String> {
        match self.create_link("refused", client, secret, url) {
            Ok(_) => bail!("{client} was let pass"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    fn produce_and_compare(&mut self, count: u32) -> Result<()> {
        let fields = json!({"topic": "orders", "count": count, "config": {"linger.ms": "5"}});
        self.world.source.call("produce", fields)?;
        self.world.wait_caught_up("orders", 1)?;
        ensure!(
            self.world.assert_identical("orders", 1)? > 0,
            "nothing came"
        );
        Ok(())
    }
}

#[test]
fn a_link_shows_its_source_tokens_and_renews_them_before_they_expire() -> Result<()> {
    let mut source = Source::start()?;
    let url = source.keycloak.token_url("kafka");
    let elsewhere = source.keycloak.token_url("elsewhere");
    for (client, secret, url, words) in [
        (
            "stranger",
            "stranger-sesame",
            &*url,
            "it refused the link's token",
        ),
        (
            "app",
            "app-sesame",
            &*elsewhere,
            "it refused the link's token",
        ),
        ("app", "wrong-sesame", &*url, "it answered with status 401"),
        (
            "app",
            "app-sesame",
            "http://127.0.0.1:1/token",
            "there is no token from",
        ),
    ] {
        let refusal = source.refusal(client, secret, url)?;
        println!("{client}: {refusal}");
        ensure!(refusal.contains("AUTHENTICATION_ERROR"), "{refusal}");
        ensure!(refusal.contains(words), "{words} is not in {refusal}");
        ensure!(!refusal.contains("sesame"), "{refusal}");
    }
    source.world.topic("orders", 1, json!({}))?;
    source.create_link("dr", "brief", &Keycloak::secret("brief"), &url)?;
    source.world.carrick.mirror("dr", &["orders"])?;
    source.produce_and_compare(500)?;
    // Twice, so that a connection renews its session with a token that was renewed itself.
    for _ in 0..2 {
        outlive_a_brief_token()?;
        source.produce_and_compare(100)?;
    }
    let link = source
        .world
        .carrick
        .cli(&["link", "describe", "dr"])?
        .to_string();
    for wanted in ["\"link_state\":\"ACTIVE\"", "\"link_error\":\"NO_ERROR\""] {
        ensure!(link.contains(wanted), "{wanted}: {link}");
    }
    for text in [link, source.world.carrick.log()] {
        ensure!(!text.contains("sesame") && !text.contains("eyJ"), "{text}");
    }
    Ok(())
}

/// Waits until every token of `brief` that exists now has expired.
fn outlive_a_brief_token() -> Result<()> {
    let until = Instant::now() + BRIEF;
    wait_until("the token has expired", LIMIT, || {
        Ok((Instant::now() >= until)
            .then_some(())
            .ok_or_else(|| "not yet".to_owned()))
    })
}

/// A listener over TLS that takes tokens, and what a client needs to reach it.
struct Listener {
    keycloak: Keycloak,
    carrick: Carrick,
    folder: TempDir,
}

impl Listener {
    fn start() -> Result<Self> {
        let keycloak = Keycloak::start()?;
        let folder = tempfile::Builder::new().prefix("tokens-test-").tempdir()?;
        let authority = Authority::new("servers")?;
        authority.write(folder.path(), "servers.pem")?;
        let identity = authority.write_identity(folder.path(), "carrick.pem", "127.0.0.1")?;
        let mut properties = listener(&keycloak, "sasl_ssl");
        properties.push("ssl.keystore.type=PEM".to_owned());
        properties.push(format!("ssl.keystore.location={}", identity.display()));
        properties.push("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms=1000".to_owned());
        let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
        let carrick = Carrick::start_as(harness::carrick::Setup {
            properties: &properties,
            protocols: &["SASL_SSL"],
        })?;
        Ok(Self {
            keycloak,
            carrick,
            folder,
        })
    }

    /// A Java client, and one of librdkafka where Python is installed.
    fn peers(&self) -> Result<Vec<Peer>> {
        let address = self.carrick.listener("SASL_SSL");
        let mut peers = vec![Peer::java(&address)?];
        match Toolchain::Python.prepare()? {
            Prepared::At(_) => peers.push(Peer::python("librdkafka", "confluent.py", &address)?),
            Prepared::Missing(line) => println!("without librdkafka: {line}"),
        }
        Ok(peers)
    }

    /// The client's own login at the provider, or a token that it is given.
    fn security(&self, with: &str, value: Value) -> Value {
        let ca = self.folder.path().join("servers.pem");
        json!({"protocol": "SASL_SSL", "ca": ca, "mechanism": "OAUTHBEARER", with: value})
    }

    fn login(&self, realm: &str, client: &str) -> Value {
        let (url, secret) = (self.keycloak.token_url(realm), Keycloak::secret(client));
        self.security("oidc", json!({"url": url, "id": client, "secret": secret}))
    }
}

#[test]
fn clients_log_in_with_tokens_of_an_identity_provider() -> Result<()> {
    let listener = Listener::start()?;
    let mut peers = listener.peers()?;
    let expired = listener.keycloak.token("kafka", "brief")?;
    for (number, peer) in peers.iter_mut().enumerate() {
        let topic = format!("orders-{number}");
        peer.secure(listener.login("kafka", "app"));
        let batch = json!({"topic": topic, "partition": 0, "count": 100});
        peer.call("produce", batch.clone())?;
        let read = peer.call("consume", json!({"topic": topic, "partition": 0}))?;
        ensure!(read["count"] == 100, "{}: {read}", peer.library());
        // Its session ends with its first token, and goes on with the next ones.
        peer.secure(listener.login("kafka", "brief"));
        let mut kept = batch.clone();
        kept["keep"] = json!("brief");
        for _ in 0..2 {
            peer.call("produce", kept.clone())?;
            outlive_a_brief_token()?;
        }
        peer.call("produce", kept)?;
        for (why, security) in [
            ("audience", listener.login("kafka", "stranger")),
            ("issuer", listener.login("elsewhere", "app")),
            ("expired", listener.security("token", json!(expired))),
        ] {
            peer.secure(security);
            let refusal = peer.refusal("produce", batch.clone())?;
            println!("{} {why}: {refusal}", peer.library());
            ensure!(refusal.kind == Kind::Authentication, "{why}: {refusal:?}");
        }
    }
    listener.keycloak.rotate_key("kafka")?;
    for peer in &mut peers {
        peer.secure(listener.login("kafka", "app"));
        peer.call(
            "produce",
            json!({"topic": "rotated", "partition": 0, "count": 10}),
        )?;
    }
    ensure!(
        !listener.carrick.log().contains("eyJ"),
        "a token is in the log"
    );
    Ok(())
}

//! Keycloak, a real identity provider, as a process on loopback. It has what `tests/harness/keycloak` describes, in
//! memory: the realm `kafka` with the clients `app`, `brief` (its tokens expire after 12 s) and `stranger` (for another
//! audience), and the realm `elsewhere` with another `app`. The secret of a client is its name and `-sesame`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, free_ports};
use crate::{Result, kafka, wait_until};

/// It takes long where other tests run beside it.
const START_LIMIT: Duration = Duration::from_secs(300);
const ADMIN: &str = "admin";

/// A running provider; ends when dropped.
#[derive(Debug)]
pub struct Keycloak {
    _process: Process,
    _folder: TempDir,
    port: u16,
}

impl Keycloak {
    /// Starts one and waits until it issues tokens.
    ///
    /// # Errors
    /// When it cannot be fetched or does not start.
    pub fn start() -> Result<Self> {
        let home = home()?;
        let folder = tempfile::Builder::new()
            .prefix("keycloak-test-")
            .tempdir()?;
        let [port] = free_ports()?;
        let mut command = Command::new("java");
        command
            .args([
                "-Xms64m",
                "-Xmx512m",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
            ])
            .arg("-Djava.util.logging.manager=org.jboss.logmanager.LogManager")
            .arg(format!("-Dkc.home.dir={}", home.display()))
            .arg(format!("-Djboss.server.config.dir={}/conf", home.display()))
            .arg("-cp")
            .arg(home.join("lib/quarkus-run.jar"))
            .args(["io.quarkus.bootstrap.runner.QuarkusEntryPoint", "start"])
            .args(["--optimized", "--import-realm", "--cache=local"])
            .args([
                "--http-enabled=true",
                "--http-host=127.0.0.1",
                "--hostname-strict=false",
            ])
            .arg(format!("--http-port={port}"))
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN)
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN);
        let mut process = Process::spawn("keycloak", command, &folder.path().join("keycloak.log"))?;
        process.wait_for_port(port, START_LIMIT)?;
        let keycloak = Self {
            _process: process,
            _folder: folder,
            port,
        };
        wait_until("keycloak issues tokens", START_LIMIT, || {
            Ok(keycloak
                .token("kafka", "app")
                .map_err(|error| error.to_string()))
        })?;
        Ok(keycloak)
    }

    /// What a realm's tokens say that they are from.
    #[must_use]
    pub fn issuer(&self, realm: &str) -> String {
        format!("http://127.0.0.1:{}/realms/{realm}", self.port)
    }

    /// Where a realm issues tokens.
    #[must_use]
    pub fn token_url(&self, realm: &str) -> String {
        format!("{}/protocol/openid-connect/token", self.issuer(realm))
    }

    /// Where a realm's public keys are.
    #[must_use]
    pub fn keys_url(&self, realm: &str) -> String {
        format!("{}/protocol/openid-connect/certs", self.issuer(realm))
    }

    /// A client's secret.
    #[must_use]
    pub fn secret(client: &str) -> String {
        format!("{client}-sesame")
    }

    /// A new token of a client.
    ///
    /// # Errors
    /// When there is none.
    pub fn token(&self, realm: &str, client: &str) -> Result<String> {
        let secret = Self::secret(client);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", &secret),
        ];
        self.asked_for(realm, form)
    }

    /// From now on, a realm signs with a new key. The old one still counts.
    ///
    /// # Errors
    /// When the provider refuses.
    pub fn rotate_key(&self, realm: &str) -> Result<()> {
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", ADMIN),
            ("password", ADMIN),
        ];
        let bearer = format!("Bearer {}", self.asked_for("master", form)?);
        let url = format!("http://127.0.0.1:{}/admin/realms/{realm}", self.port);
        let found = ureq::get(&url).header("authorization", &bearer).call();
        let found: Value = found?.body_mut().read_json()?;
        let key = json!({
            "name": "newer", "providerId": "rsa-generated", "parentId": found["id"],
            "providerType": "org.keycloak.keys.KeyProvider", "config": {"priority": ["200"]},
        });
        ureq::post(format!("{url}/components"))
            .header("authorization", &bearer)
            .send_json(key)?;
        Ok(())
    }

    fn asked_for<const N: usize>(&self, realm: &str, form: [(&str, &str); N]) -> Result<String> {
        let answer = ureq::post(self.token_url(realm)).send_form(form);
        let answer: Value = answer?.body_mut().read_json()?;
        let token = answer["access_token"].as_str();
        Ok(token.context("an access token")?.to_owned())
    }
}

fn home() -> Result<PathBuf> {
    static HOME: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    kafka::prepared(&HOME, "scripts/keycloak.sh", &[])
}

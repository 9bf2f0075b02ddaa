//! `rest.*`: where the REST API listens, and who may use it.
//!
//! Invariant: a listener that other machines reach asks for credentials, over TLS, or
//! `rest.allow.insecure` is set. Anything else is refused.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use super::authn::{Methods, Policy};
use crate::auth::oauth::Tokens;
use crate::config::def::list;
use crate::config::{ConfigError, Values};
use crate::tls::{ClientAuth, ServerTls};

const LISTENERS: &str = "rest.listeners";
const METHODS: &str = "rest.authentication.methods";
const INSECURE: &str = "rest.allow.insecure";

/// One address of the REST API.
#[derive(Debug, Clone)]
pub struct RestListener {
    pub address: SocketAddr,
    /// The host as it was written, without brackets.
    pub host: String,
    /// Of an `https://` address.
    pub tls: Option<Arc<ServerTls>>,
}

impl RestListener {
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }
}

/// Where the REST API listens, and who may use it.
#[derive(Debug, Clone)]
pub struct RestConfig {
    pub listeners: Vec<RestListener>,
    pub policy: Policy,
    /// Names that requests may give as `Host`, besides addresses and those of the listeners; `*` is
    /// any.
    pub allowed_hosts: Arc<[String]>,
}

impl RestConfig {
    /// That of all `https://` addresses.
    pub fn tls(&self) -> Option<Arc<ServerTls>> {
        self.listeners.iter().find_map(|it| it.tls.clone())
    }

    /// Reads the settings, and fetches the keys that tokens are checked with.
    ///
    /// # Errors
    /// What is wrong, or a listener that would be open to others.
    pub fn of(values: &Values) -> Result<Self, ConfigError> {
        let methods = methods(values)?;
        let listeners = listeners(values)?;
        for listener in &listeners {
            check(values, listener, methods)?;
        }
        let asks = listeners
            .iter()
            .find_map(|it| Some(it.tls.as_ref()?.client_auth()));
        if methods.mtls && matches!(asks, None | Some(ClientAuth::None)) {
            let of = values.rest();
            return Err(of.wrong(
                "ssl.client.auth",
                format!("must be requested or required: {METHODS} has mtls"),
            ));
        }
        let tokens = match methods.bearer {
            true => Some(Arc::new(Tokens::of(&values.rest())?)),
            false => None,
        };
        let hosts = values.text("rest.allowed.hosts").unwrap_or_default();
        let hosts = list(&hosts).map(str::to_ascii_lowercase);
        Ok(Self {
            listeners,
            policy: Policy {
                methods,
                are_metrics_public: values.boolean("rest.metrics.public"),
                tokens,
            },
            allowed_hosts: hosts.chain(host_name()).collect(),
        })
    }
}

/// This machine's name, where the system tells it.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}

fn methods(values: &Values) -> Result<Methods, ConfigError> {
    let text = values.text(METHODS).unwrap_or_default();
    let mut methods = Methods::default();
    for name in list(&text) {
        match name.to_ascii_lowercase().as_str() {
            "basic" => methods.basic = true,
            "bearer" => methods.bearer = true,
            "mtls" => methods.mtls = true,
            _ => {
                let reason = format!("'{name}' must be basic, bearer or mtls");
                return Err(ConfigError::value(METHODS, &text, reason));
            }
        }
    }
    Ok(methods)
}

fn listeners(values: &Values) -> Result<Vec<RestListener>, ConfigError> {
    let text = values.text(LISTENERS).unwrap_or_default();
    let mut tls = None;
    let mut listeners = Vec::new();
    for item in list(&text) {
        let wrong = |reason: &str| ConfigError::value(LISTENERS, item, reason);
        let (scheme, address) = item.split_once("://").unwrap_or_default();
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("must be http://host:port or https://host:port")),
        };
        if is_tls && tls.is_none() {
            let of = values.rest();
            let client_auth = ClientAuth::of(&of, of.text("ssl.client.auth"))?;
            tls = Some(ServerTls::of(LISTENERS, &of, client_auth)?);
        }
        let address = address.trim_end_matches('/');
        let mut found = address
            .to_socket_addrs()
            .map_err(|error| wrong(&error.to_string()))?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        listeners.push(RestListener {
            address: found
                .next()
                .ok_or_else(|| wrong("resolves to no address"))?,
            host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
            tls: tls.clone().filter(|_| is_tls),
        });
    }
    Ok(listeners)
}

/// Refuses a listener that is open to others by mistake, or through which nobody could get in.
fn check(values: &Values, listener: &RestListener, methods: Methods) -> Result<(), ConfigError> {
    let url = format!("{}://{}", listener.scheme(), listener.address);
    let wrong = |reason: String| Err(ConfigError::value(LISTENERS, &url, reason));
    let is_plain = listener.tls.is_none();
    if is_plain && methods.mtls && !methods.basic && !methods.bearer {
        return wrong(format!(
            "nobody could get in: {METHODS} has nothing but mtls, which needs https://"
        ));
    }
    if listener.is_loopback() || values.boolean(INSECURE) {
        return Ok(());
    }
    if methods.is_empty() {
        return wrong(format!(
            "other machines can reach it, and it asks for no credentials: anyone there could fail \
             mirrors over and delete topics. Set {METHODS}, or listen on a loopback address. If \
             something in front of it keeps others out, set {INSECURE}=true"
        ));
    }
    match is_plain {
        true => wrong(format!(
            "other machines can reach it, and passwords and tokens would be readable on the \
             network: use https:// with rest.ssl.keystore.location, or a loopback address. If the \
             network itself is protected, set {INSECURE}=true"
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Files;

    fn refusal(overrides: &[&str]) -> String {
        match RestConfig::of(&crate::testing::values(overrides)) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        }
    }

    fn secured(overrides: &[&str]) -> (Files, Vec<String>) {
        let files = Files::new();
        let own = files.properties().into_iter();
        let mut all: Vec<String> = own.map(|property| format!("rest.{property}")).collect();
        all.extend(overrides.iter().map(|property| (*property).to_owned()));
        (files, all)
    }

    #[test]
    fn https_needs_a_certificate_and_then_may_be_reached_by_others() {
        let open = "rest.listeners=https://0.0.0.0:8090";
        let error = refusal(&["rest.listeners=https://127.0.0.1:8090"]);
        assert!(error.contains("ssl.keystore.location"), "{error}");
        let refusal_of = |overrides: &[&str]| {
            let (_files, all) = secured(overrides);
            refusal(&all.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let error = refusal_of(&[open]);
        assert!(error.contains("asks for no credentials"), "{error}");
        assert_eq!(refusal_of(&[open, "rest.authentication.methods=basic"]), "");
        let mtls = "rest.authentication.methods=mtls";
        let error = refusal_of(&[open, mtls]);
        assert!(
            error.contains("ssl.client.auth") && error.contains("mtls"),
            "{error}"
        );
        let required = "rest.ssl.client.auth=required";
        assert_eq!(refusal_of(&[open, mtls, required]), "");
        let both = "rest.listeners=https://0.0.0.0:8090,http://127.0.0.1:8091";
        let error = refusal_of(&[both, mtls, required]);
        assert!(error.contains("nobody could get in"), "{error}");
        assert_eq!(
            refusal_of(&[both, "rest.authentication.methods=mtls,basic", required]),
            ""
        );
    }

    #[test]
    fn what_others_reach_asks_for_credentials_that_cannot_be_read_on_the_way() {
        let basic = "rest.authentication.methods=basic";
        let insecure = "rest.allow.insecure=true";
        for loopback in ["127.0.0.1", "[::1]", "localhost", "[::ffff:127.0.0.1]"] {
            let listener = format!("rest.listeners=http://{loopback}:8090");
            assert_eq!(refusal(&[&listener]), "", "{loopback}");
            assert_eq!(refusal(&[&listener, basic]), "", "{loopback}");
        }
        for open in ["0.0.0.0", "[::]", "10.0.0.7", "[fd00::7]"] {
            let listener = format!("rest.listeners=http://127.0.0.1:8090,http://{open}:8090");
            let error = refusal(&[&listener]);
            assert!(error.contains("asks for no credentials"), "{error}");
            assert!(
                error.contains(METHODS) && error.contains(INSECURE),
                "{error}"
            );
            let error = refusal(&[&listener, basic]);
            assert!(error.contains("readable on the network"), "{error}");
            assert_eq!(refusal(&[&listener, insecure]), "", "{open}");
            assert_eq!(refusal(&[&listener, basic, insecure]), "", "{open}");
        }
    }

    #[test]
    fn methods_that_are_not_there_are_refused() {
        let error = refusal(&["rest.authentication.methods=basic,digest"]);
        assert!(error.contains("'digest' must be"), "{error}");
        let error = refusal(&["rest.authentication.methods=bearer"]);
        assert!(
            error.contains("sasl.oauthbearer.jwks.endpoint.url"),
            "{error}"
        );
    }
}

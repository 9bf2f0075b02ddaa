//! `listeners` and `advertised.listeners`: where the broker listens, and the addresses it gives to
//! clients.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::broker::Endpoint;
use crate::config::def::list;
use crate::config::{ConfigError, SecurityProtocol, Values};
use crate::tls::{ClientAuth, ServerTls};

/// One address the broker listens on, and the one it gives to clients.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name, e.g. `PLAINTEXT`.
    pub name: String,
    /// Host to bind; empty for all interfaces.
    pub host: String,
    /// Port to bind; 0 for any free one.
    pub port: u16,
    /// Host that clients should connect to.
    pub advertised_host: String,
    /// Port that clients should connect to; 0 for the bound one.
    pub advertised_port: u16,
    pub protocol: SecurityProtocol,
    /// Its certificates, if the protocol has TLS.
    pub tls: Option<Arc<ServerTls>>,
}

impl Listener {
    /// The address for clients, now that it is bound.
    pub fn endpoint(&self, bound: SocketAddr) -> Endpoint {
        Endpoint {
            name: self.name.clone(),
            bound,
            host: self.advertised_host.clone(),
            port: match self.advertised_port {
                0 => bound.port(),
                port => port,
            },
        }
    }
}

struct EndPoint {
    name: String,
    host: String,
    port: u16,
}

/// Reads `listeners` and what belongs to them.
pub(super) fn listeners(values: &Values) -> Result<Vec<Listener>, ConfigError> {
    let bound = end_points(values, "listeners")?;
    let advertised = end_points(values, "advertised.listeners")?;
    let text = values.text("listeners").unwrap_or_default();
    let wrong = |reason: &str| ConfigError::value("listeners", &text, reason);
    if let Some(lost) = advertised
        .iter()
        .find(|a| bound.iter().all(|b| b.name != a.name))
    {
        let text = values.text("advertised.listeners").unwrap_or_default();
        let reason = format!("there is no listener '{}'", lost.name);
        return Err(ConfigError::value("advertised.listeners", &text, reason));
    }
    if bound.is_empty() {
        return Err(wrong("must name an address"));
    }
    let internal = internal(values);
    let mut listeners: Vec<Listener> = Vec::new();
    for point in bound {
        if listeners.iter().any(|other| other.name == point.name) {
            return Err(wrong(&format!("listener '{}' is listed twice", point.name)));
        }
        if !internal.contains(&point.name) {
            values.check_listener(&point.name)?;
            let protocol = protocol_of(values, &point.name)?;
            let mut listener = advertise(point, protocol, &advertised)?;
            listener.tls = tls(values, &listener)?;
            listeners.push(listener);
        }
    }
    if listeners.is_empty() {
        return Err(wrong(
            "must name an address for clients: all listeners are for controllers",
        ));
    }
    Ok(listeners)
}

/// The TLS side of a listener. Where clients log in, they need no certificate unless the listener's
/// own `ssl.client.auth` asks for one (KIP-684).
fn tls(values: &Values, listener: &Listener) -> Result<Option<Arc<ServerTls>>, ConfigError> {
    const CLIENT_AUTH: &str = "ssl.client.auth";
    if !listener.protocol.has_tls() {
        return Ok(None);
    }
    let values = values.listener(&listener.name);
    let client_auth = match listener.protocol.has_sasl() {
        true => values.own(CLIENT_AUTH),
        false => values.text(CLIENT_AUTH),
    };
    let client_auth = ClientAuth::of(&values, client_auth)?;
    ServerTls::of(&listener.name, &values, client_auth).map(Some)
}

/// Refuses a listener for other brokers that does not exist. It has no effect: there is no other
/// broker.
pub(super) fn check_inter_broker(values: &Values) -> Result<(), ConfigError> {
    const NAME: &str = "inter.broker.listener.name";
    const PROTOCOL: &str = "security.inter.broker.protocol";
    let wrong = |name: &str, reason: String| {
        let value = values.text(name).unwrap_or_default();
        Err(ConfigError::value(name, &value, reason))
    };
    let (name, protocol) = (values.set().get(NAME), values.set().get(PROTOCOL));
    if let Some(protocol) = protocol.filter(|it| SecurityProtocol::named(it.trim()).is_none()) {
        let reason = "must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL".to_owned();
        return Err(ConfigError::value(PROTOCOL, protocol, reason));
    }
    let Some(name) = name.map(|name| name.trim().to_ascii_uppercase()) else {
        return Ok(());
    };
    if protocol.is_some() {
        return wrong(NAME, format!("can't be set together with {PROTOCOL}"));
    }
    let points = end_points(values, "listeners")?;
    match points.iter().any(|point| point.name == name) {
        true => Ok(()),
        false => wrong(NAME, format!("there is no listener '{name}'")),
    }
}

/// Names of the listeners that are not opened: only controllers and brokers would use them.
pub(super) fn unopened(values: &Values) -> Result<Vec<String>, ConfigError> {
    let internal = internal(values);
    let bound = end_points(values, "listeners")?.into_iter();
    let unopened = bound.filter(|point| internal.contains(&point.name));
    Ok(unopened.map(|point| point.name).collect())
}

fn internal(values: &Values) -> Vec<String> {
    let names = ["controller.listener.names", "control.plane.listener.name"];
    let set = names.map(|name| values.text(name).unwrap_or_default());
    let all = set.iter().flat_map(|names| list(names));
    all.map(str::to_ascii_uppercase).collect()
}

/// Name and security protocol of each listener that is opened.
pub(super) fn client_protocols(
    values: &Values,
) -> Result<Vec<(String, SecurityProtocol)>, ConfigError> {
    let internal = internal(values);
    let mut points = Vec::new();
    for EndPoint { name, .. } in end_points(values, "listeners")? {
        if !internal.contains(&name) {
            let protocol = protocol_of(values, &name)?;
            points.push((name, protocol));
        }
    }
    Ok(points)
}

/// A listener's protocol: by the map, or by the listener's own name.
fn protocol_of(values: &Values, name: &str) -> Result<SecurityProtocol, ConfigError> {
    let protocols = protocols(values)?;
    let protocol = protocols.get(name).map_or(name, String::as_str);
    SecurityProtocol::named(protocol).ok_or_else(|| {
        let text = values.text("listeners").unwrap_or_default();
        let reason = format!("listener '{name}' has no protocol in listener.security.protocol.map");
        ConfigError::value("listeners", &text, reason)
    })
}

fn advertise(
    point: EndPoint,
    protocol: SecurityProtocol,
    advertised: &[EndPoint],
) -> Result<Listener, ConfigError> {
    let told = advertised.iter().find(|told| told.name == point.name);
    let (host, port) = told.map_or((&point.host, point.port), |told| (&told.host, told.port));
    if matches!(host.as_str(), "0.0.0.0" | "::") {
        return Err(ConfigError::value(
            "advertised.listeners",
            host,
            format!(
                "clients can't connect to it; name a host for listener '{}'",
                point.name
            ),
        ));
    }
    let advertised_host = if host.is_empty() {
        "localhost".to_owned()
    } else {
        host.clone()
    };
    Ok(Listener {
        advertised_host,
        advertised_port: port,
        name: point.name,
        host: point.host,
        port: point.port,
        protocol,
        tls: None,
    })
}

fn protocols(values: &Values) -> Result<BTreeMap<String, String>, ConfigError> {
    const NAME: &str = "listener.security.protocol.map";
    let text = values.text(NAME).unwrap_or_default();
    let mut map = BTreeMap::new();
    for item in list(&text) {
        let Some((name, protocol)) = item.split_once(':') else {
            return Err(ConfigError::value(NAME, item, "must be NAME:PROTOCOL"));
        };
        let (name, protocol) = (name.trim(), protocol.trim());
        if SecurityProtocol::named(protocol).is_none() {
            let reason = "must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL";
            return Err(ConfigError::value(NAME, protocol, reason));
        }
        map.insert(name.to_ascii_uppercase(), protocol.to_ascii_uppercase());
    }
    Ok(map)
}

fn end_points(values: &Values, name: &str) -> Result<Vec<EndPoint>, ConfigError> {
    let text = values.text(name).unwrap_or_default();
    list(&text)
        .map(|item| {
            let wrong = |reason| ConfigError::value(name, item, reason);
            let (listener, address) = item
                .split_once("://")
                .ok_or_else(|| wrong("must be NAME://host:port"))?;
            let (host, port) = address
                .rsplit_once(':')
                .ok_or_else(|| wrong("must be NAME://host:port"))?;
            let host = host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            let port = port
                .parse()
                .map_err(|_| wrong("the port must be 0 to 65535"))?;
            Ok(EndPoint {
                name: listener.trim().to_ascii_uppercase(),
                host,
                port,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(overrides: &[&str]) -> Result<Vec<Listener>, ConfigError> {
        let values = crate::testing::values(overrides);
        client_protocols(&values).and_then(|_| listeners(&values))
    }

    #[test]
    fn several_listeners_are_told_by_their_advertised_names() {
        let listeners = load(&[
            "listeners=INSIDE://:9092, OUTSIDE://[::1]:9093",
            "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,UNUSED:SSL",
            "advertised.listeners=OUTSIDE://broker.example:19093,INSIDE://10.0.0.1:9092",
        ])
        .unwrap();
        assert_eq!(listeners[0].advertised_host, "10.0.0.1");
        assert_eq!(listeners[1].host, "::1");
        assert_eq!(listeners[1].advertised_host, "broker.example");
        assert_eq!(listeners[1].advertised_port, 19093);
    }

    #[test]
    fn listeners_that_make_no_sense_are_refused() {
        let error = load(&["listeners=X://:9093"]).unwrap_err();
        assert!(
            error.to_string().contains("listener.security.protocol.map"),
            "{error}"
        );
        assert!(load(&["listeners=PLAINTEXT://0.0.0.0:9092"]).is_err());
        let error = load(&["advertised.listeners=OTHER://h:1"]).unwrap_err();
        assert!(error.to_string().contains("no listener 'OTHER'"), "{error}");
    }

    #[test]
    fn a_value_that_a_config_provider_should_look_up_is_refused_for_a_listener_that_is_opened() {
        let reference = |listener: &str| {
            let setting =
                format!("listener.name.{listener}.ssl.keystore.password=${{env:PASSWORD}}");
            load(&["config.providers=env", &setting])
        };
        let error = reference("plaintext").unwrap_err().to_string();
        assert!(
            error.contains("config providers are not supported"),
            "{error}"
        );
        assert!(reference("elsewhere").is_ok());
    }

    #[test]
    fn a_listener_for_other_brokers_must_exist() {
        let check = |set: &[&str]| check_inter_broker(&crate::testing::values(set));
        assert!(check(&["inter.broker.listener.name=plaintext"]).is_ok());
        assert!(check(&["security.inter.broker.protocol=SSL"]).is_ok());
        for (wrong, words) in [
            (
                &["inter.broker.listener.name=OTHER"][..],
                "there is no listener 'OTHER'",
            ),
            (&["security.inter.broker.protocol=TLS"], "must be PLAINTEXT"),
            (
                &[
                    "inter.broker.listener.name=PLAINTEXT",
                    "security.inter.broker.protocol=SSL",
                ],
                "can't be set together",
            ),
        ] {
            let error = check(wrong).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn listeners_for_controllers_alone_serve_nobody() {
        let error = load(&[
            "process.roles=controller",
            "listeners=CONTROLLER://:9093",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT",
        ]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("an address for clients"), "{error}");
    }
}

//! What the server reads from the broker's properties.

use std::sync::Arc;
use std::time::Duration;

use super::listener::{Listener, check_inter_broker, listeners, unopened};
use crate::auth::Mechanisms;
use crate::config::{ConfigError, Values};
use crate::tls::ServerTls;

/// Where clients connect, and how long they may be silent.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `listeners`; default `PLAINTEXT://127.0.0.1:9092`.
    pub listeners: Vec<Listener>,
    /// Names of listeners that are set for controllers, and not opened: nothing would use them.
    pub unopened: Vec<String>,
    /// `connections.max.idle.ms`
    pub idle: Duration,
    /// `connection.authentication.timeout.ms`
    pub authentication_limit: Duration,
    /// What the listeners that ask for SASL accept, in the order of `listeners`.
    pub sasl: Vec<Option<Arc<Mechanisms>>>,
    /// `connection.failed.authentication.delay.ms`
    pub failed_login_delay: Duration,
}

impl ServerConfig {
    /// As the broker's properties say.
    ///
    /// # Errors
    /// Listeners that make no sense.
    pub fn of(values: &Values) -> Result<Self, ConfigError> {
        check_inter_broker(values)?;
        super::check(values)?;
        let listeners = listeners(values)?;
        let sasl = listeners.iter().map(|it| mechanisms(values, it));
        Ok(Self {
            sasl: sasl.collect::<Result<_, _>>()?,
            failed_login_delay: failed_login_delay(values)?,
            listeners,
            unopened: unopened(values)?,
            idle: Duration::from_millis(values.millis("connections.max.idle.ms")),
            authentication_limit: Duration::from_millis(
                values.millis("connection.authentication.timeout.ms"),
            ),
        })
    }

    /// The TLS sides of the listeners that have one.
    pub fn tls(&self) -> Vec<Arc<ServerTls>> {
        let tls = self.listeners.iter().map(|listener| listener.tls.clone());
        tls.flatten().collect()
    }
}

fn mechanisms(
    values: &Values,
    listener: &Listener,
) -> Result<Option<Arc<Mechanisms>>, ConfigError> {
    if !listener.protocol.has_sasl() {
        return Ok(None);
    }
    let of = values.listener(&listener.name);
    let mechanisms = Mechanisms::of(&of, &listener.name)?;
    Ok(Some(Arc::new(mechanisms)))
}

fn failed_login_delay(values: &Values) -> Result<Duration, ConfigError> {
    const NAME: &str = "connection.failed.authentication.delay.ms";
    let delay_ms = values.millis(NAME);
    if delay_ms >= values.millis("connections.max.idle.ms") {
        let reason = "must be less than connections.max.idle.ms";
        return Err(ConfigError::value(NAME, &delay_ms.to_string(), reason));
    }
    Ok(Duration::from_millis(delay_ms))
}

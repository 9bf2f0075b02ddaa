//! What the server reads from the broker's properties.

use std::sync::Arc;
use std::time::Duration;

use super::listener::{Listener, check_inter_broker, listeners, unopened};
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
}

impl ServerConfig {
    /// As the broker's properties say.
    ///
    /// # Errors
    /// Listeners that make no sense.
    pub fn of(values: &Values) -> Result<Self, ConfigError> {
        check_inter_broker(values)?;
        super::check(values)?;
        Ok(Self {
            listeners: listeners(values)?,
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

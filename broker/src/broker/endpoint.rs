//! A listener of a running broker, as clients see it.

use std::fmt;
use std::net::SocketAddr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, e.g. `PLAINTEXT`.
    pub name: String,
    /// The bound address.
    pub bound: SocketAddr,
    /// Host that clients should connect to.
    pub host: String,
    /// Port that clients should connect to.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            bound,
            host,
            port,
        } = self;
        write!(f, "{name}://{bound} (advertised as {host}:{port})")
    }
}

//! Who sent a request, and from where.

use std::net::{IpAddr, SocketAddr};

use crate::principal::Principal;
use crate::tls::CertificateError;

/// What the connection of a request is.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    pub is_tls: bool,
    /// Who its certificate says it is; `None` if it has shown none.
    pub certificate: Option<Result<Principal, CertificateError>>,
}

impl Peer {
    /// Of the listener, as URLs have it.
    pub fn scheme(&self) -> &'static str {
        match self.is_tls {
            true => "https",
            false => "http",
        }
    }
}

/// Who sent a request, and from where.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Principal,
    pub host: IpAddr,
    /// It has shown who it is, or nobody has to.
    pub is_known: bool,
}

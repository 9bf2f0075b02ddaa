//! Who sent a request, and from where.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use crate::principal::Principal;

/// What the connection of a request is.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
}

/// Who sent a request, and from where.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Principal,
    pub host: IpAddr,
}

/// Lets everybody in, as somebody who has not said who they are.
pub async fn anybody(mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>();
    let host = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.address.ip());
    request.extensions_mut().insert(Caller {
        principal: Principal::anonymous(),
        host,
    });
    next.run(request).await
}

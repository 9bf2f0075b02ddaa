//! From host and port to a pair of byte streams: names, TCP, and the seam for what is between TCP
//! and Kafka.
//!
//! [`Transport`] is where TLS plugs in ([`super::tls`]): it gets the TCP stream and the host's name
//! and returns the two halves that the connection reads and writes. (SASL is a matter of requests:
//! a step after ApiVersions.)

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::{BoxFuture, SourceError};

/// A connection without traffic for this long is probed, to notice a peer that vanished.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// More addresses of one host than this are not tried.
const ADDRESSES_MAX: usize = 16;

/// What a connection reads from and writes to.
pub(super) struct Io {
    pub(super) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) writer: Box<dyn AsyncWrite + Send + Unpin>,
}

/// What lies between TCP and Kafka's frames.
pub(super) trait Transport: Send + Sync {
    /// Takes over a fresh TCP stream to `host`, which is called `peer` (`host:port`) in messages.
    fn secure<'a>(
        &'a self,
        stream: TcpStream,
        peer: &'a str,
        host: &'a str,
    ) -> BoxFuture<'a, Result<Io, SourceError>>;
}

/// `security.protocol=PLAINTEXT` and `SASL_PLAINTEXT`: nothing.
pub(super) struct Plaintext;

impl Transport for Plaintext {
    fn secure<'a>(
        &'a self,
        stream: TcpStream,
        _peer: &'a str,
        _host: &'a str,
    ) -> BoxFuture<'a, Result<Io, SourceError>> {
        let (reader, writer) = stream.into_split();
        Box::pin(async {
            Ok(Io {
                reader: Box::new(reader),
                writer: Box::new(writer),
            })
        })
    }
}

/// Why there is no TCP connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DialError {
    /// The name has no address; the resolver's words.
    Unresolved(String),
    /// None of its addresses answered; each one's error.
    Failed(String),
}

/// Socket options of a link's connections.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SocketOptions {
    pub(super) send_buffer_bytes: Option<u32>,
    pub(super) receive_buffer_bytes: Option<u32>,
}

/// Connects to the first address of `host` that answers, each tried for at most `limit`.
pub(super) async fn dial(
    host: &str,
    port: u16,
    options: SocketOptions,
    limit: Duration,
) -> Result<TcpStream, DialError> {
    let late = || format!("timed out after {} ms", limit.as_millis());
    let addresses: Vec<SocketAddr> = match timeout(limit, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
        Ok(Err(error)) => return Err(DialError::Unresolved(error.to_string())),
        Err(_) => {
            return Err(DialError::Unresolved(format!(
                "resolving {host} {}",
                late()
            )));
        }
    };
    if addresses.is_empty() {
        return Err(DialError::Unresolved(format!("{host} has no address")));
    }
    let mut failures = Vec::new();
    for address in addresses {
        let failure = match timeout(limit, connect(address, options)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => late(),
        };
        failures.push(format!("{address}: {failure}"));
    }
    Err(DialError::Failed(failures.join("; ")))
}

async fn connect(address: SocketAddr, options: SocketOptions) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(120);

    #[tokio::test]
    async fn a_closed_port_is_told_with_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = dial("127.0.0.1", port, SocketOptions::default(), LIMIT)
            .await
            .unwrap_err();
        match error {
            DialError::Failed(text) => {
                assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}")
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_unresolved() {
        let error = dial("no-such.invalid", 1, SocketOptions::default(), LIMIT)
            .await
            .unwrap_err();
        assert!(matches!(error, DialError::Unresolved(_)), "{error:?}");
    }

    #[tokio::test]
    async fn buffers_and_options_are_set() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = SocketOptions {
            send_buffer_bytes: Some(65_536),
            receive_buffer_bytes: Some(65_536),
        };
        let stream = dial("127.0.0.1", port, options, LIMIT).await.unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert!(socket.recv_buffer_size().unwrap() >= 65_536);
    }
}

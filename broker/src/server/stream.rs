//! What requests are read from and answers are written to.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A client's connection: bytes of requests and answers, whatever is below them.
///
/// Bytes that were written may stay in a buffer until they are flushed.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    type Reader: AsyncRead + Send + Unpin + 'static;
    type Writer: AsyncWrite + Send + Unpin + 'static;

    /// Both directions apart, for two tasks.
    fn halves(self) -> (Self::Reader, Self::Writer);
}

impl Stream for TcpStream {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    fn halves(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.into_split()
    }
}

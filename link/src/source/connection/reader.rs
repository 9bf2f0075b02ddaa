//! The reading half: bytes to frames, and a good guess at what a peer is if it sends no frames.

use std::sync::Weak;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use carrick_protocol::client::response_correlation_id;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::Inner;
use crate::source::SourceError;

/// The largest answer to ApiVersions.
const HANDSHAKE_MAX_BYTES: usize = 1 << 20;
/// The smallest response: a correlation id.
const FRAME_MIN_BYTES: usize = 4;
/// How much of a stranger's words is shown, and how long is waited for them.
const SHOWN_BYTES: usize = 80;
const SHOWN_WAIT: Duration = Duration::from_millis(200);

type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// Reads frames until the connection ends.
pub(super) async fn read_frames(inner: Weak<Inner>, mut reader: Reader) {
    loop {
        let read = next_frame(&inner, &mut reader).await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        let delivered = read.and_then(|frame| match response_correlation_id(&frame) {
            Ok(id) => inner.deliver(id, frame),
            Err(error) => Err(inner.lost(error.to_string())),
        });
        if let Err(reason) = delivered {
            inner.close(reason);
            return;
        }
    }
}

/// The next response, without its length.
async fn next_frame(inner: &Weak<Inner>, reader: &mut Reader) -> Result<Bytes, SourceError> {
    let length = next_length(inner, reader).await?;
    let announced = i32::from_be_bytes(length);
    let Some(limit) = inner.upgrade().map(|inner| match inner.versions.get() {
        Some(_) => inner.settings.frame_max_bytes,
        None => HANDSHAKE_MAX_BYTES,
    }) else {
        return Err(SourceError::ShutDown);
    };
    let size = usize::try_from(announced)
        .ok()
        .filter(|n| (FRAME_MIN_BYTES..=limit).contains(n));
    let Some(size) = size else {
        return Err(bad_length(inner, reader, length, limit).await);
    };
    let mut frame = BytesMut::with_capacity(size);
    let mut rest = reader.take(size as u64);
    while frame.len() < size {
        let outcome = rest.read_buf(&mut frame).await;
        let got = frame.len();
        let place = format!("after {got} of {size} bytes of a response: ");
        return Err(match outcome {
            Ok(0) => lost(inner, format!("{place}end of stream")),
            Ok(_) => continue,
            Err(error) => failed(inner, &place, &error),
        });
    }
    Ok(frame.freeze())
}

/// The next response's length, as it came. Ends with an error when the connection has been idle too long.
async fn next_length(inner: &Weak<Inner>, reader: &mut Reader) -> Result<[u8; 4], SourceError> {
    let idle_max = inner.upgrade().and_then(|inner| inner.settings.idle_max);
    let mut length = [0; 4];
    let read = reader.read_exact(&mut length);
    tokio::pin!(read);
    let outcome = match idle_max {
        None => read.await,
        Some(idle_max) => loop {
            match timeout(idle_max, &mut read).await {
                Ok(outcome) => break outcome,
                Err(_) if inner.upgrade().is_some_and(|inner| inner.is_waiting()) => {}
                Err(_) => {
                    let idle_ms = idle_max.as_millis();
                    return Err(lost(
                        inner,
                        format!("by us, after {idle_ms} ms without a request"),
                    ));
                }
            }
        },
    };
    match outcome {
        Ok(_) => Ok(length),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(lost(inner, "end of stream".into()))
        }
        Err(error) => Err(failed(inner, "", &error)),
    }
}

fn failed(inner: &Weak<Inner>, place: &str, error: &std::io::Error) -> SourceError {
    inner
        .upgrade()
        .map_or(SourceError::ShutDown, |inner| inner.io_failed(place, error))
}

fn lost(inner: &Weak<Inner>, detail: String) -> SourceError {
    inner
        .upgrade()
        .map_or(SourceError::ShutDown, |inner| inner.lost(detail))
}

/// A length that no response has: of a Kafka broker a breach of protocol, else not a Kafka broker.
async fn bad_length(
    inner: &Weak<Inner>,
    reader: &mut Reader,
    length: [u8; 4],
    limit: usize,
) -> SourceError {
    let is_kafka = inner
        .upgrade()
        .is_some_and(|inner| inner.versions.get().is_some());
    let mut seen = BytesMut::from(&length[..]);
    if !is_kafka {
        let mut rest = reader.take((SHOWN_BYTES - length.len()) as u64);
        let read_on = async { while rest.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {} };
        let _ = timeout(SHOWN_WAIT, read_on).await;
    }
    let Some(inner) = inner.upgrade() else {
        return SourceError::ShutDown;
    };
    if is_kafka {
        let bytes = i32::from_be_bytes(length);
        let detail = format!("it announces a response of {bytes} bytes, the limit is {limit}");
        return SourceError::Protocol {
            peer: inner.peer.clone(),
            detail,
        };
    }
    stranger(&inner, &seen)
}

/// Who may that be?
fn stranger(inner: &Inner, seen: &[u8]) -> SourceError {
    if let [0x15 | 0x16, 3, ..] = seen {
        let hint = "this looks like a TLS listener: set security.protocol to SSL or SASL_SSL, or use the port of \
                    a listener without TLS";
        let seen = "it answers with a TLS record".to_owned();
        return SourceError::NotKafka {
            peer: inner.peer.clone(),
            seen,
            hint,
        };
    }
    let line: Vec<u8> = seen
        .iter()
        .copied()
        .take_while(|b| !matches!(b, b'\r' | b'\n'))
        .collect();
    let is_text = line.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    inner.not_kafka(match is_text && line.len() >= 4 {
        true => format!("it sent \"{}\"", String::from_utf8_lossy(&line)),
        false => {
            let hex: Vec<_> = seen
                .iter()
                .take(16)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("it sent the bytes {}", hex.join(" "))
        }
    })
}

//! Reading one request frame from a socket.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::limits::Limits;
use super::places::Slot;
use crate::pool::FairCharge;

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// Bytes that are read before it is known when the rest may be: the length and the API key.
const START_BYTES: usize = LENGTH_BYTES + 2;

/// A request's header has at least API key, version and correlation id.
const MIN_FRAME_BYTES: i32 = 8;

/// Within a frame, silence of this length ends the connection.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Each of these bytes of a frame adds a second to [`STALL_LIMIT`]: so a client can't hold the
/// memory of a large frame by sending a byte now and then.
const SLOWEST_BYTES_PER_S: usize = 16 << 10;

/// The same while others wait for the memory that the frame has.
const WANTED_STALL_LIMIT: Duration = Duration::from_secs(5);
const WANTED_SLOWEST_BYTES_PER_S: usize = 64 << 10;

/// How often is looked whether others wait.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Room that is made before any byte has arrived; afterwards it doubles with what has.
const FIRST_READ_BYTES: usize = 1 << 20;

/// The same within a login.
const FIRST_LOGIN_BYTES: usize = 1 << 10;

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The client went away between two frames.
    #[error("closed by the client")]
    Closed,
    /// Nothing came for too long.
    #[error("idle for too long")]
    Idle,
    /// A frame began and did not continue, or continued too slowly.
    #[error("a request stopped in the middle or arrived too slowly")]
    Stalled,
    /// The length is no request's.
    #[error(
        "the request has {bytes} bytes, but must have at least {MIN_FRAME_BYTES} and at most \
         {max}"
    )]
    Length {
        /// What the frame says.
        bytes: i32,
        /// What is accepted.
        max: usize,
    },
    /// The length is not that of a login's frame.
    #[error(
        "a frame of the login has {bytes} bytes, but may have at most {max} (sasl.server.max.receive.size)"
    )]
    LoginLength { bytes: i32, max: usize },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The first bytes of a frame: they decide when the rest may be read.
pub(super) struct FrameStart {
    /// Which API it asks for.
    pub(super) api_key: i16,
    /// Bytes of the frame, without its length.
    bytes: usize,
}

/// A frame without its length, and the memory it was given.
pub(super) struct RequestFrame {
    pub(super) bytes: Bytes,
    pub(super) memory: FairCharge,
}

/// Waits for a frame, and reads its length and API key.
pub(super) async fn read_start<R: AsyncRead + Unpin>(
    stream: &mut R,
    limits: &Limits,
) -> Result<FrameStart, ReadError> {
    let mut start = [0; START_BYTES];
    let first = timeout(limits.idle, stream.read(&mut start))
        .await
        .map_err(|_| ReadError::Idle)??;
    if first == 0 {
        return Err(ReadError::Closed);
    }
    // A length that no frame has is refused whether anything follows it or not.
    let length_missing = first..LENGTH_BYTES.max(first);
    read_missing(stream, &mut start[length_missing]).await?;
    let [a, b, c, d, key @ ..] = &mut start;
    let claimed = i32::from_be_bytes([*a, *b, *c, *d]);
    let wrong = ReadError::Length {
        bytes: claimed,
        max: limits.request_max_bytes,
    };
    let Ok(bytes) = usize::try_from(claimed) else {
        return Err(wrong);
    };
    if claimed < MIN_FRAME_BYTES || bytes > limits.request_max_bytes {
        return Err(wrong);
    }
    let key_missing = first.saturating_sub(LENGTH_BYTES)..;
    read_missing(stream, &mut key[key_missing]).await?;
    Ok(FrameStart {
        api_key: i16::from_be_bytes(*key),
        bytes,
    })
}

async fn read_missing<R: AsyncRead + Unpin>(
    stream: &mut R,
    missing: &mut [u8],
) -> Result<(), ReadError> {
    timeout(STALL_LIMIT, stream.read_exact(missing))
        .await
        .map_err(|_| ReadError::Stalled)??;
    Ok(())
}

/// Reads the rest of a frame. Memory grows with the bytes that arrive, never with the length that is
/// claimed.
pub(super) async fn read_rest<R: AsyncRead + Unpin>(
    stream: &mut R,
    start: &FrameStart,
    limits: &Limits,
    slot: &Slot,
) -> Result<RequestFrame, ReadError> {
    let bytes = start.bytes;
    let memory = limits.memory(slot, bytes).await;
    let is_counted = memory.is_some();
    let is_wanted = || is_counted && limits.memory_is_waited_for(slot);
    let body = read_body(stream, start, is_wanted).await?;
    metrics::counter!("carrick_bytes_in_total").increment(bytes as u64 + 4);
    Ok(RequestFrame {
        bytes: body,
        memory,
    })
}

/// Reads one frame of a login: any bytes, which may be none. Memory grows with what arrives; the
/// caller limits the time.
pub(super) async fn read_login<R: AsyncRead + Unpin>(
    stream: &mut R,
    max_bytes: usize,
    limits: &Limits,
    slot: &Slot,
) -> Result<RequestFrame, ReadError> {
    let mut length = [0; LENGTH_BYTES];
    let first = stream.read(&mut length).await?;
    if first == 0 {
        return Err(ReadError::Closed);
    }
    stream.read_exact(&mut length[first..]).await?;
    let claimed = i32::from_be_bytes(length);
    let bytes = usize::try_from(claimed)
        .ok()
        .filter(|bytes| *bytes <= max_bytes)
        .ok_or(ReadError::LoginLength {
            bytes: claimed,
            max: max_bytes,
        })?;
    let memory = limits.login_memory(slot, bytes).await;
    let mut body = BytesMut::with_capacity(bytes.min(FIRST_LOGIN_BYTES));
    while body.len() < bytes {
        if body.len() == body.capacity() {
            body.reserve((bytes - body.len()).min(body.len()));
        }
        let mut rest = (&mut *stream).take((bytes - body.len()) as u64);
        if rest.read_buf(&mut body).await? == 0 {
            return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(RequestFrame {
        bytes: body.freeze(),
        memory,
    })
}

async fn read_body<R: AsyncRead + Unpin>(
    stream: &mut R,
    start: &FrameStart,
    is_wanted: impl Fn() -> bool,
) -> Result<Bytes, ReadError> {
    let started = Instant::now();
    let mut last_read = started;
    let bytes = start.bytes;
    let mut body = BytesMut::with_capacity(bytes.min(FIRST_READ_BYTES));
    body.put_i16(start.api_key);
    while body.len() < bytes {
        if body.len() == body.capacity() {
            body.reserve((bytes - body.len()).min(body.len()));
        }
        let arrived_len = body.len();
        let mut rest = (&mut *stream).take((bytes - body.len()) as u64);
        let (stall, slowest) = match is_wanted() {
            true => (WANTED_STALL_LIMIT, WANTED_SLOWEST_BYTES_PER_S),
            false => (STALL_LIMIT, SLOWEST_BYTES_PER_S),
        };
        let earned_s = u64::try_from(arrived_len / slowest).unwrap_or(u64::MAX);
        let deadline = started + stall + Duration::from_secs(earned_s);
        let limit = deadline.min(last_read + stall);
        let look = limit.min(Instant::now() + LOOK_INTERVAL);
        match timeout_at(look, rest.read_buf(&mut body)).await {
            Ok(Ok(0)) => return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(_)) => last_read = Instant::now(),
            Ok(Err(error)) => return Err(ReadError::Io(error)),
            Err(_) if Instant::now() >= limit => return Err(ReadError::Stalled),
            Err(_) => {}
        }
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::RequestLimits;
    use crate::testing::values;

    fn limits() -> Limits {
        limits_of(&["socket.request.max.bytes=1000000"])
    }

    fn limits_of(overrides: &[&str]) -> Limits {
        Limits::new(&RequestLimits::of(&values(overrides)), Duration::MAX)
    }

    async fn read_frame<R: AsyncRead + Unpin>(
        stream: &mut R,
        limits: &Limits,
    ) -> Result<RequestFrame, ReadError> {
        let start = read_start(stream, limits).await?;
        read_rest(stream, &start, limits, &Slot::of_address([127, 0, 0, 1])).await
    }

    async fn read(mut bytes: &[u8]) -> Result<RequestFrame, ReadError> {
        read_frame(&mut bytes, &limits()).await
    }

    #[tokio::test]
    async fn lengths_that_no_request_has_are_refused() {
        for length in [-1, 0, 7, 1_000_001, i32::MIN, i32::MAX] {
            let frame = [&length.to_be_bytes()[..], &[0; 100]].concat();
            assert!(
                matches!(read(&frame).await, Err(ReadError::Length { .. })),
                "{length}"
            );
        }
    }

    #[tokio::test]
    async fn a_large_frame_arrives_whole_and_alone() {
        let body: Vec<u8> = (0..900_000_u32).map(|i| i as u8).collect();
        let stream = [&900_000_i32.to_be_bytes()[..], &body, &[1, 2, 3]].concat();
        assert_eq!(read(&stream).await.unwrap().bytes, body);
    }

    #[tokio::test]
    async fn a_cut_frame_is_an_error_and_an_end_between_frames_is_not() {
        assert!(matches!(read(&[]).await, Err(ReadError::Closed)));
        assert!(matches!(read(&[0, 0]).await, Err(ReadError::Io(_))));
        assert!(matches!(
            read(&[0, 0, 0, 9, 1]).await,
            Err(ReadError::Io(_))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_stalls_ends_the_connection_long_before_idle_would() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut ours, &[0, 0, 0, 50, 1, 2])
            .await
            .unwrap();
        let started = tokio::time::Instant::now();
        let result = read_frame(&mut theirs, &limits()).await;
        assert!(matches!(result, Err(ReadError::Stalled)));
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_frame_that_trickles_does_not_hold_its_memory() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let trickle = tokio::spawn(async move {
            let length = 900_000_i32.to_be_bytes();
            let mut sent = tokio::io::AsyncWriteExt::write_all(&mut ours, &length).await;
            while sent.is_ok() {
                tokio::time::sleep(Duration::from_secs(10)).await;
                sent = tokio::io::AsyncWriteExt::write_all(&mut ours, &[1]).await;
            }
        });
        let limits = limits();
        let started = Instant::now();
        let result = read_frame(&mut theirs, &limits).await;
        assert!(matches!(result, Err(ReadError::Stalled)));
        // Memory is granted once the API key has arrived, which may take as long again.
        assert!(started.elapsed() <= 2 * STALL_LIMIT);
        trickle.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_whose_memory_others_wait_for_has_little_time_to_come() {
        let overrides = [
            "socket.request.max.bytes=1000000",
            "queued.max.request.bytes=1",
        ];
        let limits = limits_of(&overrides);
        let slot = Slot::of_address([127, 0, 0, 1]);
        let start = FrameStart {
            api_key: 3,
            bytes: 900_000,
        };
        let mut ends = Vec::new();
        let started = Instant::now();
        for is_waited_for in [false, true] {
            // All of its address' memory is taken by then: the second waits.
            let (_ours, mut theirs) = tokio::io::duplex(64);
            let reading = read_rest(&mut theirs, &start, &limits, &slot);
            let waiting = async {
                if is_waited_for {
                    drop(limits.memory(&slot, 900_000).await);
                }
            };
            let (read, ()) = tokio::join!(reading, waiting);
            assert!(matches!(read, Err(ReadError::Stalled)));
            ends.push(started.elapsed());
        }
        assert!(ends[0] >= STALL_LIMIT);
        assert!(ends[1] - ends[0] <= WANTED_STALL_LIMIT + LOOK_INTERVAL);
    }
}

//! One connection: the writer's side. Replies leave in request order, whichever finishes first.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use carrick_protocol::frame::FrameError;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::turns::Turn;
use crate::api::room::SMALL_ANSWER_BYTES;
use crate::api::{BoxFuture, Frame};
use crate::pool::FairCharge;

/// Pieces handed to the kernel in one call.
const SLICES_MAX: usize = 64;

/// How long a client may take to take an answer whose memory others may wait for; its bytes buy
/// a second for each of these.
const TAKING_LIMIT: Duration = Duration::from_secs(30);
const SLOWEST_BYTES_PER_S: usize = 512 << 10;

/// A reply's place in the queue.
pub(super) struct Pending {
    /// The API's name, for metrics.
    pub(super) api: &'static str,
    /// When its request had been read.
    pub(super) started: Instant,
    pub(super) answer: Answer,
    /// Its room among the answers that are not sent yet, released when it is sent.
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// Its turn, which ends when the answer is sent.
    pub(super) turn: Option<Turn>,
    /// The memory of its request, released when the answer is ready.
    pub(super) memory: [FairCharge; 2],
    /// Whether its answer, if it is large, holds memory that others may wait for.
    pub(super) holds_memory: bool,
}

pub(super) enum Answer {
    /// It is ready.
    Ready(Result<Frame, FrameError>),
    Later(BoxFuture<Result<Frame, FrameError>>),
    /// None is wanted.
    Nothing,
}

/// Sends replies until the queue is closed and empty, or the client doesn't take them.
pub(super) async fn write_replies<W: AsyncWrite + Unpin>(
    mut stream: W,
    mut replies: mpsc::Receiver<Pending>,
    idle: Duration,
) {
    while let Some(Pending {
        api,
        started,
        answer,
        room,
        turn,
        memory,
        holds_memory,
    }) = replies.recv().await
    {
        let frame = match answer {
            Answer::Ready(frame) => Some(frame),
            Answer::Later(future) => Some(future.await),
            Answer::Nothing => None,
        };
        drop(memory);
        metrics::counter!("carrick_requests_total", "api" => api).increment(1);
        metrics::histogram!("carrick_request_seconds", "api" => api).record(started.elapsed());
        match frame {
            None => {}
            Some(Ok(frame)) => {
                let limit = taking_limit(&frame, holds_memory);
                let writing = write_frame(&mut stream, frame, idle);
                let written = match timeout(limit, writing).await {
                    Ok(written) => written,
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                };
                if let Err(error) = written {
                    tracing::debug!(%error, "writing failed");
                    return;
                }
            }
            Some(Err(error)) => {
                tracing::error!(api, %error, "a response could not be encoded");
                return;
            }
        }
        drop((room, turn));
    }
}

/// How long the client may take to take an answer.
fn taking_limit(frame: &Frame, holds_memory: bool) -> Duration {
    let bytes: usize = frame.iter().map(Bytes::len).sum();
    if !holds_memory || bytes <= SMALL_ANSWER_BYTES {
        return Duration::MAX;
    }
    TAKING_LIMIT + Duration::from_secs((bytes / SLOWEST_BYTES_PER_S) as u64)
}

async fn write_frame<W: AsyncWrite + Unpin>(
    stream: &mut W,
    mut frame: Frame,
    idle: Duration,
) -> io::Result<()> {
    let total: usize = frame.iter().map(Bytes::len).sum();
    let mut first = 0;
    while let Some(rest) = frame.get_mut(first..).filter(|rest| !rest.is_empty()) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = rest.len().min(SLICES_MAX);
        for (slice, piece) in slices.iter_mut().zip(rest.iter()) {
            *slice = IoSlice::new(piece);
        }
        let writing = stream.write_vectored(&slices[..count]);
        let written = match timeout(idle, writing).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        if written == 0 && rest.iter().any(|piece| !piece.is_empty()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        first += consume(rest, written);
    }
    match timeout(idle, stream.flush()).await {
        Ok(flushed) => flushed?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    }
    metrics::counter!("carrick_bytes_out_total").increment(total as u64);
    Ok(())
}

/// Takes `written` bytes off the front; answers how many pieces are used up.
fn consume(pieces: &mut [Bytes], mut written: usize) -> usize {
    let mut used_up = 0;
    for piece in pieces {
        if written < piece.len() {
            piece.advance(written);
            break;
        }
        written -= piece.len();
        *piece = Bytes::new();
        used_up += 1;
    }
    used_up
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn a_frame_of_many_pieces_arrives_in_order_through_a_narrow_pipe() {
        let (mut ours, mut theirs) = tokio::io::duplex(7);
        let pieces: Frame = (0..500_u32)
            .map(|i| Bytes::from(vec![i as u8; (i % 13) as usize]))
            .collect();
        let expected = pieces.concat();
        let writing = tokio::spawn(async move {
            write_frame(&mut ours, pieces, Duration::from_secs(60))
                .await
                .unwrap();
        });
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        writing.await.unwrap();
        assert_eq!(read, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_holds_memory_has_to_be_taken_before_long() {
        for (holds_memory, bytes, is_cut) in [
            (true, 2 << 20, true),
            (true, 1000, false),
            (false, 2 << 20, false),
        ] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let (queue, replies) = mpsc::channel(1);
            let pending = Pending {
                api: "Metadata",
                started: Instant::now(),
                answer: Answer::Ready(Ok(vec![vec![0; bytes].into()])),
                room: None,
                turn: None,
                memory: [None, None],
                holds_memory,
            };
            assert!(queue.send(pending).await.is_ok());
            let idle = Duration::from_secs(600);
            let writing = tokio::spawn(write_replies(ours, replies, idle));
            // A byte now and then is no silence.
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(60)).await;
                let _ = theirs.read_u8().await;
            }
            assert_eq!(writing.is_finished(), is_cut, "{bytes}");
            writing.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (mut ours, _theirs) = tokio::io::duplex(4);
        let frame = vec![Bytes::from_static(&[0; 100])];
        let error = write_frame(&mut ours, frame, Duration::from_secs(1))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}

//! One connection: the writer's side. Replies leave in request order, whatever finishes first.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use carrick_protocol::frame::FrameError;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::turns::Turn;
use crate::api::{BoxFuture, Frame};
use crate::pool::Charge;

/// Pieces handed to the kernel in one call.
const SLICES_MAX: usize = 64;

/// A reply's place in the queue.
pub(super) struct Pending {
    /// The API's name, for metrics.
    pub(super) api: &'static str,
    /// When its request had been read.
    pub(super) started: Instant,
    /// The reply.
    pub(super) answer: Answer,
    /// Its room among what is not sent yet, given back when it is.
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// Its turn, which is over when the answer is sent.
    pub(super) turn: Option<Turn>,
    /// What its request takes in memory, given back when the answer is there.
    pub(super) memory: [Charge; 2],
}

/// A reply.
pub(super) enum Answer {
    /// It is there.
    Ready(Result<Frame, FrameError>),
    /// It comes.
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
                if let Err(error) = write_frame(&mut stream, frame, idle).await {
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
    async fn a_client_that_does_not_read_is_given_up() {
        let (mut ours, _theirs) = tokio::io::duplex(4);
        let frame = vec![Bytes::from_static(&[0; 100])];
        let error = write_frame(&mut ours, frame, Duration::from_secs(1))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}

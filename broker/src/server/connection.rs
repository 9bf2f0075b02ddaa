//! One connection: the reader's side.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use carrick_protocol::frame::FrameError;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::dispatch::{Dispatched, dispatch};
use super::frame::{ReadError, read_frame};
use super::limits::Limits;
use super::writer::{Answer, Pending, write_replies};
use crate::api::{BoxFuture, Context, Frame, Reply};

/// Requests of one connection that may wait for their answers; then it is not read any further.
const IN_FLIGHT_MAX: usize = 100;

/// Small frames are read together.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// Serves one connection until either side ends it.
pub(super) async fn serve(
    stream: TcpStream,
    mut context: Context,
    limits: &Limits,
    mut stopped: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let peer = context.connection.peer;
    let (read_half, write_half) = stream.into_split();
    let (queue, replies) = mpsc::channel(IN_FLIGHT_MAX);
    let mut writer = tokio::spawn(write_replies(write_half, replies, limits.idle));
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, read_half);
    let ended = tokio::select! {
        ended = read_requests(&mut reader, &mut context, limits, &queue) => ended,
        () = super::stop_signal(&mut stopped) => Ended::Stopped,
        _ = &mut writer => return,
    };
    match ended {
        // Nobody reads the answers that are still to come.
        Ended::ByPeer(error) => {
            tracing::debug!(%peer, %error, "connection ended");
            writer.abort();
        }
        Ended::Refused(reason) => {
            tracing::warn!(%peer, client_id = context.client_id(), reason, "connection closed");
            finish(queue, writer).await;
        }
        Ended::Stopped => finish(queue, writer).await,
    }
}

/// Lets the writer send what is queued.
async fn finish(queue: mpsc::Sender<Pending>, writer: tokio::task::JoinHandle<()>) {
    drop(queue);
    if let Err(error) = writer.await {
        tracing::error!(%error, "a connection's writer failed");
    }
}

/// Why reading ended.
enum Ended {
    /// The client closed, or broke the connection.
    ByPeer(ReadError),
    /// The client sent what can't be answered.
    Refused(String),
    /// The broker stops.
    Stopped,
}

async fn read_requests(
    reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>,
    context: &mut Context,
    limits: &Limits,
    queue: &mpsc::Sender<Pending>,
) -> Ended {
    loop {
        // The place in the queue comes first: an answer that can't be queued is not computed.
        let Ok(place) = queue.reserve().await else {
            return Ended::Stopped;
        };
        let frame = match read_frame(reader, limits).await {
            Ok(frame) => frame,
            Err(error @ ReadError::Length { .. }) => return Ended::Refused(error.to_string()),
            Err(error) => return Ended::ByPeer(error),
        };
        let started = Instant::now();
        let Dispatched { entry, reply } = match dispatch(context, frame.bytes) {
            Ok(dispatched) => dispatched,
            Err(refused) => return Ended::Refused(refused.to_string()),
        };
        drop(frame.memory);
        let answer = match reply {
            Reply::Now(frame) => Answer::Ready(frame),
            Reply::Later(future) => begin(future).await,
            Reply::None => Answer::Nothing,
            Reply::Close(reason) => return Ended::Refused(reason),
        };
        place.send(Pending {
            api: entry.name,
            started,
            answer,
        });
    }
}

/// Polls once, so that what the handler starts has started before the next request is read.
async fn begin(mut future: BoxFuture<Result<Frame, FrameError>>) -> Answer {
    let first = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(frame) => Answer::Ready(frame),
        Poll::Pending => Answer::Later(future),
    }
}

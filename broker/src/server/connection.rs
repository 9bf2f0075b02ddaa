//! One connection: the reader's side.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use carrick_protocol::frame::FrameError;
use tokio::io::{AsyncRead, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::dispatch::{Refused, route};
use super::frame::{ReadError, RequestFrame, read_rest, read_start};
use super::limits::Limits;
use super::login::{LoginError, Permitted, Session};
use super::places::Slot;
use super::stream::Stream;
use super::turns::Turns;
use super::writer::{Answer, Pending, write_replies};
use crate::api::table::Entry;
use crate::api::{BoxFuture, Context, Frame, Reply};
use crate::audit::{Event, Outcome, Via};
use crate::pool::FairCharge;

/// Requests of one connection that may wait for their answers; then it is not read any further.
const IN_FLIGHT_MAX: usize = 100;

/// Bytes of ready answers that may wait to be sent, and the size below which an answer doesn't count
/// among them: [`IN_FLIGHT_MAX`] small ones are few enough.
const UNSENT_MAX_BYTES: u32 = 4 << 20;
const UNCOUNTED_BYTES: usize = 16 << 10;

/// Small frames are read together.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// Serves one connection until either side ends it.
pub(super) async fn serve<S: Stream>(
    stream: S,
    (mut context, mut session): (Context, Option<Session>),
    (limits, slot): (&Limits, &Slot),
    mut stopped: watch::Receiver<bool>,
) {
    let peer = context.connection.peer;
    let (read_half, write_half) = stream.halves();
    let (queue, replies) = mpsc::channel(IN_FLIGHT_MAX);
    let mut writer = tokio::spawn(write_replies(write_half, replies, limits.idle));
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, read_half);
    let ended = tokio::select! {
        ended = read_requests(
            &mut reader, (&mut context, &mut session), (limits, slot), &queue
        ) => ended,
        () = super::stop_signal(&mut stopped) => Ended::Stopped,
        _ = &mut writer => return,
    };
    match ended {
        // The answers that are still to come will not be read.
        Ended::ByPeer(error) => {
            tracing::debug!(%peer, %error, "connection ended");
            writer.abort();
        }
        Ended::Refused(reason) => {
            let principal = &context.connection.principal;
            let client_id = context.client_id();
            tracing::warn!(%peer, %principal, client_id, reason, "connection closed");
            finish(queue, writer).await;
        }
        Ended::Expired => {
            tracing::debug!(%peer, "connection closed: its client has not logged in once more");
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
    /// The client had to log in once more by now.
    Expired,
    /// The broker stops.
    Stopped,
}

async fn read_requests<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    (context, session): (&mut Context, &mut Option<Session>),
    (limits, slot): (&Limits, &Slot),
    queue: &mpsc::Sender<Pending>,
) -> Ended {
    let unsent = Arc::new(Semaphore::new(UNSENT_MAX_BYTES as usize));
    let mut turns = Turns::new();
    loop {
        // The place in the queue comes first: an answer that can't be queued is not computed.
        let Ok(place) = queue.reserve().await else {
            return Ended::Stopped;
        };
        context.connection.held.over().await;
        let start = match read_start(reader, limits).await {
            Ok(start) => start,
            Err(error @ ReadError::Length { .. }) => return Ended::Refused(error.to_string()),
            Err(error) => return Ended::ByPeer(error),
        };
        let begins_login = match session.as_mut().map(|it| it.request(start.api_key)) {
            None | Some(Permitted::Request) => false,
            Some(Permitted::Login) => true,
            Some(Permitted::Nothing) => return Ended::Expired,
        };
        // A waiting request is not read, so it takes no memory. As in Kafka, waiting counts as idling.
        let Ok(turn) = timeout(limits.idle, turns.next(start.api_key)).await else {
            return Ended::ByPeer(ReadError::Idle);
        };
        // An answer that was still to come when this was read may have told the client to wait.
        context.connection.held.over().await;
        let frame = match read_rest(reader, &start, limits, slot).await {
            Ok(frame) => frame,
            Err(error) => return Ended::ByPeer(error),
        };
        if let (true, Some(session)) = (begins_login, &mut *session) {
            drop(place);
            let again = session.again(reader, (limits, slot), (frame, turn), queue);
            match again.await {
                Ok(()) => continue,
                Err(LoginError::Read(error)) => return Ended::ByPeer(error),
                Err(error) => {
                    note_refusal(context, &error);
                    return Ended::Refused(error.to_string());
                }
            }
        }
        let started = Instant::now();
        let handled = match handle(context, frame, (limits, slot), &mut turns).await {
            Ok(handled) => handled,
            Err(ended) => return ended,
        };
        let room = room_for(ready_bytes(&handled.answer), &unsent).await;
        place.send(Pending {
            api: handled.entry.name,
            started,
            answer: handled.answer,
            room,
            turn,
            memory: handled.memory,
            holds_memory: handled.entry.lists,
        });
    }
}

/// A client that logs in once more may try other credentials, too.
fn note_refusal(context: &Context, refused: &LoginError) {
    if !matches!(refused, LoginError::Refused(_)) {
        return;
    }
    let connection = &context.connection;
    context.broker.audit.note(Event {
        who: connection.principal.clone(),
        from: connection.peer.ip(),
        via: Via::Kafka,
        action: "Authenticate",
        target: None,
        detail: format!("once more: {refused}"),
        is_dry_run: false,
        outcome: Outcome::NotAuthenticated("the credentials are not accepted"),
    });
}

/// A request whose answer is ready, or to come.
struct Handled {
    entry: &'static Entry,
    answer: Answer,
    /// What the answer still holds of the request's memory.
    memory: [FairCharge; 2],
}

/// Handles a request whose turn it is.
async fn handle(
    context: &mut Context,
    frame: RequestFrame,
    (limits, slot): (&Limits, &Slot),
    turns: &mut Turns,
) -> Result<Handled, Ended> {
    let refused = |refused: Refused| Ended::Refused(refused.to_string());
    let request = route(context, frame.bytes).map_err(refused)?;
    let (entry, elements) = (request.entry, request.elements());
    let decoded = limits.decoded(slot, elements).await;
    let heavy = limits.heavy(slot, elements).await;
    let handled = match heavy {
        None => request.handle(context),
        Some(_) => request.handle_heavy(context),
    };
    drop(heavy);
    let answer = match handled.map_err(refused)? {
        Reply::Now(frame) => Answer::Ready(frame),
        Reply::Later(future) => begin(future).await,
        Reply::Early { answer, effect } => {
            turns.answered_before(effect);
            answer.map_or(Answer::Nothing, Answer::Ready)
        }
        Reply::None => Answer::Nothing,
        Reply::Close(reason) => return Err(Ended::Refused(reason)),
    };
    let is_later = matches!(answer, Answer::Later(_));
    let holds_request = is_later && entry.holds_request;
    let memory = [frame.memory, decoded].map(|charge| charge.filter(|_| holds_request));
    Ok(Handled {
        entry,
        answer,
        memory,
    })
}

/// Bytes of an answer that is ready; one that is still to come has none.
fn ready_bytes(answer: &Answer) -> usize {
    match answer {
        Answer::Ready(Ok(frame)) => frame.iter().map(Bytes::len).sum(),
        Answer::Ready(Err(_)) | Answer::Later(_) | Answer::Nothing => 0,
    }
}

/// Waits until an answer of this size may join those that are not sent yet; one that is too large
/// for the room waits until it is alone. The room is released when the answer is sent.
async fn room_for(bytes: usize, unsent: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    if bytes < UNCOUNTED_BYTES {
        return None;
    }
    let permits = u32::try_from(bytes).map_or(UNSENT_MAX_BYTES, |all| all.min(UNSENT_MAX_BYTES));
    let room = Arc::clone(unsent).acquire_many_owned(permits).await;
    room.ok()
}

/// Polls once, so that what the handler starts has started before the next request is read.
async fn begin(mut future: BoxFuture<Result<Frame, FrameError>>) -> Answer {
    let first = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(frame) => Answer::Ready(frame),
        Poll::Pending => Answer::Later(future),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;

    #[tokio::test]
    async fn large_answers_wait_for_those_before_them_to_be_sent() {
        let unsent = Arc::new(Semaphore::new(UNSENT_MAX_BYTES as usize));
        let first = room_for(3 << 20, &unsent).await;
        assert!(first.is_some());
        let mut second = std::pin::pin!(room_for(1 << 30, &unsent));
        let state = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await;
        assert!(state, "there is no room yet");
        assert!(
            room_for(100, &unsent).await.is_none(),
            "small ones need none"
        );
        drop(first);
        assert!(second.await.is_some());
    }
}

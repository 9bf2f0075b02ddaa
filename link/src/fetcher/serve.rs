//! What a fetcher does while it has a connection.
//!
//! At most one request of the session is in flight, and any number of requests outside it. After
//! every answer, the next possible requests are sent immediately.

use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicPartition;
use tokio::time::{Instant, sleep_until};

use super::apart::{Answered, Done};
use super::slots::Part;
use super::window::Sent;
use super::{Command, Fetcher, Left};
use crate::source::fetch::{FetchResponse, FetchSession, RawFetchedPartition, SessionOutcome};
use crate::source::{BoxFuture, FetchConnection, SourceError, THROTTLE_MAX};

/// With a partition left out for a moment, a long poll must not be long.
const SHORT_POLL_MS: u32 = 10;

type Answer = Result<FetchResponse, SourceError>;

/// A request of the session that is in flight.
struct Poll {
    answer: BoxFuture<'static, Answer>,
    sent: Sent,
    sent_at_ms: i64,
    /// Partitions that the session asks for again.
    returned: Vec<TopicPartition>,
}

/// What was waited for.
enum Happened {
    Command(Option<Command>),
    Answer(Answer),
    Done(Done),
    /// Something may be requested now that could not be before.
    Due,
}

impl Fetcher {
    /// Fetches over one connection until it fails or all handles are dropped.
    pub(super) async fn serve(
        &mut self,
        session: &mut FetchSession,
        connection: &dyn FetchConnection,
    ) -> Left {
        let version = connection.fetch_version();
        session.reconnected(version);
        self.slots.connected(version);
        self.apart.connected(connection);
        let mut poll = None;
        let left = loop {
            while let Ok(command) = self.commands.try_recv() {
                self.take(command, Some(version));
            }
            match self.happening(session, connection, &mut poll).await {
                Happened::Command(Some(command)) => self.take(command, Some(version)),
                Happened::Command(None) => break Left::Ended,
                Happened::Due => {}
                Happened::Answer(answer) => {
                    if let Some(poll) = poll.take()
                        && let Err(error) = self.on_answer(session, &poll, answer)
                    {
                        break Left::Failed(error);
                    }
                }
                Happened::Done(Done::Opened { lane, connection }) => {
                    self.apart.opened(lane, connection, &mut self.slots);
                }
                Happened::Done(Done::Answered(answered)) => {
                    if let Err(error) = self.on_answer_apart(answered) {
                        break Left::Failed(error);
                    }
                }
            }
        };
        self.apart.close();
        if matches!(left, Left::Ended)
            && let Some(request) = session.close_request()
        {
            // If this doesn't arrive, the source drops the session after a while.
            drop(connection.fetch(request));
        }
        left
    }

    /// Sends the requests that are possible now, and waits for one thing to happen.
    async fn happening(
        &mut self,
        session: &mut FetchSession,
        connection: &dyn FetchConnection,
        poll: &mut Option<Poll>,
    ) -> Happened {
        let held_until = self.held_until();
        let mut waits_for_budget = false;
        if held_until.is_none() {
            let far_behind_bytes = self
                .apart
                .far_behind_bytes(self.setup.partition_max_bytes, Instant::now());
            self.slots.set_far_behind(far_behind_bytes);
            waits_for_budget = poll.is_none() && !self.setup.budget.is_available();
            if poll.is_none() && !waits_for_budget {
                *poll = self.poll(session, connection);
            }
            self.apart.start(&mut self.slots);
        }
        let due = held_until.into_iter().chain(self.apart.rests_at()).min();
        let waits_for_room = poll.is_none() || self.slots.is_far_behind();
        tokio::select! {
            command = self.commands.recv() => Happened::Command(command),
            answer = answered(poll) => Happened::Answer(answer),
            done = self.apart.done() => Happened::Done(done),
            () = self.drained.notified(), if waits_for_room => Happened::Due,
            () = self.setup.budget.available(), if waits_for_budget => Happened::Due,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Happened::Due,
        }
    }

    /// Until when nothing is requested: the source throttles, something went wrong, or the link's bytes per second are
    /// used up.
    fn held_until(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let throttled = self.setup.throttle.wait().map(|wait| now + wait);
        self.paused_until.max(throttled)
    }

    fn pause(&mut self, time: Option<Duration>) {
        let until = time.map(|time| Instant::now() + time);
        self.paused_until = self.paused_until.max(until);
    }

    /// The session's next request; `None` if it would have no partition.
    fn poll(
        &mut self,
        session: &mut FetchSession,
        connection: &dyn FetchConnection,
    ) -> Option<Poll> {
        let wanted = self.slots.wanted(self.setup.share_max_bytes);
        if wanted.positions.is_empty() {
            return None;
        }
        let mut limits = self.setup.limits;
        limits.max_bytes = limits
            .max_bytes
            .min(self.setup.throttle.request_max_bytes());
        if wanted.is_short {
            limits.max_wait_ms = limits.max_wait_ms.min(SHORT_POLL_MS);
        }
        let request = session.next_request(&wanted.positions, limits);
        Some(Poll {
            sent: self.apart.session_asks(),
            sent_at_ms: self.setup.clock.now_ms(),
            returned: self.slots.returned(&wanted),
            answer: connection.fetch(request),
        })
    }

    /// Takes the answer to the session's request. After an error the connection is unusable.
    fn on_answer(
        &mut self,
        session: &mut FetchSession,
        poll: &Poll,
        answer: Answer,
    ) -> Result<(), SourceError> {
        let pause = match answer {
            Ok(response) => self.on_response(session, response, poll),
            Err(error @ SourceError::Broker { .. }) => {
                session.fail();
                Some(self.refused(&error))
            }
            Err(error) => return Err(error),
        };
        self.pause(pause);
        Ok(())
    }

    /// The source answered with an error for the whole request; says how long to wait.
    fn refused(&mut self, error: &dyn std::fmt::Display) -> Duration {
        let (link, broker) = (&self.setup.link, self.setup.broker);
        tracing::warn!(%link, %broker, %error, "fetch refused");
        self.setup.backoff.next_wait()
    }

    /// Hands an answer on; says how long to wait before the next request, if at all.
    fn on_response(
        &mut self,
        session: &mut FetchSession,
        response: FetchResponse,
        poll: &Poll,
    ) -> Option<Duration> {
        let throttle = patience(&response);
        let (link, broker) = (self.setup.link.clone(), self.setup.broker);
        match session.apply(response) {
            SessionOutcome::Partitions(answers) => {
                self.setup.backoff.reset();
                let bytes = answers.iter().map(|answer| answer.data.records.len()).sum();
                self.setup.throttle.charge(bytes);
                self.apart.session_answered(poll.sent, bytes);
                self.slots.asked(&poll.returned);
                for answer in answers {
                    self.slots.answered(answer, poll.sent_at_ms);
                }
                self.heartbeat
                    .answered(poll.sent_at_ms, bytes > 0 || throttle.is_some());
                throttle
            }
            SessionOutcome::Restarted(why) => {
                tracing::debug!(%link, %broker, why, "new fetch session");
                // Immediately; but a source that refuses every session must not be asked in a tight
                // loop.
                let is_first = self.setup.backoff.failures() == 0;
                let wait = self.setup.backoff.next_wait();
                throttle.max((!is_first).then_some(wait))
            }
            SessionOutcome::Refused(error) => throttle.max(Some(self.refused(&error))),
        }
    }

    /// Takes an answer from outside the session. After an error the connection is unusable.
    fn on_answer_apart(&mut self, mut answered: Answered) -> Result<(), SourceError> {
        let answer = std::mem::replace(&mut answered.answer, Err(SourceError::ShutDown));
        let (response, failure) = match answer {
            Ok(response) if response.error == ErrorCode::NONE => (Some(response), None),
            Ok(response) => {
                let wait = self
                    .refused(&response.error)
                    .max(patience(&response).unwrap_or_default());
                self.pause(Some(wait));
                (None, None)
            }
            Err(error @ SourceError::Broker { .. }) => {
                let wait = self.refused(&error);
                self.pause(Some(wait));
                (None, None)
            }
            Err(error) => (None, Some(error)),
        };
        let mut came = Vec::new();
        if let Some(response) = response {
            self.setup.backoff.reset();
            self.pause(patience(&response));
            self.heartbeat.answered_apart(answered.asked_at_ms);
            came = response.partitions;
        }
        let bytes = came.iter().map(|came| came.data.records.len()).sum();
        self.setup.throttle.charge(bytes);
        self.apart.answered(&answered, bytes);
        for part in answered.parts {
            let index = came.iter().position(|came| is_of(came, &part));
            let data = index.map(|index| came.swap_remove(index).data);
            self.slots.part_answered(part, data, answered.asked_at_ms);
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The answer to the session's request; never, if none is in flight.
async fn answered(poll: &mut Option<Poll>) -> Answer {
    match poll {
        Some(poll) => (&mut poll.answer).await,
        None => std::future::pending().await,
    }
}

/// How long the source asks to be left alone, if at all.
fn patience(response: &FetchResponse) -> Option<Duration> {
    let ms = u64::try_from(response.throttle_time_ms).unwrap_or(0);
    let patience = Duration::from_millis(ms).min(THROTTLE_MAX);
    Some(patience).filter(|patience| !patience.is_zero())
}

/// Whether that came for this part of a request.
fn is_of(came: &RawFetchedPartition, part: &Part) -> bool {
    let is_topic = match &came.topic {
        Some(topic) => *topic == part.partition.topic,
        None => came.topic_id == part.position.topic_id,
    };
    is_topic && came.partition == part.partition.partition
}

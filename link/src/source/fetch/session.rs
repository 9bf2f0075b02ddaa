//! Fetch sessions (KIP-227) from the client's side, without I/O; follows Kafka's `FetchSessionHandler`.
//!
//! Invariant: after an answer that `apply` took as [`SessionOutcome::Partitions`] within an open
//! session, the source's view of the session is exactly `sent`, which has as many partitions as are
//! wanted (asserted). If that is ever in doubt, the next request is a full one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{Offset, TopicId, TopicPartition};

use super::{
    FetchLimits, FetchPosition, FetchRequest, FetchResponse, FetchedPartition, LAST_BY_NAME,
    RawFetchedPartition, VERSIONS,
};

const NO_SESSION: i32 = 0;
/// The epoch of a request that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that closes a session, or goes without.
const FINAL_EPOCH: i32 = -1;
/// The first version with sessions.
const FIRST_WITH_SESSIONS: i16 = 7;

/// What an answer did to the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOutcome {
    /// Partitions that the source reported on, in its order.
    Partitions(Vec<FetchedPartition>),
    /// The session no longer exists (`FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`,
    /// `FETCH_SESSION_TOPIC_ID_ERROR`) or the answer doesn't fit it. The next request is a full
    /// one. The first time, send it immediately; back off when it happens again and again.
    Restarted(String),
    /// Any other error of the request as a whole. The next request is a full one; back off first.
    Refused(ErrorCode),
}

/// One fetch session with one broker (over one connection at a time).
#[derive(Debug)]
pub struct FetchSession {
    max_version: i16,
    rack: Arc<str>,
    id: i32,
    /// The epoch of the next request; [`INITIAL_EPOCH`] makes it a full one.
    epoch: i32,
    uses_topic_ids: bool,
    /// What the session holds at the source, once the request in flight has been answered.
    sent: BTreeMap<TopicPartition, FetchPosition>,
    /// Of what was sent with topic ids, how answers name it.
    names: HashMap<(TopicId, i32), TopicPartition>,
    /// The version of the request in flight.
    in_flight: Option<i16>,
}

impl FetchSession {
    /// A session not yet open. `max_version` is [`super::super::FetchConnection::fetch_version`].
    pub fn new(max_version: i16) -> Self {
        Self {
            max_version: max_version.clamp(*VERSIONS.start(), *VERSIONS.end()),
            rack: Arc::from(""),
            id: NO_SESSION,
            epoch: INITIAL_EPOCH,
            uses_topic_ids: false,
            sent: BTreeMap::new(),
            names: HashMap::new(),
            in_flight: None,
        }
    }

    /// The same session, which tells us our position.
    pub(crate) fn in_rack(self, rack: Arc<str>) -> Self {
        Self { rack, ..self }
    }

    /// The request that makes the session want exactly `wanted`. To be answered by [`apply`](Self::apply) or
    /// [`fail`](Self::fail) before the next one; if it wasn't, it counts as failed.
    pub fn next_request(
        &mut self,
        wanted: &BTreeMap<TopicPartition, FetchPosition>,
        limits: FetchLimits,
    ) -> FetchRequest {
        if self.in_flight.is_some() {
            self.fail();
        }
        let by_id = self.max_version > LAST_BY_NAME
            && wanted.values().all(|position| !position.topic_id.is_zero())
            && (self.uses_topic_ids || !wanted.is_empty());
        if by_id != self.uses_topic_ids {
            self.start_over_at_source();
        }
        let version = self.version(by_id);
        let (session_id, session_epoch) = match version >= FIRST_WITH_SESSIONS {
            true => (self.id, self.epoch),
            false => (NO_SESSION, FINAL_EPOCH),
        };
        let (partitions, forgotten) = (Vec::new(), Vec::new());
        let mut request = FetchRequest {
            version,
            limits,
            session_id,
            session_epoch,
            partitions,
            forgotten,
            rack: Arc::clone(&self.rack),
        };
        if self.epoch == INITIAL_EPOCH {
            request.partitions = wanted.iter().map(|(tp, at)| (tp.clone(), *at)).collect();
            self.sent.clone_from(wanted);
            self.names.clear();
        } else {
            self.add_changes(wanted, &mut request);
            self.note_changes(&request);
        }
        assert_eq!(
            self.sent.len(),
            wanted.len(),
            "the session holds what is wanted"
        );
        if by_id {
            let named = request.partitions.iter();
            self.names
                .extend(named.map(|(tp, at)| ((at.topic_id, tp.partition), tp.clone())));
        }
        self.uses_topic_ids = by_id;
        self.in_flight = Some(version);
        request
    }

    /// Takes the answer to the last request.
    pub fn apply(&mut self, response: FetchResponse) -> SessionOutcome {
        let Some(version) = self.in_flight.take() else {
            self.forget();
            return SessionOutcome::Restarted("it sent an answer without a request".into());
        };
        let was_full = self.epoch == INITIAL_EPOCH;
        if let Some(outcome) = self.take_error(response.error) {
            return outcome;
        }
        if was_full && response.partitions.is_empty() && response.throttle_time_ms > 0 {
            // A throttled broker answers a full request with nothing at all (KIP-219).
            self.forget();
            return SessionOutcome::Partitions(Vec::new());
        }
        let by_id = version > LAST_BY_NAME;
        let partitions = match self.name_partitions(response.partitions, by_id, was_full) {
            Ok(partitions) => partitions,
            Err(problem) => {
                self.start_over_at_source();
                return SessionOutcome::Restarted(problem);
            }
        };
        self.advance(response.session_id, version);
        SessionOutcome::Partitions(partitions)
    }

    /// The last request got no answer: the next one is a full one, in a new session.
    pub fn fail(&mut self) {
        self.in_flight = None;
        self.start_over_at_source();
    }

    /// The connection has ended. Sessions outlive connections at the source, so the old one is
    /// closed by the first request over the new connection, whose version may differ.
    pub(crate) fn reconnected(&mut self, max_version: i16) {
        self.fail();
        self.max_version = max_version.clamp(*VERSIONS.start(), *VERSIONS.end());
    }

    /// The request that closes the session at the source, if one is open. Its answer is ignored.
    pub(crate) fn close_request(&mut self) -> Option<FetchRequest> {
        let id = self.id;
        self.in_flight = None;
        self.forget();
        let version = self.version(self.uses_topic_ids);
        (id != NO_SESSION && version >= FIRST_WITH_SESSIONS).then(|| FetchRequest {
            version,
            limits: FetchLimits {
                max_wait_ms: 0,
                min_bytes: 0,
                max_bytes: 0,
            },
            session_id: id,
            session_epoch: FINAL_EPOCH,
            partitions: Vec::new(),
            forgotten: Vec::new(),
            rack: Arc::clone(&self.rack),
        })
    }

    fn version(&self, by_id: bool) -> i16 {
        if by_id {
            self.max_version
        } else {
            self.max_version.min(LAST_BY_NAME)
        }
    }

    /// What to add, change and forget so that the source's view becomes `wanted`. One pass along both, which are in the
    /// same order: a link may have thousands of partitions, and this is on the way of every record.
    fn add_changes(
        &self,
        wanted: &BTreeMap<TopicPartition, FetchPosition>,
        request: &mut FetchRequest,
    ) {
        let mut sent = self.sent.iter().peekable();
        for (tp, now) in wanted {
            while let Some((gone, was)) = sent.next_if(|(sent, _)| *sent < tp) {
                request.forgotten.push((gone.clone(), was.topic_id));
            }
            let before = sent.next_if(|(sent, _)| *sent == tp).map(|(_, was)| was);
            // A topic created again under the same name is another topic: the old one must be forgotten by its id.
            if let Some(was) = before
                && self.uses_topic_ids
                && was.topic_id != now.topic_id
            {
                request.forgotten.push((tp.clone(), was.topic_id));
            }
            if before != Some(now) {
                request.partitions.push((tp.clone(), *now));
            }
        }
        let rest = sent.map(|(gone, was)| (gone.clone(), was.topic_id));
        request.forgotten.extend(rest);
    }

    /// The request is accepted: its partitions are now the session's.
    fn note_changes(&mut self, request: &FetchRequest) {
        for (tp, topic_id) in &request.forgotten {
            self.sent.remove(tp);
            self.names.remove(&(*topic_id, tp.partition));
        }
        for (tp, at) in &request.partitions {
            self.sent.insert(tp.clone(), *at);
        }
    }

    fn take_error(&mut self, error: ErrorCode) -> Option<SessionOutcome> {
        match error {
            ErrorCode::NONE => None,
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND => {
                self.forget();
                Some(SessionOutcome::Restarted(error.to_string()))
            }
            ErrorCode::INVALID_FETCH_SESSION_EPOCH | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR => {
                self.start_over_at_source();
                Some(SessionOutcome::Restarted(error.to_string()))
            }
            _ => {
                self.start_over_at_source();
                Some(SessionOutcome::Refused(error))
            }
        }
    }

    /// Gives each partition its name, and checks that the answer fits what was asked: of a full request every
    /// partition and no other, of a later one no partition that isn't in the session.
    fn name_partitions(
        &self,
        raw: Vec<RawFetchedPartition>,
        by_id: bool,
        was_full: bool,
    ) -> Result<Vec<FetchedPartition>, String> {
        let mut seen = BTreeSet::new();
        let mut named = Vec::with_capacity(raw.len());
        for entry in raw {
            let key = match entry.topic {
                Some(topic) if !by_id => TopicPartition::new(topic, entry.partition),
                _ => match self.names.get(&(entry.topic_id, entry.partition)) {
                    Some(tp) => tp.clone(),
                    None => {
                        let (id, partition) = (entry.topic_id, entry.partition);
                        return Err(format!(
                            "the answer holds topic id {id}-{partition}, not asked for"
                        ));
                    }
                },
            };
            let Some(position) = self.sent.get(&key) else {
                return Err(format!("the answer holds {key}, not asked for"));
            };
            let fetch_offset: Offset = position.fetch_offset;
            if !seen.insert(key.clone()) {
                return Err(format!("the answer holds {key} twice"));
            }
            named.push(FetchedPartition {
                partition: key,
                fetch_offset,
                data: entry.data,
            });
        }
        if was_full && seen.len() != self.sent.len() {
            let missing = self.sent.len() - seen.len();
            return Err(format!(
                "the answer lacks {missing} of {} partitions",
                self.sent.len()
            ));
        }
        Ok(named)
    }

    /// The request was answered well: what does the next one say?
    fn advance(&mut self, answered_id: i32, version: i16) {
        if answered_id == NO_SESSION || version < FIRST_WITH_SESSIONS {
            // The source keeps no session (its cache is full), or has closed it, being empty.
            self.forget();
        } else if self.epoch == INITIAL_EPOCH {
            self.id = answered_id;
            self.epoch = 1;
        } else if answered_id != self.id {
            self.start_over_at_source();
        } else {
            self.epoch = if self.epoch == i32::MAX {
                1
            } else {
                self.epoch + 1
            };
        }
    }

    /// The source has no session of ours.
    fn forget(&mut self) {
        self.id = NO_SESSION;
        self.epoch = INITIAL_EPOCH;
    }

    /// The source may still have our session: the next request opens a new one in its place.
    fn start_over_at_source(&mut self) {
        self.epoch = INITIAL_EPOCH;
    }
}

#[cfg(test)]
mod tests {
    use super::super::session_model::{at, data, limits, response, tp};
    use super::*;

    fn wanted(list: &[(&str, FetchPosition)]) -> BTreeMap<TopicPartition, FetchPosition> {
        list.iter()
            .map(|(topic, position)| (tp(topic), *position))
            .collect()
    }

    fn open(session: &mut FetchSession, all: &BTreeMap<TopicPartition, FetchPosition>) {
        let request = session.next_request(all, limits());
        assert_eq!((request.session_id, request.session_epoch), (0, 0));
        let outcome = session.apply(response(9, &request));
        assert!(
            matches!(outcome, SessionOutcome::Partitions(_)),
            "{outcome:?}"
        );
    }

    #[test]
    fn only_changes_are_sent_within_a_session() {
        let mut session = FetchSession::new(17);
        open(
            &mut session,
            &wanted(&[("a", at(1, 0)), ("b", at(2, 0)), ("c", at(3, 0))]),
        );
        let next = wanted(&[("a", at(1, 0)), ("b", at(2, 7)), ("d", at(4, 0))]);
        let request = session.next_request(&next, limits());
        assert_eq!((request.session_id, request.session_epoch), (9, 1));
        assert_eq!(
            request.partitions,
            [(tp("b"), at(2, 7)), (tp("d"), at(4, 0))]
        );
        assert_eq!(request.forgotten, [(tp("c"), at(3, 0).topic_id)]);
    }

    #[test]
    fn a_topic_made_anew_is_forgotten_by_its_old_id() {
        let mut session = FetchSession::new(17);
        open(&mut session, &wanted(&[("a", at(1, 5))]));
        let request = session.next_request(&wanted(&[("a", at(2, 0))]), limits());
        assert_eq!(request.partitions, [(tp("a"), at(2, 0))]);
        assert_eq!(request.forgotten, [(tp("a"), at(1, 5).topic_id)]);
    }

    #[test]
    fn one_topic_without_an_id_turns_the_session_to_names() {
        let mut session = FetchSession::new(17);
        open(&mut session, &wanted(&[("a", at(1, 0))]));
        let mixed = wanted(&[("a", at(1, 0)), ("b", at(0, 0))]);
        let request = session.next_request(&mixed, limits());
        assert_eq!(
            (request.version, request.session_id, request.session_epoch),
            (12, 9, 0)
        );
        assert_eq!(request.partitions.len(), 2);
    }

    #[test]
    fn errors_about_the_session_lead_to_a_full_request() {
        for (code, id) in [
            (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0),
            (ErrorCode::INVALID_FETCH_SESSION_EPOCH, 9),
            (ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR, 9),
            (ErrorCode::UNKNOWN_SERVER_ERROR, 9),
        ] {
            let mut session = FetchSession::new(17);
            let all = wanted(&[("a", at(1, 0)), ("b", at(2, 0))]);
            open(&mut session, &all);
            let request = session.next_request(&all, limits());
            assert!(request.partitions.is_empty());
            let refused = FetchResponse {
                error: code,
                ..response(0, &request)
            };
            let outcome = session.apply(refused);
            assert_eq!(
                matches!(outcome, SessionOutcome::Restarted(_)),
                code != ErrorCode::UNKNOWN_SERVER_ERROR
            );
            let request = session.next_request(&all, limits());
            assert_eq!((request.session_id, request.session_epoch), (id, 0));
            assert_eq!(request.partitions.len(), 2);
        }
    }

    #[test]
    fn without_a_session_every_request_is_full() {
        let mut session = FetchSession::new(17);
        let all = wanted(&[("a", at(1, 0))]);
        for _ in 0..3 {
            let request = session.next_request(&all, limits());
            assert_eq!((request.session_id, request.session_epoch), (0, 0));
            assert_eq!(request.partitions.len(), 1);
            session.apply(response(0, &request));
        }
    }

    #[test]
    fn versions_below_sessions_ask_for_everything() {
        let mut session = FetchSession::new(5);
        let all = wanted(&[("a", at(1, 0))]);
        for _ in 0..2 {
            let request = session.next_request(&all, limits());
            assert_eq!((request.version, request.session_epoch), (5, -1));
            assert_eq!(request.partitions.len(), 1);
            assert!(matches!(
                session.apply(response(0, &request)),
                SessionOutcome::Partitions(_)
            ));
        }
    }

    #[test]
    fn answers_that_do_not_fit_are_refused() {
        let all = wanted(&[("a", at(1, 0)), ("b", at(2, 0))]);
        let mut session = FetchSession::new(17);
        let request = session.next_request(&all, limits());
        let mut lacking = response(9, &request);
        lacking.partitions.pop();
        assert!(matches!(
            session.apply(lacking),
            SessionOutcome::Restarted(_)
        ));
        let request = session.next_request(&all, limits());
        let mut twice = response(9, &request);
        twice.partitions.push(twice.partitions[0].clone());
        assert!(matches!(session.apply(twice), SessionOutcome::Restarted(_)));
        let request = session.next_request(&all, limits());
        let mut foreign = response(9, &request);
        foreign.partitions[0].topic_id = at(77, 0).topic_id;
        assert!(matches!(
            session.apply(foreign),
            SessionOutcome::Restarted(_)
        ));
        assert!(matches!(
            session.apply(response(9, &request)),
            SessionOutcome::Restarted(_)
        ));
    }

    #[test]
    fn a_throttled_full_request_is_asked_again() {
        let mut session = FetchSession::new(17);
        let all = wanted(&[("a", at(1, 0))]);
        let request = session.next_request(&all, limits());
        let mut throttled = response(0, &request);
        throttled.partitions.clear();
        throttled.throttle_time_ms = 5;
        assert_eq!(session.apply(throttled), SessionOutcome::Partitions(vec![]));
        assert_eq!(session.next_request(&all, limits()).partitions.len(), 1);
    }

    #[test]
    fn the_offset_asked_for_comes_with_the_data() {
        let mut session = FetchSession::new(12);
        let request = session.next_request(&wanted(&[("a", at(0, 42))]), limits());
        match session.apply(response(9, &request)) {
            SessionOutcome::Partitions(partitions) => {
                assert_eq!(partitions[0].fetch_offset, Offset(42));
                assert_eq!(partitions[0].data, data());
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_open_session_is_closed_once() {
        let mut session = FetchSession::new(17);
        assert_eq!(session.close_request(), None);
        open(&mut session, &wanted(&[("a", at(1, 0))]));
        let request = session.close_request().unwrap();
        assert_eq!((request.session_id, request.session_epoch), (9, -1));
        assert_eq!(session.close_request(), None);
    }
}

//! A connection for Fetch, with sessions and long polls.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, NodeId, Offset, TopicId, TopicPartition};
use parking_lot::Mutex;

use super::{FakeSource, Fault, Partition, State};
use crate::source::fetch::{
    FetchPosition, FetchRequest, FetchResponse, FetchedData, RawFetchedPartition,
};
use crate::source::{BoxFuture, FetchConnection, SourceError};
use crate::testing::batches::damaged;

/// What a session remembers of a partition: what was asked, and what was last told of it.
type Session = BTreeMap<TopicPartition, (FetchPosition, Option<(Offset, Offset)>)>;

pub(super) struct Connection {
    source: FakeSource,
    broker: NodeId,
    version: i16,
    generation: u64,
    sessions: Arc<Mutex<BTreeMap<i32, Session>>>,
    token: Arc<()>,
}

/// Counts what a fetch asks for while it is under way.
struct Asking(FakeSource, usize);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.state.lock().asked_bytes -= self.1;
    }
}

impl Connection {
    /// Gone with the connection.
    pub(super) fn token(&self) -> Weak<()> {
        Arc::downgrade(&self.token)
    }

    pub(super) fn new(source: FakeSource, broker: NodeId, version: i16, generation: u64) -> Self {
        let sessions = Arc::default();
        Self {
            source,
            broker,
            version,
            generation,
            sessions,
            token: Arc::default(),
        }
    }
}

impl FetchConnection for Connection {
    fn broker(&self) -> NodeId {
        self.broker
    }

    fn fetch_version(&self) -> i16 {
        self.version
    }

    fn round_trip(&self) -> Duration {
        let path = self.source.state.lock().path;
        path.map_or(Duration::ZERO, |path| path.round_trip)
    }

    fn is_closed(&self) -> bool {
        let state = self.source.state.lock();
        state.is_down || state.generation != self.generation
    }

    fn fetch(
        &self,
        request: FetchRequest,
    ) -> BoxFuture<'static, Result<FetchResponse, SourceError>> {
        let poll = Poll {
            source: self.source.clone(),
            broker: self.broker,
            generation: self.generation,
            sessions: Arc::clone(&self.sessions),
            request,
        };
        Box::pin(async move {
            let source = poll.source.clone();
            let Some(path) = source.state.lock().path else {
                return poll.run().await;
            };
            let bytes = usize::try_from(poll.request.limits.max_bytes).unwrap();
            source.state.lock().asked_bytes += bytes;
            let _asking = Asking(source.clone(), bytes);
            tokio::time::sleep(path.round_trip / 2).await;
            let response = poll.run().await?;
            let bytes = response.partitions.iter().map(|it| it.data.records.len());
            let sent_at = source.state.lock().sends(bytes.sum());
            tokio::time::sleep_until(sent_at + path.round_trip / 2).await;
            Ok(response)
        })
    }
}

struct Poll {
    source: FakeSource,
    broker: NodeId,
    generation: u64,
    sessions: Arc<Mutex<BTreeMap<i32, Session>>>,
    request: FetchRequest,
}

impl Poll {
    async fn run(self) -> Result<FetchResponse, SourceError> {
        let wait = Duration::from_millis(self.request.limits.max_wait_ms.into());
        let deadline = tokio::time::Instant::now() + wait;
        let mut changed = self.source.changed.subscribe();
        let (id, mut session) = match self.begin() {
            Ok(begun) => begun,
            Err(error) => return Ok(refused(error)),
        };
        loop {
            changed.borrow_and_update();
            let is_over = tokio::time::Instant::now() >= deadline;
            let response = self.look(id, &mut session, is_over);
            if let Some(response) = response? {
                if id != 0 {
                    self.sessions.lock().insert(id, session);
                }
                return Ok(response);
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// The session as the request makes it.
    fn begin(&self) -> Result<(i32, Session), ErrorCode> {
        let request = &self.request;
        let fresh = || {
            request
                .partitions
                .iter()
                .map(|(key, at)| (key.clone(), (*at, None)))
        };
        match request.session_epoch {
            -1 => Ok((0, fresh().collect())),
            0 => {
                let mut state = self.source.state.lock();
                state.next_session += 1;
                Ok((state.next_session, fresh().collect()))
            }
            _ => {
                let mut sessions = self.sessions.lock();
                let mut session = sessions
                    .remove(&request.session_id)
                    .ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
                for (key, _) in &request.forgotten {
                    session.remove(key);
                }
                for (key, at) in &request.partitions {
                    let told = session.get(key).and_then(|(_, told)| *told);
                    session.insert(key.clone(), (*at, told));
                }
                Ok((request.session_id, session))
            }
        }
    }

    /// An answer, if there is something to say.
    fn look(
        &self,
        id: i32,
        session: &mut Session,
        is_over: bool,
    ) -> Result<Option<FetchResponse>, SourceError> {
        let mut state = self.source.state.lock();
        let is_lost = state.is_down || state.lost.contains(&self.broker);
        if is_lost || state.generation != self.generation {
            let (peer, detail) = ("fake:9092".into(), "reset".into());
            return Err(SourceError::Closed { peer, detail });
        }
        let is_full = self.request.session_epoch <= 0;
        let max_bytes = session.values().next().map(|(at, _)| at.max_bytes);
        state.asked.limits = Some((self.request.limits, max_bytes));
        let mut left = usize::try_from(self.request.limits.max_bytes).unwrap();
        let mut bytes = 0;
        let mut has_news = false;
        let mut partitions = Vec::new();
        for (key, (at, told)) in session.iter_mut() {
            let data = self.read(&mut state, key, at, left, bytes == 0);
            left = left.saturating_sub(data.records.len());
            bytes += data.records.len();
            let is_refused = data.error != ErrorCode::NONE
                || data.diverging_epoch.is_some()
                || data.preferred_read_replica.is_some();
            let now = (data.high_watermark, data.log_start_offset);
            let is_news = is_refused || *told != Some(now);
            has_news |= is_refused;
            if is_full || is_news || !data.records.is_empty() {
                partitions.push((key.clone(), at.topic_id, now, data));
            }
        }
        let enough = bytes
            >= usize::try_from(self.request.limits.min_bytes)
                .unwrap()
                .max(1);
        if !(enough || has_news || is_over || is_full && session.is_empty()) {
            return Ok(None);
        }
        for (key, _, now, _) in &partitions {
            if let Some((_, told)) = session.get_mut(key) {
                *told = Some(*now);
            }
        }
        state.fetches += 1;
        let named = |(key, topic_id, _, data): (TopicPartition, TopicId, _, FetchedData)| {
            RawFetchedPartition {
                topic: (self.request.version < 13).then_some(key.topic),
                topic_id: if self.request.version < 13 {
                    TopicId::ZERO
                } else {
                    topic_id
                },
                partition: key.partition,
                data,
            }
        };
        Ok(Some(FetchResponse {
            error: ErrorCode::NONE,
            session_id: id,
            throttle_time_ms: state.throttle_ms,
            partitions: partitions.into_iter().map(named).collect(),
            endpoints: Vec::new(),
        }))
    }

    fn read(
        &self,
        state: &mut State,
        key: &TopicPartition,
        at: &FetchPosition,
        left: usize,
        is_first: bool,
    ) -> FetchedData {
        let version = self.request.version;
        let known = state.topics.get(&key.topic).map(|topic| topic.id);
        if version >= 13 && known != Some(at.topic_id) {
            return failed(ErrorCode::UNKNOWN_TOPIC_ID);
        }
        let nearby = self.nearby(state);
        let Some(log) = state.partition(key) else {
            return failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let is_leader = log.leader == Some(self.broker);
        if !is_leader && (version < 11 || self.request.rack.is_empty()) {
            return failed(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if let Some(replica) = nearby.filter(|replica| is_leader && *replica != self.broker) {
            return FetchedData {
                preferred_read_replica: Some(replica),
                ..answer(log)
            };
        }
        let held = log.followers_end.filter(|_| !is_leader);
        if held.is_some_and(|end| at.fetch_offset > end) {
            return failed(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if let Some(error) = log.fences(at.current_leader_epoch) {
            return failed(error);
        }
        if version >= 12 && at.last_fetched_epoch != LeaderEpoch::NONE {
            match log.epoch_end(at.last_fetched_epoch) {
                None => return failed(ErrorCode::OFFSET_OUT_OF_RANGE),
                Some((epoch, end)) if end < at.fetch_offset || epoch < at.last_fetched_epoch => {
                    return FetchedData {
                        diverging_epoch: Some((epoch, end)),
                        ..answer(log)
                    };
                }
                Some(_) => {}
            }
        }
        if at.fetch_offset < log.start || at.fetch_offset > log.end {
            return failed(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let mut records = records(log, at, left, is_first);
        if held.is_some_and(|end| at.fetch_offset == end) {
            records = Bytes::new();
        }
        let served = records.len();
        let data = with_fault(log, records);
        *state.served_bytes.entry(self.broker).or_default() += served;
        data
    }

    /// Another broker that stands where the asker does.
    fn nearby(&self, state: &State) -> Option<NodeId> {
        let rack = Some(&*self.request.rack).filter(|rack| !rack.is_empty())?;
        let stands_there = |id: &NodeId| state.racks.get(id).is_some_and(|it| it == rack);
        if stands_there(&self.broker) {
            return None;
        }
        state.brokers.iter().copied().find(stands_there)
    }
}

/// Whole batches, the first one whatever its size if nobody had any yet.
fn records(log: &Partition, at: &FetchPosition, left: usize, is_first: bool) -> Bytes {
    let limit = left.min(usize::try_from(at.max_bytes).unwrap());
    let mut run = Vec::new();
    for (base, next, _, bytes) in &log.batches {
        if *next <= at.fetch_offset {
            continue;
        }
        let is_allowed = run.len() + bytes.len() <= limit || (run.is_empty() && is_first);
        if !is_allowed {
            // Kafka cuts the last batch; never the first.
            if !run.is_empty() {
                run.extend_from_slice(&bytes[..limit.saturating_sub(run.len())]);
            }
            break;
        }
        let is_damaged = log
            .is_damaged_at
            .is_some_and(|at| *base <= at && at < *next);
        run.extend_from_slice(&if is_damaged {
            damaged(bytes)
        } else {
            bytes.clone()
        });
    }
    run.into()
}

/// The next fault that was asked for, once there is something to be wrong about.
fn with_fault(log: &mut Partition, records: Bytes) -> FetchedData {
    let is_error = matches!(
        log.faults.front(),
        Some(Fault::Error(_) | Fault::Instead(_))
    );
    let fault = if is_error || !records.is_empty() {
        log.faults.pop_front()
    } else {
        None
    };
    let records = match fault {
        None => records,
        Some(Fault::Error(error)) => return failed(error),
        Some(Fault::Damaged) => damaged(&records),
        Some(Fault::Short(bytes)) => records.slice(..records.len().saturating_sub(bytes)),
        Some(Fault::Instead(bytes)) => bytes,
    };
    FetchedData {
        records,
        ..answer(log)
    }
}

fn answer(log: &Partition) -> FetchedData {
    FetchedData {
        high_watermark: log.end,
        last_stable_offset: log.end,
        log_start_offset: log.start,
        ..failed(ErrorCode::NONE)
    }
}

fn failed(error: ErrorCode) -> FetchedData {
    FetchedData {
        error,
        high_watermark: Offset::NONE,
        last_stable_offset: Offset::NONE,
        log_start_offset: Offset::NONE,
        diverging_epoch: None,
        current_leader: None,
        preferred_read_replica: None,
        records: Bytes::new(),
    }
}

fn refused(error: ErrorCode) -> FetchResponse {
    FetchResponse {
        error,
        session_id: 0,
        throttle_time_ms: 0,
        partitions: Vec::new(),
        endpoints: Vec::new(),
    }
}

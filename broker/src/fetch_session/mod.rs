//! Fetch sessions (KIP-227): a client names its partitions once, then sends and receives only
//! changes.
//!
//! Invariants: a session's epoch counts its requests, so that a lost answer is noticed; partitions
//! that had data go to the end of the line, so that one busy partition starves none. Lock order:
//! all sessions → one session. When all slots are taken, one that has been silent for two minutes
//! is removed; otherwise, one that is older than that and has fewer partitions than the new one
//! (`FetchSessionCacheShard` in Kafka). There are no followers, whose sessions would be privileged.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::config::Values;

/// A session that was silent this long may go when a new one needs its slot; one that was used for
/// this long may go for a larger one (`MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);

/// Partitions of one session, at most; a client with more gets none.
const SESSION_PARTITIONS_MAX: usize = 100_000;

/// Epoch of a request that opens a session.
const INITIAL_EPOCH: i32 = 0;

/// Epoch of a request that wants no session.
const FINAL_EPOCH: i32 = -1;

/// A partition as the wire names it: by id from v13 on, by name before.
pub(crate) type Key = (Uuid, TopicName, i32);

/// What is wanted of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
}

/// Why a session can't continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionError {
    /// There is no session with that id, or no room for what the request adds to it.
    NotFound,
    /// The request is not the one that follows: an answer was lost, or a request came twice.
    Epoch,
    /// Its topics were named by id and now are by name, or the other way round.
    OtherNaming,
}

/// All fetch sessions.
pub struct Sessions {
    slots: usize,
    room: Arc<Room>,
    by_id: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
}

/// Partitions that all sessions may have together, and how many they have.
struct Room {
    max: usize,
    used: AtomicUsize,
}

/// One session's share of the [`Room`]; released on drop.
struct Share {
    room: Arc<Room>,
    taken: usize,
}

pub(crate) struct Session {
    id: i32,
    /// The epoch that the next request must have.
    epoch: i32,
    uses_topic_ids: bool,
    created: Instant,
    last_used: Instant,
    /// Partitions in the order in which they are read.
    line: BTreeMap<u64, Cached>,
    places: HashMap<Key, u64>,
    next_place: u64,
    /// One for each partition in the line.
    share: Share,
}

struct Cached {
    wanted: Wanted,
    /// What the client was last sent; -1 after an error, so that the end is sent again.
    high_watermark: i64,
    log_start: i64,
}

/// What was read of each partition, in order.
pub(crate) type Answers = Vec<(Wanted, PartitionData)>;

/// What is sent.
pub(crate) struct Answer {
    pub(crate) error: Option<SessionError>,
    pub(crate) session_id: i32,
    pub(crate) partitions: Answers,
}

/// How a request relates to sessions.
pub(crate) enum Scope {
    /// None is wanted.
    Sessionless,
    /// A session should be opened with the answer, for all partitions of the request.
    Opening,
    /// An existing session continues; the answer belongs to this epoch.
    Open(Arc<Mutex<Session>>, i32),
}

impl Sessions {
    /// Room for as many sessions, and partitions in all of them, as the broker's properties say.
    pub fn of(values: &Values) -> Self {
        Self::new(
            values.size("max.incremental.fetch.session.cache.slots"),
            values.size("max.incremental.fetch.session.cache.partitions"),
        )
    }

    /// Room for `slots` sessions, which may have `partitions` together.
    fn new(slots: usize, partitions: usize) -> Self {
        let room = Room {
            max: partitions,
            used: AtomicUsize::new(0),
        };
        Self {
            slots,
            room: Arc::new(room),
            by_id: Mutex::default(),
        }
    }

    /// Takes a request: what to read, and how to answer.
    pub(crate) fn begin(
        &self,
        version: i16,
        request: &FetchRequest,
    ) -> Result<(Scope, Vec<Wanted>), SessionError> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.by_id.lock().remove(&id);
            let scope = if epoch == FINAL_EPOCH {
                Scope::Sessionless
            } else {
                Scope::Opening
            };
            return Ok((scope, wanted_once(request)));
        }
        let found = self.by_id.lock().get(&id).cloned();
        let session = found.ok_or(SessionError::NotFound)?;
        let mut open = session.lock();
        if open.epoch != epoch {
            return Err(SessionError::Epoch);
        }
        if open.uses_topic_ids != (version >= 13) {
            return Err(SessionError::OtherNaming);
        }
        if !open.update(request) {
            // Its client starts a new session, or fetches without one if there is no room.
            drop(open);
            self.by_id.lock().remove(&id);
            return Err(SessionError::NotFound);
        }
        if open.line.is_empty() {
            drop(open);
            self.by_id.lock().remove(&id);
            return Ok((Scope::Sessionless, Vec::new()));
        }
        open.epoch = next_epoch(epoch);
        open.last_used = Instant::now();
        let epoch = open.epoch;
        let all = open
            .line
            .values()
            .map(|cached| cached.wanted.clone())
            .collect();
        drop(open);
        Ok((Scope::Open(session, epoch), all))
    }

    /// The error, the session id and the partitions that an answer carries, when all of a request's
    /// partitions were read as `answers` say.
    pub(crate) fn answer(&self, version: i16, scope: &Scope, answers: Answers) -> Answer {
        let answer = |session_id, partitions| Answer {
            error: None,
            session_id,
            partitions,
        };
        match scope {
            Scope::Sessionless => answer(0, answers),
            Scope::Opening if version >= 7 => answer(self.open(version, &answers), answers),
            Scope::Opening => answer(0, answers),
            Scope::Open(session, epoch) => session.lock().answer(*epoch, answers),
        }
    }

    /// The error and the session id of an answer without data, sent because the client is
    /// throttled.
    pub(crate) fn empty_answer(&self, scope: &Scope) -> (Option<SessionError>, i32) {
        match scope {
            Scope::Sessionless | Scope::Opening => (None, 0),
            Scope::Open(session, epoch) => {
                let session = session.lock();
                match session.epoch == *epoch {
                    true => (None, session.id),
                    false => (Some(SessionError::Epoch), session.id),
                }
            }
        }
    }

    /// Opens a session for what was just answered; 0 when there is no room.
    fn open(&self, version: i16, answered: &[(Wanted, PartitionData)]) -> i32 {
        if answered.is_empty() || answered.len() > SESSION_PARTITIONS_MAX {
            return 0;
        }
        let mut by_id = self.by_id.lock();
        let now = Instant::now();
        if by_id.len() >= self.slots && !evict(&mut by_id, answered.len(), now) {
            return 0;
        }
        let id = loop {
            let id = rand::random_range(1..=i32::MAX);
            if !by_id.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session {
            id,
            epoch: next_epoch(INITIAL_EPOCH),
            uses_topic_ids: version >= 13,
            created: now,
            last_used: now,
            line: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            share: Share {
                room: Arc::clone(&self.room),
                taken: 0,
            },
        };
        for (wanted, data) in answered {
            if !session.want(wanted.clone()) {
                return 0;
            }
            session.is_news(&wanted.key, data);
        }
        by_id.insert(id, Arc::new(Mutex::new(session)));
        id
    }
}

/// Frees a slot for a session of this many partitions, if one may be removed.
fn evict(by_id: &mut HashMap<i32, Arc<Mutex<Session>>>, partitions: usize, now: Instant) -> bool {
    let mut stalest: Option<(Instant, i32)> = None;
    let mut smallest: Option<(usize, i32)> = None;
    for session in by_id.values() {
        let session = session.lock();
        let (last_used, size) = (session.last_used, session.line.len());
        let by_use = (last_used, session.id);
        stalest = Some(stalest.map_or(by_use, |other| other.min(by_use)));
        if last_used.duration_since(session.created) > EVICTABLE_AFTER {
            let by_size = (size, session.id);
            smallest = Some(smallest.map_or(by_size, |other| other.min(by_size)));
        }
    }
    let stale = stalest.filter(|(used, _)| now.duration_since(*used) > EVICTABLE_AFTER);
    let small = smallest.filter(|(size, _)| *size < partitions);
    let goes = stale.map(|(_, id)| id).or(small.map(|(_, id)| id));
    goes.is_some_and(|id| by_id.remove(&id).is_some())
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

fn wanted(request: &FetchRequest) -> impl Iterator<Item = Wanted> {
    request.topics.iter().flat_map(|topic| {
        // Copied: a slice would keep the whole frame in memory while the session lives.
        let name = TopicName(StrBytes::from_string(topic.topic.to_string()));
        topic.partitions.iter().map(move |partition| Wanted {
            key: (topic.topic_id, name.clone(), partition.partition),
            offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
        })
    })
}

/// What a full request wants. A partition that is named twice is wanted once, as it was named
/// last, as in Kafka: a short request must not get an answer without bounds.
fn wanted_once(request: &FetchRequest) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    let mut places = HashMap::new();
    for wanted in wanted(request) {
        match places.entry(wanted.key.clone()) {
            Entry::Occupied(place) => all[*place.get()] = wanted,
            Entry::Vacant(place) => {
                place.insert(all.len());
                all.push(wanted);
            }
        }
    }
    all
}

impl Share {
    /// Takes room for one more, if there is any.
    fn take(&mut self) -> bool {
        let one_more = |used| (used < self.room.max).then_some(used + 1);
        let used = &self.room.used;
        let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        self.taken += usize::from(taken.is_ok());
        taken.is_ok()
    }

    fn give_back(&mut self, count: usize) {
        self.taken -= count;
        self.room.used.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.taken);
    }
}

impl Session {
    /// Answers the request that made the epoch `epoch`, unless a newer one has arrived since.
    fn answer(&mut self, epoch: i32, mut answers: Answers) -> Answer {
        let error = if self.epoch == epoch {
            answers.retain(|(wanted, data)| self.is_news(&wanted.key, data));
            None
        } else {
            answers.clear();
            Some(SessionError::Epoch)
        };
        Answer {
            error,
            session_id: self.id,
            partitions: answers,
        }
    }

    /// False if there is no room for the addition; then the session can't be used any more.
    fn update(&mut self, request: &FetchRequest) -> bool {
        for wanted in wanted(request) {
            if !self.want(wanted) {
                return false;
            }
        }
        for topic in &request.forgotten_topics_data {
            for partition in &topic.partitions {
                let key = (topic.topic_id, topic.topic.clone(), *partition);
                if let Some(place) = self.places.remove(&key) {
                    self.line.remove(&place);
                    self.share.give_back(1);
                }
            }
        }
        true
    }

    /// False if there is no room for one more.
    fn want(&mut self, wanted: Wanted) -> bool {
        if let Some(cached) = self.cached(&wanted.key) {
            cached.wanted = wanted;
        } else if self.line.len() < SESSION_PARTITIONS_MAX && self.share.take() {
            self.append(Cached {
                wanted,
                high_watermark: -1,
                log_start: -1,
            });
        } else {
            return false;
        }
        true
    }

    fn append(&mut self, cached: Cached) {
        self.places
            .insert(cached.wanted.key.clone(), self.next_place);
        self.line.insert(self.next_place, cached);
        self.next_place += 1;
    }

    fn cached(&mut self, key: &Key) -> Option<&mut Cached> {
        self.line.get_mut(self.places.get(key)?)
    }

    /// Whether the client must be told, and notes that it was.
    fn is_news(&mut self, key: &Key, data: &PartitionData) -> bool {
        let Some(cached) = self.cached(key) else {
            // Forgotten meanwhile.
            return false;
        };
        let has_data = data
            .records
            .as_ref()
            .is_some_and(|records| !records.is_empty());
        let failed = data.error_code != 0;
        let news = has_data
            || failed
            || cached.high_watermark != data.high_watermark
            || cached.log_start != data.log_start_offset
            || data.diverging_epoch.epoch != -1;
        cached.high_watermark = if failed { -1 } else { data.high_watermark };
        cached.log_start = data.log_start_offset;
        if has_data {
            self.move_to_end(key);
        }
        news
    }

    fn move_to_end(&mut self, key: &Key) {
        let place = self.places.get(key).copied();
        if let Some(cached) = place.and_then(|place| self.line.remove(&place)) {
            self.append(cached);
        }
    }
}

#[cfg(test)]
mod tests;

//! Opening every topic's logs at start, on several threads.
//!
//! A log that cannot be opened takes its partition offline ([`Partition::offline`]); the others are
//! served. So does a missing folder: it was on disk before the metadata named its topic, so somebody has
//! removed it, and an empty log in its place would hide the loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use carrick_link::naming::some_of;
use carrick_protocol::ids::{LeaderEpoch, TopicPartition};
use parking_lot::Mutex;

use super::{Hosted, Opening, Partition};
use crate::clock;
use crate::starting::Starting;
use crate::topic::{Topic, TopicState, Topics};

/// What opening the logs found, in all.
#[derive(Default)]
struct Tally {
    partitions: AtomicUsize,
    offline: AtomicUsize,
    unclean: AtomicUsize,
    scanned_bytes: AtomicU64,
    cut_bytes: AtomicU64,
}

impl Hosted {
    /// Opens the partitions of every topic. Blocks. False if `starting` was cancelled: then not all
    /// of them are open.
    ///
    /// A partition whose log was not closed cleanly may have lost unflushed records: its leader
    /// epoch is raised, so that consumers notice (KIP-320).
    pub fn open(&self, topics: &Topics, threads: usize, starting: &Starting) -> bool {
        let started = Instant::now();
        let topics = topics.list();
        let tally = Tally::default();
        let opened = self.open_all(&topics, &tally, threads, starting);
        for (topic, partitions) in topics.iter().zip(opened) {
            self.show(topic.id(), topic.name(), partitions);
        }
        if starting.is_given_up() {
            tracing::info!("the start was cancelled at: {starting}");
            return false;
        }
        self.warn_of_strays();
        tracing::info!(
            topics = topics.len(),
            partitions = tally.partitions.into_inner(),
            offline = tally.offline.into_inner(),
            not_closed_cleanly = tally.unclean.into_inner(),
            scanned_bytes = tally.scanned_bytes.into_inner(),
            cut_bytes = tally.cut_bytes.into_inner(),
            took_ms = started.elapsed().as_millis(),
            "logs opened"
        );
        true
    }

    /// The partitions of each topic, in any order; not all of them if the start is cancelled.
    fn open_all(
        &self,
        topics: &[Arc<Topic>],
        tally: &Tally,
        threads: usize,
        starting: &Starting,
    ) -> Vec<Vec<Arc<Partition>>> {
        let states: Vec<_> = topics.iter().map(|topic| topic.state()).collect();
        let numbered = states.iter().enumerate();
        let work: Vec<_> = numbered
            .flat_map(|(t, state)| (0..state.leader_epochs.len()).map(move |p| (t, p)))
            .collect();
        starting.step("opening logs", work.len());
        let next = AtomicUsize::new(0);
        let opened = Mutex::new(topics.iter().map(|_| Vec::new()).collect::<Vec<_>>());
        let open_some = || {
            while let Some(&(at, number)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                if starting.is_given_up() {
                    return;
                }
                let partition = self.open_stored(&topics[at], &states[at], number, tally);
                opened.lock()[at].push(partition);
                starting.one_done();
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.max(1).min(work.len()) {
                scope.spawn(open_some);
            }
            open_some();
        });
        opened.into_inner()
    }

    fn open_stored(
        &self,
        topic: &Topic,
        state: &TopicState,
        number: usize,
        tally: &Tally,
    ) -> Arc<Partition> {
        let id = TopicPartition::new(
            topic.name().clone(),
            i32::try_from(number).unwrap_or(i32::MAX),
        );
        let dir = self.data_dir.partition_dir(&id);
        let stored = state.leader_epochs.get(number);
        let opening = || Opening {
            id: id.clone(),
            dir: &dir,
            config: Arc::clone(&state.config),
            leader_epoch: stored.copied().unwrap_or(LeaderEpoch(0)),
            is_mirror: state.is_mirror,
            flusher: Arc::clone(&self.flusher),
            now_ms: clock::now_ms(),
        };
        tally.partitions.fetch_add(1, Ordering::Relaxed);
        let opened = match dir.is_dir() {
            true => Partition::open(opening()).map_err(|error| error.to_string()),
            false => Err("its folder is missing".to_owned()),
        };
        let (partition, recovered) = match opened {
            Ok(opened) => opened,
            Err(reason) => {
                tally.offline.fetch_add(1, Ordering::Relaxed);
                let dir = dir.display();
                tracing::error!(partition = %id, %dir, reason, "offline: the log cannot be opened");
                return Partition::offline(opening(), &reason);
            }
        };
        if !recovered.clean {
            tally.unclean.fetch_add(1, Ordering::Relaxed);
            tally
                .scanned_bytes
                .fetch_add(recovered.scanned_bytes, Ordering::Relaxed);
            tally
                .cut_bytes
                .fetch_add(recovered.cut_bytes, Ordering::Relaxed);
            if !state.is_mirror {
                partition.raise_leader_epoch(partition.leader_epoch().next());
            }
        }
        partition
    }

    /// Folders without a topic: of a creation that was cut off before it was persisted. They are
    /// left alone until a topic of that name is created.
    fn warn_of_strays(&self) {
        let folders = match self.data_dir.partitions() {
            Ok(folders) => folders,
            Err(error) => return tracing::warn!(%error, "the data folder can't be listed"),
        };
        let is_known = |id: &TopicPartition| self.named(&id.topic, id.partition).is_some();
        let strays: Vec<_> = folders.iter().filter(|id| !is_known(id)).collect();
        if !strays.is_empty() {
            let (count, names) = (strays.len(), some_of(strays));
            tracing::warn!(
                count,
                names,
                "folders that belong to no topic are left unchanged"
            );
        }
    }
}

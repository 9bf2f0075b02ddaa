//! Opening every topic's logs at start, on several threads.
//!
//! A log that cannot be opened takes its partition offline ([`Partition::offline`]); the others are
//! served. So does a missing folder: it was on disk before RocksDB named its topic, so somebody has
//! removed it, and an empty log in its place would hide the loss.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use carrick_link::naming::some_of;
use carrick_protocol::ids::{TopicName, TopicPartition};
use carrick_storage::disk::DataDir;
use carrick_storage::flush::Flusher;
use parking_lot::Mutex;

use super::{Catalog, Topic, TopicConfig, TopicError};
use crate::clock;
use crate::config::Properties;
use crate::metadata::{Metadata, Transaction};
use crate::partition::{Opening, Partition, PartitionConfig};
use crate::records::topic::{TopicKeyspace, TopicRecord};
use crate::records::topic_config::TopicConfigKeyspace;
use crate::starting::Starting;

/// A topic as stored.
struct Stored {
    name: TopicName,
    record: TopicRecord,
    overrides: BTreeMap<String, String>,
    config: Arc<TopicConfig>,
}

/// Threads that close logs: each waits for the disk most of the time.
const CLOSE_THREADS: usize = 16;

/// What opening the logs found, in all.
#[derive(Default)]
struct Tally {
    partitions: AtomicUsize,
    offline: AtomicUsize,
    unclean: AtomicUsize,
    scanned_bytes: AtomicU64,
    cut_bytes: AtomicU64,
}

/// Takes the leader epochs of the partitions that were opened into their topic's record; whether
/// that changed it.
fn take_over_epochs(record: &mut TopicRecord, partitions: &[Arc<Partition>]) -> bool {
    let mut has_changed = false;
    for partition in partitions {
        let number = usize::try_from(partition.id().partition);
        let stored = number.ok().and_then(|at| record.leader_epochs.get_mut(at));
        if let Some(stored) = stored
            && *stored != partition.leader_epoch()
        {
            *stored = partition.leader_epoch();
            has_changed = true;
        }
    }
    has_changed
}

impl Catalog {
    /// Opens every topic that RocksDB names. Blocks. `None` if `starting` was cancelled: logs that
    /// were open by then are closed cleanly, so that the next start continues from there.
    ///
    /// A partition whose log was not closed cleanly may have lost unflushed records: its leader
    /// epoch is raised, so that consumers notice (KIP-320).
    ///
    /// # Errors
    /// A record that can't be read.
    pub fn open(
        config: PartitionConfig,
        properties: Arc<Properties>,
        metadata: Metadata,
        data_dir: Arc<DataDir>,
        flusher: Arc<Flusher>,
        starting: &Starting,
    ) -> Result<Option<Self>, TopicError> {
        let started = Instant::now();
        let catalog = Catalog::empty(properties, metadata, data_dir, flusher);
        catalog.finish_removals()?;
        let stored = catalog.stored()?;
        let tally = Tally::default();
        let opened = catalog.open_all(&stored, &tally, config.recovery_threads, starting);
        let mut epochs = Transaction::new();
        for (topic, mut partitions) in stored.into_iter().zip(opened) {
            partitions.sort_by_key(|partition| partition.id().partition);
            let Stored {
                name,
                mut record,
                overrides,
                config,
            } = topic;
            if !record.is_mirror && take_over_epochs(&mut record, &partitions) {
                epochs.put::<TopicKeyspace>(&name, &record);
            }
            let topic = Topic::new(
                name,
                record.id,
                partitions,
                overrides,
                config,
                record.is_mirror,
            );
            catalog.topics.write().insert(Arc::new(topic));
        }
        catalog.images.put(catalog.list().iter());
        catalog.metadata.commit(epochs)?;
        if starting.is_given_up() {
            tracing::info!("the start was cancelled at: {starting}");
            catalog.close();
            return Ok(None);
        }
        catalog.warn_of_strays();
        tracing::info!(
            topics = catalog.topics.read().len(),
            partitions = tally.partitions.into_inner(),
            offline = tally.offline.into_inner(),
            not_closed_cleanly = tally.unclean.into_inner(),
            scanned_bytes = tally.scanned_bytes.into_inner(),
            cut_bytes = tally.cut_bytes.into_inner(),
            took_ms = started.elapsed().as_millis(),
            "logs opened"
        );
        Ok(Some(catalog))
    }

    fn stored(&self) -> Result<Vec<Stored>, TopicError> {
        let mut configs: BTreeMap<_, _> = self
            .metadata
            .scan::<TopicConfigKeyspace>()?
            .into_iter()
            .collect();
        let records = self.metadata.scan::<TopicKeyspace>()?;
        let values = self.properties.values();
        let stored = records.into_iter().map(|(name, record)| {
            let overrides = configs.remove(&name).unwrap_or_default();
            let config = Arc::new(TopicConfig::resolve(&overrides, &values));
            Stored {
                name,
                record,
                overrides,
                config,
            }
        });
        Ok(stored.collect())
    }

    /// The partitions of each stored topic, in any order; not all of them if the start is
    /// cancelled.
    fn open_all(
        &self,
        stored: &[Stored],
        tally: &Tally,
        threads: usize,
        starting: &Starting,
    ) -> Vec<Vec<Arc<Partition>>> {
        let work: Vec<_> = stored
            .iter()
            .enumerate()
            .flat_map(|(t, topic)| (0..topic.record.leader_epochs.len()).map(move |p| (t, p)))
            .collect();
        starting.step("opening logs", work.len());
        let next = AtomicUsize::new(0);
        let opened = Mutex::new(stored.iter().map(|_| Vec::new()).collect::<Vec<_>>());
        let open_some = || {
            while let Some(&(topic, number)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                if starting.is_given_up() {
                    return;
                }
                let partition = self.open_stored(&stored[topic], number, tally);
                opened.lock()[topic].push(partition);
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

    fn open_stored(&self, topic: &Stored, number: usize, tally: &Tally) -> Arc<Partition> {
        let id = TopicPartition::new(
            topic.name.clone(),
            i32::try_from(number).unwrap_or(i32::MAX),
        );
        let dir = self.data_dir.partition_dir(&id);
        let opening = || Opening {
            id: id.clone(),
            dir: &dir,
            config: Arc::clone(&topic.config),
            leader_epoch: topic.record.leader_epochs[number],
            is_mirror: topic.record.is_mirror,
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
            if !topic.record.is_mirror {
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
        let is_known = |id: &TopicPartition| {
            self.topic(&id.topic)
                .is_some_and(|topic| topic.partition(id.partition).is_some())
        };
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

    /// Closes every log cleanly, on several threads. Blocks.
    pub fn close(&self) {
        let partitions: Vec<_> = self
            .list()
            .iter()
            .flat_map(|topic| topic.partitions().to_vec())
            .collect();
        let next = AtomicUsize::new(0);
        let close_some = || {
            while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = partition.close() {
                    tracing::error!(partition = %partition.id(), %error, "not closed cleanly");
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..CLOSE_THREADS.min(partitions.len()) {
                scope.spawn(close_some);
            }
            close_some();
        });
    }
}

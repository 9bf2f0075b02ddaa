//! The cleaners: they repeatedly compact the dirtiest partition that is due (Kafka's `LogCleaner`
//! and `LogCleanerManager`).
//!
//! Invariants: a partition is cleaned by one cleaner at a time. A partition whose cleaning failed
//! is skipped until the broker is restarted, unless only space was missing. Each partition itself
//! knows which cleaner has it, so that knowledge disappears with the partition. All cleaners share
//! one limit of bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use carrick_storage::log::{CleanError, CleanLimits};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock;
use crate::config::{Properties, Values};
use crate::partition::{Hosted, Partition, ProblemKind};

/// How long a cleaner that is held back waits before it looks whether to stop.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// More cleaners than this help no disk.
const CLEANERS_MAX: usize = 64;

/// `log.cleaner.*`.
#[derive(Debug, Clone)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`
    pub enable: bool,
    /// `log.cleaner.threads`
    pub threads: usize,
    /// `log.cleaner.backoff.ms`
    pub backoff_ms: u64,
    /// `log.cleaner.io.max.bytes.per.second`
    pub max_bytes_per_second: f64,
    /// Memory of one cleaner: its part of `log.cleaner.dedupe.buffer.size`.
    pub limits: CleanLimits,
}

impl CleanerConfig {
    /// As the broker's properties say.
    pub fn of(values: &Values) -> Self {
        let threads = values.size("log.cleaner.threads").clamp(1, CLEANERS_MAX);
        Self {
            enable: values.boolean("log.cleaner.enable"),
            threads,
            backoff_ms: values.millis("log.cleaner.backoff.ms"),
            max_bytes_per_second: values.double("log.cleaner.io.max.bytes.per.second"),
            limits: CleanLimits {
                map_bytes: values.size("log.cleaner.dedupe.buffer.size") / threads,
                load_factor: values.double("log.cleaner.io.buffer.load.factor"),
            },
        }
    }
}

/// What the cleaners share.
#[derive(Debug)]
struct Cleaners {
    /// One cleaner looks for work at a time.
    choosing: Mutex<()>,
    /// When the bytes counted so far are paid for.
    paid_until: Mutex<Instant>,
}

/// Starts the cleaners. They hold the partitions only while they work, and end when `stop` turns
/// true.
pub fn start(
    config: &CleanerConfig,
    hosted: &Arc<Hosted>,
    properties: &Arc<Properties>,
    stop: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let threads = if config.enable { config.threads } else { 0 };
    let cleaners = Arc::new(Cleaners {
        choosing: Mutex::default(),
        paid_until: Mutex::new(Instant::now()),
    });
    let clean = |_| {
        let (cleaners, mut stopping) = (Arc::clone(&cleaners), stop.clone());
        let (hosted, properties) = (Arc::downgrade(hosted), Arc::clone(properties));
        tokio::spawn(async move {
            while !*stopping.borrow() {
                let Some(hosted) = hosted.upgrade() else {
                    return;
                };
                let (cleaners, stop) = (Arc::clone(&cleaners), stopping.clone());
                // But for their number, all of it may change while the broker runs.
                let config = CleanerConfig::of(&properties.values());
                let backoff = Duration::from_millis(config.backoff_ms);
                let round = tokio::task::spawn_blocking(move || {
                    cleaners.clean_dirtiest(&hosted, &config, &stop)
                });
                let cleaned = round.await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a cleaner failed");
                    false
                });
                if !cleaned {
                    let stop = stopping.wait_for(|stop| *stop);
                    // Either is a reason to look again.
                    let _ = tokio::time::timeout(backoff, stop).await;
                }
            }
        })
    };
    (0..threads).map(clean).collect()
}

impl Cleaners {
    /// Cleans one partition; false when none is due.
    fn clean_dirtiest(
        &self,
        hosted: &Hosted,
        config: &CleanerConfig,
        stop: &watch::Receiver<bool>,
    ) -> bool {
        let Some(partition) = self.take_dirtiest(hosted) else {
            return false;
        };
        let id = partition.id().clone();
        let started = Instant::now();
        let stop = || *stop.borrow() || partition.is_closed();
        let mut pace = |bytes| self.pace(bytes, config.max_bytes_per_second, stop);
        let cleaned = partition.compact(clock::now_ms(), config.limits, &mut pace);
        let ms = started.elapsed().as_millis();
        let is_cleaned = match cleaned {
            Ok(stats) => {
                tracing::info!(partition = %id, ?stats, ms, "compacted");
                partition.problem_over(ProblemKind::Compaction);
                metrics::counter!("carrick_compacted_bytes_total").increment(stats.bytes_read);
                true
            }
            Err(CleanError::Stopped) => {
                tracing::debug!(partition = %id, "compaction stopped");
                false
            }
            // Its folder was moved away already.
            Err(CleanError::Log(error)) if partition.is_closed() => {
                tracing::debug!(partition = %id, %error, "compaction stopped: the partition no \
                     longer exists");
                false
            }
            Err(CleanError::Log(error)) if error.passes() => {
                let detail = format!("it waits: {error}");
                partition.note_problem(ProblemKind::Compaction, detail, false);
                false
            }
            Err(CleanError::Log(error)) => {
                tracing::error!(partition = %id, %error, "not compacted until the next start");
                let detail = format!("not until the next start: {error}");
                partition.note_problem(ProblemKind::Compaction, detail, true);
                return true;
            }
        };
        partition.take_from_cleaner();
        is_cleaned
    }

    fn take_dirtiest(&self, hosted: &Hosted) -> Option<Arc<Partition>> {
        let now_ms = clock::now_ms();
        let _one_at_a_time = self.choosing.lock();
        let mut dirtiest: Option<(f64, Arc<Partition>)> = None;
        for partition in hosted.all() {
            if partition.is_with_cleaner() {
                continue;
            }
            let ratio = match partition.cleanable(now_ms) {
                Ok(Some(cleanable)) => cleanable.ratio(),
                Ok(None) => continue,
                Err(error) => {
                    let detail = format!("it can't be inspected: {error}");
                    partition.note_problem(ProblemKind::Compaction, detail, false);
                    continue;
                }
            };
            if dirtiest.as_ref().is_none_or(|(most, _)| ratio > *most) {
                dirtiest = Some((ratio, Arc::clone(&partition)));
            }
        }
        let (_, partition) = dirtiest?;
        partition.give_to_cleaner();
        Some(partition)
    }

    /// Waits until `bytes` are within the limit; false when it is time to stop.
    fn pace(&self, bytes: usize, max_bytes_per_second: f64, stop: impl Fn() -> bool) -> bool {
        let seconds = bytes as f64 / max_bytes_per_second;
        let cost = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
        let until = {
            let mut paid_until = self.paid_until.lock();
            *paid_until = (*paid_until).max(Instant::now()) + cost;
            *paid_until
        };
        while !stop() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || cost.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(LONGEST_WAIT));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use carrick_link::ports::Lease;
    use carrick_link::record::LinkName;
    use carrick_protocol::batch::{BatchBuilder, Batches, records};
    use carrick_protocol::ids::Offset;

    use super::*;
    use crate::testing::{TestBroker, append, checked};

    const SOON: Duration = Duration::from_secs(120);
    const SMALL: [(&str, &str); 3] = [
        ("cleanup.policy", "compact"),
        ("internal.segment.bytes", "4096"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    const BUSY: &str = "log.cleaner.backoff.ms=20";

    fn batch(key: &str, value: &str) -> BatchBuilder {
        let value = format!("{value:>200}");
        BatchBuilder::new().record(
            clock::now_ms(),
            Some(key.as_bytes()),
            Some(value.as_bytes()),
        )
    }

    /// Offsets and values by key, the last of each.
    fn held(partition: &Partition) -> (usize, BTreeMap<Vec<u8>, String>) {
        let snapshot = partition.snapshot();
        let (mut count, mut last) = (0, BTreeMap::new());
        let mut next = snapshot.log_start();
        loop {
            let read = snapshot.read(next, snapshot.end(), 1 << 20, true).unwrap();
            if read.is_empty() {
                return (count, last);
            }
            for batch in Batches::new(&read) {
                let batch = batch.unwrap();
                next = batch.header.next_offset();
                for record in records(&batch, 1 << 20).unwrap() {
                    let record = record.unwrap();
                    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    last.insert(record.key.unwrap().to_vec(), value.trim().to_owned());
                    count += 1;
                }
            }
        }
    }

    /// Waits until few records are left; what they are.
    async fn compacted(partition: &Partition) -> BTreeMap<Vec<u8>, String> {
        let begun = Instant::now();
        loop {
            let (count, last) = held(partition);
            if count < 60 {
                return last;
            }
            assert!(begun.elapsed() < SOON, "{count} records are still there");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn expected() -> BTreeMap<Vec<u8>, String> {
        let of = |n: usize| (format!("k{}", n % 5).into_bytes(), n.to_string());
        (0..300).map(of).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn compacted_topics_shrink_while_they_are_written_and_read() {
        let it = TestBroker::start(&[BUSY]).await;
        let topic = it.create_with("t", 1, &SMALL);
        let kept = it.create_with("kept", 1, &[SMALL[1]]);
        let partition = topic.partition(0).unwrap();
        let other = kept.partition(0).unwrap();
        for to in [&partition, &other] {
            fill(to);
        }
        assert_eq!(compacted(&partition).await, expected());
        assert_eq!(partition.snapshot().end(), Offset(300));
        assert_eq!(held(&other).0, 300, "another policy");
        let it = it.restart(&["log.cleaner.enable=false"]).await;
        let topic = it.broker().topic("t").unwrap();
        assert_eq!(held(&topic.partition(0).unwrap()).1, expected());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn mirrors_are_compacted_where_they_are_and_go_on() {
        let it = TestBroker::start(&[BUSY]).await;
        let mirror = it.create_mirror_with("m", 1, &SMALL);
        let partition = mirror.partition(0).unwrap();
        let lease = Lease {
            link: LinkName::new("l").unwrap(),
            epoch: 1,
        };
        partition.mirror_open(&lease).unwrap();
        for n in 0..300 {
            let batch = batch(&format!("k{}", n % 5), &n.to_string());
            let bytes = batch.base_offset(Offset(n)).build().freeze();
            let next = partition
                .mirror_append(&lease, &checked(&bytes), Offset(n + 1))
                .unwrap();
            assert_eq!(next, Offset(n + 1));
        }
        assert_eq!(compacted(&partition).await, expected());
        assert_eq!(partition.mirror_position().next_offset, Offset(300));
        partition.mirror_truncate_to(&lease, Offset(290)).unwrap();
        let position = partition.mirror_position().next_offset;
        assert!(position <= Offset(290));
        let again = batch("k0", "again")
            .base_offset(Offset(290))
            .build()
            .freeze();
        partition
            .mirror_append(&lease, &checked(&again), Offset(291))
            .unwrap();
        assert_eq!(held(&partition).1[&b"k0"[..]], "again");
    }

    fn fill(partition: &Arc<Partition>) {
        for n in 0..300 {
            let batch = batch(&format!("k{}", n % 5), &n.to_string());
            append(partition, &batch.build().freeze(), clock::now_ms()).unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_topic_made_again_is_compacted_though_its_predecessor_could_not_be() {
        let it = TestBroker::start(&["log.cleaner.enable=false"]).await;
        let broker = it.broker();
        let config = CleanerConfig::of(&broker.properties.values());
        let stop = broker.stop_signal();
        let cleaners = Cleaners {
            choosing: Mutex::default(),
            paid_until: Mutex::new(Instant::now()),
        };
        let first = it.create_with("t", 1, &SMALL);
        fill(&first.partition(0).unwrap());
        // What the cleaner is about to write can't be: as when the topic is deleted at that moment.
        let folder = it.dir.path().join("data/t-0");
        std::fs::create_dir_all(folder.join("00000000000000000000.log.cleaned/full")).unwrap();
        // Something is due once it is on the disk.
        let due = async || {
            let begun = Instant::now();
            while !cleaners.clean_dirtiest(&broker.hosted, &config, &stop) {
                assert!(begun.elapsed() < SOON, "nothing is due");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        due().await;
        assert_eq!(held(&first.partition(0).unwrap()).0, 300, "it has failed");
        let again = cleaners.clean_dirtiest(&broker.hosted, &config, &stop);
        assert!(!again, "what failed is left alone");
        broker.topics.delete(&first, Default::default()).unwrap();
        let second = it.create_with("t", 1, &SMALL);
        let partition = second.partition(0).unwrap();
        fill(&partition);
        // As much at a time as is on the disk.
        while held(&partition).0 >= 60 {
            due().await;
        }
        assert_eq!(held(&partition).1, expected());
    }

    #[test]
    fn the_limit_of_bytes_holds_for_all_cleaners_together() {
        let cleaners = Cleaners {
            choosing: Mutex::default(),
            paid_until: Mutex::new(Instant::now()),
        };
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert!((0..5).all(|_| cleaners.pace(10_000, 1e6, || false))));
            }
        });
        assert!(
            begun.elapsed() >= Duration::from_millis(100),
            "100 kB at 1 MB/s"
        );
        assert!(!cleaners.pace(1 << 40, 1.0, || true), "and stops at once");
        assert!(cleaners.pace(1 << 40, f64::MAX, || false));
    }
}

//! Compaction of one partition: the log's lock is held to plan and to swap, never while batches are
//! read or written.
//!
//! Local topics and mirrors alike, as on any Kafka follower: offsets stay, so a link continues
//! where it is.

use std::sync::atomic::Ordering;

use carrick_storage::log::{
    CleanError, CleanLimits, CleanStats, Cleanable, LogError, Pace, Setting,
};

use super::{Core, Partition, PartitionError, let_go};

impl Partition {
    /// What may be cleaned now: `None` unless the topic is compacted and it is time.
    ///
    /// # Errors
    /// A segment can't be read.
    pub fn cleanable(&self, now_ms: i64) -> Result<Option<Cleanable>, LogError> {
        let config = self.config();
        if !config.compact {
            return Ok(None);
        }
        let Ok(to_clean) = self.with_log(|log| log.to_clean()) else {
            return Ok(None);
        };
        let cleanable = to_clean.cleanable(&config.clean, now_ms)?;
        Ok(cleanable.is_due(&config.clean).then_some(cleanable))
    }

    /// Whether a cleaner has it, or has failed at it and never gave it back.
    pub fn is_with_cleaner(&self) -> bool {
        self.is_with_cleaner.load(Ordering::Acquire)
    }

    /// Gives it to a cleaner. This is kept in the partition, so that a recreated topic of the same name
    /// starts without it.
    pub fn give_to_cleaner(&self) {
        self.is_with_cleaner.store(true, Ordering::Release);
    }

    /// Takes it back: it may be cleaned again.
    pub fn take_from_cleaner(&self) {
        self.is_with_cleaner.store(false, Ordering::Release);
    }

    /// Cleans what may be cleaned, as far as memory allows. Takes long; one at a time.
    ///
    /// # Errors
    /// `Stopped` also when the partition is closed or loses records meanwhile.
    pub fn compact(
        &self,
        now_ms: i64,
        limits: CleanLimits,
        pace: &mut Pace<'_>,
    ) -> Result<CleanStats, CleanError> {
        let config = self.config();
        let looked = self.with_log(|log| (log.to_clean(), log.last_records()));
        let (to_clean, last_records) = looked.map_err(|_| CleanError::Stopped)?;
        let cleanable = to_clean.cleanable(&config.clean, now_ms)?;
        let setting = Setting {
            config: config.log,
            rules: config.clean,
            limits,
            last_records,
            now_ms,
        };
        let mut pass = to_clean.begin(cleanable, setting, pace)?;
        while let Some(rewritten) = pass.next(pace)? {
            let (swapped, replaced) = self.cleaning(|log| {
                let swapped = log.swap_in(rewritten)?;
                Ok((swapped, log.take_deleted()))
            })?;
            let_go(replaced);
            if !swapped {
                return Err(CleanError::Stopped);
            }
        }
        self.cleaning(|log| log.finish_cleaning(&pass))?;
        Ok(pass.stats())
    }

    /// Runs a cleaning's change under the lock, whatever the mode.
    fn cleaning<T>(
        &self,
        change: impl FnOnce(&mut carrick_storage::log::Log) -> Result<T, LogError>,
    ) -> Result<T, CleanError> {
        let mut core = self.core.lock();
        let Core { log, mode } = &mut *core;
        let log = log.as_mut().ok_or(CleanError::Stopped)?;
        change(log).map_err(|error| {
            if let LogError::Faulted(_) = error {
                self.note_failure(mode, &PartitionError::Log(error.clone()));
            }
            CleanError::Log(error)
        })
    }
}

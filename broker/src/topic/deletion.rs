//! The deletion of a topic and its partitions.
//!
//! Order: one RocksDB batch, after which the topic no longer exists, also at every start · the
//! catalog removes it · its folders are renamed, with one sync for all · RocksDB removes the
//! folders. Other changes wait only for the first two. The name stays claimed to the end, so that a
//! new topic of that name neither finds an old folder nor loses one of its own.

use std::sync::Arc;

use carrick_protocol::ids::{TopicName, TopicPartition};
use carrick_storage::disk::{DiskError, Retired};

use super::claims::Claim;
use super::{Catalog, Topic, TopicError};
use crate::metadata::Transaction;
use crate::partition::Partition;
use crate::records::retired_topic::{RetiredTopic, RetiredTopicKeyspace};
use crate::records::topic::TopicKeyspace;
use crate::records::topic_config::TopicConfigKeyspace;

/// A deletion that fails is tried again at every start, unless a new topic has the name by then.
const REMAIN: &str = "folders of a deleted topic remain until the next start, which removes them";

/// A deleted topic. Its folders still exist, and its name is not free yet.
#[must_use = "the folders stay until `finish`, or until the next start"]
pub struct Removal<'a> {
    catalog: &'a Catalog,
    topic: Arc<Topic>,
    _claim: Claim<'a>,
}

impl Catalog {
    /// Takes a topic out and removes its folders.
    ///
    /// # Errors
    /// As [`take_out`](Self::take_out).
    #[cfg(test)]
    pub fn delete(&self, topic: &Topic, extra: Transaction) -> Result<(), TopicError> {
        self.take_out(topic, extra)?.finish();
        Ok(())
    }

    /// Deletes this topic, mirror or not, but not a newer one with its name; `extra` goes into the
    /// same RocksDB batch. The topic can no longer be found; [`Removal::finish`] removes its
    /// folders. Blocks on disk.
    ///
    /// # Errors
    /// `Unknown`, `Meta`: nothing is deleted.
    pub fn take_out(&self, topic: &Topic, extra: Transaction) -> Result<Removal<'_>, TopicError> {
        let claim = self.claims.of([topic.name()]);
        let _one_at_a_time = self.changes.lock();
        let name = topic.name();
        let topic = self.existing(name).ok().filter(|it| it.id() == topic.id());
        let topic = topic.ok_or_else(|| TopicError::Unknown(name.to_string()))?;
        let mut batch = extra;
        batch.delete::<TopicKeyspace>(name);
        batch.delete::<TopicConfigKeyspace>(name);
        let (id, partitions) = (topic.id(), topic.partitions().len());
        let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
        batch.put::<RetiredTopicKeyspace>(name, &RetiredTopic { id, partitions });
        self.metadata.commit(batch)?;
        self.topics.write().remove(&topic);
        self.images.remove(&topic);
        tracing::info!(topic = %name, %id, "deleted");
        Ok(Removal {
            catalog: self,
            topic,
            _claim: claim,
        })
    }

    /// Undoes the creation of partitions of `topic` that can't stay, and of the one that failed:
    /// `numbers` are all that were tried.
    pub(super) fn undo(
        &self,
        topic: &TopicName,
        numbers: std::ops::Range<i32>,
        made: Vec<Arc<Partition>>,
    ) {
        for partition in &made {
            partition.abandon();
        }
        // Their files are closed first: it may be that the broker has too many open.
        drop(made);
        let ids: Vec<_> = numbers
            .map(|number| TopicPartition::new(topic.clone(), number))
            .collect();
        if let Err(error) = self.put_away(&ids) {
            tracing::error!(%topic, %error, "folders of partitions that could not be created remain");
        }
    }

    /// Moves those folders away that exist, and has them removed.
    ///
    /// # Errors
    /// Some may still be in place; the others were moved.
    pub(super) fn put_away(&self, partitions: &[TopicPartition]) -> Result<(), DiskError> {
        let Retired { folders, error } = self.data_dir.retire_all(partitions);
        self.remover.remove(folders);
        error.map_or(Ok(()), Err)
    }

    /// Finishes, at start, the deletions that a crash broke off.
    ///
    /// # Errors
    /// RocksDB failed.
    pub(super) fn finish_removals(&self) -> Result<(), TopicError> {
        let mut done = Transaction::new();
        for (name, retired) in self.metadata.scan::<RetiredTopicKeyspace>()? {
            let is_gone = self.metadata.get::<TopicKeyspace>(&name)?.is_none();
            let partitions = i32::try_from(retired.partitions).unwrap_or(i32::MAX);
            let folders: Vec<_> = (0..partitions)
                .map(|number| TopicPartition::new(name.clone(), number))
                .collect();
            let put_away = if is_gone {
                self.put_away(&folders)
            } else {
                Ok(())
            };
            match put_away {
                Ok(()) => {
                    tracing::info!(topic = %name, id = %retired.id, "finished deleting a topic");
                    done.delete::<RetiredTopicKeyspace>(&name);
                }
                Err(error) => tracing::error!(topic = %name, %error, "{REMAIN}"),
            }
        }
        Ok(self.metadata.commit(done).map(drop)?)
    }
}

impl Removal<'_> {
    /// Moves the folders away, then frees the name. Blocks on disk.
    pub fn finish(self) {
        let partitions = self.topic.partitions();
        for partition in partitions.iter() {
            partition.abandon();
        }
        let ids: Vec<_> = partitions.iter().map(|it| it.id().clone()).collect();
        let name = self.topic.name();
        if let Err(error) = self.catalog.put_away(&ids) {
            tracing::error!(topic = %name, %error, "{REMAIN}");
            return;
        }
        let mut done = Transaction::new();
        done.delete::<RetiredTopicKeyspace>(name);
        if let Err(error) = self.catalog.metadata.commit(done) {
            tracing::warn!(topic = %name, %error, "the topic's deletion is tried again at the next start");
        }
    }
}

//! The deletion of a topic and its partitions.
//!
//! Order: one RocksDB batch, after which the topic no longer exists, also at every start · the
//! catalog removes it · its folders are renamed, with one sync for all · RocksDB removes the
//! folders. Other changes wait only for the first two. The name stays claimed to the end, so that a
//! new topic of that name neither finds an old folder nor loses one of its own.

use std::sync::Arc;

use carrick_protocol::ids::{TopicName, TopicPartition};

use super::claims::Claim;
use super::{Topic, TopicError, Topics};
use crate::metadata::Transaction;
use crate::records::retired_topic::{RetiredTopic, RetiredTopicKeyspace};
use crate::records::topic::TopicKeyspace;
use crate::records::topic_config::TopicConfigKeyspace;

/// A deletion that fails is tried again at every start, unless a new topic has the name by then.
const REMAIN: &str = "folders of a deleted topic remain until the next start, which removes them";

/// A deleted topic. Its folders still exist, and its name is not free yet.
#[must_use = "the folders stay until `finish`, or until the next start"]
pub struct Removal<'a> {
    catalog: &'a Topics,
    topic: Arc<Topic>,
    /// Ends the partitions.
    end: Box<dyn FnOnce() + Send>,
    _claim: Claim<'a>,
}

impl Topics {
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
        let (id, partitions) = (topic.id(), topic.partition_count().unsigned_abs());
        batch.put::<RetiredTopicKeyspace>(name, &RetiredTopic { id, partitions });
        self.metadata.commit(batch)?;
        self.topics.write().remove(&topic);
        self.images.remove(&topic);
        let end = self.hosting.hide(id);
        tracing::info!(topic = %name, %id, "deleted");
        Ok(Removal {
            catalog: self,
            topic,
            end,
            _claim: claim,
        })
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
            let put_away = if is_gone {
                self.hosting.put_away(&all_of(&name, partitions))
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
        (self.end)();
        let name = self.topic.name();
        let partitions = all_of(name, self.topic.partition_count());
        if let Err(error) = self.catalog.hosting.put_away(&partitions) {
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

/// The partitions of a topic, given how many it has.
fn all_of(topic: &TopicName, partitions: i32) -> Vec<TopicPartition> {
    let numbers = 0..partitions;
    let ids = numbers.map(|number| TopicPartition::new(topic.clone(), number));
    ids.collect()
}

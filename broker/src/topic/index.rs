//! The topics in memory, found by name, by id, and by the names that theirs collide with.
//!
//! The cost of a look-up, an insertion or a removal does not grow with the number of topics.

use std::collections::HashMap;
use std::sync::Arc;

use carrick_protocol::ids::{TopicId, TopicName};

use super::{Topic, TopicError};

#[derive(Default)]
pub(super) struct Index {
    by_name: HashMap<TopicName, Arc<Topic>>,
    by_id: HashMap<TopicId, Arc<Topic>>,
    /// The name that has each [`folded`] name.
    by_folded: HashMap<String, TopicName>,
}

#[cfg(test)]
thread_local! {
    /// Topics that this thread visited only because all were visited.
    pub(super) static VISITED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The name as Kafka's metrics show it: there `.` and `_` are the same.
pub(super) fn folded(name: &TopicName) -> String {
    name.as_str().replace('.', "_")
}

impl Index {
    pub(super) fn insert(&mut self, topic: Arc<Topic>) {
        let name = topic.name().clone();
        self.by_folded.insert(folded(&name), name.clone());
        self.by_id.insert(topic.id(), Arc::clone(&topic));
        self.by_name.insert(name, topic);
    }

    pub(super) fn remove(&mut self, topic: &Topic) {
        self.by_folded.remove(&folded(topic.name()));
        self.by_id.remove(&topic.id());
        self.by_name.remove(topic.name());
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub(super) fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// Every topic, in no order. Costs more the more there are.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Topic>> {
        #[cfg(test)]
        VISITED.set(VISITED.get() + self.by_name.len());
        self.by_name.values()
    }

    /// Refuses a new name that a topic has, or that collides with a topic's.
    pub(super) fn check_free(&self, name: &TopicName) -> Result<(), TopicError> {
        match self.by_folded.get(&folded(name)) {
            None => Ok(()),
            Some(existing) => Err(collision(name, existing)),
        }
    }
}

/// Why a new name is not available next to one with the same [`folded`] name.
pub(super) fn collision(name: &TopicName, existing: &TopicName) -> TopicError {
    if name == existing {
        return TopicError::Exists(name.to_string());
    }
    TopicError::Collides {
        name: name.to_string(),
        existing: existing.to_string(),
    }
}

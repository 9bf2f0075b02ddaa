//! What groups need to know about topics: [`Topics`] provides it, and tests have their own topics.

use std::sync::Arc;

use carrick_protocol::ids::TopicId;

use crate::topic::{TopicImage, Topics};

/// The topics that exist.
pub trait TopicIds: Send + Sync + 'static {
    /// The id of the topic of that name.
    fn topic_id(&self, topic: &str) -> Option<TopicId>;
    /// All topics, in one unchanging picture.
    fn image(&self) -> Arc<TopicImage>;
}

impl TopicIds for Topics {
    fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.topic(topic).map(|topic| topic.id())
    }

    fn image(&self) -> Arc<TopicImage> {
        Topics::image(self)
    }
}

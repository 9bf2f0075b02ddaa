//! The picture of all topics that groups are given. It follows the catalog, change by change.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Topic;
use crate::group::topics::TopicImage;

/// The latest picture.
#[derive(Default)]
pub(super) struct Images(ArcSwap<TopicImage>);

impl Images {
    /// Topics came or grew. Under [`Catalog::changes`](super::Catalog), as every change.
    pub fn put<'a>(&self, topics: impl IntoIterator<Item = &'a Arc<Topic>>) {
        let mut image = TopicImage::clone(&self.0.load());
        for topic in topics {
            let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
            image.put(topic.name().clone(), topic.id(), partitions);
        }
        self.0.store(Arc::new(image));
    }

    /// A topic is gone.
    pub fn remove(&self, topic: &Topic) {
        let mut image = TopicImage::clone(&self.0.load());
        image.remove(topic.name(), topic.id());
        self.0.store(Arc::new(image));
    }

    /// The picture of now.
    pub fn latest(&self) -> Arc<TopicImage> {
        self.0.load_full()
    }
}

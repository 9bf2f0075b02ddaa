//! The picture of all topics that groups are given, taken anew when something has changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::Topic;
use crate::group::topics::TopicImage;

/// The latest picture, and the number of changes so far.
#[derive(Default)]
pub(super) struct Images {
    changes: AtomicU64,
    latest: ArcSwapOption<TopicImage>,
}

impl Images {
    /// A topic came, went or grew: to be called afterwards.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// The picture of now. A change that is not counted yet may be on it, and then comes again
    /// with the next version; none is left out.
    pub fn latest(&self, topics: impl FnOnce() -> Vec<Arc<Topic>>) -> Arc<TopicImage> {
        let version = self.changes.load(Ordering::Acquire);
        let latest = self.latest.load_full();
        if let Some(image) = latest.filter(|image| image.version() == version) {
            return image;
        }
        let topics = topics();
        let described = topics.iter().map(|topic| {
            let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
            (topic.name().clone(), topic.id(), partitions)
        });
        let image = Arc::new(TopicImage::new(version, described));
        self.latest.store(Some(Arc::clone(&image)));
        image
    }
}

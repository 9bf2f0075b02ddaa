//! The end of a topic: its partitions, what is kept of its mirror, its committed offsets.

use std::future::Future;

use carrick_link::LinkManager;

use super::{Catalog, Topic, TopicError};
use crate::group::Coordinator;
use crate::mirror::delete_topic;

/// Deletes a topic, mirror or not. Blocks on disk. The future that is returned ends when its
/// committed offsets are gone, too; should the broker die before, they go at its next start.
///
/// # Errors
/// As [`Catalog::delete`]: nothing is deleted.
pub fn delete(
    catalog: &Catalog,
    links: &LinkManager,
    groups: &Coordinator,
    topic: &Topic,
) -> Result<impl Future<Output = ()> + Send + 'static + use<>, TopicError> {
    delete_topic(catalog, links, topic.name())?;
    let forgotten = groups.topic_deleted(topic.name(), topic.id());
    let name = topic.name().clone();
    Ok(async move {
        if let Err(error) = forgotten.await {
            tracing::warn!(topic = %name, %error, "offsets of a deleted topic remain until restart");
        }
    })
}

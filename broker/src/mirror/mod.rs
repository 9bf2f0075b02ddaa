//! What links need from this broker (the ports of [`carrick_link::ports`]).
//!
//! - [`target`]: how a link writes to partitions, under a lease.
//! - [`local`]: the stored data, for reports and verification.
//! - [`catalog`]: mirror topics in the catalog, with their records.
//! - [`acls`]: ACLs that links bring from their sources.
//! - [`groups`]: the offsets of groups, and what is stored about their syncs.
//! - [`cut`]: mirrors become ordinary topics.
//! - [`patterns`]: regular expressions of operators.
//! - [`store`]: links and mirrors in RocksDB.
//!
//! Invariant: every change that a port's method makes in RocksDB is one synced write, topic and
//! mirror record together. Every topic that is a mirror has a mirror record, and every mirror
//! record that is not stopped has a topic.

pub mod acls;
pub mod catalog;
pub mod cut;
pub mod groups;
pub mod local;
pub mod patterns;
mod refusal;
pub mod store;
pub mod target;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;

use carrick_link::LinkManager;
use carrick_link::manager::KafkaSources;
use carrick_link::ports::{Clock, Ports, SystemClock};
use carrick_protocol::ids::TopicName;

use crate::group::Coordinator;
use crate::heavy::Heavy;
use crate::metadata::{Metadata, Transaction};
use crate::partition::Hosted;
use crate::producer_ids::ProducerIds;
use crate::records::mirror::MirrorKeyspace;
use crate::records::rpo_report::RpoReportKeyspace;
use crate::records::source_sight::SourceSightKeyspace;
use crate::secrets::Vault;
use crate::topic::{Topic, TopicError, Topics};

/// The ports that the link manager of this broker is started with.
pub fn ports(
    vault: Arc<Vault>,
    metadata: Metadata,
    (topics, hosted): (Arc<Topics>, Arc<Hosted>),
    producer_ids: Arc<ProducerIds>,
    groups: Arc<Coordinator>,
    acls: acls::LinkAcls,
    heavy: Heavy,
) -> Ports {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Ports {
        target: Arc::new(target::Target::new(Arc::clone(&hosted), metadata.clone())),
        local: Arc::new(local::Local::new(Arc::clone(&hosted))),
        groups: Arc::new(groups::Groups::new(
            metadata.clone(),
            Arc::clone(&topics),
            Arc::clone(&hosted),
            groups,
        )),
        acls: Arc::new(acls),
        store: Arc::new(store::Store::new(
            metadata.clone(),
            Arc::clone(&topics),
            vault,
        )),
        catalog: Arc::new(catalog::MirrorCatalog::new(
            topics,
            hosted,
            metadata,
            producer_ids,
            Arc::clone(&clock),
        )),
        clock,
        patterns: Arc::new(patterns::NamePatterns::new(heavy)),
        sources: Arc::new(KafkaSources),
    }
}

/// Deletes a topic, mirror or not, and in the same write what is stored about its mirror. Blocks on
/// disk. The returned future ends when the topic's committed offsets are removed, too; if the
/// broker dies before, its next start removes them.
///
/// # Errors
/// As [`Topics::delete`]: nothing is deleted.
pub fn delete_topic(
    catalog: &Topics,
    links: &LinkManager,
    groups: &Coordinator,
    topic: &Topic,
) -> Result<impl Future<Output = ()> + Send + 'static + use<>, TopicError> {
    let removal = catalog.take_out(topic, end_of_mirror(topic.name()))?;
    // Before the name is free: this must not reach a new mirror of that name.
    links.topic_deleted(topic.name());
    removal.finish();
    let forgotten = groups.topic_deleted(topic.name(), topic.id());
    let name = topic.name().clone();
    Ok(async move {
        if let Err(error) = forgotten.await {
            tracing::warn!(topic = %name, %error, "offsets of a deleted topic remain until restart");
        }
    })
}

/// The end of all that is kept of a topic's mirror.
fn end_of_mirror(topic: &TopicName) -> Transaction {
    let mut batch = Transaction::new();
    batch.delete::<MirrorKeyspace>(topic);
    batch.delete::<RpoReportKeyspace>(topic);
    batch.delete::<SourceSightKeyspace>(topic);
    batch
}

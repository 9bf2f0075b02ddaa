//! The links of this broker: the API that HTTP, the CLI behind it and the broker's topics use.
//!
//! Lock order: `admin` (awaited; for creation and deletion, because names are shared by all links)
//! → a link's `change` → `links` and a link's inner part (short, never across an await or a port).

mod alter;
mod cleaned;
mod cut;
mod failover;
mod groups;
mod links;
mod mirrors;
mod outcome;
mod promote;
mod reports;
mod rpo;
mod show;
mod start;
#[cfg(test)]
mod tests;
mod verify;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use carrick_protocol::ids::TopicName;

pub use links::{AlterLink, NewLink};
pub use mirrors::{MayCreate, NewMirror, NewMirrors};

use crate::config::LinkConfig;
use crate::error::LinkError;
use crate::ports::{Ports, SourceConnector};
use crate::record::LinkName;
use crate::shared::{LinkShared, Links};
use crate::source::{KafkaCluster, SourceCluster};

/// Which mirrors of a link, or topics of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Names(Vec<TopicName>),
    /// All whose whole name matches the regular expression.
    Pattern(String),
    /// All; of mirrors, those that were not cut.
    All,
}

/// A hook that ends a waiting promotion early: the mirror then continues mirroring.
pub type CancelSignal = tokio::sync::watch::Receiver<bool>;

/// All links of this broker. Every method may be called at any time.
pub struct LinkManager {
    ports: Ports,
    links: Arc<Links>,
    admin: tokio::sync::Mutex<()>,
    is_stopping: AtomicBool,
}

impl LinkManager {
    fn refuse_when_stopping(&self) -> Result<(), LinkError> {
        if self.is_stopping.load(Ordering::Acquire) {
            return Err(LinkError::ShuttingDown);
        }
        Ok(())
    }

    async fn admin(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, LinkError> {
        self.refuse_when_stopping()?;
        let admin = self.admin.lock().await;
        self.refuse_when_stopping()?;
        Ok(admin)
    }

    fn shared(&self, name: &str) -> Result<Arc<LinkShared>, LinkError> {
        let links = self.links.read();
        links
            .get(name)
            .cloned()
            .ok_or_else(|| LinkError::NoSuchLink(name.to_owned()))
    }

    /// The link of a mirror.
    fn owner(&self, topic: &TopicName) -> Option<LinkName> {
        let links = self.links.read();
        let owner = links
            .values()
            .find(|link| link.inner().mirrors.contains_key(topic));
        owner.map(|link| link.name.clone())
    }
}

/// Runs something that may wait for a disk.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LinkError> {
    tokio::task::spawn_blocking(act)
        .await
        .map_err(|_| LinkError::ShuttingDown)
}

/// The real sources: [`KafkaCluster`].
#[derive(Debug, Clone, Copy, Default)]
pub struct KafkaSources;

impl SourceConnector for KafkaSources {
    fn connect(&self, _link: &LinkName, config: &LinkConfig) -> Arc<dyn SourceCluster> {
        KafkaCluster::new(config)
    }
}

//! The links of this broker: the API that HTTP, the CLI behind it and the broker's topics use.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::ids::TopicName;

use crate::config::{ConfigEntry, LinkConfig};
use crate::description::{LinkDescription, MirrorDescription, MirrorOutcome};
use crate::error::LinkError;
use crate::ports::{Ports, SourceConnector};
use crate::record::LinkName;
use crate::report::RpoReport;
use crate::source::{KafkaCluster, SourceCluster};
use crate::state::MirrorStatus;
use crate::verify::{VerifyOptions, VerifyProgress, VerifyReport};

/// A link that is to be created.
#[derive(Debug, Clone, Default)]
pub struct NewLink {
    /// Its name.
    pub name: String,
    /// Its configs by name (linking.md's table).
    pub configs: BTreeMap<String, String>,
    /// Refuse a source of another cluster id.
    pub expected_source_cluster_id: Option<String>,
    /// Check everything, create nothing.
    pub validate_only: bool,
    /// Connect to the source first and refuse the link if that fails.
    pub validate_link: bool,
}

/// A mirror topic that is to be created.
#[derive(Debug, Clone, Default)]
pub struct NewMirror {
    /// The topic at the source.
    pub source_topic: String,
    /// Its name here; as at the source if not given.
    pub mirror_topic: Option<String>,
    /// `mirror.start.offset.spec`, and topic configs that aren't always synced.
    pub configs: BTreeMap<String, String>,
}

/// What is to be done to mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorAction {
    /// Planned hand-over: waits for lag 0, loses nothing.
    Promote,
    /// At once, with what is there.
    Failover,
    /// Stop mirroring for now.
    Pause,
    /// Go on mirroring; also out of `FAILED`.
    Resume,
}

/// Which mirrors of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Names(Vec<TopicName>),
    /// All whose whole name matches the regular expression.
    Pattern(String),
    /// All that are not stopped.
    All,
}

/// A hook that ends a waiting promotion early: the mirror then goes on mirroring.
pub type CancelSignal = tokio::sync::watch::Receiver<bool>;

/// All links of this broker. Cheap to share; every method may be called at any time.
pub struct LinkManager {}

impl LinkManager {
    /// Starts every stored link, and takes up what was under way when the broker stopped. Needs a tokio runtime.
    ///
    /// # Errors
    /// `Store` if the stored links can't be read.
    pub async fn start(ports: Ports) -> Result<Arc<Self>, LinkError> {
        let _ = ports;
        unimplemented!()
    }

    /// Stops every link and waits until nothing of theirs runs any more. Later calls answer `ShuttingDown`.
    pub async fn shutdown(&self) {
        unimplemented!()
    }

    /// Creates a link and starts it. With `validate_link` the source is connected to first.
    ///
    /// # Errors
    /// `InvalidName`, `InvalidConfig`, `LinkExists`, `SourceUnavailable`, `WrongCluster`, `Store`.
    pub async fn create_link(&self, new: NewLink) -> Result<LinkDescription, LinkError> {
        let _ = new;
        unimplemented!()
    }

    /// Every link, by name.
    pub fn links(&self) -> Vec<LinkDescription> {
        unimplemented!()
    }

    /// One link.
    ///
    /// # Errors
    /// `NoSuchLink`.
    pub fn link(&self, name: &str) -> Result<LinkDescription, LinkError> {
        let _ = name;
        unimplemented!()
    }

    /// Deletes a link. With `force` its mirrors are failed over first.
    ///
    /// # Errors
    /// `NoSuchLink`, `LinkHasMirrors`, `Catalog`, `Store`.
    pub async fn delete_link(&self, name: &str, force: bool) -> Result<(), LinkError> {
        let _ = (name, force);
        unimplemented!()
    }

    /// Every config of a link, secrets masked.
    ///
    /// # Errors
    /// `NoSuchLink`.
    pub fn link_configs(&self, name: &str) -> Result<Vec<ConfigEntry>, LinkError> {
        let _ = name;
        unimplemented!()
    }

    /// Sets (`Some`) or resets (`None`) configs of a live link, all or none.
    ///
    /// # Errors
    /// `NoSuchLink`, `InvalidConfig`, `Store`.
    pub async fn alter_link_configs(
        &self,
        name: &str,
        changes: Vec<(String, Option<String>)>,
        validate_only: bool,
    ) -> Result<(), LinkError> {
        let _ = (name, changes, validate_only);
        unimplemented!()
    }

    /// Creates a mirror topic and starts to fill it.
    ///
    /// # Errors
    /// `NoSuchLink`, `LinkState`, `SourceUnavailable`, `NoSuchSourceTopic`, `SourceTopic`, `MirrorExists`, `TopicExists`,
    /// `InvalidName`, `InvalidConfig`, `Catalog`.
    pub async fn create_mirror(
        &self,
        link: &str,
        new: NewMirror,
    ) -> Result<MirrorDescription, LinkError> {
        let _ = (link, new);
        unimplemented!()
    }

    /// The mirrors of a link or of all, with that status or any, by link and name.
    ///
    /// # Errors
    /// `NoSuchLink`.
    pub fn mirrors(
        &self,
        link: Option<&str>,
        status: Option<MirrorStatus>,
    ) -> Result<Vec<MirrorDescription>, LinkError> {
        let _ = (link, status);
        unimplemented!()
    }

    /// One mirror, stopped ones included.
    ///
    /// # Errors
    /// `NotAMirror`.
    pub fn mirror(&self, topic: &str) -> Result<MirrorDescription, LinkError> {
        let _ = topic;
        unimplemented!()
    }

    /// Promotes, fails over, pauses or resumes mirrors of a link. The outer error is about the whole request; each
    /// topic has an outcome of its own. Failover is one atomic write for all; so is promote for those that reached lag 0.
    /// `cancel` (or dropping the future, which leaves a promotion running) ends the wait of a promotion.
    ///
    /// # Errors
    /// `NoSuchLink`, `InvalidName` (a pattern that isn't a regular expression, or matches nothing).
    pub async fn alter_mirrors(
        &self,
        link: &str,
        action: MirrorAction,
        selection: Selection,
        dry_run: bool,
        cancel: Option<CancelSignal>,
    ) -> Result<Vec<MirrorOutcome>, LinkError> {
        let _ = (link, action, selection, dry_run, cancel);
        unimplemented!()
    }

    /// The kept report of the last promote or failover of a topic.
    ///
    /// # Errors
    /// `NotAMirror`, `Store`.
    pub fn report(&self, topic: &str) -> Result<Option<RpoReport>, LinkError> {
        let _ = topic;
        unimplemented!()
    }

    /// Compares a mirror with its source, batch by batch. Works while it mirrors.
    ///
    /// # Errors
    /// `NotAMirror`, `SourceUnavailable`, `SourceTopic`, `Target`.
    pub async fn verify(
        &self,
        topic: &str,
        options: VerifyOptions,
        progress: &mut (dyn FnMut(VerifyProgress) + Send),
    ) -> Result<VerifyReport, LinkError> {
        let _ = (topic, options, progress);
        unimplemented!()
    }

    /// The broker has deleted that topic, and its mirror record with it, in one write.
    pub fn topic_deleted(&self, topic: &TopicName) {
        let _ = topic;
        unimplemented!()
    }
}

/// The real sources: [`KafkaCluster`].
#[derive(Debug, Clone, Copy, Default)]
pub struct KafkaSources;

impl SourceConnector for KafkaSources {
    fn connect(&self, _link: &LinkName, config: &LinkConfig) -> Arc<dyn SourceCluster> {
        KafkaCluster::new(config)
    }
}

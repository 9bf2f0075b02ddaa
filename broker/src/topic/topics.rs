//! All topics, in memory and in RocksDB.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_link::cut::CutStep;
use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName, TopicPartition};
use parking_lot::{Mutex, RwLock};

use super::claims::Claims;
use super::image::{Images, TopicImage};
use super::index::Index;
use super::{
    Hosting, MadePartitions, NewPartitions, Topic, TopicConfig, TopicError, TopicState, config,
};
use crate::breaks;
use crate::config::Properties;
use crate::metadata::{Metadata, Transaction};
use crate::records::topic::{TopicKeyspace, TopicRecord};
use crate::records::topic_config::TopicConfigKeyspace;

/// Partitions of one topic, at most: each costs file descriptors and preallocated disk.
pub const PARTITIONS_MAX: i32 = 10_000;

/// Configs of a mirror that only its link changes.
const ALWAYS_SYNCED: &[&str] = &[
    "cleanup.policy",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
];

/// A topic to be created.
#[derive(Debug, Clone)]
pub struct NewTopic {
    pub name: TopicName,
    /// Its id; `None` for a random one. A mirror takes its source's, unless a topic here has it
    /// already (a second mirror of the same topic), in which case it gets a random one.
    pub id: Option<TopicId>,
    /// How many partitions, at least one.
    pub partitions: i32,
    /// Configs that differ from the broker's defaults. A mirror's may hold names and values that
    /// are not supported here: they are left out, with a warning.
    pub configs: BTreeMap<String, String>,
    /// Whether a link will own it.
    pub is_mirror: bool,
}

pub struct Topics {
    pub(super) properties: Arc<Properties>,
    pub(super) metadata: Metadata,
    pub(super) hosting: Box<dyn Hosting>,
    pub(super) topics: RwLock<Index>,
    pub(super) images: Images,
    /// Names whose topics are being made, grown or deleted.
    pub(super) claims: Claims,
    /// One change at a time: of RocksDB and of memory, never of folders.
    pub(super) changes: Mutex<()>,
}

impl Topics {
    /// All topics that are stored; deletions that a crash broke off are finished first. Their
    /// partitions are not open yet. Blocks.
    ///
    /// # Errors
    /// A record that can't be read.
    pub fn open(
        properties: Arc<Properties>,
        metadata: Metadata,
        hosting: Box<dyn Hosting>,
    ) -> Result<Self, TopicError> {
        let (topics, changes) = (RwLock::default(), Mutex::default());
        let catalog = Self {
            properties,
            metadata,
            hosting,
            topics,
            images: Images::default(),
            claims: Claims::default(),
            changes,
        };
        catalog.finish_removals()?;
        catalog.load()?;
        Ok(catalog)
    }

    fn load(&self) -> Result<(), TopicError> {
        let configs = self.metadata.scan::<TopicConfigKeyspace>()?;
        let mut configs: BTreeMap<_, _> = configs.into_iter().collect();
        let values = self.properties.values();
        for (name, record) in self.metadata.scan::<TopicKeyspace>()? {
            let overrides = configs.remove(&name).unwrap_or_default();
            let config = Arc::new(TopicConfig::resolve(&overrides, &values));
            let TopicRecord {
                id,
                is_mirror,
                leader_epochs,
            } = record;
            let topic = Topic::new(name, id, leader_epochs, overrides, config, is_mirror);
            self.topics.write().insert(Arc::new(topic));
        }
        self.images.put(self.list().iter());
        Ok(())
    }

    /// Stores the leader epochs that opening the partitions has raised, but for mirrors: theirs are
    /// the source's. Blocks.
    ///
    /// # Errors
    /// Nothing was stored.
    pub fn store_leader_epochs(&self) -> Result<(), TopicError> {
        let _one_at_a_time = self.changes.lock();
        let mut batch = Transaction::new();
        let mut raised = Vec::new();
        for topic in self.list() {
            let state = topic.state();
            let epochs = self.leader_epochs(&topic, &state);
            if !state.is_mirror && *epochs != *state.leader_epochs {
                batch.put::<TopicKeyspace>(topic.name(), &record_of(&topic, &epochs, false));
                raised.push((topic, epochs));
            }
        }
        self.metadata.commit(batch)?;
        for (topic, epochs) in raised {
            topic.update(|state| state.leader_epochs = epochs.clone().into());
        }
        Ok(())
    }

    /// The leader epochs of all partitions: those that are here know best.
    fn leader_epochs(&self, topic: &Topic, state: &TopicState) -> Vec<LeaderEpoch> {
        let mut epochs = state.leader_epochs.to_vec();
        for (number, epoch) in self.hosting.leader_epochs(topic.id()) {
            let at = usize::try_from(number).ok();
            if let Some(known) = at.and_then(|at| epochs.get_mut(at)) {
                *known = epoch;
            }
        }
        epochs
    }

    /// The broker's current properties, which give topics their defaults.
    pub fn properties(&self) -> &Arc<Properties> {
        &self.properties
    }

    /// Lets the broker's properties take effect on every topic that does not override them.
    pub fn defaults_changed(&self) {
        let _one_at_a_time = self.changes.lock();
        let values = self.properties.values();
        for topic in self.list() {
            let state = topic.state();
            let config = Arc::new(TopicConfig::resolve(&state.overrides, &values));
            self.hosting.set_config(topic.id(), &config);
            topic.update(|state| state.config = Arc::clone(&config));
        }
    }

    /// All topics as they are now, in one unchanging picture.
    pub fn image(&self) -> Arc<TopicImage> {
        self.images.latest()
    }

    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().by_name(name).cloned()
    }

    /// A topic by id.
    pub fn by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.topics.read().by_id(id).cloned()
    }

    /// All topics, by name.
    pub fn list(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<_> = self.topics.read().all().cloned().collect();
        topics.sort_by(|a, b| a.name().cmp(b.name()));
        topics
    }

    /// Grows a topic to `total` partitions; `extra` goes into the same RocksDB batch. `by_link` is
    /// how a link grows its mirror. Blocks on disk.
    ///
    /// # Errors
    /// `Mirror` unless `by_link`; `InvalidPartitions` when `total` isn't more than now.
    pub fn add_partitions(
        &self,
        name: &str,
        total: i32,
        by_link: bool,
        extra: Transaction,
    ) -> Result<Arc<Topic>, TopicError> {
        let topic = self.existing(name)?;
        self.grow(&topic, total, by_link, extra)?;
        Ok(topic)
    }

    /// The same for a mirror, by its link, if that very topic still exists: not a newer one with
    /// its name.
    ///
    /// # Errors
    /// Like [`add_partitions`](Self::add_partitions), and `Unknown` if it was deleted.
    pub fn grow_mirror(
        &self,
        topic: &Arc<Topic>,
        total: i32,
        extra: Transaction,
    ) -> Result<(), TopicError> {
        self.grow(topic, total, true, extra)
    }

    fn grow(
        &self,
        topic: &Arc<Topic>,
        total: i32,
        by_link: bool,
        extra: Transaction,
    ) -> Result<(), TopicError> {
        let name = topic.name();
        let _claim = self.claims.of([name]);
        // While claimed, it can't be deleted or grown by another request.
        if !self.is_there(topic) {
            return Err(TopicError::Unknown(name.to_string()));
        }
        check_growth(topic, total, by_link)?;
        let state = topic.state();
        let mut added = self.hosting.make(NewPartitions {
            topic: name,
            numbers: state.partition_count()..total,
            config: &state.config,
            is_mirror: state.is_mirror,
        })?;
        if let Err(error) = self.show_grown(topic, &state, total, &mut *added, extra) {
            added.take_back();
            return Err(error);
        }
        tracing::info!(topic = %name, partitions = total, "partitions added");
        Ok(())
    }

    /// While this is held, no topic is created, deleted or changed: what is read and then written for
    /// a topic under it is not overtaken by the topic's deletion.
    pub fn hold_still(&self) -> impl Drop + '_ {
        self.changes.lock()
    }

    /// Whether exactly that topic still exists, and not another one with its name.
    pub fn is_there(&self, topic: &Arc<Topic>) -> bool {
        let named = self.topic(topic.name());
        named.is_some_and(|named| Arc::ptr_eq(&named, topic))
    }

    /// Whether metadata has exactly that topic, which `change` then rests on.
    fn is_stored(&self, topic: &Topic, change: &mut Transaction) -> Result<bool, TopicError> {
        let stored = change.read::<TopicKeyspace>(&self.metadata, topic.name())?;
        Ok(stored.is_some_and(|stored| stored.id == topic.id()))
    }

    /// Stores and shows partitions, up to `total`, that were made when the topic was as in `before`.
    fn show_grown(
        &self,
        topic: &Arc<Topic>,
        before: &TopicState,
        total: i32,
        added: &mut dyn MadePartitions,
        extra: Transaction,
    ) -> Result<(), TopicError> {
        let _one_at_a_time = self.changes.lock();
        let state = topic.state();
        if state.is_mirror != before.is_mirror {
            return Err(TopicError::NotAMirror(topic.name().to_string()));
        }
        if !Arc::ptr_eq(&state.config, &before.config) {
            added.set_config(&state.config);
        }
        let mut epochs = self.leader_epochs(topic, &state);
        epochs.resize(usize::try_from(total).unwrap_or(usize::MAX), LeaderEpoch(0));
        let mut batch = extra;
        if !self.is_stored(topic, &mut batch)? {
            return Err(TopicError::Unknown(topic.name().to_string()));
        }
        batch.put::<TopicKeyspace>(topic.name(), &record_of(topic, &epochs, state.is_mirror));
        self.metadata.commit(batch)?;
        added.show(topic.id());
        topic.update(|state| state.leader_epochs = epochs.clone().into());
        self.images.put([topic]);
        Ok(())
    }

    /// Checks what [`add_partitions`](Self::add_partitions) would check, and changes nothing.
    ///
    /// # Errors
    /// As `add_partitions`, but for the disk's.
    pub fn check_add_partitions(&self, name: &str, total: i32) -> Result<(), TopicError> {
        check_growth(&*self.existing(name)?, total, false)
    }

    /// Changes a topic's overrides; they take effect immediately. `change` gets the current ones
    /// and leaves the wanted ones. `by_link` may change always-synced configs on a mirror, and
    /// configs that aren't supported here are left out, with a warning. Blocks on disk.
    ///
    /// # Errors
    /// `Unknown`, `InvalidConfig`, `Mirror`, or what `change` returns.
    pub fn alter_configs(
        &self,
        name: &str,
        by_link: bool,
        validate_only: bool,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), TopicError>,
    ) -> Result<(), TopicError> {
        let _one_at_a_time = self.changes.lock();
        let topic = self.existing(name)?;
        let state = topic.state();
        let mut overrides = state.overrides.clone();
        change(&mut overrides)?;
        if by_link {
            overrides = supported(name, overrides);
        } else {
            check_overrides(&overrides)?;
            let synced = |name: &&&str| overrides.get(**name) != state.overrides.get(**name);
            if let Some(synced) = ALWAYS_SYNCED
                .iter()
                .find(synced)
                .filter(|_| state.is_mirror)
            {
                let (topic, config) = (name.to_owned(), (*synced).to_owned());
                return Err(TopicError::MirrorConfig { topic, config });
            }
        }
        if validate_only || overrides == state.overrides {
            return Ok(());
        }
        let mut batch = Transaction::new();
        match overrides.is_empty() {
            true => batch.delete::<TopicConfigKeyspace>(topic.name()),
            false => batch.put::<TopicConfigKeyspace>(topic.name(), &overrides),
        }
        self.metadata.commit(batch)?;
        let config = Arc::new(TopicConfig::resolve(&overrides, &self.properties.values()));
        self.hosting.set_config(topic.id(), &config);
        topic.update(|state| {
            state.overrides.clone_from(&overrides);
            state.config = Arc::clone(&config);
        });
        Ok(())
    }

    /// Shows clients of mirrors no smaller leader epochs than these, durably. Blocks on disk unless
    /// all are known. Topics that are not mirrors are skipped.
    ///
    /// # Errors
    /// Nothing was persisted or raised.
    pub fn raise_leader_epochs(
        &self,
        epochs: &[(TopicPartition, LeaderEpoch)],
    ) -> Result<(), TopicError> {
        let _one_at_a_time = self.changes.lock();
        let mut changed: BTreeMap<TopicName, (Arc<Topic>, Vec<LeaderEpoch>)> = BTreeMap::new();
        let mut raised = Vec::new();
        for (id, epoch) in epochs {
            let Some(topic) = self.topic(&id.topic).filter(|topic| topic.is_mirror()) else {
                continue;
            };
            let (_, epochs) = changed.entry(id.topic.clone()).or_insert_with(|| {
                let known = self.leader_epochs(&topic, &topic.state());
                (Arc::clone(&topic), known)
            });
            let at = usize::try_from(id.partition).ok();
            if let Some(known) = at.and_then(|at| epochs.get_mut(at))
                && *known < *epoch
            {
                *known = *epoch;
                raised.push((topic.id(), id.partition, *epoch));
            }
        }
        if raised.is_empty() {
            return Ok(());
        }
        let mut batch = Transaction::new();
        changed.retain(|_, (topic, _)| raised.iter().any(|(id, ..)| *id == topic.id()));
        for (name, (topic, epochs)) in &changed {
            batch.put::<TopicKeyspace>(name, &record_of(topic, epochs, true));
        }
        self.metadata.commit(batch)?;
        for (topic, number, epoch) in raised {
            self.hosting.raise_leader_epoch(topic, number, epoch);
        }
        for (topic, epochs) in changed.into_values() {
            topic.update(|state| state.leader_epochs = epochs.clone().into());
        }
        Ok(())
    }

    /// Stores in one RocksDB batch that these topics, whose partitions are all cut, are no longer
    /// mirrors, each with its other changes; then opens them for writes. A topic that has been
    /// deleted since is left out, with its changes: the answer for it is false. Blocks on disk.
    ///
    /// # Errors
    /// Nothing was persisted and all stay fenced; it may be called again.
    pub fn finish_cut(&self, cut: Vec<(Arc<Topic>, Transaction)>) -> Result<Vec<bool>, TopicError> {
        let _one_at_a_time = self.changes.lock();
        let mut batch = Transaction::new();
        let mut topics = Vec::new();
        let mut are_there = Vec::new();
        for (topic, extra) in cut {
            let is_there = self.is_there(&topic) && self.is_stored(&topic, &mut batch)?;
            are_there.push(is_there);
            if !is_there {
                continue;
            }
            batch.append(extra);
            // A topic that was cut before needs nothing more.
            if topic.is_mirror() {
                let epochs = self.leader_epochs(&topic, &topic.state());
                let record = record_of(&topic, &epochs, false);
                batch.put::<TopicKeyspace>(topic.name(), &record);
                topics.push((topic, epochs));
            }
        }
        breaks::here(CutStep::CutReady)?;
        self.metadata.commit(batch)?;
        breaks::here(CutStep::CutStored)?;
        for (topic, epochs) in topics {
            topic.update(|state| {
                state.is_mirror = false;
                state.leader_epochs = epochs.clone().into();
            });
            self.hosting.open_for_writes(topic.id());
        }
        CutStep::Opened.reached();
        Ok(are_there)
    }

    pub(super) fn existing(&self, name: &str) -> Result<Arc<Topic>, TopicError> {
        self.topic(name)
            .ok_or_else(|| TopicError::Unknown(name.to_owned()))
    }
}

fn record_of(topic: &Topic, leader_epochs: &[LeaderEpoch], is_mirror: bool) -> TopicRecord {
    TopicRecord {
        id: topic.id(),
        is_mirror,
        leader_epochs: leader_epochs.to_vec(),
    }
}

pub(super) fn check_count(partitions: i32) -> Result<(), TopicError> {
    match partitions {
        1..=PARTITIONS_MAX => Ok(()),
        _ => Err(TopicError::InvalidPartitions(format!(
            "Number of partitions must be 1 to {PARTITIONS_MAX}, not {partitions}."
        ))),
    }
}

fn check_growth(topic: &Topic, total: i32, by_link: bool) -> Result<(), TopicError> {
    if topic.is_mirror() && !by_link {
        return Err(TopicError::Mirror(topic.name().to_string()));
    }
    check_count(total)?;
    let now = topic.partition_count();
    if total > now {
        return Ok(());
    }
    let name = topic.name();
    Err(TopicError::InvalidPartitions(match total == now {
        true => format!("Topic already has {now} partition(s)."),
        false => format!(
            "The topic {name} currently has {now} partition(s); {total} would not be an \
                 increase."
        ),
    }))
}

pub(super) fn check_overrides(overrides: &BTreeMap<String, String>) -> Result<(), TopicError> {
    for (name, value) in overrides {
        config::check(name, value).map_err(TopicError::InvalidConfig)?;
    }
    Ok(())
}

/// What is supported of a source's configs.
pub(super) fn supported(
    topic: &str,
    mut overrides: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    overrides.retain(|name, value| match config::check(name, value) {
        Ok(()) => true,
        Err(reason) => {
            tracing::warn!(topic, reason, "a config of the source topic is left out");
            false
        }
    });
    overrides
}

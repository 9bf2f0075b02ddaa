//! Mirrors: create (by name, by pattern, or for all topics of the source), show, forget.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use carrick_protocol::ids::TopicName;

use super::alter::matching;
use super::{LinkManager, Selection, show};
use crate::creation::{Each, Wish, create, mirrored_by, named_here, topic_name, topics_at_source};
use crate::description::{MirrorCreation, MirrorDescription};
use crate::error::LinkError;
use crate::record::MirrorRecord;
use crate::shared::{LinkShared, Mirror};
use crate::state::MirrorStatus;

/// Most topics that one request may name.
const TOPICS_MAX: usize = 10_000;

/// Which topics the caller may create; all, unless said otherwise.
#[derive(Clone)]
pub struct MayCreate(Arc<dyn Fn(&TopicName) -> bool + Send + Sync>);

impl MayCreate {
    pub fn if_allowed(allows: impl Fn(&TopicName) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(allows))
    }

    fn check(&self, topic: TopicName) -> Result<TopicName, LinkError> {
        match (self.0)(&topic) {
            true => Ok(topic),
            false => Err(LinkError::NotAllowed(topic)),
        }
    }
}

impl Default for MayCreate {
    fn default() -> Self {
        Self::if_allowed(|_| true)
    }
}

impl fmt::Debug for MayCreate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MayCreate")
    }
}

/// A mirror topic to be created.
#[derive(Debug, Clone, Default)]
pub struct NewMirror {
    /// The topic at the source.
    pub source_topic: String,
    /// Its name here; as at the source if not given.
    pub mirror_topic: Option<String>,
    /// `mirror.start.offset.spec`, and topic configs that are not synced from the source.
    pub configs: BTreeMap<String, String>,
    pub may_create: MayCreate,
}

/// Mirror topics to be created together.
#[derive(Debug, Clone)]
pub struct NewMirrors {
    /// Which topics of the source. `All` and a pattern leave out topics that are internal to the
    /// source, begin with `__`, or are already mirrored by the link.
    pub topics: Selection,
    /// As [`NewMirror::configs`], for each.
    pub configs: BTreeMap<String, String>,
    pub may_create: MayCreate,
    /// Check everything, create nothing.
    pub validate_only: bool,
}

impl LinkManager {
    /// Creates a mirror topic and starts to fill it.
    ///
    /// # Errors
    /// `NoSuchLink`, `LinkState`, `SourceUnavailable`, `NoSuchSourceTopic`, `SourceTopic`,
    /// `MirrorExists`, `TopicExists`, `InvalidName`, `InvalidConfig`, `NotAllowed`, `Catalog`.
    pub async fn create_mirror(
        &self,
        link: &str,
        new: NewMirror,
    ) -> Result<MirrorDescription, LinkError> {
        self.refuse_when_stopping()?;
        let shared = self.shared(link)?;
        let source_topic = topic_name(&new.source_topic)?;
        let topic = named_here(&shared, &source_topic, new.mirror_topic.as_deref())?;
        let topic = new.may_create.check(topic)?;
        let wish = Wish {
            source_topic,
            topic,
        };
        let created = create(&shared, vec![wish], &new.configs, false).await?;
        let record = created.into_iter().next();
        Ok(described(
            &shared,
            record.unwrap_or(Err(LinkError::ShuttingDown))?,
        ))
    }

    /// Creates mirror topics together, and starts to fill them. The outer error is about the whole
    /// request; each topic has its own outcome, and one that is refused doesn't stop the others.
    ///
    /// # Errors
    /// `NoSuchLink`, `LinkState`, `InvalidConfig`, `InvalidName` (a pattern that isn't a regular
    /// expression, or matches nothing); `SourceUnavailable` when its topics have to be listed.
    pub async fn create_mirrors(
        &self,
        link: &str,
        new: NewMirrors,
    ) -> Result<Vec<MirrorCreation>, LinkError> {
        self.refuse_when_stopping()?;
        let shared = self.shared(link)?;
        let names = source_topics(&shared, new.topics).await?;
        if names.len() > TOPICS_MAX {
            return Err(LinkError::InvalidName(format!(
                "{} topics are more than the {TOPICS_MAX} that can be mirrored in one step",
                names.len()
            )));
        }
        let named: Each<Wish> = names
            .iter()
            .map(|source_topic| {
                Ok(Wish {
                    topic: new
                        .may_create
                        .check(named_here(&shared, source_topic, None)?)?,
                    source_topic: source_topic.clone(),
                })
            })
            .collect();
        let wishes: Vec<Wish> = named.iter().flatten().cloned().collect();
        let mut created = create(&shared, wishes, &new.configs, new.validate_only)
            .await?
            .into_iter();
        let outcome = |(source_topic, wish): (TopicName, Result<Wish, LinkError>)| {
            let topic = wish.as_ref().map(|wish| wish.topic.to_string());
            let topic = topic.unwrap_or_else(|_| source_topic.to_string());
            let record = wish.and_then(|_| created.next().unwrap_or(Err(LinkError::ShuttingDown)));
            MirrorCreation {
                source_topic: source_topic.to_string(),
                topic,
                result: record.map(|record| described(&shared, record)),
            }
        };
        Ok(names.into_iter().zip(named).map(outcome).collect())
    }

    /// The mirrors of one link or of all, with this status or any, by link and name.
    ///
    /// # Errors
    /// `NoSuchLink`.
    pub fn mirrors(
        &self,
        link: Option<&str>,
        status: Option<MirrorStatus>,
    ) -> Result<Vec<MirrorDescription>, LinkError> {
        let links = match link {
            Some(name) => vec![self.shared(name)?],
            None => self.links.read().values().cloned().collect(),
        };
        let mut found = Vec::new();
        for link in links {
            let now_ms = link.now_ms();
            let inner = link.inner();
            let all = inner
                .mirrors
                .values()
                .map(|mirror| show::mirror(&inner, mirror, now_ms));
            found.extend(all.filter(|mirror| status.is_none_or(|status| mirror.status == status)));
        }
        let found = found.into_iter();
        Ok(found
            .map(|mirror| show::with_configs(mirror, &*self.ports.catalog))
            .collect())
    }

    /// One mirror, even if it was cut.
    ///
    /// # Errors
    /// `NotAMirror`.
    pub fn mirror(&self, topic: &str) -> Result<MirrorDescription, LinkError> {
        let name = TopicName::new(topic).map_err(|_| LinkError::NotAMirror(topic.to_owned()))?;
        let shown = self.links.read().values().find_map(|link| {
            let inner = link.inner();
            let mirror = inner.mirrors.get(&name)?;
            Some(show::mirror(&inner, mirror, link.now_ms()))
        });
        let shown = shown.ok_or_else(|| LinkError::NotAMirror(topic.to_owned()))?;
        Ok(show::with_configs(shown, &*self.ports.catalog))
    }

    /// The broker has deleted that topic, and its mirror record with it, in one write. Blocks on
    /// disk.
    ///
    /// By now a mirror of that name may have been created again: only mirrors that were known
    /// before the store was read, and aren't in it, have been deleted.
    pub fn topic_deleted(&self, topic: &TopicName) {
        let links: Vec<Arc<LinkShared>> = self.links.read().values().cloned().collect();
        let record = |link: &LinkShared| Some(link.inner().mirrors.get(topic)?.record.clone());
        let known: Vec<_> = links.iter().map(|link| record(link)).collect();
        let stored = self.ports.store.load_mirror(topic).ok().flatten();
        for (link, known) in links.iter().zip(known) {
            let is_gone = |record: &MirrorRecord| {
                !stored
                    .as_ref()
                    .is_some_and(|stored| stored.is_of_same(record))
            };
            let Some(gone) = known.filter(is_gone) else {
                continue;
            };
            let mut inner = link.inner();
            let mirror = inner.mirrors.get(topic);
            if mirror.is_some_and(|mirror| mirror.record.is_of_same(&gone)) {
                inner.mirrors.remove(topic);
                drop(inner);
                link.reconcile();
            }
        }
    }
}

/// A mirror as it is now, or as it would start if it was only validated.
fn described(shared: &LinkShared, record: MirrorRecord) -> MirrorDescription {
    let now_ms = shared.now_ms();
    let shown = {
        let inner = shared.inner();
        match inner.mirrors.get(&record.topic) {
            Some(mirror) => show::mirror(&inner, mirror, now_ms),
            None => show::mirror(&inner, &Mirror::new(record), now_ms),
        }
    };
    show::with_configs(shown, &*shared.ports.catalog)
}

/// The selected topics at the source. If a pattern or `all` selects topics that are already
/// mirrored, they are skipped, so that a half-done request can be repeated.
async fn source_topics(
    shared: &Arc<LinkShared>,
    selection: Selection,
) -> Result<Vec<TopicName>, LinkError> {
    let pattern = match selection {
        Selection::Names(names) => {
            let mut seen = BTreeSet::new();
            let once = |name: &TopicName| seen.insert(name.clone());
            return Ok(names.into_iter().filter(once).collect());
        }
        Selection::Pattern(pattern) => Some(pattern),
        Selection::All => None,
    };
    let mut names = topics_at_source(shared).await?;
    if let Some(pattern) = pattern {
        names = matching(shared, &pattern, names).await?;
        if names.is_empty() {
            return Err(LinkError::InvalidName(format!(
                "no topic of the source matches the pattern '{pattern}'"
            )));
        }
    }
    let mirrored = mirrored_by(shared);
    names.retain(|name| !mirrored.contains_key(name));
    Ok(names)
}

//! Creation of mirrors: asks the source about the topics ([`plan`]), then creates them.
//!
//! Creates any number of mirrors together: [`TOPICS_PER_STEP`] topics at a time are looked up at
//! the source and created in one atomic write. A topic that is refused doesn't stop the others. The
//! source may be slow to answer, so `change` is held only for the write.

mod plan;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use carrick_protocol::ids::TopicName;

use crate::error::LinkError;
use crate::ports::CatalogError;
use crate::record::{MirrorRecord, NewMirrorTopic};
use crate::shared::{LinkShared, Mirror, detached};
use crate::state::MirrorStatus;
use crate::topic_configs;
use plan::Asking;
pub(crate) use plan::topics_at_source;

/// Topics that are looked up, and created in one write, at a time.
const TOPICS_PER_STEP: usize = 200;

/// A topic to be mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Its name at the source.
    pub(crate) source_topic: TopicName,
    /// Its name here.
    pub(crate) topic: TopicName,
}

/// The outcome for each of some topics, in their order.
pub(crate) type Each<T> = Vec<Result<T, LinkError>>;

/// Mirrors topics, all with the same configs; returns the records that are stored, or would be in a
/// dry run. Runs to its end whether or not anything waits for it.
///
/// # Errors
/// `LinkState` for a link that has failed, `InvalidConfig`; everything else is an outcome of a
/// topic.
pub(crate) async fn create(
    shared: &Arc<LinkShared>,
    wishes: Vec<Wish>,
    configs: &BTreeMap<String, String>,
    validate_only: bool,
) -> Result<Each<MirrorRecord>, LinkError> {
    let asking = Asking::of(shared, configs)?;
    let shared = Arc::clone(shared);
    detached(async move {
        let mut created = Each::with_capacity(wishes.len());
        for part in wishes.chunks(TOPICS_PER_STEP) {
            created.extend(create_part(&shared, &asking, part, validate_only).await);
        }
        created
    })
    .await
}

async fn create_part(
    shared: &LinkShared,
    asking: &Asking,
    part: &[Wish],
    validate_only: bool,
) -> Each<MirrorRecord> {
    let free = free_here(shared, part);
    let planned = asking.plan(shared, ok(&free)).await;
    let planned = then(free, planned);
    if validate_only {
        let records = planned.into_iter();
        return records.map(|new| Ok(new?.record)).collect();
    }
    let stored = store(shared, ok(&planned)).await;
    let created = then(planned, stored);
    shared.reconcile();
    created
}

/// The topics that were not refused so far.
fn ok<T: Clone>(outcomes: &[Result<T, LinkError>]) -> Vec<T> {
    outcomes.iter().flatten().cloned().collect()
}

/// The outcomes, in order, once the topics without an objection have reached `next`.
fn then<T, U>(outcomes: Each<T>, next: Each<U>) -> Each<U> {
    let mut next = next.into_iter();
    let outcomes = outcomes.into_iter();
    outcomes
        .map(|outcome| outcome.and_then(|_| next.next().unwrap_or(Err(LinkError::ShuttingDown))))
        .collect()
}

/// The same error for all.
fn all_failed<T>(count: usize, error: &LinkError) -> Each<T> {
    (0..count).map(|_| Err(error.clone())).collect()
}

/// The name here of a topic of the source. A link with a prefix puts it before every name.
///
/// # Errors
/// `InvalidName`.
pub(crate) fn named_here(
    shared: &LinkShared,
    source_topic: &TopicName,
    wanted: Option<&str>,
) -> Result<TopicName, LinkError> {
    let prefix = shared.inner().config.prefix.clone();
    let named = topic_name(&format!("{prefix}{source_topic}"))?;
    let name = match wanted {
        None => Ok(named),
        Some(wanted) if prefix.is_empty() => topic_name(wanted),
        Some(wanted) if wanted == named.as_str() => Ok(named),
        Some(_) => Err(LinkError::InvalidName(format!(
            "link '{}' has cluster.link.prefix '{prefix}': its mirror of '{source_topic}' is \
             named '{named}'; leave the name out",
            shared.name
        ))),
    }?;
    match name.is_internal() {
        false => Ok(name),
        true => Err(LinkError::InvalidName(format!(
            "'{name}' is the name of an internal topic of Kafka: no mirror can have it"
        ))),
    }
}

pub(crate) fn topic_name(name: &str) -> Result<TopicName, LinkError> {
    TopicName::new(name).map_err(|error| LinkError::InvalidName(error.to_string()))
}

/// Refuses what can be refused without asking the source: names that are taken here, and topics
/// that the link already mirrors. (A fetch session can't hold a partition twice.)
fn free_here(shared: &LinkShared, wishes: &[Wish]) -> Each<Wish> {
    let mut mirrored = mirrored_by(shared);
    let mut names = HashSet::new();
    let mut check = |wish: &Wish| {
        let is_free = shared.ports.catalog.partitions(&wish.topic).is_none();
        if !is_free || !names.insert(wish.topic.clone()) {
            return Err(taken(shared, &wish.topic));
        }
        not_mirrored(shared, &mirrored, &wish.source_topic)?;
        mirrored.insert(wish.source_topic.clone(), wish.topic.clone());
        Ok(wish.clone())
    };
    wishes.iter().map(&mut check).collect()
}

/// The topics that the link mirrors at present: name at the source, name here.
pub(crate) fn mirrored_by(shared: &LinkShared) -> HashMap<TopicName, TopicName> {
    let inner = shared.inner();
    let records = inner.mirrors.values().map(|mirror| &mirror.record);
    records
        .filter(|record| record.status != MirrorStatus::Stopped)
        .map(|record| (record.source_topic.clone(), record.topic.clone()))
        .collect()
}

fn not_mirrored(
    shared: &LinkShared,
    mirrored: &HashMap<TopicName, TopicName>,
    source_topic: &TopicName,
) -> Result<(), LinkError> {
    match mirrored.get(source_topic) {
        Some(topic) => Err(LinkError::SourceMirrored {
            source_topic: source_topic.clone(),
            link: shared.name.clone(),
            topic: topic.clone(),
        }),
        None => Ok(()),
    }
}

/// Why a name is not available: what already uses it.
fn taken(shared: &LinkShared, topic: &TopicName) -> LinkError {
    match shared.owner_of(topic) {
        Some(link) => LinkError::MirrorExists {
            topic: topic.clone(),
            link,
        },
        None => LinkError::TopicExists(topic.clone()),
    }
}

/// Creates the topics and shows their mirrors.
async fn store(shared: &LinkShared, planned: Vec<NewMirrorTopic>) -> Each<MirrorRecord> {
    if planned.is_empty() {
        return Each::new();
    }
    let _change = shared.change.lock().await;
    let over = shared.inner().over.clone();
    if let Some(over) = over {
        return all_failed(planned.len(), &over);
    }
    // Another caller may have been faster.
    let mirrored = mirrored_by(shared);
    let free: Each<NewMirrorTopic> = planned
        .into_iter()
        .map(|new| not_mirrored(shared, &mirrored, &new.record.source_topic).map(|()| new))
        .collect();
    let new = ok(&free);
    let count = new.len();
    let answers = shared.blocking(move |ports| {
        let answers = ports.catalog.create_mirrors(&new);
        answers.map(|answers| new.into_iter().zip(answers).collect::<Vec<_>>())
    });
    let stored = match answers.await {
        Ok(Ok(answers)) => answers
            .into_iter()
            .map(|(new, answer)| show(shared, new.record, answer))
            .collect(),
        Ok(Err(error)) => all_failed(count, &error.into()),
        Err(error) => all_failed(count, &error),
    };
    then(free, stored)
}

/// Shows a mirror whose topic was created.
fn show(
    shared: &LinkShared,
    record: MirrorRecord,
    answer: Result<(), CatalogError>,
) -> Result<MirrorRecord, LinkError> {
    match answer {
        Ok(()) => {}
        Err(CatalogError::TopicExists(topic)) => return Err(taken(shared, &topic)),
        Err(error) => return Err(error.into()),
    }
    let (link, topic, partitions) = (&shared.name, &record.topic, record.partitions);
    tracing::info!(%link, %topic, partitions, "mirror created");
    for kept in topic_configs::kept(&*shared.ports.catalog, topic) {
        tracing::info!(%link, %topic, config = %kept, "has the source's value as its own config");
    }
    let mut inner = shared.inner();
    // A stopped mirror of that name, whose topic was deleted, must not pass its figures on to the
    // new one.
    let mirror = Mirror::new(record.clone());
    inner.mirrors.insert(record.topic.clone(), mirror);
    Ok(record)
}

//! Mirrors: creation, by name, by pattern, or all that the source has.

use std::collections::BTreeSet;
use std::sync::Arc;

use carrick_protocol::ids::TopicName;

use super::alter::whole_name;
use super::creation::{Each, Wish, create, mirrored_by, named_here, topic_name, topics_at_source};
use super::{LinkManager, MirrorCreation, NewMirror, NewMirrors, Selection, show};
use crate::description::MirrorDescription;
use crate::error::LinkError;
use crate::link::shared::{LinkShared, Mirror};
use crate::record::MirrorRecord;

/// Most topics that one request may name.
const TOPICS_MAX: usize = 10_000;

impl LinkManager {
    pub(super) async fn do_create_mirror(
        &self,
        link: &str,
        new: NewMirror,
    ) -> Result<MirrorDescription, LinkError> {
        self.refuse_when_stopping()?;
        let shared = self.shared(link)?;
        let source_topic = topic_name(&new.source_topic)?;
        let topic = named_here(&shared, &source_topic, new.mirror_topic.as_deref())?;
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

    pub(super) async fn do_create_mirrors(
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
                    topic: named_here(&shared, source_topic, None)?,
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
}

/// A mirror as it is now; as it would begin, if it wasn't created.
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

/// The topics at the source that are meant. Those that a pattern, or all, would mirror a second
/// time are passed over: what was done in part can be asked for again.
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
    let regex = pattern.as_deref().map(whole_name).transpose()?;
    let mut names = topics_at_source(shared).await?;
    if let (Some(regex), Some(pattern)) = (regex, pattern) {
        names.retain(|name| regex.is_match(name.as_str()));
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

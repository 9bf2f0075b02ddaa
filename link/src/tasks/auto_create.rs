//! `AutoCreateMirror`: mirrors every source topic that the filters include, now and when it is created.
//!
//! A topic that the link knows is left alone, even after its mirror was promoted. A topic that can't be
//! mirrored appears in the task's error and is tried again at each run; it doesn't stop the others.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use carrick_protocol::ids::TopicName;

use super::{Job, Run};
use crate::config::LinkConfig;
use crate::creation::{Wish, create, named_here, topics_at_source};
use crate::error::LinkError;
use crate::shared::{JobPlan, LinkShared, Note};
use crate::state::{TaskError, TaskErrorCode};

/// It runs as often as known topics are checked, but never more often than this.
const INTERVAL_MIN_MS: u64 = 1_000;
/// Topics that an error names.
const NAMED_MAX: usize = 5;

/// While `auto.create.mirror.topics.enable` is set.
pub(crate) const JOB: Job = Job {
    plan: JobPlan {
        name: "AutoCreateMirror",
        interval_ms,
    },
    run: |link| {
        let link = Arc::clone(link);
        let run: Run = Box::pin(async move { mirror_new(link).await.map(|()| Note::new()) });
        Some(run)
    },
};

fn interval_ms(config: &LinkConfig) -> Option<u64> {
    let interval_ms = config.metadata_max_age_ms.min(config.topic_config_sync_ms);
    config.auto_create.then(|| interval_ms.max(INTERVAL_MIN_MS))
}

async fn mirror_new(link: Arc<LinkShared>) -> Result<(), TaskError> {
    let config = Arc::clone(&link.inner().config);
    let filters = &config.auto_create_filters;
    if !filters.includes_any() {
        return Err((
            TaskErrorCode::MisconfigurationError,
            "no filter includes a topic: set auto.create.mirror.topics.filters".to_owned(),
        ));
    }
    let found = topics_at_source(&link).await.map_err(task_error)?;
    let known = known_to(&link);
    let new = found
        .into_iter()
        .filter(|name| filters.include(name.as_str()) && !known.contains(name));
    let mut refused = Vec::new();
    let mut wishes = Vec::new();
    for source_topic in new {
        match named_here(&link, &source_topic, None) {
            Ok(topic) => wishes.push(Wish {
                source_topic,
                topic,
            }),
            Err(error) => refused.push(error),
        }
    }
    let created = create(&link, wishes, &BTreeMap::new(), false).await;
    let created = created.map_err(task_error)?;
    refused.extend(created.into_iter().filter_map(Result::err));
    summary(refused)
}

/// The source topics of all mirrors of the link, the stopped ones included.
fn known_to(link: &LinkShared) -> HashSet<TopicName> {
    let inner = link.inner();
    let records = inner.mirrors.values().map(|mirror| &mirror.record);
    records.map(|record| record.source_topic.clone()).collect()
}

/// What the task says of the topics that could not be mirrored.
fn summary(mut refused: Vec<LinkError>) -> Result<(), TaskError> {
    // Mirrored by a request meanwhile, or gone meanwhile: no error.
    refused.retain(|error| {
        !matches!(
            error,
            LinkError::SourceMirrored { .. } | LinkError::NoSuchSourceTopic(_)
        )
    });
    let count = refused.len();
    let Some(first) = refused.first() else {
        return Ok(());
    };
    let code = code_of(first);
    let mut detail: Vec<String> = refused
        .iter()
        .take(NAMED_MAX)
        .map(ToString::to_string)
        .collect();
    if count > NAMED_MAX {
        detail.push(format!("and {} more topics", count - NAMED_MAX));
    }
    let advice = "to leave a topic out, exclude it in auto.create.mirror.topics.filters";
    Err((code, format!("{}; {advice}", detail.join("; "))))
}

fn task_error(error: LinkError) -> TaskError {
    (code_of(&error), error.to_string())
}

fn code_of(error: &LinkError) -> TaskErrorCode {
    match error {
        LinkError::TopicExists(_) | LinkError::MirrorExists { .. } => {
            TaskErrorCode::TopicExistsError
        }
        LinkError::InvalidName(_) | LinkError::InvalidConfig { .. } => {
            TaskErrorCode::MisconfigurationError
        }
        LinkError::SourceTopic { error, .. } if error.contains("AUTHORIZATION_FAILED") => {
            TaskErrorCode::AuthorizationError
        }
        LinkError::SourceUnavailable { code, .. } => (*code).into(),
        _ => TaskErrorCode::UnknownError,
    }
}

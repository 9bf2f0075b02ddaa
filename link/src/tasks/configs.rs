//! `TopicConfigsSync`: a job that copies the source's topic configs to mirrors. Which configs are
//! synced is in [`crate::topic_configs`].

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicName;

use super::{Job, Run};
use crate::ports::TopicCatalog;
use crate::shared::{JobPlan, LinkShared, Note};
use crate::source::{SourceCluster, answered};
use crate::state::{TaskError, TaskErrorCode};
use crate::tasks::source_code;
use crate::topic_configs::{changes, kept, wanted};

/// Every `topic.config.sync.ms`.
pub(crate) const JOB: Job = Job {
    plan: JobPlan {
        name: "TopicConfigsSync",
        interval_ms: |config| Some(config.topic_config_sync_ms),
    },
    run,
};

/// Topics in one DescribeConfigs request.
const TOPICS_PER_REQUEST: usize = 200;

/// How many topics a note names.
const NAMED_MAX: usize = 5;

/// The note about these topics.
fn note(catalog: &dyn TopicCatalog, topics: &[TopicName]) -> Note {
    let kept: Vec<String> = topics
        .iter()
        .filter_map(|topic| {
            let kept = kept(catalog, topic);
            let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
            (!kept.is_empty()).then(|| format!("{topic}: {}", kept.join(", ")))
        })
        .collect();
    if kept.is_empty() {
        return Note::new();
    }
    let mut named: Vec<String> = kept.iter().take(NAMED_MAX).cloned().collect();
    if kept.len() > NAMED_MAX {
        named.push(format!("and {} more topics", kept.len() - NAMED_MAX));
    }
    format!(
        "configs with the source's values where this broker's defaults differ: {}",
        named.join("; ")
    )
}

fn run(link: &Arc<LinkShared>) -> Option<Run> {
    let inner = link.inner();
    let wanted = inner.mirrors.values().filter(|mirror| mirror.is_wanted());
    let mirrors: Vec<_> = wanted
        .map(|mirror| {
            let record = &mirror.record;
            (record.topic.clone(), record.source_topic.clone())
        })
        .collect();
    if mirrors.is_empty() {
        return None;
    }
    let (source, catalog) = (Arc::clone(&inner.source), Arc::clone(&link.ports.catalog));
    let include = inner.config.topic_config_sync_include.clone();
    Some(Box::pin(sync(source, catalog, mirrors, include)))
}

/// One run over these mirrors: (topic here, topic at the source).
pub(crate) async fn sync(
    source: Arc<dyn SourceCluster>,
    catalog: Arc<dyn TopicCatalog>,
    mirrors: Vec<(TopicName, TopicName)>,
    include: Vec<String>,
) -> Result<Note, TaskError> {
    let mut first_error = None;
    for chunk in mirrors.chunks(TOPICS_PER_REQUEST) {
        let names = chunk
            .iter()
            .map(|(_, source_topic)| source_topic.clone())
            .collect();
        let answers = source
            .topic_configs(names)
            .await
            .map_err(|error| (source_code(&error), error.to_string()))?;
        let mut desired = Vec::new();
        for ((topic, source_topic), answer) in chunk.iter().zip(answers) {
            match answer.error {
                ErrorCode::NONE => {
                    let wanted = wanted(&answer.entries, &include, &*catalog);
                    desired.push((topic.clone(), wanted));
                }
                error => {
                    let words = answer.error_message.map(|words| format!(": {words}"));
                    let words = words.unwrap_or_default();
                    let answer = answered(error, "DESCRIBE_CONFIGS of the topic");
                    let detail = format!("topic '{source_topic}': {answer}{words}");
                    first_error.get_or_insert((code_of(error), detail));
                }
            }
        }
        let (catalog, include) = (Arc::clone(&catalog), include.clone());
        let stored = tokio::task::spawn_blocking(move || store(&*catalog, desired, &include)).await;
        match stored {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                first_error.get_or_insert(error);
            }
            Err(_) => return Err((TaskErrorCode::UnknownError, "the task was stopped".into())),
        }
    }
    let topics: Vec<TopicName> = mirrors.into_iter().map(|(topic, _)| topic).collect();
    first_error.map_or_else(|| Ok(note(&*catalog, &topics)), Err)
}

fn store(
    catalog: &dyn TopicCatalog,
    desired: Vec<(TopicName, BTreeMap<String, String>)>,
    include: &[String],
) -> Result<(), TaskError> {
    let mut result = Ok(());
    for (topic, wanted) in desired {
        let done = catalog.configs(&topic).and_then(|present| {
            let changes = changes(&wanted, &present, include);
            if changes.is_empty() {
                Ok(())
            } else {
                catalog.set_configs(&topic, &changes)
            }
        });
        if let Err(error) = done {
            result = Err((
                TaskErrorCode::UnknownError,
                format!("topic '{topic}': {error}"),
            ));
        }
    }
    result
}

fn code_of(error: ErrorCode) -> TaskErrorCode {
    match error {
        ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
            TaskErrorCode::AuthorizationError
        }
        _ => TaskErrorCode::UnknownError,
    }
}

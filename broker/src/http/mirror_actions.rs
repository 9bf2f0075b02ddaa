//! `/links/{link}/mirrors:promote`, `:failover`, `:pause`, `:resume`, and Carrick's own
//! `:cancel-promote`.
//!
//! The answer is 200 with one outcome per mirror, even if some were refused: each outcome says so.
//!
//! A promotion waits for the source, so it is answered immediately: the mirrors are
//! `PENDING_STOPPED`, with their lags. With `?wait=SECONDS` the answer waits for the cut, at most
//! [`WAIT_MAX_SECONDS`]; a failover waits [`FAILOVER_WAIT_SECONDS`] unless `wait` says otherwise.
//! After that the work continues, and the mirror shows how it ended. Only a few clients may wait at
//! a time, so that others find room ([`super::limits`]); the rest are answered immediately.

use std::time::Duration;

use axum::Json;
use axum::routing::{MethodRouter, post};
use carrick_link::description::MirrorOutcome;
use carrick_link::manager::Selection;
use carrick_link::verb::{CutKind, Verb};
use carrick_protocol::ids::TopicName;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::error::ApiError;
use super::extract::{Base, Body, LinkPath, Path, Query};
use super::gate::Gate;
use super::limits::{FAILOVER_WAIT_SECONDS, Room, WAIT_MAX_SECONDS};
use super::mirrors::{mirror_url, to_lags};
use super::model::mirror::{AlterMirrorData, AlterMirrorsRequest};
use super::model::{Collection, ResourceMetadata, name_of};
use super::{App, Shared};
use crate::access::Operation;

/// The query of all five.
#[derive(Debug, Deserialize)]
pub struct ActionQuery {
    /// Show what would happen, but change nothing.
    #[serde(default)]
    validate_only: bool,
    /// How many seconds to wait for the cut of a promotion or failover.
    wait: Option<u64>,
}

/// The handler of one verb.
///
/// It refuses with 404 for an unknown link and 400 for an invalid selection.
pub fn on(verb: Verb, gate: &Gate) -> MethodRouter<Shared> {
    let gate = gate.clone();
    post(move |app: App, base, path, query, body| async move {
        let wait = Wait::of(verb, &query, &gate)?;
        act(app, base, path, query, body, verb, wait).await
    })
}

/// The `kind` of the answer, Confluent's name.
const fn kind_of(verb: Verb) -> &'static str {
    match verb {
        Verb::Promote => "KafkaPromoteMirror",
        Verb::Failover => "KafkaFailoverMirror",
        Verb::Pause => "KafkaPauseMirror",
        Verb::Resume => "KafkaResumeMirror",
        Verb::CancelPromotion => "KafkaCancelPromoteMirror",
    }
}

/// How long a request waits for the cut that it asks for, and its permit to wait.
struct Wait {
    time: Duration,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Wait {
    fn of(verb: Verb, Query(query): &Query<ActionQuery>, gate: &Gate) -> Result<Self, ApiError> {
        let usual = match verb.cut() {
            Some(CutKind::Failover) => FAILOVER_WAIT_SECONDS,
            Some(CutKind::Promote) => 0,
            None if query.wait.is_some() => {
                return Err(ApiError::bad_request(
                    "'wait' is only for promotions and failovers",
                ));
            }
            None => 0,
        };
        let seconds = query.wait.unwrap_or(usual);
        if seconds > WAIT_MAX_SECONDS {
            return Err(ApiError::bad_request(format!(
                "'wait' is at most {WAIT_MAX_SECONDS} seconds: poll the mirrors after that"
            )));
        }
        let permit = (seconds > 0)
            .then(|| gate.wait(Room::of_verb(verb)))
            .flatten();
        let time = permit
            .as_ref()
            .map_or(Duration::ZERO, |_| Duration::from_secs(seconds));
        Ok(Wait {
            time,
            _permit: permit,
        })
    }
}

async fn act(
    app: App,
    base: Base,
    Path(path): Path<LinkPath>,
    Query(query): Query<ActionQuery>,
    Body(body): Body<AlterMirrorsRequest>,
    verb: Verb,
    wait: Wait,
) -> Result<Json<Collection<AlterMirrorData>>, ApiError> {
    app.noted.detail(format!("link {}", path.link));
    let selection = to_selection(body)?;
    let dry_run = query.validate_only;
    app.noted.dry_run(dry_run);
    let outcomes = app
        .door
        .links(Operation::Alter)?
        .alter_mirrors_within(&path.link, verb, selection, dry_run, wait.time)
        .await?;
    let data: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| to_data(&base, &path.link, outcome))
        .collect();
    for it in &data {
        app.noted
            .outcome("mirror", &it.mirror_topic_name, it.error_code);
    }
    let own = base.at(&format!("/links/{}/mirrors", path.link));
    Ok(Json(Collection::new(kind_of(verb), own, data)))
}

fn to_selection(body: AlterMirrorsRequest) -> Result<Selection, ApiError> {
    selection_of(
        body.mirror_topic_names,
        body.mirror_topic_name_pattern,
        body.all,
        ["mirror_topic_names", "mirror_topic_name_pattern"],
    )
}

/// Exactly one of a list, a pattern and all; `fields` are the first two's names.
pub(super) fn selection_of(
    names: Option<Vec<String>>,
    pattern: Option<String>,
    all: bool,
    fields: [&str; 2],
) -> Result<Selection, ApiError> {
    match (names, pattern, all) {
        (Some(names), None, false) if !names.is_empty() => {
            let names = names.iter().map(|name| {
                TopicName::new(name).map_err(|error| ApiError::bad_request(error.to_string()))
            });
            Ok(Selection::Names(names.collect::<Result<_, _>>()?))
        }
        (None, Some(pattern), false) => Ok(Selection::Pattern(pattern)),
        (None, None, true) => Ok(Selection::All),
        _ => Err(ApiError::bad_request(format!(
            "name the topics with exactly one of {} (not empty), {}, and all",
            fields[0], fields[1]
        ))),
    }
}

fn to_data(base: &Base, link: &str, outcome: MirrorOutcome) -> AlterMirrorData {
    let MirrorOutcome {
        topic,
        result,
        report,
    } = outcome;
    let mut data = AlterMirrorData {
        kind: AlterMirrorData::KIND.to_owned(),
        metadata: ResourceMetadata::new(mirror_url(base, link, &topic)),
        mirror_topic_name: topic,
        error_code: None,
        error_message: None,
        mirror_lags: Vec::new(),
        messages_truncated: None,
        partition_level_truncation_data: Vec::new(),
        mirror_status: None,
        report,
    };
    match result {
        Ok(mirror) => {
            data.mirror_lags = to_lags(&mirror.lags);
            data.mirror_status = Some(name_of(&mirror.status));
        }
        Err(error) => {
            let body = ApiError::from(error).into_body();
            data.error_code = Some(body.error_code);
            data.error_message = Some(body.message);
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(names: Option<&[&str]>, pattern: Option<&str>, all: bool) -> AlterMirrorsRequest {
        AlterMirrorsRequest {
            mirror_topic_names: names.map(|names| names.iter().map(|n| (*n).to_owned()).collect()),
            mirror_topic_name_pattern: pattern.map(str::to_owned),
            all,
        }
    }

    #[test]
    fn a_selection_is_exactly_one_of_three() {
        assert!(matches!(
            to_selection(body(Some(&["a"]), None, false)),
            Ok(Selection::Names(_))
        ));
        assert!(matches!(
            to_selection(body(None, Some("a"), false)),
            Ok(Selection::Pattern(_))
        ));
        assert!(matches!(
            to_selection(body(None, None, true)),
            Ok(Selection::All)
        ));
        for wrong in [
            body(None, None, false),
            body(Some(&[]), None, false),
            body(Some(&["a"]), Some("a"), false),
            body(Some(&["a"]), None, true),
            body(Some(&["not/a/topic"]), None, false),
        ] {
            assert!(to_selection(wrong).is_err());
        }
    }
}

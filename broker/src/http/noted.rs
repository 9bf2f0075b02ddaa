//! What the audit log says of a request: at least one line for a request that was to change
//! something, whether or not its handler says more.
//!
//! The door notes what it refuses, so an answer of 403 is not noted a second time.

use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::Mutex;

use super::Shared;
use super::caller::Caller;
use super::error::{ApiError, FORBIDDEN, Failure};
use super::routes::{Route, Scope};
use crate::audit::{Event, Outcome, Target, Via};

/// What handlers say of the request they serve.
#[derive(Debug)]
pub struct Noted {
    action: &'static str,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    detail: String,
    is_dry_run: bool,
    targets: Vec<Target>,
    /// If the request has an outcome for each of several.
    outcomes: Vec<(Target, Option<i32>)>,
}

impl Noted {
    /// Nothing said yet of a request that does this.
    pub fn new(action: &'static str) -> Self {
        Self {
            action,
            said: Mutex::default(),
        }
    }

    /// What the request does, in the audit log's words.
    pub fn action(&self) -> &'static str {
        self.action
    }

    /// What the request is about, if its path does not say so.
    pub fn target(&self, kind: &'static str, name: &str) {
        self.said.lock().targets = vec![Target::new(kind, name)];
    }

    /// The same for one more of several that end alike.
    pub fn also(&self, kind: &'static str, name: &str) {
        self.said.lock().targets.push(Target::new(kind, name));
    }

    /// Whether nothing is to be changed. Only the handler knows: whoever writes `validate_only` to a
    /// route that does not heed it changes something.
    pub fn dry_run(&self, is_dry_run: bool) {
        self.said.lock().is_dry_run = is_dry_run;
    }

    /// More about the change: names, never values.
    pub fn detail(&self, detail: impl Into<String>) {
        self.said.lock().detail = detail.into();
    }

    /// How it ended for one of several, with the code of its error.
    pub fn outcome(&self, kind: &'static str, name: &str, error_code: Option<i32>) {
        let outcome = (Target::new(kind, name), error_code);
        self.said.lock().outcomes.push(outcome);
    }
}

impl Said {
    /// One target and outcome a line.
    fn lines(&mut self, of_path: Option<Target>, answer: Option<i32>) -> Vec<Line> {
        let several = std::mem::take(&mut self.outcomes);
        let targets = std::mem::take(&mut self.targets);
        let lines = match several.is_empty() {
            true if targets.is_empty() => vec![(of_path, answer)],
            true => {
                let each = targets.into_iter();
                each.map(|target| (Some(target), answer)).collect()
            }
            false => {
                let each = several.into_iter();
                each.map(|(target, code)| (Some(target), code)).collect()
            }
        };
        let outcome = |(target, code)| match code {
            None => Some((target, Outcome::Done)),
            // Noted by the door.
            Some(FORBIDDEN) => None,
            Some(code) => Some((target, Outcome::Failed(code.to_string()))),
        };
        lines.into_iter().filter_map(outcome).collect()
    }
}

type Line = (Option<Target>, Outcome);

/// What the layer around a route's handler needs.
#[derive(Clone)]
pub(super) struct Entry {
    pub shared: Shared,
    pub route: &'static Route,
}

/// Refuses paths that name another cluster, and notes what the others change.
pub(super) async fn enter(
    State(Entry { shared, route }): State<Entry>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let of_path = |name: &str| params.iter().find(|(key, _)| *key == name);
    if let Some((_, cluster)) = of_path("cluster_id").filter(|_| route.scope == Scope::Cluster)
        && *cluster != *shared.cluster_id
    {
        let message = format!("Cluster {cluster} cannot be found.");
        return Err(ApiError::new(StatusCode::NOT_FOUND, 404, message));
    }
    let noted = Arc::new(Noted::new(route.name));
    request.extensions_mut().insert(Arc::clone(&noted));
    let caller = request.extensions().get::<Caller>().cloned();
    let (Some(kind), Some(caller)) = (route.changes, caller) else {
        return Ok(next.run(request).await);
    };
    let target = of_path(kind).map(|(_, name)| Target::new(kind, name));
    let response = next.run(request).await;
    let failure = response.extensions().get::<Failure>().map(|it| it.0);
    let status = i32::from(response.status().as_u16());
    let failure = failure.or((status >= 400).then_some(status));
    let mut said = noted.said.lock();
    for (target, outcome) in said.lines(target, failure) {
        shared.broker().audit.note(Event {
            who: caller.principal.clone(),
            from: caller.host,
            via: Via::Rest,
            action: route.name,
            target,
            detail: said.detail.clone(),
            is_dry_run: said.is_dry_run,
            outcome,
        });
    }
    drop(said);
    Ok(response)
}

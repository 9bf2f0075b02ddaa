//! `/healthz` and `/readyz`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;

use super::Shared;
use super::caller::Caller;
use super::error::{ApiError, RETRIABLE};
use crate::partition::ProblemKind;
use crate::problems::Tally;
use crate::starting::Starting;

/// `GET /healthz`: 200 while the process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 while Kafka clients are served, 503 before and while it stops. What goes wrong is
/// in the text: the others are served all the same.
///
/// # Errors
/// 503.
pub async fn readyz(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<String, ApiError> {
    if app.ready.get() {
        return Ok(ready(&app.problems.now(), caller.is_known));
    }
    let message = "clients are not served: the broker starts or stops";
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        RETRIABLE,
        message,
    ))
}

/// Anything else while the broker starts, `/readyz` as well: 503, and how far it is.
pub async fn starting(State(starting): State<Arc<Starting>>) -> ApiError {
    let message = format!("clients are not served yet: {starting}");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, RETRIABLE, message)
}

fn ready(problems: &BTreeMap<ProblemKind, Tally>, shows_names: bool) -> String {
    let all = problems.iter().map(|(kind, tally)| match kind {
        _ if !shows_names => format!("{}: {}", kind.name(), tally.count),
        ProblemKind::Offline => format!("offline: {}", tally.who()),
        _ => format!("{}: {} ({})", kind.name(), tally.who(), tally.detail),
    });
    let all: Vec<String> = all.collect();
    match all.is_empty() {
        true => "ready\n".to_owned(),
        false => format!("ready, but {}\n", all.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_is_named() {
        assert_eq!(ready(&BTreeMap::new(), true), "ready\n");
        let tally = |names: &[&str], detail: &str| Tally {
            count: names.len(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            detail: detail.to_owned(),
        };
        let mut all = BTreeMap::from([(ProblemKind::Offline, tally(&["t-0", "t-3"], "gone"))]);
        assert_eq!(ready(&all, true), "ready, but offline: t-0, t-3\n");
        all.insert(ProblemKind::DiskFull, tally(&["u-0"], "no room"));
        assert_eq!(
            ready(&all, true),
            "ready, but offline: t-0, t-3; disk_full: u-0 (no room)\n"
        );
        assert_eq!(ready(&all, false), "ready, but offline: 2; disk_full: 1\n");
    }
}

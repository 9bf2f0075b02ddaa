//! `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use carrick_protocol::ids::TopicPartition;

use super::App;
use super::error::{ApiError, RETRIABLE};
use crate::starting::Starting;

/// `GET /healthz`: 200 while the process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 while Kafka clients are served, 503 before and while it stops. Partitions that
/// are offline are named in the text.
///
/// # Errors
/// 503.
pub async fn readyz(State(app): State<App>) -> Result<String, ApiError> {
    if app.ready.get() {
        return Ok(ready(&app.catalog.offline()));
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

fn ready(offline: &[TopicPartition]) -> String {
    let names: Vec<_> = offline.iter().map(TopicPartition::to_string).collect();
    match names.is_empty() {
        true => "ready\n".to_owned(),
        false => format!("ready, but offline: {}\n", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_are_offline_are_named() {
        assert_eq!(ready(&[]), "ready\n");
        let topic = carrick_protocol::ids::TopicName::new("t").unwrap();
        let offline = [0, 3].map(|number| TopicPartition::new(topic.clone(), number));
        assert_eq!(ready(&offline), "ready, but offline: t-0, t-3\n");
    }
}

//! `/healthz` and `/readyz`.

use axum::extract::State;
use axum::http::StatusCode;

use super::App;
use super::error::{ApiError, RETRIABLE};

/// `GET /healthz`: 200 while the process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 while Kafka clients are served, 503 before and while it stops.
///
/// # Errors
/// 503.
pub async fn readyz(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.ready.get() {
        return Ok("ready\n");
    }
    let message = "clients are not served: the broker starts or stops";
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        RETRIABLE,
        message,
    ))
}

//! Refusals and failures as HTTP answers: the only place that gives them a status and a code.
//!
//! Codes are Confluent's where it has one: 40002 bad request, 40403 unknown topic, 50003 try again
//! later. 40411 (no such link) and 40412 (no such mirror) are Carrick's own.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use carrick_link::LinkError;
use carrick_link::ports::CatalogError;

use super::model::ErrorBody;
use crate::access::ResourceKind;
use crate::api::door::DoorError;
use crate::api::error::door_code;
use crate::secrets::SecretError;
use crate::topic::TopicError;

/// A request that can't be served as it is.
pub const BAD_REQUEST: i32 = 40002;
/// A topic that isn't there.
pub const NO_SUCH_TOPIC: i32 = 40403;
/// A link that isn't there.
pub const NO_SUCH_LINK: i32 = 40411;
/// A mirror that isn't there, or not on that link.
pub const NO_SUCH_MIRROR: i32 = 40412;
/// A user that isn't there, or has no credential for the mechanism.
pub const NO_SUCH_USER: i32 = 40415;
/// A config that isn't there.
pub const NO_SUCH_CONFIG: i32 = 40413;
/// A group of which a link has synced nothing.
pub const NO_SUCH_GROUP: i32 = 40414;
/// The credentials were not accepted, or there are none: Confluent's.
pub const UNAUTHENTICATED: i32 = 40101;
/// The caller may not do that: Confluent's.
pub const FORBIDDEN: i32 = 40301;
/// It may work later.
pub const RETRIABLE: i32 = 50003;

/// An answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    /// With status, code and message.
    pub fn new(status: StatusCode, error_code: i32, message: impl Into<String>) -> Self {
        ApiError {
            status,
            body: ErrorBody {
                error_code,
                message: message.into(),
                kafka_error_code: None,
            },
        }
    }

    /// 400: the request is invalid, for the given reason.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, BAD_REQUEST, message)
    }

    /// 404: there is no such route.
    pub fn no_such_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, 404, "HTTP 404 Not Found")
    }

    /// 405: the route exists, not with this method.
    pub fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            405,
            "HTTP 405 Method Not Allowed",
        )
    }

    /// 404: there is no such topic.
    pub fn no_such_topic(topic: &str) -> Self {
        let message = format!("topic '{topic}' does not exist");
        Self::new(StatusCode::NOT_FOUND, NO_SUCH_TOPIC, message)
    }

    /// 404: there is no such user, or none with that mechanism.
    pub fn no_such_user(user: &str) -> Self {
        let message = format!("user '{user}' has no such credential");
        Self::new(StatusCode::NOT_FOUND, NO_SUCH_USER, message)
    }

    /// 500: something failed inside; logged here, because nothing else logs it.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        tracing::error!(%message, "a REST request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 500, message)
    }

    pub fn into_body(self) -> ErrorBody {
        self.body
    }
}

/// The code of an answer that is not a success, for the layers around its handler.
#[derive(Debug, Clone, Copy)]
pub struct Failure(pub i32);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let failure = Failure(self.body.error_code);
        let mut response = (self.status, Json(self.body)).into_response();
        response.extensions_mut().insert(failure);
        response
    }
}

impl From<LinkError> for ApiError {
    fn from(error: LinkError) -> Self {
        let message = error.to_string();
        let not_found = |code| Self::new(StatusCode::NOT_FOUND, code, message.clone());
        match error {
            LinkError::NoSuchLink(_) => not_found(NO_SUCH_LINK),
            LinkError::NoSuchGroup { .. } => not_found(NO_SUCH_GROUP),
            LinkError::NotAMirror(_) | LinkError::OtherLink { .. } => not_found(NO_SUCH_MIRROR),
            LinkError::LinkExists(_)
            | LinkError::InvalidName(_)
            | LinkError::InvalidConfig { .. }
            | LinkError::LinkHasMirrors { .. }
            | LinkError::WrongCluster { .. }
            | LinkError::NoSuchSourceTopic(_)
            | LinkError::SourceTopic { .. }
            | LinkError::TopicExists(_)
            | LinkError::MirrorExists { .. }
            | LinkError::SourceMirrored { .. }
            | LinkError::IllegalState { .. }
            | LinkError::LinkState { .. }
            | LinkError::NotPromotable { .. }
            | LinkError::PromotionAborted { .. } => Self::bad_request(message),
            LinkError::NotAllowed(_) => {
                let mut refusal = Self::new(StatusCode::FORBIDDEN, FORBIDDEN, message);
                refusal.body.kafka_error_code =
                    Some(door_code(DoorError::NotAllowed(ResourceKind::Topic)).0);
                refusal
            }
            LinkError::SourceUnavailable { .. }
            | LinkError::UnderWay { .. }
            | LinkError::ShuttingDown => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, RETRIABLE, message)
            }
            LinkError::Catalog(error) => error.into(),
            LinkError::Blocked { .. } => Self::new(StatusCode::INTERNAL_SERVER_ERROR, 500, message),
            LinkError::Target(_) | LinkError::Store(_) => Self::internal(message),
        }
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        let message = error.to_string();
        match error {
            CatalogError::NoSuchTopic(topic) => Self::no_such_topic(topic.as_str()),
            CatalogError::NotAMirror(_) => {
                Self::new(StatusCode::NOT_FOUND, NO_SUCH_MIRROR, message)
            }
            CatalogError::TopicExists(_) | CatalogError::Invalid(_) => Self::bad_request(message),
            CatalogError::Storage(_) => Self::internal(message),
        }
    }
}

impl From<DoorError> for ApiError {
    fn from(error: DoorError) -> Self {
        let (status, code) = match error {
            DoorError::NotAllowed(_) => (StatusCode::FORBIDDEN, FORBIDDEN),
            DoorError::Elsewhere(_) | DoorError::OtherCoordinator => {
                (StatusCode::MISDIRECTED_REQUEST, 42103)
            }
            DoorError::NoSuchTopic | DoorError::NoSuchTopicId | DoorError::NoSuchPartition => {
                (StatusCode::NOT_FOUND, NO_SUCH_TOPIC)
            }
        };
        let mut refusal = Self::new(status, code, error.to_string());
        refusal.body.kafka_error_code = Some(door_code(error).0);
        refusal
    }
}

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        let message = error.to_string();
        match error {
            SecretError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, RETRIABLE, message),
            _ => Self::internal(message),
        }
    }
}

impl From<TopicError> for ApiError {
    fn from(error: TopicError) -> Self {
        let message = error.to_string();
        match error {
            TopicError::Unknown(topic) => Self::no_such_topic(&topic),
            TopicError::Exists(_)
            | TopicError::Collides { .. }
            | TopicError::Internal(_)
            | TopicError::InvalidPartitions(_)
            | TopicError::ReplicationFactor(_)
            | TopicError::InvalidConfig(_)
            | TopicError::Mirror(_)
            | TopicError::MirrorConfig { .. }
            | TopicError::NotAMirror(_) => Self::bad_request(message),
            TopicError::Disk(_) | TopicError::Log(_) | TopicError::Meta(_) => {
                Self::internal(message)
            }
        }
    }
}

//! The JSON bodies of the REST API, one file per resource.
//!
//! Shapes and field names match Confluent's REST v3 (cluster linking part), so that its clients can
//! read them. Fields of Carrick's own are marked *(own)* in their docs; a client that does not know
//! them loses nothing but detail. The server writes these types and the command line reads the same
//! ones, so the two cannot drift apart.
//!
//! Units: every `…_ms` is milliseconds since the Unix epoch unless its doc says *duration*.

pub mod cluster;
pub mod group;
pub mod link;
pub mod mirror;
pub mod mirror_creation;
pub mod secrets;
pub mod topic;
pub mod users;
pub mod verify;

use serde::{Deserialize, Serialize};

/// Where a resource can be found, as every resource of REST v3 carries it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceMetadata {
    /// The resource's own address.
    #[serde(rename = "self")]
    pub self_url: String,
    /// Confluent's resource name; always `null` here.
    pub resource_name: Option<String>,
}

impl ResourceMetadata {
    /// Metadata that names `self_url`.
    pub fn new(self_url: impl Into<String>) -> Self {
        ResourceMetadata {
            self_url: self_url.into(),
            resource_name: None,
        }
    }
}

/// Where a collection can be found, and its next page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionMetadata {
    /// The collection's own address.
    #[serde(rename = "self")]
    pub self_url: String,
    /// The next page; always `null`, collections are answered whole.
    pub next: Option<String>,
}

/// A list of resources in Confluent's form: `{"kind", "metadata", "data": […]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection<T> {
    /// What is listed, for example `KafkaLinkDataList`.
    pub kind: String,
    /// Where the list lives.
    pub metadata: CollectionMetadata,
    pub data: Vec<T>,
}

impl<T> Collection<T> {
    /// A collection of `kind` that lives at `self_url`.
    pub fn new(kind: &str, self_url: impl Into<String>, data: Vec<T>) -> Self {
        let metadata = CollectionMetadata {
            self_url: self_url.into(),
            next: None,
        };
        Collection {
            kind: kind.to_owned(),
            metadata,
            data,
        }
    }
}

/// A link to a related resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relationship {
    pub related: String,
}

/// A config's name and value, as request bodies carry it; a `null` value means "the default".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigData {
    /// The config's name.
    pub name: String,
    pub value: Option<String>,
}

/// One change of `configs:alter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// The config's name.
    pub name: String,
    /// The new value; must be absent for [`ConfigOperation::Delete`].
    #[serde(default)]
    pub value: Option<String>,
    /// What to do; absent means SET.
    #[serde(default)]
    pub operation: Option<ConfigOperation>,
}

/// What one change of `configs:alter` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ConfigOperation {
    /// Give the config a value.
    Set,
    /// Give it back its default.
    Delete,
}

/// The body of `configs:alter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterConfigsRequest {
    /// The changes, applied all or none.
    pub data: Vec<ConfigChange>,
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The HTTP status, or the status followed by two digits that say more.
    pub error_code: i32,
    /// The cause, and what can be done about it.
    pub message: String,
    /// Kafka's code, where Kafka's protocol would answer with one *(own)*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka_error_code: Option<i16>,
}

/// The name under which a state or error is shown, `UNKNOWN` if it has none.
pub fn name_of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "UNKNOWN".to_owned(),
    }
}

/// `text` as one segment of a path or one value of a query.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_whatever_it_contains() {
        assert_eq!(escape("orders-eu_1.x"), "orders-eu_1.x");
        assert_eq!(escape("a/b?c ü"), "a%2Fb%3Fc%20%C3%BC");
    }
}

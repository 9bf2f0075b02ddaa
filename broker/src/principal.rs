//! Who a connection is: quotas, logs and authorization depend on it.

use std::fmt;
use std::sync::Arc;

/// A type and a name, as `User:alice` (`KafkaPrincipal`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    kind: &'static str,
    name: Arc<str>,
}

impl Principal {
    /// A connection that did not authenticate (`KafkaPrincipal.ANONYMOUS`).
    pub fn anonymous() -> Self {
        Self {
            kind: "User",
            name: "ANONYMOUS".into(),
        }
    }

    /// A client that has shown that it is this user.
    pub fn user(name: &str) -> Self {
        Self {
            kind: "User",
            name: name.into(),
        }
    }

    /// The name without the type: what quotas call the user.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_written_as_kafka_writes_them() {
        assert_eq!(Principal::anonymous().to_string(), "User:ANONYMOUS");
        assert_eq!(Principal::user("ann").to_string(), "User:ann");
        // As in Kafka, where the name alone makes it.
        assert_eq!(Principal::user("ANONYMOUS"), Principal::anonymous());
    }
}

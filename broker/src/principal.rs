//! Who a connection is: quotas, logs and authorization depend on it.

use std::fmt;
use std::sync::Arc;

const USER: &str = "User";

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
            kind: USER,
            name: "ANONYMOUS".into(),
        }
    }

    /// A client that has shown that it is this user.
    pub fn user(name: &str) -> Self {
        Self {
            kind: USER,
            name: name.into(),
        }
    }

    /// The name without the type: what quotas call the user.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of a principal that ACLs of users are about.
    pub fn as_user(&self) -> Option<&str> {
        (self.kind == USER).then_some(&*self.name)
    }

    /// Whether this is the principal's text: `User:alice`.
    pub fn is_written(&self, text: &str) -> bool {
        let name = text
            .strip_prefix(self.kind)
            .and_then(|rest| rest.strip_prefix(':'));
        name == Some(&*self.name)
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
        assert!(Principal::user("a:b").is_written("User:a:b"));
    }
}

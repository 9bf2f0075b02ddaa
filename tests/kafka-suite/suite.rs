//! The suites: which published tests, against a broker started how, and what is expected of them.

use std::path::PathBuf;

use harness::process::repository;

use crate::cases::Mode;

/// Tests of Kafka's that are run in the same way.
pub struct Suite {
    /// As it is called in messages; its folder below `tests`, and in the cache.
    pub name: &'static str,
    /// The content of its expected.txt and known.txt.
    pub expected: &'static str,
    pub known: &'static str,
    /// Its classes; `None`: all that Kafka publishes as integration tests of its clients.
    pub classes: Option<&'static [&'static str]>,
    /// What is recorded.
    pub modes: &'static [Mode],
    /// A test that takes longer is interrupted and has failed.
    pub test_limit: &'static str,
    /// Classes that begin like this are not even tried when recording.
    pub not_recorded: Option<&'static str>,
}

/// Integration tests of Kafka's clients. Share groups are no goal.
pub const CLIENTS: Suite = Suite {
    name: "kafka-suite",
    expected: include_str!("expected.txt"),
    known: include_str!("known.txt"),
    classes: None,
    modes: &[Mode::Fresh, Mode::Shared],
    test_limit: "60s",
    not_recorded: Some("Share"),
};

/// Tests of authentication, encryption and authorization: each wants a broker with listeners and users of its own.
pub const SECURITY: Suite = Suite {
    name: "kafka-authz",
    expected: include_str!("../kafka-authz/expected.txt"),
    known: include_str!("../kafka-authz/known.txt"),
    classes: Some(&[
        "org.apache.kafka.clients.security.GroupAuthorizerIntegrationTest",
        "org.apache.kafka.clients.admin.DescribeAuthorizedOperationsTest",
        "org.apache.kafka.clients.consumer.SaslPlainPlaintextConsumerTest",
        "org.apache.kafka.tools.AclCommandTest",
        "org.apache.kafka.tools.UserScramCredentialsCommandTest",
        "org.apache.kafka.tools.consumer.group.SaslClientsWithInvalidCredentialsTest",
        "org.apache.kafka.tools.ResetIntegrationWithSslTest",
        "kafka.server.AlterUserScramCredentialsRequestTest",
        "kafka.server.AlterUserScramCredentialsRequestNotAuthorizedTest",
        "kafka.server.DescribeUserScramCredentialsRequestTest",
        "kafka.server.DescribeUserScramCredentialsRequestNotAuthorizedTest",
        "kafka.api.SaslClientsWithInvalidCredentialsTest",
    ]),
    // A broker is shared only by tests that want the same one.
    modes: &[Mode::Shared],
    test_limit: "120s",
    not_recorded: None,
};

impl Suite {
    /// Where its files are.
    pub fn folder(&self) -> PathBuf {
        repository().join("tests").join(self.name)
    }
}

//! Properties that Apache Kafka 4.3 does not list: those of older releases, and those that its
//! authorizers read. Files that contain them are accepted. They have no effect:
//! [`notes`](super::notes) says what to set instead where that matters, and
//! [`security`](super::security) refuses those that must not be ignored.

use super::def::Kind::{self, Boolean, Int, List, Long, Password, Short, String};

/// Name and type of what Kafka's authorizers read.
pub static AUTHORIZERS: &[(&str, Kind)] = &[
    ("allow.everyone.if.no.acl.found", Boolean),
    ("super.users", String),
];

/// Name and type of properties from older releases.
#[rustfmt::skip]
pub static REMOVED: &[(&str, Kind)] = &[
    ("advertised.host.name", String),
    ("advertised.port", Int),
    ("auto.include.jmx.reporter", Boolean),
    ("broker.id.generation.enable", Boolean),
    ("control.plane.listener.name", String),
    ("controlled.shutdown.max.retries", Int),
    ("controlled.shutdown.retry.backoff.ms", Long),
    ("delegation.token.master.key", Password),
    ("eligible.leader.replicas.enable", Boolean),
    ("group.coordinator.new.enable", Boolean),
    ("group.share.enable", Boolean),
    ("group.share.max.groups", Short),
    ("host.name", String),
    ("inter.broker.protocol.version", String),
    ("internal.metadata.max.fetch.size.in.bytes", Int),
    ("leader.imbalance.per.broker.percentage", Int),
    ("log.message.downconversion.enable", Boolean),
    ("log.message.format.version", String),
    ("log.message.timestamp.difference.max.ms", Long),
    ("metadata.log.segment.min.bytes", Int),
    ("offsets.commit.required.acks", Short),
    ("password.encoder.cipher.algorithm", String),
    ("password.encoder.iterations", Int),
    ("password.encoder.key.length", Int),
    ("password.encoder.keyfactory.algorithm", String),
    ("port", Int),
    ("quota.consumer.default", Long),
    ("quota.producer.default", Long),
    ("reserved.broker.max.id", Int),
    ("share.fetch.max.fetch.records", Int),
    ("zookeeper.clientCnxnSocket", String),
    ("zookeeper.connect", String),
    ("zookeeper.connection.timeout.ms", Int),
    ("zookeeper.max.in.flight.requests", Int),
    ("zookeeper.metadata.migration.enable", Boolean),
    ("zookeeper.metadata.migration.min.batch.size", Int),
    ("zookeeper.session.timeout.ms", Int),
    ("zookeeper.set.acl", Boolean),
    ("zookeeper.ssl.cipher.suites", List),
    ("zookeeper.ssl.client.enable", Boolean),
    ("zookeeper.ssl.crl.enable", Boolean),
    ("zookeeper.ssl.enabled.protocols", List),
    ("zookeeper.ssl.endpoint.identification.algorithm", String),
    ("zookeeper.ssl.keystore.location", String),
    ("zookeeper.ssl.keystore.password", Password),
    ("zookeeper.ssl.keystore.type", String),
    ("zookeeper.ssl.ocsp.enable", Boolean),
    ("zookeeper.ssl.protocol", String),
    ("zookeeper.ssl.truststore.location", String),
    ("zookeeper.ssl.truststore.password", Password),
    ("zookeeper.ssl.truststore.type", String),
    ("zookeeper.sync.time.ms", Int),
];

//! Names of configs of Kafka's clients that a link ignores: a client's properties file may contain
//! them.

/// Whole names, of `ProducerConfig`, `ConsumerConfig`, `AdminClientConfig` and what they share.
const NAMES: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.size",
    "buffer.memory",
    "check.crcs",
    "compression.type",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "enable.metrics.push",
    "exclude.internal.topics",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "interceptor.classes",
    "isolation.level",
    "key.deserializer",
    "key.serializer",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "max.request.size",
    "metadata.max.idle.ms",
    "metric.reporters",
    "partition.assignment.strategy",
    "partitioner.class",
    "partitioner.ignore.keys",
    "retries",
    "session.timeout.ms",
    "ssl.keymanager.algorithm",
    "ssl.protocol",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
    "transaction.timeout.ms",
    "transaction.two.phase.commit.enable",
    "transactional.id",
    "value.deserializer",
    "value.serializer",
];

/// Beginnings of names: of mechanisms that no link speaks, and of what serializers read.
const PREFIXES: &[&str] = &[
    "basic.auth.",
    "compression.",
    "default.list.",
    "metadata.recovery.",
    "metrics.",
    "partitioner.adaptive.",
    "partitioner.availability.",
    "sasl.kerberos.",
    "sasl.login.",
    "sasl.oauthbearer.clock.",
    "sasl.oauthbearer.expected.",
    "sasl.oauthbearer.jwks.",
    "sasl.oauthbearer.scope.claim.",
    "sasl.oauthbearer.sub.claim.",
    "schema.registry.",
];

/// Whether a Kafka client may be configured with that name, and it changes nothing for a link. What a link does know,
/// or refuses by name, is not.
pub fn is_client_only(name: &str) -> bool {
    super::table::find(name).is_none()
        && (NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_knows_or_refuses_is_not_among_them() {
        for name in [
            "acks",
            "session.timeout.ms",
            "sasl.oauthbearer.sub.claim.name",
        ] {
            assert!(is_client_only(name), "{name}");
        }
        for name in [
            "sasl.jaas.config",
            "sasl.login.class",
            "ssl.engine.factory.class",
            "request.timeout.ms",
            "retention.ms",
            "acks.",
        ] {
            assert!(!is_client_only(name), "{name}");
        }
    }
}

//! THE list of link configs: name, default, what a value looks like, what it does. Everything else about
//! configs (reading, listing, refusing) derives from it.

use super::synced::TOPIC_CONFIGS_SYNCED_BY_DEFAULT;
use super::value::Kind;

#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    /// `None` where there is no value unless set.
    pub(super) default: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) flags: Flags,
    pub(super) doc: &'static str,
}

/// What is special about a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flags {
    /// Nothing: can be changed while the link runs.
    Live,
    /// Must be given at creation.
    Required,
    /// Given at creation or not at all: it can't be changed later.
    Fixed,
    /// Not built yet: any value but the default is refused by name.
    NotBuilt,
    /// As [`Live`](Self::Live), and the value is a secret: never shown, encrypted where it is stored.
    Secret,
}

const INT_MAX: i64 = i32::MAX as i64;
/// The longest time that a config may name: 100 years of milliseconds.
const TIME_MAX_MS: i64 = 100 * 365 * 86_400_000;

const fn at_least(min: i64) -> Kind {
    Kind::Integer { min, max: INT_MAX }
}

const fn time_ms(min: i64) -> Kind {
    Kind::Integer {
        min,
        max: TIME_MAX_MS,
    }
}

const fn text(max_chars: usize) -> Kind {
    Kind::Text { max_chars }
}

const LOGIN_HANDLER: Kind = Kind::OneOf(&[
    "",
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
]);
const GROUP_FILTERS: Kind = Kind::NameFilters {
    list: "groupFilters",
};
const TOPIC_FILTERS: Kind = Kind::NameFilters {
    list: "topicFilters",
};
const CLASS: Kind = text(super::value::VALUE_MAX_CHARS);
const PEM: Kind = text(super::value::PEM_MAX_CHARS);
const PATH: Kind = text(4096);

const fn row(
    name: &'static str,
    default: Option<&'static str>,
    kind: Kind,
    flags: Flags,
    doc: &'static str,
) -> Definition {
    Definition {
        name,
        default,
        kind,
        flags,
        doc,
    }
}

use Flags::{Fixed, Live, NotBuilt, Required, Secret};

/// All of them, ascending by name.
#[rustfmt::skip]
pub(super) static TABLE: &[Definition] = &[
    row("acl.filters", Some(""), Kind::AclFilters, Live,
        "Which ACLs of the source are synced, JSON: \
         {\"aclFilters\":[{\"resourceFilter\",\"accessFilter\"}]}."),
    row("acl.sync.enable", Some("false"), Kind::Boolean, Live,
        "Sync ACLs from the source: set and removed there, they are set and removed here."),
    row("acl.sync.ms", Some("5000"), time_ms(1000), Live,
        "How often ACLs are synced."),
    row("auto.create.mirror.topics.enable", Some("false"), Kind::Boolean, Live,
        "Create mirrors automatically, for existing and for new source topics."),
    row("auto.create.mirror.topics.filters", Some(""), TOPIC_FILTERS, Live,
        "Which source topics are mirrored automatically, JSON: \
         {\"topicFilters\":[{\"name\",\"patternType\",\"filterType\"}]}."),
    row("availability.check.consecutive.failure.threshold", Some("5"), at_least(1), Live,
        "This many consecutive failed availability checks make the source unavailable."),
    row("availability.check.ms", Some("1000"), time_ms(100), Live,
        "How often the link checks that the source is available."),
    row("bootstrap.servers", None, Kind::HostPorts, Required,
        "Source brokers to connect to first, host:port, comma-separated; tried in this order."),
    row("client.dns.lookup", Some("use_all_dns_ips"), Kind::OneOf(&["use_all_dns_ips"]), Live,
        "The only value: every address of a host name is tried."),
    row("client.id", Some(""), text(249), Live,
        "The client id that the link sends to the source; empty: derived from the link's name."),
    row("client.rack", Some(""), text(249), Live,
        "Rack of this cluster; a source that knows its racks then names a nearby replica to \
         fetch from (KIP-392)."),
    row("cluster.link.paused", Some("false"), Kind::Boolean, Live,
        "Pauses all mirrors of the link."),
    row("cluster.link.prefix", Some(""), Kind::Prefix, Fixed,
        "Prefix of the mirror topics' names, at most 12 characters; can't be changed after \
         creation."),
    row("cluster.link.retry.timeout.ms", Some("300000"), time_ms(0), Live,
        "If a temporary fault lasts this long, the link is FAILED."),
    row("cluster.link.throttle.bytes.per.second", Some("-1"), Kind::PositiveOrOff, Live,
        "Bytes of records that the link may fetch per second, over all its connections; -1: no \
         limit."),
    row("connection.mode", Some("OUTBOUND"), Kind::OneOf(&["OUTBOUND", "INBOUND"]), NotBuilt,
        "OUTBOUND: this cluster connects to the source. INBOUND is not supported yet."),
    row("connections.max.idle.ms", Some("540000"), time_ms(-1), Live,
        "A connection without a request for this long is closed; -1: never."),
    row("consumer.group.prefix.enable", Some("false"), Kind::Boolean, Live,
        "Put cluster.link.prefix in front of group names, too; requires a prefix."),
    row("consumer.offset.group.filters", Some(""), GROUP_FILTERS, Live,
        "Whose offsets are synced, JSON: \
         {\"groupFilters\":[{\"name\",\"patternType\",\"filterType\"}]}."),
    row("consumer.offset.sync.enable", Some("false"), Kind::Boolean, Live,
        "Sync groups' committed offsets of mirrored topics from the source."),
    row("consumer.offset.sync.ms", Some("30000"), time_ms(1000), Live,
        "How often groups' offsets are synced."),
    row("link.mode", Some("DESTINATION"), Kind::OneOf(&["DESTINATION", "SOURCE", "BIDIRECTIONAL"]), NotBuilt,
        "DESTINATION: mirrors live in this cluster. Others are not supported yet."),
    row("metadata.max.age.ms", Some("300000"), time_ms(0), Live,
        "How often the source's metadata is refreshed."),
    row("mirror.start.offset.spec", Some("earliest"), Kind::StartOffset, Live,
        "Where a new mirror begins: earliest, latest, an ISO-8601 time or milliseconds since 1970."),
    row("num.cluster.link.fetchers", Some("1"), Kind::Integer { min: 1, max: 16 }, Live,
        "Connections per source broker that fetch records; over a long path, up to 16 more for \
         each while partitions are far behind."),
    row("receive.buffer.bytes", Some("-1"), at_least(-1), Live,
        "TCP receive buffer; -1: the operating system tunes it."),
    row("reconnect.backoff.max.ms", Some("1000"), time_ms(0), Live,
        "The longest wait before reconnecting to a broker."),
    row("reconnect.backoff.ms", Some("50"), time_ms(0), Live,
        "The first wait before reconnecting to a broker; it doubles with each failure."),
    row("replica.fetch.max.bytes", Some("1048576"), at_least(1), Live,
        "Bytes requested for one partition at a time. For one that is far behind over a long \
         path, more is requested, up to replica.fetch.response.max.bytes. A larger batch still \
         arrives whole."),
    row("replica.fetch.min.bytes", Some("1"), at_least(0), Live,
        "The source answers a fetch once it has this many bytes."),
    row("replica.fetch.response.max.bytes", Some("10485760"), at_least(1), Live,
        "Bytes requested from one broker in one request; a larger batch still arrives whole."),
    row("replica.fetch.wait.max.ms", Some("500"), at_least(0), Live,
        "How long the source waits for replica.fetch.min.bytes."),
    row("request.timeout.ms", Some("30000"), at_least(1), Live,
        "A request that is not answered within this time has failed."),
    row("retry.backoff.max.ms", Some("1000"), time_ms(0), Live,
        "The longest wait before a failed request is retried."),
    row("retry.backoff.ms", Some("100"), time_ms(0), Live,
        "The first wait before a failed request is retried; it doubles with each failure."),
    row("sasl.client.callback.handler.class", Some(""), CLASS, NotBuilt,
        "A Java class: not supported."),
    row("sasl.jaas.config", None, text(super::value::VALUE_MAX_CHARS), Secret,
        "User and password: a login module with its options, as in a Kafka client's properties."),
    row("sasl.login.callback.handler.class", Some(""), LOGIN_HANDLER, Live,
        "With OAUTHBEARER, Kafka's OAuthBearerLoginCallbackHandler, whose work is built in. Other \
         Java classes are refused."),
    row("sasl.login.class", Some(""), CLASS, NotBuilt,
        "A Java class: not supported."),
    row("sasl.login.connect.timeout.ms", None, time_ms(1), Live,
        "How long a connection to the token endpoint may take; not set: 10 seconds."),
    row("sasl.login.read.timeout.ms", None, time_ms(1), Live,
        "How long its answer may take; not set: 10 seconds."),
    row("sasl.login.refresh.buffer.seconds", Some("300"), Kind::Integer { min: 0, max: 3600 }, Live,
        "A token is renewed that long before it expires, or earlier."),
    row("sasl.login.refresh.min.period.seconds", Some("60"), Kind::Integer { min: 0, max: 900 }, Live,
        "A token is not renewed before this time. For short-lived tokens neither of both counts."),
    row("sasl.login.refresh.window.factor", Some("0.8"), Kind::Thousandths { min: 500, max: 1000 }, Live,
        "A token is renewed after this part of its lifetime."),
    row("sasl.login.refresh.window.jitter", Some("0.05"), Kind::Thousandths { min: 0, max: 250 }, Live,
        "The largest part of its lifetime that is added to that at random."),
    row("sasl.login.retry.backoff.max.ms", Some("10000"), time_ms(0), Live,
        "The longest wait before the token endpoint is asked again, and for how long that is \
         repeated for one login."),
    row("sasl.login.retry.backoff.ms", Some("100"), time_ms(0), Live,
        "The first wait before the token endpoint is asked again; it doubles with each failure."),
    row("sasl.mechanism", Some("GSSAPI"), text(64), Live,
        "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER. With SASL it must be set, because \
         Kafka's default is none of them."),
    row("sasl.oauthbearer.assertion.file", Some(""), PATH, NotBuilt,
        "A client assertion instead of a secret: not supported."),
    row("sasl.oauthbearer.assertion.private.key.file", Some(""), PATH, NotBuilt,
        "A client assertion instead of a secret: not supported."),
    row("sasl.oauthbearer.client.credentials.client.id", Some(""), text(4096), Live,
        "The link's id at the token endpoint; wins over the option clientId of sasl.jaas.config."),
    row("sasl.oauthbearer.client.credentials.client.secret", None, text(4096), Secret,
        "Its secret there; wins over the option clientSecret."),
    row("sasl.oauthbearer.header.urlencode", Some("false"), Kind::Boolean, Live,
        "Encode id, secret and scope as RFC 6749 wants it."),
    row("sasl.oauthbearer.jwt.retriever.class", Some(""), CLASS, Live,
        "DefaultJwtRetriever, ClientCredentialsJwtRetriever or FileJwtRetriever of Kafka, as the URL \
         has it. Other Java classes are refused."),
    row("sasl.oauthbearer.jwt.validator.class", Some(""), CLASS, Live,
        "DefaultJwtValidator or ClientJwtValidator of Kafka. Other Java classes are refused."),
    row("sasl.oauthbearer.scope", Some(""), text(4096), Live,
        "The scope that tokens are asked for; wins over the option scope."),
    row("sasl.oauthbearer.token.endpoint.url", Some(""), text(4096), Live,
        "Where the link gets its tokens: an https: or http: URL of the identity provider, or a \
         file: URL of a file on the broker's host that something else renews."),
    row("security.protocol", Some("PLAINTEXT"),
        Kind::OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Live,
        "How the link connects to the source: SSL is TLS, SASL_… adds user and password."),
    row("security.providers", Some(""), CLASS, NotBuilt,
        "Java classes: not supported."),
    row("send.buffer.bytes", Some("-1"), at_least(-1), Live,
        "TCP send buffer; -1: the operating system tunes it."),
    row("socket.connection.setup.timeout.max.ms", Some("30000"), at_least(1), Live,
        "The longest time that a connection attempt may take after repeated failures."),
    row("socket.connection.setup.timeout.ms", Some("10000"), at_least(1), Live,
        "The time that the first connection attempt may take; it doubles with each failure."),
    row("ssl.cipher.suites", Some(""), text(super::value::VALUE_MAX_CHARS), Live,
        "TLS cipher suites by their standard names, comma-separated; empty: all safe ones."),
    row("ssl.enabled.protocols", Some("TLSv1.2,TLSv1.3"), Kind::TlsVersions, Live,
        "TLS versions, comma-separated; versions before 1.2 are not supported."),
    row("ssl.endpoint.identification.algorithm", Some("https"), Kind::EndpointIdentification, Live,
        "https: the source's certificate must name the host that the link connects to; empty: \
         it need not."),
    row("ssl.engine.factory.class", Some(""), CLASS, NotBuilt,
        "A Java class: not supported."),
    row("ssl.key.password", None, text(4096), Secret,
        "The password that decrypts the private key in ssl.keystore.location or ssl.keystore.key."),
    row("ssl.keystore.certificate.chain", None, PEM, Secret,
        "The link's own certificate and the ones that signed it, in PEM; used with \
         ssl.keystore.key."),
    row("ssl.keystore.key", None, PEM, Secret,
        "The private key of the link's own certificate, in PEM."),
    row("ssl.keystore.location", Some(""), PATH, Live,
        "A file on the broker's host with the link's private key, its certificate, and the ones \
         that signed it: PEM, or PKCS12 with ssl.keystore.password."),
    row("ssl.keystore.password", None, text(4096), Secret,
        "The password of a PKCS12 key store. PEM has none."),
    row("ssl.keystore.type", Some("JKS"), text(64), Live,
        "PEM, PKCS12 or JKS. A file is recognized by its content; JKS itself is refused. PEM in \
         ssl.keystore.key needs PEM."),
    row("ssl.provider", Some(""), CLASS, NotBuilt,
        "A Java class: not supported."),
    row("ssl.truststore.certificates", None, PEM, Secret,
        "Certificates of the authorities that may sign the source's certificate, in PEM."),
    row("ssl.truststore.location", Some(""), PATH, Live,
        "A file on the broker's host with these authorities: PEM, or PKCS12 with \
         ssl.truststore.password. Without either, the host's own are trusted."),
    row("ssl.truststore.password", None, text(4096), Secret,
        "The password of a PKCS12 trust store. PEM has none."),
    row("ssl.truststore.type", Some("JKS"), text(64), Live,
        "PEM, PKCS12 or JKS, as ssl.keystore.type."),
    row("topic.config.sync.include", Some(TOPIC_CONFIGS_SYNCED_BY_DEFAULT),
        Kind::SyncedTopicConfigs, Live,
        "Topic configs that mirrors take from the source, in addition to the ones that are \
         always synced."),
    row("topic.config.sync.ms", Some("5000"), time_ms(100), Live,
        "How often topic configs, partition counts and topic ids are compared with the source."),
];

/// Names further away than this many edits are not offered as what was meant.
const SUGGESTION_MAX_EDITS: usize = 4;

/// The known name that is nearest to an unknown one, if one is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let edits = TABLE
        .iter()
        .map(|row| (strsim::damerau_levenshtein(row.name, name), row.name));
    let near = edits
        .filter(|(edits, _)| *edits <= SUGGESTION_MAX_EDITS)
        .min();
    near.map(|(_, known)| known)
}

/// The row of that name.
pub(super) fn find(name: &str) -> Option<&'static Definition> {
    TABLE
        .binary_search_by(|row| row.name.cmp(name))
        .ok()
        .map(|index| &TABLE[index])
}

impl Definition {
    pub(super) fn is_sensitive(&self) -> bool {
        self.flags == Secret
    }

    pub(super) fn is_built(&self) -> bool {
        self.flags != NotBuilt
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.flags == Fixed
    }

    pub(super) fn is_required(&self) -> bool {
        matches!(self.flags, Required)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_ascending_and_their_defaults_valid() {
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
        for row in TABLE {
            if let Some(default) = row.default {
                assert_eq!(row.kind.check(default), Ok(()), "{}", row.name);
            }
            assert!(find(row.name).is_some_and(|found| std::ptr::eq(found, row)));
        }
    }
}

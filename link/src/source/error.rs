//! What can go wrong between a link and its source: facts, each naming the peer and the next step.

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::NodeId;

/// A fault of a broker or of the whole source cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No host name of `bootstrap.servers` could be resolved.
    #[error(
        "none of the bootstrap servers could be resolved ({detail}); check the host names in bootstrap.servers and this host's DNS"
    )]
    UnresolvableBootstrap {
        /// Each host and what the resolver said.
        detail: String,
    },
    /// Resolved, but no TCP connection came up.
    #[error(
        "could not connect to {peer}: {detail}; check that the broker runs, the port, and the \
         network in between"
    )]
    ConnectFailed {
        /// `host:port`, or the list of bootstrap servers tried.
        peer: String,
        /// What the operating system said.
        detail: String,
    },
    /// A broker that the source's metadata names can't be reached, though some other can.
    #[error(
        "could not connect to broker {broker} of the source at {peer}: {detail}; check that it runs, and \
         that its advertised.listeners can be reached from here"
    )]
    BrokerConnectFailed {
        broker: NodeId,
        /// `host:port`, as the source advertises it.
        peer: String,
        /// What the resolver or the operating system said.
        detail: String,
    },
    /// No connection or no answer in time.
    #[error(
        "{peer} did not answer {what} within {limit_ms} ms; check its load and the network in \
         between, or raise request.timeout.ms"
    )]
    Timeout {
        /// `host:port`.
        peer: String,
        /// What was waited for ("the TCP connect", "Fetch").
        what: String,
        limit_ms: u64,
    },
    /// The connection ended while an answer was awaited.
    #[error("{peer} closed the connection ({detail})")]
    Closed {
        /// `host:port`.
        peer: String,
        /// What was going on.
        detail: String,
    },
    /// The peer speaks something else than Kafka's protocol.
    #[error("{peer} does not speak the Kafka protocol: {seen}; {hint}")]
    NotKafka {
        /// `host:port`.
        peer: String,
        seen: String,
        hint: &'static str,
    },
    /// The peer doesn't accept who we are, or isn't who it should be; or we can't say who we are. TLS or SASL.
    #[error("no connection to {peer}: {detail}")]
    Authentication {
        /// `host:port`.
        peer: String,
        /// What was wrong, and the next step.
        detail: String,
    },
    /// We have nothing to show at the moment: our identity provider has no token for us.
    #[error("there is no token from {from}: {detail}")]
    NoToken {
        /// File or URL.
        from: String,
        detail: String,
    },
    /// The peer answers, but breaks the protocol.
    #[error("{peer} broke the Kafka protocol: {detail}; the connection was closed")]
    Protocol {
        /// `host:port`.
        peer: String,
        detail: String,
    },
    /// No version of an API that both sides know.
    #[error(
        "{peer} has no {api} version in common with us: it offers {theirs}, we speak {ours}; the source must be Kafka 2.1 or newer"
    )]
    NoCommonVersion {
        /// `host:port`.
        peer: String,
        /// Kafka's name of the API.
        api: &'static str,
        /// The peer's range, or "none".
        theirs: String,
        ours: String,
    },
    /// An answer with an error for the request as a whole.
    #[error("{peer} answered {api} with {code}{}", .message.as_ref().map(|m| format!(": {m}")).unwrap_or_default())]
    Broker {
        /// `host:port`.
        peer: String,
        /// Kafka's name of the API.
        api: &'static str,
        code: ErrorCode,
        /// The source's own words, if it sent any.
        message: Option<String>,
    },
    /// The source's metadata doesn't list that broker.
    #[error("the source has no broker {0} at the moment; refresh the metadata")]
    UnknownBroker(NodeId),
    /// The request can't be sent as asked: our own limits or a version too old for it.
    #[error("{0}")]
    Unsupported(String),
    /// The client was shut down.
    #[error("the source client was shut down")]
    ShutDown,
}

/// The classes of link errors in linking.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// `AUTHENTICATION_ERROR`
    Authentication,
    /// `UNRESOLVABLE_BOOTSTRAP_ERROR`
    UnresolvableBootstrap,
    /// `BOOTSTRAP_TCP_CONNECTION_FAILED_ERROR`
    BootstrapTcpConnectionFailed,
    /// `TIMEOUT_ERROR`
    Timeout,
    /// `UNKNOWN`
    Unknown,
}

impl SourceError {
    /// Which link error this is.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Authentication { .. } | Self::NoToken { .. } => FaultKind::Authentication,
            Self::Broker { code, .. } if is_about_identity(*code) => FaultKind::Authentication,
            Self::UnresolvableBootstrap { .. } => FaultKind::UnresolvableBootstrap,
            Self::ConnectFailed { .. } => FaultKind::BootstrapTcpConnectionFailed,
            Self::Timeout { .. } => FaultKind::Timeout,
            _ => FaultKind::Unknown,
        }
    }

    /// May the same thing succeed later without any change?
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::UnresolvableBootstrap { .. }
            | Self::ConnectFailed { .. }
            | Self::BrokerConnectFailed { .. }
            | Self::Timeout { .. }
            | Self::Closed { .. }
            | Self::NoToken { .. }
            | Self::Protocol { .. }
            | Self::UnknownBroker(_) => true,
            Self::Broker { code, .. } => code.retriable(),
            Self::NotKafka { .. }
            | Self::Authentication { .. }
            | Self::NoCommonVersion { .. }
            | Self::Unsupported(_)
            | Self::ShutDown => false,
        }
    }
}

/// Codes by which a source says that it doesn't accept who we are.
fn is_about_identity(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::SASL_AUTHENTICATION_FAILED
            | ErrorCode::UNSUPPORTED_SASL_MECHANISM
            | ErrorCode::ILLEGAL_SASL_STATE
    )
}

/// What the source has answered, as [`named`].
pub(crate) fn answered(code: ErrorCode, right: &str) -> String {
    format!("the source answered {}", named(code, right))
}

/// The error. If the source's ACLs forbid it, what the link's user must be allowed to do there.
pub(crate) fn named(code: ErrorCode, right: &str) -> String {
    match code {
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
            format!("{code} (its ACLs must allow the link's user to {right})")
        }
        _ => code.to_string(),
    }
}

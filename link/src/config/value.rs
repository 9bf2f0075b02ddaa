//! Parsers for single config values. Errors say what would be correct, never what was given: the
//! value may be a secret, and its owner can look it up.

use super::acl_filters::AclFilters;
use super::filters::NameFilters;
use super::synced::{TOPIC_CONFIGS_ALWAYS_SYNCED, TOPIC_CONFIGS_SYNCED_BY_DEFAULT};

/// Most characters a config's value may have.
pub(crate) const VALUE_MAX_CHARS: usize = 32 * 1024;
/// Most characters of PEM text: some hundred certificates.
pub(crate) const PEM_MAX_CHARS: usize = 512 * 1024;
/// Most bootstrap servers a link may name.
const BOOTSTRAP_SERVERS_MAX: usize = 64;

/// Most characters of `cluster.link.prefix`, Confluent's limit.
const PREFIX_MAX_CHARS: usize = 12;

/// Where a mirror begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartOffset {
    /// At the source's log start.
    Earliest,
    /// At the source's high watermark.
    Latest,
    /// At the first record at or after this time, milliseconds since the epoch.
    Timestamp(i64),
}

/// Which versions of TLS may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsVersions {
    pub v1_2: bool,
    pub v1_3: bool,
}

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number in this range.
    Integer { min: i64, max: i64 },
    /// A whole number from 1 on, or −1 for none.
    PositiveOrOff,
    /// Any text of at most that many characters.
    Text { max_chars: usize },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `host:port,…`
    HostPorts,
    /// A comma-separated list of topic configs.
    SyncedTopicConfigs,
    /// `earliest`, `latest`, or a time.
    StartOffset,
    /// What may precede a topic's name.
    Prefix,
    /// JSON filters of names in a list with that name.
    NameFilters { list: &'static str },
    /// JSON filters of ACLs.
    AclFilters,
    /// `https` or nothing.
    EndpointIdentification,
    /// `TLSv1.2`, `TLSv1.3` or both.
    TlsVersions,
    /// A decimal number in this range, with three digits that count.
    Thousandths { min: u32, max: u32 },
}

impl Kind {
    /// Is `value` (trimmed) such a value?
    pub(super) fn check(self, value: &str) -> Result<(), String> {
        let longest = match self {
            Self::Text { max_chars } => max_chars,
            _ => VALUE_MAX_CHARS,
        };
        if value.chars().count() > longest {
            return Err(format!("must have at most {longest} characters"));
        }
        match self {
            Self::Boolean => boolean(value).map(drop),
            Self::Integer { min, max } => integer(value, min, max).map(drop),
            Self::PositiveOrOff if value == "-1" => Ok(()),
            Self::PositiveOrOff => integer(value, 1, i64::MAX)
                .map(drop)
                .map_err(|reason| format!("{reason}, or -1")),
            Self::Text { .. } => Ok(()),
            Self::OneOf(words) if words.contains(&value) => Ok(()),
            Self::OneOf(words) => Err(format!("must be {}", words.join(" or "))),
            Self::HostPorts => host_ports(value).map(drop),
            Self::SyncedTopicConfigs => synced_topic_configs(value).map(drop),
            Self::StartOffset => start_offset(value).map(drop),
            Self::Prefix => prefix(value).map(drop),
            Self::NameFilters { list } => NameFilters::parse(value, list).map(drop),
            Self::AclFilters => AclFilters::parse(value).map(drop),
            Self::EndpointIdentification => checks_host(value).map(drop),
            Self::TlsVersions => versions(value).map(drop),
            Self::Thousandths { min, max } => match thousandths(value) {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                _ => {
                    let shown = |number| f64::from(number) / 1000.0;
                    Err(format!(
                        "must be a number from {} to {}",
                        shown(min),
                        shown(max)
                    ))
                }
            },
        }
    }
}

pub(super) fn boolean(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

/// A number that isn't negative, in thousandths.
pub(super) fn thousandths(value: &str) -> Result<u32, String> {
    match value.parse::<f64>() {
        Ok(number) if (0.0..=1000.0).contains(&number) => Ok((number * 1000.0).round() as u32),
        _ => Err("must be a number from 0 to 1000".into()),
    }
}

pub(super) fn integer(value: &str, min: i64, max: i64) -> Result<i64, String> {
    match value.parse::<i64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {min} to {max}")),
    }
}

/// `host:port,…`; an IPv6 address in brackets; optionally, as in Kafka, a protocol and `://` in front, which changes
/// nothing: `security.protocol` says how the source is spoken to.
pub(super) fn host_ports(value: &str) -> Result<Vec<(String, u16)>, String> {
    let servers: Vec<_> = split_list(value).map(host_port).collect::<Result<_, _>>()?;
    match servers.len() {
        0 => Err("must name at least one host:port".into()),
        1..=BOOTSTRAP_SERVERS_MAX => Ok(servers),
        _ => Err(format!("must name at most {BOOTSTRAP_SERVERS_MAX} servers")),
    }
}

const SCHEMES: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

fn host_port(entry: &str) -> Result<(String, u16), String> {
    let wrong = |what: &str| format!("'{entry}' {what}; write host:port or [ipv6]:port");
    let bare = match entry.split_once("://") {
        Some((scheme, _)) if !SCHEMES.contains(&scheme.to_ascii_uppercase().as_str()) => {
            return Err(wrong("names an unknown protocol"));
        }
        Some((_, rest)) => rest,
        None => entry,
    };
    let (host, port) = bare.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 && digits => port,
        _ => return Err(wrong("has no port from 1 to 65535")),
    };
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '%');
    let fits = match inner {
        Some(address) => address.chars().all(|c| is_name(c) || c == ':'),
        None => host.chars().all(is_name),
    };
    let host = inner.unwrap_or(host);
    if host.is_empty() || !fits {
        return Err(wrong("has no valid host name"));
    }
    Ok((host.to_owned(), port))
}

pub(super) fn synced_topic_configs(value: &str) -> Result<Vec<String>, String> {
    let mut chosen: Vec<String> = Vec::new();
    for name in split_list(value) {
        let by_default = split_list(TOPIC_CONFIGS_SYNCED_BY_DEFAULT).any(|known| known == name);
        if !by_default && !TOPIC_CONFIGS_ALWAYS_SYNCED.contains(&name) {
            return Err(format!(
                "'{name}' isn't one of {TOPIC_CONFIGS_SYNCED_BY_DEFAULT}"
            ));
        }
        if !chosen.iter().any(|other| other == name) {
            chosen.push(name.to_owned());
        }
    }
    Ok(chosen)
}

pub(super) fn start_offset(value: &str) -> Result<StartOffset, String> {
    match value {
        "earliest" => return Ok(StartOffset::Earliest),
        "latest" => return Ok(StartOffset::Latest),
        _ => {}
    }
    let time_ms = value
        .parse::<i64>()
        .ok()
        .or_else(|| iso_8601_ms(value))
        .filter(|ms| *ms >= 0);
    time_ms.map(StartOffset::Timestamp).ok_or_else(|| {
        "must be earliest, latest, milliseconds since 1970, or a time such as \
         2026-05-01T12:30:00.000Z (UTC if it names no zone)"
            .into()
    })
}

fn iso_8601_ms(value: &str) -> Option<i64> {
    if let Ok(time) = value.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond());
    }
    let local = value.parse::<jiff::civil::DateTime>().ok()?;
    Some(
        local
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_millisecond(),
    )
}

pub(super) fn prefix(value: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if value.len() > PREFIX_MAX_CHARS || !value.chars().all(legal) {
        return Err(format!(
            "must have at most {PREFIX_MAX_CHARS} characters of a-z, A-Z, 0-9, '.', '_' and '-'"
        ));
    }
    Ok(value.to_owned())
}

/// `https`, or nothing at all.
pub(super) fn checks_host(text: &str) -> Result<bool, String> {
    match text {
        "" => Ok(false),
        _ if text.eq_ignore_ascii_case("https") => Ok(true),
        _ => Err("must be https, or empty to trust certificates of any host".into()),
    }
}

/// Those of the list that are safe to use; older ones are left out.
pub(super) fn versions(text: &str) -> Result<TlsVersions, String> {
    let names = |wanted: &str| split_list(text).any(|name| name == wanted);
    let versions = TlsVersions {
        v1_2: names("TLSv1.2"),
        v1_3: names("TLSv1.3"),
    };
    let known = [
        "TLSv1.3",
        "TLSv1.2",
        "TLSv1.1",
        "TLSv1",
        "SSLv3",
        "SSLv2Hello",
    ];
    if split_list(text).any(|name| !known.contains(&name)) || !(versions.v1_2 || versions.v1_3) {
        return Err("must name TLSv1.2, TLSv1.3 or both; older versions are not supported".into());
    }
    Ok(versions)
}

pub(super) fn split_list(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ports_are_read_as_kafka_reads_them() {
        let servers = host_ports(" a.b:9092, [::1]:1 ,SASL_SSL://c_d:65535,").unwrap();
        let expected = [("a.b", 9092), ("::1", 1), ("c_d", 65535)];
        assert_eq!(
            servers,
            expected.map(|(host, port)| (host.to_owned(), port))
        );
    }

    #[test]
    fn wrong_host_ports_are_refused() {
        let all = [
            "", ",", "a", "a:", "a:0", "a:65536", "a:-1", "a:+1", ":1", "::1:9",
        ];
        for bad in all.iter().chain(&["a b:1", "[::1:1", "http://a:1", "[]:1"]) {
            assert!(host_ports(bad).is_err(), "{bad}");
        }
        assert!(host_ports(&vec!["a:1"; 65].join(",")).is_err());
    }

    #[test]
    fn start_offsets_are_words_or_times() {
        assert_eq!(start_offset("earliest"), Ok(StartOffset::Earliest));
        assert_eq!(start_offset("latest"), Ok(StartOffset::Latest));
        for (text, ms) in [
            ("1700000000123", 1_700_000_000_123),
            ("1970-01-01T00:00:01Z", 1000),
            ("1970-01-01T01:00:00.5+01:00", 500),
            ("1970-01-01T00:00:02", 2000),
            ("1970-01-02", 86_400_000),
        ] {
            assert_eq!(start_offset(text), Ok(StartOffset::Timestamp(ms)), "{text}");
        }
        for bad in [
            "",
            "Latest",
            "-1",
            "yesterday",
            "1969-01-01T00:00:00Z",
            "2026-13-01",
        ] {
            assert!(start_offset(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_have_their_range() {
        assert_eq!(integer("5", 1, 5), Ok(5));
        for bad in ["", "0", "6", "1.0", "x", "99999999999999999999"] {
            assert!(integer(bad, 1, 5).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_value_panics(value in "(?s).{0,80}") {
            for kind in [Kind::Boolean, Kind::HostPorts, Kind::StartOffset, Kind::SyncedTopicConfigs] {
                let _ = kind.check(&value);
            }
        }
    }
}

//! Names with a part that the operator chooses: a listener's, a config provider's, a plug-in's.
//! Only those of listeners may have an effect here.

use super::known::definition;

/// The prefix of a setting for one listener. Its name follows in lower case: Kafka would silently
/// ignore another spelling.
pub const LISTENER: &str = "listener.name.";

/// Prefixes of names that Kafka, or a plug-in that often runs with it, lets the user extend.
const PREFIXES: &[&str] = &[
    "authorizer.zookeeper.",
    "client.quota.callback.",
    "confluent.",
    "cruise.control.metrics.",
    "kafka.csv.metrics.",
    "metrics.context.",
    "metrics.jmx.",
    "rlmm.config.",
    "rsm.config.",
    "strimzi.",
];

/// Settings of a config provider, after its name.
const PROVIDER_PREFIX: &str = "config.providers.";

/// Whether the name belongs to a family. `prefixes` are those that other properties choose.
pub fn has(name: &str, prefixes: &[String]) -> bool {
    if let Some(rest) = name.strip_prefix(LISTENER) {
        let lower = |listener: &str| !listener.contains(|c: char| c.is_ascii_uppercase());
        return listener_setting(rest).is_some_and(|(listener, _)| lower(listener));
    }
    if setting_of(name).is_some() {
        return true;
    }
    if let Some(rest) = name.strip_prefix(PROVIDER_PREFIX) {
        return matches!(rest.split_once('.'), Some((provider, setting))
            if !provider.is_empty() && (setting == "class" || setting.starts_with("param.")));
    }
    let chosen = prefixes.iter().map(String::as_str);
    let mut all = PREFIXES.iter().copied().chain(chosen);
    all.any(|prefix| !prefix.is_empty() && name.len() > prefix.len() && name.starts_with(prefix))
}

/// The setting of a name that begins with [`LISTENER`] or, for TLS, with `rest.`: it has the type of
/// the setting without that prefix.
pub fn setting_of(name: &str) -> Option<&str> {
    if let Some(rest) = name.strip_prefix(LISTENER) {
        return listener_setting(rest).map(|(_, setting)| setting);
    }
    let setting = name.strip_prefix("rest.")?;
    (setting.starts_with("ssl.") && definition(setting).is_some()).then_some(setting)
}

/// Whether a listener may have the setting for itself. Others are accepted there, as in Kafka, and do
/// nothing.
pub fn is_of_listeners(setting: &str) -> bool {
    const OTHERS: [&str; 4] = [
        "connections.max.reauth.ms",
        "max.connection.creation.rate",
        "max.connections",
        "principal.builder.class",
    ];
    setting.starts_with("ssl.") || setting.starts_with("sasl.") || OTHERS.contains(&setting)
}

/// Listener and setting of `<listener>.<setting>` or `<listener>.<SASL mechanism>.<setting>`. Names
/// of listeners may have dots: the longest setting that is known counts.
pub fn listener_setting(rest: &str) -> Option<(&str, &str)> {
    rest.match_indices('.').find_map(|(dot, _)| {
        let (listener, setting) = (&rest[..dot], &rest[dot + 1..]);
        (!listener.is_empty() && definition(setting).is_some()).then_some((listener, setting))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_listeners_providers_and_plug_ins_are_known() {
        for name in [
            "listener.name.internal.ssl.keystore.location",
            "listener.name.plain-9092.scram-sha-512.sasl.jaas.config",
            "listener.name.a.b.max.connections",
            "config.providers.env.class",
            "config.providers.env.param.allowlist.pattern",
            "rsm.config.chunk.size",
            "strimzi.authorization.token.endpoint.uri",
            "my.prefix.x",
        ] {
            assert!(has(name, &["my.prefix.".to_owned()]), "{name}");
        }
        for name in [
            "listener.name.internal.ssl.keystore.locatoin",
            "listener.name..max.connections",
            "listener.name.max.connections",
            "listener.name.EXTERNAL.max.connections",
            "config.providers.env",
            "config.providers.env.klass",
            "rsm.config.",
            "my.prefix.x",
        ] {
            assert!(!has(name, &[]), "{name}");
        }
    }

    #[test]
    fn a_setting_of_a_listener_is_told_apart_from_the_listener_s_name() {
        assert_eq!(
            listener_setting("plain-9092.scram-sha-512.sasl.jaas.config"),
            Some(("plain-9092.scram-sha-512", "sasl.jaas.config"))
        );
    }
}

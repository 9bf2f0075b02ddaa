//! What an operator should know before the broker starts.

use super::Config;
use crate::access::Access;
use crate::broker::Endpoint;
use crate::config::LISTENER;
use crate::config::notes::notes;
use crate::principal::Principal;
use crate::secrets::Vault;
use crate::server::Listener;
use crate::tls::ClientAuth;

/// Names what was set and does nothing here.
pub(super) fn of_properties(config: &Config) {
    if !config.values.ignored().is_empty() {
        let names = config.values.ignored().join(", ");
        tracing::warn!(names, "these Kafka properties have no effect here");
    }
    for (name, note) in notes(&config.values) {
        tracing::warn!("{name} has no effect here: {note}");
    }
    of_sasl(config);
    if !config.server.unopened.is_empty() {
        let names = config.server.unopened.join(", ");
        tracing::warn!(
            names,
            "controller listeners are not opened: there is no quorum"
        );
    }
}

/// Says what protects stored secrets.
pub(super) fn of_secrets(vault: &Vault) {
    let key = vault.source();
    if vault.is_in_data_folder() {
        tracing::info!(
            "stored secrets are encrypted under a key in the data folder, {key}: who copies the \
             whole folder can read them. To keep the key elsewhere, set password.encoder.secret, or \
             secrets.key.file, or give a systemd credential"
        );
    } else {
        tracing::info!(key, "stored secrets are encrypted");
    }
}

/// Says who may come in by which listener, and what for: a line each.
pub(super) fn of_listeners(config: &Config, endpoints: &[Endpoint]) {
    for (listener, endpoint) in config.server.listeners.iter().zip(endpoints) {
        let who = who(config, listener);
        let may = may(config, listener);
        tracing::info!("listener {endpoint} is open to {who}; {may}");
    }
    let others = others_settings(config);
    if !others.is_empty() {
        let names = others.join(", ");
        tracing::warn!(names, "these are settings of listeners that do not exist");
    }
}

fn who(config: &Config, listener: &Listener) -> String {
    let protocol = listener.protocol;
    let asks = listener.tls.as_ref().map(|tls| tls.client_auth());
    let has_certificate = asks == Some(ClientAuth::Required);
    let who = match (protocol.has_sasl(), has_certificate) {
        (false, false) => "everyone who reaches it".to_owned(),
        (false, true) => "clients with a trusted certificate".to_owned(),
        (true, _) => {
            let of_listener = config.values.listener(&listener.name);
            let mechanisms = of_listener.list("sasl.enabled.mechanisms").join(", ");
            let certificate = match has_certificate {
                true => " and have a trusted certificate",
                false => "",
            };
            format!("clients who log in ({mechanisms}){certificate}")
        }
    };
    let asked = match asks {
        Some(ClientAuth::Requested) => ", who may show a certificate",
        _ => "",
    };
    let wire = match protocol.has_tls() {
        true => "over TLS",
        false => "without encryption",
    };
    format!("{who}{asked}, {wire} ({protocol})")
}

fn may(config: &Config, listener: &Listener) -> &'static str {
    let Some(authorizer) = &config.authorizer else {
        return "they may do everything: there is no authorizer";
    };
    let asks = listener.tls.as_ref().map(|tls| tls.client_auth());
    let is_anonymous = authorizer.is_super_user(&Principal::anonymous())
        && !listener.protocol.has_sasl()
        && asks != Some(ClientAuth::Required);
    match (is_anonymous, asks) {
        (false, _) => "ACLs say what they may do",
        (true, Some(ClientAuth::Requested)) => {
            "those without a certificate may do everything: super.users has User:ANONYMOUS. ACLs \
             say what the others may do"
        }
        (true, _) => "they may do everything: super.users has User:ANONYMOUS",
    }
}

/// Says if nobody can administrate the broker, most likely.
pub(super) fn of_administrators(config: &Config, access: &Access) {
    let doubts = config.authorizer.iter().flat_map(|it| it.doubts());
    for (user, reason) in doubts {
        tracing::warn!("super.users has '{user}', which is nobody, most likely: {reason}");
    }
    if access.has_no_administrator() {
        tracing::warn!(
            "nobody can change ACLs or users: name an administrator in super.users, as in \
             User:admin, and restart"
        );
    }
}

/// Settings of listeners that do not exist: misspelt, most likely.
fn others_settings(config: &Config) -> Vec<&str> {
    let names = config.values.set().keys();
    let of_others = names.filter(|name| {
        let Some(rest) = name.strip_prefix(LISTENER) else {
            return false;
        };
        let opened = config
            .server
            .listeners
            .iter()
            .map(|listener| &listener.name);
        let mut known = opened.chain(&config.server.unopened);
        !known.any(|known| rest.starts_with(&format!("{}.", known.to_ascii_lowercase())))
    });
    of_others.map(String::as_str).collect()
}

/// Names what is set for SASL and does nothing.
fn of_sasl(config: &Config) {
    // Kafka has the same warning.
    if config.values.is_set("sasl.jaas.config") {
        tracing::warn!(
            "sasl.jaas.config has no effect without a listener and a mechanism in its name, as in \
             listener.name.<listener>.<mechanism>.sasl.jaas.config"
        );
    }
    let listeners = config.server.listeners.iter().zip(&config.server.sasl);
    for (listener, mechanisms) in listeners {
        for missing in mechanisms.iter().flat_map(|it| it.left_out()) {
            tracing::warn!(
                listener = listener.name,
                "{missing} is enabled and not there: clients are offered the other mechanisms"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Files;

    const AUTHORIZER: &str =
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";

    #[test]
    fn each_listener_is_said_to_be_open_to_whom_it_is() {
        let files = Files::new();
        let listeners = "listeners=PLAINTEXT://:1,ANY://:2,SOME://:3,ALL://:4";
        let mut set = files.properties();
        set.extend([
            listeners.to_owned(),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,ANY:SSL,SOME:SSL,ALL:SSL"
                .to_owned(),
            "listener.name.some.ssl.client.auth=requested".to_owned(),
            "listener.name.all.ssl.client.auth=required".to_owned(),
            "listener.name.al.ssl.client.auth=required".to_owned(),
        ]);
        let config = Config::load(None, &set).unwrap();
        let all = config.server.listeners.iter();
        let said: Vec<String> = all.map(|listener| who(&config, listener)).collect();
        assert_eq!(
            said,
            [
                "everyone who reaches it, without encryption (PLAINTEXT)",
                "everyone who reaches it, over TLS (SSL)",
                "everyone who reaches it, who may show a certificate, over TLS (SSL)",
                "clients with a trusted certificate, over TLS (SSL)",
            ]
        );
        let may_of = |set: &[String]| -> Vec<&str> {
            let config = Config::load(None, set).unwrap();
            let all = config.server.listeners.iter();
            all.map(|listener| may(&config, listener)).collect()
        };
        assert!(may_of(&set).iter().all(|it| it.contains("no authorizer")));
        set.push(AUTHORIZER.to_owned());
        assert_eq!(may_of(&set), ["ACLs say what they may do"; 4]);
        set.push("super.users=User:ANONYMOUS;User:CN=a,O=b".to_owned());
        let may = may_of(&set);
        assert!(may[0] == may[1] && may[0].starts_with("they may do everything: super.users"));
        assert!(may[2].starts_with("those without a certificate may do everything"));
        assert_eq!(may[3], "ACLs say what they may do");
        assert_eq!(
            others_settings(&config),
            ["listener.name.al.ssl.client.auth"]
        );
    }
}

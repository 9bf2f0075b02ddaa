//! What an operator should know before the broker starts.

use std::net::SocketAddr;

use super::Config;
use crate::config::notes::notes;
use crate::secrets::Vault;

/// Names what was set and does nothing here.
pub(super) fn of_properties(config: &Config) {
    if !config.values.ignored().is_empty() {
        let names = config.values.ignored().join(", ");
        tracing::warn!(names, "these Kafka properties have no effect here");
    }
    for (name, note) in notes(&config.values) {
        tracing::warn!("{name} has no effect here: {note}");
    }
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

/// Says which addresses of the REST API others than this machine may reach.
pub(super) fn of_open_rest(addresses: &[SocketAddr]) {
    for address in open_to_others(addresses) {
        tracing::warn!(
            "the REST API on http://{address} can be reached from other machines and asks for no \
             credentials: anyone who reaches it can fail mirrors over and delete topics. Set \
             rest.listeners to a loopback address, or put a proxy that asks for credentials in \
             front of it"
        );
    }
}

fn open_to_others(addresses: &[SocketAddr]) -> impl Iterator<Item = &SocketAddr> {
    addresses
        .iter()
        .filter(|address| !address.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_open_to_others_unless_it_is_loopback() {
        let open = |address: &str| {
            let address: SocketAddr = address.parse().unwrap();
            open_to_others(&[address]).count() == 1
        };
        for loopback in [
            "127.0.0.1:1",
            "127.8.8.8:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(!open(loopback), "{loopback}");
        }
        for other in ["0.0.0.0:1", "[::]:1", "10.0.0.7:1", "[fd00::7]:1"] {
            assert!(open(other), "{other}");
        }
    }
}

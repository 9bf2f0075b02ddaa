//! What the log says at the start of who may reach what.

use crate::http::config::{RestConfig, RestListener};

/// One line for each address of the REST API.
pub(super) fn of_rest(config: &RestConfig, listeners: &[RestListener]) {
    for listener in listeners {
        let line = rest_line(config, listener);
        match is_open(config, listener) {
            true => tracing::warn!("{line}"),
            false => tracing::info!("{line}"),
        }
    }
}

fn is_open(config: &RestConfig, listener: &RestListener) -> bool {
    !listener.is_loopback() && config.policy.methods.is_empty()
}

fn rest_line(config: &RestConfig, listener: &RestListener) -> String {
    let reach = match listener.is_loopback() {
        true => "programs on this machine can reach it",
        false => "other machines can reach it",
    };
    let methods = config.policy.methods;
    let metrics = match config.policy.are_metrics_public {
        true => ", and /metrics",
        false => "",
    };
    let who = match methods.is_empty() {
        true if listener.is_loopback() => "it asks for no credentials".to_owned(),
        true => "it asks for no credentials: anyone who reaches it can fail mirrors over and \
                 delete topics"
            .to_owned(),
        false => format!(
            "it asks for credentials ({}), but for /healthz, /readyz{metrics}",
            methods.names().join(", ")
        ),
    };
    let (scheme, address) = (listener.scheme(), listener.address);
    format!("REST, health and metrics are served on {scheme}://{address}: {reach}, and {who}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(overrides: &[&str]) -> Vec<(bool, String)> {
        let config = RestConfig::of(&crate::testing::values(overrides)).unwrap();
        let each = config.listeners.iter();
        each.map(|it| (is_open(&config, it), rest_line(&config, it)))
            .collect()
    }

    #[test]
    fn each_listener_says_who_reaches_it_and_what_it_asks_for() {
        let both = "rest.listeners=http://127.0.0.1:1,http://0.0.0.0:2";
        let insecure = "rest.allow.insecure=true";
        let open = lines(&[both, insecure]);
        assert!(!open[0].0 && open[1].0);
        assert!(open[0].1.ends_with(
            "http://127.0.0.1:1: programs on this machine can reach it, and it asks for no credentials"
        ));
        assert!(open[1].1.contains("0.0.0.0:2: other machines") && open[1].1.contains("anyone"));
        let asking = lines(&[both, insecure, "rest.authentication.methods=basic"]);
        for (is_open, line) in asking {
            assert!(
                !is_open && line.contains("credentials (basic), but for /healthz"),
                "{line}"
            );
        }
    }
}

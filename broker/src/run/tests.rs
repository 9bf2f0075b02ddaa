//! A broker's configuration at the start, and a start that is cancelled.

use std::path::PathBuf;

use tokio::sync::watch;

use super::{Config, StartError, start};
use crate::config::{ConfigError, Values};
use crate::testing::{TestBroker, config};
use crate::tls::testing::Files;

fn load(overrides: &[&str]) -> Result<Config, ConfigError> {
    let overrides: Vec<_> = overrides.iter().map(|item| (*item).to_owned()).collect();
    Config::load(None, &overrides)
}

#[test]
fn without_any_config_it_is_a_loopback_broker_with_its_data_here() {
    let config = load(&[]).unwrap();
    assert_eq!(config.server.listeners[0].host, "127.0.0.1");
    assert_eq!(config.server.listeners[0].port, 9092);
    assert_eq!(
        config
            .rest
            .listeners
            .iter()
            .map(|it| it.address)
            .collect::<Vec<_>>(),
        vec!["127.0.0.1:8090".parse().unwrap()]
    );
    assert_eq!(config.log_dir, PathBuf::from("./carrick-data"));
    assert!(config.topics.auto_create);
}

#[test]
fn the_data_is_in_one_folder() {
    let config = load(&["log.dirs=/data"]).unwrap();
    assert_eq!(config.log_dir, PathBuf::from("/data"));
    assert!(load(&["log.dirs=/a,/b"]).is_err());
}

/// The stock files, as (name, text, names of listeners that are opened, of those that are not).
const STOCK: &[(&str, &str, &[&str], &[&str])] = &[
    (
        "kafka-2.8-zookeeper",
        include_str!("../config/testdata/kafka-2.8-zookeeper.properties"),
        &["PLAINTEXT"],
        &[],
    ),
    (
        "kafka-3.9-zookeeper",
        include_str!("../config/testdata/kafka-3.9-zookeeper.properties"),
        &["PLAINTEXT"],
        &[],
    ),
    (
        "kafka-3.9-kraft",
        include_str!("../config/testdata/kafka-3.9-kraft.properties"),
        &["PLAINTEXT"],
        &["CONTROLLER"],
    ),
    (
        "kafka-4.3-server",
        include_str!("../config/testdata/kafka-4.3-server.properties"),
        &["PLAINTEXT"],
        &["CONTROLLER"],
    ),
    (
        "kafka-4.3-broker",
        include_str!("../config/testdata/kafka-4.3-broker.properties"),
        &["PLAINTEXT"],
        &[],
    ),
    (
        "strimzi-style",
        include_str!("../config/testdata/strimzi-style.properties"),
        &["PLAIN-9092"],
        &["CONTROLPLANE-9090"],
    ),
];

#[test]
fn stock_files_are_taken_as_they_are() {
    for (file, text, opened, unopened) in STOCK {
        let set = carrick_protocol::properties::parse(text).unwrap();
        let config = Values::new(set)
            .and_then(Config::of)
            .unwrap_or_else(|e| panic!("{file}: {e}"));
        let names: Vec<_> = config
            .server
            .listeners
            .iter()
            .map(|l| l.name.as_str())
            .collect();
        assert_eq!(names, *opened, "{file}");
        assert_eq!(config.server.unopened, *unopened, "{file}");
        assert_eq!(config.server.listeners[0].port, 9092, "{file}");
        assert_eq!(
            config.server.listeners[0].advertised_host,
            advertised(file),
            "{file}"
        );
        assert!(!config.values.ignored().is_empty(), "{file}");
    }
}

fn advertised(file: &str) -> &'static str {
    match file {
        // Without listeners it is Carrick's own default.
        "kafka-2.8-zookeeper" => "127.0.0.1",
        _ => "localhost",
    }
}

#[test]
fn a_tls_listener_without_a_certificate_is_refused_by_name() {
    let text = include_str!("../config/testdata/strimzi-style.properties");
    let mut set = carrick_protocol::properties::parse(text).unwrap();
    for (name, extra) in [
        ("listeners", ",REPLICATION-9091://0.0.0.0:9091"),
        ("advertised.listeners", ",REPLICATION-9091://localhost:9091"),
        ("listener.security.protocol.map", ",REPLICATION-9091:SSL"),
    ] {
        set.get_mut(name).unwrap().push_str(extra);
    }
    let error = Values::new(set)
        .and_then(Config::of)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("listener REPLICATION-9091 needs a certificate"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_given_up_lets_the_folder_and_the_ports_go() {
    let it = TestBroker::start(&[]).await;
    it.create("orders", 3);
    let TestBroker { running, dir } = it;
    running.shutdown().await;
    let asked = watch::channel(true).1;
    let given_up = start(config(dir.path(), &[]), asked).await;
    assert!(matches!(given_up, Err(StartError::GivenUp)));
    let again = TestBroker::start_in(dir, &[]).await;
    let topic = again.broker().topic("orders").unwrap();
    assert!(
        topic
            .partitions()
            .iter()
            .all(|partition| !partition.is_offline())
    );
    assert_eq!(topic.partitions().len(), 3);
    again.running.shutdown().await;
}

/// The public key of RFC 8037, appendix A.2.
const RFC_8037_KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "of-the-rfc",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// docs/locked-down.properties, with the files of a test.
fn locked_down(change: impl Fn(&str) -> String) -> Result<Config, ConfigError> {
    const PUBLISHED: &str = include_str!("../../../docs/locked-down.properties");
    let files = Files::new();
    files.write("secrets.key", &"5a".repeat(32));
    files.write("keys.json", RFC_8037_KEYS);
    let folder = files.path("");
    let path = |name: &str| files.path(name).display().to_string();
    let text = PUBLISHED
        .replace("/etc/carrick/broker.pem", &path("server.pem"))
        .replace("/etc/carrick/internal-clients.pem", &path("clients.pem"))
        .replace("/etc/carrick/", &folder.display().to_string());
    files.write(
        "carrick.properties",
        &change(&text).replace("/id/", &path("")),
    );
    Config::load(Some(&files.path("carrick.properties")), &[])
}

#[test]
fn the_published_settings_lock_a_broker_down_that_other_machines_reach() {
    let config = locked_down(str::to_owned).unwrap();
    assert!(config.rest.listeners.iter().all(|it| !it.is_loopback()));
    assert!(!config.rest.policy.methods.is_empty() && !config.rest.policy.are_metrics_public);
    assert!(
        config.values.ignored().is_empty(),
        "every line does something"
    );
    assert!(config.server.sasl.iter().flatten().count() == 1 && config.server.tls().len() == 2);
    let authorizer = config.authorizer.unwrap();
    assert!(!authorizer.everyone_without_acls && authorizer.super_users.len() == 1);

    // What the comments offer instead is right, too.
    let passwords = "\nlistener.name.external.sasl.enabled.mechanisms=SCRAM-SHA-512\n";
    let provider = "https://id.example.com/realms/prod/protocol/openid-connect/certs";
    let config = locked_down(|text| {
        assert!(text.contains(passwords) && text.contains(provider));
        let text = text
            .replace(passwords, "\n")
            .replace("\n#listener.", "\nlistener.");
        text.replace(provider, "file:///id/keys.json")
    });
    let config = config.unwrap();
    let mechanisms = config.server.sasl.iter().flatten();
    let names: Vec<_> = mechanisms.flat_map(|it| it.names()).collect();
    assert_eq!(names, ["SCRAM-SHA-512", "OAUTHBEARER"]);
    assert!(config.values.ignored().is_empty());
}

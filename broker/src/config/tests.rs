//! What a configuration may say, and what it may not.

use super::*;

fn load(overrides: &[&str]) -> Result<BrokerConfig, ConfigError> {
    let overrides: Vec<_> = overrides.iter().map(|item| (*item).to_owned()).collect();
    BrokerConfig::load(None, &overrides)
}

#[test]
fn without_any_config_it_is_a_loopback_broker_with_its_data_here() {
    let config = load(&[]).unwrap();
    assert_eq!(config.listeners[0].host, "127.0.0.1");
    assert_eq!(config.listeners[0].port, 9092);
    assert_eq!(
        config.rest_listeners,
        vec!["127.0.0.1:8090".parse().unwrap()]
    );
    assert_eq!(config.log_dir, PathBuf::from("./carrick-data"));
    assert!(config.auto_create_topics);
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_known_one() {
    let error = load(&["num.partition=3"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown property 'num.partition', did you mean 'num.partitions'?"
    );
    let error = load(&["something.else.entirely=3"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown property 'something.else.entirely'"
    );
}

#[test]
fn a_wrong_value_is_refused_by_name() {
    let error = load(&["num.partitions=0"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid value '0' for 'num.partitions': must be at least 1"
    );
    assert!(load(&["compression.type=none"]).is_err());
    assert!(load(&["log.dirs=/a,/b"]).is_err());
    assert!(load(&["novalue"]).is_err());
}

#[test]
fn kafka_names_without_effect_are_taken_and_named() {
    let config = load(&["num.io.threads=3", "transaction.state.log.min.isr=1"]).unwrap();
    assert_eq!(
        config.values.ignored(),
        ["num.io.threads", "transaction.state.log.min.isr"]
    );
}

#[test]
fn several_listeners_are_told_by_their_advertised_names() {
    let config = load(&[
        "listeners=INSIDE://:9092, OUTSIDE://[::1]:9093",
        "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,UNUSED:SSL",
        "advertised.listeners=OUTSIDE://broker.example:19093,INSIDE://10.0.0.1:9092",
    ])
    .unwrap();
    assert_eq!(config.listeners[0].advertised_host, "10.0.0.1");
    assert_eq!(config.listeners[1].host, "::1");
    assert_eq!(config.listeners[1].advertised_host, "broker.example");
    assert_eq!(config.listeners[1].advertised_port, 19093);
}

#[test]
fn security_that_is_not_built_is_refused_by_name() {
    let error = load(&["listeners=SSL://:9093"]).unwrap_err();
    assert!(
        error.to_string().contains("SSL is not supported yet"),
        "{error}"
    );
    let error = load(&["listeners=X://:9093"]).unwrap_err();
    assert!(
        error.to_string().contains("listener.security.protocol.map"),
        "{error}"
    );
    assert!(load(&["listeners=PLAINTEXT://0.0.0.0:9092"]).is_err());
    let error = load(&["advertised.listeners=OTHER://h:1"]).unwrap_err();
    assert!(error.to_string().contains("no listener 'OTHER'"), "{error}");
}

#[test]
fn a_file_is_read_and_overrides_win() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("carrick.properties");
    std::fs::write(&path, "# comment\nnum.partitions=3\nlog.dirs=/data\n").unwrap();
    let config = BrokerConfig::load(Some(&path), &["num.partitions=5".to_owned()]).unwrap();
    assert_eq!(config.num_partitions, 5);
    assert_eq!(config.log_dir, PathBuf::from("/data"));
    let missing = BrokerConfig::load(Some(&dir.path().join("none")), &[]).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read"));
}

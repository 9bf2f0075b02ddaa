//! What properties may say, and what they may not.

use std::collections::BTreeMap;

use super::*;

fn load(overrides: &[&str]) -> Result<Values, ConfigError> {
    let overrides: Vec<_> = overrides.iter().map(|item| (*item).to_owned()).collect();
    read(None, &overrides)
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
    assert!(load(&["novalue"]).is_err());
}

#[test]
fn kafka_names_without_effect_are_taken_and_named() {
    let config = load(&["num.io.threads=3", "transaction.state.log.min.isr=1"]).unwrap();
    assert_eq!(
        config.ignored(),
        ["num.io.threads", "transaction.state.log.min.isr"]
    );
}

/// Every name that these releases of Kafka know, as they print them themselves.
#[test]
fn every_property_of_every_release_of_kafka_is_known() {
    let lines = include_str!("testdata/kafka.names").lines();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let (name, releases) = line.split_once(' ').unwrap();
        for release in releases.split(' ') {
            *counts.entry(release).or_default() += 1;
        }
        assert!(known::definition(name).is_some(), "{line}");
    }
    let count = |release| counts.get(release).copied();
    assert_eq!(count("2.8.2"), Some(233));
    assert_eq!(count("3.9.1"), Some(328));
    assert_eq!(count("4.3.1"), Some(360));
}

#[test]
fn what_kafka_4_3_does_not_list_is_described_only_where_it_is_set() {
    let listed = |set: &[&str]| -> Vec<&str> {
        let config = load(set).unwrap();
        let all = describe::broker(&config).into_iter();
        all.map(|config| config.def.name).collect()
    };
    let of_4_3: Vec<&str> = include_str!("testdata/kafka.names")
        .lines()
        .filter(|line| line.ends_with(" 4.3.1"))
        .filter_map(|line| Some(line.split_once(' ')?.0))
        .collect();
    let own = |name: &str| {
        let used = used::USED.iter().find(|def| def.name == name);
        used.is_some_and(|def| def.doc.contains("Carrick's own"))
    };
    let mut names = listed(&[]);
    names.retain(|name| !own(name));
    names.sort_unstable();
    assert_eq!(names, of_4_3);
    assert!(listed(&["zookeeper.connect=a:1"]).contains(&"zookeeper.connect"));
}

#[test]
fn a_value_that_a_config_provider_should_look_up_is_refused_where_it_would_be_used() {
    let error = load(&["config.providers=env", "log.dirs=${env:DATA}"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid value '${env:DATA}' for 'log.dirs': config providers are not supported: put the \
         value itself into the file"
    );
    assert!(load(&["config.providers=env", "num.io.threads=${env:N}"]).is_ok());
    assert!(load(&["log.dirs=/data/${x}"]).is_ok());
}

#[test]
fn a_misspelt_setting_of_a_listener_is_unknown() {
    let error = load(&["listener.name.plaintext.max.conections=5"]).unwrap_err();
    assert!(matches!(error, ConfigError::UnknownName { .. }), "{error}");
}

#[test]
fn a_file_is_read_and_overrides_win() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("carrick.properties");
    std::fs::write(&path, "# comment\nnum.partitions=3\nlog.dirs=/data\n").unwrap();
    let values = read(Some(&path), &["num.partitions=5".to_owned()]).unwrap();
    assert_eq!(values.int("num.partitions"), 5);
    assert_eq!(values.text("log.dirs").as_deref(), Some("/data"));
    let missing = read(Some(&dir.path().join("none")), &[]).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read"));
}

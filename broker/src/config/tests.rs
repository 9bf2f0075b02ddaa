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
fn listeners_that_make_no_sense_are_refused() {
    let error = load(&["listeners=X://:9093"]).unwrap_err();
    assert!(
        error.to_string().contains("listener.security.protocol.map"),
        "{error}"
    );
    assert!(load(&["listeners=PLAINTEXT://0.0.0.0:9092"]).is_err());
    let error = load(&["advertised.listeners=OTHER://h:1"]).unwrap_err();
    assert!(error.to_string().contains("no listener 'OTHER'"), "{error}");
    let error = load(&["rest.listeners=https://127.0.0.1:8090"]).unwrap_err();
    assert!(error.to_string().contains("there is no TLS"), "{error}");
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

/// The properties among these that ask for security, if that is why the start is refused.
fn asked_for(overrides: &[&str]) -> Vec<String> {
    match load(overrides) {
        Err(ConfigError::Security(asked)) => asked.into_iter().map(|asked| asked.name).collect(),
        Err(other) => panic!("{overrides:?}: {other}"),
        Ok(_) => Vec::new(),
    }
}

/// A property, and the name that the refusal gives.
#[rustfmt::skip]
const ASKING: &[(&str, &str)] = &[
    ("listeners=SSL://:9093", "listeners"),
    ("listeners=PLAINTEXT://:9092,SASL_PLAINTEXT://:9093", "listeners"),
    ("listeners=SASL_SSL://:9093", "listeners"),
    ("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "authorizer.class.name"),
    ("super.users=User:admin", "super.users"),
    ("allow.everyone.if.no.acl.found=false", "allow.everyone.if.no.acl.found"),
    ("allow.everyone.if.no.acl.found=${env:OPEN}", "allow.everyone.if.no.acl.found"),
    ("sasl.enabled.mechanisms=SCRAM-SHA-512", "sasl.enabled.mechanisms"),
    ("sasl.jaas.config=x required;", "sasl.jaas.config"),
    ("security.inter.broker.protocol=SASL_PLAINTEXT", "security.inter.broker.protocol"),
    ("ssl.client.auth=required", "ssl.client.auth"),
    ("ssl.keystore.location=/etc/kafka/server.jks", "ssl.keystore.location"),
    ("ssl.truststore.location=/etc/kafka/ca.jks", "ssl.truststore.location"),
    ("ssl.keystore.key=-----BEGIN PRIVATE KEY-----", "ssl.keystore.key"),
    ("principal.builder.class=com.example.Principals", "principal.builder.class"),
    ("delegation.token.secret.key=hunter2", "delegation.token.secret.key"),
    ("delegation.token.master.key=hunter2", "delegation.token.master.key"),
    ("connections.max.reauth.ms=3600000", "connections.max.reauth.ms"),
    ("listener.name.plaintext.scram-sha-256.sasl.jaas.config=x required;",
        "listener.name.plaintext.scram-sha-256.sasl.jaas.config"),
    ("listener.name.PLAINTEXT.ssl.keystore.location=/etc/kafka/server.jks",
        "listener.name.PLAINTEXT.ssl.keystore.location"),
];

#[test]
fn security_that_is_not_there_keeps_the_broker_from_starting() {
    for (property, name) in ASKING {
        assert_eq!(asked_for(&[property]), [*name]);
    }
    let map = "listener.security.protocol.map=OUTSIDE:SASL_SSL";
    assert_eq!(
        asked_for(&["listeners=OUTSIDE://:9093", map]),
        ["listeners"]
    );
}

#[test]
fn a_property_that_asks_for_no_security_starts_the_broker() {
    for property in [
        "authorizer.class.name=",
        "super.users=",
        "allow.everyone.if.no.acl.found=true",
        "sasl.enabled.mechanisms=",
        "security.inter.broker.protocol=PLAINTEXT",
        "ssl.client.auth=none",
        "connections.max.reauth.ms=0",
        "ssl.protocol=TLSv1.3",
        "ssl.enabled.protocols=TLSv1.2,TLSv1.3",
        "sasl.login.refresh.window.factor=0.8",
        "listener.name.elsewhere.ssl.keystore.location=/etc/kafka/server.jks",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL",
    ] {
        assert_eq!(asked_for(&[property]), [""; 0], "{property}");
    }
}

#[test]
fn a_refusal_of_security_names_every_property_the_next_step_and_no_secret() {
    let error = load(&[
        "listeners=SASL_SSL://:9093",
        "authorizer.class.name=x.Y",
        "sasl.jaas.config=open sesame",
    ]);
    let text = error.unwrap_err().to_string();
    for part in [
        "listener SASL_SSL asks for SASL_SSL",
        "proxy",
        "authorizer.class.name: there are no ACLs",
        "sasl.jaas.config: there is no SASL",
        "Remove these properties only if you trust the network in front of the listeners",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("sesame"), "{text}");
}

/// If you add a security property, decide here whether it asks for security.
#[test]
fn every_known_property_of_security_is_a_demand_or_a_detail() {
    let areas = [
        "allow.",
        "authorizer.",
        "delegation.",
        "principal.",
        "sasl.",
        "security.",
        "ssl.",
        "super.",
    ];
    let known = ignored::IGNORED
        .iter()
        .map(|(name, kind, _)| (*name, *kind));
    let unlisted = unlisted::AUTHORIZERS.iter().chain(unlisted::REMOVED);
    let of_security = known
        .chain(unlisted.copied())
        .filter(|(name, _)| areas.iter().any(|area| name.starts_with(area)));
    let demands: Vec<_> = of_security
        .map(|(name, kind)| {
            let value = match kind {
                Kind::Boolean => "false",
                Kind::Int | Kind::Short | Kind::Long | Kind::Double => "1",
                _ => "x",
            };
            (name, asked_for(&[&format!("{name}={value}")]))
        })
        .filter(|(name, asked)| asked == &[*name])
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "authorizer.class.name",
        "delegation.token.secret.key",
        "principal.builder.class",
        "sasl.enabled.mechanisms",
        "sasl.jaas.config",
        "sasl.server.callback.handler.class",
        "security.inter.broker.protocol",
        "ssl.client.auth",
        "ssl.engine.factory.class",
        "ssl.keystore.certificate.chain",
        "ssl.keystore.key",
        "ssl.keystore.location",
        "ssl.truststore.certificates",
        "ssl.truststore.location",
        "allow.everyone.if.no.acl.found",
        "super.users",
        "delegation.token.master.key",
    ];
    assert_eq!(demands, expected);
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
        assert!(values::definition(name).is_some(), "{line}");
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
        let all = describe::broker(&config.values).into_iter();
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

/// The stock files, as (name, text, names of listeners that are opened, of those that are not).
const STOCK: &[(&str, &str, &[&str], &[&str])] = &[
    (
        "kafka-2.8-zookeeper",
        include_str!("testdata/kafka-2.8-zookeeper.properties"),
        &["PLAINTEXT"],
        &[],
    ),
    (
        "kafka-3.9-zookeeper",
        include_str!("testdata/kafka-3.9-zookeeper.properties"),
        &["PLAINTEXT"],
        &[],
    ),
    (
        "kafka-3.9-kraft",
        include_str!("testdata/kafka-3.9-kraft.properties"),
        &["PLAINTEXT"],
        &["CONTROLLER"],
    ),
    (
        "kafka-4.3-server",
        include_str!("testdata/kafka-4.3-server.properties"),
        &["PLAINTEXT"],
        &["CONTROLLER"],
    ),
    (
        "kafka-4.3-broker",
        include_str!("testdata/kafka-4.3-broker.properties"),
        &["PLAINTEXT"],
        &[],
    ),
    (
        "strimzi-style",
        include_str!("testdata/strimzi-style.properties"),
        &["PLAIN-9092"],
        &["CONTROLPLANE-9090"],
    ),
];

#[test]
fn stock_files_are_taken_as_they_are() {
    for (file, text, opened, unopened) in STOCK {
        let set = carrick_link::properties::parse(text).unwrap();
        let config = BrokerConfig::from_values(set).unwrap_or_else(|e| panic!("{file}: {e}"));
        let names: Vec<_> = config.listeners.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, *opened, "{file}");
        assert_eq!(config.unopened_listeners, *unopened, "{file}");
        assert_eq!(config.listeners[0].port, 9092, "{file}");
        assert_eq!(
            config.listeners[0].advertised_host,
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
fn the_tls_listener_between_brokers_of_such_a_file_is_refused_by_name() {
    let text = include_str!("testdata/strimzi-style.properties");
    let mut set = carrick_link::properties::parse(text).unwrap();
    for (name, extra) in [
        ("listeners", ",REPLICATION-9091://0.0.0.0:9091"),
        ("advertised.listeners", ",REPLICATION-9091://localhost:9091"),
        ("listener.security.protocol.map", ",REPLICATION-9091:SSL"),
    ] {
        set.get_mut(name).unwrap().push_str(extra);
    }
    let error = BrokerConfig::from_values(set).unwrap_err().to_string();
    assert!(
        error.contains("listener REPLICATION-9091 asks for SSL"),
        "{error}"
    );
}

#[test]
fn listeners_for_controllers_alone_serve_nobody() {
    let error = load(&[
        "process.roles=controller",
        "listeners=CONTROLLER://:9093",
        "controller.listener.names=CONTROLLER",
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT",
    ]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("an address for clients"), "{error}");
}

#[test]
fn a_value_that_a_config_provider_should_look_up_is_refused_where_it_would_be_used() {
    let error = load(&["config.providers=env", "log.dirs=${env:DATA}"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid value '${env:DATA}' for 'log.dirs': config providers are not built: put the \
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

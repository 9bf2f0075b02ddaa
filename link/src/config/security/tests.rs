//! Configs as a Kafka client's properties file has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::config::LinkConfig;

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                     username='u' password='hunter2';";

fn parse(pairs: &[(&str, &str)]) -> Result<Security, ConfigError> {
    let mut values = BTreeMap::from([("bootstrap.servers".to_owned(), "a:9092".to_owned())]);
    let pairs = pairs.iter();
    values.extend(pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    LinkConfig::parse(&values).map(|config| config.security)
}

/// The name in the refusal; nothing of it may show a secret.
fn refused(pairs: &[(&str, &str)]) -> String {
    let error = parse(pairs).expect_err("let pass");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    error.name
}

#[test]
fn a_client_of_a_hosted_cluster_is_sasl_plain_over_tls_with_the_hosts_authorities() {
    let security = parse(&[
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.jaas.config", PLAIN),
    ])
    .expect("a client's file");
    assert_eq!(security.protocol(), "SASL_SSL");
    let tls = security.tls.expect("TLS");
    assert!(tls.checks_host && tls.truststore.is_none() && tls.keystore.is_none());
    let sasl = security.sasl.expect("SASL");
    assert_eq!(sasl.mechanism, Mechanism::Plain);
    let Login::Password {
        username, password, ..
    } = sasl.login
    else {
        panic!("no password");
    };
    assert_eq!((username.expose(), password.expose()), ("u", "hunter2"));
}

#[test]
fn pem_is_taken_from_files_and_from_configs() {
    let tls = |more: &[(&str, &str)]| {
        let all = [&[("security.protocol", "SSL")], more].concat();
        parse(&all).expect("right").tls.expect("TLS")
    };
    let files = tls(&[
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", "/ca.pem"),
        ("ssl.keystore.type", "pem"),
        ("ssl.keystore.location", "/me.pem"),
        ("ssl.key.password", "hunter2"),
        ("ssl.endpoint.identification.algorithm", ""),
        ("ssl.enabled.protocols", "TLSv1.2,TLSv1.1"),
    ]);
    let path = |file: &str| Some(PathBuf::from(file));
    let file = files.truststore.and_then(|it| it.file().map(PathBuf::from));
    assert_eq!(file, path("/ca.pem"));
    let file = files.keystore.and_then(|it| it.file().map(PathBuf::from));
    assert_eq!(file, path("/me.pem"));
    assert!(!files.checks_host && files.versions.v1_2 && !files.versions.v1_3);
    let inline = tls(&[
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.certificates", "ca"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.key", "key"),
        ("ssl.keystore.certificate.chain", "chain"),
        ("ssl.endpoint.identification.algorithm", "HTTPS"),
    ]);
    assert!(inline.checks_host && inline.versions.v1_3);
    assert_eq!(
        inline.truststore,
        Some(TrustStore::Inline(Secret::new("ca")))
    );
}

/// The config that is refused, and a file's lines that it is refused for.
const REFUSED: &str = r"
sasl.mechanism | SASL_PLAINTEXT
sasl.mechanism | SASL_SSL | sasl.mechanism=GSSAPI
sasl.jaas.config | SASL_SSL | sasl.mechanism=PLAIN
sasl.jaas.config | SASL_SSL | sasl.mechanism=PLAIN | sasl.jaas.config=ScramLoginModule required username=u password=hunter2;
sasl.jaas.config | SASL_SSL | sasl.mechanism=PLAIN | sasl.jaas.config=PlainLoginModule required username=u password=hunter2
sasl.jaas.config | SASL_SSL | sasl.mechanism=PLAIN | sasl.jaas.config=PlainLoginModule required password=hunter2;
ssl.truststore.type | SSL | ssl.truststore.certificates=c
ssl.truststore.password | SSL | ssl.truststore.type=PEM | ssl.truststore.location=/a | ssl.truststore.password=hunter2
ssl.truststore.location | SSL | ssl.truststore.type=PEM | ssl.truststore.location=/a | ssl.truststore.certificates=c
ssl.keystore.type | SSL | ssl.keystore.type=BCFKS | ssl.keystore.location=/a
ssl.keystore.certificate.chain | SSL | ssl.keystore.key=hunter2
ssl.keystore.key | SSL | ssl.keystore.certificate.chain=c
ssl.enabled.protocols | SSL | ssl.enabled.protocols=TLSv1.1
ssl.endpoint.identification.algorithm | SSL | ssl.endpoint.identification.algorithm=ldaps
ssl.engine.factory.class | PLAINTEXT | ssl.engine.factory.class=x.Y
sasl.login.callback.handler.class | PLAINTEXT | sasl.login.callback.handler.class=x.Y
";

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    for line in REFUSED.lines().filter(|line| !line.is_empty()) {
        let mut fields = line.split(" | ");
        let (name, protocol) = (fields.next().unwrap(), fields.next().unwrap());
        let mut pairs = vec![("security.protocol", protocol)];
        pairs.extend(fields.map(|field| field.split_once('=').unwrap()));
        assert_eq!(refused(&pairs), name, "{line}");
    }
}

#[test]
fn configs_of_what_is_not_used_are_not_looked_at() {
    let pairs = [
        ("ssl.truststore.location", "/a.jks"),
        ("sasl.jaas.config", "nonsense"),
    ];
    assert_eq!(parse(&pairs), Ok(Security::default()));
}

#[test]
fn a_secret_that_could_not_be_read_leaves_the_link_without_a_way_to_its_source() {
    let mut values = BTreeMap::from([("bootstrap.servers".to_owned(), "a:9092".to_owned())]);
    values.insert("security.protocol".to_owned(), "SASL_PLAINTEXT".to_owned());
    values.insert("sasl.mechanism".to_owned(), "PLAIN".to_owned());
    let name = "sasl.jaas.config".to_owned();
    let unreadable = BTreeMap::from([(name.clone(), "no key".to_owned())]);
    let config = LinkConfig::stored(&values, &unreadable).expect("a link all the same");
    let fault = config.security.fault.clone().expect("a fault");
    assert!(
        fault.contains("sasl.jaas.config") && fault.contains("no key"),
        "{fault}"
    );
    let mended = config
        .altered(&[(name, Some(PLAIN.to_owned()))])
        .expect("set anew");
    assert!(mended.security.fault.is_none() && mended.unreadable().is_empty());
}

//! A secured cluster is lost: its clients go on at Carrick with the properties that they have, but for the address. What
//! they were not allowed there, they are not allowed here.

use std::path::Path;

use anyhow::ensure;
use harness::carrick::Setup as CarrickSetup;
use harness::certificates::Authority;
use harness::kafka::Setup;
use harness::peer::Kind;
use harness::{Carrick, Kafka, Peer, Result, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{EVERY_GROUP, LIMIT, World};

const USERS: [(&str, &str); 3] = [
    ("link", "link-sesame"),
    ("shop", "shop-sesame"),
    ("guest", "guest-sesame"),
];
const PROTOCOLS: [&str; 2] = ["SSL", "SASL_SSL"];
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";

/// What both clusters are set to: the same.
fn properties(at: &Path) -> Vec<String> {
    let file = |name: &str| at.join(name).display().to_string();
    vec![
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        "super.users=User:ANONYMOUS".to_owned(),
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={}", file("broker.pem")),
        "ssl.truststore.type=PEM".to_owned(),
        format!("ssl.truststore.location={}", file("clients.pem")),
        "listener.name.ssl.ssl.client.auth=required".to_owned(),
        "ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/,DEFAULT".to_owned(),
        "listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512".to_owned(),
        format!("listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={SCRAM} required;"),
    ]
}

struct Secured {
    world: World,
    folder: TempDir,
}

impl Secured {
    fn start() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("takeover-test-")
            .tempdir()?;
        let at = folder.path();
        let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
        servers.write(at, "servers.pem")?;
        servers.write_identity(at, "broker.pem", "127.0.0.1")?;
        clients.write(at, "clients.pem")?;
        for name in ["link", "billing"] {
            clients.write_named(at, &format!("{name}.pem"), name)?;
        }
        let properties = properties(at);
        let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
        let kafka = Kafka::start_as(Setup {
            properties: &properties,
            protocols: &PROTOCOLS,
            ..Setup::default()
        })?;
        let carrick = Carrick::start_as(CarrickSetup {
            properties: &properties,
            protocols: &PROTOCOLS,
        })?;
        let mut world = World::start_both(kafka, carrick)?;
        for (user, password) in USERS {
            let user = json!({"user": user, "mechanism": "SCRAM-SHA-512", "password": password});
            world.source.call("set_password", user.clone())?;
            world.destination.call("set_password", user)?;
        }
        Ok(Self { world, folder })
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What is allowed at the source. Nothing is set at Carrick: the link brings it.
    fn allow(&mut self) -> Result<()> {
        for (user, resource, name, operation) in [
            ("link", "TOPIC", "orders", "READ"),
            ("link", "TOPIC", "orders", "DESCRIBE_CONFIGS"),
            ("link", "TOPIC", "bills", "READ"),
            ("link", "TOPIC", "bills", "DESCRIBE_CONFIGS"),
            ("link", "GROUP", "shop", "DESCRIBE"),
            ("link", "CLUSTER", "kafka-cluster", "DESCRIBE"),
            ("shop", "TOPIC", "orders", "READ"),
            ("shop", "TOPIC", "orders", "WRITE"),
            ("shop", "GROUP", "shop", "READ"),
            ("billing", "TOPIC", "bills", "WRITE"),
            ("guest", "TOPIC", "orders", "DESCRIBE"),
        ] {
            let fields = json!({
                "change": "add", "user": user, "resource": resource, "name": name, "operation": operation,
            });
            self.world.source.call("acl", fields)?;
        }
        Ok(())
    }

    /// A link over that protocol.
    fn link(&self, name: &str, protocol: &str, more: &[&str]) -> Result<()> {
        let mut lines = vec![
            format!(
                "bootstrap.servers={}",
                self.world.kafka.listener(1, protocol)
            ),
            format!("security.protocol={protocol}"),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", self.file("servers.pem")),
        ];
        match protocol {
            "SSL" => {
                lines.push("ssl.keystore.type=PEM".to_owned());
                lines.push(format!("ssl.keystore.location={}", self.file("link.pem")));
            }
            _ => {
                let (user, password) = USERS[0];
                lines.push("sasl.mechanism=SCRAM-SHA-512".to_owned());
                lines.push(format!(
                    "sasl.jaas.config={SCRAM} required username=\"{user}\" password=\"{password}\";"
                ));
            }
        }
        lines.extend(more.iter().map(|&line| line.to_owned()));
        let file = self.file("link.properties");
        std::fs::write(&file, lines.join("\n"))?;
        self.world
            .carrick
            .cli(&["link", "create", name, "--config-file", &file])?;
        Ok(())
    }

    /// A Java client of the source.
    fn client(&self, protocol: &str, who: &str) -> Result<Peer> {
        let mut security = json!({"protocol": protocol, "ca": self.file("servers.pem")});
        match USERS.iter().find(|(user, _)| *user == who) {
            Some((user, password)) => {
                security["mechanism"] = json!("SCRAM-SHA-512");
                security["user"] = json!(user);
                security["password"] = json!(password);
            }
            None => security["identity"] = json!(self.file(&format!("{who}.pem"))),
        }
        let mut peer = Peer::java(&self.world.kafka.listener(1, protocol))?;
        peer.secure(security);
        Ok(peer)
    }
}

fn produce(peer: &mut Peer, topic: &str, count: u32) -> Result<()> {
    peer.call("produce", json!({"topic": topic, "count": count}))
        .map(drop)
}

fn read_on(shop: &mut Peer, count: u32) -> Result<Vec<Value>> {
    let fields = json!({"topic": "orders", "group": "shop", "count": count});
    let read = shop.call("group_read", fields)?;
    Ok(read["read"].as_array().cloned().unwrap_or_default())
}

#[test]
fn clients_of_a_secured_cluster_go_on_with_what_they_may_and_no_more() -> Result<()> {
    let mut secured = Secured::start()?;
    for topic in ["orders", "bills"] {
        secured.world.topic(topic, 1, json!({}))?;
    }
    secured.allow()?;
    let mut shop = secured.client("SASL_SSL", "shop")?;
    let mut guest = secured.client("SASL_SSL", "guest")?;
    let mut billing = secured.client("SSL", "billing")?;
    produce(&mut shop, "orders", 100)?;
    produce(&mut billing, "bills", 50)?;
    ensure!(read_on(&mut shop, 60)?.len() == 60);
    let refused_there = refusals(&mut guest, &mut billing)?;

    let acls = r#"acl.filters={"aclFilters":[{"resourceFilter":{},"accessFilter":{}}]}"#;
    let syncs = [
        "acl.sync.enable=true",
        "acl.sync.ms=1000",
        acls,
        "consumer.offset.sync.enable=true",
        "consumer.offset.sync.ms=1000",
        EVERY_GROUP,
    ];
    secured.link("scram", "SASL_SSL", &syncs)?;
    secured.link("mtls", "SSL", &[])?;
    secured.world.carrick.mirror("scram", &["orders"])?;
    secured.world.carrick.mirror("mtls", &["bills"])?;
    for topic in ["orders", "bills"] {
        secured.world.wait_caught_up(topic, 1)?;
        ensure!(
            secured.world.assert_identical(topic, 1)? > 0,
            "{topic} is empty"
        );
    }
    everything_is_here(&mut secured)?;

    secured.world.kafka.kill_all();
    let carrick = &secured.world.carrick;
    carrick.cli(&["mirror", "failover", "orders", "--link", "scram"])?;
    carrick.cli(&["mirror", "failover", "bills", "--link", "mtls"])?;
    shop.point_at(&carrick.listener("SASL_SSL"));
    guest.point_at(&carrick.listener("SASL_SSL"));
    billing.point_at(&carrick.listener("SSL"));

    produce(&mut shop, "orders", 10)?;
    produce(&mut billing, "bills", 10)?;
    let read = read_on(&mut shop, 50)?;
    ensure!(read.len() == 50 && read[0] == "0:60", "{read:?}");
    let refused_here = refusals(&mut guest, &mut billing)?;
    ensure!(
        refused_here == refused_there,
        "{refused_here:?} is not {refused_there:?}"
    );
    Ok(())
}

/// What is not allowed, with the errors of it.
fn refusals(guest: &mut Peer, billing: &mut Peer) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    let mut refused = |peer: &mut Peer, op: &str, fields: Value| -> Result<()> {
        let refusal = peer.refusal(op, fields)?;
        println!("{op}: {refusal}");
        ensure!(refusal.kind == Kind::Authorization, "{op}: {refusal}");
        codes.push(refusal.code);
        Ok(())
    };
    let orders = json!({"topic": "orders", "count": 1});
    let group = json!({"topic": "orders", "group": "shop", "count": 1});
    refused(guest, "produce", orders.clone())?;
    refused(guest, "group_read", group)?;
    refused(billing, "produce", orders)?;
    refused(
        billing,
        "consume",
        json!({"topic": "bills", "partition": 0}),
    )?;
    Ok(codes)
}

/// The ACLs and the offsets of the group have come.
fn everything_is_here(secured: &mut Secured) -> Result<()> {
    let texts =
        |peer: &mut Peer| -> Result<Value> { Ok(peer.call("acls", json!({}))?["acls"].clone()) };
    let expected = texts(&mut secured.world.source)?;
    ensure!(
        expected.as_array().is_some_and(|acls| acls.len() == 11),
        "{expected}"
    );
    wait_until("the ACLs are here", LIMIT, || {
        let here = texts(&mut secured.world.destination)?;
        Ok(if here == expected {
            Ok(())
        } else {
            Err(here.to_string())
        })
    })?;
    wait_until("the group's offset is here", LIMIT, || {
        let fields = json!({"group": "shop", "topic": "orders", "partition": 0});
        let here = secured.world.destination.call("committed", fields)?;
        Ok(if here["offset"] == 60 {
            Ok(())
        } else {
            Err(here.to_string())
        })
    })
}

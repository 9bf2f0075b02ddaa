//! A cluster with TLS, SCRAM and ACLs is lost: the same clients go on at Carrick, with the same properties but for the
//! address. Whom the source refused is refused here.
//!
//! All libraries share one source, one link and one failover, because a source is dear to start. What a library did
//! before is its cell's business: an error there fails that cell alone.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, anyhow, ensure};
use harness::{Carrick, Kafka, Peer, Result, carrick, kafka, wait_until};
use serde_json::json;

use super::world::{ALICE, Folder, Listener, PASSWORD, acl, properties};
use crate::library::Library;
use crate::matrix::Ready;
use crate::scenarios::LIMIT;

/// The column's head.
pub const NAME: &str = "failover";

const MECHANISM: &str = "SCRAM-SHA-512";
/// She has a password, and no right to anything.
const MALLORY: &str = "mallory";
/// How the link logs in.
const LINK: &str = "link";
const USERS: [&str; 3] = [ALICE, MALLORY, LINK];
/// Records that a library's group has read before the source is lost, and those that it has not.
const READ: u64 = 20;
const UNREAD: u64 = 10;

/// The world that the cells share: the first of them makes it.
#[derive(Clone)]
pub struct Shared {
    libraries: &'static [Library],
    world: Arc<OnceLock<std::result::Result<World, String>>>,
}

/// The destination, after the failover.
struct World {
    carrick: Carrick,
    folder: Folder,
    /// What mallory was refused with at the source, by library.
    before: HashMap<&'static str, std::result::Result<String, String>>,
}

impl Shared {
    /// For these libraries.
    pub fn of(libraries: &'static [Library]) -> Self {
        let world = Arc::default();
        Self { libraries, world }
    }

    /// A library's client reads what its group had not read at the source, and nothing again; and writes.
    pub fn goes_on(&self, library: &Library) -> Result<()> {
        let made = || failed_over(self.libraries).map_err(|e| format!("{e:#}"));
        let world = self.world.get_or_init(made);
        let world = world.as_ref().map_err(|e| anyhow!("the failover: {e}"))?;
        let before = world.before.get(library.name);
        let refused_with = before.context("it was not at the source")?;
        let refused_with = refused_with
            .as_ref()
            .map_err(|e| anyhow!("at the source: {e}"))?;

        let mut app = App::start(library, &world.folder, &world.carrick.listener("SASL"))?;
        app.join()?;
        app.produce(5)?;
        app.wait_consumed(UNREAD + 5)?;
        app.leave()?;
        ensure!(
            app.consumed == UNREAD + 5,
            "it reads from where its group was: {} records",
            app.consumed
        );
        let refusal = app.mallory_is_refused()?;
        ensure!(
            refusal == *refused_with,
            "{refusal}; at the source {refused_with}"
        );
        Ok(())
    }
}

/// What a library's clients do, before and after.
struct App<'a> {
    library: &'a Library,
    peer: Peer,
    folder: &'a Folder,
    topic: String,
    group: String,
    consumed: u64,
}

impl<'a> App<'a> {
    fn start(library: &'a Library, folder: &'a Folder, at: &str) -> Result<Self> {
        let mut peer = (library.start)(at)?;
        peer.secure(folder.login(MECHANISM, ALICE, PASSWORD));
        let (topic, group) = (topic(library), group(library));
        Ok(Self {
            library,
            peer,
            folder,
            topic,
            group,
            consumed: 0,
        })
    }

    fn join(&mut self) -> Result<()> {
        let fields =
            json!({"name": "m", "group": self.group, "topic": self.topic, "session_ms": 6000});
        self.peer.call("member_start", fields).map(drop)
    }

    fn leave(&mut self) -> Result<()> {
        self.peer
            .call("member_stop", json!({"name": "m"}))
            .map(drop)
    }

    fn produce(&mut self, count: u64) -> Result<()> {
        let fields = json!({"topic": self.topic, "count": count});
        self.peer.call("produce", fields).map(drop)
    }

    fn wait_consumed(&mut self, wanted: u64) -> Result<()> {
        let what = format!("{} consumes {wanted}", self.library.name);
        wait_until(&what, LIMIT, || {
            let state = self.peer.call("member_state", json!({"name": "m"}))?;
            self.consumed = state["consumed"].as_u64().unwrap_or(0);
            Ok(if self.consumed >= wanted {
                Ok(())
            } else {
                Err(state.to_string())
            })
        })
    }

    fn wait_committed(&mut self, wanted: u64) -> Result<()> {
        let name = format!("{}-0", self.topic);
        let what = format!("{} commits {wanted}", self.library.name);
        wait_until(&what, LIMIT, || {
            let group = json!({"group": self.group});
            let found = self.peer.call("group_offsets", group)?;
            Ok(if found["offsets"][&name] == json!(wanted) {
                Ok(())
            } else {
                Err(found.to_string())
            })
        })
    }

    /// How the library says it.
    fn mallory_is_refused(&mut self) -> Result<String> {
        let mallory = self.folder.login(MECHANISM, MALLORY, PASSWORD);
        self.peer.secure(mallory);
        let fields = json!({"topic": self.topic, "count": 1});
        let refusal = self.peer.refusal("produce", fields)?;
        Ok(format!("{:?} {}", refusal.kind, refusal.code))
    }
}

fn topic(library: &Library) -> String {
    format!("orders-{}", library.name)
}

fn group(library: &Library) -> String {
    format!("workers-{}", library.name)
}

/// The libraries at the source, the mirrors in sync, the source dead, the mirrors failed over.
fn failed_over(libraries: &'static [Library]) -> Result<World> {
    let folder = Folder::new()?;
    let properties = properties(&folder, &[Listener::Sasl], Some(MECHANISM));
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    let (properties, protocols) = (properties.as_slice(), &["SASL"] as &[&str]);
    let mut source = Kafka::start_as(kafka::Setup {
        properties,
        protocols,
        ..kafka::Setup::default()
    })?;
    let carrick = Carrick::start_as(carrick::Setup {
        properties,
        protocols,
    })?;

    let mut admin = Peer::java(&source.bootstrap())?;
    let mut ready = Vec::new();
    for library in libraries {
        let has = library.lacks("TLS").is_none();
        if has && matches!((library.needs)(), Ok(Ready::Yes)) {
            ready.push(library);
        }
    }
    prepare_source(&mut admin, &ready)?;
    let before = at_the_source(&ready, &folder, &source.listener(1, "SASL"));
    mirror(&carrick, &folder, &source.listener(1, "SASL"))?;
    wait_in_sync(&mut admin, &carrick, &ready, &before)?;
    source.kill_all();
    bring_users(&source, &folder, &carrick)?;
    carrick.cli(&["mirror", "failover", "--all", "--link", "dr"])?;
    Ok(World {
        carrick,
        folder,
        before,
    })
}

fn prepare_source(admin: &mut Peer, libraries: &[&Library]) -> Result<()> {
    for user in USERS {
        let fields = json!({"user": user, "mechanism": MECHANISM, "password": PASSWORD});
        admin.call("set_password", fields)?;
    }
    for library in libraries {
        let (topic, group) = (topic(library), group(library));
        admin.call("create_topic", json!({"topic": topic, "partitions": 1}))?;
        acl(admin, "add", ALICE, ("TOPIC", &topic), "READ")?;
        acl(admin, "add", ALICE, ("TOPIC", &topic), "WRITE")?;
        acl(admin, "add", ALICE, ("GROUP", &group), "READ")?;
    }
    for (resource, operation) in [
        (("TOPIC", "*"), "READ"),
        (("TOPIC", "*"), "DESCRIBE_CONFIGS"),
        (("GROUP", "*"), "DESCRIBE"),
        (("CLUSTER", "kafka-cluster"), "DESCRIBE"),
    ] {
        acl(admin, "add", LINK, resource, operation)?;
    }
    Ok(())
}

/// What every library does there, all at the same time.
fn at_the_source(
    libraries: &[&'static Library],
    folder: &Folder,
    at: &str,
) -> HashMap<&'static str, std::result::Result<String, String>> {
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for library in libraries {
            let work = move || before(library, folder, at).map_err(|e| format!("{e:#}"));
            running.push((library.name, scope.spawn(work)));
        }
        let ended = running.into_iter().map(|(name, thread)| {
            let result = thread.join();
            (
                name,
                result.unwrap_or_else(|_| Err("it panicked".to_owned())),
            )
        });
        ended.collect()
    })
}

fn before(library: &Library, folder: &Folder, at: &str) -> Result<String> {
    let mut app = App::start(library, folder, at)?;
    app.join()?;
    app.produce(READ)?;
    app.wait_consumed(READ)?;
    app.wait_committed(READ)?;
    app.leave()?;
    app.produce(UNREAD)?;
    app.mallory_is_refused()
}

/// The link logs in as any client does.
fn mirror(carrick: &Carrick, folder: &Folder, source: &str) -> Result<()> {
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
    let groups =
        r#"{"groupFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}"#;
    let acls = r#"{"aclFilters":[{"resourceFilter":{},"accessFilter":{}}]}"#;
    let mut text = String::new();
    for (name, value) in [
        ("bootstrap.servers", source.to_owned()),
        ("security.protocol", "SASL_SSL".to_owned()),
        ("ssl.truststore.type", "PEM".to_owned()),
        (
            "ssl.truststore.location",
            folder.path("servers.pem").display().to_string(),
        ),
        ("sasl.mechanism", MECHANISM.to_owned()),
        (
            "sasl.jaas.config",
            format!("{module} required username=\"{LINK}\" password=\"{PASSWORD}\";"),
        ),
        ("consumer.offset.sync.enable", "true".to_owned()),
        ("consumer.offset.sync.ms", "1000".to_owned()),
        ("consumer.offset.group.filters", groups.to_owned()),
        ("acl.sync.enable", "true".to_owned()),
        ("acl.sync.ms", "1000".to_owned()),
        ("acl.filters", acls.to_owned()),
    ] {
        let _ = writeln!(text, "{name}={value}");
    }
    let file = folder.path("link.properties");
    std::fs::write(&file, text)?;
    carrick.cli(&[
        "link",
        "create",
        "dr",
        "--config-file",
        &file.display().to_string(),
    ])?;
    carrick.cli(&["mirror", "create", "--link", "dr", "--all"])?;
    Ok(())
}

/// The users of the dead cluster, with the passwords that they have, from what is on its disk.
fn bring_users(source: &Kafka, folder: &Folder, carrick: &Carrick) -> Result<()> {
    let file = folder.path("users.txt");
    std::fs::write(&file, source.dump_metadata()?)?;
    carrick.cli(&["user", "import", &file.display().to_string()])?;
    Ok(())
}

/// Waits until all that clients need after a failover is here: records, what the groups committed, and rights.
fn wait_in_sync(
    admin: &mut Peer,
    carrick: &Carrick,
    libraries: &[&Library],
    before: &HashMap<&'static str, std::result::Result<String, String>>,
) -> Result<()> {
    let source = admin.bootstrap().to_owned();
    let rights = admin.call("acls", json!({}))?["acls"].clone();
    admin.point_at(&carrick.bootstrap());
    wait_until("the rights are here", LIMIT, || {
        let here = admin.call("acls", json!({}))?["acls"].clone();
        Ok(if here == rights {
            Ok(())
        } else {
            Err(format!("{here}, at the source {rights}"))
        })
    })?;
    let were_there = libraries
        .iter()
        .filter(|l| matches!(before.get(l.name), Some(Ok(_))));
    for library in were_there {
        let (topic, group) = (topic(library), group(library));
        let end = i64::try_from(READ + UNREAD)?;
        carrick.wait_caught_up(&topic, &[end], LIMIT)?;
        wait_until(&format!("{group} is synced"), LIMIT, || {
            let found = admin.call("group_offsets", json!({"group": group}))?;
            let at = &found["offsets"][format!("{topic}-0")];
            Ok(if *at == json!(READ) {
                Ok(())
            } else {
                Err(format!("{at} is committed"))
            })
        })?;
    }
    admin.point_at(&source);
    Ok(())
}

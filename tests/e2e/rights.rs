//! What a link must be allowed to do at its source, one right after the other: each is taken away, what needs it says so
//! by name, the rest works on, and when it is given back, the link recovers by itself.

use anyhow::{Context, ensure};
use harness::carrick::Setup as CarrickSetup;
use harness::kafka::Setup;
use harness::{Carrick, Kafka, Peer, Result, wait_until};
use serde_json::{Value, json};

use crate::world::{LIMIT, LINK, World};

const AUTHORIZER: &str =
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";
const TOPIC: &str = "orders";
const GROUP: &str = "app";
const PASSWORD: &str = "link-sesame";

/// A right of the link's user: what is it on, and which.
#[derive(Debug, Clone, Copy)]
struct Right(&'static str, &'static str, &'static str);

const READ: Right = Right("TOPIC", TOPIC, "READ");
const DESCRIBE: Right = Right("TOPIC", TOPIC, "DESCRIBE");
const CONFIGS: Right = Right("TOPIC", TOPIC, "DESCRIBE_CONFIGS");
const GROUPS: Right = Right("GROUP", GROUP, "DESCRIBE");
const CLUSTER: Right = Right("CLUSTER", "kafka-cluster", "DESCRIBE");

/// The least that everything works with. (READ implies DESCRIBE.)
const LEAST: [Right; 4] = [READ, CONFIGS, GROUPS, CLUSTER];

fn change(admin: &mut Peer, what: &str, Right(resource, name, operation): Right) -> Result<()> {
    let fields = json!({
        "change": what, "user": "link", "resource": resource, "name": name, "operation": operation,
    });
    admin.call("acl", fields).map(drop)
}

struct Linked {
    world: World,
    _folder: tempfile::TempDir,
}

impl Linked {
    /// A source with an authorizer, a user for the link with the least rights, and a link that syncs everything.
    fn start() -> Result<Self> {
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let jaas = format!(
            "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config={scram} required;"
        );
        let kafka = Kafka::start_as(Setup {
            properties: &[
                AUTHORIZER,
                "super.users=User:ANONYMOUS",
                "listener.name.sasl_plaintext.sasl.enabled.mechanisms=SCRAM-SHA-512",
                &jaas,
            ],
            protocols: &["SASL_PLAINTEXT"],
            ..Setup::default()
        })?;
        let carrick = Carrick::start_as(CarrickSetup {
            properties: &[AUTHORIZER, "super.users=User:ANONYMOUS"],
            ..CarrickSetup::default()
        })?;
        let mut world = World::start_both(kafka, carrick)?;
        let user = json!({"user": "link", "mechanism": "SCRAM-SHA-512", "password": PASSWORD});
        world.source.call("set_password", user)?;
        world.topic(TOPIC, 1, json!({}))?;
        world.topic("hidden", 1, json!({}))?;
        produce(&mut world, 100)?;
        let commit = json!({"group": GROUP, "topic": TOPIC, "partition": 0, "offset": 40});
        world.source.call("alter_offsets", commit)?;
        for right in LEAST {
            change(&mut world.source, "add", right)?;
        }
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("link.properties");
        let lines = [
            format!(
                "bootstrap.servers={}",
                world.kafka.listener(1, "SASL_PLAINTEXT")
            ),
            "security.protocol=SASL_PLAINTEXT".to_owned(),
            "sasl.mechanism=SCRAM-SHA-512".to_owned(),
            format!("sasl.jaas.config={scram} required username=\"link\" password=\"{PASSWORD}\";"),
            "topic.config.sync.ms=1000".to_owned(),
            "acl.sync.enable=true".to_owned(),
            "acl.sync.ms=1000".to_owned(),
            r#"acl.filters={"aclFilters":[{"resourceFilter":{},"accessFilter":{}}]}"#.to_owned(),
            "consumer.offset.sync.enable=true".to_owned(),
            "consumer.offset.sync.ms=1000".to_owned(),
            format!(
                r#"consumer.offset.group.filters={{"groupFilters":[{{"name":"{GROUP}","patternType":"LITERAL","filterType":"INCLUDE"}}]}}"#
            ),
        ];
        std::fs::write(&file, lines.join("\n"))?;
        let file = file.display().to_string();
        world
            .carrick
            .cli(&["link", "create", LINK, "--config-file", &file])?;
        world.carrick.mirror(LINK, &[TOPIC])?;
        Ok(Self {
            world,
            _folder: folder,
        })
    }

    /// The link's tasks, by name: the error's code and message, or nothing.
    fn task(&self, name: &str) -> Result<Option<(String, String)>> {
        let link = self.world.carrick.cli(&["link", "describe", LINK])?["link"].clone();
        ensure!(link["link_state"] == "ACTIVE", "{link}");
        let tasks = link["tasks"].as_array().context("tasks")?;
        let task = tasks.iter().find(|task| task["task_name"] == name);
        let task = task.with_context(|| format!("no task {name}: {link}"))?;
        let error = &task["errors"][0];
        let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
        Ok(error
            .is_object()
            .then(|| (text("error_code"), text("error_message"))))
    }

    fn all_work_but(&mut self, hurt: Option<&str>) -> Result<()> {
        for name in ["TopicConfigsSync", "ConsumerOffsetSync", "AclSync"] {
            if Some(name) == hurt {
                continue;
            }
            wait_until(&format!("{name} works"), LIMIT, || {
                Ok(match self.task(name)? {
                    None => Ok(()),
                    Some(error) => Err(format!("{error:?}")),
                })
            })?;
        }
        if hurt != Some("mirror") {
            produce(&mut self.world, 10)?;
            self.world.wait_caught_up(TOPIC, 1)?;
        }
        Ok(())
    }

    fn task_lacks(&self, name: &str, right: &str) -> Result<()> {
        let what = format!("{name} reports that {right} is missing");
        let (code, message) = wait_until(&what, LIMIT, || {
            Ok(match self.task(name)? {
                Some((code, message)) if message.contains(right) => Ok((code, message)),
                other => Err(format!("{other:?}")),
            })
        })?;
        println!("{name}: {code}: {message}");
        ensure!(code == "AUTHORIZATION_ERROR", "{code}");
        Ok(())
    }

    fn metric(&self, task: &str, state: &str, error: &str) -> Result<()> {
        let (_, metrics) = self.world.carrick.get("/metrics")?;
        let line = format!(
            "carrick_link_task_state{{link=\"{LINK}\",task=\"{task}\",state=\"{state}\",error=\"{error}\"}} 1"
        );
        ensure!(metrics.contains(&line), "{line} is not in {metrics}");
        Ok(())
    }

    fn mirror_lacks(&self, right: &str) -> Result<()> {
        let what = format!("the mirror shows that {right} is missing");
        let problem = wait_until(&what, LIMIT, || {
            let mirror = self.world.carrick.describe_mirror(TOPIC)?;
            let problem = mirror["mirror_lags"][0]["problem"]
                .as_str()
                .unwrap_or_default();
            Ok(match problem.contains(right) {
                true => Ok(problem.to_owned()),
                false => Err(mirror.to_string()),
            })
        })?;
        println!("mirror: {problem}");
        Ok(())
    }
}

fn produce(world: &mut World, count: u32) -> Result<()> {
    let fields = json!({"topic": TOPIC, "count": count});
    world.source.call("produce", fields).map(drop)
}

#[test]
fn each_right_at_the_source_that_a_link_needs_is_missed_by_name_and_by_nothing_else() -> Result<()>
{
    let mut linked = Linked::start()?;
    linked.all_work_but(None)?;
    acls_are_here(&mut linked)?;

    for (right, task, words) in [
        (CONFIGS, "TopicConfigsSync", "DESCRIBE_CONFIGS of the topic"),
        (GROUPS, "ConsumerOffsetSync", "DESCRIBE the group 'app'"),
        (CLUSTER, "AclSync", "DESCRIBE the cluster"),
    ] {
        change(&mut linked.world.source, "remove", right)?;
        linked.task_lacks(task, words)?;
        linked.metric(task, "IN_ERROR", "AUTHORIZATION_ERROR")?;
        linked.all_work_but(Some(task))?;
        change(&mut linked.world.source, "add", right)?;
        linked.all_work_but(None)?;
        linked.metric(task, "ACTIVE", "NO_ERROR")?;
    }

    // Without READ, with and without DESCRIBE.
    change(&mut linked.world.source, "add", DESCRIBE)?;
    change(&mut linked.world.source, "remove", READ)?;
    produce(&mut linked.world, 10)?;
    linked.mirror_lacks("READ the topic")?;
    linked.all_work_but(Some("mirror"))?;
    change(&mut linked.world.source, "remove", DESCRIBE)?;
    let refused = linked
        .world
        .carrick
        .cli_output(&["mirror", "create", "hidden", "--link", LINK])?;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned()
        + &String::from_utf8_lossy(&refused.stdout);
    println!("create: {text}");
    ensure!(
        !refused.status.success() && text.contains("DESCRIBE the topic"),
        "{text}"
    );
    change(&mut linked.world.source, "add", READ)?;
    linked.all_work_but(None)
}

/// The ACLs of the source are in force here, and change with it.
fn acls_are_here(linked: &mut Linked) -> Result<()> {
    let texts = |peer: &mut Peer| -> Result<Vec<Value>> {
        let answer = peer.call("acls", json!({}))?;
        Ok(answer["acls"].as_array().cloned().unwrap_or_default())
    };
    let expected = texts(&mut linked.world.source)?;
    ensure!(expected.len() == LEAST.len(), "{expected:?}");
    wait_until("the ACLs are here", LIMIT, || {
        let here = texts(&mut linked.world.destination)?;
        Ok(if here == expected {
            Ok(())
        } else {
            Err(format!("{here:?}"))
        })
    })
}

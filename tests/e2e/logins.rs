//! Listeners with SASL: users of a real Kafka brought along with their passwords, Kafka's own tools and
//! clients, and sessions that end under load.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use harness::carrick::{Setup, binary};
use harness::kafka::{self, run_tool};
use harness::peer::{Kind, Peer};
use harness::{Carrick, Kafka, Result};
use serde_json::{Value, json};

const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];
const BOTH: &str = "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512";
const PLAIN: &str = "listener.name.sasl_plaintext.plain.sasl.jaas.config=\
                     org.apache.kafka.common.security.plain.PlainLoginModule required \
                     user_alice=\"sesame\";";

/// Configs of Kafka's tools that log in with this.
fn configs(mechanism: &str, password: &str) -> Value {
    let module = match mechanism {
        "PLAIN" => "plain.PlainLoginModule",
        _ => "scram.ScramLoginModule",
    };
    json!({
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.jaas.config": format!(
            "org.apache.kafka.common.security.{module} required username=\"alice\" password=\"{password}\";"
        ),
    })
}

/// Gives alice this password for both SCRAM mechanisms with Kafka's own tool.
fn set_password(bootstrap: &str, password: &str, client: Option<&Path>) -> Result<()> {
    for mechanism in SCRAM {
        let config = format!("{mechanism}=[iterations=8192,password={password}]");
        let mut args = vec!["--bootstrap-server", bootstrap];
        let file = client.map(|path| path.display().to_string());
        if let Some(file) = &file {
            args.extend(["--command-config", file]);
        }
        args.extend(["--alter", "--add-config", &config]);
        args.extend(["--entity-type", "users", "--entity-name", "alice"]);
        run_tool("kafka.admin.ConfigCommand", &args)?;
    }
    Ok(())
}

/// A Java client that logs in as alice.
fn java(bootstrap: &str, mechanism: &str, password: &str) -> Result<Peer> {
    let mut peer = Peer::java(bootstrap)?;
    peer.secure(json!({
        "protocol": "SASL_PLAINTEXT", "mechanism": mechanism,
        "user": "alice", "password": password,
    }));
    Ok(peer)
}

fn produced(peer: &mut Peer, topic: &str, count: u32) -> Result<Value> {
    peer.call(
        "produce",
        json!({"topic": topic, "count": count, "partition": 0}),
    )
}

#[test]
fn users_of_a_kafka_log_in_with_the_passwords_that_they_have() -> Result<()> {
    // Given a user of a real Kafka, whose first password was changed, and its metadata log.
    let kafka = Kafka::start_as(kafka::Setup::default())?;
    set_password(&kafka.bootstrap(), "former", None)?;
    set_password(&kafka.bootstrap(), "sesame", None)?;
    let dump = kafka.dump_metadata()?;
    ensure!(dump.contains("USER_SCRAM_CREDENTIAL_RECORD"), "{dump}");
    drop(kafka);

    // When its users are brought along to a broker that runs.
    let carrick = Carrick::start_as(Setup {
        properties: &[BOTH, PLAIN],
        protocols: &["SASL_PLAINTEXT"],
    })?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("dump.txt");
    std::fs::write(&file, dump)?;
    let set = carrick.cli(&["user", "import", &file.display().to_string()])?;
    assert_eq!(set, json!({"set": 2, "kept": 0}));
    let again = carrick.cli(&["user", "import", &file.display().to_string()])?;
    assert_eq!(again, json!({"set": 0, "kept": 2}), "what is here stays");

    // Then they log in with the same password, and with no other.
    let bootstrap = carrick.listener("SASL_PLAINTEXT");
    for mechanism in ["PLAIN", SCRAM[0], SCRAM[1]] {
        let topic = mechanism.to_lowercase();
        let mut peer = java(&bootstrap, mechanism, "sesame")?;
        produced(&mut peer, &topic, 100)?;
        let mut wrong = java(&bootstrap, mechanism, "former")?;
        let refused = wrong.refusal(
            "produce",
            json!({"topic": topic, "count": 1, "partition": 0}),
        )?;
        assert_eq!(refused.kind, Kind::Authentication, "{refused}");
    }

    // And Kafka's tools describe and alter them through the listener.
    let file = folder.path().join("client.properties");
    let mut text = String::new();
    for (name, value) in configs(SCRAM[1], "sesame").as_object().context("configs")? {
        let _ = writeln!(text, "{name}={}", value.as_str().unwrap_or_default());
    }
    std::fs::write(&file, text)?;
    let at = file.display().to_string();
    let describe = [
        "--bootstrap-server",
        &bootstrap,
        "--command-config",
        &at,
        "--describe",
    ];
    let all = [&describe[..], &["--entity-type", "users"]].concat();
    let described = run_tool("kafka.admin.ConfigCommand", &all)?;
    for mechanism in SCRAM {
        let wanted = format!("{mechanism}=iterations=8192");
        ensure!(described.contains(&wanted), "{described}");
    }
    // The first of both changes takes effect at once; the tool logs in with the other mechanism.
    set_password(&bootstrap, "new", Some(&file))?;
    let mut peer = java(&bootstrap, SCRAM[0], "new")?;
    produced(&mut peer, "after", 10)?;
    let users = carrick.cli(&["user", "list"])?;
    assert_eq!(users["data"][0]["user_name"], "alice");
    carrick.cli(&["user", "delete", "alice"])?;
    let mut gone = java(&bootstrap, SCRAM[0], "new")?;
    gone.refusal(
        "produce",
        json!({"topic": "after", "count": 1, "partition": 0}),
    )?;
    Ok(())
}

#[test]
fn the_first_user_is_there_before_the_broker_runs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, password) = (folder.path().join("data"), folder.path().join("password"));
    std::fs::write(&password, "sesame\n")?;
    let add = Command::new(binary()?)
        .args(["user", "add", "alice", "--mechanism", SCRAM[0]])
        .arg("--new-password-file")
        .arg(&password)
        .arg("--data-dir")
        .arg(&data)
        .output()?;
    ensure!(
        add.status.success(),
        "{}",
        String::from_utf8_lossy(&add.stderr)
    );
    let list = Command::new(binary()?)
        .args(["user", "list", "-o", "json", "--data-dir"])
        .arg(&data)
        .output()?;
    let users: Value = serde_json::from_slice(&list.stdout)?;
    assert_eq!(users["data"][0]["credentials"][0]["mechanism"], SCRAM[0]);
    Ok(())
}

#[test]
fn sessions_end_under_load_and_no_record_is_lost() -> Result<()> {
    // Given sessions of a second and a half.
    let carrick = Carrick::start_as(Setup {
        properties: &[BOTH, PLAIN, "connections.max.reauth.ms=1500"],
        protocols: &["SASL_PLAINTEXT"],
    })?;
    let bootstrap = carrick.listener("SASL_PLAINTEXT");
    let folder = tempfile::tempdir()?;
    let password = folder.path().join("password");
    std::fs::write(&password, "sesame")?;
    let at = password.display().to_string();
    carrick.cli(&[
        "user",
        "add",
        "alice",
        "--mechanism",
        SCRAM[0],
        "--new-password-file",
        &at,
    ])?;

    // When a client produces over several of them.
    let mut peer = java(&bootstrap, SCRAM[0], "sesame")?;
    let began = std::time::Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < std::time::Duration::from_secs(8) {
        peer.call(
            "produce",
            json!({
                "topic": "t", "partition": 0, "count": 2_000, "keep": "loaded", "idempotent": true,
            }),
        )?;
        count += 2_000;
    }

    // Then every record is there, and the sessions were renewed, not replaced.
    let read = peer.call("consume", json!({"topic": "t", "partition": 0}))?;
    assert_eq!(read["count"], count);
    let (status, metrics) = carrick.get("/metrics")?;
    assert_eq!(status, 200);
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        number.unwrap_or_default()
    };
    let logins = value("carrick_logins_total");
    let (again, refused) = (
        value("carrick_relogins_total{outcome=\"ok\"}"),
        value("carrick_relogins_total{outcome=\"refused\"}"),
    );
    println!("{count} records, {logins} logins, {again} once more, {refused} refused");
    ensure!(again >= 4.0 && refused == 0.0, "{again} {refused}");
    Ok(())
}

//! Secrets are stored encrypted, survive a rotation that is killed anywhere, and show nowhere.

use std::path::Path;

use anyhow::{Context, ensure};
use harness::carrick::Setup;
use harness::certificates::Authority;
use harness::kafka::run_tool;
use harness::{Carrick, Peer, Result};
use serde_json::{Value, json};

use crate::world::LIMIT;

/// What a rotation passes, as `carrick serve --crash-at-rotation` names it.
const STEPS: [&str; 6] = [
    "NextKeyFile",
    "KeysStored",
    "KeyFileInPlace",
    "SecretStored",
    "OldKeysRemoved",
    "Purged",
];
const FOLDER_KEY: &str = "link.secrets.key";

/// A link whose source is not there.
fn link(carrick: &Carrick, folder: &Path, name: &str, secret: &str) -> Result<()> {
    let file = folder.join("link.properties");
    let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
    let text = format!(
        "bootstrap.servers=127.0.0.1:1\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n\
         sasl.jaas.config={module} required username=\"u\" password=\"{secret}\";\n"
    );
    std::fs::write(&file, text)?;
    let file = file.display().to_string();
    carrick.cli(&[
        "link",
        "create",
        name,
        "--config-file",
        &file,
        "--no-validate",
    ])?;
    Ok(())
}

fn all_readable(carrick: &Carrick, count: u64) -> Result<Value> {
    let shown = carrick.cli(&["secrets", "describe"])?;
    ensure!(shown["unreadable"] == json!([]), "{shown}");
    ensure!(
        shown["secrets"] == count && shown["older_generations"] == 0,
        "{shown}"
    );
    Ok(shown)
}

#[test]
fn a_rotation_that_is_killed_anywhere_leaves_every_secret_readable() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut carrick = Carrick::start()?;
    for name in ["west", "east"] {
        link(&carrick, folder.path(), name, "rotated-sesame")?;
    }
    let mut generation = all_readable(&carrick, 2)?["generation"].clone();
    for step in STEPS {
        let key = std::fs::read(carrick.data_dir().join(FOLDER_KEY))?;
        carrick.stop()?;
        carrick.restart_to_crash_at_rotation(step)?;
        let rotated = carrick.cli_output(&["secrets", "rotate"])?;
        ensure!(!rotated.status.success(), "it did not crash at {step}");
        carrick.wait_ended(LIMIT)?;
        carrick.restart()?;
        let shown = all_readable(&carrick, 2)?;
        let is_new = std::fs::read(carrick.data_dir().join(FOLDER_KEY))? != key;
        println!(
            "{step}: {generation} became {}, key file new: {is_new}",
            shown["generation"]
        );
        ensure!(is_new == (step != "NextKeyFile"), "{step}");
        generation = shown["generation"].clone();
        carrick.cli(&["secrets", "rotate"])?;
        all_readable(&carrick, 2)?;
    }
    // Without its key the broker starts, and says what is unreadable.
    let key = folder.path().join("secrets.key");
    std::fs::rename(carrick.data_dir().join(FOLDER_KEY), &key)?;
    carrick.stop()?;
    carrick.restart()?;
    let lost = carrick.cli(&["secrets", "describe"])?;
    ensure!(
        lost["unreadable"].as_array().map(Vec::len) == Some(2),
        "{lost}"
    );
    let west = carrick.cli(&["link", "describe", "west"])?;
    ensure!(
        west["link"]["link_error"] == "AUTHENTICATION_ERROR",
        "{west}"
    );
    Ok(())
}

/// Every secret that a broker is given here, each recognizable.
fn secrets() -> Vec<(&'static str, String)> {
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
    vec![
        ("password.encoder.secret", "encoder-sesame".to_owned()),
        ("password.encoder.old.secret", "former-sesame".to_owned()),
        (
            "listener.name.sasl_ssl.plain.sasl.jaas.config",
            format!("{plain} required user_ann=\"plain-sesame\";"),
        ),
        (
            "sasl.oauthbearer.client.credentials.client.secret",
            "oauth-sesame".to_owned(),
        ),
        (
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "assertion-sesame".to_owned(),
        ),
        (
            "zookeeper.ssl.keystore.password",
            "zookeeper-sesame".to_owned(),
        ),
    ]
}

#[test]
fn no_secret_shows_in_logs_answers_arguments_or_files() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    let authority = Authority::new("servers")?;
    let ca = authority.write(at, "servers.pem")?;
    let identity = authority.write_identity(at, "broker.pem", "127.0.0.1")?;
    let pem = std::fs::read_to_string(identity)?;
    let certificates = pem
        .find("-----BEGIN CERTIFICATE")
        .context("a certificate")?;
    let (key, chain) = pem.split_at(certificates);
    // The middle of the private key.
    let key_part = key.lines().nth(1).context("a line of the key")?[8..40].to_owned();
    let in_one_line = |pem: &str| pem.trim().replace('\n', "\\n");
    let mut properties = vec![
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.key={}", in_one_line(key)),
        format!("ssl.keystore.certificate.chain={}", in_one_line(chain)),
        "listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256".to_owned(),
    ];
    properties.extend(
        secrets()
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    let setup = Setup {
        properties: &properties,
        protocols: &["SASL_SSL"],
    };
    let carrick = Carrick::start_logging(setup, Some("debug"))?;
    let mut seen = vec![("answers to clients", clients_come(&carrick, &ca)?)];
    seen.push(("the configs", configs_are_asked_for(&carrick)?));
    link(&carrick, at, "west", "link-sesame")?;
    for path in ["/metrics", "/readyz", "/healthz"] {
        seen.push((path, carrick.get(path)?.1));
    }
    for args in [
        &["link", "describe", "west"][..],
        &["link", "list"],
        &["secrets", "describe"],
        &["secrets", "rotate"],
    ] {
        seen.push(("the command line", carrick.cli(args)?.to_string()));
    }
    let process = format!("/proc/{}", carrick.id().context("a process")?);
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("{process}/{file}"))?;
        seen.push((file, String::from_utf8_lossy(&bytes).into_owned()));
    }
    let log = carrick.log();
    ensure!(log.contains("DEBUG"), "the log is not at debug");
    seen.push(("the log", log));
    assert_hidden(&carrick, &seen, &key_part)?;
    ensure!(!carrick.data_dir().join(FOLDER_KEY).exists());
    Ok(())
}

/// Neither what was seen nor a file in the data folder has one of the secrets.
fn assert_hidden(carrick: &Carrick, seen: &[(&str, String)], key_part: &str) -> Result<()> {
    for (place, text) in seen {
        ensure!(
            !text.contains("-sesame"),
            "{place}: {}",
            around(text, "-sesame")
        );
        ensure!(!text.contains(key_part), "{place} has the private key");
    }
    let places = seen.len();
    let files = files_below(&carrick.data_dir(), &mut |bytes| {
        ["-sesame", key_part].iter().any(|secret| {
            bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
        })
    })?;
    println!(
        "{places} places and {} files have none of the secrets",
        files.0
    );
    ensure!(files.1.is_empty(), "{:?}", files.1);
    Ok(())
}

fn around<'a>(text: &'a str, word: &str) -> &'a str {
    let line = text.lines().find(|line| line.contains(word));
    line.unwrap_or_default()
}

/// Clients log in with the right password and a wrong one; one changes its password.
fn clients_come(carrick: &Carrick, ca: &Path) -> Result<String> {
    let mut admin = Peer::java(&carrick.bootstrap())?;
    let user = json!({"user": "bob", "mechanism": "SCRAM-SHA-256", "password": "scram-sesame"});
    admin.call("set_password", user)?;
    let mut said = String::new();
    for (mechanism, user, password) in [
        ("PLAIN", "ann", "plain-sesame"),
        ("PLAIN", "ann", "wrong-sesame"),
        ("SCRAM-SHA-256", "bob", "scram-sesame"),
        ("SCRAM-SHA-256", "bob", "wrong-sesame"),
    ] {
        let mut peer = Peer::java(&carrick.listener("SASL_SSL"))?;
        peer.secure(json!({
            "protocol": "SASL_SSL", "ca": ca, "mechanism": mechanism, "user": user, "password": password,
        }));
        match peer.try_call(
            "create_topic",
            json!({"topic": format!("of-{user}"), "partitions": 1}),
        )? {
            Ok(_) => ensure!(
                !password.starts_with("wrong"),
                "{user} came in with {password}"
            ),
            Err(refusal) => {
                ensure!(password.starts_with("wrong"), "{user}: {refusal}");
                said.push_str(&refusal.to_string());
            }
        }
    }
    Ok(said)
}

/// Secret configs have no values in answers, and a refused change does not repeat them.
fn configs_are_asked_for(carrick: &Carrick) -> Result<String> {
    let bootstrap = carrick.bootstrap();
    let of_broker = |more: &[&str]| {
        let mut args = vec![
            "--bootstrap-server",
            &bootstrap,
            "--entity-type",
            "brokers",
            "--entity-name",
            "1",
        ];
        args.extend_from_slice(more);
        run_tool("kafka.admin.ConfigCommand", &args)
    };
    let described = of_broker(&["--describe", "--all"])?;
    for (name, _) in secrets() {
        if name.starts_with("listener.name.") {
            continue;
        }
        let line = described
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{name}=")));
        let line = line.with_context(|| format!("{name} is not described: {described}"))?;
        ensure!(
            line.contains("sensitive=true") && line.contains("=null"),
            "{line}"
        );
    }
    let refused = of_broker(&[
        "--alter",
        "--add-config",
        "password.encoder.secret=dynamic-sesame",
    ]);
    let refused = refused
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    let broker_s_words = refused
        .lines()
        .filter(|line| !line.contains("--add-config"));
    Ok(described + &broker_s_words.collect::<Vec<_>>().join("\n"))
}

/// How many files there are below a folder, and which of them fit.
fn files_below(folder: &Path, fits: &mut dyn FnMut(&[u8]) -> bool) -> Result<(usize, Vec<String>)> {
    let (mut count, mut found) = (0, Vec::new());
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            let (more, of_folder) = files_below(&path, fits)?;
            count += more;
            found.extend(of_folder);
        } else {
            count += 1;
            if fits(&std::fs::read(&path)?) {
                found.push(path.display().to_string());
            }
        }
    }
    Ok((count, found))
}

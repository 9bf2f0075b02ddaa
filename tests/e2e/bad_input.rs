//! Bad input gets an error that names its cause, harms no other connection and loses nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use harness::process::free_ports;
use harness::{Carrick, Peer, Result};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::json;

use crate::world::range;

/// Sends `bytes` and gives what came back before the broker closed the connection or two seconds passed.
fn send(carrick: &Carrick, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(carrick.bootstrap())?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(bytes)?;
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    // A reset is as good as a close here.
    let _ = stream.read_to_end(&mut answer);
    Ok(answer)
}

/// A frame with a request header v1 in front of `body`.
fn frame(api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend(api_key.to_be_bytes());
    payload.extend(version.to_be_bytes());
    payload.extend(7_i32.to_be_bytes());
    payload.extend([0, 1, b'x']);
    payload.extend(body);
    let mut frame = u32::try_from(payload.len())
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    frame.extend(payload);
    frame
}

#[test]
fn frames_that_lie_are_refused_and_others_go_on() -> Result<()> {
    let carrick = Carrick::start()?;
    let mut client = Peer::java(&carrick.bootstrap())?;
    client.call("create_topic", json!({"topic": "orders"}))?;
    client.call("produce", json!({"topic": "orders", "count": 10}))?;

    let count_of_2_billion = i32::MAX.to_be_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("negative length", (-1_i32).to_be_bytes().to_vec()),
        ("length of 2 GiB", i32::MAX.to_be_bytes().to_vec()),
        ("length zero", vec![0; 4]),
        ("header cut", vec![0, 0, 0, 3, 0, 1, 0]),
        ("truncated", frame(3, 9, &[])[..10].to_vec()),
        ("unknown API", frame(999, 0, &[])),
        ("unknown version", frame(3, 99, &[])),
        (
            "metadata of 2 billion topics",
            frame(3, 1, &count_of_2_billion),
        ),
        (
            "fetch of 2 billion topics",
            frame(
                1,
                4,
                &[[0xff; 4], [0; 4], [0; 4], [0; 4], [0, 0x7f, 0xff, 0xff]].concat(),
            ),
        ),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
    ];
    for (what, bytes) in &cases {
        let answer = send(&carrick, bytes)?;
        println!("{what}: {} bytes back", answer.len());
        client.call("produce", json!({"topic": "orders", "count": 1}))?;
    }
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..300 {
        let mut body = vec![0; random.random_range(0..200)];
        random.fill_bytes(&mut body);
        let (key, version) = (random.random_range(0..70), random.random_range(0..14));
        send(&carrick, &frame(key, version, &body))
            .map_err(|e| e.context(format!("round {round}")))?;
    }
    let end = 10 + i64::try_from(cases.len())?;
    assert_eq!(range(&mut client, "orders", 0)?, (0, end));
    let log = carrick.log();
    assert!(!log.contains("panicked"), "{log}");
    Ok(())
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_with_the_range() -> Result<()> {
    let carrick = Carrick::start()?;
    let mut stream = TcpStream::connect(carrick.bootstrap())?;
    // Header v2 ends with its (empty) tagged fields.
    stream.write_all(&frame(18, 99, &[0]))?;
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    assert_eq!(
        answer[4..8],
        7_i32.to_be_bytes(),
        "correlation id, header v0"
    );
    assert_eq!(answer[8..10], 35_i16.to_be_bytes(), "UNSUPPORTED_VERSION");
    Ok(())
}

#[test]
fn links_and_mirrors_that_cannot_be_name_their_cause() -> Result<()> {
    let source = Carrick::start()?;
    let carrick = Carrick::start()?;
    let [closed] = free_ports()?;
    let closed = format!("127.0.0.1:{closed}");
    let rest = source.url().replace("http://", "");
    let refused = |args: &[&str], word: &str| -> Result<()> {
        let output = carrick.cli_output(args)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{}: {said}", args.join(" "));
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(
            said.to_lowercase().contains(&word.to_lowercase()),
            "{args:?} names {word}: {said}"
        );
        Ok(())
    };
    refused(
        &["link", "create", "a", "--bootstrap-server", &closed],
        &closed,
    )?;
    refused(
        &[
            "link",
            "create",
            "a",
            "--bootstrap-server",
            "no-such-host.invalid:9092",
        ],
        "no-such-host.invalid",
    )?;
    refused(
        &["link", "create", "a", "--bootstrap-server", &rest],
        "Kafka",
    )?;
    let good = source.bootstrap();
    refused(
        &[
            "link",
            "create",
            "a",
            "--bootstrap-server",
            &good,
            "--config",
            "no.such.name=1",
        ],
        "no.such.name",
    )?;
    carrick.link("a", &good, &[])?;
    refused(
        &["link", "create", "a", "--bootstrap-server", &good],
        "exists",
    )?;
    refused(&["mirror", "create", "nowhere", "--link", "a"], "nowhere")?;
    refused(&["mirror", "create", "nowhere", "--link", "b"], "b")?;
    Peer::java(&good)?.call("create_topic", json!({"topic": "orders"}))?;
    carrick.mirror("a", &["orders"])?;
    refused(&["mirror", "create", "orders", "--link", "a"], "already")?;
    refused(&["link", "delete", "a"], "orders")?;
    refused(&["mirror", "failover", "nothing", "--link", "a"], "nothing")?;
    Ok(())
}

#[test]
fn a_folder_in_use_and_a_newer_format_are_refused_at_start() -> Result<()> {
    let mut carrick = Carrick::start()?;
    let log_dirs = format!("log.dirs={}", carrick.data_dir().display());
    let second = Carrick::start_with(&[&log_dirs])
        .err()
        .map(|e| format!("{e:#}"))
        .unwrap_or_default();
    assert!(second.contains("in use"), "{second}");
    carrick.stop()?;
    let properties = carrick.data_dir().join("meta.properties");
    let text = std::fs::read_to_string(&properties)?.replace("version=1", "version=99");
    std::fs::write(&properties, text)?;
    let newer = carrick
        .restart()
        .err()
        .map(|e| format!("{e:#}"))
        .unwrap_or_default();
    assert!(newer.contains("99"), "{newer}");
    Ok(())
}

#[test]
fn unknown_properties_are_refused_and_idle_ones_named() -> Result<()> {
    let refused = Carrick::start_with(&["no.such.property=1"]).err();
    let refused = refused.map(|e| format!("{e:#}")).unwrap_or_default();
    assert!(refused.contains("no.such.property"), "{refused}");
    let carrick = Carrick::start_with(&["num.network.threads=3"])?;
    assert!(
        carrick.log().contains("num.network.threads"),
        "{}",
        carrick.log()
    );
    Ok(())
}

//! What one client may use of the listener (connections, bytes, time), and that others still find room.

use std::io::ErrorKind;
use std::sync::Arc;

use super::linking::{mirroring, stop};
use super::*;
use crate::http::config::RestConfig;
use crate::http::limits::{BODY_MAX_BYTES, CONNECTIONS_MAX, HEAD_MAX_BYTES, Times};
use crate::http::server::{HttpListeners, HttpServer};
use crate::http::{Ready, Shared};

/// A connection that has sent `sent` and nothing more.
fn open(address: &str, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(sent.as_bytes()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// All that comes until the connection ends.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("still open after {LIMIT:?}: {error}"),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn host(rig: &Rig) -> String {
    rig.running.rest_addresses()[0].to_string()
}

/// A second listener of the same broker, less patient.
async fn impatient(rig: &Rig) -> (HttpServer, String) {
    let ready = Ready::default();
    ready.set(true);
    let times = Times {
        head: Duration::from_millis(300),
        body: Duration::from_millis(300),
        ..Times::default()
    };
    let any = crate::testing::values(&["rest.listeners=http://127.0.0.1:0"]);
    let any = RestConfig::of(&any).unwrap();
    let listeners = HttpListeners::bind(&any).await.unwrap();
    let server = listeners.serve_with(&Arc::default(), times).unwrap();
    server.open(Shared::of(&rig.running.broker, &ready, server.policy()));
    let address = server.addresses()[0].to_string();
    (server, address)
}

/// A blocking test next to a running broker.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act).await.unwrap()
}

#[test]
fn idle_connections_give_way_to_readiness_and_to_a_failover() {
    runtime().block_on(async {
        let (source, rig) = mirroring().await;
        let address = host(&rig);
        let idle = blocking(move || {
            let half = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n";
            let all = 0..CONNECTIONS_MAX + 50;
            let open = |n: usize| open(&address, if n.is_multiple_of(2) { "" } else { half });
            all.map(open).collect::<Vec<_>>()
        })
        .await;
        let ready = format!("{}/readyz", rig.url());
        assert_eq!(send("GET", &ready, &[], None).await.0, 200);
        let all = Some(json!({"all": true}));
        let (status, done) = rig.call("POST", "/links/west/mirrors:failover", all).await;
        assert_eq!(status, 200, "{done}");
        for outcome in done["data"].as_array().unwrap() {
            assert_eq!(outcome["mirror_status"], "STOPPED", "{done}");
        }
        let mut idle = idle.into_iter();
        let first = idle.next().unwrap();
        assert_eq!(blocking(|| rest(first)).await, "", "it has given way");
        drop(idle);
        stop(source, rig).await;
    });
}

#[test]
fn a_head_or_a_next_request_that_does_not_come_ends_the_connection() {
    runtime().block_on(async {
        let rig = Rig::start().await;
        let (server, address) = impatient(&rig).await;
        blocking(move || {
            // One byte now and then.
            let mut slow = open(&address, "GET /healthz HTTP/1.1\r\nx: ");
            let begun = Instant::now();
            let ended = loop {
                std::thread::sleep(Duration::from_millis(30));
                match slow.write_all(b"a") {
                    Ok(()) => assert!(begun.elapsed() < LIMIT, "still open"),
                    Err(error) => break error.kind(),
                }
            };
            assert!(matches!(
                ended,
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ));
            // One that has had an answer.
            let kept = open(&address, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
            assert!(rest(kept).ends_with("ok\n"));
        })
        .await;
        server.shutdown().await;
        rig.running.shutdown().await;
    });
}

#[test]
fn a_head_that_is_too_large_and_a_body_that_is_too_large_or_too_slow_are_refused() {
    runtime().block_on(async {
        let rig = Rig::start().await;
        let (server, address) = impatient(&rig).await;
        let id = rig.running.broker.cluster_id.to_string();
        blocking(move || {
            let long = "a".repeat(HEAD_MAX_BYTES);
            let head = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n");
            assert!(rest(open(&address, &head)).starts_with("HTTP/1.1 431"));
            let post = |body: &str| {
                let head = format!(
                    "POST /kafka/v3/clusters/{id}/topics HTTP/1.1\r\nhost: localhost\r\n\
                     content-type: application/json\r\n{body}"
                );
                rest(open(&address, &head))
            };
            let slow = post("content-length: 100\r\n\r\n{");
            assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
            assert!(slow.contains("error_code"), "{slow}");
            let large = "b".repeat(BODY_MAX_BYTES + 1);
            let size = format!("{:x}", large.len());
            let chunked = post(&format!(
                "transfer-encoding: chunked\r\n\r\n{size}\r\n{large}"
            ));
            assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
        })
        .await;
        server.shutdown().await;
        rig.running.shutdown().await;
    });
}

/// Sets a config of the link, or gives back its default.
async fn set(rig: &Rig, name: &str, value: Option<&str>) {
    let path = format!("/links/west/configs/{name}");
    let (status, answer) = match value {
        Some(value) => rig.call("PUT", &path, Some(json!({"value": value}))).await,
        None => rig.call("DELETE", &path, None).await,
    };
    assert_eq!(status, 204, "{answer}");
}

#[test]
fn a_promotion_that_has_to_wait_is_answered_at_once_with_its_lags() {
    runtime().block_on(async {
        let (source, rig) = mirroring().await;
        set(&rig, "cluster.link.throttle.bytes.per.second", Some("1")).await;
        // Bytes that came before the link was throttled have to be paid for first.
        source.topic_with_records("more", 1).await;
        let topic = source.running.broker.topic("a").unwrap();
        let partition = topic.partition(0).unwrap();
        let batch = || {
            BatchBuilder::new()
                .record(1, None, Some(&[7; 1000]))
                .build()
        };
        let produce = || drop(append(&partition, &batch().freeze(), 5_000).unwrap());
        // The first batch puts the link in debt: until that is paid it does not ask for the others.
        produce();
        rig.wait_for_end("a", partition.snapshot().end().0).await;
        (0..50).for_each(|_| produce());
        let path = "/links/west/mirrors:promote";
        let names = || Some(json!({"mirror_topic_names": ["a"]}));
        let asked = Instant::now();
        for wait in ["", "?wait=1"] {
            let (status, answer) = rig.call("POST", &format!("{path}{wait}"), names()).await;
            assert_eq!(status, 200, "{answer}");
            let outcome = &answer["data"][0];
            assert_eq!(outcome["mirror_status"], "PENDING_STOPPED", "{answer}");
            assert!(outcome["error_code"].is_null() && outcome["report"].is_null());
            assert_eq!(outcome["mirror_lags"][0]["partition"], 0, "{answer}");
        }
        assert!(asked.elapsed() < LIMIT / 2, "{:?}", asked.elapsed());
        let (status, answer) = rig.call("POST", &format!("{path}?wait=61"), names()).await;
        assert_eq!(status, 400, "{answer}");
        let pause = "/links/west/mirrors:pause?wait=1";
        assert_eq!(rig.call("POST", pause, names()).await.0, 400);

        set(&rig, "cluster.link.throttle.bytes.per.second", None).await;
        let begun = Instant::now();
        loop {
            let (_, mirror) = rig.call("GET", "/links/-/mirrors/a", None).await;
            if mirror["mirror_status"] == "STOPPED" {
                break;
            }
            assert_eq!(mirror["mirror_status"], "PENDING_STOPPED", "{mirror}");
            assert!(begun.elapsed() < LIMIT, "{mirror}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let path = "/links/-/mirrors/a/report";
        let (_, report) = rig.call("GET", path, None).await;
        assert_eq!(report["partitions"][0]["missing_records"], 0, "{report}");
        stop(source, rig).await;
    });
}

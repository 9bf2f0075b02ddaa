//! Clients that come in over TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::testing::TestClient;
use crate::tls::testing::{Files, identity};

/// A broker with a listener without TLS and one with it.
async fn start(files: &Files, properties: &[&str]) -> TestBroker {
    let mut set = files.properties();
    set.push("listeners=PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0".to_owned());
    set.extend(properties.iter().map(|property| (*property).to_owned()));
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    TestBroker::start(&set).await
}

async fn connect(it: &TestBroker, config: &Arc<ClientConfig>) -> std::io::Result<TestClient> {
    let stream = TcpStream::connect(it.broker().endpoints[1].bound).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    Ok(TestClient::over(connector.connect(name, stream).await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_large_answers_pass_over_tls_and_metadata_names_the_same_listener() {
    let files = Files::new();
    let it = start(&files, &[]).await;
    it.create("t", 1);
    let mut client = connect(&it, &files.client(None)).await.unwrap();
    let response = client.call(12, &metadata("t")).await;
    let port = it.broker().endpoints[1].bound.port();
    assert_eq!(response.brokers[0].port, i32::from(port));
    let large = "x".repeat(700_000);
    for _ in 0..3 {
        client.produce("t", 0, -1, batch(&[&large])).await;
    }
    let mut request = fetch("t", 0, 1_000);
    request.max_bytes = 4 << 20;
    request.topics[0].partitions[0].partition_max_bytes = 4 << 20;
    let response = client.call(12, &request).await;
    assert!(data(&response).records.as_ref().unwrap().len() > 2_100_000);
    // The listener without TLS serves the same topic, by its own address.
    let response = it.client().await.call(12, &metadata("t")).await;
    let port = it.broker().endpoints[0].bound.port();
    assert_eq!(response.brokers[0].port, i32::from(port));
    it.running.shutdown().await;
    assert!(client.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_that_is_required_no_request_is_answered() {
    let files = Files::new();
    let it = start(&files, &["ssl.client.auth=required"]).await;
    let alice = identity(&files.clients, "Alice", None);
    let mut client = connect(&it, &files.client(Some(&alice))).await.unwrap();
    client.call(1, &MetadataRequest::default()).await;
    // In TLS 1.3 the client learns it only with its first answer.
    if let Ok(mut nobody) = connect(&it, &files.client(None)).await {
        let request = [0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 1, 255, 255, 0, 0];
        nobody.try_send_bytes(&request).await;
        assert!(nobody.frame().await.is_none());
    }
    client.call(1, &MetadataRequest::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_shake_hands_in_time_is_closed_and_others_are_served() {
    let files = Files::new();
    let it = start(&files, &["connection.authentication.timeout.ms=300"]).await;
    let address = it.broker().endpoints[1].bound;
    let mut silent = TestClient::connect(address).await;
    let mut client = connect(&it, &files.client(None)).await.unwrap();
    client.call(1, &MetadataRequest::default()).await;
    assert!(silent.frame().await.is_none());
    client.call(1, &MetadataRequest::default()).await;
}

/// How many of these the broker has closed.
fn closed(streams: &[TcpStream]) -> usize {
    let is_closed = |stream: &&TcpStream| {
        let mut byte = [0];
        !matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    streams.iter().filter(is_closed).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_only_knock_have_few_places_and_give_way() {
    let files = Files::new();
    let it = start(&files, &["max.connections.unauthenticated=8"]).await;
    let address = it.broker().endpoints[1].bound;
    let mut known = connect(&it, &files.client(None)).await.unwrap();
    known.call(1, &MetadataRequest::default()).await;
    let mut knocking = Vec::new();
    for _ in 0..50 {
        knocking.push(TcpStream::connect(address).await.unwrap());
    }
    crate::testing::until("half of the places are taken", || closed(&knocking) == 46).await;
    known.call(1, &MetadataRequest::default()).await;
    it.client().await.call(1, &MetadataRequest::default()).await;
    // Once those have been there for a while, they give way to a client that goes on.
    let mut client = loop {
        if let Ok(client) = connect(&it, &files.client(None)).await {
            break client;
        }
    };
    client.call(1, &MetadataRequest::default()).await;
    assert_eq!(closed(&knocking), 47);
    known.call(1, &MetadataRequest::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_handshakes_keeps_nobody_from_being_served() {
    let files = Files::new();
    let it = Arc::new(start(&files, &[]).await);
    let (over, shaken) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let flood: Vec<_> = (0..32)
        .map(|_| {
            let (it, client) = (Arc::clone(&it), files.client(None));
            let (over, shaken) = (Arc::clone(&over), Arc::clone(&shaken));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    if connect(&it, &client).await.is_ok() {
                        shaken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let mut served = it.client().await;
    while shaken.load(Ordering::Relaxed) < 500 {
        served.call(1, &MetadataRequest::default()).await;
    }
    let mut late = connect(&it, &files.client(None)).await.unwrap();
    late.call(1, &MetadataRequest::default()).await;
    over.store(true, Ordering::Relaxed);
    for task in flood {
        task.await.unwrap();
    }
}

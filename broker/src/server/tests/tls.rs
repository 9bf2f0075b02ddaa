//! Clients that come in over TLS.

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
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

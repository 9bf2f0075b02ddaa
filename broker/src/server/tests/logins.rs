//! Listeners with SASL, as clients see them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use carrick_protocol::credentials::scram::{Client, Credential, Hash};
use carrick_protocol::credentials::{Mechanism, Secret};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::auth::Change;
use crate::testing::{TestClient, audit_lines};

const PLAIN: &str = "listener.name.sasl_plaintext.plain.sasl.jaas.config=\
                     a.PlainLoginModule required user_ann=\"open\" user_bob=\"open\";";

/// A broker with a listener that asks for SASL, and ann's SCRAM credential.
pub(super) async fn broker(overrides: &[&str]) -> TestBroker {
    let base = [
        "listeners=SASL_PLAINTEXT://127.0.0.1:0",
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256",
        "connection.failed.authentication.delay.ms=0",
        PLAIN,
    ];
    let it = TestBroker::start(&[&base, overrides].concat()).await;
    set_password(&it, "open").await;
    it
}

async fn set_password(it: &TestBroker, password: &'static str) {
    let users = it.broker().users.clone();
    let altered = tokio::task::spawn_blocking(move || {
        let work = (&b"salt"[..], 4096);
        let credential = Credential::of_password(Mechanism::ScramSha256, work, password).unwrap();
        let change = Change::Set(Mechanism::ScramSha256, credential.into());
        users.alter(&[("ann".to_owned(), Ok(change))])
    });
    assert_eq!(altered.await.unwrap()["ann"], Ok(()));
}

async fn shake(client: &mut TestClient, mechanism: &str) -> ErrorCode {
    let mechanism = StrBytes::from_string(mechanism.to_owned());
    let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
    ErrorCode(client.call(1, &request).await.error_code)
}

async fn authenticate(client: &mut TestClient, bytes: Bytes) -> SaslAuthenticateResponse {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(bytes);
    client.call(2, &request).await
}

/// Logs in with PLAIN: the error code and the session's lifetime.
pub(super) async fn plain(client: &mut TestClient, user: &str, password: &str) -> (ErrorCode, i64) {
    assert_eq!(shake(client, "PLAIN").await, ErrorCode::NONE);
    let answer = authenticate(client, format!("\0{user}\0{password}").into()).await;
    (ErrorCode(answer.error_code), answer.session_lifetime_ms)
}

async fn scram(client: &mut TestClient, password: &str) -> ErrorCode {
    assert_eq!(shake(client, "SCRAM-SHA-256").await, ErrorCode::NONE);
    let hash = Hash::of(Mechanism::ScramSha256).unwrap();
    let (name, password) = (Secret::new("ann"), Secret::new(password));
    let side = Client::new(hash, &name, password, false, "nonce".to_owned());
    let first = authenticate(client, side.first().into()).await;
    let (last, proof) = side.last(&first.auth_bytes).unwrap();
    let answer = authenticate(client, last.into()).await;
    if answer.error_code == 0 {
        proof.verify(&answer.auth_bytes).unwrap();
    }
    ErrorCode(answer.error_code)
}

async fn serves(client: &mut TestClient) {
    let answer = client.call(12, &metadata("t")).await;
    assert_eq!(answer.brokers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_served_once_it_has_logged_in_and_a_wrong_password_ends_the_connection() {
    let it = broker(&[]).await;
    let mut client = it.client().await;
    let versions = client.call(3, &versions_request()).await;
    let keys: BTreeSet<_> = versions.api_keys.iter().map(|it| it.api_key).collect();
    assert!(keys.contains(&17) && keys.contains(&36));
    assert_eq!(scram(&mut client, "open").await, ErrorCode::NONE);
    serves(&mut client).await;
    serves(&mut client).await;

    let mut client = it.client().await;
    assert_eq!(
        plain(&mut client, "ann", "open").await,
        (ErrorCode::NONE, 0)
    );
    serves(&mut client).await;
    // There is no session that ends: a second login is too late, as in Kafka.
    assert_eq!(
        shake(&mut client, "PLAIN").await,
        ErrorCode::ILLEGAL_SASL_STATE
    );
    serves(&mut client).await;

    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let mut client = it.client().await;
        let code = match mechanism {
            "PLAIN" => plain(&mut client, "ann", "wrong").await.0,
            _ => scram(&mut client, "wrong").await,
        };
        assert_eq!(code, ErrorCode::SASL_AUTHENTICATION_FAILED);
        assert!(client.frame().await.is_none(), "the connection is closed");
    }
    let mut client = it.client().await;
    let code = shake(&mut client, "GSSAPI").await;
    assert_eq!(code, ErrorCode::UNSUPPORTED_SASL_MECHANISM);
    assert!(client.frame().await.is_none());
}

fn versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test"))
        .with_client_software_version(StrBytes::from_static_str("1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_sasl_says_so_and_goes_on() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    assert_eq!(
        shake(&mut client, "PLAIN").await,
        ErrorCode::ILLEGAL_SASL_STATE
    );
    let answer = authenticate(&mut client, "\0ann\0open".into()).await;
    assert_eq!(ErrorCode(answer.error_code), ErrorCode::ILLEGAL_SASL_STATE);
    serves(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_gets_its_answer_after_the_delay() {
    let delay = "connection.failed.authentication.delay.ms=400";
    let it = broker(&[delay]).await;
    let mut client = it.client().await;
    let started = Instant::now();
    let (code, _) = plain(&mut client, "ann", "wrong").await;
    assert_eq!(code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    assert!(started.elapsed() >= Duration::from_millis(400));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_has_a_moment_to_read_why_before_the_connection_ends() {
    let it = broker(&[]).await;
    let mut client = it.client().await;
    let answered = Instant::now();
    let (code, _) = plain(&mut client, "ann", "wrong").await;
    assert_eq!(code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    assert!(client.frame().await.is_none(), "it ends");
    assert!(answered.elapsed() >= Duration::from_millis(150));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_logs_in_once_more_goes_on_and_one_that_does_not_is_closed() {
    let it = broker(&["connections.max.reauth.ms=1500"]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let mut idle = it.client().await;
    let (code, lifetime_ms) = plain(&mut idle, "ann", "open").await;
    assert_eq!(code, ErrorCode::NONE);
    assert!((1_000..=1_500).contains(&lifetime_ms), "{lifetime_ms}");
    assert_eq!(plain(&mut client, "ann", "open").await.0, ErrorCode::NONE);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(3_200) {
        // What was sent before the login is answered before it, what comes behind after it.
        let before = client.send(12, &metadata("t")).await;
        let mechanism = StrBytes::from_static_str("PLAIN");
        let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
        let handshake = client.send(1, &request).await;
        assert_eq!(client.receive::<MetadataRequest>(12).await.0, before);
        let (id, answer) = client.receive::<SaslHandshakeRequest>(1).await;
        assert_eq!((id, answer.error_code), (handshake, 0));
        let answer = authenticate(&mut client, "\0ann\0open".into()).await;
        assert_eq!(answer.error_code, 0);
        assert!(answer.session_lifetime_ms > 0);
        serves(&mut client).await;
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
    // The request that comes too late is not answered.
    idle.send(12, &metadata("t")).await;
    assert!(idle.frame().await.is_none());
    serves(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_too_late_for_requests_is_still_a_login() {
    let it = broker(&["connections.max.reauth.ms=300"]).await;
    let mut client = it.client().await;
    assert_eq!(plain(&mut client, "ann", "open").await.0, ErrorCode::NONE);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(plain(&mut client, "ann", "open").await.0, ErrorCode::NONE);
    serves(&mut client).await;
    // Twice within a second is too often: the handshake is an ordinary request, as in Kafka.
    assert_eq!(
        shake(&mut client, "PLAIN").await,
        ErrorCode::ILLEGAL_SASL_STATE
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_or_mechanism_cannot_take_over_a_connection() {
    let it = broker(&["connections.max.reauth.ms=60000"]).await;
    let mut client = it.client().await;
    assert_eq!(plain(&mut client, "ann", "open").await.0, ErrorCode::NONE);
    assert_eq!(shake(&mut client, "PLAIN").await, ErrorCode::NONE);
    let answer = authenticate(&mut client, "\0bob\0open".into()).await;
    assert_eq!(
        ErrorCode(answer.error_code),
        ErrorCode::SASL_AUTHENTICATION_FAILED
    );
    let text = answer.error_message.unwrap();
    assert!(text.contains("from User.ann: User.bob"), "{text}");
    assert!(client.frame().await.is_none());
    let lines = audit_lines(it.broker(), it.dir.path()).await;
    let of_ann = lines.iter().find(|line| line["who"] == "User:ann");
    let refused = of_ann.unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!(refused["outcome"], "not_authenticated", "{refused}");

    let mut client = it.client().await;
    assert_eq!(plain(&mut client, "ann", "open").await.0, ErrorCode::NONE);
    assert_eq!(shake(&mut client, "SCRAM-SHA-256").await, ErrorCode::NONE);
    let request = SaslAuthenticateRequest::default();
    client.send(2, &request).await;
    assert!(client.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_the_session_at_its_next_login() {
    let it = broker(&["connections.max.reauth.ms=60000"]).await;
    let mut client = it.client().await;
    assert_eq!(scram(&mut client, "open").await, ErrorCode::NONE);
    set_password(&it, "new").await;
    serves(&mut client).await;
    let code = scram(&mut client, "open").await;
    assert_eq!(code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    assert!(client.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_clients_that_are_not_known_are_bounded() {
    let it = broker(&["sasl.server.max.receive.size=300000"]).await;
    let mut too_long = it.client().await;
    too_long.send_bytes(&300_001_i32.to_be_bytes()).await;
    assert!(too_long.frame().await.is_none());
    let mut negative = it.client().await;
    negative.send_bytes(&[0xff; 4]).await;
    assert!(negative.frame().await.is_none());
    // Far more than all logins together may take; none of them ends its frame.
    let mut stalled = Vec::new();
    for _ in 0..200 {
        let mut client = it.client().await;
        client.send_bytes(&300_000_i32.to_be_bytes()).await;
        client.send_bytes(&[0; 10_000]).await;
        stalled.push(client);
    }
    let mut client = it.client().await;
    assert_eq!(scram(&mut client, "open").await, ErrorCode::NONE);
    serves(&mut client).await;
}

/// A frame with any API key and version, and the beginning of what a client could have sent.
fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let key = prop_oneof![0..100_i16, any::<i16>(), Just(17), Just(36), Just(18)];
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(Just(0_u8), 0..60),
        Just(b"\x00\x05PLAIN".to_vec()),
        Just(b"\x00\x00\x00\x0a\x00ann\x00wrong".to_vec()),
    ];
    (key, -1..20_i16, body).prop_map(|(key, version, body)| {
        let head = [key.to_be_bytes(), version.to_be_bytes()].concat();
        let (id, client_id) = (7_i32.to_be_bytes(), (-1_i16).to_be_bytes());
        let frame = [&head[..], &id, &client_id, &body].concat();
        let length = i32::try_from(frame.len()).unwrap().to_be_bytes();
        [&length[..], &frame].concat()
    })
}

#[test]
fn nothing_but_a_login_is_answered_before_a_login() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let it = runtime.block_on(broker(&[]));
    let config = Config::with_cases(2_000);
    let frames = prop::collection::vec(any_request(), 1..6);
    let outcome = TestRunner::new(config).run(&frames, |frames| {
        runtime.block_on(async {
            let mut client = it.client().await;
            for frame in &frames {
                client.try_send_bytes(frame).await;
            }
            client.try_finish_sending().await;
            let mut keys = frames
                .iter()
                .map(|frame| i16::from_be_bytes([frame[4], frame[5]]));
            while let Some(answer) = client.frame().await {
                // Answers come in order, and no other request is answered in between.
                let key = keys.next();
                prop_assert!(matches!(key, Some(17 | 18 | 36)), "{:?}: {:?}", key, answer);
            }
            Ok(())
        })
    });
    outcome.unwrap();
    assert!(it.broker().topics.list().is_empty());
}

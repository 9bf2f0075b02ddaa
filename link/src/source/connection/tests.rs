//! A connection against a scripted peer on loopback.

mod authentication;

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use carrick_protocol::frame::encode_response;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse,
    MetadataRequest, api_versions_response::ApiVersion,
};
use kafka_protocol::protocol::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::source::transport::{Plaintext, SocketOptions, Transport, dial};

/// The peer's end of a connection.
struct Peer(TcpStream);

impl Peer {
    /// The next request: API key, version, correlation id.
    async fn request(&mut self) -> (i16, i16, i32) {
        let (key, version, id, _) = self.frame().await;
        (key, version, id)
    }

    /// The same, and the frame.
    async fn frame(&mut self) -> (i16, i16, i32, Bytes) {
        let size = self.0.read_i32().await.unwrap();
        let mut frame = vec![0; size as usize];
        self.0.read_exact(&mut frame).await.unwrap();
        let i16_at = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
        let id = i32::from_be_bytes(frame[4..8].try_into().unwrap());
        (i16_at(0), i16_at(2), id, frame.into())
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Answers the handshake as a broker that speaks ApiVersions 0–4 and DescribeCluster 0–1.
    async fn shake_hands(&mut self) {
        let (key, version, id) = self.request().await;
        assert_eq!((key, version), (ApiVersionsRequest::KEY, 4));
        self.send(&versions_frame(id, version, 0)).await;
    }
}

fn versions_frame(id: i32, version: i16, error: i16) -> Bytes {
    let api = |key, max| {
        ApiVersion::default()
            .with_api_key(key)
            .with_max_version(max)
    };
    let response = ApiVersionsResponse::default()
        .with_error_code(error)
        .with_api_keys(vec![
            api(ApiVersionsRequest::KEY, 2),
            api(DescribeClusterRequest::KEY, 1),
        ]);
    encode_response(id, 0, &response, version).unwrap()
}

fn cluster_frame(id: i32) -> Bytes {
    encode_response(id, 1, &DescribeClusterResponse::default(), 1).unwrap()
}

fn settings() -> Settings {
    Settings {
        client_id: "test".into(),
        request_timeout: Duration::from_secs(120),
        handshake_timeout: Duration::from_secs(120),
        idle_max: None,
        frame_max_bytes: 4096,
        patience: Patience::default(),
        security: Arc::default(),
        tokens: None,
    }
}

async fn connect(settings: Settings, listener: &TcpListener) -> Result<Connection, SourceError> {
    let port = listener.local_addr().unwrap().port();
    let limit = Duration::from_secs(120);
    let stream = dial("127.0.0.1", port, SocketOptions::default(), limit)
        .await
        .unwrap();
    let io = Plaintext.secure(stream, "peer", "127.0.0.1").await.unwrap();
    Connection::open(io, format!("127.0.0.1:{port}"), Arc::new(settings)).await
}

/// Opens a connection to a peer that does what `script` says.
async fn open_with<F: Future<Output = ()> + Send + 'static>(
    settings: Settings,
    script: impl FnOnce(Peer) -> F + Send + 'static,
) -> Result<Connection, SourceError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = connect(settings, &listener);
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(script(Peer(stream)));
    };
    tokio::join!(connecting, accepting).0
}

/// A connection to a peer that shakes hands and then does what `script` says.
async fn opened<F: Future<Output = ()> + Send + 'static>(
    settings: Settings,
    script: impl FnOnce(Peer) -> F + Send + 'static,
) -> Connection {
    let script = |mut peer: Peer| async move {
        peer.shake_hands().await;
        script(peer).await;
    };
    open_with(settings, script).await.unwrap()
}

async fn describe(connection: &Connection) -> Result<DescribeClusterResponse, SourceError> {
    connection.call(|_| DescribeClusterRequest::default()).await
}

#[tokio::test]
async fn versions_in_common_are_negotiated_and_others_refused_by_name() {
    let connection = opened(settings(), |mut peer| async move {
        let (key, version, id) = peer.request().await;
        assert_eq!((key, version), (DescribeClusterRequest::KEY, 1));
        peer.send(&cluster_frame(id)).await;
        peer.request().await;
    })
    .await;
    describe(&connection).await.unwrap();
    let error = connection.version::<MetadataRequest>().unwrap_err();
    assert!(
        matches!(
            &error,
            SourceError::NoCommonVersion {
                api: "Metadata",
                ..
            }
        ),
        "{error}"
    );
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn an_old_broker_is_asked_again_with_a_version_it_knows() {
    let connection = open_with(settings(), |mut peer| async move {
        let (_, version, id) = peer.request().await;
        assert_eq!(version, 4);
        peer.send(&versions_frame(id, 0, ErrorCode::UNSUPPORTED_VERSION.0))
            .await;
        let (_, version, id) = peer.request().await;
        assert_eq!(version, 2);
        peer.send(&versions_frame(id, 2, 0)).await;
        peer.request().await;
    })
    .await
    .unwrap();
    assert_eq!(connection.version::<DescribeClusterRequest>(), Ok(1));
}

#[tokio::test]
async fn an_unsupported_version_without_a_range_falls_back_to_0() {
    let connection = open_with(settings(), |mut peer| async move {
        let (_, _, id) = peer.request().await;
        let empty = ApiVersionsResponse::default().with_error_code(35);
        peer.send(&encode_response(id, 0, &empty, 0).unwrap()).await;
        let (_, version, id) = peer.request().await;
        assert_eq!(version, 0);
        peer.send(&versions_frame(id, 0, 0)).await;
        peer.request().await;
    })
    .await;
    assert!(connection.is_ok());
}

#[tokio::test]
async fn a_web_server_is_told_by_what_it_says() {
    let opened = open_with(settings(), |mut peer| async move {
        peer.send(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n")
            .await;
        peer.request().await;
    });
    let error = opened.await.err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, SourceError::NotKafka { .. }));
    assert!(
        text.contains("127.0.0.1:") && text.contains("HTTP/1.1 400 Bad Request"),
        "{text}"
    );
    assert!(!error.is_retriable());
}

#[tokio::test]
async fn a_tls_listener_is_told_by_its_alert() {
    let opened = open_with(settings(), |mut peer| async move {
        peer.send(&[0x15, 3, 3, 0, 2, 2, 80]).await;
    });
    let text = opened.await.err().unwrap().to_string();
    assert!(text.contains("TLS"), "{text}");
}

#[tokio::test]
async fn bytes_that_are_no_frame_are_shown() {
    let opened = open_with(settings(), |mut peer| async move {
        peer.send(&[0xff, 0xfe, 0, 1]).await;
    });
    let text = opened.await.err().unwrap().to_string();
    assert!(text.contains("ff fe 00 01"), "{text}");
}

#[tokio::test]
async fn a_peer_that_hangs_up_at_once_is_told_with_a_hint() {
    let error = open_with(settings(), |peer| async move { drop(peer) })
        .await
        .err()
        .unwrap();
    assert!(matches!(error, SourceError::Closed { .. }), "{error}");
    assert!(error.to_string().contains("PLAINTEXT listener?"), "{error}");
    assert!(error.is_retriable());
}

#[tokio::test]
async fn a_silent_peer_times_out() {
    let settings = Settings {
        handshake_timeout: Duration::from_millis(30),
        ..settings()
    };
    let opened = open_with(settings, |mut peer| async move {
        peer.request().await;
        let _ = peer.0.read_u8().await;
    });
    let error = opened.await.err().unwrap();
    match &error {
        SourceError::Timeout {
            what, limit_ms: 30, ..
        } => assert!(what.starts_with("ApiVersions")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn half_a_response_fails_everyone_who_waits() {
    let connection = opened(settings(), |mut peer| async move {
        let (_, _, id) = peer.request().await;
        peer.request().await;
        let frame = cluster_frame(id);
        peer.send(&frame[..frame.len() / 2]).await;
    })
    .await;
    let (first, second) = tokio::join!(describe(&connection), describe(&connection));
    for outcome in [first, second] {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, SourceError::Closed { .. }), "{error}");
        assert!(error.to_string().contains("of a response"), "{error}");
    }
    assert!(connection.is_closed());
    assert!(
        describe(&connection).await.is_err(),
        "a closed connection stays closed"
    );
}

#[tokio::test]
async fn a_wrong_correlation_id_closes_the_connection() {
    let connection = opened(settings(), |mut peer| async move {
        let (_, _, id) = peer.request().await;
        peer.send(&cluster_frame(id + 1)).await;
        let _ = peer.0.read_u8().await;
    })
    .await;
    let error = describe(&connection).await.unwrap_err();
    assert!(matches!(&error, SourceError::Protocol { .. }), "{error}");
    assert!(error.to_string().contains("correlation id"), "{error}");
    assert!(connection.is_closed());
}

#[tokio::test]
async fn a_frame_beyond_the_limit_closes_the_connection() {
    for length in [4097, i32::MAX, -1, 3] {
        let connection = opened(settings(), move |mut peer| async move {
            peer.request().await;
            peer.send(&i32::to_be_bytes(length)).await;
            let _ = peer.0.read_u8().await;
        })
        .await;
        let error = describe(&connection).await.unwrap_err();
        assert!(
            error.to_string().contains(&format!("{length} bytes")),
            "{error}"
        );
        assert!(connection.is_closed());
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_closes_the_connection() {
    let connection = opened(settings(), |mut peer| async move {
        let (_, _, id) = peer.request().await;
        let mut frame = BytesMut::new();
        frame.put_i32(9);
        frame.put_i32(id);
        frame.put_slice(&[0, 0xff, 0xff, 0xff, 0xff]);
        peer.send(&frame).await;
        let _ = peer.0.read_u8().await;
    })
    .await;
    let error = describe(&connection).await.unwrap_err();
    assert!(matches!(&error, SourceError::Protocol { .. }), "{error}");
    assert!(error.to_string().contains("DescribeCluster"), "{error}");
    assert!(connection.is_closed());
}

#[tokio::test]
async fn requests_are_pipelined_and_answered_in_order() {
    let connection = opened(settings(), |mut peer| async move {
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(peer.request().await.2);
        }
        assert!(ids.is_sorted());
        for id in ids {
            let response = DescribeClusterResponse::default().with_throttle_time_ms(id);
            peer.send(&encode_response(id, 1, &response, 1).unwrap())
                .await;
        }
        let _ = peer.0.read_u8().await;
    })
    .await;
    // Sent when asked for, not when awaited: the last is awaited first.
    let request = DescribeClusterRequest::default();
    let replies: Vec<_> = (0..3)
        .map(|_| connection.send(&request, 1, Duration::ZERO))
        .collect();
    let mut ids = Vec::new();
    for reply in replies.into_iter().rev() {
        ids.push(reply.await.unwrap().throttle_time_ms);
    }
    assert_eq!(ids, [4, 3, 2]);
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_any_more_is_dropped() {
    let connection = opened(settings(), |mut peer| async move {
        for _ in 0..2 {
            let id = peer.request().await.2;
            peer.send(&cluster_frame(id)).await;
        }
        let _ = peer.0.read_u8().await;
    })
    .await;
    drop(connection.send(&DescribeClusterRequest::default(), 1, Duration::ZERO));
    describe(&connection).await.unwrap();
}

#[tokio::test]
async fn too_many_requests_in_flight_are_refused() {
    let connection = opened(settings(), |mut peer| async move {
        let _ = peer.0.read_exact(&mut vec![0; 1 << 20]).await;
    })
    .await;
    let request = DescribeClusterRequest::default();
    let mut replies = Vec::new();
    for _ in 0..IN_FLIGHT_MAX {
        replies.push(connection.send(&request, 1, Duration::ZERO));
    }
    let refused = connection.send(&request, 1, Duration::ZERO).await;
    assert!(matches!(refused, Err(SourceError::Unsupported(_))));
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let settings = Settings {
        idle_max: Some(Duration::from_millis(20)),
        ..settings()
    };
    let (told, hung_up) = oneshot::channel();
    let connection = opened(settings, |mut peer| async move {
        let end = peer.0.read(&mut [0; 1]).await;
        let _ = told.send(end.is_ok_and(|n| n == 0));
    })
    .await;
    assert!(hung_up.await.unwrap());
    let error = describe(&connection).await.unwrap_err();
    assert!(error.to_string().contains("without a request"), "{error}");
}

#[tokio::test]
async fn dropping_a_connection_closes_it_and_fails_what_is_in_flight() {
    let (told, hung_up) = oneshot::channel();
    let connection = opened(settings(), |mut peer| async move {
        peer.request().await;
        let end = peer.0.read(&mut [0; 1]).await;
        let _ = told.send(end.is_ok_and(|n| n == 0));
    })
    .await;
    let reply = connection.send(&DescribeClusterRequest::default(), 1, Duration::ZERO);
    // The peer has the request before it sees the end: the writer must get to run once.
    tokio::task::yield_now().await;
    drop(connection);
    assert_eq!(reply.await.unwrap_err(), SourceError::ShutDown);
    assert!(hung_up.await.is_ok());
}

#[tokio::test]
async fn a_request_without_an_answer_times_out_and_closes_the_connection() {
    let settings = Settings {
        request_timeout: Duration::from_millis(30),
        ..settings()
    };
    let connection = opened(settings, |mut peer| async move {
        peer.request().await;
        let _ = peer.0.read_u8().await;
    })
    .await;
    let error = describe(&connection).await.unwrap_err();
    assert!(
        matches!(error, SourceError::Timeout { limit_ms: 30, .. }),
        "{error}"
    );
    assert!(connection.is_closed());
}

#[tokio::test]
async fn a_peer_that_hangs_up_at_the_first_real_request_may_want_sasl() {
    let connection = opened(settings(), |mut peer| async move {
        peer.request().await;
    })
    .await;
    let error = describe(&connection).await.unwrap_err();
    assert!(error.to_string().contains("SASL"), "{error}");
}

#[tokio::test]
async fn a_late_answer_that_nobody_waits_for_closes_the_connection() {
    let settings = Settings {
        request_timeout: Duration::from_millis(30),
        ..settings()
    };
    let connection = opened(settings, |mut peer| async move {
        peer.request().await;
        let _ = peer.0.read_u8().await;
    })
    .await;
    drop(connection.send(&DescribeClusterRequest::default(), 1, Duration::ZERO));
    let closed = async {
        while !connection.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), closed).await;
    assert!(in_time.is_ok(), "it stays open");
    let error = describe(&connection).await.unwrap_err();
    assert!(
        matches!(error, SourceError::Timeout { limit_ms: 30, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_peer_that_asks_for_patience_is_sent_nothing_more_until_it_is_over() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let (told, waited) = oneshot::channel();
    let connection = opened(settings(), |mut peer| async move {
        let (_, version, id) = peer.request().await;
        let response = DescribeClusterResponse::default().with_throttle_time_ms(300);
        let answered_at = Instant::now();
        let frame = encode_response(id, 1, &response, version).unwrap();
        peer.send(&frame).await;
        let (_, _, id) = peer.request().await;
        let _ = told.send(answered_at.elapsed());
        peer.send(&cluster_frame(id)).await;
        let _ = peer.0.read_u8().await;
    })
    .await;
    assert!(!connection.inner.settings.patience.is_asked());
    describe(&connection).await.unwrap();
    assert!(connection.inner.state.lock().held_until.is_some());
    describe(&connection).await.unwrap();
    assert!(waited.await.unwrap() >= PATIENCE);
}

//! SASL against a scripted peer.

use carrick_protocol::credentials::{Mechanism, Secret};
use kafka_protocol::messages::{
    RequestHeader, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion};

use super::*;
use crate::config::oauth::{OAuth, Refresh, TokenFrom};
use crate::config::security::{Login, Sasl};
use crate::source::FaultKind;
use crate::source::api::wire_text;

const PASSWORD: &str = "hunter2";

fn settings_for(mechanism: Mechanism) -> Settings {
    let sasl = Sasl {
        mechanism,
        login: Login::Password {
            username: Secret::new("alice"),
            password: Secret::new(PASSWORD),
            is_token: false,
        },
    };
    Settings {
        security: Arc::new(Security {
            sasl: Some(sasl),
            ..Security::default()
        }),
        ..settings()
    }
}

impl Peer {
    /// Answers ApiVersions as a broker that speaks SASL, too.
    async fn shake_hands_for_sasl(&mut self) {
        let (_, version, id) = self.request().await;
        let api = |key, min, max| {
            ApiVersion::default()
                .with_api_key(key)
                .with_min_version(min)
                .with_max_version(max)
        };
        let response = ApiVersionsResponse::default().with_api_keys(vec![
            api(SaslHandshakeRequest::KEY, 0, 1),
            api(SaslAuthenticateRequest::KEY, 0, 2),
            api(DescribeClusterRequest::KEY, 0, 1),
        ]);
        let frame = encode_response(id, 0, &response, version).unwrap();
        self.send(&frame).await;
    }

    /// Takes a mechanism, or offers another.
    async fn answer_handshake(&mut self, offers: &str, error: ErrorCode) {
        let (key, version, id) = self.request().await;
        assert_eq!((key, version), (SaslHandshakeRequest::KEY, 1));
        let response = SaslHandshakeResponse::default()
            .with_error_code(error.0)
            .with_mechanisms(vec![wire_text(offers)]);
        let frame = encode_response(id, 0, &response, version).unwrap();
        self.send(&frame).await;
    }

    /// The client's next token.
    async fn token(&mut self) -> (i32, Vec<u8>) {
        let (key, version, id, mut frame) = self.frame().await;
        assert_eq!((key, version), (SaslAuthenticateRequest::KEY, 2));
        let header = SaslAuthenticateRequest::header_version(version);
        RequestHeader::decode(&mut frame, header).unwrap();
        let request = SaslAuthenticateRequest::decode(&mut frame, version).unwrap();
        (id, request.auth_bytes.to_vec())
    }

    async fn answer_token(&mut self, id: i32, response: SaslAuthenticateResponse) {
        let frame = encode_response(id, 1, &response, 2).unwrap();
        self.send(&frame).await;
    }

    /// Lets a user of PLAIN in, for so long.
    async fn let_in(&mut self, lifetime_ms: i64) {
        self.answer_handshake("PLAIN", ErrorCode::NONE).await;
        let (id, token) = self.token().await;
        assert_eq!(token, format!("\0alice\0{PASSWORD}").as_bytes());
        let response = SaslAuthenticateResponse::default().with_session_lifetime_ms(lifetime_ms);
        self.answer_token(id, response).await;
    }

    async fn answer_describe(&mut self) {
        let (key, _, id) = self.request().await;
        assert_eq!(key, DescribeClusterRequest::KEY);
        self.send(&cluster_frame(id)).await;
    }
}

/// Why a peer that does what `script` says could not be spoken to.
async fn refused<F: Future<Output = ()> + Send + 'static>(
    mechanism: Mechanism,
    script: impl FnOnce(Peer) -> F + Send + 'static,
) -> SourceError {
    let opened = open_with(settings_for(mechanism), |mut peer| async move {
        peer.shake_hands_for_sasl().await;
        script(peer).await;
    });
    let error = opened.await.err().unwrap();
    assert_eq!(error.kind(), FaultKind::Authentication, "{error}");
    assert!(!error.is_retriable());
    assert!(!error.to_string().contains(PASSWORD), "{error}");
    error
}

#[tokio::test]
async fn plain_tells_user_and_password_and_then_goes_on() {
    let connection = open_with(settings_for(Mechanism::Plain), |mut peer| async move {
        peer.shake_hands_for_sasl().await;
        peer.let_in(0).await;
        peer.answer_describe().await;
        peer.request().await;
    });
    describe(&connection.await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_told_in_the_brokers_words() {
    let error = refused(Mechanism::Plain, |mut peer| async move {
        peer.answer_handshake("PLAIN", ErrorCode::NONE).await;
        let (id, _) = peer.token().await;
        let response = SaslAuthenticateResponse::default()
            .with_error_code(ErrorCode::SASL_AUTHENTICATION_FAILED.0)
            .with_error_message(Some(wire_text("Invalid username\nor password")));
        peer.answer_token(id, response).await;
    });
    let text = error.await.to_string();
    assert!(text.contains("Invalid usernameor password"), "{text}");
    assert!(text.contains("sasl.jaas.config"), "{text}");
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_named_with_those_that_are() {
    let error = refused(Mechanism::ScramSha512, |mut peer| async move {
        peer.answer_handshake("PLAIN", ErrorCode::UNSUPPORTED_SASL_MECHANISM)
            .await;
        peer.request().await;
    });
    let text = error.await.to_string();
    assert!(text.contains("SCRAM-SHA-512, only PLAIN"), "{text}");
}

#[tokio::test]
async fn a_broker_that_cannot_prove_that_it_knows_the_password_is_left() {
    let error = refused(Mechanism::ScramSha256, |mut peer| async move {
        peer.answer_handshake("SCRAM-SHA-256", ErrorCode::NONE)
            .await;
        let (id, first) = peer.token().await;
        let first = String::from_utf8(first).unwrap();
        let nonce = first.strip_prefix("n,,n=alice,r=").unwrap();
        let challenge = format!("r={nonce}x,s=AAAA,i=4096");
        let answer =
            |token: String| SaslAuthenticateResponse::default().with_auth_bytes(token.into());
        peer.answer_token(id, answer(challenge)).await;
        let (id, last) = peer.token().await;
        assert!(last.starts_with(b"c=biws,r="));
        peer.answer_token(id, answer("v=AAAA".into())).await;
        peer.request().await;
    });
    let text = error.await.to_string();
    assert!(
        text.contains("not shown that it knows the password"),
        "{text}"
    );
}

#[tokio::test]
async fn a_session_that_ends_is_renewed_before_the_next_requests_which_keep_their_order() {
    let connection = open_with(settings_for(Mechanism::Plain), |mut peer| async move {
        peer.shake_hands_for_sasl().await;
        peer.let_in(1).await;
        peer.let_in(0).await;
        for _ in 0..3 {
            peer.answer_describe().await;
        }
        peer.request().await;
    });
    let connection = connection.await.unwrap();
    // The session lasts less than this.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let all = tokio::join!(
        describe(&connection),
        describe(&connection),
        describe(&connection)
    );
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok(), "{all:?}");
}

#[tokio::test]
async fn when_it_is_not_renewed_everyone_who_waits_learns_why() {
    let connection = open_with(settings_for(Mechanism::Plain), |mut peer| async move {
        peer.shake_hands_for_sasl().await;
        peer.let_in(1).await;
        peer.answer_handshake("PLAIN", ErrorCode::NONE).await;
        let (id, _) = peer.token().await;
        let code = ErrorCode::SASL_AUTHENTICATION_FAILED.0;
        let response = SaslAuthenticateResponse::default().with_error_code(code);
        peer.answer_token(id, response).await;
    });
    let connection = connection.await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let (first, second) = tokio::join!(describe(&connection), describe(&connection));
    for outcome in [first, second] {
        assert_eq!(outcome.unwrap_err().kind(), FaultKind::Authentication);
    }
    assert!(connection.is_closed());
}

/// A link with a token in a file; the file lives as long as what is returned.
fn settings_with_token(token: &str) -> (Settings, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), token).unwrap();
    let oauth = OAuth {
        from: TokenFrom::File(file.path().to_owned()),
        refresh: Refresh {
            factor_thousandths: 800,
            jitter_thousandths: 50,
            min_period_seconds: 60,
            buffer_seconds: 300,
        },
        retry_backoff_ms: 1,
        retry_backoff_max_ms: 1,
        extensions: [("pool".to_owned(), "p-1".to_owned())].into(),
    };
    let settings = Settings {
        tokens: Some(TokenSource::new(oauth.clone())),
        security: Arc::new(Security {
            sasl: Some(Sasl {
                mechanism: Mechanism::OAuthBearer,
                login: Login::Token(Box::new(oauth)),
            }),
            ..Security::default()
        }),
        ..settings()
    };
    (settings, file)
}

/// Expires in the year 2100.
const TOKEN: &str = "e30.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln";

#[tokio::test]
async fn a_token_is_shown_with_the_links_extensions() {
    let (settings, _file) = settings_with_token(TOKEN);
    let connection = open_with(settings, |mut peer| async move {
        peer.shake_hands_for_sasl().await;
        peer.answer_handshake("OAUTHBEARER", ErrorCode::NONE).await;
        let (id, first) = peer.token().await;
        let wanted = format!("n,,\u{1}auth=Bearer {TOKEN}\u{1}pool=p-1\u{1}\u{1}");
        assert_eq!(first, wanted.as_bytes());
        peer.answer_token(id, SaslAuthenticateResponse::default())
            .await;
        peer.answer_describe().await;
        peer.request().await;
    });
    describe(&connection.await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_refused_token_is_told_in_the_brokers_words_after_ours() {
    let (settings, _file) = settings_with_token(TOKEN);
    let opened = open_with(settings, |mut peer| async move {
        peer.shake_hands_for_sasl().await;
        peer.answer_handshake("OAUTHBEARER", ErrorCode::NONE).await;
        let (id, _) = peer.token().await;
        let json = r#"{"status":"invalid_token"}"#;
        let answer = SaslAuthenticateResponse::default().with_auth_bytes(json.into());
        peer.answer_token(id, answer).await;
        let (id, last) = peer.token().await;
        assert_eq!(last, b"\x01");
        let failed = SaslAuthenticateResponse::default()
            .with_error_code(ErrorCode::SASL_AUTHENTICATION_FAILED.0)
            .with_error_message(Some(wire_text(json)));
        peer.answer_token(id, failed).await;
    });
    let error = opened.await.err().unwrap();
    assert_eq!(error.kind(), FaultKind::Authentication);
    let text = error.to_string();
    assert!(text.contains("refused the link's token"), "{text}");
    assert!(
        text.contains("invalid_token") && !text.contains(TOKEN),
        "{text}"
    );
}

#[tokio::test]
async fn without_a_token_the_source_is_not_troubled() {
    let (settings, file) = settings_with_token(TOKEN);
    drop(file);
    let opened = open_with(settings, |mut peer| async move {
        peer.shake_hands_for_sasl().await;
        let mut rest = Vec::new();
        peer.0.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    });
    let error = opened.await.err().unwrap();
    assert!(matches!(error, SourceError::NoToken { .. }), "{error}");
    assert!(error.is_retriable());
}

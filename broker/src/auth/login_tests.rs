//! Logins frame by frame, as `SaslServerAuthenticatorTest` and `SaslAuthenticatorTest` have them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use carrick_protocol::client;
use carrick_protocol::credentials::scram::{Client, Hash, ServerProof};
use carrick_protocol::credentials::{Mechanism, Secret};
use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{
    ApiVersionsRequest, MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};
use proptest::prelude::*;

use super::login::{Known, Login, Step};
use super::mechanisms::tests::of;
use super::users::tests::{open, set};
use super::{Mechanisms, Users};
use crate::metadata::memory::MemoryMetadata;
use crate::principal::Principal;

const PLAIN: &str = "listener.name.inside.plain.sasl.jaas.config=\
                     a.PlainLoginModule required user_ann=\"open\" user_bob=\"too\";";

/// A listener with its users: ann and bob, for all mechanisms with the password `open`.
struct World {
    mechanisms: Arc<Mechanisms>,
    users: Arc<Users>,
}

impl World {
    fn new(overrides: &[&str]) -> Self {
        let all = "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512";
        let properties = [&[all, PLAIN], overrides].concat();
        let users = open(&MemoryMetadata::new());
        for user in ["ann", "bob"] {
            set(&users, user, Mechanism::ScramSha256, "open");
            set(&users, user, Mechanism::ScramSha512, "open");
        }
        Self {
            mechanisms: Arc::new(of(&properties).unwrap()),
            users: Arc::new(users),
        }
    }

    fn login(&self) -> Login {
        Login::first(Arc::clone(&self.mechanisms), Arc::clone(&self.users))
    }

    fn again(&self, before: &Known) -> Login {
        let (mechanisms, users) = (Arc::clone(&self.mechanisms), Arc::clone(&self.users));
        Login::again(mechanisms, users, before.clone())
    }
}

fn frame<R: Request>(version: i16, request: &R) -> Bytes {
    let mut frame = client::encode_request(7, "test", request, version).unwrap();
    frame.advance(4);
    frame
}

fn decoded<M: Decodable + HeaderVersion>(mut answer: Bytes, version: i16) -> M {
    assert_eq!(usize::try_from(answer.get_i32()).unwrap(), answer.len());
    assert_eq!(answer.get_i32(), 7, "the correlation id");
    if M::header_version(version) >= 1 {
        answer.advance(1);
    }
    M::decode(&mut answer, version).unwrap()
}

fn handshake(version: i16, mechanism: &str) -> Bytes {
    let mechanism = StrBytes::from_string(mechanism.to_owned());
    let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
    frame(version, &request)
}

fn message(version: i16, bytes: impl Into<Bytes>) -> Bytes {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(bytes.into());
    frame(version, &request)
}

async fn shake(login: &mut Login, mechanism: &str) {
    let step = login.take(handshake(1, mechanism)).await;
    let Step::Answer(answer) = step else {
        panic!("{step:?}");
    };
    let answer: SaslHandshakeResponse = decoded(answer, 1);
    assert_eq!(answer.error_code, 0);
}

/// Sends the last message of a mechanism: the answer, and who the client is if it is let in.
async fn last(
    login: &mut Login,
    bytes: Bytes,
) -> Result<(SaslAuthenticateResponse, Known), String> {
    match login.take(message(2, bytes)).await {
        Step::Done(answer, known) => {
            let answer: SaslAuthenticateResponse = decoded(answer, 2);
            assert_eq!(answer.error_code, 0);
            Ok((answer, known))
        }
        Step::Refused { answer, .. } => {
            let answer: SaslAuthenticateResponse = decoded(answer.unwrap(), 2);
            let code = ErrorCode(answer.error_code);
            assert_eq!(code, ErrorCode::SASL_AUTHENTICATION_FAILED);
            Err(answer.error_message.unwrap().to_string())
        }
        step => panic!("{step:?}"),
    }
}

fn scram(mechanism: Mechanism, user: &str, password: &str) -> Client {
    let (user, password) = (Secret::new(user), Secret::new(password));
    let hash = Hash::of(mechanism).unwrap();
    Client::new(hash, &user, password, false, "nonce".to_owned())
}

/// The server's first message answered: the client's last.
async fn challenged(login: &mut Login, client: &Client) -> (Bytes, ServerProof) {
    let step = login.take(message(2, client.first())).await;
    let Step::Answer(answer) = step else {
        panic!("{step:?}");
    };
    let answer: SaslAuthenticateResponse = decoded(answer, 2);
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 0));
    let (last, proof) = client.last(&answer.auth_bytes).unwrap();
    (last.into(), proof)
}

async fn log_in(
    login: &mut Login,
    mechanism: Mechanism,
    user: &str,
    password: &str,
) -> Result<(i64, Known), String> {
    shake(login, mechanism.name()).await;
    if mechanism == Mechanism::Plain {
        let (answer, known) = last(login, format!("\0{user}\0{password}").into()).await?;
        return Ok((answer.session_lifetime_ms, known));
    }
    let client = scram(mechanism, user, password);
    let (proof_of_client, proof) = challenged(login, &client).await;
    let (answer, known) = last(login, proof_of_client).await?;
    proof.verify(&answer.auth_bytes).unwrap();
    Ok((answer.session_lifetime_ms, known))
}

const ALL: [Mechanism; 3] = [
    Mechanism::Plain,
    Mechanism::ScramSha256,
    Mechanism::ScramSha512,
];

#[tokio::test]
async fn each_mechanism_lets_its_users_in_and_nobody_else() {
    let world = World::new(&[]);
    for mechanism in ALL {
        let (lifetime_ms, known) = log_in(&mut world.login(), mechanism, "ann", "open")
            .await
            .unwrap();
        assert_eq!(lifetime_ms, 0);
        let expected = Known {
            principal: Principal::user("ann"),
            mechanism,
            expires: None,
        };
        assert_eq!(known, expected);
        let mut texts = Vec::new();
        for (user, password) in [("ann", "wrong"), ("eve", "open")] {
            let refused = log_in(&mut world.login(), mechanism, user, password).await;
            texts.push(refused.unwrap_err());
        }
        assert_eq!(texts[0], texts[1], "whether a user exists does not show");
        let expected = match mechanism {
            Mechanism::Plain => "Authentication failed: Invalid username or password".to_owned(),
            other => format!(
                "Authentication failed during authentication due to invalid credentials with SASL \
                 mechanism {}",
                other.name()
            ),
        };
        assert_eq!(texts[0], expected);
    }
}

#[tokio::test]
async fn a_changed_password_counts_from_the_next_login_on() {
    let world = World::new(&[]);
    let mechanism = Mechanism::ScramSha512;
    let mut login = world.login();
    shake(&mut login, mechanism.name()).await;
    let (proof, _) = challenged(&mut login, &scram(mechanism, "ann", "open")).await;
    set(&world.users, "ann", mechanism, "new");
    assert!(last(&mut login, proof).await.is_ok(), "it had begun before");
    assert!(
        log_in(&mut world.login(), mechanism, "ann", "open")
            .await
            .is_err()
    );
    assert!(
        log_in(&mut world.login(), mechanism, "ann", "new")
            .await
            .is_ok()
    );
    world.users.remove("ann", mechanism).unwrap();
    assert!(
        log_in(&mut world.login(), mechanism, "ann", "new")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn plain_messages_that_are_malformed_or_ask_for_another_name_are_refused() {
    let world = World::new(&[]);
    let hidden = "Authentication failed during authentication due to invalid credentials with SASL \
                  mechanism PLAIN";
    let other = "Authentication failed: Client requested an authorization id that is different \
                 from username";
    for (bytes, text) in [
        (&b""[..], hidden),
        (b"ann", hidden),
        (b"\0ann", hidden),
        (b"\0ann\0", hidden),
        (b"\0\0open", hidden),
        (b"\0ann\0open\0", hidden),
        (b"\0ann\0open\0x", hidden),
        (b"\0ann\0\xff", hidden),
        (b"bob\0ann\0open", other),
    ] {
        let mut login = world.login();
        shake(&mut login, "PLAIN").await;
        let refused = last(&mut login, Bytes::from_static(bytes)).await;
        assert_eq!(refused.unwrap_err(), text, "{bytes:?}");
    }
    let mut login = world.login();
    shake(&mut login, "PLAIN").await;
    assert!(last(&mut login, "ann\0ann\0open".into()).await.is_ok());
}

#[tokio::test]
async fn scram_asks_for_nothing_that_is_not_there() {
    let world = World::new(&[]);
    for (first, is_told) in [
        ("n,,n=ann,r=x,tokenauth=true", false),
        ("p=tls-unique,,n=ann,r=x", false),
        ("n,a=bob,n=ann,r=x", true),
        ("n,a=bob,n=eve,r=x", true),
        ("", false),
    ] {
        let mut login = world.login();
        shake(&mut login, "SCRAM-SHA-256").await;
        let refused = last(&mut login, first.into()).await.unwrap_err();
        assert_eq!(
            refused.contains("different from username"),
            is_told,
            "{first}"
        );
    }
}

#[tokio::test]
async fn a_mechanism_that_is_not_enabled_is_refused_with_those_that_are() {
    let world = World::new(&[]);
    for version in [0, 1] {
        for name in ["GSSAPI", "plain", ""] {
            let mut login = world.login();
            let Step::Refused { answer, .. } = login.take(handshake(version, name)).await else {
                panic!("{name} is not refused");
            };
            let answer: SaslHandshakeResponse = decoded(answer.unwrap(), version);
            let code = ErrorCode(answer.error_code);
            assert_eq!(code, ErrorCode::UNSUPPORTED_SASL_MECHANISM);
            let names: Vec<_> = answer.mechanisms.iter().map(|name| &**name).collect();
            assert_eq!(names, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]);
            assert!(is_closed(&mut login, handshake(1, "PLAIN")).await);
        }
    }
}

/// Whether the frame closes the connection without an answer.
async fn is_closed(login: &mut Login, frame: Bytes) -> bool {
    let step = login.take(frame).await;
    matches!(step, Step::Refused { answer: None, .. })
}

#[tokio::test]
async fn tokens_come_without_headers_after_a_handshake_of_version_0() {
    let world = World::new(&["connections.max.reauth.ms=1000"]);
    let mut login = world.login();
    assert!(matches!(
        login.take(handshake(0, "PLAIN")).await,
        Step::Answer(_)
    ));
    let Step::Done(answer, known) = login.take("\0ann\0open".into()).await else {
        panic!("the client is not let in");
    };
    assert_eq!(&answer[..], [0; 4]);
    assert!(known.expires.is_some());

    let client = scram(Mechanism::ScramSha256, "ann", "open");
    let mut login = world.login();
    assert!(matches!(
        login.take(handshake(0, "SCRAM-SHA-256")).await,
        Step::Answer(_)
    ));
    let Step::Answer(mut first) = login.take(client.first().into()).await else {
        panic!("no challenge");
    };
    first.advance(4);
    let (proof, server) = client.last(&first).unwrap();
    let Step::Done(mut answer, _) = login.take(proof.into()).await else {
        panic!("the client is not let in");
    };
    answer.advance(4);
    server.verify(&answer).unwrap();

    let mut login = world.login();
    assert!(matches!(
        login.take(handshake(0, "PLAIN")).await,
        Step::Answer(_)
    ));
    assert!(is_closed(&mut login, "\0ann\0wrong".into()).await);
}

#[tokio::test]
async fn api_versions_may_be_asked_for_once_and_before_the_handshake() {
    let world = World::new(&[]);
    let versions = || frame(0, &ApiVersionsRequest::default());
    let answered = |code: u8| [[0; 8].as_slice(), &[0, code], &[0; 4]].concat();

    let mut login = world.login();
    assert!(matches!(login.take(versions()).await, Step::Versions(_)));
    // UNSUPPORTED_VERSION: the client asks in another one.
    login.versions_answered(&answered(35));
    assert!(matches!(login.take(versions()).await, Step::Versions(_)));
    login.versions_answered(&answered(0));
    assert!(is_closed(&mut login, versions()).await);

    let mut login = world.login();
    assert!(matches!(login.take(versions()).await, Step::Versions(_)));
    login.versions_answered(&answered(0));
    assert!(
        log_in(&mut login, Mechanism::Plain, "ann", "open")
            .await
            .is_ok()
    );
    assert!(is_closed(&mut login, versions()).await, "the login is over");
}

#[tokio::test]
async fn what_does_not_belong_to_a_login_closes_the_connection() {
    let world = World::new(&[]);
    let metadata = frame(1, &MetadataRequest::default());
    let strays = [
        metadata.clone(),
        message(1, "\0ann\0open"),
        Bytes::from_static(b"GET / HTTP/1.1\r\n"),
        Bytes::new(),
        handshake(1, "PLAIN").slice(..12),
    ];
    for stray in &strays {
        assert!(
            is_closed(&mut world.login(), stray.clone()).await,
            "{stray:?}"
        );
    }
    for stray in [
        metadata,
        frame(0, &ApiVersionsRequest::default()),
        Bytes::new(),
    ] {
        let mut login = world.login();
        shake(&mut login, "SCRAM-SHA-256").await;
        assert!(is_closed(&mut login, stray).await);
    }
    let mut login = world.login();
    shake(&mut login, "PLAIN").await;
    let Step::Refused { answer, .. } = login.take(handshake(1, "PLAIN")).await else {
        panic!("a second handshake is not refused");
    };
    let answer: SaslHandshakeResponse = decoded(answer.unwrap(), 1);
    assert_eq!(ErrorCode(answer.error_code), ErrorCode::ILLEGAL_SASL_STATE);
}

#[tokio::test]
async fn a_session_lasts_as_long_as_the_client_is_told() {
    let world = World::new(&[
        "connections.max.reauth.ms=60000",
        "listener.name.inside.plain.connections.max.reauth.ms=5000",
    ]);
    for (mechanism, most_ms) in [(Mechanism::Plain, 5_000), (Mechanism::ScramSha256, 60_000)] {
        let login = log_in(&mut world.login(), mechanism, "ann", "open").await;
        let (lifetime_ms, known) = login.unwrap();
        assert!(
            (most_ms - 1_000..=most_ms).contains(&lifetime_ms),
            "{lifetime_ms}"
        );
        let left = known.expires.unwrap() - std::time::Instant::now();
        assert!(left <= Duration::from_millis(most_ms.try_into().unwrap()));
    }
    let mut login = world.login();
    shake(&mut login, "PLAIN").await;
    let step = login.take(message(0, "\0ann\0open")).await;
    assert!(
        matches!(step, Step::Done(..)),
        "version 0 has no lifetime: {step:?}"
    );
}

#[tokio::test]
async fn another_login_keeps_user_and_mechanism() {
    let world = World::new(&["connections.max.reauth.ms=60000"]);
    let mechanism = Mechanism::ScramSha256;
    let (_, ann) = log_in(&mut world.login(), mechanism, "ann", "open")
        .await
        .unwrap();
    let (_, again) = log_in(&mut world.again(&ann), mechanism, "ann", "open")
        .await
        .unwrap();
    assert_eq!(again.principal, ann.principal);
    assert!(again.expires >= ann.expires);

    let refused = log_in(&mut world.again(&ann), mechanism, "bob", "open").await;
    assert_eq!(
        refused.unwrap_err(),
        "Cannot change principals during re-authentication from User.ann: User.bob"
    );
    let refused = log_in(&mut world.again(&ann), mechanism, "ann", "wrong").await;
    assert_eq!(
        refused.unwrap_err(),
        "Authentication failed during re-authentication due to invalid credentials with SASL \
         mechanism SCRAM-SHA-256"
    );
    let mut login = world.again(&ann);
    shake(&mut login, "PLAIN").await;
    assert!(is_closed(&mut login, message(2, "\0ann\0open")).await);
    let mut login = world.again(&ann);
    assert!(is_closed(&mut login, frame(0, &ApiVersionsRequest::default())).await);
}

fn any_frame() -> impl Strategy<Value = Bytes> {
    let name = prop_oneof!["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "[A-Z-]{0,14}"];
    let text = "(n,,|n=ann|,r=x|c=biws|,p=AAAA|\0ann|\0wrong|[ -~]{0,8}){0,5}";
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from),
        (0..2_i16, name).prop_map(|(version, name)| handshake(version, &name)),
        (0..3_i16, text).prop_map(|(version, text)| message(version, text)),
        text.prop_map(Bytes::from),
        (
            any::<i16>(),
            any::<i16>(),
            prop::collection::vec(any::<u8>(), 0..40)
        )
            .prop_map(|(key, version, rest)| {
                let head = [key.to_be_bytes(), version.to_be_bytes()].concat();
                Bytes::from([&head[..], &rest].concat())
            }),
        Just(frame(0, &ApiVersionsRequest::default())),
    ]
}

#[test]
fn whatever_is_sent_nobody_gets_in_without_a_password() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let world = World::new(&[]);
    let known = Known {
        principal: Principal::user("ann"),
        mechanism: Mechanism::Plain,
        expires: None,
    };
    proptest!(ProptestConfig::with_cases(4_000), |(
        frames in prop::collection::vec(any_frame(), 1..8),
        is_again in any::<bool>(),
    )| {
        let mut login = match is_again {
            true => world.again(&known),
            false => world.login(),
        };
        for frame in frames {
            let step = runtime.block_on(login.take(frame));
            prop_assert!(!matches!(step, Step::Done(..)), "{:?}", step);
        }
    });
}

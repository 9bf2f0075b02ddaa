//! Who gets in with which credentials, and what those are answered who don't.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carrick_protocol::credentials::Mechanism;
use carrick_protocol::credentials::scram::Credential;

use super::*;
use crate::http::authn::basic::encode;
use crate::testing::audit_lines;
use crate::tls::testing::{Files, identity};

const METHODS: &str = "rest.authentication.methods=basic";

/// A broker that asks for passwords, with the user `ann`.
async fn asking(further: &[&str]) -> Rig {
    let mut properties = vec![METHODS];
    properties.extend(further);
    let rig = Rig::start_with(&properties).await;
    set(&rig, "open sesame");
    rig
}

/// Sets the password of `ann`.
fn set(rig: &Rig, password: &str) {
    let mechanism = Mechanism::ScramSha256;
    let credential = Credential::of_password(mechanism, (b"salt of the earth", 4096), password);
    let users = &rig.running.broker.users;
    users.set("ann", mechanism, credential.unwrap()).unwrap();
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", encode(user, password))
}

async fn get(rig: &Rig, path: &str, authorization: &str) -> (u16, Value) {
    let url = format!("{}{path}", rig.url());
    let headers = [("authorization", authorization)];
    let headers = if authorization.is_empty() {
        &[][..]
    } else {
        &headers[..]
    };
    send("GET", &url, headers, None).await
}

#[test]
fn only_the_right_password_opens_what_is_not_open_to_all() {
    runtime().block_on(async {
        let rig = asking(&[]).await;
        let right = basic("ann", "open sesame");
        for path in ["/kafka/v3/clusters", "/metrics", "/no/such/route"] {
            let wrong = [
                basic("ann", "x"),
                basic("bob", "open sesame"),
                "Basic ?".to_owned(),
            ];
            for credentials in wrong.iter().map(String::as_str).chain(["", "Bearer x"]) {
                let (status, answer) = get(&rig, path, credentials).await;
                let code = &answer["error_code"];
                assert_eq!(
                    (status, code),
                    (401, &json!(40101)),
                    "{path} {credentials}: {answer}"
                );
                assert!(!answer.to_string().contains("sesame"), "{answer}");
            }
            assert_ne!(get(&rig, path, &right).await.0, 401, "{path}");
        }
        for path in ["/healthz", "/readyz"] {
            for credentials in ["", &*basic("ann", "x"), &*right] {
                assert_eq!(get(&rig, path, credentials).await.0, 200, "{path}");
            }
        }
        rig.running.shutdown().await;
    });
}

#[test]
fn a_refusal_says_how_to_authenticate_before_the_body_is_read() {
    runtime().block_on(async {
        let rig = asking(&[]).await;
        let url = format!("{}/kafka/v3/clusters/x/topics", rig.url());
        let answer = announce(&rig.url(), &url, 2 << 20);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        let expected = "www-authenticate: Basic realm=\"carrick\", charset=\"UTF-8\"";
        assert!(answer.contains(expected), "{answer}");
        rig.running.shutdown().await;
    });
}

#[test]
fn what_a_user_changes_and_who_is_not_let_in_is_in_the_audit_log() {
    runtime().block_on(async {
        let rig = asking(&[]).await;
        let id = &rig.running.broker.cluster_id;
        let url = format!("{}/kafka/v3/clusters/{id}/topics", rig.url());
        let right = basic("ann", "open sesame");
        let headers = [("authorization", right.as_str())];
        let body = Some(json!({"topic_name": "t"}));
        assert_eq!(send("POST", &url, &headers, body).await.0, 201);
        assert_eq!(
            get(&rig, "/metrics", &basic("mallory", "guess")).await.0,
            401
        );
        let lines = audit_lines(&rig.running.broker, rig.dir.path()).await;
        let [made, refused] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(
            (&made["who"], &made["resource"]),
            (&json!("User:ann"), &json!("t"))
        );
        assert_eq!(refused["outcome"], "not_authenticated", "{refused}");
        assert_eq!(refused["error"], "wrong user or password", "{refused}");
        assert_eq!(
            (&refused["resource_type"], &refused["resource"]),
            (&json!("user"), &json!("mallory"))
        );
        let text = json!(lines).to_string();
        assert!(
            !text.contains("sesame") && !text.contains("guess"),
            "{text}"
        );
        rig.running.shutdown().await;
    });
}

/// Else a client could guess without being slowed down, and unseen.
#[test]
fn whoever_does_not_wait_for_the_refusal_is_in_the_audit_log_too() {
    runtime().block_on(async {
        use std::io::Write;
        let rig = asking(&[]).await;
        let address = rig.running.rest_addresses()[0];
        let mut before = 0;
        for path in ["/metrics", "/healthz"] {
            let wrong = basic("ann", path);
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {wrong}\r\n\r\n");
            let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
            // One that is closed before it was read is no attempt.
            loop {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                stream.write_all(request.as_bytes()).unwrap();
                drop(stream);
                let lines = audit_lines(&rig.running.broker, rig.dir.path()).await;
                let refused = lines
                    .iter()
                    .filter(|it| it["outcome"] == "not_authenticated");
                let refused = refused.count();
                if refused > before {
                    before = refused;
                    break;
                }
                assert!(std::time::Instant::now() < until, "{path}: {lines:?}");
            }
        }
        rig.running.shutdown().await;
    });
}

#[test]
fn a_changed_password_counts_from_the_next_request_on() {
    runtime().block_on(async {
        let rig = asking(&[]).await;
        let (old, new) = (basic("ann", "open sesame"), basic("ann", "other"));
        assert_eq!(get(&rig, "/metrics", &old).await.0, 200);
        set(&rig, "other");
        assert_eq!(get(&rig, "/metrics", &old).await.0, 401);
        assert_eq!(get(&rig, "/metrics", &new).await.0, 200);
        let users = &rig.running.broker.users;
        users.remove("ann", Mechanism::ScramSha256).unwrap();
        assert_eq!(get(&rig, "/metrics", &new).await.0, 401);
        rig.running.shutdown().await;
    });
}

#[test]
fn metrics_may_be_open_to_all() {
    runtime().block_on(async {
        let rig = asking(&["rest.metrics.public=true"]).await;
        assert_eq!(get(&rig, "/metrics", "").await.0, 200);
        assert_eq!(get(&rig, "/kafka/v3/clusters", "").await.0, 401);
        rig.running.shutdown().await;
    });
}

#[test]
fn the_command_line_gets_in_with_a_password_from_a_file() {
    runtime().block_on(async {
        let rig = asking(&[]).await;
        let file = rig.dir.path().join("password");
        std::fs::write(&file, "open sesame\n").unwrap();
        let url = rig.url();
        tokio::task::spawn_blocking(move || {
            let file = file.display();
            let with =
                |options: &str| crate::cli::tests::outcome(&url, &format!("topic list {options}"));
            assert_eq!(with(&format!("--user ann --password-file {file}")), Ok(()));
            let refused = with("").unwrap_err();
            assert!(
                refused.contains("--user") && refused.contains("basic"),
                "{refused}"
            );
            let wrong = with(&format!("--user bob --password-file {file}")).unwrap_err();
            assert!(
                wrong.contains("wrong user or password") && wrong.contains("check the user"),
                "{wrong}"
            );
        })
        .await
        .unwrap();
        rig.running.shutdown().await;
    });
}

/// A broker with https that takes passwords and certificates.
async fn with_tls(files: &Files) -> (Rig, String) {
    files.write("ca.pem", &files.servers.pem());
    files.write("ann.pem", &identity(&files.clients, "ann", None));
    files.write("late.pem", &identity(&files.clients, "late", Some(2020)));
    files.write("other-ca.pem", &files.clients.pem());
    let mut set: Vec<String> = files
        .properties()
        .into_iter()
        .map(|property| format!("rest.{property}"))
        .collect();
    set.extend(
        [
            "rest.listeners=https://127.0.0.1:0",
            "rest.authentication.methods=basic,mtls",
            "rest.ssl.client.auth=requested",
            "rest.ssl.principal.mapping.rules=RULE:^CN=(.*?)(,.*)?$/$1/,DEFAULT",
        ]
        .map(str::to_owned),
    );
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let rig = Rig::start_with(&set).await;
    let url = format!(
        "https://localhost:{}",
        rig.running.rest_addresses()[0].port()
    );
    (rig, url)
}

#[test]
fn over_tls_a_certificate_or_a_password_lets_in_and_errors_say_what_to_do() {
    runtime().block_on(async {
        let files = Files::new();
        let (rig, url) = with_tls(&files).await;
        set(&rig, "open sesame");
        files.write("password", "open sesame\n");
        let path = |name: &str| files.path(name).display().to_string();
        let ca = format!("--ca {}", path("ca.pem"));
        let (ann, late) = (path("ann.pem"), path("late.pem"));
        let (other, password) = (path("other-ca.pem"), path("password"));
        let at = url.clone();
        tokio::task::spawn_blocking(move || {
            let with = |url: &str, command: &str, options: &str| {
                crate::cli::tests::outcome(url, &format!("topic {command} {options}"))
            };
            let cert = format!("{ca} --cert {ann}");
            assert_eq!(with(&at, "create by-certificate", &cert), Ok(()));
            let basic = format!("{ca} --user ann --password-file {password}");
            assert_eq!(with(&at, "create by-password", &basic), Ok(()));
            let none = with(&at, "list", &ca).unwrap_err();
            assert!(none.contains("basic, mtls"), "{none}");
            let unknown = with(&at, "list", &format!("--ca {other}")).unwrap_err();
            assert!(unknown.contains("--ca"), "{unknown}");
            let expired = with(&at, "list", &format!("{ca} --cert {late}")).unwrap_err();
            assert!(expired.contains("cannot reach Carrick"), "{expired}");
            let other_name = at.replace("localhost", "127.0.0.2");
            let other_name = with(&other_name, "list", &ca);
            assert!(other_name.is_err());
            let plain = with(&at.replace("https:", "http:"), "list", "");
            assert!(plain.unwrap_err().contains("cannot reach Carrick"));
        })
        .await
        .unwrap();
        let lines = audit_lines(&rig.running.broker, rig.dir.path()).await;
        let made: Vec<_> = lines
            .iter()
            .filter(|line| line["action"] == "CreateTopics")
            .collect();
        assert_eq!(made.len(), 2, "{lines:?}");
        assert!(
            made.iter().all(|line| line["who"] == "User:ann"),
            "{made:?}"
        );
        rig.running.shutdown().await;
    });
}

#[test]
fn a_client_that_does_not_shake_hands_is_cut_off_and_hinders_nobody() {
    runtime().block_on(async {
        let files = Files::new();
        let (rig, url) = with_tls(&files).await;
        let address = rig.running.rest_addresses()[0];
        let (ca, ann) = (files.path("ca.pem"), files.path("ann.pem"));
        tokio::task::spawn_blocking(move || {
            let idle: Vec<_> = (0..300)
                .map(|_| TcpStream::connect(address).unwrap())
                .collect();
            let options = format!("topic list --ca {} --cert {}", ca.display(), ann.display());
            assert_eq!(crate::cli::tests::outcome(&url, &options), Ok(()));
            drop(idle);
        })
        .await
        .unwrap();
        rig.running.shutdown().await;
    });
}

/// A token that this key has signed, which ends then.
fn token(key: &rcgen::KeyPair, user: &str, expires_s: u64) -> String {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({"alg": "ES256", "kid": "k", "typ": "JWT"}));
    let claims = part(json!({"sub": user, "iat": expires_s - 7_200, "exp": expires_s}));
    let message = format!("{header}.{claims}");
    let key = jsonwebtoken::EncodingKey::from_ec_der(&key.serialize_der());
    let algorithm = jsonwebtoken::Algorithm::ES256;
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("Bearer {message}.{signature}")
}

#[test]
fn a_token_of_the_provider_lets_in_until_it_ends() {
    runtime().block_on(async {
        let key = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (own, other) = (key(), key());
        let point = &own.public_key_raw()[1..];
        let [x, y] = [&point[..32], &point[32..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        let keys = json!({"keys": [{"kty": "EC", "kid": "k", "crv": "P-256", "x": x, "y": y}]});
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        std::fs::write(&file, keys.to_string()).unwrap();
        let url = format!(
            "sasl.oauthbearer.jwks.endpoint.url=file://{}",
            file.display()
        );
        let rig = Rig::start_with(&["rest.authentication.methods=bearer", &url]).await;
        let now_s = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let path = "/kafka/v3/clusters";
        assert_eq!(
            get(&rig, path, &token(&own, "ann", now_s + 600)).await.0,
            200
        );
        let ended = token(&own, "ann", now_s - 600);
        for wrong in [
            ended,
            token(&other, "ann", now_s + 600),
            basic("ann", "open sesame"),
        ] {
            let (status, answer) = get(&rig, path, &wrong).await;
            assert_eq!(status, 401, "{answer}");
            assert!(!answer.to_string().contains(&wrong[8..]), "{answer}");
        }
        rig.running.shutdown().await;
    });
}

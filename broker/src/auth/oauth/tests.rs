//! A table of good and bad tokens, and logins with them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use ring::signature::{KeyPair, RsaKeyPair, RsaPublicKeyComponents};
use serde_json::{Value, json};

use super::keys::Keys;
use super::settings::Expected;
use super::*;
use crate::testing::values;

/// A key for these tests, in PKCS#1.
const RSA: &str = "\
    MIIEpAIBAAKCAQEAq3GWPE1eHUxCKRNgvjawH0KFRhikUDGvLYGATpMNGt84RrHYe9Vt+M8GMQX5sbXS/kCZ1QqYILMwo/byChE48lCAYN/+oa\
    3POalNz+0Y4Vx2K8aE0gfqnjVK/80482DDoSbwKfUP+1nfqxSYi46Z/xBBRtqhtAFJJya04KryvR6uetVGIbLPP3FgypkbhDnkMU3NAfFdhG5z\
    lSVtGxGXpepFFT3eNcpmtf5Vs14dOnKOdV+DFIfXZ1k1VGS4WizV4IcuxwS7+yFY/BgdqUBSojVF3FCV/g1ytTFQtWIK+lWtEAim9Bx4FLSMR4\
    flbd+WvbTn4fqL6NShafVrgU46gwIDAQABAoIBAAJn5KYnUR5zdyuLubwm7k/HUjF1SmZUXCifpu+eAVK9i9T0zUc869R7AJOS3uR52w0gVkhM\
    DsMetfGxwccXDh0wY1d4rTe9mv6B0WANQV/K5Amh496X/S3dLOvsCFQ5/mTLiWvn+XfF1MKvgPiBtsgtL+KmUhtBjVzpnnjXTUgOw+rbEMqZTm\
    RfRQCrUvCbluBoUu1IRp4QSv8d+N5sOHpWvOKiEE7oJGQSNewmZHExzYQCdEmJEYexqaVzjR8873bkNWdIdX0MW5bLksqaDa+HB5ovucmZiSdX\
    F/148Q+q9Fn6egO+7aSTHGMqxYDKgvBqg1GSi0sDdw/XHS57IkkCgYEA6Sqynli6zc8+UNsPA6gCILBGu382ovG+QbsPCkMNYZASlzblby32ju\
    JG6+DeOPKKwl2KYd0p/gdNK4cUi81Q3IruoCy6idUhIjj1RNIj2tGjWq+YFHeujFb591Jca+TRJGSq2NaMUU/VlSEqKSxx5IR6FYtvQ3ZM2Oy9\
    cpc7iS8CgYEAvDuKlSKqt2QLtXw07je+iqBVeSu7OHvLdRnvDFlWQ0p8UGvcNTt6OHOzJZ21c2GKEevcGVUNYmUwgHH0nnV1/aaY8Fs7mV9LGf\
    SjqHMJdZyYeG3znmJHfkuXA35pxqCZ9lzSz9EHjZ90Fcj6W/it4ySBUizT+Q1GKV3mf8EQ5u0CgYEAyM/wM/YhNH3HoqV3geOhqXuH/5Vpfd6L\
    yFqNcn4bOSp3CGrMIPvJ/HcfM6lgWlVxckJTm0N6FgE90j4tUNZMTRUOvT6ojWrUdX/upQ4CuUOR19mhNgd5ef6ym/IADSBti1Vz2vq0sJb8UM\
    rWX82abYA3EPUcp1JsjusdomJjcRsCgYEAm2XohjDlkZul0wGkzRn2U4oEppGE8h+5m4Z6hM5oWgtvUBGL7eKZh2t1ddOajpPzIdJ/leZSs23o\
    udHaast8Spk0YBJhxMAYR2hhiFrYb2GFur7DRnnKniiXlsnRV6sVEIAXhnwCaVg/xRB0KGPIYuKrZQUfRtg/mT0tY0EnzA0CgYBVUFs5wAQQiL\
    VXj4UJmbrh5Edpey98C1LiLcHUi2wOR8o1YgipNm65Ff03tPC3TE+7exkLolQic6euptORsH88nte5OmX+r+10dRt7P5C6Sswaxe+fjzfG5BLK\
    4kBhGTr+KfYYRT4N776g3hRuAoHcuicd/z/M/2d/whKf3lrTRg==";

/// Half past twelve on the day of the tests.
const NOW_S: i64 = 1_700_000_000;

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A provider with one key of each kind.
struct Issuer {
    rsa: Vec<u8>,
    curve: rcgen::KeyPair,
    edwards: rcgen::KeyPair,
}

impl Issuer {
    fn new() -> Self {
        Self {
            rsa: STANDARD.decode(RSA).unwrap(),
            curve: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
            edwards: rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
        }
    }

    fn document(&self) -> Value {
        let pair = RsaKeyPair::from_der(&self.rsa).unwrap();
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let (n, e) = (encoded(public.n), encoded(public.e));
        let point = &self.curve.public_key_raw()[1..];
        let (x, y) = (encoded(&point[..32]), encoded(&point[32..]));
        let edwards = encoded(self.edwards.public_key_raw());
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "n": n, "e": e},
            {"kty": "RSA", "kid": "only-256", "alg": "RS256", "n": n, "e": e},
            {"kty": "EC", "kid": "curve", "crv": "P-256", "x": x, "y": y},
            {"kty": "OKP", "kid": "edwards", "crv": "Ed25519", "x": edwards},
        ]})
    }

    fn keys(&self) -> Keys {
        Keys::parse(self.document().to_string().as_bytes()).unwrap()
    }

    fn sign(&self, algorithm: Algorithm, message: &str) -> String {
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(&self.curve.serialize_der()),
            Algorithm::EdDSA => EncodingKey::from_ed_der(&self.edwards.serialize_der()),
            _ => EncodingKey::from_rsa_der(&self.rsa),
        };
        crypto::sign(message.as_bytes(), &key, algorithm).unwrap()
    }

    fn signed(&self, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            encoded(header.to_string()),
            encoded(claims.to_string())
        );
        let signature = self.sign(algorithm, &message);
        format!("{message}.{signature}")
    }

    /// A token with these claims instead of the usual ones; null takes one away.
    fn token(&self, changes: &Value) -> String {
        let mut claims = json!({
            "sub": "alice", "iss": "https://id.example", "aud": "kafka", "scope": "read write",
            "iat": NOW_S - 100, "exp": NOW_S + 600,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            }
        }
        let header = json!({"alg": "ES256", "kid": "curve"});
        self.signed(Algorithm::ES256, &header, &claims)
    }
}

fn expected() -> Expected {
    Expected {
        audiences: vec!["other".to_owned(), "kafka".to_owned()],
        issuer: Some("https://id.example".to_owned()),
        clock_skew_seconds: 30,
        user_claim: "sub".to_owned(),
        scope_claim: "scope".to_owned(),
    }
}

fn check(keys: &Keys, expected: &Expected, token: &str) -> Result<String, String> {
    let checked = token::check(token, keys, expected, NOW_S * 1000 + 999);
    let verified = checked.map_err(|error| error.to_string())?;
    Ok(format!(
        "{} {}",
        verified.user,
        verified.expires_ms / 1000 - NOW_S
    ))
}

#[test]
fn claims_are_treated_as_kafkas_validator_treats_them() {
    let (issuer, expected) = (Issuer::new(), expected());
    let keys = issuer.keys();
    #[rustfmt::skip]
    let table = [
        (json!({}), Ok("alice 600")),
        (json!({"sub": " bob "}), Ok("bob 600")),
        (json!({"aud": ["x", "other"]}), Ok("alice 600")),
        (json!({"exp": NOW_S + 1}), Ok("alice 1")),
        // The tolerance for clocks.
        (json!({"exp": NOW_S - 29}), Ok("alice -29")),
        (json!({"exp": NOW_S - 30}), Err("it has expired (exp)")),
        (json!({"nbf": NOW_S + 30}), Ok("alice 600")),
        (json!({"nbf": NOW_S + 31}), Err("it does not hold yet (nbf)")),
        (json!({"iat": NOW_S + 500}), Ok("alice 600")),
        (json!({"iat": NOW_S + 601}), Err("it expires before it begins (exp, iat, nbf)")),
        (json!({"exp": NOW_S as f64 + 5.9}), Ok("alice 5")),
        (json!({"exp": null}), Err("it has no claim exp")),
        (json!({"iat": null}), Err("it has no claim iat")),
        (json!({"exp": "1800000000"}), Err("its claim exp is no time")),
        (json!({"exp": -1}), Err("its claim exp is no time")),
        (json!({"nbf": []}), Err("its claim nbf is no time")),
        (json!({"sub": null}), Err("it has no claim sub")),
        (json!({"sub": " "}), Err("it has no claim sub")),
        (json!({"sub": 7}), Err("its claim sub is no text")),
        (json!({"sub": "a\nb"}), Err("its claim sub can't be the name of a user")),
        (json!({"sub": "a".repeat(1025)}), Err("its claim sub can't be the name of a user")),
        (json!({"jti": 7}), Err("its claim jti is no text")),
        (json!({"iss": "https://id.example/"}), Err("it is from another issuer than sasl.oauthbearer.expected.issuer (iss)")),
        (json!({"iss": null}), Err("it is from another issuer than sasl.oauthbearer.expected.issuer (iss)")),
        (json!({"iss": ["https://id.example"]}), Err("its claim iss is no text")),
        (json!({"aud": "kafk"}), Err("it is not for an audience in sasl.oauthbearer.expected.audience (aud)")),
        (json!({"aud": null}), Err("it is not for an audience in sasl.oauthbearer.expected.audience (aud)")),
        (json!({"aud": []}), Err("it is not for an audience in sasl.oauthbearer.expected.audience (aud)")),
        (json!({"aud": ["kafka", 7]}), Err("it is not for an audience in sasl.oauthbearer.expected.audience (aud)")),
        (json!({"scope": ["a", "b"]}), Ok("alice 600")),
        (json!({"scope": null}), Ok("alice 600")),
        (json!({"scope": {"a": 1}}), Ok("alice 600")),
        (json!({"scope": ""}), Err("its claim scope has an empty scope, or one twice")),
        (json!({"scope": ["a", "a "]}), Err("its claim scope has an empty scope, or one twice")),
        (json!({"scope": ["a", 7]}), Err("its claim scope has an empty scope, or one twice")),
    ];
    for (changes, result) in table {
        let result = result.map(str::to_owned).map_err(str::to_owned);
        let token = issuer.token(&changes);
        assert_eq!(check(&keys, &expected, &token), result, "{changes}");
    }
}

#[test]
fn who_expects_no_audience_accepts_no_token_that_has_one_and_any_issuer() {
    let issuer = Issuer::new();
    let open = Expected {
        audiences: Vec::new(),
        issuer: None,
        user_claim: "email".to_owned(),
        ..expected()
    };
    let keys = issuer.keys();
    let changes = json!({"aud": null, "iss": null, "email": "a@b.example"});
    assert_eq!(
        check(&keys, &open, &issuer.token(&changes)),
        Ok("a@b.example 600".to_owned())
    );
    let for_somebody = json!({"email": "a@b.example"});
    let refused = check(&keys, &open, &issuer.token(&for_somebody));
    assert!(refused.unwrap_err().contains("expected.audience"));
}

/// Algorithm that signs, name of it and of the key in the header, and the reason if it is refused.
#[rustfmt::skip]
const SIGNED: &[(Algorithm, &str, Option<&str>, Option<&str>)] = &[
    (Algorithm::RS256, "RS256", Some("rsa"), None),
    (Algorithm::RS384, "RS384", Some("rsa"), None),
    (Algorithm::RS512, "RS512", Some("rsa"), None),
    (Algorithm::PS256, "PS256", Some("rsa"), None),
    (Algorithm::PS512, "PS512", Some("rsa"), None),
    (Algorithm::RS256, "RS256", Some("only-256"), None),
    (Algorithm::ES256, "ES256", Some("curve"), None),
    (Algorithm::EdDSA, "EdDSA", Some("edwards"), None),
    // Without the name of a key, the first one that fits counts.
    (Algorithm::RS256, "RS256", None, None),
    (Algorithm::ES256, "ES256", None, None),
    (Algorithm::ES256, "ES256", Some("rsa"), Some("none of the provider's keys")),
    (Algorithm::RS256, "RS256", Some("curve"), Some("none of the provider's keys")),
    (Algorithm::RS512, "RS512", Some("only-256"), Some("none of the provider's keys")),
    (Algorithm::RS256, "RS256", Some("other"), Some("none of the provider's keys")),
    (Algorithm::ES256, "ES384", None, Some("none of the provider's keys")),
    (Algorithm::RS256, "RS512", Some("rsa"), Some("its signature is wrong")),
    (Algorithm::RS256, "PS256", Some("rsa"), Some("its signature is wrong")),
    (Algorithm::RS256, "none", Some("rsa"), Some("not signed with an algorithm")),
    (Algorithm::RS256, "HS256", Some("rsa"), Some("not signed with an algorithm")),
];

#[test]
fn a_token_is_signed_with_a_key_of_the_provider_and_its_own_kind_of_algorithm() {
    let (issuer, expected) = (Issuer::new(), expected());
    let keys = issuer.keys();
    let claims = json!({"sub": "a", "iss": "https://id.example", "aud": "kafka", "iat": 1, "exp": NOW_S + 1});
    for (algorithm, name, kid, refusal) in SIGNED {
        let header = match kid {
            Some(kid) => json!({"alg": name, "typ": "JWT", "kid": kid}),
            None => json!({"alg": name}),
        };
        let token = issuer.signed(*algorithm, &header, &claims);
        match (check(&keys, &expected, &token), refusal) {
            (Ok(user), None) => assert_eq!(user, "a 1"),
            (Err(reason), Some(words)) => assert!(reason.contains(words), "{header}: {reason}"),
            (checked, _) => panic!("{header}: {checked:?}"),
        }
    }
    let long = json!({"alg": "RS256", "kid": "k".repeat(1001)});
    let refused = check(
        &keys,
        &expected,
        &issuer.signed(Algorithm::RS256, &long, &claims),
    );
    assert_eq!(refused, Err("its key id is too long (kid)".to_owned()));
}

#[test]
fn forgeries_are_refused() {
    let (issuer, expected) = (Issuer::new(), expected());
    let keys = issuer.keys();
    let good = issuer.token(&json!({}));
    assert!(check(&keys, &expected, &good).is_ok());
    let (header, rest) = good.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let none = encoded(r#"{"alg":"none"}"#);
    let none_with_key = encoded(r#"{"alg":"none","kid":"curve"}"#);
    let critical = json!({"alg": "ES256", "kid": "curve", "crit": ["exp"]});
    let embedded = json!({"alg": "ES256", "kid": "mine", "jwk": {"kty": "EC"}});
    let other = Issuer::new().token(&json!({}));
    // The public key as the secret of an HMAC: what is known as key confusion.
    let hmac = {
        let message = format!("{}.{claims}", encoded(r#"{"alg":"HS256","kid":"rsa"}"#));
        let public = issuer.document()["keys"][0]["n"].to_string();
        let key = EncodingKey::from_secret(public.as_bytes());
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    };
    for token in [
        format!("{none}.{claims}."),
        format!("{none}.{claims}"),
        format!("{none_with_key}.{claims}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}.{signature}."),
        format!("{header}.{claims}.{signature}.x"),
        format!("{header}..{signature}"),
        format!("{header}.{}.{signature}", encoded(r#"{"sub":"root"}"#)),
        issuer.signed(Algorithm::ES256, &critical, &json!({})),
        issuer.signed(Algorithm::ES256, &embedded, &json!({})),
        format!("{}{good}", "x".repeat(token::TOKEN_MAX_BYTES)),
        hmac,
        other,
        String::new(),
    ] {
        let refused = check(&keys, &expected, &token).unwrap_err();
        assert!(!refused.contains("alice"), "{refused}");
    }
}

proptest::proptest! {
    #[test]
    fn any_token_is_checked_or_refused(
        text in "([A-Za-z0-9_-]{0,20}[.]?){0,5}",
        claims in proptest::collection::vec(0u8.., 0..60),
        value in "-?[0-9]{1,25}|[0-9][.][0-9]{1,4}e[0-9]{1,3}|\"[a-z]{0,3}\"|null|\\[\\]|[{][}]",
        name in "exp|iat|nbf|aud|iss|sub|scope|jti",
    ) {
        let (issuer, expected) = (Issuer::new(), expected());
        let keys = issuer.keys();
        let now_ms = i64::MAX;
        let _ = token::check(&text, &keys, &expected, now_ms);
        let header = encoded(r#"{"alg":"ES256","kid":"curve"}"#);
        let claims = [claims, format!("{{\"iat\":0,\"exp\":9,\"{name}\":{value}}}").into_bytes()];
        for claims in claims {
            let message = format!("{header}.{}", encoded(claims));
            let signature = issuer.sign(Algorithm::ES256, &message);
            let token = format!("{message}.{signature}");
            for now_ms in [i64::MIN, 0, i64::MAX] {
                let _ = token::check(&token, &keys, &expected, now_ms);
            }
        }
    }
}

/// Keys in a file, as a listener reads them.
struct Listener {
    issuer: Issuer,
    tokens: Arc<Tokens>,
    _folder: tempfile::TempDir,
}

impl Listener {
    fn new() -> Self {
        let issuer = Issuer::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        std::fs::write(&path, issuer.document().to_string()).unwrap();
        let url = format!(
            "listener.name.x.oauthbearer.{URL}=file://{}",
            path.display()
        );
        let values = values(&[
            &url,
            "listener.name.x.oauthbearer.sasl.jaas.config=a.OAuthBearerLoginModule required;",
            "listener.name.x.sasl.oauthbearer.expected.audience=kafka",
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms=1",
        ]);
        let tokens = Arc::new(Tokens::of(&values.listener("X")).unwrap());
        Self {
            issuer,
            tokens,
            _folder: folder,
        }
    }

    /// What the client's first message with a token for now leads to.
    async fn log_in(&self, header: &str, changes: Value) -> Result<Step, Failure> {
        let mut changes = changes;
        let now_s = now_ms() / 1000;
        changes["iat"] = json!(now_s);
        changes["exp"] = json!(now_s + 60);
        let token = self.issuer.token(&changes);
        let message = format!("{header}\u{1}auth=Bearer {token}\u{1}\u{1}");
        let mut exchange = Exchange::new(Arc::clone(&self.tokens));
        exchange.take(message.as_bytes()).await
    }
}

#[tokio::test]
async fn a_client_logs_in_with_a_token_as_itself() {
    let listener = Listener::new();
    for header in ["n,,", "n,a=alice,"] {
        match listener.log_in(header, json!({})).await {
            Ok(Step::Done(verified)) => {
                assert_eq!(verified.user, "alice");
                assert!((1..=60_000).contains(&(verified.expires_ms - now_ms())));
            }
            other => panic!("{header}: {other:?}"),
        }
    }
    match listener.log_in("n,a=root,", json!({})).await {
        Err(Failure::Told(words)) => assert!(words.contains("(root)"), "{words}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        listener.log_in("y,,", json!({})).await,
        Err(Failure::Malformed(_))
    ));
}

#[tokio::test]
async fn a_refused_token_is_answered_in_json_and_the_login_fails_with_the_client_s_word() {
    let listener = Listener::new();
    let refused = listener.log_in("n,,", json!({"aud": "others"})).await;
    assert_eq!(refused, Ok(Step::Refused("{\"status\":\"invalid_token\"}")));
    let mut exchange = Exchange::new(Arc::clone(&listener.tokens));
    // Without a refusal before it, that word is no message.
    assert!(matches!(
        exchange.take(b"\x01").await,
        Err(Failure::Malformed(_))
    ));
    // Another token is not looked at, either: that takes another login.
    let first = b"n,,\x01auth=Bearer a.b.c\x01\x01";
    for next in [&b"\x01"[..], first] {
        let mut exchange = Exchange::new(Arc::clone(&listener.tokens));
        assert!(matches!(exchange.take(first).await, Ok(Step::Refused(_))));
        let failed = exchange.take(next).await;
        assert_eq!(
            failed,
            Err(Failure::Told("{\"status\":\"invalid_token\"}".to_owned()))
        );
    }
}

#[tokio::test]
async fn a_key_that_the_provider_adds_is_found_when_a_client_shows_it() {
    let listener = Listener::new();
    let path = listener._folder.path().join("keys.json");
    let old = listener.issuer.document();
    let mut new = listener.issuer.document();
    new["keys"][2]["kid"] = "curve-2".into();
    std::fs::write(&path, new.to_string()).unwrap();
    let now_s = now_ms() / 1000;
    let claims = json!({"sub": "alice", "aud": "kafka", "iat": now_s, "exp": now_s + 600});
    let header = json!({"alg": "ES256", "kid": "curve-2"});
    let token = listener.issuer.signed(Algorithm::ES256, &header, &claims);
    let limit = std::time::Instant::now() + Duration::from_secs(60);
    while let Err(error) = listener.tokens.verify(&token).await {
        assert!(matches!(error, TokenError::UnknownKey(_)), "{error}");
        assert!(std::time::Instant::now() < limit, "{old}");
    }
}

#[test]
fn settings_that_are_wrong_are_refused_by_name() {
    let refused = |overrides: &[&str]| {
        let values = values(overrides);
        Tokens::of(&values.listener("X")).unwrap_err().to_string()
    };
    let empty = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&empty, "{\"keys\":[]}").unwrap();
    let no_keys = format!("{URL}=file://{}", empty.path().display());
    let good = format!("{URL}=http://127.0.0.1:1/");
    let handler = "sasl.server.callback.handler.class";
    let validator = "sasl.oauthbearer.jwt.validator.class";
    let package = "org.apache.kafka.common.security.oauthbearer";
    let jaas = "listener.name.x.oauthbearer.sasl.jaas.config";
    let module = "OAuthBearerLoginModule required ssl.keystore.password=sesame";
    for (settings, name, words) in [
        (
            vec![good.clone(), format!("{jaas}=PlainLoginModule required;")],
            jaas,
            "OAuthBearerLoginModule",
        ),
        (
            vec![good.clone(), format!("{jaas}={module};")],
            jaas,
            "not supported",
        ),
        (vec![], URL, "OAUTHBEARER needs it"),
        (vec![format!("{URL}=ftp://a/b")], URL, "must begin with"),
        (vec![format!("{URL}=https://a:sesame@b/")], URL, "password"),
        (
            vec![format!("{URL}=file://host/x")],
            URL,
            "no file on this host",
        ),
        (
            vec![format!("{URL}=file:///nowhere/keys.json")],
            URL,
            "No such file",
        ),
        (vec![no_keys], URL, "holds no key"),
        (
            vec![good.clone(), format!("{handler}=com.example.Mine")],
            handler,
            "Java classes are not loaded",
        ),
        (
            vec![
                good.clone(),
                format!(
                    "{handler}={package}.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
                ),
            ],
            handler,
            "Java classes are not loaded",
        ),
        (
            vec![
                good.clone(),
                format!("{validator}={package}.ClientJwtValidator"),
            ],
            validator,
            "DefaultJwtValidator",
        ),
    ] {
        let settings: Vec<_> = settings.iter().map(String::as_str).collect();
        let error = refused(&settings);
        assert!(error.contains(name) && error.contains(words), "{error}");
        assert!(!error.contains("=sesame"), "{error}");
    }
}

#[tokio::test]
async fn without_its_provider_a_listener_starts_and_accepts_no_token() {
    let values = values(&[
        "sasl.oauthbearer.jwks.endpoint.url=http://127.0.0.1:1/keys",
        "sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
        "sasl.oauthbearer.jwt.validator.class=org.apache.kafka.common.security.oauthbearer.BrokerJwtValidator",
    ]);
    let of = values.listener("X");
    let tokens = Tokens::of(&of).unwrap();
    assert_eq!(tokens.verify("a.b.c").await, Err(TokenError::NoKeys));
}

//! A provider on loopback that answers as the test says.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

const SECRET: &str = "hunter2 é";
const REFRESH: Refresh = Refresh {
    factor_thousandths: 800,
    jitter_thousandths: 50,
    min_period_seconds: 60,
    buffer_seconds: 300,
};

/// A token that expires after these seconds, and its number.
fn token(number: usize, lifetime_s: f64) -> String {
    let now_s = now_ms() as f64 / 1000.0;
    let claims = serde_json::json!({"iat": now_s, "exp": now_s + lifetime_s, "n": number});
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn answer(token: &str) -> (u16, String) {
    (200, serde_json::json!({"access_token": token}).to_string())
}

/// Answers each request by its number, from 0. Returns the URL, the number of requests, and the last request.
fn serve(
    script: impl Fn(usize) -> (u16, String) + Send + 'static,
) -> (String, Arc<AtomicUsize>, Arc<parking_lot::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let (count, last) = (Arc::new(AtomicUsize::new(0)), Arc::default());
    let (counted, seen): (_, Arc<parking_lot::Mutex<String>>) =
        (Arc::clone(&count), Arc::clone(&last));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !String::from_utf8_lossy(&request).contains("grant_type") {
                let length = stream.read(&mut buffer).unwrap();
                assert_ne!(length, 0, "the request ends early");
                request.extend_from_slice(&buffer[..length]);
            }
            *seen.lock() = String::from_utf8_lossy(&request).into_owned();
            let (status, body) = script(counted.fetch_add(1, Ordering::SeqCst));
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    (url, count, last)
}

fn oauth(url: &str) -> OAuth {
    OAuth {
        from: TokenFrom::Endpoint(Endpoint {
            url: url.to_owned(),
            client_id: Secret::new("me"),
            client_secret: Secret::new(SECRET),
            scope: Some("a b".to_owned()),
            encodes: true,
            trust: web::Trust::default(),
            limits: web::Limits::default(),
        }),
        refresh: REFRESH,
        retry_backoff_ms: 1,
        retry_backoff_max_ms: 60_000,
        extensions: Default::default(),
    }
}

#[tokio::test]
async fn a_token_is_asked_for_once_with_id_and_secret_and_used_until_it_expires() {
    let (url, requests, last) = serve(|number| answer(&token(number, 3600.0)));
    let source = TokenSource::new(oauth(&url));
    let (first, second) = tokio::join!(source.token(), source.token());
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    let request = last.lock().clone();
    let basic = STANDARD.encode("me:hunter2+%C3%A9");
    assert!(
        request
            .to_ascii_lowercase()
            .starts_with("post /token http/1.1"),
        "{request}"
    );
    assert!(request.contains(&format!("Basic {basic}")), "{request}");
    assert!(
        request.ends_with("grant_type=client_credentials&scope=a+b"),
        "{request}"
    );
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    // Short-lived ones are renewed after a part of their lifetime, at most once a second.
    let (url, requests, _) = serve(|number| answer(&token(number, 3.0)));
    let source = TokenSource::new(oauth(&url));
    let first = source.token().await.unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    while requests.load(Ordering::SeqCst) < 3 {
        assert!(Instant::now() < limit);
        sleep(Duration::from_millis(10)).await;
    }
    assert_ne!(source.token().await.unwrap(), first);
    drop(source);
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again_and_one_that_refuses_is_not() {
    let (url, requests, _) = serve(|number| match number {
        0 | 1 => (503, "<html>".to_owned()),
        2 => answer(&token(2, 3600.0)),
        _ => {
            let words = r#"{"error": "invalid_client", "error_description": "who?"}"#;
            (401, words.to_owned())
        }
    });
    let source = TokenSource::new(oauth(&url));
    source.token().await.unwrap();
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    let refused = TokenSource::new(oauth(&url));
    let error = refused.token().await.unwrap_err();
    assert!(!error.is_retriable);
    assert_eq!(
        error.detail,
        "it answered with status 401 invalid_client: who?"
    );
    // The same again, without a question.
    assert_eq!(refused.token().await.unwrap_err(), error);
    assert_eq!(requests.load(Ordering::SeqCst), 4);
    assert!(!format!("{refused:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_provider_that_stays_away_is_given_up_for_now() {
    let oauth = OAuth {
        retry_backoff_max_ms: 20,
        ..oauth("http://127.0.0.1:1/token")
    };
    let error = TokenSource::new(oauth).token().await.unwrap_err();
    assert!(error.is_retriable, "{error:?}");
    assert_eq!(error.from, "http://127.0.0.1:1/token");
}

#[tokio::test]
async fn a_token_in_a_file_is_read_again_once_it_has_expired() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let in_file = || OAuth {
        from: TokenFrom::File(file.path().to_owned()),
        retry_backoff_max_ms: 0,
        ..oauth("http://127.0.0.1:1/")
    };
    for wrong in ["", "sesame", "a.b.c", "e30.e30.c2ln", "root:x:0:0:sesame\n"] {
        std::fs::write(file.path(), wrong).unwrap();
        let error = TokenSource::new(in_file()).token().await.unwrap_err();
        assert!(!error.detail.contains("sesame"), "{error:?}");
    }
    std::fs::write(file.path(), token(0, -1.0)).unwrap();
    let error = TokenSource::new(in_file()).token().await.unwrap_err();
    assert!(error.detail.contains("expired already"), "{error:?}");
    let text = token(1, 600.0);
    std::fs::write(file.path(), format!("{text}\n")).unwrap();
    assert_eq!(
        TokenSource::new(in_file()).token().await.unwrap().text(),
        text
    );
}

#[tokio::test]
async fn a_token_that_the_source_refuses_is_kept_while_it_is_fresh() {
    let (url, requests, _) = serve(|number| answer(&token(number, 3600.0)));
    let source = TokenSource::new(oauth(&url));
    let fresh = source.token().await.unwrap();
    source.refused(&fresh).await;
    assert_eq!(source.token().await.unwrap(), fresh);
    let old = Token {
        fetched_at: Instant::now() - REFUSED_AFTER,
        ..fresh
    };
    source.inner.state.lock().await.token = Some(old.clone());
    source.refused(&old).await;
    assert_ne!(source.token().await.unwrap(), old);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

// Follows ExpiringCredentialRefreshingLoginTest.
#[test]
fn a_token_is_renewed_in_kafkas_window() {
    let token = |begins_s: i64, expires_s: i64| Token {
        text: Secret::new("x"),
        begins_ms: begins_s * 1000,
        expires_ms: expires_s * 1000,
        fetched_at: Instant::now(),
    };
    let at_s = |token: &Token, now_s: i64, random| {
        renew_at_ms(token, REFRESH, now_s * 1000, random) / 1000
    };
    // An hour: 80 to 85 % of it, which ends before the last five minutes.
    assert_eq!(at_s(&token(0, 3600), 0, 0.0), 2880);
    assert_eq!(at_s(&token(0, 3600), 0, 1.0), 3060);
    // The last five minutes begin earlier than that.
    assert_eq!(at_s(&token(0, 1200), 0, 1.0), 900);
    // Not before a minute has passed.
    assert_eq!(at_s(&token(-3600, 400), 0, 0.0), 60);
    // Too short for both.
    assert_eq!(at_s(&token(0, 300), 100, 0.0), 260);
    assert_eq!(at_s(&token(0, 1), 100, 0.0), 101);
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_token_or_refused(text in "([A-Za-z0-9_=-]{0,9}[.]?){0,4}", json in "[{]\"exp\":[-0-9.e]{0,9}[}]") {
        let _ = parse(&text, 0);
        let _ = parse(&format!("a.{}.b", URL_SAFE_NO_PAD.encode(json)), 0);
    }

    #[test]
    fn renewals_are_never_in_the_past(
        begins in -9_000_000_000_000_i64.., expires in -9_000_000_000_000_i64.., random in 0.0..1.0,
    ) {
        let token = Token { text: Secret::new("x"), begins_ms: begins, expires_ms: expires, fetched_at: Instant::now() };
        proptest::prop_assert!(renew_at_ms(&token, REFRESH, 1_700_000_000_000, random) > 1_700_000_000_000);
    }
}

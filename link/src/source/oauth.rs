//! The tokens of a link that shows one to its source: fetched when first needed, renewed before they expire.
//!
//! Invariants: one fetch at a time, and after one that failed none within [`PAUSE_AFTER_FAILURE`]; a token whose renewal
//! fails is used until it expires; no part of a token or secret appears in an error.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use carrick_protocol::credentials::Secret;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::backoff::Curve;
use crate::config::oauth::{Endpoint, OAuth, Refresh, TokenFrom};
use crate::web;

/// The longest token.
const TOKEN_MAX_BYTES: usize = 64 << 10;
/// The longest answer of a token endpoint.
const ANSWER_MAX_BYTES: u64 = 256 << 10;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// As in Kafka's `ExpiringCredentialRefreshingLogin`.
const PAUSE_AFTER_FAILED_RENEWAL: Duration = Duration::from_secs(10);
/// Between two renewals at least, whatever the provider's clock and the settings: never a tight loop.
const RENEWAL_PAUSE_MIN_MS: i64 = 1000;
/// A token that the source refuses is not fetched again before this age: the next one would be the same.
const REFUSED_AFTER: Duration = Duration::from_secs(10);
/// Statuses after which the same request fails again, as in Kafka's `HttpJwtRetriever`.
const FINAL_STATUSES: [u16; 17] = [
    400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 501, 505,
];

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoToken {
    /// File or URL.
    pub(super) from: String,
    pub(super) detail: String,
    /// Whether the same may succeed later without any change.
    pub(super) is_retriable: bool,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    text: Secret,
    /// `iat`, or when it was fetched.
    begins_ms: i64,
    expires_ms: i64,
    fetched_at: Instant,
}

impl Token {
    pub(super) fn text(&self) -> &str {
        self.text.expose()
    }
}

/// Where a link's connections get their token.
#[derive(Debug)]
pub(super) struct TokenSource {
    inner: Arc<Inner>,
    renewal: OnceLock<AbortHandle>,
}

#[derive(Debug)]
struct Inner {
    oauth: OAuth,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    failed: Option<(Instant, NoToken)>,
}

impl TokenSource {
    pub(super) fn new(oauth: OAuth) -> Self {
        let inner = Inner {
            oauth,
            state: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
            renewal: OnceLock::new(),
        }
    }

    /// A token that has not expired.
    pub(super) async fn token(&self) -> Result<Token, NoToken> {
        let token = self.inner.token().await?;
        self.renewal.get_or_init(|| {
            let inner = Arc::clone(&self.inner);
            tokio::spawn(inner.renew()).abort_handle()
        });
        Ok(token)
    }

    /// The source has refused the token: the next one is another, unless this one is fresh.
    pub(super) async fn refused(&self, token: &Token) {
        let mut state = self.inner.state.lock().await;
        if token.fetched_at.elapsed() >= REFUSED_AFTER && state.token.as_ref() == Some(token) {
            state.token = None;
        }
    }
}

impl Drop for TokenSource {
    fn drop(&mut self) {
        if let Some(renewal) = self.renewal.get() {
            renewal.abort();
        }
    }
}

impl Inner {
    async fn token(&self) -> Result<Token, NoToken> {
        let mut state = self.state.lock().await;
        if let Some(token) = state
            .token
            .as_ref()
            .filter(|token| token.expires_ms > now_ms())
        {
            return Ok(token.clone());
        }
        if let Some((at, failure)) = &state.failed
            && at.elapsed() < PAUSE_AFTER_FAILURE
        {
            return Err(failure.clone());
        }
        match self.fetch().await {
            Ok(token) => {
                state.failed = None;
                state.token = Some(token.clone());
                Ok(token)
            }
            Err(failure) => {
                state.failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Renews the token for as long as the link needs one.
    async fn renew(self: Arc<Self>) {
        let mut is_failing = false;
        loop {
            let token = self.state.lock().await.token.clone();
            let wait = match (token, is_failing) {
                (Some(token), false) => {
                    let now_ms = now_ms();
                    let at_ms = renew_at_ms(&token, self.oauth.refresh, now_ms, rand::random());
                    Duration::from_millis(u64::try_from(at_ms - now_ms).unwrap_or(0))
                }
                _ => PAUSE_AFTER_FAILED_RENEWAL,
            };
            sleep(wait).await;
            match self.fetch().await {
                Ok(token) => {
                    self.state.lock().await.token = Some(token);
                    is_failing = false;
                }
                Err(NoToken { from, detail, .. }) => {
                    if !is_failing {
                        tracing::warn!(
                            from,
                            detail,
                            "the link's token is not renewed: trying again"
                        );
                    }
                    is_failing = true;
                }
            }
        }
    }

    /// Fetches a token, several times if need be.
    async fn fetch(&self) -> Result<Token, NoToken> {
        let began = Instant::now();
        let limit_ms = self.oauth.retry_backoff_max_ms;
        let curve = Curve::new(self.oauth.retry_backoff_ms, limit_ms);
        for failures in 1.. {
            let oauth = self.oauth.clone();
            let fetched = tokio::task::spawn_blocking(move || fetch_once(&oauth.from)).await;
            let failure = match fetched {
                Ok(Ok(token)) => return Ok(token),
                Ok(Err(failure)) => failure,
                Err(_) => break,
            };
            let pause = curve.delay(failures);
            let is_over = began.elapsed() + pause > Duration::from_millis(limit_ms);
            if is_over || !failure.is_retriable {
                return Err(failure);
            }
            sleep(pause).await;
        }
        Err(NoToken {
            from: self.oauth.from.name(),
            detail: "the link stops".to_owned(),
            is_retriable: true,
        })
    }
}

/// When a token is to be renewed, as Kafka's `ExpiringCredentialRefreshingLogin` has it. `random` is from 0 to 1.
fn renew_at_ms(token: &Token, refresh: Refresh, now_ms: i64, random: f64) -> i64 {
    let part = f64::from(refresh.factor_thousandths) / 1000.0
        + f64::from(refresh.jitter_thousandths) / 1000.0 * random;
    let after = |from_ms: i64| {
        let lifetime_ms = token.expires_ms.saturating_sub(from_ms).max(0);
        from_ms.saturating_add((lifetime_ms as f64 * part) as i64)
    };
    let buffer_ms = 1000 * i64::from(refresh.buffer_seconds);
    let min_period_ms = 1000 * i64::from(refresh.min_period_seconds);
    if now_ms.saturating_add(buffer_ms + min_period_ms) > token.expires_ms {
        return after(now_ms).max(now_ms.saturating_add(RENEWAL_PAUSE_MIN_MS));
    }
    after(token.begins_ms)
        .min(token.expires_ms - buffer_ms)
        .max(now_ms + min_period_ms.max(RENEWAL_PAUSE_MIN_MS))
}

impl TokenFrom {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Endpoint(endpoint) => endpoint.url.clone(),
        }
    }
}

/// Blocks.
fn fetch_once(from: &TokenFrom) -> Result<Token, NoToken> {
    let fetched = match from {
        TokenFrom::File(path) => read(path),
        TokenFrom::Endpoint(endpoint) => ask(endpoint),
    };
    let read =
        fetched.and_then(|text| parse(text.trim(), now_ms()).map_err(|detail| (detail, false)));
    read.map_err(|(detail, is_retriable)| NoToken {
        from: from.name(),
        detail,
        is_retriable,
    })
}

/// What went wrong, and whether it may succeed later.
type Failure = (String, bool);

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| (error.to_string(), true);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let mut start = file.take(TOKEN_MAX_BYTES as u64 + 1);
    start.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// RFC 6749, 4.4: the client credentials grant.
fn ask(endpoint: &Endpoint) -> Result<String, Failure> {
    let encode = |text: &str| match endpoint.encodes {
        true => form_encoded(text),
        false => text.to_owned(),
    };
    let id = encode(endpoint.client_id.expose());
    let secret = encode(endpoint.client_secret.expose());
    let authorization = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let mut form = "grant_type=client_credentials".to_owned();
    if let Some(scope) = &endpoint.scope {
        let _ = write!(form, "&scope={}", encode(scope));
    }
    let limits = web::Limits {
        answer_max_bytes: ANSWER_MAX_BYTES,
        ..endpoint.limits
    };
    let failed = |error: web::WebError| (error.to_string(), true);
    let client = web::Client::new(&endpoint.trust, limits).map_err(failed)?;
    let answer = client.post_form(&endpoint.url, &authorization, &form);
    let answer = answer.map_err(failed)?;
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let text = |name: &str| body.as_ref()?.get(name)?.as_str();
    if !matches!(answer.status, 200 | 201) {
        let status = answer.status;
        let words = [text("error"), text("error_description")];
        let words: Vec<String> = words.into_iter().flatten().map(printable).collect();
        let detail = format!("it answered with status {status} {}", words.join(": "));
        return Err((
            detail.trim_end().to_owned(),
            !FINAL_STATUSES.contains(&status),
        ));
    }
    let token = text("access_token").or_else(|| text("id_token"));
    token
        .map(str::to_owned)
        .ok_or_else(|| ("its answer has no access_token".to_owned(), false))
}

/// Reads when a token expires. Whether it is right is up to the source.
fn parse(text: &str, now_ms: i64) -> Result<Token, String> {
    if text.len() > TOKEN_MAX_BYTES {
        return Err(format!("the token has more than {TOKEN_MAX_BYTES} bytes"));
    }
    let parts: Vec<&str> = text.split('.').collect();
    let [_, claims, _] = parts[..] else {
        return Err("the token is no JWT: it has no three parts separated by dots".to_owned());
    };
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok();
    let claims: Option<Value> = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
    let claims = claims.ok_or("the token's claims can't be read")?;
    let time_ms = |name: &str| {
        let seconds = claims.get(name)?.as_f64()?;
        Some((seconds as i64).saturating_mul(1000))
    };
    let expires_ms = time_ms("exp").ok_or("the token does not say when it expires (exp)")?;
    if expires_ms <= now_ms {
        return Err("the token has expired already: compare this host's clock".to_owned());
    }
    Ok(Token {
        text: Secret::new(text),
        begins_ms: time_ms("iat").unwrap_or(now_ms),
        expires_ms,
        fetched_at: Instant::now(),
    })
}

/// As a form has it.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests;

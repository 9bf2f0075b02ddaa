//! The provider's keys, kept fresh by a thread of their own: a fetch never holds up a client.
//!
//! Keys are fetched at the start, then every `refresh.ms`, and once somebody shows a token that was signed with an
//! unknown key. Invariants: there is never more than one fetch at a time, nor two within the longest back-off because of
//! tokens; a fetch that fails leaves the keys as they are.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use carrick_link::web;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::keys::{DOCUMENT_MAX_BYTES, Keys};
use super::settings::Pace;

/// Where keys come from.
#[derive(Debug)]
pub enum Source {
    File(PathBuf),
    Web { url: String, trust: web::Trust },
}

impl Source {
    /// Blocks.
    ///
    /// # Errors
    /// Why there are none.
    pub fn fetch(&self) -> Result<Keys, String> {
        let document = match self {
            Self::File(path) => read(path)?,
            Self::Web { url, trust } => {
                let limits = web::Limits {
                    answer_max_bytes: DOCUMENT_MAX_BYTES as u64,
                    ..web::Limits::default()
                };
                let answer = web::Client::new(trust, limits).and_then(|client| client.get(url));
                let answer = answer.map_err(|error| error.to_string())?;
                if answer.status != 200 {
                    return Err(format!("it answered with status {}", answer.status));
                }
                answer.body
            }
        };
        Keys::parse(&document)
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Web { url, .. } => url.clone(),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut document = Vec::new();
    // One byte more shows that it is too long.
    file.take(DOCUMENT_MAX_BYTES as u64 + 1)
        .read_to_end(&mut document)
        .map_err(|error| error.to_string())?;
    Ok(document)
}

/// The keys, and the thread that fetches them. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Provider(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keys: ArcSwapOption<Keys>,
    pace: Pace,
    state: Mutex<State>,
    wake: Condvar,
    /// Fetches that have ended.
    fetches: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// When the last fetch ended; `None` while one runs.
    idle_since: Option<Instant>,
    is_asked: bool,
    is_closed: bool,
}

impl Provider {
    /// Begins with these keys, or fetches them first.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn start(source: Source, keys: Option<Keys>, pace: Pace) -> std::io::Result<Self> {
        let has_keys = keys.is_some();
        let shared = Arc::new(Shared {
            keys: ArcSwapOption::new(keys.map(Arc::new)),
            pace,
            state: Mutex::default(),
            wake: Condvar::new(),
            fetches: watch::Sender::new(0),
        });
        let thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("token-keys".to_owned())
            .spawn(move || thread.run(&source, has_keys))?;
        Ok(Self(shared))
    }

    /// The keys as last fetched; `None` until there are some.
    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.0.keys.load_full()
    }

    /// Asks for a fetch. Whether one runs now; otherwise the last one is so recent that the next one has to wait.
    pub fn ask(&self) -> bool {
        let mut state = self.0.state.lock();
        state.is_asked = true;
        self.0.wake.notify_all();
        state
            .idle_since
            .is_none_or(|since| since.elapsed() >= self.0.pace.between_asked())
    }

    /// Counts the fetches that have ended.
    pub fn fetches(&self) -> watch::Receiver<u64> {
        self.0.fetches.subscribe()
    }

    /// Blocks until the first fetch has ended, or `limit` is over.
    pub fn wait_for_first(&self, limit: Duration) {
        let mut state = self.0.state.lock();
        let until = Instant::now() + limit;
        while state.idle_since.is_none() {
            if self.0.wake.wait_until(&mut state, until).timed_out() {
                return;
            }
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.0.state.lock().is_closed = true;
        self.0.wake.notify_all();
    }
}

impl Shared {
    fn run(&self, source: &Source, has_keys: bool) {
        let mut failures = 0;
        let mut is_due = !has_keys;
        loop {
            if is_due {
                failures = self.fetch(source, failures);
            }
            self.idle();
            if !self.wait(failures) {
                return;
            }
            is_due = true;
        }
    }

    /// Fetches once, and returns the number of failures in a row.
    fn fetch(&self, source: &Source, failures: u32) -> u32 {
        let name = source.name();
        match source.fetch() {
            Ok(keys) => {
                if keys.is_empty() {
                    tracing::warn!(
                        from = name,
                        "no key of the provider can be used: no token is accepted"
                    );
                } else if failures > 0 || self.keys.load().is_none() {
                    tracing::info!(
                        from = name,
                        keys = keys.len(),
                        "the provider's keys are fetched"
                    );
                }
                self.keys.store(Some(Arc::new(keys)));
                0
            }
            Err(error) => {
                if failures == 0 {
                    let kept = self.keys.load().as_ref().map_or(0, |keys| keys.len());
                    tracing::warn!(
                        from = name,
                        error,
                        kept,
                        "the provider's keys can't be fetched: trying again"
                    );
                }
                failures.saturating_add(1)
            }
        }
    }

    fn idle(&self) {
        self.state.lock().idle_since = Some(Instant::now());
        self.wake.notify_all();
        self.fetches.send_modify(|fetches| *fetches += 1);
    }

    /// Waits for the next fetch; `false` if there is none any more.
    fn wait(&self, failures: u32) -> bool {
        let ended = Instant::now();
        let due = ended + self.pace.after(failures);
        let asked = ended + self.pace.between_asked();
        let mut state = self.state.lock();
        loop {
            let at = if state.is_asked { due.min(asked) } else { due };
            if state.is_closed {
                return false;
            }
            if at <= Instant::now() {
                state.is_asked = false;
                state.idle_since = None;
                return true;
            }
            self.wake.wait_until(&mut state, at);
        }
    }
}

impl Pace {
    /// How long to wait after that many failures.
    fn after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return self.refresh;
        };
        let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        let backoff_ms = self.backoff_ms.max(100).saturating_mul(factor);
        Duration::from_millis(backoff_ms).min(self.between_asked())
    }

    /// At most one fetch in this time for tokens with an unknown key.
    fn between_asked(&self) -> Duration {
        Duration::from_millis(self.backoff_max_ms.max(1000))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::testing::until;

    const PACE: Pace = Pace {
        refresh: Duration::from_secs(3600),
        backoff_ms: 100,
        backoff_max_ms: 1000,
    };
    const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    /// A provider that answers with what `answer` makes of the number of the request. It ends with the test's process.
    fn serve(
        answer: impl Fn(usize) -> (u16, String) + Send + 'static,
    ) -> (Source, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).unwrap();
                let (status, body) = answer(counted.fetch_add(1, Ordering::SeqCst));
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            }
        });
        let trust = web::Trust::ThisHost;
        (Source::Web { url, trust }, count)
    }

    #[tokio::test]
    async fn a_token_with_an_unknown_key_has_them_fetched_once_per_back_off() {
        let (source, requests) = serve(|_| (200, KEYS.to_owned()));
        let provider = Provider::start(source, None, PACE).unwrap();
        provider.wait_for_first(Duration::from_secs(60));
        assert_eq!(provider.keys().unwrap().len(), 1);
        let began = Instant::now();
        for _ in 0..1000 {
            assert!(!provider.ask());
        }
        until("it is fetched again", || {
            requests.load(Ordering::SeqCst) == 2
        })
        .await;
        assert!(began.elapsed() >= Duration::from_millis(900));
        let mut fetches = provider.fetches();
        fetches.wait_for(|fetches| *fetches == 2).await.unwrap();
        assert!(!provider.ask());
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn keys_outlast_a_provider_that_fails_and_are_fetched_when_it_is_back() {
        let (source, requests) = serve(|number| match number {
            0 => (200, KEYS.to_owned()),
            1 => (500, KEYS.to_owned()),
            2 => (200, "<html>".to_owned()),
            3 => (200, "x".repeat(DOCUMENT_MAX_BYTES + 1)),
            _ => (200, "{\"keys\":[]}".to_owned()),
        });
        let provider = Provider::start(source, None, PACE).unwrap();
        provider.wait_for_first(Duration::from_secs(60));
        provider.ask();
        let mut fetches = provider.fetches();
        for number in 2..=4 {
            fetches
                .wait_for(|fetches| *fetches == number)
                .await
                .unwrap();
            assert_eq!(provider.keys().unwrap().len(), 1, "{number}");
        }
        fetches.wait_for(|fetches| *fetches == 5).await.unwrap();
        // All of them were withdrawn.
        assert!(provider.keys().unwrap().is_empty());
        assert_eq!(requests.load(Ordering::SeqCst), 5);
    }

    #[tokio::test]
    async fn the_thread_ends_with_its_owner() {
        let (source, _) = serve(|_| (200, KEYS.to_owned()));
        let provider = Provider::start(source, None, PACE).unwrap();
        let shared = Arc::downgrade(&provider.0);
        drop(provider);
        until("the thread has ended", || shared.strong_count() == 0).await;
    }

    #[test]
    fn back_off_doubles_up_to_its_limit() {
        let pace = Pace {
            backoff_max_ms: 10_000,
            ..PACE
        };
        assert_eq!(pace.after(0), Duration::from_secs(3600));
        let after: Vec<_> = (1..5)
            .map(|failures| pace.after(failures).as_millis())
            .collect();
        assert_eq!(after, [100, 200, 400, 800]);
        assert_eq!(pace.after(u32::MAX), Duration::from_secs(10));
    }
}

//! OAUTHBEARER: tokens of an identity provider, checked with the provider's public keys.
//!
//! Invariants: no token is accepted that was not signed with one of those keys; checking one waits at most for new keys;
//! no part of a token appears in a log but its key id.

mod exchange;
mod keys;
mod provider;
mod settings;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

use carrick_link::web;

pub use exchange::{Exchange, Failure, Step};
pub use token::{TokenError, Verified};

use crate::clock::now_ms;
use crate::config::{ConfigError, ListenerValues};
use provider::{Provider, Source};
use settings::{Expected, Location, Settings, URL};

/// How long the start waits for the provider. A broker that takes over must not depend on it: it starts without keys,
/// and tokens are refused until there are some.
const START_WAIT: Duration = Duration::from_secs(5);
/// How long a client waits for a fetch that its token has started.
const FETCH_WAIT: Duration = Duration::from_secs(10);

/// Checks the tokens of one listener, or of the REST API.
#[derive(Debug)]
pub struct Tokens {
    expected: Expected,
    provider: Provider,
}

impl Tokens {
    /// Reads the settings and fetches the keys. Blocks for a few seconds if the provider does not answer.
    ///
    /// # Errors
    /// A setting that is wrong or missing, or a file that holds no keys.
    pub fn of(listener: &ListenerValues<'_>) -> Result<Self, ConfigError> {
        let settings = Settings::of(listener)?;
        let of = listener.mechanism(settings::MECHANISM);
        let wrong = |reason: String| of.wrong(URL, reason);
        let (source, keys) = match settings.location {
            Location::File(path) => {
                let source = Source::File(path);
                let keys = source.fetch().map_err(wrong)?;
                if keys.is_empty() {
                    return Err(wrong(
                        "holds no key that tokens can be checked with".to_owned(),
                    ));
                }
                (source, Some(keys))
            }
            Location::Web(url) => {
                web::check_url(&url).map_err(wrong)?;
                let trust = settings.trust;
                (Source::Web { url, trust }, None)
            }
        };
        let provider = Provider::start(source, keys, settings.pace)
            .map_err(|error| wrong(format!("can't be fetched: {error}")))?;
        provider.wait_for_first(START_WAIT);
        Ok(Self {
            expected: settings.expected,
            provider,
        })
    }

    /// Checks a token now, which takes up to about a millisecond of CPU time. If its key is unknown
    /// and keys were not fetched lately, waits for new ones.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        let mut fetches = self.provider.fetches();
        let checked = self.check_with_keys(token, now_ms());
        if !needs_keys(&checked) {
            return checked;
        }
        let is_fetched = self.provider.ask() || fetches.has_changed().unwrap_or(false);
        if !is_fetched {
            return checked;
        }
        let _ = tokio::time::timeout(FETCH_WAIT, fetches.changed()).await;
        self.check_with_keys(token, now_ms())
    }

    fn check_with_keys(&self, token: &str, now_ms: i64) -> Result<Verified, TokenError> {
        let keys = self.provider.keys().ok_or(TokenError::NoKeys)?;
        token::check(token, &keys, &self.expected, now_ms)
    }
}

fn needs_keys(checked: &Result<Verified, TokenError>) -> bool {
    matches!(checked, Err(TokenError::UnknownKey(_) | TokenError::NoKeys))
}

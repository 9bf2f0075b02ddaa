//! New certificates without a restart: files of stores that have changed are read again.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::ServerTls;
use crate::clock;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A certificate that ends within this time is warned of, seconds.
const WARN_BEFORE_S: i64 = 30 * 24 * 3600;

/// How often it is warned of, seconds.
const WARN_EVERY_S: i64 = 24 * 3600;

/// Looks at the files of these listeners again and again.
pub fn watch(listeners: Vec<Arc<ServerTls>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let listeners = listeners.clone();
            let looked = tokio::task::spawn_blocking(move || {
                for tls in &listeners {
                    tls.look();
                    tls.warn_of_end(clock::now_ms() / 1_000);
                }
            });
            if let Err(error) = looked.await {
                tracing::error!(%error, "the look at certificates failed");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
}

impl ServerTls {
    /// Reads the stores again if their files have changed. Waits for the disk.
    pub(super) fn look(&self) {
        let stamps = self.settings.stamps();
        if stamps == self.current.load().stamps {
            *self.failed.lock() = None;
            return;
        }
        let failed = self.failed.lock().clone();
        if failed.is_some_and(|(of, _)| of == stamps) {
            return;
        }
        let listener = &self.name;
        // Without the lock: `problem` is asked by threads that must not wait for the disk.
        match self.settings.read() {
            Ok(next) => {
                self.current.store(Arc::new(next));
                *self.failed.lock() = None;
                tracing::info!(
                    listener,
                    "certificates were read again: their files have changed"
                );
            }
            Err(error) => {
                let detail = format!("{} {}", error.setting, error.reason);
                tracing::error!(
                    listener,
                    "changed certificates can't be used, those from before stay in force: {detail}"
                );
                *self.failed.lock() = Some((stamps, detail));
            }
        }
    }

    /// The listener's name, and what is wrong with its certificates at that time.
    pub fn problem(&self, now_s: i64) -> Option<(&str, String)> {
        let failed = self.failed.lock().as_ref().map(|(_, it)| it.clone());
        let current = self.current.load();
        let untimely = match now_s {
            _ if now_s > *current.valid_s.end() => {
                Some("its certificate has expired: renew it; no restart is needed")
            }
            _ if now_s < *current.valid_s.start() => Some(
                "its certificate is not valid yet: check this machine's clock, or use another \
                 certificate",
            ),
            _ => None,
        };
        let details = failed.into_iter().chain(untimely.map(str::to_owned));
        let details: Vec<String> = details.collect();
        (!details.is_empty()).then(|| (&*self.name, details.join("; ")))
    }

    /// Says when the certificate ends: always as a metric, soon before it in the log. One that has
    /// ended is a problem.
    pub(super) fn warn_of_end(&self, now_s: i64) -> bool {
        let not_after_s = *self.current.load().valid_s.end();
        let listener = self.name.clone();
        metrics::gauge!("carrick_tls_certificate_not_after_seconds", "listener" => listener)
            .set(not_after_s as f64);
        let left_s = not_after_s.saturating_sub(now_s);
        let mut warned_s = self.warned_s.lock();
        let is_due = now_s.saturating_sub(*warned_s) >= WARN_EVERY_S;
        if !(0..=WARN_BEFORE_S).contains(&left_s) || !is_due {
            return false;
        }
        *warned_s = now_s;
        tracing::warn!(
            listener = self.name,
            days = left_s / (24 * 3600),
            "the listener's certificate expires soon: renew it; no restart is needed"
        );
        true
    }
}

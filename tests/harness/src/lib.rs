//! What every end-to-end test stands on: Carrick as a process, a real Apache Kafka as a process, real client
//! libraries as processes ([`peer`]), the bytes of both sides' segments ([`segments`]) and wires: one that can be
//! cut ([`proxy`]), and one that is long ([`wan`]).
//!
//! A test owns its servers: ports are picked free, folders are temporary, and everything ends with the value that
//! started it. Nothing here sleeps as a proof; [`wait_until`] polls a condition and names it when time runs out.

pub mod carrick;
pub mod certificates;
pub mod kafka;
pub mod keycloak;
pub mod peer;
pub mod process;
pub mod proxy;
mod relay;
pub mod release;
pub mod segments;
pub mod tokens;
pub mod toolchain;
pub mod tools;
pub mod wan;

use std::time::{Duration, Instant};

pub use carrick::Carrick;
pub use kafka::Kafka;
pub use keycloak::Keycloak;
pub use peer::Peer;
pub use release::Release;
pub use tools::Tools;

/// Result of everything that a test does with the outside world.
pub type Result<T> = anyhow::Result<T>;

/// Polls `condition` until it gives a value; fails with `what` and the last state seen after `limit`.
///
/// # Errors
/// The condition's own error, or the time limit with the last thing that the condition said it saw.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = match condition()? {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if Instant::now() > deadline {
            anyhow::bail!("waited {limit:?} for: {what}; last seen: {seen}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

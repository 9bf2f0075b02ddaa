//! Limits for the clients of one HTTP listener: connections, requests, bytes and time.
//!
//! The limits fit together: fewer requests are served at a time than there are connections, so
//! there is always an idle connection that can be closed for a new one ([`super::connections`]).
//! Each [`Room`] counts its own requests, so that a flood in one does not affect the others.

use std::time::Duration;

use axum::http::Method;
use carrick_link::verb::Verb;

/// Connections at a time, per listener.
pub const CONNECTIONS_MAX: usize = 256;

/// The largest request body, in bytes.
pub const BODY_MAX_BYTES: usize = 1 << 20;

/// Bodies up to this size, in bytes, are read on every connection without a limit on their number.
pub const SMALL_BODY_MAX_BYTES: usize = 64 << 10;

/// Larger bodies, or bodies of unknown length, that are read and kept at a time.
pub const LARGE_BODIES_MAX: usize = 16;

/// The largest head of a request, in bytes, and its most lines.
pub const HEAD_MAX_BYTES: usize = 32 << 10;
/// See [`HEAD_MAX_BYTES`].
pub const HEAD_MAX_LINES: usize = 64;

/// Clients of `?wait=` that may wait at a time, for promotions and failovers each; others are
/// answered immediately.
pub const WAITING_MAX: usize = 16;

/// The longest `?wait=`, in seconds, and the default for a failover.
pub const WAIT_MAX_SECONDS: u64 = 60;
/// See [`WAIT_MAX_SECONDS`].
pub const FAILOVER_WAIT_SECONDS: u64 = 30;

/// What requests are counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Whatever is not said otherwise, dry runs included.
    Ordinary,
    Failover,
    /// Promotions, and their end.
    Promotion,
    /// Creations of any number of mirrors, which take their time.
    Creation,
    /// Comparisons with the source, whose answers are streams as long as the data is.
    Verification,
}

impl Room {
    pub const ALL: [Room; 5] = [
        Room::Ordinary,
        Room::Failover,
        Room::Promotion,
        Room::Creation,
        Room::Verification,
    ];

    /// The room of a route; `None` for health and readiness, which need none.
    pub fn of(method: &Method, route: &str) -> Option<Room> {
        let last = route.rsplit('/').next().unwrap_or_default();
        match last {
            "healthz" | "readyz" => None,
            "mirrors:create" => Some(Room::Creation),
            "{topic}" if *method == Method::POST => Some(Room::Verification),
            _ => {
                let verb = last.strip_prefix("mirrors:").and_then(Verb::named);
                Some(verb.map_or(Room::Ordinary, Room::of_verb))
            }
        }
    }

    /// The room of what an operator does to mirrors.
    pub const fn of_verb(verb: Verb) -> Room {
        match verb {
            Verb::Failover => Room::Failover,
            Verb::Promote | Verb::CancelPromotion => Room::Promotion,
            Verb::Pause | Verb::Resume => Room::Ordinary,
        }
    }

    /// Requests at a time: until the answer has been sent.
    pub const fn requests_max(self) -> usize {
        match self {
            Room::Ordinary => 32,
            Room::Failover | Room::Promotion => 2 * WAITING_MAX,
            Room::Creation | Room::Verification => 8,
        }
    }

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Room::Ordinary => "requests",
            Room::Failover => "failovers",
            Room::Promotion => "promotions",
            Room::Creation => "creations of mirrors",
            Room::Verification => "verifications",
        }
    }
}

const REQUESTS_MAX: usize = Room::Ordinary.requests_max()
    + Room::Failover.requests_max()
    + Room::Promotion.requests_max()
    + Room::Creation.requests_max()
    + Room::Verification.requests_max();
const _: () = assert!(
    2 * REQUESTS_MAX <= CONNECTIONS_MAX,
    "half of the connections only wait, so that there is room for a new one"
);

/// How long things may take. Others than the default are for tests.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// A TLS handshake.
    pub handshake: Duration,
    /// From one answer, or the beginning of the connection, to the end of the next request's head:
    /// how long a connection may idle, and how slowly a head may come.
    pub head: Duration,
    /// The whole of a body.
    pub body: Duration,
    /// Until there is room for a request.
    pub room: Duration,
    /// Until the answer: after this time, the answer says that the request continues.
    pub answer: Duration,
    /// The same for a creation of any number of mirrors.
    pub creation: Duration,
    /// For the client to take an answer, if that is no stream.
    pub sending: Duration,
    /// For the client to take anything of an answer.
    pub stall: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            body: Duration::from_secs(10),
            room: Duration::from_secs(5),
            answer: Duration::from_secs(90),
            creation: Duration::from_secs(600),
            sending: Duration::from_secs(60),
            stall: Duration::from_secs(30),
        }
    }
}

//! What a handler gets in addition to its request.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::door::Door;
use super::room::Room;
use crate::broker::Broker;
use crate::cluster::Member;
use crate::principal::Principal;
use crate::quota::Hold;

/// One client connection, as far as handlers care.
#[derive(Debug)]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// Index into `Broker::endpoints` of the listener that accepted it.
    pub listener: usize,
    /// Who the client is.
    pub principal: Principal,
    /// Until when it is not read, for its client went over a quota.
    pub held: Hold,
}

impl Connection {
    /// The connection of a client that is known.
    pub fn new(peer: SocketAddr, listener: usize, principal: Principal) -> Self {
        Self {
            peer,
            listener,
            principal,
            held: Hold::default(),
        }
    }
}

/// What a handler gets in addition to its request. Cheap to clone into a `Reply::Later`.
#[derive(Clone)]
pub struct Context {
    pub broker: Arc<Broker>,
    /// The connection the request came in on.
    pub connection: Arc<Connection>,
    /// The client id of the request's header.
    pub client_id: Option<StrBytes>,
    /// How large the answer may become, where it is listed or described.
    pub room: Arc<Room>,
    /// By which the request's names are looked up, as `ctx.topic(…)`.
    pub(super) door: Arc<Door>,
}

impl Context {
    /// The context of a connection that has sent nothing yet.
    pub fn new(broker: Arc<Broker>, connection: Arc<Connection>) -> Self {
        let room = Arc::new(Room::new(broker.limits.request_max_bytes));
        let door = Arc::new(Door::of(
            &broker,
            connection.principal.clone(),
            connection.peer.ip(),
        ));
        Self {
            broker,
            connection,
            client_id: None,
            room,
            door,
        }
    }

    /// The same with room for another answer.
    pub(super) fn with_room(&self, max_bytes: usize) -> Self {
        Self {
            room: Arc::new(Room::new(max_bytes)),
            ..self.clone()
        }
    }

    /// The brokers that an answer names as leaders (-1 is none), where this connection's client
    /// reaches them.
    pub(super) fn leaders(&self, ids: impl Iterator<Item = i32>) -> Vec<Member> {
        let ids: BTreeSet<i32> = ids.filter(|id| *id != -1).collect();
        if ids.is_empty() {
            return Vec::new();
        }
        let mut members = self.view().brokers(self.connection.listener);
        members.retain(|member| ids.contains(&member.id.0));
        members
    }

    /// The client id, or the empty string (what Kafka shows for a client that sent none).
    pub fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }

    /// Who the client is, as quotas call it.
    pub fn user(&self) -> &str {
        self.connection.principal.name()
    }

    /// The client's host as Kafka writes it in group descriptions: `/127.0.0.1`.
    pub fn client_host(&self) -> String {
        format!("/{}", self.connection.peer.ip())
    }
}

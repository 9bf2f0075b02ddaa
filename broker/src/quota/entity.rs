//! What a quota applies to: a user, a client id, both, or an address; each by name or as the
//! default (`ClientQuotaEntity` in Kafka).

use std::fmt;

pub use crate::records::client_quota::{Entity, Part};

impl Part {
    /// The part that the wire calls so; no name is the default.
    pub fn of(name: Option<&str>) -> Self {
        name.map_or(Part::Default, |name| Part::Named(name.to_owned()))
    }

    /// Its name on the wire.
    pub fn name(&self) -> Option<&str> {
        match self {
            Part::Default => None,
            Part::Named(name) => Some(name),
        }
    }
}

/// The type of one part, by its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartKind {
    /// `user`
    User,
    /// `client-id`
    Client,
    /// `ip`
    Ip,
}

impl PartKind {
    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "user" => Some(PartKind::User),
            "client-id" => Some(PartKind::Client),
            "ip" => Some(PartKind::Ip),
            _ => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            PartKind::User => "user",
            PartKind::Client => "client-id",
            PartKind::Ip => "ip",
        }
    }
}

impl Entity {
    /// The entity of these parts; `None` when they do not go together.
    pub fn of(user: Option<Part>, client: Option<Part>, ip: Option<Part>) -> Option<Self> {
        match (user, client, ip) {
            (Some(user), Some(client), None) => Some(Entity::UserClient(user, client)),
            (Some(user), None, None) => Some(Entity::User(user)),
            (None, Some(client), None) => Some(Entity::Client(client)),
            (None, None, Some(ip)) => Some(Entity::Ip(ip)),
            _ => None,
        }
    }

    pub fn parts(&self) -> Vec<(PartKind, &Part)> {
        match self {
            Entity::User(user) => vec![(PartKind::User, user)],
            Entity::Client(client) => vec![(PartKind::Client, client)],
            Entity::UserClient(user, client) => {
                vec![(PartKind::User, user), (PartKind::Client, client)]
            }
            Entity::Ip(ip) => vec![(PartKind::Ip, ip)],
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts().into_iter().map(|(kind, part)| {
            let name = part.name().unwrap_or("<default>");
            format!("{} {name}", kind.name())
        });
        out.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

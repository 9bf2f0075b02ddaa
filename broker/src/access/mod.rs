//! What a principal may do with a resource, decided by Kafka's ACLs.
//!
//! [`Access`] decides as Kafka's `StandardAuthorizer`, or allows everything if none is asked for.
//! [`Acls`] are its ACLs: stored in cluster metadata, changed by clients and by links, which bring
//! those of their sources. The APIs' door asks for each resource that a request names.
//!
//! - A super user may do everything. Else an ACL that denies wins over any that allows, whichever
//!   of its patterns applies: the name, a prefix of it, or `*`. Without an ACL that allows, the
//!   operation is denied, unless the resource has no ACL at all and
//!   `allow.everyone.if.no.acl.found` is set.
//! - A decision is remembered ([`cache`]) until ACLs change. Making it again takes no memory.

mod acls;
mod cache;
mod config;
mod denials;
mod filter;
mod index;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod testing;
mod vocabulary;

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

pub use acls::{AclError, Acls, CHANGES_MAX, Change, Origin};
pub use config::AuthorizerConfig;
pub use filter::{Filter, PatternFilter, check};
pub use vocabulary::{Operation, Operations, Resource, ResourceKind};

pub use crate::records::acl::{Binding, Pattern, Permission};

use cache::{Cache, Question};
use denials::{Denials, Shown};
use index::Asker;

use crate::principal::Principal;

/// A name that no ACL is about (`Authorizer.authorizeByResourceType`).
const ANY_NAME: &str = "hardcode";

/// Decides by ACLs.
#[derive(Debug)]
struct Authorizer {
    config: AuthorizerConfig,
    cache: Cache,
    denials: Denials,
}

/// Who may do what.
pub struct Access {
    acls: Arc<Acls>,
    authorizer: Option<Authorizer>,
    #[cfg(test)]
    hooks: testing::Hooks,
}

impl Access {
    /// Without a config, everyone may do everything.
    pub fn new(acls: Arc<Acls>, config: Option<AuthorizerConfig>) -> Self {
        let authorizer = config.map(|config| Authorizer {
            config,
            cache: Cache::new(),
            denials: Denials::default(),
        });
        Self {
            acls,
            authorizer,
            #[cfg(test)]
            hooks: testing::Hooks::default(),
        }
    }

    pub fn acls(&self) -> &Arc<Acls> {
        &self.acls
    }

    /// Whether ACLs have an effect.
    pub fn has_authorizer(&self) -> bool {
        self.authorizer.is_some()
    }

    /// Whether nobody can change ACLs, for all that is known here: super users are missing or
    /// doubtful, and no ACL allows it.
    pub fn has_no_administrator(&self) -> bool {
        let Some(Authorizer { config, .. }) = &self.authorizer else {
            return false;
        };
        if config.doubts().count() < config.super_users.len() {
            return false;
        }
        let of_cluster = Filter {
            kind: Some(ResourceKind::Cluster),
            ..Filter::default()
        };
        let all = self.acls.all();
        let mut those = all.matching(&of_cluster).map(|(it, _)| it).peekable();
        let is_open = those.peek().is_none() && config.everyone_without_acls;
        let mut allowed = those.filter(|it| it.permission == Permission::Allow);
        !is_open && !allowed.any(|it| matches!(it.operation, Operation::Alter | Operation::All))
    }

    /// Logs that a user's credentials were removed, if that is a super user. Whether it was logged.
    pub fn note_removed(&self, user: &str) -> bool {
        let who = Principal::user(user);
        let is_super_user = |it: &Authorizer| it.config.is_super_user(&who);
        let is_super_user = self.authorizer.as_ref().is_some_and(is_super_user);
        if is_super_user {
            let user = Shown(user);
            tracing::warn!(%user, "credentials of a user in super.users were removed");
        }
        is_super_user
    }

    /// Whether the principal, at that host, may. It is not logged: see [`Self::note`].
    pub fn allows(
        &self,
        who: &Principal,
        host: IpAddr,
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool {
        #[cfg(test)]
        self.hooks.note(operation, resource);
        let Some(authorizer) = &self.authorizer else {
            return true;
        };
        let (kind, name) = (resource.kind(), resource.name());
        authorizer.config.is_super_user(who) || {
            let question = Question {
                who,
                host: host.to_canonical(),
                kind,
                name: Some(name),
            };
            self.allowed(authorizer, &question).has(operation)
        }
    }

    /// Everything that the principal may do with a resource.
    fn allowed(&self, authorizer: &Authorizer, question: &Question<'_>) -> Operations {
        let generation = self.acls.generation();
        if let Some((_, allowed)) = authorizer.cache.get(question, generation) {
            return allowed;
        }
        #[cfg(test)]
        self.hooks.judged();
        let without_acls = authorizer.config.everyone_without_acls;
        let name = question.name.unwrap_or_default();
        let (generation, verdict) = self.acls.read(|held| {
            let verdict = held.index.judge(asker(question), question.kind, name);
            (held.generation, verdict)
        });
        let allowed = verdict.allowed(without_acls);
        let cache = &authorizer.cache;
        cache.put(question, generation, Operations::EVERY, allowed);
        allowed
    }

    /// Whether the principal may do that with any topic, which need not exist
    /// (`Authorizer.authorizeByResourceType`).
    pub fn allows_some_topic(&self, who: &Principal, host: IpAddr, operation: Operation) -> bool {
        if self.allows(who, host, operation, Resource::Topic(ANY_NAME)) {
            return true;
        }
        let Some(authorizer) = &self.authorizer else {
            return false;
        };
        let question = Question {
            who,
            host: host.to_canonical(),
            kind: ResourceKind::Topic,
            name: None,
        };
        let generation = self.acls.generation();
        let known = authorizer.cache.get(&question, generation);
        if let Some((_, allowed)) = known.filter(|(known, _)| known.has(operation)) {
            return allowed.has(operation);
        }
        #[cfg(test)]
        self.hooks.judged();
        let (generation, is_allowed) = self.acls.read(|held| {
            let (index, asker) = (&held.index, asker(&question));
            let is_allowed = index.allows_some(asker, operation, question.kind);
            (held.generation, is_allowed)
        });
        let known = Operations::of(&[operation]);
        let allowed = if is_allowed { known } else { Operations::NONE };
        authorizer.cache.put(&question, generation, known, allowed);
        is_allowed
    }

    /// Logs a decision about what a request named: lists are not logged, nor rights that an answer only shows.
    /// `request` gives the request's name.
    pub fn note(
        &self,
        who: &Principal,
        host: IpAddr,
        operation: Operation,
        resource: Resource<'_>,
        is_allowed: bool,
        request: impl FnOnce() -> &'static str,
    ) {
        let Some(authorizer) = &self.authorizer else {
            return;
        };
        let what = |outcome: &'static str, rule: &'static str| Noted {
            who,
            host,
            operation,
            resource,
            request: request(),
            outcome,
            rule,
        };
        if !is_allowed {
            let rule = || self.rule_of_denied(who, host, operation, resource);
            authorizer.denials.log(|| what("Denied", rule()));
        } else if tracing::enabled!(target: "authorizer", tracing::Level::DEBUG) {
            let allowed = what("Allowed", authorizer.rule_of_allowed(who));
            tracing::debug!(target: "authorizer", "{allowed}");
        }
    }

    fn rule_of_denied(
        &self,
        who: &Principal,
        host: IpAddr,
        operation: Operation,
        resource: Resource<'_>,
    ) -> &'static str {
        let asker = Asker {
            user: who.as_user(),
            host: host.to_canonical(),
        };
        let (kind, name) = (resource.kind(), resource.name());
        let judged = self.acls.read(|held| held.index.judge(asker, kind, name));
        match judged.denies(operation) {
            true => "MatchingAcl",
            false => "DefaultDeny",
        }
    }
}

/// A decision as Kafka's log has it.
struct Noted<'a> {
    who: &'a Principal,
    host: IpAddr,
    operation: Operation,
    resource: Resource<'a>,
    request: &'static str,
    outcome: &'static str,
    rule: &'static str,
}

impl Display for Noted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = self.who.to_string();
        write!(
            f,
            "Principal = {} is {} operation = {} from host = {} on resource = {}:LITERAL:{} for \
             request = {} based on rule {}",
            Shown(&who),
            self.outcome,
            self.operation.name(),
            self.host.to_canonical(),
            self.resource.kind().name(),
            Shown(self.resource.name()),
            self.request,
            self.rule,
        )
    }
}

fn asker<'a>(question: &Question<'a>) -> Asker<'a> {
    Asker {
        user: question.who.as_user(),
        host: question.host,
    }
}

impl Authorizer {
    fn rule_of_allowed(&self, who: &Principal) -> &'static str {
        match self.config.is_super_user(who) {
            true => "SuperUser",
            false => "Acls",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::memory::MemoryMetadata;

    fn access(super_users: &[&str], everyone_without_acls: bool) -> Access {
        let acls = Acls::open(MemoryMetadata::new().metadata()).unwrap();
        let super_users = super_users.iter().map(|it| (*it).to_owned()).collect();
        let config = AuthorizerConfig {
            super_users,
            everyone_without_acls,
        };
        Access::new(Arc::new(acls), Some(config))
    }

    fn add(access: &Access, operation: Operation, permission: Permission) {
        let binding = Binding {
            kind: ResourceKind::Cluster,
            pattern: Pattern::Literal,
            name: Resource::Cluster.name().to_owned(),
            principal: "User:ann".to_owned(),
            host: "*".to_owned(),
            operation,
            permission,
        };
        let change = Change::Add(binding, Origin::Local);
        access.acls().apply(&[change]).unwrap();
    }

    #[test]
    fn without_a_super_user_or_an_acl_for_it_there_is_no_administrator() {
        assert!(!access(&["User:admin", "user:ops"], false).has_no_administrator());
        for nobody in [&[][..], &["user:admin"], &["User:a,User:b"]] {
            let access = access(nobody, false);
            assert!(access.has_no_administrator(), "{nobody:?}");
            add(&access, Operation::Describe, Permission::Allow);
            add(&access, Operation::Alter, Permission::Deny);
            assert!(access.has_no_administrator(), "{nobody:?}");
            add(&access, Operation::Alter, Permission::Allow);
            assert!(!access.has_no_administrator(), "{nobody:?}");
        }
        let open = access(&[], true);
        assert!(!open.has_no_administrator());
        add(&open, Operation::Describe, Permission::Allow);
        assert!(open.has_no_administrator());
        add(&open, Operation::All, Permission::Allow);
        assert!(!open.has_no_administrator());
    }

    #[test]
    fn only_the_credentials_of_a_super_user_are_missed() {
        let access = access(&["User:admin"], false);
        assert!(access.note_removed("admin"));
        assert!(!access.note_removed("ann"));
    }
}

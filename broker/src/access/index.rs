//! ACLs by what they apply to, so that a decision looks at few of them.
//!
//! A decision needs one look-up in a sorted list, which leads to all prefixes of the name, then a
//! few look-ups by principal and host for each pattern that applies. It does not matter how many
//! ACLs a pattern has.

use std::collections::HashMap;
use std::net::IpAddr;

use super::filter::WILDCARD;
use super::vocabulary::{Operation, Operations, ResourceKind};
use crate::records::acl::{Binding, Pattern, Permission};

/// Whose principals can be those of connections: others never match.
const USER: &str = "User:";

/// Which allowing ACLs allow to describe (`IMPLIES_DESCRIBE`).
const IMPLY_DESCRIBE: Operations = Operations::of(&[
    Operation::Describe,
    Operation::Read,
    Operation::Write,
    Operation::Delete,
    Operation::Alter,
]);
const IMPLY_DESCRIBE_CONFIGS: Operations =
    Operations::of(&[Operation::DescribeConfigs, Operation::AlterConfigs]);
const ALL: Operations = Operations::of(&[Operation::All]);

/// What ACLs say, as they say it: `All` is an operation of its own, nothing is implied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    pub allow: Operations,
    pub deny: Operations,
}

impl Said {
    fn add(&mut self, other: Self) {
        self.allow = self.allow.with(other.allow);
        self.deny = self.deny.with(other.deny);
    }
}

/// What the ACLs of a resource say about a principal at a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    said: Said,
    /// Whether the resource has ACLs at all, whomever they are about.
    has_acls: bool,
}

impl Verdict {
    /// What is allowed. `without_acls` says whether a resource without any ACL is open to everyone.
    pub fn allowed(self, without_acls: bool) -> Operations {
        let Said { allow, deny } = self.said;
        let mut allowed = allow;
        if allow.has_any(ALL) || (!self.has_acls && without_acls) {
            allowed = Operations::EVERY;
        }
        if allow.has_any(IMPLY_DESCRIBE) {
            allowed.add(Operation::Describe);
        }
        if allow.has_any(IMPLY_DESCRIBE_CONFIGS) {
            allowed.add(Operation::DescribeConfigs);
        }
        match deny.has_any(ALL) {
            true => Operations::NONE,
            false => allowed.without(deny),
        }
    }

    /// Whether an ACL forbids the operation.
    pub fn denies(self, operation: Operation) -> bool {
        self.said.deny.has_any(ALL) || self.said.deny.has(operation)
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The name of a principal of the type `User`.
    pub user: Option<&'a str>,
    pub host: IpAddr,
}

/// The ACLs of one principal for one pattern, by host.
#[derive(Debug, Default)]
struct Hosts {
    any: Said,
    by_address: HashMap<IpAddr, Said>,
}

impl Hosts {
    fn say(&self, host: IpAddr) -> Said {
        let mut said = self.any;
        if let Some(own) = self.by_address.get(&host) {
            said.add(*own);
        }
        said
    }
}

/// The ACLs of one pattern. There is at least one, even if it can match nobody.
#[derive(Debug, Default)]
struct Rules {
    by_user: HashMap<Box<str>, Hosts>,
}

impl Rules {
    fn add(&mut self, binding: &Binding) {
        let Some(user) = binding.principal.strip_prefix(USER) else {
            return;
        };
        let hosts = self.by_user.entry(user.into()).or_default();
        let said = match (binding.host.as_str(), address(&binding.host)) {
            (WILDCARD, _) => &mut hosts.any,
            (_, Some(address)) => hosts.by_address.entry(address).or_default(),
            (_, None) => return,
        };
        match binding.permission {
            Permission::Allow => said.allow.add(binding.operation),
            Permission::Deny => said.deny.add(binding.operation),
        }
    }

    fn say(&self, asker: Asker<'_>) -> Said {
        let mut said = Said::default();
        for user in [asker.user, Some(WILDCARD)].into_iter().flatten() {
            if let Some(hosts) = self.by_user.get(user) {
                said.add(hosts.say(asker.host));
            }
        }
        said
    }
}

/// An address in an ACL; IPv6 in any form. Kafka knows only that which Java writes.
fn address(host: &str) -> Option<IpAddr> {
    host.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// A prefix, and the longest other one that it begins with.
#[derive(Debug)]
struct Prefix {
    name: Box<str>,
    parent: Option<usize>,
    rules: Rules,
}

/// Prefixes in order. Invariant: all prefixes of a name are the last one that is not after it and
/// its parents, or parents only: what stands between a prefix and a name that begins with it begins
/// with it, too.
#[derive(Debug, Default)]
struct Prefixes {
    sorted: Vec<Prefix>,
}

impl Prefixes {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|it| (*it.name).cmp(name))
    }

    /// All that `name` begins with, the longest first.
    fn of<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Prefix> + use<'a> {
        let after = self.sorted.partition_point(|it| *it.name <= *name);
        let last = after.checked_sub(1).map(|at| &self.sorted[at]);
        let common = last.map_or(0, |last| common_bytes(&last.name, name));
        let parent = |it: &&'a Prefix| it.parent.map(|at| &self.sorted[at]);
        std::iter::successors(last, parent).skip_while(move |it| it.name.len() > common)
    }

    fn set(&mut self, name: &str, rules: Option<Rules>) {
        match (self.find(name), rules) {
            (Ok(at), Some(rules)) => self.sorted[at].rules = rules,
            (Ok(at), None) => {
                self.sorted.remove(at);
                self.find_parents();
            }
            (Err(at), Some(rules)) => {
                let name = name.into();
                let parent = None;
                let prefix = Prefix {
                    name,
                    parent,
                    rules,
                };
                self.sorted.insert(at, prefix);
                self.find_parents();
            }
            (Err(_), None) => {}
        }
    }

    fn find_parents(&mut self) {
        let mut open: Vec<usize> = Vec::new();
        for at in 0..self.sorted.len() {
            let name = &self.sorted[at].name;
            let is_within = |parent: &usize| name.starts_with(&*self.sorted[*parent].name);
            while open.last().is_some_and(|last| !is_within(last)) {
                open.pop();
            }
            self.sorted[at].parent = open.last().copied();
            open.push(at);
        }
    }
}

fn common_bytes(a: &str, b: &str) -> usize {
    let pairs = a.bytes().zip(b.bytes());
    pairs.take_while(|(a, b)| a == b).count()
}

/// The ACLs of one kind of resource.
#[derive(Debug, Default)]
struct OfKind {
    literal: HashMap<Box<str>, Rules>,
    prefixed: Prefixes,
}

impl OfKind {
    fn applying<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Rules> + use<'a> {
        let own = self.literal.get(name);
        let every = (name != WILDCARD).then(|| self.literal.get(WILDCARD));
        let prefixed = self.prefixed.of(name).map(|it| &it.rules);
        own.into_iter().chain(every.flatten()).chain(prefixed)
    }
}

/// All ACLs.
#[derive(Debug, Default)]
pub struct Index {
    by_kind: [OfKind; ResourceKind::ALL.len()],
}

impl Index {
    pub fn of<'a>(bindings: impl Iterator<Item = &'a Binding>) -> Self {
        let mut index = Self::default();
        let mut prefixed: HashMap<(ResourceKind, &str), Rules> = HashMap::new();
        for binding in bindings {
            match binding.pattern {
                Pattern::Literal => {
                    let literal = &mut index.kind_mut(binding.kind).literal;
                    literal.entry(binding.name.as_str().into()).or_default()
                }
                Pattern::Prefixed => prefixed
                    .entry((binding.kind, binding.name.as_str()))
                    .or_default(),
            }
            .add(binding);
        }
        for ((kind, name), rules) in prefixed {
            let name = name.into();
            index.kind_mut(kind).prefixed.sorted.push(Prefix {
                name,
                parent: None,
                rules,
            });
        }
        for of_kind in &mut index.by_kind {
            let prefixed = &mut of_kind.prefixed;
            prefixed.sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            prefixed.find_parents();
        }
        index
    }

    /// Adds one ACL that is new.
    pub fn add(&mut self, binding: &Binding) {
        let of_kind = self.kind_mut(binding.kind);
        let rules = match binding.pattern {
            Pattern::Literal => of_kind
                .literal
                .entry(binding.name.as_str().into())
                .or_default(),
            Pattern::Prefixed => {
                let prefixed = &mut of_kind.prefixed;
                if prefixed.find(&binding.name).is_err() {
                    prefixed.set(&binding.name, Some(Rules::default()));
                }
                let Ok(at) = prefixed.find(&binding.name) else {
                    return;
                };
                &mut prefixed.sorted[at].rules
            }
        };
        rules.add(binding);
    }

    /// These are all ACLs of the pattern from now on.
    pub fn replace<'a>(
        &mut self,
        (kind, pattern, name): (ResourceKind, Pattern, &str),
        bindings: impl Iterator<Item = &'a Binding>,
    ) {
        let mut rules: Option<Rules> = None;
        for binding in bindings {
            rules.get_or_insert_default().add(binding);
        }
        let of_kind = self.kind_mut(kind);
        match (pattern, rules) {
            (Pattern::Literal, Some(rules)) => drop(of_kind.literal.insert(name.into(), rules)),
            (Pattern::Literal, None) => drop(of_kind.literal.remove(name)),
            (Pattern::Prefixed, rules) => of_kind.prefixed.set(name, rules),
        }
    }

    pub fn judge(&self, asker: Asker<'_>, kind: ResourceKind, name: &str) -> Verdict {
        let mut verdict = Verdict::default();
        for rules in self.kind(kind).applying(name) {
            verdict.has_acls = true;
            verdict.said.add(rules.say(asker));
        }
        verdict
    }

    /// Whether the ACLs allow the operation on some resource of the kind, which need not exist
    /// (`Authorizer.authorizeByResourceType` behind its first check). Nothing is implied here.
    pub fn allows_some(&self, asker: Asker<'_>, operation: Operation, kind: ResourceKind) -> bool {
        let of_kind = self.kind(kind);
        let meant = Operations::of(&[operation, Operation::All]);
        let allows = |rules: &Rules| rules.say(asker).allow.has_any(meant);
        let denies = |rules: &Rules| rules.say(asker).deny.has_any(meant);
        let has_denied_prefix = |name: &str| {
            let mut prefixes = of_kind.prefixed.of(name);
            prefixes.any(|it| denies(&it.rules))
        };
        if let Some(every) = of_kind.literal.get(WILDCARD) {
            if denies(every) {
                return false;
            }
            if allows(every) {
                return true;
            }
        }
        let mut literal = of_kind.literal.iter();
        let mut prefixed = of_kind.prefixed.sorted.iter();
        literal.any(|(name, rules)| allows(rules) && !denies(rules) && !has_denied_prefix(name))
            || prefixed.any(|it| allows(&it.rules) && !has_denied_prefix(&it.name))
    }

    fn kind(&self, kind: ResourceKind) -> &OfKind {
        &self.by_kind[position(kind)]
    }

    fn kind_mut(&mut self, kind: ResourceKind) -> &mut OfKind {
        &mut self.by_kind[position(kind)]
    }
}

fn position(kind: ResourceKind) -> usize {
    kind as usize - ResourceKind::ALL[0] as usize
}

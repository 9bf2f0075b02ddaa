//! The ACLs: stored in cluster metadata, and in memory for decisions.
//!
//! Invariants: stored first, in memory second. Their number and total size are limited. A change of
//! memory raises the generation, under the lock that decisions take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use rpds::RedBlackTreeMapSync;

use super::filter::{self, Filter};
use super::index::Index;
use super::vocabulary::{Operation, ResourceKind};
use crate::metadata::{Metadata, MetadataError, News, Transaction, Version};
use crate::records::acl::{AclKeyspace, Binding, Origins, Pattern, Permission};

/// How many ACLs there may be.
#[derive(Debug, Clone, Copy)]
struct Limits {
    count: usize,
    /// Of their names, principals and hosts together.
    bytes: usize,
}

const LIMITS: Limits = Limits {
    count: 100_000,
    bytes: 64 << 20,
};

/// ACLs that one request sets or removes, at most (Kafka's `MAX_RECORDS_PER_USER_OP`).
pub const CHANGES_MAX: usize = 10_000;
/// For more changes than this, a new index is made while decisions continue with the old one.
const REBUILD_FROM: usize = 256;

/// Who sets or removes an ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A client of this cluster.
    Local,
    /// The link of that name, from its source.
    Link(String),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This origin wants the ACL. Nothing happens if it wanted it before.
    Add(Binding, Origin),
    /// This origin wants the ACL no longer: it is removed unless another one does.
    Release(Binding, Origin),
    /// Removed, whoever has set it.
    Remove(Binding),
}

impl Change {
    pub fn binding(&self) -> &Binding {
        match self {
            Self::Add(binding, _) | Self::Release(binding, _) | Self::Remove(binding) => binding,
        }
    }

    fn change(&self, origins: &mut Origins) {
        match self {
            Self::Add(_, Origin::Local) => origins.is_local = true,
            Self::Add(_, Origin::Link(link)) => drop(origins.links.insert(link.clone())),
            Self::Release(_, Origin::Local) => origins.is_local = false,
            Self::Release(_, Origin::Link(link)) => drop(origins.links.remove(link)),
            Self::Remove(_) => *origins = Origins::default(),
        }
    }
}

/// Why ACLs cannot be changed: nothing was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    #[error("{0}")]
    Invalid(String),
    #[error("There are {0} ACLs, which is the limit.")]
    TooMany(usize),
    #[error("The ACLs would take more than {0} bytes together.")]
    TooLarge(usize),
    #[error("not stored: {0}")]
    NotStored(String),
}

fn not_stored(error: MetadataError) -> AclError {
    tracing::error!(%error, "ACLs were not stored");
    AclError::NotStored(error.to_string())
}

type Bindings = RedBlackTreeMapSync<Binding, Origins>;

/// All ACLs at one time, in order. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AllAcls(Bindings);

impl AllAcls {
    /// Those that the filter wants.
    pub fn matching<'a>(
        &'a self,
        filter: &'a Filter,
    ) -> impl Iterator<Item = (&'a Binding, &'a Origins)> {
        let (narrow, wide) = match filter.narrow() {
            Some(pattern) => (Some(of_pattern(&self.0, pattern)), None),
            None => (None, Some(self.0.iter())),
        };
        let found = narrow.into_iter().flatten();
        let found = found.chain(wide.into_iter().flatten());
        found.filter(|(binding, _)| filter.fits(binding))
    }
}

/// The ACLs of one pattern, which are next to each other.
fn of_pattern<'a>(
    bindings: &'a Bindings,
    (kind, pattern, name): (ResourceKind, Pattern, &'a str),
) -> impl Iterator<Item = (&'a Binding, &'a Origins)> {
    // Not after any of them, and after all of the patterns before.
    let first = Binding {
        kind,
        pattern,
        name: name.to_owned(),
        principal: String::new(),
        host: String::new(),
        operation: Operation::All,
        permission: Permission::Deny,
    };
    let tail = bindings.range(first..);
    tail.take_while(move |(it, _)| it.kind == kind && it.pattern == pattern && it.name == name)
}

/// What decisions are made by.
#[derive(Debug, Default)]
pub(super) struct Held {
    bindings: Bindings,
    pub(super) index: Index,
    bytes: usize,
    pub(super) generation: u64,
}

/// All ACLs of the cluster.
pub struct Acls {
    limits: Limits,
    metadata: Metadata,
    /// Up to where `held` follows what is stored. One change at a time holds it.
    seen: Mutex<Version>,
    held: RwLock<Held>,
    /// That of `held`.
    generation: AtomicU64,
}

impl Acls {
    /// Loads the stored ACLs.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn open(metadata: Metadata) -> Result<Self, MetadataError> {
        let acls = Self {
            limits: LIMITS,
            metadata,
            seen: Mutex::new(Version::ABSENT),
            held: RwLock::default(),
            generation: AtomicU64::new(0),
        };
        acls.follow(&mut acls.seen.lock())?;
        Ok(acls)
    }

    /// The ACLs that the filter wants, with who has set them, in order.
    #[cfg(test)]
    pub fn list(&self, filter: &Filter) -> Vec<(Binding, Origins)> {
        let all = self.all();
        let wanted = all.matching(filter);
        wanted
            .map(|(binding, origins)| (binding.clone(), origins.clone()))
            .collect()
    }

    /// Changes whenever ACLs do. Decisions from before are not valid then.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// All ACLs as they are now.
    pub fn all(&self) -> AllAcls {
        AllAcls(self.held.read().bindings.clone())
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Held) -> T) -> T {
        read(&self.held.read())
    }

    /// Makes all changes, in order, in one write, or none. They are in force on return. Blocks on
    /// disk.
    ///
    /// # Errors
    /// Nothing is changed.
    pub fn apply(&self, changes: &[Change]) -> Result<(), AclError> {
        for change in changes {
            if let Change::Add(binding, _) = change {
                filter::check(binding)?;
            }
        }
        let mut seen = self.seen.lock();
        loop {
            // What others have stored counts, too.
            self.follow(&mut seen).map_err(not_stored)?;
            let Some(transaction) = self.plan(changes)? else {
                return Ok(());
            };
            match self.metadata.commit(transaction) {
                Err(MetadataError::Conflict(_)) => {}
                stored => {
                    stored.map_err(not_stored)?;
                    log(changes);
                    return self.follow(&mut seen).map_err(not_stored);
                }
            }
        }
    }

    /// The write that makes the changes; `None` if nothing changes.
    fn plan(&self, changes: &[Change]) -> Result<Option<Transaction>, AclError> {
        let AllAcls(all) = self.all();
        let mut after: BTreeMap<&Binding, Origins> = BTreeMap::new();
        for change in changes {
            let binding = change.binding();
            let before = || all.get(binding).cloned().unwrap_or_default();
            change.change(after.entry(binding).or_insert_with(before));
        }
        let (mut count, mut bytes) = (all.size(), self.read(|held| held.bytes));
        let mut transaction = Transaction::new();
        let mut is_empty = true;
        for (binding, origins) in after {
            let before = all.get(binding);
            if before.unwrap_or(&Origins::default()) == &origins {
                continue;
            }
            is_empty = false;
            match (before, origins.is_empty()) {
                (None, _) => (count, bytes) = (count + 1, bytes + size(binding)),
                (Some(_), true) => (count, bytes) = (count - 1, bytes - size(binding)),
                (Some(_), false) => {}
            }
            let stored = self.metadata.get_versioned::<AclKeyspace>(binding);
            let stored = stored.map_err(not_stored)?;
            let version = stored.map_or(Version::ABSENT, |it| it.version);
            transaction.expect::<AclKeyspace>(binding, version);
            match origins.is_empty() {
                true => transaction.delete::<AclKeyspace>(binding),
                false => transaction.put::<AclKeyspace>(binding, &origins),
            }
        }
        let (limits, grows) = (self.limits, count > all.size());
        match () {
            () if grows && count > limits.count => Err(AclError::TooMany(limits.count)),
            () if grows && bytes > limits.bytes => Err(AclError::TooLarge(limits.bytes)),
            () => Ok((!is_empty).then_some(transaction)),
        }
    }

    /// Puts in force what others have stored.
    pub fn catch_up(&self) {
        if let Err(error) = self.follow(&mut self.seen.lock()) {
            tracing::error!(%error, "changed ACLs cannot be read");
        }
    }

    /// Puts in force what is stored, up to now.
    fn follow(&self, seen: &mut Version) -> Result<(), MetadataError> {
        match self.metadata.news::<AclKeyspace>(seen)? {
            News::All(all) => self.install(all.into_iter().collect()),
            News::Changes(changes) if changes.is_empty() => {}
            News::Changes(changes) if changes.len() >= REBUILD_FROM => {
                let AllAcls(mut bindings) = self.all();
                for (binding, origins) in changes {
                    match origins {
                        Some(origins) => bindings.insert_mut(binding, origins),
                        None => drop(bindings.remove_mut(&binding)),
                    }
                }
                self.install(bindings);
            }
            News::Changes(changes) => {
                let mut held = self.held.write();
                held.change(changes);
                self.raise_generation(&mut held);
            }
        }
        Ok(())
    }

    fn install(&self, bindings: Bindings) {
        let index = Index::of(bindings.keys());
        let bytes = bindings.keys().map(size).sum();
        let mut held = self.held.write();
        let before = std::mem::take(&mut *held);
        *held = Held {
            bindings,
            index,
            bytes,
            generation: before.generation,
        };
        self.raise_generation(&mut held);
        drop(held);
        // The old index is freed here, where nobody waits for it.
        drop(before);
    }

    fn raise_generation(&self, held: &mut Held) {
        held.generation += 1;
        self.generation.store(held.generation, Ordering::Release);
    }
}

impl Held {
    fn change(&mut self, changes: Vec<(Binding, Option<Origins>)>) {
        // Patterns that lose an ACL are indexed again: two ACLs may say the same.
        let mut again = BTreeSet::new();
        for (binding, origins) in changes {
            let is_new = !self.bindings.contains_key(&binding);
            match origins {
                Some(origins) => {
                    if is_new {
                        self.bytes += size(&binding);
                        self.index.add(&binding);
                    }
                    self.bindings.insert_mut(binding, origins);
                }
                None if is_new => {}
                None => {
                    self.bytes -= size(&binding);
                    self.bindings.remove_mut(&binding);
                    again.insert((binding.kind, binding.pattern, binding.name));
                }
            }
        }
        for (kind, pattern, name) in again {
            let pattern = (kind, pattern, name.as_str());
            let own = of_pattern(&self.bindings, pattern);
            self.index.replace(pattern, own.map(|(binding, _)| binding));
        }
    }
}

fn log(changes: &[Change]) {
    for change in changes {
        let (verb, binding) = match change {
            Change::Add(binding, Origin::Local) => ("set", binding),
            Change::Add(binding, Origin::Link(_)) => ("set by a link", binding),
            Change::Release(binding, _) => ("no longer wanted by a link", binding),
            Change::Remove(binding) => ("removed", binding),
        };
        tracing::debug!("ACL {verb}: {binding}");
    }
    tracing::info!(changes = changes.len(), "ACLs were changed");
}

fn size(binding: &Binding) -> usize {
    binding.name.len() + binding.principal.len() + binding.host.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metadata::memory::MemoryMetadata;

    fn acl(name: &str, operation: Operation) -> Binding {
        Binding {
            kind: ResourceKind::Topic,
            pattern: Pattern::Literal,
            name: name.to_owned(),
            principal: "User:ann".to_owned(),
            host: "*".to_owned(),
            operation,
            permission: Permission::Allow,
        }
    }

    fn add(name: &str) -> Change {
        Change::Add(acl(name, Operation::Read), Origin::Local)
    }

    fn link() -> Origin {
        Origin::Link("link".to_owned())
    }

    fn open(store: &Arc<MemoryMetadata>) -> Arc<Acls> {
        Arc::new(Acls::open(store.metadata()).unwrap())
    }

    fn names(acls: &Acls) -> Vec<String> {
        let all = acls.list(&Filter::default());
        all.into_iter().map(|(binding, _)| binding.name).collect()
    }

    #[test]
    fn acls_are_stored_and_in_force_here_and_elsewhere() {
        let store = MemoryMetadata::new();
        let (here, there) = (open(&store), open(&store));
        let before = here.generation();
        here.apply(&[add("a"), add("b")]).unwrap();
        assert!(here.generation() > before);
        assert_eq!(names(&here), ["a", "b"]);
        there.apply(&[add("c")]).unwrap();
        there
            .apply(&[Change::Remove(acl("a", Operation::Read))])
            .unwrap();
        here.catch_up();
        for acls in [&here, &there, &open(&store)] {
            assert_eq!(names(acls), ["b", "c"]);
        }
    }

    #[test]
    fn what_is_there_already_changes_nothing() {
        let acls = open(&MemoryMetadata::new());
        acls.apply(&[add("a"), add("a")]).unwrap();
        let before = acls.generation();
        acls.apply(&[add("a"), Change::Remove(acl("b", Operation::Read))])
            .unwrap();
        assert_eq!(acls.generation(), before);
        assert_eq!(names(&acls), ["a"]);
    }

    #[test]
    fn an_acl_stays_as_long_as_a_client_or_a_link_wants_it() {
        let acls = open(&MemoryMetadata::new());
        let binding = || acl("a", Operation::Read);
        acls.apply(&[add("a"), Change::Add(binding(), link())])
            .unwrap();
        acls.apply(&[Change::Release(binding(), link())]).unwrap();
        assert_eq!(names(&acls), ["a"]);
        acls.apply(&[Change::Add(binding(), link())]).unwrap();
        acls.apply(&[Change::Release(binding(), Origin::Local)])
            .unwrap();
        let (_, origins) = acls.list(&Filter::default()).remove(0);
        assert!(!origins.is_local);
        assert!(origins.links.contains("link"));
        acls.apply(&[Change::Remove(binding())]).unwrap();
        assert_eq!(names(&acls), [""; 0], "whoever has set it");
    }

    #[test]
    fn all_changes_are_made_or_none() {
        let store = MemoryMetadata::new();
        let acls = open(&store);
        let mut unnamed = acl("", Operation::Read);
        unnamed.name.clear();
        let refused = acls.apply(&[add("a"), Change::Add(unnamed, Origin::Local)]);
        assert!(matches!(refused, Err(AclError::Invalid(_))));
        store.fail_next();
        let refused = acls.apply(&[add("a")]);
        assert!(matches!(refused, Err(AclError::NotStored(_))));
        assert_eq!(names(&acls), [""; 0]);
    }

    #[test]
    fn a_change_that_comes_in_between_is_not_lost() {
        let store = MemoryMetadata::new();
        let (here, there) = (open(&store), open(&store));
        store.before_next_commit(move || {
            let binding = acl("a", Operation::Read);
            there.apply(&[Change::Add(binding, link())]).unwrap();
        });
        here.apply(&[add("a")]).unwrap();
        let (_, origins) = here.list(&Filter::default()).remove(0);
        assert!(origins.is_local && origins.links.contains("link"));
    }

    #[test]
    fn their_number_and_size_are_limited() {
        let limited = |count, bytes| {
            let mut acls = Acls::open(MemoryMetadata::new().metadata()).unwrap();
            acls.limits = Limits { count, bytes };
            acls
        };
        let acls = limited(2, 1_000);
        acls.apply(&[add("a"), add("b")]).unwrap();
        assert_eq!(acls.apply(&[add("c")]), Err(AclError::TooMany(2)));
        // One that goes makes room for another.
        let go = Change::Remove(acl("a", Operation::Read));
        acls.apply(&[add("c"), go]).unwrap();

        let acls = limited(10, 30);
        acls.apply(&[add("abcdefgh"), add("b")]).unwrap();
        assert_eq!(acls.apply(&[add("c")]), Err(AclError::TooLarge(30)));
        let go = Change::Remove(acl("abcdefgh", Operation::Read));
        acls.apply(&[go, add("c")]).unwrap();
        assert_eq!(names(&acls), ["b", "c"]);
    }
}

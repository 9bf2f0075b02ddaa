//! Decisions that were made before, so that making them again costs one look-up and no memory.
//!
//! Invariants: a fixed number of entries, each of limited size. An entry holds for one generation
//! of ACLs. What is not in here is decided again, so anything may be thrown out.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;

use parking_lot::Mutex;

use super::vocabulary::{Operations, ResourceKind};
use crate::principal::Principal;

/// Entries that share a lock; one more of them replaces the oldest.
const WAYS: usize = 4;
/// 64 Ki decisions. A power of two.
const BUCKETS: usize = 16_384;
/// Bytes of the names in an entry; what has longer ones is decided again and again.
const NAMES_MAX_BYTES: usize = 512;

/// What a decision is about: all operations at once. `name` is `None` for the question whether there
/// is any resource of the kind.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub who: &'a Principal,
    pub host: IpAddr,
    pub kind: ResourceKind,
    pub name: Option<&'a str>,
}

struct Entry {
    generation: u64,
    who: Principal,
    host: IpAddr,
    kind: ResourceKind,
    name: Option<Box<str>>,
    /// For which operations the answer is known.
    known: Operations,
    allowed: Operations,
}

impl Entry {
    fn is_about(&self, question: &Question<'_>) -> bool {
        self.kind == question.kind
            && self.name.as_deref() == question.name
            && self.host == question.host
            && self.who == *question.who
    }
}

#[derive(Default)]
struct Bucket {
    entries: [Option<Entry>; WAYS],
    oldest: usize,
}

pub struct Cache {
    buckets: Box<[Mutex<Bucket>]>,
    hasher: RandomState,
}

impl Cache {
    pub fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    fn bucket(&self, question: &Question<'_>) -> &Mutex<Bucket> {
        let who = question.who.name();
        let what = (question.kind, question.name);
        let hash = self.hasher.hash_one((who, question.host, what));
        &self.buckets[hash as usize % BUCKETS]
    }

    /// What is allowed, of the operations that are known, if ACLs are of that generation.
    pub fn get(
        &self,
        question: &Question<'_>,
        generation: u64,
    ) -> Option<(Operations, Operations)> {
        let bucket = self.bucket(question).lock();
        let mut entries = bucket.entries.iter().flatten();
        let entry = entries.find(|entry| entry.is_about(question))?;
        (entry.generation == generation).then_some((entry.known, entry.allowed))
    }

    pub fn put(
        &self,
        question: &Question<'_>,
        generation: u64,
        known: Operations,
        allowed: Operations,
    ) {
        let names_bytes = question.who.name().len() + question.name.map_or(0, str::len);
        if names_bytes > NAMES_MAX_BYTES {
            return;
        }
        let entry = Entry {
            generation,
            who: question.who.clone(),
            host: question.host,
            kind: question.kind,
            name: question.name.map(Into::into),
            known,
            allowed,
        };
        let mut bucket = self.bucket(question).lock();
        let same = |it: &Option<Entry>| it.as_ref().is_some_and(|it| it.is_about(question));
        let at = bucket.entries.iter().position(same).unwrap_or_else(|| {
            let oldest = bucket.oldest;
            bucket.oldest = (oldest + 1) % WAYS;
            oldest
        });
        bucket.entries[at] = Some(entry);
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

//! What every store of cluster metadata must do, tested on the real one and on the one for tests.

use std::sync::Arc;

use super::memory::MemoryMetadata;
use super::rocks::RocksMetadata;
use super::{
    CommitError, Metadata, MetadataError, MetadataStore, News, Stored, Transaction, Version,
};
use crate::records::cluster::{ClusterKeyspace, ClusterRecord};
use crate::records::{Edit, Keyspace};

/// A store under test, with what it is stored in.
trait Kind {
    fn open() -> Self;
    fn metadata(&self) -> Metadata;
    fn store(&self) -> &dyn MetadataStore;
    /// The process has ended and started again.
    fn restart(self) -> Self;
}

struct Rocks(Arc<RocksMetadata>, tempfile::TempDir);

impl Kind for Rocks {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self(Arc::new(RocksMetadata::open(dir.path()).unwrap()), dir)
    }

    fn metadata(&self) -> Metadata {
        Metadata::new(self.0.clone())
    }

    fn store(&self) -> &dyn MetadataStore {
        &*self.0
    }

    fn restart(self) -> Self {
        let Self(store, dir) = self;
        drop(store);
        Self(Arc::new(RocksMetadata::open(dir.path()).unwrap()), dir)
    }
}

struct Memory(Arc<MemoryMetadata>);

impl Kind for Memory {
    fn open() -> Self {
        Self(MemoryMetadata::new())
    }

    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    fn store(&self) -> &dyn MetadataStore {
        &*self.0
    }

    fn restart(self) -> Self {
        self
    }
}

fn key(name: &str) -> Vec<u8> {
    [&[7], name.as_bytes()].concat()
}

fn put(name: &str, value: &str) -> Edit {
    Edit::Put {
        key: key(name),
        value: value.as_bytes().to_vec(),
    }
}

fn edits(edits: &[Edit]) -> Transaction {
    Transaction {
        expected: Vec::new(),
        edits: edits.to_vec(),
    }
}

fn expecting(name: &str, version: Version, edits: &[Edit]) -> Transaction {
    Transaction {
        expected: vec![(key(name), version)],
        edits: edits.to_vec(),
    }
}

fn names(store: &dyn MetadataStore, prefix: &str) -> Vec<String> {
    let found = store.scan(&key(prefix)).unwrap().into_iter();
    let name = |(key, _): (Vec<u8>, _)| String::from_utf8(key[1..].to_vec()).unwrap();
    found.map(name).collect()
}

fn version(store: &dyn MetadataStore, name: &str) -> Version {
    let found = store.get(&key(name)).unwrap();
    found.map_or(Version::ABSENT, |found| found.version)
}

fn a_transaction_is_seen_whole_and_survives_a_restart<K: Kind>() {
    let kind = K::open();
    let gone = Edit::Delete { key: key("b") };
    let all = [
        put("a", "1"),
        put("b", "2"),
        put("a", "3"),
        gone,
        put("c", "4"),
    ];
    let stored = kind.store().commit(edits(&all)).unwrap();
    let kind = kind.restart();
    let store = kind.store();
    assert_eq!(names(store, ""), ["a", "c"]);
    assert_eq!(store.get(&key("a")).unwrap().unwrap().value, b"3");
    assert_eq!(store.get(&key("b")).unwrap(), None);
    assert!(version(store, "a") >= stored, "versions do not go back");
    assert_eq!(
        version(store, "a"),
        store.scan(&key("a")).unwrap()[0].1.version
    );
}

fn a_version_changes_with_its_record_alone<K: Kind>() {
    let kind = K::open();
    let store = kind.store();
    let first = store
        .commit(edits(&[put("a", "1"), put("b", "1")]))
        .unwrap();
    assert!(first > Version::ABSENT);
    assert_eq!((version(store, "a"), version(store, "b")), (first, first));
    let second = store.commit(edits(&[put("b", "1")])).unwrap();
    assert!(second > first, "the same value is a change, too");
    assert_eq!((version(store, "a"), version(store, "b")), (first, second));
    assert!(store.version() >= second);
    let kind = kind.restart();
    let store = kind.store();
    let (a, b) = (version(store, "a"), version(store, "b"));
    assert!(a >= first && b >= second);
    let third = store.commit(edits(&[put("a", "2")])).unwrap();
    assert!(third > a && third > b);
    assert_eq!(version(store, "b"), b);
}

fn nothing_is_stored_where_a_record_is_not_as_expected<K: Kind>() {
    let kind = K::open();
    let store = kind.store();
    let first = store
        .commit(expecting("a", Version::ABSENT, &[put("a", "1")]))
        .unwrap();
    let refused = |transaction, about: &[&str]| match store.commit(transaction) {
        Err(CommitError::Conflict(conflict)) => {
            let about: Vec<_> = about.iter().map(|name| key(name)).collect();
            assert_eq!(conflict.keys, about);
        }
        other => panic!("{other:?}"),
    };
    let other = [put("b", "2")];
    refused(expecting("a", Version::ABSENT, &other), &["a"]);
    refused(expecting("b", first, &other), &["b"]);
    let mut both = expecting("a", Version::ABSENT, &other);
    both.append(expecting("c", first, &[]));
    refused(both, &["a", "c"]);
    assert_eq!(names(store, ""), ["a"]);
    let second = store
        .commit(expecting("a", first, &[put("a", "2")]))
        .unwrap();
    refused(expecting("a", first, &other), &["a"]);
    // Deleted and put again is another record.
    store
        .commit(expecting("a", second, &[Edit::Delete { key: key("a") }]))
        .unwrap();
    refused(expecting("a", second, &other), &["a"]);
    let again = store
        .commit(expecting("a", Version::ABSENT, &[put("a", "2")]))
        .unwrap();
    refused(expecting("a", second, &other), &["a"]);
    let kind = kind.restart();
    let store = kind.store();
    let now = version(store, "a");
    assert!(now >= again);
    store.commit(expecting("a", now, &[put("a", "3")])).unwrap();
}

fn a_prefix_is_deleted_with_what_the_transaction_has_put_there<K: Kind>() {
    let kind = K::open();
    let store = kind.store();
    store
        .commit(edits(&[
            put("a", ""),
            put("b1", ""),
            put("b2", ""),
            put("c", ""),
        ]))
        .unwrap();
    let prefix = key("b");
    let all = [put("b3", ""), Edit::DeletePrefix { prefix }, put("b4", "")];
    let stored = store.commit(edits(&all)).unwrap();
    assert_eq!(names(store, ""), ["a", "b4", "c"]);
    assert_eq!(version(store, "b1"), Version::ABSENT);
    assert_eq!(version(store, "b4"), stored);
}

fn the_feed_tells_every_change_in_order<K: Kind>() {
    let kind = K::open();
    let store = kind.store();
    let begun = store.version();
    let woken = store.watch();
    let first = store
        .commit(edits(&[put("a", "1"), put("b", "1")]))
        .unwrap();
    assert!(woken.has_changed().unwrap());
    let prefix = key("a");
    let second = store
        .commit(edits(&[Edit::DeletePrefix { prefix }]))
        .unwrap();
    let third = store.commit(edits(&[put("b", "2")])).unwrap();
    let told = |after, prefix: &[u8]| {
        let told = store.changes(after, prefix).unwrap();
        assert!(told.upto >= third);
        let changes = told.changes.into_iter();
        let brief = changes.map(|it| (it.key[1..].to_vec(), it.value.is_some(), it.version));
        brief.collect::<Vec<_>>()
    };
    let (a, b) = (b"a".to_vec(), b"b".to_vec());
    let all = [
        (a.clone(), true, first),
        (b.clone(), true, first),
        (a, false, second),
        (b.clone(), true, third),
    ];
    assert_eq!(told(begun, &[7]), all);
    assert_eq!(told(first, &[7]), all[2..]);
    assert_eq!(told(first, b"\x07b"), [(b, true, third)]);
    assert_eq!(told(third, &[7]), []);
    assert_eq!(told(begun, &[8]), []);
}

fn a_feed_that_is_too_far_ahead_says_so<K: Kind>() {
    let kind = K::open();
    let store = kind.store();
    let first = store.commit(edits(&[put("a", "1")])).unwrap();
    let large = "x".repeat(700_000);
    store.commit(edits(&[put("b", &large)])).unwrap();
    assert_eq!(store.changes(first, &[7]).unwrap().changes.len(), 1);
    let last = store.commit(edits(&[put("c", &large)])).unwrap();
    assert_eq!(store.changes(first, &[7]), None);
    assert_eq!(store.changes(last, &[7]).unwrap().changes, []);
    let before = version(store, "a");
    assert_eq!(before, first, "versions are known for ever");
}

/// Of several that add one to a number they have read, none overwrites another's.
fn compares_serialize_who_reads_and_writes<K: Kind>() {
    const THREADS: usize = 4;
    const EACH: u64 = 50;
    let kind = K::open();
    let store = kind.store();
    store.commit(edits(&[put("n", "0")])).unwrap();
    let add = || {
        for _ in 0..EACH {
            loop {
                let Stored { value, version } = store.get(&key("n")).unwrap().unwrap();
                let number: u64 = String::from_utf8(value).unwrap().parse().unwrap();
                let next = put("n", &(number + 1).to_string());
                match store.commit(expecting("n", version, &[next])) {
                    Ok(_) => break,
                    Err(CommitError::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(add);
        }
    });
    let sum = (THREADS as u64 * EACH).to_string();
    assert_eq!(store.get(&key("n")).unwrap().unwrap().value, sum.as_bytes());
    let told = store.changes(version(store, "n"), &[7]).unwrap();
    assert_eq!(told.changes, []);
}

fn a_copy_follows_by_its_news<K: Kind>() {
    let kind = K::open();
    let metadata = kind.metadata();
    let record = |id: &str| ClusterRecord {
        cluster_id: id.to_owned(),
    };
    let set = |id: &str| {
        let mut transaction = Transaction::new();
        transaction.put::<ClusterKeyspace>(&(), &record(id));
        metadata.commit(transaction).unwrap()
    };
    set("one");
    let mut seen = Version::ABSENT;
    let mut news = || match metadata.news::<ClusterKeyspace>(&mut seen).unwrap() {
        News::All(all) => Err(all),
        News::Changes(changes) => Ok(changes),
    };
    assert_eq!(news(), Err(vec![((), record("one"))]));
    assert_eq!(news(), Ok(Vec::new()));
    let two = set("two");
    set("three");
    let mut gone = Transaction::new();
    gone.delete::<ClusterKeyspace>(&());
    metadata.commit(gone).unwrap();
    let changes = [Some(record("two")), Some(record("three")), None];
    assert_eq!(news(), Ok(changes.map(|value| ((), value)).to_vec()));
    let mut refused = Transaction::new();
    refused.expect::<ClusterKeyspace>(&(), two);
    match metadata.commit(refused) {
        Err(MetadataError::Conflict(conflict)) => {
            assert_eq!(conflict.keys, [[ClusterKeyspace::PREFIX]]);
            let text = conflict.to_string();
            assert!(text.contains(r#"at "\x01""#), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

fn a_record_that_does_not_decode_is_an_error<K: Kind>() {
    let kind = K::open();
    let damaged = Edit::Put {
        key: vec![ClusterKeyspace::PREFIX],
        value: vec![9],
    };
    kind.store().commit(edits(&[damaged])).unwrap();
    let error = kind.metadata().get::<ClusterKeyspace>(&()).unwrap_err();
    assert!(matches!(error, MetadataError::Corrupt(_)), "{error}");
    assert!(error.to_string().contains("keyspace cluster"), "{error}");
    let mut seen = Version::ABSENT;
    assert!(kind.metadata().news::<ClusterKeyspace>(&mut seen).is_err());
    assert_eq!(seen, Version::ABSENT);
}

macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        mod rocks { $(#[test] fn $test() { super::$test::<super::Rocks>(); })* }
        mod memory { $(#[test] fn $test() { super::$test::<super::Memory>(); })* }
    };
}

contract! {
    a_transaction_is_seen_whole_and_survives_a_restart,
    a_version_changes_with_its_record_alone,
    nothing_is_stored_where_a_record_is_not_as_expected,
    a_prefix_is_deleted_with_what_the_transaction_has_put_there,
    the_feed_tells_every_change_in_order,
    a_feed_that_is_too_far_ahead_says_so,
    compares_serialize_who_reads_and_writes,
    a_copy_follows_by_its_news,
    a_record_that_does_not_decode_is_an_error,
}

#[test]
fn a_decision_is_made_again_if_what_it_rests_on_has_changed() {
    let store = MemoryMetadata::new();
    let (metadata, other) = (store.metadata(), store.metadata());
    store.before_next_commit(move || {
        let record = ClusterRecord {
            cluster_id: "theirs".to_owned(),
        };
        let mut theirs = Transaction::new();
        theirs.put::<ClusterKeyspace>(&(), &record);
        other.commit(theirs).unwrap();
    });
    let mut seen = Vec::new();
    let decided = metadata.decide(|change| {
        let found = change.read::<ClusterKeyspace>(&metadata, &())?;
        seen.push(found.map(|found| found.cluster_id));
        let record = ClusterRecord {
            cluster_id: format!("ours after {}", seen.len()),
        };
        change.put::<ClusterKeyspace>(&(), &record);
        Ok(record.cluster_id)
    });
    assert_eq!(decided.unwrap(), "ours after 2");
    assert_eq!(seen, [None, Some("theirs".to_owned())]);
    let stored = metadata.get::<ClusterKeyspace>(&()).unwrap().unwrap();
    assert_eq!(stored.cluster_id, "ours after 2");
    // Of a failure nothing is stored, and it is not tried again.
    store.fail_next();
    let failed = metadata.decide(|change| {
        change.delete::<ClusterKeyspace>(&());
        Ok(())
    });
    assert!(matches!(failed, Err(MetadataError::Failed(_))));
    assert_eq!(metadata.failure().as_deref(), Some("told to fail"));
}

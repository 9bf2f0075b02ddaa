//! The store: round trips, boundaries, reopening, damage.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn put(store: &MetaStore, keys: &[&[u8]]) {
    let mut batch = MetaBatch::new();
    for (value, key) in (0..).zip(keys) {
        batch.put(key.to_vec(), vec![value]);
    }
    store.commit(batch).unwrap();
}

fn scan(store: &MetaStore, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let records = store.scan(prefix).map(Result::unwrap);
    records
        .map(|(key, value)| (key.into_vec(), value.into_vec()))
        .collect()
}

fn keys(store: &MetaStore, prefix: &[u8]) -> Vec<Vec<u8>> {
    let records = scan(store, prefix).into_iter();
    records.map(|(key, _)| key).collect()
}

#[test]
fn a_batch_is_seen_whole_and_survives_reopening() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    let mut batch = MetaBatch::new();
    batch.put(b"ann".to_vec(), vec![41]);
    batch.put(b"zoe".to_vec(), vec![7]);
    batch.put(b"ann".to_vec(), vec![42]);
    batch.put(b"bob".to_vec(), vec![1]);
    batch.delete(b"bob".to_vec());
    assert_eq!(
        store.get(b"ann").unwrap(),
        None,
        "nothing before the commit"
    );
    assert_eq!(batch.len(), 5);
    let before = store.changes();
    store.commit(batch).unwrap();
    assert_eq!(store.changes(), before + 5);
    drop(store);

    let store = MetaStore::open(temp.path()).unwrap();
    assert_eq!(scan(&store, b"a"), [(b"ann".to_vec(), vec![42])]);
    assert_eq!(store.get(b"zoe").unwrap(), Some(vec![7]));
    assert_eq!(store.get(b"bob").unwrap(), None);
    assert_eq!(store.path(), temp.path());
    assert!(store.changes() >= before + 5, "it goes on after a restart");
}

#[test]
fn an_empty_batch_is_fine() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    assert!(MetaBatch::new().is_empty());
    store.commit(MetaBatch::new()).unwrap();
}

#[test]
fn scans_end_where_the_prefix_ends() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    let all: [&[u8]; 8] = [
        b"\xfd",
        b"\xfda",
        b"\xfda\0",
        b"\xfda\xff",
        b"\xfda\xff\xff\xff",
        b"\xfdb",
        b"\xfd\xff",
        b"\xfd\xff\xff",
    ];
    put(&store, &all);
    put(&store, &[b"\xfe"]);

    assert_eq!(keys(&store, b"\xfd"), all);
    assert_eq!(keys(&store, b"\xfda"), all[1..5]);
    assert_eq!(keys(&store, b"\xfda\xff"), all[3..5]);
    assert_eq!(keys(&store, b"\xfd\xff"), all[6..]);
    assert_eq!(keys(&store, b"\xfdc"), [] as [&[u8]; 0]);
}

#[test]
fn deleting_a_prefix_spares_its_neighbours() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    put(
        &store,
        &[
            b"\xfda",
            b"\xfdb",
            b"\xfdb\xff\xff",
            b"\xfdc",
            b"\xfd\xff\xff",
        ],
    );
    let mut batch = MetaBatch::new();
    batch.put(b"\xfe".to_vec(), vec![0]);
    batch.delete_prefix(b"\xfdb".to_vec());
    batch.put(b"\xfdb2".to_vec(), vec![0]);
    store.commit(batch).unwrap();
    let expected: [&[u8]; 4] = [b"\xfda", b"\xfdb2", b"\xfdc", b"\xfd\xff\xff"];
    assert_eq!(keys(&store, b"\xfd"), expected);

    let mut batch = MetaBatch::new();
    batch.delete_prefix(b"\xfd".to_vec());
    store.commit(batch).unwrap();
    assert!(keys(&store, b"\xfd").is_empty());
    assert_eq!(keys(&store, b"\xfe").len(), 1);
}

#[test]
#[should_panic(expected = "reserved")]
fn the_schema_version_is_out_of_reach() {
    MetaBatch::new().put(SCHEMA_KEY.to_vec(), vec![9]);
}

#[test]
fn a_newer_schema_is_refused_naming_both_versions() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    store.db.put(SCHEMA_KEY, 9_u32.to_be_bytes()).unwrap();
    drop(store);
    let error = MetaStore::open(temp.path()).unwrap_err();
    assert!(
        matches!(
            error,
            MetaError::NewerSchema {
                found: 9,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn a_store_without_a_sensible_schema_is_refused() {
    for schema in [&b"\0\0\0\0"[..], b"1", b""] {
        let temp = tempfile::tempdir().unwrap();
        let store = MetaStore::open(temp.path()).unwrap();
        store.db.put(SCHEMA_KEY, schema).unwrap();
        drop(store);
        let error = MetaStore::open(temp.path()).unwrap_err();
        assert!(matches!(error, MetaError::BadSchema { .. }), "{error}");
    }
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    put(&store, &[b"a"]);
    store.db.delete(SCHEMA_KEY).unwrap();
    drop(store);
    let error = MetaStore::open(temp.path()).unwrap_err();
    assert!(matches!(error, MetaError::BadSchema { .. }), "{error}");
}

#[test]
fn a_store_that_is_open_or_not_a_folder_cannot_be_opened() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    let error = MetaStore::open(temp.path()).unwrap_err();
    assert!(
        error.to_string().contains(temp.path().to_str().unwrap()),
        "{error}"
    );
    drop(store);
    let file = temp.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(
        MetaStore::open(&file).unwrap_err(),
        MetaError::Open { .. }
    ));
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, u8),
    Delete(Vec<u8>),
    DeletePrefix(Vec<u8>),
    Commit,
    Reopen,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff)], 0..4)
        .prop_map(|key| [&[7], key.as_slice()].concat())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (key(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::DeletePrefix),
        3 => Just(Step::Commit),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_store_is_a_sorted_map_that_survives_reopening(steps in steps(), prefix in key()) {
        let temp = tempfile::tempdir().unwrap();
        let mut store = MetaStore::open(temp.path()).unwrap();
        let mut batch = MetaBatch::new();
        let (mut pending, mut committed) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    batch.put(key.clone(), vec![value]);
                    pending.insert(key, vec![value]);
                }
                Step::Delete(key) => {
                    batch.delete(key.clone());
                    pending.remove(&key);
                }
                Step::DeletePrefix(prefix) => {
                    batch.delete_prefix(prefix.clone());
                    pending.retain(|key: &Vec<u8>, _| !key.starts_with(&prefix));
                }
                Step::Commit => {
                    store.commit(std::mem::take(&mut batch)).unwrap();
                    committed = pending.clone();
                }
                Step::Reopen => {
                    drop(store);
                    store = MetaStore::open(temp.path()).unwrap();
                }
            }
            let expected: Vec<_> = committed.clone().into_iter().collect();
            prop_assert_eq!(scan(&store, &[7]), expected);
        }
        let expected: Vec<_> =
            committed.into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
        prop_assert_eq!(scan(&store, &prefix), expected);
    }
}

#[test]
fn a_failure_shows_until_changes_are_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = MetaStore::open(dir.path()).unwrap();
    assert_eq!(store.failure(), None);
    *store.failure.lock() = Some("no room".to_owned());
    assert_eq!(store.failure().as_deref(), Some("no room"));
    store.try_again().unwrap();
    assert_eq!(store.failure(), None);
    drop(store);
    MetaStore::open(dir.path()).unwrap();
}

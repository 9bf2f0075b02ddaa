//! The store, with toy keyspaces: round trips, boundaries, reopening, damage.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A keyspace of names and numbers.
struct Ages;

impl Keyspace for Ages {
    const PREFIX: u8 = 0xfd;
    const NAME: &'static str = "age";
    type Key = Vec<u8>;
    type Value = i64;

    fn encode_key(key: &Vec<u8>, out: &mut Vec<u8>) {
        out.extend_from_slice(key);
    }

    fn decode_key(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        Ok(bytes.to_vec())
    }

    fn encode_value(value: &i64, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_i64(*value);
    }

    fn decode_value(bytes: &[u8]) -> Result<i64, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let value = reader.i64()?;
        reader.finish()?;
        Ok(value)
    }
}

/// The neighbour above, with text.
struct Words;

impl Keyspace for Words {
    const PREFIX: u8 = 0xfe;
    const NAME: &'static str = "word";
    type Key = u32;
    type Value = String;

    fn encode_key(key: &u32, out: &mut Vec<u8>) {
        out.put_u32(*key);
    }

    fn decode_key(bytes: &[u8]) -> Result<u32, DecodeError> {
        let mut reader = Reader::new(bytes);
        let key = reader.u32()?;
        reader.finish()?;
        Ok(key)
    }

    fn encode_value(value: &String, out: &mut Vec<u8>) {
        out.put_str(value);
    }

    fn decode_value(bytes: &[u8]) -> Result<String, DecodeError> {
        Ok(Reader::new(bytes).str()?.to_owned())
    }
}

fn put(store: &MetaStore, keys: &[&[u8]]) {
    let mut batch = store.batch();
    for (value, key) in (0..).zip(keys) {
        batch.put::<Ages>(&key.to_vec(), &value);
    }
    store.commit(batch).unwrap();
}

fn keys(records: Records<Ages>) -> Vec<Vec<u8>> {
    records.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn a_batch_changes_several_keyspaces_and_survives_reopening() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    let mut batch = store.batch();
    batch.put::<Ages>(&b"ann".to_vec(), &41);
    let mut part_of_another = MetaBatch::new();
    part_of_another.put::<Words>(&7, &"seven".to_owned());
    part_of_another.put::<Ages>(&b"ann".to_vec(), &42);
    part_of_another.put::<Ages>(&b"bob".to_vec(), &1);
    part_of_another.delete::<Ages>(&b"bob".to_vec());
    batch.append(part_of_another);
    assert_eq!(
        store.get::<Ages>(&b"ann".to_vec()).unwrap(),
        None,
        "nothing before the commit"
    );
    assert_eq!(batch.len(), 5);
    store.commit(batch).unwrap();
    drop(store);

    let store = MetaStore::open(temp.path()).unwrap();
    assert_eq!(store.scan::<Ages>().unwrap(), [(b"ann".to_vec(), 42)]);
    assert_eq!(store.get::<Words>(&7).unwrap().as_deref(), Some("seven"));
    assert_eq!(store.get::<Words>(&8).unwrap(), None);
    assert_eq!(store.path(), temp.path());
}

#[test]
fn an_empty_batch_is_fine() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    assert!(store.batch().is_empty());
    store.commit(store.batch()).unwrap();
}

#[test]
fn scans_end_where_the_prefix_ends() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    let all: [&[u8]; 8] = [
        b"",
        b"a",
        b"a\0",
        b"a\xff",
        b"a\xff\xff\xff",
        b"b",
        b"\xff",
        b"\xff\xff",
    ];
    put(&store, &all);
    let mut batch = store.batch();
    batch.put::<Words>(&0, &"the neighbour".to_owned());
    store.commit(batch).unwrap();

    assert_eq!(keys(store.scan::<Ages>().unwrap()), all);
    assert_eq!(keys(store.scan_prefix::<Ages>(b"a").unwrap()), all[1..5]);
    assert_eq!(
        keys(store.scan_prefix::<Ages>(b"a\xff").unwrap()),
        all[3..5]
    );
    assert_eq!(keys(store.scan_prefix::<Ages>(b"\xff").unwrap()), all[6..]);
    assert_eq!(
        keys(store.scan_prefix::<Ages>(b"c").unwrap()),
        [] as [&[u8]; 0]
    );
}

#[test]
fn deleting_a_prefix_spares_its_neighbours() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    put(&store, &[b"a", b"b", b"b\xff\xff", b"c", b"\xff\xff"]);
    let mut batch = store.batch();
    batch.put::<Words>(&0, &"the neighbour".to_owned());
    batch.delete_prefix::<Ages>(b"b");
    batch.put::<Ages>(&b"b2".to_vec(), &0);
    store.commit(batch).unwrap();
    let expected: [&[u8]; 4] = [b"a", b"b2", b"c", b"\xff\xff"];
    assert_eq!(keys(store.scan::<Ages>().unwrap()), expected);

    let mut batch = store.batch();
    batch.delete_prefix::<Ages>(b"");
    store.commit(batch).unwrap();
    assert!(store.scan::<Ages>().unwrap().is_empty());
    assert_eq!(store.scan::<Words>().unwrap().len(), 1);
}

#[test]
fn a_corrupt_value_is_an_error_that_names_keyspace_and_key() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    put(&store, &[b"good", b"ill\xff"]);
    store.db.put(b"\xfdill\xff", [1, 0, 0]).unwrap();
    let error = store.get::<Ages>(&b"ill\xff".to_vec()).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"metadata of keyspace age, key "ill\xff" is corrupt: 6 bytes missing at 1"#
    );
    assert!(matches!(
        store.scan::<Ages>().unwrap_err(),
        MetaError::Corrupt { .. }
    ));
    assert_eq!(store.get::<Ages>(&b"good".to_vec()).unwrap(), Some(0));
}

#[test]
fn a_corrupt_key_is_an_error() {
    let temp = tempfile::tempdir().unwrap();
    let store = MetaStore::open(temp.path()).unwrap();
    store.db.put(b"\xfeabc", b"").unwrap();
    let error = store.scan::<Words>().unwrap_err();
    assert!(
        error.to_string().contains(r#"keyspace word, key "abc""#),
        "{error}"
    );
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
    Put(Vec<u8>, i64),
    Delete(Vec<u8>),
    DeletePrefix(Vec<u8>),
    Commit,
    Reopen,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff)], 0..4)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (key(), any::<i64>()).prop_map(|(key, value)| Step::Put(key, value)),
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
        let mut batch = store.batch();
        let (mut pending, mut committed) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    batch.put::<Ages>(&key, &value);
                    pending.insert(key, value);
                }
                Step::Delete(key) => {
                    batch.delete::<Ages>(&key);
                    pending.remove(&key);
                }
                Step::DeletePrefix(prefix) => {
                    batch.delete_prefix::<Ages>(&prefix);
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
            let expected: Records<Ages> = committed.clone().into_iter().collect();
            prop_assert_eq!(store.scan::<Ages>().unwrap(), expected);
        }
        let expected: Records<Ages> =
            committed.into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
        prop_assert_eq!(store.scan_prefix::<Ages>(&prefix).unwrap(), expected);
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

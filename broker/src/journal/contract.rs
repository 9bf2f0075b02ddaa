//! What every journal must do, tested on the real one and on the one for tests.

use std::sync::Arc;

use carrick_protocol::ids::GroupId;
use parking_lot::Mutex;

use super::memory::Disk;
use super::queue::{MAX_WAITING_BYTES, MAX_WAITING_CHANGES};
use super::rocks::RocksJournal;
use super::{Entry, Journal, JournalError, NotStored, Table};
use crate::metadata::rocks::RocksMetadata;
use crate::records::group::Groups;
use crate::records::group_config::GroupConfigKeyspace;
use crate::records::{OfCoordinators, Records};
use crate::testing::{LIMIT, until_here};

/// What a journal is stored in.
trait Kind {
    fn new() -> Self;
    /// Opens the journal; the one before has stopped.
    fn open(&self) -> Journal;
}

struct Rocks(tempfile::TempDir);

impl Kind for Rocks {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Journal {
        let opened = RocksMetadata::open(self.0.path()).unwrap();
        Journal::new(Arc::new(RocksJournal::start(opened.database()).unwrap()))
    }
}

struct Memory(Arc<Disk>);

impl Kind for Memory {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn open(&self) -> Journal {
        self.0.journal()
    }
}

fn configs(value: &str) -> std::collections::BTreeMap<String, String> {
    [("name".to_owned(), value.to_owned())].into()
}

fn put(group: &str, value: &str) -> Entry {
    let mut entry = Entry::new();
    entry.put::<GroupConfigKeyspace>(&GroupId::new(group), &configs(value));
    entry
}

fn read<K: OfCoordinators>(journal: &Journal) -> Records<K> {
    let mut table = Table::<K>::default();
    journal.replay(&mut [&mut table]).unwrap();
    table.into_records().unwrap()
}

fn value(journal: &Journal, group: &str) -> Option<String> {
    let mut found = read::<GroupConfigKeyspace>(journal).into_iter();
    let mut found = found.find(|(id, _)| id.as_str() == group)?.1;
    found.remove("name")
}

fn what_goes_on_runs_in_order_once_the_change_is_there<K: Kind>() {
    let kind = K::new();
    let journal = kind.open();
    let finished = Arc::new(Mutex::new(Vec::new()));
    for number in 0..3_000 {
        let (seen, reader) = (finished.clone(), journal.clone());
        let entry = put("g", &number.to_string());
        journal.room().unwrap().append(entry, move |result| {
            if number % 500 == 0 {
                let stored: i32 = value(&reader, "g").unwrap().parse().unwrap();
                assert!(stored >= number, "{stored} is stored, {number} finished");
            }
            seen.lock().push((number, result));
        });
    }
    journal.stop();
    let expected: Vec<_> = (0..3_000).map(|number| (number, Ok(()))).collect();
    assert_eq!(*finished.lock(), expected);
    assert!(journal.room().is_none(), "it has stopped");
    drop(journal);
    assert_eq!(value(&kind.open(), "g").as_deref(), Some("2999"));
}

fn a_replay_tells_what_holds_after_all_changes<K: Kind>() {
    let kind = K::new();
    let journal = kind.open();
    let group = GroupId::new;
    let mut all = put("a", "1");
    all.put::<GroupConfigKeyspace>(&group("b1"), &configs("1"));
    all.put::<GroupConfigKeyspace>(&group("b2"), &configs("1"));
    all.put::<GroupConfigKeyspace>(&group("c"), &configs("1"));
    journal.append_now(all).unwrap();
    let mut later = put("b3", "2");
    later.delete_prefix::<GroupConfigKeyspace>(b"b");
    later.put::<GroupConfigKeyspace>(&group("b2"), &configs("2"));
    later.delete::<GroupConfigKeyspace>(&group("c"));
    later.delete::<GroupConfigKeyspace>(&group("nobody"));
    later.put::<Groups>(&group("g"), &Default::default());
    assert_eq!(later.len(), 6);
    journal.append_now(later).unwrap();
    journal.stop();
    drop(journal);
    let journal = kind.open();
    let expected = [(group("a"), configs("1")), (group("b2"), configs("2"))];
    assert_eq!(read::<GroupConfigKeyspace>(&journal), expected);
    // Several tables in one append each get their own entries.
    let (mut groups, mut configs) = (
        Table::<Groups>::default(),
        Table::<GroupConfigKeyspace>::default(),
    );
    journal.replay(&mut [&mut groups, &mut configs]).unwrap();
    assert_eq!(
        groups.into_records().unwrap(),
        [(group("g"), Default::default())]
    );
    assert_eq!(configs.into_records().unwrap(), expected);
}

fn too_much_that_waits_is_refused<K: Kind>() {
    let kind = K::new();
    let journal = kind.open();
    let (release, released) = crossbeam::channel::bounded::<()>(0);
    let (busy, is_busy) = crossbeam::channel::bounded::<()>(0);
    journal.room().unwrap().append(put("g", "1"), move |_| {
        busy.send(()).unwrap();
        released.recv_timeout(LIMIT).unwrap();
    });
    is_busy.recv_timeout(LIMIT).unwrap();
    let large = put("g", &"x".repeat(MAX_WAITING_BYTES));
    journal.room().unwrap().append(large, |_| {});
    assert!(journal.room().is_none());
    release.send_timeout((), LIMIT).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(journal.barrier());
    assert!(journal.room().is_some());
}

fn room_that_is_not_used_is_free_again<K: Kind>() {
    let kind = K::new();
    let journal = kind.open();
    let mut rooms: Vec<_> = (0..MAX_WAITING_CHANGES)
        .map(|_| journal.room().unwrap())
        .collect();
    assert!(journal.room().is_none());
    assert_eq!(journal.append_now(put("g", "1")), Err(NotStored));
    rooms.pop();
    journal.append_now(put("g", "1")).unwrap();
}

fn after_a_stop_what_goes_on_is_dropped<K: Kind>() {
    let kind = K::new();
    let journal = kind.open();
    let room = journal.room().unwrap();
    journal.stop();
    let (outcome, heard) = crossbeam::channel::bounded(1);
    room.append(put("g", "1"), move |result| outcome.send(result).unwrap());
    heard.recv_timeout(LIMIT).unwrap_err();
    assert_eq!(value(&journal, "g"), None);
}

fn a_continuation_that_panics_shows<K: Kind>() {
    let kind = K::new();
    let journal = kind.open();
    assert_eq!(journal.failure(), None);
    let room = journal.room().unwrap();
    room.append(put("g", "1"), |_| panic!("on purpose"));
    until_here("the failure shows", || journal.failure().is_some());
    let failure = journal.failure().expect("nothing is stored any more");
    assert!(failure.contains("panicked"), "{failure}");
    journal.try_again();
    assert_eq!(journal.failure(), Some(failure), "it does not go away");
    assert_eq!(journal.append_now(put("g", "2")), Err(NotStored));
}

fn a_record_that_does_not_decode_is_an_error<K: Kind>() {
    let kind = K::new();
    let journal = kind.open();
    let damaged = crate::records::Edit::Put {
        key: b"\x0fg".to_vec(),
        value: vec![9],
    };
    let entry = Entry {
        edits: vec![damaged],
    };
    journal.append_now(entry).unwrap();
    let mut table = Table::<GroupConfigKeyspace>::default();
    let error = journal.replay(&mut [&mut table]).unwrap_err();
    assert!(matches!(error, JournalError::Corrupt(_)), "{error}");
    assert!(
        error.to_string().contains("keyspace group_config"),
        "{error}"
    );
    read::<Groups>(&journal);
}

macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        mod rocks { $(#[test] fn $test() { super::$test::<super::Rocks>(); })* }
        mod memory { $(#[test] fn $test() { super::$test::<super::Memory>(); })* }
    };
}

contract! {
    what_goes_on_runs_in_order_once_the_change_is_there,
    a_replay_tells_what_holds_after_all_changes,
    too_much_that_waits_is_refused,
    room_that_is_not_used_is_free_again,
    after_a_stop_what_goes_on_is_dropped,
    a_continuation_that_panics_shows,
    a_record_that_does_not_decode_is_an_error,
}

#[test]
fn a_failed_write_is_told_and_shows_until_one_succeeds() {
    let disk = Arc::<Disk>::default();
    let journal = disk.journal();
    disk.fail_next();
    assert_eq!(journal.append_now(put("g", "1")), Err(NotStored));
    assert_eq!(journal.failure().as_deref(), Some("told to fail"));
    journal.append_now(put("g", "2")).unwrap();
    assert_eq!(journal.failure(), None);
    assert_eq!(value(&journal, "g").as_deref(), Some("2"));
}

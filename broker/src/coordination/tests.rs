//! The registry on a journal in memory: whatever a coordinator keeps under its ids.

mod model;
mod threads;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carrick_storage::codec::{DecodeError, Reader, Writer};
use parking_lot::Mutex;

use super::*;
use crate::budget::Budget;
use crate::journal::memory::Disk;
use crate::journal::{Entry, Journal, NotStored};
use crate::records::{Keyspace, OfCoordinators};
use crate::testing::{LIMIT, noted};

/// What every content takes in addition to its own bytes.
const ID_BYTES: usize = 100;

/// Holds as many bytes as one says, and a number that is durable.
#[derive(Debug, Default)]
struct Counter {
    bytes: usize,
    stored: u64,
}

struct Shared {
    journal: Journal,
    budget: Budget,
}

impl Services for Shared {
    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Content for Counter {
    type Id = u32;
    type Services = Shared;

    fn held_bytes(&self, _id: &u32) -> usize {
        ID_BYTES + self.bytes
    }
}

/// The number of each counter on disk.
struct Numbers;

impl Keyspace for Numbers {
    const PREFIX: u8 = 254;
    const NAME: &'static str = "numbers";
    type Key = u32;
    type Value = u64;

    fn encode_key(key: &u32, out: &mut Vec<u8>) {
        out.put_u32(*key);
    }

    fn decode_key(bytes: &[u8]) -> Result<u32, DecodeError> {
        Reader::new(bytes).u32()
    }

    fn encode_value(value: &u64, out: &mut Vec<u8>) {
        out.put_u64(*value);
    }

    fn decode_value(bytes: &[u8]) -> Result<u64, DecodeError> {
        Reader::new(bytes).u64()
    }
}

impl OfCoordinators for Numbers {}

struct World {
    registry: Arc<Registry<Counter>>,
    disk: Arc<Disk>,
}

type Counting = Registry<Counter>;

impl World {
    fn new(max_ids: usize, max_bytes: usize) -> Self {
        let disk = Arc::<Disk>::default();
        let services = Arc::new(Shared {
            journal: disk.journal(),
            budget: Budget::new(max_bytes),
        });
        Self {
            registry: Registry::new(services, max_ids, []),
            disk,
        }
    }

    fn used_bytes(&self) -> usize {
        self.registry.services().budget.used_bytes()
    }

    /// What is on disk.
    fn on_disk(&self) -> BTreeMap<u32, u64> {
        on_disk(&self.disk)
    }

    /// Returns when all that was handed over has come back.
    fn settle(&self) {
        self.registry.services().journal.stop();
    }
}

fn on_disk(disk: &Arc<Disk>) -> BTreeMap<u32, u64> {
    noted::<Numbers>(&disk.journal()).into_iter().collect()
}

fn empty() -> Result<Counter, Refusal> {
    Ok(Counter::default())
}

fn make(registry: &Counting, id: u32) -> Result<(), Refusal> {
    registry.with_new(&id, empty, |_| Ok(()))
}

/// Stores a number, which is the counter's once it is durable.
fn store(counter: &mut Locked<'_, Counter>, number: u64) -> Result<(), NotStored> {
    let room = counter.room()?;
    let mut batch = Entry::new();
    batch.put::<Numbers>(counter.id(), &number);
    counter.submit(room, batch, move |counter, result| {
        if result.is_ok() {
            counter.stored = number;
        }
    });
    Ok(())
}

fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

#[test]
fn a_cell_that_died_between_the_look_up_and_the_lock_is_not_entered() {
    let world = World::new(10, 10_000);
    make(&world.registry, 1).unwrap();
    let found = world.registry.find(&1).unwrap();
    assert_eq!(world.registry.remove::<Refusal>(&1, |_| Ok(true)), Ok(true));
    assert!(found.lock().is_none());
    assert_eq!(
        make(&world.registry, 1),
        Ok(()),
        "another one takes its place"
    );
    assert!(found.lock().is_none(), "and the dead one stays dead");
    assert!(world.registry.find(&1).unwrap().lock().is_some());
}

#[test]
fn an_id_too_many_is_refused_and_the_end_of_one_makes_room() {
    let world = World::new(2, 10_000);
    assert_eq!(make(&world.registry, 1), Ok(()));
    assert_eq!(make(&world.registry, 2), Ok(()));
    assert_eq!(make(&world.registry, 3), Err(Refusal::Full));
    assert_eq!(make(&world.registry, 2), Ok(()), "it is there");
    let stays = world.registry.remove::<Refusal>(&1, |_| Ok(false));
    assert_eq!(stays, Ok(false));
    assert_eq!(make(&world.registry, 3), Err(Refusal::Full));
    assert_eq!(world.registry.remove::<Refusal>(&1, |_| Ok(true)), Ok(true));
    assert_eq!(make(&world.registry, 3), Ok(()));
}

#[test]
fn an_id_that_finds_no_room_or_cannot_begin_leaves_nothing_behind() {
    let world = World::new(10, ID_BYTES + 50);
    let cannot = || Err(Refusal::Unknown);
    let begun = world.registry.with_new(&1, cannot, |_| Ok(()));
    assert_eq!(begun, Err(Refusal::Unknown));
    make(&world.registry, 1).unwrap();
    assert_eq!(make(&world.registry, 2), Err(Refusal::Full));
    assert_eq!(world.used_bytes(), ID_BYTES);
    assert_eq!(world.registry.find(&2).err(), Some(Refusal::Unknown));
}

#[test]
fn what_was_loaded_is_served_even_past_the_limits() {
    let world = World::new(1, 10);
    let services = Arc::clone(world.registry.services());
    let loaded = (0..5).map(|id| (id, Counter::default()));
    let registry = Registry::new(services, 1, loaded);
    assert_eq!(world.used_bytes(), 5 * ID_BYTES);
    assert!((0..5).all(|id| make(&registry, id).is_ok()));
    assert_eq!(make(&registry, 5), Err(Refusal::Full));
}

#[test]
fn a_removal_that_fails_leaves_the_id_where_it_was() {
    let world = World::new(10, 10_000);
    make(&world.registry, 1).unwrap();
    let failed = world.registry.remove(&1, |_| Err(Refusal::Full));
    assert_eq!(failed, Err(Refusal::Full));
    assert_eq!(
        world.registry.with(&1, |it| Ok::<_, Refusal>(*it.id())),
        Ok(1)
    );
    assert_eq!(world.used_bytes(), ID_BYTES);
}

#[test]
fn changes_come_back_in_order_and_each_one_finds_itself_on_disk() {
    let world = World::new(10, 10_000);
    let seen = Arc::new(Mutex::new(Vec::new()));
    make(&world.registry, 1).unwrap();
    make(&world.registry, 2).unwrap();
    for number in 0..500_u64 {
        let (seen, disk) = (Arc::clone(&seen), Arc::clone(&world.disk));
        let id = u32::from(number % 3 == 0) + 1;
        let handed_over = world.registry.with(&id, |counter| {
            let room = counter.room().map_err(|_| Refusal::Full)?;
            let mut batch = Entry::new();
            batch.put::<Numbers>(&id, &number);
            counter.submit(room, batch, move |counter, result| {
                assert_eq!(result, Ok(()));
                assert!(on_disk(&disk)[counter.id()] >= number);
                seen.lock().push(number);
            });
            assert!(counter.changes_in_flight() > 0);
            Ok::<_, Refusal>(())
        });
        handed_over.unwrap();
    }
    world.settle();
    assert_eq!(*seen.lock(), (0..500).collect::<Vec<_>>());
    for cell in world.registry.cells() {
        assert_eq!(cell.lock().unwrap().changes_in_flight(), 0);
    }
}

#[test]
fn a_change_that_fails_comes_back_as_that_and_the_next_one_is_stored() {
    let world = World::new(10, 10_000);
    make(&world.registry, 1).unwrap();
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    for number in [1, 2] {
        if number == 1 {
            world.disk.fail_next();
        }
        let (told, heard) = std::sync::mpsc::channel();
        let outcomes = Arc::clone(&outcomes);
        let handed_over = world.registry.with(&1, |counter| {
            let room = counter.room().map_err(|_| Refusal::Full)?;
            let mut batch = Entry::new();
            batch.put::<Numbers>(&1, &number);
            counter.submit(room, batch, move |counter, result| {
                outcomes.lock().push((result, counter.changes_in_flight()));
                counter.afterwards(move || told.send(()).unwrap());
            });
            Ok::<_, Refusal>(())
        });
        handed_over.unwrap();
        heard.recv_timeout(LIMIT).unwrap();
    }
    assert_eq!(*outcomes.lock(), [(Err(NotStored), 0), (Ok(()), 0)]);
    assert_eq!(world.on_disk(), [(1, 2)].into());
}

#[test]
fn a_journal_that_has_stopped_gives_no_room_and_nothing_changes() {
    let world = World::new(10, 10_000);
    make(&world.registry, 1).unwrap();
    world.settle();
    let refused = world.registry.with(&1, |counter| {
        assert_eq!(counter.room().err(), Some(NotStored));
        assert_eq!(store(counter, 7), Err(NotStored));
        Ok::<_, Refusal>(counter.changes_in_flight())
    });
    assert_eq!(refused, Ok(0));
}

#[test]
fn a_change_that_comes_back_to_a_dead_cell_is_not_charged() {
    let world = World::new(10, 10_000);
    make(&world.registry, 1).unwrap();
    let removed = world.registry.remove(&1, |counter| {
        let room = counter.room().map_err(|_| Refusal::Full)?;
        counter.submit(room, Entry::new(), |counter, _| counter.bytes = 5_000);
        Ok::<_, Refusal>(true)
    });
    assert_eq!(removed, Ok(true));
    world.settle();
    assert_eq!(world.used_bytes(), 0);
}

#[test]
fn one_change_of_several_cells_comes_to_each_of_them_and_then_under_no_lock() {
    let world = World::new(10, 10_000);
    for id in [1, 2, 4] {
        make(&world.registry, id).unwrap();
    }
    let cells = world.registry.find_all(&[1, 2, 3, 4]);
    world.registry.remove::<Refusal>(&2, |_| Ok(true)).unwrap();
    let locked = Several::lock(&cells);
    let ids: Vec<u32> = locked.iter().map(|it| *it.id()).collect();
    assert_eq!(ids, [1, 4], "one is not there, one is dead");
    let room = world.registry.services().journal.room().unwrap();
    let (registry, told) = (Arc::clone(&world.registry), Arc::new(AtomicUsize::new(0)));
    let then = Arc::clone(&told);
    locked.submit(
        room,
        Entry::new(),
        vec![10, 40],
        |counter, part, _| counter.stored = part,
        move |result| {
            assert_eq!(result, Ok(()));
            let stored = |id: u32| registry.with(&id, |it| Ok::<_, Refusal>(it.stored));
            assert_eq!((stored(1), stored(4)), (Ok(10), Ok(40)));
            then.fetch_add(1, Ordering::Relaxed);
        },
    );
    world.settle();
    assert_eq!(told.load(Ordering::Relaxed), 1);
    let in_flight = |id: u32| {
        let count = |it: &mut Locked<'_, Counter>| Ok::<_, Refusal>(it.changes_in_flight());
        world.registry.with(&id, count)
    };
    assert_eq!((in_flight(1), in_flight(4)), (Ok(0), Ok(0)));
}

#[test]
fn locks_out_of_order_are_a_panic_and_not_a_thread_that_waits_for_ever() {
    let world = World::new(10, 10_000);
    let other = World::new(10, 10_000);
    for id in 1..4 {
        make(&world.registry, id).unwrap();
        make(&other.registry, id).unwrap();
    }
    let mut cells = world.registry.cells();
    let first = cells[0].lock().unwrap();
    assert!(panics(|| drop(cells[1].lock())), "two cells");
    assert!(panics(|| drop(cells[0].lock())), "the same cell twice");
    assert!(
        panics(|| drop(world.registry.find(&2))),
        "the index, too late"
    );
    assert!(
        panics(|| drop(Several::lock(&cells[1..]))),
        "several and one"
    );
    assert!(
        other.registry.find(&2).unwrap().lock().is_some(),
        "of another registry"
    );
    drop(first);
    assert_eq!(Several::lock(&cells).iter().count(), 3);
    cells.swap(1, 2);
    assert!(
        panics(|| drop(Several::lock(&cells))),
        "not in the order of ids"
    );
    assert!(cells[0].lock().is_some(), "nothing is held after that");
}

#[test]
fn after_a_close_nobody_gets_in_and_what_is_under_way_comes_back() {
    let world = World::new(10, 10_000);
    let came_back = Arc::new(AtomicUsize::new(0));
    for id in 0..3 {
        let came_back = Arc::clone(&came_back);
        let handed_over = world.registry.with_new(&id, empty, |counter| {
            let room = counter.room().map_err(|_| Refusal::Full)?;
            counter.submit(room, Entry::new(), move |_, _| {
                came_back.fetch_add(1, Ordering::Relaxed);
            });
            Ok(())
        });
        handed_over.unwrap();
    }
    let ended = AtomicUsize::new(0);
    world.registry.close(|_| {
        ended.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(ended.load(Ordering::Relaxed), 3);
    assert_eq!(world.used_bytes(), 0);
    assert_eq!(make(&world.registry, 0), Err(Refusal::ShuttingDown));
    assert_eq!(make(&world.registry, 9), Err(Refusal::ShuttingDown));
    let removed = world.registry.remove::<Refusal>(&0, |_| Ok(true));
    assert_eq!(removed, Err(Refusal::ShuttingDown));
    assert!(world.registry.cells().iter().all(|it| it.lock().is_none()));
    world.settle();
    assert_eq!(came_back.load(Ordering::Relaxed), 3);
}

#[test]
fn a_registry_that_only_refuses_keeps_its_ids() {
    let world = World::new(10, 10_000);
    make(&world.registry, 1).unwrap();
    let found = world.registry.find(&1).unwrap();
    world.registry.refuse();
    assert_eq!(make(&world.registry, 1), Err(Refusal::ShuttingDown));
    assert!(found.lock().is_some());
    assert_eq!(world.used_bytes(), ID_BYTES);
}

#[test]
fn an_answer_leaves_once_the_lock_is_released_and_the_memory_settled() {
    let world = World::new(10, 10_000);
    make(&world.registry, 1).unwrap();
    let cell = world.registry.find(&1).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let mut counter = cell.lock().unwrap();
    for order in 0..2 {
        let (cell, heard) = (Arc::clone(&cell), Arc::clone(&heard));
        counter.afterwards(move || {
            let bytes = cell.lock().unwrap().bytes;
            let used_bytes = cell.services().budget.used_bytes();
            heard.lock().push((order, bytes, used_bytes));
        });
    }
    counter.bytes = 500;
    assert!(heard.lock().is_empty());
    drop(counter);
    let used_bytes = ID_BYTES + 500;
    assert_eq!(*heard.lock(), [(0, 500, used_bytes), (1, 500, used_bytes)]);
}

#[tokio::test]
async fn who_waits_for_an_answer_that_nobody_gives_hears_that_the_coordinator_stops() {
    let (given, awaited) = answer::<Result<u32, Refusal>>();
    given.give(Ok(7));
    assert_eq!(awaited.result().await, Ok(7));
    let (given, awaited) = answer::<Result<u32, Refusal>>();
    drop(given);
    assert_eq!(awaited.result().await, Err(Refusal::ShuttingDown));
}

#[tokio::test(start_paused = true)]
async fn periodic_work_pauses_first_and_ends_with_its_owner() {
    let begun = tokio::time::Instant::now();
    let owner = Arc::new(Mutex::new(Vec::new()));
    let held = Mutex::new(Some(Arc::clone(&owner)));
    let pause = Duration::from_secs(60);
    let weak = Arc::downgrade(&owner);
    drop(owner);
    let kept = Arc::new(Mutex::new(Vec::new()));
    every(pause, weak, |owner| {
        owner.lock().push(begun.elapsed());
        if owner.lock().len() == 3 {
            kept.lock().clone_from(&owner.lock());
            held.lock().take();
        }
        std::future::ready(())
    })
    .await;
    assert_eq!(*kept.lock(), [pause, pause * 2, pause * 3]);
}

//! Many threads at once: what holds whoever comes between the locks.

use std::thread;

use super::*;
use crate::testing::until_here;

const THREADS: u64 = 4;
const ROUNDS: u64 = 2_000;

/// A small generator, so that each thread takes a different path and a failure can be replayed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Each content counts who was in. Who was let into a dead cell would be lost: its count is taken when
/// it dies.
#[test]
fn nobody_is_lost_in_an_id_that_dies_while_others_wait_for_it() {
    let world = World::new(10, 1_000_000);
    let (let_in, counted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let (registry, let_in, counted) = (&world.registry, &let_in, &counted);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for _ in 0..ROUNDS {
                    let id = u32::try_from(dice.roll(2)).unwrap();
                    if dice.roll(3) == 0 {
                        let removed = registry.remove(&id, |counter| {
                            counted.fetch_add(counter.bytes, Ordering::Relaxed);
                            Ok::<_, Refusal>(true)
                        });
                        assert!(matches!(removed, Ok(true) | Err(Refusal::Unknown)));
                    } else {
                        let entered = registry.with_new(&id, empty, |counter| {
                            counter.bytes += 1;
                            Ok::<_, Refusal>(())
                        });
                        entered.unwrap();
                        let_in.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    for cell in world.registry.cells() {
        counted.fetch_add(cell.lock().unwrap().bytes, Ordering::Relaxed);
    }
    assert_eq!(
        counted.load(Ordering::Relaxed),
        let_in.load(Ordering::Relaxed)
    );
    let left: usize = world.registry.cells().len() * ID_BYTES;
    let bytes = |cell: &Arc<Cell<Counter>>| cell.lock().unwrap().bytes;
    let held: usize = world.registry.cells().iter().map(bytes).sum();
    assert_eq!(world.used_bytes(), left + held);
}

/// Changes of overlapping sets: nobody waits for ever, each set changes as a whole, and what a cell
/// holds in the end is what was stored last.
#[test]
fn several_ids_are_changed_together_by_many_at_once() {
    let world = World::new(10, 1_000_000);
    for id in 0..6 {
        make(&world.registry, id).unwrap();
    }
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let registry = &world.registry;
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for round in 0..200 {
                    let number = round * THREADS + seed;
                    let (from, count) = (dice.roll(6), 1 + dice.roll(3));
                    let ids: Vec<u32> = (from..(from + count).min(6))
                        .map(|id| u32::try_from(id).unwrap())
                        .collect();
                    super::model::store_all(registry, &ids, number);
                }
            });
        }
    });
    world.settle();
    let on_disk = world.on_disk();
    for cell in world.registry.cells() {
        let counter = cell.lock().unwrap();
        let expected = on_disk.get(cell.id()).copied().unwrap_or(0);
        assert_eq!(counter.stored, expected, "{}", cell.id());
        assert_eq!(counter.changes_in_flight(), 0);
    }
}

/// A close meets ids that are being made, and leaves none that serves.
#[test]
fn a_close_meets_every_id_that_is_made_before() {
    for seed in 1..50 {
        let world = World::new(1_000, 1_000_000);
        thread::scope(|scope| {
            let registry = &world.registry;
            scope.spawn(move || {
                let made = (0..).take_while(|id| make(registry, *id).is_ok());
                assert!(made.count() <= 1_000);
            });
            scope.spawn(move || {
                until_here("ids are made", || registry.cells().len() >= seed);
                registry.close(|_| {});
            });
        });
        let cells = world.registry.cells();
        assert!(cells.iter().all(|cell| cell.lock().is_none()));
        assert_eq!(world.used_bytes(), 0);
    }
}

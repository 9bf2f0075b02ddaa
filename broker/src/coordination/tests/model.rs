//! Any order of events on one thread, against a plain map: which ids exist, what is charged, what
//! is stored.

use proptest::prelude::*;

use super::*;

const MAX_IDS: usize = 4;
const MAX_BYTES: usize = 2_000;

#[derive(Clone, Debug)]
enum Step {
    Make(u32),
    /// Takes that many bytes from now on, if there is room.
    Resize(u32, usize),
    Store(u32, u64),
    /// Stores a number for several at once.
    StoreAll(Vec<u32>, u64),
    Remove(u32),
    /// Asks for a removal and is refused.
    Keep(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..6_u32;
    prop_oneof![
        4 => id().prop_map(Step::Make),
        3 => (id(), 0..900_usize).prop_map(|(id, bytes)| Step::Resize(id, bytes)),
        3 => (id(), 1..100_u64).prop_map(|(id, number)| Step::Store(id, number)),
        2 => (prop::collection::btree_set(id(), 0..5), 1..100_u64)
            .prop_map(|(ids, number)| Step::StoreAll(ids.into_iter().collect(), number)),
        2 => id().prop_map(Step::Remove),
        1 => id().prop_map(Step::Keep),
    ]
}

/// What the registry should hold.
#[derive(Default)]
struct Model {
    /// Bytes, and the number stored last.
    counters: BTreeMap<u32, (usize, u64)>,
    /// On disk: a removal takes it away.
    disk: BTreeMap<u32, u64>,
}

impl Model {
    fn used_bytes(&self) -> usize {
        let bytes = self.counters.values().map(|(bytes, _)| ID_BYTES + bytes);
        bytes.sum()
    }

    fn has_room(&self, growth_bytes: usize) -> bool {
        growth_bytes == 0 || self.used_bytes() + growth_bytes <= MAX_BYTES
    }

    fn expect(&self, id: u32) -> Result<(), Refusal> {
        match self.counters.contains_key(&id) {
            true => Ok(()),
            false => Err(Refusal::Unknown),
        }
    }

    fn store(&mut self, id: u32, number: u64) {
        if let Some(counter) = self.counters.get_mut(&id) {
            counter.1 = number;
            self.disk.insert(id, number);
        }
    }
}

fn play(world: &World, model: &mut Model, step: Step) {
    let registry = &world.registry;
    match step {
        Step::Make(id) => {
            let is_there = model.counters.contains_key(&id);
            let has_room = model.counters.len() < MAX_IDS && model.has_room(ID_BYTES);
            let expected = match is_there || has_room {
                true => Ok(()),
                false => Err(Refusal::Full),
            };
            assert_eq!(make(registry, id), expected);
            if expected.is_ok() {
                model.counters.entry(id).or_default();
            }
        }
        Step::Resize(id, bytes) => {
            let resized = registry.with(&id, |counter| {
                let growth_bytes = bytes.saturating_sub(counter.bytes);
                let has_room = counter.services().budget.has_room(growth_bytes);
                if has_room {
                    counter.bytes = bytes;
                }
                Ok::<_, Refusal>(has_room)
            });
            let room = model.expect(id).map(|()| {
                let before_bytes = model.counters[&id].0;
                model.has_room(bytes.saturating_sub(before_bytes))
            });
            assert_eq!(resized, room);
            if room == Ok(true) {
                model.counters.get_mut(&id).unwrap().0 = bytes;
            }
        }
        Step::Store(id, number) => {
            let stored = registry.with(&id, |counter| {
                store(counter, number).map_err(|_| Refusal::ShuttingDown)
            });
            assert_eq!(stored, model.expect(id));
            model.store(id, number);
        }
        Step::StoreAll(ids, number) => {
            store_all(registry, &ids, number);
            ids.into_iter().for_each(|id| model.store(id, number));
        }
        Step::Remove(id) => {
            let removed = registry.remove(&id, |counter| {
                let room = counter.room().map_err(|_| Refusal::ShuttingDown)?;
                let mut batch = Entry::new();
                batch.delete::<Numbers>(counter.id());
                counter.submit(room, batch, |_, _| {});
                Ok(true)
            });
            assert_eq!(removed, model.expect(id).map(|()| true));
            model.counters.remove(&id);
            model.disk.remove(&id);
        }
        Step::Keep(id) => {
            let removed = registry.remove::<Refusal>(&id, |_| Ok(false));
            assert_eq!(removed, model.expect(id).map(|()| false));
        }
    }
    assert_eq!(world.used_bytes(), model.used_bytes());
    let ids: Vec<u32> = registry.cells().iter().map(|cell| *cell.id()).collect();
    assert_eq!(ids, model.counters.keys().copied().collect::<Vec<_>>());
}

/// Stores a number for all of these ids that are there, in one write.
pub(super) fn store_all(registry: &Counting, ids: &[u32], number: u64) {
    let cells = registry.find_all(ids);
    let locked = Several::lock(&cells);
    let room = registry.services().journal.room().unwrap();
    let (mut batch, mut parts) = (Entry::new(), Vec::new());
    for counter in locked.iter() {
        batch.put::<Numbers>(counter.id(), &number);
        parts.push(number);
    }
    let each = |counter: &mut Locked<'_, Counter>, number, result: Result<(), _>| {
        result.unwrap();
        counter.stored = number;
    };
    locked.submit(room, batch, parts, each, drop);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_registry_is_a_map_whose_bytes_are_charged_and_whose_changes_are_stored(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let world = World::new(MAX_IDS, MAX_BYTES);
        let mut model = Model::default();
        for step in steps {
            play(&world, &mut model, step);
        }
        world.settle();
        for (id, (_, number)) in &model.counters {
            let stored = world.registry.with(id, |counter| {
                assert_eq!(counter.changes_in_flight(), 0);
                Ok::<_, Refusal>(counter.stored)
            });
            prop_assert_eq!(stored, Ok(*number));
        }
        prop_assert_eq!(world.on_disk(), model.disk);
        world.registry.close(|_| {});
        prop_assert_eq!(world.used_bytes(), 0);
    }
}

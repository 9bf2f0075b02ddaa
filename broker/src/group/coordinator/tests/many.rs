//! What a group costs does not depend on how many others there are.

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::coordination::VISITED;

/// Changes that are under way at once while groups are made.
const CHUNK: usize = 1_000;

/// What work that looks at every group may cost per group among the most of them, compared with
/// among the fewest: search trees grow, caches end.
const COSTLIER_MAX: u64 = 5;

/// Time of this thread's CPU: other work on the machine does not count.
fn cpu_us<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
    };
    let begun = now();
    let done = work();
    (done, now() - begun)
}

fn group(number: usize) -> GroupId {
    GroupId::new(format!("g{number}"))
}

/// Gives the world groups of one offset each.
async fn add_groups(world: &World, numbers: std::ops::Range<usize>) {
    for chunk in numbers.collect::<Vec<_>>().chunks(CHUNK) {
        let commits = chunk.iter().map(|number| {
            let request = unfenced(vec![world.new_offset("orders", 0, 1)]);
            world.groups().commit(&group(*number), request)
        });
        for commit in commits.collect::<Vec<_>>() {
            assert_eq!(commit.await, Ok(vec![Ok(())]));
        }
    }
}

/// What clients do with one group looks at no other group.
async fn one_group_looks_at_no_other(world: &World, total: usize) {
    VISITED.set(0);
    let member = world.join("one", "").await;
    world.heartbeat("one", &member).unwrap();
    world.commit("two", "orders", 0, 5).await;
    assert_eq!(world.offset("two", "orders", 0), Some(5));
    let one = GroupId::new("one");
    assert_eq!(world.groups().describe(&one).unwrap().members.len(), 1);
    world.groups().delete(&GroupId::new("two")).await.unwrap();
    assert_eq!(VISITED.get(), 0, "among {total} groups");
    assert_eq!(world.groups().list().len(), total + 1);
    assert_eq!(VISITED.get(), total + 1, "a list is of all");
    let leaving = Leaving {
        member_id: member.0,
        instance_id: None,
    };
    world.groups().leave(&one, &[leaving]).await.unwrap();
    world.groups().delete(&one).await.unwrap();
}

/// CPU per group, in nanoseconds, of what looks at all of them: a start, a list, a sweep, the deletion
/// of a topic that none of them reads.
async fn costs_of_all(world: &World, total: usize) -> [u64; 4] {
    let (loaded, load_us) = cpu_us(|| world.open());
    assert_eq!(loaded.list().len(), total);
    loaded.shutdown().await;
    let (_, list_us) = cpu_us(|| world.groups().list());
    let ((), sweep_us) = cpu_us(|| world.sweep(world.now_ms()));
    let other = TopicName::new("bills").unwrap();
    let (deleted, delete_us) = cpu_us(|| world.groups().topic_deleted(&other, TopicId::random()));
    deleted.await.unwrap();
    let all_us = [load_us, list_us, sweep_us, delete_us];
    println!("{total} groups: start, list, sweep, deletion of a topic: {all_us:?} µs");
    all_us.map(|us| us * 1_000 / total as u64)
}

#[tokio::test]
async fn a_group_costs_the_same_however_many_others_there_are() {
    let world = World::with(GroupConfig {
        max_groups: usize::MAX,
        max_bytes: usize::MAX / 2,
        offsets_retention_ms: 3_600_000,
        ..config()
    });
    let mut per_group_ns = Vec::new();
    let mut count = 0;
    for total in [1_000, 10_000, 100_000] {
        add_groups(&world, count..total).await;
        count = total;
        one_group_looks_at_no_other(&world, total).await;
        per_group_ns.push(costs_of_all(&world, total).await);
    }
    for (few_ns, many_ns) in per_group_ns[0].into_iter().zip(per_group_ns[2]) {
        let most_ns = COSTLIER_MAX * few_ns.max(1_000);
        assert!(many_ns <= most_ns, "{per_group_ns:?}");
    }
}

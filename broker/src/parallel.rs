//! Work that must not hold up connections: on several threads if it mostly waits for the disk, or
//! on this one while another serves its connections.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Runs slow work on this thread. Another thread serves its connections meanwhile.
pub(crate) fn unhurried<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

/// Does `act` to each of `items` on at most that many threads, this one among them, and gives what
/// came of it in the order of the items. Returns when all is done.
pub(crate) fn each<T: Sync, U: Send>(
    threads: usize,
    items: &[T],
    act: impl Fn(&T) -> U + Sync,
) -> Vec<U> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let do_some = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let outcome = act(item);
            done.lock().push((index, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(do_some);
        }
        do_some();
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_keep_the_order_of_the_items() {
        for threads in [0, 1, 3, 100] {
            let items: Vec<usize> = (0..50).collect();
            let squares = each(threads, &items, |item| item * item);
            let expected: Vec<usize> = items.iter().map(|item| item * item).collect();
            assert_eq!(squares, expected);
        }
        assert!(each(4, &[], |item: &usize| *item).is_empty());
    }
}

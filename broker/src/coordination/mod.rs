//! What the coordinators of groups and of transactions share: ids that come and go, each with its
//! own lock, a share of a memory budget, and changes that are being stored.
//!
//! - [`Registry`]: the index of ids. Finds an id or creates it, removes it, and ends all of them.
//! - [`Cell`]: one id with its lock. [`Locked`]: the same while the lock is held; everything that
//!   happens to an id is a method of `Locked` with the coordinator's own [`Content`].
//! - [`Several`]: more than one cell, locked together and changed in one write.
//! - [`Services`]: what cells work with. They are separate from the index: a cell never sees it.
//! - [`Answer`], [`Awaited`]: the way from the journal's thread to the request that waits.
//! - [`every`]: periodic work that ends with its coordinator.
//!
//! Invariants, asserted or ensured by the types:
//! - Locks: the index, then one cell. A thread that holds a cell takes neither the index nor another
//!   cell of the same registry. Several cells are only locked together, in the order of their ids.
//! - A dead cell is out of the index, or the whole registry is closed. It can't be entered through
//!   its lock.
//! - Whenever a cell's lock is released, the budget is charged with the cell's memory. A cell that
//!   dies releases all of it, once. Answers leave after that ([`Locked::give`]).
//! - Changes are submitted under the lock, so their order on disk is their order in memory. Each
//!   one comes back under the lock, in the same order, after it is on disk or has failed.

mod answer;
mod cell;
mod order;
mod periodic;
mod registry;
mod several;

#[cfg(test)]
mod tests;

pub use self::answer::{Answer, Awaited, answer};
pub use self::cell::{Cell, Content, Locked, Services};
pub use self::periodic::every;
pub use self::registry::{Refusal, Registry};
pub use self::several::Several;
#[cfg(test)]
pub use registry::VISITED;

//! What the benches share: CPU time and memory of processes, and a bare Fetch client as the yardstick.

pub mod cpu;
pub mod memory;
pub mod raw_fetch;

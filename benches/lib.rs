//! What the benches share: CPU time and memory of processes, a bare Fetch client as the yardstick, and how long records
//! are under way.

pub mod cpu;
pub mod latency;
pub mod memory;
pub mod raw_fetch;

//! What the benches share: CPU time of processes, and a bare Fetch client as the yardstick.

pub mod cpu;
pub mod raw_fetch;

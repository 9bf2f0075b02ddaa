//! The carrick binary.
fn main() {}
